/* SPDX-License-Identifier: MIT */
/* test_compaction.c -- the merge changes no read, at any position that somebody holds, and fails without a trace. */
#include "compaction_world.h"

#include <errno.h>

#include "compaction/version_filter.h"

static int reverse_compare(void *context, bole_slice a, bole_slice b)
{
    (void)context;
    return bl_slice_compare(b, a);
}
static const bole_comparator reverse = { "test.reverse", NULL, reverse_compare };

static const bl_pick_policy SMALL = { .level0_runs = 3,
                                      .memtable_bytes = 8 << 10,
                                      .segment_bytes = 16 << 10,
                                      .job_bytes = 16 << 10,
                                      .last_level_ratio = 2,
                                      .oldest_snapshot = BL_SEQUENCE_MAX };

static unsigned outputs_to[BOLE_LEVELS_MAX][2]; /* merges by output level, and whether in the bottom */

/* Run the pick and take what it made. */
static void do_pick(world *w, bl_pick *pick)
{
    bole_error error = BOLE_ERROR_INIT;
    bl_job_result result = { .metas = NULL };
    world_look(w);
    if (!pick->trivial_move) {
        outputs_to[pick->output_level][pick->bottom]++;
        assert_ok(bl_compaction_run(&w->job, w->version, pick, &result, &error), &error);
        assert_int_equal(result.entries_in, result.entries_out + result.entries_dropped);
        for (uint32_t i = 0; i < result.count; i++) {
            if (bl_segment_meta_holds_values(&result.metas[i]))
                continue;
            assert_int_equal(pick->output_level, result.metas[i].level);
            assert_int_equal(pick->output_level == 0 ? pick->runs[0].run : 0, result.metas[i].run);
        }
    }
    world_apply(w, &result, pick);
}

/* Do what is picked; false: there was nothing to do. */
static bool compact_once(world *w, bl_pick_policy policy, bool manual)
{
    bole_error error = BOLE_ERROR_INIT;
    bl_pick pick;
    bole_slice open = bl_slice(NULL, 0);
    policy.oldest_snapshot = w->snapshot_count == 0 ? BL_SEQUENCE_MAX : w->snapshots[0];
    if (manual)
        assert_ok(bl_compaction_pick_manual(w->version, &policy, WORLD_TABLE, open, open, &pick, &error),
                  &error);
    else
        assert_ok(bl_compaction_pick(w->version, &policy, NULL, NULL, &pick, &error), &error);
    bool something = pick.reason != BL_PICK_NOTHING;
    if (something)
        do_pick(w, &pick);
    bl_pick_deinit(&pick);
    return something;
}

/* Join some runs of level 0 that are neighbours in age. */
static void join_runs(world *w, bl_prng *prng)
{
    const bl_level *top = &world_table(w)->levels[0];
    if (top->run_count < 2)
        return;
    uint32_t first = (uint32_t)bl_prng_below(prng, top->run_count - 1);
    uint32_t count = 2 + (uint32_t)bl_prng_below(prng, top->run_count - first - 1);
    struct bl_pick_run runs[64];
    bl_pick pick = { .reason = BL_PICK_LEVEL0_RUNS, .table = WORLD_TABLE, .run_count = count, .runs = runs };
    for (uint32_t i = 0; i < count; i++)
        runs[i] = (struct bl_pick_run){ 0, top->runs[first + i].number, 0, top->runs[first + i].count };
    do_pick(w, &pick);
}

static void write_some(world *w, bl_prng *prng, uint32_t most)
{
    uint32_t count = 1 + (uint32_t)bl_prng_below(prng, most), deletes = bl_prng_chance(prng, 3) ? 2 : 10;
    uint32_t from = (uint32_t)bl_prng_below(prng, WORLD_KEYS),
             width = 1 + (uint32_t)bl_prng_below(prng, WORLD_KEYS);
    for (uint32_t i = 0; i < count && w->write_count < WORLD_WRITES; i++) {
        uint32_t key = (from + (uint32_t)bl_prng_below(prng, width)) % WORLD_KEYS;
        world_write_one(w, key, bl_prng_chance(prng, deletes));
        if (bl_prng_chance(prng, 4))
            w->visible = w->next_sequence;
        if (bl_prng_chance(prng, 60))
            world_snapshot(w);
    }
}

/* Goal (COM-1): whatever is written, flushed and merged, with whatever snapshots, every read at every snapshot, at
 * visible and above it stays. Method: random writes of several versions a key, random policies; the values tell which
 * write they are from. */
static void no_merge_changes_a_read(void **state)
{
    (void)state;
    uint64_t seed = test_seed(1);
    uint64_t moved = 0, removed = 0;
    uint64_t dropped_marks = bl_mark_count("bottom tombstone dropped");
    for (uint64_t round = 0; round < 24; round++) {
        bl_prng prng;
        bl_prng_init(&prng, seed + round);
        world *w = world_open(seed + round, bl_prng_chance(&prng, 4) ? &reverse : NULL);
        w->key_prefix = (uint32_t)bl_prng_below(&prng, 20);
        w->value_max = (uint32_t)bl_prng_below(&prng, 100);
        w->large = round % 4 == 3 ? UINT64_MAX : 8u << round % 4;
        w->job.compression_last = (bl_compression_kind)bl_prng_below(&prng, 3);
        w->job.segment_bytes = (4 + bl_prng_below(&prng, 30)) << 10;
        for (int step = 0; step < 40; step++) {
            bl_pick_policy policy = SMALL;
            policy.level0_runs = 1 + (uint32_t)bl_prng_below(&prng, 5);
            policy.memtable_bytes = bl_prng_chance(&prng, 2) ? 1 << 10
                                                             : 8 << 10; /* with or without a middle level */
            policy.last_level_ratio = 1 + (uint32_t)bl_prng_below(&prng, 2);
            policy.segment_bytes = w->job.segment_bytes;
            policy.idle = bl_prng_chance(&prng, 5);
            if (bl_prng_chance(&prng, 2)) {
                write_some(w, &prng, 250);
                world_flush(w);
            } else if (bl_prng_chance(&prng, 3) && w->snapshot_count != 0) {
                world_drop_snapshot(w, (uint32_t)bl_prng_below(&prng, w->snapshot_count));
            } else if (bl_prng_chance(&prng, 5)) {
                join_runs(w, &prng);
            } else {
                compact_once(w, policy, bl_prng_chance(&prng, 10));
            }
            if (step % 4 == 3)
                world_check(w);
        }
        w->visible = w->next_sequence;
        world_check(w);
        while (compact_once(w, SMALL, true))
            world_check(w);
        w->snapshot_count = 0;
        while (compact_once(w, SMALL, true))
            ;
        world_check(w);
        world_view *view = world_read(w); /* down to one version a key */
        for (uint32_t key = 0; key < WORLD_KEYS; key++)
            assert_true(view->counts[key] <= 1 || world_table(w)->levels[BL_LEVEL_LAST].tombstones == 0);
        world_view_free(view);
        /* and of values to those that are wanted, or nearly */
        const bl_version_values *values = &world_table(w)->values;
        for (uint32_t i = 0; i < values->count; i++)
            assert_true(values->dead[i].bytes <= bl_segment_meta_of(values->segments[i])->raw_bytes / 8);
        moved += w->values_moved;
        removed += w->values_removed;
        world_close(w);
    }
    assert_true(moved > 10000 && removed > 50);
    print_message("[  VALUES  ] %" PRIu64 " bytes moved, %" PRIu64 " value segments removed\n", moved,
                  removed);
    print_message("[  MERGES  ] into level 0 %u, middle %u, last %u\n", outputs_to[0][0],
                  outputs_to[BL_LEVEL_MIDDLE][0] + outputs_to[BL_LEVEL_MIDDLE][1],
                  outputs_to[BL_LEVEL_LAST][1]);
    assert_true(outputs_to[0][0] > 5 && outputs_to[BL_LEVEL_MIDDLE][0] > 5 &&
                outputs_to[BL_LEVEL_LAST][1] > 50);
#ifdef BL_CHECKS
    assert_true(bl_mark_count("bottom tombstone dropped") > dropped_marks);
#else
    (void)dropped_marks;
#endif
}

/* ---- The version filter ---- */

/* Goal (VERSIONS-1), for small cases, up to 5 versions, up to 3 snapshots, any visible, bottom or not: what is kept
 * reads the same, and nothing is kept that nobody needs. */
static void the_filter_keeps_what_somebody_sees_and_no_more(void **state)
{
    (void)state;
    bl_prng prng;
    bl_prng_init(&prng, test_seed(9));
    for (int round = 0; round < 60000; round++) {
        uint64_t snapshots[3], sequences[5];
        bool tombstones[5], kept[5];
        uint64_t tags[5];
        uint32_t snapshot_count = 0, count = 0;
        for (uint64_t p = 0; p < 12; p++) {
            if (snapshot_count < 3 && bl_prng_chance(&prng, 5))
                snapshots[snapshot_count++] = p;
            if (count < 5 && bl_prng_chance(&prng, 3)) {
                tombstones[count] = bl_prng_chance(&prng, 2);
                sequences[count++] = p;
            }
        }
        uint64_t visible = bl_prng_below(&prng, 13);
        bool bottom = bl_prng_chance(&prng, 2), zero = bottom && bl_prng_chance(&prng, 2);
        bl_version_filter filter;
        bl_version_filter_init(&filter, snapshots, snapshot_count, visible, bottom, zero);
        for (uint32_t i = count; i-- > 0;) { /* newest first */
            tags[i] = BL_TAG(sequences[i], tombstones[i] ? BL_KIND_DELETE : BL_KIND_PUT);
            kept[i] = bl_version_filter_keeps(&filter, i == count - 1, &tags[i]);
        }
        bool needed[5] = { false };
        for (uint64_t p = 0; p < 14; p++) {
            bool held = p >= visible;
            for (uint32_t i = 0; i < snapshot_count; i++)
                held = held || (snapshots[i] == p && p < visible);
            int64_t expected = -1, got = -1, shown = -1;
            for (uint32_t i = 0; i < count; i++) {
                if (sequences[i] < p)
                    expected = i;
                if (kept[i] && bl_tag_sequence(tags[i]) < p)
                    got = i;
            }
            if (!held)
                continue;
            if (expected >= 0)
                needed[expected] = true;
            shown = expected >= 0 && tombstones[expected] ? -1 : expected;
            if (got >= 0 && tombstones[got])
                got = -1;
            assert_int_equal(shown, got);
            /* where older data lies below, a tombstone must still hide it */
            if (!bottom && expected >= 0)
                assert_true(kept[expected]);
        }
        for (uint32_t i = 0; i < count; i++)
            assert_true(!kept[i] || needed[i]);
    }
}

/* ---- Shapes of outputs ---- */

/* One run of `keys` keys a flush, `versions` writes each. */
static void fill_level0(world *w, uint32_t runs, uint32_t keys, uint32_t versions)
{
    for (uint32_t run = 0; run < runs; run++) {
        for (uint32_t version = 0; version < versions; version++)
            for (uint32_t key = 0; key < keys; key++)
                world_write_one(w, (key * 7 + run) % WORLD_KEYS, false);
        w->visible = w->next_sequence;
        world_flush(w);
    }
}

/* A pick of everything, into the last level. */
static void pick_all(world *w, bl_pick *pick)
{
    *pick = (bl_pick){ .reason = BL_PICK_MANUAL,
                       .table = WORLD_TABLE,
                       .output_level = BL_LEVEL_LAST,
                       .bottom = true,
                       .runs = bl_alloc_array(64, sizeof(pick->runs[0])) };
    assert_non_null(pick->runs);
    for (uint32_t level = 0; level < BOLE_LEVELS_MAX; level++) {
        for (uint32_t i = 0; i < world_table(w)->levels[level].run_count; i++) {
            const bl_run *run = &world_table(w)->levels[level].runs[i];
            pick->runs[pick->run_count++] = (struct bl_pick_run){ level, run->number, 0, run->count };
            pick->input_bytes += run->bytes;
        }
    }
}

/* Goal: outputs are cut at segment_bytes and come out alike; in the bottom no sequence is left, and the meta still
 * knows the range. */
static void outputs_are_alike_and_carry_no_sequences(void **state)
{
    (void)state;
    bole_error error = BOLE_ERROR_INIT;
    world *w = world_open(1, NULL);
    w->value_max = 400;
    w->job.segment_bytes = 64 << 10;
    fill_level0(w, 3, WORLD_KEYS, 1);
    w->job.segment_bytes = 16 << 10;
    bl_pick pick;
    bl_job_result result;
    pick_all(w, &pick);
    world_look(w);
    world_forget_frames(w);
    assert_ok(bl_compaction_run(&w->job, w->version, &pick, &result, &error), &error);
    assert_int_equal(3 * WORLD_KEYS, result.entries_in);
    assert_int_equal(WORLD_KEYS, result.entries_out);
    assert_int_equal(2 * WORLD_KEYS, result.entries_dropped);
    uint64_t raw = 0;
    for (uint32_t i = 0; i < world_table(w)->levels[0].run_count; i++)
        for (uint32_t j = 0; j < world_table(w)->levels[0].runs[i].count; j++)
            raw += bl_segment_meta_of(world_table(w)->levels[0].runs[i].segments[j])->raw_bytes;
    assert_in_range(result.bytes_read, raw, pick.input_bytes);
    assert_true(result.count >= 3);
    uint64_t written = 0;
    for (uint32_t i = 0; i < result.count; i++) {
        const bl_segment_meta *meta = &result.metas[i];
        assert_true(meta->sequences_zeroed);
        assert_true(meta->sequence_min > 0 && meta->sequence_max < w->visible);
        assert_in_range(meta->file_bytes, i + 1 < result.count ? 12 << 10 : 1, 24 << 10);
        written += meta->file_bytes;
    }
    assert_int_equal(written, result.bytes_written);
    world_apply(w, &result, &pick);
    bl_pick_deinit(&pick);
    world_view *view = world_read(w);
    for (uint32_t key = 0; key < WORLD_KEYS; key++) {
        assert_int_equal(1, view->counts[key]);
        assert_int_equal(BL_TAG(0, BL_KIND_PUT), view->seen[key][0].tag);
    }
    world_view_free(view);
    world_check(w);
    world_close(w);
}

/* Goal: with a snapshot between them, of two versions the older one loses its sequence and the newer keeps
 * it; above the
 * last level none does. */
static void sequences_go_where_no_snapshot_needs_them(void **state)
{
    (void)state;
    bole_error error = BOLE_ERROR_INIT;
    for (uint32_t level = BL_LEVEL_MIDDLE; level <= BL_LEVEL_LAST; level++) {
        world *w = world_open(1, NULL);
        fill_level0(w, 1, 50, 1);
        world_snapshot(w);
        fill_level0(w, 1, 50, 1);
        bl_pick pick;
        bl_job_result result;
        pick_all(w, &pick);
        pick.output_level = level;
        world_look(w);
        assert_ok(bl_compaction_run(&w->job, w->version, &pick, &result, &error), &error);
        assert_int_equal(100, result.entries_out);
        assert_false(result.metas[0].sequences_zeroed);
        world_apply(w, &result, &pick);
        bl_pick_deinit(&pick);
        world_view *view = world_read(w);
        for (uint32_t i = 0; i < 50; i++) {
            const world_seen *seen = view->seen[i * 7 % WORLD_KEYS];
            assert_int_equal(2, view->counts[i * 7 % WORLD_KEYS]);
            assert_int_equal(seen[0].written, bl_tag_sequence(seen[0].tag));
            assert_int_equal(level == BL_LEVEL_LAST ? 0 : seen[1].written, bl_tag_sequence(seen[1].tag));
        }
        world_view_free(view);
        world_check(w);
        world_close(w);
    }
}

/* Goal (COM-4): many versions of one key, all held by snapshots, far above segment_bytes, stay in one output. */
static void versions_of_a_key_stay_together(void **state)
{
    (void)state;
    bole_error error = BOLE_ERROR_INIT;
    world *w = world_open(1, NULL);
    w->value_max = 400;
    w->job.segment_bytes = 512;
    uint64_t held[400];
    for (uint32_t i = 0; i < 400; i++) {
        world_write_one(w, i < 399 ? 5 : 6, false);
        held[i] = w->visible = w->next_sequence;
        if (i % 100 == 50) {
            w->job.snapshots = held;
            w->job.snapshot_count = i + 1;
            w->job.visible = w->visible;
            bl_job_result result;
            assert_ok(bl_flush_run(&w->job, w->memtable, w->version, &result, &error), &error);
            bl_memtable_unref(w->memtable);
            w->memtable = NULL;
            world_apply(w, &result, NULL);
        }
    }
    bl_memtable_unref(w->memtable);
    w->memtable = NULL;
    w->write_count = 351;
    bl_pick pick;
    bl_job_result result;
    pick_all(w, &pick);
    assert_ok(bl_compaction_run(&w->job, w->version, &pick, &result, &error), &error);
    assert_int_equal(1, result.count);
    assert_int_equal(351, result.entries_out);
    assert_true(result.metas[0].file_bytes > 16 * w->job.segment_bytes);
    world_apply(w, &result, &pick);
    bl_pick_deinit(&pick);
    world_close(w);
}

/* Goal: boundaries of the last level survive a merge that does not need to move them. */
static void boundaries_of_the_last_level_stay(void **state)
{
    (void)state;
    bole_error error = BOLE_ERROR_INIT;
    world *w = world_open(1, NULL);
    w->value_max = 1500;
    w->job.segment_bytes = 32 << 10;
    fill_level0(w, 1, WORLD_KEYS, 1);
    bl_pick pick;
    bl_job_result result;
    for (int round = 0; round < 2; round++) {
        pick_all(w, &pick);
        world_look(w);
        assert_ok(bl_compaction_run(&w->job, w->version, &pick, &result, &error), &error);
        if (round == 1) {
            const bl_run *before = &world_table(w)->levels[BL_LEVEL_LAST].runs[0];
            uint32_t same = 0;
            for (uint32_t i = 0; i < before->count; i++)
                for (uint32_t j = 0; j < result.count; j++)
                    same += bl_slice_equal(before->smallest[i], result.metas[j].smallest);
            assert_true(before->count >= 4);
            assert_int_equal(before->count, same);
        }
        world_apply(w, &result, &pick);
        bl_pick_deinit(&pick);
        for (uint32_t key = 0; key < WORLD_KEYS && round == 0; key += 20)
            world_write_one(w, key, false);
        w->visible = w->next_sequence;
        world_flush(w);
    }
    world_check(w);
    world_close(w);
}

/* Goal: a last-level segment that grows far beyond segment_bytes becomes several outputs alike. */
static void a_segment_that_grows_is_split_alike(void **state)
{
    (void)state;
    bole_error error = BOLE_ERROR_INIT;
    world *w = world_open(1, NULL);
    w->value_max = 3000;
    w->job.segment_bytes = 64 << 10;
    bl_pick pick;
    bl_job_result result;
    for (uint32_t round = 0; round < 2; round++) {
        for (uint32_t key = 1; key < WORLD_KEYS; key++)
            if (key % 4 == 0 || round == 1)
                world_write_one(w, key, false);
        w->visible = w->next_sequence;
        world_flush(w);
        pick_all(w, &pick);
        world_look(w);
        assert_ok(bl_compaction_run(&w->job, w->version, &pick, &result, &error), &error);
        for (uint32_t i = 0; i < result.count; i++)
            if (i + 1 < result.count) /* no crumb before a boundary */
                assert_in_range(result.metas[i].file_bytes, 48 << 10, 80 << 10);
        assert_true(round == 0 ? result.count >= 2 : result.count >= 6);
        world_apply(w, &result, &pick);
        bl_pick_deinit(&pick);
    }
    world_check(w);
    world_close(w);
}

/* Goal: when every entry goes, no segment is made. */
static void a_merge_of_tombstones_makes_nothing(void **state)
{
    (void)state;
    bole_error error = BOLE_ERROR_INIT;
    world *w = world_open(1, NULL);
    fill_level0(w, 1, 50, 1);
    for (uint32_t key = 0; key < 50; key++)
        world_write_one(w, key * 7 % WORLD_KEYS, true);
    w->visible = w->next_sequence;
    world_flush(w);
    bl_pick pick;
    bl_job_result result;
    pick_all(w, &pick);
    world_look(w);
    assert_ok(bl_compaction_run(&w->job, w->version, &pick, &result, &error), &error);
    assert_int_equal(0, result.count);
    assert_int_equal(100, result.entries_dropped);
    world_apply(w, &result, &pick);
    bl_pick_deinit(&pick);
    world_check(w);
    assert_int_equal(0, world_files(w));
    world_close(w);
}

/* ---- Failures ---- */

/* A pick over all levels, prepared for a job that is going to fail, and all metadata of the inputs in memory. */
static world *failing_world(uint64_t seed, bl_pick *pick)
{
    world *w = world_open(seed, NULL);
    w->value_max = 300;
    w->job.segment_bytes = 128 << 10; /* few inputs */
    fill_level0(w, 2, 100, 1);
    while (compact_once(w, SMALL, true))
        ;
    fill_level0(w, 2, 120, 2);
    w->job.segment_bytes = 16 << 10; /* two outputs or three */
    pick_all(w, pick);
    world_look(w);
    world_check(w);
    return w;
}

/* Goal: an I/O error at any call, once or for good, fails the job with its status; nothing is left behind, every read
 * is as before, and the same job then succeeds (class: read error taken for the end of data). */
static void an_io_error_at_any_call_leaves_no_trace(void **state)
{
    (void)state;
    bl_pick pick;
    world *w = failing_world(3, &pick);
    uint32_t files = world_files(w), failures = 0;
    bole_status status = BOLE_IO;
    for (uint64_t at = 0; status != BOLE_OK; at++) {
        bole_error error = BOLE_ERROR_INIT;
        bl_job_result result;
        world_forget_frames(w); /* so that it reads the disk */
        w->faults.at = w->faults.calls + at;
        w->faults.count = 1;
        w->faults.system_errno = at % 2 == 0 ? EIO : ENOSPC;
        w->faults.half = at % 3 == 0;
        w->faults.failed = 0;
        status = bl_compaction_run(&w->job, w->version, &pick, &result, &error);
        w->faults.at = UINT64_MAX;
        if (status != BOLE_OK) {
            assert_true(w->faults.failed == 1);
            assert_true(status == BOLE_IO || status == BOLE_NO_SPACE);
            assert_int_equal(status, error.status);
            assert_null(result.metas);
            assert_int_equal(0, result.count);
            failures++;
        } else if (w->faults.failed == 0) {
            world_apply(w, &result, &pick);
            files = world_files(w);
        } else { /* a call whose failure does no harm, such as a hint */
            for (uint32_t i = 0; i < result.count; i++)
                bl_segment_mark_obsolete(result.handles[i]);
            bl_job_result_deinit(&result);
            status = BOLE_IO;
        }
        assert_int_equal(files, world_files(w));
    }
    print_message("[   SWEEP  ] %u calls failed\n", failures);
    assert_true(failures > 20);
    bl_pick_deinit(&pick);
    world_check(w);
    world_close(w);
}

/* Goal: the same for allocations, and no memory is lost. */
static void no_memory_at_any_call_leaves_no_trace(void **state)
{
    (void)state;
    bl_pick pick;
    world *w = failing_world(4, &pick);
    uint32_t files = world_files(w), failures = 0;
    bole_status status = BOLE_NO_MEMORY;
    int64_t live = 0;
    for (uint64_t at = UINT64_MAX; status != BOLE_OK; at++) {
        bole_error error = BOLE_ERROR_INIT;
        bl_job_result result;
        bl_alloc_fail_at(
            at, 1); /* the first time none fails: descriptors and the cache's own arrays are there then */
        status = bl_compaction_run(&w->job, w->version, &pick, &result, &error);
        bool refused = at == UINT64_MAX || bl_alloc_calls() > at;
        bl_alloc_fail_at(UINT64_MAX, 0);
        if (status == BOLE_OK) {
            for (uint32_t i = 0; i < result.count; i++)
                bl_segment_mark_obsolete(result.handles[i]);
            bl_job_result_deinit(&result);
            if (refused) /* it made do without */
                status = BOLE_NO_MEMORY;
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
    assert_true(failures > 20);
    bl_pick_deinit(&pick);
    world_check(w);
    world_close(w);
}

/* Goal: a damaged input block fails the job with BOLE_CORRUPT, file and place; nothing is changed. Method: flip one
 * byte in each input file. */
static void a_damaged_input_fails_the_job(void **state)
{
    (void)state;
    for (uint32_t victim = 0; victim < 4; victim++) {
        bl_pick pick;
        world *w = failing_world(5, &pick);
        const struct bl_pick_run *part = &pick.runs[victim % pick.run_count];
        const bl_level *level = &world_table(w)->levels[part->level];
        uint32_t at = 0;
        while (level->runs[at].number != part->run)
            at++;
        const bl_segment *segment = level->runs[at].segments[part->first + victim % part->count];
        uint64_t number = bl_segment_meta_of(segment)->number;
        char path[64];
        snprintf(path, sizeof path, "%s/%06" PRIu64 ".seg", WORLD_DIRECTORY, number);
        bole_error error = BOLE_ERROR_INIT;
        bole_file *file;
        uint8_t byte;
        size_t got;
        assert_ok(w->disk->open(w->disk, path, BOLE_VFS_WRITE, &file, &error), &error);
        uint64_t offset = 4096 + 700; /* in the first block: the header page comes before */
        assert_ok(w->disk->read(file, offset, &byte, 1, &got, &error), &error);
        byte ^= 0x10;
        assert_ok(w->disk->write(file, offset, &byte, 1, &error), &error);
        uint32_t files = world_files(w);
        world_forget_frames(w); /* they hold what is well: let the job read the disk */
        bl_job_result result;
        assert_status(BOLE_CORRUPT, bl_compaction_run(&w->job, w->version, &pick, &result, &error), &error);
        assert_non_null(strstr(error.file, ".seg"));
        assert_true(error.offset != UINT64_MAX);
        assert_null(result.metas);
        assert_int_equal(files, world_files(w));
        byte ^= 0x10;
        assert_ok(w->disk->write(file, offset, &byte, 1, &error), &error);
        assert_ok(w->disk->close(file, &error), &error);
        world_check(w);
        bl_pick_deinit(&pick);
        world_close(w);
    }
}

/* Goal (COM-3): inputs that hold other entries than their metas say fail the job. Method: a version whose handle has a
 * meta with one entry more. */
static void a_count_that_differs_fails_the_job(void **state)
{
    (void)state;
    bole_error error = BOLE_ERROR_INIT;
    world *w = world_open(6, NULL);
    fill_level0(w, 2, 50, 1);
    const bl_run *run = &world_table(w)->levels[0].runs[0];
    bl_segment_meta meta = *bl_segment_meta_of(run->segments[0]);
    for (int change = -1; change <= 1; change++) {
        bl_segment_meta lie = meta;
        lie.entries = (uint64_t)((int64_t)meta.entries + change);
        bl_segment *segment;
        assert_ok(bl_segment_create_handle(&w->environment, &lie, NULL, &segment, &error), &error);
        bl_version_insertion insertion = { WORLD_TABLE, 0, run->number, segment };
        bl_version_removal removal = { WORLD_TABLE, 0, run->number, meta.number };
        bl_version_change edit = { .base = w->version,
                                   .insertions = &insertion,
                                   .insertion_count = 1,
                                   .removals = &removal,
                                   .removal_count = 1 };
        bl_version *real = w->version, *version;
        assert_ok(bl_version_build(&edit, &version, &error), &error);
        bl_segment_unref(segment);
        w->version = version;
        bl_pick pick;
        bl_job_result result;
        pick_all(w, &pick);
        world_look(w);
        bole_status status = bl_compaction_run(&w->job, w->version, &pick, &result, &error);
        assert_int_equal(change == 0 ? BOLE_OK : BOLE_CORRUPT, status);
        for (uint32_t i = 0; i < result.count; i++)
            bl_segment_mark_obsolete(result.handles[i]);
        bl_job_result_deinit(&result);
        bl_pick_deinit(&pick);
        w->version = real;
        bl_version_unref(version);
    }
    world_check(w);
    world_close(w);
}

/* Goal (COM-3): so does a count that flips in memory when the segment has been looked at already. Nothing is left. */
static void a_count_that_flips_in_memory_fails_the_job(void **state)
{
    (void)state;
    bole_error error = BOLE_ERROR_INIT;
    world *w = world_open(6, NULL);
    fill_level0(w, 2, 50, 1);
    bl_segment *segment = world_table(w)->levels[0].runs[0].segments[0];
    bl_segment_meta *meta = (bl_segment_meta *)(uintptr_t)bl_segment_meta_of(segment);
    world_check(w); /* its unit is there, and was compared with the meta */
    uint32_t files = world_files(w);
    bl_pick pick;
    bl_job_result result;
    pick_all(w, &pick);
    world_look(w);
    for (int bit = 0; bit < 8; bit++) {
        uint64_t entries = meta->entries;
        meta->entries ^= 1u << bit;
        assert_status(BOLE_CORRUPT, bl_compaction_run(&w->job, w->version, &pick, &result, &error), &error);
        meta->entries = entries;
        assert_non_null(strstr(error.message, "where its inputs should have"));
        assert_null(result.metas);
        assert_int_equal(files, world_files(w));
    }
    assert_ok(bl_compaction_run(&w->job, w->version, &pick, &result, &error), &error);
    world_apply(w, &result, &pick);
    bl_pick_deinit(&pick);
    world_check(w);
    world_close(w);
}

/* Goal: a closing store stops a job within a MiB or so, without a trace; progress was told of all that went by. */
static void a_job_stops_when_the_store_closes(void **state)
{
    (void)state;
    bole_error error = BOLE_ERROR_INIT;
    world *w = world_open(7, NULL);
    w->value_max = 400;
    w->job.segment_bytes = 1 << 20;
    fill_level0(w, 20, WORLD_KEYS, 1);
    for (uint32_t i = 0; i < 8; i++) { /* keep every version: more than two MiB go by */
        w->snapshots[i] = w->visible / 9 * (i + 1);
        w->snapshot_count = i + 1;
    }
    bl_pick pick;
    bl_job_result result;
    pick_all(w, &pick);
    world_look(w);
    uint32_t files = world_files(w);
    w->stop_after = 0;
    w->progress_bytes = w->progress_calls = 0;
    assert_status(BOLE_CANCELLED, bl_compaction_run(&w->job, w->version, &pick, &result, &error), &error);
    assert_in_range(w->progress_bytes, 1 << 20, (1 << 20) + 1000);
    assert_int_equal(1, w->progress_calls);
    assert_int_equal(files, world_files(w));
    w->stop_after = UINT32_MAX;
    w->progress_bytes = w->progress_calls = 0;
    assert_ok(bl_compaction_run(&w->job, w->version, &pick, &result, &error), &error);
    assert_in_range(w->progress_calls, 1, 2);
    assert_in_range(w->progress_bytes, 1 << 20, 3 << 20);
    world_apply(w, &result, &pick);
    bl_pick_deinit(&pick);
    world_close(w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(no_merge_changes_a_read),
        cmocka_unit_test(the_filter_keeps_what_somebody_sees_and_no_more),
        cmocka_unit_test(outputs_are_alike_and_carry_no_sequences),
        cmocka_unit_test(sequences_go_where_no_snapshot_needs_them),
        cmocka_unit_test(versions_of_a_key_stay_together),
        cmocka_unit_test(boundaries_of_the_last_level_stay),
        cmocka_unit_test(a_segment_that_grows_is_split_alike),
        cmocka_unit_test(a_merge_of_tombstones_makes_nothing),
        cmocka_unit_test(an_io_error_at_any_call_leaves_no_trace),
        cmocka_unit_test(no_memory_at_any_call_leaves_no_trace),
        cmocka_unit_test(a_damaged_input_fails_the_job),
        cmocka_unit_test(a_count_that_differs_fails_the_job),
        cmocka_unit_test(a_count_that_flips_in_memory_fails_the_job),
        cmocka_unit_test(a_job_stops_when_the_store_closes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
