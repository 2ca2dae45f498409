/* SPDX-License-Identifier: MIT */
/* posix_write_behind.h -- large pieces of a file go to the device past the system's cache, while their writer goes on;
 * used by vfs_posix.c alone. */
#ifndef BL_PLATFORM_POSIX_WRITE_BEHIND_H
#define BL_PLATFORM_POSIX_WRITE_BEHIND_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* What O_DIRECT moves: whole pages, at whole places. */
enum { BL_DIRECT_BYTES = 4096 };
enum { BL_IO_BYTES_MAX = 1 << 30 }; /* of one call of the system */
enum { BL_WRITE_BEHIND_BYTES = 1024 * 1024 }; /* of a piece */

/* All of it, by as many calls as it takes. 0 or errno. */
int bl_write_all(int descriptor, uint64_t offset, const void *data, size_t length);

typedef struct bl_write_behind bl_write_behind;

/* `descriptor` was opened with O_DIRECT. Takes four pieces' memory; NULL when there is none. */
bl_write_behind *bl_write_behind_create(int descriptor);
/* Exactly a piece, at a whole page; it is copied. 0, or the errno of this or of an earlier write. */
int bl_write_behind_add(bl_write_behind *behind, uint64_t offset, const void *data);
/* Wait for all pieces and free it. 0, or the errno of the first that failed. NULL is allowed. */
int bl_write_behind_finish(bl_write_behind *behind);

#endif
