/* SPDX-License-Identifier: MIT */
/* checksum_avx2.c -- XXH3-64 compiled for AVX2 (CMakeLists.txt gives this file the option). Only checksum.c calls it,
 * and only where the processor has AVX2. */
#include "base/checksum_avx2.h"

#if defined(__x86_64__)
#define XXH_INLINE_ALL
#include <xxhash.h>

uint64_t bl_checksum_long_avx2(const void *data, size_t size, uint64_t seed)
{
    return XXH3_64bits_withSeed(data, size, seed);
}
#endif
