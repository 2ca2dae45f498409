/* SPDX-License-Identifier: MIT */
/* test_block.c -- blocks: what goes in comes out, searches find what the plain definition finds, and no
 * bytes at all lead a reader out of bounds. */
#include "entries_fixture.h"

#include "base/checksum.h"
#include "base/hash.h"
#include "segment/block.h"
#include "segment/block_builder.h"
#include "segment/compression.h"
#include "segment/head_search.h"
#include "segment/head_search_avx2.h"

static const char *const file_name = "000012.seg";
static const bl_id test_id = { { 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16 } };

typedef struct block {
    uint8_t *frame;
    size_t size;
    size_t first; /* its first entry among all */
    uint32_t count;
} block;

typedef struct blocks {
    block list[16384];
    size_t count;
} blocks;

static bl_block_added add_entry(bl_block_builder *builder, bole_slice key, uint64_t tag, bole_slice value,
                                size_t limit)
{
    return bl_block_builder_add(builder, key, bl_hash(key.data, key.size), tag, value, limit);
}

static void end_block(bl_block_builder *builder, blocks *out, size_t next)
{
    assert_true(out->count < 16384);
    block *made = &out->list[out->count++];
    made->count = bl_block_builder_count(builder);
    made->size = bl_block_builder_size(builder);
    made->first = next - made->count;
    made->frame = malloc(made->size);
    assert_non_null(made->frame);
    bl_block_builder_finish(builder, made->frame);
    assert_int_equal(bl_block_builder_count(builder), 0);
    bl_block_seal(made->frame, bl_checksum_seed(test_id), 4096 * (uint64_t)out->count);
}

/* (BUILDER-3) Entries [first, end] together would be above the limit, unless one of them must stand alone. */
static void assert_above(const test_entries *entries, bl_comparator *comparator, size_t first, size_t end,
                         size_t limit)
{
    if (test_value(&entries->list[first]).size >= BL_BLOCK_BORROW_BYTES ||
        test_value(&entries->list[end]).size >= BL_BLOCK_BORROW_BYTES)
        return;
    bl_block_builder builder;
    bole_error error;
    assert_ok(bl_block_builder_init(&builder, comparator, &error), &error);
    for (size_t i = first; i <= end; i++) {
        const test_entry *entry = &entries->list[i];
        assert_int_equal(add_entry(&builder, test_key(entry), entry->tag, test_value(entry),
                                   BL_BLOCK_LIMIT_MAX),
                         BL_BLOCK_ADDED);
    }
    assert_true(bl_block_builder_size(&builder) > limit);
    bl_block_builder_deinit(&builder);
}

static void build(const test_entries *entries, bl_comparator *comparator, size_t limit, blocks *out)
{
    bl_block_builder builder;
    bole_error error;
    out->count = 0;
    assert_ok(bl_block_builder_init(&builder, comparator, &error), &error);
    for (size_t i = 0; i < entries->count; i++) {
        const test_entry *entry = &entries->list[i];
        bl_block_added added = add_entry(&builder, test_key(entry), entry->tag, test_value(entry), limit);
        if (added == BL_BLOCK_FULL) {
            assert_above(entries, comparator, i - bl_block_builder_count(&builder), i, limit);
            end_block(&builder, out, i);
            added = add_entry(&builder, test_key(entry), entry->tag, test_value(entry), limit);
        }
        assert_true(bl_block_builder_count(&builder) == 1 || bl_block_builder_size(&builder) <= limit);
        assert_int_equal(added, BL_BLOCK_ADDED);
        bole_slice last = bl_block_builder_last_key(&builder);
        assert_true(bl_slice_equal(last, test_key(entry)));
    }
    if (bl_block_builder_count(&builder) != 0)
        end_block(&builder, out, entries->count);
    bl_block_builder_deinit(&builder);
}

static void free_blocks(blocks *all)
{
    for (size_t i = 0; i < all->count; i++)
        free(all->list[i].frame);
    all->count = 0;
}

static void assert_entry(const test_entry *entry, bole_slice key, uint64_t tag, bole_slice value)
{
    assert_true(bl_slice_equal(key, test_key(entry)));
    assert_true(bl_slice_equal(value, test_value(entry)));
    assert_true(tag == entry->tag);
}

static unsigned walks;

/* Walk from every third entry to the end, where the block is of the kind. */
static void check_walk(const test_entries *entries, const block *one, bl_cursor *cursor)
{
    for (uint32_t from = 0; from < cursor->count; from += 3) {
        bl_cursor_walk walk;
        cursor->index = from;
        bl_cursor_decode(cursor);
        if (!bl_cursor_walk_begin(cursor, cursor->count - 1 - from, &walk))
            return;
        for (uint32_t i = from + 1; i < cursor->count; i++) {
            bole_slice value = bl_slice(bl_cursor_walk_step(&walk), cursor->value.size);
            assert_entry(&entries->list[one->first + i], cursor->key, BL_TAG(0, BL_KIND_PUT), value);
            assert_int_equal(cursor->count - 1 - i, walk.left);
        }
        assert_int_equal(cursor->count - 1 - from, bl_cursor_walk_end(cursor, &walk));
        assert_int_equal(cursor->count - 1, cursor->index);
        assert_entry(&entries->list[one->first + cursor->index], cursor->key, cursor->tag, cursor->value);
        walks++;
    }
}

/* Every entry of a block by index, and by a cursor forward and backward. */
static void check_entries(const test_entries *entries, const block *one)
{
    bl_block_view view;
    bl_block_view_init(&view, one->frame);
    assert_int_equal(view.count, one->count);
    uint8_t *key = malloc(view.longest_key + 8);
    bl_cursor cursor = { .key_buffer = malloc(view.longest_key + BL_CURSOR_KEY_SLACK) };
    bl_block_window(&view, &cursor);
    for (uint32_t i = 0; i < view.count; i++) {
        const test_entry *entry = &entries->list[one->first + i];
        assert_entry(entry, bl_block_key(&view, i, key), bl_block_tag(&view, i), bl_block_value(&view, i));
        cursor.index = i;
        bl_cursor_decode(&cursor);
        assert_entry(entry, cursor.key, cursor.tag, cursor.value);
        assert_true(cursor.head == bl_head64(entry->key, entry->key_bytes, 0));
    }
    check_walk(entries, one, &cursor);
    cursor.index = view.count - 1;
    bl_cursor_decode(&cursor);
    for (uint32_t i = view.count - 1; i-- > 0;) {
        bl_cursor_prev(&cursor);
        assert_entry(&entries->list[one->first + i], cursor.key, cursor.tag, cursor.value);
    }
    free(cursor.key_buffer);
    free(key);
}

static unsigned hashed_searches; /* of blocks that have hashes */

/* Ask for `key` at `sequence` from the first block that may hold it, and on while the block says so. */
static void check_search(const test_entries *entries, const blocks *all, bl_comparator *comparator,
                         bole_slice key, uint64_t sequence)
{
    bl_lookup lookup = {
        .key = key, .hash = bl_hash(key.data, key.size), .sequence = sequence, .comparator = comparator
    };
    size_t wanted = test_entries_find(entries, comparator, key, sequence);
    size_t lower = test_entries_lower_bound(entries, comparator, key);
    bl_block_answer answer = BL_BLOCK_CONTINUES;
    uint64_t tag = 0;
    bole_slice value = bl_slice(NULL, 0);
    for (size_t i = 0; i < all->count && answer == BL_BLOCK_CONTINUES; i++) {
        const block *one = &all->list[i];
        bl_block_view view;
        bl_block_view_init(&view, one->frame);
        uint32_t bound = bl_block_lower_bound(&view, comparator, key);
        size_t clipped = lower < one->first ? 0 : lower - one->first;
        assert_int_equal(bound, clipped < one->count ? clipped : one->count);
        if (lower >= one->first + one->count)
            continue;
        hashed_searches += view.hashes != NULL;
        bl_block_prefetch_found(&view, &lookup); /* changes nothing */
        answer = bl_block_search(&view, &lookup, &tag, &value);
    }
    if (wanted == SIZE_MAX) {
        assert_int_not_equal(answer, BL_BLOCK_FOUND);
    } else {
        assert_int_equal(answer, BL_BLOCK_FOUND);
        assert_entry(&entries->list[wanted], key, tag, value);
    }
}

static void check_all(bl_prng *prng, const test_entries *entries, const test_entries_shape *shape,
                      bl_comparator *comparator, size_t limit)
{
    static blocks all;
    static test_key_bytes stranger;
    bole_error error;
    build(entries, comparator, limit, &all);
    for (size_t i = 0; i < all.count; i++) {
        const block *one = &all.list[i];
        assert_true(one->count == 1 || one->size <= limit);
        bl_block_header header;
        assert_ok(bl_block_verify(one->frame, one->size, bl_checksum_seed(test_id), file_name, 4096 * (i + 1),
                                  &header, &error),
                  &error);
        assert_ok(bl_block_validate(one->frame, one->size, true, comparator, file_name, 0, &error), &error);
        check_entries(entries, one);
    }
    for (unsigned i = 0; i < 60 && entries->count > 0; i++) {
        const test_entry *entry = &entries->list[bl_prng_below(prng, entries->count)];
        uint64_t sequence = bl_tag_sequence(entry->tag);
        check_search(entries, &all, comparator, test_key(entry), sequence);
        check_search(entries, &all, comparator, test_key(entry), sequence + 1);
        check_search(entries, &all, comparator, test_key(entry), BL_SEQUENCE_MAX + 1);
        test_random_key(prng, shape->family, shape->spread, &stranger);
        check_search(entries, &all, comparator, bl_slice(stranger.data, stranger.size), BL_SEQUENCE_MAX);
    }
    free_blocks(&all);
}

static void random_rounds(uint64_t seed, bl_comparator *comparator, unsigned rounds)
{
    static const size_t limits[] = { 64, 300, 4096, 16384, 200000 };
    bl_prng prng;
    bl_prng_init(&prng, test_seed(seed));
    for (unsigned round = 0; round < rounds; round++) {
        test_entries_shape shape = {
            .family = round % TEST_FAMILIES,
            .keys = 1 + bl_prng_below(&prng, 250),
            .spread = 1 + bl_prng_below(&prng, round % 2 == 0 ? 300 : UINT64_C(1) << 40),
            .versions_max = bl_prng_chance(&prng, 4) ? 40 : 2,
            .value_bytes_max = bl_prng_chance(&prng, 6) ? 3000 : bl_prng_below(&prng, 150),
            .same_values = bl_prng_chance(&prng, 3),
            .zero_sequences = bl_prng_chance(&prng, 3),
        };
        test_entries entries = { NULL, 0, 0 };
        test_entries_fill(&prng, &shape, comparator, &entries);
        check_all(&prng, &entries, &shape, comparator, limits[bl_prng_below(&prng, 5)]);
        test_entries_free(&entries);
    }
}

/* Goal: a block gives back what went in, and a search finds the newest version that is seen. Method: random
 * entries of all key families, cut into blocks of random limits; every entry is read by index and by cursor,
 * and searches are compared with a look at all entries. */
static void every_entry_comes_back_and_is_found(void **state)
{
    (void)state;
    random_rounds(1, NULL, 100);
    assert_true(hashed_searches > 500);
}

/* Goal: the same in a user's order. Method: keys ordered from their last byte. */
static void a_users_order_is_searched_as_well(void **state)
{
    (void)state;
    hashed_searches = 0;
    random_rounds(2, &test_backward, 40);
    assert_int_equal(hashed_searches, 0); /* only byte order has equal heads that matter */
}

/* Goal: a search that finds only versions that are too new says whether older ones may follow in the next
 * block. */
static void versions_continue_in_the_next_block(void **state)
{
    (void)state;
    static blocks all;
    test_entries entries = { NULL, 0, 0 };
    test_entries_add(&entries, BOLE_STR("before"), BL_TAG(7, BL_KIND_PUT), BOLE_STR("x"));
    for (uint64_t sequence = 500; sequence > 0; sequence--)
        test_entries_add(&entries, BOLE_STR("hot"), BL_TAG(sequence, BL_KIND_PUT),
                         BOLE_STR("a value of the hot key"));
    test_entries_add(&entries, BOLE_STR("later"), BL_TAG(8, BL_KIND_PUT), BOLE_STR("y"));
    build(&entries, NULL, 4096, &all);
    assert_true(all.count >= 4);
    bl_block_view first, last;
    bl_block_view_init(&first, all.list[0].frame);
    bl_block_view_init(&last, all.list[all.count - 1].frame);
    uint64_t tag;
    bole_slice value;
    bl_lookup lookup = { .key = BOLE_STR("hot"), .hash = bl_hash("hot", 3), .sequence = 2 };
    assert_int_equal(bl_block_search(&first, &lookup, &tag, &value), BL_BLOCK_CONTINUES);
    assert_int_equal(bl_block_search(&last, &lookup, &tag, &value), BL_BLOCK_FOUND);
    assert_int_equal(bl_tag_sequence(tag), 1);
    lookup.sequence = 1;
    assert_int_equal(bl_block_search(&last, &lookup, &tag, &value), BL_BLOCK_ABSENT);
    lookup.key = BOLE_STR("hos");
    assert_int_equal(bl_block_search(&first, &lookup, &tag, &value), BL_BLOCK_ABSENT);
    lookup.key = BOLE_STR("hot\0");
    assert_int_equal(bl_block_search(&first, &lookup, &tag, &value), BL_BLOCK_ABSENT);
    for (uint64_t sequence = 0; sequence <= 502; sequence++)
        check_search(&entries, &all, NULL, BOLE_STR("hot"), sequence);
    free_blocks(&all);
    test_entries_free(&entries);
}

static void add_decimals(test_entries *entries, uint64_t first, uint64_t step, size_t count)
{
    uint8_t value[100] = { 1, 2, 3 };
    for (size_t i = 0; i < count; i++) {
        char key[32];
        snprintf(key, sizeof key, "%016" PRIu64, first + i * step);
        test_entries_add(entries, bl_slice(key, 16), BL_TAG(0, BL_KIND_PUT), bl_slice(value, sizeof value));
    }
}

/* Goal: dense decimal 16/100 entries take at most 108 bytes each, all told, in frames of 4 KiB. */
static void a_dense_decimal_entry_takes_at_most_108_bytes(void **state)
{
    (void)state;
    static blocks all;
    test_entries entries = { NULL, 0, 0 };
    add_decimals(&entries, 1234567, 1, 4000);
    build(&entries, NULL, 4096, &all);
    size_t pages = all.count - 1; /* the last block may be short */
    size_t held = all.list[all.count - 1].first;
    assert_true(pages * 4096 <= held * 108);
    bl_block_header header;
    assert_ok(bl_block_header_read(all.list[0].frame, file_name, 0, &header, NULL), NULL);
    assert_int_equal(header.flags, BL_BLOCK_UNIFORM);
    assert_int_equal(header.count, 38);
    free_blocks(&all);
    test_entries_free(&entries);
}

/* Goal: heads are 8 bytes where they separate and 4 do not, and are walked either way. Method: numbers that step over a
 * power of ten, so that the prefix is short; the same ones without the step; and some that 8 bytes do not separate
 * either. */
static void heads_widen_where_four_bytes_do_not_separate(void **state)
{
    (void)state;
    static blocks all;
    static const struct {
        uint64_t from, step;
        unsigned flag;
    } cases[] = { { 99999900, 10, BL_BLOCK_WIDE_HEADS }, { 99999000, 10, 0 }, { 999999999990, 1, 0 } };
    for (unsigned i = 0; i < sizeof cases / sizeof *cases; i++) {
        test_entries entries = { NULL, 0, 0 };
        add_decimals(&entries, cases[i].from, cases[i].step, 30);
        build(&entries, NULL, 4096, &all);
        assert_int_equal(all.count, 1);
        assert_int_equal(all.list[0].frame[17] & BL_BLOCK_WIDE_HEADS, cases[i].flag);
        walks = 0;
        check_entries(&entries, &all.list[0]);
        assert_int_equal(walks, 10);
        free_blocks(&all);
        test_entries_free(&entries);
    }
}

/* Goal: a block whose heads are mostly equal has hashes, which tell its keys apart; others have none; and a hash
 * that is not its key's is found out. */
static void equal_heads_bring_hashes(void **state)
{
    (void)state;
    static blocks all;
    for (unsigned differing = 0; differing < 2; differing++) {
        test_entries entries = { NULL, 0, 0 };
        test_entries_add(&entries, BOLE_STR("a"), BL_TAG(0, BL_KIND_PUT),
                         bl_slice(NULL, 0)); /* and so no prefix */
        char key[40];
        for (unsigned i = 0; i < 30; i++) {
            snprintf(key, sizeof key, differing != 0 ? "%02u/the/rest/of/it" : "usr/share/doc/%02u", i);
            test_entries_add(&entries, bl_slice(key, strlen(key)), BL_TAG(0, BL_KIND_PUT), BOLE_STR("value"));
        }
        test_entries_sort(&entries, NULL);
        build(&entries, NULL, 4096, &all);
        assert_int_equal(all.count, 1);
        const block *one = &all.list[0];
        assert_int_equal((one->frame[17] & BL_BLOCK_HASHES) != 0, differing == 0);
        assert_ok(bl_block_validate(one->frame, one->size, true, NULL, file_name, 0, NULL), NULL);
        for (size_t i = 0; i < entries.count; i++)
            check_search(&entries, &all, NULL, test_key(&entries.list[i]), BL_SEQUENCE_MAX);
        check_search(&entries, &all, NULL, BOLE_STR("usr/share/doc/099"), BL_SEQUENCE_MAX);
        bl_block_view view;
        bl_block_view_init(&view, one->frame);
        for (uint32_t i = 0; view.hashes != NULL && i < view.count; i++) { /* the wrong key's is found out */
            uint8_t *hash = one->frame + (view.hashes - one->frame) + i;
            bole_error error;
            *hash ^= 1;
            assert_status(BOLE_CORRUPT,
                          bl_block_validate(one->frame, one->size, true, NULL, file_name, 0, &error), &error);
            if (strstr(error.message, "hash") == NULL)
                fail_msg("%s", error.message);
            *hash ^= 1;
        }
        free_blocks(&all);
        test_entries_free(&entries);
    }
}

/* Goal: an entry out of order is refused, also across blocks, and changes nothing. */
static void an_entry_out_of_order_is_refused(void **state)
{
    (void)state;
    bl_block_builder builder;
    assert_ok(bl_block_builder_init(&builder, NULL, NULL), NULL);
    bole_slice value = BOLE_STR("v");
    assert_int_equal(add_entry(&builder, BOLE_STR("b"), BL_TAG(5, 1), value, 4096), BL_BLOCK_ADDED);
    size_t size = bl_block_builder_size(&builder);
    uint8_t frame[256];
    assert_true(size <= sizeof frame);
    for (unsigned after_finish = 0; after_finish < 2; after_finish++) {
        assert_int_equal(add_entry(&builder, BOLE_STR("a"), BL_TAG(9, 1), value, 4096),
                         BL_BLOCK_OUT_OF_ORDER);
        assert_int_equal(add_entry(&builder, BOLE_STR(""), BL_TAG(9, 1), value, 4096), BL_BLOCK_OUT_OF_ORDER);
        assert_int_equal(add_entry(&builder, BOLE_STR("b"), BL_TAG(5, 1), value, 4096),
                         BL_BLOCK_OUT_OF_ORDER);
        assert_int_equal(add_entry(&builder, BOLE_STR("b"), BL_TAG(6, 1), value, 4096),
                         BL_BLOCK_OUT_OF_ORDER);
        assert_int_equal(bl_block_builder_size(&builder), after_finish ? 0 : size);
        if (!after_finish)
            bl_block_builder_finish(&builder, frame);
    }
    assert_int_equal(add_entry(&builder, BOLE_STR("b"), BL_TAG(4, 1), value, 4096), BL_BLOCK_ADDED);
    assert_int_equal(add_entry(&builder, BOLE_STR("b\0"), BL_TAG(9, 1), value, 4096), BL_BLOCK_ADDED);
    bl_block_builder_deinit(&builder);
}

/* Goal: large values are blocks of their own, exact to the byte. Method: around the size from which they are
 * borrowed. */
static void a_large_value_is_a_block_of_its_own(void **state)
{
    (void)state;
    static blocks all;
    static uint8_t value[BL_BLOCK_BORROW_BYTES + 1];
    for (size_t i = 0; i < sizeof value; i++)
        value[i] = (uint8_t)(i * 7);
    test_entries entries = { NULL, 0, 0 };
    test_entries_add(&entries, BOLE_STR("a"), BL_TAG(1, 1), bl_slice(value, 10));
    test_entries_add(&entries, BOLE_STR("b"), BL_TAG(2, 1), bl_slice(value, sizeof value - 2));
    test_entries_add(&entries, BOLE_STR("c"), BL_TAG(3, 1), bl_slice(value, sizeof value - 1));
    test_entries_add(&entries, BOLE_STR("d"), BL_TAG(4, 1), bl_slice(value, sizeof value));
    test_entries_add(&entries, BOLE_STR("e"), BL_TAG(5, 1), bl_slice(value, 0));
    build(&entries, NULL, 4096, &all);
    assert_int_equal(all.count, 5);
    for (size_t i = 0; i < all.count; i++) {
        assert_ok(bl_block_validate(all.list[i].frame, all.list[i].size, true, NULL, file_name, 0, NULL),
                  NULL);
        check_entries(&entries, &all.list[i]);
    }
    free_blocks(&all);
    test_entries_free(&entries);
}

/* Goal: a block without offsets has keys of one length and values of one length, or is refused: who steps through it
 * does not look at them again. Method: a byte goes from the value to the key of one record. */
static void uniform_records_have_equal_lengths(void **state)
{
    (void)state;
    static blocks all;
    test_entries entries = { NULL, 0, 0 };
    static const uint8_t value[20] = { 7 };
    char key[16];
    for (int i = 0; i < 20; i++) {
        snprintf(key, sizeof key, "%04d-key-of-14", i * 7);
        test_entries_add(&entries, bl_slice(key, 14), BL_TAG(0, BL_KIND_PUT), bl_slice(value, sizeof value));
    }
    build(&entries, NULL, 4096, &all);
    assert_int_equal(all.count, 1);
    uint8_t *frame = all.list[0].frame;
    size_t size = all.list[0].size;
    assert_int_equal(frame[17], BL_BLOCK_UNIFORM);
    assert_ok(bl_block_validate(frame, size, true, NULL, file_name, 0, NULL), NULL);
    bl_block_view view;
    bl_block_view_init(&view, frame);
    for (uint32_t i = 0; i < view.count; i++) {
        uint8_t *record = frame + (view.records - frame) + (size_t)view.stride * i;
        record[0]++;
        record[1]--;
        frame[28] = (uint8_t)(view.longest_key + 1);
        bole_error error;
        assert_status(BOLE_CORRUPT, bl_block_validate(frame, size, true, NULL, file_name, 0, &error), &error);
        record[0]--;
        record[1]++;
    }
    free_blocks(&all);
    test_entries_free(&entries);
}

/* Read everything that a validated frame shows: under a sanitizer this proves BLOCK-1. */
static void use(const uint8_t *frame, bl_prng *prng)
{
    static test_key_bytes key;
    bl_block_view view;
    bl_block_view_init(&view, frame);
    bl_cursor cursor = { .key_buffer = malloc(view.longest_key + BL_CURSOR_KEY_SLACK) };
    bl_block_window(&view, &cursor);
    uint64_t sum = 0;
    for (uint32_t i = 0; i < view.count; i++) {
        cursor.index = i;
        bl_cursor_decode(&cursor);
        for (size_t j = 0; j < cursor.key.size; j++)
            sum += ((const uint8_t *)cursor.key.data)[j];
        for (size_t j = 0; j < cursor.value.size; j++)
            sum += ((const uint8_t *)cursor.value.data)[j];
        bole_slice value;
        uint64_t tag;
        bl_lookup lookup = { .key = cursor.key,
                             .hash = bl_hash(cursor.key.data, cursor.key.size),
                             .sequence = bl_prng_below(prng, 1 << 20) };
        (void)bl_block_search(&view, &lookup, &tag, &value);
        test_random_key(prng, (unsigned)bl_prng_below(prng, TEST_FAMILIES), 100, &key);
        (void)bl_block_lower_bound(&view, NULL, bl_slice(key.data, key.size));
        lookup.key = bl_slice(key.data, key.size);
        lookup.comparator = &test_backward;
        if (i % 16 == 0)
            (void)bl_block_search(&view, &lookup, &tag, &value);
    }
    cursor.index = 0;
    bl_cursor_decode(&cursor);
    bl_cursor_walk walk;
    for (bool walks_on = bl_cursor_walk_begin(&cursor, view.count - 1, &walk); walks_on && walk.left != 0;) {
        const uint8_t *value = bl_cursor_walk_step(&walk);
        for (size_t j = 0; j < cursor.value.size; j++)
            sum += value[j];
    }
    assert_true(sum != 1); /* it is wanted */
    free(cursor.key_buffer);
}

/* Goal: no frame, however its bytes are, leads a reader out of bounds. Method: valid frames with some bytes
 * changed (the header above all), in memory of exactly their size; what validate accepts is read and
 * searched whole. */
static void no_bytes_lead_out_of_bounds(void **state)
{
    (void)state;
    static blocks all;
    bl_prng prng;
    bl_prng_init(&prng, test_seed(3));
    unsigned accepted = 0, tried = 0;
    for (unsigned round = 0; round < 30; round++) {
        test_entries_shape shape = { .family = round % TEST_FAMILIES,
                                     .keys = 1 + bl_prng_below(&prng, 60),
                                     .spread = 1000,
                                     .versions_max = 3,
                                     .value_bytes_max = bl_prng_below(&prng, 40),
                                     .same_values = bl_prng_chance(&prng, 2),
                                     .zero_sequences = bl_prng_chance(&prng, 2) };
        test_entries entries = { NULL, 0, 0 };
        test_entries_fill(&prng, &shape, NULL, &entries);
        build(&entries, NULL, 100000, &all);
        for (size_t i = 0; i < all.count && all.list[i].size < 20000; i++) {
            const block *one = &all.list[i];
            for (unsigned change = 0; change < 150; change++, tried++) {
                size_t size = one->size;
                if (bl_prng_chance(&prng, 8))
                    size -= bl_prng_below(&prng, size > 40 ? 40 : size);
                uint8_t *frame = malloc(size);
                memcpy(frame, one->frame, size);
                for (uint64_t n = bl_prng_below(&prng, 4); n > 0 && size > 0; n--) {
                    size_t at = bl_prng_chance(&prng, 2) ? bl_prng_below(&prng, size < 64 ? size : 64)
                                                         : bl_prng_below(&prng, size);
                    frame[at] = bl_prng_chance(&prng, 2)
                                    ? (uint8_t)bl_prng_next(&prng)
                                    : (uint8_t)(frame[at] ^ 1u << bl_prng_below(&prng, 8));
                }
                if (bl_prng_chance(&prng, 2) && size >= 32) /* let the size not be what gives it away */
                    bl_put_u32(frame + 12, (uint32_t)size - 32), bl_put_u32(frame + 8, (uint32_t)size - 32);
                bole_error error;
                bole_status status = bl_block_validate(frame, size, change % 2 == 0, NULL, file_name, 77,
                                                       &error);
                assert_true(status == BOLE_OK || status == BOLE_CORRUPT || status == BOLE_UNSUPPORTED);
                if (status == BOLE_OK) {
                    accepted++;
                    use(frame, &prng);
                }
                free(frame);
            }
        }
        free_blocks(&all);
        test_entries_free(&entries);
    }
    print_message("%u of %u changed frames were accepted\n", accepted, tried);
    assert_true(accepted > 0 && accepted < tried);
}

/* The block of golden/block.txt. */
static void build_trees(blocks *all)
{
    test_entries entries = { NULL, 0, 0 };
    test_entries_add(&entries, BOLE_STR("tree/ash"), BL_TAG(300, BL_KIND_PUT), BOLE_STR("Fraxinus"));
    test_entries_add(&entries, BOLE_STR("tree/ash"), BL_TAG(200, BL_KIND_DELETE), BOLE_STR(""));
    test_entries_add(&entries, BOLE_STR("tree/beech"), BL_TAG(201, BL_KIND_PUT), BOLE_STR("Fagus"));
    test_entries_add(&entries, BOLE_STR("tree/lime"), BL_TAG(202, BL_KIND_PUT), BOLE_STR("Tilia"));
    build(&entries, NULL, 4096, all);
    assert_int_equal(all->count, 1);
    test_entries_free(&entries);
}

/* Goal: each rule of the structure is checked by itself. Method: one byte of the golden block changed at a
 * time. */
static void each_rule_of_the_structure_is_checked(void **state)
{
    (void)state;
    static blocks all;
    static const struct {
        size_t at;
        uint8_t value;
        bool only_paranoid;
        const char *rule;
    } breaches[] = {
        { 0x08, 0x5a, false, "stored and raw bytes agree" },
        { 0x12, 0x0b, false, "the prefix is no longer than a key" },
        { 0x14, 0x03, false, "count" },
        { 0x17, 0x80, false, "count fits" },
        { 0x18, 0x02, false, "tombstones" },
        { 0x1c, 0x0b, false, "longest key" },
        { 0x25, 0x01, false, "padding of heads is zero" },
        { 0x28, 0x01, false, "a head is zero behind the key's end" },
        { 0x3a, 0x0b, false, "offsets are where records end" },
        { 0x38, 0x01, false, "the first offset is zero" },
        { 0x60, 0x05, false, "a key's rest fits" },
        { 0x61, 0x09, false, "a value fits" },
        { 0x75, 0x04, false, "records fill the block" },
        { 0x33, 'A', true, "keys rise" },
        { 0x42, 0x00, true, "tags of a key fall" },
    };
    build_trees(&all);
    block *one = &all.list[0];
    for (unsigned i = 0; i < sizeof breaches / sizeof *breaches; i++) {
        uint8_t before = one->frame[breaches[i].at];
        assert_int_not_equal(before, breaches[i].value);
        one->frame[breaches[i].at] = breaches[i].value;
        for (unsigned paranoid = 0; paranoid < 2; paranoid++) {
            bole_status status = bl_block_validate(one->frame, one->size, paranoid, NULL, file_name, 0, NULL);
            if ((status == BOLE_OK) != (breaches[i].only_paranoid && !paranoid))
                fail_msg("%s: %s", breaches[i].rule, bole_status_name(status));
        }
        one->frame[breaches[i].at] = before;
    }
    assert_ok(bl_block_validate(one->frame, one->size, true, NULL, file_name, 0, NULL), NULL);
    free_blocks(&all);
}

/* Goal: each bit of a stored block is covered, and so are its place and its file. */
static void every_bit_place_and_file_is_checked(void **state)
{
    (void)state;
    static blocks all;
    test_entries entries = { NULL, 0, 0 };
    add_decimals(&entries, 5, 3, 20);
    build(&entries, NULL, 4096, &all);
    block *one = &all.list[0];
    uint64_t seed = bl_checksum_seed(test_id);
    uint8_t *frame = malloc(one->size);
    assert_ok(bl_block_load(one->frame, one->size, frame, one->size, seed, file_name, 4096, NULL), NULL);
    assert_memory_equal(frame, one->frame, one->size);
    for (size_t bit = 0; bit < one->size * 8; bit++) {
        one->frame[bit / 8] ^= (uint8_t)(1u << bit % 8);
        assert_status(BOLE_CORRUPT,
                      bl_block_load(one->frame, one->size, frame, one->size, seed, file_name, 4096, NULL),
                      NULL);
        one->frame[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
    bole_error error = BOLE_ERROR_INIT;
    assert_status(BOLE_CORRUPT,
                  bl_block_load(one->frame, one->size, frame, one->size, seed, file_name, 8192, &error),
                  &error);
    assert_string_equal(error.file, file_name);
    assert_int_equal(error.offset, 8192);
    assert_status(BOLE_CORRUPT,
                  bl_block_load(one->frame, one->size, frame, one->size, seed + 1, file_name, 4096, NULL),
                  NULL);
    assert_status(BOLE_CORRUPT,
                  bl_block_load(one->frame, one->size - 1, frame, one->size, seed, file_name, 4096, NULL),
                  NULL);
    assert_status(BOLE_CORRUPT,
                  bl_block_load(one->frame, one->size, frame, one->size - 1, seed, file_name, 4096, NULL),
                  NULL);
    assert_status(BOLE_CORRUPT, bl_block_load(one->frame, 31, frame, one->size, seed, file_name, 4096, NULL),
                  NULL);
    free(frame);
    free_blocks(&all);
    test_entries_free(&entries);
}

/* Goal: kinds and flags of the future are refused as such, with a right checksum. */
static void what_is_not_built_is_unsupported(void **state)
{
    (void)state;
    static blocks all;
    static const struct {
        size_t at;
        uint8_t value;
    } changes[] = { { 16, 3 }, { 17, 0x24 }, { 30, 1 } };
    test_entries entries = { NULL, 0, 0 };
    test_entries_add(&entries, BOLE_STR("key"), BL_TAG(1, BL_KIND_PUT), BOLE_STR("value"));
    build(&entries, NULL, 4096, &all);
    block *one = &all.list[0];
    uint8_t *frame = malloc(one->size);
    uint64_t seed = bl_checksum_seed(test_id);
    for (unsigned i = 0; i < 3; i++) {
        uint8_t before = one->frame[changes[i].at];
        one->frame[changes[i].at] = changes[i].value;
        bl_block_seal(one->frame, seed, 0);
        assert_status(BOLE_UNSUPPORTED,
                      bl_block_load(one->frame, one->size, frame, one->size, seed, file_name, 0, NULL), NULL);
        one->frame[changes[i].at] = before;
    }
    bl_block_view view;
    bl_block_view_init(&view, one->frame);
    one->frame[view.tags - one->frame] = BL_KIND_MERGE;
    bl_block_seal(one->frame, seed, 0);
    assert_status(BOLE_UNSUPPORTED,
                  bl_block_load(one->frame, one->size, frame, one->size, seed, file_name, 0, NULL), NULL);
    free(frame);
    free_blocks(&all);
    test_entries_free(&entries);
}

/* Goal: the bytes of a block are as its header describes them: stores depend on them. Method: a block with a
 * prefix, a tombstone, two versions, a key that ends in its head and one that goes on behind it. */
static void a_small_block_has_golden_bytes(void **state)
{
    (void)state;
    static blocks all;
    build_trees(&all);
    test_golden("block.txt", all.list[0].frame, all.list[0].size);
    free_blocks(&all);
}

#if defined(__x86_64__)
BL_AVX2 static void check_nodes(const uint64_t node[16], uint64_t head)
{
    assert_int_equal(bl_head_search_16_avx2(node, head), bl_head_search_16_scalar(node, head));
    assert_int_equal(bl_head_search_8_avx2(node, head), bl_head_search_8_scalar(node, head));
}
#endif

/* Goal: scalar and SIMD searches of heads give one answer, for sorted heads and for any bytes. */
static void scalar_and_simd_count_the_same(void **state)
{
    (void)state;
    bl_prng prng;
    bl_prng_init(&prng, test_seed(4));
    for (unsigned round = 0; round < 3000; round++) {
        uint32_t count = (uint32_t)bl_prng_below(&prng, round % 10 == 0 ? 2000 : 100);
        uint8_t *heads = malloc(count * 8 + 1), *narrow = malloc(count * 4 + 1);
        uint64_t at = 0, step = UINT64_C(1) << bl_prng_below(&prng, 58);
        for (uint32_t i = 0; i < count; i++) {
            at = round % 3 == 0 ? bl_prng_next(&prng) : at + bl_prng_below(&prng, step);
            bl_put_u64(heads + 8 * i, at);
            bl_put_u32(narrow + 4 * i, (uint32_t)(at >> 32));
        }
        for (unsigned i = 0; i < 10; i++) {
            uint64_t head = i == 0 ? 0 : i == 1 ? UINT64_MAX : bl_prng_next(&prng);
            if (i > 4 && count > 0)
                head = bl_get_u64(heads + 8 * bl_prng_below(&prng, count)) + (i & 1);
            uint32_t scalar = bl_head_search_u64_scalar(heads, count, head);
            assert_int_equal(bl_head_search_u64(heads, count, head), scalar);
            assert_int_equal(bl_head_search_u32(narrow, count, (uint32_t)(head >> 32)),
                             bl_head_search_u32_scalar(narrow, count, (uint32_t)(head >> 32)));
            if (round % 3 != 0) { /* sorted: the count is the place */
                assert_true(scalar == count || bl_get_u64(heads + 8 * scalar) >= head);
                assert_true(scalar == 0 || bl_get_u64(heads + 8 * (scalar - 1)) < head);
            }
            if (count >= 16) {
                uint64_t node[16];
                memcpy(node, heads, sizeof node);
                assert_int_equal(bl_head_search_16_scalar(node, head),
                                 bl_head_search_u64_scalar(heads, 16, head));
                assert_int_equal(bl_head_search_8_scalar(node, head),
                                 bl_head_search_u64_scalar(heads, 8, head));
#if defined(__x86_64__)
                if (__builtin_cpu_supports("avx2"))
                    check_nodes(node, head);
#endif
            }
        }
        free(heads);
        free(narrow);
    }
}

/* Goal: each allocation of a builder may fail: a status, no leak, no damage. */
static void every_failed_allocation_is_a_status(void **state)
{
    (void)state;
    static uint8_t value[60000];
    int64_t live = bl_alloc_live();
    for (uint64_t at = 0;; at++) {
        bl_block_builder builder;
        bl_alloc_fail_at(at, 1);
        bole_status status = bl_block_builder_init(&builder, NULL, NULL);
        bl_block_added added = BL_BLOCK_ADDED;
        for (unsigned i = 0; status == BOLE_OK && added == BL_BLOCK_ADDED && i < 600; i++) {
            uint8_t key[2] = { (uint8_t)(i >> 8), (uint8_t)i };
            added = add_entry(&builder, bl_slice(key, 2), 1, bl_slice(value, i == 3 ? sizeof value : 1),
                              200000);
        }
        bool failed = status != BOLE_OK || added != BL_BLOCK_ADDED;
        assert_true(!failed || status == BOLE_NO_MEMORY || added == BL_BLOCK_OUT_OF_MEMORY);
        bl_block_builder_deinit(&builder);
        bl_alloc_fail_at(UINT64_MAX, 0);
        assert_int_equal(bl_alloc_live(), live);
        if (!failed)
            break;
        assert_true(at < 100);
    }
}

/* Goal: whether a block's first entry has a key is said for narrow and wide heads, behind a prefix, and for keys that
 * are shorter than it. A frame without room for a header is none. */
static void the_first_key_is_known_again(void **state)
{
    (void)state;
    for (int wide = 0; wide < 2; wide++) { /* four bytes do not tell these apart */
        static const char *const keys[][3] = { { "tree/ash", "tree/beech", "tree/cedar" },
                                               { "tree/aaaa1", "tree/aaaa2", "tree/baaa" } };
        bl_block_builder builder;
        assert_ok(bl_block_builder_init(&builder, NULL, NULL), NULL);
        for (int i = 0; i < 3; i++)
            assert_int_equal(add_entry(&builder, bl_slice(keys[wide][i], strlen(keys[wide][i])),
                                       BL_TAG(1, BL_KIND_PUT), BOLE_STR("v"), 4096),
                             BL_BLOCK_ADDED);
        size_t size = bl_block_builder_size(&builder);
        uint8_t *frame = malloc(size);
        bl_block_builder_finish(&builder, frame);
        bl_block_view view;
        bl_block_view_init(&view, frame);
        assert_int_equal(view.wide_heads, wide);
        assert_true(bl_block_holds_key(&view, bl_slice(keys[wide][0], strlen(keys[wide][0]))));
        assert_false(bl_block_holds_key(&view, bl_slice(keys[wide][1], strlen(keys[wide][1]))));
        assert_false(bl_block_holds_key(&view, BOLE_STR("tree/a")));
        assert_false(bl_block_holds_key(&view, BOLE_STR("tr")));
        assert_false(bl_block_holds_key(&view, BOLE_STR("trie/ash")));
        assert_status(BOLE_CORRUPT,
                      bl_block_validate(frame, BL_BLOCK_HEADER_BYTES - 1, true, NULL, "a.seg", 0, NULL),
                      NULL);
        free(frame);
        bl_block_builder_deinit(&builder);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_entry_comes_back_and_is_found),
        cmocka_unit_test(a_users_order_is_searched_as_well),
        cmocka_unit_test(versions_continue_in_the_next_block),
        cmocka_unit_test(a_dense_decimal_entry_takes_at_most_108_bytes),
        cmocka_unit_test(heads_widen_where_four_bytes_do_not_separate),
        cmocka_unit_test(equal_heads_bring_hashes),
        cmocka_unit_test(an_entry_out_of_order_is_refused),
        cmocka_unit_test(uniform_records_have_equal_lengths),
        cmocka_unit_test(a_large_value_is_a_block_of_its_own),
        cmocka_unit_test(no_bytes_lead_out_of_bounds),
        cmocka_unit_test(each_rule_of_the_structure_is_checked),
        cmocka_unit_test(every_bit_place_and_file_is_checked),
        cmocka_unit_test(what_is_not_built_is_unsupported),
        cmocka_unit_test(a_small_block_has_golden_bytes),
        cmocka_unit_test(scalar_and_simd_count_the_same),
        cmocka_unit_test(every_failed_allocation_is_a_status),
        cmocka_unit_test(the_first_key_is_known_again),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
