/* SPDX-License-Identifier: MIT */
/* bloom_filter.h -- "certainly not here" for one cache line: the brief's BloomFilter.
 *
 * A blocked Bloom filter (Putze, Sanders, Singler: "Cache-, hash- and space-efficient Bloom filters", 2007):
 * a key has one line of 512 bits, chosen by the high part of its hash, and sets `probes` bits in it, chosen
 * by remixing the low 32 bits with a multiplication each (the idea of RocksDB's FastLocalBloom). A line is
 * filled by about 512 / bits keys, more or less by chance, which costs some rate against a plain Bloom
 * filter and saves all but one cache miss.
 *
 * SECTION     offset  size  field                                          (all integers little-endian)
 *                  0     1  kind         bl_filter_kind
 *                  1     1  probes       1 .. 16
 *                  2     2  bits         per key, in tenths
 *                  4     4  zero
 *                  8     8  lines
 *                 16     8  keys         distinct keys that were added
 *                 24    40  zero
 *                 64     -  lines of 64 bytes
 *             The checksum of the section stands in the footer's directory.
 * PROBE i     x(0) = low 32 bits of the hash times 0x9E3779B9; x(i + 1) = x(i) times the same, mod 2^32.
 *             Word x(i) >> 28 of the line's 16 u32, bit (x(i) >> 23) & 31 of it.
 * INVARIANTS  (BLOOM-1) A key that was added is never denied.
 *             (BLOOM-2) The scalar and the AVX2 form give the same answer for every line and hash.
 * THREADS     A filter is immutable; any thread. */
#ifndef BL_SEGMENT_BLOOM_FILTER_H
#define BL_SEGMENT_BLOOM_FILTER_H

#include "base/prefetch.h"

#include <bole/bole.h>

enum {
    BL_BLOOM_HEADER_BYTES = 64,
    BL_BLOOM_LINE_BYTES = 64,
    BL_BLOOM_PROBES_MAX = 16,
    BL_BLOOM_BITS_TENTHS_MIN = 10,
    BL_BLOOM_BITS_TENTHS_MAX = 320,
};

typedef struct bl_bloom_filter {
    const uint8_t *lines; /* in the section's bytes; best aligned to 64 */
    uint64_t line_count, key_count;
    uint32_t probes, bits_per_key_tenths;
} bl_bloom_filter;

/* Use the section's bytes (checked against their checksum) where they are; they must outlive the filter.
 * Read them to memory aligned to 64. An unknown kind is BOLE_UNSUPPORTED. */
BOLE_CHECKED bole_status bl_bloom_filter_init(bl_bloom_filter *filter, bole_slice section, const char *file,
                                              uint64_t offset, bole_error *error);

static inline const uint8_t *bl_bloom_filter_line(const bl_bloom_filter *filter, uint64_t hash)
{
    return filter->lines + (size_t)(((__uint128_t)hash * filter->line_count) >> 64) * BL_BLOOM_LINE_BYTES;
}
static inline void bl_bloom_filter_prefetch(const bl_bloom_filter *filter, uint64_t hash)
{
    bl_prefetch(bl_bloom_filter_line(filter, hash));
}
/* May the key with this bl_hash have been added? Cost: one cache line, below 10 ns when it is near. */
bool bl_bloom_filter_may_contain(const bl_bloom_filter *filter, uint64_t hash);
/* The same without SIMD, for tests and as the definition. */
bool bl_bloom_filter_may_contain_scalar(const bl_bloom_filter *filter, uint64_t hash);
/* Share of keys not in it for which it says maybe: the mean over the Poisson distribution of keys a line. */
double bl_bloom_filter_expected_rate(const bl_bloom_filter *filter);
double bl_bloom_expected_rate(double keys_per_line, uint32_t probes);
/* The number of probes with the lowest rate. */
uint32_t bl_bloom_probes(uint32_t bits_per_key_tenths);

/* ---- Building: gather hashes, then fill all at once ---- */

typedef struct bl_bloom_builder {
    uint64_t *hashes;
    uint64_t count, capacity;
    uint32_t bits_per_key_tenths;
} bl_bloom_builder;
/* Bits are clamped to 1.0 .. 32.0. */
void bl_bloom_builder_init(bl_bloom_builder *builder, uint32_t bits_per_key_tenths);
void bl_bloom_builder_deinit(bl_bloom_builder *builder);
BOLE_CHECKED bool bl_bloom_builder_reserve(bl_bloom_builder *builder, uint64_t count);
/* A hash equal to the one before (another version of the key) is added once. False when out of memory. */
static inline bool bl_bloom_builder_add(bl_bloom_builder *builder, uint64_t hash)
{
    if (builder->count > 0 && builder->hashes[builder->count - 1] == hash)
        return true;
    if (__builtin_expect(builder->count == builder->capacity, 0) &&
        !bl_bloom_builder_reserve(builder, builder->capacity < 512 ? 1024 : builder->capacity * 2))
        return false;
    builder->hashes[builder->count++] = hash;
    return true;
}
/* Bytes of the section for the hashes added so far. */
size_t bl_bloom_builder_section_bytes(const bl_bloom_builder *builder);
/* Write the section to `section` of that many bytes, aligned to 64. */
void bl_bloom_builder_finish(const bl_bloom_builder *builder, uint8_t *section);

#endif
