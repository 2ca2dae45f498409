/* SPDX-License-Identifier: MIT */
/* multi_get.c -- many keys at one moment, their cache misses overlapped.
 *
 * The keys are looked up in groups: for each group the memtables' lines and then every candidate segment's
 * filter lines
 * are fetched for all keys before the first key is looked at (staged prefetch: performance of several independent reads
 * is bound by memory parallelism, not latency). */
#include "engine/read.h"

#include "base/alloc.h"
#include "base/assert.h"
#include "base/hash.h"
#include "platform/epoch.h"

enum { GROUP = 16 };

static void prefetch_group(bole_db *db, const bole_table *table, const bl_lookup *lookups, size_t count)
{
    bl_epoch_enter();
    const bl_read_state *state = atomic_load_explicit(&db->read_state, memory_order_acquire);
    for (uint32_t m = 0; m < state->memtable_count; m++) {
        const bl_memtable_tree *tree = bl_memtable_find_tree(state->memtables[m], table->number);
        for (size_t i = 0; tree != NULL && i < count; i++)
            bl_memtable_prefetch(tree, lookups[i].hash);
    }
    const bl_version_table *here = bl_version_table_by_number(state->version, table->number);
    for (uint32_t level = 0; here != NULL && level < BOLE_LEVELS_MAX; level++)
        for (uint32_t run = 0; run < here->levels[level].run_count; run++)
            for (size_t i = 0; i < count; i++) {
                bl_segment *segment = bl_run_find(&here->levels[level].runs[run], lookups[i].comparator,
                                                  lookups[i].key);
                if (segment != NULL)
                    bl_segment_prefetch(segment, &lookups[i]);
            }
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
    /* One moment for all keys: a snapshot holds it, since a flush between two keys may collapse versions. */
    bole_snapshot *moment = NULL;
    if (sequence == BL_SEQUENCE_MAX && count > 1) {
        result = bole_snapshot_create(db, &moment, error);
        if (result == BOLE_OK)
            sequence = moment->sequence, pinned = moment->state;
    }
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
            prefetch_group(db, table, lookups, size);
        for (size_t i = 0; i < size; i++) {
            bole_buffer *value = &values[begin + i];
            bool from_memtable = false;
            value->size = 0;
            bole_status status = result == BOLE_OK || result == BOLE_NOT_FOUND
                                     ? bl_read_one(db, table, pinned, &lookups[i], value, NULL,
                                                   &from_memtable, error)
                                     : result;
            if (status == BOLE_OK)
                (void)bl_tally(db, counters,
                               from_memtable ? &counters->get_memtable_hits : &counters->get_hits, 1);
            else
                value->size = 0;
            statuses[begin + i] = status;
            if (status != BOLE_OK && status != BOLE_NOT_FOUND)
                result = status;
        }
    }
    bole_snapshot_destroy(moment);
    return result;
}
