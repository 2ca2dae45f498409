/* SPDX-License-Identifier: MIT */
/* key_filter.h -- which keys are surely not in a memtable: a blocked Bloom filter (Putze, Sanders, Singler, 2007).
 *
 * A key has 4 bits in one line of 64 bytes, so a miss costs one cache line. The writer does not wait for that line: the
 * hashes of the last 8 keys stand in a line of their own while theirs are fetched, and readers look there as well.
 *
 * INVARIANT  (FILTER-1) A hash that was added is in `late`, or its bits are set: they are set before its slot of `late`
 *                       is overwritten, with release. Bits are only ever set.
 * THREADS    One writer. Whoever learned with acquire that an entry is visible finds its key here. */
#ifndef BL_MEMORY_KEY_FILTER_H
#define BL_MEMORY_KEY_FILTER_H

#include "base/prefetch.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

enum { BL_KEY_FILTER_WORDS = 8, BL_KEY_FILTER_BITS = 4, BL_KEY_FILTER_LATE = 8 };

typedef struct bl_key_filter_line {
    _Alignas(64) _Atomic uint64_t words[BL_KEY_FILTER_WORDS];
} bl_key_filter_line;

typedef struct bl_key_filter {
    bl_key_filter_line *lines;
    uint32_t count;
    uint32_t added; /* the writer's; wraps */
    _Alignas(64) _Atomic uint64_t late[BL_KEY_FILTER_LATE];
} bl_key_filter;

static inline bl_key_filter_line *bl_key_filter_at(const bl_key_filter *filter, uint64_t hash)
{
    return &filter->lines[(hash >> 32) * filter->count >> 32];
}

static inline void bl_key_filter_prefetch(const bl_key_filter *filter, uint64_t hash)
{
    bl_prefetch(bl_key_filter_at(filter, hash));
}

/* Each bit takes 3 bits of the hash for its word and 6 for its place. */
static inline void bl_key_filter_add(bl_key_filter *filter, uint64_t hash)
{
    _Atomic uint64_t *slot = &filter->late[filter->added++ % BL_KEY_FILTER_LATE];
    uint64_t late = atomic_load_explicit(slot, memory_order_relaxed);
    bl_key_filter_line *line = bl_key_filter_at(filter, late);
    for (unsigned i = 0; i < BL_KEY_FILTER_BITS; i++, late >>= 9) {
        _Atomic uint64_t *word = &line->words[late & 7];
        uint64_t bits = atomic_load_explicit(word, memory_order_relaxed);
        atomic_store_explicit(word, bits | UINT64_C(1) << (late >> 3 & 63), memory_order_relaxed);
    }
    atomic_store_explicit(slot, hash, memory_order_release);
    bl_key_filter_prefetch(filter, hash);
}

static inline bool bl_key_filter_may_contain(const bl_key_filter *filter, uint64_t hash)
{
    bool is_late = false;
    for (unsigned i = 0; i < BL_KEY_FILTER_LATE; i++) /* before the line: FILTER-1 */
        is_late |= atomic_load_explicit(&filter->late[i], memory_order_acquire) == hash;
    const bl_key_filter_line *line = bl_key_filter_at(filter, hash);
    uint64_t all = 1;
    for (unsigned i = 0; i < BL_KEY_FILTER_BITS; i++, hash >>= 9)
        all &= atomic_load_explicit(&line->words[hash & 7], memory_order_relaxed) >> (hash >> 3 & 63);
    return all != 0 || is_late;
}

#endif
