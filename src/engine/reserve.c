/* SPDX-License-Identifier: MIT */
/* reserve.c -- room that is kept for a full disk: the file `reserve`, allocated and never written or read.
 *
 * It has room for a small log, a flush and a small merge as logs are now: four times the largest log that there was,
 * and a little; at most the setting reserve_bytes. A job makes it behind the first write, and lets it grow with the
 * logs. Where nothing waits for a flush it RESTS at a share of what the segments take, as room for deletes in small
 * logs and their merges, and who writes next makes it whole first. When a rotation, flush, merge or drop of a table
 * meets the end of the disk, the file is removed and the work is done again at once. From then on the reserve is SPENT,
 * as it is when it rests and cannot be made whole: batches that put something are refused (BOLE_NO_SPACE), those of
 * deletes alone go on in small logs, until the reserve is made again: the tick tries, and before a batch is refused its
 * leader.
 *
 *     none -> whole <-> resting -> spent -> whole ...      none, too: reserve_bytes 0, or there never was room
 *             whole -> spent
 *
 * Nothing refers to the file, so it needs no sync, and whatever a crash leaves of it is brought to its size or removed
 * by the next life. A clean close leaves it: the room stays kept.
 *
 * INVARIANTS  (RESERVE-1) While resting or spent nothing is acknowledged that puts.
 *             (RESERVE-2) While work that it was given up for runs it is made again only where as much stays free.
 * THREADS     One at a time makes or removes the file (`busy`), without the mutex; all state is the mutex', but
 *             db->reserve_state is read by writers without it. It becomes RESTS under the commit lock, too: no batch is
 *             half-way then. */
#include "engine/log_structured_store.h"

#include "base/alloc.h"
#include "base/assert.h"

enum { LOGS = 4, OTHER_BYTES = 64 * 1024, RESTING_SHARE = 64 /* of what the segments take */ };

struct bl_reserve {
    bl_job_node node;
    bool queued, busy;
    bool looked;         /* what an earlier life left is known */
    bool told;           /* that it cannot be made, since it last could */
    uint32_t users;      /* that it was given up for */
    uint64_t bytes;      /* of the file; 0: there is none, once looked */
    uint64_t log_bytes;  /* the largest log so far */
    uint64_t told_bytes; /* made, and told of, since it was spent */
    uint64_t uses, refused;
};

bole_status bl_reserve_create(bole_db *db, bole_error *error)
{
    db->reserve = bl_new(struct bl_reserve);
    return db->reserve != NULL ? BOLE_OK : bl_fail(error, BOLE_NO_MEMORY, "state of the reserve");
}

void bl_reserve_destroy(bole_db *db) { bl_free(db->reserve); }

/* ---- the file ---- */

static bl_reserve_state state_of(const bole_db *db)
{
    return (bl_reserve_state)atomic_load_explicit(&db->reserve_state, memory_order_relaxed);
}

static void set_state_locked(bole_db *db, bl_reserve_state state)
{
    atomic_store_explicit(&db->reserve_state, (uint32_t)state, memory_order_release);
}

static uint64_t whole_locked(bole_db *db)
{
    uint64_t most = bl_config_u64(&db->config, BL_SETTING_RESERVE_BYTES);
    struct bl_reserve *reserve = db->reserve;
    if (db->log != NULL && bl_log_file_bytes(db->log) > reserve->log_bytes)
        reserve->log_bytes = bl_log_file_bytes(db->log);
    uint64_t due = reserve->log_bytes > most / LOGS ? most : LOGS * reserve->log_bytes + OTHER_BYTES;
    return due < most ? due : most;
}

static uint64_t resting_locked(bole_db *db)
{
    uint64_t whole = whole_locked(db), bytes = 0;
    const bl_version *version = bl_version_set_current(db->versions);
    for (uint32_t i = 0; i < version->table_count; i++) {
        bytes += version->tables[i].values.file_bytes;
        for (uint32_t level = 0; level < BOLE_LEVELS_MAX; level++)
            bytes += version->tables[i].levels[level].bytes;
    }
    bytes /= RESTING_SHARE;
    if (bytes < LOGS * BL_SPENT_LOG_BYTES + OTHER_BYTES)
        bytes = LOGS * BL_SPENT_LOG_BYTES + OTHER_BYTES;
    return bytes < whole ? bytes : whole;
}

/* Does nothing wait for a flush? Exact with the commit lock. A reserve that is not whole yet is made whole first. */
static bool may_rest_locked(const bole_db *db)
{
    return db->sealed_count == 0 && db->memtable != NULL && bl_memtable_entries(db->memtable) == 0 &&
           db->reserve->bytes > 0 && db->reserve->users == 0 && state_of(db) != BL_RESERVE_SPENT;
}

static uint64_t wanted_locked(bole_db *db)
{
    return may_rest_locked(db) ? resting_locked(db) : whole_locked(db);
}

static void begin_locked(bole_db *db)
{
    while (db->reserve->busy)
        bl_condition_wait(&db->changed, &db->mutex);
    db->reserve->busy = true;
}

static void end_locked(bole_db *db)
{
    db->reserve->busy = false;
    bl_condition_wake_all(&db->changed);
}

/* The file at its size, whatever it was; on failure as long as before. */
static bole_status bring_to_size(bole_db *db, const char *path, uint64_t before, uint64_t bytes,
                                 uint64_t leave, bole_error *error)
{
    bole_vfs *vfs = db->vfs;
    uint64_t free;
    bool known = bytes > before && vfs->free_bytes(vfs, db->path, &free, NULL) == BOLE_OK;
    if (known && (free < bytes - before || free - (bytes - before) < leave))
        return bl_fail(error, BOLE_NO_SPACE, "%s needs %llu bytes, and %llu are free", path,
                       (unsigned long long)(bytes - before), (unsigned long long)free);
    bole_file *file;
    bole_status status = vfs->open(vfs, path, BOLE_VFS_WRITE | BOLE_VFS_CREATE, &file, error);
    if (status != BOLE_OK)
        return status;
    uint64_t length;
    status = vfs->length(file, &length, error);
    if (status == BOLE_OK && length > bytes)
        status = vfs->truncate(file, bytes, error);
    if (status == BOLE_OK)
        status = vfs->allocate(file, 0, bytes, false, error);
    if (status != BOLE_OK && before > 0)
        (void)vfs->truncate(file, before, NULL); /* what was allocated of it goes again */
    (void)vfs->close(file, NULL);
    if (status != BOLE_OK && before == 0)
        (void)vfs->remove(vfs, path, NULL);
    return status;
}

/* Busy. The room is free again on the disk, not only in the file system's memory: hence the sync of the directory. */
static bole_status remove_file(bole_db *db, const char *path, bole_error *error)
{
    bole_status status = db->vfs->remove(db->vfs, path, error);
    if (status == BOLE_OK)
        (void)db->vfs->sync_directory(db->vfs, db->path, NULL);
    return status;
}

/* Make, grow, cut or remove the file: whole, or as it rests. Mutex held; released inside. */
static bole_status make_locked(bole_db *db, bool rests, bole_error *error)
{
    char path[BL_PATH_BYTES_MAX];
    struct bl_reserve *reserve = db->reserve;
    bl_store_path(path, db->path, BL_FILE_RESERVE, 0);
    begin_locked(db);
    uint64_t wanted = rests ? resting_locked(db) : whole_locked(db), before = reserve->bytes;
    uint64_t leave = reserve->users > 0 ? wanted : 0; /* (RESERVE-2) */
    bole_status status = BOLE_OK;
    if (reserve->looked && wanted == before)
        goto out;
    bl_mutex_unlock(&db->mutex);
    if (wanted == 0) {
        status = db->vfs->remove(db->vfs, path, error);
        status = status == BOLE_NOT_FOUND ? BOLE_OK : status;
    } else {
        status = bring_to_size(db, path, before, wanted, leave, error);
    }
    bl_mutex_lock(&db->mutex);
    if (status == BOLE_OK) {
        reserve->looked = true;
        reserve->bytes = wanted;
    }
out:
    if (status == BOLE_OK)
        set_state_locked(db, rests ? BL_RESERVE_RESTS : BL_RESERVE_WHOLE);
    end_locked(db);
    return status;
}

static void tell_locked(bole_db *db, bole_status status, const bole_error *error)
{
    struct bl_reserve *reserve = db->reserve;
    if (status == BOLE_OK && reserve->bytes > reserve->told_bytes)
        bl_event_log_add(db->events, BOLE_LOG_INFO, "reserve_made",
                         (bl_event_field[]){ BL_EVENT_U64("bytes", reserve->bytes) }, 1);
    else if (status != BOLE_OK && !reserve->told)
        bl_event_log_add(db->events, BOLE_LOG_WARN, "reserve_not_made",
                         (bl_event_field[]){ BL_EVENT_TEXT("message", error->message) }, 1);
    if (status == BOLE_OK && reserve->bytes > reserve->told_bytes)
        reserve->told_bytes = reserve->bytes;
    reserve->told = status != BOLE_OK;
}

/* ---- the job ---- */

static bool is_due_locked(bole_db *db)
{
    return (wanted_locked(db) != db->reserve->bytes || !db->reserve->looked ||
            state_of(db) == BL_RESERVE_SPENT) &&
           db->writing && !db->closing;
}

static void reserve_job(void *context)
{
    bole_db *db = context;
    bole_error error = BOLE_ERROR_INIT;
    bl_mutex_lock(&db->mutex);
    if (is_due_locked(db)) {
        bool rests = may_rest_locked(db) && bl_commit_try_lock(db);
        if (rests) {
            rests = may_rest_locked(db);
            if (rests)
                set_state_locked(db, BL_RESERVE_RESTS); /* from now on who writes waits for it */
            bl_commit_unlock(db);
        }
        tell_locked(db, make_locked(db, rests, &error), &error);
    }
    db->reserve->queued = false;
    bl_condition_wake_all(&db->changed);
    bl_mutex_unlock(&db->mutex);
}

void bl_reserve_schedule_locked(bole_db *db)
{
    struct bl_reserve *reserve = db->reserve;
    if (reserve->queued || !is_due_locked(db))
        return;
    reserve->queued = true;
    reserve->node = (bl_job_node){ .run = reserve_job, .context = db };
    bl_scheduler_submit(db->scheduler, BL_PRIORITY_LOW, &reserve->node);
}

void bl_reserve_stop_locked(bole_db *db)
{
    if (db->reserve->queued && bl_scheduler_cancel(db->scheduler, &db->reserve->node))
        db->reserve->queued = false;
    while (db->reserve->queued || db->reserve->busy)
        bl_condition_wait(&db->changed, &db->mutex);
}

/* ---- a full disk ---- */

bool bl_reserve_give_up_locked(bole_db *db)
{
    char path[BL_PATH_BYTES_MAX];
    struct bl_reserve *reserve = db->reserve;
    begin_locked(db);
    bool got = false, there = reserve->bytes > 0 || !reserve->looked;
    if (there && bl_file_path(path, db->path, BL_FILE_RESERVE, 0)) {
        bl_mutex_unlock(&db->mutex);
        bole_status status = remove_file(db, path, NULL);
        bl_mutex_lock(&db->mutex);
        got = status == BOLE_OK;
        reserve->looked = reserve->looked || got || status == BOLE_NOT_FOUND;
    }
    if (got) {
        BL_MARK("the reserve is given up");
        bl_event_log_add(db->events, BOLE_LOG_WARN, "reserve_used",
                         (bl_event_field[]){ BL_EVENT_U64("bytes", reserve->bytes) }, 1);
        reserve->bytes = reserve->told_bytes = 0;
        reserve->uses++;
        reserve->users++;
        set_state_locked(db, BL_RESERVE_SPENT);
    }
    end_locked(db);
    return got;
}

void bl_reserve_done_locked(bole_db *db)
{
    bl_assert(db->reserve->users > 0);
    db->reserve->users--;
}

bole_status bl_reserve_make_again(bole_db *db, bool puts, bole_error *error)
{
    bole_error story = BOLE_ERROR_INIT;
    bl_mutex_lock(&db->mutex);
    bole_status status = make_locked(db, false, &story);
    if (status == BOLE_OK)
        tell_locked(db, status, &story);
    else
        set_state_locked(db, BL_RESERVE_SPENT);
    db->reserve->refused += status != BOLE_OK && puts;
    uint64_t wanted = whole_locked(db);
    bl_mutex_unlock(&db->mutex);
    if (status == BOLE_OK)
        return BOLE_OK;
    return bl_fail(
        error, BOLE_NO_SPACE,
        "the disk of %s is full, and its reserve in use: only deletes go on until there is room for the "
        "reserve of %llu bytes again",
        db->path, (unsigned long long)wanted);
}

void bl_reserve_stats_locked(bole_db *db, bole_statistics *out)
{
    out->reserve_bytes = db->reserve->bytes;
    out->reserve_uses = db->reserve->uses;
    out->reserve_refused = db->reserve->refused;
    out->reserve_spent = state_of(db) == BL_RESERVE_SPENT;
}
