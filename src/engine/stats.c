/* SPDX-License-Identifier: MIT */
/* stats.c -- one look at the counters, the shape and the memory of a store. */
#include "engine/log_structured_store.h"

#include "base/assert.h"

static bole_latency latency_of(const bl_histogram *histogram)
{
    return (bole_latency){
        .count = bl_histogram_count(histogram),
        .p50 = bl_histogram_quantile(histogram, 0.50),
        .p99 = bl_histogram_quantile(histogram, 0.99),
        .p999 = bl_histogram_quantile(histogram, 0.999),
        .max = bl_histogram_max(histogram),
    };
}

static uint64_t load(const _Atomic uint64_t *counter)
{
    return atomic_load_explicit(counter, memory_order_relaxed);
}

static void add_calls(const bole_db *db, bole_statistics *out)
{
    for (uint32_t i = 0; i < BL_COUNTER_STRIPES; i++) {
        const bl_counters *stripe = &db->counters[i];
        out->puts += load(&stripe->puts);
        out->deletes += load(&stripe->deletes);
        out->gets += load(&stripe->gets);
        out->get_hits += load(&stripe->get_hits) + load(&stripe->get_memtable_hits);
        out->get_memtable_hits += load(&stripe->get_memtable_hits);
        out->multi_gets += load(&stripe->multi_gets);
        out->seeks += load(&stripe->seeks);
        out->nexts += load(&stripe->nexts);
        out->skipped += load(&stripe->skipped);
        out->user_bytes_written += load(&stripe->user_bytes);
    }
    out->put_latency = latency_of(&db->put_latency);
    out->get_latency = latency_of(&db->get_latency);
    out->seek_latency = latency_of(&db->seek_latency);
    out->sync_latency = latency_of(&db->sync_latency);
}

static void add_shape(const bl_version *version, bole_statistics *out)
{
    uint64_t all = 0;
    uint32_t lowest = 0;
    for (uint32_t t = 0; t < version->table_count; t++) {
        const bl_version_values *values = &version->tables[t].values;
        out->value_segments += values->count;
        out->value_file_bytes += values->file_bytes;
        out->value_entries += values->entries;
        out->value_bytes += values->raw_bytes;
        out->value_dead_entries += values->dead_entries;
        out->value_dead_bytes += values->dead_bytes;
    }
    for (uint32_t t = 0; t < version->table_count; t++)
        for (uint32_t l = 0; l < BOLE_LEVELS_MAX; l++) {
            const bl_level *level = &version->tables[t].levels[l];
            out->level_runs[l] += level->run_count;
            out->level_bytes[l] += level->bytes;
            out->level_entries[l] += level->entries;
            out->level_tombstones[l] += level->tombstones;
            for (uint32_t r = 0; r < level->run_count; r++) {
                out->level_segments[l] += level->runs[r].count;
                for (uint32_t s = 0; s < level->runs[r].count; s++) {
                    bl_segment_counters counters;
                    bl_segment_counters_read(level->runs[r].segments[s], &counters);
                    out->filter_probes += counters.filter_probes;
                    out->filter_negatives += counters.filter_negatives;
                    out->filter_true_positives += counters.filter_true_positives;
                    out->filter_false_positives += counters.filter_false_positives;
                }
            }
            all += level->bytes;
            if (level->bytes > 0 && l > lowest)
                lowest = l;
        }
    out->levels = BOLE_LEVELS_MAX;
    uint64_t lives = out->level_bytes[lowest] + out->value_bytes - out->value_dead_bytes;
    all += out->value_file_bytes;
    out->space_amplification = lives == 0 || all < lives ? 1.0 : (double)all / (double)lives;
}

static void add_memory(bole_db *db, bole_statistics *out)
{
    const bl_memory_budget *budget = &db->budget;
    bl_mutex_lock(&db->mutex);
    out->memory_limit = bl_config_u64(&db->config, BL_SETTING_MEMORY_LIMIT);
    bl_mutex_unlock(&db->mutex);
    out->memory_used = bl_memory_budget_total(budget);
    out->memory_memtable = bl_memory_budget_used(budget, BL_MEMORY_MEMTABLE);
    out->memory_log = bl_memory_budget_used(budget, BL_MEMORY_LOG);
    out->memory_cache = bl_memory_budget_used(budget, BL_MEMORY_CACHE);
    out->memory_index = bl_memory_budget_used(budget, BL_MEMORY_INDEX);
    out->memory_pinned = bl_memory_budget_used(budget, BL_MEMORY_PINNED);
    out->memory_work = bl_memory_budget_used(budget, BL_MEMORY_WORK);
}

static void add_state_locked(bole_db *db, bole_statistics *out)
{
    out->memtables_sealed = db->sealed_count;
    out->flushes = db->flushes;
    out->flush_bytes_written = db->flush_bytes;
    out->compactions = db->compactions;
    out->compaction_bytes_read = db->compaction_bytes_read;
    out->compaction_bytes_written = db->compaction_bytes_written;
    out->trivial_moves = db->trivial_moves;
    out->entries_dropped = db->entries_dropped;
    out->values_moved_bytes = db->values_moved;
    out->background_errors = db->background_errors;
    out->events_lost = bl_event_log_lost(db->events);
    bl_scrub_stats_locked(db, out);
    bl_reserve_stats_locked(db, out);
    bl_pick_policy policy;
    bl_policy_of(db, &policy);
    out->debt_bytes = bl_compaction_debt(bl_version_set_current(db->versions), &policy);
    out->snapshots = db->snapshot_count;
    out->oldest_snapshot_sequence = db->snapshot_oldest == NULL ? 0 : db->snapshot_oldest->sequence;
}

BOLE_API bole_status bole_stats(bole_db *db, bole_statistics *out, bole_error *error)
{
    if (!bl_db_is_ours(db))
        return bl_forked(error);
    if (out->size < sizeof(uint32_t) || out->size > sizeof(*out))
        return bl_fail(error, BOLE_INVALID, "bole_statistics of %u bytes; this library has %zu", out->size,
                       sizeof(*out));
    uint32_t size = out->size;
    bole_statistics all = { .size = size };
    add_calls(db, &all);
    bl_read_state *state = bl_read_state_acquire(db, &all.position_visible);
    for (uint32_t i = 0; i < state->memtable_count; i++) {
        all.memtable_bytes += bl_memtable_bytes(state->memtables[i]);
        all.memtable_entries += bl_memtable_entries(state->memtables[i]);
    }
    add_shape(state->version, &all);
    bl_read_state_unref(state);
    add_memory(db, &all);
    bl_frame_cache_counters cache;
    bl_frame_cache_counters_read(db->environment.cache, &cache);
    all.block_hits = cache.hits;
    all.block_misses = cache.misses;
    all.block_bytes_read = cache.bytes_read;
    all.block_evictions = cache.evictions;
    bl_mutex_lock(&db->mutex);
    add_state_locked(db, &all);
    bl_mutex_unlock(&db->mutex);
    all.position_synced = load(&db->synced);
    all.log_bytes_written = load(&db->log_bytes_written);
    all.log_syncs = load(&db->log_syncs);
    all.log_rotations = load(&db->log_rotations);
    all.commit_groups = load(&db->commit_groups);
    all.delay_ns_per_kib = load(&db->delay_ns_per_kib);
    all.delayed_ns = load(&db->delayed_ns);
    uint64_t views;
    bl_count_live_handles(db, &all.iterators, &views);
    uint64_t written = all.flush_bytes_written + all.compaction_bytes_written + all.log_bytes_written;
    all.write_amplification = all.user_bytes_written == 0 ? 0
                                                          : (double)written / (double)all.user_bytes_written;
    memcpy(out, &all, size);
    return BOLE_OK;
}
