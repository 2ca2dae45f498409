/* SPDX-License-Identifier: MIT */
/* memtable_arena.c -- regions for a memtable's records and nodes.
 *
 * INVARIANTS  (ARENA-1) After bl_arena_reserve(bytes) one open region alone has that room, so whatever does not fit
 *                       into the other fits there.
 *             (ARENA-2) A slot's base is stored before any reference into the slot is handed out, and a longer
 *                       table of bases is published with the old entries in it: who loaded a reference with acquire
 *                       and loads the table after it finds the slot.
 *             (ARENA-3) `charged` is the sum of all regions and base tables, and what the budget holds for them. */
#include "memory/memtable_arena.h"

#include "base/alloc.h"
#include "base/status.h"
#include "platform/page_arena.h"

#include <string.h>

enum { LINE_BYTES = 64, SLOTS_FIRST = 16 };
static const uint64_t SLOT_BYTES = (uint64_t)BL_ARENA_UNIT_BYTES << BL_ARENA_SLOT_SHIFT;

struct bl_arena_region {
    bl_arena_region *next;
    uint64_t bytes;
};
BL_STATIC_ASSERT(sizeof(bl_arena_region) <= LINE_BYTES,
                 "a region's header is one line, so no reference is 0");

typedef struct base_table {
    struct base_table *next;
    uintptr_t bases[];
} base_table;

void bl_arena_init(bl_arena *arena, bl_memory_budget *budget, uint64_t bytes)
{
    memset(arena, 0, sizeof(*arena));
    arena->budget = budget;
    uint64_t most = BL_ARENA_REGION_BYTES_MIN;
    while (most < bytes / 4 && most < BL_ARENA_REGION_BYTES_MAX)
        most *= 2;
    arena->region_bytes_max = most;
    arena->region_bytes_next = most < BL_ARENA_REGION_BYTES_FIRST ? most : BL_ARENA_REGION_BYTES_FIRST;
}

static void charge(bl_arena *arena, uint64_t bytes)
{
    bl_memory_budget_force(arena->budget, BL_MEMORY_MEMTABLE, bytes);
    uint64_t charged = atomic_load_explicit(&arena->charged, memory_order_relaxed);
    atomic_store_explicit(&arena->charged, charged + bytes, memory_order_relaxed);
}

void bl_arena_deinit(bl_arena *arena)
{
    while (arena->regions != NULL) {
        bl_arena_region *region = arena->regions;
        arena->regions = region->next;
        bl_region_free(region, region->bytes);
    }
    for (base_table *table = arena->tables; table != NULL;) {
        base_table *next = table->next;
        bl_free(table);
        table = next;
    }
    uint64_t charged = atomic_load_explicit(&arena->charged, memory_order_relaxed);
    if (charged != 0)
        bl_memory_budget_release(arena->budget, BL_MEMORY_MEMTABLE, charged);
    memset(arena, 0, sizeof(*arena));
}

uint64_t bl_arena_room(const bl_arena *arena) { return (BL_ARENA_SLOTS_MAX - arena->slots) * SLOT_BYTES; }

/* Make room in the table of bases for `slots` more. */
static bool grow_bases(bl_arena *arena, uint64_t slots)
{
    uint32_t capacity = arena->slots_capacity == 0 ? SLOTS_FIRST : arena->slots_capacity;
    while (capacity < arena->slots + slots)
        capacity *= 2;
    if (capacity == arena->slots_capacity)
        return true;
    size_t bytes = sizeof(base_table) + capacity * sizeof(uintptr_t);
    base_table *table = bl_alloc(bytes);
    if (table == NULL)
        return false;
    if (arena->slots != 0)
        memcpy(table->bases, atomic_load_explicit(&arena->bases, memory_order_relaxed),
               arena->slots * sizeof(uintptr_t));
    table->next = arena->tables;
    arena->tables = table;
    arena->slots_capacity = capacity;
    atomic_store_explicit(&arena->bases, table->bases, memory_order_release);
    charge(arena, bytes);
    return true;
}

static uint64_t gap(const bl_arena_open *open) { return open->high - open->low; }

/* Open a new region in place of the open one with less room. */
static bole_status open_region(bl_arena *arena, uint64_t bytes, bole_error *error)
{
    uint64_t slots = (bytes + SLOT_BYTES - 1) / SLOT_BYTES;
    if (slots > BL_ARENA_SLOTS_MAX - arena->slots)
        return bl_fail(error, BOLE_TOO_LARGE, "a memtable holds at most 16 GiB");
    if (!grow_bases(arena, slots))
        return bl_fail(error, BOLE_NO_MEMORY, "addresses of a memtable");
    bl_arena_region *region = bl_region_alloc(bytes);
    if (region == NULL)
        return bl_fail(error, BOLE_NO_MEMORY, "memtable region of %llu bytes", (unsigned long long)bytes);
    region->next = arena->regions;
    region->bytes = bytes;
    arena->regions = region;
    charge(arena, bytes);

    uintptr_t *bases = atomic_load_explicit(&arena->bases, memory_order_relaxed);
    bl_ref first = (bl_ref)arena->slots << BL_ARENA_SLOT_SHIFT;
    for (uint64_t i = 0; i < slots; i++)
        bases[arena->slots + i] = (uintptr_t)region - (uintptr_t)first * BL_ARENA_UNIT_BYTES;
    arena->slots += (uint32_t)slots;

    bl_arena_open *open = gap(&arena->open[0]) < gap(&arena->open[1]) ? &arena->open[0] : &arena->open[1];
    *open = (bl_arena_open){ region, first, LINE_BYTES, bytes / LINE_BYTES * LINE_BYTES };
    return BOLE_OK;
}

bole_status bl_arena_reserve_slow(bl_arena *arena, uint64_t bytes, bole_error *error)
{
    if (gap(&arena->open[0]) >= bytes || gap(&arena->open[1]) >= bytes)
        return BOLE_OK;
    if (bytes > BL_ARENA_BYTES_MAX - BL_PAGE_BYTES)
        return bl_fail(error, BOLE_TOO_LARGE, "a memtable holds at most 16 GiB");
    uint64_t next = arena->region_bytes_next;
    uint64_t whole = (bytes + LINE_BYTES + BL_PAGE_BYTES - 1) / BL_PAGE_BYTES * BL_PAGE_BYTES;
    bole_status status = open_region(arena, whole > next ? whole : next, error);
    if (status == BOLE_OK && next < arena->region_bytes_max)
        arena->region_bytes_next = next * 2;
    return status;
}

/* What does not fit into open[0] fits into open[1] (ARENA-1); that one is then asked first. */
static bl_arena_open *other(bl_arena *arena, uint64_t bytes)
{
    bl_arena_open open = arena->open[0];
    arena->open[0] = arena->open[1];
    arena->open[1] = open;
    bl_assert(gap(&arena->open[0]) >= bytes);
    return &arena->open[0];
}

bl_ref bl_arena_record_slow(bl_arena *arena, uint64_t bytes)
{
    bl_arena_open *open = other(arena, bytes);
    bl_ref ref = open->first + (bl_ref)(open->low / BL_ARENA_UNIT_BYTES);
    open->low += bytes;
    bl_arena_count(arena, bytes);
    return ref;
}

bl_ref bl_arena_node(bl_arena *arena, uint64_t bytes)
{
    bl_assert(bytes % LINE_BYTES == 0);
    bl_arena_open *open = &arena->open[0];
    if (gap(open) < bytes)
        open = other(arena, bytes);
    open->high -= bytes;
    bl_arena_count(arena, bytes);
    return open->first + (bl_ref)(open->high / BL_ARENA_UNIT_BYTES);
}

bool bl_arena_holds(const bl_arena *arena, const void *data, uint64_t bytes)
{
    for (const bl_arena_region *region = arena->regions; region != NULL; region = region->next) {
        uint64_t offset = (uint64_t)((uintptr_t)data - (uintptr_t)region);
        if (offset < region->bytes)
            return bytes <= region->bytes - offset;
    }
    return false;
}
