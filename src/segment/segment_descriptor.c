/* SPDX-License-Identifier: MIT */
/* segment_descriptor.c -- open files of segments, at most so many.
 *
 * A store of thousands of segments may not hold a descriptor for each. A file is opened when it is first
 * read, stays open while it is among the most recently used ones, and is closed by whoever needs its place.
 *
 * INVARIANTS  (DESCRIPTOR-1) A file in use is never closed.
 *             (DESCRIPTOR-2) Open files are at most the limit whenever none is in use beyond it.
 *             (DESCRIPTOR-3) A file is opened once, however many threads ask: the others wait.
 * THREADS     Any. One lock, taken only on misses of the block cache and never held over a call of the vfs.
 *             What close returns is of no interest: the file was only read. */
#include "segment/segment_descriptor.h"

#include "base/alloc.h"
#include "base/assert.h"
#include "base/status.h"

#include <errno.h>

struct bl_descriptor_cache {
    bole_vfs *vfs;
    uint32_t open_flags;
    bl_mutex lock;
    bl_condition opened;
    uint32_t open_max;
    uint32_t open_count; /* open, or being opened */
    bl_descriptor *oldest, *newest;
};

bole_status bl_descriptor_cache_create(bole_vfs *vfs, bl_scheduler *scheduler, uint32_t open_flags,
                                       uint32_t open_files_max, bl_descriptor_cache **out, bole_error *error)
{
    *out = NULL;
    bl_descriptor_cache *cache = bl_new(bl_descriptor_cache);
    if (cache == NULL)
        return bl_fail(error, BOLE_NO_MEMORY, "cache of descriptors");
    cache->vfs = vfs;
    cache->open_flags = BOLE_VFS_READ | open_flags;
    cache->open_max = open_files_max == 0 ? 1 : open_files_max;
    bl_mutex_init(&cache->lock, scheduler);
    bl_condition_init(&cache->opened, scheduler);
    *out = cache;
    return BOLE_OK;
}

void bl_descriptor_cache_destroy(bl_descriptor_cache *cache)
{
    if (cache == NULL)
        return;
    bl_assert(cache->open_count == 0 && cache->oldest == NULL);
    bl_condition_deinit(&cache->opened);
    bl_mutex_deinit(&cache->lock);
    bl_free(cache);
}

static void unlink_locked(bl_descriptor_cache *cache, bl_descriptor *descriptor)
{
    *(descriptor->older != NULL ? &descriptor->older->newer : &cache->oldest) = descriptor->newer;
    *(descriptor->newer != NULL ? &descriptor->newer->older : &cache->newest) = descriptor->older;
    descriptor->older = descriptor->newer = NULL;
}

static void link_newest_locked(bl_descriptor_cache *cache, bl_descriptor *descriptor)
{
    descriptor->older = cache->newest;
    descriptor->newer = NULL;
    *(cache->newest != NULL ? &cache->newest->newer : &cache->oldest) = descriptor;
    cache->newest = descriptor;
}

/* The file of an open descriptor leaves the cache; the caller closes it once the lock is free. */
static bole_file *take_file_locked(bl_descriptor_cache *cache, bl_descriptor *descriptor)
{
    bl_assert(descriptor->users == 0 && !descriptor->opening && cache->open_count > 0);
    bole_file *file = descriptor->file;
    unlink_locked(cache, descriptor);
    descriptor->file = NULL;
    cache->open_count--;
    return file;
}

/* The least recently used file that nobody uses, or NULL. */
static bole_file *take_oldest_locked(bl_descriptor_cache *cache)
{
    for (bl_descriptor *descriptor = cache->oldest; descriptor != NULL; descriptor = descriptor->newer)
        if (descriptor->users == 0)
            return take_file_locked(cache, descriptor);
    return NULL;
}

static void close_file(bole_file *file)
{
    if (file != NULL)
        (void)file->vfs->close(file, NULL);
}

/* Open `path`; when the process is out of descriptors, give up files that are not in use, one by one. */
static bole_status open_file(bl_descriptor_cache *cache, const char *path, bole_file **out, bole_error *error)
{
    bole_error story = BOLE_ERROR_INIT;
    for (;;) {
        bole_status status = cache->vfs->open(cache->vfs, path, cache->open_flags, out, &story);
        bole_file *victim = NULL;
        if (status != BOLE_OK && (story.system_errno == EMFILE || story.system_errno == ENFILE)) {
            bl_mutex_lock(&cache->lock);
            victim = take_oldest_locked(cache);
            bl_mutex_unlock(&cache->lock);
        }
        if (victim == NULL) {
            if (status == BOLE_NOT_FOUND) /* to a get this status says that there is no such key */
                return bl_corrupt(error, path, BL_NO_OFFSET, "the segment is missing");
            if (status != BOLE_OK && error != NULL)
                *error = story;
            return status;
        }
        BL_MARK("out of descriptors");
        close_file(victim);
    }
}

bole_status bl_descriptor_use(bl_descriptor_cache *cache, bl_descriptor *descriptor, const char *path,
                              bole_file **out, bole_error *error)
{
    *out = NULL;
    bl_mutex_lock(&cache->lock);
    descriptor->users++;
    while (descriptor->opening)
        bl_condition_wait(&cache->opened, &cache->lock);
    if (descriptor->file != NULL) {
        unlink_locked(cache, descriptor);
        link_newest_locked(cache, descriptor);
        *out = descriptor->file;
        bl_mutex_unlock(&cache->lock);
        return BOLE_OK;
    }
    descriptor->opening = true;
    cache->open_count++;
    bole_file *victim = cache->open_count > cache->open_max ? take_oldest_locked(cache) : NULL;
    bl_mutex_unlock(&cache->lock);

    close_file(victim);
    bole_file *file = NULL;
    bole_status status = open_file(cache, path, &file, error);

    bl_mutex_lock(&cache->lock);
    descriptor->opening = false;
    if (status == BOLE_OK) {
        descriptor->file = file;
        link_newest_locked(cache, descriptor);
    } else {
        descriptor->users--;
        cache->open_count--;
    }
    bl_condition_wake_all(&cache->opened);
    bl_mutex_unlock(&cache->lock);
    *out = file;
    return status;
}

void bl_descriptor_done(bl_descriptor_cache *cache, bl_descriptor *descriptor)
{
    bl_mutex_lock(&cache->lock);
    bl_assert(descriptor->users > 0);
    descriptor->users--;
    bole_file *victim = cache->open_count > cache->open_max ? take_oldest_locked(cache) : NULL;
    bl_mutex_unlock(&cache->lock);
    close_file(victim);
}

void bl_descriptor_close(bl_descriptor_cache *cache, bl_descriptor *descriptor)
{
    bl_mutex_lock(&cache->lock);
    bole_file *file = descriptor->file != NULL ? take_file_locked(cache, descriptor) : NULL;
    bl_mutex_unlock(&cache->lock);
    close_file(file);
}

uint32_t bl_descriptor_cache_open_count(bl_descriptor_cache *cache)
{
    bl_mutex_lock(&cache->lock);
    uint32_t count = cache->open_count;
    bl_mutex_unlock(&cache->lock);
    return count;
}
