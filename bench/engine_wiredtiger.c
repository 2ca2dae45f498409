/* SPDX-License-Identifier: MIT */
/* engine_wiredtiger.c -- WiredTiger: a B-tree (its faster form here), logged, one session a thread. */
#include "bench.h"

#include <pthread.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <wiredtiger.h>

enum { SESSIONS = 32 };

typedef struct engine {
    bole_key_value_store base;
    WT_CONNECTION *connection;
    bool durable;
} engine;

typedef struct engine_cursor {
    bole_key_value_cursor base;
    WT_SESSION *session;
    WT_CURSOR *cursor;
} engine_cursor;

static _Thread_local WT_SESSION *session;
static _Thread_local WT_CURSOR *writing;
static _Thread_local const engine *session_of;

static bole_status failed(int code, const char *what)
{
    if (code == 0)
        return BOLE_OK;
    if (code == WT_NOTFOUND)
        return BOLE_NOT_FOUND;
    bench_say("wiredtiger", what, wiredtiger_strerror(code));
    return BOLE_IO;
}

static int use_session(const engine *self)
{
    if (session_of == self)
        return 0;
    int code = self->connection->open_session(self->connection, NULL, "isolation=snapshot", &session);
    if (code == 0)
        code = session->open_cursor(session, "table:bench", NULL, "overwrite=true", &writing);
    if (code == 0)
        session_of = self;
    return code;
}

static int one(const bole_key_value_operation *operation)
{
    WT_ITEM key = { .data = operation->key.data, .size = operation->key.size };
    WT_ITEM value = { .data = operation->value.data, .size = operation->value.size };
    writing->set_key(writing, &key);
    if (operation->removes) {
        int code = writing->remove(writing);
        return code == WT_NOTFOUND ? 0 : code;
    }
    writing->set_value(writing, &value);
    return writing->insert(writing);
}

static bole_status write_all(bole_key_value_store *store, const bole_key_value_operation *operations,
                             size_t count, bool durable, bole_error *error)
{
    (void)error;
    int code = use_session((const engine *)store);
    bool explicitly = count > 1 || durable;
    do {
        if (code == 0 && explicitly)
            code = session->begin_transaction(session, durable ? "sync=true" : NULL);
        for (size_t i = 0; code == 0 && i < count; i++)
            code = one(&operations[i]);
        if (explicitly && code == 0)
            code = session->commit_transaction(session, NULL);
        else if (explicitly)
            (void)session->rollback_transaction(session, NULL);
    } while (code == WT_ROLLBACK && (code = 0) == 0); /* a conflict: once more */
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

static bole_status get(bole_key_value_store *store, bole_slice key,
                       void (*visit)(void *context, bole_slice value), void *context, bole_error *error)
{
    (void)error;
    int code = use_session((const engine *)store);
    if (code != 0)
        return failed(code, "session");
    WT_ITEM name = { .data = key.data, .size = key.size }, value;
    writing->set_key(writing, &name);
    code = writing->search(writing);
    if (code == 0)
        code = writing->get_value(writing, &value);
    if (code == 0)
        visit(context, (bole_slice){ value.data, value.size });
    (void)writing->reset(writing);
    return failed(code, "get");
}

static void cursor_close(bole_key_value_cursor *base)
{
    if (base == NULL)
        return;
    engine_cursor *cursor = (engine_cursor *)base;
    if (cursor->session != NULL)
        (void)cursor->session->close(cursor->session, NULL); /* its cursors, too */
    free(cursor);
}

static bole_status cursor_open(bole_key_value_store *store, bole_key_value_cursor **out, bole_error *error)
{
    (void)error;
    const engine *self = (const engine *)store;
    engine_cursor *cursor = calloc(1, sizeof *cursor);
    *out = NULL;
    if (cursor == NULL)
        return BOLE_NO_MEMORY;
    cursor->base.store = store;
    int code = self->connection->open_session(self->connection, NULL, "isolation=snapshot", &cursor->session);
    if (code == 0)
        code = cursor->session->open_cursor(cursor->session, "table:bench", NULL, NULL, &cursor->cursor);
    if (code == 0)
        code = cursor->session->begin_transaction(cursor->session, NULL); /* one moment */
    if (code != 0) {
        cursor_close(&cursor->base);
        return failed(code, "cursor");
    }
    *out = &cursor->base;
    return BOLE_OK;
}

static bool show(bole_key_value_cursor *base, int code)
{
    WT_CURSOR *cursor = ((engine_cursor *)base)->cursor;
    WT_ITEM key, value;
    if (code == 0)
        code = cursor->get_key(cursor, &key);
    if (code == 0)
        code = cursor->get_value(cursor, &value);
    if (code != 0) {
        base->status = code == WT_NOTFOUND ? BOLE_OK : failed(code, "cursor");
        return false;
    }
    base->key = (bole_slice){ key.data, key.size };
    base->value = (bole_slice){ value.data, value.size };
    return true;
}

static WT_CURSOR *cursor_of(bole_key_value_cursor *cursor) { return ((engine_cursor *)cursor)->cursor; }

static bool next(bole_key_value_cursor *cursor)
{
    return show(cursor, cursor_of(cursor)->next(cursor_of(cursor)));
}
static bool previous(bole_key_value_cursor *cursor)
{
    return show(cursor, cursor_of(cursor)->prev(cursor_of(cursor)));
}
static bool first(bole_key_value_cursor *cursor)
{
    (void)cursor_of(cursor)->reset(cursor_of(cursor));
    return next(cursor);
}
static bool last(bole_key_value_cursor *cursor)
{
    (void)cursor_of(cursor)->reset(cursor_of(cursor));
    return previous(cursor);
}
static bool seek(bole_key_value_cursor *cursor, bole_slice key)
{
    WT_CURSOR *below = cursor_of(cursor);
    WT_ITEM name = { .data = key.data, .size = key.size };
    int exact = 0;
    below->set_key(below, &name);
    int code = below->search_near(below, &exact);
    if (code == 0 && exact < 0)
        return next(cursor);
    return show(cursor, code);
}

/* It has no work that must follow: a page is written when the cache needs its room or a checkpoint is due. */
static bole_status settle(bole_key_value_store *store, bole_error *error)
{
    (void)store, (void)error;
    return BOLE_OK;
}

static bole_status compact(bole_key_value_store *store, bole_error *error)
{
    (void)error;
    int code = use_session((const engine *)store);
    return failed(code != 0 ? code : session->compact(session, "table:bench", NULL), "compact");
}

static bole_status close_store(bole_key_value_store *store, bole_error *error)
{
    (void)error;
    engine *self = (engine *)store;
    session_of = NULL;
    int code = self->connection == NULL ? 0 : self->connection->close(self->connection, NULL);
    free(self);
    return failed(code, "close");
}

static const bole_key_value_methods methods = {
    .name = "wiredtiger",
    .put = put,
    .remove = remove_key,
    .write = write_all,
    .get = get,
    .cursor_open = cursor_open,
    .cursor_seek = seek,
    .cursor_first = first,
    .cursor_last = last,
    .cursor_next = next,
    .cursor_previous = previous,
    .cursor_close = cursor_close,
    .settle = settle,
    .compact = compact,
    .close = close_store,
};

static bole_key_value_store *open_store(const char *path, const bench_settings *settings)
{
    engine *self = calloc(1, sizeof *self);
    if (self == NULL)
        return NULL;
    self->base.methods = &methods;
    (void)mkdir(path, 0700);
    char configuration[512], table[256];
    snprintf(configuration, sizeof configuration,
             "create,cache_size=%lluM,session_max=256,log=(enabled=true,compressor=),"
             "transaction_sync=(enabled=false,method=fsync),checkpoint=(wait=60,log_size=1GB)",
             (unsigned long long)(settings->memory_bytes >> 20));
    snprintf(table, sizeof table, "key_format=u,value_format=u,leaf_page_max=16KB,memory_page_max=10MB");
    WT_SESSION *making = NULL;
    int code = wiredtiger_open(path, NULL, configuration, &self->connection);
    if (code == 0)
        code = self->connection->open_session(self->connection, NULL, NULL, &making);
    if (code == 0)
        code = making->create(making, "table:bench", table);
    if (making != NULL)
        (void)making->close(making, NULL);
    if (code == 0)
        return &self->base;
    (void)failed(code, "open");
    (void)close_store(&self->base, NULL);
    return NULL;
}

static const char *version(void)
{
    int major, minor, patch;
    static char text[32];
    (void)wiredtiger_version(&major, &minor, &patch);
    snprintf(text, sizeof text, "%d.%d.%d", major, minor, patch);
    return text;
}

const bench_engine bench_wiredtiger = { "wiredtiger", version, false, open_store };
