/* SPDX-License-Identifier: MIT */
/* head_tree.h -- the keys of one table in a memtable, in order: a B+tree of heads (head_node.h).
 *
 * One writer; any number of readers, who take no lock and never write: each node is a seqlock, and a descent checks
 * the parent's version again after it has read the child's, so that no split is missed ("The ART of practical
 * synchronization", Leis and others, 2016: optimistic lock coupling). Nothing is removed or moved in memory. */
#ifndef BL_MEMORY_HEAD_TREE_H
#define BL_MEMORY_HEAD_TREE_H

#include "core/comparator.h"
#include "memory/head_node.h"
#include "memory/head_path.h"

typedef struct bl_head_tree bl_head_tree;

/* What an insert takes. */
typedef struct bl_head_item {
    bole_slice key, value;
    uint64_t tag;
} bl_head_item;

/* A leaf as it was at one moment. */
typedef struct bl_head_leaf {
    bl_ref refs[BL_NODE_SLOTS]; /* newest versions */
    uint32_t count;
    bl_ref next; /* the leaf behind it, 0: none */
} bl_head_leaf;

/* The searches, instantiated per instruction set and for a user's order (head_paths.h). A null record or
 * ref: none. */
typedef struct bl_head_paths {
    const char *name;
    const uint8_t *(*get)(const bl_head_tree *tree, bole_slice key); /* the newest version */
    /* Copies the leaf that holds the first key >= `key` (`before`: the last key < `key`), if its slot is in that
     * leaf, and returns its slot (`before`: the slot behind it). */
    uint32_t (*seek)(const bl_head_tree *tree, bole_slice key, bool before, bl_head_leaf *out);
    /* Bring leaves, what leads to them, and the records of at most BL_TREE_PREFETCH_MAX keys into the cache. */
    void (*prefetch)(const bl_head_tree *tree, const bole_slice *keys, uint32_t count);
    /* The writer's: the way to a leaf that is not looked at, only asked for; its slot; and the ways of several. */
    void (*locate_leaf)(const bl_head_tree *tree, bole_slice key, bl_head_path *out);
    void (*locate_slot)(const bl_head_tree *tree, bole_slice key, bl_head_path *path);
    void (*locate_many)(const bl_head_tree *tree, const bl_head_item *items, uint32_t count, bl_head_path *out);
} bl_head_paths;
enum { BL_TREE_MANY_MAX = 8, BL_TREE_PREFETCH_MAX = 16 };

struct bl_head_tree {
    bl_arena *arena;
    bl_comparator *comparator;
    const bl_head_paths *paths;
    _Atomic bl_ref root;
    _Atomic bool has_ties; /* some node has: ask for what a search needs of them, too */
    bl_ref first_leaf;     /* never another one, see NODE-3 */
    /* the writer's, on a line of their own */
    _Alignas(64) bl_ref last_leaf;
    bool appending;     /* the last insert went behind all keys: try that first */
    uint64_t splits;    /* of leaves; a path located before the last one is stale */
};

/* The searches for an order: the best that this machine can do, or by name ("scalar", "avx2", "avx512", "compare")
 * for tests; NULL when it cannot. */
const bl_head_paths *bl_head_paths_for(bl_comparator *comparator);
const bl_head_paths *bl_head_paths_named(const char *name);

/* Takes one leaf, for which there must be room (BL_NODE_LEAF_BYTES). */
void bl_head_tree_init(bl_head_tree *tree, bl_arena *arena, bl_comparator *comparator);
/* Inserting n keys into the trees of an arena takes their records, n * BL_TREE_ENTRY_BYTES for nodes, and at most
 * this. */
enum { BL_TREE_ENTRY_BYTES = 80 };
uint64_t bl_head_tree_slack(const bl_arena *arena, uint64_t trees, uint64_t entries);

/* An insert is two steps: between them the leaf comes into the cache, and others may be inserted. Is the key new? Room
 * was reserved. Tags of one key rise. */
void bl_head_tree_approach(const bl_head_tree *tree, bole_slice key, bl_head_path *path);
bool bl_head_tree_insert_near(bl_head_tree *tree, bl_head_path *path, bole_slice key, bole_slice value,
                              uint64_t tag);
/* At most BL_TREE_MANY_MAX at once, in the given order; their ways down overlap. */
void bl_head_tree_insert_many(bl_head_tree *tree, const bl_head_item *items, uint32_t count, bool *fresh);

/* Copy a leaf, beside the writer. */
void bl_head_leaf_copy(const bl_head_tree *tree, bl_ref leaf, bl_head_leaf *out);
/* Copy the leaf with the greatest keys. */
void bl_head_leaf_copy_last(const bl_head_tree *tree, bl_head_leaf *out);

#endif
