/* SPDX-License-Identifier: MIT */
/* test_crash.c -- kill -9 of real processes on the real file system: what was acknowledged is there, all of it, and
 * nothing else is.
 *
 * A child opens the store and writes numbered batches over two tables; after each acknowledged batch it stores the
 * number into a page it shares with the parent. The parent kills it at a moment drawn from the seed, opens the store
 * and holds it against a model. Batch n is a function of n alone, so the model is the batches 1..n played again.
 * The memtable is tiny: rotation, flush and compaction are always under way when the signal arrives.
 *
 * BOLE_TEST_EFFORT multiplies the number of cycles (default 1); BOLE_TEST_SEED replays. */
#include "test.h"

#include <bole/bole_inspect.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>

#include "base/prng.h"

enum {
    TABLES = 2,
    SLOTS = 300,           /* keys a table */
    OPERATIONS = 8,        /* of a batch, beside the number in each table */
    VALUE_BYTES_MAX = 700, /* so that about 30 batches fill a memtable */
    BATCHES_MAX = 200,     /* of a cycle */
    CYCLES = 20,
};

/* What child and parent see at once. */
typedef struct shared_page {
    _Atomic uint64_t acknowledged;
    _Atomic bool opening;
    _Atomic bool failed;
    char message[1024]; /* of the child, good once `failed` is set */
} shared_page;

/* The batch that wrote each slot last, and which of its operations; 0 is "never or deleted". */
typedef struct model {
    uint64_t number;
    uint64_t writer[TABLES][SLOTS];
} model;

typedef struct store {
    const char *path;
    uint32_t flags;
    bole_db *db;
    bole_table *tables[TABLES]; /* tables[0] is the default one */
    bole_error error;
} store;

typedef struct operation {
    unsigned table, slot;
    bool deletes;
    uint64_t writer; /* value of the model */
} operation;

static uint64_t effort(void)
{
    const char *text = getenv("BOLE_TEST_EFFORT");
    uint64_t value = text != NULL ? strtoull(text, NULL, 10) : 1;
    return value != 0 ? value : 1;
}

static uint64_t now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

/* ---- What batch n does --------------------------------------------------------------------------------- */

static void batch_operations(uint64_t number, operation out[OPERATIONS])
{
    bl_prng prng;
    bl_prng_init(&prng, number);
    for (unsigned i = 0; i < OPERATIONS; i++) {
        out[i].table = i % TABLES;
        out[i].slot = (unsigned)bl_prng_below(&prng, SLOTS);
        out[i].deletes = bl_prng_chance(&prng, 6);
        out[i].writer = number * OPERATIONS + i;
    }
}

static size_t slot_value(uint64_t writer, unsigned char out[VALUE_BYTES_MAX])
{
    bl_prng prng;
    bl_prng_init(&prng, ~writer);
    size_t size = bl_prng_below(&prng, VALUE_BYTES_MAX + 1);
    bl_prng_fill(&prng, out, size);
    return size;
}

static bole_slice slot_key(unsigned slot, char out[16])
{
    int size = snprintf(out, 16, "slot%06u", slot);
    return BOLE_SLICE(out, (size_t)size);
}

static void model_advance(model *m, uint64_t number)
{
    operation operations[OPERATIONS];
    while (m->number < number) {
        batch_operations(++m->number, operations);
        for (unsigned i = 0; i < OPERATIONS; i++)
            m->writer[operations[i].table][operations[i].slot] = operations[i].deletes ? 0
                                                                                       : operations[i].writer;
    }
}

/* ---- The store ------------------------------------------------------------------------------------------ */

static bole_status store_open(store *s)
{
    bole_options options = BOLE_OPTIONS_INIT;
    options.flags = BOLE_CREATE | s->flags;
    options.memory_limit = 32u << 20;
    options.memtable_bytes = 64u << 10;
    options.large_value_bytes = 16;
    options.segment_bytes = 64u << 10;
    options.level0_runs = 3;
    s->error = (bole_error)BOLE_ERROR_INIT;
    s->tables[0] = NULL;
    s->tables[1] = NULL;
    bole_status status = bole_open(s->path, &options, &s->db, &s->error);
    if (status != BOLE_OK)
        return status;
    status = bole_table_open(s->db, "second", &s->tables[1], &s->error);
    if (status == BOLE_NOT_FOUND)
        status = bole_table_create(s->db, "second", NULL, &s->tables[1], &s->error);
    return status;
}

static void store_close(store *s)
{
    bole_table_close(s->tables[1]);
    assert_ok(bole_close(s->db, &s->error), &s->error);
    s->db = NULL;
}

/* The number of the newest batch in a table; 0 when there is none. */
static bole_status store_number(store *s, unsigned table, uint64_t *number)
{
    bole_read_options read = BOLE_READ_OPTIONS_INIT;
    read.table = s->tables[table];
    read.error = &s->error;
    bole_buffer value = BOLE_BUFFER_INIT;
    *number = 0;
    bole_status status = bole_get(s->db, &read, BOLE_STR("number"), &value);
    if (status == BOLE_OK && value.size != sizeof(*number))
        status = BOLE_CORRUPT;
    else if (status == BOLE_OK)
        memcpy(number, value.data, sizeof(*number));
    bole_buffer_free(&value);
    return status == BOLE_NOT_FOUND ? BOLE_OK : status;
}

/* ---- The child ------------------------------------------------------------------------------------------ */

static bole_status write_batch(store *s, bole_batch *batch, uint64_t number)
{
    operation operations[OPERATIONS];
    unsigned char value[VALUE_BYTES_MAX];
    char key[16];
    bole_batch_clear(batch);
    batch_operations(number, operations);
    bole_status status = BOLE_OK;
    for (unsigned i = 0; i < OPERATIONS && status == BOLE_OK; i++) {
        bole_table *table = s->tables[operations[i].table];
        bole_slice name = slot_key(operations[i].slot, key);
        if (operations[i].deletes)
            status = bole_batch_delete(batch, table, name);
        else
            status = bole_batch_put(batch, table, name,
                                    BOLE_SLICE(value, slot_value(operations[i].writer, value)));
    }
    for (unsigned t = 0; t < TABLES && status == BOLE_OK; t++)
        status = bole_batch_put(batch, s->tables[t], BOLE_STR("number"), BOLE_SLICE(&number, sizeof(number)));
    bole_write_options write = BOLE_WRITE_OPTIONS_INIT;
    write.durability = BOLE_DURABILITY_PROCESS;
    write.error = &s->error;
    return status == BOLE_OK ? bole_write(s->db, &write, batch) : status;
}

/* Opens, then goes on with the batch behind the newest one, until it is killed. */
static void child_run(store *s, shared_page *page)
{
    bole_batch *batch = NULL;
    uint64_t number = 0;
    atomic_store(&page->opening, true);
    bole_status status = store_open(s);
    if (status == BOLE_OK)
        status = store_number(s, 0, &number);
    if (status == BOLE_OK)
        status = bole_batch_create(&batch);
    while (status == BOLE_OK) {
        status = write_batch(s, batch, ++number);
        if (status == BOLE_OK)
            atomic_store(&page->acknowledged, number);
    }
    snprintf(page->message, sizeof(page->message), "%s: %s", bole_status_name(status), s->error.message);
    atomic_store(&page->failed, true);
    _exit(1);
}

static pid_t child_start(store *s, shared_page *page)
{
    atomic_store(&page->opening, false);
    fflush(NULL);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0)
        child_run(s, page);
    return child;
}

static void child_kill(pid_t child, const shared_page *page)
{
    int ended;
    kill(child, SIGKILL);
    assert_int_equal(waitpid(child, &ended, 0), child);
    if (atomic_load(&page->failed))
        print_error("the writing process failed: %s\n", page->message);
    assert_false(atomic_load(&page->failed));
    assert_true(WIFSIGNALED(ended) && WTERMSIG(ended) == SIGKILL);
}

/* A child that gets to its open and dies `after_ns` later. When that is behind the open, it has written too. */
static void child_die_while_opening(store *s, shared_page *page, uint64_t after_ns)
{
    pid_t child = child_start(s, page);
    while (!atomic_load(&page->opening))
        sched_yield();
    for (uint64_t until = now_ns() + after_ns; now_ns() < until;)
        sched_yield();
    child_kill(child, page);
}

/* ---- The check ------------------------------------------------------------------------------------------ */

static void check_table(store *s, unsigned table, const model *m)
{
    bole_read_options read = BOLE_READ_OPTIONS_INIT;
    read.table = s->tables[table];
    read.prefix = BOLE_STR("slot");
    read.error = &s->error;
    bole_iterator *iterator;
    assert_ok(bole_iterator_create(s->db, &read, &iterator), &s->error);
    unsigned char expected[VALUE_BYTES_MAX];
    char key[16];
    bole_buffer value = BOLE_BUFFER_INIT;
    bool there = bole_iterator_seek_first(iterator);
    for (unsigned slot = 0; slot < SLOTS; slot++) {
        bole_slice name = slot_key(slot, key);
        bole_status status = bole_get(s->db, &read, name, &value);
        if (m->writer[table][slot] == 0) {
            assert_status(BOLE_NOT_FOUND, status, &s->error);
            continue; /* the scan must not show it either: the next key compared is a larger one */
        }
        size_t size = slot_value(m->writer[table][slot], expected);
        assert_ok(status, &s->error);
        assert_int_equal(value.size, size);
        assert_memory_equal(value.data, expected, size);
        assert_true(there);
        bole_slice shown = bole_iterator_key(iterator);
        assert_int_equal(shown.size, name.size);
        assert_memory_equal(shown.data, name.data, name.size);
        shown = bole_iterator_value(iterator);
        assert_int_equal(shown.size, size);
        assert_memory_equal(shown.data, expected, size);
        there = bole_iterator_next(iterator);
    }
    assert_false(there);
    assert_ok(bole_iterator_status(iterator), &s->error);
    bole_iterator_destroy(iterator);
    bole_buffer_free(&value);
}

static void tell_problem(void *context, const bole_error *problem)
{
    (void)context;
    print_error("verify: %s\n", problem->message);
}

/* Returns how long the open took. */
static uint64_t check_store(store *s, const shared_page *page, model *m, uint64_t cycle)
{
    uint64_t acknowledged = atomic_load(&page->acknowledged);
    uint64_t start = now_ns();
    assert_ok(store_open(s), &s->error);
    uint64_t taken = now_ns() - start;
    uint64_t number;
    uint64_t number_second;
    assert_ok(store_number(s, 0, &number), &s->error);
    assert_ok(store_number(s, 1, &number_second), &s->error);
    if (number < acknowledged || number > acknowledged + 1)
        print_error("cycle %" PRIu64 ": %" PRIu64 " batches were acknowledged, %" PRIu64 " are there\n",
                    cycle, acknowledged, number);
    assert_in_range(number, acknowledged, acknowledged + 1);
    assert_int_equal(number_second, number);
    model_advance(m, number);
    for (unsigned table = 0; table < TABLES; table++)
        check_table(s, table, m);
    store_close(s);
    if (cycle % 5 == 4) {
        bole_verify_report report;
        assert_ok(bole_verify(s->path, NULL, tell_problem, NULL, &report, &s->error), &s->error);
    }
    return taken;
}

/* ---- Tests ---------------------------------------------------------------------------------------------- */

static shared_page *page_make(void)
{
    shared_page *page = mmap(NULL, sizeof(*page), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    assert_true(page != MAP_FAILED);
    return page;
}

/* Goal: process durability. Method: cycles on one store; every second with written instead of mapped logs; after
 * every fifth kill a second process is killed while it recovers, and what it left is recovered too. */
static void acknowledged_batches_survive_kill(void **state)
{
    (void)state;
    test_directory directory = test_directory_make();
    store s = { .path = test_path(&directory, "store") };
    shared_page *page = page_make();
    static model m;
    memset(&m, 0, sizeof(m));
    bl_prng prng;
    bl_prng_init(&prng, test_seed(20));
    uint64_t open_ns = 2000000;
    for (uint64_t cycle = 0; cycle < CYCLES * effort(); cycle++) {
        s.flags = cycle % 2 == 1 ? BOLE_NO_SIGBUS_HANDLER : 0;
        uint64_t target = m.number + 1 + bl_prng_below(&prng, BATCHES_MAX);
        pid_t child = child_start(&s, page);
        while (atomic_load(&page->acknowledged) < target && !atomic_load(&page->failed))
            sched_yield();
        child_kill(child, page);
        if (cycle % 5 == 2)
            child_die_while_opening(&s, page, bl_prng_below(&prng, open_ns));
        open_ns = check_store(&s, page, &m, cycle);
    }
    munmap(page, sizeof(*page));
}

/* Goal: a store half made is no store or a whole one, never a broken one. Method: kill at a random moment of the
 * first open in a new directory, then open it for good. */
static void store_half_created_opens(void **state)
{
    (void)state;
    test_directory directory = test_directory_make();
    shared_page *page = page_make();
    bl_prng prng;
    bl_prng_init(&prng, test_seed(21));
    uint64_t open_ns = 1000000;
    for (uint64_t cycle = 0; cycle < CYCLES / 2 * effort(); cycle++) {
        char name[32];
        snprintf(name, sizeof(name), "store%" PRIu64, cycle);
        store s = { .path = test_path(&directory, name) };
        static model empty;
        memset(&empty, 0, sizeof(empty));
        atomic_store(&page->acknowledged, 0);
        child_die_while_opening(&s, page, bl_prng_below(&prng, open_ns));
        open_ns = check_store(&s, page, &empty, cycle);
        test_remove_all(s.path);
    }
    munmap(page, sizeof(*page));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(acknowledged_batches_survive_kill),
        cmocka_unit_test(store_half_created_opens),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
