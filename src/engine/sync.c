/* SPDX-License-Identifier: MIT */
/* sync.c -- one device flush for as many writers as want one.
 *
 * A thread that needs a position on disk either leads a sync or waits for the one that runs and then looks again. The
 * leader syncs every log that holds positions below its target, oldest first: a sync of a position means every log
 * below it (WAL-1). Before it starts it gives as many writers as the last group had some tens of
 * microseconds to join.
 *
 * INVARIANTS  (SYNC-1) `synced` is written under sync_mutex, only rises, and never passes a byte that is not on disk.
 *             (SYNC-2) A log is closed only after it left unsynced_logs, which a running sync prevents.
 *             (SYNC-3) A failed sync is never repeated on the same log; what waited for it is BOLE_IN_DOUBT. */
#include "engine/log_structured_store.h"

#include "base/assert.h"

void bl_sync_add_log(bole_db *db, bl_write_ahead_log *log)
{
    bl_mutex_lock(&db->sync_mutex);
    bl_assert(db->unsynced_count < BL_UNSYNCED_LOGS_MAX);
    db->unsynced_logs[db->unsynced_count++] = log;
    bl_mutex_unlock(&db->sync_mutex);
}

void bl_sync_remove_log(bole_db *db, bl_write_ahead_log *log)
{
    bl_mutex_lock(&db->sync_mutex);
    while (db->sync_running)
        bl_condition_wait(&db->synced_changed, &db->sync_mutex);
    bl_assert(db->unsynced_count > 0 && db->unsynced_logs[0] == log); /* flushed in log order */
    db->unsynced_count--;
    memmove(&db->unsynced_logs[0], &db->unsynced_logs[1], db->unsynced_count * sizeof(db->unsynced_logs[0]));
    /* What it held is durable in segments, so positions up to its end are. */
    if (bl_log_end(log) > atomic_load_explicit(&db->synced, memory_order_relaxed))
        atomic_store_explicit(&db->synced, bl_log_end(log), memory_order_release);
    bl_condition_wake_all(&db->synced_changed);
    bl_mutex_unlock(&db->sync_mutex);
}

enum { GATHER_ROUNDS_MAX = 64 };

/* As many writers as the last sync met are likely on their way: one flush for all of them. sync_mutex held; let go of
 * meanwhile, so that they can join. */
static void gather(bole_db *db)
{
    for (uint32_t round = 0; round < GATHER_ROUNDS_MAX && db->sync_waiters + 1 < db->sync_group_last;
         round++) {
        bl_mutex_unlock(&db->sync_mutex);
        bl_yield(db->scheduler);
        bl_mutex_lock(&db->sync_mutex);
    }
}

/* Where the oldest log that is beyond syncing starts; UINT64_MAX: none is. sync_mutex held. */
static uint64_t first_failure(const bole_db *db)
{
    for (uint32_t i = 0; i < db->unsynced_count; i++)
        if (bl_log_state_of(db->unsynced_logs[i]) == BL_LOG_FAILED)
            return bl_log_start(db->unsynced_logs[i]);
    return UINT64_MAX;
}

/* sync_mutex held; lets go of it around the I/O. */
static bole_status lead_sync(bole_db *db, bole_error *error)
{
    bl_write_ahead_log *logs[BL_UNSYNCED_LOGS_MAX];
    db->sync_running = true; /* keeps every log that is copied below in place (SYNC-2) */
    gather(db);
    uint64_t target = bl_position_visible(db), failure = first_failure(db);
    if (failure < target) /* a log may have failed, and a newer one gone on, while others were gathered */
        target = failure;
    uint32_t count = db->unsynced_count;
    memcpy(logs, db->unsynced_logs, sizeof(logs));
    bl_mutex_unlock(&db->sync_mutex);
    uint64_t begin = db->vfs->monotonic_ns(db->vfs);
    bole_status status = BOLE_OK;
    for (uint32_t i = 0; i < count && status == BOLE_OK; i++) {
        bl_write_ahead_log *log = logs[i];
        uint64_t upto = bl_log_end(log) < target ? bl_log_end(log) : target;
        if (bl_log_start(log) < target && bl_log_synced(log) < upto) {
            bl_point(db->scheduler, "sync log");
            status = bl_log_sync(log, upto, error);
            bl_count(&db->log_syncs, 1);
        }
    }
    bl_histogram_add(&db->sync_latency, db->vfs->monotonic_ns(db->vfs) - begin);
    bl_mutex_lock(&db->sync_mutex);
    if (status == BOLE_OK && target > atomic_load_explicit(&db->synced, memory_order_relaxed))
        atomic_store_explicit(&db->synced, target, memory_order_release);
    db->sync_running = false;
    db->sync_group_last = db->sync_waiters + 1;
    db->sync_waiters = 0;
    bl_condition_wake_all(&db->synced_changed);
    return status;
}

/* Say in the log what was synced, so that later damage below is known as corruption. When writers are busy the next
 * record says it. `visible` does not move: a mark holds no operation. */
static void mark_synced(bole_db *db)
{
    if (!bl_commit_try_lock(db))
        return;
    uint64_t synced = atomic_load_explicit(&db->synced, memory_order_relaxed);
    if (db->log != NULL && !db->log_failed && bl_log_append_sync_mark(db->log, synced) &&
        bl_log_publish(db->log, NULL) != BOLE_OK) {
        BL_MARK("sync mark in doubt");
        db->log_failed = true;
    }
    bl_commit_unlock(db);
}

bole_status bl_sync_to(bole_db *db, uint64_t position, bole_error *error)
{
    if (atomic_load_explicit(&db->synced, memory_order_acquire) >= position)
        return BOLE_OK;
    bool led = false;
    bole_status status = BOLE_OK;
    bole_error story = BOLE_ERROR_INIT;
    bl_mutex_lock(&db->sync_mutex);
    while (atomic_load_explicit(&db->synced, memory_order_relaxed) < position) {
        if (db->sync_running) {
            db->sync_waiters++;
            bl_condition_wait(&db->synced_changed, &db->sync_mutex);
            continue;
        }
        if (first_failure(db) < position) {
            BL_MARK("sync behind a failed sync");
            status = bl_fail(error, BOLE_IN_DOUBT, "%s",
                             story.message[0] ? story.message : "a sync of the log failed");
            break;
        }
        led = true;
        status = lead_sync(db, &story);
        if (status != BOLE_OK) {
            BL_MARK("sync in doubt");
            status = bl_fail(error, BOLE_IN_DOUBT, "%s", story.message);
            break;
        }
    }
    bl_mutex_unlock(&db->sync_mutex);
    if (led && status == BOLE_OK)
        mark_synced(db);
    if (status != BOLE_OK) { /* the next writer must not append to that log */
        bl_commit_lock(db);
        if (db->log != NULL && bl_log_state_of(db->log) == BL_LOG_FAILED)
            db->log_failed = true;
        bl_commit_unlock(db);
    }
    return status;
}
