/* SPDX-License-Identifier: MIT */
/* analyze.h -- what scripts/analyze.py puts before each source. Analyzers look at one file at a time, so they cannot
 * know that a function of another file that makes a failure never returns BOLE_OK, and would follow ways on which an
 * error is no error. */
#ifdef __cppcheck__ /* it reads no headers of the system, and knows no builtins */
#define __builtin_expect(condition, value) (condition)
#define json_array_foreach(array, i, value) for (i = 0; (value = json_array_get(array, i)) != NULL; i++)
#define json_object_foreach(object, key, value) for (key = "key"; (value = json_object_get(object, key)) != NULL;)
#else
#include "base/status.h"

#include <stdlib.h>

#define bl_fail(error, status, ...)                     \
    ({                                                  \
        bole_status failed_ = (status);                 \
        (bl_fail)((error), failed_, __VA_ARGS__);       \
        failed_ == BOLE_OK ? (abort(), failed_) : failed_; \
    })
#define bl_corrupt(...) ((bl_corrupt)(__VA_ARGS__), BOLE_CORRUPT)
#define bl_fail_system(...) ((bl_fail_system)(__VA_ARGS__), BOLE_IO)
#endif
