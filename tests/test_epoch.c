/* SPDX-License-Identifier: MIT */
/* test_epoch.c -- nothing is freed under a reader, and nobody waits longer than for the readers that were
 * inside. */
#include "test.h"

#include "base/alloc.h"
#include "platform/epoch.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <sys/wait.h>

#if defined(BL_THREAD_SANITIZER)
enum { READERS = 3, SWAPS = 500 };
#else
enum { READERS = 3, SWAPS = 1000 };
#endif

typedef struct thing {
    uint64_t value, twice;
} thing;

static _Atomic(thing *) shared;
static _Atomic bool stop;
static _Atomic uint64_t reads, wrong;

static void *read_shared(void *argument)
{
    (void)argument;
    while (!atomic_load_explicit(&stop, memory_order_relaxed)) {
        bl_epoch_enter();
        const thing *seen = atomic_load_explicit(&shared, memory_order_acquire);
        uint64_t value = seen->value;
        bl_epoch_enter(); /* nested */
        uint64_t twice = seen->twice;
        bl_epoch_leave();
        bool whole = bl_epoch_inside() && twice == 2 * value && value != 0;
        bl_epoch_leave();
        if (!whole)
            atomic_fetch_add(&wrong, 1);
        if (atomic_fetch_add_explicit(&reads, 1, memory_order_relaxed) % 32 == 0)
            sched_yield(); /* outside; one that loses its core inside holds up the writer */
    }
    return NULL;
}

static void start_readers(pthread_t threads[READERS])
{
    atomic_store(&stop, false);
    for (int i = 0; i < READERS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, read_shared, NULL), 0);
}

/* Swaps and reads must overlap, also on a busy machine: go on only when someone has read since. */
static void let_readers_read(void)
{
    uint64_t before = atomic_load(&reads);
    while (atomic_load(&reads) - before < READERS)
        sched_yield();
}

static void stop_readers(pthread_t threads[READERS])
{
    atomic_store(&stop, true);
    for (int i = 0; i < READERS; i++)
        assert_int_equal(pthread_join(threads[i], NULL), 0);
}

static thing *make_thing(uint64_t value)
{
    thing *made = bl_new(thing);
    assert_non_null(made);
    *made = (thing){ value, 2 * value };
    return made;
}

/* Readers dereference what the writer swaps, waits for, poisons and frees: none may see the poison. The
 * sanitizers see a read after the free, and a race with the poisoning. */
static void a_reader_never_sees_what_was_freed(void **state)
{
    (void)state;
    pthread_t threads[READERS];
    atomic_store(&shared, make_thing(1));
    start_readers(threads);
    for (uint64_t i = 2; i < SWAPS; i++) {
        if (i % 32 == 2)
            let_readers_read();
        thing *old = atomic_exchange_explicit(&shared, make_thing(i), memory_order_acq_rel);
        bl_epoch_wait();
        old->value = 0;
        old->twice = 1;
        bl_free(old);
    }
    stop_readers(threads);
    assert_int_equal(atomic_load(&wrong), 0);
    bl_free(atomic_load(&shared));
}

/* The same with tickets, many of them outstanding at a time. */
static void tickets_pass_only_when_readers_have_left(void **state)
{
    (void)state;
    enum { WAITING = 64 };
    static struct {
        thing *old;
        uint64_t ticket;
    } queue[WAITING];
    pthread_t threads[READERS];
    atomic_store(&shared, make_thing(1));
    start_readers(threads);
    for (uint64_t i = 0; i < SWAPS; i++) {
        if (i % 32 == 0)
            let_readers_read();
        size_t slot = i % WAITING;
        if (queue[slot].old != NULL) {
            while (!bl_epoch_passed(queue[slot].ticket))
                sched_yield();
            queue[slot].old->value = 0;
            bl_free(queue[slot].old);
        }
        queue[slot].old = atomic_exchange_explicit(&shared, make_thing(i + 2), memory_order_acq_rel);
        queue[slot].ticket = bl_epoch_ticket();
    }
    stop_readers(threads);
    for (size_t i = 0; i < WAITING; i++) {
        assert_true(bl_epoch_passed(queue[i].ticket));
        bl_free(queue[i].old);
    }
    bl_free(atomic_load(&shared));
    assert_int_equal(atomic_load(&wrong), 0);
}

static void a_ticket_waits_for_the_reader_that_was_inside(void **state)
{
    (void)state;
    assert_false(bl_epoch_inside());
    bl_epoch_enter();
    assert_true(bl_epoch_inside());
    uint64_t ticket = bl_epoch_ticket();
    assert_false(bl_epoch_passed(ticket));
    bl_epoch_enter();
    bl_epoch_leave();
    assert_false(bl_epoch_passed(ticket)); /* the outer one still counts */
    bl_epoch_leave();
    bl_epoch_enter();
    assert_true(bl_epoch_passed(ticket)); /* this one entered later */
    bl_epoch_leave();
    assert_false(bl_epoch_inside());
    bl_epoch_wait();
}

static void *enter_once(void *argument)
{
    bl_epoch_enter();
    *(bl_epoch_slot **)argument = bl_epoch_mine;
    bl_epoch_leave();
    return NULL;
}

/* Two hundred threads one after the other use one slot: each gives it back. */
static void a_thread_gives_its_slot_back(void **state)
{
    (void)state;
    bl_epoch_slot *first = NULL;
    for (int i = 0; i < 200; i++) {
        bl_epoch_slot *slot = NULL;
        pthread_t thread;
        assert_int_equal(pthread_create(&thread, NULL, enter_once, &slot), 0);
        assert_int_equal(pthread_join(thread, NULL), 0);
        assert_non_null(slot);
        if (first == NULL)
            first = slot;
        assert_ptr_equal(slot, first);
    }
}

static pthread_barrier_t all_inside, all_done;

static void *stay_inside(void *argument)
{
    bl_epoch_enter();
    if (argument != NULL)
        *(bl_epoch_slot **)argument = bl_epoch_mine;
    pthread_barrier_wait(&all_inside);
    pthread_barrier_wait(&all_done);
    bl_epoch_leave();
    return NULL;
}

/* More threads than fit one block of slots, all inside at once: all are waited for. */
static void many_threads_have_slots_of_their_own(void **state)
{
    (void)state;
    enum { MANY = 300 };
    static pthread_t threads[MANY];
    pthread_attr_t small;
    pthread_attr_init(&small);
    pthread_attr_setstacksize(&small, 128 * 1024);
    pthread_barrier_init(&all_inside, NULL, MANY + 1);
    pthread_barrier_init(&all_done, NULL, MANY + 1);
    for (int i = 0; i < MANY; i++)
        assert_int_equal(pthread_create(&threads[i], &small, stay_inside, NULL), 0);
    pthread_barrier_wait(&all_inside);
    uint64_t ticket = bl_epoch_ticket();
    assert_false(bl_epoch_passed(ticket));
    pthread_barrier_wait(&all_done);
    bl_epoch_wait();
    assert_true(bl_epoch_passed(ticket));
    for (int i = 0; i < MANY; i++)
        assert_int_equal(pthread_join(threads[i], NULL), 0);
    pthread_attr_destroy(&small);
}

/* The child of fork has one thread; readers that were inside in the parent are not waited for. */
static void a_forked_child_waits_for_nobody_it_left_behind(void **state)
{
    (void)state;
    pthread_barrier_init(&all_inside, NULL, 2);
    pthread_barrier_init(&all_done, NULL, 2);
    pthread_t thread;
    bl_epoch_slot *slot = NULL;
    assert_int_equal(pthread_create(&thread, NULL, stay_inside, &slot), 0);
    pthread_barrier_wait(&all_inside);
    pid_t child = fork();
    if (child == 0) {
        bl_epoch_enter();
        bl_epoch_leave();
        bl_epoch_wait();
#if !defined(BL_THREAD_SANITIZER) /* under which such a child may start none */
        bl_epoch_slot *again = NULL;
        if (pthread_create(&thread, NULL, enter_once, &again) != 0 || pthread_join(thread, NULL) != 0)
            _exit(1);
        _exit(again == slot ? 0 : 2); /* nobody has it any more */
#endif
        _exit(0);
    }
    int status = -1;
    assert_int_equal(waitpid(child, &status, 0), child);
    pthread_barrier_wait(&all_done);
    assert_int_equal(pthread_join(thread, NULL), 0);
    assert_int_equal(status, 0);
}

/* Where the kernel has no membarrier, readers fence for themselves. */
static void it_also_works_with_fences(void **state)
{
    bool before = atomic_load(&bl_epoch_needs_fence);
    atomic_store(&bl_epoch_needs_fence, true);
    a_reader_never_sees_what_was_freed(state);
    atomic_store(&bl_epoch_needs_fence, before);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_thread_gives_its_slot_back),
        cmocka_unit_test(a_reader_never_sees_what_was_freed),
        cmocka_unit_test(tickets_pass_only_when_readers_have_left),
        cmocka_unit_test(a_ticket_waits_for_the_reader_that_was_inside),
        cmocka_unit_test(many_threads_have_slots_of_their_own),
        cmocka_unit_test(a_forked_child_waits_for_nobody_it_left_behind),
        cmocka_unit_test(it_also_works_with_fences),
    };
    return cmocka_run_group_tests_name("epoch", tests, NULL, NULL);
}
