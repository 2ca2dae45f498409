/* SPDX-License-Identifier: MIT */
/* memtable_cursor.c -- walking one tree of a memtable in windows, beside the writer, for as long as one likes.
 *
 * The cursor keeps a copy of one leaf's references, taken at one moment under the leaf's version, and makes windows
 * of ready entries from a part of it. A reference in the copy is the newest version of a key at that moment, so the
 * copy fixes the versions too. After a seek the windows are small (a short scan touches few entries) and double;
 * while a window is walked the entries of the next one are on their way into the cache.
 *
 * WHY NOTHING IS MISSED  Let S be the cursor's sequence. All versions below S were inserted before the cursor was
 * made, and nothing is ever removed. A leaf is responsible for the keys from its lower bound, which never moves
 * (NODE-3), to the lower bound of the leaf that its `next` names. A copy is consistent, so at the moment
 * it was taken,
 * after the cursor was made, it held every key below S of that range. The leaf may split afterwards: what moves to
 * the new neighbour is in the copy, and `next` in the copy is the leaf behind that range, not behind what is left.
 * So a walk forward along `next` shows each version below S once, whenever the copies were taken. Backward the cursor
 * looks for the last key below the first key k of its copy. The leaf that is found holds such a key or is the first
 * leaf (NODE-4), and its copy is cut at the slot of k. What lies between the found leaf's last key below k and k are
 * keys inserted after the cursor's copies: none of them is below S.
 * Versions at or above S are left out: the chain of a key is walked to its newest version below S.
 *
 * INVARIANTS  (MEMTABLE-CURSOR-1) A window is what is visible of positions [low, high) of the copy; a position is a
 *                                 slot and, where versions are shown one by one, the depth of a version in it.
 *             (MEMTABLE-CURSOR-2) `ahead` is, if it is full, a copy of the leaf that the present copy's `next` names.
 * THREADS     One a cursor. The memtable is counted until the cursor is closed, by it or by its maker, so all it shows
 *             stays. */
#include "base/alloc.h"
#include "base/prefetch.h"
#include "memory/memtable_state.h"

enum {
    WINDOW_FIRST = 4,
    WINDOW_READS = 16, /* a reader's largest; most scans are short, and making the cursor costs, too */
    WINDOW_WALKS = BL_NODE_SLOTS, /* the largest of who shows all versions: a flush walks the whole tree */
    LINE_BYTES = 64,
    VALUE_LINES_AHEAD = 8, /* fetched of a value; the machine sees by itself how a longer one goes on */
};
#define FRESH UINT32_MAX

/* Before the version `depth` of `slot`; FRESH: before the newest visible one. */
typedef struct position {
    uint32_t slot, depth;
} position;

typedef struct memtable_cursor {
    bl_cursor base;   /* first: the cursor that others see */
    bl_memtable *own; /* counted, and the memory is its own; NULL: both are the caller's */
    const bl_memtable_tree *tree;
    bl_memtable_versions versions;
    uint64_t sequence;
    uint32_t window, window_max; /* size of the next one, and of the largest */
    position low, high;
    bool has_ahead;
    uint8_t leaf_index; /* which of `leaves` is the present copy; the other one is ahead */
    /* From here on nothing is read that was not written: a cursor begins with any bytes there. */
    bl_head_leaf leaves[2];
    bl_entry entries[]; /* window_max */
} memtable_cursor;

static inline bl_head_leaf *present(memtable_cursor *cursor) { return &cursor->leaves[cursor->leaf_index]; }
static inline bl_head_leaf *ahead(memtable_cursor *cursor) { return &cursor->leaves[1 - cursor->leaf_index]; }

static inline const uint8_t *record_at(const memtable_cursor *cursor, bl_ref ref)
{
    return bl_arena_at(cursor->tree->heads.arena, ref);
}

/* Header and a short key lie on one or two lines. */
static void prefetch_records(const memtable_cursor *cursor, const bl_head_leaf *leaf, uint32_t from,
                             uint32_t to)
{
    for (uint32_t i = from; i < to; i++) {
        const uint8_t *record = record_at(cursor, leaf->refs[i]);
        bl_prefetch(record);
        bl_prefetch(record + 31);
    }
}

/* ---- Windows ---- */

static inline void emit(const memtable_cursor *cursor, bl_entry *out, const uint8_t *record)
{
    out->key = bl_record_key(cursor->tree->heads.arena, record);
    out->value = bl_record_value(record);
    out->tag = bl_record_tag(record);
}

/* Who asks for every version is going to copy them: the value's lines come while the rest of the window is made. */
static inline void prefetch_value(bole_slice value)
{
    const char *line = value.data;
    size_t bytes = value.size < VALUE_LINES_AHEAD * LINE_BYTES ? value.size : VALUE_LINES_AHEAD * LINE_BYTES;
    for (size_t at = 0; at < bytes; at += LINE_BYTES)
        bl_prefetch(line + at);
    if (bytes != 0)
        bl_prefetch(line + bytes - 1);
}

/* Show entries [from, from + count) of the array, standing at the first or the last of them. */
static void show(memtable_cursor *cursor, uint32_t from, uint32_t count, bool at_last)
{
    bl_cursor *base = &cursor->base;
    base->valid = true;
    base->entries = cursor->entries + from;
    base->count = count;
    base->index = at_last ? count - 1 : 0;
    bl_cursor_decode(base);
}

static inline void widen(memtable_cursor *cursor)
{
    if (cursor->window < cursor->window_max)
        cursor->window *= 2;
}

/* Versions of one slot forward, from `*depth` on. Sets it to the next one that had no room, or FRESH. */
static uint32_t emit_versions(memtable_cursor *cursor, bl_ref ref, uint32_t *depth, uint32_t count,
                              uint32_t limit)
{
    const bl_arena *arena = cursor->tree->heads.arena;
    const uint8_t *record = bl_record_visible(arena, record_at(cursor, ref), cursor->sequence);
    if (record != NULL && *depth != FRESH)
        record = bl_record_at_depth(arena, record, *depth);
    *depth = FRESH;
    while (record != NULL) {
        if (count == limit) {
            *depth = bl_record_depth(record);
            break;
        }
        emit(cursor, &cursor->entries[count], record);
        prefetch_value(cursor->entries[count++].value);
        record = bl_record_is_version(record) ? record_at(cursor, bl_record_older(record)) : NULL;
    }
    return count;
}

/* Make the window behind the present one, from the present copy. False when nothing visible is left in that. */
static bool fill_forward(memtable_cursor *cursor)
{
    const bl_head_leaf *leaf = present(cursor);
    uint32_t limit = cursor->window, count = 0;
    position at = cursor->high;
    cursor->low = at;
    while (at.slot < leaf->count && count < limit) {
        bl_ref ref = leaf->refs[at.slot];
        if (cursor->versions == BL_VERSIONS_NEWEST) {
            const uint8_t *record = bl_record_visible(cursor->tree->heads.arena, record_at(cursor, ref),
                                                      cursor->sequence);
            if (record != NULL)
                emit(cursor, &cursor->entries[count++], record);
        } else {
            count = emit_versions(cursor, ref, &at.depth, count, limit);
        }
        at.slot += at.depth == FRESH;
    }
    cursor->high = at;
    widen(cursor);
    if (count == 0)
        return false;
    show(cursor, 0, count, false);
    return true;
}

/* Versions of one slot backward, into the entries before `end`: those younger than `*depth`, FRESH: all. Sets it to
 * the youngest one that was put there if a younger one had no room, else FRESH. */
static uint32_t emit_versions_before(memtable_cursor *cursor, bl_ref ref, uint32_t *depth, uint32_t end)
{
    const bl_arena *arena = cursor->tree->heads.arena;
    const uint8_t *newest = bl_record_visible(arena, record_at(cursor, ref), cursor->sequence);
    uint32_t first = *depth == FRESH ? 0 : *depth + 1; /* the oldest to show */
    *depth = FRESH;
    if (newest == NULL || bl_record_depth(newest) < first)
        return end;
    uint32_t last = bl_record_depth(newest);
    if (last - first >= end) {
        last = first + end - 1;
        *depth = last;
    }
    const uint8_t *record = bl_record_at_depth(arena, newest, last);
    uint32_t begin = end - (last - first + 1);
    for (uint32_t i = begin;; i++) {
        emit(cursor, &cursor->entries[i], record);
        if (i + 1 == end)
            return begin;
        record = record_at(cursor, bl_record_older(record));
    }
}

/* Make the window before the present one, from the present copy. False when nothing visible is left in that. */
static bool fill_backward(memtable_cursor *cursor)
{
    const bl_head_leaf *leaf = present(cursor);
    uint32_t end = cursor->window, begin = end;
    position at = cursor->low;
    cursor->high = at;
    prefetch_records(cursor, leaf, at.slot > end ? at.slot - end : 0, at.slot);
    while (begin != 0 && (at.slot != 0 || at.depth != FRESH)) {
        if (cursor->versions == BL_VERSIONS_NEWEST) {
            at.slot--;
            const uint8_t *record = bl_record_visible(cursor->tree->heads.arena,
                                                      record_at(cursor, leaf->refs[at.slot]),
                                                      cursor->sequence);
            if (record != NULL)
                emit(cursor, &cursor->entries[--begin], record);
        } else {
            at.slot -= at.depth == FRESH;
            begin = emit_versions_before(cursor, leaf->refs[at.slot], &at.depth, begin);
        }
    }
    cursor->low = at;
    widen(cursor);
    if (begin == end)
        return false;
    show(cursor, begin, end - begin, true);
    return true;
}

/* ---- From leaf to leaf ---- */

static void end_here(memtable_cursor *cursor)
{
    cursor->base.valid = false;
    cursor->base.count = cursor->base.index = 0;
}

static void stand_at(memtable_cursor *cursor, uint32_t slot)
{
    cursor->low = cursor->high = (position){ slot, FRESH };
}

/* Copy the leaf behind the present copy and let its entries come. */
static void look_ahead(memtable_cursor *cursor)
{
    bl_ref next = present(cursor)->next;
    if (next == 0)
        return;
    bl_head_leaf *leaf = ahead(cursor);
    bl_head_leaf_copy(&cursor->tree->heads, next, leaf);
    cursor->has_ahead = true;
    if (leaf->next != 0) {
        const bl_head_node *node = bl_node_at(cursor->tree->heads.arena, leaf->next);
        bl_prefetch(node);
        bl_node_prefetch_refs(node);
    }
    prefetch_records(cursor, leaf, 0, leaf->count);
}

static void forward(memtable_cursor *cursor)
{
    while (!fill_forward(cursor)) {
        if (!cursor->has_ahead)
            look_ahead(cursor);
        if (!cursor->has_ahead) {
            end_here(cursor);
            return;
        }
        cursor->leaf_index = (uint8_t)(1 - cursor->leaf_index);
        cursor->has_ahead = false;
        stand_at(cursor, 0);
    }
    const bl_head_leaf *leaf = present(cursor);
    if (cursor->high.slot < leaf->count) {
        uint32_t end = cursor->high.slot + cursor->window;
        prefetch_records(cursor, leaf, cursor->high.slot, end < leaf->count ? end : leaf->count);
    } else if (!cursor->has_ahead && cursor->window == cursor->window_max) {
        look_ahead(cursor);
    }
}

static void backward(memtable_cursor *cursor)
{
    while (!fill_backward(cursor)) {
        bl_head_leaf *leaf = present(cursor);
        uint32_t slot = 0;
        cursor->has_ahead = false;
        if (leaf->count != 0) {
            bole_slice first = bl_record_key(cursor->tree->heads.arena, record_at(cursor, leaf->refs[0]));
            slot = cursor->tree->heads.paths->seek(&cursor->tree->heads, first, true, leaf);
        }
        if (slot == 0) {
            end_here(cursor);
            return;
        }
        stand_at(cursor, slot);
    }
}

/* ---- The cursor's calls ---- */

static void start(memtable_cursor *cursor, uint32_t slot, uint32_t window)
{
    cursor->has_ahead = false;
    cursor->window = window;
    stand_at(cursor, slot);
}

static void cursor_seek_first(bl_cursor *base)
{
    memtable_cursor *cursor = (memtable_cursor *)base;
    bl_head_leaf_copy(&cursor->tree->heads, cursor->tree->heads.first_leaf, present(cursor));
    start(cursor, 0, cursor->window_max / 2);
    prefetch_records(cursor, present(cursor), 0, present(cursor)->count);
    forward(cursor);
}

static void cursor_seek_last(bl_cursor *base)
{
    memtable_cursor *cursor = (memtable_cursor *)base;
    bl_head_leaf_copy_last(&cursor->tree->heads, present(cursor));
    start(cursor, present(cursor)->count, WINDOW_FIRST);
    backward(cursor);
}

static bool cursor_seek_step(bl_cursor *base, bole_slice key, bool before, uint32_t step)
{
    memtable_cursor *cursor = (memtable_cursor *)base;
    if (step == 0) { /* the leaf; and ask for the records of the first window */
        bl_head_leaf *leaf = present(cursor);
        uint32_t slot = cursor->tree->heads.paths->seek(&cursor->tree->heads, key, before, leaf);
        uint32_t first = !before ? slot : slot > WINDOW_FIRST ? slot - WINDOW_FIRST : 0;
        start(cursor, slot, WINDOW_FIRST);
        prefetch_records(cursor, leaf, first,
                         first + WINDOW_FIRST < leaf->count ? first + WINDOW_FIRST : leaf->count);
        return false;
    }
    if (before)
        backward(cursor);
    else
        forward(cursor);
    return true;
}

static void cursor_seek(bl_cursor *base, bole_slice key)
{
    (void)cursor_seek_step(base, key, false, 0);
    (void)cursor_seek_step(base, key, false, 1);
}

static void cursor_seek_before(bl_cursor *base, bole_slice key)
{
    (void)cursor_seek_step(base, key, true, 0);
    (void)cursor_seek_step(base, key, true, 1);
}

static void cursor_next_window(bl_cursor *base) { forward((memtable_cursor *)base); }
static void cursor_prev_window(bl_cursor *base) { backward((memtable_cursor *)base); }

static void cursor_close(bl_cursor *base)
{
    memtable_cursor *cursor = (memtable_cursor *)base;
    if (cursor->own == NULL)
        return;
    bl_memtable_unref(cursor->own);
    bl_free(cursor);
}

static const bl_cursor_ops cursor_ops = {
    .seek_first = cursor_seek_first,
    .seek_last = cursor_seek_last,
    .seek = cursor_seek,
    .seek_before = cursor_seek_before,
    .next_window = cursor_next_window,
    .prev_window = cursor_prev_window,
    .seek_step = cursor_seek_step,
    .close = cursor_close,
};

static uint32_t window_max_of(bl_memtable_versions versions)
{
    return versions == BL_VERSIONS_NEWEST ? WINDOW_READS : WINDOW_WALKS;
}

size_t bl_memtable_cursor_bytes(bl_memtable_versions versions)
{
    return sizeof(memtable_cursor) + window_max_of(versions) * sizeof(bl_entry);
}

bl_cursor *bl_memtable_cursor_at(void *place, const bl_memtable_tree *tree, bl_memtable_versions versions,
                                 uint64_t sequence)
{
    memtable_cursor *cursor = place;
    memset(cursor, 0, offsetof(memtable_cursor, leaves));
    cursor->window_max = window_max_of(versions);
    cursor->tree = tree;
    cursor->versions = versions;
    cursor->sequence = sequence;
    cursor->base.ops = &cursor_ops;
    cursor->base.kind = BL_WINDOW_ENTRIES;
    cursor->base.heads_off = tree->heads.comparator != NULL;
    return &cursor->base;
}

bole_status bl_memtable_cursor(bl_memtable *memtable, const bl_memtable_tree *tree,
                               bl_memtable_versions versions, uint64_t sequence, bl_cursor **out)
{
    *out = NULL;
    void *place = bl_alloc(bl_memtable_cursor_bytes(versions));
    if (place == NULL)
        return BOLE_NO_MEMORY;
    *out = bl_memtable_cursor_at(place, tree, versions, sequence);
    bl_memtable_ref(memtable);
    ((memtable_cursor *)(void *)*out)->own = memtable;
    return BOLE_OK;
}
