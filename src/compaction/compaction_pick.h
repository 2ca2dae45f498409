/* SPDX-License-Identifier: MIT */
/* compaction_pick.h -- which merge is next: a pure function from a description of the levels to a job.
 *
 * Shape: up to `level0_runs` runs in level 0 (burst 2.5 times that), merged with one last level in partitioned jobs cut
 * at the last level's boundaries; a middle level appears only when the last exceeds 8 times level 0's capacity; when
 * idle, or when reads dominate, down to one run. A flush cuts its outputs at the last level's boundaries (segments of at
 * least segment_bytes / 16), so level-0 runs fall into key groups and a job takes, for one group, the segments of ALL
 * level-0 runs and the last level's segments they overlap: whole segments only, closed under overlap. See
 * docs/design.md. No I/O, no locks, no clock: tested with text. */
#ifndef BL_COMPACTION_COMPACTION_PICK_H
#define BL_COMPACTION_COMPACTION_PICK_H

#include "version/version.h"

typedef struct bl_pick_policy {
    uint32_t level0_runs;
    uint64_t memtable_bytes, segment_bytes;
    uint64_t job_bytes;        /* one job's input, about; 64 MiB */
    uint32_t last_level_ratio; /* 8 */
    bool idle;                 /* nothing else to do: merge down to one run */
    uint64_t oldest_snapshot;  /* sequence; BL_SEQUENCE_MAX: none */
} bl_pick_policy;

typedef enum bl_pick_reason {
    BL_PICK_NOTHING,
    BL_PICK_LEVEL0_RUNS,
    BL_PICK_LEVEL_SIZE,
    BL_PICK_TOMBSTONES,
    BL_PICK_IDLE,
    BL_PICK_MANUAL,
} bl_pick_reason;

typedef struct bl_pick {
    bl_pick_reason reason;
    bool trivial_move; /* inputs need no merge: only their place changes */
    uint32_t table;
    uint32_t output_level;
    /* inputs: segments of the version that was looked at, borrowed from it. Runs are newest first. */
    uint32_t run_count;
    struct bl_pick_run {
        uint32_t level, run;
        uint32_t first, count; /* segments [first, first + count) of that run */
    } *runs;
    uint64_t input_bytes;
    bool bottom; /* no older data below the output for this key range: tombstones may go */
} bl_pick;

/* `busy(context, number)`: is that segment an input of a running job? */
BOLE_CHECKED bole_status bl_compaction_pick(const bl_version *version, const bl_pick_policy *policy,
                                            bool (*busy)(void *context, uint64_t number), void *context, bl_pick *out,
                                            bole_error *error);
/* All segments that overlap [begin, end] of one table, into the last level. */
BOLE_CHECKED bole_status bl_compaction_pick_manual(const bl_version *version, uint32_t table, bole_slice begin,
                                                   bole_slice end, bl_pick *out, bole_error *error);
void bl_pick_deinit(bl_pick *pick);

/* Bytes that must still be merged to bring the levels into shape: what pacing looks at. */
uint64_t bl_compaction_debt(const bl_version *version, const bl_pick_policy *policy);

#endif
