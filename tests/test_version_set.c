/* SPDX-License-Identifier: MIT */
/* test_version_set.c -- a version set in use: edits, reopening, marks, comparators, exports, several threads.
 * Power cuts and failing calls: test_version_power.c. */
#include "version_fixture.h"

#include "base/assert.h"
#include "core/comparator.h"
#include "platform/epoch.h"
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>

#include "version/version_set_internal.h"

static bl_version_set *make_set(bole_vfs *disk)
{
    bole_error error = BOLE_ERROR_INIT;
    bl_version_set *set;
    bl_version_set_parameters parameters = set_parameters(disk);
    assert_ok(bl_version_set_create(&parameters, &set, &error), &error);
    return set;
}

static bl_version_set *open_set(bole_vfs *disk)
{
    bole_error error = BOLE_ERROR_INIT;
    bl_version_set *set;
    bl_version_set_parameters parameters = set_parameters(disk);
    assert_ok(bl_version_set_recover(&parameters, &set, &error), &error);
    return set;
}

static void apply_good(bl_version_set *set, const bl_version_edit *edit)
{
    bole_error error = BOLE_ERROR_INIT;
    assert_ok(set_apply(set, edit, &error), &error);
}

/* Goal: what is applied is there, in this process and the next. Method: random edits against a model that
 * shares no code with the set; a second set is read from the disk after each; every few edits the set itself
 * is opened anew, after a clean close or without. */
static void random_edits_are_there_after_each_reopen(void **state)
{
    (void)state;
    static random_edit random;
    static version_model model;
    uint64_t seed = test_seed(31);
    for (uint64_t round = 0; round < 4; round++) {
        bole_vfs *disk = disk_make(seed);
        bole_error error = BOLE_ERROR_INIT;
        bl_version_set *set, *second;
        bl_version_set_parameters parameters = set_parameters(disk);
        parameters.manifest_bytes_max = 1 + 2000 * round; /* rolls over often, or never */
        bl_prng prng;
        bl_prng_init(&prng, seed + round);
        model_begin(&model);
        assert_ok(bl_version_set_create(&parameters, &set, &error), &error);
        for (int i = 0; i < 60; i++) {
            random_edit_make(&model, &prng, set, &random);
            bool close = bl_prng_chance(&prng, 8);
            assert_ok(close ? set_close_cleanly(set, &random.edit, &error)
                            : set_apply(set, &random.edit, &error),
                      &error);
            char *wanted = model_text(&model), *text = set_text(set);
            assert_string_equal(text, wanted);
            free(text);
            parameters.read_only = true;
            assert_ok(bl_version_set_recover(&parameters, &second, &error), &error);
            parameters.read_only = false;
            assert_int_equal(bl_version_set_was_clean(second), close);
            assert_int_equal(bl_version_set_manifest_number(second), bl_version_set_manifest_number(set));
            assert_int_equal(bl_version_set_manifest_position(second), bl_version_set_manifest_position(set));
            text = set_text(second);
            assert_string_equal(text, wanted);
            free(text);
            bl_version_set_destroy(second);
            if (close || bl_prng_chance(&prng, 6)) {
                bl_version_set_destroy(set);
                assert_ok(bl_version_set_recover(&parameters, &set, &error), &error);
                assert_int_equal(bl_version_set_was_clean(set), close);
                assert_int_equal(set_may_delete(set), close);
            }
            free(wanted);
        }
        bl_version_set_destroy(set);
        bole_vfs_destroy(disk);
    }
}

/* Goal: create makes a store where there is none, and nothing else (RECOVER-3). */
static void create_refuses_a_directory_that_is_or_was_a_store(void **state)
{
    (void)state;
    bole_vfs *disk = disk_make(1);
    bole_error error = BOLE_ERROR_INIT;
    bl_version_set *set = make_set(disk), *second;
    bl_version_set_parameters parameters = set_parameters(disk);
    const bl_version *version = bl_version_set_current(set);
    assert_int_equal(version->table_count, 1);
    assert_string_equal(version->tables[0].name, "default");
    assert_int_equal(bl_version_set_next_table_number(set), 1);
    assert_false(bl_id_is_zero(bl_version_set_store_id(set)));
    assert_true(bl_id_equal(world.environment.store_id, bl_version_set_store_id(set)));
    assert_status(BOLE_EXISTS, bl_version_set_create(&parameters, &second, &error), &error);
    assert_null(second);
    bl_version_set_destroy(set);
    /* CURRENT is lost: not a place for a new store, for there are files of one. */
    assert_ok(disk->rename(disk, STORE_DIRECTORY "/CURRENT", STORE_DIRECTORY "/aside", &error), &error);
    bole_file *file;
    assert_ok(disk->open(disk, STORE_DIRECTORY "/000009.seg", BOLE_VFS_WRITE | BOLE_VFS_CREATE, &file,
                         &error),
              &error);
    assert_ok(disk->close(file, &error), &error);
    assert_status(BOLE_CORRUPT, bl_version_set_create(&parameters, &second, &error), &error);
    assert_string_equal(error.file, "000009.seg");
    /* Only what a create that was cut short can leave: then it is one. Its numbers are passed. */
    assert_ok(disk->rename(disk, STORE_DIRECTORY "/000009.seg", STORE_DIRECTORY "/000009.seg.tmp", &error),
              &error);
    assert_ok(bl_version_set_create(&parameters, &set, &error), &error);
    assert_int_equal(bl_version_set_manifest_number(set), 10);
    assert_int_equal(set_new_number(set), 11);
    bool is_directory;
    assert_status(BOLE_NOT_FOUND,
                  disk->exists(disk, STORE_DIRECTORY "/manifest-000001", &is_directory, &error), &error);
    bl_version_set_destroy(set);
    bole_vfs_destroy(disk);
}

/* Goal: a number is given once, whatever lies in the directory, and after a reopen too. */
static void file_numbers_only_rise(void **state)
{
    (void)state;
    bole_vfs *disk = disk_make(2);
    bl_version_set *set = make_set(disk);
    assert_int_equal(set_new_number(set), 2);
    bl_mutex_lock(&world.mutex);
    bl_version_set_pass_file_number(set, 50);
    bl_version_set_pass_file_number(set, 49);
    bl_version_set_pass_file_number(set, UINT64_MAX);         /* nobody's */
    bl_version_set_pass_file_number(set, BL_FILE_NUMBER_MAX); /* nobody's */
    bl_mutex_unlock(&world.mutex);
    assert_int_equal(set_new_number(set), 51);
    apply_good(set, &(bl_version_edit){ .synced = 1 });
    bl_version_set_destroy(set);
    set = open_set(disk);
    assert_int_equal(set_new_number(set), 52);
    bole_error error = BOLE_ERROR_INIT;
    bl_mutex_lock(&world.mutex);
    set->next_file_number = BL_FILE_NUMBER_MAX; /* so far no store counts */
    bl_mutex_unlock(&world.mutex);
    assert_status(BOLE_TOO_LARGE, set_apply(set, &(bl_version_edit){ .synced = 2 }, &error), &error);
    assert_non_null(strstr(error.message, "used up"));
    bl_version_set_destroy(set);
    set = open_set(disk); /* nothing of that was written */
    assert_int_equal(bl_version_set_synced(set), 1);
    bl_version_set_destroy(set);
    bole_vfs_destroy(disk);
}

/* Goal: one edit may take segments from two tables; an export knows the drops that a log still needs. */
static void an_edit_takes_from_two_tables(void **state)
{
    (void)state;
    bole_vfs *disk = disk_make(12);
    bl_version_set *set = make_set(disk), *copy;
    bole_error error = BOLE_ERROR_INIT;
    bl_log_description log = make_log(set_new_number(set), 0);
    bl_table_description made[] = { { 1, "users", BL_COMPARATOR_BYTES_NAME, 10, NULL },
                                    { 2, "drops", BL_COMPARATOR_BYTES_NAME, 11, NULL } };
    bl_segment_meta metas[] = { make_meta(set_new_number(set), 1, 3, 0, BOLE_STR("a"), BOLE_STR("b"), 1, 2),
                                make_meta(set_new_number(set), 0, 3, 0, BOLE_STR("a"), BOLE_STR("b"), 1, 1),
                                make_meta(set_new_number(set), 1, 3, 0, BOLE_STR("c"), BOLE_STR("d"), 1, 1) };
    apply_good(set, &(bl_version_edit){ .logs_added = &log,
                                        .logs_added_count = 1,
                                        .tables_created = made,
                                        .tables_created_count = 2,
                                        .added = metas,
                                        .added_count = 3 });
    bl_segment_place gone[] = { { 1, metas[0].number }, { 0, metas[1].number }, { 1, metas[2].number } };
    apply_good(set, &(bl_version_edit){ .removed = gone, .removed_count = 3 });
    assert_int_equal(bl_version_set_current(set)->tables[0].levels[3].run_count, 0);
    assert_int_equal(bl_version_set_current(set)->tables[1].levels[3].run_count, 0);
    bl_table_description drop = { .number = 2, .position = 100 };
    apply_good(set, &(bl_version_edit){ .tables_dropped = &drop, .tables_dropped_count = 1 });
    bl_version_export *pinned;
    bl_mutex_lock(&world.mutex);
    assert_ok(bl_version_export_begin(set, &pinned, &error), &error);
    bl_mutex_unlock(&world.mutex);
    assert_ok(disk->make_directory(disk, "copy", &error), &error);
    bl_version_export_target target = {
        .vfs = disk, .directory = "copy", .store_id = { { 7 } }, .logs = &log, .log_count = 1, .synced = 100
    };
    assert_ok(bl_version_export_write(pinned, &target, &error), &error);
    bl_version_export_destroy(pinned);
    bl_version_set_parameters parameters = set_parameters(disk);
    parameters.directory = "copy";
    assert_ok(bl_version_set_recover(&parameters, &copy, &error), &error);
    uint64_t position = 0;
    assert_true(bl_version_set_table_was_dropped(copy, 2, &position));
    assert_int_equal(position, 100);
    bl_version_set_destroy(copy);
    bl_version_set_destroy(set);
    bole_vfs_destroy(disk);
}

static uint64_t due[16];
static uint32_t due_count;
static bl_version_set *due_set;

static void note_due(void *context, uint64_t number)
{
    (void)context;
    /* (SET-4): the state on disk does not name the file any more. */
    if (due_set != NULL)
        assert_false(bl_version_set_names_file(due_set, BL_FILE_SEGMENT, number));
    due[due_count++] = number;
}

/* Goal: a removed segment's file goes when its last version does, not before; a failed edit lets no file
 * go. */
static void files_go_after_the_edit_and_the_last_version(void **state)
{
    (void)state;
    bole_vfs *disk = disk_make(3), *faulty;
    bole_fault_plan plan = { .at = UINT64_MAX, .count = 1, .system_errno = ENOSPC };
    bole_error error = BOLE_ERROR_INIT;
    assert_ok(bole_vfs_fault_create(disk, &plan, &faulty), NULL);
    bl_version_set *set = make_set(faulty);
    world.environment.file_due = note_due;
    due_count = 0;
    due_set = set;
    bl_segment_meta metas[] = { make_meta(set_new_number(set), 0, 3, 0, BOLE_STR("a"), BOLE_STR("b"), 1, 2),
                                make_meta(set_new_number(set), 0, 3, 0, BOLE_STR("c"), BOLE_STR("d"), 1, 2),
                                make_meta(set_new_number(set), 0, 3, 0, BOLE_STR("e"), BOLE_STR("f"), 1, 2) };
    bl_segment *given = NULL;
    assert_ok(bl_segment_create_handle(&world.environment, &metas[0], NULL, &given, &error), &error);
    bl_segment *handles[] = { given, NULL, NULL };
    apply_good(set, &(bl_version_edit){ .added = metas, .added_count = 3, .added_handles = handles });
    uint32_t level, run;
    assert_ptr_equal(bl_version_find_segment(bl_version_set_current(set), 0, metas[0].number, &level, &run),
                     given);
    bl_segment_unref(given);
    bl_segment_place first = { 0, metas[0].number }, second = { 0, metas[1].number };
    plan.at = plan.calls;
    assert_status(BOLE_NO_SPACE,
                  set_apply(set, &(bl_version_edit){ .removed = &first, .removed_count = 1 }, &error),
                  &error);
    assert_int_equal(due_count, 0);
    assert_false(set_may_delete(set));
    apply_good(set, &(bl_version_edit){ .removed = &first, .removed_count = 1 });
    assert_true(set_may_delete(set));
    assert_int_equal(due_count, 1);
    assert_int_equal(due[0], first.number);
    bl_mutex_lock(&world.mutex);
    bl_version *held = bl_version_set_current(set);
    bl_version_ref(held);
    bl_mutex_unlock(&world.mutex);
    apply_good(set, &(bl_version_edit){ .removed = &second, .removed_count = 1 });
    assert_int_equal(due_count, 1);
    bl_version_unref(held);
    assert_int_equal(due_count, 2);
    assert_int_equal(due[1], second.number);
    bl_version_set_destroy(set);
    assert_int_equal(due_count, 2); /* what the state names stays */
    world.environment.file_due = NULL;
    due_set = NULL;
    bole_vfs_destroy(faulty);
    bole_vfs_destroy(disk);
}

/* Goal: a drop takes its segments along, and its number is never used again. */
static void a_dropped_table_takes_its_segments_along(void **state)
{
    (void)state;
    bole_vfs *disk = disk_make(4);
    bl_version_set *set = make_set(disk);
    bole_error error = BOLE_ERROR_INIT;
    world.environment.file_due = note_due;
    due_count = 0;
    bl_log_description log = make_log(set_new_number(set), 0);
    bl_table_description table = { 1, "users", BL_COMPARATOR_BYTES_NAME, 10, NULL };
    bl_segment_meta metas[] = { make_meta(set_new_number(set), 1, 0, 0, BOLE_STR("a"), BOLE_STR("b"), 1, 2),
                                make_meta(set_new_number(set), 1, 3, 0, BOLE_STR("a"), BOLE_STR("b"), 1, 1),
                                make_meta(set_new_number(set), 0, 3, 0, BOLE_STR("a"), BOLE_STR("b"), 1, 1) };
    apply_good(set, &(bl_version_edit){ .logs_added = &log,
                                        .logs_added_count = 1,
                                        .tables_created = &table,
                                        .tables_created_count = 1,
                                        .added = metas,
                                        .added_count = 3 });
    bl_table_description drop = { .number = 1, .position = 100 };
    bl_segment_place listed = { 1, metas[1].number }; /* naming some of them is allowed */
    apply_good(set, &(bl_version_edit){ .tables_dropped = &drop,
                                        .tables_dropped_count = 1,
                                        .removed = &listed,
                                        .removed_count = 1 });
    assert_int_equal(due_count, 2);
    uint64_t position;
    for (int reopened = 0; reopened < 2; reopened++) {
        assert_null(bl_version_table_by_name(bl_version_set_current(set), "users"));
        assert_int_equal(bl_version_set_current(set)->tables[0].levels[3].runs[0].count, 1);
        assert_true(bl_version_set_table_was_dropped(set, 1, &position));
        assert_int_equal(position, 100);
        assert_int_equal(bl_version_set_next_table_number(set), 2);
        bl_version_set_destroy(set);
        set = open_set(disk);
    }
    uint64_t gone = log.number;
    apply_good(set, &(bl_version_edit){ .logs_removed = &gone, .logs_removed_count = 1 });
    assert_false(bl_version_set_table_was_dropped(set, 1, &position));
    assert_int_equal(bl_version_set_next_table_number(set), 2);
    (void)error;
    bl_version_set_destroy(set);
    world.environment.file_due = NULL;
    bole_vfs_destroy(disk);
}

static int backwards(void *context, bole_slice a, bole_slice b)
{
    (void)context;
    return bl_slice_compare(b, a);
}
static const bole_comparator reverse = { "test.reverse", NULL, backwards };
static const bole_comparator other = { "test.other", NULL, backwards };
static const bole_comparator impostor = { BL_COMPARATOR_BYTES_NAME, NULL, backwards };

/* Goal: a table is only ever searched in the order in which it was written (class 19). */
static void a_table_opens_only_with_its_own_order(void **state)
{
    (void)state;
    bole_vfs *disk = disk_make(5);
    bole_error error = BOLE_ERROR_INIT;
    bl_version_set *set;
    const bole_comparator *const both[] = { &other, &reverse, NULL }, *const one[] = { &other, NULL };
    bl_version_set_parameters parameters = set_parameters(disk);
    parameters.default_comparator = &impostor;
    assert_status(BOLE_INVALID, bl_version_set_create(&parameters, &set, &error), &error);
    parameters.default_comparator = &reverse;
    parameters.comparators = one;
    assert_ok(bl_version_set_create(&parameters, &set, &error), &error);
    bl_table_description tables[] = { { 1, "a", "test.other", 0, NULL },
                                      { 2, "b", "test.reverse", 0, &reverse },
                                      { 3, "c", BL_COMPARATOR_BYTES_NAME, 0, NULL } };
    bl_segment_meta metas[] = { make_meta(set_new_number(set), 0, 3, 0, BOLE_STR("z"), BOLE_STR("m"), 1, 2),
                                make_meta(set_new_number(set), 0, 3, 0, BOLE_STR("k"), BOLE_STR("a"), 1, 2) };
    apply_good(set,
               &(bl_version_edit){
                   .tables_created = tables, .tables_created_count = 3, .added = metas, .added_count = 2 });
    const bl_run *run = &bl_version_set_current(set)->tables[0].levels[3].runs[0];
    assert_int_equal(bl_run_lower_bound(run, &reverse, BOLE_STR("l")), 1);
    bl_table_description unknown = { 4, "d", "test.unheard", 0, NULL };
    assert_status(BOLE_COMPARATOR,
                  set_apply(set, &(bl_version_edit){ .tables_created = &unknown, .tables_created_count = 1 },
                            &error),
                  &error);
    bl_version_set_destroy(set);
    assert_ok(bl_version_set_recover(&parameters, &set, &error),
              &error); /* b's order is the default table's */
    bl_version_set_destroy(set);
    parameters.default_comparator = &other;
    assert_status(BOLE_COMPARATOR, bl_version_set_recover(&parameters, &set, &error), &error);
    assert_non_null(strstr(error.message, "\"default\" was written in order of \"test.reverse\""));
    parameters.default_comparator = NULL;
    parameters.comparators = one;
    assert_status(BOLE_COMPARATOR, bl_version_set_recover(&parameters, &set, &error), &error);
    parameters.comparators = both;
    assert_ok(bl_version_set_recover(&parameters, &set, &error), &error);
    assert_ptr_equal(bl_version_table_by_name(bl_version_set_current(set), "a")->comparator, &other);
    assert_ptr_equal(bl_version_table_by_name(bl_version_set_current(set), "default")->comparator, &reverse);
    assert_null(bl_version_table_by_name(bl_version_set_current(set), "c")->comparator);
    bl_version_set_destroy(set);
    parameters.comparators = NULL;
    parameters.allow_unknown_comparators = true;
    assert_status(BOLE_INVALID, bl_version_set_recover(&parameters, &set, &error), &error);
    parameters.read_only = true;
    assert_ok(bl_version_set_recover(&parameters, &set, &error), &error);
    assert_false(bl_version_set_current(set)->tables[0].comparator_known);
    assert_true(bl_version_set_current(set)->tables[3].comparator_known);
    bl_version_set_destroy(set);
    bole_vfs_destroy(disk);
}

/* Goal: an edit whose segments would overlap (a comparator that is no order can bring that about) is refused,
 * and nothing of it is written. */
static void an_edit_that_breaks_a_rule_is_refused_and_not_written(void **state)
{
    (void)state;
    bole_vfs *disk = disk_make(6);
    bole_error error = BOLE_ERROR_INIT;
    bl_version_set *set = make_set(disk);
    bl_segment_meta metas[] = { make_meta(set_new_number(set), 0, 3, 0, BOLE_STR("a"), BOLE_STR("m"), 1, 2),
                                make_meta(set_new_number(set), 0, 3, 0, BOLE_STR("m"), BOLE_STR("z"), 1, 2) };
    char *before = set_text(set);
    uint64_t position = bl_version_set_manifest_position(set);
    assert_status(BOLE_CORRUPT,
                  set_apply(set, &(bl_version_edit){ .added = metas, .added_count = 2 }, &error), &error);
    assert_non_null(strstr(error.message, "VER-1"));
    char *after = set_text(set);
    assert_string_equal(before, after);
    assert_int_equal(bl_version_set_manifest_position(set), position);
    assert_true(set_may_delete(set));
    apply_good(set, &(bl_version_edit){ .added = metas, .added_count = 1 });
    free(before);
    free(after);
    bl_version_set_destroy(set);
    bole_vfs_destroy(disk);
}

/* Goal: without memory an edit fails and nothing changes; nothing leaks. Method: every allocation of an apply
 * (with and without a roll-over) and of a recovery fails in turn. */
static void without_memory_nothing_changes(void **state)
{
    (void)state;
    bole_vfs *disk = disk_make(7);
    bole_error error = BOLE_ERROR_INIT;
    bl_version_set *set = make_set(disk);
    bl_log_description log = make_log(set_new_number(set), 0);
    apply_good(set, &(bl_version_edit){ .logs_added = &log, .logs_added_count = 1 });
    for (int i = 0; i < 6; i++) {
        bl_segment_meta meta = make_meta(set_new_number(set), 0, 0, (uint32_t)i, BOLE_STR("a"), BOLE_STR("b"),
                                         10 * (uint64_t)i, 10 * (uint64_t)i + 5);
        bl_table_description table = { (uint32_t)i + 1, "t?", BL_COMPARATOR_BYTES_NAME, 0, NULL };
        char name[16];
        snprintf(name, sizeof name, "t%d", i);
        table.name = name;
        bl_version_edit edit = {
            .added = &meta, .added_count = 1, .tables_created = &table, .tables_created_count = 1
        };
        if (i % 2 == 1) { /* with a roll-over: reopened without a clean close */
            bl_version_set_destroy(set);
            set = open_set(disk);
            meta.number = set_new_number(set);
        }
        char *before = set_text(set);
        bole_status status;
        uint64_t at = 0;
        do {
            bl_alloc_fail_at(at++, 1);
            status = set_apply(set, &edit, &error);
            bl_alloc_fail_at(UINT64_MAX, 0);
            char *text = set_text(set);
            if (status != BOLE_OK)
                assert_string_equal(text, before);
            free(text);
        } while (status == BOLE_NO_MEMORY);
        assert_ok(status, &error);
        assert_true(at > 10);
        free(before);
    }
    char *wanted = set_text(set);
    bl_version_set_destroy(set);
    int64_t live = bl_alloc_live();
    bl_version_set_parameters parameters = set_parameters(disk);
    for (uint64_t at = 0;; at++) {
        bl_alloc_fail_at(at, 1);
        bole_status status = bl_version_set_recover(&parameters, &set, &error);
        bl_alloc_fail_at(UINT64_MAX, 0);
        if (status == BOLE_OK)
            break;
        assert_int_equal(status, BOLE_NO_MEMORY);
        assert_null(set);
        assert_int_equal(bl_alloc_live(), live);
    }
    char *text = set_text(set);
    assert_string_equal(text, wanted);
    free(text);
    free(wanted);
    bl_version_set_destroy(set);
    assert_int_equal(bl_alloc_live(), live);
    bole_vfs_destroy(disk);
}

/* Goal: after a clean close the mark is gone, durably, before anything else is written; withdrawing is
 * once. */
static void the_clean_mark_is_withdrawn_before_anything_else(void **state)
{
    (void)state;
    bole_vfs *disk = disk_make(8), *cut;
    bole_error error = BOLE_ERROR_INIT;
    bl_version_set *set = make_set(disk);
    bl_log_description log = make_log(set_new_number(set), 0);
    apply_good(set, &(bl_version_edit){ .logs_added = &log, .logs_added_count = 1 });
    bl_log_description end = {
        .number = log.number, .end = 500, .end_checksum_known = true, .end_checksum = 99
    };
    assert_ok(set_close_cleanly(set, &(bl_version_edit){ .logs_ended = &end, .logs_ended_count = 1 }, &error),
              &error);
    bl_version_set_destroy(set);
    set = open_set(disk);
    assert_true(bl_version_set_was_clean(set));
    assert_int_equal(bl_version_set_log_at(set, 0)->end, 500);
    assert_true(bl_version_set_log_at(set, 0)->end_checksum_known);
    uint64_t position = bl_version_set_manifest_position(set);
    bl_mutex_lock(&world.mutex);
    assert_ok(bl_version_set_withdraw_clean_mark(set, &error), &error);
    assert_ok(bl_version_set_withdraw_clean_mark(set, &error), &error);
    bl_mutex_unlock(&world.mutex);
    assert_int_equal(bl_version_set_manifest_position(set), position);
    assert_true(bl_version_set_was_clean(set)); /* when it was opened */
    bl_version_set_destroy(set);
    assert_ok(bole_vfs_memory_crash(disk, BOLE_CRASH_LOSE_ALL, 1, &cut), NULL);
    set = open_set(cut);
    assert_false(bl_version_set_was_clean(set)); /* durably */
    assert_ok(set_close_cleanly(set, NULL, &error), &error);
    bl_version_set_destroy(set);
    set = open_set(cut);
    assert_true(bl_version_set_was_clean(set));
    assert_int_equal(bl_version_set_log_at(set, 0)->end_checksum, 99);
    bl_version_set_destroy(set);
    bole_vfs_destroy(cut);
    bole_vfs_destroy(disk);
}

/* Goal: a set that was opened in doubt has to begin a new manifest before it may set the mark; whichever call fails, it
 * says so and there is no mark, or there is one. */
static void a_mark_in_doubt_that_fails_is_told(void **state)
{
    (void)state;
    uint64_t failed = 0;
    for (uint64_t at = 0, more = 1; more != 0; at++) {
        bole_vfs *disk = disk_make(14), *failing;
        bole_error error = BOLE_ERROR_INIT;
        bole_fault_plan plan = { .at = UINT64_MAX, .count = 1, .system_errno = EIO };
        assert_ok(bole_vfs_fault_create(disk, &plan, &failing), NULL);
        bl_version_set *set = make_set(failing);
        apply_good(set, &(bl_version_edit){ .synced = 5 });
        bl_version_set_destroy(set);
        set = open_set(failing);
        assert_false(set_may_delete(set)); /* in doubt */
        uint64_t doubtful = bl_version_set_manifest_number(set);
        plan.at = plan.calls + at;
        bole_status status = set_close_cleanly(set, NULL, &error);
        plan.at = UINT64_MAX;
        more = plan.failed;
        if (status != BOLE_OK) {
            assert_true(more);
            assert_status(BOLE_IO, status, &error);
            failed++;
        }
        bl_version_set_destroy(set);
        set = open_set(disk);
        assert_int_equal(bl_version_set_synced(set), 5);
        if (status == BOLE_OK)
            assert_true(bl_version_set_was_clean(set) && bl_version_set_manifest_number(set) > doubtful);
        bl_version_set_destroy(set);
        bole_vfs_destroy(failing);
        bole_vfs_destroy(disk);
    }
    assert_true(failed > 5);
}

/* Goal: a set that was closed cleanly and is used on withdraws its own mark. */
static void an_edit_after_a_clean_close_withdraws_the_mark(void **state)
{
    (void)state;
    bole_vfs *disk = disk_make(13);
    bole_error error = BOLE_ERROR_INIT;
    bl_version_set *set = make_set(disk);
    assert_ok(set_close_cleanly(set, &(bl_version_edit){ .synced = 5 }, &error), &error);
    apply_good(set, &(bl_version_edit){ .synced = 6 });
    bl_version_set_destroy(set);
    set = open_set(disk);
    assert_false(bl_version_set_was_clean(set));
    assert_int_equal(bl_version_set_synced(set), 6);
    bl_version_set_destroy(set);
    bole_vfs_destroy(disk);
}

/* Goal: positions that another edit passed, while this one waited for its turn, change nothing and are no
 * mistake. */
static void positions_only_rise(void **state)
{
    (void)state;
    bole_vfs *disk = disk_make(14);
    bl_version_set *set = make_set(disk);
    apply_good(set, &(bl_version_edit){ .synced = 50, .flushed_through = 40, .next_sequence = 90 });
    apply_good(set, &(bl_version_edit){ .synced = 49, .flushed_through = 39, .next_sequence = 89 });
    for (int reopened = 0; reopened < 2; reopened++) {
        assert_int_equal(bl_version_set_synced(set), 50);
        assert_int_equal(bl_version_set_flushed_through(set), 40);
        assert_int_equal(bl_version_set_next_sequence(set), 90);
        bl_version_set_destroy(set);
        set = open_set(disk);
    }
    bl_version_set_destroy(set);
    bole_vfs_destroy(disk);
}

/* Goal: orphans are logs, segments and manifests that the state does not name, and temporary files; nothing
 * else. */
static void only_orphans_are_not_named(void **state)
{
    bole_vfs *other_disk = disk_make(13);
    bl_version_set *of_many = make_set(other_disk);
    of_many->stale[of_many->stale_count++] = 77; /* CURRENT may name it, after a rename that failed */
    assert_true(bl_version_set_names_file(of_many, BL_FILE_MANIFEST, 77));
    assert_false(bl_version_set_names_file(of_many, BL_FILE_MANIFEST, 78));
    of_many->stale_count = 0;
    bl_version_set_destroy(of_many);
    bole_vfs_destroy(other_disk);
    (void)state;
    bole_vfs *disk = disk_make(15);
    bl_version_set *set = make_set(disk);
    bl_segment_meta meta = make_meta(set_new_number(set), 0, 3, 0, BOLE_STR("a"), BOLE_STR("b"), 1, 2);
    bl_log_description log = make_log(set_new_number(set), 10);
    apply_good(set, &(bl_version_edit){
                        .added = &meta, .added_count = 1, .logs_added = &log, .logs_added_count = 1 });
    static const struct {
        const char *name;
        bool named;
    } files[] = { { "000002.seg", true },
                  { "000003.seg", false },
                  { "000003.log", true },
                  { "000002.log", false },
                  { "manifest-000001", true },
                  { "manifest-000002", false },
                  { "CURRENT", true },
                  { "CURRENT.tmp", false },
                  { "000002.seg.tmp", false },
                  { "LOCK", true },
                  { "readers", true },
                  { "reserve", true },
                  { "bole.conf", true },
                  { "events.jsonl", true },
                  { "events.3.jsonl", true },
                  { "my-notes.txt", true },
                  { "2.seg", true } };
    for (size_t i = 0; i < sizeof files / sizeof files[0]; i++) {
        uint64_t number;
        bl_file_kind kind = bl_file_parse(files[i].name, &number);
        if (bl_version_set_names_file(set, (int)kind, number) != files[i].named)
            fail_msg("%s", files[i].name);
    }
    bl_version_set_destroy(set);
    bole_vfs_destroy(disk);
}

/* ---- Threads ---- */

typedef struct edit_thread {
    bl_version_set *set;
    uint32_t table;
    uint32_t edits;
} edit_thread;

static _Atomic bool done_editing;

static void *apply_many(void *context)
{
    edit_thread *editor = context;
    for (uint32_t i = 0; i < editor->edits; i++) {
        bl_segment_meta meta = make_meta(set_new_number(editor->set), editor->table, 3, 0, BOLE_STR("a"),
                                         BOLE_STR("b"), 1, 2);
        bole_error error = BOLE_ERROR_INIT;
        if (set_apply(editor->set, &(bl_version_edit){ .added = &meta, .added_count = 1 }, &error) != BOLE_OK)
            abort();
        bl_segment_place place = { editor->table, meta.number };
        if (set_apply(editor->set, &(bl_version_edit){ .removed = &place, .removed_count = 1 }, &error) !=
            BOLE_OK)
            abort();
    }
    atomic_store(&done_editing, true);
    return NULL;
}

static _Atomic bool stop_reading;

/* A reader inside an epoch, without a reference: the version may not go while it looks. */
static void *read_many(void *context)
{
    bl_version_set *set = context;
    uint64_t seen = 0;
    while (!atomic_load(&stop_reading)) {
        bl_epoch_enter();
        const bl_version *version = bl_version_set_current(set);
        for (uint32_t t = 0; t < version->table_count; t++) {
            const bl_level *level = &version->tables[t].levels[3];
            for (uint32_t r = 0; r < level->run_count; r++) {
                bl_segment *segment = bl_run_find(&level->runs[r], NULL, BOLE_STR("aa"));
                if (segment == NULL || bl_segment_meta_of(segment)->table != version->tables[t].number)
                    abort();
                seen++;
            }
        }
        bl_epoch_leave();
    }
    return (void *)(uintptr_t)(seen != 0);
}

#ifdef BL_CHECKS
static unsigned long waits_before;
static bole_vfs *gated;

/* The first sync of an edit ends only when a second edit waits for it. */
static bole_status sync_when_another_waits(bole_file *file, bole_error *error)
{
    while (bl_mark_count("edit waits for another edit") == waits_before)
        sched_yield();
    return gated->sync(file, error);
}

/* Goal: a second edit waits for the first, and both are there after. Method: the first cannot end before the
 * second waits. */
static void a_second_edit_waits_for_the_first(void **state)
{
    (void)state;
    bole_vfs *disk = disk_make(12);
    bl_version_set *set = make_set(disk);
    bl_table_description table = { 1, "second", BL_COMPARATOR_BYTES_NAME, 0, NULL };
    apply_good(set, &(bl_version_edit){ .tables_created = &table, .tables_created_count = 1 });
    waits_before = bl_mark_count("edit waits for another edit");
    static bole_vfs gate;
    gated = disk;
    gate = *disk;
    gate.sync = sync_when_another_waits;
    bl_version_set_destroy(set);
    set = open_set(&gate); /* the first edit rolls over: CURRENT and manifest are synced through the gate */
    pthread_t threads[2];
    edit_thread editors[2] = { { set, 0, 1 }, { set, 1, 1 } };
    for (int i = 0; i < 2; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, apply_many, &editors[i]), 0);
    for (int i = 0; i < 2; i++)
        pthread_join(threads[i], NULL);
    bl_version_set_destroy(set);
    bole_vfs_destroy(disk);
}
#endif

/* Goal: edits of several threads take turns, and readers inside an epoch never see a version go. Method: two
 * threads edit two tables, one reads; under the address and the thread sanitizer. */
static void edits_take_turns_and_readers_are_safe_in_an_epoch(void **state)
{
    (void)state;
    bole_vfs *disk = disk_make(9);
    bl_version_set *set = make_set(disk);
    bl_table_description table = { 1, "second", BL_COMPARATOR_BYTES_NAME, 0, NULL };
    apply_good(set, &(bl_version_edit){ .tables_created = &table, .tables_created_count = 1 });
    pthread_t threads[2], reader;
    edit_thread editors[2] = { { set, 0, 150 }, { set, 1, 150 } };
    atomic_store(&stop_reading, false);
    assert_int_equal(pthread_create(&reader, NULL, read_many, set), 0);
    for (int i = 0; i < 2; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, apply_many, &editors[i]), 0);
    for (int i = 0; i < 2; i++)
        pthread_join(threads[i], NULL);
    atomic_store(&stop_reading, true);
    pthread_join(reader, NULL);
    char *text = set_text(set);
    bl_version_set_destroy(set);
    set = open_set(disk);
    char *again = set_text(set);
    assert_string_equal(text, again);
    free(text);
    free(again);
    bl_version_set_destroy(set);
    bole_vfs_destroy(disk);
}

/* Goal: a reader in another process always finds a whole state while a writer edits, rolls over, closes and
 * opens; and can tell that the directory moved on. Method: a second set is opened read-only, again and again,
 * beside a writer. */
static void a_read_only_open_beside_a_writer_finds_a_whole_state(void **state)
{
    (void)state;
    bole_vfs *disk = disk_make(10);
    bole_error error = BOLE_ERROR_INIT;
    bl_version_set_parameters parameters = set_parameters(disk);
    parameters.manifest_bytes_max = 400;
    bl_version_set *set, *view;
    assert_ok(bl_version_set_create(&parameters, &set, &error), &error);
    pthread_t thread;
    edit_thread editor = { set, 0, 400 };
    bl_version_set_parameters reading = parameters;
    bl_segment_environment environment = world.environment;
    reading.environment = &environment;
    environment.read_only = reading.read_only = true;
    uint64_t last = 0;
    atomic_store(&done_editing, false);
    assert_int_equal(pthread_create(&thread, NULL, apply_many, &editor), 0);
    while (!atomic_load(&done_editing)) {
        assert_ok(bl_version_set_recover(&reading, &view, &error), &error);
        assert_true(bl_version_set_manifest_number(view) >= last);
        last = bl_version_set_manifest_number(view);
        bl_version_set_destroy(view);
    }
    pthread_join(thread, NULL);
    assert_ok(bl_version_set_recover(&reading, &view, &error), &error);
    bool changed = true;
    assert_ok(bl_version_set_look_again(view, &changed, &error), &error);
    assert_false(changed);
    apply_good(set, &(bl_version_edit){ .synced = 5 });
    assert_ok(bl_version_set_look_again(view, &changed, &error), &error);
    assert_true(changed);
    bl_version_set_destroy(view);
    assert_ok(bl_version_set_recover(&reading, &view, &error), &error);
    for (uint64_t synced = 6; bl_version_set_manifest_number(set) == bl_version_set_manifest_number(view);
         synced++)
        apply_good(set, &(bl_version_edit){ .synced = synced });
    assert_ok(bl_version_set_look_again(view, &changed, &error), &error);
    assert_true(changed);
    bl_version_set_destroy(view);
    bl_version_set_destroy(set);
    bole_vfs_destroy(disk);
}

/* What a reader looks at again may be gone, of another store, or unreadable: it is told, never taken for unchanged. */
static void a_second_look_that_fails_is_told(void **state)
{
    (void)state;
    bole_vfs *disk = disk_make(11), *failing;
    bole_error error = BOLE_ERROR_INIT;
    bole_fault_plan plan = { .at = UINT64_MAX, .count = 1, .system_errno = 5 };
    assert_ok(bole_vfs_fault_create(disk, &plan, &failing), NULL);
    bl_version_set_parameters parameters = set_parameters(failing);
    bl_version_set *set, *view;
    assert_ok(bl_version_set_create(&parameters, &set, &error), &error);
    bl_version_set_parameters reading = parameters;
    bl_segment_environment environment = world.environment;
    reading.environment = &environment;
    environment.read_only = reading.read_only = true;
    assert_ok(bl_version_set_recover(&reading, &view, &error), &error);
    bool changed;
    uint64_t failed = 0;
    for (uint64_t at = 0, more = 1; more != 0; at++) {
        plan.failed = 0;
        plan.at = plan.calls + at;
        bole_status status = bl_version_set_look_again(view, &changed, &error);
        more = plan.failed;
        plan.at = UINT64_MAX;
        failed += more;
        assert_status(more != 0 ? BOLE_IO : BOLE_OK, status, &error);
        assert_true(status == BOLE_OK ? !changed : true);
    }
    assert_true(failed >= 6);
    bl_current current, changing;
    bool renamed;
    char path[BL_PATH_BYTES_MAX];
    assert_ok(bl_current_read(disk, STORE_DIRECTORY, &current, &error), &error);
    changing = current;
    changing.store_id.bytes[0] ^= 1;
    assert_ok(bl_current_write(disk, STORE_DIRECTORY, &changing, &renamed, &error), &error);
    assert_status(BOLE_CORRUPT, bl_version_set_look_again(view, &changed, &error), &error);
    changing = current;
    changing.manifest_id
        .bytes[0] ^= 1; /* as a writer does that begins a new one with the number of an old one */
    assert_ok(bl_current_write(disk, STORE_DIRECTORY, &changing, &renamed, &error), &error);
    assert_ok(bl_version_set_look_again(view, &changed, &error), &error);
    assert_true(changed);
    assert_ok(bl_current_write(disk, STORE_DIRECTORY, &current, &renamed, &error), &error);
    bl_store_path(path, STORE_DIRECTORY, BL_FILE_MANIFEST, current.manifest_number);
    assert_ok(disk->remove(disk, path, &error), &error);
    assert_ok(bl_version_set_look_again(view, &changed, &error), &error);
    assert_true(changed);
    bl_version_set_destroy(view);
    bl_version_set_destroy(set);
    bole_vfs_destroy(failing);
    bole_vfs_destroy(disk);
}

/* ---- Exports ---- */

/* Goal: an export is a store of its own: same tables, segments and numbers, its own id and log; CURRENT comes
 * last; and the state is that of the moment of begin. */
static void an_export_is_a_store_of_its_own(void **state)
{
    (void)state;
    static random_edit random;
    static version_model model;
    bole_vfs *disk = disk_make(11), *cut;
    bole_error error = BOLE_ERROR_INIT;
    bl_version_set *set = make_set(disk), *copy;
    bl_prng prng;
    bl_prng_init(&prng, test_seed(41));
    model_begin(&model);
    for (int i = 0; i < 40; i++) {
        random_edit_make(&model, &prng, set, &random);
        apply_good(set, &random.edit);
    }
    bl_version_export *pinned;
    bl_mutex_lock(&world.mutex);
    assert_ok(bl_version_export_begin(set, &pinned, &error), &error);
    bl_mutex_unlock(&world.mutex);
    version_model moment = model;
    for (int i = 0; i < 10; i++) {
        random_edit_make(&model, &prng, set, &random);
        apply_good(set, &random.edit);
    }
    assert_ok(disk->make_directory(disk, "copy", &error), &error);
    assert_ok(disk->sync_directory(disk, ".", &error), &error);
    bl_log_description log = make_log(5000, moment.flushed_through);
    log.end = moment.next_sequence;
    log.end_checksum_known = true;
    log.end_checksum = 5;
    bl_version_export_target target = { .vfs = disk,
                                        .directory = "copy",
                                        .store_id = { { 7 } },
                                        .logs = &log,
                                        .log_count = 1,
                                        .synced = log.end };
    assert_ok(bl_version_export_write(pinned, &target, &error), &error);
    assert_status(BOLE_EXISTS, bl_version_export_write(pinned, &target, &error), &error);
    bl_version_export_destroy(pinned);
    moment.log_count = 1;
    moment.logs[0] = log;
    moment.synced = log.end;
    model_forget_drops(&moment);
    assert_ok(bole_vfs_memory_crash(disk, BOLE_CRASH_LOSE_ALL, 1, &cut), NULL); /* everything was synced */
    bl_version_set_parameters parameters = set_parameters(cut);
    parameters.directory = "copy";
    assert_ok(bl_version_set_recover(&parameters, &copy, &error), &error);
    assert_true(bl_version_set_was_clean(copy));
    assert_int_equal(bl_version_set_store_id(copy).bytes[0], 7);
    assert_false(bl_id_equal(bl_version_set_store_id(copy), bl_version_set_store_id(set)));
    char *text = set_text(copy), *wanted = model_text(&moment);
    assert_string_equal(text, wanted);
    assert_true(set_new_number(copy) > 5001); /* log, then manifest */
    free(text);
    free(wanted);
    apply_good(copy, &(bl_version_edit){ .synced = log.end + 1 });
    bl_version_set_destroy(copy);
    bl_version_set_destroy(set);
    bole_vfs_destroy(cut);
    bole_vfs_destroy(disk);
}

static int end_world(void **state)
{
    (void)state;
    world_end();
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(random_edits_are_there_after_each_reopen),
        cmocka_unit_test(create_refuses_a_directory_that_is_or_was_a_store),
        cmocka_unit_test(file_numbers_only_rise),
        cmocka_unit_test(an_edit_takes_from_two_tables),
        cmocka_unit_test(files_go_after_the_edit_and_the_last_version),
        cmocka_unit_test(a_dropped_table_takes_its_segments_along),
        cmocka_unit_test(a_table_opens_only_with_its_own_order),
        cmocka_unit_test(an_edit_that_breaks_a_rule_is_refused_and_not_written),
        cmocka_unit_test(without_memory_nothing_changes),
        cmocka_unit_test(the_clean_mark_is_withdrawn_before_anything_else),
        cmocka_unit_test(a_mark_in_doubt_that_fails_is_told),
        cmocka_unit_test(an_edit_after_a_clean_close_withdraws_the_mark),
        cmocka_unit_test(positions_only_rise),
        cmocka_unit_test(only_orphans_are_not_named),
#ifdef BL_CHECKS
        cmocka_unit_test(a_second_edit_waits_for_the_first),
#endif
        cmocka_unit_test(edits_take_turns_and_readers_are_safe_in_an_epoch),
        cmocka_unit_test(a_read_only_open_beside_a_writer_finds_a_whole_state),
        cmocka_unit_test(a_second_look_that_fails_is_told),
        cmocka_unit_test(an_export_is_a_store_of_its_own),
    };
    return cmocka_run_group_tests(tests, NULL, end_world);
}
