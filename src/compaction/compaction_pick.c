/* SPDX-License-Identifier: MIT */
/* compaction_pick.c -- which merge is next.
 *
 * LEVELS      0        runs, one a flush
 *             MIDDLE   at most one run, there only while the last level is large; holds sqrt(level 0's
 *             capacity x last
 *                      level's bytes): rewriting an entry into the middle and then into the last level costs least
 *                      when both ratios are the same
 *             LAST     at most one run
 * ORDER       what is most over its size first (level 0 by runs, the middle by bytes); then segments dense with
 *             tombstones; then last-level segments that point into value segments of which half is dead; then all of
 *             it down to one run: when idle, and where keys are few bytes beside the values that flushes set apart.
 * A JOB       is a span of keys on the level map (level_map.h): of all spans that begin and end where no target
 *             segment is cut, the one that rewrites the fewest bytes for each byte it brings down, dearer by what it
 *             exceeds two job_bytes. Segments that overlap nothing move without a merge. Level-0 runs too small to be
 *             worth rewriting what lies below become one level-0 run instead, newest first, each at most twice as
 *             large as what was taken before (so an entry is rewritten a logarithmic number of times).
 *
 * INVARIANTS  (PICK-1) Inputs are closed as (MAP-2) says. (PICK-2) No input is busy, and no job's output can overlap
 *             another's in one level. (PICK-3) Doing what is picked, again and again, ends at BL_PICK_NOTHING.
 * THREADS     Pure. NOT HERE: the merge itself (compaction.c), how slowly writers go (pacing.c). */
#include "compaction/compaction_pick.h"

#include "base/alloc.h"
#include "base/assert.h"
#include "base/status.h"
#include "compaction/job_search.h"

static const uint64_t MIB = UINT64_C(1) << 20;
static const uint64_t TOMBSTONES_MIN = 128; /* fewer never hurt a scan */
static const uint32_t GARBAGE_SHARE = 2;    /* of a value segment's bytes: half of it is dead */
static const uint32_t GARBAGE_SHARE_MANUAL = 8;
static const uint64_t GARBAGE_DEAR = 8; /* key bytes that may be rewritten for a dead byte */
/* Bytes of values that flush wrote, for a byte of the keys that are rewritten. */
static const uint64_t VALUES_DEAR = 8;
static const uint64_t ENTRY_COST = 256; /* what an entry costs a merge, in bytes that a flush writes */
static const uint32_t DEAR = 2;         /* rewriting over this many times last_level_ratio is not worth it */
static const uint32_t IDLE_DEAR = 4;    /* the same when idle, and the last level is not small */

static bl_pick_policy complete(const bl_pick_policy *given)
{
    bl_pick_policy policy = *given;
    if (policy.level0_runs == 0)
        policy.level0_runs = 8;
    if (policy.memtable_bytes == 0)
        policy.memtable_bytes = 64 * MIB;
    if (policy.segment_bytes == 0)
        policy.segment_bytes = 64 * MIB;
    if (policy.job_bytes == 0)
        policy.job_bytes = 64 * MIB;
    if (policy.last_level_ratio == 0)
        policy.last_level_ratio = 8;
    return policy;
}

/* ---- The shape that a table should have ---- */

static uint64_t bytes_of(const bl_version_table *table, uint32_t level) { return table->levels[level].bytes; }

static double level0_capacity(const bl_pick_policy *policy)
{
    return (double)policy->level0_runs * (double)policy->memtable_bytes;
}

static bool wants_middle(const bl_version_table *table, const bl_pick_policy *policy)
{
    return (double)bytes_of(table, BL_LEVEL_LAST) > policy->last_level_ratio * level0_capacity(policy);
}

static double square_root(double value)
{
    double root = value > 1 ? value : 1;
    for (int i = 0; i < 64; i++) /* Newton's, from above: falls until it stands */
        root = (root + value / root) / 2;
    return root;
}

static double middle_capacity(const bl_version_table *table, const bl_pick_policy *policy)
{
    if (!wants_middle(table, policy))
        return 0;
    return square_root(level0_capacity(policy) * (double)bytes_of(table, BL_LEVEL_LAST));
}

static uint64_t bytes_above_last(const bl_version_table *table)
{
    uint64_t bytes = 0;
    for (uint32_t level = 0; level < BL_LEVEL_LAST; level++)
        bytes += bytes_of(table, level);
    return bytes;
}

/* ---- Moves without a merge ---- */

static bool is_dense(const bl_pick_policy *policy, const bl_segment_meta *meta)
{
    return meta->tombstones >= TOMBSTONES_MIN && meta->tombstones >= meta->entries / 4 &&
           meta->sequence_max < policy->oldest_snapshot;
}

/* Does an item of the layer overlap nothing in other layers above `below_end`, busy zones included? */
static bool stands_alone(const bl_level_map *map, uint32_t layer, const bl_map_item *item, uint32_t layer_end)
{
    for (uint32_t i = 0; i < layer_end; i++)
        if (i != layer && bl_level_map_overlap(&map->layers[i], item->low, item->high).count != 0)
            return false;
    return bl_level_map_is_free(map, item->low, item->high);
}

/* All source items that overlap nothing down to the output level move there at once. */
static bole_status try_move(bl_picker *p, const bl_map_scope *scope, uint32_t output_level, bl_pick *out,
                            bole_error *error)
{
    bl_level_map *map = &p->map;
    out->runs = bl_alloc_array((size_t)map->item_count + 1, sizeof(out->runs[0]));
    if (out->runs == NULL)
        return bl_fail(error, BOLE_NO_MEMORY, "list of moves");
    bl_level_map_zones(map, scope->target);
    for (uint32_t i = scope->first; i < scope->end; i++) {
        const bl_map_layer *layer = &map->layers[i];
        for (uint32_t j = 0; j < layer->count; j++) {
            const bl_segment_meta *meta = layer->items[j].meta;
            if (meta->file_bytes < p->policy->segment_bytes / 16 || is_dense(p->policy, meta) ||
                !bl_picker_wants(p, &layer->items[j]) ||
                !stands_alone(map, i, &layer->items[j], scope->below))
                continue;
            struct bl_pick_run *last = out->run_count == 0 ? NULL : &out->runs[out->run_count - 1];
            if (last != NULL && last->level == layer->level && last->run == layer->run &&
                last->first + last->count == j)
                last->count++;
            else
                out->runs[out->run_count++] = (struct bl_pick_run){
                    .level = layer->level, .run = layer->run, .first = j, .count = 1
                };
            out->input_bytes += meta->file_bytes;
        }
    }
    if (out->run_count == 0) {
        bl_free(out->runs);
        out->runs = NULL;
        return BOLE_OK;
    }
    out->trivial_move = true;
    out->table = map->table->number;
    out->output_level = output_level;
    return BOLE_OK;
}

/* ---- Level 0 ---- */

static bool takes_from_oldest_run(const bl_picker *p, const bl_map_job *job)
{
    return p->map.level0_count != 0 && job->ranges[p->map.level0_count - 1].count != 0;
}

static uint64_t layer_bytes(const bl_map_layer *layer)
{
    uint64_t bytes = 0;
    for (uint32_t i = 0; i < layer->count; i++)
        bytes += layer->items[i].meta->file_bytes;
    return bytes;
}

/* Runs adjacent in age and alike in size, the newest such; none while one of them is busy. */
static bl_map_range alike_runs(const bl_level_map *map)
{
    bl_map_range runs = { 0, 0 };
    for (uint32_t first = 0; first + 1 < map->level0_count && runs.count < 2; first++) {
        uint64_t taken = layer_bytes(&map->layers[first]);
        runs = (bl_map_range){ first, 1 };
        for (uint32_t i = first + 1; i < map->level0_count; i++, runs.count++) {
            uint64_t bytes = layer_bytes(&map->layers[i]);
            if (bytes > 2 * taken)
                break;
            taken += bytes;
        }
    }
    if (runs.count < 2)
        runs = (bl_map_range){ 0, map->level0_count < 2 ? map->level0_count : 2 };
    for (uint32_t i = runs.first; i < runs.first + runs.count; i++)
        for (uint32_t j = 0; j < map->layers[i].count; j++)
            if (map->layers[i].items[j].busy)
                return (bl_map_range){ 0, 0 };
    return runs;
}

static bool runs_are_busy(const bl_level_map *map)
{
    for (uint32_t i = 0; i < map->level0_count; i++)
        for (uint32_t j = 0; j < map->layers[i].count; j++)
            if (map->layers[i].items[j].busy)
                return true;
    return false;
}

/* Make one level-0 run of several small ones. */
static bole_status try_join_runs(bl_picker *p, bl_pick *out, bole_error *error)
{
    bl_map_range runs = alike_runs(&p->map);
    if (runs.count < 2)
        return BOLE_OK;
    bl_map_scope scope = { .first = runs.first, .end = runs.first + runs.count, .target = BL_NO_LAYER };
    bl_map_job_fill(&p->trial, &p->map, &scope, 0, p->map.end - 1);
    if (p->trial.source_bytes > 4 * p->policy->job_bytes)
        return BOLE_OK;
    return bl_picker_emit(p, &p->trial, 0, scope.end, out, error);
}

/* Mark what lies over a key that `depth` runs of level 0 lie over. The deepest places begin where a segment does. */
static bool mark_deep(bl_level_map *map, uint32_t depth)
{
    bool any = false;
    for (uint32_t i = 0; i < map->level0_count; i++) {
        for (uint32_t j = 0; j < map->layers[i].count; j++) {
            uint32_t at = map->layers[i].items[j].low, found = 0;
            for (uint32_t k = 0; k < map->level0_count; k++)
                found += bl_level_map_overlap(&map->layers[k], at, at).count;
            if (found < depth)
                continue;
            any = true;
            for (uint32_t k = 0; k < map->level0_count; k++) {
                bl_map_range over = bl_level_map_overlap(&map->layers[k], at, at);
                if (over.count != 0)
                    map->layers[k].items[over.first].deep = true;
            }
        }
    }
    return any;
}

/* Half of the runs that are too many somewhere, or more of them: the newest may reach too far. */
static bool takes_from_deep_place(const bl_picker *p, const bl_map_job *job)
{
    uint32_t runs = 0;
    bool deep = false;
    for (uint32_t i = 0; i < p->map.level0_count; i++) {
        runs += job->ranges[i].count != 0;
        for (uint32_t j = job->ranges[i].first; j < job->ranges[i].first + job->ranges[i].count; j++)
            deep = deep || p->map.layers[i].items[j].deep;
    }
    return deep && 2 * runs >= p->policy->level0_runs;
}

static bole_status pick_level0(bl_picker *p, bl_pick *out, bole_error *error)
{
    const bl_version_table *table = p->map.table;
    uint32_t output_level = wants_middle(table, p->policy) ? BL_LEVEL_MIDDLE : BL_LEVEL_LAST;
    bl_map_scope to_last = bl_picker_scope(&p->map, 0, BL_LEVEL_LAST),
                 scope = bl_picker_scope(&p->map, 0, output_level);
    bl_map_scope moving = to_last;
    moving.end = p->map.level0_count;
    bole_status status = try_move(p, &moving, BL_LEVEL_LAST, out, error);
    if (status == BOLE_OK && out->run_count == 0 && output_level != BL_LEVEL_LAST) {
        moving = scope;
        moving.end = p->map.level0_count;
        status = try_move(p, &moving, output_level, out, error);
    }
    if (status != BOLE_OK || out->run_count != 0)
        return status;
    /* What a read meets is how many runs lie over its key: a job must begin where they are `level0_runs`, else a hot
     * group would go down with every flush. But cold groups could then keep old runs for ever, so from twice the runs
     * on the oldest one must get shorter. */
    bool too_many = p->map.level0_count >= 2 * p->policy->level0_runs;
    bool deep = mark_deep(&p->map, p->policy->level0_runs);
    p->best.sources = 0;
    if (too_many) {
        p->accepts = takes_from_oldest_run;
        bl_picker_find_best(p, &scope);
    }
    if (deep && p->best.sources == 0) {
        p->accepts = takes_from_deep_place;
        bl_picker_find_best(p, &scope);
    }
    if (!deep && !too_many)
        return BOLE_OK;
    double dear = (double)DEAR * p->policy->last_level_ratio * (double)p->best.source_bytes;
    if (p->best.sources == 0 || (double)p->best.target_bytes > dear) {
        status = try_join_runs(p, out, error);
        if (status != BOLE_OK || out->run_count != 0)
            return status;
        if (p->best.sources == 0 || runs_are_busy(&p->map)) /* what runs will change the picture */
            return BOLE_OK;
    }
    bl_picker_take_small_neighbours(p, &p->best, scope.target);
    return bl_picker_emit(p, &p->best, output_level, scope.below, out, error);
}

/* ---- The middle level ---- */

static bole_status pick_middle(bl_picker *p, bl_pick *out, bole_error *error)
{
    uint32_t layer = bl_level_map_layer(&p->map, BL_LEVEL_MIDDLE);
    bl_assert(layer != BL_NO_LAYER); /* its size is what asked */
    bl_map_scope scope = bl_picker_scope(&p->map, layer, BL_LEVEL_LAST);
    p->accepts = NULL;
    bl_picker_find_best(p, &scope);
    if (p->best.sources == 0)
        return BOLE_OK;
    bl_picker_take_small_neighbours(p, &p->best, scope.target);
    bole_status status = bl_picker_emit(p, &p->best, BL_LEVEL_LAST, scope.below, out, error);
    out->trivial_move = status == BOLE_OK && p->best.target_bytes == 0 && out->run_count == 1 &&
                        p->best.tombstones < p->best.entries / 4 + 1;
    return status;
}

/* ---- Tombstones ---- */

/* The closed set around one dense item: everything older that overlaps it. */
static bool fill_around(bl_picker *p, uint32_t layer, const bl_map_item *item, const bl_map_scope *scope)
{
    uint32_t low = item->low, high = item->high;
    for (uint32_t i = layer + 1; i < scope->end; i++) { /* what is newer than these need not come along */
        const bl_map_layer *older = &p->map.layers[i];
        bl_map_range at = bl_level_map_overlap(older, low, high);
        if (at.count == 0)
            continue;
        low = older->items[at.first].low < low ? older->items[at.first].low : low;
        high = older->items[at.first + at.count - 1].high > high ? older->items[at.first + at.count - 1].high
                                                                 : high;
    }
    bl_map_job_fill(&p->trial, &p->map, scope, low, high);
    /* Worth it when tombstones are many among all that is rewritten. */
    return p->trial.tombstones >= p->trial.entries / 8 &&
           bl_level_map_is_free(&p->map, p->trial.low, p->trial.high);
}

/* Write a last-level segment anew, and with it the next ones that `again` holds for, up to a job's size. */
static void fill_in_last(bl_picker *p, uint32_t layer, uint32_t first,
                         bool (*again)(const bl_picker *p, const bl_map_item *item))
{
    const bl_map_layer *last = &p->map.layers[layer];
    bl_map_scope nothing = { .target = BL_NO_LAYER };
    bl_map_job_fill(&p->trial, &p->map, &nothing, 0, 0);
    bl_map_range range = { first, 1 };
    uint64_t bytes = last->items[first].meta->file_bytes;
    for (uint32_t i = first + 1; i < last->count && again(p, &last->items[i]); i++, range.count++) {
        bytes += last->items[i].meta->file_bytes;
        if (bytes > p->policy->job_bytes)
            break;
    }
    bl_map_job_widen(&p->trial, &p->map, layer, range);
}

static bool dense_and_idle(const bl_picker *p, const bl_map_item *item)
{
    return !item->busy && is_dense(p->policy, item->meta);
}

static bole_status pick_tombstones(bl_picker *p, bl_pick *out, bole_error *error)
{
    uint32_t last = bl_level_map_layer(&p->map, BL_LEVEL_LAST);
    bl_level_map_zones(&p->map, last);
    for (uint32_t i = 0; i < p->map.layer_count; i++) {
        const bl_map_layer *layer = &p->map.layers[i];
        for (uint32_t j = 0; j < layer->count; j++) {
            if (!dense_and_idle(p, &layer->items[j]))
                continue;
            bl_map_scope scope = bl_picker_scope(&p->map, i, BL_LEVEL_LAST);
            if (i != last) {
                if (!fill_around(p, i, &layer->items[j], &scope))
                    continue;
            } else {
                fill_in_last(p, last, j, dense_and_idle);
                if (!bl_level_map_is_free(&p->map, p->trial.low, p->trial.high))
                    continue;
            }
            bl_picker_take_small_neighbours(p, &p->trial, scope.target);
            return bl_picker_emit(p, &p->trial, BL_LEVEL_LAST, scope.below, out, error);
        }
    }
    return BOLE_OK;
}

/* ---- Dead values ---- */

/* Bytes of the values that a merge of the segment would write anew; 0 when it points into no condemned one. */
static uint64_t condemned_bytes(const bl_version_values *values, const bl_segment_meta *meta, uint32_t share)
{
    bole_slice uses = meta->value_uses;
    uint64_t bytes = 0;
    bl_value_use use;
    while (bl_value_uses_next(&uses, &use)) {
        uint32_t at = bl_version_values_find(values, use.segment);
        if (at == values->count || !bl_version_values_condemned(values, at, share))
            continue;
        const bl_segment_meta *condemned = bl_segment_meta_of(values->segments[at]);
        bytes += use.pointers * (condemned->raw_bytes / condemned->entries + 1);
    }
    return bytes;
}

/* Is the space that condemned value segments waste worth rewriting the last-level segments that point into them? */
static bool has_garbage(const bl_version_table *table)
{
    const bl_version_values *values = &table->values;
    uint64_t dead = 0, keys = 0;
    for (uint32_t i = 0; i < values->count; i++)
        if (bl_version_values_condemned(values, i, GARBAGE_SHARE))
            dead += values->dead[i].bytes;
    for (uint32_t i = 0; dead != 0 && i < table->levels[BL_LEVEL_LAST].run_count; i++) {
        const bl_run *run = &table->levels[BL_LEVEL_LAST].runs[i];
        for (uint32_t j = 0; j < run->count; j++) {
            const bl_segment_meta *meta = bl_segment_meta_of(run->segments[j]);
            keys += condemned_bytes(values, meta, GARBAGE_SHARE) != 0 ? meta->file_bytes : 0;
        }
    }
    return keys != 0 && dead >= keys / GARBAGE_DEAR;
}

/* The first last-level segment that points into condemned value segments, and neighbours that do, up to a job's
 * size with the values that go along. */
static bole_status rewrite_values(bl_picker *p, uint32_t share, bl_pick *out, bole_error *error)
{
    uint32_t last = bl_level_map_layer(&p->map, BL_LEVEL_LAST);
    bl_assert(last != BL_NO_LAYER); /* who asks has looked at it */
    const bl_map_layer *layer = &p->map.layers[last];
    bl_map_scope nothing = { .target = BL_NO_LAYER };
    bl_map_range range = { 0, 0 };
    uint64_t bytes = 0;
    bl_level_map_zones(&p->map, last);
    for (uint32_t i = 0; i < layer->count; i++) {
        const bl_map_item *item = &layer->items[i];
        uint64_t values = condemned_bytes(&p->map.table->values, item->meta, share);
        bool takes = values != 0 && !item->busy && bl_picker_wants(p, item) &&
                     bl_level_map_is_free(&p->map, item->low, item->high);
        if (!takes && range.count == 0)
            continue;
        bytes += values + item->meta->file_bytes;
        if (!takes || (range.count != 0 && bytes > p->policy->job_bytes))
            break;
        range = (bl_map_range){ range.count == 0 ? i : range.first, range.count + 1 };
    }
    if (range.count == 0)
        return BOLE_OK;
    bl_map_job_fill(&p->trial, &p->map, &nothing, 0, 0);
    bl_map_job_widen(&p->trial, &p->map, last, range);
    return bl_picker_emit(p, &p->trial, BL_LEVEL_LAST, last + 1, out, error);
}

static bole_status pick_values(bl_picker *p, bl_pick *out, bole_error *error)
{
    return rewrite_values(p, GARBAGE_SHARE, out, error);
}

/* About the bytes of the values that level 0 points to. */
static uint64_t level0_value_bytes(const bl_version_table *table)
{
    const bl_level *level = &table->levels[0];
    uint64_t pointers = 0;
    bl_value_use use;
    for (uint32_t i = 0; i < level->run_count; i++)
        for (uint32_t j = 0; j < level->runs[i].count; j++)
            for (bole_slice uses = bl_segment_meta_of(level->runs[i].segments[j])->value_uses;
                 bl_value_uses_next(&uses, &use);)
                pointers += use.pointers;
    return pointers == 0 ? 0 : pointers * (table->values.raw_bytes / table->values.entries);
}

/* Is one run instead of level 0's worth rewriting all keys? It costs a small part of what the flushes did. */
static bool keys_are_cheap(const bl_version_table *table)
{
    uint64_t cost = 0;
    for (uint32_t level = 0; level < BOLE_LEVELS_MAX; level++)
        cost += table->levels[level].bytes + ENTRY_COST * table->levels[level].entries;
    return table->levels[0].run_count >= 2 && cost <= level0_value_bytes(table) / VALUES_DEAR;
}

/* ---- Idle, manual ---- */

/* Everything above the last level into it, best job first. */
static bole_status pick_down(bl_picker *p, bl_pick *out, bole_error *error)
{
    bl_map_scope scope = bl_picker_scope(&p->map, 0, BL_LEVEL_LAST);
    bole_status status = try_move(p, &scope, BL_LEVEL_LAST, out, error);
    if (status != BOLE_OK || out->run_count != 0)
        return status;
    p->accepts = bl_picker_takes_wanted;
    bl_picker_find_best(p, &scope);
    if (p->best.sources == 0)
        return BOLE_OK;
    bl_picker_take_small_neighbours(p, &p->best, scope.target);
    return bl_picker_emit(p, &p->best, BL_LEVEL_LAST, scope.below, out, error);
}

/* Is one run worth it? Always for a small table; a large one is not rewritten for the sake of a few new bytes. */
static bool idle_pays(const bl_version_table *table, const bl_pick_policy *policy)
{
    uint64_t above = bytes_above_last(table), last = bytes_of(table, BL_LEVEL_LAST);
    return last / 16 <= policy->job_bytes || last / ((uint64_t)IDLE_DEAR * policy->last_level_ratio) <= above;
}

static bool holds_needless_tombstones(const bl_picker *p, const bl_map_item *item)
{
    return bl_picker_wants(p, item) && item->meta->tombstones != 0 &&
           item->meta->sequence_max < p->policy->oldest_snapshot;
}

static bole_status pick_manual(bl_picker *p, bl_pick *out, bole_error *error)
{
    bole_status status = pick_down(p, out, error);
    uint32_t last = bl_level_map_layer(&p->map, BL_LEVEL_LAST);
    if (status != BOLE_OK || out->run_count != 0 || last == BL_NO_LAYER)
        return status;
    for (uint32_t i = 0; i < p->map.layers[last].count; i++) {
        if (!holds_needless_tombstones(p, &p->map.layers[last].items[i]))
            continue;
        fill_in_last(p, last, i, holds_needless_tombstones);
        return bl_picker_emit(p, &p->trial, BL_LEVEL_LAST, last + 1, out, error);
    }
    return rewrite_values(p, GARBAGE_SHARE_MANUAL, out, error);
}

/* ---- The answer ---- */

void bl_pick_deinit(bl_pick *pick)
{
    bl_free(pick->runs);
    *pick = (bl_pick){ .reason = BL_PICK_NOTHING };
}

typedef bole_status (*pick_function)(bl_picker *p, bl_pick *out, bole_error *error);

/* One way of picking, tried on one table. */
enum { ATTEMPTS_A_TABLE = 6 };
typedef struct attempt {
    const bl_version_table *table;
    bl_pick_reason reason;
    double pressure;
} attempt;

/* `any`: the first job that is found will do. */
static bole_status attempt_on(const attempt *at, const bl_pick_policy *policy, bool any,
                              bool (*busy)(void *context, uint64_t number), void *context, bl_pick *out,
                              bole_error *error)
{
    static const pick_function functions[] = {
        [BL_PICK_LEVEL0_RUNS] = pick_level0,    [BL_PICK_LEVEL_SIZE] = pick_middle,
        [BL_PICK_TOMBSTONES] = pick_tombstones, [BL_PICK_IDLE] = pick_down,
        [BL_PICK_VALUES] = pick_values,         [BL_PICK_POINTERS] = pick_down,
    };
    bl_picker p;
    bole_status status = bl_picker_init(&p, at->table, policy, busy, context, error);
    p.any = any;
    if (status == BOLE_OK)
        status = functions[at->reason](&p, out, error);
    bl_picker_deinit(&p);
    out->garbage_share = GARBAGE_SHARE;
    if (status == BOLE_OK && out->run_count != 0)
        out->reason = at->reason;
    else
        bl_pick_deinit(out);
    return status;
}

static bool has_dense_segment(const bl_version_table *table, const bl_pick_policy *policy)
{
    for (uint32_t level = 0; level < BOLE_LEVELS_MAX; level++) {
        for (uint32_t i = 0; i < table->levels[level].run_count; i++) {
            const bl_run *run = &table->levels[level].runs[i];
            for (uint32_t j = 0; j < run->count && run->tombstones >= TOMBSTONES_MIN; j++)
                if (is_dense(policy, bl_segment_meta_of(run->segments[j])))
                    return true;
        }
    }
    return false;
}

/* What is due on a table, with how much it presses: sizes first, from 1 upwards; then tombstones; then dead
 * values; then idling. */
static void add_attempts(const bl_version_table *table, const bl_pick_policy *policy, attempt *attempts,
                         uint32_t *count)
{
    attempt found[ATTEMPTS_A_TABLE];
    uint32_t n = 0;
    double runs = (double)table->levels[0].run_count / policy->level0_runs;
    if (runs >= 1)
        found[n++] = (attempt){ table, BL_PICK_LEVEL0_RUNS, runs };
    double middle = (double)bytes_of(table, BL_LEVEL_MIDDLE), capacity = middle_capacity(table, policy);
    if (middle > 0 && middle > capacity && capacity > 0)
        found[n++] = (attempt){ table, BL_PICK_LEVEL_SIZE, middle / capacity };
    else if (middle > 0 && capacity <= 0)
        found[n++] = (attempt){ table, BL_PICK_LEVEL_SIZE,
                                1 }; /* the last level shrank: no middle any more */
    if (has_dense_segment(table, policy))
        found[n++] = (attempt){ table, BL_PICK_TOMBSTONES, 0.5 };
    if (has_garbage(table))
        found[n++] = (attempt){ table, BL_PICK_VALUES, 0.4 };
    if (keys_are_cheap(table))
        found[n++] = (attempt){ table, BL_PICK_POINTERS, 0.3 };
    if (policy->idle && bytes_above_last(table) != 0 && idle_pays(table, policy))
        found[n++] = (attempt){ table, BL_PICK_IDLE, 0.25 };
    for (uint32_t i = 0; i < n; i++) {
        uint32_t at = (*count)++;
        for (; at > 0 && attempts[at - 1].pressure < found[i].pressure; at--)
            attempts[at] = attempts[at - 1];
        attempts[at] = found[i];
    }
}

bole_status bl_compaction_pick(const bl_version *version, const bl_pick_policy *given,
                               bool (*busy)(void *context, uint64_t number), void *context, bl_pick *out,
                               bole_error *error)
{
    *out = (bl_pick){ .reason = BL_PICK_NOTHING };
    bl_pick_policy policy = complete(given);
    attempt *attempts = bl_alloc_array(ATTEMPTS_A_TABLE * (size_t)version->table_count + 1,
                                       sizeof(attempts[0]));
    if (attempts == NULL)
        return bl_fail(error, BOLE_NO_MEMORY, "list of possible compactions");
    uint32_t count = 0;
    for (uint32_t i = 0; i < version->table_count; i++)
        if (version->tables[i].comparator_known)
            add_attempts(&version->tables[i], &policy, attempts, &count);
    bole_status status = BOLE_OK;
    for (uint32_t i = 0; i < count && status == BOLE_OK && out->reason == BL_PICK_NOTHING; i++)
        status = attempt_on(&attempts[i], &policy, false, busy, context, out, error);
    bl_free(attempts);
    return status;
}

bole_status bl_compaction_pick_manual(const bl_version *version, const bl_pick_policy *given, uint32_t table,
                                      bole_slice begin, bole_slice end, bl_pick *out, bole_error *error)
{
    *out = (bl_pick){ .reason = BL_PICK_NOTHING };
    bl_pick_policy policy = complete(given);
    const bl_version_table *found = bl_version_table_by_number(version, table);
    if (found == NULL || !found->comparator_known)
        return BOLE_OK;
    bl_picker p;
    bole_status status = bl_picker_init(&p, found, &policy, NULL, NULL, error);
    if (status == BOLE_OK) {
        bl_picker_want_range(&p, begin, end);
        status = pick_manual(&p, out, error);
    }
    bl_picker_deinit(&p);
    out->garbage_share = GARBAGE_SHARE_MANUAL;
    if (status == BOLE_OK && out->run_count != 0)
        out->reason = BL_PICK_MANUAL;
    else
        bl_pick_deinit(out);
    return status;
}

/* ---- Debt ---- */

static double excess(double bytes, double capacity) { return bytes > capacity ? bytes - capacity : 0; }

/* Merging `excess` bytes of a level that holds `bytes` rewrites that share of the level below. */
static double with_rewriting(double over, double bytes, double below)
{
    return over > 0 ? over * (1 + below / bytes) : 0;
}

/* How much must be merged to bring a table into its shape. */
static double debt_of(const bl_version_table *table, const bl_pick_policy *policy)
{
    double level0 = (double)bytes_of(table, 0), middle = (double)bytes_of(table, BL_LEVEL_MIDDLE);
    double last = (double)bytes_of(table, BL_LEVEL_LAST);
    double over0 = excess(level0, level0_capacity(policy));
    /* Small runs weigh nothing in bytes; beyond the burst each counts as a memtable. */
    double burst = 2.5 * policy->level0_runs;
    double debt = excess(table->levels[0].run_count, burst) * (double)policy->memtable_bytes;
    if (wants_middle(table, policy)) {
        double over_middle = excess(middle + over0, middle_capacity(table, policy));
        return debt + with_rewriting(over0, level0, middle) +
               with_rewriting(over_middle, middle + over0, last);
    }
    return debt + with_rewriting(over0, level0, last + middle) + with_rewriting(middle, middle, last);
}

/* Would a merge for a table's shape be picked? Without memory to say, yes. */
static bool is_worked_off(const bl_version_table *table, const bl_pick_policy *policy)
{
    attempt attempts[ATTEMPTS_A_TABLE];
    uint32_t count = 0;
    add_attempts(table, policy, attempts, &count);
    bool found = false;
    for (uint32_t i = 0; i < count && attempts[i].pressure >= 1 && !found; i++) {
        bl_pick pick = { 0 };
        bole_status status = attempt_on(&attempts[i], policy, true, NULL, NULL, &pick, NULL);
        found = status != BOLE_OK || pick.reason != BL_PICK_NOTHING;
        bl_pick_deinit(&pick);
    }
    return found;
}

uint64_t bl_compaction_debt(const bl_version *version, const bl_pick_policy *given)
{
    bl_pick_policy policy = complete(given);
    double debt = 0;
    for (uint32_t i = 0; i < version->table_count; i++) {
        const bl_version_table *table = &version->tables[i];
        double owed = table->comparator_known ? debt_of(table, &policy) : 0;
        if (owed > 0 && is_worked_off(table, &policy))
            debt += owed;
    }
    return debt < 9e18 ? (uint64_t)debt : UINT64_C(9000000000000000000);
}
