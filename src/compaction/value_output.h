/* SPDX-License-Identifier: MIT */
/* value_output.h -- the value segments that a flush or a merge writes, and what dies in older ones. */
#ifndef BL_COMPACTION_VALUE_OUTPUT_H
#define BL_COMPACTION_VALUE_OUTPUT_H

#include "compaction/flush.h"

typedef struct bl_value_output {
    const bl_job_context *job;
    const bl_version_table *table;
    bl_job_result *result;
    uint32_t garbage_share;    /* as in bl_pick */
    bl_segment_writer *writer; /* of the present value segment; NULL: none */
    bl_value_tally dead;       /* pointers that were not kept, by value segment */
    bl_held_value held;        /* a value on its way out of a condemned segment */
    uint8_t pointer[BL_VALUE_POINTER_BYTES_MAX];
} bl_value_output;

/* Value segments go to the end of `result`; begin once for each table, end or abandon each. */
void bl_value_output_begin(bl_value_output *output, const bl_job_context *job, const bl_version_table *table,
                           bl_job_result *result, uint32_t garbage_share);
/* Write a value; *pointer is good until the next call. Keys and tags come in internal order. */
BOLE_CHECKED bole_status bl_value_output_put(bl_value_output *output, bole_slice key, uint64_t tag, bole_slice value,
                                             bole_slice *pointer, bole_error *error);
/* An entry with a pointer is kept: when its value segment is condemned the value goes along, and *pointer is a new
 * one. */
BOLE_CHECKED bole_status bl_value_output_carry(bl_value_output *output, bole_slice key, uint64_t tag,
                                               bole_slice *pointer, bole_error *error);
/* An entry with a pointer is not kept. */
BOLE_CHECKED bole_status bl_value_output_drop(bl_value_output *output, bole_slice key, bole_slice pointer,
                                              bole_error *error);
/* Finish the last value segment and tell `result` what died. */
BOLE_CHECKED bole_status bl_value_output_end(bl_value_output *output, bole_error *error);
/* Frees what is left; after a failure also the unfinished segment. Finished ones stay in the result. */
void bl_value_output_abandon(bl_value_output *output);

#endif
