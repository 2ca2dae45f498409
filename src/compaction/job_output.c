/* SPDX-License-Identifier: MIT */
/* job_output.c -- the segments that a flush or a merge writes.
 *
 * WHERE AN OUTPUT ENDS  Never between versions of one key (COM-4).
 *   By size: at segment_bytes, or less, so that the outputs of a job come out alike and none is a crumb.
 *   In the last level boundaries stay where they are, because level-0 segments end there: a segment that is replaced
 *   becomes one output, as long as that is below 5/4 segment_bytes, else several alike. Outputs below half of
 *   segment_bytes go on across the boundary.
 *   Above it outputs end at the last level's boundaries too. All runs of level 0 should be cut at the same
 *   of them, or
 *   their segments hang together in one long chain and cannot go down group by group. So a boundary at which some run
 *   is cut already is taken at 1/64 of segment_bytes, a free one at 1/16, and one that a segment of level 0 lies
 *   across at 1/8. While the last level is empty the oldest run gives the boundaries, and the very first run, which
 *   has none, is cut at 1/8.
 *
 * A finished output is synced and named, and nobody knows of it: when the job fails its file is removed again. */
#include "compaction/job_output.h"

#include "base/alloc.h"
#include "base/assert.h"
#include "base/buffer.h"
#include "base/status.h"
#include "compaction/compaction_pick.h"

static const uint64_t MEASURE_BYTES = 16 * 1024; /* between two looks at how much was written */
static const uint64_t CUT_BYTES_MIN = 4 * 1024;  /* below, a segment is more header and footer than entries */
static const uint64_t FIRST_BYTES_MIN = 16 * 1024;
static const uint32_t FILTER_BITS_MORE = 4; /* above the last level: few bytes, asked first */

static uint64_t at_least(uint64_t bytes, uint64_t least) { return bytes > least ? bytes : least; }

/* ---- Cuts ---- */

void bl_output_plan_deinit(bl_output_plan *plan)
{
    bl_free(plan->cuts);
    plan->cuts = NULL;
    plan->cut_count = 0;
}

static uint64_t bytes_before_cut(const bl_version_table *table, bole_slice key, uint64_t segment_bytes)
{
    uint64_t bytes = at_least(segment_bytes / 16, CUT_BYTES_MIN);
    for (uint32_t i = 0; i < table->levels[0].run_count; i++) {
        const bl_run *run = &table->levels[0].runs[i];
        uint32_t at = bl_run_lower_bound(run, table->comparator, key);
        bool across = at < run->count && bl_compare(table->comparator, run->smallest[at], key) < 0;
        if (!across && at > 0 && at < run->count)
            return at_least(segment_bytes / 64, CUT_BYTES_MIN);
        if (across)
            bytes = at_least(segment_bytes / 8, CUT_BYTES_MIN);
    }
    return bytes;
}

/* So that outputs of `bytes` in all come out alike: what each may have. */
static uint64_t alike(uint64_t bytes, uint64_t most)
{
    uint64_t count = bytes / most + (bytes % most != 0);
    if (count <= 1)
        return most;
    uint64_t each = bytes / count + bytes / count / 50; /* 2 % more: no crumb at the end */
    return each < most ? each : most;
}

bole_status bl_output_plan_cut_above(bl_output_plan *plan, uint64_t segment_bytes, bole_error *error)
{
    const bl_level *last = &plan->table->levels[BL_LEVEL_LAST], *first = &plan->table->levels[0];
    const bl_run *run = NULL;
    plan->bytes_max = alike(plan->bytes, segment_bytes);
    if (last->run_count != 0)
        run = &last->runs[0];
    else if (first->run_count != 0)
        run = &first->runs[first->run_count - 1];
    if (run == NULL) {
        plan->bytes_max = alike(plan->bytes, at_least(segment_bytes / 8, FIRST_BYTES_MIN));
        return BOLE_OK;
    }
    plan->cuts = bl_alloc_array((size_t)run->count + 1, sizeof(plan->cuts[0]));
    if (plan->cuts == NULL)
        return bl_fail(error, BOLE_NO_MEMORY, "boundaries of %u segments", run->count);
    for (uint32_t i = 0; i < run->count; i++) {
        uint64_t bytes_min = bytes_before_cut(plan->table, run->smallest[i], segment_bytes);
        plan->cuts[plan->cut_count++] = (bl_cut){ run->smallest[i], bytes_min, plan->bytes_max };
    }
    return BOLE_OK;
}

bole_status bl_output_plan_cut_last(bl_output_plan *plan, uint64_t segment_bytes, const bl_run *replaced,
                                    uint32_t first, uint32_t count, bole_error *error)
{
    plan->bytes_max = alike(plan->bytes, segment_bytes);
    if (count == 0)
        return BOLE_OK;
    plan->cuts = bl_alloc_array(count, sizeof(plan->cuts[0]));
    if (plan->cuts == NULL)
        return bl_fail(error, BOLE_NO_MEMORY, "boundaries of %u segments", count);
    double stored = 0, before = 1;
    for (uint32_t i = first; i < first + count; i++) {
        const bl_segment_meta *meta = bl_segment_meta_of(replaced->segments[i]);
        stored += (double)meta->file_bytes;
        before += (double)bl_output_bytes(meta);
    }
    double shrinks = stored < before ? stored / before
                                     : 1;              /* they were compressed, and so will the outputs be */
    for (uint32_t i = first; i < first + count; i++) { /* what comes in falls evenly, for all we know */
        double share = (double)bl_output_bytes(bl_segment_meta_of(replaced->segments[i])) / before;
        uint64_t bytes = (uint64_t)((double)plan->bytes * share * shrinks), half = segment_bytes / 2;
        uint64_t bytes_max = bytes <= segment_bytes + segment_bytes / 4 ? segment_bytes + half
                                                                        : alike(bytes, segment_bytes);
        if (i == first)
            plan->bytes_max = bytes_max;
        else
            plan->cuts[plan->cut_count++] = (bl_cut){ replaced->smallest[i], half, bytes_max };
    }
    return BOLE_OK;
}

/* ---- An output ---- */

/* The head of the next cut, where integers are compared first. */
static void find_next_cut(bl_job_output *output)
{
    const bl_output_plan *plan = output->plan;
    output->next_cut_head = UINT64_MAX;
    if (output->next_cut >= plan->cut_count)
        return;
    if (plan->table->comparator != NULL)
        output->next_cut_head = 0; /* heads are off: compare keys */
    else
        output->next_cut_head = bl_head64(plan->cuts[output->next_cut].key.data,
                                          plan->cuts[output->next_cut].key.size, plan->head_offset);
}

void bl_job_output_begin(bl_job_output *output, const bl_job_context *job, const bl_output_plan *plan,
                         bl_job_result *result)
{
    *output = (bl_job_output){ .job = job,
                               .plan = plan,
                               .result = result,
                               .bytes_max = plan->bytes_max,
                               .entries_left = plan->entries };
    find_next_cut(output);
}

static bole_status open_writer(bl_job_output *output, bole_error *error)
{
    const bl_job_context *job = output->job;
    const bl_output_plan *plan = output->plan;
    bole_status status = bl_job_result_reserve(output->result, error);
    if (status != BOLE_OK)
        return status;
    bool last = plan->level == BL_LEVEL_LAST;
    uint32_t bits = job->filter_bits_per_key == UINT32_MAX ? 0 : job->filter_bits_per_key;
    double share = plan->bytes == 0 ? 1 : (double)output->bytes_max / (double)plan->bytes;
    uint64_t entries = share < 1 ? (uint64_t)((double)plan->entries * share) + 1 : plan->entries;
    bl_segment_writer_parameters parameters = {
        .environment = job->environment,
        .number = job->new_file_number(job->context),
        .table = plan->table->number,
        .table_name = plan->table->name,
        .comparator = plan->table->comparator,
        .level = plan->level,
        .run = plan->run,
        .block_bytes = job->block_bytes,
        .filter_bits_per_key = bits == 0 || last ? bits : bits + FILTER_BITS_MORE,
        .entries_estimate = entries < output->entries_left ? entries : output->entries_left,
        .compression = last ? job->compression_last : job->compression_upper,
        .compression_level = job->compression_level,
        .zero_sequences = plan->zero_sequences,
        .check_entries = job->entry_checksums,
        .past_cache = job->past_cache,
        .install_frames = true, /* where that displaces nothing */
        .inputs = plan->inputs,
        .input_count = plan->input_count,
    };
    output->bytes = output->measured = output->measure_at = 0;
    status = bl_segment_writer_create(&parameters, &output->writer, error);
    if (status == BOLE_OK)
        output->header_bytes = bl_segment_writer_bytes(output->writer);
    return status;
}

static bole_status finish_writer(bl_job_output *output, bole_error *error)
{
    bl_job_result *result = output->result;
    bl_segment_writer *writer = output->writer;
    bl_segment_meta meta = { 0 };
    bl_segment *segment = NULL;
    output->writer = NULL;
    bole_status status = bl_segment_writer_finish(writer, &meta, &segment, error);
    if (status != BOLE_OK)
        return status;
    bl_job_result_push(result, &meta, segment);
    result->entries_out += meta.entries;
    output->entries_left -= meta.entries < output->entries_left ? meta.entries : output->entries_left;
    return BOLE_OK;
}

/* Before the first entry of a key: has the present output reached a cut, or its size? */
static bool ends_before(bl_job_output *output, const bl_cursor *entry)
{
    const bl_output_plan *plan = output->plan;
    bool cut = false;
    while (output->next_cut < plan->cut_count && entry->head >= output->next_cut_head &&
           bl_compare(plan->table->comparator, entry->key, plan->cuts[output->next_cut].key) >= 0) {
        cut = cut || output->bytes >= plan->cuts[output->next_cut].bytes_min;
        output->bytes_max = plan->cuts[output->next_cut].bytes_max;
        output->next_cut++;
        find_next_cut(output);
    }
    if (output->writer == NULL)
        return false;
    if (output->bytes - output->measured >= MEASURE_BYTES || output->bytes_max < 8 * MEASURE_BYTES) {
        output->measured = output->bytes;
        if (bl_segment_writer_bytes(output->writer) - output->header_bytes >= output->bytes_max)
            cut = true;
    }
    output->measure_at = output->bytes_max < 8 * MEASURE_BYTES ? 0 : output->measured + MEASURE_BYTES;
    return cut;
}

bole_status bl_job_output_turn(bl_job_output *output, const bl_cursor *entry, bole_error *error)
{
    bole_status status = BOLE_OK;
    if (ends_before(output, entry))
        status = finish_writer(output, error);
    if (status == BOLE_OK && output->writer == NULL)
        status = open_writer(output, error);
    return status;
}

bole_status bl_job_output_report(bl_job_output *output, bole_error *error)
{
    const bl_job_context *job = output->job;
    if (job->progress != NULL)
        job->progress(job->context, output->unreported);
    output->unreported = 0;
    if (job->should_stop != NULL && job->should_stop(job->context))
        return bl_fail(error, BOLE_CANCELLED, "the store is closing");
    return BOLE_OK;
}

bole_status bl_job_output_end(bl_job_output *output, bole_error *error)
{
    return output->writer == NULL ? BOLE_OK : finish_writer(output, error);
}

void bl_job_output_abandon(bl_job_output *output)
{
    if (output->writer != NULL)
        bl_segment_writer_abandon(output->writer);
    output->writer = NULL;
}

/* ---- The result ---- */

bole_status bl_job_result_reserve(bl_job_result *result, bole_error *error)
{
    if (result->count + 2 <= result->capacity)
        return BOLE_OK;
    uint32_t capacity = result->capacity == 0 ? 8 : 2 * result->capacity;
    bl_segment_meta *metas = bl_realloc(result->metas, capacity * sizeof(metas[0]));
    if (metas != NULL)
        result->metas = metas;
    bl_segment **handles = bl_realloc(result->handles, capacity * sizeof(bl_segment *));
    if (handles != NULL)
        result->handles = handles;
    if (metas == NULL || handles == NULL)
        return bl_fail(error, BOLE_NO_MEMORY, "list of %u segments", capacity);
    result->capacity = capacity;
    return BOLE_OK;
}

void bl_job_result_push(bl_job_result *result, const bl_segment_meta *meta, bl_segment *segment)
{
    bl_assert(result->count < result->capacity);
    result->metas[result->count] = *meta;
    result->handles[result->count] = segment;
    result->count++;
    result->bytes_written += meta->file_bytes;
}

void bl_job_result_deinit(bl_job_result *result)
{
    for (uint32_t i = 0; i < result->count; i++) {
        bl_segment_unref(result->handles[i]);
        bl_segment_meta_deinit(&result->metas[i]);
    }
    bl_free(result->metas);
    bl_free(result->handles);
    bl_free(result->dead);
    bl_free(result->died);
    *result = (bl_job_result){ .metas = NULL };
}

void bl_job_result_discard(bl_job_result *result)
{
    for (uint32_t i = 0; i < result->count; i++)
        bl_segment_mark_obsolete(result->handles[i]);
    bl_job_result_deinit(result);
}

/* ---- Keys ---- */

bole_status bl_key_watch_init(bl_key_watch *watch, bole_error *error)
{
    *watch = (bl_key_watch){ .last = bl_alloc_unset(BOLE_KEY_BYTES_MAX), .last_bytes = SIZE_MAX };
    return watch->last != NULL ? BOLE_OK : bl_fail(error, BOLE_NO_MEMORY, "copy of a key");
}

void bl_key_watch_deinit(bl_key_watch *watch)
{
    bl_free(watch->last);
    *watch = (bl_key_watch){ .last = NULL };
}
