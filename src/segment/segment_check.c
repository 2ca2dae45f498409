/* SPDX-License-Identifier: MIT */
/* segment_check.c -- looking into a segment: is all of it as the manifest says, and what does it look like?
 *
 * The check reads the file with buffers of its own and trusts nothing that is in memory. It is what `verify`,
 * a paranoid open and tests stand on, so it asks for more than readers need: each rule of block.h,
 * block_index.h and bloom_filter.h that can be looked at from outside.
 *
 * INVARIANTS  (CHECK-1) Every failure names the file and, where there is one, the offset of the block or
 *                       section.
 *             (CHECK-2) Blocks are checked one at a time: memory does not grow with the segment but by index
 *                       and filter.
 * THREADS     Any, outside an epoch.
 * NOT HERE    What footer and sections must be: segment_footer.c, block_index.c. A block by itself:
 *             block_load.c. */
#include "segment/segment.h"

#include "base/alloc.h"
#include "base/assert.h"
#include "base/hash.h"
#include "base/status.h"
#include "segment/block_reader.h"
#include "segment/segment_state.h"

#include <string.h>

/* ---- The whole file ---------------------------------------------------------------------------------- */

/* What the walk over all entries keeps. The segment and the error are those of the present call: in between a
 * caller may let go of the segment. */
struct bl_segment_checker {
    bl_segment *segment;
    bole_error *error;
    bl_segment_environment *environment;
    bl_unit *unit;   /* of its own */
    uint64_t block;  /* the next one */
    uint64_t offset; /* of the present block */
    uint64_t end;    /* of the block before */
    uint64_t entries, tombstones, raw_bytes;
    bl_value_tally pointers;
    bool has_last;
    uint64_t last_tag;
    uint8_t *room; /* frame and keys stand in it */
    size_t room_bytes;
    uint8_t *frame;
    uint8_t *last_key, *key; /* room for BOLE_KEY_BYTES_MAX + 8 each */
    size_t last_bytes;
    bole_buffer separator;
};

static bole_status wrong(bl_segment_checker *check, const char *what)
{
    return bl_corrupt(check->error, check->segment->path, check->offset, "%s", what);
}

static bole_status check_pointer(bl_segment_checker *check, bole_slice value)
{
    bl_value_pointer pointer;
    if (bl_segment_meta_holds_values(&check->segment->meta))
        return wrong(check, "a value segment holds something else than values");
    if (!bl_value_pointer_decode(value, &pointer))
        return wrong(check, "an entry's pointer to its value is none");
    if (bl_value_tally_add(&check->pointers, pointer.segment, 1, 0))
        return BOLE_OK;
    return bl_fail(check->error, BOLE_NO_MEMORY, "list of value segments");
}

static bole_status check_entry(bl_segment_checker *check, bole_slice key, uint64_t tag, bole_slice value)
{
    const bl_segment_meta *meta = &check->segment->meta;
    bl_comparator *comparator = check->segment->comparator;
    if (check->has_last && check->unit->ordered) {
        int order = bl_compare(comparator, bl_slice(check->last_key, check->last_bytes), key);
        if (order > 0 || (order == 0 && tag >= check->last_tag))
            return wrong(check, "an entry is not above the one before it");
    }
    if (!check->has_last && !bl_slice_equal(key, meta->smallest))
        return wrong(check, "the first key is not the smallest key of the manifest");
    uint64_t sequence = bl_tag_sequence(tag);
    bool zeroed = meta->sequences_zeroed && sequence == 0;
    if (!zeroed && (sequence < meta->sequence_min || sequence > meta->sequence_max))
        return wrong(check, "an entry's sequence is outside the segment's range");
    if (check->unit->has_filter &&
        !bl_bloom_filter_may_contain(&check->unit->filter, bl_hash(key.data, key.size)))
        return wrong(check, "the filter denies a key of the segment");
    check->entries++;
    check->tombstones += bl_tag_kind(tag) == BL_KIND_DELETE;
    check->raw_bytes += key.size + value.size;
    if (bl_tag_kind(tag) == BL_KIND_PUT_WITH_VALUE_POINTER)
        return check_pointer(check, value);
    if (bl_segment_meta_holds_values(meta) && bl_tag_kind(tag) != BL_KIND_PUT)
        return wrong(check, "a value segment holds something else than values");
    return BOLE_OK;
}

/* s(i - 1) < first key of i, unless the versions of one key go on; last key of i <= s(i). */
static bole_status check_separator(bl_segment_checker *check, uint64_t ordinal, bole_slice key, bool first)
{
    if (!check->unit->ordered || (first && ordinal == 0))
        return BOLE_OK;
    check->separator.size = 0;
    if (!bl_block_index_separator(&check->unit->index, first ? ordinal - 1 : ordinal, &check->separator))
        return bl_fail(check->error, BOLE_NO_MEMORY, "separator");
    bole_slice separator = bl_slice(check->separator.data, check->separator.size);
    int order = bl_compare(check->segment->comparator, separator, key);
    if (!first)
        return order >= 0 ? BOLE_OK : wrong(check, "a key is above its block's separator");
    bool goes_on = bl_slice_equal(bl_slice(check->last_key, check->last_bytes), key);
    return order < (goes_on ? 1 : 0) ? BOLE_OK : wrong(check, "a key is not above the separator before it");
}

static bole_status check_block(bl_segment_checker *check, uint64_t ordinal, uint8_t *frame)
{
    bole_status status = bl_block_read(check->segment, check->unit, ordinal, frame, NULL, check->error);
    if (status == BOLE_OK && check->unit->ordered)
        status = bl_block_validate(frame, check->unit->index.frame_bytes[ordinal], true,
                                   check->segment->comparator, check->segment->path, check->offset,
                                   check->error);
    if (status != BOLE_OK)
        return status;
    bl_block_view view;
    bl_block_view_init(&view, frame);
    if (bl_segment_meta_holds_values(&check->segment->meta) && view.count != 1)
        return wrong(check, "a block of a value segment holds more than one value");
    for (uint32_t i = 0; i < view.count && status == BOLE_OK; i++) {
        bole_slice key = bl_block_key(&view, i, check->key);
        uint64_t tag = bl_block_tag(&view, i);
        if (i == 0)
            status = check_separator(check, ordinal, key, true);
        if (status == BOLE_OK)
            status = check_entry(check, key, tag, bl_block_value(&view, i));
        uint8_t *other = check->last_key;
        check->last_key = check->key;
        check->key = other;
        check->last_bytes = key.size;
        check->last_tag = tag;
        check->has_last = true;
    }
    if (status == BOLE_OK)
        status = check_separator(check, ordinal, bl_slice(check->last_key, check->last_bytes), false);
    return status;
}

static bole_status check_totals(bl_segment_checker *check)
{
    const bl_segment_meta *meta = &check->segment->meta;
    check->offset = BL_NO_OFFSET;
    if (!bl_slice_equal(bl_slice(check->last_key, check->last_bytes), meta->largest))
        return wrong(check, "the last key is not the largest key of the manifest");
    if (check->entries != meta->entries)
        return wrong(check, "the number of entries is not the manifest's");
    if (check->tombstones != meta->tombstones)
        return wrong(check, "the number of tombstones is not the manifest's");
    if (check->raw_bytes != meta->raw_bytes)
        return wrong(check, "the bytes of keys and values are not as many as the manifest says");
    bole_slice uses = meta->value_uses;
    bl_value_use use;
    uint32_t listed = 0;
    bool equal = true;
    for (; equal && bl_value_uses_next(&uses, &use); listed++) {
        const struct bl_value_count *counted = bl_value_tally_of(&check->pointers, use.segment);
        equal = counted != NULL && counted->entries == use.pointers;
    }
    if (!equal || listed != check->pointers.count)
        return wrong(check, "the pointers into value segments are not those of the manifest");
    return BOLE_OK;
}

/* What fills up to the next block or section is zero: rot in it harms nobody, and is told all the same. */
static bole_status check_gap(const bl_segment *segment, bole_file *file, uint64_t from, uint64_t to,
                             bole_error *error)
{
    uint8_t bytes[512];
    while (from < to) {
        size_t wanted = to - from < sizeof bytes ? (size_t)(to - from) : sizeof bytes, got = 0;
        bole_status status = file->vfs->read(file, from, bytes, wanted, &got, error);
        if (status != BOLE_OK)
            return status;
        for (size_t i = 0; i < wanted; i++)
            if (i >= got || bytes[i] != 0)
                return bl_corrupt(error, segment->path, from + i,
                                  "what fills up to the next block or section is not zero; no entry is "
                                  "concerned");
        from += wanted;
    }
    return BOLE_OK;
}

/* Sections that no reader needs are checked against their checksums too, and what lies between them. */
static bole_status check_sections(bl_segment *segment, bole_file *file, const bl_segment_footer *footer,
                                  bole_error *error)
{
    uint64_t end = footer->blocks_end;
    for (uint32_t i = 0; i < footer->section_count; i++) {
        const bl_segment_section *section = &footer->sections[i];
        bole_status gap = check_gap(segment, file, end, section->offset, error);
        if (gap != BOLE_OK)
            return gap;
        end = section->offset + section->length;
        if (section->length == 0)
            continue;
        void *bytes = bl_alloc(section->length);
        if (bytes == NULL)
            return bl_fail(error, BOLE_NO_MEMORY, "section of %s", segment->path);
        bl_memory_budget_force(segment->environment->budget, BL_MEMORY_WORK, section->length);
        bole_status status = bl_segment_section_read(file, segment->path, segment->meta.id, section, bytes,
                                                     error);
        bl_memory_budget_release(segment->environment->budget, BL_MEMORY_WORK, section->length);
        bl_free(bytes);
        if (status != BOLE_OK)
            return status;
    }
    return check_gap(segment, file, end, footer->offset, error);
}

static bole_status check_ends(bl_segment *segment, bole_error *error)
{
    bl_descriptor_cache *descriptors = segment->environment->descriptors;
    bole_file *file;
    bole_status status = bl_descriptor_use(descriptors, &segment->descriptor, segment->path, &file, error);
    if (status != BOLE_OK)
        return status;
    bl_segment_footer footer;
    status = bl_segment_footer_read_file(file, segment->path, &footer, error);
    if (status == BOLE_OK) {
        status = bl_segment_footer_check_meta(&footer, &segment->meta, segment->path, error);
        if (status == BOLE_OK)
            status = check_sections(segment, file, &footer, error);
        bl_segment_footer_deinit(&footer);
    }
    bl_descriptor_done(descriptors, &segment->descriptor);
    return status;
}

/* What fills up between a block and the one before. */
static bole_status check_gap_before(bl_segment_checker *check)
{
    bl_segment *segment = check->segment;
    bl_descriptor_cache *descriptors = segment->environment->descriptors;
    bole_file *file;
    if (check->end == check->offset)
        return BOLE_OK;
    bole_status status = bl_descriptor_use(descriptors, &segment->descriptor, segment->path, &file,
                                           check->error);
    if (status != BOLE_OK)
        return status;
    status = check_gap(segment, file, check->end, check->offset, check->error);
    bl_descriptor_done(descriptors, &segment->descriptor);
    return status;
}

/* Room for two keys and the largest frame. */
static bole_status make_room(bl_segment_checker *check)
{
    size_t frame_bytes = 0, key_bytes = BOLE_KEY_BYTES_MAX + 8;
    for (uint64_t i = 0; i < check->unit->index.count; i++)
        if (check->unit->index.frame_bytes[i] > frame_bytes)
            frame_bytes = check->unit->index.frame_bytes[i];
    check->room = bl_alloc(frame_bytes + 2 * key_bytes);
    if (check->room == NULL)
        return bl_fail(check->error, BOLE_NO_MEMORY, "check of %s", check->segment->path);
    check->room_bytes = frame_bytes + 2 * key_bytes;
    bl_memory_budget_force(check->environment->budget, BL_MEMORY_WORK, check->room_bytes);
    check->frame = check->room; /* first: the heap's alignment is its own */
    check->key = check->room + frame_bytes;
    check->last_key = check->key + key_bytes;
    return BOLE_OK;
}

bole_status bl_segment_check_begin(bl_segment *segment, bl_segment_checker **out, uint64_t *bytes,
                                   bole_error *error)
{
    *out = NULL;
    bole_status status = check_ends(segment, error);
    if (status != BOLE_OK)
        return status;
    bl_segment_checker *check = bl_new(bl_segment_checker);
    if (check == NULL)
        return bl_fail(error, BOLE_NO_MEMORY, "check of %s", segment->path);
    *check = (bl_segment_checker){
        .segment = segment,
        .environment = segment->environment,
        .end = BL_SEGMENT_HEADER_BYTES,
        .separator = BOLE_BUFFER_INIT,
        .error = error,
    };
    status = bl_unit_load_private(segment, &check->unit, error); /* from the file, not from memory */
    if (status == BOLE_OK)
        status = make_room(check);
    if (status != BOLE_OK) {
        bl_segment_check_end(check);
        return status;
    }
    const bl_block_index *index = &check->unit->index;
    uint64_t blocks = index->offsets[index->count - 1] + index->stored_bytes[index->count - 1] -
                      index->offsets[0];
    *bytes += segment->meta.file_bytes > blocks ? segment->meta.file_bytes - blocks : 0;
    *out = check;
    return BOLE_OK;
}

bole_status bl_segment_check_next(bl_segment_checker *check, bl_segment *segment, uint64_t *bytes,
                                  bole_error *error)
{
    const bl_block_index *index = &check->unit->index;
    check->segment = segment;
    check->error = error;
    if (check->block == index->count) {
        bole_status status = check_totals(check);
        return status == BOLE_OK ? BOLE_NOT_FOUND : status;
    }
    check->offset = index->offsets[check->block];
    bole_status status = check_gap_before(check);
    if (status == BOLE_OK)
        status = check_block(check, check->block, check->frame);
    check->end = check->offset + index->stored_bytes[check->block];
    check->block++;
    *bytes += index->stored_bytes[check->block - 1];
    return status;
}

void bl_segment_check_end(bl_segment_checker *check)
{
    if (check == NULL)
        return;
    if (check->unit != NULL)
        bl_frame_cache_give_back_unit(check->environment->cache, &check->unit->node);
    bl_memory_budget_release(check->environment->budget, BL_MEMORY_WORK, check->room_bytes);
    bl_free(check->room);
    bole_buffer_free(&check->separator);
    bl_value_tally_deinit(&check->pointers);
    bl_free(check);
}

bole_status bl_segment_check(bl_segment *segment, bool all_blocks, bole_error *error)
{
    bl_segment_checker *check;
    uint64_t bytes = 0;
    bole_status status = bl_segment_check_begin(segment, &check, &bytes, error);
    while (status == BOLE_OK && all_blocks)
        status = bl_segment_check_next(check, segment, &bytes, error);
    bl_segment_check_end(check);
    return all_blocks && status == BOLE_NOT_FOUND ? BOLE_OK : status;
}

/* ---- What it looks like ------------------------------------------------------------------------------ */

bole_status bl_segment_shape_read(bl_segment *segment, bl_segment_shape *out, bole_error *error)
{
    *out = (bl_segment_shape){ 0 };
    bl_unit *unit;
    bole_status status = bl_unit_get(segment, true, &unit, error);
    if (status != BOLE_OK)
        return status;
    out->index_bytes = unit->index_bytes;
    out->compression = unit->compression;
    if (unit->has_filter) {
        out->filter_kind = BL_FILTER_CACHE_LINE_BLOOM;
        out->filter_bytes = unit->filter_bytes;
        out->filter_bits_per_key_tenths = unit->filter.bits_per_key_tenths;
        out->filter_expected_rate = bl_bloom_filter_expected_rate(&unit->filter);
    }
    for (uint64_t i = 0; i < unit->index.count; i++) {
        bl_frame *value = atomic_load_explicit(bl_block_index_slot(&unit->index, i), memory_order_relaxed);
        out->cached_blocks += bl_slot_frame(value) != NULL;
    }
    bl_unit_put(segment, unit);
    return BOLE_OK;
}

bole_status bl_segment_filter_may_contain(bl_segment *segment, uint64_t hash, bool *maybe, bole_error *error)
{
    *maybe = true;
    bl_unit *unit;
    bole_status status = bl_unit_get(segment, true, &unit, error);
    if (status != BOLE_OK)
        return status;
    *maybe = !unit->has_filter || bl_bloom_filter_may_contain(&unit->filter, hash);
    bl_unit_put(segment, unit);
    return BOLE_OK;
}

bole_status bl_segment_blocks(bl_segment *segment, bool (*visit)(void *context, const bl_block_place *place),
                              void *context, bole_error *error)
{
    bl_unit *unit;
    bole_status status = bl_unit_get(segment, true, &unit, error);
    if (status != BOLE_OK)
        return status;
    bole_buffer separator = BOLE_BUFFER_INIT;
    for (uint64_t i = 0; i < unit->index.count; i++) {
        separator.size = 0;
        if (!bl_block_index_separator(&unit->index, i, &separator)) {
            status = bl_fail(error, BOLE_NO_MEMORY, "separator");
            break;
        }
        bl_block_place place = {
            .ordinal = i,
            .offset = unit->index.offsets[i],
            .stored_bytes = unit->index.stored_bytes[i],
            .separator = bl_slice(separator.data, separator.size),
        };
        if (!visit(context, &place))
            break;
    }
    bole_buffer_free(&separator);
    bl_unit_put(segment, unit);
    return status;
}
