/* SPDX-License-Identifier: MIT */
/* write_ahead_log.h -- a write is in the log before it is acknowledged.
 *
 * The brief's WriteAheadLog. One object is one log file that this process appends to; logs of earlier lives are read
 * by log_replay.h. Format, life and invariants: see write_ahead_log.c, log_file.c, log_record.c, docs/format.md.
 *
 * Positions are logical bytes over all logs of a store and count records only. A record takes
 * BL_LOG_RECORD_HEADER_BYTES + its payload.
 *
 * THREADS  Four roles may work on one log at the same time, each on one thread at a time:
 *   the appender  holds the leader's lock: reserve, finish, publish, sync mark, seal, wants_touch
 *   the syncer    bl_log_sync
 *   the toucher   bl_log_touch_ahead
 *   the keeper    activate, flushed, retired, content checksum, close; close only once the other three are done with
 *                 the log for good, content checksum only once the appender is
 * The getters are for any thread; what they return may be older than what the roles have done since. */
#ifndef BL_LOG_WRITE_AHEAD_LOG_H
#define BL_LOG_WRITE_AHEAD_LOG_H

#include <bole/bole_vfs.h>
#include "base/checksum.h"
#include "core/memory_budget.h"
#include "log/log_file.h"
#include "log/log_record.h"
#include "log/log_replay.h"
#include "platform/scheduler.h"

typedef struct bl_write_ahead_log bl_write_ahead_log;

typedef enum bl_log_state { /* transitions are asserted in one function, see write_ahead_log.c */
    BL_LOG_CREATED,   /* header synced; not yet named in the manifest */
    BL_LOG_ACTIVE,    /* takes records */
    BL_LOG_SEALED,    /* its end is fixed */
    BL_LOG_FLUSHED,   /* all its operations are in segments */
    BL_LOG_RETIRED,   /* the manifest says so, durably: may be recycled or removed */
    BL_LOG_FAILED,    /* a write or sync failed: abandoned, never retried, never recycled. Ends only with close */
} bl_log_state;

typedef struct bl_log_parameters {
    bole_vfs *vfs;
    bl_scheduler *scheduler;  /* may be NULL: then a sync has no simulation points */
    bl_memory_budget *budget; /* may be NULL */
    const char *directory;
    uint64_t number;          /* file number; the name is 000007.log, made with bl_file_name's rule %06llu.log */
    bl_id store_id;
    uint64_t start;           /* position of its first record = end of the log before */
    uint64_t synced;          /* position known to be on disk; stands in the header */
    uint64_t bytes;           /* room for records, at least 1; rounded up to whole pages */
    bl_log_way way;           /* MAPPED falls back to WRITTEN where the vfs cannot map */
    const char *recycle_path; /* a retired log's file to rename and reuse, or NULL */
} bl_log_parameters;

/* Create the file, write and sync its header, sync the directory. The log is CREATED; call bl_log_activate when the
 * manifest names it. On failure nothing is left but, at worst, a file that no manifest names; a recycled file is then
 * gone. BOLE_TOO_LARGE: positions would pass BL_SEQUENCE_MAX.
 * Cost: two syncs; MAPPED, or WRITTEN above BL_LOG_ZEROED_BYTES_MAX, no data; else one write of the whole file. */
BOLE_CHECKED bole_status bl_log_create(const bl_log_parameters *parameters, bl_write_ahead_log **out,
                                       bole_error *error);
void bl_log_activate(bl_write_ahead_log *log);
/* Unmap, close, free. The file stays. Nothing is synced. */
void bl_log_close(bl_write_ahead_log *log);

uint64_t bl_log_number(const bl_write_ahead_log *log);
bl_id bl_log_id(const bl_write_ahead_log *log);
const char *bl_log_path(const bl_write_ahead_log *log); /* good until close */
uint64_t bl_log_start(const bl_write_ahead_log *log);
uint64_t bl_log_end(const bl_write_ahead_log *log);       /* position behind the last reserved record */
uint64_t bl_log_published(const bl_write_ahead_log *log); /* position behind the last published record */
uint64_t bl_log_synced(const bl_write_ahead_log *log); /* its records below are on disk; at first `start` */
uint64_t bl_log_room(const bl_write_ahead_log *log);   /* record bytes (headers counted) that still fit */
uint64_t bl_log_file_bytes(const bl_write_ahead_log *log); /* what it takes on disk, and in the budget */
bl_log_state bl_log_state_of(const bl_write_ahead_log *log);
bl_log_way bl_log_way_of(const bl_write_ahead_log *log);

/* ---- Appending: one leader at a time (commit_group.c) ----
 * reserve -> fill the payload -> finish each record -> publish once for the group. Several records may be reserved
 * before the first is filled; all must be finished before publish. Payloads begin with their bl_record_type. */

/* Room for one record of `payload_bytes` (>= 1): returns where the payload goes and its record's position. NULL only
 * when it does not fit (bl_log_room). The pointer is good until publish. In the MAPPED way this is the map itself.
 * Never allocates. A log that has become FAILED meanwhile gives room, too; publish will say that it has failed. */
uint8_t *bl_log_reserve(bl_write_ahead_log *log, uint64_t payload_bytes, uint64_t *position);
/* Checksum the record at `payload` and store its header last (release). `synced` is the position known as synced, of
 * all logs, at most `position`. On a FAILED log the header is left out. */
void bl_log_finish(bl_write_ahead_log *log, uint8_t *payload, uint64_t payload_bytes, uint64_t position,
                   uint64_t synced);
/* Instead of finish, when the payload could not be filled: the record becomes a void one, which replay skips. */
void bl_log_finish_void(bl_write_ahead_log *log, uint8_t *payload, uint64_t payload_bytes, uint64_t position,
                        uint64_t synced);
/* Hand all finished records to the operating system: they survive the process from here on. WRITTEN: pwrite of whole
 * pages. MAPPED: tell the vfs, look at the SIGBUS mark. A failure makes the log FAILED: the records of this group are
 * then in doubt (each is on disk whole or not at all, and may be found by replay). */
BOLE_CHECKED bole_status bl_log_publish(bl_write_ahead_log *log, bole_error *error);
/* After a sync: reserve and finish a record that says no more than "synced up to here", so that later damage below is
 * known as corruption. It is published with the next group, or by a publish of its own when none waits. False, and
 * nothing is done, when an earlier record says as much already, it does not fit, or the log is not ACTIVE. */
bool bl_log_append_sync_mark(bl_write_ahead_log *log, uint64_t synced);

/* Touch the next pages ahead of the end (a window of 4 MiB, 1 MiB a call), so that the appender meets no page fault;
 * a background job (the toucher) calls it. True while there is more to touch: call again. */
bool bl_log_touch_ahead(bl_write_ahead_log *log);
bool bl_log_wants_touch(const bl_write_ahead_log *log); /* cheap; asked by the leader: less than half the window left */

/* ---- Syncing: any thread, one at a time per log; no lock held (it waits, and is a simulation point) ---- */
/* All published records below `position` (a record's end, published) are on disk when it returns BOLE_OK;
 * so are those
 * published when it began: see bl_log_synced. Returns at once when `position` is synced already. Failure: FAILED. */
BOLE_CHECKED bole_status bl_log_sync(bl_write_ahead_log *log, uint64_t position, bole_error *error);

/* ---- Life ---- Each is without effect on a FAILED log, which stays FAILED. */
void bl_log_seal(bl_write_ahead_log *log); /* the appender; all is published */
void bl_log_flushed(bl_write_ahead_log *log);
void bl_log_retired(bl_write_ahead_log *log);
/* Checksum over the whole accepted content [start, published), for the manifest at a clean close. Reads the file, and
 * so finds now what replay would find later (BOLE_CORRUPT). */
BOLE_CHECKED bole_status bl_log_content_checksum(bl_write_ahead_log *log, uint64_t *out, bole_error *error);

#endif
