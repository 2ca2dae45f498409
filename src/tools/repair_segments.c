/* SPDX-License-Identifier: MIT */
/* repair_segments.c -- which segments of a damaged store count, and what can be read of each.
 *
 * With a trusted manifest: those that it names. Else every segment that is there, but for those that an edit removed,
 * those of dropped tables, and those that were merged into others: a segment says from which it was made, and when one
 * of these is gone, the edit that put it in their place was durable, so that the others are obsolete too. While all of
 * them are there nothing is proved, and they count as well: with all versions and tombstones at hand the newest wins.
 * A segment that is only partly readable makes nothing obsolete.
 *
 * A value segment is no source of entries: of an entry that points into it the value is fetched when it is written
 * (repair_write.c), and what nothing points to any more is not brought back. Where value segments are missing and the
 * manifest is not trusted they tell more: a segment that points into one is obsolete when another was made from it (an
 * edit removed the values), and is the output of a merge that did not end when all that it was made from is there. */
#include "tools/repair.h"

#include <stdio.h>

#include "base/alloc.h"
#include "base/status.h"
#include "version/file_name.h"

static bole_status out_of_memory(bl_repair *repair, const char *what)
{
    return bl_fail(repair->error, BOLE_NO_MEMORY, "%s", what);
}

/* ---- Losses ---------------------------------------------------------------------------------------------------- */

static bool set_end(bole_buffer *buffer, bool *open, bole_slice key)
{
    *open = key.data == NULL;
    return *open || key.size == 0 || bl_buffer_assign(buffer, key.data, key.size);
}

static bole_status add_range(bl_repair *repair, uint64_t offset, bole_slice after, bole_slice upto,
                             const char *why)
{
    void *grown = bl_repair_grow(repair, repair->ranges, &repair->range_count, &repair->range_capacity,
                                 sizeof(repair->ranges[0]));
    if (grown == NULL)
        return BOLE_NO_MEMORY;
    repair->ranges = grown;
    bl_repair_range *range = &repair->ranges[repair->range_count - 1];
    range->offset = offset;
    range->why = bl_string_copy(why);
    if (range->why == NULL || !set_end(&range->after, &range->after_open, after) ||
        !set_end(&range->upto, &range->upto_open, upto))
        return out_of_memory(repair, "a lost range");
    return BOLE_OK;
}

static bole_status note_loss(void *context, const bl_segment_loss *loss, bole_error *error)
{
    (void)error; /* the same as the repair's */
    return add_range(context, loss->offset, loss->after, loss->upto, bl_repair_reason(context, loss->why));
}

static bole_status pass_loss(void *context, const bl_segment_loss *loss, bole_error *error)
{
    (void)context, (void)loss, (void)error; /* each entry that points there tells */
    return BOLE_OK;
}

/* ---- Looking through ------------------------------------------------------------------------------------------- */

static bool counts(const bl_repair *repair, const bl_repair_segment *segment)
{
    if (segment->removed || (repair->trusted && !segment->named))
        return false;
    bl_repair_table *table = segment->named
                                 ? bl_repair_table_of((bl_repair *)(uintptr_t)repair, segment->table)
                                 : NULL;
    return table == NULL || !table->dropped;
}

/* Nothing says to which table it belongs: what it lost may have been of any. */
static bool is_homeless(const bl_repair_segment *segment)
{
    return !segment->named && segment->found.footer == NULL && !segment->values;
}

/* A table from what the file, or an edit, says; else one by the segment's number. */
static bole_status find_table(bl_repair *repair, bl_repair_segment *segment)
{
    const bl_segment_footer *footer = segment->found.footer;
    bool homeless = is_homeless(segment);
    segment->table = footer != NULL ? footer->meta.table : segment->table;
    if (homeless)
        segment->table = UINT32_MAX - (uint32_t)segment->number;
    bl_repair_table *table = bl_repair_table_make(repair, segment->table);
    if (table == NULL)
        return BOLE_NO_MEMORY;
    char name[64];
    snprintf(name, sizeof name, "salvaged-segment-%llu", (unsigned long long)segment->number);
    if (homeless && !bl_repair_table_name(repair, table, name, BL_COMPARATOR_BYTES_NAME))
        return BOLE_NO_MEMORY;
    if (footer != NULL && !bl_repair_table_name(repair, table, footer->table_name, footer->comparator_name))
        return BOLE_NO_MEMORY;
    return BOLE_OK;
}

static void drop_ranges(bl_repair *repair, uint32_t from)
{
    while (repair->range_count > from) {
        bl_repair_range *range = &repair->ranges[--repair->range_count];
        bole_buffer_free(&range->after);
        bole_buffer_free(&range->upto);
        bl_free(range->why);
    }
}

static bole_status look_through(bl_repair *repair, bl_repair_segment *segment)
{
    char path[BL_PATH_BYTES_MAX];
    bole_error story = BOLE_ERROR_INIT;
    bole_status status = BOLE_NOT_FOUND;
    bl_store_path(path, repair->path, BL_FILE_SEGMENT, segment->number);
    segment->range_first = repair->range_count;
    segment->values = segment->named && bl_segment_meta_holds_values(&segment->meta);
    if (segment->on_disk)
        status = bl_segment_salvage_open(repair->vfs, path, segment->named ? &segment->meta : NULL,
                                         segment->values ? pass_loss : note_loss, repair, &segment->salvage,
                                         &story);
    if (status == BOLE_NO_MEMORY)
        return bl_fail(repair->error, status, "%s", story.message);
    if (status != BOLE_OK && segment->values)
        return BOLE_OK;      /* each entry that points there tells */
    if (status != BOLE_OK) { /* nothing of it can be read */
        const char *why = status != BOLE_NOT_FOUND ? bl_repair_reason(repair, story.message)
                          : repair->trusted
                              ? "the file is missing"
                              : "the file is missing: lost, unless an edit that is lost let go of it";
        bole_slice open = { NULL, 0 };
        status = add_range(repair, BL_NO_OFFSET, open, segment->named ? segment->meta.largest : open, why);
        segment->sequence_max = segment->named ? segment->meta.sequence_max : UINT64_MAX;
    } else {
        bl_segment_salvage_describe(segment->salvage, &segment->found);
        if (segment->found.holds_values &&
            !segment->values) { /* only the file says so: its losses are none */
            segment->values = true;
            drop_ranges(repair, segment->range_first);
        }
        if (segment->found.footer != NULL)
            segment->sequence_max = segment->found.footer->meta.sequence_max;
        if (!segment->values || segment->found.footer != NULL)
            status = find_table(repair, segment);
        if (status == BOLE_OK && is_homeless(segment)) {
            bole_slice open = { NULL, 0 };
            segment->sequence_max = UINT64_MAX;
            status = add_range(
                repair, BL_NO_OFFSET, open, open,
                "its end is damaged: nothing says to which table it belonged, nor what stood behind "
                "the last readable block");
        }
    }
    segment->range_count = repair->range_count - segment->range_first;
    return status;
}

/* ---- What was merged away -------------------------------------------------------------------------------------- */

/* The segment with this id, as far as it can be read; NULL: it is gone. */
static const bl_repair_segment *with_id(const bl_repair *repair, bl_id id)
{
    for (uint32_t i = 0; i < repair->segment_count; i++)
        if (repair->segments[i].salvage != NULL && bl_id_equal(repair->segments[i].found.id, id))
            return &repair->segments[i];
    return NULL;
}

/* Without a trusted manifest a segment may be missing because a lost edit let go of it: it is not lost when one that is
 * whole was made from it. */
static void excuse_missing(bl_repair *repair)
{
    for (uint32_t i = 0; i < repair->segment_count; i++) {
        bl_repair_segment *missing = &repair->segments[i];
        for (uint32_t j = 0; missing->used && !missing->on_disk && j < repair->segment_count; j++) {
            const bl_repair_segment *output = &repair->segments[j];
            bool whole = output->used && output->salvage != NULL && output->found.complete &&
                         output->found.footer != NULL;
            for (uint32_t k = 0; whole && k < output->found.footer->input_count; k++)
                if (bl_id_equal(output->found.footer->inputs[k], missing->meta.id))
                    missing->used = false;
        }
    }
}

/* Does it point into a value segment whose file is gone? */
static bool points_nowhere(const bl_repair *repair, const bl_repair_segment *segment)
{
    bole_slice uses = segment->found.footer == NULL ? segment->meta.value_uses
                                                    : segment->found.footer->meta.value_uses;
    bl_value_use use;
    while (bl_value_uses_next(&uses, &use)) {
        const bl_repair_segment *values = bl_repair_segment_of(repair, use.segment);
        if (values == NULL || !values->on_disk)
            return true;
    }
    return false;
}

/* An output whose value segment was not finished, while all that it was made from is there: the merge did not end. */
static bole_status drop_unfinished(bl_repair *repair, bl_repair_segment *output)
{
    const bl_segment_footer *footer = output->found.footer;
    bool unfinished = footer->input_count != 0 && points_nowhere(repair, output);
    for (uint32_t i = 0; unfinished && i < footer->input_count; i++) {
        const bl_repair_segment *input = with_id(repair, footer->inputs[i]);
        unfinished = input != NULL && !points_nowhere(repair, input);
    }
    if (!unfinished)
        return BOLE_OK;
    output->used = false;
    char name[64];
    snprintf(name, sizeof name, "%06llu.seg", (unsigned long long)output->number);
    return bl_repair_tell(repair, BOLE_REPAIR_NOTE,
                          &(bl_repair_place){ name, BL_NO_OFFSET, NULL, { 0 }, { 0 } },
                          "not used: the merge that wrote it did not write its values");
}

/* An output of a merge is there, and one of the inputs is gone, or what it points to: so are the others, but for their
 * files. */
static bole_status drop_inputs(bl_repair *repair, const bl_repair_segment *output)
{
    const bl_segment_footer *footer = output->found.footer;
    bool proved = false;
    for (uint32_t i = 0; i < footer->input_count && !proved; i++) {
        const bl_repair_segment *input = with_id(repair, footer->inputs[i]);
        proved = input == NULL || points_nowhere(repair, input);
    }
    for (uint32_t i = 0; proved && i < footer->input_count; i++)
        for (uint32_t j = 0; j < repair->segment_count; j++) {
            bl_repair_segment *input = &repair->segments[j];
            if (!input->used || !bl_id_equal(input->found.id, footer->inputs[i]))
                continue;
            input->used = false;
            char name[64];
            snprintf(name, sizeof name, "%06llu.seg", (unsigned long long)input->number);
            bole_status status = bl_repair_tell(repair, BOLE_REPAIR_NOTE,
                                                &(bl_repair_place){ name, BL_NO_OFFSET, NULL, { 0 }, { 0 } },
                                                "not used: it was merged into segment %llu",
                                                (unsigned long long)output->number);
            if (status != BOLE_OK)
                return status;
        }
    return BOLE_OK;
}

/* ---- Telling --------------------------------------------------------------------------------------------------- */

static bole_status tell_losses(bl_repair *repair, const bl_repair_segment *segment, const char *name,
                               const char *table)
{
    bole_status status = BOLE_OK;
    for (uint32_t i = 0; i < segment->range_count && status == BOLE_OK; i++) {
        bl_repair_range *range = &repair->ranges[segment->range_first + i];
        static const uint8_t empty[1] = { 0 };
        range->table = segment->table;
        range->sequence_max = segment->sequence_max;
        bl_repair_place place = {
            .file = name,
            .offset = range->offset,
            .table = table,
            .after = range->after_open
                         ? (bole_slice){ NULL, 0 }
                         : bl_slice(range->after.size == 0 ? empty : range->after.data, range->after.size),
            .upto = range->upto_open
                        ? (bole_slice){ NULL, 0 }
                        : bl_slice(range->upto.size == 0 ? empty : range->upto.data, range->upto.size),
        };
        status = bl_repair_tell(repair, BOLE_REPAIR_LOST, &place, "%s", range->why);
        repair->report->blocks_lost += segment->salvage != NULL;
    }
    return status;
}

static bole_status tell(bl_repair *repair, const bl_repair_segment *segment)
{
    char name[64];
    bl_repair_table *table = segment->salvage != NULL || segment->named
                                 ? bl_repair_table_of(repair, segment->table)
                                 : NULL;
    const char *table_name = table == NULL ? NULL : table->name;
    snprintf(name, sizeof name, "%06llu.seg", (unsigned long long)segment->number);
    bole_repair_report *report = repair->report;
    bole_status status = BOLE_OK;
    if (segment->salvage == NULL) {
        report->segments_missing += !segment->values; /* else when an entry needs it */
    } else {
        const bl_segment_salvaged *found = &segment->found;
        report->segments++;
        report->segments_damaged += !found->complete;
        report->blocks += found->blocks;
        status = bl_repair_tell(repair, BOLE_REPAIR_KEPT,
                                &(bl_repair_place){ name, BL_NO_OFFSET, table_name, { 0 }, { 0 } },
                                "%llu blocks with %llu %s can be read%s", (unsigned long long)found->blocks,
                                (unsigned long long)found->entries, segment->values ? "values" : "entries",
                                found->complete ? ", all of it" : "");
    }
    return status == BOLE_OK ? tell_losses(repair, segment, name, table_name) : status;
}

bole_status bl_repair_segments(bl_repair *repair)
{
    bole_status status = BOLE_OK;
    for (uint32_t i = 0; i < repair->segment_count && status == BOLE_OK; i++) {
        bl_repair_segment *segment = &repair->segments[i];
        segment->used = (segment->on_disk || segment->named) && counts(repair, segment);
        if (segment->used)
            status = look_through(repair, segment);
        bl_repair_table *table = bl_repair_table_of(repair, segment->table);
        if (segment->salvage != NULL && table != NULL && table->dropped)
            segment->used = false;
    }
    for (uint32_t i = 0; i < repair->segment_count && status == BOLE_OK && !repair->trusted; i++) {
        bl_repair_segment *segment = &repair->segments[i];
        if (segment->used && segment->found.footer != NULL)
            status = drop_unfinished(repair, segment);
    }
    for (uint32_t i = 0; i < repair->segment_count && status == BOLE_OK && !repair->trusted; i++)
        if (repair->segments[i].used && repair->segments[i].found.complete &&
            repair->segments[i].found.footer != NULL)
            status = drop_inputs(repair, &repair->segments[i]);
    if (status == BOLE_OK && !repair->trusted)
        excuse_missing(repair);
    for (uint32_t i = 0; i < repair->segment_count && status == BOLE_OK; i++)
        if (repair->segments[i].used)
            status = tell(repair, &repair->segments[i]);
    return status;
}
