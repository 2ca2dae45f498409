/* SPDX-License-Identifier: MIT */
/* head_node.h -- a node of a head tree: sorted heads beside references, guarded by a version (a seqlock).
 *
 * The head of a key in a node is its next 8 bytes behind the node's prefix, the bytes that all keys of the node
 * have in common, as a big-endian integer. A leaf refers from each slot to the newest version of a key; an inner
 * node with n separators refers to their entries and to n + 1 children. Keys of children[i] are >= separator i - 1
 * and < separator i. Slots behind `count` hold the largest head, so a search may look at all of them.
 *
 * A slot whose head is that of the slot before is a tie. Of ties the node knows where keys differ, so that a search
 * looks at one key and not at a logarithm of them (R. Grossi and P. Ferragina's String B-tree, with D. Ferguson's
 * Bit-tree for its nodes; here by bytes): head_paths.h.
 *
 * INVARIANTS  (NODE-1) `version` is odd while the node is inconsistent. The writer makes it odd before its first and
 *                      even behind its last change, except for: appending a slot to a leaf (the slot is written
 *                      first, then `count` with release), replacing a leaf's reference by that of a newer version,
 *                      and `next` of a full leaf; each leaves a state that is right at any moment.
 *             (NODE-2) A reader follows no reference before it has seen, after loading it, that `version` did not
 *                      move: what it follows was consistent.
 *             (NODE-3) A leaf's lower bound never moves: a split leaves the lower half in place.
 *             (NODE-4) A separator is the first key of the leaf right of it, and stays in it.
 *             (NODE-5) Of a tie, `shared` is how many bytes its key has in common with the key before, and `branch`
 *                      its byte behind them. `has_ties` is set where there may be one. */
#ifndef BL_MEMORY_HEAD_NODE_H
#define BL_MEMORY_HEAD_NODE_H

#include "base/prefetch.h"
#include "base/sanitizer.h"
#include "memory/memtable_arena.h"
#include "memory/memtable_record.h"
#include "platform/relax.h"

enum {
    BL_NODE_SLOTS = 64,      /* of a leaf */
    BL_NODE_SEPARATORS = 63, /* of an inner node */
    BL_NODE_HEAD_BYTES = 8,
};

typedef struct bl_head_node {
    _Atomic uint32_t version;
    _Atomic uint16_t count;
    _Atomic uint16_t prefix_bytes;
    _Atomic uint64_t prefix_tail; /* the prefix's last 8 bytes, big-endian, zero bytes before a shorter one */
    _Atomic bl_ref prefix_entry;  /* an entry whose key has the prefix */
    _Atomic bl_ref next;          /* leaf: its right neighbour */
    uint8_t level;                /* 0: leaf */
    /* The writer's: where the last slot went in, and how often in a row it was behind, or at, the one before. */
    uint8_t last_slot, rising, falling;
    bool has_ties; /* the writer's, too */
    uint8_t unused[35];
    uint64_t heads[BL_NODE_SLOTS];
    uint16_t shared[BL_NODE_SLOTS];
    uint8_t branch[BL_NODE_SLOTS];
    bl_ref refs[BL_NODE_SLOTS];
    bl_ref children[]; /* inner: BL_NODE_SLOTS */
} bl_head_node;

enum {
    BL_NODE_LEAF_BYTES = sizeof(bl_head_node),
    BL_NODE_INNER_BYTES = sizeof(bl_head_node) + BL_NODE_SLOTS * sizeof(bl_ref),
};
BL_STATIC_ASSERT(offsetof(bl_head_node, heads) == 64, "heads start on a line");
BL_STATIC_ASSERT(BL_NODE_LEAF_BYTES % 64 == 0 && BL_NODE_INNER_BYTES % 64 == 0, "nodes are whole lines");

static inline bl_head_node *bl_node_at(const bl_arena *arena, bl_ref ref)
{
    return __builtin_assume_aligned(bl_arena_at(arena, ref), 64);
}

/* ---- Reading beside the writer ---- */

/* ThreadSanitizer knows no fences; there every racing access is an atomic of its own, and it judges only those. */
#ifdef BL_THREAD_SANITIZER
#define bl_node_fence(order) atomic_signal_fence(memory_order_seq_cst)
#else
#define bl_node_fence(order) atomic_thread_fence(order)
#endif

/* Check builds let another thread in, now and then, where it hurts most; or a test does there what a writer might. */
#ifdef BL_CHECKS
extern void (*bl_node_tempter)(void); /* NULL: nobody; set while one thread runs */
#endif
static inline void bl_node_tempt(void)
{
#ifdef BL_CHECKS
    static _Thread_local uint32_t turn;
    if (bl_node_tempter != NULL)
        bl_node_tempter();
    if (++turn % 61 == 0)
        bl_relax(BL_RELAX_SPINS);
#endif
}

static inline uint32_t bl_node_begin(const bl_head_node *node)
{
    for (unsigned turn = 0;; turn++) {
        uint32_t version = atomic_load_explicit(&node->version, memory_order_acquire);
        if (bl_likely((version & 1) == 0))
            return version;
        bl_relax(turn);
    }
}

static inline bool bl_node_unchanged(const bl_head_node *node, uint32_t version)
{
    bl_node_fence(memory_order_acquire);
    return bl_likely(atomic_load_explicit(&node->version, memory_order_relaxed) == version);
}

static inline uint32_t bl_node_count(const bl_head_node *node)
{
    return atomic_load_explicit(&node->count, memory_order_acquire);
}
static inline uint32_t bl_node_prefix_bytes(const bl_head_node *node)
{
    return atomic_load_explicit(&node->prefix_bytes, memory_order_relaxed);
}
static inline uint64_t bl_node_head(const bl_head_node *node, uint32_t slot)
{
    return __atomic_load_n(&node->heads[slot], __ATOMIC_RELAXED);
}
static inline uint32_t bl_node_shared(const bl_head_node *node, uint32_t slot)
{
    return __atomic_load_n(&node->shared[slot], __ATOMIC_RELAXED);
}
static inline uint8_t bl_node_branch(const bl_head_node *node, uint32_t slot)
{
    return __atomic_load_n(&node->branch[slot], __ATOMIC_RELAXED);
}
static inline bl_ref bl_node_ref(const bl_head_node *node, uint32_t slot)
{
    return __atomic_load_n(&node->refs[slot], __ATOMIC_ACQUIRE);
}
static inline bl_ref bl_node_child(const bl_head_node *node, uint32_t slot)
{
    return __atomic_load_n(&node->children[slot], __ATOMIC_ACQUIRE);
}

static inline void bl_node_prefetch(const bl_head_node *node, bool ties)
{
    const char *line = (const char *)node;
#pragma GCC unroll 16
    for (unsigned i = 0; i < offsetof(bl_head_node, shared); i += 64)
        bl_prefetch(line + i);
#pragma GCC unroll 16
    for (unsigned i = offsetof(bl_head_node, shared); ties && i < offsetof(bl_head_node, refs); i += 64)
        bl_prefetch(line + i);
}

static inline void bl_node_prefetch_refs(const bl_head_node *node)
{
    const char *line = (const char *)node->refs;
#pragma GCC unroll 16
    for (unsigned i = 0; i < sizeof(node->refs); i += 64)
        bl_prefetch(line + i);
}

#endif
