/* SPDX-License-Identifier: MIT */
/* engine_bole.c -- bole, as anybody would open it, with the budget of the run. */
#include "bench.h"

/* Of one limit for all: bole's budget in percent, of which it uses seven eighths; and a memtable's share, one in 64, as
 * suits a store that is read more than written: what memtables may take is kept free of blocks. */
enum { LIMIT_BUDGET = 95, LIMIT_MEMTABLES = 64 };

static bole_key_value_store *open_store(const char *path, const bench_settings *settings)
{
    bole_options options = BOLE_OPTIONS_INIT;
    options.flags = BOLE_CREATE;
    options.memory_limit = settings->memory_bytes;
    if (settings->limit_bytes != 0) { /* above half of what there is: it reads past the page cache */
        options.memory_limit = settings->limit_bytes / 100 * LIMIT_BUDGET;
        options.memtable_bytes = settings->limit_bytes / LIMIT_MEMTABLES;
    }
    options.filter_bits_per_key = (uint32_t)settings->filter_bits;
    options.compression = settings->lz4 ? BOLE_COMPRESSION_LZ4 : BOLE_COMPRESSION_NONE;
    options.compression_upper = BOLE_COMPRESSION_NONE;
    if (settings->durable)
        options.durability = BOLE_DURABILITY_POWER;
    bole_error error = BOLE_ERROR_INIT;
    bole_db *db;
    bole_key_value_store *store;
    if (bole_open(path, &options, &db, &error) != BOLE_OK) {
        bench_say("bole", "open", error.message);
        return NULL;
    }
    if (bole_key_value_store_create(db, true, &store) != BOLE_OK) {
        bench_say("bole", "open", "no memory");
        (void)!bole_close(db, NULL);
        return NULL;
    }
    return store;
}

const bench_engine bench_bole = { "bole", bole_version, true, open_store };
