/* SPDX-License-Identifier: MIT */
/* micro_merge.c -- what a merged step takes, by number of runs.
 *
 * Runs are arrays of 16-byte decimal keys dealt at random, shown in windows of 32; "streak" deals 8 neighbours to a
 * run at a time. No block is decoded: this is the tree's share. */
#include "base/alloc.h"
#include "base/prng.h"
#include "core/merge.h"
#include "micro_clock.h"

enum { ENTRIES = 1000000, ROUNDS = 3, RUNS_MAX = 32, WINDOW = 32 };

typedef struct array_cursor {
    bl_cursor base;
    const bl_entry *all;
    uint32_t total, start;
} array_cursor;

static void stand_at(array_cursor *cursor, int64_t at)
{
    bl_cursor *base = &cursor->base;
    base->valid = at >= 0 && at < (int64_t)cursor->total;
    base->index = base->count = 0;
    if (!base->valid)
        return;
    cursor->start = (uint32_t)at / WINDOW * WINDOW;
    base->kind = BL_WINDOW_ENTRIES;
    base->entries = cursor->all + cursor->start;
    base->index = (uint32_t)at - cursor->start;
    base->count = cursor->total - cursor->start < WINDOW ? cursor->total - cursor->start : WINDOW;
    bl_cursor_decode(base);
}

static array_cursor *of(bl_cursor *cursor) { return (array_cursor *)cursor; }
static void seek_first(bl_cursor *cursor) { stand_at(of(cursor), 0); }
static void seek_last(bl_cursor *cursor) { stand_at(of(cursor), (int64_t)of(cursor)->total - 1); }
static void seek(bl_cursor *cursor, bole_slice key)
{
    (void)key;
    stand_at(of(cursor), 0);
}
static void next_window(bl_cursor *cursor)
{
    stand_at(of(cursor), (int64_t)of(cursor)->start + cursor->count);
}
static void prev_window(bl_cursor *cursor) { stand_at(of(cursor), (int64_t)of(cursor)->start - 1); }
static void close_cursor(bl_cursor *cursor) { bl_free(cursor); }
static const bl_cursor_ops ops = {
    .seek_first = seek_first,
    .seek_last = seek_last,
    .seek = seek,
    .seek_before = seek,
    .next_window = next_window,
    .prev_window = prev_window,
    .close = close_cursor,
};

static char keys[ENTRIES][16];
static bl_entry runs[RUNS_MAX][ENTRIES];
static uint32_t counts[RUNS_MAX];

static uint32_t entries;

static void deal(uint32_t run_count, uint32_t streak)
{
    bl_prng prng;
    bl_prng_init(&prng, 1);
    for (uint32_t i = 0; i < RUNS_MAX; i++)
        counts[i] = 0;
    uint32_t run = 0;
    for (uint32_t i = 0; i < entries; i++) {
        if (i % streak == 0)
            run = (uint32_t)bl_prng_below(&prng, run_count);
        bole_slice key = bl_slice(keys[i], sizeof keys[i]);
        runs[run][counts[run]++] = (bl_entry){ key, key, BL_TAG(i, BL_KIND_PUT) };
    }
}

static void measure(uint32_t run_count, uint32_t head_offset, bool forward, const char *what)
{
    bl_cursor *cursors[RUNS_MAX];
    for (uint32_t i = 0; i < run_count; i++) {
        array_cursor *cursor = bl_new(array_cursor);
        if (cursor == NULL)
            abort();
        cursor->base.ops = &ops;
        cursor->all = runs[i];
        cursor->total = counts[i];
        cursors[i] = &cursor->base;
    }
    bl_merge merge;
    if (bl_merge_init(&merge, cursors, run_count, NULL, head_offset) != BOLE_OK)
        abort();
    uint64_t seen = 0, sum = 0;
    char name[64];
    snprintf(name, sizeof name, "%s, %u runs", what, run_count);
    micro_begin();
    if (forward) {
        for (bl_merge_seek_first(&merge); merge.current != NULL; bl_merge_next(&merge), seen++)
            sum += merge.current->tag;
    } else {
        for (bl_merge_seek_last(&merge); merge.current != NULL; bl_merge_prev(&merge), seen++)
            sum += merge.current->tag;
    }
    micro_end(name, entries);
    bl_merge_deinit(&merge);
    if (seen != entries || sum == 1) {
        fprintf(stderr, "micro_merge: lost entries\n");
        exit(1);
    }
}

int main(void)
{
    static const uint32_t run_counts[] = { 1, 2, 5, 8, 16, 32 };
    for (uint32_t i = 0; i < ENTRIES; i++) {
        char text[17];
        snprintf(text, sizeof text, "%016u", i);
        for (int at = 0; at < 16; at++)
            keys[i][at] = text[at];
    }
    entries = (uint32_t)micro_less(ENTRIES);
    for (size_t i = 0; i < ROUNDS * (sizeof run_counts / sizeof run_counts[0]); i++) {
        uint32_t run_count = run_counts[i / ROUNDS];
        deal(run_count, 1);
        measure(run_count, 9, true, "next");
        measure(run_count, 9, false, "previous");
        measure(run_count, 0, true, "next, heads of the first bytes");
        deal(run_count, 8);
        measure(run_count, 9, true, "next, streaks of 8");
    }
    micro_print();
    return 0;
}
