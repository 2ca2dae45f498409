/* SPDX-License-Identifier: MIT */
/* fuzz_segment.c -- a segment file: footer, index, filter, blocks; check, cursors, point reads, salvage.
 *
 * INPUT       u8 flags (segment_flag), 64 bytes of the header, then the file from the end of its header page on.
 * CHECKED     A segment that passes the whole check: a cursor shows as many entries as the footer says, in order, the
 *             same backward; each key is found, also when nothing is cached; salvage gives the same entries and loses
 *             nothing; a segment written of them passes the check. One that does not: whatever is asked answers with an
 *             error or with entries, and salvage shows keys in order of the file. Memory follows from the file. */
#include "fuzz.h"

#include "base/alloc.h"
#include "base/buffer.h"
#include "base/hash.h"
#include "platform/epoch.h"
#include "segment/block.h"
#include "segment/block_builder.h"
#include "segment/compression.h"
#include "segment/segment_salvage.h"
#include "segment/segment_writer.h"

#include <string.h>

enum segment_flag { NO_MEMORY = 2 };
enum { HEADER_INPUT_BYTES = 64, FILE_BYTES_MAX = 1 << 16, ENTRIES_MAX = 1 << 14 };

static const char *const path = FUZZ_DIRECTORY "/000012.seg";

typedef struct world {
    bole_vfs *vfs;
    bl_memory_budget budget;
    bl_scheduler *scheduler;
    bl_frame_cache *cache;
    bl_segment_environment environment;
} world;

static void begin(world *w, uint64_t memory_limit)
{
    bole_error error = BOLE_ERROR_INIT;
    w->vfs = fuzz_disk(1);
    bl_memory_budget_init(&w->budget, memory_limit, 0);
    fuzz_check_ok(bl_scheduler_simulation_create(1, w->vfs, &w->scheduler, &error), &error);
    fuzz_check_ok(bl_frame_cache_create(&w->budget, w->scheduler, &w->cache, &error), &error);
    w->environment = (bl_segment_environment){ .vfs = w->vfs,
                                               .directory = FUZZ_DIRECTORY,
                                               .scheduler = w->scheduler,
                                               .budget = &w->budget,
                                               .cache = w->cache,
                                               .open_files_max = 8 };
    fuzz_check_ok(bl_segment_environment_init(&w->environment, &error), &error);
}

static void end(world *w)
{
    bl_segment_environment_deinit(&w->environment);
    bl_frame_cache_destroy(w->cache);
    bl_scheduler_destroy(w->scheduler);
    bl_compression_release();
    for (int i = 0; i < BL_MEMORY_CLASSES; i++)
        fuzz_check(bl_memory_budget_used(&w->budget, (bl_memory_class)i) == 0);
    bole_vfs_destroy(w->vfs);
}

/* ---- The file ---- */

/* Blocks, as far as they follow each other. */
static void mend_blocks(uint8_t *file, size_t limit, uint64_t seed)
{
    for (size_t at = BL_SEGMENT_HEADER_BYTES; limit > at && limit - at > BL_BLOCK_HEADER_BYTES;) {
        uint32_t stored = bl_get_u32(file + at + 8);
        if (stored > limit - at - BL_BLOCK_HEADER_BYTES)
            return;
        bl_put_u64(file + at, bl_checksum(seed, at, file + at + 8, BL_BLOCK_HEADER_BYTES - 8 + stored));
        at += BL_BLOCK_HEADER_BYTES + stored;
    }
}

static void mend_sections(uint8_t *file, size_t size, size_t footer, size_t footer_bytes, uint64_t seed)
{
    uint32_t sections = footer_bytes < 8 ? 0 : bl_get_u32(file + footer);
    size_t first = footer;
    for (uint32_t i = 0; i < sections && 8 + 32 * ((size_t)i + 1) <= footer_bytes; i++) {
        uint8_t *entry = file + footer + 8 + 32 * (size_t)i;
        uint64_t offset = bl_get_u64(entry + 8), length = bl_get_u64(entry + 16);
        if (offset > size || length > size - offset)
            continue;
        bl_put_u64(entry + 24, bl_checksum(seed, offset, file + offset, (size_t)length));
        first = offset < first ? (size_t)offset : first;
    }
    mend_blocks(file, first, seed);
}

static void mend(uint8_t *file, size_t size)
{
    bl_id id;
    memcpy(id.bytes, file + 24, BL_ID_BYTES);
    uint64_t seed = bl_checksum_seed(id);
    bl_put_u64(file + BL_SEGMENT_HEADER_BYTES - 8, bl_checksum(seed, 0, file, BL_SEGMENT_HEADER_BYTES - 8));
    if (size < BL_SEGMENT_HEADER_BYTES + BL_SEGMENT_TAIL_BYTES)
        return;
    uint8_t *tail = file + size - BL_SEGMENT_TAIL_BYTES;
    uint64_t footer = bl_get_u64(tail), bytes = bl_get_u64(tail + 8), most = size - BL_SEGMENT_TAIL_BYTES;
    if (footer >= BL_SEGMENT_HEADER_BYTES && footer <= most) {
        bytes = most - footer; /* a piece put in or cut out of it moves its end */
        bl_put_u64(tail + 8, bytes);
        mend_sections(file, size, (size_t)footer, (size_t)bytes, seed);
        bl_put_u64(tail + 16, bl_checksum(seed, footer, file + footer, (size_t)bytes));
    }
    memcpy(tail + 24, id.bytes, BL_ID_BYTES);
    bl_put_u64(tail + 48, bl_checksum(seed, size - BL_SEGMENT_TAIL_BYTES, tail, 48));
}

/* ---- Entries, as one way of reading gave them ---- */

typedef struct entries {
    uint64_t count, checksum; /* of all, in any order */
    bool ordered;
    bole_buffer last_key;
    uint64_t last_tag;
} entries;

static void add_entry(entries *all, bole_slice key, uint64_t tag, bole_slice value, bool backward)
{
    bole_slice last = { all->last_key.data, all->last_key.size };
    int order = all->count == 0 ? -1 : bl_slice_compare(last, key);
    order = order == 0 ? (all->last_tag > tag ? -1 : 1) : order;
    all->ordered = all->ordered && (all->count == 0 || (backward ? order > 0 : order < 0));
    uint64_t one = bl_checksum(bl_checksum(tag, key.size, key.data, key.size), value.size, value.data,
                               value.size);
    all->checksum += one * (2 * one + 1);
    fuzz_check(bl_buffer_assign(&all->last_key, key.data, key.size));
    all->last_tag = tag;
    all->count++;
}

static bole_status read_all(bl_segment *segment, bool backward, entries *all)
{
    bole_error error = BOLE_ERROR_INIT;
    bl_cursor *cursor = NULL;
    bl_segment_cursor_options options = { .fill_cache = !backward, .read_ahead = !backward };
    *all = (entries){ .ordered = true };
    fuzz_check_ok(bl_segment_cursor(&segment, 1, &options, &cursor, &error), &error);
    if (backward)
        cursor->ops->seek_last(cursor);
    else
        cursor->ops->seek_first(cursor);
    while (cursor->valid && all->count < ENTRIES_MAX) {
        add_entry(all, cursor->key, cursor->tag, cursor->value, backward);
        if (backward)
            bl_cursor_prev(cursor);
        else
            bl_cursor_next(cursor);
    }
    bole_status status = cursor->valid ? BOLE_OK : cursor->status;
    fuzz_check(status == BOLE_OK || (cursor->error != NULL && cursor->error->message[0] != '\0'));
    bl_cursor_close(cursor);
    bole_buffer_free(&all->last_key);
    return status;
}

/* As the engine reads: look, load what is absent, look again. */
static bole_status get(bl_segment *segment, const bl_lookup *lookup, uint64_t *tag, bole_buffer *value)
{
    bole_error error = BOLE_ERROR_INIT;
    for (int loads = 0;; loads++) {
        bl_found found;
        bl_epoch_enter();
        bl_find find = bl_segment_find(segment, lookup, &found);
        if (find == BL_FIND_FOUND) {
            *tag = found.tag;
            bl_frame_pin(found.frame);
        }
        bl_epoch_leave();
        if (find == BL_FIND_ABSENT)
            return BOLE_NOT_FOUND;
        if (find == BL_FIND_FOUND) {
            fuzz_check(bl_buffer_assign(value, found.value.data, found.value.size));
            bl_frame_unpin(found.frame);
            return BOLE_OK;
        }
        bole_status status = bl_segment_load(segment, found.block, &error);
        if (status == BOLE_MEMORY_PINNED || loads > 20)
            return bl_segment_find_uncached(segment, lookup, tag, value, &error);
        if (status != BOLE_OK)
            return status;
    }
}

/* Salvaged entries into a new segment; reads of each in the old one. */
typedef struct salvaging {
    bl_segment *segment;
    bl_segment_writer *writer; /* NULL: a segment that did not pass */
    bool good;
    entries all;
} salvaging;

static void check_entry(salvaging *s, bole_slice key, uint64_t tag, bole_slice value)
{
    bole_error error = BOLE_ERROR_INIT;
    bole_buffer got = BOLE_BUFFER_INIT;
    uint64_t got_tag = 0;
    bl_lookup lookup = { .key = key,
                         .hash = bl_hash(key.data, key.size),
                         .sequence = bl_tag_sequence(tag) + 1,
                         .comparator = bl_segment_comparator(s->segment) };
    bole_status status = get(s->segment, &lookup, &got_tag, &got);
    bole_buffer apart = BOLE_BUFFER_INIT;
    uint64_t apart_tag = 0;
    bole_status uncached = bl_segment_find_uncached(s->segment, &lookup, &apart_tag, &apart, &error);
    if (s->good) {
        fuzz_check(status == BOLE_OK && uncached == BOLE_OK && got_tag == apart_tag);
        fuzz_check(bl_tag_sequence(got_tag) == bl_tag_sequence(tag) && got_tag >= tag);
        fuzz_check(got_tag != tag || bl_slice_equal((bole_slice){ got.data, got.size }, value));
        fuzz_check(
            bl_slice_equal((bole_slice){ got.data, got.size }, (bole_slice){ apart.data, apart.size }));
        fuzz_check_ok(bl_segment_writer_add(s->writer, key, tag, value, &error), &error);
    }
    bole_buffer_free(&got);
    bole_buffer_free(&apart);
}

static bole_status count_loss(void *context, const bl_segment_loss *loss, bole_error *error)
{
    (void)error;
    fuzz_check(loss->why != NULL);
    ++*(uint64_t *)context;
    return BOLE_OK;
}

static void check_salvage(world *w, const bl_segment_meta *meta, salvaging *s)
{
    bole_error error = BOLE_ERROR_INIT;
    bl_segment_salvage *salvage = NULL;
    bl_segment_salvaged said;
    bole_slice key, value;
    uint64_t tag, losses = 0;
    bole_status status = bl_segment_salvage_open(w->vfs, path, meta, count_loss, &losses, &salvage, &error);
    fuzz_check(status == BOLE_OK || status == BOLE_CORRUPT);
    if (status != BOLE_OK) {
        fuzz_check(!s->good);
        return;
    }
    bl_segment_salvage_describe(salvage, &said);
    fuzz_check(said.losses == losses && (!said.complete || losses == 0));
    s->all = (entries){ .ordered = true };
    while ((status = bl_segment_salvage_next(salvage, &key, &tag, &value, &error)) == BOLE_OK) {
        add_entry(&s->all, key, tag, value, false);
        if (s->segment != NULL)
            check_entry(s, key, tag, value);
        fuzz_check(s->all.count <= said.entries);
    }
    fuzz_check(status == BOLE_NOT_FOUND && s->all.count == said.entries);
    fuzz_check(!s->good || (said.complete && said.entries == meta->entries && s->all.ordered));
    bole_buffer_free(&s->all.last_key);
    bl_segment_salvage_close(salvage);
}

/* ---- One segment ---- */

static void check_written(world *w, bl_segment_writer *writer, uint64_t count, uint64_t checksum)
{
    bole_error error = BOLE_ERROR_INIT;
    bl_segment_meta meta;
    bl_segment *segment = NULL;
    entries all;
    fuzz_check_ok(bl_segment_writer_finish(writer, &meta, NULL, &error), &error);
    fuzz_check_ok(bl_segment_create_handle(&w->environment, &meta, NULL, &segment, &error), &error);
    fuzz_check_ok(bl_segment_check(segment, true, &error), &error);
    fuzz_check(read_all(segment, false, &all) == BOLE_OK);
    fuzz_check(all.count == count && all.checksum == checksum && meta.entries == count);
    bl_segment_unref(segment);
    bl_segment_meta_deinit(&meta);
}

static void check_segment(world *w, const bl_segment_footer *footer)
{
    bole_error error = BOLE_ERROR_INIT;
    bl_segment *segment = NULL;
    entries forward, back;
    bl_segment_shape shape;
    bl_segment_meta meta = footer->meta;
    meta.number = 12;
    fuzz_check_ok(bl_segment_create_handle(&w->environment, &meta, NULL, &segment, &error), &error);
    bole_status checked = bl_segment_check(segment, true, &error);
    fuzz_check(checked == BOLE_OK || error.message[0] != '\0');
    salvaging s = { .segment = segment, .good = checked == BOLE_OK };
    bole_status status = read_all(segment, false, &forward);
    bole_status backward = read_all(segment, true, &back);
    if (s.good) {
        fuzz_check(status == BOLE_OK && backward == BOLE_OK && forward.ordered && back.ordered);
        fuzz_check(forward.count == meta.entries && back.count == meta.entries);
        fuzz_check(forward.checksum == back.checksum);
        fuzz_check_ok(bl_segment_shape_read(segment, &shape, &error), &error);
        bl_segment_writer_parameters parameters = { .environment = &w->environment,
                                                    .number = 13,
                                                    .table_name = "default",
                                                    .block_bytes = 1024,
                                                    .filter_bits_per_key = 10,
                                                    .entries_estimate = meta.entries,
                                                    .compression = BL_COMPRESSED_LZ4 };
        fuzz_check_ok(bl_segment_writer_create(&parameters, &s.writer, &error), &error);
    }
    check_salvage(w, &meta, &s);
    if (s.good) {
        fuzz_check(s.all.count == forward.count && s.all.checksum == forward.checksum);
        check_written(w, s.writer, forward.count, forward.checksum);
    }
    bl_segment_unref(segment);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    fuzz_input input = { data, size };
    uint8_t flags = fuzz_u8(&input);
    bole_slice header = fuzz_bytes(&input, HEADER_INPUT_BYTES), rest = fuzz_bytes(&input, FILE_BYTES_MAX);
    if (header.size < HEADER_INPUT_BYTES)
        return 0;
    fuzz_memory_begin();
    world w = { .vfs = NULL };
    begin(&w, (flags & NO_MEMORY) != 0 ? 64 * 1024 : 64 << 20);
    size_t file_bytes = BL_SEGMENT_HEADER_BYTES + rest.size;
    uint8_t *file = bl_alloc(file_bytes);
    fuzz_check(file != NULL);
    memcpy(file, header.data, header.size);
    if (rest.size != 0)
        memcpy(file + BL_SEGMENT_HEADER_BYTES, rest.data, rest.size);
    if ((flags & FUZZ_MEND) != 0)
        mend(file, file_bytes);
    fuzz_file_write(w.vfs, path, file, file_bytes);
    bl_segment_footer footer;
    bole_error error = BOLE_ERROR_INIT;
    bole_status status = bl_segment_footer_read(w.vfs, path, &footer, &error);
    fuzz_check(status == BOLE_OK || status == BOLE_CORRUPT || status == BOLE_UNSUPPORTED);
    if (status == BOLE_OK && strcmp(footer.comparator_name, BL_COMPARATOR_BYTES_NAME) == 0) {
        check_segment(&w, &footer);
    } else {
        salvaging s = { .segment = NULL };
        check_salvage(&w, NULL, &s);
    }
    bl_segment_footer_deinit(&footer);
    bl_free(file);
    end(&w);
    bl_epoch_wait();
    /* A small block may ask for a frame of 1 MiB; a few are held at a time, and the writer has a buffer. */
    fuzz_memory_end(size, 512, 32 << 20);
    return 0;
}
