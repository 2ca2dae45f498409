/* SPDX-License-Identifier: MIT */
/* scan.c -- the iterator: one merge over all memtables and runs of a table, at one moment.
 *
 * The merge shows every version in internal order (key rising, newest first). The iterator shows, per key, the newest
 * version seen at its position, unless that is a tombstone. Forward, the shown entry is the merge's current one, in
 * place. Backward, versions come oldest first, so the candidate is copied and shown when the key changes; the merge
 * then stands before it. Over a single run whose entries all are plain puts (the last level after compaction) this
 * direction shows in place, too.
 * Most entries of a scan lie in the last level, whose blocks have no tags, and between two entries of the other sources
 * there are many of them. Such a stretch is measured once, with a search of the block for the key at which the next
 * source stands, and then walked without comparing anything: one inline step an entry. While it is walked, the merge's
 * cursor stays where the walk began, until somebody wants it.
 * Where the shown version is a pointer its value is fetched when the iterator comes to stand there, and held until it
 * moves: so a failure is a status, never a missing value.
 *
 * INVARIANTS  (SCAN-1) An iterator sees one position, however long it lives: it counts its read state.
 *             (SCAN-2) No key outside [lower, upper) is shown, and none twice.
 *             (SCAN-3) A failure of any source ends the iterator with its status; it is never the end of data. */
#include "engine/read.h"

#include "base/alloc.h"
#include "base/assert.h"
#include "base/buffer.h"
#include "core/merge.h"
#include "engine/value_read.h"

enum { ALIGNMENT = 16, SPARE_BYTES_MAX = 32 * 1024 };

typedef enum shown { SHOWN_NOTHING, SHOWN_IN_PLACE, SHOWN_COPY } shown;

struct bole_iterator {
    bole_key_value_cursor base; /* first: key and value of what is shown, and the status */
    /* Entries behind the shown one, in the window of the merge's current cursor, that are shown as they come: puts that
     * everybody sees, each of another key, before whatever other sources have and within the bounds. */
    bl_cursor_walk walk; /* where one can be walked there; left 0: none left */
    uint32_t left;       /* others: decoded one by one */
    bool walks;          /* the merge's cursor is where the walk began */
    bool stretch_known;  /* what is left has been found out since the merge moved */
    bole_db *db;
    bole_table *table;
    bl_read_state *state;
    uint64_t sequence;
    size_t memory_bytes; /* of all that lies here and behind */
    bl_merge merge;
    bool plain; /* one run, and every entry of it is a put without sequence: each is a key of its own */
    bool has_lower, has_upper, empty; /* empty: the bounds leave nothing */
    bool forward;
    shown shows;
    bl_held_value held;                    /* the shown value, when it stands in a value segment */
    const bl_version_table *version_table; /* NULL: nothing of the table is in segments */
    bole_buffer lower, upper;              /* own copies */
    bole_buffer key, value;                /* SHOWN_COPY, and the key to step over */
    bole_error *error;
    uint64_t skipped, steps;
};

/* ---- making one ---- */

/* The first key above every key with this prefix; empty when there is none. False without memory. */
static bool prefix_end(bole_buffer *out, bole_slice prefix)
{
    size_t size = prefix.size;
    while (size > 0 && ((const uint8_t *)prefix.data)[size - 1] == 0xff)
        size--;
    if (size == 0)
        return true;
    if (!bl_buffer_assign(out, prefix.data, size))
        return false;
    ((uint8_t *)out->data)[size - 1]++;
    return true;
}

static bole_slice lower_of(const bole_iterator *iterator)
{
    return bl_slice(iterator->lower.data, iterator->lower.size);
}

static bole_slice upper_of(const bole_iterator *iterator)
{
    return bl_slice(iterator->upper.data, iterator->upper.size);
}

static bole_status set_bounds(bole_iterator *iterator, const bole_read_options *options)
{
    if (options == NULL)
        return BOLE_OK;
    bl_comparator *comparator = iterator->table->comparator;
    bole_slice lower = options->lower_bound, prefix = options->prefix;
    if (prefix.data != NULL && comparator != NULL)
        return bl_fail(options->error, BOLE_INVALID,
                       "a prefix scan needs byte order; table \"%s\" is in order of %s",
                       iterator->table->name, comparator->name);
    iterator->has_lower = lower.data != NULL;
    if (prefix.data != NULL && (!iterator->has_lower || bl_slice_compare(lower, prefix) < 0)) {
        lower = prefix;
        iterator->has_lower = true;
    }
    if (iterator->has_lower && !bl_buffer_assign(&iterator->lower, lower.data, lower.size))
        return bl_fail(options->error, BOLE_NO_MEMORY, "lower bound");
    if (options->upper_bound.data != NULL) {
        iterator->has_upper = true;
        if (!bl_buffer_assign(&iterator->upper, options->upper_bound.data, options->upper_bound.size))
            return bl_fail(options->error, BOLE_NO_MEMORY, "upper bound");
    }
    if (prefix.data != NULL) {
        bole_buffer end = BOLE_BUFFER_INIT;
        if (!prefix_end(&end, prefix))
            return bl_fail(options->error, BOLE_NO_MEMORY, "end of a prefix");
        if (end.size != 0 && (!iterator->has_upper ||
                              bl_slice_compare(bl_slice(end.data, end.size), upper_of(iterator)) < 0)) {
            bole_buffer_free(&iterator->upper);
            iterator->upper = end;
            iterator->has_upper = true;
        } else {
            bole_buffer_free(&end);
        }
    }
    iterator->empty = iterator->has_lower && iterator->has_upper &&
                      bl_compare(comparator, lower_of(iterator), upper_of(iterator)) >= 0;
    return BOLE_OK;
}

/* One piece of memory holds an iterator and, behind it, the list of its cursors, the merge's tree, and the cursors. */
static size_t aligned(size_t bytes) { return (bytes + ALIGNMENT - 1) & ~(size_t)(ALIGNMENT - 1); }

typedef struct sources {
    uint32_t memtables, runs;
} sources;

/* At most: a memtable may have nothing of the table, as far as one can tell now. */
static sources count_sources(const bl_read_state *state, const bl_version_table *table)
{
    sources count = { state->memtable_count, 0 };
    for (uint32_t level = 0; table != NULL && level < BOLE_LEVELS_MAX; level++)
        count.runs += table->levels[level].run_count;
    return count;
}

static size_t bytes_for(sources count)
{
    size_t all = (size_t)count.memtables + count.runs;
    return aligned(sizeof(bole_iterator)) + aligned(all * sizeof(bl_cursor *)) +
           aligned((all + 1) * sizeof(bl_merge_node)) +
           count.memtables * aligned(bl_memtable_cursor_bytes(BL_VERSIONS_NEWEST)) +
           count.runs * aligned(bl_segment_cursor_bytes());
}

/* Put `mine` where the thread keeps the memory of its last iterator, and take what is there. Only the last stripe is
 * shared. */
static void *swap_spare(bole_db *db, void *mine)
{
    bl_counters *counters = bl_my_counters(db);
    if (bl_unlikely(counters == &db->counters[BL_COUNTER_STRIPES - 1]))
        return atomic_exchange_explicit(&counters->spare_iterator, mine, memory_order_acq_rel);
    void *there = atomic_load_explicit(&counters->spare_iterator, memory_order_relaxed);
    atomic_store_explicit(&counters->spare_iterator, mine, memory_order_relaxed);
    return there;
}

/* The memory of this thread's last iterator, if it is enough, or new one; all of it is written before it is read. */
static bole_iterator *take_memory(bole_db *db, size_t bytes)
{
    bole_iterator *spare = swap_spare(db, NULL);
    if (spare == NULL || spare->memory_bytes < bytes) {
        bl_free(spare);
        spare = bl_alloc(bytes);
    } else {
        bytes = spare->memory_bytes;
    }
    if (spare != NULL)
        *spare = (bole_iterator){ .memory_bytes = bytes };
    return spare;
}

static void give_memory(bole_db *db, bole_iterator *iterator)
{
    bl_free(iterator->memory_bytes <= SPARE_BYTES_MAX ? swap_spare(db, iterator) : iterator);
}

/* Is there one run, and of the kind whose entries are seen by everybody? Then it is the one cursor, if there is one
 * cursor that is not a memtable's. */
static bool is_plain(const bole_iterator *iterator, const bl_version_table *table)
{
    for (uint32_t level = 0; table != NULL && level < BOLE_LEVELS_MAX; level++)
        if (table->levels[level].run_count != 0)
            return table->levels[level].runs[0].plain && iterator->sequence > 0;
    return false;
}

static void open_merge(bole_iterator *iterator, sources count)
{
    static const bl_segment_cursor_options options = { .read_ahead = true, .segments_stay = true };
    const bl_read_state *state = iterator->state;
    const bl_version_table *table = iterator->version_table;
    uint32_t all = count.memtables + count.runs, at = 0;
    uint8_t *memory = (uint8_t *)iterator + aligned(sizeof *iterator);
    bl_cursor **cursors = (bl_cursor **)(void *)memory;
    memory += aligned(all * sizeof(bl_cursor *));
    bl_merge_node *tree = (bl_merge_node *)(void *)memory;
    memory += aligned((all + (size_t)1) * sizeof(bl_merge_node));
    for (uint32_t i = 0; i < state->memtable_count; i++) {
        const bl_memtable_tree *mine = bl_memtable_find_tree(state->memtables[i], iterator->table->number);
        if (mine == NULL)
            continue;
        cursors[at++] = bl_memtable_cursor_at(memory, mine, BL_VERSIONS_NEWEST, iterator->sequence);
        memory += aligned(bl_memtable_cursor_bytes(BL_VERSIONS_NEWEST));
    }
    for (uint32_t level = 0; table != NULL && level < BOLE_LEVELS_MAX; level++)
        for (uint32_t run = 0; run < table->levels[level].run_count; run++) {
            const bl_run *here = &table->levels[level].runs[run];
            cursors[at++] = bl_segment_cursor_at(memory, here->segments, here->count, &options);
            memory += aligned(bl_segment_cursor_bytes());
        }
    bl_assert(at <= all);
    bl_merge_init_at(&iterator->merge, cursors, at, iterator->table->comparator, 0, tree);
    iterator->plain = at == 1 && is_plain(iterator, table);
}

BOLE_API bole_status bole_iterator_create(bole_db *db, const bole_read_options *options, bole_iterator **out)
{
    *out = NULL;
    bole_error *error;
    bole_table *table;
    uint64_t sequence;
    bl_read_state *pinned;
    bole_status status = bl_read_begin(db, options, &table, &sequence, &pinned, &error);
    if (status != BOLE_OK)
        return status;
    uint64_t visible;
    bl_read_state *state = bl_read_hold_state(db, table, pinned, &visible);
    const bl_version_table *version_table = bl_version_table_by_number(state->version, table->number);
    sources count = count_sources(state, version_table);
    bole_iterator *iterator = take_memory(db, bytes_for(count));
    if (iterator == NULL) {
        bl_read_state_unref(state);
        return bl_fail(error, BOLE_NO_MEMORY, "iterator over %u runs", count.memtables + count.runs);
    }
    iterator->db = db;
    iterator->table = table;
    iterator->error = error;
    iterator->forward = true;
    iterator->state = state;
    iterator->version_table = version_table;
    iterator->sequence = sequence == BL_SEQUENCE_MAX ? visible : sequence;
    bl_counters *counters = bl_my_counters(db);
    (void)bl_tally(db, counters, &counters->iterators_opened, 1);
    open_merge(iterator, count);
    status = set_bounds(iterator, options);
    if (status == BOLE_OK)
        *out = iterator;
    else
        bole_iterator_destroy(iterator);
    return status;
}

/* The merge's cursor to the shown entry. */
static inline void end_walk(bole_iterator *iterator)
{
    if (!iterator->walks)
        return;
    iterator->steps += bl_cursor_walk_end(iterator->merge.current, &iterator->walk);
    iterator->walks = false;
    iterator->walk.left = 0;
}

static inline void leave_stretch(bole_iterator *iterator)
{
    end_walk(iterator);
    iterator->left = 0;
    iterator->stretch_known = false;
}

BOLE_API void bole_iterator_destroy(bole_iterator *iterator)
{
    if (iterator == NULL)
        return;
    bole_db *db = iterator->db;
    bool is_ours = bl_db_is_ours(db);
    if (is_ours) {
        leave_stretch(iterator);
        bl_merge_deinit(&iterator->merge);
        bl_held_value_release(&iterator->held);
        bl_read_state_unref(iterator->state);
        bl_counters *counters = bl_my_counters(db);
        (void)bl_tally(db, counters, &counters->nexts, iterator->steps);
        (void)bl_tally(db, counters, &counters->skipped, iterator->skipped);
        (void)bl_tally(db, counters, &counters->iterators_closed, 1);
    }
    bole_buffer_free(&iterator->lower);
    bole_buffer_free(&iterator->upper);
    bole_buffer_free(&iterator->key);
    bole_buffer_free(&iterator->value);
    if (is_ours)
        give_memory(db, iterator);
    else
        bl_free(iterator);
}

/* ---- moving ---- */

static bool end_here(bole_iterator *iterator)
{
    iterator->shows = SHOWN_NOTHING;
    return false;
}

static bool fail_here(bole_iterator *iterator, bole_status status)
{
    iterator->base.status = status;
    return end_here(iterator);
}

static bool merge_failed(bole_iterator *iterator)
{
    if (iterator->merge.status == BOLE_OK)
        return false;
    iterator->base.status = iterator->merge.status;
    if (iterator->error != NULL && iterator->merge.error != NULL)
        *iterator->error = *iterator->merge.error;
    else
        (void)bl_fail(iterator->error, iterator->base.status, "scan of table \"%s\"", iterator->table->name);
    return true;
}

static bool above_upper(const bole_iterator *iterator, bole_slice key)
{
    return iterator->has_upper && bl_compare(iterator->table->comparator, key, upper_of(iterator)) >= 0;
}

static bool below_lower(const bole_iterator *iterator, bole_slice key)
{
    return iterator->has_lower && bl_compare(iterator->table->comparator, key, lower_of(iterator)) < 0;
}

static bole_slice saved_key(const bole_iterator *iterator)
{
    return bl_slice(iterator->key.data, iterator->key.size);
}

static bool save_key(bole_iterator *iterator, bole_slice key)
{
    if (bl_buffer_assign(&iterator->key, key.data, key.size))
        return true;
    (void)fail_here(iterator, bl_fail(iterator->error, BOLE_NO_MEMORY, "key of %zu bytes", key.size));
    return false;
}

/* Show what was chosen, `how`; of a pointer the value. */
static bool show(bole_iterator *iterator, shown how, uint64_t tag, bole_slice key, bole_slice value)
{
    if (bl_unlikely(bl_tag_kind(tag) == BL_KIND_PUT_WITH_VALUE_POINTER)) {
        bole_status status = bl_value_hold(iterator->version_table, key, value, &iterator->held,
                                           iterator->error);
        if (status != BOLE_OK)
            return fail_here(iterator, status);
        value = iterator->held.value;
    }
    iterator->base.key = key;
    iterator->base.value = value;
    iterator->shows = how;
    return true;
}

/* From the merge's current entry on: show the first that is to be shown. `skip`: entries of the saved key
 * are passed. */
static bool settle_forward(bole_iterator *iterator, bool skip)
{
    bl_merge *merge = &iterator->merge;
    for (; merge->current != NULL; bl_merge_next(merge)) {
        const bl_cursor *entry = merge->current;
        if (above_upper(iterator, entry->key))
            return end_here(iterator);
        if (skip && bl_slice_equal(entry->key, saved_key(iterator))) {
            iterator->skipped++;
            continue;
        }
        if (!bl_tag_visible(entry->tag, iterator->sequence)) {
            iterator->skipped++;
            continue;
        }
        if (bl_tag_kind(entry->tag) == BL_KIND_DELETE) {
            if (!save_key(iterator, entry->key))
                return false;
            skip = true;
            iterator->skipped++;
            continue;
        }
        return show(iterator, SHOWN_IN_PLACE, entry->tag, entry->key, entry->value);
    }
    if (merge_failed(iterator))
        return end_here(iterator);
    return end_here(iterator);
}

/* From the merge's current entry back: gather the versions of one key, oldest first, and show its newest seen. */
static bool settle_backward(bole_iterator *iterator)
{
    bl_merge *merge = &iterator->merge;
    while (merge->current != NULL) {
        const bl_cursor *entry = merge->current;
        if (below_lower(iterator, entry->key))
            return end_here(iterator);
        if (iterator->plain)
            return show(iterator, SHOWN_IN_PLACE, entry->tag, entry->key, entry->value);
        if (!save_key(iterator, entry->key))
            return false;
        bool live = false;
        uint64_t tag = 0;
        do {
            if (bl_tag_visible(merge->current->tag, iterator->sequence)) {
                tag = merge->current->tag;
                live = bl_tag_kind(tag) != BL_KIND_DELETE;
                if (live && !bl_buffer_assign(&iterator->value, merge->current->value.data,
                                              merge->current->value.size))
                    return fail_here(iterator, bl_fail(iterator->error, BOLE_NO_MEMORY, "value"));
            }
            iterator->skipped++;
            bl_merge_prev(merge);
        } while (merge->current != NULL && bl_slice_equal(merge->current->key, saved_key(iterator)));
        if (merge->current == NULL && merge_failed(iterator))
            return end_here(iterator);
        if (live) {
            iterator->skipped--;
            return show(iterator, SHOWN_COPY, tag, saved_key(iterator),
                        bl_slice(iterator->value.data, iterator->value.size));
        }
    }
    if (merge_failed(iterator))
        return end_here(iterator);
    return end_here(iterator);
}

static bool ready(bole_iterator *iterator)
{
    leave_stretch(iterator);
    if (!bl_db_is_ours(iterator->db))
        return fail_here(iterator, bl_forked(iterator->error));
    iterator->base.status = BOLE_OK;
    iterator->shows = SHOWN_NOTHING;
    return !iterator->empty;
}

/* A seek is counted, and one in 64 is timed: not 0 when this one is. */
static uint64_t begin_seek(bole_iterator *iterator, bool forward)
{
    bole_db *db = iterator->db;
    bl_counters *counters = bl_my_counters(db);
    iterator->forward = forward;
    bool timed = (bl_tally(db, counters, &counters->seeks, 1) & 63) == 0;
    return bl_unlikely(timed) ? db->vfs->monotonic_ns(db->vfs) : 0;
}

static bool end_seek(bole_iterator *iterator, uint64_t begin, bool stands)
{
    bole_db *db = iterator->db;
    if (bl_unlikely(begin != 0))
        bl_histogram_add(&db->seek_latency, db->vfs->monotonic_ns(db->vfs) - begin);
    return stands;
}

static bool seek_from(bole_iterator *iterator, bole_slice key)
{
    uint64_t begin = begin_seek(iterator, true);
    bl_merge_seek(&iterator->merge, key);
    return end_seek(iterator, begin, settle_forward(iterator, false));
}

BOLE_API bool bole_iterator_seek_first(bole_iterator *iterator)
{
    if (!ready(iterator))
        return false;
    if (iterator->has_lower)
        return seek_from(iterator, lower_of(iterator));
    uint64_t begin = begin_seek(iterator, true);
    bl_merge_seek_first(&iterator->merge);
    return end_seek(iterator, begin, settle_forward(iterator, false));
}

BOLE_API bool bole_iterator_seek(bole_iterator *iterator, bole_slice key)
{
    if (!ready(iterator))
        return false;
    return seek_from(iterator, below_lower(iterator, key) ? lower_of(iterator) : key);
}

BOLE_API bool bole_iterator_seek_last(bole_iterator *iterator)
{
    if (!ready(iterator))
        return false;
    uint64_t begin = begin_seek(iterator, false);
    if (iterator->has_upper)
        bl_merge_seek_before(&iterator->merge, upper_of(iterator));
    else
        bl_merge_seek_last(&iterator->merge);
    return end_seek(iterator, begin, settle_backward(iterator));
}

BOLE_API bool bole_iterator_seek_for_prev(bole_iterator *iterator, bole_slice key)
{
    if (!ready(iterator))
        return false;
    if (below_lower(iterator, key))
        return false;
    if (above_upper(iterator, key))
        return bole_iterator_seek_last(iterator);
    /* The key itself, if it is there, else the last one below it. */
    if (seek_from(iterator, key) && bl_slice_equal(bole_iterator_key(iterator), key))
        return true;
    if (iterator->base.status != BOLE_OK)
        return false;
    iterator->forward = false;
    bl_merge_seek_before(&iterator->merge, key);
    return settle_backward(iterator);
}

/* What is left of the stretch that begins where the merge stands. */
static void find_stretch(bole_iterator *iterator)
{
    const bl_cursor *cursor = iterator->merge.current;
    iterator->stretch_known = true;
    if (!bl_cursor_is_plain(cursor) || cursor->heads_off || iterator->sequence == 0 ||
        cursor->index + 1 >= cursor->count || cursor->head >= iterator->merge.bound)
        return;
    bole_slice upper = upper_of(iterator);
    uint32_t end = bl_merge_stretch_end(&iterator->merge, iterator->has_upper ? &upper : NULL);
    bl_debug_assert(end > cursor->index);
    uint32_t left = end - cursor->index - 1;
    if (left == 0)
        return;
    iterator->walks = bl_cursor_walk_begin(cursor, left, &iterator->walk);
    if (!iterator->walks)
        iterator->left = left;
}

static inline bool step_walk(bole_iterator *iterator)
{
    iterator->base.value.data = bl_cursor_walk_step(&iterator->walk);
    return true;
}

static bool step_decoding(bole_iterator *iterator)
{
    bl_cursor *cursor = iterator->merge.current;
    iterator->left--;
    iterator->steps++;
    cursor->index++;
    bl_cursor_decode_entry(cursor);
    iterator->base.key = cursor->key;
    iterator->base.value = cursor->value;
    return true;
}

/* Forward: has the next entry surely another key than the current one? Another cursor that stands at the key, has its
 * head, too; in the current one the key may go on, unless that is a memtable's, which shows the newest version of each
 * key, or the next entry of its block has another head. */
static inline bool next_is_other(const bl_merge *merge)
{
    const bl_cursor *cursor = merge->current;
    if (bl_cursor_is_plain(cursor))
        return true;
    if (cursor->heads_off || cursor->head >= merge->bound)
        return false;
    return cursor->kind == BL_WINDOW_ENTRIES || bl_cursor_next_differs(cursor);
}

/* Nothing left to be walked, as far as is known. */
static __attribute__((noinline)) bool next_slow(bole_iterator *iterator)
{
    if (iterator->shows == SHOWN_NOTHING)
        return false;
    end_walk(iterator);
    if (iterator->forward && !iterator->stretch_known) {
        find_stretch(iterator);
        if (iterator->walk.left != 0)
            return step_walk(iterator);
    }
    if (iterator->left != 0)
        return step_decoding(iterator);
    iterator->steps++;
    iterator->stretch_known = false;
    bl_merge *merge = &iterator->merge;
    if (!iterator->forward) { /* the merge stands before the shown entry, or on it */
        if (iterator->shows == SHOWN_IN_PLACE && !save_key(iterator, merge->current->key))
            return false;
        iterator->forward = true;
        bl_merge_seek(merge, saved_key(iterator));
        return settle_forward(iterator, true);
    }
    bool other = next_is_other(merge);
    if (bl_unlikely(!other) && !save_key(iterator, merge->current->key))
        return false;
    bl_merge_next(merge);
    return settle_forward(iterator, !other);
}

BOLE_API bool bole_iterator_next(bole_iterator *iterator)
{
    return bl_likely(iterator->walk.left != 0) ? step_walk(iterator) : next_slow(iterator);
}

BOLE_API bool bole_iterator_prev(bole_iterator *iterator)
{
    if (iterator->shows == SHOWN_NOTHING)
        return false;
    iterator->steps++;
    leave_stretch(iterator);
    bl_merge *merge = &iterator->merge;
    if (iterator->forward) {
        if (!save_key(iterator, merge->current->key))
            return false;
        iterator->forward = false;
        bl_merge_seek_before(merge, saved_key(iterator));
    } else if (iterator->shows == SHOWN_IN_PLACE) {
        bl_merge_prev(merge);
    }
    iterator->shows = SHOWN_NOTHING;
    return settle_backward(iterator);
}

/* ---- what it shows ---- */

BOLE_API bool bole_iterator_valid(const bole_iterator *iterator) { return iterator->shows != SHOWN_NOTHING; }

BOLE_API bole_slice bole_iterator_key(const bole_iterator *iterator)
{
    bl_assert(iterator->shows != SHOWN_NOTHING);
    return iterator->base.key;
}

BOLE_API bole_slice bole_iterator_value(const bole_iterator *iterator)
{
    bl_assert(iterator->shows != SHOWN_NOTHING);
    return iterator->base.value;
}

BOLE_API bole_status bole_iterator_status(const bole_iterator *iterator) { return iterator->base.status; }

BOLE_API uint64_t bole_iterator_skipped(const bole_iterator *iterator) { return iterator->skipped; }
