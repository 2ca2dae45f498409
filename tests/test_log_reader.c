/* SPDX-License-Identifier: MIT */
/* test_log_reader.c -- the window through which a log is read: what it shows is what the file holds at that place,
 * however the reader jumps, whatever failed before, and an end that moved is told. */
#include "test.h"

#include <bole/bole_vfs.h>

#include "base/coding.h"
#include "base/prng.h"
#include "log/log_reader.h"

enum { FILE_BYTES = 3 * BL_LOG_WINDOW_BYTES };

typedef struct fixture {
    bole_vfs *disk, *failing;
    bole_fault_plan plan;
    bole_file *file;
    uint8_t *bytes;
    bl_log_reader reader;
    bole_error error;
} fixture;

static int set_up(void **state)
{
    fixture *f = calloc(1, sizeof *f);
    f->error = (bole_error)BOLE_ERROR_INIT;
    f->plan.at = UINT64_MAX;
    assert_ok(bole_vfs_memory_create(1, &f->disk), NULL);
    assert_ok(bole_vfs_fault_create(f->disk, &f->plan, &f->failing), NULL);
    f->bytes = malloc(FILE_BYTES);
    bl_prng prng;
    bl_prng_init(&prng, 1);
    bl_prng_fill(&prng, f->bytes, FILE_BYTES);
    assert_ok(f->failing->open(f->failing, "a.log", BOLE_VFS_WRITE | BOLE_VFS_CREATE, &f->file, &f->error),
              &f->error);
    assert_ok(f->failing->write(f->file, 0, f->bytes, FILE_BYTES, &f->error), &f->error);
    bl_log_header header = { .start = 0 };
    bl_log_reader_init(&f->reader, f->file, "a.log", &header, FILE_BYTES);
    *state = f;
    return 0;
}

static int tear_down(void **state)
{
    fixture *f = *state;
    bl_log_reader_deinit(&f->reader);
    assert_ok(f->failing->close(f->file, NULL), NULL);
    bole_vfs_destroy(f->failing);
    bole_vfs_destroy(f->disk);
    free(f->bytes);
    free(f);
    return 0;
}

static void shows(fixture *f, uint64_t offset, uint64_t bytes)
{
    const uint8_t *seen = NULL;
    assert_ok(bl_log_reader_view(&f->reader, offset, bytes, &seen, &f->error), &f->error);
    assert_memory_equal(seen, f->bytes + offset, bytes);
}

static void fails(fixture *f, uint64_t offset, uint64_t bytes)
{
    const uint8_t *seen = NULL;
    f->plan.at = f->plan.calls;
    f->plan.count = 1;
    f->plan.system_errno = 5; /* EIO */
    assert_status(BOLE_IO, bl_log_reader_view(&f->reader, offset, bytes, &seen, &f->error), NULL);
    assert_null(seen);
    f->plan.at = UINT64_MAX;
}

static void any_jump_shows_the_file(void **state)
{
    fixture *f = *state;
    bl_prng prng;
    bl_prng_init(&prng, test_seed(1));
    for (int i = 0; i < 300; i++) {
        uint64_t most = bl_prng_chance(&prng, 8) ? 2 * BL_LOG_WINDOW_BYTES : 5000;
        uint64_t bytes = bl_prng_below(&prng, most);
        uint64_t offset = bl_prng_chance(&prng, 4) ? bl_prng_below(&prng, FILE_BYTES - bytes + 1)
                                                   : f->reader.base + f->reader.size - bytes / 2;
        if (offset > FILE_BYTES || bytes > FILE_BYTES - offset)
            continue;
        shows(f, offset, bytes);
    }
}

/* After a read that failed the window is the part that is known, no more: a second try reads the rest. */
static void a_failed_read_leaves_no_stale_bytes(void **state)
{
    fixture *f = *state;
    uint64_t step = BL_LOG_WINDOW_BYTES / 2;
    shows(f, 0, 100);
    fails(f, step, BL_LOG_WINDOW_BYTES); /* the half that is there stays */
    shows(f, step, BL_LOG_WINDOW_BYTES);
    shows(f, 0, 100);
    fails(f, 2 * BL_LOG_WINDOW_BYTES, 100); /* nothing of it is there */
    shows(f, 2 * BL_LOG_WINDOW_BYTES, 100);
    shows(f, 0, 100);
    fails(f, step, BL_LOG_WINDOW_BYTES);
    shows(f, step + 10, 20);
    shows(f, step + BL_LOG_WINDOW_BYTES / 2 + 5, 100);
}

static void a_file_that_became_shorter_is_told(void **state)
{
    fixture *f = *state;
    const uint8_t *seen = NULL;
    assert_ok(f->failing->truncate(f->file, FILE_BYTES - 7, &f->error), &f->error);
    uint64_t offset = FILE_BYTES - 1000;
    assert_status(BOLE_CORRUPT, bl_log_reader_view(&f->reader, offset, 1000, &seen, &f->error), NULL);
    assert_null(seen);
    assert_non_null(strstr(f->error.message, "shorter"));
    shows(f, offset, 900); /* what is still there is shown */
}

/* A search, and a look whether all is zero, end with a read that fails, wherever it is. */
static void a_search_tells_of_reads_that_fail(void **state)
{
    fixture *f = *state;
    memset(f->bytes, 0,
           FILE_BYTES); /* headers that claim a record longer than the window: each is looked at */
    for (uint64_t at = 100; at < FILE_BYTES; at += BL_LOG_WINDOW_BYTES / 2)
        bl_put_u64(f->bytes + at + BL_LOG_RECORD_LENGTH_AT, BL_LOG_WINDOW_BYTES + 1000);
    assert_ok(f->failing->write(f->file, 0, f->bytes, FILE_BYTES, &f->error), &f->error);
    uint64_t failed = 0;
    for (int zero = 0; zero < 2; zero++)
        for (uint64_t at = 0, more = 1; more != 0; at++) {
            bl_log_record record;
            bl_log_search result = BL_LOG_SEARCH_NONE;
            bool is_zero = false;
            f->reader.size = 0;
            f->plan.at = f->plan.calls + at;
            f->plan.failed = 0;
            f->plan.count = 1;
            f->plan.system_errno = 5;
            bole_status status = zero == 0
                                     ? bl_log_reader_search(&f->reader, 0, 0, &record, &result, &f->error)
                                     : bl_log_reader_zero(&f->reader, 200, &is_zero, &f->error);
            more = f->plan.failed;
            assert_status(more != 0 ? BOLE_IO : BOLE_OK, status, &f->error);
            failed += more;
        }
    f->plan.at = UINT64_MAX;
    assert_true(failed > 3);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(any_jump_shows_the_file, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_failed_read_leaves_no_stale_bytes, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_file_that_became_shorter_is_told, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_search_tells_of_reads_that_fail, set_up, tear_down),
    };
    return cmocka_run_group_tests_name("log_reader", tests, NULL, NULL);
}
