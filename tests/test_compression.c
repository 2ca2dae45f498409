/* SPDX-License-Identifier: MIT */
/* test_compression.c -- what is compressed comes back; nothing is written behind a capacity, whatever the
 * input. */
#include "entries_fixture.h"

#include "base/alloc.h"
#include "segment/compression.h"

#include <dlfcn.h>
#include <zstd.h>

static const bl_compression_kind kinds[] = { BL_COMPRESSED_LZ4, BL_COMPRESSED_ZSTD };

/* Text-like bytes that shrink, or noise that does not. */
static void fill(bl_prng *prng, uint8_t *data, size_t bytes, bool noise)
{
    static const char words[] = "the quick brown fox jumps over the lazy dog and so on and on and on. ";
    for (size_t i = 0; i < bytes; i++)
        data[i] = noise ? (uint8_t)bl_prng_next(prng)
                        : (uint8_t)words[(i + bl_prng_below(prng, 40) / 39) % 60];
}

/* Goal: a round trip gives the same bytes, and compression stays in its capacity. Method: many sizes, text
 * and noise, in memory of exactly the capacity. */
static void what_is_compressed_comes_back(void **state)
{
    (void)state;
    bl_prng prng;
    bl_prng_init(&prng, test_seed(10));
    for (unsigned k = 0; k < 2; k++) {
        bl_compressor *compressor;
        bole_error error;
        assert_ok(bl_compressor_create(kinds[k], 0, &compressor, &error), &error);
        unsigned shrunk = 0;
        for (unsigned round = 0; round < 200; round++) {
            size_t bytes = bl_prng_below(&prng, round % 10 == 0 ? 300000 : 5000);
            uint8_t *raw = malloc(bytes + 1);
            fill(&prng, raw, bytes, round % 3 == 0);
            size_t capacity = bl_prng_chance(&prng, 3) ? bl_prng_below(&prng, bytes + 1) : bytes - bytes / 8;
            uint8_t *stored = malloc(capacity + 1), *back = malloc(bytes + 1);
            size_t got = bl_compress(compressor, raw, bytes, stored, capacity);
            assert_true(got <= capacity);
            if (got != 0) {
                stored = realloc(stored, got);
                assert_ok(bl_decompress((uint8_t)kinds[k], stored, got, back, bytes, "a.seg", 9, &error),
                          &error);
                assert_memory_equal(raw, back, bytes);
                shrunk++;
            }
            free(raw);
            free(stored);
            free(back);
        }
        assert_true(shrunk > 50 && shrunk < 200);
        bl_compressor_destroy(compressor);
    }
    bl_compression_release();
}

static struct {
    const void *stored;
    size_t stored_bytes, raw_bytes;
    unsigned more; /* readers inside each other */
} nested;

#define NEXT(name) ((__typeof__(&(name)))(uintptr_t)dlsym(RTLD_NEXT, #name))

/* In the place of the library's, while a context is in use: another reader comes. */
size_t ZSTD_decompressDCtx(ZSTD_DCtx *context, void *out, size_t capacity, const void *stored, size_t size)
{
    if (nested.more != 0) {
        uint8_t *back = malloc(nested.raw_bytes);
        nested.more--;
        assert_ok(bl_decompress(BL_COMPRESSED_ZSTD, nested.stored, nested.stored_bytes, back,
                                nested.raw_bytes, "a.seg", 9, NULL),
                  NULL);
        for (size_t i = 0; i < nested.raw_bytes; i++)
            assert_int_equal(back[i], 'n');
        free(back);
    }
    return NEXT(ZSTD_decompressDCtx)(context, out, capacity, stored, size);
}

/* Goal: as many readers at once as come; the contexts of those that are more than the pool keeps are freed, and the
 * pool's are at the end. */
static void more_readers_than_contexts_are_kept_for(void **state)
{
    (void)state;
    enum { BYTES = 3000, READERS = 20 };
    static uint8_t raw[BYTES], stored[BYTES], back[BYTES];
    memset(raw, 'n', sizeof raw);
    bl_compressor *compressor;
    assert_ok(bl_compressor_create(BL_COMPRESSED_ZSTD, 0, &compressor, NULL), NULL);
    size_t size = bl_compress(compressor, raw, BYTES, stored, BYTES);
    assert_true(size > 0);
    bl_compressor_destroy(compressor);
    int64_t live = bl_alloc_live(), kept[2];
    for (int round = 0; round < 2; round++) { /* not one more is kept the second time */
        nested.stored = stored, nested.stored_bytes = size, nested.raw_bytes = BYTES, nested.more = READERS;
        assert_ok(bl_decompress(BL_COMPRESSED_ZSTD, stored, size, back, BYTES, "a.seg", 9, NULL), NULL);
        assert_memory_equal(back, raw, BYTES);
        assert_int_equal(nested.more, 0);
        kept[round] = bl_alloc_live();
    }
    assert_int_equal(kept[0], kept[1]);
    bl_compression_release();
    assert_int_equal(bl_alloc_live(), live);
}

/* Goal: damaged input is a status, and nothing is read or written out of bounds. Method: flipped bits, cut
 * ends and wrong lengths, in memory of exact size. */
static void damaged_input_is_corrupt(void **state)
{
    (void)state;
    bl_prng prng;
    bl_prng_init(&prng, test_seed(11));
    uint8_t raw[3000], stored[3000];
    for (unsigned k = 0; k < 2; k++) {
        bl_compressor *compressor;
        assert_ok(bl_compressor_create(kinds[k], 3, &compressor, NULL), NULL);
        fill(&prng, raw, sizeof raw, false);
        size_t got = bl_compress(compressor, raw, sizeof raw, stored, sizeof stored);
        assert_true(got > 0);
        bl_compressor_destroy(compressor);
        unsigned refused = 0;
        for (unsigned round = 0; round < 2000; round++) {
            size_t bytes = round % 4 == 0 ? bl_prng_below(&prng, got + 1) : got;
            size_t raw_bytes = round % 5 == 0 ? bl_prng_below(&prng, 2 * sizeof raw) : sizeof raw;
            uint8_t *copy = test_copy(stored, bytes), *out = malloc(raw_bytes + 1);
            if (bytes > 0)
                copy[bl_prng_below(&prng, bytes)] ^= (uint8_t)(1u << bl_prng_below(&prng, 8));
            bole_error error = BOLE_ERROR_INIT;
            bole_status status = bl_decompress((uint8_t)kinds[k], copy, bytes, out, raw_bytes, "a.seg", 4096,
                                               &error);
            assert_true(status == BOLE_OK || status == BOLE_CORRUPT);
            if (status != BOLE_OK) {
                refused++;
                assert_string_equal(error.file, "a.seg");
                assert_int_equal(error.offset, 4096);
            }
            free(copy);
            free(out);
        }
        assert_true(refused > 500);
    }
    bl_compression_release();
}

/* No room, more bytes than a block ever has, no compression: it does not get smaller, and is stored as it is. */
static void what_cannot_be_compressed_is_left(void **state)
{
    (void)state;
    for (size_t k = 0; k < 2; k++) {
        bl_compressor *compressor;
        uint8_t raw[1000] = { 0 }, out[1000];
        assert_ok(bl_compressor_create(kinds[k], 0, &compressor, NULL), NULL);
        assert_int_equal(bl_compress(compressor, raw, sizeof raw, out, 0), 0);
        assert_int_equal(bl_compress(compressor, raw, (size_t)1 << 40, out, sizeof out), 0);
        assert_true(bl_compress(compressor, raw, sizeof raw, out, sizeof out) > 0);
        bl_compressor_destroy(compressor);
    }
    bl_compressor_destroy(NULL);
    bl_compression_release();
}

/* Goal: kinds and levels that there are not are refused with their own statuses. */
static void unknown_kinds_and_levels_are_refused(void **state)
{
    (void)state;
    bl_compressor *compressor;
    uint8_t byte = 0, out;
    assert_false(bl_compression_is_known(3));
    assert_string_equal(bl_compression_name(BL_COMPRESSED_ZSTD), "zstd");
    assert_string_equal(bl_compression_name(77), "?");
    assert_status(BOLE_UNSUPPORTED, bl_compressor_create((bl_compression_kind)3, 0, &compressor, NULL), NULL);
    assert_null(compressor);
    assert_status(BOLE_INVALID, bl_compressor_create(BL_COMPRESSED_ZSTD, 23, &compressor, NULL), NULL);
    assert_status(BOLE_INVALID, bl_compressor_create(BL_COMPRESSED_LZ4, -1, &compressor, NULL), NULL);
    assert_status(BOLE_UNSUPPORTED, bl_decompress(3, &byte, 1, &out, 1, "a.seg", 0, NULL), NULL);
    assert_ok(bl_compressor_create(BL_COMPRESSED_NONE, 0, &compressor, NULL), NULL);
    assert_int_equal(bl_compress(compressor, "aaaaaaaaaaaaaaaa", 16, &out, 1), 0);
    bl_compressor_destroy(compressor);
    assert_ok(bl_decompress(BL_COMPRESSED_NONE, "x", 1, &out, 1, "a.seg", 0, NULL), NULL);
    assert_int_equal(out, 'x');
    assert_status(BOLE_CORRUPT, bl_decompress(BL_COMPRESSED_NONE, "xy", 2, &out, 1, "a.seg", 0, NULL), NULL);
    bl_compressor_destroy(NULL);
}

/* Goal: each allocation may fail: a status, no leak. ZSTD's own memory counts too. */
static void every_failed_allocation_is_a_status(void **state)
{
    (void)state;
    uint8_t raw[2000], stored[2000], back[2000];
    bl_prng prng;
    bl_prng_init(&prng, 12);
    fill(&prng, raw, sizeof raw, false);
    int64_t live = bl_alloc_live();
    for (unsigned k = 0; k < 2; k++) {
        size_t good = 0;
        for (uint64_t at = 0; at < 30; at++) {
            bl_compressor *compressor;
            bl_alloc_fail_at(at, 1);
            bole_status status = bl_compressor_create(kinds[k], 0, &compressor, NULL);
            size_t got = status == BOLE_OK ? bl_compress(compressor, raw, sizeof raw, stored, sizeof stored)
                                           : 0;
            if (got != 0) {
                status = bl_decompress((uint8_t)kinds[k], stored, got, back, sizeof back, "a.seg", 0, NULL);
                if (status == BOLE_OK)
                    assert_memory_equal(raw, back, sizeof raw);
                good += status == BOLE_OK;
            }
            assert_true(status == BOLE_OK || status == BOLE_NO_MEMORY);
            bl_compressor_destroy(compressor);
            bl_compression_release();
            bl_alloc_fail_at(UINT64_MAX, 0);
            assert_int_equal(bl_alloc_live(), live);
        }
        assert_true(good > 10 && good < 30);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_compressed_comes_back),
        cmocka_unit_test(more_readers_than_contexts_are_kept_for),
        cmocka_unit_test(damaged_input_is_corrupt),
        cmocka_unit_test(what_cannot_be_compressed_is_left),
        cmocka_unit_test(unknown_kinds_and_levels_are_refused),
        cmocka_unit_test(every_failed_allocation_is_a_status),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
