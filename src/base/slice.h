/* SPDX-License-Identifier: MIT */
/* slice.h -- byte order of keys: memcmp, then length. */
#ifndef BL_BASE_SLICE_H
#define BL_BASE_SLICE_H

#include <bole/bole.h>
#include <string.h>

static inline bole_slice bl_slice(const void *data, size_t size)
{
    return (bole_slice){ data, size };
}

static inline int bl_slice_compare(bole_slice a, bole_slice b)
{
    size_t common = a.size < b.size ? a.size : b.size;
    int order = common == 0 ? 0 : memcmp(a.data, b.data, common);
    if (order != 0)
        return order;
    return a.size < b.size ? -1 : a.size > b.size;
}

static inline bool bl_slice_equal(bole_slice a, bole_slice b)
{
    return a.size == b.size && (a.size == 0 || memcmp(a.data, b.data, a.size) == 0);
}

static inline bool bl_slice_starts_with(bole_slice key, bole_slice prefix)
{
    return key.size >= prefix.size && (prefix.size == 0 || memcmp(key.data, prefix.data, prefix.size) == 0);
}

size_t bl_slice_common_prefix(bole_slice a, bole_slice b);

/* The C-like display form of any bytes: printable ASCII as is, \\ \n \t \xNN. As snprintf: returns the length
 * needed, and ends what fits (whole forms only) with a NUL. */
size_t bl_slice_escape(bole_slice bytes, char *out, size_t capacity);

#endif
