/* SPDX-License-Identifier: MIT */
/* scheduler_sim.c -- every thread of a run as a coroutine on one thread, in an order that a seed decides.
 *
 * The caller of bl_scheduler_simulation_create is the first coroutine; each job becomes one when it is chosen
 * for the first time. At every point (bl_point, a lock that is about to be taken, a wait, a sleep, a yield)
 * the next one is drawn from all that could run. How often a point switches is drawn once for the run: some
 * seeds interleave at every point, others hardly ever, since bugs hide at both ends. Now and then one that is switched
 * pauses, so that all others get far meanwhile. A wait may wake for nothing.
 *
 * TIME        Timed waits and delayed jobs look at the vfs' monotonic clock. When nothing else can run, the
 *             clock is moved to the next of them (on a memory vfs by bole_vfs_memory_advance, else by an
 *             offset kept here); a point does the same now and then, for time may pass anywhere.
 * DEADLOCK    Nothing can run and nobody waits for a time: the waiters are listed and the process aborts. So
 *             it does when one coroutine yields a million times while no other can run: it waits for nobody.
 * INVARIANTS  (SIM-1) A coroutine is in one list (ready, waiting) or is the running one.
 *             (SIM-2) No switch happens while a lock is held other than the one waited with; so a lock that
 *                     somebody wants is always free. Inside an epoch only bl_point_inside switches; each
 *                     coroutine has its own slot, and who waits for a grace period lets the readers run.
 *             (SIM-3) Nothing here uses the heap after create: a test that lets allocations fail changes no
 *                     choice.
 * THREADS     The one that created it.
 * The annotations tell AddressSanitizer and ThreadSanitizer of each change of stack. */
#include "platform/scheduler_sim.h"

#include "base/alloc.h"
#include "base/assert.h"
#include "base/prng.h"
#include "base/sanitizer.h"
#include "base/status.h"
#include "platform/epoch.h"
#include "platform/vfs_wrap.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <ucontext.h>

#if defined(BL_ADDRESS_SANITIZER)
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#endif
#if defined(BL_THREAD_SANITIZER)
#include <sanitizer/tsan_interface.h>
#endif

enum {
    STACK_BYTES = 512 * 1024, /* address space; only what is used takes memory */
    GUARD_BYTES = 4096,
    POOL_MAX = 64,
    SPURIOUS_ONE_IN = 32,
    JUMP_ONE_IN = 256,
    PAUSE_ONE_IN = 32,
    PAUSE_NS_LOG2 = 20, /* pauses are shorter: a millisecond */
    IDLE_YIELDS_MAX = 1000000,
};

typedef enum coroutine_state { RUNNING, READY, WAITING } coroutine_state;

typedef struct coroutine {
    struct coroutine *previous, *next; /* in ready or waiting */
    coroutine_state state;
    uint64_t number;       /* 0: the caller; else in order of start */
    const char *place;     /* the last point, for the list of waiters */
    const void *waits_for; /* a condition; NULL: a time alone */
    uint64_t due_ns;       /* UINT64_MAX: no time-out */
    bool timed_out;
    uint32_t locks_held;
    bl_epoch_slot *epoch; /* while another one runs */
    bl_job job;
    void *job_context;

    ucontext_t context;
    char *stack; /* lowest address, the guard page; this struct stands at its upper end */
#if defined(BL_ADDRESS_SANITIZER)
    const void *stack_bottom; /* for the caller's own stack: learned at the first switch away from it */
    size_t stack_size;
    void *fake_stack;
#endif
#if defined(BL_THREAD_SANITIZER)
    void *fiber;
#endif
} coroutine;

typedef struct coroutine_list {
    coroutine head; /* a ring */
    size_t count;
} coroutine_list;

typedef struct simulation {
    bl_scheduler base; /* first */
    bole_vfs *vfs;
    bole_vfs *memory; /* below vfs, or NULL */
    uint64_t clock_offset_ns;
    bl_prng prng;
    uint64_t switch_one_in;
    pthread_t thread;

    coroutine *running;
    coroutine *finished; /* switched away from for good; the next one frees it */
    coroutine_list ready, waiting;
    bl_job_node *submitted, **submitted_end; /* not started */
    size_t submitted_count;
    bl_job_node *delayed; /* by due time */
    uint64_t started;
    uint64_t idle_yields;
    uint64_t path; /* hash of all switches */
    coroutine caller;
} simulation;

/* Stacks that are not in use, also between simulations. */
static pthread_mutex_t pool_lock = PTHREAD_MUTEX_INITIALIZER;
static coroutine *pool;
static size_t pool_count;

/* The simulation whose coroutines run on this thread now: the last that was called. */
static _Thread_local simulation *active;

static simulation *simulation_of(bl_scheduler *scheduler)
{
    simulation *sim = (simulation *)scheduler;
    bl_assert(sim->base.simulated && pthread_equal(sim->thread, pthread_self()));
    active = sim;
    return sim;
}

/* ---- Lists --------------------------------------------------------------------------------------------- */

static void list_init(coroutine_list *list) { list->head.next = list->head.previous = &list->head; }

static void list_add(coroutine_list *list, coroutine *one, coroutine_state state)
{
    one->previous = list->head.previous;
    one->next = &list->head;
    one->previous->next = one->next->previous = one;
    one->state = state;
    list->count++;
}

static void list_remove(coroutine_list *list, coroutine *one)
{
    one->previous->next = one->next;
    one->next->previous = one->previous;
    list->count--;
}

static bl_job_node *take_submitted(simulation *sim, size_t index)
{
    bl_job_node **link = &sim->submitted;
    while (index-- != 0)
        link = &(*link)->next;
    bl_job_node *node = *link;
    *link = node->next;
    if (sim->submitted_end == &node->next)
        sim->submitted_end = link;
    sim->submitted_count--;
    return node;
}

/* ---- Stacks -------------------------------------------------------------------------------------------- */

static _Noreturn void run_coroutine(void);

static coroutine *map_stack(void)
{
    char *stack = mmap(NULL, STACK_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE,
                       -1, 0);
    bl_assert(stack != MAP_FAILED);
    bl_assert(mprotect(stack, GUARD_BYTES, PROT_NONE) == 0);
    size_t room = sizeof(coroutine) / 64 * 64 + 64;
    coroutine *made = (coroutine *)(void *)(stack + STACK_BYTES - room);
    made->stack = stack;
    return made;
}

/* Not inlined beside getcontext, which returns twice in the compiler's eyes. */
__attribute__((noinline)) static coroutine *take_stack(void)
{
    pthread_mutex_lock(&pool_lock);
    coroutine *taken = pool;
    if (taken != NULL) {
        pool = taken->next;
        pool_count--;
    }
    pthread_mutex_unlock(&pool_lock);
    return taken != NULL ? taken : map_stack();
}

static void put_stack(coroutine *done)
{
    char *stack = done->stack;
#if defined(BL_THREAD_SANITIZER)
    __tsan_destroy_fiber(done->fiber);
#endif
#if defined(BL_ADDRESS_SANITIZER)
    __asan_unpoison_memory_region(stack + GUARD_BYTES, STACK_BYTES - GUARD_BYTES);
#endif
    pthread_mutex_lock(&pool_lock);
    bool keep = pool_count < POOL_MAX;
    if (keep) {
        done->next = pool;
        pool = done;
        pool_count++;
    }
    pthread_mutex_unlock(&pool_lock);
    if (!keep)
        bl_assert(munmap(stack, STACK_BYTES) == 0);
}

static coroutine *start_coroutine(simulation *sim, const bl_job_node *node)
{
    coroutine *one = take_stack();
    char *stack = one->stack;
    *one = (coroutine){ .stack = stack, .job = node->run, .job_context = node->context, .place = "start" };
    one->number = ++sim->started;
    one->due_ns = UINT64_MAX;
    one->epoch = bl_epoch_slot_take();
    bl_assert(getcontext(&one->context) == 0);
    one->context.uc_stack.ss_sp = stack + GUARD_BYTES;
    one->context.uc_stack.ss_size = (size_t)((char *)one - stack) - GUARD_BYTES;
#if defined(BL_ADDRESS_SANITIZER)
    one->stack_bottom = one->context.uc_stack.ss_sp;
    one->stack_size = one->context.uc_stack.ss_size;
#endif
#if defined(BL_THREAD_SANITIZER)
    one->fiber = __tsan_create_fiber(0);
#endif
    makecontext(&one->context, run_coroutine, 0);
    return one;
}

/* ---- Switching ----------------------------------------------------------------------------------------- */

/* What the coroutine that now runs does first. */
static void arrive(simulation *sim)
{
    coroutine *self = sim->running;
#if defined(BL_ADDRESS_SANITIZER)
    const void *bottom;
    size_t size;
    __sanitizer_finish_switch_fiber(self->fake_stack, &bottom, &size);
    if (sim->caller.stack_bottom == NULL) { /* the first switch of all came from there */
        sim->caller.stack_bottom = bottom;
        sim->caller.stack_size = size;
    }
#endif
    self->state = RUNNING;
    if (sim->finished != NULL) {
        bl_epoch_slot_give_back(sim->finished->epoch);
        put_stack(sim->finished);
        sim->finished = NULL;
    }
}

static uint64_t path_after(uint64_t path, const coroutine *from, const coroutine *to)
{
    for (const char *at = from->place; *at != 0; at++)
        path = (path ^ (uint8_t)*at) * UINT64_C(0x100000001b3);
    return (path ^ to->number) * UINT64_C(0x100000001b3);
}

static void switch_to(simulation *sim, coroutine *to)
{
    coroutine *from = sim->running;
    bl_assert(to != from);
    sim->path = path_after(sim->path, from, to);
    from->epoch = bl_epoch_mine;
    bl_epoch_mine = to->epoch;
    sim->running = to;
    sim->idle_yields = 0;
    active = sim;
#if defined(BL_ADDRESS_SANITIZER)
    bool ends = sim->finished == from;
    __sanitizer_start_switch_fiber(ends ? NULL : &from->fake_stack, to->stack_bottom, to->stack_size);
#endif
#if defined(BL_THREAD_SANITIZER)
    __tsan_switch_to_fiber(to->fiber, 0);
#endif
    bl_assert(swapcontext(&from->context, &to->context) == 0);
    arrive(sim);
}

/* ---- Time ---------------------------------------------------------------------------------------------- */

static uint64_t now_ns(simulation *sim) { return sim->vfs->monotonic_ns(sim->vfs) + sim->clock_offset_ns; }

static uint64_t due_after(simulation *sim, uint64_t nanoseconds)
{
    uint64_t now = now_ns(sim);
    return nanoseconds < (uint64_t)INT64_MAX - now ? now + nanoseconds : UINT64_MAX;
}

/* The earliest time that somebody waits for, UINT64_MAX when nobody does. */
static uint64_t next_due(const simulation *sim)
{
    uint64_t due = sim->delayed != NULL ? sim->delayed->due_ns : UINT64_MAX;
    for (const coroutine *one = sim->waiting.head.next; one != &sim->waiting.head; one = one->next)
        due = one->due_ns < due ? one->due_ns : due;
    return due;
}

static void move_clock_to(simulation *sim, uint64_t due)
{
    uint64_t now = now_ns(sim);
    if (due <= now)
        return;
    if (sim->memory != NULL)
        bole_vfs_memory_advance(sim->memory, (int64_t)((due - now + 999) / 1000));
    else
        sim->clock_offset_ns += due - now;
}

/* Move the clock to the earliest time that somebody waits for; false when nobody does. */
static bool jump_to_next_due(simulation *sim)
{
    uint64_t due = next_due(sim);
    if (due == UINT64_MAX)
        return false;
    move_clock_to(sim, due);
    return true;
}

static void make_ready(simulation *sim, coroutine *one)
{
    list_remove(&sim->waiting, one);
    one->waits_for = NULL;
    one->due_ns = UINT64_MAX;
    list_add(&sim->ready, one, READY);
}

/* Wake and submit all whose time has come. */
static void fire_due(simulation *sim)
{
    if (next_due(sim) == UINT64_MAX)
        return;
    uint64_t now = now_ns(sim);
    for (coroutine *one = sim->waiting.head.next, *next; one != &sim->waiting.head; one = next) {
        next = one->next;
        if (one->due_ns > now)
            continue;
        one->timed_out = true;
        make_ready(sim, one);
    }
    while (sim->delayed != NULL && sim->delayed->due_ns <= now) {
        bl_job_node *node = sim->delayed;
        sim->delayed = node->next;
        bl_simulation_submit(&sim->base, node);
    }
}

/* ---- Choosing ------------------------------------------------------------------------------------------ */

static _Noreturn void deadlock(const simulation *sim, const char *what)
{
    fprintf(stderr, "bole: simulation: %s\n", what);
    for (const coroutine *one = sim->waiting.head.next; one != &sim->waiting.head; one = one->next)
        fprintf(stderr, "  coroutine %llu waits for %p since \"%s\"\n", (unsigned long long)one->number,
                one->waits_for, one->place);
    fprintf(stderr, "  coroutine %llu was the last to run, at \"%s\"\n",
            (unsigned long long)sim->running->number, sim->running->place);
    fflush(stderr);
    abort();
}

static size_t candidates(const simulation *sim) { return sim->ready.count + sim->submitted_count; }

/* Draw one of all that are ready, and take it from its list. */
static coroutine *draw(simulation *sim)
{
    size_t index = (size_t)bl_prng_below(&sim->prng, candidates(sim));
    if (index >= sim->ready.count) {
        bl_job_node *node = take_submitted(sim, index - sim->ready.count);
        return start_coroutine(sim, node);
    }
    coroutine *one = sim->ready.head.next;
    while (index-- != 0)
        one = one->next;
    list_remove(&sim->ready, one);
    return one;
}

/* Let another one run; the running coroutine is in a list, or finished. It may be drawn itself. */
static void run_another(simulation *sim)
{
    fire_due(sim);
    while (candidates(sim) == 0) {
        if (!jump_to_next_due(sim))
            deadlock(sim, "deadlock: nothing can run, and nobody waits for a time");
        fire_due(sim);
    }
    coroutine *next = draw(sim);
    if (next == sim->running)
        next->state = RUNNING;
    else
        switch_to(sim, next);
}

/* First and last words of every job. */
static _Noreturn void run_coroutine(void)
{
    simulation *sim = active;
    arrive(sim);
    coroutine *self = sim->running;
    self->job(self->job_context);
    bl_assert(self->locks_held == 0 && !bl_epoch_inside());
    sim->finished = self;
    run_another(sim);
    abort(); /* a finished coroutine is in no list */
}

static void give_way(simulation *sim)
{
    list_add(&sim->ready, sim->running, READY);
    run_another(sim);
}

/* Wait until woken or until `due`; false when it was the time. */
static bool wait_until(simulation *sim, const void *waits_for, uint64_t due)
{
    coroutine *self = sim->running;
    self->waits_for = waits_for;
    self->due_ns = due;
    self->timed_out = false;
    list_add(&sim->waiting, self, WAITING);
    run_another(sim);
    return !self->timed_out;
}

static void assert_may_switch(const simulation *sim, uint32_t locks_allowed)
{
    bl_assert(!bl_epoch_inside());
    bl_assert(sim->running->locks_held == locks_allowed);
}

/* ---- Points and sleeps --------------------------------------------------------------------------------- */

static void maybe_switch(simulation *sim)
{
    if (!bl_prng_chance(&sim->prng, sim->switch_one_in))
        return;
    if (bl_prng_chance(&sim->prng, JUMP_ONE_IN))
        (void)jump_to_next_due(sim);
    if (candidates(sim) != 0 && bl_prng_chance(&sim->prng, PAUSE_ONE_IN))
        (void)wait_until(sim, NULL, due_after(sim, UINT64_C(1) << bl_prng_below(&sim->prng, PAUSE_NS_LOG2)));
    else
        give_way(sim);
}

void bl_point_simulated(bl_scheduler *scheduler, const char *name)
{
    simulation *sim = simulation_of(scheduler);
    assert_may_switch(sim, 0);
    sim->running->place = name;
    maybe_switch(sim);
}

void bl_point_inside_simulated(bl_scheduler *scheduler, const char *name)
{
    simulation *sim = simulation_of(scheduler);
    bl_assert(sim->running->locks_held == 0);
    sim->running->place = name;
    maybe_switch(sim);
}

uint64_t bl_scheduler_simulation_path(const bl_scheduler *scheduler)
{
    bl_assert(scheduler->simulated);
    return ((const simulation *)(const void *)scheduler)->path;
}

/* A grace period waits for a coroutine that is inside an epoch. */
static bool let_readers_run(void)
{
    bool others = active != NULL && (candidates(active) != 0 || next_due(active) != UINT64_MAX);
    if (others)
        bl_simulation_yield(&active->base);
    return others;
}

bool bl_scheduler_simulation_active(const bl_scheduler *scheduler)
{
    if (!bl_scheduler_is_simulation(scheduler))
        return false;
    const simulation *sim = (const simulation *)(const void *)scheduler;
    return candidates(sim) + sim->waiting.count != 0;
}

void bl_simulation_sleep(bl_scheduler *scheduler, uint64_t nanoseconds)
{
    simulation *sim = simulation_of(scheduler);
    assert_may_switch(sim, 0);
    (void)wait_until(sim, NULL, due_after(sim, nanoseconds));
}

void bl_simulation_yield(bl_scheduler *scheduler)
{
    simulation *sim = simulation_of(scheduler);
    assert_may_switch(sim, 0);
    if (candidates(sim) == 0 && !jump_to_next_due(sim) && ++sim->idle_yields > IDLE_YIELDS_MAX)
        deadlock(sim, "livelock: one coroutine yields for ever, and no other can run");
    give_way(sim); /* a switch sets idle_yields to 0 */
}

/* ---- Jobs ---------------------------------------------------------------------------------------------- */

void bl_simulation_submit(bl_scheduler *scheduler, bl_job_node *node)
{
    simulation *sim = simulation_of(scheduler);
    node->next = NULL;
    *sim->submitted_end = node;
    sim->submitted_end = &node->next;
    sim->submitted_count++;
}

void bl_simulation_submit_after(bl_scheduler *scheduler, uint64_t delay_ns, bl_job_node *node)
{
    simulation *sim = simulation_of(scheduler);
    node->due_ns = due_after(sim, delay_ns);
    bl_job_node **link = &sim->delayed;
    while (*link != NULL && (*link)->due_ns <= node->due_ns)
        link = &(*link)->next;
    node->next = *link;
    *link = node;
}

bool bl_simulation_cancel(bl_scheduler *scheduler, bl_job_node *node)
{
    simulation *sim = simulation_of(scheduler);
    for (bl_job_node **link = &sim->delayed; *link != NULL; link = &(*link)->next) {
        if (*link == node) {
            *link = node->next;
            return true;
        }
    }
    size_t index = 0;
    for (const bl_job_node *one = sim->submitted; one != NULL; one = one->next, index++) {
        if (one == node) {
            (void)take_submitted(sim, index);
            return true;
        }
    }
    return false;
}

/* ---- Locks and conditions ------------------------------------------------------------------------------ */

static void *owner_of(const bl_mutex *mutex)
{
    return atomic_load_explicit(&mutex->owner, memory_order_relaxed);
}

static void set_owner(bl_mutex *mutex, coroutine *owner)
{
    atomic_store_explicit(&mutex->owner, owner, memory_order_relaxed);
}

bool bl_simulation_holds(const bl_mutex *mutex)
{
    return owner_of(mutex) == simulation_of(mutex->scheduler)->running;
}

bool bl_simulation_try_lock(bl_mutex *mutex)
{
    simulation *sim = simulation_of(mutex->scheduler);
    if (owner_of(mutex) != NULL)
        return false;
    set_owner(mutex, sim->running);
    sim->running->locks_held++;
    return true;
}

void bl_simulation_lock(bl_mutex *mutex)
{
    simulation *sim = simulation_of(mutex->scheduler);
    bl_assert(owner_of(mutex) != sim->running);
    if (sim->running->locks_held == 0)
        maybe_switch(sim);
    bl_assert(bl_simulation_try_lock(mutex)); /* (SIM-2): its owner would have to be running */
}

static void wake(simulation *sim, const void *waits_for)
{
    for (coroutine *one = sim->waiting.head.next, *next; one != &sim->waiting.head; one = next) {
        next = one->next;
        if (one->waits_for == waits_for)
            make_ready(sim, one);
    }
}

void bl_simulation_unlock(bl_mutex *mutex)
{
    simulation *sim = simulation_of(mutex->scheduler);
    bl_assert(owner_of(mutex) == sim->running);
    set_owner(mutex, NULL);
    sim->running->locks_held--;
}

bool bl_simulation_wait(bl_condition *condition, bl_mutex *mutex, uint64_t nanoseconds)
{
    simulation *sim = simulation_of(condition->scheduler);
    assert_may_switch(sim, 1);
    bl_simulation_unlock(mutex);
    bool woken = true;
    if (bl_prng_chance(&sim->prng, SPURIOUS_ONE_IN))
        give_way(sim);
    else
        woken = wait_until(sim, condition,
                           nanoseconds == UINT64_MAX ? UINT64_MAX : due_after(sim, nanoseconds));
    bl_assert(bl_simulation_try_lock(mutex)); /* (SIM-2) */
    return woken;
}

void bl_simulation_wake_all(bl_condition *condition) { wake(simulation_of(condition->scheduler), condition); }

/* ---- Life ---------------------------------------------------------------------------------------------- */

bole_status bl_scheduler_simulation_create(uint64_t seed, bole_vfs *vfs, bl_scheduler **out,
                                           bole_error *error)
{
    static const uint64_t rates[] = { 1, 2, 4, 16, 64 };
    *out = NULL;
    simulation *sim = bl_new(simulation);
    if (sim == NULL)
        return bl_fail(error, BOLE_NO_MEMORY, "out of memory for the simulation");
    sim->base.simulated = true;
    sim->vfs = vfs;
    sim->memory = bl_vfs_memory_below(vfs);
    bl_prng_init(&sim->prng, seed);
    sim->switch_one_in = rates[bl_prng_below(&sim->prng, sizeof rates / sizeof rates[0])];
    sim->thread = pthread_self();
    list_init(&sim->ready);
    list_init(&sim->waiting);
    sim->submitted_end = &sim->submitted;
    sim->caller.place = "start";
    sim->caller.due_ns = UINT64_MAX;
    sim->running = &sim->caller;
    bl_epoch_let_run = let_readers_run;
#if defined(BL_THREAD_SANITIZER)
    sim->caller.fiber = __tsan_get_current_fiber();
#endif
    *out = &sim->base;
    return BOLE_OK;
}

void bl_simulation_destroy(bl_scheduler *scheduler)
{
    simulation *sim = simulation_of(scheduler);
    bl_assert(sim->running == &sim->caller);
    sim->delayed = NULL;
    while (candidates(sim) + sim->waiting.count != 0) {
        if (candidates(sim) == 0 && !jump_to_next_due(sim))
            deadlock(sim, "deadlock: the simulation ends, and some wait for ever");
        give_way(sim);
    }
    active = NULL;
    bl_free(sim);
}
