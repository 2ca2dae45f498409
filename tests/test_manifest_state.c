/* SPDX-License-Identifier: MIT */
/* test_manifest_state.c -- edits that do not fit what the edits before them add up to: each is refused with its reason;
 * and with each allocation failing, an edit or a copy is whole or not there. */
#include "test.h"

#include "base/alloc.h"
#include "version/file_name.h"
#include "version/manifest_state.h"
#include "version_fixture.h"

static bole_error error;

enum { SEGMENTS = 3 };
static bl_table_description tables[3];
static bl_segment_meta metas[SEGMENTS];
static bl_log_description logs[2];
static bl_version_edit base;

static int set_up(void **state)
{
    (void)state;
    error = (bole_error)BOLE_ERROR_INIT;
    tables[0] = (bl_table_description){ .number = 0, .name = "default", .comparator_name = "bole.bytes" };
    tables[1] = (bl_table_description){
        .number = 1, .name = "one", .comparator_name = "bole.bytes", .position = 5
    };
    tables[2] = (bl_table_description){
        .number = 2, .name = "two", .comparator_name = "bole.bytes", .position = 6
    };
    metas[0] = make_meta(10, 0, 0, 3, BOLE_STR("a"), BOLE_STR("m"), 100, 200);
    metas[1] = make_meta(11, 1, 3, 0, BOLE_STR("a"), BOLE_STR("z"), 50, 60);
    metas[2] = make_meta(12, 0, BL_LEVEL_VALUES, 0, BOLE_STR("a"), BOLE_STR("z"), 70, 80);
    metas[2].blocks = metas[2].entries;
    metas[2].tombstones = 0;
    logs[0] = make_log(20, 1000);
    logs[1] = make_log(21, 2000);
    logs[0].end = 1500;
    base = (bl_version_edit){ .snapshot = true,
                              .tables_created = tables,
                              .tables_created_count = 3,
                              .added = metas,
                              .added_count = SEGMENTS,
                              .logs_added = logs,
                              .logs_added_count = 2,
                              .next_file_number = 100,
                              .next_table_number = 10,
                              .flushed_through = 900,
                              .synced = 950 };
    return 0;
}

static void begin(bl_manifest_state *state)
{
    *state = (bl_manifest_state){ .keep_metas = true };
    assert_ok(bl_manifest_state_apply(state, &base, "manifest-000001", 72, &error), &error);
    assert_int_equal(state->segment_count, SEGMENTS);
    assert_int_equal(state->next_sequence, 2000);
}

static void refused(const bl_version_edit *edit, int which, const char *part)
{
    bl_manifest_state state;
    if (edit->snapshot)
        state = (bl_manifest_state){ .keep_metas = true };
    else
        begin(&state);
    bole_status status = bl_manifest_state_apply(&state, edit, "manifest-000001", 200, &error);
    if (status == BOLE_OK)
        fail_msg("edit %d, \"%s\", is taken", which, part);
    assert_status(BOLE_CORRUPT, status, &error);
    assert_int_equal(error.offset, 200);
    if (strstr(error.message, part) == NULL)
        fail_msg("edit %d: the story \"%s\" does not name \"%s\"", which, error.message, part);
    bl_manifest_state_deinit(&state);
}

static void segments_that_do_not_fit_are_refused(void **unused)
{
    (void)unused;
    for (int which = 0;; which++) {
        bl_segment_meta meta = make_meta(30, 0, 0, 5, BOLE_STR("a"), BOLE_STR("b"), 10, 20);
        bl_version_edit edit = { .added = &meta, .added_count = 1 };
        const char *part = "in a way that no segment is";
        switch (which) {
        case 0: meta.number = 0, part = "not below the next file number"; break;
        case 1: meta.number = 100, part = "not below the next file number"; break;
        case 2: meta.number = 11, part = "used twice"; break;
        case 3: meta.number = 21, part = "used twice"; break;
        case 4: meta.id = (bl_id){ { 0 } }; break;
        case 5: meta.file_bytes = 0; break;
        case 6: meta.entries = 0; break;
        case 7: meta.tombstones = meta.entries + 1; break;
        case 8: meta.sequence_min = meta.sequence_max + 1; break;
        case 9: meta.sequence_max = BL_SEQUENCE_MAX + 1; break;
        case 10: meta.level = BL_LEVEL_VALUES + 1, part = "cannot stand in level"; break;
        case 11: meta.level = 3, part = "cannot stand in level"; break; /* with a run */
        case 12: meta.table = 7, part = "not there"; break;
        default:
            meta.level = BL_LEVEL_VALUES, meta.run = 0, meta.tombstones = 0, meta.blocks = meta.entries;
            part = "in a way that none is";
            switch (which) {
            case 13: meta.dead_entries = meta.entries; break;
            case 14: meta.dead_bytes = meta.raw_bytes + 1; break;
            case 15: meta.blocks--; break;
            case 16: meta.tombstones = 1; break;
            default: return;
            }
        }
        refused(&edit, which, part);
    }
}

static void places_that_do_not_fit_are_refused(void **unused)
{
    (void)unused;
    for (int which = 0;; which++) {
        bl_segment_place place = { .table = 0, .number = 10 };
        bl_segment_move move = { .table = 0, .number = 10, .level = 3, .run = 0 };
        bl_values_died died = { .table = 0, .number = 12, .more = { .entries = 1, .bytes = 1 } };
        bl_version_edit edit = { .next_file_number = 0 };
        const char *part = "is not there";
        if (which < 4)
            edit.removed = &place, edit.removed_count = 1;
        else if (which < 10)
            edit.moved = &move, edit.moved_count = 1;
        else
            edit.died = &died, edit.died_count = 1, part = "die than live";
        switch (which) {
        case 0: place.number = 0; break;
        case 1: place.number = 30; break;
        case 2: place.table = 1; break;
        case 3: place.number = 20; break; /* a log */
        case 4: move.number = 30; break;
        case 5: move.table = 1; break;
        case 6: move.level = BL_LEVEL_VALUES, part = "to or from the value segments"; break;
        case 7: move.number = 12, part = "to or from the value segments"; break;
        case 8: move.run = 1, part = "cannot stand in level"; break;
        case 9: move.level = 9, part = "cannot stand in level"; break;
        case 10: died.number = 30; break;
        case 11: died.number = 10; break; /* no value segment */
        case 12: died.table = 1; break;
        case 13: died.more.entries = metas[2].entries; break; /* the last one goes with its file */
        case 14: died.more.bytes = metas[2].raw_bytes + 1; break;
        default: return;
        }
        refused(&edit, which, part);
    }
}

static void logs_that_do_not_fit_are_refused(void **unused)
{
    (void)unused;
    for (int which = 0;; which++) {
        bl_log_description log = make_log(40, 3000), ended[1] = { logs[1] };
        uint64_t gone = 40;
        bl_version_edit edit = { .next_file_number = 0 };
        const char *part = "in a way that no log behind the others is";
        ended[0].end = 2500;
        if (which < 10)
            edit.logs_added = &log, edit.logs_added_count = 1;
        else if (which < 20)
            edit.logs_ended = ended, edit.logs_ended_count = 1, part = "ends";
        else
            edit.logs_removed = &gone, edit.logs_removed_count = 1, part = "is not there";
        switch (which) {
        case 0: log.number = 0, part = "not below the next file number"; break;
        case 1: log.number = 100, part = "not below the next file number"; break;
        case 2: log.number = 20, part = "used twice"; break;
        case 3: log.number = 10, part = "used twice"; break;
        case 4: log.start = 1999; break; /* before the one before */
        case 5: log.end = 2999; break;
        case 6: log.start = BL_SEQUENCE_MAX + 1; break;
        case 7: log.end_checksum_known = true; break; /* without an end */
        case 8: log.id = (bl_id){ { 0 } }; break;
        case 9: continue;
        case 10: ended[0].number = 40, part = "is not there"; break;
        case 11: ended[0].end = 1999, part = "before it starts"; break;
        case 12: ended[0].end = BL_SEQUENCE_MAX + 1, part = "before it starts"; break;
        case 13: ended[0] = logs[0], ended[0].end = 1501, part = "a second time"; break;
        case 14: ended[0] = logs[0], ended[0].end = 2001, part = "a second time"; break;
        case 15:
        case 16:
        case 17:
        case 18:
        case 19: continue;
        case 20: break;
        case 21: gone = 10; break; /* a segment */
        default: return;
        }
        refused(&edit, which, part);
    }
}

/* A log that ended may be told so again, in the same way; with its checksum, which then counts. */
static void a_log_ends_once(void **unused)
{
    (void)unused;
    bl_manifest_state state;
    bl_log_description ended = logs[0];
    bl_version_edit edit = { .logs_ended = &ended, .logs_ended_count = 1 };
    begin(&state);
    assert_ok(bl_manifest_state_apply(&state, &edit, "m", 1, &error), &error);
    ended.end_checksum_known = true;
    ended.end_checksum = 77;
    assert_ok(bl_manifest_state_apply(&state, &edit, "m", 2, &error), &error);
    assert_ok(bl_manifest_state_apply(&state, &edit, "m", 3, &error), &error);
    assert_int_equal(bl_manifest_state_log(&state, 20)->end_checksum, 77);
    ended.end_checksum_known = false;
    ended.end_checksum = 0;
    assert_ok(bl_manifest_state_apply(&state, &edit, "m", 4, &error), &error);
    assert_int_equal(bl_manifest_state_log(&state, 20)->end_checksum, 77);
    ended.end_checksum_known = true;
    assert_status(BOLE_CORRUPT, bl_manifest_state_apply(&state, &edit, "m", 5, &error), &error);
    bl_manifest_state_deinit(&state);
    /* The end of the first log that became known lies behind the start of the second. */
    logs[0].end = UINT64_MAX;
    begin(&state);
    ended = logs[0];
    ended.end = 2001;
    assert_status(BOLE_CORRUPT, bl_manifest_state_apply(&state, &edit, "m", 6, &error), &error);
    assert_non_null(strstr(error.message, "behind the start of the next"));
    bl_manifest_state_deinit(&state);
}

static void tables_that_do_not_fit_are_refused(void **unused)
{
    (void)unused;
    static char long_name[300];
    memset(long_name, 'n', sizeof long_name - 1);
    for (int which = 0;; which++) {
        bl_table_description table = {
            .number = 10, .name = "new", .comparator_name = "bole.bytes", .position = 7
        };
        bl_version_edit edit = { .next_table_number = 11 };
        const char *part = "";
        if (which < 10)
            edit.tables_created = &table, edit.tables_created_count = 1;
        else
            edit.tables_dropped = &table, edit.tables_dropped_count = 1, part = "cannot be dropped";
        switch (which) {
        case 0: table.name = "", part = "not allowed"; break;
        case 1: table.name = long_name, part = "not allowed"; break;
        case 2: table.name = "a\nb", part = "not allowed"; break;
        case 3: table.name = "two", part = "one name"; break;
        case 4: table.number = 2, part = "a second time"; break;
        case 5: table.number = 9, part = "a second time"; break; /* below the next number */
        case 6: table.number = UINT32_MAX, part = "a second time"; break;
        case 7:
        case 8:
        case 9: continue;
        case 10: table.number = 0; break;
        case 11: table.number = 10; break;
        case 12: table.number = 1, part = "keeps 1 segments"; break;
        default: return;
        }
        refused(&edit, which, part);
    }
}

static void snapshots_and_numbers_that_do_not_fit_are_refused(void **unused)
{
    (void)unused;
    for (int which = 0;; which++) {
        bl_version_edit edit = base;
        bl_table_description made[3], dropped[2];
        memcpy(made, tables, sizeof made);
        dropped[0] = dropped[1] = (bl_table_description){ .number = 5, .position = 3 };
        edit.tables_created = made;
        edit.tables_dropped = dropped;
        const char *part = "dropped twice, or both dropped and there";
        switch (which) {
        case 0: edit.tables_dropped_count = 2; break;
        case 1: dropped[0].number = 0, edit.tables_dropped_count = 1; break;
        case 2: dropped[0].number = 2, edit.tables_dropped_count = 1; break;
        case 3:
            dropped[0].number = 10, edit.tables_dropped_count = 1, part = "not below the next number";
            break;
        case 4: made[2].number = 1, part = "a second time"; break;
        case 5: made[2].number = 10, part = "not below the next table number"; break;
        case 6: made[0].number = 4, part = "without the default table"; break;
        case 7: edit.tables_created_count = 0, part = "without the default table"; break;
        case 8: edit.next_file_number = BL_FILE_NUMBER_MAX + 1, part = "out of range"; break;
        default:
            edit = (bl_version_edit){ .next_file_number = 0 };
            switch (which) {
            case 9: edit.next_file_number = 99, part = "the next file number falls"; break;
            case 10: edit.next_table_number = 9, part = "the next table number falls"; break;
            case 11: edit.flushed_through = 899, part = "what is flushed falls"; break;
            case 12: edit.synced = 949, part = "what is synced falls"; break;
            default: return;
            }
        }
        refused(&edit, which, part);
    }
    bl_manifest_state state;
    begin(&state);
    assert_status(BOLE_CORRUPT, bl_manifest_state_apply(&state, &base, "m", 1, &error), &error);
    assert_non_null(strstr(error.message, "a second snapshot"));
    bl_manifest_state_deinit(&state);
    bl_version_edit edit = { .synced = 1 };
    state = (bl_manifest_state){ .keep_metas = true };
    assert_status(BOLE_CORRUPT, bl_manifest_state_apply(&state, &edit, "m", 1, &error), &error);
    assert_non_null(strstr(error.message, "before the snapshot"));
    bl_manifest_state_deinit(&state);
}

/* Each part of an edit that follows one that does not fit is not looked at. */
static void the_first_part_that_does_not_fit_ends_it(void **unused)
{
    (void)unused;
    const bl_segment_place places[] = { { 0, 30 }, { 0, 31 } };
    const bl_segment_move moves[] = { { 0, 30, 3, 0 }, { 0, 31, 3, 0 } };
    const bl_values_died died[] = { { .table = 0, .number = 30 }, { .table = 0, .number = 31 } };
    const uint64_t gone[] = { 30, 31 };
    bl_log_description ended[] = { make_log(30, 1), make_log(31, 1) },
                       added[] = { make_log(0, 1), make_log(0, 1) };
    ended[0].end = ended[1].end = 2;
    bl_version_edit edits[] = {
        { .removed = places, .removed_count = 2 },
        { .moved = moves, .moved_count = 2 },
        { .died = died, .died_count = 2 },
        { .logs_ended = ended, .logs_ended_count = 2 },
        { .logs_removed = gone, .logs_removed_count = 2 },
        { .logs_added = added, .logs_added_count = 2 },
    };
    for (size_t i = 0; i < sizeof edits / sizeof edits[0]; i++)
        refused(&edits[i], (int)i, i == 5 ? "log 0" : "30");
}

/* ---- limits ---- */

static void as_many_as_a_manifest_holds(void **unused)
{
    (void)unused;
    bl_manifest_state state;
    char name[32];
    begin(&state);
    bole_status status = BOLE_OK;
    uint32_t made = state.table_count;
    for (uint32_t i = 10; status == BOLE_OK; i++) {
        snprintf(name, sizeof name, "table %u", i);
        bl_table_description table = {
            .number = i, .name = name, .comparator_name = "bole.bytes", .position = i
        };
        bl_version_edit edit = { .tables_created = &table, .tables_created_count = 1 };
        status = bl_manifest_state_apply(&state, &edit, "m", i, &error);
        made += status == BOLE_OK;
    }
    assert_status(BOLE_TOO_LARGE, status, &error);
    assert_int_equal(made, BL_TABLES_MAX);
    bl_manifest_state_deinit(&state);
    begin(&state);
    status = BOLE_OK;
    made = 0; /* dropped, and not forgotten: a log begins before */
    for (uint32_t i = 10; status == BOLE_OK; i++) {
        bl_table_description table = {
            .number = i, .name = "t", .comparator_name = "bole.bytes", .position = 100000 - i
        };
        bl_version_edit edit = { .tables_created = &table, .tables_created_count = 1 };
        assert_ok(bl_manifest_state_apply(&state, &edit, "m", i, &error), &error);
        edit = (bl_version_edit){ .tables_dropped = &table, .tables_dropped_count = 1 };
        status = bl_manifest_state_apply(&state, &edit, "m", i, &error);
        made += status == BOLE_OK;
    }
    assert_status(BOLE_TOO_LARGE, status, &error);
    assert_int_equal(made, BL_DROPPED_MAX);
    for (uint32_t i = 1; i < state.drop_count; i++) /* in order of position */
        assert_true(state.drops[i - 1].position <= state.drops[i].position);
    bl_manifest_state_deinit(&state);
    begin(&state);
    status = BOLE_OK;
    made = state.log_count;
    for (uint32_t i = 0; status == BOLE_OK; i++) {
        bl_log_description log = make_log(1000 + i, 3000 + i);
        bl_version_edit edit = { .logs_added = &log, .logs_added_count = 1, .next_file_number = 1001 + i };
        status = bl_manifest_state_apply(&state, &edit, "m", i, &error);
        made += status == BOLE_OK;
    }
    assert_status(BOLE_TOO_LARGE, status, &error);
    assert_int_equal(made, BL_LOGS_MAX);
    bl_manifest_state_deinit(&state);
}

/* ---- memory ---- */

static void want_of_memory_is_told(void **unused)
{
    (void)unused;
    static bl_segment_meta many[60];
    static bl_table_description dropped[40];
    uint64_t failed = 0;
    for (uint32_t i = 0; i < 60; i++)
        many[i] = make_meta(30 + i, i % 3, 3, 0, BOLE_STR("a"), BOLE_STR("b"), 10, 20);
    for (uint32_t i = 0; i < 40; i++)
        dropped[i] = (bl_table_description){ .number = 3 + i, .position = 3000 + i };
    base.next_table_number = 50;
    base.tables_dropped = dropped;
    base.tables_dropped_count = 40;
    bl_version_edit second = { .added = many, .added_count = 60 };
    for (int keeps = 0; keeps < 2; keeps++)
        for (uint64_t at = 0, more = 1; more != 0; at++) {
            int64_t live = bl_alloc_live();
            bl_manifest_state state = { .keep_metas = keeps != 0 }, copy = { .keep_metas = false };
            bl_alloc_fail_at(at, 1);
            bole_status status = bl_manifest_state_apply(&state, &base, "m", 1, &error);
            if (status == BOLE_OK)
                status = bl_manifest_state_apply(&state, &second, "m", 2, &error);
            if (status == BOLE_OK && keeps == 0)
                status = bl_manifest_state_copy(&copy, &state, &error);
            more = bl_alloc_calls() > at;
            bl_alloc_fail_at(UINT64_MAX, 0);
            assert_status(more != 0 ? BOLE_NO_MEMORY : BOLE_OK, status, &error);
            failed += more;
            if (more == 0 && keeps == 0) {
                assert_int_equal(copy.segment_count, state.segment_count);
                for (uint64_t number = 1; number < 100; number++)
                    assert_int_equal(bl_manifest_state_segment(&copy, number) != NULL,
                                     bl_manifest_state_segment(&state, number) != NULL);
                assert_string_equal(bl_manifest_state_table(&copy, 2)->name, "two");
                assert_int_equal(bl_manifest_state_drop(&copy, 42)->position, 3039);
                assert_int_equal(bl_manifest_state_log(&copy, 21)->start, 2000);
            }
            bl_manifest_state_deinit(&copy);
            bl_manifest_state_deinit(&state);
            assert_int_equal(bl_alloc_live(), live);
        }
    assert_true(failed > 30);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(segments_that_do_not_fit_are_refused, set_up),
        cmocka_unit_test_setup(places_that_do_not_fit_are_refused, set_up),
        cmocka_unit_test_setup(logs_that_do_not_fit_are_refused, set_up),
        cmocka_unit_test_setup(a_log_ends_once, set_up),
        cmocka_unit_test_setup(tables_that_do_not_fit_are_refused, set_up),
        cmocka_unit_test_setup(snapshots_and_numbers_that_do_not_fit_are_refused, set_up),
        cmocka_unit_test_setup(the_first_part_that_does_not_fit_ends_it, set_up),
        cmocka_unit_test_setup(as_many_as_a_manifest_holds, set_up),
        cmocka_unit_test_setup(want_of_memory_is_told, set_up),
    };
    return cmocka_run_group_tests_name("manifest_state", tests, NULL, NULL);
}
