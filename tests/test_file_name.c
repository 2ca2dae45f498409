/* SPDX-License-Identifier: MIT */
/* test_file_name.c -- names of a store's files, and back. */
#include "test.h"

#include "base/prng.h"
#include "version/file_name.h"

static const struct name_case {
    bl_file_kind kind;
    uint64_t number;
    const char *name;
} names[] = {
    { BL_FILE_LOG, 7, "000007.log" },
    { BL_FILE_LOG, 999999, "999999.log" },
    { BL_FILE_LOG, 1000000, "1000000.log" },
    { BL_FILE_SEGMENT, 12, "000012.seg" },
    { BL_FILE_MANIFEST, 1, "manifest-000001" },
    { BL_FILE_MANIFEST, BL_FILE_NUMBER_MAX, "manifest-4611686018427387904" },
    { BL_FILE_CURRENT, 0, "CURRENT" },
    { BL_FILE_LOCK, 0, "LOCK" },
    { BL_FILE_READERS, 0, "readers" },
    { BL_FILE_RESERVE, 0, "reserve" },
    { BL_FILE_CONFIG, 0, "bole.conf" },
    { BL_FILE_EVENTS, 0, "events.jsonl" },
    { BL_FILE_EVENTS, 1, "events.1.jsonl" },
    { BL_FILE_EVENTS, 12, "events.12.jsonl" },
};

/* Goal: every kind has the name that the documents give it, and the name leads back (NAME-1). */
static void a_name_is_written_and_parsed_to_the_same_file(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        char path[BL_PATH_BYTES_MAX], wanted[128];
        uint64_t number = 99;
        assert_true(bl_file_path(path, "my.bole", names[i].kind, names[i].number));
        snprintf(wanted, sizeof wanted, "my.bole/%s", names[i].name);
        assert_string_equal(path, wanted);
        assert_int_equal(bl_file_parse(names[i].name, &number), names[i].kind);
        assert_int_equal(number, names[i].number);
        assert_true(bl_file_path_temporary(path, "", names[i].kind, names[i].number));
        snprintf(wanted, sizeof wanted, "%s.tmp", names[i].name);
        assert_string_equal(path, wanted);
        assert_int_equal(bl_file_parse(path, &number), BL_FILE_TEMPORARY);
        assert_int_equal(number, names[i].number);
    }
}

/* Goal: what only looks like a store's file is left alone. */
static void a_name_that_is_not_exact_is_not_the_stores(void **state)
{
    (void)state;
    static const char *const others[] = {
        "",
        "a",
        ".",
        "..",
        "000000.log",
        "7.log",
        "00007.log",
        "0000007.log",
        "01000000.log",
        "000007.LOG",
        "000007.log ",
        " 000007.log",
        "+00007.log",
        "-00007.log",
        "0x0007.log",
        "000007.logs",
        "000007.seg.bak",
        "000007",
        "manifest-",
        "manifest-1",
        "manifest-000000",
        "manifest-0000001",
        "Manifest-000001",
        "manifest-000001/..",
        "../000007.log",
        "./CURRENT",
        "current",
        "CURRENT.tmp.tmp",
        ".tmp",
        "x.tmp",
        "LOCK~",
        "events.0.jsonl",
        "events.01.jsonl",
        "events..jsonl",
        "events.jsonl.1",
        "bole.conf.bak",
        "readers.d",
        "18446744073709551615.seg",
        "18446744073709551617.log",
        "99999999999999999999999999.log",
        "4611686018427387905.seg",
        "\xEF\xBC\x91.log", /* a digit of another script */
    };
    for (size_t i = 0; i < sizeof others / sizeof others[0]; i++) {
        uint64_t number = 99;
        if (bl_file_parse(others[i], &number) != BL_FILE_OTHER)
            fail_msg("\"%s\" was taken for a file of the store", others[i]);
        assert_int_equal(number, 0);
    }
}

/* Goal: a path that does not fit is refused, not cut. Method: directories around the limit. */
static void a_path_that_is_too_long_is_refused(void **state)
{
    (void)state;
    static char directory[BL_PATH_BYTES_MAX + 8];
    char path[BL_PATH_BYTES_MAX];
    for (size_t length = BL_PATH_BYTES_MAX - 16; length < BL_PATH_BYTES_MAX + 4; length++) {
        memset(directory, 'd', length);
        directory[length] = '\0';
        bool fits = length + strlen("/CURRENT") < BL_PATH_BYTES_MAX;
        assert_int_equal(bl_file_path(path, directory, BL_FILE_CURRENT, 0), fits);
        assert_int_equal(strlen(path), fits ? length + strlen("/CURRENT") : 0);
    }
}

/* Goal: (NAME-1) for names out of the letters that real ones are made of. Method: random names; whatever
 * parses is written again and must be the same bytes. */
static void a_random_name_that_parses_is_the_name_that_is_written(void **state)
{
    (void)state;
    bl_prng prng;
    bl_prng_init(&prng, test_seed(11));
    static const char *const pieces[] = { "0",       "00",     "1",    "7",         "9", "123456",
                                          ".log",    ".seg",   ".tmp", "manifest-", "-", "CURRENT",
                                          "events.", ".jsonl", "LOCK", "readers" };
    unsigned parsed = 0;
    for (int i = 0; i < 200000; i++) {
        char name[64] = "";
        for (uint64_t n = bl_prng_below(&prng, 6); n > 0; n--)
            strcat(name, pieces[bl_prng_below(&prng, sizeof pieces / sizeof pieces[0])]);
        uint64_t number;
        bl_file_kind kind = bl_file_parse(name, &number);
        if (kind == BL_FILE_OTHER || kind == BL_FILE_TEMPORARY)
            continue;
        char path[BL_PATH_BYTES_MAX];
        assert_true(bl_file_path(path, "", kind, number));
        assert_string_equal(path, name);
        parsed++;
    }
    assert_true(parsed > 1000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_name_is_written_and_parsed_to_the_same_file),
        cmocka_unit_test(a_name_that_is_not_exact_is_not_the_stores),
        cmocka_unit_test(a_path_that_is_too_long_is_refused),
        cmocka_unit_test(a_random_name_that_parses_is_the_name_that_is_written),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
