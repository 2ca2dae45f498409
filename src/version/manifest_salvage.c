/* SPDX-License-Identifier: MIT */
/* manifest_salvage.c -- a manifest is read past its damage.
 *
 * An edit verifies by the file's id and its own place, so each can be found by itself: from the end of the last good
 * one the next is looked for at every byte. Edits are shown, not judged: what they add up to is for the visitor.
 * INVARIANTS  (MSALVAGE-1) Only what verifies, and decodes, is shown.
 *             (MSALVAGE-2) The whole file is in memory; the search hashes at most SEARCH_FACTOR times its bytes.
 * THREADS     Any; the file is only read.
 * NOT HERE    What a store that opens asks of its manifest: manifest_scan.c. */
#include "version/manifest_salvage.h"

#include "base/alloc.h"
#include "base/buffer.h"
#include "base/coding.h"
#include "base/status.h"
#include "version/file_name.h"
#include "version/manifest_format.h"

enum { SEARCH_FACTOR = 64 };

typedef struct salvage {
    const char *path;
    const uint8_t *bytes;
    uint64_t size, seed;
    bl_manifest_visit visit;
    void *context;
    bl_manifest_salvaged *out;
    uint64_t allowance, next_ordinal;
} salvage;

static bole_status read_whole(bole_vfs *vfs, const char *path, bole_buffer *out, bole_error *error)
{
    bole_file *file;
    uint64_t length = 0;
    bole_status status = vfs->open(vfs, path, BOLE_VFS_READ, &file, error);
    if (status != BOLE_OK)
        return status;
    status = vfs->length(file, &length, error);
    if (status == BOLE_OK && !bl_buffer_reserve(out, (size_t)length + 1))
        status = bl_fail(error, BOLE_NO_MEMORY, "no memory for the %llu bytes of %s",
                         (unsigned long long)length, path);
    if (status == BOLE_OK)
        status = vfs->read(file, 0, out->data, (size_t)length, &out->size, error);
    (void)vfs->close(file, NULL);
    return status;
}

/* The ids, by the header as far as it is what it was, else by CURRENT. */
static bool find_ids(const bole_buffer *file, const bl_current *current, bl_manifest_salvaged *out)
{
    const uint8_t *bytes = file->data;
    if (file->size >= BL_MANIFEST_HEADER_BYTES) {
        memcpy(out->id.bytes, bytes + 24, BL_ID_BYTES);
        memcpy(out->store_id.bytes, bytes + 40, BL_ID_BYTES);
        out->number = bl_get_u64(bytes + 56);
        if (bl_checksum(bl_checksum_seed(out->id), 0, bytes, BL_MANIFEST_HEADER_BYTES - 8) ==
            bl_get_u64(bytes + BL_MANIFEST_HEADER_BYTES - 8))
            return true;
    }
    out->first_damage = 0;
    out->id = current != NULL ? current->manifest_id : (bl_id){ { 0 } };
    out->store_id = current != NULL ? current->store_id : (bl_id){ { 0 } };
    out->number = current != NULL ? current->manifest_number : 0;
    return current != NULL;
}

/* Is there an edit at `at`? Shows it; *size is that of its record. */
static bool is_edit(salvage *on, uint64_t at, uint64_t *size, bole_status *visited, bole_error *error)
{
    uint64_t rest = on->size - at;
    if (rest <= BL_MANIFEST_RECORD_HEADER_BYTES)
        return false;
    uint64_t length = bl_get_u32(on->bytes + at + 8), ordinal = bl_get_u32(on->bytes + at + 12);
    if (length == 0 || length > rest - BL_MANIFEST_RECORD_HEADER_BYTES || ordinal < on->next_ordinal)
        return false;
    uint64_t covered = BL_MANIFEST_RECORD_HEADER_BYTES - 8 + length;
    if (covered > on->allowance)
        return false;
    on->allowance -= covered;
    if (bl_checksum(on->seed, at, on->bytes + at + 8, covered) != bl_get_u64(on->bytes + at))
        return false;
    bl_decoded_edit decoded;
    bole_error story = BOLE_ERROR_INIT;
    bole_slice bytes = bl_slice(on->bytes + at + BL_MANIFEST_RECORD_HEADER_BYTES, (size_t)length);
    bole_status status = bl_version_edit_decode(bytes, on->path, at, &decoded, &story);
    if (status == BOLE_NO_MEMORY)
        *visited = bl_fail(error, status, "%s", story.message);
    if (status != BOLE_OK)
        return false;
    *size = BL_MANIFEST_RECORD_HEADER_BYTES + length;
    bl_manifest_edit edit = { ordinal, at, *size, &decoded.edit };
    if (ordinal != on->next_ordinal)
        on->out->whole = false;
    *visited = on->visit(on->context, &edit, error);
    bl_decoded_edit_deinit(&decoded);
    on->next_ordinal = ordinal + 1;
    on->out->edits++;
    return true;
}

bole_status bl_manifest_salvage(bole_vfs *vfs, const char *path, const bl_current *current,
                                bl_manifest_visit visit, void *context, bl_manifest_salvaged *out,
                                bole_error *error)
{
    *out = (bl_manifest_salvaged){ .first_damage = UINT64_MAX };
    bole_buffer file = BOLE_BUFFER_INIT;
    bole_status status = read_whole(vfs, path, &file, error);
    if (status == BOLE_OK && !find_ids(&file, current, out))
        status = bl_corrupt(error, path, 0,
                            "the header is damaged, and nothing else says which file this was");
    salvage on = {
        .path = path,
        .bytes = file.data,
        .size = file.size,
        .seed = bl_checksum_seed(out->id),
        .visit = visit,
        .context = context,
        .out = out,
        .allowance = SEARCH_FACTOR * (file.size + 1024),
    };
    out->whole = true;
    for (uint64_t at = BL_MANIFEST_HEADER_BYTES; status == BOLE_OK && at < file.size;) {
        uint64_t size = 0;
        if (is_edit(&on, at, &size, &status, error)) {
            at += size;
            continue;
        }
        if (out->first_damage == UINT64_MAX)
            out->first_damage = at;
        at++;
    }
    out->whole = out->whole && out->edits > 0;
    bole_buffer_free(&file);
    return status;
}
