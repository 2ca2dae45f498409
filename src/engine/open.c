/* SPDX-License-Identifier: MIT */
/* open.c -- a store's handle: made, refreshed, closed.
 *
 * ORDER of an open: settings -> directory -> lock (or a reader's slot) -> scheduler, budget, cache ->
 * manifest -> logs ->
 * first read state -> background. Whatever fails undoes the rest in reverse; opening writes nothing into the store but
 * the LOCK file, the reader's slot and a line of events (STORE-5).
 * ORDER of a close: no live handles -> background stops -> a memtable worth it is flushed, so that the next open is
 * fast
 * -> log synced -> clean mark -> everything freed, whatever failed. */
#include "engine/log_structured_store.h"

#include <errno.h>
#include <stdio.h>

#include "base/alloc.h"
#include "base/assert.h"
#include "core/config_source.h"

static const uint64_t FLUSH_AT_CLOSE_BYTES = UINT64_C(1) << 20;

/* ---- settings ---- */

static bole_status read_settings(bole_db *db, const bole_options *options, bole_error *error)
{
    char path[BL_PATH_BYTES_MAX];
    bl_config_init(&db->config);
    db->machine.memory_bytes = db->vfs->memory_bytes(db->vfs);
    db->machine.open_files = bl_process_open_files();
    bl_store_path(path, db->path, BL_FILE_CONFIG, 0);
    bole_status status = bl_config_apply_file(&db->config, db->vfs, path, error);
    if (status == BOLE_OK)
        status = bl_config_apply_options(&db->config, options, error);
    if (status == BOLE_OK)
        status = bl_config_resolve(&db->config, &db->machine, error);
    return status;
}

/* ---- directory and lock ---- */

void bl_parent_directory(char *out, const char *path)
{
    snprintf(out, BL_PATH_BYTES_MAX, "%s", path);
    size_t size = strlen(out);
    while (size > 1 && out[size - 1] == '/')
        out[--size] = 0;
    char *slash = strrchr(out, '/');
    if (slash == NULL)
        snprintf(out, BL_PATH_BYTES_MAX, ".");
    else
        slash[slash == out] = 0;
}

static bool note_foreign(void *context, const char *name)
{
    char *foreign = context;
    uint64_t number;
    if (bl_file_parse(name, &number) != BL_FILE_OTHER || strcmp(name, "lost+found") == 0)
        return true;
    snprintf(foreign, 256, "%s", name);
    return false;
}

/* A directory that is there already may have been made by an open that failed, or died, before its name was on disk
 * (test_simulation: an_unsynced_name_of_the_directory_is_made_durable). Who may not look into the parent did not make
 * the name. */
static bole_status sync_own_name(bole_db *db, bole_error *error)
{
    char parent[BL_PATH_BYTES_MAX];
    bole_error story = BOLE_ERROR_INIT;
    bl_parent_directory(parent, db->path);
    bole_status status = db->vfs->sync_directory(db->vfs, parent, &story);
    if (status == BOLE_OK || story.system_errno == EACCES)
        return BOLE_OK;
    if (error != NULL)
        *error = story;
    return status;
}

static bole_status check_directory(bole_db *db, uint32_t flags, bool *is_new, bole_error *error)
{
    bool is_directory = false;
    char current[BL_PATH_BYTES_MAX];
    *is_new = false;
    bole_error absent = BOLE_ERROR_INIT; /* not finding something is no story to tell */
    bole_status status = db->vfs->exists(db->vfs, db->path, &is_directory, &absent);
    if (status == BOLE_NOT_FOUND) {
        if ((flags & BOLE_CREATE) == 0)
            return bl_fail(error, BOLE_NO_STORE, "there is no store at %s (no such directory)", db->path);
        *is_new = true;
        char parent[BL_PATH_BYTES_MAX];
        bl_parent_directory(parent, db->path);
        status = db->vfs->make_directory(db->vfs, db->path, error);
        return status == BOLE_OK ? db->vfs->sync_directory(db->vfs, parent, error) : status;
    }
    if (status != BOLE_OK)
        return bl_fail(error, status, "%s", absent.message);
    if (!is_directory)
        return bl_fail(error, BOLE_INVALID, "%s is a file; a store is a directory", db->path);
    bl_store_path(current, db->path, BL_FILE_CURRENT, 0);
    status = db->vfs->exists(db->vfs, current, &is_directory, &absent);
    if (status == BOLE_OK) {
        if ((flags & BOLE_CREATE) != 0 && (flags & BOLE_MUST_NOT_EXIST) != 0)
            return bl_fail(error, BOLE_EXISTS, "%s holds a store already", db->path);
        return BOLE_OK;
    }
    if (status != BOLE_NOT_FOUND)
        return bl_fail(error, status, "%s", absent.message);
    if ((flags & BOLE_CREATE) == 0)
        return bl_fail(error, BOLE_NO_STORE, "there is no store at %s (no CURRENT file in it)", db->path);
    char foreign[256] = "";
    status = db->vfs->list(db->vfs, db->path, note_foreign, foreign, error);
    if (status == BOLE_OK && foreign[0] != 0)
        return bl_fail(error, BOLE_INVALID, "%s holds other files (%s): no store is made in it", db->path,
                       foreign);
    *is_new = true;
    return status == BOLE_OK ? sync_own_name(db, error) : status;
}

static bole_status take_lock(bole_db *db, bole_error *error)
{
    char path[BL_PATH_BYTES_MAX];
    bl_store_path(path, db->path, BL_FILE_LOCK, 0);
    bole_status status = db->vfs->open(db->vfs, path, BOLE_VFS_READ | BOLE_VFS_WRITE | BOLE_VFS_CREATE,
                                       &db->lock_file, error);
    if (status != BOLE_OK) {
        db->lock_file = NULL;
        return status;
    }
    status = db->vfs->lock(db->lock_file, 0, true, error);
    if (status == BOLE_LOCKED) {
        bool locked = false;
        int64_t pid = 0;
        if (db->vfs->lock_test(db->lock_file, 0, &locked, &pid, NULL) == BOLE_OK && locked && pid > 0)
            return bl_fail(error, BOLE_LOCKED, "process %lld is writing to the store %s", (long long)pid,
                           db->path);
        return bl_fail(error, BOLE_LOCKED, "another handle is writing to the store %s", db->path);
    }
    return status;
}

/* ---- making and unmaking ---- */

static void segment_file_due(void *context, uint64_t number)
{
    bole_db *db = context;
    bl_mutex_lock(&db->mutex);
    bl_remove_file_locked(db, BL_FILE_SEGMENT, number);
    bl_mutex_unlock(&db->mutex);
}

static bole_status make_parts(bole_db *db, const bole_options *options, bole_error *error)
{
    bole_status status;
    if (options->simulation_seed != 0)
        status = bl_scheduler_simulation_create(options->simulation_seed, db->vfs, &db->scheduler, error);
    else
        status = bl_scheduler_create((uint32_t)bl_config_u64(&db->config, BL_SETTING_BACKGROUND_THREADS),
                                     &db->scheduler, error);
    if (status != BOLE_OK)
        return status;
    bl_mutex_init(&db->mutex, db->scheduler);
    bl_condition_init(&db->changed, db->scheduler);
    bl_mutex_init(&db->sync_mutex, db->scheduler);
    bl_condition_init(&db->synced_changed, db->scheduler);
    uint64_t limit = bl_config_u64(&db->config, BL_SETTING_MEMORY_LIMIT);
    uint64_t memtable = bl_config_u64(&db->config, BL_SETTING_MEMTABLE_BYTES);
    uint64_t reserved = 3 * memtable < limit / 2 ? 3 * memtable : limit / 2;
    bl_memory_budget_init(&db->budget, bl_ledger_bytes(limit), reserved);
    db->environment = (bl_segment_environment){
        .vfs = db->vfs,
        .directory = db->path,
        .scheduler = db->scheduler,
        .budget = &db->budget,
        .read_only = db->read_only,
        .open_files_max = (uint32_t)bl_config_u64(&db->config, BL_SETTING_OPEN_FILES_MAX),
        .open_flags = bl_config_u64(&db->config, BL_SETTING_DIRECT_READS) != 0 ? BOLE_VFS_DIRECT : 0,
        .file_due = segment_file_due,
        .context = db,
    };
    status = bl_frame_cache_create(&db->budget, db->scheduler, &db->environment.cache, error);
    if (status == BOLE_OK)
        status = bl_segment_environment_init(&db->environment, error);
    if (status == BOLE_OK)
        status = bl_event_log_open(db->vfs, db->read_only ? NULL : db->path,
                                   (bole_log_level)bl_config_u64(&db->config, BL_SETTING_LOG_LEVEL),
                                   options->log_callback, options->log_context, &db->events, error);
    if (status == BOLE_OK)
        bl_event_log_set_bytes(db->events, bl_config_u64(&db->config, BL_SETTING_EVENTS_BYTES));
    if (status == BOLE_OK)
        status = bl_scrub_create(db, error);
    return status == BOLE_OK ? bl_reserve_create(db, error) : status;
}

/* Remember every number that a file of the directory has: none is used twice. */
static bool pass_number(void *context, const char *name)
{
    bole_db *db = context;
    uint64_t number;
    bl_file_kind kind = bl_file_parse(name, &number);
    if (kind == BL_FILE_LOG || kind == BL_FILE_SEGMENT || kind == BL_FILE_MANIFEST ||
        kind == BL_FILE_TEMPORARY)
        bl_version_set_pass_file_number(db->versions, number);
    return true;
}

bole_status bl_load_state(bole_db *db, bool is_new, bole_error *error)
{
    bl_version_set_parameters parameters = {
        .environment = &db->environment,
        .scheduler = db->scheduler,
        .mutex = &db->mutex,
        .directory = db->path,
        .vfs = db->vfs,
        .default_comparator = db->default_comparator,
        .comparators = db->comparators,
        .read_only = db->read_only,
        .allow_unknown_comparators = db->read_only,
    };
    bl_mutex_lock(&db->mutex);
    bole_status status = is_new ? bl_version_set_create(&parameters, &db->versions, error)
                                : bl_version_set_recover(&parameters, &db->versions, error);
    if (status == BOLE_OK)
        status = db->vfs->list(db->vfs, db->path, pass_number, db, error);
    if (status == BOLE_OK)
        status = bl_recover_logs(db, error);
    bl_mutex_unlock(&db->mutex);
    return status;
}

static bole_status make_default_table_locked(bole_db *db, bole_error *error)
{
    const bl_version_table *table = bl_version_table_by_number(bl_version_set_current(db->versions), 0);
    bl_assert(table != NULL);
    db->default_table.db = db;
    db->default_table.number = 0;
    db->default_table.comparator = table->comparator;
    db->default_table.name = bl_string_copy("default");
    if (db->default_table.name == NULL)
        return bl_fail(error, BOLE_NO_MEMORY, "table handle");
    if (!table->comparator_known)
        return bl_fail(error, BOLE_COMPARATOR, "%s is in order of \"%s\", which this process does not have",
                       db->path, table->comparator_name);
    return BOLE_OK;
}

static void free_all(bole_db *db)
{
    if (db->environment.cache != NULL)
        bl_frame_cache_end(db->environment.cache);
    bl_read_state *state = atomic_exchange_explicit(&db->read_state, NULL, memory_order_acq_rel);
    bl_read_state_unref(state);
    bl_scrub_destroy(db);
    bl_reserve_destroy(db);
    bl_sealed_free_all(db);
    bl_memtable_unref(db->memtable);
    bl_log_close(db->log);
    bl_version_set_destroy(db->versions);
    if (db->environment.cache != NULL) {
        bl_segment_environment_deinit(&db->environment);
        bl_frame_cache_destroy(db->environment.cache);
    }
    bl_event_log_close(db->events);
    bl_reader_slot_release(db);
    if (db->lock_file != NULL) {
        (void)db->vfs->unlock(db->lock_file, 0, NULL);
        (void)db->vfs->close(db->lock_file, NULL);
    }
    if (db->scheduler != NULL) {
        bl_condition_deinit(&db->changed);
        bl_condition_deinit(&db->synced_changed);
        bl_mutex_deinit(&db->mutex);
        bl_mutex_deinit(&db->sync_mutex);
        bl_scheduler_destroy(db->scheduler);
    }
    for (uint32_t i = 0; i < BL_COUNTER_STRIPES; i++)
        bl_free(atomic_load_explicit(&db->counters[i].spare_iterator, memory_order_relaxed));
    bl_free(db->pending_removals);
    bl_free(db->default_table.name);
    bl_free(db->path);
    bl_free(db);
}

static bole_status check_options(const char *path, const bole_options *options, bole_error *error)
{
    const uint32_t known = BOLE_CREATE | BOLE_MUST_NOT_EXIST | BOLE_READ_ONLY | BOLE_PARANOID |
                           BOLE_NO_SIGBUS_HANDLER;
    if (path == NULL || path[0] == 0)
        return bl_fail(error, BOLE_INVALID, "the path of a store is empty");
    if (!bl_directory_fits(path))
        return bl_fail(error, BOLE_TOO_LARGE, "the path %.200s... is too long", path);
    if (options->size < 2 * sizeof(uint32_t) || options->size > sizeof(*options))
        return bl_fail(error, BOLE_INVALID, "bole_options of %u bytes; this library has %zu", options->size,
                       sizeof(*options));
    if ((options->flags & ~known) != 0)
        return bl_fail(error, BOLE_INVALID, "unknown open flags 0x%x", options->flags & ~known);
    if ((options->flags & BOLE_READ_ONLY) != 0 && (options->flags & BOLE_CREATE) != 0)
        return bl_fail(error, BOLE_INVALID, "a store cannot be made by opening it for reading only");
    return BOLE_OK;
}

static bole_status open_once(const char *path, const bole_options *options, bole_db **out, bole_error *error)
{
    *out = NULL;
    bole_db *db = bl_alloc_aligned(64, sizeof(bole_db));
    if (db == NULL)
        return bl_fail(error, BOLE_NO_MEMORY, "store handle");
    db->generation = bl_process_generation();
    db->vfs = options->vfs != NULL ? options->vfs : bole_vfs_posix();
    db->read_only = (options->flags & BOLE_READ_ONLY) != 0;
    db->default_comparator = options->comparator;
    db->comparators = options->comparators;
    bool is_new = false;
    bole_status status = BOLE_OK;
    db->path = bl_string_copy(path);
    if (db->path == NULL)
        status = bl_fail(error, BOLE_NO_MEMORY, "store handle");
    if (status == BOLE_OK)
        status = check_directory(db, options->flags, &is_new, error);
    if (status == BOLE_OK)
        status = read_settings(db, options, error);
    if (status == BOLE_OK)
        status = db->read_only ? bl_reader_slot_take(db, error) : take_lock(db, error);
    if (status == BOLE_OK)
        status = make_parts(db, options, error);
    if (status == BOLE_OK) {
        db->durability = (bole_durability)bl_config_u64(&db->config, BL_SETTING_DURABILITY);
        status = bl_load_state(db, is_new, error);
    }
    bool was_clean = false;
    if (status == BOLE_OK) {
        bl_mutex_lock(&db->mutex);
        was_clean = bl_version_set_was_clean(db->versions);
        status = make_default_table_locked(db, error);
        if (status == BOLE_OK)
            status = bl_read_state_publish_locked(db, error);
        if (status == BOLE_OK && db->read_only)
            status = bl_reader_slot_update(db, error);
        bl_mutex_unlock(&db->mutex);
    }
    if (status == BOLE_OK && (options->flags & BOLE_PARANOID) != 0)
        status = bl_check_segments(db, error);
    if (status != BOLE_OK) {
        free_all(db);
        return status;
    }
    bl_event_log_add(db->events, BOLE_LOG_INFO, "open",
                     (bl_event_field[]){ BL_EVENT_TEXT("version", BOLE_VERSION_STRING),
                                         BL_EVENT_BOOL("clean", was_clean),
                                         BL_EVENT_U64("position", bl_position_visible(db)) },
                     3);
    bl_mutex_lock(&db->mutex);
    bl_scrub_schedule_locked(db, 1);
    bl_mutex_unlock(&db->mutex);
    *out = db;
    return BOLE_OK;
}

/* A reader beside a writing process may see a manifest go, or a log's record half stored: then it looks again. */
BOLE_API bole_status bole_open(const char *path, const bole_options *options, bole_db **out,
                               bole_error *error)
{
    enum { TRIES_BESIDE_A_WRITER = 20 };
    bole_options given = BOLE_OPTIONS_INIT;
    *out = NULL;
    if (options == NULL)
        options = &given;
    bole_status status = check_options(path, options, error);
    if (status != BOLE_OK)
        return status;
    memmove(&given, options, options->size);
    given.size = sizeof(given);
    uint32_t tries = (given.flags & BOLE_READ_ONLY) != 0 ? TRIES_BESIDE_A_WRITER : 1;
    do {
        if (tries < TRIES_BESIDE_A_WRITER && (given.flags & BOLE_READ_ONLY) != 0)
            BL_MARK("open again beside a writer");
        status = open_once(path, &given, out, error);
    } while ((status == BOLE_CORRUPT || status == BOLE_NOT_FOUND) && --tries > 0);
    return status;
}

typedef struct segments_check {
    bole_status status;
    bole_error *error;
} segments_check;

static bool check_segment(void *context, const bl_version_table *table, bl_segment *segment)
{
    segments_check *check = context;
    (void)table;
    check->status = bl_segment_check(segment, true, check->error);
    return check->status == BOLE_OK;
}

bole_status bl_check_segments(bole_db *db, bole_error *error)
{
    segments_check check = { BOLE_OK, error };
    bl_read_state *state = bl_read_state_acquire(db, NULL);
    bl_version_each_segment(state->version, check_segment, &check);
    bl_read_state_unref(state);
    return check.status;
}

/* ---- closing ---- */

void bl_count_live_handles(const bole_db *db, uint64_t *iterators, uint64_t *views)
{
    *views = *iterators = 0;
    /* What has gone first: what comes and goes meanwhile does not bring a count below 0. */
    for (uint32_t i = 0; i < BL_COUNTER_STRIPES; i++) {
        *views -= atomic_load_explicit(&db->counters[i].views_released, memory_order_acquire);
        *iterators -= atomic_load_explicit(&db->counters[i].iterators_closed, memory_order_acquire);
    }
    for (uint32_t i = 0; i < BL_COUNTER_STRIPES; i++) {
        *views += atomic_load_explicit(&db->counters[i].views_opened, memory_order_relaxed);
        *iterators += atomic_load_explicit(&db->counters[i].iterators_opened, memory_order_relaxed);
    }
}

static bool has_live_handles(bole_db *db, bole_error *error)
{
    uint64_t iterators, views;
    bl_count_live_handles(db, &iterators, &views);
    if (iterators == 0 && views == 0 && db->snapshot_count == 0 && db->table_handles == 0)
        return false;
    (void)bl_fail(error, BOLE_BUSY,
                  "%s is in use: %llu iterators, %llu snapshots, %llu views, %u table handles", db->path,
                  (unsigned long long)iterators, (unsigned long long)db->snapshot_count,
                  (unsigned long long)views, db->table_handles);
    return true;
}

/* Everything durable, and said so: afterwards nothing can be called a torn tail. */
static bole_status finish_writing(bole_db *db, bole_error *error)
{
    bole_status status = BOLE_OK;
    bl_commit_lock(db); /* the tick may be marking in the log what it synced */
    bool failed = db->failed || db->log_failed;
    if (!failed && bl_memtable_bytes(db->memtable) > FLUSH_AT_CLOSE_BYTES)
        status = bl_rotate(db, 0, error);
    bl_commit_unlock(db);
    if (failed)
        return bl_fail(error, BOLE_FAILED, "%s closes after a failure; the next open recovers it", db->path);
    bl_mutex_lock(&db->mutex);
    bl_background_stop_locked(db);
    bool flushed = db->sealed_oldest == NULL;
    bole_error background = db->background_error;
    bl_mutex_unlock(&db->mutex);
    if (status == BOLE_OK && !flushed)
        status = bl_fail(error, background.status == BOLE_OK ? BOLE_IO : background.status,
                         "the last flush failed, the log holds its data: %s", background.message);
    if (status == BOLE_OK)
        status = bl_sync_to(db, bl_position_visible(db), error);
    if (status == BOLE_OK && db->log_failed) /* all is on disk, but for the mark that says so */
        status = bl_fail(error, BOLE_FAILED, "%s closes after a failure; the next open recovers it",
                         db->path);
    if (status != BOLE_OK)
        return status;
    bl_log_seal(db->log);
    status = bl_log_sync(db->log, bl_log_end(db->log),
                         error); /* a sync mark may stand behind what is visible */
    if (status != BOLE_OK)
        return status;
    bl_log_description ended = {
        .number = bl_log_number(db->log),
        .id = bl_log_id(db->log),
        .start = bl_log_start(db->log),
        .end = bl_log_end(db->log),
        .end_checksum_known = true,
    };
    status = bl_log_content_checksum(db->log, &ended.end_checksum, error);
    if (status != BOLE_OK)
        return status;
    bl_mutex_lock(&db->mutex);
    bl_version_edit edit = {
        .logs_ended = &ended,
        .logs_ended_count = 1,
        .synced = ended.end,
        .next_sequence = ended.end,
    };
    status = bl_version_set_close_cleanly(db->versions, &edit, error);
    bl_remove_pending_locked(db);
    bl_mutex_unlock(&db->mutex);
    return status;
}

/* In a child of fork: only memory may go, and of that only what is certainly not shared with running threads. */
static void forget(bole_db *db)
{
    bl_free(db->path);
    bl_free(db->default_table.name);
}

BOLE_API bole_status bole_close(bole_db *db, bole_error *error)
{
    if (db == NULL)
        return BOLE_OK;
    if (!bl_db_is_ours(db)) {
        forget(db);
        return BOLE_OK;
    }
    if (has_live_handles(db, error))
        return BOLE_BUSY;
    bole_status status = BOLE_OK;
    bl_mutex_lock(&db->mutex);
    bool recovered = db->sealed_oldest != NULL && !bl_version_set_was_clean(db->versions);
    bl_mutex_unlock(&db->mutex);
    if (recovered && !db->writing && !db->read_only) { /* a killed process may have left it in memory alone */
        bl_commit_lock(db);
        status = bl_settle_recovered_logs(db, error);
        bl_commit_unlock(db);
    }
    if (status == BOLE_OK && db->writing)
        status = finish_writing(db, error);
    bl_mutex_lock(&db->mutex);
    bl_background_stop_locked(db);
    bl_mutex_unlock(&db->mutex);
    bl_event_log_add(db->events, BOLE_LOG_INFO, "close",
                     (bl_event_field[]){ BL_EVENT_TEXT("status", bole_status_name(status)),
                                         BL_EVENT_U64("position", bl_position_visible(db)) },
                     2);
    free_all(db);
    return status;
}
