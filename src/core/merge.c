/* SPDX-License-Identifier: MIT */
/* merge.c -- many sorted runs as one: the loser tree behind merge.h.
 *
 * Each inner node of the tree keeps the loser of the match played there, with its head beside it, so a replay from
 * the winner's leaf to the root reads one small array and touches a cursor only when two heads are equal. The tree
 * orders rising integers in both directions: backward it holds the complement of each head. An exhausted cursor
 * plays with the highest integer and loses every tie.
 *
 * INVARIANTS  (MERGE-1) Forward, every cursor but the current one stands at its first entry behind the current entry
 *                       in internal order (key rising, tag falling), or is exhausted. Backward, at its last entry
 *                       before it, or is exhausted. So a change of direction is one step of each, and a seek to the
 *                       other end for the exhausted.
 *             (MERGE-2) `bound` is the least ordered head among all cursors but the winner.
 *             (MERGE-3) Any cursor that is not valid and has a status other than BOLE_OK ends the merge with it.
 * THREADS     One at a time.
 * NOT HERE    Which versions of a key a reader sees, and which a merge of segments drops: who walks the entries. */
#include "core/merge.h"

#include "base/alloc.h"

static const uint32_t NOBODY = UINT32_MAX;

static uint64_t ordered_head(const bl_merge *merge, const bl_cursor *cursor)
{
    if (bl_unlikely(!cursor->valid))
        return UINT64_MAX;
    return merge->forward ? cursor->head : ~cursor->head;
}

/* Equal heads: does cursor `a` come before cursor `b` in the direction of the merge? */
static bool comes_before(const bl_merge *merge, uint32_t a, uint32_t b)
{
    const bl_cursor *first = merge->cursors[a], *second = merge->cursors[b];
    if (!first->valid || !second->valid)
        return first->valid || (!second->valid && a < b);
    int order = bl_compare(merge->comparator, first->key, second->key);
    if (order == 0) {
        bl_debug_assert(first->tag != second->tag); /* no two runs hold the same version of a key */
        order = first->tag > second->tag || (first->tag == second->tag && a < b) ? -1 : 1;
    }
    return merge->forward ? order < 0 : order > 0;
}

/* Is what lost at `node` better than the cursor `id` that comes up with `head`? */
static inline bool overtakes(const bl_merge *merge, const bl_merge_node *node, uint64_t head, uint32_t id)
{
    if (bl_unlikely(node->head == head))
        return comes_before(merge, node->cursor, id);
    return node->head < head;
}

static void fail(bl_merge *merge, const bl_cursor *cursor)
{
    merge->current = NULL;
    merge->status = cursor->status;
    merge->error = cursor->error;
}

static inline bool has_failed(const bl_cursor *cursor)
{
    return bl_unlikely(!cursor->valid && cursor->status != BOLE_OK);
}

/* The winner is known: show it, and find the best of those who lost to it. */
static void crown(bl_merge *merge, uint32_t winner)
{
    uint64_t bound = UINT64_MAX;
    for (uint32_t at = (winner + merge->count) >> 1; at != 0; at >>= 1)
        bound = merge->tree[at].head < bound ? merge->tree[at].head : bound;
    bl_cursor *cursor = merge->cursors[winner];
    merge->bound = bound;
    merge->winner = winner;
    merge->current = cursor->valid ? cursor : NULL;
}

/* All cursors are in place: play every match. */
static void build(bl_merge *merge)
{
    merge->status = BOLE_OK;
    merge->error = NULL;
    merge->current = NULL;
    for (uint32_t i = 0; i < merge->count; i++) {
        if (has_failed(merge->cursors[i])) {
            fail(merge, merge->cursors[i]);
            return;
        }
    }
    if (merge->count == 0)
        return;
    for (uint32_t at = 1; at < merge->count; at++)
        merge->tree[at].cursor = NOBODY;
    uint32_t winner = 0;
    for (uint32_t i = 0; i < merge->count; i++) {
        uint64_t head = ordered_head(merge, merge->cursors[i]);
        uint32_t id = i, at = (i + merge->count) >> 1;
        for (; at != 0; at >>= 1) {
            bl_merge_node *node = &merge->tree[at];
            if (node->cursor == NOBODY) { /* waits here for the other side's best */
                *node = (bl_merge_node){ .head = head, .cursor = id };
                break;
            }
            if (overtakes(merge, node, head, id)) {
                bl_merge_node up = *node;
                *node = (bl_merge_node){ .head = head, .cursor = id };
                head = up.head;
                id = up.cursor;
            }
        }
        if (at == 0)
            winner = id;
    }
    crown(merge, winner);
}

/* The winner has moved: play its matches again, from its leaf to the root. */
void bl_merge_settle(bl_merge *merge)
{
    uint32_t id = merge->winner;
    const bl_cursor *cursor = merge->cursors[id];
    if (has_failed(cursor)) {
        fail(merge, cursor);
        return;
    }
    uint64_t head = ordered_head(merge, cursor);
    for (uint32_t at = (id + merge->count) >> 1; at != 0; at >>= 1) {
        bl_merge_node *node = &merge->tree[at];
        bool swap = overtakes(merge, node, head, id);
        uint64_t other_head = node->head;
        uint32_t other_id = node->cursor;
        node->head = swap ? head : other_head;
        node->cursor = swap ? id : other_id;
        head = swap ? other_head : head;
        id = swap ? other_id : id;
    }
    crown(merge, id);
}

uint32_t bl_merge_stretch_end(const bl_merge *merge, const bole_slice *upper)
{
    bl_cursor *current = merge->current;
    bl_debug_assert(merge->forward && current->kind == BL_WINDOW_BLOCK);
    uint32_t end = upper == NULL ? current->count : current->ops->window_bound(current, *upper);
    for (uint32_t at = (merge->winner + merge->count) >> 1; at != 0; at >>= 1) {
        const bl_merge_node *node = &merge->tree[at];
        const bl_cursor *other = merge->cursors[node->cursor];
        if (node->head != merge->bound || !other->valid) /* a higher head, a higher key */
            continue;
        uint32_t below = current->ops->window_bound(current, other->key);
        end = below < end ? below : end;
    }
    return end;
}

/* Put every cursor but the current one on the other side of the current entry (MERGE-1). */
static bool turn(bl_merge *merge)
{
    bool forward = !merge->forward;
    for (uint32_t i = 0; i < merge->count; i++) {
        bl_cursor *cursor = merge->cursors[i];
        if (cursor == merge->current)
            continue;
        if (!cursor->valid && forward)
            cursor->ops->seek_first(cursor);
        else if (!cursor->valid)
            cursor->ops->seek_last(cursor);
        else if (forward)
            bl_cursor_next(cursor);
        else
            bl_cursor_prev(cursor);
        if (has_failed(cursor)) {
            fail(merge, cursor);
            return false;
        }
    }
    merge->forward = forward;
    return true;
}

void bl_merge_next_slow(bl_merge *merge)
{
    bl_cursor *cursor = merge->current;
    bl_assert(cursor != NULL);
    if (merge->forward) {
        bl_cursor_next(cursor);
        bl_merge_settle(merge);
    } else if (turn(merge)) {
        bl_cursor_next(cursor);
        build(merge);
    }
}

void bl_merge_prev_slow(bl_merge *merge)
{
    bl_cursor *cursor = merge->current;
    bl_assert(cursor != NULL);
    if (!merge->forward) {
        bl_cursor_prev(cursor);
        bl_merge_settle(merge);
    } else if (turn(merge)) {
        bl_cursor_prev(cursor);
        build(merge);
    }
}

/* All cursors to `key`. Those that can take their steps in turns, the largest runs first: they are the coldest. */
static void seek_all(bl_merge *merge, bole_slice key, bool before)
{
    uint32_t left = 0;
    merge->forward = !before;
    for (uint32_t i = 0; i < merge->count; i++) {
        bl_cursor *cursor = merge->cursors[i];
        cursor->seeking = merge->count > 1 && cursor->ops->seek_step != NULL;
        left += cursor->seeking;
        if (!cursor->seeking)
            (before ? cursor->ops->seek_before : cursor->ops->seek)(cursor, key);
    }
    for (uint32_t step = 0; left != 0; step++) {
        for (uint32_t i = merge->count; i-- > 0;) {
            bl_cursor *cursor = merge->cursors[i];
            if (!cursor->seeking || !cursor->ops->seek_step(cursor, key, before, step))
                continue;
            cursor->seeking = false;
            left--;
        }
    }
    build(merge);
}

void bl_merge_seek(bl_merge *merge, bole_slice key) { seek_all(merge, key, false); }

void bl_merge_seek_before(bl_merge *merge, bole_slice key) { seek_all(merge, key, true); }

void bl_merge_seek_first(bl_merge *merge)
{
    merge->forward = true;
    for (uint32_t i = 0; i < merge->count; i++)
        merge->cursors[i]->ops->seek_first(merge->cursors[i]);
    build(merge);
}

void bl_merge_seek_last(bl_merge *merge)
{
    merge->forward = false;
    for (uint32_t i = 0; i < merge->count; i++)
        merge->cursors[i]->ops->seek_last(merge->cursors[i]);
    build(merge);
}

void bl_merge_init_at(bl_merge *merge, bl_cursor **cursors, uint32_t count, bl_comparator *comparator,
                      uint32_t head_offset, bl_merge_node *tree)
{
    *merge = (bl_merge){ .comparator = comparator, .forward = true };
    for (uint32_t i = 0; i < count; i++) {
        cursors[i]->head_offset = head_offset;
        cursors[i]->heads_off = comparator != NULL;
    }
    merge->cursors = cursors;
    merge->tree = tree;
    merge->count = count;
}

bole_status bl_merge_init(bl_merge *merge, bl_cursor **cursors, uint32_t count, bl_comparator *comparator,
                          uint32_t head_offset)
{
    *merge = (bl_merge){ .forward = true };
    bl_merge_node *tree = bl_alloc_array((size_t)count + 1, sizeof(tree[0]) + sizeof(bl_cursor *));
    if (tree == NULL) {
        for (uint32_t i = 0; i < count; i++)
            bl_cursor_close(cursors[i]);
        return BOLE_NO_MEMORY;
    }
    bl_cursor **own = (bl_cursor **)(void *)(tree + count + 1);
    for (uint32_t i = 0; i < count; i++)
        own[i] = cursors[i];
    bl_merge_init_at(merge, own, count, comparator, head_offset, tree);
    merge->own_memory = tree;
    return BOLE_OK;
}

void bl_merge_deinit(bl_merge *merge)
{
    for (uint32_t i = 0; i < merge->count; i++)
        bl_cursor_close(merge->cursors[i]);
    bl_free(merge->own_memory);
    *merge = (bl_merge){ .current = NULL };
}
