/* SPDX-License-Identifier: MIT */
/* refresh.c -- a read-only handle moves to what the writing process has made visible by now.
 *
 * The new state is read beside the old one and swapped in whole. While anybody holds an older one (an iterator, a
 * snapshot, a read or a check under way), the reader's slot keeps its old place: the writer keeps the files of both. */
#include "engine/log_structured_store.h"

#include "base/assert.h"

/* The parts of the handle that a refresh replaces. */
typedef struct parts {
    bl_version_set *versions;
    bl_sealed *sealed_oldest, *sealed_newest;
    uint32_t sealed_count;
    uint64_t visible;
} parts;

static parts take(bole_db *db)
{
    parts old = { db->versions, db->sealed_oldest, db->sealed_newest, db->sealed_count,
                  bl_position_visible(db) };
    db->versions = NULL;
    db->sealed_oldest = db->sealed_newest = NULL;
    db->sealed_count = 0;
    return old;
}

static void put(bole_db *db, const parts *given)
{
    db->versions = given->versions;
    db->sealed_oldest = given->sealed_oldest;
    db->sealed_newest = given->sealed_newest;
    db->sealed_count = given->sealed_count;
}

static void free_present(bole_db *db)
{
    bl_sealed_free_all(db);
    bl_version_set_destroy(db->versions);
    db->versions = NULL;
}

BOLE_API bole_status bole_refresh(bole_db *db, bole_error *error)
{
    enum { TRIES_BESIDE_A_WRITER = 20 };
    if (!bl_db_is_ours(db))
        return bl_forked(error);
    if (!db->read_only)
        return bl_fail(error, BOLE_INVALID, "this handle writes: its view is always the newest");
    bl_commit_lock(db); /* one refresh at a time */
    bole_status status;
    uint32_t tries = TRIES_BESIDE_A_WRITER;
    do {
        parts old = take(db);
        status = bl_load_state(db, false, error);
        if (status == BOLE_OK) {
            bl_mutex_lock(&db->mutex);
            status = bl_read_state_publish_locked(db, error);
            bl_mutex_unlock(&db->mutex);
        }
        if (status != BOLE_OK) {
            free_present(db);
            put(db, &old);
            atomic_store_explicit(&db->visible, old.visible, memory_order_release);
            BL_MARK("refresh failed");
            continue;
        }
        parts now = take(db);
        put(db, &old);
        free_present(db); /* live iterators count their states, and those the versions and memtables */
        put(db, &now);
    } while ((status == BOLE_CORRUPT || status == BOLE_NOT_FOUND) && --tries > 0);
    if (status == BOLE_OK && atomic_load_explicit(&db->read_states, memory_order_acquire) == 1) {
        bl_mutex_lock(&db->mutex);
        status = bl_reader_slot_update(db, error);
        bl_mutex_unlock(&db->mutex);
    }
    bl_commit_unlock(db);
    return status;
}
