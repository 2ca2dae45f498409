/* SPDX-License-Identifier: MIT */
/* manifest.c -- a manifest is made, and appended to.
 *
 * HEADER      offset  size  field                                               (all integers little-endian)
 *                  0     8  magic "boleMANI"
 *                  8     4  format, 1
 *                 12     4  length of the header, 72
 *                 16     8  features that a reader must understand, 0
 *                 24    16  id of this file, random
 *                 40    16  id of the store
 *                 56     8  number of this file
 *                 64     8  checksum over all bytes before, from the file's id, place 0
 *             In every format the first 40 bytes keep their meaning and the last 8 of the header are the
 *             checksum.
 * RECORD           0     8  checksum over all bytes behind it, from the file's id, place = offset of the
 *                  record
 *                  8     4  length of the edit, at least 1
 *                 12     4  ordinal: 0 for the first record of the file, then one more each
 *                 16     n  one edit (version_edit.c); the first record is a snapshot, the others are not
 * CHAIN       c(header) = its checksum; c(record) = checksum over (chain so far, the record's checksum), from
 *             the file's id, place = offset of the record. After a clean close CURRENT holds length and
 *             chain.
 * INVARIANTS  (MANIFEST-1) A record is written only when all before it are synced: so a good record vouches
 *                          for the whole file before it.
 *             (MANIFEST-2) After a failure a manifest is never appended to again: what a second sync says
 *                          proves nothing, and a torn record must stay the last.
 *             (MANIFEST-3) A record of another file, of another place, or of another life of this file number
 *                          never verifies.
 * THREADS     One at a time: who has the version set's turn.
 * NOT HERE    Reading: manifest_scan.c.   Which manifest is in force: current.c.   When to roll over:
 *             version_set.c. */
#include "version/manifest.h"

#include "base/alloc.h"
#include "base/assert.h"
#include "base/buffer.h"
#include "base/coding.h"
#include "base/status.h"
#include "version/file_name.h"
#include "version/manifest_format.h"

struct bl_manifest {
    bole_vfs *vfs;
    bole_file *file;
    uint64_t number;
    bl_id id;
    uint64_t seed;
    uint64_t bytes; /* all of them synced */
    uint64_t chain;
    uint32_t ordinal; /* of the next record */
    bool failed;
};

uint64_t bl_manifest_number(const bl_manifest *manifest) { return manifest->number; }
bl_id bl_manifest_id(const bl_manifest *manifest) { return manifest->id; }
uint64_t bl_manifest_bytes(const bl_manifest *manifest) { return manifest->bytes; }
uint64_t bl_manifest_chain(const bl_manifest *manifest) { return manifest->chain; }

uint64_t bl_manifest_chain_next(uint64_t seed, uint64_t offset, uint64_t chain, uint64_t checksum)
{
    uint8_t bytes[16];
    bl_put_u64(bytes, chain);
    bl_put_u64(bytes + 8, checksum);
    return bl_checksum(seed, offset, bytes, sizeof bytes);
}

static void put_header(uint8_t bytes[BL_MANIFEST_HEADER_BYTES], bl_id id, bl_id store_id, uint64_t number)
{
    memcpy(bytes, BL_MANIFEST_MAGIC, 8);
    bl_put_u32(bytes + 8, BL_MANIFEST_FORMAT);
    bl_put_u32(bytes + 12, BL_MANIFEST_HEADER_BYTES);
    bl_put_u64(bytes + 16, 0);
    memcpy(bytes + 24, id.bytes, BL_ID_BYTES);
    memcpy(bytes + 40, store_id.bytes, BL_ID_BYTES);
    bl_put_u64(bytes + 56, number);
    bl_put_u64(bytes + 64, bl_checksum(bl_checksum_seed(id), 0, bytes, 64));
}

/* Append the bytes of the next record to `out`; returns its checksum. The caller has made room. */
static uint64_t put_record(const bl_manifest *manifest, uint64_t offset, bole_slice edit, uint8_t *out)
{
    bl_assert(edit.size >= 1 && edit.size <= UINT32_MAX);
    bl_put_u32(out + 8, (uint32_t)edit.size);
    bl_put_u32(out + 12, manifest->ordinal);
    memcpy(out + BL_MANIFEST_RECORD_HEADER_BYTES, edit.data, edit.size);
    uint64_t checksum = bl_checksum(manifest->seed, offset, out + 8,
                                    BL_MANIFEST_RECORD_HEADER_BYTES - 8 + edit.size);
    bl_put_u64(out, checksum);
    return checksum;
}

/* Write header (when the file is new) and one record in one piece, and sync. */
static bole_status write_record(bl_manifest *manifest, const uint8_t *header, bole_slice edit,
                                bole_error *error)
{
    size_t front = header == NULL ? 0 : BL_MANIFEST_HEADER_BYTES;
    uint64_t offset = manifest->bytes + front;
    size_t size = front + BL_MANIFEST_RECORD_HEADER_BYTES + edit.size;
    bole_buffer bytes = BOLE_BUFFER_INIT;
    if (!bl_buffer_reserve(&bytes, size))
        return bl_fail(error, BOLE_NO_MEMORY, "no memory for a record of a manifest");
    if (header != NULL)
        memcpy(bytes.data, header, front);
    uint64_t checksum = put_record(manifest, offset, edit, (uint8_t *)bytes.data + front);
    manifest->failed = true; /* until it is synced: (MANIFEST-2) */
    bole_status status = manifest->vfs->write(manifest->file, manifest->bytes, bytes.data, size, error);
    if (status == BOLE_OK)
        status = manifest->vfs->sync(manifest->file, error);
    bole_buffer_free(&bytes);
    if (status != BOLE_OK)
        return status;
    manifest->failed = false;
    manifest->bytes += size;
    manifest->chain = bl_manifest_chain_next(manifest->seed, offset, manifest->chain, checksum);
    manifest->ordinal++;
    return BOLE_OK;
}

bole_status bl_manifest_create(bole_vfs *vfs, const char *directory, uint64_t number, bl_id store_id,
                               bole_slice snapshot, bl_manifest **out, bole_error *error)
{
    *out = NULL;
    char path[BL_PATH_BYTES_MAX];
    bl_store_path(path, directory, BL_FILE_MANIFEST, number);
    bl_manifest *manifest = bl_new(bl_manifest);
    if (manifest == NULL)
        return bl_fail(error, BOLE_NO_MEMORY, "no memory for a manifest");
    manifest->vfs = vfs;
    manifest->number = number;
    bool made = false;
    uint8_t header[BL_MANIFEST_HEADER_BYTES];
    bole_status status = vfs->random(vfs, manifest->id.bytes, BL_ID_BYTES, error);
    if (status != BOLE_OK)
        goto fail;
    put_header(header, manifest->id, store_id, number);
    manifest->seed = bl_checksum_seed(manifest->id);
    manifest->chain = bl_get_u64(header + 64);
    status = vfs->open(vfs, path, BOLE_VFS_WRITE | BOLE_VFS_CREATE | BOLE_VFS_EXCLUSIVE, &manifest->file,
                       error);
    if (status != BOLE_OK)
        goto fail;
    made = true;
    status = write_record(manifest, header, snapshot, error);
    if (status == BOLE_OK)
        status = vfs->sync_directory(vfs, directory, error);
    if (status != BOLE_OK)
        goto fail;
    *out = manifest;
    return BOLE_OK;
fail:
    bl_manifest_close(manifest);
    if (made)
        (void)vfs->remove(vfs, path, NULL);
    return status;
}

bole_status bl_manifest_open(bole_vfs *vfs, const char *directory, const bl_manifest_scanned *scanned,
                             bl_manifest **out, bole_error *error)
{
    *out = NULL;
    bl_assert(!scanned->torn && scanned->edits > 0 && scanned->bytes == scanned->file_bytes);
    char path[BL_PATH_BYTES_MAX];
    bl_store_path(path, directory, BL_FILE_MANIFEST, scanned->number);
    bl_manifest *manifest = bl_new(bl_manifest);
    if (manifest == NULL)
        return bl_fail(error, BOLE_NO_MEMORY, "no memory for a manifest");
    *manifest = (bl_manifest){
        .vfs = vfs,
        .number = scanned->number,
        .id = scanned->id,
        .seed = bl_checksum_seed(scanned->id),
        .bytes = scanned->bytes,
        .chain = scanned->chain,
        .ordinal = (uint32_t)scanned->edits,
    };
    bole_status status = vfs->open(vfs, path, BOLE_VFS_WRITE, &manifest->file, error);
    if (status != BOLE_OK) {
        bl_manifest_close(manifest);
        return status;
    }
    *out = manifest;
    return BOLE_OK;
}

bole_status bl_manifest_append(bl_manifest *manifest, bole_slice edit, bole_error *error)
{
    bl_assert(!manifest->failed && manifest->ordinal != 0);
    return write_record(manifest, NULL, edit, error);
}

void bl_manifest_close(bl_manifest *manifest)
{
    if (manifest == NULL)
        return;
    if (manifest->file != NULL)
        (void)manifest->vfs->close(manifest->file, NULL); /* all that counts is synced */
    bl_free(manifest);
}
