/* SPDX-License-Identifier: MIT */
/* segment_value.c -- one value of a value segment, found by its pointer.
 *
 * The pointer gives the block's ordinal, so nothing is searched: slot, frame, the one entry. That the block stands
 * where the pointer says and holds the key is looked at each time.
 *
 * INVARIANT  (VALUE-1) A value is handed out only from the block at the pointer's offset, whose one entry is a put of
 *            that key with as many bytes as the pointer says; or from a block of which that was found before, in the
 *            same list of segments.
 * THREADS    Any. */
#include "base/alloc.h"
#include "base/assert.h"
#include "base/hash.h"
#include "base/prefetch.h"
#include "base/status.h"
#include "segment/block_reader.h"
#include "segment/segment_state.h"

/* Of a record without key bytes, which is a 0, the value's size and the value: the value's bytes. */
static inline uint64_t value_bytes_in(uint64_t record_bytes)
{
    uint64_t rest = record_bytes - 1, size = bl_varint_size(rest);
    return rest - (bl_varint_size(rest - size) == size ? size : size - 1);
}

/* Does the block hold one entry, of this key? Its structure was checked: the record ends where the frame does, and as
 * the key is the prefix whole, it has nothing of it. So the header's line and the next one tell all. */
static inline bool holds_value(const uint8_t *frame, bole_slice key, bole_slice *value)
{
    bl_block_view view;
    bl_block_view_init(&view, frame);
    if (view.count != 1 || view.prefix_bytes != view.longest_key ||
        bl_tag_kind(bl_block_tag(&view, 0)) != BL_KIND_PUT || key.size != view.prefix_bytes ||
        bl_bytes_compare(view.prefix, key.data, key.size) != 0)
        return false;
    const uint8_t *end = frame + BL_BLOCK_HEADER_BYTES + bl_get_u32(frame + 12);
    uint64_t bytes = value_bytes_in((uint64_t)(end - view.records));
    *value = bl_slice(end - bytes, bytes);
    return true;
}

/* (VALUE-1) */
static inline bool takes_value(const bl_unit *unit, const bl_value_pointer *pointer, bole_slice key,
                               const uint8_t *frame, bole_slice *value)
{
    return holds_value(frame, key, value) && value->size == pointer->bytes &&
           unit->index.offsets[pointer->block] == pointer->offset;
}

/* The lines that are read first, and the last one, which a copy begins with: all are asked for at once, before the
 * header can say where they are. The block is taken to be as the writer makes it, with a tag. */
static inline void prefetch_value(const bl_frame *frame, size_t key_bytes, uint64_t value_bytes)
{
    uintptr_t frame_at = (uintptr_t)frame,
              record = (BL_BLOCK_HEADER_BYTES + key_bytes + 4 + 3 + 7) / 8 * 8 + 8;
    bl_prefetch((const void *)frame_at);
    bl_prefetch((const void *)(frame_at + record));
    bl_prefetch((const void *)(frame_at + record + bl_varint_size(value_bytes) + value_bytes));
}

/* The frame of a block, if unit and frame are in memory; *unit tells the rest. */
static inline bl_find find_frame(bl_segment *segment, uint64_t block, const bl_unit **unit, bl_found *out)
{
    bl_debug_assert(bl_epoch_inside());
    const bl_unit_node *node = atomic_load_explicit(&segment->unit, memory_order_acquire);
    out->frame = NULL;
    out->block = BL_SEGMENT_UNIT;
    if (bl_unlikely(node == NULL))
        return BL_FIND_MUST_LOAD;
    if (bl_unlikely(!atomic_load_explicit(&node->used, memory_order_relaxed)))
        atomic_store_explicit(&((bl_unit_node *)(uintptr_t)node)->used, true, memory_order_relaxed);
    *unit = bl_unit_of(node);
    if (bl_unlikely(block >= (*unit)->index.count))
        return BL_FIND_ABSENT;
    out->block = block;
    out->frame = bl_slot_read(bl_block_index_slot(&(*unit)->index, block));
    if (bl_unlikely(out->frame == NULL))
        return BL_FIND_MUST_LOAD;
    bl_frame_cache_hit(segment->cache);
    return BL_FIND_FOUND;
}

bl_find bl_segment_find_value(bl_segment *segment, const bl_value_pointer *pointer, bole_slice key,
                              bl_found *out)
{
    const bl_unit *unit;
    bl_find find = find_frame(segment, pointer->block, &unit, out);
    if (bl_unlikely(find != BL_FIND_FOUND))
        return find;
    prefetch_value(out->frame, key.size, pointer->bytes);
    return takes_value(unit, pointer, key, (const uint8_t *)out->frame, &out->value) ? BL_FIND_FOUND
                                                                                     : BL_FIND_ABSENT;
}

bl_find bl_segment_find_value_at(bl_segment *segment, uint64_t block, bole_slice key, bl_found *out)
{
    const bl_unit *unit;
    bl_find find = find_frame(segment, block, &unit, out);
    if (bl_unlikely(find != BL_FIND_FOUND))
        return find;
    return holds_value((const uint8_t *)out->frame, key, &out->value) ? BL_FIND_FOUND : BL_FIND_ABSENT;
}

void bl_value_hint_written(const bl_frame_cache *cache, const bl_unit *unit, uint64_t ordinal,
                           const bl_frame *frame)
{
    bl_block_view view;
    bl_block_view_init(&view, (const uint8_t *)frame);
    uint64_t hash = bl_hash(view.prefix, view.prefix_bytes);
    bl_value_hint_line *line = bl_value_hint_line_of(bl_frame_cache_hints(cache), hash);
    if (line != NULL)
        (void)bl_value_hint_note(line, hash, NULL, frame,
                                 (const char *)frame + unit->index.frame_bytes[ordinal]);
}

bole_status bl_segment_wrong_value(const bl_segment *segment, const bl_value_pointer *pointer,
                                   bole_error *error)
{
    return bl_corrupt(error, segment->path, pointer->offset,
                      "a pointer of an entry leads here, and what stands here is not its value");
}

/* ---- Held ---- */

static void let_go(bl_held_value *held)
{
    bl_frame_unpin(held->frame);
    held->frame = NULL;
    held->value = bl_slice(NULL, 0);
}

void bl_held_value_release(bl_held_value *held)
{
    let_go(held);
    if (held->block != NULL)
        bl_memory_budget_release(held->budget, BL_MEMORY_WORK, held->block_capacity);
    bl_free(held->block);
    *held = (bl_held_value){ .frame = NULL };
}

static bole_status read_privately(bl_segment *segment, const bl_unit *unit, uint64_t block,
                                  bl_held_value *held, uint64_t *bytes_read, bole_error *error)
{
    size_t bytes = unit->index.frame_bytes[block];
    if (bytes > held->block_capacity) {
        bl_held_value_release(held);
        held->block = bl_alloc(bytes);
        if (held->block == NULL)
            return bl_fail(error, BOLE_NO_MEMORY, "a value of %zu bytes of %s", bytes, segment->path);
        held->block_capacity = bytes;
        held->budget = segment->environment->budget;
        bl_memory_budget_force(held->budget, BL_MEMORY_WORK, bytes);
    }
    uint64_t read = 0;
    bole_status status = bl_block_read(segment, unit, block, held->block, &read, error);
    if (status == BOLE_OK)
        bl_frame_cache_count_load(segment->cache, read);
    if (bytes_read != NULL)
        *bytes_read += read;
    return status;
}

bole_status bl_segment_hold_value(bl_segment *segment, const bl_value_pointer *pointer, bole_slice key,
                                  bl_held_value *held, uint64_t *bytes_read, bole_error *error)
{
    let_go(held);
    bl_unit *unit;
    bole_status status = bl_unit_get(segment, true, &unit, error);
    if (status != BOLE_OK)
        return status;
    if (pointer->block >= unit->index.count) {
        bl_unit_put(segment, unit);
        return bl_segment_wrong_value(segment, pointer, error);
    }
    held->frame = bl_block_pin(unit, pointer->block, false);
    if (held->frame == NULL)
        status = read_privately(segment, unit, pointer->block, held, bytes_read, error);
    const uint8_t *frame = held->frame != NULL ? (const uint8_t *)held->frame : held->block;
    if (status == BOLE_OK && !takes_value(unit, pointer, key, frame, &held->value)) {
        let_go(held);
        status = bl_segment_wrong_value(segment, pointer, error);
    }
    bl_unit_put(segment, unit);
    return status;
}
