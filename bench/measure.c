/* SPDX-License-Identifier: MIT */
/* measure.c -- clocks, latencies, what the kernel counted, and random numbers. */
#include "measure.h"

#include <math.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

double bench_seconds(void) { return (double)bench_ns() / 1e9; }

uint64_t bench_ns(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (uint64_t)time.tv_sec * 1000000000 + (uint64_t)time.tv_nsec;
}

double bench_cpu_seconds(void)
{
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    return (double)usage.ru_utime.tv_sec + (double)usage.ru_stime.tv_sec +
           (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6;
}

uint64_t bench_proc(const char *path, const char *name)
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

/* ---- Device flushes ---- */

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

uint64_t bench_device_flushes(void) { return atomic_load(&flushes); }

/* ---- Latencies ---- */

void bench_latency_add(bench_latencies *to, uint64_t ns)
{
    int power = ns < 16 ? 0 : 63 - __builtin_clzll(ns) - 4;
    unsigned bucket = (unsigned)power * 16 + (unsigned)(ns >> power) % 16 + (power > 0 ? 16 : 0);
    to->counts[bucket < BENCH_BUCKETS ? bucket : BENCH_BUCKETS - 1]++;
    to->count++;
    if (ns > to->most)
        to->most = ns;
}

void bench_latency_join(bench_latencies *to, const bench_latencies *from)
{
    for (unsigned bucket = 0; bucket < BENCH_BUCKETS; bucket++)
        to->counts[bucket] += from->counts[bucket];
    to->count += from->count;
    if (from->most > to->most)
        to->most = from->most;
}

double bench_latency_at(const bench_latencies *of, double share)
{
    uint64_t wanted = (uint64_t)ceil(share * (double)of->count), seen = 0;
    for (unsigned bucket = 0; bucket < BENCH_BUCKETS && of->count != 0; bucket++) {
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

/* ---- Random numbers ---- */

__extension__ typedef unsigned __int128 wide;

bench_dice bench_dice_of(uint64_t seed)
{
    return (bench_dice){ (seed + 1) * UINT64_C(0x9E3779B97F4A7C15) | 1 };
}

static uint64_t roll(bench_dice *self)
{
    self->state ^= self->state << 13;
    self->state ^= self->state >> 7;
    self->state ^= self->state << 17;
    return self->state * UINT64_C(0x2545f4914f6cdd1d);
}

uint64_t bench_below(bench_dice *self, uint64_t bound)
{
    return (uint64_t)(((wide)roll(self) * bound) >> 64);
}

void bench_zipf_init(bench_zipf *self, uint64_t count)
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

uint64_t bench_zipf_rank(const bench_zipf *self, bench_dice *dice)
{
    double u = (double)(roll(dice) >> 11) / 9007199254740992.0, uz = u * self->zeta;
    if (uz < 1)
        return 0;
    if (uz < 1 + pow(0.5, self->theta))
        return 1;
    return (uint64_t)((double)self->count * pow(self->eta * u - self->eta + 1, self->alpha)) % self->count;
}

uint64_t bench_spread(uint64_t rank, uint64_t count) { return rank * UINT64_C(0x9E3779B97F4A7C15) % count; }

uint64_t bench_shuffle_step(uint64_t count)
{
    for (uint64_t step = (uint64_t)((double)count * 0.6180339887) | 1;; step += 2) {
        uint64_t a = step, b = count;
        while (b != 0) {
            uint64_t rest = a % b;
            a = b;
            b = rest;
        }
        if (a == 1)
            return step;
    }
}

uint64_t bench_shuffled(uint64_t i, uint64_t step, uint64_t count)
{
    return (uint64_t)((wide)i * step % count);
}
