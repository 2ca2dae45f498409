/* SPDX-License-Identifier: MIT */
/* vfs_posix.c -- the operating system: files, names, clock and randomness of Linux.
 *
 * Every descriptor is close-on-exec; a name is opened only if it is a regular file and no symbolic link,
 * without waiting (a pipe in the place of a file must not hang the opener). Files are made 0600, directories
 * 0700.
 * INVARIANTS  (POSIX-1) An interrupted or short call is carried on; what a caller sees is all or a failure.
 *             (POSIX-2) A failed sync is told and not repeated: the kernel forgets what it could not write.
 *             (POSIX-3) allocate leaves no hole in its range, so a store to a map of it finds its block.
 * DIRECT      A file that is only read is opened with O_DIRECT where the file system has it: whole pages go from the
 *             device to the caller, or through a buffer of pages where place, size or memory are not the device's.
 *             One that is written from its beginning in whole pieces is written past the cache, too, and behind its
 *             writer (posix_write_behind.c). The first other call settles it: waits, and goes on through the cache,
 *             which drops the file when it was synced. A write that failed meanwhile fails that call and all later
 *             ones.
 * THREADS     Any; only a file that is written past the cache has changing state here, and is one thread's.
 * NOT HERE    Locks: posix_lock.c.   Memory and file system kinds: posix_machine.c.   SIGBUS: map_guard.c. */
#include "base/alloc.h"
#include "base/assert.h"
#include "base/status.h"
#include "platform/posix_lock.h"
#include "platform/posix_machine.h"
#include "platform/posix_write_behind.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <time.h>
#include <unistd.h>

enum { ZEROS_BYTES = 64 * 1024, WRITE_OUT_BYTES = 512 * 1024 };
enum { DIRECT_BYTES = BL_DIRECT_BYTES, DIRECT_STACK_BYTES = 24 * 1024 };

static bl_posix_file *posix_file(bole_file *file) { return (bl_posix_file *)file; }

static bole_status file_failed(const bl_posix_file *file, int system_errno, const char *what,
                               bole_error *error)
{
    return bl_fail_system(error, system_errno, what, file->path);
}

/* Offsets of the system are signed. */
static bool fits(uint64_t offset, uint64_t length)
{
    return offset <= INT64_MAX && length <= INT64_MAX - offset;
}

static bole_status out_of_range(const bl_posix_file *file, uint64_t offset, bole_error *error)
{
    return bl_fail(error, BOLE_INVALID, "%s: offset %llu is out of range", file->path,
                   (unsigned long long)offset);
}

/* ---- Open and close ------------------------------------------------------------------------------------ */

static int system_flags(uint32_t flags)
{
    int result = O_CLOEXEC | O_NOFOLLOW | O_NOCTTY | O_NONBLOCK;
    result |= (flags & BOLE_VFS_WRITE) != 0 ? O_RDWR : O_RDONLY;
    if ((flags & BOLE_VFS_CREATE) != 0)
        result |= O_CREAT;
    if ((flags & BOLE_VFS_EXCLUSIVE) != 0)
        result |= O_EXCL;
    return result;
}

static bole_status open_failed(int system_errno, const char *path, bole_error *error)
{
    if (system_errno == ELOOP)
        return bl_fail(error, BOLE_INVALID, "%s is a symbolic link", path);
    if (system_errno == EISDIR || system_errno == ENXIO)
        return bl_fail(error, BOLE_INVALID, "%s is not a regular file", path);
    return bl_fail_system(error, system_errno, "open", path);
}

static int open_descriptor(const char *path, int flags)
{
    int descriptor;
    do
        descriptor = open(path, flags, 0600);
    while (descriptor < 0 && errno == EINTR);
    return descriptor;
}

static bole_status posix_open(bole_vfs *vfs, const char *path, uint32_t flags, bole_file **out,
                              bole_error *error)
{
    *out = NULL;
    if ((flags & (BOLE_VFS_CREATE | BOLE_VFS_TRUNCATE)) != 0 && (flags & BOLE_VFS_WRITE) == 0)
        return bl_fail(error, BOLE_INVALID, "%s: to create or truncate, open for writing", path);
    size_t path_size = strlen(path) + 1;
    bl_posix_file *file = bl_alloc(sizeof *file + path_size);
    if (file == NULL)
        return bl_fail(error, BOLE_NO_MEMORY, "out of memory for the file handle of %s", path);
    file->file.vfs = vfs;
    memcpy(file->path, path, path_size);
    file->descriptor = -1;
    file->write_failure = 0;
    file->behind = NULL;
    file->drop_synced = (flags & BOLE_VFS_DIRECT) != 0 && (flags & BOLE_VFS_WRITE) != 0;
    if ((flags & BOLE_VFS_DIRECT) != 0 &&
        (flags & BOLE_VFS_EXCLUSIVE) == 0) /* a refused one may have made the file */
        file->descriptor = open_descriptor(path, system_flags(flags) | O_DIRECT);
    file->direct_reads = file->descriptor >= 0 && !file->drop_synced;
    file->writes_past = file->descriptor >= 0 && file->drop_synced;
    /* Also where the file system has nothing direct; what else failed fails again. */
    if (file->descriptor < 0)
        file->descriptor = open_descriptor(path, system_flags(flags));
    if (file->descriptor < 0) {
        bole_status status = open_failed(errno, path, error);
        bl_free(file);
        return status;
    }
    bole_status status = BOLE_OK;
    struct stat state = { 0 };
    if (fstat(file->descriptor, &state) != 0)
        status = file_failed(file, errno, "look at", error);
    else if (!S_ISREG(state.st_mode))
        status = bl_fail(error, BOLE_INVALID, "%s is not a regular file", path);
    else if ((flags & BOLE_VFS_TRUNCATE) != 0 && ftruncate(file->descriptor, 0) != 0)
        status = file_failed(file, errno, "truncate", error);
    file->device = state.st_dev;
    file->inode = state.st_ino;
    if (status != BOLE_OK) {
        bl_posix_lock_close(file); /* another handle may hold locks on this inode */
        return status;
    }
    *out = &file->file;
    return BOLE_OK;
}

/* What was written behind is there, or has failed; from now on the file is an ordinary one. */
static bole_status settle(bl_posix_file *file, bole_error *error)
{
    if (bl_unlikely(file->writes_past)) {
        file->write_failure = bl_write_behind_finish(file->behind);
        file->behind = NULL;
        file->writes_past = false;
        if (fcntl(file->descriptor, F_SETFL, O_NONBLOCK) != 0 && file->write_failure == 0)
            file->write_failure = errno;
    }
    return bl_likely(file->write_failure == 0) ? BOLE_OK
                                               : file_failed(file, file->write_failure, "write", error);
}

static bole_status posix_close(bole_file *base, bole_error *error)
{
    if (base == NULL)
        return BOLE_OK;
    bole_status written = settle(posix_file(base), error);
    char path[sizeof((bole_error *)NULL)->file];
    size_t length = strnlen(posix_file(base)->path, sizeof path - 1);
    memcpy(path, posix_file(base)->path, length);
    path[length] = '\0';
    int failure = bl_posix_lock_close(posix_file(base));
    return failure == 0 ? written : bl_fail_system(error, failure, "close", path);
}

/* ---- Bytes --------------------------------------------------------------------------------------------- */

/* Reads until `length` bytes or the end of the file. 0 or errno; *got says how many in any case. */
static int read_all(int descriptor, uint64_t offset, void *data, size_t length, size_t *got)
{
    *got = 0;
    while (*got < length) {
        size_t part = length - *got < BL_IO_BYTES_MAX ? length - *got : BL_IO_BYTES_MAX;
        ssize_t result = pread(descriptor, (char *)data + *got, part, (off_t)(offset + *got));
        if (result == 0)
            break;
        if (result > 0)
            *got += (size_t)result;
        else if (errno != EINTR)
            return errno;
    }
    return 0;
}

/* The same, in whole pages: `offset`, `data` and `length` are such. A part of a page is the end of the file. */
static int read_pages(int descriptor, uint64_t offset, void *data, size_t length, size_t *got)
{
    *got = 0;
    while (*got < length && *got % DIRECT_BYTES == 0) {
        size_t part = length - *got < BL_IO_BYTES_MAX ? length - *got : BL_IO_BYTES_MAX;
        ssize_t result = pread(descriptor, (char *)data + *got, part, (off_t)(offset + *got));
        if (result == 0)
            break;
        if (result > 0)
            *got += (size_t)result;
        else if (errno == EINVAL) /* it wants more than pages: through the cache, from now on */
            return fcntl(descriptor, F_SETFL, O_NONBLOCK) == 0
                       ? read_all(descriptor, offset, data, length, got)
                       : errno;
        else if (errno != EINTR)
            return errno;
    }
    return 0;
}

/* The pages that [offset, offset + length) lies in go through `pages`. */
static int read_through(int descriptor, uint64_t offset, void *data, size_t length, uint8_t *pages,
                        size_t *got)
{
    size_t skipped = offset % DIRECT_BYTES;
    size_t all = (skipped + length + DIRECT_BYTES - 1) / DIRECT_BYTES * DIRECT_BYTES;
    int failure = read_pages(descriptor, offset - skipped, pages, all, got);
    *got = *got > skipped ? *got - skipped : 0;
    *got = *got < length ? *got : length;
    memcpy(data, pages + skipped, *got);
    return failure;
}

static int read_direct(int descriptor, uint64_t offset, void *data, size_t length, size_t *got)
{
    if (((offset | (uintptr_t)data | length) % DIRECT_BYTES) == 0)
        return read_pages(descriptor, offset, data, length, got);
    if (length <= DIRECT_STACK_BYTES - 2 * DIRECT_BYTES) {
        _Alignas(DIRECT_BYTES) uint8_t pages[DIRECT_STACK_BYTES];
        return read_through(descriptor, offset, data, length, pages, got);
    }
    *got = 0;
    uint8_t *pages = bl_alloc_aligned(DIRECT_BYTES, (length / DIRECT_BYTES + 3) * DIRECT_BYTES);
    if (pages == NULL)
        return ENOMEM;
    int failure = read_through(descriptor, offset, data, length, pages, got);
    bl_free(pages);
    return failure;
}

static bole_status posix_read(bole_file *base, uint64_t offset, void *data, size_t length, size_t *got,
                              bole_error *error)
{
    bl_posix_file *file = posix_file(base);
    *got = 0;
    if (!fits(offset, length))
        return out_of_range(file, offset, error);
    bole_status settled = settle(file, error);
    if (bl_unlikely(settled != BOLE_OK))
        return settled;
    size_t done;
    int failure = file->direct_reads ? read_direct(file->descriptor, offset, data, length, &done)
                                     : read_all(file->descriptor, offset, data, length, &done);
    if (failure != 0) {
        bole_status status = file_failed(file, failure, "read", error);
        if (error != NULL)
            error->offset = offset + done;
        return status;
    }
    *got = done;
    return BOLE_OK;
}

/* Large writes come from segments, which are synced when they are complete: the device begins now, beside the work
 * that makes the next part, and the sync finds little left to do. A hint: what fails here, the sync tells. */
static void begin_write_out(int descriptor, uint64_t offset, size_t length)
{
#ifdef SYNC_FILE_RANGE_WRITE
    (void)sync_file_range(descriptor, (off_t)offset, (off_t)length, SYNC_FILE_RANGE_WRITE);
#else
    (void)descriptor, (void)offset, (void)length;
#endif
}

/* A whole piece of a file that is written past the cache. Without memory for it the file goes on as an ordinary one. */
static bool write_behind(bl_posix_file *file, uint64_t offset, const void *data, int *failure)
{
    if (file->behind == NULL)
        file->behind = bl_write_behind_create(file->descriptor);
    if (file->behind == NULL)
        return false;
    *failure = bl_write_behind_add(file->behind, offset, data);
    return true;
}

static bole_status posix_write(bole_file *base, uint64_t offset, const void *data, size_t length,
                               bole_error *error)
{
    bl_posix_file *file = posix_file(base);
    if (!fits(offset, length))
        return out_of_range(file, offset, error);
    int behind;
    if (file->writes_past && length == BL_WRITE_BEHIND_BYTES && offset % DIRECT_BYTES == 0 &&
        write_behind(file, offset, data, &behind))
        return behind == 0 ? BOLE_OK : file_failed(file, behind, "write", error);
    bole_status settled = settle(file, error);
    if (bl_unlikely(settled != BOLE_OK))
        return settled;
    int failure = bl_write_all(file->descriptor, offset, data, length);
    if (failure == 0) {
        if (length >= WRITE_OUT_BYTES)
            begin_write_out(file->descriptor, offset, length);
        return BOLE_OK;
    }
    bole_status status = file_failed(file, failure, "write", error);
    if (error != NULL)
        error->offset = offset;
    return status;
}

static bole_status posix_sync(bole_file *base, bole_error *error)
{
    bl_posix_file *file = posix_file(base);
    bole_status settled = settle(file, error);
    if (bl_unlikely(settled != BOLE_OK))
        return settled;
    if (fdatasync(file->descriptor) != 0) /* EINTR too: nothing says that the data is there */
        return file_failed(file, errno, "sync", error);
    if (file->drop_synced)
        (void)posix_fadvise(file->descriptor, 0, 0, POSIX_FADV_DONTNEED);
    return BOLE_OK;
}

static bole_status posix_truncate(bole_file *base, uint64_t length, bole_error *error)
{
    bl_posix_file *file = posix_file(base);
    if (!fits(length, 0))
        return out_of_range(file, length, error);
    bole_status settled = settle(file, error);
    if (bl_unlikely(settled != BOLE_OK))
        return settled;
    while (ftruncate(file->descriptor, (off_t)length) != 0) {
        if (errno != EINTR)
            return file_failed(file, errno, "truncate", error);
    }
    return BOLE_OK;
}

/* fallocate, carried on when interrupted. 0 or errno. */
static int allocate_call(int descriptor, int mode, uint64_t offset, uint64_t length)
{
    while (fallocate(descriptor, mode, (off_t)offset, (off_t)length) != 0) {
        if (errno != EINTR)
            return errno;
    }
    return 0;
}

static int write_zeros(int descriptor, uint64_t offset, uint64_t length)
{
    static const char zeros[ZEROS_BYTES];
    int failure = 0;
    for (uint64_t done = 0; done < length && failure == 0;) {
        size_t part = length - done < ZEROS_BYTES ? (size_t)(length - done) : ZEROS_BYTES;
        failure = bl_write_all(descriptor, offset + done, zeros, part);
        done += part;
    }
    return failure;
}

/* Unwritten extents where the file system has them; else (tmpfs) a hole that is filled again; else real
 * zeros. */
static int allocate_zeroed(int descriptor, uint64_t offset, uint64_t length)
{
    int failure = allocate_call(descriptor, FALLOC_FL_ZERO_RANGE, offset, length);
    if (failure != EOPNOTSUPP)
        return failure;
    failure = allocate_call(descriptor, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, offset, length);
    if (failure == 0)
        failure = allocate_call(descriptor, 0, offset, length);
    if (failure != EOPNOTSUPP)
        return failure;
    return write_zeros(descriptor, offset, length);
}

static bole_status posix_allocate(bole_file *base, uint64_t offset, uint64_t length, bool zero,
                                  bole_error *error)
{
    bl_posix_file *file = posix_file(base);
    if (!fits(offset, length))
        return out_of_range(file, offset, error);
    bole_status settled = settle(file, error);
    if (length == 0 || bl_unlikely(settled != BOLE_OK))
        return settled;
    int failure;
    if (zero) {
        failure = allocate_zeroed(file->descriptor, offset, length);
    } else {
        failure = allocate_call(file->descriptor, 0, offset, length);
        if (failure == EOPNOTSUPP)
            failure = posix_fallocate(file->descriptor, (off_t)offset, (off_t)length);
    }
    return failure == 0 ? BOLE_OK : file_failed(file, failure, "allocate space for", error);
}

static bole_status posix_length(bole_file *base, uint64_t *out, bole_error *error)
{
    *out = 0;
    bl_posix_file *file = posix_file(base);
    bole_status settled = settle(file, error);
    if (bl_unlikely(settled != BOLE_OK))
        return settled;
    struct stat state;
    if (fstat(file->descriptor, &state) != 0)
        return file_failed(file, errno, "look at", error);
    *out = (uint64_t)state.st_size;
    return BOLE_OK;
}

/* ---- Maps ---------------------------------------------------------------------------------------------- */

static bole_status posix_map(bole_file *base, uint64_t offset, uint64_t length, void **out, bole_error *error)
{
    *out = NULL;
    bl_posix_file *file = posix_file(base);
    if (!fits(offset, length))
        return out_of_range(file, offset, error);
    bole_status settled = settle(file, error);
    if (bl_unlikely(settled != BOLE_OK))
        return settled;
    if (bl_alloc_refused())
        return bl_fail(error, BOLE_NO_MEMORY, "out of memory for a map of %s", file->path);
    void *data = mmap(NULL, (size_t)length, PROT_READ | PROT_WRITE, MAP_SHARED, file->descriptor,
                      (off_t)offset);
    if (data == MAP_FAILED)
        return file_failed(file, errno, "map", error);
    if (madvise(data, (size_t)length, MADV_DONTFORK) != 0) {
        bole_status status = file_failed(file, errno, "map", error);
        munmap(data, (size_t)length);
        return status;
    }
    *out = data;
    return BOLE_OK;
}

static bole_status posix_unmap(bole_file *base, void *data, uint64_t length, bole_error *error)
{
    if (data != NULL && munmap(data, (size_t)length) != 0)
        return file_failed(posix_file(base), errno, "unmap", error);
    return BOLE_OK;
}

static void posix_will_need(bole_file *base, uint64_t offset, uint64_t length)
{
    if (fits(offset, length))
        (void)posix_fadvise(posix_file(base)->descriptor, (off_t)offset, (off_t)length, POSIX_FADV_WILLNEED);
}

/* ---- Names --------------------------------------------------------------------------------------------- */

static bole_status posix_remove(bole_vfs *vfs, const char *path, bole_error *error)
{
    (void)vfs;
    return unlink(path) == 0 ? BOLE_OK : bl_fail_system(error, errno, "remove", path);
}

static bole_status posix_rename(bole_vfs *vfs, const char *from, const char *to, bole_error *error)
{
    (void)vfs;
    return rename(from, to) == 0 ? BOLE_OK : bl_fail_system(error, errno, "rename", from);
}

static bole_status posix_link(bole_vfs *vfs, const char *from, const char *to, bole_error *error)
{
    (void)vfs;
    if (linkat(AT_FDCWD, from, AT_FDCWD, to, 0) == 0)
        return BOLE_OK;
    if (errno == EXDEV || errno == EMLINK || errno == EOPNOTSUPP || errno == EPERM)
        return bl_fail(error, BOLE_UNSUPPORTED, "cannot link %s to %s: copy it instead", from, to);
    return bl_fail_system(error, errno, "link", errno == EEXIST ? to : from);
}

static bole_status posix_exists(bole_vfs *vfs, const char *path, bool *is_directory, bole_error *error)
{
    (void)vfs;
    *is_directory = false;
    struct stat state;
    if (lstat(path, &state) != 0)
        return bl_fail_system(error, errno, "look at", path);
    bool is_link = S_ISLNK(state.st_mode);
    if (is_link && stat(path, &state) != 0)
        return bl_fail_system(error, errno, "look at", path);
    if (is_link && !S_ISDIR(state.st_mode)) /* a store may be reached through a link, its files may not */
        return bl_fail(error, BOLE_INVALID, "%s is a symbolic link", path);
    *is_directory = S_ISDIR(state.st_mode);
    return BOLE_OK;
}

static bole_status posix_list(bole_vfs *vfs, const char *directory,
                              bool (*visit)(void *context, const char *name), void *context,
                              bole_error *error)
{
    (void)vfs;
    DIR *stream = opendir(directory); /* close-on-exec */
    if (stream == NULL)
        return bl_fail_system(error, errno, "list", directory);
    bole_status status = BOLE_OK;
    for (;;) {
        errno = 0;
        struct dirent *entry = readdir(stream);
        if (entry == NULL) {
            if (errno != 0)
                status = bl_fail_system(error, errno, "list", directory);
            break;
        }
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
            continue;
        if (!visit(context, entry->d_name))
            break;
    }
    closedir(stream);
    return status;
}

static bole_status posix_make_directory(bole_vfs *vfs, const char *path, bole_error *error)
{
    (void)vfs;
    return mkdir(path, 0700) == 0 ? BOLE_OK : bl_fail_system(error, errno, "make directory", path);
}

static bole_status posix_remove_directory(bole_vfs *vfs, const char *path, bole_error *error)
{
    (void)vfs;
    return rmdir(path) == 0 ? BOLE_OK : bl_fail_system(error, errno, "remove directory", path);
}

static bole_status posix_sync_directory(bole_vfs *vfs, const char *path, bole_error *error)
{
    (void)vfs;
    int descriptor;
    do
        descriptor = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    while (descriptor < 0 && errno == EINTR);
    if (descriptor < 0)
        return bl_fail_system(error, errno, "open directory", path);
    bole_status status = BOLE_OK;
    if (fsync(descriptor) != 0)
        status = bl_fail_system(error, errno, "sync directory", path);
    close(descriptor);
    return status;
}

static bole_status posix_free_bytes(bole_vfs *vfs, const char *path, uint64_t *out, bole_error *error)
{
    (void)vfs;
    *out = 0;
    struct statvfs state;
    while (statvfs(path, &state) != 0) {
        if (errno != EINTR)
            return bl_fail_system(error, errno, "ask the free space of", path);
    }
    if (__builtin_mul_overflow((uint64_t)state.f_bavail, (uint64_t)state.f_frsize, out))
        *out = UINT64_MAX;
    return BOLE_OK;
}

static uint32_t posix_capabilities(bole_vfs *vfs, const char *directory)
{
    (void)vfs;
    return bl_posix_capabilities(directory);
}

/* ---- The world ----------------------------------------------------------------------------------------- */

static uint64_t posix_monotonic_ns(bole_vfs *vfs)
{
    (void)vfs;
    struct timespec now;
    bl_assert(clock_gettime(CLOCK_MONOTONIC, &now) == 0);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static int64_t posix_realtime_us(bole_vfs *vfs)
{
    (void)vfs;
    struct timespec now;
    bl_assert(clock_gettime(CLOCK_REALTIME, &now) == 0);
    return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

static bole_status posix_random(bole_vfs *vfs, void *data, size_t length, bole_error *error)
{
    (void)vfs;
    size_t done = 0;
    while (done < length) {
        ssize_t got = getrandom((char *)data + done, length - done, 0);
        if (got > 0)
            done += (size_t)got;
        else if (got == 0 || errno != EINTR)
            return bl_fail_system(error, got == 0 ? EIO : errno, "read", "the system's random numbers");
    }
    return BOLE_OK;
}

static uint64_t posix_memory_bytes(bole_vfs *vfs)
{
    (void)vfs;
    return bl_posix_memory_bytes();
}

bole_vfs *bole_vfs_posix(void)
{
    static bole_vfs posix = {
        .size = sizeof posix,
        .name = "posix",
        .open = posix_open,
        .close = posix_close,
        .read = posix_read,
        .write = posix_write,
        .sync = posix_sync,
        .truncate = posix_truncate,
        .allocate = posix_allocate,
        .length = posix_length,
        .map = posix_map,
        .unmap = posix_unmap,
        .will_need = posix_will_need,
        .remove = posix_remove,
        .rename = posix_rename,
        .link = posix_link,
        .exists = posix_exists,
        .list = posix_list,
        .make_directory = posix_make_directory,
        .remove_directory = posix_remove_directory,
        .sync_directory = posix_sync_directory,
        .free_bytes = posix_free_bytes,
        .capabilities = posix_capabilities,
        .lock = bl_posix_lock,
        .unlock = bl_posix_unlock,
        .lock_test = bl_posix_lock_test,
        .monotonic_ns = posix_monotonic_ns,
        .realtime_us = posix_realtime_us,
        .random = posix_random,
        .memory_bytes = posix_memory_bytes,
    };
    return &posix;
}
