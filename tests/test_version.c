/* SPDX-License-Identifier: MIT */
/* test_version.c -- versions: search in runs, the rules (VER-1) to (VER-4), sharing, counts. */
#include "version_fixture.h"

#include "base/coding.h"
#include "core/comparator.h"

static uint32_t handles_gone;

static void count_gone(void *context, uint64_t number)
{
    (void)context, (void)number;
    handles_gone++;
}

static bl_segment *make_handle(const bl_segment_meta *meta, bl_comparator *comparator)
{
    bl_segment *segment = NULL;
    bole_error error = BOLE_ERROR_INIT;
    world_begin();
    world.environment.file_due = count_gone;
    assert_ok(bl_segment_create_handle(&world.environment, meta, comparator, &segment, &error), &error);
    bl_segment_mark_obsolete(segment);
    return segment;
}

typedef struct placed {
    uint32_t table, level, run;
    uint64_t number;
    const char *smallest, *largest;
    uint64_t sequence_min, sequence_max;
} placed;

static const bl_version_birth two_tables[] = {
    { 0, "default", BL_COMPARATOR_BYTES_NAME, NULL, true, 0 },
    { 4, "users", BL_COMPARATOR_BYTES_NAME, NULL, true, 17 },
};

/* A version of two tables with these segments. */
static bl_version *make_version(const placed *segments, uint32_t count)
{
    bl_version_insertion insertions[32];
    assert_true(count <= 32);
    for (uint32_t i = 0; i < count; i++) {
        const placed *s = &segments[i];
        bl_segment_meta meta = make_meta(s->number, s->table, s->level, s->run,
                                         bl_slice(s->smallest, strlen(s->smallest)),
                                         bl_slice(s->largest, strlen(s->largest)), s->sequence_min,
                                         s->sequence_max);
        insertions[i] = (bl_version_insertion){ s->table, s->level, s->run, make_handle(&meta, NULL) };
    }
    bl_version_change change = {
        .births = two_tables, .birth_count = 2, .insertions = insertions, .insertion_count = count
    };
    bl_version *version = NULL;
    bole_error error = BOLE_ERROR_INIT;
    assert_ok(bl_version_build(&change, &version, &error), &error);
    for (uint32_t i = 0; i < count; i++)
        bl_segment_unref(insertions[i].segment);
    return version;
}

/* Goal: a version lists tables by number, runs newest first, segments by key, with their sums. */
static void a_version_lists_what_was_put_in_in_order(void **state)
{
    (void)state;
    const placed segments[] = {
        { 4, 3, 0, 9, "m", "q", 1, 2 },   { 0, 0, 1, 5, "x", "z", 10, 11 }, { 0, 0, 2, 6, "a", "b", 20, 21 },
        { 0, 0, 1, 4, "a", "c", 10, 11 }, { 4, 3, 0, 8, "", "k", 1, 2 },    { 0, 3, 0, 7, "a", "zz", 1, 2 },
    };
    handles_gone = 0;
    bl_version *version = make_version(segments, 6);
    bole_error error = BOLE_ERROR_INIT;
    assert_ok(bl_version_check(version, &error), &error);
    assert_int_equal(version->table_count, 2);
    const bl_version_table *first = bl_version_table_by_number(version, 0);
    const bl_version_table *users = bl_version_table_by_name(version, "users");
    assert_ptr_equal(users, bl_version_table_by_number(version, 4));
    assert_null(bl_version_table_by_number(version, 3));
    assert_null(bl_version_table_by_name(version, "user"));
    assert_int_equal(users->created, 17);
    assert_int_equal(first->levels[0].run_count, 2);
    assert_int_equal(first->levels[0].runs[0].number, 2);
    assert_int_equal(first->levels[0].runs[1].number, 1);
    const bl_run *run = &first->levels[0].runs[1];
    assert_int_equal(bl_segment_meta_of(run->segments[0])->number, 4);
    assert_int_equal(bl_segment_meta_of(run->segments[1])->number, 5);
    assert_int_equal(run->bytes, 4096 + 4 + 4096 + 5);
    assert_int_equal(run->entries, 104 + 105);
    assert_int_equal(first->levels[0].entries, 104 + 105 + 106);
    assert_int_equal(users->levels[3].runs[0].count, 2);
    assert_int_equal(bl_segment_meta_of(users->levels[3].runs[0].segments[0])->number, 8);
    uint32_t level, at;
    assert_ptr_equal(bl_version_find_segment(version, 0, 5, &level, &at), run->segments[1]);
    assert_int_equal(level, 0);
    assert_int_equal(at, 1);
    assert_null(bl_version_find_segment(version, 4, 5, &level, &at));
    bl_version_unref(version);
    assert_int_equal(handles_gone, 6);
}

/* Goal: value segments stand by number, however they came; a segment that stands in another table than its own is
 * found. */
static void value_segments_and_strangers(void **state)
{
    (void)state;
    const placed values[] = { { 0, BL_LEVEL_VALUES, 0, 9, "a", "b", 1, 2 },
                              { 0, BL_LEVEL_VALUES, 0, 5, "a", "z", 1, 2 },
                              { 0, BL_LEVEL_VALUES, 0, 7, "c", "d", 1, 2 } };
    bl_version *version = make_version(values, 3);
    for (uint32_t i = 0; i < 3; i++)
        assert_int_equal(bl_segment_meta_of(version->tables[0].values.segments[i])->number, 5 + 2 * i);
    bl_version_unref(version);
    bl_segment_meta meta = make_meta(3, 4, 3, 0, BOLE_STR("a"), BOLE_STR("b"), 1, 2);
    bole_error error = BOLE_ERROR_INIT;
    for (uint32_t table = 0; table <= 4; table += 4) {
        bl_version_insertion insertion = { table, 3, 0, make_handle(&meta, NULL) };
        bl_version_change change = {
            .births = two_tables, .birth_count = 2, .insertions = &insertion, .insertion_count = 1
        };
        assert_ok(bl_version_build(&change, &version, &error), &error);
        bl_segment_unref(insertion.segment);
        assert_status(table == 4 ? BOLE_OK : BOLE_CORRUPT, bl_version_check(version, &error), &error);
        if (table == 0)
            assert_non_null(strstr(error.message, "VER-4"));
        bl_version_unref(version);
    }
}

/* Goal: no two versions have one id, and each knows up to where its entries go. */
static void versions_are_told_apart(void **state)
{
    (void)state;
    const placed segments[] = { { 0, 0, 2, 4, "a", "c", 20, 30 },
                                { 4, 0, 1, 3, "b", "d", 10, 41 },
                                { 0, 3, 0, 2, "a", "d", 1, 9 } };
    static const uint64_t most[] = { 0, 30, 41, 41 };
    uint64_t before = 0;
    for (uint32_t count = 0; count <= 3; count++) {
        bl_version *version = make_version(segments, count);
        assert_int_equal(version->sequence_max, most[count]);
        assert_true(version->id > before);
        before = version->id;
        bl_version_unref(version);
    }
}

/* Goal: each rule is checked. Method: a version that breaks it in one way, and the same without the
 * breach. */
static void a_broken_rule_is_found(void **state)
{
    (void)state;
    static const struct {
        const char *rule;
        placed segments[3];
        uint32_t count;
    } cases[] = {
        { NULL, { { 0, 0, 1, 2, "a", "b", 1, 2 }, { 0, 0, 1, 3, "b\x01", "c", 1, 2 } }, 2 },
        { "VER-1", { { 0, 0, 1, 2, "a", "b", 1, 2 }, { 0, 0, 1, 3, "b", "c", 1, 2 } }, 2 },
        { "VER-1", { { 0, 3, 0, 2, "a", "z", 1, 2 }, { 0, 3, 0, 3, "m", "m", 1, 2 } }, 2 },
        { "VER-1", { { 0, 0, 1, 2, "b", "a", 1, 2 } }, 1 },
        { "VER-1", { { 0, 0, 1, 3, "a", "c", 1, 2 }, { 0, 0, 1, 2, "a", "b", 1, 2 } }, 2 },
        { NULL, { { 0, 1, 0, 2, "a", "b", 1, 2 }, { 0, 2, 0, 3, "a", "b", 1, 2 } }, 2 },
        { "VER-2", { { 0, 1, 0, 2, "a", "b", 1, 2 }, { 0, 1, 1, 3, "x", "z", 1, 2 } }, 2 },
        { "VER-2", { { 0, 1, 1, 2, "a", "b", 1, 2 } }, 1 },
        { NULL, { { 0, 0, 1, 2, "a", "c", 1, 9 }, { 0, 0, 2, 3, "b", "d", 10, 12 } }, 2 },
        { "VER-3", { { 0, 0, 1, 2, "a", "c", 1, 10 }, { 0, 0, 2, 3, "b", "d", 10, 12 } }, 2 },
        { NULL, { { 0, 0, 1, 2, "a", "c", 1, 10 }, { 0, 0, 2, 3, "ca", "d", 10, 12 } }, 2 },
        { "VER-3",
          { { 0, 0, 1, 2, "k", "k", 5, 10 },
            { 0, 0, 2, 3, "a", "d", 20, 22 },
            { 0, 0, 9, 4, "j", "l", 1, 3 } },
          3 },
        { "VER-3", { { 0, 0, 1, 2, "a", "c", 1, 2 }, { 0, 3, 0, 3, "c", "d", 10, 12 } }, 2 },
        { "VER-3", { { 0, 1, 0, 2, "d", "e", 1, 2 }, { 0, 3, 0, 3, "b", "d", 10, 12 } }, 2 },
        { NULL, { { 0, 1, 0, 2, "d", "e", 1, 10 }, { 0, 3, 0, 3, "b", "d", 10, 12 } }, 2 },
        { NULL, { { 0, 1, 0, 2, "c", "e", 1, 2 }, { 0, 3, 0, 3, "b", "d", 10, 12 } }, 2 },
        { "VER-3", { { 0, 0, 1, 2, "a", "c", 3, 2 } }, 1 },
        { "VER-4", { { 0, 0, 1, 2, "a", "b", 1, 2 }, { 4, 0, 1, 2, "a", "b", 1, 2 } }, 2 },
        { "VER-4", { { 0, 0, 1, 2, "a", "b", 1, 2 }, { 0, 3, 0, 2, "x", "y", 1, 2 } }, 2 },
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        bl_version *version = make_version(cases[i].segments, cases[i].count);
        bole_error error = BOLE_ERROR_INIT;
        bole_status status = bl_version_check(version, &error);
        if (status != (cases[i].rule == NULL ? BOLE_OK : BOLE_CORRUPT) ||
            (cases[i].rule != NULL && strstr(error.message, cases[i].rule) == NULL))
            fail_msg("case %zu (%s): %s %s", i, cases[i].rule == NULL ? "good" : cases[i].rule,
                     bole_status_name(status), error.message);
        if (cases[i].rule != NULL)
            assert_non_null(strstr(error.file, ".seg"));
        bl_version_unref(version);
    }
}

static int compare_backwards(void *context, bole_slice a, bole_slice b)
{
    (void)context;
    return bl_slice_compare(b, a);
}
static const bole_comparator backwards = { "test.backwards", NULL, compare_backwards };

/* A run of `count` distinct random keys, each a segment of its own. */
static bl_version *random_run(bl_prng *prng, bl_comparator *comparator, uint32_t wanted, const char *prefix)
{
    static uint8_t keys[256][48];
    bl_version_insertion insertions[256];
    uint32_t count = 0;
    static const uint8_t letters[] = { 0x00, 0x00, 'a', 'b', 0xFF };
    while (count < wanted) {
        size_t size = strlen(prefix);
        memcpy(keys[count], prefix, size);
        if (bl_prng_chance(prng, 3)) { /* the highest head, or the lowest, with more behind it */
            memset(keys[count] + size, bl_prng_chance(prng, 2) ? 0xFF : 0, 8);
            size += 8;
        }
        for (uint64_t n = bl_prng_below(prng, 14); n > 0; n--)
            keys[count][size++] = letters[bl_prng_below(prng, sizeof letters)];
        bole_slice key = bl_slice(keys[count], size);
        bool fresh = true;
        for (uint32_t i = 0; i < count; i++)
            fresh = fresh && !bl_slice_equal(key, bl_segment_meta_of(insertions[i].segment)->largest);
        if (!fresh)
            continue;
        bl_segment_meta meta = make_meta(count + 1, 0, 3, 0, key, key, 1, 2);
        insertions[count++] = (bl_version_insertion){ 0, 3, 0, make_handle(&meta, comparator) };
    }
    bl_version_birth birth = { 0, "default", bl_comparator_name(comparator), comparator, true, 0 };
    bl_version_change change = {
        .births = &birth, .birth_count = 1, .insertions = insertions, .insertion_count = count
    };
    bl_version *version = NULL;
    bole_error error = BOLE_ERROR_INIT;
    assert_ok(bl_version_build(&change, &version, &error), &error);
    assert_ok(bl_version_check(version, &error), &error);
    for (uint32_t i = 0; i < count; i++)
        bl_segment_unref(insertions[i].segment);
    return version;
}

/* Goal: the search with heads finds what a walk over the keys finds. Method: runs of random keys with long
 * and short common prefixes, many keys with equal heads, keys that end inside the prefix; in byte order and
 * in a user's order. */
static void lower_bound_is_what_a_walk_over_the_keys_finds(void **state)
{
    (void)state;
    bl_prng prng;
    bl_prng_init(&prng, test_seed(3));
    static const char *const prefixes[] = { "", "p", "user:0000000", "\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF" };
    for (int round = 0; round < 120; round++) {
        bl_comparator *comparator = round % 4 == 3 ? &backwards : NULL;
        const char *prefix = prefixes[bl_prng_below(&prng, 4)];
        bl_version *version = random_run(&prng, comparator, 1 + (uint32_t)bl_prng_below(&prng, 60), prefix);
        const bl_run *run = &version->tables[0].levels[3].runs[0];
        for (int probe = 0; probe < 300; probe++) {
            uint8_t key[64];
            size_t size;
            if (bl_prng_chance(&prng, 2)) { /* a key of the run, perhaps cut or grown */
                bole_slice from = run->largest[bl_prng_below(&prng, run->count)];
                size = from.size;
                memcpy(key, from.data, size);
                if (bl_prng_chance(&prng, 3) && size > 0)
                    size = bl_prng_below(&prng, size);
                else if (bl_prng_chance(&prng, 2))
                    key[size++] = (uint8_t)bl_prng_below(&prng, 256);
            } else {
                size = bl_prng_below(&prng, 20);
                for (size_t i = 0; i < size; i++)
                    key[i] = bl_prng_chance(&prng, 2) && prefix[0] != 0 ? (uint8_t)prefix[0]
                                                                        : (uint8_t)bl_prng_below(&prng, 256);
            }
            bole_slice wanted = bl_slice(key, size);
            uint32_t walked = 0;
            while (walked < run->count && bl_compare(comparator, run->largest[walked], wanted) < 0)
                walked++;
            assert_int_equal(bl_run_lower_bound(run, comparator, wanted), walked);
            bl_segment *found = bl_run_find(run, comparator, wanted);
            bool inside = walked < run->count && bl_compare(comparator, run->smallest[walked], wanted) <= 0;
            assert_ptr_equal(found, inside ? run->segments[walked] : NULL);
        }
        bl_version_unref(version);
    }
}

/* Goal: (BUILD-1); what an edit does not touch is shared, and lives as long as any version that has it.
 * Method: a change of one run of one table; then the versions are let go of in both orders. */
static void untouched_runs_are_shared_between_versions(void **state)
{
    (void)state;
    const placed segments[] = {
        { 0, 0, 1, 2, "a", "c", 1, 2 }, { 0, 0, 2, 3, "b", "d", 3, 4 }, { 0, 3, 0, 4, "a", "b", 0, 0 },
        { 0, 3, 0, 5, "c", "d", 0, 0 }, { 4, 0, 1, 6, "a", "c", 1, 2 },
    };
    for (int newer_first = 0; newer_first < 2; newer_first++) {
        handles_gone = 0;
        bl_version *base = make_version(segments, 5);
        bl_segment_meta meta = make_meta(7, 0, 3, 0, BOLE_STR("bb"), BOLE_STR("bc"), 0, 0);
        bl_version_insertion insertion = { 0, 3, 0, make_handle(&meta, NULL) };
        bl_version_removal removals[] = { { 0, 3, 0, 5 }, { 0, 0, 1, 2 } };
        bl_version_change change = { .base = base,
                                     .insertions = &insertion,
                                     .insertion_count = 1,
                                     .removals = removals,
                                     .removal_count = 2 };
        bl_version *next = NULL;
        bole_error error = BOLE_ERROR_INIT;
        assert_ok(bl_version_build(&change, &next, &error), &error);
        bl_segment_unref(insertion.segment);
        assert_ok(bl_version_check(next, &error), &error);
        assert_ptr_equal(base->tables[1].levels[0].runs[0].segments,
                         next->tables[1].levels[0].runs[0].segments);
        assert_ptr_equal(base->tables[0].levels[0].runs[0].segments,
                         next->tables[0].levels[0].runs[0].segments);
        assert_int_equal(next->tables[0].levels[0].run_count, 1);
        assert_int_equal(base->tables[0].levels[0].run_count, 2);
        const bl_run *last = &next->tables[0].levels[3].runs[0];
        assert_int_equal(last->count, 2);
        assert_int_equal(bl_segment_meta_of(last->segments[1])->number, 7);
        bl_version_ref(base);
        bl_version_unref(base);
        bl_version_unref(newer_first ? next : base);
        assert_int_equal(handles_gone, newer_first ? 1 : 2);
        bl_version_unref(newer_first ? base : next);
        assert_int_equal(handles_gone, 6);
    }
}

/* Goal: newcomers of a touched run fall into their places: before, between and behind what was there. */
static void newcomers_are_merged_into_their_run(void **state)
{
    (void)state;
    const placed segments[] = { { 0, 3, 0, 2, "d", "e", 1, 2 },
                                { 0, 3, 0, 3, "h", "i", 1, 2 },
                                { 0, 3, 0, 4, "m", "n", 1, 2 } };
    static const char *const keys[] = { "z", "a", "f", "k", "b", "j" };
    bl_version *base = make_version(segments, 3), *next = NULL;
    bl_version_insertion insertions[6];
    for (uint32_t i = 0; i < 6; i++) {
        bl_segment_meta meta = make_meta(10 + i, 0, 3, 0, bl_slice(keys[i], 1), bl_slice(keys[i], 1), 1, 2);
        insertions[i] = (bl_version_insertion){ 0, 3, 0, make_handle(&meta, NULL) };
    }
    bl_version_removal removal = { 0, 3, 0, 3 };
    bl_version_change change = {
        .base = base, .insertions = insertions, .insertion_count = 6, .removals = &removal, .removal_count = 1
    };
    bole_error error = BOLE_ERROR_INIT;
    assert_ok(bl_version_build(&change, &next, &error), &error);
    assert_ok(bl_version_check(next, &error), &error);
    static const uint64_t order[] = { 11, 14, 2, 12, 15, 13, 4, 10 };
    const bl_run *run = &next->tables[0].levels[3].runs[0];
    assert_int_equal(run->count, 8);
    for (uint32_t i = 0; i < 8; i++)
        assert_int_equal(bl_segment_meta_of(run->segments[i])->number, order[i]);
    for (uint32_t i = 0; i < 6; i++)
        bl_segment_unref(insertions[i].segment);
    bl_version_unref(base);
    bl_version_unref(next);
}

/* Goal: a table of unknown order can be listed; nothing is said of the order of its keys. */
static void a_table_of_unknown_order_is_not_checked_for_order(void **state)
{
    (void)state;
    bl_segment_meta metas[] = { make_meta(1, 0, 3, 0, BOLE_STR("m"), BOLE_STR("a"), 1, 2),
                                make_meta(2, 0, 3, 0, BOLE_STR("z"), BOLE_STR("b"), 1, 2) };
    bl_version_insertion insertions[] = { { 0, 3, 0, make_handle(&metas[0], NULL) },
                                          { 0, 3, 0, make_handle(&metas[1], NULL) } };
    bl_version_birth birth = { 0, "default", "who.knows", NULL, false, 0 };
    bl_version_change change = {
        .births = &birth, .birth_count = 1, .insertions = insertions, .insertion_count = 2
    };
    bl_version *version = NULL;
    bole_error error = BOLE_ERROR_INIT;
    assert_ok(bl_version_build(&change, &version, &error), &error);
    assert_ok(bl_version_check(version, &error), &error);
    bl_segment_unref(insertions[0].segment);
    bl_segment_unref(insertions[1].segment);
    bl_version_unref(version);
}

/* Goal: (BUILD-2). Method: every allocation of a build fails in turn. */
static void a_build_without_memory_leaves_nothing_behind(void **state)
{
    (void)state;
    const placed segments[] = { { 0, 0, 1, 2, "a", "c", 1, 2 }, { 0, 3, 0, 4, "a", "b", 0, 0 } };
    bl_version *base = make_version(segments, 2);
    bl_segment_meta meta = make_meta(7, 0, 3, 0, BOLE_STR("bb"), BOLE_STR("bc"), 0, 0);
    bl_version_insertion insertion = { 0, 3, 0, make_handle(&meta, NULL) };
    bl_version_change change = { .base = base, .insertions = &insertion, .insertion_count = 1 };
    int64_t live = bl_alloc_live();
    for (uint64_t at = 0;; at++) {
        bl_version *next = NULL;
        bole_error error = BOLE_ERROR_INIT;
        bl_alloc_fail_at(at, 1);
        bole_status status = bl_version_build(&change, &next, &error);
        bl_alloc_fail_at(UINT64_MAX, 0);
        bl_version_unref(next);
        assert_int_equal(bl_alloc_live(), live);
        if (status == BOLE_OK)
            break;
        assert_int_equal(status, BOLE_NO_MEMORY);
        assert_null(next);
    }
    bl_segment_unref(insertion.segment);
    bl_version_unref(base);
}

static int end_world(void **state)
{
    (void)state;
    world_end();
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_version_lists_what_was_put_in_in_order),
        cmocka_unit_test(versions_are_told_apart),
        cmocka_unit_test(a_broken_rule_is_found),
        cmocka_unit_test(value_segments_and_strangers),
        cmocka_unit_test(lower_bound_is_what_a_walk_over_the_keys_finds),
        cmocka_unit_test(untouched_runs_are_shared_between_versions),
        cmocka_unit_test(newcomers_are_merged_into_their_run),
        cmocka_unit_test(a_table_of_unknown_order_is_not_checked_for_order),
        cmocka_unit_test(a_build_without_memory_leaves_nothing_behind),
    };
    return cmocka_run_group_tests(tests, NULL, end_world);
}
