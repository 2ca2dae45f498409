/* SPDX-License-Identifier: MIT */
/* head_tree.c -- changing a head tree while readers are in it.
 *
 * INSERT   The record is written first, then its reference put into a leaf. A key that is there gets a new version:
 *          one store. A key behind all others of its leaf is appended: two stores (NODE-1). Otherwise slots move, and
 *          readers of that leaf wait the few nanoseconds.
 * PREFIX   A key without the leaf's prefix shortens it in place: the new heads are the old ones, shifted right behind
 *          bytes of the old prefix, so no key is touched. A split lengthens it again where that is worth touching
 *          the keys.
 * SPLIT    The upper half goes to a new right neighbour, the lower half stays. The parent is made to have room first,
 *          from the top down, so each split is complete in itself. Parent and node are odd together, so a reader that
 *          finds the node without its upper half finds the parent changed. Where keys come in rising or falling order
 *          the cut is made at the new key, so that nodes are left full.
 *
 * INVARIANTS  NODE-1 to NODE-5 of head_node.h, and
 *             (TREE-1) All leaves are at level 0; an inner node has one child more than separators.
 *             (TREE-2) A node that is split had at least 2 * SPLIT_INSERTS inserts since it was made or split, or was
 *                      left full by a cut at the new key, for which another node had STREAK inserts. So n inserts
 *                      split at most n / SPLIT_INSERTS nodes, and besides them each of the nodes of before once, and
 *                      once what a cut of that leaves full: the STREAK may be older than the n inserts. One insert
 *                      splits at most a leaf, and an inner node of each level.
 * THREADS     One writer. Readers: head_paths.c.
 * NOT HERE    Searching: head_paths.h. Records: memtable_record.c. */
#include "memory/head_tree.h"

enum {
    STREAK = 31,        /* inserts next to the one before after which a split is made at the new key */
    STREAK_END = 200,   /* counters of streaks stop here */
    GROW_BYTES = 4,     /* bytes that all heads of a node share before its prefix is made longer */
    SPLIT_INSERTS = 15, /* see TREE-2 */
};
#define HEAD_NONE UINT64_MAX

#ifdef BL_CHECKS
void (*bl_node_tempter)(void);
#endif

/* ---- Stores that readers may race with ---- */

static inline uint32_t lock(bl_head_node *node)
{
    uint32_t version = atomic_load_explicit(&node->version, memory_order_relaxed);
    bl_debug_assert((version & 1) == 0);
    atomic_store_explicit(&node->version, version + 1, memory_order_relaxed);
    bl_node_fence(memory_order_release);
    return version;
}

static inline void unlock(bl_head_node *node, uint32_t version)
{
    atomic_store_explicit(&node->version, version + 2, memory_order_release);
}

static inline uint32_t count_of(const bl_head_node *node)
{
    return atomic_load_explicit(&node->count, memory_order_relaxed);
}

static inline void set_count(bl_head_node *node, uint32_t count)
{
    atomic_store_explicit(&node->count, (uint16_t)count, memory_order_release);
}

static inline void set_head(bl_head_node *node, uint32_t slot, uint64_t head)
{
    __atomic_store_n(&node->heads[slot], head, __ATOMIC_RELAXED);
}

static inline void set_ref(bl_ref *refs, uint32_t slot, bl_ref ref)
{
    __atomic_store_n(&refs[slot], ref, __ATOMIC_RELEASE);
}

/* Move slots [from, from + count) one up. Readers see the moves in pieces and then the node's version. */
static inline void shift_heads(uint64_t *heads, uint32_t from, uint32_t count)
{
#ifdef BL_THREAD_SANITIZER
    for (uint32_t i = from + count; i > from; i--)
        __atomic_store_n(&heads[i], heads[i - 1], __ATOMIC_RELAXED);
#else
    memmove(heads + from + 1, heads + from, count * sizeof(*heads));
#endif
}

static inline void shift_refs(bl_ref *refs, uint32_t from, uint32_t count)
{
#ifdef BL_THREAD_SANITIZER
    for (uint32_t i = from + count; i > from; i--)
        __atomic_store_n(&refs[i], refs[i - 1], __ATOMIC_RELEASE);
#else
    memmove(refs + from + 1, refs + from, count * sizeof(*refs));
#endif
}

static inline void shift_ties(bl_head_node *node, uint32_t from, uint32_t count)
{
#ifdef BL_THREAD_SANITIZER
    for (uint32_t i = from + count; i > from; i--) {
        __atomic_store_n(&node->shared[i], node->shared[i - 1], __ATOMIC_RELAXED);
        __atomic_store_n(&node->branch[i], node->branch[i - 1], __ATOMIC_RELAXED);
    }
#else
    memmove(node->shared + from + 1, node->shared + from, count * sizeof(node->shared[0]));
    memmove(node->branch + from + 1, node->branch + from, count * sizeof(node->branch[0]));
#endif
}

/* ---- Ties and prefixes ---- */

static bole_slice key_at(const bl_head_tree *tree, bl_ref ref)
{
    return bl_record_key(tree->arena, bl_arena_at(tree->arena, ref));
}

/* (NODE-5) Of a slot whose head is that of the slot before. `tie`: what a search has seen of them. */
static void set_tie(bl_head_tree *tree, bl_head_node *node, uint32_t slot, bl_head_tie tie)
{
    if (bl_unlikely(tie.shared == 0)) {
        bole_slice key = key_at(tree, node->refs[slot]);
        tie.shared = (uint16_t)bl_slice_common_prefix(key_at(tree, node->refs[slot - 1]), key);
        tie.branch = ((const uint8_t *)key.data)[tie.shared];
    }
    __atomic_store_n(&node->shared[slot], tie.shared, __ATOMIC_RELAXED);
    __atomic_store_n(&node->branch[slot], tie.branch, __ATOMIC_RELAXED);
    node->has_ties = true;
    atomic_store_explicit(&tree->has_ties, true, memory_order_relaxed);
}

/* The ties of a slot that has just been filled: with the one before, and of the one behind it, if below `count`. */
static inline void set_ties(bl_head_tree *tree, bl_head_node *node, uint32_t slot, uint32_t count,
                            bole_slice key, bl_head_tie before, bl_head_tie behind)
{
    if (tree->comparator != NULL)
        return;
    if (slot != 0 && bl_unlikely(node->heads[slot - 1] == node->heads[slot])) {
        before.branch = before.shared < key.size ? ((const uint8_t *)key.data)[before.shared] : 0;
        set_tie(tree, node, slot, before);
    }
    if (slot + 1 < count && bl_unlikely(node->heads[slot + 1] == node->heads[slot]))
        set_tie(tree, node, slot + 1, behind);
}

/* The entry of a record. */
static bl_ref entry_of(const bl_head_tree *tree, bl_ref ref)
{
    const uint8_t *record = bl_arena_at(tree->arena, ref);
    return bl_record_is_version(record) ? bl_record_entry(record) : ref;
}

static void set_prefix(bl_head_node *node, bl_ref entry, bole_slice key, uint32_t prefix_bytes)
{
    bl_debug_assert(prefix_bytes <= key.size);
    uint64_t tail = prefix_bytes >= BL_NODE_HEAD_BYTES
                        ? bl_head64(key.data, key.size, prefix_bytes - BL_NODE_HEAD_BYTES)
                    : prefix_bytes == 0 ? 0
                                        : bl_head64(key.data, prefix_bytes, 0) >> (64 - 8 * prefix_bytes);
    atomic_store_explicit(&node->prefix_bytes, (uint16_t)prefix_bytes, memory_order_relaxed);
    atomic_store_explicit(&node->prefix_tail, tail, memory_order_relaxed);
    atomic_store_explicit(&node->prefix_entry, entry, memory_order_release);
}

/* The prefix of a node with one key: the head then is the key's end, where the next key will most likely differ. */
static uint32_t lonely_prefix(bole_slice key)
{
    return key.size > BL_NODE_HEAD_BYTES ? (uint32_t)key.size - BL_NODE_HEAD_BYTES : 0;
}

/* Make the node's prefix one that `key`, of `entry`, has too. The node is locked, or not published. */
static void admit(bl_head_tree *tree, bl_head_node *node, bl_ref entry, bole_slice key)
{
    uint32_t count = count_of(node);
    if (tree->comparator != NULL)
        return;
    if (count == 0) {
        set_prefix(node, entry, key, lonely_prefix(key));
        return;
    }
    uint32_t before = bl_node_prefix_bytes(node);
    bl_ref owner = atomic_load_explicit(&node->prefix_entry, memory_order_relaxed);
    bole_slice whole = key_at(tree, owner);
    uint32_t after = (uint32_t)bl_slice_common_prefix(bl_slice(whole.data, before), key);
    if (after == before)
        return;
    uint32_t shift = 8 * (before - after);
    uint64_t bytes = bl_head64(whole.data, before, after); /* of the old prefix; zero bytes behind them */
    uint64_t head_before = 0;                              /* of the slot before, as it was */
    for (uint32_t i = 0; i < count; i++) {
        uint64_t head = node->heads[i];
        set_head(node, i, shift >= 64 ? bytes : bytes | head >> shift);
        if (i != 0 && node->heads[i] == node->heads[i - 1] && head != head_before)
            set_tie(tree, node, i, (bl_head_tie){ 0, 0 });
        head_before = head;
    }
    set_prefix(node, owner, whole, after);
    BL_MARK("prefix shortened");
}

static bool has_equal_heads(const bl_head_node *node, uint32_t count)
{
    bool equal = false;
    for (uint32_t i = 1; i < count; i++)
        equal |= node->heads[i] == node->heads[i - 1];
    return equal;
}

/* After a split: lengthen the prefix if heads got too alike. The node is locked, or not published. */
static void regrow(const bl_head_tree *tree, bl_head_node *node)
{
    uint32_t count = count_of(node);
    if (tree->comparator != NULL || count == 0)
        return;
    bl_ref first = entry_of(tree, node->refs[0]);
    uint32_t before = bl_node_prefix_bytes(node);
    uint32_t after;
    if (count == 1) {
        after = lonely_prefix(key_at(tree, first));
    } else {
        uint64_t differing = node->heads[0] ^ node->heads[count - 1];
        uint32_t alike = differing == 0 ? BL_NODE_HEAD_BYTES : (uint32_t)__builtin_clzll(differing) / 8;
        if (alike == 0 || (alike < GROW_BYTES && !has_equal_heads(node, count)))
            return;
        for (uint32_t i = 0; i < count; i++)
            bl_prefetch(bl_arena_at(tree->arena, node->refs[i]));
        after = (uint32_t)bl_slice_common_prefix(key_at(tree, first), key_at(tree, node->refs[count - 1]));
    }
    if (after <= before)
        return;
    for (uint32_t i = 0; i < count; i++) {
        bole_slice key = key_at(tree, node->refs[i]);
        set_head(node, i, bl_head64(key.data, key.size, after));
    }
    set_prefix(node, first, key_at(tree, first), after);
    BL_MARK("prefix lengthened");
}

static uint64_t head_in(const bl_head_tree *tree, const bl_head_node *node, bole_slice key)
{
    return tree->comparator != NULL ? 0 : bl_head64(key.data, key.size, bl_node_prefix_bytes(node));
}

/* ---- Nodes ---- */

static bl_ref new_node(bl_head_tree *tree, uint8_t level)
{
    bl_ref ref = bl_arena_node(tree->arena, level == 0 ? BL_NODE_LEAF_BYTES : BL_NODE_INNER_BYTES);
    bl_head_node *node = bl_node_at(tree->arena, ref);
    node->level = level;
    for (uint32_t i = 0; i < BL_NODE_SLOTS; i++)
        node->heads[i] = HEAD_NONE;
    if (level == 0)
        tree->arena->leaves++;
    else
        tree->arena->inners++;
    return ref;
}

void bl_head_tree_init(bl_head_tree *tree, bl_arena *arena, bl_comparator *comparator)
{
    memset(tree, 0, sizeof(*tree));
    tree->arena = arena;
    tree->comparator = comparator;
    tree->paths = bl_head_paths_for(comparator);
    tree->first_leaf = tree->last_leaf = new_node(tree, 0);
    atomic_store_explicit(&tree->root, tree->first_leaf, memory_order_release);
}

uint64_t bl_head_tree_slack(const bl_arena *arena, uint64_t trees, uint64_t entries)
{
    BL_STATIC_ASSERT(BL_NODE_LEAF_BYTES / SPLIT_INSERTS +
                             BL_NODE_INNER_BYTES / SPLIT_INSERTS / (SPLIT_INSERTS - 1) <
                         BL_TREE_ENTRY_BYTES,
                     "an entry pays for its share of nodes");
    /* (TREE-2) Each tree may get one more root. */
    uint64_t leaves = 2 * arena->leaves, inners = 2 * (arena->inners + trees);
    uint64_t splits = entries * BL_TREE_LEVELS_MAX;
    return (entries < leaves ? entries : leaves) * BL_NODE_LEAF_BYTES +
           (splits < inners ? splits : inners) * BL_NODE_INNER_BYTES;
}

/* Remember in which direction slots are filled. */
static inline void note_slot(bl_head_node *node, uint32_t slot)
{
    bool rises = slot == node->last_slot + 1u;
    bool falls = slot == node->last_slot;
    node->rising = rises ? (uint8_t)(node->rising + (node->rising < STREAK_END)) : 0;
    node->falling = falls ? (uint8_t)(node->falling + (node->falling < STREAK_END)) : 0;
    node->last_slot = (uint8_t)slot;
}

/* Where to cut a full node that is to take `slot`. */
static uint32_t cut_of(const bl_head_node *node, uint32_t slot)
{
    bool streak = (node->rising >= STREAK && slot == node->last_slot + 1u) ||
                  (node->falling >= STREAK && slot == node->last_slot);
    return streak ? slot : count_of(node) / 2;
}

static void clear_streak(bl_head_node *node)
{
    node->rising = node->falling = 0;
    node->last_slot = UINT8_MAX;
}

/* Keep slots [0, cut). The node is locked. */
static void truncate(bl_head_node *node, uint32_t cut)
{
    uint32_t count = count_of(node);
    set_count(node, cut);
    for (uint32_t i = cut; i < count; i++)
        set_head(node, i, HEAD_NONE);
    clear_streak(node);
}

/* Start `node`, not yet published, with slots [from, count) of `other`. */
static void take_slots(bl_head_node *node, const bl_head_node *other, uint32_t from)
{
    uint32_t count = count_of(other) - from;
    memcpy(node->heads, other->heads + from, count * sizeof(node->heads[0]));
    memcpy(node->shared, other->shared + from, count * sizeof(node->shared[0]));
    memcpy(node->branch, other->branch + from, count * sizeof(node->branch[0]));
    node->has_ties = other->has_ties;
    for (uint32_t i = 0; i < count; i++)
        set_ref(node->refs, i, other->refs[from + i]);
    atomic_store_explicit(&node->prefix_bytes, bl_node_prefix_bytes(other), memory_order_relaxed);
    atomic_store_explicit(&node->prefix_tail, atomic_load_explicit(&other->prefix_tail, memory_order_relaxed),
                          memory_order_relaxed);
    atomic_store_explicit(&node->prefix_entry,
                          atomic_load_explicit(&other->prefix_entry, memory_order_relaxed),
                          memory_order_release);
    set_count(node, count);
    clear_streak(node);
}

/* Put a separator and the child right of it into an inner node that is locked and has room. */
static void put_separator(bl_head_tree *tree, bl_head_node *node, uint32_t slot, bl_ref entry, bl_ref child)
{
    uint32_t count = count_of(node);
    bl_assert(count < BL_NODE_SEPARATORS && slot <= count);
    bole_slice key = key_at(tree, entry);
    admit(tree, node, entry, key);
    shift_heads(node->heads, slot, count - slot);
    shift_refs(node->refs, slot, count - slot);
    shift_refs(node->children, slot + 1, count - slot);
    if (node->has_ties)
        shift_ties(node, slot, count - slot);
    set_head(node, slot, head_in(tree, node, key));
    set_ref(node->refs, slot, entry);
    set_ref(node->children, slot + 1, child);
    set_ties(tree, node, slot, count + 1, key, (bl_head_tie){ 0, 0 }, (bl_head_tie){ 0, 0 });
    set_count(node, count + 1);
    note_slot(node, slot);
}

/* A root above the present one, which becomes its only child. A reader at the old root is right as long as that is
 * not split, and sees by its version, or by `root`, when it is. */
static void grow_root(bl_head_tree *tree, bl_head_path *path)
{
    bl_ref old = atomic_load_explicit(&tree->root, memory_order_relaxed);
    uint32_t level = path->top + 1;
    bl_assert(level < BL_TREE_LEVELS_MAX && path->nodes[path->top] == old);
    bl_ref ref = new_node(tree, (uint8_t)level);
    bl_head_node *root = bl_node_at(tree->arena, ref);
    set_ref(root->children, 0, old);
    clear_streak(root);
    atomic_store_explicit(&tree->root, ref, memory_order_release);
    path->top = level;
    path->nodes[level] = ref;
    path->slots[level] = 0;
}

static void split_inner(bl_head_tree *tree, bl_head_path *path, uint32_t level);

/* The parent of the path's node at `level`, with room for one more separator. */
static bl_head_node *roomy_parent(bl_head_tree *tree, bl_head_path *path, uint32_t level)
{
    if (path->top == level)
        grow_root(tree, path);
    if (count_of(bl_node_at(tree->arena, path->nodes[level + 1])) == BL_NODE_SEPARATORS)
        split_inner(tree, path, level + 1);
    return bl_node_at(tree->arena, path->nodes[level + 1]);
}

/* Split the inner node of the path at `level`; the path then goes through the half that it went through before. */
static void split_inner(bl_head_tree *tree, bl_head_path *path, uint32_t level)
{
    bl_head_node *parent = roomy_parent(tree, path, level);
    bl_head_node *node = bl_node_at(tree->arena, path->nodes[level]);
    uint32_t count = count_of(node), slot = path->slots[level];
    uint32_t cut = cut_of(node, slot);
    if (cut == count)
        cut--; /* the separator at `cut` goes up */
    bl_ref right_ref = new_node(tree, (uint8_t)level);
    bl_head_node *right = bl_node_at(tree->arena, right_ref);
    bl_ref separator = node->refs[cut];
    take_slots(right, node, cut + 1);
    for (uint32_t i = cut + 1; i <= count; i++)
        set_ref(right->children, i - cut - 1, node->children[i]);
    regrow(tree, right);

    uint32_t parent_version = lock(parent), version = lock(node);
    truncate(node, cut);
    regrow(tree, node);
    unlock(node, version);
    bl_node_tempt();
    put_separator(tree, parent, path->slots[level + 1], separator, right_ref);
    unlock(parent, parent_version);
    if (slot > cut) {
        path->nodes[level] = right_ref;
        path->slots[level] = (uint8_t)(slot - cut - 1);
        path->slots[level + 1]++;
    }
}

/* The leaf is full and the key stands behind all that it holds, in a row of such keys: give the key a leaf of its
 * own. Nothing moves, so readers of the full leaf go on undisturbed. */
static void append_leaf(bl_head_tree *tree, bl_head_path *path, bl_ref entry, bole_slice key)
{
    bl_head_node *parent = roomy_parent(tree, path, 0);
    bl_head_node *leaf = bl_node_at(tree->arena, path->nodes[0]);
    bl_ref right_ref = new_node(tree, 0);
    bl_head_node *right = bl_node_at(tree->arena, right_ref);
    bl_ref next = atomic_load_explicit(&leaf->next, memory_order_relaxed);
    atomic_store_explicit(&right->next, next, memory_order_relaxed);
    admit(tree, right, entry, key);
    set_head(right, 0, head_in(tree, right, key));
    set_ref(right->refs, 0, entry);
    set_count(right, 1);

    uint32_t version = lock(parent);
    atomic_store_explicit(&leaf->next, right_ref, memory_order_release);
    put_separator(tree, parent, path->slots[1], entry, right_ref);
    unlock(parent, version);
    if (next == 0)
        tree->last_leaf = right_ref;
    tree->splits++;
    BL_MARK("leaf appended");
}

/* Split the full leaf of the path, which then leads to the half that takes the new key. */
static void split_leaf(bl_head_tree *tree, bl_head_path *path, uint32_t cut)
{
    bl_head_node *parent = roomy_parent(tree, path, 0);
    bl_head_node *leaf = bl_node_at(tree->arena, path->nodes[0]);
    bl_ref right_ref = new_node(tree, 0);
    bl_head_node *right = bl_node_at(tree->arena, right_ref);
    bl_ref next = atomic_load_explicit(&leaf->next, memory_order_relaxed);
    atomic_store_explicit(&right->next, next, memory_order_relaxed);
    take_slots(right, leaf, cut);
    regrow(tree, right);
    bl_ref separator = entry_of(tree, right->refs[0]);

    uint32_t parent_version = lock(parent), version = lock(leaf);
    truncate(leaf, cut);
    atomic_store_explicit(&leaf->next, right_ref, memory_order_release);
    regrow(tree, leaf);
    unlock(leaf, version);
    bl_node_tempt();
    put_separator(tree, parent, path->slots[1], separator, right_ref);
    unlock(parent, parent_version);
    if (next == 0)
        tree->last_leaf = right_ref;
    tree->splits++;
    if (path->slots[0] > cut) {
        path->nodes[0] = right_ref;
        path->slots[0] = (uint8_t)(path->slots[0] - cut);
    }
}

/* ---- Inserting ---- */

/* Put a new key into a leaf that has room. `path`: its search's, for the ties; NULL: none was made. */
static inline void put_slot(bl_head_tree *tree, bl_head_node *leaf, uint32_t slot, bl_ref entry,
                            bole_slice key, bool has_prefix, const bl_head_path *path)
{
    uint32_t count = count_of(leaf);
    bl_assert(count < BL_NODE_SLOTS && slot <= count);
    note_slot(leaf, slot);
    bl_head_tie none = { 0, 0 }, before = path != NULL ? path->before : none,
                behind = path != NULL ? path->behind : none;
    if (slot == count && has_prefix && count != 0) {
        set_head(leaf, slot, head_in(tree, leaf, key));
        set_ref(leaf->refs, slot, entry);
        set_ties(tree, leaf, slot, count + 1, key, before, behind);
        set_count(leaf, count + 1);
        return;
    }
    uint32_t version = lock(leaf);
    if (!has_prefix || count == 0)
        admit(tree, leaf, entry, key);
    shift_heads(leaf->heads, slot, count - slot);
    shift_refs(leaf->refs, slot, count - slot);
    if (leaf->has_ties)
        shift_ties(leaf, slot, count - slot);
    set_head(leaf, slot, head_in(tree, leaf, key));
    set_ref(leaf->refs, slot, entry);
    set_ties(tree, leaf, slot, count + 1, key, before, behind);
    set_count(leaf, count + 1);
    unlock(leaf, version);
}

static bool insert_at(bl_head_tree *tree, bl_head_path *path, bole_slice key, bole_slice value, uint64_t tag)
{
    bl_head_node *leaf = bl_node_at(tree->arena, path->nodes[0]);
    uint32_t slot = path->slots[0];
    if (path->found) {
        tree->appending = false;
        set_ref(leaf->refs, slot, bl_record_put_version(tree->arena, leaf->refs[slot], value, tag));
        return false;
    }
    bl_ref entry = bl_record_put_entry(tree->arena, key, value, tag);
    uint32_t count = count_of(leaf);
    tree->appending = slot == count && path->nodes[0] == tree->last_leaf;
    bool has_prefix = path->has_prefix;
    if (bl_unlikely(count == BL_NODE_SLOTS)) {
        uint32_t cut = cut_of(leaf, slot);
        if (cut == count) {
            append_leaf(tree, path, entry, key);
            return true;
        }
        split_leaf(tree, path, cut);
        leaf = bl_node_at(tree->arena, path->nodes[0]);
        slot = path->slots[0];
        has_prefix = false; /* it may be longer now */
    }
    put_slot(tree, leaf, slot, entry, key, has_prefix, path);
    return true;
}

/* Keys in rising order need no search: does the key stand behind all others, and is there room? */
static bool append(bl_head_tree *tree, bole_slice key, bole_slice value, uint64_t tag)
{
    bl_head_node *leaf = bl_node_at(tree->arena, tree->last_leaf);
    uint32_t count = count_of(leaf);
    if (count == 0 || count == BL_NODE_SLOTS)
        return false;
    bole_slice last = key_at(tree, leaf->refs[count - 1]);
    if (bl_compare(tree->comparator, key, last) <= 0)
        return false;
    uint32_t prefix_bytes = bl_node_prefix_bytes(leaf);
    bool has_prefix = key.size >= prefix_bytes && memcmp(key.data, last.data, prefix_bytes) == 0;
    put_slot(tree, leaf, count, bl_record_put_entry(tree->arena, key, value, tag), key, has_prefix, NULL);
    return true;
}

#define NEVER_APPROACHED UINT64_MAX

void bl_head_tree_approach(const bl_head_tree *tree, bole_slice key, bl_head_path *path)
{
    path->splits = NEVER_APPROACHED; /* keys in rising order need no way */
    if (tree->appending)
        return;
    path->splits = tree->splits;
    tree->paths->locate_leaf(tree, key, path);
}

bool bl_head_tree_insert_near(bl_head_tree *tree, bl_head_path *path, bole_slice key, bole_slice value,
                              uint64_t tag)
{
    if (tree->appending && append(tree, key, value, tag))
        return true;
    if (bl_unlikely(path->splits != tree->splits))
        tree->paths->locate_leaf(tree, key, path);
    tree->paths->locate_slot(tree, key, path);
    return insert_at(tree, path, key, value, tag);
}

void bl_head_tree_insert_many(bl_head_tree *tree, const bl_head_item *items, uint32_t count, bool *fresh)
{
    bl_head_path paths[BL_TREE_MANY_MAX];
    bl_assert(count <= BL_TREE_MANY_MAX);
    for (; count != 0 && tree->appending; items++, count--) {
        if (!append(tree, items->key, items->value, items->tag))
            break;
        *fresh++ = true;
    }
    tree->paths->locate_many(tree, items, count, paths);
    for (uint32_t i = 0; i < count; i++)
        fresh[i] = bl_head_tree_insert_near(tree, &paths[i], items[i].key, items[i].value, items[i].tag);
}
