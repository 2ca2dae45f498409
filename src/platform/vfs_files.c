/* SPDX-License-Identifier: MIT */
/* vfs_files.c -- whole files and directories through a vfs.
 *
 * THREADS     Any; no state. */
#include "platform/vfs_files.h"

#include "base/alloc.h"
#include "base/status.h"

#include <stdio.h>

enum { PATH_BYTES_MAX = 4096 };

bole_status bl_vfs_copy_file(bole_vfs *vfs, const char *from, const char *to, bole_error *error)
{
    enum { PIECE = 1 << 20 };
    bole_file *in = NULL, *out = NULL;
    void *piece = bl_alloc(PIECE);
    bole_status status = piece == NULL ? bl_fail(error, BOLE_NO_MEMORY, "copy of %s", from) : BOLE_OK;
    if (status == BOLE_OK)
        status = vfs->open(vfs, from, BOLE_VFS_READ, &in, error);
    if (status == BOLE_OK)
        status = vfs->open(vfs, to, BOLE_VFS_WRITE | BOLE_VFS_CREATE | BOLE_VFS_EXCLUSIVE, &out, error);
    size_t got = PIECE;
    for (uint64_t offset = 0; status == BOLE_OK && got == PIECE; offset += got) {
        status = vfs->read(in, offset, piece, PIECE, &got, error);
        if (status == BOLE_OK && got > 0)
            status = vfs->write(out, offset, piece, got, error);
    }
    if (status == BOLE_OK)
        status = vfs->sync(out, error);
    if (in != NULL)
        (void)vfs->close(in, NULL);
    if (out != NULL) {
        bole_status closed = vfs->close(out, status == BOLE_OK ? error : NULL);
        status = status == BOLE_OK ? closed : status;
    }
    bl_free(piece);
    return status;
}

static bool remove_one(void *context, const char *name)
{
    char path[PATH_BYTES_MAX];
    bole_vfs *vfs = ((void **)context)[0];
    const char *directory = ((void **)context)[1];
    if (snprintf(path, sizeof(path), "%s/%s", directory, name) < (int)sizeof(path))
        (void)vfs->remove(vfs, path, NULL);
    return true;
}

void bl_vfs_remove_all(bole_vfs *vfs, const char *directory)
{
    void *context[2] = { vfs, (void *)(uintptr_t)directory };
    (void)vfs->list(vfs, directory, remove_one, context, NULL);
    (void)vfs->remove_directory(vfs, directory, NULL);
}
