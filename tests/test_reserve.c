/* SPDX-License-Identifier: MIT */
/* test_reserve.c -- room that is kept for a full disk: made behind the first write, given up at its end, made again.
 *
 * On a disk in memory with a limit, under the simulated scheduler. Many levels of space: test_full_disk.c. */
#include "test.h"

#include <bole/bole_vfs.h>

#include "engine/log_structured_store.h"

#include <errno.h>

enum { STEPS_MAX = 100000 };

typedef struct fixture {
    bole_vfs *disk;
    bole_db *db;
    bole_error error;
    uint32_t used, made, not_made; /* events */
} fixture;

static void note_event(void *context, bole_log_level level, const char *json, size_t size)
{
    fixture *f = context;
    (void)level;
    f->used += memmem(json, size, "\"reserve_used\"", 14) != NULL;
    f->made += memmem(json, size, "\"reserve_made\"", 14) != NULL;
    f->not_made += memmem(json, size, "\"reserve_not_made\"", 18) != NULL;
}

static bole_options options_of(fixture *f)
{
    bole_options options = BOLE_OPTIONS_INIT;
    options.flags = BOLE_CREATE;
    options.vfs = f->disk;
    options.simulation_seed = 3;
    options.memory_limit = 16 << 20;
    options.memtable_bytes = 65536;
    options.segment_bytes = 32768;
    options.log_callback = note_event;
    options.log_context = f;
    return options;
}

static void open_store(fixture *f, uint64_t reserve_bytes)
{
    bole_options options = options_of(f);
    options.reserve_bytes = reserve_bytes;
    assert_ok(bole_open("store", &options, &f->db, &f->error), &f->error);
}

static void close_store(fixture *f)
{
    assert_ok(bole_close(f->db, &f->error), &f->error);
    f->db = NULL;
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
    bole_vfs_memory_capacity(f->disk, UINT64_MAX);
    if (f->db != NULL)
        close_store(f);
    bole_vfs_destroy(f->disk);
    free(f);
    return 0;
}

static bole_statistics stats_of(fixture *f)
{
    bole_statistics stats = BOLE_STATISTICS_INIT;
    assert_ok(bole_stats(f->db, &stats, &f->error), &f->error);
    return stats;
}

static void wait_until_kept(fixture *f, bool kept)
{
    for (uint32_t i = 0; (stats_of(f).reserve_bytes > 0) != kept; i++) {
        assert_true(i < STEPS_MAX);
        bole_vfs_memory_advance(f->disk, 1000);
    }
}

static bole_status put(fixture *f, uint32_t i)
{
    char key[16], value[600];
    bole_write_options options = BOLE_WRITE_OPTIONS_INIT;
    options.error = &f->error;
    memset(value, 'a' + (int)(i % 26), sizeof value);
    int size = snprintf(key, sizeof key, "key %06u", i);
    return bole_put(f->db, &options, BOLE_SLICE(key, (size_t)size), BOLE_SLICE(value, sizeof value));
}

static bole_status delete (fixture *f, uint32_t i)
{
    char key[16];
    bole_write_options options = BOLE_WRITE_OPTIONS_INIT;
    options.error = &f->error;
    int size = snprintf(key, sizeof key, "key %06u", i);
    return bole_delete(f->db, &options, BOLE_SLICE(key, (size_t)size));
}

/* 0 when there is none. */
static uint64_t length_of(fixture *f, const char *path)
{
    bole_file *file;
    uint64_t length;
    bole_status status = f->disk->open(f->disk, path, BOLE_VFS_READ, &file, NULL);
    if (status == BOLE_NOT_FOUND)
        return 0;
    assert_ok(status, NULL);
    assert_ok(f->disk->length(file, &length, NULL), NULL);
    assert_ok(f->disk->close(file, NULL), NULL);
    return length;
}

static uint64_t used_bytes(fixture *f)
{
    const uint64_t whole = UINT64_C(1) << 40;
    uint64_t left;
    bole_vfs_memory_capacity(f->disk, whole);
    assert_ok(f->disk->free_bytes(f->disk, "store", &left, NULL), NULL);
    bole_vfs_memory_capacity(f->disk, UINT64_MAX);
    return whole - left;
}

/* The reserve is there, the disk has `more` bytes; put until a put is refused. How many went through. */
static uint32_t fill_disk(fixture *f, uint64_t more, uint32_t from)
{
    assert_ok(put(f, from), &f->error);
    wait_until_kept(f, true);
    bole_vfs_memory_capacity(f->disk, used_bytes(f) + more);
    for (uint32_t i = from + 1;; i++) {
        bole_status status = put(f, i);
        if (status == BOLE_OK)
            continue;
        assert_int_equal(status, BOLE_NO_SPACE);
        return i;
    }
}

/* ---- Its life --------------------------------------------------------------------------------------------- */

static void it_is_made_behind_the_first_write_and_stays(void **state)
{
    fixture *f = *state;
    open_store(f, 0);
    for (uint32_t i = 0; i < 300; i++) {
        bole_vfs_memory_advance(f->disk, 100000);
        assert_int_equal(stats_of(f).reserve_bytes, 0);
    }
    assert_int_equal(length_of(f, "store/reserve"), 0); /* who only reads keeps nothing */
    assert_ok(put(f, 1), &f->error);
    wait_until_kept(f, true);
    uint64_t bytes = stats_of(f).reserve_bytes;
    assert_int_equal(length_of(f, "store/reserve"), bytes);
    assert_true(bytes >= 4 * 65536 && bytes < 8 * 65536);
    assert_int_equal(f->made, 1);
    assert_ok(bole_checkpoint(f->db, "copy", &f->error), &f->error);
    assert_int_equal(length_of(f, "copy/reserve"), 0);
    close_store(f);
    assert_int_equal(length_of(f, "store/reserve"), bytes);
    bole_options options = options_of(f);
    options.flags = BOLE_READ_ONLY;
    assert_ok(bole_open("store", &options, &f->db, &f->error), &f->error);
    close_store(f);
    assert_int_equal(length_of(f, "store/reserve"), bytes);
    options.flags = 0;
    assert_ok(bole_destroy("store", &options, &f->error), &f->error);
    bool is_directory;
    assert_int_equal(f->disk->exists(f->disk, "store", &is_directory, NULL), BOLE_NOT_FOUND);
}

static void its_size_is_the_settings(void **state)
{
    fixture *f = *state;
    open_store(f, UINT64_MAX);
    assert_ok(put(f, 1), &f->error);
    for (uint32_t i = 0; i < 300; i++) {
        bole_vfs_memory_advance(f->disk, 100000);
        assert_int_equal(stats_of(f).reserve_bytes, 0);
    }
    assert_int_equal(length_of(f, "store/reserve"), 0);
    assert_ok(bole_configure(f->db, "reserve_bytes", "96KiB", &f->error), &f->error);
    wait_until_kept(f, true);
    assert_int_equal(length_of(f, "store/reserve"), 96 << 10);
    assert_ok(bole_configure(f->db, "reserve_bytes", "128KiB", &f->error), &f->error);
    for (uint32_t i = 0; i < STEPS_MAX && stats_of(f).reserve_bytes != 128 << 10; i++)
        bole_vfs_memory_advance(f->disk, 1000);
    assert_int_equal(length_of(f, "store/reserve"), 128 << 10);
    assert_ok(bole_configure(f->db, "reserve_bytes", "none", &f->error), &f->error);
    wait_until_kept(f, false);
    assert_int_equal(length_of(f, "store/reserve"), 0);
}

/* What an earlier life left: too short, too long, or not wanted any more. */
static void what_a_crash_left_of_it_is_mended(void **state)
{
    fixture *f = *state;
    static const uint64_t lengths[] = { 0, 1, 4096, 100000, 10 << 20 };
    for (uint32_t i = 0; i < sizeof lengths / sizeof lengths[0]; i++) {
        open_store(f, 0);
        assert_ok(put(f, i), &f->error);
        wait_until_kept(f, true);
        uint64_t bytes = stats_of(f).reserve_bytes;
        close_store(f);
        bole_file *file;
        assert_ok(f->disk->open(f->disk, "store/reserve", BOLE_VFS_WRITE, &file, NULL), NULL);
        assert_ok(f->disk->truncate(file, lengths[i], NULL), NULL);
        assert_ok(f->disk->close(file, NULL), NULL);
        open_store(f, i % 2 == 0 ? 0 : UINT64_MAX);
        assert_ok(put(f, i), &f->error);
        for (uint32_t j = 0; j < 300; j++) {
            bole_vfs_memory_advance(f->disk, 100000);
            (void)stats_of(f);
        }
        assert_int_equal(length_of(f, "store/reserve"), i % 2 == 0 ? bytes : 0);
        close_store(f);
    }
}

static uint64_t reserve_once(fixture *f, bool (*is)(uint64_t bytes))
{
    for (uint32_t i = 0; !is(stats_of(f).reserve_bytes); i++) {
        assert_true(i < STEPS_MAX);
        bole_vfs_memory_advance(f->disk, 1000);
    }
    return stats_of(f).reserve_bytes;
}

static bool is_large(uint64_t bytes) { return bytes >= 4 << 20; }
static bool is_small(uint64_t bytes) { return bytes > 0 && bytes < 1 << 20; }

static void open_with_large_logs(fixture *f)
{
    bole_options options = options_of(f);
    options.memtable_bytes = 1 << 20;
    options.compression = BOLE_COMPRESSION_NONE;
    assert_ok(bole_open("store", &options, &f->db, &f->error), &f->error);
}

/* Where nothing waits for a flush there is little to keep room for: a share of the segments. Who writes next makes it
 * whole again, a delete as well as a put. */
static void it_rests_while_nothing_waits_for_a_flush(void **state)
{
    fixture *f = *state;
    open_with_large_logs(f);
    assert_ok(put(f, 0), &f->error);
    uint64_t whole = reserve_once(f, is_large), small = 0;
    for (uint32_t round = 0; round < 4; round++) {
        for (uint32_t i = 0; i < 3000; i++)
            assert_ok(put(f, round * 3000 + i), &f->error);
        assert_ok(bole_flush(f->db, &f->error), &f->error);
        small = reserve_once(f, is_small);
        for (uint32_t i = 0; i < 3000; i++) { /* it stays so, whatever the tick does */
            bole_vfs_memory_advance(f->disk, 1000);
            assert_true(is_small(stats_of(f).reserve_bytes));
        }
        assert_int_equal(length_of(f, "store/reserve"), small);
        assert_int_equal(stats_of(f).reserve_spent, 0);
        assert_ok(round % 2 == 0 ? put(f, 0) : delete (f, 0), &f->error);
        assert_int_equal(stats_of(f).reserve_bytes, whole);
        assert_int_equal(length_of(f, "store/reserve"), whole);
    }
    assert_int_equal(f->made, 1);
}

/* A store whose reserve rests, and no room beside it: no put is taken. */
static void fill_disk_while_it_rests(fixture *f)
{
    open_with_large_logs(f);
    for (uint32_t i = 0; i < 600; i++)
        assert_ok(put(f, i), &f->error);
    reserve_once(f, is_large);
    assert_ok(bole_flush(f->db, &f->error), &f->error);
    reserve_once(f, is_small);
    bole_vfs_memory_capacity(f->disk, used_bytes(f));
    assert_int_equal(put(f, 600), BOLE_NO_SPACE);
}

/* The disk fills while it rests: no put is taken, deletes go on, more than the reserve could flush at once. */
static void a_disk_that_fills_while_it_rests(void **state)
{
    fixture *f = *state;
    fill_disk_while_it_rests(f);
    bole_statistics stats = stats_of(f);
    assert_int_equal(stats.reserve_spent, 1);
    assert_int_equal(stats.reserve_refused, 1);
    uint64_t rotations = stats.log_rotations;
    for (uint32_t i = 0; i < 20000; i++)
        assert_ok(delete (f, i), &f->error);
    assert_true(stats_of(f).log_rotations > rotations); /* the large log was left for small ones */
    assert_ok(bole_flush(f->db, &f->error), &f->error);
    bole_vfs_memory_capacity(f->disk, UINT64_MAX);
    assert_ok(put(f, 7), &f->error); /* at once */
    assert_int_equal(stats_of(f).reserve_spent, 0);
    assert_true(is_large(stats_of(f).reserve_bytes));
}

/* A group of deletes that grows past what a large log may take then: what is before that is written there, the rest
 * goes into a small log. */
static void a_group_is_parted_where_a_small_log_begins(void **state)
{
    fixture *f = *state;
    fill_disk_while_it_rests(f);
    assert_int_equal(stats_of(f).reserve_spent, 1);
    bole_batch *batch;
    char key[BOLE_KEY_BYTES_MAX] = { 0 };
    assert_ok(bole_batch_create(&batch), NULL);
    for (uint32_t i = 0; i < 600; i++) {
        int size = snprintf(key, sizeof key, "key %06u", i);
        assert_ok(bole_batch_delete(batch, NULL, BOLE_SLICE(key, (size_t)size)), NULL);
    }
    memset(key, 'k', sizeof key);
    assert_ok(bole_batch_delete(batch, NULL, BOLE_SLICE(key, sizeof key)), NULL); /* 64 KiB with it */
    bole_error errors[2] = { BOLE_ERROR_INIT, BOLE_ERROR_INIT };
    bl_write_request second = {
        .kind = BL_KIND_DELETE, .table = &f->db->default_table, .key = BOLE_STR("second"), .error = &errors[1]
    };
    bl_write_request first = {
        .batch = batch, .table = &f->db->default_table, .error = &errors[0], .next = &second
    };
    uint64_t large = bl_log_number(f->db->log), rotations = stats_of(f).log_rotations;
    bl_commit_lock(f->db);
    bl_write_group_locked(f->db, &first);
    bl_commit_unlock(f->db);
    assert_ok(first.status, &errors[0]);
    assert_ok(second.status, &errors[1]);
    assert_int_equal(stats_of(f).log_rotations, rotations + 1);
    assert_true(bl_log_number(f->db->log) > large);
    assert_true(bl_log_file_bytes(f->db->log) < bl_log_start(f->db->log));
    assert_true(second.position >= bl_log_start(f->db->log) && first.end <= bl_log_start(f->db->log));
    bole_batch_destroy(batch);
    bole_vfs_memory_capacity(f->disk, UINT64_MAX);
    bole_buffer value = BOLE_BUFFER_INIT;
    for (uint32_t round = 0; round < 2; round++) {
        assert_int_equal(bole_get(f->db, NULL, BOLE_STR("key 000050"), &value), BOLE_NOT_FOUND);
        assert_int_equal(bole_get(f->db, NULL, BOLE_STR("second"), &value), BOLE_NOT_FOUND);
        assert_ok(put(f, 7), &f->error);
        if (round == 0)
            close_store(f), open_with_large_logs(f);
    }
    bole_buffer_free(&value);
}

/* ---- A full disk ------------------------------------------------------------------------------------------ */

static void on_a_full_disk_only_deletes_go_on(void **state)
{
    fixture *f = *state;
    open_store(f, 0);
    for (uint32_t i = 0; i < 100; i++)
        assert_ok(put(f, i), &f->error);
    assert_ok(bole_flush(f->db, &f->error), &f->error);
    uint32_t end = fill_disk(f, 8192, 100);
    bole_statistics stats = stats_of(f);
    assert_int_equal(stats.reserve_spent, 1);
    assert_true(stats.reserve_uses >= 1 && stats.reserve_refused >= 1);
    assert_true(f->used >= 1);
    assert_non_null(strstr(f->error.message, "reserve"));
    bole_batch *batch;
    bole_write_options options = BOLE_WRITE_OPTIONS_INIT;
    assert_ok(bole_batch_create(&batch), NULL);
    assert_ok(bole_batch_delete(batch, NULL, BOLE_STR("one")), NULL);
    assert_ok(bole_write(f->db, &options, batch), NULL);
    assert_ok(bole_batch_put(batch, NULL, BOLE_STR("two"), BOLE_STR("2")), NULL);
    assert_int_equal(bole_write(f->db, &options, batch), BOLE_NO_SPACE);
    bole_batch_destroy(batch);
    for (uint32_t i = 0; i < end; i++)
        assert_ok(delete (f, i), &f->error);
    bole_buffer value = BOLE_BUFFER_INIT;
    assert_int_equal(bole_get(f->db, NULL, BOLE_STR("key 000050"), &value), BOLE_NOT_FOUND);
    assert_int_equal(bole_get(f->db, NULL, BOLE_STR("two"), &value), BOLE_NOT_FOUND);
    bole_buffer_free(&value);
    bole_vfs_memory_capacity(f->disk, UINT64_MAX);
    assert_ok(put(f, 7), &f->error); /* at once */
    stats = stats_of(f);
    assert_int_equal(stats.reserve_spent, 0);
    assert_int_equal(length_of(f, "store/reserve"), stats.reserve_bytes);
    assert_true(stats.reserve_bytes > 0);
}

/* A flush needs a log, a segment and an edit: whichever of them meets the end of the disk, the reserve pays for it. */
static void a_flush_goes_through_whatever_room_is_left(void **state)
{
    enum { ENTRIES = 40, LEVEL = 2048, LEVELS = 80 };
    fixture *f = *state;
    for (uint64_t level = 0; level < LEVELS; level++) {
        open_store(f, 0);
        for (uint32_t i = 0; i < ENTRIES; i++)
            assert_ok(put(f, i), &f->error);
        wait_until_kept(f, true);
        bole_vfs_memory_capacity(f->disk, used_bytes(f) + level * LEVEL);
        assert_ok(bole_flush(f->db, &f->error), &f->error);
        assert_int_equal(stats_of(f).flushes, 1);
        bole_buffer value = BOLE_BUFFER_INIT;
        assert_ok(bole_get(f->db, NULL, BOLE_STR("key 000007"), &value), NULL);
        bole_buffer_free(&value);
        bole_vfs_memory_capacity(f->disk, UINT64_MAX);
        close_store(f);
        bole_options options = options_of(f);
        assert_ok(bole_destroy("store", &options, &f->error), &f->error);
    }
}

/* Without one, a full disk takes no deletes either, once the log is full. */
static void without_a_reserve_deletes_fail_too(void **state)
{
    fixture *f = *state;
    open_store(f, UINT64_MAX);
    assert_ok(put(f, 0), &f->error);
    bole_vfs_memory_capacity(f->disk, used_bytes(f) + 4096);
    bole_status status = BOLE_OK;
    for (uint32_t i = 0; i < 10000 && status == BOLE_OK; i++)
        status = delete (f, i);
    assert_int_equal(status, BOLE_NO_SPACE);
    assert_int_equal(stats_of(f).reserve_uses, 0);
}

/* The deletes make room by themselves: a merge drops what they cover, and puts go on. */
static void deletes_and_a_merge_make_room(void **state)
{
    fixture *f = *state;
    static const bole_slice open_end = { NULL, 0 };
    open_store(f, 0);
    for (uint32_t i = 0; i < 600; i++)
        assert_ok(put(f, i), &f->error);
    assert_ok(bole_compact(f->db, NULL, open_end, open_end, &f->error), &f->error);
    uint32_t end = fill_disk(f, 4096, 600);
    for (uint32_t i = 0; i < end; i++)
        assert_ok(delete (f, i), &f->error);
    assert_ok(bole_compact(f->db, NULL, open_end, open_end, &f->error), &f->error);
    bole_status status = BOLE_NO_SPACE;
    for (uint32_t i = 0; i < 1000 && status != BOLE_OK; i++) {
        bole_vfs_memory_advance(f->disk, 10000);
        status = put(f, 1);
    }
    assert_ok(status, &f->error);
    assert_int_equal(stats_of(f).reserve_spent, 0);
}

static void a_table_is_dropped_on_a_full_disk(void **state)
{
    fixture *f = *state;
    bole_table *table;
    open_store(f, 0);
    assert_ok(bole_table_create(f->db, "second", NULL, &table, &f->error), &f->error);
    bole_table_close(table);
    fill_disk(f, 0, 0);
    assert_ok(bole_table_drop(f->db, "second", &f->error), &f->error);
}

/* A drop whose edit finds no room in the manifest has the reserve's. Method: tables are dropped one after the other,
 * until an edit needs another page. */
static void a_drop_has_the_room_of_the_reserve(void **state)
{
    enum { TABLES = 150 };
    fixture *f = *state;
    char name[16];
    open_store(f, 0);
    for (uint32_t i = 0; i < TABLES; i++) {
        bole_table *table;
        snprintf(name, sizeof name, "table%u", i);
        assert_ok(bole_table_create(f->db, name, NULL, &table, &f->error), &f->error);
        bole_table_close(table);
    }
    assert_ok(put(f, 0), &f->error);
    assert_ok(bole_flush(f->db, &f->error), &f->error);
    wait_until_kept(f, true);
    bole_vfs_memory_capacity(f->disk, used_bytes(f));
    for (uint32_t i = 0; i < TABLES; i++) {
        snprintf(name, sizeof name, "table%u", i);
        assert_ok(bole_table_drop(f->db, name, &f->error), &f->error);
    }
    assert_true(stats_of(f).reserve_spent > 0);
    bole_vfs_memory_capacity(f->disk, UINT64_MAX);
    close_store(f);
    open_store(f, 0);
    for (uint32_t i = 0; i < TABLES; i++) {
        bole_table *table;
        snprintf(name, sizeof name, "table%u", i);
        assert_status(BOLE_NOT_FOUND, bole_table_open(f->db, name, &table, NULL), NULL);
    }
}

/* The power goes while the reserve is in use, in each mode: all that was durable is there, and the store goes on. */
static void a_power_cut_while_it_is_spent(void **state)
{
    fixture *f = *state;
    open_store(f, 0);
    uint32_t end = fill_disk(f, 8192, 0);
    for (uint32_t i = 0; i < end; i += 2)
        assert_ok(delete (f, i), &f->error);
    assert_ok(bole_sync(f->db, &f->error), &f->error);
    uint64_t used = used_bytes(f);
    for (uint32_t mode = 0; mode < 4; mode++) {
        fixture after = { 0 };
        assert_ok(bole_vfs_memory_crash(f->disk, (bole_crash_mode)mode, mode, &after.disk), NULL);
        open_store(&after, 0);
        bole_buffer value = BOLE_BUFFER_INIT;
        for (uint32_t i = 0; i < end; i++) {
            char key[16];
            int size = snprintf(key, sizeof key, "key %06u", i);
            assert_status(i % 2 == 0 ? BOLE_NOT_FOUND : BOLE_OK,
                          bole_get(after.db, NULL, BOLE_SLICE(key, (size_t)size), &value), NULL);
        }
        bole_buffer_free(&value);
        bole_vfs_memory_capacity(after.disk, used);
        bole_status status = put(&after, 1);
        assert_true(status == BOLE_OK || status == BOLE_NO_SPACE);
        bole_vfs_memory_capacity(after.disk, UINT64_MAX);
        assert_ok(put(&after, 2), &after.error);
        wait_until_kept(&after, true);
        close_store(&after);
        bole_vfs_destroy(after.disk);
    }
}

/* Quotas end like disks; a reserve that cannot be made is told once, and the store goes on without. */
static void a_reserve_that_cannot_be_made(void **state)
{
    fixture *f = *state;
    bole_fault_plan plan = { .at = UINT64_MAX, .count = UINT64_MAX, .system_errno = EDQUOT };
    bole_vfs *below = f->disk;
    assert_ok(bole_vfs_fault_create(below, &plan, &f->disk), NULL);
    open_store(f, UINT64_MAX);
    assert_ok(put(f, 1), &f->error);
    assert_ok(bole_configure(f->db, "reserve_bytes", "128KiB", &f->error), &f->error);
    plan.at = plan.calls;
    for (uint32_t i = 0; i < 3000 && f->not_made == 0; i++) {
        bole_vfs_memory_advance(below, 1000);
        (void)stats_of(f);
    }
    assert_int_equal(f->not_made, 1);
    plan.at = UINT64_MAX;
    assert_ok(put(f, 2), &f->error);
    wait_until_kept(f, true);
    assert_int_equal(length_of(f, "store/reserve"), 128 << 10);
    close_store(f);
    bole_vfs_destroy(f->disk);
    f->disk = below;
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, make_fixture, drop_fixture)
    const struct CMUnitTest tests[] = {
        TEST(it_is_made_behind_the_first_write_and_stays),
        TEST(its_size_is_the_settings),
        TEST(what_a_crash_left_of_it_is_mended),
        TEST(it_rests_while_nothing_waits_for_a_flush),
        TEST(a_disk_that_fills_while_it_rests),
        TEST(a_group_is_parted_where_a_small_log_begins),
        TEST(on_a_full_disk_only_deletes_go_on),
        TEST(a_flush_goes_through_whatever_room_is_left),
        TEST(without_a_reserve_deletes_fail_too),
        TEST(deletes_and_a_merge_make_room),
        TEST(a_table_is_dropped_on_a_full_disk),
        TEST(a_drop_has_the_room_of_the_reserve),
        TEST(a_power_cut_while_it_is_spent),
        TEST(a_reserve_that_cannot_be_made),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
