/* SPDX-License-Identifier: MIT */
/* compaction.c -- the merge: whole segments in, new segments of the output level out.
 *
 * The inputs' runs go through one merge (core/merge.h) in internal order, read ahead past the cache; each key's
 * versions pass the version filter, newest first, and what is kept goes to outputs (job_output.c). In the bottom puts
 * that every reader sees lose their sequence, so that a block of the last level carries none. Of values that stand in
 * value segments the pointer is merged (value_output.c).
 *
 * INVARIANTS  (COM-1) to (COM-4): compaction.h. Heads are taken behind the common prefix of all inputs' keys.
 * THREADS     Any number of jobs with disjoint picks; a job belongs to one thread.
 * NOT HERE    What is merged: compaction_pick.c.   The edit that makes it true: the engine. */
#include "compaction/compaction.h"

#include "base/alloc.h"
#include "base/assert.h"
#include "base/status.h"
#include "compaction/job_output.h"
#include "compaction/value_output.h"
#include "compaction/version_filter.h"
#include "core/merge.h"

/* What a job reads. */
typedef struct inputs {
    const bl_version_table *table;
    const bl_run **runs; /* of the version, parallel to the pick's */
    bl_id *ids;          /* of all segments */
    uint32_t count;
    uint64_t entries, sequence_max;
    uint64_t bytes; /* that they would take, not compressed */
    uint32_t head_offset;
    uint32_t output_run;
} inputs;

static const bl_run *find_run(const bl_version_table *table, const struct bl_pick_run *part)
{
    bl_assert(part->level < BOLE_LEVELS_MAX);
    return bl_level_run(&table->levels[part->level], part->run);
}

static void inputs_deinit(inputs *in)
{
    bl_free(in->runs);
    bl_free(in->ids);
    *in = (inputs){ .table = NULL };
}

static void add_segment(inputs *in, const bl_segment_meta *meta, bole_slice *smallest, bole_slice *largest)
{
    bl_comparator *comparator = in->table->comparator;
    if (in->count == 0 || bl_compare(comparator, meta->smallest, *smallest) < 0)
        *smallest = meta->smallest;
    if (in->count == 0 || bl_compare(comparator, meta->largest, *largest) > 0)
        *largest = meta->largest;
    in->ids[in->count++] = meta->id;
    in->entries += meta->entries;
    in->bytes += bl_output_bytes(meta);
    if (meta->sequence_max > in->sequence_max)
        in->sequence_max = meta->sequence_max;
}

static bole_status inputs_init(inputs *in, const bl_version *version, const bl_pick *pick, bole_error *error)
{
    *in = (inputs){ .table = bl_version_table_by_number(version, pick->table) };
    bl_assert(in->table != NULL && pick->run_count > 0); /* the pick was made from this version */
    size_t segments = 0;
    for (uint32_t i = 0; i < pick->run_count; i++)
        segments += pick->runs[i].count;
    in->runs = bl_alloc_array(pick->run_count, sizeof(in->runs[0]));
    in->ids = bl_alloc_array(segments + 1, sizeof(in->ids[0]));
    if (in->runs == NULL || in->ids == NULL)
        return bl_fail(error, BOLE_NO_MEMORY, "inputs of a compaction");
    bole_slice smallest = { NULL, 0 }, largest = { NULL, 0 };
    for (uint32_t i = 0; i < pick->run_count; i++) {
        const struct bl_pick_run *part = &pick->runs[i];
        in->runs[i] = find_run(in->table, part);
        bl_assert(in->runs[i] != NULL && part->first + part->count <= in->runs[i]->count);
        for (uint32_t j = part->first; j < part->first + part->count; j++)
            add_segment(in, bl_segment_meta_of(in->runs[i]->segments[j]), &smallest, &largest);
    }
    if (in->table->comparator == NULL)
        in->head_offset = (uint32_t)bl_slice_common_prefix(smallest, largest);
    in->output_run = pick->output_level == 0 ? pick->runs[0].run : 0;
    return BOLE_OK;
}

static bole_status open_merge(const inputs *in, const bl_pick *pick, bool fresh, uint64_t *bytes_read,
                              bl_merge *merge, bole_error *error)
{
    bl_cursor **cursors = bl_alloc_array(pick->run_count, sizeof(bl_cursor *));
    if (cursors == NULL)
        return bl_fail(error, BOLE_NO_MEMORY, "cursors over %u runs", pick->run_count);
    bl_segment_cursor_options options = { .fresh = fresh, .read_ahead = true, .bytes_read = bytes_read };
    bole_status status = BOLE_OK;
    uint32_t count = 0;
    for (; count < pick->run_count && status == BOLE_OK; count++) {
        const struct bl_pick_run *part = &pick->runs[count];
        status = bl_segment_cursor(in->runs[count]->segments + part->first, part->count, &options,
                                   &cursors[count], error);
    }
    if (status == BOLE_OK) {
        status = bl_merge_init(merge, cursors, count, in->table->comparator, in->head_offset);
        if (status != BOLE_OK)
            (void)bl_fail(error, status, "merge of %u runs", count);
    } else {
        for (uint32_t i = 0; i + 1 < count; i++) /* the last one failed */
            bl_cursor_close(cursors[i]);
    }
    bl_free(cursors);
    return status;
}

static bole_status cut_outputs(bl_output_plan *plan, const inputs *in, const bl_pick *pick,
                               uint64_t segment_bytes, bole_error *error)
{
    if (pick->output_level != BL_LEVEL_LAST)
        return bl_output_plan_cut_above(plan, segment_bytes, error);
    uint32_t at = pick->run_count - 1; /* a run of the output level comes last */
    const struct bl_pick_run *part = &pick->runs[at];
    uint32_t count = part->level == BL_LEVEL_LAST ? part->count : 0;
    return bl_output_plan_cut_last(plan, segment_bytes, in->runs[at], part->first, count, error);
}

/* The present entry, kept with `tag` or dropped. */
static bole_status pass_on(const bl_cursor *entry, bool keeps, bool new_key, uint64_t tag,
                           bl_job_output *output, bl_value_output *values, bole_error *error)
{
    bole_slice value = entry->value;
    bole_status status = BOLE_OK;
    if (bl_unlikely(bl_tag_kind(entry->tag) == BL_KIND_PUT_WITH_VALUE_POINTER))
        status = keeps ? bl_value_output_carry(values, entry->key, tag, &value, error)
                       : bl_value_output_drop(values, entry->key, value, error);
    return keeps && status == BOLE_OK ? bl_job_output_add(output, entry, new_key, tag, value, error) : status;
}

static bole_status merge_all(bl_merge *merge, bl_job_output *output, bl_value_output *values,
                             bl_version_filter *filter, bl_job_result *out, bole_error *error)
{
    bl_key_watch watch;
    bole_status status = bl_key_watch_init(&watch, error);
    if (status != BOLE_OK)
        return status;
    for (bl_merge_seek_first(merge); merge->current != NULL; bl_merge_next(merge)) {
        const bl_cursor *entry = merge->current;
        uint64_t tag = entry->tag;
        out->entries_in++;
        bl_assert(bl_kind_is_stored((uint8_t)bl_tag_kind(tag))); /* (READER-1); no writer takes others */
        bool new_key = bl_key_watch_is_new(&watch, entry);
        bool keeps = bl_version_filter_keeps(filter, new_key, &tag);
        out->entries_dropped += !keeps;
        uint64_t moved = out->values_moved;
        status = pass_on(entry, keeps, new_key, tag, output, values, error);
        if (status == BOLE_OK)
            status = bl_job_output_went_by(output,
                                           entry->key.size + entry->value.size + out->values_moved - moved,
                                           error);
        if (bl_unlikely(status != BOLE_OK))
            break;
    }
    if (status == BOLE_OK && merge->status != BOLE_OK) {
        status = merge->status;
        if (error != NULL && merge->error != NULL)
            *error = *merge->error;
    }
    bl_key_watch_deinit(&watch);
    return status;
}

/* (COM-3) */
static bole_status check_counts(const inputs *in, const bl_job_result *out, bole_error *error)
{
    if (out->entries_in == in->entries && out->entries_in == out->entries_out + out->entries_dropped)
        return BOLE_OK;
    return bl_corrupt(error, "", BL_NO_OFFSET,
                      "a compaction read %llu entries where its inputs should have %llu, wrote %llu and "
                      "dropped %llu",
                      (unsigned long long)out->entries_in, (unsigned long long)in->entries,
                      (unsigned long long)out->entries_out, (unsigned long long)out->entries_dropped);
}

bole_status bl_compaction_run(const bl_job_context *job, const bl_version *version, const bl_pick *pick,
                              bl_job_result *out, bole_error *error)
{
    bl_assert(!pick->trivial_move);
    *out = (bl_job_result){ .metas = NULL };
    inputs in;
    bl_merge merge = { .current = NULL };
    bl_job_output output = { .job = job };
    bl_value_output values = { .job = job };
    bl_output_plan plan = { .level = pick->output_level };
    bl_version_filter filter;
    bool last = pick->output_level == BL_LEVEL_LAST;
    bole_status status = inputs_init(&in, version, pick, error);
    if (status != BOLE_OK)
        goto out;
    bl_version_filter_init(&filter, job->snapshots, job->snapshot_count, job->visible, pick->bottom,
                           pick->bottom && last);
    plan.table = in.table;
    plan.run = in.output_run;
    plan.entries = in.entries;
    plan.bytes = in.bytes;
    plan.inputs = in.ids;
    plan.input_count = in.count;
    plan.head_offset = in.head_offset;
    /* All of it is below every reader: the writer leaves the sequences out and the meta keeps their range. */
    if (filter.zero && in.sequence_max < bl_version_filter_lowest(&filter)) {
        plan.zero_sequences = true;
        filter.zero = false;
    }
    status = cut_outputs(&plan, &in, pick, job->segment_bytes, error);
    if (status != BOLE_OK)
        goto out;
    bl_job_output_begin(&output, job, &plan, out);
    bl_value_output_begin(&values, job, in.table, out, last ? pick->garbage_share : 0);
    status = open_merge(&in, pick, job->entry_checksums, &out->bytes_read, &merge, error);
    if (status == BOLE_OK)
        status = merge_all(&merge, &output, &values, &filter, out, error);
    if (status == BOLE_OK)
        status = bl_job_output_end(&output, error);
    if (status == BOLE_OK)
        status = bl_value_output_end(&values, error);
    if (status == BOLE_OK)
        status = check_counts(&in, out, error);
out:
    bl_value_output_abandon(&values);
    bl_job_output_abandon(&output);
    bl_merge_deinit(&merge);
    bl_output_plan_deinit(&plan);
    inputs_deinit(&in);
    if (status != BOLE_OK)
        bl_job_result_discard(out);
    return status;
}
