/* SPDX-License-Identifier: MIT */
/* key_value_store.c -- bole behind the brief's key-value-store interface (bole/key_value_store.h).
 *
 * Nothing but forwarding to the public calls: a put is bole_put, a get is a pinned view, and an iterator is a cursor.
 * Buffers of get_many are kept for the next call: one that comes meanwhile makes its own.
 * THREADS     As bole.h says.
 * NOT HERE    Any engine work. */
#include "base/alloc.h"
#include "base/status.h"
#include "engine/read.h"

#include <stdatomic.h>

enum { GROUP = 64 }; /* keys of one bole_multi_get, at most */

typedef struct group {
    bole_buffer values[GROUP];
} group;

typedef struct adapter {
    bole_key_value_store base; /* first */
    bole_db *db;
    bool owns_db;
    _Atomic(group *) spare; /* of the get_many before, or NULL */
} adapter;

static bole_db *db_of(bole_key_value_store *store) { return ((adapter *)store)->db; }

static bole_write_options options_of(bool durable, bole_error *error)
{
    bole_write_options options = BOLE_WRITE_OPTIONS_INIT;
    options.durability = durable ? BOLE_DURABILITY_POWER : BOLE_DURABILITY_DEFAULT;
    options.error = error;
    return options;
}

static bole_status put(bole_key_value_store *store, bole_slice key, bole_slice value, bool durable,
                       bole_error *error)
{
    bole_write_options options = options_of(durable, error);
    return bole_put(db_of(store), &options, key, value);
}

static bole_status remove_key(bole_key_value_store *store, bole_slice key, bool durable, bole_error *error)
{
    bole_write_options options = options_of(durable, error);
    return bole_delete(db_of(store), &options, key);
}

static bole_status write_all(bole_key_value_store *store, const bole_key_value_operation *operations,
                             size_t count, bool durable, bole_error *error)
{
    bole_write_options options = options_of(durable, error);
    bole_batch *batch;
    bole_status status = bole_batch_create(&batch);
    for (size_t i = 0; status == BOLE_OK && i < count; i++) {
        const bole_key_value_operation *operation = &operations[i];
        status = operation->removes ? bole_batch_delete(batch, NULL, operation->key)
                                    : bole_batch_put(batch, NULL, operation->key, operation->value);
    }
    if (status == BOLE_OK)
        status = bole_write(db_of(store), &options, batch);
    else
        (void)bl_fail(error, status, "a batch of %zu operations", count);
    bole_batch_destroy(batch);
    return status;
}

static bole_status get(bole_key_value_store *store, bole_slice key,
                       void (*visit)(void *context, bole_slice value), void *context, bole_error *error)
{
    bole_read_options options = BOLE_READ_OPTIONS_INIT;
    options.error = error;
    bole_view view;
    bole_status status = bole_get_view(db_of(store), &options, key, &view);
    if (status != BOLE_OK)
        return status;
    visit(context, view.value);
    bole_view_release(&view);
    return BOLE_OK;
}

static void free_group(group *values)
{
    for (size_t i = 0; values != NULL && i < GROUP; i++)
        bole_buffer_free(&values->values[i]);
    bl_free(values);
}

/* All keys at one moment: more than a group of them share a snapshot. */
static bole_status get_many(bole_key_value_store *store, const bole_slice *keys, size_t count,
                            void (*visit)(void *context, size_t index, bole_slice value), void *context,
                            bole_error *error)
{
    adapter *self = (adapter *)store;
    bole_read_options options = BOLE_READ_OPTIONS_INIT;
    options.error = error;
    bole_snapshot *moment = NULL;
    group *mine = atomic_exchange(&self->spare, NULL);
    if (mine == NULL && (mine = bl_new(group)) == NULL)
        return bl_fail(error, BOLE_NO_MEMORY, "values of %zu keys", count);
    bole_status result = count > GROUP ? bole_snapshot_create(self->db, &moment, error) : BOLE_OK;
    options.snapshot = moment;
    for (size_t begin = 0; begin < count && result == BOLE_OK; begin += GROUP) {
        bole_status statuses[GROUP];
        size_t size = count - begin < GROUP ? count - begin : GROUP;
        result = bole_multi_get(self->db, &options, size, keys + begin, mine->values, statuses);
        for (size_t i = 0; i < size && result == BOLE_OK; i++)
            if (statuses[i] == BOLE_OK)
                visit(context, begin + i, (bole_slice){ mine->values[i].data, mine->values[i].size });
    }
    bole_snapshot_destroy(moment);
    free_group(atomic_exchange(&self->spare, mine));
    return result;
}

/* ---- cursors ---- */

static bole_status cursor_open(bole_key_value_store *store, bole_key_value_cursor **out, bole_error *error)
{
    *out = NULL;
    /* Without a place for stories: it would have to live as long as the cursor. */
    bole_iterator *iterator;
    bole_status status = bole_iterator_create(db_of(store), NULL, &iterator);
    if (status != BOLE_OK)
        return bl_fail(error, status, "cursor: %s", bole_status_name(status));
    *out = bl_iterator_as_cursor(iterator);
    (*out)->store = store;
    return BOLE_OK;
}

static bool cursor_seek(bole_key_value_cursor *cursor, bole_slice key)
{
    return bole_iterator_seek(bl_cursor_as_iterator(cursor), key);
}

static bool cursor_first(bole_key_value_cursor *cursor)
{
    return bole_iterator_seek_first(bl_cursor_as_iterator(cursor));
}

static bool cursor_last(bole_key_value_cursor *cursor)
{
    return bole_iterator_seek_last(bl_cursor_as_iterator(cursor));
}

static bool cursor_next(bole_key_value_cursor *cursor)
{
    return bole_iterator_next(bl_cursor_as_iterator(cursor));
}

static bool cursor_previous(bole_key_value_cursor *cursor)
{
    return bole_iterator_prev(bl_cursor_as_iterator(cursor));
}

static void cursor_close(bole_key_value_cursor *cursor)
{
    bole_iterator_destroy(bl_cursor_as_iterator(cursor));
}

/* ---- the whole ---- */

static bole_status settle(bole_key_value_store *store, bole_error *error)
{
    return bole_wait_idle(db_of(store), error);
}

static bole_status compact(bole_key_value_store *store, bole_error *error)
{
    return bole_compact(db_of(store), NULL, (bole_slice){ NULL, 0 }, (bole_slice){ NULL, 0 }, error);
}

static bole_status close_store(bole_key_value_store *store, bole_error *error)
{
    adapter *self = (adapter *)store;
    bole_status status = self->owns_db ? bole_close(self->db, error) : BOLE_OK;
    free_group(atomic_load(&self->spare));
    bl_free(store);
    return status;
}

static const bole_key_value_methods methods = {
    .name = "bole",
    .put = put,
    .remove = remove_key,
    .write = write_all,
    .get = get,
    .get_many = get_many,
    .cursor_open = cursor_open,
    .cursor_seek = cursor_seek,
    .cursor_first = cursor_first,
    .cursor_last = cursor_last,
    .cursor_next = cursor_next,
    .cursor_previous = cursor_previous,
    .cursor_close = cursor_close,
    .settle = settle,
    .compact = compact,
    .close = close_store,
};

BOLE_API bole_status bole_key_value_store_create(bole_db *db, bool owns_db, bole_key_value_store **out)
{
    *out = NULL;
    adapter *self = bl_new(adapter);
    if (self == NULL)
        return BOLE_NO_MEMORY;
    self->base.methods = &methods;
    self->db = db;
    self->owns_db = owns_db;
    *out = &self->base;
    return BOLE_OK;
}
