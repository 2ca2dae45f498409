/* SPDX-License-Identifier: MIT */
/* test_head_tree.c -- the B+tree of heads under a memtable, on its own.
 *
 * Method: insert keys of many shapes, and after each stretch check every invariant of every node (check_tree), then
 * compare what each form of the searches finds with a sorted array. Beside a writer: test_memtable.c. */
#include "test.h"

#include "base/alloc.h"
#include "base/assert.h"
#include "base/prng.h"
#include "memory/head_tree.h"
#include "memory/memtable.h"

#include <pthread.h>
#include <stdatomic.h>

enum { KEYS_MAX = 8000, KEY_ROOM = 64 };

typedef struct tree_fixture {
    bl_memory_budget budget;
    bl_arena arena;
    bl_head_tree tree;
    bole_slice keys[KEYS_MAX]; /* sorted by the tree's order */
    uint32_t count;
    uint64_t sequence;
    bl_comparator *comparator;
} tree_fixture;

/* ---- A tree and a sorted array of its keys ---- */

static tree_fixture *fixture_new(bl_comparator *comparator)
{
    tree_fixture *fixture = calloc(1, sizeof(*fixture));
    assert_non_null(fixture);
    bl_memory_budget_init(&fixture->budget, UINT64_MAX / 4, 0);
    bl_arena_init(&fixture->arena, &fixture->budget, 1024 * 1024);
    bole_error error = BOLE_ERROR_INIT;
    assert_ok(bl_arena_reserve(&fixture->arena, BL_NODE_LEAF_BYTES, &error), &error);
    bl_head_tree_init(&fixture->tree, &fixture->arena, comparator);
    fixture->comparator = comparator;
    return fixture;
}

static void fixture_free(tree_fixture *fixture)
{
    bl_arena_deinit(&fixture->arena);
    assert_int_equal(0, bl_memory_budget_total(&fixture->budget));
    for (uint32_t i = 0; i < fixture->count; i++)
        free((void *)(uintptr_t)fixture->keys[i].data);
    free(fixture);
}

/* The number of keys < key. */
static uint32_t rank_of(const tree_fixture *fixture, bole_slice key, bool *found)
{
    uint32_t low = 0, high = fixture->count;
    *found = false;
    while (low < high) {
        uint32_t middle = (low + high) / 2;
        int order = bl_compare(fixture->comparator, key, fixture->keys[middle]);
        if (order == 0)
            *found = true;
        if (order > 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

/* A copy of exactly the key's size, so that a read behind it is found. */
static bole_slice copy_key(bole_slice key)
{
    void *data = malloc(key.size == 0 ? 1 : key.size);
    assert_non_null(data);
    memcpy(data, key.data, key.size);
    return bl_slice(data, key.size);
}

static void reserve(tree_fixture *fixture, uint64_t bytes, uint64_t entries)
{
    bole_error error = BOLE_ERROR_INIT;
    uint64_t slack = bl_head_tree_slack(&fixture->arena, 1, entries);
    assert_ok(bl_arena_reserve(&fixture->arena, bytes + slack, &error), &error);
}

static void model_insert(tree_fixture *fixture, bole_slice key)
{
    bool found;
    uint32_t at = rank_of(fixture, key, &found);
    if (found)
        return;
    assert_true(fixture->count < KEYS_MAX);
    memmove(fixture->keys + at + 1, fixture->keys + at, (fixture->count - at) * sizeof(key));
    fixture->keys[at] = copy_key(key);
    fixture->count++;
}

static void insert(tree_fixture *fixture, bole_slice given)
{
    bole_slice key = copy_key(given), value = key;
    bool found;
    rank_of(fixture, key, &found);
    reserve(fixture, bl_memtable_entry_bytes(key.size, value.size), 1);
    bl_head_path path;
    bl_head_tree_approach(&fixture->tree, key, &path);
    bool fresh = bl_head_tree_insert_near(&fixture->tree, &path, key, value,
                                          BL_TAG(++fixture->sequence, BL_KIND_PUT));
    assert_int_equal(!found, fresh);
    model_insert(fixture, key);
    free((void *)(uintptr_t)key.data);
}

/* ---- Every invariant of every node ---- */

typedef struct tree_walk {
    const tree_fixture *fixture;
    uint32_t keys; /* seen so far */
    bl_ref leaf;   /* the one before, 0 at first */
    uint32_t leaves;
} tree_walk;

static bole_slice record_key(const tree_fixture *fixture, bl_ref ref)
{
    return bl_record_key(&fixture->arena, bl_arena_at(&fixture->arena, ref));
}

static void check_heads(const tree_fixture *fixture, const bl_head_node *node, uint32_t count)
{
    uint32_t prefix_bytes = bl_node_prefix_bytes(node);
    if (count != 0 && prefix_bytes != 0) {
        bole_slice owner = record_key(fixture, node->prefix_entry);
        for (uint32_t i = 0; i < count; i++) {
            bole_slice key = record_key(fixture, node->refs[i]);
            assert_true(key.size >= prefix_bytes && owner.size >= prefix_bytes);
            assert_memory_equal(key.data, owner.data, prefix_bytes);
        }
        uint64_t tail = 0;
        for (uint32_t i = prefix_bytes < 8 ? 0 : prefix_bytes - 8; i < prefix_bytes; i++)
            tail = tail << 8 | ((const uint8_t *)owner.data)[i];
        assert_int_equal(tail, node->prefix_tail);
    }
    for (uint32_t i = 0; i < BL_NODE_SLOTS; i++) {
        if (i >= count) {
            assert_int_equal(UINT64_MAX, node->heads[i]);
            continue;
        }
        bole_slice key = record_key(fixture, node->refs[i]);
        uint64_t head = fixture->comparator != NULL ? 0 : bl_head64(key.data, key.size, prefix_bytes);
        assert_int_equal(head, node->heads[i]);
        if (fixture->comparator != NULL || i == 0 || head != node->heads[i - 1])
            continue;
        bole_slice before = record_key(fixture, node->refs[i - 1]); /* NODE-5 */
        size_t shared = bl_slice_common_prefix(before, key);
        assert_true(node->has_ties && fixture->tree.has_ties);
        assert_int_equal(shared, node->shared[i]);
        assert_int_equal(((const uint8_t *)key.data)[shared], node->branch[i]);
    }
}

/* The subtree holds the next keys of the array, all >= low and < high (data NULL: no bound). */
static void check_node(tree_walk *walk, bl_ref ref, bole_slice low, bole_slice high)
{
    const tree_fixture *fixture = walk->fixture;
    const bl_head_node *node = bl_node_at(&fixture->arena, ref);
    uint32_t count = node->count;
    assert_int_equal(0, node->version % 2);
    assert_true(count <= (node->level == 0 ? BL_NODE_SLOTS : BL_NODE_SEPARATORS));
    check_heads(fixture, node, count);
    for (uint32_t i = 0; i < count; i++) {
        bole_slice key = record_key(fixture, node->refs[i]);
        if (low.data != NULL)
            assert_true(bl_compare(fixture->comparator, key, low) >= 0);
        if (high.data != NULL)
            assert_true(bl_compare(fixture->comparator, key, high) < 0);
    }
    if (node->level == 0) {
        if (walk->leaf == 0)
            assert_int_equal(fixture->tree.first_leaf, ref);
        else
            assert_int_equal(bl_node_at(&fixture->arena, walk->leaf)->next, ref);
        if (low.data != NULL) /* NODE-4 */
            assert_true(count != 0 && bl_slice_equal(low, record_key(fixture, node->refs[0])));
        for (uint32_t i = 0; i < count; i++, walk->keys++) {
            assert_true(walk->keys < fixture->count);
            assert_true(bl_slice_equal(fixture->keys[walk->keys], record_key(fixture, node->refs[i])));
        }
        walk->leaf = ref;
        walk->leaves++;
        return;
    }
    for (uint32_t i = 0; i <= count; i++) {
        assert_int_equal(node->level - 1, bl_node_at(&fixture->arena, node->children[i])->level);
        check_node(walk, node->children[i], i == 0 ? low : record_key(fixture, node->refs[i - 1]),
                   i == count ? high : record_key(fixture, node->refs[i]));
    }
}

/* Returns the number of leaves. */
static uint32_t check_tree(const tree_fixture *fixture)
{
    tree_walk walk = { .fixture = fixture };
    check_node(&walk, fixture->tree.root, bl_slice(NULL, 0), bl_slice(NULL, 0));
    assert_int_equal(fixture->count, walk.keys);
    assert_int_equal(fixture->tree.last_leaf, walk.leaf);
    assert_int_equal(0, bl_node_at(&fixture->arena, walk.leaf)->next);
    assert_int_equal(fixture->arena.leaves, walk.leaves);
    return walk.leaves;
}

/* ---- Searches against the array ---- */

static void check_searches(const tree_fixture *fixture, const bl_head_paths *paths, bole_slice given)
{
    bole_slice key = copy_key(given);
    bool found;
    uint32_t rank = rank_of(fixture, key, &found);
    const uint8_t *record = paths->get(&fixture->tree, key);
    assert_int_equal(found, record != NULL);
    if (found)
        assert_true(bl_slice_equal(key, bl_record_key(&fixture->arena, record)));
    bole_slice neighbours[BL_TREE_PREFETCH_MAX];
    for (uint32_t i = 0; i < BL_TREE_PREFETCH_MAX; i++)
        neighbours[i] = rank + i < fixture->count ? fixture->keys[rank + i] : key;
    if (rank % 8 == 0)
        paths->prefetch(&fixture->tree, neighbours, BL_TREE_PREFETCH_MAX);

    bl_head_leaf leaf;
    uint32_t slot = paths->seek(&fixture->tree, key, false, &leaf);
    while (slot == leaf.count && leaf.next != 0) {
        bl_head_leaf_copy(&fixture->tree, leaf.next, &leaf);
        slot = 0;
    }
    assert_int_equal(rank < fixture->count, slot < leaf.count);
    if (slot < leaf.count)
        assert_true(bl_slice_equal(fixture->keys[rank], record_key(fixture, leaf.refs[slot])));
    slot = paths->seek(&fixture->tree, key, true, &leaf);
    assert_int_equal(rank != 0, slot != 0);
    if (slot != 0)
        assert_true(bl_slice_equal(fixture->keys[rank - 1], record_key(fixture, leaf.refs[slot - 1])));
    free((void *)(uintptr_t)key.data);
}

static const char *const path_names[] = { "avx512", "avx2", "scalar" };

/* Look for every key, and for neighbours that may not be there, with every form of the searches. */
static void check_all_searches(const tree_fixture *fixture)
{
    static uint8_t room[70000];
    for (unsigned p = 0; p < 3; p++) {
        const bl_head_paths *paths = fixture->comparator != NULL ? fixture->tree.paths
                                                                 : bl_head_paths_named(path_names[p]);
        if (paths == NULL)
            continue;
        check_searches(fixture, paths, BOLE_STR(""));
        check_searches(fixture, paths, BOLE_STR("\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff"));
        for (uint32_t i = 0; i < fixture->count; i++) {
            bole_slice key = fixture->keys[i];
            check_searches(fixture, paths, key);
            memcpy(room, key.data, key.size);
            room[key.size] = 0;
            check_searches(fixture, paths, bl_slice(room, key.size + 1));
            if (key.size == 0)
                continue;
            check_searches(fixture, paths, bl_slice(room, key.size - 1));
            room[key.size - 1]++;
            check_searches(fixture, paths, bl_slice(room, key.size));
            room[key.size / 2] ^= 0x41;
            check_searches(fixture, paths, bl_slice(room, key.size));
        }
        if (fixture->comparator != NULL)
            break;
    }
}

/* ---- Keys of many shapes ---- */

typedef enum shape { DECIMAL, BINARY, FEW_BYTES, LONG_PREFIX, FIELDS, RUNS, MIXED, SHAPES } shape;

static bole_slice make_key(bl_prng *prng, shape kind, uint8_t *room)
{
    size_t size = 0;
    switch (kind) {
    case DECIMAL:
        return bl_slice(room, (size_t)sprintf((char *)room, "%016u", (unsigned)bl_prng_below(prng, 100000)));
    case BINARY: bl_prng_fill(prng, room, 16); return bl_slice(room, 16);
    case FEW_BYTES: /* many equal heads, prefixes of others, the empty key */
        size = bl_prng_below(prng, 14);
        for (size_t i = 0; i < size; i++)
            room[i] = "\0\1a\xff"[bl_prng_below(prng, 4)];
        return bl_slice(room, size);
    case LONG_PREFIX:
        size = (size_t)sprintf((char *)room, "/a/common/path/to/all/%u/", (unsigned)bl_prng_below(prng, 30));
        size += (size_t)sprintf((char *)room + size, "%u", (unsigned)bl_prng_below(prng, 300));
        return bl_slice(room, size);
    case FIELDS: /* runs of equal heads longer than a node */
        return bl_slice(room, (size_t)sprintf((char *)room, "user%05u:the-field-%04u",
                                              (unsigned)bl_prng_below(prng, 10),
                                              (unsigned)bl_prng_below(prng, 400)));
    case RUNS:
        size = bl_prng_below(prng, KEY_ROOM);
        memset(room, bl_prng_chance(prng, 2) ? 0 : 0xff, size);
        if (size != 0 && bl_prng_chance(prng, 2))
            room[bl_prng_below(prng, size)] = (uint8_t)bl_prng_next(prng);
        return bl_slice(room, size);
    default: return make_key(prng, (shape)bl_prng_below(prng, MIXED), room);
    }
}

/* ---- Tests ---- */

/* Goal: keys of every shape in random order keep all invariants, and all searches find what is there. */
static void random_keys_of_every_shape_are_found(void **state)
{
    (void)state;
    uint64_t seed = test_seed(1);
    for (shape kind = 0; kind < SHAPES; kind++) {
        bl_prng prng;
        bl_prng_init(&prng, seed + kind);
        tree_fixture *fixture = fixture_new(NULL);
        for (unsigned i = 0; i < 2500; i++) {
            uint8_t room[KEY_ROOM + 1];
            insert(fixture, make_key(&prng, kind, room));
            if (i % 500 == 499 || i < 3)
                check_tree(fixture);
        }
        check_all_searches(fixture);
        fixture_free(fixture);
    }
#ifdef BL_CHECKS
    assert_true(bl_mark_count("prefix shortened") > 0);
    assert_true(bl_mark_count("prefix lengthened") > 0);
#endif
}

static void insert_number(tree_fixture *fixture, uint32_t number)
{
    char text[32];
    insert(fixture, bl_slice(text, (size_t)snprintf(text, sizeof(text), "key%09u", (unsigned)number)));
}

/* Goal: rising keys, falling keys and several rising streams leave their leaves nearly full. */
static void ordered_keys_leave_full_leaves(void **state)
{
    (void)state;
    for (unsigned way = 0; way < 3; way++) {
        tree_fixture *fixture = fixture_new(NULL);
        for (uint32_t i = 0; i < 5000; i++)
            insert_number(fixture, way == 0 ? i : way == 1 ? 5000 - i : i % 5 * 100000 + i / 5);
        uint32_t leaves = check_tree(fixture);
        assert_in_range(leaves, 5000 / BL_NODE_SLOTS, way == 2 ? 5000 / 48 : 5000 / 60);
        check_all_searches(fixture);
        fixture_free(fixture);
    }
#ifdef BL_CHECKS
    assert_true(bl_mark_count("leaf appended") > 0);
#endif
}

/* Goal: the tree is right at each step of its growth from empty, also where the second key is a prefix of the first,
 * or longer, or differs in its first byte. */
static void first_keys_set_and_shorten_the_prefix(void **state)
{
    (void)state;
    static const char *const texts[][4] = { { "abcdefghijklmnopq", "abcdefghijklmnop", "abc", "" },
                                            { "", "a", "ab", "abcdefghijklmnopqrstuvwxyz" },
                                            { "zzzzzzzzzzzzzzzz", "zzzzzzzzzzzzzzzy", "a", "zzzzzzzz" },
                                            { "same-head-1", "same-head-", "same-head-12345678", "same" } };
    for (unsigned t = 0; t < 4; t++) {
        tree_fixture *fixture = fixture_new(NULL);
        check_tree(fixture);
        check_all_searches(fixture);
        for (unsigned i = 0; i < 4; i++) {
            insert(fixture, bl_slice(texts[t][i], strlen(texts[t][i])));
            check_tree(fixture);
            check_all_searches(fixture);
        }
        fixture_free(fixture);
    }
}

/* Goal: keys of 64 KiB that differ in their last bytes only, and their prefixes. */
static void longest_keys_with_long_prefixes_are_told_apart(void **state)
{
    (void)state;
    tree_fixture *fixture = fixture_new(NULL);
    static uint8_t room[BOLE_KEY_BYTES_MAX];
    memset(room, 'x', sizeof(room));
    bl_prng prng;
    bl_prng_init(&prng, 7);
    for (unsigned i = 0; i < 300; i++) {
        size_t size = sizeof(room) - bl_prng_below(&prng, 4);
        uint64_t bits = bl_prng_next(&prng);
        room[size - 1] = (uint8_t)(bits & 0x3f);
        room[size - 3] = (uint8_t)(bits >> 8 & 3);
        insert(fixture, bl_slice(room, size));
        room[size - 1] = room[size - 3] = 'x';
    }
    check_tree(fixture);
    check_all_searches(fixture);
    fixture_free(fixture);
}

static int compare_backward(void *context, bole_slice a, bole_slice b)
{
    (void)context;
    return bl_slice_compare(b, a);
}

/* Goal: with a user's order nothing relies on heads. */
static void users_order_is_kept(void **state)
{
    (void)state;
    static const bole_comparator backward = { "backward", NULL, compare_backward };
    for (shape kind = 0; kind < SHAPES; kind++) {
        bl_prng prng;
        bl_prng_init(&prng, 11 + kind);
        tree_fixture *fixture = fixture_new(&backward);
        assert_string_equal("compare", fixture->tree.paths->name);
        for (unsigned i = 0; i < 1500; i++) {
            uint8_t room[KEY_ROOM + 1];
            insert(fixture, make_key(&prng, kind, room));
        }
        for (uint32_t i = 0; i < 500; i++) /* and in rising order */
            insert_number(fixture, 1000 - i);
        check_tree(fixture);
        check_all_searches(fixture);
        fixture_free(fixture);
    }
}

/* Goal: many at once, and many in two steps each, give the tree that one by one gives, with keys doubled in the batch
 * and with splits in it. */
static void inserting_many_is_inserting_each(void **state)
{
    (void)state;
    uint64_t seed = test_seed(5);
    for (shape kind = 0; kind < SHAPES; kind++) {
        bl_prng prng;
        bl_prng_init(&prng, seed + kind);
        tree_fixture *fixture = fixture_new(NULL);
        for (unsigned i = 0; i < 400; i++) {
            uint8_t rooms[BL_TREE_MANY_MAX][KEY_ROOM + 1];
            bl_head_item items[BL_TREE_MANY_MAX];
            bool fresh[BL_TREE_MANY_MAX], expected[BL_TREE_MANY_MAX];
            uint32_t count = 1 + (uint32_t)bl_prng_below(&prng, BL_TREE_MANY_MAX);
            for (uint32_t j = 0; j < count; j++) {
                items[j].key = make_key(&prng, kind, rooms[j]);
                if (j > 0 && bl_prng_chance(&prng, 8))
                    items[j].key = items[j - 1].key;
                items[j].value = items[j].key;
                items[j].tag = BL_TAG(++fixture->sequence, BL_KIND_PUT);
                bool found;
                rank_of(fixture, items[j].key, &found);
                expected[j] = !found;
                model_insert(fixture, items[j].key);
                reserve(fixture, bl_memtable_entry_bytes(KEY_ROOM, KEY_ROOM) * count, count);
            }
            bl_head_path paths[BL_TREE_MANY_MAX];
            for (uint32_t j = 0; i % 2 != 0 && j < count; j++)
                bl_head_tree_approach(&fixture->tree, items[j].key, &paths[j]);
            for (uint32_t j = 0; i % 2 != 0 && j < count; j++)
                fresh[j] = bl_head_tree_insert_near(&fixture->tree, &paths[j], items[j].key, items[j].value,
                                                    items[j].tag);
            if (i % 2 == 0)
                bl_head_tree_insert_many(&fixture->tree, items, count, fresh);
            assert_memory_equal(expected, fresh, count * sizeof(bool));
        }
        check_tree(fixture);
        check_all_searches(fixture);
        fixture_free(fixture);
    }
}

/* Goal: what inserts take in nodes never exceeds what a reserve sets aside for them (TREE-2), also when each insert
 * hits another full leaf. Method: fill leaves by rising keys, then insert between them in stretches. */
static void splits_stay_within_the_reserve(void **state)
{
    (void)state;
    uint64_t seed = test_seed(9);
    bl_prng prng;
    bl_prng_init(&prng, seed);
    for (unsigned round = 0; round < 12; round++) {
        tree_fixture *fixture = fixture_new(NULL);
        for (uint32_t i = 0; i < 4000; i++)
            insert_number(fixture, i * 1000);
        while (fixture->count < 5500) {
            const uint32_t strides[] = { 64, 1, 7 };
            uint32_t entries = 1 + (uint32_t)bl_prng_below(&prng, 300), stride = strides[round / 4];
            uint64_t used = fixture->arena.used, promised = 0;
            uint64_t slack = bl_head_tree_slack(&fixture->arena, 1, entries);
            uint32_t start = (uint32_t)bl_prng_below(&prng, 4000);
            for (uint32_t i = 0; i < entries; i++) {
                uint32_t number = (start + i * stride) % 4000 * 1000 + 1 +
                                  (uint32_t)bl_prng_below(&prng, 999);
                insert_number(fixture, round % 2 == 0 ? number : 4000 * 1000 - number);
                promised += bl_memtable_entry_bytes(12, 12);
            }
            assert_true(fixture->arena.used - used <= promised + slack);
        }
        check_tree(fixture);
        fixture_free(fixture);
    }
}

/* Goal: the same where the streaks that cut nodes are older than the reserve. Method: each leaf is filled by keys that
 * fall towards its first one; then one more cuts it there and leaves all others in a full node; two more split that. */
static void cuts_of_old_streaks_stay_within_the_reserve(void **state)
{
    (void)state;
    enum { LEAVES = 40, STEP = 1000, HALF = BL_NODE_SLOTS / 2 };
    tree_fixture *fixture = fixture_new(NULL);
    for (uint32_t i = 0; i < LEAVES * BL_NODE_SLOTS; i++)
        insert_number(fixture, i * STEP);
    for (uint32_t i = 0; i < 2 * LEAVES; i++)
        for (uint32_t j = 1; j <= HALF; j++)
            insert_number(fixture, i * HALF * STEP + STEP - j);
    uint64_t leaves = fixture->arena.leaves, used = fixture->arena.used, promised = 0;
    uint64_t slack = bl_head_tree_slack(&fixture->arena, 1, 3 * 2 * LEAVES);
    for (uint32_t i = 0; i < 2 * LEAVES; i++)
        for (uint32_t j = 0; j < 3; j++) {
            insert_number(fixture, i * HALF * STEP + (j == 0 ? STEP - HALF - 1 : (2 * j + 1) * STEP + 1));
            promised += bl_memtable_entry_bytes(12, 12);
        }
    assert_int_equal(2 * leaves, fixture->arena.leaves - leaves);
    assert_true(fixture->arena.used - used <= promised + slack);
    check_tree(fixture);
    fixture_free(fixture);
}

/* ---- Beside a writer ---- */

#ifdef BL_CHECKS
/* What a writer does in the middle of a reader's search: at one of the moments that the search leaves to others. */
static struct {
    tree_fixture *fixture;
    bl_prng *prng;
    shape kind;
    uint64_t moments, at;
    bool done;
} meanwhile;

static void write_meanwhile(void)
{
    if (meanwhile.done || meanwhile.moments++ != meanwhile.at)
        return;
    meanwhile.done = true; /* the writer's own moments are nobody's */
    for (uint32_t i = meanwhile.fixture->count / 2 + 100; i > 0;
         i--) { /* leaves split, and the nodes above them */
        uint8_t room[KEY_ROOM + 1];
        insert(meanwhile.fixture, make_key(meanwhile.prng, meanwhile.kind, room));
    }
}

typedef enum search { GET, SEEK, SEEK_BEFORE, PREFETCH, COPY, COPY_LAST, SEARCHES } search;

static void check_search_beside_a_writer(tree_fixture *fixture, const bl_head_paths *paths, search what,
                                         uint32_t rank)
{
    bole_slice key = fixture->keys[rank], last = fixture->keys[fixture->count - 1];
    bole_slice before = rank == 0 ? bl_slice(NULL, 0) : fixture->keys[rank - 1], keys[BL_TREE_PREFETCH_MAX];
    const uint8_t *record;
    bl_head_leaf leaf;
    uint32_t slot;
    switch (what) {
    case GET:
        record = paths->get(&fixture->tree, key);
        assert_non_null(record);
        assert_true(bl_slice_equal(key, bl_record_key(&fixture->arena, record)));
        break;
    case SEEK:
        slot = paths->seek(&fixture->tree, key, false, &leaf);
        for (; slot == leaf.count; slot = 0) {
            assert_int_not_equal(leaf.next, 0);
            bl_head_leaf_copy(&fixture->tree, leaf.next, &leaf);
        }
        assert_true(bl_slice_equal(key, record_key(fixture, leaf.refs[slot])));
        break;
    case SEEK_BEFORE: /* none of the keys that were there before is passed over */
        slot = paths->seek(&fixture->tree, key, true, &leaf);
        assert_true(slot != 0 || rank == 0);
        if (slot != 0)
            assert_true(bl_compare(fixture->comparator, record_key(fixture, leaf.refs[slot - 1]), key) < 0);
        if (rank != 0)
            assert_true(bl_compare(fixture->comparator, record_key(fixture, leaf.refs[slot - 1]), before) >=
                        0);
        break;
    case PREFETCH:
        for (uint32_t i = 0; i < BL_TREE_PREFETCH_MAX; i++)
            keys[i] = fixture->keys[(rank + 7 * i) % fixture->count];
        paths->prefetch(&fixture->tree, keys, BL_TREE_PREFETCH_MAX);
        break;
    case COPY: /* a leaf's lower bound never moves */
        key = fixture->keys[0];
        bl_head_leaf_copy(&fixture->tree, fixture->tree.first_leaf, &leaf);
        assert_true(leaf.count != 0);
        assert_true(bl_compare(fixture->comparator, record_key(fixture, leaf.refs[0]), key) <= 0);
        break;
    default:
        bl_head_leaf_copy_last(&fixture->tree, &leaf);
        assert_int_equal(leaf.next, 0);
        assert_true(bl_compare(fixture->comparator, record_key(fixture, leaf.refs[leaf.count - 1]), last) >=
                    0);
    }
}

/* Goal (NODE-1, NODE-2): whatever a writer does, at whichever moment of a search, the search finds what was there
 * before. Method: each moment in turn, of each search in each of its forms, for keys of every shape. */
static void no_moment_of_a_search_is_a_writers(void **state)
{
    (void)state;
    static const bole_comparator backward = { "backward", NULL, compare_backward };
    uint64_t seed = test_seed(13), marked = bl_mark_count("descent began again");
    for (unsigned c = 0; c < 4 * SHAPES * SEARCHES * 3; c++) {
        static const uint32_t sizes[] = { 60, 250, 5000 }; /* trees of one, two and three levels */
        shape kind = c / 12 % SHAPES;
        search what = c / 12 / SHAPES;
        uint32_t p = c % 4, size = sizes[c / 4 % 3];
        bool more = size < 5000 || (kind == BINARY && what == PREFETCH && p == 2); /* long to make */
        for (uint64_t at = 0; more; at++) {
            bl_prng prng;
            bl_prng_init(&prng, seed + kind);
            tree_fixture *fixture = fixture_new(p == 3 ? &backward : NULL);
            const bl_head_paths *paths = p == 3 ? fixture->tree.paths : bl_head_paths_named(path_names[p]);
            for (uint32_t i = 0; i < size; i++) {
                uint8_t room[KEY_ROOM + 1];
                insert(fixture, make_key(&prng, kind, room));
            }
            meanwhile.fixture = fixture, meanwhile.prng = &prng, meanwhile.kind = kind;
            meanwhile.moments = 0, meanwhile.at = at, meanwhile.done = false;
            bl_node_tempter = write_meanwhile;
            if (paths != NULL)
                check_search_beside_a_writer(fixture, paths, what, (uint32_t)(at * 37) % fixture->count);
            bl_node_tempter = NULL;
            more = meanwhile.done;
            check_tree(fixture);
            fixture_free(fixture);
        }
    }
    assert_true(bl_mark_count("descent began again") > marked);
}

static _Thread_local bool reads;
static _Atomic uint64_t reader_moments;
static _Atomic bool ended;

/* The writer stays in the middle of a change until a reader has come to it, and for a while then. */
static void wait_for_a_reader(void)
{
    if (reads) {
        reader_moments++;
        return;
    }
    uint64_t seen = reader_moments;
    for (int i = 0; i < 100 && reader_moments == seen; i++)
        usleep(100);
    usleep(1000);
}

static void *read_all_the_time(void *argument)
{
    const tree_fixture *fixture = argument;
    reads = true;
    while (!ended)
        assert_non_null(fixture->tree.paths->get(&fixture->tree, BOLE_STR("key000000000")));
    return NULL;
}

/* Goal (NODE-1): a reader that meets a node in the middle of a change waits, and finds what was there. */
static void a_reader_waits_for_a_change_to_end(void **state)
{
    (void)state;
    pthread_t reader;
    tree_fixture *fixture = fixture_new(NULL);
    for (uint32_t i = 0; i < 300; i++)
        insert_number(fixture, i * 1000);
    ended = false;
    bl_node_tempter = wait_for_a_reader;
    assert_int_equal(pthread_create(&reader, NULL, read_all_the_time, fixture), 0);
    for (uint32_t i = 0; i < 300; i++)
        insert_number(fixture, (i * 7) % 300 * 1000 + 500);
    ended = true;
    assert_int_equal(pthread_join(reader, NULL), 0);
    bl_node_tempter = NULL;
    assert_true(reader_moments > 0);
    check_tree(fixture);
    fixture_free(fixture);
}
#endif

/* Goal: the same for one insert that splits a node of each level. Method: rising keys leave leaves and root full. */
static void one_insert_on_full_levels_stays_within_the_reserve(void **state)
{
    (void)state;
    tree_fixture *fixture = fixture_new(NULL);
    for (uint32_t i = 0; i < BL_NODE_SLOTS * BL_NODE_SLOTS; i++)
        insert_number(fixture, i * 10);
    assert_int_equal(1, fixture->arena.inners);
    uint64_t used = fixture->arena.used, slack = bl_head_tree_slack(&fixture->arena, 1, 1);
    insert_number(fixture, BL_NODE_SLOTS * BL_NODE_SLOTS / 2 * 10 + 5);
    assert_int_equal(3, fixture->arena.inners);
    assert_true(fixture->arena.used - used <= bl_memtable_entry_bytes(12, 12) + slack);
    check_tree(fixture);
    fixture_free(fixture);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_insert_on_full_levels_stays_within_the_reserve),
        cmocka_unit_test(cuts_of_old_streaks_stay_within_the_reserve),
        cmocka_unit_test(first_keys_set_and_shorten_the_prefix),
        cmocka_unit_test(random_keys_of_every_shape_are_found),
        cmocka_unit_test(ordered_keys_leave_full_leaves),
        cmocka_unit_test(longest_keys_with_long_prefixes_are_told_apart),
        cmocka_unit_test(users_order_is_kept),
        cmocka_unit_test(inserting_many_is_inserting_each),
        cmocka_unit_test(splits_stay_within_the_reserve),
#ifdef BL_CHECKS
        cmocka_unit_test(no_moment_of_a_search_is_a_writers),
        cmocka_unit_test(a_reader_waits_for_a_change_to_end),
#endif
    };
    return cmocka_run_group_tests_name("head_tree", tests, NULL, NULL);
}
