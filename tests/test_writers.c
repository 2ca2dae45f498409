/* SPDX-License-Identifier: MIT */
/* test_writers.c -- many threads write and read one store: groups form, nothing is written twice, torn, out of order.
 *
 * Writer i writes batches that put n under a key of its own and (i, n) under a key of all. So whatever moment a reader
 * holds: when the key of all says (i, n), writer i's own key says n, neither less (a torn batch) nor more (order); and
 * no reader ever sees a counter go back. Meanwhile memtables are rotated, flushed and merged, and now and then the
 * power is cut on a copy of the disk: the store that comes back says the same, and knows every write that was
 * acknowledged as durable before the cut. BOLE_TEST_EFFORT (default 1) multiplies the rounds. */
#include "test.h"

#include <bole/bole_vfs.h>
#include <pthread.h>
#include <stdatomic.h>

#if defined(BL_THREAD_SANITIZER) || defined(BL_ADDRESS_SANITIZER)
enum { WRITES = 600 };
#else
enum { WRITES = 3000 };
#endif
enum { WRITERS = 4, READERS = 2, CUTS = 12 };

typedef struct mark { /* the value of the key of all */
    uint32_t writer, n;
} mark;

typedef struct world {
    bole_vfs *disk;
    bole_db *db;
    uint32_t writes;
    _Atomic uint32_t durable[WRITERS]; /* acknowledged as such */
    _Atomic uint32_t at_work;
    _Atomic uint32_t wrong; /* line of the first complaint */
} world;

typedef struct worker {
    world *w;
    uint32_t number;
    pthread_t thread;
} worker;

#define must_hold(w, condition)                                           \
    do {                                                                  \
        uint32_t none = 0;                                                \
        if (!(condition))                                                 \
            atomic_compare_exchange_strong(&(w)->wrong, &none, __LINE__); \
    } while (0)

static void *write_many(void *argument)
{
    worker *me = argument;
    world *w = me->w;
    uint8_t fill[120] = { 0 };
    char key[8];
    bole_slice own = BOLE_SLICE(key, (size_t)snprintf(key, sizeof key, "w%u", me->number));
    bole_batch *batch;
    must_hold(w, bole_batch_create(&batch) == BOLE_OK);
    for (uint32_t n = 1; n <= w->writes; n++) {
        bole_write_options options = BOLE_WRITE_OPTIONS_INIT;
        bool power = me->number % 2 == 0 && n % 4 == 0;
        mark m = { me->number, n };
        options.durability = power ? BOLE_DURABILITY_POWER : BOLE_DURABILITY_PROCESS;
        bole_batch_clear(batch);
        must_hold(w, bole_batch_put(batch, NULL, own, BOLE_SLICE(&n, sizeof n)) == BOLE_OK);
        must_hold(w, bole_batch_put(batch, NULL, BOLE_STR("all"), BOLE_SLICE(&m, sizeof m)) == BOLE_OK);
        must_hold(w, bole_write(w->db, &options, batch) == BOLE_OK);
        if (power)
            atomic_store(&w->durable[me->number], n);
        options.durability = BOLE_DURABILITY_PROCESS;
        must_hold(w, bole_put(w->db, &options, BOLE_SLICE(&m, sizeof m), BOLE_SLICE(fill, sizeof fill)) ==
                         BOLE_OK);
    }
    bole_batch_destroy(batch);
    atomic_fetch_sub(&w->at_work, 1);
    return NULL;
}

/* One moment of the store; `seen` are the counters of an earlier one. */
static void check_moment(world *w, bole_db *db, const bole_snapshot *snapshot, uint32_t seen[WRITERS])
{
    bole_read_options options = BOLE_READ_OPTIONS_INIT;
    bole_buffer value = BOLE_BUFFER_INIT;
    mark m = { 0 };
    uint32_t now[WRITERS] = { 0 };
    options.snapshot = snapshot;
    bole_status status = bole_get(db, &options, BOLE_STR("all"), &value);
    must_hold(w, status == BOLE_OK || status == BOLE_NOT_FOUND);
    if (status == BOLE_OK)
        memcpy(&m, value.data, sizeof m);
    for (uint32_t i = 0; i < WRITERS; i++) {
        char key[8];
        bole_slice own = BOLE_SLICE(key, (size_t)snprintf(key, sizeof key, "w%u", i));
        status = bole_get(db, &options, own, &value);
        must_hold(w, status == BOLE_OK || status == BOLE_NOT_FOUND);
        if (status == BOLE_OK)
            memcpy(&now[i], value.data, sizeof now[i]);
        must_hold(w, now[i] >= seen[i]);
        seen[i] = now[i];
    }
    must_hold(w, m.n == 0 || now[m.writer] == m.n);
    bole_buffer_free(&value);
}

static void *read_many(void *argument)
{
    worker *me = argument;
    world *w = me->w;
    uint32_t seen[WRITERS] = { 0 };
    while (atomic_load(&w->at_work) > 0) {
        bole_snapshot *snapshot;
        bole_error error = BOLE_ERROR_INIT;
        must_hold(w, bole_snapshot_create(w->db, &snapshot, &error) == BOLE_OK);
        check_moment(w, w->db, snapshot, seen);
        bole_snapshot_destroy(snapshot);
    }
    return NULL;
}

static bole_options options_for(bole_vfs *disk, uint32_t round)
{
    bole_options options = BOLE_OPTIONS_INIT;
    options.flags = BOLE_CREATE | (round % 2 != 0 ? BOLE_NO_SIGBUS_HANDLER : 0);
    options.vfs = disk;
    options.memory_limit = 32 << 20;
    options.memtable_bytes = 65536;
    options.large_value_bytes = round % 2 == 0 ? 8 : 4096;
    options.segment_bytes = 65536;
    options.level0_runs = 2;
    options.background_threads = 1 + round % 3;
    return options;
}

/* The power is cut on a copy of the disk, while everybody writes. */
static void cut_and_look(world *w, uint32_t round, uint32_t cut)
{
    uint32_t durable[WRITERS], seen[WRITERS] = { 0 };
    bole_vfs *survived;
    bole_db *db;
    bole_error error = BOLE_ERROR_INIT;
    for (uint32_t i = 0; i < WRITERS; i++)
        durable[i] = atomic_load(&w->durable[i]);
    assert_ok(bole_vfs_memory_crash(w->disk, (bole_crash_mode)(cut % 4), round * 100 + cut, &survived), NULL);
    bole_options options = options_for(survived, round);
    assert_ok(bole_open("store", &options, &db, &error), &error);
    check_moment(w, db, NULL, seen);
    for (uint32_t i = 0; i < WRITERS; i++)
        if (seen[i] < durable[i])
            fail_msg("round %u, cut %u: writer %u had %u durable, and %u came back", round, cut, i,
                     durable[i], seen[i]);
    assert_ok(bole_close(db, &error), &error);
    bole_vfs_destroy(survived);
}

static void one_round(uint32_t round, uint32_t writes)
{
    world *w = calloc(1, sizeof *w);
    worker workers[WRITERS + READERS];
    bole_error error = BOLE_ERROR_INIT;
    assert_ok(bole_vfs_memory_create(round, &w->disk), NULL);
    bole_options options = options_for(w->disk, round);
    assert_ok(bole_open("store", &options, &w->db, &error), &error);
    w->writes = writes;
    atomic_init(&w->at_work, WRITERS);
    for (uint32_t i = 0; i < WRITERS + READERS; i++) {
        workers[i] = (worker){ .w = w, .number = i };
        assert_int_equal(pthread_create(&workers[i].thread, NULL, i < WRITERS ? write_many : read_many,
                                        &workers[i]),
                         0);
    }
    for (uint32_t cut = 0; cut < CUTS && atomic_load(&w->at_work) > 0; cut++)
        cut_and_look(w, round, cut);
    for (uint32_t i = 0; i < WRITERS + READERS; i++)
        assert_int_equal(pthread_join(workers[i].thread, NULL), 0);
    if (atomic_load(&w->wrong) != 0)
        fail_msg("round %u: what must hold at line %u does not", round, atomic_load(&w->wrong));
    uint32_t seen[WRITERS] = { 0 };
    bole_buffer value = BOLE_BUFFER_INIT;
    for (int again = 0; again < 2; again++) {
        check_moment(w, w->db, NULL, seen);
        for (uint32_t i = 0; i < WRITERS; i++) {
            assert_int_equal(seen[i], writes);
            for (uint32_t n = 1; n <= writes; n += 7) {
                mark m = { i, n };
                assert_ok(bole_get(w->db, NULL, BOLE_SLICE(&m, sizeof m), &value), NULL);
            }
        }
        assert_ok(bole_close(w->db, &error), &error);
        assert_ok(bole_open("store", &options, &w->db, &error), &error);
    }
    assert_int_equal(atomic_load(&w->wrong), 0);
    assert_ok(bole_close(w->db, &error), &error);
    bole_buffer_free(&value);
    bole_vfs_destroy(w->disk);
    free(w);
}

/* Goal: see the top of the file. */
static void many_writers_are_one_after_the_other(void **state)
{
    (void)state;
    const char *text = getenv("BOLE_TEST_EFFORT");
    uint32_t effort = text != NULL ? (uint32_t)strtoul(text, NULL, 10) : 1;
    for (uint32_t round = 1; round <= 3 * (effort != 0 ? effort : 1); round++)
        one_round(round, WRITES);
}

/* Goal: a close that rotates and the background's sync, which marks in the log what it synced, keep out of each other's
 * way. ThreadSanitizer judges; a sync every millisecond, so that some close meets one. */
static void a_close_meets_the_sync_of_the_background(void **state)
{
    (void)state;
    enum { ROUNDS = 40, PUTS = 3000 };
    bole_vfs *disk = NULL;
    bole_error error = BOLE_ERROR_INIT;
    assert_ok(bole_vfs_memory_create(1, &disk), NULL);
    char value[1000] = { 0 };
    for (uint32_t round = 0; round < ROUNDS; round++) {
        bole_options options = BOLE_OPTIONS_INIT;
        options.flags = BOLE_CREATE;
        options.vfs = disk;
        options.sync_interval_ms = 1;
        bole_db *db;
        assert_ok(bole_open("/close", &options, &db, &error), &error);
        for (uint32_t i = 0; i < PUTS; i++)
            assert_ok(bole_put(db, NULL, BOLE_SLICE(&i, sizeof i), BOLE_SLICE(value, sizeof value)), NULL);
        assert_ok(bole_close(db, &error), &error);
    }
    bole_vfs_destroy(disk);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(many_writers_are_one_after_the_other),
        cmocka_unit_test(a_close_meets_the_sync_of_the_background),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
