/* SPDX-License-Identifier: MIT */
/* scheduler.c -- background jobs, locks and waits on threads; the simulation's half is in scheduler_sim.c.
 *
 * A fixed set of threads takes jobs from two queues. Thread 0 of two or more takes only high priority jobs,
 * so there is always one for a flush; the others take high before low and run 5 steps nicer than the
 * process. Delayed jobs wait in a list by due time and move to the high queue; the idle threads sleep until
 * the first is due.
 * INVARIANTS  (SCHEDULER-1) A job is in one queue until it starts, and starts once.
 *             (SCHEDULER-2) destroy returns only when every job that was not delayed has run to its end.
 * THREADS     Any. One lock over the queues. A node is not touched any more once its job has started.
 * A `scheduler` of NULL in locks, sleeps and yields means plain threads: parts that are tested alone need
 * none. */
#include "platform/scheduler.h"

#include "base/alloc.h"
#include "base/assert.h"
#include "base/status.h"
#include "platform/epoch.h"
#include "platform/process.h"
#include "platform/scheduler_sim.h"

#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

enum { THREADS_MAX = 64, NICER_BY = 5, NICE_MAX = 19, NS_PER_SECOND = 1000000000 };

typedef struct worker {
    struct thread_scheduler *scheduler;
    pthread_t thread;
    bool only_high;
    bool is_nice;
} worker;

typedef struct job_queue {
    bl_job_node *first, **end;
} job_queue;

typedef struct thread_scheduler {
    bl_scheduler base; /* first */
    /* constant after create */
    worker workers[THREADS_MAX];
    uint32_t worker_count;
    uint32_t generation; /* of the process; in a child of fork there are no threads to wait for */

    pthread_mutex_t lock;
    pthread_cond_t work; /* something was queued, or stopping was set */
    /* under the lock */
    job_queue queues[BL_PRIORITY_COUNT];
    bl_job_node *delayed; /* by due time */
    bool stopping;
} thread_scheduler;

static uint64_t now_ns(void)
{
    struct timespec now;
    bl_assert(clock_gettime(CLOCK_MONOTONIC, &now) == 0);
    return (uint64_t)now.tv_sec * NS_PER_SECOND + (uint64_t)now.tv_nsec;
}

static struct timespec time_of(uint64_t ns)
{
    return (struct timespec){ (time_t)(ns / NS_PER_SECOND), (long)(ns % NS_PER_SECOND) };
}

static uint64_t later(uint64_t now, uint64_t ns)
{
    const uint64_t never = (uint64_t)INT64_MAX;
    return ns < never - now ? now + ns : never;
}

static void init_monotonic(pthread_cond_t *condition)
{
    pthread_condattr_t attributes;
    pthread_condattr_init(&attributes);
    bl_assert(pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC) == 0);
    bl_assert(pthread_cond_init(condition, &attributes) == 0);
    pthread_condattr_destroy(&attributes);
}

/* ---- Queues, under the lock ---------------------------------------------------------------------------- */

static void queue_put(job_queue *queue, bl_job_node *node)
{
    node->next = NULL;
    *queue->end = node;
    queue->end = &node->next;
}

static bl_job_node *queue_take(job_queue *queue)
{
    bl_job_node *node = queue->first;
    if (node == NULL)
        return NULL;
    queue->first = node->next;
    if (queue->first == NULL)
        queue->end = &queue->first;
    return node;
}

static bool queue_remove(job_queue *queue, bl_job_node *node)
{
    for (bl_job_node **link = &queue->first; *link != NULL; link = &(*link)->next) {
        if (*link != node)
            continue;
        *link = node->next;
        if (queue->end == &node->next)
            queue->end = link;
        return true;
    }
    return false;
}

static void move_due(thread_scheduler *scheduler)
{
    if (scheduler->delayed == NULL)
        return;
    uint64_t now = now_ns();
    while (scheduler->delayed != NULL && scheduler->delayed->due_ns <= now) {
        bl_job_node *node = scheduler->delayed;
        scheduler->delayed = node->next;
        queue_put(&scheduler->queues[BL_PRIORITY_HIGH], node);
    }
}

/* The next job for a worker; waits. NULL: the scheduler stops and nothing is left for this worker. */
static bl_job_node *next_job(thread_scheduler *scheduler, bool only_high)
{
    for (;;) {
        if (!scheduler->stopping)
            move_due(scheduler);
        bl_job_node *node = queue_take(&scheduler->queues[BL_PRIORITY_HIGH]);
        if (node == NULL && !only_high)
            node = queue_take(&scheduler->queues[BL_PRIORITY_LOW]);
        if (node != NULL || scheduler->stopping)
            return node;
        if (scheduler->delayed == NULL) {
            pthread_cond_wait(&scheduler->work, &scheduler->lock);
        } else {
            struct timespec due = time_of(scheduler->delayed->due_ns);
            pthread_cond_timedwait(&scheduler->work, &scheduler->lock, &due);
        }
    }
}

/* ---- Threads ------------------------------------------------------------------------------------------- */

/* Signals of the program go to the program's threads; faults must be delivered where they happen. */
static void block_signals(sigset_t *before)
{
    static const int stay[] = { SIGBUS, SIGSEGV, SIGFPE, SIGILL, SIGTRAP, SIGABRT, SIGSYS, SIGPROF };
    sigset_t blocked;
    sigfillset(&blocked);
    for (size_t i = 0; i < sizeof stay / sizeof stay[0]; i++)
        sigdelset(&blocked, stay[i]);
    pthread_sigmask(SIG_SETMASK, &blocked, before);
}

static void *work(void *argument)
{
    worker *self = argument;
    thread_scheduler *scheduler = self->scheduler;
    if (self->is_nice) { /* on Linux the nice value is the thread's; refused: run as the others do */
        int nice_now = getpriority(PRIO_PROCESS, 0);
        (void)setpriority(PRIO_PROCESS, (id_t)syscall(SYS_gettid),
                          nice_now > NICE_MAX - NICER_BY ? NICE_MAX : nice_now + NICER_BY);
    }
    pthread_mutex_lock(&scheduler->lock);
    bl_job_node *node;
    while ((node = next_job(scheduler, self->only_high)) != NULL) {
        pthread_mutex_unlock(&scheduler->lock);
        node->run(node->context);
        bl_debug_assert(!bl_epoch_inside());
        pthread_mutex_lock(&scheduler->lock);
    }
    pthread_mutex_unlock(&scheduler->lock);
    return NULL;
}

static int start_worker(thread_scheduler *scheduler, uint32_t number, uint32_t count)
{
    worker *self = &scheduler->workers[number];
    self->scheduler = scheduler;
    self->only_high = number == 0 && count > 1;
    self->is_nice = number != 0;
    sigset_t before;
    block_signals(&before);
    int failure = bl_alloc_refused() ? EAGAIN : pthread_create(&self->thread, NULL, work, self);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (failure == 0) {
        scheduler->worker_count++;
        char name[16] = "bole-00";
        name[5] = (char)('0' + number / 10);
        name[6] = (char)('0' + number % 10);
        pthread_setname_np(self->thread, name);
    }
    return failure;
}

bole_status bl_scheduler_create(uint32_t threads, bl_scheduler **out, bole_error *error)
{
    *out = NULL;
    if (threads == 0 || threads > THREADS_MAX)
        return bl_fail(error, BOLE_INVALID, "%u background threads: 1 to %d are possible", threads,
                       THREADS_MAX);
    thread_scheduler *scheduler = bl_new(thread_scheduler);
    if (scheduler == NULL)
        return bl_fail(error, BOLE_NO_MEMORY, "out of memory for the scheduler");
    scheduler->generation = bl_process_generation();
    pthread_mutex_init(&scheduler->lock, NULL);
    init_monotonic(&scheduler->work);
    for (unsigned i = 0; i < BL_PRIORITY_COUNT; i++)
        scheduler->queues[i].end = &scheduler->queues[i].first;
    for (uint32_t i = 0; i < threads; i++) {
        int failure = start_worker(scheduler, i, threads);
        if (failure != 0) {
            bl_scheduler_destroy(&scheduler->base);
            return bl_fail(error, BOLE_NO_MEMORY, "cannot start background thread %u of %u (errno %d)", i + 1,
                           threads, failure);
        }
    }
    *out = &scheduler->base;
    return BOLE_OK;
}

static thread_scheduler *on_threads(bl_scheduler *scheduler)
{
    bl_assert(!scheduler->simulated);
    return (thread_scheduler *)scheduler;
}

static void destroy_threads(thread_scheduler *scheduler)
{
    if (scheduler->generation == bl_process_generation()) {
        pthread_mutex_lock(&scheduler->lock);
        scheduler->stopping = true;
        pthread_cond_broadcast(&scheduler->work);
        pthread_mutex_unlock(&scheduler->lock);
        for (uint32_t i = 0; i < scheduler->worker_count; i++)
            bl_assert(pthread_join(scheduler->workers[i].thread, NULL) == 0);
        /* A job that ran last may have left one that only another worker, already gone, would have taken. */
        bl_job_node *node;
        while ((node = next_job(scheduler, false)) != NULL)
            node->run(node->context);
        pthread_cond_destroy(&scheduler->work);
        pthread_mutex_destroy(&scheduler->lock);
    }
    bl_free(scheduler);
}

/* ---- Jobs ---------------------------------------------------------------------------------------------- */

void bl_scheduler_destroy(bl_scheduler *scheduler)
{
    if (scheduler == NULL)
        return;
    if (scheduler->simulated)
        bl_simulation_destroy(scheduler);
    else
        destroy_threads(on_threads(scheduler));
}

bool bl_scheduler_is_simulation(const bl_scheduler *scheduler)
{
    return scheduler != NULL && scheduler->simulated;
}

void bl_scheduler_submit(bl_scheduler *base, bl_priority priority, bl_job_node *node)
{
    bl_assert(node->run != NULL && priority < BL_PRIORITY_COUNT);
    if (base->simulated) {
        bl_simulation_submit(base, node);
        return;
    }
    thread_scheduler *scheduler = on_threads(base);
    pthread_mutex_lock(&scheduler->lock);
    queue_put(&scheduler->queues[priority], node);
    pthread_cond_broadcast(&scheduler->work); /* one signal might wake a worker that may not take it */
    pthread_mutex_unlock(&scheduler->lock);
}

void bl_scheduler_submit_after(bl_scheduler *base, uint64_t delay_ns, bl_job_node *node)
{
    bl_assert(node->run != NULL);
    if (base->simulated) {
        bl_simulation_submit_after(base, delay_ns, node);
        return;
    }
    thread_scheduler *scheduler = on_threads(base);
    node->due_ns = later(now_ns(), delay_ns);
    pthread_mutex_lock(&scheduler->lock);
    bl_job_node **link = &scheduler->delayed;
    while (*link != NULL && (*link)->due_ns <= node->due_ns)
        link = &(*link)->next;
    node->next = *link;
    *link = node;
    pthread_cond_broadcast(&scheduler->work);
    pthread_mutex_unlock(&scheduler->lock);
}

bool bl_scheduler_cancel(bl_scheduler *base, bl_job_node *node)
{
    if (base->simulated)
        return bl_simulation_cancel(base, node);
    thread_scheduler *scheduler = on_threads(base);
    bool found = false;
    pthread_mutex_lock(&scheduler->lock);
    for (bl_job_node **link = &scheduler->delayed; *link != NULL && !found; link = &(*link)->next) {
        if (*link == node) {
            *link = node->next;
            found = true;
            break;
        }
    }
    for (unsigned i = 0; i < BL_PRIORITY_COUNT && !found; i++)
        found = queue_remove(&scheduler->queues[i], node);
    pthread_mutex_unlock(&scheduler->lock);
    return found;
}

void bl_sleep(bl_scheduler *scheduler, uint64_t nanoseconds)
{
    if (bl_scheduler_is_simulation(scheduler)) {
        bl_simulation_sleep(scheduler, nanoseconds);
        return;
    }
    struct timespec due = time_of(later(now_ns(), nanoseconds));
    while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &due, NULL) == EINTR)
        continue;
}

void bl_yield(bl_scheduler *scheduler)
{
    if (bl_scheduler_is_simulation(scheduler))
        bl_simulation_yield(scheduler);
    else
        sched_yield();
}

/* ---- Locks --------------------------------------------------------------------------------------------- */

#ifdef BL_CHECKS
static void *this_thread(void)
{
    static _Thread_local char mark;
    return &mark;
}
#endif

static void set_owner(bl_mutex *mutex, bool held)
{
#ifdef BL_CHECKS
    atomic_store_explicit(&mutex->owner, held ? this_thread() : NULL, memory_order_relaxed);
#else
    (void)mutex, (void)held;
#endif
}

void bl_mutex_init(bl_mutex *mutex, bl_scheduler *scheduler)
{
    mutex->scheduler = scheduler;
    mutex->generation = bl_process_generation();
    atomic_init(&mutex->owner, NULL);
    bl_assert(pthread_mutex_init(&mutex->mutex, NULL) == 0);
}

void bl_mutex_deinit(bl_mutex *mutex)
{
    if (mutex->generation == bl_process_generation()) /* else a thread of the parent may have held it */
        bl_assert(pthread_mutex_destroy(&mutex->mutex) == 0);
}

void bl_mutex_lock(bl_mutex *mutex)
{
    bl_debug_assert(!bl_epoch_inside());
    if (bl_scheduler_is_simulation(mutex->scheduler)) {
        bl_simulation_lock(mutex);
        return;
    }
    bl_assert(pthread_mutex_lock(&mutex->mutex) == 0);
    set_owner(mutex, true);
}

bool bl_mutex_try_lock(bl_mutex *mutex)
{
    if (bl_scheduler_is_simulation(mutex->scheduler))
        return bl_simulation_try_lock(mutex);
    if (pthread_mutex_trylock(&mutex->mutex) != 0)
        return false;
    set_owner(mutex, true);
    return true;
}

void bl_mutex_unlock(bl_mutex *mutex)
{
    if (bl_scheduler_is_simulation(mutex->scheduler)) {
        bl_simulation_unlock(mutex);
        return;
    }
    set_owner(mutex, false);
    bl_assert(pthread_mutex_unlock(&mutex->mutex) == 0);
}

void bl_mutex_assert_held(const bl_mutex *mutex)
{
    if (bl_scheduler_is_simulation(mutex->scheduler)) {
        bl_assert(bl_simulation_holds(mutex));
        return;
    }
#ifdef BL_CHECKS
    bl_assert(atomic_load_explicit(&mutex->owner, memory_order_relaxed) == this_thread());
#endif
}

/* ---- Conditions ---------------------------------------------------------------------------------------- */

void bl_condition_init(bl_condition *condition, bl_scheduler *scheduler)
{
    condition->scheduler = scheduler;
    condition->generation = bl_process_generation();
    init_monotonic(&condition->condition);
}

void bl_condition_deinit(bl_condition *condition)
{
    if (condition->generation == bl_process_generation()) /* else it waits for waiters that are not here */
        bl_assert(pthread_cond_destroy(&condition->condition) == 0);
}

void bl_condition_wait(bl_condition *condition, bl_mutex *mutex)
{
    bl_mutex_assert_held(mutex);
    if (bl_scheduler_is_simulation(condition->scheduler)) {
        (void)bl_simulation_wait(condition, mutex, UINT64_MAX);
        return;
    }
    set_owner(mutex, false);
    bl_assert(pthread_cond_wait(&condition->condition, &mutex->mutex) == 0);
    set_owner(mutex, true);
}

bool bl_condition_wait_for(bl_condition *condition, bl_mutex *mutex, uint64_t nanoseconds)
{
    bl_mutex_assert_held(mutex);
    if (bl_scheduler_is_simulation(condition->scheduler))
        return bl_simulation_wait(condition, mutex, nanoseconds);
    struct timespec due = time_of(later(now_ns(), nanoseconds));
    set_owner(mutex, false);
    int result = pthread_cond_timedwait(&condition->condition, &mutex->mutex, &due);
    set_owner(mutex, true);
    bl_assert(result == 0 || result == ETIMEDOUT);
    return result == 0;
}

void bl_condition_wake_all(bl_condition *condition)
{
    if (bl_scheduler_is_simulation(condition->scheduler))
        bl_simulation_wake_all(condition);
    else
        bl_assert(pthread_cond_broadcast(&condition->condition) == 0);
}
