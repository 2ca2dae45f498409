/* SPDX-License-Identifier: MIT */
/* memtable.c -- a memtable: its trees, its memory, its one filter, and its life.
 *
 * LIFE     active -> sealed -> flushing -> flushed; a flush that failed goes back to sealed.
 * MEMORY   Everything is charged to the budget as it is taken and given back at once when the last reference goes.
 *          A reserve counts in entry bytes (bl_memtable_entry_bytes): what was promised and not yet inserted adds up,
 *          and with the worst case of node splits (TREE-2) the arena keeps that much room.
 * FILTER   One for all trees, 1/64 of the memtable; made when there is enough to filter, by a reserve, so that a
 *          store with a few entries stays small.
 *
 * INVARIANTS  (MEMTABLE-1) The arena has room for `promised` and the splits it may cause.
 *             (MEMTABLE-2) When the filter is published it knows every key there is; from then on it is told of each
 *                          new key before its insert returns.
 * THREADS     One writer: tree_for, reserve, insert. Transitions: under the store's mutex. All else: any thread that
 *             holds a reference or is inside an epoch.
 * NOT HERE    The order of keys: head_tree.c. Walking it: memtable_cursor.c. */
#include "base/alloc.h"
#include "base/hash.h"
#include "base/status.h"
#include "core/entry_checksum.h"
#include "memory/memtable_state.h"
#include "platform/page_arena.h"

enum {
    FILTER_FROM_BYTES = 32 * 1024, /* taken by entries, or promised, before a filter is made */
    FILTER_SHARE = 64,
    TREES_FIRST = 4,
    TRAILER_BYTES = 4, /* of a record, where checksums are carried */
};

/* ---- Heap memory that the budget knows ---- */

static void *charged_alloc(bl_memtable *memtable, size_t bytes)
{
    void *data = bl_alloc_aligned(64, bytes);
    if (data != NULL) {
        bl_memory_budget_force(memtable->budget, BL_MEMORY_MEMTABLE, bytes);
        memtable->heap_bytes += bytes;
    }
    return data;
}

static void destroy(bl_memtable *memtable)
{
    bl_memtable_directory *directory = atomic_load_explicit(&memtable->directory, memory_order_relaxed);
    for (uint32_t i = 0; i < bl_memtable_tree_count(memtable); i++)
        bl_free((void *)(uintptr_t)bl_memtable_tree_at(memtable, i));
    while (directory != NULL) {
        bl_memtable_directory *older = directory->older;
        bl_free(directory);
        directory = older;
    }
    if (memtable->filter_memory.lines != NULL) {
        uint64_t bytes = (uint64_t)memtable->filter_memory.count * sizeof(bl_key_filter_line);
        bl_region_free(memtable->filter_memory.lines, bytes);
        bl_memory_budget_release(memtable->budget, BL_MEMORY_MEMTABLE, bytes);
    }
    bl_arena_deinit(&memtable->arena);
    bl_memory_budget_release(memtable->budget, BL_MEMORY_MEMTABLE, memtable->heap_bytes);
    bl_free(memtable);
}

/* ---- Life ---- */

bole_status bl_memtable_create(bl_memory_budget *budget, uint64_t bytes, bl_memtable **out, bole_error *error)
{
    *out = NULL;
    bl_memtable *memtable = bl_alloc_aligned(64, sizeof(*memtable));
    if (memtable == NULL)
        return bl_fail(error, BOLE_NO_MEMORY, "memtable");
    memtable->budget = budget;
    memtable->bytes = bytes;
    memtable->large_value_bytes = UINT64_MAX;
    memtable->heap_bytes = sizeof(*memtable);
    bl_memory_budget_force(budget, BL_MEMORY_MEMTABLE, sizeof(*memtable));
    atomic_init(&memtable->references, 1);
    atomic_init(&memtable->state, BL_MEMTABLE_ACTIVE);
    bl_arena_init(&memtable->arena, budget, bytes);
    *out = memtable;
    return BOLE_OK;
}

void bl_memtable_count_large(bl_memtable *memtable, uint64_t bytes)
{
    bl_assert(bl_memtable_entries(memtable) == 0);
    memtable->large_value_bytes = bytes;
}

uint64_t bl_memtable_large_value_bytes(const bl_memtable *memtable) { return memtable->large_value_bytes; }

void bl_memtable_ref(bl_memtable *memtable)
{
    atomic_fetch_add_explicit(&memtable->references, 1, memory_order_relaxed);
}

void bl_memtable_unref(bl_memtable *memtable)
{
    if (memtable == NULL)
        return;
    uint64_t before = atomic_fetch_sub_explicit(&memtable->references, 1, memory_order_acq_rel);
    bl_assert(before != 0);
    if (before == 1)
        destroy(memtable);
}

void bl_memtable_transition(bl_memtable *memtable, bl_memtable_state to)
{
    bl_memtable_state from = bl_memtable_state_of(memtable);
    bl_assert((from == BL_MEMTABLE_ACTIVE && to == BL_MEMTABLE_SEALED) ||
              (from == BL_MEMTABLE_SEALED && to == BL_MEMTABLE_FLUSHING) ||
              (from == BL_MEMTABLE_FLUSHING && (to == BL_MEMTABLE_FLUSHED || to == BL_MEMTABLE_SEALED)));
    atomic_store_explicit(&memtable->state, to, memory_order_release);
}

bl_memtable_state bl_memtable_state_of(const bl_memtable *memtable)
{
    return (bl_memtable_state)atomic_load_explicit(&memtable->state, memory_order_acquire);
}

/* ---- Trees by table ---- */

static uint32_t slot_of(uint32_t table, uint32_t slots)
{
    return table * UINT32_C(2654435769) >> 7 & (slots - 1);
}

static void list_tree(bl_memtable_directory *directory, bl_memtable_tree *tree, uint32_t order)
{
    uint32_t slots = 2 * directory->capacity, at = slot_of(tree->table, slots);
    while (atomic_load_explicit(&directory->slots[at], memory_order_relaxed) != NULL)
        at = (at + 1) & (slots - 1);
    atomic_store_explicit(&directory->slots[slots + order], tree, memory_order_relaxed);
    atomic_store_explicit(&directory->slots[at], tree, memory_order_release);
}

/* A directory with room for one tree more. */
static bl_memtable_directory *roomy_directory(bl_memtable *memtable)
{
    bl_memtable_directory *directory = atomic_load_explicit(&memtable->directory, memory_order_relaxed);
    uint32_t count = bl_memtable_tree_count(memtable);
    if (directory != NULL && count < directory->capacity)
        return directory;
    uint32_t capacity = directory == NULL ? TREES_FIRST : 2 * directory->capacity;
    bl_memtable_directory *larger = charged_alloc(memtable, sizeof(*larger) + 3 * (size_t)capacity *
                                                                                  sizeof(larger->slots[0]));
    if (larger == NULL)
        return NULL;
    larger->older = directory;
    larger->capacity = capacity;
    bl_assert(directory != NULL || count == 0);
    for (uint32_t i = 0; i < count; i++)
        list_tree(larger,
                  atomic_load_explicit(&directory->slots[2 * directory->capacity + i], memory_order_relaxed),
                  i);
    atomic_store_explicit(&memtable->directory, larger, memory_order_release);
    return larger;
}

static bl_memtable_tree *find_tree(const bl_memtable *memtable, uint32_t table)
{
    bl_memtable_directory *directory = atomic_load_explicit(&memtable->directory, memory_order_acquire);
    if (directory == NULL)
        return NULL;
    uint32_t slots = 2 * directory->capacity, at = slot_of(table, slots);
    for (;; at = (at + 1) & (slots - 1)) {
        bl_memtable_tree *tree = atomic_load_explicit(&directory->slots[at], memory_order_acquire);
        if (tree == NULL || tree->table == table)
            return tree;
    }
}

const bl_memtable_tree *bl_memtable_find_tree(const bl_memtable *memtable, uint32_t table)
{
    return find_tree(memtable, table);
}

/* MEMTABLE-1, with `more` bytes besides. */
static bole_status keep_room(bl_memtable *memtable, uint64_t more, bole_error *error)
{
    uint64_t entries = memtable->promised / (BL_RECORD_VERSION_BYTES + BL_TREE_ENTRY_BYTES);
    uint64_t slack = bl_head_tree_slack(&memtable->arena, bl_memtable_tree_count(memtable) + 1, entries);
    return bl_arena_reserve(&memtable->arena, memtable->promised + slack + more, error);
}

bl_memtable_tree *bl_memtable_tree_for(bl_memtable *memtable, uint32_t table, bl_comparator *comparator)
{
    bl_memtable_tree *tree = find_tree(memtable, table);
    if (bl_likely(tree != NULL)) {
        bl_debug_assert(tree->heads.comparator == comparator);
        return tree;
    }
    bl_assert(bl_memtable_state_of(memtable) == BL_MEMTABLE_ACTIVE);
    bl_memtable_directory *directory = roomy_directory(memtable);
    if (directory == NULL || keep_room(memtable, BL_NODE_LEAF_BYTES, NULL) != BOLE_OK)
        return NULL;
    tree = charged_alloc(memtable, sizeof(*tree));
    if (tree == NULL)
        return NULL;
    tree->memtable = memtable;
    tree->table = table;
    tree->salt = table * UINT64_C(0x9e3779b97f4a7c15);
    atomic_init(&tree->sequence_min, UINT64_MAX);
    bl_head_tree_init(&tree->heads, &memtable->arena, comparator);
    uint32_t count = bl_memtable_tree_count(memtable);
    list_tree(directory, tree, count);
    atomic_store_explicit(&memtable->tree_count, count + 1, memory_order_release);
    return tree;
}

uint32_t bl_memtable_tree_count(const bl_memtable *memtable)
{
    return atomic_load_explicit(&memtable->tree_count, memory_order_acquire);
}

const bl_memtable_tree *bl_memtable_tree_at(const bl_memtable *memtable, uint32_t index)
{
    bl_memtable_directory *directory = atomic_load_explicit(&memtable->directory, memory_order_acquire);
    return atomic_load_explicit(&directory->slots[2 * directory->capacity + index], memory_order_relaxed);
}

/* ---- The filter ---- */

static void filter_tree(bl_key_filter *filter, const bl_memtable_tree *tree)
{
    bl_head_leaf leaf;
    for (bl_ref ref = tree->heads.first_leaf; ref != 0; ref = leaf.next) {
        bl_head_leaf_copy(&tree->heads, ref, &leaf);
        for (uint32_t i = 0; i < leaf.count; i++) {
            bole_slice key = bl_record_key(tree->heads.arena, bl_arena_at(tree->heads.arena, leaf.refs[i]));
            bl_key_filter_add(filter, bl_hash(key.data, key.size) ^ tree->salt);
        }
    }
}

static bole_status make_filter(bl_memtable *memtable, bole_error *error)
{
    uint64_t bytes = memtable->bytes / FILTER_SHARE / BL_PAGE_BYTES * BL_PAGE_BYTES;
    bytes = bytes < BL_PAGE_BYTES ? BL_PAGE_BYTES : bytes;
    bytes = bytes > BL_CHUNK_BYTES ? bytes / BL_CHUNK_BYTES * BL_CHUNK_BYTES : bytes;
    bl_key_filter *filter = &memtable->filter_memory;
    filter->lines = bl_region_alloc(bytes);
    if (filter->lines == NULL)
        return bl_fail(error, BOLE_NO_MEMORY, "filter of a memtable");
    filter->count = (uint32_t)(bytes / sizeof(bl_key_filter_line));
    bl_memory_budget_force(memtable->budget, BL_MEMORY_MEMTABLE, bytes);
    for (uint32_t i = 0; i < bl_memtable_tree_count(memtable); i++)
        filter_tree(filter, bl_memtable_tree_at(memtable, i));
    atomic_store_explicit(&memtable->filter, filter, memory_order_release);
    return BOLE_OK;
}

void bl_memtable_prefetch(const bl_memtable_tree *tree, uint64_t hash)
{
    const bl_key_filter *filter = atomic_load_explicit(&tree->memtable->filter, memory_order_acquire);
    if (filter != NULL)
        bl_key_filter_prefetch(filter, hash ^ tree->salt);
    bl_ref root = atomic_load_explicit(&tree->heads.root, memory_order_acquire);
    bl_node_prefetch(bl_node_at(tree->heads.arena, root), false);
}

void bl_memtable_prefetch_many(const bl_memtable_tree *tree, const bl_lookup *lookups, size_t count)
{
    const bl_key_filter *filter = atomic_load_explicit(&tree->memtable->filter, memory_order_acquire);
    for (size_t i = 0; filter != NULL && i < count; i++)
        bl_key_filter_prefetch(filter, lookups[i].hash ^ tree->salt);
    bole_slice keys[BL_TREE_PREFETCH_MAX];
    uint32_t pending = 0;
    for (size_t i = 0; i < count; i++) {
        if (filter == NULL || bl_key_filter_may_contain(filter, lookups[i].hash ^ tree->salt))
            keys[pending++] = lookups[i].key;
        if (pending == BL_TREE_PREFETCH_MAX || (i + 1 == count && pending != 0)) {
            tree->heads.paths->prefetch(&tree->heads, keys, pending);
            pending = 0;
        }
    }
}

/* ---- Writing ---- */

uint64_t bl_memtable_entry_bytes(size_t key_bytes, size_t value_bytes)
{
    uint64_t entry = bl_record_entry_bytes(key_bytes, value_bytes);
    uint64_t version = BL_RECORD_VERSION_BYTES + (uint64_t)value_bytes;
    uint64_t record = entry > version ? entry : version;
    return (record + TRAILER_BYTES + BL_ARENA_UNIT_BYTES - 1) / BL_ARENA_UNIT_BYTES * BL_ARENA_UNIT_BYTES +
           BL_TREE_ENTRY_BYTES;
}

bole_status bl_memtable_reserve(bl_memtable *memtable, uint64_t bytes, bole_error *error)
{
    bl_debug_assert(bl_memtable_state_of(memtable) == BL_MEMTABLE_ACTIVE);
    memtable->promised += bytes;
    bole_status status = BOLE_OK;
    if (bl_unlikely(memtable->filter_memory.lines == NULL) &&
        memtable->promised + bl_memtable_bytes(memtable) >= FILTER_FROM_BYTES)
        status = make_filter(memtable, error);
    if (status == BOLE_OK)
        status = keep_room(memtable, 0, error);
    if (status != BOLE_OK)
        memtable->promised -= bytes;
    return status;
}

static inline void add(_Atomic uint64_t *counter, uint64_t value)
{
    atomic_store_explicit(counter, atomic_load_explicit(counter, memory_order_relaxed) + value,
                          memory_order_relaxed);
}

/* What is known about an insert once it is done. */
static inline void account(bl_memtable_tree *tree, size_t key_bytes, size_t value_bytes, uint64_t tag,
                           bool fresh)
{
    bl_memtable *memtable = tree->memtable;
    uint64_t promised = bl_memtable_entry_bytes(key_bytes, value_bytes);
    memtable->promised -= promised < memtable->promised ? promised : memtable->promised;
    add(&memtable->entries, 1);
    add(&tree->versions, 1);
    add(&tree->keys, fresh);
    add(&tree->tombstones, bl_tag_kind(tag) == BL_KIND_DELETE);
    add(&tree->key_bytes, key_bytes);
    add(&tree->value_bytes, value_bytes);
    if (bl_unlikely(value_bytes >= memtable->large_value_bytes)) {
        add(&tree->large_values, 1);
        add(&tree->large_bytes, value_bytes);
    }
    uint64_t sequence = bl_tag_sequence(tag);
    if (sequence < atomic_load_explicit(&tree->sequence_min, memory_order_relaxed))
        atomic_store_explicit(&tree->sequence_min, sequence, memory_order_relaxed);
    if (sequence >= atomic_load_explicit(&tree->sequence_max, memory_order_relaxed))
        atomic_store_explicit(&tree->sequence_max, sequence, memory_order_relaxed);
}

static inline void insert(bl_memtable_tree *tree, bl_head_path *path, bole_slice key, uint64_t hash,
                          bole_slice value, uint64_t tag)
{
    bl_key_filter *filter = atomic_load_explicit(&tree->memtable->filter, memory_order_relaxed);
    bool fresh = bl_head_tree_insert_near(&tree->heads, path, key, value, tag);
    if (filter != NULL && fresh)
        bl_key_filter_add(filter, hash ^ tree->salt);
    account(tree, key.size, value.size, tag, fresh);
}

/* What stands behind a record: a tag that changes is told, too. */
static uint32_t trailer_of(uint32_t checksum, uint64_t tag)
{
    uint64_t mixed = bl_tag_sequence(tag) * UINT64_C(0x9e3779b97f4a7c15);
    return checksum ^ (uint32_t)(mixed >> 32);
}

__attribute__((noinline, cold)) static void make_trailer(bl_memtable_tree *tree, bole_slice key,
                                                         bole_slice value, uint64_t tag)
{
    uint32_t checksum = bl_entry_checksum(tree->table, (uint8_t)bl_tag_kind(tag), key, value);
    tree->memtable->arena.trailer = trailer_of(checksum, tag);
}

void bl_memtable_approach(const bl_memtable_tree *tree, bole_slice key, bl_head_path *path)
{
    bl_head_tree_approach(&tree->heads, key, path);
}

void bl_memtable_insert_near(bl_memtable_tree *tree, bl_head_path *path, bole_slice key, uint64_t hash,
                             bole_slice value, uint64_t tag)
{
    if (bl_unlikely(tree->memtable->arena.trailer_bytes != 0))
        make_trailer(tree, key, value, tag);
    insert(tree, path, key, hash, value, tag);
}

void bl_memtable_insert(bl_memtable_tree *tree, bole_slice key, uint64_t hash, bole_slice value, uint64_t tag)
{
    bl_head_path path;
    bl_memtable_approach(tree, key, &path);
    bl_memtable_insert_near(tree, &path, key, hash, value, tag);
}

/* ---- Checksums of entries ---- */

void bl_memtable_carry_checksums(bl_memtable *memtable)
{
    bl_assert(bl_memtable_entries(memtable) == 0);
    memtable->arena.trailer_bytes = TRAILER_BYTES;
}

bool bl_memtable_carries_checksums(const bl_memtable *memtable) { return memtable->arena.trailer_bytes != 0; }

void bl_memtable_insert_checked(bl_memtable_tree *tree, bole_slice key, uint64_t hash, bole_slice value,
                                uint64_t tag, uint32_t checksum)
{
    bl_assert(bl_memtable_carries_checksums(tree->memtable));
    tree->memtable->arena.trailer = trailer_of(checksum, tag);
    bl_head_path path;
    bl_memtable_approach(tree, key, &path);
    insert(tree, &path, key, hash, value, tag);
}

bool bl_memtable_holds(const bl_memtable *memtable, bole_slice bytes)
{
    return bl_arena_holds(&memtable->arena, bytes.data, bytes.size);
}

bool bl_memtable_entry_is_whole(const bl_memtable *memtable, uint32_t table, bole_slice key, bole_slice value,
                                uint64_t tag)
{
    const bl_arena *arena = &memtable->arena; /* lengths may have changed, too */
    if (!bl_arena_holds(arena, key.data, key.size) ||
        !bl_arena_holds(arena, value.data, (uint64_t)value.size + TRAILER_BYTES))
        return false;
    uint32_t carried = bl_get_u32((const uint8_t *)value.data + value.size);
    return carried == trailer_of(bl_entry_checksum(table, (uint8_t)bl_tag_kind(tag), key, value), tag);
}

/* ---- Many at once ---- */

BL_STATIC_ASSERT((int)BL_MEMTABLE_BATCH == (int)BL_TREE_MANY_MAX, "a group is one call of the tree's");

/* Up to BL_MEMTABLE_BATCH items of one tree. */
static void insert_group(const bl_memtable_item *items, uint32_t count)
{
    bl_memtable_tree *tree = items[0].tree;
    bl_key_filter *filter = atomic_load_explicit(&tree->memtable->filter, memory_order_relaxed);
    bl_head_item group[BL_MEMTABLE_BATCH];
    bool fresh[BL_MEMTABLE_BATCH];
    uint32_t filled = 0;
    do
        group[filled] = (bl_head_item){ items[filled].key, items[filled].value, items[filled].tag };
    while (++filled < count);
    bl_head_tree_insert_many(&tree->heads, group, count, fresh);
    for (uint32_t i = 0; i < count; i++) {
        if (filter != NULL && fresh[i])
            bl_key_filter_add(filter, items[i].hash ^ tree->salt);
        account(tree, items[i].key.size, items[i].value.size, items[i].tag, fresh[i]);
    }
}

void bl_memtable_insert_batch(const bl_memtable_item *items, size_t count)
{
    for (size_t i = 0; i < count;) {
        uint32_t run = 1, most = items[i].tree->memtable->arena.trailer_bytes == 0 ? BL_MEMTABLE_BATCH : 1;
        while (run < most && i + run < count && items[i + run].tree == items[i].tree)
            run++;
        if (run == 1)
            bl_memtable_insert(items[i].tree, items[i].key, items[i].hash, items[i].value, items[i].tag);
        else
            insert_group(items + i, run);
        i += run;
    }
}

bool bl_memtable_is_full(const bl_memtable *memtable)
{
    return bl_memtable_bytes(memtable) + memtable->promised >= memtable->bytes ||
           bl_arena_room(&memtable->arena) < BL_ARENA_BYTES_MAX / 4;
}

uint64_t bl_memtable_bytes(const bl_memtable *memtable)
{
    return atomic_load_explicit(&memtable->arena.used, memory_order_relaxed);
}

uint64_t bl_memtable_entries(const bl_memtable *memtable)
{
    return atomic_load_explicit(&memtable->entries, memory_order_relaxed);
}

/* ---- Reading ---- */

bool bl_memtable_get(const bl_memtable_tree *tree, bole_slice key, uint64_t hash, uint64_t sequence,
                     uint64_t *tag, bole_slice *value)
{
    *tag = 0;
    *value = bl_slice(NULL, 0);
    const bl_key_filter *filter = atomic_load_explicit(&tree->memtable->filter, memory_order_acquire);
    if (filter != NULL && !bl_key_filter_may_contain(filter, hash ^ tree->salt))
        return false;
    const uint8_t *record = tree->heads.paths->get(&tree->heads, key);
    if (record != NULL)
        record = bl_record_visible(tree->heads.arena, record, sequence);
    if (record == NULL)
        return false;
    *tag = bl_record_tag(record);
    *value = bl_record_value(record);
    return true;
}

void bl_memtable_summarize(const bl_memtable_tree *tree, bl_memtable_summary *out)
{
    *out = (bl_memtable_summary){
        .table = tree->table,
        .keys = atomic_load_explicit(&tree->keys, memory_order_relaxed),
        .versions = atomic_load_explicit(&tree->versions, memory_order_relaxed),
        .tombstones = atomic_load_explicit(&tree->tombstones, memory_order_relaxed),
        .key_bytes = atomic_load_explicit(&tree->key_bytes, memory_order_relaxed),
        .value_bytes = atomic_load_explicit(&tree->value_bytes, memory_order_relaxed),
        .large_values = atomic_load_explicit(&tree->large_values, memory_order_relaxed),
        .large_bytes = atomic_load_explicit(&tree->large_bytes, memory_order_relaxed),
        .sequence_min = atomic_load_explicit(&tree->sequence_min, memory_order_relaxed),
        .sequence_max = atomic_load_explicit(&tree->sequence_max, memory_order_relaxed),
        .comparator = tree->heads.comparator,
    };
    if (out->versions == 0)
        out->sequence_min = 0;
}
