/* SPDX-License-Identifier: MIT */
/* prng.c -- xoshiro256** 1.0, seeded by splitmix64 (Blackman and Vigna, "Scrambled linear pseudorandom number
 * generators", 2018); bounded numbers by Lemire's multiplication ("Fast random integer generation in an
 * interval", 2018). One seed gives the same numbers on every machine. */
#include "base/prng.h"

#include "base/assert.h"

#include <string.h>

static uint64_t rotate_left(uint64_t value, int bits) { return (value << bits) | (value >> (64 - bits)); }

void bl_prng_init(bl_prng *prng, uint64_t seed)
{
    for (int i = 0; i < 4; i++) {
        seed += 0x9E3779B97F4A7C15u;
        uint64_t mixed = seed;
        mixed = (mixed ^ (mixed >> 30)) * 0xBF58476D1CE4E5B9u;
        mixed = (mixed ^ (mixed >> 27)) * 0x94D049BB133111EBu;
        prng->state[i] = mixed ^ (mixed >> 31);
    }
}

uint64_t bl_prng_next(bl_prng *prng)
{
    uint64_t *state = prng->state;
    uint64_t result = rotate_left(state[1] * 5, 7) * 9;
    uint64_t shifted = state[1] << 17;
    state[2] ^= state[0];
    state[3] ^= state[1];
    state[1] ^= state[2];
    state[0] ^= state[3];
    state[2] ^= shifted;
    state[3] = rotate_left(state[3], 45);
    return result;
}

uint64_t bl_prng_below(bl_prng *prng, uint64_t bound)
{
    bl_assert(bound > 0);
    __extension__ typedef unsigned __int128 wide;
    wide product = (wide)bl_prng_next(prng) * bound;
    if ((uint64_t)product < bound) {
        uint64_t threshold = -bound % bound; /* 2^64 mod bound: products below it are over-represented */
        while ((uint64_t)product < threshold)
            product = (wide)bl_prng_next(prng) * bound;
    }
    return (uint64_t)(product >> 64);
}

bool bl_prng_chance(bl_prng *prng, uint64_t one_in) { return bl_prng_below(prng, one_in) == 0; }

void bl_prng_fill(bl_prng *prng, void *data, size_t size)
{
    uint8_t *out = data;
    while (size >= 8) {
        uint64_t word = bl_prng_next(prng);
        memcpy(out, &word, 8);
        out += 8;
        size -= 8;
    }
    if (size != 0) {
        uint64_t word = bl_prng_next(prng);
        memcpy(out, &word, size);
    }
}
