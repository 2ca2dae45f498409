/* SPDX-License-Identifier: MIT */
/* test_interleavings.c -- writers, readers, flush, merge and checkpoint at once, in orders that a seed decides.
 *
 * Every thread of the run is a coroutine of the simulated scheduler, which switches at named points, at locks and
 * waits. Each writer's batches are numbered; batch i of writer w puts i under "w<w>" in both tables, writes keys
 * of its own and keys that all share. So a view of the store (snapshot, iterator, checkpoint, disk that survived a
 * cut) tells which batches it holds: the first V[w] of each writer. Then all else is known: the keys of a writer,
 * whether the vector is one that this moment allows (all that had returned, nothing that had not begun), whether
 * two views contradict each other, and whether a shared key shows a batch that another had followed. What is held
 * is read again while flush and merge go on, and must not change.
 *
 * The switches of each run are hashed, and the distinct ones counted; a process a core. BOLE_TEST_SEED chooses the
 * first run; BOLE_TEST_EFFORT (default 1) times 2,000 is the number of runs; 0: one. */
#include "test.h"

#include <bole/bole_vfs.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>

#include "base/assert.h"
#include "base/prng.h"
#include "engine/log_structured_store.h"
#include "platform/scheduler.h"

#if defined(BL_THREAD_SANITIZER) || defined(BL_ADDRESS_SANITIZER)
enum { RUNS = 100, RUN_SECONDS = 120 };
#else
enum { RUNS = 2000, RUN_SECONDS = 30 };
#endif
enum {
    WRITERS = 3,
    BATCHES = 6,
    READERS = 2,
    SCHEDULES = 50,
    VALUE_BYTES_MAX = 40000,
    VIEWS_MAX = 64,
    WORKERS_MAX = 8
};
enum { SHARED = 4, PRIVATE = 3 };
/* Places of keys: in each table "w0".., in the first the shared ones, in the second each writer's own. */
enum { PLACES = WRITERS + SHARED + WRITERS + WRITERS * PRIVATE, SECOND = WRITERS + SHARED };

typedef struct shown { /* what a key shows: a batch of a writer, 0 when it is absent */
    uint8_t writer, batch;
} shown;

typedef struct view {
    uint8_t holds[WRITERS]; /* batches of each writer */
    shown places[PLACES];
    uint64_t position; /* of a snapshot; 0: not known */
} view;

typedef struct change { /* of one key */
    bool writes, deletes;
    uint16_t size;
} change;

typedef struct batch {
    change places[PLACES];
    bool durable;
    uint64_t begun, returned; /* ticks; 0: not yet */
} batch;

typedef struct tally { /* shared with the parent */
    uint64_t seed, runs, distinct, views, checkpoints, cuts;
} tally;

typedef struct run {
    uint64_t seed;
    bl_prng prng; /* of the program: the same for some seeds in a row */
    bole_vfs *disk;
    bole_db *db;
    bole_table *second;
    bole_options options;
    batch batches[WRITERS][BATCHES + 1];
    uint8_t seen[WRITERS]; /* by reads that have returned */
    uint64_t tick;
    uint32_t alive; /* coroutines */
    view views[VIEWS_MAX];
    uint32_t view_count;
    bole_vfs *survived; /* of a cut on the way */
    uint8_t survived_least[WRITERS], survived_most[WRITERS];
    uint8_t copy_least[WRITERS], copy_most[WRITERS];
    bool copied;
    char why[600];
} run;

typedef struct actor {
    run *r;
    uint32_t number;
    bl_prng prng;
    bl_job_node node;
} actor;

__attribute__((format(printf, 2, 3))) static bool wrong(run *r, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    if (r->why[0] == '\0')
        vsnprintf(r->why, sizeof r->why, format, arguments);
    va_end(arguments);
    return false;
}

static void point(run *r, const char *name) { bl_point(r->db->scheduler, name); }

static bole_slice key_of(uint32_t place, char out[8])
{
    uint32_t at = place >= SECOND ? place - SECOND : place;
    if (at < WRITERS)
        return (bole_slice){ out, (size_t)snprintf(out, 8, "w%u", at) };
    at -= WRITERS;
    if (place < SECOND)
        return (bole_slice){ out, (size_t)snprintf(out, 8, "s%u", at) };
    return (bole_slice){ out, (size_t)snprintf(out, 8, "p%u.%u", at / PRIVATE, at % PRIVATE) };
}

/* ---- What must be shown --------------------------------------------------------------------------------- */

static void make_batches(run *r)
{
    for (uint32_t w = 0; w < WRITERS; w++)
        for (uint32_t i = 1; i <= BATCHES; i++) {
            batch *b = &r->batches[w][i];
            b->durable = bl_prng_below(&r->prng, 4) == 0;
            b->places[w] = b->places[SECOND + w] = (change){ .writes = true, .size = 2 };
            for (uint32_t p = 0; p < SHARED + PRIVATE; p++) {
                uint32_t place = p < SHARED ? WRITERS + p : SECOND + WRITERS + w * PRIVATE + (p - SHARED);
                uint64_t choice = bl_prng_below(&r->prng, 400);
                uint64_t size_max = choice == 0 ? VALUE_BYTES_MAX : choice < 20 ? 3000 : 400;
                b->places[place].writes = bl_prng_below(&r->prng, 2) == 0;
                b->places[place].deletes = bl_prng_below(&r->prng, 4) == 0;
                b->places[place].size = (uint16_t)(2 + bl_prng_below(&r->prng, size_max));
            }
        }
}

/* The writer of a place that no other writes to. */
static uint32_t owner_of(uint32_t place)
{
    uint32_t at = place >= SECOND ? place - SECOND : place;
    return at < WRITERS ? at : (at - WRITERS) / PRIVATE;
}

static bool is_shared(uint32_t place) { return place >= WRITERS && place < SECOND; }

/* Batches that have returned, or that have begun, by now. */
static void bounds(const run *r, uint8_t least[WRITERS], uint8_t most[WRITERS])
{
    for (uint32_t w = 0; w < WRITERS; w++) {
        least[w] = r->seen[w];
        most[w] = 0;
        for (uint8_t i = 1; i <= BATCHES; i++) {
            if (r->batches[w][i].returned != 0 && i > least[w])
                least[w] = i;
            if (r->batches[w][i].begun != 0)
                most[w] = i;
        }
    }
}

/* A shared key shows `s`, or is absent: then it may be any batch that deleted it, or none. Does one fit? */
static bool may_be_last(const run *r, const view *v, uint32_t place, uint32_t writer, uint32_t number)
{
    const batch *last = &r->batches[writer][number];
    if (!last->places[place].writes || number > v->holds[writer])
        return false;
    for (uint32_t w = 0; w < WRITERS; w++)
        for (uint32_t i = 1; i <= v->holds[w]; i++) {
            const batch *other = &r->batches[w][i];
            bool follows = w == writer ? i > number : last->returned != 0 && other->begun > last->returned;
            if (other->places[place].writes && follows)
                return false;
        }
    return true;
}

static bool fits_shared(const run *r, const view *v, uint32_t place)
{
    bool written = false;
    if (v->places[place].batch != 0)
        return !r->batches[v->places[place].writer][v->places[place].batch].places[place].deletes &&
               may_be_last(r, v, place, v->places[place].writer, v->places[place].batch);
    for (uint32_t w = 0; w < WRITERS; w++)
        for (uint32_t i = 1; i <= v->holds[w]; i++) {
            const change *one = &r->batches[w][i].places[place];
            written = written || one->writes;
            if (one->writes && one->deletes && may_be_last(r, v, place, w, i))
                return true;
        }
    return !written;
}

static uint32_t expected_own(const run *r, const view *v, uint32_t place)
{
    uint32_t w = owner_of(place);
    for (uint32_t i = v->holds[w]; i > 0; i--)
        if (r->batches[w][i].places[place].writes)
            return r->batches[w][i].places[place].deletes ? 0 : i;
    return 0;
}

static bool at_most(const view *a, const view *b)
{
    for (uint32_t w = 0; w < WRITERS; w++)
        if (a->holds[w] > b->holds[w])
            return false;
    return true;
}

/* A whole view: is it one of a moment between the two bounds, and can it be together with all others? */
static bool check_view(run *r, const view *v, const uint8_t least[WRITERS], const uint8_t most[WRITERS],
                       const char *what)
{
    for (uint32_t w = 0; w < WRITERS; w++)
        if (v->holds[w] < least[w] || v->holds[w] > most[w])
            return wrong(r, "%s holds %u batches of writer %u, but %u to %u must be there", what, v->holds[w],
                         w, least[w], most[w]);
    for (uint32_t place = 0; place < PLACES; place++) {
        char text[8];
        if (is_shared(place) ? fits_shared(r, v, place) : v->places[place].batch == expected_own(r, v, place))
            continue;
        (void)key_of(place, text);
        return wrong(r, "%s (%u,%u,%u): %s of table %d shows batch %u of writer %u", what, v->holds[0],
                     v->holds[1], v->holds[2], text, place >= SECOND, v->places[place].batch,
                     v->places[place].writer);
    }
    for (uint32_t i = 0; i < r->view_count; i++) {
        const view *other = &r->views[i];
        bool before = at_most(v, other), behind = at_most(other, v);
        if (!before && !behind)
            return wrong(r, "%s and an earlier view hold batches that exclude each other", what);
        if (v->position != 0 && other->position != 0 &&
            ((v->position <= other->position && !before) || (v->position >= other->position && !behind)))
            return wrong(r, "%s is before another snapshot and holds more", what);
    }
    if (r->view_count < VIEWS_MAX)
        r->views[r->view_count++] = *v;
    return true;
}

static void note_seen(run *r, const view *v)
{
    for (uint32_t w = 0; w < WRITERS; w++)
        r->seen[w] = v->holds[w] > r->seen[w] ? v->holds[w] : r->seen[w];
}

/* ---- Reading -------------------------------------------------------------------------------------------- */

static bool decode(run *r, uint32_t place, bole_slice value, shown *out)
{
    const uint8_t *bytes = value.data;
    char text[8];
    (void)key_of(place, text);
    if (value.size < 2 || bytes[0] >= WRITERS || bytes[1] == 0 || bytes[1] > BATCHES)
        return wrong(r, "%s has a value that nobody wrote", text);
    *out = (shown){ bytes[0], bytes[1] };
    const change *one = &r->batches[out->writer][out->batch].places[place];
    bool good = one->writes && !one->deletes && one->size == value.size;
    for (size_t i = 2; i < value.size && good; i++)
        good = bytes[i] == (uint8_t)(bytes[0] * 16 + bytes[1]);
    return good || wrong(r, "%s has a value that its batch did not write", text);
}

static bool is_key(uint32_t place, bole_slice key)
{
    char text[8];
    bole_slice expected = key_of(place, text);
    return key.size == expected.size && memcmp(key.data, expected.data, key.size) == 0;
}

static bool read_scan(run *r, bole_iterator *iterator, uint32_t first, uint32_t behind, bool backward,
                      view *v)
{
    char last[8] = "";
    bool on = backward ? bole_iterator_seek_last(iterator) : bole_iterator_seek_first(iterator);
    for (; on; on = backward ? bole_iterator_prev(iterator) : bole_iterator_next(iterator)) {
        bole_slice key = bole_iterator_key(iterator);
        uint32_t place = first;
        while (place < behind && !is_key(place, key))
            place++;
        if (place == behind || key.size >= sizeof last)
            return wrong(r, "a scan shows a key that nobody wrote");
        char text[8] = "";
        memcpy(text, key.data, key.size);
        if (last[0] != 0 && (strcmp(text, last) > 0) == backward)
            return wrong(r, "a scan shows %s behind %s", text, last);
        memcpy(last, text, sizeof last);
        if (!decode(r, place, bole_iterator_value(iterator), &v->places[place]))
            return false;
        point(r, "scan goes on");
    }
    return bole_iterator_status(iterator) == BOLE_OK ||
           wrong(r, "a scan ends with %s", bole_status_name(bole_iterator_status(iterator)));
}

static bool read_gets(run *r, bole_db *db, const bole_snapshot *snapshot, bole_table *second, view *v)
{
    bole_buffer value = BOLE_BUFFER_INIT;
    bool good = true;
    for (uint32_t place = 0; place < PLACES && good; place++) {
        bole_read_options options = BOLE_READ_OPTIONS_INIT;
        char text[8];
        options.snapshot = snapshot;
        options.table = place < SECOND ? NULL : second;
        bole_status status = bole_get(db, &options, key_of(place, text), &value);
        v->places[place] = (shown){ 0, 0 };
        if (status == BOLE_OK)
            good = decode(r, place, BOLE_SLICE(value.data, value.size), &v->places[place]);
        else if (status != BOLE_NOT_FOUND)
            good = wrong(r, "a get of %s gives %s", text, bole_status_name(status));
        if (db == r->db)
            point(r, "get done");
    }
    bole_buffer_free(&value);
    return good;
}

static bool scan_both(run *r, bole_db *db, const bole_snapshot *snapshot, bole_table *second, bool backward,
                      view *v)
{
    memset(v->places, 0, sizeof v->places);
    bool good = true;
    for (uint32_t table = 0; table < 2 && good; table++) {
        bole_read_options options = BOLE_READ_OPTIONS_INIT;
        bole_iterator *iterator;
        options.snapshot = snapshot;
        options.table = table == 0 ? NULL : second;
        if (bole_iterator_create(db, &options, &iterator) != BOLE_OK)
            return wrong(r, "no iterator");
        good = read_scan(r, iterator, table == 0 ? 0 : SECOND, table == 0 ? SECOND : PLACES, backward, v);
        bole_iterator_destroy(iterator);
    }
    return good;
}

static void find_holds(view *v)
{
    for (uint32_t w = 0; w < WRITERS; w++)
        v->holds[w] = v->places[w].batch;
}

/* ---- Those who act -------------------------------------------------------------------------------------- */

static void write_one(run *r, uint32_t w, uint32_t i)
{
    static uint8_t bytes[VALUE_BYTES_MAX + 2];
    batch *b = &r->batches[w][i];
    bole_batch *made;
    bole_error error = BOLE_ERROR_INIT;
    bole_write_options options = BOLE_WRITE_OPTIONS_INIT;
    bl_assert(bole_batch_create(&made) == BOLE_OK);
    for (uint32_t place = 0; place < PLACES; place++) {
        const change *one = &b->places[place];
        bole_table *table = place < SECOND ? NULL : r->second;
        char text[8];
        bole_slice key = key_of(place, text);
        if (!one->writes)
            continue;
        memset(bytes, (int)(w * 16 + i), one->size);
        bytes[0] = (uint8_t)w;
        bytes[1] = (uint8_t)i;
        bole_status status = one->deletes ? bole_batch_delete(made, table, key)
                                          : bole_batch_put(made, table, key, BOLE_SLICE(bytes, one->size));
        bl_assert(status == BOLE_OK);
    }
    options.durability = b->durable ? BOLE_DURABILITY_POWER : BOLE_DURABILITY_PROCESS;
    options.error = &error;
    b->begun = ++r->tick;
    bole_status status = bole_write(r->db, &options, made);
    b->returned = ++r->tick;
    bole_batch_destroy(made);
    if (status != BOLE_OK)
        wrong(r, "a write gives %s: %s", bole_status_name(status), error.message);
}

static void writer(void *context)
{
    actor *a = context;
    for (uint32_t i = 1; i <= BATCHES && a->r->why[0] == '\0'; i++) {
        write_one(a->r, a->number, i);
        point(a->r, "batch written");
    }
    a->r->alive--;
}

/* A snapshot is read, held, and read again in other ways. */
static void hold_snapshot(actor *a)
{
    run *r = a->r;
    view v = { 0 }, again;
    uint8_t least[WRITERS], most[WRITERS], unused[WRITERS];
    bole_snapshot *snapshot;
    bole_error error = BOLE_ERROR_INIT;
    bounds(r, least, unused);
    if (bole_snapshot_create(r->db, &snapshot, &error) != BOLE_OK) {
        wrong(r, "no snapshot: %s", error.message);
        return;
    }
    bounds(r, unused, most);
    v.position = bole_snapshot_sequence(snapshot);
    bool good = scan_both(r, r->db, snapshot, r->second, false, &v);
    find_holds(&v);
    good = good && check_view(r, &v, least, most, "a snapshot");
    if (good)
        note_seen(r, &v);
    for (uint64_t rounds = 1 + bl_prng_below(&a->prng, 3); rounds > 0 && good; rounds--) {
        bl_yield(r->db->scheduler);
        good = rounds % 2 != 0 ? read_gets(r, r->db, snapshot, r->second, &again)
                               : scan_both(r, r->db, snapshot, r->second, true, &again);
        if (good && memcmp(again.places, v.places, sizeof v.places) != 0)
            good = wrong(r, "a snapshot that is held shows something else");
    }
    bole_snapshot_destroy(snapshot);
}

/* The second table has what only one writer writes, so an iterator over it alone says what it holds. */
static void hold_iterator(actor *a)
{
    run *r = a->r;
    view v = { 0 }, again = { 0 };
    uint8_t least[WRITERS], most[WRITERS], unused[WRITERS];
    bole_read_options options = BOLE_READ_OPTIONS_INIT;
    bole_iterator *iterator;
    options.table = r->second;
    bounds(r, least, unused);
    if (bole_iterator_create(r->db, &options, &iterator) != BOLE_OK) {
        wrong(r, "no iterator");
        return;
    }
    bounds(r, unused, most);
    bool good = read_scan(r, iterator, SECOND, PLACES, false, &v);
    for (uint32_t w = 0; w < WRITERS; w++) {
        v.holds[w] = v.places[SECOND + w].batch;
        good = good && ((v.holds[w] >= least[w] && v.holds[w] <= most[w]) ||
                        wrong(r, "an iterator holds %u batches of writer %u, not %u to %u", v.holds[w], w,
                              least[w], most[w]));
    }
    for (uint32_t place = SECOND; place < PLACES && good; place++)
        if (v.places[place].batch != expected_own(r, &v, place))
            good = wrong(r, "an iterator shows batch %u at place %u", v.places[place].batch, place);
    if (good)
        note_seen(r, &v);
    bl_yield(r->db->scheduler);
    if (good && read_scan(r, iterator, SECOND, PLACES, bl_prng_below(&a->prng, 2) == 0, &again) &&
        memcmp(again.places, v.places, sizeof v.places) != 0)
        wrong(r, "an iterator that is held shows something else");
    bole_iterator_destroy(iterator);
}

static void get_one(actor *a)
{
    run *r = a->r;
    uint32_t w = (uint32_t)bl_prng_below(&a->prng, WRITERS), place = bl_prng_below(&a->prng, 2) * SECOND + w;
    uint8_t least[WRITERS], most[WRITERS], unused[WRITERS];
    bole_read_options options = BOLE_READ_OPTIONS_INIT;
    bole_buffer value = BOLE_BUFFER_INIT;
    char text[8];
    shown s = { 0, 0 };
    options.table = place < SECOND ? NULL : r->second;
    bounds(r, least, unused);
    bole_status status = bole_get(r->db, &options, key_of(place, text), &value);
    bounds(r, unused, most);
    if (status == BOLE_OK)
        decode(r, place, BOLE_SLICE(value.data, value.size), &s);
    else if (status != BOLE_NOT_FOUND)
        wrong(r, "a get gives %s", bole_status_name(status));
    if (r->why[0] == '\0' && (s.batch < least[w] || s.batch > most[w]))
        wrong(r, "a get shows batch %u of writer %u, not %u to %u", s.batch, w, least[w], most[w]);
    else if (s.batch > r->seen[w])
        r->seen[w] = s.batch;
    bole_buffer_free(&value);
}

static void reader(void *context)
{
    actor *a = context;
    for (uint32_t i = 0; i < 4 && a->r->why[0] == '\0'; i++) {
        switch (bl_prng_below(&a->prng, 4)) {
        case 0: hold_snapshot(a); break;
        case 1:
        case 2: hold_iterator(a); break;
        default: get_one(a); break;
        }
        point(a->r, "read done");
    }
    a->r->alive--;
}

/* A disk that could survive now: all durable batches are on it. */
static void cut_power(run *r, bl_prng *prng)
{
    if (r->survived != NULL)
        return;
    uint8_t unused[WRITERS];
    bounds(r, unused, r->survived_most);
    for (uint32_t w = 0; w < WRITERS; w++)
        for (uint8_t i = 1; i <= BATCHES; i++)
            if (r->batches[w][i].returned != 0 && r->batches[w][i].durable)
                r->survived_least[w] = i;
    bl_assert(bole_vfs_memory_crash(r->disk, (bole_crash_mode)(bl_prng_below(prng, 2) * 3),
                                    bl_prng_next(prng), &r->survived) == BOLE_OK);
}

static void maintainer(void *context)
{
    static const bole_slice open_end = { NULL, 0 };
    actor *a = context;
    run *r = a->r;
    uint8_t unused[WRITERS];
    for (uint32_t i = 0; i < 4 && r->why[0] == '\0'; i++) {
        bole_error error = BOLE_ERROR_INIT;
        bole_status status = BOLE_OK;
        switch (bl_prng_below(&a->prng, 7)) {
        case 0:
        case 1: status = bole_flush(r->db, &error); break;
        case 2: status = bole_compact(r->db, NULL, open_end, open_end, &error); break;
        case 3: status = bole_compact(r->db, r->second, open_end, open_end, &error); break;
        case 4: status = bole_sync(r->db, &error); break;
        case 5: cut_power(r, &a->prng); break;
        default:
            if (r->copied)
                break;
            bounds(r, r->copy_least, unused);
            status = bole_checkpoint(r->db, "copy", &error);
            bounds(r, unused, r->copy_most);
            r->copied = true;
        }
        if (status != BOLE_OK)
            wrong(r, "maintenance gives %s: %s", bole_status_name(status), error.message);
        point(r, "maintained");
    }
    r->alive--;
}

/* ---- A run ---------------------------------------------------------------------------------------------- */

static void check_copy(run *r, const char *path, bole_vfs *vfs, const uint8_t least[WRITERS],
                       const uint8_t most[WRITERS], const char *what)
{
    view v = { 0 };
    bole_options options = r->options;
    bole_error error = BOLE_ERROR_INIT;
    bole_db *db;
    bole_table *second;
    options.vfs = vfs;
    options.flags &= ~(uint32_t)BOLE_CREATE;
    bole_db *live = r->db;
    if (bole_open(path, &options, &db, &error) != BOLE_OK) {
        wrong(r, "%s does not open: %s", what, error.message);
        return;
    }
    r->db = NULL;
    if (bole_table_open(db, "second", &second, &error) != BOLE_OK) {
        wrong(r, "%s has no second table: %s", what, error.message);
        return;
    }
    if (read_gets(r, db, NULL, second, &v)) {
        find_holds(&v);
        check_view(r, &v, least, most, what);
    }
    bole_table_close(second);
    r->db = live;
    if (bole_close(db, &error) != BOLE_OK)
        wrong(r, "%s does not close: %s", what, error.message);
}

static void start(run *r, actor *a, bl_job job, uint32_t number)
{
    *a = (actor){ .r = r, .number = number };
    bl_prng_init(&a->prng, bl_prng_next(&r->prng));
    a->node = (bl_job_node){ .run = job, .context = a };
    r->alive++;
    bl_scheduler_submit(r->db->scheduler, BL_PRIORITY_HIGH, &a->node);
}

/* The hash of its switches; r->why says what was wrong. */
static uint64_t run_one(run *r, uint64_t seed, tally *t)
{
    memset(r, 0, sizeof *r);
    r->seed = seed;
    bl_prng_init(&r->prng, seed / SCHEDULES);
    actor actors[WRITERS + READERS + 1];
    bole_error error = BOLE_ERROR_INIT;
    make_batches(r);
    assert_ok(bole_vfs_memory_create(seed, &r->disk), NULL);
    r->options = BOLE_OPTIONS_INIT;
    r->options.flags = BOLE_CREATE | (bl_prng_below(&r->prng, 3) == 0 ? BOLE_NO_SIGBUS_HANDLER : 0);
    r->options.vfs = r->disk;
    r->options.simulation_seed = 1 + seed;
    r->options.memory_limit = 16 << 20;
    r->options.memtable_bytes = 4096u << bl_prng_below(&r->prng, 2);
    r->options.segment_bytes = 8192;
    r->options.block_bytes = 1024;
    r->options.level0_runs = 1 + (uint32_t)bl_prng_below(&r->prng, 2);
    r->options.log_level = BOLE_LOG_ERROR;
    assert_ok(bole_open("store", &r->options, &r->db, &error), &error);
    assert_ok(bole_table_create(r->db, "second", NULL, &r->second, &error), &error);
    for (uint32_t i = 0; i < WRITERS; i++)
        start(r, &actors[i], writer, i);
    for (uint32_t i = 0; i < READERS; i++)
        start(r, &actors[WRITERS + i], reader, i);
    start(r, &actors[WRITERS + READERS], maintainer, 0);
    while (r->alive != 0)
        bl_sleep(r->db->scheduler, 1000000);
    uint64_t path = bl_scheduler_simulation_path(r->db->scheduler);
    bole_table_close(r->second);
    if (r->why[0] == '\0' && bole_close(r->db, &error) != BOLE_OK)
        wrong(r, "close fails: %s", error.message);
    if (r->why[0] != '\0')
        return path;
    uint8_t least[WRITERS], most[WRITERS];
    bounds(r, least, most);
    check_copy(r, "store", r->disk, least, most, "the store that was closed");
    t->views += r->view_count;
    t->checkpoints += r->copied;
    t->cuts += r->survived != NULL;
    if (r->copied)
        check_copy(r, "copy", r->disk, r->copy_least, r->copy_most, "a checkpoint");
    if (r->survived != NULL) {
        check_copy(r, "store", r->survived, r->survived_least, r->survived_most, "a disk that survived");
        bole_vfs_destroy(r->survived);
    }
    bole_vfs_destroy(r->disk);
    return path;
}

/* ---- Many runs ------------------------------------------------------------------------------------------ */

typedef struct paths { /* a set */
    uint64_t *slots;
    uint64_t mask;
} paths;

static bool is_new(paths *set, uint64_t path)
{
    path += path == 0;
    uint64_t at = (path ^ path >> 32) & set->mask;
    while (set->slots[at] != 0 && set->slots[at] != path)
        at = (at + 1) & set->mask;
    bool fresh = set->slots[at] == 0;
    set->slots[at] = path;
    return fresh;
}

/* The programs of one worker of several: each `workers`th. */
static void run_share(uint64_t first, uint64_t runs, uint32_t worker, uint32_t workers, tally *t)
{
    run *r = malloc(sizeof *r);
    paths set = { .mask = 1023 };
    while (set.mask < runs * 4)
        set.mask = set.mask * 2 + 1;
    set.slots = calloc(set.mask + 1, sizeof *set.slots);
    assert_non_null(r);
    assert_non_null(set.slots);
    for (uint64_t seed = first; seed < first + runs; seed++) {
        if (seed / SCHEDULES % workers != worker)
            continue;
        t->seed = seed;
        alarm(RUN_SECONDS);
        uint64_t path = run_one(r, seed, t);
        if (t->runs == 0 && r->why[0] == '\0' && run_one(r, seed, t) != path && r->why[0] == '\0')
            wrong(r, "the same seed gives another order");
        if (r->why[0] != '\0') {
            print_error("seed %" PRIu64 ": %s\n", seed, r->why);
            fflush(NULL);
            _exit(1);
        }
        t->runs++;
        t->distinct += is_new(&set, path ^ seed / SCHEDULES * UINT64_C(0x9e3779b97f4a7c15));
    }
    free(set.slots);
    free(r);
}

static uint32_t start_workers(uint64_t first, uint64_t runs, pid_t children[WORKERS_MAX], tally *tallies)
{
    long cores = sysconf(_SC_NPROCESSORS_ONLN);
    uint32_t workers = cores < 1 || runs < RUNS ? 1 : cores > WORKERS_MAX ? WORKERS_MAX : (uint32_t)cores;
    fflush(NULL);
    for (uint32_t i = 0; i < workers; i++) {
        children[i] = fork();
        assert_true(children[i] >= 0);
        if (children[i] != 0)
            continue;
        run_share(first, runs, i, workers, &tallies[i]);
        fflush(NULL);
        _exit(0);
    }
    return workers;
}

/* Goal: STORE-4, GROUP-1..3, ROT-*, BACK-*, SCAN-*: in whatever order threads run. */
static void every_order_shows_one_history(void **state)
{
    (void)state;
    const char *text = getenv("BOLE_TEST_EFFORT");
    uint64_t effort = text != NULL ? strtoull(text, NULL, 10) : 1, first = test_seed(1);
    tally *tallies = mmap(NULL, WORKERS_MAX * sizeof *tallies, PROT_READ | PROT_WRITE,
                          MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    assert_ptr_not_equal(tallies, MAP_FAILED);
    pid_t children[WORKERS_MAX];
    uint32_t workers = start_workers(first, effort == 0 ? 1 : effort * RUNS, children, tallies), failed = 0;
    tally sum = { 0 };
    for (uint32_t i = 0; i < workers; i++) {
        const tally *t = &tallies[i];
        int how = 0;
        assert_int_equal(waitpid(children[i], &how, 0), children[i]);
        if (WIFSIGNALED(how))
            print_error("seed %" PRIu64 ": the process ended with signal %d (%s)\n", t->seed, WTERMSIG(how),
                        strsignal(WTERMSIG(how)));
        if (!WIFEXITED(how) || WEXITSTATUS(how) != 0) {
            print_error("again: BOLE_TEST_SEED=%" PRIu64 " BOLE_TEST_EFFORT=0 test_interleavings\n", t->seed);
            failed++;
        }
        sum.runs += t->runs;
        sum.distinct += t->distinct;
        sum.views += t->views;
        sum.checkpoints += t->checkpoints;
        sum.cuts += t->cuts;
    }
    munmap(tallies, WORKERS_MAX * sizeof *tallies);
    assert_int_equal(failed, 0);
    print_message("%" PRIu64 " runs, %" PRIu64 " distinct orders; %" PRIu64 " views, %" PRIu64
                  " checkpoints and %" PRIu64 " cut disks agree with one history\n",
                  sum.runs, sum.distinct, sum.views, sum.checkpoints, sum.cuts);
    assert_true(sum.distinct > sum.runs / 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_order_shows_one_history),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
