/* SPDX-License-Identifier: MIT */
/* test_pacing.c -- the one function from debt to delay: no delay in peace, no cliff, no way back. */
#include "test.h"

#include "base/prng.h"
#include "compaction/pacing.h"

static const uint64_t MIB = 1u << 20;

static bl_pacing_input peace(void)
{
    return (bl_pacing_input){
        .debt_free_bytes = 512 * MIB,
        .debt_high_bytes = 1344 * MIB,
        .memory_used = 900 * MIB,
        .memory_limit = 1000 * MIB,
        .merge_bytes_per_second = 400 * MIB,
    };
}

static uint64_t delay_of(const bl_pacing_input *input) { return bl_pacing_delay_ns_per_kib(input, NULL); }

/* Goal: without debt, with two sealed memtables, within the limit, a writer owes nothing. */
static void peace_costs_nothing(void **state)
{
    (void)state;
    bl_pacing_input input = peace();
    bl_pacing_cause cause = BL_PACING_DEBT;
    assert_int_equal(0, bl_pacing_delay_ns_per_kib(&input, &cause));
    assert_int_equal(BL_PACING_NONE, cause);
    input.debt_bytes = input.debt_free_bytes;
    input.sealed_memtables = 2;
    input.memory_used = input.memory_limit;
    assert_int_equal(0, delay_of(&input));
    input.memory_limit = 0; /* none */
    assert_int_equal(0, delay_of(&input));
}

/* Goal: at the high mark a writer that does nothing but pay goes exactly as fast as merges do. */
static void at_the_high_mark_a_writer_goes_as_fast_as_merges(void **state)
{
    (void)state;
    bl_pacing_input input = peace();
    input.debt_bytes = input.debt_high_bytes;
    uint64_t delay = delay_of(&input);
    double rate = 1024e9 / (double)delay;
    assert_true(rate > 0.99 * (double)input.merge_bytes_per_second);
    assert_true(rate < 1.01 * (double)input.merge_bytes_per_second);
    input.debt_bytes = input.debt_free_bytes + (input.debt_high_bytes - input.debt_free_bytes) / 2;
    assert_in_range(delay_of(&input), delay / 4 - 1, delay / 4 + 1); /* quadratic: a quarter half-way */
}

/* Goal: debt beyond the high mark slows faster than before it, and still finitely. */
static void beyond_the_high_mark_it_is_steeper_but_finite(void **state)
{
    (void)state;
    bl_pacing_input input = peace();
    uint64_t width = input.debt_high_bytes - input.debt_free_bytes;
    input.debt_bytes = input.debt_high_bytes;
    uint64_t at_high = delay_of(&input);
    input.debt_bytes = input.debt_high_bytes + width;
    assert_true(delay_of(&input) > 8 * at_high);
    input.debt_bytes = UINT64_MAX;
    input.sealed_memtables = UINT64_MAX;
    input.memory_used = UINT64_MAX;
    input.merge_bytes_per_second = 1;
    uint64_t most = delay_of(&input);
    assert_in_range(most, at_high, 1000000000);
}

/* Goal: no cliff: one MiB more of debt or memory changes the delay by little (of what is asked at the high mark). */
static void the_delay_has_no_jumps(void **state)
{
    (void)state;
    bl_pacing_input input = peace();
    input.debt_bytes = input.debt_high_bytes;
    uint64_t at_high = delay_of(&input), before = 0;
    for (input.debt_bytes = 0; input.debt_bytes < 2 * input.debt_high_bytes; input.debt_bytes += MIB) {
        uint64_t delay = delay_of(&input);
        assert_in_range(delay, before, before + at_high / 20 + 2);
        before = delay;
    }
    input = peace();
    before = 0;
    for (input.memory_used = 0; input.memory_used < 1250 * MIB; input.memory_used += MIB) {
        uint64_t delay = delay_of(&input);
        assert_in_range(delay, before, before + at_high / 20 + 2);
        before = delay;
    }
}

/* Goal: more of any pressure never makes a writer faster; a better merge rate never makes it slower. Method: random
 * inputs, one argument raised. */
static void more_pressure_never_helps(void **state)
{
    (void)state;
    bl_prng prng;
    bl_prng_init(&prng, test_seed(3));
    for (int round = 0; round < 20000; round++) {
        bl_pacing_input input = {
            .debt_bytes = bl_prng_next(&prng) >> bl_prng_below(&prng, 64),
            .debt_free_bytes = bl_prng_next(&prng) >> bl_prng_below(&prng, 64),
            .debt_high_bytes = bl_prng_next(&prng) >> bl_prng_below(&prng, 64), /* below free also */
            .sealed_memtables = bl_prng_below(&prng, 10),
            .memory_used = bl_prng_next(&prng) >> bl_prng_below(&prng, 64),
            .memory_limit = bl_prng_next(&prng) >> bl_prng_below(&prng, 64),
            .merge_bytes_per_second = bl_prng_next(&prng) >> bl_prng_below(&prng, 64),
        };
        if (input.memory_limit > UINT64_MAX / 2)
            input.memory_limit /= 2;
        uint64_t before = delay_of(&input);
        bl_pacing_input more = input;
        uint64_t *raised[] = { &more.debt_bytes, &more.sealed_memtables, &more.memory_used };
        uint64_t *field = raised[bl_prng_below(&prng, 3)];
        uint64_t by = bl_prng_next(&prng) >> bl_prng_below(&prng, 64);
        *field = *field > UINT64_MAX - by ? UINT64_MAX : *field + by;
        assert_true(delay_of(&more) >= before);
        if (input.merge_bytes_per_second != 0) {
            more = input;
            more.merge_bytes_per_second = more.merge_bytes_per_second > UINT64_MAX / 2
                                              ? UINT64_MAX
                                              : more.merge_bytes_per_second * 2;
            assert_true(delay_of(&more) <= before);
        }
        assert_true(before <= 1000000000);
    }
}

/* Goal: the cause that is shown is the one that decides. */
static void the_cause_is_the_greatest_pressure(void **state)
{
    (void)state;
    bl_pacing_cause cause;
    bl_pacing_input input = peace();
    input.debt_bytes = input.debt_high_bytes;
    bl_pacing_delay_ns_per_kib(&input, &cause);
    assert_int_equal(BL_PACING_DEBT, cause);
    input.sealed_memtables = 5;
    uint64_t delay = bl_pacing_delay_ns_per_kib(&input, &cause);
    assert_int_equal(BL_PACING_FLUSH, cause);
    input.memory_used = 2 * input.memory_limit;
    assert_true(bl_pacing_delay_ns_per_kib(&input, &cause) > delay);
    assert_int_equal(BL_PACING_MEMORY, cause);
    input = peace();
    input.debt_bytes = input.debt_free_bytes + 1; /* the least debt can be seen */
    assert_int_equal(1, bl_pacing_delay_ns_per_kib(&input, &cause));
    assert_int_equal(BL_PACING_DEBT, cause);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(peace_costs_nothing),
        cmocka_unit_test(at_the_high_mark_a_writer_goes_as_fast_as_merges),
        cmocka_unit_test(beyond_the_high_mark_it_is_steeper_but_finite),
        cmocka_unit_test(the_delay_has_no_jumps),
        cmocka_unit_test(more_pressure_never_helps),
        cmocka_unit_test(the_cause_is_the_greatest_pressure),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
