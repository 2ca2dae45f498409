/* SPDX-License-Identifier: MIT */
/* micro_segment.c -- one segment's paths, everything in memory: get of a key that is there and
 * of one that is not, seek, next, prev, write. Not a benchmark of the store: a ruler for changes of segment/.
 *
 *     micro_segment [ENTRIES [ROUNDS]] 1,000,000 entries of 16 B decimal keys and 100 B values, 3 rounds
 *
 * The disk is the vfs in memory. */
#include "base/alloc.h"
#include "base/hash.h"
#include "base/prng.h"
#include "micro_clock.h"
#include "segment/segment_writer.h"

enum { KEY_BYTES = 16, VALUE_BYTES = 100, BATCH = 16 };

static uint64_t count = 1000000;
static uint64_t checksum; /* so that nothing is left out */

static void must(bole_status status, const bole_error *error)
{
    if (status == BOLE_OK)
        return;
    fprintf(stderr, "%s: %s\n", bole_status_name(status), error->message);
    exit(1);
}

static bole_slice make_key(char out[KEY_BYTES + 1], uint64_t number)
{
    for (int i = KEY_BYTES; i-- > 0; number /= 10)
        out[i] = (char)('0' + number % 10);
    return bl_slice(out, KEY_BYTES);
}

static bl_segment *build(bl_segment_environment *environment, bole_error *error)
{
    bl_segment_writer_parameters parameters = {
        .environment = environment,
        .number = 1,
        .table_name = "default",
        .filter_bits_per_key = 10,
        .entries_estimate = count,
        .zero_sequences = true,
        .install_frames = true,
    };
    bl_segment_writer *writer;
    must(bl_segment_writer_create(&parameters, &writer, error), error);
    char key[KEY_BYTES + 1], value[VALUE_BYTES];
    memset(value, 'v', sizeof value);
    micro_begin();
    for (uint64_t i = 0; i < count; i++) {
        memcpy(value, &i, sizeof i);
        must(bl_segment_writer_add(writer, make_key(key, i * 2), BL_TAG(0, BL_KIND_PUT),
                                   bl_slice(value, sizeof value), error),
             error);
    }
    bl_segment_meta meta;
    bl_segment *segment;
    must(bl_segment_writer_finish(writer, &meta, &segment, error), error);
    micro_end("write, an entry", count);
    bl_segment_meta_deinit(&meta);
    return segment;
}

/* Independent gets, one after the other. `odd`: keys that are not there. */
static void gets(bl_segment *segment, uint64_t odd, uint64_t seed, uint64_t rounds)
{
    bl_prng prng;
    bl_prng_init(&prng, seed);
    char key[KEY_BYTES + 1];
    uint64_t found_count = 0;
    micro_begin();
    for (uint64_t i = 0; i < rounds; i++) {
        bl_lookup lookup = { .key = make_key(key, bl_prng_below(&prng, count) * 2 + odd),
                             .sequence = BL_SEQUENCE_MAX };
        lookup.hash = bl_hash(lookup.key.data, lookup.key.size);
        bl_found found;
        bl_epoch_enter();
        if (bl_segment_find(segment, &lookup, &found) == BL_FIND_FOUND) {
            checksum += *(const uint8_t *)found.value.data;
            found_count++;
        }
        bl_epoch_leave();
    }
    micro_end(odd == 0 ? "get, found" : "get, absent", rounds);
    if (found_count != (odd == 0 ? rounds : 0))
        exit(2);
}

/* The same where each key depends on the value before: no overlap between gets. */
static void dependent_gets(bl_segment *segment, uint64_t rounds)
{
    char key[KEY_BYTES + 1];
    uint64_t number = 1;
    micro_begin();
    for (uint64_t i = 0; i < rounds; i++) {
        number = (number * UINT64_C(6364136223846793005) + 1442695040888963407) % count;
        bl_lookup lookup = { .key = make_key(key, number * 2), .sequence = BL_SEQUENCE_MAX };
        lookup.hash = bl_hash(lookup.key.data, lookup.key.size);
        bl_found found;
        bl_epoch_enter();
        if (bl_segment_find(segment, &lookup, &found) != BL_FIND_FOUND)
            exit(2);
        number += ((const uint8_t *)found.value.data)[99] - (uint64_t)'v' + i;
        bl_epoch_leave();
    }
    micro_end("get, found, each waits for the one before", rounds);
}

/* In stages over a batch, as a multi-get does. */
static void staged_gets(bl_segment *segment, uint64_t rounds)
{
    bl_prng prng;
    bl_prng_init(&prng, 5);
    static char keys[BATCH][KEY_BYTES + 1];
    bl_lookup lookups[BATCH];
    bl_segment_spot spots[BATCH];
    micro_begin();
    for (uint64_t i = 0; i < rounds; i += BATCH) {
        bl_epoch_enter();
        for (int j = 0; j < BATCH; j++) {
            lookups[j] = (bl_lookup){ .key = make_key(keys[j], bl_prng_below(&prng, count) * 2),
                                      .sequence = BL_SEQUENCE_MAX };
            lookups[j].hash = bl_hash(lookups[j].key.data, lookups[j].key.size);
            spots[j] = bl_segment_approach(segment, &lookups[j]);
        }
        const bl_frame *frames[BATCH];
        for (int j = 0; j < BATCH; j++)
            frames[j] = bl_segment_prefetch_block(segment, &lookups[j]);
        for (int j = 0; j < BATCH; j++)
            if (frames[j] != NULL)
                bl_segment_prefetch_record(frames[j], &lookups[j]);
        for (int j = 0; j < BATCH; j++) {
            bl_found found;
            if (bl_segment_find_from(segment, &lookups[j], &spots[j], &found) != BL_FIND_FOUND)
                exit(2);
            checksum += *(const uint8_t *)found.value.data;
        }
        bl_epoch_leave();
    }
    micro_end("get, found, 16 in stages", rounds);
}

static void seeks(bl_cursor *cursor, uint64_t rounds)
{
    bl_prng prng;
    bl_prng_init(&prng, 9);
    char key[KEY_BYTES + 1];
    micro_begin();
    for (uint64_t i = 0; i < rounds; i++) {
        cursor->ops->seek(cursor, make_key(key, bl_prng_below(&prng, count) * 2));
        if (!cursor->valid)
            exit(2);
        checksum += cursor->key.size;
    }
    micro_end("seek", rounds);
}

static void walk(bl_cursor *cursor, bool forward, const char *name)
{
    uint64_t seen = 0;
    micro_begin();
    if (forward)
        for (cursor->ops->seek_first(cursor); cursor->valid; bl_cursor_next(cursor), seen++)
            checksum += ((const uint8_t *)cursor->key.data)[15] + *(const uint8_t *)cursor->value.data;
    else
        for (cursor->ops->seek_last(cursor); cursor->valid; bl_cursor_prev(cursor), seen++)
            checksum += ((const uint8_t *)cursor->key.data)[15] + *(const uint8_t *)cursor->value.data;
    if (seen != count)
        exit(2);
    micro_end(name, count);
}

int main(int arguments, char **argument)
{
    count = micro_less(count);
    if (arguments > 1)
        count = strtoull(argument[1], NULL, 10);
    unsigned rounds = arguments > 2 ? (unsigned)strtoul(argument[2], NULL, 10) : 3;
    bole_error error = BOLE_ERROR_INIT;
    bole_vfs *vfs;
    must(bole_vfs_memory_create(1, &vfs), &error);
    must(vfs->make_directory(vfs, "bench", &error), &error);
    bl_memory_budget budget;
    bl_memory_budget_init(&budget, UINT64_C(1) << 40, 0);
    bl_segment_environment environment = {
        .vfs = vfs, .directory = "bench", .budget = &budget, .open_files_max = 4
    };
    must(bl_scheduler_create(1, &environment.scheduler, &error), &error);
    must(bl_frame_cache_create(&budget, environment.scheduler, &environment.cache, &error), &error);
    must(bl_segment_environment_init(&environment, &error), &error);
    bl_segment *segment = build(&environment, &error);
    bl_cursor *cursor, *cold;
    bl_segment_cursor_options options = { .read_ahead = true };
    must(bl_segment_cursor(&segment, 1, &options, &cursor, &error), &error);
    uint64_t reads = count < 1000000 ? count : 1000000;
    for (unsigned round = 0; round < rounds; round++) {
        gets(segment, 0, round + 1, reads);
        dependent_gets(segment, reads);
        staged_gets(segment, reads / BATCH * BATCH);
        gets(segment, 1, round + 1, reads);
        seeks(cursor, reads / 2);
        walk(cursor, true, "next");
        walk(cursor, false, "previous");
    }
    bl_cursor_close(cursor);
    bl_memory_budget_limit(&budget, 0, 0); /* all blocks go: a scan reads, verifies and validates each */
    bl_frame_cache_trim(environment.cache);
    must(bl_segment_cursor(&segment, 1, &options, &cold, &error), &error);
    bl_memory_budget_limit(&budget, UINT64_C(1) << 40, 0);
    for (unsigned round = 0; round < rounds; round++)
        walk(cold, true, "next, not in the cache");
    bl_cursor_close(cold);
    bl_segment_unref(segment);
    bl_segment_environment_deinit(&environment);
    bl_frame_cache_destroy(environment.cache);
    bl_scheduler_destroy(environment.scheduler);
    bole_vfs_destroy(vfs);
    micro_print();
    return checksum == 1;
}
