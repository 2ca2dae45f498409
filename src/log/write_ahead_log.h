/* SPDX-License-Identifier: MIT */
/* write_ahead_log.h -- a write is in the log before it is acknowledged.
 *
 * The brief's WriteAheadLog. One object is one log file that this process appends to; replay reads logs of earlier
 * lives. Format, life and invariants: see write_ahead_log.c and docs/format.md.
 *
 * Positions are logical bytes over all logs of a store and count records only. A record takes
 * BL_LOG_RECORD_HEADER_BYTES + its payload. */
#ifndef BL_LOG_WRITE_AHEAD_LOG_H
#define BL_LOG_WRITE_AHEAD_LOG_H

#include <bole/bole_vfs.h>
#include "base/checksum.h"
#include "core/memory_budget.h"
#include "platform/scheduler.h"

enum { BL_LOG_FILE_HEADER_BYTES = 4096, BL_LOG_RECORD_HEADER_BYTES = 24 };

typedef struct bl_write_ahead_log bl_write_ahead_log;

typedef enum bl_log_state { /* transitions are asserted in one function */
    BL_LOG_CREATED,   /* header synced; not yet named in the manifest */
    BL_LOG_ACTIVE,    /* takes records */
    BL_LOG_SEALED,    /* its end is fixed */
    BL_LOG_FLUSHED,   /* all its operations are in segments */
    BL_LOG_RETIRED,   /* the manifest says so, durably: may be recycled or removed */
    BL_LOG_FAILED,    /* a write or sync failed: abandoned, never retried */
} bl_log_state;

typedef enum bl_log_way { BL_LOG_MAPPED, BL_LOG_WRITTEN } bl_log_way;

typedef struct bl_log_parameters {
    bole_vfs *vfs;
    bl_scheduler *scheduler;
    bl_memory_budget *budget;
    const char *directory;
    uint64_t number;          /* file number; the name is 000007.log, made with bl_file_name's rule %06llu.log */
    bl_id store_id;
    uint64_t start;           /* position of its first record = end of the log before */
    uint64_t synced;          /* position known to be on disk */
    uint64_t bytes;           /* room for records */
    bl_log_way way;           /* MAPPED falls back to WRITTEN where the vfs cannot map */
    const char *recycle_path; /* a retired log's file to rename and reuse, or NULL */
} bl_log_parameters;

/* Create the file, write and sync its header, sync the directory. The log is CREATED; call bl_log_activate when the
 * manifest names it. */
BOLE_CHECKED bole_status bl_log_create(const bl_log_parameters *parameters, bl_write_ahead_log **out,
                                       bole_error *error);
void bl_log_activate(bl_write_ahead_log *log);
/* Unmap, close, free. The file stays. */
void bl_log_close(bl_write_ahead_log *log);

uint64_t bl_log_number(const bl_write_ahead_log *log);
bl_id bl_log_id(const bl_write_ahead_log *log);
uint64_t bl_log_start(const bl_write_ahead_log *log);
uint64_t bl_log_end(const bl_write_ahead_log *log);    /* position behind the last reserved record */
uint64_t bl_log_synced(const bl_write_ahead_log *log); /* of this log, as far as this object knows */
uint64_t bl_log_room(const bl_write_ahead_log *log);   /* record bytes that still fit */
bl_log_state bl_log_state_of(const bl_write_ahead_log *log);
bl_log_way bl_log_way_of(const bl_write_ahead_log *log);

/* ---- Appending: one leader at a time (commit_group.c) ----
 * reserve -> fill the payload -> finish each record -> publish once for the group. */

/* Room for one record of `payload_bytes` (>= 1): returns where the payload goes and its record's position. NULL when
 * it does not fit. In the MAPPED way this is the map itself. */
uint8_t *bl_log_reserve(bl_write_ahead_log *log, uint64_t payload_bytes, uint64_t *position);
/* Checksum the record at `payload` and store its header last (release). `synced` is the position known as synced. */
void bl_log_finish(bl_write_ahead_log *log, uint8_t *payload, uint64_t payload_bytes, uint64_t position,
                   uint64_t synced);
/* Hand all finished records to the operating system: they survive the process from here on. WRITTEN: pwrite of whole
 * pages. MAPPED: tell the vfs, look at the SIGBUS mark. A failure makes the log FAILED. */
BOLE_CHECKED bole_status bl_log_publish(bl_write_ahead_log *log, bole_error *error);
/* MAPPED: touch the next pages ahead of the end (a window of 4 MiB); called by a background job. True while there is
 * more to touch soon. */
bool bl_log_touch_ahead(bl_write_ahead_log *log);
bool bl_log_wants_touch(const bl_write_ahead_log *log); /* cheap; asked by the leader */

/* ---- Syncing: any thread, one at a time per log ---- */
/* All published records below `position` (a record's end) are on disk when it returns BOLE_OK. Failure: FAILED. */
BOLE_CHECKED bole_status bl_log_sync(bl_write_ahead_log *log, uint64_t position, bole_error *error);

/* ---- Life ---- */
void bl_log_seal(bl_write_ahead_log *log);
void bl_log_flushed(bl_write_ahead_log *log);
void bl_log_retired(bl_write_ahead_log *log);
/* Checksum over the whole accepted content [start, end), for the manifest at a clean close. Reads the file. */
BOLE_CHECKED bole_status bl_log_content_checksum(bl_write_ahead_log *log, uint64_t *out, bole_error *error);

/* ---- Replay ---- */
typedef struct bl_log_expectation {
    bole_vfs *vfs;
    const char *path;
    uint64_t number;
    bl_id id;            /* as the manifest names it; zero: take the file's (repair) */
    uint64_t start;      /* position its first record must have */
    uint64_t from;       /* replay visits records that end above this position (flushed_through) */
    uint64_t synced;     /* the manifest's knowledge; damage below it is corruption */
    uint64_t end;        /* accepted end in the manifest, UINT64_MAX: not known. Known: must be whole up to it */
    bool end_checksum_known;
    uint64_t end_checksum;
} bl_log_expectation;

typedef struct bl_log_replayed {
    uint64_t end;         /* position behind the last good record */
    uint64_t synced;      /* highest position that a record of this log claims as synced */
    uint64_t records, bytes;
    bool torn;            /* something that is no record stood behind `end` */
} bl_log_replayed;

/* Visit each batch record's payload in order; a failing visit ends replay with its status. BOLE_CORRUPT: damage below
 * what is known as synced; torn tails are not an error (see (WAL-3)). The file is only read. */
typedef bole_status (*bl_log_visit)(void *context, uint64_t position, bole_slice payload, bole_error *error);
BOLE_CHECKED bole_status bl_log_replay(const bl_log_expectation *expectation, bl_log_visit visit, void *context,
                                       bl_log_replayed *out, bole_error *error);

/* What a file's header says, for inspection and repair. */
typedef struct bl_log_header {
    uint64_t number, start;
    bl_id id, store_id;
    uint32_t version;
} bl_log_header;
BOLE_CHECKED bole_status bl_log_read_header(bole_vfs *vfs, const char *path, bl_log_header *out, bole_error *error);

#endif
