/* SPDX-License-Identifier: MIT */
/* test_stats.c -- the counters of bole_stats are those of the calls that were made, also from many threads. */
#include "test.h"

#include <pthread.h>

enum { KEYS = 1000, THREADS = 80, GETS = 2000 }; /* more threads than counters have stripes of their own */

static bole_slice key_of(int number, char out[16])
{
    return BOLE_SLICE(out, (size_t)snprintf(out, 16, "key%05d", number % 100000));
}

static bole_db *open_filled(const test_directory *directory)
{
    bole_options options = BOLE_OPTIONS_INIT;
    options.flags = BOLE_CREATE;
    bole_error error = BOLE_ERROR_INIT;
    bole_db *db;
    assert_ok(bole_open(test_path(directory, "store"), &options, &db, &error), &error);
    for (int i = 0; i < KEYS; i++) {
        char key[16];
        assert_ok(bole_put(db, NULL, key_of(i, key), BOLE_STR("value")), NULL);
    }
    return db;
}

static bole_statistics stats_of(bole_db *db)
{
    bole_statistics statistics = BOLE_STATISTICS_INIT;
    assert_ok(bole_stats(db, &statistics, NULL), NULL);
    return statistics;
}

/* Goal: each kind of call has its counter and, where one is promised, its latency (one call in 64). */
static void every_call_is_counted(void **state)
{
    (void)state;
    test_directory directory = test_directory_make();
    bole_db *db = open_filled(&directory);
    char key[16];
    bole_buffer value = BOLE_BUFFER_INIT;
    for (int i = 0; i < 100; i++)
        assert_ok(bole_delete(db, NULL, key_of(i, key)), NULL);
    for (int i = 0; i < 500; i++)
        assert_status(i < 100 ? BOLE_NOT_FOUND : BOLE_OK, bole_get(db, NULL, key_of(i, key), &value), NULL);
    assert_ok(bole_flush(db, NULL), NULL);
    for (int i = 100; i < 200; i++) {
        bole_view view;
        assert_ok(bole_get_view(db, NULL, key_of(i, key), &view), NULL);
        bole_view_release(&view);
    }
    bole_slice two[2] = { BOLE_STR("key00300"), BOLE_STR("none") };
    bole_buffer values[2] = { BOLE_BUFFER_INIT, BOLE_BUFFER_INIT };
    bole_status statuses[2];
    assert_ok(bole_multi_get(db, NULL, 2, two, values, statuses), NULL);
    bole_iterator *iterator;
    assert_ok(bole_iterator_create(db, NULL, &iterator), NULL);
    for (int i = 0; i < 200; i++)
        assert_true(bole_iterator_seek(iterator, key_of(200 + i, key)));
    for (int i = 0; i < 50; i++)
        assert_true(bole_iterator_next(iterator));
    assert_true(bole_iterator_seek_last(iterator));
    bole_iterator_destroy(iterator);

    bole_statistics seen = stats_of(db);
    assert_int_equal(seen.puts, KEYS);
    assert_int_equal(seen.deletes, 100);
    assert_int_equal(seen.gets, 500 + 100 + 2);
    assert_int_equal(seen.get_memtable_hits, 400);
    assert_int_equal(seen.get_hits, 400 + 100 + 1); /* those in memtables among them */
    assert_int_equal(seen.multi_gets, 1);
    assert_int_equal(seen.seeks, 201);
    assert_int_equal(seen.nexts, 50);
    assert_int_equal(seen.iterators, 0);
    assert_int_equal(seen.user_bytes_written, KEYS * (8 + 5) + 100 * 8);
    assert_in_range(seen.put_latency.count, KEYS / 64, KEYS / 64 + 1);
    assert_in_range(seen.get_latency.count, 600 / 64, 600 / 64 + 1);
    assert_in_range(seen.seek_latency.count, 201 / 64, 201 / 64 + 1);
    assert_true(seen.seek_latency.max >= seen.seek_latency.p50 && seen.seek_latency.p50 > 0);
    bole_buffer_free(&value);
    bole_buffer_free(&values[0]);
    bole_buffer_free(&values[1]);
    assert_ok(bole_close(db, NULL), NULL); /* every view was released, and so it was counted */
}

static void *get_often(void *argument)
{
    bole_db *db = argument;
    for (int i = 0; i < GETS; i++) {
        char key[16];
        bole_view view;
        if (bole_get_view(db, NULL, key_of(i % KEYS, key), &view) != BOLE_OK)
            return db;
        bole_view_release(&view);
        if (i % 100 != 0)
            continue;
        bole_iterator *iterator; /* its memory is the last one's of a thread of this stripe */
        if (bole_iterator_create(db, NULL, &iterator) != BOLE_OK)
            return db;
        bool found = bole_iterator_seek(iterator, key_of(i % KEYS, key)) && bole_iterator_next(iterator);
        bole_iterator_destroy(iterator);
        if (!found)
            return db;
    }
    return NULL;
}

/* Goal: no count is lost where threads share a stripe, and none where they do not; nor is the memory of an iterator
 * ever two threads'. */
static void counts_of_many_threads_are_exact(void **state)
{
    (void)state;
    test_directory directory = test_directory_make();
    bole_db *db = open_filled(&directory);
    pthread_t threads[THREADS];
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, get_often, db), 0);
    for (int i = 0; i < THREADS; i++) {
        void *failed;
        assert_int_equal(pthread_join(threads[i], &failed), 0);
        assert_null(failed);
    }
    bole_statistics seen = stats_of(db);
    assert_int_equal(seen.gets, THREADS * GETS);
    assert_int_equal(seen.get_memtable_hits, THREADS * GETS);
    assert_int_equal(seen.nexts, THREADS * (GETS / 100));
    assert_int_equal(seen.iterators, 0);
    assert_ok(bole_close(db, NULL), NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_call_is_counted),
        cmocka_unit_test(counts_of_many_threads_are_exact),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
