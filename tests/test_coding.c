/* SPDX-License-Identifier: MIT */
/* test_coding.c -- integers as bytes, heads, and slices. */
#include "test.h"

#include "base/coding.h"
#include "base/prng.h"
#include "base/slice.h"

static void integers_are_little_endian(void **state)
{
    (void)state;
    uint8_t bytes[8];
    bl_put_u64(bytes, 0x0102030405060708);
    assert_memory_equal(bytes, "\x08\x07\x06\x05\x04\x03\x02\x01", 8);
    assert_int_equal(bl_get_u64(bytes), 0x0102030405060708);
    assert_int_equal(bl_get_u32(bytes), 0x05060708);
    assert_int_equal(bl_get_u16(bytes), 0x0708);
}

/* Values of every length, and random ones: written in as many bytes as foretold, read back, end where they
 * end. */
static void varints_come_back(void **state)
{
    (void)state;
    bl_prng prng;
    bl_prng_init(&prng, test_seed(1));
    for (int i = 0; i < 100000; i++) {
        uint64_t value = bl_prng_next(&prng) >> bl_prng_below(&prng, 64);
        if (i < 64)
            value = UINT64_MAX >> i;
        uint8_t bytes[BL_VARINT_BYTES_MAX];
        const uint8_t *end = bl_put_varint(bytes, value);
        assert_int_equal(end - bytes, bl_varint_size(value));
        uint64_t back = ~value;
        assert_ptr_equal(bl_get_varint(bytes, end, &back), end);
        assert_true(back == value);
        assert_null(bl_get_varint(bytes, end - 1, &back)); /* cut short */
    }
    assert_int_equal(bl_varint_size(0), 1);
    assert_int_equal(bl_varint_size(UINT64_MAX), BL_VARINT_BYTES_MAX);
}

static void a_varint_has_one_form_and_at_most_64_bits(void **state)
{
    (void)state;
    uint64_t value;
    static const uint8_t padded[] = { 0x80, 0x00 }, padded_more[] = { 0xFF, 0x80, 0x00 };
    assert_null(bl_get_varint(padded, padded + 2, &value));
    assert_null(bl_get_varint(padded_more, padded_more + 3, &value));
    uint8_t wide[11];
    memset(wide, 0xFF, sizeof wide);
    wide[9] = 0x02; /* bit 64 */
    assert_null(bl_get_varint(wide, wide + 11, &value));
    wide[9] = 0x01;
    assert_ptr_equal(bl_get_varint(wide, wide + 11, &value), wide + 10);
    assert_true(value == UINT64_MAX);
    wide[9] = 0x81;
    wide[10] = 0x00;
    assert_null(bl_get_varint(wide, wide + 11, &value));
    assert_null(bl_get_varint(wide, wide, &value));
}

/* Heads at one offset order keys as the keys order themselves, or are equal. */
static void heads_never_contradict_the_keys(void **state)
{
    (void)state;
    bl_prng prng;
    bl_prng_init(&prng, test_seed(2));
    for (int i = 0; i < 200000; i++) {
        uint8_t a[12], b[12];
        size_t a_size = (size_t)bl_prng_below(&prng, 13), b_size = (size_t)bl_prng_below(&prng, 13);
        for (size_t j = 0; j < 12; j++) {
            a[j] = (uint8_t)(bl_prng_below(&prng, 3) * 127);
            b[j] = (uint8_t)(bl_prng_below(&prng, 3) * 127);
        }
        size_t common = bl_slice_common_prefix(bl_slice(a, a_size), bl_slice(b, b_size));
        size_t offset = (size_t)bl_prng_below(&prng, common + 1);
        int order = bl_slice_compare(bl_slice(a, a_size), bl_slice(b, b_size));
        uint64_t head_a = bl_head64(a, a_size, offset), head_b = bl_head64(b, b_size, offset);
        if (head_a != head_b)
            assert_true((head_a < head_b) == (order < 0));
        uint32_t half_a = bl_head32(a, a_size, offset), half_b = bl_head32(b, b_size, offset);
        if (half_a != half_b)
            assert_true((half_a < half_b) == (order < 0));
    }
    assert_true(bl_head64("abc", 3, 3) == 0);
    assert_true(bl_head64("abc", 3, 1) == 0x6263000000000000);
}

static void the_common_prefix_is_where_the_first_byte_differs(void **state)
{
    (void)state;
    char a[100], b[100];
    for (size_t size = 0; size < 100; size++) {
        for (size_t at = 0; at <= size; at++) {
            memset(a, 'k', size);
            memset(b, 'k', size);
            if (at < size)
                b[at] = 'q';
            assert_int_equal(bl_slice_common_prefix(bl_slice(a, size), bl_slice(b, size)), at);
        }
    }
    assert_int_equal(bl_slice_common_prefix(BOLE_STR("abcdefghij"), BOLE_STR("abcdefghi")), 9);
    assert_true(bl_slice_starts_with(BOLE_STR("abc"), BOLE_STR("")));
    assert_true(bl_slice_starts_with(BOLE_STR("abc"), BOLE_STR("abc")));
    assert_false(bl_slice_starts_with(BOLE_STR("ab"), BOLE_STR("abc")));
    assert_true(bl_slice_compare(BOLE_STR("ab"), BOLE_STR("abc")) < 0);
    assert_true(bl_slice_compare(BOLE_STR("\xFF"), BOLE_STR("a")) > 0);
    assert_int_equal(bl_slice_compare(bl_slice(NULL, 0), BOLE_STR("")), 0);
}

/* As snprintf: the length needed, whatever the room; whole forms only; always a string. */
static void bytes_are_shown_as_text(void **state)
{
    (void)state;
    char text[64];
    assert_int_equal(bl_slice_escape(BOLE_SLICE("a\\\n\t\0\xFF~", 7), text, sizeof text),
                     1 + 2 + 2 + 2 + 4 + 4 + 1);
    assert_string_equal(text, "a\\\\\\n\\t\\x00\\xff~");
    assert_int_equal(bl_slice_escape(BOLE_STR("ab\x01"
                                              "c"),
                                     text, 6),
                     7);
    assert_string_equal(text, "ab");
    assert_int_equal(bl_slice_escape(BOLE_STR("abc"), text, 1), 3);
    assert_string_equal(text, "");
    assert_int_equal(bl_slice_escape(BOLE_STR("abc"), NULL, 0), 3);
    assert_int_equal(bl_slice_escape(bl_slice(NULL, 0), text, sizeof text), 0);
    assert_string_equal(text, "");
}

/* A bound of three quarters of all numbers: without the draws that are made again every third number would come twice
 * as often as its neighbours. */
static void a_draw_below_any_bound_is_even(void **state)
{
    (void)state;
    enum { DRAWS = 60000 };
    const uint64_t bound = UINT64_C(3) << 62;
    bl_prng prng;
    bl_prng_init(&prng, test_seed(3));
    unsigned counts[3] = { 0 };
    for (int i = 0; i < DRAWS; i++) {
        uint64_t value = bl_prng_below(&prng, bound);
        assert_true(value < bound);
        counts[value % 3]++;
    }
    for (int i = 0; i < 3; i++)
        assert_in_range(counts[i], DRAWS / 3 - DRAWS / 50, DRAWS / 3 + DRAWS / 50);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(integers_are_little_endian),
        cmocka_unit_test(varints_come_back),
        cmocka_unit_test(a_varint_has_one_form_and_at_most_64_bits),
        cmocka_unit_test(heads_never_contradict_the_keys),
        cmocka_unit_test(the_common_prefix_is_where_the_first_byte_differs),
        cmocka_unit_test(bytes_are_shown_as_text),
        cmocka_unit_test(a_draw_below_any_bound_is_even),
    };
    return cmocka_run_group_tests_name("coding and slice", tests, NULL, NULL);
}
