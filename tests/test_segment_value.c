/* SPDX-License-Identifier: MIT */
/* test_segment_value.c -- pointers to values: their bytes, their counts, and what stands where they lead. */
#include "segment_fixture.h"

#include "base/prng.h"
#include "segment/value_pointer.h"

enum { VALUES = 40, NUMBER = 12 };

/* ---- Bytes ---- */

/* Goal: a pointer comes back from its bytes; cut ones, longer ones and those to nothing are none. */
static void a_pointer_comes_back_from_its_bytes(void **state)
{
    (void)state;
    const uint64_t edges[] = { 1, 127, 128, UINT32_MAX, UINT64_MAX };
    for (size_t i = 0; i < 5 * 5 * 5 * 5; i++) {
        bl_value_pointer given = { edges[i % 5], edges[i / 5 % 5], edges[i / 25 % 5], edges[i / 125] }, got;
        uint8_t bytes[BL_VALUE_POINTER_BYTES_MAX + 1] = { 0 };
        size_t size = bl_value_pointer_encode(&given, bytes);
        assert_true(bl_value_pointer_decode(bl_slice(bytes, size), &got));
        assert_memory_equal(&given, &got, sizeof given);
        for (size_t cut = 0; cut < size; cut++)
            assert_false(bl_value_pointer_decode(bl_slice(bytes, cut), &got));
        assert_false(bl_value_pointer_decode(bl_slice(bytes, size + 1), &got));
    }
    bl_value_pointer got;
    assert_false(bl_value_pointer_decode(bl_slice("\0\1\1\1", 4), &got));
    assert_false(bl_value_pointer_decode(bl_slice(NULL, 0), &got));
}

/* Goal: tallies count as a plain array does, and their bytes are a valid list that says the same. */
static void tallies_count_and_become_lists(void **state)
{
    (void)state;
    bl_prng prng;
    bl_prng_init(&prng, test_seed(1));
    for (int round = 0; round < 50; round++) {
        uint64_t counts[50] = { 0 }, bytes_of[50] = { 0 };
        bl_value_tally tally = { .counts = NULL };
        for (uint64_t i = bl_prng_below(&prng, 300); i > 0; i--) {
            uint64_t number = 1 + bl_prng_below(&prng, 49), more = 1 + bl_prng_below(&prng, 1000);
            counts[number] += 1;
            bytes_of[number] += more;
            assert_true(bl_value_tally_add(&tally, number, 1, more));
        }
        size_t size;
        uint8_t *encoded = bl_value_tally_encode(&tally, &size);
        bole_slice uses = bl_slice(encoded, size);
        assert_true(bl_value_uses_are_valid(uses));
        bl_value_use use;
        for (uint64_t number = 1; number < 50; number++) {
            const struct bl_value_count *one = bl_value_tally_of(&tally, number);
            assert_true((one == NULL) == (counts[number] == 0));
            if (one == NULL)
                continue;
            assert_true(one->entries == counts[number] && one->bytes == bytes_of[number]);
            assert_true(bl_value_uses_next(&uses, &use));
            assert_true(use.segment == number && use.pointers == counts[number]);
        }
        assert_false(bl_value_uses_next(&uses, &use));
        bl_free(encoded);
        bl_value_tally_deinit(&tally);
    }
    assert_false(bl_value_uses_are_valid(BOLE_STR("\1")));
    assert_false(bl_value_uses_are_valid(BOLE_SLICE("\1\0", 2)));
    assert_false(bl_value_uses_are_valid(BOLE_STR("\2\1\1\1")));
    assert_false(bl_value_uses_are_valid(BOLE_STR("\2\1\2\1")));
    assert_false(bl_value_uses_are_valid(BOLE_STR("\2\xff")));
}

/* ---- A value segment ---- */

static bole_slice key_at(size_t i, char out[16])
{
    return bl_slice(out, (size_t)snprintf(out, 16, "key-%04zu", i / 2)); /* two versions of each */
}

static bole_slice value_at(size_t i, uint8_t *out)
{
    static const size_t edges[] = { 126, 127, 128, 129, 16382, 16383, 16384, 16385 }; /* their varints grow */
    size_t size = i % 7 == 0 ? 0 : i % 7 == 1 ? 70000 : i % 7 == 2 ? edges[i / 7 % 8] : 100 * i;
    memset(out, (int)(1 + i), size);
    return bl_slice(out, size);
}

static bl_segment *make_values(test_store *store, bool warm, bl_value_pointer pointers[VALUES],
                               uint8_t *memory)
{
    bl_segment_writer_parameters parameters = {
        .environment = &store->environment,
        .number = NUMBER,
        .table_name = "default",
        .level = BL_LEVEL_VALUES,
        .compression = BL_COMPRESSED_LZ4,
        .install_frames = warm,
    };
    bole_error error = BOLE_ERROR_INIT;
    bl_segment_writer *writer;
    bl_segment_meta meta;
    bl_segment *segment = NULL;
    assert_ok(bl_segment_writer_create(&parameters, &writer, &error), &error);
    for (size_t i = 0; i < VALUES; i++) {
        char key[16];
        bole_slice value = value_at(i, memory);
        assert_ok(bl_segment_writer_add(writer, key_at(i, key), BL_TAG(1000 - i, BL_KIND_PUT), value, &error),
                  &error);
        pointers[i].bytes = value.size;
        bl_segment_writer_point(writer, &pointers[i]);
        assert_true(pointers[i].segment == NUMBER && pointers[i].block == i);
    }
    assert_ok(bl_segment_writer_finish(writer, &meta, warm ? &segment : NULL, &error), &error);
    assert_true(meta.blocks == VALUES && meta.entries == VALUES && bl_segment_meta_holds_values(&meta));
    if (!warm)
        assert_ok(bl_segment_create_handle(&store->environment, &meta, NULL, &segment, &error), &error);
    bl_segment_meta_deinit(&meta);
    assert_ok(bl_segment_check(segment, true, &error), &error);
    return segment;
}

/* By the pointer; or by its block alone. */
static bl_find find_value(bl_segment *segment, const bl_value_pointer *pointer, bole_slice key, bool by_block,
                          bole_slice expected)
{
    for (;;) {
        bl_found found;
        bl_epoch_enter();
        bl_find find = by_block ? bl_segment_find_value_at(segment, pointer->block, key, &found)
                                : bl_segment_find_value(segment, pointer, key, &found);
        if (find == BL_FIND_FOUND)
            assert_true(bl_slice_equal(found.value, expected));
        bl_epoch_leave();
        if (find != BL_FIND_MUST_LOAD)
            return find;
        bole_error error = BOLE_ERROR_INIT;
        assert_ok(bl_segment_load(segment, found.block, &error), &error);
    }
}

/* Goal (VALUE-1): each value is found by its pointer, in an epoch and held, from frames and from the file; and a
 * pointer that is wrong in any of its parts, or comes with another key, is damage that is named. */
static void only_the_right_pointer_finds_a_value(void **state)
{
    (void)state;
    uint8_t *memory = malloc(100000);
    for (int warm = 0; warm < 2; warm++) {
        test_store store;
        bl_value_pointer pointers[VALUES];
        test_store_begin(&store, TEST_MEMORY_AMPLE);
        bl_segment *segment = make_values(&store, warm != 0, pointers, memory);
        bl_held_value held = { .frame = NULL };
        for (size_t i = 0; i < VALUES; i++) {
            char key[16];
            bole_slice value = value_at(i, memory), k = key_at(i, key);
            bole_error error = BOLE_ERROR_INIT;
            assert_ok(bl_segment_hold_value(segment, &pointers[i], k, &held, NULL, &error), &error);
            assert_true(bl_slice_equal(held.value, value));
            assert_int_equal(find_value(segment, &pointers[i], k, i % 2 == 0, value), BL_FIND_FOUND);
            assert_int_equal(find_value(segment, &pointers[i], k, i % 2 != 0, value), BL_FIND_FOUND);
            assert_ok(bl_segment_hold_value(segment, &pointers[i], k, &held, NULL, &error), &error);
            assert_true(bl_slice_equal(held.value, value));
            bl_value_pointer wrong[7];
            for (size_t j = 0; j < 7; j++)
                wrong[j] = pointers[i];
            wrong[0].block = i == 0 ? 1 : i - 1;
            wrong[1].block = VALUES;
            wrong[2].offset++;
            wrong[3].bytes++;
            wrong[4].bytes--;
            wrong[5].bytes -=
                9; /* of an empty one: with its varint and a byte it comes to that record's size again */
            const bole_slice other[] = {
                k, k, k, k, k, k, BOLE_STR("key-9999"), BOLE_STR("key"), BOLE_STR("key-00001")
            };
            for (size_t j = 0; j < 9; j++) {
                const bl_value_pointer *pointer = &wrong[j < 6 ? j : 6];
                error = (bole_error)BOLE_ERROR_INIT;
                assert_int_equal(find_value(segment, pointer, other[j], false, value), BL_FIND_ABSENT);
                if (j == 1 || j > 5) /* no block of it, or another key */
                    assert_int_equal(find_value(segment, pointer, other[j], true, value), BL_FIND_ABSENT);
                assert_status(BOLE_CORRUPT,
                              bl_segment_hold_value(segment, pointer, other[j], &held, NULL, &error), &error);
                assert_non_null(strstr(error.message, "000012.seg"));
                assert_int_equal(error.offset, pointer->offset);
                assert_null(held.value.data);
            }
        }
        bl_held_value_release(&held);
        bl_segment_unref(segment);
        test_store_end(&store);
    }
    free(memory);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_pointer_comes_back_from_its_bytes),
        cmocka_unit_test(tallies_count_and_become_lists),
        cmocka_unit_test(only_the_right_pointer_finds_a_value),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
