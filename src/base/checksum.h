/* SPDX-License-Identifier: MIT */
/* checksum.h -- XXH3-64 over bytes and their place.
 *
 * Every file has a random 128-bit id; a checksum in it starts from that id and covers its place (offset or
 * log position), so bytes of another file, place or life are never accepted. */
#ifndef BL_BASE_CHECKSUM_H
#define BL_BASE_CHECKSUM_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <stdbool.h>

enum { BL_ID_BYTES = 16 };
typedef struct bl_id {
    uint8_t bytes[BL_ID_BYTES];
} bl_id;
static inline bool bl_id_equal(bl_id a, bl_id b) { return memcmp(a.bytes, b.bytes, BL_ID_BYTES) == 0; }
static inline bool bl_id_is_zero(bl_id a) { return bl_id_equal(a, (bl_id){ { 0 } }); }

/* Seed for a file: mixes the id's halves; make it once per file. bl_checksum(seed, place, data, size) is
 * XXH3_64bits_withSeed(data, size, seed ^ (place * 0x9E3779B97F4A7C15)). */
uint64_t bl_checksum_seed(bl_id id);
uint64_t bl_checksum(uint64_t seed, uint64_t place, const void *data, size_t size);
/* The same over two pieces that need not be adjacent is not offered: build the bytes first. */

#endif
