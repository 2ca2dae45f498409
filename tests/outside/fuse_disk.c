/* SPDX-License-Identifier: MIT */
/* fuse_disk.c -- requests of the kernel, answered by a disk in memory. */
#define FUSE_USE_VERSION 31
#include "fuse_disk.h"

#include <errno.h>
#include <fcntl.h>
#include <fuse3/fuse.h>
#include <fuse3/fuse_lowlevel.h>
#include <linux/falloc.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/wait.h>
#include <unistd.h>

#include "platform/vfs_wrap.h"

struct fuse_disk_handle {
    bole_file *file; /* NULL: a directory */
    fuse_disk_handle *next;
    char path[256]; /* when it was opened */
};

static fuse_disk *self(void) { return fuse_get_context()->private_data; }

static int code(bole_status status, const bole_error *error)
{
    if (status == BOLE_OK)
        return 0;
    return error->system_errno != 0 ? -error->system_errno : -EIO;
}

/* May a call change the disk? */
static bool alive(fuse_disk *d, const char *call)
{
    if (!d->dead && !d->change(d->context, call))
        d->dead = true;
    return !d->dead;
}

/* Is this sync one that only says it is done? */
static bool lies(const fuse_disk *d, const char *path)
{
    char marked[300];
    snprintf(marked, sizeof marked, "%s|", path);
    return d->lie != NULL && strstr(marked, d->lie) != NULL;
}

static const fuse_disk_handle *handle_of(const struct fuse_file_info *info)
{
    return (const fuse_disk_handle *)(uintptr_t)info->fh;
}

static bole_file *file_of(const struct fuse_file_info *info) { return handle_of(info)->file; }

/* ---- Files ------------------------------------------------------------------------------------------------ */

static int add_handle(fuse_disk *d, const char *path, bole_file *file, struct fuse_file_info *info)
{
    fuse_disk_handle *handle = calloc(1, sizeof *handle);
    if (handle == NULL) {
        (void)d->disk->close(file, NULL);
        return -ENOMEM;
    }
    handle->file = file;
    snprintf(handle->path, sizeof handle->path, "%s", path);
    handle->next = d->handles;
    d->handles = handle;
    info->fh = (uintptr_t)handle;
    return 0;
}

static int open_handle(fuse_disk *d, const char *path, uint32_t flags, struct fuse_file_info *info)
{
    bole_error error = BOLE_ERROR_INIT;
    bole_file *file;
    bole_status status = d->disk->open(d->disk, path, flags, &file, &error);
    return status == BOLE_OK ? add_handle(d, path, file, info) : code(status, &error);
}

static int do_open(const char *path, struct fuse_file_info *info)
{
    /* writable always: with write_back the kernel also reads what is open for writing only */
    uint32_t flags = BOLE_VFS_WRITE;
    if ((info->flags & O_TRUNC) != 0 && !alive(self(), "truncate"))
        return -EIO;
    if ((info->flags & O_TRUNC) != 0)
        flags |= BOLE_VFS_TRUNCATE;
    return open_handle(self(), path, flags, info);
}

static int do_create(const char *path, mode_t mode, struct fuse_file_info *info)
{
    (void)mode;
    uint32_t flags = BOLE_VFS_WRITE | BOLE_VFS_CREATE;
    if ((info->flags & O_EXCL) != 0)
        flags |= BOLE_VFS_EXCLUSIVE;
    return alive(self(), "create") ? open_handle(self(), path, flags, info) : -EIO;
}

static void drop_handle(fuse_disk *d, fuse_disk_handle **link)
{
    fuse_disk_handle *handle = *link;
    *link = handle->next;
    (void)d->disk->close(handle->file, NULL);
    free(handle);
}

static int do_release(const char *path, struct fuse_file_info *info)
{
    (void)path;
    fuse_disk_handle **link = &self()->handles;
    while (*link != NULL && (uintptr_t)*link != info->fh)
        link = &(*link)->next;
    if (*link != NULL)
        drop_handle(self(), link);
    return 0;
}

static int do_read(const char *path, char *data, size_t size, off_t offset, struct fuse_file_info *info)
{
    (void)path;
    bole_error error = BOLE_ERROR_INIT;
    size_t got;
    bole_status status = self()->disk->read(file_of(info), (uint64_t)offset, data, size, &got, &error);
    return status == BOLE_OK ? (int)got : code(status, &error);
}

static int do_write(const char *path, const char *data, size_t size, off_t offset,
                    struct fuse_file_info *info)
{
    (void)path;
    bole_error error = BOLE_ERROR_INIT;
    if (!alive(self(), "write"))
        return -EIO;
    bole_status status = self()->disk->write(file_of(info), (uint64_t)offset, data, size, &error);
    return status == BOLE_OK ? (int)size : code(status, &error);
}

static int do_fsync(const char *path, int data_only, struct fuse_file_info *info)
{
    (void)path, (void)data_only;
    bole_error error = BOLE_ERROR_INIT;
    if (!alive(self(), "sync"))
        return -EIO;
    if (lies(self(), handle_of(info)->path))
        return 0;
    if (self()->sync_fails(self()->context)) {
        bl_vfs_memory_sync_failed(file_of(info));
        return -EIO;
    }
    return code(self()->disk->sync(file_of(info), &error), &error);
}

static int do_truncate(const char *path, off_t length, struct fuse_file_info *info)
{
    bole_error error = BOLE_ERROR_INIT;
    bole_vfs *disk = self()->disk;
    bole_file *file = info != NULL ? file_of(info) : NULL;
    if (!alive(self(), "truncate"))
        return -EIO;
    bole_status status = info != NULL ? BOLE_OK : disk->open(disk, path, BOLE_VFS_WRITE, &file, &error);
    if (status == BOLE_OK)
        status = disk->truncate(file, (uint64_t)length, &error);
    if (info == NULL)
        (void)disk->close(file, NULL);
    return code(status, &error);
}

static int do_fallocate(const char *path, int mode, off_t offset, off_t length, struct fuse_file_info *info)
{
    (void)path;
    bole_error error = BOLE_ERROR_INIT;
    if (mode != 0 && mode != FALLOC_FL_ZERO_RANGE)
        return -EOPNOTSUPP;
    if (!alive(self(), "allocate"))
        return -EIO;
    return code(self()->disk->allocate(file_of(info), (uint64_t)offset, (uint64_t)length, mode != 0, &error),
                &error);
}

/* ---- Names ------------------------------------------------------------------------------------------------ */

static int do_getattr(const char *path, struct stat *out, struct fuse_file_info *info)
{
    bole_error error = BOLE_ERROR_INIT;
    bole_vfs *disk = self()->disk;
    bool is_directory = false;
    bole_file *file = info != NULL && info->fh != 0 ? file_of(info) : NULL, *opened = NULL;
    uint64_t length = 0;
    bole_status status = file != NULL ? BOLE_OK : disk->exists(disk, path, &is_directory, &error);
    if (status == BOLE_NOT_FOUND)
        return -ENOENT;
    if (status == BOLE_OK && !is_directory && file == NULL) {
        status = disk->open(disk, path, BOLE_VFS_READ, &opened, &error);
        file = opened;
    }
    if (status == BOLE_OK && !is_directory)
        status = disk->length(file, &length, &error);
    (void)disk->close(opened, NULL);
    memset(out, 0, sizeof *out);
    out->st_mode = is_directory ? S_IFDIR | 0700 : S_IFREG | 0600;
    out->st_nlink = is_directory ? 2 : 1;
    out->st_uid = geteuid();
    out->st_gid = getegid();
    out->st_size = (off_t)length;
    out->st_blocks = (blkcnt_t)((length + 511) / 512);
    return code(status, &error);
}

/* An open directory is its path. */
static int do_opendir(const char *path, struct fuse_file_info *info)
{
    return add_handle(self(), path, NULL, info);
}

typedef struct filler {
    void *buffer;
    fuse_fill_dir_t fill;
} filler;

static bool fill_name(void *context, const char *name)
{
    filler *to = context;
    return to->fill(to->buffer, name, NULL, 0, 0) == 0;
}

static int do_readdir(const char *path, void *buffer, fuse_fill_dir_t fill, off_t offset,
                      struct fuse_file_info *info, enum fuse_readdir_flags flags)
{
    (void)path, (void)offset, (void)flags;
    bole_error error = BOLE_ERROR_INIT;
    filler to = { buffer, fill };
    fill_name(&to, ".");
    fill_name(&to, "..");
    return code(self()->disk->list(self()->disk, handle_of(info)->path, fill_name, &to, &error), &error);
}

/* One of the calls that take one path and change it. */
static int change_name(const char *call, const char *path,
                       bole_status (*change)(bole_vfs *vfs, const char *path, bole_error *error))
{
    bole_error error = BOLE_ERROR_INIT;
    return alive(self(), call) ? code(change(self()->disk, path, &error), &error) : -EIO;
}

static int do_unlink(const char *path) { return change_name("remove", path, self()->disk->remove); }

static int do_rmdir(const char *path)
{
    return change_name("remove directory", path, self()->disk->remove_directory);
}

static int do_mkdir(const char *path, mode_t mode)
{
    (void)mode;
    return change_name("make directory", path, self()->disk->make_directory);
}

static int do_rename(const char *from, const char *to, unsigned flags)
{
    bole_error error = BOLE_ERROR_INIT;
    if (flags != 0)
        return -EINVAL;
    return alive(self(), "rename") ? code(self()->disk->rename(self()->disk, from, to, &error), &error)
                                   : -EIO;
}

static int do_link(const char *from, const char *to)
{
    bole_error error = BOLE_ERROR_INIT;
    return alive(self(), "link") ? code(self()->disk->link(self()->disk, from, to, &error), &error) : -EIO;
}

static int do_fsyncdir(const char *path, int data_only, struct fuse_file_info *info)
{
    (void)path, (void)data_only;
    bole_error error = BOLE_ERROR_INIT;
    if (!alive(self(), "sync directory"))
        return -EIO;
    if (lies(self(), handle_of(info)->path))
        return 0;
    if (self()->sync_fails(self()->context))
        return -EIO;
    return code(self()->disk->sync_directory(self()->disk, handle_of(info)->path, &error), &error);
}

/* Times, owners and rights are not kept. */
static int do_utimens(const char *path, const struct timespec times[2], struct fuse_file_info *info)
{
    (void)path, (void)times, (void)info;
    return 0;
}

static int do_statfs(const char *path, struct statvfs *out)
{
    bole_error error = BOLE_ERROR_INIT;
    uint64_t left = 0;
    bole_status status = self()->disk->free_bytes(self()->disk, path, &left, &error);
    memset(out, 0, sizeof *out);
    out->f_bsize = out->f_frsize = 4096;
    out->f_bfree = out->f_bavail = out->f_blocks = left / 4096;
    out->f_namemax = 255;
    return code(status, &error);
}

static void *do_init(struct fuse_conn_info *connection, struct fuse_config *config)
{
    connection->want &= ~(unsigned)FUSE_CAP_WRITEBACK_CACHE;
    if (self()->write_back)
        connection->want |= connection->capable & (unsigned)FUSE_CAP_WRITEBACK_CACHE;
    config->hard_remove = 1; /* an open file may lose its name, as on any disk */
    config->nullpath_ok = 1;
    config->kernel_cache = 1;
    return self();
}

static const struct fuse_operations operations = {
    .init = do_init,
    .getattr = do_getattr,
    .mkdir = do_mkdir,
    .unlink = do_unlink,
    .rmdir = do_rmdir,
    .rename = do_rename,
    .link = do_link,
    .truncate = do_truncate,
    .open = do_open,
    .create = do_create,
    .read = do_read,
    .write = do_write,
    .release = do_release,
    .fsync = do_fsync,
    .fsyncdir = do_fsyncdir,
    .fallocate = do_fallocate,
    .opendir = do_opendir,
    .releasedir = do_release,
    .readdir = do_readdir,
    .utimens = do_utimens,
    .statfs = do_statfs,
};

/* ---- Mount and unmount ------------------------------------------------------------------------------------ */

bool fuse_disk_mount(fuse_disk *d, const char *directory)
{
    char *words[] = { (char *)"bole" };
    struct fuse_args arguments = FUSE_ARGS_INIT(1, words);
    d->directory = directory;
    d->handles = NULL;
    d->dead = false;
    d->request = calloc(1, sizeof *d->request);
    d->fuse = d->request != NULL ? fuse_new(&arguments, &operations, sizeof operations, d) : NULL;
    fuse_opt_free_args(&arguments);
    if (d->fuse != NULL && fuse_mount(d->fuse, directory) == 0)
        return true;
    if (d->fuse != NULL)
        fuse_destroy(d->fuse);
    free(d->request);
    d->fuse = NULL;
    return false;
}

int fuse_disk_descriptor(const fuse_disk *d) { return fuse_session_fd(fuse_get_session(d->fuse)); }

bool fuse_disk_serve(fuse_disk *d, int milliseconds)
{
    struct fuse_session *session = fuse_get_session(d->fuse);
    struct pollfd ready = { .fd = fuse_session_fd(session), .events = POLLIN };
    if (poll(&ready, 1, milliseconds) > 0) {
        int got = fuse_session_receive_buf(session, d->request);
        if (got == -EINTR || got == -EAGAIN)
            return true;
        if (got <= 0)
            return false;
        fuse_session_process_buf(session, d->request);
    }
    return !d->dead && !fuse_session_exited(session);
}

static void end(fuse_disk *d)
{
    fuse_unmount(d->fuse);
    fuse_destroy(d->fuse);
    while (d->handles != NULL)
        drop_handle(d, &d->handles);
    free(d->request->mem);
    free(d->request);
    d->fuse = NULL;
}

bool fuse_disk_unmount(fuse_disk *d)
{
    int ended = 1;
    pid_t child = fork(); /* for the kernel asks us for things until it is done */
    if (child == 0) {
        close(fuse_disk_descriptor(d));
        if (umount2(d->directory, 0) == 0)
            _exit(0);
        execlp("fusermount3", "fusermount3", "-q", "-u", d->directory, (char *)NULL);
        _exit(1);
    }
    while (child > 0 && waitpid(child, &ended, WNOHANG) == 0)
        (void)fuse_disk_serve(d, 1);
    end(d);
    return child > 0 && WIFEXITED(ended) && WEXITSTATUS(ended) == 0;
}

void fuse_disk_abandon(fuse_disk *d) { end(d); }

const char *fuse_disk_missing(void)
{
    fuse_disk trial = { .disk = NULL };
    char directory[] = "/tmp/bole-fuse-XXXXXX";
    if (access("/dev/fuse", R_OK | W_OK) != 0)
        return "there is no /dev/fuse that this user may open";
    if (mkdtemp(directory) == NULL)
        return "there is no room for a directory to mount on";
    bool mounted = fuse_disk_mount(&trial, directory);
    if (mounted)
        fuse_disk_abandon(&trial);
    rmdir(directory);
    return mounted ? NULL : "a file system of FUSE cannot be mounted";
}
