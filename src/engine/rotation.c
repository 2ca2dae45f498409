/* SPDX-License-Identifier: MIT */
/* rotation.c -- a new log and a new memtable, born together; the old ones are sealed together, between two groups.
 *
 * ORDER of a rotation: wait for flushes if too many memtables are sealed -> make the new log's file
 * (synced, named) ->
 * name it in the manifest, durably -> seal the old pair -> publish the new read state. Whatever fails before the
 * manifest's edit leaves the old pair in place. The edit does not give the old log an end: it may not be on disk yet
 * (a log with an end in the manifest must be whole up to it); the new log's start says where it must end.
 *
 * INVARIANTS  (ROT-1) Positions never repeat: a log starts where the one before ends, or above.
 *             (ROT-2) After a log FAILED nothing is acknowledged before its memtable is in segments, durably.
 *             (ROT-3) While a manifest may name a log's successor the log takes no record: replay would end before it.
 * THREADS     Commit lock held throughout; mutex taken inside. */
#include "engine/log_structured_store.h"

#include "base/alloc.h"
#include "base/assert.h"

enum { SEALED_MAX = 4 };
static const uint64_t FIRST_LOG_BYTES = UINT64_C(1) << 20;

typedef struct pair { /* a log and a memtable that are not the store's yet */
    bl_write_ahead_log *log;
    bl_memtable *memtable;
} pair;

/* `named`: an edit that names the log was tried and may come back after a crash: its file stays, as an orphan. */
static void pair_abandon(bole_db *db, pair *fresh, bool named)
{
    if (fresh->log != NULL) {
        char path[BL_PATH_BYTES_MAX];
        bl_store_path(path, db->path, BL_FILE_LOG, bl_log_number(fresh->log));
        bl_log_close(fresh->log);
        if (!named)
            (void)db->vfs->remove(db->vfs, path, NULL);
    }
    bl_memtable_unref(fresh->memtable);
    *fresh = (pair){ NULL, NULL };
}

static uint64_t log_bytes_for(bole_db *db, uint64_t record_bytes)
{
    uint64_t bytes = db->next_log_bytes == 0 ? FIRST_LOG_BYTES : db->next_log_bytes;
    uint64_t most = bl_config_u64(&db->config, BL_SETTING_MEMTABLE_BYTES);
    if (bytes > most)
        bytes = most;
    if (atomic_load_explicit(&db->reserve_state, memory_order_relaxed) == BL_RESERVE_SPENT)
        bytes = bytes < BL_SPENT_LOG_BYTES ? bytes : BL_SPENT_LOG_BYTES;
    else
        db->next_log_bytes = bytes * 2;
    return bytes < record_bytes ? record_bytes : bytes;
}

static bole_status pair_create(bole_db *db, uint64_t start, uint64_t record_bytes, pair *out,
                               bole_error *error)
{
    *out = (pair){ NULL, NULL };
    bl_mutex_lock(&db->mutex);
    uint64_t number = bl_version_set_new_file_number(db->versions);
    bl_id store_id = bl_version_set_store_id(db->versions);
    bl_mutex_unlock(&db->mutex);
    bool power = bl_config_u64(&db->config, BL_SETTING_DURABILITY) == BOLE_DURABILITY_POWER;
    bool map = !power && (db->vfs->capabilities(db->vfs, db->path) & BOLE_VFS_CAN_MAP) != 0 &&
               bl_config_u64(&db->config, BL_SETTING_MAP_LOGS) != 0;
    uint64_t log_bytes = log_bytes_for(db, record_bytes);
    bl_log_parameters parameters = {
        .vfs = db->vfs,
        .scheduler = db->scheduler,
        .budget = &db->budget,
        .directory = db->path,
        .number = number,
        .store_id = store_id,
        .start = start,
        .synced = atomic_load_explicit(&db->synced, memory_order_relaxed),
        .bytes = log_bytes,
        .way = map ? BL_LOG_MAPPED : BL_LOG_WRITTEN,
    };
    bole_status status = bl_log_create(&parameters, &out->log, error);
    if (status == BOLE_OK)
        status = bl_memtable_create(&db->budget, bl_config_u64(&db->config, BL_SETTING_MEMTABLE_BYTES),
                                    &out->memtable, error);
    if (status == BOLE_OK)
        bl_memtable_count_large(out->memtable, bl_large_value_bytes(db));
    if (status != BOLE_OK)
        pair_abandon(db, out, false);
    else if (bl_config_u64(&db->config, BL_SETTING_ENTRY_CHECKSUMS) != 0)
        bl_memtable_carry_checksums(out->memtable);
    return status;
}

static bl_log_description describe(const bl_write_ahead_log *log)
{
    return (bl_log_description){
        .number = bl_log_number(log),
        .id = bl_log_id(log),
        .start = bl_log_start(log),
        .end = UINT64_MAX,
    };
}

/* The pair becomes the active one. Mutex held. Cannot fail but for memory, which is asked for before. */
static void install_locked(bole_db *db, pair *fresh)
{
    bl_sync_add_log(db, fresh->log);
    bl_log_activate(fresh->log);
    db->log = fresh->log;
    db->memtable = fresh->memtable;
    *fresh = (pair){ NULL, NULL };
}

bole_status bl_settle_recovered_logs(bole_db *db, bole_error *error)
{
    bl_mutex_lock(&db->mutex);
    uint64_t synced = bl_version_set_synced(db->versions);
    bl_mutex_unlock(&db->mutex);
    for (bl_sealed *sealed = db->sealed_oldest; sealed != NULL; sealed = sealed->newer) {
        char path[BL_PATH_BYTES_MAX];
        bl_store_path(path, db->path, BL_FILE_LOG, sealed->description.number);
        bole_status status = bl_log_settle(db->vfs, path, synced, sealed->description.end, error);
        if (status != BOLE_OK)
            return status;
    }
    return db->vfs->sync_directory(db->vfs, db->path, error);
}

static bole_status begin_writing(bole_db *db, bole_error *error)
{
    bl_assert(!db->writing);
    if (db->failed)
        return bl_fail(error, BOLE_FAILED, "store %s refuses writes after an earlier failure", db->path);
    uint64_t start = bl_position_visible(db);
    pair fresh = { NULL, NULL };
    bl_log_description *ended = NULL;
    uint64_t *removed = NULL;
    bole_status status = bl_settle_recovered_logs(db, error);
    if (status != BOLE_OK)
        return status;
    status = pair_create(db, start, 0, &fresh, error);
    if (status != BOLE_OK)
        return status;

    bl_mutex_lock(&db->mutex);
    uint32_t named = bl_version_set_log_count(db->versions);
    ended = bl_alloc_array(named + 1, sizeof(ended[0]));
    removed = bl_alloc_array(named + 1, sizeof(removed[0]));
    bl_sealed *seal = NULL;
    if (ended == NULL || removed == NULL) {
        status = bl_fail(error, BOLE_NO_MEMORY, "list of logs");
        goto out;
    }
    uint32_t ended_count = 0, removed_count = 0;
    for (uint32_t i = 0; i < named; i++) { /* what recovery did not accept is dropped for good */
        const bl_log_description *log = bl_version_set_log_at(db->versions, i);
        for (seal = db->sealed_oldest; seal != NULL && seal->description.number != log->number;
             seal = seal->newer)
            ;
        if (seal != NULL)
            ended[ended_count++] = seal->description;
        else
            removed[removed_count++] = log->number;
    }
    bl_log_description added = describe(fresh.log);
    bl_version_edit edit = {
        .logs_ended = ended,
        .logs_ended_count = ended_count,
        .logs_removed = removed,
        .logs_removed_count = removed_count,
        .logs_added = &added,
        .logs_added_count = 1,
        .synced = start,
        .next_sequence = start,
    };
    status = bl_version_set_apply(db->versions, &edit, error);
    if (status == BOLE_OK) {
        bl_mutex_lock(&db->sync_mutex);
        atomic_store_explicit(&db->synced, start, memory_order_release);
        bl_mutex_unlock(&db->sync_mutex);
        install_locked(db, &fresh);
        status = bl_read_state_publish_locked(db, error);
    }
    if (status == BOLE_OK) {
        db->writing = true;
        for (uint32_t i = 0; i < removed_count; i++)
            bl_remove_file_locked(db, BL_FILE_LOG, removed[i]);
        bl_remove_orphans_locked(db);
        bl_reserve_schedule_locked(db);
        bl_background_schedule_locked(db);
    } else if (db->log != NULL) { /* half-way: the log is named, the store cannot go on with it */
        BL_MARK("first log half-way");
        db->failed = true;
    }
out:
    bl_mutex_unlock(&db->mutex);
    bl_free(ended);
    bl_free(removed);
    if (status != BOLE_OK)
        pair_abandon(db, &fresh, true);
    return status;
}

/* Mutex held. (ROT-2) */
static bole_status wait_for_flush_of_locked(bole_db *db, uint64_t log_number, bole_error *error)
{
    for (;;) {
        bl_sealed *sealed = db->sealed_oldest;
        while (sealed != NULL && sealed->description.number != log_number)
            sealed = sealed->newer;
        if (sealed == NULL)
            return BOLE_OK;
        if (db->background_error.status != BOLE_OK)
            return bl_fail(error, db->background_error.status,
                           "the log failed and what it held cannot be written to segments: %s",
                           db->background_error.message);
        bl_background_schedule_flush_locked(db);
        bl_condition_wait(&db->changed, &db->mutex);
    }
}

/* Mutex held. (ROT-2) Where the flush of a failed log's memtable fails, too, it stays owed: the memtable is in memory,
 * readers see it, the job tries again, and each write that comes looks whether it went well. Nothing was put into the
 * new log meanwhile. */
static bole_status pay_owed_flush_locked(bole_db *db, bole_error *error)
{
    bole_status status = wait_for_flush_of_locked(db, db->owed_flush, error);
    if (status != BOLE_OK)
        return status;
    db->owed_flush = 0;
    db->log_failed = bl_log_state_of(db->log) == BL_LOG_FAILED;
    return BOLE_OK;
}

/* Once more with the room of the reserve, if there is one. */
static bool try_with_reserve(bole_db *db, bole_status status, bole_error *error)
{
    if (status != BOLE_NO_SPACE || db->failed)
        return false;
    bl_mutex_lock(&db->mutex);
    bool got = bl_reserve_give_up_locked(db);
    bl_mutex_unlock(&db->mutex);
    if (got)
        bl_error_clear(error);
    return got;
}

static void done_with_reserve(bole_db *db)
{
    bl_mutex_lock(&db->mutex);
    bl_reserve_done_locked(db);
    bl_mutex_unlock(&db->mutex);
}

bole_status bl_begin_writing(bole_db *db, bole_error *error)
{
    bole_status status = begin_writing(db, error);
    if (try_with_reserve(db, status, error)) {
        status = begin_writing(db, error);
        done_with_reserve(db);
    }
    return status;
}

/* Mutex held. Waits until another memtable may be sealed. */
static bole_status wait_for_room_locked(bole_db *db, bole_error *error)
{
    while (db->sealed_count >= SEALED_MAX) {
        BL_MARK("rotation waits for a flush");
        if (db->background_error.status != BOLE_OK) {
            BL_MARK("writes wait for a flush that fails");
            return bl_fail(error, db->background_error.status, "writes wait for a flush that fails: %s",
                           db->background_error.message);
        }
        bl_background_schedule_flush_locked(db);
        bl_condition_wait(&db->changed, &db->mutex);
    }
    return BOLE_OK;
}

static bole_status rotate(bole_db *db, uint64_t record_bytes, bole_error *error)
{
    if (db->failed)
        return bl_fail(error, BOLE_FAILED, "store %s refuses writes after an earlier failure", db->path);
    bl_mutex_lock(&db->mutex);
    bole_status status = BOLE_OK;
    bool owed = db->owed_flush != 0;
    if (owed)
        status = pay_owed_flush_locked(db, error);
    else if (!db->log_failed)
        status = wait_for_room_locked(db, error);
    bl_mutex_unlock(&db->mutex);
    if (status != BOLE_OK || (owed && !db->log_failed && bl_log_room(db->log) >= record_bytes))
        return status; /* paid: what waits behind it is new and empty */

    uint64_t start = bl_log_end(db->log);
    pair fresh = { NULL, NULL };
    bl_sealed *sealed = bl_new(bl_sealed);
    if (sealed == NULL)
        return bl_fail(error, BOLE_NO_MEMORY, "sealed memtable");
    status = pair_create(db, start, record_bytes, &fresh, error);
    if (status != BOLE_OK) {
        bl_free(sealed);
        return status;
    }
    bl_point(db->scheduler, "rotation made a pair");
    bl_log_description added = describe(fresh.log);
    bl_mutex_lock(&db->mutex);
    bl_version_edit edit = {
        .logs_added = &added,
        .logs_added_count = 1,
        .synced = atomic_load_explicit(&db->synced, memory_order_relaxed),
        .next_sequence = start,
    };
    status = bl_version_set_apply(db->versions, &edit, error);
    if (status != BOLE_OK) {
        if (!bl_version_set_may_delete(db->versions)) { /* the edit may be there: (ROT-3) */
            BL_MARK("rotation in doubt");
            db->log_failed = true;
        }
        goto fail;
    }
    bl_write_ahead_log *old_log = db->log;
    sealed->memtable = db->memtable;
    sealed->log = old_log;
    sealed->description = describe(old_log);
    sealed->description.end = bl_log_end(old_log);
    install_locked(db, &fresh);
    bl_log_seal(old_log);
    bl_memtable_transition(sealed->memtable, BL_MEMTABLE_SEALED);
    if (db->sealed_newest != NULL)
        db->sealed_newest->newer = sealed;
    else
        db->sealed_oldest = sealed;
    db->sealed_newest = sealed;
    db->sealed_count++;
    uint64_t old_number = sealed->description.number;
    bl_count(&db->log_rotations, 1);
    status = bl_read_state_publish_locked(db, error);
    if (status != BOLE_OK) {
        BL_MARK("new memtable not seen by readers");
        db->failed = true; /* readers would not see the new memtable */
        bl_mutex_unlock(&db->mutex);
        return status;
    }
    bl_background_schedule_locked(db);
    if (db->log_failed) {
        BL_MARK("failed log is flushed");
        db->owed_flush = old_number;
        status = pay_owed_flush_locked(db, error);
    }
    bl_update_pacing_locked(db);
    bl_mutex_unlock(&db->mutex);
    return status;
fail:
    bl_mutex_unlock(&db->mutex);
    bl_free(sealed);
    pair_abandon(db, &fresh, true);
    return status;
}

bole_status bl_rotate(bole_db *db, uint64_t record_bytes, bole_error *error)
{
    bole_status status = rotate(db, record_bytes, error);
    if (try_with_reserve(db, status, error)) {
        status = rotate(db, record_bytes, error);
        done_with_reserve(db);
    }
    return status;
}
