/* SPDX-License-Identifier: MIT */
/* block_load.c -- from the bytes of a file to a frame that may be trusted.
 *
 * ORDER       checksum (these bytes, of this file, at this place) -> header -> sizes against the index ->
 *             decompress -> structure. The checksum finds damage; the structure is checked all the same,
 *             because who can write the file can make the checksum right, and a reader must not be led out
 *             of bounds.
 * INVARIANTS  (LOAD-1) No byte outside [frame, frame + size) or [stored, stored + size) is read or written,
 *             for any input.
 *             (LOAD-2) A frame is raw bytes as the writer laid them out, or the load failed.
 * THREADS     Any. */
#include "segment/block.h"

#include "base/alloc.h"
#include "base/assert.h"
#include "base/hash.h"
#include "base/status.h"
#include "segment/compression.h"

bole_status bl_block_header_read(const uint8_t *bytes, const char *file, uint64_t offset,
                                 bl_block_header *out, bole_error *error)
{
    bl_block_header header = {
        .checksum = bl_get_u64(bytes),
        .stored_bytes = bl_get_u32(bytes + 8),
        .raw_bytes = bl_get_u32(bytes + 12),
        .compression = bytes[16],
        .flags = bytes[17],
        .prefix_bytes = bl_get_u16(bytes + 18),
        .count = bl_get_u32(bytes + 20),
        .tombstones = bl_get_u32(bytes + 24),
        .longest_key = bl_get_u16(bytes + 28),
    };
    *out = header;
    if (!bl_compression_is_known(header.compression))
        return bl_fail(error, BOLE_UNSUPPORTED, "%s at offset %llu: compression kind %u", file,
                       (unsigned long long)offset, header.compression);
    if ((header.flags & ~BL_BLOCK_FLAGS_KNOWN) != 0 || bl_get_u16(bytes + 30) != 0)
        return bl_fail(error, BOLE_UNSUPPORTED, "%s at offset %llu: block flags 0x%02x", file,
                       (unsigned long long)offset, header.flags);
    if (header.stored_bytes > BL_BLOCK_BYTES_MAX - BL_BLOCK_HEADER_BYTES ||
        header.raw_bytes > BL_BLOCK_BYTES_MAX - BL_BLOCK_HEADER_BYTES)
        return bl_corrupt(error, file, offset, "a block of %u stored and %u raw bytes", header.stored_bytes,
                          header.raw_bytes);
    bool sizes_fit = header.compression == BL_COMPRESSED_NONE
                         ? header.stored_bytes == header.raw_bytes
                         : header.stored_bytes < header.raw_bytes &&
                               bl_block_ratio_fits(header.stored_bytes, header.raw_bytes);
    if (!sizes_fit)
        return bl_corrupt(error, file, offset, "%u stored bytes for %u raw ones", header.stored_bytes,
                          header.raw_bytes);
    if (header.count == 0 || header.tombstones > header.count || header.prefix_bytes > header.longest_key)
        return bl_corrupt(error, file, offset, "a block header that cannot be (%u entries, %u tombstones)",
                          header.count, header.tombstones);
    return BOLE_OK;
}

bole_status bl_block_verify(const uint8_t *bytes, size_t size, uint64_t seed, const char *file,
                            uint64_t offset, bl_block_header *out, bole_error *error)
{
    *out = (bl_block_header){ 0 };
    if (size < BL_BLOCK_HEADER_BYTES)
        return bl_corrupt(error, file, offset, "a block of %zu bytes", size);
    if (bl_checksum(seed, offset, bytes + 8, size - 8) != bl_get_u64(bytes))
        return bl_corrupt(error, file, offset, "checksum of a block of %zu bytes does not match", size);
    bole_status status = bl_block_header_read(bytes, file, offset, out, error);
    if (status == BOLE_OK && (size_t)out->stored_bytes + BL_BLOCK_HEADER_BYTES != size)
        status = bl_corrupt(error, file, offset, "the block says %u stored bytes, the index %zu",
                            out->stored_bytes, size - BL_BLOCK_HEADER_BYTES);
    return status;
}

/* ---- Structure ---- */

/* Where the arrays of a frame begin. All sums stay far below 2^64: count is 32 bits, prefix 16. */
typedef struct layout {
    size_t heads, offsets, hashes, tags, records, end;
    size_t width, offset_width;
    bool has_offsets, has_hashes, has_tags;
} layout;

static bool zero_between(const uint8_t *frame, size_t begin, size_t end)
{
    for (size_t i = begin; i < end; i++) {
        if (frame[i] != 0)
            return false;
    }
    return true;
}

static bole_status lay_out(const uint8_t *frame, size_t size, const bl_block_header *header, const char *file,
                           uint64_t offset, layout *out, bole_error *error)
{
    out->width = (header->flags & BL_BLOCK_WIDE_HEADS) != 0 ? 8 : 4;
    out->has_offsets = (header->flags & BL_BLOCK_UNIFORM) == 0;
    out->offset_width = (header->flags & BL_BLOCK_WIDE_OFFSETS) != 0 ? 4 : 2;
    out->has_hashes = (header->flags & BL_BLOCK_HASHES) != 0;
    out->has_tags = (header->flags & BL_BLOCK_TAGS) != 0;
    out->end = size;
    size_t prefix_end = BL_BLOCK_HEADER_BYTES + (size_t)header->prefix_bytes;
    out->heads = (prefix_end + out->width - 1) & ~(out->width - 1);
    out->offsets = out->heads + out->width * header->count;
    out->hashes = out->offsets + (out->has_offsets ? out->offset_width * header->count : 0);
    size_t arrays_end = out->hashes + (out->has_hashes ? header->count : 0);
    out->tags = out->has_tags ? (arrays_end + 7) & ~(size_t)7 : arrays_end;
    out->records = out->tags + (out->has_tags ? (size_t)8 * header->count : 0);
    /* a record is two bytes at least */
    if (out->records > size || (size - out->records) / 2 < header->count)
        return bl_corrupt(error, file, offset, "%u entries do not fit in a block of %zu bytes", header->count,
                          size);
    if (!zero_between(frame, prefix_end, out->heads) || !zero_between(frame, arrays_end, out->tags))
        return bl_corrupt(error, file, offset, "padding in a block is not zero");
    if (!out->has_offsets && (out->offset_width == 4 || (size - out->records) % header->count != 0))
        return bl_corrupt(error, file, offset, "records of a block are not of one size");
    if (!out->has_tags && header->tombstones != 0)
        return bl_corrupt(error, file, offset, "%u tombstones in a block without tags", header->tombstones);
    return BOLE_OK;
}

/* Does record `index` begin at `at`, as the offsets (or the one size of all) say? */
static inline bool begins_at(const uint8_t *frame, const layout *parts, uint32_t index, size_t stride,
                             size_t at)
{
    size_t said;
    if (!parts->has_offsets)
        said = stride * index;
    else if (parts->offset_width == 4)
        said = bl_get_u32(frame + parts->offsets + 4 * (size_t)index);
    else
        said = bl_get_u16(frame + parts->offsets + 2 * (size_t)index);
    return said == at - parts->records;
}

static inline bool head_is_padded(const uint8_t *frame, const layout *parts, uint32_t index, uint64_t rest)
{
    if (rest >= parts->width)
        return true;
    unsigned unused_bits = (unsigned)(parts->width - rest) * 8;
    uint64_t head = parts->width == 8 ? bl_get_u64(frame + parts->heads + 8 * (size_t)index)
                                      : bl_get_u32(frame + parts->heads + 4 * (size_t)index);
    return unused_bits == 64 ? head == 0 : (head & ((UINT64_C(1) << unused_bits) - 1)) == 0;
}

static bole_status check_records(const uint8_t *frame, const layout *parts, const bl_block_header *header,
                                 const char *file, uint64_t offset, bole_error *error)
{
    const uint8_t *in = frame + parts->records, *end = frame + parts->end;
    size_t stride = (parts->end - parts->records) / header->count;
    uint64_t longest = 0, first_rest = 0, first_value_bytes = 0;
    for (uint32_t i = 0; i < header->count; i++) {
        uint64_t rest = 0, value_bytes = 0;
        bool fits = begins_at(frame, parts, i, stride, (size_t)(in - frame));
        if (fits)
            fits = (in = bl_get_varint(in, end, &rest)) != NULL && rest <= BOLE_KEY_BYTES_MAX;
        if (fits)
            fits = (in = bl_get_varint(in, end, &value_bytes)) != NULL && value_bytes <= BOLE_VALUE_BYTES_MAX;
        if (fits) {
            uint64_t bytes = (rest > parts->width ? rest - parts->width : 0) + value_bytes;
            fits = bytes <= (uint64_t)(end - in) && head_is_padded(frame, parts, i, rest);
            in += fits ? bytes : 0;
        }
        if (i == 0) {
            first_rest = rest;
            first_value_bytes = value_bytes;
        }
        fits = fits && (parts->has_offsets || (rest == first_rest && value_bytes == first_value_bytes));
        if (!fits)
            return bl_corrupt(error, file, offset, "entry %u of a block of %u does not fit", i,
                              header->count);
        longest = rest > longest ? rest : longest;
    }
    if (in != end)
        return bl_corrupt(error, file, offset, "%zu bytes behind the last entry of a block",
                          (size_t)(end - in));
    if (header->prefix_bytes + longest != header->longest_key)
        return bl_corrupt(error, file, offset, "longest key of a block is %llu bytes, not %u",
                          (unsigned long long)(header->prefix_bytes + longest), header->longest_key);
    return BOLE_OK;
}

static bole_status check_tags(const uint8_t *frame, const layout *parts, const bl_block_header *header,
                              const char *file, uint64_t offset, bole_error *error)
{
    uint32_t tombstones = 0;
    for (uint32_t i = 0; i < header->count; i++) {
        uint8_t kind = (uint8_t)bl_get_u64(frame + parts->tags + 8 * (size_t)i);
        if (!bl_kind_is_stored(kind))
            return bl_fail(error, BOLE_UNSUPPORTED, "%s at offset %llu: entry %u is of kind %u", file,
                           (unsigned long long)offset, i, kind);
        tombstones += kind == BL_KIND_DELETE;
    }
    if (tombstones != header->tombstones)
        return bl_corrupt(error, file, offset, "a block has %u tombstones, not %u", tombstones,
                          header->tombstones);
    return BOLE_OK;
}

/* Keys rise, tags of one key fall, hashes are the keys'. The structure was checked. */
static bole_status check_keys(const uint8_t *frame, bl_comparator *comparator, const char *file,
                              uint64_t offset, bole_error *error)
{
    bl_block_view view;
    bl_block_view_init(&view, frame);
    size_t room = (size_t)view.longest_key + 8;
    uint8_t *buffers = bl_alloc(2 * room);
    if (buffers == NULL)
        return bl_fail(error, BOLE_NO_MEMORY, "two keys of a block of %s", file);
    bole_status status = BOLE_OK;
    bole_slice before = { NULL, 0 };
    for (uint32_t i = 0; i < view.count && status == BOLE_OK; i++) {
        bole_slice key = bl_block_key(&view, i, buffers + (i % 2 == 0 ? 0 : room));
        int order = i == 0 ? -1 : bl_compare(comparator, before, key);
        if (order > 0 || (order == 0 && bl_block_tag(&view, i - 1) <= bl_block_tag(&view, i)))
            status = bl_corrupt(error, file, offset, "entry %u of a block is out of order", i);
        else if (view.hashes != NULL && view.hashes[i] != bl_block_hash(bl_hash(key.data, key.size)))
            status = bl_corrupt(error, file, offset, "the hash of entry %u of a block is not its key's", i);
        before = key;
    }
    bl_free(buffers);
    return status;
}

bole_status bl_block_validate(const uint8_t *frame, size_t size, bool paranoid, bl_comparator *comparator,
                              const char *file, uint64_t offset, bole_error *error)
{
    bl_block_header header;
    layout parts;
    if (size < BL_BLOCK_HEADER_BYTES)
        return bl_corrupt(error, file, offset, "a block of %zu bytes", size);
    bole_status status = bl_block_header_read(frame, file, offset, &header, error);
    if (status == BOLE_OK && (size_t)header.raw_bytes + BL_BLOCK_HEADER_BYTES != size)
        status = bl_corrupt(error, file, offset, "the block says %u raw bytes, its frame has %zu",
                            header.raw_bytes, size - BL_BLOCK_HEADER_BYTES);
    if (status == BOLE_OK)
        status = lay_out(frame, size, &header, file, offset, &parts, error);
    if (status == BOLE_OK)
        status = check_records(frame, &parts, &header, file, offset, error);
    if (status == BOLE_OK && parts.has_tags)
        status = check_tags(frame, &parts, &header, file, offset, error);
    if (status == BOLE_OK && paranoid)
        status = check_keys(frame, comparator, file, offset, error);
    return status;
}

bole_status bl_block_load(const uint8_t *stored, size_t stored_size, uint8_t *frame, size_t frame_size,
                          uint64_t seed, const char *file, uint64_t offset, bole_error *error)
{
    bl_block_header header;
    bole_status status = bl_block_verify(stored, stored_size, seed, file, offset, &header, error);
    if (status != BOLE_OK)
        return status;
    if ((size_t)header.raw_bytes + BL_BLOCK_HEADER_BYTES != frame_size)
        return bl_corrupt(error, file, offset, "the block says %u raw bytes, the index %zu", header.raw_bytes,
                          frame_size - BL_BLOCK_HEADER_BYTES);
    if (header.compression != BL_COMPRESSED_NONE) {
        bl_assert(stored != frame); /* not of one size, or the header would have been refused */
        memcpy(frame, stored, BL_BLOCK_HEADER_BYTES);
        status = bl_decompress(header.compression, stored + BL_BLOCK_HEADER_BYTES, header.stored_bytes,
                               frame + BL_BLOCK_HEADER_BYTES, header.raw_bytes, file, offset, error);
    } else if (stored != frame) {
        memcpy(frame, stored, stored_size);
    }
    if (status == BOLE_OK)
        status = bl_block_validate(frame, frame_size, false, NULL, file, offset, error);
    return status;
}
