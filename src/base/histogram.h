/* SPDX-License-Identifier: MIT */
/* histogram.h -- log-linear histogram (HdrHistogram's idea, Tene): 16 buckets per power of two, error below
 * 6.25 %. Adding is three relaxed atomic adds; any thread. */
#ifndef BL_BASE_HISTOGRAM_H
#define BL_BASE_HISTOGRAM_H

#include <stdatomic.h>
#include <stdint.h>

enum { BL_HISTOGRAM_BUCKETS = 64 * 16 };
typedef struct bl_histogram {
    _Atomic uint64_t count, sum, max;
    _Atomic uint64_t buckets[BL_HISTOGRAM_BUCKETS];
} bl_histogram;
void bl_histogram_clear(bl_histogram *histogram);
void bl_histogram_add(bl_histogram *histogram, uint64_t value);
void bl_histogram_merge(bl_histogram *into, const bl_histogram *from);
/* The upper bound of the bucket, never above the greatest value. */
uint64_t bl_histogram_quantile(const bl_histogram *histogram, double quantile);
uint64_t bl_histogram_count(const bl_histogram *histogram);
uint64_t bl_histogram_max(const bl_histogram *histogram);

#endif
