/* SPDX-License-Identifier: MIT */
/* coding.h -- integers as bytes: little-endian in files, big-endian in heads; varints (LEB128, at most 10
 * bytes). Never cast a struct onto file bytes. Readers bound every length by the bytes that remain. */
#ifndef BL_BASE_CODING_H
#define BL_BASE_CODING_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#if __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "big-endian machines need byte swaps in coding.h"
#endif

static inline uint16_t bl_get_u16(const void *data) { uint16_t v; memcpy(&v, data, 2); return v; }
static inline uint32_t bl_get_u32(const void *data) { uint32_t v; memcpy(&v, data, 4); return v; }
static inline uint64_t bl_get_u64(const void *data) { uint64_t v; memcpy(&v, data, 8); return v; }
static inline void bl_put_u16(void *data, uint16_t v) { memcpy(data, &v, 2); }
static inline void bl_put_u32(void *data, uint32_t v) { memcpy(data, &v, 4); }
static inline void bl_put_u64(void *data, uint64_t v) { memcpy(data, &v, 8); }

/* The head of a key at `offset`: its next 8 (4) bytes as a big-endian integer, zero-padded when the key
 * ends. */
static inline uint64_t bl_head64(const void *key, size_t size, size_t offset)
{
    const uint8_t *data = (const uint8_t *)key;
    if (__builtin_expect(offset + 8 <= size, 1))
        return __builtin_bswap64(bl_get_u64(data + offset));
    if (offset >= size)
        return 0;
    if (size >= 8) /* the last 8 bytes, less those before the offset */
        return __builtin_bswap64(bl_get_u64(data + size - 8)) << (8 * (offset + 8 - size));
    uint64_t head = 0;
    for (size_t i = offset; i < size; i++)
        head = head << 8 | data[i];
    return head << (8 * (offset + 8 - size));
}

static inline uint32_t bl_head32(const void *key, size_t size, size_t offset)
{
    return (uint32_t)(bl_head64(key, size, offset) >> 32);
}

enum { BL_VARINT_BYTES_MAX = 10 };
static inline size_t bl_varint_size(uint64_t value)
{
    return value < 0x80 ? 1 : (size_t)(63 - __builtin_clzll(value)) / 7 + 1;
}
static inline uint8_t *bl_put_varint(uint8_t *out, uint64_t value) /* returns the end */
{
    while (value >= 0x80) {
        *out++ = (uint8_t)(value | 0x80);
        value >>= 7;
    }
    *out++ = (uint8_t)value;
    return out;
}
/* Returns the byte after the varint, or NULL when it does not end before `end`, is over 64 bits, or is not
 * the shortest form. */
const uint8_t *bl_get_varint_slow(const uint8_t *in, const uint8_t *end, uint64_t *out);
static inline const uint8_t *bl_get_varint(const uint8_t *in, const uint8_t *end, uint64_t *out)
{
    if (in < end && *in < 0x80) {
        *out = *in;
        return in + 1;
    }
    return bl_get_varint_slow(in, end, out);
}

#endif
