/* SPDX-License-Identifier: MIT */
/* test_verify_values.c -- verify holds pointers against values, and a version against both their counts. */
#include "segment_fixture.h"

#include "tools/verify_values.h"
#include "version/version.h"

enum { VALUES = 6, VALUES_NUMBER = 5, KEYS_NUMBER = 6 };

typedef struct story {
    uint32_t problems;
    bole_error last;
} story;

static void note(void *context, const bole_error *problem)
{
    story *told = context;
    told->problems++;
    told->last = *problem;
}

static bl_segment_writer *begin(test_store *store, uint64_t number, uint32_t level)
{
    bl_segment_writer_parameters parameters = {
        .environment = &store->environment, .number = number, .table_name = "default", .level = level
    };
    bl_segment_writer *writer;
    assert_ok(bl_segment_writer_create(&parameters, &writer, NULL), NULL);
    return writer;
}

static bl_segment *finish(bl_segment_writer *writer)
{
    bl_segment_meta meta;
    bl_segment *segment;
    assert_ok(bl_segment_writer_finish(writer, &meta, &segment, NULL), NULL);
    bl_segment_meta_deinit(&meta);
    return segment;
}

static bool twins; /* the entry behind 3 is an older version of its key */

static bole_slice key_at(size_t i, char out[16])
{
    return bl_slice(out, (size_t)snprintf(out, 16, "key-%zu", i));
}

/* A table of one value segment and one segment that points into it, as `bend` leaves the pointers; `dead` values. */
static void check(void (*bend)(bl_value_pointer *pointers), uint64_t dead, uint32_t problems,
                  const char *text, const char *rule)
{
    test_store store;
    bl_value_pointer pointers[VALUES];
    char key[16];
    test_store_begin(&store, TEST_MEMORY_AMPLE);
    bl_segment_writer *writer = begin(&store, VALUES_NUMBER, BL_LEVEL_VALUES);
    for (size_t i = 0; i < VALUES; i++) {
        pointers[i].bytes = 10 + i;
        assert_ok(bl_segment_writer_add(writer, key_at(i, key), BL_TAG(100, BL_KIND_PUT),
                                        bl_slice("value of some bytes", 10 + i), NULL),
                  NULL);
        bl_segment_writer_point(writer, &pointers[i]);
    }
    bl_segment *values = finish(writer);
    bend(pointers);
    writer = begin(&store, KEYS_NUMBER, 3);
    for (size_t i = 0; i < VALUES; i++) {
        uint8_t bytes[BL_VALUE_POINTER_BYTES_MAX];
        size_t size = bl_value_pointer_encode(&pointers[i], bytes);
        if (pointers[i].segment != 0)
            assert_ok(bl_segment_writer_add(writer, key_at(twins && i == 4 ? 3 : i, key),
                                            BL_TAG(100 - i, BL_KIND_PUT_WITH_VALUE_POINTER),
                                            bl_slice(bytes, size), NULL),
                      NULL);
    }
    bl_segment *keys = finish(writer);
    bole_error error = BOLE_ERROR_INIT;
    assert_ok(bl_segment_check(keys, true, &error), &error);
    bl_version_birth birth = { .name = "default",
                               .comparator_name = BL_COMPARATOR_BYTES_NAME,
                               .comparator_known = true };
    bl_version_insertion insertions[] = { { 0, 3, 0, keys }, { 0, BL_LEVEL_VALUES, 0, values } };
    bl_values_died died = { 0, VALUES_NUMBER, { dead, 20 * dead } };
    bl_version_change change = { .births = &birth,
                                 .birth_count = 1,
                                 .insertions = insertions,
                                 .insertion_count = 2,
                                 .died = &died,
                                 .died_count = dead != 0 };
    bl_version *version;
    assert_ok(bl_version_build(&change, &version, &error), &error);
    bole_status status = bl_version_check(version, &error);
    assert_status(rule == NULL ? BOLE_OK : BOLE_CORRUPT, status, &error);
    if (rule != NULL)
        assert_non_null(strstr(error.message, rule));
    story told = { .problems = 0 };
    assert_ok(bl_verify_values(&version->tables[0], note, &told, &error), &error);
    assert_int_equal(told.problems, problems);
    if (problems != 0) {
        assert_non_null(strstr(told.last.message, text));
        assert_non_null(strstr(told.last.message, "000005.seg"));
    }
    bl_version_unref(version);
    bl_segment_unref(keys);
    bl_segment_unref(values);
    test_store_end(&store);
}

static void leave(bl_value_pointer *pointers) { (void)pointers; }
static void drop_one(bl_value_pointer *pointers) { pointers[2].segment = 0; }
static void swap_two(bl_value_pointer *pointers)
{
    bl_value_pointer other = pointers[1];
    pointers[1] = pointers[2];
    pointers[2] = other;
}
static void lengthen(bl_value_pointer *pointers) { pointers[3].bytes++; }
static void go_past(bl_value_pointer *pointers) { pointers[3].block = VALUES; }
static void bend_offset(bl_value_pointer *pointers) { pointers[3].offset += 8; }
static void lead_astray(bl_value_pointer *pointers) { pointers[3].segment = 4; }

/* Goal: (VER-5), and that each pointer leads to the value of its key. */
static void each_wrong_pointer_is_told(void **state)
{
    (void)state;
    check(leave, 0, 0, NULL, NULL);
    check(drop_one, 1, 0, NULL, NULL);
    check(drop_one, 0, 0, NULL, "VER-5: is not pointed into as often");
    check(leave, 1, 0, NULL, "VER-5: is not pointed into as often");
    check(leave, VALUES, 0, NULL, "VER-5: has more dead values than can be");
    check(swap_two, 0, 2, "where the value of another key stands", NULL);
    check(lengthen, 0, 1, "where a value of another length stands", NULL);
    check(go_past, 0, 1, "where no block is", NULL);
    check(bend_offset, 0, 1, "and a pointer says at", NULL);
    check(lead_astray, 0, 0, NULL, "VER-5: points into a value segment that is not there");
}

static void share(bl_value_pointer *pointers) { pointers[4] = pointers[3]; }

/* Goal: two versions of one key do not share a value. */
static void a_value_belongs_to_one_entry(void **state)
{
    (void)state;
    twins = true;
    check(share, 0, 1, "where another entry points too", NULL);
    twins = false;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_wrong_pointer_is_told),
        cmocka_unit_test(a_value_belongs_to_one_entry),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
