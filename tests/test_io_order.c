/* SPDX-License-Identifier: MIT */
/* test_io_order.c -- every call that a store makes of the operating system, in its order, as golden text.
 *
 * The order is what durability rests on: data, sync, name, sync of the directory, then the reference to it; and a file
 * goes only once the newer state is on disk. A change of it must be seen, and read, before it is committed:
 * BOLE_GOLDEN_WRITE=1 writes tests/golden/store_io.txt anew. The event log, which promises nothing, is left out. */
#include <bole/bole_vfs.h>

#include "test.h"

typedef struct script {
    char text[64 * 1024];
    size_t size;
} script;

static void add(script *to, const char *line)
{
    int written = snprintf(to->text + to->size, sizeof to->text - to->size, "%s\n", line);
    assert_true(written > 0 && (size_t)written < sizeof to->text - to->size);
    to->size += (size_t)written;
}

static void trace_line(void *context, const char *line)
{
    if (strstr(line, "events.jsonl") == NULL)
        add(context, line);
}

static bole_db *open_store(script *story, bole_vfs *vfs, const char *heading, uint32_t flags)
{
    bole_options options = BOLE_OPTIONS_INIT;
    options.flags = flags;
    options.vfs = vfs;
    options.simulation_seed = 1; /* background work in one order */
    options.memory_limit = 16 << 20;
    options.memtable_bytes = 256 << 10;
    bole_error error = BOLE_ERROR_INIT;
    bole_db *db;
    add(story, heading);
    assert_ok(bole_open("store", &options, &db, &error), &error);
    return db;
}

static void put(bole_db *db, const char *key, bole_durability durability)
{
    bole_write_options options = BOLE_WRITE_OPTIONS_INIT;
    options.durability = durability;
    assert_ok(bole_put(db, &options, BOLE_SLICE(key, strlen(key)), BOLE_STR("value")), NULL);
}

static void the_order_of_a_stores_calls_is_golden(void **state)
{
    (void)state;
    script *story = calloc(1, sizeof *story);
    assert_non_null(story);
    bole_vfs *disk, *vfs;
    bole_error error = BOLE_ERROR_INIT;
    assert_ok(bole_vfs_memory_create(3, &disk), NULL);
    assert_ok(bole_vfs_trace_create(disk, trace_line, story, &vfs), NULL);
    add(story, "The calls of a small store; see test_io_order.c.\n");

    bole_db *db = open_store(story, vfs, "== open, a new store", BOLE_CREATE);
    add(story, "\n== the first write: no mark to withdraw; a log, durably, then its name in the manifest");
    put(db, "a", BOLE_DURABILITY_PROCESS);
    add(story, "\n== a write that survives the process");
    put(db, "b", BOLE_DURABILITY_PROCESS);
    add(story, "\n== a write that survives the machine");
    put(db, "c", BOLE_DURABILITY_POWER);
    add(story, "\n== flush: rotation, segment, edit, the old log goes last");
    assert_ok(bole_flush(db, &error), &error);
    put(db, "a", BOLE_DURABILITY_PROCESS);
    assert_ok(bole_flush(db, &error), &error);
    add(story, "\n== compaction of two runs: output, edit, inputs go last");
    assert_ok(bole_compact(db, NULL, (bole_slice){ NULL, 0 }, (bole_slice){ NULL, 0 }, &error), &error);
    add(story, "\n== checkpoint: links, manifest, CURRENT, name of the directory");
    assert_ok(bole_checkpoint(db, "copy", &error), &error);
    add(story, "\n== a table: made and dropped, each durable before it returns");
    bole_table *table;
    assert_ok(bole_table_create(db, "second", NULL, &table, &error), &error);
    bole_table_close(table);
    put(db, "c", BOLE_DURABILITY_PROCESS); /* not on disk yet: the drop has something to sync */
    assert_ok(bole_table_drop(db, "second", &error), &error);
    put(db, "d", BOLE_DURABILITY_PROCESS);
    add(story, "\n== a clean close: log end, then the mark in CURRENT");
    assert_ok(bole_close(db, &error), &error);
    db = open_store(story, vfs, "\n== open after a clean close: nothing is written", 0);
    add(story, "\n== the first write after it: the mark goes before anything else");
    put(db, "e", BOLE_DURABILITY_PROCESS);
    add(story, "\n== closed again");
    assert_ok(bole_close(db, &error), &error);

    if (getenv("BOLE_GOLDEN_WRITE") != NULL) {
        FILE *file = fopen(BOLE_SOURCE_DIR "/tests/golden/store_io.txt", "w");
        assert_non_null(file);
        fputs(story->text, file);
        fclose(file);
    }
    FILE *file = fopen(BOLE_SOURCE_DIR "/tests/golden/store_io.txt", "r");
    assert_non_null(file);
    script *wanted = calloc(1, sizeof *wanted);
    assert_non_null(wanted);
    assert_true(fread(wanted->text, 1, sizeof wanted->text - 1, file) < sizeof wanted->text - 1);
    fclose(file);
    assert_string_equal(story->text, wanted->text);
    free(wanted);
    bole_vfs_destroy(vfs);
    bole_vfs_destroy(disk);
    free(story);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_order_of_a_stores_calls_is_golden),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
