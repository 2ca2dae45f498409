/* SPDX-License-Identifier: MIT */
/* engine_rocksdb.c -- RocksDB through its C interface: leveled, dynamic level sizes, two background jobs (the machine
 * of the figures has two cores), full filters, hash index in data blocks; index and filters stay in memory, as is its
 * default. Debian builds it with its debug assertions on: ROCKSDB_PREFIX names a build of your own instead. */
#include "bench.h"

#include <rocksdb/c.h>
#include <stdlib.h>
#include <unistd.h>

enum { MANY = 64 };

typedef struct engine {
    bole_key_value_store base;
    rocksdb_t *db;
    rocksdb_column_family_handle_t *family; /* the default one */
    rocksdb_options_t *options;
    rocksdb_cache_t *cache;
    rocksdb_block_based_table_options_t *blocks;
    rocksdb_writeoptions_t *plain, *durable;
    rocksdb_readoptions_t *reading;
} engine;

#define API(name) rocksdb_##name
#define BENCH_FAMILY_NAME "rocksdb"
#include "leveldb_family.h"

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

/* The batched form, whose values are pinned where they are; the handle of the default column family comes with it. */
static bole_status get_many(bole_key_value_store *store, const bole_slice *keys, size_t count,
                            void (*visit)(void *context, size_t index, bole_slice value), void *context,
                            bole_error *error)
{
    (void)error;
    engine *self = (engine *)store;
    bole_status result = BOLE_OK;
    for (size_t begin = 0; begin < count; begin += MANY) {
        size_t size = count - begin < MANY ? count - begin : MANY;
        const char *names[MANY];
        size_t bytes[MANY];
        rocksdb_pinnableslice_t *values[MANY];
        char *messages[MANY];
        for (size_t i = 0; i < size; i++) {
            names[i] = keys[begin + i].data;
            bytes[i] = keys[begin + i].size;
        }
        rocksdb_batched_multi_get_cf(self->db, self->reading, self->family, size, names, bytes, values,
                                     messages, false);
        for (size_t i = 0; i < size; i++) {
            if (messages[i] != NULL)
                result = failed(messages[i], "multi-get");
            if (values[i] == NULL)
                continue;
            size_t length = 0;
            const char *value = rocksdb_pinnableslice_value(values[i], &length);
            visit(context, begin + i, (bole_slice){ value, length });
            rocksdb_pinnableslice_destroy(values[i]);
        }
    }
    return result;
}

/* Until no flush or compaction runs or is due. What its memtable holds stays there, as in the other engines. */
static bole_status settle(bole_key_value_store *store, bole_error *error)
{
    (void)error;
    engine *self = (engine *)store;
    for (;;) {
        uint64_t running = 0, pending = 0, flushing = 0, due = 0;
        rocksdb_property_int(self->db, "rocksdb.num-running-compactions", &running);
        rocksdb_property_int(self->db, "rocksdb.compaction-pending", &pending);
        rocksdb_property_int(self->db, "rocksdb.num-running-flushes", &flushing);
        rocksdb_property_int(self->db, "rocksdb.mem-table-flush-pending", &due);
        if (running + pending + flushing + due == 0)
            return BOLE_OK;
        usleep(20 * 1000);
    }
}

static bole_status close_store(bole_key_value_store *store, bole_error *error)
{
    (void)error;
    engine *self = (engine *)store;
    if (self->family != NULL)
        rocksdb_column_family_handle_destroy(self->family);
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
    .name = "rocksdb",
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
    if (settings->limit_bytes !=
        0) { /* all that it holds within its budget, and no second copy in the page cache */
        rocksdb_block_based_options_set_cache_index_and_filter_blocks(self->blocks, 1);
        rocksdb_options_set_use_direct_reads(self->options, 1);
    }
    rocksdb_options_set_bytes_per_sync(self->options, 1 << 20);
    rocksdb_options_set_compression(self->options, rocksdb_no_compression);
    rocksdb_options_set_bottommost_compression(self->options, settings->lz4 ? rocksdb_lz4_compression
                                                                            : rocksdb_no_compression);
    char *message = NULL;
    const char *name = "default";
    const rocksdb_options_t *options = self->options;
    self->db = rocksdb_open_column_families(self->options, path, 1, &name, &options, &self->family, &message);
    if (failed(message, "open") == BOLE_OK)
        return &self->base;
    (void)close_store(&self->base, NULL);
    return NULL;
}

static const char *version(void) { return BENCH_ROCKSDB; }

const bench_engine bench_rocksdb = { "rocksdb", version, true, open_store };
