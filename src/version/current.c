/* SPDX-License-Identifier: MIT */
/* current.c -- CURRENT: which manifest is in force, and was the store closed cleanly?
 *
 * BYTES       offset  size  field                                               (all integers little-endian)
 *                  0     8  magic "boleCURR"
 *                  8     4  format, 1
 *                 12     4  length of the file, 88
 *                 16     8  features that a reader must understand, 0
 *                 24    16  id of the store
 *                 40    16  id of the manifest
 *                 56     8  number of the manifest
 *                 64     8  length of the manifest after a clean close; 0: not closed cleanly
 *                 72     8  its chain of checksums then (manifest.c); 0
 *                 80     8  checksum over all bytes before, from the store's id, place 0
 *             In every format the first 40 bytes keep their meaning and the last 8 are the checksum: so
 *             damage is told from a format that is only newer.
 * INVARIANTS  (CURRENT-1) CURRENT is only replaced as a whole: written beside, synced, renamed, the directory
 *                         synced.
 *             (CURRENT-2) It names a manifest whose snapshot and whose name are on disk.
 *             (CURRENT-3) With the clean mark it says how long that manifest is: then no end of it is ever
 *                         "torn".
 * THREADS     One writer. A reader in another process sees the old one or the new one. */
#include "version/manifest.h"

#include "base/assert.h"
#include "base/coding.h"
#include "base/status.h"
#include "version/file_name.h"

enum { CURRENT_BYTES_MAX = 4096 };
static const char magic[9] = "boleCURR";
BL_STATIC_ASSERT(BL_CURRENT_BYTES == 80 + 8, "the checksum is the end of CURRENT");

static void encode(uint8_t bytes[BL_CURRENT_BYTES], const bl_current *current)
{
    memcpy(bytes, magic, 8);
    bl_put_u32(bytes + 8, BL_CURRENT_FORMAT);
    bl_put_u32(bytes + 12, BL_CURRENT_BYTES);
    bl_put_u64(bytes + 16, 0);
    memcpy(bytes + 24, current->store_id.bytes, BL_ID_BYTES);
    memcpy(bytes + 40, current->manifest_id.bytes, BL_ID_BYTES);
    bl_put_u64(bytes + 56, current->manifest_number);
    bl_put_u64(bytes + 64, current->clean_bytes);
    bl_put_u64(bytes + 72, current->clean_chain);
    bl_put_u64(bytes + 80, bl_checksum(bl_checksum_seed(current->store_id), 0, bytes, 80));
}

/* Everything that is the same in all formats. */
static bole_status check_frame(const uint8_t *bytes, size_t size, const char *path, bole_error *error)
{
    if (size == 0)
        return bl_corrupt(error, path, 0, "the file is empty");
    if (size < 8 || memcmp(bytes, magic, 8) != 0)
        return bl_corrupt(error, path, 0, "this is not a CURRENT of a bole store");
    if (size < BL_CURRENT_BYTES || size > CURRENT_BYTES_MAX || bl_get_u32(bytes + 12) != size)
        return bl_corrupt(error, path, 12, "the file has %zu bytes, which is not its length", size);
    bl_id store_id;
    memcpy(store_id.bytes, bytes + 24, BL_ID_BYTES);
    if (bl_checksum(bl_checksum_seed(store_id), 0, bytes, size - 8) != bl_get_u64(bytes + size - 8))
        return bl_corrupt(error, path, 0, "the checksum does not fit");
    uint32_t format = bl_get_u32(bytes + 8);
    if (format != BL_CURRENT_FORMAT)
        return bl_fail(error, BOLE_UNSUPPORTED, "%s has format %u; this version of bole reads format %d",
                       path, format, (int)BL_CURRENT_FORMAT);
    if (bl_get_u64(bytes + 16) != 0)
        return bl_fail(error, BOLE_UNSUPPORTED,
                       "%s asks for features (%016llx) that this version of bole does not have", path,
                       (unsigned long long)bl_get_u64(bytes + 16));
    if (size != BL_CURRENT_BYTES)
        return bl_corrupt(error, path, 12, "the file has %zu bytes, which is not its length", size);
    return BOLE_OK;
}

static bole_status decode(const uint8_t *bytes, const char *path, bl_current *out, bole_error *error)
{
    bl_current current;
    memcpy(current.store_id.bytes, bytes + 24, BL_ID_BYTES);
    memcpy(current.manifest_id.bytes, bytes + 40, BL_ID_BYTES);
    current.manifest_number = bl_get_u64(bytes + 56);
    current.clean_bytes = bl_get_u64(bytes + 64);
    current.clean_chain = bl_get_u64(bytes + 72);
    if (bl_id_is_zero(current.store_id) || bl_id_is_zero(current.manifest_id))
        return bl_corrupt(error, path, 24, "an id is zero");
    if (current.manifest_number == 0 || current.manifest_number >= BL_FILE_NUMBER_MAX)
        return bl_corrupt(error, path, 56, "it names a manifest with a number that no file has");
    bool clean = current.clean_bytes != 0;
    if ((clean && current.clean_bytes <= BL_MANIFEST_HEADER_BYTES) || (!clean && current.clean_chain != 0))
        return bl_corrupt(error, path, 64, "its mark of a clean close contradicts itself");
    *out = current;
    return BOLE_OK;
}

bole_status bl_current_read(bole_vfs *vfs, const char *directory, bl_current *out, bole_error *error)
{
    *out = (bl_current){ .manifest_number = 0 };
    char path[BL_PATH_BYTES_MAX];
    bl_store_path(path, directory, BL_FILE_CURRENT, 0);
    bole_file *file;
    bole_status status = vfs->open(vfs, path, BOLE_VFS_READ, &file, error);
    if (status == BOLE_NOT_FOUND)
        return bl_fail(error, BOLE_NO_STORE, "there is no store in %s: no file CURRENT", directory);
    if (status != BOLE_OK)
        return status;
    uint8_t bytes[CURRENT_BYTES_MAX + 1];
    size_t got = 0;
    status = vfs->read(file, 0, bytes, sizeof bytes, &got, error);
    bole_status closed = vfs->close(file, status == BOLE_OK ? error : NULL);
    if (status == BOLE_OK)
        status = closed;
    if (status == BOLE_OK)
        status = check_frame(bytes, got, path, error);
    if (status == BOLE_OK)
        status = decode(bytes, path, out, error);
    return status;
}

bole_status bl_current_write(bole_vfs *vfs, const char *directory, const bl_current *current, bool *renamed,
                             bole_error *error)
{
    *renamed = false;
    char path[BL_PATH_BYTES_MAX], temporary[BL_PATH_BYTES_MAX];
    bl_store_path(path, directory, BL_FILE_CURRENT, 0);
    bl_store_path_temporary(temporary, directory, BL_FILE_CURRENT, 0);
    uint8_t bytes[BL_CURRENT_BYTES];
    encode(bytes, current);
    bole_file *file;
    bole_status status = vfs->open(vfs, temporary, BOLE_VFS_WRITE | BOLE_VFS_CREATE | BOLE_VFS_TRUNCATE,
                                   &file, error);
    if (status != BOLE_OK)
        return status;
    status = vfs->write(file, 0, bytes, sizeof bytes, error);
    if (status == BOLE_OK)
        status = vfs->sync(file, error);
    bole_status closed = vfs->close(file, status == BOLE_OK ? error : NULL);
    if (status == BOLE_OK)
        status = closed;
    if (status != BOLE_OK) {
        (void)vfs->remove(vfs, temporary, NULL);
        return status;
    }
    *renamed = true;
    status = vfs->rename(vfs, temporary, path, error);
    return status == BOLE_OK ? vfs->sync_directory(vfs, directory, error) : status;
}
