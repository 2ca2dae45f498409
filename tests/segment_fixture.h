/* SPDX-License-Identifier: MIT */
/* segment_fixture.h -- what readers of segments need around them, over a disk in memory whose calls can fail;
 * and segments made of entries. Every store ends with its budget at zero and no allocation left. */
#ifndef BOLE_SEGMENT_FIXTURE_H
#define BOLE_SEGMENT_FIXTURE_H

#include "entries_fixture.h"

#include "base/buffer.h"
#include "base/hash.h"
#include "segment/compression.h"
#include "segment/segment_writer.h"

typedef struct test_store {
    bole_vfs *disk;  /* memory, or posix */
    bole_vfs *fault; /* around it, with `plan` */
    bole_fault_plan plan;
    test_directory directory;
    bl_memory_budget budget;
    bl_scheduler *scheduler;
    bl_frame_cache *cache;
    bl_segment_environment environment;
    int64_t allocations;
    uint64_t due[16]; /* files said to be due */
    unsigned due_count;
} test_store;

enum { TEST_MEMORY_AMPLE = 64 * 1024 * 1024 };

TEST_UNUSED static void test_file_due(void *context, uint64_t number)
{
    test_store *store = context;
    assert_true(store->due_count < 16);
    store->due[store->due_count++] = number;
}

/* `disk`: NULL for one in memory. `simulation_seed`: 0 for threads. */
TEST_UNUSED static void test_store_begin_on(test_store *store, uint64_t limit, bole_vfs *disk,
                                            uint64_t simulation_seed)
{
    memset(store, 0, sizeof *store);
    store->allocations = bl_alloc_live();
    store->disk = disk;
    if (disk == NULL)
        assert_ok(bole_vfs_memory_create(1, &store->disk), NULL);
    if (disk == NULL)
        snprintf(store->directory.path, sizeof store->directory.path, "store");
    else
        store->directory = test_directory_make();
    if (disk == NULL)
        assert_ok(store->disk->make_directory(store->disk, store->directory.path, NULL), NULL);
    store->plan.at = UINT64_MAX;
    assert_ok(bole_vfs_fault_create(store->disk, &store->plan, &store->fault), NULL);
    bl_memory_budget_init(&store->budget, limit, 0);
    if (simulation_seed == 0)
        assert_ok(bl_scheduler_create(1, &store->scheduler, NULL), NULL);
    else
        assert_ok(bl_scheduler_simulation_create(simulation_seed, store->disk, &store->scheduler, NULL),
                  NULL);
    assert_ok(bl_frame_cache_create(&store->budget, store->scheduler, &store->cache, NULL), NULL);
    store->environment = (bl_segment_environment){
        .vfs = store->fault,
        .directory = store->directory.path,
        .scheduler = store->scheduler,
        .budget = &store->budget,
        .cache = store->cache,
        .open_files_max = 8,
    };
    assert_ok(bl_segment_environment_init(&store->environment, NULL), NULL);
}

TEST_UNUSED static void test_store_begin(test_store *store, uint64_t limit)
{
    test_store_begin_on(store, limit, NULL, 0);
}

TEST_UNUSED static void test_store_end(test_store *store)
{
    bl_segment_environment_deinit(&store->environment);
    bl_frame_cache_destroy(store->cache);
    bl_scheduler_destroy(store->scheduler);
    bl_compression_release();
    for (int i = 0; i < BL_MEMORY_CLASSES; i++)
        assert_int_equal(bl_memory_budget_used(&store->budget, (bl_memory_class)i), 0);
    bole_vfs_destroy(store->fault);
    if (store->disk != bole_vfs_posix())
        bole_vfs_destroy(store->disk);
    assert_int_equal(bl_alloc_live(), store->allocations);
}

/* How a segment is built. Zero means: 4 KiB blocks, filter of 10 bits, not compressed, a cold handle. */
typedef struct test_segment_options {
    bl_comparator *comparator;
    uint32_t block_bytes;
    bool no_filter;
    bl_compression_kind compression;
    bool zero_sequences;
    bool warm; /* the writer's own handle, with frames */
} test_segment_options;

/* Entries [first, end) as segment `number`. */
TEST_UNUSED static bl_segment *test_segment_build(test_store *store, uint64_t number,
                                                  const test_entries *entries, size_t first, size_t end,
                                                  const test_segment_options *options)
{
    bl_segment_writer_parameters parameters = {
        .environment = &store->environment,
        .number = number,
        .table_name = "default",
        .comparator = options->comparator,
        .block_bytes = options->block_bytes,
        .filter_bits_per_key = options->no_filter ? 0 : 10,
        .entries_estimate = end - first,
        .compression = options->compression,
        .zero_sequences = options->zero_sequences,
        .install_frames = options->warm,
    };
    bole_error error = BOLE_ERROR_INIT;
    bl_segment_writer *writer;
    assert_ok(bl_segment_writer_create(&parameters, &writer, &error), &error);
    for (size_t i = first; i < end; i++)
        assert_ok(bl_segment_writer_add(writer, test_key(&entries->list[i]), entries->list[i].tag,
                                        test_value(&entries->list[i]), &error),
                  &error);
    bl_segment_meta meta;
    bl_segment *segment = NULL;
    assert_ok(bl_segment_writer_finish(writer, &meta, options->warm ? &segment : NULL, &error), &error);
    if (!options->warm)
        assert_ok(bl_segment_create_handle(&store->environment, &meta, options->comparator, &segment, &error),
                  &error);
    bl_segment_meta_deinit(&meta);
    return segment;
}

TEST_UNUSED static bl_lookup test_lookup(const bl_segment *segment, bole_slice key, uint64_t sequence)
{
    return (bl_lookup){ .key = key,
                        .hash = bl_hash(key.data, key.size),
                        .sequence = sequence,
                        .comparator = bl_segment_comparator(segment) };
}

/* As the engine reads: look, load what is absent, look again; after some rounds, or without room, uncached.
 * */
TEST_UNUSED static bole_status test_get(bl_segment *segment, const bl_lookup *lookup, bool prefetched,
                                        uint64_t *tag, bole_buffer *value, bole_error *error)
{
    for (int loads = 0;; loads++) {
        bl_found found;
        bl_epoch_enter();
        bl_find find = prefetched ? bl_segment_find_from(segment, lookup, NULL, &found)
                                  : bl_segment_find(segment, lookup, &found);
        if (find == BL_FIND_FOUND) {
            *tag = found.tag;
            bl_frame_pin(found.frame);
        }
        bl_epoch_leave();
        if (find == BL_FIND_ABSENT)
            return BOLE_NOT_FOUND;
        if (find == BL_FIND_FOUND) {
            bool copied = bl_buffer_assign(value, found.value.data, found.value.size);
            bl_frame_unpin(found.frame);
            return copied ? BOLE_OK : BOLE_NO_MEMORY;
        }
        bole_status status = bl_segment_load(segment, found.block, error);
        if (status == BOLE_MEMORY_PINNED || loads > 20)
            return bl_segment_find_uncached(segment, lookup, tag, value, error);
        if (status != BOLE_OK)
            return status;
    }
}

#endif
