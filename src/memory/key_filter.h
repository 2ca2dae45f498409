/* SPDX-License-Identifier: MIT */
/* key_filter.h -- which keys are surely not in a memtable: a blocked Bloom filter (Putze, Sanders, Singler, 2007).
 *
 * A key has 4 bits in one line of 64 bytes, so a miss costs one cache line. Bits are only ever set, by one writer;
 * whoever learned with acquire that an entry is visible sees its bits, so readers never look twice. */
#ifndef BL_MEMORY_KEY_FILTER_H
#define BL_MEMORY_KEY_FILTER_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

enum { BL_KEY_FILTER_WORDS = 8, BL_KEY_FILTER_BITS = 4 };

typedef struct bl_key_filter_line {
    _Alignas(64) _Atomic uint64_t words[BL_KEY_FILTER_WORDS];
} bl_key_filter_line;

typedef struct bl_key_filter {
    bl_key_filter_line *lines;
    uint32_t count;
} bl_key_filter;

static inline bl_key_filter_line *bl_key_filter_at(const bl_key_filter *filter, uint64_t hash)
{
    return &filter->lines[(hash >> 32) * filter->count >> 32];
}

static inline void bl_key_filter_prefetch(const bl_key_filter *filter, uint64_t hash)
{
    __builtin_prefetch(bl_key_filter_at(filter, hash));
}

/* Each bit takes 3 bits of the hash for its word and 6 for its place. */
static inline void bl_key_filter_add(const bl_key_filter *filter, uint64_t hash)
{
    bl_key_filter_line *line = bl_key_filter_at(filter, hash);
    for (unsigned i = 0; i < BL_KEY_FILTER_BITS; i++, hash >>= 9) {
        _Atomic uint64_t *word = &line->words[hash & 7];
        uint64_t bits = atomic_load_explicit(word, memory_order_relaxed);
        atomic_store_explicit(word, bits | UINT64_C(1) << (hash >> 3 & 63), memory_order_relaxed);
    }
}

static inline bool bl_key_filter_may_contain(const bl_key_filter *filter, uint64_t hash)
{
    const bl_key_filter_line *line = bl_key_filter_at(filter, hash);
    uint64_t all = 1;
    for (unsigned i = 0; i < BL_KEY_FILTER_BITS; i++, hash >>= 9)
        all &= atomic_load_explicit(&line->words[hash & 7], memory_order_relaxed) >> (hash >> 3 & 63);
    return all != 0;
}

#endif
