/* SPDX-License-Identifier: MIT */
/* maintenance.c -- flush, compact, wait, configure, destroy: what an operator asks for. */
#include "engine/log_structured_store.h"

#include <stdio.h>

#include "base/alloc.h"
#include "base/assert.h"

static bole_status may_write(bole_db *db, bole_error *error)
{
    if (!bl_db_is_ours(db))
        return bl_forked(error);
    return db->read_only ? bl_read_only_refused(error) : BOLE_OK;
}

BOLE_API bole_status bole_flush(bole_db *db, bole_error *error)
{
    bole_status status = may_write(db, error);
    if (status != BOLE_OK)
        return status;
    bl_commit_lock(db);
    if (!db->writing)
        status = bl_begin_writing(db, error);
    if (status == BOLE_OK && (db->log_failed || bl_memtable_entries(db->memtable) > 0))
        status = bl_rotate(db, 0, error);
    bl_commit_unlock(db);
    if (status != BOLE_OK)
        return status;
    bl_mutex_lock(&db->mutex);
    uint64_t last = db->sealed_newest == NULL ? 0 : db->sealed_newest->description.number;
    while (db->sealed_oldest != NULL && db->sealed_oldest->description.number <= last) {
        if (db->background_error.status != BOLE_OK) {
            status = bl_fail(error, db->background_error.status, "flush: %s", db->background_error.message);
            break;
        }
        if (db->failed) {
            status = bl_fail(error, BOLE_FAILED, "store %s refuses writes after an earlier failure",
                             db->path);
            break;
        }
        bl_background_schedule_flush_locked(db);
        bl_condition_wait(&db->changed, &db->mutex);
    }
    bl_mutex_unlock(&db->mutex);
    return status;
}

/* The tables that there are, one after the other. Their numbers are copied: a state that is held keeps the memory and
 * the files of all inputs until the last job is done. */
static bole_status compact_tables(bole_db *db, bole_slice begin, bole_slice end, bole_error *error)
{
    bl_read_state *state = bl_read_state_acquire(db, NULL);
    uint32_t count = state->version->table_count;
    uint32_t *numbers = bl_alloc_array((size_t)count + 1, sizeof(numbers[0]));
    for (uint32_t i = 0; numbers != NULL && i < count; i++)
        numbers[i] = state->version->tables[i].number;
    bl_read_state_unref(state);
    if (numbers == NULL)
        return bl_fail(error, BOLE_NO_MEMORY, "list of %u tables", count);
    bole_status status = BOLE_OK;
    for (uint32_t i = 0; i < count && status == BOLE_OK; i++)
        status = bl_compact_range(db, numbers[i], begin, end, error);
    bl_free(numbers);
    return status;
}

BOLE_API bole_status bole_compact(bole_db *db, bole_table *table, bole_slice begin, bole_slice end,
                                  bole_error *error)
{
    bole_status status = bole_flush(db, error);
    if (status != BOLE_OK)
        return status;
    if (table != NULL) {
        status = bl_resolve_table(db, table, &table, error);
        return status == BOLE_OK ? bl_compact_range(db, table->number, begin, end, error) : status;
    }
    return compact_tables(db, begin, end, error);
}

BOLE_API bole_status bole_wait_idle(bole_db *db, bole_error *error)
{
    if (!bl_db_is_ours(db))
        return bl_forked(error);
    bole_status status = BOLE_OK;
    bl_mutex_lock(&db->mutex);
    bl_background_schedule_locked(db);
    while (!bl_background_is_idle_locked(db)) {
        if (db->background_error.status != BOLE_OK) {
            status = bl_fail(error, db->background_error.status, "background work fails: %s",
                             db->background_error.message);
            break;
        }
        if (db->failed) { /* what is left is not done before the next open */
            status = bl_fail(error, BOLE_FAILED, "store %s refuses writes after an earlier failure",
                             db->path);
            break;
        }
        bl_condition_wait(&db->changed, &db->mutex);
    }
    if (status == BOLE_OK && db->compaction_error.status != BOLE_OK) /* one is due, later */
        status = bl_fail(error, db->compaction_error.status, "background work fails: %s",
                         db->compaction_error.message);
    bl_mutex_unlock(&db->mutex);
    return status;
}

BOLE_API bole_status bole_configure(bole_db *db, const char *name, const char *value, bole_error *error)
{
    if (!bl_db_is_ours(db))
        return bl_forked(error);
    bl_mutex_lock(&db->mutex);
    bole_status status = bl_config_change(&db->config, name, value, &db->machine, error);
    if (status == BOLE_OK) {
        uint64_t limit = bl_config_u64(&db->config, BL_SETTING_MEMORY_LIMIT);
        uint64_t memtable = bl_config_u64(&db->config, BL_SETTING_MEMTABLE_BYTES);
        bl_memory_budget_limit(&db->budget, bl_ledger_bytes(limit),
                               3 * memtable < limit / 2 ? 3 * memtable : limit / 2);
        if (bl_config_find(name) == BL_SETTING_SCRUB_RATE)
            bl_scrub_rate_changed_locked(db);
        bl_reserve_schedule_locked(db);
        bl_event_log_set_level(db->events, (bole_log_level)bl_config_u64(&db->config, BL_SETTING_LOG_LEVEL));
        bl_event_log_add(db->events, BOLE_LOG_INFO, "configured",
                         (bl_event_field[]){ BL_EVENT_TEXT("name", name), BL_EVENT_TEXT("value", value) }, 2);
    }
    bl_mutex_unlock(&db->mutex);
    if (status == BOLE_OK)
        bl_frame_cache_trim(db->environment.cache);
    return status;
}

/* ---- destroy ---- */

typedef struct doomed {
    char **names;
    uint32_t count, capacity;
    bool out_of_memory, foreign;
} doomed;

static bool note_name(void *context, const char *name)
{
    doomed *list = context;
    uint64_t number;
    if (bl_file_parse(name, &number) == BL_FILE_OTHER) {
        list->foreign = true; /* not ours: it stays, and so does the directory */
        return true;
    }
    if (list->count == list->capacity) {
        uint32_t capacity = list->capacity == 0 ? 64 : 2 * list->capacity;
        char **grown = bl_realloc(list->names, capacity * sizeof(grown[0]));
        list->out_of_memory = grown == NULL;
        if (grown == NULL)
            return false;
        list->names = grown;
        list->capacity = capacity;
    }
    list->names[list->count] = bl_string_copy(name);
    list->out_of_memory = list->names[list->count] == NULL;
    list->count += !list->out_of_memory;
    return !list->out_of_memory;
}

/* CURRENT goes first, durably: what is left when the rest is interrupted is no store. */
static bole_status remove_files(bole_vfs *vfs, const char *path, const doomed *list, bole_error *error)
{
    char file[BL_PATH_BYTES_MAX];
    bl_store_path(file, path, BL_FILE_CURRENT, 0);
    bole_status status = vfs->remove(vfs, file, error);
    if (status == BOLE_OK)
        status = vfs->sync_directory(vfs, path, error);
    for (uint32_t i = 0; i < list->count && status == BOLE_OK; i++) {
        int length = snprintf(file, sizeof(file), "%s/%s", path, list->names[i]);
        bl_assert(length < (int)sizeof(file)); /* the name is one of ours */
        bole_status removed = vfs->remove(vfs, file, error);
        if (removed != BOLE_NOT_FOUND)
            status = removed;
    }
    if (status == BOLE_OK && !list->foreign)
        status = vfs->remove_directory(vfs, path, error);
    return status;
}

BOLE_API bole_status bole_destroy(const char *path, const bole_options *options, bole_error *error)
{
    bole_options given = BOLE_OPTIONS_INIT;
    if (options != NULL && options->size <= sizeof(given)) {
        memcpy(&given, options, options->size);
        given.size = sizeof(given);
    }
    given.flags = 0;
    bole_db *db;
    bole_status status = bole_open(path, &given, &db, error); /* takes the lock; proves that it is a store */
    if (status != BOLE_OK)
        return status;
    bole_vfs *vfs = db->vfs;
    doomed list = { 0 };
    status = vfs->list(vfs, path, note_name, &list, error);
    if (status == BOLE_OK && list.out_of_memory)
        status = bl_fail(error, BOLE_NO_MEMORY, "list of files");
    if (status == BOLE_OK)
        status = remove_files(vfs, path, &list, error);
    bole_status closed = bole_close(db, status == BOLE_OK ? error : NULL);
    for (uint32_t i = 0; i < list.count; i++)
        bl_free(list.names[i]);
    bl_free(list.names);
    return status == BOLE_OK ? closed : status;
}
