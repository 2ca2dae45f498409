/* SPDX-License-Identifier: MIT */
/* test_bloom_filter.c -- the filter denies nothing that was added, passes strangers at the rate that is
 * told, and gives one answer with and without SIMD. */
#include "entries_fixture.h"

#include "base/coding.h"
#include "base/hash.h"
#include "segment/bloom_filter.h"

/* A filter over `keys` hashes of consecutive numbers; free the section. */
static uint8_t *build(uint64_t keys, uint32_t bits_tenths, bl_bloom_filter *out)
{
    bl_bloom_builder builder;
    bl_bloom_builder_init(&builder, bits_tenths);
    for (uint64_t i = 0; i < keys; i++) {
        assert_true(bl_bloom_builder_add(&builder, bl_hash(&i, sizeof i)));
        assert_true(bl_bloom_builder_add(&builder, bl_hash(&i, sizeof i))); /* an older version */
    }
    assert_int_equal(builder.count, keys);
    size_t bytes = bl_bloom_builder_section_bytes(&builder);
    uint8_t *section = aligned_alloc(64, bytes);
    assert_non_null(section);
    bl_bloom_builder_finish(&builder, section);
    bl_bloom_builder_deinit(&builder);
    bole_error error;
    assert_ok(bl_bloom_filter_init(out, bl_slice(section, bytes), "a.seg", 0, &error), &error);
    assert_int_equal(out->key_count, keys);
    return section;
}

/* Goal: a key that was added is never denied. Method: all sizes of filters, whole and broken bits. */
static void what_was_added_is_never_denied(void **state)
{
    (void)state;
    static const uint32_t bits[] = { 1, 10, 15, 33, 100, 137, 201, 320, 1000 };
    for (unsigned i = 0; i < sizeof bits / sizeof *bits; i++) {
        for (uint64_t keys = 0; keys < 30000; keys = keys * 3 + 1) {
            bl_bloom_filter filter;
            uint8_t *section = build(keys, bits[i], &filter);
            for (uint64_t key = 0; key < keys; key++) {
                uint64_t hash = bl_hash(&key, sizeof key);
                assert_true(bl_bloom_filter_may_contain(&filter, hash));
                assert_true(bl_bloom_filter_may_contain_scalar(&filter, hash));
            }
            free(section);
        }
    }
}

/* Goal: the rate that is measured is the rate that is told, within 20 % (and chance, where it is small).
 * Method: strangers asked for at 1 to 20 bits a key. */
static void the_measured_rate_is_the_expected_one(void **state)
{
    (void)state;
    static const uint32_t bits[] = { 10, 25, 50, 80, 100, 120, 140, 160 };
    enum { KEYS = 40000 };
    for (unsigned i = 0; i < sizeof bits / sizeof *bits; i++) {
        bl_bloom_filter filter;
        uint8_t *section = build(KEYS, bits[i], &filter);
        double expected = bl_bloom_filter_expected_rate(&filter);
        uint64_t strangers = bits[i] > 100 ? 1000000 : 200000, passed = 0;
        for (uint64_t j = 0; j < strangers; j++) {
            uint64_t key = KEYS + j;
            passed += bl_bloom_filter_may_contain(&filter, bl_hash(&key, sizeof key));
        }
        double measured = (double)passed / (double)strangers;
        print_message("%4.1f bits, %2u probes: expected %.4f %%, measured %.4f %%\n", bits[i] / 10.0,
                      filter.probes, expected * 100, measured * 100);
        assert_true(measured < expected * 1.2 && measured > expected * 0.8);
        free(section);
    }
}

/* Goal: at 10 bits a key a stranger passes in less than 1 % of cases, in 14 less than 0.2 %. */
static void ten_bits_pass_less_than_one_percent(void **state)
{
    (void)state;
    assert_true(bl_bloom_expected_rate(512 / 10.0, bl_bloom_probes(100)) < 0.01);
    assert_true(bl_bloom_expected_rate(512 / 14.0, bl_bloom_probes(140)) < 0.002);
    assert_true(bl_bloom_expected_rate(0, 6) == 0);
    assert_true(bl_bloom_expected_rate(1e19, 6) == 1);
    assert_true(bl_bloom_expected_rate(512, 1) > 0.6 && bl_bloom_expected_rate(512, 1) < 0.64); /* 1 - 1/e */
}

/* Goal: the number of probes is the best one for the bits. Method: the rate of every other number. */
static void probes_are_the_best_number(void **state)
{
    (void)state;
    for (uint32_t bits = BL_BLOOM_BITS_TENTHS_MIN; bits <= BL_BLOOM_BITS_TENTHS_MAX; bits++) {
        double keys = 5120.0 / bits, chosen = bl_bloom_expected_rate(keys, bl_bloom_probes(bits));
        for (uint32_t probes = 1; probes <= BL_BLOOM_PROBES_MAX; probes++)
            assert_true(chosen <= bl_bloom_expected_rate(keys, probes) * 1.01);
    }
}

/* Goal: scalar and SIMD give one answer. Method: lines of random bytes, all numbers of probes. */
static void scalar_and_simd_agree(void **state)
{
    (void)state;
    bl_prng prng;
    bl_prng_init(&prng, test_seed(5));
    enum { LINES = 8 };
    uint8_t section[BL_BLOOM_HEADER_BYTES + LINES * BL_BLOOM_LINE_BYTES];
    for (unsigned round = 0; round < 400; round++) {
        memset(section, 0, BL_BLOOM_HEADER_BYTES);
        section[0] = 1;
        section[1] = (uint8_t)(1 + round % BL_BLOOM_PROBES_MAX);
        bl_put_u64(section + 8, LINES);
        for (size_t i = BL_BLOOM_HEADER_BYTES; i < sizeof section; i++) /* most bits set, so that many pass */
            section[i] = (uint8_t)(bl_prng_next(&prng) | bl_prng_next(&prng) | bl_prng_next(&prng));
        bl_bloom_filter filter;
        assert_ok(bl_bloom_filter_init(&filter, bl_slice(section, sizeof section), "a.seg", 0, NULL), NULL);
        for (unsigned i = 0; i < 500; i++) {
            uint64_t hash = bl_prng_next(&prng);
            assert_int_equal(bl_bloom_filter_may_contain(&filter, hash),
                             bl_bloom_filter_may_contain_scalar(&filter, hash));
        }
    }
}

/* Goal: no section leads a probe out of bounds. Method: changed headers in memory of exactly their size. */
static void hostile_sections_are_refused(void **state)
{
    (void)state;
    bl_prng prng;
    bl_prng_init(&prng, test_seed(6));
    bl_bloom_filter filter;
    uint8_t *whole = build(100, 100, &filter);
    size_t bytes = BL_BLOOM_HEADER_BYTES + filter.line_count * BL_BLOOM_LINE_BYTES;
    unsigned accepted = 0;
    for (unsigned round = 0; round < 3000; round++) {
        size_t size = round % 3 == 0 ? bl_prng_below(&prng, bytes + 1) : bytes;
        uint8_t *section = test_copy(whole, size);
        for (uint64_t n = bl_prng_below(&prng, 3); n > 0 && size > 0; n--)
            section[bl_prng_below(&prng, size < 64 ? size : 64)] = (uint8_t)bl_prng_next(&prng);
        bole_status status = bl_bloom_filter_init(&filter, bl_slice(section, size), "a.seg", 0, NULL);
        assert_true(status == BOLE_OK || status == BOLE_CORRUPT || status == BOLE_UNSUPPORTED);
        for (unsigned i = 0; status == BOLE_OK && i < 20; i++) {
            (void)bl_bloom_filter_may_contain(&filter, bl_prng_next(&prng));
            (void)bl_bloom_filter_may_contain(&filter, UINT64_MAX);
            assert_true(bl_bloom_filter_expected_rate(&filter) >= 0);
        }
        accepted += status == BOLE_OK;
        free(section);
    }
    assert_true(accepted > 0);
    whole[0] = 2;
    assert_status(BOLE_UNSUPPORTED, bl_bloom_filter_init(&filter, bl_slice(whole, bytes), "a.seg", 0, NULL),
                  NULL);
    free(whole);
}

/* Goal: the bytes of a filter do not change: stores depend on them. */
static void a_small_filter_has_golden_bytes(void **state)
{
    (void)state;
    bl_bloom_filter filter;
    uint8_t *section = build(20, 100, &filter);
    test_golden("bloom_filter.txt", section, BL_BLOOM_HEADER_BYTES + filter.line_count * BL_BLOOM_LINE_BYTES);
    free(section);
}

/* Goal: a number of keys that no memory holds is refused, and nothing is lost by asking. */
static void an_absurd_estimate_is_refused(void **state)
{
    (void)state;
    bl_bloom_builder builder;
    bl_bloom_builder_init(&builder, 100);
    assert_false(bl_bloom_builder_reserve(&builder, UINT64_MAX / 4));
    assert_true(bl_bloom_builder_reserve(&builder, 10));
    assert_int_equal(builder.capacity, 10);
    bl_bloom_builder_deinit(&builder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_was_added_is_never_denied),
        cmocka_unit_test(the_measured_rate_is_the_expected_one),
        cmocka_unit_test(ten_bits_pass_less_than_one_percent),
        cmocka_unit_test(probes_are_the_best_number),
        cmocka_unit_test(scalar_and_simd_agree),
        cmocka_unit_test(hostile_sections_are_refused),
        cmocka_unit_test(a_small_filter_has_golden_bytes),
        cmocka_unit_test(an_absurd_estimate_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
