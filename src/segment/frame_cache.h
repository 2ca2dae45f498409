/* SPDX-License-Identifier: MIT */
/* frame_cache.h -- blocks in memory: frames, pins, eviction.
 *
 * There is no hash table: each open segment has one atomic pointer per block (a slot, in block_index.h), to a
 * frame or null; the cache owns the frames and may set any slot back to null. A hit takes no lock, no count,
 * no hash.
 *
 * FRAME   Memory of the page arena, aligned to 4 KiB, that begins with the block's own bytes (block.h), so
 *         that a get touches the lines of the block and no other. Once a block was verified its checksum and
 *         stored size are of no use in memory; an installed frame holds its pins and the address of its card
 *         there, in the line that every search of the block reads. The rest of what the cache knows of a
 *         frame is the card, in dense arrays beside the frames.
 * SLOT    The frame's address; the low 12 bits are free and say: BL_SLOT_REFERENCED (a get was here since the
 *         clock hand passed; it lies in the line that the get has just read, and is written only when it is
 *         not set yet), BL_SLOT_LOADING (no frame yet; somebody reads it).
 * LIFE    null -> loading (others wait, outside the epoch) -> frame -> evicted: the slot is set to null, a
 *         grace period passes (the frame is in limbo), then its pin count is looked at: zero frees, else it
 *         is an orphan and the last unpin frees. Its bytes stay charged until then: to BL_MEMORY_CACHE, as an
 *         orphan to BL_MEMORY_PINNED.
 * Eviction is CLOCK (Corbato 1968) with a count for each frame (Smith's generalized one, 1978): each turn that
 * finds a frame wanted again makes it stay one turn longer, up to three. In batches, done by who loads when the
 * budget is short; about 1 % of the share is kept free, so that a miss finds room without waiting for a grace
 * period. Pinned frames are passed over: evicting them gives nothing back. Units (a segment's index and filter,
 * segment_state.h) have a clock of their own that turns at the same rate; a unit goes when nothing holds it and
 * no read came by for one turn. */
#ifndef BL_SEGMENT_FRAME_CACHE_H
#define BL_SEGMENT_FRAME_CACHE_H

#include "base/assert.h"
#include "core/memory_budget.h"
#include "platform/epoch.h"
#include "platform/page_arena.h"
#include "platform/scheduler.h"
#include "segment/value_hint.h"

typedef struct bl_frame_cache bl_frame_cache;
/* One block in memory, decompressed and verified: what lies over the first bytes of an installed one. */
typedef struct bl_frame {
    struct bl_frame_card *card;
    _Atomic uint32_t pins; /* BL_FRAME_ORPHAN | count */
} bl_frame;
#define BL_FRAME_ORPHAN (UINT32_C(1) << 31)

BOLE_CHECKED bole_status bl_frame_cache_create(bl_memory_budget *budget, bl_scheduler *scheduler,
                                               bl_frame_cache **out, bole_error *error);
/* Its memory goes at once, when it is destroyed, and no more piece by piece as the segments let go of it. */
void bl_frame_cache_end(bl_frame_cache *cache);
void bl_frame_cache_destroy(bl_frame_cache *cache); /* every frame must be free */
/* Give back memory until the budget's excess is 0 or nothing evictable is left (after a limit was lowered, or
 * by a background job). Outside an epoch: it waits for grace periods. */
void bl_frame_cache_trim(bl_frame_cache *cache);

/* A reader inside an epoch that found a frame keeps it beyond the epoch. Who holds a pin may pin again
 * anywhere. */
static inline void bl_frame_pin(bl_frame *frame)
{
    uint32_t before = atomic_fetch_add_explicit(&frame->pins, 1, memory_order_relaxed);
    bl_assert((before & ~BL_FRAME_ORPHAN) < BL_FRAME_ORPHAN - 1);
}
void bl_frame_free_orphan(bl_frame *frame); /* of bl_frame_unpin */
/* Never inside an epoch: the last one may free. NULL is allowed. */
static inline void bl_frame_unpin(bl_frame *frame)
{
    if (frame == (void *)0)
        return;
    uint32_t before = atomic_fetch_sub_explicit(&frame->pins, 1, memory_order_acq_rel);
    bl_assert((before & ~BL_FRAME_ORPHAN) != 0);
    if (__builtin_expect(before == (BL_FRAME_ORPHAN | 1), 0))
        bl_frame_free_orphan(frame);
}

typedef struct bl_frame_cache_counters {
    uint64_t hits, misses, evictions, bytes_read, loads_shared;
} bl_frame_cache_counters;
void bl_frame_cache_counters_read(const bl_frame_cache *cache, bl_frame_cache_counters *out);

/* ---- Making frames: block_reader, segment_writer ---- */

/* A holder counts who needs a unit to stay: its filled slots, loads under way, cursors. Below 0: it is going.
 * */
typedef _Atomic int64_t bl_holders;

typedef struct bl_frame_card {
    bl_frame *frame;                     /* NULL: the card is free */
    _Atomic(_Atomic(bl_frame *) *) slot; /* NULL: not installed */
    union {
        bl_holders *holders;             /* installed: gets one less when the slot is emptied */
        struct bl_frame_card *next;      /* free, or in limbo */
    };
    uint32_t pages;                      /* charged */
    uint8_t heat;                        /* turns of the clock that it outlives without being wanted */
} bl_frame_card;

/* A frame of `bytes`, charged to BL_MEMORY_CACHE, not zeroed, the caller's until it is installed or given
 * back. `evict`: make room if there is none (outside an epoch); else only what is free above the reserve is
 * given, for blocks that are worth less than what is in the cache. BOLE_MEMORY_PINNED: no room;
 * BOLE_NO_MEMORY. */
BOLE_CHECKED bole_status bl_frame_cache_take(bl_frame_cache *cache, size_t bytes, bool evict,
                                             bl_frame_card **out, bole_error *error);
void bl_frame_cache_give_back(bl_frame_cache *cache, bl_frame_card *card); /* NULL is allowed */
static inline uint8_t *bl_frame_card_bytes(const bl_frame_card *card) { return (uint8_t *)card->frame; }
/* Take over a verified block, built elsewhere, as a frame (a copy): for the segment writer, which keeps the
 * cards by ordinal and hands them to bl_segment_create_built, or gives them back. NULL when there is no room.
 * A writer that builds a block in place takes a frame, writes block and checksum there and to the file, and
 * keeps the card. */
bl_frame_card *bl_frame_cache_adopt(bl_frame_cache *cache, const void *block, size_t bytes, bool evict);

/* Fill an empty (or LOADING, and then the caller's) slot: from now on readers see the block. The frame's
 * first bytes, as many as bl_frame has, are overwritten. One holder was counted for it by the caller and belongs
 * to the slot now. */
void bl_frame_install(bl_frame_card *card, _Atomic(bl_frame *) *slot, bl_holders *holders);
/* Empty `count` slots that no reader can reach any more: frames are freed at once, pinned ones with their
 * last pin. */
void bl_frame_cache_drop(bl_frame_cache *cache, _Atomic(bl_frame *) *slots, size_t count);

/* ---- Slots ---- */

#define BL_SLOT_REFERENCED ((uintptr_t)1)
#define BL_SLOT_LOADING ((uintptr_t)2)
#define BL_SLOT_TAGS ((uintptr_t)BL_PAGE_BYTES - 1)

/* The frame in a slot's value, or NULL. */
static inline bl_frame *bl_slot_frame(bl_frame *value)
{
    return (bl_frame *)((uintptr_t)value & ~BL_SLOT_TAGS);
}
/* A reader inside an epoch: the frame, or NULL. Remembers for the clock that it was wanted. */
static inline bl_frame *bl_slot_read(_Atomic(bl_frame *) *slot)
{
    bl_frame *value = atomic_load_explicit(slot, memory_order_acquire);
    bl_frame *frame = bl_slot_frame(value);
    if (__builtin_expect(((uintptr_t)value & BL_SLOT_REFERENCED) == 0, 0) && frame != NULL)
        atomic_compare_exchange_strong_explicit(slot, &value,
                                                (bl_frame *)((uintptr_t)value | BL_SLOT_REFERENCED),
                                                memory_order_relaxed, memory_order_relaxed);
    return frame;
}

/* ---- Hints of large values (value_hint.h) ---- */

/* There is a large value in a segment: make room for hints, as the memory limit allows. Outside an epoch. */
void bl_frame_cache_make_hints(bl_frame_cache *cache);

/* ---- Units, as the cache sees them ---- */

typedef struct bl_unit_node {
    bl_holders holders;
    _Atomic bool used;                           /* a read came by since the clock hand passed */
    size_t bytes;                                /* asked for; charged as bl_page_arena_size says, to INDEX */
    _Atomic(struct bl_unit_node *) *place;       /* where readers find it; NULL there when it is evicted */
    struct bl_unit_node *before, *after;         /* the ring of all published units; after: a list in limbo */
} bl_unit_node;

/* Memory for a unit, charged to BL_MEMORY_INDEX, zeroed, aligned to 4 KiB, that begins with its node; makes
 * room. `force`: charge it whatever the limit says (a read that must go on). */
BOLE_CHECKED bole_status bl_frame_cache_take_unit(bl_frame_cache *cache, size_t bytes, bool force,
                                                  bl_unit_node **out, bole_error *error);
/* One that was not published. */
void bl_frame_cache_give_back_unit(bl_frame_cache *cache, bl_unit_node *node);
/* Publish it at `place` (release) and let it be evicted from now on when nobody holds it. */
void bl_frame_cache_publish_unit(bl_frame_cache *cache, bl_unit_node *node, _Atomic(bl_unit_node *) *place);
/* The segment dies and no reader can reach it any more. Slots are empty and nobody holds it. */
void bl_frame_cache_drop_unit(bl_frame_cache *cache, _Atomic(bl_unit_node *) *place);
/* Count one holder more, unless the unit is on its way out. The caller is inside an epoch, or holds it
 * already. */
static inline bool bl_unit_hold(bl_unit_node *node)
{
    int64_t holders = atomic_load_explicit(&node->holders, memory_order_relaxed);
    do {
        if (holders < 0)
            return false;
    } while (!atomic_compare_exchange_weak_explicit(&node->holders, &holders, holders + 1,
                                                    memory_order_acquire, memory_order_relaxed));
    return true;
}
static inline void bl_unit_let_go(bl_unit_node *node)
{
    atomic_fetch_sub_explicit(&node->holders, 1, memory_order_release);
}

/* ---- For block_reader and segment ---- */

/* Charge bytes, evicting when the budget is short; false: no room all the same. Outside an epoch. */
bool bl_frame_cache_charge(bl_frame_cache *cache, bl_memory_class memory_class, uint64_t bytes);

/* Places where threads wait for another's load, hashed by what is loaded. */
typedef struct bl_load_queue {
    bl_mutex mutex;
    bl_condition done;
} bl_load_queue;
bl_load_queue *bl_frame_cache_queue(bl_frame_cache *cache, const void *of);

/* Counters: a thread adds to a line of its own (exact while at most BL_COUNT_STRIPES threads read at a time;
 * beyond that, threads that share a line may lose counts). The caller is inside an epoch, or was in one
 * before. */
enum { BL_COUNT_STRIPES = 16 };
static inline unsigned bl_count_stripe(void)
{
    return (unsigned)((uintptr_t)bl_epoch_mine / sizeof(bl_epoch_slot)) % BL_COUNT_STRIPES;
}
static inline void bl_count_add(_Atomic uint64_t *counter, uint64_t by)
{
    atomic_store_explicit(counter, atomic_load_explicit(counter, memory_order_relaxed) + by,
                          memory_order_relaxed);
}
/* The first member of a cache: what reads use takes a few instructions. */
typedef struct bl_frame_cache_front {
    struct bl_frame_cache_stripe {
        _Alignas(64) _Atomic uint64_t hits;
    } stripes[BL_COUNT_STRIPES];
    bl_value_hints hints;
} bl_frame_cache_front;
static inline void bl_frame_cache_hit(bl_frame_cache *cache)
{
    bl_count_add(&((bl_frame_cache_front *)(void *)cache)->stripes[bl_count_stripe()].hits, 1);
}
/* Is it this thread's turn, once in a while, to go the long way: so that what hints spare is not taken for unwanted? */
enum { BL_HINT_TURN = 64 };
static inline bool bl_frame_cache_searches(const bl_frame_cache *cache)
{
    const bl_frame_cache_front *front = (const bl_frame_cache_front *)(const void *)cache;
    uint64_t hits = atomic_load_explicit(&front->stripes[bl_count_stripe()].hits, memory_order_relaxed);
    return hits % BL_HINT_TURN == 0;
}
static inline const bl_value_hints *bl_frame_cache_hints(const bl_frame_cache *cache)
{
    return &((const bl_frame_cache_front *)(const void *)cache)->hints;
}
/* A miss that this thread read; one that it waited for while another thread read. */
void bl_frame_cache_count_load(bl_frame_cache *cache, uint64_t bytes_read);
void bl_frame_cache_count_shared(bl_frame_cache *cache);

#endif
