/* SPDX-License-Identifier: MIT */
/* config.h -- the brief's Config: every setting of a store in one typed table, with the origin of each value.
 *
 * A value comes from one of these, the later ones winning:
 *     default < derived from others < file (bole.conf) < environment (BOLE_...) < option (bole_options) <
 *     flag (of the
 *     command) < live (bole_configure)
 * First the sources are applied in any order (bl_config_set here; files, environment and options in
 * config_source.h), then bl_config_resolve derives what is left open and checks that the values fit each other.
 *
 * Threads: bl_config_u64 from any thread at any time after the first resolve; everything else by one thread at a time
 * (an open store: under its mutex). */
#ifndef BL_CORE_CONFIG_H
#define BL_CORE_CONFIG_H

#include <bole/bole.h>
#include <stdatomic.h>

#define BL_KIB UINT64_C(1024)
#define BL_MIB (1024 * BL_KIB)
#define BL_GIB (1024 * BL_MIB)
#define BL_TIB (1024 * BL_GIB)

typedef enum bl_setting_type {
    BL_TYPE_BYTES,        /* 65536, 64KiB, 4 MiB, 1GiB, 2TiB; K, M, G, T mean the same */
    BL_TYPE_COUNT,        /* 8 */
    BL_TYPE_INTEGER,      /* -5 */
    BL_TYPE_MILLISECONDS, /* 1000, 1000ms, 1s */
    BL_TYPE_CHOICE,       /* one of its words */
    BL_TYPE_SWITCH,       /* on, off (also true, false, yes, no, 1, 0) */
} bl_setting_type;

/* When a new value counts. OPEN: it must be there when the store is opened; the others may change while it is open. */
typedef enum bl_setting_applies {
    BL_APPLIES_OPEN,
    BL_APPLIES_NOW,
    BL_APPLIES_NEW_FILES, /* to logs, memtables or segments made from now on; older files stay as they are */
} bl_setting_applies;

/* The table. `words` names a list in config.c of words that stand for a number, beside the numbers or (CHOICE,
 * SWITCH) instead of them; `fallback` is the default, BL_DERIVED where bl_config_resolve finds it.
 * X(SYMBOL, name, type, fallback, min, max, words, applies, meaning) */
#define BL_DERIVED UINT64_MAX
#define BL_SETTING_MAP(X)                                                                                    \
    X(MEMORY_LIMIT, memory_limit, BYTES, BL_DERIVED, 4 * BL_MIB, 1024 * BL_TIB, none, NOW,                   \
      "memory for everything the store holds; default: a quarter of the machine's, or of the cgroup's")      \
    X(MEMTABLE_BYTES, memtable_bytes, BYTES, 64 * BL_MIB, 4 * BL_KIB, 8 * BL_GIB, none, NEW_FILES,           \
      "size at which a memtable is sealed and flushed; at most a sixteenth of memory_limit is used")         \
    X(SEGMENT_BYTES, segment_bytes, BYTES, 64 * BL_MIB, 4 * BL_KIB, 16 * BL_GIB, none, NEW_FILES,            \
      "size at which a merge cuts its outputs")                                                              \
    X(BLOCK_BYTES, block_bytes, BYTES, 0, 1 * BL_KIB, 1 * BL_MIB, automatic, NEW_FILES,                      \
      "size of a block; auto: 4 KiB, and 16 KiB where entries are above 256 bytes")                          \
    X(FILTER_BITS_PER_KEY, filter_bits_per_key, COUNT, 10, 1, 32, nothing, NEW_FILES,                        \
      "bits a key in a last-level segment's Bloom filter; none: no filters")                                 \
    X(LARGE_VALUE_BYTES, large_value_bytes, BYTES, 4 * BL_KIB, 1, 1 * BL_GIB, never, NEW_FILES,                \
      "values of at least this size are kept apart from their keys, so that merges do not copy them")        \
    X(LEVEL0_RUNS, level0_runs, COUNT, 8, 1, 32, none, NOW,                                                  \
      "runs in level 0 that start a merge; more write less often, fewer read faster")                        \
    X(BACKGROUND_THREADS, background_threads, COUNT, 2, 1, 64, none, OPEN,                                   \
      "threads for flush and compaction")                                                                    \
    X(DURABILITY, durability, CHOICE, BOLE_DURABILITY_PROCESS, 1, 2, durability, OPEN,                       \
      "what a write survives before it is acknowledged: the process' death, or a power cut")                 \
    X(SYNC_INTERVAL_MS, sync_interval_ms, MILLISECONDS, 1000, 1, 3600 * 1000, none, NOW,                     \
      "how often process-durable writes are synced in the background")                                       \
    X(COMPRESSION, compression, CHOICE, BOLE_COMPRESSION_LZ4, 1, 3, compression, NEW_FILES,                  \
      "of the last level's blocks")                                                                          \
    X(COMPRESSION_UPPER, compression_upper, CHOICE, BOLE_COMPRESSION_NONE, 1, 3, compression, NEW_FILES,     \
      "of the other levels' blocks")                                                                         \
    X(COMPRESSION_LEVEL, compression_level, INTEGER, 1, -7, 22, none, NEW_FILES,                             \
      "ZSTD's level; below 1 is faster and packs less")                                                      \
    X(MAP_LOGS, map_logs, SWITCH, 1, 0, 1, toggle, NEW_FILES,                                                \
      "write process-durable logs through a map where the file system allows; off: no SIGBUS handler either") \
    X(OPEN_FILES_MAX, open_files_max, COUNT, BL_DERIVED, 8, 1 << 20, none, OPEN,                             \
      "descriptors for segments; default: three quarters of the process' limit")                             \
    X(LOG_LEVEL, log_level, CHOICE, BOLE_LOG_INFO, 1, 4, log_level, NOW,                                     \
      "least important event that is told of")                                                               \
    X(EVENTS_BYTES, events_bytes, BYTES, 4 * BL_MIB, 4 * BL_KIB, 1 * BL_GIB, none, OPEN,                     \
      "size at which events.jsonl becomes events.1.jsonl")                                                   \
    X(SCRUB_RATE, scrub_rate, BYTES, 0, 1 * BL_KIB, 16 * BL_GIB, off, NOW,                                   \
      "bytes a second at which all segments are read and checked in the background, over and over")          \
    X(RESERVE_BYTES, reserve_bytes, BYTES, 64 * BL_MIB, 64 * BL_KIB, 1 * BL_TIB, nothing, NOW,               \
      "room kept for a full disk, at most; less at rest; none: deletes fail on a full disk, too")            \
    X(ENTRY_CHECKSUMS, entry_checksums, SWITCH, 0, 0, 1, toggle, NEW_FILES,                                  \
      "each entry carries a checksum in memory, from the call that puts it to its segment, and in merges")  \
    X(DIRECT_READS, direct_reads, SWITCH, BL_DERIVED, 0, 1, toggle, OPEN,                                    \
      "read segments past the system's cache; default: on where memory_limit is above half of the memory")  \
    X(DIRECT_WRITES, direct_writes, SWITCH, 1, 0, 1, toggle, OPEN,                                           \
      "write segments past the system's cache while they take less than half of memory_limit")

typedef enum bl_setting {
#define BL_SETTING_ENUM(symbol, name, type, fallback, min, max, words, applies, meaning) BL_SETTING_##symbol,
    BL_SETTING_MAP(BL_SETTING_ENUM)
#undef BL_SETTING_ENUM
    BL_SETTINGS
} bl_setting;

typedef enum bl_origin {
    BL_ORIGIN_DEFAULT,
    BL_ORIGIN_DERIVED,
    BL_ORIGIN_FILE,
    BL_ORIGIN_ENVIRONMENT,
    BL_ORIGIN_OPTION,
    BL_ORIGIN_FLAG,
    BL_ORIGIN_LIVE,
} bl_origin;

enum { BL_CONFIG_WHERE_BYTES = 64, BL_CONFIG_TEXT_BYTES = 32 };

typedef struct bl_config {
    _Atomic uint64_t values[BL_SETTINGS]; /* in force; INTEGER as two's complement */
    uint64_t asked[BL_SETTINGS];          /* what the origin said, before any cap; BL_DERIVED: nothing */
    uint8_t origins[BL_SETTINGS];         /* bl_origin */
    char where[BL_SETTINGS][BL_CONFIG_WHERE_BYTES]; /* "bole.conf:3", "BOLE_MEMORY_LIMIT"; "" where origin says all */
} bl_config;

/* All settings at their defaults; derived ones are 0 until bl_config_resolve. */
void bl_config_init(bl_config *config);

/* Give `name` ('-' may stand for '_') the value written in `text`; "default" takes it back. A value of a later origin
 * stays. `where` (NULL: none) says where it stood, and begins every message. BOLE_INVALID names the setting, the
 * value and what is allowed, or for an unknown name the nearest one; the config is then unchanged. */
BOLE_CHECKED bole_status bl_config_set(bl_config *config, const char *name, const char *text, bl_origin origin,
                                       const char *where, bole_error *error);
/* The same with a number; checks the range. */
BOLE_CHECKED bole_status bl_config_set_u64(bl_config *config, bl_setting setting, uint64_t value, bl_origin origin,
                                           const char *where, bole_error *error);

/* What settings are derived from. 0: not known. */
typedef struct bl_config_machine {
    uint64_t memory_bytes; /* vfs->memory_bytes */
    uint64_t open_files;   /* RLIMIT_NOFILE */
} bl_config_machine;

/* Fill in what no source gave, cap what does not fit the memory limit (the origin stays; bl_config_entry.capped
 * tells), and put the values in force. May be called again. */
BOLE_CHECKED bole_status bl_config_resolve(bl_config *config, const bl_config_machine *machine, bole_error *error);

/* bole_configure: one setting of an open store. BOLE_INVALID where it counts only at open; then, and on a bad value,
 * nothing is changed. */
BOLE_CHECKED bole_status bl_config_change(bl_config *config, const char *name, const char *text,
                                          const bl_config_machine *machine, bole_error *error);

/* The value in force. Cost: one load. */
static inline uint64_t bl_config_u64(const bl_config *config, bl_setting setting)
{
    return atomic_load_explicit(&config->values[setting], memory_order_relaxed);
}

/* Everything there is to say of one setting. Strings are static or good until the config changes. */
typedef struct bl_config_entry {
    bl_setting setting;
    const char *name, *meaning;
    bl_setting_type type;
    bl_setting_applies applies;
    bl_origin origin;
    const char *where;                       /* "" where origin says all */
    uint64_t value;
    bool capped;                             /* `value` is less than was asked for */
    char text[BL_CONFIG_TEXT_BYTES];         /* as bl_config_set reads it: "64MiB", "lz4", "none" */
    char fallback[BL_CONFIG_TEXT_BYTES];     /* the default in the same form; "" where it is derived */
    char allowed[96];                        /* "4KiB to 8GiB", "none, lz4 or zstd" */
} bl_config_entry;
void bl_config_describe(const bl_config *config, bl_setting setting, bl_config_entry *out);
/* In the order of the table; stops when `visit` returns false. */
void bl_config_each(const bl_config *config, bool (*visit)(void *context, const bl_config_entry *entry),
                    void *context);
/* The value in force as text; BOLE_INVALID for an unknown name. */
BOLE_CHECKED bole_status bl_config_get_text(const bl_config *config, const char *name,
                                            char text[BL_CONFIG_TEXT_BYTES], bole_error *error);

/* BL_SETTINGS when there is no such setting. */
bl_setting bl_config_find(const char *name);
/* The nearest name to a wrong one; NULL when none is near. */
const char *bl_config_nearest(const char *name);
const char *bl_setting_name(bl_setting setting);
const char *bl_origin_name(bl_origin origin); /* "default", "derived", "file", ... */

#endif
