/* SPDX-License-Identifier: MIT */
/* test_repair_facts.c -- repair of stores whose files are written by hand: manifests that name what no store would have
 * any more, directories of files that are nothing, logs of other stores, versions to come; and with every allocation
 * failing: memory that is short is told as that, never taken for damage. */
#include "damage_fixture.h"

#include <bole/bole_repair.h>

#include "base/alloc.h"
#include "base/checksum.h"
#include "base/coding.h"
#include "core/write_batch.h"
#include "log/write_ahead_log.h"
#include "log/log_file.h"
#include "segment/compression.h"
#include "segment/segment_writer.h"
#include "version/manifest.h"
#include "version_fixture.h"

static const bl_id store_id = { { 9, 8, 7, 6, 5, 4, 3, 2, 1 } };
static bole_error error;

static bole_vfs *empty_store(void)
{
    bole_vfs *disk;
    error = (bole_error)BOLE_ERROR_INIT;
    assert_ok(bole_vfs_memory_create(1, &disk), NULL);
    assert_ok(disk->make_directory(disk, DAMAGE_STORE, &error), &error);
    return disk;
}

typedef struct findings {
    uint32_t count[4]; /* by kind */
    char said[65536];
} findings;

static bool note_finding(void *context, const bole_repair_finding *finding)
{
    findings *out = context;
    size_t used = strlen(out->said);
    out->count[finding->kind]++;
    snprintf(out->said + used, sizeof out->said - used, "%d %s %s\n", (int)finding->kind, finding->file,
             finding->text);
    return true;
}

static findings found;

static bole_status dry(bole_vfs *disk, bole_repair_report *report)
{
    bole_options options = damage_options(disk);
    memset(&found, 0, sizeof found);
    return bole_repair(DAMAGE_STORE, NULL, &options, BOLE_REPAIR_DRY_RUN, note_finding, &found, report,
                       &error);
}

static void assert_said(const char *part)
{
    if (strstr(found.said, part) == NULL)
        fail_msg("\"%s\" is not among what was found:\n%s", part, found.said);
}

static bool want_no_more(void *context, const bole_repair_finding *finding)
{
    (void)finding;
    return --*(uint32_t *)context != 0;
}

/* Who wants no more findings gets none, whichever was the last. */
static void every_finding_may_be_the_last(bole_vfs *disk, uint32_t all)
{
    bole_options options = damage_options(disk);
    bole_repair_report report;
    for (uint32_t i = 1; i <= all; i++) {
        uint32_t left = i;
        assert_status(BOLE_CANCELLED,
                      bole_repair(DAMAGE_STORE, NULL, &options, BOLE_REPAIR_DRY_RUN, want_no_more, &left,
                                  &report, &error),
                      &error);
        assert_int_equal(left, 0);
    }
}

/* Repair with each allocation failing: BOLE_NO_MEMORY, or the same as with all of them. */
static void every_allocation_may_fail(bole_vfs *disk)
{
    bole_repair_report whole, report;
    uint64_t failed = 0;
    assert_ok(dry(disk, &whole), &error);
    static findings all;
    all = found;
    every_finding_may_be_the_last(disk, all.count[0] + all.count[1] + all.count[2] + all.count[3]);
    for (uint64_t at = 0, more = 1; more != 0; at++) {
        int64_t live = bl_alloc_live();
        bl_alloc_fail_at(at, 1);
        bole_status status = dry(disk, &report);
        more = bl_alloc_calls() > at;
        bl_alloc_fail_at(UINT64_MAX, 0);
        assert_int_equal(bl_alloc_live(), live);
        failed += status == BOLE_NO_MEMORY;
        if (status == BOLE_NO_MEMORY)
            continue;
        if (status != BOLE_OK)
            fail_msg("allocation %" PRIu64 " fails: %s: %s", at, bole_status_name(status), error.message);
        assert_string_equal(found.said, all.said);
        assert_memory_equal(&report, &whole, sizeof whole);
    }
    assert_true(failed > 10);
}

/* A manifest with these edits; the first one is its snapshot. */
static void write_manifest(bole_vfs *disk, uint64_t number, const bl_version_edit *edits, uint32_t count,
                           bool named)
{
    bole_buffer bytes = BOLE_BUFFER_INIT;
    bl_manifest *manifest = NULL;
    for (uint32_t i = 0; i < count; i++) {
        bytes.size = 0;
        assert_ok(bl_version_edit_encode(&edits[i], &bytes, &error), &error);
        bole_slice edit = bl_slice(bytes.data, bytes.size);
        if (i == 0)
            assert_ok(bl_manifest_create(disk, DAMAGE_STORE, number, store_id, edit, &manifest, &error),
                      &error);
        else
            assert_ok(bl_manifest_append(manifest, edit, &error), &error);
    }
    bl_current current = { .store_id = store_id,
                           .manifest_id = bl_manifest_id(manifest),
                           .manifest_number = number };
    bool renamed;
    if (named)
        assert_ok(bl_current_write(disk, DAMAGE_STORE, &current, &renamed, &error), &error);
    bl_manifest_close(manifest);
    bole_buffer_free(&bytes);
}

/* ---- manifests ---- */

enum { SEGMENTS = 300, LOGS = 40, TABLES = 40, KEPT = 10 };

/* Goal: what edits name, remove, move, end and drop is a fact, however many there are. */
static void edits_are_facts(void **state)
{
    (void)state;
    bole_vfs *disk = empty_store();
    static bl_segment_meta metas[SEGMENTS], again[KEPT];
    static bl_segment_place gone[SEGMENTS];
    static bl_log_description logs[LOGS], ended[2], more[LOGS];
    static uint64_t logs_gone[LOGS];
    static bl_table_description tables[TABLES], dropped[1];
    static char names[TABLES][16];
    for (uint32_t i = 0; i < TABLES; i++) {
        snprintf(names[i], sizeof names[i], "table%u", i);
        tables[i] = (bl_table_description){
            .number = i, .name = i == 0 ? "default" : names[i], .comparator_name = "bole.bytes", .position = i
        };
    }
    for (uint32_t i = 0; i < SEGMENTS; i++) {
        metas[i] = make_meta(1000 + i, i % 3, 3, 0, BOLE_STR("a"), BOLE_STR("z"), 10 + i, 20 + i);
        gone[i] = (bl_segment_place){ .table = i % 3, .number = 1000 + i };
    }
    for (uint32_t i = 0; i < KEPT; i++)
        again[i] = metas[i];
    for (uint32_t i = 0; i < LOGS; i++) {
        logs[i] = make_log(2000 + i, 1000 * (i + 1));
        more[i] = make_log(3000 + i, 1000000 + 1000 * (uint64_t)(i + 1));
        logs_gone[i] = 2000 + i;
    }
    ended[0] = logs[0], ended[1] = logs[LOGS - 1];
    ended[0].end = ended[0].start + 10;
    ended[1].end = ended[1].start + 500;
    dropped[0] = tables[2];
    const bl_version_edit edits[] = {
        { .snapshot = true,
          .tables_created = tables,
          .tables_created_count = TABLES,
          .added = metas,
          .added_count = SEGMENTS,
          .logs_added = logs,
          .logs_added_count = LOGS,
          .flushed_through = 500,
          .synced = 700,
          .next_file_number = 5000,
          .next_table_number = TABLES },
        { .removed = gone + KEPT, .removed_count = SEGMENTS - KEPT, .added = again, .added_count = KEPT },
        { .tables_dropped = dropped, .tables_dropped_count = 1, .logs_ended = ended, .logs_ended_count = 2 },
        { .logs_removed = logs_gone,
          .logs_removed_count = LOGS - 1,
          .logs_added = more,
          .logs_added_count = LOGS,
          .flushed_through = 600,
          .synced = 800 },
        { .flushed_through = 550, .synced = 750 }, /* lower: nothing new */
    };
    write_manifest(disk, 1, edits, 5, true);
    bole_repair_report report;
    assert_ok(dry(disk, &report), &error);
    assert_false(report.manifest_whole);
    uint32_t of_dropped = 0; /* the segments of the dropped table went with it */
    for (uint32_t i = 0; i < KEPT; i++)
        of_dropped += i % 3 == 2;
    assert_int_equal(report.segments_missing, KEPT - of_dropped);
    assert_int_equal(report.logs_missing, 1 + LOGS);
    assert_int_equal(report.tables, TABLES - 1);
    assert_int_equal(report.entries, 0);
    assert_said("the log is missing");
    every_allocation_may_fail(disk);

    /* Edits name files and tables that no edit before has named: only repair reads such a manifest. */
    for (uint32_t i = 0; i < LOGS; i++)
        more[i].end = more[i].start + 1;
    const bl_version_edit strange[] = {
        { .snapshot = true, .next_file_number = 5000, .next_table_number = 1 },
        { .removed = gone, .removed_count = SEGMENTS },
        { .logs_removed = logs_gone, .logs_removed_count = LOGS },
        { .logs_ended = more, .logs_ended_count = LOGS },
        { .tables_dropped = tables + 1, .tables_dropped_count = TABLES - 1 },
    };
    write_manifest(disk, 2, strange, 5, true);
    assert_ok(dry(disk, &report), &error);
    assert_int_equal(report.segments_missing, 0);
    assert_int_equal(report.tables, 1);
    every_allocation_may_fail(disk);
    bole_vfs_destroy(disk);
}

/* Goal: without CURRENT the newest manifest that says anything is taken. */
static void the_newest_manifest_that_can_be_read_counts(void **state)
{
    (void)state;
    bole_vfs *disk = empty_store();
    bole_repair_report report;
    bl_segment_meta meta = make_meta(1000, 0, 3, 0, BOLE_STR("a"), BOLE_STR("z"), 10, 20), two[2];
    bl_version_edit edit = { .snapshot = true, .added = &meta, .added_count = 1, .next_file_number = 2000 };
    two[0] = meta;
    two[1] = make_meta(1001, 0, 3, 0, BOLE_STR("zz"), BOLE_STR("zzz"), 30, 40);
    write_manifest(disk, 7, &edit, 1, false);
    edit.added = two;
    edit.added_count = 2;
    write_manifest(disk, 8, &edit, 1, false);
    damage_write_file(disk, "manifest-000009", "no manifest", 11);
    assert_ok(dry(disk, &report), &error);
    assert_int_equal(report.segments_missing, 2); /* as the eighth says */
    assert_said("manifest-000009");
    assert_said("CURRENT");
    every_allocation_may_fail(disk);
    damage_write_file(disk, "manifest-000008", "no manifest", 11);
    assert_ok(dry(disk, &report), &error);
    assert_int_equal(report.segments_missing, 1);
    bole_vfs_destroy(disk);
}

static uint64_t append_put(bl_write_ahead_log *log, uint32_t table, const char *key, uint64_t synced);
static bl_write_ahead_log *make_file_of_log(bole_vfs *disk, uint64_t number, uint64_t start, bl_id of_store,
                                            uint64_t synced);

/* Goal: of two tables that had one name, the drop between being lost, the newer keeps it. */
static void the_newer_of_two_tables_keeps_the_name(void **state)
{
    (void)state;
    bole_vfs *disk = empty_store();
    bl_table_description made[] = {
        { .number = 0, .name = "default", .comparator_name = "bole.bytes" },
        { .number = 1, .name = "trees", .comparator_name = "bole.bytes", .position = 1 },
        { .number = 2, .name = "trees", .comparator_name = "bole.bytes", .position = 2 },
    };
    bl_write_ahead_log *log = make_file_of_log(disk, 20, 0, store_id, 0);
    append_put(log, 1, "a", 0);
    append_put(log, 2, "b", 0);
    append_put(log, 2, "c", 0);
    bl_log_description named = make_log(20, 0);
    named.id = bl_log_id(log);
    bl_log_close(log);
    const bl_version_edit edits[] = {
        { .snapshot = true,
          .tables_created = made,
          .tables_created_count = 2,
          .logs_added = &named,
          .logs_added_count = 1,
          .next_file_number = 100,
          .next_table_number = 3 },
        { .tables_created = made + 2, .tables_created_count = 1 },
    };
    write_manifest(disk, 1, edits, 2, true);
    bole_repair_report report;
    bole_options options = damage_options(disk);
    assert_ok(dry(disk, &report), &error);
    assert_said("another table of this name is newer");
    assert_int_equal(report.entries, 3);
    every_allocation_may_fail(disk);
    assert_ok(bole_repair(DAMAGE_STORE, "mended", &options, 0, NULL, NULL, &report, &error), &error);
    bole_db *db;
    assert_ok(bole_open("mended", &options, &db, &error), &error);
    for (int i = 0; i < 2; i++) {
        bole_table *table;
        bole_read_options from = BOLE_READ_OPTIONS_INIT;
        assert_ok(bole_table_open(db, i == 0 ? "trees" : "salvaged-table-1", &table, &error), &error);
        from.table = table;
        assert_status(i == 0 ? BOLE_NOT_FOUND : BOLE_OK, bole_exists(db, &from, BOLE_STR("a")), NULL);
        assert_status(i == 0 ? BOLE_OK : BOLE_NOT_FOUND, bole_exists(db, &from, BOLE_STR("b")), NULL);
        bole_table_close(table);
    }
    assert_ok(bole_close(db, &error), &error);
    bole_vfs_destroy(disk);
}

/* Goal: what cannot be asked of a repair. */
static void arguments_that_cannot_be_are_refused(void **state)
{
    (void)state;
    bole_vfs *disk = empty_store();
    bole_options options = damage_options(disk);
    bole_repair_report report;
    assert_status(BOLE_INVALID, bole_repair(NULL, "new", &options, 0, NULL, NULL, &report, &error), &error);
    assert_status(BOLE_INVALID, bole_repair("", "new", &options, 0, NULL, NULL, &report, NULL), NULL);
    assert_status(BOLE_INVALID, bole_repair(DAMAGE_STORE, "", &options, 0, NULL, NULL, &report, &error),
                  &error);
    options.size++;
    assert_status(BOLE_INVALID, bole_repair(DAMAGE_STORE, "new", &options, 0, NULL, NULL, &report, &error),
                  &error);
    assert_status(BOLE_NO_STORE,
                  bole_repair("/nowhere/at/all", "/nowhere/new", NULL, 0, NULL, NULL, NULL, &error), &error);
    bole_vfs_destroy(disk);
}

/* ---- files that are nothing ---- */

/* Goal: a directory full of names, and nothing behind them. */
static void files_that_are_nothing_are_told(void **state)
{
    (void)state;
    bole_vfs *disk = empty_store();
    char name[32];
    bole_repair_report report;
    for (uint32_t i = 0; i < LOGS; i++) {
        snprintf(name, sizeof name, "manifest-%06u", 1 + i);
        damage_write_file(disk, name, "nothing", 7);
        snprintf(name, sizeof name, "%06u.log", 100 + i);
        damage_write_file(disk, name, "nothing", 7);
    }
    for (uint32_t i = 0; i < 2 * TABLES; i++) {
        snprintf(name, sizeof name, "%06u.seg", 1000 + i);
        damage_write_file(disk, name, "nothing", 7);
    }
    assert_ok(dry(disk, &report), &error);
    assert_false(report.manifest_whole);
    assert_int_equal(report.entries, 0);
    assert_true(found.count[BOLE_REPAIR_LOST] >= LOGS + 2 * TABLES);
    assert_said("its header is damaged, and nothing else says which log it was");
    every_allocation_may_fail(disk);
    bole_vfs_destroy(disk);
}

/* ---- versions to come ---- */

static void patch(bole_vfs *disk, const char *name, uint64_t offset, const void *bytes, size_t size,
                  uint64_t covered, bl_id id)
{
    char path[128];
    uint8_t all[4096];
    bole_file *file;
    size_t got;
    snprintf(path, sizeof path, DAMAGE_STORE "/%s", name);
    assert_ok(disk->open(disk, path, BOLE_VFS_WRITE, &file, &error), &error);
    assert_ok(disk->write(file, offset, bytes, size, &error), &error);
    assert_ok(disk->read(file, 0, all, covered, &got, &error), &error);
    uint8_t sum[8];
    bl_put_u64(sum, bl_checksum(bl_checksum_seed(id), 0, all, covered));
    assert_ok(disk->write(file, covered, sum, sizeof sum, &error), &error);
    assert_ok(disk->close(file, &error), &error);
}

static bl_id read_id(bole_vfs *disk, const char *name, uint64_t offset)
{
    char path[128];
    bl_id id;
    bole_file *file;
    size_t got;
    snprintf(path, sizeof path, DAMAGE_STORE "/%s", name);
    assert_ok(disk->open(disk, path, BOLE_VFS_READ, &file, &error), &error);
    assert_ok(disk->read(file, offset, id.bytes, BL_ID_BYTES, &got, &error), &error);
    assert_ok(disk->close(file, &error), &error);
    return id;
}

/* Of the log with this header: a version that is to come. */
static void make_newer_log(bole_vfs *disk, const char *name, bl_id id)
{
    char path[128];
    static uint8_t header[BL_LOG_FILE_HEADER_BYTES];
    bole_file *file;
    size_t got;
    snprintf(path, sizeof path, DAMAGE_STORE "/%s", name);
    assert_ok(disk->open(disk, path, BOLE_VFS_WRITE, &file, &error), &error);
    assert_ok(disk->read(file, 0, header, sizeof header, &got, &error), &error);
    bl_put_u32(header + 8, 200);
    size_t covered = sizeof header - 8;
    bl_put_u64(header + covered, bl_checksum(bl_checksum_seed(id), UINT64_MAX, header, covered));
    assert_ok(disk->write(file, 0, header, sizeof header, &error), &error);
    assert_ok(disk->close(file, &error), &error);
}

static void patch_byte(bole_vfs *disk, const char *name, uint64_t offset)
{
    char path[128];
    uint8_t byte;
    bole_file *file;
    size_t got;
    snprintf(path, sizeof path, DAMAGE_STORE "/%s", name);
    assert_ok(disk->open(disk, path, BOLE_VFS_WRITE, &file, &error), &error);
    assert_ok(disk->read(file, offset, &byte, 1, &got, &error), &error);
    byte ^= 1;
    assert_ok(disk->write(file, offset, &byte, 1, &error), &error);
    assert_ok(disk->close(file, &error), &error);
}

static bl_write_ahead_log *make_file_of_log(bole_vfs *disk, uint64_t number, uint64_t start, bl_id of_store,
                                            uint64_t synced)
{
    bl_write_ahead_log *log;
    bl_log_parameters parameters = { .vfs = disk,
                                     .directory = DAMAGE_STORE,
                                     .number = number,
                                     .store_id = of_store,
                                     .start = start,
                                     .synced = synced,
                                     .bytes = 65536,
                                     .way = BL_LOG_WRITTEN };
    assert_ok(bl_log_create(&parameters, &log, &error), &error);
    bl_log_activate(log);
    return log;
}

/* Goal: what a newer version wrote is not taken for damage: repair has nothing to say of it. */
static void what_a_newer_version_wrote_is_left_alone(void **state)
{
    (void)state;
    static const uint8_t newer[4] = { 200, 0, 0, 0 };
    bole_repair_report report;
    bl_version_edit edit = { .snapshot = true, .next_file_number = 2000 };
    bole_vfs *disk = empty_store();
    write_manifest(disk, 1, &edit, 1, true);
    assert_ok(dry(disk, &report), &error);
    patch(disk, "CURRENT", 8, newer, sizeof newer, 80, store_id);
    assert_status(BOLE_UNSUPPORTED, dry(disk, &report), &error);
    bole_vfs_destroy(disk);
    disk = empty_store();
    write_manifest(disk, 1, &edit, 1, true);
    patch(disk, "manifest-000001", 8, newer, sizeof newer, 64, read_id(disk, "manifest-000001", 24));
    assert_status(BOLE_UNSUPPORTED, dry(disk, &report), &error);
    bole_vfs_destroy(disk);
    disk = empty_store();
    write_manifest(disk, 1, &edit, 1, true);
    bl_write_ahead_log *log = make_file_of_log(disk, 20, 0, store_id, 0);
    bl_id id = bl_log_id(log);
    bl_log_close(log);
    assert_ok(dry(disk, &report), &error);
    make_newer_log(disk, "000020.log", id);
    assert_status(BOLE_UNSUPPORTED, dry(disk, &report), &error);
    bole_vfs_destroy(disk);
}

/* Goal: a log that a whole manifest names and that is gone leaves doubt, as a segment does; there it leaves none. */
static void a_named_log_that_is_gone_leaves_doubt(void **state)
{
    (void)state;
    bole_repair_report report;
    bole_vfs *disk = empty_store();
    bl_write_ahead_log *log = make_file_of_log(disk, 20, 0, store_id, 0);
    bl_log_description named = { .number = 20, .id = bl_log_id(log), .end = UINT64_MAX };
    bl_log_close(log);
    bl_version_edit edit = {
        .snapshot = true, .logs_added = &named, .logs_added_count = 1, .next_file_number = 30
    };
    write_manifest(disk, 1, &edit, 1, true);
    assert_ok(dry(disk, &report), &error);
    assert_true(report.manifest_whole);
    assert_int_equal(report.logs_missing, 0);
    assert_ok(disk->remove(disk, DAMAGE_STORE "/000020.log", &error), &error);
    assert_ok(dry(disk, &report), &error);
    assert_false(report.manifest_whole);
    assert_int_equal(report.logs_missing, 1);
    assert_said("segments and logs speak for themselves");
    every_allocation_may_fail(disk);
    bole_vfs_destroy(disk);
}

/* ---- logs without a manifest ---- */

static uint64_t append(bl_write_ahead_log *log, const void *payload, size_t size, uint64_t synced)
{
    uint64_t position;
    uint8_t *to = bl_log_reserve(log, size, &position);
    assert_non_null(to);
    memcpy(to, payload, size);
    bl_log_finish(log, to, size, position, synced);
    assert_ok(bl_log_publish(log, &error), &error);
    return bl_log_end(log);
}

static uint64_t append_value(bl_write_ahead_log *log, uint32_t table, const char *key, bole_slice value,
                             uint64_t synced)
{
    static uint8_t payload[1200] = { BL_RECORD_BATCH };
    bole_slice name = { key, strlen(key) };
    uint8_t *end = bl_operation_encode(payload + 1, BL_KIND_PUT, table, name, value);
    return append(log, payload, (size_t)(end - payload), synced);
}

static uint64_t append_put(bl_write_ahead_log *log, uint32_t table, const char *key, uint64_t synced)
{
    return append_value(log, table, key, BOLE_STR("value"), synced);
}

/* Repair into a new store, with each allocation failing. */
static void every_allocation_of_a_whole_repair_may_fail(bole_vfs *disk, uint64_t entries)
{
    uint64_t failed = 0;
    for (uint64_t at = 0, more = 1; more != 0; at++) {
        int64_t live = bl_alloc_live();
        bole_vfs *copy;
        assert_ok(bole_vfs_memory_crash(disk, BOLE_CRASH_KEEP_ALL, 1, &copy), NULL);
        bole_options options = damage_options(copy);
        bole_repair_report report;
        bl_alloc_fail_at(at, 1);
        bole_status status = bole_repair(DAMAGE_STORE, "mended", &options, 0, NULL, NULL, &report, &error);
        more = bl_alloc_calls() > at;
        bl_alloc_fail_at(UINT64_MAX, 0);
        failed += status != BOLE_OK; /* also of a write to the new store, which is then in doubt */
        if (status != BOLE_OK && status != BOLE_NO_MEMORY && status != BOLE_IN_DOUBT)
            fail_msg("allocation %" PRIu64 " fails: %s: %s", at, bole_status_name(status), error.message);
        if (status == BOLE_OK)
            assert_int_equal(report.entries, entries);
        bole_vfs_destroy(copy);
        bl_compression_release(); /* what it keeps for the next reader is no leak */
        assert_int_equal(bl_alloc_live(), live);
    }
    assert_true(failed > 50);
}

/* Goal: of logs that nothing names the records count that are this store's and are batches. */
static void logs_speak_for_themselves(void **state)
{
    (void)state;
    static const uint8_t no_batch[] = { BL_RECORD_VOID, 0, 0 };
    static const uint8_t garbage[] = { BL_RECORD_BATCH, 0xff, 0xff, 0xff };
    static const bl_id other_store = { { 1 } };
    bole_repair_report report;
    bole_vfs *disk = empty_store();
    damage_write_file(disk, "bole.conf", "level0_runs = 5\n", 16);
    bl_write_ahead_log *log = make_file_of_log(disk, 20, 0, store_id, 0);
    append_put(log, 0, "a", 0);
    append_put(log, 5, "b", 0); /* a table that nothing else knows */
    append(log, garbage, sizeof garbage, 0);
    append(log, no_batch, sizeof no_batch, 0);
    static const char large[1000]; /* more than a batch has room for at first */
    uint64_t end = append_value(log, 0, "c", bl_slice(large, sizeof large), 0);
    bl_log_close(log);
    log = make_file_of_log(disk, 21, end, other_store, 0);
    append_put(log, 0, "d", 0);
    bl_log_close(log);
    assert_ok(dry(disk, &report), &error);
    assert_int_equal(report.entries, 3);
    assert_int_equal(report.log_operations, 3);
    assert_int_equal(report.tables, 2);
    assert_said("is no batch of operations");
    assert_said("the log of another store");
    every_allocation_may_fail(disk);
    every_allocation_of_a_whole_repair_may_fail(disk, 3);
    bole_vfs_destroy(disk);
}

/* Goal: a log whose records segments hold, or what came after them, brings nothing back. Method: the log that a flush
 * removed is there again, and the manifest is lost. */
static void a_log_that_was_flushed_is_not_used(void **state)
{
    (void)state;
    bole_vfs *disk, *before;
    bole_db *db;
    damage_files files, old;
    bole_repair_report report;
    error = (bole_error)BOLE_ERROR_INIT;
    assert_ok(bole_vfs_memory_create(1, &disk), NULL);
    bole_options options = damage_options(disk);
    options.flags = BOLE_CREATE;
    assert_ok(bole_open(DAMAGE_STORE, &options, &db, &error), &error);
    assert_ok(bole_put(db, NULL, BOLE_STR("a"), BOLE_STR("1")), NULL);
    assert_ok(bole_delete(db, NULL, BOLE_STR("a")), NULL);
    assert_ok(bole_put(db, NULL, BOLE_STR("b"), BOLE_STR("1")), NULL);
    assert_ok(bole_vfs_memory_crash(disk, BOLE_CRASH_KEEP_ALL, 1, &before), NULL);
    assert_ok(bole_flush(db, &error), &error);
    assert_ok(bole_put(db, NULL, BOLE_STR("c"), BOLE_STR("1")), NULL); /* and what came after it */
    assert_ok(bole_flush(db, &error), &error);
    assert_ok(bole_close(db, &error), &error);
    damage_files_read(before, &old);
    damage_files_read(disk, &files);
    uint32_t back = 0;
    for (uint32_t i = 0; i < old.count; i++) {
        bool is_there = old.file[i].kind != BL_FILE_LOG;
        for (uint32_t j = 0; j < files.count; j++)
            is_there = is_there || strcmp(files.file[j].name, old.file[i].name) == 0;
        if (!is_there)
            damage_write_file(disk, old.file[i].name, old.file[i].bytes, old.file[i].size);
        back += !is_there;
    }
    assert_int_equal(back, 1);
    for (uint32_t i = 0; i < files.count; i++) {
        char path[128];
        snprintf(path, sizeof path, DAMAGE_STORE "/%s", files.file[i].name);
        if (files.file[i].kind == BL_FILE_MANIFEST || files.file[i].kind == BL_FILE_CURRENT)
            assert_ok(disk->remove(disk, path, &error), &error);
    }
    assert_ok(dry(disk, &report), &error);
    assert_said("segments hold what came after it");
    assert_int_equal(report.entries, 2);
    every_allocation_may_fail(disk);
    damage_files_free(&files);
    damage_files_free(&old);
    bole_vfs_destroy(before);
    bole_vfs_destroy(disk);
}

/* Goal: behind a record that is torn, and that nothing says was on disk, no record counts, and none is called lost: an
 * open would not see them either. */
static void what_stands_behind_a_torn_record_was_never_promised(void **state)
{
    (void)state;
    bole_repair_report report;
    bole_vfs *disk = empty_store();
    bl_write_ahead_log *log = make_file_of_log(disk, 20, 0, store_id, 0);
    uint64_t last = append_put(log, 0, "a", 0);
    append_put(log, 0, "torn", 0);
    append_put(log, 0, "b", 0);
    append_put(log, 0, "c", 0);
    bl_log_close(log);
    patch_byte(disk, "000020.log", BL_LOG_FILE_HEADER_BYTES + last + BL_LOG_RECORD_HEADER_BYTES + 2);
    assert_ok(dry(disk, &report), &error);
    assert_int_equal(report.entries, 1);
    assert_int_equal(report.log_operations, 1);
    assert_int_equal(report.losses, 0);
    every_allocation_may_fail(disk);
    bole_vfs_destroy(disk);
}

/* Goal: what stands behind a torn end counts when it says that it was synced, and not otherwise. */
static void a_torn_log_ends_the_next_unless_that_was_synced(void **state)
{
    (void)state;
    for (int way = 0; way < 3; way++) { /* nothing says so; a record of the next log; its header */
        bole_repair_report report;
        bole_vfs *disk = empty_store();
        bl_write_ahead_log *log = make_file_of_log(disk, 20, 0, store_id, 0);
        uint64_t last = append_put(log, 0, "a", 0), end = append_put(log, 0, "torn", 0);
        bl_log_close(log);
        patch_byte(disk, "000020.log", BL_LOG_FILE_HEADER_BYTES + last + BL_LOG_RECORD_HEADER_BYTES + 2);
        log = make_file_of_log(disk, 21, end, store_id, way == 2 ? end : 0);
        append_put(log, 0, "b", way == 1 ? end : 0);
        append_put(log, 0, "c", way == 1 ? end : 0);
        bl_log_close(log);
        assert_ok(dry(disk, &report), &error);
        if (way == 0) {
            assert_said("never acknowledged as being on disk");
            assert_int_equal(report.entries, 1);
        } else {
            assert_int_equal(report.entries, 3);
            assert_true(way == 1 || found.count[BOLE_REPAIR_LOST] > 0);
        }
        every_allocation_may_fail(disk);
        bole_vfs_destroy(disk);
    }
}

/* ---- segments without a manifest ---- */

static bl_segment_meta *written; /* where the meta of the next segment goes; NULL: nowhere */

/* A segment with one entry: a value, or a pointer into the value segment `points_to`. Its id. */
static bl_id write_segment(bole_vfs *disk, uint64_t number, uint32_t table, const char *key,
                           uint64_t points_to, const bl_id *input)
{
    bl_memory_budget budget;
    bl_scheduler *scheduler;
    bl_frame_cache *cache;
    bl_segment_environment environment;
    bl_segment_writer *writer;
    bl_segment_meta meta;
    uint8_t bytes[BL_VALUE_POINTER_BYTES_MAX];
    bl_value_pointer pointer = { .segment = points_to, .offset = 4096, .bytes = 5 };
    bole_slice value = BOLE_STR("value");
    if (points_to != 0)
        value = bl_slice(bytes, bl_value_pointer_encode(&pointer, bytes));
    bl_memory_budget_init(&budget, 16 << 20, 0);
    assert_ok(bl_scheduler_simulation_create(1, disk, &scheduler, &error), &error);
    assert_ok(bl_frame_cache_create(&budget, scheduler, &cache, &error), &error);
    environment = (bl_segment_environment){ .vfs = disk,
                                            .directory = DAMAGE_STORE,
                                            .scheduler = scheduler,
                                            .budget = &budget,
                                            .cache = cache,
                                            .store_id = store_id,
                                            .open_files_max = 4 };
    assert_ok(bl_segment_environment_init(&environment, &error), &error);
    bl_segment_writer_parameters parameters = { .environment = &environment,
                                                .number = number,
                                                .table = table,
                                                .table_name = table == 0 ? "default" : "dropped",
                                                .inputs = input,
                                                .input_count = input != NULL };
    assert_ok(bl_segment_writer_create(&parameters, &writer, &error), &error);
    uint64_t tag = BL_TAG(number, points_to == 0 ? BL_KIND_PUT : BL_KIND_PUT_WITH_VALUE_POINTER);
    assert_ok(bl_segment_writer_add(writer, bl_slice(key, strlen(key)), tag, value, &error), &error);
    assert_ok(bl_segment_writer_finish(writer, &meta, NULL, &error), &error);
    bl_id id = meta.id;
    if (written != NULL)
        *written = meta;
    else
        bl_segment_meta_deinit(&meta);
    bl_segment_environment_deinit(&environment);
    bl_frame_cache_destroy(cache);
    bl_scheduler_destroy(scheduler);
    return id;
}

static void cut_end(bole_vfs *disk, const char *name)
{
    char path[128];
    bole_file *file;
    uint64_t length;
    snprintf(path, sizeof path, DAMAGE_STORE "/%s", name);
    assert_ok(disk->open(disk, path, BOLE_VFS_WRITE, &file, &error), &error);
    assert_ok(disk->length(file, &length, &error), &error);
    assert_ok(disk->truncate(file, length - 100, &error), &error);
    assert_ok(disk->close(file, &error), &error);
}

/* Goal: an output whose values are not there is not used while what it was made from is; it is when that has lost its
 * values, too, and then what it was made from is not. */
static void a_merge_that_did_not_end_is_not_used(void **state)
{
    (void)state;
    bole_repair_report report;
    bole_vfs *disk = empty_store();
    bl_id input = write_segment(disk, 10, 0, "a", 0, NULL);
    write_segment(disk, 11, 0, "a", 90, &input);
    assert_ok(dry(disk, &report), &error);
    assert_said("000011.seg not used: the merge that wrote it did not write its values");
    assert_int_equal(report.entries, 1);
    assert_int_equal(report.losses, 0);
    every_allocation_may_fail(disk);
    write_segment(disk, 12, 0, "a", 0, &input); /* the merge was done again */
    assert_ok(dry(disk, &report), &error);
    assert_int_equal(report.entries, 1);
    bole_vfs_destroy(disk);

    disk = empty_store();
    input = write_segment(disk, 10, 0, "a", 91, NULL);
    write_segment(disk, 11, 0, "a", 0, &input);
    assert_ok(dry(disk, &report), &error);
    assert_said("000010.seg not used: it was merged into segment 11");
    assert_int_equal(report.entries, 1);
    assert_int_equal(report.losses, 0);
    every_allocation_may_fail(disk);
    bole_vfs_destroy(disk);

    disk = empty_store(); /* of the input only an edit says where it points to */
    bl_segment_meta meta;
    written = &meta;
    input = write_segment(disk, 10, 0, "a", 91, NULL);
    written = NULL;
    cut_end(disk, "000010.seg");
    write_segment(disk, 11, 0, "a", 0, &input);
    meta.table = 0;
    const bl_version_edit edits[] = { { .snapshot = true, .next_file_number = 100, .next_table_number = 1 },
                                      { .added = &meta, .added_count = 1 } };
    write_manifest(disk, 1, edits, 2, true);
    patch_byte(disk, "CURRENT", 20);
    patch_byte(disk, "manifest-000001", 90);
    assert_ok(dry(disk, &report), &error);
    assert_said("000010.seg not used: it was merged into segment 11");
    assert_int_equal(report.entries, 1);
    bl_segment_meta_deinit(&meta);
    bole_vfs_destroy(disk);
}

/* Goal: the segments of a table that an edit dropped are not brought back, though no edit names them; one that lost its
 * end has a table of its own. */
static void segments_say_to_which_table_they_belong(void **state)
{
    (void)state;
    bole_repair_report report;
    bole_vfs *disk = empty_store();
    bl_table_description made[] = {
        { .number = 0, .name = "default", .comparator_name = "bole.bytes" },
        { .number = 2, .name = "dropped", .comparator_name = "bole.bytes", .position = 1 },
    };
    const bl_version_edit edits[] = {
        { .snapshot = true,
          .tables_created = made,
          .tables_created_count = 2,
          .next_file_number = 100,
          .next_table_number = 3 },
        { .tables_dropped = made + 1, .tables_dropped_count = 1 },
    };
    write_manifest(disk, 1, edits, 2, true);
    patch_byte(disk, "CURRENT", 20); /* its numbers do not count: nothing says that the manifest is all */
    write_segment(disk, 20, 2, "of a dropped table", 0, NULL);
    write_segment(disk, 30, 0, "kept", 0, NULL);
    write_segment(disk, 40, 0, "whose end is lost", 0, NULL);
    cut_end(disk, "000040.seg");
    patch_byte(disk, "manifest-000001", 130); /* what it says is not all */
    assert_ok(dry(disk, &report), &error);
    assert_false(report.manifest_whole);
    every_allocation_may_fail(disk);
    bole_options options = damage_options(disk);
    assert_ok(bole_repair(DAMAGE_STORE, "mended", &options, 0, NULL, NULL, &report, &error), &error);
    bole_db *db;
    bole_table *table;
    assert_ok(bole_open("mended", &options, &db, &error), &error);
    assert_status(BOLE_OK, bole_exists(db, NULL, BOLE_STR("kept")), NULL);
    assert_ok(bole_table_open(db, "salvaged-segment-40", &table, &error), &error);
    bole_read_options from = BOLE_READ_OPTIONS_INIT;
    from.table = table;
    assert_status(BOLE_OK, bole_exists(db, &from, BOLE_STR("whose end is lost")), NULL);
    bole_table_close(table);
    assert_ok(bole_close(db, &error), &error);
    bole_vfs_destroy(disk);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(edits_are_facts),
        cmocka_unit_test(the_newest_manifest_that_can_be_read_counts),
        cmocka_unit_test(the_newer_of_two_tables_keeps_the_name),
        cmocka_unit_test(arguments_that_cannot_be_are_refused),
        cmocka_unit_test(files_that_are_nothing_are_told),
        cmocka_unit_test(logs_speak_for_themselves),
        cmocka_unit_test(a_log_that_was_flushed_is_not_used),
        cmocka_unit_test(what_stands_behind_a_torn_record_was_never_promised),
        cmocka_unit_test(a_torn_log_ends_the_next_unless_that_was_synced),
        cmocka_unit_test(what_a_newer_version_wrote_is_left_alone),
        cmocka_unit_test(a_named_log_that_is_gone_leaves_doubt),
        cmocka_unit_test(a_merge_that_did_not_end_is_not_used),
        cmocka_unit_test(segments_say_to_which_table_they_belong),
    };
    return cmocka_run_group_tests_name("repair_facts", tests, NULL, NULL);
}
