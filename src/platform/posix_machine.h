/* SPDX-License-Identifier: MIT */
/* posix_machine.h -- what the machine offers: memory and file systems; used by vfs_posix.c alone. */
#ifndef BL_PLATFORM_POSIX_MACHINE_H
#define BL_PLATFORM_POSIX_MACHINE_H

#include <stdint.h>

/* Of the machine or of this process' control group (v1 or v2), the smaller. Never 0. */
uint64_t bl_posix_memory_bytes(void);
/* The lowest limit of the groups that `groups` names (the text of /proc/self/cgroup; it is cut up), below
 * `root` ("/sys/fs/cgroup"); UINT64_MAX where there is none. */
uint64_t bl_posix_group_limit(const char *root, char *groups);
/* bole_vfs_capability bits of the file system that holds `directory`; 0 where it cannot be asked. */
uint32_t bl_posix_capabilities(const char *directory);

#endif
