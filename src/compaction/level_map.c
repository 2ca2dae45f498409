/* SPDX-License-Identifier: MIT */
/* level_map.c -- segments as intervals of ranks, and the closed sets that a merge may take.
 *
 * INVARIANTS  (MAP-1) Two segments overlap in keys exactly when their intervals of ranks do.
 *             (MAP-2) A filled job takes with each item all older items of its source layers that overlap it, and all
 *                     of the target layer between its lowest and its highest rank: its outputs overlap nothing that
 *                     stays in the output level, and no version of a key sinks below an older one (VER-3).
 * NOT HERE    Which of the possible jobs is worth it: compaction_pick.c. */
#include "compaction/level_map.h"

#include "base/alloc.h"
#include "base/assert.h"
#include "base/status.h"

/* ---- Ranks ---- */

typedef struct endpoint {
    bole_slice key;
    uint32_t *rank;
} endpoint;

/* Merge the rising stretches [from, middle) and [middle, to) of `in` into `out`. */
static void merge_stretches(bl_comparator *comparator, const endpoint *in, size_t from, size_t middle,
                            size_t to, endpoint *out)
{
    size_t left = from, right = middle;
    for (size_t at = from; at < to; at++) {
        bool take_left = right == to ||
                         (left < middle && bl_compare(comparator, in[left].key, in[right].key) <= 0);
        out[at] = take_left ? in[left++] : in[right++];
    }
}

/* Each layer's endpoints rise already; merge neighbours until one stretch is left. Returns the sorted array: one of
 * the two. `bounds` holds the stretches' begins and, last, the end. */
static endpoint *sort_endpoints(bl_comparator *comparator, endpoint *in, endpoint *out, size_t *bounds,
                                size_t stretches)
{
    while (stretches > 1) {
        size_t kept = 0;
        for (size_t i = 0; i < stretches; i += 2) {
            size_t from = bounds[i], middle = bounds[i + 1];
            size_t to = i + 1 < stretches ? bounds[i + 2] : middle;
            merge_stretches(comparator, in, from, middle, to, out);
            bounds[kept++] = from;
        }
        bounds[kept] = bounds[stretches];
        stretches = kept;
        endpoint *swap = in;
        in = out;
        out = swap;
    }
    return in;
}

static bole_status rank_all(bl_level_map *map, bole_error *error)
{
    bl_comparator *comparator = map->table->comparator;
    size_t count = 2 * (size_t)map->item_count, at = 0;
    endpoint *points = bl_alloc_array(count + 1, sizeof(points[0]));
    endpoint *spare = bl_alloc_array(count + 1, sizeof(spare[0]));
    size_t *bounds = bl_alloc_array((size_t)map->layer_count + 1, sizeof(bounds[0]));
    bole_status status = BOLE_OK;
    if (points == NULL || spare == NULL || bounds == NULL) {
        status = bl_fail(error, BOLE_NO_MEMORY, "map of %u segments", map->item_count);
        goto out;
    }
    for (uint32_t i = 0; i < map->layer_count; i++) {
        bounds[i] = at;
        for (uint32_t j = 0; j < map->layers[i].count; j++) {
            bl_map_item *item = &map->layers[i].items[j];
            points[at++] = (endpoint){ item->meta->smallest, &item->low };
            points[at++] = (endpoint){ item->meta->largest, &item->high };
        }
    }
    bounds[map->layer_count] = at;
    const endpoint *sorted = sort_endpoints(comparator, points, spare, bounds, map->layer_count);
    uint32_t rank = 0;
    for (size_t i = 0; i < count; i++) {
        if (i > 0 && bl_compare(comparator, sorted[i - 1].key, sorted[i].key) != 0)
            rank++;
        *sorted[i].rank = rank;
    }
    map->end = rank + 1;
out:
    bl_free(points);
    bl_free(spare);
    bl_free(bounds);
    return status;
}

/* ---- The map ---- */

static void add_layer(bl_level_map *map, uint32_t level, const bl_run *run,
                      bool (*busy)(void *context, uint64_t number), void *context)
{
    bl_map_layer *layer = &map->layers[map->layer_count++];
    *layer = (bl_map_layer){ .level = level, .run = run->number, .items = &map->items[map->item_count] };
    for (uint32_t i = 0; i < run->count; i++) {
        const bl_segment_meta *meta = bl_segment_meta_of(run->segments[i]);
        map->items[map->item_count++] = (bl_map_item){ .meta = meta,
                                                       .busy = busy != NULL && busy(context, meta->number) };
    }
    layer->count = run->count;
    map->level0_count += level == 0;
}

bole_status bl_level_map_init(bl_level_map *map, const bl_version_table *table,
                              bool (*busy)(void *context, uint64_t number), void *context, bole_error *error)
{
    *map = (bl_level_map){ .table = table };
    size_t layers = 0, items = 0;
    for (uint32_t level = 0; level < BOLE_LEVELS_MAX; level++) {
        layers += table->levels[level].run_count;
        for (uint32_t i = 0; i < table->levels[level].run_count; i++)
            items += table->levels[level].runs[i].count;
    }
    map->layers = bl_alloc_array(layers + 1, sizeof(map->layers[0]));
    map->items = bl_alloc_array(items + 1, sizeof(map->items[0]));
    map->starts = bl_alloc_array(items + 1, sizeof(map->starts[0]));
    map->ends = bl_alloc_array(items + 1, sizeof(map->ends[0]));
    map->zones = bl_alloc_array(items + 1, sizeof(map->zones[0]));
    bole_status status;
    if (map->layers == NULL || map->items == NULL || map->starts == NULL || map->ends == NULL ||
        map->zones == NULL) {
        status = bl_fail(error, BOLE_NO_MEMORY, "map of %zu segments", items);
        goto fail;
    }
    for (uint32_t level = 0; level < BOLE_LEVELS_MAX; level++)
        for (uint32_t i = 0; i < table->levels[level].run_count; i++)
            if (table->levels[level].runs[i].count != 0)
                add_layer(map, level, &table->levels[level].runs[i], busy, context);
    status = rank_all(map, error);
    if (status != BOLE_OK)
        goto fail;
    return BOLE_OK;
fail:
    bl_level_map_deinit(map);
    return status;
}

void bl_level_map_deinit(bl_level_map *map)
{
    bl_free(map->layers);
    bl_free(map->items);
    bl_free(map->starts);
    bl_free(map->ends);
    bl_free(map->zones);
    *map = (bl_level_map){ .table = NULL };
}

uint32_t bl_level_map_layer(const bl_level_map *map, uint32_t level)
{
    bl_assert(level > 0);
    for (uint32_t i = map->level0_count; i < map->layer_count; i++)
        if (map->layers[i].level == level)
            return i;
    return BL_NO_LAYER;
}

/* First item with low >= `rank`; and with high >= `rank`. */
static uint32_t first_low(const bl_map_layer *layer, uint32_t rank)
{
    uint32_t from = 0, to = layer->count;
    while (from < to) {
        uint32_t middle = from + (to - from) / 2;
        if (layer->items[middle].low < rank)
            from = middle + 1;
        else
            to = middle;
    }
    return from;
}

static uint32_t first_high(const bl_map_layer *layer, uint32_t rank)
{
    uint32_t from = first_low(layer, rank); /* only the one before may also reach up to it */
    return from > 0 && layer->items[from - 1].high >= rank ? from - 1 : from;
}

bl_map_range bl_level_map_overlap(const bl_map_layer *layer, uint32_t low, uint32_t high)
{
    uint32_t first = first_high(layer, low), end = first_low(layer, high + 1);
    return (bl_map_range){ first, end > first ? end - first : 0 };
}

/* ---- Where jobs run ---- */

/* Does an item of the target lie strictly between two neighbouring zones? It is idle then, or it were a zone. */
static bool is_separated(const bl_level_map *map, uint32_t target, uint32_t low, uint32_t high)
{
    if (target == BL_NO_LAYER)
        return false;
    const bl_map_layer *layer = &map->layers[target];
    uint32_t at = first_low(layer, low + 1);
    return at < layer->count && layer->items[at].high < high;
}

void bl_level_map_zones(bl_level_map *map, uint32_t target)
{
    /* Zones are kept as {low, high} in range's two fields, rising. */
    bl_map_range *zones = map->zones;
    uint32_t count = 0;
    for (uint32_t i = 0; i < map->item_count; i++) {
        if (!map->items[i].busy)
            continue;
        bl_map_range zone = { map->items[i].low, map->items[i].high };
        uint32_t at = count++;
        for (; at > 0 && zones[at - 1].first > zone.first; at--)
            zones[at] = zones[at - 1];
        zones[at] = zone;
    }
    uint32_t kept = 0;
    for (uint32_t i = 0; i < count; i++) {
        if (kept > 0 && !is_separated(map, target, zones[kept - 1].count, zones[i].first)) {
            if (zones[i].count > zones[kept - 1].count)
                zones[kept - 1].count = zones[i].count;
        } else {
            zones[kept++] = zones[i];
        }
    }
    map->zone_count = kept;
}

bool bl_level_map_is_free(const bl_level_map *map, uint32_t low, uint32_t high)
{
    for (uint32_t i = 0; i < map->zone_count; i++)
        if (map->zones[i].first <= high && low <= map->zones[i].count)
            return false;
    return true;
}

/* ---- Jobs ---- */

bole_status bl_map_job_init(bl_map_job *job, const bl_level_map *map, bole_error *error)
{
    *job = (bl_map_job){ .ranges = bl_alloc_array((size_t)map->layer_count + 1, sizeof(job->ranges[0])) };
    return job->ranges != NULL ? BOLE_OK
                               : bl_fail(error, BOLE_NO_MEMORY, "ranges of %u runs", map->layer_count);
}

void bl_map_job_deinit(bl_map_job *job)
{
    bl_free(job->ranges);
    job->ranges = NULL;
}

void bl_map_job_copy(bl_map_job *to, const bl_map_job *from, const bl_level_map *map)
{
    bl_map_range *ranges = to->ranges;
    memcpy(ranges, from->ranges, map->layer_count * sizeof(ranges[0]));
    *to = *from;
    to->ranges = ranges;
}

static void count_in(bl_map_job *job, const bl_map_layer *layer, bl_map_range range, uint64_t *bytes)
{
    for (uint32_t i = range.first; i < range.first + range.count; i++) {
        const bl_map_item *item = &layer->items[i];
        *bytes += item->meta->file_bytes;
        job->entries += item->meta->entries;
        job->tombstones += item->meta->tombstones;
        if (item->low < job->low)
            job->low = item->low;
        if (item->high > job->high)
            job->high = item->high;
    }
}

void bl_map_job_fill(bl_map_job *job, const bl_level_map *map, const bl_map_scope *scope, uint32_t low,
                     uint32_t high)
{
    bl_map_range *ranges = job->ranges;
    *job = (bl_map_job){ .ranges = ranges, .low = UINT32_MAX };
    memset(ranges, 0, map->layer_count * sizeof(ranges[0]));
    /* Older items that stay out reach from the left up to below `left`, and from the right down to above `right`. */
    int64_t left = -1, right = INT64_MAX;
    for (uint32_t i = scope->end; i-- > scope->first;) {
        const bl_map_layer *layer = &map->layers[i];
        uint32_t first = first_low(layer, low), end = first_low(layer, high + 1);
        if (first > 0 && layer->items[first - 1].high >= low && layer->items[first - 1].high > left)
            left = layer->items[first - 1].high;
        if (end > 0 && layer->items[end - 1].high > high) { /* begins inside, or before, and reaches out */
            end--;
            if (layer->items[end].low < right)
                right = layer->items[end].low;
        }
        for (; first < end && layer->items[first].low <= left; first++)
            if (layer->items[first].high > left)
                left = layer->items[first].high;
        for (; end > first && layer->items[end - 1].high >= right; end--)
            if (layer->items[end - 1].low < right)
                right = layer->items[end - 1].low;
        if (first >= end)
            continue;
        ranges[i] = (bl_map_range){ first, end - first };
        job->sources += end - first;
        count_in(job, layer, ranges[i], &job->source_bytes);
    }
    if (job->sources == 0)
        return;
    if (scope->target != BL_NO_LAYER) {
        const bl_map_layer *layer = &map->layers[scope->target];
        ranges[scope->target] = bl_level_map_overlap(layer, job->low, job->high);
        count_in(job, layer, ranges[scope->target], &job->target_bytes);
    }
}

void bl_map_job_widen(bl_map_job *job, const bl_level_map *map, uint32_t layer, bl_map_range range)
{
    bl_map_range had = job->ranges[layer];
    const bl_map_layer *at = &map->layers[layer];
    if (had.count == 0) {
        count_in(job, at, range, &job->target_bytes);
    } else {
        bl_assert(range.first <= had.first && had.first + had.count <= range.first + range.count);
        bl_map_range before = { range.first, had.first - range.first };
        bl_map_range after = { had.first + had.count, range.count - had.count - before.count };
        count_in(job, at, before, &job->target_bytes);
        count_in(job, at, after, &job->target_bytes);
    }
    job->ranges[layer] = range;
}
