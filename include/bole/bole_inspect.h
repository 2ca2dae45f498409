/* SPDX-License-Identifier: MIT */
/* bole_inspect.h -- read-only views of what is inside a store: the one source for stats, dump, explain,
 * verify and the
 * visualizer. Everything shown is read from the store's files and memory at the moment of the call.
 *
 * An open handle is looked at as it is; to look at a store that another process writes, open it with BOLE_READ_ONLY.
 * Slices handed to a visitor are good until it returns. A visitor that returns false ends the walk (BOLE_OK). */
#ifndef BOLE_INSPECT_H
#define BOLE_INSPECT_H

#include <bole/bole.h>
#include <bole/bole_vfs.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct bole_inspect_segment {
    uint64_t number; /* its file is 000012.seg */
    const char *table;
    uint32_t table_number, level, run;
    bole_slice smallest, largest; /* keys, inclusive */
    uint64_t file_bytes, raw_bytes; /* on disk; keys and values */
    uint64_t entries, tombstones, blocks;
    uint64_t sequence_min, sequence_max;
    int64_t created_us; /* real time; 0: unknown */
    const char *compression; /* "none", "lz4", "zstd" */
    uint64_t filter_bytes, index_bytes, cached_blocks;
    double filter_bits_per_key;
    double filter_expected_rate; /* of false positives, from bits and keys; 1 without a filter */
    uint64_t filter_probes, filter_negatives, filter_true_positives, filter_false_positives; /* since open */
    bool holds_values; /* a value segment: values of entries that other segments hold; no level, no run */
    uint64_t dead_entries, dead_bytes; /* of it: values that nothing points to any more */
} bole_inspect_segment;
/** Every live segment: by table, then level, then run (newest first), then key; value segments, by number, behind the
 *  levels of their table. Loads each segment's unit. */
BOLE_CHECKED BOLE_API bole_status bole_inspect_segments(
    bole_db *db, bool (*visit)(void *context, const bole_inspect_segment *segment), void *context, bole_error *error);

/** Ask the filter of segment `number` for `probes` keys that are certainly not in it (made from `seed`, of the lengths
 *  that its keys have) and count the false positives: the measured rate to hold against the expected one. */
BOLE_CHECKED BOLE_API bole_status bole_inspect_filter(bole_db *db, uint64_t number, uint64_t probes, uint64_t seed,
                                                      uint64_t *false_positives, bole_error *error);

typedef struct bole_inspect_memtable {
    bool active;
    uint64_t bytes, entries;
    uint32_t tables;
} bole_inspect_memtable;
/** Newest first. */
BOLE_CHECKED BOLE_API bole_status bole_inspect_memtables(
    bole_db *db, bool (*visit)(void *context, const bole_inspect_memtable *memtable), void *context,
    bole_error *error);

typedef struct bole_inspect_log {
    uint64_t number, start, end; /* positions; end is what is known now */
    uint64_t file_bytes;
    bool active;
} bole_inspect_log;
/** Oldest first. */
BOLE_CHECKED BOLE_API bole_status bole_inspect_logs(bole_db *db,
                                                    bool (*visit)(void *context, const bole_inspect_log *log),
                                                    void *context, bole_error *error);

typedef struct bole_inspect_file {
    const char *name;
    const char *kind; /* "segment", "log", "manifest", "current", "lock", "events", ... "other" */
    uint64_t bytes;
    bool live; /* named by the present state */
} bole_inspect_file;
/** Every file of the directory, in order of name. */
BOLE_CHECKED BOLE_API bole_status bole_inspect_files(bole_db *db,
                                                     bool (*visit)(void *context, const bole_inspect_file *file),
                                                     void *context, bole_error *error);

typedef struct bole_inspect_block {
    uint64_t ordinal, offset;
    uint32_t stored_bytes;
    bole_slice separator; /* no key of this block is above it, every key of the next is */
} bole_inspect_block;
BOLE_CHECKED BOLE_API bole_status bole_inspect_blocks(
    bole_db *db, uint64_t segment, bool (*visit)(void *context, const bole_inspect_block *block), void *context,
    bole_error *error);

/** One place where a get looks for a key, in the order in which it looks. */
typedef struct bole_inspect_probe {
    const char *source; /* "memtable" or "segment" */
    uint64_t number;    /* of the segment; memtables: 0 is the newest */
    uint32_t level, run;
    const char *verdict; /* "found", "deleted", "absent", "filter says no", "key range says no" */
    uint64_t sequence;   /* of the version found */
    uint64_t value_bytes;
} bole_inspect_probe;
/** What a get of `key` does, step by step, also the places behind the one that answers. */
BOLE_CHECKED BOLE_API bole_status bole_inspect_get(bole_db *db, bole_table *table, bole_slice key,
                                                   bool (*visit)(void *context, const bole_inspect_probe *probe),
                                                   void *context, bole_error *error);

typedef struct bole_inspect_setting {
    const char *name, *value, *origin, *where, *fallback, *allowed, *meaning;
} bole_inspect_setting;
/** Every setting in force, with where it comes from. */
BOLE_CHECKED BOLE_API bole_status bole_inspect_settings(
    bole_db *db, bool (*visit)(void *context, const bole_inspect_setting *setting), void *context,
    bole_error *error);

typedef struct bole_inspect_store {
    char id[33]; /* 32 hex digits */
    uint64_t manifest_number, manifest_bytes, position_visible, flushed_through, synced;
    uint32_t format_version;
    bool was_clean; /* the last close was */
} bole_inspect_store;
BOLE_CHECKED BOLE_API bole_status bole_inspect_store_state(bole_db *db, bole_inspect_store *out, bole_error *error);

/** Every edit of the present manifest as text, one line a change, with its offset. */
BOLE_CHECKED BOLE_API bole_status bole_inspect_manifest(
    bole_db *db, bool (*visit)(void *context, uint64_t offset, const char *text), void *context, bole_error *error);

/** Text of a file of a store, line by line: a log's records, a segment's sections and blocks, a manifest's edits. */
BOLE_CHECKED BOLE_API bole_status bole_inspect_dump(bole_vfs *vfs, const char *file,
                                                    bool (*line)(void *context, const char *text), void *context,
                                                    bole_error *error);

typedef struct bole_verify_report {
    uint64_t segments, blocks, entries, logs, log_records, bytes, problems;
} bole_verify_report;
/** Prove every checksum and every invariant of a store that nobody writes: manifest, segments (all blocks, order,
 *  counts, filters without false negatives), logs, orphans. Each problem is told to `problem` with file and offset.
 *  BOLE_CORRUPT when there was one. Reads only. */
BOLE_CHECKED BOLE_API bole_status bole_verify(const char *path, const bole_options *options,
                                              void (*problem)(void *context, const bole_error *problem),
                                              void *context, bole_verify_report *report, bole_error *error);

/** The C-like display form of any bytes: printable ASCII as is, \\ \n \t \xNN. Returns the length
 *  needed, as snprintf. */
BOLE_API size_t bole_escape(bole_slice bytes, char *out, size_t capacity);
/** The way back: \\ \n \r \t \0 \xNN. BOLE_INVALID names the place of a bad escape. */
BOLE_CHECKED BOLE_API bole_status bole_unescape(const char *text, size_t size, bole_buffer *out, bole_error *error);

#ifdef __cplusplus
}
#endif
#endif
