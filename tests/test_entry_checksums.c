/* SPDX-License-Identifier: MIT */
/* test_entry_checksums.c -- with entry_checksums on, a bit that flips in memory between the call that puts an entry and
 * its segment, or in a cached block before a merge, is told and never written.
 *
 * The bits are flipped where they lie: in the memtable's records, and in frames of the cache by way of a view. */
#include "test.h"

#include <bole/bole_vfs.h>

#include "base/hash.h"
#include "base/prng.h"
#include "engine/log_structured_store.h"

enum { KEYS = 200 };

typedef struct fixture {
    bole_vfs *disk;
    bole_db *db;
    bole_error error;
} fixture;

static void open_store(fixture *f, bole_vfs *disk, bool checksums)
{
    bole_options options = BOLE_OPTIONS_INIT;
    options.flags = BOLE_CREATE;
    options.vfs = disk;
    options.simulation_seed = 1;
    options.memory_limit = 64 << 20;
    options.memtable_bytes = 1 << 20;
    options.entry_checksums = checksums ? 1 : 0;
    options.compression = BOLE_COMPRESSION_LZ4;
    assert_ok(bole_open("store", &options, &f->db, &f->error), &f->error);
}

static int make_fixture(void **state)
{
    fixture *f = calloc(1, sizeof *f);
    f->error = (bole_error)BOLE_ERROR_INIT;
    assert_ok(bole_vfs_memory_create(1, &f->disk), NULL);
    *state = f;
    return 0;
}

static int drop_fixture(void **state)
{
    fixture *f = *state;
    if (f->db != NULL)
        (void)bole_close(f->db, NULL);
    bole_vfs_destroy(f->disk);
    free(f);
    return 0;
}

static bole_slice key_of(uint32_t i, char out[16])
{
    return BOLE_SLICE(out, (size_t)snprintf(out, 16, "key %04u", i));
}

static bole_slice value_of(uint32_t i, uint32_t round, char out[128])
{
    memset(out, 'a' + (int)((i + round) % 26), 128);
    return BOLE_SLICE(out, i % 7 == 0 ? 0 : (size_t)(1 + i % 100));
}

/* Puts, deletes and batches of several, some keys in several versions. */
static void fill(fixture *f, uint32_t round)
{
    char key[16], value[128];
    bole_batch *batch;
    assert_ok(bole_batch_create(&batch), NULL);
    for (uint32_t i = 0; i < KEYS; i++) {
        if (i % 10 == 9) {
            assert_ok(bole_delete(f->db, NULL, key_of(i, key)), NULL);
        } else if (i % 3 == 0) {
            assert_ok(bole_batch_put(batch, NULL, key_of(i, key), value_of(i, round, value)), NULL);
            if (i % 12 == 0) {
                assert_ok(bole_write(f->db, NULL, batch), NULL);
                bole_batch_clear(batch);
            }
        } else {
            assert_ok(bole_put(f->db, NULL, key_of(i, key), value_of(i, round, value)), NULL);
        }
    }
    assert_ok(bole_write(f->db, NULL, batch), NULL);
    bole_batch_destroy(batch);
}

static void check(bole_db *db, uint32_t round)
{
    char key[16], value[128];
    bole_buffer found = BOLE_BUFFER_INIT;
    for (uint32_t i = 0; i < KEYS; i++) {
        bole_status status = bole_get(db, NULL, key_of(i, key), &found);
        assert_status(i % 10 == 9 ? BOLE_NOT_FOUND : BOLE_OK, status, NULL);
        bole_slice wanted = value_of(i, round, value);
        if (status == BOLE_OK) {
            assert_int_equal(found.size, wanted.size);
            assert_memory_equal(found.data, wanted.data, wanted.size);
        }
    }
    bole_buffer_free(&found);
}

static void entries_pass_flush_and_merge_unharmed(void **state)
{
    fixture *f = *state;
    static const bole_slice open_end = { NULL, 0 };
    open_store(f, f->disk, true);
    for (uint32_t round = 0; round < 4; round++) {
        fill(f, round);
        if (round == 1)
            fill(f, round); /* versions of one key in one memtable */
        assert_ok(bole_flush(f->db, &f->error), &f->error);
        check(f->db, round);
        if (round % 2 == 1)
            assert_ok(bole_compact(f->db, NULL, open_end, open_end, &f->error), &f->error);
        check(f->db, round);
    }
    assert_ok(bole_close(f->db, &f->error), &f->error);
    open_store(f, f->disk, true); /* from the log: nothing was lost by a close in between */
    check(f->db, 3);
}

/* One bit of what the memtable holds of a key: of its value, its key or its tag. */
static bool flip_in_memtable(fixture *f, uint32_t i, bl_prng *prng)
{
    char key[16];
    uint64_t tag;
    bole_slice value;
    bole_slice wanted = key_of(i, key);
    const bl_memtable_tree *tree = bl_memtable_find_tree(f->db->memtable, 0);
    assert_non_null(tree);
    if (!bl_memtable_get(tree, wanted, bl_hash(wanted.data, wanted.size), BL_SEQUENCE_MAX, &tag, &value))
        return false;
    uint8_t *bytes = (uint8_t *)(uintptr_t)value.data;
    uint64_t at = bl_prng_below(prng, value.size + 4); /* the carried checksum too */
    bytes[at] ^= (uint8_t)(1u << bl_prng_below(prng, 8));
    return true;
}

/* The flush refuses and names table and key; the log, read by the next open, has what was put. */
static void a_bit_in_the_memtable_is_told_and_not_written(void **state)
{
    fixture *f = *state;
    bl_prng prng;
    bl_prng_init(&prng, test_seed(1));
    for (uint32_t run = 0; run < 60; run++) {
        bole_vfs *survived, *disk;
        char key[16];
        assert_ok(bole_vfs_memory_create(run, &disk), NULL);
        open_store(f, disk, true);
        fill(f, run);
        uint32_t i = (uint32_t)bl_prng_below(&prng, KEYS);
        assert_true(flip_in_memtable(f, i, &prng) || i % 10 == 9);
        assert_status(BOLE_CORRUPT, bole_flush(f->db, &f->error), &f->error);
        (void)key_of(i, key);
        assert_non_null(strstr(f->error.message, key));
        assert_non_null(strstr(f->error.message, "default"));
        bole_statistics stats = BOLE_STATISTICS_INIT;
        assert_ok(bole_stats(f->db, &stats, NULL), NULL);
        assert_int_equal(stats.level_segments[0], 0);
        assert_ok(bole_vfs_memory_crash(disk, BOLE_CRASH_KEEP_ALL, run, &survived), NULL);
        (void)bole_close(f->db, NULL);
        open_store(f, survived, true);
        check(f->db, run);
        assert_ok(bole_flush(f->db, &f->error), &f->error);
        check(f->db, run);
        assert_ok(bole_close(f->db, &f->error), &f->error);
        f->db = NULL;
        bole_vfs_destroy(survived);
        bole_vfs_destroy(disk);
    }
}

/* A key in a cached frame: the merge reads the file. Without the setting the same merge writes what memory holds, so
 * the flip is one that matters. */
static void a_bit_in_a_cached_block_is_not_merged(void **state)
{
    fixture *f = *state;
    static const bole_slice open_end = { NULL, 0 };
    bl_prng prng;
    bl_prng_init(&prng, test_seed(1));
    uint32_t wrong_without = 0;
    for (uint32_t run = 0; run < 40; run++) {
        bole_vfs *disk;
        char key[16], value[128];
        bool on = run % 2 == 0;
        assert_ok(bole_vfs_memory_create(run, &disk), NULL);
        open_store(f, disk, on);
        fill(f, run);
        assert_ok(bole_flush(f->db, &f->error), &f->error);
        fill(f, run);
        assert_ok(bole_flush(f->db, &f->error), &f->error);
        uint32_t i = 1 + 10 * (uint32_t)bl_prng_below(&prng, KEYS / 10);
        bole_view view;
        assert_ok(bole_get_view(f->db, NULL, key_of(i, key), &view), NULL);
        if (view.value.size > 0) {
            uint8_t *bytes = (uint8_t *)(uintptr_t)view.value.data;
            bytes[bl_prng_below(&prng, view.value.size)] ^= (uint8_t)(1u << bl_prng_below(&prng, 8));
        }
        bole_view_release(&view);
        assert_ok(bole_compact(f->db, NULL, open_end, open_end, &f->error), &f->error);
        bole_buffer found = BOLE_BUFFER_INIT;
        assert_ok(bole_get(f->db, NULL, key_of(i, key), &found), NULL);
        bole_slice wanted = value_of(i, run, value);
        bool right = found.size == wanted.size &&
                     (found.size == 0 || memcmp(found.data, wanted.data, found.size) == 0);
        assert_true(right || !on);
        wrong_without += !right;
        bole_buffer_free(&found);
        assert_ok(bole_close(f->db, &f->error), &f->error);
        f->db = NULL;
        bole_vfs_destroy(disk);
    }
    assert_true(wrong_without > 0);
}

static void the_setting_changes_while_open(void **state)
{
    fixture *f = *state;
    open_store(f, f->disk, false);
    for (uint32_t round = 0; round < 6; round++) {
        fill(f, round);
        assert_ok(bole_configure(f->db, "entry_checksums", round % 2 == 0 ? "on" : "off", &f->error),
                  &f->error);
        fill(f, round);
        assert_ok(bole_flush(f->db, &f->error), &f->error);
        check(f->db, round);
    }
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, make_fixture, drop_fixture)
    const struct CMUnitTest tests[] = {
        TEST(entries_pass_flush_and_merge_unharmed),
        TEST(a_bit_in_the_memtable_is_told_and_not_written),
        TEST(a_bit_in_a_cached_block_is_not_merged),
        TEST(the_setting_changes_while_open),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
