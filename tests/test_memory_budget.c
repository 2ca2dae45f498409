/* SPDX-License-Identifier: MIT */
/* test_memory_budget.c -- one ledger, every class against one limit. */
#include "test.h"

#include "core/memory_budget.h"

#include <pthread.h>

/* Goal: what asks gets exactly its share, to the byte. Method: fill it, ask for one more, release, ask again.
 * */
static void charges_fill_the_share_to_the_byte(void **state)
{
    (void)state;
    bl_memory_budget budget;
    bl_memory_budget_init(&budget, 1000, 200);
    assert_int_equal(bl_memory_budget_share(&budget), 800);
    assert_true(bl_memory_budget_charge(&budget, BL_MEMORY_CACHE, 500));
    assert_true(bl_memory_budget_charge(&budget, BL_MEMORY_INDEX, 300));
    assert_int_equal(bl_memory_budget_room(&budget), 0);
    assert_false(bl_memory_budget_charge(&budget, BL_MEMORY_WORK, 1));
    assert_true(bl_memory_budget_charge(&budget, BL_MEMORY_WORK, 0));
    bl_memory_budget_release(&budget, BL_MEMORY_CACHE, 1);
    assert_true(bl_memory_budget_charge(&budget, BL_MEMORY_WORK, 1));
    assert_int_equal(bl_memory_budget_used(&budget, BL_MEMORY_CACHE), 499);
    assert_int_equal(bl_memory_budget_used(&budget, BL_MEMORY_WORK), 1);
    assert_int_equal(bl_memory_budget_total(&budget), 800);
}

/* Goal: a refused charge leaves no trace, also when the number is absurd. */
static void refused_charge_charges_nothing(void **state)
{
    (void)state;
    bl_memory_budget budget;
    bl_memory_budget_init(&budget, 1000, 0);
    assert_false(bl_memory_budget_charge(&budget, BL_MEMORY_CACHE, 1001));
    assert_false(bl_memory_budget_charge(&budget, BL_MEMORY_CACHE, INT64_MAX));
    assert_int_equal(bl_memory_budget_total(&budget), 0);
    assert_true(bl_memory_budget_charge(&budget, BL_MEMORY_CACHE, 1000));
}

/* Goal: memtables and logs never ask, and what they hold above their reserve comes out of the others' share.
 * */
static void forced_bytes_above_the_reserve_shrink_the_share(void **state)
{
    (void)state;
    bl_memory_budget budget;
    bl_memory_budget_init(&budget, 1000, 200);
    bl_memory_budget_force(&budget, BL_MEMORY_MEMTABLE, 150);
    bl_memory_budget_force(&budget, BL_MEMORY_LOG, 50);
    assert_int_equal(bl_memory_budget_share(&budget), 800); /* just their reserve */
    assert_true(bl_memory_budget_charge(&budget, BL_MEMORY_CACHE, 800));
    assert_int_equal(bl_memory_budget_excess(&budget), 0);
    bl_memory_budget_force(&budget, BL_MEMORY_MEMTABLE, 100);
    assert_int_equal(bl_memory_budget_share(&budget), 700);
    assert_int_equal(bl_memory_budget_excess(&budget), 100);
    bl_memory_budget_force(&budget, BL_MEMORY_MEMTABLE, 5000);
    assert_int_equal(bl_memory_budget_share(&budget), 0);
    assert_int_equal(bl_memory_budget_excess(&budget), 800);
    bl_memory_budget_release(&budget, BL_MEMORY_MEMTABLE, 5250);
    bl_memory_budget_release(&budget, BL_MEMORY_LOG, 50);
    assert_int_equal(bl_memory_budget_excess(&budget), 0);
}

/* Goal: after the limit is lowered, excess says what cache and index must give back, and never more than they
 * have. */
static void lowered_limit_makes_an_excess(void **state)
{
    (void)state;
    bl_memory_budget budget;
    bl_memory_budget_init(&budget, 1000, 0);
    assert_true(bl_memory_budget_charge(&budget, BL_MEMORY_CACHE, 100));
    assert_true(bl_memory_budget_charge(&budget, BL_MEMORY_INDEX, 100));
    assert_true(bl_memory_budget_charge(&budget, BL_MEMORY_PINNED, 700));
    bl_memory_budget_limit(&budget, 850, 0);
    assert_int_equal(bl_memory_budget_excess(&budget), 50);
    bl_memory_budget_limit(&budget, 100, 0);
    assert_int_equal(bl_memory_budget_excess(&budget), 200); /* pins cannot be evicted */
    assert_false(bl_memory_budget_charge(&budget, BL_MEMORY_CACHE, 1));
    assert_int_equal(bl_memory_budget_room(&budget), 0);
}

static void moved_bytes_stay_charged(void **state)
{
    (void)state;
    bl_memory_budget budget;
    bl_memory_budget_init(&budget, 100, 0);
    assert_true(bl_memory_budget_charge(&budget, BL_MEMORY_CACHE, 100));
    bl_memory_budget_move(&budget, BL_MEMORY_CACHE, BL_MEMORY_PINNED, 40);
    assert_int_equal(bl_memory_budget_used(&budget, BL_MEMORY_CACHE), 60);
    assert_int_equal(bl_memory_budget_used(&budget, BL_MEMORY_PINNED), 40);
    assert_int_equal(bl_memory_budget_room(&budget), 0);
    bl_memory_budget_release(&budget, BL_MEMORY_PINNED, 40);
    assert_int_equal(bl_memory_budget_room(&budget), 40);
}

enum { THREADS = 4, ROUNDS = 20000 };

typedef struct charger {
    bl_memory_budget *budget;
    uint64_t granted, refused;
} charger;

/* Holds at most 25 bytes at a time, of a share of 100: four of them never have to be refused. */
static void *charge_and_release(void *argument)
{
    charger *self = argument;
    for (int i = 0; i < ROUNDS; i++) {
        uint64_t bytes = 1 + (uint64_t)i % 25;
        bl_memory_class memory_class = i % 2 == 0 ? BL_MEMORY_CACHE : BL_MEMORY_WORK;
        if (bl_memory_budget_charge(self->budget, memory_class, bytes)) {
            self->granted++;
            bl_memory_budget_release(self->budget, memory_class, bytes);
        } else {
            self->refused++;
        }
    }
    return NULL;
}

/* Goal: threads are never refused for another's refused or passing charge, and the ledger ends at zero. */
static void threads_are_refused_only_for_what_is_really_held(void **state)
{
    (void)state;
    bl_memory_budget budget;
    bl_memory_budget_init(&budget, 100, 0);
    pthread_t threads[THREADS];
    charger chargers[THREADS];
    for (int i = 0; i < THREADS; i++) {
        chargers[i] = (charger){ .budget = &budget };
        assert_int_equal(pthread_create(&threads[i], NULL, charge_and_release, &chargers[i]), 0);
    }
    for (int i = 0; i < THREADS; i++) {
        pthread_join(threads[i], NULL);
        assert_int_equal(chargers[i].refused, 0);
        assert_int_equal(chargers[i].granted, ROUNDS);
    }
    assert_int_equal(bl_memory_budget_total(&budget), 0);
    assert_int_equal(bl_memory_budget_room(&budget), 100);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(charges_fill_the_share_to_the_byte),
        cmocka_unit_test(refused_charge_charges_nothing),
        cmocka_unit_test(forced_bytes_above_the_reserve_shrink_the_share),
        cmocka_unit_test(lowered_limit_makes_an_excess),
        cmocka_unit_test(moved_bytes_stay_charged),
        cmocka_unit_test(threads_are_refused_only_for_what_is_really_held),
    };
    return cmocka_run_group_tests_name("memory_budget", tests, NULL, NULL);
}
