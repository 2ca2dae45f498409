/* SPDX-License-Identifier: MIT */
/* compaction_pick.h -- which merge is next: a pure function from a description of the levels to a job.
 *
 * Shape: up to `level0_runs` runs in level 0 (burst 2.5 times that), merged with one last level in
 * partitioned jobs cut
 * at the last level's boundaries; a middle level appears only when the last exceeds `last_level_ratio`
 * times level 0's
 * capacity; when idle, or when reads dominate, down to one run. A flush cuts its outputs at the last level's boundaries
 * (segments of at least segment_bytes / 16), so level-0 runs fall into key groups and a job takes, for one group, the
 * segments of ALL level-0 runs and the last level's segments they overlap: whole segments only, closed under overlap.
 * See docs/design.md. No I/O, no locks, no clock: tested with text. */
#ifndef BL_COMPACTION_COMPACTION_PICK_H
#define BL_COMPACTION_COMPACTION_PICK_H

#include "version/version.h"

enum { BL_LEVEL_MIDDLE = BOLE_LEVELS_MAX - 2, BL_LEVEL_LAST = BOLE_LEVELS_MAX - 1 };

typedef struct bl_pick_policy { /* 0 in a field of bytes or counts: as bole_options' default */
    uint32_t level0_runs;
    uint64_t memtable_bytes, segment_bytes;
    uint64_t job_bytes;        /* one job's input, about; 64 MiB */
    uint32_t last_level_ratio; /* 8 */
    bool idle;                 /* nothing else to do: merge down to one run */
    uint64_t oldest_snapshot;  /* sequence; BL_SEQUENCE_MAX: none */
} bl_pick_policy;

typedef enum bl_pick_reason {
    BL_PICK_NOTHING,
    BL_PICK_LEVEL0_RUNS, /* level 0 has as many runs as it should ever have */
    BL_PICK_LEVEL_SIZE,  /* the middle level is over its size */
    BL_PICK_TOMBSTONES,  /* a segment that is a quarter or more tombstones, none of which a snapshot needs */
    BL_PICK_IDLE,
    BL_PICK_MANUAL,
    BL_PICK_VALUES,   /* value segments of which half is dead: what lives in them is written anew */
    BL_PICK_POINTERS, /* all keys are few bytes beside the values that level 0 points to: merged down to one run */
} bl_pick_reason;

typedef struct bl_pick {
    bl_pick_reason reason;
    bool trivial_move; /* inputs need no merge: only their place changes (to run 0 of the output level) */
    uint32_t table;
    uint32_t output_level; /* 0: small runs, adjacent in age, become one run with the number of the newest */
    /* inputs: segments of the version that was looked at, borrowed from it. Runs are newest first; in a trivial move
     * one may stand there more than once. A run of the output level itself comes last. */
    uint32_t run_count;
    struct bl_pick_run {
        uint32_t level, run;
        uint32_t first, count; /* segments [first, first + count) of that run */
    } *runs;
    uint64_t input_bytes;
    bool bottom; /* no older data below the output for this key range: tombstones may go */
    /* The merge writes the values of condemned value segments anew: those of which more than one in `garbage_share`
     * bytes is dead. 0: of none. */
    uint32_t garbage_share;
} bl_pick;

/* `busy(context, number)`: is that segment an input of a running job? NULL: none is. The answer is BL_PICK_NOTHING also
 * when all that is due waits for a running job. */
BOLE_CHECKED bole_status bl_compaction_pick(const bl_version *version, const bl_pick_policy *policy,
                                            bool (*busy)(void *context, uint64_t number), void *context, bl_pick *out,
                                            bole_error *error);
/* The next job of a manual compaction: until BL_PICK_NOTHING, segments that overlap [begin, end] (data == NULL: open)
 * of one table go into the last level, and segments there that hold tombstones which no snapshot needs are written
 * anew. Ends also beside snapshots: what they hold back is not tried again. No other job may be running. */
BOLE_CHECKED bole_status bl_compaction_pick_manual(const bl_version *version, const bl_pick_policy *policy,
                                                   uint32_t table, bole_slice begin, bole_slice end, bl_pick *out,
                                                   bole_error *error);
void bl_pick_deinit(bl_pick *pick);

/* Bytes that must be merged, rewritten ones included, to bring the levels into shape: what pacing looks at. 0 when
 * they are, and of a table for whose shape no merge would be picked: nobody would work it off, and writers would pay
 * for it for ever (options that changed leave such shapes behind; runs that overlap nothing are one). Else continuous
 * in the bytes of a level, and another level-0 run never lowers it. Costs a pick when it is not 0. */
uint64_t bl_compaction_debt(const bl_version *version, const bl_pick_policy *policy);

#endif
