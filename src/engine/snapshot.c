/* SPDX-License-Identifier: MIT */
/* snapshot.c -- one moment of the store, held.
 *
 * A snapshot is a sequence in a list under the mutex; flush and compaction read the list under the same
 * mutex and keep
 * what each live snapshot sees. It reads its sequence and registers under one lock, so no job can begin in between with
 * a bound above it. Snapshots of one sequence stand beside each other; the list is in order, oldest first. */
#include "engine/log_structured_store.h"

#include "base/alloc.h"
#include "base/assert.h"

BOLE_API bole_status bole_snapshot_create(bole_db *db, bole_snapshot **out, bole_error *error)
{
    *out = NULL;
    if (!bl_db_is_ours(db))
        return bl_forked(error);
    bole_snapshot *snapshot = bl_new(bole_snapshot);
    if (snapshot == NULL)
        return bl_fail(error, BOLE_NO_MEMORY, "snapshot");
    snapshot->db = db;
    if (db->read_only) /* the writing process does not know of it: hold what it sees */
        snapshot->state = bl_read_state_acquire(db, NULL);
    bl_mutex_lock(&db->mutex);
    snapshot->sequence = bl_position_visible(db);
    snapshot->older = db->snapshot_newest;
    bl_assert(snapshot->older == NULL || snapshot->older->sequence <= snapshot->sequence);
    if (db->snapshot_newest != NULL)
        db->snapshot_newest->newer = snapshot;
    else
        db->snapshot_oldest = snapshot;
    db->snapshot_newest = snapshot;
    db->snapshot_count++;
    bl_mutex_unlock(&db->mutex);
    *out = snapshot;
    return BOLE_OK;
}

BOLE_API void bole_snapshot_destroy(bole_snapshot *snapshot)
{
    if (snapshot == NULL)
        return;
    bole_db *db = snapshot->db;
    if (bl_db_is_ours(db)) {
        bl_mutex_lock(&db->mutex);
        *(snapshot->older != NULL ? &snapshot->older->newer : &db->snapshot_oldest) = snapshot->newer;
        *(snapshot->newer != NULL ? &snapshot->newer->older : &db->snapshot_newest) = snapshot->older;
        db->snapshot_count--;
        bl_mutex_unlock(&db->mutex);
        bl_read_state_unref(snapshot->state);
    }
    bl_free(snapshot);
}

BOLE_API uint64_t bole_snapshot_sequence(const bole_snapshot *snapshot) { return snapshot->sequence; }

bole_status bl_snapshots_collect_locked(bole_db *db, uint64_t **out, uint32_t *count, bole_error *error)
{
    bl_mutex_assert_held(&db->mutex);
    *out = NULL;
    *count = 0;
    if (db->snapshot_count == 0)
        return BOLE_OK;
    uint64_t *sequences = bl_alloc_array(db->snapshot_count, sizeof(sequences[0]));
    if (sequences == NULL)
        return bl_fail(error, BOLE_NO_MEMORY, "list of snapshots");
    uint32_t at = 0;
    for (bole_snapshot *snapshot = db->snapshot_oldest; snapshot != NULL; snapshot = snapshot->newer)
        if (at == 0 || sequences[at - 1] != snapshot->sequence)
            sequences[at++] = snapshot->sequence;
    *out = sequences;
    *count = at;
    return BOLE_OK;
}
