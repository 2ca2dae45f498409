/* SPDX-License-Identifier: MIT */
/* background.c -- the jobs behind the calls: flush, compaction, the tick, touching a log's next pages.
 *
 * One flush and one compaction run at a time, as jobs of the scheduler; flush has priority. A job that fails leaves the
 * store as it was, tells the event log, and is tried again after a pause; while a flush fails, writers that need room
 * get its status at once and reads go on. Files of a job whose edit failed stay where they are (the edit may have
 * reached the disk) and go with the orphans after the next edit that succeeds.
 *
 * INVARIANTS  (BACK-1) Memtables are flushed in log order, one edit each, with `flushed_through`.
 *             (BACK-2) A log's file goes only after the edit that removes it is durable.
 *             (BACK-3) No two jobs share an input.
 *             (BACK-4) No flush runs while a table is dropped: its segments would have no table. */
#include "engine/log_structured_store.h"

#include "base/alloc.h"
#include "base/assert.h"

static const uint64_t RETRY_NS = UINT64_C(100) * 1000 * 1000;
static const uint64_t LARGE_SHARE = 16; /* of a memtable: fewer large values are not worth a file */
static const uint64_t RETRY_NS_MAX = UINT64_C(5) * 1000 * 1000 * 1000;

/* ---- what jobs need from the store ---- */

static uint64_t new_file_number(void *context)
{
    bole_db *db = context;
    bl_mutex_lock(&db->mutex);
    uint64_t number = bl_version_set_new_file_number(db->versions);
    bl_mutex_unlock(&db->mutex);
    return number;
}

static bool should_stop(void *context)
{
    bole_db *db = context;
    bl_mutex_lock(&db->mutex);
    bool stop = db->closing;
    bl_mutex_unlock(&db->mutex);
    return stop;
}

static bool never_stop(void *context)
{
    (void)context;
    return false;
}

static void progress(void *context, uint64_t bytes)
{
    (void)bytes;
    bole_db *db = context;
    bl_point(db->scheduler, "job progress");
}

static bl_compression_kind compression_of(const bole_db *db, bl_setting setting)
{
    switch ((bole_compression)bl_config_u64(&db->config, setting)) {
    case BOLE_COMPRESSION_LZ4: return BL_COMPRESSED_LZ4;
    case BOLE_COMPRESSION_ZSTD: return BL_COMPRESSED_ZSTD;
    default: return BL_COMPRESSED_NONE;
    }
}

/* Does the store's own memory hold what it writes? Then the system's cache would hold it a second time. */
static bool writes_past_cache(const bole_db *db)
{
    if (bl_config_u64(&db->config, BL_SETTING_DIRECT_READS) != 0)
        return true;
    const bl_version *version = bl_version_set_current(db->versions);
    uint64_t bytes = 0;
    for (uint32_t i = 0; i < version->table_count; i++) {
        for (uint32_t level = 0; level < BOLE_LEVELS_MAX; level++)
            bytes += version->tables[i].levels[level].bytes;
        bytes += version->tables[i].values.file_bytes;
    }
    return bl_config_u64(&db->config, BL_SETTING_DIRECT_WRITES) != 0 &&
           bytes < atomic_load_explicit(&db->budget.limit, memory_order_relaxed) / 2;
}

static bole_status job_context_locked(bole_db *db, bl_job_context *out, bole_error *error)
{
    uint64_t *snapshots;
    uint32_t count;
    bole_status status = bl_snapshots_collect_locked(db, &snapshots, &count, error);
    if (status != BOLE_OK)
        return status;
    *out = (bl_job_context){
        .environment = &db->environment,
        .scheduler = db->scheduler,
        .new_file_number = new_file_number,
        .snapshots = snapshots,
        .snapshot_count = count,
        .visible = bl_position_visible(db),
        .should_stop = should_stop,
        .progress = progress,
        .context = db,
        .segment_bytes = bl_config_u64(&db->config, BL_SETTING_SEGMENT_BYTES),
        .large_bytes_min = bl_config_u64(&db->config, BL_SETTING_MEMTABLE_BYTES) / LARGE_SHARE,
        .block_bytes = (uint32_t)bl_config_u64(&db->config, BL_SETTING_BLOCK_BYTES),
        .filter_bits_per_key = (uint32_t)bl_config_u64(&db->config, BL_SETTING_FILTER_BITS_PER_KEY),
        .compression_upper = compression_of(db, BL_SETTING_COMPRESSION_UPPER),
        .compression_last = compression_of(db, BL_SETTING_COMPRESSION),
        .compression_level = (int)bl_config_u64(&db->config, BL_SETTING_COMPRESSION_LEVEL),
        .past_cache = writes_past_cache(db),
        .entry_checksums = bl_config_u64(&db->config, BL_SETTING_ENTRY_CHECKSUMS) != 0,
    };
    return BOLE_OK;
}

static void job_context_deinit(bl_job_context *job) { bl_free((void *)(uintptr_t)job->snapshots); }

static void tell_failure_locked(bole_db *db, const char *event, const bole_error *error)
{
    db->background_errors++;
    bl_event_log_add(db->events, BOLE_LOG_ERROR, event,
                     (bl_event_field[]){ BL_EVENT_TEXT("status", bole_status_name(error->status)),
                                         BL_EVENT_TEXT("message", error->message) },
                     2);
}

static void flush_failed_locked(bole_db *db, const bole_error *error)
{
    BL_MARK("flush failed");
    if (error->status == BOLE_NO_SPACE)
        BL_MARK("flush finds the disk full");
    tell_failure_locked(db, "flush_failed", error);
    db->background_error = *error;
    db->background_retry_ns = db->background_retry_ns == 0 ? RETRY_NS : 2 * db->background_retry_ns;
    if (db->background_retry_ns > RETRY_NS_MAX)
        db->background_retry_ns = RETRY_NS_MAX;
}

static void flush_succeeded_locked(bole_db *db)
{
    db->background_error = (bole_error)BOLE_ERROR_INIT;
    db->background_retry_ns = 0;
}

/* No writer waits for a merge, so its failure is not theirs: it is tried again after 1, 2, 4, 8, 8 ... ticks. */
static void compaction_failed_locked(bole_db *db, const bole_error *error)
{
    enum { FAILURES_MAX = 3 };
    BL_MARK("merge failed");
    tell_failure_locked(db, "compaction_failed", error);
    db->compaction_error = *error;
    db->compaction_ticks = UINT32_C(1) << db->compaction_failures;
    if (db->compaction_failures < FAILURES_MAX)
        db->compaction_failures++;
}

static void compaction_succeeded_locked(bole_db *db)
{
    db->compaction_error = (bole_error)BOLE_ERROR_INIT;
    db->compaction_failures = 0;
    db->compaction_ticks = 0;
}

/* ---- flush ---- */

static uint64_t bytes_of(const bl_job_result *result)
{
    uint64_t bytes = 0;
    for (uint32_t i = 0; i < result->count; i++)
        bytes += result->metas[i].file_bytes;
    return bytes;
}

/* Take the flushed pair out of the list and let it go. Mutex held; released inside. */
static bole_status retire_oldest_locked(bole_db *db, bole_error *error)
{
    bl_sealed *sealed = db->sealed_oldest;
    db->sealed_oldest = sealed->newer;
    if (db->sealed_oldest == NULL)
        db->sealed_newest = NULL;
    db->sealed_count--;
    bl_memtable_transition(sealed->memtable, BL_MEMTABLE_FLUSHED);
    bole_status status = bl_read_state_publish_locked(db, error);
    if (sealed->log != NULL) {
        bl_mutex_unlock(&db->mutex);
        bl_sync_remove_log(db, sealed->log); /* waits for a running sync */
        bl_mutex_lock(&db->mutex);
        while (db->touching == sealed->log)
            bl_condition_wait(&db->changed, &db->mutex);
        bl_log_flushed(sealed->log);
        bl_log_retired(sealed->log);
        bl_log_close(sealed->log);
    }
    bl_remove_file_locked(db, BL_FILE_LOG, sealed->description.number);
    bl_memtable_unref(sealed->memtable);
    bl_free(sealed);
    return status;
}

static bole_status flush_oldest_locked(bole_db *db, bole_error *error)
{
    bl_sealed *sealed = db->sealed_oldest;
    if (bl_memtable_state_of(sealed->memtable) == BL_MEMTABLE_SEALED)
        bl_memtable_transition(sealed->memtable, BL_MEMTABLE_FLUSHING);
    bl_job_context job;
    bole_status status = job_context_locked(db, &job, error);
    if (status != BOLE_OK)
        return status;
    job.should_stop = never_stop; /* closing waits for it: it is short and makes the next open fast */
    bl_version *version = bl_version_set_current(db->versions);
    bl_version_ref(version);
    bl_mutex_unlock(&db->mutex);

    uint64_t begin = db->vfs->monotonic_ns(db->vfs);
    bl_job_result result = { 0 };
    status = bl_flush_run(&job, sealed->memtable, version, &result, error);
    uint64_t nanoseconds = db->vfs->monotonic_ns(db->vfs) - begin;

    bl_mutex_lock(&db->mutex);
    if (status == BOLE_OK) {
        bl_version_edit edit = {
            .added = result.metas,
            .added_handles = result.handles,
            .added_count = result.count,
            .logs_removed = &sealed->description.number,
            .logs_removed_count = 1,
            .flushed_through = sealed->description.end,
            .next_sequence = sealed->description.end,
        };
        status = bl_version_set_apply(db->versions, &edit, error);
    }
    if (status == BOLE_OK) {
        db->flushes++;
        db->flush_bytes += bytes_of(&result);
        db->entries_dropped += result.entries_dropped;
        bl_event_log_add(db->events, BOLE_LOG_INFO, "flush",
                         (bl_event_field[]){ BL_EVENT_U64("log", sealed->description.number),
                                             BL_EVENT_U64("entries", result.entries_out),
                                             BL_EVENT_U64("segments", result.count),
                                             BL_EVENT_U64("bytes", bytes_of(&result)),
                                             BL_EVENT_U64("values", result.values_written),
                                             BL_EVENT_U64("microseconds", nanoseconds / 1000) },
                         6);
        status = retire_oldest_locked(db, error);
    }
    bl_mutex_unlock(&db->mutex);
    bl_version_unref(version);
    bl_job_result_deinit(&result);
    job_context_deinit(&job);
    bl_mutex_lock(&db->mutex);
    return status;
}

static void flush_job(void *context)
{
    bole_db *db = context;
    bl_mutex_lock(&db->mutex);
    db->flush_queued = false;
    if (db->dropping) { /* (BACK-4) */
        BL_MARK("flush gives way to a drop");
        bl_condition_wake_all(&db->changed);
        bl_mutex_unlock(&db->mutex);
        return;
    }
    db->flush_running = true;
    while (db->sealed_oldest != NULL) {
        bole_error error = BOLE_ERROR_INIT;
        bole_status status = flush_oldest_locked(db, &error);
        if (status == BOLE_NO_SPACE && bl_reserve_give_up_locked(db)) {
            status = flush_oldest_locked(db, &error);
            bl_reserve_done_locked(db);
        }
        if (status != BOLE_OK) {
            if (db->sealed_oldest != NULL) {
                flush_failed_locked(db, &error);
            } else { /* all is flushed; for want of memory readers keep the list of before, which shows the same */
                BL_MARK("flushed, but readers keep the list of before");
                tell_failure_locked(db, "flush_failed", &error);
                flush_succeeded_locked(db);
            }
            break;
        }
        flush_succeeded_locked(db);
        bl_update_pacing_locked(db);
        bl_condition_wake_all(&db->changed);
    }
    db->flush_running = false;
    bl_reserve_schedule_locked(db);
    bl_background_schedule_locked(db);
    bl_condition_wake_all(&db->changed);
    bl_mutex_unlock(&db->mutex);
}

/* ---- compaction ---- */

void bl_policy_of(bole_db *db, bl_pick_policy *out)
{
    *out = (bl_pick_policy){
        .level0_runs = (uint32_t)bl_config_u64(&db->config, BL_SETTING_LEVEL0_RUNS),
        .memtable_bytes = bl_config_u64(&db->config, BL_SETTING_MEMTABLE_BYTES),
        .segment_bytes = bl_config_u64(&db->config, BL_SETTING_SEGMENT_BYTES),
        .job_bytes = bl_config_u64(&db->config, BL_SETTING_SEGMENT_BYTES),
        .last_level_ratio = 8,
        .idle = db->idle,
        .oldest_snapshot = db->snapshot_oldest == NULL ? BL_SEQUENCE_MAX : db->snapshot_oldest->sequence,
    };
}

static const bl_run *run_of(const bl_version *version, const bl_pick *pick, const struct bl_pick_run *part)
{
    const bl_version_table *table = bl_version_table_by_number(version, pick->table);
    return bl_level_run(&table->levels[part->level], part->run);
}

static uint32_t count_inputs(const bl_pick *pick)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < pick->run_count; i++)
        count += pick->runs[i].count;
    return count;
}

/* The edit of a trivial move: only places change. */
static bole_status move_locked(bole_db *db, const bl_version *version, const bl_pick *pick, bole_error *error)
{
    uint32_t count = count_inputs(pick), at = 0;
    struct bl_segment_move *moves = bl_alloc_array(count + 1, sizeof(moves[0]));
    if (moves == NULL)
        return bl_fail(error, BOLE_NO_MEMORY, "list of moves");
    for (uint32_t i = 0; i < pick->run_count; i++) {
        const bl_run *run = run_of(version, pick, &pick->runs[i]);
        for (uint32_t j = 0; j < pick->runs[i].count; j++)
            moves[at++] = (struct bl_segment_move){
                .table = pick->table,
                .number = bl_segment_meta_of(run->segments[pick->runs[i].first + j])->number,
                .level = pick->output_level,
                .run = 0,
            };
    }
    bl_version_edit edit = { .moved = moves, .moved_count = count };
    bole_status status = bl_version_set_apply(db->versions, &edit, error);
    bl_free(moves);
    if (status == BOLE_OK) {
        db->trivial_moves += count;
        status = bl_read_state_publish_locked(db, error);
    }
    return status;
}

static bole_status merge_locked(bole_db *db, bl_version *version, const bl_pick *pick,
                                const struct bl_segment_place *inputs, uint32_t count, bole_error *error)
{
    bl_job_context job;
    bole_status status = job_context_locked(db, &job, error);
    if (status != BOLE_OK)
        return status;
    bl_mutex_unlock(&db->mutex);
    uint64_t begin = db->vfs->monotonic_ns(db->vfs);
    bl_job_result result = { 0 };
    status = bl_compaction_run(&job, version, pick, &result, error);
    uint64_t nanoseconds = db->vfs->monotonic_ns(db->vfs) - begin;
    bl_mutex_lock(&db->mutex);
    bl_segment_place *removed = NULL;
    if (status == BOLE_OK) {
        removed = bl_alloc_array((size_t)count + result.dead_count + 1, sizeof(removed[0]));
        if (removed == NULL)
            status = bl_fail(error, BOLE_NO_MEMORY, "inputs of a compaction");
    }
    if (status == BOLE_OK) {
        memcpy(removed, inputs, count * sizeof(inputs[0]));
        if (result.dead_count != 0)
            memcpy(removed + count, result.dead, result.dead_count * sizeof(removed[0]));
        bl_version_edit edit = {
            .added = result.metas,
            .added_handles = result.handles,
            .added_count = result.count,
            .removed = removed,
            .removed_count = count + result.dead_count,
            .died = result.died,
            .died_count = result.died_count,
        };
        status = bl_version_set_apply(db->versions, &edit, error);
    }
    if (status == BOLE_OK) {
        db->compactions++;
        db->compaction_bytes_read += result.bytes_read;
        db->compaction_bytes_written += bytes_of(&result);
        db->entries_dropped += result.entries_dropped;
        db->values_moved += result.values_moved;
        if (nanoseconds > 0) {
            uint64_t rate = (uint64_t)((double)pick->input_bytes * 1e9 / (double)nanoseconds);
            db->merge_rate = db->merge_rate == 0 ? rate : (3 * db->merge_rate + rate) / 4;
        }
        bl_event_log_add(db->events, BOLE_LOG_INFO, "compaction",
                         (bl_event_field[]){
                             BL_EVENT_U64("table", pick->table), BL_EVENT_U64("inputs", count),
                             BL_EVENT_U64("level", pick->output_level), BL_EVENT_U64("outputs", result.count),
                             BL_EVENT_U64("entries_in", result.entries_in),
                             BL_EVENT_U64("entries_out", result.entries_out),
                             BL_EVENT_U64("bytes", bytes_of(&result)), BL_EVENT_U64("reason", pick->reason),
                             BL_EVENT_U64("values_moved", result.values_moved),
                             BL_EVENT_U64("value_segments_removed", result.dead_count),
                             BL_EVENT_U64("microseconds", nanoseconds / 1000) },
                         11);
        status = bl_read_state_publish_locked(db, error);
    }
    bl_mutex_unlock(&db->mutex);
    bl_free(removed);
    bl_job_result_deinit(&result);
    job_context_deinit(&job);
    bl_mutex_lock(&db->mutex);
    return status;
}

/* Do what `pick` says. Mutex held; released inside. */
static bole_status compact_locked(bole_db *db, bl_version *version, const bl_pick *pick, bole_error *error)
{
    uint32_t count = count_inputs(pick), at = 0;
    struct bl_segment_place *inputs = bl_alloc_array(count + 1, sizeof(inputs[0]));
    bole_status status;
    if (inputs == NULL)
        return bl_fail(error, BOLE_NO_MEMORY, "inputs of a compaction");
    for (uint32_t i = 0; i < pick->run_count; i++) {
        const bl_run *run = run_of(version, pick, &pick->runs[i]);
        for (uint32_t j = 0; j < pick->runs[i].count; j++, at++) {
            inputs[at].table = pick->table;
            inputs[at].number = bl_segment_meta_of(run->segments[pick->runs[i].first + j])->number;
        }
    }
    bl_assert(!db->compacting); /* BACK-3: one compaction at a time, so that no pick meets a busy segment */
    db->compacting = true;
    if (pick->trivial_move)
        status = move_locked(db, version, pick, error);
    else
        status = merge_locked(db, version, pick, inputs, count, error);
    if (status == BOLE_NO_SPACE && !pick->trivial_move && bl_reserve_give_up_locked(db)) {
        status = merge_locked(db, version, pick, inputs, count, error);
        bl_reserve_done_locked(db);
    }
    db->compacting = false;
    bl_free(inputs);
    return status;
}

static void compaction_job(void *context)
{
    bole_db *db = context;
    bl_mutex_lock(&db->mutex);
    db->compaction_queued = false;
    db->compaction_running = true;
    while (!db->closing && db->manual_waiting == 0) {
        bole_error error = BOLE_ERROR_INIT;
        bl_pick pick = { 0 };
        bl_pick_policy policy;
        bl_policy_of(db, &policy);
        bl_version *version = bl_version_set_current(db->versions);
        bl_version_ref(version);
        bole_status status = bl_compaction_pick(version, &policy, NULL, NULL, &pick, &error);
        bool nothing = status == BOLE_OK && pick.reason == BL_PICK_NOTHING;
        if (status == BOLE_OK && !nothing)
            status = compact_locked(db, version, &pick, &error);
        bl_mutex_unlock(&db->mutex);
        bl_pick_deinit(&pick);
        bl_version_unref(version);
        bl_mutex_lock(&db->mutex);
        if (status != BOLE_OK) {
            if (status != BOLE_CANCELLED)
                compaction_failed_locked(db, &error);
            break;
        }
        compaction_succeeded_locked(db);
        bl_update_pacing_locked(db);
        bl_condition_wake_all(&db->changed);
        if (nothing)
            break;
    }
    db->compaction_running = false;
    bl_condition_wake_all(&db->changed);
    bl_mutex_unlock(&db->mutex);
}

bole_status bl_compact_range(bole_db *db, uint32_t table, bole_slice begin, bole_slice end, bole_error *error)
{
    bole_status status = BOLE_OK;
    bl_mutex_lock(&db->mutex);
    db->manual_waiting++;
    while (db->compaction_running || db->compaction_queued || db->paused)
        bl_condition_wait(&db->changed, &db->mutex);
    db->paused = true;
    while (status == BOLE_OK) {
        bl_pick pick = { 0 };
        bl_version *version = bl_version_set_current(db->versions);
        bl_version_ref(version);
        bl_pick_policy policy;
        bl_policy_of(db, &policy);
        status = bl_compaction_pick_manual(version, &policy, table, begin, end, &pick, error);
        bool nothing = status == BOLE_OK && pick.reason == BL_PICK_NOTHING;
        if (status == BOLE_OK && !nothing)
            status = compact_locked(db, version, &pick, error);
        bl_mutex_unlock(&db->mutex);
        bl_pick_deinit(&pick);
        bl_version_unref(version);
        bl_mutex_lock(&db->mutex);
        if (nothing)
            break;
    }
    if (status == BOLE_OK)
        compaction_succeeded_locked(db);
    db->paused = false;
    db->manual_waiting--;
    bl_update_pacing_locked(db);
    bl_background_schedule_locked(db);
    bl_condition_wake_all(&db->changed);
    bl_mutex_unlock(&db->mutex);
    return status;
}

/* ---- pacing ---- */

void bl_update_pacing_locked(bole_db *db)
{
    bl_pick_policy policy;
    bl_policy_of(db, &policy);
    policy.idle = false;
    uint64_t memtable_bytes = policy.memtable_bytes;
    bl_pacing_input input = {
        .debt_bytes = bl_compaction_debt(bl_version_set_current(db->versions), &policy),
        .debt_free_bytes = policy.level0_runs * memtable_bytes,
        .debt_high_bytes = (policy.level0_runs * 5 / 2 + 1) * memtable_bytes,
        .sealed_memtables = db->sealed_count,
        .memory_used = bl_memory_budget_total(&db->budget),
        .memory_limit = atomic_load_explicit(&db->budget.limit, memory_order_relaxed),
        .merge_bytes_per_second = db->merge_rate,
    };
    atomic_store_explicit(&db->delay_ns_per_kib, bl_pacing_delay_ns_per_kib(&input, &db->pacing_cause),
                          memory_order_relaxed);
}

/* ---- the tick: background sync, idle detection, retries ---- */

static void tick_job(void *context)
{
    bole_db *db = context;
    uint64_t visible = bl_position_visible(db);
    bool due = atomic_load_explicit(&db->synced, memory_order_relaxed) < visible;
    if (due) {
        bole_error error = BOLE_ERROR_INIT;
        if (bl_sync_to(db, visible, &error) != BOLE_OK)
            bl_event_log_add(db->events, BOLE_LOG_ERROR, "sync_failed",
                             (bl_event_field[]){ BL_EVENT_TEXT("message", error.message) }, 1);
    }
    bl_mutex_lock(&db->mutex);
    db->tick_queued = false;
    db->idle = visible == db->tick_visible && db->sealed_count == 0;
    db->tick_visible = visible;
    if (db->compaction_ticks > 0 && --db->compaction_ticks == 0) {
        BL_MARK("failed merge is tried again");
        db->compaction_error = (bole_error)BOLE_ERROR_INIT;
    }
    if (!db->closing) {
        bl_remove_pending_locked(db);
        bl_reserve_schedule_locked(db);
        bl_update_pacing_locked(db);
        bl_background_schedule_locked(db);
    }
    bl_condition_wake_all(&db->changed);
    bl_mutex_unlock(&db->mutex);
}

/* ---- touching the log's next pages ---- */

static void touch_job(void *context)
{
    bole_db *db = context;
    bl_mutex_lock(&db->mutex);
    bl_write_ahead_log *log = db->touching = db->log; /* retire_oldest_locked does not close it meanwhile */
    bl_mutex_unlock(&db->mutex);
    if (log != NULL)
        while (bl_log_touch_ahead(log))
            ;
    bl_mutex_lock(&db->mutex);
    db->touching = NULL;
    db->touch_queued = false;
    bl_condition_wake_all(&db->changed);
    bl_mutex_unlock(&db->mutex);
}

void bl_background_touch(bole_db *db)
{
    bl_mutex_lock(&db->mutex);
    if (!db->touch_queued && !db->closing) {
        db->touch_queued = true;
        db->touch_node = (bl_job_node){ .run = touch_job, .context = db };
        bl_scheduler_submit(db->scheduler, BL_PRIORITY_HIGH, &db->touch_node);
    }
    bl_mutex_unlock(&db->mutex);
}

/* ---- what is due ---- */

void bl_background_schedule_flush_locked(bole_db *db)
{
    bl_mutex_assert_held(&db->mutex);
    bool retry = db->background_error.status != BOLE_OK;
    bool gives_up = retry && db->closing; /* the log holds the data; the next open tries again */
    if (db->read_only || db->failed || db->sealed_oldest == NULL || !db->writing || db->flush_queued ||
        db->flush_running || gives_up || db->dropping)
        return;
    db->flush_queued = true;
    db->flush_node = (bl_job_node){ .run = flush_job, .context = db };
    if (retry) {
        BL_MARK("failed flush is tried again");
        bl_scheduler_submit_after(db->scheduler, db->background_retry_ns, &db->flush_node);
    } else {
        bl_scheduler_submit(db->scheduler, BL_PRIORITY_HIGH, &db->flush_node);
    }
}

void bl_background_schedule_locked(bole_db *db)
{
    bl_mutex_assert_held(&db->mutex);
    if (db->read_only || db->failed)
        return;
    bl_background_schedule_flush_locked(db);
    if (db->closing)
        return;
    if (db->writing && !db->compaction_queued && !db->compaction_running && db->manual_waiting == 0 &&
        db->background_error.status == BOLE_OK && db->compaction_error.status == BOLE_OK) {
        db->compaction_queued = true;
        db->compaction_node = (bl_job_node){ .run = compaction_job, .context = db };
        bl_scheduler_submit(db->scheduler, BL_PRIORITY_LOW, &db->compaction_node);
    }
    if (db->writing && !db->tick_queued) {
        db->tick_queued = true;
        db->tick_node = (bl_job_node){ .run = tick_job, .context = db };
        uint64_t interval = bl_config_u64(&db->config, BL_SETTING_SYNC_INTERVAL_MS);
        bl_scheduler_submit_after(db->scheduler, interval * 1000 * 1000, &db->tick_node);
    }
}

void bl_background_stop_locked(bole_db *db)
{
    db->closing = true;
    if (db->tick_queued && bl_scheduler_cancel(db->scheduler, &db->tick_node))
        db->tick_queued = false;
    if (db->flush_queued && bl_scheduler_cancel(db->scheduler, &db->flush_node))
        db->flush_queued = false;
    db->background_error = (bole_error)BOLE_ERROR_INIT;
    bl_background_schedule_locked(db); /* a last flush of what is sealed */
    while (db->flush_queued || db->flush_running || db->compaction_queued || db->compaction_running ||
           db->tick_queued || db->touch_queued || db->paused)
        bl_condition_wait(&db->changed, &db->mutex);
    bl_scrub_stop_locked(db);
    bl_reserve_stop_locked(db);
}

bool bl_background_is_idle_locked(const bole_db *db)
{
    bool flush_due = db->sealed_oldest != NULL && db->writing; /* recovered logs wait for the first write */
    return !flush_due && !db->flush_queued && !db->flush_running && !db->compaction_queued &&
           !db->compaction_running && !db->paused;
}
