/* SPDX-License-Identifier: MIT */
/* segment_descriptor.h -- open files of segments: at most so many, the least recently used one is closed. */
#ifndef BL_SEGMENT_SEGMENT_DESCRIPTOR_H
#define BL_SEGMENT_SEGMENT_DESCRIPTOR_H

#include <bole/bole_vfs.h>
#include "platform/scheduler.h"

typedef struct bl_descriptor_cache bl_descriptor_cache;

/* One segment's, embedded in its handle; zeroed at first. The cache's lock guards it. */
typedef struct bl_descriptor {
    bole_file *file; /* NULL: closed */
    uint32_t users;
    bool opening;
    struct bl_descriptor *older, *newer; /* by last use, of those that are open */
} bl_descriptor;

/* `open_files_max` 0 counts as 1. It may be passed while more files than that are in use at one moment. */
BOLE_CHECKED bole_status bl_descriptor_cache_create(bole_vfs *vfs, bl_scheduler *scheduler, uint32_t open_flags,
                                                    uint32_t open_files_max, bl_descriptor_cache **out,
                                                    bole_error *error);
void bl_descriptor_cache_destroy(bl_descriptor_cache *cache); /* every descriptor was closed */
/* The open file, for reading; stays open until done. Any thread, outside an epoch. */
BOLE_CHECKED bole_status bl_descriptor_use(bl_descriptor_cache *cache, bl_descriptor *descriptor,
                                           const char *path, bole_file **out, bole_error *error);
void bl_descriptor_done(bl_descriptor_cache *cache, bl_descriptor *descriptor);
/* Close it if it is open; nobody uses it. */
void bl_descriptor_close(bl_descriptor_cache *cache, bl_descriptor *descriptor);
uint32_t bl_descriptor_cache_open_count(bl_descriptor_cache *cache);

#endif
