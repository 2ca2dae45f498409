/* SPDX-License-Identifier: MIT */
/* checksum.c -- XXH3-64 over bytes and their place.
 *
 * FORMAT      seed(id)     = XXH3_64bits(id, 16)
 *             mixed        = seed(id) ^ (place * 0x9E3779B97F4A7C15)          modulo 2^64
 *             checksum     = XXH3_64bits_withSeed(data, size, mixed)
 *             The multiplier is odd, so two places of one file never share a seed.
 *             Files depend on all three lines: never change them.
 * INVARIANTS  (CHECKSUM-1) A checksum says which file (by id) and which place its bytes belong to.
 * THREADS     Any; no state. */
#include "base/checksum.h"

#include "base/checksum_avx2.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

enum { LONG_BYTES = 512 }; /* below, wider registers are no help */

uint64_t bl_checksum_seed(bl_id id) { return XXH3_64bits(id.bytes, sizeof id.bytes); }

uint64_t bl_checksum(uint64_t seed, uint64_t place, const void *data, size_t size)
{
    uint64_t mixed = seed ^ (place * 0x9E3779B97F4A7C15u);
#if defined(__x86_64__)
    if (size >= LONG_BYTES && __builtin_cpu_supports("avx2"))
        return bl_checksum_long_avx2(data, size, mixed);
#endif
    return XXH3_64bits_withSeed(data, size, mixed);
}
