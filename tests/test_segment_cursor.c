/* SPDX-License-Identifier: MIT */
/* test_segment_cursor.c -- cursors over runs of segments, in both directions, against a sorted array. */
#include "segment_fixture.h"

#include "base/assert.h"
#include "core/merge.h"

#include <errno.h>
#include <pthread.h>

enum { RUN_MAX = 8 };

/* A run: entries cut into segments between keys. */
typedef struct test_run {
    test_store store;
    test_entries entries;
    bl_comparator *comparator;
    bl_segment *segments[RUN_MAX];
    uint32_t count;
} test_run;

static void run_build(test_run *run, uint32_t count, const test_segment_options *options)
{
    size_t first = 0;
    run->comparator = options->comparator;
    run->count = 0;
    for (uint32_t i = 0; i < count && first < run->entries.count; i++) {
        size_t end = i + 1 == count ? run->entries.count : first + (run->entries.count - first) / (count - i);
        if (end == first)
            end++;
        while (end < run->entries.count &&
               bl_slice_equal(test_key(&run->entries.list[end - 1]), test_key(&run->entries.list[end])))
            end++; /* a key's versions stay in one segment */
        run->segments[run->count++] = test_segment_build(&run->store, i + 1, &run->entries, first, end,
                                                         options);
        first = end;
    }
}

static void run_end(test_run *run)
{
    for (uint32_t i = 0; i < run->count; i++)
        bl_segment_unref(run->segments[i]);
    test_entries_free(&run->entries);
    test_store_end(&run->store);
}

static bl_cursor *run_cursor(test_run *run, bool fill_cache, bool read_ahead, uint64_t *bytes_read)
{
    bl_segment_cursor_options options = { .fill_cache = fill_cache,
                                          .read_ahead = read_ahead,
                                          .bytes_read = bytes_read };
    bl_cursor *cursor;
    assert_ok(bl_segment_cursor(run->segments, run->count, &options, &cursor, NULL), NULL);
    assert_false(cursor->valid);
    return cursor;
}

/* The cursor stands on entry `at` of the array; `at` outside of it: nowhere, without an error. */
static void assert_at(const bl_cursor *cursor, const test_entries *entries, size_t at)
{
    assert_status(BOLE_OK, cursor->status, cursor->error);
    assert_int_equal(cursor->valid, at < entries->count);
    if (at >= entries->count)
        return;
    const test_entry *entry = &entries->list[at];
    assert_true(bl_slice_equal(cursor->key, test_key(entry)));
    assert_int_equal(cursor->tag, entry->tag);
    assert_true(bl_slice_equal(cursor->value, test_value(entry)));
    uint64_t head = cursor->heads_off ? 0 : bl_head64(entry->key, entry->key_bytes, cursor->head_offset);
    assert_int_equal(cursor->head, head);
}

static void fill_numbers(test_entries *entries, size_t keys, size_t value_bytes)
{
    char key[32], *value = calloc(1, value_bytes + 32);
    assert_non_null(value);
    for (size_t i = 0; i < keys; i++) {
        int bytes = snprintf(key, sizeof key, "%016zu", i);
        snprintf(value, value_bytes + 32, "value of %zu", i);
        test_entries_add(entries, bl_slice(key, (size_t)bytes), BL_TAG(100 + i, BL_KIND_PUT),
                         bl_slice(value, value_bytes));
    }
    free(value);
}

/* ---- Against the model ---- */

static void walk_both_ways(test_run *run, bl_cursor *cursor)
{
    size_t count = run->entries.count;
    cursor->ops->seek_first(cursor);
    for (size_t i = 0; i < count; i++, bl_cursor_next(cursor))
        assert_at(cursor, &run->entries, i);
    assert_at(cursor, &run->entries, SIZE_MAX);
    cursor->ops->seek_last(cursor);
    for (size_t i = count; i-- > 0; bl_cursor_prev(cursor))
        assert_at(cursor, &run->entries, i);
    assert_at(cursor, &run->entries, SIZE_MAX);
}

static void seek_in_steps(bl_cursor *cursor, bole_slice key, bool before)
{
    for (uint32_t step = 0; !cursor->ops->seek_step(cursor, key, before, step); step++)
        assert_true(step < 8);
}

/* Seeks to keys there and not there, then some steps forward and back, changing direction anywhere. */
static void wander(test_run *run, bl_cursor *cursor, bl_prng *prng, unsigned family, uint64_t spread,
                   unsigned rounds)
{
    static test_key_bytes random;
    const test_entries *entries = &run->entries;
    for (unsigned i = 0; i < rounds; i++) {
        bole_slice key = test_key(&entries->list[bl_prng_below(prng, entries->count)]);
        if (bl_prng_chance(prng, 2)) {
            test_random_key(prng, family, spread, &random);
            key = bl_slice(random.data, random.size);
        }
        size_t at = test_entries_lower_bound(entries, run->comparator, key);
        bool before = bl_prng_chance(prng, 2);
        at -= before; /* before the first: SIZE_MAX, nowhere */
        if (bl_prng_chance(prng, 2))
            seek_in_steps(cursor, key, before);
        else
            (before ? cursor->ops->seek_before : cursor->ops->seek)(cursor, key);
        assert_at(cursor, entries, at);
        uint64_t turn = 1 + bl_prng_below(prng, 30);
        bool forward = bl_prng_chance(prng, 2);
        for (unsigned step = 0; step < 60 && cursor->valid; step++) {
            if (bl_prng_chance(prng, turn))
                forward = !forward;
            if (forward)
                bl_cursor_next(cursor);
            else
                bl_cursor_prev(cursor);
            at += forward ? 1 : SIZE_MAX;
            assert_at(cursor, entries, at);
        }
    }
}

/* Goal: all entries in order, both ways, and from any seek with turns anywhere. Method: families of keys, one
 * or many segments, compression, a user's order, cached or not, read-ahead or not, with memory and without.
 * */
static void cursors_agree_with_the_model(void **state)
{
    (void)state;
    bl_prng prng;
    bl_prng_init(&prng, test_seed(1));
    for (unsigned round = 0; round < 4 * TEST_FAMILIES; round++) {
        unsigned family = round % TEST_FAMILIES, form = round / TEST_FAMILIES;
        const uint64_t limits[] = { TEST_MEMORY_AMPLE, 300 * 1024, 40 * 1024, 0 };
        test_run run = { .count = 0 };
        test_store_begin(&run.store, limits[(round + form) % 4]);
        test_entries_shape shape = { .family = family,
                                     .keys = form == 1 ? 60 : 200,
                                     .spread = 400,
                                     .versions_max = form == 1 ? 80 : 3,
                                     .value_bytes_max = form == 2 ? 5000 : 80 };
        test_segment_options options = { .comparator = form == 3 ? &test_backward : NULL,
                                         .compression = (bl_compression_kind)(round % 3),
                                         .warm = round % 4 == 2 };
        test_entries_fill(&prng, &shape, options.comparator, &run.entries);
        run_build(&run, 1 + (uint32_t)bl_prng_below(&prng, RUN_MAX), &options);
        for (unsigned how = 0; how < 4; how++) {
            bl_cursor *cursor = run_cursor(&run, how % 2 == 1, how >= 2, NULL);
            walk_both_ways(&run, cursor);
            wander(&run, cursor, &prng, family, shape.spread, 25);
            bl_cursor_close(cursor);
        }
        run_end(&run);
    }
}

/* Goal: blocks of one entry, and keys and values as large as they come, are walked as others are. */
static void large_entries_are_walked(void **state)
{
    (void)state;
    for (int kind = 0; kind < 3; kind++) {
        test_run run = { .count = 0 };
        test_store_begin(&run.store, kind == 0 ? 512 * 1024 : TEST_MEMORY_AMPLE);
        size_t sizes[] = { 10, 300000, 0, 65536, 1200000, 5, 70000, 4096, 1 };
        uint8_t *bytes = calloc(1, 1200000);
        assert_non_null(bytes);
        for (size_t i = 0; i < 27; i++) {
            size_t key_bytes = i % 5 == 4 ? BOLE_KEY_BYTES_MAX : 3;
            uint8_t *key = malloc(key_bytes);
            assert_non_null(key);
            memset(key, 'k', key_bytes);
            snprintf((char *)key, 3, "%02zu", i);
            memset(bytes, (int)i, sizes[i % 9]);
            test_entries_add(&run.entries, bl_slice(key, key_bytes), BL_TAG(5 + i, BL_KIND_PUT),
                             bl_slice(bytes, sizes[i % 9]));
            free(key);
        }
        test_segment_options options = { .compression = (bl_compression_kind)kind };
        run_build(&run, 2, &options);
        for (int how = 0; how < 4; how++) {
            bl_cursor *cursor = run_cursor(&run, how % 2 == 1, how >= 2, NULL);
            walk_both_ways(&run, cursor);
            bl_cursor_close(cursor);
        }
        free(bytes);
        run_end(&run);
    }
}

static void empty_run_has_no_entries(void **state)
{
    (void)state;
    test_run run = { .count = 0 };
    test_store_begin(&run.store, TEST_MEMORY_AMPLE);
    bl_cursor *cursor = run_cursor(&run, false, true, NULL);
    cursor->ops->seek_first(cursor);
    assert_at(cursor, &run.entries, 0);
    cursor->ops->seek_last(cursor);
    assert_at(cursor, &run.entries, 0);
    seek_in_steps(cursor, bl_slice("x", 1), false);
    assert_at(cursor, &run.entries, 0);
    cursor->ops->seek(cursor, bl_slice("x", 1));
    assert_at(cursor, &run.entries, 0);
    cursor->ops->seek_before(cursor, bl_slice("x", 1));
    assert_at(cursor, &run.entries, 0);
    bl_cursor_close(cursor);
    run_end(&run);
}

/* Goal: runs of segments merge into the sorted whole. Method: three runs whose keys interleave. */
static void merged_runs_give_the_sorted_whole(void **state)
{
    (void)state;
    bl_prng prng;
    bl_prng_init(&prng, test_seed(4));
    test_run run = { .count = 0 };
    test_store_begin(&run.store, 400 * 1024);
    test_entries parts[3] = { { NULL, 0, 0 } };
    bl_segment *segments[3];
    bl_cursor *cursors[3];
    for (unsigned i = 0; i < 3; i++) {
        test_entries_shape shape = {
            .family = 2, .keys = 800, .spread = 3000, .versions_max = 2, .value_bytes_max = 100
        };
        test_entries_fill(&prng, &shape, NULL, &parts[i]);
        for (size_t j = 0; j < parts[i].count; j++) {
            test_entry *entry = &parts[i].list[j];
            entry->tag = BL_TAG(bl_tag_sequence(entry->tag) * 3 + i,
                                bl_tag_kind(entry->tag)); /* all differ */
            test_entries_add(&run.entries, test_key(entry), entry->tag, test_value(entry));
        }
        test_segment_options options = { .compression = i == 1 ? BL_COMPRESSED_LZ4 : BL_COMPRESSED_NONE };
        segments[i] = test_segment_build(&run.store, i + 1, &parts[i], 0, parts[i].count, &options);
        bl_segment_cursor_options cursor_options = { .read_ahead = true };
        assert_ok(bl_segment_cursor(&segments[i], 1, &cursor_options, &cursors[i], NULL), NULL);
    }
    test_entries_sort(&run.entries, NULL);
    bl_merge merge;
    assert_ok(bl_merge_init(&merge, cursors, 3, NULL, 0), NULL);
    bl_merge_seek_first(&merge);
    for (size_t i = 0; i < run.entries.count; i++, bl_merge_next(&merge)) {
        assert_non_null(merge.current);
        assert_at(merge.current, &run.entries, i);
    }
    assert_null(merge.current);
    assert_ok(merge.status, merge.error);
    bl_merge_deinit(&merge);
    for (int i = 0; i < 3; i++) {
        bl_segment_unref(segments[i]);
        test_entries_free(&parts[i]);
    }
    run_end(&run);
}

/* How far the entries of the current window come before `limit`, counted one by one from the current one on. */
static uint32_t below(const test_entries *entries, size_t at, uint32_t index, uint32_t count,
                      bole_slice limit)
{
    uint32_t end = index;
    while (end < count && bl_slice_compare(test_key(&entries->list[at + (end - index)]), limit) < 0)
        end++;
    return end;
}

static size_t place_in(const test_entries *entries, const bl_cursor *cursor)
{
    for (size_t i = test_entries_lower_bound(entries, NULL, cursor->key); i < entries->count; i++)
        if (entries->list[i].tag == cursor->tag)
            return i;
    fail_msg("an entry of no part");
    return 0;
}

/* Goal: a stretch ends where another cursor has something, at the bound, or with the window, and stepping through it
 * shows what it holds. Method: two runs and one of puts without sequences, of all families of keys (in some most heads
 * are equal); each stretch is counted out, with and without a bound, and some of it is stepped through. */
static void a_stretch_ends_where_another_run_has_something(void **state)
{
    (void)state;
    enum { PARTS = 3 };
    bl_prng prng;
    bl_prng_init(&prng, test_seed(11));
    static test_key_bytes bound;
    size_t longest = 0, bounded = 0, walks = 0;
    for (unsigned round = 0; round < 4 * TEST_FAMILIES; round++) {
        test_run run = { .count = 0 };
        test_store_begin(&run.store, TEST_MEMORY_AMPLE);
        test_entries parts[PARTS] = { { NULL, 0, 0 } };
        bl_segment *segments[PARTS];
        bl_cursor *cursors[PARTS];
        for (unsigned i = 0; i < PARTS; i++) {
            test_entries_shape shape = { .family = round % TEST_FAMILIES,
                                         .keys = i == 2 ? 1200 : 60,
                                         .spread = 3000,
                                         .versions_max = 2,
                                         .value_bytes_max = bl_prng_below(&prng, 60),
                                         .same_values = bl_prng_chance(&prng, 2),
                                         .zero_sequences = i == 2 };
            test_entries_fill(&prng, &shape, NULL, &parts[i]);
            for (size_t j = 0; j < parts[i].count; j++) {
                test_entry *entry = &parts[i].list[j];
                if (i != 2)
                    entry->tag = BL_TAG(bl_tag_sequence(entry->tag) * 2 + i + 1, bl_tag_kind(entry->tag));
                test_entries_add(&run.entries, test_key(entry), entry->tag, test_value(entry));
            }
            test_segment_options options = { .compression = BL_COMPRESSED_NONE };
            segments[i] = test_segment_build(&run.store, i + 1, &parts[i], 0, parts[i].count, &options);
            bl_segment_cursor_options cursor_options = { .read_ahead = true };
            assert_ok(bl_segment_cursor(&segments[i], 1, &cursor_options, &cursors[i], NULL), NULL);
        }
        test_entries_sort(&run.entries, NULL);
        bl_merge merge;
        assert_ok(bl_merge_init(&merge, cursors, PARTS, NULL, 0), NULL);
        bl_merge_seek_first(&merge);
        for (size_t at = 0; at < run.entries.count; at++, bl_merge_next(&merge)) {
            bl_cursor *current = merge.current;
            assert_non_null(current);
            assert_at(current, &run.entries, at);
            unsigned part = 0;
            while (merge.cursors[part] != current)
                part++;
            size_t mine = place_in(&parts[part], current);
            uint32_t expected = current->count;
            for (unsigned i = 0; i < PARTS; i++) {
                if (i == part || !merge.cursors[i]->valid)
                    continue;
                uint32_t end = below(&parts[part], mine, current->index, current->count,
                                     merge.cursors[i]->key);
                expected = end < expected ? end : expected;
            }
            test_random_key(&prng, round % TEST_FAMILIES, 3000, &bound);
            bole_slice upper = bl_slice(bound.data, bound.size);
            if (bl_prng_chance(&prng, 2) && run.entries.count - at > 40)
                upper = test_key(&run.entries.list[at + 1 + bl_prng_below(&prng, 30)]);
            uint32_t end = bl_merge_stretch_end(&merge, NULL);
            if (expected == current->index) { /* another version of the key stands elsewhere */
                assert_true(end <= current->index);
                continue;
            }
            assert_int_equal(expected, end);
            if (bl_slice_compare(current->key, upper) < 0) {
                uint32_t cut = below(&parts[part], mine, current->index, current->count, upper);
                bounded += cut < expected;
                assert_int_equal(cut < expected ? cut : expected, bl_merge_stretch_end(&merge, &upper));
            }
            longest = end - current->index > longest ? end - current->index : longest;
            uint32_t steps = (uint32_t)bl_prng_below(&prng, end - current->index);
            bl_cursor_walk walk = { .left = 0 };
            bool walked = bl_cursor_walk_begin(current, steps, &walk);
            for (; steps > 0; steps--) {
                if (walked) {
                    current->value.data = bl_cursor_walk_step(&walk);
                } else {
                    current->index++;
                    bl_cursor_decode_entry(current);
                }
                at++;
                assert_true(bl_slice_equal(current->key, test_key(&run.entries.list[at])));
                assert_true(bl_slice_equal(current->value, test_value(&run.entries.list[at])));
                assert_true(current->tag == run.entries.list[at].tag);
            }
            if (walked)
                walks += bl_cursor_walk_end(current, &walk) != 0;
        }
        assert_null(merge.current);
        assert_ok(merge.status, merge.error);
        bl_merge_deinit(&merge);
        for (int i = 0; i < PARTS; i++) {
            bl_segment_unref(segments[i]);
            test_entries_free(&parts[i]);
        }
        run_end(&run);
    }
    print_message("the longest stretch: %zu entries; %zu ended at a bound; %zu walks\n", longest, bounded,
                  walks);
    assert_true(longest > 10 && bounded > 10 && walks > 10);
}

/* Goal: without the comparator a cursor walks, and refuses to seek. */
static void unknown_order_is_walked_and_not_searched(void **state)
{
    (void)state;
    test_run run = { .count = 0 };
    test_store_begin(&run.store, TEST_MEMORY_AMPLE);
    fill_numbers(&run.entries, 500, 50);
    test_entries_sort(&run.entries, &test_backward);
    test_segment_options options = { .comparator = &test_backward };
    run_build(&run, 1, &options);
    bl_segment *known = run.segments[0];
    assert_ok(bl_segment_create_handle(&run.store.environment, bl_segment_meta_of(known), NULL,
                                       &run.segments[0], NULL),
              NULL);
    bl_cursor *cursor = run_cursor(&run, false, true, NULL);
    const char *keys[] = { "0000000000000005", "zzz", "" };
    for (int i = 0; i < 3; i++) {
        bole_slice key = bl_slice(keys[i], strlen(keys[i]));
        seek_in_steps(cursor, key, false);
        assert_false(cursor->valid);
        assert_status(BOLE_COMPARATOR, cursor->status, cursor->error);
        cursor->ops->seek(cursor, key);
        assert_false(cursor->valid);
        assert_status(BOLE_COMPARATOR, cursor->status, cursor->error);
        cursor->ops->seek_before(cursor, key);
        assert_status(BOLE_COMPARATOR, cursor->status, cursor->error);
    }
    walk_both_ways(&run, cursor);
    assert_true(cursor->heads_off);
    bl_cursor_close(cursor);
    bl_segment_unref(known);
    run_end(&run);
}

/* ---- The cache ---- */

static uint64_t blocks_of(const test_run *run)
{
    uint64_t blocks = 0;
    for (uint32_t i = 0; i < run->count; i++)
        blocks += bl_segment_meta_of(run->segments[i])->blocks;
    return blocks;
}

static uint64_t cached_blocks_of(test_run *run)
{
    uint64_t blocks = 0;
    for (uint32_t i = 0; i < run->count; i++) {
        bl_segment_shape shape;
        assert_ok(bl_segment_shape_read(run->segments[i], &shape, NULL), NULL);
        blocks += shape.cached_blocks;
    }
    return blocks;
}

static void begin_numbers(test_run *run, uint64_t limit, size_t keys, uint32_t segments,
                          const test_segment_options *options)
{
    *run = (test_run){ .count = 0 };
    test_store_begin(&run->store, limit);
    fill_numbers(&run->entries, keys, 100);
    run_build(run, segments, options);
}

/* Goal: a scan admits nothing to the cache, and with fill_cache everything, once. */
static void scan_admits_nothing_unless_it_is_told_to(void **state)
{
    (void)state;
    test_segment_options options = { .comparator = NULL };
    test_run run;
    begin_numbers(&run, TEST_MEMORY_AMPLE, 3000, 2, &options);
    uint64_t bytes = 0;
    bl_cursor *cursor = run_cursor(&run, false, true, &bytes);
    walk_both_ways(&run, cursor);
    bl_cursor_close(cursor);
    assert_int_equal(cached_blocks_of(&run), 0);
    assert_int_equal(bl_memory_budget_used(&run.store.budget, BL_MEMORY_CACHE), 0);
    assert_int_equal(bl_memory_budget_used(&run.store.budget, BL_MEMORY_WORK), 0);
    assert_true(bytes >= 3000 * 100);
    bytes = 0;
    cursor = run_cursor(&run, true, true, &bytes);
    walk_both_ways(&run, cursor);
    bl_cursor_close(cursor);
    assert_true(bytes >= 3000 * 100 && bytes < 2 * 3000 * 100); /* each block once */
    assert_int_equal(cached_blocks_of(&run), blocks_of(&run));
    bl_frame_cache_counters counters;
    bl_frame_cache_counters_read(run.store.cache, &counters);
    assert_int_equal(counters.misses, blocks_of(&run));
    bytes = 0;
    cursor = run_cursor(&run, false, true, &bytes);
    walk_both_ways(&run, cursor); /* from frames only */
    bl_cursor_close(cursor);
    assert_int_equal(bytes, 0);
    run_end(&run);
}

/* Goal: what a scan reads is not marked as wanted: the next eviction takes it. */
static void scan_does_not_mark_frames(void **state)
{
    (void)state;
    test_segment_options options = { .warm = true };
    test_run run;
    begin_numbers(&run, TEST_MEMORY_AMPLE, 2000, 1, &options);
    bole_slice wanted = test_key(&run.entries.list[700]);
    bl_lookup lookup = test_lookup(run.segments[0], wanted, BL_SEQUENCE_MAX);
    bl_found found;
    bl_epoch_enter();
    assert_int_equal(bl_segment_find(run.segments[0], &lookup, &found), BL_FIND_FOUND);
    bl_epoch_leave();
    bl_cursor *cursor = run_cursor(&run, false, true, NULL);
    walk_both_ways(&run, cursor);
    bl_cursor_close(cursor);
    bl_memory_budget_limit(&run.store.budget,
                           bl_memory_budget_total(&run.store.budget) - (blocks_of(&run) - 1) * BL_PAGE_BYTES,
                           0);
    bl_frame_cache_trim(run.store.cache);
    assert_int_equal(cached_blocks_of(&run), 1);
    bl_epoch_enter();
    assert_int_equal(bl_segment_find(run.segments[0], &lookup, &found), BL_FIND_FOUND);
    bl_epoch_leave();
    run_end(&run);
}

/* Goal: from the third block on a sequential scan reads 256 KiB at a time, in both directions, and a seek
 * does not. */
static void sequential_scan_reads_ahead(void **state)
{
    (void)state;
    for (int kind = 0; kind < 2; kind++) {
        test_segment_options options = { .compression = (bl_compression_kind)kind };
        test_run run;
        begin_numbers(&run, TEST_MEMORY_AMPLE, 20000, 1, &options);
        uint64_t stored = bl_segment_meta_of(run.segments[0])->file_bytes;
        uint64_t bytes = 0;
        bl_cursor *cursor = run_cursor(&run, false, true, &bytes);
        cursor->ops->seek_first(cursor); /* loads the unit too */
        for (int direction = 0; direction < 2; direction++) {
            uint64_t calls = run.store.plan.calls;
            bytes = 0;
            size_t steps = 0;
            for (; cursor->valid; steps++)
                if (direction == 0)
                    bl_cursor_next(cursor);
                else
                    bl_cursor_prev(cursor);
            assert_int_equal(steps, run.entries.count - (size_t)(direction == 1));
            assert_true(bytes <= stored + 8192);
            assert_true(run.store.plan.calls - calls <= stored / (256 * 1024) + 6);
            assert_int_equal(bl_memory_budget_used(&run.store.budget, BL_MEMORY_WORK) > 256 * 1024, true);
            cursor->ops->seek_last(cursor);
            bl_cursor_prev(cursor);
        }
        uint64_t calls = run.store.plan.calls;
        for (size_t i = 0; i < 10; i++) {
            cursor->ops->seek(cursor, test_key(&run.entries.list[i * 2000]));
            assert_true(cursor->valid);
        }
        assert_true(run.store.plan.calls - calls <= 10);
        bl_cursor_close(cursor);
        run_end(&run);
    }
}

/* Goal: the block that a cursor shows stays while everything else is evicted; and it walks on afterwards. */
static void shown_block_survives_eviction(void **state)
{
    (void)state;
    test_segment_options options = { .warm = true };
    test_run run;
    begin_numbers(&run, TEST_MEMORY_AMPLE, 2000, 2, &options);
    bl_cursor *cursor = run_cursor(&run, false, true, NULL);
    cursor->ops->seek(cursor, test_key(&run.entries.list[700]));
    bl_memory_budget_limit(&run.store.budget, 0, 0);
    bl_frame_cache_trim(run.store.cache);
    assert_int_equal(bl_memory_budget_used(&run.store.budget, BL_MEMORY_CACHE), BL_PAGE_BYTES); /* pinned */
    assert_at(cursor, &run.entries, 700);
    for (size_t i = 700; i < run.entries.count; i++, bl_cursor_next(cursor))
        assert_at(cursor, &run.entries, i);
    assert_at(cursor, &run.entries, SIZE_MAX);
    bl_frame_cache_trim(run.store.cache);
    assert_int_equal(bl_memory_budget_used(&run.store.budget, BL_MEMORY_CACHE), 0);
    bl_cursor_close(cursor);
    run_end(&run);
}

/* ---- Damage and faults ---- */

/* Goal: damage in the middle stops a scan with file and offset, and is never taken for the end; before and
 * behind it the entries are the true ones. */
static void damage_is_an_error_and_not_the_end(void **state)
{
    (void)state;
    for (int how = 0; how < 4; how++) {
        test_segment_options options = { .comparator = NULL };
        test_run run;
        begin_numbers(&run, TEST_MEMORY_AMPLE, 2000, 1, &options);
        bole_file *file;
        bole_vfs *disk = run.store.disk;
        uint64_t offset = bl_segment_meta_of(run.segments[0])->file_bytes / 2;
        assert_ok(disk->open(disk, "store/000001.seg", BOLE_VFS_READ | BOLE_VFS_WRITE, &file, NULL), NULL);
        assert_ok(disk->write(file, offset, "damage", 6, NULL), NULL);
        assert_ok(disk->close(file, NULL), NULL);
        bl_cursor *cursor = run_cursor(&run, how % 2 == 1, how >= 2, NULL);
        size_t from_start = 0, from_end = 0;
        for (cursor->ops->seek_first(cursor); cursor->valid; bl_cursor_next(cursor))
            assert_at(cursor, &run.entries, from_start++);
        assert_status(BOLE_CORRUPT, cursor->status, cursor->error);
        assert_string_equal(cursor->error->file, "store/000001.seg");
        assert_in_range(offset, cursor->error->offset, cursor->error->offset + 4096);
        for (cursor->ops->seek_last(cursor); cursor->valid; bl_cursor_prev(cursor))
            assert_at(cursor, &run.entries, run.entries.count - 1 - from_end++);
        assert_status(BOLE_CORRUPT, cursor->status, cursor->error);
        assert_true(from_start > 500 && from_end > 500);
        assert_in_range(run.entries.count - from_start - from_end, 1, 60);  /* one block is missing */
        cursor->ops->seek(cursor, test_key(&run.entries.list[from_start])); /* into it */
        assert_status(BOLE_CORRUPT, cursor->status, cursor->error);
        cursor->ops->seek(cursor, test_key(&run.entries.list[run.entries.count - from_end]));
        assert_at(cursor, &run.entries, run.entries.count - from_end);
        bl_cursor_close(cursor);
        run_end(&run);
    }
}

/* Walk all; the status in the end. */
static bole_status walk_in(test_run *run, bool forward, bool fill_cache, bole_error *error)
{
    bl_segment_cursor_options options = { .fill_cache = fill_cache, .read_ahead = true };
    bl_cursor *cursor;
    bole_status status = bl_segment_cursor(run->segments, run->count, &options, &cursor, error);
    if (status != BOLE_OK)
        return status;
    size_t at = 0;
    forward ? cursor->ops->seek_first(cursor) : cursor->ops->seek_last(cursor);
    for (; cursor->valid; forward ? bl_cursor_next(cursor) : bl_cursor_prev(cursor))
        at++;
    status = cursor->status;
    if (status == BOLE_OK)
        assert_int_equal(at, run->entries.count);
    else
        *error = *cursor->error;
    bl_cursor_close(cursor);
    return status;
}

static bole_status walk(test_run *run, bool fill_cache, bole_error *error)
{
    return walk_in(run, true, fill_cache, error);
}

static void reopen(test_run *run)
{
    for (uint32_t i = 0; i < run->count; i++) {
        bl_segment *cold;
        assert_ok(bl_segment_create_handle(&run->store.environment, bl_segment_meta_of(run->segments[i]),
                                           NULL, &cold, NULL),
                  NULL);
        bl_segment_unref(run->segments[i]);
        run->segments[i] = cold;
    }
}

/* Goal: a read that fails, whichever, is told and never taken for the end. */
static void failing_reads_are_told(void **state)
{
    (void)state;
    test_segment_options options = { .compression = BL_COMPRESSED_LZ4 };
    test_run run;
    begin_numbers(&run, TEST_MEMORY_AMPLE, 3000, 2, &options);
    bole_error error = BOLE_ERROR_INIT;
    for (uint64_t at = 0;; at++) {
        reopen(&run);
        run.store.plan.at = run.store.plan.calls + at;
        run.store.plan.count = 1;
        run.store.plan.system_errno = EIO;
        uint64_t failed = run.store.plan.failed;
        bole_status status = walk(&run, at % 2 == 0, &error);
        run.store.plan.at = UINT64_MAX;
        if (run.store.plan.failed == failed) {
            assert_ok(status, &error);
            if (at % 2 == 0)
                break; /* more calls with fill_cache than without */
            continue;
        }
        assert_status(BOLE_IO, status, &error);
        assert_non_null(strstr(error.file, ".seg"));
    }
    run_end(&run);
}

/* Goal: backward the same; also of keys that need memory of their own, and without memory for it. */
static void failures_on_the_way_back_are_told(void **state)
{
    (void)state;
    static uint8_t key[9000];
    test_segment_options options = { .compression = BL_COMPRESSED_LZ4 };
    test_run run = { .count = 0 };
    uint64_t failed[2] = { 0 };
    test_store_begin(&run.store, TEST_MEMORY_AMPLE);
    fill_numbers(&run.entries, 200, 100);
    memset(key, 'z', sizeof key);
    for (uint8_t i = 0; i < 6; i++) {
        key[4000] = (uint8_t)('a' + i);
        test_entries_add(&run.entries, bl_slice(key, sizeof key - i), BL_TAG(1, BL_KIND_PUT),
                         BOLE_STR("far"));
    }
    run_build(&run, 3, &options);
    for (int way = 0; way < 2; way++)
        for (uint64_t at = 0, more = 1; more != 0; at++) {
            bole_error error = BOLE_ERROR_INIT;
            uint64_t before = run.store.plan.failed;
            reopen(&run);
            run.store.plan.at = way == 0 ? run.store.plan.calls + at : UINT64_MAX;
            run.store.plan.count = 1;
            run.store.plan.system_errno = EIO;
            bl_alloc_fail_at(way == 1 ? at : UINT64_MAX, 1);
            bole_status status = walk_in(&run, false, false, &error);
            more = way == 0 ? run.store.plan.failed - before : bl_alloc_calls() > at;
            bl_alloc_fail_at(UINT64_MAX, 0);
            run.store.plan.at = UINT64_MAX;
            assert_true(status == BOLE_OK || (more != 0 && status == (way == 0 ? BOLE_IO : BOLE_NO_MEMORY)));
            failed[way] += status != BOLE_OK;
        }
    assert_true(failed[0] > 6 && failed[1] > 6);
    run_end(&run);
}

/* Goal: an allocation that fails, whichever, is told or does not matter, and nothing leaks. */
static void failing_allocations_are_told(void **state)
{
    (void)state;
    test_segment_options options = { .compression = BL_COMPRESSED_LZ4 };
    test_run run;
    begin_numbers(&run, TEST_MEMORY_AMPLE, 2000, 2, &options);
    bole_error error = BOLE_ERROR_INIT;
    for (uint64_t at = 0;; at++) {
        reopen(&run);
        bl_alloc_fail_at(at, 1);
        bole_status status = walk(&run, at % 2 == 1, &error);
        bool reached = bl_alloc_calls() > at;
        bl_alloc_fail_at(UINT64_MAX, 0);
        if (!reached) {
            assert_ok(status, &error);
            if (at % 2 == 1)
                break;
            continue;
        }
        if (status != BOLE_OK)
            assert_status(BOLE_NO_MEMORY, status, &error);
    }
    run_end(&run);
}

/* ---- Threads ---- */

typedef struct walker {
    test_run *run;
    bool fill_cache;
} walker;

static void *walk_all(void *argument)
{
    walker *self = argument;
    bl_segment_cursor_options options = { .fill_cache = self->fill_cache, .read_ahead = true };
    for (int round = 0; round < 3; round++) {
        bl_cursor *cursor;
        if (bl_segment_cursor(self->run->segments, self->run->count, &options, &cursor, NULL) != BOLE_OK)
            abort();
        size_t at = 0;
        for (cursor->ops->seek_first(cursor); cursor->valid; bl_cursor_next(cursor), at++)
            if (!bl_slice_equal(cursor->key, test_key(&self->run->entries.list[at])) ||
                !bl_slice_equal(cursor->value, test_value(&self->run->entries.list[at])))
                abort();
        if (at != self->run->entries.count || cursor->status != BOLE_OK)
            abort();
        bl_cursor_close(cursor);
    }
    return NULL;
}

/* Goal: scans that fill a small cache and scans that do not, at once, all see the truth. */
static void threads_scan_true_entries_under_constant_eviction(void **state)
{
    (void)state;
    const uint64_t limits[] = { 64 * 1024, 420 * 1024 };
    for (int l = 0; l < 2; l++) {
        test_segment_options options = { .comparator = NULL };
        test_run run;
        begin_numbers(&run, limits[l], 2500, 3, &options);
        pthread_t threads[4];
        walker walkers[4];
        for (int i = 0; i < 4; i++) {
            walkers[i] = (walker){ .run = &run, .fill_cache = i % 2 == 0 };
            assert_int_equal(pthread_create(&threads[i], NULL, walk_all, &walkers[i]), 0);
        }
        for (int i = 0; i < 4; i++)
            pthread_join(threads[i], NULL);
        run_end(&run);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(cursors_agree_with_the_model),
        cmocka_unit_test(large_entries_are_walked),
        cmocka_unit_test(empty_run_has_no_entries),
        cmocka_unit_test(merged_runs_give_the_sorted_whole),
        cmocka_unit_test(a_stretch_ends_where_another_run_has_something),
        cmocka_unit_test(unknown_order_is_walked_and_not_searched),
        cmocka_unit_test(scan_admits_nothing_unless_it_is_told_to),
        cmocka_unit_test(scan_does_not_mark_frames),
        cmocka_unit_test(sequential_scan_reads_ahead),
        cmocka_unit_test(shown_block_survives_eviction),
        cmocka_unit_test(damage_is_an_error_and_not_the_end),
        cmocka_unit_test(failing_reads_are_told),
        cmocka_unit_test(failing_allocations_are_told),
        cmocka_unit_test(failures_on_the_way_back_are_told),
        cmocka_unit_test(threads_scan_true_entries_under_constant_eviction),
    };
    return cmocka_run_group_tests_name("segment_cursor", tests, NULL, NULL);
}
