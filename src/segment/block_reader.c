/* SPDX-License-Identifier: MIT */
/* block_reader.c -- the way of a miss: charge, read, verify, decompress, validate, install.
 *
 * WHO READS   The slot itself is the lock: null -> LOADING by compare-and-swap makes this thread the loader;
 *             who finds LOADING waits in a queue (hashed by slot) until it is something else. A loader that
 *             fails sets it back to null, so the next one tries for itself and gets its own story.
 * BYTES       A block that is not compressed is read right into its frame; the stored form of another one is
 *             read to the stack, or above 16 KiB to the heap.
 *
 * INVARIANTS  (READER-1) Nothing enters a slot that was not verified with the file's id and the block's
 *                        offset, and validated: readers trust a frame without any further check (BLOCK-1).
 *             (READER-2) Memory is charged before the read.
 *             (READER-3) Whatever happens, LOADING is taken back by the thread that set it.
 * THREADS     Any, outside an epoch, holding the unit.
 * NOT HERE    Eviction: frame_cache.c.   The checks themselves: block_load.c. */
#include "segment/block_reader.h"

#include "base/alloc.h"
#include "base/assert.h"
#include "base/prefetch.h"
#include "base/status.h"

enum { STACK_BYTES = 16 * 1024 };

static bole_status read_bytes(bl_segment *segment, uint64_t offset, uint8_t *out, size_t size,
                              uint64_t *bytes_read, bole_error *error)
{
    bl_descriptor_cache *descriptors = segment->environment->descriptors;
    bole_file *file;
    bole_status status = bl_descriptor_use(descriptors, &segment->descriptor, segment->path, &file, error);
    if (status != BOLE_OK)
        return status;
    size_t got = 0;
    status = file->vfs->read(file, offset, out, size, &got, error);
    bl_descriptor_done(descriptors, &segment->descriptor);
    if (status == BOLE_OK && got != size)
        return bl_corrupt(error, segment->path, offset + got, "the file ends inside a block");
    if (status == BOLE_OK && bytes_read != NULL)
        *bytes_read += size;
    return status;
}

static bole_status load_bytes(bl_segment *segment, const bl_unit *unit, uint64_t ordinal, uint8_t *stored,
                              uint8_t *frame, uint64_t *bytes_read, bole_error *error)
{
    uint64_t offset = unit->index.offsets[ordinal];
    size_t stored_bytes = unit->index.stored_bytes[ordinal];
    bole_status status = read_bytes(segment, offset, stored, stored_bytes, bytes_read, error);
    if (status != BOLE_OK)
        return status;
    return bl_block_load(stored, stored_bytes, frame, unit->index.frame_bytes[ordinal], segment->seed,
                         segment->path, offset, error);
}

bole_status bl_block_read(bl_segment *segment, const bl_unit *unit, uint64_t ordinal, uint8_t *frame,
                          uint64_t *bytes_read, bole_error *error)
{
    size_t stored_bytes = unit->index.stored_bytes[ordinal];
    if (stored_bytes == unit->index.frame_bytes[ordinal])
        return load_bytes(segment, unit, ordinal, frame, frame, bytes_read, error);
    if (stored_bytes <= STACK_BYTES) {
        _Alignas(8) uint8_t stored[STACK_BYTES];
        return load_bytes(segment, unit, ordinal, stored, frame, bytes_read, error);
    }
    uint8_t *stored = bl_alloc(stored_bytes);
    if (stored == NULL)
        return bl_fail(error, BOLE_NO_MEMORY, "block of %zu bytes of %s", stored_bytes, segment->path);
    bl_memory_budget_force(segment->environment->budget, BL_MEMORY_WORK, stored_bytes);
    bole_status status = load_bytes(segment, unit, ordinal, stored, frame, bytes_read, error);
    bl_memory_budget_release(segment->environment->budget, BL_MEMORY_WORK, stored_bytes);
    bl_free(stored);
    return status;
}

bole_status bl_block_read_span(bl_segment *segment, const bl_unit *unit, uint64_t first, uint64_t end,
                               uint8_t *out, uint64_t *bytes_read, bole_error *error)
{
    bl_assert(first < end && end <= unit->index.count);
    return read_bytes(segment, unit->index.offsets[first], out, bl_block_span_bytes(unit, first, end),
                      bytes_read, error);
}

bl_frame *bl_block_pin(const bl_unit *unit, uint64_t ordinal, bool touch)
{
    _Atomic(bl_frame *) *slot = bl_block_index_slot(&unit->index, ordinal);
    bl_epoch_enter();
    bl_frame *frame = touch ? bl_slot_read(slot)
                            : bl_slot_frame(atomic_load_explicit(slot, memory_order_acquire));
    if (frame != NULL) {
        /* Heads come while the pin waits for the header. */
        bl_prefetch((const char *)frame + 64);
        bl_prefetch((const char *)frame + 128);
        bl_prefetch((const char *)frame + 192);
        bl_frame_pin(frame);
    }
    bl_epoch_leave();
    return frame;
}

/* ---- Into the slot ----------------------------------------------------------------------------------- */

static bool is_loading(_Atomic(bl_frame *) *slot)
{
    return ((uintptr_t)atomic_load_explicit(slot, memory_order_acquire) & BL_SLOT_LOADING) != 0;
}

static void wait_for_loader(bl_segment *segment, _Atomic(bl_frame *) *slot)
{
    bl_load_queue *queue = bl_frame_cache_queue(segment->cache, slot);
    bool waited = false;
    bl_mutex_lock(&queue->mutex);
    for (; is_loading(slot); waited = true)
        bl_condition_wait(&queue->done, &queue->mutex);
    bl_mutex_unlock(&queue->mutex);
    if (waited) {
        BL_MARK("a block's load is shared");
        bl_frame_cache_count_shared(segment->cache);
    }
}

/* The slot is something else than LOADING now. Under the queue's mutex, so that no waiter misses it. */
static void wake_waiters(bl_segment *segment, _Atomic(bl_frame *) *slot)
{
    bl_load_queue *queue = bl_frame_cache_queue(segment->cache, slot);
    bl_mutex_lock(&queue->mutex);
    bl_condition_wake_all(&queue->done);
    bl_mutex_unlock(&queue->mutex);
}

static bole_status read_into_frame(bl_segment *segment, const bl_unit *unit, uint64_t ordinal,
                                   bl_frame_card **out, bole_error *error)
{
    bl_frame_card *card;
    bole_status status = bl_frame_cache_take(segment->cache, unit->index.frame_bytes[ordinal], true, &card,
                                             error);
    if (status != BOLE_OK)
        return status;
    bl_point(segment->environment->scheduler, "load block");
    uint64_t bytes_read = 0;
    status = bl_block_read(segment, unit, ordinal, bl_frame_card_bytes(card), &bytes_read, error);
    if (status != BOLE_OK) {
        bl_frame_cache_give_back(segment->cache, card);
        return status;
    }
    bl_frame_cache_count_load(segment->cache, bytes_read);
    *out = card;
    return BOLE_OK;
}

bole_status bl_block_install(bl_segment *segment, bl_unit *unit, uint64_t ordinal, bole_error *error)
{
    bl_assert(unit->node.place != NULL && ordinal < unit->index.count);
    _Atomic(bl_frame *) *slot = bl_block_index_slot(&unit->index, ordinal);
    for (;;) {
        bl_frame *value = NULL;
        if (atomic_compare_exchange_strong_explicit(slot, &value, (bl_frame *)BL_SLOT_LOADING,
                                                    memory_order_acquire, memory_order_acquire))
            break;
        if (bl_slot_frame(value) != NULL)
            return BOLE_OK;
        wait_for_loader(segment, slot);
    }
    bl_frame_card *card = NULL;
    bole_status status = read_into_frame(segment, unit, ordinal, &card, error);
    if (status == BOLE_OK) {
        bool held = bl_unit_hold(&unit->node); /* the slot's own */
        bl_assert(held);
        bl_frame_install(card, slot, &unit->node.holders);
    } else {
        atomic_store_explicit(slot, NULL, memory_order_release);
    }
    wake_waiters(segment, slot);
    return status;
}
