/* SPDX-License-Identifier: MIT */
/* test_segment_writer.c -- what is written is a segment that a reader who trusts nothing accepts, byte for
 * byte and call for call; damage is found; a writer that fails leaves nothing behind. */
#include "segment_fixture.h"

#include "segment/block_builder.h"
#include "segment/block_index.h"
#include "segment/bloom_filter.h"
#include "segment/segment_footer.h"

#include <errno.h>

/* ---- Reading a file whole, without handle or cache ---- */

typedef struct reading {
    bole_file *file;
    const char *path;
    bl_segment_footer footer;
    bl_block_index index;
    void *index_memory, *index_section, *filter_section;
    bl_bloom_filter filter;
    bool has_filter;
} reading;

static bole_status read_section(reading *from, bl_section_kind kind, void **out, bole_slice *bytes,
                                bole_error *error)
{
    const bl_segment_section *section = bl_segment_footer_section(&from->footer, kind);
    *bytes = bl_slice(NULL, 0);
    if (section == NULL)
        return BOLE_OK;
    *out = aligned_alloc(64, (section->length + 64) / 64 * 64);
    *bytes = bl_slice(*out, section->length);
    return bl_segment_section_read(from->file, from->path, from->footer.meta.id, section, *out, error);
}

static bole_status read_ends(reading *from, bole_error *error)
{
    bole_slice index, filter;
    size_t bytes;
    bole_status status = bl_segment_footer_read_file(from->file, from->path, &from->footer, error);
    if (status == BOLE_OK)
        status = read_section(from, BL_SECTION_INDEX, &from->index_section, &index, error);
    if (status == BOLE_OK && index.data == NULL)
        return BOLE_CORRUPT;
    if (status == BOLE_OK)
        status = read_section(from, BL_SECTION_FILTER, &from->filter_section, &filter, error);
    if (status == BOLE_OK)
        status = bl_block_index_measure(index, from->path, 0, &bytes, error);
    if (status != BOLE_OK)
        return status;
    from->index_memory = aligned_alloc(BL_INDEX_ALIGNMENT, (bytes + 127) / 128 * 128);
    status = bl_block_index_init(&from->index, from->index_memory, bytes, index, BL_SEGMENT_HEADER_BYTES,
                                 from->footer.blocks_end, from->path, 0, error);
    from->has_filter = filter.data != NULL;
    if (status == BOLE_OK && from->has_filter)
        status = bl_bloom_filter_init(&from->filter, filter, from->path, 0, error);
    return status;
}

/* Block `i`, loaded; its entries must be entries[*at ...]. */
static bole_status read_block(reading *from, uint64_t i, const test_entries *entries, size_t *at,
                              bole_error *error)
{
    bl_comparator *comparator = from->index.whole ? &test_backward : NULL;
    uint32_t stored_bytes = from->index.stored_bytes[i], frame_bytes = from->index.frame_bytes[i];
    uint8_t *stored = malloc(stored_bytes), *frame = malloc(frame_bytes);
    size_t got = 0;
    bole_status status = from->file->vfs->read(from->file, from->index.offsets[i], stored, stored_bytes, &got,
                                               error);
    if (status == BOLE_OK && got != stored_bytes)
        status = BOLE_CORRUPT;
    if (status == BOLE_OK)
        status = bl_block_load(stored, stored_bytes, frame, frame_bytes,
                               bl_checksum_seed(from->footer.meta.id), from->path, from->index.offsets[i],
                               error);
    if (status == BOLE_OK) {
        assert_ok(bl_block_validate(frame, frame_bytes, true, comparator, from->path, 0, error), error);
        bl_block_view view;
        bl_block_view_init(&view, frame);
        uint8_t *key = malloc(view.longest_key + 8);
        for (uint32_t j = 0; j < view.count; j++, (*at)++) {
            assert_true(*at < entries->count);
            const test_entry *entry = &entries->list[*at];
            uint64_t tag = from->footer.meta.sequences_zeroed ? BL_TAG(0, bl_tag_kind(entry->tag))
                                                              : entry->tag;
            assert_true(bl_slice_equal(bl_block_key(&view, j, key), test_key(entry)));
            assert_true(bl_slice_equal(bl_block_value(&view, j), test_value(entry)));
            assert_true(bl_block_tag(&view, j) == tag);
            if (from->has_filter)
                assert_true(
                    bl_bloom_filter_may_contain(&from->filter, bl_hash(entry->key, entry->key_bytes)));
        }
        free(key);
    }
    free(stored);
    free(frame);
    return status;
}

/* OK: the file holds exactly the entries. */
static bole_status read_all(bole_vfs *vfs, const char *path, const test_entries *entries,
                            bl_segment_footer *footer, bole_error *error)
{
    reading from;
    memset(&from, 0, sizeof from);
    from.path = path;
    size_t at = 0;
    bole_status status = vfs->open(vfs, path, BOLE_VFS_READ, &from.file, error);
    if (status != BOLE_OK)
        return status;
    status = read_ends(&from, error);
    for (uint64_t i = 0; status == BOLE_OK && i < from.index.count; i++)
        status = read_block(&from, i, entries, &at, error);
    if (status == BOLE_OK) {
        assert_int_equal(at, entries->count);
        assert_int_equal(from.footer.meta.blocks, from.index.count);
    }
    if (footer != NULL && status == BOLE_OK)
        *footer = from.footer;
    else
        bl_segment_footer_deinit(&from.footer);
    free(from.index_memory);
    free(from.index_section);
    free(from.filter_section);
    assert_ok(vfs->close(from.file, NULL), NULL);
    return status;
}

/* ---- Writing ---- */

static bl_segment_writer_parameters plain_parameters(test_store *store, uint64_t number)
{
    return (bl_segment_writer_parameters){ .environment = &store->environment,
                                           .number = number,
                                           .table = 3,
                                           .table_name = "trees",
                                           .level = 1,
                                           .run = 5,
                                           .filter_bits_per_key = 10 };
}

static bole_status write_entries(const bl_segment_writer_parameters *parameters, const test_entries *entries,
                                 bl_segment_meta *meta, bl_segment **segment, bole_error *error)
{
    bl_segment_writer *writer;
    memset(meta, 0, sizeof *meta);
    bole_status status = bl_segment_writer_create(parameters, &writer, error);
    for (size_t i = 0; status == BOLE_OK && i < entries->count; i++) {
        const test_entry *entry = &entries->list[i];
        status = bl_segment_writer_add(writer, test_key(entry), entry->tag, test_value(entry), error);
    }
    if (status == BOLE_OK)
        return bl_segment_writer_finish(writer, meta, segment, error);
    bl_segment_writer_abandon(writer);
    return status;
}

static bool count_name(void *context, const char *name)
{
    (void)name;
    ++*(unsigned *)context;
    return true;
}

static unsigned files_in(const test_store *store)
{
    unsigned count = 0;
    assert_ok(store->disk->list(store->disk, store->directory.path, count_name, &count, NULL), NULL);
    return count;
}

static void small_entries(test_entries *out)
{
    *out = (test_entries){ NULL, 0, 0 };
    test_entries_add(out, BOLE_STR("tree/ash"), BL_TAG(300, BL_KIND_PUT), BOLE_STR("Fraxinus"));
    test_entries_add(out, BOLE_STR("tree/ash"), BL_TAG(200, BL_KIND_DELETE), BOLE_STR(""));
    test_entries_add(out, BOLE_STR("tree/beech"), BL_TAG(201, BL_KIND_PUT), BOLE_STR("Fagus"));
    test_entries_add(out, BOLE_STR("tree/lime"), BL_TAG(202, BL_KIND_PUT), BOLE_STR("Tilia"));
}

static void check_meta(const bl_segment_meta *meta, const bl_segment_writer_parameters *parameters,
                       const test_entries *entries)
{
    uint64_t tombstones = 0, raw = 0, low = UINT64_MAX, high = 0;
    for (size_t i = 0; i < entries->count; i++) {
        const test_entry *entry = &entries->list[i];
        uint64_t sequence = bl_tag_sequence(entry->tag);
        tombstones += bl_tag_kind(entry->tag) == BL_KIND_DELETE;
        raw += entry->key_bytes + entry->value_bytes;
        low = sequence < low ? sequence : low;
        high = sequence > high ? sequence : high;
    }
    assert_int_equal(meta->number, parameters->number);
    assert_int_equal(meta->table, parameters->table);
    assert_int_equal(meta->level, parameters->level);
    assert_int_equal(meta->run, parameters->run);
    assert_int_equal(meta->entries, entries->count);
    assert_int_equal(meta->tombstones, tombstones);
    assert_int_equal(meta->raw_bytes, raw);
    assert_int_equal(meta->sequence_min, low);
    assert_int_equal(meta->sequence_max, high);
    assert_int_equal(meta->sequences_zeroed, parameters->zero_sequences);
    assert_true(bl_slice_equal(meta->smallest, test_key(&entries->list[0])));
    assert_true(bl_slice_equal(meta->largest, test_key(&entries->list[entries->count - 1])));
    assert_false(bl_id_is_zero(meta->id));
}

/* Goal: what is written is read back by a reader who trusts nothing, and the meta tells the truth. Method:
 * random entries of all key families, block sizes, compressions, filters, both orders. */
static void what_is_written_is_read_back(void **state)
{
    (void)state;
    bl_prng prng;
    bl_prng_init(&prng, test_seed(1));
    for (unsigned round = 0; round < 60; round++) {
        test_store store;
        test_store_begin(&store, TEST_MEMORY_AMPLE);
        bl_comparator *comparator = round % 7 == 6 ? &test_backward : NULL;
        test_entries_shape shape = { .family = round % TEST_FAMILIES,
                                     .keys = 1 + bl_prng_below(&prng, 600),
                                     .spread = 1 + bl_prng_below(&prng, 100000),
                                     .versions_max = round % 3 == 0 ? 30 : 1,
                                     .value_bytes_max = round % 6 == 5 ? 2000 : 120,
                                     .same_values = round % 2 == 0,
                                     .zero_sequences = round % 4 == 1 };
        test_entries entries = { NULL, 0, 0 };
        test_entries_fill(&prng, &shape, comparator, &entries);
        bl_id inputs[2] = { { { 1 } }, { { 2 } } };
        bl_segment_writer_parameters parameters = plain_parameters(&store, 12);
        parameters.comparator = comparator;
        parameters.block_bytes = round % 3 == 0 ? 0 : 200 + (uint32_t)bl_prng_below(&prng, 9000);
        parameters.filter_bits_per_key = (uint32_t)bl_prng_below(&prng, 20);
        parameters.compression = (bl_compression_kind)(round % 3);
        parameters.zero_sequences = round % 4 == 1;
        parameters.install_frames = round % 2 == 0;
        parameters.inputs = inputs;
        parameters.input_count = round % 3;
        bl_segment_meta meta;
        bl_segment_footer footer;
        bl_segment *segment = NULL;
        bole_error error;
        assert_ok(write_entries(&parameters, &entries, &meta, round % 3 == 1 ? NULL : &segment, &error),
                  &error);
        check_meta(&meta, &parameters, &entries);
        assert_ok(read_all(store.disk, "store/000012.seg", &entries, &footer, &error), &error);
        check_meta(&footer.meta, &parameters, &entries);
        assert_ok(bl_segment_footer_check_meta(&footer, &meta, "store/000012.seg", &error), &error);
        assert_string_equal(footer.table_name, "trees");
        assert_string_equal(footer.comparator_name, bl_comparator_name(comparator));
        assert_int_equal(footer.input_count, parameters.input_count);
        assert_memory_equal(footer.inputs, inputs, footer.input_count * sizeof *inputs);
        assert_int_equal(footer.filter_bits_per_key_tenths, parameters.filter_bits_per_key * 10);
        assert_int_equal(files_in(&store), 1);
        meta.entries++;
        assert_status(BOLE_CORRUPT, bl_segment_footer_check_meta(&footer, &meta, "store/000012.seg", &error),
                      &error);
        bl_segment_footer_deinit(&footer);
        bl_segment_meta_deinit(&meta);
        bl_segment_unref(segment);
        test_entries_free(&entries);
        test_store_end(&store);
    }
}

/* Goal: a versions' run over several blocks keeps the promise of separators: the first block with separator
 * >= key has the newest version, and older ones follow. */
static void versions_span_blocks(void **state)
{
    (void)state;
    test_store store;
    test_store_begin(&store, TEST_MEMORY_AMPLE);
    test_entries entries = { NULL, 0, 0 };
    test_entries_add(&entries, BOLE_STR("g"), BL_TAG(5, BL_KIND_PUT), BOLE_STR("before"));
    for (uint64_t i = 3000; i > 0; i--)
        test_entries_add(&entries, BOLE_STR("hot"), BL_TAG(i * 2, BL_KIND_PUT), BOLE_STR("0123456789"));
    test_entries_add(&entries, BOLE_STR("i"), BL_TAG(5, BL_KIND_PUT), BOLE_STR("behind"));
    test_segment_options options = { .warm = true };
    bl_segment *segment = test_segment_build(&store, 4, &entries, 0, entries.count, &options);
    assert_true(bl_segment_meta_of(segment)->blocks > 5);
    bole_buffer value = BOLE_BUFFER_INIT;
    for (uint64_t sequence = 1; sequence < 6010; sequence += 13) {
        bl_lookup lookup = test_lookup(segment, BOLE_STR("hot"), sequence);
        uint64_t tag = 0;
        bole_status status = test_get(segment, &lookup, sequence % 2 == 0, &tag, &value, NULL);
        assert_status(sequence > 2 ? BOLE_OK : BOLE_NOT_FOUND, status, NULL);
        if (sequence > 2)
            assert_int_equal(bl_tag_sequence(tag), sequence > 6000 ? 6000 : (sequence - 1) / 2 * 2);
    }
    bole_buffer_free(&value);
    bl_segment_unref(segment);
    test_entries_free(&entries);
    test_store_end(&store);
}

/* Goal: dense decimal 16/100 entries of the last level take at most 108 bytes in the block area, each block
 * is a page of the file, and the whole file, index and filter included, stays below 111. */
static void the_file_is_dense(void **state)
{
    (void)state;
    test_store store;
    test_store_begin(&store, TEST_MEMORY_AMPLE);
    bl_segment_writer_parameters parameters = plain_parameters(&store, 1);
    parameters.zero_sequences = true;
    parameters.entries_estimate = 100000;
    bl_segment_writer *writer;
    bl_segment_meta meta;
    bl_segment_footer footer;
    bole_error error;
    assert_ok(bl_segment_writer_create(&parameters, &writer, &error), &error);
    for (uint64_t i = 0; i < 100000; i++) {
        char key[20];
        uint8_t value[100] = { (uint8_t)i, (uint8_t)(i >> 8) };
        snprintf(key, sizeof key, "%016" PRIu64, i + 7000000);
        assert_ok(bl_segment_writer_add(writer, bl_slice(key, 16), BL_TAG(i, BL_KIND_PUT),
                                        bl_slice(value, 100), &error),
                  &error);
    }
    assert_int_equal(bl_segment_writer_entries(writer), 100000);
    uint64_t written = bl_segment_writer_bytes(writer);
    assert_ok(bl_segment_writer_finish(writer, &meta, NULL, &error), &error);
    assert_true(written > 100000 * 106 && written < meta.file_bytes + 4096);
    assert_ok(bl_segment_footer_read(store.disk, "store/000001.seg", &footer, &error), &error);
    print_message("%.2f bytes an entry in blocks, %.2f in all\n",
                  (double)(footer.blocks_end - BL_SEGMENT_HEADER_BYTES) / 100000,
                  (double)meta.file_bytes / 100000);
    assert_true(footer.blocks_end - BL_SEGMENT_HEADER_BYTES <= 108 * 100000);
    assert_true(meta.file_bytes < 111 * 100000);
    assert_int_equal(meta.blocks, (100000 + 37) / 38);
    bl_segment_footer_deinit(&footer);
    bl_segment_meta_deinit(&meta);
    test_store_end(&store);
}

/* Goal: the size of blocks follows the entries: 4 KiB pages for small ones, 16 KiB for those above 256
 * bytes, frames that are filled to 97 %, a block of its own for a large value; padding stays below 3 %. */
static void blocks_suit_their_entries(void **state)
{
    (void)state;
    static const struct {
        size_t value_bytes;
        uint32_t frame_min, frame_max; /* of most blocks */
    } cases[] = { { 20, 3900, 4096 },      { 150, 3900, 16384 },   { 200, 3900, 16384 },
                  { 300, 15000, 16384 },   { 3000, 12000, 16384 }, { 9000, 9000, 16384 },
                  { 20000, 20000, 20200 }, { 70000, 70000, 70200 } };
    static uint8_t value[70000];
    for (unsigned c = 0; c < sizeof cases / sizeof *cases; c++) {
        test_store store;
        test_store_begin(&store, TEST_MEMORY_AMPLE);
        bl_prng prng;
        bl_prng_init(&prng, c);
        test_entries entries = { NULL, 0, 0 };
        for (uint64_t i = 0; i < (cases[c].value_bytes > 2000 ? 60 : 2000); i++) {
            char key[20];
            snprintf(key, sizeof key, "%012" PRIu64, i * 77);
            size_t bytes = cases[c].value_bytes + (c % 2 == 0 ? bl_prng_below(&prng, 20) : 0);
            test_entries_add(&entries, bl_slice(key, 12), BL_TAG(i, BL_KIND_PUT),
                             bl_slice(value, bytes < sizeof value ? bytes : sizeof value));
        }
        bl_segment_writer_parameters parameters = plain_parameters(&store, 1);
        bl_segment_meta meta;
        bole_error error;
        assert_ok(write_entries(&parameters, &entries, &meta, NULL, &error), &error);
        reading from = { .path = "store/000001.seg" };
        assert_ok(store.disk->open(store.disk, from.path, BOLE_VFS_READ, &from.file, &error), &error);
        assert_ok(read_ends(&from, &error), &error);
        uint64_t stored = 0, good = 0;
        for (uint64_t i = 0; i < from.index.count; i++) {
            stored += from.index.stored_bytes[i];
            good += from.index.frame_bytes[i] >= cases[c].frame_min &&
                    from.index.frame_bytes[i] <= cases[c].frame_max;
        }
        assert_true(good * 10 >= from.index.count * 8 - 10);
        assert_true((from.footer.blocks_end - BL_SEGMENT_HEADER_BYTES - stored) * 33 <=
                    from.footer.blocks_end);
        assert_ok(read_all(store.disk, from.path, &entries, NULL, &error), &error);
        assert_ok(store.disk->close(from.file, NULL), NULL);
        bl_segment_footer_deinit(&from.footer);
        free(from.index_memory);
        free(from.index_section);
        free(from.filter_section);
        bl_segment_meta_deinit(&meta);
        test_entries_free(&entries);
        test_store_end(&store);
    }
}

/* ---- Damage ---- */

static void change_byte(bole_vfs *vfs, const char *path, uint64_t at, uint8_t flip)
{
    bole_file *file;
    uint8_t byte;
    size_t got;
    assert_ok(vfs->open(vfs, path, BOLE_VFS_WRITE, &file, NULL), NULL);
    assert_ok(vfs->read(file, at, &byte, 1, &got, NULL), NULL);
    byte ^= flip;
    assert_ok(vfs->write(file, at, &byte, 1, NULL), NULL);
    assert_ok(vfs->close(file, NULL), NULL);
}

/* Goal: each flipped bit of a segment is found, or changes nothing that is read. Method: every bit of a
 * small segment with two compressed and raw blocks; of the header page's zeroes one bit in each 8 bytes. */
static void every_flipped_bit_is_found_or_harmless(void **state)
{
    (void)state;
    for (unsigned form = 0; form < 2; form++) {
        test_store store;
        test_store_begin(&store, TEST_MEMORY_AMPLE);
        test_entries entries;
        small_entries(&entries);
        uint8_t text[300] = "a value that shrinks";
        test_entries_add(&entries, BOLE_STR("tree/oak"), BL_TAG(203, BL_KIND_PUT),
                         bl_slice(text, sizeof text));
        test_entries_add(&entries, BOLE_STR("tree/pine"), BL_TAG(204, BL_KIND_PUT), BOLE_STR("Pinus"));
        bl_segment_writer_parameters parameters = plain_parameters(&store, 1);
        parameters.block_bytes = 200;
        parameters.compression = form == 0 ? BL_COMPRESSED_NONE : BL_COMPRESSED_LZ4;
        bl_segment_meta meta;
        bole_error error;
        const char *path = "store/000001.seg";
        assert_ok(write_entries(&parameters, &entries, &meta, NULL, &error), &error);
        assert_true(meta.blocks >= 3);
        uint64_t harmless = 0, found = 0;
        for (uint64_t at = 0; at < meta.file_bytes; at++) {
            bool zeroes = at > 64 && at < BL_SEGMENT_HEADER_BYTES - 8;
            for (unsigned bit = 0; bit < 8; bit++) {
                if (zeroes && at % 8 != bit)
                    continue;
                change_byte(store.disk, path, at, (uint8_t)(1u << bit));
                bole_status status = read_all(store.disk, path, &entries, NULL, &error);
                if (status != BOLE_OK)
                    assert_status(BOLE_CORRUPT, status, &error);
                if (status == BOLE_OK)
                    harmless++;
                else
                    found++;
                if (status == BOLE_OK) /* only padding between blocks or sections is not covered */
                    assert_true(at >= BL_SEGMENT_HEADER_BYTES &&
                                at < meta.file_bytes - BL_SEGMENT_TAIL_BYTES);
                change_byte(store.disk, path, at, (uint8_t)(1u << bit));
            }
        }
        print_message("%" PRIu64 " flips found, %" PRIu64 " harmless\n", found, harmless);
        assert_true(harmless * 10 < found);
        assert_ok(read_all(store.disk, path, &entries, NULL, &error), &error);
        bl_segment_meta_deinit(&meta);
        test_entries_free(&entries);
        test_store_end(&store);
    }
}

/* Goal: a file that was cut, at any length, or that goes on, is corrupt. */
static void a_cut_file_is_corrupt(void **state)
{
    (void)state;
    test_store store;
    test_store_begin(&store, TEST_MEMORY_AMPLE);
    test_entries entries;
    small_entries(&entries);
    bl_segment_writer_parameters parameters = plain_parameters(&store, 1);
    bl_segment_meta meta;
    bole_error error;
    const char *path = "store/000001.seg";
    assert_ok(write_entries(&parameters, &entries, &meta, NULL, &error), &error);
    bole_file *file;
    assert_ok(store.disk->open(store.disk, path, BOLE_VFS_WRITE, &file, NULL), NULL);
    assert_ok(store.disk->write(file, meta.file_bytes, "x", 1, NULL), NULL);
    assert_status(BOLE_CORRUPT, read_all(store.disk, path, &entries, NULL, &error), &error);
    for (uint64_t length = meta.file_bytes; length-- > 0;) {
        assert_ok(store.disk->truncate(file, length, NULL), NULL);
        if (length % 16 == 0 || length > 4000)
            assert_status(BOLE_CORRUPT, read_all(store.disk, path, &entries, NULL, &error), &error);
    }
    assert_ok(store.disk->close(file, NULL), NULL);
    bl_segment_meta_deinit(&meta);
    test_entries_free(&entries);
    test_store_end(&store);
}

/* A segment's bytes in memory, to be forged: checksums of what was changed are made right again. */
typedef struct forgery {
    uint8_t *data;
    size_t size;
    uint64_t footer_at, footer_bytes, seed;
} forgery;

static void forge_begin(test_store *store, const char *path, const bl_segment_meta *meta, forgery *out)
{
    bole_file *file;
    size_t got;
    out->size = meta->file_bytes;
    out->data = malloc(out->size);
    assert_ok(store->disk->open(store->disk, path, BOLE_VFS_READ, &file, NULL), NULL);
    assert_ok(store->disk->read(file, 0, out->data, out->size, &got, NULL), NULL);
    assert_int_equal(got, out->size);
    assert_ok(store->disk->close(file, NULL), NULL);
    out->footer_at = bl_get_u64(out->data + out->size - 64);
    out->footer_bytes = bl_get_u64(out->data + out->size - 56);
    out->seed = bl_checksum_seed(meta->id);
}

static void forge_end(test_store *store, const char *path, const forgery *forged)
{
    uint8_t *tail = forged->data + forged->size - 64;
    uint64_t at = bl_get_u64(tail), bytes = bl_get_u64(tail + 8);
    if (at <= forged->size && bytes <= forged->size - at)
        bl_put_u64(tail + 16, bl_checksum(forged->seed, at, forged->data + at, bytes));
    bl_put_u64(tail + 48, bl_checksum(forged->seed, forged->size - 64, tail, 48));
    bl_put_u64(forged->data + 4088, bl_checksum(forged->seed, 0, forged->data, 4088));
    bole_file *file;
    assert_ok(store->disk->open(store->disk, path, BOLE_VFS_WRITE, &file, NULL), NULL);
    assert_ok(store->disk->write(file, 0, forged->data, forged->size, NULL), NULL);
    assert_ok(store->disk->close(file, NULL), NULL);
}

/* Goal: no footer leads its reader out of bounds, with checksums that are right. Method: bytes of header,
 * footer and tail changed at random, checksums made right, the whole file read under a cap of what may be
 * allocated. */
static void a_forged_footer_is_refused_or_read(void **state)
{
    (void)state;
    bl_prng prng;
    bl_prng_init(&prng, test_seed(2));
    test_store store;
    test_store_begin(&store, TEST_MEMORY_AMPLE);
    test_entries entries;
    small_entries(&entries);
    bl_segment_writer_parameters parameters = plain_parameters(&store, 1);
    bl_segment_meta meta;
    bole_error error;
    const char *path = "store/000001.seg";
    assert_ok(write_entries(&parameters, &entries, &meta, NULL, &error), &error);
    forgery whole;
    forge_begin(&store, path, &meta, &whole);
    unsigned counts[32] = { 0 };
    for (unsigned round = 0; round < 3000; round++) {
        forgery forged = whole;
        forged.data = test_copy(whole.data, whole.size);
        for (uint64_t n = 1 + bl_prng_below(&prng, 2); n > 0; n--) {
            uint64_t at = round % 8 == 0   ? bl_prng_below(&prng, 64)
                          : round % 8 == 1 ? whole.size - 1 - bl_prng_below(&prng, 64)
                                           : whole.footer_at + bl_prng_below(&prng, whole.footer_bytes);
            forged.data[at] = bl_prng_chance(&prng, 2)
                                  ? (uint8_t)bl_prng_next(&prng)
                                  : (uint8_t)(forged.data[at] ^ 1u << bl_prng_below(&prng, 8));
        }
        forge_end(&store, path, &forged);
        bl_segment_footer footer;
        bole_status status = bl_segment_footer_read(store.disk, path, &footer, &error);
        assert_true(status == BOLE_OK || status == BOLE_CORRUPT || status == BOLE_UNSUPPORTED);
        counts[status]++;
        for (uint32_t i = 0; status == BOLE_OK && i < footer.section_count; i++)
            assert_true(footer.sections[i].offset + footer.sections[i].length <= whole.footer_at);
        if (status == BOLE_OK)
            assert_true(footer.meta.smallest.size + footer.meta.largest.size +
                            strlen(footer.comparator_name) <
                        whole.size);
        bl_segment_footer_deinit(&footer);
        free(forged.data);
    }
    assert_true(counts[BOLE_OK] > 100 && counts[BOLE_CORRUPT] > 100 && counts[BOLE_UNSUPPORTED] > 100);
    free(whole.data);
    bl_segment_meta_deinit(&meta);
    test_entries_free(&entries);
    test_store_end(&store);
}

/* Goal: formats of the future are told from damage. Method: version, features, section and field with the
 * must-understand flag, and without it. */
static void what_is_not_understood_is_unsupported(void **state)
{
    (void)state;
    test_store store;
    test_store_begin(&store, TEST_MEMORY_AMPLE);
    test_entries entries;
    small_entries(&entries);
    bl_segment_writer_parameters parameters = plain_parameters(&store, 1);
    bl_segment_meta meta;
    bole_error error;
    const char *path = "store/000001.seg";
    assert_ok(write_entries(&parameters, &entries, &meta, NULL, &error), &error);
    forgery whole;
    forge_begin(&store, path, &meta, &whole);
    const struct {
        uint64_t at;
        uint8_t value;
        bole_status wanted;
    } changes[] = {
        { 8, 2, BOLE_UNSUPPORTED },                            /* version */
        { 23, 1, BOLE_UNSUPPORTED },                           /* a feature */
        { whole.size - 24, 2, BOLE_UNSUPPORTED },              /* version in the tail */
        { whole.footer_at + 8, 99, BOLE_UNSUPPORTED },         /* index section: must be understood */
        { whole.footer_at + 8 + 32, 99, BOLE_OK },             /* filter section: reads go on without it */
        { whole.footer_at + 8 + 64 + 2, 3, BOLE_UNSUPPORTED }, /* unknown flag of the first field */
        { whole.footer_at + 8 + 64 + 1, 7, BOLE_UNSUPPORTED }, /* unknown field that must be understood */
        { whole.footer_at, 1, BOLE_CORRUPT },
        { 60, 1, BOLE_OK }, /* another number at birth: renumbered files are fine */
    };
    for (unsigned i = 0; i < sizeof changes / sizeof *changes; i++) {
        forgery forged = whole;
        forged.data = test_copy(whole.data, whole.size);
        forged.data[changes[i].at] = changes[i].value;
        forge_end(&store, path, &forged);
        assert_status(changes[i].wanted, read_all(store.disk, path, &entries, NULL, &error), &error);
        free(forged.data);
    }
    free(whole.data);
    bl_segment_meta_deinit(&meta);
    test_entries_free(&entries);
    test_store_end(&store);
}

/* ---- Failures ---- */

/* Goal: input out of order, of a kind that is not built, too long, or none at all, is refused, and no file
 * stays. */
static void bad_input_is_refused(void **state)
{
    (void)state;
    test_store store;
    test_store_begin(&store, TEST_MEMORY_AMPLE);
    static uint8_t long_key[BOLE_KEY_BYTES_MAX + 1];
    const struct {
        bole_slice key;
        uint64_t tag;
        bole_status wanted;
    } cases[] = {
        { BOLE_STR("k"), BL_TAG(9, BL_KIND_PUT), BOLE_CORRUPT },
        { BOLE_STR("a"), BL_TAG(1, BL_KIND_PUT), BOLE_CORRUPT },
        { BOLE_STR("l"), BL_TAG(1, BL_KIND_MERGE), BOLE_UNSUPPORTED },
        { BOLE_STR("l"), 0, BOLE_UNSUPPORTED },
        { { long_key, sizeof long_key }, BL_TAG(1, BL_KIND_PUT), BOLE_TOO_LARGE },
    };
    memset(long_key, 'z', sizeof long_key);
    bole_error error;
    for (unsigned i = 0; i < sizeof cases / sizeof *cases; i++) {
        for (unsigned blocks = 0; blocks < 2; blocks++) { /* in a block, and as the first after one */
            bl_segment_writer_parameters parameters = plain_parameters(&store, 1);
            parameters.block_bytes = blocks ? 64 : 4096;
            bl_segment_writer *writer;
            bl_segment_meta meta;
            assert_ok(bl_segment_writer_create(&parameters, &writer, &error), &error);
            for (char k = 'f'; k <= 'k'; k++)
                assert_ok(bl_segment_writer_add(writer, bl_slice(&k, 1), BL_TAG(9, BL_KIND_PUT),
                                                BOLE_STR("value"), &error),
                          &error);
            assert_status(cases[i].wanted,
                          bl_segment_writer_add(writer, cases[i].key, cases[i].tag, BOLE_STR("v"), &error),
                          &error);
            assert_status(cases[i].wanted,
                          bl_segment_writer_add(writer, BOLE_STR("z"), cases[i].tag, BOLE_STR("v"), &error),
                          &error);
            assert_status(cases[i].wanted, bl_segment_writer_finish(writer, &meta, NULL, &error), &error);
            assert_int_equal(files_in(&store), 0);
        }
    }
    bl_segment_writer_parameters parameters = plain_parameters(&store, 1);
    bl_segment_writer *writer;
    bl_segment_meta meta;
    assert_ok(bl_segment_writer_create(&parameters, &writer, &error), &error);
    assert_status(BOLE_INVALID, bl_segment_writer_finish(writer, &meta, NULL, &error), &error);
    parameters.zero_sequences = true; /* two versions would become one */
    assert_ok(bl_segment_writer_create(&parameters, &writer, &error), &error);
    assert_ok(bl_segment_writer_add(writer, BOLE_STR("k"), BL_TAG(9, BL_KIND_PUT), BOLE_STR("v"), &error),
              &error);
    assert_status(BOLE_CORRUPT,
                  bl_segment_writer_add(writer, BOLE_STR("k"), BL_TAG(8, BL_KIND_PUT), BOLE_STR("v"), &error),
                  &error);
    bl_segment_writer_abandon(writer);
    bl_segment_writer_abandon(NULL);
    parameters.block_bytes = BL_BLOCK_LIMIT_MAX + 1;
    assert_status(BOLE_INVALID, bl_segment_writer_create(&parameters, &writer, &error), &error);
    assert_int_equal(files_in(&store), 0);
    test_store_end(&store);
}

/* Goal: behind an entry that ended its block at once the order is looked at, too; a pointer is one. */
static void entries_behind_a_large_one_come_in_order(void **state)
{
    (void)state;
    static uint8_t large[70000];
    test_store store;
    test_store_begin(&store, TEST_MEMORY_AMPLE);
    for (unsigned round = 0; round < 2; round++) {
        bl_segment_writer_parameters parameters = plain_parameters(&store, 1);
        parameters.comparator = round == 0 ? NULL : &test_backward;
        bl_segment_writer *writer;
        bl_segment_meta meta;
        bole_error error;
        assert_ok(bl_segment_writer_create(&parameters, &writer, &error), &error);
        assert_ok(bl_segment_writer_add(writer, BOLE_STR("k"), BL_TAG(9, BL_KIND_PUT),
                                        bl_slice(large, sizeof large), &error),
                  &error);
        assert_status(BOLE_CORRUPT,
                      bl_segment_writer_add(writer, BOLE_STR("a"), BL_TAG(9, BL_KIND_PUT), BOLE_STR("v"),
                                            &error),
                      &error);
        assert_non_null(strstr(error.message, "out of order"));
        assert_status(BOLE_CORRUPT, bl_segment_writer_finish(writer, &meta, NULL, &error), &error);
        assert_ok(bl_segment_writer_create(&parameters, &writer, &error), &error);
        assert_status(BOLE_CORRUPT,
                      bl_segment_writer_add(writer, BOLE_STR("k"), BL_TAG(9, BL_KIND_PUT_WITH_VALUE_POINTER),
                                            BOLE_STR(""), &error),
                      &error);
        assert_non_null(strstr(error.message, "no pointer"));
        bl_segment_writer_abandon(writer);
        assert_int_equal(files_in(&store), 0);
    }
    test_store_end(&store);
}

/* An order that changes a bit of what it compares at the third comparison: as memory may. */
static unsigned comparisons;
static int compare_and_change(void *context, bole_slice a, bole_slice b)
{
    int order = test_backward_compare(context, a, b);
    if (++comparisons == 3)
        *(uint8_t *)(uintptr_t)a.data ^= 0x40;
    return order;
}

/* Goal: a key that changed in the writer's memory is not written: neither alone nor in a block. */
static void what_changed_in_memory_is_not_written(void **state)
{
    (void)state;
    static const bole_comparator changing = { "test.backward", NULL, compare_and_change };
    for (unsigned round = 0; round < 4; round++) {
        test_store store;
        test_store_begin(&store, TEST_MEMORY_AMPLE);
        bl_segment_writer_parameters parameters = plain_parameters(&store, 1);
        parameters.comparator = &changing;
        parameters.check_entries = true;
        parameters.install_frames = round % 2 == 0;
        bl_segment_writer *writer;
        bl_segment_meta meta;
        bole_error error;
        assert_ok(bl_segment_writer_create(&parameters, &writer, &error), &error);
        comparisons = round < 2 ? 0 : 100; /* nothing changes: all is well */
        for (char k = 't'; k <= 'z'; k++)
            assert_ok(bl_segment_writer_add(writer, bl_slice(&k, 1), BL_TAG(9, BL_KIND_PUT),
                                            BOLE_STR("value"), &error),
                      &error);
        bole_status status = bl_segment_writer_finish(writer, &meta, NULL, &error);
        assert_status(round < 2 ? BOLE_CORRUPT : BOLE_OK, status, &error);
        if (round < 2)
            assert_non_null(strstr(error.message, "memory changed"));
        assert_int_equal(files_in(&store), round < 2 ? 0 : 1);
        bl_segment_meta_deinit(&meta);
        test_store_end(&store);
    }
}

static void some_entries(test_entries *out)
{
    bl_prng prng;
    bl_prng_init(&prng, 5);
    test_entries_shape shape = {
        .family = 1, .keys = 200, .spread = 100000, .versions_max = 2, .value_bytes_max = 200
    };
    *out = (test_entries){ NULL, 0, 0 };
    test_entries_fill(&prng, &shape, NULL, out);
    static uint8_t large[1200000], key[65000];
    test_entries_add(out, BOLE_STR("large"), BL_TAG(1, BL_KIND_PUT), bl_slice(large, sizeof large));
    bl_prng_fill(&prng, large, sizeof large); /* does not shrink */
    test_entries_add(out, BOLE_STR("large, again"), BL_TAG(1, BL_KIND_PUT), bl_slice(large, sizeof large));
    test_entries_add(out, BOLE_STR("large, at last"), BL_TAG(1, BL_KIND_PUT), bl_slice(large, sizeof large));
    test_entries_add(out, BOLE_STR("middling"), BL_TAG(1, BL_KIND_PUT), bl_slice(large, 60000));
    memset(key, 'n', sizeof key);
    for (uint8_t i = 0; i < 20; i++) { /* an index larger than the buffer */
        key[sizeof key - 1] = (uint8_t)('a' + i);
        test_entries_add(out, bl_slice(key, sizeof key), BL_TAG(1, BL_KIND_PUT), BOLE_STR("far"));
    }
    for (uint8_t i = 0; i < 20; i++) {
        bl_value_pointer pointer = { .segment = 5u + i, .block = i, .offset = 4096 * (i + 1), .bytes = 77 };
        uint8_t bytes[BL_VALUE_POINTER_BYTES_MAX];
        char name[8];
        snprintf(name, sizeof name, "p%02u", i);
        size_t size = bl_value_pointer_encode(&pointer, bytes);
        test_entries_add(out, bl_slice(name, 3), BL_TAG(1, BL_KIND_PUT_WITH_VALUE_POINTER),
                         bl_slice(bytes, size));
    }
}

/* Goal: each call to the disk may fail: the story is told, nothing leaks, and no file stays (the names of
 * one that a crash could bring back are recovery's). */
static void every_failed_call_leaves_nothing(void **state)
{
    (void)state;
    test_entries entries;
    some_entries(&entries);
    unsigned failures = 0;
    for (uint64_t at = 0;; at++) {
        test_store store;
        test_store_begin(&store, TEST_MEMORY_AMPLE);
        store.plan.at = store.plan.calls + at;
        store.plan.count = 1;
        store.plan.system_errno = ENOSPC;
        store.plan.half = at % 2 == 0;
        bl_segment_writer_parameters parameters = plain_parameters(&store, 1);
        parameters.install_frames = true;
        bl_segment_meta meta;
        bl_segment *segment = NULL;
        bole_error error = BOLE_ERROR_INIT;
        bole_status status = write_entries(&parameters, &entries, &meta, &segment, &error);
        if (status != BOLE_OK) {
            assert_int_equal(error.status, status);
            assert_true(strlen(error.message) > 0);
            assert_null(segment);
            assert_int_equal(files_in(&store), 0);
            failures++;
        }
        bl_segment_unref(segment);
        bl_segment_meta_deinit(&meta);
        bool done = store.plan.failed == 0;
        test_store_end(&store);
        if (done)
            break;
    }
    print_message("%u calls failed in turn\n", failures);
    assert_true(failures >= 6);
    test_entries_free(&entries);
}

/* Goal: each allocation (at both ends; in between, where block follows block, one of 17) may fail: NO_MEMORY, no leak,
 * no file; or the writer does without (a block not in the cache). */
static void every_failed_allocation_leaves_nothing(void **state)
{
    (void)state;
    test_entries entries;
    some_entries(&entries);
    test_store store;
    test_store_begin(&store, TEST_MEMORY_AMPLE);
    unsigned failures = 0;
    uint64_t calls = UINT64_MAX - 1; /* until the first run, in which none fails, has counted them */
    for (uint64_t at = calls, next = 0; at <= calls;
         at = next, next += TEST_STEP * (at < 80 || at + 80 > calls ? 1 : 17)) {
        bl_segment_writer_parameters parameters = plain_parameters(&store, 1);
        parameters.install_frames = true;
        parameters.check_entries = true;
        parameters.compression = BL_COMPRESSED_LZ4;
        bl_segment_meta meta;
        bl_segment *segment = NULL;
        bl_alloc_fail_at(at, 1);
        bole_status status = write_entries(&parameters, &entries, &meta, &segment, NULL);
        calls = at == UINT64_MAX - 1 ? bl_alloc_calls() : calls;
        bl_alloc_fail_at(UINT64_MAX, 0);
        assert_true(status == BOLE_OK || status == BOLE_NO_MEMORY);
        if (status != BOLE_OK) {
            failures++;
            assert_int_equal(files_in(&store), 0);
        } else {
            assert_ok(read_all(store.disk, "store/000001.seg", &entries, NULL, NULL), NULL);
            assert_ok(store.disk->remove(store.disk, "store/000001.seg", NULL), NULL);
        }
        bl_segment_unref(segment);
        bl_segment_meta_deinit(&meta);
    }
    print_message("%u allocations failed in turn\n", failures);
    assert_true(failures > 10);
    test_entries_free(&entries);
    test_store_end(&store);
}

/* Goal: the same for each allocation of one large block that grows. */
static void a_block_without_memory_is_told(void **state)
{
    (void)state;
    test_entries entries = { NULL, 0, 0 };
    for (uint32_t i = 0; i < 3000; i++) {
        char key[16];
        int bytes = snprintf(key, sizeof key, "key %06u", i);
        test_entries_add(&entries, bl_slice(key, (size_t)bytes), BL_TAG(i + 1, BL_KIND_PUT),
                         BOLE_STR("value"));
    }
    test_store store;
    test_store_begin(&store, TEST_MEMORY_AMPLE);
    unsigned blocks_told = 0;
    for (uint64_t at = 0, more = 1; more != 0; at++) {
        bl_segment_writer_parameters parameters = plain_parameters(&store, 1);
        parameters.block_bytes = 1 << 20;
        bl_segment_meta meta;
        bole_error error = BOLE_ERROR_INIT;
        bl_alloc_fail_at(at, 1);
        bole_status status = write_entries(&parameters, &entries, &meta, NULL, &error);
        more = bl_alloc_calls() > at;
        bl_alloc_fail_at(UINT64_MAX, 0);
        assert_status(more ? BOLE_NO_MEMORY : BOLE_OK, status, &error);
        blocks_told += more && strstr(error.message, "a block of store/000001.seg.tmp") != NULL;
        assert_int_equal(files_in(&store), !more);
        bl_segment_meta_deinit(&meta);
    }
    assert_true(blocks_told > 3);
    assert_ok(read_all(store.disk, "store/000001.seg", &entries, NULL, NULL), NULL);
    test_entries_free(&entries);
    test_store_end(&store);
}

static uint64_t write_of_size(test_store *store, size_t name, size_t value_bytes, test_entries *entries)
{
    static char text[65], value[1 << 20];
    bl_segment_writer_parameters parameters = plain_parameters(store, 1);
    bl_segment_meta meta;
    bole_error error = BOLE_ERROR_INIT;
    memset(text, 't', sizeof text);
    text[name] = '\0';
    parameters.table_name = text;
    test_entries_add(entries, BOLE_STR("key"), BL_TAG(1, BL_KIND_PUT), bl_slice(value, value_bytes));
    assert_ok(write_entries(&parameters, entries, &meta, NULL, &error), &error);
    uint64_t bytes = meta.file_bytes;
    bl_segment_meta_deinit(&meta);
    return bytes;
}

/* Goal: a segment that ends with a whole write is whole, and nothing is written behind it. Method: the footer's size
 * varies with the table's name until it ends where a section may begin, then the value's fills the MiB. */
static void a_segment_may_end_with_a_whole_write(void **state)
{
    (void)state;
    enum { WHOLE = 1 << 20, SOME = 500000 };
    test_store store;
    test_store_begin(&store, TEST_MEMORY_AMPLE);
    bool found = false;
    for (size_t name = 1; name <= 64 && !found; name++) {
        test_entries entries = { NULL, 0, 0 };
        uint64_t bytes = write_of_size(&store, name, SOME, &entries);
        test_entries_free(&entries);
        if (bytes % 64 != 0)
            continue;
        entries = (test_entries){ NULL, 0, 0 };
        found = write_of_size(&store, name, (size_t)(SOME + WHOLE - bytes), &entries) == WHOLE;
        if (found)
            assert_ok(read_all(store.disk, "store/000001.seg", &entries, NULL, NULL), NULL);
        test_entries_free(&entries);
    }
    assert_true(found);
    test_store_end(&store);
}

/* Goal: once finish has returned the segment survives a power cut, whatever unsynced data and names do. */
static void a_finished_segment_survives_a_power_cut(void **state)
{
    (void)state;
    test_entries entries;
    some_entries(&entries);
    for (int mode = BOLE_CRASH_RANDOM; mode <= BOLE_CRASH_NAMES_ONLY; mode++) {
        for (uint64_t seed = 0; seed < 5; seed++) {
            test_store store;
            test_store_begin(&store, TEST_MEMORY_AMPLE);
            assert_ok(store.disk->sync_directory(store.disk, ".", NULL), NULL);
            bl_segment_writer_parameters parameters = plain_parameters(&store, 1);
            bl_segment_meta meta;
            bole_error error;
            bole_vfs *after;
            assert_ok(write_entries(&parameters, &entries, &meta, NULL, &error), &error);
            assert_ok(bole_vfs_memory_crash(store.disk, (bole_crash_mode)mode, seed, &after), NULL);
            assert_ok(read_all(after, "store/000001.seg", &entries, NULL, &error), &error);
            bole_vfs_destroy(after);
            bl_segment_meta_deinit(&meta);
            test_store_end(&store);
        }
    }
    test_entries_free(&entries);
}

/* ---- Golden ---- */

static bole_status fixed_random(bole_vfs *vfs, void *data, size_t length, bole_error *error)
{
    (void)vfs, (void)error;
    for (size_t i = 0; i < length; i++)
        ((uint8_t *)data)[i] = (uint8_t)(0xa0 + i);
    return BOLE_OK;
}

static int64_t fixed_time(bole_vfs *vfs)
{
    (void)vfs;
    return 1700000000000000;
}

/* Goal: the bytes of a small segment are as its header describes them: stores depend on them. */
static void a_small_segment_has_golden_bytes(void **state)
{
    (void)state;
    test_store store;
    test_store_begin(&store, TEST_MEMORY_AMPLE);
    bole_vfs fixed = *store.disk;
    fixed.random = fixed_random;
    fixed.realtime_us = fixed_time;
    store.environment.vfs = &fixed;
    memset(store.environment.store_id.bytes, 0x5e, BL_ID_BYTES);
    test_entries entries;
    small_entries(&entries);
    bl_id input = { { 0x1d } };
    bl_segment_writer_parameters parameters = plain_parameters(&store, 12);
    parameters.inputs = &input;
    parameters.input_count = 1;
    bl_segment_meta meta;
    bole_error error;
    assert_ok(write_entries(&parameters, &entries, &meta, NULL, &error), &error);
    forgery whole;
    forge_begin(&store, "store/000012.seg", &meta, &whole);
    test_golden("segment.txt", whole.data, whole.size);
    free(whole.data);
    bl_segment_meta_deinit(&meta);
    test_entries_free(&entries);
    store.environment.vfs = store.fault;
    test_store_end(&store);
}

static void add_line(void *context, const char *text)
{
    bole_buffer *lines = context;
    assert_true(bl_buffer_append_format(lines, "%s\n", text));
}

/* Goal: data is synced before the name, the name before finish returns. Method: the trace of all calls. */
static void the_order_of_calls_is_data_sync_name_sync(void **state)
{
    (void)state;
    test_store store;
    test_store_begin(&store, TEST_MEMORY_AMPLE);
    bole_buffer lines = BOLE_BUFFER_INIT;
    bole_vfs *trace;
    assert_ok(bole_vfs_trace_create(store.disk, add_line, &lines, &trace), NULL);
    store.environment.vfs = trace;
    test_entries entries;
    small_entries(&entries);
    bl_segment_writer_parameters parameters = plain_parameters(&store, 12);
    bl_segment_meta meta;
    bole_error error;
    assert_ok(write_entries(&parameters, &entries, &meta, NULL, &error), &error);
    char expected[256];
    const char *write = strstr(lines.data, "write 000012.seg.tmp 0+");
    const char *sync = strstr(lines.data, "sync 000012.seg.tmp");
    const char *name = strstr(lines.data, "rename 000012.seg.tmp");
    snprintf(expected, sizeof expected, "write 000012.seg.tmp 0+%" PRIu64 "\n", meta.file_bytes);
    print_message("%s", (const char *)lines.data);
    assert_non_null(strstr(lines.data, expected)); /* one write for a small segment */
    assert_non_null(write);
    assert_true(sync > write && name > sync);
    assert_non_null(strstr(name + 1, "sync")); /* of the directory */
    bole_buffer_free(&lines);
    bl_segment_meta_deinit(&meta);
    test_entries_free(&entries);
    store.environment.vfs = store.fault;
    bole_vfs_destroy(trace);
    test_store_end(&store);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_written_is_read_back),
        cmocka_unit_test(versions_span_blocks),
        cmocka_unit_test(the_file_is_dense),
        cmocka_unit_test(blocks_suit_their_entries),
        cmocka_unit_test(every_flipped_bit_is_found_or_harmless),
        cmocka_unit_test(a_cut_file_is_corrupt),
        cmocka_unit_test(a_forged_footer_is_refused_or_read),
        cmocka_unit_test(what_is_not_understood_is_unsupported),
        cmocka_unit_test(bad_input_is_refused),
        cmocka_unit_test(entries_behind_a_large_one_come_in_order),
        cmocka_unit_test(what_changed_in_memory_is_not_written),
        cmocka_unit_test(every_failed_call_leaves_nothing),
        cmocka_unit_test(every_failed_allocation_leaves_nothing),
        cmocka_unit_test(a_block_without_memory_is_told),
        cmocka_unit_test(a_segment_may_end_with_a_whole_write),
        cmocka_unit_test(a_finished_segment_survives_a_power_cut),
        cmocka_unit_test(a_small_segment_has_golden_bytes),
        cmocka_unit_test(the_order_of_calls_is_data_sync_name_sync),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
