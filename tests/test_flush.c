/* SPDX-License-Identifier: MIT */
/* test_flush.c -- a memtable becomes a run of level 0: nothing that somebody sees is lost, cuts fall where jobs need
 * them, and a failure leaves no trace. */
#include "compaction_world.h"

#include <errno.h>

#include "compaction/job_output.h"
#include "memory/memtable_state.h"

static const bl_run *newest_run(const world *w)
{
    assert_true(world_table(w)->levels[0].run_count > 0);
    return &world_table(w)->levels[0].runs[0];
}

static void write_all(world *w, uint32_t from, uint32_t to, bool tombstones)
{
    for (uint32_t key = from; key < to; key++)
        world_write_one(w, key, tombstones);
    w->visible = w->next_sequence;
}

/* Goal (FLUSH-1): after flushes of random writes under random snapshots every read is as written. */
static void every_read_survives_a_flush(void **state)
{
    (void)state;
    uint64_t seed = test_seed(1);
    for (uint64_t round = 0; round < 20; round++) {
        bl_prng prng;
        bl_prng_init(&prng, seed + round);
        world *w = world_open(seed + round, NULL);
        w->key_prefix = (uint32_t)bl_prng_below(&prng, 20);
        w->job.segment_bytes = (1 + bl_prng_below(&prng, 200)) << 10;
        for (int flush = 0; flush < 6; flush++) {
            uint64_t count = bl_prng_below(&prng, 600), deletes = 2 + bl_prng_below(&prng, 20);
            for (uint64_t i = 0; i < count; i++) {
                world_write_one(w, (uint32_t)bl_prng_below(&prng, WORLD_KEYS),
                                bl_prng_chance(&prng, deletes));
                if (bl_prng_chance(&prng, 5))
                    w->visible = w->next_sequence;
                if (bl_prng_chance(&prng, 100))
                    world_snapshot(w);
            }
            if (w->snapshot_count != 0 && bl_prng_chance(&prng, 2))
                world_drop_snapshot(w, (uint32_t)bl_prng_below(&prng, w->snapshot_count));
            world_flush(w);
            world_check(w);
        }
        world_close(w);
    }
}

/* Goal: versions that nobody sees are collapsed; runs are numbered by age. */
static void versions_that_nobody_sees_are_collapsed(void **state)
{
    (void)state;
    world *w = world_open(1, NULL);
    for (int i = 0; i < 10; i++)
        write_all(w, 5, 10, false);
    world_snapshot(w);
    write_all(w, 5, 10, false);
    write_all(w, 5, 10, false);
    world_flush(w);
    assert_int_equal(1, newest_run(w)->number);
    assert_int_equal(2 * 5, newest_run(w)->entries);
    write_all(w, 5, 6, false);
    world_flush(w);
    assert_int_equal(2, newest_run(w)->number);
    world_check(w);
    world_close(w);
}

/* Goal: a tombstone goes when no segment overlaps and no snapshot needs it; else it stays. */
static void tombstones_stay_while_they_hide_something(void **state)
{
    (void)state;
    world *w = world_open(1, NULL);
    write_all(w, 10, 20, false);
    write_all(w, 10, 20, true);
    world_flush(w); /* nothing below: neither puts nor tombstones */
    assert_int_equal(0, world_files(w));
    write_all(w, 100, 110, false);
    world_flush(w);
    write_all(w, 10, 20, true); /* beside the segment */
    world_flush(w);
    assert_int_equal(1, world_files(w));
    write_all(w, 95, 101, true); /* over it */
    world_flush(w);
    assert_int_equal(6, newest_run(w)->tombstones);
    write_all(w, 200, 210, false);
    world_snapshot(w);
    write_all(w, 200, 210, true); /* nothing below, but a snapshot */
    world_flush(w);
    assert_int_equal(10, newest_run(w)->tombstones);
    assert_int_equal(20, newest_run(w)->entries);
    world_check(w);
    world_close(w);
}

/* Goal: runs are cut at the same keys, so that level 0 falls into groups: the first by size, the others where it is
 * cut; small ones not at all. */
static void check_cuts(bl_comparator *comparator)
{
    bl_prng prng;
    bl_prng_init(&prng, test_seed(11));
    world *w = world_open(1, comparator);
    w->value_max = 2000;
    w->job.segment_bytes = 256 << 10;
    write_all(w, 1, WORLD_KEYS, false);
    world_flush(w);
    assert_in_range(newest_run(w)->count, 7, 12); /* pieces of an eighth of segment_bytes */
    uint32_t pieces = newest_run(w)->count;
    for (int flush = 0; flush < 4; flush++) {
        for (uint32_t key = 1; key < WORLD_KEYS; key++)
            if (!bl_prng_chance(&prng, 3)) /* others each time */
                world_write_one(w, key, false);
        w->visible = w->next_sequence;
        world_flush(w);
        assert_in_range(newest_run(w)->count, pieces - 1, pieces); /* the last one may have no key */
    }
    const bl_level *top = &world_table(w)->levels[0];
    for (uint32_t run = 0; run + 1 < top->run_count; run++)
        for (uint32_t i = 0; i < top->runs[run].count; i++)
            for (uint32_t j = 0; j < top->runs[run + 1].count; j++) {
                bool overlaps = bl_compare(comparator, top->runs[run].smallest[i],
                                           top->runs[run + 1].largest[j]) <= 0 &&
                                bl_compare(comparator, top->runs[run + 1].smallest[j],
                                           top->runs[run].largest[i]) <= 0;
                assert_true(i == j || !overlaps);
            }
    write_all(w, 1, 3, false);
    write_all(w, 290, 292, false);
    world_flush(w);
    assert_int_equal(1, newest_run(w)->count);
    world_check(w);
    world_close(w);
}

static int reverse_compare(void *context, bole_slice a, bole_slice b)
{
    (void)context;
    return bl_slice_compare(b, a);
}
static const bole_comparator reverse = { "test.reverse", NULL, reverse_compare };

static void runs_are_cut_at_the_same_keys(void **state)
{
    (void)state;
    check_cuts(NULL);
    check_cuts(&reverse);
}

/* Goal: with segments of few KiB a run is not cut to crumbs. */
static void small_segments_are_no_crumbs(void **state)
{
    (void)state;
    world *w = world_open(1, NULL);
    w->job.segment_bytes = 16 << 10;
    for (int flush = 0; flush < 3; flush++) {
        write_all(w, 1, 200, false);
        world_flush(w);
        assert_int_equal(1, newest_run(w)->count);
    }
    world_close(w);
}

/* Goal: a dropped table's tree is skipped, without harm to the others. */
static void a_dropped_table_is_skipped(void **state)
{
    (void)state;
    bole_error error = BOLE_ERROR_INIT;
    world *w = world_open(1, NULL);
    write_all(w, 1, 10, false);
    bl_memtable_tree *tree = bl_memtable_tree_for(w->memtable, 77, NULL);
    assert_non_null(tree);
    assert_ok(bl_memtable_reserve(w->memtable, bl_memtable_entry_bytes(1, 1), &error), &error);
    bl_memtable_insert(tree, BOLE_STR("x"), bl_hash("x", 1), BOLE_STR("y"), BL_TAG(5, BL_KIND_PUT));
    bl_memtable_tree *other = bl_memtable_tree_for(w->memtable, 0, NULL);
    assert_non_null(other);
    assert_ok(bl_memtable_reserve(w->memtable, bl_memtable_entry_bytes(1, 1), &error), &error);
    bl_memtable_insert(other, BOLE_STR("x"), bl_hash("x", 1), BOLE_STR("y"), BL_TAG(6, BL_KIND_PUT));
    world_look(w);
    bl_job_result result;
    assert_ok(bl_flush_run(&w->job, w->memtable, w->version, &result, &error), &error);
    assert_int_equal(10, result.entries_in);
    assert_int_equal(2, result.count);
    assert_int_equal(1, (result.metas[0].table == 0) + (result.metas[1].table == 0));
    for (uint32_t i = 0; i < result.count; i++) {
        assert_ok(bl_segment_check(result.handles[i], true, &error), &error);
        assert_true(result.metas[i].table != 77 && result.metas[i].level == 0 && result.metas[i].run == 1);
    }
    bl_job_result_discard(&result);
    world_close(w);
}

/* Goal: an empty memtable makes nothing. */
static void an_empty_memtable_makes_nothing(void **state)
{
    (void)state;
    bole_error error = BOLE_ERROR_INIT;
    world *w = world_open(1, NULL);
    assert_ok(bl_memtable_create(&w->budget, 1 << 20, &w->memtable, &error), &error);
    assert_non_null(bl_memtable_tree_for(w->memtable, WORLD_TABLE, NULL));
    bl_job_result result;
    assert_ok(bl_flush_run(&w->job, w->memtable, w->version, &result, &error), &error);
    assert_int_equal(0, result.count);
    bl_job_result_deinit(&result);
    world_close(w);
}

/* Goal: a bit that flips in memory fails the flush before anything is written: in a count, and in what an entry is. */
static void what_changed_in_memory_is_not_written(void **state)
{
    (void)state;
    bole_error error = BOLE_ERROR_INIT;
    world *w = world_open(1, NULL);
    bl_job_result result;
    write_all(w, 1, 20, false);
    world_look(w);
    bl_memtable_tree *tree = bl_memtable_tree_for(w->memtable, WORLD_TABLE, NULL);
    for (int bit = 0; bit < 8; bit++) {
        tree->versions ^= 1u << bit;
        assert_status(BOLE_CORRUPT, bl_flush_run(&w->job, w->memtable, w->version, &result, &error), &error);
        tree->versions ^= 1u << bit;
        assert_non_null(strstr(error.message, "showed 19, of which 19 were written and 0 dropped"));
        assert_null(result.metas);
        assert_int_equal(0, world_files(w));
    }
    world_flush(w);
    assert_int_equal(19, newest_run(w)->entries);
    world_check(w);
    uint32_t files = world_files(w);
    assert_ok(bl_memtable_create(&w->budget, 1 << 20, &w->memtable, &error), &error);
    tree = bl_memtable_tree_for(w->memtable, WORLD_TABLE, NULL);
    assert_non_null(tree);
    assert_ok(bl_memtable_reserve(w->memtable, bl_memtable_entry_bytes(1, 1), &error), &error);
    bl_memtable_insert(tree, BOLE_STR("x"), bl_hash("x", 1), BOLE_STR("y"),
                       BL_TAG(w->next_sequence, BL_KIND_PUT ^ 8));
    assert_status(BOLE_UNSUPPORTED, bl_flush_run(&w->job, w->memtable, w->version, &result, &error), &error);
    assert_non_null(strstr(error.message, "kind 9"));
    assert_null(result.metas);
    assert_int_equal(files, world_files(w));
    world_close(w);
}

/* A memtable over a first run, ready to be flushed into a few outputs, with values of `large` bytes and more apart. */
static world *failing_world(uint64_t seed, uint64_t large, uint64_t segment_bytes)
{
    world *w = world_open(seed, NULL);
    w->value_max = 300;
    w->large = large;
    write_all(w, 1, 100, false);
    world_flush(w);
    w->job.segment_bytes = segment_bytes;
    write_all(w, 1, 150, false);
    write_all(w, 1, 50, false);
    world_look(w);
    return w;
}

/* Goal (FLUSH-3): an I/O error at any call fails the flush with its status and without a trace; then it succeeds. */
static void an_io_error_at_any_call_leaves_no_trace(void **state)
{
    (void)state;
    world *w = failing_world(3, UINT64_MAX, 16 << 10);
    uint32_t files = world_files(w), failures = 0;
    for (uint64_t at = 0;; at++) {
        bole_error error = BOLE_ERROR_INIT;
        bl_job_result result;
        w->faults.at = w->faults.calls + at;
        w->faults.count = 1;
        w->faults.system_errno = at % 2 == 0 ? EIO : ENOSPC;
        w->faults.half = at % 3 == 0;
        w->faults.failed = 0;
        bole_status status = bl_flush_run(&w->job, w->memtable, w->version, &result, &error);
        w->faults.at = UINT64_MAX;
        if (w->faults.failed == 0) {
            assert_ok(status, &error);
            world_apply(w, &result, NULL);
            break;
        }
        if (status == BOLE_OK) { /* a call whose failure does no harm */
            bl_job_result_discard(&result);
        } else {
            assert_true(status == BOLE_IO || status == BOLE_NO_SPACE);
            assert_int_equal(status, error.status);
            assert_null(result.metas);
            failures++;
        }
        assert_int_equal(files, world_files(w));
    }
    print_message("[   SWEEP  ] %u calls failed\n", failures);
    assert_true(failures > 10);
    world_check(w);
    world_close(w);
}

/* The same for allocations, and no memory is lost. */
static void fail_allocations(uint64_t seed, uint64_t large, uint64_t segment_bytes)
{
    world *w = failing_world(seed, large, segment_bytes);
    uint32_t files = world_files(w), failures = 0;
    int64_t live = 0;
    /* At first none fails: the cache's own arrays are there then. */
    for (uint64_t at = UINT64_MAX;; at += at == UINT64_MAX ? 1 : TEST_STEP) {
        bole_error error = BOLE_ERROR_INIT;
        bl_job_result result;
        bl_alloc_fail_at(at, 1);
        bole_status status = bl_flush_run(&w->job, w->memtable, w->version, &result, &error);
        bool refused = at != UINT64_MAX && bl_alloc_calls() > at;
        bl_alloc_fail_at(UINT64_MAX, 0);
        if (status == BOLE_OK && !refused && at != UINT64_MAX) {
            world_apply(w, &result, NULL);
            break;
        }
        if (status == BOLE_OK) {
            bl_job_result_discard(&result);
        } else {
            assert_int_equal(BOLE_NO_MEMORY, status);
            assert_null(result.metas);
            failures++;
        }
        assert_int_equal(files, world_files(w));
        assert_ok(w->disk->sync_directory(w->disk, WORLD_DIRECTORY, &error),
                  &error); /* the disk keeps names till then */
        if (at == UINT64_MAX)
            live = bl_alloc_live();
        assert_int_equal(live, bl_alloc_live());
    }
    print_message("[   SWEEP  ] %u allocations failed\n", failures);
    assert_true(failures > 10);
    world_check(w);
    world_close(w);
}

static void no_memory_at_any_call_leaves_no_trace(void **state)
{
    (void)state;
    fail_allocations(4, UINT64_MAX, 16 << 10);
    fail_allocations(5, 50, 2 << 10); /* a value segment is the one for which the list of outputs grows */
}

/* Goal: a flush is stopped when it should stop, without a trace, and tells what went by. */
static void a_flush_stops_and_tells(void **state)
{
    (void)state;
    bole_error error = BOLE_ERROR_INIT;
    world *w = world_open(7, NULL);
    w->value_max = 4000;
    w->job.segment_bytes = 1 << 20;
    for (int i = 0; i < 3; i++)
        write_all(w, 1, WORLD_KEYS, false);
    world_look(w);
    bl_job_result result;
    w->stop_after = 0;
    assert_status(BOLE_CANCELLED, bl_flush_run(&w->job, w->memtable, w->version, &result, &error), &error);
    assert_int_equal(0, world_files(w));
    assert_in_range(w->progress_bytes, 1 << 20, (1 << 20) + 5000);
    w->stop_after = UINT32_MAX;
    world_flush(w);
    world_check(w);
    world_close(w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_read_survives_a_flush),
        cmocka_unit_test(versions_that_nobody_sees_are_collapsed),
        cmocka_unit_test(tombstones_stay_while_they_hide_something),
        cmocka_unit_test(runs_are_cut_at_the_same_keys),
        cmocka_unit_test(small_segments_are_no_crumbs),
        cmocka_unit_test(a_dropped_table_is_skipped),
        cmocka_unit_test(an_empty_memtable_makes_nothing),
        cmocka_unit_test(what_changed_in_memory_is_not_written),
        cmocka_unit_test(an_io_error_at_any_call_leaves_no_trace),
        cmocka_unit_test(no_memory_at_any_call_leaves_no_trace),
        cmocka_unit_test(a_flush_stops_and_tells),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
