/* SPDX-License-Identifier: MIT */
/* bench.h -- engines behind the key-value-store interface, workloads over it, and what a run measured.
 *
 * FILES  bench.c        options, one process for each engine and round, the table, JSON
 *        workloads.c    what is done, and what is measured meanwhile
 *        keys.c         keys and values as functions of a number, so that everything read is checked
 *        engine_*.c     one engine each; built when its package is found */
#ifndef BOLE_BENCH_H
#define BOLE_BENCH_H

#include <bole/key_value_store.h>

#include <stdio.h>

/* How an engine is to be opened. */
typedef struct bench_settings {
    uint64_t memory_bytes; /* write buffers and caches together; LMDB has none of its own */
    uint64_t data_bytes;   /* expected; for maps that are sized once */
    int filter_bits;       /* of Bloom filters, a key */
    bool lz4;              /* compress blocks; engines that cannot are left out */
    bool durable;          /* writes will ask for the disk: a log that is not is no use */
} bench_settings;

typedef struct bench_engine {
    const char *name;
    const char *(*version)(void);
    bool compresses;
    /* `path` does not exist, or holds a store that this engine closed or lost by a kill. Says what fails. */
    bole_key_value_store *(*open)(const char *path, const bench_settings *settings);
} bench_engine;

extern const bench_engine bench_bole, bench_null;
#ifdef BENCH_ROCKSDB
extern const bench_engine bench_rocksdb;
#endif
#ifdef BENCH_LEVELDB
extern const bench_engine bench_leveldb;
#endif
#ifdef BENCH_LMDB
extern const bench_engine bench_lmdb;
#endif
#ifdef BENCH_WIREDTIGER
extern const bench_engine bench_wiredtiger;
#endif

/* ---- keys.c ---- */
typedef enum bench_keyset { BENCH_BINARY, BENCH_DECIMAL, BENCH_PATHS } bench_keyset;
enum { BENCH_KEY_BYTES_MAX = 512 };
/* Paths of real files for BENCH_PATHS; false with a message when the machine has none. */
bool bench_keys_load(void);
/* Key `number`, all different; the order of keys is the order of numbers for BINARY and DECIMAL. Returns its bytes. */
size_t bench_key(bench_keyset keyset, uint64_t number, char *out);
/* Absent: between its neighbours, but never written. */
size_t bench_absent_key(bench_keyset keyset, uint64_t number, char *out);
/* The value of `number` in a write of `generation`; half of it compresses. */
void bench_value(uint64_t number, uint32_t generation, char *out, size_t bytes);
/* Is it a value of `number`, in whole, of any generation up to `generation_max`? */
bool bench_value_is_right(uint64_t number, uint32_t generation_max, bole_slice value);

/* ---- workloads.c ---- */
typedef struct bench_plan {
    const bench_engine *engine;
    const char *path; /* the store's directory */
    bench_settings settings;
    bench_keyset keyset;
    uint64_t entries; /* in the store */
    size_t value_bytes;
    uint64_t reads;   /* operations of a read row */
    const char *rows; /* names of rows, separated by commas; NULL: all of the short form */
} bench_plan;

typedef struct bench_result { /* of one row in one round */
    char row[32];
    double operations_per_second; /* of the burst */
    double sustained_per_second;  /* with the work that was left to do; 0: there is none */
    double p50_us, p99_us, p999_us, max_us;
    double cpu_seconds;
    uint64_t resident_bytes, written_bytes, store_bytes, user_bytes, device_flushes;
} bench_result;

/* Run the plan's rows in their order; `told` gets each result. False: something went wrong and was said on stderr. */
bool bench_run(const bench_plan *plan, void (*told)(void *context, const bench_result *result),
               void *context);
bool bench_row_is_known(const char *row);
void bench_list_rows(FILE *out);

/* Is `name` among the names of `list`, separated by commas? */
bool bench_is_listed(const char *list, const char *name);
/* For adapters: "engine: what: why" on stderr. */
void bench_say(const char *engine, const char *what, const char *why);
uint64_t bench_directory_bytes(const char *path);

#endif
