/* SPDX-License-Identifier: MIT */
/* posix_machine.c -- memory limits and file systems, from /proc, /sys and statfs.
 *
 * MEMORY      Physical memory, and every limit on the way from this process' control group up to the root:
 *             v2  "0::/path" in /proc/self/cgroup    -> /sys/fs/cgroup/path/memory.max ("max": none)
 *             v1  "n:...memory...:/path"             -> /sys/fs/cgroup/memory/path/memory.limit_in_bytes
 *             In a container the path may be the host's and not be there; the walk then finds the root's own
 *             file.
 * MAPS        A log may be mapped where a store to a shared map is in the page cache of a local file system
 *             at once: ext2/3/4, xfs, tmpfs, and overlayfs (a container's root: its map is the upper, local
 *             file's own). Not on btrfs (copy on write: allocated space does not keep a store from finding
 *             the disk full), nor over a network, nor where nothing is known.
 * THREADS     Any; no state. */
#include "platform/posix_machine.h"

#include <bole/bole_vfs.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/vfs.h>
#include <unistd.h>

enum { PATH_SIZE = 4096, MAGIC_XFS = 0x58465342, MAGIC_VFAT = 0x4d44, MAGIC_EXFAT = 0x2011BAB0 };

/* Read a small file into text[0..size), with a NUL; false when it is not there. */
static bool read_small(const char *path, char *text, size_t size)
{
    int descriptor = open(path, O_RDONLY | O_CLOEXEC);
    if (descriptor < 0)
        return false;
    size_t used = 0;
    while (used < size - 1) {
        ssize_t got = read(descriptor, text + used, size - 1 - used);
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            break;
        used += (size_t)got;
    }
    close(descriptor);
    text[used] = '\0';
    return used != 0;
}

/* The limit in one file, UINT64_MAX where there is none. */
static uint64_t limit_in(const char *path)
{
    char text[64];
    if (!read_small(path, text, sizeof text) || text[0] < '0' || text[0] > '9')
        return UINT64_MAX;
    return strtoull(text, NULL, 10);
}

/* The lowest limit in `file` of the group and of each group above it, below `root`. */
static uint64_t lowest_limit(const char *root, const char *group, const char *file)
{
    char path[PATH_SIZE];
    uint64_t lowest = UINT64_MAX;
    size_t length = strlen(group);
    for (;;) {
        while (length != 0 && group[length - 1] == '/')
            length--;
        int size = snprintf(path, sizeof path, "%s%.*s/%s", root, (int)length, group, file);
        if (size > 0 && (size_t)size < sizeof path) {
            uint64_t limit = limit_in(path);
            lowest = limit < lowest ? limit : lowest;
        }
        if (length == 0)
            return lowest;
        while (length != 0 && group[length - 1] != '/')
            length--;
    }
}

/* One line of /proc/self/cgroup: "number:controllers:/path". */
static uint64_t limit_of_line(const char *root, char *line)
{
    char *controllers = strchr(line, ':');
    char *group = controllers == NULL ? NULL : strchr(controllers + 1, ':');
    if (group == NULL)
        return UINT64_MAX;
    *group++ = '\0';
    controllers++;
    if (controllers[0] == '\0')
        return lowest_limit(root, group, "memory.max");
    char *place;
    for (char *name = strtok_r(controllers, ",", &place); name != NULL; name = strtok_r(NULL, ",", &place)) {
        if (strcmp(name, "memory") != 0)
            continue;
        char memory_root[PATH_SIZE / 2];
        snprintf(memory_root, sizeof memory_root, "%s/memory", root);
        return lowest_limit(memory_root, group, "memory.limit_in_bytes");
    }
    return UINT64_MAX;
}

uint64_t bl_posix_group_limit(const char *root, char *groups)
{
    uint64_t lowest = UINT64_MAX;
    char *place;
    for (char *line = strtok_r(groups, "\n", &place); line != NULL; line = strtok_r(NULL, "\n", &place)) {
        uint64_t limit = limit_of_line(root, line);
        if (limit != 0 && limit < lowest)
            lowest = limit;
    }
    return lowest;
}

uint64_t bl_posix_memory_bytes(void)
{
    uint64_t bytes = (uint64_t)sysconf(_SC_PHYS_PAGES) * (uint64_t)sysconf(_SC_PAGESIZE);
    char groups[8192];
    if (!read_small("/proc/self/cgroup", groups, sizeof groups))
        return bytes;
    uint64_t limit = bl_posix_group_limit("/sys/fs/cgroup", groups);
    return limit < bytes ? limit : bytes;
}

uint32_t bl_posix_capabilities(const char *directory)
{
    struct statfs status;
    int result;
    do
        result = statfs(directory, &status);
    while (result != 0 && errno == EINTR);
    if (result != 0)
        return 0;
    switch ((unsigned long)status.f_type) {
    case EXT4_SUPER_MAGIC: /* also ext2 and ext3 */
    case MAGIC_XFS:
    case TMPFS_MAGIC:
    case OVERLAYFS_SUPER_MAGIC: return BOLE_VFS_CAN_MAP | BOLE_VFS_CAN_LINK;
    case MAGIC_VFAT:
    case MAGIC_EXFAT: return 0;
    default: return BOLE_VFS_CAN_LINK;
    }
}
