/* SPDX-License-Identifier: MIT */
/* vfs_trace.c -- a vfs that tells, in one line each, what calls change.
 *
 * FORMAT      create NAME                       open with CREATE (" exclusive", " truncate" behind it)
 *             truncate NAME LENGTH              also open with TRUNCATE alone (length 0)
 *             write NAME OFFSET+LENGTH          allocate NAME OFFSET+LENGTH (" zero" behind it)
 *             map NAME OFFSET+LENGTH            unmap NAME OFFSET+LENGTH
 *             stored NAME OFFSET+LENGTH         a store to a map; the offset is the file's
 *             sync NAME                         sync_directory NAME
 *             lock NAME OFFSET exclusive        (or "shared")        unlock NAME OFFSET
 *             remove NAME                       rename FROM TO       link FROM TO
 *             make_directory NAME               remove_directory NAME
 *             NAME is the last one of the path. A call that failed has " -> BOLE_IO" (its status) behind it.
 *             Lines are told when the call has returned, in the order of return. Tests depend on these texts.
 * THREADS     Any; `line` may be called from any thread that makes a call. */
#include "base/alloc.h"
#include "base/assert.h"
#include "base/status.h"
#include "platform/vfs_wrap.h"

#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

enum { LINE_SIZE = 640 };

typedef struct trace_vfs {
    bl_made_vfs made; /* first */
    void (*line)(void *context, const char *text);
    void *context;
} trace_vfs;

typedef struct trace_map {
    char *data;
    uint64_t offset, length;
    struct trace_map *next;
} trace_map;

typedef struct trace_file {
    bole_file file; /* first */
    bole_file *below;
    pthread_mutex_t lock;
    trace_map *maps; /* under the lock: where a store through a map lands in the file */
    char path[];
} trace_file;

static trace_vfs *trace_of(bole_vfs *vfs) { return vfs->context; }

static bole_vfs *below_of(bole_vfs *vfs) { return trace_of(vfs)->made.below; }

static trace_file *file_of(bole_file *base) { return (trace_file *)base; }

/* Tell of a call, and return its status. */
__attribute__((format(printf, 3, 4))) static bole_status tell(bole_vfs *vfs, bole_status status,
                                                              const char *format, ...)
{
    char text[LINE_SIZE];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    size_t length = strlen(text);
    if (status != BOLE_OK)
        snprintf(text + length, sizeof text - length, " -> %s", bole_status_name(status));
    trace_of(vfs)->line(trace_of(vfs)->context, text);
    return status;
}

static const char *name_of(bole_file *base) { return bl_path_last(file_of(base)->path); }

static bole_status tell_range(bole_file *base, bole_status status, const char *what, uint64_t offset,
                              uint64_t length, const char *more)
{
    return tell(base->vfs, status, "%s %s %" PRIu64 "+%" PRIu64 "%s", what, name_of(base), offset, length,
                more);
}

/* ---- Files --------------------------------------------------------------------------------------------- */

static void tell_open(bole_vfs *vfs, bole_status status, const char *path, uint32_t flags)
{
    if ((flags & BOLE_VFS_CREATE) != 0)
        (void)!tell(vfs, status, "create %s%s%s", bl_path_last(path),
                    (flags & BOLE_VFS_EXCLUSIVE) != 0 ? " exclusive" : "",
                    (flags & BOLE_VFS_TRUNCATE) != 0 ? " truncate" : "");
    else if ((flags & BOLE_VFS_TRUNCATE) != 0)
        (void)!tell(vfs, status, "truncate %s 0", bl_path_last(path));
}

static bole_status trace_open(bole_vfs *vfs, const char *path, uint32_t flags, bole_file **out,
                              bole_error *error)
{
    *out = NULL;
    size_t path_size = strlen(path) + 1;
    trace_file *file = bl_alloc(sizeof *file + path_size);
    if (file == NULL)
        return bl_fail_system(error, ENOMEM, "open", path);
    file->file.vfs = vfs;
    memcpy(file->path, path, path_size);
    bole_vfs *below = below_of(vfs);
    bole_status status = below->open(below, path, flags, &file->below, error);
    tell_open(vfs, status, path, flags);
    if (status != BOLE_OK) {
        bl_free(file);
        return status;
    }
    pthread_mutex_init(&file->lock, NULL);
    *out = &file->file;
    return BOLE_OK;
}

static bole_status trace_close(bole_file *base, bole_error *error)
{
    if (base == NULL)
        return BOLE_OK;
    trace_file *file = file_of(base);
    bole_status status = file->below->vfs->close(file->below, error);
    while (file->maps != NULL) {
        trace_map *map = file->maps;
        file->maps = map->next;
        bl_free(map);
    }
    pthread_mutex_destroy(&file->lock);
    bl_free(file);
    return status;
}

static bole_status trace_read(bole_file *base, uint64_t offset, void *data, size_t length, size_t *got,
                              bole_error *error)
{
    bole_file *below = file_of(base)->below;
    return below->vfs->read(below, offset, data, length, got, error);
}

static bole_status trace_write(bole_file *base, uint64_t offset, const void *data, size_t length,
                               bole_error *error)
{
    bole_file *below = file_of(base)->below;
    return tell_range(base, below->vfs->write(below, offset, data, length, error), "write", offset, length,
                      "");
}

static bole_status trace_sync(bole_file *base, bole_error *error)
{
    bole_file *below = file_of(base)->below;
    return tell(base->vfs, below->vfs->sync(below, error), "sync %s", name_of(base));
}

static bole_status trace_truncate(bole_file *base, uint64_t length, bole_error *error)
{
    bole_file *below = file_of(base)->below;
    return tell(base->vfs, below->vfs->truncate(below, length, error), "truncate %s %" PRIu64, name_of(base),
                length);
}

static bole_status trace_allocate(bole_file *base, uint64_t offset, uint64_t length, bool zero,
                                  bole_error *error)
{
    bole_file *below = file_of(base)->below;
    bole_status status = below->vfs->allocate(below, offset, length, zero, error);
    return tell_range(base, status, "allocate", offset, length, zero ? " zero" : "");
}

static bole_status trace_length(bole_file *base, uint64_t *out, bole_error *error)
{
    bole_file *below = file_of(base)->below;
    return below->vfs->length(below, out, error);
}

static bole_status trace_map_file(bole_file *base, uint64_t offset, uint64_t length, void **out,
                                  bole_error *error)
{
    *out = NULL;
    trace_file *file = file_of(base);
    trace_map *map = bl_new(trace_map);
    if (map == NULL)
        return bl_fail_system(error, ENOMEM, "map", file->path);
    bole_status status = file->below->vfs->map(file->below, offset, length, out, error);
    if (status == BOLE_OK) {
        pthread_mutex_lock(&file->lock);
        *map = (trace_map){ *out, offset, length, file->maps };
        file->maps = map;
        pthread_mutex_unlock(&file->lock);
    } else {
        bl_free(map);
    }
    return tell_range(base, status, "map", offset, length, "");
}

/* The offset in the file of an address in a map; 0 for an address that is in none. */
static uint64_t offset_of(trace_file *file, const void *data)
{
    uint64_t offset = 0;
    const char *address = data;
    pthread_mutex_lock(&file->lock);
    for (const trace_map *map = file->maps; map != NULL; map = map->next) {
        if (address >= map->data && (uint64_t)(address - map->data) < map->length)
            offset = map->offset + (uint64_t)(address - map->data);
    }
    pthread_mutex_unlock(&file->lock);
    return offset;
}

static bole_status trace_unmap(bole_file *base, void *data, uint64_t length, bole_error *error)
{
    trace_file *file = file_of(base);
    uint64_t offset = offset_of(file, data);
    bole_status status = file->below->vfs->unmap(file->below, data, length, error);
    pthread_mutex_lock(&file->lock);
    for (trace_map **link = &file->maps; *link != NULL && status == BOLE_OK; link = &(*link)->next) {
        trace_map *map = *link;
        if (map->data != data)
            continue;
        *link = map->next;
        bl_free(map);
        break;
    }
    pthread_mutex_unlock(&file->lock);
    return tell_range(base, status, "unmap", offset, length, "");
}

static bole_status trace_map_stored(bole_file *base, void *data, size_t length, bole_error *error)
{
    bole_file *below = file_of(base)->below;
    bole_status status = BOLE_OK;
    if (below->vfs->map_stored != NULL)
        status = below->vfs->map_stored(below, data, length, error);
    return tell_range(base, status, "stored", offset_of(file_of(base), data), length, "");
}

static void trace_will_need(bole_file *base, uint64_t offset, uint64_t length)
{
    bole_file *below = file_of(base)->below;
    below->vfs->will_need(below, offset, length);
}

/* ---- Names --------------------------------------------------------------------------------------------- */

static bole_status trace_remove(bole_vfs *vfs, const char *path, bole_error *error)
{
    return tell(vfs, below_of(vfs)->remove(below_of(vfs), path, error), "remove %s", bl_path_last(path));
}

static bole_status trace_rename(bole_vfs *vfs, const char *from, const char *to, bole_error *error)
{
    bole_status status = below_of(vfs)->rename(below_of(vfs), from, to, error);
    return tell(vfs, status, "rename %s %s", bl_path_last(from), bl_path_last(to));
}

static bole_status trace_link(bole_vfs *vfs, const char *from, const char *to, bole_error *error)
{
    bole_status status = below_of(vfs)->link(below_of(vfs), from, to, error);
    return tell(vfs, status, "link %s %s", bl_path_last(from), bl_path_last(to));
}

static bole_status trace_exists(bole_vfs *vfs, const char *path, bool *is_directory, bole_error *error)
{
    return below_of(vfs)->exists(below_of(vfs), path, is_directory, error);
}

static bole_status trace_list(bole_vfs *vfs, const char *directory,
                              bool (*visit)(void *context, const char *name), void *context,
                              bole_error *error)
{
    return below_of(vfs)->list(below_of(vfs), directory, visit, context, error);
}

static bole_status trace_make_directory(bole_vfs *vfs, const char *path, bole_error *error)
{
    bole_status status = below_of(vfs)->make_directory(below_of(vfs), path, error);
    return tell(vfs, status, "make_directory %s", bl_path_last(path));
}

static bole_status trace_remove_directory(bole_vfs *vfs, const char *path, bole_error *error)
{
    bole_status status = below_of(vfs)->remove_directory(below_of(vfs), path, error);
    return tell(vfs, status, "remove_directory %s", bl_path_last(path));
}

static bole_status trace_sync_directory(bole_vfs *vfs, const char *path, bole_error *error)
{
    bole_status status = below_of(vfs)->sync_directory(below_of(vfs), path, error);
    return tell(vfs, status, "sync_directory %s", bl_path_last(path));
}

static bole_status trace_free_bytes(bole_vfs *vfs, const char *path, uint64_t *out, bole_error *error)
{
    return below_of(vfs)->free_bytes(below_of(vfs), path, out, error);
}

static uint32_t trace_capabilities(bole_vfs *vfs, const char *directory)
{
    return below_of(vfs)->capabilities(below_of(vfs), directory);
}

/* ---- Locks and the world ------------------------------------------------------------------------------- */

static bole_status trace_lock(bole_file *base, uint64_t offset, bool exclusive, bole_error *error)
{
    bole_file *below = file_of(base)->below;
    bole_status status = below->vfs->lock(below, offset, exclusive, error);
    return tell(base->vfs, status, "lock %s %" PRIu64 " %s", name_of(base), offset,
                exclusive ? "exclusive" : "shared");
}

static bole_status trace_unlock(bole_file *base, uint64_t offset, bole_error *error)
{
    bole_file *below = file_of(base)->below;
    bole_status status = below->vfs->unlock(below, offset, error);
    return tell(base->vfs, status, "unlock %s %" PRIu64, name_of(base), offset);
}

static bole_status trace_lock_test(bole_file *base, uint64_t offset, bool *locked, int64_t *holder_pid,
                                   bole_error *error)
{
    bole_file *below = file_of(base)->below;
    return below->vfs->lock_test(below, offset, locked, holder_pid, error);
}

static uint64_t trace_monotonic_ns(bole_vfs *vfs) { return below_of(vfs)->monotonic_ns(below_of(vfs)); }

static int64_t trace_realtime_us(bole_vfs *vfs) { return below_of(vfs)->realtime_us(below_of(vfs)); }

static bole_status trace_random(bole_vfs *vfs, void *data, size_t length, bole_error *error)
{
    return below_of(vfs)->random(below_of(vfs), data, length, error);
}

static uint64_t trace_memory_bytes(bole_vfs *vfs) { return below_of(vfs)->memory_bytes(below_of(vfs)); }

/* ---- The vfs ------------------------------------------------------------------------------------------- */

static const bole_vfs trace_calls = {
    .size = sizeof(bole_vfs),
    .name = "trace",
    .open = trace_open,
    .close = trace_close,
    .read = trace_read,
    .write = trace_write,
    .sync = trace_sync,
    .truncate = trace_truncate,
    .allocate = trace_allocate,
    .length = trace_length,
    .map = trace_map_file,
    .unmap = trace_unmap,
    .map_stored = trace_map_stored,
    .will_need = trace_will_need,
    .remove = trace_remove,
    .rename = trace_rename,
    .link = trace_link,
    .exists = trace_exists,
    .list = trace_list,
    .make_directory = trace_make_directory,
    .remove_directory = trace_remove_directory,
    .sync_directory = trace_sync_directory,
    .free_bytes = trace_free_bytes,
    .capabilities = trace_capabilities,
    .lock = trace_lock,
    .unlock = trace_unlock,
    .lock_test = trace_lock_test,
    .monotonic_ns = trace_monotonic_ns,
    .realtime_us = trace_realtime_us,
    .random = trace_random,
    .memory_bytes = trace_memory_bytes,
};

static void trace_destroy(bl_made_vfs *made) { bl_free(made); }

bool bl_vfs_is_trace(const bole_vfs *vfs) { return vfs->open == trace_open; }

bole_status bole_vfs_trace_create(bole_vfs *below, void (*line)(void *context, const char *text),
                                  void *context, bole_vfs **out)
{
    *out = NULL;
    if (below == NULL || line == NULL)
        return BOLE_INVALID;
    trace_vfs *trace = bl_new(trace_vfs);
    if (trace == NULL)
        return BOLE_NO_MEMORY;
    trace->made.vfs = trace_calls;
    trace->made.vfs.context = trace;
    trace->made.below = below;
    trace->made.destroy = trace_destroy;
    trace->line = line;
    trace->context = context;
    *out = &trace->made.vfs;
    return BOLE_OK;
}
