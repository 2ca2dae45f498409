/* SPDX-License-Identifier: MIT */
/* test_segment.c -- point reads, loading, eviction, damage and the end of segments, against a model. */
#include "segment_fixture.h"

#include "base/assert.h"
#include "segment/segment_state.h"

#include <errno.h>
#include <pthread.h>

/* ---- Gets against the model ---- */

/* Random keys, those of the model and others, at random sequences: all forms of a get give the model's
 * answer. */
static void check_gets(test_store *store, bl_segment *segment, const test_entries *entries, size_t first,
                       size_t end, bl_prng *prng, unsigned family, uint64_t spread, unsigned rounds)
{
    (void)store;
    static test_key_bytes random;
    test_entries part = { entries->list + first, end - first, 0 };
    bole_buffer value = BOLE_BUFFER_INIT;
    bole_error error = BOLE_ERROR_INIT;
    for (unsigned i = 0; i < rounds; i++) {
        bole_slice key = test_key(&part.list[bl_prng_below(prng, part.count)]);
        if (bl_prng_chance(prng, 3)) {
            test_random_key(prng, family, spread, &random);
            key = bl_slice(random.data, random.size);
        }
        uint64_t sequence = bl_prng_chance(prng, 3) ? BL_SEQUENCE_MAX : bl_prng_below(prng, 1 << 20);
        bl_lookup lookup = test_lookup(segment, key, sequence);
        size_t wanted = test_entries_find(&part, lookup.comparator, key, sequence);
        uint64_t tag;
        bole_status status = i % 8 == 7 ? bl_segment_find_uncached(segment, &lookup, &tag, &value, &error)
                                        : test_get(segment, &lookup, i % 2 == 0, &tag, &value, &error);
        assert_status(wanted == SIZE_MAX ? BOLE_NOT_FOUND : BOLE_OK, status, &error);
        if (wanted != SIZE_MAX) {
            assert_int_equal(tag, part.list[wanted].tag);
            assert_true(bl_slice_equal(bl_slice(value.data, value.size), test_value(&part.list[wanted])));
        }
    }
    bole_buffer_free(&value);
}

static void gets_agree_with_the_model_on(bole_vfs *disk, uint64_t limit, unsigned keys, unsigned rounds)
{
    bl_prng prng;
    bl_prng_init(&prng, test_seed(1));
    for (unsigned family = 0; family < TEST_FAMILIES; family++) {
        for (unsigned form = 0; form < 4; form++) {
            test_store store;
            test_store_begin_on(&store, limit, disk, 0);
            test_entries entries = { NULL, 0, 0 };
            test_entries_shape shape = { .family = family,
                                         .keys = keys,
                                         .spread = keys,
                                         .versions_max = form == 1 ? 60 : 3,
                                         .value_bytes_max = form == 2 ? 3000 : 60 };
            bl_comparator *comparator = form == 3 ? &test_backward : NULL;
            test_entries_fill(&prng, &shape, comparator, &entries);
            test_segment_options options = { .comparator = comparator,
                                             .no_filter = form == 1,
                                             .compression = (bl_compression_kind)(form % 3),
                                             .warm = (family + form) % 2 == 0 };
            bl_segment *segment = test_segment_build(&store, 7, &entries, 0, entries.count, &options);
            check_gets(&store, segment, &entries, 0, entries.count, &prng, family, shape.spread, rounds);
            bole_error error = BOLE_ERROR_INIT;
            assert_ok(bl_segment_check(segment, true, &error), &error);
            bl_segment_unref(segment);
            test_entries_free(&entries);
            test_store_end(&store);
        }
    }
}

/* Goal: every form of get gives the model's newest visible version. Method: families of keys, few or many
 * versions, small or large values, each compression, with and without filter, byte order and another one. */
static void gets_agree_with_the_model(void **state)
{
    (void)state;
    gets_agree_with_the_model_on(NULL, TEST_MEMORY_AMPLE, 400, 300);
}

/* The same on the real file system. */
static void gets_agree_with_the_model_on_a_real_disk(void **state)
{
    (void)state;
    gets_agree_with_the_model_on(bole_vfs_posix(), TEST_MEMORY_AMPLE, 100, 200);
}

/* The same with room for a few blocks only, and for nothing. */
static void gets_agree_with_the_model_without_memory(void **state)
{
    (void)state;
    gets_agree_with_the_model_on(NULL, 100 * 1024, 200, 80);
    gets_agree_with_the_model_on(NULL, 0, 60, 40);
}

/* Goal: the stages (locate, filter, find_at) say what find says. */
static void stages_give_what_find_gives(void **state)
{
    (void)state;
    bl_prng prng;
    bl_prng_init(&prng, test_seed(2));
    test_store store;
    test_store_begin(&store, TEST_MEMORY_AMPLE);
    test_entries entries = { NULL, 0, 0 };
    test_entries_shape shape = {
        .family = 1, .keys = 2000, .spread = 4000, .versions_max = 2, .value_bytes_max = 50
    };
    test_entries_fill(&prng, &shape, NULL, &entries);
    test_segment_options options = { .warm = true };
    bl_segment *segment = test_segment_build(&store, 1, &entries, 0, entries.count, &options);
    for (int i = 0; i < 4000; i++) {
        test_key_bytes key;
        test_random_key(&prng, 1, 4000, &key);
        bl_lookup lookup = test_lookup(segment, bl_slice(key.data, key.size), BL_SEQUENCE_MAX);
        bl_found whole, staged;
        bl_segment_spot spot;
        bl_epoch_enter();
        bl_find find = bl_segment_find(segment, &lookup, &whole);
        bl_segment_prefetch_filter(segment, &lookup);
        spot = bl_segment_approach(segment, &lookup);
        assert_int_equal(bl_segment_find_from(segment, &lookup, i % 2 == 0 ? &spot : NULL, &staged), find);
        const bl_frame *frame = bl_segment_prefetch_block(segment, &lookup);
        bl_epoch_leave();
        if (whole.filter == BL_FIND_FILTER_DENIED)
            assert_int_equal(find, BL_FIND_ABSENT);
        assert_true(frame == NULL || whole.filter != BL_FIND_FILTER_DENIED);
        assert_int_equal(staged.filter, whole.filter);
        if (find == BL_FIND_FOUND) {
            assert_int_equal(staged.tag, whole.tag);
            assert_ptr_equal(staged.value.data, whole.value.data);
            assert_ptr_equal(staged.frame, whole.frame);
        }
    }
    bl_segment_unref(segment);
    test_entries_free(&entries);
    test_store_end(&store);
}

/* ---- The life of a unit and its blocks ---- */

static void fill_plain(test_entries *entries, size_t keys, size_t value_bytes)
{
    char key[32], *value = calloc(1, value_bytes + 1);
    assert_non_null(value);
    for (size_t i = 0; i < keys; i++) {
        int bytes = snprintf(key, sizeof key, "%016zu", i * 2);
        snprintf(value, value_bytes + 1, "value of %zu", i * 2);
        test_entries_add(entries, bl_slice(key, (size_t)bytes), BL_TAG(100 + i, BL_KIND_PUT),
                         bl_slice(value, value_bytes));
    }
    free(value);
}

static bl_find look_once(bl_segment *segment, bole_slice key, bl_found *found)
{
    bl_lookup lookup = test_lookup(segment, key, BL_SEQUENCE_MAX);
    bl_epoch_enter();
    bl_find find = bl_segment_find(segment, &lookup, found);
    bl_epoch_leave();
    return find;
}

static uint64_t cached_blocks(bl_segment *segment)
{
    bl_segment_shape shape;
    assert_ok(bl_segment_shape_read(segment, &shape, NULL), NULL);
    return shape.cached_blocks;
}

/* Goal: a cold segment opens nothing; the first read names the unit, then the block; each is loaded once;
 * both go when the limit is lowered, the unit only after its last frame. */
static void unit_and_block_are_loaded_on_first_use_and_evicted_whole(void **state)
{
    (void)state;
    test_store store;
    test_store_begin(&store, TEST_MEMORY_AMPLE);
    test_entries entries = { NULL, 0, 0 };
    fill_plain(&entries, 1000, 100);
    test_segment_options options = { .comparator = NULL };
    bl_segment *segment = test_segment_build(&store, 3, &entries, 0, entries.count, &options);
    uint64_t calls = store.plan.calls;
    bl_found found;
    bole_slice key = test_key(&entries.list[500]);
    assert_int_equal(look_once(segment, key, &found), BL_FIND_MUST_LOAD);
    assert_int_equal(found.block, BL_SEGMENT_UNIT);
    assert_int_equal(store.plan.calls, calls);
    assert_ok(bl_segment_load(segment, found.block, NULL), NULL);
    assert_int_equal(look_once(segment, key, &found), BL_FIND_MUST_LOAD);
    assert_true(found.block > 0 && found.block < bl_segment_meta_of(segment)->blocks);
    assert_ok(bl_segment_load(segment, found.block, NULL), NULL);
    calls = store.plan.calls;
    assert_ok(bl_segment_load(segment, found.block, NULL), NULL); /* is there already */
    assert_int_equal(look_once(segment, key, &found), BL_FIND_FOUND);
    assert_true(bl_slice_equal(found.value, test_value(&entries.list[500])));
    assert_int_equal(store.plan.calls, calls);
    assert_int_equal(cached_blocks(segment), 1);

    uint64_t blocks = bl_memory_budget_used(&store.budget, BL_MEMORY_CACHE);
    assert_int_equal(blocks, BL_PAGE_BYTES);
    bl_memory_budget_limit(&store.budget, 0, 0);
    bl_frame_cache_trim(store.cache);
    assert_int_equal(bl_memory_budget_used(&store.budget, BL_MEMORY_CACHE), 0);
    assert_int_equal(look_once(segment, key, &found), BL_FIND_MUST_LOAD);
    assert_int_equal(found.block, BL_SEGMENT_UNIT);
    bole_error error = BOLE_ERROR_INIT;
    assert_status(BOLE_MEMORY_PINNED, bl_segment_load(segment, found.block, &error), &error);
    bl_memory_budget_limit(&store.budget, TEST_MEMORY_AMPLE, 0);
    assert_ok(bl_segment_load(segment, 4, &error), &error);
    assert_int_equal(cached_blocks(segment), 1);
    bl_segment_unref(segment);
    test_entries_free(&entries);
    test_store_end(&store);
}

/* Goal: a segment that was just written is read without a single call to the disk. */
static void written_segment_is_warm(void **state)
{
    (void)state;
    for (int kind = 0; kind < 3; kind++) {
        test_store store;
        test_store_begin(&store, TEST_MEMORY_AMPLE);
        test_entries entries = { NULL, 0, 0 };
        fill_plain(&entries, 2000, 100);
        test_segment_options options = { .warm = true, .compression = (bl_compression_kind)kind };
        bl_segment *segment = test_segment_build(&store, 3, &entries, 0, entries.count, &options);
        uint64_t calls = store.plan.calls;
        for (size_t i = 0; i < entries.count; i++) {
            bl_found found;
            assert_int_equal(look_once(segment, test_key(&entries.list[i]), &found), BL_FIND_FOUND);
            assert_true(bl_slice_equal(found.value, test_value(&entries.list[i])));
        }
        assert_int_equal(store.plan.calls, calls);
        bl_frame_cache_counters counters;
        bl_frame_cache_counters_read(store.cache, &counters);
        assert_int_equal(counters.misses, 0);
        assert_int_equal(counters.hits, entries.count);
        bl_segment_unref(segment);
        test_entries_free(&entries);
        test_store_end(&store);
    }
}

/* Goal: the writer keeps blocks within the limit only, and the handle works with what was kept, down to
 * nothing. */
static void writer_keeps_blocks_within_the_limit(void **state)
{
    (void)state;
    const uint64_t limits[] = { 0, 40 * 1024, 200 * 1024 };
    for (int i = 0; i < 3; i++) {
        bl_prng prng;
        bl_prng_init(&prng, 3);
        test_store store;
        test_store_begin(&store, limits[i]);
        test_entries entries = { NULL, 0, 0 };
        fill_plain(&entries, 3000, 100);
        test_segment_options options = { .warm = true };
        bl_segment *segment = test_segment_build(&store, 3, &entries, 0, entries.count, &options);
        assert_true(bl_memory_budget_used(&store.budget, BL_MEMORY_CACHE) <= limits[i]);
        check_gets(&store, segment, &entries, 0, entries.count, &prng, 1, 6000, 50);
        bl_segment_unref(segment);
        test_entries_free(&entries);
        test_store_end(&store);
    }
}

/* Goal: a pinned value survives the death of its segment. */
static void pinned_value_outlives_its_segment(void **state)
{
    (void)state;
    test_store store;
    test_store_begin(&store, TEST_MEMORY_AMPLE);
    test_entries entries = { NULL, 0, 0 };
    fill_plain(&entries, 100, 100);
    test_segment_options options = { .warm = true };
    bl_segment *segment = test_segment_build(&store, 3, &entries, 0, entries.count, &options);
    bl_lookup lookup = test_lookup(segment, test_key(&entries.list[50]), BL_SEQUENCE_MAX);
    bl_found found;
    bl_epoch_enter();
    assert_int_equal(bl_segment_find(segment, &lookup, &found), BL_FIND_FOUND);
    bl_frame_pin(found.frame);
    bl_epoch_leave();
    bl_segment_unref(segment);
    assert_int_equal(bl_memory_budget_used(&store.budget, BL_MEMORY_CACHE), 0);
    assert_int_equal(bl_memory_budget_used(&store.budget, BL_MEMORY_PINNED), BL_PAGE_BYTES);
    assert_true(bl_slice_equal(found.value, test_value(&entries.list[50])));
    bl_frame_unpin(found.frame);
    test_entries_free(&entries);
    test_store_end(&store);
}

/* ---- Counters and shape ---- */

static void filter_counters_are_exact(void **state)
{
    (void)state;
    test_store store;
    test_store_begin(&store, TEST_MEMORY_AMPLE);
    test_entries entries = { NULL, 0, 0 };
    fill_plain(&entries, 5000, 20); /* even numbers */
    test_segment_options options = { .warm = true };
    bl_segment *segment = test_segment_build(&store, 3, &entries, 0, entries.count, &options);
    uint64_t denied = 0, passed = 0;
    for (size_t i = 0; i < 5000; i++) {
        bl_found found;
        char key[32];
        int bytes = snprintf(key, sizeof key, "%016zu", i * 2 + 1);
        assert_int_equal(look_once(segment, bl_slice(key, (size_t)bytes), &found), BL_FIND_ABSENT);
        denied += found.filter == BL_FIND_FILTER_DENIED;
        passed += found.filter == BL_FIND_FILTER_PASSED;
        bool maybe;
        assert_ok(bl_segment_filter_may_contain(segment, bl_hash(key, (size_t)bytes), &maybe, NULL), NULL);
        assert_int_equal(maybe, found.filter == BL_FIND_FILTER_PASSED);
    }
    bl_found found;
    for (size_t i = 0; i < 300; i++)
        assert_int_equal(look_once(segment, test_key(&entries.list[i]), &found), BL_FIND_FOUND);
    bl_segment_counters counters;
    bl_segment_counters_read(segment, &counters);
    assert_int_equal(counters.filter_probes, 5300);
    assert_int_equal(counters.filter_negatives, denied);
    assert_int_equal(counters.filter_false_positives, passed);
    assert_int_equal(counters.filter_true_positives, 300);
    bl_segment_shape shape;
    assert_ok(bl_segment_shape_read(segment, &shape, NULL), NULL);
    assert_int_equal(shape.filter_kind, BL_FILTER_CACHE_LINE_BLOOM);
    assert_int_equal(shape.filter_bits_per_key_tenths, 100);
    assert_int_equal(shape.cached_blocks, bl_segment_meta_of(segment)->blocks);
    assert_true(shape.filter_bytes >= 5000 * 10 / 8 && shape.index_bytes > 0);
    double rate = (double)passed / 5000;
    assert_true(shape.filter_expected_rate > 0 && rate < 3 * shape.filter_expected_rate);
    bl_segment_unref(segment);
    test_entries_free(&entries);
    test_store_end(&store);
}

typedef struct visited {
    uint64_t count, end, stop_at;
    uint8_t last[64];
    size_t last_bytes;
} visited;

static bool visit_block(void *context, const bl_block_place *place)
{
    visited *self = context;
    assert_int_equal(place->ordinal, self->count++);
    assert_true(place->offset >= self->end);
    self->end = place->offset + place->stored_bytes;
    assert_true(bl_slice_compare(bl_slice(self->last, self->last_bytes), place->separator) < 0);
    memcpy(self->last, place->separator.data, place->separator.size);
    self->last_bytes = place->separator.size;
    return self->count != self->stop_at;
}

static void blocks_are_visited_in_order(void **state)
{
    (void)state;
    test_store store;
    test_store_begin(&store, TEST_MEMORY_AMPLE);
    test_entries entries = { NULL, 0, 0 };
    fill_plain(&entries, 2000, 100);
    test_segment_options options = { .comparator = NULL };
    bl_segment *segment = test_segment_build(&store, 3, &entries, 0, entries.count, &options);
    visited all = { 0 }, some = { .stop_at = 3 };
    assert_ok(bl_segment_blocks(segment, visit_block, &all, NULL), NULL);
    assert_int_equal(all.count, bl_segment_meta_of(segment)->blocks);
    assert_true(all.end <= bl_segment_meta_of(segment)->file_bytes);
    assert_ok(bl_segment_blocks(segment, visit_block, &some, NULL), NULL);
    assert_int_equal(some.count, 3);
    bl_segment_unref(segment);
    test_entries_free(&entries);
    test_store_end(&store);
}

/* ---- Damage ---- */

static void flip(test_store *store, const char *path, uint64_t offset, uint8_t with)
{
    bole_file *file;
    assert_ok(store->disk->open(store->disk, path, BOLE_VFS_READ | BOLE_VFS_WRITE, &file, NULL), NULL);
    uint8_t byte;
    size_t got;
    assert_ok(file->vfs->read(file, offset, &byte, 1, &got, NULL), NULL);
    assert_int_equal(got, 1);
    byte ^= with;
    assert_ok(file->vfs->write(file, offset, &byte, 1, NULL), NULL);
    assert_ok(file->vfs->close(file, NULL), NULL);
}

/* Reads every entry by key; the first failure, or BOLE_OK when all values are the true ones. */
static bole_status read_all(bl_segment *segment, const test_entries *entries, bole_error *error)
{
    bole_buffer value = BOLE_BUFFER_INIT;
    bole_status status = BOLE_OK;
    for (size_t i = 0; i < entries->count && status == BOLE_OK; i++) {
        bl_lookup lookup = test_lookup(segment, test_key(&entries->list[i]), BL_SEQUENCE_MAX);
        uint64_t tag;
        status = test_get(segment, &lookup, false, &tag, &value, error);
        assert_int_not_equal(status, BOLE_NOT_FOUND);
        if (status == BOLE_OK) {
            assert_int_equal(tag, entries->list[i].tag);
            assert_true(bl_slice_equal(bl_slice(value.data, value.size), test_value(&entries->list[i])));
        }
    }
    bole_buffer_free(&value);
    return status;
}

static bl_segment *reopen(test_store *store, bl_segment *segment)
{
    bl_segment *again;
    assert_ok(bl_segment_create_handle(&store->environment, bl_segment_meta_of(segment),
                                       bl_segment_comparator(segment), &again, NULL),
              NULL);
    return again;
}

/* Goal: a flipped bit anywhere is found or harmless: no read gives a wrong answer, and whatever is not found
 * by the check does not change one. Method: every byte where bytes mean something, by chance; some bits of
 * each. */
static void flipped_bits_are_found_or_harmless(void **state)
{
    (void)state;
    bl_prng prng;
    bl_prng_init(&prng, test_seed(5));
    for (int kind = 0; kind < 2; kind++) {
        test_store store;
        test_store_begin(&store, TEST_MEMORY_AMPLE);
        test_entries entries = { NULL, 0, 0 };
        fill_plain(&entries, 150, 80);
        test_segment_options options = { .compression = (bl_compression_kind)kind };
        bl_segment *sound = test_segment_build(&store, 3, &entries, 0, entries.count, &options);
        uint64_t bytes = bl_segment_meta_of(sound)->file_bytes;
        unsigned found = 0;
        for (int i = 0; i < 1000; i++) {
            uint64_t offset = i < 64                     ? bytes - 1 - (uint64_t)i
                              : bl_prng_chance(&prng, 8) ? bl_prng_below(&prng, 4096)
                                                         : 4096 + bl_prng_below(&prng, bytes - 4096);
            uint8_t with = (uint8_t)(1u << bl_prng_below(&prng, 8));
            flip(&store, "store/000003.seg", offset, with);
            bl_segment *segment = reopen(&store, sound);
            bole_error error = BOLE_ERROR_INIT;
            bole_status checked = bl_segment_check(segment, true, &error);
            if (checked != BOLE_OK) {
                assert_true(checked == BOLE_CORRUPT || checked == BOLE_UNSUPPORTED);
                assert_string_equal(error.file, "store/000003.seg");
                found++;
            }
            bole_status read = read_all(segment, &entries, &error);
            if (read != BOLE_OK) {
                assert_true(read == BOLE_CORRUPT || read == BOLE_UNSUPPORTED);
                assert_int_not_equal(checked, BOLE_OK); /* what a reader finds, the check finds */
            }
            bl_segment_unref(segment);
            flip(&store, "store/000003.seg", offset, with);
        }
        assert_true(found > 600);
        bole_error error = BOLE_ERROR_INIT;
        assert_ok(bl_segment_check(sound, true, &error), &error);
        bl_segment_unref(sound);
        test_entries_free(&entries);
        test_store_end(&store);
    }
}

typedef struct third_block {
    uint64_t offset;
    uint32_t bytes;
} third_block;

static bool visit_third(void *context, const bl_block_place *place)
{
    third_block *self = context;
    self->offset = place->offset;
    self->bytes = place->stored_bytes;
    return place->ordinal != 2;
}

/* Goal: a damaged block is told with file and offset, nothing is installed, and other blocks go on. */
static void damaged_block_is_named_and_never_installed(void **state)
{
    (void)state;
    test_store store;
    test_store_begin(&store, TEST_MEMORY_AMPLE);
    test_entries entries = { NULL, 0, 0 };
    fill_plain(&entries, 1000, 100);
    test_segment_options options = { .comparator = NULL };
    bl_segment *segment = test_segment_build(&store, 3, &entries, 0, entries.count, &options);
    third_block third;
    assert_ok(bl_segment_blocks(segment, visit_third, &third, NULL), NULL);
    flip(&store, "store/000003.seg", third.offset + third.bytes / 2, 0x10);
    for (int i = 0; i < 3; i++) {
        bole_error error = BOLE_ERROR_INIT;
        assert_status(BOLE_CORRUPT, bl_segment_load(segment, 2, &error), &error);
        assert_string_equal(error.file, "store/000003.seg");
        assert_int_equal(error.offset, third.offset);
        assert_int_equal(cached_blocks(segment), 0);
        assert_int_equal(bl_memory_budget_used(&store.budget, BL_MEMORY_CACHE), 0);
    }
    assert_ok(bl_segment_load(segment, 1, NULL), NULL);
    assert_ok(bl_segment_load(segment, 3, NULL), NULL);
    bole_error error = BOLE_ERROR_INIT;
    assert_ok(bl_segment_check(segment, false, &error), &error); /* no block is looked at */
    assert_status(BOLE_CORRUPT, bl_segment_check(segment, true, &error), &error);
    assert_int_equal(error.offset, third.offset);
    flip(&store, "store/000003.seg", third.offset + third.bytes / 2, 0x10);
    assert_ok(bl_segment_load(segment, 2, &error), &error);
    bl_segment_unref(segment);
    test_entries_free(&entries);
    test_store_end(&store);
}

static void truncate_file(test_store *store, const char *path, uint64_t length)
{
    bole_file *file;
    assert_ok(store->disk->open(store->disk, path, BOLE_VFS_READ | BOLE_VFS_WRITE, &file, NULL), NULL);
    assert_ok(file->vfs->truncate(file, length, NULL), NULL);
    assert_ok(file->vfs->close(file, NULL), NULL);
}

/* Goal: a file that was cut, at whatever length, is corrupt: also when its unit was in memory before. */
static void cut_file_is_corrupt(void **state)
{
    (void)state;
    test_store store;
    test_store_begin(&store, TEST_MEMORY_AMPLE);
    test_entries entries = { NULL, 0, 0 };
    fill_plain(&entries, 600, 100);
    test_segment_options options = { .comparator = NULL };
    bl_segment *segment = test_segment_build(&store, 3, &entries, 0, entries.count, &options);
    assert_ok(bl_segment_load(segment, BL_SEGMENT_UNIT, NULL), NULL);
    uint64_t bytes = bl_segment_meta_of(segment)->file_bytes;
    for (uint64_t length = bytes; length-- > 0; length -= length > 257 ? length / 8 : length) {
        truncate_file(&store, "store/000003.seg", length);
        bl_segment *again = reopen(&store, segment);
        bole_error error = BOLE_ERROR_INIT;
        assert_status(BOLE_CORRUPT, bl_segment_load(again, BL_SEGMENT_UNIT, &error), &error);
        assert_status(BOLE_CORRUPT, bl_segment_check(again, true, &error), &error);
        bl_segment_unref(again);
    }
    bole_error error = BOLE_ERROR_INIT;
    assert_status(BOLE_CORRUPT, bl_segment_load(segment, 5, &error), &error);
    assert_non_null(strstr(error.message, "ends inside a block")); /* whatever the frame held before */
    bl_segment_unref(segment);
    test_entries_free(&entries);
    test_store_end(&store);
}

/* Goal: a segment that is whole, but not the one the manifest means, is refused: another file, other counts.
 * */
static void another_file_in_its_place_is_refused(void **state)
{
    (void)state;
    test_store store;
    test_store_begin(&store, TEST_MEMORY_AMPLE);
    test_entries entries = { NULL, 0, 0 };
    fill_plain(&entries, 300, 100);
    test_segment_options options = { .comparator = NULL };
    bl_segment *one = test_segment_build(&store, 1, &entries, 0, entries.count, &options);
    bl_segment *two = test_segment_build(&store, 2, &entries, 0, entries.count, &options);
    bl_segment_meta meta;
    assert_ok(bl_segment_meta_copy(&meta, bl_segment_meta_of(one), NULL), NULL);
    meta.number = 2; /* same entries, another file */
    bole_error error = BOLE_ERROR_INIT;
    bl_segment *wrong;
    assert_ok(bl_segment_create_handle(&store.environment, &meta, NULL, &wrong, NULL), NULL);
    assert_status(BOLE_CORRUPT, bl_segment_load(wrong, BL_SEGMENT_UNIT, &error), &error);
    bl_segment_unref(wrong);
    meta.number = 1;
    meta.entries++;
    assert_ok(bl_segment_create_handle(&store.environment, &meta, NULL, &wrong, NULL), NULL);
    assert_status(BOLE_CORRUPT, bl_segment_load(wrong, BL_SEGMENT_UNIT, &error), &error);
    bl_segment_unref(wrong);
    meta.entries--;
    meta.number = 9;
    assert_ok(bl_segment_create_handle(&store.environment, &meta, NULL, &wrong, NULL), NULL);
    assert_status(BOLE_CORRUPT, bl_segment_load(wrong, BL_SEGMENT_UNIT, &error), &error);
    bl_segment_unref(wrong);
    bl_segment_meta_deinit(&meta);
    bl_segment_unref(one);
    bl_segment_unref(two);
    test_entries_free(&entries);
    test_store_end(&store);
}

/* Goal: another order than the one that wrote the file is refused; without any, the file can be checked. */
static void another_comparator_is_refused(void **state)
{
    (void)state;
    static const bole_comparator other = { "test.other", NULL, test_backward_compare };
    test_store store;
    test_store_begin(&store, TEST_MEMORY_AMPLE);
    test_entries entries = { NULL, 0, 0 };
    fill_plain(&entries, 300, 10);
    test_entries_sort(&entries, &test_backward);
    test_segment_options options = { .comparator = &test_backward };
    bl_segment *segment = test_segment_build(&store, 1, &entries, 0, entries.count, &options);
    bole_error error = BOLE_ERROR_INIT;
    bl_segment *wrong, *unknown;
    assert_ok(bl_segment_create_handle(&store.environment, bl_segment_meta_of(segment), &other, &wrong, NULL),
              NULL);
    assert_status(BOLE_COMPARATOR, bl_segment_load(wrong, BL_SEGMENT_UNIT, &error), &error);
    assert_ok(bl_segment_create_handle(&store.environment, bl_segment_meta_of(segment), NULL, &unknown, NULL),
              NULL);
    assert_ok(bl_segment_check(unknown, true, &error), &error);
    assert_ok(bl_segment_check(segment, true, &error), &error);
    bl_segment_unref(wrong);
    bl_segment_unref(unknown);
    bl_segment_unref(segment);
    test_entries_free(&entries);
    test_store_end(&store);
}

/* ---- Lies with sound checksums ---- */

typedef enum lie {
    LIE_NONE,
    LIE_FILTER,         /* says no to all */
    LIE_SEPARATOR_LOW,  /* below the last key of its block */
    LIE_SEPARATOR_HIGH, /* not below the first key of the next */
    LIE_ENTRIES,
    LIE_TOMBSTONES,
    LIE_RAW_BYTES,
    LIE_SMALLEST,
    LIE_LARGEST,
    LIE_SEQUENCE_MIN,
    LIE_SEQUENCE_MAX,
    LIE_COUNT,
} lie;

/* The same index again, but for the third separator. */
static void build_index(bl_segment *segment, lie what, bole_buffer *out)
{
    bl_unit *unit;
    assert_ok(bl_unit_get(segment, true, &unit, NULL), NULL);
    bl_block_index_builder builder;
    bl_block_index_builder_init(&builder, false);
    bole_buffer separator = BOLE_BUFFER_INIT;
    for (uint64_t i = 0; i < unit->index.count; i++) {
        assert_true(bl_block_index_separator(&unit->index, i, &separator));
        uint8_t *last = (uint8_t *)separator.data + separator.size - 1;
        bool lying = i == 2 && (what == LIE_SEPARATOR_LOW || what == LIE_SEPARATOR_HIGH);
        if (lying)
            *last = (uint8_t)(what == LIE_SEPARATOR_LOW ? *last - 1 : *last + 2);
        /* With is_last, the separator is taken as it is. */
        assert_true(bl_block_index_builder_add(&builder, bl_slice(separator.data, separator.size),
                                               bl_slice(NULL, 0), true, unit->index.offsets[i],
                                               unit->index.stored_bytes[i], unit->index.frame_bytes[i]));
    }
    assert_true(bl_block_index_builder_finish(&builder, out));
    bole_buffer_free(&separator);
    bl_block_index_builder_deinit(&builder);
    bl_unit_put(segment, unit);
}

static void tell(bl_segment_footer *footer, lie what)
{
    bl_segment_meta *meta = &footer->meta;
    switch (what) {
    case LIE_ENTRIES: meta->entries++; break;
    case LIE_TOMBSTONES: meta->tombstones++; break;
    case LIE_RAW_BYTES: meta->raw_bytes--; break;
    case LIE_SMALLEST: meta->smallest.size--; break;
    case LIE_LARGEST:
        memset((uint8_t *)(uintptr_t)meta->largest.data + meta->largest.size - 1, '~', 1);
        break;
    case LIE_SEQUENCE_MIN: meta->sequence_min++; break;
    case LIE_SEQUENCE_MAX: meta->sequence_max--; break;
    default: break;
    }
}

/* Write the file anew as number 8: sections and footer changed by the lie, with checksums that are right. */
static bl_segment *retell(test_store *store, bl_segment *sound, lie what)
{
    bl_segment_footer footer;
    bole_error error = BOLE_ERROR_INIT;
    assert_ok(bl_segment_footer_read(store->disk, "store/000007.seg", &footer, &error), &error);
    uint64_t bytes = footer.meta.file_bytes, got_at = 0;
    uint8_t *content = calloc(1, bytes);
    assert_non_null(content);
    bole_file *file;
    size_t got;
    assert_ok(store->disk->open(store->disk, "store/000007.seg", BOLE_VFS_READ, &file, &error), &error);
    assert_ok(store->disk->read(file, 0, content, bytes, &got, &error), &error);
    assert_ok(store->disk->close(file, NULL), NULL);
    uint64_t seed = bl_checksum_seed(footer.meta.id);
    bole_buffer index = BOLE_BUFFER_INIT, tail = BOLE_BUFFER_INIT;
    build_index(sound, what, &index);
    for (uint32_t i = 0; i < footer.section_count; i++) {
        bl_segment_section *section = &footer.sections[i];
        uint8_t *at = content + section->offset;
        if (section->kind == BL_SECTION_INDEX) {
            assert_int_equal(section->length, index.size);
            memcpy(at, index.data, index.size);
        } else if (section->kind == BL_SECTION_FILTER && what == LIE_FILTER) {
            memset(at + BL_BLOOM_HEADER_BYTES, 0, section->length - BL_BLOOM_HEADER_BYTES);
        }
        section->checksum = bl_checksum(seed, section->offset, at, section->length);
        got_at = section->offset + section->length;
    }
    uint64_t footer_at = (got_at + 63) / 64 * 64;
    tell(&footer, what);
    assert_true(bl_segment_footer_encode(&footer, footer_at, &tail));
    assert_ok(store->disk->open(store->disk, "store/000008.seg",
                                BOLE_VFS_WRITE | BOLE_VFS_CREATE | BOLE_VFS_TRUNCATE, &file, &error),
              &error);
    assert_ok(store->disk->write(file, 0, content, footer_at, &error), &error);
    assert_ok(store->disk->write(file, footer_at, tail.data, tail.size, &error), &error);
    assert_ok(store->disk->close(file, NULL), NULL);
    footer.meta.number = 8;
    bl_segment *segment;
    assert_ok(bl_segment_create_handle(&store->environment, &footer.meta, NULL, &segment, NULL), NULL);
    bole_buffer_free(&index);
    bole_buffer_free(&tail);
    bl_segment_footer_deinit(&footer);
    free(content);
    return segment;
}

/* Goal: the check asks for more than checksums: each statement about a segment is compared with its entries.
 * Method: files that were written with one wrong statement and right checksums. */
static void check_finds_what_checksums_cannot(void **state)
{
    (void)state;
    test_store store;
    test_store_begin(&store, TEST_MEMORY_AMPLE);
    test_entries entries = { NULL, 0, 0 };
    fill_plain(&entries, 500, 60);
    test_segment_options options = { .comparator = NULL };
    bl_segment *sound = test_segment_build(&store, 7, &entries, 0, entries.count, &options);
    for (int what = LIE_NONE; what < LIE_COUNT; what++) {
        bl_segment *segment = retell(&store, sound, (lie)what);
        bole_error error = BOLE_ERROR_INIT;
        bole_status status = bl_segment_check(segment, true, &error);
        if (what == LIE_NONE) {
            assert_ok(status, &error);
            assert_ok(read_all(segment, &entries, &error), &error);
        } else {
            assert_status(BOLE_CORRUPT, status, &error);
            assert_string_equal(error.file, "store/000008.seg");
        }
        bl_segment_unref(segment);
    }
    bl_segment_unref(sound);
    test_entries_free(&entries);
    test_store_end(&store);
}

/* ---- Calls and allocations that fail ---- */

/* Open a cold handle, read a few keys, check: any failure is a status, and afterwards all is well. */
static bole_status exercise(test_store *store, bl_segment *known, const test_entries *entries,
                            bole_error *error)
{
    bl_segment *segment;
    bole_status status = bl_segment_create_handle(&store->environment, bl_segment_meta_of(known), NULL,
                                                  &segment, error);
    if (status != BOLE_OK)
        return status;
    bole_buffer value = BOLE_BUFFER_INIT;
    for (size_t i = 0; i < entries->count && status == BOLE_OK; i += entries->count / 3) {
        uint64_t tag;
        bl_lookup lookup = test_lookup(segment, test_key(&entries->list[i]), BL_SEQUENCE_MAX);
        status = test_get(segment, &lookup, false, &tag, &value, error);
        if (status == BOLE_OK)
            status = bl_segment_find_uncached(segment, &lookup, &tag, &value, error);
    }
    if (status == BOLE_OK)
        status = bl_segment_check(segment, true, error);
    bole_buffer_free(&value);
    bl_segment_unref(segment);
    return status;
}

/* Goal: a read that fails, wherever, is a status with the file's name, installs nothing, and is over with the
 * cause. */
static void failing_reads_are_statuses(void **state)
{
    (void)state;
    test_store store;
    test_store_begin(&store, TEST_MEMORY_AMPLE);
    test_entries entries = { NULL, 0, 0 };
    fill_plain(&entries, 300, 100);
    test_segment_options options = { .compression = BL_COMPRESSED_LZ4 };
    bl_segment *segment = test_segment_build(&store, 1, &entries, 0, entries.count, &options);
    bole_error error = BOLE_ERROR_INIT;
    for (uint64_t at = 0;; at++) {
        store.plan.at = store.plan.calls + at;
        store.plan.count = 1;
        store.plan.system_errno = EIO;
        uint64_t failed = store.plan.failed;
        bole_status status = exercise(&store, segment, &entries, &error);
        store.plan.at = UINT64_MAX;
        if (store.plan.failed == failed) {
            assert_ok(status, &error);
            assert_true(at > 10);
            break;
        }
        if (status != BOLE_OK) { /* a close may fail without being missed */
            assert_status(BOLE_IO, status, &error);
            assert_non_null(strstr(error.file, "000001.seg"));
        }
        assert_int_equal(bl_memory_budget_used(&store.budget, BL_MEMORY_CACHE), 0);
        assert_ok(exercise(&store, segment, &entries, &error), &error);
    }
    bl_segment_unref(segment);
    test_entries_free(&entries);
    test_store_end(&store);
}

/* Values of 200 KB, a third of which no compression shortens. */
static void fill_large(test_entries *entries)
{
    enum { LARGE = 200000, KEYS = 4 };
    static uint8_t value[LARGE];
    bl_prng prng;
    bl_prng_init(&prng, 5);
    for (size_t i = 0; i < KEYS; i++) {
        char key[32];
        int bytes = snprintf(key, sizeof key, "%016zu", i);
        memset(value, 'v', LARGE);
        bl_prng_fill(&prng, value, LARGE / 3);
        test_entries_add(entries, bl_slice(key, (size_t)bytes), BL_TAG(100 + i, BL_KIND_PUT),
                         bl_slice(value, LARGE));
    }
}

/* Goal: an allocation that fails, wherever, is BOLE_NO_MEMORY or does not matter; nothing leaks, nothing
 * stays charged. */
static void check_failing_allocations(bool large)
{
    test_store store;
    test_store_begin(&store, TEST_MEMORY_AMPLE);
    test_entries entries = { NULL, 0, 0 };
    if (large)
        fill_large(&entries);
    else
        fill_plain(&entries, 300, 100);
    test_segment_options options = { .compression = BL_COMPRESSED_LZ4 };
    bl_segment *segment = test_segment_build(&store, 1, &entries, 0, entries.count, &options);
    bole_error error = BOLE_ERROR_INIT;
    assert_ok(exercise(&store, segment, &entries, &error), &error);
    uint64_t used = bl_memory_budget_total(&store.budget);
    for (uint64_t at = 0;; at++) {
        bl_alloc_fail_at(at, 1);
        bole_status status = exercise(&store, segment, &entries, &error);
        bool reached = bl_alloc_calls() > at;
        bl_alloc_fail_at(UINT64_MAX, 0);
        assert_int_equal(bl_memory_budget_total(&store.budget), used);
        if (!reached) {
            assert_ok(status, &error);
            assert_true(at > 10);
            break;
        }
        if (status != BOLE_OK)
            assert_status(BOLE_NO_MEMORY, status, &error);
    }
    bl_segment_unref(segment);
    test_entries_free(&entries);
    test_store_end(&store);
}

static void failing_allocations_are_statuses(void **state)
{
    (void)state;
    check_failing_allocations(false);
    check_failing_allocations(true);
}

/* ---- Files ---- */

static bool file_exists(test_store *store, const char *path)
{
    bool is_directory;
    bole_status status = store->disk->exists(store->disk, path, &is_directory, NULL);
    assert_true(status == BOLE_OK || status == BOLE_NOT_FOUND);
    return status == BOLE_OK;
}

/* Goal: an obsolete file goes with the last reference and not before; a cursor's reference counts; a
 * read-only store removes nothing; with a callback, the file is left to it. */
static void obsolete_file_goes_with_the_last_reference(void **state)
{
    (void)state;
    for (int form = 0; form < 4; form++) {
        test_store store;
        test_store_begin(&store, TEST_MEMORY_AMPLE);
        store.environment.read_only = form == 2;
        store.environment.file_due = form == 3 ? test_file_due : NULL;
        store.environment.context = &store;
        test_entries entries = { NULL, 0, 0 };
        fill_plain(&entries, 100, 100);
        test_segment_options options = { .warm = form == 1 };
        bl_segment *segment = test_segment_build(&store, 3, &entries, 0, entries.count, &options);
        assert_ok(bl_segment_load(segment, 0, NULL), NULL);
        bl_cursor *cursor;
        bl_segment_cursor_options cursor_options = { .read_ahead = true };
        assert_ok(bl_segment_cursor(&segment, 1, &cursor_options, &cursor, NULL), NULL);
        bl_segment_ref(segment);
        if (form != 0)
            bl_segment_mark_obsolete(segment);
        bl_segment_unref(segment);
        bl_segment_unref(segment);
        assert_true(file_exists(&store, "store/000003.seg"));
        cursor->ops->seek_first(cursor);
        assert_true(cursor->valid);
        assert_int_equal(store.due_count, 0);
        bl_cursor_close(cursor);
        assert_int_equal(file_exists(&store, "store/000003.seg"), form != 1);
        assert_int_equal(store.due_count, form == 3);
        if (form == 3)
            assert_int_equal(store.due[0], 3);
        test_entries_free(&entries);
        test_store_end(&store);
    }
}

/* Goal: never more open files than allowed, while all segments are read in turn; one is opened again when
 * needed. */
static void open_files_are_bounded(void **state)
{
    (void)state;
    enum { SEGMENTS = 6 };
    test_store store;
    test_store_begin(&store, TEST_MEMORY_AMPLE);
    bl_segment_environment_deinit(&store.environment);
    store.environment.open_files_max = 2;
    assert_ok(bl_segment_environment_init(&store.environment, NULL), NULL);
    test_entries entries = { NULL, 0, 0 };
    fill_plain(&entries, 300, 100);
    test_segment_options options = { .comparator = NULL };
    bl_segment *segments[SEGMENTS];
    for (uint64_t i = 0; i < SEGMENTS; i++)
        segments[i] = test_segment_build(&store, i + 1, &entries, 0, entries.count, &options);
    bole_error error = BOLE_ERROR_INIT;
    for (int round = 0; round < 3; round++) {
        for (int i = 0; i < SEGMENTS; i++) {
            assert_ok(bl_segment_load(segments[i], (uint64_t)round, &error), &error);
            assert_true(bl_descriptor_cache_open_count(store.environment.descriptors) <= 2);
        }
    }
    for (int i = 0; i < SEGMENTS; i++)
        bl_segment_unref(segments[i]);
    assert_int_equal(bl_descriptor_cache_open_count(store.environment.descriptors), 0);
    test_entries_free(&entries);
    test_store_end(&store);
}

/* Goal: the limit holds also while a file is in use: the oldest idle one is closed before the next is opened;
 * files in use are never closed, even when they are more than the limit. */
static void idle_file_is_closed_before_another_is_opened(void **state)
{
    (void)state;
    test_store store;
    test_store_begin(&store, TEST_MEMORY_AMPLE);
    bl_descriptor_cache *cache;
    assert_ok(bl_descriptor_cache_create(store.fault, store.scheduler, 0, 2, &cache, NULL), NULL);
    const char *paths[4] = { "store/a", "store/b", "store/c", "store/d" };
    bl_descriptor descriptors[4] = { { NULL, 0, false, NULL, NULL } };
    bole_file *file, *again;
    for (int i = 0; i < 4; i++) {
        assert_ok(store.disk->open(store.disk, paths[i], BOLE_VFS_WRITE | BOLE_VFS_CREATE, &file, NULL),
                  NULL);
        assert_ok(store.disk->close(file, NULL), NULL);
    }
    assert_ok(bl_descriptor_use(cache, &descriptors[0], paths[0], &file, NULL), NULL);
    assert_ok(bl_descriptor_use(cache, &descriptors[0], paths[0], &again, NULL), NULL);
    assert_ptr_equal(file, again);
    bl_descriptor_done(cache, &descriptors[0]);
    bl_descriptor_done(cache, &descriptors[0]);
    assert_ok(bl_descriptor_use(cache, &descriptors[1], paths[1], &file, NULL), NULL);
    assert_ok(bl_descriptor_use(cache, &descriptors[2], paths[2], &file, NULL), NULL);
    assert_int_equal(bl_descriptor_cache_open_count(cache), 2);
    assert_null(descriptors[0].file);
    assert_ok(bl_descriptor_use(cache, &descriptors[3], paths[3], &file, NULL), NULL);
    assert_int_equal(bl_descriptor_cache_open_count(cache), 3);
    bl_descriptor_done(cache, &descriptors[1]);
    assert_int_equal(bl_descriptor_cache_open_count(cache), 2);
    bl_descriptor_done(cache, &descriptors[2]);
    bl_descriptor_done(cache, &descriptors[3]);
    for (int i = 0; i < 4; i++)
        bl_descriptor_close(cache, &descriptors[i]);
    assert_int_equal(bl_descriptor_cache_open_count(cache), 0);
    bl_descriptor_cache_destroy(cache);
    test_store_end(&store);
}

/* Goal: when the process is out of descriptors, files that are not in use make room. */
static void lack_of_descriptors_closes_idle_files(void **state)
{
    (void)state;
    test_store store;
    test_store_begin(&store, TEST_MEMORY_AMPLE);
    test_entries entries = { NULL, 0, 0 };
    fill_plain(&entries, 300, 100);
    test_segment_options options = { .comparator = NULL };
    bl_segment *one = test_segment_build(&store, 1, &entries, 0, entries.count, &options);
    bl_segment *two = test_segment_build(&store, 2, &entries, 0, entries.count, &options);
    bole_error error = BOLE_ERROR_INIT;
    store.plan.at = store.plan.calls;
    store.plan.count = 1;
    store.plan.system_errno = EMFILE;
    bole_status status = bl_segment_load(one, 0, &error); /* none is idle */
    assert_int_not_equal(status, BOLE_OK);
    assert_int_equal(error.system_errno, EMFILE);
    assert_ok(bl_segment_load(one, 0, &error), &error);
    store.plan.at = store.plan.calls;
    assert_ok(bl_segment_load(two, 0, &error), &error);
    assert_int_equal(bl_descriptor_cache_open_count(store.environment.descriptors), 1);
    bl_segment_unref(one);
    bl_segment_unref(two);
    test_entries_free(&entries);
    test_store_end(&store);
}

/* ---- Threads ---- */

enum { THREADS = 4, STORE_SEGMENTS = 5 };

typedef struct reader {
    bl_segment **segments;
    const test_entries *entries; /* split among the segments evenly */
    size_t part;
    uint64_t seed;
    unsigned gets;
    bool every_key;
} reader;

static bl_segment *segment_of(const reader *self, size_t entry) { return self->segments[entry / self->part]; }

static void *read_some(void *argument)
{
    reader *self = argument;
    bl_prng prng;
    bl_prng_init(&prng, self->seed);
    bole_buffer value = BOLE_BUFFER_INIT;
    bole_error error = BOLE_ERROR_INIT;
    for (unsigned i = 0; i < self->gets; i++) {
        size_t at = self->every_key ? i : bl_prng_below(&prng, self->entries->count);
        const test_entry *entry = &self->entries->list[at];
        bl_segment *segment = segment_of(self, at);
        bl_lookup lookup = test_lookup(segment, test_key(entry), BL_SEQUENCE_MAX);
        uint64_t tag;
        bole_status status = test_get(segment, &lookup, i % 2 == 0, &tag, &value, &error);
        if (status != BOLE_OK || tag != entry->tag ||
            !bl_slice_equal(bl_slice(value.data, value.size), test_value(entry))) {
            fprintf(stderr, "entry %zu: %s %s\n", at, bole_status_name(status), error.message);
            abort();
        }
    }
    bole_buffer_free(&value);
    return NULL;
}

static void build_many(test_store *store, const test_entries *entries, bl_segment **segments, size_t *part)
{
    *part = (entries->count + STORE_SEGMENTS - 1) / STORE_SEGMENTS;
    for (size_t i = 0; i < STORE_SEGMENTS; i++) {
        size_t end = (i + 1) * *part < entries->count ? (i + 1) * *part : entries->count;
        test_segment_options options = { .compression = i % 2 == 0 ? BL_COMPRESSED_NONE : BL_COMPRESSED_LZ4 };
        segments[i] = test_segment_build(store, i + 1, entries, i * *part, end, &options);
    }
}

/* Goal: a block is read once, however many threads want it at the same time. Method: all threads read every
 * key, with room for all; then there were as many reads as blocks. */
static void loads_are_shared_by_threads(void **state)
{
    (void)state;
    test_store store;
    test_store_begin(&store, TEST_MEMORY_AMPLE);
    test_entries entries = { NULL, 0, 0 };
    fill_plain(&entries, 1500, 100);
    bl_segment *segments[STORE_SEGMENTS];
    reader readers[THREADS];
    pthread_t threads[THREADS];
    size_t part;
    build_many(&store, &entries, segments, &part);
    for (int i = 0; i < THREADS; i++) {
        readers[i] = (reader){
            .segments = segments, .entries = &entries, .part = part, .gets = 1500, .every_key = true
        };
        assert_int_equal(pthread_create(&threads[i], NULL, read_some, &readers[i]), 0);
    }
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    uint64_t blocks = 0;
    bl_segment_counters filters = { 0 };
    for (int i = 0; i < STORE_SEGMENTS; i++) {
        blocks += bl_segment_meta_of(segments[i])->blocks;
        assert_int_equal(cached_blocks(segments[i]), bl_segment_meta_of(segments[i])->blocks);
        bl_segment_counters one;
        bl_segment_counters_read(segments[i], &one);
        filters.filter_true_positives += one.filter_true_positives;
    }
    bl_frame_cache_counters counters;
    bl_frame_cache_counters_read(store.cache, &counters);
    assert_int_equal(counters.misses, blocks);
    assert_int_equal(counters.hits, THREADS * 1500);
    assert_int_equal(filters.filter_true_positives, THREADS * 1500);
    for (int i = 0; i < STORE_SEGMENTS; i++)
        bl_segment_unref(segments[i]);
    test_entries_free(&entries);
    test_store_end(&store);
}

/* Goal: with room for a few blocks and not even all units, threads still read true values only. */
static void threads_read_true_values_under_constant_eviction(void **state)
{
    (void)state;
    uint64_t seed = test_seed(6);
    const uint64_t limits[] = { 48 * 1024, 96 * 1024, 256 * 1024 };
    for (int l = 0; l < 3; l++) {
        test_store store;
        test_store_begin(&store, limits[l]);
        test_entries entries = { NULL, 0, 0 };
        fill_plain(&entries, 3000, 100);
        bl_segment *segments[STORE_SEGMENTS];
        reader readers[THREADS];
        pthread_t threads[THREADS];
        size_t part;
        build_many(&store, &entries, segments, &part);
        for (int i = 0; i < THREADS; i++) {
            readers[i] = (reader){ .segments = segments,
                                   .entries = &entries,
                                   .part = part,
                                   .seed = seed + (uint64_t)i,
                                   .gets = 600 };
            assert_int_equal(pthread_create(&threads[i], NULL, read_some, &readers[i]), 0);
        }
        for (int i = 0; i < THREADS; i++)
            pthread_join(threads[i], NULL);
        bl_frame_cache_counters counters;
        bl_frame_cache_counters_read(store.cache, &counters);
        assert_true(counters.misses > 500);
        for (int i = 0; i < STORE_SEGMENTS; i++)
            bl_segment_unref(segments[i]);
        test_entries_free(&entries);
        test_store_end(&store);
    }
}

/* ---- Simulation ---- */

typedef struct simulated {
    bl_job_node node;
    reader reader;
    bool done;
} simulated;

static void run_reader(void *context)
{
    simulated *self = context;
    read_some(&self->reader);
    self->done = true;
}

/* Goal: under the seeded scheduler, whatever order the seed chooses, loads that wait for each other end, and
 * read the truth. */
static void any_order_of_loads_ends_and_reads_the_truth(void **state)
{
    (void)state;
    uint64_t seed = test_seed(100);
    for (uint64_t i = 0; i < 12; i++) {
        test_store store;
        test_store_begin_on(&store, i % 2 == 0 ? TEST_MEMORY_AMPLE : 64 * 1024, NULL, seed + i);
        test_entries entries = { NULL, 0, 0 };
        fill_plain(&entries, 400, 100);
        bl_segment *segments[STORE_SEGMENTS];
        size_t part;
        build_many(&store, &entries, segments, &part);
        simulated jobs[THREADS] = { 0 };
        for (int j = 0; j < THREADS; j++) {
            jobs[j].reader = (reader){ .segments = segments,
                                       .entries = &entries,
                                       .part = part,
                                       .seed = j < 2 ? 1 : seed + (uint64_t)j, /* two want the same */
                                       .gets = 60 };
            jobs[j].node = (bl_job_node){ .run = run_reader, .context = &jobs[j] };
            bl_scheduler_submit(store.scheduler, BL_PRIORITY_HIGH, &jobs[j].node);
        }
        for (int j = 0; j < THREADS; j++)
            while (!jobs[j].done)
                bl_yield(store.scheduler);
        for (int j = 0; j < STORE_SEGMENTS; j++)
            bl_segment_unref(segments[j]);
        test_entries_free(&entries);
        test_store_end(&store);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(gets_agree_with_the_model),
        cmocka_unit_test(gets_agree_with_the_model_on_a_real_disk),
        cmocka_unit_test(gets_agree_with_the_model_without_memory),
        cmocka_unit_test(stages_give_what_find_gives),
        cmocka_unit_test(unit_and_block_are_loaded_on_first_use_and_evicted_whole),
        cmocka_unit_test(written_segment_is_warm),
        cmocka_unit_test(writer_keeps_blocks_within_the_limit),
        cmocka_unit_test(pinned_value_outlives_its_segment),
        cmocka_unit_test(filter_counters_are_exact),
        cmocka_unit_test(blocks_are_visited_in_order),
        cmocka_unit_test(flipped_bits_are_found_or_harmless),
        cmocka_unit_test(damaged_block_is_named_and_never_installed),
        cmocka_unit_test(cut_file_is_corrupt),
        cmocka_unit_test(another_file_in_its_place_is_refused),
        cmocka_unit_test(another_comparator_is_refused),
        cmocka_unit_test(check_finds_what_checksums_cannot),
        cmocka_unit_test(failing_reads_are_statuses),
        cmocka_unit_test(failing_allocations_are_statuses),
        cmocka_unit_test(obsolete_file_goes_with_the_last_reference),
        cmocka_unit_test(open_files_are_bounded),
        cmocka_unit_test(idle_file_is_closed_before_another_is_opened),
        cmocka_unit_test(lack_of_descriptors_closes_idle_files),
        cmocka_unit_test(loads_are_shared_by_threads),
        cmocka_unit_test(threads_read_true_values_under_constant_eviction),
        cmocka_unit_test(any_order_of_loads_ends_and_reads_the_truth),
    };
    return cmocka_run_group_tests_name("segment", tests, NULL, NULL);
}
