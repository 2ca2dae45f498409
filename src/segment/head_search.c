/* SPDX-License-Identifier: MIT */
/* head_search.c -- counting heads below one, scalar and with AVX2.
 *
 * NARROWING   While more than WINDOW heads are left, one load decides which half goes on: a conditional
 *             move, so no branch is mispredicted. Counting a window of 64 u32 (32 u64) is 8 compares of 32
 *             bytes.
 * INVARIANTS  (HEAD-1) The AVX2 and the scalar form give the same count: the narrowing is shared, and a
 *             count of what is below does not depend on order.
 * THREADS     Any; no state: __builtin_cpu_supports reads a word that the C runtime set before main. */
#include "segment/head_search.h"

#include "base/coding.h"

enum { WINDOW_U32 = 64, WINDOW_U64 = 32 };

/* The stretch of at most WINDOW heads that the answer lies in: *heads and *count are moved there, and what
 * lies before it is returned. */
static inline uint32_t narrow_u32(const uint8_t **heads, uint32_t *count, uint32_t head)
{
    const uint8_t *begin = *heads;
    uint32_t left = *count;
    while (left > WINDOW_U32) {
        uint32_t half = left / 2;
        begin += bl_get_u32(begin + 4 * (size_t)(half - 1)) < head ? 4 * (size_t)half : 0;
        left -= half;
    }
    uint32_t skipped = (uint32_t)((size_t)(begin - *heads) / 4);
    *heads = begin;
    *count = left;
    return skipped;
}

static inline uint32_t narrow_u64(const uint8_t **heads, uint32_t *count, uint64_t head)
{
    const uint8_t *begin = *heads;
    uint32_t left = *count;
    while (left > WINDOW_U64) {
        uint32_t half = left / 2;
        begin += bl_get_u64(begin + 8 * (size_t)(half - 1)) < head ? 8 * (size_t)half : 0;
        left -= half;
    }
    uint32_t skipped = (uint32_t)((size_t)(begin - *heads) / 8);
    *heads = begin;
    *count = left;
    return skipped;
}

uint32_t bl_head_search_u32_scalar(const uint8_t *heads, uint32_t count, uint32_t head)
{
    uint32_t below = narrow_u32(&heads, &count, head);
    for (uint32_t i = 0; i < count; i++)
        below += bl_get_u32(heads + 4 * (size_t)i) < head;
    return below;
}

uint32_t bl_head_search_u64_scalar(const uint8_t *heads, uint32_t count, uint64_t head)
{
    uint32_t below = narrow_u64(&heads, &count, head);
    for (uint32_t i = 0; i < count; i++)
        below += bl_get_u64(heads + 8 * (size_t)i) < head;
    return below;
}

#if defined(__x86_64__)
#include "segment/head_search_avx2.h"

/* A load of n lanes begins 8 - n (4 - n) lanes before the end of the ones. */
static const int32_t lane_masks[16] = { -1, -1, -1, -1, -1, -1, -1, -1, 0, 0, 0, 0, 0, 0, 0, 0 };

__attribute__((target("avx2"))) static uint32_t search_u32_avx2(const uint8_t *heads, uint32_t count,
                                                                uint32_t head)
{
    uint32_t below = narrow_u32(&heads, &count, head);
    const __m256i bias = _mm256_set1_epi32(INT32_MIN); /* AVX2 compares signed */
    const __m256i wanted = _mm256_xor_si256(_mm256_set1_epi32((int32_t)head), bias);
    __m256i sum = _mm256_setzero_si256();
    uint32_t i = 0;
    for (; i + 8 <= count; i += 8) {
        __m256i lanes = _mm256_loadu_si256((const __m256i *)(const void *)(heads + 4 * (size_t)i));
        sum = _mm256_sub_epi32(sum, _mm256_cmpgt_epi32(wanted, _mm256_xor_si256(lanes, bias)));
    }
    if (i < count) { /* lanes behind the end are not read */
        __m256i mask = _mm256_loadu_si256((const __m256i *)(const void *)(lane_masks + 8 - (count - i)));
        __m256i lanes = _mm256_maskload_epi32((const int *)(const void *)(heads + 4 * (size_t)i), mask);
        __m256i less = _mm256_cmpgt_epi32(wanted, _mm256_xor_si256(lanes, bias));
        sum = _mm256_sub_epi32(sum, _mm256_and_si256(less, mask));
    }
    __m128i four = _mm_add_epi32(_mm256_castsi256_si128(sum), _mm256_extracti128_si256(sum, 1));
    four = _mm_add_epi32(four, _mm_shuffle_epi32(four, 0x4E));
    four = _mm_add_epi32(four, _mm_shuffle_epi32(four, 0xB1));
    return below + (uint32_t)_mm_cvtsi128_si32(four);
}

__attribute__((target("avx2"))) static uint32_t search_u64_avx2(const uint8_t *heads, uint32_t count,
                                                                uint64_t head)
{
    uint32_t below = narrow_u64(&heads, &count, head);
    const __m256i bias = _mm256_set1_epi64x(INT64_MIN);
    const __m256i wanted = _mm256_xor_si256(_mm256_set1_epi64x((int64_t)head), bias);
    __m256i sum = _mm256_setzero_si256();
    uint32_t i = 0;
    for (; i + 4 <= count; i += 4)
        sum = _mm256_sub_epi64(sum, bl_heads_below_avx2(heads + 8 * (size_t)i, wanted, bias));
    if (i < count) {
        __m256i mask = _mm256_loadu_si256((const __m256i *)(const void *)(lane_masks + 8 - 2 * (count - i)));
        __m256i lanes = _mm256_maskload_epi64((const long long *)(const void *)(heads + 8 * (size_t)i), mask);
        __m256i less = _mm256_cmpgt_epi64(wanted, _mm256_xor_si256(lanes, bias));
        sum = _mm256_sub_epi64(sum, _mm256_and_si256(less, mask));
    }
    return below + bl_add_lanes_avx2(sum);
}

#define HAVE_AVX2 __builtin_cpu_supports("avx2")
#else
#define HAVE_AVX2 0
#define search_u32_avx2 bl_head_search_u32_scalar
#define search_u64_avx2 bl_head_search_u64_scalar
#endif

uint32_t bl_head_search_u32(const uint8_t *heads, uint32_t count, uint32_t head)
{
    return HAVE_AVX2 ? search_u32_avx2(heads, count, head) : bl_head_search_u32_scalar(heads, count, head);
}

uint32_t bl_head_search_u64(const uint8_t *heads, uint32_t count, uint64_t head)
{
    return HAVE_AVX2 ? search_u64_avx2(heads, count, head) : bl_head_search_u64_scalar(heads, count, head);
}
