/* SPDX-License-Identifier: MIT */
/* status.c -- statuses, their names, and the story behind a failure.
 *
 * INVARIANTS  (STATUS-1) A bole_error that was filled is whole: status, errno, offset, file and message
 *                        belong to one failure, and both texts end in NUL, cut at the end if they must be.
 *             (STATUS-2) BOLE_CORRUPT is born in bl_corrupt alone: one breakpoint finds every corruption.
 * THREADS     Any; an error belongs to its caller. */
#include "base/status.h"

#include "base/assert.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

const char *bole_status_name(bole_status status)
{
    switch (status) {
#define STATUS_NAME(name, number, text) \
    case BOLE_##name: return "BOLE_" #name;
        BOLE_STATUS_MAP(STATUS_NAME)
#undef STATUS_NAME
    }
    return "BOLE_?";
}

const char *bole_status_text(bole_status status)
{
    switch (status) {
#define STATUS_TEXT(name, number, text) \
    case BOLE_##name: return text;
        BOLE_STATUS_MAP(STATUS_TEXT)
#undef STATUS_TEXT
    }
    return "unknown status";
}

const char *bole_version(void) { return BOLE_VERSION_STRING; }

void bl_error_clear(bole_error *error)
{
    if (error == NULL)
        return;
    error->status = BOLE_OK;
    error->system_errno = 0;
    error->offset = BL_NO_OFFSET;
    error->file[0] = '\0';
    error->message[0] = '\0';
}

/* The end of a path says more than its beginning. */
static void set_file(bole_error *error, const char *file)
{
    size_t length = strlen(file);
    if (length >= sizeof error->file)
        file += length - (sizeof error->file - 1);
    snprintf(error->file, sizeof error->file, "%s", file);
}

bole_status bl_fail(bole_error *error, bole_status status, const char *format, ...)
{
    bl_assert(status != BOLE_OK);
    if (error == NULL)
        return status;
    char message[sizeof error->message]; /* an argument may be the old message */
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(message, sizeof message, format, arguments);
    va_end(arguments);
    bl_error_clear(error);
    error->status = status;
    memcpy(error->message, message, sizeof message);
    return status;
}

static bole_status status_of_errno(int system_errno)
{
    switch (system_errno) {
    case ENOSPC:
    case EDQUOT: return BOLE_NO_SPACE;
    case EACCES:
    case EPERM:
    case EROFS: return BOLE_PERMISSION;
    case ENOMEM: return BOLE_NO_MEMORY;
    case ENOENT: return BOLE_NOT_FOUND;
    case EEXIST: return BOLE_EXISTS;
    default: return BOLE_IO;
    }
}

bole_status bl_fail_system(bole_error *error, int system_errno, const char *what, const char *file)
{
    bole_status status = status_of_errno(system_errno);
    if (error == NULL)
        return status;
    char text[128];
    bl_fail(error, status, "cannot %s %s: %s", what, file, strerror_r(system_errno, text, sizeof text));
    error->system_errno = system_errno;
    set_file(error, file);
    return status;
}

bole_status bl_corrupt(bole_error *error, const char *file, uint64_t offset, const char *format, ...)
{
    if (error == NULL)
        return BOLE_CORRUPT;
    char reason[sizeof error->message];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(reason, sizeof reason, format, arguments);
    va_end(arguments);
    if (offset == BL_NO_OFFSET)
        bl_fail(error, BOLE_CORRUPT, "%s: %s", file, reason);
    else
        bl_fail(error, BOLE_CORRUPT, "%s at offset %llu: %s", file, (unsigned long long)offset, reason);
    error->offset = offset;
    set_file(error, file);
    return BOLE_CORRUPT;
}

bole_status bl_fail_prefix(bole_error *error, bole_status status, const char *format, ...)
{
    bl_assert(status != BOLE_OK);
    if (error == NULL)
        return status;
    char message[sizeof error->message];
    va_list arguments;
    va_start(arguments, format);
    int wanted = vsnprintf(message, sizeof message - 2, format, arguments); /* keeps room for ": " */
    va_end(arguments);
    size_t length = wanted < 0 ? 0 : strlen(message);
    memcpy(message + length, ": ", 2);
    length += 2;
    size_t rest = strnlen(error->message, sizeof message - 1 - length);
    memcpy(message + length, error->message, rest);
    message[length + rest] = '\0';
    memcpy(error->message, message, sizeof message);
    return error->status != BOLE_OK ? error->status : status;
}
