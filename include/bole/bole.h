/* SPDX-License-Identifier: MIT */
/* bole.h -- the whole public interface of libbole, and its manual.
 *
 * bole is an ordered, durable, log-structured key-value store that lives inside your process. One directory
 * is one store. Keys are 0 to 65,535 bytes, values 0 bytes to 1 GiB, any bytes in both. Keys are ordered by
 * their bytes (memcmp, then length) unless a table names another comparator.
 *
 *     #include <bole/bole.h>
 *
 *     bole_error error = BOLE_ERROR_INIT;
 *     bole_db *db;
 *     bole_options options = BOLE_OPTIONS_INIT;
 *     options.flags = BOLE_CREATE;
 *     if (bole_open("my.bole", &options, &db, &error) != BOLE_OK)
 *         errx(1, "%s", error.message);
 *     bole_put(db, NULL, BOLE_STR("hello"), BOLE_STR("world"));
 *     bole_buffer value = BOLE_BUFFER_INIT;
 *     if (bole_get(db, NULL, BOLE_STR("hello"), &value) == BOLE_OK)
 *         printf("%.*s\n", (int)value.size, (const char *)value.data);
 *     bole_buffer_free(&value);
 *     bole_close(db, &error);
 *
 * CAVEATS, before the first type
 *   - One process at a time writes to a store; any number may read it (BOLE_READ_ONLY), also while it is written.
 *   - A handle does not survive fork: in the child every call but bole_close returns BOLE_FORKED.
 *   - Never copy, truncate or edit the files of an open store; use bole_checkpoint.
 *   - Checksums find damage, not malice: who can write the files can forge them.
 *
 * CONVENTIONS
 *   Every struct of options starts with its size; set it with its _INIT macro. A field that is 0 means "choose
 *   well for me". NULL for a pointer to options means all defaults. Fields are only ever appended.
 *   Functions return a bole_status, which must be looked at. Ordinary answers are BOLE_OK and BOLE_NOT_FOUND.
 *   A bole_error is the caller's own buffer for the story behind a status; pass NULL where it is of no interest.
 *   open/close own system resources, create/destroy own heap, a bole_slice borrows, a bole_buffer owns.
 *   Unless a function says otherwise it may be called from any thread at any time between open and close. */
#ifndef BOLE_H
#define BOLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define BOLE_VERSION_MAJOR 0
#define BOLE_VERSION_MINOR 1
#define BOLE_VERSION_PATCH 0
#define BOLE_VERSION_STRING "0.1.0"

#if defined(__GNUC__)
#define BOLE_API __attribute__((visibility("default")))
#define BOLE_CHECKED __attribute__((warn_unused_result))
#else
#define BOLE_API
#define BOLE_CHECKED
#endif

#define BOLE_KEY_BYTES_MAX 65535u
#define BOLE_VALUE_BYTES_MAX (1024u * 1024u * 1024u)

/* ---- Statuses ------------------------------------------------------------------------------------------- */

/** One table makes codes, names and texts. Do not renumber: programs and exit codes depend on the values. */
#define BOLE_STATUS_MAP(X)                                                                                \
    X(OK, 0, "ok")                                                                                        \
    X(NOT_FOUND, 1, "not found")                                                                          \
    X(INVALID, 2, "invalid argument")                                                                     \
    X(NO_STORE, 3, "there is no store here")                                                              \
    X(EXISTS, 4, "exists already")                                                                        \
    X(LOCKED, 5, "another process is writing to this store")                                              \
    X(CORRUPT, 6, "corrupt data on disk")                                                                 \
    X(IO, 7, "input or output failed")                                                                    \
    X(NO_SPACE, 8, "no space left on the device")                                                         \
    X(NO_MEMORY, 9, "out of memory")                                                                      \
    X(TOO_LARGE, 10, "larger than the limit")                                                             \
    X(UNSUPPORTED, 11, "format or feature not supported by this version")                                 \
    X(COMPARATOR, 12, "comparator differs from the one that wrote the table")                             \
    X(WRITE_REFUSED, 13, "store is open for reading only")                                                \
    X(BUSY, 14, "still in use")                                                                           \
    X(IN_DOUBT, 15, "failed after it became visible: after a crash it is there whole or not at all")      \
    X(FAILED, 16, "writes are refused until the store is opened again")                                   \
    X(MEMORY_PINNED, 17, "memory limit reached by pinned data")                                           \
    X(FORKED, 18, "handle of another process")                                                            \
    X(PERMISSION, 19, "permission denied")                                                                \
    X(CANCELLED, 20, "cancelled")

typedef enum bole_status {
#define BOLE_STATUS_ENUM(name, number, text) BOLE_##name = number,
    BOLE_STATUS_MAP(BOLE_STATUS_ENUM)
#undef BOLE_STATUS_ENUM
} bole_status;

/** "BOLE_CORRUPT" for BOLE_CORRUPT; "BOLE_?" for a number that is no status. Static memory, never NULL. */
BOLE_API const char *bole_status_name(bole_status status);
/** One line of English for a status. Static memory, never NULL. */
BOLE_API const char *bole_status_text(bole_status status);
/** "0.1.0": the version of the library that is linked, to compare with BOLE_VERSION_STRING. */
BOLE_API const char *bole_version(void);

/** The story behind a status, in memory of the caller. Written only when a call fails. */
typedef struct bole_error {
    bole_status status;
    int system_errno;   /* errno of the failing system call, 0 if there was none */
    uint64_t offset;    /* position in `file`, UINT64_MAX where it means nothing */
    char file[256];     /* name of the file concerned, "" if there is none */
    char message[768];  /* whole sentence: what failed, where, why */
} bole_error;
#define BOLE_ERROR_INIT { BOLE_OK, 0, UINT64_MAX, "", "" }

/* ---- Bytes ---------------------------------------------------------------------------------------------- */

/** Borrowed bytes. The function that hands one out says until when it is good. */
typedef struct bole_slice {
    const void *data;
    size_t size;
} bole_slice;
#define BOLE_SLICE(data, size) ((bole_slice){ (data), (size) })
#define BOLE_STR(literal) ((bole_slice){ (literal), sizeof(literal) - 1 })

/** Owned bytes that grow as needed; reuse one per thread. data[0..size) is the content. */
typedef struct bole_buffer {
    void *data;
    size_t size;
    size_t capacity;
} bole_buffer;
#define BOLE_BUFFER_INIT { NULL, 0, 0 }
/** Free what the buffer owns and set it to BOLE_BUFFER_INIT. */
BOLE_API void bole_buffer_free(bole_buffer *buffer);

/* ---- Handles -------------------------------------------------------------------------------------------- */

typedef struct bole_db bole_db;             /* an open store */
typedef struct bole_table bole_table;       /* a named table (column family) of an open store */
typedef struct bole_batch bole_batch;       /* operations that become visible and durable together */
typedef struct bole_iterator bole_iterator; /* a position in the order of one table, at one moment */
typedef struct bole_snapshot bole_snapshot; /* one moment of the whole store */
typedef struct bole_vfs bole_vfs;           /* storage below the store, see bole_vfs.h */

/** A total order of keys in which only identical bytes are equal. `name` goes into the store's files, and a
 *  table opened with another name is refused (BOLE_COMPARATOR). compare returns <0, 0, >0 and may be called from
 *  any thread. The struct must outlive the store. With any order but the default, prefix scans are refused. */
typedef struct bole_comparator {
    const char *name;
    void *context;
    int (*compare)(void *context, bole_slice a, bole_slice b);
} bole_comparator;

/* ---- Options -------------------------------------------------------------------------------------------- */

typedef enum bole_open_flag {
    BOLE_CREATE = 1u << 0,         /* make the store when the directory holds none */
    BOLE_MUST_NOT_EXIST = 1u << 1, /* with BOLE_CREATE: fail with BOLE_EXISTS when there is one */
    BOLE_READ_ONLY = 1u << 2,      /* never write; works beside a writing process; the view is fixed until
                                      bole_refresh */
    BOLE_PARANOID = 1u << 3,       /* verify every file's checksums while opening */
    BOLE_NO_SIGBUS_HANDLER = 1u << 4, /* install no SIGBUS handler; logs are then written, not mapped */
} bole_open_flag;

typedef enum bole_durability {
    BOLE_DURABILITY_DEFAULT = 0, /* what the store was opened with */
    BOLE_DURABILITY_PROCESS = 1, /* survives the death of the process (kill -9); synced about every second */
    BOLE_DURABILITY_POWER = 2,   /* on disk before the call returns; writers share device flushes */
} bole_durability;

typedef enum bole_compression {
    BOLE_COMPRESSION_DEFAULT = 0, /* LZ4 in the last level, none above */
    BOLE_COMPRESSION_NONE = 1,
    BOLE_COMPRESSION_LZ4 = 2,
    BOLE_COMPRESSION_ZSTD = 3,
} bole_compression;

typedef enum bole_log_level {
    BOLE_LOG_ERROR = 1,
    BOLE_LOG_WARN = 2,
    BOLE_LOG_INFO = 3,
    BOLE_LOG_DEBUG = 4,
} bole_log_level;

/** Called from any thread, also background threads; must not call into the store. `json` is the line that goes
 *  into events.jsonl, without the newline. */
typedef void (*bole_log_callback)(void *context, bole_log_level level, const char *json, size_t size);

/** Settings of a store. Each can also stand in the store's bole.conf (see docs/usage.md); a field that is not
 *  zero here wins over the file. */
typedef struct bole_options {
    uint32_t size;                  /* sizeof(bole_options) */
    uint32_t flags;                 /* bole_open_flag */
    uint64_t memory_limit;          /* bytes for everything; default a quarter of the machine's (cgroup's) memory */
    uint64_t memtable_bytes;        /* default 64 MiB. More absorbs bursts and means longer recovery */
    uint64_t segment_bytes;         /* size at which a merge cuts its outputs; default 64 MiB */
    uint32_t block_bytes;           /* default 4 KiB; 16 KiB suits entries above 256 bytes */
    uint32_t filter_bits_per_key;   /* last level; default 10; UINT32_MAX for no filters */
    uint32_t level0_runs;           /* runs in level 0 that start a merge; default 8 */
    uint32_t background_threads;    /* default 2 */
    bole_durability durability;     /* default BOLE_DURABILITY_PROCESS */
    bole_compression compression;   /* of the last level */
    bole_compression compression_upper; /* of the other levels; default none */
    int32_t compression_level;      /* ZSTD's level; default 1 */
    bole_log_level log_level;       /* default BOLE_LOG_INFO */
    bole_log_callback log_callback; /* default: none; events.jsonl is written either way */
    void *log_context;
    const bole_comparator *comparator; /* of the default table; default: byte order */
    const bole_comparator *const *comparators; /* others that tables of this store name; NULL-terminated */
    bole_vfs *vfs;                  /* default: the operating system */
    uint64_t simulation_seed;       /* not 0: background work runs inside calls, ordered by this seed (tests) */
    uint32_t sync_interval_ms;      /* background sync of process-durable writes; default 1000 */
    uint32_t open_files_max;        /* descriptors for segments; default 3/4 of RLIMIT_NOFILE */
    uint64_t scrub_rate;            /* bytes a second of checking in the background; default, and UINT64_MAX: off */
    uint64_t reserve_bytes;         /* kept for a full disk, at most; default 64 MiB, less for small stores and at rest;
                                       UINT64_MAX: none */
    uint32_t entry_checksums;       /* 1: entries carry one in memory, from put to segment; default, UINT32_MAX: off */
    uint64_t large_value_bytes;     /* values from this size on are kept apart from keys, and merges do not copy them;
                                       default 4 KiB; UINT64_MAX: never */
    uint32_t direct_reads;          /* 1: segments are read past the system's cache, UINT32_MAX: through it; default:
                                       past it where memory_limit is above half of the machine's (cgroup's) memory */
    uint32_t direct_writes;         /* UINT32_MAX: segments are written through the system's cache; default, and 1: past
                                       it while all of them take less than half of memory_limit */
} bole_options;
#define BOLE_OPTIONS_INIT ((bole_options){ .size = sizeof(bole_options) })

/** Set one field by its name in bole.conf ("memory_limit", "512MiB"). BOLE_INVALID names the setting, the value and
 *  what is allowed, or the nearest name. For programs that take settings as text; see docs/usage.md for all names. */
BOLE_CHECKED BOLE_API bole_status bole_options_set(bole_options *options, const char *name, const char *value,
                                                   bole_error *error);

typedef struct bole_read_options {
    uint32_t size;
    uint32_t flags;                  /* 0 */
    bole_table *table;               /* NULL: the default table */
    const bole_snapshot *snapshot;   /* NULL: now */
    bole_slice lower_bound;          /* iterators: first key that may be shown; data == NULL: none */
    bole_slice upper_bound;          /* iterators: first key that may not be shown; data == NULL: none */
    bole_slice prefix;               /* iterators: show only keys with this prefix; data == NULL: none */
    bole_error *error;               /* where to tell a failure's story; may be NULL */
} bole_read_options;
#define BOLE_READ_OPTIONS_INIT ((bole_read_options){ .size = sizeof(bole_read_options) })

typedef struct bole_write_options {
    uint32_t size;
    bole_durability durability; /* of this batch; default: the store's */
    bole_table *table;          /* put and delete: NULL is the default table */
    bole_error *error;
} bole_write_options;
#define BOLE_WRITE_OPTIONS_INIT ((bole_write_options){ .size = sizeof(bole_write_options) })

/* ---- A store -------------------------------------------------------------------------------------------- */

/** Open the store in directory `path`, recovering it if its last process died.
 *  On success *out is the handle, else NULL. BOLE_NO_STORE: no store and no BOLE_CREATE. BOLE_LOCKED: the message
 *  names the writing process. BOLE_CORRUPT: the message names file and offset; nothing was changed.
 *  Cost: reads the manifest and replays the log that was not flushed (0.7 GB/s). */
BOLE_CHECKED BOLE_API bole_status bole_open(const char *path, const bole_options *options, bole_db **out,
                                            bole_error *error);
/** Sync, close, free. BOLE_BUSY, and nothing is closed, while an iterator, snapshot, view or table handle lives.
 *  Otherwise the handle is gone whatever is returned; a failure of the last sync is still told. NULL is allowed.
 *  No other call on this store may run at the same time. */
BOLE_API bole_status bole_close(bole_db *db, bole_error *error);
/** Read-only handles: move the view to what the writing process has made durable by now. Live iterators and
 *  snapshots keep theirs. BOLE_INVALID on a handle that writes. */
BOLE_CHECKED BOLE_API bole_status bole_refresh(bole_db *db, bole_error *error);
/** Remove a store and all its files; refuses a directory that is no store, and one in use (BOLE_LOCKED). */
BOLE_CHECKED BOLE_API bole_status bole_destroy(const char *path, const bole_options *options, bole_error *error);

/* ---- Writing -------------------------------------------------------------------------------------------- */

/** Set `key` to `value`. When it returns BOLE_OK the write is visible to all and as durable as asked.
 *  BOLE_TOO_LARGE names the limit; BOLE_NO_SPACE, BOLE_IO: not written; BOLE_IN_DOUBT: see the status' text. */
BOLE_API bole_status bole_put(bole_db *db, const bole_write_options *options, bole_slice key, bole_slice value);
/** Remove `key`; removing what is not there is BOLE_OK. */
BOLE_API bole_status bole_delete(bole_db *db, const bole_write_options *options, bole_slice key);

/** A batch belongs to one thread at a time. It copies what it is given. */
BOLE_CHECKED BOLE_API bole_status bole_batch_create(bole_batch **out);
BOLE_API void bole_batch_destroy(bole_batch *batch);
/** Forget the operations, keep the memory. */
BOLE_API void bole_batch_clear(bole_batch *batch);
/** Number of operations, and bytes that the batch will take in the log. */
BOLE_API uint64_t bole_batch_count(const bole_batch *batch);
BOLE_API uint64_t bole_batch_bytes(const bole_batch *batch);
/** `table` NULL is the default table. Later operations on a key win over earlier ones. After a failure the batch
 *  is unchanged. */
BOLE_CHECKED BOLE_API bole_status bole_batch_put(bole_batch *batch, bole_table *table, bole_slice key,
                                                 bole_slice value);
BOLE_CHECKED BOLE_API bole_status bole_batch_delete(bole_batch *batch, bole_table *table, bole_slice key);
/** Apply the batch: all of it or nothing, in memory and after a crash. The batch stays the caller's. An empty
 *  batch with BOLE_DURABILITY_POWER makes everything written before durable. */
BOLE_API bole_status bole_write(bole_db *db, const bole_write_options *options, const bole_batch *batch);
/** Make everything that was written before this call durable. */
BOLE_CHECKED BOLE_API bole_status bole_sync(bole_db *db, bole_error *error);

/* ---- Reading -------------------------------------------------------------------------------------------- */

/** Read the newest visible value of `key` into `value`.
 *  On BOLE_OK the bytes replace the buffer's contents; the buffer grows as needed and stays the caller's. On
 *  BOLE_NOT_FOUND and on any failure it is left empty.
 *  Cost: at most one block read per segment that may hold the key; none when cached. */
BOLE_API bole_status bole_get(bole_db *db, const bole_read_options *options, bole_slice key, bole_buffer *value);
/** BOLE_OK or BOLE_NOT_FOUND; the value is not copied. */
BOLE_API bole_status bole_exists(bole_db *db, const bole_read_options *options, bole_slice key);

/** A value in place: no copy. Pins memory until released; release soon, on any thread, before bole_close. */
typedef struct bole_view {
    bole_slice value;
    void *pin[4]; /* the store's */
} bole_view;
#define BOLE_VIEW_INIT { { NULL, 0 }, { NULL, NULL, NULL, NULL } }
BOLE_API bole_status bole_get_view(bole_db *db, const bole_read_options *options, bole_slice key, bole_view *view);
/** Let go of a view; it is then as BOLE_VIEW_INIT. An empty view is allowed. */
BOLE_API void bole_view_release(bole_view *view);

/** `count` reads at one moment, their memory accesses overlapped. statuses[i] and values[i] are as from bole_get.
 *  Returns BOLE_OK when every status is BOLE_OK or BOLE_NOT_FOUND, else the first other one. */
BOLE_API bole_status bole_multi_get(bole_db *db, const bole_read_options *options, size_t count,
                                    const bole_slice *keys, bole_buffer *values, bole_status *statuses);

/** An iterator shows one table at one moment, however long it lives. It belongs to one thread at a time.
 *  It starts nowhere: position it first. key and value are good until the next call that moves or destroys it. */
BOLE_CHECKED BOLE_API bole_status bole_iterator_create(bole_db *db, const bole_read_options *options,
                                                       bole_iterator **out);
BOLE_API void bole_iterator_destroy(bole_iterator *iterator);
BOLE_API bool bole_iterator_valid(const bole_iterator *iterator);
/** Each returns whether the iterator now stands on an entry. When it does not, ask bole_iterator_status: BOLE_OK
 *  is the end of the data, anything else is a failure. */
BOLE_API bool bole_iterator_seek_first(bole_iterator *iterator);
BOLE_API bool bole_iterator_seek_last(bole_iterator *iterator);
BOLE_API bool bole_iterator_seek(bole_iterator *iterator, bole_slice key);          /* first key >= key */
BOLE_API bool bole_iterator_seek_for_prev(bole_iterator *iterator, bole_slice key); /* last key <= key */
BOLE_API bool bole_iterator_next(bole_iterator *iterator);
BOLE_API bool bole_iterator_prev(bole_iterator *iterator);
BOLE_API bole_slice bole_iterator_key(const bole_iterator *iterator);
BOLE_API bole_slice bole_iterator_value(const bole_iterator *iterator);
BOLE_API bole_status bole_iterator_status(const bole_iterator *iterator);
/** Entries stepped over since the iterator was made because they were deleted or overwritten. */
BOLE_API uint64_t bole_iterator_skipped(const bole_iterator *iterator);

/** Hold one moment of the whole store for reads. Old versions stay until it is destroyed. */
BOLE_CHECKED BOLE_API bole_status bole_snapshot_create(bole_db *db, bole_snapshot **out, bole_error *error);
BOLE_API void bole_snapshot_destroy(bole_snapshot *snapshot);
/** Its log position: writes below it are seen. */
BOLE_API uint64_t bole_snapshot_sequence(const bole_snapshot *snapshot);

/* ---- Tables --------------------------------------------------------------------------------------------- */

/** A table name is 1 to 255 bytes of valid UTF-8 without control characters. "default" always exists.
 *  Creating and dropping are durable when they return. A handle must be closed before the store. */
BOLE_CHECKED BOLE_API bole_status bole_table_create(bole_db *db, const char *name,
                                                    const bole_comparator *comparator, bole_table **out,
                                                    bole_error *error);
BOLE_CHECKED BOLE_API bole_status bole_table_open(bole_db *db, const char *name, bole_table **out,
                                                  bole_error *error);
BOLE_API void bole_table_close(bole_table *table);
/** Drop the table and its data; open handles and iterators keep reading what was there. Writes through a handle
 *  of a dropped table return BOLE_NOT_FOUND. */
BOLE_CHECKED BOLE_API bole_status bole_table_drop(bole_db *db, const char *name, bole_error *error);
BOLE_API const char *bole_table_name(const bole_table *table);
/** Call `visit` for each table, in order of name; stops when it returns false. */
BOLE_CHECKED BOLE_API bole_status bole_table_list(bole_db *db, bool (*visit)(void *context, const char *name),
                                                  void *context, bole_error *error);

/* ---- Upkeep --------------------------------------------------------------------------------------------- */

/** Write the memtables into segments, durably. */
BOLE_CHECKED BOLE_API bole_status bole_flush(bole_db *db, bole_error *error);
/** Merge all segments of `table` (NULL: every table) that overlap [begin, end] into the last level. data == NULL
 *  leaves that side open. Returns when done; writes and reads go on meanwhile. */
BOLE_CHECKED BOLE_API bole_status bole_compact(bole_db *db, bole_table *table, bole_slice begin, bole_slice end,
                                               bole_error *error);
/** Wait until no flush or compaction is running or due. */
BOLE_CHECKED BOLE_API bole_status bole_wait_idle(bole_db *db, bole_error *error);
/** Make a consistent, independent store at `path` (which must not exist) as of this moment, while writing goes
 *  on. Hard links where the file system allows. */
BOLE_CHECKED BOLE_API bole_status bole_checkpoint(bole_db *db, const char *path, bole_error *error);
/** Change settings of an open store: "memory_limit", "memtable_bytes", "log_level" ... as in bole.conf. */
BOLE_CHECKED BOLE_API bole_status bole_configure(bole_db *db, const char *name, const char *value,
                                                 bole_error *error);

/* ---- What is going on inside ------------------------------------------------------------------------------ */

enum { BOLE_LEVELS_MAX = 4 };

typedef struct bole_latency { /* nanoseconds; of one call in 64 */
    uint64_t count, p50, p99, p999, max;
} bole_latency;

/** One consistent look at counters. All counts are since open, all sizes in bytes. */
typedef struct bole_statistics {
    uint32_t size;
    uint32_t levels;
    /* calls */
    uint64_t puts, deletes, gets, get_hits, get_memtable_hits, multi_gets, seeks, nexts, skipped;
    bole_latency put_latency, get_latency, seek_latency, sync_latency;
    /* log */
    uint64_t log_bytes_written, log_syncs, log_rotations, commit_groups, position_visible, position_synced;
    /* memtables */
    uint64_t memtable_bytes, memtable_entries, memtables_sealed;
    /* filters: probes of segments, and how they ended */
    uint64_t filter_probes, filter_negatives, filter_true_positives, filter_false_positives;
    /* blocks */
    uint64_t block_hits, block_misses, block_bytes_read, block_evictions;
    /* background work */
    uint64_t flushes, flush_bytes_written, compactions, compaction_bytes_read, compaction_bytes_written,
        trivial_moves, entries_dropped, background_errors, events_lost;
    uint64_t debt_bytes, delay_ns_per_kib, delayed_ns; /* pacing: what is owed, what it costs, what was paid */
    /* shape */
    uint64_t level_segments[BOLE_LEVELS_MAX], level_runs[BOLE_LEVELS_MAX], level_bytes[BOLE_LEVELS_MAX],
        level_entries[BOLE_LEVELS_MAX], level_tombstones[BOLE_LEVELS_MAX];
    uint64_t user_bytes_written;  /* keys and values given to the store */
    double write_amplification;   /* (flush + compaction + log bytes written) / user bytes */
    double space_amplification;   /* bytes in segments / bytes in the last level */
    /* memory by class */
    uint64_t memory_limit, memory_used, memory_memtable, memory_log, memory_cache, memory_index, memory_pinned,
        memory_work;
    uint64_t snapshots, iterators, oldest_snapshot_sequence;
    uint64_t scrub_rounds, scrub_bytes, scrub_findings; /* checking in the background (scrub_rate) */
    /* room for a full disk (reserve_bytes): kept now; how often it was used; is it in use now (0, 1)? batches
     * refused meanwhile */
    uint64_t reserve_bytes, reserve_uses, reserve_spent, reserve_refused;
    /* value segments: values kept apart from their keys, and what of that is overwritten or deleted already; bytes of
     * values that were written anew so that the space of dead ones came free */
    uint64_t value_segments, value_file_bytes, value_entries, value_bytes, value_dead_entries, value_dead_bytes,
        values_moved_bytes;
} bole_statistics;
#define BOLE_STATISTICS_INIT ((bole_statistics){ .size = sizeof(bole_statistics) })
BOLE_CHECKED BOLE_API bole_status bole_stats(bole_db *db, bole_statistics *out, bole_error *error);
/** What checking in the background (scrub_rate) knows: BOLE_OK, or the newest damage that this round or the one before
 *  it found, mostly BOLE_CORRUPT with file and offset. Each is an event (scrub_found), too. */
BOLE_CHECKED BOLE_API bole_status bole_scrub_report(bole_db *db, bole_error *error);

#ifdef __cplusplus
}
#endif
#endif
