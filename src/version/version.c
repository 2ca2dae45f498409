/* SPDX-License-Identifier: MIT */
/* version.c -- counts, look-ups, and the rules that every version keeps.
 *
 * SEARCH      A run keeps the heads of its largest keys behind their common prefix. A key is compared with
 *             the prefix once; then a binary search over integers without branches (its steps are
 *             data-dependent moves, so a mispredicted branch costs nothing) finds the range of equal heads,
 *             nearly always empty, and the keys of that range alone are compared whole.
 * INVARIANTS  (VER-1) to (VER-5): version.h.
 * THREADS     A version does not change. Counts are atomic; a reader inside an epoch needs none.
 * NOT HERE    Making a version: version_build.c. Which one is present: version_set.c. */
#include "version/version_build.h"

#include "base/alloc.h"
#include "base/assert.h"
#include "base/coding.h"
#include "base/status.h"

#include <stdio.h>
#include <stdlib.h>

/* ---- Life ---- */

void bl_run_body_unref(struct bl_run_body *body)
{
    if (body == NULL || atomic_fetch_sub_explicit(&body->references, 1, memory_order_acq_rel) != 1)
        return;
    for (uint32_t i = 0; i < body->count; i++)
        bl_segment_unref(body->segments[i]);
    bl_free(body);
}

void bl_version_ref(bl_version *version)
{
    uint32_t before = atomic_fetch_add_explicit(&version->references, 1, memory_order_relaxed);
    bl_assert(before > 0);
}

void bl_version_unref(bl_version *version)
{
    if (version == NULL || atomic_fetch_sub_explicit(&version->references, 1, memory_order_acq_rel) != 1)
        return;
    for (uint32_t i = 0; i < version->table_count; i++) {
        bl_version_table *table = &version->tables[i];
        for (uint32_t level = 0; level < BOLE_LEVELS_MAX; level++) {
            for (uint32_t run = 0; run < table->levels[level].run_count; run++)
                bl_run_body_unref(table->levels[level].runs[run].body);
            bl_free(table->levels[level].runs);
        }
        bl_run_body_unref(table->values.body);
        bl_free(table->name);
        bl_free(table->comparator_name);
    }
    bl_free(version->tables);
    bl_free(version);
}

/* ---- Looking up ---- */

const bl_version_table *bl_version_table_search(const bl_version *version, uint32_t number)
{
    uint32_t low = 0, high = version->table_count;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (version->tables[middle].number < number)
            low = middle + 1;
        else
            high = middle;
    }
    return low < version->table_count && version->tables[low].number == number ? &version->tables[low] : NULL;
}

const bl_version_table *bl_version_table_by_name(const bl_version *version, const char *name)
{
    for (uint32_t i = 0; i < version->table_count; i++)
        if (strcmp(version->tables[i].name, name) == 0)
            return &version->tables[i];
    return NULL;
}

static bool visit_table(const bl_version_table *table,
                        bool (*visit)(void *context, const bl_version_table *table, bl_segment *segment),
                        void *context)
{
    for (uint32_t l = 0; l < BOLE_LEVELS_MAX; l++)
        for (uint32_t r = 0; r < table->levels[l].run_count; r++)
            for (uint32_t i = 0; i < table->levels[l].runs[r].count; i++)
                if (!visit(context, table, table->levels[l].runs[r].segments[i]))
                    return false;
    for (uint32_t i = 0; i < table->values.count; i++)
        if (!visit(context, table, table->values.segments[i]))
            return false;
    return true;
}

void bl_version_each_segment(const bl_version *version,
                             bool (*visit)(void *context, const bl_version_table *table, bl_segment *segment),
                             void *context)
{
    for (uint32_t t = 0; t < version->table_count; t++)
        if (!visit_table(&version->tables[t], visit, context))
            return;
}

bl_segment *bl_version_find_segment(const bl_version *version, uint32_t table, uint64_t number,
                                    uint32_t *level, uint32_t *run)
{
    const bl_version_table *found = bl_version_table_by_number(version, table);
    for (uint32_t l = 0; found != NULL && l < BOLE_LEVELS_MAX; l++) {
        for (uint32_t r = 0; r < found->levels[l].run_count; r++) {
            const bl_run *candidate = &found->levels[l].runs[r];
            for (uint32_t i = 0; i < candidate->count; i++) {
                if (bl_segment_meta_of(candidate->segments[i])->number == number) {
                    *level = l;
                    *run = candidate->number;
                    return candidate->segments[i];
                }
            }
        }
    }
    return NULL;
}

static uint32_t keys_below(const bl_run *run, bl_comparator *comparator, bole_slice key, uint32_t low,
                           uint32_t high)
{
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (bl_compare(comparator, run->largest[middle], key) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

uint32_t bl_run_lower_bound(const bl_run *run, bl_comparator *comparator, bole_slice key)
{
    uint32_t count = run->count;
    if (count == 0 || comparator != NULL)
        return keys_below(run, comparator, key, 0, count);
    uint32_t prefix = run->prefix_bytes;
    if (prefix != 0) {
        size_t common = key.size < prefix ? key.size : prefix;
        int order = bl_bytes_compare(key.data, run->largest[0].data, common);
        if (order > 0)
            return count;
        if (order < 0 || key.size < prefix) /* a key that ends inside the prefix is below all that go on */
            return 0;
    }
    uint64_t head = bl_head64(key.data, key.size, prefix);
    uint32_t low = bl_run_heads_below(run->largest_heads, count, head);
    if (low == count || run->largest_heads[low] != head)
        return low;
    uint32_t high = head == UINT64_MAX
                        ? count
                        : low + bl_run_heads_below(run->largest_heads + low, count - low, head + 1);
    return keys_below(run, NULL, key, low, high);
}

bl_segment *bl_run_find_by_keys(const bl_run *run, bl_comparator *comparator, bole_slice key)
{
    uint32_t at = bl_run_lower_bound(run, comparator, key);
    return at < run->count && bl_compare(comparator, run->smallest[at], key) <= 0 ? run->segments[at] : NULL;
}

/* ---- The rules ---- */

static bole_status broken(bole_error *error, const bl_segment *segment, const char *rule, const char *what)
{
    char name[32];
    snprintf(name, sizeof name, "%06llu.seg", (unsigned long long)bl_segment_meta_of(segment)->number);
    return bl_corrupt(error, name, BL_NO_OFFSET, "%s: %s", rule, what);
}

/* (VER-1) inside one run, and that its arrays and sums say what its segments say. */
static bole_status check_run(const bl_version_table *table, const bl_run *run, bole_error *error)
{
    bl_assert(run->count > 0);
    uint64_t bytes = 0, entries = 0, tombstones = 0;
    bool plain = true;
    for (uint32_t i = 0; i < run->count; i++) {
        const bl_segment_meta *meta = bl_segment_meta_of(run->segments[i]);
        bytes += meta->file_bytes;
        entries += meta->entries;
        tombstones += meta->tombstones;
        plain = plain && meta->sequences_zeroed && meta->tombstones == 0 && meta->value_uses.size == 0;
        bl_assert(run->smallest[i].data == meta->smallest.data && run->largest[i].data == meta->largest.data);
        if (meta->table != table->number)
            return broken(error, run->segments[i], "VER-4", "stands in a table that is not its own");
        if (meta->sequence_min > meta->sequence_max || meta->tombstones > meta->entries)
            return broken(error, run->segments[i], "VER-3", "its counts contradict each other");
        if (!table->comparator_known)
            continue;
        if (bl_compare(table->comparator, meta->smallest, meta->largest) > 0)
            return broken(error, run->segments[i], "VER-1", "its smallest key is above its largest");
        if (i > 0 && bl_compare(table->comparator, run->largest[i - 1], meta->smallest) >= 0)
            return broken(error, run->segments[i], "VER-1", "overlaps the segment before it in its run");
        bl_debug_assert(
            table->comparator != NULL ||
            (meta->largest.size >= run->prefix_bytes &&
             run->smallest_heads[i] ==
                 bl_head64(meta->smallest.data, meta->smallest.size, run->prefix_bytes) &&
             run->largest_heads[i] == bl_head64(meta->largest.data, meta->largest.size, run->prefix_bytes)));
    }
    bl_assert(bytes == run->bytes && entries == run->entries && tombstones == run->tombstones);
    bl_assert(plain == run->plain);
    return BOLE_OK;
}

/* (VER-3) is looked at as far as this many steps go: any real store is far below, a hostile one cannot make
 * us slow. */
enum { ORDER_STEPS_MAX = 1 << 20 };

static void sequences_of(const bl_run *run, uint64_t *least, uint64_t *most)
{
    *least = UINT64_MAX;
    *most = 0;
    for (uint32_t i = 0; i < run->count; i++) {
        const bl_segment_meta *meta = bl_segment_meta_of(run->segments[i]);
        *least = meta->sequence_min < *least ? meta->sequence_min : *least;
        *most = meta->sequence_max > *most ? meta->sequence_max : *most;
    }
}

/* (VER-3) between two runs of level 0: where segments overlap the newer one is newer in all its sequences. */
static bole_status check_runs(bl_comparator *comparator, const bl_run *newer, const bl_run *older,
                              uint64_t *steps, bole_error *error)
{
    uint64_t least, most, unused;
    sequences_of(newer, &least, &unused);
    sequences_of(older, &unused, &most);
    *steps += (uint64_t)newer->count + older->count;
    for (uint32_t n = 0, o = 0; least <= most && n < newer->count && o < older->count;) {
        const bl_segment_meta *above = bl_segment_meta_of(newer->segments[n]);
        const bl_segment_meta *below = bl_segment_meta_of(older->segments[o]);
        if (above->sequence_min <= below->sequence_max &&
            bl_compare(comparator, above->smallest, below->largest) <= 0 &&
            bl_compare(comparator, below->smallest, above->largest) <= 0)
            return broken(error, newer->segments[n], "VER-3",
                          "is not newer than a run below it that it overlaps");
        if (bl_compare(comparator, above->largest, below->largest) < 0)
            n++;
        else
            o++;
    }
    return BOLE_OK;
}

/* (VER-3) between a segment and a run of a lower level. Metas prove a breach only where both surely hold the
 * same key: a bound that they share, which can only be one of the first or the last segment below that
 * overlaps. */
static bole_status check_below(bl_comparator *comparator, const bl_segment *segment, const bl_run *lower,
                               bole_error *error)
{
    const bl_segment_meta *above = bl_segment_meta_of(segment);
    const bole_slice bounds[2] = { above->smallest, above->largest };
    for (int i = 0; i < 2 && !above->sequences_zeroed; i++) {
        uint32_t at = bl_run_lower_bound(lower, comparator, bounds[i]);
        if (at == lower->count ||
            above->sequence_max >= bl_segment_meta_of(lower->segments[at])->sequence_min)
            continue;
        if (bl_compare(comparator, lower->smallest[at], bounds[i]) == 0 ||
            bl_compare(comparator, lower->largest[at], bounds[i]) == 0)
            return broken(error, segment, "VER-3", "is older than a level below it that holds the same key");
    }
    return BOLE_OK;
}

static bole_status check_order(const bl_version_table *table, bole_error *error)
{
    bole_status status = BOLE_OK;
    uint64_t steps = 0;
    const bl_level *top = &table->levels[0];
    for (uint32_t i = 0; i < top->run_count; i++)
        for (uint32_t j = i + 1; j < top->run_count && steps < ORDER_STEPS_MAX && status == BOLE_OK; j++)
            status = check_runs(table->comparator, &top->runs[i], &top->runs[j], &steps, error);
    for (uint32_t upper = 0; upper + 1 < BOLE_LEVELS_MAX; upper++) {
        for (uint32_t r = 0; r < table->levels[upper].run_count; r++) {
            const bl_run *run = &table->levels[upper].runs[r];
            for (uint32_t i = 0; i < run->count; i++)
                for (uint32_t lower = upper + 1; lower < BOLE_LEVELS_MAX && status == BOLE_OK; lower++)
                    if (table->levels[lower].run_count != 0)
                        status = check_below(table->comparator, run->segments[i],
                                             &table->levels[lower].runs[0], error);
        }
    }
    return status;
}

/* (VER-5), and that sums and counts of the value segments say what they say. */
static bole_status check_values(const bl_version_table *table, uint64_t *pointers, bole_error *error)
{
    const bl_version_values *values = &table->values;
    for (uint32_t l = 0; l < BOLE_LEVELS_MAX; l++) {
        for (uint32_t r = 0; r < table->levels[l].run_count; r++) {
            const bl_run *run = &table->levels[l].runs[r];
            for (uint32_t i = 0; i < run->count; i++) {
                bole_slice uses = bl_segment_meta_of(run->segments[i])->value_uses;
                bl_value_use use;
                while (bl_value_uses_next(&uses, &use)) {
                    uint32_t at = bl_version_values_find(values, use.segment);
                    if (at == values->count)
                        return broken(error, run->segments[i], "VER-5",
                                      "points into a value segment that is not there");
                    pointers[at] += use.pointers;
                }
            }
        }
    }
    for (uint32_t i = 0; i < values->count; i++) {
        const bl_segment_meta *meta = bl_segment_meta_of(values->segments[i]);
        bl_dead_values dead = values->dead[i];
        bl_assert(values->numbers[i] == meta->number && (i == 0 || values->numbers[i - 1] < meta->number));
        if (meta->table != table->number)
            return broken(error, values->segments[i], "VER-4", "stands in a table that is not its own");
        if (dead.entries >= meta->entries || dead.bytes > meta->raw_bytes)
            return broken(error, values->segments[i], "VER-5", "has more dead values than can be");
        if (pointers[i] != meta->entries - dead.entries)
            return broken(error, values->segments[i], "VER-5",
                          "is not pointed into as often as it has live values");
    }
    return BOLE_OK;
}

static bole_status check_pointers(const bl_version_table *table, bole_error *error)
{
    uint64_t *pointers = bl_new_array(uint64_t, (size_t)table->values.count + 1);
    if (pointers == NULL)
        return bl_fail(error, BOLE_NO_MEMORY, "no memory to check %u value segments", table->values.count);
    bole_status status = check_values(table, pointers, error);
    bl_free(pointers);
    return status;
}

static bole_status check_table(const bl_version_table *table, bole_error *error)
{
    for (uint32_t l = 0; l < BOLE_LEVELS_MAX; l++) {
        const bl_level *level = &table->levels[l];
        uint64_t bytes = 0;
        for (uint32_t r = 0; r < level->run_count; r++) {
            const bl_run *run = &level->runs[r];
            if (l > 0 && (run->number != 0 || r > 0))
                return broken(error, run->segments[0], "VER-2", "stands in a second run of a level below 0");
            bl_assert(r == 0 || run->number < level->runs[r - 1].number);
            bole_status status = check_run(table, run, error);
            if (status != BOLE_OK)
                return status;
            bytes += run->bytes;
        }
        bl_assert(bytes == level->bytes);
    }
    bole_status status = check_pointers(table, error);
    return status == BOLE_OK && table->comparator_known ? check_order(table, error) : status;
}

static int compare_numbers(const void *a, const void *b)
{
    uint64_t left = *(const uint64_t *)a, right = *(const uint64_t *)b;
    return left < right ? -1 : left > right;
}

typedef struct number_list {
    uint64_t *numbers; /* NULL: only counted */
    size_t count;
} number_list;

static bool list_number(void *context, const bl_version_table *table, bl_segment *segment)
{
    (void)table;
    number_list *list = context;
    if (list->numbers != NULL)
        list->numbers[list->count] = bl_segment_meta_of(segment)->number;
    list->count++;
    return true;
}

/* (VER-4) */
static bole_status check_places(const bl_version *version, bole_error *error)
{
    number_list list = { NULL, 0 };
    bl_version_each_segment(version, list_number, &list);
    size_t count = list.count;
    if (count == 0)
        return BOLE_OK;
    uint64_t *numbers = bl_new_array(uint64_t, count);
    if (numbers == NULL)
        return bl_fail(error, BOLE_NO_MEMORY, "no memory to check a version of %zu segments", count);
    list = (number_list){ numbers, 0 };
    bl_version_each_segment(version, list_number, &list);
    qsort(numbers, count, sizeof numbers[0], compare_numbers);
    bole_status status = BOLE_OK;
    for (size_t i = 1; i < count && status == BOLE_OK; i++) {
        char name[32];
        snprintf(name, sizeof name, "%06llu.seg", (unsigned long long)numbers[i]);
        if (numbers[i] == numbers[i - 1])
            status = bl_corrupt(error, name, BL_NO_OFFSET, "VER-4: stands in two places");
    }
    bl_free(numbers);
    return status;
}

bole_status bl_version_check(const bl_version *version, bole_error *error)
{
    for (uint32_t i = 0; i < version->table_count; i++) {
        bl_assert(i == 0 || version->tables[i - 1].number < version->tables[i].number);
        bole_status status = check_table(&version->tables[i], error);
        if (status != BOLE_OK)
            return status;
    }
    return check_places(version, error);
}
