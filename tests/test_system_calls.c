/* SPDX-License-Identifier: MIT */
/* test_system_calls.c -- answers of the operating system that hardly any machine gives: each call that the library
 * makes of it fails, is interrupted, or says something odd, and what comes of it is a status with a story, never a
 * wrong one.
 *
 * This program has functions of its own in the place of the C library's. Each has a plan: so many calls go through,
 * then so many fail with an errno; all others go through. */
#include "test.h"

#include <bole/bole_vfs.h>
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <ini.h>
#include <linux/falloc.h>
#include <linux/magic.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <sys/wait.h>
#include <time.h>

#include "core/config.h"
#include "core/config_source.h"
#include "core/write_batch.h"
#include "log/write_ahead_log.h"
#include "platform/epoch.h"
#include "platform/map_guard.h"
#include "platform/page_arena.h"
#include "platform/posix_machine.h"
#include "platform/process.h"
#include "platform/scheduler.h"

#if defined(BL_ADDRESS_SANITIZER) || defined(BL_THREAD_SANITIZER)
#define WATCHED \
    1 /* by a sanitizer, which makes some of the calls before main, and has maps and signals in its care */
#endif

typedef enum call {
    CALL_OPEN,
    CALL_CLOSE,
    CALL_FSTAT,
    CALL_FTRUNCATE,
    CALL_FALLOCATE,
    CALL_POSIX_FALLOCATE,
    CALL_SET_LOCK,
    CALL_GET_LOCK,
    CALL_PREAD,
    CALL_PWRITE,
    CALL_READ,
    CALL_MMAP,
    CALL_MUNMAP,
    CALL_MADVISE,
    CALL_MPROTECT,
    CALL_LINK,
    CALL_READDIR,
    CALL_STATVFS,
    CALL_STATFS,
    CALL_GETRANDOM,
    CALL_GETRLIMIT,
    CALL_SIGACTION,
    CALL_NANOSLEEP,
    CALL_MEMBARRIER,
    CALL_INI_PARSE,
    CALLS
} call;

static struct plan {
    _Atomic uint32_t pass, fail; /* so many go through, then so many fail */
    _Atomic int error;           /* with this; 0: the call says 0, and has done nothing */
    _Atomic uint32_t failed;
} plans[CALLS];

static bool take_one(_Atomic uint32_t *from)
{
    uint32_t left = atomic_load(from);
    while (left != 0)
        if (atomic_compare_exchange_weak(from, &left, left - 1))
            return true;
    return false;
}

static bool fails(call which)
{
    struct plan *plan = &plans[which];
    if (atomic_load(&plan->fail) == 0 || take_one(&plan->pass) || !take_one(&plan->fail))
        return false;
    plan->failed++;
    errno = plan->error;
    return true;
}

static int answer(call which) { return plans[which].error == 0 ? 0 : -1; }

static void plan(call which, uint32_t pass, uint32_t fail, int error)
{
    plans[which].failed = 0;
    plans[which].error = error;
    plans[which].pass = pass;
    plans[which].fail = fail;
}

/* All that was planned has come. */
static void assert_came(call which, uint32_t times)
{
    assert_int_equal(plans[which].failed, times);
    assert_int_equal(plans[which].fail, 0);
}

#define NEXT(name) ((__typeof__(&(name)))(uintptr_t)dlsym(RTLD_NEXT, #name))

long syscall(long number, ...)
{
    if (number == SYS_membarrier && fails(CALL_MEMBARRIER))
        return -1;
    long arguments[6];
    va_list list;
    va_start(list, number);
    for (size_t i = 0; i < 6; i++) /* as many as any call has; those that it has not are not looked at */
        arguments[i] = va_arg(list, long);
    va_end(list);
    return NEXT(syscall)(number, arguments[0], arguments[1], arguments[2], arguments[3], arguments[4],
                         arguments[5]);
}

int open(const char *path, int flags, ...)
{
    if (fails(CALL_OPEN))
        return -1;
    mode_t mode = 0;
    if ((flags & O_CREAT) != 0) {
        va_list arguments;
        va_start(arguments, flags);
        mode = va_arg(arguments, mode_t);
        va_end(arguments);
    }
    return (int)syscall(SYS_openat, AT_FDCWD, path, flags, mode);
}

int close(int descriptor)
{
    int result = (int)syscall(SYS_close, descriptor);
    return fails(CALL_CLOSE) ? -1 : result; /* it is closed all the same */
}

static dev_t other_device; /* not 0: what fstat says */

int fstat(int descriptor, struct stat *out)
{
    if (fails(CALL_FSTAT))
        return -1;
    int result = NEXT(fstat)(descriptor, out);
    if (other_device != 0)
        out->st_dev = other_device;
    return result;
}

int ftruncate(int descriptor, off_t length)
{
    return fails(CALL_FTRUNCATE) ? -1 : (int)syscall(SYS_ftruncate, descriptor, length);
}

static struct { /* what the file system of this moment can do */
    bool no_zero_range, no_holes, no_allocate;
    uint32_t made;
} space;

int fallocate(int descriptor, int mode, off_t offset, off_t length)
{
    if (fails(CALL_FALLOCATE))
        return -1;
    bool refused = (mode & FALLOC_FL_ZERO_RANGE) != 0   ? space.no_zero_range
                   : (mode & FALLOC_FL_PUNCH_HOLE) != 0 ? space.no_holes
                                                        : space.no_allocate;
    if (refused) {
        errno = EOPNOTSUPP;
        return -1;
    }
    space.made++;
    return (int)syscall(SYS_fallocate, descriptor, mode, offset, length);
}

int posix_fallocate(int descriptor, off_t offset, off_t length)
{
    if (fails(CALL_POSIX_FALLOCATE))
        return plans[CALL_POSIX_FALLOCATE].error;
    return NEXT(posix_fallocate)(descriptor, offset, length);
}

int fcntl(int descriptor, int command, ...)
{
    va_list arguments;
    va_start(arguments, command);
    void *argument = va_arg(arguments, void *);
    va_end(arguments);
    if ((command == F_SETLK && fails(CALL_SET_LOCK)) || (command == F_GETLK && fails(CALL_GET_LOCK)))
        return -1;
    return (int)syscall(SYS_fcntl, descriptor, command, argument);
}

ssize_t pread(int descriptor, void *data, size_t size, off_t offset)
{
    return fails(CALL_PREAD) ? -1 : syscall(SYS_pread64, descriptor, data, size, offset);
}

ssize_t pwrite(int descriptor, const void *data, size_t size, off_t offset)
{
    return fails(CALL_PWRITE) ? answer(CALL_PWRITE) : syscall(SYS_pwrite64, descriptor, data, size, offset);
}

ssize_t read(int descriptor, void *data, size_t size)
{
    return fails(CALL_READ) ? -1 : syscall(SYS_read, descriptor, data, size);
}

#if !defined(WATCHED)
static _Atomic uint32_t misplaced; /* so many maps begin a page behind where they might */

void *mmap(void *at, size_t length, int protection, int flags, int descriptor, off_t offset)
{
    if (fails(CALL_MMAP))
        return MAP_FAILED;
    size_t beside = take_one(&misplaced) ? 4096 : 0;
    long map = syscall(SYS_mmap, at, length + beside, protection, flags, descriptor, offset);
    return map == -1 ? MAP_FAILED : (char *)(uintptr_t)map + beside;
}

int munmap(void *at, size_t length) { return fails(CALL_MUNMAP) ? -1 : (int)syscall(SYS_munmap, at, length); }

int mprotect(void *at, size_t length, int protection)
{
    return fails(CALL_MPROTECT) ? -1 : (int)syscall(SYS_mprotect, at, length, protection);
}
#endif

int madvise(void *at, size_t length, int advice)
{
    return fails(CALL_MADVISE) ? -1 : (int)syscall(SYS_madvise, at, length, advice);
}

int linkat(int from_directory, const char *from, int to_directory, const char *to, int flags)
{
    return fails(CALL_LINK) ? -1 : (int)syscall(SYS_linkat, from_directory, from, to_directory, to, flags);
}

struct dirent *readdir(DIR *stream) { return fails(CALL_READDIR) ? NULL : NEXT(readdir)(stream); }

static bool endless; /* more free bytes than a number holds */

int statvfs(const char *path, struct statvfs *out)
{
    if (fails(CALL_STATVFS))
        return -1;
    int result = NEXT(statvfs)(path, out);
    if (endless)
        out->f_bavail = out->f_frsize = UINT64_C(1) << 40;
    return result;
}

static unsigned long other_kind; /* not 0: of file system */

int statfs(const char *path, struct statfs *out)
{
    if (fails(CALL_STATFS))
        return -1;
    int result = NEXT(statfs)(path, out);
    if (other_kind != 0)
        out->f_type = (__typeof__(out->f_type))other_kind;
    return result;
}

ssize_t getrandom(void *data, size_t size, unsigned flags)
{
    return fails(CALL_GETRANDOM) ? answer(CALL_GETRANDOM) : syscall(SYS_getrandom, data, size, flags);
}

#if !defined(WATCHED)
static bool no_limit;

int getrlimit(__rlimit_resource_t which, struct rlimit *out)
{
    if (fails(CALL_GETRLIMIT))
        return -1;
    int result = NEXT(getrlimit)(which, out);
    if (no_limit)
        out->rlim_cur = RLIM_INFINITY;
    return result;
}

static bool default_ends; /* in a child */

int sigaction(int number, const struct sigaction *now, struct sigaction *before)
{
    if (default_ends && now != NULL && now->sa_handler == SIG_DFL)
        _exit(number == SIGBUS ? 45 : 46);
    return fails(CALL_SIGACTION) ? -1 : NEXT(sigaction)(number, now, before);
}
#endif

int clock_nanosleep(clockid_t clock, int flags, const struct timespec *until, struct timespec *left)
{
    return fails(CALL_NANOSLEEP) ? plans[CALL_NANOSLEEP].error
                                 : NEXT(clock_nanosleep)(clock, flags, until, left);
}

static _Atomic uint32_t naps;

int nanosleep(const struct timespec *time, struct timespec *left)
{
    naps++;
    return clock_nanosleep(CLOCK_REALTIME, 0, time, left) == 0 ? 0 : -1;
}

/* An inih that allocates says so when it cannot. */
int ini_parse_stream(ini_reader reader, void *stream, ini_handler handler, void *user)
{
    return fails(CALL_INI_PARSE) ? -2 : NEXT(ini_parse_stream)(reader, stream, handler, user);
}

/* ---- files ---- */

static bole_vfs *posix;
static test_directory directory;

static int set_up(void **state)
{
    (void)state;
    posix = bole_vfs_posix();
    if (directory.path[0] == 0)
        directory = test_directory_make();
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    memset(plans, 0, sizeof plans);
    memset(&space, 0, sizeof space);
    other_device = 0;
    return 0;
}

static bole_file *open_file(const char *name)
{
    bole_error error = BOLE_ERROR_INIT;
    bole_file *file;
    assert_ok(posix->open(posix, test_path(&directory, name), BOLE_VFS_WRITE | BOLE_VFS_CREATE, &file,
                          &error),
              &error);
    return file;
}

static void close_file(bole_file *file) { assert_ok(posix->close(file, NULL), NULL); }

/* The failure has this status, errno and story. */
static void told(bole_status wanted, int system_errno, const char *part, bole_status status,
                 bole_error *error)
{
    assert_status(wanted, status, error);
    assert_int_equal(error->system_errno, system_errno);
    if (strstr(error->message, part) == NULL)
        fail_msg("the story \"%s\" does not name \"%s\"", error->message, part);
    *error = (bole_error)BOLE_ERROR_INIT;
}

static void what_fails_while_opening_is_told(void **state)
{
    (void)state;
    bole_error error = BOLE_ERROR_INIT;
    const char *path = test_path(&directory, "opened");
    const uint32_t flags = BOLE_VFS_WRITE | BOLE_VFS_CREATE | BOLE_VFS_TRUNCATE;
    bole_file *file;
    plan(CALL_OPEN, 0, 3, EINTR);
    assert_ok(posix->open(posix, path, flags, &file, &error), &error);
    assert_came(CALL_OPEN, 3);
    assert_ok(posix->write(file, 0, "bytes", 5, &error), &error);
    plan(CALL_CLOSE, 0, 1, EIO);
    told(BOLE_IO, EIO, "close", posix->close(file, &error), &error);
    assert_ok(posix->open(posix, path, BOLE_VFS_WRITE, &file, &error), &error);
    plan(CALL_CLOSE, 0, 1, EINTR); /* it is closed */
    assert_ok(posix->close(file, &error), &error);
    plan(CALL_OPEN, 0, 1, ENXIO);
    told(BOLE_INVALID, 0, "not a regular file", posix->open(posix, path, flags, &file, &error), &error);
    assert_null(file);
    plan(CALL_FSTAT, 0, 1, EIO);
    told(BOLE_IO, EIO, "look at", posix->open(posix, path, BOLE_VFS_READ, &file, &error), &error);
    assert_null(file);
    plan(CALL_FTRUNCATE, 0, 1, EIO);
    told(BOLE_IO, EIO, "truncate", posix->open(posix, path, flags, &file, &error), &error);
    assert_null(file);
    char bytes[5];
    size_t got;
    assert_ok(posix->open(posix, path, BOLE_VFS_READ, &file, &error), &error);
    assert_ok(posix->read(file, 0, bytes, sizeof bytes, &got, &error), &error);
    assert_int_equal(got, 5); /* it was not truncated */
    close_file(file);
}

static void what_fails_with_bytes_is_told(void **state)
{
    (void)state;
    const uint64_t beyond = INT64_MAX;
    bole_error error = BOLE_ERROR_INIT;
    bole_file *file = open_file("bytes");
    char bytes[10] = "";
    size_t got;
    uint64_t length;
    assert_ok(posix->write(file, 0, "0123456789", 10, &error), &error);
    told(BOLE_INVALID, 0, "out of range", posix->read(file, beyond, bytes, 10, &got, &error), &error);
    told(BOLE_INVALID, 0, "out of range", posix->write(file, beyond, bytes, 10, &error), &error);
    told(BOLE_INVALID, 0, "out of range", posix->truncate(file, beyond + 1, &error), &error);
    told(BOLE_INVALID, 0, "out of range", posix->allocate(file, beyond, 10, true, &error), &error);
    plan(CALL_PREAD, 0, 1, EIO);
    assert_status(BOLE_IO, posix->read(file, 3, bytes, 4, &got, &error), &error);
    assert_int_equal(error.offset, 3);
    told(BOLE_IO, EIO, "read", error.status, &error);
    assert_int_equal(got, 0);
    plan(CALL_PREAD, 0, 1, EIO);
    assert_status(BOLE_IO, posix->read(file, 3, bytes, 4, &got, NULL), NULL);
    plan(CALL_PWRITE, 0, 1, 0);
    told(BOLE_IO, EIO, "write", posix->write(file, 3, bytes, 4, &error), &error);
    plan(CALL_PWRITE, 0, 1, ENOSPC);
    assert_status(BOLE_NO_SPACE, posix->write(file, 3, bytes, 4, NULL), NULL);
    plan(CALL_FTRUNCATE, 0, 2, EINTR);
    assert_ok(posix->truncate(file, 8, &error), &error);
    assert_came(CALL_FTRUNCATE, 2);
    plan(CALL_FSTAT, 0, 1, EIO);
    told(BOLE_IO, EIO, "look at", posix->length(file, &length, &error), &error);
    assert_int_equal(length, 0);
    assert_ok(posix->length(file, &length, &error), &error);
    assert_int_equal(length, 8);
    assert_ok(posix->read(file, 0, bytes, sizeof bytes, &got, &error), &error);
    assert_int_equal(got, 8);
    assert_memory_equal(bytes, "01234567", 8);
    posix->will_need(file, beyond, 10); /* a hint that cannot be given */
    posix->will_need(file, 0, 8);
    close_file(file);
}

enum { SPACE_BYTES = 200000, OLD_BYTES = 150000, ZEROED_AT = 5000 };

static void fill_and_allocate(bool zero)
{
    static uint8_t bytes[SPACE_BYTES];
    bole_error error = BOLE_ERROR_INIT;
    bole_file *file = open_file("space");
    uint64_t length;
    size_t got;
    assert_ok(posix->truncate(file, 0, &error), &error);
    memset(bytes, 0xAA, OLD_BYTES);
    assert_ok(posix->write(file, 0, bytes, OLD_BYTES, &error), &error);
    assert_ok(posix->allocate(file, ZEROED_AT, SPACE_BYTES - ZEROED_AT, zero, &error), &error);
    assert_ok(posix->length(file, &length, &error), &error);
    assert_int_equal(length, SPACE_BYTES);
    assert_ok(posix->read(file, 0, bytes, SPACE_BYTES, &got, &error), &error);
    assert_int_equal(got, SPACE_BYTES);
    for (size_t i = 0; i < SPACE_BYTES; i++)
        assert_int_equal(bytes[i], i < (zero ? ZEROED_AT : OLD_BYTES) ? 0xAA : 0);
    close_file(file);
}

/* What a file system cannot do is done in another way, down to writing zeros. */
static void space_is_had_from_any_file_system(void **state)
{
    (void)state;
    bole_error error = BOLE_ERROR_INIT;
    plan(CALL_FALLOCATE, 0, 3, EINTR);
    fill_and_allocate(true);
    assert_came(CALL_FALLOCATE, 3);
    for (unsigned missing = 0; missing < 8; missing++) {
        space.no_zero_range = (missing & 1) != 0;
        space.no_holes = (missing & 2) != 0;
        space.no_allocate = (missing & 4) != 0;
        space.made = 0;
        fill_and_allocate(true);
        assert_true((space.made == 0) == (space.no_zero_range && space.no_holes));
        fill_and_allocate(false);
    }
    bole_file *file = open_file("space");
    plan(CALL_PWRITE, 1, 1, ENOSPC); /* the second part of the zeros */
    told(BOLE_NO_SPACE, ENOSPC, "allocate", posix->allocate(file, 0, SPACE_BYTES, true, &error), &error);
    assert_came(CALL_PWRITE, 1);
    plan(CALL_POSIX_FALLOCATE, 0, 1, EINVAL);
    told(BOLE_IO, EINVAL, "allocate", posix->allocate(file, 0, SPACE_BYTES, false, &error), &error);
    space.no_zero_range = false;
    plan(CALL_FALLOCATE, 0, 1, ENOSPC); /* that is no want of the file system's */
    told(BOLE_NO_SPACE, ENOSPC, "allocate", posix->allocate(file, 0, SPACE_BYTES, true, &error), &error);
    close_file(file);
}

static void what_fails_with_names_is_told(void **state)
{
    (void)state;
    static const int other_file_system[] = { EXDEV, EMLINK, EOPNOTSUPP, EPERM };
    bole_error error = BOLE_ERROR_INIT;
    const char *from = test_path(&directory, "from"), *to = test_path(&directory, "to");
    bool is_directory;
    close_file(open_file("from"));
    for (size_t i = 0; i < sizeof other_file_system / sizeof other_file_system[0]; i++) {
        plan(CALL_LINK, 0, 1, other_file_system[i]);
        told(BOLE_UNSUPPORTED, 0, "copy it", posix->link(posix, from, to, &error), &error);
    }
    plan(CALL_LINK, 0, 1, EIO);
    told(BOLE_IO, EIO, "from", posix->link(posix, from, to, &error), &error);
    assert_status(BOLE_NOT_FOUND, posix->exists(posix, to, &is_directory, NULL), NULL);
    assert_int_equal(symlink("nowhere", to), 0);
    told(BOLE_NOT_FOUND, ENOENT, "look at", posix->exists(posix, to, &is_directory, &error), &error);
    plan(CALL_OPEN, 0, 2, EINTR);
    assert_ok(posix->sync_directory(posix, directory.path, &error), &error);
    assert_came(CALL_OPEN, 2);
}

static bool count_name(void *context, const char *name)
{
    (void)name;
    ++*(unsigned *)context;
    return true;
}

static void a_listing_that_breaks_off_is_told(void **state)
{
    (void)state;
    bole_error error = BOLE_ERROR_INIT;
    unsigned all = 0, some = 0;
    assert_ok(posix->list(posix, directory.path, count_name, &all, &error), &error);
    plan(CALL_READDIR, 3, 1, EIO);
    told(BOLE_IO, EIO, "list", posix->list(posix, directory.path, count_name, &some, &error), &error);
    assert_true(some < all);
}

static void free_space_and_random_numbers_are_asked_again(void **state)
{
    (void)state;
    bole_error error = BOLE_ERROR_INIT;
    uint64_t bytes;
    uint8_t random[64] = { 0 }, zeros[64] = { 0 };
    plan(CALL_STATVFS, 0, 2, EINTR);
    assert_ok(posix->free_bytes(posix, directory.path, &bytes, &error), &error);
    assert_came(CALL_STATVFS, 2);
    endless = true;
    assert_ok(posix->free_bytes(posix, directory.path, &bytes, &error), &error);
    endless = false;
    assert_true(bytes == UINT64_MAX);
    plan(CALL_STATVFS, 0, 1, EIO);
    told(BOLE_IO, EIO, "free space", posix->free_bytes(posix, directory.path, &bytes, &error), &error);
    assert_int_equal(bytes, 0);
    plan(CALL_GETRANDOM, 0, 2, EINTR);
    assert_ok(posix->random(posix, random, sizeof random, &error), &error);
    assert_memory_not_equal(random, zeros, sizeof random);
    assert_came(CALL_GETRANDOM, 2);
    plan(CALL_GETRANDOM, 0, 1, 0);
    told(BOLE_IO, EIO, "random", posix->random(posix, random, sizeof random, &error), &error);
    plan(CALL_GETRANDOM, 0, 1, ENOSYS);
    told(BOLE_IO, ENOSYS, "random", posix->random(posix, random, sizeof random, &error), &error);
}

/* ---- locks ---- */

static void what_fails_with_locks_is_told(void **state)
{
    (void)state;
    bole_error error = BOLE_ERROR_INIT;
    bole_file *file = open_file("locked"), *other = open_file("locked");
    bool locked;
    int64_t holder;
    told(BOLE_INVALID, 0, "out of range", posix->lock(file, INT64_MAX, true, &error), &error);
    plan(CALL_SET_LOCK, 0, 1, ENOLCK);
    told(BOLE_IO, ENOLCK, "lock", posix->lock(file, 0, true, &error), &error);
    plan(CALL_SET_LOCK, 0, 1, EACCES); /* another process had it, and is gone when it is looked for */
    told(BOLE_LOCKED, 0, "another process", posix->lock(file, 0, true, &error), &error);
    plan(CALL_SET_LOCK, 0, 1, EAGAIN);
    plan(CALL_GET_LOCK, 0, 1, EIO);
    told(BOLE_LOCKED, 0, "another process", posix->lock(file, 0, true, &error), &error);
    plan(CALL_SET_LOCK, 0, 2, EINTR);
    assert_ok(posix->lock(file, 0, true, &error), &error);
    assert_came(CALL_SET_LOCK, 2);
    told(BOLE_LOCKED, 0, "this process", posix->lock(other, 0, true, &error), &error);
    plan(CALL_GET_LOCK, 0, 2, EINTR);
    assert_ok(posix->lock_test(other, 1, &locked, &holder, &error), &error);
    assert_false(locked);
    assert_came(CALL_GET_LOCK, 2);
    plan(CALL_GET_LOCK, 0, 1, EIO);
    told(BOLE_IO, EIO, "test the lock", posix->lock_test(other, 1, &locked, &holder, &error), &error);
    plan(CALL_SET_LOCK, 0, 1, EIO);
    told(BOLE_IO, EIO, "unlock", posix->unlock(file, 0, &error), &error);
    assert_ok(posix->lock_test(other, 0, &locked, &holder, &error), &error);
    assert_true(locked); /* it still is */
    assert_int_equal(holder, getpid());
    plan(CALL_SET_LOCK, 0, 1, EIO); /* closing gives it up all the same */
    close_file(file);
    assert_came(CALL_SET_LOCK, 1);
    assert_ok(posix->lock(other, 0, true, &error), &error);
    close_file(other);
}

/* Two file systems number their files alike. */
static void locks_of_another_file_system_are_others(void **state)
{
    (void)state;
    bole_error error = BOLE_ERROR_INIT;
    bole_file *here = open_file("alike");
    other_device = 4711;
    bole_file *there = open_file("alike");
    other_device = 0;
    assert_ok(posix->lock(here, 0, true, &error), &error);
    assert_ok(posix->lock(there, 0, true, &error), &error);
    bool locked;
    int64_t holder;
    assert_ok(posix->lock_test(there, 0, &locked, &holder, &error), &error);
    assert_false(locked);
    close_file(there); /* here is not asked to wait for it, nor the other way round */
    close_file(here);
}

/* ---- the machine ---- */

static void write_text(const char *name, const char *text)
{
    bole_file *file = open_file(name);
    assert_ok(posix->truncate(file, 0, NULL), NULL);
    assert_ok(posix->write(file, 0, text, strlen(text), NULL), NULL);
    close_file(file);
}

static void the_memory_limit_is_read_whatever_the_files_say(void **state)
{
    (void)state;
    static char long_root[5000];
    char groups[100];
    mkdir(test_path(&directory, "group"), 0700);
    int lowest_free = dup(STDOUT_FILENO);
    close(lowest_free);
    const struct {
        const char *text;
        uint64_t limit;
    } cases[] = { { "4096000\n", 4096000 },
                  { "max\n", UINT64_MAX },
                  { "-1\n", UINT64_MAX },
                  { "0\n", UINT64_MAX },
                  { "", UINT64_MAX } };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        write_text("group/memory.max", cases[i].text);
        snprintf(groups, sizeof groups, "0::/group\n");
        plan(CALL_READ, 0, 1, EINTR);
        assert_true(bl_posix_group_limit(directory.path, groups) == cases[i].limit);
        assert_came(CALL_READ, 1);
    }
    char long_text[200]; /* longer than what is read of such a file */
    memset(long_text, ' ', sizeof long_text);
    memcpy(long_text, "12345", 5);
    long_text[sizeof long_text - 1] = 0;
    write_text("group/memory.max", long_text);
    snprintf(groups, sizeof groups, "0::/group\n");
    assert_true(bl_posix_group_limit(directory.path, groups) == 12345);
    memset(long_root, 'r', sizeof long_root - 1);
    snprintf(groups, sizeof groups, "0::/group\n");
    assert_true(bl_posix_group_limit(long_root, groups) == UINT64_MAX);
    snprintf(groups, sizeof groups, "0::group\n"); /* as the kernel never writes it */
    assert_true(bl_posix_group_limit(directory.path, groups) == UINT64_MAX);
    plan(CALL_READ, 0, 1, EIO);
    snprintf(groups, sizeof groups, "0::/group\n");
    assert_true(bl_posix_group_limit(directory.path, groups) == UINT64_MAX);
    assert_came(CALL_READ, 1);
    uint64_t machine = posix->memory_bytes(posix);
    plan(CALL_OPEN, 0, 1, EMFILE); /* no groups: what the machine has */
    assert_true(posix->memory_bytes(posix) >= machine);
    assert_came(CALL_OPEN, 1);
    int still_free = dup(STDOUT_FILENO);
    close(still_free);
    assert_int_equal(still_free, lowest_free); /* each file was closed */
}

static void a_file_system_can_what_its_kind_can(void **state)
{
    (void)state;
    const struct {
        unsigned long kind;
        uint32_t can;
    } kinds[] = { { EXT4_SUPER_MAGIC, BOLE_VFS_CAN_MAP | BOLE_VFS_CAN_LINK },
                  { 0x58465342, BOLE_VFS_CAN_MAP | BOLE_VFS_CAN_LINK }, /* xfs */
                  { TMPFS_MAGIC, BOLE_VFS_CAN_MAP | BOLE_VFS_CAN_LINK },
                  { OVERLAYFS_SUPER_MAGIC, BOLE_VFS_CAN_MAP | BOLE_VFS_CAN_LINK },
                  { 0x4d44, 0 },     /* vfat */
                  { 0x2011BAB0, 0 }, /* exfat */
                  { BTRFS_SUPER_MAGIC, BOLE_VFS_CAN_LINK },
                  { NFS_SUPER_MAGIC, BOLE_VFS_CAN_LINK } };
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
        other_kind = kinds[i].kind;
        plan(CALL_STATFS, 0, 1, EINTR);
        assert_int_equal(posix->capabilities(posix, directory.path), kinds[i].can);
        assert_came(CALL_STATFS, 1);
    }
    other_kind = 0;
    plan(CALL_STATFS, 0, 1, EIO);
    assert_int_equal(posix->capabilities(posix, directory.path), 0);
}

#if !defined(WATCHED)
static void a_process_without_a_limit_of_files_has_none(void **state)
{
    (void)state;
    assert_true(bl_process_open_files() > 0);
    plan(CALL_GETRLIMIT, 0, 1, EPERM);
    assert_int_equal(bl_process_open_files(), 0);
    no_limit = true;
    assert_int_equal(bl_process_open_files(), 0);
    no_limit = false;
}
#endif

static void a_sleep_that_is_interrupted_goes_on(void **state)
{
    (void)state;
    bole_error error = BOLE_ERROR_INIT;
    bl_scheduler *scheduler;
    assert_ok(bl_scheduler_create(1, &scheduler, &error), &error);
    uint64_t begin = posix->monotonic_ns(posix);
    plan(CALL_NANOSLEEP, 0, 3, EINTR);
    bl_sleep(scheduler, 1000000);
    assert_came(CALL_NANOSLEEP, 3);
    assert_true(posix->monotonic_ns(posix) - begin >= 1000000);
    bl_sleep(scheduler, 0);
    plan(CALL_NANOSLEEP, 0, 1, EINVAL); /* for ever: only that ends it */
    bl_sleep(scheduler, UINT64_MAX);
    assert_came(CALL_NANOSLEEP, 1);
    bl_scheduler_destroy(scheduler);
}

/* A configuration file whose reader finds no memory changes nothing, and says so. */
static void a_configuration_that_finds_no_memory_is_told(void **state)
{
    (void)state;
    bole_error error = BOLE_ERROR_INIT;
    bl_config config, before;
    bl_config_init(&config);
    before = config;
    plan(CALL_INI_PARSE, 0, 1, ENOMEM);
    told(BOLE_NO_MEMORY, 0, "bole.conf",
         bl_config_apply_ini(&config, "bole.conf", BOLE_STR("level0_runs = 7\n"), &error), &error);
    assert_came(CALL_INI_PARSE, 1);
    assert_memory_equal(&config, &before, sizeof config);
}

/* ---- maps ---- */

static void what_fails_with_maps_is_told(void **state)
{
    (void)state;
    bole_error error = BOLE_ERROR_INIT;
    bole_file *file = open_file("mapped");
    void *map;
    assert_ok(posix->allocate(file, 0, 8192, true, &error), &error);
    told(BOLE_INVALID, 0, "out of range", posix->map(file, INT64_MAX, 4096, &map, &error), &error);
    plan(CALL_MADVISE, 0, 1, EINVAL);
    told(BOLE_IO, EINVAL, "map", posix->map(file, 0, 8192, &map, &error), &error);
    assert_null(map);
    assert_ok(posix->unmap(file, NULL, 8192, &error), &error);
#if !defined(WATCHED)
    plan(CALL_MMAP, 0, 1, ENOMEM);
    assert_int_not_equal(posix->map(file, 0, 8192, &map, &error), BOLE_OK);
    assert_int_equal(error.system_errno, ENOMEM);
    assert_null(map);
    error = (bole_error)BOLE_ERROR_INIT;
    assert_ok(posix->map(file, 0, 8192, &map, &error), &error);
    plan(CALL_MUNMAP, 0, 1, EINVAL);
    told(BOLE_IO, EINVAL, "unmap", posix->unmap(file, map, 8192, &error), &error);
    assert_ok(posix->unmap(file, map, 8192, &error), &error);
#endif
    close_file(file);
}

#if !defined(WATCHED)
enum { CHUNK = 2 << 20, FRAME = 64 << 10, FRAMES = 5 * CHUNK / FRAME };

/* An arena takes less address space where there is not as much as it wants, and says when there is none; memory that
 * cannot be had is NULL, and had when it is there again. */
static void an_arena_without_memory_says_so(void **state)
{
    (void)state;
    bole_error error = BOLE_ERROR_INIT;
    bl_page_arena *arena;
    plan(CALL_MMAP, 0, 1000, ENOMEM);
    assert_status(BOLE_NO_MEMORY, bl_page_arena_create(&arena, &error), &error);
    assert_true(plans[CALL_MMAP].failed > 3);
    plan(CALL_MMAP, 0, 0, 0);
    plan(CALL_MPROTECT, 0, 1, ENOMEM);
    assert_status(BOLE_NO_MEMORY, bl_page_arena_create(&arena, &error), &error);
    plan(CALL_MMAP, 0, 4, ENOMEM);
    error = (bole_error)BOLE_ERROR_INIT;
    assert_ok(bl_page_arena_create(&arena, &error), &error);
    assert_came(CALL_MMAP, 4);
    static void *frames[FRAMES];
    uint32_t count = 0;
    plan(CALL_MPROTECT, 0, UINT32_MAX, ENOMEM); /* the first chunks are open */
    while (count < FRAMES && (frames[count] = bl_page_arena_alloc(arena, FRAME)) != NULL)
        memset(frames[count++], 0x55, FRAME);
    assert_true(count > 0 && count < FRAMES);
    plan(CALL_MPROTECT, 0, 0, 0);
    for (; count < FRAMES; count++) {
        frames[count] = bl_page_arena_alloc(arena, FRAME);
        assert_non_null(frames[count]);
        memset(frames[count], 0x55, FRAME);
    }
    for (uint32_t i = 0; i < FRAMES; i++) {
        for (size_t at = 0; at < FRAME; at += 4096)
            assert_int_equal(((uint8_t *)frames[i])[at], 0x55);
        bl_page_arena_free(arena, frames[i], FRAME);
    }
    plan(CALL_MMAP, 0, 1, ENOMEM);
    assert_null(bl_region_alloc(CHUNK));
    void *region;
    for (uint32_t times = 0; times < 3;
         times++) { /* a huge page begins where huge pages do, wherever the map does */
        misplaced = times;
        assert_non_null(region = bl_region_alloc(CHUNK));
        assert_int_equal(misplaced, 0);
        assert_int_equal((uintptr_t)region % CHUNK, 0);
        memset(region, 0x55, CHUNK);
        bl_region_free(region, CHUNK);
    }
    misplaced = 1;
    plan(CALL_MMAP, 1, 1, ENOMEM); /* there is room for it, but not for more, to cut it from */
    assert_null(bl_region_alloc(CHUNK));
    assert_came(CALL_MMAP, 1);
    assert_non_null(region = bl_region_alloc(0));
    bl_region_free(region, 0);
    bl_page_arena_destroy(arena);
}

/* Where all of a small arena is in use, there is no more; and there is again when a frame was freed. */
static void an_arena_that_is_full_says_so(void **state)
{
    (void)state;
    enum { FRAMES_MAX = (128 << 20) / FRAME };
    static void *taken[FRAMES_MAX];
    bole_error error = BOLE_ERROR_INIT;
    bl_page_arena *arena;
    plan(CALL_MMAP, 0, 1000, ENOMEM);
    assert_status(BOLE_NO_MEMORY, bl_page_arena_create(&arena, &error), &error);
    uint32_t tries = plans[CALL_MMAP].failed;
    plan(CALL_MMAP, 0, tries - 1, ENOMEM); /* but the last, for the least address space */
    error = (bole_error)BOLE_ERROR_INIT;
    assert_ok(bl_page_arena_create(&arena, &error), &error);
    uint32_t count = 0;
    while (count < FRAMES_MAX && (taken[count] = bl_page_arena_alloc(arena, FRAME)) != NULL)
        count++;
    assert_in_range(count, (32 << 20) / FRAME, FRAMES_MAX - 1);
    assert_null(bl_page_arena_alloc(arena, FRAME));
    bl_page_arena_free(arena, taken[--count], FRAME);
    assert_non_null(taken[count] = bl_page_arena_alloc(arena, FRAME));
    assert_null(bl_page_arena_alloc(arena, FRAME));
    for (uint32_t i = 0; i <= count; i++)
        bl_page_arena_free(arena, taken[i], FRAME);
    bl_page_arena_destroy(arena);
}

/* A thread that finds no memory for its slot waits for one. */
static void a_slot_is_waited_for(void **state)
{
    (void)state;
    enum { SLOTS = 3000 };
    static bl_epoch_slot *slots[SLOTS];
    plan(CALL_MMAP, 0, 2, ENOMEM);
    for (uint32_t i = 0; i < SLOTS; i++)
        assert_non_null(slots[i] = bl_epoch_slot_take());
    assert_came(CALL_MMAP, 2);
    for (uint32_t i = 0; i < SLOTS; i++)
        bl_epoch_slot_give_back(slots[i]);
    bl_epoch_wait();
}
#endif

/* ---- barriers ---- */

#if !defined(BL_THREAD_SANITIZER) /* which knows none */
static _Noreturn void epochs_in_a_child(bool is_known)
{
    if (!is_known) {
        plan(CALL_MEMBARRIER, 0, 1, ENOSYS);
    } else {
        bl_epoch_wait();
        plan(CALL_MEMBARRIER, 0, 1, EPERM); /* as in a child of a kernel that lets it inherit nothing */
    }
    bl_epoch_enter();
    uint64_t ticket = bl_epoch_ticket();
    bool early = bl_epoch_passed(ticket);
    bl_epoch_leave();
    bl_epoch_wait();
    _exit(early || !bl_epoch_passed(ticket) || plans[CALL_MEMBARRIER].failed != 1 ||
          atomic_load(&bl_epoch_needs_fence) == is_known);
}

/* Grace periods end, and not too early, where the kernel has no barrier for all threads. Before this process has used
 * any: it asks once. */
static void grace_periods_need_no_membarrier(void **state)
{
    (void)state;
    for (int is_known = 0; is_known < 2; is_known++) {
        pid_t child = fork();
        assert_true(child >= 0);
        if (child == 0)
            epochs_in_a_child(is_known);
        int status;
        assert_int_equal(waitpid(child, &status, 0), child);
        assert_true(WIFEXITED(status));
        assert_int_equal(WEXITSTATUS(status), 0);
    }
}
#endif

static _Atomic bool inside;

static void *look_until_somebody_sleeps(void *unused)
{
    (void)unused;
    bl_epoch_enter();
    inside = true;
    while (naps == 0)
        sched_yield();
    bl_epoch_leave();
    return NULL;
}

/* Who waits for a reader that stays for long sleeps meanwhile. */
static void a_long_look_is_waited_for_asleep(void **state)
{
    (void)state;
    pthread_t reader;
    naps = 0;
    inside = false;
    assert_int_equal(pthread_create(&reader, NULL, look_until_somebody_sleeps, NULL), 0);
    while (!inside)
        sched_yield();
    uint64_t ticket = bl_epoch_ticket();
    assert_false(bl_epoch_passed(ticket));
    bl_epoch_wait();
    assert_true(naps > 0);
    assert_true(bl_epoch_passed(ticket));
    assert_int_equal(pthread_join(reader, NULL), 0);
}

/* ---- the guard of maps ---- */

#if !defined(WATCHED)
static void *page_without_a_file(void)
{
    bole_error error = BOLE_ERROR_INIT;
    bole_file *file = open_file("gone");
    void *map;
    assert_ok(posix->truncate(file, 4096, &error), &error);
    assert_ok(posix->map(file, 0, 4096, &map, &error), &error);
    assert_ok(posix->truncate(file, 0, &error), &error);
    close_file(file);
    return map;
}

static _Atomic int seen_signal;

static void note_signal(int number)
{
    if (seen_signal == 0)
        _exit(number == SIGBUS ? 40 : 41);
    seen_signal = number;
}

int raise(int number)
{
    if (seen_signal != -1)
        return NEXT(raise)(number);
    _exit(number == SIGBUS ? 42 : 43); /* in a child: it would have ended by the signal */
}

typedef enum guard_case {
    HANDLER,
    HANDLER_SENT,
    DEFAULT_SENT,
    IGNORED_SENT,
    IGNORED,
    NO_PAGE,
    NO_HANDLER,
    ALL_RANGES
} guard_case;

/* In a child. What the exit status must be: 40 for the handler that was there, 42 for what ends a process, 45 for a
 * fault that will, 0. */
static _Noreturn void bus_error_in_a_child(guard_case which)
{
    static _Atomic bool failed;
    struct sigaction before = { .sa_handler = SIG_DFL };
    if (which == HANDLER || which == HANDLER_SENT || which == NO_PAGE)
        before.sa_handler = note_signal;
    if (which == IGNORED_SENT || which == IGNORED)
        before.sa_handler = SIG_IGN;
    sigaction(SIGBUS, &before, NULL);
    volatile char *page = page_without_a_file();
    if (which == NO_HANDLER) {
        plan(CALL_SIGACTION, 0, 1, EINVAL);
        bool first = bl_map_guard_register((void *)(uintptr_t)page, 4096, &failed);
        plan(CALL_SIGACTION, 1, 1, EINVAL);
        bool second = bl_map_guard_register((void *)(uintptr_t)page, 4096, &failed);
        _exit(first || second ? 1 : 0);
    }
    if (!bl_map_guard_register((void *)(uintptr_t)page, 4096, &failed))
        _exit(2);
    if (which == ALL_RANGES) {
        uint32_t count = 1;
        for (; count < 10000; count++)
            if (!bl_map_guard_register((void *)(uintptr_t)(4096 * (size_t)count), 4096, &failed))
                break;
        page[0] = 1;
        if (count == 10000 || !failed)
            _exit(5);
        bl_map_guard_unregister((void *)(uintptr_t)4096);
        _exit(bl_map_guard_register((void *)(uintptr_t)(4096 * (size_t)count), 4096, &failed) ? 0 : 6);
    }
    default_ends = which == IGNORED;
    if (which == HANDLER || which == IGNORED) {
        bl_map_guard_unregister((void *)(uintptr_t)page);
        page[0] = 1; /* no page of the guard's: the handler that was there sees it */
    } else if (which == NO_PAGE) {
        plan(CALL_MMAP, 0, 1, ENOMEM);
        page[0] = 1;
    } else {
        seen_signal = which == DEFAULT_SENT ? -1 : -2;
        kill(getpid(), SIGBUS);
        if (which == HANDLER_SENT && seen_signal != SIGBUS)
            _exit(7);
        page[0] = 1; /* the guard is still there */
        _exit(failed ? 0 : 3);
    }
    _exit(4);
}

static void expect_of_a_child(guard_case which, int wanted)
{
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0)
        bus_error_in_a_child(which);
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), wanted);
}

static void bus_errors_that_are_not_ours_go_where_they_went(void **state)
{
    (void)state;
    expect_of_a_child(HANDLER, 40);
    expect_of_a_child(HANDLER_SENT, 0);
    expect_of_a_child(DEFAULT_SENT, 42);
    expect_of_a_child(IGNORED_SENT, 0);
    expect_of_a_child(IGNORED, 45);
    expect_of_a_child(ALL_RANGES, 0);
    expect_of_a_child(NO_PAGE, 40);
    expect_of_a_child(NO_HANDLER, 0);
}
#endif

/* ---- logs in a map that fails ---- */

static bl_write_ahead_log *make_log(bole_vfs *vfs, uint64_t number)
{
    bole_error error = BOLE_ERROR_INIT;
    bl_log_parameters parameters = { .vfs = vfs,
                                     .directory = directory.path,
                                     .number = number,
                                     .store_id = { { 1 } },
                                     .bytes = 1 << 20,
                                     .way = BL_LOG_MAPPED };
    bl_write_ahead_log *log;
    assert_ok(bl_log_create(&parameters, &log, &error), &error);
    bl_log_activate(log);
    return log;
}

static void append(bl_write_ahead_log *log, size_t size)
{
    uint64_t position;
    uint8_t *payload = bl_log_reserve(log, size, &position);
    assert_non_null(payload);
    memset(payload, BL_RECORD_BATCH, size);
    bl_log_finish(log, payload, size, position, 0);
}

/* A file system that keeps no shared map, and a process that cannot guard one: the log is written. */
static void a_log_is_written_where_it_cannot_be_mapped(void **state)
{
    (void)state;
    other_kind = NFS_SUPER_MAGIC;
    bl_write_ahead_log *log = make_log(posix, 1);
    other_kind = 0;
    assert_int_equal(bl_log_way_of(log), BL_LOG_WRITTEN);
    append(log, 100);
    assert_ok(bl_log_publish(log, NULL), NULL);
    assert_ok(bl_log_sync(log, bl_log_end(log), NULL), NULL);
    bl_log_close(log);
#if !defined(WATCHED)
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        other_kind = TMPFS_MAGIC; /* which can be mapped, wherever this test runs */
        plan(CALL_SIGACTION, 0, 1000, EINVAL);
        log = make_log(posix, 2);
        bool good = bl_log_way_of(log) == BL_LOG_WRITTEN;
        append(log, 100);
        good = good && bl_log_publish(log, NULL) == BOLE_OK;
        bl_log_close(log);
        _exit(good ? 0 : 1);
    }
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
#endif
}

#if !defined(WATCHED)
static bl_write_ahead_log *failing_log;

static void lose_the_file(bl_write_ahead_log *log) { assert_int_equal(truncate(bl_log_path(log), 8192), 0); }

/* Its map fails while it is synced: another thread appended. */
static bole_status sync_and_lose(bole_file *file, bole_error *error)
{
    bole_status status = posix->sync(file, error);
    lose_the_file(failing_log);
    append(failing_log, 50000);
    return status;
}

/* What may not be in the file is not called synced, wherever the map's failure is seen. */
static void a_log_whose_map_fails_is_never_synced_again(void **state)
{
    (void)state;
    for (int during = 0; during < 2; during++) {
        bole_error error = BOLE_ERROR_INIT;
        bole_vfs vfs = *posix;
        other_kind = TMPFS_MAGIC; /* which can be mapped, wherever this test runs */
        bl_write_ahead_log *log = failing_log = make_log(&vfs, 10 + (uint64_t)during);
        other_kind = 0;
        assert_int_equal(bl_log_way_of(log), BL_LOG_MAPPED);
        append(log, 100);
        assert_ok(bl_log_publish(log, &error), &error);
        uint64_t published = bl_log_published(log);
        if (!during) {
            lose_the_file(log);
            append(log, 50000);
            assert_false(bl_log_touch_ahead(log));
        } else {
            vfs.sync = sync_and_lose;
        }
        told(BOLE_IO, 0, "map", bl_log_sync(log, published, &error), &error);
        assert_true(bl_log_synced(log) < published);
        assert_int_equal(bl_log_state_of(log), BL_LOG_FAILED);
        assert_status(BOLE_IO, bl_log_sync(log, published, &error), &error);
        assert_status(BOLE_IO, bl_log_publish(log, &error), &error);
        bl_log_close(log);
    }
}
#endif

int main(void)
{
    const struct CMUnitTest tests[] = {
#if !defined(BL_THREAD_SANITIZER)
        cmocka_unit_test_setup_teardown(grace_periods_need_no_membarrier, set_up, tear_down), /* the first */
#endif
#if !defined(WATCHED)
        cmocka_unit_test_setup_teardown(bus_errors_that_are_not_ours_go_where_they_went, set_up, tear_down),
        cmocka_unit_test_setup_teardown(an_arena_without_memory_says_so, set_up, tear_down),
        cmocka_unit_test_setup_teardown(an_arena_that_is_full_says_so, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_slot_is_waited_for, set_up, tear_down),
#endif
        cmocka_unit_test_setup_teardown(what_fails_while_opening_is_told, set_up, tear_down),
        cmocka_unit_test_setup_teardown(what_fails_with_bytes_is_told, set_up, tear_down),
        cmocka_unit_test_setup_teardown(space_is_had_from_any_file_system, set_up, tear_down),
        cmocka_unit_test_setup_teardown(what_fails_with_names_is_told, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_listing_that_breaks_off_is_told, set_up, tear_down),
        cmocka_unit_test_setup_teardown(free_space_and_random_numbers_are_asked_again, set_up, tear_down),
        cmocka_unit_test_setup_teardown(what_fails_with_locks_is_told, set_up, tear_down),
        cmocka_unit_test_setup_teardown(locks_of_another_file_system_are_others, set_up, tear_down),
        cmocka_unit_test_setup_teardown(the_memory_limit_is_read_whatever_the_files_say, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_file_system_can_what_its_kind_can, set_up, tear_down),
#if !defined(WATCHED)
        cmocka_unit_test_setup_teardown(a_process_without_a_limit_of_files_has_none, set_up, tear_down),
#endif
        cmocka_unit_test_setup_teardown(a_sleep_that_is_interrupted_goes_on, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_configuration_that_finds_no_memory_is_told, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_long_look_is_waited_for_asleep, set_up, tear_down),
        cmocka_unit_test_setup_teardown(what_fails_with_maps_is_told, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_log_is_written_where_it_cannot_be_mapped, set_up, tear_down),
#if !defined(WATCHED)
        cmocka_unit_test_setup_teardown(a_log_whose_map_fails_is_never_synced_again, set_up, tear_down),
#endif
    };
    return cmocka_run_group_tests_name("system_calls", tests, NULL, NULL);
}
