/* SPDX-License-Identifier: MIT */
/* manifest_state.h -- what the edits of a manifest add up to, as plain data: no files, no handles.
 *
 * The same function applies an edit here in recovery, in a live store (to a copy, before the edit is written)
 * and in tools that show a store edit by edit. So what recovery accepts is what a live store writes. */
#ifndef BL_VERSION_MANIFEST_STATE_H
#define BL_VERSION_MANIFEST_STATE_H

#include "version/version_edit.h"

/* A manifest with more than that is refused as corrupt, an edit that would lead there with BOLE_TOO_LARGE. */
enum { BL_TABLES_MAX = 16384, BL_LOGS_MAX = 4096, BL_DROPPED_MAX = 16384 };

typedef struct bl_state_segment { /* one slot of a hash table by number; number 0: free */
    uint64_t number;
    uint32_t table, level, run;
    uint64_t live_entries, live_bytes; /* of a value segment: not dead yet */
    bl_segment_meta *meta; /* owned; NULL where the state keeps no metas. Level, run, dead values are as above */
} bl_state_segment;

typedef struct bl_state_table {
    uint32_t number;
    uint64_t position;  /* of creation */
    uint64_t segments;  /* how many it has */
    uint64_t name_hash;
    char *name;
    char *comparator_name;
} bl_state_table;

typedef struct bl_state_drop {
    uint32_t number;
    uint64_t position;
} bl_state_drop;

typedef struct bl_manifest_state {
    bool keep_metas; /* set before the first edit */
    bool begun;      /* a snapshot was applied */
    uint32_t segment_count, slot_count; /* slot_count: a power of two, or 0 */
    bl_state_segment *slots;
    uint32_t table_count, table_capacity;
    bl_state_table *tables; /* by number, rising */
    uint32_t log_count, log_capacity;
    bl_log_description *logs; /* oldest first */
    /* Dropped tables, by position. One is forgotten when no log begins below its position: then no record of
     * it can be met in replay any more. */
    uint32_t drop_count, drop_capacity;
    bl_state_drop *drops;
    uint64_t next_file_number;
    uint32_t next_table_number;
    uint64_t flushed_through, synced;
    uint64_t next_sequence; /* above every sequence and position that the manifest knows */
} bl_manifest_state;

/* Apply one edit. After a failure the state is good for nothing but bl_manifest_state_deinit.
 * BOLE_CORRUPT, with `file` and `offset`: the edit does not fit the state. BOLE_TOO_LARGE, BOLE_NO_MEMORY. */
BOLE_CHECKED bole_status bl_manifest_state_apply(bl_manifest_state *state, const bl_version_edit *edit,
                                                 const char *file, uint64_t offset, bole_error *error);
/* A deep copy, but for metas: only of a state that keeps none. */
BOLE_CHECKED bole_status bl_manifest_state_copy(bl_manifest_state *to, const bl_manifest_state *from,
                                                bole_error *error);
void bl_manifest_state_deinit(bl_manifest_state *state);
/* Frees the metas and forgets them: places stay. */
void bl_manifest_state_drop_metas(bl_manifest_state *state);

/* By number; NULL: not there. */
const bl_state_segment *bl_manifest_state_segment(const bl_manifest_state *state, uint64_t number);
const bl_state_table *bl_manifest_state_table(const bl_manifest_state *state, uint32_t number);
const bl_log_description *bl_manifest_state_log(const bl_manifest_state *state, uint64_t number);
const bl_state_drop *bl_manifest_state_drop(const bl_manifest_state *state, uint32_t number);

#endif
