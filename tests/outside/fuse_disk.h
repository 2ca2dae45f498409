/* SPDX-License-Identifier: MIT */
/* fuse_disk.h -- a disk in memory (bole_vfs_memory_create) as a file system of the real kernel, by FUSE.
 *
 * Programs reach it through the kernel: its page cache, its maps, its writing back, its order. What the kernel has not
 * handed down is not on the disk; what it has and nobody synced is there, and may be lost when the power is cut. The
 * one who serves asks before each call that changes the disk, and may cut the power there.
 * THREADS  One; who uses the mounted directory is another process. */
#ifndef BOLE_FUSE_DISK_H
#define BOLE_FUSE_DISK_H

#include <bole/bole_vfs.h>

typedef struct fuse_disk_handle fuse_disk_handle; /* an open file */

typedef struct fuse_disk {
    bole_vfs *disk;
    /* Before each call that changes the disk. False: the power is gone, this call and all behind it fail. */
    bool (*change)(void *context, const char *call);
    bool (*sync_fails)(void *context); /* does this one? What it should have brought to the disk is not there then */
    void *context;
    bool write_back;       /* the kernel keeps written bytes, too, not only those of maps, until it likes or is asked */
    const char *lie;       /* syncs of what has this in its path and a bar behind it ("store|" is the directory) are
                              told to be done and are not; NULL: none */
    /* below: its own */
    const char *directory;
    struct fuse *fuse;
    struct fuse_buf *request;
    fuse_disk_handle *handles;
    bool dead;
} fuse_disk;

/* Why this machine cannot do it, or NULL. */
const char *fuse_disk_missing(void);
/* The first fields are the caller's; `directory` must be empty. False, and a line on stderr, when it cannot be. */
bool fuse_disk_mount(fuse_disk *d, const char *directory);
/* To be closed by a child of fork at once, that it does not keep the kernel waiting when its parent is gone. */
int fuse_disk_descriptor(const fuse_disk *d);
/* Serve requests for so long; false once nothing more can come: unmounted, or the power is gone. */
bool fuse_disk_serve(fuse_disk *d, int milliseconds);
/* Once no process has a file open. What the kernel has not written yet, it writes first. */
bool fuse_disk_unmount(fuse_disk *d);
/* At any time: what the kernel has not handed down is gone. The disk stays the caller's. */
void fuse_disk_abandon(fuse_disk *d);

#endif
