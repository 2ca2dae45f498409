/* SPDX-License-Identifier: MIT */
/* test_frame_cache.c -- frames, pins, the clocks, and the budget that must come out at zero. */
#include "test.h"

#include "base/alloc.h"
#include "base/assert.h"
#include "base/prng.h"
#include "segment/frame_cache.h"

#include <pthread.h>

enum { PAGE = BL_PAGE_BYTES, CARDS = 16 * 1024 /* bytes of the first chunk of cards, charged by force */ };

typedef struct fixture {
    bl_memory_budget budget;
    bl_scheduler *scheduler;
    bl_frame_cache *cache;
    bl_holders holders; /* of the unit that all slots of a test belong to */
} fixture;

/* `frames`: how many of one page fit, beside the first chunk of cards. */
static void begin(fixture *it, size_t frames)
{
    memset(it, 0, sizeof *it);
    atomic_init(&it->holders, 1);
    bl_memory_budget_init(&it->budget, frames * PAGE + CARDS, 0);
    assert_ok(bl_scheduler_create(1, &it->scheduler, NULL), NULL);
    assert_ok(bl_frame_cache_create(&it->budget, it->scheduler, &it->cache, NULL), NULL);
}

static void end(fixture *it)
{
    assert_int_equal(atomic_load(&it->holders), 1);
    bl_frame_cache_destroy(it->cache);
    bl_scheduler_destroy(it->scheduler);
    assert_int_equal(bl_memory_budget_total(&it->budget), 0);
}

static bole_status try_install(fixture *it, _Atomic(bl_frame *) *slot, size_t bytes, int fill)
{
    bl_frame_card *card;
    bole_status status = bl_frame_cache_take(it->cache, bytes, true, &card, NULL);
    if (status != BOLE_OK)
        return status;
    memset(bl_frame_card_bytes(card), fill, bytes);
    atomic_fetch_add(&it->holders, 1);
    bl_frame_install(card, slot, &it->holders);
    return BOLE_OK;
}

static void install(fixture *it, _Atomic(bl_frame *) *slot, int fill)
{
    assert_ok(try_install(it, slot, PAGE, fill), NULL);
}

static bl_frame *look(_Atomic(bl_frame *) *slot)
{
    bl_epoch_enter();
    bl_frame *frame = bl_slot_read(slot);
    bl_epoch_leave();
    return frame;
}

static size_t count_filled(_Atomic(bl_frame *) *slots, size_t count)
{
    size_t filled = 0;
    for (size_t i = 0; i < count; i++)
        filled += bl_slot_frame(atomic_load(&slots[i])) != NULL;
    return filled;
}

/* ---- Charges ---------------------------------------------------------------------------------------- */

static void taken_frame_is_charged_until_it_is_given_back(void **state)
{
    (void)state;
    fixture it;
    begin(&it, 10);
    bl_frame_card *card;
    assert_ok(bl_frame_cache_take(it.cache, 5000, true, &card, NULL), NULL);
    assert_int_equal(bl_memory_budget_used(&it.budget, BL_MEMORY_CACHE), bl_page_arena_size(5000));
    assert_int_equal((uintptr_t)bl_frame_card_bytes(card) % PAGE, 0);
    bl_frame_cache_give_back(it.cache, card);
    assert_int_equal(bl_memory_budget_used(&it.budget, BL_MEMORY_CACHE), 0);
    bl_frame_cache_give_back(it.cache, NULL);
    end(&it);
}

static void frame_larger_than_the_share_is_refused_and_evicts_nothing(void **state)
{
    (void)state;
    fixture it;
    begin(&it, 10);
    _Atomic(bl_frame *) slots[4] = { NULL };
    for (int i = 0; i < 4; i++)
        install(&it, &slots[i], i);
    bl_frame_card *card;
    bole_error error = BOLE_ERROR_INIT;
    assert_status(BOLE_MEMORY_PINNED, bl_frame_cache_take(it.cache, 20 * PAGE, true, &card, &error), &error);
    assert_null(card);
    assert_int_equal(count_filled(slots, 4), 4);
    bl_frame_cache_drop(it.cache, slots, 4);
    end(&it);
}

/* Goal: blocks that are worth less than what is there take only what is free above the reserve. */
static void take_without_eviction_leaves_the_reserve(void **state)
{
    (void)state;
    fixture it;
    begin(&it, 80);
    bl_frame_card *cards[80];
    size_t count = 0;
    while (count < 80 && bl_frame_cache_take(it.cache, PAGE, false, &cards[count], NULL) == BOLE_OK)
        count++;
    assert_in_range(count, 60, 74);
    uint8_t block[100] = { 7 };
    assert_null(bl_frame_cache_adopt(it.cache, block, sizeof block, false));
    bl_frame_card *adopted = bl_frame_cache_adopt(it.cache, block, sizeof block, true);
    assert_non_null(adopted);
    assert_memory_equal(bl_frame_card_bytes(adopted), block, sizeof block);
    bl_frame_cache_give_back(it.cache, adopted);
    while (count > 0)
        bl_frame_cache_give_back(it.cache, cards[--count]);
    bl_frame_cache_counters counters;
    bl_frame_cache_counters_read(it.cache, &counters);
    assert_int_equal(counters.evictions, 0);
    end(&it);
}

/* Goal: whichever allocation fails, take says so, charges nothing and leaks nothing. */
static void failed_allocation_is_a_status_and_leaves_no_charge(void **state)
{
    (void)state;
    for (uint64_t at = 0;; at++) {
        fixture it;
        begin(&it, 10);
        bl_alloc_fail_at(at, 1);
        bl_frame_card *card;
        bole_status status = bl_frame_cache_take(it.cache, PAGE, true, &card, NULL);
        bool reached = bl_alloc_calls() > at;
        bl_alloc_fail_at(UINT64_MAX, 0);
        if (status == BOLE_OK)
            bl_frame_cache_give_back(it.cache, card);
        else
            assert_status(BOLE_NO_MEMORY, status, NULL);
        assert_int_equal(bl_memory_budget_used(&it.budget, BL_MEMORY_CACHE), 0);
        end(&it);
        if (!reached)
            break;
        assert_int_equal(status, BOLE_NO_MEMORY);
    }
}

/* ---- The clock ---------------------------------------------------------------------------------------- */

/* Goal: when room is short, frames that nobody read since the last turn go, and those that were read stay. */
static void unread_frames_go_first(void **state)
{
    (void)state;
    enum { COUNT = 32 };
    fixture it;
    begin(&it, 48);
    _Atomic(bl_frame *) slots[COUNT] = { NULL }, more[COUNT] = { NULL };
    for (int i = 0; i < COUNT; i++)
        install(&it, &slots[i], i);
    for (int i = 0; i < COUNT; i += 2)
        assert_non_null(look(&slots[i]));
    for (int i = 0; i < 20; i++)
        install(&it, &more[i], 100 + i);
    for (int i = 0; i < COUNT; i += 2)
        assert_non_null(bl_slot_frame(atomic_load(&slots[i])));
    assert_in_range(count_filled(slots, COUNT), COUNT / 2, COUNT - 4);
    bl_frame_cache_drop(it.cache, slots, COUNT);
    bl_frame_cache_drop(it.cache, more, COUNT);
    end(&it);
}

/* Goal: frames that were wanted in several turns stay longer than those wanted in one, and not for ever; a cache in
 * which all are warm makes room all the same. */
static void frames_wanted_often_stay_longer(void **state)
{
    (void)state;
    enum { COUNT = 12, LOADS = 4000, FRAMES = 64 };
    fixture it;
    begin(&it, FRAMES);
    _Atomic(bl_frame *) often[COUNT] = { NULL }, once[COUNT] = { NULL };
    _Atomic(bl_frame *) *passing = calloc(2 * LOADS, sizeof *passing);
    size_t loads = 0;
    for (int i = 0; i < COUNT; i++)
        install(&it, &often[i], i);
    for (int round = 0; round < 6; round++) {
        for (int i = 0; i < COUNT; i++)
            assert_non_null(look(&often[i]));
        for (int i = 0; i < FRAMES; i++)
            install(&it, &passing[loads++], 1);
    }
    for (int i = 0; i < COUNT; i++) {
        install(&it, &once[i], 2);
        assert_non_null(look(&once[i]));
        assert_non_null(look(&often[i]));
    }
    while (count_filled(once, COUNT) > 0 && loads < LOADS)
        install(&it, &passing[loads++], 1);
    assert_int_equal(count_filled(once, COUNT), 0);
    assert_int_equal(count_filled(often, COUNT), COUNT);
    while (count_filled(often, COUNT) > 0 && loads < LOADS)
        install(&it, &passing[loads++], 1);
    assert_int_equal(count_filled(often, COUNT), 0);
    for (size_t i = 0; i < LOADS; i++) { /* each is wanted, so that all are warm */
        install(&it, &passing[loads], 1);
        assert_non_null(look(&passing[loads++]));
    }
    bl_frame_cache_drop(it.cache, passing, 2 * LOADS);
    free(passing);
    end(&it);
}

/* Goal: reading a frame writes its slot once, not each time (the line is shared by readers). */
static void mark_is_written_only_when_it_is_not_set(void **state)
{
    (void)state;
    fixture it;
    begin(&it, 4);
    _Atomic(bl_frame *) slot = NULL;
    install(&it, &slot, 1);
    assert_int_equal((uintptr_t)atomic_load(&slot) & BL_SLOT_TAGS, 0);
    bl_frame *frame = look(&slot);
    bl_frame *marked = atomic_load(&slot);
    assert_int_equal((uintptr_t)marked & BL_SLOT_TAGS, BL_SLOT_REFERENCED);
    assert_ptr_equal(look(&slot), frame);
    assert_ptr_equal(atomic_load(&slot), marked);
    _Atomic(bl_frame *) loading = (bl_frame *)BL_SLOT_LOADING;
    assert_null(look(&loading));
    assert_ptr_equal(atomic_load(&loading), (bl_frame *)BL_SLOT_LOADING);
    bl_frame_cache_drop(it.cache, &slot, 1);
    end(&it);
}

/* Goal: with more blocks than room the cache stays within the limit, and a miss never waits for a grace
 * period. */
static void miss_finds_room_without_waiting(void **state)
{
    (void)state;
    enum { COUNT = 600, ROUNDS = 6000 };
    fixture it;
    begin(&it, 300);
    static _Atomic(bl_frame *) slots[COUNT];
    memset(slots, 0, sizeof slots);
    unsigned long waits = bl_mark_count("a miss waits for a grace period");
    bl_prng prng;
    bl_prng_init(&prng, 7);
    for (int i = 0; i < ROUNDS; i++) {
        size_t at = bl_prng_below(&prng, COUNT);
        bl_frame *frame = look(&slots[at]);
        if (frame == NULL) {
            install(&it, &slots[at], (int)(at & 255));
            frame = look(&slots[at]);
        }
        assert_int_equal(((const uint8_t *)frame)[100], at & 255);
        assert_true(bl_memory_budget_total(&it.budget) <= it.budget.limit);
    }
    assert_int_equal(bl_mark_count("a miss waits for a grace period"), waits);
    bl_frame_cache_counters counters;
    bl_frame_cache_counters_read(it.cache, &counters);
    assert_true(counters.evictions > 1000);
    bl_frame_cache_drop(it.cache, slots, COUNT);
    end(&it);
}

static void lowered_limit_is_reached_by_trim(void **state)
{
    (void)state;
    enum { COUNT = 100 };
    fixture it;
    begin(&it, 120);
    _Atomic(bl_frame *) slots[COUNT] = { NULL };
    for (int i = 0; i < COUNT; i++)
        install(&it, &slots[i], i);
    bl_memory_budget_limit(&it.budget, 30 * PAGE + CARDS, 0);
    bl_frame_cache_trim(it.cache);
    assert_int_equal(bl_memory_budget_excess(&it.budget), 0);
    assert_int_equal(count_filled(slots, COUNT), 30);
    bl_memory_budget_limit(&it.budget, 0, 0);
    bl_frame_cache_trim(it.cache);
    assert_int_equal(count_filled(slots, COUNT), 0);
    assert_int_equal(atomic_load(&it.holders), 1);
    end(&it);
}

/* ---- Pins -------------------------------------------------------------------------------------------- */

/* Goal: a pinned frame is not evicted for nothing, and when all are pinned the answer is a status. */
static void pinned_frames_are_passed_over(void **state)
{
    (void)state;
    enum { COUNT = 8 };
    fixture it;
    begin(&it, COUNT);
    _Atomic(bl_frame *) slots[COUNT] = { NULL }, more = NULL;
    for (int i = 0; i < COUNT; i++) {
        install(&it, &slots[i], i);
        bl_epoch_enter();
        bl_frame_pin(bl_slot_read(&slots[i]));
        bl_epoch_leave();
    }
    assert_status(BOLE_MEMORY_PINNED, try_install(&it, &more, PAGE, 1), NULL);
    assert_int_equal(count_filled(slots, COUNT), COUNT);
    bl_frame_unpin(bl_slot_frame(atomic_load(&slots[3])));
    install(&it, &more, 1);
    assert_null(atomic_load(&slots[3]));
    assert_int_equal(count_filled(slots, COUNT), COUNT - 1);
    for (int i = 0; i < COUNT; i++)
        bl_frame_unpin(bl_slot_frame(atomic_load(&slots[i])));
    bl_frame_cache_drop(it.cache, slots, COUNT);
    bl_frame_cache_drop(it.cache, &more, 1);
    bl_frame_unpin(NULL);
    end(&it);
}

/* Goal: the last unpin frees a frame whose segment is gone; until then its bytes are charged as pinned. */
static void orphan_is_freed_by_its_last_unpin(void **state)
{
    (void)state;
    fixture it;
    begin(&it, 8);
    _Atomic(bl_frame *) slot = NULL;
    install(&it, &slot, 42);
    bl_epoch_enter();
    bl_frame *frame = bl_slot_read(&slot);
    bl_frame_pin(frame);
    bl_epoch_leave();
    bl_frame_pin(frame); /* who holds a pin may pin again */
    bl_frame_cache_drop(it.cache, &slot, 1);
    assert_null(atomic_load(&slot));
    assert_int_equal(bl_memory_budget_used(&it.budget, BL_MEMORY_CACHE), 0);
    assert_int_equal(bl_memory_budget_used(&it.budget, BL_MEMORY_PINNED), PAGE);
    bl_frame_unpin(frame);
    assert_int_equal(((const uint8_t *)frame)[PAGE - 1], 42);
    assert_int_equal(bl_memory_budget_used(&it.budget, BL_MEMORY_PINNED), PAGE);
    bl_frame_unpin(frame);
    assert_int_equal(bl_memory_budget_used(&it.budget, BL_MEMORY_PINNED), 0);
    end(&it);
}

static void *trim(void *argument)
{
    bl_frame_cache_trim(argument);
    return NULL;
}

/* Goal: a reader that saw the frame before its slot was emptied may still pin it before it leaves the epoch.
 * Method: another thread evicts while this one is inside; its grace period cannot end before this one leaves.
 * */
static void pin_made_inside_the_epoch_survives_the_eviction(void **state)
{
    (void)state;
    fixture it;
    begin(&it, 8);
    _Atomic(bl_frame *) slot = NULL;
    install(&it, &slot, 9);
    bl_epoch_enter();
    bl_frame *frame = bl_slot_frame(atomic_load(&slot));
    bl_memory_budget_limit(&it.budget, 0, 0);
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, trim, it.cache), 0);
    while (atomic_load(&slot) != NULL)
        bl_yield(it.scheduler);
    assert_int_equal(((const uint8_t *)frame)[PAGE - 1], 9);
    assert_int_equal(bl_memory_budget_used(&it.budget, BL_MEMORY_CACHE), PAGE); /* charged until it is free */
    bl_frame_pin(frame);
    bl_epoch_leave();
    pthread_join(thread, NULL);
    assert_int_equal(((const uint8_t *)frame)[PAGE - 1], 9);
    assert_int_equal(bl_memory_budget_used(&it.budget, BL_MEMORY_PINNED), PAGE);
    bl_frame_unpin(frame);
    assert_int_equal(bl_memory_budget_used(&it.budget, BL_MEMORY_PINNED), 0);
    end(&it);
}

/* ---- Limbo ------------------------------------------------------------------------------------------- */

typedef struct sitter {
    _Atomic bool inside, leave;
    bl_scheduler *scheduler;
} sitter;

static void *sit_inside(void *argument)
{
    sitter *self = argument;
    bl_epoch_enter();
    atomic_store(&self->inside, true);
    while (!atomic_load(&self->leave))
        bl_yield(self->scheduler);
    bl_epoch_leave();
    return NULL;
}

static bl_frame *pin_slot(_Atomic(bl_frame *) *slot)
{
    bl_epoch_enter();
    bl_frame *frame = bl_slot_frame(atomic_load(slot));
    bl_frame_pin(frame);
    bl_epoch_leave();
    return frame;
}

/* Goal: more batches than limbo has places are not lost. Method: all frames are pinned; a reader sits inside
 * an epoch; each miss lets go of one pin, so that each eviction to keep the reserve finds just one frame.
 * Nothing may be freed before the reader leaves, and all is freed in the end. */
static void full_limbo_takes_all_batches(void **state)
{
    (void)state;
    enum { FRAMES = 10500 };
    fixture it;
    begin(&it, FRAMES);
    _Atomic(bl_frame *) *slots = bl_alloc(FRAMES * sizeof *slots);
    bl_frame **pinned = bl_alloc(FRAMES * sizeof *pinned);
    assert_non_null(slots);
    assert_non_null(pinned);
    static sitter reader; /* it outlives a failure of this test */
    reader.scheduler = it.scheduler;
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, sit_inside, &reader), 0);
    while (!atomic_load(&reader.inside))
        bl_yield(it.scheduler);
    size_t count = 0, unpinned = 0;
    unsigned long before = bl_mark_count("limbo is full");
    while (count < FRAMES && bl_memory_budget_room(&it.budget) > 8 * PAGE) {
        assert_ok(try_install(&it, &slots[count], PAGE, 1), NULL);
        pinned[count] = pin_slot(&slots[count]);
        count++;
        assert_int_equal(bl_memory_budget_used(&it.budget, BL_MEMORY_CACHE),
                         count * PAGE);                                /* nothing was freed */
        if (bl_memory_budget_room(&it.budget) < it.budget.limit / 100) /* the reserve is reached */
            bl_frame_unpin(pinned[unpinned++]);
    }
#ifdef BL_CHECKS
    assert_true(bl_mark_count("limbo is full") > before);
#else
    (void)before;
#endif
    assert_true(count_filled(slots, count) < count - 64);
    atomic_store(&reader.leave, true);
    pthread_join(thread, NULL);
    while (unpinned < count)
        bl_frame_unpin(pinned[unpinned++]);
    bl_frame_cache_drop(it.cache, slots, count);
    bl_free(slots);
    bl_free(pinned);
    end(&it);
}

/* Goal: of two batches with units that join the full limbo's newest both are freed, when the reader has left. */
static void full_limbo_takes_units_too(void **state)
{
    (void)state;
    enum { UNITS = 80 };
    fixture it;
    begin(&it, 10500); /* the reserve is a hundredth: more than all units */
    static sitter reader;
    reader = (sitter){ .scheduler = it.scheduler };
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, sit_inside, &reader), 0);
    while (!atomic_load(&reader.inside))
        bl_yield(it.scheduler);
    static _Atomic(bl_unit_node *) places[UNITS];
    bl_memory_budget *budget = &it.budget;
    uint64_t all = budget->limit;
    unsigned long before = bl_mark_count("limbo is full");
    for (size_t i = 0; i < UNITS; i++) { /* each a batch of its own: there is nothing else to evict */
        bl_unit_node *unit;
        assert_ok(bl_frame_cache_take_unit(it.cache, PAGE, true, &unit, NULL), NULL);
        bl_frame_cache_publish_unit(it.cache, unit, &places[i]);
        bl_memory_budget_force(budget, BL_MEMORY_WORK, bl_memory_budget_room(budget) - PAGE);
        assert_true(bl_frame_cache_charge(it.cache, BL_MEMORY_WORK, 0)); /* below the reserve: one goes */
        bl_memory_budget_release(budget, BL_MEMORY_WORK, bl_memory_budget_used(budget, BL_MEMORY_WORK));
        assert_null(atomic_load(&places[i]));
        assert_int_equal(bl_memory_budget_used(budget, BL_MEMORY_INDEX),
                         (i + 1) * PAGE); /* and stays in limbo */
    }
#ifdef BL_CHECKS
    assert_true(bl_mark_count("limbo is full") > before + 1);
#else
    (void)before;
#endif
    atomic_store(&reader.leave, true);
    pthread_join(thread, NULL);
    assert_true(
        bl_frame_cache_charge(it.cache, BL_MEMORY_WORK, all - 3 * PAGE - CARDS)); /* all of them were freed */
    bl_memory_budget_release(budget, BL_MEMORY_WORK, all - 3 * PAGE - CARDS);
    end(&it);
}

/* Goal: a frame that is just being installed is passed over by the clock. Method: the clock turns when the card knows
 * its slot, and the slot not yet its frame. */
static void a_frame_that_is_being_installed_stays(void **state)
{
    (void)state;
    fixture it;
    begin(&it, 10);
    _Atomic(bl_frame *) slots[2] = { NULL };
    bl_frame_card *card;
    install(&it, &slots[1], 1);
    assert_ok(bl_frame_cache_take(it.cache, PAGE, true, &card, NULL), NULL);
    memset(bl_frame_card_bytes(card), 7, PAGE);
    atomic_store(&card->slot, &slots[0]);
    assert_true(bl_frame_cache_charge(it.cache, BL_MEMORY_WORK, 8 * PAGE)); /* all but the two */
    assert_true(bl_frame_cache_charge(it.cache, BL_MEMORY_WORK, PAGE));     /* one of them goes */
    assert_null(atomic_load(&slots[1]));
    assert_false(bl_frame_cache_charge(it.cache, BL_MEMORY_WORK, PAGE));
    atomic_store(&card->slot, NULL);
    atomic_fetch_add(&it.holders, 1);
    bl_frame_install(card, &slots[0], &it.holders);
    assert_int_equal(*((uint8_t *)look(&slots[0]) + PAGE - 1), 7);
    bl_memory_budget_release(&it.budget, BL_MEMORY_WORK, 9 * PAGE);
    bl_frame_cache_drop(it.cache, slots, 2);
    end(&it);
}

/* ---- Units ------------------------------------------------------------------------------------------- */

/* Goal: a unit goes when nobody holds it and nobody came by for a turn, and never while it is held. */
static void unit_goes_when_nobody_holds_it(void **state)
{
    (void)state;
    fixture it;
    begin(&it, 20);
    bl_unit_node *held, *idle;
    _Atomic(bl_unit_node *) held_place = NULL, idle_place = NULL;
    assert_ok(bl_frame_cache_take_unit(it.cache, 3 * PAGE, false, &held, NULL), NULL);
    assert_ok(bl_frame_cache_take_unit(it.cache, 3 * PAGE, false, &idle, NULL), NULL);
    assert_int_equal(bl_memory_budget_used(&it.budget, BL_MEMORY_INDEX), 6 * PAGE);
    atomic_store(&held->holders, 1);
    bl_frame_cache_publish_unit(it.cache, held, &held_place);
    bl_frame_cache_publish_unit(it.cache, idle, &idle_place);
    assert_ptr_equal(atomic_load(&held_place), held);
    assert_true(bl_frame_cache_charge(it.cache, BL_MEMORY_WORK, 17 * PAGE));
    assert_null(atomic_load(&idle_place));
    assert_ptr_equal(atomic_load(&held_place), held);
    assert_false(bl_frame_cache_charge(it.cache, BL_MEMORY_WORK, PAGE + CARDS));
    bl_unit_let_go(held);
    assert_true(bl_unit_hold(held));
    bl_unit_let_go(held);
    assert_true(bl_frame_cache_charge(it.cache, BL_MEMORY_WORK, PAGE + CARDS));
    assert_null(atomic_load(&held_place));
    bl_memory_budget_release(&it.budget, BL_MEMORY_WORK, 18 * PAGE + CARDS);
    end(&it);
}

/* Goal: a unit that reads come by is kept longer than one that they do not. */
static void used_unit_outlives_an_unused_one(void **state)
{
    (void)state;
    enum { UNITS = 16 };
    fixture it;
    begin(&it, 28);
    bl_unit_node *units[UNITS];
    _Atomic(bl_unit_node *) places[UNITS] = { NULL };
    for (int i = 0; i < UNITS; i++) {
        assert_ok(bl_frame_cache_take_unit(it.cache, PAGE, false, &units[i], NULL), NULL);
        bl_frame_cache_publish_unit(it.cache, units[i], &places[i]);
    }
    atomic_store(&units[0]->used, true);
    uint64_t bytes = bl_memory_budget_room(&it.budget) + PAGE;
    assert_true(bl_frame_cache_charge(it.cache, BL_MEMORY_WORK, bytes));
    assert_non_null(atomic_load(&places[0]));
    int gone = 0;
    for (int i = 1; i < UNITS; i++)
        gone += atomic_load(&places[i]) == NULL;
    assert_in_range(gone, 1, UNITS - 2);
    bl_memory_budget_release(&it.budget, BL_MEMORY_WORK, bytes);
    for (int i = 0; i < UNITS; i++)
        bl_frame_cache_drop_unit(it.cache, &places[i]);
    end(&it);
}

/* Goal: a unit whose slot is filled is held by it, and is free to go once the frame was evicted. */
static void filled_slot_holds_its_unit(void **state)
{
    (void)state;
    fixture it;
    begin(&it, 20);
    bl_unit_node *unit;
    _Atomic(bl_unit_node *) place = NULL;
    _Atomic(bl_frame *) slot = NULL;
    assert_ok(bl_frame_cache_take_unit(it.cache, PAGE, false, &unit, NULL), NULL);
    bl_frame_cache_publish_unit(it.cache, unit, &place);
    bl_frame_card *card;
    assert_ok(bl_frame_cache_take(it.cache, PAGE, true, &card, NULL), NULL);
    assert_true(bl_unit_hold(unit));
    bl_frame_install(card, &slot, &unit->holders);
    assert_non_null(look(&slot));
    bl_memory_budget_limit(&it.budget, CARDS + PAGE, 0); /* the unit alone would fit */
    bl_frame_cache_trim(it.cache);
    assert_null(atomic_load(&slot));
    bl_memory_budget_limit(&it.budget, 0, 0);
    bl_frame_cache_trim(it.cache);
    assert_null(atomic_load(&place));
    bl_frame_cache_drop_unit(it.cache, &place); /* gone already */
    end(&it);
}

static void forced_unit_is_charged_over_the_limit(void **state)
{
    (void)state;
    fixture it;
    begin(&it, 1);
    bl_unit_node *unit;
    bole_error error = BOLE_ERROR_INIT;
    assert_status(BOLE_MEMORY_PINNED, bl_frame_cache_take_unit(it.cache, 50 * PAGE, false, &unit, &error),
                  &error);
    assert_null(unit);
    assert_ok(bl_frame_cache_take_unit(it.cache, 50 * PAGE, true, &unit, &error), &error);
    assert_int_equal(bl_memory_budget_used(&it.budget, BL_MEMORY_INDEX), bl_page_arena_size(50 * PAGE));
    bl_frame_cache_give_back_unit(it.cache, unit);
    end(&it);
}

/* ---- Threads ----------------------------------------------------------------------------------------- */

enum { SLOTS = 200, THREADS = 4, STEPS = 4000 };
static _Atomic(bl_frame *) shared_slots[SLOTS];
static pthread_mutex_t shared_locks[SLOTS];

typedef struct walker {
    fixture *it;
    uint64_t seed, refused;
} walker;

/* Reads random slots, fills empty ones, pins one in four beyond the epoch, and checks every byte it relies
 * on. */
static void *walk(void *argument)
{
    walker *self = argument;
    bl_prng prng;
    bl_prng_init(&prng, self->seed);
    for (int step = 0; step < STEPS; step++) {
        size_t at = bl_prng_below(&prng, SLOTS);
        bl_epoch_enter();
        bl_frame *frame = bl_slot_read(&shared_slots[at]);
        bool pin = frame != NULL && bl_prng_chance(&prng, 4);
        if (frame != NULL && ((const uint8_t *)frame)[sizeof(bl_frame) + (size_t)step % 1000] != (uint8_t)at)
            abort();
        if (pin)
            bl_frame_pin(frame);
        bl_epoch_leave();
        if (pin) {
            if (bl_prng_chance(&prng, 2))
                bl_yield(self->it->scheduler);
            if (((const uint8_t *)frame)[PAGE - 1] != (uint8_t)at)
                abort();
            bl_frame_unpin(frame);
        } else if (frame == NULL) {
            pthread_mutex_lock(&shared_locks[at]);
            if (bl_slot_frame(atomic_load(&shared_slots[at])) == NULL &&
                try_install(self->it, &shared_slots[at], PAGE, (int)at) != BOLE_OK)
                self->refused++;
            pthread_mutex_unlock(&shared_locks[at]);
        }
        if (step % 500 == 499)
            bl_frame_cache_trim(self->it->cache);
    }
    return NULL;
}

/* Goal: under constant eviction no reader ever sees a byte of another block, and every byte comes back. */
static void threads_read_true_bytes_under_constant_eviction(void **state)
{
    (void)state;
    uint64_t seed = test_seed(11);
    fixture it;
    begin(&it, SLOTS / 4);
    for (int i = 0; i < SLOTS; i++)
        pthread_mutex_init(&shared_locks[i], NULL);
    pthread_t threads[THREADS];
    walker walkers[THREADS];
    for (int i = 0; i < THREADS; i++) {
        walkers[i] = (walker){ .it = &it, .seed = seed + (uint64_t)i };
        assert_int_equal(pthread_create(&threads[i], NULL, walk, &walkers[i]), 0);
    }
    uint64_t refused = 0;
    for (int i = 0; i < THREADS; i++) {
        pthread_join(threads[i], NULL);
        refused += walkers[i].refused;
    }
    assert_int_equal(refused, 0); /* only a few frames are pinned at a time */
    bl_frame_cache_counters counters;
    bl_frame_cache_counters_read(it.cache, &counters);
    assert_true(counters.evictions > 100);
    bl_frame_cache_drop(it.cache, shared_slots, SLOTS);
    end(&it);
}

/* ---- Hints ------------------------------------------------------------------------------------------- */

/* Goal: there are no hints until they are made, once, charged to the index; then a line keeps what was noted of as many
 * keys as it has hints, and what it follows, nothing or what is gone, is never read. */
static void a_hint_keeps_what_was_noted_last(void **state)
{
    (void)state;
    fixture it;
    begin(&it, 4096);
    const bl_value_hints *hints = bl_frame_cache_hints(it.cache);
    assert_null(bl_value_hint_line_of(hints, 1));
    bl_frame_cache_make_hints(it.cache);
    uint64_t charged = bl_memory_budget_used(&it.budget, BL_MEMORY_INDEX);
    assert_in_range(charged, 64 * sizeof(bl_value_hint), 4096 * PAGE / 64);
    bl_frame_cache_make_hints(it.cache);
    assert_int_equal(bl_memory_budget_used(&it.budget, BL_MEMORY_INDEX), charged);
    for (uint64_t i = 0; i < 1000; i++) { /* any number of keys has a place */
        uint64_t hash = (i + 1) * UINT64_C(0x123456789ABCDEF);
        bl_value_hint_line *line = bl_value_hint_line_of(hints, hash);
        const bl_frame *frame = (const bl_frame *)(uintptr_t)((i % 2 == 0 ? 16 : 64) * PAGE);
        const void *record = (const void *)(uintptr_t)(0x7654321000 + i);
        bl_value_hint *hint = bl_value_hint_note(line, hash, record, frame, (const char *)frame + 100 * 64);
        assert_ptr_equal(bl_value_hint_line_of(hints, hash), line);
        assert_ptr_equal(bl_value_hint_of(line, hash), hint);
        assert_int_equal(hint->record, (hash & 0xFFFF) << 48 | (0x7654321000 + i));
        assert_int_equal(hint->value, UINT64_C(99) << 48 | (i % 2 == 0 ? 16 : 64) * PAGE);
        bl_value_hint_follow(hint, true);
        bl_value_hint_follow(hint, false);
    }
    static bl_value_hint_line line; /* two keys keep theirs, and the third takes the place of one */
    const bl_frame *frame = (const bl_frame *)(uintptr_t)(16 * PAGE);
    for (uint64_t hash = 1; hash <= 3; hash++)
        for (int again = 0; again < 2; again++)
            (void)bl_value_hint_note(&line, hash, NULL, frame, (const char *)frame + 64);
    assert_ptr_equal(bl_value_hint_of(&line, 3), &line.ways[0]);
    assert_ptr_equal(bl_value_hint_of(&line, 2), &line.ways[1]);
    assert_null(bl_value_hint_of(&line, 1));
    end(&it);
}

/* Goal: a place holds for the one key, table and list of segments that it was noted for, and words of two places that
 * were written at the same time are no place. */
static void a_hinted_place_holds_for_one_scope(void **state)
{
    (void)state;
    bl_prng prng;
    bl_prng_init(&prng, test_seed(77));
    uint32_t segment;
    uint64_t block;
    for (unsigned i = 0; i < 10000; i++) {
        bl_hint_scope scope = { 1 + bl_prng_below(&prng, 1000), bl_prng_next(&prng),
                                (uint32_t)bl_prng_below(&prng, 5) };
        bl_value_hint hint = { 0 }, other = { 0 };
        assert_false(bl_value_hint_find(&hint, &scope, &segment, &block));
        bl_value_hint_place(&hint, &scope, i % 7, i);
        bl_value_hint_place(&hint, &scope, i % 7, i);
        assert_true(bl_value_hint_find(&hint, &scope, &segment, &block));
        assert_true(segment == i % 7 && block == i);
        bl_hint_scope others[] = { scope, scope, scope };
        others[0].version++;
        others[1].hash ^= UINT64_C(1) << bl_prng_below(&prng, 64);
        others[2].table++;
        for (unsigned j = 0; j < 3; j++) {
            assert_false(bl_value_hint_find(&hint, &others[j], &segment, &block));
            bl_value_hint_place(&other, &others[j], i % 7, i + 1); /* half of it is written */
            bl_value_hint torn = { .place = hint.place, .vouch = other.vouch };
            assert_false(bl_value_hint_find(&torn, &scope, &segment, &block));
            assert_false(bl_value_hint_find(&torn, &others[j], &segment, &block));
        }
        bl_value_hint_place(&hint, &scope, 1, UINT64_C(1) << 32); /* no block that a hint can name */
        assert_true(bl_value_hint_find(&hint, &scope, &segment, &block) && block == i);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(taken_frame_is_charged_until_it_is_given_back),
        cmocka_unit_test(frame_larger_than_the_share_is_refused_and_evicts_nothing),
        cmocka_unit_test(take_without_eviction_leaves_the_reserve),
        cmocka_unit_test(failed_allocation_is_a_status_and_leaves_no_charge),
        cmocka_unit_test(unread_frames_go_first),
        cmocka_unit_test(frames_wanted_often_stay_longer),
        cmocka_unit_test(mark_is_written_only_when_it_is_not_set),
        cmocka_unit_test(miss_finds_room_without_waiting),
        cmocka_unit_test(lowered_limit_is_reached_by_trim),
        cmocka_unit_test(pinned_frames_are_passed_over),
        cmocka_unit_test(orphan_is_freed_by_its_last_unpin),
        cmocka_unit_test(pin_made_inside_the_epoch_survives_the_eviction),
        cmocka_unit_test(full_limbo_takes_all_batches),
        cmocka_unit_test(full_limbo_takes_units_too),
        cmocka_unit_test(a_frame_that_is_being_installed_stays),
        cmocka_unit_test(unit_goes_when_nobody_holds_it),
        cmocka_unit_test(used_unit_outlives_an_unused_one),
        cmocka_unit_test(filled_slot_holds_its_unit),
        cmocka_unit_test(forced_unit_is_charged_over_the_limit),
        cmocka_unit_test(a_hint_keeps_what_was_noted_last),
        cmocka_unit_test(a_hinted_place_holds_for_one_scope),
        cmocka_unit_test(threads_read_true_bytes_under_constant_eviction),
    };
    return cmocka_run_group_tests_name("frame_cache", tests, NULL, NULL);
}
