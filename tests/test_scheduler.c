/* SPDX-License-Identifier: MIT */
/* test_scheduler.c -- jobs, locks and waits, on threads and in simulation. Tests whose name does not say
 * which run on both; what a test waits for it waits for with a condition, never by sleeping. */
#include "test.h"

#include "base/alloc.h"
#include "platform/epoch.h"
#include "platform/scheduler.h"

#include <signal.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>

typedef struct fixture {
    bl_scheduler *scheduler;
    bole_vfs *vfs; /* of a simulation */
} fixture;

static bl_scheduler *make_threads(uint32_t threads)
{
    bole_error error = BOLE_ERROR_INIT;
    bl_scheduler *scheduler = NULL;
    assert_ok(bl_scheduler_create(threads, &scheduler, &error), &error);
    return scheduler;
}

static bl_scheduler *make_simulation(uint64_t seed, bole_vfs *vfs)
{
    bole_error error = BOLE_ERROR_INIT;
    bl_scheduler *scheduler = NULL;
    assert_ok(bl_scheduler_simulation_create(seed, vfs, &scheduler, &error), &error);
    assert_true(bl_scheduler_is_simulation(scheduler));
    return scheduler;
}

static int set_up_threads(void **state)
{
    fixture *f = bl_new(fixture);
    f->scheduler = make_threads(2);
    *state = f;
    return 0;
}

static int set_up_simulation(void **state)
{
    fixture *f = bl_new(fixture);
    assert_ok(bole_vfs_memory_create(1, &f->vfs), NULL);
    f->scheduler = make_simulation(test_seed(31), f->vfs);
    *state = f;
    return 0;
}

static int tear_down(void **state)
{
    fixture *f = *state;
    bl_scheduler_destroy(f->scheduler);
    bole_vfs_destroy(f->vfs);
    bl_free(f);
    return 0;
}

/* ---- On both ------------------------------------------------------------------------------------------- */

typedef struct counter {
    bl_scheduler *scheduler;
    bl_mutex mutex;
    bl_condition changed;
    unsigned count, inside, inside_max;
} counter;

static void counter_init(counter *c, bl_scheduler *scheduler)
{
    *c = (counter){ .scheduler = scheduler };
    bl_mutex_init(&c->mutex, scheduler);
    bl_condition_init(&c->changed, scheduler);
}

static void counter_deinit(counter *c)
{
    bl_condition_deinit(&c->changed);
    bl_mutex_deinit(&c->mutex);
}

static void counter_wait(counter *c, unsigned wanted)
{
    bl_mutex_lock(&c->mutex);
    while (c->count < wanted)
        bl_condition_wait(&c->changed, &c->mutex);
    bl_mutex_unlock(&c->mutex);
}

static void count_job(void *context)
{
    counter *c = context;
    bl_scheduler *scheduler = c->scheduler; /* once counted, the counter may be gone */
    bl_point(scheduler, "before");
    bl_mutex_lock(&c->mutex);
    bl_mutex_assert_held(&c->mutex);
    c->inside++;
    if (c->inside > c->inside_max)
        c->inside_max = c->inside;
    c->count++;
    c->inside--;
    bl_condition_wake_all(&c->changed);
    bl_mutex_unlock(&c->mutex);
    bl_point(scheduler, "after");
}

static void every_job_runs_once(void **state)
{
    fixture *f = *state;
    enum { JOBS = 200 };
    static bl_job_node nodes[JOBS];
    counter c;
    counter_init(&c, f->scheduler);
    for (unsigned i = 0; i < JOBS; i++) {
        nodes[i] = (bl_job_node){ .run = count_job, .context = &c };
        bl_scheduler_submit(f->scheduler, i % 2 == 0 ? BL_PRIORITY_HIGH : BL_PRIORITY_LOW, &nodes[i]);
    }
    counter_wait(&c, JOBS);
    assert_int_equal(c.count, JOBS);
    assert_int_equal(c.inside_max, 1);
    counter_deinit(&c);
}

static void destroy_runs_what_was_submitted_and_drops_what_was_delayed(void **state)
{
    fixture *f = *state;
    counter c, never;
    counter_init(&c, f->scheduler);
    counter_init(&never, f->scheduler);
    bl_job_node nodes[20], delayed = { .run = count_job, .context = &never };
    bl_scheduler_submit_after(f->scheduler, UINT64_C(3600) * 1000000000, &delayed);
    for (unsigned i = 0; i < 20; i++) {
        nodes[i] = (bl_job_node){ .run = count_job, .context = &c };
        bl_scheduler_submit(f->scheduler, BL_PRIORITY_LOW, &nodes[i]);
    }
    bl_scheduler_destroy(f->scheduler);
    f->scheduler = NULL;
    assert_int_equal(c.count, 20);
    assert_int_equal(never.count, 0);
    counter_deinit(&c);
    counter_deinit(&never);
}

static void a_delayed_job_runs_when_it_is_due(void **state)
{
    fixture *f = *state;
    counter c;
    counter_init(&c, f->scheduler);
    bl_job_node late = { .run = count_job, .context = &c }, soon = late, cancelled = late, last = late;
    bl_scheduler_submit_after(f->scheduler, UINT64_C(3600) * 1000000000, &late);
    bl_scheduler_submit_after(f->scheduler, UINT64_C(1800) * 1000000000, &cancelled);
    bl_scheduler_submit_after(f->scheduler, 1000000, &soon);
    bl_scheduler_submit_after(f->scheduler, UINT64_C(7200) * 1000000000, &last);
    assert_true(bl_scheduler_cancel(f->scheduler, &cancelled));
    assert_false(bl_scheduler_cancel(f->scheduler, &cancelled));
    counter_wait(&c, 1);
    assert_int_equal(c.count, 1);
    assert_false(bl_scheduler_cancel(f->scheduler, &soon)); /* it has run */
    assert_true(bl_scheduler_cancel(f->scheduler, &late));
    assert_true(bl_scheduler_cancel(f->scheduler, &last));
    counter_deinit(&c);
}

static void a_wait_with_a_time_out_ends_by_itself(void **state)
{
    fixture *f = *state;
    counter c;
    counter_init(&c, f->scheduler);
    bl_mutex_lock(&c.mutex);
    while (bl_condition_wait_for(&c.changed, &c.mutex, 2000000))
        continue; /* woken for nothing */
    bl_mutex_assert_held(&c.mutex);
    bl_mutex_unlock(&c.mutex);
    bl_sleep(f->scheduler, 1000000);
    bl_yield(f->scheduler);
    assert_true(bl_mutex_try_lock(&c.mutex));
    bl_mutex_unlock(&c.mutex);
    counter_deinit(&c);
}

/* Producers and consumers over a queue of one place: nothing is lost, nothing comes twice, in any order of
 * running. */
typedef struct mailbox {
    bl_mutex mutex;
    bl_condition changed;
    unsigned value; /* 0: empty */
    unsigned sum, received, done;
    bl_scheduler *scheduler;
} mailbox;

enum { LETTERS = 50, PEERS = 3 };

static void send_letters(void *context)
{
    mailbox *box = context;
    for (unsigned i = 1; i <= LETTERS; i++) {
        bl_point(box->scheduler, "send");
        bl_mutex_lock(&box->mutex);
        while (box->value != 0)
            bl_condition_wait(&box->changed, &box->mutex);
        box->value = i;
        bl_condition_wake_all(&box->changed);
        bl_mutex_unlock(&box->mutex);
    }
    bl_mutex_lock(&box->mutex);
    box->done++;
    bl_condition_wake_all(&box->changed);
    bl_mutex_unlock(&box->mutex);
}

static void letters_arrive_once_each(void **state)
{
    fixture *f = *state;
    mailbox box = { .scheduler = f->scheduler };
    bl_mutex_init(&box.mutex, f->scheduler);
    bl_condition_init(&box.changed, f->scheduler);
    bl_job_node nodes[PEERS];
    for (unsigned i = 0; i < PEERS; i++) {
        nodes[i] = (bl_job_node){ .run = send_letters, .context = &box };
        bl_scheduler_submit(f->scheduler, BL_PRIORITY_HIGH, &nodes[i]);
    }
    bl_mutex_lock(&box.mutex);
    while (box.done < PEERS || box.value != 0) {
        if (box.value == 0) {
            bl_condition_wait(&box.changed, &box.mutex);
            continue;
        }
        box.sum += box.value;
        box.received++;
        box.value = 0;
        bl_condition_wake_all(&box.changed);
    }
    bl_mutex_unlock(&box.mutex);
    assert_int_equal(box.received, PEERS * LETTERS);
    assert_int_equal(box.sum, PEERS * LETTERS * (LETTERS + 1) / 2);
    bl_scheduler_destroy(f->scheduler);
    f->scheduler = NULL;
    bl_condition_deinit(&box.changed);
    bl_mutex_deinit(&box.mutex);
}

/* ---- On threads ---------------------------------------------------------------------------------------- */

static void block_until_counted(void *context) { counter_wait(context, 1); }

/* All other threads are busy with a merge that waits for this very job: thread 0 takes it. */
static void a_flush_never_waits_for_a_merge_on_threads(void **state)
{
    (void)state;
    bl_scheduler *scheduler = make_threads(3);
    counter c;
    counter_init(&c, scheduler);
    bl_job_node merges[8];
    for (unsigned i = 0; i < 8; i++) {
        merges[i] = (bl_job_node){ .run = block_until_counted, .context = &c };
        bl_scheduler_submit(scheduler, BL_PRIORITY_LOW, &merges[i]);
    }
    bl_job_node flush = { .run = count_job, .context = &c };
    bl_scheduler_submit(scheduler, BL_PRIORITY_HIGH, &flush);
    counter_wait(&c, 1);
    bl_scheduler_destroy(scheduler);
    assert_int_equal(c.count, 1);
    counter_deinit(&c);
}

typedef struct late_job {
    bl_scheduler *scheduler;
    _Atomic pid_t merger; /* the thread that takes merges */
    _Atomic bool let_go;
    pthread_t ran_on;
    unsigned ran;
    bl_job_node merge, flush, late;
} late_job;

static void merge_until_let_go(void *context)
{
    late_job *self = context;
    self->merger = (pid_t)syscall(SYS_gettid);
    while (!self->let_go)
        usleep(100);
}

static void run_late(void *context)
{
    late_job *self = context;
    self->ran_on = pthread_self();
    self->ran++;
}

/* On thread 0, since the other one is busy. */
static void submit_when_the_merger_is_gone(void *context)
{
    late_job *self = context;
    char path[64];
    self->let_go = true;
    snprintf(path, sizeof path, "/proc/self/task/%d", (int)self->merger);
    while (access(path, F_OK) == 0)
        usleep(100);
    bl_scheduler_submit(self->scheduler, BL_PRIORITY_LOW, &self->late);
}

/* A flush that ends last asks for a merge, and the thread that takes merges has gone: who destroys runs it. */
static void a_job_that_comes_last_is_run_by_who_destroys(void **state)
{
    (void)state;
    late_job self = { .scheduler = make_threads(2) };
    self.merge = (bl_job_node){ .run = merge_until_let_go, .context = &self };
    self.flush = (bl_job_node){ .run = submit_when_the_merger_is_gone, .context = &self };
    self.late = (bl_job_node){ .run = run_late, .context = &self };
    bl_scheduler_submit(self.scheduler, BL_PRIORITY_LOW, &self.merge);
    while (self.merger == 0)
        usleep(100);
    bl_scheduler_submit(self.scheduler, BL_PRIORITY_HIGH, &self.flush);
    bl_scheduler_destroy(self.scheduler);
    assert_int_equal(self.ran, 1);
    assert_true(pthread_equal(self.ran_on, pthread_self()));
}

/* Taking jobs out of the middle and the end of a queue loses none that are put in behind them. */
static void a_cancelled_job_takes_no_other_with_it_on_threads(void **state)
{
    (void)state;
    bl_scheduler *scheduler = make_threads(1);
    counter gate, c;
    counter_init(&gate, scheduler);
    counter_init(&c, scheduler);
    bl_job_node block = { .run = block_until_counted, .context = &gate }, jobs[5];
    bl_scheduler_submit(scheduler, BL_PRIORITY_LOW, &block);
    for (unsigned i = 0; i < 5; i++) {
        jobs[i] = (bl_job_node){ .run = count_job, .context = &c };
        bl_scheduler_submit(scheduler, BL_PRIORITY_LOW, &jobs[i]);
        if (i == 1 || i == 3)
            assert_true(bl_scheduler_cancel(scheduler, &jobs[i]));
    }
    assert_true(bl_scheduler_cancel(scheduler, &jobs[2]));
    count_job(&gate);
    bl_scheduler_destroy(scheduler);
    assert_int_equal(c.count, 2);
    counter_deinit(&gate);
    counter_deinit(&c);
}

typedef struct seen_thread {
    counter c;
    int nice;
    bool blocks_terminate, blocks_bus;
} seen_thread;

static void look_at_thread(void *context)
{
    seen_thread *seen = context;
    sigset_t blocked;
    pthread_sigmask(SIG_SETMASK, NULL, &blocked);
    seen->nice = getpriority(PRIO_PROCESS, (id_t)gettid());
    seen->blocks_terminate = sigismember(&blocked, SIGTERM) == 1;
    seen->blocks_bus = sigismember(&blocked, SIGBUS) == 1;
    count_job(&seen->c);
}

static void background_threads_are_nice_and_take_no_signals(void **state)
{
    (void)state;
    bl_scheduler *scheduler = make_threads(2);
    seen_thread seen = { .nice = -1 };
    counter_init(&seen.c, scheduler);
    bl_job_node node = { .run = look_at_thread, .context = &seen };
    bl_scheduler_submit(scheduler, BL_PRIORITY_LOW, &node);
    counter_wait(&seen.c, 1);
    int own = getpriority(PRIO_PROCESS, 0); /* the gate itself may run nicely */
    assert_int_equal(seen.nice, own + 5 < 19 ? own + 5 : 19);
    assert_true(seen.blocks_terminate);
    assert_false(seen.blocks_bus);
    bl_scheduler_destroy(scheduler);
    counter_deinit(&seen.c);
}

static void wrong_numbers_of_threads_and_no_memory_are_told(void **state)
{
    (void)state;
    bole_error error = BOLE_ERROR_INIT;
    bl_scheduler *scheduler = NULL;
    assert_status(BOLE_INVALID, bl_scheduler_create(0, &scheduler, &error), &error);
    assert_status(BOLE_INVALID, bl_scheduler_create(100000, &scheduler, &error), &error);
    int64_t live = bl_alloc_live();
    for (uint64_t at = 0; at < 4; at++) {
        bl_alloc_fail_at(at, 1);
        bole_status status = bl_scheduler_create(3, &scheduler, &error);
        bl_alloc_fail_at(UINT64_MAX, 0);
        assert_status(BOLE_NO_MEMORY, status, &error);
        assert_null(scheduler);
        assert_int_equal(bl_alloc_live(), live);
    }
    bl_scheduler_destroy(NULL);
    assert_false(bl_scheduler_is_simulation(NULL));
}

/* In the child there are no threads: destroying must neither wait for them nor for those that wait on a
 * condition. */
static void a_forked_child_can_destroy_what_it_inherited(void **state)
{
    (void)state;
    bl_scheduler *scheduler = make_threads(2);
    counter c;
    counter_init(&c, scheduler);
    bl_job_node nodes[2];
    for (unsigned i = 0; i < 2; i++) {
        nodes[i] = (bl_job_node){ .run = block_until_counted, .context = &c };
        bl_scheduler_submit(scheduler, i == 0 ? BL_PRIORITY_HIGH : BL_PRIORITY_LOW, &nodes[i]);
    }
    pid_t child = fork();
    if (child == 0) {
        bl_scheduler_destroy(scheduler);
        counter_deinit(&c);
        _exit(0);
    }
    int status = -1;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
    count_job(&c);
    bl_scheduler_destroy(scheduler);
    counter_deinit(&c);
}

/* ---- In simulation ------------------------------------------------------------------------------------- */

typedef struct story {
    bl_scheduler *scheduler;
    char text[256];
    size_t length;
} story;

typedef struct teller {
    story *tale;
    char letter;
    bl_job_node node;
} teller;

static void tell(void *context)
{
    teller *self = context;
    for (int i = 0; i < 6; i++) {
        self->tale->text[self->tale->length++] = self->letter;
        bl_point(self->tale->scheduler, "told");
        if (i == 2)
            bl_sleep(self->tale->scheduler, 1000 * (uint64_t)self->letter);
    }
}

static void run_story(uint64_t seed, story *out)
{
    bole_vfs *vfs = NULL;
    assert_ok(bole_vfs_memory_create(7, &vfs), NULL);
    *out = (story){ .scheduler = make_simulation(seed, vfs) };
    teller tellers[5];
    for (int i = 0; i < 5; i++) {
        tellers[i] = (teller){ .tale = out, .letter = (char)('a' + i) };
        tellers[i].node = (bl_job_node){ .run = tell, .context = &tellers[i] };
        bl_scheduler_submit(out->scheduler, BL_PRIORITY_LOW, &tellers[i].node);
    }
    assert_true(bl_scheduler_simulation_active(out->scheduler));
    bl_scheduler_destroy(out->scheduler);
    assert_int_equal(out->length, 30);
    bole_vfs_destroy(vfs);
}

/* One seed, one story; over some seeds, nearly as many stories as seeds, some of them hardly interleaved. */
static void a_seed_decides_the_order_in_simulation(void **state)
{
    (void)state;
    enum { SEEDS = 100 };
    static story stories[SEEDS];
    unsigned distinct = 0, calm = 0;
    for (uint64_t seed = 0; seed < SEEDS; seed++) {
        story again;
        run_story(seed, &stories[seed]);
        run_story(seed, &again);
        assert_string_equal(stories[seed].text, again.text);
        bool is_new = true;
        for (uint64_t i = 0; i < seed; i++)
            is_new = is_new && strcmp(stories[i].text, stories[seed].text) != 0;
        distinct += is_new;
        bool is_calm = true;
        for (char letter = 'a'; letter <= 'e'; letter++) {
            char thrice[4] = { letter, letter, letter, '\0' };
            is_calm = is_calm && strstr(stories[seed].text, thrice) != NULL;
        }
        calm += is_calm;
    }
    assert_true(distinct > SEEDS * 2 / 3);
    assert_true(calm > SEEDS / 10);
}

/* An hour of sleep takes no time, and the clock of the disk has moved by it. */
static void time_passes_when_all_wait_in_simulation(void **state)
{
    fixture *f = *state;
    uint64_t before = f->vfs->monotonic_ns(f->vfs);
    int64_t before_us = f->vfs->realtime_us(f->vfs);
    bl_sleep(f->scheduler, UINT64_C(3600) * 1000000000);
    assert_true(f->vfs->monotonic_ns(f->vfs) - before >= UINT64_C(3600) * 1000000000);
    assert_true(f->vfs->realtime_us(f->vfs) - before_us >= INT64_C(3600) * 1000000);
    /* On a vfs whose clock cannot be moved the simulation's own hour passes as fast. */
    bl_scheduler *on_posix = make_simulation(1, bole_vfs_posix());
    before = bole_vfs_posix()->monotonic_ns(bole_vfs_posix());
    bl_sleep(on_posix, UINT64_C(3600) * 1000000000);
    assert_true(bole_vfs_posix()->monotonic_ns(bole_vfs_posix()) - before < UINT64_C(60) * 1000000000);
    bl_scheduler_destroy(on_posix);
}

static void set_flag(void *context) { *(bool *)context = true; }

/* Spinning on bl_yield lets the awaited job run, also one that is only due later. */
static void yielding_lets_others_run_in_simulation(void **state)
{
    fixture *f = *state;
    bool flag = false, late = false;
    bl_job_node node = { .run = set_flag, .context = &flag }, delayed = { .run = set_flag, .context = &late };
    bl_scheduler_submit(f->scheduler, BL_PRIORITY_LOW, &node);
    bl_scheduler_submit_after(f->scheduler, UINT64_C(1000000000), &delayed);
    while (!flag || !late)
        bl_yield(f->scheduler);
}

typedef struct racer {
    bl_scheduler *scheduler;
    unsigned *total;
    bl_job_node node;
} racer;

/* Who tries a lock that another holds does not get it, and does not wait. */
typedef struct try_lock {
    bl_mutex *mutex;
    _Atomic int got; /* -1: not tried yet */
    bl_job_node node;
} try_lock;

static void try_it(void *context)
{
    try_lock *attempt = context;
    bool got = bl_mutex_try_lock(attempt->mutex);
    if (got)
        bl_mutex_unlock(attempt->mutex);
    atomic_store(&attempt->got, got);
}

static void a_lock_is_tried_without_a_wait(void **state)
{
    (void)state;
    for (int held = 0; held < 2; held++) {
        bl_scheduler *scheduler;
        bl_mutex mutex;
        bole_error error = BOLE_ERROR_INIT;
        try_lock attempt = { .mutex = &mutex, .got = -1, .node = { .run = try_it, .context = &attempt } };
        assert_ok(bl_scheduler_create(1, &scheduler, &error), &error);
        assert_false(bl_scheduler_simulation_active(scheduler));
        bl_mutex_init(&mutex, scheduler);
        if (held)
            bl_mutex_lock(&mutex);
        bl_scheduler_submit(scheduler, BL_PRIORITY_HIGH, &attempt.node);
        while (atomic_load(&attempt.got) == -1)
            bl_yield(scheduler);
        assert_int_equal(attempt.got, !held);
        if (held)
            bl_mutex_unlock(&mutex);
        bl_scheduler_destroy(scheduler);
        bl_mutex_deinit(&mutex);
    }
}

static void a_lock_that_is_held_is_not_had_in_simulation(void **state)
{
    fixture *f = *state;
    bl_mutex mutex;
    bl_mutex_init(&mutex, f->scheduler);
    assert_true(bl_mutex_try_lock(&mutex));
    assert_false(bl_mutex_try_lock(&mutex));
    bl_mutex_assert_held(&mutex);
    bl_mutex_unlock(&mutex);
    bl_mutex_lock(&mutex);
    assert_false(bl_mutex_try_lock(&mutex));
    bl_mutex_unlock(&mutex);
    bl_mutex_deinit(&mutex);
}

static void add_without_lock(void *context)
{
    racer *self = context;
    unsigned seen = *self->total;
    bl_point(self->scheduler, "between load and store");
    *self->total = seen + 1;
}

/* The point of it all: a lost update shows under some seeds, and its seed shows it again. */
static void a_lost_update_is_found_in_simulation(void **state)
{
    fixture *f = *state;
    unsigned lost = 0;
    for (uint64_t seed = 0; seed < 200; seed++) {
        unsigned totals[2] = { 0, 0 };
        for (int i = 0; i < 2; i++) {
            bl_scheduler *scheduler = make_simulation(seed, f->vfs);
            racer racers[2];
            for (int j = 0; j < 2; j++) {
                racers[j] = (racer){ .scheduler = scheduler, .total = &totals[i] };
                racers[j].node = (bl_job_node){ .run = add_without_lock, .context = &racers[j] };
                bl_scheduler_submit(scheduler, BL_PRIORITY_LOW, &racers[j].node);
            }
            bl_scheduler_destroy(scheduler);
        }
        assert_int_equal(totals[0], totals[1]);
        lost += totals[0] == 1;
    }
    assert_true(lost > 10 && lost < 190);
}

/* A mistake that the simulation must stop: run in a child, it ends by SIGABRT and says why. */
static void expect_abort(void (*mistake)(bl_scheduler *scheduler), const char *said, const char *also_said)
{
    int ends[2];
    assert_int_equal(pipe(ends), 0);
    pid_t child = fork();
    if (child == 0) {
        struct rlimit no_core = { 0, 0 };
        setrlimit(RLIMIT_CORE, &no_core);
        signal(SIGABRT, SIG_DFL);
        dup2(ends[1], 2);
        bole_vfs *vfs = NULL;
        bl_scheduler *scheduler = NULL;
        if (bole_vfs_memory_create(1, &vfs) == BOLE_OK &&
            bl_scheduler_simulation_create(1, vfs, &scheduler, NULL) == BOLE_OK)
            mistake(scheduler);
        _exit(0);
    }
    close(ends[1]);
    char text[4096];
    size_t length = 0;
    ssize_t got;
    while (length < sizeof text - 1 && (got = read(ends[0], text + length, sizeof text - 1 - length)) > 0)
        length += (size_t)got;
    text[length] = '\0';
    close(ends[0]);
    int status = 0;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
    assert_non_null(strstr(text, said));
    assert_non_null(strstr(text, also_said));
}

static void wait_for_nobody(bl_scheduler *scheduler)
{
    counter c;
    counter_init(&c, scheduler);
    bl_point(scheduler, "before the fatal wait");
    counter_wait(&c, 1);
}

static void point_with_lock(bl_scheduler *scheduler)
{
    counter c;
    counter_init(&c, scheduler);
    bl_mutex_lock(&c.mutex);
    bl_point(scheduler, "here");
}

static void point_in_epoch(bl_scheduler *scheduler)
{
    bl_epoch_enter();
    bl_point(scheduler, "here");
}

static void lock_twice(bl_scheduler *scheduler)
{
    counter c;
    counter_init(&c, scheduler);
    bl_mutex_lock(&c.mutex);
    bl_mutex_lock(&c.mutex);
}

static void yield_for_ever(bl_scheduler *scheduler)
{
    for (;;)
        bl_yield(scheduler);
}

static void job_that_waits(void *context) { counter_wait(context, 1); }

static void end_with_a_waiter(bl_scheduler *scheduler)
{
    counter c;
    counter_init(&c, scheduler);
    bl_job_node node = { .run = job_that_waits, .context = &c };
    bl_scheduler_submit(scheduler, BL_PRIORITY_LOW, &node);
    bl_scheduler_destroy(scheduler);
}

static void mistakes_stop_a_simulation(void **state)
{
    (void)state;
    expect_abort(wait_for_nobody, "deadlock", "before the fatal wait");
    expect_abort(end_with_a_waiter, "deadlock", "coroutine 1 waits for");
    expect_abort(yield_for_ever, "livelock", "coroutine 0");
    expect_abort(point_with_lock, "assertion failed", "locks_held");
    expect_abort(point_in_epoch, "assertion failed", "bl_epoch_inside");
    expect_abort(lock_twice, "assertion failed", "owner_of");
}

/* Jobs that start jobs, many more than stacks are pooled. */
typedef struct breeder {
    bl_scheduler *scheduler;
    unsigned *total;
    unsigned generation;
    bl_job_node nodes[2];
    struct breeder *children;
} breeder;

static void breed(void *context)
{
    breeder *self = context;
    ++*self->total;
    bl_point(self->scheduler, "bred");
    for (unsigned i = 0; i < 2 && self->generation != 0; i++) {
        self->children[i] = (breeder){ self->scheduler, self->total, self->generation - 1, { { 0 } }, NULL };
        self->children[i].children = self->children + 2 + i * ((1u << self->generation) - 2);
        self->nodes[i] = (bl_job_node){ .run = breed, .context = &self->children[i] };
        bl_scheduler_submit(self->scheduler, BL_PRIORITY_LOW, &self->nodes[i]);
    }
    bl_sleep(self->scheduler, 1000000);
}

static void jobs_may_start_jobs(void **state)
{
    fixture *f = *state;
    enum { GENERATIONS = 7 };
    static breeder all[1 << (GENERATIONS + 1)];
    unsigned total = 0;
    breeder first = { f->scheduler, &total, GENERATIONS, { { 0 } }, all };
    bl_job_node node = { .run = breed, .context = &first };
    bl_scheduler_submit(f->scheduler, BL_PRIORITY_HIGH, &node);
    while (bl_scheduler_simulation_active(f->scheduler))
        bl_sleep(f->scheduler, 1000);
    assert_int_equal(total, (1u << (GENERATIONS + 1)) - 1);
}

#define ON_BOTH(test)                                                 \
    cmocka_unit_test_setup_teardown(test, set_up_threads, tear_down), \
        cmocka_unit_test_setup_teardown(test, set_up_simulation, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        ON_BOTH(every_job_runs_once),
        ON_BOTH(destroy_runs_what_was_submitted_and_drops_what_was_delayed),
        ON_BOTH(a_delayed_job_runs_when_it_is_due),
        ON_BOTH(a_wait_with_a_time_out_ends_by_itself),
        ON_BOTH(letters_arrive_once_each),
        cmocka_unit_test(a_flush_never_waits_for_a_merge_on_threads),
        cmocka_unit_test(a_job_that_comes_last_is_run_by_who_destroys),
        cmocka_unit_test(a_cancelled_job_takes_no_other_with_it_on_threads),
        cmocka_unit_test(background_threads_are_nice_and_take_no_signals),
        cmocka_unit_test(wrong_numbers_of_threads_and_no_memory_are_told),
        cmocka_unit_test(a_forked_child_can_destroy_what_it_inherited),
        cmocka_unit_test(a_lock_is_tried_without_a_wait),
        cmocka_unit_test(a_seed_decides_the_order_in_simulation),
        cmocka_unit_test_setup_teardown(time_passes_when_all_wait_in_simulation, set_up_simulation,
                                        tear_down),
        cmocka_unit_test_setup_teardown(yielding_lets_others_run_in_simulation, set_up_simulation, tear_down),
        cmocka_unit_test_setup_teardown(a_lock_that_is_held_is_not_had_in_simulation, set_up_simulation,
                                        tear_down),
        cmocka_unit_test_setup_teardown(a_lost_update_is_found_in_simulation, set_up_simulation, tear_down),
        cmocka_unit_test_setup_teardown(jobs_may_start_jobs, set_up_simulation, tear_down),
        cmocka_unit_test(mistakes_stop_a_simulation),
    };
    return cmocka_run_group_tests_name("scheduler", tests, NULL, NULL);
}
