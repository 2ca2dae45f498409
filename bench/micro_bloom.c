/* SPDX-License-Identifier: MIT */
/* micro_bloom.c -- what a filter costs: building, and a probe of a line that is near, or far. */
#include "base/alloc.h"
#include "base/hash.h"
#include "base/prng.h"
#include "platform/page_arena.h"
#include "micro_clock.h"
#include "segment/bloom_filter.h"

enum { ROUNDS = 3, PROBES = 2000000 };

typedef bool probe_function(const bl_bloom_filter *filter, uint64_t hash);

static void probes(const bl_bloom_filter *filter, probe_function *probe, const char *name)
{
    uint64_t count = micro_less(PROBES), passed = 0;
    uint64_t hash = 1;
    micro_begin();
    for (uint64_t i = 0; i < count; i++) {
        hash = (hash + passed) * UINT64_C(0x9E3779B97F4A7C15) + 1; /* the next waits for the answer before */
        hash ^= hash >> 29;
        if (probe(filter, hash)) { /* a branch, as a get has it: the processor runs ahead of it */
            ++passed;
            __asm__ volatile("");
        }
    }
    micro_end(name, count);
    if (passed > count / 20) {
        fprintf(stderr, "micro_bloom: %s: too many pass\n", name);
        exit(1);
    }
}

static void measure(uint64_t named, uint32_t bits)
{
    uint64_t keys = micro_less(named);
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
    char name[64];
    snprintf(name, sizeof name, "build, %llu keys, %u bits", (unsigned long long)named, bits);
    micro_begin();
    bl_bloom_builder_finish(&builder, section);
    micro_end(name, keys);
    bl_bloom_filter filter;
    if (bl_bloom_filter_init(&filter, (bole_slice){ section, bytes }, "filter", 0, NULL) != BOLE_OK)
        exit(1);
    for (int round = 0; round < ROUNDS; round++) {
        snprintf(name, sizeof name, "absent, %llu keys, %u bits", (unsigned long long)named, bits);
        probes(&filter, bl_bloom_filter_may_contain, name);
        snprintf(name, sizeof name, "absent, %llu keys, %u bits, scalar", (unsigned long long)named, bits);
        probes(&filter, bl_bloom_filter_may_contain_scalar, name);
    }
    bl_bloom_builder_deinit(&builder);
    bl_region_free(section, bytes);
}

int main(void)
{
    measure(10000, 10);
    measure(600000, 10);
    measure(600000, 14);
    measure(20000000, 10);
    micro_print();
    return 0;
}
