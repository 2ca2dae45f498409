/* SPDX-License-Identifier: MIT */
/* test_faults.c -- every call to the system fails, and every allocation, and the store neither lies nor loses.
 *
 * A history of 60 operations (batches of both modes, flush, merge, sync, scan, snapshot, checkpoint, tables, reopen)
 * runs on a disk in memory with its background work inside calls, so that the same history makes the same calls. It
 * runs again for each call and each kind of fault: the call fails once, or it and all behind it fail; with several
 * errnos; with half of a write done; one in four with a second fault soon after. The history goes on as well as it
 * can, the reads are compared with the model (history_fixture.h), then the power is cut (with or without a close
 * before), and the store must open, hold what it must, take a write, close, and open again. The same with allocations
 * that fail, where no byte may leak either.
 *
 * A failure prints BOLE_FAULT=..., which runs that one again. BOLE_TEST_SEED chooses the first history;
 * BOLE_TEST_EFFORT (default 1) times 250 is the number of failing calls and of failing allocations. */
#include "history_fixture.h"

#include "base/alloc.h"

#include <errno.h>

#if defined(BL_THREAD_SANITIZER) /* it runs on one thread: a smaller share */
enum { FAULTS = 50, ALLOCATIONS = 50, STORIES = 1 };
#else
enum { FAULTS = 250, ALLOCATIONS = 250, STORIES = 2 };
#endif
enum { OPERATIONS = 60 };

typedef struct fault_kind {
    const char *name;
    int system_errno;
    uint64_t count;
    bool half;
} fault_kind;

static const fault_kind kinds[] = {
    { "EIO once", EIO, 1, false },
    { "EIO for good", EIO, UINT64_MAX, false },
    { "ENOSPC once, half a write", ENOSPC, 1, true },
    { "ENOSPC for good, half a write", ENOSPC, UINT64_MAX, true },
    { "EMFILE once", EMFILE, 1, false },
    { "EIO once, half a write", EIO, 1, true },
    { "EDQUOT three times", EDQUOT, 3, false },
    { "EACCES once", EACCES, 1, false },
    { "no fault", EIO, 0, false },
};
enum { KINDS = sizeof kinds / sizeof kinds[0] - 1, NO_FAULT = KINDS };

/* One run of a history. */
typedef struct run {
    history *h;
    bole_vfs *disk, *fault, *second; /* second fails over fault, which fails over disk */
    bole_fault_plan plan, second_plan;
    bole_options options;
    bole_db *db; /* NULL: it could not be opened again */
    bool wrote;  /* since it was opened: one that only recovered makes nothing durable by closing */
    bole_error error;
    bool allocations;      /* they fail, not calls */
    uint64_t calls_before; /* allocations up to the end of the setup */
    const fault_kind *kind;
    uint64_t at, distance; /* of a second fault from the first; 0: none */
} run;

typedef struct tally {
    uint64_t runs, hit, went_on, may_go_on, doubts, dead;
} tally;

static uint64_t effort(void)
{
    const char *text = getenv("BOLE_TEST_EFFORT");
    uint64_t value = text != NULL ? strtoull(text, NULL, 10) : 1;
    return value != 0 ? value : 1;
}

static bool was_hit(const run *r)
{
    return r->second_plan.failed > 0 || (r->allocations ? bl_alloc_calls() > r->at : r->plan.failed > 0);
}

#define fail_run(r, ...) fail_run_at((r), __LINE__, __VA_ARGS__)
__attribute__((format(printf, 3, 4), noreturn)) static void fail_run_at(const run *r, int line,
                                                                        const char *format, ...)
{
    char text[1200];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    print_error("BOLE_FAULT=%s/%" PRIu64 "/%" PRIu64 "/%u/%" PRIu64 " (%s, line %d): %s\n",
                r->allocations ? "allocation" : "call", r->h->seed, r->at, (unsigned)(r->kind - kinds),
                r->distance, r->kind->name, line, text);
    _fail(__FILE__, line);
    abort();
}

/* A call that failed must have met the fault and say something that a caller can use. */
static bool went_well(run *r, bole_status status, const char *what)
{
    if (status == BOLE_OK)
        return true;
    if (!was_hit(r))
        fail_run(r, "%s gives %s before any fault: %s", what, bole_status_name(status), r->error.message);
    if (!history_is_clean(status))
        fail_run(r, "%s gives %s: %s", what, bole_status_name(status), r->error.message);
    return false;
}

/* The same of a call that writes. */
static bool wrote_well(run *r, bole_status status, const char *what)
{
    r->wrote = r->wrote || status == BOLE_OK;
    return went_well(r, status, what);
}

static void check_live(run *r)
{
    bole_status status = history_check(r->h, r->db, true);
    if (r->h->why[0] != '\0')
        fail_run(r, "live: %s", r->h->why);
    went_well(r, status, "a read");
}

static bool open_store(run *r)
{
    bole_status status = bole_open("store", &r->options, &r->db, &r->error);
    r->wrote = false;
    if (!went_well(r, status, "open")) {
        assert_null(r->db);
        return false;
    }
    return true;
}

static bool close_store(run *r)
{
    bole_status status = bole_close(r->db, &r->error);
    r->db = NULL;
    if (!went_well(r, status, "close"))
        return false;
    if (r->wrote)
        history_all_durable(r->h);
    return true;
}

static void scan_a_snapshot(run *r)
{
    bole_snapshot *snapshot;
    if (!went_well(r, bole_snapshot_create(r->db, &snapshot, &r->error), "a snapshot"))
        return;
    wrote_well(r, history_write(r->h, r->db, BOLE_DURABILITY_PROCESS, &r->error), "a write");
    wrote_well(r, bole_flush(r->db, &r->error), "a flush");
    bole_read_options options = BOLE_READ_OPTIONS_INIT;
    options.snapshot = snapshot;
    options.error = &r->error;
    char text[16];
    bole_buffer value = BOLE_BUFFER_INIT;
    bole_status status = bole_get(r->db, &options, history_mark(r->h->tried, text), &value);
    if (status == BOLE_OK)
        fail_run(r, "a snapshot shows a younger batch");
    if (status != BOLE_NOT_FOUND)
        went_well(r, status, "a read at a snapshot");
    bole_buffer_free(&value);
    bole_snapshot_destroy(snapshot);
}

static void use_a_table(run *r, uint32_t i)
{
    bole_table *table = NULL;
    bole_status status = bole_table_open(r->db, "second", &table, &r->error);
    if (status == BOLE_NOT_FOUND)
        status = bole_table_create(r->db, "second", NULL, &table, &r->error);
    if (!went_well(r, status, "a table"))
        return;
    bole_write_options options = BOLE_WRITE_OPTIONS_INIT;
    options.table = table;
    options.error = &r->error;
    wrote_well(r, bole_put(r->db, &options, BOLE_STR("key"), BOLE_STR("value")), "a put into a table");
    bole_table_close(table);
    if (i % 2 == 0) {
        status = bole_table_drop(r->db, "second", &r->error);
        if (status != BOLE_NOT_FOUND)
            went_well(r, status, "dropping a table");
    }
}

static void write_some(run *r, bl_prng *prng)
{
    bool power = bl_prng_chance(prng, 4);
    bole_status status = history_write(r->h, r->db, power ? BOLE_DURABILITY_POWER : BOLE_DURABILITY_PROCESS,
                                       &r->error);
    if (wrote_well(r, status, "a write") && power)
        history_all_durable(r->h);
}

/* Everything up to here is durable when the call says that it went well. */
static void make_durable(run *r, bole_status status, const char *what)
{
    if (wrote_well(r, status, what))
        history_all_durable(r->h);
}

static void operate(run *r, uint32_t i, bl_prng *prng)
{
    static const bole_slice open_end = { NULL, 0 };
    char path[32];
    switch (i == 20 ? 1 : i == 30 ? 6 : i == 45 ? 0 : bl_prng_below(prng, 40)) {
    case 0: make_durable(r, bole_flush(r->db, &r->error), "a flush"); break;
    case 1: make_durable(r, bole_compact(r->db, NULL, open_end, open_end, &r->error), "a merge"); break;
    case 2: make_durable(r, bole_sync(r->db, &r->error), "a sync"); break;
    case 3: scan_a_snapshot(r); break;
    case 4:
        snprintf(path, sizeof path, "copy-%u", i);
        make_durable(r, bole_checkpoint(r->db, path, &r->error), "a checkpoint");
        break;
    case 5: use_a_table(r, i); break;
    case 6:
        close_store(r);
        if (open_store(r))
            check_live(r);
        break;
    case 7: check_live(r); break;
    default: write_some(r, prng); break;
    }
}

static bole_options options_for(uint64_t seed, bole_vfs *vfs)
{
    bole_options options = BOLE_OPTIONS_INIT;
    options.flags = BOLE_CREATE;
    options.vfs = vfs;
    options.simulation_seed = 1 + seed;
    options.memory_limit = 16 << 20;
    options.memtable_bytes = 4096u << seed % 2;
    options.large_value_bytes = seed % 4 == 3 ? 4096 : 4u << seed % 5;
    options.segment_bytes = 8192;
    options.block_bytes = 1024;
    options.level0_runs = 1 + (uint32_t)(seed % 3);
    options.compression = (bole_compression)(1 + seed % 3);
    if (seed % 2 == 1)
        options.flags |= BOLE_NO_SIGBUS_HANDLER; /* written logs instead of mapped ones */
    return options;
}

static void set_fault(run *r, uint64_t at, uint64_t count)
{
    if (r->allocations)
        bl_alloc_fail_at(at, count);
    else
        r->plan.at = at, r->plan.count = count;
}

/* From the first fault on the plan is over: everything works again. */
static void heal(run *r)
{
    if (r->allocations)
        bl_alloc_fail_at(UINT64_MAX, 0);
    else
        r->plan.at = UINT64_MAX;
    r->second_plan.at = UINT64_MAX;
}

/* The history, as far as it goes. False: the store could not even be opened. */
static bool live(run *r)
{
    bl_prng prng;
    bl_prng_init(&prng, r->h->seed);
    if (!open_store(r))
        return false;
    uint32_t left = OPERATIONS; /* many are cut soon after the fault */
    if (r->at % 3 == 0 || r->distance != 0)
        left = 1 + (uint32_t)(r->at / 3 % 6);
    for (uint32_t i = 0; i < OPERATIONS && r->db != NULL && left > 0; i++) {
        operate(r, i, &prng);
        left -= was_hit(r);
    }
    if (r->db != NULL)
        check_live(r);
    return r->db != NULL;
}

/* After the cut: open, look, write, close, open, look. No fault is left. What was acknowledged at all
 * survives the death of the process alone. */
static void come_back(run *r, bole_vfs *survived, bool only_the_process_died)
{
    r->options.vfs = survived;
    for (int again = 0; again < 2; again++) {
        bole_status status = bole_open("store", &r->options, &r->db, &r->error);
        if (status != BOLE_OK)
            fail_run(r, "after the cut open %d is refused: %s", again, r->error.message);
        status = history_check(r->h, r->db, again != 0 || only_the_process_died);
        if (status != BOLE_OK || r->h->why[0] != '\0')
            fail_run(r, "after the cut, open %d: %s%s", again, r->h->why,
                     status != BOLE_OK ? "a read fails" : "");
        history_settle(r->h);
        status = history_write(r->h, r->db, BOLE_DURABILITY_POWER, &r->error);
        if (status != BOLE_OK)
            fail_run(r, "after the cut a write is refused: %s", r->error.message);
        history_all_durable(r->h);
        status = bole_close(r->db, &r->error);
        r->db = NULL;
        if (status != BOLE_OK)
            fail_run(r, "after the cut close says: %s", r->error.message);
    }
}

/* One run with one fault. Returns how many calls (or allocations) the history makes. */
static uint64_t one_fault(uint64_t seed, bool allocations, uint64_t at, const fault_kind *kind,
                          uint64_t distance, tally *t)
{
    run *r = calloc(1, sizeof *r);
    r->h = calloc(1, sizeof *r->h);
    r->h->seed = seed;
    r->allocations = allocations;
    r->kind = kind;
    r->at = at;
    r->distance = distance;
    r->error = (bole_error)BOLE_ERROR_INIT;
    int64_t before = bl_alloc_live();
    bole_vfs *survived;
    assert_ok(bole_vfs_memory_create(seed, &r->disk), NULL);
    r->plan = (bole_fault_plan){ .at = UINT64_MAX, .system_errno = kind->system_errno, .half = kind->half };
    assert_ok(bole_vfs_fault_create(r->disk, &r->plan, &r->fault), NULL);
    r->second_plan = (bole_fault_plan){ .at = UINT64_MAX, .system_errno = EIO };
    if (distance != 0) {
        r->second_plan.at = (allocations ? 0 : at) + distance;
        r->second_plan.count = distance % 2 == 0 ? 1 : UINT64_MAX;
    }
    assert_ok(bole_vfs_fault_create(r->fault, &r->second_plan, &r->second), NULL);
    r->options = options_for(seed, r->second);
    set_fault(r, at, kind->count);
    bool open = live(r);
    uint64_t calls = allocations ? bl_alloc_calls() : r->plan.calls;
    bool hit = was_hit(r);
    heal(r);
    if (hit)
        t->hit++;
    if (open && hit && kind->count != UINT64_MAX &&
        distance == 0) { /* over: does it go on without an open? */
        t->may_go_on++;
        bole_status status = history_write(r->h, r->db, BOLE_DURABILITY_POWER, &r->error);
        if (status == BOLE_OK) {
            t->went_on++;
            r->wrote = true;
            if (!history_heals(r->h, r->disk, r->db, &r->error))
                fail_run(r, "after the fault flush or merge never go well again: %s", r->error.message);
            history_all_durable(r->h);
        } else if (!history_is_clean(status)) {
            fail_run(r, "after the fault a write gives %s: %s", bole_status_name(status), r->error.message);
        }
        status = history_check(r->h, r->db, true);
        if (status != BOLE_OK || r->h->why[0] != '\0')
            fail_run(r, "after the fault: %s%s", r->h->why, status != BOLE_OK ? "a read still fails" : "");
    }
    t->dead += !open;
    for (uint32_t n = 1; n <= r->h->tried; n++)
        t->doubts += r->h->batches[n].fate == HISTORY_DOUBT;
    if (r->db != NULL && at % 2 == 0) {
        if (bole_close(r->db, &r->error) == BOLE_OK && r->wrote)
            history_all_durable(r->h);
        r->db = NULL;
    }
    bole_crash_mode mode = (bole_crash_mode)((at / 2 + seed) % 4);
    assert_ok(bole_vfs_memory_crash(r->disk, mode, seed + at, &survived), NULL);
    if (r->db != NULL)
        (void)!bole_close(r->db, NULL);
    come_back(r, survived, mode == BOLE_CRASH_KEEP_ALL);
    bole_vfs_destroy(survived);
    bole_vfs_destroy(r->second);
    bole_vfs_destroy(r->fault);
    bole_vfs_destroy(r->disk);
    if (bl_alloc_live() != before &&
        kind != &kinds[NO_FAULT]) /* the first run fills the pool of decompressors */
        fail_run(r, "%lld allocations are not freed", (long long)(bl_alloc_live() - before));
    free(r->h);
    free(r);
    t->runs++;
    return calls;
}

/* BOLE_FAULT=allocation/3/195/0/0: only this fault, of allocation (or call) 195 of history 3, of kind 0,
 * alone. */
static bool only_one(bool allocations)
{
    const char *text = getenv("BOLE_FAULT");
    char what[16];
    uint64_t seed, at, distance;
    uint32_t kind;
    if (text == NULL)
        return false;
    if (sscanf(text, "%15[a-z]/%" SCNu64 "/%" SCNu64 "/%u/%" SCNu64, what, &seed, &at, &kind, &distance) !=
            5 ||
        kind >= KINDS)
        fail_msg("BOLE_FAULT=call/HISTORY/POSITION/KIND/DISTANCE or allocation/...");
    tally t = { 0 };
    if ((strcmp(what, "allocation") == 0) == allocations) {
        one_fault(seed, allocations, UINT64_MAX, &kinds[NO_FAULT], 0, &t);
        one_fault(seed, allocations, at, &kinds[kind], distance, &t);
    }
    return true;
}

/* Histories one after the other, each with its faults spread evenly over all positions and kinds. */
static void sweep(bool allocations, uint64_t total, const char *what)
{
    enum { PER_HISTORY = 5000 };
    if (only_one(allocations))
        return;
    uint64_t first = test_seed(1);
    tally t = { 0 };
    uint32_t kind_count = allocations ? 2 : KINDS;
    for (uint64_t seed = first; t.runs < total; seed++) {
        tally unused = { 0 };
        uint64_t calls = one_fault(seed, allocations, UINT64_MAX, &kinds[NO_FAULT], 0, &unused);
        uint64_t all = calls * kind_count,
                 wanted = total - t.runs < PER_HISTORY ? total - t.runs : PER_HISTORY;
        if (wanted > total / 3)
            wanted = total / 3 + 1; /* several histories, also in a short run */
        if (wanted > all)
            wanted = all;
        bl_prng prng;
        bl_prng_init(&prng, seed);
        for (uint64_t i = 0; i < wanted; i++) {
            uint64_t pick = all / wanted * i + bl_prng_below(&prng, all / wanted);
            uint64_t distance = i % 4 == 3 ? 1 + bl_prng_below(&prng, 60) : 0;
            one_fault(seed, allocations, pick / kind_count, &kinds[pick % kind_count], distance, &t);
        }
    }
    print_message("%" PRIu64 " %s from history %" PRIu64 " on, %" PRIu64
                  " of them met; each followed by a power cut: 0 "
                  "lost, 0 invented, 0 torn, 0 holes, 0 refused opens, 0 leaks; %" PRIu64
                  " batches in doubt; after a "
                  "fault that passed %" PRIu64 " of %" PRIu64 " went on without being opened again\n",
                  t.runs, what, first, t.hit, t.doubts, t.went_on, t.may_go_on);
    assert_true(t.hit > t.runs / 2);
}

/* Goal: a rotation that fails for want of memory, wherever it is, leaves a store that either takes writes
 * and shows them, or refuses them. (Found by history 3, allocation 195: readers kept the memtable of before,
 * and writes went on into the new one.) */
static void a_write_after_a_failed_rotation_is_seen_or_refused(void **state)
{
    (void)state;
    uint32_t refused = 0;
    for (uint64_t at = 0, more = 1; more != 0; at++) {
        bole_vfs *disk;
        bole_db *db;
        bole_error error = BOLE_ERROR_INIT;
        bole_buffer value = BOLE_BUFFER_INIT;
        assert_ok(bole_vfs_memory_create(1, &disk), NULL);
        bole_options options = options_for(1, disk);
        assert_ok(bole_open("store", &options, &db, &error), &error);
        assert_ok(bole_put(db, NULL, BOLE_STR("before"), BOLE_STR("1")), NULL);
        bl_alloc_fail_at(at, 1);
        (void)!bole_flush(db, &error);
        more = bl_alloc_calls() > at;
        bl_alloc_fail_at(UINT64_MAX, 0);
        bole_status status = bole_put(db, NULL, BOLE_STR("after"), BOLE_STR("2"));
        bole_status seen = bole_get(db, NULL, BOLE_STR("after"), &value);
        assert_status(status == BOLE_OK ? BOLE_OK : BOLE_NOT_FOUND, seen, &error);
        assert_true(status == BOLE_OK || status == BOLE_FAILED);
        assert_ok(bole_get(db, NULL, BOLE_STR("before"), &value), NULL);
        refused += status != BOLE_OK;
        bole_status idle = bole_wait_idle(db, &error); /* it ends, whatever is left */
        assert_true(idle == BOLE_OK || history_is_clean(idle));
        bole_buffer_free(&value);
        (void)!bole_close(db, &error);
        bole_vfs_destroy(disk);
    }
    assert_true(refused > 0); /* else the place that this is about was not met */
}

/* Some batches; then the first call of the next write fails (`log_fails`), or nothing; then a write, or a
 * flush, in which call `at` fails, and more writes; then the end of the process or the machine. Returns
 * whether that call was met. */
static bool fails_twice(uint64_t seed, bool log_fails, uint64_t at, uint64_t count, bole_crash_mode mode)
{
    history *h = calloc(1, sizeof *h);
    h->seed = seed;
    bole_vfs *disk, *fault, *survived;
    bole_db *db;
    bole_error error = BOLE_ERROR_INIT;
    bole_fault_plan plan = { .at = UINT64_MAX, .count = 1, .system_errno = EIO, .half = true };
    assert_ok(bole_vfs_memory_create(seed, &disk), NULL);
    assert_ok(bole_vfs_fault_create(disk, &plan, &fault), NULL);
    bole_options options = options_for(seed, fault);
    options.memtable_bytes = 64 << 10; /* no rotation but the one that is meant */
    assert_ok(bole_open("store", &options, &db, &error), &error);
    for (uint32_t i = 0; i < 5; i++)
        assert_ok(history_write(h, db, i == 2 ? BOLE_DURABILITY_POWER : BOLE_DURABILITY_PROCESS, &error),
                  &error);
    for (uint32_t n = 1; n <= 3; n++)
        h->batches[n].fate = HISTORY_DURABLE;
    if (log_fails) {
        plan.at = plan.calls;
        assert_status(BOLE_IN_DOUBT, history_write(h, db, BOLE_DURABILITY_PROCESS, &error), &error);
    }
    plan.at = plan.calls + at;
    plan.count = count;
    plan.failed = 0;
    if (!log_fails)
        (void)!bole_flush(db, &error);
    for (uint32_t i = 0; i < 6; i++)
        (void)!history_write(h, db, BOLE_DURABILITY_PROCESS, &error);
    bool met = plan.failed > 0;
    plan.at = UINT64_MAX;
    bole_status status = history_check(h, db, true);
    if (status == BOLE_OK && h->why[0] == '\0') {
        assert_ok(bole_vfs_memory_crash(disk, mode, seed + at, &survived), NULL);
        (void)!bole_close(db, NULL);
        options.vfs = survived;
        assert_ok(bole_open("store", &options, &db, &error), &error);
        status = history_check(h, db, mode == BOLE_CRASH_KEEP_ALL);
        assert_ok(bole_close(db, &error), &error);
        bole_vfs_destroy(survived);
    }
    if (status != BOLE_OK || h->why[0] != '\0')
        fail_msg("history %" PRIu64 ", %s, call %" PRIu64 ", %s, crash mode %d: %s %s", seed,
                 log_fails ? "a failed log" : "a flush", at, count == 1 ? "once" : "for good", (int)mode,
                 bole_status_name(status), h->why);
    bole_vfs_destroy(fault);
    bole_vfs_destroy(disk);
    free(h);
    return met;
}

/* Goal: what is acknowledged behind a log that failed, or behind one that could not be flushed, is no less
 * safe for that (ROT-2), and never comes back without what was acknowledged before it. */
static void what_follows_a_failure_is_as_safe_as_what_went_before(void **state)
{
    (void)state;
    uint64_t first = test_seed(1), runs = 0;
    for (uint64_t seed = first; seed < first + STORIES * effort(); seed++)
        for (uint32_t kind = 0; kind < 8; kind++) {
            bole_crash_mode mode = kind % 2 != 0 ? BOLE_CRASH_RANDOM : BOLE_CRASH_KEEP_ALL;
            uint64_t count = kind / 2 % 2 != 0 ? UINT64_MAX : 1;
            for (uint64_t at = 0; fails_twice(seed, kind / 4 != 0, at, count, mode) && at < 100; at++)
                runs++;
        }
    print_message("%" PRIu64 " failures of a flush or behind a failed log: 0 lost, 0 holes\n", runs);
    assert_true(runs > 100);
}

/* Goal: a log fails, and then the flush of what it held, again and again; when the cause is over the handle goes on,
 * and nothing that was acknowledged is missing, also after a power cut. Meanwhile reads are true and writes refused. */
static void a_failed_log_and_a_failed_flush_need_no_reopening(void **state)
{
    (void)state;
    uint64_t first = test_seed(1), runs = 0, refused = 0;
    for (uint64_t seed = first; seed < first + 20 * effort(); seed++)
        for (uint64_t at = 0; at < 12; at++) {
            history *h = calloc(1, sizeof *h);
            h->seed = seed;
            bole_vfs *disk, *fault, *survived;
            bole_db *db;
            bole_error error = BOLE_ERROR_INIT;
            bole_fault_plan plan = { .at = UINT64_MAX, .count = 1, .system_errno = EIO, .half = true };
            assert_ok(bole_vfs_memory_create(seed, &disk), NULL);
            assert_ok(bole_vfs_fault_create(disk, &plan, &fault), NULL);
            bole_options options = options_for(seed, fault);
            options.memtable_bytes = 64 << 10;
            assert_ok(bole_open("store", &options, &db, &error), &error);
            for (uint32_t i = 0; i < 5; i++)
                assert_ok(history_write(h, db, BOLE_DURABILITY_PROCESS, &error), &error);
            plan.at = plan.calls;
            assert_status(BOLE_IN_DOUBT, history_write(h, db, BOLE_DURABILITY_PROCESS, &error), &error);
            plan.at = plan.calls + at; /* of the rotation, then of the flush */
            plan.count = UINT64_MAX;
            for (uint32_t i = 0; i < 8; i++) {
                bole_status status = history_write(h, db, BOLE_DURABILITY_PROCESS, &error);
                assert_true(status == BOLE_OK || (history_is_clean(status) && status != BOLE_FAILED));
                refused += status != BOLE_OK;
                bole_vfs_memory_advance(disk, 200000);
            }
            bole_status seen = history_check(h, db, true);
            plan.at = UINT64_MAX;
            bole_status status = BOLE_IO;
            for (uint32_t i = 0; i < 60 && status != BOLE_OK; i++) { /* as a caller would */
                bole_statistics stats = BOLE_STATISTICS_INIT;
                bole_vfs_memory_advance(disk, 1000000);
                for (uint32_t j = 0; j < 200; j++) /* lets the background run */
                    assert_ok(bole_stats(db, &stats, NULL), NULL);
                status = history_write(h, db, BOLE_DURABILITY_POWER, &error);
                assert_true(status == BOLE_OK || (history_is_clean(status) && status != BOLE_FAILED));
            }
            assert_ok(status, &error);
            history_all_durable(h);
            if (seen == BOLE_OK && h->why[0] == '\0')
                seen = history_check(h, db, true);
            assert_ok(bole_vfs_memory_crash(disk, BOLE_CRASH_RANDOM, seed + at, &survived), NULL);
            (void)!bole_close(db, NULL);
            options.vfs = survived;
            assert_ok(bole_open("store", &options, &db, &error), &error);
            if (seen == BOLE_OK && h->why[0] == '\0')
                seen = history_check(h, db, false);
            if (seen != BOLE_OK || h->why[0] != '\0')
                fail_msg("history %" PRIu64 ", call %" PRIu64 ": %s %s", seed, at, bole_status_name(seen),
                         h->why);
            assert_ok(bole_close(db, &error), &error);
            bole_vfs_destroy(survived);
            bole_vfs_destroy(fault);
            bole_vfs_destroy(disk);
            free(h);
            runs++;
        }
    print_message("%" PRIu64 " failed logs with failing flushes, %" PRIu64
                  " writes refused: 0 lost, all went on without being opened again\n",
                  runs, refused);
    assert_true(refused > runs);
}

/* Goal: a table whose drop failed, wherever it was, takes writes as before or says that it is gone: what it
 * took is there after the death of the process. */
static void a_table_whose_drop_failed_keeps_what_it_takes(void **state)
{
    (void)state;
    uint32_t kept = 0;
    for (uint64_t at = 0, more = 1; more != 0; at++) {
        bole_vfs *disk, *fault, *survived;
        bole_db *db;
        bole_table *table;
        bole_error error = BOLE_ERROR_INIT;
        bole_buffer value = BOLE_BUFFER_INIT;
        bole_fault_plan plan = { .at = UINT64_MAX, .count = 1, .system_errno = EIO };
        assert_ok(bole_vfs_memory_create(1, &disk), NULL);
        assert_ok(bole_vfs_fault_create(disk, &plan, &fault), NULL);
        bole_options options = options_for(2, fault);
        assert_ok(bole_open("store", &options, &db, &error), &error);
        assert_ok(bole_table_create(db, "second", NULL, &table, &error), &error);
        plan.at = plan.calls + at;
        bole_status dropped = bole_table_drop(db, "second", &error);
        more = plan.failed;
        plan.at = UINT64_MAX;
        bole_write_options into = BOLE_WRITE_OPTIONS_INIT;
        into.table = table;
        bole_status status = bole_put(db, &into, BOLE_STR("key"), BOLE_STR("value"));
        assert_true(dropped == BOLE_OK ? status == BOLE_NOT_FOUND
                                       : status == BOLE_OK || history_is_clean(status));
        assert_ok(bole_vfs_memory_crash(disk, BOLE_CRASH_KEEP_ALL, 1, &survived), NULL);
        bole_table_close(table);
        (void)!bole_close(db, &error);
        options.vfs = survived;
        assert_ok(bole_open("store", &options, &db, &error), &error);
        bole_status there = bole_table_open(db, "second", &table, &error);
        if (status == BOLE_OK) {
            bole_read_options from = BOLE_READ_OPTIONS_INIT;
            from.table = table;
            assert_ok(there, &error);
            assert_ok(bole_get(db, &from, BOLE_STR("key"), &value), NULL);
            kept++;
        }
        bole_table_close(table);
        bole_buffer_free(&value);
        assert_ok(bole_close(db, &error), &error);
        bole_vfs_destroy(survived);
        bole_vfs_destroy(fault);
        bole_vfs_destroy(disk);
    }
    assert_true(kept > 0);
}

/* Goal: a table whose drop met a failing allocation, wherever it was, takes a batch and keeps it, or says that it is
 * gone. (Found by test_power_cuts, seed 6000081: the drop was on disk, readers' list could not be renewed, and batches
 * went on into the table and were acknowledged.) */
static void a_drop_without_memory_is_done_or_not(void **state)
{
    (void)state;
    uint32_t kept = 0, gone = 0;
    for (uint64_t at = 0, more = 1; more != 0; at++) {
        bole_vfs *disk, *survived;
        bole_db *db;
        bole_table *table;
        bole_batch *batch;
        bole_error error = BOLE_ERROR_INIT;
        bole_buffer value = BOLE_BUFFER_INIT;
        assert_ok(bole_vfs_memory_create(1, &disk), NULL);
        bole_options options = options_for(2, disk);
        assert_ok(bole_open("store", &options, &db, &error), &error);
        assert_ok(bole_table_create(db, "second", NULL, &table, &error), &error);
        bl_alloc_fail_at(at, 1);
        bole_status dropped = bole_table_drop(db, "second", &error);
        more = bl_alloc_calls() > at;
        bl_alloc_fail_at(UINT64_MAX, 0);
        assert_true(dropped == BOLE_OK || history_is_clean(dropped));
        assert_ok(bole_batch_create(&batch), NULL);
        assert_ok(bole_batch_put(batch, table, BOLE_STR("key"), BOLE_STR("value")), NULL);
        bole_status status = bole_write(db, NULL, batch);
        bole_batch_destroy(batch);
        assert_true(dropped == BOLE_OK
                        ? status == BOLE_NOT_FOUND
                        : status == BOLE_OK || status == BOLE_NOT_FOUND || history_is_clean(status));
        assert_ok(bole_vfs_memory_crash(disk, BOLE_CRASH_KEEP_ALL, 1, &survived), NULL);
        bole_table_close(table);
        (void)!bole_close(db, &error);
        options.vfs = survived;
        assert_ok(bole_open("store", &options, &db, &error), &error);
        bole_status there = bole_table_open(db, "second", &table, &error);
        assert_true(dropped != BOLE_OK || there == BOLE_NOT_FOUND);
        if (status == BOLE_OK) {
            bole_read_options from = BOLE_READ_OPTIONS_INIT;
            from.table = table;
            assert_ok(there, &error);
            assert_ok(bole_get(db, &from, BOLE_STR("key"), &value), NULL);
            kept++;
        }
        gone += dropped == BOLE_OK;
        bole_table_close(table);
        bole_buffer_free(&value);
        assert_ok(bole_close(db, &error), &error);
        bole_vfs_destroy(survived);
        bole_vfs_destroy(disk);
    }
    assert_true(kept > 0 && gone > 1);
}

/* Goal: what once went wrong stays right: the faults that found a bug. */
static void faults_that_found_something_find_nothing_now(void **state)
{
    (void)state;
    static const struct {
        bool allocations;
        uint64_t history, at, distance;
        uint32_t kind;
    } found[] = {
        { true, 3, 195, 0, 0 },           /* a write into a memtable that no reader saw */
        { false, 1, 108, 0, 0 },          /* a merge's failure told by a flush */
        { true, 1795524202, 1131, 0, 0 }, /* a list for readers: no flush is due, but one was said to fail */
    };
    tally t = { 0 };
    for (size_t i = 0; i < sizeof found / sizeof found[0]; i++) {
        one_fault(found[i].history, found[i].allocations, UINT64_MAX, &kinds[NO_FAULT], 0, &t);
        one_fault(found[i].history, found[i].allocations, found[i].at, &kinds[found[i].kind],
                  found[i].distance, &t);
    }
}

/* Goal: G4 and G5 of the reliability figures, in the size that BOLE_TEST_EFFORT asks for. */
static void a_failing_call_is_told_and_loses_nothing(void **state)
{
    (void)state;
    sweep(false, FAULTS * effort(), "failing calls");
}

/* Goal: G6. */
static void a_failing_allocation_is_told_and_loses_nothing(void **state)
{
    (void)state;
    sweep(true, ALLOCATIONS * effort(), "failing allocations");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_write_after_a_failed_rotation_is_seen_or_refused),
        cmocka_unit_test(what_follows_a_failure_is_as_safe_as_what_went_before),
        cmocka_unit_test(a_failed_log_and_a_failed_flush_need_no_reopening),
        cmocka_unit_test(a_table_whose_drop_failed_keeps_what_it_takes),
        cmocka_unit_test(a_drop_without_memory_is_done_or_not),
        cmocka_unit_test(faults_that_found_something_find_nothing_now),
        cmocka_unit_test(a_failing_call_is_told_and_loses_nothing),
        cmocka_unit_test(a_failing_allocation_is_told_and_loses_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
