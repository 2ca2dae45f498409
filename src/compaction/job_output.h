/* SPDX-License-Identifier: MIT */
/* job_output.h -- the segments that a flush or a merge writes: where they are cut, and what becomes of them. */
#ifndef BL_COMPACTION_JOB_OUTPUT_H
#define BL_COMPACTION_JOB_OUTPUT_H

#include "base/assert.h"
#include "compaction/flush.h"
#include "segment/segment_writer.h"

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

enum { BL_JOB_REPORT_BYTES = 1 << 20 };
typedef struct bl_job_output {
    const bl_job_context *job;
    const bl_output_plan *plan;
    bl_job_result *result;
    bl_segment_writer *writer;
    uint64_t bytes_max;            /* an output ends above */
    uint64_t header_bytes;         /* of the present output's file */
    uint64_t bytes, measured;      /* of the present output by keys and values; when its writer was asked last */
    uint64_t measure_at;           /* bytes at which it is asked again */
    uint32_t next_cut;
    uint64_t next_cut_head;
    uint64_t entries_left;
    uint64_t unreported; /* bytes since progress was told */
} bl_job_output;

/* Outputs go to the end of `result`; begin once for each table. */
void bl_job_output_begin(bl_job_output *output, const bl_job_context *job, const bl_output_plan *plan,
                         bl_job_result *result);
/* job_output.c's: there is no output, or the present one may end before the entry; and a MiB went by. */
BOLE_CHECKED bole_status bl_job_output_turn(bl_job_output *output, const bl_cursor *entry, bole_error *error);
BOLE_CHECKED bole_status bl_job_output_report(bl_job_output *output, bole_error *error);
/* The cursor's key with `tag` and `value`; `new_key`: it is the first of its key (only there an output may end,
 * COM-4). */
BOLE_CHECKED static inline bole_status bl_job_output_add(bl_job_output *output, const bl_cursor *entry, bool new_key,
                                                         uint64_t tag, bole_slice value, bole_error *error)
{
    bool may_end = new_key && (output->bytes >= output->measure_at || entry->head >= output->next_cut_head);
    if (bl_unlikely(output->writer == NULL || may_end)) {
        bole_status status = bl_job_output_turn(output, entry, error);
        if (status != BOLE_OK)
            return status;
    }
    output->bytes += entry->key.size + value.size;
    return bl_segment_writer_add(output->writer, entry->key, tag, value, error);
}
/* `bytes` went by, kept or not: about every MiB progress is told, and a job that should stop is BOLE_CANCELLED. */
BOLE_CHECKED static inline bole_status bl_job_output_went_by(bl_job_output *output, uint64_t bytes, bole_error *error)
{
    output->unreported += bytes;
    return bl_likely(output->unreported < BL_JOB_REPORT_BYTES) ? BOLE_OK : bl_job_output_report(output, error);
}
BOLE_CHECKED bole_status bl_job_output_end(bl_job_output *output, bole_error *error);
/* After a failure: drop the unfinished segment. Finished ones stay in the result. */
void bl_job_output_abandon(bl_job_output *output);

/* Room for two outputs more, before there is a file to lose: a segment and a value segment are written at a time.
 * And a finished one. */
BOLE_CHECKED bole_status bl_job_result_reserve(bl_job_result *result, bole_error *error);
void bl_job_result_push(bl_job_result *result, const bl_segment_meta *meta, bl_segment *segment);
/* Remove the files of all finished outputs and forget them: the job failed. */
void bl_job_result_discard(bl_job_result *result);

/* Is an entry another key than the one before? Keeps a copy of the key: the cursor's may be gone by then. */
typedef struct bl_key_watch {
    uint8_t *last;     /* has room for any key */
    size_t last_bytes; /* SIZE_MAX: none yet */
    uint64_t head;
} bl_key_watch;
BOLE_CHECKED bole_status bl_key_watch_init(bl_key_watch *watch, bole_error *error);
void bl_key_watch_deinit(bl_key_watch *watch);
static inline bool bl_key_watch_is_new(bl_key_watch *watch, const bl_cursor *entry)
{
    bole_slice key = entry->key;
    bl_debug_assert(key.size <= BOLE_KEY_BYTES_MAX);
    if (entry->head == watch->head && bl_slice_equal(key, bl_slice(watch->last, watch->last_bytes)))
        return false;
    watch->head = entry->head;
    watch->last_bytes = key.size;
    if (bl_likely(key.size != 0))
        memcpy(watch->last, key.data, key.size);
    return true;
}

#endif
