/* SPDX-License-Identifier: MIT */
/* workloads.c -- what is done to an engine, row by row, and what is measured meanwhile.
 *
 * A run has one main store of `entries` and makes small ones of its own for the rows that need a fresh one. Rows stand
 * in the order in which they run; each is a function of the run. Every value that is read is checked, every scan
 * counted. A burst is the time of the calls; sustained adds what the engine left to be done behind them.
 * THREADS  Rows that say so use several; each has its own random numbers. */
#include "bench.h"

#include <dirent.h>
#include <fcntl.h>
#include <math.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

/* ---- Device flushes: whoever in this process asks for one passes here ---- */

static _Atomic uint64_t flushes;

int fdatasync(int descriptor)
{
    atomic_fetch_add(&flushes, 1);
    return (int)syscall(SYS_fdatasync, descriptor);
}

int fsync(int descriptor)
{
    atomic_fetch_add(&flushes, 1);
    return (int)syscall(SYS_fsync, descriptor);
}

/* ---- Latencies: buckets of 1/16 of a power of two, nanoseconds ---- */

enum { BUCKETS = 64 * 16 };
typedef struct latencies {
    uint64_t counts[BUCKETS], count, most;
} latencies;

static void latency_add(latencies *to, uint64_t ns)
{
    int power = ns < 16 ? 0 : 63 - __builtin_clzll(ns) - 4;
    unsigned bucket = (unsigned)power * 16 + (unsigned)(ns >> power) % 16 + (power > 0 ? 16 : 0);
    to->counts[bucket < BUCKETS ? bucket : BUCKETS - 1]++;
    to->count++;
    if (ns > to->most)
        to->most = ns;
}

static double latency_at(const latencies *of, double share)
{
    uint64_t wanted = (uint64_t)ceil(share * (double)of->count), seen = 0;
    for (unsigned bucket = 0; bucket < BUCKETS && of->count != 0; bucket++) {
        seen += of->counts[bucket];
        if (seen < wanted)
            continue;
        if (bucket < 16)
            return bucket / 1e3;
        unsigned power = (bucket - 16) / 16;
        double upper = (double)(16 + (bucket - 16) % 16 + 1) * (double)(UINT64_C(1) << power);
        return (upper < (double)of->most ? upper : (double)of->most) / 1e3;
    }
    return 0;
}

/* ---- The run ---- */

typedef struct run {
    const bench_plan *plan;
    bole_key_value_store *store; /* the main one, once it is filled */
    const bole_key_value_methods *methods;
    uint32_t generation; /* of the newest values in the main store */
    bool checks;         /* the null engine has nothing to check */
    bool main_is_filled, half_deleted;
    void (*told)(void *context, const bench_result *result);
    void *context;
    /* of the present row */
    bench_result result;
    latencies latency;
    double begin, cpu_begin;
    uint64_t written_begin, flushes_begin;
} run;

static double now_seconds(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

static uint64_t now_ns(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (uint64_t)time.tv_sec * 1000000000 + (uint64_t)time.tv_nsec;
}

static double cpu_seconds(void)
{
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    return (double)usage.ru_utime.tv_sec + (double)usage.ru_stime.tv_sec +
           (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6;
}

static uint64_t proc_figure(const char *path, const char *name)
{
    FILE *file = fopen(path, "r");
    char line[128];
    unsigned long long value = 0;
    while (file != NULL && fgets(line, sizeof line, file) != NULL)
        if (strncmp(line, name, strlen(name)) == 0)
            value = strtoull(line + strlen(name), NULL, 10);
    if (file != NULL)
        fclose(file);
    return value;
}

void bench_say(const char *engine, const char *what, const char *why)
{
    fprintf(stderr, "bench: %s: %s: %s\n", engine, what, why);
}

uint64_t bench_directory_bytes(const char *path)
{
    DIR *directory = opendir(path);
    uint64_t bytes = 0;
    for (struct dirent *entry; directory != NULL && (entry = readdir(directory)) != NULL;) {
        char name[1024];
        struct stat status;
        snprintf(name, sizeof name, "%s/%s", path, entry->d_name);
        if (entry->d_name[0] != '.' && stat(name, &status) == 0)
            bytes += (uint64_t)status.st_blocks * 512;
    }
    if (directory != NULL)
        closedir(directory);
    return bytes;
}

static void begin_row(run *self)
{
    memset(&self->latency, 0, sizeof self->latency);
    self->written_begin = proc_figure("/proc/self/io", "write_bytes:");
    self->flushes_begin = atomic_load(&flushes);
    self->cpu_begin = cpu_seconds();
    self->begin = now_seconds();
}

static void end_burst(run *self, uint64_t operations)
{
    self->result.operations_per_second = (double)operations / (now_seconds() - self->begin);
    self->result.p50_us = latency_at(&self->latency, 0.5);
    self->result.p99_us = latency_at(&self->latency, 0.99);
    self->result.p999_us = latency_at(&self->latency, 0.999);
    self->result.max_us = (double)self->latency.most / 1e3;
}

static void end_row(run *self)
{
    self->result.cpu_seconds = cpu_seconds() - self->cpu_begin;
    self->result.written_bytes = proc_figure("/proc/self/io", "write_bytes:") - self->written_begin;
    self->result.device_flushes = atomic_load(&flushes) - self->flushes_begin;
    self->result.resident_bytes = proc_figure("/proc/self/status", "VmRSS:") * 1024;
}

/* What the calls left to be done counts, too. */
static bool end_sustained(run *self, bole_key_value_store *store, uint64_t operations, const char *path)
{
    end_burst(self, operations);
    if (self->methods->settle(store, NULL) != BOLE_OK)
        return false;
    self->result.sustained_per_second = (double)operations / (now_seconds() - self->begin);
    end_row(self);
    self->result.store_bytes = bench_directory_bytes(path);
    return true;
}

static uint64_t entry_bytes(const run *self) { return 16 + self->plan->value_bytes; }

/* ---- Random numbers: xorshift; zipf by Gray et al. ("Quickly generating billion-record databases", 1994) ---- */

__extension__ typedef unsigned __int128 wide;

typedef struct dice {
    uint64_t state;
} dice;

static uint64_t roll(dice *self)
{
    self->state ^= self->state << 13;
    self->state ^= self->state >> 7;
    self->state ^= self->state << 17;
    return self->state * UINT64_C(0x2545f4914f6cdd1d);
}
static uint64_t below(dice *self, uint64_t bound) { return (uint64_t)(((wide)roll(self) * bound) >> 64); }

typedef struct zipf {
    uint64_t count;
    double theta, alpha, zeta, eta;
} zipf;

static void zipf_init(zipf *self, uint64_t count)
{
    self->count = count;
    self->theta = 0.99;
    self->zeta = 0;
    for (uint64_t i = 1; i <= count; i++)
        self->zeta += 1 / pow((double)i, self->theta);
    self->alpha = 1 / (1 - self->theta);
    self->eta = (1 - pow(2.0 / (double)count, 1 - self->theta)) /
                (1 - (1 + pow(0.5, self->theta)) / self->zeta);
}

/* Rank, spread over the keys so that neighbours are not hot together. */
static uint64_t zipf_next(const zipf *self, dice *random)
{
    double u = (double)(roll(random) >> 11) / 9007199254740992.0, uz = u * self->zeta;
    uint64_t rank = uz < 1 ? 0
                    : uz < 1 + pow(0.5, self->theta)
                        ? 1
                        : (uint64_t)((double)self->count * pow(self->eta * u - self->eta + 1, self->alpha));
    return (rank * UINT64_C(0x9E3779B97F4A7C15)) % self->count;
}

/* Every number below count once, in an order that looks random: a step that shares no factor with count. */
static uint64_t shuffled(uint64_t i, uint64_t count)
{
    uint64_t step = (uint64_t)((double)count * 0.6180339887) | 1;
    for (;; step += 2) {
        uint64_t a = step, b = count;
        while (b != 0) {
            uint64_t rest = a % b;
            a = b;
            b = rest;
        }
        if (a == 1)
            break;
    }
    return (uint64_t)((wide)i * step % count);
}

/* ---- One operation ---- */

typedef struct asked {
    const run *run;
    uint64_t number;
    bool right;
} asked;

static void check(void *context, bole_slice value)
{
    asked *what = context;
    what->right = !what->run->checks || bench_value_is_right(what->number, what->run->generation, value);
}

static bool wrong(const run *self, const char *what, uint64_t number)
{
    fprintf(stderr, "bench: %s: %s of key %llu is wrong\n", self->plan->engine->name, what,
            (unsigned long long)number);
    return false;
}

static bool put_one(run *self, bole_key_value_store *store, uint64_t number, size_t value_bytes, bool durable)
{
    char key[BENCH_KEY_BYTES_MAX], value[128 * 1024];
    size_t key_bytes = bench_key(self->plan->keyset, number, key);
    bench_value(number, self->generation, value, value_bytes);
    return self->methods->put(store, (bole_slice){ key, key_bytes }, (bole_slice){ value, value_bytes },
                              durable, NULL) == BOLE_OK;
}

static bool get_one(run *self, bole_key_value_store *store, uint64_t number)
{
    char key[BENCH_KEY_BYTES_MAX];
    size_t key_bytes = bench_key(self->plan->keyset, number, key);
    asked what = { self, number, false };
    bole_status status = self->methods->get(store, (bole_slice){ key, key_bytes }, check, &what, NULL);
    return (status == BOLE_OK && what.right) || wrong(self, "the value", number);
}

static bole_key_value_store *open_fresh(run *self, const char *name, char path[1024], bool durable,
                                        uint64_t data_bytes)
{
    bench_settings settings = self->plan->settings;
    settings.durable = durable;
    settings.data_bytes = data_bytes;
    snprintf(path, 1024, "%s/%s", self->plan->path, name);
    return self->plan->engine->open(path, &settings);
}

static void remove_store(const char *path)
{
    char command[1200];
    snprintf(command, sizeof command, "rm -rf '%s'", path);
    if (system(command) != 0)
        fprintf(stderr, "bench: %s could not be removed\n", path);
}

static bool close_fresh(run *self, bole_key_value_store *store, const char *path)
{
    bool good = self->methods->close(store, NULL) == BOLE_OK;
    remove_store(path);
    return good;
}

/* ---- Rows that fill ---- */

static bool fill(run *self, bole_key_value_store *store, uint64_t count, bool in_order, bool every_latency)
{
    uint64_t last = now_ns();
    for (uint64_t i = 0; i < count; i++) {
        uint64_t number = in_order ? i : shuffled(i, count);
        bool timed = every_latency || (i & 63) == 0;
        if (timed && !every_latency)
            last = now_ns();
        if (!put_one(self, store, number, self->plan->value_bytes, false))
            return false;
        if (timed) {
            uint64_t now = now_ns();
            latency_add(&self->latency, now - last);
            last = now;
        }
    }
    return true;
}

static bool fill_fresh(run *self, bool in_order)
{
    char path[1024];
    uint64_t count = self->plan->entries;
    bole_key_value_store *store = open_fresh(self, "fresh", path, false, count * entry_bytes(self));
    if (store == NULL)
        return false;
    uint32_t generation = self->generation;
    self->generation = 0;
    begin_row(self);
    bool good = fill(self, store, count, in_order, false) && end_sustained(self, store, count, path);
    self->result.user_bytes = count * entry_bytes(self);
    self->generation = generation;
    return close_fresh(self, store, path) && good;
}

static bool row_fillseq(run *self) { return fill_fresh(self, true); }

/* The main store. */
static bool row_fillrandom(run *self)
{
    char path[1024];
    uint64_t count = self->plan->entries;
    self->store = open_fresh(self, "main", path, false, count * entry_bytes(self));
    if (self->store == NULL)
        return false;
    begin_row(self);
    self->main_is_filled = fill(self, self->store, count, false, false) &&
                           end_sustained(self, self->store, count, path);
    self->result.user_bytes = count * entry_bytes(self);
    return self->main_is_filled;
}

static bool row_overwrite(run *self)
{
    char path[1024];
    uint64_t count = self->plan->entries;
    snprintf(path, sizeof path, "%s/main", self->plan->path);
    self->generation++;
    begin_row(self);
    bool good = fill(self, self->store, count, false, true) && end_sustained(self, self->store, count, path);
    self->result.user_bytes = count * entry_bytes(self);
    return good;
}

static bool row_fillbatch(run *self)
{
    enum { BATCH = 1000 };
    char path[1024];
    uint64_t count = self->plan->entries / BATCH * BATCH;
    bole_key_value_store *store = open_fresh(self, "fresh", path, false, count * entry_bytes(self));
    bole_key_value_operation *operations = calloc(BATCH, sizeof *operations);
    char *keys = malloc((size_t)BATCH * BENCH_KEY_BYTES_MAX),
         *values = malloc(BATCH * self->plan->value_bytes);
    bool good = store != NULL && operations != NULL && keys != NULL && values != NULL;
    begin_row(self);
    for (uint64_t i = 0; i < count && good; i += BATCH) {
        for (uint64_t j = 0; j < BATCH; j++) {
            uint64_t number = shuffled(i + j, count);
            char *key = keys + j * BENCH_KEY_BYTES_MAX, *value = values + j * self->plan->value_bytes;
            operations[j].key = (bole_slice){ key, bench_key(self->plan->keyset, number, key) };
            operations[j].value = (bole_slice){ value, self->plan->value_bytes };
            bench_value(number, 0, value, self->plan->value_bytes);
        }
        uint64_t before = now_ns();
        good = self->methods->write(store, operations, BATCH, false, NULL) == BOLE_OK;
        latency_add(&self->latency, now_ns() - before);
    }
    good = good && end_sustained(self, store, count, path);
    self->result.user_bytes = count * entry_bytes(self);
    free(operations);
    free(keys);
    free(values);
    return store != NULL && close_fresh(self, store, path) && good;
}

/* ---- Several threads ---- */

typedef struct worker {
    run *run;
    bole_key_value_store *store;
    uint64_t first, count, step;
    bool durable, good;
    latencies latency;
    pthread_t thread;
} worker;

static void *put_share(void *context)
{
    worker *self = context;
    uint64_t total = self->count * self->step;
    self->good = true;
    for (uint64_t i = 0; i < self->count && self->good; i++) {
        bool timed = self->durable || (i & 63) == 0;
        uint64_t before = timed ? now_ns() : 0;
        self->good = put_one(self->run, self->store, shuffled(i * self->step + self->first, total),
                             self->run->plan->value_bytes, self->durable);
        if (timed)
            latency_add(&self->latency, now_ns() - before);
    }
    return NULL;
}

static bool fill_threads(run *self, unsigned threads, uint64_t count, bool durable)
{
    char path[1024];
    bole_key_value_store *store = open_fresh(self, "fresh", path, durable, count * entry_bytes(self));
    worker *workers = calloc(threads, sizeof *workers);
    bool good = store != NULL && workers != NULL;
    uint32_t generation = self->generation;
    self->generation = 0;
    begin_row(self);
    for (unsigned i = 0; good && i < threads; i++) {
        workers[i] = (worker){ .run = self,
                               .store = store,
                               .first = i,
                               .count = count / threads,
                               .step = threads,
                               .durable = durable };
        pthread_create(&workers[i].thread, NULL, put_share, &workers[i]);
    }
    for (unsigned i = 0; workers != NULL && i < threads && workers[i].thread != 0; i++) {
        pthread_join(workers[i].thread, NULL);
        good = good && workers[i].good;
        for (unsigned b = 0; b < BUCKETS; b++)
            self->latency.counts[b] += workers[i].latency.counts[b];
        self->latency.count += workers[i].latency.count;
        if (workers[i].latency.most > self->latency.most)
            self->latency.most = workers[i].latency.most;
    }
    if (good && durable) {
        end_burst(self, count / threads * threads);
        end_row(self);
    } else if (good) {
        good = end_sustained(self, store, count / threads * threads, path);
    }
    self->result.user_bytes = count * entry_bytes(self);
    self->generation = generation;
    free(workers);
    return store != NULL && close_fresh(self, store, path) && good;
}

static bool row_fillrandom2(run *self) { return fill_threads(self, 2, self->plan->entries, false); }
static bool row_fillsync1(run *self) { return fill_threads(self, 1, 4000, true); }
static bool row_fillsync8(run *self) { return fill_threads(self, 8, 16000, true); }

/* ---- Rows that read ---- */

static bool read_some(run *self, bool hot)
{
    dice random = { 88172645463325252u };
    uint64_t range = hot ? self->plan->entries / 100 + 1 : self->plan->entries;
    begin_row(self);
    for (uint64_t i = 0; i < self->plan->reads; i++) {
        bool timed = (i & 63) == 0;
        uint64_t before = timed ? now_ns() : 0;
        if (!get_one(self, self->store, below(&random, range)))
            return false;
        if (timed)
            latency_add(&self->latency, now_ns() - before);
    }
    end_burst(self, self->plan->reads);
    end_row(self);
    return true;
}

static bool row_readrandom(run *self) { return read_some(self, false); }
static bool row_readhot(run *self) { return read_some(self, true); }

static bool row_readmissing(run *self)
{
    dice random = { 88172645463325252u };
    begin_row(self);
    for (uint64_t i = 0; i < self->plan->reads; i++) {
        char key[BENCH_KEY_BYTES_MAX];
        uint64_t number = below(&random, self->plan->entries);
        size_t key_bytes = bench_absent_key(self->plan->keyset, number, key);
        asked what = { self, number, false };
        bool timed = (i & 63) == 0;
        uint64_t before = timed ? now_ns() : 0;
        bole_status status = self->methods->get(self->store, (bole_slice){ key, key_bytes }, check, &what,
                                                NULL);
        if (timed)
            latency_add(&self->latency, now_ns() - before);
        if (status != BOLE_NOT_FOUND && self->checks)
            return wrong(self, "the absence", number);
    }
    end_burst(self, self->plan->reads);
    end_row(self);
    return true;
}

static bool entry_is_right(const run *self, const bole_key_value_cursor *cursor)
{
    uint64_t number;
    if (!self->checks)
        return true;
    if (cursor->value.size < sizeof number)
        return false;
    memcpy(&number, cursor->value.data, sizeof number);
    return bench_value_is_right(number, self->generation, cursor->value);
}

static bool scan_all(run *self, bool reverse, uint64_t expected)
{
    bole_key_value_cursor *cursor;
    begin_row(self);
    if (self->methods->cursor_open(self->store, &cursor, NULL) != BOLE_OK)
        return false;
    bool (*step)(bole_key_value_cursor *) = reverse ? self->methods->cursor_previous
                                                    : self->methods->cursor_next;
    uint64_t count = 0;
    bool good = true;
    for (bool stands = reverse ? self->methods->cursor_last(cursor) : self->methods->cursor_first(cursor);
         stands && good; stands = step(cursor)) {
        if ((count & 15) == 0) /* one in 16 in whole; all are counted */
            good = entry_is_right(self, cursor);
        if (++count == expected && !self->checks)
            break;
    }
    good = good && cursor->status == BOLE_OK;
    self->methods->cursor_close(cursor);
    end_burst(self, count);
    end_row(self);
    if (good && count != expected)
        fprintf(stderr, "bench: %s: a scan showed %llu of %llu entries\n", self->plan->engine->name,
                (unsigned long long)count, (unsigned long long)expected);
    return good && count == expected;
}

static uint64_t live(const run *self)
{
    return self->half_deleted ? self->plan->entries - self->plan->entries / 2 : self->plan->entries;
}

static bool row_readseq(run *self) { return scan_all(self, false, live(self)); }
static bool row_readreverse(run *self) { return scan_all(self, true, live(self)); }

static bool seek_some(run *self, uint64_t nexts)
{
    dice random = { 88172645463325252u };
    uint64_t seeks = self->plan->reads / (nexts / 10 * 4);
    bole_key_value_cursor *cursor;
    begin_row(self);
    if (self->methods->cursor_open(self->store, &cursor, NULL) != BOLE_OK)
        return false;
    bool good = true;
    for (uint64_t i = 0; i < seeks && good; i++) {
        char key[BENCH_KEY_BYTES_MAX];
        size_t key_bytes = bench_key(self->plan->keyset, below(&random, self->plan->entries), key);
        uint64_t before = now_ns();
        bool stands = self->methods->cursor_seek(cursor, (bole_slice){ key, key_bytes });
        good = stands && entry_is_right(self, cursor);
        for (uint64_t j = 0; j < nexts && stands; j++)
            stands = self->methods->cursor_next(cursor);
        latency_add(&self->latency, now_ns() - before);
    }
    self->methods->cursor_close(cursor);
    end_burst(self, seeks);
    end_row(self);
    return good;
}

static bool row_seekrandom10(run *self) { return seek_some(self, 10); }
static bool row_seekrandom100(run *self) { return seek_some(self, 100); }

/* ---- Mixed rows ---- */

static _Atomic bool stop_writing;

static void *write_until_stopped(void *context)
{
    worker *self = context;
    dice random = { 1234567891u };
    self->good = true;
    while (!atomic_load(&stop_writing) && self->good) {
        self->good = put_one(self->run, self->store, below(&random, self->run->plan->entries),
                             self->run->plan->value_bytes, false);
        self->count++;
    }
    return NULL;
}

static bool row_readwhilewriting(run *self)
{
    worker writer = { .run = self, .store = self->store };
    atomic_store(&stop_writing, false);
    if (pthread_create(&writer.thread, NULL, write_until_stopped, &writer) != 0)
        return false;
    bool good = read_some(self, false);
    atomic_store(&stop_writing, true);
    pthread_join(writer.thread, NULL);
    /* both sides count: an engine must not win by starving its writer */
    double seconds = now_seconds() - self->begin;
    self->result.sustained_per_second = (double)(self->plan->reads + writer.count) / seconds;
    return good && writer.good;
}

static bool row_deleterandom(run *self)
{
    uint64_t half = self->plan->entries / 2;
    begin_row(self);
    for (uint64_t i = 0; i < half; i++) {
        char key[BENCH_KEY_BYTES_MAX];
        size_t key_bytes = bench_key(self->plan->keyset, shuffled(i, self->plan->entries), key);
        bool timed = (i & 63) == 0;
        uint64_t before = timed ? now_ns() : 0;
        if (self->methods->remove(self->store, (bole_slice){ key, key_bytes }, false, NULL) != BOLE_OK)
            return false;
        if (timed)
            latency_add(&self->latency, now_ns() - before);
    }
    self->half_deleted = true;
    char path[1024];
    snprintf(path, sizeof path, "%s/main", self->plan->path);
    return end_sustained(self, self->store, half, path);
}

static bool row_scan_after_deletes(run *self) { return scan_all(self, false, live(self)); }

/* Bytes of keys and values that went through it, in operations: entries a second. */
static bool row_compact(run *self)
{
    begin_row(self);
    if (self->methods->compact(self->store, NULL) != BOLE_OK)
        return false;
    end_burst(self, live(self));
    end_row(self);
    char path[1024];
    snprintf(path, sizeof path, "%s/main", self->plan->path);
    self->result.store_bytes = bench_directory_bytes(path);
    self->result.user_bytes = live(self) * entry_bytes(self);
    return true;
}

/* YCSB's core workloads; rows of 1 KB, zipfian 0.99 (D: the latest). */
typedef struct mix {
    unsigned reads, updates, inserts, scans, modifies; /* percent */
    bool latest;
} mix;

static bool ycsb(run *self, mix what)
{
    enum { ROW_BYTES = 1000 };
    char path[1024];
    uint64_t rows = self->plan->entries / 10, operations = self->plan->reads / 4, inserted = rows;
    bole_key_value_store *store = open_fresh(self, "fresh", path, false, rows * 2 * ROW_BYTES);
    if (store == NULL)
        return false;
    uint32_t generation = self->generation;
    self->generation = 0;
    bool good = true;
    for (uint64_t i = 0; i < rows && good; i++)
        good = put_one(self, store, shuffled(i, rows), ROW_BYTES, false);
    good = good && self->methods->settle(store, NULL) == BOLE_OK;
    zipf hot;
    zipf_init(&hot, rows);
    dice random = { 88172645463325252u };
    begin_row(self);
    for (uint64_t i = 0; i < operations && good; i++) {
        uint64_t rank = zipf_next(&hot, &random);
        uint64_t number = what.latest ? inserted - 1 - rank % inserted : rank;
        unsigned choice = (unsigned)below(&random, 100);
        bool timed = (i & 15) == 0;
        uint64_t before = timed ? now_ns() : 0;
        if (choice < what.reads) {
            good = get_one(self, store, number);
        } else if ((choice -= what.reads) < what.updates) {
            good = put_one(self, store, number, ROW_BYTES, false);
        } else if ((choice -= what.updates) < what.inserts) {
            good = put_one(self, store, inserted++, ROW_BYTES, false);
        } else if ((choice -= what.inserts) < what.scans) {
            char key[BENCH_KEY_BYTES_MAX];
            size_t key_bytes = bench_key(self->plan->keyset, number, key);
            bole_key_value_cursor *cursor;
            good = self->methods->cursor_open(store, &cursor, NULL) == BOLE_OK;
            bool stands = good && self->methods->cursor_seek(cursor, (bole_slice){ key, key_bytes });
            for (uint64_t left = below(&random, 100); good && stands && left > 0; left--)
                stands = self->methods->cursor_next(cursor);
            if (good)
                self->methods->cursor_close(cursor);
        } else {
            good = get_one(self, store, number) && put_one(self, store, number, ROW_BYTES, false);
        }
        if (timed)
            latency_add(&self->latency, now_ns() - before);
    }
    end_burst(self, operations);
    end_row(self);
    self->generation = generation;
    return close_fresh(self, store, path) && good;
}

static bool row_ycsb_a(run *self) { return ycsb(self, (mix){ .reads = 50, .updates = 50 }); }
static bool row_ycsb_b(run *self) { return ycsb(self, (mix){ .reads = 95, .updates = 5 }); }
static bool row_ycsb_c(run *self) { return ycsb(self, (mix){ .reads = 100 }); }
static bool row_ycsb_d(run *self) { return ycsb(self, (mix){ .reads = 95, .inserts = 5, .latest = true }); }
static bool row_ycsb_e(run *self) { return ycsb(self, (mix){ .scans = 95, .inserts = 5 }); }
static bool row_ycsb_f(run *self) { return ycsb(self, (mix){ .reads = 50, .modifies = 50 }); }

/* ---- Large values ---- */

static bool fill_large(run *self, size_t value_bytes, bool read)
{
    char path[1024];
    uint64_t bytes = self->plan->entries * entry_bytes(self);
    uint64_t count = bytes / value_bytes, reads = count * 2;
    bole_key_value_store *store = open_fresh(self, "fresh", path, false, bytes);
    if (store == NULL)
        return false;
    uint32_t generation = self->generation;
    self->generation = 0;
    bool good = true;
    begin_row(self);
    for (uint64_t i = 0; i < count && good; i++) {
        uint64_t before = now_ns();
        good = put_one(self, store, shuffled(i, count), value_bytes, false);
        latency_add(&self->latency, now_ns() - before);
    }
    good = good && end_sustained(self, store, count, path);
    self->result.user_bytes = bytes;
    dice random = { 88172645463325252u };
    if (read && good) {
        begin_row(self);
        for (uint64_t i = 0; i < reads && good; i++) {
            uint64_t before = now_ns();
            good = get_one(self, store, below(&random, count));
            latency_add(&self->latency, now_ns() - before);
        }
        end_burst(self, reads);
        self->result.sustained_per_second = 0;
        end_row(self);
    }
    self->generation = generation;
    return close_fresh(self, store, path) && good;
}

static bool row_fill4k(run *self) { return fill_large(self, 4096, false); }
static bool row_read4k(run *self) { return fill_large(self, 4096, true); }
static bool row_fill64k(run *self) { return fill_large(self, 65536, false); }
static bool row_read64k(run *self) { return fill_large(self, 65536, true); }

/* ---- Opening again ---- */

static bool time_open(run *self, const char *path)
{
    begin_row(self);
    bole_key_value_store *store = self->plan->engine->open(path, &self->plan->settings);
    if (store == NULL)
        return false;
    bool good = get_one(self, store, 0);
    latency_add(&self->latency, (uint64_t)((now_seconds() - self->begin) * 1e9));
    end_burst(self, 1);
    end_row(self);
    return self->methods->close(store, NULL) == BOLE_OK && good;
}

/* The main store, closed and opened again, up to its first get. */
static bool row_reopen(run *self)
{
    char path[1024];
    snprintf(path, sizeof path, "%s/main", self->plan->path);
    if (self->methods->close(self->store, NULL) != BOLE_OK)
        return false;
    self->store = NULL;
    bool deleted = self->half_deleted;
    bool good = deleted || time_open(self, path);
    self->store = self->plan->engine->open(path, &self->plan->settings);
    return good && self->store != NULL;
}

/* A child writes 64 MiB and dies. */
static bool row_reopen_killed(run *self)
{
    char path[1024];
    snprintf(path, sizeof path, "%s/killed", self->plan->path);
    uint64_t count = (UINT64_C(64) << 20) / (entry_bytes(self) + 30);
    uint32_t generation = self->generation;
    self->generation = 0;
    pid_t child = fork();
    if (child == 0) {
        bole_key_value_store *store = self->plan->engine->open(path, &self->plan->settings);
        bool good = store != NULL && fill(self, store, count, false, false);
        if (good)
            kill(getpid(), SIGKILL);
        _exit(1);
    }
    int status = 0;
    bool good = child > 0 && waitpid(child, &status, 0) == child && WIFSIGNALED(status) &&
                time_open(self, path);
    self->generation = generation;
    remove_store(path);
    return good;
}

/* ---- The order ---- */

static const struct row {
    const char *name;
    bool (*work)(run *self);
    bool needs_main;
} rows[] = {
    { "reopen_killed", row_reopen_killed, false }, /* first: it forks, so no threads may be about */
    { "fillseq", row_fillseq, false },
    { "fillbatch", row_fillbatch, false },
    { "fillrandom2", row_fillrandom2, false },
    { "fillsync1", row_fillsync1, false },
    { "fillsync8", row_fillsync8, false },
    { "fillrandom", row_fillrandom, false },
    { "readrandom_loaded", row_readrandom, true },
    { "overwrite", row_overwrite, true },
    { "compact", row_compact, true },
    { "readrandom", row_readrandom, true },
    { "readhot", row_readhot, true },
    { "readmissing", row_readmissing, true },
    { "readseq", row_readseq, true },
    { "readreverse", row_readreverse, true },
    { "seekrandom10", row_seekrandom10, true },
    { "seekrandom100", row_seekrandom100, true },
    { "readwhilewriting", row_readwhilewriting, true },
    { "reopen", row_reopen, true },
    { "deleterandom", row_deleterandom, true },
    { "scan_after_deletes", row_scan_after_deletes, true },
    { "ycsb_a", row_ycsb_a, false },
    { "ycsb_b", row_ycsb_b, false },
    { "ycsb_c", row_ycsb_c, false },
    { "ycsb_d", row_ycsb_d, false },
    { "ycsb_e", row_ycsb_e, false },
    { "ycsb_f", row_ycsb_f, false },
    { "fill4k", row_fill4k, false },
    { "read4k", row_read4k, false },
    { "fill64k", row_fill64k, false },
    { "read64k", row_read64k, false },
};
enum { ROWS = sizeof rows / sizeof rows[0] };

bool bench_row_is_known(const char *row)
{
    for (int i = 0; i < ROWS; i++)
        if (strcmp(rows[i].name, row) == 0)
            return true;
    return false;
}

void bench_list_rows(FILE *out)
{
    for (int i = 0; i < ROWS; i++)
        fprintf(out, "  %s\n", rows[i].name);
}

bool bench_is_listed(const char *list, const char *name)
{
    size_t length = strlen(name);
    for (const char *at = list; at != NULL; at = strchr(at, ',') == NULL ? NULL : strchr(at, ',') + 1)
        if (strncmp(at, name, length) == 0 && (at[length] == ',' || at[length] == 0))
            return true;
    return false;
}

static bool is_asked_for(const bench_plan *plan, const char *row)
{
    return plan->rows == NULL || bench_is_listed(plan->rows, row);
}

bool bench_run(const bench_plan *plan, void (*told)(void *context, const bench_result *result), void *context)
{
    run self = { .plan = plan, .told = told, .context = context, .checks = plan->engine != &bench_null };
    /* a store that is never opened tells the methods */
    char path[1024];
    bole_key_value_store *first = open_fresh(&self, "first", path, false, 1 << 20);
    if (first == NULL)
        return false;
    self.methods = first->methods;
    bool good = close_fresh(&self, first, path);
    for (int i = 0; i < ROWS && good; i++) {
        bool wanted = is_asked_for(plan, rows[i].name), fills = rows[i].work == row_fillrandom;
        bool later = false; /* is the main store needed by a row that is wanted? */
        for (int j = i + 1; fills && j < ROWS; j++)
            later = later || (rows[j].needs_main && is_asked_for(plan, rows[j].name));
        if (!wanted && !later)
            continue;
        memset(&self.result, 0, sizeof self.result);
        snprintf(self.result.row, sizeof self.result.row, "%s", rows[i].name);
        good = rows[i].work(&self);
        if (!good)
            bench_say(plan->engine->name, rows[i].name, "failed");
        else if (wanted && self.result.operations_per_second > 0)
            told(context, &self.result);
    }
    if (self.store != NULL)
        good = self.methods->close(self.store, NULL) == BOLE_OK && good;
    return good;
}
