/* SPDX-License-Identifier: MIT */
/* bloom_filter.c -- one line of 512 bits a key: build, probe, and the rate to be expected.
 *
 * PROBE       With AVX2 eight probes are one step: eight products of the low 32 bits with powers of the
 *             multiplier; the top 4 bits of each choose a word (two permutes and a blend stand for a gather
 *             from the line's two registers), the next 5 a bit.
 * RATE        With m keys in a line each of its 512 bits is set with probability 1 - (511/512)^(m * probes),
 *             and a stranger passes with that to the power of probes. m is Poisson distributed (keys fall
 *             into lines by chance), so the rate is the mean over m. A plain Bloom filter would have no such
 *             spread: at 10 bits it passes 0.82 %, this one 0.96 %.
 * INVARIANTS  BLOOM-1, BLOOM-2 in bloom_filter.h.
 * THREADS     See there. */
#include "segment/bloom_filter.h"

#include "base/alloc.h"
#include "base/assert.h"
#include "base/coding.h"
#include "base/prefetch.h"
#include "base/status.h"
#include "segment/segment_format.h"

#define MULTIPLIER 0x9E3779B9u
enum { LINE_BITS = 512, FILL_DISTANCE = 16 };

/* ---- The rate ---- */

/* e^-x for x >= 0: Taylor's series for a small part of x, then squared as often as it was halved. */
static double exp_minus(double x)
{
    unsigned halvings = 0;
    for (; x > 0.25; halvings++)
        x /= 2;
    double term = 1, sum = 1;
    for (unsigned i = 1; i <= 14; i++) {
        term *= -x / i;
        sum += term;
    }
    while (halvings-- > 0)
        sum *= sum;
    return sum;
}

static double power(double base, uint32_t exponent)
{
    double product = 1;
    for (uint32_t i = 0; i < exponent; i++)
        product *= base;
    return product;
}

double bl_bloom_expected_rate(double keys_per_line, uint32_t probes)
{
    if (!(keys_per_line > 0))
        return 0;
    if (keys_per_line > 650) /* beyond 1 bit a key; and e^-x would underflow */
        return 1;
    double weight = exp_minus(keys_per_line), unset = 1, rate = 0;
    double unset_by_key = power((LINE_BITS - 1.0) / LINE_BITS, probes);
    for (unsigned keys = 0; keys <= keys_per_line || weight > 1e-18; keys++) {
        rate += weight * power(1 - unset, probes);
        unset *= unset_by_key;
        weight *= keys_per_line / (keys + 1);
    }
    return rate;
}

double bl_bloom_filter_expected_rate(const bl_bloom_filter *filter)
{
    return bl_bloom_expected_rate((double)filter->key_count / (double)filter->line_count, filter->probes);
}

uint32_t bl_bloom_probes(uint32_t bits_per_key_tenths)
{
    /* the most tenths of a bit up to which i + 1 probes have the lowest rate (test_bloom_filter computes it)
     * */
    static const uint16_t up_to[BL_BLOOM_PROBES_MAX - 1] = { 20,  35,  50,  66,  82,  100, 118, 137,
                                                             159, 182, 208, 237, 269, 304, 320 };
    uint32_t probes = 1;
    while (probes < BL_BLOOM_PROBES_MAX - 1 && bits_per_key_tenths > up_to[probes - 1])
        probes++;
    return probes;
}

/* ---- Probing ---- */

bool bl_bloom_filter_may_contain_scalar(const bl_bloom_filter *filter, uint64_t hash)
{
    const uint8_t *line = bl_bloom_filter_line(filter, hash);
    uint32_t x = (uint32_t)hash;
    for (uint32_t i = 0; i < filter->probes; i++) {
        x *= MULTIPLIER;
        if ((bl_get_u32(line + 4 * (size_t)(x >> 28)) >> (x >> 23 & 31) & 1) == 0)
            return false;
    }
    return true;
}

#if defined(__x86_64__)
#include <immintrin.h>

/* MULTIPLIER to the powers of 1 .. 8, modulo 2^32. */
static const uint32_t powers[8] = { 0x9E3779B9, 0xE35E67B1, 0x734297E9, 0x35FBE861,
                                    0xDEB7C719, 0x0448B211, 0x3459B749, 0xAB25F4C1 };
/* A load that begins 8 - n lanes before the end of the ones has n of them. */
static const uint32_t lane_masks[16] = { UINT32_MAX, UINT32_MAX, UINT32_MAX, UINT32_MAX,
                                         UINT32_MAX, UINT32_MAX, UINT32_MAX, UINT32_MAX };

/* Are the bits of the first `probes` (1 .. 8) lanes of x set? */
__attribute__((target("avx2"))) static inline bool step_avx2(__m256i low, __m256i high, __m256i x,
                                                             uint32_t probes)
{
    __m256i word = _mm256_srli_epi32(x, 28); /* a permute looks at its low 3 bits, the blend at x's top bit */
    __m256 in_low = _mm256_castsi256_ps(_mm256_permutevar8x32_epi32(low, word));
    __m256 in_high = _mm256_castsi256_ps(_mm256_permutevar8x32_epi32(high, word));
    __m256i words = _mm256_castps_si256(_mm256_blendv_ps(in_low, in_high, _mm256_castsi256_ps(x)));
    __m256i places = _mm256_and_si256(_mm256_srli_epi32(x, 23), _mm256_set1_epi32(31));
    __m256i bits = _mm256_sllv_epi32(_mm256_set1_epi32(1), places);
    __m256i mask = _mm256_loadu_si256((const __m256i *)(const void *)(lane_masks + 8 - probes));
    return _mm256_testc_si256(words, _mm256_and_si256(bits, mask)) != 0;
}

__attribute__((target("avx2"))) static bool may_contain_avx2(const bl_bloom_filter *filter, uint64_t hash)
{
    const uint8_t *line = bl_bloom_filter_line(filter, hash);
    __m256i low = _mm256_loadu_si256((const __m256i *)(const void *)line);
    __m256i high = _mm256_loadu_si256((const __m256i *)(const void *)(line + 32));
    __m256i x = _mm256_mullo_epi32(_mm256_set1_epi32((int32_t)(uint32_t)hash),
                                   _mm256_loadu_si256((const __m256i *)(const void *)powers));
    uint32_t probes = filter->probes;
    if (bl_likely(probes <= 8))
        return step_avx2(low, high, x, probes);
    if (!step_avx2(low, high, x, 8))
        return false;
    x = _mm256_mullo_epi32(x, _mm256_set1_epi32((int32_t)powers[7]));
    return step_avx2(low, high, x, probes - 8);
}

bool bl_bloom_filter_may_contain(const bl_bloom_filter *filter, uint64_t hash)
{
    return __builtin_cpu_supports("avx2") ? may_contain_avx2(filter, hash)
                                          : bl_bloom_filter_may_contain_scalar(filter, hash);
}
#else
bool bl_bloom_filter_may_contain(const bl_bloom_filter *filter, uint64_t hash)
{
    return bl_bloom_filter_may_contain_scalar(filter, hash);
}
#endif

/* ---- The section ---- */

bole_status bl_bloom_filter_init(bl_bloom_filter *filter, bole_slice section, const char *file,
                                 uint64_t offset, bole_error *error)
{
    const uint8_t *data = section.data;
    *filter = (bl_bloom_filter){ 0 };
    if (section.size < BL_BLOOM_HEADER_BYTES)
        return bl_corrupt(error, file, offset, "a filter of %zu bytes", section.size);
    if (data[0] != BL_FILTER_CACHE_LINE_BLOOM)
        return bl_fail(error, BOLE_UNSUPPORTED, "%s: filter kind %u", file, data[0]);
    uint64_t lines = bl_get_u64(data + 8), remain = section.size - BL_BLOOM_HEADER_BYTES;
    uint8_t probes = data[1];
    if (probes == 0 || probes > BL_BLOOM_PROBES_MAX || lines == 0 || lines != remain / BL_BLOOM_LINE_BYTES ||
        remain % BL_BLOOM_LINE_BYTES != 0)
        return bl_corrupt(error, file, offset, "a filter of %llu lines and %u probes in %zu bytes",
                          (unsigned long long)lines, probes, section.size);
    for (size_t i = 4; i < BL_BLOOM_HEADER_BYTES; i++) {
        if ((i < 8 || i >= 24) && data[i] != 0)
            return bl_fail(error, BOLE_UNSUPPORTED, "%s: filter with unknown header fields", file);
    }
    filter->lines = data + BL_BLOOM_HEADER_BYTES;
    filter->line_count = lines;
    filter->key_count = bl_get_u64(data + 16);
    filter->probes = probes;
    filter->bits_per_key_tenths = bl_get_u16(data + 2);
    return BOLE_OK;
}

void bl_bloom_builder_init(bl_bloom_builder *builder, uint32_t bits_per_key_tenths)
{
    if (bits_per_key_tenths < BL_BLOOM_BITS_TENTHS_MIN)
        bits_per_key_tenths = BL_BLOOM_BITS_TENTHS_MIN;
    if (bits_per_key_tenths > BL_BLOOM_BITS_TENTHS_MAX)
        bits_per_key_tenths = BL_BLOOM_BITS_TENTHS_MAX;
    *builder = (bl_bloom_builder){ .bits_per_key_tenths = bits_per_key_tenths };
}

void bl_bloom_builder_deinit(bl_bloom_builder *builder)
{
    bl_free(builder->hashes);
    *builder = (bl_bloom_builder){ 0 };
}

bool bl_bloom_builder_reserve(bl_bloom_builder *builder, uint64_t count)
{
    size_t bytes;
    if (count <= builder->capacity)
        return true;
    if (__builtin_mul_overflow(count, sizeof(uint64_t), &bytes))
        return false;
    uint64_t *moved = bl_realloc(builder->hashes, bytes);
    if (moved == NULL)
        return false;
    builder->hashes = moved;
    builder->capacity = count;
    return true;
}

static uint64_t lines_of(const bl_bloom_builder *builder)
{
    uint64_t bits = (uint64_t)(((__uint128_t)builder->count * builder->bits_per_key_tenths + 9) / 10);
    uint64_t lines = (bits + LINE_BITS - 1) / LINE_BITS;
    return lines == 0 ? 1 : lines;
}

size_t bl_bloom_builder_section_bytes(const bl_bloom_builder *builder)
{
    return BL_BLOOM_HEADER_BYTES + (size_t)lines_of(builder) * BL_BLOOM_LINE_BYTES;
}

void bl_bloom_builder_finish(const bl_bloom_builder *builder, uint8_t *section)
{
    uint64_t lines = lines_of(builder);
    uint32_t probes = bl_bloom_probes(builder->bits_per_key_tenths);
    memset(section, 0, BL_BLOOM_HEADER_BYTES + (size_t)lines * BL_BLOOM_LINE_BYTES);
    section[0] = BL_FILTER_CACHE_LINE_BLOOM;
    section[1] = (uint8_t)probes;
    bl_put_u16(section + 2, (uint16_t)builder->bits_per_key_tenths);
    bl_put_u64(section + 8, lines);
    bl_put_u64(section + 16, builder->count);
    bl_bloom_filter filter = { .lines = section + BL_BLOOM_HEADER_BYTES, .line_count = lines };
    for (uint64_t i = 0; i < builder->count; i++) {
        if (i + FILL_DISTANCE < builder->count)
            bl_prefetch_to_write(bl_bloom_filter_line(&filter, builder->hashes[i + FILL_DISTANCE]));
        size_t line_at = (size_t)(bl_bloom_filter_line(&filter, builder->hashes[i]) - section);
        uint32_t x = (uint32_t)builder->hashes[i];
        for (uint32_t probe = 0; probe < probes; probe++) {
            x *= MULTIPLIER;
            uint8_t *word = section + line_at + 4 * (size_t)(x >> 28);
            bl_put_u32(word, bl_get_u32(word) | UINT32_C(1) << (x >> 23 & 31));
        }
    }
}
