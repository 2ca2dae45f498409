/* SPDX-License-Identifier: MIT */
/* test_posix_calls.c -- what the vfs of the operating system really asks of it, and what it makes of odd answers.
 *
 * This program has functions of its own in the place of the C library's pread, pwrite, fsync and fdatasync: they count,
 * are cut short, interrupted or fail as a test wants, and else make the system call. */
#include "test.h"

#include <bole/bole_vfs.h>
#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <sys/syscall.h>

static struct { /* a store's own threads call, too */
    _Atomic uint32_t syncs, directory_syncs, reads, writes;
    _Atomic size_t most;        /* bytes that one read or write moves; 0: all */
    _Atomic uint32_t interrupt; /* this many calls say EINTR first */
    _Atomic uint32_t fail_sync; /* this many syncs say EIO */
} calls;

/* One less, when there is one. */
static bool take_one(_Atomic uint32_t *from)
{
    uint32_t left = atomic_load(from);
    while (left != 0)
        if (atomic_compare_exchange_weak(from, &left, left - 1))
            return true;
    return false;
}

static bool interrupted(void)
{
    if (!take_one(&calls.interrupt))
        return false;
    errno = EINTR;
    return true;
}

ssize_t pread(int descriptor, void *data, size_t size, off_t offset)
{
    calls.reads++;
    if (interrupted())
        return -1;
    return syscall(SYS_pread64, descriptor, data, calls.most != 0 && size > calls.most ? calls.most : size,
                   offset);
}

ssize_t pwrite(int descriptor, const void *data, size_t size, off_t offset)
{
    calls.writes++;
    if (interrupted())
        return -1;
    return syscall(SYS_pwrite64, descriptor, data, calls.most != 0 && size > calls.most ? calls.most : size,
                   offset);
}

static int sync_call(long number, int descriptor)
{
    if (take_one(&calls.fail_sync)) {
        errno = EIO;
        return -1;
    }
    return (int)syscall(number, descriptor);
}

int fdatasync(int descriptor)
{
    calls.syncs++;
    return sync_call(SYS_fdatasync, descriptor);
}

int fsync(int descriptor)
{
    struct stat state;
    calls.syncs++;
    calls.directory_syncs += fstat(descriptor, &state) == 0 && S_ISDIR(state.st_mode);
    return sync_call(SYS_fsync, descriptor);
}

static bole_vfs *posix;
static test_directory directory;

static int set_up(void **state)
{
    (void)state;
    posix = bole_vfs_posix();
    directory = test_directory_make();
    memset(&calls, 0, sizeof calls);
    return 0;
}

static bole_file *open_file(void)
{
    bole_error error = BOLE_ERROR_INIT;
    bole_file *file;
    assert_ok(posix->open(posix, test_path(&directory, "file"), BOLE_VFS_WRITE | BOLE_VFS_CREATE, &file,
                          &error),
              &error);
    return file;
}

/* Goal: a sync reaches the system, once, for a file and for a directory. */
static void a_sync_is_a_call_of_the_system(void **state)
{
    (void)state;
    bole_file *file = open_file();
    assert_ok(posix->write(file, 0, "data", 4, NULL), NULL);
    assert_int_equal(calls.syncs, 0);
    assert_ok(posix->sync(file, NULL), NULL);
    assert_int_equal(calls.syncs, 1);
    assert_ok(posix->sync_directory(posix, directory.path, NULL), NULL);
    assert_int_equal(calls.syncs, 2);
    assert_int_equal(calls.directory_syncs, 1);
    assert_ok(posix->close(file, NULL), NULL);
}

/* Goal: a sync that failed is told, with its errno, and not tried again (POSIX-2). */
static void a_failed_sync_is_told_and_not_repeated(void **state)
{
    (void)state;
    bole_error error = BOLE_ERROR_INIT;
    bole_file *file = open_file();
    calls.fail_sync = 1;
    assert_status(BOLE_IO, posix->sync(file, &error), &error);
    assert_int_equal(error.system_errno, EIO);
    assert_int_equal(calls.syncs, 1);
    calls.fail_sync = 1;
    assert_status(BOLE_IO, posix->sync_directory(posix, directory.path, &error), &error);
    assert_int_equal(calls.syncs, 2);
    assert_ok(posix->close(file, NULL), NULL);
}

/* Goal: reads and writes that the system cuts short or interrupts are carried on (POSIX-1). */
static void short_and_interrupted_calls_are_carried_on(void **state)
{
    (void)state;
    static uint8_t written[50000], seen[50000];
    for (size_t i = 0; i < sizeof written; i++)
        written[i] = (uint8_t)(i * 7 + i / 251);
    bole_error error = BOLE_ERROR_INIT;
    bole_file *file = open_file();
    calls.most = 777;
    calls.interrupt = 3;
    assert_ok(posix->write(file, 5, written, sizeof written, &error), &error);
    assert_true(calls.writes >= sizeof written / 777 + 3);
    calls.interrupt = 3;
    size_t got = 0;
    assert_ok(posix->read(file, 5, seen, sizeof seen, &got, &error), &error);
    assert_int_equal(got, sizeof seen);
    assert_memory_equal(seen, written, sizeof seen);
    assert_true(calls.reads >= sizeof seen / 777 + 3);
    assert_ok(posix->read(file, sizeof written, seen, 100, &got, &error), &error);
    assert_int_equal(got, 5); /* the end of the file is no failure */
    assert_ok(posix->close(file, NULL), NULL);
}

/* Goal: a store whose system moves a few bytes at a time is as good as any other, and its durable write syncs. */
static void a_store_lives_with_a_system_that_is_slow_of_speech(void **state)
{
    (void)state;
    calls.most = 100;
    bole_db *db;
    bole_error error = BOLE_ERROR_INIT;
    bole_options options = BOLE_OPTIONS_INIT;
    options.flags = BOLE_CREATE | BOLE_NO_SIGBUS_HANDLER;
    options.memory_limit = 16 << 20;
    const char *path = test_path(&directory, "store");
    bole_write_options durable = BOLE_WRITE_OPTIONS_INIT;
    durable.durability = BOLE_DURABILITY_POWER;
    durable.error = &error;
    assert_ok(bole_open(path, &options, &db, &error), &error);
    assert_true(calls.directory_syncs > 0);
    for (uint32_t i = 0; i < 100; i++) {
        uint32_t before = calls.syncs;
        assert_ok(bole_put(db, &durable, BOLE_SLICE(&i, sizeof i), BOLE_STR("value")), &error);
        assert_true(calls.syncs > before);
        if (i == 50)
            assert_ok(bole_flush(db, &error), &error);
    }
    assert_ok(bole_close(db, &error), &error);
    assert_ok(bole_open(path, &options, &db, &error), &error);
    bole_buffer value = BOLE_BUFFER_INIT;
    for (uint32_t i = 0; i < 100; i++)
        assert_ok(bole_get(db, NULL, BOLE_SLICE(&i, sizeof i), &value), NULL);
    bole_buffer_free(&value);
    assert_ok(bole_close(db, &error), &error);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(a_sync_is_a_call_of_the_system, set_up),
        cmocka_unit_test_setup(a_failed_sync_is_told_and_not_repeated, set_up),
        cmocka_unit_test_setup(short_and_interrupted_calls_are_carried_on, set_up),
        cmocka_unit_test_setup(a_store_lives_with_a_system_that_is_slow_of_speech, set_up),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
