/* SPDX-License-Identifier: MIT */
/* log_scan.c -- a look inside a log file, for dump and salvage: all that can be decoded, without judgement.
 *
 * The file becomes a row of items that cover it without a gap: records, damage between records, and the tail behind
 * the last one. A file that is shorter than its header promises is shown as far as it goes.
 * INVARIANTS  (LOG-SCAN-1) The items' bytes add up to the file's bytes behind the header, up to the room's end.
 *             (LOG-SCAN-2) Only what verifies is a record; at most one TAIL, and it comes last.
 * THREADS     Any; no state. Works on a log that another thread or process appends to: what is not yet whole shows as
 *             a tail.
 * NOT HERE    Whether damage matters: log_replay.c. */
#include "log/log_replay.h"

#include "base/status.h"
#include "log/log_reader.h"

typedef struct scanner {
    bl_log_reader reader;
    bl_log_item_visit visit;
    void *context;
    bl_log_scanned *out;
} scanner;

static bole_status show_record(scanner *scan, const bl_log_record *record, bole_error *error)
{
    scan->out->records++;
    scan->out->end = bl_log_reader_position(&scan->reader, bl_log_record_end(record));
    if (record->synced > scan->out->synced)
        scan->out->synced = record->synced;
    bl_log_item item = { .kind = BL_LOG_ITEM_RECORD,
                         .offset = record->offset,
                         .position = record->position,
                         .bytes = BL_LOG_RECORD_HEADER_BYTES + record->length,
                         .synced = record->synced,
                         .checksum = record->checksum,
                         .type = record->payload[0],
                         .payload = { record->payload, (size_t)record->length } };
    return scan->visit(scan->context, &item, error);
}

static bole_status show_damage(scanner *scan, uint64_t offset, uint64_t end, bole_error *error)
{
    scan->out->damages++;
    bl_log_item item = { .kind = BL_LOG_ITEM_DAMAGE,
                         .offset = offset,
                         .position = bl_log_reader_position(&scan->reader, offset),
                         .bytes = end - offset };
    return scan->visit(scan->context, &item, error);
}

static bole_status show_tail(scanner *scan, uint64_t offset, bool searched, bole_error *error)
{
    bl_log_item item = { .kind = BL_LOG_ITEM_TAIL,
                         .offset = offset,
                         .position = bl_log_reader_position(&scan->reader, offset),
                         .bytes = scan->reader.limit - offset,
                         .searched = searched };
    bole_status status = bl_log_reader_zero(&scan->reader, offset, &item.zero, error);
    return status != BOLE_OK ? status : scan->visit(scan->context, &item, error);
}

/* No record was seen at `offset`, but one at `next`: damage, or a log that grew between the two looks.
 * Gives the record
 * at whichever place there is one. */
static bole_status look_again(scanner *scan, uint64_t offset, uint64_t next, bl_log_record *record,
                              bole_error *error)
{
    bool found = false;
    bole_status status = bl_log_reader_record_anew(&scan->reader, offset, record, &found, error);
    if (status != BOLE_OK || found)
        return status;
    status = show_damage(scan, offset, next, error);
    if (status == BOLE_OK)
        status = bl_log_reader_record(&scan->reader, next, record, &found, error);
    if (status == BOLE_OK && !found)
        status = bl_corrupt(error, scan->reader.path, next, "a record changed while it was read");
    return status;
}

/* Show all items from `offset` on. */
static bole_status show_items(scanner *scan, uint64_t offset, bole_error *error)
{
    while (offset < scan->reader.limit) {
        bl_log_record record;
        bl_log_search search = BL_LOG_SEARCH_NONE;
        bool found = false;
        bole_status status = bl_log_reader_record(&scan->reader, offset, &record, &found, error);
        if (status == BOLE_OK && !found)
            status = bl_log_reader_search(&scan->reader, offset + 1, 0, &record, &search, error);
        if (status == BOLE_OK && !found && search != BL_LOG_SEARCH_FOUND)
            return show_tail(scan, offset, search == BL_LOG_SEARCH_NONE, error);
        if (status == BOLE_OK && !found)
            status = look_again(scan, offset, record.offset, &record, error);
        if (status == BOLE_OK)
            status = show_record(scan, &record, error);
        if (status != BOLE_OK)
            return status;
        offset = bl_log_record_end(&record);
    }
    return BOLE_OK;
}

/* `header` NULL: the file's own. */
static bole_status scan(bole_vfs *vfs, const char *path, const bl_log_header *header, bl_log_item_visit visit,
                        void *context, bl_log_scanned *out, bole_error *error)
{
    *out = (bl_log_scanned){ 0 };
    bole_file *file = NULL;
    bole_status status = vfs->open(vfs, path, BOLE_VFS_READ, &file, error);
    if (status != BOLE_OK)
        return status;
    scanner look = { .visit = visit, .context = context, .out = out };
    if (header != NULL)
        out->header = *header;
    else
        status = bl_log_file_read_header(file, path, &out->header, error);
    if (status == BOLE_OK)
        status = vfs->length(file, &out->file_bytes, error);
    if (status != BOLE_OK)
        goto done;
    if (header != NULL)
        out->header.room = out->file_bytes < BL_LOG_FILE_HEADER_BYTES
                               ? 0
                               : out->file_bytes - BL_LOG_FILE_HEADER_BYTES;
    out->end = out->header.start;
    out->synced = out->header.synced;
    uint64_t limit = BL_LOG_FILE_HEADER_BYTES + out->header.room;
    limit = out->file_bytes < limit ? out->file_bytes : limit;
    bl_log_reader_init(&look.reader, file, path, &out->header, limit);
    status = show_items(&look, BL_LOG_FILE_HEADER_BYTES, error);
done:
    bl_log_reader_deinit(&look.reader);
    vfs->close(file, NULL);
    return status;
}

bole_status bl_log_scan(bole_vfs *vfs, const char *path, bl_log_item_visit visit, void *context,
                        bl_log_scanned *out, bole_error *error)
{
    return scan(vfs, path, NULL, visit, context, out, error);
}

bole_status bl_log_scan_as(bole_vfs *vfs, const char *path, const bl_log_header *header,
                           bl_log_item_visit visit, void *context, bl_log_scanned *out, bole_error *error)
{
    return scan(vfs, path, header, visit, context, out, error);
}
