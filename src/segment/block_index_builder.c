/* SPDX-License-Identifier: MIT */
/* block_index_builder.c -- gathers a segment's blocks and writes the index section (bytes: block_index.h).
 *
 * A block's separator is known once the first key of the next block is. Entries and separators are gathered
 * as they come; the common prefix of all separators, and so the heads, are known at the end.
 * INVARIANTS  (SEPARATOR-1) last <= separator < next first, except where no key lies between: then it is
 *                           last.
 * THREADS     One. */
#include "segment/block_index.h"

#include "base/assert.h"
#include "base/buffer.h"
#include "base/coding.h"
#include "base/slice.h"

enum { ENTRY_BYTES = 8 + 4 + 4 + 4, SECTION_WHOLE = 1 };

void bl_block_index_builder_init(bl_block_index_builder *builder, bool whole)
{
    *builder = (bl_block_index_builder){ .whole = whole };
}

void bl_block_index_builder_deinit(bl_block_index_builder *builder)
{
    bole_buffer_free(&builder->entries);
    bole_buffer_free(&builder->separators);
    builder->count = 0;
}

size_t bl_block_separator(bole_slice last, bole_slice next_first, uint8_t *out)
{
    const uint8_t *next = next_first.data;
    size_t common = bl_slice_common_prefix(last, next_first);
    bl_debug_assert(bl_slice_compare(last, next_first) <= 0);
    if (next_first.size > common + 1) { /* the next key cut behind the first byte that differs */
        memcpy(out, next, common + 1);
        return common + 1;
    }
    if (last.size > common + 1 && next_first.size > common) { /* a byte between the two that differ */
        uint8_t byte = ((const uint8_t *)last.data)[common];
        if (byte + 1 < next[common]) {
            memcpy(out, last.data, common);
            out[common] = (uint8_t)(byte + 1);
            return common + 1;
        }
    }
    if (last.size != 0)
        memcpy(out, last.data, last.size);
    return last.size;
}

bool bl_block_index_builder_add(bl_block_index_builder *builder, bole_slice last, bole_slice next_first,
                                bool is_last, uint64_t offset, uint32_t stored_bytes, uint32_t frame_bytes)
{
    bole_buffer *separators = &builder->separators;
    size_t room = last.size;
    if (!is_last && next_first.size > room)
        room = next_first.size;
    if (separators->size + room > UINT32_MAX || !bl_buffer_reserve(separators, separators->size + room + 1))
        return false;
    uint8_t *out = (uint8_t *)separators->data + separators->size;
    size_t bytes = last.size;
    if (!is_last && !builder->whole)
        bytes = bl_block_separator(last, next_first, out);
    else if (bytes != 0)
        memcpy(out, last.data, bytes);
    uint8_t entry[ENTRY_BYTES];
    bl_put_u64(entry, offset);
    bl_put_u32(entry + 8, stored_bytes);
    bl_put_u32(entry + 12, frame_bytes);
    bl_put_u32(entry + 16, (uint32_t)bytes);
    if (!bl_buffer_append(&builder->entries, entry, sizeof entry))
        return false;
    separators->size += bytes;
    builder->count++;
    return true;
}

static const uint8_t *entry_at(const bl_block_index_builder *builder, uint64_t index)
{
    return (const uint8_t *)builder->entries.data + ENTRY_BYTES * index;
}

/* What all separators begin with: they rise, so what the first and the last share. */
static size_t common_prefix(const bl_block_index_builder *builder)
{
    if (builder->whole)
        return 0;
    const uint8_t *separators = builder->separators.data;
    size_t first = bl_get_u32(entry_at(builder, 0) + 16);
    size_t last = bl_get_u32(entry_at(builder, builder->count - 1) + 16);
    return bl_slice_common_prefix(bl_slice(separators, first),
                                  bl_slice(separators + builder->separators.size - last, last));
}

bool bl_block_index_builder_finish(bl_block_index_builder *builder, bole_buffer *out)
{
    bl_assert(builder->count > 0);
    uint64_t count = builder->count;
    size_t prefix = common_prefix(builder);
    size_t begin = out->size, arrays = 26 * (size_t)count;
    if (!bl_buffer_reserve(out, begin + BL_INDEX_HEADER_BYTES + arrays + prefix + builder->separators.size) ||
        !bl_buffer_append_zero(out, BL_INDEX_HEADER_BYTES + arrays))
        return false;
    uint8_t *section = (uint8_t *)out->data + begin; /* all of it was reserved: it does not move */
    uint8_t *heads = section + BL_INDEX_HEADER_BYTES, *offsets = heads + 8 * count;
    uint8_t *stored = offsets + 8 * count, *frames = stored + 4 * count, *lengths = frames + 4 * count;
    const uint8_t *separator = builder->separators.data;
    uint64_t rests = 0;
    bool appended = bl_buffer_append(out, separator, prefix);
    for (uint64_t i = 0; i < count; i++) {
        const uint8_t *entry = entry_at(builder, i);
        size_t bytes = bl_get_u32(entry + 16), length = bytes - prefix;
        size_t in_head = builder->whole ? 0 : length < 8 ? length : 8;
        bl_put_u64(heads + 8 * i, builder->whole ? 0 : bl_head64(separator, bytes, prefix));
        bl_put_u64(offsets + 8 * i, bl_get_u64(entry));
        bl_put_u32(stored + 4 * i, bl_get_u32(entry + 8));
        bl_put_u32(frames + 4 * i, bl_get_u32(entry + 12));
        bl_put_u16(lengths + 2 * i, (uint16_t)length);
        appended = appended && bl_buffer_append(out, separator + prefix + in_head, length - in_head);
        rests += length - in_head;
        separator += bytes;
    }
    bl_assert(appended);
    bl_put_u64(section, count);
    bl_put_u32(section + 8, (uint32_t)prefix);
    bl_put_u32(section + 12, builder->whole ? SECTION_WHOLE : 0);
    bl_put_u64(section + 16, rests);
    return true;
}
