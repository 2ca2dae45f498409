/* SPDX-License-Identifier: MIT */
/* hash.c -- XXH3-64 with seed 0. Filters on disk depend on it: never change it. */
#include "base/hash.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

uint64_t bl_hash(const void *data, size_t size) { return XXH3_64bits(data, size); }
