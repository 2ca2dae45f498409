/* SPDX-License-Identifier: MIT */
/* test_power_cuts.c -- many disks that could have survived, from one history; a history that fails is shortened.
 *
 * The whole engine, its background work on one seeded thread, runs random operations (batches over several tables,
 * tables made and dropped, flush, merge, sync, reopen, checkpoints, a snapshot and an iterator held long, jumps of
 * the clock), and every read on the way is compared with the model (story_model.h). In every second history faults
 * strike, too: a call that fails, once, a few times or until it is mended, half a write, allocations, a full disk.
 * At one call to the disk in eight the power is cut on a copy (cut_fixture.h), and the store that is opened there
 * must hold what the model says; some are cut again while they recover, some go on and are opened again.
 *
 * The histories run in a child. When one fails, or ends the child with a failed assert, a signal or a hang, the
 * seed and what to run are printed; then operations are dropped for as long as the rest still fails (each try in a
 * child, cut at every call in every mode), and what is left is printed. BOLE_TEST_SEED chooses the first history;
 * BOLE_TEST_EFFORT (default 1) times 2,000 is the number of states; 0: only the first history. */
#include "story_model.h"

#include <errno.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>

#if defined(BL_THREAD_SANITIZER) || defined(BL_ADDRESS_SANITIZER)
enum { STATES = 600, STORY_SECONDS = 120 };
#else
enum { STATES = 2000, STORY_SECONDS = 30 };
#endif
enum { STEPS = 140, TRIES_MAX = 600, AGAIN_ONE_IN = 40, KEPT_MAX = 8 };
BL_STATIC_ASSERT((int)STEPS <= (int)BATCHES_MAX, "a batch a step");
enum {
    WRITE,
    FLUSH,
    COMPACT,
    SYNC,
    REOPEN,
    CHECKPOINT,
    SNAPSHOT,
    ITERATOR,
    LOOK,
    CLOCK,
    CREATE,
    DROP,
    CALLS,
    ALLOCATIONS,
    FULL,
    MEND,
    CRASH, /* only a test of the shortening has it: the process ends once three batches are there */
    KINDS
};

static const char *const kind_names[KINDS] = {
    "write",     "flush", "compact", "sync",   "reopen", "checkpoint",    "snapshot",
    "iterator",  "look",  "clock",   "create", "drop",   "failing-calls", "failing-allocations",
    "full-disk", "mend",  "crash"
};

typedef struct operation {
    uint8_t kind;
    bool power, dropped;
    uint64_t seed;
} operation;

typedef struct tally { /* shared with the parent */
    uint64_t seed;     /* of the history that runs */
    uint64_t histories, states, again, faulty, opens_refused, doubts, drops;
} tally;

typedef struct held_view { /* a snapshot, an iterator, or a table that is no more, and what it must show */
    bool marks;            /* f.present is known, too */
    finding f;
    uint32_t slot;
    uint8_t lives[SLOTS];
} held_view;

typedef struct story {
    uint64_t seed;
    bool with_faults;
    operation steps[STEPS];
    uint32_t at; /* of steps */
    model m;
    tally *t;
    bl_prng prng; /* of the judge */
    cutter cutter;
    bole_vfs *disk, *fault;
    bole_fault_plan plan;
    bool full;   /* the disk is */
    bool faulty; /* since the last good open a fault was set, so that calls may fail */
    bool wrote;  /* since then something was written */
    bole_db *db; /* NULL: a fault ended it */
    bole_options options;
    bole_table *tables[SLOTS];           /* handles of those that are there */
    uint8_t lives[SLOTS], newest[SLOTS]; /* of the handle; the last that was tried */
    bole_table *kept[KEPT_MAX];          /* handles of dropped tables, for iterators and reads */
    uint32_t kept_count;
    held_view dropped_view; /* of the last of these */
    bole_snapshot *snapshot;
    bole_iterator *iterator;
    held_view snapshot_view, iterator_view;
    bole_error error;
} story;

static void make_story(story *s, uint64_t seed, tally *t)
{
    static const uint8_t rare[] = { FLUSH, FLUSH,  COMPACT, SYNC, REOPEN, SNAPSHOT, ITERATOR,    LOOK, LOOK,
                                    CLOCK, CREATE, CREATE,  DROP, CALLS,  CALLS,    ALLOCATIONS, FULL, MEND };
    memset(s, 0, sizeof *s);
    s->seed = seed;
    s->t = t;
    bl_prng prng;
    bl_prng_init(&prng, seed);
    s->with_faults = bl_prng_below(&prng, 2) == 0;
    for (uint32_t i = 0; i < STEPS; i++) {
        operation *o = &s->steps[i];
        o->kind = bl_prng_below(&prng, 100) < 75 ? WRITE : rare[bl_prng_below(&prng, sizeof rare)];
        if (o->kind == LOOK && bl_prng_below(&prng, 4) == 0)
            o->kind = CHECKPOINT;
        if (o->kind >= CALLS && !s->with_faults)
            o->kind = WRITE;
        o->power = bl_prng_below(&prng, 4) == 0;
        o->seed = bl_prng_next(&prng);
    }
}

static bole_options options_for(bl_prng *prng, bole_vfs *vfs)
{
    bole_options options = BOLE_OPTIONS_INIT;
    options.flags = BOLE_CREATE;
    options.vfs = vfs;
    options.simulation_seed = 1 + bl_prng_next(prng) % 1000000;
    options.memory_limit = 16 << 20;
    options.memtable_bytes = 4096u << bl_prng_below(prng, 3);
    options.large_value_bytes = options.simulation_seed % 4 == 0 ? 4096 : 4u << options.simulation_seed % 5;
    options.segment_bytes = 8192;
    options.block_bytes = 1024;
    options.level0_runs = 1 + (uint32_t)bl_prng_below(prng, 4);
    options.compression = (bole_compression)(1 + bl_prng_below(prng, 3));
    if (bl_prng_below(prng, 8) != 0)
        options.log_level = BOLE_LOG_ERROR; /* lines for each open are a tenth of the time */
    if (bl_prng_below(prng, 3) == 0)
        options.flags |= BOLE_NO_SIGBUS_HANDLER; /* written logs instead of mapped ones */
    return options;
}

/* ---- The judge of disks that survived ------------------------------------------------------------------ */

/* The store that came back takes a durable write and has it when it is opened again. */
static bool goes_on(story *s, bole_db **db, const bole_options *options, const finding *f)
{
    bole_error error = BOLE_ERROR_INIT;
    bole_write_options durable = BOLE_WRITE_OPTIONS_INIT;
    bole_buffer value = BOLE_BUFFER_INIT;
    durable.durability = BOLE_DURABILITY_POWER;
    durable.error = &error;
    bool good = bole_put(*db, &durable, BOLE_STR("z"), BOLE_STR("after")) == BOLE_OK;
    good = bole_flush(*db, &error) == BOLE_OK && good;
    good = bole_close(*db, &error) == BOLE_OK && good;
    *db = NULL;
    if (!good || bole_open("store", options, db, &error) != BOLE_OK)
        return wrong(&s->m, "what came back does not go on: %s", error.message);
    good = bole_get(*db, NULL, BOLE_STR("z"), &value) == BOLE_OK && value.size == 5;
    bole_buffer_free(&value);
    return good ? check_gets(&s->m, *db, NULL, f->content, 0, 0, false)
                : wrong(&s->m, "a durable write after recovery is gone");
}

static bool judge_opened(story *s, const cut *one, bole_vfs *vfs, bool on)
{
    static finding f;
    bole_error error = BOLE_ERROR_INIT;
    bole_options options = options_for(&s->prng, vfs);
    bole_db *db;
    s->t->states++;
    if (bole_open("store", &options, &db, &error) != BOLE_OK)
        return wrong(&s->m, "open refused: %s", error.message);
    bool good = check_store(&s->m, db, &one->at, cut_least(one), bl_prng_below(&s->prng, 4) == 0, false, &f);
    if (good && on)
        good = goes_on(s, &db, &options, &f);
    return bole_close(db, &error) == BOLE_OK ? good : wrong(&s->m, "close fails: %s", error.message);
}

/* Cut again while it recovers. A death of the process behind a power cut brings nothing back, and the other way. */
static bool judge_again(story *s, const cut *first)
{
    cutter again;
    cutter_init(&again, first->disk, first->disk, first->seed, 6);
    again.now = first->at;
    if (first->mode != BOLE_CRASH_KEEP_ALL)
        again.now.acknowledged = again.now.durable;
    bool good = judge_opened(s, first, again.traced, false);
    for (size_t i = 0; i < again.count && good; i++) {
        s->t->again++;
        good = judge_opened(s, &again.cuts[i], again.cuts[i].disk, false);
    }
    cutter_end(&again);
    return good;
}

static bool judge_all(story *s)
{
    bool good = true;
    cutter_pause(&s->cutter);
    for (size_t i = 0; i < s->cutter.count && good; i++) {
        const cut *one = &s->cutter.cuts[i];
        uint64_t choice = bl_prng_below(&s->prng, AGAIN_ONE_IN);
        good = choice == 0 ? judge_again(s, one) : judge_opened(s, one, one->disk, choice == 1);
        if (!good) {
            char text[700];
            snprintf(text, sizeof text, "%.690s", s->m.why);
            snprintf(s->m.why, sizeof s->m.why, "cut in step %u at call %" PRIu64 ", mode %d, durable %u: %s",
                     s->at, one->call, (int)one->mode, one->at.durable, text);
        }
    }
    cutter_drop_cuts(&s->cutter);
    cutter_resume(&s->cutter);
    return good;
}

/* ---- Looking on the way -------------------------------------------------------------------------------- */

/* Everything that the open store shows. `f` NULL: nobody wants to know what. */
static bool look(story *s, finding *f)
{
    static finding own;
    return check_store(&s->m, s->db, &s->cutter.now, s->cutter.now.acknowledged, true, s->faulty,
                       f == NULL ? &own : f);
}

/* What the store shows now, for something that goes on showing it; false when it cannot be read. */
static bool hold_view(story *s, held_view *view, uint32_t slot)
{
    finding *f = &view->f;
    if (s->m.first_doubt == UINT32_MAX) {
        f->last = s->cutter.now.acknowledged;
        f->own = s->m.after[s->m.tried];
        f->complete = true;
    } else if (!look(s, f) || !f->complete) {
        return false;
    } else if (f->content != &f->own) {
        f->own = *f->content;
    }
    view->marks = s->m.first_doubt != UINT32_MAX;
    f->content = &f->own;
    view->slot = slot;
    memcpy(view->lives, s->lives, sizeof view->lives);
    return true;
}

static void check_snapshot(story *s)
{
    const held_view *view = &s->snapshot_view;
    bole_read_options options = BOLE_READ_OPTIONS_INIT;
    options.snapshot = s->snapshot;
    for (uint32_t slot = 0; s->snapshot != NULL && slot < SLOTS; slot++) {
        options.table = s->tables[slot];
        if (slot == 0 || (s->tables[slot] != NULL && s->lives[slot] == view->lives[slot]))
            check_gets(&s->m, s->db, &options, view->f.content, slot, slot == 0 ? 0 : view->lives[slot],
                       s->faulty);
    }
}

static void check_iterator(story *s)
{
    const held_view *view = &s->iterator_view;
    if (s->iterator != NULL)
        check_scan(&s->m, s->iterator, view->f.content, view->marks ? &view->f : NULL, view->slot,
                   view->slot == 0 ? 0 : view->lives[view->slot], s->faulty);
}

/* A handle of a dropped table shows the moment before the drop. */
static void check_dropped(story *s)
{
    bole_read_options options = BOLE_READ_OPTIONS_INIT;
    const held_view *view = &s->dropped_view;
    if (s->kept_count == 0 || view->f.content == NULL)
        return;
    options.table = s->kept[s->kept_count - 1];
    check_gets(&s->m, s->db, &options, view->f.content, view->slot, view->lives[view->slot], s->faulty);
}

static void let_go(story *s)
{
    check_snapshot(s);
    check_iterator(s);
    check_dropped(s);
    bole_snapshot_destroy(s->snapshot);
    bole_iterator_destroy(s->iterator);
    s->snapshot = NULL;
    s->iterator = NULL;
    while (s->kept_count != 0)
        bole_table_close(s->kept[--s->kept_count]);
    s->dropped_view.f.content = NULL;
}

/* ---- Tables -------------------------------------------------------------------------------------------- */

static promised_table *promise_of(story *s, uint32_t slot) { return &s->cutter.now.tables[slot - 1]; }

/* A handle for what is there, after an open or a change that failed. */
static bole_status find_table(story *s, uint32_t slot)
{
    promised_table *promise = promise_of(s, slot);
    bole_status status = bole_table_open(s->db, slot_names[slot], &s->tables[slot], &s->error);
    if (status == BOLE_NOT_FOUND && (!promise->gone || promise->named_by != 0))
        wrong(&s->m, "table %s is gone", slot_names[slot]);
    if (status == BOLE_OK && promise->first > promise->last)
        wrong(&s->m, "table %s is there and was dropped, or never made", slot_names[slot]);
    if (status == BOLE_OK)
        s->lives[slot] = promise->last;
    return status == BOLE_NOT_FOUND ? BOLE_OK : status;
}

static void keep_handle(story *s, uint32_t slot)
{
    if (s->kept_count == KEPT_MAX)
        let_go(s);
    s->kept[s->kept_count++] = s->tables[slot];
    s->tables[slot] = NULL;
}

static bole_status create(story *s, uint32_t slot)
{
    promised_table *promise = promise_of(s, slot);
    if (s->tables[slot] != NULL || (promise->gone && promise->first < promise->last))
        return BOLE_OK; /* two lives in doubt are enough */
    uint8_t life = ++s->newest[slot];
    if (promise->first > promise->last)
        promise->first = life;
    promise->last = life;
    promise->named_by = 0;
    bole_status status = bole_table_create(s->db, slot_names[slot], NULL, &s->tables[slot], &s->error);
    if (status == BOLE_OK) {
        *promise = (promised_table){ false, life, life, 0 };
        s->lives[slot] = life;
        s->cutter.now.durable = s->cutter.now.acknowledged;
        s->wrote = true;
        return BOLE_OK;
    }
    if (status == BOLE_EXISTS && s->faulty)
        return find_table(s, slot);
    return status;
}

static bole_status drop(story *s, uint32_t slot)
{
    promised_table *promise = promise_of(s, slot);
    if (s->tables[slot] == NULL)
        return BOLE_OK;
    bool known = hold_view(s, &s->dropped_view, slot);
    promise->gone = true;
    promise->named_by = 0;
    bole_status status = bole_table_drop(s->db, slot_names[slot], &s->error);
    if (status == BOLE_OK) {
        *promise = (promised_table){ true, (uint8_t)(s->newest[slot] + 1), s->newest[slot], 0 };
        s->cutter.now.durable = s->cutter.now.acknowledged;
        s->wrote = true;
        s->t->drops++;
        keep_handle(s, slot);
    }
    if (status != BOLE_OK || !known)
        s->dropped_view.f.content = NULL;
    return status;
}

/* ---- Operations ---------------------------------------------------------------------------------------- */

static void make_batch(story *s, const operation *o, model_batch *batch)
{
    bl_prng prng;
    bl_prng_init(&prng, o->seed);
    *batch = (model_batch){ .count = (uint8_t)(1 + bl_prng_below(&prng, OPERATIONS_MAX)), .fate = REFUSED };
    for (uint32_t i = 0; i < batch->count; i++) {
        model_operation *made = &batch->operations[i];
        uint32_t slot = (uint32_t)bl_prng_below(&prng, SLOTS), choice = (uint32_t)bl_prng_below(&prng, 400);
        uint64_t size_max = choice == 0 ? VALUE_BYTES_MAX : choice < 20 ? 6000 : 200;
        made->slot = (uint8_t)(s->tables[slot] != NULL ? slot : 0);
        made->key = (uint8_t)bl_prng_below(&prng, slot_keys(made->slot));
        made->entry = (model_entry){ .there = bl_prng_below(&prng, 4) != 0,
                                     .life = made->slot == 0 ? 0 : s->lives[made->slot],
                                     .fill = (uint8_t)bl_prng_next(&prng),
                                     .size = (uint16_t)bl_prng_below(&prng, size_max) };
    }
}

static bole_status fill_batch(story *s, uint32_t n, bole_batch *batch)
{
    static uint8_t bytes[VALUE_BYTES_MAX];
    const model_batch *made = &s->m.batches[n];
    char text[8];
    bole_status status = bole_batch_put(batch, NULL, BOLE_STR("#"), BOLE_SLICE(&n, sizeof n));
    if (status == BOLE_OK && n >= s->m.marks_from)
        status = bole_batch_put(batch, NULL, mark_of(n, text), BOLE_STR(""));
    for (uint32_t i = 0; i < made->count && status == BOLE_OK; i++) {
        const model_operation *o = &made->operations[i];
        bole_slice key = key_of(o->key, text);
        memset(bytes, o->entry.fill, o->entry.size);
        status = o->entry.there
                     ? bole_batch_put(batch, s->tables[o->slot], key, BOLE_SLICE(bytes, o->entry.size))
                     : bole_batch_delete(batch, s->tables[o->slot], key);
    }
    return status;
}

/* Where batch `n` is, its tables are. */
static void name_tables(story *s, uint32_t n)
{
    const model_batch *batch = &s->m.batches[n];
    for (uint32_t i = 0; i < batch->count; i++) {
        uint32_t slot = batch->operations[i].slot;
        if (slot != 0 && s->lives[slot] == promise_of(s, slot)->last)
            promise_of(s, slot)->named_by = n;
    }
}

static bole_status write_batch(story *s, const operation *o)
{
    promises *now = &s->cutter.now;
    uint32_t n = now->tried + 1;
    bole_batch *batch;
    make_batch(s, o, &s->m.batches[n]);
    bole_status status = bole_batch_create(&batch);
    if (status != BOLE_OK)
        return status;
    status = fill_batch(s, n, batch);
    if (status != BOLE_OK) {
        bole_batch_destroy(batch);
        return status;
    }
    now->tried = now->in_flight = s->m.tried = n;
    bole_write_options options = BOLE_WRITE_OPTIONS_INIT;
    options.durability = o->power ? BOLE_DURABILITY_POWER : BOLE_DURABILITY_PROCESS;
    options.error = &s->error;
    status = bole_write(s->db, &options, batch);
    bole_batch_destroy(batch);
    s->m.batches[n].fate = status == BOLE_OK ? ACKNOWLEDGED : status == BOLE_IN_DOUBT ? DOUBT : REFUSED;
    s->t->doubts += status == BOLE_IN_DOUBT;
    model_renew(&s->m, n);
    now->in_flight = 0;
    if (status == BOLE_OK) {
        now->acknowledged = n;
        s->wrote = true;
        name_tables(s, n);
        if (o->power)
            now->durable = n;
    }
    return status;
}

static void mend(story *s)
{
    s->plan.at = UINT64_MAX;
    bl_alloc_fail_never();
    s->cutter.allocations.count = 0;
    s->full = false;
    bole_vfs_memory_capacity(s->disk, UINT64_MAX);
    bole_vfs_memory_advance(s->disk, 10000000);
}

/* May a fault still strike? */
static bool is_armed(const story *s)
{
    const bole_fault_plan *plan = &s->plan;
    const failing_allocations *allocations = &s->cutter.allocations;
    bool calls = plan->at != UINT64_MAX &&
                 (plan->count == UINT64_MAX || plan->calls < plan->at + plan->count);
    return s->full || calls ||
           (allocations->count != 0 && bl_alloc_calls() < allocations->at + allocations->count);
}

/* Open; what came back is settled, unless reads fail. */
static bole_status open_store(story *s)
{
    static finding f;
    bole_status status = bole_open("store", &s->options, &s->db, &s->error);
    if (status != BOLE_OK) {
        s->db = NULL;
        s->t->opens_refused++;
        return status;
    }
    s->wrote = false;
    s->faulty = s->faulty && is_armed(s);
    for (uint32_t slot = 1; slot < SLOTS && status == BOLE_OK; slot++)
        status = find_table(s, slot);
    if (status == BOLE_OK && look(s, &f) && f.complete &&
        judge_all(s)) { /* the cuts up to here: what is in doubt yet */
        model_settle(&s->m, &f);
        uint32_t last = f.last; /* refused ones aside */
        if (last > s->cutter.now.acknowledged && s->m.batches[last].fate == ACKNOWLEDGED)
            s->cutter.now.acknowledged = last;
    }
    return status;
}

static bole_status close_store(story *s)
{
    let_go(s);
    for (uint32_t slot = 1; slot < SLOTS; slot++) {
        bole_table_close(s->tables[slot]);
        s->tables[slot] = NULL;
    }
    bole_status status = bole_close(s->db, &s->error);
    s->db = NULL;
    if (status == BOLE_OK && s->wrote)
        s->cutter.now.durable = s->cutter.now.acknowledged;
    return status;
}

static bole_status reopen(story *s, bool mended)
{
    if (mended)
        mend(s);
    bole_status status = close_store(s);
    if (status != BOLE_OK && !(s->faulty && is_clean(status)))
        return status;
    return open_store(s);
}

/* A copy that is a store of its own, looked at and removed. */
static bole_status checkpoint(story *s)
{
    static finding f;
    char path[16];
    snprintf(path, sizeof path, "copy-%u", s->at);
    bole_status status = bole_checkpoint(s->db, path, &s->error);
    if (status != BOLE_OK)
        return status;
    cutter_pause(&s->cutter);
    bole_vfs_memory_capacity(s->disk, UINT64_MAX);
    bole_options options = options_for(&s->prng, s->disk);
    bole_db *copy;
    options.flags &= ~(uint32_t)BOLE_CREATE;
    status = bole_open(path, &options, &copy, &s->error);
    if (status != BOLE_OK) {
        wrong(&s->m, "a checkpoint does not open: %s", s->error.message);
        return status;
    }
    check_store(&s->m, copy, &s->cutter.now, s->cutter.now.acknowledged, true, false, &f);
    if (bole_close(copy, &s->error) != BOLE_OK || bole_destroy(path, &options, &s->error) != BOLE_OK)
        wrong(&s->m, "a checkpoint does not close or go: %s", s->error.message);
    cutter_resume(&s->cutter);
    return BOLE_OK;
}

static bole_status iterate(story *s, bl_prng *prng)
{
    bole_read_options options = BOLE_READ_OPTIONS_INIT;
    uint32_t slot = (uint32_t)bl_prng_below(prng, SLOTS);
    check_iterator(s);
    bole_iterator_destroy(s->iterator);
    s->iterator = NULL;
    slot = s->tables[slot] != NULL ? slot : 0;
    options.table = s->tables[slot];
    if (!hold_view(s, &s->iterator_view, slot))
        return BOLE_OK;
    return bole_iterator_create(s->db, &options, &s->iterator);
}

static bole_status take_snapshot(story *s)
{
    check_snapshot(s);
    bole_snapshot_destroy(s->snapshot);
    s->snapshot = NULL;
    return hold_view(s, &s->snapshot_view, 0) ? bole_snapshot_create(s->db, &s->snapshot, &s->error)
                                              : BOLE_OK;
}

static void set_fault(story *s, const operation *o, bl_prng *prng)
{
    static const int errors[] = { EIO, EIO, ENOSPC, EMFILE, EDQUOT, EACCES };
    static const uint64_t counts[] = { 1, 1, 1, 3, 20, UINT64_MAX };
    if (s->m.marks_from == UINT32_MAX)
        s->m.marks_from = s->m.tried + 1;
    s->faulty = true;
    if (o->kind == CALLS) {
        s->plan.count = counts[bl_prng_below(prng, 6)];
        s->plan.system_errno = errors[bl_prng_below(prng, 6)];
        s->plan.half = bl_prng_below(prng, 2) == 0;
        s->plan.at = s->plan.calls + bl_prng_below(prng, 40);
    } else if (o->kind == ALLOCATIONS) {
        s->cutter.allocations.at = bl_prng_below(prng, 120);
        s->cutter.allocations.count = counts[bl_prng_below(prng, 5)];
        cutter_resume(&s->cutter);
    } else {
        uint64_t all = UINT64_C(1) << 40, left = 0;
        s->full = true;
        bole_vfs_memory_capacity(s->disk, all);
        assert_ok(s->disk->free_bytes(s->disk, "store", &left, NULL), NULL);
        bole_vfs_memory_capacity(s->disk, all - left + bl_prng_below(prng, 64 << 10));
    }
}

static bole_status run_step(story *s, const operation *o)
{
    static const bole_slice open_end = { NULL, 0 };
    promises *now = &s->cutter.now;
    bole_status status = BOLE_OK;
    bl_prng prng;
    bl_prng_init(&prng, o->seed);
    if (s->db == NULL) { /* somebody looks after it */
        mend(s);
        return open_store(s);
    }
    switch (o->kind) {
    case WRITE: return write_batch(s, o);
    case FLUSH: status = bole_flush(s->db, &s->error); break;
    case COMPACT:
        status = bole_compact(s->db, s->tables[o->seed % SLOTS], open_end, open_end, &s->error);
        break;
    case SYNC: status = bole_sync(s->db, &s->error); break;
    case REOPEN: return reopen(s, o->power);
    case CHECKPOINT: return checkpoint(s);
    case SNAPSHOT: return take_snapshot(s);
    case ITERATOR: return iterate(s, &prng);
    case CREATE: return create(s, 1 + (uint32_t)bl_prng_below(&prng, SLOTS - 1));
    case DROP: return drop(s, 1 + (uint32_t)bl_prng_below(&prng, SLOTS - 1));
    case MEND: mend(s); return BOLE_OK;
    case CRASH:
        if (now->acknowledged >= 3)
            abort();
        return BOLE_OK;
    case LOOK:
        check_snapshot(s);
        check_dropped(s);
        look(s, NULL);
        return BOLE_OK;
    case CLOCK: /* forward a minute, or back an hour */
        bole_vfs_memory_advance(s->disk, o->power ? 60000000 : -3600000000);
        return BOLE_OK;
    default: set_fault(s, o, &prng); return BOLE_OK;
    }
    if (status == BOLE_OK) {
        now->durable = now->acknowledged;
        s->wrote = true;
    }
    return status;
}

/* Whether all was well; else s->m.why. What a failed one held is not given back. */
static bool run_story(story *s, uint64_t one_in)
{
    model *m = &s->m;
    bl_prng_init(&s->prng, s->seed ^ 0x5eed);
    assert_ok(bole_vfs_memory_create(s->seed, &s->disk), NULL);
    s->plan = (bole_fault_plan){ .at = UINT64_MAX };
    assert_ok(bole_vfs_fault_create(s->disk, &s->plan, &s->fault), NULL);
    cutter_init(&s->cutter, s->disk, s->fault, s->seed, one_in);
    s->options = options_for(&s->prng, s->cutter.traced);
    m->first_doubt = m->marks_from = UINT32_MAX;
    for (uint32_t slot = 1; slot < SLOTS; slot++)
        *promise_of(s, slot) = (promised_table){ true, 1, 0, 0 };
    bole_status status = open_store(s);
    if (status != BOLE_OK)
        return wrong(m, "the first open fails: %s", s->error.message);
    if (!judge_all(s))
        return false;
    for (s->at = 0; s->at < STEPS; s->at++) {
        if (s->steps[s->at].dropped)
            continue;
        status = run_step(s, &s->steps[s->at]);
        cutter_call(&s->cutter, "");
        if (m->why[0] == '\0' && status != BOLE_OK && !(s->faulty && is_clean(status)))
            wrong(m, "%s (step %u) gives %s: %s", kind_names[s->steps[s->at].kind], s->at,
                  bole_status_name(status), s->error.message);
        if (m->why[0] != '\0' || !judge_all(s))
            return false;
    }
    mend(s);
    if (s->db != NULL)
        status = close_store(s);
    if (m->why[0] != '\0' || (status != BOLE_OK && !(s->faulty && is_clean(status))))
        return wrong(m, "close gives %s: %s", bole_status_name(status), s->error.message);
    cutter_call(&s->cutter, "");
    if (!judge_all(s))
        return false;
    if (open_store(s) != BOLE_OK || m->why[0] != '\0' || close_store(s) != BOLE_OK)
        return wrong(m, "at the end open or close fails: %s", s->error.message);
    s->t->faulty += s->with_faults;
    cutter_end(&s->cutter);
    bole_vfs_destroy(s->fault);
    bole_vfs_destroy(s->disk);
    return true;
}

/* ---- Shortening ----------------------------------------------------------------------------------------- */

/* In a child, for it may crash or hang; `tell`: it prints what is wrong. */
static bool still_fails(const story *s, uint64_t one_in, bool tell)
{
    fflush(NULL);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        story *copy = malloc(sizeof *copy);
        tally t = { 0 };
        if (copy == NULL || (!tell && freopen("/dev/null", "w", stderr) == NULL))
            _exit(0);
        alarm(STORY_SECONDS);
        make_story(copy, s->seed, &t);
        memcpy(copy->steps, s->steps, sizeof copy->steps);
        bool good = run_story(copy, one_in);
        if (tell)
            print_error("  %s\n", copy->m.why);
        fflush(NULL);
        _exit(good ? 0 : 1);
    }
    int how = 0;
    assert_int_equal(waitpid(child, &how, 0), child);
    return !WIFEXITED(how) || WEXITSTATUS(how) != 0;
}

static uint32_t shorten(story *s, uint64_t *one_in)
{
    uint32_t left = STEPS, tries = 0;
    *one_in = still_fails(s, 1, false) ? 1 : 8;
    for (uint32_t chunk = STEPS / 2; chunk > 0; chunk /= 2)
        for (uint32_t from = 0; from < STEPS && tries < TRIES_MAX; from += chunk) {
            bool before[STEPS], any = false;
            for (uint32_t i = from; i < STEPS && i < from + chunk; i++) {
                before[i] = s->steps[i].dropped;
                any = any || !before[i];
                s->steps[i].dropped = true;
            }
            if (!any || (tries++, still_fails(s, *one_in, false)))
                continue;
            for (uint32_t i = from; i < STEPS && i < from + chunk; i++)
                s->steps[i].dropped = before[i];
        }
    for (uint32_t i = 0; i < STEPS; i++)
        left -= s->steps[i].dropped;
    return left;
}

static void tell_shortest(uint64_t seed)
{
    uint64_t one_in;
    story *s = malloc(sizeof *s);
    assert_non_null(s);
    make_story(s, seed, NULL);
    print_error("again: BOLE_TEST_SEED=%" PRIu64 " BOLE_TEST_EFFORT=0 test_power_cuts\n", seed);
    if (!still_fails(s, 8, false))
        print_error("(not again in a child of its own: it depends on what ran before)\n");
    uint32_t left = shorten(s, &one_in);
    print_error("shortest history that fails, %u operations:", left);
    for (uint32_t i = 0; i < STEPS; i++)
        if (!s->steps[i].dropped)
            print_error(" %u:%s%s", i, kind_names[s->steps[i].kind],
                        s->steps[i].kind == WRITE && s->steps[i].power ? "(durable)" : "");
    print_error("\n");
    (void)still_fails(s, one_in, true);
    free(s);
}

/* ---- Many histories ------------------------------------------------------------------------------------- */

static void run_histories(uint64_t seed, uint64_t states, tally *t)
{
    story *s = malloc(sizeof *s);
    assert_non_null(s);
    do {
        t->seed = seed++;
        alarm(STORY_SECONDS);
        make_story(s, t->seed, t);
        if (!run_story(s, 8)) {
            print_error("seed %" PRIu64 ": %s\n", t->seed, s->m.why);
            fflush(NULL);
            _exit(1);
        }
        t->histories++;
    } while (t->states < states);
    free(s);
}

/* Goal: G1 of the reliability figures. */
static void every_disk_that_survives_holds_a_prefix(void **state)
{
    (void)state;
    const char *text = getenv("BOLE_TEST_EFFORT");
    uint64_t effort = text != NULL ? strtoull(text, NULL, 10) : 1, seed = test_seed(1);
    tally *t = mmap(NULL, sizeof *t, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    assert_ptr_not_equal(t, MAP_FAILED);
    fflush(NULL);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        run_histories(seed, effort * STATES, t);
        fflush(NULL);
        _exit(0);
    }
    int how = 0;
    assert_int_equal(waitpid(child, &how, 0), child);
    if (WIFSIGNALED(how))
        print_error("seed %" PRIu64 ": the process ended with signal %d (%s)\n", t->seed, WTERMSIG(how),
                    strsignal(WTERMSIG(how)));
    if (!WIFEXITED(how) || WEXITSTATUS(how) != 0) {
        tell_shortest(t->seed);
        fail();
    }
    print_message("%" PRIu64 " histories, %" PRIu64 " of them with faults (%" PRIu64
                  " opens refused, %" PRIu64 " batches in doubt), %" PRIu64 " tables dropped; %" PRIu64
                  " cut states, %" PRIu64
                  " of them cut again in recovery: 0 lost, 0 invented, 0 torn, 0 refused\n",
                  t->histories, t->faulty, t->opens_refused, t->doubts, t->drops, t->states, t->again);
    munmap(t, sizeof *t);
}

/* Goal: a log at position 0 of which nothing came back ends the prefix, as any torn log does. (Found by the histories:
 * the first batch, not synced, was gone, and the second, durable in the next log, came back without it.) */
static void a_log_that_lost_all_ends_the_prefix(void **state)
{
    (void)state;
    story *s = malloc(sizeof *s);
    assert_non_null(s);
    for (uint64_t seed = 0; seed < 6; seed++) {
        tally t = { 0 };
        make_story(s, seed, &t);
        for (uint32_t i = 0; i < STEPS; i++) {
            s->steps[i].dropped = i >= 6;
            s->steps[i].kind = WRITE;
            s->steps[i].power = i % 2 != 0;
        }
        if (!run_story(s, 1))
            fail_msg("seed %" PRIu64 ": %s", seed, s->m.why);
    }
    free(s);
}

/* Goal: what once went wrong stays right: histories that found a bug. */
static void histories_that_found_something_find_nothing_now(void **state)
{
    (void)state;
    static const uint64_t seeds[] = {
        6000081, /* a drop on disk that was said to have failed: batches of the table were acknowledged and lost */
        3000395, /* a create that was said to have failed: the table was there and took no batch */
        8000440, /* a log that failed while a sync gathered others: it was asked for bytes that it never had */
    };
    story *s = malloc(sizeof *s);
    assert_non_null(s);
    for (size_t i = 0; i < sizeof seeds / sizeof seeds[0]; i++) {
        tally t = { 0 };
        make_story(s, seeds[i], &t);
        if (!run_story(s, 8))
            fail_msg("seed %" PRIu64 ": %s", seeds[i], s->m.why);
    }
    free(s);
}

/* Goal: what ends the process is shortened as anything else that fails: here to three batches and the crash. */
static void a_crash_is_shortened(void **state)
{
    (void)state;
    story *s = malloc(sizeof *s);
    tally t = { 0 };
    uint64_t one_in;
    assert_non_null(s);
    make_story(s, 1, &t);
    for (uint32_t i = 0; i < STEPS; i++) {
        static const uint8_t kinds[] = { WRITE, FLUSH, WRITE, CREATE, WRITE, WRITE, LOOK, CRASH, WRITE };
        s->steps[i].dropped = i >= sizeof kinds;
        s->steps[i].kind = i < sizeof kinds ? kinds[i] : WRITE;
    }
    assert_int_equal(shorten(s, &one_in), 4);
    for (uint32_t i = 0; i < STEPS; i++)
        assert_true(s->steps[i].dropped || s->steps[i].kind == WRITE || s->steps[i].kind == CRASH);
    assert_true(still_fails(s, one_in, false));
    s->steps[7].dropped = true;
    assert_false(still_fails(s, one_in, false));
    free(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_log_that_lost_all_ends_the_prefix),
        cmocka_unit_test(histories_that_found_something_find_nothing_now),
        cmocka_unit_test(a_crash_is_shortened),
        cmocka_unit_test(every_disk_that_survives_holds_a_prefix),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
