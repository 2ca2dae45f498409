/* SPDX-License-Identifier: MIT */
/* vfs_wrap.h -- what the vfs that the library makes (memory, fault, trace) know of each other. */
#ifndef BL_PLATFORM_VFS_WRAP_H
#define BL_PLATFORM_VFS_WRAP_H

#include <bole/bole_vfs.h>

/* The first member of each of them; their bole_vfs.context points to it. */
typedef struct bl_made_vfs {
    bole_vfs vfs;
    bole_vfs *below; /* what it wraps, or NULL */
    void (*destroy)(struct bl_made_vfs *made);
} bl_made_vfs;

/* Is it one of ours? (Not posix, not the user's own.) */
bl_made_vfs *bl_vfs_made(bole_vfs *vfs);
bool bl_vfs_is_memory(const bole_vfs *vfs);
bool bl_vfs_is_fault(const bole_vfs *vfs);
bool bl_vfs_is_trace(const bole_vfs *vfs);
/* The memory disk at the bottom of a stack of wrappers, or NULL. */
bole_vfs *bl_vfs_memory_below(bole_vfs *vfs);
/* The last name in a path, for messages. */
const char *bl_path_last(const char *path);

/* A sync of a file on the memory vfs failed: what is dirty will not reach the disk unless it is written
 * again. Does nothing for files of another vfs. */
void bl_vfs_memory_sync_failed(bole_file *file);

#endif
