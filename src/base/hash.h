/* SPDX-License-Identifier: MIT */
/* hash.h -- the one hash of a key (XXH3-64, seed 0), computed once per operation; filters on disk depend on
 * it. */
#ifndef BL_BASE_HASH_H
#define BL_BASE_HASH_H

#include <stddef.h>
#include <stdint.h>

uint64_t bl_hash(const void *data, size_t size);

#endif
