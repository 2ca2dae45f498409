/* SPDX-License-Identifier: MIT */
/* multi_get.c -- many keys at one moment, their cache misses overlapped.
 *
 * One read state and one position serve all keys. They are looked up in groups, in stages: the lines of memtables,
 * filters and indexes are asked for, for all keys; then each key's block is found in the first run whose filter does
 * not deny it, and the block's first lines are asked for; then each record is found and asked for; and then the keys
 * are read one by one, as any get is, from the processor's cache. A single get waits for these lines in turn. */
#include "engine/read.h"

#include "base/alloc.h"
#include "base/assert.h"
#include "base/hash.h"
#include "platform/epoch.h"

enum { GROUP = 16 };

static void prefetch_lines(const bl_read_state *state, const bole_table *table, const bl_version_table *here,
                           const bl_lookup *lookups, size_t count)
{
    for (uint32_t m = 0; m < state->memtable_count; m++) {
        const bl_memtable_tree *tree = bl_memtable_find_tree(state->memtables[m], table->number);
        for (size_t i = 0; tree != NULL && i < count; i++)
            bl_memtable_prefetch(tree, lookups[i].hash);
    }
    for (uint32_t level = 0; here != NULL && level < BOLE_LEVELS_MAX; level++)
        for (uint32_t run = 0; run < here->levels[level].run_count; run++)
            for (size_t i = 0; i < count; i++) {
                bl_segment *segment = bl_run_find(&here->levels[level].runs[run], lookups[i].comparator,
                                                  lookups[i].key);
                if (segment != NULL && lookups[i].comparator == NULL)
                    (void)bl_segment_approach(segment, &lookups[i]);
                else if (segment != NULL) /* in a user's order the index is searched whole: once is enough */
                    bl_segment_prefetch_filter(segment, &lookups[i]);
            }
}

/* The frame where a key most likely is; NULL: not known. */
static const bl_frame *prefetch_block(const bl_version_table *here, const bl_lookup *lookup)
{
    const bl_frame *frame = NULL;
    for (uint32_t level = 0; here != NULL && level < BOLE_LEVELS_MAX && frame == NULL; level++)
        for (uint32_t run = 0; run < here->levels[level].run_count && frame == NULL; run++) {
            bl_segment *segment = bl_run_find(&here->levels[level].runs[run], lookup->comparator,
                                              lookup->key);
            if (segment != NULL)
                frame = bl_segment_prefetch_block(segment, lookup);
        }
    return frame;
}

static void prefetch_group(const bl_read_state *state, const bole_table *table, const bl_lookup *lookups,
                           size_t count)
{
    const bl_frame *frames[GROUP];
    bl_epoch_enter();
    const bl_version_table *here = bl_version_table_by_number(state->version, table->number);
    prefetch_lines(state, table, here, lookups, count);
    for (size_t i = 0; i < count; i++)
        frames[i] = prefetch_block(here, &lookups[i]);
    for (size_t i = 0; i < count; i++)
        if (frames[i] != NULL)
            bl_segment_prefetch_record(frames[i], &lookups[i]);
    bl_epoch_leave();
}

BOLE_API bole_status bole_multi_get(bole_db *db, const bole_read_options *options, size_t count,
                                    const bole_slice *keys, bole_buffer *values, bole_status *statuses)
{
    bole_error *error;
    bole_table *table;
    uint64_t sequence;
    bl_read_state *pinned;
    bole_status result = bl_read_begin(db, options, &table, &sequence, &pinned, &error);
    if (result != BOLE_OK) {
        for (size_t i = 0; i < count; i++) {
            statuses[i] = result;
            values[i].size = 0;
        }
        return result;
    }
    uint64_t visible;
    bl_read_state *state = bl_read_hold_state(db, table, pinned, &visible);
    if (sequence == BL_SEQUENCE_MAX)
        sequence = visible;
    bl_counters *counters = bl_my_counters(db);
    (void)bl_tally(db, counters, &counters->multi_gets, 1);
    (void)bl_tally(db, counters, &counters->gets, count);
    for (size_t begin = 0; begin < count; begin += GROUP) {
        size_t size = count - begin < GROUP ? count - begin : GROUP;
        bl_lookup lookups[GROUP];
        for (size_t i = 0; i < size; i++) {
            bole_slice key = keys[begin + i];
            lookups[i] = (bl_lookup){ .key = key,
                                      .hash = bl_hash(key.data, key.size),
                                      .sequence = sequence,
                                      .comparator = table->comparator };
        }
        if (size > 1)
            prefetch_group(state, table, lookups, size);
        for (size_t i = 0; i < size; i++) {
            bole_buffer *value = &values[begin + i];
            bool from_memtable = false;
            value->size = 0;
            bole_status status = bl_read_one(db, table, state, &lookups[i], value, NULL, &from_memtable,
                                             result == BOLE_OK ? error : NULL);
            if (status == BOLE_OK)
                (void)bl_tally(db, counters,
                               from_memtable ? &counters->get_memtable_hits : &counters->get_hits, 1);
            else
                value->size = 0;
            statuses[begin + i] = status;
            if (result == BOLE_OK && status != BOLE_NOT_FOUND)
                result = status;
        }
    }
    bl_read_state_unref(state);
    return result;
}
