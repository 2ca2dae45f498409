/* SPDX-License-Identifier: MIT */
/* test.h -- what every test program shares: cmocka in its order of includes, a directory that goes away, a
 * seed that can be given again, and checks of a status that print the story behind it. Header-only. */
#ifndef BOLE_TEST_H
#define BOLE_TEST_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* After those four: */
#include <cmocka.h>

#include <bole/bole.h>
#include <ftw.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/sanitizer.h"

#define TEST_UNUSED __attribute__((unused))

/* Where ThreadSanitizer looks on, tests that run on one thread take one step in so many: it makes them several times
 * as slow, and sees nothing in the others. */
#if defined(BL_THREAD_SANITIZER)
enum { TEST_STEP = 7 };
#else
enum { TEST_STEP = 1 };
#endif

/* The seed of a random test: BOLE_TEST_SEED, else `fallback`. Printed, so that a failure can be replayed. */
TEST_UNUSED static uint64_t test_seed(uint64_t fallback)
{
    const char *text = getenv("BOLE_TEST_SEED");
    uint64_t seed = text != NULL ? strtoull(text, NULL, 0) : fallback;
    print_message("[   SEED   ] BOLE_TEST_SEED=%" PRIu64 "\n", seed);
    return seed;
}

/* BOLE_TEST_CASE: only the cases of the program whose name it is; * and ? stand for other characters. */
__attribute__((constructor)) static void test_choose_cases(void)
{
    const char *pattern = getenv("BOLE_TEST_CASE");
    if (pattern != NULL)
        cmocka_set_test_filter(pattern);
}

/* Check a status and show the error's message when it is another one. `error` is a bole_error * or NULL. */
#define assert_status(expected, status, error) \
    test_assert_status((expected), (status), (error), #status, __FILE__, __LINE__)
#define assert_ok(status, error) assert_status(BOLE_OK, (status), (error))

TEST_UNUSED static void test_assert_status(bole_status expected, bole_status status, const bole_error *error,
                                           const char *expression, const char *file, int line)
{
    if (status == expected)
        return;
    print_error("%s is %s, not %s: %s\n", expression, bole_status_name(status), bole_status_name(expected),
                error != NULL && status != BOLE_OK ? error->message : bole_status_text(status));
    _fail(file, line);
}

/* ---- A directory of its own for a test; removed with all that is in it when the program ends ----------- */

typedef struct test_directory {
    char path[256];
} test_directory;

static char test_directories[32][256];
static unsigned test_directory_count;
static pid_t test_directory_owner; /* a child of fork removes nothing */

TEST_UNUSED static int test_remove_one(const char *path, const struct stat *status, int kind,
                                       struct FTW *walk)
{
    (void)status, (void)kind, (void)walk;
    return remove(path);
}

TEST_UNUSED static void test_remove_all(const char *path)
{
    nftw(path, test_remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

static void test_remove_directories(void)
{
    while (test_directory_count != 0 && getpid() == test_directory_owner)
        test_remove_all(test_directories[--test_directory_count]);
}

TEST_UNUSED static test_directory test_directory_make(void)
{
    test_directory directory;
    const char *parent = getenv("TMPDIR");
    snprintf(directory.path, sizeof directory.path, "%s/bole-test-XXXXXX", parent != NULL ? parent : "/tmp");
    assert_non_null(mkdtemp(directory.path));
    assert_true(test_directory_count < 32);
    if (test_directory_owner == 0)
        atexit(test_remove_directories);
    test_directory_owner = getpid();
    memcpy(test_directories[test_directory_count++], directory.path, sizeof directory.path);
    return directory;
}

/* "directory/name" in a static buffer, one of four in turn. */
TEST_UNUSED static const char *test_path(const test_directory *directory, const char *name)
{
    static char paths[4][600];
    static unsigned turn;
    char *path = paths[turn++ % 4];
    snprintf(path, sizeof paths[0], "%s/%s", directory->path, name);
    return path;
}

#endif
