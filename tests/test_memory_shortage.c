/* SPDX-License-Identifier: MIT */
/* test_memory_shortage.c -- every public call with every one of its allocations failing, one at a time. The call says
 * BOLE_NO_MEMORY and tells a story, or succeeds with what is right; nothing is lost, nothing leaks, and the same call
 * made again, with memory, succeeds. */
#include "test.h"

#include "base/alloc.h"

#include <bole/bole_vfs.h>
#include <bole/key_value_store.h>

enum { KEYS = 60, MORE_RUNS = 29 };

/* Stores of the same contents: as it comes; values apart, and checksums of entries; more runs than a spare iterator has
 * places for; all in one run that everybody sees whole. */
typedef enum shape { USUAL, APART, MANY_RUNS, COMPACTED, SHAPES } shape;
static shape made_as;

typedef struct world {
    bole_vfs *disk;
    bole_options options;
    bole_db *db;
    bole_table *table;
    bole_error error;
    bool dropped; /* the table "second" */
    uint64_t at;  /* the allocation that fails */
    bool failed;  /* it was made */
} world;

static void fail_no_more(world *w)
{
    w->failed |= bl_alloc_calls() > w->at;
    bl_alloc_fail_at(UINT64_MAX, 0);
    w->at = UINT64_MAX;
}

static bole_slice text(const char *from) { return (bole_slice){ from, strlen(from) }; }
static void name_key(char out[16], int i) { snprintf(out, 16, "key%03d", i); }
static bool is_deleted(int i) { return i % 7 == 3; }

/* Every key at two ages: 200 bytes so that blocks end, the newer one of some in the memtable. */
static void name_value(char out[256], int i)
{
    memset(out, 'a' + i % 26, 200);
    snprintf(out + 200, 56, " of %03d", i);
}

static void fill(world *w, bole_table *table)
{
    bole_write_options options = BOLE_WRITE_OPTIONS_INIT;
    options.table = table;
    char key[16], value[256];
    for (int round = 0; round < 3; round++) {
        for (int i = round; i < KEYS; i += round + 1) {
            name_key(key, i), name_value(value, i);
            assert_ok(bole_put(w->db, &options, text(key), round == 0 ? BOLE_STR("old") : text(value)), NULL);
            if (round == 0)
                assert_ok(bole_put(w->db, &options, text(key), text(value)), NULL);
            if (is_deleted(i))
                assert_ok(bole_delete(w->db, &options, text(key)), NULL);
        }
        if (round == 0)
            assert_ok(bole_compact(w->db, table, (bole_slice){ 0 }, (bole_slice){ 0 }, &w->error), &w->error);
        if (round == 1)
            assert_ok(bole_flush(w->db, &w->error), &w->error);
    }
}

static void make(world *w)
{
    *w = (world){ .options = BOLE_OPTIONS_INIT, .error = BOLE_ERROR_INIT };
    assert_ok(bole_vfs_memory_create(1, &w->disk), NULL);
    w->options.flags = BOLE_CREATE;
    w->options.vfs = w->disk;
    w->options.memory_limit = 4 << 20;
    w->options.memtable_bytes = 65536;
    w->options.block_bytes = 1024;
    w->options.simulation_seed = 7;
    if (made_as == APART) {
        w->options.large_value_bytes = 100;
        w->options.entry_checksums = 1;
    }
    if (made_as == MANY_RUNS)
        w->options.level0_runs = 32;
    assert_ok(bole_open("store", &w->options, &w->db, &w->error), &w->error);
    assert_ok(bole_table_create(w->db, "second", NULL, &w->table, &w->error), &w->error);
    fill(w, NULL);
    fill(w, w->table);
    bole_table_close(
        w->table); /* opened again: nothing is in the cache, the newest writes are recovered ones */
    assert_ok(bole_close(w->db, &w->error), &w->error);
    assert_ok(bole_open("store", &w->options, &w->db, &w->error), &w->error);
    assert_ok(bole_table_open(w->db, "second", &w->table, &w->error), &w->error);
    char key[16], value[256];
    name_key(key, 4), name_value(value, 4);
    for (int i = 0; i < MORE_RUNS && made_as == MANY_RUNS; i++) {
        assert_ok(bole_put(w->db, NULL, text(key), text(value)), NULL);
        assert_ok(bole_flush(w->db, &w->error), &w->error);
    }
    if (made_as == MANY_RUNS) {
        bole_statistics statistics = BOLE_STATISTICS_INIT;
        assert_ok(bole_stats(w->db, &statistics, &w->error), &w->error);
        assert_int_equal(statistics.level_runs[0],
                         33); /* two of the other table; with last level and memtable 33 */
        assert_ok(bole_put(w->db, NULL, text(key), text(value)), NULL);
    }
    if (made_as == COMPACTED)
        assert_ok(bole_compact(w->db, NULL, (bole_slice){ 0 }, (bole_slice){ 0 }, &w->error), &w->error);
}

static void check_key(world *w, bole_table *table, int i)
{
    char key[16], value[256];
    bole_buffer got = BOLE_BUFFER_INIT;
    bole_read_options options = BOLE_READ_OPTIONS_INIT;
    options.table = table;
    options.error = &w->error;
    name_key(key, i), name_value(value, i);
    bole_status status = bole_get(w->db, &options, text(key), &got);
    assert_status(is_deleted(i) ? BOLE_NOT_FOUND : BOLE_OK, status, &w->error);
    if (status == BOLE_OK) {
        assert_int_equal(got.size, strlen(value));
        assert_memory_equal(got.data, value, got.size);
    }
    bole_buffer_free(&got);
}

static void check_all(world *w)
{
    for (int i = 0; i < KEYS; i++) {
        check_key(w, NULL, i);
        if (!w->dropped)
            check_key(w, w->table, i);
    }
}

/* ---- the calls ---- */

static bole_status one_get(world *w, bole_slice key, int i)
{
    char value[256];
    name_value(value, i);
    bole_read_options options = BOLE_READ_OPTIONS_INIT;
    options.error = &w->error;
    bole_buffer got = BOLE_BUFFER_INIT;
    bole_status status = bole_get(w->db, &options, key, &got);
    if (status == BOLE_OK) {
        assert_int_equal(got.size, strlen(value));
        assert_memory_equal(got.data, value, got.size);
    }
    bole_buffer_free(&got);
    return status;
}

static bole_status get_from_memtable(world *w) { return one_get(w, BOLE_STR("key002"), 2); }
static bole_status get_from_segment(world *w) { return one_get(w, BOLE_STR("key004"), 4); }

static bole_status get_view(world *w)
{
    bole_view view = BOLE_VIEW_INIT;
    bole_read_options options = BOLE_READ_OPTIONS_INIT;
    options.error = &w->error;
    bole_status status = bole_get_view(w->db, &options, BOLE_STR("key004"), &view);
    if (status == BOLE_OK) {
        char value[256];
        name_value(value, 4);
        assert_int_equal(view.value.size, strlen(value));
        assert_memory_equal(view.value.data, value, view.value.size);
    }
    bole_view_release(&view);
    return status;
}

static bole_status multi_get(world *w)
{
    bole_slice keys[] = { BOLE_STR("key004"), BOLE_STR("key003"), BOLE_STR("key058"), BOLE_STR("none") };
    bole_buffer values[4] = { BOLE_BUFFER_INIT, BOLE_BUFFER_INIT, BOLE_BUFFER_INIT, BOLE_BUFFER_INIT };
    bole_status statuses[4];
    bole_read_options options = BOLE_READ_OPTIONS_INIT;
    options.error = &w->error;
    bole_status status = bole_multi_get(w->db, &options, 4, keys, values, statuses);
    bole_status first = BOLE_OK;
    for (int i = 0; i < 4; i++) {
        if (first == BOLE_OK && statuses[i] != BOLE_OK && statuses[i] != BOLE_NOT_FOUND)
            first = statuses[i];
        assert_true(i == 0 || i == 2 || statuses[i] != BOLE_OK);
        assert_true((i != 0 && i != 2) || statuses[i] != BOLE_NOT_FOUND);
        bole_buffer_free(&values[i]);
    }
    assert_int_equal(status, first);
    return status;
}

/* From `first` to the one below `end`, forward and back; what is deleted is not seen. */
static bole_status walk(world *w, bole_table *table, const char *lower, const char *upper, const char *prefix,
                        int first, int end)
{
    bole_read_options options = BOLE_READ_OPTIONS_INIT;
    options.table = table;
    options.error = &w->error;
    if (lower != NULL)
        options.lower_bound = text(lower);
    if (upper != NULL)
        options.upper_bound = text(upper);
    if (prefix != NULL)
        options.prefix = text(prefix);
    bole_iterator *iterator;
    bole_status status = bole_iterator_create(w->db, &options, &iterator);
    if (status != BOLE_OK)
        return status;
    char key[16], value[256];
    for (int way = 0; way < 2 && status == BOLE_OK; way++) {
        bool there = way == 0 ? bole_iterator_seek_first(iterator) : bole_iterator_seek_last(iterator);
        int i = way == 0 ? first : end - 1;
        for (; way == 0 ? i < end : i >= first; i += way == 0 ? 1 : -1) {
            if (is_deleted(i))
                continue;
            if (!there)
                break;
            name_key(key, i), name_value(value, i);
            assert_int_equal(bole_iterator_key(iterator).size, strlen(key));
            assert_memory_equal(bole_iterator_key(iterator).data, key, strlen(key));
            assert_int_equal(bole_iterator_value(iterator).size, strlen(value));
            assert_memory_equal(bole_iterator_value(iterator).data, value, strlen(value));
            there = way == 0 ? bole_iterator_next(iterator) : bole_iterator_prev(iterator);
        }
        status = bole_iterator_status(iterator);
        if (status == BOLE_OK) { /* the whole of it was seen, and no more */
            assert_int_equal(i, way == 0 ? end : first - 1);
            assert_false(there);
        } else {
            assert_false(bole_iterator_valid(iterator));
        }
    }
    if (status == BOLE_OK && bole_iterator_seek(iterator, BOLE_STR("key020")) &&
        !bole_iterator_prev(iterator))
        status = bole_iterator_status(iterator);
    if (status == BOLE_OK && bole_iterator_seek_for_prev(iterator, BOLE_STR("key020")) &&
        !bole_iterator_next(iterator))
        status = bole_iterator_status(iterator);
    bole_iterator_destroy(iterator);
    return status;
}

static bole_status walk_all(world *w) { return walk(w, NULL, NULL, NULL, NULL, 0, KEYS); }
static bole_status walk_bounds(world *w) { return walk(w, w->table, "key005", "key034", NULL, 5, 34); }
static bole_status walk_prefix(world *w) { return walk(w, NULL, NULL, NULL, "key02", 20, 30); }
static bole_status walk_prefix_in_bounds(world *w)
{
    return walk(w, NULL, "key022", "key5", "key02", 22, 30);
}

/* Iterators that turn with the first step, and that begin at what is deleted: they have no key to go back to yet. */
static bole_status walk_and_turn(world *w)
{
    static const char *const starts[] = { "key003", "key004", "key031", "key058" }; /* 3 and 31 are deleted */
    bole_status status = BOLE_OK;
    char key[16];
    for (int way = 0; way < 3 * 4 && status == BOLE_OK; way++) {
        bole_read_options options = BOLE_READ_OPTIONS_INIT;
        options.error = &w->error;
        bole_iterator *iterator;
        int at = way / 3 == 0 ? 3 : way / 3 == 1 ? 4 : way / 3 == 2 ? 31 : 58, first, second;
        bool there, turned = false;
        status = bole_iterator_create(w->db, &options, &iterator);
        if (status != BOLE_OK)
            break;
        if (way % 3 == 0) { /* forward, and back */
            there = bole_iterator_seek(iterator, text(starts[way / 3]));
            first = at + is_deleted(at);
            second = first - 1 - is_deleted(first - 1);
        } else if (way % 3 == 1) { /* back, and forward */
            there = bole_iterator_seek_for_prev(iterator, text(starts[way / 3]));
            first = at - is_deleted(at);
            second = first + 1 + is_deleted(first + 1);
        } else { /* twice forward */
            there = bole_iterator_seek(iterator, text(starts[way / 3]));
            first = at + is_deleted(at);
            second = first + 1 + is_deleted(first + 1);
        }
        if (there) {
            name_key(key, first);
            assert_memory_equal(bole_iterator_key(iterator).data, key, 6);
            turned = way % 3 == 0 ? bole_iterator_prev(iterator) : bole_iterator_next(iterator);
        }
        if (turned) {
            name_key(key, second);
            assert_memory_equal(bole_iterator_key(iterator).data, key, 6);
        }
        status = bole_iterator_status(iterator);
        assert_true(status != BOLE_OK || (there && turned == (second < KEYS)));
        bole_iterator_destroy(iterator);
    }
    return status;
}

/* A fresh iterator that begins at the end: it has no key to come from. */
static bole_status walk_back(world *w)
{
    bole_read_options options = BOLE_READ_OPTIONS_INIT;
    options.error = &w->error;
    bole_iterator *iterator;
    bole_status status = bole_iterator_create(w->db, &options, &iterator);
    if (status != BOLE_OK)
        return status;
    int i = KEYS - 1;
    for (bool there = bole_iterator_seek_last(iterator); there; there = bole_iterator_prev(iterator), i--) {
        char key[16], value[256];
        i -= is_deleted(i);
        name_key(key, i), name_value(value, i);
        assert_memory_equal(bole_iterator_key(iterator).data, key, 6);
        assert_memory_equal(bole_iterator_value(iterator).data, value, strlen(value));
    }
    status = bole_iterator_status(iterator);
    assert_true(status != BOLE_OK || i == -1);
    bole_iterator_destroy(iterator);
    return status;
}

static bole_status snapshot(world *w)
{
    bole_snapshot *held;
    bole_status status = bole_snapshot_create(w->db, &held, &w->error);
    if (status != BOLE_OK) {
        assert_null(held);
        return status;
    }
    static unsigned char turn;
    char fresh[16];
    snprintf(fresh, sizeof fresh, "value %d", ++turn);
    bole_write_options write = BOLE_WRITE_OPTIONS_INIT;
    write.error = &w->error;
    status = bole_put(w->db, &write, BOLE_STR("unseen"), text(fresh));
    if (status == BOLE_OK)
        status = bole_flush(w->db, &w->error);
    bole_read_options options = BOLE_READ_OPTIONS_INIT;
    options.snapshot = held;
    bole_buffer got = BOLE_BUFFER_INIT;
    bole_status read = bole_get(w->db, &options, BOLE_STR("unseen"), &got);
    assert_true(read == BOLE_NO_MEMORY || read == BOLE_NOT_FOUND ||
                (read == BOLE_OK && !(got.size == strlen(fresh) && memcmp(got.data, fresh, got.size) == 0)));
    bole_buffer_free(&got);
    bole_snapshot_destroy(held);
    return status;
}

static bole_status make_table(world *w)
{
    bole_table *table = NULL;
    bole_status status = bole_table_create(w->db, "third", NULL, &table, &w->error);
    if (status == BOLE_EXISTS) /* the try before got as far as the table, not to its handle */
        status = bole_table_open(w->db, "third", &table, &w->error);
    assert_int_equal(status == BOLE_OK, table != NULL);
    bole_table_close(table);
    return status;
}

static bole_status open_table(world *w)
{
    bole_table *table = NULL;
    bole_status status = bole_table_open(w->db, "second", &table, &w->error);
    bole_table_close(table);
    return status;
}

static bool count_table(void *context, const char *name)
{
    int *count = context;
    assert_string_equal(name, *count == 0 ? "default" : "second");
    ++*count;
    return true;
}

static bole_status list_tables(world *w)
{
    int count = 0;
    bole_status status = bole_table_list(w->db, count_table, &count, &w->error);
    assert_int_equal(count, status == BOLE_OK ? 2 : 0);
    return status;
}

static bole_status drop_table(world *w)
{
    bole_status status = bole_table_drop(w->db, "second", &w->error);
    /* NOT_FOUND when made again: it was dropped, and what failed was telling readers, who keep the list of before. */
    w->dropped |= status == BOLE_OK || (status == BOLE_NOT_FOUND && w->failed);
    return w->dropped ? BOLE_OK : status;
}

static bole_status write_batch(world *w)
{
    bole_batch *batch = NULL;
    char key[16], value[256];
    bole_status status = bole_batch_create(&batch);
    for (int i = 0; i < KEYS && status == BOLE_OK; i++) {
        name_key(key, i), name_value(value, i);
        status = is_deleted(i) ? bole_batch_delete(batch, w->table, text(key))
                               : bole_batch_put(batch, w->table, text(key), text(value));
        assert_int_equal(bole_batch_count(batch), i + (status == BOLE_OK));
    }
    bole_write_options options = BOLE_WRITE_OPTIONS_INIT;
    options.error = &w->error;
    options.durability = BOLE_DURABILITY_POWER;
    if (status == BOLE_OK)
        status = bole_write(w->db, &options, batch);
    else
        snprintf(w->error.message, sizeof w->error.message, "a batch has no story");
    bole_batch_destroy(batch);
    return status;
}

static bole_status flush(world *w) { return bole_flush(w->db, &w->error); }

static bole_status compact(world *w)
{
    return bole_compact(w->db, NULL, BOLE_STR("key010"), BOLE_STR("key040"), &w->error);
}

static bole_status configure(world *w)
{
    bole_status status = bole_configure(w->db, "memtable_bytes", "128KiB", &w->error);
    return status == BOLE_OK ? bole_configure(w->db, "memory_limit", "8MiB", &w->error) : status;
}

static bole_status checkpoint(world *w)
{
    bole_status status = bole_checkpoint(w->db, "copy", &w->error);
    bool is_directory;
    bole_status there = w->disk->exists(w->disk, "copy", &is_directory, NULL);
    if (there == BOLE_OK) { /* whole, or not there: CHECK-1 */
        fail_no_more(w);
        bole_options options = w->options;
        options.flags = BOLE_READ_ONLY;
        world copy = { .disk = w->disk, .error = BOLE_ERROR_INIT };
        assert_ok(bole_open("copy", &options, &copy.db, &copy.error), &copy.error);
        assert_ok(bole_table_open(copy.db, "second", &copy.table, &copy.error), &copy.error);
        check_all(&copy);
        bole_table_close(copy.table);
        assert_ok(bole_close(copy.db, &copy.error), &copy.error);
        if (status != BOLE_OK)
            assert_ok(bole_destroy("copy", &w->options, &w->error), &w->error);
    }
    return status;
}

/* The store is closed and opened; a close frees it whatever it says. */
static bole_status open_again(world *w)
{
    bole_status status = BOLE_OK;
    bole_table_close(w->table);
    w->table = NULL;
    if (w->db != NULL)
        status = bole_close(w->db, &w->error);
    w->db = NULL;
    bole_error error = BOLE_ERROR_INIT;
    bole_status opened = bole_open("store", &w->options, &w->db, &error);
    assert_int_equal(opened == BOLE_OK, w->db != NULL);
    if (opened == BOLE_OK)
        opened = bole_table_open(w->db, "second", &w->table, &error);
    if (opened != BOLE_OK)
        w->error = error;
    return status == BOLE_OK ? opened : status;
}

static bole_status read_only(world *w)
{
    bole_options options = w->options;
    options.flags = BOLE_READ_ONLY;
    bole_db *reader = NULL;
    bole_status status = bole_open("store", &options, &reader, &w->error);
    if (status != BOLE_OK) {
        assert_null(reader);
        return status;
    }
    char value[256];
    name_value(value, 4);
    static unsigned char turn;
    char fresh[16];
    snprintf(fresh, sizeof fresh, "value %d", ++turn);
    bole_snapshot *held = NULL;
    status = bole_snapshot_create(reader, &held, &w->error);
    bole_write_options write = BOLE_WRITE_OPTIONS_INIT;
    write.error = &w->error;
    if (status == BOLE_OK)
        status = bole_put(w->db, &write, BOLE_STR("fresh"), text(fresh));
    if (status == BOLE_OK)
        status = bole_refresh(reader, &w->error);
    if (status == BOLE_OK) { /* then it sees what was written before */
        bole_buffer seen = BOLE_BUFFER_INIT;
        bole_read_options now = BOLE_READ_OPTIONS_INIT;
        now.error = &w->error;
        status = bole_get(reader, &now, BOLE_STR("fresh"), &seen);
        assert_true(status == BOLE_NO_MEMORY || (status == BOLE_OK && seen.size == strlen(fresh) &&
                                                 memcmp(seen.data, fresh, seen.size) == 0));
        bole_buffer_free(&seen);
    }
    bole_read_options read = BOLE_READ_OPTIONS_INIT;
    read.snapshot = held;
    read.error = &w->error;
    bole_buffer got = BOLE_BUFFER_INIT;
    bole_status found = bole_get(reader, &read, BOLE_STR("key004"), &got);
    assert_true(found == BOLE_NO_MEMORY || (found == BOLE_OK && got.size == strlen(value)));
    bole_buffer_free(&got);
    bole_snapshot_destroy(held);
    assert_ok(bole_close(reader, NULL), NULL);
    return status == BOLE_OK ? found : status;
}

static void see(void *context, bole_slice value)
{
    char wanted[256];
    name_value(wanted, 4);
    assert_int_equal(value.size, strlen(wanted));
    assert_memory_equal(value.data, wanted, value.size);
    ++*(int *)context;
}

static void see_one(void *context, size_t index, bole_slice value)
{
    assert_int_equal(index, 7);
    see(context, value);
}

static bole_status through_the_interface(world *w)
{
    bole_key_value_store *store = NULL;
    bole_status status = bole_key_value_store_create(w->db, false, &store);
    if (status != BOLE_OK) {
        snprintf(w->error.message, sizeof w->error.message, "it has no story");
        return status;
    }
    const bole_key_value_methods *methods = store->methods;
    int seen = 0;
    char key[16], value[256];
    name_key(key, 4), name_value(value, 4);
    bole_key_value_operation operations[] = { { .key = text(key), .value = text(value) },
                                              { .key = BOLE_STR("key003"), .removes = true } };
    status = methods->write(store, operations, 2, false, &w->error);
    if (status == BOLE_OK)
        status = methods->get(store, BOLE_STR("key004"), see, &seen, &w->error);
    assert_int_equal(seen, status == BOLE_OK);
    bole_slice keys[20]; /* more than one group: at one moment */
    for (int i = 0; i < 20; i++)
        keys[i] = i == 7 ? text(key) : BOLE_STR("none");
    if (status == BOLE_OK)
        status = methods->get_many(store, keys, 20, see_one, &seen, &w->error);
    assert_true(seen == 1 + (status == BOLE_OK) || status != BOLE_OK);
    bole_key_value_cursor *cursor = NULL;
    if (status == BOLE_OK)
        status = methods->cursor_open(store, &cursor, &w->error);
    if (status == BOLE_OK && !methods->cursor_first(cursor)) {
        status = cursor->status;
        assert_int_not_equal(status, BOLE_OK); /* the store is not empty */
        snprintf(w->error.message, sizeof w->error.message, "a cursor's move has no story");
    }
    methods->cursor_close(cursor);
    assert_ok(methods->close(store, &w->error), &w->error);
    return status;
}

static bole_status destroy(world *w)
{
    bole_options options = w->options;
    bole_db *db = NULL;
    bole_status status = bole_open("other", &options, &db, &w->error);
    if (status != BOLE_OK) /* what stands there is a store or none: the next try goes on from it */
        return status;
    status = bole_close(db, &w->error);
    return status == BOLE_OK ? bole_destroy("other", &options, &w->error) : status;
}

/* ---- each of them, each allocation ---- */

typedef struct call {
    const char *name;
    bole_status (*run)(world *w);
} call;

static const call calls[] = {
    { "get, memtable", get_from_memtable },
    { "get, segment", get_from_segment },
    { "get_view", get_view },
    { "multi_get", multi_get },
    { "iterator", walk_all },
    { "iterator, bounds", walk_bounds },
    { "iterator, prefix", walk_prefix },
    { "iterator, prefix in bounds", walk_prefix_in_bounds },
    { "iterator, turned", walk_and_turn },
    { "iterator, from the end", walk_back },
    { "snapshot", snapshot },
    { "table_create", make_table },
    { "table_open", open_table },
    { "table_list", list_tables },
    { "table_drop", drop_table },
    { "write", write_batch },
    { "flush", flush },
    { "compact", compact },
    { "configure", configure },
    { "checkpoint", checkpoint },
    { "close and open", open_again },
    { "read-only handle", read_only },
    { "key-value-store interface", through_the_interface },
    { "create and destroy", destroy },
};

enum { READS = 10 }; /* the first of them, which write nothing */

/* The call on a store of its own with allocation `at` failing; false when it made no more than `at`. After a failure in
 * the middle of a rotation the store may ask to be opened again (BOLE_FAILED): that is counted. */
static bool run_one(const call *one, uint64_t at, unsigned *opened_again)
{
    int64_t live = bl_alloc_live();
    world w;
    make(&w);
    w.at = at;
    bl_alloc_fail_at(at, 1);
    bole_status status = one->run(&w);
    fail_no_more(&w);
    if (status != BOLE_OK) {
        if (!w.failed || (status != BOLE_NO_MEMORY && status != BOLE_IN_DOUBT) || w.error.message[0] == '\0')
            fail_msg("%s, allocation %" PRIu64 ": %s, \"%s\"", one->name, at, bole_status_name(status),
                     w.error.message);
        w.error = (bole_error)BOLE_ERROR_INIT;
        status = one->run(&w);
        if (status ==
            BOLE_NO_MEMORY) { /* a flush that failed is told until it was tried again, seconds later */
            for (int i = 0; i < 20000 && bole_wait_idle(w.db, &w.error) != BOLE_OK; i++)
                bole_vfs_memory_advance(w.disk, 10 * 1000000);
            status = one->run(&w);
        }
        if (status == BOLE_FAILED) {
            (void)open_again(&w); /* the close says that not all was flushed; the logs have it */
            ++*opened_again;
            status = one->run(&w);
        }
        if (status != BOLE_OK)
            fail_msg("%s again, after allocation %" PRIu64 " failed: %s, \"%s\"", one->name, at,
                     bole_status_name(status), w.error.message);
    }
    check_all(&w);
    bole_table_close(w.table);
    status = bole_close(w.db, &w.error);
    if (status == BOLE_FAILED && w.failed) { /* what could not be flushed is in the logs */
        assert_ok(bole_open("store", &w.options, &w.db, &w.error), &w.error);
        w.table = NULL;
        if (!w.dropped)
            assert_ok(bole_table_open(w.db, "second", &w.table, &w.error), &w.error);
        check_all(&w);
        bole_table_close(w.table);
        status = bole_close(w.db, &w.error);
        ++*opened_again;
    }
    assert_ok(status, &w.error);
    bole_vfs_destroy(w.disk);
    if (bl_alloc_live() != live)
        fail_msg("%s, allocation %" PRIu64 ": %" PRIi64 " allocations were not freed", one->name, at,
                 bl_alloc_live() - live);
    return w.failed;
}

static void each_call_without_memory(void **state)
{
    (void)state;
    for (made_as = USUAL; made_as < SHAPES; made_as++)
        for (size_t i = 0; i < sizeof calls / sizeof calls[0]; i++) {
            uint64_t at = 0;
            unsigned opened_again = 0;
            bool reads = i < READS || calls[i].run == compact;
            if (made_as > APART && !reads)
                continue;
            /* All of the first allocations, which are those of the call itself; of the jobs behind it one in nine, or
             * in 31. */
            while (run_one(&calls[i], at, &opened_again))
                at += TEST_STEP * (at < (made_as == USUAL ? 120 : 60) ? 1 : made_as == USUAL ? 9 : 31);
            print_message("[          ] %d, %s: %" PRIu64 " allocations, %u times opened again\n",
                          (int)made_as, calls[i].name, at, opened_again);
        }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_call_without_memory),
    };
    return cmocka_run_group_tests_name("memory_shortage", tests, NULL, NULL);
}
