/* SPDX-License-Identifier: MIT */
/* head_path.h -- the writer's way through a head tree (head_tree.h), kept between the two steps of an insert. */
#ifndef BL_MEMORY_HEAD_PATH_H
#define BL_MEMORY_HEAD_PATH_H

#include "memory/memtable_arena.h"

enum { BL_TREE_LEVELS_MAX = 16 };

/* What two neighbours have in common (NODE-5). `shared` 0: the search has not seen it. */
typedef struct bl_head_tie {
    uint16_t shared;
    uint8_t branch; /* of the second */
} bl_head_tie;

/* From the root to a leaf. */
typedef struct bl_head_path {
    bl_ref nodes[BL_TREE_LEVELS_MAX];   /* by level; [0] is the leaf */
    uint8_t slots[BL_TREE_LEVELS_MAX];  /* by level: the child taken; [0] is the slot of the key, or for it */
    uint32_t top;                       /* the root's level */
    uint32_t matched;                   /* bytes that the key has in common with all keys that the leaf may hold */
    bool found;                         /* the key is there, at slots[0] */
    bool has_prefix;                    /* the key has the leaf's prefix */
    bl_head_tie before, behind;         /* of the key with the slot before, of the key at slots[0] with this one */
    uint64_t splits;                    /* the tree's when the path was approached */
} bl_head_path;

#endif
