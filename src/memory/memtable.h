/* SPDX-License-Identifier: MIT */
/* memtable.h -- the newest writes, in memory, in order: the brief's MemTable.
 *
 * A memtable is a set of head trees (head_tree.c), one per table. One writer at a time (the commit leader); any
 * number of readers, which take no lock. It owns its bytes. Life: active -> sealed -> flushing -> flushed, together
 * with its log. Nothing is removed from it; its memory goes all at once. */
#ifndef BL_MEMORY_MEMTABLE_H
#define BL_MEMORY_MEMTABLE_H

#include "core/comparator.h"
#include "core/lookup.h"
#include "core/memory_budget.h"
#include "core/run_cursor.h"
#include "memory/head_path.h"

typedef struct bl_memtable bl_memtable;
typedef struct bl_memtable_tree bl_memtable_tree; /* one table's part */

typedef enum bl_memtable_state {
    BL_MEMTABLE_ACTIVE,
    BL_MEMTABLE_SEALED,
    BL_MEMTABLE_FLUSHING,
    BL_MEMTABLE_FLUSHED,
} bl_memtable_state;

/* `bytes` is the memory that entries may take before it counts as full; the arena grows beyond it for a large batch.
 * Charged to `budget` (BL_MEMORY_MEMTABLE, forced) as memory is taken. */
BOLE_CHECKED bole_status bl_memtable_create(bl_memory_budget *budget, uint64_t bytes, bl_memtable **out,
                                            bole_error *error);
/* Values of at least `bytes` are counted as large: flush separates them. Before the first insert; at first none is. */
void bl_memtable_count_large(bl_memtable *memtable, uint64_t bytes);
uint64_t bl_memtable_large_value_bytes(const bl_memtable *memtable);
void bl_memtable_ref(bl_memtable *memtable); /* counts are atomic */
void bl_memtable_unref(bl_memtable *memtable);
/* One function, legal moves asserted; the caller holds the store's mutex. */
void bl_memtable_transition(bl_memtable *memtable, bl_memtable_state to);
bl_memtable_state bl_memtable_state_of(const bl_memtable *memtable);

/* ---- Writing: one leader ---- */
/* The tree of a table, made when it is not there; NULL when out of memory. */
bl_memtable_tree *bl_memtable_tree_for(bl_memtable *memtable, uint32_t table, bl_comparator *comparator);
/* Upper bound of the arena bytes that one insert takes. */
uint64_t bl_memtable_entry_bytes(size_t key_bytes, size_t value_bytes);
/* Make sure that inserts of `bytes` (sum of entry bytes), besides what was reserved before and not yet inserted,
 * cannot fail. */
BOLE_CHECKED bole_status bl_memtable_reserve(bl_memtable *memtable, uint64_t bytes, bole_error *error);
/* Copies key and value. `tag`s of one key rise. Cannot fail after a reserve. `hash` is bl_hash(key). Readers may see
 * the entry at once; they filter by sequence. */
void bl_memtable_insert(bl_memtable_tree *tree, bole_slice key, uint64_t hash, bole_slice value, uint64_t tag);
/* The same in two steps: the memory that the second one needs comes into the cache while the caller does something
 * else. Anything may be inserted between them. */
void bl_memtable_approach(const bl_memtable_tree *tree, bole_slice key, bl_head_path *path);
void bl_memtable_insert_near(bl_memtable_tree *tree, bl_head_path *path, bole_slice key, uint64_t hash,
                             bole_slice value, uint64_t tag);
/* Each entry carries a checksum (core/entry_checksum.h). Right after create. */
void bl_memtable_carry_checksums(bl_memtable *memtable);
bool bl_memtable_carries_checksums(const bl_memtable *memtable);
/* insert into one that does, with the checksum made where the entry came from; insert makes it itself. */
void bl_memtable_insert_checked(bl_memtable_tree *tree, bole_slice key, uint64_t hash, bole_slice value, uint64_t tag,
                                uint32_t checksum);
/* Do these bytes lie in the memtable's memory? */
bool bl_memtable_holds(const bl_memtable *memtable, bole_slice bytes);
/* Of one that does: is what a cursor over all versions shows, as it shows it, what was inserted? */
bool bl_memtable_entry_is_whole(const bl_memtable *memtable, uint32_t table, bole_slice key, bole_slice value,
                                uint64_t tag);
/* The same for many, in the given order; the searches of BL_MEMTABLE_BATCH neighbours in the array overlap, so that
 * they do not wait for memory one after the other. */
enum { BL_MEMTABLE_BATCH = 8 };
typedef struct bl_memtable_item {
    bl_memtable_tree *tree;
    bole_slice key, value;
    uint64_t hash, tag;
} bl_memtable_item;
void bl_memtable_insert_batch(const bl_memtable_item *items, size_t count);
bool bl_memtable_is_full(const bl_memtable *memtable); /* the writer's: counts what is reserved too */
uint64_t bl_memtable_bytes(const bl_memtable *memtable);   /* taken by entries */
uint64_t bl_memtable_entries(const bl_memtable *memtable); /* versions */

/* ---- Reading: any thread, while it holds a reference or is inside an epoch ---- */
const bl_memtable_tree *bl_memtable_find_tree(const bl_memtable *memtable, uint32_t table); /* NULL: none */
/* The newest version of `key` seen at `sequence`: true and its tag and value (good as long as the memtable). */
bool bl_memtable_get(const bl_memtable_tree *tree, bole_slice key, uint64_t hash, uint64_t sequence, uint64_t *tag,
                     bole_slice *value);
/* Bring the lines that a get will touch first into the cache. */
void bl_memtable_prefetch(const bl_memtable_tree *tree, uint64_t hash);
/* For several gets: bring in all that they will touch, the way to each key and its record too; the misses overlap,
 * so that a get afterwards finds everything in the cache. */
void bl_memtable_prefetch_many(const bl_memtable_tree *tree, const bl_lookup *lookups, size_t count);

typedef struct bl_memtable_summary { /* of one tree; exact once sealed */
    uint32_t table;
    uint64_t keys, versions, tombstones, key_bytes, value_bytes;
    uint64_t large_values, large_bytes; /* of the versions and value bytes */
    uint64_t sequence_min, sequence_max;
    bl_comparator *comparator;
} bl_memtable_summary;
uint32_t bl_memtable_tree_count(const bl_memtable *memtable);
const bl_memtable_tree *bl_memtable_tree_at(const bl_memtable *memtable, uint32_t index);
void bl_memtable_summarize(const bl_memtable_tree *tree, bl_memtable_summary *out);

/* Versions that a cursor shows. ALL: every version with sequence < `sequence` (flush, with BL_SEQUENCE_MAX).
 * NEWEST: per key only the newest version with sequence < `sequence` (reads): hot keys do not slow scans. */
typedef enum bl_memtable_versions { BL_VERSIONS_ALL, BL_VERSIONS_NEWEST } bl_memtable_versions;
/* Takes a reference on the memtable until closed. */
BOLE_CHECKED bole_status bl_memtable_cursor(bl_memtable *memtable, const bl_memtable_tree *tree,
                                            bl_memtable_versions versions, uint64_t sequence, bl_cursor **out);
/* The same in memory of the caller's, of so many bytes and aligned as bl_alloc's, which stays until it is closed; and
 * the caller counts the memtable. */
size_t bl_memtable_cursor_bytes(bl_memtable_versions versions);
bl_cursor *bl_memtable_cursor_at(void *place, const bl_memtable_tree *tree, bl_memtable_versions versions,
                                 uint64_t sequence);

#endif
