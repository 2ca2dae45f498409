/* SPDX-License-Identifier: MIT */
/* table.c -- named tables: create, open, drop, list.
 *
 * All tables share one log, so a batch over several is atomic. Creating and dropping lock writers out, sync the log,
 * and are durable in the manifest before they return. A number is never used twice. Handles of a dropped
 * table keep the
 * read state of the moment before the drop, and go on reading from it; writes through them are refused.
 *
 * INVARIANT (TABLE-1) A record of a table is in the log behind the edit that created it. */
#include "engine/log_structured_store.h"

#include "base/alloc.h"
#include "base/assert.h"

#include <stdlib.h>

enum { NAME_BYTES_MAX = 255 };

bole_status bl_resolve_table(bole_db *db, bole_table *table, bole_table **out, bole_error *error)
{
    *out = table;
    if (table->db != db)
        return bl_fail(error, BOLE_INVALID, "table \"%s\" belongs to another store", table->name);
    return BOLE_OK;
}

static bole_status check_name(const char *name, bole_error *error)
{
    size_t size = name == NULL ? 0 : strlen(name);
    if (size == 0 || size > NAME_BYTES_MAX)
        return bl_fail(error, BOLE_INVALID, "a table name has 1 to %d bytes, this one %zu", NAME_BYTES_MAX,
                       size);
    size_t good = bl_printable_utf8(name);
    if (good < size)
        return bl_fail(error, BOLE_INVALID, "table name: byte %zu is no printable UTF-8", good);
    return BOLE_OK;
}

/* Mutex held. A handle for a table of the present version. */
static bole_status open_locked(bole_db *db, const bl_version_table *found, bole_table **out,
                               bole_error *error)
{
    if (!found->comparator_known)
        return bl_fail(error, BOLE_COMPARATOR,
                       "table \"%s\" is in order of \"%s\", which this process does not have", found->name,
                       found->comparator_name);
    bole_table *table = bl_new(bole_table);
    char *name = bl_string_copy(found->name);
    if (table == NULL || name == NULL) {
        bl_free(table);
        bl_free(name);
        return bl_fail(error, BOLE_NO_MEMORY, "table handle");
    }
    table->db = db;
    table->number = found->number;
    table->name = name;
    table->comparator = found->comparator;
    table->next = db->tables;
    db->tables = table;
    db->table_handles++;
    *out = table;
    return BOLE_OK;
}

BOLE_API bole_status bole_table_open(bole_db *db, const char *name, bole_table **out, bole_error *error)
{
    *out = NULL;
    if (!bl_db_is_ours(db))
        return bl_forked(error);
    bole_status status = check_name(name, error);
    if (status != BOLE_OK)
        return status;
    bl_mutex_lock(&db->mutex);
    const bl_version_table *found = bl_version_table_by_name(bl_version_set_current(db->versions), name);
    if (found == NULL)
        status = bl_fail(error, BOLE_NOT_FOUND, "there is no table \"%s\" in %s", name, db->path);
    else
        status = open_locked(db, found, out, error);
    bl_mutex_unlock(&db->mutex);
    return status;
}

BOLE_API void bole_table_close(bole_table *table)
{
    if (table == NULL || table == &table->db->default_table)
        return;
    bole_db *db = table->db;
    if (bl_db_is_ours(db)) {
        bl_mutex_lock(&db->mutex);
        bole_table **at = &db->tables;
        while (*at != table)
            at = &(*at)->next;
        *at = table->next;
        db->table_handles--;
        bl_mutex_unlock(&db->mutex);
        bl_read_state_unref(atomic_load_explicit(&table->dropped, memory_order_relaxed));
    }
    bl_free(table->name);
    bl_free(table);
}

/* Writers locked out; the log synced. */
static bole_status begin_change(bole_db *db, bole_error *error)
{
    bole_status status = BOLE_OK;
    if (db->log_failed || db->failed) /* the latter: it refuses */
        status = bl_rotate(db, 0, error);
    bl_assert(status != BOLE_OK || db->writing); /* the sync saw to that */
    return status;
}

static bool comparator_is_listed(const bole_db *db, const bole_comparator *comparator)
{
    if (comparator == NULL || comparator == db->default_comparator)
        return true;
    for (uint32_t i = 0; db->comparators != NULL && db->comparators[i] != NULL; i++)
        if (db->comparators[i] == comparator)
            return true;
    return false;
}

BOLE_API bole_status bole_table_create(bole_db *db, const char *name, const bole_comparator *comparator,
                                       bole_table **out, bole_error *error)
{
    *out = NULL;
    if (!bl_db_is_ours(db))
        return bl_forked(error);
    if (db->read_only)
        return bl_read_only_refused(error);
    bole_status status = check_name(name, error);
    if (status != BOLE_OK)
        return status;
    if (!comparator_is_listed(db, comparator))
        return bl_fail(error, BOLE_INVALID, "comparator \"%s\" is not in the options' comparators",
                       comparator->name);
    status = bole_sync(db, error);
    if (status != BOLE_OK)
        return status;
    bl_commit_lock(db);
    status = begin_change(db, error);
    bl_mutex_lock(&db->mutex);
    if (status == BOLE_OK && bl_version_table_by_name(bl_version_set_current(db->versions), name) != NULL)
        status = bl_fail(error, BOLE_EXISTS, "table \"%s\" exists already", name);
    if (status == BOLE_OK) {
        bl_table_description created = {
            .number = bl_version_set_next_table_number(db->versions),
            .name = name,
            .comparator_name = bl_comparator_name(comparator),
            .position = bl_position_visible(db),
        };
        bl_version_edit edit = { .tables_created = &created, .tables_created_count = 1 };
        status = bl_version_set_apply(db->versions, &edit, error);
    }
    if (status == BOLE_OK)
        status = bl_read_state_publish_locked(db, error);
    if (status == BOLE_OK) {
        status = open_locked(db, bl_version_table_by_name(bl_version_set_current(db->versions), name), out,
                             error);
        bl_event_log_add(db->events, BOLE_LOG_INFO, "table_created",
                         (bl_event_field[]){ BL_EVENT_TEXT("name", name) }, 1);
    }
    bl_mutex_unlock(&db->mutex);
    bl_commit_unlock(db);
    return status;
}

/* Mutex held: every open handle of the table reads from `before` from now on. */
static void keep_for_handles_locked(bole_db *db, uint32_t number, bl_read_state *before)
{
    for (bole_table *table = db->tables; table != NULL; table = table->next) {
        if (table->number != number)
            continue;
        bl_read_state_ref(before);
        atomic_store_explicit(&table->dropped, before, memory_order_release);
    }
}

BOLE_API bole_status bole_table_drop(bole_db *db, const char *name, bole_error *error)
{
    if (!bl_db_is_ours(db))
        return bl_forked(error);
    if (db->read_only)
        return bl_read_only_refused(error);
    bole_status status = check_name(name, error);
    if (status == BOLE_OK && strcmp(name, "default") == 0)
        status = bl_fail(error, BOLE_INVALID, "the table \"default\" always exists");
    if (status == BOLE_OK)
        status = bole_sync(db, error);
    if (status != BOLE_OK)
        return status;
    bl_commit_lock(db);
    status = begin_change(db, error);
    bl_mutex_lock(&db->mutex);
    const bl_version_table *found = bl_version_table_by_name(bl_version_set_current(db->versions), name);
    if (status == BOLE_OK && found == NULL)
        status = bl_fail(error, BOLE_NOT_FOUND, "there is no table \"%s\" in %s", name, db->path);
    if (status == BOLE_OK) {
        /* A compaction may hold inputs of the table: let it end first. */
        db->manual_waiting++;
        while (db->compaction_running || db->compaction_queued || db->paused)
            bl_condition_wait(&db->changed, &db->mutex);
        db->paused = true;
        db->dropping = true; /* and a flush; none begins before the drop is done (BACK-4) */
        while (db->flush_running)
            bl_condition_wait(&db->changed, &db->mutex);
        bl_read_state *before = atomic_load_explicit(&db->read_state, memory_order_relaxed);
        bl_read_state_ref(before);
        found = bl_version_table_by_name(bl_version_set_current(db->versions), name);
        uint32_t number = found->number;
        bl_table_description dropped = {
            .number = number,
            .name = name,
            .comparator_name = found->comparator_name,
            .position = bl_position_visible(db),
        };
        bl_version_edit edit = { .tables_dropped = &dropped, .tables_dropped_count = 1 };
        status = bl_version_set_apply(db->versions, &edit, error);
        if (status == BOLE_NO_SPACE && bl_reserve_give_up_locked(db)) { /* it makes room */
            status = bl_version_set_apply(db->versions, &edit, error);
            bl_reserve_done_locked(db);
        }
        /* The manifest may say that the table is gone: no record of it before that is settled. */
        if (status != BOLE_OK && !bl_version_set_may_delete(db->versions)) {
            BL_MARK("drop in doubt");
            db->log_failed = true;
        }
        if (status == BOLE_OK) {
            bole_error unpublished = BOLE_ERROR_INIT;
            keep_for_handles_locked(db, number, before);
            /* The table is gone for good. When there is no memory for a new list, readers keep the one of before: they
             * find the table in it through handles alone, which keep what it held, and writers do not look there. */
            if (bl_read_state_publish_locked(db, &unpublished) != BOLE_OK)
                BL_MARK("readers keep the list of before a drop");
            bl_event_log_add(db->events, BOLE_LOG_INFO, "table_dropped",
                             (bl_event_field[]){ BL_EVENT_TEXT("name", name) }, 1);
        }
        db->paused = db->dropping = false;
        db->manual_waiting--;
        bl_background_schedule_locked(db);
        bl_condition_wake_all(&db->changed);
        bl_mutex_unlock(&db->mutex);
        bl_read_state_unref(before);
        bl_mutex_lock(&db->mutex);
    }
    bl_mutex_unlock(&db->mutex);
    bl_commit_unlock(db);
    return status;
}

BOLE_API const char *bole_table_name(const bole_table *table) { return table->name; }

static int by_name(const void *a, const void *b) { return strcmp(*(char *const *)a, *(char *const *)b); }

BOLE_API bole_status bole_table_list(bole_db *db, bool (*visit)(void *context, const char *name),
                                     void *context, bole_error *error)
{
    if (!bl_db_is_ours(db))
        return bl_forked(error);
    bl_mutex_lock(&db->mutex);
    bl_version *version = bl_version_set_current(db->versions);
    bl_version_ref(version);
    bl_mutex_unlock(&db->mutex);
    uint32_t count = version->table_count;
    const char **names = bl_alloc_array(count + 1, sizeof(names[0]));
    bole_status status = BOLE_OK;
    if (names == NULL)
        status = bl_fail(error, BOLE_NO_MEMORY, "list of tables");
    for (uint32_t i = 0; status == BOLE_OK && i < count; i++)
        names[i] = version->tables[i].name;
    if (status == BOLE_OK) {
        qsort(names, count, sizeof(names[0]), by_name);
        for (uint32_t i = 0; i < count && visit(context, names[i]); i++)
            ;
    }
    bl_free(names);
    bl_version_unref(version);
    return status;
}
