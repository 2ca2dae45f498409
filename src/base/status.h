/* SPDX-License-Identifier: MIT */
/* status.h -- how a failure gets its story.
 *
 * A function that can fail returns bole_status and takes `bole_error *error` last (NULL allowed). Who finds
 * the failure calls bl_fail once; who passes it on returns the status as it is. Cleanup never overwrites it.
 * All corruption is born in bl_corrupt, so one breakpoint finds it. */
#ifndef BL_BASE_STATUS_H
#define BL_BASE_STATUS_H

#include <bole/bole.h>

#define BL_NO_OFFSET UINT64_MAX

/* Fill `error` (if not NULL) and return `status`. */
bole_status bl_fail(bole_error *error, bole_status status, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* A system call failed: status follows from `system_errno` (ENOSPC, EDQUOT: NO_SPACE; EACCES, EPERM, EROFS:
 * PERMISSION; ENOMEM: NO_MEMORY; ENOENT: NOT_FOUND; EEXIST: EXISTS; else IO). `what` is the verb: "open",
 * "sync". */
bole_status bl_fail_system(bole_error *error, int system_errno, const char *what, const char *file);
/* Bad bytes on disk: names file and offset. */
bole_status bl_corrupt(bole_error *error, const char *file, uint64_t offset, const char *format, ...)
    __attribute__((format(printf, 4, 5)));
/* Put "prefix: " before the message that is there. Returns error's status, or `status` when error is NULL. */
bole_status bl_fail_prefix(bole_error *error, bole_status status, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
void bl_error_clear(bole_error *error);

#endif
