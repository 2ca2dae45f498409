/* SPDX-License-Identifier: MIT */
/* engine_leveldb.c -- LevelDB through its C interface. A third of the budget goes to write buffers, the
 * rest is the cache. */
#include "bench.h"

#include <leveldb/c.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

typedef struct engine {
    bole_key_value_store base;
    leveldb_t *db;
    leveldb_options_t *options;
    leveldb_cache_t *cache;
    leveldb_filterpolicy_t *filter;
    leveldb_writeoptions_t *plain, *durable;
    leveldb_readoptions_t *reading;
} engine;

#define API(name) leveldb_##name
#define BENCH_FAMILY_NAME "leveldb"
#include "leveldb_family.h"

/* Its cheapest get makes a copy: there is no pinned one. */
static bole_status get(bole_key_value_store *store, bole_slice key,
                       void (*visit)(void *context, bole_slice value), void *context, bole_error *error)
{
    (void)error;
    engine *self = (engine *)store;
    char *message = NULL;
    size_t size = 0;
    char *value = leveldb_get(self->db, self->reading, key.data, key.size, &size, &message);
    if (message != NULL)
        return failed(message, "get");
    if (value == NULL)
        return BOLE_NOT_FOUND;
    visit(context, (bole_slice){ value, size });
    leveldb_free(value);
    return BOLE_OK;
}

/* It tells no one when its thread is idle: wait until level 0 is below its trigger and nothing moves for a while. */
static bole_status settle(bole_key_value_store *store, bole_error *error)
{
    (void)error;
    engine *self = (engine *)store;
    char *before = NULL;
    for (int same = 0; same < 3;) {
        usleep(100 * 1000);
        char *now = leveldb_property_value(self->db, "leveldb.sstables");
        same = before != NULL && now != NULL && strcmp(before, now) == 0 ? same + 1 : 0;
        leveldb_free(before);
        before = now;
    }
    leveldb_free(before);
    return BOLE_OK;
}

static bole_status close_store(bole_key_value_store *store, bole_error *error)
{
    (void)error;
    engine *self = (engine *)store;
    if (self->db != NULL)
        leveldb_close(self->db);
    leveldb_options_destroy(self->options);
    leveldb_cache_destroy(self->cache);
    leveldb_filterpolicy_destroy(self->filter);
    leveldb_writeoptions_destroy(self->plain);
    leveldb_writeoptions_destroy(self->durable);
    leveldb_readoptions_destroy(self->reading);
    free(self);
    return BOLE_OK;
}

static const bole_key_value_methods methods = {
    .name = "leveldb",
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
    self->options = leveldb_options_create();
    self->cache = leveldb_cache_create_lru(settings->memory_bytes - settings->memory_bytes / 3);
    self->filter = leveldb_filterpolicy_create_bloom(settings->filter_bits);
    self->plain = leveldb_writeoptions_create();
    self->durable = leveldb_writeoptions_create();
    self->reading = leveldb_readoptions_create();
    uint64_t buffer = settings->memory_bytes / 6; /* it keeps two */
    leveldb_writeoptions_set_sync(self->durable, 1);
    leveldb_readoptions_set_verify_checksums(self->reading, 1);
    leveldb_options_set_create_if_missing(self->options, 1);
    leveldb_options_set_cache(self->options, self->cache);
    leveldb_options_set_filter_policy(self->options, self->filter);
    leveldb_options_set_write_buffer_size(self->options, buffer < 64 << 20 ? buffer : 64 << 20);
    leveldb_options_set_max_file_size(self->options, 8 << 20);
    leveldb_options_set_max_open_files(self->options, 10000);
    leveldb_options_set_compression(self->options, leveldb_no_compression);
    char *message = NULL;
    self->db = leveldb_open(self->options, path, &message);
    if (failed(message, "open") == BOLE_OK)
        return &self->base;
    (void)close_store(&self->base, NULL);
    return NULL;
}

static const char *version(void)
{
    static char text[32];
    snprintf(text, sizeof text, "%d.%d", leveldb_major_version(), leveldb_minor_version());
    return text;
}

const bench_engine bench_leveldb = { "leveldb", version, false, open_store };
