/* SPDX-License-Identifier: MIT */
/* version_build.c -- the next version from the one before and what changes.
 *
 * A run that nothing comes into or goes out of is shared, arrays and all, and so is the list of value segments; a
 * touched one is made anew: what stays of the old one, in order already, merged with the sorted newcomers. So an edit
 * costs its touched runs, not the store; and the first version of a recovered store is the same work with nothing
 * before it.
 * INVARIANTS  (BUILD-1) A run body holds one reference on each of its segments, a version one on each of its
 *                       bodies.
 *             (BUILD-2) After a failure every reference taken is given back and the base is untouched.
 * THREADS     Any: the base is immutable, and the caller holds a reference on it. */
#include "version/version_build.h"

#include "base/alloc.h"
#include "base/assert.h"
#include "base/coding.h"
#include "base/status.h"

#include <stdlib.h>

static bole_status no_memory(bole_error *error)
{
    return bl_fail(error, BOLE_NO_MEMORY, "no memory for a new version");
}

static int compare_u32(uint32_t a, uint32_t b) { return a < b ? -1 : a > b; }

/* Place first: table, level, run; newest run first. */
static int compare_place(uint32_t table_a, uint32_t level_a, uint32_t run_a, uint32_t table_b,
                         uint32_t level_b, uint32_t run_b)
{
    int order = compare_u32(table_a, table_b);
    if (order == 0)
        order = compare_u32(level_a, level_b);
    return order != 0 ? order : compare_u32(run_b, run_a);
}

static int compare_segments(const bl_segment *a, const bl_segment *b)
{
    const bl_segment_meta *left = bl_segment_meta_of(a), *right = bl_segment_meta_of(b);
    if (bl_segment_meta_holds_values(left)) /* and so does the other: they stand by number */
        return left->number < right->number ? -1 : left->number > right->number;
    int order = bl_compare(bl_segment_comparator(a), left->smallest, right->smallest);
    if (order == 0)
        order = left->number < right->number ? -1 : left->number > right->number;
    return order;
}

static int compare_insertions(const void *a, const void *b)
{
    const bl_version_insertion *left = a, *right = b;
    int order = compare_place(left->table, left->level, left->run, right->table, right->level, right->run);
    return order != 0 ? order : compare_segments(left->segment, right->segment);
}

static int compare_removals(const void *a, const void *b)
{
    const bl_version_removal *left = a, *right = b;
    int order = compare_place(left->table, left->level, left->run, right->table, right->level, right->run);
    return order != 0 ? order : left->number < right->number ? -1 : left->number > right->number;
}

/* What is still to be done, in sorted order, while tables, levels and runs go by. */
typedef struct build {
    const bl_version_change *change;
    uint32_t insertion, removal;
} build;

/* The insertions, and removals, for one run: [first, end) of the arrays. */
typedef struct touched_range {
    uint32_t insertion_first, insertion_end, removal_first, removal_end;
} touched_range;

static touched_range take_touched(build *state, uint32_t table, uint32_t level, uint32_t run)
{
    const bl_version_change *change = state->change;
    touched_range out = { .insertion_first = state->insertion, .removal_first = state->removal };
    while (state->insertion < change->insertion_count) {
        const bl_version_insertion *next = &change->insertions[state->insertion];
        if (compare_place(next->table, next->level, next->run, table, level, run) != 0)
            break;
        state->insertion++;
    }
    while (state->removal < change->removal_count) {
        const bl_version_removal *next = &change->removals[state->removal];
        if (compare_place(next->table, next->level, next->run, table, level, run) != 0)
            break;
        state->removal++;
    }
    out.insertion_end = state->insertion;
    out.removal_end = state->removal;
    return out;
}

static bool is_removed(const bl_version_change *change, const touched_range *touched, uint64_t number)
{
    uint32_t low = touched->removal_first, high = touched->removal_end;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (change->removals[middle].number < number)
            low = middle + 1;
        else
            high = middle;
    }
    return low < touched->removal_end && change->removals[low].number == number;
}

/* Room for a run of `count`; segments are not filled in. */
static bool make_body(uint32_t count, bl_run *run)
{
    size_t each = sizeof(bl_segment *) + 2 * (sizeof(uint64_t) + sizeof(bole_slice));
    uint8_t *memory = bl_alloc(sizeof(bl_run_body) + count * each);
    if (memory == NULL)
        return false;
    run->body = (bl_run_body *)(void *)memory;
    atomic_init(&run->body->references, 1);
    run->smallest = (bole_slice *)(void *)(memory + sizeof(bl_run_body));
    run->largest = run->smallest + count;
    run->smallest_heads = (uint64_t *)(void *)(run->largest + count);
    run->largest_heads = run->smallest_heads + count;
    run->segments = (bl_segment **)(void *)(run->largest_heads + count);
    run->body->segments = run->segments;
    return true;
}

static void push_segment(bl_run *run, bl_segment *segment)
{
    const bl_segment_meta *meta = bl_segment_meta_of(segment);
    bl_segment_ref(segment);
    run->segments[run->count] = segment;
    run->smallest[run->count] = meta->smallest;
    run->largest[run->count] = meta->largest;
    run->bytes += meta->file_bytes;
    run->entries += meta->entries;
    run->tombstones += meta->tombstones;
    run->plain = (run->count == 0 || run->plain) && meta->sequences_zeroed && meta->tombstones == 0 &&
                 meta->value_uses.size == 0;
    run->body->count = ++run->count;
}

static void set_heads(bl_run *run, bl_comparator *comparator)
{
    if (comparator != NULL)
        return;
    size_t prefix = run->smallest[0].size;
    for (uint32_t i = 0; i < run->count; i++) { /* byte order is not checked yet: all bounds are asked */
        size_t least = bl_slice_common_prefix(run->smallest[0], run->smallest[i]),
               most = bl_slice_common_prefix(run->smallest[0], run->largest[i]);
        prefix = least < prefix ? least : prefix;
        prefix = most < prefix ? most : prefix;
    }
    run->prefix_bytes = (uint32_t)prefix;
    for (uint32_t i = 0; i < run->count; i++) {
        run->smallest_heads[i] = bl_head64(run->smallest[i].data, run->smallest[i].size, prefix);
        run->largest_heads[i] = bl_head64(run->largest[i].data, run->largest[i].size, prefix);
    }
}

/* One run of the new version; out->count is 0 when nothing is left of it. */
static bole_status build_run(const bl_version_change *change, const bl_version_table *table,
                             const bl_run *old, const touched_range *touched, uint32_t number, bl_run *out,
                             bole_error *error)
{
    uint32_t inserted = touched->insertion_end - touched->insertion_first;
    uint32_t removed = touched->removal_end - touched->removal_first;
    uint32_t before = old == NULL ? 0 : old->count;
    *out = (bl_run){ .number = number };
    if (inserted == 0 && removed == 0) {
        *out = *old;
        atomic_fetch_add_explicit(&out->body->references, 1, memory_order_relaxed);
        return BOLE_OK;
    }
    bl_assert(removed <= before);
    if (before - removed + inserted == 0)
        return BOLE_OK;
    if (!make_body(before - removed + inserted, out))
        return no_memory(error);
    uint32_t insertion = touched->insertion_first, gone = 0;
    for (uint32_t i = 0; i < before; i++) {
        bl_segment *segment = old->segments[i];
        if (removed != 0 && is_removed(change, touched, bl_segment_meta_of(segment)->number)) {
            gone++;
            continue;
        }
        while (insertion < touched->insertion_end &&
               compare_segments(change->insertions[insertion].segment, segment) < 0)
            push_segment(out, change->insertions[insertion++].segment);
        push_segment(out, segment);
    }
    while (insertion < touched->insertion_end)
        push_segment(out, change->insertions[insertion++].segment);
    bl_assert(gone == removed);
    set_heads(out, table->comparator);
    return BOLE_OK;
}

/* Runs of the old level and runs that come into being, newest first. */
static bole_status build_level(build *state, const bl_version_table *table, uint32_t number,
                               const bl_level *old, bl_level *out, bole_error *error)
{
    const bl_version_change *change = state->change;
    uint32_t old_count = old == NULL ? 0 : old->run_count, fresh = 0, at = 0;
    for (uint32_t i = state->insertion; i < change->insertion_count; i++) {
        const bl_version_insertion *next = &change->insertions[i];
        if (next->table != table->number || next->level != number)
            break;
        if (i == state->insertion || next->run != next[-1].run)
            fresh++;
    }
    if (old_count + fresh == 0)
        return BOLE_OK;
    out->runs = bl_new_array(bl_run, old_count + fresh);
    if (out->runs == NULL)
        return no_memory(error);
    for (;;) {
        const bl_version_insertion *next = state->insertion < change->insertion_count
                                               ? &change->insertions[state->insertion]
                                               : NULL;
        bool coming = next != NULL && next->table == table->number && next->level == number;
        if (at == old_count && !coming)
            break;
        bool take_old = at < old_count && (!coming || old->runs[at].number >= next->run);
        const bl_run *base = take_old ? &old->runs[at++] : NULL;
        uint32_t run = take_old ? base->number : next->run;
        touched_range touched = take_touched(state, table->number, number, run);
        bl_run *made = &out->runs[out->run_count];
        bole_status status = build_run(change, table, base, &touched, run, made, error);
        if (status != BOLE_OK)
            return status;
        if (made->count == 0)
            continue;
        out->run_count++;
        out->bytes += made->bytes;
        out->entries += made->entries;
        out->tombstones += made->tombstones;
    }
    return BOLE_OK;
}

/* ---- Value segments ---- */

static bool make_values(uint32_t count, bl_version_values *out)
{
    size_t each = sizeof(bl_segment *) + sizeof(uint64_t) + sizeof(bl_dead_values);
    uint8_t *memory = bl_alloc(sizeof(bl_run_body) + count * each);
    if (memory == NULL)
        return false;
    out->body = (bl_run_body *)(void *)memory;
    out->segments = (bl_segment **)(void *)(memory + sizeof(bl_run_body));
    out->numbers = (uint64_t *)(void *)(out->segments + count);
    out->dead = (bl_dead_values *)(void *)(out->numbers + count);
    *out->body = (bl_run_body){ .segments = out->segments };
    atomic_init(&out->body->references, 1);
    return true;
}

static void push_values(bl_version_values *out, bl_segment *segment, bl_dead_values dead)
{
    const bl_segment_meta *meta = bl_segment_meta_of(segment);
    bl_segment_ref(segment);
    out->segments[out->count] = segment;
    out->numbers[out->count] = meta->number;
    out->dead[out->count] = dead;
    out->file_bytes += meta->file_bytes;
    out->entries += meta->entries;
    out->raw_bytes += meta->raw_bytes;
    out->dead_entries += dead.entries;
    out->dead_bytes += dead.bytes;
    out->body->count = ++out->count;
}

static void push_new_values(bl_version_values *out, bl_segment *segment)
{
    const bl_segment_meta *meta = bl_segment_meta_of(segment);
    push_values(out, segment, (bl_dead_values){ meta->dead_entries, meta->dead_bytes });
}

/* Deaths of the table, by any order: they are few. */
static uint32_t apply_deaths(const bl_version_change *change, uint32_t table, bl_version_values *out)
{
    uint32_t applied = 0;
    for (uint32_t i = 0; i < change->died_count; i++) {
        const bl_values_died *death = &change->died[i];
        if (death->table != table)
            continue;
        applied++;
        if (out == NULL)
            continue;
        uint32_t at = bl_version_values_find(out, death->number);
        bl_assert(at < out->count);
        out->dead[at].entries += death->more.entries;
        out->dead[at].bytes += death->more.bytes;
        out->dead_entries += death->more.entries;
        out->dead_bytes += death->more.bytes;
    }
    return applied;
}

static bole_status build_values(build *state, uint32_t table, const bl_version_values *old,
                                bl_version_values *out, bole_error *error)
{
    const bl_version_change *change = state->change;
    touched_range touched = take_touched(state, table, BL_LEVEL_VALUES, 0);
    uint32_t inserted = touched.insertion_end - touched.insertion_first;
    uint32_t removed = touched.removal_end - touched.removal_first, before = old == NULL ? 0 : old->count;
    if (inserted == 0 && removed == 0 && apply_deaths(change, table, NULL) == 0) {
        if (before != 0) {
            *out = *old;
            atomic_fetch_add_explicit(&out->body->references, 1, memory_order_relaxed);
        }
        return BOLE_OK;
    }
    bl_assert(removed <= before);
    if (before - removed + inserted == 0)
        return BOLE_OK;
    if (!make_values(before - removed + inserted, out))
        return no_memory(error);
    uint32_t next = touched.insertion_first, gone = 0;
    for (uint32_t i = 0; i < before; i++) {
        if (removed != 0 && is_removed(change, &touched, old->numbers[i])) {
            gone++;
            continue;
        }
        while (next < touched.insertion_end &&
               compare_segments(change->insertions[next].segment, old->segments[i]) < 0)
            push_new_values(out, change->insertions[next++].segment);
        push_values(out, old->segments[i], old->dead[i]);
    }
    while (next < touched.insertion_end)
        push_new_values(out, change->insertions[next++].segment);
    bl_assert(gone == removed);
    (void)apply_deaths(change, table, out);
    return BOLE_OK;
}

static bole_status build_table(build *state, const bl_version_table *old, bl_version_table *out,
                               bole_error *error)
{
    for (uint32_t level = 0; level < BOLE_LEVELS_MAX; level++) {
        bole_status status = build_level(state, out, level, old == NULL ? NULL : &old->levels[level],
                                         &out->levels[level], error);
        if (status != BOLE_OK)
            return status;
    }
    return build_values(state, out->number, old == NULL ? NULL : &old->values, &out->values, error);
}

static bool is_dropped(const bl_version_change *change, uint32_t table)
{
    for (uint32_t i = 0; i < change->dropped_count; i++)
        if (change->dropped[i] == table)
            return true;
    return false;
}

static bool name_table(bl_version_table *table, const char *name, const char *comparator_name)
{
    table->name = bl_string_copy(name);
    table->comparator_name = bl_string_copy(comparator_name);
    return table->name != NULL && table->comparator_name != NULL;
}

/* Removals in a dropped table are part of the drop. */
static void skip_dropped(build *state, uint32_t table)
{
    const bl_version_change *change = state->change;
    while (state->removal < change->removal_count && change->removals[state->removal].table == table)
        state->removal++;
    bl_assert(state->insertion == change->insertion_count ||
              change->insertions[state->insertion].table != table);
}

static bole_status build_tables(build *state, bl_version *version, bole_error *error)
{
    const bl_version_change *change = state->change;
    uint32_t old_count = change->base == NULL ? 0 : change->base->table_count, at = 0, birth = 0;
    while (at < old_count || birth < change->birth_count) {
        bl_version_table *table = &version->tables[version->table_count];
        const bl_version_table *old = NULL;
        bool take_old = at < old_count && (birth == change->birth_count ||
                                           change->base->tables[at].number < change->births[birth].number);
        bool named;
        if (take_old) {
            old = &change->base->tables[at++];
            if (is_dropped(change, old->number)) {
                skip_dropped(state, old->number);
                continue;
            }
            table->number = old->number;
            table->comparator = old->comparator;
            table->comparator_known = old->comparator_known;
            table->created = old->created;
            version->table_count++;
            named = name_table(table, old->name, old->comparator_name);
        } else {
            const bl_version_birth *born = &change->births[birth++];
            table->number = born->number;
            table->comparator = born->comparator;
            table->comparator_known = born->comparator_known;
            table->created = born->created;
            version->table_count++;
            named = name_table(table, born->name, born->comparator_name);
        }
        if (!named)
            return no_memory(error);
        bole_status status = build_table(state, old, table, error);
        if (status != BOLE_OK)
            return status;
    }
    return BOLE_OK;
}

static bool note_sequence(void *context, const bl_version_table *table, bl_segment *segment)
{
    (void)table;
    uint64_t *most = context, sequence = bl_segment_meta_of(segment)->sequence_max;
    *most = sequence > *most ? sequence : *most;
    return true;
}

bole_status bl_version_build(const bl_version_change *change, bl_version **out, bole_error *error)
{
    *out = NULL;
    uint32_t tables = (change->base == NULL ? 0 : change->base->table_count) + change->birth_count;
    bl_version *version = bl_new(bl_version);
    if (version == NULL)
        return no_memory(error);
    static _Atomic uint64_t ids;
    atomic_init(&version->references, 1);
    version->id = atomic_fetch_add_explicit(&ids, 1, memory_order_relaxed) + 1;
    build state = { .change = change };
    bole_status status = BOLE_OK;
    version->tables = bl_new_array(bl_version_table, tables + 1);
    if (version->tables == NULL) {
        status = no_memory(error);
        goto fail;
    }
    if (change->insertion_count > 1)
        qsort(change->insertions, change->insertion_count, sizeof change->insertions[0], compare_insertions);
    if (change->removal_count > 1)
        qsort(change->removals, change->removal_count, sizeof change->removals[0], compare_removals);
    status = build_tables(&state, version, error);
    if (status != BOLE_OK)
        goto fail;
    bl_assert(state.insertion == change->insertion_count && state.removal == change->removal_count);
    bl_version_each_segment(version, note_sequence, &version->sequence_max);
    *out = version;
    return BOLE_OK;
fail:
    bl_version_unref(version);
    return status;
}
