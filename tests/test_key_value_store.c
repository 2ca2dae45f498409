/* SPDX-License-Identifier: MIT */
/* test_key_value_store.c -- the small interface: bole behind it must answer as a sorted array behind it does. */
#include <bole/key_value_store.h>

#include "test.h"

#include "base/prng.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>

/* ---- A model that implements the interface: keys 0..KEYS-1, "k%03u" ------------------------------------- */

enum { KEYS = 200, VALUE_BYTES = 24 };

typedef struct model {
    bole_key_value_store base;
    bool present[KEYS];
    char values[KEYS][VALUE_BYTES];
} model;

typedef struct model_cursor {
    bole_key_value_cursor base;
    model moment; /* a copy: a cursor shows the moment it was opened */
    int at;
    char key[8];
} model_cursor;

static int number_of(bole_slice key)
{
    char text[8] = { 0 };
    assert_int_equal(key.size, 4);
    memcpy(text, key.data, key.size);
    return atoi(text + 1);
}

static bole_status model_put(bole_key_value_store *store, bole_slice key, bole_slice value, bool durable,
                             bole_error *error)
{
    (void)durable, (void)error;
    model *self = (model *)store;
    self->present[number_of(key)] = true;
    assert_int_equal(value.size, VALUE_BYTES);
    memcpy(self->values[number_of(key)], value.data, VALUE_BYTES);
    return BOLE_OK;
}

static bole_status model_remove(bole_key_value_store *store, bole_slice key, bool durable, bole_error *error)
{
    (void)durable, (void)error;
    ((model *)store)->present[number_of(key)] = false;
    return BOLE_OK;
}

static bole_status model_write(bole_key_value_store *store, const bole_key_value_operation *operations,
                               size_t count, bool durable, bole_error *error)
{
    for (size_t i = 0; i < count; i++) {
        if (operations[i].removes)
            (void)model_remove(store, operations[i].key, durable, error);
        else
            (void)model_put(store, operations[i].key, operations[i].value, durable, error);
    }
    return BOLE_OK;
}

static bole_status model_get(bole_key_value_store *store, bole_slice key,
                             void (*visit)(void *context, bole_slice value), void *context, bole_error *error)
{
    (void)error;
    const model *self = (const model *)store;
    if (!self->present[number_of(key)])
        return BOLE_NOT_FOUND;
    visit(context, (bole_slice){ self->values[number_of(key)], VALUE_BYTES });
    return BOLE_OK;
}

static bole_status model_get_many(bole_key_value_store *store, const bole_slice *keys, size_t count,
                                  void (*visit)(void *context, size_t index, bole_slice value), void *context,
                                  bole_error *error)
{
    (void)error;
    const model *self = (const model *)store;
    for (size_t i = 0; i < count; i++)
        if (self->present[number_of(keys[i])])
            visit(context, i, (bole_slice){ self->values[number_of(keys[i])], VALUE_BYTES });
    return BOLE_OK;
}

static bole_status model_cursor_open(bole_key_value_store *store, bole_key_value_cursor **out,
                                     bole_error *error)
{
    (void)error;
    model_cursor *cursor = calloc(1, sizeof *cursor);
    assert_non_null(cursor);
    cursor->base.store = store;
    cursor->moment = *(const model *)store;
    *out = &cursor->base;
    return BOLE_OK;
}

static bool model_stand(bole_key_value_cursor *base, int from, int step)
{
    model_cursor *cursor = (model_cursor *)base;
    for (int at = from; at >= 0 && at < KEYS; at += step) {
        if (!cursor->moment.present[at])
            continue;
        cursor->at = at;
        snprintf(cursor->key, sizeof cursor->key, "k%03u", (unsigned)at % 1000);
        base->key = (bole_slice){ cursor->key, 4 };
        base->value = (bole_slice){ cursor->moment.values[at], VALUE_BYTES };
        return true;
    }
    return false;
}

static bool model_seek(bole_key_value_cursor *cursor, bole_slice key)
{
    return model_stand(cursor, number_of(key), 1);
}
static bool model_first(bole_key_value_cursor *cursor) { return model_stand(cursor, 0, 1); }
static bool model_last(bole_key_value_cursor *cursor) { return model_stand(cursor, KEYS - 1, -1); }
static bool model_next(bole_key_value_cursor *cursor)
{
    return model_stand(cursor, ((model_cursor *)cursor)->at + 1, 1);
}
static bool model_previous(bole_key_value_cursor *cursor)
{
    return model_stand(cursor, ((model_cursor *)cursor)->at - 1, -1);
}
static void model_cursor_close(bole_key_value_cursor *cursor) { free(cursor); }
static bole_status model_rest(bole_key_value_store *store, bole_error *error)
{
    (void)store, (void)error;
    return BOLE_OK;
}
static bole_status model_close(bole_key_value_store *store, bole_error *error)
{
    (void)error;
    free(store);
    return BOLE_OK;
}

static const bole_key_value_methods model_methods = {
    .name = "model",
    .put = model_put,
    .remove = model_remove,
    .write = model_write,
    .get = model_get,
    .get_many = model_get_many,
    .cursor_open = model_cursor_open,
    .cursor_seek = model_seek,
    .cursor_first = model_first,
    .cursor_last = model_last,
    .cursor_next = model_next,
    .cursor_previous = model_previous,
    .cursor_close = model_cursor_close,
    .settle = model_rest,
    .compact = model_rest,
    .close = model_close,
};

/* ---- Two stores side by side ------------------------------------------------------------------------------ */

enum { STORES = 2 };

static void open_both(const char *path, bole_key_value_store *stores[STORES])
{
    bole_options options = BOLE_OPTIONS_INIT;
    options.flags = BOLE_CREATE;
    options.memtable_bytes = 64 * 1024; /* so that flushes and merges happen */
    bole_error error = BOLE_ERROR_INIT;
    bole_db *db;
    assert_ok(bole_open(path, &options, &db, &error), &error);
    assert_ok(bole_key_value_store_create(db, true, &stores[0]), NULL);
    model *self = calloc(1, sizeof *self);
    assert_non_null(self);
    self->base.methods = &model_methods;
    stores[1] = &self->base;
}

typedef struct seen {
    bool any;
    char value[VALUE_BYTES];
} seen;

static void note(void *context, bole_slice value)
{
    seen *out = context;
    out->any = true;
    assert_int_equal(value.size, VALUE_BYTES);
    memcpy(out->value, value.data, VALUE_BYTES);
}

static void random_value(bl_prng *prng, char *value)
{
    for (int i = 0; i < VALUE_BYTES; i++)
        value[i] = (char)('a' + bl_prng_below(prng, 26));
}

static void same_get(bole_key_value_store *stores[STORES], bole_slice key)
{
    seen got[STORES] = { { .any = false } };
    bole_status status[STORES];
    for (int i = 0; i < STORES; i++)
        status[i] = stores[i]->methods->get(stores[i], key, note, &got[i], NULL);
    assert_int_equal(status[0], status[1]);
    assert_int_equal(got[0].any, status[0] == BOLE_OK);
    assert_memory_equal(got[0].value, got[1].value, VALUE_BYTES);
}

enum { MANY = 150 }; /* more than the adapter asks for at once */

typedef struct seen_many {
    seen of[MANY];
    unsigned visits;
} seen_many;

static void note_many(void *context, size_t index, bole_slice value)
{
    seen_many *out = context;
    assert_true(index < MANY && !out->of[index].any);
    note(&out->of[index], value);
    out->visits++;
}

static void same_get_many(bole_key_value_store *stores[STORES], bl_prng *prng)
{
    static seen_many got[STORES];
    char names[MANY][8];
    bole_slice keys[MANY];
    size_t count = (size_t)bl_prng_below(prng, MANY + 1);
    for (size_t i = 0; i < count; i++) {
        snprintf(names[i], sizeof names[i], "k%03u", (unsigned)bl_prng_below(prng, KEYS));
        keys[i] = (bole_slice){ names[i], 4 };
    }
    for (int i = 0; i < STORES; i++) {
        memset(&got[i], 0, sizeof got[i]);
        assert_ok(stores[i]->methods->get_many(stores[i], keys, count, note_many, &got[i], NULL), NULL);
    }
    assert_int_equal(got[0].visits, got[1].visits);
    assert_memory_equal(got[0].of, got[1].of, sizeof got[0].of);
}

static bool same_move(bole_key_value_cursor *cursors[STORES], int move, bole_slice key)
{
    bool stands[STORES];
    for (int i = 0; i < STORES; i++) {
        const bole_key_value_methods *methods = cursors[i]->store->methods;
        switch (move) {
        case 0: stands[i] = methods->cursor_seek(cursors[i], key); break;
        case 1: stands[i] = methods->cursor_first(cursors[i]); break;
        case 2: stands[i] = methods->cursor_last(cursors[i]); break;
        case 3: stands[i] = methods->cursor_next(cursors[i]); break;
        default: stands[i] = methods->cursor_previous(cursors[i]); break;
        }
        assert_int_equal(cursors[i]->status, BOLE_OK);
    }
    assert_int_equal(stands[0], stands[1]);
    if (stands[0]) {
        assert_int_equal(cursors[0]->key.size, cursors[1]->key.size);
        assert_memory_equal(cursors[0]->key.data, cursors[1]->key.data, cursors[0]->key.size);
        assert_int_equal(cursors[0]->value.size, cursors[1]->value.size);
        assert_memory_equal(cursors[0]->value.data, cursors[1]->value.data, cursors[0]->value.size);
    }
    return stands[0];
}

/* Goal: every function of the interface does what the model's does. Method: random calls on both, answers compared;
 * cursors are held over later writes. */
static void bole_answers_as_a_sorted_array_does(void **state)
{
    (void)state;
    test_directory directory = test_directory_make();
    char path[300];
    snprintf(path, sizeof path, "%s/store", directory.path);
    bole_key_value_store *stores[STORES];
    open_both(path, stores);
    bl_prng prng;
    bl_prng_init(&prng, test_seed(17));
    bole_key_value_cursor *cursors[STORES] = { NULL, NULL };
    bool stands = false;
    for (int step = 0; step < 20000; step++) {
        char name[8], value[VALUE_BYTES];
        snprintf(name, sizeof name, "k%03u", (unsigned)bl_prng_below(&prng, KEYS));
        bole_slice key = { name, 4 };
        random_value(&prng, value);
        uint64_t choice = bl_prng_below(&prng, 100);
        if (choice < 40) {
            for (int i = 0; i < STORES; i++)
                assert_ok(stores[i]->methods->put(stores[i], key, (bole_slice){ value, VALUE_BYTES },
                                                  step % 500 == 0, NULL),
                          NULL);
        } else if (choice < 50) {
            for (int i = 0; i < STORES; i++)
                assert_ok(stores[i]->methods->remove(stores[i], key, false, NULL), NULL);
        } else if (choice < 55) {
            bole_key_value_operation operations[] = {
                { .key = key, .value = { value, VALUE_BYTES } },
                { .key = { "k000", 4 }, .removes = true },
                { .key = { "k001", 4 }, .value = { value, VALUE_BYTES } },
            };
            for (int i = 0; i < STORES; i++)
                assert_ok(stores[i]->methods->write(stores[i], operations, 3, false, NULL), NULL);
        } else if (choice < 80) {
            same_get(stores, key);
            if (step % 8 == 0)
                same_get_many(stores, &prng);
        } else if (choice < 83 || cursors[0] == NULL) {
            for (int i = 0; i < STORES; i++) {
                stores[i]->methods->cursor_close(cursors[i]);
                assert_ok(stores[i]->methods->cursor_open(stores[i], &cursors[i], NULL), NULL);
            }
            stands = same_move(cursors, (int)bl_prng_below(&prng, 3), key);
        } else {
            int move = (int)bl_prng_below(&prng, stands ? 5 : 3);
            stands = same_move(cursors, move, key);
        }
        if (step == 7000 || step == 14000)
            assert_ok(stores[0]->methods->compact(stores[0], NULL), NULL);
    }
    assert_ok(stores[0]->methods->settle(stores[0], NULL), NULL);
    for (int i = 0; i < STORES; i++) {
        stores[i]->methods->cursor_close(cursors[i]);
        assert_ok(stores[i]->methods->close(stores[i], NULL), NULL);
    }
}

/* ---- Many keys at one moment ------------------------------------------------------------------------------ */

enum { TOGETHER = 100, READS = 50 };

typedef struct turning {
    bole_key_value_store *store;
    _Atomic bool stop;
    _Atomic unsigned written;
    seen_many got;
} turning;

/* Every key gets the same number, in one write, over and over. */
static void *turn(void *context)
{
    turning *self = context;
    bole_key_value_operation operations[TOGETHER];
    char names[TOGETHER][8];
    for (unsigned number = 0; !atomic_load(&self->stop); number++) {
        char value[VALUE_BYTES] = { 0 };
        memcpy(value, &number, sizeof number);
        for (unsigned i = 0; i < TOGETHER; i++) {
            snprintf(names[i], sizeof names[i], "k%03u", i);
            operations[i] = (bole_key_value_operation){ .key = { names[i], 4 },
                                                        .value = { value, VALUE_BYTES } };
        }
        assert_ok(self->store->methods->write(self->store, operations, TOGETHER, false, NULL), NULL);
        atomic_store(&self->written, number + 1);
    }
    return NULL;
}

/* While the first values are shown, all keys are written once more. */
static void note_late(void *context, size_t index, bole_slice value)
{
    turning *self = context;
    note_many(&self->got, index, value);
    for (unsigned before = atomic_load(&self->written);
         index == 0 && atomic_load(&self->written) < before + 2;)
        sched_yield();
}

/* Goal: get_many shows one moment, beyond a group of the adapter, too. Method: a thread writes one number into all
 * keys, and the first visit waits until it has; every answer must hold one number. */
static void many_keys_are_of_one_moment(void **state)
{
    (void)state;
    test_directory directory = test_directory_make();
    char path[300];
    snprintf(path, sizeof path, "%s/store", directory.path);
    bole_key_value_store *stores[STORES];
    open_both(path, stores);
    turning writer = { .store = stores[0] };
    char names[TOGETHER][8];
    bole_slice keys[TOGETHER];
    for (unsigned i = 0; i < TOGETHER; i++) {
        snprintf(names[i], sizeof names[i], "k%03u", i);
        keys[i] = (bole_slice){ names[i], 4 };
    }
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, turn, &writer), 0);
    while (atomic_load(&writer.written) == 0)
        sched_yield();
    for (unsigned read = 0; read < READS; read++) {
        memset(&writer.got, 0, sizeof writer.got);
        assert_ok(stores[0]->methods->get_many(stores[0], keys, TOGETHER, note_late, &writer, NULL), NULL);
        assert_int_equal(writer.got.visits, TOGETHER);
        for (unsigned i = 1; i < TOGETHER; i++)
            assert_memory_equal(writer.got.of[i].value, writer.got.of[0].value, VALUE_BYTES);
    }
    atomic_store(&writer.stop, true);
    assert_int_equal(pthread_join(thread, NULL), 0);
    for (int i = 0; i < STORES; i++)
        assert_ok(stores[i]->methods->close(stores[i], NULL), NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bole_answers_as_a_sorted_array_does),
        cmocka_unit_test(many_keys_are_of_one_moment),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
