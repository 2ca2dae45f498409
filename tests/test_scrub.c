/* SPDX-License-Identifier: MIT */
/* test_scrub.c -- checking in the background: damage under a live store is told before a read meets it, at the rate
 * that was asked for, and nothing else changes.
 *
 * Stores on a disk in memory under the simulated scheduler, so that time is the test's; one on real threads. */
#include "test.h"

#include <bole/bole_vfs.h>

#include "base/alloc.h"
#include "base/assert.h"
#include "base/prng.h"
#include "engine/log_structured_store.h"
#include "version/file_name.h"

#include <errno.h>

enum { KEYS = 600, FILES_MAX = 64, ROUNDS_MAX = 400000 };

typedef struct fixture {
    bole_vfs *disk;
    bole_db *db;
    bole_error error;
    uint64_t seed;
    uint32_t told; /* events scrub_found */
    char line[1024];
    uint64_t segments[FILES_MAX];
    uint32_t segment_count;
} fixture;

static void note_event(void *context, bole_log_level level, const char *json, size_t size)
{
    fixture *f = context;
    (void)level;
    if (memmem(json, size, "\"scrub_found\"", 13) == NULL)
        return;
    f->told++;
    snprintf(f->line, sizeof f->line, "%.*s", (int)size, json);
}

static bole_options options_of(fixture *f, bole_vfs *vfs)
{
    bole_options options = BOLE_OPTIONS_INIT;
    options.flags = BOLE_CREATE;
    options.vfs = vfs;
    options.simulation_seed = f->seed;
    options.memory_limit = 16 << 20;
    options.memtable_bytes = 16384;
    options.segment_bytes = 8192;
    options.block_bytes = 1024;
    options.level0_runs = 2;
    options.log_callback = note_event;
    options.log_context = f;
    return options;
}

static bole_slice key_of(uint32_t i, char out[16])
{
    return BOLE_SLICE(out, (size_t)snprintf(out, 16, "key %06u", i));
}

static void put_all(fixture *f, uint32_t round)
{
    char key[16], value[64];
    for (uint32_t i = 0; i < KEYS; i++) {
        int size = snprintf(value, sizeof value, "value %u of round %u, and something behind", i, round);
        assert_ok(bole_put(f->db, NULL, key_of(i, key), BOLE_SLICE(value, (size_t)size)), NULL);
    }
}

static void open_store(fixture *f, bole_vfs *vfs, uint64_t scrub_rate)
{
    static const bole_slice open_end = { NULL, 0 };
    bole_options options = options_of(f, vfs);
    options.scrub_rate = scrub_rate;
    assert_ok(bole_open("store", &options, &f->db, &f->error), &f->error);
    put_all(f, 1);
    assert_ok(bole_compact(f->db, NULL, open_end, open_end, &f->error), &f->error);
    put_all(f, 2);
    assert_ok(bole_flush(f->db, &f->error), &f->error);
    assert_ok(bole_wait_idle(f->db, &f->error), &f->error);
}

static int make_fixture(void **state)
{
    fixture *f = calloc(1, sizeof *f);
    f->seed = 1;
    f->error = (bole_error)BOLE_ERROR_INIT;
    assert_ok(bole_vfs_memory_create(1, &f->disk), NULL);
    *state = f;
    return 0;
}

static int drop_fixture(void **state)
{
    fixture *f = *state;
    assert_ok(bole_close(f->db, &f->error), &f->error);
    bole_vfs_destroy(f->disk);
    free(f);
    return 0;
}

static bool note_segment(void *context, const char *name)
{
    fixture *f = context;
    uint64_t number;
    if (bl_file_parse(name, &number) == BL_FILE_SEGMENT && f->segment_count < FILES_MAX)
        f->segments[f->segment_count++] = number;
    return true;
}

static void list_segments(fixture *f)
{
    f->segment_count = 0;
    assert_ok(f->disk->list(f->disk, "store", note_segment, f, NULL), NULL);
    assert_true(f->segment_count > 1 && f->segment_count < FILES_MAX);
}

static uint64_t length_of(fixture *f, uint64_t number)
{
    char path[BL_PATH_BYTES_MAX];
    bole_file *file;
    uint64_t length;
    assert_true(bl_file_path(path, "store", BL_FILE_SEGMENT, number));
    assert_ok(f->disk->open(f->disk, path, BOLE_VFS_READ, &file, NULL), NULL);
    assert_ok(f->disk->length(file, &length, NULL), NULL);
    assert_ok(f->disk->close(file, NULL), NULL);
    return length;
}

static void flip(fixture *f, uint64_t number, uint64_t offset)
{
    char path[BL_PATH_BYTES_MAX];
    bole_file *file;
    uint8_t byte;
    size_t got;
    assert_true(bl_file_path(path, "store", BL_FILE_SEGMENT, number));
    assert_ok(f->disk->open(f->disk, path, BOLE_VFS_WRITE, &file, NULL), NULL);
    assert_ok(f->disk->read(file, offset, &byte, 1, &got, NULL), NULL);
    byte ^= 0x10;
    assert_ok(f->disk->write(file, offset, &byte, 1, NULL), NULL);
    assert_ok(f->disk->close(file, NULL), NULL);
}

static bole_statistics stats_of(fixture *f)
{
    bole_statistics stats = BOLE_STATISTICS_INIT;
    assert_ok(bole_stats(f->db, &stats, &f->error), &f->error);
    return stats;
}

/* Let time pass in steps of a millisecond until that many rounds more have ended. */
static void let_rounds_pass(fixture *f, uint64_t rounds)
{
    uint64_t until = stats_of(f).scrub_rounds + rounds;
    for (uint32_t i = 0; stats_of(f).scrub_rounds < until; i++) {
        assert_true(i < ROUNDS_MAX);
        bole_vfs_memory_advance(f->disk, 1000);
    }
}

/* ---- What is found ---------------------------------------------------------------------------------------- */

static void a_round_over_a_whole_store_finds_nothing(void **state)
{
    fixture *f = *state;
    open_store(f, f->disk, 1 << 20);
    let_rounds_pass(f, 2);
    list_segments(f);
    uint64_t bytes = 0;
    for (uint32_t i = 0; i < f->segment_count; i++)
        bytes += length_of(f, f->segments[i]);
    bole_statistics before = stats_of(f);
    let_rounds_pass(f, 1);
    bole_statistics after = stats_of(f);
    assert_int_equal(after.scrub_findings, 0);
    assert_int_equal(f->told, 0);
    assert_ok(bole_scrub_report(f->db, &f->error), &f->error);
    assert_true(after.scrub_bytes - before.scrub_bytes >= bytes); /* all of it, footers too */
    assert_true(after.scrub_bytes - before.scrub_bytes < 2 * bytes);
}

/* A bit anywhere in a segment; nobody reads meanwhile. Then it is mended, and a round later nothing is told. */
static void damage_under_a_live_store_is_told_before_a_read_meets_it(void **state)
{
    fixture *f = *state;
    open_store(f, f->disk, 4 << 20);
    let_rounds_pass(f, 5); /* idle, the store makes one run of all */
    assert_ok(bole_wait_idle(f->db, &f->error), &f->error);
    list_segments(f);
    bl_prng prng;
    bl_prng_init(&prng, test_seed(1));
    for (uint32_t i = 0; i < 60; i += TEST_STEP) {
        uint64_t number = f->segments[bl_prng_below(&prng, f->segment_count)];
        uint64_t offset = bl_prng_below(&prng, length_of(f, number));
        uint64_t misses = stats_of(f).block_misses, findings = stats_of(f).scrub_findings;
        f->told = 0;
        flip(f, number, offset);
        let_rounds_pass(f, 2); /* the first may have passed the place already */
        char name[32];
        snprintf(name, sizeof name, "%06" PRIu64 ".seg", number);
        bole_status status = bole_scrub_report(f->db, &f->error);
        if (status == BOLE_OK)
            fail_msg("a bit at %" PRIu64 " of segment %" PRIu64 " was not found", offset, number);
        assert_non_null(strstr(f->error.message, name));
        assert_non_null(strstr(f->error.file, name));
        assert_true(stats_of(f).scrub_findings > findings);
        assert_true(f->told > 0);
        assert_non_null(strstr(f->line, name));
        assert_int_equal(stats_of(f).block_misses, misses);
        flip(f, number, offset);
        let_rounds_pass(f, 2);
        assert_ok(bole_scrub_report(f->db, &f->error), &f->error);
    }
}

static void a_file_that_is_gone_is_told(void **state)
{
    fixture *f = *state;
    char path[BL_PATH_BYTES_MAX], away[] = "store-segment";
    open_store(f, f->disk, UINT64_MAX); /* off: else the file may be open already */
    assert_ok(bole_close(f->db, &f->error), &f->error);
    bole_options options = options_of(f, f->disk);
    options.scrub_rate = 1 << 20;
    assert_ok(bole_open("store", &options, &f->db, &f->error), &f->error);
    list_segments(f);
    assert_true(bl_file_path(path, "store", BL_FILE_SEGMENT, f->segments[0]));
    assert_ok(f->disk->rename(f->disk, path, away, NULL), NULL);
    let_rounds_pass(f, 1);
    assert_true(bole_scrub_report(f->db, &f->error) != BOLE_OK);
    assert_non_null(strstr(f->error.message, path));
    assert_ok(f->disk->rename(f->disk, away, path, NULL), NULL);
}

/* ---- Its rate --------------------------------------------------------------------------------------------- */

static void nothing_is_read_while_it_is_off(void **state)
{
    fixture *f = *state;
    open_store(f, f->disk, 0);
    for (uint32_t i = 0; i < 2000; i++) {
        bole_vfs_memory_advance(f->disk, 10000);
        assert_int_equal(stats_of(f).scrub_bytes, 0);
    }
    assert_ok(bole_configure(f->db, "scrub_rate", "1MiB", &f->error), &f->error);
    let_rounds_pass(f, 1);
    assert_ok(bole_configure(f->db, "scrub_rate", "off", &f->error), &f->error);
    uint64_t bytes = stats_of(f).scrub_bytes;
    for (uint32_t i = 0; i < 2000; i++)
        bole_vfs_memory_advance(f->disk, 10000);
    assert_true(stats_of(f).scrub_bytes - bytes < 8192); /* the step that ran */
    assert_int_equal(bole_configure(f->db, "scrub_rate", "1", &f->error), BOLE_INVALID);
}

/* Never more than the rate allows and one burst; and most of it, for the pause between rounds is short beside it. */
static void the_rate_is_kept_and_changes_while_open(void **state)
{
    fixture *f = *state;
    enum { RATE = 4096, SECONDS = 200 / TEST_STEP };
    open_store(f, f->disk, UINT64_MAX);
    assert_ok(bole_configure(f->db, "scrub_rate", "4KiB", &f->error), &f->error);
    uint64_t begin = f->disk->monotonic_ns(f->disk), now = begin;
    for (uint32_t i = 0; i < ROUNDS_MAX && now - begin < SECONDS * UINT64_C(1000000000); i++) {
        bole_vfs_memory_advance(f->disk, 20000);
        for (uint32_t j = 0; j < 10; j++)
            (void)stats_of(f); /* lets the background run */
        now = f->disk->monotonic_ns(f->disk);
        bole_statistics stats = stats_of(f);
        uint64_t allowed = (uint64_t)((double)(now - begin) / 1e9 * RATE);
        if (stats.scrub_bytes > allowed + RATE + 16384) /* a second's lag, a burst */
            fail_msg("%" PRIu64 " bytes, where the rate allows %" PRIu64, stats.scrub_bytes, allowed);
    }
    print_message("%" PRIu64 " bytes in %" PRIu64 " s\n", stats_of(f).scrub_bytes,
                  (now - begin) / 1000000000);
    assert_true(stats_of(f).scrub_bytes > RATE * SECONDS / 2);
    uint64_t rounds = stats_of(f).scrub_rounds;
    assert_ok(bole_configure(f->db, "scrub_rate", "1GiB", &f->error), &f->error);
    begin = f->disk->monotonic_ns(f->disk);
    let_rounds_pass(f, 10);
    assert_true(stats_of(f).scrub_rounds >= rounds + 10);
    assert_true(f->disk->monotonic_ns(f->disk) - begin < 60 * UINT64_C(1000000000));
}

/* ---- Beside other work ------------------------------------------------------------------------------------ */

/* Writes, flushes and merges under many orders of the background: what is obsolete goes, nothing is found, and every
 * value is right. */
static void it_holds_up_nothing_beside_merges(void **state)
{
    fixture *f = *state;
    open_store(f, f->disk, 16 << 20);
    for (uint64_t seed = 1; seed <= 12; seed++) {
        static const bole_slice open_end = { NULL, 0 };
        assert_ok(bole_close(f->db, &f->error), &f->error);
        f->seed = seed;
        bole_options options = options_of(f, f->disk);
        options.scrub_rate = 16 << 20;
        assert_ok(bole_open("store", &options, &f->db, &f->error), &f->error);
        for (uint32_t round = 0; round < 3; round++) {
            put_all(f, (uint32_t)(seed * 10 + round));
            bole_vfs_memory_advance(f->disk, 5000);
            assert_ok(bole_compact(f->db, NULL, open_end, open_end, &f->error), &f->error);
        }
        assert_ok(bole_wait_idle(f->db, &f->error), &f->error);
        let_rounds_pass(f, 1);
        bole_statistics stats = stats_of(f);
        uint64_t live = 0;
        for (uint32_t l = 0; l < BOLE_LEVELS_MAX; l++)
            live += stats.level_segments[l];
        list_segments(f);
        assert_int_equal(f->segment_count, live);
        assert_int_equal(stats.scrub_findings, 0);
        char key[16], expected[64];
        bole_buffer value = BOLE_BUFFER_INIT;
        for (uint32_t i = 0; i < KEYS; i++) {
            assert_ok(bole_get(f->db, NULL, key_of(i, key), &value), NULL);
            snprintf(expected, sizeof expected, "value %u of round %u, and something behind", i,
                     (uint32_t)(seed * 10 + 2));
            assert_int_equal(value.size, strlen(expected));
            assert_memory_equal(value.data, expected, value.size);
        }
        bole_buffer_free(&value);
    }
}

/* The rate changes in any moment between the timer that queues a step and the step itself: it is taken back, and the
 * scrub goes on all the same. */
static void a_step_that_was_queued_is_taken_back(void **state)
{
    fixture *f = *state;
    for (f->seed = 1; f->seed <= 20; f->seed++) {
        bole_options options = options_of(f, f->disk);
        options.scrub_rate = 1 << 20;
        if (f->seed == 1)
            open_store(f, f->disk, 1 << 20);
        else
            assert_ok(bole_open("store", &options, &f->db, &f->error), &f->error);
        for (uint32_t i = 0; i < 60; i++) {
            bole_vfs_memory_advance(f->disk, 1000);
            for (uint32_t j = 0; j < i % 6; j++)
                bl_yield(f->db->scheduler);
            assert_ok(bole_configure(f->db, "scrub_rate", i % 2 == 0 ? "2MiB" : "1MiB", &f->error),
                      &f->error);
        }
        let_rounds_pass(f, 1);
        assert_int_equal(stats_of(f).scrub_findings, 0);
        if (f->seed < 20)
            assert_ok(bole_close(f->db, &f->error), &f->error);
    }
#ifdef BL_CHECKS
    assert_true(bl_mark_count("queued step of a scrub is taken back") > 0);
#endif
}

/* Each read of a round fails once: told, and the next round is clean again. */
static void a_read_that_fails_is_told_and_forgotten(void **state)
{
    fixture *f = *state;
    bole_fault_plan plan = { .at = UINT64_MAX, .count = 1, .system_errno = EIO };
    bole_vfs *faulty;
    assert_ok(bole_vfs_fault_create(f->disk, &plan, &faulty), NULL);
    open_store(f, faulty, UINT64_MAX);
    assert_ok(bole_configure(f->db, "sync_interval_ms", "3600s", &f->error), &f->error);
    for (uint32_t i = 0; i < 200; i++) /* what the tick still does is over */
        bole_vfs_memory_advance(f->disk, 100000), (void)stats_of(f);
    assert_ok(bole_configure(f->db, "scrub_rate", "1MiB", &f->error), &f->error);
    let_rounds_pass(f, 1);
    uint64_t calls = plan.calls;
    let_rounds_pass(f, 1);
    calls = plan.calls - calls;
    assert_true(calls > 20);
    uint32_t found = 0;
    for (uint64_t i = 0; i < calls; i += 3 * TEST_STEP) {
        plan.failed = 0;
        plan.at = plan.calls + i;
        let_rounds_pass(f, 3);
        if (plan.failed == 0)
            continue;
        bole_status status = bole_scrub_report(f->db, &f->error);
        assert_true(status == BOLE_OK || status == BOLE_IO);
        found += stats_of(f).scrub_findings > found;
        let_rounds_pass(f, 2);
        assert_ok(bole_scrub_report(f->db, &f->error), &f->error);
    }
    assert_true(found > 5 / TEST_STEP);
    assert_ok(bole_close(f->db, &f->error), &f->error);
    bole_vfs_destroy(faulty);
    bole_options options = options_of(f, f->disk);
    assert_ok(bole_open("store", &options, &f->db, &f->error), &f->error);
}

static void too_little_memory_is_no_finding(void **state)
{
    fixture *f = *state;
    open_store(f, f->disk, 1 << 20);
    for (uint64_t i = 0; i < 300; i += TEST_STEP) {
        bl_alloc_fail_at(i, 1);
        for (uint32_t j = 0; j < 100; j++) {
            bole_statistics stats = BOLE_STATISTICS_INIT;
            bole_vfs_memory_advance(f->disk, 10000);
            (void)!bole_stats(f->db, &stats, NULL);
        }
        bl_alloc_fail_at(UINT64_MAX, 0);
    }
    let_rounds_pass(f, 1);
    assert_int_equal(stats_of(f).scrub_findings, 0);
}

/* The same on real threads and files, beside readers and a writer. */
static void on_real_threads(void **state)
{
    fixture *f = *state;
    test_directory directory = test_directory_make();
    char path[512];
    snprintf(path, sizeof path, "%s/store", directory.path);
    f->seed = 0;
    bole_options options = options_of(f, NULL);
    options.scrub_rate = UINT64_C(1) << 30;
    assert_ok(bole_open(path, &options, &f->db, &f->error), &f->error);
    for (uint32_t round = 0; round < 40 || stats_of(f).scrub_rounds < 2; round++) {
        put_all(f, round);
        usleep(10000);
    }
    assert_int_equal(stats_of(f).scrub_findings, 0);
    assert_true(stats_of(f).scrub_bytes > 0);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, make_fixture, drop_fixture)
    const struct CMUnitTest tests[] = {
        TEST(a_round_over_a_whole_store_finds_nothing),
        TEST(damage_under_a_live_store_is_told_before_a_read_meets_it),
        TEST(a_file_that_is_gone_is_told),
        TEST(nothing_is_read_while_it_is_off),
        TEST(the_rate_is_kept_and_changes_while_open),
        TEST(it_holds_up_nothing_beside_merges),
        TEST(a_step_that_was_queued_is_taken_back),
        TEST(a_read_that_fails_is_told_and_forgotten),
        TEST(too_little_memory_is_no_finding),
        TEST(on_real_threads),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
