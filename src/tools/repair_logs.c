/* SPDX-License-Identifier: MIT */
/* repair_logs.c -- the operations of a damaged store's logs, as far as they can be read, in a memtable.
 *
 * A log that replay accepts counts as far as replay accepts it, as in an open: what stands behind a torn tail was
 * never acknowledged as being on disk. From a log that replay refuses every record that verifies is taken, also
 * behind damage, and what is missing between is told: later writes are then there without earlier ones.
 * Without a trusted manifest a log that a segment has wholly passed was flushed, and is not used. */
#include "tools/repair.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/alloc.h"
#include "base/hash.h"
#include "base/status.h"
#include "core/write_batch.h"
#include "version/file_name.h"

typedef struct reading { /* of one log */
    bl_repair *repair;
    bl_repair_log *log;
    char path[BL_PATH_BYTES_MAX];
    char name[64];
    bool salvage;        /* replay refused it */
    uint64_t next_start; /* of the log behind it; 0: there is none */
    uint64_t accepted;   /* position: records from here on do not count */
    uint64_t last;       /* position of the last record that was taken, of any log */
    uint64_t operations, records;
} reading;

static bole_status tell(reading *on, bole_repair_kind kind, uint64_t offset, const char *what, uint64_t from,
                        uint64_t to)
{
    return bl_repair_tell(on->repair, kind, &(bl_repair_place){ on->name, offset, NULL, { 0 }, { 0 } },
                          "%s (positions %llu to %llu)", what, (unsigned long long)from,
                          (unsigned long long)to);
}

/* ---- Records --------------------------------------------------------------------------------------------------- */

static bole_status take_operation(reading *on, uint64_t sequence, const bl_operation *operation)
{
    bl_repair *repair = on->repair;
    bl_repair_table *table = bl_repair_table_make(repair, operation->table);
    if (table == NULL)
        return BOLE_NO_MEMORY;
    if (table->dropped || !table->known)
        return BOLE_OK;
    uint64_t bytes = bl_memtable_entry_bytes(operation->key.size, operation->value.size);
    bole_status status = bl_memtable_reserve(repair->memtable, bytes, repair->error);
    bl_memtable_tree *tree = status == BOLE_OK
                                 ? bl_memtable_tree_for(repair->memtable, operation->table, table->comparator)
                                 : NULL;
    if (status == BOLE_OK && tree == NULL)
        status = bl_fail(repair->error, BOLE_NO_MEMORY, "memtable of table %s", table->name);
    if (status != BOLE_OK)
        return status;
    bl_memtable_insert(tree, operation->key, bl_hash(operation->key.data, operation->key.size),
                       operation->value, BL_TAG(sequence, operation->kind));
    on->operations++;
    return BOLE_OK;
}

static bole_status take_record(reading *on, const bl_log_item *item)
{
    uint64_t at = 1;
    bl_operation operation;
    bole_status status;
    while ((status = bl_operation_decode(item->payload, &at, &operation)) == BOLE_OK)
        ; /* all of a batch or nothing */
    if (status != BOLE_NOT_FOUND)
        return tell(on, BOLE_REPAIR_LOST, item->offset, "a record that verifies is no batch of operations",
                    item->position, item->position + item->bytes);
    at = 1;
    status = BOLE_OK;
    while (status == BOLE_OK && bl_operation_decode(item->payload, &at, &operation) == BOLE_OK)
        status = take_operation(on, item->position + BL_LOG_RECORD_HEADER_BYTES + operation.offset,
                                &operation);
    on->records++;
    return status;
}

static bole_status see_item(void *context, const bl_log_item *item, bole_error *error)
{
    reading *on = context;
    (void)error; /* the same as the repair's */
    uint64_t end = item->position + item->bytes;
    switch (item->kind) {
    case BL_LOG_ITEM_RECORD:
        if (item->type != BL_RECORD_BATCH || end <= on->repair->flushed_through ||
            item->position < on->last || item->position >= on->accepted)
            return BOLE_OK;
        on->last = end;
        return take_record(on, item);
    case BL_LOG_ITEM_DAMAGE:
        if (end <= on->repair->flushed_through || item->position >= on->accepted)
            return BOLE_OK;
        return tell(on, BOLE_REPAIR_LOST, item->offset,
                    "damage between whole records: the writes in it are lost", item->position, end);
    default: return BOLE_OK;
    }
}

/* ---- One log --------------------------------------------------------------------------------------------------- */

static uint64_t known_as_synced(const bl_repair *repair, const bl_repair_log *before)
{
    uint64_t synced = repair->synced;
    for (uint32_t i = 0; i < repair->log_count; i++) {
        const bl_repair_log *log = &repair->logs[i];
        if (log->has_header && log->header.start > before->header.start && log->header.synced > synced)
            synced = log->header.synced;
    }
    return synced;
}

/* Does replay accept it? Then on->accepted says how far. */
static bole_status judge(reading *on, bl_log_replayed *replayed, bole_error *story)
{
    const bl_repair_log *log = on->log;
    bl_log_expectation expectation = {
        .vfs = on->repair->vfs,
        .path = on->path,
        .number = log->number,
        .id = log->header.id,
        .store_id = on->repair->store_id,
        .start = log->header.start,
        .from = on->repair->flushed_through,
        .synced = known_as_synced(on->repair, log),
        .followed = on->next_start != 0,
        .next_start = on->next_start,
        .end = log->named ? log->description.end : UINT64_MAX,
        .end_checksum_known = log->named && log->description.end_checksum_known,
        .end_checksum = log->description.end_checksum,
    };
    return bl_log_replay(&expectation, NULL, NULL, replayed, story);
}

static bole_status tell_short(reading *on, const bl_log_scanned *scanned)
{
    uint64_t end = on->log->named && on->log->description.end != UINT64_MAX ? on->log->description.end
                   : on->next_start != 0                                    ? on->next_start
                                         : known_as_synced(on->repair, on->log);
    if (end <= scanned->end || end <= on->repair->flushed_through)
        return BOLE_OK;
    return tell(on, BOLE_REPAIR_LOST, BL_NO_OFFSET, "the log's end is lost", scanned->end, end);
}

static bole_status read_log(reading *on, bool *torn)
{
    bl_repair *repair = on->repair;
    bl_log_replayed replayed = { 0 };
    bl_log_scanned scanned;
    bole_error story = BOLE_ERROR_INIT;
    bole_status status = judge(on, &replayed, &story);
    if (bl_repair_ends_with(status))
        return bl_fail(repair->error, status, "%s", story.message);
    on->salvage = status != BOLE_OK;
    if (*torn && !on->salvage && replayed.synced <= on->last)
        return tell(
            on, BOLE_REPAIR_NOTE, BL_NO_OFFSET,
            "not used: the log before it ends torn, and what is here was never acknowledged as being on disk",
            on->log->header.start, replayed.end);
    on->accepted = on->salvage ? UINT64_MAX : replayed.end;
    *torn = !on->salvage && replayed.torn && on->next_start != 0;
    if (on->salvage) {
        repair->report->logs_damaged++;
        status = bl_repair_tell(repair, BOLE_REPAIR_NOTE,
                                &(bl_repair_place){ on->name, story.offset, NULL, { 0 }, { 0 } },
                                "%s: every record that can be read is taken",
                                bl_repair_reason(repair, story.message));
    }
    if (status == BOLE_OK)
        status = bl_log_scan_as(repair->vfs, on->path, &on->log->header, see_item, on, &scanned,
                                repair->error);
    if (status == BOLE_OK && on->salvage)
        status = tell_short(on, &scanned);
    if (status != BOLE_OK)
        return status;
    repair->report->logs++;
    repair->report->log_operations += on->operations;
    return bl_repair_tell(repair, BOLE_REPAIR_KEPT,
                          &(bl_repair_place){ on->name, BL_NO_OFFSET, NULL, { 0 }, { 0 } },
                          "%llu records with %llu operations", (unsigned long long)on->records,
                          (unsigned long long)on->operations);
}

/* ---- Which logs ------------------------------------------------------------------------------------------------ */

/* The header, its own or what the manifest knows; has_header stays false when nothing says what the file is. */
static bole_status read_header(bl_repair *repair, bl_repair_log *log)
{
    char path[BL_PATH_BYTES_MAX];
    bole_error story = BOLE_ERROR_INIT;
    bl_store_path(path, repair->path, BL_FILE_LOG, log->number);
    bole_status status = bl_log_read_header(repair->vfs, path, &log->header, &story);
    if (bl_repair_ends_with(status))
        return bl_fail(repair->error, status, "%s", story.message);
    log->has_header = status == BOLE_OK;
    if (log->named && (!log->has_header || !bl_id_equal(log->header.id, log->description.id))) {
        log->header = (bl_log_header){ .number = log->number,
                                       .start = log->description.start,
                                       .id = log->description.id,
                                       .store_id = repair->store_id };
        log->has_header = true;
    }
    return BOLE_OK;
}

/* Has some segment everything of the log, so that it was flushed? Segments are flushed in the logs' order. */
static bool was_flushed(const bl_repair *repair, uint64_t end)
{
    for (uint32_t i = 0; i < repair->segment_count; i++)
        if (repair->segments[i].used && repair->segments[i].found.footer != NULL &&
            repair->segments[i].sequence_max >= end)
            return true;
    return false;
}

static bole_status count_nothing(void *context, const bl_log_item *item, bole_error *error)
{
    (void)context, (void)item, (void)error;
    return BOLE_OK;
}

/* Whether the log is to be read; tells why not where that is worth knowing. */
static bole_status is_wanted(reading *on, bool *wanted)
{
    bl_repair *repair = on->repair;
    bl_repair_log *log = on->log;
    const bl_log_description *named = &log->description;
    *wanted = false;
    bool passed = log->named && named->end != UINT64_MAX && named->end <= repair->flushed_through;
    if (log->removed || passed || (repair->trusted && !log->named))
        return BOLE_OK;
    if (!log->on_disk && !repair->trusted && on->next_start != 0 && was_flushed(repair, on->next_start))
        return BOLE_OK; /* an edit that is lost let go of it */
    if (!log->on_disk) {
        repair->report->logs_missing++;
        return tell(on, BOLE_REPAIR_LOST, BL_NO_OFFSET, "the log is missing: the writes in it are lost",
                    named->start, on->next_start != 0 ? on->next_start : repair->synced);
    }
    if (!log->has_header)
        return bl_repair_tell(repair, BOLE_REPAIR_LOST, &(bl_repair_place){ on->name, 0, NULL, { 0 }, { 0 } },
                              "its header is damaged, and nothing else says which log it was");
    if (bl_id_is_zero(repair->store_id))
        repair->store_id = log->header.store_id;
    if (!log->named && !bl_id_equal(log->header.store_id, repair->store_id))
        return tell(on, BOLE_REPAIR_NOTE, BL_NO_OFFSET, "not used: the log of another store",
                    log->header.start, log->header.start);
    bl_log_scanned scanned = { 0 };
    bole_error story = BOLE_ERROR_INIT;
    bole_status status = BOLE_OK;
    if (!repair->trusted)
        status = bl_log_scan_as(repair->vfs, on->path, &log->header, count_nothing, NULL, &scanned, &story);
    if (bl_repair_ends_with(status))
        return bl_fail(repair->error, status, "%s", story.message);
    if (status == BOLE_OK && scanned.records > 0 && was_flushed(repair, scanned.end))
        return tell(on, BOLE_REPAIR_NOTE, BL_NO_OFFSET, "not used: segments hold what came after it",
                    log->header.start, scanned.end);
    *wanted = true;
    return BOLE_OK;
}

static int by_start(const void *a, const void *b)
{
    const bl_repair_log *one = a, *other = b;
    uint64_t start = one->has_header ? one->header.start : one->description.start;
    uint64_t other_start = other->has_header ? other->header.start : other->description.start;
    if (start != other_start)
        return start < other_start ? -1 : 1;
    return one->number < other->number ? -1 : one->number > other->number;
}

/* Where the next log begins that is named, or there. */
static uint64_t start_behind(const bl_repair *repair, uint32_t index)
{
    for (uint32_t i = index + 1; i < repair->log_count; i++) {
        const bl_repair_log *log = &repair->logs[i];
        if (!log->removed && (log->named || (!repair->trusted && log->has_header)))
            return log->has_header ? log->header.start : log->description.start;
    }
    return 0;
}

bole_status bl_repair_logs(bl_repair *repair)
{
    bole_status status = BOLE_OK;
    for (uint32_t i = 0; i < repair->log_count && status == BOLE_OK; i++)
        if (repair->logs[i].on_disk)
            status = read_header(repair, &repair->logs[i]);
    if (repair->log_count > 0)
        qsort(repair->logs, repair->log_count, sizeof(repair->logs[0]), by_start);
    reading *on = bl_new(reading);
    if (on == NULL)
        return bl_fail(repair->error, BOLE_NO_MEMORY, "reading of the logs");
    bool torn = false;
    uint64_t last = 0;
    for (uint32_t i = 0; i < repair->log_count && status == BOLE_OK; i++) {
        bool wanted = false;
        *on = (reading){ .repair = repair, .log = &repair->logs[i], .next_start = start_behind(repair, i) };
        on->last = last;
        snprintf(on->name, sizeof on->name, "%06llu.log", (unsigned long long)on->log->number);
        bl_store_path(on->path, repair->path, BL_FILE_LOG, on->log->number);
        status = is_wanted(on, &wanted);
        if (status == BOLE_OK && wanted)
            status = read_log(on, &torn);
        last = on->last;
    }
    bl_free(on);
    return status;
}
