/* SPDX-License-Identifier: MIT */
/* vfs_files.h -- whole files and directories through a vfs: what checkpoint and repair share. */
#ifndef BL_PLATFORM_VFS_FILES_H
#define BL_PLATFORM_VFS_FILES_H

#include <bole/bole_vfs.h>

/* A copy, synced; its name is the caller's to sync. BOLE_EXISTS: `to` is there already. After a failure a part of it
 * may stand there. */
BOLE_CHECKED bole_status bl_vfs_copy_file(bole_vfs *vfs, const char *from, const char *to, bole_error *error);
/* A directory and the files in it, as far as they go: for what a job that did not end left behind. */
void bl_vfs_remove_all(bole_vfs *vfs, const char *directory);

#endif
