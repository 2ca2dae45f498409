/* SPDX-License-Identifier: MIT */
/* vfs_memory.c -- a disk in memory that can lose its power, and a clock that only tests move.
 *
 * The calls of the table, handles, maps and locks. Everything is decided by the seed and the order of calls,
 * so the same run gives the same bytes.
 * MAPS        A map is memory of its own. Stores count when map_stored tells of them: it copies them into the
 *             file as unsynced bytes. A store that was never told of is never on the disk, which is how such
 *             a mistake shows. Writes to the file show in its maps.
 * CLOCKS      The monotonic clock starts at 1 s and moves 100 ns at each look, so that time passes in a loop
 *             that waits for it; both clocks move by bole_vfs_memory_advance.
 * INVARIANTS  (DISK-1) used_pages is the sum of the pages of all files that have a name or an open handle.
 *             (DISK-2) A crash changes nothing here: the same disk can be cut many times.
 * THREADS     Any; one lock over everything. Stores to a map are the caller's.
 * NOT HERE    Bytes and cuts: memory_content.c.   Names: memory_names.c. */
#include "base/alloc.h"
#include "base/assert.h"
#include "base/status.h"
#include "platform/memory_names.h"
#include "platform/vfs_wrap.h"

#include <errno.h>
#include <pthread.h>
#include <string.h>

enum { MONOTONIC_STEP_NS = 100, HOLDER_PID = 1 };
static const uint64_t MONOTONIC_START_NS = 1000000000;
static const int64_t REALTIME_START_US = 1700000000000000;
static const uint64_t MEMORY_BYTES = (uint64_t)1 << 30;
static const uint64_t UNLIMITED_FREE_BYTES = (uint64_t)1 << 40;

typedef struct memory_vfs {
    bl_made_vfs made; /* first */
    pthread_mutex_t lock;
    /* under the lock */
    bl_memory_names names;
    bl_memory_space space;
    bl_prng prng;
    struct memory_map *maps;
    struct memory_lock *locks;
    uint64_t open_files;
    uint64_t monotonic_ns;
    int64_t realtime_us;
} memory_vfs;

typedef struct memory_file {
    bole_file file; /* first */
    memory_vfs *disk;
    bl_memory_node *node;
    bool writable;
    char path[];
} memory_file;

typedef struct memory_map {
    bl_memory_node *node;
    uint64_t offset, length;
    uint8_t *data;
    struct memory_map *next;
} memory_map;

typedef struct memory_lock {
    const memory_file *holder;
    uint64_t offset;
    bool exclusive;
    struct memory_lock *next;
} memory_lock;

static memory_vfs *disk_of(bole_vfs *vfs) { return vfs->context; }

static memory_file *enter_file(bole_file *base)
{
    memory_file *file = (memory_file *)base;
    pthread_mutex_lock(&file->disk->lock);
    return file;
}

static bole_status leave(memory_vfs *disk, bole_status status)
{
    pthread_mutex_unlock(&disk->lock);
    return status;
}

static bole_status no_memory(const char *what, const char *path, bole_error *error)
{
    return bl_fail_system(error, ENOMEM, what, path);
}

/* Tell of a status that memory_content.c gave. */
static bole_status tell(bole_status status, const char *what, const memory_file *file, bole_error *error)
{
    if (status == BOLE_OK)
        return BOLE_OK;
    bl_assert(status == BOLE_NO_SPACE || status == BOLE_NO_MEMORY);
    return bl_fail_system(error, status == BOLE_NO_SPACE ? ENOSPC : ENOMEM, what, file->path);
}

static bool fits(uint64_t offset, uint64_t length)
{
    return offset <= INT64_MAX && length <= INT64_MAX - offset;
}

/* For calls that change a file: its handle must be open for that, and the end must be a number. */
static bole_status check_change(const memory_file *file, uint64_t offset, uint64_t length, const char *what,
                                bole_error *error)
{
    if (!file->writable)
        return bl_fail_system(error, EACCES, what, file->path);
    return fits(offset, length) ? BOLE_OK : bl_fail_system(error, EFBIG, what, file->path);
}

/* ---- Files --------------------------------------------------------------------------------------------- */

/* A file without name and handle takes no space any more, though a cut may bring it back. */
static void release_space(memory_vfs *disk, const bl_memory_node *node)
{
    if (node != NULL && node->links == 0 && node->handles == 0)
        disk->space.used_pages -= node->content.pages;
}

static bole_status create_node(memory_vfs *disk, const char *path, bl_memory_node *directory,
                               const char *name, bool is_directory, bl_memory_node **out, bole_error *error)
{
    if (disk->space.used_pages >= disk->space.limit_pages)
        return bl_fail_system(error, ENOSPC, "create", path);
    bl_memory_node *node = bl_memory_node_make(is_directory);
    if (node == NULL || !bl_memory_names_set(&disk->names, directory, name, node)) {
        bl_memory_node_let_go(node);
        return no_memory("create", path, error);
    }
    bl_memory_node_let_go(node); /* its name holds it now */
    *out = node;
    return BOLE_OK;
}

/* The node that open asks for, made if need be. */
static bole_status find_or_create(memory_vfs *disk, const char *path, uint32_t flags, bl_memory_node **out,
                                  bole_error *error)
{
    bl_memory_node *directory;
    char name[BL_MEMORY_NAME_SIZE];
    int failure = bl_memory_names_find(&disk->names, path, &directory, name, out);
    if (failure != 0)
        return bl_fail_system(error, failure, "open", path);
    if (*out == NULL && (flags & BOLE_VFS_CREATE) != 0)
        return create_node(disk, path, directory, name, false, out, error);
    if (*out == NULL)
        return bl_fail_system(error, ENOENT, "open", path);
    if ((*out)->is_directory)
        return bl_fail(error, BOLE_INVALID, "%s is not a regular file", path);
    if ((flags & BOLE_VFS_CREATE) != 0 && (flags & BOLE_VFS_EXCLUSIVE) != 0)
        return bl_fail_system(error, EEXIST, "open", path);
    return BOLE_OK;
}

static bole_status memory_open(bole_vfs *vfs, const char *path, uint32_t flags, bole_file **out,
                               bole_error *error)
{
    *out = NULL;
    memory_vfs *disk = disk_of(vfs);
    if ((flags & (BOLE_VFS_CREATE | BOLE_VFS_TRUNCATE)) != 0 && (flags & BOLE_VFS_WRITE) == 0)
        return bl_fail(error, BOLE_INVALID, "%s: to create or truncate, open for writing", path);
    size_t path_size = strlen(path) + 1;
    memory_file *file = bl_alloc(sizeof *file + path_size);
    if (file == NULL)
        return no_memory("open", path, error);
    memcpy(file->path, path, path_size);
    pthread_mutex_lock(&disk->lock);
    bl_memory_node *node = NULL;
    bole_status status = find_or_create(disk, path, flags, &node, error);
    if (status == BOLE_OK && (flags & BOLE_VFS_TRUNCATE) != 0)
        status = tell(bl_memory_content_truncate(&node->content, &disk->space, 0), "truncate", file, error);
    if (status != BOLE_OK) {
        bl_free(file);
        return leave(disk, status);
    }
    file->file.vfs = vfs;
    file->disk = disk;
    file->node = bl_memory_node_hold(node);
    file->writable = (flags & BOLE_VFS_WRITE) != 0;
    node->handles++;
    disk->open_files++;
    *out = &file->file;
    return leave(disk, BOLE_OK);
}

static void drop_locks(memory_vfs *disk, const memory_file *holder)
{
    for (memory_lock **link = &disk->locks; *link != NULL;) {
        memory_lock *held = *link;
        if (held->holder != holder) {
            link = &held->next;
            continue;
        }
        *link = held->next;
        bl_free(held);
    }
}

static bole_status memory_close(bole_file *base, bole_error *error)
{
    (void)error;
    if (base == NULL)
        return BOLE_OK;
    memory_file *file = enter_file(base);
    memory_vfs *disk = file->disk;
    drop_locks(disk, file);
    disk->open_files--;
    file->node->handles--;
    release_space(disk, file->node);
    bl_memory_node_let_go(file->node);
    bl_free(file);
    return leave(disk, BOLE_OK);
}

static bole_status memory_read(bole_file *base, uint64_t offset, void *data, size_t length, size_t *got,
                               bole_error *error)
{
    (void)error;
    memory_file *file = enter_file(base);
    *got = bl_memory_content_read(&file->node->content, offset, data, length);
    return leave(file->disk, BOLE_OK);
}

/* Show what the file holds in [offset, offset + length) in its maps, but for the one it came from. */
static void refresh_maps(const memory_file *file, uint64_t offset, uint64_t length, const memory_map *source)
{
    for (memory_map *map = file->disk->maps; map != NULL; map = map->next) {
        if (map == source)
            continue;
        uint64_t first = offset > map->offset ? offset : map->offset;
        uint64_t map_end = map->offset + map->length;
        uint64_t end = offset + length < map_end ? offset + length : map_end;
        if (map->node != file->node || first >= end)
            continue;
        uint8_t *to = map->data + (first - map->offset);
        memset(to, 0, (size_t)(end - first));
        (void)bl_memory_content_read(&file->node->content, first, to, (size_t)(end - first));
    }
}

static bole_status memory_write(bole_file *base, uint64_t offset, const void *data, size_t length,
                                bole_error *error)
{
    memory_file *file = enter_file(base);
    memory_vfs *disk = file->disk;
    bole_status status = check_change(file, offset, length, "write", error);
    if (status != BOLE_OK)
        return leave(disk, status);
    status = bl_memory_content_write(&file->node->content, &disk->space, &disk->prng, offset, data, length);
    refresh_maps(file, offset, length, NULL);
    return leave(disk, tell(status, "write", file, error));
}

static bole_status memory_sync(bole_file *base, bole_error *error)
{
    (void)error;
    memory_file *file = enter_file(base);
    bl_memory_content_sync(&file->node->content);
    return leave(file->disk, BOLE_OK);
}

void bl_vfs_memory_sync_failed(bole_file *base)
{
    if (!bl_vfs_is_memory(base->vfs))
        return;
    memory_file *file = enter_file(base);
    bl_memory_content_forget(&file->node->content);
    pthread_mutex_unlock(&file->disk->lock);
}

static bole_status memory_truncate(bole_file *base, uint64_t length, bole_error *error)
{
    memory_file *file = enter_file(base);
    memory_vfs *disk = file->disk;
    bole_status status = check_change(file, length, 0, "truncate", error);
    if (status != BOLE_OK)
        return leave(disk, status);
    uint64_t before = file->node->content.length;
    status = bl_memory_content_truncate(&file->node->content, &disk->space, length);
    if (length < before)
        refresh_maps(file, length, before - length, NULL);
    return leave(disk, tell(status, "truncate", file, error));
}

static bole_status memory_allocate(bole_file *base, uint64_t offset, uint64_t length, bool zero,
                                   bole_error *error)
{
    memory_file *file = enter_file(base);
    memory_vfs *disk = file->disk;
    bole_status status = check_change(file, offset, length, "allocate space for", error);
    if (status != BOLE_OK || length == 0)
        return leave(disk, status);
    status = bl_memory_content_allocate(&file->node->content, &disk->space, offset, length, zero);
    if (zero)
        refresh_maps(file, offset, length, NULL);
    return leave(disk, tell(status, "allocate space for", file, error));
}

static bole_status memory_length(bole_file *base, uint64_t *out, bole_error *error)
{
    (void)error;
    memory_file *file = enter_file(base);
    *out = file->node->content.length;
    return leave(file->disk, BOLE_OK);
}

/* ---- Maps ---------------------------------------------------------------------------------------------- */

static bole_status memory_map_file(bole_file *base, uint64_t offset, uint64_t length, void **out,
                                   bole_error *error)
{
    *out = NULL;
    memory_file *file = enter_file(base);
    memory_vfs *disk = file->disk;
    bole_status status = check_change(file, offset, length, "map", error);
    if (status == BOLE_OK && (length == 0 || offset % BL_MEMORY_PAGE_BYTES != 0))
        status = bl_fail_system(error, EINVAL, "map", file->path);
    if (status != BOLE_OK)
        return leave(disk, status);
    memory_map *map = bl_new(memory_map);
    uint8_t *data = map == NULL ? NULL : bl_alloc_aligned(BL_MEMORY_PAGE_BYTES, (size_t)length);
    if (data == NULL) {
        bl_free(map);
        return leave(disk, no_memory("map", file->path, error));
    }
    (void)bl_memory_content_read(&file->node->content, offset, data, (size_t)length);
    *map = (memory_map){ bl_memory_node_hold(file->node), offset, length, data, disk->maps };
    disk->maps = map;
    *out = data;
    return leave(disk, BOLE_OK);
}

static void free_map(memory_vfs *disk, memory_map **link)
{
    memory_map *map = *link;
    *link = map->next;
    (void)disk;
    bl_memory_node_let_go(map->node);
    bl_free(map->data);
    bl_free(map);
}

static bole_status memory_unmap(bole_file *base, void *data, uint64_t length, bole_error *error)
{
    memory_file *file = enter_file(base);
    memory_vfs *disk = file->disk;
    for (memory_map **link = &disk->maps; *link != NULL; link = &(*link)->next) {
        if ((*link)->data != data || (*link)->length != length)
            continue;
        free_map(disk, link);
        return leave(disk, BOLE_OK);
    }
    bole_status status = data == NULL ? BOLE_OK : bl_fail_system(error, EINVAL, "unmap", file->path);
    return leave(disk, status);
}

static bole_status memory_map_stored(bole_file *base, void *data, size_t length, bole_error *error)
{
    memory_file *file = enter_file(base);
    memory_vfs *disk = file->disk;
    memory_map *map = disk->maps;
    uint8_t *first = data;
    while (map != NULL && (first < map->data || length > map->length ||
                           (uint64_t)(first - map->data) > map->length - length || map->node != file->node))
        map = map->next;
    if (map == NULL)
        return leave(disk, bl_fail_system(error, EFAULT, "store to the map of", file->path));
    uint64_t offset = map->offset + (uint64_t)(first - map->data);
    bl_memory_content *content = &file->node->content;
    if (offset + length > content->length) /* a SIGBUS in the real world */
        return leave(disk, bl_fail_system(error, EIO, "store to the map of", file->path));
    bole_status status = bl_memory_content_write(content, &disk->space, &disk->prng, offset, data, length);
    refresh_maps(file, offset, length, map);
    return leave(disk, tell(status, "store to the map of", file, error));
}

static void memory_will_need(bole_file *base, uint64_t offset, uint64_t length)
{
    (void)base, (void)offset, (void)length;
}

/* ---- Names --------------------------------------------------------------------------------------------- */

typedef struct place { /* where a path leads */
    bl_memory_node *directory, *node;
    char name[BL_MEMORY_NAME_SIZE];
} place;

/* Lock the disk and find `path`, which must be there if `must_exist`. On failure the lock is given back. */
static bole_status enter_place(memory_vfs *disk, const char *path, bool must_exist, const char *what,
                               place *out, bole_error *error)
{
    pthread_mutex_lock(&disk->lock);
    int failure = bl_memory_names_find(&disk->names, path, &out->directory, out->name, &out->node);
    if (failure == 0 && must_exist && out->node == NULL)
        failure = ENOENT;
    return failure == 0 ? BOLE_OK : leave(disk, bl_fail_system(error, failure, what, path));
}

/* Take one name away; the lock is held. */
static bole_status unlink_place(memory_vfs *disk, const place *at, const char *path, bole_error *error)
{
    bl_memory_node *node = bl_memory_node_hold(at->node);
    bool done = bl_memory_names_set(&disk->names, at->directory, at->name, NULL);
    if (done)
        release_space(disk, node);
    bl_memory_node_let_go(node);
    return done ? BOLE_OK : no_memory("remove", path, error);
}

static bole_status memory_remove(bole_vfs *vfs, const char *path, bole_error *error)
{
    memory_vfs *disk = disk_of(vfs);
    place at;
    bole_status status = enter_place(disk, path, true, "remove", &at, error);
    if (status != BOLE_OK)
        return status;
    if (at.node->is_directory)
        return leave(disk, bl_fail_system(error, EISDIR, "remove", path));
    return leave(disk, unlink_place(disk, &at, path, error));
}

/* 0, or why `from` may not take the place of `to`. */
static int rename_obstacle(const place *from, const place *to, const char *from_path, const char *to_path)
{
    if (from->directory == NULL || to->directory == NULL)
        return EBUSY;
    size_t length = strlen(from_path);
    if (from->node->is_directory && strncmp(from_path, to_path, length) == 0 && to_path[length] == '/')
        return EINVAL;
    if (to->node == NULL)
        return 0;
    if (to->node->is_directory && !from->node->is_directory)
        return EISDIR;
    if (!to->node->is_directory && from->node->is_directory)
        return ENOTDIR;
    return to->node->current.count != 0 ? ENOTEMPTY : 0;
}

static bole_status memory_rename(bole_vfs *vfs, const char *from_path, const char *to_path, bole_error *error)
{
    memory_vfs *disk = disk_of(vfs);
    place from, to;
    bole_status status = enter_place(disk, from_path, true, "rename", &from, error);
    if (status != BOLE_OK)
        return status;
    int failure = bl_memory_names_find(&disk->names, to_path, &to.directory, to.name, &to.node);
    if (failure == 0)
        failure = rename_obstacle(&from, &to, from_path, to_path);
    if (failure != 0)
        return leave(disk, bl_fail_system(error, failure, "rename", from_path));
    if (from.node == to.node)
        return leave(disk, BOLE_OK);
    bl_memory_node *replaced = bl_memory_node_hold(to.node);
    bool done = bl_memory_names_move(&disk->names, from.directory, from.name, to.directory, to.name,
                                     from.node);
    if (done)
        release_space(disk, replaced);
    bl_memory_node_let_go(replaced);
    return leave(disk, done ? BOLE_OK : no_memory("rename", from_path, error));
}

static bole_status memory_link(bole_vfs *vfs, const char *from_path, const char *to_path, bole_error *error)
{
    memory_vfs *disk = disk_of(vfs);
    place from, to;
    bole_status status = enter_place(disk, from_path, true, "link", &from, error);
    if (status != BOLE_OK)
        return status;
    int failure = bl_memory_names_find(&disk->names, to_path, &to.directory, to.name, &to.node);
    if (failure == 0 && to.node != NULL)
        failure = EEXIST;
    if (failure == 0 && from.node->is_directory)
        failure = EISDIR;
    if (failure != 0)
        return leave(disk, bl_fail_system(error, failure, "link", failure == EISDIR ? from_path : to_path));
    bool done = bl_memory_names_set(&disk->names, to.directory, to.name, from.node);
    return leave(disk, done ? BOLE_OK : no_memory("link", to_path, error));
}

static bole_status memory_exists(bole_vfs *vfs, const char *path, bool *is_directory, bole_error *error)
{
    *is_directory = false;
    memory_vfs *disk = disk_of(vfs);
    place at;
    bole_status status = enter_place(disk, path, true, "look at", &at, error);
    if (status != BOLE_OK)
        return status;
    *is_directory = at.node->is_directory;
    return leave(disk, BOLE_OK);
}

/* The names as they are now, one after the other with their NULs: `visit` may change the directory. */
static char *copy_names(const bl_memory_entries *entries)
{
    size_t bytes = 1;
    for (size_t i = 0; i < entries->count; i++)
        bytes += strlen(entries->list[i].name) + 1;
    char *names = bl_alloc(bytes);
    char *end = names;
    for (size_t i = 0; names != NULL && i < entries->count; i++) {
        size_t size = strlen(entries->list[i].name) + 1;
        memcpy(end, entries->list[i].name, size);
        end += size;
    }
    return names; /* an empty name ends it */
}

static bole_status memory_list(bole_vfs *vfs, const char *path,
                               bool (*visit)(void *context, const char *name), void *context,
                               bole_error *error)
{
    memory_vfs *disk = disk_of(vfs);
    place at;
    bole_status status = enter_place(disk, path, true, "list", &at, error);
    if (status != BOLE_OK)
        return status;
    if (!at.node->is_directory)
        return leave(disk, bl_fail_system(error, ENOTDIR, "list", path));
    char *names = copy_names(&at.node->current);
    pthread_mutex_unlock(&disk->lock);
    if (names == NULL)
        return no_memory("list", path, error);
    for (const char *name = names; *name != '\0' && visit(context, name); name += strlen(name) + 1)
        continue;
    bl_free(names);
    return BOLE_OK;
}

static bole_status memory_make_directory(bole_vfs *vfs, const char *path, bole_error *error)
{
    memory_vfs *disk = disk_of(vfs);
    place at;
    bole_status status = enter_place(disk, path, false, "make directory", &at, error);
    if (status != BOLE_OK)
        return status;
    if (at.node != NULL)
        return leave(disk, bl_fail_system(error, EEXIST, "make directory", path));
    bl_memory_node *node;
    return leave(disk, create_node(disk, path, at.directory, at.name, true, &node, error));
}

static bole_status memory_remove_directory(bole_vfs *vfs, const char *path, bole_error *error)
{
    memory_vfs *disk = disk_of(vfs);
    place at;
    bole_status status = enter_place(disk, path, true, "remove directory", &at, error);
    if (status != BOLE_OK)
        return status;
    int failure = 0;
    if (!at.node->is_directory)
        failure = ENOTDIR;
    else if (at.directory == NULL)
        failure = EBUSY;
    else if (at.node->current.count != 0)
        failure = ENOTEMPTY;
    if (failure != 0)
        return leave(disk, bl_fail_system(error, failure, "remove directory", path));
    return leave(disk, unlink_place(disk, &at, path, error));
}

static bole_status memory_sync_directory(bole_vfs *vfs, const char *path, bole_error *error)
{
    memory_vfs *disk = disk_of(vfs);
    place at;
    bole_status status = enter_place(disk, path, true, "sync directory", &at, error);
    if (status != BOLE_OK)
        return status;
    if (!at.node->is_directory)
        return leave(disk, bl_fail_system(error, ENOTDIR, "sync directory", path));
    bool done = bl_memory_names_sync(&disk->names, at.node);
    return leave(disk, done ? BOLE_OK : no_memory("sync directory", path, error));
}

static bole_status memory_free_bytes(bole_vfs *vfs, const char *path, uint64_t *out, bole_error *error)
{
    *out = 0;
    memory_vfs *disk = disk_of(vfs);
    place at;
    bole_status status = enter_place(disk, path, true, "ask the free space of", &at, error);
    if (status != BOLE_OK)
        return status;
    if (disk->space.limit_pages == UINT64_MAX)
        *out = UNLIMITED_FREE_BYTES;
    else if (disk->space.limit_pages > disk->space.used_pages)
        *out = (disk->space.limit_pages - disk->space.used_pages) * BL_MEMORY_PAGE_BYTES;
    return leave(disk, BOLE_OK);
}

static uint32_t memory_capabilities(bole_vfs *vfs, const char *directory)
{
    (void)vfs, (void)directory;
    return BOLE_VFS_CAN_MAP | BOLE_VFS_CAN_LINK;
}

/* ---- Locks --------------------------------------------------------------------------------------------- */

/* The lock that `file` itself has at `offset`, and whether another handle has one that stands against its
 * own. */
static memory_lock *own_lock(const memory_file *file, uint64_t offset, bool exclusive, bool *refused)
{
    memory_lock *own = NULL;
    *refused = false;
    for (memory_lock *held = file->disk->locks; held != NULL; held = held->next) {
        if (held->holder->node != file->node || held->offset != offset)
            continue;
        if (held->holder == file)
            own = held;
        else if (exclusive || held->exclusive)
            *refused = true;
    }
    return own;
}

static bole_status memory_lock_byte(bole_file *base, uint64_t offset, bool exclusive, bole_error *error)
{
    memory_file *file = enter_file(base);
    memory_vfs *disk = file->disk;
    bool refused;
    memory_lock *held = own_lock(file, offset, exclusive, &refused);
    if (refused)
        return leave(disk, bl_fail(error, BOLE_LOCKED, "%s is locked by process %d", file->path, HOLDER_PID));
    if (held == NULL) {
        held = bl_new(memory_lock);
        if (held == NULL)
            return leave(disk, no_memory("lock", file->path, error));
        *held = (memory_lock){ file, offset, exclusive, disk->locks };
        disk->locks = held;
    }
    held->exclusive = exclusive;
    return leave(disk, BOLE_OK);
}

static bole_status memory_unlock_byte(bole_file *base, uint64_t offset, bole_error *error)
{
    (void)error;
    memory_file *file = enter_file(base);
    memory_vfs *disk = file->disk;
    for (memory_lock **link = &disk->locks; *link != NULL; link = &(*link)->next) {
        memory_lock *held = *link;
        if (held->holder != file || held->offset != offset)
            continue;
        *link = held->next;
        bl_free(held);
        break;
    }
    return leave(disk, BOLE_OK);
}

static bole_status memory_lock_test(bole_file *base, uint64_t offset, bool *locked, int64_t *holder_pid,
                                    bole_error *error)
{
    (void)error;
    memory_file *file = enter_file(base);
    (void)own_lock(file, offset, true, locked);
    *holder_pid = *locked ? HOLDER_PID : 0;
    return leave(file->disk, BOLE_OK);
}

/* ---- The world ----------------------------------------------------------------------------------------- */

static uint64_t memory_monotonic_ns(bole_vfs *vfs)
{
    memory_vfs *disk = disk_of(vfs);
    pthread_mutex_lock(&disk->lock);
    disk->monotonic_ns += MONOTONIC_STEP_NS;
    uint64_t now = disk->monotonic_ns;
    pthread_mutex_unlock(&disk->lock);
    return now;
}

static int64_t memory_realtime_us(bole_vfs *vfs)
{
    memory_vfs *disk = disk_of(vfs);
    pthread_mutex_lock(&disk->lock);
    int64_t now = disk->realtime_us;
    pthread_mutex_unlock(&disk->lock);
    return now;
}

static bole_status memory_random(bole_vfs *vfs, void *data, size_t length, bole_error *error)
{
    (void)error;
    memory_vfs *disk = disk_of(vfs);
    pthread_mutex_lock(&disk->lock);
    bl_prng_fill(&disk->prng, data, length);
    return leave(disk, BOLE_OK);
}

static uint64_t memory_memory_bytes(bole_vfs *vfs)
{
    (void)vfs;
    return MEMORY_BYTES;
}

/* ---- The disk ------------------------------------------------------------------------------------------ */

static void memory_destroy(bl_made_vfs *made)
{
    memory_vfs *disk = (memory_vfs *)made;
    bl_assert(disk->open_files == 0);
    while (disk->maps != NULL)
        free_map(disk, &disk->maps);
    bl_memory_names_deinit(&disk->names);
    pthread_mutex_destroy(&disk->lock);
    bl_free(disk);
}

static const bole_vfs memory_calls = {
    .size = sizeof(bole_vfs),
    .name = "memory",
    .open = memory_open,
    .close = memory_close,
    .read = memory_read,
    .write = memory_write,
    .sync = memory_sync,
    .truncate = memory_truncate,
    .allocate = memory_allocate,
    .length = memory_length,
    .map = memory_map_file,
    .unmap = memory_unmap,
    .map_stored = memory_map_stored,
    .will_need = memory_will_need,
    .remove = memory_remove,
    .rename = memory_rename,
    .link = memory_link,
    .exists = memory_exists,
    .list = memory_list,
    .make_directory = memory_make_directory,
    .remove_directory = memory_remove_directory,
    .sync_directory = memory_sync_directory,
    .free_bytes = memory_free_bytes,
    .capabilities = memory_capabilities,
    .lock = memory_lock_byte,
    .unlock = memory_unlock_byte,
    .lock_test = memory_lock_test,
    .monotonic_ns = memory_monotonic_ns,
    .realtime_us = memory_realtime_us,
    .random = memory_random,
    .memory_bytes = memory_memory_bytes,
};

bool bl_vfs_is_memory(const bole_vfs *vfs) { return vfs->open == memory_open; }

bole_status bole_vfs_memory_create(uint64_t seed, bole_vfs **out)
{
    *out = NULL;
    memory_vfs *disk = bl_new(memory_vfs);
    if (disk == NULL)
        return BOLE_NO_MEMORY;
    if (!bl_memory_names_init(&disk->names)) {
        bl_free(disk);
        return BOLE_NO_MEMORY;
    }
    disk->made.vfs = memory_calls;
    disk->made.vfs.context = disk;
    disk->made.destroy = memory_destroy;
    pthread_mutex_init(&disk->lock, NULL);
    bl_prng_init(&disk->prng, seed);
    disk->space.limit_pages = UINT64_MAX;
    disk->monotonic_ns = MONOTONIC_START_NS;
    disk->realtime_us = REALTIME_START_US;
    *out = &disk->made.vfs;
    return BOLE_OK;
}

/* Pages of all files below a directory; a file with two names counts once. */
static uint64_t count_pages(bl_memory_node *directory, bl_memory_node *mark)
{
    uint64_t pages = 0;
    for (size_t i = 0; i < directory->current.count; i++) {
        bl_memory_node *node = directory->current.list[i].node;
        if (node->is_directory)
            pages += count_pages(node, mark);
        else if (node->copy != mark)
            pages += node->content.pages;
        node->copy = mark;
    }
    return pages;
}

bole_status bole_vfs_memory_crash(bole_vfs *vfs, bole_crash_mode mode, uint64_t seed, bole_vfs **out)
{
    *out = NULL;
    vfs = bl_vfs_memory_below(vfs);
    if (vfs == NULL)
        return BOLE_INVALID;
    memory_vfs *disk = disk_of(vfs);
    bole_vfs *after = NULL;
    bole_status status = bole_vfs_memory_create(seed, &after);
    if (status != BOLE_OK)
        return status;
    memory_vfs *survivor = disk_of(after);
    pthread_mutex_lock(&disk->lock);
    bl_prng life = disk->prng; /* a copy: the numbers of the next life differ from all drawn in this one */
    bl_prng_init(&survivor->prng, bl_prng_next(&life) ^ seed);
    bool done = bl_memory_names_crash(&disk->names, mode, &survivor->prng, &survivor->names);
    survivor->space.limit_pages = disk->space.limit_pages;
    survivor->realtime_us = disk->realtime_us;
    pthread_mutex_unlock(&disk->lock);
    if (!done) {
        bole_vfs_destroy(after);
        return BOLE_NO_MEMORY;
    }
    survivor->space.used_pages = count_pages(survivor->names.root, survivor->names.root);
    (void)count_pages(survivor->names.root, NULL);
    *out = after;
    return BOLE_OK;
}

void bole_vfs_memory_capacity(bole_vfs *vfs, uint64_t bytes)
{
    vfs = bl_vfs_memory_below(vfs);
    bl_assert(vfs != NULL);
    memory_vfs *disk = disk_of(vfs);
    pthread_mutex_lock(&disk->lock);
    disk->space.limit_pages = bytes == UINT64_MAX ? UINT64_MAX : bytes / BL_MEMORY_PAGE_BYTES;
    pthread_mutex_unlock(&disk->lock);
}

void bole_vfs_memory_advance(bole_vfs *vfs, int64_t microseconds)
{
    vfs = bl_vfs_memory_below(vfs);
    bl_assert(vfs != NULL);
    memory_vfs *disk = disk_of(vfs);
    pthread_mutex_lock(&disk->lock);
    if (microseconds > 0)
        disk->monotonic_ns += (uint64_t)microseconds * 1000;
    disk->realtime_us += microseconds;
    pthread_mutex_unlock(&disk->lock);
}
