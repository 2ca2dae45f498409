/* SPDX-License-Identifier: MIT */
/* test_large_store.c -- a load that is many times the memory limit: bounded memory, all there, little waste.
 *
 * BOLE_TEST_EFFORT times 1,000,000 entries of 16 B keys and 100 B values (default 1; the gate asks for 10) under a
 * limit of 256 MiB, 128 MiB for one million. What counts is anonymous memory (RssAnon: heap and page arena) and the
 * shared maps of the logs (RssShmem, RssFile less what was mapped before): all that the process makes resident. */
#include "test.h"

#include "base/prng.h"

enum { KEY_BYTES = 16, VALUE_BYTES = 100 };
static const uint64_t MIB = UINT64_C(1) << 20;

static uint64_t entry_count(void)
{
    const char *text = getenv("BOLE_TEST_EFFORT");
    uint64_t effort = text == NULL ? 0 : strtoull(text, NULL, 10);
#ifdef BL_CHECKS
    return effort == 0 ? 100000 : effort * 1000000;
#else
    return effort == 0 ? 1000000 : effort * 1000000;
#endif
}

static uint64_t mixed(uint64_t number)
{
    number ^= number >> 31;
    number *= UINT64_C(0x7fb5d329728ea185);
    number ^= number >> 27;
    number *= UINT64_C(0x81dadef4bc2dd44d);
    return number ^ number >> 33;
}

/* A bijection of numbers, so all keys differ, in an order that is not that of numbers. */
static bole_slice key_of(uint64_t number, char out[KEY_BYTES])
{
    uint64_t first = mixed(number);
    for (int i = 0; i < 8; i++)
        out[i] = (char)(first >> (56 - 8 * i));
    memcpy(out + 8, &number, 8);
    return (bole_slice){ out, KEY_BYTES };
}

static bole_slice value_of(uint64_t number, char out[VALUE_BYTES])
{
    bl_prng prng;
    bl_prng_init(&prng, number);
    bl_prng_fill(&prng, out, VALUE_BYTES);
    return (bole_slice){ out, VALUE_BYTES };
}

static uint64_t resident_kib(const char *name)
{
    FILE *file = fopen("/proc/self/status", "r");
    char line[128];
    uint64_t kib = 0;
    while (file != NULL && fgets(line, sizeof line, file) != NULL)
        if (strncmp(line, name, strlen(name)) == 0)
            kib = strtoull(line + strlen(name), NULL, 10);
    if (file != NULL)
        fclose(file);
    return kib;
}

static uint64_t resident(void)
{
    return (resident_kib("RssAnon:") + resident_kib("RssFile:") + resident_kib("RssShmem:")) * 1024;
}

typedef struct memory_watch {
    uint64_t before, limit, most;
    uint64_t anonymous, charged; /* of the moment of most */
    bole_statistics statistics;
} memory_watch;

static void look(memory_watch *watch, bole_db *db)
{
    uint64_t now = resident();
    now = now > watch->before ? now - watch->before : 0;
    if (now <= watch->most)
        return;
    watch->most = now;
    watch->anonymous = resident_kib("RssAnon:") * 1024;
    watch->statistics = BOLE_STATISTICS_INIT;
    assert_ok(bole_stats(db, &watch->statistics, NULL), NULL);
}

static bole_db *open_store(const char *path, uint64_t limit)
{
    bole_options options = BOLE_OPTIONS_INIT;
    options.flags = BOLE_CREATE;
    options.memory_limit = limit;
    options.memtable_bytes = 8 * MIB;
    options.segment_bytes = 16 * MIB;
    bole_error error = BOLE_ERROR_INIT;
    bole_db *db;
    assert_ok(bole_open(path, &options, &db, &error), &error);
    return db;
}

static void load(bole_db *db, uint64_t count, memory_watch *watch)
{
    char key[KEY_BYTES], value[VALUE_BYTES];
    bole_error error = BOLE_ERROR_INIT;
    bole_write_options options = BOLE_WRITE_OPTIONS_INIT;
    options.error = &error;
    for (uint64_t i = 0; i < count; i++) {
        assert_ok(bole_put(db, &options, key_of(i, key), value_of(i, value)), &error);
        if (i % 65536 == 0)
            look(watch, db);
    }
    look(watch, db);
}

static void read_randomly(bole_db *db, uint64_t count, uint64_t reads, memory_watch *watch)
{
    bl_prng prng;
    bl_prng_init(&prng, test_seed(5));
    bole_buffer found = BOLE_BUFFER_INIT;
    for (uint64_t i = 0; i < reads; i++) {
        char key[KEY_BYTES], value[VALUE_BYTES];
        uint64_t number = bl_prng_below(&prng, count);
        assert_ok(bole_get(db, NULL, key_of(number, key), &found), NULL);
        assert_int_equal(found.size, VALUE_BYTES);
        assert_memory_equal(found.data, value_of(number, value).data, VALUE_BYTES);
        assert_status(BOLE_NOT_FOUND, bole_get(db, NULL, key_of(count + number, key), &found), NULL);
        if (i % 16384 == 0)
            look(watch, db);
    }
    bole_buffer_free(&found);
    look(watch, db);
}

static void scan_all(bole_db *db, uint64_t count, memory_watch *watch)
{
    bole_iterator *iterator;
    assert_ok(bole_iterator_create(db, NULL, &iterator), NULL);
    uint64_t seen = 0, sum = 0, expected = 0;
    char last[KEY_BYTES] = { 0 };
    for (bool stands = bole_iterator_seek_first(iterator); stands; stands = bole_iterator_next(iterator)) {
        bole_slice key = bole_iterator_key(iterator);
        assert_int_equal(key.size, KEY_BYTES);
        assert_true(seen == 0 || memcmp(last, key.data, KEY_BYTES) < 0);
        memcpy(last, key.data, KEY_BYTES);
        uint64_t number;
        memcpy(&number, last + 8, 8);
        sum += mixed(number + 1);
        if (seen % 64 == 0) {
            char value[VALUE_BYTES];
            assert_memory_equal(bole_iterator_value(iterator).data, value_of(number, value).data,
                                VALUE_BYTES);
        }
        if (++seen % 65536 == 0)
            look(watch, db);
    }
    assert_int_equal(bole_iterator_status(iterator), BOLE_OK);
    bole_iterator_destroy(iterator);
    for (uint64_t i = 0; i < count; i++)
        expected += mixed(i + 1);
    assert_int_equal(seen, count);
    assert_true(sum == expected); /* each number once */
}

/* Goal: the limit holds for what the process makes resident, over load, reads, scan and reopen; every entry is there;
 * after a compaction the files are less than 1.2 times the bytes of keys and values. Above the limit 16 MiB are left
 * for what is no store: code pages, stacks of threads, the test itself. */
static void a_large_load_stays_within_the_limit(void **state)
{
    (void)state;
    uint64_t count = entry_count();
    memory_watch watch = { .before = resident(), .limit = (count > 1000000 ? 256 : 128) * MIB };
    test_directory directory = test_directory_make();
    const char *path = test_path(&directory, "store");
    bole_db *db = open_store(path, watch.limit);
    load(db, count, &watch);
    read_randomly(db, count, count / 20, &watch);
    scan_all(db, count, &watch);
    assert_ok(bole_close(db, NULL), NULL);

    db = open_store(path, watch.limit);
    read_randomly(db, count, count / 100, &watch);
    bole_error error = BOLE_ERROR_INIT;
    assert_ok(bole_compact(db, NULL, (bole_slice){ NULL, 0 }, (bole_slice){ NULL, 0 }, &error), &error);
    scan_all(db, count, &watch);
    bole_statistics statistics = BOLE_STATISTICS_INIT;
    assert_ok(bole_stats(db, &statistics, &error), &error);
    uint64_t bytes = 0;
    for (int level = 0; level < BOLE_LEVELS_MAX; level++)
        bytes += statistics.level_bytes[level];
    double space = (double)bytes / (double)(count * (KEY_BYTES + VALUE_BYTES));
    assert_ok(bole_close(db, NULL), NULL);
    const bole_statistics *at = &watch.statistics;
    print_message("at most: anonymous %" PRIu64 ", charged: memtables %" PRIu64 ", logs %" PRIu64
                  ", cache %" PRIu64 ", index %" PRIu64 ", pinned %" PRIu64 ", work %" PRIu64 " MiB\n",
                  watch.anonymous / MIB, at->memory_memtable / MIB, at->memory_log / MIB,
                  at->memory_cache / MIB, at->memory_index / MIB, at->memory_pinned / MIB,
                  at->memory_work / MIB);
    print_message("%" PRIu64 " entries: %" PRIu64 " MiB resident at most, limit %" PRIu64
                  " MiB; files %.3f times the data\n",
                  count, watch.most / MIB, watch.limit / MIB, space);
    assert_true(statistics.memory_used <= watch.limit);
    assert_true(space < 1.2);
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
    assert_true(watch.most <= watch.limit + 16 * MIB);
#endif
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_large_load_stays_within_the_limit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
