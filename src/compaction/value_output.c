/* SPDX-License-Identifier: MIT */
/* value_output.c -- the value segments that a flush or a merge writes, and what dies in older ones.
 *
 * FLUSH       separates large values: the value goes into a value segment, a pointer to it into the key's segment.
 * MERGE       copies pointers. Of those that it does not keep it counts by value segment what dies; a value segment of
 *             which everything is dead is removed by the edit that makes it so. Out of a condemned one, of which much
 *             is dead already, a merge into the last level takes the values that it meets along, into a value segment
 *             of its own: so in the end nothing points there any more.
 *
 * INVARIANTS  (VALUES-1) The edit of a job adds every value segment that its outputs point into anew, and counts every
 *                        pointer into an older one that was among its inputs and is not among its outputs, once.
 *             (VALUES-2) A pointer that leads to nothing, or more deaths than a segment has values, fails the job with
 *                        BOLE_CORRUPT and changes nothing.
 * THREADS     One job. */
#include "compaction/value_output.h"

#include "base/alloc.h"
#include "base/assert.h"
#include "base/status.h"
#include "compaction/job_output.h"

void bl_value_output_begin(bl_value_output *output, const bl_job_context *job, const bl_version_table *table,
                           bl_job_result *result, uint32_t garbage_share)
{
    *output = (bl_value_output){
        .job = job, .table = table, .result = result, .garbage_share = garbage_share
    };
}

void bl_value_output_abandon(bl_value_output *output)
{
    if (output->writer != NULL)
        bl_segment_writer_abandon(output->writer);
    output->writer = NULL;
    bl_held_value_release(&output->held);
    bl_value_tally_deinit(&output->dead);
}

/* ---- Writing ---- */

static bole_status open_writer(bl_value_output *output, bole_error *error)
{
    const bl_job_context *job = output->job;
    bole_status status = bl_job_result_reserve(output->result, error); /* before there is a file to lose */
    if (status != BOLE_OK)
        return status;
    bl_segment_writer_parameters parameters = {
        .environment = job->environment,
        .number = job->new_file_number(job->context),
        .table = output->table->number,
        .table_name = output->table->name,
        .comparator = output->table->comparator,
        .level = BL_LEVEL_VALUES,
        .compression = job->compression_last, /* they stay */
        .compression_level = job->compression_level,
        .install_frames = true, /* where that displaces nothing */
        .check_entries = job->entry_checksums,
        .past_cache = job->past_cache,
    };
    return bl_segment_writer_create(&parameters, &output->writer, error);
}

static bole_status finish_writer(bl_value_output *output, bole_error *error)
{
    bl_segment_meta meta = { 0 };
    bl_segment *segment = NULL;
    bl_segment_writer *writer = output->writer;
    output->writer = NULL;
    bole_status status = bl_segment_writer_finish(writer, &meta, &segment, error);
    if (status == BOLE_OK)
        bl_job_result_push(output->result, &meta, segment);
    return status;
}

bole_status bl_value_output_put(bl_value_output *output, bole_slice key, uint64_t tag, bole_slice value,
                                bole_slice *pointer, bole_error *error)
{
    bole_status status = BOLE_OK;
    if (output->writer != NULL && bl_segment_writer_bytes(output->writer) >= output->job->segment_bytes)
        status = finish_writer(output, error);
    if (status == BOLE_OK && output->writer == NULL)
        status = open_writer(output, error);
    if (status == BOLE_OK)
        status = bl_segment_writer_add(output->writer, key, BL_TAG(bl_tag_sequence(tag), BL_KIND_PUT), value,
                                       error);
    if (status != BOLE_OK)
        return status;
    bl_value_pointer made = { .bytes = value.size };
    bl_segment_writer_point(output->writer, &made);
    output->result->values_written += value.size;
    *pointer = bl_slice(output->pointer, bl_value_pointer_encode(&made, output->pointer));
    return BOLE_OK;
}

/* ---- What was there ---- */

static bole_status lost(const bl_value_output *output, bole_slice key, bole_error *error)
{
    char text[4 * 40 + 1];
    bl_slice_escape(bl_slice(key.data, key.size < 40 ? key.size : 40), text, sizeof text);
    return bl_corrupt(error, "", BL_NO_OFFSET, "key \"%s\" of table \"%s\" points to no value", text,
                      output->table->name);
}

static bole_status count_dead(bl_value_output *output, bole_slice key, const bl_value_pointer *pointer,
                              bole_error *error)
{
    if (bl_value_tally_add(&output->dead, pointer->segment, 1, key.size + pointer->bytes))
        return BOLE_OK;
    return bl_fail(error, BOLE_NO_MEMORY, "list of dead values");
}

bole_status bl_value_output_drop(bl_value_output *output, bole_slice key, bole_slice pointer,
                                 bole_error *error)
{
    bl_value_pointer gone;
    if (!bl_value_pointer_decode(pointer, &gone))
        return lost(output, key, error);
    return count_dead(output, key, &gone, error);
}

bole_status bl_value_output_carry(bl_value_output *output, bole_slice key, uint64_t tag, bole_slice *pointer,
                                  bole_error *error)
{
    if (output->garbage_share == 0)
        return BOLE_OK;
    const bl_version_values *values = &output->table->values;
    bl_value_pointer old;
    if (!bl_value_pointer_decode(*pointer, &old))
        return lost(output, key, error);
    uint32_t at = bl_version_values_find(values, old.segment);
    if (at == values->count)
        return lost(output, key, error);
    if (!bl_version_values_condemned(values, at, output->garbage_share))
        return BOLE_OK;
    BL_MARK("value taken out of a condemned segment");
    bole_status status = bl_segment_hold_value(values->segments[at], &old, key, &output->held,
                                               &output->result->bytes_read, error);
    if (status == BOLE_OK)
        status = bl_value_output_put(output, key, tag, output->held.value, pointer, error);
    if (status == BOLE_OK)
        output->result->values_moved += old.bytes;
    return status == BOLE_OK ? count_dead(output, key, &old, error) : status;
}

/* Of one value segment: does it go, or live on with less? (VALUES-2) */
static bole_status settle(bl_value_output *output, const struct bl_value_count *count, bole_error *error)
{
    const bl_version_values *values = &output->table->values;
    bl_job_result *result = output->result;
    uint32_t at = bl_version_values_find(values, count->segment);
    if (at == values->count)
        return bl_corrupt(error, "", BL_NO_OFFSET, "%llu values are in segment %llu, which is not there",
                          (unsigned long long)count->entries, (unsigned long long)count->segment);
    const bl_segment_meta *meta = bl_segment_meta_of(values->segments[at]);
    bl_dead_values dead = values->dead[at];
    if (count->entries > meta->entries - dead.entries || count->bytes > meta->raw_bytes - dead.bytes)
        return bl_corrupt(error, "", BL_NO_OFFSET, "of value segment %llu more dies than lives",
                          (unsigned long long)count->segment);
    if (count->entries == meta->entries - dead.entries) {
        BL_MARK("value segment dies");
        result->dead[result->dead_count++] = (bl_segment_place){ output->table->number, count->segment };
    } else {
        result->died[result->died_count++] = (bl_values_died){ output->table->number,
                                                               count->segment,
                                                               { count->entries, count->bytes } };
    }
    return BOLE_OK;
}

bole_status bl_value_output_end(bl_value_output *output, bole_error *error)
{
    bl_job_result *result = output->result;
    bole_status status = output->writer == NULL ? BOLE_OK : finish_writer(output, error);
    if (status != BOLE_OK || output->dead.count == 0)
        return status;
    bl_assert(result->dead == NULL &&
              result->died == NULL); /* only merges have dead values, and of one table */
    result->dead = bl_alloc_array(output->dead.count, sizeof(result->dead[0]));
    result->died = bl_alloc_array(output->dead.count, sizeof(result->died[0]));
    if (result->dead == NULL || result->died == NULL)
        return bl_fail(error, BOLE_NO_MEMORY, "list of dead values");
    for (uint32_t i = 0; i < output->dead.count && status == BOLE_OK; i++)
        status = settle(output, &output->dead.counts[i], error);
    return status;
}
