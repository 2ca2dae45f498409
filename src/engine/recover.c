/* SPDX-License-Identifier: MIT */
/* recover.c -- the logs that were not flushed become memtables again.
 *
 * Recovery only reads. Each log named in the manifest is replayed, oldest first, into a memtable of its own, from
 * flushed_through on. Where a log ends before the next one starts, the tail was torn: everything behind it
 * is dropped,
 * unless a later log claims that it was synced: then it is corruption. The accepted ends are written, durably, by the
 * first write (rotation.c, bl_begin_writing), so recovery twice, or a crash in it, gives the same store.
 *
 * INVARIANTS  (REC-1) What is recovered is a prefix of what was written, and holds all that was
 * acknowledged as synced.
 *             (REC-2) The next position is above every log's end, every segment's sequences and the manifest's last.
 *             (REC-3) A log takes records only once the edit that names it is on disk. So one that has records, is
 *                     newer than every named log and is not named itself proves that the manifest lost its end:
 *                     corruption, though the end alone would pass for torn. */
#include "engine/log_structured_store.h"

#include <stdio.h>

#include "base/alloc.h"
#include "base/assert.h"
#include "base/hash.h"

typedef struct replay {
    bole_db *db;
    bl_memtable *memtable;
    uint64_t log_number;
} replay;

static bole_status replay_operation(replay *context, uint64_t sequence, const bl_operation *operation,
                                    bole_error *error)
{
    bole_db *db = context->db;
    const bl_version_table *table = bl_version_table_by_number(bl_version_set_current(db->versions),
                                                               operation->table);
    if (table == NULL) {
        uint64_t position;
        if (bl_version_set_table_was_dropped(db->versions, operation->table, &position))
            return BOLE_OK;
        char name[64];
        snprintf(name, sizeof(name), "%06llu.log", (unsigned long long)context->log_number);
        return bl_corrupt(error, name, BL_NO_OFFSET,
                          "position %llu names table %u, which the manifest does not know",
                          (unsigned long long)sequence, operation->table);
    }
    bl_memtable_tree *tree = bl_memtable_tree_for(context->memtable, operation->table, table->comparator);
    if (tree == NULL)
        return bl_fail(error, BOLE_NO_MEMORY, "memtable of table %s", table->name);
    bl_memtable_insert(tree, operation->key, bl_hash(operation->key.data, operation->key.size),
                       operation->value, BL_TAG(sequence, operation->kind));
    return BOLE_OK;
}

static bole_status replay_batch(void *opaque, uint64_t position, bole_slice payload, bole_error *error)
{
    replay *context = opaque;
    uint64_t bytes = 0, at = 1;
    bl_operation operation;
    bole_status status;
    while ((status = bl_operation_decode(payload, &at, &operation)) == BOLE_OK)
        bytes += bl_memtable_entry_bytes(operation.key.size, operation.value.size);
    if (status != BOLE_NOT_FOUND) {
        char name[64];
        snprintf(name, sizeof(name), "%06llu.log", (unsigned long long)context->log_number);
        if (status == BOLE_UNSUPPORTED)
            return bl_fail(error, status, "%s: position %llu holds an operation of a newer version", name,
                           (unsigned long long)position);
        return bl_corrupt(error, name, BL_NO_OFFSET, "position %llu: no operation of a batch",
                          (unsigned long long)position);
    }
    status = bl_memtable_reserve(context->memtable, bytes, error);
    at = 1;
    while (status == BOLE_OK) {
        status = bl_operation_decode(payload, &at, &operation);
        if (status == BOLE_OK)
            status = replay_operation(context, position + BL_LOG_RECORD_HEADER_BYTES + operation.offset,
                                      &operation, error);
    }
    return status == BOLE_NOT_FOUND ? BOLE_OK : status;
}

static bole_status replay_log(bole_db *db, uint32_t index, bl_sealed **out, bl_log_replayed *replayed,
                              bole_error *error)
{
    const bl_log_description *log = bl_version_set_log_at(db->versions, index);
    bool followed = index + 1 < bl_version_set_log_count(db->versions);
    *out = NULL;
    char path[BL_PATH_BYTES_MAX];
    bl_store_path(path, db->path, BL_FILE_LOG, log->number);
    bl_sealed *sealed = bl_new(bl_sealed);
    if (sealed == NULL)
        return bl_fail(error, BOLE_NO_MEMORY, "recovered log");
    bole_status status = bl_memtable_create(&db->budget,
                                            bl_config_u64(&db->config, BL_SETTING_MEMTABLE_BYTES),
                                            &sealed->memtable, error);
    if (status != BOLE_OK) {
        bl_free(sealed);
        return status;
    }
    bl_memtable_count_large(sealed->memtable, bl_large_value_bytes(db));
    bl_log_expectation expectation = {
        .vfs = db->vfs,
        .path = path,
        .number = log->number,
        .id = log->id,
        .start = log->start,
        .from = bl_version_set_flushed_through(db->versions),
        .store_id = bl_version_set_store_id(db->versions),
        .synced = bl_version_set_synced(db->versions), /* a later log's claims: when that log is read */
        .followed = followed,
        .next_start = followed ? bl_version_set_log_at(db->versions, index + 1)->start : 0,
        .end = log->end,
        .end_checksum_known = log->end_checksum_known,
        .end_checksum = log->end_checksum,
    };
    replay context = { db, sealed->memtable, log->number };
    status = bl_log_replay(&expectation, replay_batch, &context, replayed, error);
    if (status != BOLE_OK) {
        bl_memtable_unref(sealed->memtable);
        bl_free(sealed);
        return status;
    }
    sealed->description = *log;
    sealed->description.end = replayed->end;
    sealed->description.end_checksum_known = false;
    bl_memtable_transition(sealed->memtable, BL_MEMTABLE_SEALED);
    *out = sealed;
    return BOLE_OK;
}

static void sealed_free(bl_sealed *sealed)
{
    bl_memtable_unref(sealed->memtable);
    bl_log_close(sealed->log);
    bl_free(sealed);
}

void bl_sealed_free_all(bole_db *db)
{
    while (db->sealed_oldest != NULL) {
        bl_sealed *next = db->sealed_oldest->newer;
        sealed_free(db->sealed_oldest);
        db->sealed_oldest = next;
    }
    db->sealed_newest = NULL;
    db->sealed_count = 0;
}

/* ---- logs that the manifest does not name ---- */

typedef struct next_log { /* the lowest number of a log that is above `above` */
    uint64_t above, lowest;
} next_log;

static bool note_log(void *context, const char *name)
{
    next_log *next = context;
    uint64_t number;
    if (bl_file_parse(name, &number) == BL_FILE_LOG && number > next->above && number < next->lowest)
        next->lowest = number;
    return true;
}

static bole_status stop_at_record(void *context, const bl_log_item *item, bole_error *error)
{
    (void)context;
    (void)error;
    return item->kind == BL_LOG_ITEM_RECORD ? BOLE_EXISTS : BOLE_OK;
}

/* Has log `number`, which no edit names, a record? One that was made when its writer died is empty, or no log yet. */
static bool holds_records(bole_db *db, uint64_t number)
{
    char path[BL_PATH_BYTES_MAX];
    bl_log_scanned scanned;
    bl_store_path(path, db->path, BL_FILE_LOG, number);
    return bl_log_scan(db->vfs, path, stop_at_record, NULL, &scanned, NULL) == BOLE_EXISTS &&
           bl_id_equal(scanned.header.store_id, bl_version_set_store_id(db->versions));
}

/* (REC-3). Beside a writing process the manifest may have grown since it was read: then nothing is proved. */
static bole_status check_unnamed_logs(bole_db *db, bole_error *error)
{
    next_log next = { .above = 0 };
    for (uint32_t i = 0; i < bl_version_set_log_count(db->versions); i++) {
        uint64_t number = bl_version_set_log_at(db->versions, i)->number;
        next.above = number > next.above ? number : next.above;
    }
    for (;;) {
        next.lowest = UINT64_MAX;
        bole_status status = db->vfs->list(db->vfs, db->path, note_log, &next, error);
        if (status != BOLE_OK || next.lowest == UINT64_MAX)
            return status;
        bool changed = false;
        if (holds_records(db, next.lowest) &&
            (!db->read_only ||
             (bl_version_set_look_again(db->versions, &changed, NULL) == BOLE_OK && !changed))) {
            char path[BL_PATH_BYTES_MAX];
            bl_store_path(path, db->path, BL_FILE_MANIFEST, bl_version_set_manifest_number(db->versions));
            return bl_corrupt(error, path, bl_version_set_manifest_position(db->versions),
                              "log %llu holds records, but the edit that named it is not there: the manifest "
                              "lost its end",
                              (unsigned long long)next.lowest);
        }
        next.above = next.lowest;
    }
}

bole_status bl_recover_logs(bole_db *db, bole_error *error)
{
    bl_mutex_assert_held(&db->mutex);
    bole_status named = check_unnamed_logs(db, error);
    if (named != BOLE_OK)
        return named;
    uint64_t end = bl_version_set_next_sequence(db->versions);
    uint64_t accepted = 0; /* end of the log before, if there is one; may be 0: the first position */
    bool torn = false;
    for (uint32_t i = 0; i < bl_version_set_log_count(db->versions); i++) {
        const bl_log_description *log = bl_version_set_log_at(db->versions, i);
        bl_sealed *sealed;
        bl_log_replayed replayed;
        bole_status status = replay_log(db, i, &sealed, &replayed, error);
        if (status != BOLE_OK)
            return status;
        if (db->sealed_newest != NULL && accepted < log->start &&
            bl_version_set_log_at(db->versions, i - 1)->end == UINT64_MAX)
            torn = true;
        if (torn) { /* nothing behind a torn tail counts, unless it proves that the tail was synced */
            BL_MARK("log behind a torn tail is dropped");
            bl_assert(db->sealed_newest != NULL); /* the torn one, or one before it */
            sealed_free(sealed);
            if (replayed.synced > accepted) {
                BL_MARK("torn tail proves to have been synced");
                char name[64];
                snprintf(name, sizeof(name), "%06llu.log",
                         (unsigned long long)db->sealed_newest->description.number);
                return bl_corrupt(error, name, BL_NO_OFFSET,
                                  "it ends at position %llu, but log %llu says that %llu was on disk",
                                  (unsigned long long)accepted, (unsigned long long)log->number,
                                  (unsigned long long)replayed.synced);
            }
            continue;
        }
        if (db->sealed_newest != NULL)
            db->sealed_newest->newer = sealed;
        else
            db->sealed_oldest = sealed;
        db->sealed_newest = sealed;
        db->sealed_count++;
        accepted = replayed.end;
        if (replayed.end > end)
            end = replayed.end;
    }
    atomic_store_explicit(&db->visible, end, memory_order_release);
    return BOLE_OK;
}
