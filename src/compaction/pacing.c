/* SPDX-License-Identifier: MIT */
/* pacing.c -- from what is owed to how slowly a writer goes.
 *
 * Each of three pressures is a number: 0 where it begins, 1 where the writer should go as slowly as merges go, and
 * beyond. The greatest decides. Its delay is that of the merge rate times
 *
 *     pressure up to 1    p^2                  flat at the start: small debts cost next to nothing
 *     beyond              p^2 + 8 (p - 1)^2    steeper, with the same slope at 1: whatever the rewriting of old data
 *                                              costs beside the new, the writer meets its balance soon behind it
 *
 * INVARIANTS  (PACE-1) Continuous in every argument but the count of memtables; never falls when a pressure rises.
 *             (PACE-2) Finite: pressure counts up to 16, delay up to 1 s per KiB. */
#include "compaction/pacing.h"

#include <stddef.h>

static const uint64_t RATE_UNKNOWN = UINT64_C(128) << 20; /* bytes a second: a merge on one slow core */
static const uint64_t RATE_MIN = UINT64_C(64) << 10;
static const double PRESSURE_MAX = 16;
static const uint64_t DELAY_NS_MAX = UINT64_C(1000) * 1000 * 1000;
static const uint64_t SEALED_FREE = 2;

/* 0 at `from`, 1 at `to`, on along that line. */
static double pressure(uint64_t at, uint64_t from, uint64_t to)
{
    if (at <= from)
        return 0;
    double width = to > from ? (double)(to - from) : 1;
    double value = (double)(at - from) / width;
    return value < PRESSURE_MAX ? value : PRESSURE_MAX;
}

static double slowness(double value)
{
    double beyond = value > 1 ? value - 1 : 0;
    return value * value + 8 * beyond * beyond;
}

uint64_t bl_pacing_delay_ns_per_kib(const bl_pacing_input *input, bl_pacing_cause *cause)
{
    double greatest = pressure(input->debt_bytes, input->debt_free_bytes, input->debt_high_bytes);
    bl_pacing_cause why = BL_PACING_DEBT;
    double flush = pressure(input->sealed_memtables, SEALED_FREE, 2 * SEALED_FREE);
    if (flush > greatest) {
        greatest = flush;
        why = BL_PACING_FLUSH;
    }
    double memory = 0;
    if (input->memory_limit != 0)
        memory = pressure(input->memory_used, input->memory_limit,
                          input->memory_limit + input->memory_limit / 4);
    if (memory > greatest) {
        greatest = memory;
        why = BL_PACING_MEMORY;
    }
    uint64_t rate = input->merge_bytes_per_second == 0 ? RATE_UNKNOWN : input->merge_bytes_per_second;
    if (rate < RATE_MIN)
        rate = RATE_MIN;
    double delay = 1024e9 / (double)rate * slowness(greatest);
    uint64_t whole = delay < (double)DELAY_NS_MAX ? (uint64_t)delay : DELAY_NS_MAX;
    if (greatest > 0 && whole == 0)
        whole = 1; /* a pressure is never without a delay, so that it can be seen */
    if (cause != NULL)
        *cause = whole == 0 ? BL_PACING_NONE : why;
    return whole;
}
