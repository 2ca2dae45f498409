/* SPDX-License-Identifier: MIT */
/* pending_edit.c -- all that an edit needs before it is written: checked, its handles found or made, its
 * version built.
 *
 * Everything that can fail for want of memory fails here, before the manifest is touched; what follows the
 * sync cannot.
 * INVARIANTS  (PENDING-1) State and version of the set are only read; the next ones are the pending edit's
 *                         own.
 *             (PENDING-2) An edit that does not fit the state is our own mistake and asserted; one whose
 *                         segments break the rules of a version is refused, for a comparator that is no order
 *                         can bring that about.
 * THREADS     Who has the turn; no lock is held. */
#include "version/pending_edit.h"

#include "base/alloc.h"
#include "base/assert.h"
#include "base/status.h"
#include "version/file_name.h"

#include <stdlib.h>

void bl_pending_edit_deinit(bl_pending_edit *pending)
{
    for (uint32_t i = 0; i < pending->insertion_count; i++)
        bl_segment_unref(pending->insertions[i].segment);
    bl_free(pending->insertions);
    bl_free(pending->departures);
    bl_free(pending->removed);
    bl_manifest_state_deinit(&pending->next);
    bl_version_unref(pending->version);
}

static bole_status no_memory(bole_error *error)
{
    return bl_fail(error, BOLE_NO_MEMORY, "no memory for a version edit");
}

static bool is_listed(const bl_version_edit *edit, uint32_t table, uint64_t number)
{
    for (uint32_t i = 0; i < edit->removed_count; i++)
        if (edit->removed[i].table == table && edit->removed[i].number == number)
            return true;
    return false;
}

/* (STATE-4): the segments of dropped tables are removed by name. */
static bole_status remove_dropped_segments(const bl_version *version, bl_pending_edit *pending,
                                           bole_error *error)
{
    bl_version_edit *edit = &pending->edit;
    size_t room = edit->removed_count;
    for (uint32_t i = 0; i < edit->tables_dropped_count; i++) {
        const bl_version_table *table = bl_version_table_by_number(version, edit->tables_dropped[i].number);
        bl_assert(table != NULL);
        room += table->values.count;
        for (uint32_t l = 0; l < BOLE_LEVELS_MAX; l++)
            for (uint32_t r = 0; r < table->levels[l].run_count; r++)
                room += table->levels[l].runs[r].count;
    }
    if (room == edit->removed_count)
        return BOLE_OK;
    pending->removed = bl_new_array(bl_segment_place, room);
    if (pending->removed == NULL)
        return no_memory(error);
    uint32_t count = 0;
    for (; count < edit->removed_count; count++)
        pending->removed[count] = edit->removed[count];
    for (uint32_t i = 0; i < edit->tables_dropped_count; i++) {
        const bl_version_table *table = bl_version_table_by_number(version, edit->tables_dropped[i].number);
        for (uint32_t s = 0; s < table->values.count; s++)
            if (!is_listed(edit, table->number, table->values.numbers[s]))
                pending->removed[count++] = (bl_segment_place){ table->number, table->values.numbers[s] };
        for (uint32_t l = 0; l < BOLE_LEVELS_MAX; l++) {
            for (uint32_t r = 0; r < table->levels[l].run_count; r++) {
                const bl_run *run = &table->levels[l].runs[r];
                for (uint32_t s = 0; s < run->count; s++) {
                    uint64_t number = bl_segment_meta_of(run->segments[s])->number;
                    if (!is_listed(edit, table->number, number))
                        pending->removed[count++] = (bl_segment_place){ table->number, number };
                }
            }
        }
    }
    edit->removed = pending->removed;
    edit->removed_count = count;
    return BOLE_OK;
}

/* A position that another edit has passed while this one waited for its turn says nothing new. */
static void keep_rising(const bl_manifest_state *state, bl_version_edit *edit)
{
    if (edit->synced <= state->synced)
        edit->synced = 0;
    if (edit->flushed_through <= state->flushed_through)
        edit->flushed_through = 0;
    if (edit->next_sequence <= state->next_sequence)
        edit->next_sequence = 0;
}

/* The edit against the state: what does not fit is our own mistake. */
static bole_status check_edit(bl_version_set *set, bl_pending_edit *pending, bole_error *error)
{
    bl_assert(!pending->edit.snapshot && pending->edit.next_table_number == 0);
    bole_status status = bl_manifest_state_copy(&pending->next, &set->state, error);
    if (status != BOLE_OK)
        return status;
    if (pending->edit.next_file_number >= BL_FILE_NUMBER_MAX)
        return bl_fail(error, BOLE_TOO_LARGE, "the store has used up its file numbers");
    keep_rising(&pending->next, &pending->edit);
    bole_error story = BOLE_ERROR_INIT;
    status = bl_manifest_state_apply(&pending->next, &pending->edit, "an edit under way", BL_NO_OFFSET,
                                     &story);
    bl_assert(status != BOLE_CORRUPT);
    if (status != BOLE_OK && error != NULL)
        *error = story;
    return status;
}

static int compare_departures(const void *a, const void *b)
{
    const bl_version_removal *left = &((const bl_departure *)a)->from,
                             *right = &((const bl_departure *)b)->from;
    if (left->table != right->table)
        return left->table < right->table ? -1 : 1;
    if (left->level != right->level)
        return left->level < right->level ? -1 : 1;
    if (left->run != right->run)
        return left->run < right->run ? -1 : 1;
    return left->number < right->number ? -1 : left->number > right->number;
}

static const bl_run *find_run(const bl_version *version, const bl_version_removal *place)
{
    const bl_version_table *table = bl_version_table_by_number(version, place->table);
    bl_assert(table != NULL);
    const bl_level *level = &table->levels[place->level];
    uint32_t at = 0;
    while (at < level->run_count && level->runs[at].number != place->run)
        at++;
    bl_assert(at < level->run_count);
    return &level->runs[at];
}

/* Find the handles of departures[0..count), all of one run and sorted, in one walk over the run. */
static void find_handles(const bl_version *version, bl_departure *departures, uint32_t count)
{
    if (departures[0].from.level == BL_LEVEL_VALUES) {
        const bl_version_values *values = &bl_version_table_by_number(version, departures[0].from.table)
                                               ->values;
        for (uint32_t i = 0; i < count; i++) {
            uint32_t at = bl_version_values_find(values, departures[i].from.number);
            bl_assert(at < values->count);
            departures[i].segment = values->segments[at];
        }
        return;
    }
    const bl_run *run = find_run(version, &departures[0].from);
    uint32_t found = 0;
    for (uint32_t i = 0; i < run->count && found < count; i++) {
        bl_departure key = departures[0];
        key.from.number = bl_segment_meta_of(run->segments[i])->number;
        bl_departure *departure = bsearch(&key, departures, count, sizeof key, compare_departures);
        if (departure != NULL) {
            departure->segment = run->segments[i];
            found++;
        }
    }
    bl_assert(found == count);
}

static bole_status list_departures(bl_version_set *set, bl_pending_edit *pending, bole_error *error)
{
    const bl_version_edit *edit = &pending->edit;
    uint32_t count = edit->removed_count + edit->moved_count;
    bl_departure *departures = pending->departures = bl_new_array(bl_departure, (size_t)count + 1);
    if (departures == NULL)
        return no_memory(error);
    for (uint32_t i = 0; i < count; i++) {
        const bl_segment_move *move = i < edit->removed_count ? NULL : &edit->moved[i - edit->removed_count];
        uint64_t number = move == NULL ? edit->removed[i].number : move->number;
        const bl_state_segment *place = bl_manifest_state_segment(&set->state, number);
        bl_assert(place != NULL);
        departures[i] = (bl_departure){ .from = { place->table, place->level, place->run, number },
                                        .move = move };
    }
    pending->departure_count = count;
    if (count > 1)
        qsort(departures, count, sizeof departures[0], compare_departures);
    for (uint32_t first = 0, end = 0; first < count; first = end) {
        const bl_version_removal *place = &departures[first].from;
        while (end < count && departures[end].from.table == place->table &&
               departures[end].from.level == place->level && departures[end].from.run == place->run)
            end++;
        find_handles(pending->old, &departures[first], end - first);
    }
    return BOLE_OK;
}

static bole_status comparator_of(const bl_version_set *set, const bl_pending_edit *pending, uint32_t table,
                                 const bole_comparator **out, bole_error *error)
{
    *out = NULL;
    const bl_version_table *there = bl_version_table_by_number(pending->old, table);
    if (there != NULL) {
        *out = there->comparator;
        return BOLE_OK;
    }
    uint32_t i = 0;
    bl_assert(pending->edit.tables_created_count > 0);
    while (pending->edit.tables_created[i].number != table)
        bl_assert(++i < pending->edit.tables_created_count); /* the state knows the table */
    const bl_table_description *made = &pending->edit.tables_created[i];
    *out = made->comparator;
    if (made->comparator != NULL) {
        bl_assert(strcmp(made->comparator->name, made->comparator_name) == 0);
        return BOLE_OK;
    }
    if (bl_version_set_resolve(set, made->comparator_name, out))
        return BOLE_OK;
    return bl_fail(error, BOLE_COMPARATOR, "table \"%s\" is to be in order of \"%s\", which is not known",
                   made->name, made->comparator_name);
}

/* Newcomers: given handles, or new ones; and those that move. */
static bole_status list_insertions(bl_version_set *set, bl_pending_edit *pending, bole_error *error)
{
    const bl_version_edit *edit = &pending->edit;
    pending->insertions = bl_new_array(bl_version_insertion,
                                       (size_t)edit->added_count + edit->moved_count + 1);
    if (pending->insertions == NULL)
        return no_memory(error);
    for (uint32_t i = 0; i < edit->added_count; i++) {
        const bl_segment_meta *meta = &edit->added[i];
        bl_segment *segment = edit->added_handles == NULL ? NULL : edit->added_handles[i];
        if (segment != NULL) {
            bl_assert(bl_segment_meta_of(segment)->number == meta->number);
            bl_segment_ref(segment);
        } else {
            const bole_comparator *comparator;
            bole_status status = comparator_of(set, pending, meta->table, &comparator, error);
            if (status == BOLE_OK)
                status = bl_segment_create_handle(set->environment, meta, comparator, &segment, error);
            if (status != BOLE_OK)
                return status;
        }
        pending->insertions[pending->insertion_count++] = (bl_version_insertion){ meta->table, meta->level,
                                                                                  meta->run, segment };
    }
    for (uint32_t i = 0; i < pending->departure_count; i++) {
        const bl_departure *departure = &pending->departures[i];
        const bl_segment_move *move = departure->move;
        if (move == NULL)
            continue;
        bl_segment_ref(departure->segment);
        pending->insertions[pending->insertion_count++] = (bl_version_insertion){ move->table, move->level,
                                                                                  move->run,
                                                                                  departure->segment };
    }
    return BOLE_OK;
}

static int compare_births(const void *a, const void *b)
{
    const bl_version_birth *left = a, *right = b;
    return left->number < right->number ? -1 : left->number > right->number;
}

static bole_status build_version(bl_version_set *set, bl_pending_edit *pending, bole_error *error)
{
    const bl_version_edit *edit = &pending->edit;
    bl_version_removal *removals = bl_new_array(bl_version_removal, (size_t)pending->departure_count + 1);
    bl_version_birth *births = bl_new_array(bl_version_birth, (size_t)edit->tables_created_count + 1);
    uint32_t *dropped = bl_new_array(uint32_t, (size_t)edit->tables_dropped_count + 1);
    bole_status status = BOLE_OK;
    if (removals == NULL || births == NULL || dropped == NULL)
        status = no_memory(error);
    for (uint32_t i = 0; i < pending->departure_count && status == BOLE_OK; i++)
        removals[i] = pending->departures[i].from;
    for (uint32_t i = 0; i < edit->tables_dropped_count && status == BOLE_OK; i++)
        dropped[i] = edit->tables_dropped[i].number;
    for (uint32_t i = 0; i < edit->tables_created_count && status == BOLE_OK; i++) {
        const bl_table_description *made = &edit->tables_created[i];
        births[i] = (bl_version_birth){ made->number, made->name, made->comparator_name,
                                        NULL,         true,       made->position };
        status = comparator_of(set, pending, made->number, &births[i].comparator, error);
    }
    if (status == BOLE_OK) {
        if (edit->tables_created_count > 1)
            qsort(births, edit->tables_created_count, sizeof births[0], compare_births);
        bl_version_change change = {
            .base = pending->old,
            .births = births,
            .birth_count = edit->tables_created_count,
            .dropped = dropped,
            .dropped_count = edit->tables_dropped_count,
            .insertions = pending->insertions,
            .insertion_count = pending->insertion_count,
            .removals = removals,
            .removal_count = pending->departure_count,
            .died = edit->died,
            .died_count = edit->died_count,
        };
        status = bl_version_build(&change, &pending->version, error);
    }
    bl_free(removals);
    bl_free(births);
    bl_free(dropped);
    return status == BOLE_OK ? bl_version_check(pending->version, error) : status;
}

bole_status bl_pending_edit_prepare(bl_version_set *set, bl_pending_edit *pending, bole_error *error)
{
    pending->old = bl_version_set_current(set);
    bole_status status = remove_dropped_segments(pending->old, pending, error);
    if (status == BOLE_OK)
        status = check_edit(set, pending, error);
    if (status == BOLE_OK)
        status = list_departures(set, pending, error);
    if (status == BOLE_OK)
        status = list_insertions(set, pending, error);
    if (status == BOLE_OK)
        status = build_version(set, pending, error);
    return status;
}
