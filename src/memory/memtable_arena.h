/* SPDX-License-Identifier: MIT */
/* memtable_arena.h -- the memory of one memtable: regions that only grow, addressed by 32-bit references.
 *
 * A reference counts units of 4 bytes, 0 is none; so a memtable holds at most 16 GiB. Its upper bits name a slot of
 * 8 MiB, its lower bits the place in it; the slot's base is kept less the slot's own address, so that an address
 * is base + 4 * reference. A large region takes several slots with one base.
 *
 * Records are cut from a region's low end, nodes (lines of 64 bytes) from its high end, so that neither pads the
 * other. Regions start small, double up to 8 MiB, and are charged to the budget when they are taken.
 *
 * THREADS  One writer; any number of readers, who call bl_arena_at with a reference that they loaded with acquire.
 *          Nothing is freed before bl_arena_deinit. */
#ifndef BL_MEMORY_MEMTABLE_ARENA_H
#define BL_MEMORY_MEMTABLE_ARENA_H

#include "base/assert.h"
#include "core/memory_budget.h"

#include <bole/bole.h>
#include <stdatomic.h>

typedef uint32_t bl_ref; /* 0: none */

enum {
    BL_ARENA_UNIT_BYTES = 4,
    BL_ARENA_SLOT_SHIFT = 21, /* units of a slot, as a power of two: 8 MiB */
    BL_ARENA_SLOTS_MAX = 2048,
    BL_ARENA_REGION_BYTES_MIN = 16 * 1024,
    BL_ARENA_REGION_BYTES_FIRST = 64 * 1024,
    BL_ARENA_REGION_BYTES_MAX = 8 * 1024 * 1024,
};

#define BL_ARENA_BYTES_MAX ((uint64_t)BL_ARENA_SLOTS_MAX * BL_ARENA_UNIT_BYTES << BL_ARENA_SLOT_SHIFT)

typedef struct bl_arena_region bl_arena_region; /* its first bytes are its header */

/* A region that still has room between `low` and `high`. */
typedef struct bl_arena_open {
    bl_arena_region *region;
    bl_ref first; /* of the region */
    uint64_t low, high;
} bl_arena_open;

typedef struct bl_arena {
    _Atomic(uintptr_t *) bases; /* per slot; replaced when it grows, the old ones stay until the end */
    /* The writer's, on lines of their own. Records and nodes come from open[0]; the two change places when something
     * does not fit. */
    _Alignas(64) bl_arena_open open[2];
    bl_arena_region *regions;
    void *tables; /* list of the base tables */
    uint32_t slots, slots_capacity;
    uint64_t region_bytes_next, region_bytes_max;
    uint64_t leaves, inners; /* nodes of both kinds: counted in head_tree.c */
    uint32_t trailer_bytes;  /* behind each record: 0, or 4 for its checksum */
    uint32_t trailer;        /* of the record that is being put */
    bl_memory_budget *budget;
    _Atomic uint64_t used;    /* by records and nodes */
    _Atomic uint64_t charged; /* to the budget */
} bl_arena;

/* `bytes` is what the memtable is meant to hold: small ones get small regions. */
void bl_arena_init(bl_arena *arena, bl_memory_budget *budget, uint64_t bytes);
void bl_arena_deinit(bl_arena *arena);

/* After BOLE_OK records and nodes of `bytes` together cannot fail. */
BOLE_CHECKED bole_status bl_arena_reserve_slow(bl_arena *arena, uint64_t bytes, bole_error *error);
BOLE_CHECKED static inline bole_status bl_arena_reserve(bl_arena *arena, uint64_t bytes, bole_error *error)
{
    if (bl_likely(arena->open[0].high - arena->open[0].low >= bytes))
        return BOLE_OK;
    return bl_arena_reserve_slow(arena, bytes, error);
}
/* Bytes that can be reserved before the references run out. */
uint64_t bl_arena_room(const bl_arena *arena);

/* Zeroed. `bytes` is rounded up to 4 (record) or 64 (node). Call only for what was reserved. */
bl_ref bl_arena_record_slow(bl_arena *arena, uint64_t bytes);
bl_ref bl_arena_node(bl_arena *arena, uint64_t bytes);

/* Do `bytes` at `data` lie in one region? Walks all of them. */
bool bl_arena_holds(const bl_arena *arena, const void *data, uint64_t bytes);

static inline void *bl_arena_at(const bl_arena *arena, bl_ref ref)
{
    const uintptr_t *bases = atomic_load_explicit(&arena->bases, memory_order_acquire);
    return (void *)(bases[ref >> BL_ARENA_SLOT_SHIFT] + (uintptr_t)ref * BL_ARENA_UNIT_BYTES);
}

static inline void bl_arena_count(bl_arena *arena, uint64_t bytes)
{
    atomic_store_explicit(&arena->used, atomic_load_explicit(&arena->used, memory_order_relaxed) + bytes,
                          memory_order_relaxed);
}

static inline bl_ref bl_arena_record(bl_arena *arena, uint64_t bytes)
{
    bl_arena_open *open = &arena->open[0];
    bytes = (bytes + BL_ARENA_UNIT_BYTES - 1) & ~(uint64_t)(BL_ARENA_UNIT_BYTES - 1);
    if (bl_unlikely(open->high - open->low < bytes))
        return bl_arena_record_slow(arena, bytes);
    bl_ref ref = open->first + (bl_ref)(open->low / BL_ARENA_UNIT_BYTES);
    open->low += bytes;
    bl_arena_count(arena, bytes);
    return ref;
}

#endif
