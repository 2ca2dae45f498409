/* SPDX-License-Identifier: MIT */
/* segment_footer.c -- reads and writes the ends of a segment file (bytes: segment_footer.h).
 *
 * FIELDS      tag  bytes  meaning                                 (tags that stand in files: do not renumber)
 *               1      4  table                       10      8  raw bytes (keys + values)
 *               2      -  table's name                11      -  smallest key
 *               3      -  comparator's name           12      -  largest key
 *               4      4  level at birth              13      8  lowest sequence of what came in
 *               5      4  run at birth                14      8  highest sequence of what came in
 *               6   16*n  ids of its inputs           15      1  1: sequences are stored as zero
 *               7      8  entries                     16      8  created, microseconds of real time
 *               8      8  tombstones                  17      4  block bytes aimed at
 *               9      8  blocks                      18      1  compression
 *              19      4  filter bits a key, tenths   20      8  end of the blocks in the file
 *              21      -  value segments that it points into (value_pointer.h)
 *             An unknown tag with the must-understand flag is refused, without it skipped.
 * ORDER       magic, checksum, then version and features: so damage is told from a format of the future.
 * INVARIANTS  FOOTER-1, FOOTER-2 in segment_footer.h.
 *             (FOOTER-3) A footer that was read has every field that reading the segment depends on, once.
 * THREADS     Any; no state. */
#include "segment/segment_footer.h"

#include "base/alloc.h"
#include "base/assert.h"
#include "base/coding.h"
#include "base/status.h"
#include "segment/value_pointer.h"

#include <stdio.h>

enum {
    FOOTER_BYTES_MAX = 16 * 1024 * 1024,
    SECTION_BYTES = 32,
    FIELD_BYTES = 8,
    FEATURE_VALUES = 1,
    FEATURES_KNOWN = FEATURE_VALUES
};

static const uint8_t header_magic[8] = { 'b', 'o', 'l', 'e', 's', 'e', 'g', '\n' };
static const uint8_t tail_magic[8] = { 'b', 'o', 'l', 'e', 'e', 'n', 'd', '\n' };

typedef enum field_tag {
    FIELD_TABLE = 1,
    FIELD_TABLE_NAME,
    FIELD_COMPARATOR_NAME,
    FIELD_LEVEL,
    FIELD_RUN,
    FIELD_INPUTS,
    FIELD_ENTRIES,
    FIELD_TOMBSTONES,
    FIELD_BLOCKS,
    FIELD_RAW_BYTES,
    FIELD_SMALLEST,
    FIELD_LARGEST,
    FIELD_SEQUENCE_MIN,
    FIELD_SEQUENCE_MAX,
    FIELD_SEQUENCES_ZEROED,
    FIELD_CREATED,
    FIELD_BLOCK_BYTES,
    FIELD_COMPRESSION,
    FIELD_FILTER_BITS,
    FIELD_BLOCKS_END,
    FIELD_VALUE_USES,
    FIELD_COUNT,
} field_tag;

/* Without these nothing can be read; bit = tag. */
enum {
    FIELDS_REQUIRED = 1 << FIELD_TABLE | 1 << FIELD_COMPARATOR_NAME | 1 << FIELD_ENTRIES |
                      1 << FIELD_TOMBSTONES | 1 << FIELD_BLOCKS | 1 << FIELD_RAW_BYTES | 1 << FIELD_SMALLEST |
                      1 << FIELD_LARGEST | 1 << FIELD_SEQUENCE_MIN | 1 << FIELD_SEQUENCE_MAX |
                      1 << FIELD_SEQUENCES_ZEROED | 1 << FIELD_BLOCKS_END
};

/* ---- Writing ---- */

void bl_segment_header_encode(const bl_segment_meta *meta, const bl_id *store_id,
                              uint8_t out[BL_SEGMENT_HEADER_BYTES])
{
    memset(out, 0, BL_SEGMENT_HEADER_BYTES);
    memcpy(out, header_magic, sizeof header_magic);
    bl_put_u32(out + 8, BL_SEGMENT_FORMAT_VERSION);
    bl_put_u32(out + 12, BL_SEGMENT_HEADER_BYTES);
    bl_put_u64(out + 16, bl_segment_meta_holds_values(meta) ? FEATURE_VALUES : 0);
    memcpy(out + 24, meta->id.bytes, BL_ID_BYTES);
    memcpy(out + 40, store_id->bytes, BL_ID_BYTES);
    bl_put_u64(out + 56, meta->number);
    enum { COVERED = BL_SEGMENT_HEADER_BYTES - 8 };
    bl_put_u64(out + COVERED, bl_checksum(bl_checksum_seed(meta->id), 0, out, COVERED));
}

bool bl_segment_header_holds_values(const uint8_t header[BL_SEGMENT_HEADER_BYTES])
{
    return (bl_get_u64(header + 16) & FEATURE_VALUES) != 0;
}

static bool put_field(bole_buffer *out, uint32_t *count, field_tag tag, bool must, const void *data,
                      size_t bytes)
{
    uint8_t head[FIELD_BYTES];
    bl_put_u16(head, (uint16_t)tag);
    bl_put_u16(head + 2, must ? BL_SEGMENT_MUST_UNDERSTAND : 0);
    bl_put_u32(head + 4, (uint32_t)bytes);
    (*count)++;
    return bl_buffer_append(out, head, sizeof head) && bl_buffer_append(out, data, bytes);
}

static bool put_u64(bole_buffer *out, uint32_t *count, field_tag tag, uint64_t value)
{
    uint8_t bytes[8];
    bl_put_u64(bytes, value);
    return put_field(out, count, tag, false, bytes, sizeof bytes);
}

static bool put_u32(bole_buffer *out, uint32_t *count, field_tag tag, bool must, uint32_t value)
{
    uint8_t bytes[4];
    bl_put_u32(bytes, value);
    return put_field(out, count, tag, must, bytes, sizeof bytes);
}

static bool put_text(bole_buffer *out, uint32_t *count, field_tag tag, bool must, const char *text)
{
    return put_field(out, count, tag, must, text, strlen(text));
}

static bool put_fields(const bl_segment_footer *footer, bole_buffer *out, uint32_t *count)
{
    const bl_segment_meta *meta = &footer->meta;
    uint8_t zeroed = meta->sequences_zeroed;
    bool good = put_u32(out, count, FIELD_TABLE, true, meta->table); /* one that failed fails all of it */
    good &= put_text(out, count, FIELD_TABLE_NAME, false, footer->table_name);
    good &= put_text(out, count, FIELD_COMPARATOR_NAME, true, footer->comparator_name);
    good &= put_u32(out, count, FIELD_LEVEL, false, meta->level);
    good &= put_u32(out, count, FIELD_RUN, false, meta->run);
    good &= put_field(out, count, FIELD_INPUTS, false, footer->inputs, footer->input_count * sizeof(bl_id));
    good &= put_u64(out, count, FIELD_ENTRIES, meta->entries);
    good &= put_u64(out, count, FIELD_TOMBSTONES, meta->tombstones);
    good &= put_u64(out, count, FIELD_BLOCKS, meta->blocks);
    good &= put_u64(out, count, FIELD_RAW_BYTES, meta->raw_bytes);
    good &= put_field(out, count, FIELD_SMALLEST, false, meta->smallest.data, meta->smallest.size);
    good &= put_field(out, count, FIELD_LARGEST, false, meta->largest.data, meta->largest.size);
    good &= put_u64(out, count, FIELD_SEQUENCE_MIN, meta->sequence_min);
    good &= put_u64(out, count, FIELD_SEQUENCE_MAX, meta->sequence_max);
    good &= put_field(out, count, FIELD_SEQUENCES_ZEROED, true, &zeroed, 1);
    good &= put_u64(out, count, FIELD_CREATED, (uint64_t)meta->created_us);
    good &= put_u32(out, count, FIELD_BLOCK_BYTES, false, footer->block_bytes);
    good &= put_field(out, count, FIELD_COMPRESSION, false, &footer->compression, 1);
    good &= put_u32(out, count, FIELD_FILTER_BITS, false, footer->filter_bits_per_key_tenths);
    good &= put_u64(out, count, FIELD_BLOCKS_END, footer->blocks_end);
    if (meta->value_uses.size != 0)
        good &= put_field(out, count, FIELD_VALUE_USES, false, meta->value_uses.data, meta->value_uses.size);
    return good;
}

bool bl_segment_footer_encode(bl_segment_footer *footer, uint64_t offset, bole_buffer *out)
{
    size_t begin = out->size;
    uint32_t fields = 0;
    uint64_t seed = bl_checksum_seed(footer->meta.id);
    if (!bl_buffer_append_u32(out, footer->section_count) || !bl_buffer_append_u32(out, 0))
        return false;
    for (uint32_t i = 0; i < footer->section_count; i++) {
        const bl_segment_section *section = &footer->sections[i];
        uint8_t bytes[SECTION_BYTES] = { 0 };
        bl_put_u16(bytes, section->kind);
        bl_put_u16(bytes + 2, section->flags);
        bl_put_u64(bytes + 8, section->offset);
        bl_put_u64(bytes + 16, section->length);
        bl_put_u64(bytes + 24, section->checksum);
        if (!bl_buffer_append(out, bytes, sizeof bytes))
            return false;
    }
    if (!put_fields(footer, out, &fields))
        return false;
    uint8_t *data = (uint8_t *)out->data + begin;
    size_t length = out->size - begin;
    bl_put_u32(data + 4, fields);

    uint8_t tail[BL_SEGMENT_TAIL_BYTES] = { 0 };
    footer->offset = offset;
    footer->meta.footer_checksum = bl_checksum(seed, offset, data, length);
    footer->meta.file_bytes = offset + length + BL_SEGMENT_TAIL_BYTES;
    bl_put_u64(tail, offset);
    bl_put_u64(tail + 8, length);
    bl_put_u64(tail + 16, footer->meta.footer_checksum);
    memcpy(tail + 24, footer->meta.id.bytes, BL_ID_BYTES);
    bl_put_u32(tail + 40, BL_SEGMENT_FORMAT_VERSION);
    bl_put_u64(tail + 48, bl_checksum(seed, offset + length, tail, 48));
    memcpy(tail + 56, tail_magic, sizeof tail_magic);
    return bl_buffer_append(out, tail, sizeof tail);
}

/* ---- Reading ---- */

/* A file that is being read, for messages and bounds. */
typedef struct source {
    bole_file *file;
    const char *path;
    uint64_t length, seed;
} source;

static bole_status read_at(const source *from, uint64_t offset, void *data, size_t bytes, bole_error *error)
{
    size_t got = 0;
    bole_status status = from->file->vfs->read(from->file, offset, data, bytes, &got, error);
    if (status == BOLE_OK && got != bytes)
        status = bl_corrupt(error, from->path, offset, "the file ends after %zu of %zu bytes", got, bytes);
    return status;
}

static bole_status read_header(source *from, bl_segment_footer *out, bole_error *error)
{
    enum { COVERED = BL_SEGMENT_HEADER_BYTES - 8 };
    uint8_t header[BL_SEGMENT_HEADER_BYTES];
    bole_status status = read_at(from, 0, header, sizeof header, error);
    if (status != BOLE_OK)
        return status;
    if (memcmp(header, header_magic, sizeof header_magic) != 0)
        return bl_corrupt(error, from->path, 0, "this is not a segment");
    memcpy(out->meta.id.bytes, header + 24, BL_ID_BYTES);
    memcpy(out->store_id.bytes, header + 40, BL_ID_BYTES);
    from->seed = bl_checksum_seed(out->meta.id);
    if (bl_checksum(from->seed, 0, header, COVERED) != bl_get_u64(header + COVERED))
        return bl_corrupt(error, from->path, 0, "checksum of the segment's header does not match");
    uint32_t version = bl_get_u32(header + 8);
    uint64_t features = bl_get_u64(header + 16);
    if (version != BL_SEGMENT_FORMAT_VERSION || bl_get_u32(header + 12) != BL_SEGMENT_HEADER_BYTES)
        return bl_fail(error, BOLE_UNSUPPORTED, "%s: segment format %u, this version reads %u", from->path,
                       version, BL_SEGMENT_FORMAT_VERSION);
    if ((features & ~(uint64_t)FEATURES_KNOWN) != 0)
        return bl_fail(error, BOLE_UNSUPPORTED, "%s: segment features 0x%llx", from->path,
                       (unsigned long long)features);
    out->meta.number = bl_get_u64(header + 56);
    out->meta.level = (features & FEATURE_VALUES) != 0 ? BL_LEVEL_VALUES : 0;
    return BOLE_OK;
}

/* Where the footer is, and its checksum. */
static bole_status read_tail(const source *from, bl_segment_footer *out, uint64_t *footer_at,
                             uint64_t *footer_bytes, bole_error *error)
{
    uint8_t tail[BL_SEGMENT_TAIL_BYTES];
    uint64_t at = from->length - BL_SEGMENT_TAIL_BYTES;
    bole_status status = read_at(from, at, tail, sizeof tail, error);
    if (status != BOLE_OK)
        return status;
    if (memcmp(tail + 56, tail_magic, sizeof tail_magic) != 0 ||
        bl_checksum(from->seed, at, tail, 48) != bl_get_u64(tail + 48))
        return bl_corrupt(error, from->path, at, "the segment does not end as one");
    if (memcmp(tail + 24, out->meta.id.bytes, BL_ID_BYTES) != 0)
        return bl_corrupt(error, from->path, at, "the segment ends as another one");
    if (bl_get_u32(tail + 40) != BL_SEGMENT_FORMAT_VERSION || bl_get_u32(tail + 44) != 0)
        return bl_fail(error, BOLE_UNSUPPORTED, "%s: segment format %u, this version reads %u", from->path,
                       bl_get_u32(tail + 40), BL_SEGMENT_FORMAT_VERSION);
    *footer_at = bl_get_u64(tail);
    *footer_bytes = bl_get_u64(tail + 8);
    out->meta.footer_checksum = bl_get_u64(tail + 16);
    if (*footer_at < BL_SEGMENT_HEADER_BYTES || *footer_at > at || *footer_bytes != at - *footer_at ||
        *footer_bytes < 8 || *footer_bytes > FOOTER_BYTES_MAX)
        return bl_corrupt(error, from->path, at, "a footer at %llu + %llu", (unsigned long long)*footer_at,
                          (unsigned long long)*footer_bytes);
    return BOLE_OK;
}

static bool kind_is_known(uint16_t kind) { return kind == BL_SECTION_INDEX || kind == BL_SECTION_FILTER; }

static bole_status read_sections(const source *from, const uint8_t *data, uint64_t footer_at,
                                 bl_segment_footer *out, bole_error *error)
{
    uint64_t end = BL_SEGMENT_HEADER_BYTES;
    for (uint32_t i = 0; i < out->section_count; i++, data += SECTION_BYTES) {
        bl_segment_section section = {
            .kind = bl_get_u16(data),
            .flags = bl_get_u16(data + 2),
            .offset = bl_get_u64(data + 8),
            .length = bl_get_u64(data + 16),
            .checksum = bl_get_u64(data + 24),
        };
        bool must = (section.flags & BL_SEGMENT_MUST_UNDERSTAND) != 0;
        if ((section.flags & ~BL_SEGMENT_MUST_UNDERSTAND) != 0 || bl_get_u32(data + 4) != 0 ||
            (must && !kind_is_known(section.kind)))
            return bl_fail(error, BOLE_UNSUPPORTED, "%s: section of kind %u, flags 0x%x", from->path,
                           section.kind, section.flags);
        if (section.offset < end || section.offset > footer_at || section.length > footer_at - section.offset)
            return bl_corrupt(error, from->path, footer_at, "section %u lies at %llu + %llu", section.kind,
                              (unsigned long long)section.offset, (unsigned long long)section.length);
        if (kind_is_known(section.kind) &&
            bl_segment_footer_section(out, (bl_section_kind)section.kind) != NULL)
            return bl_corrupt(error, from->path, footer_at, "two sections of kind %u", section.kind);
        end = section.offset + section.length;
        out->sections[i] = section;
    }
    return BOLE_OK;
}

/* Text of a field; NULL when out of memory. A zero byte inside would hide what follows: such a name is none.
 * */
static char *copy_text(bole_slice field)
{
    char *text = bl_alloc(field.size + 1);
    if (text != NULL && field.size != 0)
        memcpy(text, field.data, field.size);
    return text;
}

static uint64_t number_of(bole_slice field)
{
    switch (field.size) {
    case 1: return *(const uint8_t *)field.data;
    case 4: return bl_get_u32(field.data);
    default: return bl_get_u64(field.data);
    }
}

/* The length that a field must have; SIZE_MAX: any. */
static size_t field_bytes(field_tag tag)
{
    switch (tag) {
    case FIELD_TABLE:
    case FIELD_LEVEL:
    case FIELD_RUN:
    case FIELD_BLOCK_BYTES:
    case FIELD_FILTER_BITS: return 4;
    case FIELD_ENTRIES:
    case FIELD_TOMBSTONES:
    case FIELD_BLOCKS:
    case FIELD_RAW_BYTES:
    case FIELD_SEQUENCE_MIN:
    case FIELD_SEQUENCE_MAX:
    case FIELD_CREATED:
    case FIELD_BLOCKS_END: return 8;
    case FIELD_SEQUENCES_ZEROED:
    case FIELD_COMPRESSION: return 1;
    default: return SIZE_MAX;
    }
}

/* fields[tag] of every known tag; those that are not there keep data == NULL. */
static bole_status read_fields(const source *from, uint64_t footer_at, const uint8_t *data,
                               const uint8_t *end, uint32_t count, bole_slice fields[FIELD_COUNT],
                               bole_error *error)
{
    for (uint32_t i = 0; i < count; i++) {
        if ((size_t)(end - data) < FIELD_BYTES || bl_get_u32(data + 4) > (size_t)(end - data) - FIELD_BYTES)
            return bl_corrupt(error, from->path, footer_at, "field %u of the footer does not fit", i);
        uint16_t tag = bl_get_u16(data), flags = bl_get_u16(data + 2);
        bole_slice field = bl_slice(data + FIELD_BYTES, bl_get_u32(data + 4));
        data += FIELD_BYTES + field.size;
        bool known = tag > 0 && tag < FIELD_COUNT;
        if ((flags & ~BL_SEGMENT_MUST_UNDERSTAND) != 0 || (!known && flags != 0))
            return bl_fail(error, BOLE_UNSUPPORTED, "%s: field %u of the footer, flags 0x%x", from->path, tag,
                           flags);
        if (!known)
            continue;
        size_t bytes = field_bytes((field_tag)tag);
        if (fields[tag].data != NULL || (bytes != SIZE_MAX && bytes != field.size))
            return bl_corrupt(error, from->path, footer_at, "field %u of the footer has %zu bytes", tag,
                              field.size);
        fields[tag] = field;
    }
    if (data != end)
        return bl_corrupt(error, from->path, footer_at, "%zu bytes behind the footer's fields",
                          (size_t)(end - data));
    for (unsigned tag = 1; tag < FIELD_COUNT; tag++) {
        if (fields[tag].data == NULL && (FIELDS_REQUIRED >> tag & 1) != 0)
            return bl_corrupt(error, from->path, footer_at, "the footer lacks field %u", tag);
    }
    return BOLE_OK;
}

static uint64_t field_or(const bole_slice fields[FIELD_COUNT], field_tag tag, uint64_t otherwise)
{
    return fields[tag].data == NULL ? otherwise : number_of(fields[tag]);
}

/* What the fields say, as numbers, and whether it can be. */
static bole_status take_numbers(const source *from, uint64_t footer_at, const bole_slice fields[FIELD_COUNT],
                                bl_segment_footer *out, bole_error *error)
{
    bl_segment_meta *meta = &out->meta;
    meta->table = (uint32_t)number_of(fields[FIELD_TABLE]);
    bool values = bl_segment_meta_holds_values(meta); /* as the header says */
    meta->level = (uint32_t)field_or(fields, FIELD_LEVEL, 0);
    meta->run = (uint32_t)field_or(fields, FIELD_RUN, 0);
    meta->entries = number_of(fields[FIELD_ENTRIES]);
    meta->tombstones = number_of(fields[FIELD_TOMBSTONES]);
    meta->blocks = number_of(fields[FIELD_BLOCKS]);
    meta->raw_bytes = number_of(fields[FIELD_RAW_BYTES]);
    meta->sequence_min = number_of(fields[FIELD_SEQUENCE_MIN]);
    meta->sequence_max = number_of(fields[FIELD_SEQUENCE_MAX]);
    meta->sequences_zeroed = number_of(fields[FIELD_SEQUENCES_ZEROED]) != 0;
    meta->created_us = (int64_t)field_or(fields, FIELD_CREATED, 0);
    meta->file_bytes = from->length;
    out->block_bytes = (uint32_t)field_or(fields, FIELD_BLOCK_BYTES, 0);
    out->compression = (uint8_t)field_or(fields, FIELD_COMPRESSION, BL_COMPRESSED_NONE);
    out->filter_bits_per_key_tenths = (uint32_t)field_or(fields, FIELD_FILTER_BITS, 0);
    out->blocks_end = number_of(fields[FIELD_BLOCKS_END]);
    out->offset = footer_at;
    uint64_t sections_begin = out->section_count == 0 ? footer_at : out->sections[0].offset;
    if (out->blocks_end < BL_SEGMENT_HEADER_BYTES || out->blocks_end > sections_begin || meta->entries == 0 ||
        meta->blocks == 0 || meta->blocks > meta->entries || meta->tombstones > meta->entries ||
        meta->sequence_min > meta->sequence_max || fields[FIELD_SMALLEST].size > BOLE_KEY_BYTES_MAX ||
        fields[FIELD_LARGEST].size > BOLE_KEY_BYTES_MAX || fields[FIELD_INPUTS].size % BL_ID_BYTES != 0 ||
        values != bl_segment_meta_holds_values(meta) || (values && meta->blocks != meta->entries) ||
        !bl_value_uses_are_valid(fields[FIELD_VALUE_USES]))
        return bl_corrupt(error, from->path, footer_at, "the footer's figures do not fit together");
    return BOLE_OK;
}

static bole_status take_bytes(const source *from, const bole_slice fields[FIELD_COUNT],
                              bl_segment_footer *out, bole_error *error)
{
    bl_segment_meta keys = { .number = out->meta.number,
                             .smallest = fields[FIELD_SMALLEST],
                             .largest = fields[FIELD_LARGEST],
                             .value_uses = fields[FIELD_VALUE_USES] },
                    copied;
    bole_status status = bl_segment_meta_copy(&copied, &keys, error);
    if (status != BOLE_OK)
        return status;
    out->meta.smallest = copied.smallest;
    out->meta.largest = copied.largest;
    out->meta.value_uses = copied.value_uses;
    out->table_name = copy_text(fields[FIELD_TABLE_NAME]);
    out->comparator_name = copy_text(fields[FIELD_COMPARATOR_NAME]);
    out->inputs = bl_alloc(fields[FIELD_INPUTS].size);
    if (out->table_name == NULL || out->comparator_name == NULL || out->inputs == NULL)
        return bl_fail(error, BOLE_NO_MEMORY, "footer of %s", from->path);
    out->input_count = (uint32_t)(fields[FIELD_INPUTS].size / BL_ID_BYTES);
    if (out->input_count != 0)
        memcpy(out->inputs, fields[FIELD_INPUTS].data, fields[FIELD_INPUTS].size);
    return BOLE_OK;
}

static bole_status read_footer(const source *from, uint64_t footer_at, uint64_t footer_bytes, uint8_t *data,
                               bl_segment_footer *out, bole_error *error)
{
    bole_slice fields[FIELD_COUNT] = { { NULL, 0 } };
    bole_status status = read_at(from, footer_at, data, footer_bytes, error);
    if (status != BOLE_OK)
        return status;
    if (bl_checksum(from->seed, footer_at, data, footer_bytes) != out->meta.footer_checksum)
        return bl_corrupt(error, from->path, footer_at, "checksum of the segment's footer does not match");
    uint32_t sections = bl_get_u32(data);
    if (sections > BL_SEGMENT_SECTIONS_MAX || sections > (footer_bytes - 8) / SECTION_BYTES)
        return bl_corrupt(error, from->path, footer_at, "%u sections", sections);
    out->section_count = sections;
    status = read_sections(from, data + 8, footer_at, out, error);
    if (status == BOLE_OK)
        status = read_fields(from, footer_at, data + 8 + (size_t)sections * SECTION_BYTES,
                             data + footer_bytes, bl_get_u32(data + 4), fields, error);
    if (status == BOLE_OK)
        status = take_numbers(from, footer_at, fields, out, error);
    if (status == BOLE_OK)
        status = take_bytes(from, fields, out, error);
    return status;
}

bole_status bl_segment_footer_read_file(bole_file *file, const char *path, bl_segment_footer *out,
                                        bole_error *error)
{
    source from = { .file = file, .path = path };
    uint64_t footer_at = 0, footer_bytes = 0;
    uint8_t *data = NULL;
    memset(out, 0, sizeof *out);
    bole_status status = file->vfs->length(file, &from.length, error);
    if (status != BOLE_OK)
        goto fail;
    status = BOLE_CORRUPT;
    if (from.length < BL_SEGMENT_HEADER_BYTES + BL_SEGMENT_TAIL_BYTES) {
        bl_corrupt(error, path, from.length, "a segment of %llu bytes", (unsigned long long)from.length);
        goto fail;
    }
    status = read_header(&from, out, error);
    if (status == BOLE_OK)
        status = read_tail(&from, out, &footer_at, &footer_bytes, error);
    if (status != BOLE_OK)
        goto fail;
    data = bl_alloc(footer_bytes);
    if (data == NULL)
        status = bl_fail(error, BOLE_NO_MEMORY, "footer of %s", path);
    else
        status = read_footer(&from, footer_at, footer_bytes, data, out, error);
    bl_free(data);
    if (status == BOLE_OK)
        return BOLE_OK;
fail:
    bl_segment_footer_deinit(out);
    return status;
}

bole_status bl_segment_footer_read(bole_vfs *vfs, const char *path, bl_segment_footer *out, bole_error *error)
{
    bole_file *file = NULL;
    memset(out, 0, sizeof *out);
    bole_status status = vfs->open(vfs, path, BOLE_VFS_READ, &file, error);
    if (status != BOLE_OK)
        return status;
    status = bl_segment_footer_read_file(file, path, out, error);
    bole_status closed = vfs->close(file, status == BOLE_OK ? error : NULL);
    if (status == BOLE_OK && closed != BOLE_OK) {
        bl_segment_footer_deinit(out);
        status = closed;
    }
    return status;
}

void bl_segment_footer_deinit(bl_segment_footer *footer)
{
    bl_segment_meta_deinit(&footer->meta);
    bl_free(footer->table_name);
    bl_free(footer->comparator_name);
    bl_free(footer->inputs);
    memset(footer, 0, sizeof *footer);
}

const bl_segment_section *bl_segment_footer_section(const bl_segment_footer *footer, bl_section_kind kind)
{
    for (uint32_t i = 0; i < footer->section_count; i++) {
        if (footer->sections[i].kind == kind)
            return &footer->sections[i];
    }
    return NULL;
}

bole_status bl_segment_footer_check_meta(const bl_segment_footer *footer, const bl_segment_meta *meta,
                                         const char *path, bole_error *error)
{
    const bl_segment_meta *file = &footer->meta;
    const char *wrong = NULL;
    if (!bl_id_equal(file->id, meta->id))
        wrong = "id";
    else if (file->file_bytes != meta->file_bytes)
        wrong = "size";
    else if (file->footer_checksum != meta->footer_checksum)
        wrong = "footer checksum";
    else if (file->table != meta->table)
        wrong = "table";
    else if (file->entries != meta->entries || file->tombstones != meta->tombstones ||
             file->blocks != meta->blocks || file->raw_bytes != meta->raw_bytes)
        wrong = "counts";
    else if (!bl_slice_equal(file->smallest, meta->smallest) || !bl_slice_equal(file->largest, meta->largest))
        wrong = "key range";
    else if (file->sequence_min != meta->sequence_min || file->sequence_max != meta->sequence_max ||
             file->sequences_zeroed != meta->sequences_zeroed)
        wrong = "sequence range";
    else if (bl_segment_meta_holds_values(file) != bl_segment_meta_holds_values(meta) ||
             !bl_slice_equal(file->value_uses, meta->value_uses))
        wrong = "values";
    if (wrong == NULL)
        return BOLE_OK;
    return bl_corrupt(error, path, BL_NO_OFFSET, "%s: not what the manifest says of this segment", wrong);
}

bole_status bl_segment_section_read(bole_file *file, const char *path, bl_id id,
                                    const bl_segment_section *section, void *memory, bole_error *error)
{
    source from = { .file = file, .path = path };
    bole_status status = read_at(&from, section->offset, memory, section->length, error);
    if (status != BOLE_OK)
        return status;
    if (bl_checksum(bl_checksum_seed(id), section->offset, memory, section->length) != section->checksum)
        return bl_corrupt(error, path, section->offset, "checksum of section %u does not match",
                          section->kind);
    return BOLE_OK;
}
