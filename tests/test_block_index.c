/* SPDX-License-Identifier: MIT */
/* test_block_index.c -- the index finds the only block that may hold a key, whatever the keys are;
 * separators lie where they must; no section leads a search out of bounds. */
#include "entries_fixture.h"

#include "base/buffer.h"
#include "segment/block.h"
#include "segment/block_index.h"

enum { BLOCKS_BEGIN = 4096 };

/* Blocks as ranges of sorted entries: block i has [starts[i], starts[i + 1]). */
typedef struct ranges {
    size_t starts[40000];
    size_t count;
} ranges;

typedef struct made {
    bole_buffer section;
    void *memory;
    bl_block_index index;
    uint64_t blocks_end;
} made;

static void cut(bl_prng *prng, const test_entries *entries, uint64_t each_max, ranges *out)
{
    out->count = 0;
    for (size_t at = 0; at < entries->count; at += 1 + bl_prng_below(prng, each_max)) {
        assert_true(out->count < 39999);
        out->starts[out->count++] = at;
    }
    out->starts[out->count] = entries->count;
}

/* What an index may take. */
static size_t memory_most(bole_slice section)
{
    uint64_t heads = (bl_get_u64(section.data) + 7) / 8,
             rests = bl_get_u64((const uint8_t *)section.data + 16);
    size_t most = 2 * section.size + 512;
    do {
        heads = (heads + 15) / 16;
        most += rests;
    } while (heads > 1);
    return most;
}

static void make(const test_entries *entries, const ranges *blocks, bool whole, made *out)
{
    bl_block_index_builder builder;
    bole_error error;
    bl_block_index_builder_init(&builder, whole);
    uint64_t at = BLOCKS_BEGIN;
    for (size_t i = 0; i < blocks->count; i++) {
        bool is_last = i + 1 == blocks->count;
        bole_slice last = test_key(&entries->list[blocks->starts[i + 1] - 1]);
        bole_slice next = is_last ? last : test_key(&entries->list[blocks->starts[i + 1]]);
        assert_true(
            bl_block_index_builder_add(&builder, last, next, is_last, at, 100 + (uint32_t)i % 900, 4000));
        at += 200 + i % 900;
    }
    out->blocks_end = at;
    out->section = (bole_buffer)BOLE_BUFFER_INIT;
    assert_true(bl_block_index_builder_finish(&builder, &out->section));
    bl_block_index_builder_deinit(&builder);
    size_t bytes;
    bole_slice section = bl_slice(out->section.data, out->section.size);
    assert_ok(bl_block_index_measure(section, "a.seg", 0, &bytes, &error), &error);
    assert_true(bytes <= memory_most(section));
    out->memory = aligned_alloc(BL_INDEX_ALIGNMENT, (bytes + 127) / 128 * 128);
    assert_non_null(out->memory);
    memset(out->memory, 0xee, bytes);
    assert_ok(bl_block_index_init(&out->index, out->memory, bytes, section, BLOCKS_BEGIN, at, "a.seg", 0,
                                  &error),
              &error);
    assert_int_equal(out->index.count, blocks->count);
}

static void free_made(made *index)
{
    bole_buffer_free(&index->section);
    free(index->memory);
}

/* last key of i <= s(i) < first key of i + 1, or s(i) is the last key. */
static void check_separators(const test_entries *entries, const ranges *blocks, const made *index,
                             bl_comparator *comparator)
{
    bole_buffer separator = BOLE_BUFFER_INIT;
    for (size_t i = 0; i < blocks->count; i++) {
        assert_true(bl_block_index_separator(&index->index, i, &separator));
        bole_slice key = bl_slice(separator.data, separator.size);
        bole_slice last = test_key(&entries->list[blocks->starts[i + 1] - 1]);
        assert_true(bl_compare(comparator, last, key) <= 0);
        if (i + 1 < blocks->count)
            assert_true(bl_compare(comparator, key, test_key(&entries->list[blocks->starts[i + 1]])) < 0 ||
                        bl_slice_equal(key, last));
        else
            assert_true(bl_slice_equal(key, last));
        assert_true(key.size <= last.size || comparator == NULL);
        assert_null(atomic_load(bl_block_index_slot(&index->index, i)));
        assert_int_equal(index->index.stored_bytes[i], 100 + i % 900);
        assert_int_equal(index->index.frame_bytes[i], 4000);
    }
    bole_buffer_free(&separator);
}

/* The answer is the block of the first entry >= key, or the one before it when the key lies in the gap and
 * the separator is above it; and the first whose separator is >= key. */
static void check_search(const test_entries *entries, const ranges *blocks, const made *index,
                         bl_comparator *comparator, bole_slice key)
{
    uint64_t found = bl_block_index_search(&index->index, comparator, key);
    bl_block_index_place place = bl_block_index_search_begin(&index->index, comparator, key);
    assert_true(bl_block_index_search_end(&index->index, key, place) == found);
    assert_true(found <= blocks->count);
    bole_buffer separator = BOLE_BUFFER_INIT;
    for (uint64_t i = found < 2 ? 0 : found - 2; i < blocks->count && i <= found; i++) {
        assert_true(bl_block_index_separator(&index->index, i, &separator));
        int order = bl_compare(comparator, bl_slice(separator.data, separator.size), key);
        assert_true(i < found ? order < 0 : order >= 0);
    }
    bole_buffer_free(&separator);
    size_t newest = test_entries_find(entries, comparator, key, BL_SEQUENCE_MAX + 1);
    if (newest != SIZE_MAX) {
        assert_true(found < blocks->count);
        assert_true(blocks->starts[found] <= newest && newest < blocks->starts[found + 1]);
    }
}

static void random_rounds(uint64_t seed, bl_comparator *comparator, unsigned rounds)
{
    static ranges blocks;
    static test_key_bytes stranger;
    bl_prng prng;
    bl_prng_init(&prng, test_seed(seed));
    for (unsigned round = 0; round < rounds; round++) {
        test_entries_shape shape = { .family = round % TEST_FAMILIES,
                                     .keys = 1 + bl_prng_below(&prng, round % 7 == 0 ? 3000 : 300),
                                     .spread = 1 +
                                               bl_prng_below(&prng, round % 2 == 0 ? 400 : UINT64_C(1) << 50),
                                     .versions_max = round % 3 == 0 ? 8 : 1,
                                     .value_bytes_max = 0 };
        test_entries entries = { NULL, 0, 0 };
        made index;
        test_entries_fill(&prng, &shape, comparator, &entries);
        cut(&prng, &entries, round % 4 == 0 ? 1 : 6, &blocks);
        make(&entries, &blocks, comparator != NULL, &index);
        check_separators(&entries, &blocks, &index, comparator);
        for (unsigned i = 0; i < 150; i++) {
            check_search(&entries, &blocks, &index, comparator,
                         test_key(&entries.list[bl_prng_below(&prng, entries.count)]));
            test_random_key(&prng, i % 3 == 0 ? (unsigned)bl_prng_below(&prng, TEST_FAMILIES) : shape.family,
                            shape.spread, &stranger);
            check_search(&entries, &blocks, &index, comparator, bl_slice(stranger.data, stranger.size));
        }
        uint8_t ones[30];
        memset(ones, 0xff, sizeof ones);
        check_search(&entries, &blocks, &index, comparator, bl_slice(NULL, 0));
        check_search(&entries, &blocks, &index, comparator, bl_slice(ones, sizeof ones));
        free_made(&index);
        test_entries_free(&entries);
    }
}

/* Goal: the block that is found is the first whose separator is not below the key, and holds its newest
 * version. Method: random entries of all key families, cut at random (also inside the versions of one key).
 * */
static void the_only_block_that_may_hold_a_key_is_found(void **state)
{
    (void)state;
    random_rounds(7, NULL, 120);
}

/* Goal: the same in a user's order, with whole separators. */
static void a_users_order_is_searched_as_well(void **state)
{
    (void)state;
    random_rounds(8, &test_backward, 40);
}

/* Goal: every number of blocks around the sizes of groups, nodes and levels is searched right. */
static void all_sizes_of_the_levels_work(void **state)
{
    (void)state;
    static const size_t sizes[] = { 1, 7, 8, 9, 127, 128, 129, 2047, 2048, 2049, 4200 };
    static ranges blocks;
    for (unsigned i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        test_entries entries = { NULL, 0, 0 };
        made index;
        for (size_t j = 0; j < sizes[i]; j++) {
            uint8_t key[8];
            bl_put_u64(key, __builtin_bswap64(j * 2 + 1));
            test_entries_add(&entries, bl_slice(key, 8), 1, bl_slice(NULL, 0));
            blocks.starts[j] = j;
        }
        blocks.count = sizes[i];
        blocks.starts[sizes[i]] = sizes[i];
        make(&entries, &blocks, false, &index);
        for (size_t j = 0; j <= 2 * sizes[i] + 1; j++) {
            uint8_t key[8];
            bl_put_u64(key, __builtin_bswap64(j));
            assert_int_equal(bl_block_index_search(&index.index, NULL, bl_slice(key, 8)), j / 2);
        }
        free_made(&index);
        test_entries_free(&entries);
    }
}

/* Goal: separators whose head is all ones, and so equal to a node's padding, are told apart by their rests.
 * */
static void heads_of_all_ones_are_resolved(void **state)
{
    (void)state;
    static ranges blocks;
    test_entries entries = { NULL, 0, 0 };
    made index;
    uint8_t key[10];
    memset(key, 0xff, sizeof key);
    test_entries_add(&entries, BOLE_STR("first"), 1, bl_slice(NULL, 0));
    for (unsigned i = 0; i < 20; i++) {
        key[9] = (uint8_t)(2 * i + 1);
        test_entries_add(&entries, bl_slice(key, 10), 1, bl_slice(NULL, 0));
    }
    for (size_t i = 0; i <= entries.count; i++)
        blocks.starts[i] = i;
    blocks.count = entries.count;
    make(&entries, &blocks, false, &index);
    for (unsigned i = 0; i <= 41; i++) {
        key[9] = (uint8_t)i;
        check_search(&entries, &blocks, &index, NULL, bl_slice(key, 10));
        assert_int_equal(bl_block_index_search(&index.index, NULL, bl_slice(key, 10)), 1 + i / 2);
    }
    /* and a block that is shorter in memory than in the file is refused */
    uint8_t *section = index.section.data;
    uint64_t frames_at = BL_INDEX_HEADER_BYTES + (8 + 8 + 4) * blocks.count;
    bl_put_u32(section + frames_at, 99);
    bl_block_index other;
    assert_status(BOLE_CORRUPT,
                  bl_block_index_init(&other, index.memory, SIZE_MAX / 2,
                                      bl_slice(section, index.section.size), BLOCKS_BEGIN, index.blocks_end,
                                      "a.seg", 0, NULL),
                  NULL);
    free_made(&index);
    test_entries_free(&entries);
}

/* Goal: separators are short where keys allow it. */
static void separators_are_short(void **state)
{
    (void)state;
    const struct {
        bole_slice last, next, wanted;
    } cases[] = {
        { BOLE_STR("0199999"), BOLE_STR("0200000"), BOLE_STR("02") },
        { BOLE_STR("abc"), BOLE_STR("abcd"), BOLE_STR("abc") },
        { BOLE_STR("abc"), BOLE_STR("abcde"), BOLE_STR("abcd") },
        { BOLE_STR("abcxyz"), BOLE_STR("abe"), BOLE_STR("abd") },
        { BOLE_STR("abcxyz"), BOLE_STR("abd"), BOLE_STR("abcxyz") },
        { BOLE_STR(""), BOLE_STR("a"), BOLE_STR("") },
        { BOLE_STR("k"), BOLE_STR("k"), BOLE_STR("k") },
        { BOLE_STR("a\xff\xff"), BOLE_STR("b"), BOLE_STR("a\xff\xff") },
    };
    for (unsigned i = 0; i < sizeof cases / sizeof *cases; i++) {
        uint8_t out[16];
        size_t bytes = bl_block_separator(cases[i].last, cases[i].next, out);
        assert_true(bl_slice_equal(bl_slice(out, bytes), cases[i].wanted));
    }
}

/* Goal: no section leads a search out of bounds. Method: valid sections with bytes changed, in memory of
 * exactly their size; what init accepts is searched, and all separators are read. */
static void no_section_leads_out_of_bounds(void **state)
{
    (void)state;
    static ranges blocks;
    static test_key_bytes key;
    bl_prng prng;
    bl_prng_init(&prng, test_seed(9));
    unsigned accepted = 0, tried = 0;
    for (unsigned round = 0; round < 25; round++) {
        test_entries_shape shape = { .family = round % TEST_FAMILIES,
                                     .keys = 1 + bl_prng_below(&prng, 120),
                                     .spread = 10000,
                                     .versions_max = 2 };
        test_entries entries = { NULL, 0, 0 };
        made index;
        bl_comparator *comparator = round % 5 == 4 ? &test_backward : NULL;
        test_entries_fill(&prng, &shape, comparator, &entries);
        cut(&prng, &entries, 3, &blocks);
        make(&entries, &blocks, comparator != NULL, &index);
        for (unsigned change = 0; change < 200; change++, tried++) {
            size_t size = index.section.size -
                          (change % 9 == 0 ? bl_prng_below(&prng, index.section.size) : 0);
            uint8_t *section = test_copy(index.section.data, size);
            for (uint64_t n = bl_prng_below(&prng, 3); n > 0 && size > 0; n--) {
                size_t at = bl_prng_below(&prng, bl_prng_chance(&prng, 2) && size > 64 ? 64 : size);
                section[at] = bl_prng_chance(&prng, 2)
                                  ? (uint8_t)bl_prng_next(&prng)
                                  : (uint8_t)(section[at] ^ 1u << bl_prng_below(&prng, 8));
            }
            size_t bytes = 0;
            bl_block_index other;
            bole_status status = bl_block_index_measure(bl_slice(section, size), "a.seg", 0, &bytes, NULL);
            assert_true(status == BOLE_OK || bytes == 0);
            assert_true(bytes == 0 || bytes <= memory_most(bl_slice(section, size)));
            void *memory = aligned_alloc(BL_INDEX_ALIGNMENT, (bytes + 128) / 128 * 128);
            if (status == BOLE_OK)
                status = bl_block_index_init(&other, memory, bytes, bl_slice(section, size), BLOCKS_BEGIN,
                                             index.blocks_end, "a.seg", 0, NULL);
            assert_true(status == BOLE_OK || status == BOLE_CORRUPT || status == BOLE_UNSUPPORTED);
            bole_buffer separator = BOLE_BUFFER_INIT;
            for (unsigned i = 0; status == BOLE_OK && i < 50; i++) {
                test_random_key(&prng, i % TEST_FAMILIES, 10000, &key);
                uint64_t found = bl_block_index_search(&other, other.whole ? &test_backward : NULL,
                                                       bl_slice(key.data, key.size));
                assert_true(found <= other.count);
                assert_true(bl_block_index_separator(&other, i % other.count, &separator));
            }
            for (uint64_t i = 0; status == BOLE_OK && i < other.count; i++)
                assert_true(other.offsets[i] >= BLOCKS_BEGIN &&
                            other.offsets[i] + other.stored_bytes[i] <= index.blocks_end);
            accepted += status == BOLE_OK;
            bole_buffer_free(&separator);
            free(memory);
            free(section);
        }
        free_made(&index);
        test_entries_free(&entries);
    }
    print_message("%u of %u changed sections were accepted\n", accepted, tried);
    assert_true(accepted > 0 && accepted < tried);
}

/* Goal: the bytes of an index are as its header describes them: stores depend on them. */
static void a_small_index_has_golden_bytes(void **state)
{
    (void)state;
    static ranges blocks = { .starts = { 0, 1, 2, 3 }, .count = 3 };
    test_entries entries = { NULL, 0, 0 };
    made index;
    test_entries_add(&entries, BOLE_STR("tree/ash"), 1, bl_slice(NULL, 0));
    test_entries_add(&entries, BOLE_STR("tree/beech/copper"), 1, bl_slice(NULL, 0));
    test_entries_add(&entries, BOLE_STR("tree/beech/copper/old"), 1, bl_slice(NULL, 0));
    make(&entries, &blocks, false, &index);
    test_golden("block_index.txt", index.section.data, index.section.size);
    free_made(&index);
    test_entries_free(&entries);
}

/* Goal: long separators where the nodes of several levels end are found, and take no more memory than they may; lengths
 * and sums of all kinds leave what stands behind them aligned. */
static void long_separators_at_the_ends_of_nodes(void **state)
{
    (void)state;
    static ranges blocks;
    static uint8_t key[65000];
    static const size_t sizes[] = { 129, 2049 };
    for (unsigned i = 0; i < 2; i++) {
        test_entries entries = { NULL, 0, 0 };
        made index;
        for (size_t j = 0; j < sizes[i]; j++) {
            bool is_long = j + 2 == sizes[i] || j + 3 == sizes[i];
            memset(key, 'x', sizeof key);
            size_t bytes = is_long ? sizeof key - j % 7 : 8;
            bl_put_u64(key, __builtin_bswap64(is_long ? sizes[i] : j));
            key[bytes - 1] = is_long ? (uint8_t)('a' + j % 20) : key[bytes - 1]; /* told apart late */
            test_entries_add(&entries, bl_slice(key, bytes), 1, bl_slice(NULL, 0));
            blocks.starts[j] = j;
        }
        bl_put_u64(key, UINT64_MAX);
        test_entries_add(&entries, bl_slice(key, 8), 1, bl_slice(NULL, 0));
        test_entries_sort(&entries, NULL);
        blocks.count = sizes[i];
        blocks.starts[sizes[i]] = entries.count;
        make(&entries, &blocks, false, &index);
        for (size_t j = 0; j < entries.count; j++)
            check_search(&entries, &blocks, &index, NULL, test_key(&entries.list[j]));
        free_made(&index);
        test_entries_free(&entries);
    }
}

/* Goal: separators that fall, in a head or behind it, are refused: a search would be led out of its node. */
static void falling_separators_are_refused(void **state)
{
    (void)state;
    static ranges blocks = { .starts = { 0, 1, 2, 3, 4 }, .count = 4 };
    static const char *const keys[] = { "a", "c", "d/the same/1", "d/the same/2" };
    test_entries entries = { NULL, 0, 0 };
    made index;
    for (unsigned i = 0; i < 4; i++)
        test_entries_add(&entries, bl_slice(keys[i], strlen(keys[i])), 1, bl_slice(NULL, 0));
    make(&entries, &blocks, false, &index);
    uint8_t *section = index.section.data;
    uint8_t *const places[] = { section + BL_INDEX_HEADER_BYTES + 7, section + index.section.size - 1 };
    for (unsigned i = 0; i < 2; i++) { /* the first byte of the first head; the last one of the last rest */
        uint8_t before = *places[i];
        bl_block_index other;
        bole_error error;
        *places[i] = i == 0 ? 'z' : '0';
        assert_status(BOLE_CORRUPT,
                      bl_block_index_init(&other, index.memory, SIZE_MAX / 2,
                                          bl_slice(section, index.section.size), BLOCKS_BEGIN,
                                          index.blocks_end, "a.seg", 0, &error),
                      &error);
        assert_non_null(strstr(error.message, "out of order"));
        *places[i] = before;
    }
    free_made(&index);
    test_entries_free(&entries);
}

/* Goal: a section that cannot be measured makes no index either, whatever memory there is. */
static void a_section_that_cannot_be_is_no_index(void **state)
{
    (void)state;
    static _Alignas(BL_INDEX_ALIGNMENT) uint8_t memory[1024];
    uint8_t section[BL_INDEX_HEADER_BYTES] = { 0 };
    size_t bytes;
    bl_block_index index;
    bole_slice none = bl_slice(section, sizeof section);
    assert_status(BOLE_CORRUPT, bl_block_index_measure(none, "a.seg", 0, &bytes, NULL), NULL);
    assert_status(BOLE_CORRUPT,
                  bl_block_index_init(&index, memory, sizeof memory, none, 4096, 8192, "a.seg", 0, NULL),
                  NULL);
    assert_int_equal(index.count, 0);
    uint8_t one[BL_INDEX_HEADER_BYTES + 26 + 1] = { 0 }; /* a block, and a prefix of one byte */
    bl_put_u64(one, 1);
    bl_put_u32(one + 8, 1);
    bl_put_u16(one + sizeof one - 3, BOLE_KEY_BYTES_MAX); /* the length of its separator behind the prefix */
    bole_error error = BOLE_ERROR_INIT;
    assert_status(BOLE_CORRUPT, bl_block_index_measure(bl_slice(one, sizeof one), "a.seg", 0, &bytes, &error),
                  &error);
    assert_non_null(strstr(error.message, "separator 0 does not fit"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_only_block_that_may_hold_a_key_is_found),
        cmocka_unit_test(a_users_order_is_searched_as_well),
        cmocka_unit_test(all_sizes_of_the_levels_work),
        cmocka_unit_test(heads_of_all_ones_are_resolved),
        cmocka_unit_test(separators_are_short),
        cmocka_unit_test(no_section_leads_out_of_bounds),
        cmocka_unit_test(a_small_index_has_golden_bytes),
        cmocka_unit_test(long_separators_at_the_ends_of_nodes),
        cmocka_unit_test(falling_separators_are_refused),
        cmocka_unit_test(a_section_that_cannot_be_is_no_index),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
