/* SPDX-License-Identifier: MIT */
/* micro_block.c -- what the bytes side of a segment costs: building, validating, searching blocks and index.
 *
 * Entries are 16 bytes decimal and 100 bytes, as in the last level (sequences zeroed) unless said. "writer"
 * counts segment_writer_add with a disk that forgets what it is given: the cost without the kernel's. */
#include "base/alloc.h"
#include "base/checksum.h"
#include "base/hash.h"
#include "base/prng.h"
#include "core/run_cursor.h"
#include "micro_clock.h"
#include "platform/page_arena.h"
#include "segment/block_builder.h"
#include "segment/block_index.h"
#include "segment/segment_writer.h"

enum { BLOCKS = 15000, ENTRIES = BLOCKS * 38, ROUNDS = 3 };

static size_t entries; /* of ENTRIES */

static void check(bool good)
{
    if (!good) {
        fprintf(stderr, "failed\n");
        exit(1);
    }
}

static char keys[ENTRIES][17];
static uint8_t *frames; /* blocks x 4096 */
static size_t blocks;
static uint32_t block_of[ENTRIES]; /* most blocks have 38 entries */
static size_t ends[BLOCKS * 2];    /* of each block's entries */

/* ---- Blocks ---- */

static void build_blocks(void)
{
    static uint8_t value[100];
    bl_block_builder builder;
    check(bl_block_builder_init(&builder, NULL, NULL) == BOLE_OK);
    frames = bl_region_alloc((size_t)BLOCKS * 2 * 4096);
    memset(frames, 1, (size_t)BLOCKS * 2 * 4096);
    for (int round = 0; round < ROUNDS; round++) {
        blocks = 0;
        micro_begin();
        for (size_t i = 0; i < entries; i++) {
            bole_slice key = { keys[i], 16 }, bytes = { value, sizeof value };
            while (bl_block_builder_add(&builder, key, bl_hash(keys[i], 16), BL_TAG(0, BL_KIND_PUT), bytes,
                                        4096) != BL_BLOCK_ADDED) {
                ends[blocks] = i;
                bl_block_builder_finish(&builder, frames + 4096 * blocks++);
            }
            block_of[i] = (uint32_t)blocks;
        }
        ends[blocks] = entries;
        bl_block_builder_finish(&builder, frames + 4096 * blocks++);
        micro_end("build, an entry", entries);
        builder.has_last = false;
    }
    bl_block_builder_deinit(&builder);
    micro_begin();
    for (size_t i = 0; i < blocks; i++)
        bl_block_seal(frames + 4096 * i, 1, i);
    micro_end("seal: checksum, a block", blocks);
    micro_begin();
    for (size_t i = 0; i < blocks; i++) {
        const uint8_t *frame = frames + 4096 * i;
        check(bl_block_validate(frame, 32 + (size_t)bl_get_u32(frame + 12), false, NULL, "f", 0, NULL) ==
              BOLE_OK);
    }
    micro_end("validate, a block", blocks);
}

static void search_blocks(size_t span, const char *what)
{
    uint64_t found = 0, pick = 1, sum = 0;
    uint64_t count = micro_less(2000000);
    for (int round = 0; round < ROUNDS; round++) {
        micro_begin();
        for (size_t i = 0; i < count; i++) {
            pick = (pick + sum) * UINT64_C(0x9E3779B97F4A7C15) + 1; /* waits for the answer before */
            size_t at = (size_t)((__uint128_t)(pick ^ pick >> 31) * span >> 64);
            bl_lookup lookup = { .key = { keys[at], 16 }, .hash = bl_hash(keys[at], 16), .sequence = 9 };
            bl_block_view view;
            bole_slice value = { NULL, 0 };
            uint64_t tag;
            bl_block_view_init(&view, frames + 4096 * (size_t)block_of[at]);
            found += bl_block_search(&view, &lookup, &tag, &value) == BL_BLOCK_FOUND;
            sum = *(const uint8_t *)value.data;
        }
        micro_end(what, count);
    }
    check(found == ROUNDS * count);
}

static void scan_blocks(void)
{
    uint8_t buffer[64];
    uint64_t sum = 0;
    for (int round = 0; round < ROUNDS; round++) {
        micro_begin();
        for (size_t i = 0; i < blocks; i++) {
            bl_block_view view;
            bl_cursor cursor = { .key_buffer = buffer };
            bl_block_view_init(&view, frames + 4096 * i);
            bl_block_window(&view, &cursor);
            for (uint32_t j = 0; j < view.count; j++) {
                cursor.index = j;
                bl_cursor_decode(&cursor);
                sum += cursor.head + *(const uint8_t *)cursor.value.data;
            }
        }
        micro_end("decode, an entry", entries);
    }
    check(sum != 1);
}

/* ---- Index ---- */

/* One index of 15,000 blocks, near; then many of them in turn, so that the groups are far and the levels may
 * be. */
static void search_index(size_t copies)
{
    bl_block_index_builder builder;
    bole_buffer section = BOLE_BUFFER_INIT;
    bl_block_index_builder_init(&builder, false);
    for (size_t i = 0; i < blocks; i++) {
        bole_slice last = { keys[ends[i] - 1], 16 };
        bole_slice next = i + 1 < blocks ? (bole_slice){ keys[ends[i]], 16 } : last;
        check(bl_block_index_builder_add(&builder, last, next, i + 1 == blocks, 4096 + 4096 * i, 4096, 4096));
    }
    check(bl_block_index_builder_finish(&builder, &section));
    bl_block_index_builder_deinit(&builder);
    bole_slice bytes = { section.data, section.size };
    size_t each;
    check(bl_block_index_measure(bytes, "f", 0, &each, NULL) == BOLE_OK);
    each = (each + 4095) / 4096 * 4096;
    bl_block_index *indexes = calloc(copies, sizeof *indexes);
    uint8_t *memory = bl_region_alloc(each * copies);
    for (size_t i = 0; i < copies; i++)
        check(bl_block_index_init(&indexes[i], memory + each * i, each, bytes, 4096, UINT64_MAX, "f", 0,
                                  NULL) == BOLE_OK);
    uint64_t count = micro_less(1000000) / 8 * 8;
    char name[64];
    static size_t asked[4096];
    for (size_t i = 0; i < 4096; i++)
        asked[i] = (size_t)((__uint128_t)(i * UINT64_C(0x9E3779B97F4A7C15)) * entries >> 64);
    uint64_t pick = 1, found = 0, sum = 0;
    snprintf(name, sizeof name, "%zu indexes, a search with its slot", copies);
    for (int round = 0; round < ROUNDS; round++) {
        micro_begin();
        for (size_t i = 0; i < count; i++) {
            pick = (pick + found) * UINT64_C(0x9E3779B97F4A7C15) + 1;
            uint64_t random = pick ^ pick >> 31;
            const bl_block_index *index = &indexes[random % copies];
            size_t at = asked[random >> 52]; /* few keys, so that they are near */
            found = bl_block_index_search(index, NULL, (bole_slice){ keys[at], 16 });
            found += (uintptr_t)atomic_load_explicit(bl_block_index_slot(index, found), memory_order_acquire);
            sum += found == block_of[at];
        }
        micro_end(name, count);
    }
    check(sum == ROUNDS * count);
    snprintf(name, sizeof name, "%zu indexes, eight searches at a time, each", copies);
    for (int round = 0; round < ROUNDS; round++) { /* eight searches begin before the first ends */
        micro_begin();
        for (size_t i = 0; i < count / 8; i++) {
            pick = (pick + found) * UINT64_C(0x9E3779B97F4A7C15) + 1;
            const bl_block_index *index[8];
            bole_slice key[8];
            bl_block_index_place place[8];
            for (unsigned j = 0; j < 8; j++) {
                uint64_t random = (pick ^ pick >> 31) * (2 * j + 1);
                index[j] = &indexes[random % copies];
                key[j] = (bole_slice){ keys[asked[random >> 52]], 16 };
                place[j] = bl_block_index_search_begin(index[j], NULL, key[j]);
            }
            for (unsigned j = 0; j < 8; j++) {
                found = bl_block_index_search_end(index[j], key[j], place[j]);
                found += (uintptr_t)atomic_load_explicit(bl_block_index_slot(index[j], found),
                                                         memory_order_acquire);
            }
        }
        micro_end(name, count);
    }
    bl_region_free(memory, each * copies);
    free(indexes);
    bole_buffer_free(&section);
}

/* ---- Writer ---- */

static bole_status forget(bole_file *file, uint64_t offset, const void *data, size_t length,
                          bole_error *error)
{
    (void)file, (void)offset, (void)data, (void)length, (void)error;
    return BOLE_OK;
}

static void write_segments(bool zeroed, uint32_t bits, bl_compression_kind compression, const char *what)
{
    static uint8_t value[100];
    bole_vfs *memory;
    check(bole_vfs_memory_create(1, &memory) == BOLE_OK);
    check(memory->make_directory(memory, "s", NULL) == BOLE_OK);
    bole_vfs forgetful = *memory;
    memory->write = forget;
    bl_memory_budget budget;
    bl_memory_budget_init(&budget, UINT64_C(1) << 32, 0);
    bl_segment_environment environment = { .vfs = &forgetful, .directory = "s", .budget = &budget };
    for (size_t i = 0; i < sizeof value; i++)
        value[i] = (uint8_t)(i * i % 251);
    for (uint64_t round = 0; round < ROUNDS; round++) {
        bl_segment_writer_parameters parameters = { .environment = &environment,
                                                    .number = round + 1,
                                                    .filter_bits_per_key = bits,
                                                    .zero_sequences = zeroed,
                                                    .entries_estimate = entries,
                                                    .compression = compression };
        bl_segment_writer *writer;
        bl_segment_meta meta;
        micro_begin();
        check(bl_segment_writer_create(&parameters, &writer, NULL) == BOLE_OK);
        for (size_t i = 0; i < entries; i++)
            check(bl_segment_writer_add(writer, (bole_slice){ keys[i], 16 }, BL_TAG(i + 1, BL_KIND_PUT),
                                        (bole_slice){ value, sizeof value }, NULL) == BOLE_OK);
        check(bl_segment_writer_finish(writer, &meta, NULL, NULL) == BOLE_OK);
        micro_end(what, entries);
        bl_segment_meta_deinit(&meta);
    }
    memory->write = forgetful.write;
    bole_vfs_destroy(memory);
}

int main(void)
{
    entries = micro_less(ENTRIES);
    for (size_t i = 0; i < entries; i++)
        snprintf(keys[i], sizeof keys[i], "%016u", (unsigned)i + 10000000u);
    build_blocks();
    search_blocks(64 * 38, "search of near blocks");
    search_blocks(entries, "search of far blocks");
    scan_blocks();
    search_index(1);
    search_index(60);
    write_segments(true, 10, BL_COMPRESSED_NONE, "writer, an entry");
    write_segments(false, 14, BL_COMPRESSED_NONE, "writer, level 0, an entry");
    write_segments(true, 10, BL_COMPRESSED_LZ4, "writer, LZ4, an entry");
    micro_print();
    return 0;
}
