/* SPDX-License-Identifier: MIT */
/* leveldb_family.h -- what the C interfaces of LevelDB and RocksDB have in common: all but opening, the cheapest
 * get and when background work has settled. Included once by an adapter that has defined
 *   API(name)           the function or type of that interface: leveldb_##name
 *   BENCH_FAMILY_NAME   for messages
 *   engine              its struct, with `base` first, `db`, `plain` and `durable` (write options), `reading` */
typedef struct engine_cursor {
    bole_key_value_cursor base;
    API(iterator_t) *iterator;
} engine_cursor;

static bole_status failed(char *message, const char *what)
{
    if (message == NULL)
        return BOLE_OK;
    bench_say(BENCH_FAMILY_NAME, what, message);
    API(free)(message);
    return BOLE_IO;
}

static bole_status put(bole_key_value_store *store, bole_slice key, bole_slice value, bool durable,
                       bole_error *error)
{
    (void)error;
    engine *self = (engine *)store;
    char *message = NULL;
    API(put)(self->db, durable ? self->durable : self->plain, key.data, key.size, value.data, value.size,
                &message);
    return failed(message, "put");
}

static bole_status remove_key(bole_key_value_store *store, bole_slice key, bool durable, bole_error *error)
{
    (void)error;
    engine *self = (engine *)store;
    char *message = NULL;
    API(delete)(self->db, durable ? self->durable : self->plain, key.data, key.size, &message);
    return failed(message, "delete");
}

static bole_status write_all(bole_key_value_store *store, const bole_key_value_operation *operations,
                             size_t count, bool durable, bole_error *error)
{
    (void)error;
    engine *self = (engine *)store;
    char *message = NULL;
    API(writebatch_t) *batch = API(writebatch_create)();
    for (size_t i = 0; i < count; i++) {
        const bole_key_value_operation *o = &operations[i];
        if (o->removes)
            API(writebatch_delete)(batch, o->key.data, o->key.size);
        else
            API(writebatch_put)(batch, o->key.data, o->key.size, o->value.data, o->value.size);
    }
    API(write)(self->db, durable ? self->durable : self->plain, batch, &message);
    API(writebatch_destroy)(batch);
    return failed(message, "write");
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
    cursor->iterator = API(create_iterator)(self->db, self->reading);
    *out = &cursor->base;
    return BOLE_OK;
}

static bool show(bole_key_value_cursor *base)
{
    API(iterator_t) *iterator = ((engine_cursor *)base)->iterator;
    if (!API(iter_valid)(iterator)) {
        char *message = NULL;
        API(iter_get_error)(iterator, &message);
        base->status = failed(message, "iterator");
        return false;
    }
    base->key.data = API(iter_key)(iterator, &base->key.size);
    base->value.data = API(iter_value)(iterator, &base->value.size);
    return true;
}

static bool seek(bole_key_value_cursor *cursor, bole_slice key)
{
    API(iter_seek)(((engine_cursor *)cursor)->iterator, key.data, key.size);
    return show(cursor);
}
static bool first(bole_key_value_cursor *cursor)
{
    API(iter_seek_to_first)(((engine_cursor *)cursor)->iterator);
    return show(cursor);
}
static bool last(bole_key_value_cursor *cursor)
{
    API(iter_seek_to_last)(((engine_cursor *)cursor)->iterator);
    return show(cursor);
}
static bool next(bole_key_value_cursor *cursor)
{
    API(iter_next)(((engine_cursor *)cursor)->iterator);
    return show(cursor);
}
static bool previous(bole_key_value_cursor *cursor)
{
    API(iter_prev)(((engine_cursor *)cursor)->iterator);
    return show(cursor);
}
static void cursor_close(bole_key_value_cursor *cursor)
{
    if (cursor == NULL)
        return;
    API(iter_destroy)(((engine_cursor *)cursor)->iterator);
    free(cursor);
}

static bole_status compact(bole_key_value_store *store, bole_error *error)
{
    (void)error;
    API(compact_range)(((engine *)store)->db, NULL, 0, NULL, 0);
    return BOLE_OK;
}
