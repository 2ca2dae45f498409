/* SPDX-License-Identifier: MIT */
/* test_log_structured_store.c -- the whole engine through its public interface, on a disk in memory and a seeded
 * scheduler, so that every mechanism runs within a few hundred operations and every failure replays. */
#include "test.h"

#include <bole/bole_vfs.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/prng.h"

typedef struct fixture {
    bole_vfs *vfs;
    bole_db *db;
    bole_options options;
    bole_error error;
} fixture;

static void open_store(fixture *f)
{
    assert_ok(bole_open("store", &f->options, &f->db, &f->error), &f->error);
}

static void close_store(fixture *f)
{
    assert_ok(bole_close(f->db, &f->error), &f->error);
    f->db = NULL;
}

static int setup(void **state)
{
    fixture *f = calloc(1, sizeof(*f));
    f->error = (bole_error)BOLE_ERROR_INIT;
    assert_int_equal(bole_vfs_memory_create(7, &f->vfs), BOLE_OK);
    f->options = BOLE_OPTIONS_INIT;
    f->options.flags = BOLE_CREATE;
    f->options.vfs = f->vfs;
    f->options.simulation_seed = 1;
    f->options.memory_limit = 64 << 20;
    f->options.memtable_bytes = 16 << 10;
    f->options.segment_bytes = 16 << 10;
    f->options.block_bytes = 1 << 10;
    open_store(f);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    fixture *f = *state;
    if (f->db != NULL)
        assert_ok(bole_close(f->db, &f->error), &f->error);
    bole_vfs_destroy(f->vfs);
    free(f);
    return 0;
}

static bole_slice text(const char *string) { return (bole_slice){ string, strlen(string) }; }

static void expect(fixture *f, const char *key, const char *value)
{
    bole_buffer got = BOLE_BUFFER_INIT;
    bole_status status = bole_get(f->db, NULL, text(key), &got);
    if (value == NULL) {
        assert_int_equal(status, BOLE_NOT_FOUND);
    } else {
        assert_int_equal(status, BOLE_OK);
        assert_int_equal(got.size, strlen(value));
        assert_memory_equal(got.data, value, got.size);
    }
    bole_buffer_free(&got);
}

/* Goal: the three calls of the brief do what they say, before and after a flush, a merge and a reopen. */
static void put_get_delete_survive_flush_merge_and_reopen(void **state)
{
    fixture *f = *state;
    assert_int_equal(bole_put(f->db, NULL, BOLE_STR("a"), BOLE_STR("1")), BOLE_OK);
    assert_int_equal(bole_put(f->db, NULL, BOLE_STR("b"), BOLE_STR("2")), BOLE_OK);
    assert_int_equal(bole_delete(f->db, NULL, BOLE_STR("a")), BOLE_OK);
    expect(f, "a", NULL);
    expect(f, "b", "2");
    assert_ok(bole_flush(f->db, &f->error), &f->error);
    expect(f, "a", NULL);
    expect(f, "b", "2");
    assert_int_equal(bole_put(f->db, NULL, BOLE_STR("b"), BOLE_STR("3")), BOLE_OK);
    assert_ok(bole_compact(f->db, NULL, (bole_slice){ 0 }, (bole_slice){ 0 }, &f->error), &f->error);
    expect(f, "b", "3");
    close_store(f);
    open_store(f);
    expect(f, "a", NULL);
    expect(f, "b", "3");
}

/* Goal: a snapshot and an iterator keep their moment across overwrite, flush and merge. */
static void snapshots_and_iterators_keep_their_moment(void **state)
{
    fixture *f = *state;
    assert_int_equal(bole_put(f->db, NULL, BOLE_STR("k1"), BOLE_STR("old")), BOLE_OK);
    assert_int_equal(bole_put(f->db, NULL, BOLE_STR("k2"), BOLE_STR("old")), BOLE_OK);
    bole_snapshot *snapshot;
    bole_iterator *iterator;
    assert_ok(bole_snapshot_create(f->db, &snapshot, &f->error), &f->error);
    assert_int_equal(bole_iterator_create(f->db, NULL, &iterator), BOLE_OK);
    assert_int_equal(bole_put(f->db, NULL, BOLE_STR("k1"), BOLE_STR("new")), BOLE_OK);
    assert_int_equal(bole_delete(f->db, NULL, BOLE_STR("k2")), BOLE_OK);
    assert_ok(bole_compact(f->db, NULL, (bole_slice){ 0 }, (bole_slice){ 0 }, &f->error), &f->error);
    expect(f, "k1", "new");
    expect(f, "k2", NULL);
    bole_read_options at = BOLE_READ_OPTIONS_INIT;
    at.snapshot = snapshot;
    bole_buffer got = BOLE_BUFFER_INIT;
    assert_int_equal(bole_get(f->db, &at, BOLE_STR("k2"), &got), BOLE_OK);
    assert_memory_equal(got.data, "old", 3);
    bole_buffer_free(&got);
    int seen = 0;
    for (bool on = bole_iterator_seek_first(iterator); on; on = bole_iterator_next(iterator), seen++)
        assert_memory_equal(bole_iterator_value(iterator).data, "old", 3);
    assert_int_equal(bole_iterator_status(iterator), BOLE_OK);
    assert_int_equal(seen, 2);
    assert_int_equal(bole_close(f->db, &f->error), BOLE_BUSY); /* and nothing is closed */
    bole_iterator_destroy(iterator);
    bole_snapshot_destroy(snapshot);
}

/* Goal: a batch over two tables is all there, and a dropped table's handle goes on reading. */
static void tables_share_a_batch_and_can_be_dropped(void **state)
{
    fixture *f = *state;
    bole_table *lines;
    assert_ok(bole_table_create(f->db, "lines", NULL, &lines, &f->error), &f->error);
    bole_batch *batch;
    assert_int_equal(bole_batch_create(&batch), BOLE_OK);
    assert_int_equal(bole_batch_put(batch, NULL, BOLE_STR("k"), BOLE_STR("default")), BOLE_OK);
    assert_int_equal(bole_batch_put(batch, lines, BOLE_STR("k"), BOLE_STR("lines")), BOLE_OK);
    assert_int_equal(bole_write(f->db, NULL, batch), BOLE_OK);
    bole_batch_destroy(batch);
    expect(f, "k", "default");
    bole_read_options in_lines = BOLE_READ_OPTIONS_INIT;
    in_lines.table = lines;
    bole_buffer got = BOLE_BUFFER_INIT;
    assert_int_equal(bole_get(f->db, &in_lines, BOLE_STR("k"), &got), BOLE_OK);
    assert_memory_equal(got.data, "lines", 5);
    assert_ok(bole_table_drop(f->db, "lines", &f->error), &f->error);
    assert_int_equal(bole_get(f->db, &in_lines, BOLE_STR("k"), &got), BOLE_OK);
    bole_write_options into = BOLE_WRITE_OPTIONS_INIT;
    into.table = lines;
    assert_int_equal(bole_put(f->db, &into, BOLE_STR("k"), BOLE_STR("x")), BOLE_NOT_FOUND);
    bole_table_close(lines);
    bole_buffer_free(&got);
    assert_int_equal(bole_table_open(f->db, "lines", &lines, &f->error), BOLE_NOT_FOUND);
}

/* ---- against a model ---- */

enum { MODEL_KEYS = 64, MODEL_TABLES = 3 };

typedef struct model {
    bole_buffer keys[MODEL_KEYS];
    bole_buffer values[MODEL_TABLES][MODEL_KEYS];
    bool present[MODEL_TABLES][MODEL_KEYS];
    uint32_t order[MODEL_KEYS];
} model;

static model *sorting;

static int by_key(const void *a, const void *b)
{
    const bole_buffer *x = &sorting->keys[*(const uint32_t *)a], *y = &sorting->keys[*(const uint32_t *)b];
    size_t common = x->size < y->size ? x->size : y->size;
    int order = common ? memcmp(x->data, y->data, common) : 0;
    return order ? order : (x->size > y->size) - (x->size < y->size);
}

static void set_bytes(bole_buffer *buffer, const void *data, size_t size)
{
    buffer->data = realloc(buffer->data, size + 1);
    memcpy(buffer->data, data, size);
    buffer->size = size;
}

/* Keys that are hard to tell apart: empty, prefixes of each other, zeros, 0xff, long shared prefixes, 64 KiB. */
static void make_keys(model *m, bl_prng *prng)
{
    uint8_t *bytes = malloc(BOLE_KEY_BYTES_MAX);
    for (uint32_t i = 0; i < MODEL_KEYS; i++) {
        size_t size = 0;
        if (i == 0) {
            size = 0; /* the empty key */
        } else if (i < 12) {
            size = i;
            memset(bytes, i % 2 ? 0x00 : 0xff, size);
        } else if (i < 24) {
            size = (size_t)snprintf((char *)bytes, 100, "user%.*s", (int)(i - 11), "000000000000");
        } else if (i < 60) {
            size = (size_t)snprintf((char *)bytes, 100, "/usr/share/doc/package-%02u/file-%03u", i % 4, i);
        } else if (i >= 60) {
            size = BOLE_KEY_BYTES_MAX - (i - 60);
            memset(bytes, 'x', size);
            bytes[size - 1] = (uint8_t)bl_prng_below(prng, 256);
        }
        set_bytes(&m->keys[i], bytes, size);
        m->order[i] = i;
    }
    free(bytes);
    sorting = m;
    qsort(m->order, MODEL_KEYS, sizeof(m->order[0]), by_key);
}

static bole_slice bytes_of(const bole_buffer *buffer) { return (bole_slice){ buffer->data, buffer->size }; }

static void check_get(bole_db *db, bole_table *table, const bole_snapshot *at, const model *m, uint32_t t,
                      uint32_t k, bole_buffer *scratch)
{
    bole_read_options options = BOLE_READ_OPTIONS_INIT;
    options.table = table;
    options.snapshot = at;
    bole_status status = bole_get(db, &options, bytes_of(&m->keys[k]), scratch);
    assert_int_equal(status, m->present[t][k] ? BOLE_OK : BOLE_NOT_FOUND);
    if (status == BOLE_OK) {
        assert_int_equal(scratch->size, m->values[t][k].size);
        assert_memory_equal(scratch->data, m->values[t][k].data, scratch->size);
    }
}

static void check_entry(bole_iterator *iterator, const model *m, uint32_t t, uint32_t k)
{
    bole_slice key = bole_iterator_key(iterator), value = bole_iterator_value(iterator);
    assert_int_equal(key.size, m->keys[k].size);
    assert_memory_equal(key.data, m->keys[k].data, key.size);
    assert_int_equal(value.size, m->values[t][k].size);
    assert_memory_equal(value.data, m->values[t][k].data, value.size);
}

/* Walk with random turns and compare every step. `at` is the place in model order. */
static void check_scan(bole_db *db, bole_table *table, const bole_snapshot *snapshot, const model *m,
                       uint32_t t, bl_prng *prng)
{
    bole_read_options options = BOLE_READ_OPTIONS_INIT;
    options.table = table;
    options.snapshot = snapshot;
    bole_iterator *iterator;
    assert_int_equal(bole_iterator_create(db, &options, &iterator), BOLE_OK);
    int at = -1;
    bool on = bole_iterator_seek_first(iterator);
    for (int next = 0;; next++) {
        while (next < MODEL_KEYS && !m->present[t][m->order[next]])
            next++;
        if (next == MODEL_KEYS)
            break;
        assert_true(on);
        check_entry(iterator, m, t, m->order[next]);
        on = bole_iterator_next(iterator);
    }
    assert_false(on);
    assert_int_equal(bole_iterator_status(iterator), BOLE_OK);
    uint32_t k = (uint32_t)bl_prng_below(prng, MODEL_KEYS);
    at = (int)k;
    if (bl_prng_chance(prng, 2)) {
        on = bole_iterator_seek(iterator, bytes_of(&m->keys[m->order[k]]));
        while (at < MODEL_KEYS && !m->present[t][m->order[at]])
            at++;
    } else {
        on = bole_iterator_seek_for_prev(iterator, bytes_of(&m->keys[m->order[k]]));
        while (at >= 0 && !m->present[t][m->order[at]])
            at--;
    }
    for (int step = 0; step < 40; step++) {
        bool inside = at >= 0 && at < MODEL_KEYS;
        assert_int_equal(on, inside);
        assert_int_equal(bole_iterator_status(iterator), BOLE_OK);
        if (!inside)
            break;
        check_entry(iterator, m, t, m->order[at]);
        int by = bl_prng_chance(prng, 3) ? -1 : 1;
        if (step % 16 > 8)
            by = -by;
        on = by > 0 ? bole_iterator_next(iterator) : bole_iterator_prev(iterator);
        do
            at += by;
        while (at >= 0 && at < MODEL_KEYS && !m->present[t][m->order[at]]);
    }
    bole_iterator_destroy(iterator);
}

static model *copy_model(const model *from)
{
    model *to = calloc(1, sizeof(*to));
    memcpy(to->order, from->order, sizeof(to->order));
    memcpy(to->present, from->present, sizeof(to->present));
    for (uint32_t k = 0; k < MODEL_KEYS; k++) {
        set_bytes(&to->keys[k], from->keys[k].data, from->keys[k].size);
        for (uint32_t t = 0; t < MODEL_TABLES; t++)
            set_bytes(&to->values[t][k], from->values[t][k].data ? from->values[t][k].data : "",
                      from->values[t][k].size);
    }
    return to;
}

static void free_model(model *m)
{
    if (m == NULL)
        return;
    for (uint32_t k = 0; k < MODEL_KEYS; k++) {
        free(m->keys[k].data);
        for (uint32_t t = 0; t < MODEL_TABLES; t++)
            free(m->values[t][k].data);
    }
    free(m);
}

static void random_history(fixture *f, uint64_t seed, uint32_t operations)
{
    bl_prng prng;
    bl_prng_init(&prng, seed);
    model *m = calloc(1, sizeof(*m)), *frozen = NULL;
    make_keys(m, &prng);
    bole_table *tables[MODEL_TABLES] = { NULL, NULL, NULL };
    assert_ok(bole_table_create(f->db, "one", NULL, &tables[1], &f->error), &f->error);
    assert_ok(bole_table_create(f->db, "two", NULL, &tables[2], &f->error), &f->error);
    bole_snapshot *snapshot = NULL;
    bole_buffer scratch = BOLE_BUFFER_INIT;
    uint8_t *bytes = malloc(100000);
    for (uint32_t i = 0; i < operations; i++) {
        uint32_t t = (uint32_t)bl_prng_below(&prng, MODEL_TABLES),
                 k = (uint32_t)bl_prng_below(&prng, MODEL_KEYS);
        bole_write_options into = BOLE_WRITE_OPTIONS_INIT;
        into.table = tables[t];
        into.durability = bl_prng_chance(&prng, 8) ? BOLE_DURABILITY_POWER : BOLE_DURABILITY_PROCESS;
        uint64_t choice = bl_prng_below(&prng, 100);
        if (choice < 45) {
            size_t size = bl_prng_chance(&prng, 50) ? bl_prng_below(&prng, 100000)
                                                    : bl_prng_below(&prng, 300);
            bl_prng_fill(&prng, bytes, size);
            assert_int_equal(bole_put(f->db, &into, bytes_of(&m->keys[k]), (bole_slice){ bytes, size }),
                             BOLE_OK);
            set_bytes(&m->values[t][k], bytes, size);
            m->present[t][k] = true;
        } else if (choice < 60) {
            assert_int_equal(bole_delete(f->db, &into, bytes_of(&m->keys[k])), BOLE_OK);
            m->present[t][k] = false;
        } else if (choice < 68) {
            bole_batch *batch;
            assert_int_equal(bole_batch_create(&batch), BOLE_OK);
            for (uint32_t j = 0; j < 5; j++) {
                k = (uint32_t)bl_prng_below(&prng, MODEL_KEYS);
                t = (uint32_t)bl_prng_below(&prng, MODEL_TABLES);
                bl_prng_fill(&prng, bytes, 20);
                assert_int_equal(bole_batch_put(batch, tables[t], bytes_of(&m->keys[k]),
                                                (bole_slice){ bytes, 20 }),
                                 BOLE_OK);
                set_bytes(&m->values[t][k], bytes, 20);
                m->present[t][k] = true;
            }
            into.table = NULL;
            assert_int_equal(bole_write(f->db, &into, batch), BOLE_OK);
            bole_batch_destroy(batch);
        } else if (choice < 85) {
            check_get(f->db, tables[t], NULL, m, t, k, &scratch);
            if (frozen != NULL)
                check_get(f->db, tables[t], snapshot, frozen, t, k, &scratch);
        } else if (choice < 91) {
            check_scan(f->db, tables[t], NULL, m, t, &prng);
            if (frozen != NULL)
                check_scan(f->db, tables[t], snapshot, frozen, t, &prng);
        } else if (choice < 94) {
            assert_ok(bole_flush(f->db, &f->error), &f->error);
        } else if (choice < 95) {
            assert_ok(bole_compact(f->db, NULL, (bole_slice){ 0 }, (bole_slice){ 0 }, &f->error), &f->error);
        } else if (choice < 98) {
            bole_snapshot_destroy(snapshot);
            free_model(frozen);
            snapshot = NULL;
            frozen = NULL;
            if (bl_prng_chance(&prng, 2)) {
                assert_ok(bole_snapshot_create(f->db, &snapshot, &f->error), &f->error);
                frozen = copy_model(m);
            }
        } else {
            bole_snapshot_destroy(snapshot);
            free_model(frozen);
            snapshot = NULL;
            frozen = NULL;
            bole_table_close(tables[1]);
            bole_table_close(tables[2]);
            close_store(f);
            open_store(f);
            assert_ok(bole_table_open(f->db, "one", &tables[1], &f->error), &f->error);
            assert_ok(bole_table_open(f->db, "two", &tables[2], &f->error), &f->error);
        }
    }
    for (uint32_t t = 0; t < MODEL_TABLES; t++)
        for (uint32_t k = 0; k < MODEL_KEYS; k++)
            check_get(f->db, tables[t], NULL, m, t, k, &scratch);
    bole_snapshot_destroy(snapshot);
    free_model(frozen);
    bole_table_close(tables[1]);
    bole_table_close(tables[2]);
    bole_buffer_free(&scratch);
    free(bytes);
    free_model(m);
}

/* Goal: whatever is done, in whatever order, the store answers as a sorted array would. */
static void random_histories_equal_the_model(void **state)
{
    fixture *f = *state;
    uint64_t seed = test_seed(20261123);
    for (uint32_t round = 0; round < 12; round += TEST_STEP) {
        printf("seed %llu\n", (unsigned long long)(seed + round));
        teardown(state);
        setup(state);
        f = *state;
        close_store(f);
        assert_ok(bole_destroy("store", &f->options, &f->error), &f->error);
        f->options.simulation_seed = seed + round;
        f->options.level0_runs = 1 + (uint32_t)(round % 4) * 2;
        f->options.memtable_bytes = 4096u << (round % 5);
        f->options.large_value_bytes = round % 3 == 0 ? 4096 : 8u << round % 6;
        f->options.compression = (bole_compression)(1 + round % 3);
        open_store(f);
        random_history(f, seed + round, 600);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(put_get_delete_survive_flush_merge_and_reopen, setup, teardown),
        cmocka_unit_test_setup_teardown(snapshots_and_iterators_keep_their_moment, setup, teardown),
        cmocka_unit_test_setup_teardown(tables_share_a_batch_and_can_be_dropped, setup, teardown),
        cmocka_unit_test_setup_teardown(random_histories_equal_the_model, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
