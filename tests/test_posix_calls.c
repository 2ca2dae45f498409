/* SPDX-License-Identifier: MIT */
/* test_posix_calls.c -- what the vfs of the operating system really asks of it, and what it makes of odd answers.
 *
 * This program has functions of its own in the place of the C library's pread, pwrite, fsync, fdatasync and
 * posix_fadvise: they count, are cut short, interrupted or fail as a test wants, and else make the system call. */
#include "test.h"

#include "base/alloc.h"
#include "base/prng.h"

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
    _Atomic uint32_t fail_read; /* this many reads say EIO */
    _Atomic uint32_t direct;    /* reads past the cache */
    _Atomic uint32_t refuse;    /* this many of them say EINVAL */
    _Atomic uint32_t dropped;   /* files that were to leave the cache */
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
    if (take_one(&calls.fail_read)) {
        errno = EIO;
        return -1;
    }
    if ((fcntl(descriptor, F_GETFL) & O_DIRECT) != 0) {
        calls.direct++;
        assert_int_equal(((uintptr_t)data | size | (size_t)offset) % 4096, 0);
        if (take_one(&calls.refuse)) {
            errno = EINVAL;
            return -1;
        }
    }
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

int posix_fadvise(int descriptor, off_t offset, off_t length, int advice)
{
    calls.dropped += advice == POSIX_FADV_DONTNEED;
    return syscall(SYS_fadvise64, descriptor, offset, length, advice) == 0 ? 0 : errno;
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

static bole_file *open_as(uint32_t flags)
{
    bole_error error = BOLE_ERROR_INIT;
    bole_file *file;
    assert_ok(posix->open(posix, test_path(&directory, "file"), flags, &file, &error), &error);
    return file;
}

static bole_file *open_file(void) { return open_as(BOLE_VFS_WRITE | BOLE_VFS_CREATE); }

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

/* Does the file system of the tests read past its cache? tmpfs of older kernels does not. */
static bool reads_past_the_cache(void)
{
    int descriptor = open(test_path(&directory, "any"), O_RDWR | O_CREAT | O_DIRECT | O_CLOEXEC, 0600);
    if (descriptor >= 0)
        close(descriptor);
    return descriptor >= 0;
}

/* Goal: a direct file reads what was written, at any place, size and address, in whole pages, and to its end. */
static void direct_reads_go_by_pages_and_give_the_bytes(void **state)
{
    (void)state;
    enum { SIZE = 200001, ROUNDS = 400 };
    static uint8_t written[SIZE];
    static _Alignas(4096) uint8_t seen[SIZE + 8192];
    for (size_t i = 0; i < SIZE; i++)
        written[i] = (uint8_t)(i * 7 + i / 251);
    bole_file *file = open_file();
    assert_ok(posix->write(file, 0, written, SIZE, NULL), NULL);
    assert_ok(posix->close(file, NULL), NULL);
    bl_prng prng;
    bl_prng_init(&prng, test_seed(5));
    for (uint32_t i = 0; i < ROUNDS; i++) {
        file = open_as(BOLE_VFS_READ | BOLE_VFS_DIRECT);
        calls.direct = 0;
        calls.most = bl_prng_chance(&prng, 4) ? 4096 : 0;
        calls.interrupt = (uint32_t)bl_prng_below(&prng, 3);
        calls.refuse = bl_prng_chance(&prng, 4);
        uint64_t offset = bl_prng_below(&prng, SIZE + 5000);
        size_t size = (size_t)bl_prng_below(&prng, bl_prng_chance(&prng, 3) ? SIZE : 30000), at = 0;
        if (bl_prng_chance(&prng, 2))
            offset = offset / 4096 * 4096;
        if (bl_prng_chance(&prng, 2))
            size = size / 4096 * 4096;
        if (bl_prng_chance(&prng, 2))
            at = (size_t)bl_prng_below(&prng, 4096);
        size_t due = offset >= SIZE ? 0 : size < SIZE - offset ? size : (size_t)(SIZE - offset);
        for (uint32_t again = 0; again < 2; again++) {
            size_t got = SIZE;
            memset(seen, 0xEE, sizeof seen);
            assert_ok(posix->read(file, offset, seen + at, size, &got, NULL), NULL);
            assert_int_equal(got, due);
            assert_memory_equal(seen + at, written + (due > 0 ? offset : 0), due);
            assert_int_equal(seen[at + size], 0xEE);
        }
        assert_true(size == 0 || (calls.direct > 0) == reads_past_the_cache());
        assert_ok(posix->close(file, NULL), NULL);
    }
}

/* Goal: a direct read that fails says so and gives no bytes; so does a large one that does not lie in pages and finds
 * no memory to go through. */
static void a_direct_read_that_fails_is_told(void **state)
{
    (void)state;
    static uint8_t written[100000], seen[100000];
    bole_error error = BOLE_ERROR_INIT;
    if (!reads_past_the_cache())
        skip();
    memset(written, 'w', sizeof written);
    bole_file *file = open_file();
    assert_ok(posix->write(file, 0, written, sizeof written, NULL), NULL);
    assert_ok(posix->close(file, NULL), NULL);
    file = open_as(BOLE_VFS_READ | BOLE_VFS_DIRECT);
    size_t got = 1;
    bl_alloc_fail_at(0, 1);
    bole_status status = posix->read(file, 1, seen, 90000, &got, &error);
    bl_alloc_fail_at(UINT64_MAX, 0);
    assert_status(BOLE_NO_MEMORY, status, &error);
    assert_int_equal(got, 0);
    assert_int_equal(error.offset, 1);
    for (size_t size = 10; size < 90000; size += 80000) {
        calls.fail_read = 1;
        assert_status(BOLE_IO, posix->read(file, 1, seen, size, &got, &error), &error);
        assert_int_equal(error.system_errno, EIO);
        assert_int_equal(got, 0);
    }
    assert_ok(posix->read(file, 1, seen, 90000, &got, &error), &error);
    assert_int_equal(got, 90000);
    assert_memory_equal(seen, written, got);
    assert_ok(posix->close(file, NULL), NULL);
}

/* Goal: what a direct file wrote leaves the cache when it is safe on the disk, and no other file does. */
static void what_was_synced_leaves_the_cache(void **state)
{
    (void)state;
    for (uint32_t direct = 0; direct < 2; direct++) {
        bole_file *file = open_as(BOLE_VFS_WRITE | BOLE_VFS_CREATE | (direct != 0 ? BOLE_VFS_DIRECT : 0));
        assert_ok(posix->write(file, 0, "data", 4, NULL), NULL);
        assert_int_equal(calls.dropped, 0);
        calls.fail_sync = 1;
        assert_status(BOLE_IO, posix->sync(file, NULL), NULL);
        assert_int_equal(calls.dropped, 0);
        assert_ok(posix->sync(file, NULL), NULL);
        assert_int_equal(calls.dropped, direct);
        assert_ok(posix->close(file, NULL), NULL);
    }
}

/* Goal: the setting direct_reads decides how a store reads its segments. */
static void a_store_reads_its_segments_as_it_is_told(void **state)
{
    (void)state;
    enum { KEYS = 5000 };
    for (uint32_t direct = 0; direct < 2; direct++) {
        bole_db *db;
        bole_error error = BOLE_ERROR_INIT;
        bole_options options = BOLE_OPTIONS_INIT;
        options.flags = BOLE_CREATE;
        options.memory_limit = 16 << 20;
        options.direct_reads = direct != 0 ? 1 : UINT32_MAX;
        options.direct_writes = UINT32_MAX;
        options.large_value_bytes = 200;
        const char *path = test_path(&directory, direct != 0 ? "direct" : "cached");
        char value[300];
        assert_ok(bole_open(path, &options, &db, &error), &error);
        for (uint32_t i = 0; i < KEYS; i++) {
            memset(value, 'a' + (int)(i % 26), sizeof value);
            assert_ok(bole_put(db, NULL, BOLE_SLICE(&i, sizeof i), BOLE_SLICE(value, i % 300)), NULL);
        }
        assert_ok(bole_flush(db, &error), &error);
        assert_ok(bole_close(db, &error), &error);
        assert_int_equal(calls.dropped > 0, direct);
        calls.direct = 0;
        bole_buffer got = BOLE_BUFFER_INIT;
        assert_ok(bole_open(path, &options, &db, &error), &error);
        for (uint32_t i = 0; i < KEYS; i++) {
            assert_ok(bole_get(db, NULL, BOLE_SLICE(&i, sizeof i), &got), NULL);
            memset(value, 'a' + (int)(i % 26), sizeof value);
            assert_int_equal(got.size, i % 300);
            assert_memory_equal(got.data, value, i % 300);
        }
        bole_buffer_free(&got);
        assert_int_equal(calls.direct > 0, direct != 0 && reads_past_the_cache());
        assert_ok(bole_close(db, &error), &error);
    }
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
        cmocka_unit_test_setup(direct_reads_go_by_pages_and_give_the_bytes, set_up),
        cmocka_unit_test_setup(a_direct_read_that_fails_is_told, set_up),
        cmocka_unit_test_setup(what_was_synced_leaves_the_cache, set_up),
        cmocka_unit_test_setup(a_store_reads_its_segments_as_it_is_told, set_up),
        cmocka_unit_test_setup(a_store_lives_with_a_system_that_is_slow_of_speech, set_up),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
