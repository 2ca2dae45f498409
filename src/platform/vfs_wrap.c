/* SPDX-License-Identifier: MIT */
/* vfs_wrap.c -- telling the library's own vfs from others, and walking down a stack of them.
 *
 * A bole_vfs of a user may hold anything in `context`; ours are known by their functions alone. */
#include "platform/vfs_wrap.h"

#include <string.h>

bl_made_vfs *bl_vfs_made(bole_vfs *vfs)
{
    bool is_ours = vfs != NULL && (bl_vfs_is_memory(vfs) || bl_vfs_is_fault(vfs) || bl_vfs_is_trace(vfs));
    return is_ours ? vfs->context : NULL;
}

bole_vfs *bl_vfs_memory_below(bole_vfs *vfs)
{
    for (bl_made_vfs *made = bl_vfs_made(vfs); made != NULL; made = bl_vfs_made(made->below)) {
        if (bl_vfs_is_memory(&made->vfs))
            return &made->vfs;
    }
    return NULL;
}

const char *bl_path_last(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash == NULL || slash[1] == '\0' ? path : slash + 1;
}

void bole_vfs_destroy(bole_vfs *vfs)
{
    bl_made_vfs *made = bl_vfs_made(vfs);
    if (made != NULL)
        made->destroy(made);
}
