/* SPDX-License-Identifier: MIT */
/* memtable_state.h -- what a memtable and its trees are made of: for memtable.c and memtable_cursor.c alone. */
#ifndef BL_MEMORY_MEMTABLE_STATE_H
#define BL_MEMORY_MEMTABLE_STATE_H

#include "memory/head_tree.h"
#include "memory/key_filter.h"
#include "memory/memtable.h"

/* The trees of a memtable, by table number and in the order in which they were made. Replaced when it is full; the
 * old ones stay until the memtable dies. */
typedef struct bl_memtable_directory {
    struct bl_memtable_directory *older;
    uint32_t capacity;
    bl_memtable_tree *_Atomic slots[]; /* 2 * capacity, found by hash, and then `capacity` in order */
} bl_memtable_directory;

struct bl_memtable_tree {
    bl_head_tree heads;
    bl_memtable *memtable;
    uint32_t table;
    uint64_t salt; /* sets the table's keys apart in the one filter */
    /* Changed by the writer, read by any: one store each. */
    _Alignas(64) _Atomic uint64_t keys;
    _Atomic uint64_t versions, tombstones, key_bytes, value_bytes, sequence_min, sequence_max;
    _Atomic uint64_t large_values, large_bytes;
};

struct bl_memtable {
    /* Read by all, changed seldom. */
    bl_memory_budget *budget;
    uint64_t bytes; /* that entries may take before it is full */
    uint64_t large_value_bytes; /* from here on a value is large; UINT64_MAX: none is */
    _Atomic(bl_key_filter *) filter; /* NULL: too few entries */
    _Atomic(bl_memtable_directory *) directory;
    _Atomic uint32_t tree_count;
    _Atomic uint32_t state;
    /* Counted by all. */
    _Alignas(64) _Atomic uint64_t references;
    /* The writer's. */
    _Alignas(64) uint64_t promised; /* entry bytes that were reserved and not yet inserted */
    uint64_t heap_bytes;            /* charged besides the arena */
    _Atomic uint64_t entries;
    bl_key_filter filter_memory;
    bl_arena arena;
};

#endif
