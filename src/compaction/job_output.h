/* SPDX-License-Identifier: MIT */
/* job_output.h -- the segments that a flush or a merge writes: where they are cut, and what becomes of them. */
#ifndef BL_COMPACTION_JOB_OUTPUT_H
#define BL_COMPACTION_JOB_OUTPUT_H

#include "compaction/flush.h"

/* An output may end before the first key >= `key`, once it has `bytes_min`; behind `key` outputs end above
 * `bytes_max`. */
typedef struct bl_cut {
    bole_slice key; /* borrowed from the version */
    uint64_t bytes_min, bytes_max;
} bl_cut;

/* About what a segment's entries take in blocks that are not compressed; rather more: see alike in job_output.c. */
enum { BL_ENTRY_OVERHEAD = 16 }; /* tag, head, offset, lengths */
static inline uint64_t bl_output_bytes(const bl_segment_meta *meta)
{
    return meta->raw_bytes + BL_ENTRY_OVERHEAD * meta->entries;
}

/* What is to be written of one table. */
typedef struct bl_output_plan {
    const bl_version_table *table;
    uint32_t level, run;
    uint64_t entries, bytes;   /* expected, of all outputs together, not compressed; for sizing */
    uint64_t bytes_max;        /* an output ends above, until a cut says otherwise */
    bl_cut *cuts;              /* rising; bl_output_plan_deinit frees the array */
    uint32_t cut_count;
    const bl_id *inputs;
    uint32_t input_count;
    bool zero_sequences;
    uint32_t head_offset;      /* of the cursor's heads */
} bl_output_plan;
void bl_output_plan_deinit(bl_output_plan *plan);
/* Where outputs end, see job_output.c: for a run above the last level; and for the last level, where segments
 * [first, first + count) of `replaced` (NULL: none) are replaced. */
BOLE_CHECKED bole_status bl_output_plan_cut_above(bl_output_plan *plan, uint64_t segment_bytes, bole_error *error);
BOLE_CHECKED bole_status bl_output_plan_cut_last(bl_output_plan *plan, uint64_t segment_bytes, const bl_run *replaced,
                                                 uint32_t first, uint32_t count, bole_error *error);

typedef struct bl_job_output {
    const bl_job_context *job;
    const bl_output_plan *plan;
    bl_job_result *result;
    uint32_t capacity; /* of the result's arrays */
    bl_segment_writer *writer;
    uint64_t bytes_max;            /* an output ends above */
    uint64_t header_bytes;         /* of the present output's file */
    uint64_t bytes, measured;      /* of the present output by keys and values; when its writer was asked last */
    uint32_t next_cut;
    uint64_t next_cut_head;
    uint64_t entries_left;
    uint64_t unreported; /* bytes since progress was told */
} bl_job_output;

/* Outputs go to the end of `result`; begin once for each table. */
void bl_job_output_begin(bl_job_output *output, const bl_job_context *job, const bl_output_plan *plan,
                         bl_job_result *result);
/* The cursor's entry with `tag`; `new_key`: it is the first of its key (only there an output may end, COM-4). */
BOLE_CHECKED bole_status bl_job_output_add(bl_job_output *output, const bl_cursor *entry, bool new_key, uint64_t tag,
                                           bole_error *error);
/* `bytes` went by, kept or not: about every MiB progress is told, and a job that should stop is BOLE_CANCELLED. */
BOLE_CHECKED bole_status bl_job_output_went_by(bl_job_output *output, uint64_t bytes, bole_error *error);
BOLE_CHECKED bole_status bl_job_output_end(bl_job_output *output, bole_error *error);
/* After a failure: drop the unfinished segment. Finished ones stay in the result. */
void bl_job_output_abandon(bl_job_output *output);

/* Remove the files of all finished outputs and forget them: the job failed. */
void bl_job_result_discard(bl_job_result *result);

/* Is an entry another key than the one before? Keeps a copy of the key. */
typedef struct bl_key_watch {
    bole_buffer last;
    uint64_t head;
    bool any;
} bl_key_watch;
BOLE_CHECKED bole_status bl_key_watch_see(bl_key_watch *watch, const bl_cursor *entry, bool *new_key,
                                          bole_error *error);

#endif
