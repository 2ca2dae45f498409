/* SPDX-License-Identifier: MIT */
/* micro_clock.h -- what the micro-benchmarks measure with: nanoseconds an operation, instructions under callgrind.
 *
 *     micro_begin(); ...; micro_end("get, found", count);       as often as there are rounds, then
 *     micro_print();                                            one line a name: the best and the median round
 * The fastest round is the one to look at: a shared machine only adds. Under callgrind each micro_end makes it write
 * down what was counted since micro_begin, with name and count as its reason; scripts/micro.py puts both side by side.
 * Time is the thread's own (processor time); who waits for a disk uses another clock and micro_note.
 * THREADS  One. */
#ifndef BOLE_BENCH_MICRO_CLOCK_H
#define BOLE_BENCH_MICRO_CLOCK_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#if defined(__has_include)
#if __has_include(<valgrind/callgrind.h>)
#define MICRO_COUNTS
#include <valgrind/callgrind.h>
#endif
#endif

enum { MICRO_NAMES = 128, MICRO_ROUNDS = 32 };

static struct {
    char name[64];
    double ns[MICRO_ROUNDS];
    unsigned rounds;
} micro_results[MICRO_NAMES];
static unsigned micro_count;
static double micro_begun, micro_spent;

static inline double micro_now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
    return (double)time.tv_sec * 1e9 + (double)time.tv_nsec;
}

/* A twentieth where each instruction is counted, which takes fifty times as long. */
static inline uint64_t micro_less(uint64_t count)
{
#ifdef MICRO_COUNTS
    return RUNNING_ON_VALGRIND ? count / 20 : count;
#else
    return count;
#endif
}

static inline void micro_begin(void)
{
#ifdef MICRO_COUNTS
    CALLGRIND_ZERO_STATS;
#endif
    micro_spent = 0;
    micro_begun = micro_now();
}

/* What happens between these two is not counted. */
static inline void micro_pause(void)
{
    micro_spent += micro_now() - micro_begun;
#ifdef MICRO_COUNTS
    CALLGRIND_TOGGLE_COLLECT;
#endif
}

static inline void micro_resume(void)
{
#ifdef MICRO_COUNTS
    CALLGRIND_TOGGLE_COLLECT;
#endif
    micro_begun = micro_now();
}

static inline void micro_note(const char *name, double ns)
{
    unsigned at = 0;
    while (at < micro_count && strcmp(micro_results[at].name, name) != 0)
        at++;
    if (at == MICRO_NAMES)
        abort();
    if (at == micro_count)
        snprintf(micro_results[micro_count++].name, sizeof micro_results[0].name, "%s", name);
    if (micro_results[at].rounds < MICRO_ROUNDS)
        micro_results[at].ns[micro_results[at].rounds++] = ns;
}

static inline void micro_end(const char *name, uint64_t operations)
{
    double ns = (micro_spent + micro_now() - micro_begun) / (double)operations;
#ifdef MICRO_COUNTS
    char reason[128];
    snprintf(reason, sizeof reason, "%s|%llu", name, (unsigned long long)operations);
    CALLGRIND_DUMP_STATS_AT(reason);
#endif
    micro_note(name, ns);
}

static inline int micro_compare(const void *a, const void *b)
{
    double left = *(const double *)a, right = *(const double *)b;
    return left < right ? -1 : left > right;
}

static inline void micro_print(void)
{
    for (unsigned i = 0; i < micro_count; i++) {
        double *ns = micro_results[i].ns;
        qsort(ns, micro_results[i].rounds, sizeof ns[0], micro_compare);
        printf("%s\t%.2f\t%.2f\n", micro_results[i].name, ns[0], ns[micro_results[i].rounds / 2]);
    }
}

#endif
