/* SPDX-License-Identifier: MIT */
/* frame_cache.c -- blocks in memory: who may stay when the limit is reached, and when bytes may really go.
 *
 * MEMORY      Frames and units come from the page arena. The card of a frame (32 bytes: frame, slot, holders,
 *             size) lies in a chunk of 511, aligned to its size, whose head names the cache. Cards are
 *             never given back, so the clock walks an array.
 * EVICTION    One step of the clock looks at one card: referenced since the last time (then it loses that mark and
 *             gains heat), or warm (then it loses heat, unless a whole turn has not given enough), or pinned, or
 *             out: the slot is set to null by compare-and-swap and the frame joins the batch. A batch takes one
 *             ticket of the epoch and lies in limbo until that has passed; limbo is looked at, without waiting,
 *             whenever the budget is short. Only who finds no room at all waits for the grace period.
 * LIMBO       A ring of batches in order of their tickets; when it is full the newest batch takes in the next
 *             one under a newer ticket.
 *
 * INVARIANTS  (FRAME-1) A frame is freed only when its slot was emptied, a grace period has passed since (or
 *                       nobody could reach the slot), and its pins are 0.
 *             (FRAME-2) A slot that holds a frame counts as one holder of its unit, from install until it is
 *                       emptied.
 *             (FRAME-3) Slots are emptied under the lock only, and a unit whose holders are 0 has no filled
 *                       slot.
 *             (FRAME-4) Every frame and unit is charged from take to free, once.
 * THREADS     Any. One lock for cards, clock, limbo and the ring of units; never held over I/O or a wait,
 *             never taken inside an epoch. Lock order: it is taken last (below it only the page arena's own).
 * NOT HERE    Reading blocks, and who loads: block_reader.c.   What a unit is: segment_unit.c. */
#include "segment/frame_cache.h"

#include "base/alloc.h"
#include "base/assert.h"
#include "base/prefetch.h"
#include "base/status.h"

#include <string.h>

enum {
    CARD_CHUNK_BYTES = 16 * 1024,
    CARDS_A_CHUNK = CARD_CHUNK_BYTES / 32 - 1,
    LIMBO_BATCHES = 64,
    BATCH_FRAMES = 64,      /* evicted at most by who tops up the reserve */
    RESERVE_SHARE = 100,    /* a hundredth is kept free */
    RESERVE_PAGES_MIN = 16, /* at least that many pages, but */
    RESERVE_SHARE_MAX = 8,  /* never more than an eighth */
    PREFETCH_CARDS = 8,
    HEAT_MAX = 3,
    QUEUES = 64,
};

typedef struct card_chunk {
    bl_frame_cache *cache;
    uint64_t unused[3];
    bl_frame_card cards[CARDS_A_CHUNK];
} card_chunk;
BL_STATIC_ASSERT(sizeof(bl_frame_card) == 32, "two cards a cache line");
BL_STATIC_ASSERT(sizeof(card_chunk) == CARD_CHUNK_BYTES, "a chunk is found by masking a card's address");
BL_STATIC_ASSERT(offsetof(bl_frame, pins) + sizeof(uint32_t) == 12,
                 "over a block's checksum and stored size");

typedef struct limbo_batch {
    uint64_t ticket, bytes;
    bl_frame_card *cards;
    bl_unit_node *units;
} limbo_batch;

struct bl_frame_cache {
    bl_frame_cache_front front; /* first; the hints are published once, then constant */
    /* constant */
    bl_memory_budget *budget;
    bl_page_arena *arena;
    bl_load_queue queues[QUEUES];
    uint32_t queues_made;
    /* self-synchronized; written on misses only */
    _Atomic uint64_t misses, evictions, bytes_read, loads_shared;
    /* under the lock */
    bl_mutex lock;
    bool lock_made;
    card_chunk **chunks;
    size_t chunk_count, chunk_capacity;
    bl_frame_card *free_cards;
    uint64_t frames_live, units_live; /* not yet freed, published or not */
    size_t hand;                      /* of the clock: number of a card */
    bl_unit_node *unit_hand;          /* in the ring of published units; NULL: none */
    size_t unit_count, unit_turn;
    limbo_batch limbo[LIMBO_BATCHES];
    uint32_t limbo_first, limbo_count;
    uint64_t limbo_bytes;
};

/* ---- Making and ending ------------------------------------------------------------------------------- */

bole_status bl_frame_cache_create(bl_memory_budget *budget, bl_scheduler *scheduler, bl_frame_cache **out,
                                  bole_error *error)
{
    *out = NULL;
    bl_frame_cache *cache = bl_alloc_aligned(64, sizeof(*cache));
    if (cache == NULL)
        return bl_fail(error, BOLE_NO_MEMORY, "block cache");
    cache->budget = budget;
    bl_mutex_init(&cache->lock, scheduler);
    cache->lock_made = true;
    for (; cache->queues_made < QUEUES; cache->queues_made++) {
        bl_mutex_init(&cache->queues[cache->queues_made].mutex, scheduler);
        bl_condition_init(&cache->queues[cache->queues_made].done, scheduler);
    }
    bole_status status = bl_page_arena_create(&cache->arena, error);
    if (status != BOLE_OK) {
        bl_frame_cache_destroy(cache);
        return status;
    }
    *out = cache;
    return BOLE_OK;
}

static void reap_locked(bl_frame_cache *cache);

/* Frees what is in limbo, whatever it takes. */
static void empty_limbo(bl_frame_cache *cache)
{
    bl_mutex_lock(&cache->lock);
    while (cache->limbo_count > 0) {
        bl_mutex_unlock(&cache->lock);
        bl_epoch_wait();
        bl_mutex_lock(&cache->lock);
        reap_locked(cache);
    }
    bl_mutex_unlock(&cache->lock);
}

/* ---- Hints ---- */

/* One for each so many bytes of the limit: twice as many as values of 4 KiB find room, so that few share a line with
 * more than it has hints. */
enum { HINT_SHARE = 4 * 1024, HINT_LINES_MIN = 32 };

static size_t hints_bytes(const bl_frame_cache *cache)
{
    return ((size_t)1 << (64 - cache->front.hints.shift)) * sizeof(bl_value_hint_line);
}

void bl_frame_cache_make_hints(bl_frame_cache *cache)
{
    if (atomic_load_explicit(&cache->front.hints.all, memory_order_relaxed) != NULL)
        return;
    bl_mutex_lock(&cache->lock);
    if (atomic_load_explicit(&cache->front.hints.all, memory_order_relaxed) == NULL) {
        uint64_t wanted = bl_memory_budget_share(cache->budget) / HINT_SHARE / BL_HINT_WAYS;
        wanted = wanted < HINT_LINES_MIN ? HINT_LINES_MIN : wanted;
        unsigned bits = 63 - (unsigned)__builtin_clzll(wanted);
        cache->front.hints.shift = 64 - bits;
        bl_value_hint_line *all = bl_region_alloc(hints_bytes(cache));
        if (all != NULL) { /* else reads are as fast as without */
            bl_memory_budget_force(cache->budget, BL_MEMORY_INDEX, hints_bytes(cache));
            atomic_store_explicit(&cache->front.hints.all, all, memory_order_release);
        }
    }
    bl_mutex_unlock(&cache->lock);
}

static void free_hints(bl_frame_cache *cache)
{
    bl_value_hint_line *all = atomic_load_explicit(&cache->front.hints.all, memory_order_relaxed);
    if (all == NULL)
        return;
    bl_memory_budget_release(cache->budget, BL_MEMORY_INDEX, hints_bytes(cache));
    bl_region_free(all, hints_bytes(cache));
}

void bl_frame_cache_end(bl_frame_cache *cache) { bl_page_arena_end(cache->arena); }

void bl_frame_cache_destroy(bl_frame_cache *cache)
{
    empty_limbo(cache);
    bl_assert(cache->frames_live == 0);
    bl_assert(cache->units_live == 0);
    for (size_t i = 0; i < cache->chunk_count; i++) {
        bl_free(cache->chunks[i]);
        bl_memory_budget_release(cache->budget, BL_MEMORY_INDEX, CARD_CHUNK_BYTES);
    }
    bl_free(cache->chunks);
    free_hints(cache);
    bl_page_arena_destroy(cache->arena);
    for (uint32_t i = 0; i < cache->queues_made; i++) {
        bl_condition_deinit(&cache->queues[i].done);
        bl_mutex_deinit(&cache->queues[i].mutex);
    }
    bl_mutex_deinit(&cache->lock);
    bl_free(cache);
}

bl_load_queue *bl_frame_cache_queue(bl_frame_cache *cache, const void *of)
{
    uint64_t mixed = (uint64_t)(uintptr_t)of * UINT64_C(0x9E3779B97F4A7C15);
    return &cache->queues[mixed >> 58];
}
BL_STATIC_ASSERT(QUEUES == 64, "six bits of the mixed address");

/* ---- Counters ---------------------------------------------------------------------------------------- */

void bl_frame_cache_count_load(bl_frame_cache *cache, uint64_t bytes_read)
{
    atomic_fetch_add_explicit(&cache->misses, 1, memory_order_relaxed);
    atomic_fetch_add_explicit(&cache->bytes_read, bytes_read, memory_order_relaxed);
}

void bl_frame_cache_count_shared(bl_frame_cache *cache)
{
    atomic_fetch_add_explicit(&cache->loads_shared, 1, memory_order_relaxed);
}

void bl_frame_cache_counters_read(const bl_frame_cache *cache, bl_frame_cache_counters *out)
{
    *out = (bl_frame_cache_counters){
        .misses = atomic_load_explicit(&cache->misses, memory_order_relaxed),
        .evictions = atomic_load_explicit(&cache->evictions, memory_order_relaxed),
        .bytes_read = atomic_load_explicit(&cache->bytes_read, memory_order_relaxed),
        .loads_shared = atomic_load_explicit(&cache->loads_shared, memory_order_relaxed),
    };
    for (int i = 0; i < BL_COUNT_STRIPES; i++)
        out->hits += atomic_load_explicit(&cache->front.stripes[i].hits, memory_order_relaxed);
}

/* ---- Cards ------------------------------------------------------------------------------------------- */

static bool grow_cards_locked(bl_frame_cache *cache)
{
    if (cache->chunk_count == cache->chunk_capacity) {
        size_t capacity = cache->chunk_capacity == 0 ? 16 : cache->chunk_capacity * 2;
        card_chunk **chunks = bl_realloc(cache->chunks, capacity * sizeof(*chunks));
        if (chunks == NULL)
            return false;
        cache->chunks = chunks;
        cache->chunk_capacity = capacity;
    }
    card_chunk *chunk = bl_alloc_aligned(CARD_CHUNK_BYTES, CARD_CHUNK_BYTES);
    if (chunk == NULL)
        return false;
    bl_memory_budget_force(cache->budget, BL_MEMORY_INDEX, CARD_CHUNK_BYTES);
    chunk->cache = cache;
    for (int i = CARDS_A_CHUNK - 1; i >= 0; i--) {
        chunk->cards[i].next = cache->free_cards;
        cache->free_cards = &chunk->cards[i];
    }
    cache->chunks[cache->chunk_count++] = chunk;
    return true;
}

static bl_frame_cache *cache_of(const bl_frame_card *card)
{
    return ((const card_chunk *)((uintptr_t)card & ~(uintptr_t)(CARD_CHUNK_BYTES - 1)))->cache;
}

static uint64_t card_bytes(const bl_frame_card *card) { return (uint64_t)card->pages * BL_PAGE_BYTES; }

/* A quarter of what the ledger has left may stay in holes. A merge's outputs take the memory that the inputs of the one
 * before have left; with an eighth half of it went back to the kernel in between, which had to clear it anew. */
static void free_memory(bl_frame_cache *cache, void *memory, size_t bytes)
{
    bl_page_arena_allow_holes(cache->arena, bl_memory_budget_room(cache->budget) / 4);
    bl_page_arena_free(cache->arena, memory, bytes);
}

static void free_frame_locked(bl_frame_cache *cache, bl_frame_card *card, bl_memory_class memory_class)
{
    bl_assert(card->frame != NULL && cache->frames_live > 0);
    free_memory(cache, card->frame, card_bytes(card));
    bl_memory_budget_release(cache->budget, memory_class, card_bytes(card));
    cache->frames_live--;
    card->frame = NULL;
    card->pages = 0;
    atomic_store_explicit(&card->slot, NULL, memory_order_relaxed);
    card->next = cache->free_cards;
    cache->free_cards = card;
}

/* Nobody can find the frame any more: free it, or leave it to the last unpin (FRAME-1). */
static void retire_frame_locked(bl_frame_cache *cache, bl_frame_card *card)
{
    if (atomic_fetch_or_explicit(&card->frame->pins, BL_FRAME_ORPHAN, memory_order_acq_rel) == 0) {
        free_frame_locked(cache, card, BL_MEMORY_CACHE);
        return;
    }
    BL_MARK("a pinned frame outlives its slot");
    bl_memory_budget_move(cache->budget, BL_MEMORY_CACHE, BL_MEMORY_PINNED, card_bytes(card));
}

/* The last pin of a frame that readers do not find any more. */
void bl_frame_free_orphan(bl_frame *frame)
{
    bl_debug_assert(!bl_epoch_inside());
    bl_frame_card *card = frame->card;
    bl_frame_cache *cache = cache_of(card);
    bl_mutex_lock(&cache->lock);
    free_frame_locked(cache, card, BL_MEMORY_PINNED);
    bl_mutex_unlock(&cache->lock);
}

/* ---- Units: a ring ----------------------------------------------------------------------------------- */

static void ring_remove_locked(bl_frame_cache *cache, bl_unit_node *node)
{
    bl_assert(cache->unit_count > 0);
    cache->unit_count--;
    if (cache->unit_hand == node)
        cache->unit_hand = cache->unit_count == 0 ? NULL : node->after;
    node->before->after = node->after;
    node->after->before = node->before;
}

static void free_unit_locked(bl_frame_cache *cache, bl_unit_node *node)
{
    bl_assert(cache->units_live > 0);
    cache->units_live--;
    size_t bytes = node->bytes;
    free_memory(cache, node, bytes);
    bl_memory_budget_release(cache->budget, BL_MEMORY_INDEX, bl_page_arena_size(bytes));
}

/* ---- Limbo ------------------------------------------------------------------------------------------- */

static limbo_batch *limbo_at(bl_frame_cache *cache, uint32_t i)
{
    return &cache->limbo[(cache->limbo_first + i) % LIMBO_BATCHES];
}

static void limbo_add_locked(bl_frame_cache *cache, const limbo_batch *batch)
{
    uint64_t ticket = bl_epoch_ticket();
    cache->limbo_bytes += batch->bytes;
    if (cache->limbo_count < LIMBO_BATCHES) {
        limbo_batch *place = limbo_at(cache, cache->limbo_count++);
        *place = *batch;
        place->ticket = ticket;
        return;
    }
    BL_MARK("limbo is full");
    limbo_batch *newest = limbo_at(cache, LIMBO_BATCHES - 1);
    newest->ticket = ticket;
    newest->bytes += batch->bytes;
    bl_frame_card **last_card = &newest->cards;
    while (*last_card != NULL)
        last_card = &(*last_card)->next;
    *last_card = batch->cards;
    bl_unit_node **last_unit = &newest->units;
    while (*last_unit != NULL)
        last_unit = &(*last_unit)->after;
    *last_unit = batch->units;
}

/* Free what no reader can see any more; never waits. */
static void reap_locked(bl_frame_cache *cache)
{
    while (cache->limbo_count > 0 && bl_epoch_passed(limbo_at(cache, 0)->ticket)) {
        limbo_batch *batch = limbo_at(cache, 0);
        for (bl_frame_card *card = batch->cards, *next; card != NULL; card = next) {
            next = card->next;
            retire_frame_locked(cache, card);
        }
        for (bl_unit_node *node = batch->units, *next; node != NULL; node = next) {
            next = node->after;
            free_unit_locked(cache, node);
        }
        cache->limbo_bytes -= batch->bytes;
        cache->limbo_first = (cache->limbo_first + 1) % LIMBO_BATCHES;
        cache->limbo_count--;
    }
}

/* ---- The clocks -------------------------------------------------------------------------------------- */

static bl_frame_card *card_number(const bl_frame_cache *cache, size_t number)
{
    return &cache->chunks[number / CARDS_A_CHUNK]->cards[number % CARDS_A_CHUNK];
}

/* A slot is emptied: its frame belongs to the caller, its unit has one holder less. */
static void detach_locked(bl_frame_card *card)
{
    bl_holders *holders = card->holders;
    atomic_store_explicit(&card->slot, NULL, memory_order_relaxed);
    card->next = NULL;
    int64_t before = atomic_fetch_sub_explicit(holders, 1, memory_order_release);
    bl_assert(before > 0);
}

/* Look at one card; true when its frame was evicted. */
static bool turn_frame_locked(bl_frame_card *card, bool warm_stay)
{
    _Atomic(bl_frame *) *slot = atomic_load_explicit(&card->slot, memory_order_acquire);
    if (slot == NULL)
        return false;
    bl_frame *value = atomic_load_explicit(slot, memory_order_relaxed);
    if (bl_slot_frame(value) != card->frame)
        return false; /* being installed */
    if (((uintptr_t)value & BL_SLOT_REFERENCED) != 0) {
        atomic_compare_exchange_strong_explicit(slot, &value, card->frame, memory_order_relaxed,
                                                memory_order_relaxed);
        card->heat += card->heat < HEAT_MAX;
        return false;
    }
    if (card->heat > 0 && warm_stay) {
        card->heat--;
        return false;
    }
    /* To evict a pinned one would give nothing back; and a reader may come by. Acquire: what the installer did to
     * the card comes before whatever is done to it now. */
    if (atomic_load_explicit(&card->frame->pins, memory_order_relaxed) != 0 ||
        !atomic_compare_exchange_strong_explicit(slot, &value, NULL, memory_order_acquire,
                                                 memory_order_relaxed))
        return false;
    detach_locked(card);
    return true;
}

static bool turn_unit_locked(bl_frame_cache *cache, limbo_batch *batch)
{
    bl_unit_node *node = cache->unit_hand;
    if (node == NULL)
        return false;
    cache->unit_hand = node->after;
    if (atomic_load_explicit(&node->holders, memory_order_relaxed) != 0)
        return false;
    int64_t none = 0; /* a reader may come by, too */
    if (atomic_exchange_explicit(&node->used, false, memory_order_relaxed) ||
        !atomic_compare_exchange_strong_explicit(&node->holders, &none, INT64_MIN / 2, memory_order_acquire,
                                                 memory_order_relaxed))
        return false;
    ring_remove_locked(cache, node);
    atomic_store_explicit(node->place, NULL, memory_order_relaxed);
    node->after = batch->units;
    batch->units = node;
    batch->bytes += bl_page_arena_size(node->bytes);
    return true;
}

/* Turn the clocks until `goal` bytes are on their way out, or two turns gave nothing more. Returns the bytes.
 * */
static uint64_t evict_locked(bl_frame_cache *cache, uint64_t goal, uint64_t frames_max)
{
    limbo_batch batch = { 0 };
    uint64_t evicted = 0;
    size_t cards = cache->chunk_count * CARDS_A_CHUNK;
    for (size_t step = 0; step < 2 * cards && batch.bytes < goal && evicted < frames_max; step++) {
        if (cache->hand >= cards)
            cache->hand = 0;
        if (cache->hand + PREFETCH_CARDS < cards) {
            const bl_frame_card *ahead = card_number(cache, cache->hand + PREFETCH_CARDS);
            const void *slot = (const void *)(uintptr_t)atomic_load_explicit(&ahead->slot,
                                                                             memory_order_relaxed);
            bl_prefetch_to_write(slot);
        }
        bl_frame_card *card = card_number(cache, cache->hand++);
        if (turn_frame_locked(card, step < cards)) {
            card->next = batch.cards;
            batch.cards = card;
            batch.bytes += card_bytes(card);
            evicted++;
        }
        cache->unit_turn += cache->unit_count;
        if (cache->unit_turn >= cards) {
            cache->unit_turn -= cards;
            turn_unit_locked(cache, &batch);
        }
    }
    if (evicted < frames_max) { /* frames alone were not enough */
        for (size_t left = 2 * cache->unit_count; left > 0 && batch.bytes < goal; left--)
            turn_unit_locked(cache, &batch);
    }
    if (batch.bytes == 0)
        return 0;
    atomic_fetch_add_explicit(&cache->evictions, evicted, memory_order_relaxed);
    limbo_add_locked(cache, &batch);
    return batch.bytes;
}

static uint64_t reserve_bytes(const bl_frame_cache *cache)
{
    uint64_t share = bl_memory_budget_share(cache->budget);
    uint64_t reserve = share / RESERVE_SHARE;
    if (reserve < RESERVE_PAGES_MIN * BL_PAGE_BYTES)
        reserve = RESERVE_PAGES_MIN * BL_PAGE_BYTES;
    return reserve < share / RESERVE_SHARE_MAX ? reserve : share / RESERVE_SHARE_MAX;
}

/* Room is below the reserve: free what limbo has ready, and when that is not enough start an eviction, so
 * that the next miss finds its grace period over. A batch goes beyond the reserve: so only one miss in many
 * has anything to do here. */
static void top_up(bl_frame_cache *cache, uint64_t reserve)
{
    uint64_t batch = BATCH_FRAMES * BL_PAGE_BYTES < reserve ? BATCH_FRAMES * BL_PAGE_BYTES : reserve;
    bl_mutex_lock(&cache->lock);
    reap_locked(cache);
    uint64_t coming = bl_memory_budget_room(cache->budget) + cache->limbo_bytes;
    if (coming < reserve)
        evict_locked(cache, reserve + batch - coming, BATCH_FRAMES);
    bl_mutex_unlock(&cache->lock);
}

/* Bytes that must go before `bytes` more fit. */
static uint64_t shortage(const bl_frame_cache *cache, uint64_t bytes)
{
    uint64_t room = bl_memory_budget_room(cache->budget);
    uint64_t excess = bl_memory_budget_excess(cache->budget);
    return excess + (bytes > room ? bytes - room : 0);
}

static bool charge_slowly(bl_frame_cache *cache, bl_memory_class memory_class, uint64_t bytes)
{
    bl_assert(!bl_epoch_inside());
    bl_mutex_lock(&cache->lock);
    bool charged = false;
    for (;;) {
        reap_locked(cache);
        charged = bl_memory_budget_charge(cache->budget, memory_class, bytes);
        if (charged || bytes > bl_memory_budget_share(cache->budget))
            break;
        uint64_t short_of = shortage(cache, bytes);
        if (short_of > cache->limbo_bytes)
            evict_locked(cache, short_of - cache->limbo_bytes, UINT64_MAX);
        if (cache->limbo_count == 0)
            break;
        BL_MARK("a miss waits for a grace period");
        bl_mutex_unlock(&cache->lock);
        bl_epoch_wait();
        bl_mutex_lock(&cache->lock);
    }
    bl_mutex_unlock(&cache->lock);
    return charged;
}

bool bl_frame_cache_charge(bl_frame_cache *cache, bl_memory_class memory_class, uint64_t bytes)
{
    if (!bl_memory_budget_charge(cache->budget, memory_class, bytes) &&
        !charge_slowly(cache, memory_class, bytes))
        return false;
    uint64_t reserve = reserve_bytes(cache);
    if (bl_unlikely(bl_memory_budget_room(cache->budget) < reserve))
        top_up(cache, reserve);
    return true;
}

void bl_frame_cache_trim(bl_frame_cache *cache)
{
    bl_assert(!bl_epoch_inside());
    bl_mutex_lock(&cache->lock);
    for (;;) {
        reap_locked(cache);
        uint64_t excess = bl_memory_budget_excess(cache->budget);
        if (excess == 0)
            break;
        if (excess > cache->limbo_bytes)
            evict_locked(cache, excess - cache->limbo_bytes, UINT64_MAX);
        if (cache->limbo_count == 0)
            break;
        bl_mutex_unlock(&cache->lock);
        bl_epoch_wait();
        bl_mutex_lock(&cache->lock);
    }
    bl_mutex_unlock(&cache->lock);
}

/* ---- Frames ------------------------------------------------------------------------------------------ */

static bool charge_frame(bl_frame_cache *cache, size_t bytes, bool evict)
{
    if (evict)
        return bl_frame_cache_charge(cache, BL_MEMORY_CACHE, bytes);
    return bl_memory_budget_room(cache->budget) >= bytes + reserve_bytes(cache) &&
           bl_memory_budget_charge(cache->budget, BL_MEMORY_CACHE, bytes);
}

bole_status bl_frame_cache_take(bl_frame_cache *cache, size_t bytes, bool evict, bl_frame_card **out,
                                bole_error *error)
{
    *out = NULL;
    size_t size = bl_page_arena_size(bytes);
    if (!charge_frame(cache, size, evict))
        return bl_fail(error, BOLE_MEMORY_PINNED, "no room for a block of %zu bytes within the memory limit",
                       bytes);
    bl_frame *frame = bl_page_arena_alloc(cache->arena, size);
    bl_frame_card *card = NULL;
    if (frame != NULL) {
        bl_assert(((uintptr_t)frame & BL_SLOT_TAGS) == 0);
        bl_mutex_lock(&cache->lock);
        if (cache->free_cards != NULL || grow_cards_locked(cache)) {
            card = cache->free_cards;
            cache->free_cards = card->next;
            card->next = NULL;
            card->frame = frame;
            card->pages = (uint32_t)(size / BL_PAGE_BYTES);
            card->heat = 0;
            cache->frames_live++;
        }
        bl_mutex_unlock(&cache->lock);
    }
    if (card == NULL) {
        if (frame != NULL)
            free_memory(cache, frame, size);
        bl_memory_budget_release(cache->budget, BL_MEMORY_CACHE, size);
        return bl_fail(error, BOLE_NO_MEMORY, "frame of %zu bytes", bytes);
    }
    *out = card;
    return BOLE_OK;
}

void bl_frame_cache_give_back(bl_frame_cache *cache, bl_frame_card *card)
{
    if (card == NULL)
        return;
    bl_assert(atomic_load_explicit(&card->slot, memory_order_relaxed) == NULL);
    bl_mutex_lock(&cache->lock);
    free_frame_locked(cache, card, BL_MEMORY_CACHE);
    bl_mutex_unlock(&cache->lock);
}

bl_frame_card *bl_frame_cache_adopt(bl_frame_cache *cache, const void *block, size_t bytes, bool evict)
{
    bl_frame_card *card;
    if (bl_frame_cache_take(cache, bytes, evict, &card, NULL) != BOLE_OK)
        return NULL;
    memcpy(bl_frame_card_bytes(card), block, bytes);
    return card;
}

void bl_frame_install(bl_frame_card *card, _Atomic(bl_frame *) *slot, bl_holders *holders)
{
    bl_debug_assert(bl_slot_frame(atomic_load_explicit(slot, memory_order_relaxed)) == NULL);
    bl_assert(atomic_load_explicit(holders, memory_order_relaxed) > 0);
    card->frame->card = card;
    atomic_init(&card->frame->pins, 0);
    card->holders = holders;
    atomic_store_explicit(&card->slot, slot, memory_order_release);
    atomic_store_explicit(slot, card->frame, memory_order_release);
}

void bl_frame_cache_drop(bl_frame_cache *cache, _Atomic(bl_frame *) *slots, size_t count)
{
    bool any = false;
    for (size_t i = 0; i < count; i++)
        any = any || atomic_load_explicit(&slots[i], memory_order_relaxed) != NULL;
    if (!any)
        return;
    bl_mutex_lock(&cache->lock);
    for (size_t i = 0; i < count; i++) {
        bl_frame *value = atomic_load_explicit(&slots[i], memory_order_acquire);
        bl_assert(((uintptr_t)value & BL_SLOT_LOADING) == 0);
        bl_frame *frame = bl_slot_frame(value);
        if (frame == NULL)
            continue;
        atomic_store_explicit(&slots[i], NULL, memory_order_relaxed);
        bl_frame_card *card = frame->card;
        detach_locked(card);
        retire_frame_locked(cache, card);
    }
    bl_mutex_unlock(&cache->lock);
}

/* ---- Units ------------------------------------------------------------------------------------------- */

bole_status bl_frame_cache_take_unit(bl_frame_cache *cache, size_t bytes, bool force, bl_unit_node **out,
                                     bole_error *error)
{
    *out = NULL;
    bl_assert(bytes >= sizeof(bl_unit_node));
    size_t size = bl_page_arena_size(bytes);
    if (force)
        bl_memory_budget_force(cache->budget, BL_MEMORY_INDEX, size);
    else if (!bl_frame_cache_charge(cache, BL_MEMORY_INDEX, size))
        return bl_fail(error, BOLE_MEMORY_PINNED, "no room for an index of %zu bytes within the memory limit",
                       bytes);
    bl_unit_node *node = bl_page_arena_alloc(cache->arena, bytes);
    if (node == NULL) {
        bl_memory_budget_release(cache->budget, BL_MEMORY_INDEX, size);
        return bl_fail(error, BOLE_NO_MEMORY, "index of %zu bytes", bytes);
    }
    memset(node, 0, bytes);
    node->bytes = bytes;
    bl_mutex_lock(&cache->lock);
    cache->units_live++;
    bl_mutex_unlock(&cache->lock);
    *out = node;
    return BOLE_OK;
}

void bl_frame_cache_give_back_unit(bl_frame_cache *cache, bl_unit_node *node)
{
    bl_assert(node->place == NULL);
    bl_mutex_lock(&cache->lock);
    free_unit_locked(cache, node);
    bl_mutex_unlock(&cache->lock);
}

void bl_frame_cache_publish_unit(bl_frame_cache *cache, bl_unit_node *node, _Atomic(bl_unit_node *) *place)
{
    bl_assert(node->place == NULL);
    node->place = place;
    bl_mutex_lock(&cache->lock);
    bl_unit_node *hand = cache->unit_hand;
    if (hand == NULL) {
        node->before = node->after = node;
        cache->unit_hand = node;
    } else { /* behind the hand: it is looked at last */
        node->after = hand;
        node->before = hand->before;
        node->before->after = node;
        hand->before = node;
    }
    cache->unit_count++;
    atomic_store_explicit(place, node, memory_order_release);
    bl_mutex_unlock(&cache->lock);
}

void bl_frame_cache_drop_unit(bl_frame_cache *cache, _Atomic(bl_unit_node *) *place)
{
    bl_mutex_lock(&cache->lock);
    bl_unit_node *node = atomic_load_explicit(place, memory_order_relaxed);
    if (node != NULL) {
        bl_assert(atomic_load_explicit(&node->holders, memory_order_acquire) == 0);
        atomic_store_explicit(place, NULL, memory_order_relaxed);
        ring_remove_locked(cache, node);
        free_unit_locked(cache, node);
    }
    bl_mutex_unlock(&cache->lock);
}
