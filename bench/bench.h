/* SPDX-License-Identifier: MIT */
/* bench.h -- engines behind the key-value-store interface, workloads over it, and what a run measured.
 *
 * FILES  bench.c        options, one process for each engine and round, JSON
 *        workloads.c    what is done, and what is measured meanwhile
 *        measure.c      clocks, latencies, random numbers
 *        keys.c         keys and values as functions of a number, so that everything read is checked
 *        limit.c        a memory limit for a process and its page cache
 *        files.c        directories: size, removal, leaving the page cache
 *        engine_*.c     one engine each; built when its package is found
 * Medians, ratios and pictures are made of the JSON by scripts/bench_report.py. */
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
    uint64_t limit_bytes;  /* not 0: the whole process and its page cache may take no more; memory_bytes is less */
} bench_settings;

typedef struct bench_engine {
    const char *name;
    const char *(*version)(void);
    bool lz4; /* it can compress with LZ4 */
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
/* Ask for what the key of a path is made of, before it is made: where it stands, and, `near`, its text. */
void bench_key_ask(uint64_t number, bool near);
/* Bytes of a key, the mean of the first `count`. */
size_t bench_key_bytes(bench_keyset keyset, uint64_t count);
/* The value of `number` in a write of `generation`; half of it compresses. */
void bench_value(uint64_t number, uint32_t generation, char *out, size_t bytes);
/* Is it a value of `number`, in whole, of any generation up to `generation_max`? */
bool bench_value_is_right(uint64_t number, uint32_t generation_max, bole_slice value);

/* ---- workloads.c ---- */
typedef struct bench_plan {
    const bench_engine *engine;
    const char *path; /* the engine's directory: every store lies in it */
    bench_settings settings;
    bench_keyset keyset;
    uint64_t entries; /* in the main store */
    size_t value_bytes;
    uint64_t reads;     /* operations of a row that reads */
    const char *rows;   /* names of rows, separated by commas; NULL: all */
    double row_seconds; /* a row that takes longer is cut off; twice as long for the stores of YCSB */
    double seconds;     /* after that many no row begins */
    const char *limited; /* the one row to be run under settings.limit_bytes; NULL: those without a limit */
    double limited_seconds; /* of such a row: so long it runs, after as long to warm up */
} bench_plan;

typedef enum bench_kind {
    BENCH_BEGUN,    /* a row has begun: whoever waits may begin to count the seconds */
    BENCH_MEASURED, /* to its end */
    BENCH_CUT,      /* measured until row_seconds were over */
    BENCH_NOT_RUN,  /* `note` says why */
    BENCH_FAILED
} bench_kind;

typedef struct bench_result { /* of one row in one round */
    bench_kind kind;
    char row[32], note[128];
    uint64_t operations;
    double per_second;           /* what counts for this row: one of the following */
    double burst_per_second;     /* until the last call returned */
    double sustained_per_second; /* until nothing was left to be done behind the calls; 0: there is nothing */
    double p50_us, p90_us, p99_us, p999_us, p9999_us, max_us;
    double cpu_seconds;
    uint64_t resident_bytes, read_bytes, written_bytes, store_bytes, user_bytes, device_flushes;
} bench_result;

/* Run the plan's rows in their order; `told` gets each result. False: something went wrong and was said on stderr. */
bool bench_run(const bench_plan *plan, void (*told)(void *context, const bench_result *result), void *context);
bool bench_row_is_known(const char *row);
const char *bench_row_name(unsigned index); /* in the order in which they run; NULL: there are no more */
/* The rows under a memory limit, by index; NULL: there are no more. */
const char *bench_limited_row(unsigned index);
/* The limit of such a row: a quarter of the keys and values of its store. */
uint64_t bench_limit_bytes(const bench_plan *plan, const char *row);

/* ---- limit.c ---- */
typedef struct bench_limit {
    char group[512]; /* the control group's directory; empty: there is none */
} bench_limit;
/* A control group (version 1 or 2) below that of this process, with `bytes` for memory and page cache together. False:
 * there can be none, and `why` says why. */
bool bench_limit_make(uint64_t bytes, bench_limit *out, char why[128]);
bool bench_limit_join(const bench_limit *limit); /* for this process and its children, for good */
void bench_limit_remove(bench_limit *limit);     /* after those in it have ended */

/* ---- files.c ---- */
uint64_t bench_directory_bytes(const char *path); /* on disk */
bool bench_remove_directory(const char *path);    /* with all in it; says what it could not remove */
/* Write the files below it out and let them go from the page cache; the share of them that stayed, 0 to 1. */
double bench_leave_page_cache(const char *path);

/* Is `name` among the names of `list`, separated by commas? */
bool bench_is_listed(const char *list, const char *name);
/* For adapters: "engine: what: why" on stderr. */
void bench_say(const char *engine, const char *what, const char *why);

#endif
