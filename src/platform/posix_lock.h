/* SPDX-License-Identifier: MIT */
/* posix_lock.h -- fcntl locks that hold between the handles of one process too; used by vfs_posix.c alone. */
#ifndef BL_PLATFORM_POSIX_LOCK_H
#define BL_PLATFORM_POSIX_LOCK_H

#include <bole/bole_vfs.h>
#include <sys/types.h>

/* An open file of the posix vfs. */
typedef struct bl_posix_file {
    bole_file file; /* first: bole_file is what others see */
    int descriptor;
    bool direct_reads, drop_synced; /* BOLE_VFS_DIRECT */
    bool writes_past;               /* the cache, by `behind`, until something else than the next piece is asked for */
    int write_failure;              /* errno of a write that failed after it was said to be done; never forgotten */
    struct bl_write_behind *behind; /* pieces on their way */
    dev_t device;
    ino_t inode;
    struct bl_posix_file *next_parked; /* closed by its owner, kept open until the inode's last lock goes */
    char path[];                       /* as it was opened, for messages */
} bl_posix_file;

bole_status bl_posix_lock(bole_file *file, uint64_t offset, bool exclusive, bole_error *error);
bole_status bl_posix_unlock(bole_file *file, uint64_t offset, bole_error *error);
bole_status bl_posix_lock_test(bole_file *file, uint64_t offset, bool *locked, int64_t *holder_pid,
                               bole_error *error);
/* Close the descriptor and free `file`, dropping its own locks and nobody else's. Returns 0 or close's
 * errno. */
int bl_posix_lock_close(bl_posix_file *file);

#endif
