/* SPDX-License-Identifier: MIT */
/* vfs_fault.c -- a vfs in which the n-th call that may fail does.
 *
 * Every call that returns a status is counted and may be made to fail before it reaches the vfs below; close,
 * unmap and unlock are carried out below first, so that a failure leaks nothing. A failing write stores half
 * of its bytes when the plan says so. After a failing sync on a memory disk, what was dirty never reaches it
 * (see bl_vfs_memory_sync_failed): a second sync that succeeds proves nothing, as in the kernel.
 * INVARIANTS  (FAULT-1) Same calls, same plan: same failures. Nothing is random here.
 *             (FAULT-2) A call that was made to fail has changed nothing below, but for half a write and the
 *                       above.
 * THREADS     Any; the plan's counters are atomic. Change the rest of it only while no call runs. */
#include "base/alloc.h"
#include "base/assert.h"
#include "base/status.h"
#include "platform/vfs_wrap.h"

#include <errno.h>
#include <string.h>

typedef struct fault_vfs {
    bl_made_vfs made; /* first */
    bole_fault_plan *plan;
} fault_vfs;

typedef struct fault_file {
    bole_file file; /* first */
    bole_file *below;
    char path[];
} fault_file;

static fault_vfs *fault_of(bole_vfs *vfs) { return vfs->context; }

static bole_vfs *below_of(bole_vfs *vfs) { return fault_of(vfs)->made.below; }

static fault_file *file_of(bole_file *base) { return (fault_file *)base; }

/* Count a call; should it fail? */
static bool fails(bole_vfs *vfs)
{
    bole_fault_plan *plan = fault_of(vfs)->plan;
    uint64_t call = __atomic_fetch_add(&plan->calls, 1, __ATOMIC_RELAXED);
    if (call < plan->at || call - plan->at >= plan->count)
        return false;
    __atomic_fetch_add(&plan->failed, 1, __ATOMIC_RELAXED);
    return true;
}

static bole_status injected(bole_vfs *vfs, const char *what, const char *path, bole_error *error)
{
    int system_errno = fault_of(vfs)->plan->system_errno;
    return bl_fail_system(error, system_errno != 0 ? system_errno : EIO, what, path);
}

static bole_status file_injected(bole_file *base, const char *what, bole_error *error)
{
    return injected(base->vfs, what, file_of(base)->path, error);
}

/* ---- Files --------------------------------------------------------------------------------------------- */

static bole_status fault_open(bole_vfs *vfs, const char *path, uint32_t flags, bole_file **out,
                              bole_error *error)
{
    *out = NULL;
    if (fails(vfs))
        return injected(vfs, "open", path, error);
    size_t path_size = strlen(path) + 1;
    fault_file *file = bl_alloc(sizeof *file + path_size);
    if (file == NULL)
        return bl_fail_system(error, ENOMEM, "open", path);
    file->file.vfs = vfs;
    memcpy(file->path, path, path_size);
    bole_vfs *below = below_of(vfs);
    bole_status status = below->open(below, path, flags, &file->below, error);
    if (status != BOLE_OK) {
        bl_free(file);
        return status;
    }
    *out = &file->file;
    return BOLE_OK;
}

static bole_status fault_close(bole_file *base, bole_error *error)
{
    if (base == NULL)
        return BOLE_OK;
    fault_file *file = file_of(base);
    bole_status status = file->below->vfs->close(file->below, error);
    if (fails(base->vfs))
        status = file_injected(base, "close", error);
    bl_free(file);
    return status;
}

static bole_status fault_read(bole_file *base, uint64_t offset, void *data, size_t length, size_t *got,
                              bole_error *error)
{
    *got = 0;
    if (fails(base->vfs))
        return file_injected(base, "read", error);
    bole_file *below = file_of(base)->below;
    return below->vfs->read(below, offset, data, length, got, error);
}

static bole_status fault_write(bole_file *base, uint64_t offset, const void *data, size_t length,
                               bole_error *error)
{
    bole_file *below = file_of(base)->below;
    if (!fails(base->vfs))
        return below->vfs->write(below, offset, data, length, error);
    if (fault_of(base->vfs)->plan->half && length > 1)
        (void)!below->vfs->write(below, offset, data, length / 2, NULL);
    return file_injected(base, "write", error);
}

static bole_status fault_sync(bole_file *base, bole_error *error)
{
    bole_file *below = file_of(base)->below;
    if (!fails(base->vfs))
        return below->vfs->sync(below, error);
    bl_vfs_memory_sync_failed(below);
    return file_injected(base, "sync", error);
}

static bole_status fault_truncate(bole_file *base, uint64_t length, bole_error *error)
{
    if (fails(base->vfs))
        return file_injected(base, "truncate", error);
    bole_file *below = file_of(base)->below;
    return below->vfs->truncate(below, length, error);
}

static bole_status fault_allocate(bole_file *base, uint64_t offset, uint64_t length, bool zero,
                                  bole_error *error)
{
    if (fails(base->vfs))
        return file_injected(base, "allocate space for", error);
    bole_file *below = file_of(base)->below;
    return below->vfs->allocate(below, offset, length, zero, error);
}

static bole_status fault_length(bole_file *base, uint64_t *out, bole_error *error)
{
    *out = 0;
    if (fails(base->vfs))
        return file_injected(base, "look at", error);
    bole_file *below = file_of(base)->below;
    return below->vfs->length(below, out, error);
}

static bole_status fault_map(bole_file *base, uint64_t offset, uint64_t length, void **out, bole_error *error)
{
    *out = NULL;
    if (fails(base->vfs))
        return file_injected(base, "map", error);
    bole_file *below = file_of(base)->below;
    return below->vfs->map(below, offset, length, out, error);
}

static bole_status fault_unmap(bole_file *base, void *data, uint64_t length, bole_error *error)
{
    bole_file *below = file_of(base)->below;
    bole_status status = below->vfs->unmap(below, data, length, error);
    return fails(base->vfs) ? file_injected(base, "unmap", error) : status;
}

static bole_status fault_map_stored(bole_file *base, void *data, size_t length, bole_error *error)
{
    bole_file *below = file_of(base)->below;
    bole_status (*stored)(bole_file *, void *, size_t, bole_error *) = below->vfs->map_stored;
    if (!fails(base->vfs))
        return stored == NULL ? BOLE_OK : stored(below, data, length, error);
    if (stored != NULL && fault_of(base->vfs)->plan->half && length > 1)
        (void)!stored(below, data, length / 2, NULL);
    return file_injected(base, "store to the map of", error);
}

static void fault_will_need(bole_file *base, uint64_t offset, uint64_t length)
{
    bole_file *below = file_of(base)->below;
    below->vfs->will_need(below, offset, length);
}

/* ---- Names --------------------------------------------------------------------------------------------- */

static bole_status fault_remove(bole_vfs *vfs, const char *path, bole_error *error)
{
    return fails(vfs) ? injected(vfs, "remove", path, error)
                      : below_of(vfs)->remove(below_of(vfs), path, error);
}

static bole_status fault_rename(bole_vfs *vfs, const char *from, const char *to, bole_error *error)
{
    return fails(vfs) ? injected(vfs, "rename", from, error)
                      : below_of(vfs)->rename(below_of(vfs), from, to, error);
}

static bole_status fault_link(bole_vfs *vfs, const char *from, const char *to, bole_error *error)
{
    return fails(vfs) ? injected(vfs, "link", from, error)
                      : below_of(vfs)->link(below_of(vfs), from, to, error);
}

static bole_status fault_exists(bole_vfs *vfs, const char *path, bool *is_directory, bole_error *error)
{
    *is_directory = false;
    if (fails(vfs))
        return injected(vfs, "look at", path, error);
    return below_of(vfs)->exists(below_of(vfs), path, is_directory, error);
}

static bole_status fault_list(bole_vfs *vfs, const char *directory,
                              bool (*visit)(void *context, const char *name), void *context,
                              bole_error *error)
{
    if (fails(vfs))
        return injected(vfs, "list", directory, error);
    return below_of(vfs)->list(below_of(vfs), directory, visit, context, error);
}

static bole_status fault_make_directory(bole_vfs *vfs, const char *path, bole_error *error)
{
    if (fails(vfs))
        return injected(vfs, "make directory", path, error);
    return below_of(vfs)->make_directory(below_of(vfs), path, error);
}

static bole_status fault_remove_directory(bole_vfs *vfs, const char *path, bole_error *error)
{
    if (fails(vfs))
        return injected(vfs, "remove directory", path, error);
    return below_of(vfs)->remove_directory(below_of(vfs), path, error);
}

static bole_status fault_sync_directory(bole_vfs *vfs, const char *path, bole_error *error)
{
    if (fails(vfs))
        return injected(vfs, "sync directory", path, error);
    return below_of(vfs)->sync_directory(below_of(vfs), path, error);
}

static bole_status fault_free_bytes(bole_vfs *vfs, const char *path, uint64_t *out, bole_error *error)
{
    *out = 0;
    if (fails(vfs))
        return injected(vfs, "ask the free space of", path, error);
    return below_of(vfs)->free_bytes(below_of(vfs), path, out, error);
}

static uint32_t fault_capabilities(bole_vfs *vfs, const char *directory)
{
    return below_of(vfs)->capabilities(below_of(vfs), directory);
}

/* ---- Locks and the world ------------------------------------------------------------------------------- */

static bole_status fault_lock(bole_file *base, uint64_t offset, bool exclusive, bole_error *error)
{
    if (fails(base->vfs))
        return file_injected(base, "lock", error);
    bole_file *below = file_of(base)->below;
    return below->vfs->lock(below, offset, exclusive, error);
}

static bole_status fault_unlock(bole_file *base, uint64_t offset, bole_error *error)
{
    bole_file *below = file_of(base)->below;
    bole_status status = below->vfs->unlock(below, offset, error);
    return fails(base->vfs) ? file_injected(base, "unlock", error) : status;
}

static bole_status fault_lock_test(bole_file *base, uint64_t offset, bool *locked, int64_t *holder_pid,
                                   bole_error *error)
{
    *locked = false;
    *holder_pid = 0;
    if (fails(base->vfs))
        return file_injected(base, "test the lock of", error);
    bole_file *below = file_of(base)->below;
    return below->vfs->lock_test(below, offset, locked, holder_pid, error);
}

static uint64_t fault_monotonic_ns(bole_vfs *vfs) { return below_of(vfs)->monotonic_ns(below_of(vfs)); }

static int64_t fault_realtime_us(bole_vfs *vfs) { return below_of(vfs)->realtime_us(below_of(vfs)); }

static bole_status fault_random(bole_vfs *vfs, void *data, size_t length, bole_error *error)
{
    if (fails(vfs))
        return injected(vfs, "read", "the system's random numbers", error);
    return below_of(vfs)->random(below_of(vfs), data, length, error);
}

static uint64_t fault_memory_bytes(bole_vfs *vfs) { return below_of(vfs)->memory_bytes(below_of(vfs)); }

/* ---- The vfs ------------------------------------------------------------------------------------------- */

static const bole_vfs fault_calls = {
    .size = sizeof(bole_vfs),
    .name = "fault",
    .open = fault_open,
    .close = fault_close,
    .read = fault_read,
    .write = fault_write,
    .sync = fault_sync,
    .truncate = fault_truncate,
    .allocate = fault_allocate,
    .length = fault_length,
    .map = fault_map,
    .unmap = fault_unmap,
    .map_stored = fault_map_stored,
    .will_need = fault_will_need,
    .remove = fault_remove,
    .rename = fault_rename,
    .link = fault_link,
    .exists = fault_exists,
    .list = fault_list,
    .make_directory = fault_make_directory,
    .remove_directory = fault_remove_directory,
    .sync_directory = fault_sync_directory,
    .free_bytes = fault_free_bytes,
    .capabilities = fault_capabilities,
    .lock = fault_lock,
    .unlock = fault_unlock,
    .lock_test = fault_lock_test,
    .monotonic_ns = fault_monotonic_ns,
    .realtime_us = fault_realtime_us,
    .random = fault_random,
    .memory_bytes = fault_memory_bytes,
};

static void fault_destroy(bl_made_vfs *made) { bl_free(made); }

bool bl_vfs_is_fault(const bole_vfs *vfs) { return vfs->open == fault_open; }

bole_status bole_vfs_fault_create(bole_vfs *below, bole_fault_plan *plan, bole_vfs **out)
{
    *out = NULL;
    if (below == NULL || plan == NULL)
        return BOLE_INVALID;
    fault_vfs *fault = bl_new(fault_vfs);
    if (fault == NULL)
        return BOLE_NO_MEMORY;
    fault->made.vfs = fault_calls;
    fault->made.vfs.context = fault;
    fault->made.below = below;
    fault->made.destroy = fault_destroy;
    fault->plan = plan;
    *out = &fault->made.vfs;
    return BOLE_OK;
}
