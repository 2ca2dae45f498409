/* SPDX-License-Identifier: MIT */
/* log_file.c -- the file under a log: its header, and how it is made.
 *
 * FILE        the header's page, then room for records, whole pages; it has its full length from the beginning and
 *             keeps it, so that a shorter file is a damaged one.
 * HEADER      offset  size  field                                                  (all integers little-endian)
 *                  0     8  magic      "bole.log"
 *                  8     4  format version, 1
 *                 12     4  way        0 mapped, 1 written
 *                 16     8  feature bits that a reader must understand; none is defined yet
 *                 24     8  number     of the file
 *                 32    16  log id     random: every checksum of the file starts from it
 *                 48    16  store id   of the store it was made for
 *                 64     8  start      position of the first record
 *                 72     8  synced     position known to be on disk when the file was made, at most start
 *                 80     8  room       bytes for records, a multiple of 4096
 *                 88  4000  zero
 *               4088     8  checksum   bl_checksum(seed of the log id, 2^64 - 1, the 4088 bytes before)
 *             Magic, version, feature bits, log id and checksum keep their places in every version, so that damage
 *             is told from a file of a later bole.
 * INVARIANTS  (LOG-FILE-1) The header is written once, before the log is named in the manifest, and never again.
 *             (LOG-FILE-2) The length never changes after that.
 * THREADS     Any; a file belongs to its opener.
 * NOT HERE    When a file may be recycled: the engine, after bl_log_retired. */
#include "log/log_file.h"

#include "base/assert.h"
#include "base/coding.h"
#include "base/status.h"
#include "core/internal_key.h"

enum {
    AT_MAGIC = 0,
    AT_VERSION = 8,
    AT_WAY = 12,
    AT_FEATURES = 16,
    AT_NUMBER = 24,
    AT_ID = 32,
    AT_STORE_ID = 48,
    AT_START = 64,
    AT_SYNCED = 72,
    AT_ROOM = 80,
    AT_END = 88,
    AT_CHECKSUM = BL_LOG_FILE_HEADER_BYTES - 8,
};
BL_STATIC_ASSERT(AT_STORE_ID == AT_ID + BL_ID_BYTES && AT_START == AT_STORE_ID + BL_ID_BYTES,
                 "ids are 16 bytes");

static const char magic[8] = { 'b', 'o', 'l', 'e', '.', 'l', 'o', 'g' };
static const uint64_t known_features = 0;

static uint64_t header_checksum(const uint8_t *header, bl_id id)
{
    return bl_checksum(bl_checksum_seed(id), UINT64_MAX, header, AT_CHECKSUM);
}

void bl_log_header_encode(const bl_log_header *header, uint8_t out[BL_LOG_FILE_HEADER_BYTES])
{
    bl_assert(header->version == BL_LOG_FORMAT_VERSION);
    bl_assert(header->synced <= header->start);
    bl_assert(header->room % BL_LOG_PAGE_BYTES == 0);
    memset(out, 0, BL_LOG_FILE_HEADER_BYTES);
    memcpy(out + AT_MAGIC, magic, sizeof magic);
    bl_put_u32(out + AT_VERSION, header->version);
    bl_put_u32(out + AT_WAY, header->way);
    bl_put_u64(out + AT_FEATURES, known_features);
    bl_put_u64(out + AT_NUMBER, header->number);
    memcpy(out + AT_ID, header->id.bytes, BL_ID_BYTES);
    memcpy(out + AT_STORE_ID, header->store_id.bytes, BL_ID_BYTES);
    bl_put_u64(out + AT_START, header->start);
    bl_put_u64(out + AT_SYNCED, header->synced);
    bl_put_u64(out + AT_ROOM, header->room);
    bl_put_u64(out + AT_CHECKSUM, header_checksum(out, header->id));
}

bole_status bl_log_header_decode(const uint8_t in[BL_LOG_FILE_HEADER_BYTES], const char *path,
                                 bl_log_header *out, bole_error *error)
{
    *out = (bl_log_header){ 0 };
    bl_log_header header = { 0 };
    if (memcmp(in + AT_MAGIC, magic, sizeof magic) != 0)
        return bl_corrupt(error, path, AT_MAGIC, "this is no log: it does not begin with \"bole.log\"");
    memcpy(header.id.bytes, in + AT_ID, BL_ID_BYTES);
    if (bl_get_u64(in + AT_CHECKSUM) != header_checksum(in, header.id))
        return bl_corrupt(error, path, AT_CHECKSUM, "the checksum of the log's header is wrong");
    header.version = bl_get_u32(in + AT_VERSION);
    if (header.version != BL_LOG_FORMAT_VERSION)
        return bl_fail(error, BOLE_UNSUPPORTED, "%s: a log of format version %u; this bole reads version %d",
                       path, header.version, BL_LOG_FORMAT_VERSION);
    uint64_t unknown = bl_get_u64(in + AT_FEATURES) & ~known_features;
    if (unknown != 0)
        return bl_fail(error, BOLE_UNSUPPORTED,
                       "%s: the log needs features that this bole does not know (0x%llx)", path,
                       (unsigned long long)unknown);
    header.way = bl_get_u32(in + AT_WAY);
    header.number = bl_get_u64(in + AT_NUMBER);
    memcpy(header.store_id.bytes, in + AT_STORE_ID, BL_ID_BYTES);
    header.start = bl_get_u64(in + AT_START);
    header.synced = bl_get_u64(in + AT_SYNCED);
    header.room = bl_get_u64(in + AT_ROOM);
    if (header.way > BL_LOG_WRITTEN)
        return bl_corrupt(error, path, AT_WAY, "there is no way %u to write a log", header.way);
    if (header.start > BL_SEQUENCE_MAX || header.room > BL_SEQUENCE_MAX - header.start ||
        header.room % BL_LOG_PAGE_BYTES != 0 || header.synced > header.start)
        return bl_corrupt(error, path, AT_START, "start %llu, synced %llu and room %llu do not fit together",
                          (unsigned long long)header.start, (unsigned long long)header.synced,
                          (unsigned long long)header.room);
    *out = header;
    return BOLE_OK;
}

bole_status bl_log_file_read_header(bole_file *file, const char *path, bl_log_header *out, bole_error *error)
{
    *out = (bl_log_header){ 0 };
    uint8_t bytes[BL_LOG_FILE_HEADER_BYTES];
    size_t got = 0;
    bole_status status = file->vfs->read(file, 0, bytes, sizeof bytes, &got, error);
    if (status != BOLE_OK)
        return status;
    if (got < sizeof bytes)
        return bl_corrupt(error, path, got, "the file ends in the header of the log");
    return bl_log_header_decode(bytes, path, out, error);
}

/* A recycled file gets exactly its new length, and zeros where its way wants them. */
static bole_status fit_recycled(bole_file *file, uint64_t bytes, bl_log_way way, bole_error *error)
{
    uint64_t length = 0;
    bole_status status = file->vfs->length(file, &length, error);
    if (status == BOLE_OK && length > bytes)
        status = file->vfs->truncate(file, bytes, error);
    if (status == BOLE_OK && way == BL_LOG_MAPPED)
        status = file->vfs->allocate(file, 0, bytes, true, error);
    else if (status == BOLE_OK && length < bytes)
        status = file->vfs->allocate(file, length, bytes - length, false, error);
    return status;
}

/* Give a retired file its new name. The name must be free: a rename would silently take a living log's. */
static bole_status rename_recycled(bole_vfs *vfs, const char *recycle_path, const char *path,
                                   bole_error *error)
{
    bool is_directory = false;
    bole_error unused = BOLE_ERROR_INIT;
    bole_status status = vfs->exists(vfs, path, &is_directory, &unused);
    if (status == BOLE_OK)
        return bl_fail(error, BOLE_EXISTS, "%s exists already: %s is not renamed to it", path, recycle_path);
    return vfs->rename(vfs, recycle_path, path, error);
}

bole_status bl_log_file_make(bole_vfs *vfs, const char *path, const char *recycle_path, uint64_t bytes,
                             bl_log_way way, bole_file **out, bole_error *error)
{
    *out = NULL;
    bl_assert(bytes % BL_LOG_PAGE_BYTES == 0 && bytes > BL_LOG_FILE_HEADER_BYTES);
    bole_file *file = NULL;
    bool recycled = recycle_path != NULL;
    uint32_t flags = BOLE_VFS_READ | BOLE_VFS_WRITE | (recycled ? 0 : BOLE_VFS_CREATE | BOLE_VFS_EXCLUSIVE);
    bole_status status = recycled ? rename_recycled(vfs, recycle_path, path, error) : BOLE_OK;
    if (status != BOLE_OK)
        return status;
    status = vfs->open(vfs, path, flags, &file, error);
    if (status == BOLE_OK)
        status = recycled ? fit_recycled(file, bytes, way, error)
                          : vfs->allocate(file, 0, bytes, false, error);
    if (status != BOLE_OK)
        goto fail;
    *out = file;
    return BOLE_OK;
fail:
    if (file != NULL || recycled) /* made or renamed by this call, and of no use to anyone */
        vfs->remove(vfs, path, NULL);
    if (file != NULL)
        vfs->close(file, NULL);
    return status;
}
