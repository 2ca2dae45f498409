/* SPDX-License-Identifier: MIT */
/* memory_content.c -- pages, shared until written, so that a sync or a copy of the disk costs what changed.
 *
 * A file is an array of slots; a page may stand in several slots and several disks, and is copied before it
 * is written when anyone else holds it. A sync makes the current pages of the dirty slots the durable ones.
 *
 * A POWER CUT (BOLE_CRASH_RANDOM) decides for each 512-byte sector of each dirty page alone: old, new, zeros,
 * garbage, torn (new, then old), or a stale state between; and for the length: old, new, or between.
 * INVARIANTS  (CONTENT-1) A byte that unsynced writes left as it was is as it was after a cut (what SQLite
 *                         calls powersafe overwrite): an append to a sector does not damage what was synced
 *                         in it.
 *             (CONTENT-2) Synced bytes are never touched by a cut; what is behind the length reads as zeros.
 *             (CONTENT-3) A slot is in `unclean` exactly while its state is not 0, so a failure to list it
 *                         cannot happen: the list has room for every slot.
 *             (CONTENT-4) Pages are written only while they have one reference.
 * THREADS     The caller's lock; pages are shared between disks, so their counts are atomic. */
#include "platform/memory_content.h"

#include "base/alloc.h"
#include "base/assert.h"

#include <stdatomic.h>
#include <string.h>

enum {
    PAGE = BL_MEMORY_PAGE_BYTES,
    SECTOR = BL_MEMORY_SECTOR_BYTES,
    SLOT_DIRTY = 1, /* changed since the last sync */
    SLOT_LOST = 2,  /* a sync of it failed: only writing it again makes it durable */
    STALE_ONE_IN = 8,
    SLOTS_MAX = 1 << 24, /* a file of 64 GiB, more than a test can mean */
};

struct bl_memory_page {
    _Atomic uint32_t references;
    uint8_t bytes[PAGE];
};

/* Space that was allocated and never written. Its count is never looked at. */
static bl_memory_page zero_page;

/* ---- Pages --------------------------------------------------------------------------------------------- */

static bl_memory_page *hold(bl_memory_page *page)
{
    if (page != NULL && page != &zero_page)
        atomic_fetch_add_explicit(&page->references, 1, memory_order_relaxed);
    return page;
}

static void let_go(bl_memory_page *page)
{
    if (page == NULL || page == &zero_page)
        return;
    if (atomic_fetch_sub_explicit(&page->references, 1, memory_order_acq_rel) == 1)
        bl_free(page);
}

static const uint8_t *bytes_of(const bl_memory_page *page)
{
    return page == NULL ? zero_page.bytes : page->bytes;
}

static bl_memory_page *copy_of(const bl_memory_page *page)
{
    bl_memory_page *copy = bl_new(bl_memory_page);
    if (copy == NULL)
        return NULL;
    atomic_init(&copy->references, 1);
    if (page != NULL && page != &zero_page)
        memcpy(copy->bytes, page->bytes, PAGE);
    return copy;
}

static bool is_shared(const bl_memory_page *page)
{
    return page == NULL || page == &zero_page ||
           atomic_load_explicit(&page->references, memory_order_acquire) != 1;
}

/* ---- Slots --------------------------------------------------------------------------------------------- */

static uint64_t pages_for(uint64_t length) { return length / PAGE + (length % PAGE != 0); }

static bool reserve_slots(bl_memory_content *content, uint64_t count)
{
    if (count <= content->slot_count)
        return true;
    if (count > SLOTS_MAX)
        return false;
    if (count > content->slot_capacity) {
        size_t capacity = content->slot_capacity * 2 > count ? content->slot_capacity * 2 : (size_t)count;
        uint32_t *unclean = bl_realloc(content->unclean, capacity * sizeof *unclean);
        if (unclean == NULL)
            return false;
        content->unclean = unclean;
        bl_memory_slot *slots = bl_realloc(content->slots, capacity * sizeof *slots);
        if (slots == NULL)
            return false;
        content->slots = slots;
        content->slot_capacity = capacity;
    }
    memset(content->slots + content->slot_count, 0, (count - content->slot_count) * sizeof *content->slots);
    content->slot_count = (size_t)count;
    return true;
}

static void mark_dirty(bl_memory_content *content, size_t index)
{
    bl_memory_slot *slot = &content->slots[index];
    if (slot->state == 0) {
        bl_assert(content->unclean_count < content->slot_count);
        content->unclean[content->unclean_count++] = (uint32_t)index;
    }
    slot->state |= SLOT_DIRTY;
}

/* Put `page` (a reference that is given) in the place of the slot's current one. */
static void replace_current(bl_memory_content *content, bl_memory_space *space, size_t index,
                            bl_memory_page *page)
{
    bl_memory_slot *slot = &content->slots[index];
    int64_t change = (page != NULL) - (slot->current != NULL);
    space->used_pages += (uint64_t)change;
    content->pages += (uint64_t)change;
    mark_dirty(content, index);
    let_go(slot->current);
    slot->current = page;
}

static bool has_space(const bl_memory_space *space) { return space->used_pages < space->limit_pages; }

/* Make the slot's current page one that may be written. */
static bole_status make_writable(bl_memory_content *content, bl_memory_space *space, size_t index)
{
    bl_memory_slot *slot = &content->slots[index];
    if (slot->current == NULL && !has_space(space))
        return BOLE_NO_SPACE;
    if (is_shared(slot->current)) {
        bl_memory_page *copy = copy_of(slot->current);
        if (copy == NULL)
            return BOLE_NO_MEMORY;
        replace_current(content, space, index, copy);
    }
    mark_dirty(content, index);
    return BOLE_OK;
}

/* The kernel may write a dirty page back at any moment: remember one such moment now and then. */
static void maybe_write_back(bl_memory_slot *slot, bl_prng *prng)
{
    if ((slot->state & SLOT_DIRTY) == 0 || slot->current == NULL || !bl_prng_chance(prng, STALE_ONE_IN))
        return;
    let_go(slot->stale);
    slot->stale = hold(slot->current);
}

void bl_memory_content_deinit(bl_memory_content *content)
{
    for (size_t i = 0; i < content->slot_count; i++) {
        let_go(content->slots[i].current);
        let_go(content->slots[i].durable);
        let_go(content->slots[i].stale);
    }
    bl_free(content->slots);
    bl_free(content->unclean);
    *content = (bl_memory_content){ 0 };
}

/* ---- What programs do ---------------------------------------------------------------------------------- */

size_t bl_memory_content_read(const bl_memory_content *content, uint64_t offset, void *data, size_t length)
{
    if (offset >= content->length)
        return 0;
    if (length > content->length - offset)
        length = (size_t)(content->length - offset);
    uint8_t *out = data;
    for (size_t done = 0; done < length;) {
        uint64_t at = offset + done;
        size_t in_page = (size_t)(at % PAGE);
        size_t part = PAGE - in_page < length - done ? PAGE - in_page : length - done;
        memcpy(out + done, bytes_of(content->slots[at / PAGE].current) + in_page, part);
        done += part;
    }
    return length;
}

bole_status bl_memory_content_write(bl_memory_content *content, bl_memory_space *space, bl_prng *prng,
                                    uint64_t offset, const void *data, size_t length)
{
    const uint8_t *in = data;
    if (length == 0)
        return BOLE_OK;
    if (!reserve_slots(content, pages_for(offset + length)))
        return BOLE_NO_MEMORY;
    for (size_t done = 0; done < length;) {
        uint64_t at = offset + done;
        size_t in_page = (size_t)(at % PAGE);
        size_t part = PAGE - in_page < length - done ? PAGE - in_page : length - done;
        bl_memory_slot *slot = &content->slots[at / PAGE];
        maybe_write_back(slot, prng);
        bole_status status = make_writable(content, space, (size_t)(at / PAGE));
        if (status != BOLE_OK)
            return status;
        memcpy(slot->current->bytes + in_page, in + done, part);
        done += part;
        if (at + part > content->length)
            content->length = at + part;
    }
    return BOLE_OK;
}

bole_status bl_memory_content_truncate(bl_memory_content *content, bl_memory_space *space, uint64_t length)
{
    if (!reserve_slots(content, pages_for(length)))
        return BOLE_NO_MEMORY;
    uint64_t last = length / PAGE; /* the page that is cut in two */
    if (length < content->length && length % PAGE != 0 && content->slots[last].current != NULL) {
        bole_status status = make_writable(content, space, (size_t)last);
        if (status != BOLE_OK)
            return status;
        memset(content->slots[last].current->bytes + length % PAGE, 0, PAGE - length % PAGE);
    }
    for (uint64_t i = pages_for(length); i < content->slot_count; i++) {
        if (content->slots[i].current != NULL)
            replace_current(content, space, (size_t)i, NULL);
    }
    content->length = length;
    return BOLE_OK;
}

bole_status bl_memory_content_allocate(bl_memory_content *content, bl_memory_space *space, uint64_t offset,
                                       uint64_t length, bool zero)
{
    uint64_t end = offset + length;
    if (!reserve_slots(content, pages_for(end)))
        return BOLE_NO_MEMORY;
    uint64_t holes = 0;
    for (uint64_t i = offset / PAGE; i < pages_for(end); i++)
        holes += content->slots[i].current == NULL;
    if (space->limit_pages - space->used_pages < holes || space->limit_pages < space->used_pages)
        return BOLE_NO_SPACE;
    for (uint64_t i = offset / PAGE; i < pages_for(end); i++) {
        uint64_t first = offset > i * PAGE ? offset - i * PAGE : 0;
        uint64_t behind = end < (i + 1) * PAGE ? end - i * PAGE : PAGE;
        bool whole = first == 0 && behind == PAGE;
        if (content->slots[i].current == NULL || (zero && whole)) {
            replace_current(content, space, (size_t)i, &zero_page);
        } else if (zero) {
            bole_status status = make_writable(content, space, (size_t)i);
            if (status != BOLE_OK)
                return status;
            memset(content->slots[i].current->bytes + first, 0, behind - first);
        }
    }
    if (end > content->length)
        content->length = end;
    return BOLE_OK;
}

void bl_memory_content_sync(bl_memory_content *content)
{
    size_t kept = 0;
    for (size_t i = 0; i < content->unclean_count; i++) {
        bl_memory_slot *slot = &content->slots[content->unclean[i]];
        if ((slot->state & SLOT_DIRTY) == 0) {
            content->unclean[kept++] = content
                                           ->unclean[i]; /* lost in a sync that failed, not written since */
            continue;
        }
        let_go(slot->durable);
        slot->durable = hold(slot->current);
        let_go(slot->stale);
        slot->stale = NULL;
        slot->state = 0;
    }
    content->unclean_count = kept;
    content->durable_length = content->length;
}

void bl_memory_content_forget(bl_memory_content *content)
{
    for (size_t i = 0; i < content->unclean_count; i++)
        content->slots[content->unclean[i]].state = SLOT_LOST;
}

/* ---- A power cut --------------------------------------------------------------------------------------- */

/* How one sector fared. Only bytes that differ between old and new can come out as anything else
 * (CONTENT-1). */
static void cut_sector(uint8_t *out, const uint8_t *before, const uint8_t *after, const uint8_t *stale,
                       bl_prng *prng)
{
    enum { OLD, NEW, NEW_TOO, ZERO, GARBAGE, TORN, STALE, OUTCOMES };
    uint64_t outcome = bl_prng_below(prng, OUTCOMES);
    size_t torn_at = outcome == TORN ? (size_t)bl_prng_below(prng, SECTOR) : 0;
    uint8_t garbage[SECTOR];
    if (outcome == GARBAGE)
        bl_prng_fill(prng, garbage, sizeof garbage);
    for (size_t i = 0; i < SECTOR; i++) {
        if (before[i] == after[i]) {
            out[i] = before[i];
            continue;
        }
        switch (outcome) {
        case OLD: out[i] = before[i]; break;
        case ZERO: out[i] = 0; break;
        case GARBAGE: out[i] = garbage[i]; break;
        case TORN: out[i] = i < torn_at ? after[i] : before[i]; break;
        case STALE: out[i] = stale[i]; break;
        default: out[i] = after[i]; break;
        }
    }
}

/* A new reference to what is on the disk in the place of an unclean slot; *failed when out of memory. */
static bl_memory_page *cut_page(const bl_memory_slot *slot, bl_prng *prng, bool *failed)
{
    const uint8_t *before = bytes_of(slot->durable), *after = bytes_of(slot->current);
    const uint8_t *stale = slot->stale != NULL ? slot->stale->bytes : before;
    bl_memory_page *page = copy_of(slot->durable);
    if (page == NULL) {
        *failed = true;
        return NULL;
    }
    for (size_t at = 0; at < PAGE; at += SECTOR) {
        if (memcmp(before + at, after + at, SECTOR) != 0)
            cut_sector(page->bytes + at, before + at, after + at, stale + at, prng);
    }
    return page;
}

static uint64_t cut_length(const bl_memory_content *from, bl_prng *prng)
{
    uint64_t low = from->length < from->durable_length ? from->length : from->durable_length;
    uint64_t high = from->length < from->durable_length ? from->durable_length : from->length;
    switch (bl_prng_below(prng, 4)) {
    case 0: return from->durable_length;
    case 1: return low + bl_prng_below(prng, high - low + 1);
    default: return from->length;
    }
}

/* The page that survives of a slot, as a new reference. */
static bl_memory_page *surviving_page(const bl_memory_slot *slot, bole_crash_mode mode, bl_prng *prng,
                                      bool *failed)
{
    if (slot->state == 0)
        return hold(slot->current);
    if (mode == BOLE_CRASH_RANDOM)
        return cut_page(slot, prng, failed);
    return hold(slot->durable);
}

/* After the death of the process alone nothing has changed, so all that was unsynced still is. */
static void copy_all(const bl_memory_content *from, bl_memory_content *out)
{
    for (size_t i = 0; i < from->slot_count; i++) {
        const bl_memory_slot *slot = &from->slots[i];
        out->slots[i] = (bl_memory_slot){ hold(slot->current), hold(slot->durable), hold(slot->stale),
                                          slot->state };
    }
    if (from->unclean_count != 0)
        memcpy(out->unclean, from->unclean, from->unclean_count * sizeof *from->unclean);
    out->unclean_count = from->unclean_count;
    out->length = from->length;
    out->durable_length = from->durable_length;
    out->pages = from->pages;
}

/* Bytes behind the length are not the file's: a later growth must find zeros there. */
static bool clear_tail(bl_memory_content *content)
{
    bl_memory_space space = { UINT64_MAX, content->pages };
    bole_status status = bl_memory_content_truncate(content, &space, content->length);
    size_t last = (size_t)(content->length / PAGE);
    if (status != BOLE_OK || content->length % PAGE == 0 || content->slots[last].current == NULL)
        return status == BOLE_OK;
    const uint8_t *bytes = content->slots[last].current->bytes;
    size_t from = content->length % PAGE;
    if (memcmp(bytes + from, zero_page.bytes, PAGE - from) == 0)
        return true;
    /* What is clean has zeros there: this page is the cut's own. */
    bl_assert(!is_shared(content->slots[last].current));
    memset(content->slots[last].current->bytes + from, 0, PAGE - from);
    return true;
}

bool bl_memory_content_crash(const bl_memory_content *from, bole_crash_mode mode, bl_prng *prng,
                             bl_memory_content *out)
{
    if (!reserve_slots(out, from->slot_count))
        return false;
    if (mode == BOLE_CRASH_KEEP_ALL) {
        copy_all(from, out);
        return true;
    }
    bool failed = false;
    for (size_t i = 0; i < from->slot_count && !failed; i++) {
        bl_memory_page *page = surviving_page(&from->slots[i], mode, prng, &failed);
        out->slots[i].current = page;
        out->pages += page != NULL;
    }
    out->length = mode == BOLE_CRASH_RANDOM ? cut_length(from, prng) : from->durable_length;
    if (failed || !clear_tail(out))
        return false;
    /* What is on the disk now is durable. */
    for (size_t i = 0; i < out->slot_count; i++) {
        out->slots[i].durable = hold(out->slots[i].current);
        out->slots[i].state = 0;
    }
    out->unclean_count = 0;
    out->durable_length = out->length;
    return true;
}
