/* SPDX-License-Identifier: MIT */
/* test_value_pointers.c -- pointers to values that lead nowhere, or to the value of another key: each way to read,
 * merge and verify says so, and none shows what stands there. */
#include "test.h"

#include <bole/bole_inspect.h>
#include <bole/bole_vfs.h>

#include "base/alloc.h"
#include "compaction/value_output.h"
#include "engine/log_structured_store.h"
#include "engine/value_read.h"
#include "segment/segment_writer.h"

enum { KEYS = 8, VALUE_BYTES = 20000 };

static bole_error error;

static bole_slice key_of(int i, char out[16])
{
    return (bole_slice){ out, (size_t)snprintf(out, 16, "key%02d", i) };
}

static void fill_value(int i, char out[VALUE_BYTES]) { memset(out, 'a' + i, VALUE_BYTES); }

static void told(const char *part, bole_status status)
{
    assert_status(BOLE_CORRUPT, status, &error);
    if (strstr(error.message, part) == NULL)
        fail_msg("the story \"%s\" does not name \"%s\"", error.message, part);
    error = (bole_error)BOLE_ERROR_INIT;
}

/* ---- A store two of whose pointers are exchanged ---- */

typedef struct fixture {
    bole_vfs *disk;
    bole_options options;
    bole_db *db;
} fixture;

static bool find_keys(void *context, const bl_version_table *table, bl_segment *segment)
{
    (void)table;
    if (!bl_segment_meta_holds_values(bl_segment_meta_of(segment)))
        *(bl_segment **)context = segment;
    return true;
}

/* Write the segment of keys anew, with the pointers of two of them exchanged, in the place of the one that is there. */
static void exchange_pointers(bole_db *db, int one, int other)
{
    bl_version *version = bl_version_set_current(db->versions);
    bl_segment *keys = NULL, *changed;
    bl_version_each_segment(version, find_keys, &keys);
    assert_non_null(keys);
    const bl_segment_meta *old = bl_segment_meta_of(keys);
    bl_mutex_lock(&db->mutex);
    uint64_t number = bl_version_set_new_file_number(db->versions);
    bl_mutex_unlock(&db->mutex);
    bl_segment_writer_parameters parameters = { .environment = &db->environment,
                                                .number = number,
                                                .table_name = "default",
                                                .level = old->level,
                                                .run = old->run };
    bl_segment_cursor_options options = { .read_ahead = true };
    bl_segment_writer *writer;
    bl_cursor *cursor;
    char pointers[KEYS][64];
    size_t sizes[KEYS];
    uint64_t tags[KEYS];
    int count = 0;
    assert_ok(bl_segment_cursor(&keys, 1, &options, &cursor, &error), &error);
    for (cursor->ops->seek_first(cursor); cursor->valid; bl_cursor_next(cursor), count++) {
        assert_true(count < KEYS && cursor->value.size <= sizeof pointers[0]);
        memcpy(pointers[count], cursor->value.data, cursor->value.size);
        sizes[count] = cursor->value.size;
        tags[count] = cursor->tag;
    }
    bl_cursor_close(cursor);
    assert_int_equal(count, KEYS);
    assert_ok(bl_segment_writer_create(&parameters, &writer, &error), &error);
    for (int i = 0; i < KEYS; i++) {
        char key[16];
        int from = i == one ? other : i == other ? one : i;
        assert_ok(bl_segment_writer_add(writer, key_of(i, key), tags[i],
                                        bl_slice(pointers[from], sizes[from]), &error),
                  &error);
    }
    bl_segment_meta meta;
    assert_ok(bl_segment_writer_finish(writer, &meta, &changed, &error), &error);
    meta.level = old->level;
    meta.run = old->run;
    bl_segment_place gone = { .table = 0, .number = old->number };
    bl_version_edit edit = {
        .added = &meta, .added_handles = &changed, .added_count = 1, .removed = &gone, .removed_count = 1
    };
    bl_mutex_lock(&db->mutex);
    assert_ok(bl_version_set_apply(db->versions, &edit, &error), &error);
    assert_ok(bl_read_state_publish_locked(db, &error), &error);
    bl_mutex_unlock(&db->mutex);
    bl_segment_unref(changed);
    bl_segment_meta_deinit(&meta);
}

static int set_up(void **state)
{
    fixture *f = calloc(1, sizeof *f);
    error = (bole_error)BOLE_ERROR_INIT;
    assert_ok(bole_vfs_memory_create(1, &f->disk), NULL);
    f->options = BOLE_OPTIONS_INIT;
    f->options.vfs = f->disk;
    f->options.flags = BOLE_CREATE;
    f->options.memory_limit = 8 << 20;
    f->options.large_value_bytes = 100;
    f->options.simulation_seed = 1;
    assert_ok(bole_open("store", &f->options, &f->db, &error), &error);
    for (int i = 0; i < KEYS; i++) {
        char key[16], value[VALUE_BYTES];
        fill_value(i, value);
        assert_ok(bole_put(f->db, NULL, key_of(i, key), (bole_slice){ value, VALUE_BYTES }), NULL);
    }
    assert_ok(bole_flush(f->db, &error), &error);
    *state = f;
    return 0;
}

static int tear_down(void **state)
{
    fixture *f = *state;
    assert_ok(bole_close(f->db, &error), &error);
    bole_vfs_destroy(f->disk);
    free(f);
    return 0;
}

static void note_problem(void *context, const bole_error *problem)
{
    assert_non_null(strstr(problem->message, "where the value of another key stands"));
    ++*(unsigned *)context;
}

static bool note_probe(void *context, const bole_inspect_probe *probe)
{
    (void)context, (void)probe;
    return true;
}

/* Goal: the value of another key is never shown, whoever asks. */
static void no_read_shows_the_value_of_another_key(void **state)
{
    fixture *f = *state;
    exchange_pointers(f->db, 2, 5);
    for (int round = 0; round < 2; round++) { /* with all in memory, and opened again */
        bole_read_options options = BOLE_READ_OPTIONS_INIT;
        options.error = &error;
        bole_slice keys[KEYS];
        char texts[KEYS][16], value[VALUE_BYTES];
        bole_buffer got = BOLE_BUFFER_INIT, many[KEYS];
        bole_status statuses[KEYS];
        for (int i = 0; i < KEYS; i++) {
            bool wrong = i == 2 || i == 5;
            bole_view view = BOLE_VIEW_INIT;
            keys[i] = key_of(i, texts[i]);
            many[i] = (bole_buffer)BOLE_BUFFER_INIT;
            fill_value(i, value);
            bole_status status = bole_get(f->db, &options, keys[i], &got);
            if (wrong) {
                told(".seg", status);
            } else {
                assert_ok(status, &error);
                assert_int_equal(got.size, VALUE_BYTES);
                assert_memory_equal(got.data, value, VALUE_BYTES);
            }
            assert_status(wrong ? BOLE_CORRUPT : BOLE_OK, bole_get_view(f->db, &options, keys[i], &view),
                          &error);
            if (!wrong)
                assert_memory_equal(view.value.data, value, VALUE_BYTES);
            bole_view_release(&view);
            assert_ok(bole_exists(f->db, &options, keys[i]), &error); /* the key is there */
            unsigned probes = 0;
            (void)!bole_inspect_get(f->db, NULL, keys[i], note_probe, &probes, &error);
            error = (bole_error)BOLE_ERROR_INIT;
        }
        assert_status(BOLE_CORRUPT, bole_multi_get(f->db, &options, KEYS, keys, many, statuses), &error);
        for (int i = 0; i < KEYS; i++) {
            assert_status(i == 2 || i == 5 ? BOLE_CORRUPT : BOLE_OK, statuses[i], &error);
            fill_value(i, value);
            if (statuses[i] == BOLE_OK)
                assert_memory_equal(many[i].data, value, VALUE_BYTES);
            bole_buffer_free(&many[i]);
        }
        bole_iterator *iterator;
        assert_ok(bole_iterator_create(f->db, &options, &iterator), &error);
        int shown = 0;
        for (bool on = bole_iterator_seek_first(iterator); on && bole_iterator_status(iterator) == BOLE_OK;
             on = bole_iterator_next(iterator)) {
            bole_slice seen = bole_iterator_value(iterator);
            fill_value(shown, value);
            if (seen.size != 0) {
                assert_int_equal(seen.size, VALUE_BYTES);
                assert_memory_equal(seen.data, value, VALUE_BYTES);
                shown++;
            }
        }
        assert_int_equal(shown, 2);
        assert_status(BOLE_CORRUPT, bole_iterator_status(iterator), &error);
        bole_iterator_destroy(iterator);
        bole_buffer_free(&got);
        assert_ok(bole_close(f->db, &error), &error);
        unsigned problems = 0;
        bole_verify_report report;
        assert_status(BOLE_CORRUPT,
                      bole_verify("store", &f->options, note_problem, &problems, &report, &error), &error);
        assert_int_equal(problems, 2);
        error = (bole_error)BOLE_ERROR_INIT;
        for (uint64_t at = 0, more = 1; more != 0 && round == 0;
             at++) { /* what was not looked at is not whole */
            problems = 0;
            bl_alloc_fail_at(at, 1);
            bole_status status = bole_verify("store", &f->options, note_problem, &problems, &report, &error);
            more = bl_alloc_calls() > at;
            bl_alloc_fail_at(UINT64_MAX, 0);
            assert_true(status == BOLE_NO_MEMORY || (status == BOLE_CORRUPT && problems == 2));
            error = (bole_error)BOLE_ERROR_INIT;
        }
        assert_ok(bole_open("store", &f->options, &f->db, &error), &error);
    }
}

/* ---- Pointers that lead nowhere ---- */

static void pointers_to_nowhere_are_told(void **state)
{
    (void)state;
    error = (bole_error)BOLE_ERROR_INIT;
    bl_version_table table = { .name = "trees" };
    uint8_t bytes[BL_VALUE_POINTER_BYTES_MAX];
    bl_value_pointer pointer = { .segment = 7, .block = 1, .offset = 4096, .bytes = 100 };
    bole_slice good = bl_slice(bytes, bl_value_pointer_encode(&pointer, bytes)),
               garbage = BOLE_STR("\xff\xff\xff");
    char long_key[200];
    memset(long_key, 'k', sizeof long_key);
    bole_slice key = { long_key, sizeof long_key }, shown[] = { good, garbage };
    for (int i = 0; i < 2; i++) {
        uint32_t at;
        bl_held_value held = { .frame = NULL };
        bole_buffer value = BOLE_BUFFER_INIT;
        told("\"trees\" points to no value segment",
             bl_value_locate(&table, key, shown[i], &pointer, &at, &error));
        told("\"trees\" points to no value segment", bl_value_hold(&table, key, shown[i], &held, &error));
        assert_true(bl_buffer_assign(&value, shown[i].data, shown[i].size));
        told("\"trees\" points to no value segment", bl_value_replace(&table, key, &value, &error));
        bole_buffer_free(&value);

        bl_job_context job = { .segment_bytes = 1 << 20 };
        bl_job_result result = { 0 };
        bl_value_output output;
        bole_slice carried = shown[i];
        bl_value_output_begin(&output, &job, &table, &result, 0); /* nothing is condemned: as it is */
        assert_ok(bl_value_output_carry(&output, key, BL_TAG(1, BL_KIND_PUT_WITH_VALUE_POINTER), &carried,
                                        &error),
                  &error);
        assert_ptr_equal(carried.data, shown[i].data);
        bl_value_output_abandon(&output);
        bl_value_output_begin(&output, &job, &table, &result, 2);
        told("points to no value",
             bl_value_output_carry(&output, key, BL_TAG(1, BL_KIND_PUT_WITH_VALUE_POINTER), &carried,
                                   &error));
        if (i == 1) {
            told("points to no value", bl_value_output_drop(&output, key, garbage, &error));
        } else {
            bl_alloc_fail_at(0, 1);
            assert_status(BOLE_NO_MEMORY, bl_value_output_drop(&output, key, good, &error), &error);
            bl_alloc_fail_at(UINT64_MAX, 0);
            error = (bole_error)BOLE_ERROR_INIT;
            assert_ok(bl_value_output_drop(&output, key, good, &error), &error);
            told("in segment 7, which is not there", bl_value_output_end(&output, &error));
        }
        bl_value_output_abandon(&output);
        bl_job_result_deinit(&result);
    }
}

/* Goal: each way to read tells of a pointer whose segment is not in the list, and reads on when it is again. Method: a
 * bit of the list in memory flips; an edit that would lead to it is refused (VER-5). */
static void no_read_follows_a_pointer_to_nowhere(void **state)
{
    fixture *f = *state;
    const bl_version_table *table = bl_version_table_by_number(bl_version_set_current(f->db->versions), 0);
    assert_int_equal(table->values.count, 1);
    uint64_t *number = (uint64_t *)(uintptr_t)&table->values.numbers[0];
    bole_read_options options = BOLE_READ_OPTIONS_INIT;
    options.error = &error;
    for (int i = 0; i < 2 * KEYS; i++) {
        char text[16], value[VALUE_BYTES];
        bole_slice key = key_of(i / 2, text);
        bole_view view = BOLE_VIEW_INIT;
        bole_status status = BOLE_OK;
        bole_buffer got = BOLE_BUFFER_INIT;
        if (i % 2 == 0) {
            *number ^= 64;
            told("points to no value segment", bole_get(f->db, &options, key, &got));
            told("points to no value segment", bole_get_view(f->db, &options, key, &view));
            told("points to no value segment", bole_multi_get(f->db, &options, 1, &key, &got, &status));
            assert_int_equal(status, BOLE_CORRUPT);
            assert_true(view.value.data == NULL && got.size == 0);
            assert_ok(bole_exists(f->db, &options, key), &error);
            *number ^= 64;
        } else {
            fill_value(i / 2, value);
            assert_ok(bole_get(f->db, &options, key, &got), &error);
            assert_int_equal(got.size, VALUE_BYTES);
            assert_memory_equal(got.data, value, VALUE_BYTES);
        }
        bole_buffer_free(&got);
    }
}

/* Goal: where the value behind a pointer finds no memory, that is told. Method: each allocation fails. */
static void a_value_behind_a_pointer_needs_memory(void **state)
{
    fixture *f = *state;
    bl_version *version = bl_version_set_current(f->db->versions);
    bl_segment *keys = NULL;
    bl_version_each_segment(version, find_keys, &keys);
    bl_segment_cursor_options options = { .read_ahead = true };
    bl_cursor *cursor;
    assert_ok(bl_segment_cursor(&keys, 1, &options, &cursor, &error), &error);
    cursor->ops->seek_first(cursor);
    assert_true(cursor->valid);
    char text[16], value[VALUE_BYTES];
    fill_value(0, value);
    unsigned failures = 0;
    for (uint64_t at = 0, more = 1; more != 0; at++) {
        bole_buffer got = BOLE_BUFFER_INIT;
        assert_true(bl_buffer_assign(&got, cursor->value.data, cursor->value.size));
        bl_alloc_fail_at(at, 1);
        bole_status status = bl_value_replace(bl_version_table_by_number(version, 0), key_of(0, text), &got,
                                              &error);
        more = bl_alloc_calls() > at;
        bl_alloc_fail_at(UINT64_MAX, 0);
        if (status == BOLE_OK) {
            assert_int_equal(got.size, VALUE_BYTES);
            assert_memory_equal(got.data, value, VALUE_BYTES);
        } else {
            assert_status(BOLE_NO_MEMORY, status, &error);
            assert_true(error.message[0] != '\0');
            error = (bole_error)BOLE_ERROR_INIT;
            failures++;
        }
        bole_buffer_free(&got);
    }
    assert_true(failures > 0);
    bl_cursor_close(cursor);
}

/* Goal: no more dies of a value segment than lives in it (VALUES-2). */
static void no_more_dies_than_lives(void **state)
{
    fixture *f = *state;
    const bl_version_table *table = bl_version_table_by_number(bl_version_set_current(f->db->versions), 0);
    assert_int_equal(table->values.count, 1);
    const bl_segment_meta *meta = bl_segment_meta_of(table->values.segments[0]);
    for (int which = 0; which < 5; which++) {
        bl_job_context job = { .segment_bytes = 1 << 20 };
        bl_job_result result = { 0 };
        bl_value_output output;
        uint64_t entries = which == 0 ? meta->entries + 1 : which == 1 ? 1 : which == 2 ? meta->entries : 2;
        uint64_t bytes = which == 1 ? meta->raw_bytes + 1 : which == 2 ? meta->raw_bytes : 10;
        bl_value_output_begin(&output, &job, table, &result, 0);
        assert_true(bl_value_tally_add(&output.dead, table->values.numbers[0], entries, bytes));
        bl_alloc_fail_at(which == 4 ? 1 : UINT64_MAX, 1);
        bole_status status = bl_value_output_end(&output, &error);
        bl_alloc_fail_at(UINT64_MAX, 0);
        if (which < 2) {
            told("more dies than lives", status);
        } else if (which == 4) {
            assert_status(BOLE_NO_MEMORY, status, &error);
            error = (bole_error)BOLE_ERROR_INIT;
        } else {
            assert_ok(status, &error);
            assert_int_equal(result.dead_count, which == 2); /* all of it: it goes */
            assert_int_equal(result.died_count, which == 3);
        }
        bl_value_output_abandon(&output);
        bl_job_result_deinit(&result);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(no_read_shows_the_value_of_another_key, set_up, tear_down),
        cmocka_unit_test(pointers_to_nowhere_are_told),
        cmocka_unit_test_setup_teardown(no_read_follows_a_pointer_to_nowhere, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_value_behind_a_pointer_needs_memory, set_up, tear_down),
        cmocka_unit_test_setup_teardown(no_more_dies_than_lives, set_up, tear_down),
    };
    return cmocka_run_group_tests_name("value_pointers", tests, NULL, NULL);
}
