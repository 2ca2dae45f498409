/* SPDX-License-Identifier: MIT */
/* micro_memtable.c -- what a memtable costs: inserts, gets, misses, seeks and steps, in nanoseconds.
 *
 * usage: micro_memtable [entries] [value bytes] [avx512|avx2|scalar]
 * Keys are 16 decimal digits. */
#include "base/hash.h"
#include "base/prng.h"
#include "memory/memtable_state.h"
#include "micro_clock.h"

enum { KEY_BYTES = 16, ROUNDS = 3, BATCH = 64 };

typedef struct bench_state {
    uint64_t entries;
    size_t value_bytes;
    char *keys;   /* in random order */
    char *probes; /* the same keys in another order */
    uint64_t *hashes;
    const char *paths;
    bl_memory_budget budget;
} bench_state;

static void make_key(char *out, uint64_t number)
{
    for (unsigned digit = KEY_BYTES; digit-- > 0; number /= 10)
        out[digit] = (char)('0' + number % 10);
}

static void shuffle(char *keys, uint64_t count, uint64_t seed)
{
    bl_prng prng;
    bl_prng_init(&prng, seed);
    for (uint64_t i = count - 1; i > 0; i--) {
        uint64_t j = bl_prng_below(&prng, i + 1);
        char swap[KEY_BYTES];
        memcpy(swap, keys + i * KEY_BYTES, KEY_BYTES);
        memcpy(keys + i * KEY_BYTES, keys + j * KEY_BYTES, KEY_BYTES);
        memcpy(keys + j * KEY_BYTES, swap, KEY_BYTES);
    }
}

static bole_slice key_of(const char *keys, uint64_t index)
{
    return bl_slice(keys + index * KEY_BYTES, KEY_BYTES);
}

static bl_memtable *make(bench_state *bench, bl_memtable_tree **tree)
{
    bl_memtable *memtable;
    if (bl_memtable_create(&bench->budget, UINT64_C(64) << 20, &memtable, NULL) != BOLE_OK)
        abort();
    *tree = bl_memtable_tree_for(memtable, 0, NULL);
    if (*tree == NULL)
        abort();
    if (bench->paths != NULL)
        (*tree)->heads.paths = bl_head_paths_named(bench->paths);
    return memtable;
}

typedef enum fill_order {
    RANDOM,
    RISING,
    FALLING,
    OVERWRITE,
    BATCHED,
    BATCHED_RISING,
    BATCHED_OVERWRITE,
    ORDERS
} fill_order;
static const char *const order_names[ORDERS] = { "insert random",         "insert rising",
                                                 "insert falling",        "overwrite random",
                                                 "insert batch random",   "insert batch rising",
                                                 "overwrite batch random" };

/* Insert every key once in the given order; `name` NULL: unmeasured. */
static void fill(bench_state *bench, bl_memtable *memtable, bl_memtable_tree *tree, fill_order order,
                 uint64_t sequence, const char *name)
{
    static char value[65536];
    bole_slice bytes = bl_slice(value, bench->value_bytes);
    uint64_t each = bl_memtable_entry_bytes(KEY_BYTES, bench->value_bytes);
    bool batched = order >= BATCHED;
    bool overwrites = order == OVERWRITE || order == BATCHED_OVERWRITE;
    bl_memtable_item items[BATCH];
    uint32_t pending = 0;
    micro_begin();
    for (uint64_t i = 0; i < bench->entries; i++) {
        char bytes_of_key[KEY_BYTES];
        bole_slice key = key_of(overwrites ? bench->probes : bench->keys, i);
        if (order == RISING || order == FALLING || order == BATCHED_RISING) {
            make_key(bytes_of_key, order == FALLING ? bench->entries - i : i);
            key = bl_slice(bytes_of_key, KEY_BYTES);
        }
        if (bl_memtable_reserve(memtable, each, NULL) != BOLE_OK)
            abort();
        uint64_t tag = BL_TAG(sequence + i, BL_KIND_PUT);
        if (!batched) {
            bl_memtable_insert(tree, key, bl_hash(key.data, key.size), bytes, tag);
            continue;
        }
        static char keys[BATCH][KEY_BYTES];
        memcpy(keys[pending], key.data, KEY_BYTES);
        key = bl_slice(keys[pending], KEY_BYTES);
        items[pending++] = (bl_memtable_item){ tree, key, bytes, bl_hash(key.data, key.size), tag };
        if (pending == BATCH || i + 1 == bench->entries) {
            bl_memtable_insert_batch(items, pending);
            pending = 0;
        }
    }
    if (name != NULL)
        micro_end(name, bench->entries);
}

static void must_be(uint64_t seen, uint64_t expected, const char *name)
{
    if (seen == expected)
        return;
    fprintf(stderr, "micro_memtable: %s: %llu of %llu\n", name, (unsigned long long)seen,
            (unsigned long long)expected);
    exit(1);
}

static void get_all(bench_state *bench, const bl_memtable_tree *tree, bool hit)
{
    uint64_t found = 0;
    const char *name = hit ? "get" : "get, absent";
    micro_begin();
    for (uint64_t i = 0; i < bench->entries; i++) {
        char key[KEY_BYTES];
        memcpy(key, bench->probes + i * KEY_BYTES, KEY_BYTES);
        if (!hit)
            key[3] = '7';
        uint64_t tag;
        bole_slice value;
        found += bl_memtable_get(tree, bl_slice(key, KEY_BYTES), bl_hash(key, KEY_BYTES), BL_SEQUENCE_MAX,
                                 &tag, &value);
    }
    micro_end(name, bench->entries);
    must_be(found, hit ? bench->entries : 0, name);
}

/* Gets in groups, with all that they touch fetched first. */
static void get_groups(bench_state *bench, const bl_memtable_tree *tree)
{
    enum { GROUP = 16 };
    uint64_t found = 0;
    micro_begin();
    for (uint64_t i = 0; i + GROUP <= bench->entries; i += GROUP) {
        bl_lookup lookups[GROUP];
        for (uint64_t j = 0; j < GROUP; j++) {
            bole_slice key = key_of(bench->probes, i + j);
            lookups[j] = (bl_lookup){ key, bl_hash(key.data, key.size), BL_SEQUENCE_MAX, NULL };
        }
        bl_memtable_prefetch_many(tree, lookups, GROUP);
        for (uint64_t j = 0; j < GROUP; j++) {
            uint64_t tag;
            bole_slice value;
            found += bl_memtable_get(tree, lookups[j].key, lookups[j].hash, BL_SEQUENCE_MAX, &tag, &value);
        }
    }
    micro_end("get, in groups of 16", bench->entries / GROUP * GROUP);
    must_be(found, bench->entries / GROUP * GROUP, "get, in groups of 16");
}

static void walk(bench_state *bench, bl_memtable *memtable, const bl_memtable_tree *tree, bool forward)
{
    bl_cursor *cursor;
    if (bl_memtable_cursor(memtable, tree, BL_VERSIONS_NEWEST, BL_SEQUENCE_MAX, &cursor) != BOLE_OK)
        abort();
    uint64_t seen = 0, sum = 0;
    const char *name = forward ? "next" : "previous";
    micro_begin();
    if (forward) {
        for (cursor->ops->seek_first(cursor); cursor->valid; bl_cursor_next(cursor), seen++)
            sum += cursor->head;
    } else {
        for (cursor->ops->seek_last(cursor); cursor->valid; bl_cursor_prev(cursor), seen++)
            sum += cursor->head;
    }
    micro_end(name, bench->entries);
    must_be(seen + (sum == 1), bench->entries, name);
    bl_cursor_close(cursor);
}

static void seek_some(bench_state *bench, bl_memtable *memtable, const bl_memtable_tree *tree, unsigned steps)
{
    bl_cursor *cursor;
    if (bl_memtable_cursor(memtable, tree, BL_VERSIONS_NEWEST, BL_SEQUENCE_MAX, &cursor) != BOLE_OK)
        abort();
    uint64_t count = bench->entries / 8 + 1, sum = 0;
    micro_begin();
    for (uint64_t i = 0; i < count; i++) {
        cursor->ops->seek(cursor, key_of(bench->probes, i));
        for (unsigned step = 0; step < steps && cursor->valid; step++, bl_cursor_next(cursor))
            sum += cursor->value.size;
    }
    micro_end(steps == 1 ? "seek" : "seek and 10 next", count);
    must_be(sum, count * steps * bench->value_bytes, "seek");
    bl_cursor_close(cursor);
}

int main(int argc, char **argv)
{
    bench_state bench = { .entries = argc > 1 ? strtoull(argv[1], NULL, 0) : micro_less(500000),
                          .value_bytes = argc > 2 ? strtoull(argv[2], NULL, 0) : 100,
                          .paths = argc > 3 ? argv[3] : NULL };
    bl_memory_budget_init(&bench.budget, UINT64_MAX / 4, 0);
    bench.keys = malloc(bench.entries * KEY_BYTES);
    bench.probes = malloc(bench.entries * KEY_BYTES);
    if (bench.keys == NULL || bench.probes == NULL)
        abort();
    for (uint64_t i = 0; i < bench.entries; i++)
        make_key(bench.keys + i * KEY_BYTES, i);
    shuffle(bench.keys, bench.entries, 1);
    memcpy(bench.probes, bench.keys, bench.entries * KEY_BYTES);
    shuffle(bench.probes, bench.entries, 2);

    for (fill_order order = 0; order < ORDERS; order++) {
        for (unsigned round = 0; round < ROUNDS; round++) {
            bl_memtable_tree *tree;
            bl_memtable *memtable = make(&bench, &tree);
            if (order == OVERWRITE || order == BATCHED_OVERWRITE)
                fill(&bench, memtable, tree, RANDOM, 0, NULL);
            fill(&bench, memtable, tree, order, bench.entries, order_names[order]);
            bl_memtable_unref(memtable);
        }
    }
    bl_memtable_tree *tree;
    bl_memtable *memtable = make(&bench, &tree);
    fill(&bench, memtable, tree, RANDOM, 0, NULL);
    for (unsigned round = 0; round < ROUNDS; round++) {
        get_all(&bench, tree, true);
        get_all(&bench, tree, false);
        walk(&bench, memtable, tree, true);
        walk(&bench, memtable, tree, false);
        seek_some(&bench, memtable, tree, 1);
        seek_some(&bench, memtable, tree, 10);
        get_groups(&bench, tree);
    }
    micro_print();
    bl_memtable_unref(memtable);
    free(bench.keys);
    free(bench.probes);
    return 0;
}
