/* SPDX-License-Identifier: MIT */
/* micro_bloom.c -- what a filter costs: building, and a probe of a line that is near, or far.
 *
 * Not part of any build: cc -O2 -Iinclude -Isrc bench/micro_bloom.c LIBBOLE.a -llz4 -lzstd -lpthread */
#include "base/alloc.h"
#include "base/hash.h"
#include "base/prng.h"
#include "platform/page_arena.h"
#include "segment/bloom_filter.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

static double cpu_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return (double)now.tv_sec * 1e9 + (double)now.tv_nsec;
}

typedef bool probe_function(const bl_bloom_filter *filter, uint64_t hash);

static double probes(const bl_bloom_filter *filter, probe_function *probe, uint64_t count, uint64_t *passed)
{
    uint64_t hash = 1;
    *passed = 0;
    double begin = cpu_ns();
    for (uint64_t i = 0; i < count; i++) {
        hash = (hash + *passed) * UINT64_C(0x9E3779B97F4A7C15) + 1; /* the next waits for the answer before */
        hash ^= hash >> 29;
        if (probe(filter, hash)) { /* a branch, as a get has it: the processor runs ahead of it */
            ++*passed;
            __asm__ volatile("");
        }
    }
    return (cpu_ns() - begin) / (double)count;
}

static void measure(uint64_t keys, uint32_t bits)
{
    bl_bloom_builder builder;
    bl_bloom_builder_init(&builder, bits * 10);
    if (!bl_bloom_builder_reserve(&builder, keys))
        exit(1);
    for (uint64_t i = 0; i < keys; i++) {
        uint64_t hash = bl_hash(&i, sizeof i);
        if (!bl_bloom_builder_add(&builder, hash))
            exit(1);
    }
    size_t bytes = bl_bloom_builder_section_bytes(&builder);
    uint8_t *section = bl_region_alloc(bytes);
    double begin = cpu_ns();
    bl_bloom_builder_finish(&builder, section);
    double built = (cpu_ns() - begin) / (double)keys;
    bl_bloom_filter filter;
    if (bl_bloom_filter_init(&filter, (bole_slice){ section, bytes }, "filter", 0, NULL) != BOLE_OK)
        exit(1);
    uint64_t passed, passed_scalar;
    double simd = 1e9, scalar = 1e9;
    for (int round = 0; round < 3; round++) {
        double ns = probes(&filter, bl_bloom_filter_may_contain, 2000000, &passed);
        simd = ns < simd ? ns : simd;
        ns = probes(&filter, bl_bloom_filter_may_contain_scalar, 2000000, &passed_scalar);
        scalar = ns < scalar ? ns : scalar;
    }
    printf("%9llu keys %2u bits: build %5.1f ns a key, absent %5.1f ns (scalar %5.1f), %.3f %% pass\n",
           (unsigned long long)keys, bits, built, simd, scalar, (double)passed / 20000);
    bl_bloom_builder_deinit(&builder);
    bl_region_free(section, bytes);
}

int main(void)
{
    measure(10000, 10);
    measure(600000, 10);
    measure(600000, 14);
    measure(20000000, 10);
    return 0;
}
