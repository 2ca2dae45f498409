/* SPDX-License-Identifier: MIT */
/* log_file.h -- the file under a log: its header, and how it is made, see log_file.c. */
#ifndef BL_LOG_LOG_FILE_H
#define BL_LOG_LOG_FILE_H

#include <bole/bole_vfs.h>
#include "base/checksum.h"

enum {
    BL_LOG_FILE_HEADER_BYTES = 4096,
    BL_LOG_PAGE_BYTES = 4096,         /* files are whole pages long; the WRITTEN way writes whole pages */
    BL_LOG_FORMAT_VERSION = 1,
    BL_LOG_ZEROED_BYTES_MAX = 1 << 20, /* a fresh file up to this size is written over once (WRITTEN) */
};

/* How records get into the file. Stands in the header; do not renumber. */
typedef enum bl_log_way { BL_LOG_MAPPED, BL_LOG_WRITTEN } bl_log_way;

/* What a file's header says. */
typedef struct bl_log_header {
    uint64_t number, start;
    bl_id id, store_id;
    uint32_t version;
    uint32_t way;    /* bl_log_way */
    uint64_t synced; /* position known to be on disk when the log was made, at most `start` */
    uint64_t room;   /* bytes for records: the file has BL_LOG_FILE_HEADER_BYTES + room at least, always */
} bl_log_header;

void bl_log_header_encode(const bl_log_header *header, uint8_t out[BL_LOG_FILE_HEADER_BYTES]);
/* BOLE_CORRUPT naming `path`, or BOLE_UNSUPPORTED for a version or a required feature of a later bole. */
BOLE_CHECKED bole_status bl_log_header_decode(const uint8_t in[BL_LOG_FILE_HEADER_BYTES], const char *path,
                                              bl_log_header *out, bole_error *error);
/* Read and decode the header of an open file; a file too short for one is BOLE_CORRUPT. */
BOLE_CHECKED bole_status bl_log_file_read_header(bole_file *file, const char *path, bl_log_header *out,
                                                 bole_error *error);

/* Open the file `path` of `bytes` (whole pages) for a new log: fresh, or `recycle_path` renamed. MAPPED: all of it
 * reads as zero. WRITTEN: a fresh file reads as zero, a recycled one as what was there. Nothing is synced yet. */
BOLE_CHECKED bole_status bl_log_file_make(bole_vfs *vfs, const char *path, const char *recycle_path, uint64_t bytes,
                                          bl_log_way way, bole_file **out, bole_error *error);

#endif
