/* SPDX-License-Identifier: MIT */
/* head_paths.h -- the ways down a head tree, once per instruction set: head_paths.c includes this text several times.
 *
 * PATHS_NAME   the suffix of the functions, and their name as a string in PATHS_TEXT
 * PATHS_TARGET the functions' attributes: what instructions they may use
 * PATHS_RANK   (node, head): how many heads of the node are smaller; with PATHS_COMPARE it is not used
 * PATHS_COMPARE 1: a user's order, all heads are 0 and every step compares whole keys
 *
 * A reader's functions return MOVED when the node changed under them; then the descent starts again. `reader` is a
 * constant in each caller, so the writer's functions carry no checks. */

#define PATHS_JOIN_(name, suffix) name##_##suffix
#define PATHS_JOIN(name, suffix) PATHS_JOIN_(name, suffix)
#define PATHS(name) PATHS_JOIN(name, PATHS_NAME)

/* How many keys in slots [low, high) are < key (with `or_equal`: <= key)? By halving. All of them have equal heads, or
 * the order is a user's. `skip` bytes of them are known to be those of `key`, and the head behind those. */
PATHS_TARGET static inline uint32_t PATHS(narrow)(const bl_head_tree *tree, const bl_head_node *node, uint32_t version,
                                                  bole_slice key, uint32_t skip, uint32_t low, uint32_t high,
                                                  bool or_equal, bool *equal, const bool reader)
{
    (void)skip;
    while (low < high) {
        uint32_t middle = (low + high) / 2;
        bl_ref ref = bl_node_ref(node, middle);
        if (reader)
            bl_node_tempt();
        if (reader && !bl_node_unchanged(node, version))
            return MOVED;
        bole_slice other = bl_record_key(tree->arena, bl_arena_at(tree->arena, ref));
#if PATHS_COMPARE
        int order = tree->comparator->compare(tree->comparator->context, key, other);
#else
        int order = compare_behind(key, other, skip);
#endif
        if (order == 0) {
            *equal = true;
            return middle + or_equal;
        }
        if (order > 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

#if !PATHS_COMPARE
/* The same by the ties of the slots, whose heads are all equal: one key is looked at. */
PATHS_TARGET static uint32_t PATHS(among_ties)(const bl_head_tree *tree, const bl_head_node *node, uint32_t version,
                                               bole_slice key, uint32_t skip, uint32_t low, uint32_t high,
                                               bool or_equal, bool *equal, bl_head_path *path, const bool reader)
{
    uint32_t past = skip + BL_NODE_HEAD_BYTES;
    uint32_t candidate = low + 1 == high ? low : NO_CANDIDATE;
    if (candidate == NO_CANDIDATE && bl_likely(key.size >= past))
        candidate = blind_candidate(node, key, past, low, high);
    if (bl_unlikely(candidate == NO_CANDIDATE))
        return PATHS(narrow)(tree, node, version, key, skip, low, high, or_equal, equal, reader);
    bl_ref ref = bl_node_ref(node, candidate);
    if (reader)
        bl_node_tempt();
    if (reader && !bl_node_unchanged(node, version))
        return MOVED;
    const uint8_t *record = bl_arena_at(tree->arena, ref);
    bl_prefetch(record + BL_RECORD_ENTRY_BYTES + past);
    if (reader && node->level == 0) { /* most likely it is the key, and its value is wanted */
        bl_prefetch(record + 64);
        bl_prefetch(record + 128);
    }
    bole_slice other = bl_record_key(tree->arena, record);
    uint32_t shared = skip + (uint32_t)bl_slice_common_prefix(bl_slice((const char *)key.data + skip, key.size - skip),
                                                              bl_slice((const char *)other.data + skip,
                                                                       other.size - skip));
    if (shared == key.size && shared == other.size) {
        *equal = true;
        return candidate + or_equal;
    }
    bl_head_tie before, behind;
    return slot_beside(node, key, other, candidate, shared, low, high, path == NULL ? &before : &path->before,
                       path == NULL ? &behind : &path->behind);
}
#endif

/* How many of the node's keys are < key (with `or_equal`: <= key)? `matched` bytes of the key are common to all
 * keys that the node may hold. `*order`: how the key compares with the node's prefix. `path`, if not NULL, takes the
 * ties with the neighbours, where there are any. */
PATHS_TARGET PATHS_INLINE uint32_t PATHS(slot)(const bl_head_tree *tree, const bl_head_node *node, uint32_t version,
                                                bole_slice key, uint32_t matched, bool or_equal, bool *equal,
                                                int *order, bl_head_path *path, const bool reader)
{
    (void)path;
    *equal = false;
    if (reader)
        bl_node_tempt();
    uint32_t count = bl_node_count(node);
#if PATHS_COMPARE
    *order = 0;
    return PATHS(narrow)(tree, node, version, key, matched, 0, count, or_equal, equal, reader);
#else
    uint32_t prefix_bytes = bl_node_prefix_bytes(node);
    *order = prefix_order(tree, node, version, key, matched, prefix_bytes, reader);
    if (bl_unlikely(*order != 0))
        return *order < 0 ? 0 : *order == 1 ? count : MOVED;
    uint64_t head = bl_head64(key.data, key.size, prefix_bytes);
    uint32_t slot = PATHS_RANK(node, head);
    if (slot >= count)
        return count;
    if (bl_likely(bl_node_head(node, slot) != head))
        return slot;
    uint32_t end = slot + 1;
    while (end < count && bl_node_head(node, end) == head)
        end++;
    if (reader)
        bl_node_tempt();
    if (reader && !bl_node_unchanged(node, version))
        return MOVED;
    return PATHS(among_ties)(tree, node, version, key, prefix_bytes, slot, end, or_equal, equal, path, reader);
#endif
}

/* One step down from an inner node: the child's slot. */
PATHS_TARGET PATHS_INLINE uint32_t PATHS(step)(const bl_head_tree *tree, const bl_head_node *node, uint32_t version,
                                                bole_slice key, bool before, key_bounds *bounds, const bool reader)
{
    bool equal;
    int order;
    uint32_t slot =
        PATHS(slot)(tree, node, version, key, bounds_matched(bounds), !before, &equal, &order, NULL, reader);
    if (order == 0 && slot != MOVED) {
        uint32_t prefix_bytes = bl_node_prefix_bytes(node);
        if (slot != 0 && bounds->low < prefix_bytes)
            bounds->low = prefix_bytes;
        if (slot != bl_node_count(node) && bounds->high < prefix_bytes)
            bounds->high = prefix_bytes;
    }
    return slot;
}

/* The leaf that holds, or would hold, `key` (`before`: the last key below it), and its version. */
PATHS_TARGET static inline const bl_head_node *PATHS(descend)(const bl_head_tree *tree, bole_slice key, bool before,
                                                              key_bounds *bounds, uint32_t *leaf_version)
{
    for (;;) {
        *bounds = (key_bounds){ 0, 0 };
        bl_ref root = atomic_load_explicit(&tree->root, memory_order_acquire);
        const bl_head_node *node = bl_node_at(tree->arena, root);
        bl_node_tempt();
        uint32_t version = bl_node_begin(node);
        if (bl_unlikely(atomic_load_explicit(&tree->root, memory_order_relaxed) != root))
            continue;
        while (node->level != 0) {
            uint32_t slot = PATHS(step)(tree, node, version, key, before, bounds, true);
            if (bl_unlikely(slot == MOVED))
                break;
            bl_ref ref = bl_node_child(node, slot);
            bl_node_tempt();
            if (bl_unlikely(!bl_node_unchanged(node, version)))
                break;
            const bl_head_node *child = bl_node_at(tree->arena, ref);
            bl_node_prefetch(child, may_have_ties(tree));
            bl_node_prefetch_refs(child);
            bl_node_tempt();
            uint32_t child_version = bl_node_begin(child);
            if (bl_unlikely(!bl_node_unchanged(node, version)))
                break;
            node = child;
            version = child_version;
        }
        if (bl_likely(node->level == 0)) {
            *leaf_version = version;
            return node;
        }
        BL_MARK("descent began again");
    }
}

PATHS_TARGET static const uint8_t *PATHS(get)(const bl_head_tree *tree, bole_slice key)
{
    for (;;) {
        key_bounds bounds;
        uint32_t version;
        const bl_head_node *leaf = PATHS(descend)(tree, key, false, &bounds, &version);
        bool equal;
        int order;
        uint32_t slot =
            PATHS(slot)(tree, leaf, version, key, bounds_matched(&bounds), false, &equal, &order, NULL, true);
        if (bl_unlikely(slot == MOVED))
            continue;
        bl_node_tempt();
        bl_ref ref = equal ? bl_node_ref(leaf, slot) : 0;
        if (bl_likely(bl_node_unchanged(leaf, version)))
            return equal ? bl_arena_at(tree->arena, ref) : NULL;
    }
}

PATHS_TARGET static uint32_t PATHS(seek)(const bl_head_tree *tree, bole_slice key, bool before, bl_head_leaf *out)
{
    for (;;) {
        key_bounds bounds;
        uint32_t version;
        const bl_head_node *leaf = PATHS(descend)(tree, key, before, &bounds, &version);
        bl_node_prefetch_refs(leaf);
        bool equal;
        int order;
        uint32_t slot =
            PATHS(slot)(tree, leaf, version, key, bounds_matched(&bounds), false, &equal, &order, NULL, true);
        if (bl_unlikely(slot == MOVED))
            continue;
        bl_node_tempt();
        copy_leaf(leaf, out);
        if (bl_likely(bl_node_unchanged(leaf, version)))
            return slot < out->count ? slot : out->count;
    }
}

/* All keys go down a level at a time, so that the misses of one hide behind those of the others. A key whose way
 * changes meanwhile is left alone. */
PATHS_TARGET static void PATHS(prefetch)(const bl_head_tree *tree, const bole_slice *keys, uint32_t count)
{
    struct way {
        const bl_head_node *node; /* NULL: given up */
        uint32_t version;
        key_bounds bounds;
    } ways[BL_TREE_PREFETCH_MAX];
    bl_ref root = atomic_load_explicit(&tree->root, memory_order_acquire);
    const bl_head_node *top = bl_node_at(tree->arena, root);
    for (uint32_t i = 0; i < count; i++)
        ways[i] = (struct way){ top, bl_node_begin(top), { 0, 0 } };
    for (uint32_t level = top->level; level != 0; level--) {
        for (uint32_t i = 0; i < count; i++) {
            struct way *way = &ways[i];
            if (bl_unlikely(way->node == NULL))
                continue;
            if (level != top->level)
                way->version = bl_node_begin(way->node);
            uint32_t slot = PATHS(step)(tree, way->node, way->version, keys[i], false, &way->bounds, true);
            bl_ref ref = slot == MOVED ? 0 : bl_node_child(way->node, slot);
            bool good = slot != MOVED && bl_node_unchanged(way->node, way->version);
            way->node = good ? bl_node_at(tree->arena, ref) : NULL;
            if (bl_unlikely(!good))
                continue;
            bl_node_prefetch(way->node, may_have_ties(tree));
            bl_node_prefetch_refs(way->node);
        }
    }
    if (PATHS_COMPARE)
        return;
    for (uint32_t i = 0; i < count; i++) {
        const bl_head_node *leaf = ways[i].node;
        if (leaf == NULL)
            continue;
        uint32_t version = bl_node_begin(leaf);
        uint64_t head = bl_head64(keys[i].data, keys[i].size, bl_node_prefix_bytes(leaf));
        uint32_t slot = PATHS_RANK(leaf, head);
        bl_ref ref = slot < bl_node_count(leaf) ? bl_node_ref(leaf, slot) : 0;
        if (ref == 0 || !bl_node_unchanged(leaf, version))
            continue;
        const char *record = bl_arena_at(tree->arena, ref);
        bl_prefetch(record);
        bl_prefetch(record + 64);
    }
}

PATHS_TARGET static void PATHS(locate_slot)(const bl_head_tree *tree, bole_slice key, bl_head_path *path)
{
    const bl_head_node *leaf = bl_node_at(tree->arena, path->nodes[0]);
    int order;
    path->before = path->behind = (bl_head_tie){ 0, 0 };
    path->slots[0] =
        (uint8_t)PATHS(slot)(tree, leaf, 0, key, path->matched, false, &path->found, &order, path, false);
    path->has_prefix = order == 0;
}

PATHS_TARGET static void PATHS(locate_leaf)(const bl_head_tree *tree, bole_slice key, bl_head_path *out)
{
    bl_ref ref = atomic_load_explicit(&tree->root, memory_order_relaxed);
    key_bounds bounds = { 0, 0 };
    out->top = bl_node_at(tree->arena, ref)->level;
    for (uint32_t level = out->top; level != 0; level--) {
        const bl_head_node *node = bl_node_at(tree->arena, ref);
        uint32_t slot = PATHS(step)(tree, node, 0, key, false, &bounds, false);
        out->nodes[level] = ref;
        out->slots[level] = (uint8_t)slot;
        ref = bl_node_child(node, slot);
        bl_node_prefetch(bl_node_at(tree->arena, ref), may_have_ties(tree));
    }
    bl_node_prefetch_refs(bl_node_at(tree->arena, ref));
    out->nodes[0] = ref;
    out->matched = bounds_matched(&bounds);
}

/* All descents take a level at a time, so that the misses of one hide behind those of the others. */
PATHS_TARGET static void PATHS(locate_many)(const bl_head_tree *tree, const bl_head_item *items, uint32_t count,
                                            bl_head_path *out)
{
    bl_ref root = atomic_load_explicit(&tree->root, memory_order_relaxed);
    bl_ref refs[BL_TREE_MANY_MAX];
    key_bounds bounds[BL_TREE_MANY_MAX];
    uint32_t top = bl_node_at(tree->arena, root)->level;
    for (uint32_t i = 0; i < count; i++) {
        refs[i] = root;
        bounds[i] = (key_bounds){ 0, 0 };
        out[i].top = top;
        out[i].splits = tree->splits;
    }
    for (uint32_t level = top; level != 0; level--) {
        for (uint32_t i = 0; i < count; i++) {
            const bl_head_node *node = bl_node_at(tree->arena, refs[i]);
            uint32_t slot = PATHS(step)(tree, node, 0, items[i].key, false, &bounds[i], false);
            out[i].nodes[level] = refs[i];
            out[i].slots[level] = (uint8_t)slot;
            refs[i] = bl_node_child(node, slot);
            const bl_head_node *child = bl_node_at(tree->arena, refs[i]);
            bl_node_prefetch(child, may_have_ties(tree));
            bl_node_prefetch_refs(child);
        }
    }
    for (uint32_t i = 0; i < count; i++) {
        out[i].nodes[0] = refs[i];
        out[i].matched = bounds_matched(&bounds[i]);
#if !PATHS_COMPARE
        const bl_head_node *leaf = bl_node_at(tree->arena, refs[i]);
        uint64_t head = bl_head64(items[i].key.data, items[i].key.size, bl_node_prefix_bytes(leaf));
        uint32_t slot = PATHS_RANK(leaf, head);
        if (slot < bl_node_count(leaf) && bl_node_head(leaf, slot) == head) /* it will be compared, or overwritten */
            bl_prefetch(bl_arena_at(tree->arena, bl_node_ref(leaf, slot)));
#endif
    }
}

static const bl_head_paths PATHS(paths) = {
    .name = PATHS_TEXT,
    .get = PATHS(get),
    .seek = PATHS(seek),
    .prefetch = PATHS(prefetch),
    .locate_leaf = PATHS(locate_leaf),
    .locate_slot = PATHS(locate_slot),
    .locate_many = PATHS(locate_many),
};

#undef PATHS
#undef PATHS_JOIN
#undef PATHS_JOIN_
#undef PATHS_NAME
#undef PATHS_TEXT
#undef PATHS_TARGET
#undef PATHS_RANK
#undef PATHS_COMPARE
