/* SPDX-License-Identifier: MIT */
/* repair_facts.c -- what directory, CURRENT and manifest say of a damaged store: its files, tables and positions.
 *
 * TRUST       The manifest is trusted when it is whole as an open asks it to be, and either the clean close vouches for
 *             its length, or every file that it names is there and no newer log has records. (A file goes only after
 *             the edit that lets go of it is durable: a missing one may mean that this edit is lost.) A trusted
 *             manifest says which files count. From another one every edit that can be read is a fact all the same:
 *             what it removed is gone, what it added had these keys.
 * CURRENT     Without it the newest manifest that is whole is taken, else the newest one with an edit. */
#include "tools/repair.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/alloc.h"
#include "base/status.h"
#include "version/file_name.h"

/* ---- Files by number ------------------------------------------------------------------------------------------- */

static uint64_t slot_of(const bl_repair *repair, uint64_t number)
{
    uint64_t slot = number * UINT64_C(0x9E3779B97F4A7C15) >> 32;
    for (;; slot++) {
        uint32_t index = repair->slots[slot & (repair->slot_count - 1)];
        if (index == 0 || repair->segments[index - 1].number == number)
            return slot & (repair->slot_count - 1);
    }
}

static bool grow_slots(bl_repair *repair)
{
    uint32_t count = repair->slot_count == 0 ? 256 : 2 * repair->slot_count;
    uint32_t *slots = bl_new_array(uint32_t, count);
    if (slots == NULL)
        return false;
    bl_free(repair->slots);
    repair->slots = slots;
    repair->slot_count = count;
    for (uint32_t i = 0; i < repair->segment_count; i++)
        slots[slot_of(repair, repair->segments[i].number)] = i + 1;
    return true;
}

/* The segment with this number, made when it is not there. NULL: out of memory, told. */
static bl_repair_segment *segment_of(bl_repair *repair, uint64_t number)
{
    if (2 * (repair->segment_count + 1) > repair->slot_count && !grow_slots(repair)) {
        (void)bl_fail(repair->error, BOLE_NO_MEMORY, "list of segments");
        return NULL;
    }
    uint32_t *slot = &repair->slots[slot_of(repair, number)];
    if (*slot != 0)
        return &repair->segments[*slot - 1];
    void *grown = bl_repair_grow(repair, repair->segments, &repair->segment_count, &repair->segment_capacity,
                                 sizeof(repair->segments[0]));
    if (grown == NULL)
        return NULL;
    repair->segments = grown;
    *slot = repair->segment_count;
    repair->segments[*slot - 1].number = number;
    return &repair->segments[*slot - 1];
}

bl_repair_segment *bl_repair_segment_of(const bl_repair *repair, uint64_t number)
{
    uint32_t slot = repair->slot_count == 0 ? 0 : repair->slots[slot_of(repair, number)];
    return slot == 0 ? NULL : &repair->segments[slot - 1];
}

static bl_repair_log *log_of(bl_repair *repair, uint64_t number)
{
    for (uint32_t i = 0; i < repair->log_count; i++)
        if (repair->logs[i].number == number)
            return &repair->logs[i];
    void *grown = bl_repair_grow(repair, repair->logs, &repair->log_count, &repair->log_capacity,
                                 sizeof(repair->logs[0]));
    if (grown == NULL)
        return NULL;
    repair->logs = grown;
    repair->logs[repair->log_count - 1].number = number;
    return &repair->logs[repair->log_count - 1];
}

/* ---- Directory ------------------------------------------------------------------------------------------------- */

typedef struct listing {
    bl_repair *repair;
    bool failed;
} listing;

static bool note_file(void *context, const char *name)
{
    listing *list = context;
    bl_repair *repair = list->repair;
    uint64_t number;
    bl_file_kind kind = bl_file_parse(name, &number);
    bl_repair_segment *segment = kind == BL_FILE_SEGMENT ? segment_of(repair, number) : NULL;
    bl_repair_log *log = kind == BL_FILE_LOG ? log_of(repair, number) : NULL;
    if (segment != NULL)
        segment->on_disk = true;
    if (log != NULL)
        log->on_disk = true;
    void *grown = NULL;
    if (kind == BL_FILE_MANIFEST) {
        grown = bl_repair_grow(repair, repair->manifests, &repair->manifest_count, &repair->manifest_capacity,
                               sizeof(repair->manifests[0]));
        if (grown != NULL) {
            repair->manifests = grown;
            repair->manifests[repair->manifest_count - 1] = number;
        }
    }
    list->failed = (kind == BL_FILE_SEGMENT && segment == NULL) || (kind == BL_FILE_LOG && log == NULL) ||
                   (kind == BL_FILE_MANIFEST && grown == NULL);
    return !list->failed;
}

static int by_number(const void *a, const void *b)
{
    uint64_t one = *(const uint64_t *)a, other = *(const uint64_t *)b;
    return one < other ? -1 : one > other;
}

/* Does a process write to the store? */
static bole_status check_writer(bl_repair *repair)
{
    char path[BL_PATH_BYTES_MAX];
    bole_file *file;
    bool locked = false;
    int64_t pid = 0;
    bl_store_path(path, repair->path, BL_FILE_LOCK, 0);
    bole_error story = BOLE_ERROR_INIT;
    bole_status status = repair->vfs->open(repair->vfs, path, BOLE_VFS_READ, &file, &story);
    if (status == BOLE_NO_MEMORY)
        return bl_fail(repair->error, status, "%s", story.message);
    if (status != BOLE_OK)
        return BOLE_OK;
    status = repair->vfs->lock_test(file, 0, &locked, &pid, NULL);
    (void)repair->vfs->close(file, NULL);
    if (status == BOLE_OK && locked)
        return bl_fail(repair->error, BOLE_LOCKED,
                       "process %lld writes to %s: repair needs it to stand still", (long long)pid,
                       repair->path);
    return BOLE_OK;
}

static bole_status list_files(bl_repair *repair)
{
    listing list = { repair, false };
    bole_status status = repair->vfs->list(repair->vfs, repair->path, note_file, &list, repair->error);
    if (status == BOLE_NOT_FOUND)
        return bl_fail(repair->error, BOLE_NO_STORE, "there is no directory %s", repair->path);
    if (status == BOLE_OK && list.failed)
        return BOLE_NO_MEMORY;
    if (status != BOLE_OK)
        return status;
    if (repair->manifest_count > 0)
        qsort(repair->manifests, repair->manifest_count, sizeof(repair->manifests[0]), by_number);
    return BOLE_OK;
}

/* ---- Edits ----------------------------------------------------------------------------------------------------- */

typedef struct fold { /* edits become facts */
    bl_repair *repair;
    bool snapshot; /* the first edit was one */
    uint64_t edits;
} fold;

static bole_status fold_segments(bl_repair *repair, const bl_version_edit *edit)
{
    for (uint32_t i = 0; i < edit->removed_count; i++) {
        bl_repair_segment *segment = segment_of(repair, edit->removed[i].number);
        if (segment == NULL)
            return BOLE_NO_MEMORY;
        segment->removed = true;
    }
    for (uint32_t i = 0; i < edit->added_count; i++) {
        bl_repair_segment *segment = segment_of(repair, edit->added[i].number);
        if (segment == NULL)
            return BOLE_NO_MEMORY;
        if (segment->named)
            continue;
        bole_status status = bl_segment_meta_copy(&segment->meta, &edit->added[i], repair->error);
        if (status != BOLE_OK)
            return status;
        segment->named = true;
        segment->table = segment->meta.table;
        segment->sequence_max = segment->meta.sequence_max;
    }
    return BOLE_OK;
}

static bole_status fold_logs(bl_repair *repair, const bl_version_edit *edit)
{
    for (uint32_t i = 0; i < edit->logs_added_count; i++) {
        bl_repair_log *log = log_of(repair, edit->logs_added[i].number);
        if (log == NULL)
            return BOLE_NO_MEMORY;
        log->named = true;
        log->description = edit->logs_added[i];
    }
    for (uint32_t i = 0; i < edit->logs_ended_count; i++) { /* number and end count */
        const bl_log_description *ended = &edit->logs_ended[i];
        bl_repair_log *log = log_of(repair, ended->number);
        if (log == NULL)
            return BOLE_NO_MEMORY;
        log->description.end = ended->end;
        log->description.end_checksum_known = ended->end_checksum_known;
        log->description.end_checksum = ended->end_checksum;
    }
    for (uint32_t i = 0; i < edit->logs_removed_count; i++) {
        bl_repair_log *log = log_of(repair, edit->logs_removed[i]);
        if (log == NULL)
            return BOLE_NO_MEMORY;
        log->removed = true;
    }
    if (edit->flushed_through > repair->flushed_through)
        repair->flushed_through = edit->flushed_through;
    if (edit->synced > repair->synced)
        repair->synced = edit->synced;
    return BOLE_OK;
}

static bole_status fold_tables(bl_repair *repair, const bl_version_edit *edit)
{
    for (uint32_t i = 0; i < edit->tables_created_count + edit->tables_dropped_count; i++) {
        bool dropped = i >= edit->tables_created_count;
        const bl_table_description *described = dropped
                                                    ? &edit->tables_dropped[i - edit->tables_created_count]
                                                    : &edit->tables_created[i];
        bl_repair_table *table = bl_repair_table_make(repair, described->number);
        if (table == NULL)
            return BOLE_NO_MEMORY;
        if (dropped)
            table->dropped = true;
        else if (!bl_repair_table_name(repair, table, described->name, described->comparator_name))
            return BOLE_NO_MEMORY;
    }
    return BOLE_OK;
}

static bole_status fold_edit(void *context, const bl_manifest_edit *given, bole_error *error)
{
    fold *on = context;
    (void)error; /* the same as the repair's */
    const bl_version_edit *edit = given->edit;
    if (on->edits++ == 0)
        on->snapshot = edit->snapshot;
    bole_status status = fold_segments(on->repair, edit);
    if (status == BOLE_OK)
        status = fold_logs(on->repair, edit);
    return status == BOLE_OK ? fold_tables(on->repair, edit) : status;
}

/* ---- CURRENT and manifest -------------------------------------------------------------------------------------- */

static bole_status read_current(bl_repair *repair)
{
    bole_error story = BOLE_ERROR_INIT;
    bole_status status = bl_current_read(repair->vfs, repair->path, &repair->current, &story);
    repair->has_current = status == BOLE_OK;
    if (status == BOLE_OK) {
        repair->store_id = repair->current.store_id;
        return BOLE_OK;
    }
    if (status == BOLE_NO_STORE && repair->manifest_count + repair->segment_count + repair->log_count == 0)
        return bl_fail(repair->error, BOLE_NO_STORE, "there is nothing of a store in %s", repair->path);
    if (bl_repair_ends_with(status))
        return bl_fail(repair->error, status, "%s", story.message);
    return bl_repair_tell(repair, BOLE_REPAIR_NOTE,
                          &(bl_repair_place){ "CURRENT", story.offset, NULL, { 0 }, { 0 } },
                          "%s: the newest manifest that can be read is taken", story.message);
}

/* Fold manifest `number`. *whole: no edit of it is missing, as far as can be seen. */
static bole_status read_manifest(bl_repair *repair, uint64_t number, bool *whole, uint64_t *edits)
{
    char path[BL_PATH_BYTES_MAX];
    bole_error story = BOLE_ERROR_INIT;
    bl_manifest_scanned scanned;
    bl_manifest_salvaged salvaged;
    fold on = { repair, false, 0 };
    *whole = false;
    *edits = 0;
    bl_store_path(path, repair->path, BL_FILE_MANIFEST, number);
    const bl_current *current = repair->has_current && repair->current.manifest_number == number
                                    ? &repair->current
                                    : NULL;
    bole_status strict = bl_manifest_scan(repair->vfs, path, current, NULL, NULL, &scanned, &story);
    if (bl_repair_ends_with(strict))
        return bl_fail(repair->error, strict, "%s", story.message);
    bole_status status = bl_manifest_salvage(repair->vfs, path, current, fold_edit, &on, &salvaged,
                                             repair->error);
    *edits = on.edits;
    *whole = strict == BOLE_OK && on.snapshot && salvaged.whole;
    if (status == BOLE_OK && on.edits > 0 && bl_id_is_zero(repair->store_id))
        repair->store_id = salvaged.store_id;
    if (status == BOLE_CORRUPT || status == BOLE_NOT_FOUND)
        status = BOLE_OK;
    if (status == BOLE_OK && strict != BOLE_OK) {
        const char *slash = strrchr(path, '/');
        status = bl_repair_tell(repair, BOLE_REPAIR_NOTE,
                                &(bl_repair_place){ slash + 1, story.offset, NULL, { 0 }, { 0 } },
                                "%s; %llu edits of it can be read", bl_repair_reason(repair, story.message),
                                (unsigned long long)on.edits);
    }
    return status;
}

/* A file that is named and not there, or a newer log with records that is not named: an edit is lost. */
static bool lost_its_end(const bl_repair *repair)
{
    uint64_t newest = 0;
    for (uint32_t i = 0; i < repair->segment_count; i++)
        if (repair->segments[i].named && !repair->segments[i].removed && !repair->segments[i].on_disk)
            return true;
    for (uint32_t i = 0; i < repair->log_count; i++) {
        const bl_repair_log *log = &repair->logs[i];
        if (log->named && !log->removed && !log->on_disk)
            return true;
        if (log->named && log->number > newest)
            newest = log->number;
    }
    for (uint32_t i = 0; i < repair->log_count; i++)
        if (repair->logs[i].on_disk && repair->logs[i].number > newest)
            return true; /* without records it changes nothing */
    return false;
}

bole_status bl_repair_facts(bl_repair *repair)
{
    bool whole = false;
    uint64_t edits = 0;
    bole_status status = check_writer(repair);
    if (status == BOLE_OK)
        status = list_files(repair);
    if (status == BOLE_OK)
        status = read_current(repair);
    if (status == BOLE_OK && repair->has_current)
        status = read_manifest(repair, repair->current.manifest_number, &whole, &edits);
    for (uint32_t i = repair->manifest_count; i > 0 && status == BOLE_OK && edits == 0; i--)
        if (!repair->has_current || repair->manifests[i - 1] != repair->current.manifest_number)
            status = read_manifest(repair, repair->manifests[i - 1], &whole, &edits);
    if (status != BOLE_OK)
        return status;
    bool vouched = repair->has_current && repair->current.clean_bytes != 0;
    repair->trusted = whole && (vouched || !lost_its_end(repair));
    repair->report->manifest_whole = repair->trusted;
    if (!repair->trusted)
        status = bl_repair_tell(
            repair, BOLE_REPAIR_NOTE, &(bl_repair_place){ "", BL_NO_OFFSET, NULL, { 0 }, { 0 } },
            "no whole manifest says which files count: segments and logs speak for themselves. "
            "A file that was obsolete and not yet removed may bring back older values, and "
            "deleted keys");
    return status;
}
