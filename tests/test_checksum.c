/* SPDX-License-Identifier: MIT */
/* test_checksum.c -- checksums and hashes, whose values stand in files, and the numbers of prng and
 * histogram. */
#include "test.h"

#include "base/alloc.h"
#include "base/checksum.h"
#include "base/hash.h"
#include "base/histogram.h"
#include "base/prng.h"

/* These values are in files that exist. If this test fails, the code is wrong, never the test. */
static void checksums_and_hashes_are_what_files_hold(void **state)
{
    (void)state;
    bl_id id;
    for (int i = 0; i < BL_ID_BYTES; i++)
        id.bytes[i] = (uint8_t)i;
    uint8_t data[5000];
    for (size_t i = 0; i < sizeof data; i++)
        data[i] = (uint8_t)(i * 7 + 3);
    uint64_t seed = bl_checksum_seed(id);
    assert_int_equal(seed, 0x8355E3A6F61770DBu);
    assert_int_equal(bl_checksum(seed, 0, data, 0), 0x8751B16CDB095B65u);
    assert_int_equal(bl_checksum(seed, 4096, data, 100), 0x74B9B96705082ECu);
    assert_int_equal(bl_checksum(seed, 4096, data, sizeof data), 0xAC92EF49AF4BBE0Fu);
    assert_int_equal(bl_hash("0123456789abcdef", 16), 0x64439946D8FA212Du);
    assert_int_equal(bl_hash("", 0), 0x2D06800538D394C2u);
}

/* Another id, another place, another length or any flipped bit: another checksum. */
static void a_checksum_covers_id_place_length_and_every_bit(void **state)
{
    (void)state;
    bl_prng prng;
    bl_prng_init(&prng, test_seed(3));
    uint8_t data[300];
    bl_prng_fill(&prng, data, sizeof data);
    bl_id id = { { 1 } }, other = { { 2 } };
    assert_false(bl_id_equal(id, other));
    assert_true(bl_id_is_zero((bl_id){ { 0 } }));
    uint64_t seed = bl_checksum_seed(id);
    uint64_t sum = bl_checksum(seed, 8192, data, sizeof data);
    assert_true(sum != bl_checksum(bl_checksum_seed(other), 8192, data, sizeof data));
    assert_true(sum != bl_checksum(seed, 8193, data, sizeof data));
    assert_true(sum != bl_checksum(seed, 0, data, sizeof data));
    assert_true(sum != bl_checksum(seed, 8192, data, sizeof data - 1));
    for (size_t bit = 0; bit < sizeof data * 8; bit++) {
        data[bit / 8] ^= (uint8_t)(1 << bit % 8);
        assert_true(sum != bl_checksum(seed, 8192, data, sizeof data));
        data[bit / 8] ^= (uint8_t)(1 << bit % 8);
    }
    assert_true(sum == bl_checksum(seed, 8192, data, sizeof data));
}

/* The published first outputs of xoshiro256** with the state {1, 2, 3, 4}, and of splitmix64 with seed 0. */
static void the_generator_is_the_published_one(void **state)
{
    (void)state;
    bl_prng prng = { { 1, 2, 3, 4 } };
    static const uint64_t expected[] = {
        11520, 0, 1509978240, 1215971899390074240, 1216172134540287360, 607988272756665600
    };
    for (size_t i = 0; i < sizeof expected / sizeof expected[0]; i++)
        assert_true(bl_prng_next(&prng) == expected[i]);
    bl_prng_init(&prng, 0);
    assert_true(prng.state[0] == 0xE220A8397B1DCDAF);
    assert_true(prng.state[1] == 0x6E789E6AA1B965F4);
}

/* Chi-squared over small bounds stays below its 99.9999 % point; every number is below the bound. */
static void bounded_numbers_are_even(void **state)
{
    (void)state;
    bl_prng prng;
    bl_prng_init(&prng, test_seed(4));
    enum { DRAWS = 100000 };
    for (uint64_t bound = 1; bound <= 20; bound++) {
        unsigned counts[20] = { 0 };
        for (int i = 0; i < DRAWS; i++) {
            uint64_t drawn = bl_prng_below(&prng, bound);
            assert_true(drawn < bound);
            counts[drawn]++;
        }
        double expected = (double)DRAWS / (double)bound, chi = 0;
        for (uint64_t i = 0; i < bound; i++)
            chi += ((double)counts[i] - expected) * ((double)counts[i] - expected) / expected;
        assert_true(chi < 70);
    }
    for (int i = 0; i < 1000; i++)
        assert_true(bl_prng_below(&prng, UINT64_MAX) < UINT64_MAX);
    assert_true(bl_prng_chance(&prng, 1));
    uint8_t bytes[13] = { 0 };
    bl_prng_fill(&prng, bytes, sizeof bytes);
    assert_false(bytes[11] == 0 && bytes[12] == 0);
}

/* Against sorted values: a quantile is at least the true one and at most a sixteenth above it. */
static void quantiles_are_within_a_sixteenth(void **state)
{
    (void)state;
    enum { COUNT = 4096 };
    static uint64_t values[COUNT];
    static bl_histogram histogram, half, other_half;
    bl_prng prng;
    bl_prng_init(&prng, test_seed(5));
    for (size_t i = 0; i < COUNT; i++)
        values[i] = bl_prng_next(&prng) >> bl_prng_below(&prng, 64);
    values[0] = UINT64_MAX;
    values[1] = 0;
    for (size_t i = 0; i < COUNT; i++)
        bl_histogram_add(i % 2 == 0 ? &half : &other_half, values[i]);
    bl_histogram_merge(&histogram, &half);
    bl_histogram_merge(&histogram, &other_half);
    assert_int_equal(bl_histogram_count(&histogram), COUNT);
    assert_true(bl_histogram_max(&histogram) == UINT64_MAX);
    for (size_t i = 1; i < COUNT; i++) { /* insertion sort */
        uint64_t value = values[i];
        size_t j = i;
        for (; j > 0 && values[j - 1] > value; j--)
            values[j] = values[j - 1];
        values[j] = value;
    }
    for (int thousandth = 0; thousandth <= 1000; thousandth++) {
        size_t rank = (size_t)thousandth * COUNT / 1000 + ((size_t)thousandth * COUNT % 1000 != 0);
        uint64_t truth = values[rank == 0 ? 0 : rank - 1];
        uint64_t told = bl_histogram_quantile(&histogram, thousandth / 1000.0);
        assert_true(told >= truth && told - truth <= truth / 16);
    }
    assert_true(bl_histogram_quantile(&histogram, 2) == bl_histogram_max(&histogram));
    bl_histogram_clear(&histogram);
    assert_int_equal(bl_histogram_quantile(&histogram, 0.5), 0);
    bl_histogram_add(&histogram, 1000);
    assert_int_equal(bl_histogram_quantile(&histogram, 0.5), 1000); /* never above the greatest */
    bl_histogram_clear(&histogram);
    assert_int_equal(bl_histogram_count(&histogram), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(checksums_and_hashes_are_what_files_hold),
        cmocka_unit_test(a_checksum_covers_id_place_length_and_every_bit),
        cmocka_unit_test(the_generator_is_the_published_one),
        cmocka_unit_test(bounded_numbers_are_even),
        cmocka_unit_test(quantiles_are_within_a_sixteenth),
    };
    return cmocka_run_group_tests_name("checksum, hash, prng, histogram", tests, NULL, NULL);
}
