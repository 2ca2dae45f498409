/* SPDX-License-Identifier: MIT */
/* merge.h -- many sorted runs as one: a loser tree over heads (Knuth, TAOCP 3, 5.4.1), with a bypass for one run.
 *
 * All cursors of a merge take their heads at one offset, the common prefix of the whole key range (bl_merge_open
 * is told it; 0 is always right), so most comparisons are integer compares; equal heads are resolved by key, equal
 * keys by tag (newest first). While the winner stays below the runner-up it steps without touching the tree.
 * Direction may change at any entry. A failed cursor makes the merge invalid with its status and error: an error is
 * never taken for the end of data. */
#ifndef BL_CORE_MERGE_H
#define BL_CORE_MERGE_H

#include "core/comparator.h"
#include "core/run_cursor.h"

typedef struct bl_merge {
    bl_cursor *current; /* the entry shown, NULL when there is none */
    bl_cursor **cursors;
    uint32_t count;
    bool forward;
    bole_status status;
    bl_comparator *comparator;
    const bole_error *error; /* the failed cursor's story */
    /* the loser tree: merge.c's */
    uint32_t *losers;
    bl_cursor *runner_up;
} bl_merge;

/* Takes the cursors (not the array); they are closed with the merge. On failure they are closed too. */
BOLE_CHECKED bole_status bl_merge_init(bl_merge *merge, bl_cursor **cursors, uint32_t count,
                                       bl_comparator *comparator, uint32_t head_offset);
void bl_merge_deinit(bl_merge *merge);
void bl_merge_seek_first(bl_merge *merge);
void bl_merge_seek_last(bl_merge *merge);
void bl_merge_seek(bl_merge *merge, bole_slice key);        /* first entry with key >= `key`, newest version */
void bl_merge_seek_before(bl_merge *merge, bole_slice key); /* last entry with key < `key`, oldest version */
void bl_merge_next_slow(bl_merge *merge);
void bl_merge_prev_slow(bl_merge *merge);

static inline void bl_merge_next(bl_merge *merge)
{
    if (__builtin_expect(merge->count == 1 && merge->forward, 1)) {
        bl_cursor *cursor = merge->cursors[0];
        if (__builtin_expect(cursor->index + 1 < cursor->count, 1)) {
            cursor->index++;
            bl_cursor_decode(cursor);
            return;
        }
    }
    bl_merge_next_slow(merge);
}

static inline void bl_merge_prev(bl_merge *merge)
{
    if (__builtin_expect(merge->count == 1 && !merge->forward, 1)) {
        bl_cursor *cursor = merge->cursors[0];
        if (__builtin_expect(cursor->index > 0, 1)) {
            cursor->index--;
            bl_cursor_decode(cursor);
            return;
        }
    }
    bl_merge_prev_slow(merge);
}

#endif
