/* SPDX-License-Identifier: MIT */
/* segment_format.c -- a segment's meta owns its two keys and its list of value segments, in one piece
 * of memory.
 *
 * INVARIANTS  (META-1) smallest.data is the allocation, or NULL when both keys are empty and nothing was
 *             allocated; largest.data and value_uses.data lie in the same piece.
 * THREADS     A meta belongs to one thread, or is constant. */
#include "segment/segment_format.h"

#include "base/alloc.h"
#include "base/status.h"

bole_status bl_segment_meta_copy(bl_segment_meta *to, const bl_segment_meta *from, bole_error *error)
{
    *to = *from;
    to->smallest = to->largest = to->value_uses = bl_slice(NULL, 0);
    size_t keys_bytes = from->smallest.size + from->largest.size;
    uint8_t *keys = bl_alloc(keys_bytes + from->value_uses.size);
    if (keys == NULL)
        return bl_fail(error, BOLE_NO_MEMORY, "keys of segment %llu", (unsigned long long)from->number);
    if (from->smallest.size != 0)
        memcpy(keys, from->smallest.data, from->smallest.size);
    if (from->largest.size != 0)
        memcpy(keys + from->smallest.size, from->largest.data, from->largest.size);
    if (from->value_uses.size != 0)
        memcpy(keys + keys_bytes, from->value_uses.data, from->value_uses.size);
    to->smallest = bl_slice(keys, from->smallest.size);
    to->largest = bl_slice(keys + from->smallest.size, from->largest.size);
    to->value_uses = bl_slice(keys + keys_bytes, from->value_uses.size);
    return BOLE_OK;
}

void bl_segment_meta_deinit(bl_segment_meta *meta)
{
    bl_free((void *)(uintptr_t)meta->smallest.data);
    meta->smallest = meta->largest = meta->value_uses = bl_slice(NULL, 0);
}
