/* SPDX-License-Identifier: MIT */
/* test_tools.c -- looking into a store: what is shown is what is there, on whole files and on damaged ones, also when
 * memory is short. The store is that of damage_fixture.h: two tables, several levels, a log, settings of its own. */
#include "damage_fixture.h"

#include <bole/bole_inspect.h>

#include "base/alloc.h"
#include "engine/log_structured_store.h"

typedef struct fixture {
    bole_vfs *disk;
    damage_model model;
    damage_files files;
    bole_options options;
    bole_db *db;
    bole_table *second;
    bole_error error;
} fixture;

static int set_up(void **state)
{
    fixture *f = calloc(1, sizeof *f);
    f->error = (bole_error)BOLE_ERROR_INIT;
    f->disk = damage_store_make(5, 330, &f->model);
    f->options = damage_options(f->disk);
    damage_files_read(f->disk, &f->files);
    assert_ok(bole_open(DAMAGE_STORE, &f->options, &f->db, &f->error), &f->error);
    assert_ok(bole_table_open(f->db, "second", &f->second, &f->error), &f->error);
    *state = f;
    return 0;
}

static int tear_down(void **state)
{
    fixture *f = *state;
    bole_table_close(f->second);
    assert_ok(bole_close(f->db, &f->error), &f->error);
    damage_files_free(&f->files);
    bole_vfs_destroy(f->disk);
    free(f);
    return 0;
}

typedef struct count {
    uint64_t calls, entries, number, stop_after, found;
} count;

static bool go_on(count *c) { return ++c->calls != c->stop_after; }

static bool see_line(void *context, const char *text)
{
    assert_non_null(text);
    assert_null(strchr(text, '\n'));
    return go_on(context);
}

static bool find_text(void *context, const char *text)
{
    const char **wanted = context;
    wanted[1] = strstr(text, wanted[0]) != NULL ? text : wanted[1];
    return true;
}

static bole_status dump(bole_vfs *disk, const char *name, count *c, bole_error *error)
{
    char path[128];
    snprintf(path, sizeof path, DAMAGE_STORE "/%s", name);
    return bole_inspect_dump(disk, path, see_line, c, error);
}

/* Goal: every file that bole writes for itself has a text. */
static void every_file_of_a_store_has_a_text(void **state)
{
    fixture *f = *state;
    for (uint32_t i = 0; i < f->files.count; i++) {
        const damage_file *file = &f->files.file[i];
        count c = { 0 }, two = { .stop_after = 2 };
        bole_status status = dump(f->disk, file->name, &c, &f->error);
        bool expected = file->kind == BL_FILE_LOG || file->kind == BL_FILE_SEGMENT ||
                        file->kind == BL_FILE_MANIFEST || file->kind == BL_FILE_CURRENT;
        if (!expected)
            continue;
        assert_ok(status, &f->error);
        assert_true(c.calls >= 2);
        (void)!dump(f->disk, file->name, &two, &f->error);
        assert_int_equal(two.calls, 2); /* who has seen enough is not shown more */
        if (file->kind != BL_FILE_SEGMENT)
            continue;
        char path[128], text[64];
        const char *first[] = { text, NULL };
        snprintf(path, sizeof path, DAMAGE_STORE "/%s", file->name);
        snprintf(text, sizeof text, "segment %lu id ", strtoul(file->name, NULL, 10));
        assert_ok(bole_inspect_dump(f->disk, path, find_text, first, &f->error), &f->error);
        assert_non_null(first[1]);
    }
    count c = { 0 };
    assert_true(dump(f->disk, "000999.seg", &c, &f->error) != BOLE_OK);
}

/* Goal: a damaged file is dumped as far as it can be read, and what cannot is told. */
static void a_damaged_file_is_told_of(void **state)
{
    fixture *f = *state;
    bl_prng prng;
    uint64_t seed = test_seed(3), told = 0;
    bl_prng_init(&prng, seed);
    bole_vfs *copy = damage_disk_of(&f->files);
    for (uint32_t i = 0; i < 600; i++) {
        const damage_file *file = &f->files.file[bl_prng_below(&prng, f->files.count)];
        if (file->size == 0 || file->kind == BL_FILE_LOCK || file->kind == BL_FILE_READERS ||
            file->kind == BL_FILE_RESERVE)
            continue;
        uint64_t at = bl_prng_below(&prng, bl_prng_chance(&prng, 3) && file->size > 200 ? 200 : file->size);
        bool cut = bl_prng_chance(&prng, 5);
        file->bytes[at] ^= (uint8_t)(1u << bl_prng_below(&prng, 8));
        damage_write_file(copy, file->name, file->bytes, cut ? at : file->size);
        count c = { 0 };
        bole_status status = dump(copy, file->name, &c, &f->error);
        told += status == BOLE_CORRUPT;
        damage_files now;
        damage_files_read(f->disk, &now); /* whole again */
        for (uint32_t j = 0; j < now.count; j++)
            if (strcmp(now.file[j].name, file->name) == 0 && now.file[j].size > at)
                file->bytes[at] = now.file[j].bytes[at];
        damage_files_free(&now);
        damage_write_file(copy, file->name, file->bytes, file->size);
    }
    assert_true(told > 50);
    bole_vfs_destroy(copy);
}

static bool see_segment(void *context, const bole_inspect_segment *segment)
{
    count *c = context;
    c->entries += segment->entries;
    c->number = segment->number;
    assert_true(segment->file_bytes > 0 && segment->blocks > 0 && segment->tombstones <= segment->entries);
    assert_true(segment->sequence_min <= segment->sequence_max);
    assert_non_null(segment->compression);
    return go_on(c);
}

static bool see_block(void *context, const bole_inspect_block *block)
{
    count *c = context;
    assert_int_equal(block->ordinal, c->calls);
    assert_true(block->stored_bytes > 0);
    return go_on(c);
}

static bool see_memtable(void *context, const bole_inspect_memtable *memtable)
{
    ((count *)context)->entries += memtable->entries;
    return go_on(context);
}

static bool see_log(void *context, const bole_inspect_log *log)
{
    ((count *)context)->found += log->file_bytes > 0; /* 0: it could not be looked at */
    assert_true(log->start <= log->end);
    return go_on(context);
}

static bool see_file(void *context, const bole_inspect_file *file)
{
    assert_true(file->name[0] != '\0' && file->kind[0] != '\0');
    return go_on(context);
}

static bool see_setting(void *context, const bole_inspect_setting *setting)
{
    count *c = context;
    c->found += strcmp(setting->name, "level0_runs") == 0;
    assert_non_null(setting->value);
    assert_non_null(setting->meaning);
    return go_on(c);
}

static bool see_probe(void *context, const bole_inspect_probe *probe)
{
    count *c = context;
    c->found += strcmp(probe->verdict, "found") == 0;
    return go_on(c);
}

static bool see_edit(void *context, uint64_t offset, const char *text)
{
    assert_true(offset > 0 && text[0] != '\0');
    return go_on(context);
}

enum { LOOKS = 11 };

/* One look, by number; `stop` as in count. */
static bole_status look(fixture *f, uint32_t which, uint64_t number, count *c)
{
    bole_inspect_store store;
    uint64_t positives;
    switch (which) {
    case 0: return bole_inspect_segments(f->db, see_segment, c, &f->error);
    case 1: return bole_inspect_blocks(f->db, number, see_block, c, &f->error);
    case 2: return bole_inspect_memtables(f->db, see_memtable, c, &f->error);
    case 3: return bole_inspect_logs(f->db, see_log, c, &f->error);
    case 4: return bole_inspect_files(f->db, see_file, c, &f->error);
    case 5: return bole_inspect_settings(f->db, see_setting, c, &f->error);
    case 6: return bole_inspect_manifest(f->db, see_edit, c, &f->error);
    case 7: return bole_inspect_filter(f->db, number, 1000, 7, &positives, &f->error);
    case 8: return bole_inspect_store_state(f->db, &store, &f->error);
    case 9: return bole_inspect_get(f->db, f->second, damage_key(11), see_probe, c, &f->error);
    default: return bole_inspect_get(f->db, NULL, damage_key(3), see_probe, c, &f->error);
    }
}

/* Goal: what is shown is what is there, and who has seen enough is not shown more. */
static void a_look_shows_what_is_there(void **state)
{
    fixture *f = *state;
    bole_statistics statistics = BOLE_STATISTICS_INIT;
    assert_ok(bole_stats(f->db, &statistics, &f->error), &f->error);
    uint64_t entries = 0, segments = 0;
    for (uint32_t level = 0; level < BOLE_LEVELS_MAX; level++) {
        entries += statistics.level_entries[level];
        segments += statistics.level_segments[level];
    }
    count c = { 0 };
    assert_ok(look(f, 0, 0, &c), &f->error);
    assert_true(statistics.value_segments > 0);
    entries += statistics.value_entries;
    segments += statistics.value_segments;
    assert_int_equal(c.calls, segments);
    assert_int_equal(c.entries, entries);
    uint64_t number = c.number;
    for (uint32_t which = 1; which < LOOKS; which++) {
        count all = { 0 }, one = { .stop_after = 1 };
        assert_ok(look(f, which, number, &all), &f->error);
        assert_ok(look(f, which, number, &one), &f->error);
        assert_true(which == 7 || which == 8 || (all.calls > 0 && one.calls == 1));
        if (which == 5)
            assert_int_equal(all.found, 1);
        if (which == 3)
            assert_int_equal(all.found, all.calls);
        if (which == 9 || which == 10) {
            uint64_t writer = f->model.writer[which == 9 ? 1 : 0][which == 9 ? 11 : 3];
            assert_true((all.found > 0) >= (writer != 0));
        }
    }
    count none = { 0 };
    assert_true(look(f, 1, 99999, &none) != BOLE_OK);
    assert_true(look(f, 7, 99999, &none) != BOLE_OK);
}

static bool see_no_long_name(void *context, const bole_inspect_file *file)
{
    assert_true(strlen(file->name) < 1000);
    return go_on(context);
}

static bole_vfs *listed;

static bole_status list_a_long_name(bole_vfs *vfs, const char *path,
                                    bool (*visit)(void *context, const char *name), void *context,
                                    bole_error *error)
{
    char name[5000];
    memset(name, 'n', sizeof name);
    name[sizeof name - 1] = '\0';
    return visit(context, name) ? listed->list(vfs, path, visit, context, error) : BOLE_OK;
}

/* Goal: a file whose path is longer than any of a store's is passed over, and the others are shown. */
static void a_name_that_is_too_long_is_passed_over(void **state)
{
    fixture *f = *state;
    count before = { 0 }, after = { 0 };
    bole_db *reader;
    bole_options options = f->options;
    listed = f->disk;
    bole_vfs vfs = *listed;
    vfs.list = list_a_long_name;
    options.vfs = &vfs;
    options.flags = BOLE_READ_ONLY;
    assert_ok(bole_open(DAMAGE_STORE, &options, &reader, &f->error), &f->error);
    assert_ok(bole_inspect_files(f->db, see_no_long_name, &before, &f->error), &f->error);
    assert_ok(bole_inspect_files(reader, see_no_long_name, &after, &f->error), &f->error);
    assert_true(before.calls > 4);
    assert_int_equal(after.calls, before.calls);
    assert_ok(bole_close(reader, &f->error), &f->error);
}

/* Goal: a look for which there is no memory says so, and loses none. */
static void a_look_without_memory_is_told(void **state)
{
    fixture *f = *state;
    count first = { 0 };
    assert_ok(look(f, 0, 0, &first), &f->error);
    uint64_t total = 0;
    for (uint32_t which = 0; which < LOOKS; which++) {
        count warm = { 0 };
        assert_ok(look(f, which, first.number, &warm), &f->error);
        uint64_t failures = 0;
        for (uint64_t at = 0, more = 1; more != 0 && at < 500; at++) {
            count c = { 0 };
            int64_t before = bl_alloc_live();
            bl_alloc_fail_at(at, 1);
            bole_status status = look(f, which, first.number, &c);
            more = bl_alloc_calls() > at;
            bl_alloc_fail_at(UINT64_MAX, 0);
            assert_true(status == BOLE_OK || status == BOLE_NO_MEMORY);
            assert_int_equal(before, bl_alloc_live());
            failures += status != BOLE_OK;
        }
        total += failures;
    }
    assert_true(total > 10);
}

/* Goal: a look at what cannot be read says so, and shows nothing else; a file whose length is not told is shown all the
 * same. Method: the store is opened anew, and each call to the disk that a look then makes fails once. */
static void a_look_at_a_failing_disk_is_told(void **state)
{
    fixture *f = *state;
    bole_fault_plan plan = { .at = UINT64_MAX, .count = 1, .system_errno = 5 };
    bole_vfs *copy = damage_disk_of(&f->files), *failing;
    assert_ok(bole_vfs_fault_create(copy, &plan, &failing), NULL);
    count segment = { 0 };
    assert_ok(look(f, 0, 0, &segment), &f->error);
    uint64_t told = 0;
    for (uint32_t which = 0; which < LOOKS; which++) {
        count all = { 0 };
        uint64_t failed = 1;
        for (uint64_t at = 0; failed != 0; at++) {
            fixture opened = *f;
            bole_options options = damage_options(failing);
            count c = { 0 };
            assert_ok(bole_open(DAMAGE_STORE, &options, &opened.db, &f->error), &f->error);
            assert_ok(bole_table_open(opened.db, "second", &opened.second, &f->error), &f->error);
            plan.failed = 0;
            plan.at = at == 0 ? UINT64_MAX : plan.calls + at - 1; /* the first time none does */
            bole_status status = look(&opened, which, segment.number, &c);
            plan.at = UINT64_MAX;
            failed = at == 0 ? 1 : plan.failed;
            if (at == 0) {
                assert_ok(status, &opened.error);
                all = c;
            } else if (status == BOLE_OK) {
                assert_int_equal(c.calls, all.calls);
                assert_int_equal(c.entries, all.entries);
                assert_true(failed == 0 || which == 3 || which == 4 || c.found == all.found);
            } else {
                assert_status(BOLE_IO, status, &opened.error);
                assert_true(c.calls <= all.calls);
                told++;
            }
            bole_table_close(opened.second);
            assert_ok(bole_close(opened.db, &f->error), &f->error);
        }
    }
    assert_true(told > 10);
    bole_vfs_destroy(failing);
    bole_vfs_destroy(copy);
}

/* Goal: each look ends when who looks has seen enough, wherever that is. */
static void a_look_ends_when_enough_was_seen(void **state)
{
    fixture *f = *state;
    assert_ok(bole_put(f->db, NULL, BOLE_STR("new"), BOLE_STR("1")),
              NULL); /* there is a log that is written */
    damage_write_file(f->disk, "000999.seg.tmp", "x", 1);
    damage_write_file(f->disk, "letter", "x", 1);
    count segment = { 0 };
    assert_ok(look(f, 0, 0, &segment), &f->error);
    for (uint32_t which = 0; which < LOOKS; which++) {
        count all = { 0 };
        assert_ok(look(f, which, segment.number, &all), &f->error);
        for (uint64_t stop = 1; stop <= all.calls; stop++) {
            count c = { .stop_after = stop };
            bole_status status = look(f, which, segment.number, &c);
            assert_true(status == BOLE_OK || status == BOLE_CANCELLED);
            assert_int_equal(c.calls, stop);
        }
    }
}

static void count_problem(void *context, const bole_error *problem)
{
    assert_true(problem->message[0] != '\0');
    ++*(uint64_t *)context;
}

/* Goal: a whole store has no problems; one with a flipped bit in a segment has, and they name it. */
static void verify_tells_each_problem(void **state)
{
    fixture *f = *state;
    bole_verify_report report;
    uint64_t problems = 0;
    bole_vfs *copy = damage_disk_of(&f->files);
    bole_options options = damage_options(copy);
    assert_ok(bole_verify(DAMAGE_STORE, &options, count_problem, &problems, &report, &f->error), &f->error);
    assert_int_equal(problems, 0);
    assert_true(report.segments > 0 && report.blocks > 0 && report.entries > 0 && report.bytes > 0);
    for (uint32_t i = 0; i < f->files.count; i++) {
        damage_file *file = &f->files.file[i];
        if (file->kind != BL_FILE_SEGMENT)
            continue;
        file->bytes[file->size / 2] ^= 4;
        damage_write_file(copy, file->name, file->bytes, file->size);
        file->bytes[file->size / 2] ^= 4;
        problems = 0;
        assert_status(BOLE_CORRUPT,
                      bole_verify(DAMAGE_STORE, &options, count_problem, &problems, &report, &f->error),
                      &f->error);
        assert_true(problems > 0);
        assert_int_equal(report.problems, problems);
        break;
    }
    assert_true(bole_verify("nowhere", &options, count_problem, &problems, &report, &f->error) != BOLE_OK);
    bole_vfs_destroy(copy);
}

/* Goal: a verification for which there is no memory, or that cannot read, does not call the store damaged, nor whole
 * when it has not seen all of it. */
static void a_verification_that_cannot_be_done_finds_no_problem(void **state)
{
    fixture *f = *state;
    bole_verify_report whole, report;
    uint64_t problems = 0, told[2] = { 0 };
    bole_fault_plan plan = { .at = UINT64_MAX, .count = 1, .system_errno = 5 };
    bole_options options = damage_options(f->disk);
    bole_table_close(f->second);
    assert_ok(bole_close(f->db, &f->error), &f->error);
    assert_ok(bole_verify(DAMAGE_STORE, &options, count_problem, &problems, &whole, &f->error), &f->error);
    for (int way = 0; way < 2; way++) { /* allocations, calls to the disk */
        bool more = true;
        for (uint64_t at = 0; more; at += TEST_STEP * (1 + at / 400)) {
            int64_t live = bl_alloc_live();
            bole_vfs *copy, *failing;
            plan.failed = plan.calls = 0;
            plan.at = way == 0 ? UINT64_MAX : at;
            assert_ok(bole_vfs_memory_crash(f->disk, BOLE_CRASH_KEEP_ALL, 1, &copy), NULL);
            assert_ok(bole_vfs_fault_create(copy, &plan, &failing), NULL);
            options.vfs = failing;
            problems = 0;
            bl_alloc_fail_at(way == 0 ? at : UINT64_MAX, 1);
            bole_status status = bole_verify(DAMAGE_STORE, &options, count_problem, &problems, &report,
                                             &f->error);
            more = way == 0 ? bl_alloc_calls() > at : plan.failed > 0;
            bl_alloc_fail_at(UINT64_MAX, 0);
            bole_vfs_destroy(failing);
            bole_vfs_destroy(copy);
            assert_int_equal(bl_alloc_live(), live);
            assert_int_equal(report.problems, problems);
            if (status == BOLE_OK) {
                assert_int_equal(problems, 0);
                assert_memory_equal(&report, &whole, sizeof whole);
                continue;
            }
            told[way]++;
            if (way == 0) {
                assert_status(BOLE_NO_MEMORY, status, &f->error);
                assert_int_equal(problems, 0);
            } else {
                assert_true(status == BOLE_IO || problems > 0);
            }
        }
    }
    assert_true(told[0] > 50 / TEST_STEP && told[1] > 20 / TEST_STEP);
    assert_ok(bole_open(DAMAGE_STORE, &f->options, &f->db, &f->error), &f->error);
    assert_ok(bole_table_open(f->db, "second", &f->second, &f->error), &f->error);
}

/* Goal: a write moves the position that reads see, a sync the one that is on disk. */
static void a_look_shows_the_position(void **state)
{
    fixture *f = *state;
    bole_inspect_store before, after;
    assert_ok(bole_inspect_store_state(f->db, &before, &f->error), &f->error);
    assert_ok(bole_put(f->db, NULL, BOLE_STR("one more"), BOLE_STR("1")), NULL);
    assert_ok(bole_inspect_store_state(f->db, &after, &f->error), &f->error);
    assert_true(before.position_visible > 0);
    assert_true(after.position_visible > before.position_visible);
    assert_ok(bole_sync(f->db, &f->error), &f->error);
    assert_ok(bole_inspect_store_state(f->db, &after, &f->error), &f->error);
    assert_int_equal(after.synced, after.position_visible);
}

/* Goal: long keys are cut, records that are no operations are told, and a file is found by its name alone. */
static void a_dump_shows_what_it_can(void **state)
{
    fixture *f = *state;
    static char key[300];
    bole_db *db;
    bole_options options = f->options;
    bole_error error = BOLE_ERROR_INIT;
    test_directory directory = test_directory_make();
    options.vfs = NULL;
    options.simulation_seed = 0;
    options.flags = BOLE_CREATE;
    memset(key, 'k', sizeof key);
    assert_ok(bole_open(test_path(&directory, "store"), &options, &db, &error), &error);
    assert_ok(bole_put(db, NULL, BOLE_SLICE(key, sizeof key), BOLE_STR("1")), NULL);
    char here[1000];
    assert_non_null(getcwd(here, sizeof here));
    assert_int_equal(chdir(test_path(&directory, "store")), 0);
    const char *current[] = { "manifest", NULL }, *cut[] = { "kkkk...", NULL },
               *strange[] = { "is no operation", NULL };
    bole_status status = bole_inspect_dump(NULL, "CURRENT", find_text, current, &error);
    assert_int_equal(chdir(here), 0);
    assert_ok(status, &error);
    assert_non_null(current[1]);
    bl_commit_lock(db);
    uint64_t position;
    uint8_t *payload = bl_log_reserve(db->log, 2, &position);
    payload[0] = BL_RECORD_BATCH, payload[1] = 200;
    bl_log_finish(db->log, payload, 2, position, 0);
    assert_ok(bl_log_publish(db->log, &error), &error);
    bl_commit_unlock(db);
    const char *path = bl_log_path(db->log);
    assert_ok(bole_inspect_dump(bole_vfs_posix(), path, find_text, cut, &error), &error);
    assert_non_null(cut[1]);
    assert_ok(bole_inspect_dump(NULL, path, find_text, strange, &error), &error);
    assert_non_null(strange[1]);
    assert_ok(bole_close(db, &error), &error);
}

static bool note_verdict(void *context, const bole_inspect_probe *probe)
{
    const char **wanted = context;
    wanted[1] = strcmp(probe->verdict, wanted[0]) == 0 ? probe->verdict : wanted[1];
    return true;
}

/* Goal: a key that is not there, where no filter says so, is looked for and called absent. */
static void a_key_that_is_absent_is_called_so(void **state)
{
    fixture *f = *state;
    bole_db *db;
    bole_options options = f->options;
    const char *absent[] = { "absent", NULL }, *found[] = { "found", NULL };
    options.flags = BOLE_CREATE;
    options.filter_bits_per_key = UINT32_MAX;
    assert_ok(bole_open("other", &options, &db, &f->error), &f->error);
    assert_ok(bole_put(db, NULL, BOLE_STR("a"), BOLE_STR("1")), NULL);
    assert_ok(bole_put(db, NULL, BOLE_STR("c"), BOLE_STR("1")), NULL);
    assert_ok(bole_flush(db, &f->error), &f->error);
    assert_ok(bole_inspect_get(db, NULL, BOLE_STR("b"), note_verdict, absent, &f->error), &f->error);
    assert_non_null(absent[1]);
    assert_ok(bole_inspect_get(db, NULL, BOLE_STR("c"), note_verdict, found, &f->error), &f->error);
    assert_non_null(found[1]);
    assert_ok(bole_close(db, &f->error), &f->error);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(every_file_of_a_store_has_a_text, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_damaged_file_is_told_of, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_look_shows_what_is_there, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_name_that_is_too_long_is_passed_over, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_look_without_memory_is_told, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_look_at_a_failing_disk_is_told, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_look_ends_when_enough_was_seen, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_verification_that_cannot_be_done_finds_no_problem, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(verify_tells_each_problem, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_look_shows_the_position, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_dump_shows_what_it_can, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_key_that_is_absent_is_called_so, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
