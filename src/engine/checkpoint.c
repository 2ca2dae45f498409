/* SPDX-License-Identifier: MIT */
/* checkpoint.c -- an independent store as of one moment, while writing goes on.
 *
 * The memtables are flushed first, so that the moment is the end of a log and the checkpoint needs none:
 * it is a pinned
 * version. Its segments are linked (copied where links do not work; immutable files may be shared, logs never are)
 * into a temporary directory beside the target; manifest and CURRENT come last, with a store id of its own; everything
 * is synced; then the directory gets its name and the parent is synced.
 *
 * INVARIANT (CHECK-1) Whatever is at `path` under its own name is a whole store. */
#include "engine/log_structured_store.h"

#include <stdio.h>

#include "base/assert.h"
#include "platform/vfs_files.h"

static bole_status take_segment(bole_db *db, const char *directory, uint64_t number, bole_error *error)
{
    char from[BL_PATH_BYTES_MAX], to[BL_PATH_BYTES_MAX];
    bl_store_path(from, db->path, BL_FILE_SEGMENT, number);
    bl_store_path(to, directory, BL_FILE_SEGMENT, number);
    if (db->vfs->link(db->vfs, from, to, NULL) == BOLE_OK)
        return BOLE_OK;
    BL_MARK("checkpoint copies a segment");
    return bl_vfs_copy_file(db->vfs, from, to, error);
}

typedef struct taking {
    bole_db *db;
    const char *directory;
    bole_status status;
    bole_error *error;
} taking;

static bool take_one(void *context, const bl_version_table *table, bl_segment *segment)
{
    taking *on = context;
    (void)table;
    bl_point(on->db->scheduler, "checkpoint segment");
    on->status = take_segment(on->db, on->directory, bl_segment_meta_of(segment)->number, on->error);
    return on->status == BOLE_OK;
}

static bole_status take_segments(bole_db *db, const char *directory, const bl_version *version,
                                 bole_error *error)
{
    taking on = { db, directory, BOLE_OK, error };
    bl_version_each_segment(version, take_one, &on);
    return on.status;
}

static bole_status build(bole_db *db, const char *directory, const bl_version_export *pinned,
                         bole_error *error)
{
    bl_version_export_target target = { .vfs = db->vfs, .directory = directory };
    bole_status status = db->vfs->random(db->vfs, &target.store_id, sizeof(target.store_id), error);
    if (status == BOLE_OK)
        status = take_segments(db, directory, bl_version_export_version(pinned), error);
    if (status == BOLE_OK)
        status = db->vfs->sync_directory(db->vfs, directory, error);
    if (status == BOLE_OK)
        status = bl_version_export_write(pinned, &target, error);
    return status;
}

BOLE_API bole_status bole_checkpoint(bole_db *db, const char *path, bole_error *error)
{
    char temporary[BL_PATH_BYTES_MAX], parent[BL_PATH_BYTES_MAX];
    if (!bl_db_is_ours(db))
        return bl_forked(error);
    if (path == NULL || path[0] == 0)
        return bl_fail(error, BOLE_INVALID, "the path of a checkpoint is empty");
    if (snprintf(temporary, sizeof(temporary), "%s.tmp", path) >= (int)sizeof(temporary) ||
        !bl_directory_fits(temporary))
        return bl_fail(error, BOLE_TOO_LARGE, "the path %.200s... is too long", path);
    bool is_directory;
    bole_error absent = BOLE_ERROR_INIT;
    bole_status status = db->vfs->exists(db->vfs, path, &is_directory, &absent);
    if (status == BOLE_OK)
        return bl_fail(error, BOLE_EXISTS, "%s exists already", path);
    if (status != BOLE_NOT_FOUND)
        return bl_fail(error, status, "%s", absent.message);
    if (db->read_only)
        return bl_read_only_refused(error); /* it could not flush what the logs hold */
    status = bole_flush(db, error);
    if (status != BOLE_OK)
        return status;
    bl_version_export *pinned = NULL;
    bl_mutex_lock(&db->mutex);
    status = bl_version_export_begin(db->versions, &pinned, error);
    bl_mutex_unlock(&db->mutex);
    if (status != BOLE_OK)
        return status;
    bl_vfs_remove_all(db->vfs, temporary); /* left by a checkpoint that did not end */
    status = db->vfs->make_directory(db->vfs, temporary, error);
    if (status == BOLE_OK) {
        bl_parent_directory(parent, path);
        status = build(db, temporary, pinned, error);
        if (status == BOLE_OK)
            status = db->vfs->rename(db->vfs, temporary, path, error);
        if (status == BOLE_OK)
            status = db->vfs->sync_directory(db->vfs, parent, error);
        else
            bl_vfs_remove_all(db->vfs, temporary);
    }
    bl_version_export_destroy(pinned);
    if (status == BOLE_OK)
        bl_event_log_add(db->events, BOLE_LOG_INFO, "checkpoint",
                         (bl_event_field[]){ BL_EVENT_TEXT("path", path) }, 1);
    return status;
}
