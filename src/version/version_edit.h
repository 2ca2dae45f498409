/* SPDX-License-Identifier: MIT */
/* version_edit.h -- one change of a store's state, as a struct, as bytes (a record of the manifest) and as
 * text. */
#ifndef BL_VERSION_VERSION_EDIT_H
#define BL_VERSION_VERSION_EDIT_H

#include "core/comparator.h"
#include "segment/segment.h"
#include "version/version.h"

typedef struct bl_log_description { /* a log as the manifest names it */
    uint64_t number;
    bl_id id;
    uint64_t start;
    uint64_t end;            /* UINT64_MAX: open */
    bool end_checksum_known; /* by a clean close */
    uint64_t end_checksum;
} bl_log_description;

typedef struct bl_table_description {
    uint32_t number;
    const char *name;
    const char *comparator_name;
    uint64_t position; /* of creation, or of the drop */
    /* tables_created given to bl_version_set_apply: the order itself; NULL: found by comparator_name among
     * the parameters' comparators. Not in the file. */
    const bole_comparator *comparator;
} bl_table_description;

typedef struct bl_segment_place {
    uint32_t table;
    uint64_t number;
} bl_segment_place;

typedef struct bl_segment_move {
    uint32_t table;
    uint64_t number;
    uint32_t level, run;
} bl_segment_move;

/* One change of state; all of it durable or nothing. Arrays are borrowed for the call. Its parts count in
 * this order: tables created; segments removed, moved, added; values died; tables dropped; logs ended, removed,
 * added; numbers. */
typedef struct bl_version_edit {
    const bl_segment_meta *added;      /* with level and run set */
    uint32_t added_count;
    bl_segment *const *added_handles;  /* parallel to added; entries or the array may be NULL */
    const bl_segment_place *removed;
    uint32_t removed_count;
    const bl_segment_move *moved;      /* trivial moves: the handle stays, its place in the version changes */
    uint32_t moved_count;
    const bl_values_died *died;        /* more of these value segments is dead; each once */
    uint32_t died_count;
    const bl_log_description *logs_added;
    uint32_t logs_added_count;
    const bl_log_description *logs_ended; /* end (and checksum) now known */
    uint32_t logs_ended_count;
    const uint64_t *logs_removed;         /* numbers: flushed, no longer needed */
    uint32_t logs_removed_count;
    uint64_t flushed_through; /* 0, or not above what is known: unchanged. Replay skips what lies below */
    uint64_t synced;          /* as above. Log position known as synced */
    const bl_table_description *tables_created;
    uint32_t tables_created_count;
    const bl_table_description *tables_dropped; /* number and position count; its segments go with it */
    uint32_t tables_dropped_count;
    uint64_t next_sequence; /* as above */

    /* Written by the version set; a caller of bl_version_set_apply leaves them zero. */
    bool snapshot;             /* the whole state: the first edit of a manifest, and only that */
    uint64_t next_file_number; /* every file number used so far is below */
    uint32_t next_table_number;
} bl_version_edit;

/* ---- Bytes ---- */

/* An edit that is not a snapshot takes at most this many bytes; what is larger can not be the torn end of a
 * file. */
#define BL_VERSION_EDIT_BYTES_MAX (UINT64_C(64) << 20)

/* Append the bytes of `edit` to `out` (after a failure `out` is as before). BOLE_NO_MEMORY,
 * BOLE_TOO_LARGE. */
BOLE_CHECKED bole_status bl_version_edit_encode(const bl_version_edit *edit, bole_buffer *out,
                                                bole_error *error);

/* An edit read from bytes: arrays are its own, keys and names point into the bytes. */
typedef struct bl_decoded_edit {
    bl_version_edit edit;
    void *memory;
} bl_decoded_edit;
/* Structure only: what the edit says is checked against a state by bl_manifest_state_apply. `file` and
 * `offset` tell where the bytes come from. BOLE_CORRUPT; BOLE_UNSUPPORTED for a field that must be understood
 * and is not; BOLE_NO_MEMORY. Never more than seven times the bytes are allocated. */
BOLE_CHECKED bole_status bl_version_edit_decode(bole_slice bytes, const char *file, uint64_t offset,
                                                bl_decoded_edit *out, bole_error *error);
void bl_decoded_edit_deinit(bl_decoded_edit *decoded);

/* ---- Text ---- */

/* Append one line for every part, for `bole dump` and golden tests: "  + segment 12 ...". */
BOLE_CHECKED bole_status bl_version_edit_describe(const bl_version_edit *edit, bole_buffer *out,
                                                  bole_error *error);

#endif
