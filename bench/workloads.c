/* SPDX-License-Identifier: MIT */
/* workloads.c -- what is done to an engine, row by row, and what is measured meanwhile.
 *
 * Rows stand in the order in which they run; each is a function of the run. Some make a small store of their own, the
 * others share one of three that are filled once: the main one, and those of YCSB with rows of 1000 and of 100 bytes.
 * Every value that is read is checked, every scan counted. Burst is the time of the calls; sustained adds what the
 * engine left to be done behind them. A row that takes longer than the plan allows ends early and says so.
 * THREADS  Rows that say so use several; each has its own random numbers. */
#include "bench.h"
#include "measure.h"

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

/* ---- Stores ---- */

typedef enum which { OWN, MAIN, ROWS_1000, ROWS_100, STORES } which;
static const char *const store_names[STORES] = { "own", "main", "rows1000", "rows100" };

typedef struct place {
    bole_key_value_store *store; /* NULL: closed */
    char path[1024];
    size_t value_bytes;
    uint64_t count;      /* of keys, when it is filled */
    uint64_t inserted;   /* with those that rows added */
    uint64_t deleted;    /* from the first in shuffled order */
    uint64_t step;       /* of that order */
    uint32_t generation; /* of its newest values */
    bool filled, tried;
} place;

typedef struct mix { /* of YCSB, in percent */
    unsigned reads, updates, inserts, scans, modifies;
    bool latest; /* the newest rows are the hot ones */
} mix;

typedef struct run run;

typedef struct bench_row {
    const char *name;
    bool (*work)(run *self);
    which store; /* that it works on */
    mix what;    /* of YCSB */
    bool limited;
} bench_row;

struct run {
    const bench_plan *plan;
    bool checks; /* the null engine has nothing to check */
    place kept[STORES];
    void (*told)(void *context, const bench_result *result);
    void *context;
    double begin; /* of the whole */
    uint64_t dice_rolled;
    /* of the present row */
    const bench_row *row;
    place *at; /* NULL: it makes its own store */
    bench_result result;
    bench_latencies latency;
    double row_begin, row_end, cpu_begin;
    uint64_t read_begin, written_begin, flushes_begin;
};

void bench_say(const char *engine, const char *what, const char *why)
{
    fprintf(stderr, "bench: %s: %s: %s\n", engine, what, why);
}

static uint64_t entry_bytes(const bench_plan *plan, size_t value_bytes)
{
    return bench_key_bytes(plan->keyset, plan->entries) + value_bytes;
}

static void describe(const bench_plan *plan, which store, place *out)
{
    *out = (place){ .value_bytes = store == ROWS_1000  ? 1000
                                   : store == ROWS_100 ? 100
                                                       : plan->value_bytes,
                    .count = store == ROWS_1000  ? plan->entries / 4
                             : store == ROWS_100 ? plan->entries / 2 * 5
                                                 : plan->entries };
    out->inserted = out->count;
    out->step = bench_shuffle_step(out->count);
    snprintf(out->path, sizeof out->path, "%s/%s", plan->path, store_names[store]);
}

static bool open_place(const run *self, place *at, bool durable)
{
    bench_settings settings = self->plan->settings;
    settings.durable = durable;
    settings.data_bytes = at->count * entry_bytes(self->plan, at->value_bytes);
    at->store = self->plan->engine->open(at->path, &settings);
    return at->store != NULL;
}

static bool close_place(place *at)
{
    bool good = at->store == NULL || at->store->methods->close(at->store, NULL) == BOLE_OK;
    at->store = NULL;
    return good;
}

static bool open_own(const run *self, place *out, uint64_t count, size_t value_bytes, bool durable)
{
    describe(self->plan, OWN, out);
    out->count = out->inserted = count;
    out->step = bench_shuffle_step(count);
    out->value_bytes = value_bytes;
    return open_place(self, out, durable);
}

static bool end_own(place *at)
{
    bool good = close_place(at);
    return bench_remove_directory(at->path) && good;
}

/* ---- Measuring a row ---- */

static void begin_row(run *self)
{
    memset(&self->latency, 0, sizeof self->latency);
    self->read_begin = bench_proc("/proc/self/io", "read_bytes:");
    self->written_begin = bench_proc("/proc/self/io", "write_bytes:");
    self->flushes_begin = bench_device_flushes();
    self->cpu_begin = bench_cpu_seconds();
    self->row_begin = bench_seconds();
    self->row_end = self->row_begin + self->plan->row_seconds;
}

/* Go on with operation `i` of `count`? Looks at the clock once in 64 of them. */
static bool more(run *self, uint64_t i, uint64_t count)
{
    if (i >= count || ((i & 63) == 0 && bench_seconds() > self->row_end))
        return false;
    return true;
}

/* The calls have returned: `done` operations of `count`. */
static void end_calls(run *self, uint64_t done, uint64_t count)
{
    bench_result *result = &self->result;
    result->operations = done;
    result->kind = done < count ? BENCH_CUT : BENCH_MEASURED;
    result->burst_per_second = (double)done / (bench_seconds() - self->row_begin);
    result->per_second = result->burst_per_second;
    result->sustained_per_second = 0;
    result->p50_us = bench_latency_at(&self->latency, 0.5);
    result->p90_us = bench_latency_at(&self->latency, 0.9);
    result->p99_us = bench_latency_at(&self->latency, 0.99);
    result->p999_us = bench_latency_at(&self->latency, 0.999);
    result->p9999_us = bench_latency_at(&self->latency, 0.9999);
    result->max_us = (double)self->latency.most / 1e3;
}

static void end_row(run *self)
{
    self->result.cpu_seconds = bench_cpu_seconds() - self->cpu_begin;
    self->result.read_bytes = bench_proc("/proc/self/io", "read_bytes:") - self->read_begin;
    self->result.written_bytes = bench_proc("/proc/self/io", "write_bytes:") - self->written_begin;
    self->result.device_flushes = bench_device_flushes() - self->flushes_begin;
    self->result.resident_bytes = bench_proc("/proc/self/status", "VmRSS:") * 1024;
}

/* What the calls left to be done counts, too. */
static bool end_settled(run *self, const place *at)
{
    if (at->store->methods->settle(at->store, NULL) != BOLE_OK)
        return false;
    self->result.sustained_per_second = (double)self->result.operations / (bench_seconds() - self->row_begin);
    end_row(self);
    self->result.store_bytes = bench_directory_bytes(at->path);
    return true;
}

/* The end of a row that writes: what it can sustain is its figure. */
static bool end_writing(run *self, const place *at, uint64_t done, uint64_t count, uint64_t user_bytes)
{
    end_calls(self, done, count);
    self->result.user_bytes = user_bytes;
    bool good = end_settled(self, at);
    self->result.per_second = self->result.sustained_per_second;
    return good;
}

/* ---- One operation ---- */

typedef struct asked {
    const run *run;
    const place *at;
    uint64_t number;
    bool right;
} asked;

static void check(void *context, bole_slice value)
{
    asked *what = context;
    what->right = !what->run->checks || bench_value_is_right(what->number, what->at->generation, value);
}

static bool wrong(const run *self, const char *what, uint64_t number)
{
    fprintf(stderr, "bench: %s: %s of key %llu is wrong\n", self->plan->engine->name, what,
            (unsigned long long)number);
    return false;
}

/* Numbers of keys, drawn or all in a mixed order. Those of paths are known some operations ahead, and their text is
 * asked for: a random line of a table of paths takes longer to come than some engines take for an operation. */
enum { AHEAD = 8 };
typedef struct numbers {
    const run *run;
    bench_dice dice;
    uint64_t step, bound; /* step 0: drawn below bound */
    uint64_t drawn, taken, next[AHEAD];
} numbers;

static uint64_t draw(numbers *self)
{
    uint64_t i = self->drawn++;
    return self->step == 0 ? bench_below(&self->dice, self->bound)
                           : bench_shuffled(i, self->step, self->bound);
}

static uint64_t next_number(numbers *self)
{
    if (self->run->plan->keyset != BENCH_PATHS)
        return draw(self);
    while (self->drawn < self->taken + AHEAD) {
        uint64_t *last = &self->next[self->drawn % AHEAD];
        *last = draw(self); /* with a step: beyond the end at last, which no one takes */
        bench_key_ask(*last, false);
    }
    bench_key_ask(self->next[(self->taken + AHEAD / 2) % AHEAD], true);
    return self->next[self->taken++ % AHEAD];
}

static bool put_one(const run *self, const place *at, uint64_t number, bool durable)
{
    char key[BENCH_KEY_BYTES_MAX], value[128 * 1024];
    size_t key_bytes = bench_key(self->plan->keyset, number, key);
    bench_value(number, at->generation, value, at->value_bytes);
    return at->store->methods->put(at->store, (bole_slice){ key, key_bytes },
                                   (bole_slice){ value, at->value_bytes }, durable, NULL) == BOLE_OK;
}

static bool get_one(const run *self, const place *at, uint64_t number)
{
    char key[BENCH_KEY_BYTES_MAX];
    size_t key_bytes = bench_key(self->plan->keyset, number, key);
    asked what = { self, at, number, false };
    bole_status status = at->store->methods->get(at->store, (bole_slice){ key, key_bytes }, check, &what,
                                                 NULL);
    return (status == BOLE_OK && what.right) || wrong(self, "the value", number);
}

static bool entry_is_right(const run *self, const place *at, const bole_key_value_cursor *cursor)
{
    uint64_t number;
    if (!self->checks)
        return true;
    if (cursor->value.size < sizeof number)
        return false;
    memcpy(&number, cursor->value.data, sizeof number);
    return bench_value_is_right(number, at->generation, cursor->value);
}

/* ---- Rows that fill ---- */

/* All keys once; of `sample` operations one is timed. Returns how many were put; `good` is false after a failure. */
static uint64_t fill(run *self, const place *at, bool in_order, uint64_t sample, bool *good)
{
    uint64_t i = 0;
    numbers mixed = { .run = self, .step = at->step, .bound = at->count };
    *good = true;
    for (; more(self, i, at->count); i++) {
        bool timed = i % sample == 0;
        uint64_t before = timed ? bench_ns() : 0;
        *good = put_one(self, at, in_order ? i : next_number(&mixed), false);
        if (!*good)
            break;
        if (timed)
            bench_latency_add(&self->latency, bench_ns() - before);
    }
    return i;
}

/* The sample is small enough for p99.99, and large enough to cost nothing beside a put. */
enum { SAMPLE = 16 };

static bool row_fillseq(run *self)
{
    place own;
    if (!open_own(self, &own, self->plan->entries, self->plan->value_bytes, false))
        return false;
    bool good;
    begin_row(self);
    uint64_t done = fill(self, &own, true, SAMPLE, &good);
    good = good && end_writing(self, &own, done, own.count, done * entry_bytes(self->plan, own.value_bytes));
    return end_own(&own) && good;
}

/* Makes the main store. */
static bool row_fillrandom(run *self)
{
    place *at = &self->kept[MAIN];
    at->tried = true;
    if (!open_place(self, at, false))
        return false;
    bool good;
    begin_row(self);
    uint64_t done = fill(self, at, false, SAMPLE, &good);
    good = good && end_writing(self, at, done, at->count, done * entry_bytes(self->plan, at->value_bytes));
    at->filled = good && done == at->count;
    return good;
}

static bool row_overwrite(run *self)
{
    place *at = self->at;
    bool good;
    at->generation++;
    begin_row(self);
    uint64_t done = fill(self, at, false, 1, &good);
    return good && end_writing(self, at, done, at->count, done * entry_bytes(self->plan, at->value_bytes));
}

static bool row_fillbatch(run *self)
{
    enum { BATCH = 1000 };
    size_t value_bytes = self->plan->value_bytes;
    uint64_t count = self->plan->entries / BATCH * BATCH, i = 0;
    place own;
    if (!open_own(self, &own, count, value_bytes, false))
        return false;
    bole_key_value_operation *operations = calloc(BATCH, sizeof *operations);
    char *keys = malloc((size_t)BATCH * BENCH_KEY_BYTES_MAX), *values = malloc(BATCH * value_bytes);
    bool good = operations != NULL && keys != NULL && values != NULL;
    begin_row(self);
    for (; good && i < count && bench_seconds() < self->row_end; i += BATCH) {
        for (uint64_t j = 0; j < BATCH; j++) {
            uint64_t number = bench_shuffled(i + j, own.step, count);
            char *key = keys + j * BENCH_KEY_BYTES_MAX, *value = values + j * value_bytes;
            operations[j].key = (bole_slice){ key, bench_key(self->plan->keyset, number, key) };
            operations[j].value = (bole_slice){ value, value_bytes };
            bench_value(number, 0, value, value_bytes);
        }
        uint64_t before = bench_ns();
        good = own.store->methods->write(own.store, operations, BATCH, false, NULL) == BOLE_OK;
        bench_latency_add(&self->latency, bench_ns() - before);
    }
    good = good && end_writing(self, &own, i, count, i * entry_bytes(self->plan, value_bytes));
    free(operations);
    free(keys);
    free(values);
    return end_own(&own) && good;
}

/* ---- Several threads ---- */

typedef struct worker {
    run *run;
    const place *at;
    uint64_t first, count, step, done;
    bool durable, good;
    bench_latencies latency;
    pthread_t thread;
} worker;

static void *put_share(void *context)
{
    worker *self = context;
    uint64_t total = self->count * self->step;
    self->good = true;
    for (; more(self->run, self->done, self->count) && self->good; self->done++) {
        bool timed = self->durable || self->done % SAMPLE == 0;
        uint64_t before = timed ? bench_ns() : 0;
        self->good = put_one(self->run, self->at,
                             bench_shuffled(self->done * self->step + self->first, self->at->step, total),
                             self->durable);
        if (timed)
            bench_latency_add(&self->latency, bench_ns() - before);
    }
    return NULL;
}

static bool fill_threads(run *self, unsigned threads, uint64_t count, bool durable)
{
    place own;
    count = count / threads * threads;
    if (!open_own(self, &own, count, self->plan->value_bytes, durable))
        return false;
    worker *workers = calloc(threads, sizeof *workers);
    bool good = workers != NULL;
    unsigned begun = 0;
    uint64_t done = 0;
    begin_row(self);
    for (; good && begun < threads; begun += good) {
        workers[begun] = (worker){ .run = self,
                                   .at = &own,
                                   .first = begun,
                                   .count = count / threads,
                                   .step = threads,
                                   .durable = durable };
        good = pthread_create(&workers[begun].thread, NULL, put_share, &workers[begun]) == 0;
    }
    for (unsigned i = 0; i < begun; i++) {
        pthread_join(workers[i].thread, NULL);
        good = good && workers[i].good;
        done += workers[i].done;
        bench_latency_join(&self->latency, &workers[i].latency);
    }
    uint64_t bytes = done * entry_bytes(self->plan, own.value_bytes);
    if (good && durable) { /* each call has already waited for the disk */
        end_calls(self, done, count);
        end_row(self);
        self->result.user_bytes = bytes;
    } else if (good) {
        good = end_writing(self, &own, done, count, bytes);
    }
    free(workers);
    return end_own(&own) && good;
}

static bool row_fillrandom2(run *self) { return fill_threads(self, 2, self->plan->entries, false); }
/* Puts that wait for the disk: enough to see it, on a slow one too. */
static uint64_t synced_puts(const run *self)
{
    return self->plan->entries / 100 < 4000 ? self->plan->entries / 100 : 4000;
}

static bool row_fillsync1(run *self) { return fill_threads(self, 1, synced_puts(self), true); }
static bool row_fillsync8(run *self) { return fill_threads(self, 8, synced_puts(self) * 4, true); }

/* ---- Rows that read ---- */

static bench_dice new_dice(run *self) { return bench_dice_of(self->dice_rolled++); }

/* Random keys below `range`; returns how many were read. */
static uint64_t read_keys(run *self, const place *at, uint64_t range, uint64_t count, bool *good)
{
    numbers drawn = { .run = self, .dice = new_dice(self), .bound = range };
    uint64_t i = 0;
    *good = true;
    for (; *good && more(self, i, count); i++) {
        bool timed = i % SAMPLE == 0;
        uint64_t before = timed ? bench_ns() : 0;
        *good = get_one(self, at, next_number(&drawn));
        if (timed)
            bench_latency_add(&self->latency, bench_ns() - before);
    }
    return i;
}

static bool read_range(run *self, const place *at, uint64_t range)
{
    bool good;
    begin_row(self);
    uint64_t done = read_keys(self, at, range, self->plan->reads, &good);
    end_calls(self, done, self->plan->reads);
    end_row(self);
    return good;
}

static bool row_readrandom(run *self)
{
    place *at = self->at;
    return read_range(self, at, at->count);
}

static bool row_readhot(run *self)
{
    place *at = self->at;
    return read_range(self, at, at->count / 100 + 1);
}

static bool row_readmissing(run *self)
{
    place *at = self->at;
    numbers drawn = { .run = self, .dice = new_dice(self), .bound = at->count };
    uint64_t i = 0;
    bool good = true;
    begin_row(self);
    for (; good && more(self, i, self->plan->reads); i++) {
        char key[BENCH_KEY_BYTES_MAX];
        uint64_t number = next_number(&drawn);
        size_t key_bytes = bench_absent_key(self->plan->keyset, number, key);
        asked what = { self, at, number, false };
        bool timed = i % SAMPLE == 0;
        uint64_t before = timed ? bench_ns() : 0;
        bole_status status = at->store->methods->get(at->store, (bole_slice){ key, key_bytes }, check, &what,
                                                     NULL);
        if (timed)
            bench_latency_add(&self->latency, bench_ns() - before);
        good = status == BOLE_NOT_FOUND || !self->checks || wrong(self, "the absence", number);
    }
    end_calls(self, i, self->plan->reads);
    end_row(self);
    return good;
}

enum { MANY = 16 };

typedef struct asked_many {
    const run *run;
    const place *at;
    uint64_t numbers[MANY];
    unsigned right;
} asked_many;

static void check_many(void *context, size_t index, bole_slice value)
{
    asked_many *what = context;
    what->right += !what->run->checks ||
                   bench_value_is_right(what->numbers[index], what->at->generation, value);
}

/* Random keys, 16 in a call; where the engine has no such call, 16 gets. Keys count, latencies are of 16. */
static bool row_multiget16(run *self)
{
    place *at = self->at;
    const bole_key_value_methods *methods = at->store->methods;
    if (methods->get_many == NULL)
        return row_readrandom(self);
    bench_dice dice = new_dice(self);
    uint64_t i = 0, calls = self->plan->reads / MANY;
    bool good = true;
    begin_row(self);
    for (; good && more(self, i, calls); i++) {
        char names[MANY][BENCH_KEY_BYTES_MAX];
        bole_slice keys[MANY];
        asked_many what = { .run = self, .at = at };
        for (unsigned j = 0; j < MANY; j++) {
            what.numbers[j] = bench_below(&dice, at->count);
            keys[j] = (bole_slice){ names[j], bench_key(self->plan->keyset, what.numbers[j], names[j]) };
        }
        uint64_t before = bench_ns();
        good = methods->get_many(at->store, keys, MANY, check_many, &what, NULL) == BOLE_OK;
        bench_latency_add(&self->latency, bench_ns() - before);
        good = good && (what.right == MANY || wrong(self, "a value of 16, the first", what.numbers[0]));
    }
    end_calls(self, i * MANY, calls * MANY);
    end_row(self);
    return good;
}

static bool scan_all(run *self, const place *at, bool reverse)
{
    const bole_key_value_methods *methods = at->store->methods;
    bole_key_value_cursor *cursor;
    uint64_t count = 0, expected = at->count - at->deleted;
    begin_row(self);
    if (methods->cursor_open(at->store, &cursor, NULL) != BOLE_OK)
        return false;
    bool (*step)(bole_key_value_cursor *) = reverse ? methods->cursor_previous : methods->cursor_next;
    bool good = true, stands = reverse ? methods->cursor_last(cursor) : methods->cursor_first(cursor);
    for (; stands && good && more(self, count, UINT64_MAX); stands = step(cursor)) {
        if (count % SAMPLE == 0) /* one in 16 in whole; all are counted */
            good = entry_is_right(self, at, cursor);
        if (++count == expected && !self->checks)
            stands = false;
        if (!stands)
            break;
    }
    good = good && cursor->status == BOLE_OK;
    methods->cursor_close(cursor);
    end_calls(self, count, stands ? expected : count);
    end_row(self);
    if (good && !stands && count != expected) {
        fprintf(stderr, "bench: %s: a scan showed %llu of %llu entries\n", self->plan->engine->name,
                (unsigned long long)count, (unsigned long long)expected);
        good = false;
    }
    return good;
}

static bool row_readseq(run *self) { return scan_all(self, self->at, false); }
static bool row_readreverse(run *self) { return scan_all(self, self->at, true); }

static bool seek_some(run *self, const place *at, uint64_t nexts)
{
    const bole_key_value_methods *methods = at->store->methods;
    numbers drawn = { .run = self, .dice = new_dice(self), .bound = at->count };
    uint64_t seeks = self->plan->reads / (nexts / 10 * 4), i = 0;
    bole_key_value_cursor *cursor;
    begin_row(self);
    if (methods->cursor_open(at->store, &cursor, NULL) != BOLE_OK)
        return false;
    bool good = true;
    for (; good && more(self, i, seeks); i++) {
        char key[BENCH_KEY_BYTES_MAX];
        size_t key_bytes = bench_key(self->plan->keyset, next_number(&drawn), key);
        uint64_t before = bench_ns();
        bool stands = methods->cursor_seek(cursor, (bole_slice){ key, key_bytes });
        good = stands && entry_is_right(self, at, cursor);
        for (uint64_t j = 0; j < nexts && stands; j++)
            stands = methods->cursor_next(cursor);
        good = good && cursor->status == BOLE_OK;
        bench_latency_add(&self->latency, bench_ns() - before);
    }
    methods->cursor_close(cursor);
    end_calls(self, i, seeks);
    end_row(self);
    return good;
}

static bool row_seekrandom10(run *self) { return seek_some(self, self->at, 10); }
static bool row_seekrandom100(run *self) { return seek_some(self, self->at, 100); }

/* ---- Mixed rows ---- */

static _Atomic bool stop_writing;

static void *write_until_stopped(void *context)
{
    worker *self = context;
    numbers drawn = { .run = self->run, .dice = bench_dice_of(1234567), .bound = self->at->count };
    self->good = true;
    for (; !atomic_load(&stop_writing) && self->good; self->done++)
        self->good = put_one(self->run, self->at, next_number(&drawn), false);
    return NULL;
}

static bool row_readwhilewriting(run *self)
{
    place *at = self->at;
    worker writer = { .run = self, .at = at };
    atomic_store(&stop_writing, false);
    begin_row(self);
    if (pthread_create(&writer.thread, NULL, write_until_stopped, &writer) != 0)
        return false;
    bool good;
    uint64_t done = read_keys(self, at, at->count, self->plan->reads, &good);
    atomic_store(&stop_writing, true);
    pthread_join(writer.thread, NULL);
    /* both sides count: an engine must not win by starving its writer */
    end_calls(self, done, self->plan->reads);
    self->result.operations += writer.done;
    self->result.per_second = self->result.burst_per_second = (double)self->result.operations /
                                                              (bench_seconds() - self->row_begin);
    self->result.user_bytes = writer.done * entry_bytes(self->plan, at->value_bytes);
    return end_settled(self, at) && good && writer.good;
}

static bool row_deleterandom(run *self)
{
    place *at = self->at;
    uint64_t half = at->count / 2, i = 0;
    numbers mixed = { .run = self, .step = at->step, .bound = at->count };
    bool good = true;
    begin_row(self);
    for (; good && more(self, i, half); i++) {
        char key[BENCH_KEY_BYTES_MAX];
        size_t key_bytes = bench_key(self->plan->keyset, next_number(&mixed), key);
        bool timed = i % SAMPLE == 0;
        uint64_t before = timed ? bench_ns() : 0;
        good = at->store->methods->remove(at->store, (bole_slice){ key, key_bytes }, false, NULL) == BOLE_OK;
        if (timed)
            bench_latency_add(&self->latency, bench_ns() - before);
    }
    at->deleted = i;
    return good && end_writing(self, at, i, half, 0);
}

/* Entries a second. */
static bool row_compact(run *self)
{
    place *at = self->at;
    uint64_t live = at->count - at->deleted;
    begin_row(self);
    if (at->store->methods->compact(at->store, NULL) != BOLE_OK)
        return false;
    end_calls(self, live, live);
    end_row(self);
    self->result.store_bytes = bench_directory_bytes(at->path);
    self->result.user_bytes = live * entry_bytes(self->plan, at->value_bytes);
    return true;
}

/* ---- YCSB's core workloads; zipfian 0.99 ---- */

static bool scan_some(const run *self, const place *at, uint64_t number, uint64_t entries)
{
    const bole_key_value_methods *methods = at->store->methods;
    char key[BENCH_KEY_BYTES_MAX];
    size_t key_bytes = bench_key(self->plan->keyset, number, key);
    bole_key_value_cursor *cursor;
    if (methods->cursor_open(at->store, &cursor, NULL) != BOLE_OK)
        return false;
    bool stands = methods->cursor_seek(cursor, (bole_slice){ key, key_bytes });
    bool good = stands && entry_is_right(self, at, cursor);
    for (uint64_t left = entries; stands && left > 1; left--)
        stands = methods->cursor_next(cursor);
    good = good && cursor->status == BOLE_OK;
    methods->cursor_close(cursor);
    return good;
}

static bool operate(run *self, place *at, const mix *what, uint64_t number, bench_dice *dice)
{
    unsigned choice = (unsigned)bench_below(dice, 100);
    if (choice < what->reads)
        return get_one(self, at, number);
    if ((choice -= what->reads) < what->updates)
        return put_one(self, at, number, false);
    if ((choice -= what->updates) < what->inserts)
        return put_one(self, at, at->inserted++, false);
    if ((choice -= what->inserts) < what->scans)
        return scan_some(self, at, number, 1 + bench_below(dice, 100));
    return get_one(self, at, number) && put_one(self, at, number, false);
}

static bool row_ycsb(run *self)
{
    place *at = self->at;
    uint64_t count = self->row->limited ? UINT64_MAX : self->plan->reads / 4, i = 0;
    bench_zipf hot;
    bench_zipf_init(&hot, at->count);
    bench_dice dice = new_dice(self);
    bool good = true;
    begin_row(self);
    if (self->row->limited)
        self->row_end = self->row_begin + self->plan->limited_seconds;
    for (; good && more(self, i, count); i++) {
        uint64_t rank = bench_zipf_rank(&hot, &dice);
        uint64_t number = self->row->what.latest ? at->inserted - 1 - rank : bench_spread(rank, at->count);
        bool timed = i % 4 == 0;
        uint64_t before = timed ? bench_ns() : 0;
        good = operate(self, at, &self->row->what, number, &dice);
        if (timed)
            bench_latency_add(&self->latency, bench_ns() - before);
    }
    end_calls(self, i, self->row->limited ? i : count);
    return good && end_settled(self, at);
}

/* ---- Under one memory limit for all ---- */

static bool row_limited_readrandom(run *self)
{
    place *at = self->at;
    bool good;
    begin_row(self);
    self->row_end = self->row_begin + self->plan->limited_seconds;
    uint64_t done = read_keys(self, at, at->count, UINT64_MAX, &good);
    end_calls(self, done, done);
    end_row(self);
    return good;
}

/* ---- Large values ---- */

static bool large(run *self, size_t value_bytes, bool read)
{
    uint64_t bytes = self->plan->entries * entry_bytes(self->plan, self->plan->value_bytes);
    uint64_t count = bytes / value_bytes;
    place own;
    if (!open_own(self, &own, count, value_bytes, false))
        return false;
    bool good;
    begin_row(self);
    uint64_t done = fill(self, &own, false, 1, &good);
    good = good && end_writing(self, &own, done, count, done * entry_bytes(self->plan, value_bytes));
    if (good && read && done < count) {
        self->result.kind = BENCH_NOT_RUN;
        snprintf(self->result.note, sizeof self->result.note, "its store was not filled in time");
    } else if (good && read) {
        begin_row(self);
        done = read_keys(self, &own, count, self->plan->reads, &good);
        end_calls(self, done, self->plan->reads);
        end_row(self);
        self->result.user_bytes = 0;
    }
    return end_own(&own) && good;
}

static bool row_fill4k(run *self) { return large(self, 4096, false); }
static bool row_read4k(run *self) { return large(self, 4096, true); }
static bool row_fill64k(run *self) { return large(self, 65536, false); }
static bool row_read64k(run *self) { return large(self, 65536, true); }

/* ---- Opening again ---- */

static bool time_open(run *self, place *at)
{
    begin_row(self);
    bool good = open_place(self, at, false) && get_one(self, at, 0);
    bench_latency_add(&self->latency, (uint64_t)((bench_seconds() - self->row_begin) * 1e9));
    end_calls(self, 1, 1);
    end_row(self);
    return close_place(at) && good;
}

/* The main store, closed and opened again, up to its first get. */
static bool row_reopen(run *self)
{
    place *at = self->at;
    return close_place(at) && time_open(self, at) && open_place(self, at, false);
}

/* A child writes 64 MiB and dies. The first row of all: no threads of an engine may be about when it forks. */
static bool row_reopen_killed(run *self)
{
    place own;
    describe(self->plan, OWN, &own);
    own.count = own.inserted = (UINT64_C(64) << 20) / (entry_bytes(self->plan, own.value_bytes) + 30);
    own.step = bench_shuffle_step(own.count);
    pid_t parent = getpid(), child = fork();
    if (child == 0) {
        bool good = prctl(PR_SET_PDEATHSIG, SIGKILL) == 0 && getppid() == parent &&
                    open_place(self, &own, false);
        begin_row(self);
        if (good && fill(self, &own, false, SAMPLE, &good) == own.count && good)
            kill(getpid(), SIGKILL);
        _exit(1);
    }
    int status = 0;
    bool good = child > 0 && waitpid(child, &status, 0) == child && WIFSIGNALED(status) &&
                WTERMSIG(status) == SIGKILL && time_open(self, &own);
    return bench_remove_directory(own.path) && good;
}

/* ---- The order ---- */

#define YCSB(letter, bytes, suffix, ...)                               \
    {                                                                  \
        "ycsb_" letter suffix, row_ycsb, bytes, { __VA_ARGS__ }, false \
    }
/* As the core workloads want it: A, B, C, F and D on one store, then E. */
#define YCSB_ALL(bytes, suffix)                                                                      \
    YCSB("a", bytes, suffix, .reads = 50, .updates = 50),                                            \
        YCSB("b", bytes, suffix, .reads = 95, .updates = 5), YCSB("c", bytes, suffix, .reads = 100), \
        YCSB("f", bytes, suffix, .reads = 50, .modifies = 50),                                       \
        YCSB("d", bytes, suffix, .reads = 95, .inserts = 5, .latest = true),                         \
        YCSB("e", bytes, suffix, .scans = 95, .inserts = 5)

static const bench_row rows[] = {
    { .name = "reopen_killed", .work = row_reopen_killed },
    { .name = "fillseq", .work = row_fillseq },
    { .name = "fillbatch", .work = row_fillbatch },
    { .name = "fillrandom2", .work = row_fillrandom2 },
    { .name = "fillsync1", .work = row_fillsync1 },
    { .name = "fillsync8", .work = row_fillsync8 },
    { .name = "fillrandom", .work = row_fillrandom },
    { .name = "readrandom_loaded", .work = row_readrandom, .store = MAIN },
    { .name = "overwrite", .work = row_overwrite, .store = MAIN },
    { .name = "compact", .work = row_compact, .store = MAIN },
    { .name = "readrandom", .work = row_readrandom, .store = MAIN },
    { .name = "multiget16", .work = row_multiget16, .store = MAIN },
    { .name = "readhot", .work = row_readhot, .store = MAIN },
    { .name = "readmissing", .work = row_readmissing, .store = MAIN },
    { .name = "readseq", .work = row_readseq, .store = MAIN },
    { .name = "readreverse", .work = row_readreverse, .store = MAIN },
    { .name = "seekrandom10", .work = row_seekrandom10, .store = MAIN },
    { .name = "seekrandom100", .work = row_seekrandom100, .store = MAIN },
    { .name = "readwhilewriting", .work = row_readwhilewriting, .store = MAIN },
    { .name = "reopen", .work = row_reopen, .store = MAIN },
    { .name = "deleterandom", .work = row_deleterandom, .store = MAIN },
    { .name = "scan_after_deletes", .work = row_readseq, .store = MAIN },
    { .name = "fill4k", .work = row_fill4k },
    { .name = "read4k", .work = row_read4k },
    { .name = "fill64k", .work = row_fill64k },
    { .name = "read64k", .work = row_read64k },
    YCSB_ALL(ROWS_1000, ""),
    YCSB_ALL(ROWS_100, "_100"),
    { .name = "limited_readrandom", .work = row_limited_readrandom, .store = ROWS_100, .limited = true },
    { .name = "limited_ycsb_b",
      .work = row_ycsb,
      .store = ROWS_1000,
      .what = { .reads = 95, .updates = 5 },
      .limited = true },
};
enum { ROWS = sizeof rows / sizeof rows[0] };

static const bench_row *row_named(const char *name)
{
    for (int i = 0; i < ROWS; i++)
        if (strcmp(rows[i].name, name) == 0)
            return &rows[i];
    return NULL;
}

bool bench_row_is_known(const char *name) { return row_named(name) != NULL; }

const char *bench_row_name(unsigned index) { return index < ROWS ? rows[index].name : NULL; }

const char *bench_limited_row(unsigned index)
{
    for (int i = 0; i < ROWS; i++)
        if (rows[i].limited && index-- == 0)
            return rows[i].name;
    return NULL;
}

uint64_t bench_limit_bytes(const bench_plan *plan, const char *name)
{
    place at;
    describe(plan, row_named(name)->store, &at);
    return at.count * entry_bytes(plan, at.value_bytes) / 4;
}

bool bench_is_listed(const char *list, const char *name)
{
    size_t length = strlen(name);
    for (const char *at = list; at != NULL; at = strchr(at, ',') == NULL ? NULL : strchr(at, ',') + 1)
        if (strncmp(at, name, length) == 0 && (at[length] == ',' || at[length] == 0))
            return true;
    return false;
}

static bool is_asked_for(const bench_plan *plan, const bench_row *row)
{
    return plan->rows == NULL || bench_is_listed(plan->rows, row->name);
}

/* ---- The run ---- */

/* `note` NULL: what the row said itself. */
static void tell(run *self, bench_kind kind, const char *note)
{
    self->result.kind = kind;
    if (note != NULL)
        snprintf(self->result.note, sizeof self->result.note, "%s", note);
    self->told(self->context, &self->result);
}

static void begin_result(run *self, const char *name)
{
    memset(&self->result, 0, sizeof self->result);
    snprintf(self->result.row, sizeof self->result.row, "%s", name);
    tell(self, BENCH_BEGUN, "");
}

/* Fill the store of YCSB's rows, unmeasured; the main one, by its row, unheard. False: it failed. */
static bool provide(run *self, which store)
{
    place *at = &self->kept[store];
    if (store == OWN || at->tried)
        return true;
    if (store == MAIN)
        return row_fillrandom(self);
    bool good;
    at->tried = true;
    if (!open_place(self, at, false))
        return false;
    begin_row(self);
    self->row_end += self->plan->row_seconds; /* it serves many rows */
    uint64_t done = fill(self, at, false, SAMPLE, &good);
    good = good && at->store->methods->settle(at->store, NULL) == BOLE_OK;
    at->filled = good && done == at->count;
    return good;
}

static bool run_row(run *self, const bench_row *row)
{
    place *at = row->store == OWN ? NULL : &self->kept[row->store];
    self->row = row;
    self->at = at;
    begin_result(self, row->name);
    if (bench_seconds() - self->begin > self->plan->seconds) {
        tell(self, BENCH_NOT_RUN, "the engine's time was over");
        return true;
    }
    bool good = provide(self, row->store);
    if (good && at != NULL && !at->filled) {
        tell(self, BENCH_NOT_RUN, "its store was not filled in time");
        return true;
    }
    if (row->limited && self->plan->limited == NULL)
        return good; /* its store is there */
    begin_result(self, row->name);
    good = good && row->work(self);
    if (!good) {
        bench_say(self->plan->engine->name, row->name, "failed");
        tell(self, BENCH_FAILED, "failed");
    } else {
        tell(self, self->result.kind, NULL);
    }
    return good;
}

/* Close and remove stores that no later row wants; those that wait for a limit are closed only. */
static bool drop_stores(run *self, int after)
{
    bool good = true;
    for (which store = MAIN; store < STORES; store++) {
        bool wanted = false, kept = false;
        for (int i = 0; i < ROWS; i++) {
            bool uses = rows[i].store == store && is_asked_for(self->plan, &rows[i]);
            wanted = wanted || (uses && i > after && !rows[i].limited);
            kept = kept || (uses && rows[i].limited && self->kept[store].filled);
        }
        if (wanted || self->kept[store].store == NULL)
            continue;
        good = close_place(&self->kept[store]) && good;
        good = (kept || bench_remove_directory(self->kept[store].path)) && good;
    }
    return good;
}

static bool run_limited(run *self, const bench_row *row)
{
    place *at = self->at = &self->kept[row->store];
    self->row = row;
    if (access(at->path, F_OK) != 0)
        return true; /* it was not filled, and this has been said */
    begin_result(self, row->name);
    bool good = open_place(self, at, false) && row->work(self); /* to warm up */
    good = good && row->work(self);
    tell(self, good ? self->result.kind : BENCH_FAILED, good ? NULL : "failed");
    return close_place(at) && good;
}

bool bench_run(const bench_plan *plan, void (*told)(void *context, const bench_result *result), void *context)
{
    run *self = calloc(1, sizeof *self);
    if (self == NULL)
        return false;
    self->plan = plan;
    self->told = told;
    self->context = context;
    self->checks = plan->engine != &bench_null;
    self->begin = bench_seconds();
    for (which store = MAIN; store < STORES; store++)
        describe(plan, store, &self->kept[store]);
    bool good = true;
    if (plan->limited != NULL)
        good = run_limited(self, row_named(plan->limited));
    for (int i = 0; plan->limited == NULL && i < ROWS && good; i++) {
        if (is_asked_for(plan, &rows[i]))
            good = run_row(self, &rows[i]);
        good = drop_stores(self, i) && good;
    }
    free(self);
    return good;
}
