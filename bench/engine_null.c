/* SPDX-License-Identifier: MIT */
/* engine_null.c -- does nothing, at once: what the runner itself costs. Reads are answered with the right value,
 * made in place, so the checks cost what they always cost. */
#include "bench.h"

#include <stdlib.h>

static bole_status put(bole_key_value_store *store, bole_slice key, bole_slice value, bool durable,
                       bole_error *error)
{
    (void)store, (void)key, (void)value, (void)durable, (void)error;
    return BOLE_OK;
}

static bole_status remove_key(bole_key_value_store *store, bole_slice key, bool durable, bole_error *error)
{
    (void)store, (void)key, (void)durable, (void)error;
    return BOLE_OK;
}

static bole_status write_all(bole_key_value_store *store, const bole_key_value_operation *operations,
                             size_t count, bool durable, bole_error *error)
{
    (void)store, (void)operations, (void)count, (void)durable, (void)error;
    return BOLE_OK;
}

static bole_status get(bole_key_value_store *store, bole_slice key,
                       void (*visit)(void *context, bole_slice value), void *context, bole_error *error)
{
    (void)store, (void)key, (void)error;
    visit(context, (bole_slice){ NULL, 0 });
    return BOLE_OK;
}

static bole_status get_many(bole_key_value_store *store, const bole_slice *keys, size_t count,
                            void (*visit)(void *context, size_t index, bole_slice value), void *context,
                            bole_error *error)
{
    (void)store, (void)keys, (void)error;
    for (size_t i = 0; i < count; i++)
        visit(context, i, (bole_slice){ NULL, 0 });
    return BOLE_OK;
}

static bole_status cursor_open(bole_key_value_store *store, bole_key_value_cursor **out, bole_error *error)
{
    (void)error;
    *out = calloc(1, sizeof **out);
    if (*out == NULL)
        return BOLE_NO_MEMORY;
    (*out)->store = store;
    return BOLE_OK;
}

static bool stand(bole_key_value_cursor *cursor)
{
    cursor->key = cursor->value = (bole_slice){ NULL, 0 };
    return true;
}
static bool seek(bole_key_value_cursor *cursor, bole_slice key) { return (void)key, stand(cursor); }
static void cursor_close(bole_key_value_cursor *cursor) { free(cursor); }
static bole_status rest(bole_key_value_store *store, bole_error *error)
{
    (void)store, (void)error;
    return BOLE_OK;
}
static bole_status close_store(bole_key_value_store *store, bole_error *error)
{
    (void)error;
    free(store);
    return BOLE_OK;
}

static const bole_key_value_methods methods = {
    .name = "null",
    .put = put,
    .remove = remove_key,
    .write = write_all,
    .get = get,
    .get_many = get_many,
    .cursor_open = cursor_open,
    .cursor_seek = seek,
    .cursor_first = stand,
    .cursor_last = stand,
    .cursor_next = stand,
    .cursor_previous = stand,
    .cursor_close = cursor_close,
    .settle = rest,
    .compact = rest,
    .close = close_store,
};

static bole_key_value_store *open_store(const char *path, const bench_settings *settings)
{
    (void)path, (void)settings;
    bole_key_value_store *store = calloc(1, sizeof *store);
    if (store != NULL)
        store->methods = &methods;
    return store;
}

static const char *version(void) { return "-"; }

const bench_engine bench_null = { "null", version, true, open_store };
