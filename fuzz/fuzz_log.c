/* SPDX-License-Identifier: MIT */
/* fuzz_log.c -- a file of the write-ahead log, and what the manifest expects of it: replay, a look inside, settling.
 *
 * INPUT       u8 flags (log_flag), u16 each: from, synced, end, next start (distances from the log's start), 88 bytes
 *             of the header, then the records.
 * CHECKED     Replay accepts exactly the records that a walk of our own accepts, ends where that ends, shows the bytes
 *             of the file, and twice the same. It never calls a tail torn that the manifest, the header or any record
 *             at any byte says was synced (REPLAY-1, REPLAY-2). A look inside covers the file without a gap and begins
 *             with the same records. Settling changes no byte. Memory: a window and twice the file. */
#include "fuzz.h"

#include "base/alloc.h"
#include "base/coding.h"
#include "core/write_batch.h"
#include "log/log_replay.h"

#include <string.h>

enum log_flag {
    END_KNOWN = 2,
    FOLLOWED = 4,
    ROOM_AS_SAID = 8,
    SYNCED_KNOWN = 16,
    FROM_KNOWN = 32,
    SHORT = 64
};
enum { HEADER_INPUT_BYTES = 88, RECORDS_BYTES_MAX = 1 << 16, AT_ROOM = 80, BRUTE_BYTES_MAX = 4096 };

static const char *const path = FUZZ_DIRECTORY "/000007.log";

typedef struct world {
    bole_vfs *vfs;
    uint8_t *image;
    size_t image_bytes;
    bl_log_header header; /* when header_good */
    bool header_good;
    bl_log_expectation expected;
    uint8_t flags;
    /* what was visited */
    uint64_t visited, visited_checksum, last_end;
} world;

/* ---- The file ---- */

static void mend_header(uint8_t *image)
{
    bl_id id;
    memcpy(id.bytes, image + 32, BL_ID_BYTES);
    memcpy(image, "bole.log", 8);
    bl_put_u64(image + BL_LOG_FILE_HEADER_BYTES - 8,
               bl_checksum(bl_checksum_seed(id), UINT64_MAX, image, BL_LOG_FILE_HEADER_BYTES - 8));
}

/* Make a record of what could be one, from the start on. */
static void mend_records(uint8_t *image, size_t bytes)
{
    bl_id id;
    memcpy(id.bytes, image + 32, BL_ID_BYTES);
    uint64_t seed = bl_checksum_seed(id), start = bl_get_u64(image + 64);
    for (size_t at = BL_LOG_FILE_HEADER_BYTES; bytes - at >= BL_LOG_RECORD_BYTES_MIN;) {
        uint64_t length = bl_get_u64(image + at + BL_LOG_RECORD_LENGTH_AT) & 0xffff;
        if (length == 0 || length > bytes - at - BL_LOG_RECORD_HEADER_BYTES)
            return;
        bl_put_u64(image + at + BL_LOG_RECORD_LENGTH_AT, length);
        uint64_t position = start + (at - BL_LOG_FILE_HEADER_BYTES);
        bl_put_u64(image + at, bl_checksum(seed, position, image + at + 8, 16 + (size_t)length));
        at += BL_LOG_RECORD_HEADER_BYTES + (size_t)length;
    }
}

static void make_image(world *w, fuzz_input *input, const uint16_t distances[4])
{
    bole_slice header = fuzz_bytes(input, HEADER_INPUT_BYTES);
    bole_slice records = fuzz_bytes(input, RECORDS_BYTES_MAX);
    size_t room = (records.size + BL_LOG_PAGE_BYTES - 1) / BL_LOG_PAGE_BYTES * BL_LOG_PAGE_BYTES;
    size_t content = BL_LOG_FILE_HEADER_BYTES + records.size;
    w->image_bytes = (w->flags & SHORT) != 0 ? content : BL_LOG_FILE_HEADER_BYTES + room;
    w->image = bl_alloc(w->image_bytes);
    fuzz_check(w->image != NULL);
    memcpy(w->image, header.data, header.size);
    if (records.size != 0)
        memcpy(w->image + BL_LOG_FILE_HEADER_BYTES, records.data, records.size);
    if ((w->flags & ROOM_AS_SAID) == 0)
        bl_put_u64(w->image + AT_ROOM, room);
    if ((w->flags & FUZZ_MEND) != 0) {
        mend_header(w->image);
        mend_records(w->image, content);
    }
    w->header_good = bl_log_header_decode(w->image, path, &w->header, NULL) == BOLE_OK;
    uint64_t start = w->header.start;
    w->expected = (bl_log_expectation){
        .vfs = w->vfs,
        .path = path,
        .number = w->header.number,
        .id = w->header.id,
        .store_id = w->header.store_id,
        .start = start,
        .from = (w->flags & FROM_KNOWN) != 0 ? start + distances[0] : 0,
        .synced = (w->flags & SYNCED_KNOWN) != 0 ? start + distances[1] : 0,
        .end = (w->flags & END_KNOWN) != 0 ? start + distances[2] : UINT64_MAX,
        .followed = (w->flags & FOLLOWED) != 0,
        .next_start = start + distances[3],
    };
}

/* ---- A walk of our own ---- */

typedef struct walked {
    uint64_t records, end, claim; /* claim: highest sync that header or a good record speaks of */
} walked;

static bool record_at(const world *w, size_t at, size_t limit, uint64_t *length, uint64_t *claim)
{
    if (limit - at < BL_LOG_RECORD_BYTES_MIN)
        return false;
    *length = bl_get_u64(w->image + at + 8);
    *claim = bl_get_u64(w->image + at + 16);
    uint64_t position = w->header.start + (at - BL_LOG_FILE_HEADER_BYTES);
    return *length >= 1 && *length <= limit - at - BL_LOG_RECORD_HEADER_BYTES &&
           bl_log_record_verify(w->image + at, *length, bl_checksum_seed(w->header.id), position);
}

static walked walk(const world *w, size_t limit)
{
    walked out = { .claim = w->header.synced, .end = w->header.start };
    uint64_t length, claim;
    for (size_t at = BL_LOG_FILE_HEADER_BYTES; at < limit && record_at(w, at, limit, &length, &claim);) {
        at += BL_LOG_RECORD_HEADER_BYTES + (size_t)length;
        out.records++;
        out.end = w->header.start + (at - BL_LOG_FILE_HEADER_BYTES);
        out.claim = claim > out.claim ? claim : out.claim;
    }
    return out;
}

/* Does a record at any byte behind `end` speak of a sync beyond it? */
static bool later_claim(const world *w, uint64_t end, size_t limit)
{
    uint64_t length, claim;
    for (size_t at = BL_LOG_FILE_HEADER_BYTES + (size_t)(end - w->header.start) + 1; at < limit; at++) {
        uint64_t position = w->header.start + (at - BL_LOG_FILE_HEADER_BYTES);
        if (record_at(w, at, limit, &length, &claim) && claim > end && claim <= position)
            return true;
    }
    return false;
}

/* ---- Replay ---- */

static bole_status visit(void *context, uint64_t position, bole_slice payload, bole_error *error)
{
    (void)error;
    world *w = context;
    fuzz_check(position >= w->header.start && (w->visited == 0 || position >= w->last_end));
    size_t at = BL_LOG_FILE_HEADER_BYTES + (size_t)(position - w->header.start) + BL_LOG_RECORD_HEADER_BYTES;
    fuzz_check(at + payload.size <= w->image_bytes && payload.size >= 1);
    fuzz_check(memcmp(payload.data, w->image + at, payload.size) == 0);
    fuzz_check(w->image[at] == BL_RECORD_BATCH);
    w->last_end = position + BL_LOG_RECORD_HEADER_BYTES + payload.size;
    fuzz_check(w->last_end > w->expected.from);
    w->visited_checksum = bl_checksum(w->visited_checksum, position, payload.data, payload.size);
    w->visited++;
    return BOLE_OK;
}

static bole_status replay(world *w, bl_log_replayed *out)
{
    bole_error error = BOLE_ERROR_INIT;
    w->visited = w->visited_checksum = w->last_end = 0;
    bole_status status = bl_log_replay(&w->expected, visit, w, out, &error);
    fuzz_check(status == BOLE_OK || status == BOLE_CORRUPT || status == BOLE_UNSUPPORTED);
    fuzz_check(status == BOLE_OK || error.message[0] != '\0');
    fuzz_check(status != BOLE_OK || w->header_good);
    return status;
}

static void check_accepted(const world *w, const bl_log_replayed *out)
{
    const bl_log_expectation *expected = &w->expected;
    bool end_known = expected->end != UINT64_MAX;
    if (!end_known && expected->followed && expected->next_start <= expected->from) {
        fuzz_check(out->records == 0 && out->end == expected->next_start);
        return;
    }
    uint64_t bound = end_known ? expected->end : expected->next_start;
    size_t limit = BL_LOG_FILE_HEADER_BYTES +
                   (size_t)(end_known || expected->followed ? bound - w->header.start : w->header.room);
    fuzz_check(limit <= w->image_bytes);
    walked own = walk(w, limit);
    fuzz_check(own.records == out->records && own.end == out->end && own.claim == out->synced);
    fuzz_check(!end_known || out->end == expected->end);
    if (end_known || (expected->followed && out->end == expected->next_start))
        return;
    fuzz_check(expected->synced <= out->end && expected->from <= out->end && own.claim <= out->end);
    if (limit <= BL_LOG_FILE_HEADER_BYTES + BRUTE_BYTES_MAX)
        fuzz_check(!later_claim(w, out->end, limit));
}

/* ---- A look inside ---- */

typedef struct look {
    const world *w;
    uint64_t offset, records, first_records; /* first: before anything that is no record */
    bool only_records, tail;
} look;

static bole_status visit_item(void *context, const bl_log_item *item, bole_error *error)
{
    (void)error;
    look *l = context;
    fuzz_check(item->offset == l->offset && item->bytes > 0 && !l->tail);
    l->offset += item->bytes;
    l->tail = item->kind == BL_LOG_ITEM_TAIL;
    l->only_records = l->only_records && item->kind == BL_LOG_ITEM_RECORD;
    if (item->kind == BL_LOG_ITEM_RECORD) {
        size_t at = (size_t)item->offset + BL_LOG_RECORD_HEADER_BYTES;
        fuzz_check(memcmp(item->payload.data, l->w->image + at, item->payload.size) == 0);
        l->records++;
        l->first_records += l->only_records;
    }
    return BOLE_OK;
}

static void check_look(const world *w)
{
    bl_log_scanned out;
    bole_error error = BOLE_ERROR_INIT;
    look l = { .w = w, .offset = BL_LOG_FILE_HEADER_BYTES, .only_records = true };
    bole_status status = bl_log_scan(w->vfs, path, visit_item, &l, &out, &error);
    fuzz_check(w->header_good ? status == BOLE_OK : status == BOLE_CORRUPT || status == BOLE_UNSUPPORTED);
    if (status != BOLE_OK)
        return;
    uint64_t end = BL_LOG_FILE_HEADER_BYTES + w->header.room;
    end = w->image_bytes < end ? w->image_bytes : end;
    fuzz_check(l.offset == end && l.records == out.records);
    fuzz_check(l.first_records == walk(w, (size_t)end).records);
}

static void check_settled(world *w, const bl_log_replayed *before)
{
    bole_error error = BOLE_ERROR_INIT;
    bl_log_replayed after;
    size_t size = 0;
    if (before->end - w->header.start <= w->header.room)
        fuzz_check_ok(bl_log_settle(w->vfs, path, w->header.start, before->end, &error), &error);
    uint8_t *now = fuzz_file_read(w->vfs, path, &size);
    fuzz_check(size == w->image_bytes && memcmp(now, w->image, size) == 0);
    bl_free(now);
    uint64_t visited = w->visited, checksum = w->visited_checksum;
    fuzz_check(replay(w, &after) == BOLE_OK);
    fuzz_check(visited == w->visited && checksum == w->visited_checksum);
    fuzz_check(memcmp(before, &after, sizeof after) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    fuzz_input input = { data, size };
    world w = { .flags = fuzz_u8(&input) };
    uint16_t distances[4];
    for (unsigned i = 0; i < 4; i++)
        distances[i] = (uint16_t)fuzz_number(&input, 2);
    if (input.size < HEADER_INPUT_BYTES)
        return 0;
    w.vfs = fuzz_disk(1);
    make_image(&w, &input, distances);
    fuzz_file_write(w.vfs, path, w.image, w.image_bytes);
    fuzz_memory_begin();
    bl_log_replayed replayed;
    bole_status status = replay(&w, &replayed);
    if (status == BOLE_OK)
        check_accepted(&w, &replayed);
    check_look(&w);
    fuzz_memory_end(w.image_bytes, 2, 2 * (1 << 20)); /* the reader's window is 1 MiB */
    if (status == BOLE_OK)
        check_settled(&w, &replayed);
    bl_free(w.image);
    bole_vfs_destroy(w.vfs);
    return 0;
}
