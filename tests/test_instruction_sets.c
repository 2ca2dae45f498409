/* SPDX-License-Identifier: MIT */
/* test_instruction_sets.c -- machines that have fewer instructions than this one: what is chosen, and that a store is
 * the same on all of them.
 *
 * __builtin_cpu_supports reads a word that gcc's runtime (and clang's) sets before main; this program takes bits out of
 * it, between calls. */
#include "test.h"

#include <bole/bole_vfs.h>

#include "base/checksum.h"
#include "base/prng.h"
#include "memory/head_tree.h"
#include "segment/bloom_filter.h"
#include "segment/head_search.h"

#if defined(__x86_64__)

/* As libgcc's cpuinfo.h has it: "processor_features", which never change their places. */
extern struct {
    unsigned vendor, type, subtype, features[1];
} __cpu_model; // NOLINT(bugprone-reserved-identifier)
enum {
    AVX2 = 1 << 10,
    AVX512F = 1 << 15,
    BMI2 = 1 << 17,
    AVX512VL = 1 << 20,
    AVX512BW = 1 << 21,
    AVX512DQ = 1 << 22
};

static unsigned all;

static int set_up(void **state)
{
    (void)state;
    all = __cpu_model.features[0];
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    __cpu_model.features[0] = all;
    return 0;
}

/* To the compiler the word that its own code reads is another variable: it is told that memory has changed. */
static void have(unsigned features)
{
    __cpu_model.features[0] = features;
    __asm__ volatile("" ::: "memory");
}

static void without(unsigned features) { have(all & ~features); }

/* That the bits are where they are thought to be. */
static void the_word_is_the_one_that_the_compiler_reads(void **state)
{
    (void)state;
    have(0);
    assert_false(__builtin_cpu_supports("avx2") || __builtin_cpu_supports("bmi2") ||
                 __builtin_cpu_supports("avx512f") || __builtin_cpu_supports("avx512vl") ||
                 __builtin_cpu_supports("avx512bw") || __builtin_cpu_supports("avx512dq"));
    have(AVX2);
    assert_true(__builtin_cpu_supports("avx2") && !__builtin_cpu_supports("bmi2"));
    have(BMI2);
    assert_true(__builtin_cpu_supports("bmi2") && !__builtin_cpu_supports("avx2"));
    have(AVX512F | AVX512VL);
    assert_true(__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512vl"));
    assert_false(__builtin_cpu_supports("avx512bw") || __builtin_cpu_supports("avx512dq"));
    have(AVX512BW);
    assert_true(__builtin_cpu_supports("avx512bw") && !__builtin_cpu_supports("avx512f"));
    have(AVX512DQ);
    assert_true(__builtin_cpu_supports("avx512dq") && !__builtin_cpu_supports("avx512f"));
}

static const char *chosen(unsigned features)
{
    have(features); /* nothing of it is run */
    return bl_head_paths_for(NULL)->name;
}

static int compare(void *context, bole_slice a, bole_slice b)
{
    (void)context;
    size_t least = a.size < b.size ? a.size : b.size;
    int order = least == 0 ? 0 : memcmp(a.data, b.data, least);
    return order != 0 ? order : (a.size > b.size) - (a.size < b.size);
}

static void the_widest_that_is_whole_is_chosen(void **state)
{
    (void)state;
    const unsigned avx512 = AVX512F | AVX512VL | AVX512BW | AVX512DQ, avx2 = AVX2 | BMI2;
    __cpu_model.features[0] = avx2;
    if (bl_head_paths_named("avx2") == NULL) /* not compiled: where ThreadSanitizer watches */
        skip();
    assert_string_equal(chosen(0), "scalar");
    assert_string_equal(chosen(AVX2), "scalar");
    assert_string_equal(chosen(BMI2), "scalar");
    assert_string_equal(chosen(avx2), "avx2");
    assert_string_equal(chosen(avx2 | avx512), "avx512");
    static const unsigned parts[] = { AVX512F, AVX512VL, AVX512BW, AVX512DQ };
    for (size_t i = 0; i < 4; i++)
        assert_string_equal(chosen(avx2 | (avx512 & ~parts[i])), "avx2");
    const bole_comparator comparator = { .name = "test", .compare = compare };
    assert_string_equal(bl_head_paths_for(&comparator)->name, "compare");
    assert_string_equal(bl_head_paths_named("compare")->name, "compare");
    assert_string_equal(bl_head_paths_named("scalar")->name, "scalar");
    assert_null(bl_head_paths_named("mmx"));
}

/* Checksums, filters and searches say the same. */
static void each_form_gives_the_same(void **state)
{
    (void)state;
    enum { BYTES = 5000, HEADS = 300 };
    static uint8_t bytes[BYTES];
    bl_prng prng;
    bl_prng_init(&prng, test_seed(1));
    bl_prng_fill(&prng, bytes, sizeof bytes);
    for (size_t size = 0; size < BYTES; size += 1 + size / 7) {
        without(0);
        uint64_t wide = bl_checksum(11, 13, bytes, size);
        without(AVX2);
        assert_true(bl_checksum(11, 13, bytes, size) == wide);
    }
    for (uint32_t count = 0; count * 8 < BYTES && count < HEADS; count += 1 + count / 5)
        for (int i = 0; i < 50; i++) {
            uint64_t head = bl_prng_next(&prng);
            without(0);
            uint32_t four = bl_head_search_u32(bytes, count, (uint32_t)head);
            uint32_t eight = bl_head_search_u64(bytes, count, head);
            without(AVX2);
            assert_int_equal(bl_head_search_u32(bytes, count, (uint32_t)head), four);
            assert_int_equal(bl_head_search_u64(bytes, count, head), eight);
        }
    for (uint32_t bits = 20; bits <= 300; bits += 40) {
        bl_bloom_builder builder;
        bl_bloom_builder_init(&builder, bits);
        for (uint64_t i = 0; i < 500; i++)
            assert_true(bl_bloom_builder_add(&builder, i * UINT64_C(0x9E3779B97F4A7C15)));
        size_t size = bl_bloom_builder_section_bytes(&builder);
        uint8_t *section = aligned_alloc(64, (size + 63) / 64 * 64);
        bl_bloom_builder_finish(&builder, section);
        bl_bloom_filter filter;
        assert_ok(bl_bloom_filter_init(&filter, (bole_slice){ section, size }, "test", 0, NULL), NULL);
        for (uint64_t i = 0; i < 2000; i++) {
            uint64_t hash = i * UINT64_C(0x9E3779B97F4A7C15);
            without(0);
            bool wide = bl_bloom_filter_may_contain(&filter, hash);
            without(AVX2);
            assert_true(bl_bloom_filter_may_contain(&filter, hash) == wide);
            assert_true(wide || i >= 500);
        }
        bl_bloom_builder_deinit(&builder);
        free(section);
    }
}

enum { KEYS = 6000 };

static bole_slice key_of(uint32_t i, char out[32])
{
    return (bole_slice){ out, (size_t)snprintf(out, 32, "%u/key/%08u", i % 7, i * 2654435761u) };
}

static void open_store(bole_vfs *disk, bole_db **db)
{
    bole_error error = BOLE_ERROR_INIT;
    bole_options options = BOLE_OPTIONS_INIT;
    options.vfs = disk;
    options.flags = BOLE_CREATE;
    options.memory_limit = 8 << 20;
    options.memtable_bytes = 65536;
    options.segment_bytes = 1 << 20;
    options.block_bytes = 1024; /* many blocks: the index has levels */
    options.simulation_seed = 1;
    assert_ok(bole_open("store", &options, db, &error), &error);
}

static void fill(bole_db *db, uint32_t from)
{
    bole_error error = BOLE_ERROR_INIT;
    char key[32];
    for (uint32_t i = from; i < KEYS; i += 2)
        assert_ok(bole_put(db, NULL, key_of(i, key), BOLE_SLICE(&i, sizeof i)), NULL);
    assert_ok(bole_compact(db, NULL, (bole_slice){ 0 }, (bole_slice){ 0 }, &error), &error);
    for (uint32_t i = from; i < KEYS / 10; i += 2)
        assert_ok(bole_put(db, NULL, key_of(i, key), BOLE_SLICE(&i, sizeof i)), NULL);
}

static void check(bole_db *db)
{
    char key[32];
    bole_buffer value = BOLE_BUFFER_INIT;
    for (uint32_t i = 0; i < KEYS + 100; i++) {
        bole_status status = bole_get(db, NULL, key_of(i, key), &value);
        assert_status(i < KEYS ? BOLE_OK : BOLE_NOT_FOUND, status, NULL);
        if (status == BOLE_OK)
            assert_memory_equal(value.data, &i, sizeof i);
    }
    bole_buffer_free(&value);
    bole_iterator *iterator;
    uint32_t count = 0;
    assert_ok(bole_iterator_create(db, NULL, &iterator), NULL);
    for (bool on = bole_iterator_seek_first(iterator); on; on = bole_iterator_next(iterator))
        count++;
    assert_ok(bole_iterator_status(iterator), NULL);
    assert_int_equal(count, KEYS);
    for (uint32_t i = 0; i < KEYS; i += 17) {
        assert_true(bole_iterator_seek(iterator, key_of(i, key)));
        assert_memory_equal(bole_iterator_value(iterator).data, &i, sizeof i);
    }
    bole_iterator_destroy(iterator);
}

/* Half of a store is written with all that this machine has, half without; both read all of it. */
static void a_store_moves_between_machines(void **state)
{
    (void)state;
    bole_error error = BOLE_ERROR_INIT;
    static const unsigned machines[] = { 0, AVX512F, AVX512F | AVX2, UINT32_MAX };
    bole_vfs *disk;
    bole_db *db;
    assert_ok(bole_vfs_memory_create(1, &disk), NULL);
    open_store(disk, &db);
    fill(db, 0);
    assert_ok(bole_close(db, &error), &error);
    without(UINT32_MAX);
    open_store(disk, &db);
    fill(db, 1);
    check(db);
    assert_ok(bole_close(db, &error), &error);
    for (size_t i = 0; i < sizeof machines / sizeof machines[0]; i++) {
        without(machines[i]);
        open_store(disk, &db);
        check(db);
        assert_ok(bole_close(db, &error), &error);
    }
    bole_vfs_destroy(disk);
}

int main(void)
{
    __builtin_cpu_init();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(the_word_is_the_one_that_the_compiler_reads, set_up, tear_down),
        cmocka_unit_test_setup_teardown(the_widest_that_is_whole_is_chosen, set_up, tear_down),
        cmocka_unit_test_setup_teardown(each_form_gives_the_same, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_store_moves_between_machines, set_up, tear_down),
    };
    return cmocka_run_group_tests_name("instruction_sets", tests, NULL, NULL);
}

#else

int main(void) { return 0; } /* there is one form of each */

#endif
