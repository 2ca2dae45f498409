/* SPDX-License-Identifier: MIT */
/* test_write_ahead_log.c -- making, appending, syncing, failing: the life of a log. Reading: test_log_replay.c; power
 * cuts: test_log_power.c. */
#include "log_fixture.h"

#include "base/assert.h"
#include "platform/scheduler.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/wait.h>

/* Replay and check that all `count` records are there. */
static void check_whole(const log_model *model, size_t count)
{
    bole_error error = BOLE_ERROR_INIT;
    bl_log_expectation expectation = log_expect(model);
    bl_log_replayed replayed;
    assert_ok(log_replay(model, &expectation, &replayed, &error), &error);
    assert_int_equal(replayed.records, count);
}

/* ---- Appending ------------------------------------------------------------------------------------------------ */

/* Goal: what is appended is replayed, in order and to the byte. Method: random sizes and groups until the log is
 * full, in both ways, in memory and on the real disk. */
static void what_is_appended_is_replayed_in_order(void **state)
{
    (void)state;
    bl_prng prng;
    bl_prng_init(&prng, test_seed(1));
    test_directory directory = test_directory_make();
    for (int round = 0; round < 4; round++) {
        bole_vfs *disk = log_disk(5);
        bl_log_parameters parameters = log_parameters(disk, 7, 12345, 300000, log_ways[round & 1]);
        if (round >= 2) {
            parameters.vfs = bole_vfs_posix();
            parameters.directory = directory.path;
            parameters.number = (uint64_t)round;
        }
        log_model model;
        log_make(&model, &parameters);
        if (round < 2)
            assert_int_equal(bl_log_way_of(model.log), log_ways[round]);
        assert_int_equal(bl_log_room(model.log), (300000 + 4095) / 4096 * 4096);
        while (log_append(&model, 1 + bl_prng_below(&prng, bl_prng_chance(&prng, 20) ? 30000 : 300), 0)) {
            if (bl_prng_chance(&prng, 3))
                log_publish(&model);
            if (bl_prng_chance(&prng, 5))
                bl_log_touch_ahead(model.log);
            if (bl_prng_chance(&prng, 40))
                log_sync(&model);
        }
        log_publish(&model);
        assert_int_equal(bl_log_end(model.log), model.records[model.count - 1].end);
        check_whole(&model, model.count);
        bl_log_seal(model.log);
        check_whole(&model, model.count);
        log_close(&model);
        check_whole(&model, model.count);
        log_free(&model);
        bole_vfs_destroy(disk);
    }
}

/* Goal: room is exact. Method: records that leave 26, 25, 24 and 0 bytes; a log filled to its last byte is whole. */
static void a_log_can_be_filled_to_its_last_byte(void **state)
{
    (void)state;
    for (int way = 0; way < 2; way++) {
        for (uint64_t left = 0; left <= 60; left++) {
            bole_vfs *disk = log_disk(5);
            bl_log_parameters parameters = log_parameters(disk, 1, 0, 4096, log_ways[way]);
            log_model model;
            log_make(&model, &parameters);
            assert_false(log_append(&model, 4096 - 24 + 1, 0));
            assert_false(log_append(&model, UINT64_MAX, 0));
            assert_true(log_append(&model, 4096 - 24 - left, 0));
            assert_int_equal(bl_log_room(model.log), left);
            if (left < 25) {
                assert_false(log_append(&model, 1, 0));
                assert_false(bl_log_append_sync_mark(model.log, 0));
            } else {
                assert_false(log_append(&model, left - 23, 0));
                assert_true(log_append(&model, left - 24, 0));
                assert_int_equal(bl_log_room(model.log), 0);
            }
            log_publish(&model);
            check_whole(&model, model.count);
            log_free(&model);
            bole_vfs_destroy(disk);
        }
    }
}

/* Goal: all room of a group can be reserved before the first payload is filled. Method: 50 reserves over many pages,
 * filled and finished backwards. */
static void reserved_places_do_not_move(void **state)
{
    (void)state;
    enum { GROUP = 50, SIZE = 700 };
    for (int way = 0; way < 2; way++) {
        bole_vfs *disk = log_disk(5);
        bl_log_parameters parameters = log_parameters(disk, 1, 0, 65536, log_ways[way]);
        log_model model;
        log_make(&model, &parameters);
        uint8_t *places[GROUP];
        for (int i = 0; i < GROUP; i++) {
            uint64_t position = 0;
            places[i] = bl_log_reserve(model.log, SIZE, &position);
            assert_non_null(places[i]);
            log_model_add(&model, BL_RECORD_BATCH, SIZE, position, 0);
        }
        for (int i = GROUP - 1; i >= 0; i--) {
            memcpy(places[i], model.records[i].payload, SIZE);
            bl_log_finish(model.log, places[i], SIZE, model.records[i].position, 0);
        }
        log_publish(&model);
        check_whole(&model, GROUP);
        log_free(&model);
        bole_vfs_destroy(disk);
    }
}

/* Goal: a payload that could not be filled leaves a record that replay passes over. Method: a void between two. */
static void void_records_are_skipped(void **state)
{
    (void)state;
    bole_vfs *disk = log_disk(5);
    bl_log_parameters parameters = log_parameters(disk, 1, 0, 4096, BL_LOG_MAPPED);
    log_model model;
    log_make(&model, &parameters);
    log_append(&model, 10, 0);
    uint64_t position = 0;
    uint8_t *payload = bl_log_reserve(model.log, 99, &position);
    log_model_add(&model, BL_RECORD_VOID, 99, position, 0);
    bl_log_finish_void(model.log, payload, 99, position, 0);
    log_append(&model, 20, 0);
    log_publish(&model);
    check_whole(&model, 3);
    log_free(&model);
    bole_vfs_destroy(disk);
}

/* Goal: a mark is written when it says something new, and only then. Method: claims that rise, repeat and fall. */
static void a_sync_mark_is_written_when_it_says_something_new(void **state)
{
    (void)state;
    bole_vfs *disk = log_disk(5);
    bl_log_parameters parameters = log_parameters(disk, 1, 1000, 4096, BL_LOG_WRITTEN);
    parameters.synced = 500;
    log_model model;
    log_make(&model, &parameters);
    assert_false(log_mark(&model, 500)); /* the header says so */
    assert_true(log_mark(&model, 600));
    assert_false(log_mark(&model, 600));
    log_append(&model, 10, 700);
    assert_false(log_mark(&model, 650));
    assert_false(log_mark(&model, 700));
    assert_true(log_mark(&model, 701));
    log_publish(&model);
    check_whole(&model, 3);
    bl_log_expectation expectation = log_expect(&model);
    bl_log_replayed replayed;
    assert_ok(bl_log_replay(&expectation, NULL, NULL, &replayed, NULL), NULL);
    assert_int_equal(replayed.synced, 701);
    log_free(&model);
    bole_vfs_destroy(disk);
}

/* Goal: touching changes nothing, keeps to its window, and comes to an end. Method: a log of 16 MiB, touched to and
 * fro; wants_touch goes off after touching and on again when half of the window is used up. */
static void touching_ahead_keeps_a_window_and_changes_nothing(void **state)
{
    (void)state;
    enum { MIB = 1 << 20 };
    test_directory directory = test_directory_make();
    bl_log_parameters parameters = log_parameters(bole_vfs_posix(), 1, 0, 16 * MIB, BL_LOG_MAPPED);
    parameters.directory = directory.path;
    log_model model;
    log_make(&model, &parameters);
    assert_true(bl_log_wants_touch(model.log));
    int calls = 1;
    while (bl_log_touch_ahead(model.log))
        calls++;
    assert_int_equal(calls, 4);
    assert_false(bl_log_wants_touch(model.log));
    while (bl_log_end(model.log) < 3 * MIB / 2)
        assert_true(log_append(&model, 5000, 0));
    assert_false(bl_log_wants_touch(model.log));
    while (bl_log_end(model.log) < 5 * MIB / 2)
        assert_true(log_append(&model, 5000, 0));
    assert_true(bl_log_wants_touch(model.log));
    while (bl_log_touch_ahead(model.log))
        ;
    while (log_append(&model, 50000, 0))
        if (bl_log_wants_touch(model.log))
            while (bl_log_touch_ahead(model.log))
                ;
    assert_false(bl_log_wants_touch(model.log));
    log_publish(&model);
    check_whole(&model, model.count);
    bl_log_seal(model.log);
    assert_false(bl_log_touch_ahead(model.log));
    log_free(&model);
}

/* ---- Making --------------------------------------------------------------------------------------------------- */

/* Goal: what the header says, and the getters. Method: read it back. */
static void the_header_says_what_the_log_was_made_with(void **state)
{
    (void)state;
    bole_vfs *disk = log_disk(5);
    bl_memory_budget budget;
    bl_memory_budget_init(&budget, 1 << 30, 0);
    bl_log_parameters parameters = log_parameters(disk, 1234567, 777, 5000, BL_LOG_WRITTEN);
    parameters.synced = 700;
    parameters.budget = &budget;
    log_model model;
    log_make(&model, &parameters);
    assert_string_equal(model.path, "store/1234567.log");
    assert_int_equal(bl_log_number(model.log), 1234567);
    assert_int_equal(bl_log_start(model.log), 777);
    assert_int_equal(bl_log_end(model.log), 777);
    assert_int_equal(bl_log_synced(model.log), 777);
    assert_int_equal(bl_log_file_bytes(model.log), 3 * 4096);
    assert_int_equal(bl_memory_budget_used(&budget, BL_MEMORY_LOG), 3 * 4096);
    bl_log_header header;
    assert_ok(bl_log_read_header(disk, model.path, &header, NULL), NULL);
    assert_int_equal(header.number, 1234567);
    assert_int_equal(header.start, 777);
    assert_int_equal(header.synced, 700);
    assert_int_equal(header.room, 8192);
    assert_int_equal(header.way, BL_LOG_WRITTEN);
    assert_true(bl_id_equal(header.id, bl_log_id(model.log)) && bl_id_equal(header.store_id, log_store_id));
    assert_int_equal(log_file_length(disk, model.path), 3 * 4096);
    log_free(&model);
    assert_int_equal(bl_memory_budget_used(&budget, BL_MEMORY_LOG), 0);
    bole_vfs_destroy(disk);
}

/* Goal: a name that is taken is not taken away, fresh or recycled. Method: make a log with the number of another. */
static void a_log_never_takes_the_place_of_another_file(void **state)
{
    (void)state;
    bole_vfs *disk = log_disk(5);
    bl_log_parameters parameters = log_parameters(disk, 1, 0, 4096, BL_LOG_WRITTEN);
    log_model model;
    log_make(&model, &parameters);
    log_append(&model, 10, 0);
    log_publish(&model);
    bl_log_parameters other_parameters = log_parameters(disk, 2, 0, 4096, BL_LOG_WRITTEN);
    log_model other;
    log_make(&other, &other_parameters);
    bl_write_ahead_log *log = NULL;
    bole_error error = BOLE_ERROR_INIT;
    assert_status(BOLE_EXISTS, bl_log_create(&parameters, &log, &error), &error);
    parameters.recycle_path = other.path;
    assert_status(BOLE_EXISTS, bl_log_create(&parameters, &log, &error), &error);
    assert_null(log);
    check_whole(&model, 1);
    check_whole(&other, 0);
    log_free(&model);
    log_free(&other);
    bole_vfs_destroy(disk);
}

/* Goal: positions never pass the last sequence. Method: logs that would, and one that just does not. */
static void a_log_beyond_the_last_position_is_refused(void **state)
{
    (void)state;
    bole_vfs *disk = log_disk(5);
    bl_write_ahead_log *log = NULL;
    bole_error error = BOLE_ERROR_INIT;
    bl_log_parameters parameters = log_parameters(disk, 1, BL_SEQUENCE_MAX - 4096, 4096, BL_LOG_WRITTEN);
    assert_status(BOLE_TOO_LARGE, bl_log_create(&parameters, &log, &error), &error);
    parameters.start = 5;
    parameters.bytes = UINT64_MAX;
    assert_status(BOLE_TOO_LARGE, bl_log_create(&parameters, &log, &error), &error);
    assert_null(log);
    parameters.start = BL_SEQUENCE_MAX - 8192;
    parameters.bytes = 4096;
    assert_ok(bl_log_create(&parameters, &log, &error), &error);
    bl_log_close(log);
    bole_vfs_destroy(disk);
}

/* Goal: where a file cannot be mapped, the log is written. Method: a map call that fails. */
static void a_log_that_cannot_be_mapped_is_written(void **state)
{
    (void)state;
    bole_vfs *disk = log_disk(5), *fault = NULL;
    bole_fault_plan plan = { .at = UINT64_MAX };
    assert_ok(bole_vfs_fault_create(disk, &plan, &fault), NULL);
    bl_log_parameters parameters = log_parameters(fault, 1, 0, 4096, BL_LOG_MAPPED);
    bool fell_back = false;
    for (uint64_t at = 0; at < 20 && !fell_back; at++) {
        plan = (bole_fault_plan){ .at = at, .count = 1 };
        bl_write_ahead_log *log = NULL;
        bole_error error = BOLE_ERROR_INIT;
        bole_status status = bl_log_create(&parameters, &log, &error);
        if (status == BOLE_OK && bl_log_way_of(log) == BL_LOG_WRITTEN) {
            fell_back = true;
            bl_log_header header;
            assert_ok(bl_log_read_header(disk, bl_log_path(log), &header, NULL), NULL);
            assert_int_equal(header.way, BL_LOG_WRITTEN);
        }
        bl_log_close(log);
        if (status == BOLE_OK)
            assert_ok(disk->remove(disk, LOG_DIRECTORY "/000001.log", NULL), NULL);
    }
    assert_true(fell_back);
    bole_vfs_destroy(fault);
    bole_vfs_destroy(disk);
}

/* ---- Failures ------------------------------------------------------------------------------------------------- */

/* Goal: a creation that fails leaves nothing behind, in memory or on disk. Method: every call fails once, fresh and
 * recycled, both ways; then every allocation. */
static void a_creation_that_fails_leaves_nothing_behind(void **state)
{
    (void)state;
    size_t failures = 0;
    for (int variant = 0; variant < 4; variant++) {
        for (uint64_t at = 0; at < 40; at++) {
            int64_t live = bl_alloc_live();
            bole_vfs *disk = log_disk(5), *fault = NULL;
            bole_fault_plan plan = { .at = UINT64_MAX, .system_errno = ENOSPC };
            assert_ok(bole_vfs_fault_create(disk, &plan, &fault), NULL);
            bl_log_parameters parameters = log_parameters(fault, 1, 0, 10000, log_ways[variant & 1]);
            bl_write_ahead_log *log = NULL;
            bole_error error = BOLE_ERROR_INIT;
            if (variant >= 2) {
                assert_ok(bl_log_create(&parameters, &log, &error), &error);
                bl_log_close(log);
                parameters.recycle_path = LOG_DIRECTORY "/000001.log";
                parameters.number = 2;
            }
            plan = (bole_fault_plan){ .at = at, .count = 1, .system_errno = ENOSPC };
            bole_status status = bl_log_create(&parameters, &log, &error);
            assert_true(status == BOLE_OK || status == BOLE_NO_SPACE);
            if (status != BOLE_OK) {
                failures++;
                assert_null(log);
                const char *path = variant >= 2 ? LOG_DIRECTORY "/000002.log" : LOG_DIRECTORY "/000001.log";
                bool is_directory = false;
                assert_int_equal(disk->exists(disk, path, &is_directory, NULL), BOLE_NOT_FOUND);
            }
            bl_log_close(log);
            bole_vfs_destroy(fault);
            bole_vfs_destroy(disk);
            assert_int_equal(bl_alloc_live(), live);
        }
        for (uint64_t at = 0; at < 12; at++) {
            bole_vfs *disk = log_disk(5);
            bl_log_parameters parameters = log_parameters(disk, 1, 0, 10000, log_ways[variant & 1]);
            bl_write_ahead_log *log = NULL;
            bl_alloc_fail_at(at, 1);
            bole_status status = bl_log_create(&parameters, &log, NULL);
            bl_alloc_fail_at(UINT64_MAX, 0);
            assert_true(status == BOLE_OK || status == BOLE_NO_MEMORY);
            assert_true((status == BOLE_OK) == (log != NULL));
            failures += status != BOLE_OK;
            bl_log_close(log);
            bole_vfs_destroy(disk);
        }
    }
    assert_true(failures > 30);
}

typedef struct trace_log {
    char text[20000];
    size_t size;
} trace_log;

static void trace_line(void *context, const char *text)
{
    trace_log *trace = context;
    int size = snprintf(trace->text + trace->size, sizeof trace->text - trace->size, "%s\n", text);
    trace->size += (size_t)size;
    assert_true(trace->size < sizeof trace->text);
}

/* Goal (WAL-5): after a publish or sync that failed, nothing is written or synced any more, whatever is
 * asked; what was
 * synced before is still told as synced. Method: a failing call below a trace, which then must stay silent. */
static void a_failed_log_is_never_written_again(void **state)
{
    (void)state;
    for (int variant = 0; variant < 4; variant++) {
        bool fail_sync = variant >= 2;
        trace_log trace = { .size = 0 };
        bole_vfs *disk = log_disk(5), *fault = NULL, *traced = NULL;
        bole_fault_plan plan = { .at = UINT64_MAX };
        assert_ok(bole_vfs_fault_create(disk, &plan, &fault), NULL);
        assert_ok(bole_vfs_trace_create(fault, trace_line, &trace, &traced), NULL);
        bl_log_parameters parameters = log_parameters(traced, 1, 0, 65536, log_ways[variant & 1]);
        log_model model;
        log_make(&model, &parameters);
        log_append(&model, 100, 0);
        log_publish(&model);
        log_sync(&model);
        uint64_t synced = bl_log_synced(model.log);
        assert_int_equal(synced, 124);
        log_append(&model, 100, synced);
        bole_error error = BOLE_ERROR_INIT;
        if (fail_sync)
            log_publish(&model);
        uint64_t published = bl_log_published(model.log);
        plan.at = plan.calls;
        plan.count = 1;
        bole_status status = fail_sync ? bl_log_sync(model.log, published, &error)
                                       : bl_log_publish(model.log, &error);
        assert_status(BOLE_IO, status, &error);
        assert_int_equal(plan.failed, 1);
        assert_int_equal(bl_log_state_of(model.log), BL_LOG_FAILED);
        trace.size = 0;
        uint64_t position = 0;
        uint8_t *payload = bl_log_reserve(model.log, 100, &position);
        assert_non_null(payload);
        payload[0] = BL_RECORD_BATCH;
        bl_log_finish(model.log, payload, 100, position, synced);
        assert_int_equal(bl_get_u64(payload - BL_LOG_RECORD_HEADER_BYTES), 0); /* not even in memory */
        assert_false(bl_log_append_sync_mark(model.log, synced + 1));
        assert_status(BOLE_IO, bl_log_publish(model.log, &error), &error);
        if (fail_sync)
            assert_status(BOLE_IO, bl_log_sync(model.log, published, &error), &error);
        assert_ok(bl_log_sync(model.log, synced, &error), &error);
        bl_log_touch_ahead(model.log);
        bl_log_seal(model.log);
        bl_log_flushed(model.log);
        bl_log_retired(model.log);
        assert_int_equal(bl_log_state_of(model.log), BL_LOG_FAILED);
        assert_int_equal(bl_log_synced(model.log), synced);
        assert_int_equal(bl_log_published(model.log), published);
        assert_int_equal(trace.size, 0);
        log_free(&model);
        bole_vfs_destroy(traced);
        bole_vfs_destroy(fault);
        bole_vfs_destroy(disk);
    }
}

/* Goal: a page that the disk cannot give does not kill the process; the commit sees it. Method: on the real disk, the
 * file is cut under the map, as a full or failing disk below a sparse file would show. */
static void a_page_that_the_disk_cannot_give_fails_the_log(void **state)
{
    (void)state;
    test_directory directory = test_directory_make();
    bl_log_parameters parameters = log_parameters(bole_vfs_posix(), 1, 0, 65536, BL_LOG_MAPPED);
    parameters.directory = directory.path;
    log_model model;
    log_make(&model, &parameters);
    if (bl_log_way_of(model.log) != BL_LOG_MAPPED) {
        log_free(&model);
        print_message("this file system gives no maps\n");
        skip();
    }
    bole_error error = BOLE_ERROR_INIT;
    log_append(&model, 100, 0);
    log_publish(&model);
    assert_int_equal(truncate(model.path, 8192), 0);
    assert_true(log_append(&model, 20000, 0));
    assert_status(BOLE_IO, bl_log_publish(model.log, &error), &error);
    assert_int_equal(bl_log_state_of(model.log), BL_LOG_FAILED);
    assert_status(BOLE_IO, bl_log_sync(model.log, 124, &error), &error);
    log_free(&model);
}

/* Goal: the states move only as the diagram says. Method: in a child each, a move that is none stops the process. */
static void illegal_moves_stop_the_process(void **state)
{
    (void)state;
    for (int move = 0; move < 6; move++) {
        pid_t child = fork();
        assert_true(child >= 0);
        if (child == 0) {
            signal(SIGABRT, SIG_DFL);
            if (freopen("/dev/null", "w", stderr) == NULL)
                _exit(0);
            bole_vfs *disk = log_disk(5);
            bl_log_parameters parameters = log_parameters(disk, 1, 0, 4096, BL_LOG_WRITTEN);
            log_model model;
            log_make(&model, &parameters);
            if (move == 0)
                bl_log_activate(model.log);
            if (move == 1)
                bl_log_flushed(model.log);
            if (move == 2)
                bl_log_retired(model.log);
            if (move >= 3)
                log_append(&model, 10, 0);
            if (move == 3)
                bl_log_seal(model.log); /* not published */
            log_publish(&model);
            if (move == 4)
                (void)!bl_log_sync(model.log, bl_log_end(model.log) + 1, NULL); /* not there yet */
            bl_log_seal(model.log);
            if (move == 5)
                (void)!bl_log_publish(model.log, NULL);
            _exit(0);
        }
        int status = 0;
        assert_int_equal(waitpid(child, &status, 0), child);
        assert_true(WIFSIGNALED(status) || WEXITSTATUS(status) != 0);
    }
}

/* ---- Syncing -------------------------------------------------------------------------------------------------- */

/* Does a power cut now, which leaves nothing unsynced, keep all records below bl_log_synced? */
static void check_synced_survives(const log_model *model, size_t count_at_most)
{
    bole_vfs *left = NULL;
    bole_error error = BOLE_ERROR_INIT;
    uint64_t synced = bl_log_synced(model->log);
    assert_ok(bole_vfs_memory_crash(model->vfs, BOLE_CRASH_LOSE_ALL, 9, &left), NULL);
    bl_log_expectation expectation = log_expect(model);
    expectation.vfs = left;
    expectation.synced = synced;
    bl_log_replayed replayed;
    assert_ok(bl_log_replay(&expectation, NULL, NULL, &replayed, &error), &error);
    assert_true(replayed.end >= synced);
    assert_true(replayed.records <= count_at_most);
    bole_vfs_destroy(left);
}

typedef struct late_append {
    log_model *model;
    bool done;
} late_append;

static void append_late(void *context)
{
    late_append *late = context;
    log_append(late->model, 50, 0);
    log_publish(late->model);
    late->done = true;
}

/* Goal (WAL-6): what is published while a sync runs is not called synced. Method: in simulation an appender runs at the
 * sync's points, before and after the disk's own sync; then the power is cut. */
static void what_is_published_during_a_sync_is_not_called_synced(void **state)
{
    (void)state;
    size_t during = 0;
    for (uint64_t seed = 1; seed <= 200; seed++) {
        bole_vfs *disk = log_disk(seed);
        bl_scheduler *scheduler = NULL;
        assert_ok(bl_scheduler_simulation_create(seed, disk, &scheduler, NULL), NULL);
        bl_log_parameters parameters = log_parameters(disk, 1, 0, 65536, log_ways[seed & 1]);
        parameters.scheduler = scheduler;
        log_model model;
        log_make(&model, &parameters);
        log_append(&model, 50, 0);
        log_publish(&model);
        late_append late = { .model = &model };
        bl_job_node node = { .run = append_late, .context = &late };
        uint64_t position = bl_log_published(model.log);
        bl_scheduler_submit(scheduler, BL_PRIORITY_HIGH, &node);
        assert_ok(bl_log_sync(model.log, position, NULL), NULL);
        during += late.done;
        assert_true(bl_log_synced(model.log) >= position);
        check_synced_survives(&model, 2);
        bl_scheduler_destroy(scheduler);
        assert_true(late.done);
        log_free(&model);
        bole_vfs_destroy(disk);
    }
    assert_true(during > 20);
}

typedef struct helper {
    log_model *model;
    _Atomic bool stop;
    _Atomic size_t syncs;
} helper;

static void *sync_thread(void *context)
{
    helper *syncer = context;
    bl_write_ahead_log *log = syncer->model->log;
    while (!atomic_load(&syncer->stop)) {
        uint64_t position = bl_log_published(log);
        if (bl_log_sync(log, position, NULL) != BOLE_OK || bl_log_synced(log) < position)
            abort();
        if (atomic_fetch_add(&syncer->syncs, 1) % 4 == 0)
            check_synced_survives(syncer->model, SIZE_MAX);
    }
    return NULL;
}

static void *touch_thread(void *context)
{
    helper *syncer = context;
    while (!atomic_load(&syncer->stop))
        if (bl_log_wants_touch(syncer->model->log))
            bl_log_touch_ahead(syncer->model->log);
    return NULL;
}

/* Goal: the roles' threads may run at once. Method: appender, syncer and toucher on one log, with cuts in between; the
 * sanitizers watch, and at the end nothing is missing. */
static void appender_syncer_and_toucher_work_at_once(void **state)
{
    (void)state;
    for (int way = 0; way < 2; way++) {
        bole_vfs *disk = log_disk(5);
        bl_log_parameters parameters = log_parameters(disk, 1, 0, 1 << 20, log_ways[way]);
        log_model model;
        log_make(&model, &parameters);
        helper syncer = { .model = &model };
        pthread_t threads[2];
        assert_int_equal(pthread_create(&threads[0], NULL, sync_thread, &syncer), 0);
        assert_int_equal(pthread_create(&threads[1], NULL, touch_thread, &syncer), 0);
        while (log_append(&model, 100 + model.count % 1000, bl_log_synced(model.log)))
            if (model.count % 3 == 0)
                log_publish(&model);
        log_publish(&model);
        while (atomic_load(&syncer.syncs) < 5)
            sched_yield();
        atomic_store(&syncer.stop, true);
        pthread_join(threads[0], NULL);
        pthread_join(threads[1], NULL);
        check_whole(&model, model.count);
        log_free(&model);
        bole_vfs_destroy(disk);
    }
}

/* ---- The order of calls, as text ------------------------------------------------------------------------------- */

static void heading(trace_log *trace, const char *text)
{
    trace_line(trace, "");
    trace_line(trace, text);
}

/* One life: create, three groups of which one is large, sync, mark, seal. */
static void live_once(trace_log *trace, bole_vfs *vfs, uint64_t number, bl_log_way way,
                      const char *recycle_path)
{
    bl_log_parameters parameters = log_parameters(vfs, number, 1000, 65536, way);
    parameters.recycle_path = recycle_path;
    log_model model;
    trace_line(trace, "# create");
    log_make(&model, &parameters);
    trace_line(trace, "# a record of 76 + 24 bytes, and two more of the same");
    log_append(&model, 76, 0);
    log_publish(&model);
    log_append(&model, 76, 0);
    log_append(&model, 76, 0);
    log_publish(&model);
    trace_line(trace, "# sync, and its mark");
    log_sync(&model);
    log_mark(&model, bl_log_synced(model.log));
    log_publish(&model);
    trace_line(trace, "# a record of 10000 + 24 bytes");
    log_append(&model, 10000, 0);
    log_publish(&model);
    trace_line(trace, "# what is synced is not synced again; then all is; then it is");
    assert_ok(bl_log_sync(model.log, 1300, NULL), NULL);
    log_sync(&model);
    log_sync(&model);
    trace_line(trace, "# seal, flushed, retired, close");
    bl_log_seal(model.log);
    bl_log_flushed(model.log);
    bl_log_retired(model.log);
    log_free(&model);
}

static char *golden_text(const char *name) /* free */
{
    char path[512];
    snprintf(path, sizeof path, "%s/tests/golden/%s", BOLE_SOURCE_DIR, name);
    FILE *file = fopen(path, "r");
    assert_non_null(file);
    char *text = calloc(1, 65536);
    assert_non_null(text);
    assert_true(fread(text, 1, 65535, file) < 65535);
    fclose(file);
    return text;
}

/* Goal: every call that a log makes, and their order, is as written in golden/log_io.txt. Method: both ways, fresh and
 * recycled, under the trace. BOLE_GOLDEN_WRITE=1 writes the file anew, to be read before it is committed. */
static void the_order_of_calls_is_golden(void **state)
{
    (void)state;
    trace_log trace = { .size = 0 };
    bole_vfs *disk = log_disk(5), *traced = NULL;
    assert_ok(bole_vfs_trace_create(disk, trace_line, &trace, &traced), NULL);
    trace_line(
        &trace,
        "The calls of a log with room for 65536 bytes from position 1000 on; see test_write_ahead_log.c.");
    heading(&trace, "== mapped, fresh");
    live_once(&trace, traced, 1, BL_LOG_MAPPED, NULL);
    heading(&trace, "== mapped, recycled");
    live_once(&trace, traced, 2, BL_LOG_MAPPED, LOG_DIRECTORY "/000001.log");
    heading(&trace, "== written, fresh and small: written over once");
    live_once(&trace, traced, 3, BL_LOG_WRITTEN, NULL);
    heading(&trace, "== written, recycled: used as it is");
    live_once(&trace, traced, 4, BL_LOG_WRITTEN, LOG_DIRECTORY "/000003.log");
    heading(&trace, "== written, fresh and large: only allocated");
    bl_log_parameters parameters = log_parameters(traced, 5, 1000, 2 << 20, BL_LOG_WRITTEN);
    log_model model;
    log_make(&model, &parameters);
    log_free(&model);
    heading(&trace, "== written, recycled from a larger and from a smaller file");
    parameters = log_parameters(traced, 6, 1000, 65536, BL_LOG_WRITTEN);
    parameters.recycle_path = LOG_DIRECTORY "/000005.log";
    log_make(&model, &parameters);
    log_free(&model);
    parameters = log_parameters(traced, 7, 1000, 131072, BL_LOG_WRITTEN);
    parameters.recycle_path = LOG_DIRECTORY "/000006.log";
    log_make(&model, &parameters);
    log_free(&model);
    heading(&trace, "== what replay accepted is made durable (all but the first 100 bytes)");
    assert_ok(bl_log_settle(traced, LOG_DIRECTORY "/000004.log", 1100, 1325, NULL), NULL);
    bole_vfs_destroy(traced);
    bole_vfs_destroy(disk);
    if (getenv("BOLE_GOLDEN_WRITE") != NULL) {
        FILE *file = fopen(BOLE_SOURCE_DIR "/tests/golden/log_io.txt", "w");
        assert_non_null(file);
        fputs(trace.text, file);
        fclose(file);
    }
    char *wanted = golden_text("log_io.txt");
    assert_string_equal(trace.text, wanted);
    free(wanted);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        /* The first, because the first map installs the SIGBUS handler, and cmocka puts back its own after each. */
        cmocka_unit_test(a_page_that_the_disk_cannot_give_fails_the_log),
        cmocka_unit_test(what_is_appended_is_replayed_in_order),
        cmocka_unit_test(a_log_can_be_filled_to_its_last_byte),
        cmocka_unit_test(reserved_places_do_not_move),
        cmocka_unit_test(void_records_are_skipped),
        cmocka_unit_test(a_sync_mark_is_written_when_it_says_something_new),
        cmocka_unit_test(touching_ahead_keeps_a_window_and_changes_nothing),
        cmocka_unit_test(the_header_says_what_the_log_was_made_with),
        cmocka_unit_test(a_log_never_takes_the_place_of_another_file),
        cmocka_unit_test(a_log_beyond_the_last_position_is_refused),
        cmocka_unit_test(a_log_that_cannot_be_mapped_is_written),
        cmocka_unit_test(a_creation_that_fails_leaves_nothing_behind),
        cmocka_unit_test(a_failed_log_is_never_written_again),
        cmocka_unit_test(illegal_moves_stop_the_process),
        cmocka_unit_test(what_is_published_during_a_sync_is_not_called_synced),
        cmocka_unit_test(appender_syncer_and_toucher_work_at_once),
        cmocka_unit_test(the_order_of_calls_is_golden),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
