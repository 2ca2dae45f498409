/* SPDX-License-Identifier: MIT */
/* reader_slots.c -- readers in other processes, and the files that they still need.
 *
 * FILE "readers"  slot i: 64 bytes at offset 64 * i: u64 pid | u64 manifest number | u64 manifest position | zero.
 *                 A slot is taken while byte i of the file is locked; a dead process' lock is gone.
 *
 * A reader locks a slot and writes (0, 0) into it: from then on nothing is removed. It reads the manifest
 * and the logs,
 * then writes how far it has read. The writer makes an edit durable, and only then asks the slots: a file that the
 * edit no longer names goes when every live slot stands at or above that edit; else it waits in a list.
 *
 * INVARIANT (SLOT-1) A reader that took its slot after the writer looked reads a manifest that has the edit already. */
#include "engine/log_structured_store.h"

#include <stdio.h>

#include "base/alloc.h"
#include "base/assert.h"
#include "base/coding.h"

enum { SLOT_BYTES = 64, SLOTS_MAX = 256 };

static bole_status write_slot(bole_db *db, uint64_t number, uint64_t position, bole_error *error)
{
    uint8_t bytes[SLOT_BYTES] = { 0 };
    bl_put_u64(bytes, (uint64_t)bl_process_id());
    bl_put_u64(bytes + 8, number);
    bl_put_u64(bytes + 16, position);
    return db->vfs->write(db->readers_file, (uint64_t)db->reader_slot * SLOT_BYTES, bytes, sizeof(bytes),
                          error);
}

/* No slot can be written (a read-only disk): fine as long as nobody writes the store. What is no file is refused. */
static bole_status read_without_slot(bole_db *db, const bole_error *why, bole_error *error)
{
    char path[BL_PATH_BYTES_MAX];
    bole_file *file = NULL;
    bool locked = false;
    int64_t pid = 0;
    BL_MARK("reader without a slot");
    if (why->status == BOLE_INVALID || why->status == BOLE_NO_MEMORY) /* which passes; a writer may come */
        return bl_fail(error, why->status, "%s", why->message);
    bl_store_path(path, db->path, BL_FILE_LOCK, 0);
    bole_error story = BOLE_ERROR_INIT;
    bole_status status = db->vfs->open(db->vfs, path, BOLE_VFS_READ, &file, &story);
    if (status == BOLE_INVALID)
        return bl_fail(error, status, "%s", story.message);
    if (status != BOLE_OK)
        return BOLE_OK; /* no LOCK file: nobody ever wrote from here */
    status = db->vfs->lock_test(file, 0, &locked, &pid, NULL);
    (void)db->vfs->close(file, NULL);
    if (status == BOLE_OK && locked)
        return bl_fail(error, BOLE_PERMISSION,
                       "process %lld writes to %s, and this process cannot write its slot in \"readers\": %s",
                       (long long)pid, db->path, why->message);
    return BOLE_OK;
}

bole_status bl_reader_slot_take(bole_db *db, bole_error *error)
{
    char path[BL_PATH_BYTES_MAX];
    bole_error story = BOLE_ERROR_INIT;
    bl_store_path(path, db->path, BL_FILE_READERS, 0);
    bole_status status = db->vfs->open(db->vfs, path, BOLE_VFS_READ | BOLE_VFS_WRITE | BOLE_VFS_CREATE,
                                       &db->readers_file, &story);
    if (status != BOLE_OK) {
        db->readers_file = NULL;
        return read_without_slot(db, &story, error);
    }
    for (uint32_t slot = 0; slot < SLOTS_MAX; slot++) {
        status = db->vfs->lock(db->readers_file, slot, true, &story);
        if (status == BOLE_LOCKED)
            continue;
        if (status != BOLE_OK)
            break;
        db->reader_slot = slot;
        status = write_slot(db, 0, 0, &story);
        break;
    }
    if (status == BOLE_OK)
        return BOLE_OK;
    (void)db->vfs->close(db->readers_file, NULL);
    db->readers_file = NULL;
    if (status == BOLE_LOCKED) {
        BL_MARK("no slot is free");
        return bl_fail(error, BOLE_BUSY, "all %d reader slots of %s are taken", SLOTS_MAX, db->path);
    }
    return read_without_slot(db, &story, error);
}

bole_status bl_reader_slot_update(bole_db *db, bole_error *error)
{
    if (db->readers_file == NULL)
        return BOLE_OK;
    return write_slot(db, bl_version_set_manifest_number(db->versions),
                      bl_version_set_manifest_position(db->versions), error);
}

void bl_reader_slot_release(bole_db *db)
{
    if (db->readers_file == NULL)
        return;
    (void)db->vfs->unlock(db->readers_file, db->reader_slot, NULL);
    (void)db->vfs->close(db->readers_file, NULL);
    db->readers_file = NULL;
}

/* ---- the writer's side ---- */

/* The lowest manifest place that a live reader has seen; (max, max) when there is none. Errors count as a reader. */
static void oldest_reader(bole_db *db, uint64_t *number, uint64_t *position)
{
    *number = *position = UINT64_MAX;
    if (db->readers_file == NULL) {
        char path[BL_PATH_BYTES_MAX];
        bool is_directory;
        bl_store_path(path, db->path, BL_FILE_READERS, 0);
        if (db->vfs->exists(db->vfs, path, &is_directory, NULL) == BOLE_NOT_FOUND)
            return;
        if (db->vfs->open(db->vfs, path, BOLE_VFS_READ | BOLE_VFS_WRITE, &db->readers_file, NULL) !=
            BOLE_OK) {
            *number = *position = 0;
            return;
        }
    }
    uint64_t length = 0;
    if (db->vfs->length(db->readers_file, &length, NULL) != BOLE_OK) {
        BL_MARK("slots cannot be read: every file stays");
        *number = *position = 0;
        return;
    }
    for (uint64_t slot = 0; slot < length / SLOT_BYTES && slot < SLOTS_MAX; slot++) {
        bool locked = true;
        int64_t pid;
        if (db->vfs->lock_test(db->readers_file, slot, &locked, &pid, NULL) == BOLE_OK && !locked)
            continue;
        uint8_t bytes[SLOT_BYTES] = { 0 };
        size_t got = 0;
        if (db->vfs->read(db->readers_file, slot * SLOT_BYTES, bytes, sizeof(bytes), &got, NULL) != BOLE_OK)
            memset(bytes, 0, sizeof(bytes));
        uint64_t seen_number = bl_get_u64(bytes + 8), seen_position = bl_get_u64(bytes + 16);
        if (seen_number < *number || (seen_number == *number && seen_position < *position)) {
            *number = seen_number;
            *position = seen_position;
        }
    }
}

static bool is_needed(uint64_t oldest_number, uint64_t oldest_position,
                      const struct bl_pending_removal *removal)
{
    if (oldest_number != removal->manifest_number)
        return oldest_number < removal->manifest_number;
    return oldest_position < removal->manifest_position;
}

static void remove_now(bole_db *db, bl_file_kind kind, uint64_t number)
{
    char path[BL_PATH_BYTES_MAX];
    bole_error error = BOLE_ERROR_INIT;
    bl_store_path(path, db->path, kind, number);
    bole_status status = db->vfs->remove(db->vfs, path, &error);
    if (status != BOLE_OK && status != BOLE_NOT_FOUND) /* an orphan: the next open tries again */
        bl_event_log_add(db->events, BOLE_LOG_WARN, "remove_failed",
                         (bl_event_field[]){ BL_EVENT_TEXT("message", error.message) }, 1);
}

static void keep_for_later(bole_db *db, const struct bl_pending_removal *removal)
{
    if (db->pending_count == db->pending_capacity) {
        uint32_t capacity = db->pending_capacity == 0 ? 16 : 2 * db->pending_capacity;
        struct bl_pending_removal *grown = bl_realloc(db->pending_removals, capacity * sizeof(grown[0]));
        if (grown == NULL)
            return; /* an orphan: the next open removes it */
        db->pending_removals = grown;
        db->pending_capacity = capacity;
    }
    db->pending_removals[db->pending_count++] = *removal;
}

void bl_remove_file_locked(bole_db *db, bl_file_kind kind, uint64_t number)
{
    bl_mutex_assert_held(&db->mutex);
    struct bl_pending_removal removal = {
        .kind = kind,
        .number = number,
        .manifest_number = bl_version_set_manifest_number(db->versions),
        .manifest_position = bl_version_set_manifest_position(db->versions),
    };
    uint64_t oldest_number, oldest_position;
    oldest_reader(db, &oldest_number, &oldest_position);
    if (is_needed(oldest_number, oldest_position, &removal)) {
        BL_MARK("file is kept for a reader of another process");
        keep_for_later(db, &removal);
    } else {
        remove_now(db, kind, number);
    }
}

void bl_remove_pending_locked(bole_db *db)
{
    bl_mutex_assert_held(&db->mutex);
    if (db->pending_count == 0)
        return;
    uint64_t oldest_number, oldest_position;
    oldest_reader(db, &oldest_number, &oldest_position);
    uint32_t kept = 0;
    for (uint32_t i = 0; i < db->pending_count; i++) {
        if (is_needed(oldest_number, oldest_position, &db->pending_removals[i]))
            db->pending_removals[kept++] = db->pending_removals[i];
        else
            remove_now(db, db->pending_removals[i].kind, db->pending_removals[i].number);
    }
    db->pending_count = kept;
}

/* ---- files that nothing names ---- */

typedef struct orphan_list {
    bole_db *db;
    struct bl_pending_removal *items;
    uint32_t count, capacity;
} orphan_list;

static bool note_orphan(void *context, const char *name)
{
    orphan_list *list = context;
    uint64_t number = 0;
    bl_file_kind kind = bl_file_parse(name, &number);
    bool ours = kind == BL_FILE_LOG || kind == BL_FILE_SEGMENT || kind == BL_FILE_MANIFEST;
    if (!ours || bl_version_set_names_file(list->db->versions, (int)kind, number))
        return true;
    if (list->count == list->capacity) {
        uint32_t capacity = list->capacity == 0 ? 16 : 2 * list->capacity;
        struct bl_pending_removal *grown = bl_realloc(list->items, capacity * sizeof(grown[0]));
        if (grown == NULL)
            return false;
        list->items = grown;
        list->capacity = capacity;
    }
    list->items[list->count++] = (struct bl_pending_removal){ .kind = kind, .number = number };
    return true;
}

static bool remove_temporary(void *context, const char *name)
{
    bole_db *db = context;
    uint64_t number;
    char path[BL_PATH_BYTES_MAX];
    if (bl_file_parse(name, &number) != BL_FILE_TEMPORARY)
        return true;
    int length = snprintf(path, sizeof(path), "%s/%s", db->path, name);
    bl_assert(length < (int)sizeof(path)); /* the name is one of ours */
    (void)db->vfs->remove(db->vfs, path, NULL);
    return true;
}

void bl_remove_orphans_locked(bole_db *db)
{
    bl_mutex_assert_held(&db->mutex);
    orphan_list list = { .db = db };
    if (bl_version_set_may_delete(db->versions)) /* else a crash could bring back a state that names them */
        (void)db->vfs->list(db->vfs, db->path, note_orphan, &list, NULL);
    for (uint32_t i = 0; i < list.count; i++)
        bl_remove_file_locked(db, list.items[i].kind, list.items[i].number);
    bl_free(list.items);
    (void)db->vfs->list(db->vfs, db->path, remove_temporary, db, NULL);
}
