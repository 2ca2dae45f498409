/* SPDX-License-Identifier: MIT */
/* memory_budget.h -- the one ledger of memory: every class against one limit.
 *
 * Shares: memtables, logs and one flush can always get theirs (they are charged with force); cache, indexes,
 * pins and work take the rest and must ask. The rest is limit - max(reserved, what memtables and logs hold).
 * Any thread; no lock. Charges are exact: two callers never get the same byte, and none is refused because of
 * a charge that was itself refused. */
#ifndef BL_CORE_MEMORY_BUDGET_H
#define BL_CORE_MEMORY_BUDGET_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

typedef enum bl_memory_class {
    BL_MEMORY_MEMTABLE,
    BL_MEMORY_LOG,
    BL_MEMORY_CACHE,  /* block frames */
    BL_MEMORY_INDEX,  /* block indexes, filters, pointer arrays, descriptors */
    BL_MEMORY_PINNED, /* frames held by views and iterators beyond their block's life in the cache */
    BL_MEMORY_WORK,   /* buffers of flush, compaction, read-ahead */
    BL_MEMORY_CLASSES
} bl_memory_class;

typedef struct bl_memory_budget {
    _Atomic uint64_t limit;
    _Atomic uint64_t reserved; /* kept free for the classes that may force */
    _Atomic int64_t used[BL_MEMORY_CLASSES];
    _Atomic int64_t asked;     /* cache + index + pinned + work, in one number that charges compare */
} bl_memory_budget;

void bl_memory_budget_init(bl_memory_budget *budget, uint64_t limit, uint64_t reserved);
void bl_memory_budget_limit(bl_memory_budget *budget, uint64_t limit, uint64_t reserved);
/* false, and nothing is charged, when cache + index + pinned + work would pass their share. */
bool bl_memory_budget_charge(bl_memory_budget *budget, bl_memory_class memory_class, uint64_t bytes);
void bl_memory_budget_force(bl_memory_budget *budget, bl_memory_class memory_class, uint64_t bytes);
void bl_memory_budget_release(bl_memory_budget *budget, bl_memory_class memory_class, uint64_t bytes);
/* Bytes that are charged change their class; both are of the classes that ask. */
void bl_memory_budget_move(bl_memory_budget *budget, bl_memory_class from, bl_memory_class to,
                           uint64_t bytes);
uint64_t bl_memory_budget_used(const bl_memory_budget *budget, bl_memory_class memory_class);
uint64_t bl_memory_budget_total(const bl_memory_budget *budget);
/* What cache, index, pinned and work may hold together now; and what of it is free. */
uint64_t bl_memory_budget_share(const bl_memory_budget *budget);
uint64_t bl_memory_budget_room(const bl_memory_budget *budget);
/* Bytes that cache and index together must give back now to get under their share; 0 when they are. */
uint64_t bl_memory_budget_excess(const bl_memory_budget *budget);

#endif
