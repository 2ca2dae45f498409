/* SPDX-License-Identifier: MIT */
/* checksum_avx2.h -- XXH3-64 with a seed, where the processor has AVX2: the same value, in half the instructions. */
#ifndef BL_BASE_CHECKSUM_AVX2_H
#define BL_BASE_CHECKSUM_AVX2_H

#include <stddef.h>
#include <stdint.h>

uint64_t bl_checksum_long_avx2(const void *data, size_t size, uint64_t seed);

#endif
