/* SPDX-License-Identifier: MIT */
/* test_status.c -- statuses and the stories behind them. */
#include "test.h"

#include "base/assert.h"
#include "base/status.h"

#include <errno.h>
#include <wchar.h>

/* Every status of the map has its own name and a text; a number that is none has neither. */
static void every_status_has_a_name_and_a_text(void **state)
{
    (void)state;
    for (int i = 0; i <= BOLE_CANCELLED; i++) {
        assert_memory_equal(bole_status_name((bole_status)i), "BOLE_", 5);
        assert_string_not_equal(bole_status_name((bole_status)i), "BOLE_?");
        assert_true(strlen(bole_status_text((bole_status)i)) > 1);
        for (int j = 0; j < i; j++)
            assert_string_not_equal(bole_status_name((bole_status)i), bole_status_name((bole_status)j));
    }
    assert_string_equal(bole_status_name((bole_status)999), "BOLE_?");
    assert_string_equal(bole_status_name(BOLE_CORRUPT), "BOLE_CORRUPT");
    assert_string_equal(bole_version(), BOLE_VERSION_STRING);
}

/* A failure fills everything and leaves nothing of an earlier one. */
static void a_failure_replaces_the_story_of_an_earlier_one(void **state)
{
    (void)state;
    bole_error error = BOLE_ERROR_INIT;
    assert_int_equal(bl_corrupt(&error, "000012.seg", 4096, "checksum of block %d", 7), BOLE_CORRUPT);
    assert_int_equal(error.status, BOLE_CORRUPT);
    assert_int_equal(error.offset, 4096);
    assert_string_equal(error.file, "000012.seg");
    assert_string_equal(error.message, "000012.seg at offset 4096: checksum of block 7");
    assert_int_equal(bl_fail(&error, BOLE_INVALID, "bad %s", "thing"), BOLE_INVALID);
    assert_int_equal(error.status, BOLE_INVALID);
    assert_true(error.offset == BL_NO_OFFSET);
    assert_string_equal(error.file, "");
    assert_string_equal(error.message, "bad thing");
}

static void an_errno_finds_its_status(void **state)
{
    (void)state;
    static const struct {
        int system_errno;
        bole_status status;
    } cases[] = {
        { ENOSPC, BOLE_NO_SPACE },  { EDQUOT, BOLE_NO_SPACE },  { EACCES, BOLE_PERMISSION },
        { EPERM, BOLE_PERMISSION }, { EROFS, BOLE_PERMISSION }, { ENOMEM, BOLE_NO_MEMORY },
        { ENOENT, BOLE_NOT_FOUND }, { EEXIST, BOLE_EXISTS },    { EIO, BOLE_IO },
        { EMFILE, BOLE_IO },
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        bole_error error = BOLE_ERROR_INIT;
        assert_int_equal(bl_fail_system(&error, cases[i].system_errno, "open", "a/LOCK"), cases[i].status);
        assert_int_equal(error.system_errno, cases[i].system_errno);
        assert_string_equal(error.file, "a/LOCK");
        assert_memory_equal(error.message, "cannot open a/LOCK: ", 20);
    }
}

/* Each layer may put its words in front; what does not fit is cut at the end, and the text stays a string. */
static void a_prefix_goes_in_front_and_long_texts_are_cut(void **state)
{
    (void)state;
    bole_error error = BOLE_ERROR_INIT;
    bl_fail(&error, BOLE_IO, "disk on fire");
    assert_int_equal(bl_fail_prefix(&error, BOLE_IO, "recovering %s", "my.bole"), BOLE_IO);
    assert_string_equal(error.message, "recovering my.bole: disk on fire");

    char big[2000];
    memset(big, 'x', sizeof big - 1);
    big[sizeof big - 1] = '\0';
    assert_int_equal(bl_fail_prefix(&error, BOLE_IO, "%s", big), BOLE_IO);
    assert_int_equal(strnlen(error.message, sizeof error.message), sizeof error.message - 1);
    assert_int_equal(bl_fail(&error, BOLE_IO, "%s", big), BOLE_IO);
    assert_int_equal(strnlen(error.message, sizeof error.message), sizeof error.message - 1);
    assert_int_equal(bl_fail_prefix(&error, BOLE_IO, "front"), BOLE_IO);
    assert_memory_equal(error.message, "front: xxx", 10);
    /* The end of a long path is kept: it names the file. */
    big[sizeof big - 2] = 'E';
    bl_corrupt(&error, big, BL_NO_OFFSET, "torn");
    assert_int_equal(strlen(error.file), sizeof error.file - 1);
    assert_int_equal(error.file[sizeof error.file - 2], 'E');
}

static void no_error_wanted_still_gives_the_status(void **state)
{
    (void)state;
    assert_int_equal(bl_fail(NULL, BOLE_BUSY, "in use"), BOLE_BUSY);
    assert_int_equal(bl_fail_system(NULL, ENOSPC, "write", "x"), BOLE_NO_SPACE);
    assert_int_equal(bl_corrupt(NULL, "x", 1, "bad"), BOLE_CORRUPT);
    assert_int_equal(bl_fail_prefix(NULL, BOLE_IO, "front"), BOLE_IO);
    bl_error_clear(NULL);
}

/* Numbers that are no status, a format that cannot be written, a story that is none yet. */
static void what_is_no_status_is_told(void **state)
{
    (void)state;
    assert_string_equal(bole_status_name((bole_status)9999), "BOLE_?");
    assert_string_equal(bole_status_text((bole_status)9999), "unknown status");
    bole_error error = BOLE_ERROR_INIT;
    assert_int_equal(bl_fail_prefix(&error, BOLE_IO, "front"), BOLE_IO);
    assert_string_equal(error.message, "front: ");
    bl_fail(&error, BOLE_BUSY, "in use");
    assert_int_equal(bl_fail_prefix(&error, BOLE_IO, "%lc", (wint_t)0x7fffffff), BOLE_BUSY);
    assert_non_null(strstr(error.message, "in use"));
}

/* Without BL_MARKS nothing is written, and marks count all the same. */
static void marks_need_no_file(void **state)
{
    (void)state;
    const char *path = getenv("BL_MARKS");
    char *kept = path == NULL ? NULL : strdup(path);
    unsetenv("BL_MARKS");
    BL_MARK("test: a branch without a file");
#ifdef BL_CHECKS
    assert_int_equal(bl_mark_count("test: a branch without a file"), 1);
#endif
    if (kept != NULL)
        setenv("BL_MARKS", kept, 1);
    free(kept);
}

/* Marks with equal names count together, wherever the literals stand. */
static void marks_are_counted_by_name(void **state)
{
    (void)state;
    char other_address[] = "test: a rare branch";
    unsigned long before = bl_mark_count(other_address);
    BL_MARK("test: a rare branch");
    BL_MARK("test: a rare branch");
#ifdef BL_CHECKS
    assert_int_equal(bl_mark_count(other_address), before + 2);
    bl_mark_hit(other_address);
    assert_int_equal(bl_mark_count("test: a rare branch"), before + 3);
#else
    assert_int_equal(bl_mark_count(other_address), before);
#endif
    assert_int_equal(bl_mark_count("test: never hit"), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_status_has_a_name_and_a_text),
        cmocka_unit_test(a_failure_replaces_the_story_of_an_earlier_one),
        cmocka_unit_test(an_errno_finds_its_status),
        cmocka_unit_test(a_prefix_goes_in_front_and_long_texts_are_cut),
        cmocka_unit_test(no_error_wanted_still_gives_the_status),
        cmocka_unit_test(what_is_no_status_is_told),
        cmocka_unit_test(marks_need_no_file),
        cmocka_unit_test(marks_are_counted_by_name),
    };
    return cmocka_run_group_tests_name("status", tests, NULL, NULL);
}
