/* SPDX-License-Identifier: MIT */
/* read.c -- the way of a read: epoch -> state -> position -> memtables -> filters, index, block of each candidate.
 *
 * A cached get takes no lock, allocates nothing but the caller's buffer, and writes no line that threads share. The
 * filters' lines of all memtables, and then those of all candidate segments, are asked for before the first is tested,
 * so several of them cost about one miss. When a block (or a segment's unit) is absent, the reader takes a count on its
 * state, leaves the epoch, loads, and looks again from the start at the same position.
 *
 * INVARIANT (READ-1) Nothing waits inside the epoch: no I/O, no lock, no user callback but a table's comparator, which
 *                    the documentation forbids to call back.
 *
 * An entry of a level may be a pointer to its value: then the look goes on in the value segment, in the same epoch.
 * Who reads the newest of a key that was read so before, since the list of segments changed last, need not search them
 * again: a hint (segment/value_hint.h) leads from the memtables, which do not have it, to the value. */
#include "engine/read.h"

#include "base/assert.h"
#include "base/buffer.h"
#include "base/hash.h"
#include "engine/value_read.h"
#include "platform/epoch.h"

enum { CANDIDATES_MAX = 96, LOADS_BEFORE_UNCACHED = 64 };

typedef struct candidates {
    uint32_t count;
    bl_segment *segments[CANDIDATES_MAX];
} candidates;

/* Newest first. Returns false when there are more than fit: the caller walks the levels one by one then. */
static bool collect(const bl_version_table *table, const bl_lookup *lookup, candidates *out)
{
    out->count = 0;
    for (uint32_t level = 0; level < BOLE_LEVELS_MAX; level++) {
        const bl_level *here = &table->levels[level];
        for (uint32_t run = 0; run < here->run_count; run++) {
            bl_segment *segment = bl_run_find(&here->runs[run], lookup->comparator, lookup->key);
            if (segment == NULL)
                continue;
            if (out->count == CANDIDATES_MAX)
                return false;
            out->segments[out->count++] = segment;
        }
    }
    return true;
}

/* What a look inside the epoch found. */
typedef struct look {
    bl_find find;
    bl_memtable *memtable; /* FOUND there: found.tag and found.value say what; NULL: in a segment */
    bl_segment *segment;   /* FOUND there, or MUST_LOAD */
    bl_found found;
} look;

static bool look_in_memtables(const bl_read_state *state, const bl_lookup *lookup, uint32_t table, look *out)
{
    for (uint32_t i = 0; i < state->memtable_count; i++) {
        const bl_memtable_tree *tree = bl_memtable_find_tree(state->memtables[i], table);
        if (tree != NULL && bl_memtable_get(tree, lookup->key, lookup->hash, lookup->sequence,
                                            &out->found.tag, &out->found.value)) {
            out->find = BL_FIND_FOUND;
            out->memtable = state->memtables[i];
            return true;
        }
    }
    return false;
}

/* Ask for the memtables' filter lines; false when none of them holds anything of the table. */
static bool prefetch_memtables(const bl_read_state *state, const bl_lookup *lookup, uint32_t table)
{
    bool any = false;
    for (uint32_t i = 0; i < state->memtable_count; i++) {
        const bl_memtable_tree *tree = bl_memtable_find_tree(state->memtables[i], table);
        if (tree == NULL)
            continue;
        bl_memtable_prefetch(tree, lookup->hash);
        any = true;
    }
    return any;
}

static bool look_in_segment(bl_segment *segment, const bl_lookup *lookup, const bl_segment_spot *spot,
                            look *out)
{
    out->find = bl_segment_find_from(segment, lookup, spot, &out->found);
    out->segment = segment;
    return out->find != BL_FIND_ABSENT;
}

/* More runs than fit into a list: one after the other. */
static void look_run_by_run(const bl_version_table *table, const bl_lookup *lookup, look *out)
{
    BL_MARK("more runs than candidates");
    for (uint32_t level = 0; level < BOLE_LEVELS_MAX; level++)
        for (uint32_t run = 0; run < table->levels[level].run_count; run++) {
            bl_segment *segment = bl_run_find(&table->levels[level].runs[run], lookup->comparator,
                                              lookup->key);
            if (segment != NULL && look_in_segment(segment, lookup, NULL, out))
                return;
        }
}

/* Where a large value may be, without a search. */
typedef struct known_place {
    bool known;
    uint32_t segment; /* of the table's value segments */
    uint64_t block;
} known_place;

/* Ask for what the hint names; its place is known only if it may be believed. */
static known_place follow_hint(const bl_read_state *state, const bl_lookup *lookup, uint32_t table,
                               bl_value_hint_line *line, bool believes)
{
    known_place place = { .known = false };
    const bl_value_hint *hint = bl_value_hint_of(line, lookup->hash);
    if (hint == NULL)
        return place;
    bl_hint_scope scope = { state->version->id, lookup->hash, table };
    place.known = believes && bl_value_hint_find(hint, &scope, &place.segment, &place.block);
    bl_value_hint_follow(hint, !place.known);
    return place;
}

/* No memtable has the key, and its value should be there. Whatever is not as it was is looked for. */
static bool look_where_it_was(const bl_version_table *table, const bl_lookup *lookup,
                              const known_place *place, look *out)
{
    BL_MARK("value looked for by its hint");
    if (bl_likely(table != NULL && place->segment < table->values.count)) {
        out->segment = table->values.segments[place->segment];
        out->find = bl_segment_find_value_at(out->segment, place->block, lookup->key, &out->found);
        out->found.tag = BL_TAG(0, BL_KIND_PUT);
    }
    if (bl_likely(out->find == BL_FIND_FOUND))
        return true;
    out->find = BL_FIND_ABSENT;
    return false;
}

/* Memtables first, and nothing of the segments before they have said no: of what is read most, much was written a
 * moment ago. Of the segments the oldest candidate is in the lowest level, which holds most of what there is: its index
 * is searched while the filters' lines are on their way, those of the others only when their filter has passed.
 * `hints`: of where large values were; or NULL. `believes`: a hint may end the search. */
static void look_inside(const bl_read_state *state, const bl_lookup *lookup, uint32_t table_number,
                        bl_value_hint_line *hints, bool believes, look *out)
{
    out->find = BL_FIND_ABSENT;
    out->memtable = NULL;
    bool in_memory = prefetch_memtables(state, lookup, table_number);
    known_place place = { .known = false };
    if (bl_unlikely(hints != NULL))
        place = follow_hint(state, lookup, table_number, hints, believes);
    if (in_memory && look_in_memtables(state, lookup, table_number, out))
        return;
    const bl_version_table *table = bl_version_table_by_number(state->version, table_number);
    if (bl_unlikely(place.known) && look_where_it_was(table, lookup, &place, out))
        return;
    candidates list;
    list.count = 0;
    if (table != NULL && bl_unlikely(!collect(table, lookup, &list))) {
        look_run_by_run(table, lookup, out);
        return;
    }
    bl_segment_spot spot;
    for (uint32_t i = 0; i + 1 < list.count; i++)
        bl_segment_prefetch_filter(list.segments[i], lookup);
    if (list.count > 0)
        spot = bl_segment_approach(list.segments[list.count - 1], lookup);
    for (uint32_t i = 0; i < list.count; i++)
        if (look_in_segment(list.segments[i], lookup, i + 1 == list.count ? &spot : NULL, out))
            return;
}

static bl_read_state *state_for(bole_db *db, const bole_table *table, bl_read_state *pinned)
{
    if (bl_unlikely(pinned != NULL))
        return pinned;
    bl_read_state *dropped = atomic_load_explicit(&table->dropped, memory_order_acquire);
    return bl_unlikely(dropped != NULL) ? dropped
                                        : atomic_load_explicit(&db->read_state, memory_order_acquire);
}

/* No room for another block: one private block at a time, newest candidate first. At the lookup's position the
 * memtables have nothing: the look that met the block had asked them. */
static bole_status get_uncached(const bole_table *table, const bl_lookup *lookup, const bl_read_state *state,
                                bole_buffer *value, bole_error *error)
{
    const bl_version_table *here = bl_version_table_by_number(state->version, table->number);
    for (uint32_t level = 0; here != NULL && level < BOLE_LEVELS_MAX; level++)
        for (uint32_t run = 0; run < here->levels[level].run_count; run++) {
            bl_segment *segment = bl_run_find(&here->levels[level].runs[run], lookup->comparator,
                                              lookup->key);
            if (segment == NULL)
                continue;
            uint64_t tag;
            bole_status status = bl_segment_find_uncached(segment, lookup, &tag, value, error);
            if (status == BOLE_OK && bl_tag_kind(tag) == BL_KIND_PUT_WITH_VALUE_POINTER)
                return bl_value_replace(here, lookup->key, value, error);
            if (status == BOLE_OK)
                return bl_tag_kind(tag) == BL_KIND_DELETE ? BOLE_NOT_FOUND : BOLE_OK;
            if (status != BOLE_NOT_FOUND)
                return status;
        }
    return BOLE_NOT_FOUND;
}

/* The look found a pointer: go on to where the value stands. */
static bole_status follow_pointer(const bl_version *version, uint32_t table_number, const bl_lookup *lookup,
                                  bl_value_hint_line *hints, bool newest, look *seen, bole_error *error)
{
    bole_slice key = lookup->key;
    const bl_version_table *table = bl_version_table_by_number(version, table_number);
    bl_value_pointer pointer;
    bl_found found;
    uint32_t at;
    bole_status status = bl_value_locate(table, key, seen->found.value, &pointer, &at, error);
    if (status != BOLE_OK)
        return status;
    seen->segment = table->values.segments[at];
    seen->find = bl_segment_find_value(seen->segment, &pointer, key, &found);
    if (bl_unlikely(seen->find == BL_FIND_ABSENT))
        return bl_segment_wrong_value(seen->segment, &pointer, error);
    if (hints != NULL && seen->find == BL_FIND_FOUND) {
        bl_value_hint *hint = bl_value_hint_note(hints, lookup->hash, seen->found.value.data, found.frame,
                                                 (const char *)found.value.data + found.value.size);
        if (newest && lookup->sequence > version->sequence_max) /* it has seen all that is in the list */
            bl_value_hint_place(hint, &(bl_hint_scope){ version->id, lookup->hash, table_number }, at,
                                pointer.block);
    }
    seen->found.tag = BL_TAG(0, BL_KIND_PUT);
    seen->found.value = found.value;
    seen->found.frame = found.frame;
    seen->found.block = found.block;
    return BOLE_OK;
}

/* Take what the look found out of the epoch, in the form that was asked for. */
static bole_status hand_over(const look *seen, bole_buffer *value, bole_view *view, bole_error *error)
{
    bole_slice found = seen->found.value;
    if (bl_tag_kind(seen->found.tag) == BL_KIND_DELETE)
        return BOLE_NOT_FOUND;
    if (value != NULL && !bl_buffer_assign(value, found.data, found.size))
        return bl_fail(error, BOLE_NO_MEMORY, "value of %zu bytes", found.size);
    if (view != NULL) {
        view->value = found;
        if (seen->memtable != NULL) {
            bl_memtable_ref(seen->memtable);
            view->pin[1] = seen->memtable;
        } else {
            bl_frame_pin(seen->found.frame);
            view->pin[2] = seen->found.frame;
        }
    }
    return BOLE_OK;
}

bole_status bl_read_one(bole_db *db, const bole_table *table, bl_read_state *pinned, const bl_lookup *given,
                        bole_buffer *value, bole_view *view, bool *from_memtable, bole_error *error)
{
    bl_lookup lookup = *given;
    bool newest = given->sequence == BL_SEQUENCE_MAX;
    bl_value_hint_line *hints = bl_value_hint_line_of(bl_frame_cache_hints(db->environment.cache),
                                                      lookup.hash);
    for (uint32_t loads = 0;; loads++) {
        look seen;
        bl_epoch_enter();
        bl_read_state *state = state_for(db, table, pinned);
#ifdef BL_CHECKS /* as in bl_read_state_acquire; nothing more stands in the way of a get as shipped */
        bl_point_inside(db->scheduler, "get has a state");
#endif
        if (newest)
            lookup.sequence = bl_position_visible(db); /* after the state: STORE-4 */
        bool believes = newest && hints != NULL && !bl_frame_cache_searches(db->environment.cache);
        look_inside(state, &lookup, table->number, hints, believes, &seen);
        if (seen.find == BL_FIND_FOUND &&
            bl_unlikely(bl_tag_kind(seen.found.tag) == BL_KIND_PUT_WITH_VALUE_POINTER) &&
            (value != NULL || view != NULL)) {
            bole_status status = follow_pointer(state->version, table->number, &lookup, hints, newest, &seen,
                                                error);
            if (bl_unlikely(status != BOLE_OK)) {
                bl_epoch_leave();
                *from_memtable = false;
                return status;
            }
        }
        if (bl_likely(seen.find != BL_FIND_MUST_LOAD)) {
            bole_status status = seen.find == BL_FIND_ABSENT ? BOLE_NOT_FOUND
                                                             : hand_over(&seen, value, view, error);
            bl_epoch_leave();
            *from_memtable = seen.memtable != NULL;
            return status;
        }
        bl_read_state_ref(state);
        bl_epoch_leave();
        bole_status status = bl_segment_load(seen.segment, seen.found.block, error);
        /* Each block that comes drives out another that is needed, too? */
        if (status == BOLE_OK && loads >= LOADS_BEFORE_UNCACHED)
            status = bl_fail(error, BOLE_MEMORY_PINNED, "no room in memory for the blocks of one read");
        if (status == BOLE_MEMORY_PINNED && view == NULL) {
            BL_MARK("read without the cache");
            bole_buffer unused = BOLE_BUFFER_INIT;
            status = get_uncached(table, &lookup, state, value != NULL ? value : &unused, error);
            bole_buffer_free(&unused);
            bl_read_state_unref(state);
            *from_memtable = false;
            return status;
        }
        bl_read_state_unref(state);
        if (status != BOLE_OK)
            return status;
    }
}

/* Arguments that all reads share. */
bole_status bl_read_begin(bole_db *db, const bole_read_options *options, bole_table **table,
                          uint64_t *sequence, bl_read_state **pinned, bole_error **error)
{
    *error = options == NULL ? NULL : options->error;
    if (bl_unlikely(!bl_db_is_ours(db)))
        return bl_forked(*error);
    *sequence = BL_SEQUENCE_MAX;
    *pinned = NULL;
    *table = &db->default_table;
    if (options == NULL)
        return BOLE_OK;
    if (options->flags != 0)
        return bl_fail(*error, BOLE_INVALID, "unknown read flags 0x%x", options->flags);
    if (options->snapshot != NULL) {
        if (options->snapshot->db != db)
            return bl_fail(*error, BOLE_INVALID, "the snapshot belongs to another store");
        *sequence = options->snapshot->sequence;
        *pinned = options->snapshot->state;
    }
    return options->table == NULL ? BOLE_OK : bl_resolve_table(db, options->table, table, *error);
}

bl_read_state *bl_read_hold_state(bole_db *db, const bole_table *table, bl_read_state *pinned,
                                  uint64_t *visible)
{
    if (pinned == NULL)
        pinned = atomic_load_explicit(&table->dropped, memory_order_acquire);
    if (pinned == NULL)
        return bl_read_state_acquire(db, visible);
    bl_read_state_ref(pinned);
    *visible = bl_position_visible(db); /* after the state: STORE-4 */
    return pinned;
}

static bole_status read_key(bole_db *db, const bole_read_options *options, bole_slice key, bole_buffer *value,
                            bole_view *view)
{
    bole_error *error;
    bole_table *table;
    bl_read_state *pinned;
    bl_lookup lookup = { .key = key };
    bole_status status = bl_read_begin(db, options, &table, &lookup.sequence, &pinned, &error);
    if (bl_unlikely(status != BOLE_OK))
        return status;
    bl_counters *counters = bl_my_counters(db);
    uint64_t begin = 0;
    bool timed = (bl_tally(db, counters, &counters->gets, 1) & 63) == 0;
    if (bl_unlikely(timed))
        begin = db->vfs->monotonic_ns(db->vfs);
    bool from_memtable = false;
    if (bl_unlikely(key.size > BOLE_KEY_BYTES_MAX)) {
        status = BOLE_NOT_FOUND; /* no such key can have been written */
    } else {
        lookup.hash = bl_hash(key.data, key.size);
        lookup.comparator = table->comparator;
        status = bl_read_one(db, table, pinned, &lookup, value, view, &from_memtable, error);
    }
    if (status == BOLE_OK)
        (void)bl_tally(db, counters, from_memtable ? &counters->get_memtable_hits : &counters->get_hits, 1);
    if (bl_unlikely(timed))
        bl_histogram_add(&db->get_latency, db->vfs->monotonic_ns(db->vfs) - begin);
    return status;
}

BOLE_API bole_status bole_get(bole_db *db, const bole_read_options *options, bole_slice key,
                              bole_buffer *value)
{
    value->size = 0;
    bole_status status = read_key(db, options, key, value, NULL);
    if (status != BOLE_OK)
        value->size = 0;
    return status;
}

BOLE_API bole_status bole_exists(bole_db *db, const bole_read_options *options, bole_slice key)
{
    return read_key(db, options, key, NULL, NULL);
}

BOLE_API bole_status bole_get_view(bole_db *db, const bole_read_options *options, bole_slice key,
                                   bole_view *view)
{
    *view = (bole_view)BOLE_VIEW_INIT;
    bole_status status = read_key(db, options, key, NULL, view);
    if (status == BOLE_OK) {
        view->pin[0] = db;
        bl_counters *counters = bl_my_counters(db);
        (void)bl_tally(db, counters, &counters->views_opened, 1);
    }
    return status;
}

BOLE_API void bole_view_release(bole_view *view)
{
    bole_db *db = view->pin[0];
    if (db == NULL)
        return;
    if (bl_db_is_ours(db)) {
        if (view->pin[1] != NULL)
            bl_memtable_unref(view->pin[1]);
        if (view->pin[2] != NULL)
            bl_frame_unpin(view->pin[2]);
        bl_counters *counters = bl_my_counters(db);
        (void)bl_tally(db, counters, &counters->views_released, 1);
    }
    *view = (bole_view)BOLE_VIEW_INIT;
}
