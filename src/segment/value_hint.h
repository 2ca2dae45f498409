/* SPDX-License-Identifier: MIT */
/* value_hint.h -- where a large value was found the last time, by its key's hash.
 *
 * A get of a large value is a chain of misses: filter, key block, record, slot, value. By the key's hash is remembered
 * where record and value were the last time, so that they are asked for before the search begins. What a hint names by
 * address may be gone, or another key's: it is asked for, and never read.
 * What it names by place, a block of a value segment in a list of segments, leads there at once: while that very list
 * is the present one, and no memtable has the key, a search would end there (docs/decisions/0021). The hint's words are
 * written one by one by any thread; so `vouch` is made of the place and of all that it holds for, and a place whose
 * vouch is another is none.
 *
 * INVARIANT  (HINT-1) A place that bl_value_hint_find returns was noted for this key's hash, this table and this
 *                     version.
 * THREADS    Any; words of hints are atomic, without order.
 * NOT HERE   Their memory: frame_cache.c. Who follows them: engine/read.c. */
#ifndef BL_SEGMENT_VALUE_HINT_H
#define BL_SEGMENT_VALUE_HINT_H

#include "base/prefetch.h"
#include "platform/page_arena.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

typedef struct bl_frame bl_frame;

typedef struct bl_value_hint {
    _Atomic uint64_t record; /* 16 bits of the hash | address */
    _Atomic uint64_t value;  /* lines to the value's last one, 16 bits | address of the frame */
    _Atomic uint64_t place;  /* number of the value segment among the table's, 32 bits | block */
    _Atomic uint64_t vouch;
} bl_value_hint;
enum { BL_HINT_WAYS = 2, BL_HINT_ADDRESS_BITS = 48, BL_HINT_LINE_BYTES = 64 };
typedef struct bl_value_hint_line { /* of some keys by their hashes: as many hints as it has room for */
    _Alignas(BL_HINT_LINE_BYTES) bl_value_hint ways[BL_HINT_WAYS];
} bl_value_hint_line;
typedef struct bl_value_hints {
    _Atomic(bl_value_hint_line *) all; /* NULL: none yet */
    unsigned shift;                    /* of a hash, to a number of a line */
} bl_value_hints;

/* The line where the hint of a key is, if it has one; or NULL. It is asked for: look into it some misses later. */
static inline bl_value_hint_line *bl_value_hint_line_of(const bl_value_hints *hints, uint64_t hash)
{
    bl_value_hint_line *all = atomic_load_explicit(&hints->all, memory_order_acquire);
    if (__builtin_expect(all == (void *)0, 1))
        return all;
    bl_value_hint_line *line = &all[(hash * UINT64_C(0x9E3779B97F4A7C15)) >> hints->shift];
    bl_prefetch(line);
    return line;
}
/* The key's hint, as far as 16 bits of its hash tell; or NULL. */
static inline bl_value_hint *bl_value_hint_of(bl_value_hint_line *line, uint64_t hash)
{
    for (int i = 0; i < BL_HINT_WAYS; i++)
        if (atomic_load_explicit(&line->ways[i].record, memory_order_relaxed) >> BL_HINT_ADDRESS_BITS ==
            (hash & 0xFFFF))
            return &line->ways[i];
    return (bl_value_hint *)0;
}
/* Ask for what a read of the value will look at; when it must search, for the key's block, too. */
static inline void bl_value_hint_follow(const bl_value_hint *hint, bool searches)
{
    uint64_t record = atomic_load_explicit(&hint->record, memory_order_relaxed);
    uint64_t value = atomic_load_explicit(&hint->value, memory_order_relaxed),
             address = (UINT64_C(1) << BL_HINT_ADDRESS_BITS) - 1;
    uintptr_t at = (uintptr_t)(record & address), block = at & ~((uintptr_t)BL_PAGE_BYTES - 1);
    if (searches && at != 0) {
        for (uintptr_t line = 0; line < 4; line++)
            bl_prefetch((const void *)(block + line * BL_HINT_LINE_BYTES));
        bl_prefetch((const void *)at);
    }
    at = (uintptr_t)(value & address);
    bl_prefetch((const void *)at);
    bl_prefetch((const void *)(at + BL_HINT_LINE_BYTES));
    bl_prefetch((const void *)(at + (uintptr_t)(value >> BL_HINT_ADDRESS_BITS) * BL_HINT_LINE_BYTES));
}
/* What has just been read, or written: the record (NULL: not known), the frame, and the end of the value in the frame.
 * Into the key's hint, an unused one, or one of the others'. */
static inline bl_value_hint *bl_value_hint_note(bl_value_hint_line *line, uint64_t hash, const void *record,
                                                const bl_frame *frame, const void *end)
{
    uint64_t lines = ((uintptr_t)end - (uintptr_t)frame - 1) / BL_HINT_LINE_BYTES;
    uint64_t value = (uint64_t)(uintptr_t)frame | (lines & 0xFFFF) << BL_HINT_ADDRESS_BITS;
    uint64_t where = (uint64_t)(uintptr_t)record | (hash & 0xFFFF) << BL_HINT_ADDRESS_BITS;
    bl_value_hint *hint = bl_value_hint_of(line, hash);
    for (int i = 0; hint == (void *)0 && i < BL_HINT_WAYS; i++)
        if (atomic_load_explicit(&line->ways[i].value, memory_order_relaxed) == 0)
            hint = &line->ways[i];
    if (hint == (void *)0)
        hint = &line->ways[hash >> 16 & (BL_HINT_WAYS - 1)];
    if (atomic_load_explicit(&hint->value, memory_order_relaxed) != value ||
        atomic_load_explicit(&hint->record, memory_order_relaxed) != where) {
        atomic_store_explicit(&hint->record, where, memory_order_relaxed);
        atomic_store_explicit(&hint->value, value, memory_order_relaxed);
    }
    return hint;
}

/* What a place holds for: a key of a table in a list of segments (a version's id). */
typedef struct bl_hint_scope {
    uint64_t version, hash;
    uint32_t table;
} bl_hint_scope;
static inline uint64_t bl_hint_vouch(const bl_hint_scope *scope, uint64_t place)
{
    const uint64_t parts[] = { scope->table, scope->version, place };
    uint64_t mixed = scope->hash;
    for (int i = 0; i < 3; i++) { /* one to one in each, and of another order for each value of the others */
        mixed = (mixed ^ mixed >> 32) * UINT64_C(0xD6E8FEB86659FD93) ^ parts[i];
        mixed = (mixed ^ mixed >> 29) * UINT64_C(0x9E3779B97F4A7C15);
    }
    return mixed ^ mixed >> 32;
}
static inline void bl_value_hint_place(bl_value_hint *hint, const bl_hint_scope *scope, uint32_t segment,
                                       uint64_t block)
{
    if (block > UINT32_MAX)
        return;
    uint64_t place = (uint64_t)segment << 32 | (uint32_t)block, vouch = bl_hint_vouch(scope, place);
    if (atomic_load_explicit(&hint->vouch, memory_order_relaxed) == vouch &&
        atomic_load_explicit(&hint->place, memory_order_relaxed) == place)
        return;
    atomic_store_explicit(&hint->place, place, memory_order_relaxed);
    atomic_store_explicit(&hint->vouch, vouch, memory_order_relaxed);
}
/* Where it stands, or false: as far as the hint knows nowhere. */
static inline bool bl_value_hint_find(const bl_value_hint *hint, const bl_hint_scope *scope, uint32_t *segment,
                                      uint64_t *block)
{
    uint64_t place = atomic_load_explicit(&hint->place, memory_order_relaxed);
    *segment = (uint32_t)(place >> 32);
    *block = (uint32_t)place;
    return atomic_load_explicit(&hint->vouch, memory_order_relaxed) == bl_hint_vouch(scope, place);
}

#endif
