/* SPDX-License-Identifier: MIT */
/* measure.h -- clocks, latencies, what the kernel counted, and random numbers.
 *
 * THREADS  Latencies and dice belong to one thread; device flushes of all threads are counted. */
#ifndef BOLE_BENCH_MEASURE_H
#define BOLE_BENCH_MEASURE_H

#include <stdbool.h>
#include <stdint.h>

double bench_seconds(void);     /* of a clock that only goes on */
uint64_t bench_ns(void);        /* the same */
double bench_cpu_seconds(void); /* of this process, all threads */
/* The number behind `name` in a file of /proc. 0: it is not there. */
uint64_t bench_proc(const char *path, const char *name);
/* fsync and fdatasync of this process: whoever asks for one passes through the runner. */
uint64_t bench_device_flushes(void);

/* ---- Latencies: buckets of 1/16 of a power of two, nanoseconds ---- */
enum { BENCH_BUCKETS = 64 * 16 };
typedef struct bench_latencies {
    uint64_t counts[BENCH_BUCKETS], count, most;
} bench_latencies;

void bench_latency_add(bench_latencies *to, uint64_t ns);
void bench_latency_join(bench_latencies *to, const bench_latencies *from);
/* The latency in microseconds that `share` of all do not exceed; 0 when there is none. */
double bench_latency_at(const bench_latencies *of, double share);

/* ---- Random numbers: xorshift; zipf by Gray et al. ("Quickly generating billion-record databases", 1994) ---- */
typedef struct bench_dice {
    uint64_t state; /* not 0 */
} bench_dice;
bench_dice bench_dice_of(uint64_t seed);
uint64_t bench_below(bench_dice *self, uint64_t bound);

typedef struct bench_zipf {
    uint64_t count;
    double theta, alpha, zeta, eta;
} bench_zipf;
void bench_zipf_init(bench_zipf *self, uint64_t count); /* theta 0.99 */
/* 0 is the rank drawn most often. */
uint64_t bench_zipf_rank(const bench_zipf *self, bench_dice *dice);
/* A rank spread over all numbers, so that neighbours are not hot together. */
uint64_t bench_spread(uint64_t rank, uint64_t count);

/* Every number below `count` once, in an order that looks random: `step` shares no factor with count. */
uint64_t bench_shuffle_step(uint64_t count);
uint64_t bench_shuffled(uint64_t i, uint64_t step, uint64_t count);

#endif
