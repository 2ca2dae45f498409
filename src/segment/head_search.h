/* SPDX-License-Identifier: MIT */
/* head_search.h -- how many heads of a sorted array are below one: the inner step of every search in a
 * segment.
 *
 * A binary search without branches narrows the array to one stretch that SIMD compares whole. The forms give
 * the same answer for any bytes, sorted or not. Heads stand little-endian, at any address. */
#ifndef BL_SEGMENT_HEAD_SEARCH_H
#define BL_SEGMENT_HEAD_SEARCH_H

#include <stdint.h>

uint32_t bl_head_search_u32(const uint8_t *heads, uint32_t count, uint32_t head);
uint32_t bl_head_search_u64(const uint8_t *heads, uint32_t count, uint64_t head);
/* Of exactly 16 (8) heads, for the nodes (groups) of a block index, without SIMD: head_search_avx2.h has
 * that. */
static inline uint32_t bl_head_search_16_scalar(const uint64_t heads[16], uint64_t head)
{
    uint32_t below = 0;
    for (unsigned i = 0; i < 16; i++)
        below += heads[i] < head;
    return below;
}
static inline uint32_t bl_head_search_8_scalar(const uint64_t heads[8], uint64_t head)
{
    uint32_t below = 0;
    for (unsigned i = 0; i < 8; i++)
        below += heads[i] < head;
    return below;
}

/* The definition, and what machines without AVX2 run. */
uint32_t bl_head_search_u32_scalar(const uint8_t *heads, uint32_t count, uint32_t head);
uint32_t bl_head_search_u64_scalar(const uint8_t *heads, uint32_t count, uint64_t head);

#endif
