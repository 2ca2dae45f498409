/* SPDX-License-Identifier: MIT */
/* test_full_disk.c -- a disk that has no room left: the store says so, answers truly, and goes on once there is room.
 *
 * A store on a disk in memory has written some batches when the disk gets a limit, a few pages above what is used: one
 * run for each level of space. It is written, flushed, merged and copied until it is full and a while beyond. Every
 * status must be clean, every read must be what the model says (history_fixture.h), also while nothing fits; deletes
 * must go on, from the reserve. Then room is made, and the same handle must take a durable write; how many do is told.
 * Then the power goes, and the store must come back with all that was acknowledged as durable. Besides: how much room a
 * compaction of the whole store needs.
 *
 * BOLE_TEST_SEED chooses the first history; BOLE_TEST_EFFORT (default 1) times 50 is the number of levels. */
#include "history_fixture.h"

enum { LEVELS = 50, PAGE = 4096, PAGES_A_LEVEL = 1, BATCHES_BEFORE = 30, OPERATIONS = 400 };
/* In simulation a job runs when a call passes a point, and a call that is refused passes few. */
enum { WAITS_MAX = 100 };

typedef struct tally {
    uint64_t levels, full, went_on, at_once, deletes, deleted, refused;
} tally;

static uint64_t levels_wanted(void)
{
    const char *text = getenv("BOLE_TEST_EFFORT");
    uint64_t value = text != NULL ? strtoull(text, NULL, 10) : 1;
    return LEVELS * (value != 0 ? value : 1);
}

static uint64_t used_bytes(bole_vfs *disk)
{
    const uint64_t whole = UINT64_C(1) << 40;
    uint64_t left;
    bole_vfs_memory_capacity(disk, whole);
    assert_ok(disk->free_bytes(disk, "store", &left, NULL), NULL);
    bole_vfs_memory_capacity(disk, UINT64_MAX);
    return whole - left;
}

static bole_options options_for(uint64_t seed, bole_vfs *disk)
{
    bole_options options = BOLE_OPTIONS_INIT;
    options.flags = BOLE_CREATE;
    options.vfs = disk;
    options.simulation_seed = 1 + seed;
    options.memory_limit = 16 << 20;
    options.memtable_bytes = 16384;
    options.large_value_bytes = seed % 3 == 0 ? 4096 : 16;
    options.segment_bytes = 8192;
    options.block_bytes = 1024;
    options.level0_runs = 2;
    if (seed % 2 == 1)
        options.flags |= BOLE_NO_SIGBUS_HANDLER; /* written logs instead of mapped ones */
    return options;
}

static void fail_level(uint64_t seed, uint64_t level, const char *what, const char *why)
{
    fail_msg("history %" PRIu64 ", level %" PRIu64 ": %s: %s", seed, level, what, why);
}

/* One operation. Returns its status; `durable` says whether that makes all before it durable. */
static bole_status operate(history *h, bole_db *db, bl_prng *prng, uint32_t i, bool *durable,
                           bole_error *error)
{
    static const bole_slice open_end = { NULL, 0 };
    char path[32];
    *durable = true;
    switch (bl_prng_below(prng, 30)) {
    case 0: return bole_flush(db, error);
    case 1: return bole_compact(db, NULL, open_end, open_end, error);
    case 2: return bole_sync(db, error);
    case 3: snprintf(path, sizeof path, "copy-%u", i); return bole_checkpoint(db, path, error);
    default: *durable = bl_prng_chance(prng, 4); break;
    }
    return history_write(h, db, *durable ? BOLE_DURABILITY_POWER : BOLE_DURABILITY_PROCESS, error);
}

static void look(history *h, bole_db *db, uint64_t level, bool live, const char *when)
{
    bole_status status = history_check(h, db, live);
    if (h->why[0] != '\0' || status != BOLE_OK)
        fail_level(h->seed, level, when, h->why[0] != '\0' ? h->why : bole_status_name(status));
}

/* Deletes of keys that need little room, as somebody would who wants to make some. */
static void try_deletes(bole_db *db, history *h, uint64_t level, tally *t)
{
    for (uint32_t i = 0; i < 100; i++) {
        bole_error error = BOLE_ERROR_INIT;
        bole_write_options options = BOLE_WRITE_OPTIONS_INIT;
        options.error = &error;
        bole_status status = bole_delete(db, &options, BOLE_STR("z: never there"));
        t->deletes++;
        t->deleted += status == BOLE_OK;
        if (status != BOLE_OK && !history_is_clean(status))
            fail_level(h->seed, level, "a delete", error.message);
    }
}

/* Room again: does this handle go on? As a caller would, it tries again for some seconds. */
static void go_on(bole_vfs *disk, bole_db *db, history *h, uint64_t level, tally *t)
{
    bole_error error = BOLE_ERROR_INIT;
    bole_vfs_memory_capacity(disk, UINT64_MAX);
    for (uint32_t i = 0; i < WAITS_MAX; i++) {
        bole_status status = history_write(h, db, BOLE_DURABILITY_POWER, &error);
        if (status == BOLE_OK) {
            history_all_durable(h);
            t->went_on++;
            t->at_once += i == 0;
            if (!history_heals(h, disk, db, &error))
                fail_level(h->seed, level, "with room again flush or merge never go well", error.message);
            return;
        }
        if (!history_is_clean(status))
            fail_level(h->seed, level, "a write with room again", error.message);
        bole_vfs_memory_advance(disk, 1000000);
    }
    print_message("history %" PRIu64 ", level %" PRIu64 " does not go on: %s\n", h->seed, level,
                  error.message);
}

/* The reserve is made behind the first write; the disk was not full then. */
static void wait_for_reserve(bole_vfs *disk, bole_db *db)
{
    bole_statistics stats = BOLE_STATISTICS_INIT;
    for (uint32_t i = 0; i < 100000 && stats.reserve_bytes == 0; i++) {
        bole_vfs_memory_advance(disk, 1000);
        assert_ok(bole_stats(db, &stats, NULL), NULL);
    }
    assert_true(stats.reserve_bytes > 0);
}

static void one_level(uint64_t seed, uint64_t level, uint64_t pages, tally *t)
{
    history *h = calloc(1, sizeof *h);
    h->seed = seed;
    bole_vfs *disk, *survived;
    bole_db *db;
    bole_error error = BOLE_ERROR_INIT;
    bl_prng prng;
    bl_prng_init(&prng, seed);
    assert_ok(bole_vfs_memory_create(seed, &disk), NULL);
    bole_options options = options_for(seed, disk);
    assert_ok(bole_open("store", &options, &db, &error), &error);
    for (uint32_t i = 0; i < BATCHES_BEFORE; i++)
        assert_ok(history_write(h, db, BOLE_DURABILITY_PROCESS, &error), &error);
    wait_for_reserve(disk, db);
    bole_vfs_memory_capacity(disk, used_bytes(disk) + pages * PAGE);
    uint32_t refused = 0;
    for (uint32_t i = 0; i < OPERATIONS && refused < 20; i++) {
        bool durable;
        bole_status status = operate(h, db, &prng, i, &durable, &error);
        if (status == BOLE_OK && durable)
            history_all_durable(h);
        if (status != BOLE_OK && !history_is_clean(status))
            fail_level(seed, level, bole_status_name(status), error.message);
        refused += status != BOLE_OK;
        if (status != BOLE_OK && refused % 5 == 1)
            look(h, db, level, true, "full");
    }
    if (refused > 0) {
        t->full++;
        try_deletes(db, h, level, t);
        look(h, db, level, true, "full");
        go_on(disk, db, h, level, t);
    }
    t->levels++;
    t->refused += refused;
    bole_vfs_memory_capacity(disk, UINT64_MAX);
    look(h, db, level, true, "with room again");
    bole_crash_mode mode = (bole_crash_mode)(level % 4);
    assert_ok(bole_vfs_memory_crash(disk, mode, seed + level, &survived), NULL);
    (void)!bole_close(db, &error);
    options.vfs = survived;
    assert_ok(bole_open("store", &options, &db, &error), &error);
    look(h, db, level, mode == BOLE_CRASH_KEEP_ALL, "after a power cut");
    history_settle(h);
    assert_ok(history_write(h, db, BOLE_DURABILITY_POWER, &error), &error);
    assert_ok(bole_close(db, &error), &error);
    bole_vfs_destroy(survived);
    bole_vfs_destroy(disk);
    free(h);
}

/* Goal: G9 of the reliability figures, in the size that BOLE_TEST_EFFORT asks for. */
static void a_full_disk_is_told_and_the_store_goes_on_with_room(void **state)
{
    (void)state;
    tally t = { 0 };
    uint64_t first = test_seed(1), levels = levels_wanted();
    for (uint64_t level = 0; level < levels; level++)
        one_level(first + level / LEVELS, level, level % LEVELS * PAGES_A_LEVEL, &t);
    print_message("%" PRIu64 " levels of space from history %" PRIu64 " on, %" PRIu64
                  " met the end of the disk, %" PRIu64
                  " calls refused: 0 wrong reads, 0 lost; with room again %" PRIu64
                  " (%.1f %%) went on without being "
                  "opened again, %" PRIu64
                  " at the first call; %.1f %% of deletes succeeded on the full disk\n",
                  t.levels, first, t.full, t.refused, t.went_on,
                  t.full != 0 ? 100.0 * (double)t.went_on / (double)t.full : 0, t.at_once,
                  t.deletes != 0 ? 100.0 * (double)t.deleted / (double)t.deletes : 0);
    assert_true(t.full >= t.levels / 2);
    assert_true(t.went_on * 100 >= t.full * 99);
    assert_true(t.deleted * 100 >= t.deletes * 90);
}

/* Goal: the inputs of a compaction's job are gone, with their room, before the next job needs some; so all of a store
 * is compacted where not all of it fits twice. Method: keys are written twice, and the disk has a third of the store
 * left. */
static void a_compaction_of_all_needs_no_room_for_all(void **state)
{
    enum { KEYS = 6000, VALUE = 100 };
    (void)state;
    bole_vfs *disk;
    bole_db *db;
    bole_error error = BOLE_ERROR_INIT;
    assert_ok(bole_vfs_memory_create(1, &disk), NULL);
    bole_options options = options_for(0, disk);
    options.large_value_bytes = 4096;
    options.memtable_bytes = 256 * 1024;
    options.reserve_bytes = UINT64_MAX; /* none */
    options.level0_runs = 32;           /* nothing is merged before it is asked for */
    assert_ok(bole_open("store", &options, &db, &error), &error);
    bole_slice all = { NULL, 0 };
    for (uint32_t round = 0; round < 2; round++) {
        char key[16], value[VALUE];
        for (uint32_t i = 0; i < KEYS; i++) {
            snprintf(key, sizeof key, "key%06u", i);
            memset(value, (int)('a' + (i + round) % 26), sizeof value);
            assert_ok(bole_put(db, NULL, BOLE_SLICE(key, strlen(key)), BOLE_SLICE(value, VALUE)), NULL);
        }
        if (round == 0)
            assert_ok(bole_compact(db, NULL, all, all, &error), &error);
    }
    assert_ok(bole_flush(db, &error), &error);
    bole_statistics stats = BOLE_STATISTICS_INIT;
    assert_ok(bole_stats(db, &stats, &error), &error);
    assert_in_range(stats.level_entries[0], KEYS / 2, KEYS);
    uint64_t used = used_bytes(disk);
    bole_vfs_memory_capacity(disk, used + KEYS * VALUE / 3);
    assert_ok(bole_compact(db, NULL, all, all, &error), &error);
    assert_ok(bole_stats(db, &stats, &error), &error);
    assert_int_equal(stats.level_entries[BOLE_LEVELS_MAX - 1], KEYS);
    assert_ok(bole_close(db, &error), &error);
    bole_vfs_destroy(disk);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_compaction_of_all_needs_no_room_for_all),
        cmocka_unit_test(a_full_disk_is_told_and_the_store_goes_on_with_room),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
