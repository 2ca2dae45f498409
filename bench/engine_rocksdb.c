/* SPDX-License-Identifier: MIT */
/* engine_rocksdb.c -- RocksDB through its C interface: leveled, dynamic level sizes, two background jobs (the machine
 * of the figures has two cores), full filters, index and filters of level 0 pinned; as its tuning guide says.
 * Debian builds it with its debug assertions on: ROCKSDB_PREFIX names a build of your own instead. */
#include "bench.h"

#include <rocksdb/c.h>
#include <stdlib.h>
#include <unistd.h>

typedef struct engine {
    bole_key_value_store base;
    rocksdb_t *db;
    rocksdb_options_t *options;
    rocksdb_cache_t *cache;
    rocksdb_block_based_table_options_t *blocks;
    rocksdb_writeoptions_t *plain, *durable;
    rocksdb_readoptions_t *reading;
} engine;

typedef struct engine_cursor {
    bole_key_value_cursor base;
    rocksdb_iterator_t *iterator;
} engine_cursor;

static bole_status failed(char *message, const char *what)
{
    if (message == NULL)
        return BOLE_OK;
    bench_say("rocksdb", what, message);
    rocksdb_free(message);
    return BOLE_IO;
}

static bole_status put(bole_key_value_store *store, bole_slice key, bole_slice value, bool durable,
                       bole_error *error)
{
    (void)error;
    engine *self = (engine *)store;
    char *message = NULL;
    rocksdb_put(self->db, durable ? self->durable : self->plain, key.data, key.size, value.data, value.size,
                &message);
    return failed(message, "put");
}

static bole_status remove_key(bole_key_value_store *store, bole_slice key, bool durable, bole_error *error)
{
    (void)error;
    engine *self = (engine *)store;
    char *message = NULL;
    rocksdb_delete(self->db, durable ? self->durable : self->plain, key.data, key.size, &message);
    return failed(message, "delete");
}

static bole_status write_all(bole_key_value_store *store, const bole_key_value_operation *operations,
                             size_t count, bool durable, bole_error *error)
{
    (void)error;
    engine *self = (engine *)store;
    char *message = NULL;
    rocksdb_writebatch_t *batch = rocksdb_writebatch_create();
    for (size_t i = 0; i < count; i++) {
        const bole_key_value_operation *o = &operations[i];
        if (o->removes)
            rocksdb_writebatch_delete(batch, o->key.data, o->key.size);
        else
            rocksdb_writebatch_put(batch, o->key.data, o->key.size, o->value.data, o->value.size);
    }
    rocksdb_write(self->db, durable ? self->durable : self->plain, batch, &message);
    rocksdb_writebatch_destroy(batch);
    return failed(message, "write");
}

static bole_status get(bole_key_value_store *store, bole_slice key,
                       void (*visit)(void *context, bole_slice value), void *context, bole_error *error)
{
    (void)error;
    engine *self = (engine *)store;
    char *message = NULL;
    rocksdb_pinnableslice_t *pinned = rocksdb_get_pinned(self->db, self->reading, key.data, key.size,
                                                         &message);
    if (message != NULL)
        return failed(message, "get");
    if (pinned == NULL)
        return BOLE_NOT_FOUND;
    size_t size = 0;
    const char *value = rocksdb_pinnableslice_value(pinned, &size);
    visit(context, (bole_slice){ value, size });
    rocksdb_pinnableslice_destroy(pinned);
    return BOLE_OK;
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
    cursor->iterator = rocksdb_create_iterator(self->db, self->reading);
    *out = &cursor->base;
    return BOLE_OK;
}

static bool show(bole_key_value_cursor *base)
{
    rocksdb_iterator_t *iterator = ((engine_cursor *)base)->iterator;
    if (!rocksdb_iter_valid(iterator)) {
        char *message = NULL;
        rocksdb_iter_get_error(iterator, &message);
        base->status = failed(message, "iterator");
        return false;
    }
    base->key.data = rocksdb_iter_key(iterator, &base->key.size);
    base->value.data = rocksdb_iter_value(iterator, &base->value.size);
    return true;
}

static bool seek(bole_key_value_cursor *cursor, bole_slice key)
{
    rocksdb_iter_seek(((engine_cursor *)cursor)->iterator, key.data, key.size);
    return show(cursor);
}
static bool first(bole_key_value_cursor *cursor)
{
    rocksdb_iter_seek_to_first(((engine_cursor *)cursor)->iterator);
    return show(cursor);
}
static bool last(bole_key_value_cursor *cursor)
{
    rocksdb_iter_seek_to_last(((engine_cursor *)cursor)->iterator);
    return show(cursor);
}
static bool next(bole_key_value_cursor *cursor)
{
    rocksdb_iter_next(((engine_cursor *)cursor)->iterator);
    return show(cursor);
}
static bool previous(bole_key_value_cursor *cursor)
{
    rocksdb_iter_prev(((engine_cursor *)cursor)->iterator);
    return show(cursor);
}
static void cursor_close(bole_key_value_cursor *cursor)
{
    if (cursor == NULL)
        return;
    rocksdb_iter_destroy(((engine_cursor *)cursor)->iterator);
    free(cursor);
}

/* Flush what is in memory, then until no compaction runs or is due. */
static bole_status settle(bole_key_value_store *store, bole_error *error)
{
    (void)error;
    engine *self = (engine *)store;
    char *message = NULL;
    rocksdb_flushoptions_t *options = rocksdb_flushoptions_create();
    rocksdb_flush(self->db, options, &message);
    rocksdb_flushoptions_destroy(options);
    if (message != NULL)
        return failed(message, "flush");
    for (;;) {
        uint64_t running = 0, pending = 0, flushing = 0;
        rocksdb_property_int(self->db, "rocksdb.num-running-compactions", &running);
        rocksdb_property_int(self->db, "rocksdb.compaction-pending", &pending);
        rocksdb_property_int(self->db, "rocksdb.num-running-flushes", &flushing);
        if (running + pending + flushing == 0)
            return BOLE_OK;
        usleep(20 * 1000);
    }
}

static bole_status compact(bole_key_value_store *store, bole_error *error)
{
    (void)error;
    rocksdb_compact_range(((engine *)store)->db, NULL, 0, NULL, 0);
    return BOLE_OK;
}

static bole_status close_store(bole_key_value_store *store, bole_error *error)
{
    (void)error;
    engine *self = (engine *)store;
    if (self->db != NULL)
        rocksdb_close(self->db);
    rocksdb_options_destroy(self->options);
    rocksdb_cache_destroy(self->cache);
    rocksdb_block_based_options_destroy(self->blocks);
    rocksdb_writeoptions_destroy(self->plain);
    rocksdb_writeoptions_destroy(self->durable);
    rocksdb_readoptions_destroy(self->reading);
    free(self);
    return BOLE_OK;
}

static const bole_key_value_methods methods = {
    "rocksdb", put,  remove_key, write_all,    get,    cursor_open, seek,        first,
    last,      next, previous,   cursor_close, settle, compact,     close_store,
};

static bole_key_value_store *open_store(const char *path, const bench_settings *settings)
{
    engine *self = calloc(1, sizeof *self);
    if (self == NULL)
        return NULL;
    self->base.methods = &methods;
    self->options = rocksdb_options_create();
    self->cache = rocksdb_cache_create_lru(settings->memory_bytes - settings->memory_bytes / 3);
    self->blocks = rocksdb_block_based_options_create();
    self->plain = rocksdb_writeoptions_create();
    self->durable = rocksdb_writeoptions_create();
    self->reading = rocksdb_readoptions_create();
    uint64_t buffer = settings->memory_bytes / 6;
    rocksdb_writeoptions_set_sync(self->durable, 1);
    rocksdb_block_based_options_set_block_cache(self->blocks, self->cache);
    rocksdb_block_based_options_set_filter_policy(self->blocks, rocksdb_filterpolicy_create_bloom_full(
                                                                    settings->filter_bits));
    rocksdb_block_based_options_set_format_version(self->blocks, 5);
    rocksdb_block_based_options_set_data_block_index_type(
        self->blocks, rocksdb_block_based_table_data_block_index_type_binary_search_and_hash);
    rocksdb_options_set_block_based_table_factory(self->options, self->blocks);
    rocksdb_options_set_create_if_missing(self->options, 1);
    rocksdb_options_increase_parallelism(self->options, 2);
    rocksdb_options_set_write_buffer_size(self->options, buffer < 64 << 20 ? buffer : 64 << 20);
    rocksdb_options_set_level_compaction_dynamic_level_bytes(self->options, 1);
    rocksdb_options_set_max_open_files(self->options, -1);
    rocksdb_options_set_bytes_per_sync(self->options, 1 << 20);
    rocksdb_options_set_compression(self->options, rocksdb_no_compression);
    rocksdb_options_set_bottommost_compression(self->options, settings->lz4 ? rocksdb_lz4_compression
                                                                            : rocksdb_no_compression);
    char *message = NULL;
    self->db = rocksdb_open(self->options, path, &message);
    if (failed(message, "open") == BOLE_OK)
        return &self->base;
    (void)close_store(&self->base, NULL);
    return NULL;
}

static const char *version(void) { return BENCH_ROCKSDB; }

const bench_engine bench_rocksdb = { "rocksdb", version, true, open_store };
