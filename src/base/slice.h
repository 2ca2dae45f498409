/* SPDX-License-Identifier: MIT */
/* slice.h -- byte order of keys: memcmp, then length. */
#ifndef BL_BASE_SLICE_H
#define BL_BASE_SLICE_H

#include "base/coding.h"

#include <bole/bole.h>
#include "base/coding.h"

#include <string.h>

static inline bole_slice bl_slice(const void *data, size_t size)
{
    return (bole_slice){ data, size };
}

/* memcmp for a few bytes, without a call: prefixes and the ends of keys. */
static inline int bl_bytes_compare(const void *a, const void *b, size_t bytes)
{
    const uint8_t *left = a, *right = b;
    uint64_t x, y;
    if (bytes >= 8) {
        x = bl_get_u64(left);
        y = bl_get_u64(right);
        if (x == y && bytes > 16)
            return memcmp(left + 8, right + 8, bytes - 8);
        if (x == y) {
            x = bl_get_u64(left + bytes - 8);
            y = bl_get_u64(right + bytes - 8);
        }
        x = __builtin_bswap64(x);
        y = __builtin_bswap64(y);
    } else if (bytes >= 4) {
        x = (uint64_t)__builtin_bswap32(bl_get_u32(left)) << 32 | __builtin_bswap32(bl_get_u32(left + bytes - 4));
        y = (uint64_t)__builtin_bswap32(bl_get_u32(right)) << 32 | __builtin_bswap32(bl_get_u32(right + bytes - 4));
    } else {
        x = y = 0;
        for (size_t i = 0; i < bytes; i++) {
            x = x << 8 | left[i];
            y = y << 8 | right[i];
        }
    }
    return x < y ? -1 : x > y;
}

static inline int bl_slice_compare(bole_slice a, bole_slice b)
{
    size_t common = a.size < b.size ? a.size : b.size;
    int order = common == 0 ? 0 : memcmp(a.data, b.data, common);
    if (order != 0)
        return order;
    return a.size < b.size ? -1 : a.size > b.size;
}

/* The same, where the answer most often lies in the first or last of a few bytes. */
static inline int bl_slice_compare_short(bole_slice a, bole_slice b)
{
    int order = bl_bytes_compare(a.data, b.data, a.size < b.size ? a.size : b.size);
    return order != 0 ? order : a.size < b.size ? -1 : a.size > b.size;
}

static inline bool bl_slice_equal(bole_slice a, bole_slice b)
{
    return a.size == b.size && (a.size == 0 || memcmp(a.data, b.data, a.size) == 0);
}

static inline bool bl_slice_starts_with(bole_slice key, bole_slice prefix)
{
    return key.size >= prefix.size && (prefix.size == 0 || memcmp(key.data, prefix.data, prefix.size) == 0);
}

/* Bytes that both begin with. */
static inline size_t bl_slice_common_prefix(bole_slice a, bole_slice b)
{
    const uint8_t *left = a.data, *right = b.data;
    size_t common = a.size < b.size ? a.size : b.size;
    size_t i = 0;
    for (; i + 8 <= common; i += 8) {
        uint64_t difference = bl_get_u64(left + i) ^ bl_get_u64(right + i);
        if (difference != 0)
            return i + (size_t)__builtin_ctzll(difference) / 8;
    }
    while (i < common && left[i] == right[i])
        i++;
    return i;
}

/* The C-like display form of any bytes: printable ASCII as is, \\ \n \t \xNN. As snprintf: returns the length
 * needed, and ends what fits (whole forms only) with a NUL. */
size_t bl_slice_escape(bole_slice bytes, char *out, size_t capacity);

/* How many bytes at the beginning of `text` are whole printable characters: all of them, or up to the first byte that
 * is no UTF-8 or a control character. */
size_t bl_printable_utf8(const char *text);

#endif
