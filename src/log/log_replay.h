/* SPDX-License-Identifier: MIT */
/* log_replay.h -- reading the logs of earlier lives: replay at open, and a look inside for tools. See
 * log_replay.c. */
#ifndef BL_LOG_LOG_REPLAY_H
#define BL_LOG_LOG_REPLAY_H

#include "log/log_file.h"
#include "log/log_record.h"

/* What the manifest knows of a log. Fields that say nothing may be left zero, except `end`. */
typedef struct bl_log_expectation {
    bole_vfs *vfs;
    const char *path;
    uint64_t number;
    bl_id id;            /* as the manifest names it; zero: take the file's (repair) */
    bl_id store_id;      /* zero: any store's */
    uint64_t start;      /* position its first record must have */
    uint64_t from;       /* replay visits records that end above this position (flushed_through) */
    uint64_t synced;     /* the manifest's knowledge, or a later log's claim; damage below it is corruption */
    uint64_t end;        /* accepted end in the manifest, UINT64_MAX: not known. Known: must be whole up to it */
    bool end_checksum_known;
    uint64_t end_checksum;
    bool followed;       /* there is a later log, which begins at: */
    uint64_t next_start; /* where this log ends if it is whole; nothing behind it is read */
} bl_log_expectation;

typedef struct bl_log_replayed {
    uint64_t end;         /* position behind the last good record */
    uint64_t synced;      /* highest position that the header or a record of this log claims as synced */
    uint64_t records, bytes; /* good records of all types, and what they take in the file */
    uint64_t content_checksum; /* of [start, end), see bl_log_content_checksum */
    bool torn;            /* something that is no record stood behind `end`; with `followed`: the end came too early */
} bl_log_replayed;

/* Visit each batch record's payload (with its type byte) in order; a failing visit ends replay with its status. With
 * `visit` NULL the log is only checked, and what it claims is found. BOLE_CORRUPT: damage below what is known as
 * synced, or a file that is missing, short, or not the log that was expected; torn tails are not an error (see
 * (REPLAY-1)). BOLE_UNSUPPORTED: a record or file of a later bole. The file is only read.
 * Cost: one pass over the records, and, unless the end is known, over what lies behind them. */
typedef bole_status (*bl_log_visit)(void *context, uint64_t position, bole_slice payload, bole_error *error);
BOLE_CHECKED bole_status bl_log_replay(const bl_log_expectation *expectation, bl_log_visit visit, void *context,
                                       bl_log_replayed *out, bole_error *error);

/* Make what replay accepted durable, before its end is written to the manifest: the bytes of [from, end) are written
 * again as they are, then the file is synced. Written again, because a sync that failed in an earlier life leaves
 * pages that memory shows and the disk lacks, and that a mere sync would pass over. `from` is the position known as
 * synced; with from >= end nothing is done. */
BOLE_CHECKED bole_status bl_log_settle(bole_vfs *vfs, const char *path, uint64_t from, uint64_t end,
                                       bole_error *error);

BOLE_CHECKED bole_status bl_log_read_header(bole_vfs *vfs, const char *path, bl_log_header *out, bole_error *error);

/* ---- A look inside, for dump and salvage: all that can be decoded, in file order, without judgement ---- */
typedef enum bl_log_item_kind {
    BL_LOG_ITEM_RECORD, /* verified */
    BL_LOG_ITEM_DAMAGE, /* bytes that are no record, with a record behind them */
    BL_LOG_ITEM_TAIL,   /* bytes behind the last record: never used, or torn, or of an earlier life of the file */
} bl_log_item_kind;

typedef struct bl_log_item {
    bl_log_item_kind kind;
    uint64_t offset;   /* in the file */
    uint64_t position; /* in the store's order */
    uint64_t bytes;    /* in the file; of a record with its header */
    uint64_t synced;   /* RECORD: its claim */
    uint64_t checksum; /* RECORD */
    uint8_t type;      /* RECORD: bl_record_type, or one that this bole does not know */
    bole_slice payload; /* RECORD: with its type byte; good until the visit returns */
    bool zero;         /* TAIL: all of it is zero */
    bool searched;     /* TAIL: it was looked through to its end for records */
} bl_log_item;

typedef struct bl_log_scanned {
    bl_log_header header;
    uint64_t file_bytes;
    uint64_t records, damages; /* items of these kinds */
    uint64_t end;              /* position behind the last record */
    uint64_t synced;           /* highest claim */
} bl_log_scanned;

/* A failing visit ends the scan with its status. BOLE_CORRUPT only for a header that cannot be read. */
typedef bole_status (*bl_log_item_visit)(void *context, const bl_log_item *item, bole_error *error);
BOLE_CHECKED bole_status bl_log_scan(bole_vfs *vfs, const char *path, bl_log_item_visit visit, void *context,
                                     bl_log_scanned *out, bole_error *error);
/* The same with what the manifest knows where the file's own header is lost: number, id and start count. */
BOLE_CHECKED bole_status bl_log_scan_as(bole_vfs *vfs, const char *path, const bl_log_header *header,
                                        bl_log_item_visit visit, void *context, bl_log_scanned *out,
                                        bole_error *error);

#endif
