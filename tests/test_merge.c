/* SPDX-License-Identifier: MIT */
/* test_merge.c -- the merge of runs against a sorted array: every order, every direction, every failure. */
#include "test.h"

#include "base/alloc.h"
#include "base/prng.h"
#include "core/merge.h"

/* ---- A cursor over an array, shown in windows of a few entries ---- */

typedef struct array_cursor {
    bl_cursor base;
    const bl_entry *all;
    uint32_t total, window; /* entries; entries a window shows */
    uint32_t start;         /* of the present window */
    bl_comparator *comparator;
    int *calls_left; /* window calls until one fails; NULL: never */
    bool *closed;
    uint32_t steps; /* that a seek takes, when it is taken in steps */
} array_cursor;

static bool fails_now(array_cursor *cursor)
{
    if (cursor->calls_left == NULL || (*cursor->calls_left)-- > 0)
        return false;
    cursor->base.valid = false;
    cursor->base.status = BOLE_IO;
    static bole_error planted = { .status = BOLE_IO, .message = "planted" };
    cursor->base.error = &planted;
    return true;
}

static void stand_at(array_cursor *cursor, int64_t at)
{
    bl_cursor *base = &cursor->base;
    base->status = BOLE_OK;
    base->valid = at >= 0 && at < (int64_t)cursor->total;
    if (fails_now(cursor) || !base->valid) {
        base->index = base->count = 0;
        return;
    }
    cursor->start = (uint32_t)at / cursor->window * cursor->window;
    base->kind = BL_WINDOW_ENTRIES;
    base->entries = cursor->all + cursor->start;
    base->index = (uint32_t)at - cursor->start;
    base->count = cursor->total - cursor->start < cursor->window ? cursor->total - cursor->start
                                                                 : cursor->window;
    bl_cursor_decode(base);
}

static uint32_t lower_bound(const array_cursor *cursor, bole_slice key)
{
    uint32_t at = 0;
    while (at < cursor->total && bl_compare(cursor->comparator, cursor->all[at].key, key) < 0)
        at++;
    return at;
}

static array_cursor *of(bl_cursor *cursor) { return (array_cursor *)cursor; }
static void array_seek_first(bl_cursor *cursor) { stand_at(of(cursor), 0); }
static void array_seek_last(bl_cursor *cursor) { stand_at(of(cursor), (int64_t)of(cursor)->total - 1); }
static void array_seek(bl_cursor *cursor, bole_slice key)
{
    stand_at(of(cursor), lower_bound(of(cursor), key));
}
static void array_seek_before(bl_cursor *cursor, bole_slice key)
{
    stand_at(of(cursor), (int64_t)lower_bound(of(cursor), key) - 1);
}
static void array_next_window(bl_cursor *cursor)
{
    stand_at(of(cursor), (int64_t)of(cursor)->start + cursor->count);
}
static void array_prev_window(bl_cursor *cursor) { stand_at(of(cursor), (int64_t)of(cursor)->start - 1); }
/* In which order cursors took their steps: a step and the steps of a seek, a digit each. */
static char steps_taken[64];
static bool array_seek_step(bl_cursor *cursor, bole_slice key, bool before, uint32_t step)
{
    uint32_t steps = of(cursor)->steps;
    size_t length = strlen(steps_taken);
    assert_true(step < steps);
    if (length + 3 < sizeof steps_taken)
        snprintf(steps_taken + length, sizeof steps_taken - length, "%u%u ", steps, step);
    if (step + 1 == steps)
        (before ? array_seek_before : array_seek)(cursor, key);
    return step + 1 == steps;
}
static void array_close(bl_cursor *cursor)
{
    if (of(cursor)->closed != NULL)
        *of(cursor)->closed = true;
    free(cursor);
}

static const bl_cursor_ops array_ops = {
    .seek_first = array_seek_first,
    .seek_last = array_seek_last,
    .seek = array_seek,
    .seek_before = array_seek_before,
    .next_window = array_next_window,
    .prev_window = array_prev_window,
    .seek_step = array_seek_step,
    .close = array_close,
};

static bl_cursor *array_cursor_make(const bl_entry *all, uint32_t total, uint32_t window,
                                    bl_comparator *comparator, int *calls_left)
{
    array_cursor *cursor = calloc(1, sizeof *cursor);
    assert_non_null(cursor);
    cursor->base.ops = &array_ops;
    cursor->all = all;
    cursor->total = total;
    cursor->window = window;
    cursor->comparator = comparator;
    cursor->calls_left = calls_left;
    cursor->steps = 1 + total % 4;
    return &cursor->base;
}

/* ---- Random runs, and the order they must come out in ---- */

enum { RUNS_MAX = 40, ENTRIES_MAX = 600, KEY_MAX = 24 };

typedef struct world {
    uint32_t runs, total;
    uint32_t head_offset;
    bl_comparator *comparator;
    uint8_t keys[ENTRIES_MAX][KEY_MAX];
    bl_entry sorted[ENTRIES_MAX]; /* all entries, in internal order */
    bl_entry by_run[RUNS_MAX][ENTRIES_MAX];
    uint32_t counts[RUNS_MAX];
} world;

static int reverse_compare(void *context, bole_slice a, bole_slice b)
{
    (void)context;
    return bl_slice_compare(b, a);
}
static const bole_comparator reverse = { "test.reverse", NULL, reverse_compare };

static int entry_order(bl_comparator *comparator, const bl_entry *a, const bl_entry *b)
{
    int order = bl_compare(comparator, a->key, b->key);
    return order != 0 ? order : a->tag > b->tag ? -1 : a->tag < b->tag;
}

static void insert_sorted(world *w, bl_entry *array, uint32_t count, bl_entry entry)
{
    uint32_t at = count;
    for (; at > 0 && entry_order(w->comparator, &entry, &array[at - 1]) < 0; at--)
        array[at] = array[at - 1];
    array[at] = entry;
}

/* Keys over few bytes, zero and 0xff among them, one often the prefix of another; several versions of each, spread
 * over the runs; sometimes behind a long common prefix, or all of one head. */
static void world_make(world *w, bl_prng *prng)
{
    static const uint8_t letters[] = { 0x00, 0xff, 'a', 'b', 0x01 };
    w->runs = (uint32_t)bl_prng_below(prng, bl_prng_chance(prng, 4) ? RUNS_MAX : 7) + 1;
    w->total = (uint32_t)bl_prng_below(prng, bl_prng_chance(prng, 4) ? ENTRIES_MAX : 60);
    w->comparator = bl_prng_chance(prng, 5) ? &reverse : NULL;
    uint32_t prefix = (uint32_t)bl_prng_below(prng, 12);
    w->head_offset = w->comparator != NULL ? 0 : (uint32_t)bl_prng_below(prng, prefix + 1);
    uint64_t letter_count = bl_prng_below(prng, 5) + 1;
    uint64_t rest_max = bl_prng_below(prng, 11);
    uint64_t stay = bl_prng_below(prng, 20) + 1; /* neighbours in one run: the runner-up's bound is used */
    memset(w->counts, 0, sizeof w->counts);
    uint32_t run = 0;
    for (uint32_t i = 0; i < w->total; i++) {
        uint8_t *key = w->keys[i];
        memset(key, 'p', prefix);
        size_t size = prefix + bl_prng_below(prng, rest_max + 1);
        for (size_t at = prefix; at < size; at++)
            key[at] = letters[bl_prng_below(prng, letter_count)];
        bl_entry entry = { bl_slice(key, size), bl_slice(key, size), BL_TAG(i * 3 + 1, 1 + i % 2) };
        insert_sorted(w, w->sorted, i, entry);
    }
    for (uint32_t i = 0; i < w->total; i++) {
        if (bl_prng_chance(prng, stay))
            run = (uint32_t)bl_prng_below(prng, w->runs);
        w->by_run[run][w->counts[run]++] = w->sorted[i];
    }
}

static bole_status world_merge(world *w, bl_prng *prng, int *calls_left, bl_merge *merge)
{
    bl_cursor *cursors[RUNS_MAX];
    for (uint32_t i = 0; i < w->runs; i++)
        cursors[i] = array_cursor_make(w->by_run[i], w->counts[i], (uint32_t)bl_prng_below(prng, 9) + 1,
                                       w->comparator, calls_left);
    return bl_merge_init(merge, cursors, w->runs, w->comparator, w->head_offset);
}

static void assert_stands_at(const world *w, const bl_merge *merge, int64_t at)
{
    assert_int_equal(BOLE_OK, merge->status);
    assert_null(merge->error);
    if (at < 0 || at >= (int64_t)w->total) {
        assert_null(merge->current);
        return;
    }
    assert_non_null(merge->current);
    assert_true(merge->current->valid);
    assert_ptr_equal(w->sorted[at].key.data, merge->current->key.data);
    assert_int_equal(w->sorted[at].tag, merge->current->tag);
}

static int64_t bound_of(const world *w, bole_slice key)
{
    int64_t at = 0;
    while (at < (int64_t)w->total && bl_compare(w->comparator, w->sorted[at].key, key) < 0)
        at++;
    return at;
}

/* One random move of the merge; the place it must lead to. */
static int64_t random_move(world *w, bl_prng *prng, bl_merge *merge, int64_t at)
{
    uint8_t bytes[KEY_MAX];
    uint64_t move = bl_prng_below(prng, 40);
    bool stands = at >= 0 && at < (int64_t)w->total;
    if (!stands && move >= 4)
        move = bl_prng_below(prng, 4);
    bole_slice key = bl_slice(bytes, bl_prng_below(prng, 9));
    bl_prng_fill(prng, bytes, sizeof bytes);
    if (w->total != 0 && !bl_prng_chance(prng, 4))
        key = w->sorted[bl_prng_below(prng, w->total)].key;
    if (move == 0) {
        bl_merge_seek_first(merge);
        return 0;
    }
    if (move == 1) {
        bl_merge_seek_last(merge);
        return (int64_t)w->total - 1;
    }
    if (move == 2) {
        bl_merge_seek(merge, key);
        return bound_of(w, key);
    }
    if (move == 3) {
        bl_merge_seek_before(merge, key);
        return bound_of(w, key) - 1;
    }
    /* keep a direction for a while, turn now and then */
    bool forward = bl_prng_chance(prng, 6) ? !merge->forward : merge->forward;
    if (forward)
        bl_merge_next(merge);
    else
        bl_merge_prev(merge);
    return at + (forward ? 1 : -1);
}

/* Goal: whatever way the merge is walked, it stands where a sorted array of all entries says. Method: random runs,
 * random moves; versions of a key lie in several runs, so turning round inside a key is common. */
static void any_walk_shows_the_sorted_order(void **state)
{
    (void)state;
    uint64_t seed = test_seed(1);
    world *w = calloc(1, sizeof *w);
    assert_non_null(w);
    for (uint64_t round = 0; round < 400; round++) {
        bl_prng prng;
        bl_prng_init(&prng, seed + round);
        world_make(w, &prng);
        bl_merge merge;
        assert_int_equal(BOLE_OK, world_merge(w, &prng, NULL, &merge));
        assert_null(merge.current);
        int64_t at = -1;
        for (int step = 0; step < 400; step++) {
            at = random_move(w, &prng, &merge, at);
            assert_stands_at(w, &merge, at);
        }
        bl_merge_deinit(&merge);
    }
    free(w);
}

/* Goal: a full walk forward and a full walk backward show every entry once. */
static void a_full_walk_shows_every_entry_once(void **state)
{
    (void)state;
    uint64_t seed = test_seed(1000);
    world *w = calloc(1, sizeof *w);
    assert_non_null(w);
    for (uint64_t round = 0; round < 300; round++) {
        bl_prng prng;
        bl_prng_init(&prng, seed + round);
        world_make(w, &prng);
        bl_merge merge;
        assert_int_equal(BOLE_OK, world_merge(w, &prng, NULL, &merge));
        bl_merge_seek_first(&merge);
        for (int64_t at = 0; at < (int64_t)w->total; at++) {
            assert_stands_at(w, &merge, at);
            bl_merge_next(&merge);
        }
        assert_stands_at(w, &merge, -1);
        bl_merge_seek_last(&merge);
        for (int64_t at = (int64_t)w->total - 1; at >= 0; at--) {
            assert_stands_at(w, &merge, at);
            bl_merge_prev(&merge);
        }
        assert_stands_at(w, &merge, -1);
        bl_merge_deinit(&merge);
    }
    free(w);
}

/* Goal: a failed cursor ends the merge with its status, never as if the data had ended (class: read error taken for
 * the end). Method: let the n-th window call fail, for every n until a walk there and back survives. */
static void a_failed_cursor_is_never_the_end_of_data(void **state)
{
    (void)state;
    uint64_t seed = test_seed(7);
    world *w = calloc(1, sizeof *w);
    assert_non_null(w);
    unsigned failures = 0;
    for (uint64_t round = 0; round < 12; round++) {
        for (int at = 0;; at++) {
            bl_prng prng;
            bl_prng_init(&prng, seed + round);
            world_make(w, &prng);
            int calls_left = at;
            bl_merge merge;
            assert_int_equal(BOLE_OK, world_merge(w, &prng, &calls_left, &merge));
            bl_merge_seek_first(&merge);
            uint32_t seen = 0;
            for (; merge.current != NULL && seen < w->total / 2; seen++)
                bl_merge_next(&merge);
            for (; merge.current != NULL; seen++)
                bl_merge_prev(&merge);
            bool failed = merge.status != BOLE_OK;
            assert_int_equal(calls_left < 0, failed);
            if (failed) {
                failures++;
                assert_int_equal(BOLE_IO, merge.status);
                assert_non_null(merge.error);
                assert_string_equal("planted", merge.error->message);
                calls_left = INT32_MAX; /* and a later seek starts afresh */
                bl_merge_seek_first(&merge);
                assert_stands_at(w, &merge, 0);
            }
            bl_merge_deinit(&merge);
            if (!failed)
                break;
        }
    }
    assert_true(failures > 100);
    free(w);
}

/* Goal: without runs there is nothing to show, and nothing breaks. */
static void no_run_shows_nothing(void **state)
{
    (void)state;
    bl_merge merge;
    assert_int_equal(BOLE_OK, bl_merge_init(&merge, NULL, 0, NULL, 0));
    bl_merge_seek_first(&merge);
    assert_null(merge.current);
    bl_merge_seek_before(&merge, BOLE_STR("k"));
    assert_null(merge.current);
    assert_int_equal(BOLE_OK, merge.status);
    bl_merge_deinit(&merge);
    bl_merge_deinit(&merge); /* zeros are accepted */
}

/* Goal: the merge owns its cursors: closed with it, and also when it cannot be made. */
static void cursors_are_closed_also_without_memory(void **state)
{
    (void)state;
    for (uint64_t at = 0; at <= 1; at++) {
        bool closed[3] = { false, false, false };
        bl_cursor *cursors[3];
        for (int i = 0; i < 3; i++) {
            cursors[i] = array_cursor_make(NULL, 0, 1, NULL, NULL);
            of(cursors[i])->closed = &closed[i];
        }
        bl_merge merge;
        bl_alloc_fail_at(at, 1);
        bole_status status = bl_merge_init(&merge, cursors, 3, NULL, 0);
        bl_alloc_fail_at(UINT64_MAX, 0);
        assert_int_equal(at < 1 ? BOLE_NO_MEMORY : BOLE_OK, status);
        if (status == BOLE_OK) {
            assert_false(closed[0] || closed[1] || closed[2]);
            bl_merge_deinit(&merge);
        }
        assert_true(closed[0] && closed[1] && closed[2]);
    }
}

/* Goal: runs take the steps of a seek in turns, the last run first, until each has ended; a single one seeks at once.
 */
static void a_seek_in_several_runs_takes_steps_in_turns(void **state)
{
    (void)state;
    bl_entry entries[] = { { BOLE_STR("a"), BOLE_STR(""), BL_TAG(1, 1) },
                           { BOLE_STR("b"), BOLE_STR(""), BL_TAG(2, 1) } };
    for (uint32_t runs = 1; runs <= 2; runs++) {
        bl_cursor *cursors[2];
        for (uint32_t i = 0; i < runs; i++) {
            cursors[i] = array_cursor_make(&entries[i], 1, 1, NULL, NULL);
            ((array_cursor *)(void *)cursors[i])->steps = 3 - i;
        }
        bl_merge merge;
        assert_int_equal(BOLE_OK, bl_merge_init(&merge, cursors, runs, NULL, 0));
        for (int before = 0; before < 2; before++) {
            steps_taken[0] = 0;
            if (before)
                bl_merge_seek_before(&merge, BOLE_STR("b"));
            else
                bl_merge_seek(&merge, BOLE_STR("a"));
            assert_string_equal(runs == 1 ? "" : "20 30 21 31 32 ", steps_taken);
            assert_non_null(merge.current);
            assert_true(bl_slice_equal(merge.current->key, BOLE_STR("a")));
        }
        bl_merge_deinit(&merge);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(any_walk_shows_the_sorted_order),
        cmocka_unit_test(a_full_walk_shows_every_entry_once),
        cmocka_unit_test(a_failed_cursor_is_never_the_end_of_data),
        cmocka_unit_test(no_run_shows_nothing),
        cmocka_unit_test(cursors_are_closed_also_without_memory),
        cmocka_unit_test(a_seek_in_several_runs_takes_steps_in_turns),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
