/* SPDX-License-Identifier: MIT */
/* prng.h -- seeded pseudo-random numbers for tests, simulation and sampling (xoshiro256**, seeded by
 * splitmix64: Blackman and Vigna, 2018). Never for ids: those come from the vfs. */
#ifndef BL_BASE_PRNG_H
#define BL_BASE_PRNG_H

#include <stddef.h>
#include <stdint.h>
#include <stdbool.h>

typedef struct bl_prng {
    uint64_t state[4];
} bl_prng;
void bl_prng_init(bl_prng *prng, uint64_t seed);
uint64_t bl_prng_next(bl_prng *prng);
uint64_t bl_prng_below(bl_prng *prng, uint64_t bound); /* 0 .. bound - 1; bound > 0; no modulo bias */
bool bl_prng_chance(bl_prng *prng, uint64_t one_in);
void bl_prng_fill(bl_prng *prng, void *data, size_t size);

#endif
