/* SPDX-License-Identifier: MIT */
/* head_search_avx2.h -- counting with AVX2, inline: for functions that were chosen for AVX2 as a whole. */
#ifndef BL_SEGMENT_HEAD_SEARCH_AVX2_H
#define BL_SEGMENT_HEAD_SEARCH_AVX2_H

#if defined(__x86_64__)
#include <immintrin.h>
#include <stdint.h>

#define BL_AVX2 __attribute__((target("avx2")))

/* Of 4 heads: -1 in each lane that is below `wanted`. AVX2 compares signed, so all are biased. */
BL_AVX2 static inline __m256i bl_heads_below_avx2(const void *heads, __m256i wanted, __m256i bias)
{
    return _mm256_cmpgt_epi64(wanted, _mm256_xor_si256(_mm256_loadu_si256((const __m256i *)heads), bias));
}

BL_AVX2 static inline uint32_t bl_add_lanes_avx2(__m256i sum)
{
    __m128i two = _mm_add_epi64(_mm256_castsi256_si128(sum), _mm256_extracti128_si256(sum, 1));
    return (uint32_t)(_mm_cvtsi128_si64(two) + _mm_extract_epi64(two, 1));
}

/* How many of 8 (16) heads are below `head`. */
BL_AVX2 static inline uint32_t bl_head_search_8_avx2(const uint64_t heads[8], uint64_t head)
{
    const __m256i bias = _mm256_set1_epi64x(INT64_MIN);
    const __m256i wanted = _mm256_xor_si256(_mm256_set1_epi64x((int64_t)head), bias);
    return 0u - bl_add_lanes_avx2(_mm256_add_epi64(bl_heads_below_avx2(heads, wanted, bias),
                                                   bl_heads_below_avx2(heads + 4, wanted, bias)));
}

BL_AVX2 static inline uint32_t bl_head_search_16_avx2(const uint64_t heads[16], uint64_t head)
{
    const __m256i bias = _mm256_set1_epi64x(INT64_MIN);
    const __m256i wanted = _mm256_xor_si256(_mm256_set1_epi64x((int64_t)head), bias);
    __m256i a = _mm256_add_epi64(bl_heads_below_avx2(heads, wanted, bias),
                                 bl_heads_below_avx2(heads + 4, wanted, bias));
    __m256i b = _mm256_add_epi64(bl_heads_below_avx2(heads + 8, wanted, bias),
                                 bl_heads_below_avx2(heads + 12, wanted, bias));
    return 0u - bl_add_lanes_avx2(_mm256_add_epi64(a, b));
}
#endif

#endif
