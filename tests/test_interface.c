/* SPDX-License-Identifier: MIT */
/* test_interface.c -- what the public calls refuse, and how: the status, and a story that a person can use. Every call
 * is given what it must not take, on a store that writes, on one that only reads, and in a child of fork. */
#include "test.h"

#include <bole/bole_inspect.h>
#include <bole/bole_vfs.h>
#include <sys/wait.h>

typedef struct fixture {
    bole_vfs *disk;
    bole_options options;
    bole_db *db;
    bole_error error;
} fixture;

static int set_up(void **state)
{
    fixture *f = calloc(1, sizeof *f);
    f->error = (bole_error)BOLE_ERROR_INIT;
    assert_ok(bole_vfs_memory_create(1, &f->disk), NULL);
    f->options = BOLE_OPTIONS_INIT;
    f->options.flags = BOLE_CREATE;
    f->options.vfs = f->disk;
    f->options.memory_limit = 16 << 20;
    f->options.memtable_bytes = 65536;
    assert_ok(bole_open("store", &f->options, &f->db, &f->error), &f->error);
    assert_ok(bole_put(f->db, NULL, BOLE_STR("key"), BOLE_STR("value")), NULL);
    *state = f;
    return 0;
}

static int tear_down(void **state)
{
    fixture *f = *state;
    assert_ok(bole_close(f->db, &f->error), &f->error);
    bole_vfs_destroy(f->disk);
    free(f);
    return 0;
}

/* Refused with `wanted`, and the story names `part`. */
static void refused(fixture *f, bole_status wanted, bole_status status, const char *part)
{
    assert_status(wanted, status, &f->error);
    if (strstr(f->error.message, part) == NULL)
        fail_msg("the story \"%s\" does not name \"%s\"", f->error.message, part);
    f->error = (bole_error)BOLE_ERROR_INIT;
}

static bole_status try_open(fixture *f, const char *path, const bole_options *options)
{
    bole_db *db = (bole_db *)f;
    bole_status status = bole_open(path, options, &db, &f->error);
    assert_null(db);
    return status;
}

static void an_open_refuses_what_it_cannot_serve(void **state)
{
    fixture *f = *state;
    bole_options o = f->options;
    refused(f, BOLE_INVALID, try_open(f, "", &o), "path");
    refused(f, BOLE_INVALID, try_open(f, NULL, &o), "path");
    refused(f, BOLE_LOCKED, try_open(f, "store", &o), "store");
    o.flags = BOLE_CREATE | BOLE_READ_ONLY;
    refused(f, BOLE_INVALID, try_open(f, "other", &o), "reading");
    o.flags = 1u << 20;
    refused(f, BOLE_INVALID, try_open(f, "other", &o), "flags");
    o.flags = 0;
    refused(f, BOLE_NO_STORE, try_open(f, "nowhere", &o), "nowhere");
    o.size = 4;
    refused(f, BOLE_INVALID, try_open(f, "store", &o), "bole_options");
    o.size = sizeof o + 8;
    refused(f, BOLE_INVALID, try_open(f, "store", &o), "bole_options");
    o = f->options;
    o.flags = BOLE_CREATE | BOLE_MUST_NOT_EXIST;
    refused(f, BOLE_EXISTS, try_open(f, "store", &o), "store");
    o.block_bytes = 7;
    refused(f, BOLE_INVALID, try_open(f, "other", &o), "block_bytes");
    char path[5000];
    memset(path, 'p', sizeof path - 1);
    path[sizeof path - 1] = '\0';
    o = f->options;
    assert_true(try_open(f, path, &o) != BOLE_OK);
    bole_file *file;
    assert_ok(f->disk->make_directory(f->disk, "full", NULL), NULL);
    assert_ok(f->disk->open(f->disk, "full/thesis.txt", BOLE_VFS_WRITE | BOLE_VFS_CREATE, &file, NULL), NULL);
    assert_ok(f->disk->close(file, NULL), NULL);
    refused(f, BOLE_INVALID, try_open(f, "full", &o), "thesis.txt");
    refused(f, BOLE_INVALID, try_open(f, "full/thesis.txt", &o), "directory");
    o.flags = 0;
    refused(f, BOLE_NO_STORE, try_open(f, "full", &o), "CURRENT");
}

static int by_length(void *context, bole_slice a, bole_slice b)
{
    (void)context, (void)a, (void)b;
    return 0;
}

static void a_comparator_must_be_one(void **state)
{
    fixture *f = *state;
    static const bole_comparator nameless = { .name = "", .compare = by_length };
    static const bole_comparator lame = { .name = "lame" };
    static const bole_comparator other = { .name = "other", .compare = by_length };
    bole_options o = f->options;
    bole_table *table;
    o.comparator = &nameless;
    assert_status(BOLE_INVALID, try_open(f, "other", &o), &f->error);
    o.comparator = &lame;
    assert_status(BOLE_INVALID, try_open(f, "another", &o), &f->error);
    refused(f, BOLE_INVALID, bole_table_create(f->db, "t", &other, &table, &f->error), "other");
    assert_null(table);
    assert_ok(bole_close(f->db, &f->error), &f->error);
    f->db = NULL;
    o.comparator = &other;
    refused(f, BOLE_COMPARATOR, try_open(f, "store", &o), "other");
    assert_ok(bole_open("store", &f->options, &f->db, &f->error), &f->error);
}

static void a_table_name_must_be_one(void **state)
{
    fixture *f = *state;
    char longest[257];
    memset(longest, 'n', sizeof longest - 1);
    longest[256] = '\0';
    const char *bad[] = { "",     longest,        "line\nbreak",      "\x7f",    "\xff\xfe",
                          "\xc3", "\xed\xa0\x80", "\xf5\x80\x80\x80", "\xe2\x82" };
    const char *good[] = { "caf\xc3\xa9", "\xe2\x82\xac", "\xf0\x9f\x8c\xb3", "a b", longest + 1 };
    bole_table *table;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        assert_status(BOLE_INVALID, bole_table_create(f->db, bad[i], NULL, &table, &f->error), &f->error);
        assert_null(table);
        assert_true(bole_table_open(f->db, bad[i], &table, &f->error) != BOLE_OK);
        assert_true(bole_table_drop(f->db, bad[i], &f->error) != BOLE_OK);
    }
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
        assert_ok(bole_table_create(f->db, good[i], NULL, &table, &f->error), &f->error);
        assert_string_equal(bole_table_name(table), good[i]);
        bole_table_close(table);
        refused(f, BOLE_EXISTS, bole_table_create(f->db, good[i], NULL, &table, &f->error), "exists");
        assert_ok(bole_table_drop(f->db, good[i], &f->error), &f->error);
        refused(f, BOLE_NOT_FOUND, bole_table_drop(f->db, good[i], &f->error), "no table");
    }
    refused(f, BOLE_INVALID, bole_table_drop(f->db, "default", &f->error), "default");
    refused(f, BOLE_EXISTS, bole_table_create(f->db, "default", NULL, &table, &f->error), "default");
    assert_ok(bole_table_open(f->db, "default", &table, &f->error), &f->error);
    bole_table_close(table);
}

static void what_belongs_to_another_store_is_refused(void **state)
{
    fixture *f = *state;
    bole_db *other;
    bole_table *table;
    bole_snapshot *snapshot;
    bole_iterator *iterator;
    bole_buffer value = BOLE_BUFFER_INIT;
    assert_ok(bole_open("other", &f->options, &other, &f->error), &f->error);
    assert_ok(bole_table_create(other, "t", NULL, &table, &f->error), &f->error);
    assert_ok(bole_snapshot_create(other, &snapshot, &f->error), &f->error);
    bole_read_options read = BOLE_READ_OPTIONS_INIT;
    read.error = &f->error;
    read.table = table;
    refused(f, BOLE_INVALID, bole_get(f->db, &read, BOLE_STR("key"), &value), "another store");
    refused(f, BOLE_INVALID, bole_iterator_create(f->db, &read, &iterator), "another store");
    read.table = NULL;
    read.snapshot = snapshot;
    refused(f, BOLE_INVALID, bole_exists(f->db, &read, BOLE_STR("key")), "another store");
    read.snapshot = NULL;
    read.flags = 64;
    refused(f, BOLE_INVALID, bole_get(f->db, &read, BOLE_STR("key"), &value), "flags");
    bole_write_options write = BOLE_WRITE_OPTIONS_INIT;
    write.error = &f->error;
    write.table = table;
    refused(f, BOLE_INVALID, bole_put(f->db, &write, BOLE_STR("key"), BOLE_STR("value")), "another store");
    assert_status(BOLE_BUSY, bole_close(other, &f->error), &f->error);
    bole_snapshot_destroy(snapshot);
    bole_table_close(table);
    assert_ok(bole_close(other, &f->error), &f->error);
    bole_buffer_free(&value);
}

static void sizes_have_limits(void **state)
{
    fixture *f = *state;
    uint8_t *large = calloc(1, BOLE_KEY_BYTES_MAX + 1);
    bole_buffer value = BOLE_BUFFER_INIT;
    bole_batch *batch;
    bole_write_options write = BOLE_WRITE_OPTIONS_INIT;
    write.error = &f->error;
    bole_slice too_long = BOLE_SLICE(large, BOLE_KEY_BYTES_MAX + 1);
    assert_status(BOLE_TOO_LARGE, bole_put(f->db, &write, too_long, BOLE_STR("")), &f->error);
    assert_status(BOLE_TOO_LARGE, bole_delete(f->db, &write, too_long), &f->error);
    assert_int_equal(bole_get(f->db, NULL, too_long, &value), BOLE_NOT_FOUND);
    assert_ok(bole_batch_create(&batch), NULL);
    assert_int_equal(bole_batch_put(batch, NULL, too_long, BOLE_STR("")), BOLE_TOO_LARGE);
    assert_int_equal(bole_batch_delete(batch, NULL, too_long), BOLE_TOO_LARGE);
    assert_int_equal(bole_batch_count(batch), 0);                          /* as before */
    assert_ok(bole_write(f->db, &write, batch), &f->error);                /* nothing, and that is fine */
    bole_slice huge = BOLE_SLICE(large, (size_t)BOLE_VALUE_BYTES_MAX + 1); /* its bytes are not looked at */
    assert_status(BOLE_TOO_LARGE, bole_put(f->db, &write, BOLE_STR("key"), huge), &f->error);
    free(large);
    size_t most = 8 << 20; /* a quarter of the memory and more */
    uint8_t *bytes = calloc(1, most);
    refused(f, BOLE_TOO_LARGE, bole_put(f->db, &write, BOLE_STR("key"), BOLE_SLICE(bytes, most)), "memory");
    assert_ok(bole_get(f->db, NULL, BOLE_STR("key"), &value), NULL);
    assert_int_equal(value.size, 5);
    free(bytes);
    bole_batch_destroy(batch);
    bole_buffer_free(&value);
}

static void a_reader_writes_nothing(void **state)
{
    fixture *f = *state;
    bole_db *reader;
    bole_table *table;
    bole_batch *batch;
    bole_options o = f->options;
    o.flags = BOLE_READ_ONLY;
    assert_ok(bole_open("store", &o, &reader, &f->error), &f->error);
    assert_ok(bole_batch_create(&batch), NULL);
    assert_ok(bole_batch_put(batch, NULL, BOLE_STR("key"), BOLE_STR("new")), NULL);
    bole_slice all = { NULL, 0 };
    const bole_status statuses[] = { bole_put(reader, NULL, BOLE_STR("key"), BOLE_STR("new")),
                                     bole_delete(reader, NULL, BOLE_STR("key")),
                                     bole_write(reader, NULL, batch),
                                     bole_flush(reader, &f->error),
                                     bole_compact(reader, NULL, all, all, &f->error),
                                     bole_table_create(reader, "t", NULL, &table, &f->error),
                                     bole_table_drop(reader, "t", &f->error),
                                     bole_checkpoint(reader, "copy", &f->error) };
    for (size_t i = 0; i < sizeof statuses / sizeof statuses[0]; i++)
        if (statuses[i] != BOLE_WRITE_REFUSED)
            fail_msg("call %zu of a reader gives %s", i, bole_status_name(statuses[i]));
    assert_ok(bole_exists(reader, NULL, BOLE_STR("key")), NULL);
    assert_ok(bole_sync(reader, &f->error), &f->error); /* there is nothing to sync */
    assert_ok(bole_refresh(reader, &f->error), &f->error);
    assert_status(BOLE_INVALID, bole_refresh(f->db, &f->error), &f->error);
    bole_batch_destroy(batch);
    assert_ok(bole_close(reader, &f->error), &f->error);
}

/* In the child of fork: every call says BOLE_FORKED, and closing is allowed. Returns 0 when all do. */
static int use_in_a_child(bole_db *db, bole_snapshot *snapshot, bole_iterator *iterator, bole_table *opened,
                          bole_view *held)
{
    bole_error error = BOLE_ERROR_INIT;
    bole_buffer value = BOLE_BUFFER_INIT;
    bole_view view = BOLE_VIEW_INIT;
    bole_batch *batch;
    bole_table *table;
    bole_iterator *another;
    bole_snapshot *second;
    bole_statistics statistics = BOLE_STATISTICS_INIT;
    bole_slice all = { NULL, 0 }, key = BOLE_STR("key");
    bole_status one;
    bole_inspect_store shown;
    uint64_t positives;
    if (bole_batch_create(&batch) != BOLE_OK || bole_batch_put(batch, NULL, key, key) != BOLE_OK)
        return 99;
    const bole_status statuses[] = { bole_put(db, NULL, key, key),
                                     bole_delete(db, NULL, key),
                                     bole_write(db, NULL, batch),
                                     bole_get(db, NULL, key, &value),
                                     bole_exists(db, NULL, key),
                                     bole_get_view(db, NULL, key, &view),
                                     bole_multi_get(db, NULL, 1, &key, &value, &one),
                                     bole_iterator_create(db, NULL, &another),
                                     bole_snapshot_create(db, &second, &error),
                                     bole_sync(db, &error),
                                     bole_flush(db, &error),
                                     bole_compact(db, NULL, all, all, &error),
                                     bole_wait_idle(db, &error),
                                     bole_checkpoint(db, "copy", &error),
                                     bole_table_create(db, "t", NULL, &table, &error),
                                     bole_table_open(db, "t", &table, &error),
                                     bole_table_drop(db, "t", &error),
                                     bole_configure(db, "level0_runs", "3", &error),
                                     bole_stats(db, &statistics, &error),
                                     bole_refresh(db, &error),
                                     bole_table_list(db, NULL, NULL, &error),
                                     bole_scrub_report(db, &error),
                                     bole_inspect_segments(db, NULL, NULL, &error),
                                     bole_inspect_filter(db, 1, 1, 1, &positives, &error),
                                     bole_inspect_blocks(db, 1, NULL, NULL, &error),
                                     bole_inspect_memtables(db, NULL, NULL, &error),
                                     bole_inspect_logs(db, NULL, NULL, &error),
                                     bole_inspect_files(db, NULL, NULL, &error),
                                     bole_inspect_settings(db, NULL, NULL, &error),
                                     bole_inspect_store_state(db, &shown, &error),
                                     bole_inspect_manifest(db, NULL, NULL, &error),
                                     bole_inspect_get(db, NULL, key, NULL, NULL, &error) };
    for (size_t i = 0; i < sizeof statuses / sizeof statuses[0]; i++)
        if (statuses[i] != BOLE_FORKED)
            return 1 + (int)i;
    if (bole_iterator_seek_first(iterator) || bole_iterator_status(iterator) != BOLE_FORKED)
        return 50;
    bole_iterator_destroy(iterator);
    bole_snapshot_destroy(snapshot);
    bole_batch_destroy(batch);
    bole_table_close(opened);
    bole_view_release(held);
    return bole_close(db, &error) == BOLE_OK ? 0 : 51;
}

static void a_child_is_told_that_it_is_one(void **state)
{
    fixture *f = *state;
    bole_snapshot *snapshot;
    bole_iterator *iterator;
    assert_ok(bole_snapshot_create(f->db, &snapshot, &f->error), &f->error);
    assert_ok(bole_iterator_create(f->db, NULL, &iterator), NULL);
    bole_table *table;
    bole_view held = BOLE_VIEW_INIT;
    assert_ok(bole_table_create(f->db, "held", NULL, &table, &f->error), &f->error);
    assert_ok(bole_put(f->db, NULL, BOLE_STR("held"), BOLE_STR("here")), NULL);
    assert_ok(bole_get_view(f->db, NULL, BOLE_STR("held"), &held), NULL);
    pid_t child = fork();
    if (child == 0)
        _exit(use_in_a_child(f->db, snapshot, iterator, table, &held));
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
    assert_memory_equal(held.value.data, "here", 4);
    bole_view_release(&held);
    bole_table_close(table);
    bole_iterator_destroy(iterator);
    bole_snapshot_destroy(snapshot);
    assert_ok(bole_put(f->db, NULL, BOLE_STR("after"), BOLE_STR("fork")), NULL);
}

/* Every setting can be given as text, and what it refuses is named. */
static void settings_are_taken_as_text(void **state)
{
    fixture *f = *state;
    static const char *const good[][2] = {
        { "memory_limit", "64MiB" },   { "memtable_bytes", "1MiB" },    { "segment_bytes", "1MiB" },
        { "block_bytes", "8KiB" },     { "filter_bits_per_key", "12" }, { "level0_runs", "5" },
        { "background_threads", "3" }, { "durability", "power" },       { "sync_interval_ms", "50" },
        { "compression", "zstd" },     { "compression_upper", "lz4" },  { "compression_level", "3" },
        { "map_logs", "no" },          { "open_files_max", "100" },     { "log_level", "error" },
        { "scrub_rate", "1MiB" },
    };
    bole_options o = BOLE_OPTIONS_INIT;
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++)
        assert_ok(bole_options_set(&o, good[i][0], good[i][1], &f->error), &f->error);
    assert_int_equal(o.memory_limit, 64 << 20);
    assert_int_equal(o.block_bytes, 8192);
    assert_int_equal(o.durability, BOLE_DURABILITY_POWER);
    assert_int_equal(o.compression, BOLE_COMPRESSION_ZSTD);
    assert_true((o.flags & BOLE_NO_SIGBUS_HANDLER) != 0);
    assert_ok(bole_options_set(&o, "map_logs", "yes", &f->error), &f->error);
    assert_true((o.flags & BOLE_NO_SIGBUS_HANDLER) == 0);
    assert_ok(bole_options_set(&o, "filter_bits_per_key", "0", &f->error), &f->error);
    assert_int_equal(o.filter_bits_per_key, UINT32_MAX);
    assert_int_equal(o.scrub_rate, 1 << 20);
    assert_ok(bole_options_set(&o, "reserve_bytes", "none", &f->error), &f->error);
    assert_true(o.reserve_bytes == UINT64_MAX);
    assert_ok(bole_options_set(&o, "entry_checksums", "on", &f->error), &f->error);
    assert_int_equal(o.entry_checksums, 1);
    assert_ok(bole_options_set(&o, "entry_checksums", "off", &f->error), &f->error);
    assert_int_equal(o.entry_checksums, UINT32_MAX);
    assert_ok(bole_options_set(&o, "reserve_bytes", "1MiB", &f->error), &f->error);
    assert_int_equal(o.reserve_bytes, 1 << 20);
    assert_ok(bole_options_set(&o, "large_value_bytes", "64KiB", &f->error), &f->error);
    assert_int_equal(o.large_value_bytes, 64 << 10);
    assert_ok(bole_options_set(&o, "large_value_bytes", "0", &f->error), &f->error);
    assert_true(o.large_value_bytes == UINT64_MAX);
    assert_ok(bole_options_set(&o, "direct_reads", "off", &f->error), &f->error);
    assert_int_equal(o.direct_reads, UINT32_MAX);
    assert_ok(bole_options_set(&o, "direct_writes", "on", &f->error), &f->error);
    assert_int_equal(o.direct_writes, 1);
    assert_ok(bole_options_set(&o, "direct_writes", "off", &f->error), &f->error);
    assert_int_equal(o.direct_writes, UINT32_MAX);
    assert_ok(bole_options_set(&o, "scrub_rate", "off", &f->error), &f->error);
    assert_true(o.scrub_rate == UINT64_MAX);
    refused(f, BOLE_INVALID, bole_options_set(&o, "memory_limits", "1MiB", &f->error), "memory_limit");
    refused(f, BOLE_INVALID, bole_options_set(&o, "block_bytes", "many", &f->error), "block_bytes");
    refused(f, BOLE_INVALID, bole_options_set(&o, "events_bytes", "1MiB", &f->error), "bole.conf");
    o.size = 8;
    refused(f, BOLE_INVALID, bole_options_set(&o, "block_bytes", "8KiB", &f->error), "bole_options");
    assert_ok(bole_configure(f->db, "level0_runs", "7", &f->error), &f->error);
    assert_true(bole_configure(f->db, "durability", "loud", &f->error) != BOLE_OK);
}

/* Reads in each form, from memtable and segment, also when the cache has no room to hold the block. */
static void reads_of_every_form_agree(void **state)
{
    fixture *f = *state;
    bole_slice keys[3] = { BOLE_STR("key"), BOLE_STR("gone"), BOLE_STR("other") };
    assert_ok(bole_put(f->db, NULL, keys[2], BOLE_STR("one")), NULL);
    assert_ok(bole_put(f->db, NULL, keys[1], BOLE_STR("two")), NULL);
    for (int flushed = 0; flushed < 2; flushed++) {
        assert_ok(bole_delete(f->db, NULL, keys[1]), NULL);
        if (flushed != 0)
            assert_ok(bole_flush(f->db, &f->error), &f->error);
        bole_buffer values[3] = { BOLE_BUFFER_INIT, BOLE_BUFFER_INIT, BOLE_BUFFER_INIT };
        bole_status statuses[3];
        bole_view view = BOLE_VIEW_INIT;
        assert_ok(bole_multi_get(f->db, NULL, 3, keys, values, statuses), NULL);
        for (int i = 0; i < 3; i++) {
            bole_status wanted = i == 1 ? BOLE_NOT_FOUND : BOLE_OK;
            assert_int_equal(statuses[i], wanted);
            assert_int_equal(bole_exists(f->db, NULL, keys[i]), wanted);
            assert_int_equal(bole_get_view(f->db, NULL, keys[i], &view), wanted);
            if (i != 1)
                assert_memory_equal(view.value.data, values[i].data, values[i].size);
            if (i == 0)
                assert_status(BOLE_BUSY, bole_close(f->db, &f->error), &f->error); /* a view lives */
            bole_view_release(&view);
            bole_view_release(&view); /* an empty one is allowed */
            bole_buffer_free(&values[i]);
        }
        assert_ok(bole_multi_get(f->db, NULL, 0, NULL, NULL, NULL), NULL);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(an_open_refuses_what_it_cannot_serve, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_comparator_must_be_one, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_table_name_must_be_one, set_up, tear_down),
        cmocka_unit_test_setup_teardown(what_belongs_to_another_store_is_refused, set_up, tear_down),
        cmocka_unit_test_setup_teardown(sizes_have_limits, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_reader_writes_nothing, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_child_is_told_that_it_is_one, set_up, tear_down),
        cmocka_unit_test_setup_teardown(settings_are_taken_as_text, set_up, tear_down),
        cmocka_unit_test_setup_teardown(reads_of_every_form_agree, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
