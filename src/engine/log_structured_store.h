/* SPDX-License-Identifier: MIT */
/* log_structured_store.h -- the brief's LogStructuredStore: the state of an open store, and its lock order.
 *
 * THE WAY OF A WRITE  bole.c -> batch.c -> commit_group.c -> write.c -> log/write_ahead_log.c -> memory/memtable.c
 *                     -> (log or memtable full) rotation.c -> background.c -> compaction/flush.c
 *                     -> segment/segment_writer.c -> version/manifest.c
 * THE WAY OF A READ   bole.c -> read.c -> memory/memtable.c -> segment/segment.c (bloom_filter, block_index, block)
 *                     -> (absent block) segment/block_reader.c
 *
 * LOCK ORDER  commit lock (commit_group.c) -> mutex -> sync_mutex. None is held while waiting for I/O
 * except: the commit
 *             lock while a rotation makes the new log durable. Readers take none: they enter an epoch (epoch.h), load
 *             read_state, then visible.
 *
 * INVARIANTS  (STORE-1) A read state lists every memtable and segment whose entries a reader may need; it is immutable
 *                       and swapped by one pointer; the old one is let go only after a grace period.
 *             (STORE-2) Per key, memtables newest to oldest and then levels are in strictly falling sequence.
 *             (STORE-3) `visible` only rises, and always stands at the end of a commit group.
 *             (STORE-4) A reader loads the state before the position: what a newer state no longer holds is below the
 *                       position of every reader of that state.
 *             (STORE-5) Nothing is written into the directory before begin_writing has withdrawn the clean mark and
 *                       written the accepted ends of recovered logs, durably. */
#ifndef BL_ENGINE_LOG_STRUCTURED_STORE_H
#define BL_ENGINE_LOG_STRUCTURED_STORE_H

#include "base/histogram.h"
#include "base/status.h"
#include "compaction/compaction.h"
#include "compaction/pacing.h"
#include "core/config.h"
#include "core/event_log.h"
#include "core/write_batch.h"
#include "log/write_ahead_log.h"
#include "memory/memtable.h"
#include "platform/process.h"
#include "version/file_name.h"
#include "version/version_set.h"

/* What a reader needs, at one moment. Counted; newest memtable first. */
typedef struct bl_read_state {
    _Atomic uint32_t references;
    bole_db *db;
    bl_version *version;
    uint32_t memtable_count;
    bl_memtable *memtables[];
} bl_read_state;

/* A memtable that is not active any more, and the log that holds its records. */
typedef struct bl_sealed {
    bl_memtable *memtable;
    bl_write_ahead_log *log; /* NULL: a recovered log, not opened for appending */
    bl_log_description description;
    struct bl_sealed *newer;
} bl_sealed;

/* Counters of calls. Each of the first threads of a process has a stripe of its own, which it alone writes, with plain
 * stores; all later ones share the last, with atomic additions (5 ns each, measured). */
enum { BL_COUNTER_STRIPES = 64 };
typedef struct bl_counters {
    _Alignas(64) _Atomic uint64_t puts;
    _Atomic uint64_t deletes, gets, get_hits, get_memtable_hits, multi_gets, seeks, nexts, skipped, user_bytes,
        views_opened, views_released, iterators_opened, iterators_closed;
    _Atomic(void *) spare_iterator; /* memory of one that was destroyed: scan.c */
} bl_counters;

struct bole_snapshot {
    bole_db *db;
    uint64_t sequence;
    bl_read_state *state; /* read-only handles: what it sees; else NULL */
    bole_snapshot *older, *newer; /* by the mutex; in order of sequence */
};

struct bole_table {
    bole_db *db;
    uint32_t number;
    char *name;
    bl_comparator *comparator;
    _Atomic(bl_read_state *) dropped; /* not NULL: the table was dropped; read from this state */
    bole_table *next;                 /* all open handles, by the mutex */
};

typedef struct bl_write_request bl_write_request;

/* Those of the sealed memtables, the active one, and one whose flush has ended (rotation.c: SEALED_MAX). */
enum { BL_UNSYNCED_LOGS_MAX = 8 };

struct bole_db {
    /* -- constant between open and close -- */
    char *path;
    uint32_t generation; /* of the process, see process.h */
    bool read_only;
    bool owns_vfs_paths;
    bole_vfs *vfs;
    bl_config config;
    bl_config_machine machine;
    bl_scheduler *scheduler;
    bl_event_log *events;
    bl_memory_budget budget;
    bl_segment_environment environment;
    bl_version_set *versions; /* contents by mutex */
    bole_file *lock_file;
    bole_file *readers_file; /* read-only: our slot; writer: to look at the slots */
    uint32_t reader_slot;
    bole_table default_table;
    const bole_comparator *default_comparator;
    const bole_comparator *const *comparators;
    bole_durability durability; /* what a write gets that does not say */

    /* -- self-synchronized: readers -- */
    _Alignas(64) _Atomic(bl_read_state *) read_state;
    _Atomic uint64_t visible; /* position: sequences below are seen */
    bl_counters counters[BL_COUNTER_STRIPES];
    bl_histogram put_latency, get_latency, seek_latency, sync_latency;
    _Atomic uint32_t read_states; /* that somebody holds; the present one is held by the store */

    /* -- by the commit lock (commit_group.c) -- */
    _Alignas(64) _Atomic uint32_t commit_lock;
    _Atomic(bl_write_request *) commit_queue; /* pushed by any thread */
    bl_write_ahead_log *log;   /* active; NULL until begin_writing. The pointer changes with the mutex held too */
    bl_memtable *memtable;     /* active */
    bool writing;              /* begin_writing was done */
    bool log_failed;           /* the active log is FAILED, or may have a successor (ROT-3): its memtable must reach
                                  segments first */
    uint64_t owed_flush;       /* number of a failed log, sealed, whose memtable is not in segments yet; 0: none */
    _Atomic uint32_t reserve_state; /* bl_reserve_state; written with the mutex (reserve.c) */
    uint64_t next_log_bytes;
    uint64_t pacing_owed_ns;
    _Atomic uint64_t commit_groups, log_bytes_written, log_rotations, delayed_ns;
    _Atomic uint64_t delay_ns_per_kib; /* set by background.c */

    /* -- by mutex -- */
    bl_mutex mutex;
    bl_condition changed;       /* background work ended, memtable flushed, a state changed */
    bl_sealed *sealed_oldest, *sealed_newest;
    uint32_t sealed_count;
    bole_snapshot *snapshot_oldest, *snapshot_newest;
    uint64_t snapshot_count;
    bole_table *tables;         /* open handles */
    uint32_t table_handles;
    bool closing;
    bool flush_queued, flush_running;
    bool compaction_queued, compaction_running;
    bool paused;                /* manual work excludes picked compactions */
    bool dropping;              /* a table: no flush begins (BACK-4) */
    uint32_t manual_waiting;
    bool edit_running;          /* table create/drop and rotation one at a time */
    bl_job_node flush_node, compaction_node, tick_node, touch_node;
    bool tick_queued;
    bool touch_queued;
    bl_write_ahead_log *touching; /* by the running touch job; not closed meanwhile */
    bool compacting;            /* a merge or a move is being made */
    bole_error background_error; /* of a flush; status BOLE_OK: none; retried */
    uint64_t background_retry_ns;
    bole_error compaction_error; /* status BOLE_OK: none; no write waits for it */
    uint32_t compaction_failures, compaction_ticks; /* in a row; ticks until the next try */
    bool failed;                /* writes are refused until reopened */
    struct bl_pending_removal { /* files that readers in other processes may still need */
        bl_file_kind kind;
        uint64_t number, manifest_number, manifest_position;
    } *pending_removals;
    uint32_t pending_count, pending_capacity;
    uint64_t tick_visible;      /* position at the last tick */
    bool idle;
    uint64_t flushes, flush_bytes, compactions, compaction_bytes_read, compaction_bytes_written, trivial_moves,
        entries_dropped, values_moved, background_errors, merge_rate;
    bl_pacing_cause pacing_cause;

    struct bl_scrub *scrub;     /* scrub.c's */
    struct bl_reserve *reserve; /* reserve.c's */

    /* -- by sync_mutex -- */
    bl_mutex sync_mutex;
    bl_condition synced_changed;
    bool sync_running;
    uint32_t sync_waiters;      /* of the present group */
    uint32_t sync_group_last;   /* how many the last group had */
    _Atomic uint64_t synced;    /* written under sync_mutex */
    bl_write_ahead_log *unsynced_logs[BL_UNSYNCED_LOGS_MAX]; /* oldest first; the last is the active one */
    uint32_t unsynced_count;
    _Atomic uint64_t log_syncs;
};

/* ---- read_state.c: states and their life ---- */
/* Build the state of now from versions, memtable and sealed, and publish it; waits a grace period with the mutex
 * released, then lets the old one go. Mutex held. */
BOLE_CHECKED bole_status bl_read_state_publish_locked(bole_db *db, bole_error *error);
void bl_read_state_ref(bl_read_state *state);
void bl_read_state_unref(bl_read_state *state);
/* A counted reference to the present state, and the visible position loaded after it. */
bl_read_state *bl_read_state_acquire(bole_db *db, uint64_t *visible);

/* ---- commit_group.c, write.c ---- */
struct bl_write_request {
    const bole_batch *batch; /* or, when NULL, one operation: */
    uint8_t kind;
    bole_table *table;
    bole_slice key, value;
    bole_durability durability;
    bole_error *error;
    const uint32_t *checksums; /* of the operations, in order, made at the call; NULL: off */
    /* out */
    bole_status status;
    uint64_t end; /* position behind the record */
    /* the group's */
    uint8_t *payload;
    uint64_t payload_bytes, position;
    bl_memtable_tree *tree; /* of one operation: where it will go */
    bl_head_path path;
    uint64_t hash;
    _Atomic uint32_t done;
    bl_write_request *next;
};
bole_status bl_commit(bole_db *db, bl_write_request *request);
/* Lock out writers (rotation, table changes, close). */
void bl_commit_lock(bole_db *db);
bool bl_commit_try_lock(bole_db *db);
void bl_commit_unlock(bole_db *db);
/* With the commit lock: write the requests (a list, oldest first) and set their statuses. */
void bl_write_group_locked(bole_db *db, bl_write_request *first);

/* ---- sync.c ---- */
bole_status bl_sync_to(bole_db *db, uint64_t position, bole_error *error);
void bl_sync_add_log(bole_db *db, bl_write_ahead_log *log);
/* The log's operations are durable in segments: it needs no sync any more. */
void bl_sync_remove_log(bole_db *db, bl_write_ahead_log *log);

/* ---- rotation.c: with the commit lock ---- */
/* Before the first write after open: recovered logs were read through the page cache; put their accepted bytes on disk,
 * before the manifest, or a close, says that they are. */
BOLE_CHECKED bole_status bl_settle_recovered_logs(bole_db *db, bole_error *error);
/* The first write after open: withdraw the clean mark, write recovered ends, make the first log. */
BOLE_CHECKED bole_status bl_begin_writing(bole_db *db, bole_error *error);
/* Seal log and memtable, go on with new ones that have room for `record_bytes`. Waits for flushes when too many
 * memtables are sealed. */
BOLE_CHECKED bole_status bl_rotate(bole_db *db, uint64_t record_bytes, bole_error *error);

/* Of a memory limit, what the ledger may give out: an eighth is for what it does not see, holes between frames in the
 * arena's chunks, the C library's heap, stacks of threads (measured: about 30 MiB at 256, tests/test_large_store.c). */
static inline uint64_t bl_ledger_bytes(uint64_t memory_limit) { return memory_limit - memory_limit / 8; }

/* From how many bytes on a value is kept apart; UINT64_MAX: never. */
static inline uint64_t bl_large_value_bytes(const bole_db *db)
{
    uint64_t bytes = bl_config_u64(&db->config, BL_SETTING_LARGE_VALUE_BYTES);
    return bytes == 0 ? UINT64_MAX : bytes;
}

/* ---- background.c ---- */
void bl_background_stop_locked(bole_db *db);      /* waits until nothing runs */
void bl_background_schedule_locked(bole_db *db);  /* whatever is due */
/* Who waits for a flush calls this and no more: a merge that finds nothing to do would wake him, to be asked again. */
void bl_background_schedule_flush_locked(bole_db *db);
void bl_background_touch(bole_db *db);            /* commit lock held: the log wants its next pages touched */
void bl_update_pacing_locked(bole_db *db);
/* What compaction_pick decides by. Mutex held. */
void bl_policy_of(bole_db *db, bl_pick_policy *out);
bool bl_background_is_idle_locked(const bole_db *db);
/* Merge everything of one table that overlaps [begin, end] into the last level, in this thread. */
BOLE_CHECKED bole_status bl_compact_range(bole_db *db, uint32_t table, bole_slice begin, bole_slice end,
                                          bole_error *error);

/* ---- scrub.c: mutex held, but for create and destroy ---- */
BOLE_CHECKED bole_status bl_scrub_create(bole_db *db, bole_error *error);
void bl_scrub_destroy(bole_db *db);
/* Go on after `delay_ns`, unless it does already or the rate is off. */
void bl_scrub_schedule_locked(bole_db *db, uint64_t delay_ns);
void bl_scrub_rate_changed_locked(bole_db *db);
void bl_scrub_stop_locked(bole_db *db); /* waits until it does not run */
void bl_scrub_stats_locked(bole_db *db, bole_statistics *out);

/* ---- reserve.c ---- */
typedef enum bl_reserve_state {
    BL_RESERVE_WHOLE, /* or there never was room for it */
    BL_RESERVE_RESTS, /* nothing waits for a flush: it is small, and made whole before anything is written */
    BL_RESERVE_SPENT, /* on a full disk */
} bl_reserve_state;
enum { BL_SPENT_LOG_BYTES = 64 * 1024 }; /* logs while it is spent */
BOLE_CHECKED bole_status bl_reserve_create(bole_db *db, bole_error *error);
void bl_reserve_destroy(bole_db *db);
void bl_reserve_schedule_locked(bole_db *db); /* make it, or bring it to its size, if that is due */
void bl_reserve_stop_locked(bole_db *db);
/* There is no space. True: now there is, until bl_reserve_done_locked: do the same again. Released inside. */
bool bl_reserve_give_up_locked(bole_db *db);
void bl_reserve_done_locked(bole_db *db);
/* It rests, or is spent and the batch puts: make it whole, before anything is written. Else only deletes go on. Commit
 * lock held, mutex not. */
BOLE_CHECKED bole_status bl_reserve_make_again(bole_db *db, bool puts, bole_error *error);
void bl_reserve_stats_locked(bole_db *db, bole_statistics *out);

/* ---- open.c, refresh.c ---- */
/* The directory that holds `path`, into out[BL_PATH_BYTES_MAX]. */
void bl_parent_directory(char *out, const char *path);
BOLE_CHECKED bole_status bl_check_segments(bole_db *db, bole_error *error);
/* The version set of the directory, and memtables from its logs, into `db`. */
BOLE_CHECKED bole_status bl_load_state(bole_db *db, bool is_new, bole_error *error);
/* Counts of this moment, or of one not long ago where other threads are about. */
void bl_count_live_handles(const bole_db *db, uint64_t *iterators, uint64_t *views);

/* ---- recover.c ---- */
/* Replay the logs of the manifest, oldest first, each into a memtable of its own. Reads only. Sets `visible`. Mutex
 * held. */
BOLE_CHECKED bole_status bl_recover_logs(bole_db *db, bole_error *error);
void bl_sealed_free_all(bole_db *db);

/* ---- reader_slots.c ---- */
BOLE_CHECKED bole_status bl_reader_slot_take(bole_db *db, bole_error *error);
void bl_reader_slot_release(bole_db *db);
/* What this reader has seen of the manifest; the writer keeps every file that state names. */
BOLE_CHECKED bole_status bl_reader_slot_update(bole_db *db, bole_error *error);
/* Remove a file that no state names any more, now or when no reader of another process needs it. Mutex held. */
void bl_remove_file_locked(bole_db *db, bl_file_kind kind, uint64_t number);
void bl_remove_pending_locked(bole_db *db);
/* Remove files of the directory that nothing names. Mutex held. */
void bl_remove_orphans_locked(bole_db *db);

/* ---- checks that every call starts with ---- */
static inline bool bl_db_is_ours(const bole_db *db)
{
    return db->generation == atomic_load_explicit(&bl_process_generation_now, memory_order_relaxed);
}
static inline bl_counters *bl_my_counters(bole_db *db)
{
    uint32_t mine = bl_thread_ordinal();
    return &db->counters[mine < BL_COUNTER_STRIPES - 1 ? mine : BL_COUNTER_STRIPES - 1];
}
/* Add to a counter of this thread's stripe; returns what it was. */
static inline uint64_t bl_tally(bole_db *db, const bl_counters *mine, _Atomic uint64_t *counter, uint64_t by)
{
    if (bl_unlikely(mine == &db->counters[BL_COUNTER_STRIPES - 1]))
        return atomic_fetch_add_explicit(counter, by, memory_order_relaxed);
    uint64_t before = atomic_load_explicit(counter, memory_order_relaxed);
    atomic_store_explicit(counter, before + by, memory_order_relaxed);
    return before;
}
static inline void bl_count(_Atomic uint64_t *counter, uint64_t by)
{
    atomic_fetch_add_explicit(counter, by, memory_order_relaxed);
}
static inline uint64_t bl_position_visible(const bole_db *db)
{
    return atomic_load_explicit(&db->visible, memory_order_acquire);
}
static inline bole_status bl_forked(bole_error *error)
{
    return bl_fail(error, BOLE_FORKED, "this handle belongs to the parent process; open the store again");
}
static inline bole_status bl_read_only_refused(bole_error *error)
{
    return bl_fail(error, BOLE_WRITE_REFUSED, "the store is open for reading only");
}
/* Resolve a table argument; checks that it belongs to `db`. */
BOLE_CHECKED bole_status bl_resolve_table(bole_db *db, bole_table *table, bole_table **out, bole_error *error);
/* Sequences of live snapshots, rising; *out is the caller's. Mutex held. */
BOLE_CHECKED bole_status bl_snapshots_collect_locked(bole_db *db, uint64_t **out, uint32_t *count, bole_error *error);

#endif
