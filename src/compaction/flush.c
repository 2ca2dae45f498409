/* SPDX-License-Identifier: MIT */
/* flush.c -- a sealed memtable becomes segments.
 *
 * One walk over each table's tree, every version, newest first within a key: what somebody can still see
 * is written, in
 * a new level-0 run cut where the runs before were cut (job_output.c), so that it goes down group by group. Large
 * values, when there are enough of them to be worth a file, go into value segments (value_output.c).
 *
 * INVARIANTS  (FLUSH-1) Every version that a reader at a snapshot, at `visible` or above it can see is in the outputs.
 *                       A tombstone goes only when no segment of its table overlaps the tree's keys.
 *             (FLUSH-2) The walk has shown exactly the versions that the tree has counted, else the job fails: an
 *                       acknowledged write would be missing.
 *             (FLUSH-3) When it fails nothing is left behind, in memory or in the directory.
 * THREADS     One flush at a time, in log order; readers go on reading the memtable. */
#include "compaction/flush.h"

#include "base/assert.h"
#include "base/buffer.h"
#include "base/slice.h"
#include "base/status.h"
#include "compaction/job_output.h"
#include "compaction/value_output.h"
#include "compaction/version_filter.h"

/* The tree's first and last key: their common prefix is where heads begin; does nothing lie below them? */
static bole_status look_at_range(bl_cursor *cursor, const bl_version_table *table, bl_output_plan *plan,
                                 bool *bottom, bole_error *error)
{
    cursor->heads_off = table->comparator != NULL;
    cursor->ops->seek_last(cursor);
    bl_assert(cursor->valid); /* a tree that is flushed has entries, and a cursor over memory does not fail */
    bole_buffer largest = BOLE_BUFFER_INIT;
    if (cursor->key.size != 0 && !bl_buffer_assign(&largest, cursor->key.data, cursor->key.size))
        return bl_fail(error, BOLE_NO_MEMORY, "copy of a key of %zu bytes", cursor->key.size);
    bole_slice last = bl_slice(largest.data, largest.size);
    cursor->ops->seek_first(cursor);
    bl_assert(cursor->valid);
    if (!cursor->heads_off)
        plan->head_offset = (uint32_t)bl_slice_common_prefix(cursor->key, last);
    *bottom = true;
    for (uint32_t level = 0; level < BOLE_LEVELS_MAX && *bottom; level++) {
        for (uint32_t i = 0; i < table->levels[level].run_count && *bottom; i++) {
            const bl_run *run = &table->levels[level].runs[i];
            uint32_t at = bl_run_lower_bound(run, table->comparator, cursor->key);
            *bottom = at == run->count || bl_compare(table->comparator, run->smallest[at], last) > 0;
        }
    }
    bole_buffer_free(&largest);
    return BOLE_OK;
}

static bole_status changed_in_memory(const bl_memtable *memtable, const bl_cursor *cursor,
                                     const bl_version_table *table, bole_error *error)
{
    char key[96] = "?"; /* its length may have changed */
    if (bl_memtable_holds(memtable, cursor->key))
        (void)bl_slice_escape(cursor->key, key, sizeof key);
    return bl_corrupt(error, "", BL_NO_OFFSET,
                      "an entry of table \"%s\" changed in memory after it was put, key %s; nothing of it is "
                      "written, and its log is read when the store is opened again",
                      table->name, key);
}

/* Values of at least `large` bytes go apart. */
static bole_status keep(const bl_cursor *cursor, bl_job_output *output, bl_value_output *values,
                        uint64_t large, bool new_key, uint64_t tag, bole_error *error)
{
    bole_slice value = cursor->value;
    if (bl_unlikely(value.size >= large) && bl_tag_kind(tag) == BL_KIND_PUT) {
        bole_status status = bl_value_output_put(values, cursor->key, tag, cursor->value, &value, error);
        if (status != BOLE_OK)
            return status;
        tag = BL_TAG(bl_tag_sequence(tag), BL_KIND_PUT_WITH_VALUE_POINTER);
    }
    return bl_job_output_add(output, cursor, new_key, tag, value, error);
}

static bole_status walk(bl_cursor *cursor, bl_job_output *output, bl_value_output *values, uint64_t large,
                        bl_version_filter *filter, const bl_memtable *checked, uint64_t *shown,
                        bole_error *error)
{
    bl_key_watch watch;
    bole_status status = bl_key_watch_init(&watch, error);
    if (status != BOLE_OK)
        return status;
    cursor->head_offset = output->plan->head_offset;
    for (cursor->ops->seek_first(cursor); cursor->valid; bl_cursor_next(cursor)) {
        uint64_t tag = cursor->tag;
        ++*shown;
        if (bl_unlikely(!bl_kind_is_built((uint8_t)bl_tag_kind(tag)))) {
            status = bl_fail(error, BOLE_UNSUPPORTED, "operation of kind %d in a memtable",
                             (int)bl_tag_kind(tag));
            break;
        }
        if (bl_unlikely(checked != NULL)) {
            bole_slice key = cursor->key, value = cursor->value;
            if (!bl_memtable_entry_is_whole(checked, output->plan->table->number, key, value, tag)) {
                status = changed_in_memory(checked, cursor, output->plan->table, error);
                break;
            }
        }
        bool new_key = bl_key_watch_is_new(&watch, cursor);
        if (bl_version_filter_keeps(filter, new_key, &tag))
            status = keep(cursor, output, values, large, new_key, tag, error);
        else
            output->result->entries_dropped++;
        if (status == BOLE_OK)
            status = bl_job_output_went_by(output, cursor->key.size + cursor->value.size, error);
        if (bl_unlikely(status != BOLE_OK))
            break;
    }
    bl_assert(cursor->status == BOLE_OK);
    bl_key_watch_deinit(&watch);
    return status;
}

/* All of one tree; `cursor` shows every version. */
static bole_status flush_tree(bl_job_output *output, const bl_job_context *job, bl_cursor *cursor,
                              const bl_memtable_summary *summary, uint64_t large,
                              const bl_version_table *table, const bl_memtable *checked, bl_job_result *out,
                              bole_error *error)
{
    enum { POINTER_BYTES = 12 }; /* about */
    bl_value_output values;
    const bl_level *top = &table->levels[0];
    bl_output_plan plan = {
        .table = table,
        .run = top->run_count == 0 ? 1 : top->runs[0].number + 1,
        .entries = summary->versions,
        .bytes = summary->key_bytes + summary->value_bytes + BL_ENTRY_OVERHEAD * summary->versions,
    };
    if (summary->large_bytes < job->large_bytes_min || summary->large_bytes == 0)
        large = UINT64_MAX;
    else
        plan.bytes -= summary->large_bytes - POINTER_BYTES * summary->large_values;
    bool bottom = false;
    uint64_t shown = 0, written_before = out->entries_out, dropped_before = out->entries_dropped;
    bl_value_output_begin(&values, job, table, out, 0);
    bole_status status = look_at_range(cursor, table, &plan, &bottom, error);
    if (status == BOLE_OK)
        status = bl_output_plan_cut_above(&plan, job->segment_bytes, error);
    if (status == BOLE_OK) {
        bl_version_filter filter;
        bl_version_filter_init(&filter, job->snapshots, job->snapshot_count, job->visible, bottom, false);
        bl_job_output_begin(output, job, &plan, out);
        status = walk(cursor, output, &values, large, &filter, checked, &shown, error);
    }
    if (status == BOLE_OK)
        status = bl_job_output_end(output, error);
    if (status == BOLE_OK)
        status = bl_value_output_end(&values, error);
    bl_value_output_abandon(&values);
    bl_job_output_abandon(output);
    uint64_t written = out->entries_out - written_before, dropped = out->entries_dropped - dropped_before;
    if (status == BOLE_OK && (shown != summary->versions || shown != written + dropped))
        status = bl_corrupt(
            error, "", BL_NO_OFFSET,
            "a memtable of table %u counted %llu versions and showed %llu, of which %llu were "
            "written and %llu dropped",
            table->number, (unsigned long long)summary->versions, (unsigned long long)shown,
            (unsigned long long)written, (unsigned long long)dropped);
    out->entries_in += shown;
    bl_output_plan_deinit(&plan);
    return status;
}

bole_status bl_flush_run(const bl_job_context *job, bl_memtable *memtable, const bl_version *version,
                         bl_job_result *out, bole_error *error)
{
    *out = (bl_job_result){ .metas = NULL };
    bl_job_output output = { .job = job };
    bole_status status = BOLE_OK;
    for (uint32_t i = 0; i < bl_memtable_tree_count(memtable) && status == BOLE_OK; i++) {
        const bl_memtable_tree *tree = bl_memtable_tree_at(memtable, i);
        bl_memtable_summary summary;
        bl_memtable_summarize(tree, &summary);
        const bl_version_table *table = bl_version_table_by_number(version, summary.table);
        if (table == NULL || summary.versions == 0)
            continue; /* dropped since */
        bl_cursor *cursor;
        status = bl_memtable_cursor(memtable, tree, BL_VERSIONS_ALL, BL_SEQUENCE_MAX, &cursor);
        if (status != BOLE_OK) {
            status = bl_fail(error, status, "cursor over a memtable");
            break;
        }
        status = flush_tree(&output, job, cursor, &summary, bl_memtable_large_value_bytes(memtable), table,
                            bl_memtable_carries_checksums(memtable) ? memtable : NULL, out, error);
        bl_cursor_close(cursor);
    }
    if (status != BOLE_OK)
        bl_job_result_discard(out);
    return status;
}
