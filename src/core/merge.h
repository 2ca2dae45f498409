/* SPDX-License-Identifier: MIT */
/* merge.h -- many sorted runs as one: a loser tree over heads (Knuth, TAOCP 3, 5.4.1), with a bypass for one run.
 *
 * All cursors of a merge take their heads at one offset, the common prefix of the whole key range (bl_merge_init
 * is told it; 0 is always right), so most comparisons are integer compares; equal heads are resolved by key, equal
 * keys by tag (newest first). While the winner stays below the runner-up it steps without touching the tree; a
 * single run has no runner-up and never touches it. Direction may change at any entry. A failed cursor makes the
 * merge invalid with its status and error: an error is never taken for the end of data.
 *
 * THREADS one at a time. Cost of a step: 15-40 ns at five runs, most of it the next entry's cache lines. */
#ifndef BL_CORE_MERGE_H
#define BL_CORE_MERGE_H

#include "base/assert.h"
#include "core/comparator.h"
#include "core/run_cursor.h"

typedef struct bl_merge_node { /* of the loser tree: who lost here, and with what */
    uint64_t head;             /* as ordered: rising in the direction of the merge */
    uint32_t cursor;
} bl_merge_node;

typedef struct bl_merge {
    bl_cursor *current; /* the entry shown, NULL when there is none */
    uint64_t bound;     /* the runner-up's ordered head: below it the winner stays the winner */
    bool forward;
    bole_status status;      /* of the last move; current == NULL and BOLE_OK: no more entries */
    const bole_error *error; /* the failed cursor's story, NULL without one; good until the merge moves */
    bl_cursor **cursors;
    uint32_t count;
    uint32_t winner;
    bl_comparator *comparator;
    bl_merge_node *tree; /* node i has the children 2i and 2i + 1; cursor c is leaf count + c; node 0 is not used */
    void *own_memory;    /* of the tree and the cursors' list; NULL: the caller's */
} bl_merge;

/* Takes the cursors (not the array); they are closed with the merge. On failure (BOLE_NO_MEMORY) they are closed
 * too, and bl_merge_deinit is not needed. `head_offset` is a length that all keys of all cursors share as prefix;
 * ignored with a user's comparator. The merge stands nowhere: seek first. */
BOLE_CHECKED bole_status bl_merge_init(bl_merge *merge, bl_cursor **cursors, uint32_t count,
                                       bl_comparator *comparator, uint32_t head_offset);
/* The same with memory of the caller's: the array of cursors and `tree`, of count + 1, stay until bl_merge_deinit. */
void bl_merge_init_at(bl_merge *merge, bl_cursor **cursors, uint32_t count, bl_comparator *comparator,
                      uint32_t head_offset, bl_merge_node *tree);
/* Accepts a merge of zeros. */
void bl_merge_deinit(bl_merge *merge);
void bl_merge_seek_first(bl_merge *merge);
void bl_merge_seek_last(bl_merge *merge);
void bl_merge_seek(bl_merge *merge, bole_slice key);        /* first entry with key >= `key`, newest version */
void bl_merge_seek_before(bl_merge *merge, bole_slice key); /* last entry with key < `key`, oldest version */

/* Forward, and the current entry's window is a block: one behind the index of the window's last entry that comes, with
 * all from the current one on, before whatever the other cursors have left, and below `upper` if that is not NULL. Up
 * to there the cursor may be stepped by hand (the merge does not look at the head of its current entry). */
uint32_t bl_merge_stretch_end(const bl_merge *merge, const bole_slice *upper);

/* merge.c's: the current cursor stepped inside its window and is not surely the winner; it is at its window's end
 * or the direction changes. */
void bl_merge_settle(bl_merge *merge);
void bl_merge_next_slow(bl_merge *merge);
void bl_merge_prev_slow(bl_merge *merge);

/* To the next (the one before): there must be a current entry. */
static inline void bl_merge_next(bl_merge *merge)
{
    bl_cursor *cursor = merge->current;
    bl_debug_assert(cursor != NULL);
    if (bl_likely(merge->forward && cursor->index + 1 < cursor->count)) {
        cursor->index++;
        bl_cursor_decode(cursor);
        if (bl_unlikely(cursor->head >= merge->bound))
            bl_merge_settle(merge);
    } else {
        bl_merge_next_slow(merge);
    }
}

static inline void bl_merge_prev(bl_merge *merge)
{
    bl_cursor *cursor = merge->current;
    bl_debug_assert(cursor != NULL);
    if (bl_likely(!merge->forward && cursor->index > 0)) {
        cursor->index--;
        bl_cursor_decode(cursor);
        if (bl_unlikely(~cursor->head >= merge->bound))
            bl_merge_settle(merge);
    } else {
        bl_merge_prev_slow(merge);
    }
}

#endif
