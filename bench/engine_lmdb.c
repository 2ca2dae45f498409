/* SPDX-License-Identifier: MIT */
/* engine_lmdb.c -- LMDB: a writable map, no sync of its own where writes need not be durable (as `process`), and
 * fdatasync at each commit where they must. Keys that come in order are appended. It has no memory of its own: the page
 * cache is its cache. A read's pointer goes right into the map. */
#include "bench.h"

#include <lmdb.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

enum { READERS = 16 };

typedef struct engine {
    bole_key_value_store base;
    MDB_env *env;
    MDB_dbi dbi;
    /* The highest key so far: what is above is appended. */
    pthread_mutex_t mutex; /* of writes: LMDB has one writer anyway */
    size_t last_bytes;
    char last[BENCH_KEY_BYTES_MAX];
} engine;

typedef struct engine_cursor {
    bole_key_value_cursor base;
    MDB_txn *txn;
    MDB_cursor *cursor;
} engine_cursor;

/* A thread's reading transaction, renewed for each get: the way that its documentation gives. */
static _Thread_local MDB_txn *reading;
static _Thread_local MDB_env *reading_of;

static bole_status failed(int code, const char *what)
{
    if (code == 0)
        return BOLE_OK;
    if (code == MDB_NOTFOUND)
        return BOLE_NOT_FOUND;
    bench_say("lmdb", what, mdb_strerror(code));
    return BOLE_IO;
}

static bool is_above_all(engine *self, bole_slice key)
{
    size_t common = key.size < self->last_bytes ? key.size : self->last_bytes;
    int order = memcmp(key.data, self->last, common);
    bool above = order > 0 || (order == 0 && key.size > self->last_bytes);
    if (above) {
        memcpy(self->last, key.data, key.size);
        self->last_bytes = key.size;
    }
    return above;
}

static int one(engine *self, MDB_txn *txn, const bole_key_value_operation *operation)
{
    MDB_val key = { operation->key.size, (void *)(uintptr_t)operation->key.data };
    MDB_val value = { operation->value.size, (void *)(uintptr_t)operation->value.data };
    if (operation->removes) {
        int code = mdb_del(txn, self->dbi, &key, NULL);
        return code == MDB_NOTFOUND ? 0 : code;
    }
    return mdb_put(txn, self->dbi, &key, &value, is_above_all(self, operation->key) ? MDB_APPEND : 0);
}

static bole_status write_all(bole_key_value_store *store, const bole_key_value_operation *operations,
                             size_t count, bool durable, bole_error *error)
{
    (void)durable, (void)error; /* the environment was opened so */
    engine *self = (engine *)store;
    MDB_txn *txn;
    pthread_mutex_lock(&self->mutex);
    int code = mdb_txn_begin(self->env, NULL, 0, &txn);
    for (size_t i = 0; code == 0 && i < count; i++)
        if ((code = one(self, txn, &operations[i])) != 0)
            mdb_txn_abort(txn);
    if (code == 0)
        code = mdb_txn_commit(txn);
    pthread_mutex_unlock(&self->mutex);
    return failed(code, "write");
}

static bole_status put(bole_key_value_store *store, bole_slice key, bole_slice value, bool durable,
                       bole_error *error)
{
    bole_key_value_operation operation = { .key = key, .value = value };
    return write_all(store, &operation, 1, durable, error);
}

static bole_status remove_key(bole_key_value_store *store, bole_slice key, bool durable, bole_error *error)
{
    bole_key_value_operation operation = { .removes = true, .key = key };
    return write_all(store, &operation, 1, durable, error);
}

static int begin_reading(const engine *self)
{
    if (reading_of == self->env)
        return mdb_txn_renew(reading);
    int code = mdb_txn_begin(self->env, NULL, MDB_RDONLY, &reading);
    reading_of = code == 0 ? self->env : NULL;
    return code;
}

static bole_status get(bole_key_value_store *store, bole_slice key,
                       void (*visit)(void *context, bole_slice value), void *context, bole_error *error)
{
    (void)error;
    const engine *self = (const engine *)store;
    int code = begin_reading(self);
    if (code != 0)
        return failed(code, "begin");
    MDB_val name = { key.size, (void *)(uintptr_t)key.data }, value;
    code = mdb_get(reading, self->dbi, &name, &value);
    if (code == 0)
        visit(context, (bole_slice){ value.mv_data, value.mv_size });
    mdb_txn_reset(reading);
    return failed(code, "get");
}

/* In one transaction. */
static bole_status get_many(bole_key_value_store *store, const bole_slice *keys, size_t count,
                            void (*visit)(void *context, size_t index, bole_slice value), void *context,
                            bole_error *error)
{
    (void)error;
    const engine *self = (const engine *)store;
    int code = begin_reading(self);
    if (code != 0)
        return failed(code, "begin");
    for (size_t i = 0; i < count && code == 0; i++) {
        MDB_val name = { keys[i].size, (void *)(uintptr_t)keys[i].data }, value;
        code = mdb_get(reading, self->dbi, &name, &value);
        if (code == 0)
            visit(context, i, (bole_slice){ value.mv_data, value.mv_size });
        else if (code == MDB_NOTFOUND)
            code = 0;
    }
    mdb_txn_reset(reading);
    return failed(code, "get");
}

static void cursor_close(bole_key_value_cursor *base)
{
    if (base == NULL)
        return;
    engine_cursor *cursor = (engine_cursor *)base;
    if (cursor->cursor != NULL)
        mdb_cursor_close(cursor->cursor);
    if (cursor->txn != NULL)
        mdb_txn_abort(cursor->txn);
    free(cursor);
}

static bole_status cursor_open(bole_key_value_store *store, bole_key_value_cursor **out, bole_error *error)
{
    (void)error;
    engine *self = (engine *)store;
    engine_cursor *cursor = calloc(1, sizeof *cursor);
    *out = NULL;
    if (cursor == NULL)
        return BOLE_NO_MEMORY;
    cursor->base.store = store;
    int code = mdb_txn_begin(self->env, NULL, MDB_RDONLY, &cursor->txn);
    if (code == 0)
        code = mdb_cursor_open(cursor->txn, self->dbi, &cursor->cursor);
    if (code != 0) {
        cursor_close(&cursor->base);
        return failed(code, "cursor");
    }
    *out = &cursor->base;
    return BOLE_OK;
}

static bool move(bole_key_value_cursor *base, MDB_val key, MDB_cursor_op how)
{
    MDB_val value;
    int code = mdb_cursor_get(((engine_cursor *)base)->cursor, &key, &value, how);
    if (code != 0) {
        base->status = code == MDB_NOTFOUND ? BOLE_OK : failed(code, "cursor");
        return false;
    }
    base->key = (bole_slice){ key.mv_data, key.mv_size };
    base->value = (bole_slice){ value.mv_data, value.mv_size };
    return true;
}

static bool seek(bole_key_value_cursor *cursor, bole_slice key)
{
    return move(cursor, (MDB_val){ key.size, (void *)(uintptr_t)key.data }, MDB_SET_RANGE);
}
static bool first(bole_key_value_cursor *cursor) { return move(cursor, (MDB_val){ 0, NULL }, MDB_FIRST); }
static bool last(bole_key_value_cursor *cursor) { return move(cursor, (MDB_val){ 0, NULL }, MDB_LAST); }
static bool next(bole_key_value_cursor *cursor) { return move(cursor, (MDB_val){ 0, NULL }, MDB_NEXT); }
static bool previous(bole_key_value_cursor *cursor) { return move(cursor, (MDB_val){ 0, NULL }, MDB_PREV); }

static bole_status nothing_to_do(bole_key_value_store *store, bole_error *error)
{
    (void)store, (void)error;
    return BOLE_OK; /* no background work, and no form more compact than it has */
}

static bole_status close_store(bole_key_value_store *store, bole_error *error)
{
    (void)error;
    engine *self = (engine *)store;
    if (reading_of == self->env && reading != NULL)
        mdb_txn_abort(reading);
    reading = NULL;
    reading_of = NULL;
    mdb_env_close(self->env);
    pthread_mutex_destroy(&self->mutex);
    free(self);
    return BOLE_OK;
}

static const bole_key_value_methods methods = {
    .name = "lmdb",
    .put = put,
    .remove = remove_key,
    .write = write_all,
    .get = get,
    .get_many = get_many,
    .cursor_open = cursor_open,
    .cursor_seek = seek,
    .cursor_first = first,
    .cursor_last = last,
    .cursor_next = next,
    .cursor_previous = previous,
    .cursor_close = cursor_close,
    .settle = nothing_to_do,
    .compact = nothing_to_do,
    .close = close_store,
};

static bole_key_value_store *open_store(const char *path, const bench_settings *settings)
{
    engine *self = calloc(1, sizeof *self);
    if (self == NULL)
        return NULL;
    self->base.methods = &methods;
    pthread_mutex_init(&self->mutex, NULL);
    (void)mkdir(path, 0700);
    unsigned flags = MDB_NOTLS | MDB_NORDAHEAD | (settings->durable ? 0 : MDB_WRITEMAP | MDB_NOSYNC);
    MDB_txn *txn;
    int code = mdb_env_create(&self->env);
    if (code == 0)
        code = mdb_env_set_mapsize(self->env, settings->data_bytes * 4 + ((size_t)1 << 30));
    if (code == 0)
        code = mdb_env_set_maxreaders(self->env, READERS * 8);
    if (code == 0)
        code = mdb_env_open(self->env, path, flags, 0600);
    if (code == 0)
        code = mdb_txn_begin(self->env, NULL, 0, &txn);
    if (code == 0) {
        code = mdb_dbi_open(txn, NULL, 0, &self->dbi);
        MDB_cursor *cursor;
        MDB_val key, value;
        if (code == 0 && mdb_cursor_open(txn, self->dbi, &cursor) == 0) {
            if (mdb_cursor_get(cursor, &key, &value, MDB_LAST) == 0) {
                memcpy(self->last, key.mv_data, key.mv_size);
                self->last_bytes = key.mv_size;
            }
            mdb_cursor_close(cursor);
        }
        code = code == 0 ? mdb_txn_commit(txn) : code;
    }
    if (code == 0)
        return &self->base;
    (void)failed(code, "open");
    (void)close_store(&self->base, NULL);
    return NULL;
}

static const char *version(void) { return mdb_version(NULL, NULL, NULL); }

const bench_engine bench_lmdb = { "lmdb", version, false, open_store };
