/* SPDX-License-Identifier: MIT */
/* histogram.c -- log-linear buckets.
 *
 * BUCKETS     A value below 16 has a bucket of its own. Above, a value with highest bit e >= 4 is in bucket
 *             (e - 3) * 16 + its next four bits: 16 buckets a power of two, so a bound is off by at most
 *             1/16.
 * THREADS     Any. Readers see counters that may be a few additions apart; totals are taken from the buckets
 *             themselves, so that a quantile is always one of the values added. */
#include "base/histogram.h"

#include "base/assert.h"

enum { SUB_BITS = 4, SUB_COUNT = 1 << SUB_BITS };
BL_STATIC_ASSERT((64 - SUB_BITS) * SUB_COUNT + SUB_COUNT <= BL_HISTOGRAM_BUCKETS, "every value has a bucket");

static unsigned bucket_of(uint64_t value)
{
    if (value < SUB_COUNT)
        return (unsigned)value;
    unsigned highest = 63 - (unsigned)__builtin_clzll(value);
    return (highest - SUB_BITS + 1) * SUB_COUNT + ((value >> (highest - SUB_BITS)) & (SUB_COUNT - 1));
}

static uint64_t bucket_last(unsigned bucket)
{
    if (bucket < SUB_COUNT)
        return bucket;
    unsigned shift = bucket / SUB_COUNT - 1;
    uint64_t first = (uint64_t)(SUB_COUNT + bucket % SUB_COUNT) << shift;
    return first + ((uint64_t)1 << shift) - 1;
}

static void raise_max(bl_histogram *histogram, uint64_t value)
{
    uint64_t seen = atomic_load_explicit(&histogram->max, memory_order_relaxed);
    do {
        if (value <= seen)
            return;
    } while (!atomic_compare_exchange_weak_explicit(&histogram->max, &seen, value, memory_order_relaxed,
                                                    memory_order_relaxed));
}

void bl_histogram_clear(bl_histogram *histogram)
{
    atomic_store_explicit(&histogram->count, 0, memory_order_relaxed);
    atomic_store_explicit(&histogram->sum, 0, memory_order_relaxed);
    atomic_store_explicit(&histogram->max, 0, memory_order_relaxed);
    for (unsigned i = 0; i < BL_HISTOGRAM_BUCKETS; i++)
        atomic_store_explicit(&histogram->buckets[i], 0, memory_order_relaxed);
}

void bl_histogram_add(bl_histogram *histogram, uint64_t value)
{
    atomic_fetch_add_explicit(&histogram->buckets[bucket_of(value)], 1, memory_order_relaxed);
    atomic_fetch_add_explicit(&histogram->count, 1, memory_order_relaxed);
    atomic_fetch_add_explicit(&histogram->sum, value, memory_order_relaxed);
    raise_max(histogram, value);
}

void bl_histogram_merge(bl_histogram *into, const bl_histogram *from)
{
    for (unsigned i = 0; i < BL_HISTOGRAM_BUCKETS; i++) {
        uint64_t count = atomic_load_explicit(&from->buckets[i], memory_order_relaxed);
        if (count != 0)
            atomic_fetch_add_explicit(&into->buckets[i], count, memory_order_relaxed);
    }
    atomic_fetch_add_explicit(&into->count, bl_histogram_count(from), memory_order_relaxed);
    atomic_fetch_add_explicit(&into->sum, atomic_load_explicit(&from->sum, memory_order_relaxed),
                              memory_order_relaxed);
    raise_max(into, bl_histogram_max(from));
}

uint64_t bl_histogram_quantile(const bl_histogram *histogram, double quantile)
{
    uint64_t total = 0;
    for (unsigned i = 0; i < BL_HISTOGRAM_BUCKETS; i++)
        total += atomic_load_explicit(&histogram->buckets[i], memory_order_relaxed);
    if (total == 0)
        return 0;
    double wanted = quantile * (double)total;
    uint64_t rank = wanted <= 1 ? 1 : wanted >= (double)total ? total : (uint64_t)wanted;
    if ((double)rank < wanted && rank < total)
        rank++;
    uint64_t seen = 0, last = 0; /* a clear meanwhile: the last bucket, so the largest value */
    for (unsigned i = 0; i < BL_HISTOGRAM_BUCKETS && seen < rank; i++) {
        seen += atomic_load_explicit(&histogram->buckets[i], memory_order_relaxed);
        last = bucket_last(i);
    }
    uint64_t max = bl_histogram_max(histogram);
    return last < max ? last : max;
}

uint64_t bl_histogram_count(const bl_histogram *histogram)
{
    return atomic_load_explicit(&histogram->count, memory_order_relaxed);
}

uint64_t bl_histogram_max(const bl_histogram *histogram)
{
    return atomic_load_explicit(&histogram->max, memory_order_relaxed);
}
