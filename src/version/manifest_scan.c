/* SPDX-License-Identifier: MIT */
/* manifest_scan.c -- a manifest is read: edit by edit, and its end judged.
 *
 * DAMAGE      A record is written only when all before it are synced (MANIFEST-1). So at most one record, the
 *             last, can be torn. When a record is bad, all that follows is searched, at every byte, for a
 *             good record with a higher ordinal: found, the bad one was synced and is damaged: BOLE_CORRUPT.
 *             Not found, it is torn, unless CURRENT vouches for it: the snapshot always (CURRENT-2),
 *             everything after a clean close (CURRENT-3). What follows a torn record is part of it, so it is
 *             never longer than an edit may be.
 * INVARIANTS  (SCAN-1) Every length is bounded by the bytes that remain before anything is allocated.
 *             (SCAN-2) Work is bounded: the search hashes at most SEARCH_FACTOR times the bytes that it looks
 *                      at, and a file that is made to need more is reported as damaged.
 *             (SCAN-3) Nothing is written.
 * THREADS     Any; a writer of another process may append meanwhile: the scan goes by the length at its
 *             start, and what was half written then looks torn. */
#include "version/manifest.h"

#include "base/alloc.h"
#include "base/assert.h"
#include "base/coding.h"
#include "base/status.h"
#include "version/file_name.h"
#include "version/manifest_format.h"

enum { HEADER_BYTES_MAX = 4096, WINDOW_BYTES = 256 * 1024, SEARCH_FACTOR = 64 };

typedef struct manifest_scan {
    bole_vfs *vfs;
    bole_file *file;
    const char *path;
    const bl_current *current; /* or NULL */
    bl_manifest_visit visit;
    void *context;
    bl_manifest_scanned *out;
    bole_error *error;
    uint64_t seed;
    uint8_t *window; /* file bytes [window_start, window_end) */
    uint64_t window_start, window_end;
    size_t window_room;
} manifest_scan;

/* Make [offset, offset + size) of the file readable at *out, until the next call. The range is inside the
 * file. */
static bole_status look(manifest_scan *scan, uint64_t offset, size_t size, const uint8_t **out)
{
    bl_assert(offset <= scan->out->file_bytes && size <= scan->out->file_bytes - offset);
    if (offset < scan->window_start || offset + size > scan->window_end) {
        uint64_t rest = scan->out->file_bytes - offset;
        size_t wanted = size > WINDOW_BYTES ? size : rest < WINDOW_BYTES ? (size_t)rest : WINDOW_BYTES;
        if (wanted > scan->window_room) {
            bl_free(scan->window);
            scan->window_room = 0;
            scan->window = bl_alloc(wanted);
            if (scan->window == NULL)
                return bl_fail(scan->error, BOLE_NO_MEMORY, "no memory to read %zu bytes of %s", wanted,
                               scan->path);
            scan->window_room = wanted;
        }
        size_t got = 0;
        scan->window_start = scan->window_end = 0;
        bole_status status = scan->vfs->read(scan->file, offset, scan->window, wanted, &got, scan->error);
        if (status != BOLE_OK)
            return status;
        if (got < size)
            return bl_corrupt(scan->error, scan->path, offset + got, "the file ends while it is being read");
        scan->window_start = offset;
        scan->window_end = offset + got;
    }
    *out = scan->window + (offset - scan->window_start);
    return BOLE_OK;
}

/* ---- Header ---- */

/* What is the same in every format. Shows the header. */
static bole_status check_frame(manifest_scan *scan, const uint8_t **out, size_t *size)
{
    const uint8_t *bytes;
    uint64_t file_bytes = scan->out->file_bytes;
    if (file_bytes < BL_MANIFEST_HEADER_BYTES)
        return bl_corrupt(scan->error, scan->path, 0, "the file has %llu bytes, less than a header",
                          (unsigned long long)file_bytes);
    size_t most = file_bytes < HEADER_BYTES_MAX ? (size_t)file_bytes : HEADER_BYTES_MAX;
    bole_status status = look(scan, 0, most, &bytes);
    if (status != BOLE_OK)
        return status;
    if (memcmp(bytes, BL_MANIFEST_MAGIC, 8) != 0)
        return bl_corrupt(scan->error, scan->path, 0, "this is not a manifest");
    uint32_t length = bl_get_u32(bytes + 12);
    if (length < BL_MANIFEST_HEADER_BYTES || length > most)
        return bl_corrupt(scan->error, scan->path, 12, "the header's length is out of range");
    memcpy(scan->out->id.bytes, bytes + 24, BL_ID_BYTES);
    scan->seed = bl_checksum_seed(scan->out->id);
    if (bl_checksum(scan->seed, 0, bytes, length - 8) != bl_get_u64(bytes + length - 8))
        return bl_corrupt(scan->error, scan->path, 0, "the header's checksum does not fit");
    uint32_t format = bl_get_u32(bytes + 8);
    if (format != BL_MANIFEST_FORMAT)
        return bl_fail(scan->error, BOLE_UNSUPPORTED,
                       "%s has format %u; this version of bole reads format %d", scan->path, format,
                       (int)BL_MANIFEST_FORMAT);
    if (bl_get_u64(bytes + 16) != 0)
        return bl_fail(scan->error, BOLE_UNSUPPORTED,
                       "%s asks for features (%016llx) that this version of bole does not have", scan->path,
                       (unsigned long long)bl_get_u64(bytes + 16));
    *size = length;
    *out = bytes;
    return BOLE_OK;
}

static bole_status read_header(manifest_scan *scan)
{
    size_t length = 0;
    const uint8_t *bytes = NULL;
    bole_status status = check_frame(scan, &bytes, &length);
    if (status != BOLE_OK)
        return status;
    bl_manifest_scanned *out = scan->out;
    memcpy(out->store_id.bytes, bytes + 40, BL_ID_BYTES);
    out->number = bl_get_u64(bytes + 56);
    out->chain = bl_get_u64(bytes + length - 8);
    out->bytes = length;
    if (length != BL_MANIFEST_HEADER_BYTES || out->number == 0 || out->number >= BL_FILE_NUMBER_MAX ||
        bl_id_is_zero(out->id) || bl_id_is_zero(out->store_id))
        return bl_corrupt(scan->error, scan->path, 0, "the header says what no header says");
    const bl_current *current = scan->current;
    if (current != NULL &&
        (out->number != current->manifest_number || !bl_id_equal(out->id, current->manifest_id) ||
         !bl_id_equal(out->store_id, current->store_id)))
        return bl_corrupt(scan->error, scan->path, 24,
                          "this is another manifest than the one that CURRENT names");
    return BOLE_OK;
}

/* ---- Records ---- */

typedef enum record_kind { RECORD_GOOD, RECORD_BAD } record_kind;

/* Is there a record at out->bytes, and is it whole? */
static bole_status read_record(manifest_scan *scan, record_kind *kind, uint64_t *checksum, bole_slice *edit)
{
    uint64_t offset = scan->out->bytes, rest = scan->out->file_bytes - offset;
    const uint8_t *bytes;
    *kind = RECORD_BAD;
    if (rest <= BL_MANIFEST_RECORD_HEADER_BYTES)
        return BOLE_OK;
    bole_status status = look(scan, offset, BL_MANIFEST_RECORD_HEADER_BYTES, &bytes);
    if (status != BOLE_OK)
        return status;
    uint64_t length = bl_get_u32(bytes + 8);
    if (length == 0 || length > rest - BL_MANIFEST_RECORD_HEADER_BYTES ||
        (scan->out->edits > 0 && length > BL_VERSION_EDIT_BYTES_MAX))
        return BOLE_OK;
    status = look(scan, offset, BL_MANIFEST_RECORD_HEADER_BYTES + (size_t)length, &bytes);
    if (status != BOLE_OK)
        return status;
    *checksum = bl_get_u64(bytes);
    size_t covered = BL_MANIFEST_RECORD_HEADER_BYTES - 8 + (size_t)length;
    if (bl_checksum(scan->seed, offset, bytes + 8, covered) != *checksum)
        return BOLE_OK;
    if (bl_get_u32(bytes + 12) != scan->out->edits)
        return bl_corrupt(scan->error, scan->path, offset, "an edit stands at another's place");
    *edit = bl_slice(bytes + BL_MANIFEST_RECORD_HEADER_BYTES, (size_t)length);
    *kind = RECORD_GOOD;
    return BOLE_OK;
}

static bole_status visit_record(manifest_scan *scan, uint64_t checksum, bole_slice bytes)
{
    bl_manifest_scanned *out = scan->out;
    uint64_t offset = out->bytes, size = BL_MANIFEST_RECORD_HEADER_BYTES + bytes.size;
    bl_decoded_edit decoded;
    bole_status status = bl_version_edit_decode(bytes, scan->path, offset, &decoded, scan->error);
    if (status != BOLE_OK)
        return status;
    bl_manifest_edit edit = { out->edits, offset, size, &decoded.edit };
    if (scan->visit != NULL)
        status = scan->visit(scan->context, &edit, scan->error);
    bl_decoded_edit_deinit(&decoded);
    if (status != BOLE_OK)
        return status;
    out->chain = bl_manifest_chain_next(scan->seed, offset, out->chain, checksum);
    out->bytes += size;
    out->edits++;
    if (out->edits == 1)
        out->snapshot_bytes = out->bytes;
    return BOLE_OK;
}

/* ---- The end ---- */

/* The record at out->bytes is bad. Does a good one behind it say that it was synced? */
static bole_status search_later_record(manifest_scan *scan)
{
    const bl_manifest_scanned *out = scan->out;
    uint64_t rest = out->file_bytes - out->bytes, hashed = 0;
    const uint8_t *tail;
    if (rest > BL_MANIFEST_RECORD_HEADER_BYTES + BL_VERSION_EDIT_BYTES_MAX)
        return bl_corrupt(scan->error, scan->path, out->bytes,
                          "edit %llu is damaged, and more stands behind it than one edit can be",
                          (unsigned long long)out->edits);
    bole_status status = look(scan, out->bytes, (size_t)rest, &tail);
    if (status != BOLE_OK)
        return status;
    for (uint64_t at = 1; at + BL_MANIFEST_RECORD_HEADER_BYTES < rest; at++) {
        uint64_t length = bl_get_u32(tail + at + 8), ordinal = bl_get_u32(tail + at + 12);
        if (ordinal <= out->edits || ordinal - out->edits > at || length == 0 ||
            length > rest - at - BL_MANIFEST_RECORD_HEADER_BYTES)
            continue;
        size_t covered = BL_MANIFEST_RECORD_HEADER_BYTES - 8 + (size_t)length;
        hashed += covered;
        bool found = bl_checksum(scan->seed, out->bytes + at, tail + at + 8, covered) ==
                     bl_get_u64(tail + at);
        if (found || hashed > (uint64_t)SEARCH_FACTOR * (rest + WINDOW_BYTES))
            return bl_corrupt(scan->error, scan->path, out->bytes,
                              found ? "edit %llu is damaged: edit %llu at offset %llu was written behind it"
                                    : "edit %llu is damaged: what stands behind it is no torn edit",
                              (unsigned long long)out->edits, (unsigned long long)ordinal,
                              (unsigned long long)(out->bytes + at));
    }
    return BOLE_OK;
}

static bole_status judge_end(manifest_scan *scan)
{
    bl_manifest_scanned *out = scan->out;
    const bl_current *current = scan->current;
    bool bad = out->bytes != out->file_bytes;
    if (current != NULL && out->edits == 0)
        return bl_corrupt(scan->error, scan->path, out->bytes, "the first edit, the snapshot, is damaged");
    if (current != NULL && current->clean_bytes != 0) {
        if (bad || out->bytes != current->clean_bytes)
            return bl_corrupt(
                scan->error, scan->path, out->bytes < out->file_bytes ? out->bytes : out->file_bytes,
                "the store was closed cleanly with a manifest of %llu bytes, and %llu are good now",
                (unsigned long long)current->clean_bytes, (unsigned long long)out->bytes);
        if (out->chain != current->clean_chain)
            return bl_corrupt(scan->error, scan->path, 0, "the edits are not those of the clean close");
        return BOLE_OK;
    }
    bole_status status = bad ? search_later_record(scan) : BOLE_OK;
    out->torn = bad;
    if (status == BOLE_OK && bad)
        BL_MARK("torn edit dropped");
    return status;
}

static bole_status scan_file(manifest_scan *scan)
{
    bole_status status = scan->vfs->length(scan->file, &scan->out->file_bytes, scan->error);
    if (status == BOLE_OK)
        status = read_header(scan);
    while (status == BOLE_OK && scan->out->bytes < scan->out->file_bytes) {
        record_kind kind;
        uint64_t checksum;
        bole_slice edit;
        status = read_record(scan, &kind, &checksum, &edit);
        if (status != BOLE_OK)
            return status;
        if (kind == RECORD_BAD)
            break;
        status = visit_record(scan, checksum, edit);
    }
    return status == BOLE_OK ? judge_end(scan) : status;
}

bole_status bl_manifest_scan(bole_vfs *vfs, const char *path, const bl_current *current,
                             bl_manifest_visit visit, void *context, bl_manifest_scanned *out,
                             bole_error *error)
{
    *out = (bl_manifest_scanned){ .number = 0 };
    manifest_scan scanner = {
        .vfs = vfs,
        .path = path,
        .current = current,
        .visit = visit,
        .context = context,
        .out = out,
        .error = error,
    };
    bole_status status = vfs->open(vfs, path, BOLE_VFS_READ, &scanner.file, error);
    if (status != BOLE_OK)
        return status;
    status = scan_file(&scanner);
    bole_status closed = vfs->close(scanner.file, status == BOLE_OK ? error : NULL);
    bl_free(scanner.window);
    return status != BOLE_OK ? status : closed;
}
