/* SPDX-License-Identifier: MIT */
/* test_log_power.c -- power cuts in the life of a log, on the memory disk: nothing synced is lost, nothing
 * is torn. */
#include "log_fixture.h"

#include "base/assert.h"

enum { HISTORIES = 250, CUTS = 6 };

static const bole_crash_mode modes[] = { BOLE_CRASH_RANDOM, BOLE_CRASH_LOSE_ALL, BOLE_CRASH_KEEP_ALL,
                                         BOLE_CRASH_NAMES_ONLY };

typedef struct cut_tally {
    size_t cuts, whole, torn, lost_some;
} cut_tally;

/* Cut the power here and replay: all that is synced is there, and what is there are the first records, to the byte. */
static void cut(const log_model *model, bole_crash_mode mode, uint64_t seed, cut_tally *tally)
{
    bole_vfs *left = NULL;
    bole_error error = BOLE_ERROR_INIT;
    assert_ok(bole_vfs_memory_crash(model->vfs, mode, seed, &left), NULL);
    bl_log_expectation expectation = log_expect(model);
    expectation.vfs = left;
    expectation.synced = bl_log_synced(model->log);
    bl_log_replayed replayed, again;
    assert_ok(log_replay(model, &expectation, &replayed, &error), &error);
    assert_true(replayed.end >= bl_log_synced(model->log));
    if (mode == BOLE_CRASH_KEEP_ALL)
        assert_true(replayed.end >= bl_log_published(model->log));
    if (mode == BOLE_CRASH_LOSE_ALL) /* no more, either: the log knows exactly what is synced */
        assert_int_equal(replayed.end, bl_log_synced(model->log));
    assert_ok(log_replay(model, &expectation, &again, &error), &error); /* (REPLAY-6) */
    assert_int_equal(again.end, replayed.end);
    assert_int_equal(again.content_checksum, replayed.content_checksum);
    tally->cuts++;
    tally->whole += replayed.records == model->count;
    tally->torn += replayed.torn;
    tally->lost_some += replayed.records < model->count;

    /* Recovery settles the end that it accepted; the power goes again, and again nothing is missing. */
    bole_vfs *second = NULL;
    assert_ok(bl_log_settle(left, model->path, bl_log_synced(model->log), replayed.end, &error), &error);
    assert_ok(bole_vfs_memory_crash(left, BOLE_CRASH_RANDOM, seed + 1, &second), NULL);
    expectation.vfs = second;
    expectation.end = replayed.end;
    assert_ok(log_replay(model, &expectation, &again, &error), &error);
    assert_int_equal(again.records, replayed.records);
    bole_vfs_destroy(second);
    bole_vfs_destroy(left);
}

/* Goal (WAL-1, WAL-3, WAL-6): at any moment a power cut loses nothing synced and tears no batch. Method: random
 * histories of append, publish, sync and mark in both ways, in fresh and recycled files whose older records stand at
 * the same places; cuts of every kind in between, each recovered and cut again. */
static void no_cut_loses_what_is_synced_or_tears_a_batch(void **state)
{
    (void)state;
    uint64_t first = test_seed(100);
    cut_tally tally = { 0 };
    for (uint64_t seed = first; seed < first + HISTORIES; seed++) {
        bl_prng prng;
        bl_prng_init(&prng, seed);
        bole_vfs *disk = log_disk(seed);
        log_model old = { 0 }, model;
        bl_log_way way = log_ways[bl_prng_below(&prng, 2)];
        uint64_t room = 4096 * (1 + bl_prng_below(&prng, 6));
        bl_log_parameters parameters = log_parameters(disk, 1, 0, room, way);
        bool recycled = bl_prng_chance(&prng, 2);
        size_t size = 104 << bl_prng_below(&prng, 3) * 2;
        if (recycled) {
            log_make(&old, &parameters);
            while (log_append(&old, size, old.count > 3 ? old.records[old.count - 3].end : 0))
                log_publish(&old);
            log_sync(&old);
            log_close(&old);
            parameters.recycle_path = old.path;
            parameters.number = 2;
        }
        log_make(&model, &parameters);
        uint64_t published = 0;
        for (int step = 0; step < 60; step++) {
            uint64_t choice = bl_prng_below(&prng, 10);
            size_t bytes = bl_prng_chance(&prng, 3) ? size : 1 + bl_prng_below(&prng, 2 * size);
            if (choice < 6 && !log_append(&model, bytes, bl_log_synced(model.log)))
                break;
            if (choice == 6 || choice == 7)
                log_publish(&model);
            if (choice == 8)
                log_sync(&model);
            if (choice == 9)
                log_mark(&model, bl_log_synced(model.log));
            assert_true(bl_log_published(model.log) >= published);
            published = bl_log_published(model.log);
            if (bl_prng_chance(&prng, 60 / CUTS))
                cut(&model, modes[bl_prng_below(&prng, 4)], bl_prng_next(&prng), &tally);
        }
        log_publish(&model);
        if (bl_prng_chance(&prng, 2))
            log_sync(&model);
        for (size_t mode = 0; mode < 4; mode++)
            cut(&model, modes[mode], bl_prng_next(&prng), &tally);
        log_free(&model);
        log_free(&old);
        bole_vfs_destroy(disk);
    }
    print_message("%zu cuts twice over: %zu left all, %zu torn, %zu lost what was not synced\n", tally.cuts,
                  tally.whole, tally.torn, tally.lost_some);
    assert_true(tally.whole > 100 && tally.torn > 100 && tally.lost_some > 100);
}

/* Goal: a log whose creation returned is there after any cut, empty and whole; one that did not is not needed. Method:
 * cuts right after bl_log_create, fresh and recycled, names of any fate. */
static void a_created_log_survives_any_cut(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 200; seed++) {
        bole_vfs *disk = log_disk(seed);
        bl_log_parameters parameters = log_parameters(disk, 1, 0, 20000, log_ways[seed & 1]);
        log_model old, model;
        cut_tally tally = { 0 };
        log_make(&old, &parameters);
        cut(&old, modes[seed % 4], seed, &tally);
        while (log_append(&old, 1000, 0))
            log_publish(&old);
        log_close(&old);
        parameters.recycle_path = old.path;
        parameters.number = 2;
        log_make(&model, &parameters);
        cut(&model, modes[seed % 4], seed, &tally);
        log_free(&old);
        log_free(&model);
        bole_vfs_destroy(disk);
    }
}

/* Goal: bit rot on a crashed store. What was synced and marked is protected: damage there is corruption after any cut,
 * as long as the mark or a later claim reached the disk. Method: sync, mark, sync again; then cut and flip one bit
 * below the mark. */
static void rot_below_a_mark_is_corruption_after_a_cut(void **state)
{
    (void)state;
    bl_prng prng;
    bl_prng_init(&prng, test_seed(7));
    for (uint64_t seed = 1; seed <= 150; seed++) {
        bole_vfs *disk = log_disk(seed), *left = NULL;
        bl_log_parameters parameters = log_parameters(disk, 1, 0, 16384, log_ways[seed & 1]);
        log_model model;
        log_make(&model, &parameters);
        for (int i = 0; i < 10; i++)
            log_append(&model, 1 + bl_prng_below(&prng, 400), 0);
        log_publish(&model);
        log_sync(&model);
        uint64_t protected = bl_log_synced(model.log);
        assert_true(log_mark(&model, protected));
        log_publish(&model);
        log_sync(&model);
        log_append(&model, 700, protected);
        log_publish(&model);
        assert_ok(bole_vfs_memory_crash(disk, BOLE_CRASH_RANDOM, seed, &left), NULL);
        uint64_t offset = BL_LOG_FILE_HEADER_BYTES + bl_prng_below(&prng, protected), length = 0;
        uint8_t *bytes = log_file_bytes(left, model.path, &length);
        bytes[offset] ^= (uint8_t)(1u << bl_prng_below(&prng, 8));
        log_file_write(left, model.path, offset, &bytes[offset], 1);
        bl_log_expectation expectation = log_expect(&model);
        expectation.vfs = left;
        bl_log_replayed replayed;
        assert_int_equal(log_replay(&model, &expectation, &replayed, NULL), BOLE_CORRUPT);
        free(bytes);
        bole_vfs_destroy(left);
        log_free(&model);
        bole_vfs_destroy(disk);
    }
}

/* Goal: what failed is no worse than what was cut. Method: the n-th call of a history fails, half written, and the
 * power goes at once: what was synced before is there, and no batch is torn. */
static void a_failing_call_and_a_cut_lose_nothing_synced(void **state)
{
    (void)state;
    size_t failures = 0;
    for (uint64_t at = 0; at < 120; at++) {
        bole_vfs *disk = log_disk(at), *fault = NULL;
        bole_fault_plan plan = { .at = UINT64_MAX };
        cut_tally tally = { 0 };
        bl_prng prng;
        bl_prng_init(&prng, at);
        assert_ok(bole_vfs_fault_create(disk, &plan, &fault), NULL);
        bl_log_parameters parameters = log_parameters(fault, 1, 0, 65536, log_ways[at & 1]);
        log_model model;
        log_make(&model, &parameters);
        plan.at = plan.calls + at / 4;
        plan.count = 1;
        plan.half = (at & 2) != 0;
        model.vfs = disk;
        for (int step = 0; step < 40 && bl_log_state_of(model.log) != BL_LOG_FAILED; step++) {
            log_append(&model, 1 + bl_prng_below(&prng, 3000), bl_log_synced(model.log));
            bole_status status = bl_log_publish(model.log, NULL);
            if (status == BOLE_OK && bl_prng_chance(&prng, 3))
                status = bl_log_sync(model.log, bl_log_published(model.log), NULL);
            failures += status != BOLE_OK;
        }
        for (size_t mode = 0; mode < 4; mode++)
            if (modes[mode] != BOLE_CRASH_KEEP_ALL || bl_log_state_of(model.log) != BL_LOG_FAILED)
                cut(&model, modes[mode], at, &tally);
        log_free(&model);
        bole_vfs_destroy(fault);
        bole_vfs_destroy(disk);
    }
    assert_true(failures > 60);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(no_cut_loses_what_is_synced_or_tears_a_batch),
        cmocka_unit_test(a_created_log_survives_any_cut),
        cmocka_unit_test(rot_below_a_mark_is_corruption_after_a_cut),
        cmocka_unit_test(a_failing_call_and_a_cut_lose_nothing_synced),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
