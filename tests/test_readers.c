/* SPDX-License-Identifier: MIT */
/* test_readers.c -- a process that reads beside one that writes: every view is a whole prefix of what was written,
 * views only move forward, and no call fails, whatever flush, merge and removal of files do meanwhile.
 *
 * Batch n sets a, b and z to n, and filler slot n % SLOTS to n and some bytes. So a view of prefix n is
 * known in full:
 * slot s holds the largest m <= n with m % SLOTS == s. BOLE_TEST_EFFORT multiplies the time. */
#include "test.h"

#include <sched.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>

enum {
    SLOTS = 400,
    FILLER_BYTES = 300,
    WRITE_MS = 1200, /* a test, at effort 1 */
    REFRESHES = 12,  /* between two opens */
};

typedef struct shared_page {
    _Atomic uint64_t acknowledged;
    _Atomic bool ended; /* the writer closed the store, or failed */
    char message[1024]; /* of the writer; "" when all went well */
} shared_page;

static uint64_t now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000u + (uint64_t)now.tv_nsec / 1000000u;
}

static uint64_t write_ms(void)
{
    const char *text = getenv("BOLE_TEST_EFFORT");
    uint64_t effort = text != NULL ? strtoull(text, NULL, 10) : 1;
    return WRITE_MS * (effort != 0 ? effort : 1);
}

static bole_slice slot_key(uint64_t slot, char out[16])
{
    int size = snprintf(out, 16, "f%05u", (unsigned)(slot % SLOTS));
    return BOLE_SLICE(out, (size_t)size);
}

/* ---- The process that writes ------------------------------------------------------------------------------ */

static bole_status write_batch(bole_db *db, bole_batch *batch, uint64_t number, bole_error *error)
{
    static const char *const names[] = { "a", "b", "z" };
    unsigned char filler[FILLER_BYTES];
    char key[16];
    bole_batch_clear(batch);
    bole_status status = BOLE_OK;
    for (unsigned i = 0; i < 3 && status == BOLE_OK; i++)
        status = bole_batch_put(batch, NULL, BOLE_SLICE(names[i], 1), BOLE_SLICE(&number, sizeof(number)));
    memset(filler, (int)(number % 251), sizeof(filler));
    memcpy(filler, &number, sizeof(number));
    if (status == BOLE_OK)
        status = bole_batch_put(batch, NULL, slot_key(number, key), BOLE_SLICE(filler, sizeof(filler)));
    bole_write_options write = BOLE_WRITE_OPTIONS_INIT;
    write.error = error;
    return status == BOLE_OK ? bole_write(db, &write, batch) : status;
}

static void writer_run(const char *path, uint32_t flags, shared_page *page)
{
    bole_options options = BOLE_OPTIONS_INIT;
    options.flags = BOLE_CREATE | flags;
    options.memory_limit = 32u << 20;
    options.memtable_bytes = 64u << 10;
    options.large_value_bytes = 16;
    options.segment_bytes = 64u << 10;
    options.level0_runs = 3;
    options.sync_interval_ms = 50;
    bole_error error = BOLE_ERROR_INIT;
    bole_db *db = NULL;
    bole_batch *batch = NULL;
    uint64_t number = 0;
    bole_status status = bole_open(path, &options, &db, &error);
    if (status == BOLE_OK)
        status = bole_batch_create(&batch);
    for (uint64_t until = now_ms() + write_ms(); status == BOLE_OK && now_ms() < until;) {
        status = write_batch(db, batch, ++number, &error);
        if (status == BOLE_OK)
            atomic_store(&page->acknowledged, number);
    }
    bole_batch_destroy(batch);
    if (status == BOLE_OK)
        status = bole_close(db, &error);
    if (status != BOLE_OK)
        snprintf(page->message, sizeof(page->message), "%s: %s", bole_status_name(status), error.message);
    atomic_store(&page->ended, true);
    _exit(status == BOLE_OK ? 0 : 1);
}

/* ---- The process that reads ------------------------------------------------------------------------------- */

/* The number at `key`; 0 when it is not there. */
static uint64_t read_number(bole_db *db, const char *key)
{
    bole_error error = BOLE_ERROR_INIT;
    bole_read_options read = BOLE_READ_OPTIONS_INIT;
    read.error = &error;
    bole_buffer value = BOLE_BUFFER_INIT;
    uint64_t number = 0;
    bole_status status = bole_get(db, &read, BOLE_SLICE(key, 1), &value);
    if (status != BOLE_NOT_FOUND) {
        assert_ok(status, &error);
        assert_int_equal(value.size, sizeof(number));
        memcpy(&number, value.data, sizeof(number));
    }
    bole_buffer_free(&value);
    return number;
}

/* The newest batch up to `number` that wrote `slot`; 0 when there was none. */
static uint64_t slot_writer(uint64_t slot, uint64_t number)
{
    uint64_t back = (number % SLOTS + SLOTS - slot) % SLOTS;
    return number > back ? number - back : 0;
}

static void check_scan(bole_db *db, uint64_t number)
{
    bole_error error = BOLE_ERROR_INIT;
    bole_read_options read = BOLE_READ_OPTIONS_INIT;
    read.error = &error;
    read.prefix = BOLE_STR("f");
    bole_iterator *iterator;
    assert_ok(bole_iterator_create(db, &read, &iterator), &error);
    bool there = bole_iterator_seek_first(iterator);
    for (uint64_t slot = 0; slot < SLOTS; slot++) {
        uint64_t writer = slot_writer(slot, number);
        if (writer == 0)
            continue;
        char name[16];
        bole_slice expected = slot_key(slot, name);
        assert_ok(bole_iterator_status(iterator), &error);
        assert_true(there);
        bole_slice key = bole_iterator_key(iterator);
        bole_slice value = bole_iterator_value(iterator);
        assert_int_equal(key.size, expected.size);
        assert_memory_equal(key.data, expected.data, key.size);
        assert_int_equal(value.size, FILLER_BYTES);
        uint64_t shown;
        memcpy(&shown, value.data, sizeof(shown));
        assert_int_equal(shown, writer);
        assert_int_equal(((const unsigned char *)value.data)[FILLER_BYTES - 1], writer % 251);
        there = bole_iterator_next(iterator);
    }
    assert_ok(bole_iterator_status(iterator), &error);
    assert_false(there);
    bole_iterator_destroy(iterator);
}

/* Returns the number of the prefix that the handle shows. */
static uint64_t check_view(bole_db *db, uint64_t number_before)
{
    uint64_t number = read_number(db, "a");
    assert_int_equal(read_number(db, "z"), number);
    check_scan(db, number);
    assert_int_equal(read_number(db, "b"), number);
    assert_in_range(number, number_before, UINT64_MAX);
    return number;
}

static void open_to_read(const char *path, bole_db **out)
{
    bole_error error = BOLE_ERROR_INIT;
    bole_options options = BOLE_OPTIONS_INIT;
    options.flags = BOLE_READ_ONLY;
    options.memory_limit = 32u << 20;
    assert_ok(bole_open(path, &options, out, &error), &error);
}

static void read_beside(const char *path, uint32_t writer_flags)
{
    bole_error error = BOLE_ERROR_INIT;
    shared_page *page = mmap(NULL, sizeof(*page), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    assert_true(page != MAP_FAILED);
    fflush(NULL);
    pid_t writer = fork();
    assert_true(writer >= 0);
    if (writer == 0)
        writer_run(path, writer_flags, page);
    while (atomic_load(&page->acknowledged) == 0 && !atomic_load(&page->ended))
        sched_yield();

    uint64_t number = 0;
    uint64_t views = 0;
    uint64_t moved = 0;
    while (!atomic_load(&page->ended)) {
        bole_db *db;
        open_to_read(path, &db);
        for (unsigned i = 0; i <= REFRESHES; i++) {
            uint64_t shown = check_view(db, number);
            moved += shown > number;
            number = shown;
            views++;
            assert_ok(bole_refresh(db, &error), &error);
        }
        assert_ok(bole_close(db, &error), &error);
    }

    int ended;
    assert_int_equal(waitpid(writer, &ended, 0), writer);
    if (page->message[0] != '\0')
        print_error("the writing process failed: %s\n", page->message);
    assert_true(WIFEXITED(ended) && WEXITSTATUS(ended) == 0);
    bole_db *db;
    open_to_read(path, &db);
    assert_int_equal(check_view(db, number), atomic_load(&page->acknowledged));
    assert_ok(bole_close(db, &error), &error);
    print_message("           %" PRIu64 " views of %" PRIu64 " batches, %" PRIu64
                  " newer than the one before\n",
                  views, atomic_load(&page->acknowledged), moved);
    assert_true(moved != 0);
    munmap(page, sizeof(*page));
}

/* ---- Tests ------------------------------------------------------------------------------------------------- */

/* Goal: consistent prefixes beside a writer with mapped logs. Method: open, refresh, compare with the known prefix. */
static void views_are_prefixes_with_mapped_logs(void **state)
{
    (void)state;
    test_directory directory = test_directory_make();
    read_beside(test_path(&directory, "store"), 0);
}

/* The same with logs that are written. */
static void views_are_prefixes_with_written_logs(void **state)
{
    (void)state;
    test_directory directory = test_directory_make();
    read_beside(test_path(&directory, "store"), BOLE_NO_SIGBUS_HANDLER);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(views_are_prefixes_with_mapped_logs),
        cmocka_unit_test(views_are_prefixes_with_written_logs),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
