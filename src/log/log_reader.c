/* SPDX-License-Identifier: MIT */
/* log_reader.c -- the records of a log file, one after the other, and those beyond damage.
 *
 * The file is read in pieces of 1 MiB into a window that slides forward; a longer record grows it, to no
 * more than the
 * bytes that remain below the limit.
 * The search looks at every byte, because records begin at any byte. Length and claim of a candidate are judged
 * before its checksum: a claim must lie in a range no wider than the log, so that of other data hardly anything, of
 * zeros and of records of an earlier life (older claims) nothing, is left to be hashed.
 * INVARIANTS  (LOG-READER-1) No byte at or behind the limit is read.
 *             (LOG-READER-2) The hashing of candidates that fail has an allowance in proportion to the bytes
 *                            searched: a file made to look like records costs no more than about a second.
 * THREADS     A reader belongs to one thread; the file may be read by others.
 * NOT HERE    What damage means: log_replay.c. */
#include "log/log_reader.h"

#include "base/alloc.h"
#include "base/status.h"

void bl_log_reader_init(bl_log_reader *reader, bole_file *file, const char *path, const bl_log_header *header,
                        uint64_t limit)
{
    *reader = (bl_log_reader){ .file = file,
                               .path = path,
                               .start = header->start,
                               .seed = bl_checksum_seed(header->id),
                               .limit = limit };
}

void bl_log_reader_deinit(bl_log_reader *reader)
{
    bl_free(reader->window);
    *reader = (bl_log_reader){ 0 };
}

static uint64_t smaller(uint64_t a, uint64_t b) { return a < b ? a : b; }

static uint64_t larger(uint64_t a, uint64_t b) { return a > b ? a : b; }

/* Room for `bytes` in the window; what is in it is kept. */
static bole_status grow(bl_log_reader *reader, uint64_t bytes, uint64_t remaining, bole_error *error)
{
    if (bytes <= reader->capacity)
        return BOLE_OK;
    uint64_t capacity = smaller(larger(bytes, 2 * (uint64_t)reader->capacity), remaining);
    uint8_t *window = capacity > SIZE_MAX ? NULL : bl_realloc(reader->window, (size_t)capacity);
    if (window == NULL)
        return bl_fail(error, BOLE_NO_MEMORY, "%s: no memory for %llu bytes of the log", reader->path,
                       (unsigned long long)capacity);
    reader->window = window;
    reader->capacity = (size_t)capacity;
    return BOLE_OK;
}

bole_status bl_log_reader_view(bl_log_reader *reader, uint64_t offset, uint64_t bytes, const uint8_t **out,
                               bole_error *error)
{
    *out = NULL;
    bl_assert(offset <= reader->limit && bytes <= reader->limit - offset);
    if (bytes == 0) { /* a log without room has no window, either */
        *out = (const uint8_t *)"";
        return BOLE_OK;
    }
    uint64_t end = reader->base + reader->size;
    if (offset >= reader->base && offset + bytes <= end) {
        *out = reader->window + (offset - reader->base);
        return BOLE_OK;
    }
    size_t kept = 0;
    if (offset >= reader->base && offset < end) {
        kept = (size_t)(end - offset);
        memmove(reader->window, reader->window + (offset - reader->base), kept);
    }
    reader->base = offset;
    reader->size = kept;
    uint64_t remaining = reader->limit - offset;
    uint64_t wanted = smaller(larger(bytes, BL_LOG_WINDOW_BYTES), remaining);
    bole_status status = grow(reader, wanted, remaining, error);
    if (status != BOLE_OK)
        return status;
    size_t got = 0;
    status = reader->file->vfs->read(reader->file, offset + kept, reader->window + kept,
                                     (size_t)wanted - kept, &got, error);
    if (status != BOLE_OK)
        return status;
    reader->size = kept + got;
    if (reader->size < wanted)
        return bl_corrupt(error, reader->path, offset + reader->size,
                          "the file became shorter while it was read: %llu bytes were expected",
                          (unsigned long long)reader->limit);
    *out = reader->window;
    return BOLE_OK;
}

bole_status bl_log_reader_record(bl_log_reader *reader, uint64_t offset, bl_log_record *out, bool *found,
                                 bole_error *error)
{
    *out = (bl_log_record){ 0 };
    *found = false;
    uint64_t remaining = reader->limit - offset;
    if (remaining < BL_LOG_RECORD_BYTES_MIN)
        return BOLE_OK;
    const uint8_t *bytes = NULL;
    bole_status status = bl_log_reader_view(reader, offset, BL_LOG_RECORD_HEADER_BYTES, &bytes, error);
    if (status != BOLE_OK)
        return status;
    uint64_t length = bl_get_u64(bytes + BL_LOG_RECORD_LENGTH_AT);
    if (length == 0 || length > remaining - BL_LOG_RECORD_HEADER_BYTES)
        return BOLE_OK;
    status = bl_log_reader_view(reader, offset, BL_LOG_RECORD_HEADER_BYTES + length, &bytes, error);
    if (status != BOLE_OK)
        return status;
    uint64_t position = bl_log_reader_position(reader, offset);
    if (!bl_log_record_verify(bytes, length, reader->seed, position))
        return BOLE_OK;
    *out = (bl_log_record){ .offset = offset,
                            .position = position,
                            .length = length,
                            .synced = bl_get_u64(bytes + BL_LOG_RECORD_SYNCED_AT),
                            .checksum = bl_get_u64(bytes + BL_LOG_RECORD_CHECKSUM_AT),
                            .payload = bytes + BL_LOG_RECORD_HEADER_BYTES };
    *found = true;
    return BOLE_OK;
}

bole_status bl_log_reader_record_anew(bl_log_reader *reader, uint64_t offset, bl_log_record *out, bool *found,
                                      bole_error *error)
{
    reader->size = 0;
    return bl_log_reader_record(reader, offset, out, found, error);
}

bole_status bl_log_reader_search(bl_log_reader *reader, uint64_t offset, uint64_t claim_min,
                                 bl_log_record *out, bl_log_search *result, bole_error *error)
{
    *out = (bl_log_record){ 0 };
    *result = BL_LOG_SEARCH_NONE;
    uint64_t allowance = offset < reader->limit ? 64 * (reader->limit - offset) + (UINT64_C(16) << 20) : 0;
    while (offset < reader->limit && reader->limit - offset >= BL_LOG_RECORD_BYTES_MIN) {
        uint64_t end = reader->base + reader->size;
        bool usable = offset >= reader->base && offset + BL_LOG_RECORD_BYTES_MIN <= end;
        uint64_t size = usable ? end - offset : smaller(reader->limit - offset, BL_LOG_WINDOW_BYTES);
        const uint8_t *bytes = NULL;
        bole_status status = bl_log_reader_view(reader, offset, size, &bytes, error);
        if (status != BOLE_OK)
            return status;
        size_t index = bl_log_record_search(bytes, (size_t)size, bl_log_reader_position(reader, offset),
                                            reader->limit - offset, claim_min);
        if (index == size) {
            offset += size - (BL_LOG_RECORD_HEADER_BYTES - 1); /* to the first header that was cut off */
            continue;
        }
        offset += index;
        uint64_t cost = bl_get_u64(bytes + index + BL_LOG_RECORD_LENGTH_AT) + BL_LOG_RECORD_HEADER_BYTES;
        bool found = false;
        if (cost > allowance) {
            *result = BL_LOG_SEARCH_LIMIT;
            return BOLE_OK;
        }
        allowance -= cost;
        status = bl_log_reader_record(reader, offset, out, &found, error);
        if (status != BOLE_OK)
            return status;
        if (found) {
            *result = BL_LOG_SEARCH_FOUND;
            return BOLE_OK;
        }
        offset++;
    }
    return BOLE_OK;
}

bole_status bl_log_reader_zero(bl_log_reader *reader, uint64_t offset, bool *zero, bole_error *error)
{
    *zero = true;
    while (*zero && offset < reader->limit) {
        const uint8_t *bytes = NULL;
        uint64_t size = smaller(reader->limit - offset, BL_LOG_WINDOW_BYTES);
        bole_status status = bl_log_reader_view(reader, offset, size, &bytes, error);
        if (status != BOLE_OK)
            return status;
        *zero = bytes[0] == 0 && memcmp(bytes, bytes + 1, (size_t)size - 1) == 0;
        offset += size;
    }
    return BOLE_OK;
}
