/* SPDX-License-Identifier: MIT */
/* job_search.c -- of all merges that the level map allows, the one that rewrites the least for what it brings down.
 *
 * A job is a span of ranks, begun and ended where no target segment is cut, and in it all that may go (MAP-2). Spans
 * begin with each source item and widen until the job is large enough: the narrow ones are many, the wide
 * ones few, and
 * each is filled with binary searches over integers, a microsecond or so.
 * COST        bytes read for each byte that goes down, and a quarter of job_bytes for the job itself; dearer by what it
 *             exceeds two job_bytes: a job must be able to give way. A wider job can be cheaper, because segments that
 *             reach over a narrow one's edge fit in.
 * NOT HERE    Which level is due, and whether a merge is worth it: compaction_pick.c. */
#include "compaction/job_search.h"

#include "base/alloc.h"
#include "base/status.h"

bole_status bl_picker_init(bl_picker *p, const bl_version_table *table, const bl_pick_policy *policy,
                           bool (*busy)(void *context, uint64_t number), void *context, bole_error *error)
{
    *p = (bl_picker){ .policy = policy };
    bole_status status = bl_level_map_init(&p->map, table, busy, context, error);
    if (status != BOLE_OK)
        return status;
    p->wanted_high = p->map.end;
    status = bl_map_job_init(&p->best, &p->map, error);
    if (status == BOLE_OK)
        status = bl_map_job_init(&p->trial, &p->map, error);
    return status; /* on failure the caller deinits too */
}

void bl_picker_deinit(bl_picker *p)
{
    bl_map_job_deinit(&p->best);
    bl_map_job_deinit(&p->trial);
    bl_level_map_deinit(&p->map);
}

bl_map_scope bl_picker_scope(const bl_level_map *map, uint32_t first, uint32_t output_level)
{
    bl_map_scope scope = { .first = first, .target = bl_level_map_layer(map, output_level) };
    for (scope.end = 0; scope.end < map->layer_count && map->layers[scope.end].level < output_level;)
        scope.end++;
    scope.below = scope.end + (scope.target != BL_NO_LAYER);
    return scope;
}

static bool is_bottom(const bl_level_map *map, uint32_t below, uint32_t low, uint32_t high)
{
    for (uint32_t i = below; i < map->layer_count; i++)
        if (bl_level_map_overlap(&map->layers[i], low, high).count != 0)
            return false;
    return true;
}

bole_status bl_picker_emit(const bl_picker *p, const bl_map_job *job, uint32_t output_level, uint32_t below,
                           bl_pick *out, bole_error *error)
{
    const bl_level_map *map = &p->map;
    out->runs = bl_alloc_array((size_t)map->layer_count + 1, sizeof(out->runs[0]));
    if (out->runs == NULL)
        return bl_fail(error, BOLE_NO_MEMORY, "inputs of a compaction");
    for (uint32_t i = 0; i < map->layer_count; i++)
        if (job->ranges[i].count != 0)
            out->runs[out->run_count++] = (struct bl_pick_run){ .level = map->layers[i].level,
                                                                .run = map->layers[i].run,
                                                                .first = job->ranges[i].first,
                                                                .count = job->ranges[i].count };
    out->table = map->table->number;
    out->output_level = output_level;
    out->input_bytes = job->source_bytes + job->target_bytes;
    out->bottom = is_bottom(map, below, job->low, job->high);
    return BOLE_OK;
}

void bl_picker_want_range(bl_picker *p, bole_slice begin, bole_slice end)
{
    bl_comparator *comparator = p->map.table->comparator;
    for (uint32_t i = 0; i < p->map.item_count; i++) {
        const bl_map_item *item = &p->map.items[i];
        const struct {
            bole_slice key;
            int64_t rank;
        } edges[] = { { item->meta->smallest, item->low }, { item->meta->largest, item->high } };
        for (int j = 0; j < 2; j++) {
            if (begin.data != NULL && edges[j].rank >= p->wanted_low &&
                bl_compare(comparator, edges[j].key, begin) < 0)
                p->wanted_low = edges[j].rank + 1;
            if (end.data != NULL && edges[j].rank <= p->wanted_high &&
                bl_compare(comparator, edges[j].key, end) > 0)
                p->wanted_high = edges[j].rank - 1;
        }
    }
}

/* ---- Spans ---- */

static void sort_ranks(uint32_t *ranks, uint32_t *count)
{
    for (uint32_t gap = *count / 2; gap > 0; gap /= 2) /* Shell's */
        for (uint32_t i = gap; i < *count; i++) {
            uint32_t rank = ranks[i], at = i;
            for (; at >= gap && ranks[at - gap] > rank; at -= gap)
                ranks[at] = ranks[at - gap];
            ranks[at] = rank;
        }
    uint32_t kept = 0;
    for (uint32_t i = 0; i < *count; i++)
        if (kept == 0 || ranks[i] != ranks[kept - 1])
            ranks[kept++] = ranks[i];
    *count = kept;
}

/* Where spans may begin and end, so that no target segment is cut: for each source item, at its own edge, or, inside a
 * target segment, just behind the one before or before the next. */
static void collect_spans(bl_level_map *map, const bl_map_scope *scope, uint32_t *start_count,
                          uint32_t *end_count)
{
    uint32_t count = 0;
    for (uint32_t i = scope->first; i < scope->end; i++) {
        for (uint32_t j = 0; j < map->layers[i].count; j++, count++) {
            const bl_map_item *item = &map->layers[i].items[j];
            map->starts[count] = item->low;
            map->ends[count] = item->high;
            if (scope->target == BL_NO_LAYER)
                continue;
            const bl_map_layer *target = &map->layers[scope->target];
            bl_map_range at = bl_level_map_overlap(target, item->low, item->low);
            if (at.count != 0)
                map->starts[count] = at.first > 0 ? target->items[at.first - 1].high + 1 : 0;
            at = bl_level_map_overlap(target, item->high, item->high);
            if (at.count != 0)
                map->ends[count] = at.first + 1 < target->count ? target->items[at.first + 1].low - 1
                                                                : map->end - 1;
        }
    }
    *start_count = *end_count = count;
    sort_ranks(map->starts, start_count);
    sort_ranks(map->ends, end_count);
}

/* Bytes read for each byte that goes down. A job costs something by itself, so a small one is dearer; and so is one
 * that is too long to give way. */
static double cost_of(const bl_picker *p, const bl_map_job *job)
{
    double job_bytes = (double)p->policy->job_bytes;
    double source = job->source_bytes == 0 ? 1 : (double)job->source_bytes;
    double input = source + (double)job->target_bytes;
    return (input + job_bytes / 4) / source * (input > 2 * job_bytes ? input / (2 * job_bytes) : 1);
}

bool bl_picker_wants(const bl_picker *p, const bl_map_item *item)
{
    return item->low <= p->wanted_high && item->high >= p->wanted_low;
}

bool bl_picker_takes_wanted(const bl_picker *p, const bl_map_job *job)
{
    for (uint32_t i = 0; i < p->map.layer_count && p->map.layers[i].level < BL_LEVEL_LAST; i++)
        for (uint32_t j = job->ranges[i].first; j < job->ranges[i].first + job->ranges[i].count; j++)
            if (bl_picker_wants(p, &p->map.layers[i].items[j]))
                return true;
    return false;
}

void bl_picker_find_best(bl_picker *p, const bl_map_scope *scope)
{
    bl_level_map *map = &p->map;
    uint32_t start_count, end_count, first_end = 0;
    bl_level_map_zones(map, scope->target);
    collect_spans(map, scope, &start_count, &end_count);
    p->best.sources = 0;
    for (uint32_t i = 0; i < start_count; i++) {
        while (first_end < end_count && map->ends[first_end] < map->starts[i])
            first_end++;
        bool found = false;
        for (uint32_t j = first_end; j < end_count; j++) {
            bl_map_job_fill(&p->trial, map, scope, map->starts[i], map->ends[j]);
            if (p->trial.sources == 0)
                continue;
            if (!bl_level_map_is_free(map, p->trial.low, p->trial.high))
                break; /* nor is a wider one */
            if (p->accepts == NULL || p->accepts(p, &p->trial)) {
                double cost = cost_of(p, &p->trial);
                if (p->best.sources == 0 || cost < p->best_cost) {
                    bl_map_job_copy(&p->best, &p->trial, map);
                    p->best_cost = cost;
                }
                if (p->any)
                    return;
                found = true;
            }
            if (found && p->trial.source_bytes + p->trial.target_bytes > 2 * p->policy->job_bytes)
                break;
        }
    }
}

void bl_picker_take_small_neighbours(bl_picker *p, bl_map_job *job, uint32_t target)
{
    if (target == BL_NO_LAYER)
        return;
    const bl_map_layer *layer = &p->map.layers[target];
    uint64_t small = p->policy->segment_bytes / 4;
    for (;;) {
        bl_map_range range = job->ranges[target];
        if (range.count == 0) { /* the gap where the job would go */
            range.first = 0;
            while (range.first < layer->count && layer->items[range.first].high < job->low)
                range.first++;
        }
        uint32_t end = range.first + range.count;
        bl_map_range wider = range;
        if (range.first > 0 && layer->items[range.first - 1].meta->file_bytes < small &&
            bl_level_map_is_free(&p->map, layer->items[range.first - 1].low, job->high))
            wider = (bl_map_range){ range.first - 1, range.count + 1 };
        else if (end < layer->count && layer->items[end].meta->file_bytes < small &&
                 bl_level_map_is_free(&p->map, job->low, layer->items[end].high))
            wider.count++;
        if (wider.count == range.count ||
            job->source_bytes + job->target_bytes + small > p->policy->job_bytes)
            return;
        bl_map_job_widen(job, &p->map, target, wider);
    }
}
