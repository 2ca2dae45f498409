/* SPDX-License-Identifier: MIT */
/* test_crash_threads.c -- kill -9 of a real process with many calls in flight, and while it opens.
 *
 * A child opens the store; four threads write batches, each into keys of its own, one in eight durable; one thread
 * flushes, merges, syncs and makes checkpoints without rest; one reads whole iterators and holds them against what
 * their moment promises. The parent kills it at a moment drawn from the seed: one time in five from the start of its
 * open on, within the time that the last open took. Of each writer exactly the acknowledged batches must be there,
 * and at most the one that was in flight, whole.
 * Every second look at what is left is a reader's (BOLE_READ_ONLY), so that the next child recovers what the dead one
 * left, not what a clean close did.
 *
 * BOLE_TEST_EFFORT (default 1) times 25 is the number of kills; BOLE_TEST_SEED replays the drawing, not the threads. */
#include "test.h"

#include <bole/bole_inspect.h>
#include <dirent.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>

#include "base/prng.h"

enum {
    WRITERS = 4,
    SLOTS = 40, /* keys of a writer, beside its number */
    OPERATIONS = 6,
    VALUE_BYTES_MAX = 600,
    KILLS = 25,
    LIFE_NS_MAX = 50000000, /* behind the open; a quarter of it on average */
};

/* What child and parent see at once. */
typedef struct shared_page {
    _Atomic uint64_t acknowledged[WRITERS];
    _Atomic uint64_t began_opening_ns, opened_ns; /* 0: not yet */
    _Atomic uint64_t flushes, merges, copies,
        looks; /* of this life, or the last number of it that was seen */
    _Atomic bool failed;
    char message[1024]; /* of the child, good once `failed` is set */
} shared_page;

/* Of each writer: its newest batch, and which batch of which life wrote each slot; batch 0 is "never or deleted". */
typedef struct writing {
    uint64_t batch, life;
} writing;

typedef struct model {
    uint64_t number[WRITERS];
    writing slots[WRITERS][SLOTS];
} model;

typedef struct world {
    char path[280], copy[280];
    uint64_t life;
    uint64_t die_ns; /* of its open, when the child is to die in it; else 0 */
    model *model;
    shared_page *page;
    bole_db *db;
} world;

typedef struct thread_of { /* of the child */
    world *world;
    unsigned writer;
} thread_of;

static uint64_t now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

/* ---- What a batch does -------------------------------------------------------------------------------------- */

typedef struct operation {
    unsigned slot;
    bool deletes;
} operation;

static void batch_operations(unsigned writer, uint64_t batch, uint64_t life, operation out[OPERATIONS])
{
    bl_prng prng;
    bl_prng_init(&prng, (life * 1000003 + batch) * WRITERS + writer);
    for (unsigned i = 0; i < OPERATIONS; i++) {
        out[i].slot = (unsigned)bl_prng_below(&prng, SLOTS);
        out[i].deletes = bl_prng_chance(&prng, 5);
    }
}

/* Batch and life stand at the front, so that a value says where it comes from. */
static size_t slot_value(unsigned writer, unsigned slot, writing from, unsigned char out[VALUE_BYTES_MAX])
{
    bl_prng prng;
    bl_prng_init(&prng, ((from.life * 1000003 + from.batch) * SLOTS + slot) * WRITERS + writer);
    size_t size = sizeof from + bl_prng_below(&prng, VALUE_BYTES_MAX - sizeof from + 1);
    bl_prng_fill(&prng, out, size);
    memcpy(out, &from, sizeof from);
    return size;
}

static bole_slice slot_key(unsigned writer, unsigned slot, char out[16])
{
    return BOLE_SLICE(out, (size_t)snprintf(out, 16, "w%u/%05u", writer, slot));
}

static bole_slice number_key(unsigned writer, char out[16])
{
    return BOLE_SLICE(out, (size_t)snprintf(out, 16, "w%u/", writer)); /* in front of its slots */
}

static void model_advance(model *m, unsigned writer, uint64_t number, uint64_t life)
{
    operation operations[OPERATIONS];
    while (m->number[writer] < number) {
        writing from = { ++m->number[writer], life };
        batch_operations(writer, from.batch, life, operations);
        for (unsigned i = 0; i < OPERATIONS; i++)
            m->slots[writer][operations[i].slot] = operations[i].deletes ? (writing){ 0, 0 } : from;
    }
}

static bole_status store_open(world *w, uint32_t flags, bole_error *error)
{
    bole_options options = BOLE_OPTIONS_INIT;
    options.flags = flags;
    options.memory_limit = 16u << 20;
    options.memtable_bytes = 64u << 10;
    options.segment_bytes = 32u << 10;
    options.level0_runs = 2;
    options.sync_interval_ms = 5;
    return bole_open(w->path, &options, &w->db, error);
}

/* ---- The child ---------------------------------------------------------------------------------------------- */

static void child_fails(world *w, const char *what, bole_status status, const bole_error *error)
{
    if (!atomic_exchange(&w->page->failed, true))
        snprintf(w->page->message, sizeof w->page->message, "%s: %s: %s", what, bole_status_name(status),
                 error->message);
    for (;;)
        pause(); /* the parent's kill ends it */
}

static void *write_batches(void *context)
{
    const thread_of *self = context;
    world *w = self->world;
    bole_error error = BOLE_ERROR_INIT;
    bole_batch *batch = NULL;
    bole_status status = bole_batch_create(&batch);
    for (uint64_t n = w->model->number[self->writer] + 1; status == BOLE_OK; n++) {
        operation operations[OPERATIONS];
        unsigned char value[VALUE_BYTES_MAX];
        char key[16];
        bole_batch_clear(batch);
        batch_operations(self->writer, n, w->life, operations);
        status = bole_batch_put(batch, NULL, number_key(self->writer, key), BOLE_SLICE(&n, sizeof n));
        for (unsigned i = 0; i < OPERATIONS && status == BOLE_OK; i++) {
            unsigned slot = operations[i].slot;
            bole_slice name = slot_key(self->writer, slot, key);
            size_t size = slot_value(self->writer, slot, (writing){ n, w->life }, value);
            status = operations[i].deletes ? bole_batch_delete(batch, NULL, name)
                                           : bole_batch_put(batch, NULL, name, BOLE_SLICE(value, size));
        }
        bole_write_options options = BOLE_WRITE_OPTIONS_INIT;
        options.durability = n % 8 == 0 ? BOLE_DURABILITY_POWER : BOLE_DURABILITY_PROCESS;
        options.error = &error;
        if (status == BOLE_OK)
            status = bole_write(w->db, &options, batch);
        if (status == BOLE_OK)
            atomic_store(&w->page->acknowledged[self->writer], n);
    }
    child_fails(w, "write", status, &error);
    return NULL;
}

static void *keep_up(void *context)
{
    static const bole_slice open_end = { NULL, 0 };
    world *w = context;
    bole_error error = BOLE_ERROR_INIT;
    bole_status status = BOLE_OK;
    bl_prng prng;
    bl_prng_init(&prng, w->life);
    while (status == BOLE_OK) {
        switch (bl_prng_below(&prng, 5)) {
        case 0: status = bole_flush(w->db, &error); break;
        case 1: status = bole_compact(w->db, NULL, open_end, open_end, &error); break;
        case 2: status = bole_sync(w->db, &error); break;
        case 3:
            atomic_fetch_add(&w->page->copies, 1);
            status = bole_checkpoint(w->db, w->copy, &error);
            if (status == BOLE_OK)
                status = bole_destroy(w->copy, NULL, &error);
            break;
        default: sched_yield();
        }
    }
    child_fails(w, "upkeep", status, &error);
    return NULL;
}

/* Each value that a whole iterator shows is of a batch that its writer's number covers. */
static bole_status look(world *w, uint64_t numbers[WRITERS], bole_error *error)
{
    bole_iterator *iterator;
    bole_read_options read = BOLE_READ_OPTIONS_INIT;
    unsigned char expected[VALUE_BYTES_MAX];
    read.error = error;
    bole_status status = bole_iterator_create(w->db, &read, &iterator);
    if (status != BOLE_OK)
        return status;
    uint64_t number = 0;
    bool good = true;
    for (bool on = bole_iterator_seek_first(iterator); on && good; on = bole_iterator_next(iterator)) {
        bole_slice key = bole_iterator_key(iterator), value = bole_iterator_value(iterator);
        unsigned writer = (unsigned)((const char *)key.data)[1] - '0';
        writing from;
        if (key.size == 3) { /* its number, which never goes back */
            memcpy(&number, value.data, sizeof number);
            good = number >= numbers[writer];
            numbers[writer] = number;
            continue;
        }
        memcpy(&from, value.data, sizeof from);
        char digits[8] = "";
        memcpy(digits, (const char *)key.data + 3, 5);
        size_t size = slot_value(writer, (unsigned)atoi(digits), from, expected);
        good = from.batch <= number && size == value.size && memcmp(value.data, expected, size) == 0;
    }
    status = bole_iterator_status(iterator);
    bole_iterator_destroy(iterator);
    if (!good)
        snprintf(error->message, sizeof error->message, "an iterator shows what is not of one moment");
    return good ? status : BOLE_CORRUPT;
}

static void *read_all(void *context)
{
    world *w = context;
    bole_error error = BOLE_ERROR_INIT;
    bole_status status = BOLE_OK;
    uint64_t numbers[WRITERS] = { 0 };
    bole_statistics statistics = BOLE_STATISTICS_INIT;
    while (status == BOLE_OK) {
        status = look(w, numbers, &error);
        atomic_fetch_add(&w->page->looks, 1);
        if (status == BOLE_OK)
            status = bole_stats(w->db, &statistics, &error);
        atomic_store(&w->page->flushes, statistics.flushes);
        atomic_store(&w->page->merges, statistics.compactions);
        nanosleep(&(struct timespec){ .tv_nsec = 200000 },
                  NULL); /* it is not the readers that are to be killed */
    }
    child_fails(w, "read", status, &error);
    return NULL;
}

/* The kernel's timer sends the SIGKILL: the parent may not get to run within the short time that an open takes. */
static void arm_death(uint64_t in_ns)
{
    timer_t timer;
    struct sigevent death = { .sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGKILL };
    struct itimerspec when = { .it_value = { (time_t)(in_ns / 1000000000), (long)(in_ns % 1000000000) } };
    if (timer_create(CLOCK_MONOTONIC, &death, &timer) != 0 || timer_settime(timer, 0, &when, NULL) != 0)
        raise(SIGKILL);
}

static void child_run(world *w)
{
    static thread_of writers[WRITERS];
    bole_error error = BOLE_ERROR_INIT;
    pthread_t thread;
    bole_buffer value = BOLE_BUFFER_INIT;
    prctl(PR_SET_PDEATHSIG, SIGKILL); /* a test that is ended leaves nothing that runs */
    atomic_store(&w->page->began_opening_ns, now_ns());
    if (w->die_ns != 0)
        arm_death(w->die_ns);
    bole_status status = store_open(w, BOLE_CREATE, &error);
    atomic_store(&w->page->opened_ns, now_ns());
    if (status != BOLE_OK)
        child_fails(w, "open", status, &error);
    for (unsigned i = 0; i < WRITERS; i++) {
        char key[16];
        uint64_t number = 0;
        status = bole_get(w->db, NULL, number_key(i, key), &value);
        if (status == BOLE_OK && value.size == sizeof number)
            memcpy(&number, value.data, sizeof number);
        if ((status != BOLE_OK && status != BOLE_NOT_FOUND) || number != w->model->number[i])
            child_fails(w, "the newest batch is another one than the parent saw", status, &error);
    }
    for (unsigned i = 0; i < WRITERS; i++) {
        writers[i] = (thread_of){ w, i };
        if (pthread_create(&thread, NULL, write_batches, &writers[i]) != 0)
            child_fails(w, "a thread", BOLE_NO_MEMORY, &error);
    }
    if (pthread_create(&thread, NULL, keep_up, w) != 0)
        child_fails(w, "a thread", BOLE_NO_MEMORY, &error);
    read_all(w);
}

/* ---- The parent --------------------------------------------------------------------------------------------- */

static void wait_until(uint64_t at_ns)
{
    for (uint64_t now = now_ns(); now < at_ns; now = now_ns())
        nanosleep(&(struct timespec){ .tv_nsec = at_ns - now < 1000000 ? (long)(at_ns - now) : 1000000 },
                  NULL);
}

static bool has_acknowledged(const world *w)
{
    bool any = false;
    for (unsigned i = 0; i < WRITERS; i++)
        any |= atomic_load(&w->page->acknowledged[i]) > w->model->number[i];
    return any;
}

/* When a child dies: from the start of its open on; or behind its open, however little it has done by then (on a busy
 * machine that may be nothing); or behind its first batch. */
typedef enum death { DIES_OPENING, DIES_SOON, DIES_BEHIND_A_BATCH } death;

/* One child, from its birth to its death. Returns how long its open took, or `open_ns` when it died in it. */
static uint64_t live_and_die(world *w, bl_prng *prng, death when, uint64_t open_ns)
{
    shared_page *page = w->page;
    int ended;
    for (unsigned i = 0; i < WRITERS; i++)
        atomic_store(&page->acknowledged[i], w->model->number[i]);
    atomic_store(&page->began_opening_ns, 0);
    atomic_store(&page->opened_ns, 0);
    atomic_store(&page->flushes, 0);
    atomic_store(&page->merges, 0);
    w->die_ns = when == DIES_OPENING ? 1 + bl_prng_below(prng, open_ns) : 0;
    fflush(NULL);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0)
        child_run(w);
    if (when != DIES_OPENING) {
        while (
            (atomic_load(&page->opened_ns) == 0 || (when == DIES_BEHIND_A_BATCH && !has_acknowledged(w))) &&
            !atomic_load(&page->failed))
            sched_yield();
        wait_until(atomic_load(&page->opened_ns) + bl_prng_below(prng, 1 + bl_prng_below(prng, LIFE_NS_MAX)));
        kill(child, SIGKILL);
    }
    assert_int_equal(waitpid(child, &ended, 0), child);
    assert_true(WIFSIGNALED(ended) && WTERMSIG(ended) == SIGKILL);
    if (atomic_load(&page->failed))
        fail_msg("life %" PRIu64 ": the process failed: %s", w->life, page->message);
    uint64_t opened = atomic_load(&page->opened_ns);
    return opened != 0 ? opened - atomic_load(&page->began_opening_ns) : open_ns;
}

static void check_writer(world *w, unsigned writer, bole_iterator *iterator, bool *on)
{
    char key[16];
    unsigned char expected[VALUE_BYTES_MAX];
    uint64_t number = 0, acknowledged = atomic_load(&w->page->acknowledged[writer]);
    bole_slice name = number_key(writer, key), shown = *on ? bole_iterator_key(iterator) : BOLE_SLICE("", 0);
    if (shown.size == name.size && memcmp(shown.data, name.data, name.size) == 0) {
        assert_int_equal(bole_iterator_value(iterator).size, sizeof number);
        memcpy(&number, bole_iterator_value(iterator).data, sizeof number);
        *on = bole_iterator_next(iterator);
    }
    if (number < acknowledged || number > acknowledged + 1)
        fail_msg("life %" PRIu64 ", writer %u: %" PRIu64 " batches were acknowledged, %" PRIu64 " are there",
                 w->life, writer, acknowledged, number);
    model_advance(w->model, writer, number, w->life);
    for (unsigned slot = 0; slot < SLOTS; slot++) {
        writing from = w->model->slots[writer][slot];
        if (from.batch == 0)
            continue; /* nor does the iterator show it: what is compared next is another key */
        size_t size = slot_value(writer, slot, from, expected);
        name = slot_key(writer, slot, key);
        shown = *on ? bole_iterator_key(iterator) : BOLE_SLICE("", 0);
        if (shown.size != name.size || memcmp(shown.data, name.data, name.size) != 0)
            fail_msg("life %" PRIu64 ": %s of batch %" PRIu64 " is not there", w->life, key, from.batch);
        shown = bole_iterator_value(iterator);
        if (shown.size != size || memcmp(shown.data, expected, size) != 0)
            fail_msg("life %" PRIu64 ": %s has another value than batch %" PRIu64 " gave it", w->life, key,
                     from.batch);
        *on = bole_iterator_next(iterator);
    }
}

static void tell_problem(void *context, const bole_error *problem)
{
    (void)context;
    print_error("verify: %s\n", problem->message);
}

static void check_store(world *w)
{
    bole_error error = BOLE_ERROR_INIT;
    bole_iterator *iterator;
    bole_status status = store_open(w, w->life % 2 == 0 ? BOLE_READ_ONLY : BOLE_CREATE, &error);
    uint64_t acknowledged = 0;
    for (unsigned i = 0; i < WRITERS; i++)
        acknowledged += atomic_load(&w->page->acknowledged[i]);
    if (status == BOLE_NO_STORE && acknowledged == 0)
        return; /* killed before there was one */
    assert_ok(status, &error);
    assert_ok(bole_iterator_create(w->db, NULL, &iterator), &error);
    bool on = bole_iterator_seek_first(iterator);
    for (unsigned i = 0; i < WRITERS; i++)
        check_writer(w, i, iterator, &on);
    assert_false(on);
    assert_ok(bole_iterator_status(iterator), &error);
    bole_iterator_destroy(iterator);
    assert_ok(bole_close(w->db, &error), &error);
    if (w->life % 10 == 3) {
        bole_verify_report report;
        assert_ok(bole_verify(w->path, NULL, tell_problem, NULL, &report, &error), &error);
    }
}

/* What a checkpoint in flight left beside the store. */
static void remove_copies(const test_directory *directory)
{
    DIR *list = opendir(directory->path);
    assert_non_null(list);
    for (const struct dirent *entry; (entry = readdir(list)) != NULL;)
        if (strstr(entry->d_name, "copy") != NULL)
            test_remove_all(test_path(directory, entry->d_name));
    closedir(list);
}

/* Goal: process durability with calls in flight, and of open. */
static void acknowledged_batches_of_many_threads_survive_kill(void **state)
{
    (void)state;
    const char *text = getenv("BOLE_TEST_EFFORT");
    uint64_t effort = text != NULL ? strtoull(text, NULL, 10) : 1, seed = test_seed(30), open_ns = 2000000;
    uint64_t in_open = 0, batches = 0, flushes = 0, merges = 0;
    static model m;
    static world w;
    test_directory directory = test_directory_make();
    w.model = &m;
    w.page = mmap(NULL, sizeof *w.page, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    assert_true(w.page != MAP_FAILED);
    snprintf(w.path, sizeof w.path, "%s/store", directory.path);
    snprintf(w.copy, sizeof w.copy, "%s/copy", directory.path);
    bl_prng prng;
    bl_prng_init(&prng, seed);
    for (uint64_t i = 0; i < KILLS * effort; i++) {
        w.life = i + 1;
        death when = i % 5 == 4 ? DIES_OPENING : i % 5 == 0 ? DIES_BEHIND_A_BATCH : DIES_SOON;
        open_ns = live_and_die(&w, &prng, when, open_ns);
        in_open += atomic_load(&w.page->opened_ns) == 0;
        flushes += atomic_load(&w.page->flushes);
        merges += atomic_load(&w.page->merges);
        check_store(&w);
        remove_copies(&directory);
    }
    for (unsigned i = 0; i < WRITERS; i++)
        batches += m.number[i];
    print_message("crash_threads: seed %" PRIu64 ": %" PRIu64 " kills, %" PRIu64
                  " of them before open returned, "
                  "%" PRIu64 " batches, %" PRIu64 " flushes, %" PRIu64 " merges, %" PRIu64
                  " checkpoints begun, %" PRIu64 " whole iterators: 0 lost, 0 torn, 0 invented\n",
                  seed, KILLS * effort, in_open, batches, flushes, merges, atomic_load(&w.page->copies),
                  atomic_load(&w.page->looks));
    assert_true(batches > 0);
    munmap(w.page, sizeof *w.page);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(acknowledged_batches_of_many_threads_survive_kill),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
