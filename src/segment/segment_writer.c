/* SPDX-License-Identifier: MIT */
/* segment_writer.c -- entries in, a synced and named segment out.
 *
 * FILE        header page | blocks | index section | filter section | footer | tail: segment_footer.h.
 *             Sections begin at multiples of 64. A block that is not compressed begins at a multiple of 4
 *             KiB as long as the padding for that stays below 3 % of the file, so that a read of one block
 *             touches one page.
 * BLOCKS      A block is cut before it would outgrow its limit: 4 KiB, or 16 KiB where entries are above 256
 *             bytes on average. When the cut would leave more than 3 % of the frame empty, up to 16 KiB are
 *             tried in steps of a page. An entry that is larger than the limit is a block of its own, and so is
 *             every entry of a value segment.
 * BUFFER      Blocks are laid out in a growing buffer (or in a frame of the cache, and copied there), written a
 *             whole MiB at a time, at whole MiB of the file; what is beyond moves to its begin.
 * INVARIANTS  (WRITER-1) Data is synced before the file is named, and the name before finish returns.
 *             (WRITER-2) A writer that failed or was abandoned leaves no file (as far as the disk lets it).
 *             (WRITER-3) Keys rise, tags of one key fall, counts and ranges in the meta are those of the
 *             entries.
 * THREADS     One. */
#include "segment/segment_writer.h"

#include "base/alloc.h"
#include "base/assert.h"
#include "base/buffer.h"
#include "base/hash.h"
#include "base/status.h"
#include "core/entry_checksum.h"
#include "core/internal_key.h"
#include "platform/page_arena.h"
#include "segment/block_builder.h"
#include "segment/block_index.h"
#include "segment/bloom_filter.h"
#include "segment/compression.h"
#include "segment/segment_footer.h"

#include <stdio.h>

enum {
    WRITE_BYTES = 1024 * 1024,
    /* A write, and a block that begins in it; too small for a huge page. */
    BUFFER_BYTES = 2 * WRITE_BYTES - 4096,
    LAID_OUT_BYTES_MAX = BUFFER_BYTES - WRITE_BYTES, /* of a block in the buffer */
    BEHIND_BYTES = 4 * WRITE_BYTES,                  /* of a vfs that writes behind */
    BUFFER_BYTES_FIRST = 16 * 1024,                  /* most segments of a small store are no larger */
    BUFFER_GROWTH = 8,
    BLOCK_BYTES = 4096,
    BLOCK_BYTES_LARGE = 16384,
    ENTRY_BYTES_LARGE = 256, /* above this average blocks are large */
    PAGE_BYTES = 4096,
    WASTE_SHARE = 33, /* 1/33: 3 % */
    SECTION_ALIGNMENT = 64,
    COMPRESSED_RAW_FREE = 1 << 20, /* as the reader bounds it: block_load.c */
    COMPRESSED_RATIO_MAX = 256,
};

struct bl_segment_writer {
    bl_segment_environment *environment;
    bl_comparator *comparator;
    bool install_frames, has_filter, compressing, holds_values;
    uint64_t tag_kept;    /* of a tag: all of it, or with zero_sequences its kind */
    uint32_t block_bytes; /* 0: as entries turn out */
    bool check_entries;
    uint64_t added_sum; /* of the entries added to the present block; any order has the same */
    bole_status status; /* of the first failure: nothing goes on after it */
    char *path, *path_temporary;
    bool named; /* the file stands under `path`, not path_temporary */
    bole_file *file;
    uint32_t open_flags; /* BOLE_VFS_DIRECT or 0 */
    uint64_t seed;
    bl_segment_footer footer; /* meta, names and inputs gathered here */
    bool has_smallest;
    uint8_t *smallest;
    uint8_t *value_uses;
    bl_value_tally pointers; /* of its entries, by value segment */

    bl_block_builder builder;
    size_t limit; /* of the block being gathered */
    bl_bloom_builder filter;
    bl_block_index_builder index;
    bl_compressor *compressor;
    /* the block that was written last, until the next one's first key is known */
    bool pending;
    uint64_t pending_at;
    uint32_t pending_stored, pending_frame;

    uint8_t *buffer; /* grows up to BUFFER_BYTES */
    size_t buffer_bytes, buffer_capacity;
    uint64_t buffer_at;     /* file offset of buffer[0] */
    uint64_t padding_bytes; /* between blocks, so far */
    bole_buffer work;       /* a block before compression, or one that is larger than the buffer */
    bl_frame_card **cards;  /* by ordinal; some NULL */
    uint64_t cards_capacity;
    uint64_t charged; /* to BL_MEMORY_WORK */
};

/* ---- Memory ---- */

/* Charge what the writer holds now. */
static void settle(bl_segment_writer *writer)
{
    uint64_t bytes = writer->buffer_capacity + (writer->open_flags != 0 ? BEHIND_BYTES : 0) +
                     writer->builder.staging_capacity +
                     writer->builder.entries_capacity * sizeof(bl_block_entry) +
                     writer->filter.capacity * sizeof(uint64_t) + writer->index.entries.capacity +
                     writer->index.separators.capacity + writer->work.capacity +
                     writer->cards_capacity * sizeof(bl_frame_card *);
    bl_memory_budget *budget = writer->environment->budget;
    if (bytes > writer->charged)
        bl_memory_budget_force(budget, BL_MEMORY_WORK, bytes - writer->charged);
    else if (bytes < writer->charged)
        bl_memory_budget_release(budget, BL_MEMORY_WORK, writer->charged - bytes);
    writer->charged = bytes;
}

/* Everything but the file. */
static void free_writer(bl_segment_writer *writer)
{
    for (uint64_t i = 0; i < writer->footer.meta.blocks && i < writer->cards_capacity; i++)
        bl_frame_cache_give_back(writer->environment->cache, writer->cards[i]);
    bl_memory_budget_release(writer->environment->budget, BL_MEMORY_WORK, writer->charged);
    bl_block_builder_deinit(&writer->builder);
    bl_bloom_builder_deinit(&writer->filter);
    bl_block_index_builder_deinit(&writer->index);
    bl_compressor_destroy(writer->compressor);
    bole_buffer_free(&writer->work);
    bl_region_free(writer->buffer, writer->buffer_capacity);
    bl_free(writer->cards);
    bl_free(writer->path);
    bl_free(writer->path_temporary);
    bl_free(writer->smallest);
    bl_free(writer->value_uses);
    bl_value_tally_deinit(&writer->pointers);
    bl_segment_meta *meta = &writer->footer.meta;
    meta->smallest = meta->largest = meta->value_uses = bl_slice(NULL, 0); /* borrowed */
    bl_segment_footer_deinit(&writer->footer);
    bl_free(writer);
}

void bl_segment_writer_abandon(bl_segment_writer *writer)
{
    if (writer == NULL)
        return;
    bole_vfs *vfs = writer->environment->vfs;
    bool made = writer->file != NULL || writer->named;
    if (writer->file != NULL && vfs->close(writer->file, NULL) != BOLE_OK)
        BL_MARK("abandoned segment failed to close");
    if (made && vfs->remove(vfs, writer->named ? writer->path : writer->path_temporary, NULL) != BOLE_OK)
        BL_MARK("abandoned segment stays as rubbish"); /* recovery removes what no manifest names */
    free_writer(writer);
}

/* ---- Making one ---- */

static bool make_paths(bl_segment_writer *writer, uint64_t number)
{
    bole_buffer path = BOLE_BUFFER_INIT;
    if (!bl_buffer_append_format(&path, "%s/%06llu.seg", writer->environment->directory,
                                 (unsigned long long)number))
        return false;
    writer->path = bl_memory_copy(path.data,
                                  path.size + 1); /* append_format leaves a NUL behind the content */
    bool made = writer->path != NULL && bl_buffer_append_format(&path, ".tmp");
    if (made)
        writer->path_temporary = bl_memory_copy(path.data, path.size + 1);
    bole_buffer_free(&path);
    return made && writer->path_temporary != NULL;
}

static bool grow_buffer(bl_segment_writer *writer, size_t capacity)
{
    uint8_t *larger = bl_region_alloc(capacity);
    if (larger == NULL)
        return false;
    if (writer->buffer_bytes != 0)
        memcpy(larger, writer->buffer, writer->buffer_bytes);
    bl_region_free(writer->buffer, writer->buffer_capacity);
    writer->buffer = larger;
    writer->buffer_capacity = capacity;
    return true;
}

static bole_status make_parts(bl_segment_writer *writer, const bl_segment_writer_parameters *parameters,
                              bole_error *error)
{
    bl_segment_footer *footer = &writer->footer;
    bole_status status = bl_block_builder_init(&writer->builder, writer->comparator, error);
    if (status == BOLE_OK)
        status = bl_compressor_create(parameters->compression, parameters->compression_level,
                                      &writer->compressor, error);
    if (status != BOLE_OK)
        return status;
    bl_block_index_builder_init(&writer->index, writer->comparator != NULL);
    bool made = make_paths(writer, parameters->number);
    made = made && grow_buffer(writer, BUFFER_BYTES_FIRST);
    footer->table_name = bl_string_copy(parameters->table_name == NULL ? "" : parameters->table_name);
    footer->comparator_name = bl_string_copy(bl_comparator_name(writer->comparator));
    made = made && footer->table_name != NULL && footer->comparator_name != NULL;
    if (made && parameters->input_count != 0) {
        footer->inputs = bl_memory_copy(parameters->inputs, parameters->input_count * sizeof(bl_id));
        footer->input_count = parameters->input_count;
        made = footer->inputs != NULL;
    }
    if (made && parameters->filter_bits_per_key != 0) {
        uint32_t bits = parameters->filter_bits_per_key;
        bl_bloom_builder_init(&writer->filter,
                              bits < BL_BLOOM_BITS_TENTHS_MAX / 10 ? bits * 10 : BL_BLOOM_BITS_TENTHS_MAX);
        footer->filter_bits_per_key_tenths = writer->filter.bits_per_key_tenths;
        writer->has_filter = true;
        uint64_t estimate = parameters->entries_estimate < 1 << 20 ? parameters->entries_estimate : 1 << 20;
        made = bl_bloom_builder_reserve(&writer->filter, estimate);
    }
    return made ? BOLE_OK : bl_fail(error, BOLE_NO_MEMORY, "segment writer");
}

static bole_status make_file(bl_segment_writer *writer, bole_error *error)
{
    bole_vfs *vfs = writer->environment->vfs;
    bl_segment_meta *meta = &writer->footer.meta;
    bole_status status = vfs->random(vfs, meta->id.bytes, BL_ID_BYTES, error);
    if (status == BOLE_OK)
        status = vfs->open(vfs, writer->path_temporary,
                           writer->open_flags | BOLE_VFS_WRITE | BOLE_VFS_CREATE | BOLE_VFS_TRUNCATE,
                           &writer->file, error);
    if (status != BOLE_OK)
        return status;
    writer->seed = bl_checksum_seed(meta->id);
    bl_segment_header_encode(meta, &writer->environment->store_id, writer->buffer);
    writer->buffer_bytes = BL_SEGMENT_HEADER_BYTES;
    return BOLE_OK;
}

bole_status bl_segment_writer_create(const bl_segment_writer_parameters *parameters, bl_segment_writer **out,
                                     bole_error *error)
{
    *out = NULL;
    if (parameters->block_bytes > BL_BLOCK_LIMIT_MAX)
        return bl_fail(error, BOLE_INVALID, "blocks of %u bytes are above the limit of %d",
                       parameters->block_bytes, BL_BLOCK_LIMIT_MAX);
    bl_segment_writer *writer = bl_new(bl_segment_writer);
    if (writer == NULL)
        return bl_fail(error, BOLE_NO_MEMORY, "segment writer");
    writer->environment = parameters->environment;
    writer->comparator = parameters->comparator;
    writer->tag_kept = parameters->zero_sequences ? BL_TAG(0, UINT8_MAX) : UINT64_MAX;
    writer->check_entries = parameters->check_entries;
    writer->open_flags = parameters->past_cache ? BOLE_VFS_DIRECT : 0;
    writer->holds_values = parameters->level == BL_LEVEL_VALUES;
    writer->install_frames = parameters->install_frames && parameters->environment->cache != NULL;
    writer->compressing = parameters->compression != BL_COMPRESSED_NONE;
    writer->block_bytes = parameters->block_bytes;
    writer->limit = writer->block_bytes == 0 ? BLOCK_BYTES : writer->block_bytes;
    writer->footer.compression = (uint8_t)parameters->compression;
    writer->footer.block_bytes = writer->block_bytes;
    writer->footer.store_id = parameters->environment->store_id;
    bl_segment_meta *meta = &writer->footer.meta;
    meta->number = parameters->number;
    meta->table = parameters->table;
    meta->level = parameters->level;
    meta->run = parameters->run;
    meta->sequence_min = UINT64_MAX;
    meta->sequences_zeroed = parameters->zero_sequences;
    bole_status status = make_parts(writer, parameters, error);
    if (status == BOLE_OK)
        status = make_file(writer, error);
    if (status != BOLE_OK) {
        bl_segment_writer_abandon(writer);
        return status;
    }
    settle(writer);
    *out = writer;
    return BOLE_OK;
}

/* ---- The file ---- */

static inline uint64_t offset_of(const bl_segment_writer *writer)
{
    return writer->buffer_at + writer->buffer_bytes;
}

static bole_status flush_buffer(bl_segment_writer *writer, size_t bytes, bole_error *error)
{
    if (bytes == 0)
        return BOLE_OK;
    bole_status status = writer->file->vfs->write(writer->file, writer->buffer_at, writer->buffer, bytes,
                                                  error);
    if (status == BOLE_OK) {
        writer->buffer_at += bytes;
        writer->buffer_bytes -= bytes;
        memmove(writer->buffer, writer->buffer + bytes, writer->buffer_bytes);
    }
    return status;
}

/* Room in the buffer for so many bytes more; together they are never more than a whole one. */
static bole_status make_room(bl_segment_writer *writer, size_t bytes, bole_error *error)
{
    size_t capacity = writer->buffer_capacity, needed = writer->buffer_bytes + bytes;
    bl_assert(needed <= BUFFER_BYTES);
    while (capacity < needed)
        capacity = capacity < BUFFER_BYTES / BUFFER_GROWTH ? capacity * BUFFER_GROWTH : BUFFER_BYTES;
    if (capacity != writer->buffer_capacity && !grow_buffer(writer, capacity))
        return bl_fail(error, BOLE_NO_MEMORY, "a buffer of %zu bytes for a segment", capacity);
    return BOLE_OK;
}

/* `bytes` more stand in the buffer: write what is a whole MiB. */
static bole_status added(bl_segment_writer *writer, size_t bytes, bole_error *error)
{
    writer->buffer_bytes += bytes;
    return writer->buffer_bytes < WRITE_BYTES ? BOLE_OK : flush_buffer(writer, WRITE_BYTES, error);
}

static bole_status append(bl_segment_writer *writer, const void *data, size_t bytes, bole_error *error)
{
    bole_status status = BOLE_OK;
    for (const uint8_t *from = data; bytes != 0 && status == BOLE_OK;) {
        size_t room = WRITE_BYTES - writer->buffer_bytes, part = bytes < room ? bytes : room;
        status = make_room(writer, part, error);
        if (status != BOLE_OK)
            break;
        memcpy(writer->buffer + writer->buffer_bytes, from, part);
        status = added(writer, part, error);
        from += part;
        bytes -= part;
    }
    return status;
}

/* Zeroes up to the next multiple of `alignment`, which is at most a page. */
static bole_status append_padding(bl_segment_writer *writer, size_t alignment, bole_error *error)
{
    static const uint8_t zeroes[PAGE_BYTES];
    return append(writer, zeroes, (size_t)(-offset_of(writer) & (alignment - 1)), error);
}

/* ---- Blocks ---- */

/* The story of an entry that the builder did not take. */
static bole_status refused(bl_segment_writer *writer, bl_block_added added, bole_error *error)
{
    if (added == BL_BLOCK_OUT_OF_MEMORY)
        return bl_fail(error, BOLE_NO_MEMORY, "a block of %s", writer->path_temporary);
    return bl_corrupt(error, writer->path_temporary, BL_NO_OFFSET, "entry %llu of the input is out of order",
                      (unsigned long long)writer->footer.meta.entries);
}

/* The limit a block begins with. */
static size_t first_limit(const bl_segment_writer *writer)
{
    const bl_segment_meta *meta = &writer->footer.meta;
    if (writer->block_bytes != 0)
        return writer->block_bytes;
    return meta->raw_bytes > meta->entries * ENTRY_BYTES_LARGE ? BLOCK_BYTES_LARGE : BLOCK_BYTES;
}

/* Before the first entry, with `key`, of another block than the first: its predecessor can be indexed now,
 * and a block that is not compressed may begin a page. */
static bole_status begin_block(bl_segment_writer *writer, bole_slice key, bole_error *error)
{
    if (!writer->pending)
        return BOLE_OK;
    bole_slice last = bl_block_builder_last_key(&writer->builder);
    if (writer->comparator == NULL && bl_slice_compare(last, key) > 0)
        return refused(writer, BL_BLOCK_OUT_OF_ORDER, error);
    if (!bl_block_index_builder_add(&writer->index, last, key, false, writer->pending_at,
                                    writer->pending_stored, writer->pending_frame))
        return bl_fail(error, BOLE_NO_MEMORY, "block index of %s", writer->path_temporary);
    writer->pending = false;
    writer->limit = first_limit(writer);
    size_t padding = (size_t)(-offset_of(writer) & (PAGE_BYTES - 1));
    if (writer->compressing || padding == 0 ||
        (writer->padding_bytes + padding) * WASTE_SHARE > offset_of(writer))
        return BOLE_OK;
    writer->padding_bytes += padding;
    return append_padding(writer, PAGE_BYTES, error);
}

/* Remember the frame of the block that comes next. Without memory for that the block is just not in the
 * cache. */
static void keep_card(bl_segment_writer *writer, bl_frame_card *card)
{
    uint64_t ordinal = writer->footer.meta.blocks;
    if (ordinal >= writer->cards_capacity) {
        uint64_t capacity = ordinal < 128 ? 256 : ordinal * 2;
        bl_frame_card **moved = bl_realloc(writer->cards, capacity * sizeof *moved);
        if (moved == NULL) {
            bl_frame_cache_give_back(writer->environment->cache, card);
            writer->install_frames = false;
            return;
        }
        memset(moved + writer->cards_capacity, 0, (capacity - writer->cards_capacity) * sizeof *moved);
        writer->cards = moved;
        writer->cards_capacity = capacity;
    }
    writer->cards[ordinal] = card;
}

/* Compress the frame's raw bytes to `out` (of at least `size` bytes), header first. Returns header + stored
 * bytes, or 0 when it does not shrink by an eighth. The frame's header then says the same as the stored one.
 * */
static size_t compress(bl_segment_writer *writer, uint8_t *frame, size_t size, uint8_t *out)
{
    size_t raw = size - BL_BLOCK_HEADER_BYTES;
    size_t stored = bl_compress(writer->compressor, frame + BL_BLOCK_HEADER_BYTES, raw,
                                out + BL_BLOCK_HEADER_BYTES, raw - raw / 8);
    if (stored == 0 || stored >= raw || (raw > COMPRESSED_RAW_FREE && raw / COMPRESSED_RATIO_MAX > stored))
        return 0;
    frame[16] = writer->footer.compression;
    bl_put_u32(frame + 8, (uint32_t)stored);
    memcpy(out, frame, BL_BLOCK_HEADER_BYTES);
    return BL_BLOCK_HEADER_BYTES + stored;
}

/* Lay the block out in `frame`, and see that it holds what was added, byte for byte: nothing changed on the way through
 * memory. */
static bole_status finish_frame(bl_segment_writer *writer, uint8_t *frame, bole_error *error)
{
    bl_block_builder_finish(&writer->builder, frame);
    if (bl_likely(!writer->check_entries))
        return BOLE_OK;
    const bl_segment_meta *meta = &writer->footer.meta;
    uint8_t *key = bl_alloc(BOLE_KEY_BYTES_MAX + 8);
    if (key == NULL)
        return bl_fail(error, BOLE_NO_MEMORY, "check of %s", writer->path_temporary);
    uint64_t sum = 0;
    bl_block_view view;
    bl_block_view_init(&view, frame);
    for (uint32_t i = 0; i < view.count; i++)
        sum += bl_entry_checksum(meta->table, (uint8_t)bl_tag_kind(bl_block_tag(&view, i)),
                                 bl_block_key(&view, i, key), bl_block_value(&view, i));
    bl_free(key);
    uint64_t added = writer->added_sum;
    writer->added_sum = 0;
    if (sum == added)
        return BOLE_OK;
    return bl_corrupt(
        error, writer->path_temporary, offset_of(writer),
        "a block of table %u holds other bytes than were put into it: memory changed; it is not "
        "written, its last key is above entry %llu",
        meta->table, (unsigned long long)meta->entries);
}

/* A block that is too large for the buffer, by way of the work buffer. */
static bole_status write_large(bl_segment_writer *writer, size_t size, size_t *stored, bole_error *error)
{
    size_t room = writer->compressing ? 2 * size : size;
    if (!bl_buffer_reserve(&writer->work, room))
        return bl_fail(error, BOLE_NO_MEMORY, "a block of %zu bytes", size);
    uint8_t *frame = writer->work.data, *out = frame;
    bole_status status = finish_frame(writer, frame, error);
    *stored = size;
    if (status == BOLE_OK && writer->compressing) {
        size_t compressed = compress(writer, frame, size, frame + size);
        if (compressed != 0) {
            *stored = compressed;
            out = frame + size;
        }
    }
    if (status == BOLE_OK) {
        bl_block_seal(out, writer->seed, offset_of(writer));
        status = append(writer, out, *stored, error);
    }
    settle(writer);
    bole_buffer_free(&writer->work); /* such blocks are rare, and their memory much */
    return status;
}

/* A block that fits in the buffer: laid out in a frame when one is to be had, in the buffer itself
 * otherwise. */
static bole_status write_small(bl_segment_writer *writer, size_t size, size_t *stored, bole_error *error)
{
    bole_status status = make_room(writer, size, error);
    if (status == BOLE_OK && writer->compressing && !bl_buffer_reserve(&writer->work, size))
        status = bl_fail(error, BOLE_NO_MEMORY, "a block of %zu bytes", size);
    if (status != BOLE_OK)
        return status;
    bl_frame_card *card = NULL;
    if (writer->install_frames &&
        bl_frame_cache_take(writer->environment->cache, size, false, &card, NULL) != BOLE_OK)
        card = NULL; /* no room to spare: the block is read when it is wanted */
    uint8_t *out = writer->buffer + writer->buffer_bytes;
    uint8_t *frame = card != NULL ? bl_frame_card_bytes(card) : writer->compressing ? writer->work.data : out;
    status = finish_frame(writer, frame, error);
    if (status != BOLE_OK) {
        if (card != NULL)
            bl_frame_cache_give_back(writer->environment->cache, card);
        return status;
    }
    *stored = writer->compressing ? compress(writer, frame, size, out) : 0;
    if (*stored != 0) {
        bl_block_seal(out, writer->seed, offset_of(writer));
    } else { /* sealed where it is warm */
        *stored = size;
        bl_block_seal(frame, writer->seed, offset_of(writer));
        if (frame != out)
            memcpy(out, frame, size);
    }
    status = added(writer, *stored, error);
    if (card != NULL && status == BOLE_OK)
        keep_card(writer, card);
    else if (card != NULL)
        bl_frame_cache_give_back(writer->environment->cache, card);
    return status;
}

static bole_status end_block(bl_segment_writer *writer, bole_error *error)
{
    size_t size = bl_block_builder_size(&writer->builder), stored = 0;
    uint64_t offset = offset_of(writer);
    bole_status status = size > LAID_OUT_BYTES_MAX ? write_large(writer, size, &stored, error)
                                                   : write_small(writer, size, &stored, error);
    if (status != BOLE_OK)
        return status;
    writer->pending = true;
    writer->pending_at = offset;
    writer->pending_stored = (uint32_t)stored;
    writer->pending_frame = (uint32_t)size;
    writer->footer.meta.blocks++;
    settle(writer);
    return BOLE_OK;
}

/* An entry of `bytes` does not fit: may the block grow by a page, so that less of its frame is empty? */
static bool extend(bl_segment_writer *writer, size_t bytes)
{
    size_t size = bl_block_builder_size(&writer->builder);
    if (size >= writer->limit)
        return false;
    size_t empty = writer->limit - size;
    size_t wanted = writer->block_bytes == 0 ? first_limit(writer) : writer->limit;
    if (wanted <= writer->limit) {
        if (empty * WASTE_SHARE <= writer->limit || writer->limit < PAGE_BYTES ||
            writer->limit + PAGE_BYTES > BLOCK_BYTES_LARGE || bytes > empty + PAGE_BYTES)
            return false;
        wanted = writer->limit + PAGE_BYTES;
    }
    writer->limit = wanted;
    return true;
}

/* ---- Adding ---- */

static bole_status first_entry(bl_segment_writer *writer, bole_slice key, bole_error *error)
{
    writer->smallest = bl_memory_copy(key.data, key.size);
    if (writer->smallest == NULL)
        return bl_fail(error, BOLE_NO_MEMORY, "smallest key of %s", writer->path_temporary);
    writer->footer.meta.smallest = bl_slice(writer->smallest, key.size);
    writer->has_smallest = true;
    return BOLE_OK;
}

/* The block is full, or the writer has just begun, or something is wrong. */
static bole_status add_slow(bl_segment_writer *writer, bole_slice key, uint64_t hash, uint64_t tag,
                            bole_slice value, bole_error *error)
{
    if (key.size > BOLE_KEY_BYTES_MAX || value.size > BOLE_VALUE_BYTES_MAX)
        return bl_fail(error, BOLE_TOO_LARGE, "a key of %zu bytes with a value of %zu", key.size, value.size);
    if (!bl_kind_is_stored((uint8_t)bl_tag_kind(tag)))
        return bl_fail(error, BOLE_UNSUPPORTED, "an entry of kind %u", (unsigned)bl_tag_kind(tag));
    bole_status status = BOLE_OK;
    if (!writer->has_smallest)
        status = first_entry(writer, key, error);
    while (status == BOLE_OK) {
        if (bl_block_builder_count(&writer->builder) == 0)
            status = begin_block(writer, key, error);
        if (status != BOLE_OK)
            break;
        bl_block_added added = bl_block_builder_add(&writer->builder, key, hash, tag, value, writer->limit);
        if (added == BL_BLOCK_ADDED)
            break;
        if (added != BL_BLOCK_FULL)
            return refused(writer, added, error);
        if (!extend(writer, key.size + value.size))
            status = end_block(writer, error);
    }
    if (status == BOLE_OK && bl_unlikely(writer->check_entries))
        writer->added_sum += bl_entry_checksum(writer->footer.meta.table, (uint8_t)bl_tag_kind(tag), key,
                                               value);
    /* a borrowed value is good only now */
    if (status == BOLE_OK && (value.size >= BL_BLOCK_BORROW_BYTES || writer->holds_values))
        status = end_block(writer, error);
    return status;
}

static bole_status count_pointer(bl_segment_writer *writer, bole_slice value, bole_error *error)
{
    bl_value_pointer pointer;
    if (writer->holds_values || !bl_value_pointer_decode(value, &pointer))
        return bl_corrupt(error, writer->path_temporary, BL_NO_OFFSET,
                          "entry %llu of the input is no pointer to a value",
                          (unsigned long long)writer->footer.meta.entries);
    if (!bl_value_tally_add(&writer->pointers, pointer.segment, 1, 0))
        return bl_fail(error, BOLE_NO_MEMORY, "list of value segments of %s", writer->path_temporary);
    return BOLE_OK;
}

bole_status bl_segment_writer_add(bl_segment_writer *writer, bole_slice key, uint64_t tag, bole_slice value,
                                  bole_error *error)
{
    if (bl_unlikely(writer->status != BOLE_OK))
        return bl_fail(error, writer->status, "%s: the writer failed before", writer->path_temporary);
    bl_segment_meta *meta = &writer->footer.meta;
    uint64_t stored_tag = tag & writer->tag_kept, hash = bl_hash(key.data, key.size);
    bl_block_added added = BL_BLOCK_FULL;
    if (bl_likely(bl_block_builder_count(&writer->builder) != 0 && key.size <= BOLE_KEY_BYTES_MAX &&
                  value.size < BL_BLOCK_BORROW_BYTES && bl_kind_is_stored((uint8_t)bl_tag_kind(tag))))
        added = bl_block_builder_add(&writer->builder, key, hash, stored_tag, value, writer->limit);
    if (bl_unlikely(added != BL_BLOCK_ADDED)) {
        writer->status = added == BL_BLOCK_FULL ? add_slow(writer, key, hash, stored_tag, value, error)
                                                : refused(writer, added, error);
        if (writer->status != BOLE_OK)
            return writer->status;
    } else if (bl_unlikely(writer->check_entries)) {
        writer->added_sum += bl_entry_checksum(meta->table, (uint8_t)bl_tag_kind(tag), key, value);
    }
    if (writer->has_filter && bl_unlikely(!bl_bloom_builder_add(&writer->filter, hash)))
        return writer->status = bl_fail(error, BOLE_NO_MEMORY, "filter of %s", writer->path_temporary);
    if (bl_unlikely(bl_tag_kind(tag) == BL_KIND_PUT_WITH_VALUE_POINTER)) {
        writer->status = count_pointer(writer, value, error);
        if (writer->status != BOLE_OK)
            return writer->status;
    }
    uint64_t sequence = bl_tag_sequence(tag);
    meta->entries++;
    meta->raw_bytes += key.size + value.size;
    meta->tombstones += bl_tag_kind(tag) == BL_KIND_DELETE;
    meta->sequence_min = sequence < meta->sequence_min ? sequence : meta->sequence_min;
    meta->sequence_max = sequence > meta->sequence_max ? sequence : meta->sequence_max;
    return BOLE_OK;
}

uint64_t bl_segment_writer_bytes(const bl_segment_writer *writer)
{
    return offset_of(writer) + writer->builder.staging_bytes;
}

uint64_t bl_segment_writer_entries(const bl_segment_writer *writer) { return writer->footer.meta.entries; }

void bl_segment_writer_point(const bl_segment_writer *writer, bl_value_pointer *out)
{
    bl_assert(writer->holds_values && writer->pending);
    out->segment = writer->footer.meta.number;
    out->block = writer->footer.meta.blocks - 1;
    out->offset = writer->pending_at;
}

/* ---- Finishing ---- */

static bole_status write_section(bl_segment_writer *writer, bl_section_kind kind, bole_slice bytes,
                                 bole_error *error)
{
    bl_segment_section *section = &writer->footer.sections[writer->footer.section_count++];
    bole_status status = append_padding(writer, SECTION_ALIGNMENT, error);
    *section = (bl_segment_section){
        .kind = (uint16_t)kind,
        .flags = kind == BL_SECTION_INDEX ? BL_SEGMENT_MUST_UNDERSTAND : 0,
        .offset = offset_of(writer),
        .length = bytes.size,
        .checksum = bl_checksum(writer->seed, offset_of(writer), bytes.data, bytes.size),
    };
    return status == BOLE_OK ? append(writer, bytes.data, bytes.size, error) : status;
}

/* The last block, both sections, the footer. The sections' bytes are left in `index` and *filter for the
 * handle. */
static bole_status write_rest(bl_segment_writer *writer, bole_buffer *index, uint8_t **filter,
                              size_t *filter_bytes, bole_error *error)
{
    bole_status status = BOLE_OK;
    if (bl_block_builder_count(&writer->builder) != 0)
        status = end_block(writer, error);
    if (status != BOLE_OK)
        return status;
    bole_slice last = bl_block_builder_last_key(&writer->builder);
    if (!bl_block_index_builder_add(&writer->index, last, last, true, writer->pending_at,
                                    writer->pending_stored, writer->pending_frame) ||
        !bl_block_index_builder_finish(&writer->index, index))
        return bl_fail(error, BOLE_NO_MEMORY, "block index of %s", writer->path_temporary);
    writer->footer.blocks_end = offset_of(writer);
    status = write_section(writer, BL_SECTION_INDEX, bl_slice(index->data, index->size), error);
    if (status == BOLE_OK && writer->has_filter) {
        *filter_bytes = bl_bloom_builder_section_bytes(&writer->filter);
        *filter = bl_alloc_aligned(BL_BLOOM_LINE_BYTES, *filter_bytes);
        if (*filter == NULL)
            return bl_fail(error, BOLE_NO_MEMORY, "filter of %s", writer->path_temporary);
        bl_bloom_builder_finish(&writer->filter, *filter);
        status = write_section(writer, BL_SECTION_FILTER, bl_slice(*filter, *filter_bytes), error);
    }
    if (status == BOLE_OK)
        status = append_padding(writer, SECTION_ALIGNMENT, error);
    if (status != BOLE_OK)
        return status;

    bole_vfs *vfs = writer->environment->vfs;
    bole_buffer footer = BOLE_BUFFER_INIT;
    writer->footer.meta.largest = last;
    size_t uses_bytes = 0;
    writer->value_uses = bl_value_tally_encode(&writer->pointers, &uses_bytes);
    if (writer->value_uses == NULL)
        return bl_fail(error, BOLE_NO_MEMORY, "list of value segments of %s", writer->path_temporary);
    writer->footer.meta.value_uses = bl_slice(writer->value_uses, uses_bytes);
    writer->footer.meta.created_us = vfs->realtime_us(vfs);
    if (!bl_segment_footer_encode(&writer->footer, offset_of(writer), &footer))
        status = bl_fail(error, BOLE_NO_MEMORY, "footer of %s", writer->path_temporary);
    else
        status = append(writer, footer.data, footer.size, error);
    bole_buffer_free(&footer);
    return status == BOLE_OK ? flush_buffer(writer, writer->buffer_bytes, error) : status;
}

/* Data, then the name: (WRITER-1). */
static bole_status sync_and_name(bl_segment_writer *writer, bole_error *error)
{
    bole_vfs *vfs = writer->environment->vfs;
    bole_status status = vfs->sync(writer->file, error);
    if (status != BOLE_OK)
        return status;
    bole_file *file = writer->file;
    status = vfs->close(file, error);
    writer->file = NULL;
    if (status == BOLE_OK)
        status = vfs->rename(vfs, writer->path_temporary, writer->path, error);
    if (status != BOLE_OK) {
        if (vfs->remove(vfs, writer->path_temporary, NULL) != BOLE_OK)
            BL_MARK("abandoned segment stays as rubbish");
        return status;
    }
    writer->named = true;
    return vfs->sync_directory(vfs, writer->environment->directory, error);
}

/* A handle with what the writer has in memory. */
static bole_status make_handle(bl_segment_writer *writer, const bl_segment_meta *meta, bole_slice index,
                               bole_slice filter, bl_segment **segment, bole_error *error)
{
    uint64_t cards = meta->blocks < writer->cards_capacity ? meta->blocks : writer->cards_capacity;
    bl_segment_built built = {
        .index_section = index,
        .filter_section = filter,
        .blocks_end = writer->footer.blocks_end,
        .compression = writer->footer.compression,
        .cards = writer->cards,
        .card_count = cards,
    };
    bole_status status = bl_segment_create_built(writer->environment, meta, writer->comparator, &built,
                                                 segment, error);
    if (cards != 0)
        memset(writer->cards, 0, cards * sizeof *writer->cards); /* they are the handle's, or gone */
    return status;
}

bole_status bl_segment_writer_finish(bl_segment_writer *writer, bl_segment_meta *meta, bl_segment **segment,
                                     bole_error *error)
{
    memset(meta, 0, sizeof *meta);
    if (segment != NULL)
        *segment = NULL;
    bole_buffer index = BOLE_BUFFER_INIT;
    uint8_t *filter = NULL;
    size_t filter_bytes = 0;
    bole_status status = writer->status;
    if (status != BOLE_OK)
        bl_fail(error, status, "%s: the writer failed before", writer->path_temporary);
    else if (writer->footer.meta.entries == 0)
        status = bl_fail(error, BOLE_INVALID, "a segment without entries");
    if (status == BOLE_OK)
        status = write_rest(writer, &index, &filter, &filter_bytes, error);
    if (status == BOLE_OK)
        status = bl_segment_meta_copy(meta, &writer->footer.meta, error);
    if (status == BOLE_OK)
        status = sync_and_name(writer, error);
    if (status == BOLE_OK && segment != NULL)
        status = make_handle(writer, meta, bl_slice(index.data, index.size), bl_slice(filter, filter_bytes),
                             segment, error);
    bole_buffer_free(&index);
    bl_free(filter);
    if (status == BOLE_OK) {
        free_writer(writer);
        return BOLE_OK;
    }
    bl_segment_meta_deinit(meta);
    bl_segment_writer_abandon(writer);
    return status;
}
