/* SPDX-License-Identifier: MIT */
/* compaction_world.h -- levels on a disk in memory, jobs on them, and a history that knows what every
 * reader must see.
 * For test_flush.c and test_compaction.c. Header-only. */
#ifndef BOLE_TEST_COMPACTION_WORLD_H
#define BOLE_TEST_COMPACTION_WORLD_H

#include "test.h"

#include "base/alloc.h"
#include "base/hash.h"
#include "base/prng.h"
#include "compaction/compaction.h"
#include "core/merge.h"

enum { WORLD_KEYS = 300, WORLD_WRITES = 20000, WORLD_SNAPSHOTS = 8, WORLD_TABLE = 3 };
#define WORLD_DIRECTORY "store"

typedef struct world_write { /* in order of sequence */
    uint32_t key;
    uint64_t sequence;
    bool tombstone;
} world_write;

typedef struct world {
    bole_vfs *disk, *vfs; /* the same, or a fault vfs over it */
    bole_fault_plan faults;
    bl_scheduler *scheduler;
    bl_memory_budget budget;
    bl_frame_cache *cache;
    bl_segment_environment environment;
    bl_comparator *comparator;
    bl_version *version;
    uint64_t next_number;
    /* what was written, and who looks */
    world_write writes[WORLD_WRITES];
    uint32_t write_count;
    uint32_t key_prefix; /* bytes that all keys share */
    uint32_t value_max;
    uint64_t large; /* from here on values go apart */
    uint64_t values_moved, values_removed;
    uint64_t next_sequence, visible;
    uint64_t snapshots[WORLD_SNAPSHOTS];
    uint32_t snapshot_count;
    bl_memtable *memtable;
    /* jobs */
    bl_job_context job;
    uint64_t progress_bytes, progress_calls;
    uint32_t stop_after; /* calls of should_stop; UINT32_MAX: never */
} world;

/* ---- Keys and values ---- */

typedef struct world_bytes {
    uint8_t data[4096];
    size_t size;
} world_bytes;

/* Number 0 is the shortest key; key 7 is a prefix of key 8; order of numbers is order of bytes. */
static void world_key(const world *w, uint32_t number, world_bytes *out)
{
    memset(out->data, 'k', w->key_prefix);
    out->size = w->key_prefix;
    if (number == 0)
        return;
    out->size += (size_t)snprintf((char *)out->data + out->size, 16, "%05u", number == 8 ? 7 : number);
    if (number == 8)
        out->data[out->size++] = 0;
}

static void world_value(const world *w, uint64_t sequence, world_bytes *out)
{
    out->size = (size_t)snprintf((char *)out->data, 32, "%" PRIu64 ":", sequence);
    size_t more = w->value_max == 0 ? 0 : sequence * 0x9e3779b97f4a7c15 % w->value_max;
    memset(out->data + out->size, 'v', more);
    out->size += more;
}

/* ---- Jobs' callbacks ---- */

static uint64_t world_new_number(void *context) { return ((world *)context)->next_number++; }
static bool world_should_stop(void *context)
{
    world *w = context;
    if (w->stop_after == UINT32_MAX || w->stop_after-- != 0)
        return false;
    w->stop_after = 0;
    return true;
}
static void world_progress(void *context, uint64_t bytes)
{
    world *w = context;
    w->progress_bytes += bytes;
    w->progress_calls++;
}

/* ---- The world ---- */

TEST_UNUSED static world *world_open(uint64_t seed, bl_comparator *comparator)
{
    bole_error error = BOLE_ERROR_INIT;
    world *w = calloc(1, sizeof *w);
    assert_non_null(w);
    assert_ok(bole_vfs_memory_create(seed, &w->disk), NULL);
    w->faults.at = UINT64_MAX;
    assert_ok(bole_vfs_fault_create(w->disk, &w->faults, &w->vfs), NULL);
    assert_ok(w->disk->make_directory(w->disk, WORLD_DIRECTORY, &error), &error);
    assert_ok(bl_scheduler_simulation_create(seed, w->disk, &w->scheduler, &error), &error);
    bl_memory_budget_init(&w->budget, UINT64_C(64) << 20, 0);
    assert_ok(bl_frame_cache_create(&w->budget, w->scheduler, &w->cache, &error), &error);
    w->environment = (bl_segment_environment){ .vfs = w->vfs,
                                               .directory = WORLD_DIRECTORY,
                                               .scheduler = w->scheduler,
                                               .budget = &w->budget,
                                               .cache = w->cache,
                                               .open_files_max = 64 };
    assert_ok(bl_segment_environment_init(&w->environment, &error), &error);
    w->comparator = comparator;
    const bl_version_birth births[] = {
        { .number = 0, .name = "default", .comparator_name = BL_COMPARATOR_BYTES_NAME, .comparator_known = true },
        { .number = WORLD_TABLE,
          .name = "table",
          .comparator_name = bl_comparator_name(comparator),
          .comparator = comparator,
          .comparator_known = true },
    };
    bl_version_change change = { .births = births, .birth_count = 2 };
    assert_ok(bl_version_build(&change, &w->version, &error), &error);
    w->next_number = w->next_sequence = w->visible = 1;
    w->value_max = 60;
    w->large = UINT64_MAX;
    w->stop_after = UINT32_MAX;
    w->job = (bl_job_context){ .environment = &w->environment,
                               .scheduler = w->scheduler,
                               .new_file_number = world_new_number,
                               .should_stop = world_should_stop,
                               .progress = world_progress,
                               .context = w,
                               .segment_bytes = 16 << 10,
                               .block_bytes = 1 << 10,
                               .filter_bits_per_key = 10,
                               .compression_level = 1 };
    return w;
}

static const bl_version_table *world_table(const world *w)
{
    return bl_version_table_by_number(w->version, WORLD_TABLE);
}

static bool world_count_name(void *context, const char *name)
{
    (void)name;
    ++*(uint32_t *)context;
    return true;
}

/* Files in the directory. */
static uint32_t world_files(const world *w)
{
    uint32_t count = 0;
    bole_error error = BOLE_ERROR_INIT;
    assert_ok(w->disk->list(w->disk, WORLD_DIRECTORY, world_count_name, &count, &error), &error);
    return count;
}

static uint32_t world_segments(const world *w)
{
    uint32_t count = 0;
    for (uint32_t level = 0; level < BOLE_LEVELS_MAX; level++)
        for (uint32_t i = 0; i < world_table(w)->levels[level].run_count; i++)
            count += world_table(w)->levels[level].runs[i].count;
    return count + world_table(w)->values.count;
}

TEST_UNUSED static void world_close(world *w)
{
    if (w->memtable != NULL)
        bl_memtable_unref(w->memtable);
    assert_int_equal(world_segments(w), world_files(w)); /* nothing else was left behind */
    bl_version_unref(w->version);
    bl_segment_environment_deinit(&w->environment);
    bl_frame_cache_destroy(w->cache);
    assert_int_equal(0, bl_memory_budget_total(&w->budget));
    bl_scheduler_destroy(w->scheduler);
    bole_vfs_destroy(w->vfs);
    bole_vfs_destroy(w->disk);
    free(w);
}

static void world_look(world *w)
{
    w->job.snapshots = w->snapshots;
    w->job.snapshot_count = w->snapshot_count;
    w->job.visible = w->visible;
}

TEST_UNUSED static void world_snapshot(world *w)
{
    if (w->snapshot_count < WORLD_SNAPSHOTS &&
        (w->snapshot_count == 0 || w->snapshots[w->snapshot_count - 1] < w->visible))
        w->snapshots[w->snapshot_count++] = w->visible;
}

TEST_UNUSED static void world_drop_snapshot(world *w, uint32_t at)
{
    for (uint32_t i = at; i + 1 < w->snapshot_count; i++)
        w->snapshots[i] = w->snapshots[i + 1];
    w->snapshot_count--;
}

/* ---- Writing ---- */

TEST_UNUSED static void world_write_one(world *w, uint32_t key, bool tombstone)
{
    bole_error error = BOLE_ERROR_INIT;
    if (w->memtable == NULL)
    {
        assert_ok(bl_memtable_create(&w->budget, 1 << 20, &w->memtable, &error), &error);
        bl_memtable_count_large(w->memtable, w->large);
    }
    bl_memtable_tree *tree = bl_memtable_tree_for(w->memtable, WORLD_TABLE, w->comparator);
    assert_non_null(tree);
    world_bytes k, v;
    uint64_t sequence = w->next_sequence++;
    world_key(w, key, &k);
    world_value(w, sequence, &v);
    if (tombstone)
        v.size = 0;
    assert_ok(bl_memtable_reserve(w->memtable, bl_memtable_entry_bytes(k.size, v.size), &error), &error);
    bl_memtable_insert(tree, bl_slice(k.data, k.size), bl_hash(k.data, k.size), bl_slice(v.data, v.size),
                       BL_TAG(sequence, tombstone ? BL_KIND_DELETE : BL_KIND_PUT));
    assert_true(w->write_count < WORLD_WRITES);
    w->writes[w->write_count++] = (world_write){ key, sequence, tombstone };
}

/* Take what a job made, and let go of what it replaced (pick NULL: a flush). */
TEST_UNUSED static void world_apply(world *w, bl_job_result *result, const bl_pick *pick)
{
    static bl_version_insertion insertions[4096];
    static bl_version_removal removals[4096];
    static bl_segment *gone[4096];
    bole_error error = BOLE_ERROR_INIT;
    bl_version_change change = { .base = w->version, .insertions = insertions, .removals = removals };
    for (uint32_t i = 0; i < result->count; i++) {
        const bl_segment_meta *meta = &result->metas[i];
        assert_ok(bl_segment_check(result->handles[i], true, &error), &error);
        insertions[change.insertion_count++] =
            (bl_version_insertion){ meta->table, meta->level, meta->run, result->handles[i] };
    }
    for (uint32_t i = 0; pick != NULL && i < pick->run_count; i++) {
        const struct bl_pick_run *part = &pick->runs[i];
        const bl_level *level = &world_table(w)->levels[part->level];
        const bl_run *run = NULL;
        for (uint32_t j = 0; j < level->run_count; j++)
            if (level->runs[j].number == part->run)
                run = &level->runs[j];
        assert_non_null(run);
        for (uint32_t j = part->first; j < part->first + part->count; j++) {
            removals[change.removal_count] = (bl_version_removal){
                WORLD_TABLE, part->level, part->run, bl_segment_meta_of(run->segments[j])->number
            };
            gone[change.removal_count++] = run->segments[j];
            if (pick->trivial_move)
                insertions[change.insertion_count++] =
                    (bl_version_insertion){ WORLD_TABLE, pick->output_level, 0, run->segments[j] };
        }
    }
    const bl_version_values *values = &world_table(w)->values;
    for (uint32_t i = 0; i < result->dead_count; i++) {
        uint64_t number = result->dead[i].number;
        removals[change.removal_count] = (bl_version_removal){ WORLD_TABLE, BL_LEVEL_VALUES, 0, number };
        gone[change.removal_count++] = values->segments[bl_version_values_find(values, number)];
    }
    change.died = result->died;
    change.died_count = result->died_count;
    w->values_moved += result->values_moved;
    w->values_removed += result->dead_count;
    bl_version *version;
    assert_ok(bl_version_build(&change, &version, &error), &error);
    assert_ok(bl_version_check(version, &error), &error);
    for (uint32_t i = 0; pick != NULL && !pick->trivial_move && i < change.removal_count; i++)
        bl_segment_mark_obsolete(gone[i]); /* removals may be sorted by now; all of them go */
    bl_version_unref(w->version);
    w->version = version;
    bl_job_result_deinit(result);
}

TEST_UNUSED static void world_flush(world *w)
{
    bole_error error = BOLE_ERROR_INIT;
    bl_job_result result;
    if (w->memtable == NULL)
        return;
    world_look(w);
    assert_ok(bl_flush_run(&w->job, w->memtable, w->version, &result, &error), &error);
    assert_int_equal(result.entries_in, result.entries_out + result.entries_dropped);
    bl_memtable_unref(w->memtable);
    w->memtable = NULL;
    world_apply(w, &result, NULL);
}

/* ---- Reading ---- */

typedef struct world_seen {
    uint64_t tag;
    uint64_t written; /* the sequence in the value; tombstones: their own */
} world_seen;

/* Every version of every key that the segments hold, newest first, `counts` a key. */
typedef struct world_view {
    world_seen *seen[WORLD_KEYS];
    uint32_t counts[WORLD_KEYS];
} world_view;

static void world_view_free(world_view *view)
{
    for (uint32_t i = 0; i < WORLD_KEYS; i++)
        free(view->seen[i]);
    free(view);
}

static uint32_t world_number_of(const world *w, bole_slice key)
{
    const char *text = key.data;
    assert_true(key.size >= w->key_prefix);
    if (key.size == w->key_prefix)
        return 0;
    char digits[8] = { 0 };
    memcpy(digits, text + w->key_prefix, 5);
    return key.size == w->key_prefix + 6 ? 8 : (uint32_t)strtoul(digits, NULL, 10);
}

TEST_UNUSED static world_view *world_read(world *w)
{
    bole_error error = BOLE_ERROR_INIT;
    world_view *view = calloc(1, sizeof *view);
    assert_non_null(view);
    bl_cursor *cursors[512];
    uint32_t count = 0;
    for (uint32_t level = 0; level < BOLE_LEVELS_MAX; level++) {
        for (uint32_t i = 0; i < world_table(w)->levels[level].run_count; i++) {
            const bl_run *run = &world_table(w)->levels[level].runs[i];
            bl_segment_cursor_options options = { .fill_cache = true };
            assert_ok(bl_segment_cursor(run->segments, run->count, &options, &cursors[count++], &error), &error);
        }
    }
    bl_held_value held = { .frame = NULL };
    bl_merge merge;
    assert_ok(bl_merge_init(&merge, cursors, count, w->comparator, 0), NULL);
    for (bl_merge_seek_first(&merge); merge.current != NULL; bl_merge_next(&merge)) {
        const bl_cursor *entry = merge.current;
        uint32_t number = world_number_of(w, entry->key);
        assert_true(number < WORLD_KEYS);
        world_bytes key;
        world_key(w, number, &key);
        assert_true(bl_slice_equal(bl_slice(key.data, key.size), entry->key));
        uint64_t written = bl_tag_sequence(entry->tag);
        bole_slice shown = entry->value;
        if (bl_tag_kind(entry->tag) == BL_KIND_PUT_WITH_VALUE_POINTER) {
            const bl_version_values *values = &world_table(w)->values;
            bl_value_pointer pointer;
            assert_true(bl_value_pointer_decode(entry->value, &pointer));
            uint32_t at = bl_version_values_find(values, pointer.segment);
            assert_true(at < values->count && pointer.bytes >= w->large);
            assert_ok(bl_segment_hold_value(values->segments[at], &pointer, entry->key, &held, NULL, &error), &error);
            shown = held.value;
        }
        if (bl_tag_kind(entry->tag) != BL_KIND_DELETE) {
            char text[32] = { 0 };
            memcpy(text, shown.data, shown.size < 31 ? shown.size : 31);
            written = strtoull(text, NULL, 10);
            world_bytes value;
            world_value(w, written, &value);
            assert_true(bl_slice_equal(bl_slice(value.data, value.size), shown));
        }
        view->seen[number] = realloc(view->seen[number], (view->counts[number] + 1) * sizeof(world_seen));
        assert_non_null(view->seen[number]);
        view->seen[number][view->counts[number]++] = (world_seen){ entry->tag, written };
    }
    assert_ok(merge.status, merge.error);
    bl_merge_deinit(&merge);
    bl_held_value_release(&held);
    return view;
}

/* Every read at `position` is what was written before it (of what was flushed). */
static void world_check_at(const world *w, const world_view *view, uint64_t position)
{
    uint64_t newest[WORLD_KEYS] = { 0 };
    for (uint32_t i = 0; i < w->write_count && w->writes[i].sequence < position; i++)
        newest[w->writes[i].key] = w->writes[i].tombstone ? 0 : w->writes[i].sequence;
    for (uint32_t key = 0; key < WORLD_KEYS; key++) {
        uint64_t expected = newest[key], got = 0;
        for (uint32_t i = 0; i < view->counts[key]; i++) {
            if (bl_tag_visible(view->seen[key][i].tag, position)) {
                got = bl_tag_kind(view->seen[key][i].tag) != BL_KIND_DELETE ? view->seen[key][i].written : 0;
                break;
            }
        }
        if (expected != got)
            fail_msg("key %u at position %" PRIu64 " reads %" PRIu64 ", not %" PRIu64, key, position, got, expected);
    }
}

/* Let nothing be in memory but the handles. */
TEST_UNUSED static void world_forget_frames(world *w)
{
    uint64_t limit = w->budget.limit;
    bl_memory_budget_limit(&w->budget, 1, 0);
    bl_frame_cache_trim(w->cache);
    bl_memory_budget_limit(&w->budget, limit, 0);
}

/* At every snapshot, at visible, and above it; all writes are flushed. */
TEST_UNUSED static void world_check(world *w)
{
    world_view *view = world_read(w);
    for (uint32_t i = 0; i < w->snapshot_count; i++)
        world_check_at(w, view, w->snapshots[i]);
    world_check_at(w, view, w->visible);
    world_check_at(w, view, w->visible + (w->next_sequence - w->visible) / 2);
    world_check_at(w, view, w->next_sequence);
    world_check_at(w, view, BL_SEQUENCE_MAX);
    world_view_free(view);
    assert_int_equal(world_segments(w), world_files(w));
}

#endif
