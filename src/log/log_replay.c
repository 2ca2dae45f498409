/* SPDX-License-Identifier: MIT */
/* log_replay.c -- reading the logs of earlier lives: what is a record, what is torn, what is corrupt.
 *
 * The bytes at a position are no record. Whether that is the end of the log or a loss depends on what says that the
 * position was on disk: the manifest (synced, flushed through, the accepted end), the header, or any record of this
 * log's id, before or behind, whose claim reaches beyond it. Records behind are searched for at every byte up to the
 * end of the file. A claim ends at the position it names: one that ends at the damage does not protect it.
 * INVARIANTS  (REPLAY-1) Nothing says that the bad or missing record was synced: a torn tail. Replay ends there, and
 *                        what lies behind is dropped, also where it verifies.
 *             (REPLAY-2) Something says so: BOLE_CORRUPT, naming file, offset and who says so.
 *             (REPLAY-3) A log with an accepted end is whole up to it, and no byte behind it is read.
 *             (REPLAY-4) A file that does not reach the log's end, or, while that is not known, the length that its
 *                        header promises, is damaged: the length was synced before the log was named.
 *             (REPLAY-5) A read that fails is an error, never the end of the log.
 *             (REPLAY-6) The file is only read; replay twice gives the same.
 *             (REPLAY-7) A log that grows meanwhile, in the hands of a living writer, is not called
 *             corrupt: before it
 *                        is, the place of the damage is read once more, after what bears witness against it.
 * CONTENT     The checksum of a log's content is a chain over its records: c = seed, then for each record
 *             c = bl_checksum(c, position, the 8 bytes of the record's checksum).
 * THREADS     Any; no state.
 * NOT HERE    Dropping later logs after a torn one, and writing the accepted end: the engine's recovery. */
#include "log/log_replay.h"

#include "base/alloc.h"
#include "base/status.h"
#include "core/write_batch.h"
#include "log/log_reader.h"

#define LLU(x) ((unsigned long long)(x))

static uint64_t larger(uint64_t a, uint64_t b) { return a > b ? a : b; }

static uint64_t smaller(uint64_t a, uint64_t b) { return a < b ? a : b; }

static bole_status check_header(const bl_log_expectation *expected, const bl_log_header *header,
                                bole_error *error)
{
    const char *path = expected->path;
    if (header->number != expected->number)
        return bl_corrupt(error, path, BL_NO_OFFSET, "this is log %llu, not %llu", LLU(header->number),
                          LLU(expected->number));
    if (!bl_id_is_zero(expected->id) && !bl_id_equal(header->id, expected->id))
        return bl_corrupt(error, path, BL_NO_OFFSET,
                          "this is another log: its id is not the one in the manifest");
    if (!bl_id_is_zero(expected->store_id) && !bl_id_equal(header->store_id, expected->store_id))
        return bl_corrupt(error, path, BL_NO_OFFSET, "this log belongs to another store");
    if (header->start != expected->start)
        return bl_corrupt(error, path, BL_NO_OFFSET, "this log begins at position %llu, not %llu",
                          LLU(header->start), LLU(expected->start));
    return BOLE_OK;
}

/* File offset of `position`, which is at most `room` behind the log's start. */
static uint64_t offset_of(const bl_log_header *header, uint64_t position)
{
    return BL_LOG_FILE_HEADER_BYTES + (position - header->start);
}

/* Where reading must end, and whether the file is long enough for it. */
static bole_status find_limit(const bl_log_expectation *expected, const bl_log_header *header,
                              bole_file *file, uint64_t *limit, bole_error *error)
{
    *limit = 0;
    uint64_t length = 0;
    bole_status status = file->vfs->length(file, &length, error);
    if (status != BOLE_OK)
        return status;
    bool end_known = expected->end != UINT64_MAX;
    uint64_t end = end_known ? expected->end : expected->next_start;
    if (end_known || expected->followed) {
        if (end < header->start || end - header->start > header->room)
            return bl_corrupt(
                error, expected->path, BL_NO_OFFSET,
                "the manifest ends this log at position %llu, but it has room from %llu to %llu", LLU(end),
                LLU(header->start), LLU(header->start + header->room));
        *limit = offset_of(header, end);
    } else {
        *limit = BL_LOG_FILE_HEADER_BYTES + header->room;
    }
    if (length < *limit)
        return bl_corrupt(error, expected->path, length, "the file is short: it has %llu bytes of %llu",
                          LLU(length), LLU(*limit));
    return BOLE_OK;
}

/* There is no record at `offset`: the end, a torn tail (BOLE_OK), or corruption. */
static bole_status judge(const bl_log_expectation *expected, bl_log_reader *reader, uint64_t offset,
                         bl_log_replayed *out, bole_error *error)
{
    uint64_t position = out->end;
    if (expected->end != UINT64_MAX)
        return bl_corrupt(error, reader->path, offset,
                          "no whole record at position %llu, but the log was accepted up to %llu",
                          LLU(position), LLU(expected->end));
    uint64_t known = larger(larger(expected->synced, expected->from), out->synced);
    if (known > position)
        return bl_corrupt(error, reader->path, offset,
                          "no whole record at position %llu, but the log was synced up to %llu",
                          LLU(position), LLU(known));
    bl_log_record later;
    bl_log_search search = BL_LOG_SEARCH_NONE;
    bole_status status = bl_log_reader_search(reader, offset + 1, position + 1, &later, &search, error);
    if (status != BOLE_OK)
        return status;
    if (search == BL_LOG_SEARCH_FOUND)
        return bl_corrupt(
            error, reader->path, offset,
            "no whole record at position %llu, but a later one at offset %llu says that the log was "
            "synced up to %llu",
            LLU(position), LLU(later.offset), LLU(later.synced));
    if (search == BL_LOG_SEARCH_LIMIT)
        return bl_corrupt(
            error, reader->path, offset,
            "no whole record at position %llu, and what follows imitates records too often to tell "
            "a torn end from damage",
            LLU(position));
    const uint8_t *bytes = NULL;
    uint64_t size = smaller(reader->limit - offset, BL_LOG_RECORD_HEADER_BYTES);
    status = bl_log_reader_view(reader, offset, size, &bytes, error);
    for (uint64_t i = 0; status == BOLE_OK && i < size && !out->torn; i++)
        out->torn = bytes[i] != 0;
    if (expected->followed)
        out->torn = true;
    return status;
}

static bole_status visit_record(const bl_log_expectation *expected, const bl_log_record *record,
                                bl_log_visit visit, void *context, bole_error *error)
{
    if (record->synced > record->position)
        return bl_corrupt(error, expected->path, record->offset,
                          "the record at position %llu claims a sync up to %llu, beyond itself",
                          LLU(record->position), LLU(record->synced));
    switch (record->payload[0]) {
    case BL_RECORD_BATCH: break;
    case BL_RECORD_SYNC_MARK:
        if (record->length != 1)
            return bl_corrupt(error, expected->path, record->offset, "a sync mark of %llu bytes",
                              LLU(record->length));
        return BOLE_OK;
    case BL_RECORD_VOID: return BOLE_OK;
    default:
        return bl_fail(error, BOLE_UNSUPPORTED,
                       "%s at offset %llu: a record of type %u, which this bole does not know",
                       expected->path, LLU(record->offset), record->payload[0]);
    }
    uint64_t end = record->position + BL_LOG_RECORD_HEADER_BYTES + record->length;
    if (visit == NULL || end <= expected->from)
        return BOLE_OK;
    return visit(context, record->position, (bole_slice){ record->payload, (size_t)record->length }, error);
}

static bole_status replay_records(const bl_log_expectation *expected, bl_log_reader *reader,
                                  bl_log_visit visit, void *context, bl_log_replayed *out, bole_error *error)
{
    bool end_known = expected->end != UINT64_MAX || expected->followed;
    uint64_t offset = BL_LOG_FILE_HEADER_BYTES;
    while (!end_known || offset < reader->limit) {
        bl_log_record record;
        bool found = false;
        bole_status status = bl_log_reader_record(reader, offset, &record, &found, error);
        if (status != BOLE_OK)
            return status;
        if (!found) {
            bole_status judged = judge(expected, reader, offset, out, error);
            if (judged != BOLE_CORRUPT)
                return judged;
            status = bl_log_reader_record_anew(reader, offset, &record, &found, NULL);
            if (status != BOLE_OK || !found)
                return judged;
            BL_MARK("log grew while it was replayed");
            bl_error_clear(error);
        }
        status = visit_record(expected, &record, visit, context, error);
        if (status != BOLE_OK)
            return status;
        uint8_t checksum[8];
        bl_put_u64(checksum, record.checksum);
        out->content_checksum = bl_checksum(out->content_checksum, record.position, checksum,
                                            sizeof checksum);
        out->synced = larger(out->synced, record.synced);
        out->records++;
        offset = bl_log_record_end(&record);
        out->end = bl_log_reader_position(reader, offset);
        out->bytes = offset - BL_LOG_FILE_HEADER_BYTES;
    }
    if (expected->end_checksum_known && out->content_checksum != expected->end_checksum)
        return bl_corrupt(
            error, expected->path, BL_NO_OFFSET,
            "the content of the log up to position %llu is not what it was when the store was closed",
            LLU(out->end));
    return BOLE_OK;
}

bole_status bl_log_replay(const bl_log_expectation *expectation, bl_log_visit visit, void *context,
                          bl_log_replayed *out, bole_error *error)
{
    *out = (bl_log_replayed){ 0 };
    bole_vfs *vfs = expectation->vfs;
    bole_file *file = NULL;
    bl_log_reader reader = { 0 };
    bl_log_header header;
    uint64_t limit = 0;
    bole_status status = vfs->open(vfs, expectation->path, BOLE_VFS_READ, &file, error);
    if (status == BOLE_NOT_FOUND)
        return bl_corrupt(error, expectation->path, BL_NO_OFFSET, "the log is missing");
    if (status != BOLE_OK)
        return status;
    status = bl_log_file_read_header(file, expectation->path, &header, error);
    if (status == BOLE_OK)
        status = check_header(expectation, &header, error);
    if (status == BOLE_OK)
        status = find_limit(expectation, &header, file, &limit, error);
    if (status != BOLE_OK)
        goto done;
    out->end = header.start;
    out->synced = header.synced;
    out->content_checksum = bl_checksum_seed(header.id);
    if (expectation->end == UINT64_MAX && expectation->followed &&
        expectation->next_start <= expectation->from) {
        out->end = expectation
                       ->next_start; /* all of it is in segments: its records need not be there any more */
        goto done;
    }
    if (vfs->will_need != NULL)
        vfs->will_need(file, 0, limit);
    bl_log_reader_init(&reader, file, expectation->path, &header, limit);
    status = replay_records(expectation, &reader, visit, context, out, error);
done:
    bl_log_reader_deinit(&reader);
    vfs->close(file, NULL);
    return status;
}

bole_status bl_log_read_header(bole_vfs *vfs, const char *path, bl_log_header *out, bole_error *error)
{
    *out = (bl_log_header){ 0 };
    bole_file *file = NULL;
    bole_status status = vfs->open(vfs, path, BOLE_VFS_READ, &file, error);
    if (status != BOLE_OK)
        return status;
    status = bl_log_file_read_header(file, path, out, error);
    vfs->close(file, NULL);
    return status;
}

static bole_status rewrite(bole_file *file, bl_log_reader *reader, uint64_t offset, bole_error *error)
{
    bole_status status = BOLE_OK;
    while (status == BOLE_OK && offset < reader->limit) {
        const uint8_t *bytes = NULL;
        uint64_t size = smaller(reader->limit - offset, BL_LOG_WINDOW_BYTES);
        status = bl_log_reader_view(reader, offset, size, &bytes, error);
        if (status == BOLE_OK)
            status = file->vfs->write(file, offset, bytes, (size_t)size, error);
        offset += size;
    }
    return status;
}

bole_status bl_log_settle(bole_vfs *vfs, const char *path, uint64_t from, uint64_t end, bole_error *error)
{
    if (from >= end)
        return BOLE_OK;
    bole_file *file = NULL;
    bl_log_reader reader = { 0 };
    bl_log_header header;
    bole_status status = vfs->open(vfs, path, BOLE_VFS_READ | BOLE_VFS_WRITE, &file, error);
    if (status != BOLE_OK)
        return status;
    status = bl_log_file_read_header(file, path, &header, error);
    if (status != BOLE_OK)
        goto done;
    if (end < header.start || end - header.start > header.room) {
        status = bl_fail(error, BOLE_INVALID, "%s: position %llu is not in the log", path, LLU(end));
        goto done;
    }
    bl_log_reader_init(&reader, file, path, &header, offset_of(&header, end));
    status = rewrite(file, &reader, offset_of(&header, larger(from, header.start)), error);
    if (status == BOLE_OK)
        status = vfs->sync(file, error);
done:
    bl_log_reader_deinit(&reader);
    bole_status closed = vfs->close(file, status == BOLE_OK ? error : NULL);
    return status != BOLE_OK ? status : closed;
}
