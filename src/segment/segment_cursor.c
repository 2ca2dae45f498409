/* SPDX-License-Identifier: MIT */
/* segment_cursor.c -- walks one run, a list of segments in key order, block by block, in both directions.
 *
 * WINDOW      The present block, in place: a frame of the cache, pinned; or bytes of the cursor's own.
 *             Stepping inside it is bl_cursor_next and bl_cursor_prev (core/run_cursor.h), which come here
 *             from block to block only.
 * ABSENT      A block that is in memory is used and not marked as wanted: a scan says nothing about what the
 *             next get wants. An absent one is read privately. From the third block in one direction on, the
 *             cursor reads as many whole blocks as fit 256 KiB at once and shows them from that buffer, where
 *             they are verified and validated when they are shown; blocks that are not compressed are not
 *             even copied. With fill_cache an absent block is installed instead.
 * MEMORY      The read-ahead buffer must ask the budget (and makes do without when there is no room); one
 *             private block at a time is charged by force. One unit is held, of the segment that is shown.
 *
 * INVARIANTS  (CURSOR-1) valid means: the window shows block `ordinal` of segments[at], whose unit is held,
 *                        and index is in it.
 *             (CURSOR-2) An error is never taken for the end: valid is false and status tells which.
 *             (CURSOR-3) What the window points to does not move until the cursor does.
 * THREADS     A cursor belongs to one thread at a time, which is outside any epoch.
 * NOT HERE    Which versions are seen: engine/scan.c.   Many runs as one: core/merge.c. */
#include "segment/segment.h"

#include "base/alloc.h"
#include "base/assert.h"
#include "base/prefetch.h"
#include "base/status.h"
#include "segment/block_reader.h"
#include "segment/segment_state.h"

#include <string.h>

enum { SEQUENTIAL_MOVES = 2, AHEAD_BYTES = 256 * 1024, LINE_BYTES = 64 };
/* Lines of the next block that are fetched while this one is shown: what a step into it touches first, or when the
 * walk goes on and on all of a usual block. */
enum { LINES_PREFETCHED = 4, LINES_SEQUENTIAL = 64 };
enum { SHORT_KEY_BYTES = 128 };
/* A block in the read-ahead buffer lies as it lies in the file, modulo this. */
enum { ALIGNMENT = 8 };

typedef struct segment_cursor {
    bl_cursor base; /* first */
    bl_segment_cursor_options options;
    bl_segment *const *segments;
    bl_segment **own_segments; /* a copy that counts them; NULL: options.segments_stay */
    uint32_t count;
    /* where it is */
    uint32_t at;
    bl_unit *unit; /* of segments[at], held; or NULL */
    uint64_t ordinal;
    bl_block_view view;
    bl_frame *frame; /* pinned, when the window shows it */
    /* memory of its own */
    uint8_t *block; /* one private block */
    size_t block_capacity;
    uint8_t *ahead;
    bool ahead_refused;
    uint32_t ahead_segment;
    uint64_t ahead_first, ahead_end; /* ordinals of whole blocks in the buffer; equal: none */
    uint8_t *long_key;               /* when a key does not fit short_key */
    size_t key_capacity;
    /* how it moves */
    bool forward;
    uint32_t moves;                     /* from block to block, in this direction */
    bl_block_index_place place;         /* between the steps of a seek: where it is in the index */
    uint64_t sought;                    /* then the ordinal of the block */
    bool own_memory;                    /* else the caller's */
    uint8_t short_key[SHORT_KEY_BYTES]; /* last: nothing is read of it that was not written */
} segment_cursor;

static segment_cursor *own(bl_cursor *cursor) { return (segment_cursor *)(void *)cursor; }

static void stop(segment_cursor *cursor, bole_status status)
{
    cursor->base.valid = false;
    cursor->base.status = status;
}

/* Where a failure is told: made by the first that may have one. NULL, and so untold, when there is no memory. */
static bole_error *story(segment_cursor *cursor)
{
    if (cursor->base.error == NULL)
        cursor->base.error = bl_new(bole_error);
    return cursor->base.error;
}

static bole_status no_memory(segment_cursor *cursor, size_t bytes)
{
    return bl_fail(story(cursor), BOLE_NO_MEMORY, "%zu bytes for a cursor over %s", bytes,
                   cursor->segments[cursor->at]->path);
}

/* ---- Where bytes of a block come from ---------------------------------------------------------------- */

static bl_memory_budget *budget_of(const segment_cursor *cursor)
{
    return cursor->segments[0]->environment->budget;
}

static bole_status reserve_block(segment_cursor *cursor, size_t bytes)
{
    if (bytes <= cursor->block_capacity)
        return BOLE_OK;
    bl_memory_budget_release(budget_of(cursor), BL_MEMORY_WORK, cursor->block_capacity);
    bl_free(cursor->block);
    cursor->block_capacity = 0;
    cursor->block = bl_alloc(bytes);
    if (cursor->block == NULL)
        return no_memory(cursor, bytes);
    cursor->block_capacity = bytes;
    bl_memory_budget_force(budget_of(cursor), BL_MEMORY_WORK, bytes);
    return BOLE_OK;
}

static bool have_ahead_buffer(segment_cursor *cursor)
{
    if (cursor->ahead != NULL)
        return true;
    if (cursor->ahead_refused ||
        !bl_frame_cache_charge(cursor->segments[0]->cache, BL_MEMORY_WORK, AHEAD_BYTES + ALIGNMENT)) {
        cursor->ahead_refused = true;
        return false;
    }
    cursor->ahead = bl_alloc(AHEAD_BYTES + ALIGNMENT);
    if (cursor->ahead == NULL) { /* one block at a time needs less */
        bl_memory_budget_release(budget_of(cursor), BL_MEMORY_WORK, AHEAD_BYTES + ALIGNMENT);
        cursor->ahead_refused = true;
    }
    return cursor->ahead != NULL;
}

/* Read the blocks around `ordinal` in the direction of the walk; false when it stands alone or there is no
 * buffer. */
static bool read_ahead(segment_cursor *cursor, uint64_t ordinal, bole_status *status)
{
    const bl_unit *unit = cursor->unit;
    uint64_t first = ordinal, end = ordinal + 1;
    if (cursor->forward)
        while (end < unit->index.count && bl_block_span_bytes(unit, first, end + 1) <= AHEAD_BYTES)
            end++;
    else
        while (first > 0 && bl_block_span_bytes(unit, first - 1, end) <= AHEAD_BYTES)
            first--;
    if (end - first == 1 || !have_ahead_buffer(cursor))
        return false;
    cursor->ahead_first = cursor->ahead_end = 0;
    *status = bl_block_read_span(cursor->segments[cursor->at], unit, first, end,
                                 cursor->ahead + unit->index.offsets[first] % ALIGNMENT,
                                 cursor->options.bytes_read, story(cursor));
    if (*status != BOLE_OK)
        return true;
    cursor->ahead_segment = cursor->at;
    cursor->ahead_first = first;
    cursor->ahead_end = end;
    return true;
}

static bool is_ahead(const segment_cursor *cursor, uint64_t ordinal)
{
    return cursor->ahead_segment == cursor->at && ordinal >= cursor->ahead_first &&
           ordinal < cursor->ahead_end;
}

/* A block of the read-ahead buffer: in place when it can be. */
static bole_status take_ahead(segment_cursor *cursor, uint64_t ordinal, const uint8_t **out)
{
    const bl_block_index *index = &cursor->unit->index;
    bl_segment *segment = cursor->segments[cursor->at];
    uint64_t base = index->offsets[cursor->ahead_first];
    uint8_t *stored = cursor->ahead + base % ALIGNMENT + (index->offsets[ordinal] - base);
    size_t stored_bytes = index->stored_bytes[ordinal], frame_bytes = index->frame_bytes[ordinal];
    uint8_t *frame = stored;
    if (stored_bytes != frame_bytes || (uintptr_t)stored % ALIGNMENT != 0) {
        bole_status status = reserve_block(cursor, frame_bytes);
        if (status != BOLE_OK)
            return status;
        frame = cursor->block;
    }
    *out = frame;
    return bl_block_load(stored, stored_bytes, frame, frame_bytes, segment->seed, segment->path,
                         index->offsets[ordinal], story(cursor));
}

/* With fill_cache: into the cache, and pinned; *frame stays NULL when there is no room or it was evicted
 * again. */
static bole_status fill_cache(segment_cursor *cursor, uint64_t ordinal, bl_frame **frame)
{
    if (cursor->unit->node.place == NULL)
        return BOLE_OK; /* not even the index had room */
    uint64_t bytes = cursor->unit->index.stored_bytes[ordinal];
    bole_status status = bl_block_install(cursor->segments[cursor->at], cursor->unit, ordinal, story(cursor));
    if (status == BOLE_MEMORY_PINNED)
        return BOLE_OK;
    if (status == BOLE_OK) {
        *frame = bl_block_pin(cursor->unit, ordinal, true);
        if (cursor->options.bytes_read != NULL)
            *cursor->options.bytes_read += bytes;
    }
    return status;
}

/* Does the walk go on and on? Then whole blocks are asked for, one before they are shown. */
static inline bool is_sequential(const segment_cursor *cursor)
{
    return cursor->options.read_ahead && cursor->moves >= SEQUENTIAL_MOVES;
}

/* Bytes of block `ordinal` of the present segment, good until the cursor moves. */
static bole_status bring(segment_cursor *cursor, uint64_t ordinal, const uint8_t **out)
{
    bl_frame *frame = NULL;
    if (bl_likely(!cursor->options.fresh))
        frame = bl_block_pin(cursor->unit, ordinal, cursor->options.fill_cache);
    if (frame == NULL && cursor->options.fill_cache) {
        bole_status status = fill_cache(cursor, ordinal, &frame);
        if (status != BOLE_OK)
            return status;
    }
    if (frame != NULL) {
        cursor->frame = frame;
        *out = (const uint8_t *)frame;
        return BOLE_OK;
    }
    if (is_ahead(cursor, ordinal))
        return take_ahead(cursor, ordinal, out);
    bole_status status = BOLE_OK;
    if (is_sequential(cursor) && read_ahead(cursor, ordinal, &status))
        return status != BOLE_OK ? status : take_ahead(cursor, ordinal, out);
    status = reserve_block(cursor, cursor->unit->index.frame_bytes[ordinal]);
    if (status != BOLE_OK)
        return status;
    *out = cursor->block;
    return bl_block_read(cursor->segments[cursor->at], cursor->unit, ordinal, cursor->block,
                         cursor->options.bytes_read, story(cursor));
}

/* ---- Showing a block --------------------------------------------------------------------------------- */

static void prefetch_block(const bl_unit *unit, uint64_t ordinal, uint32_t count)
{
    const bl_frame *value = atomic_load_explicit(bl_block_index_slot(&unit->index, ordinal),
                                                 memory_order_relaxed);
    uintptr_t lines = (uintptr_t)value & ~BL_SLOT_TAGS;
    if (lines == 0)
        return;
    for (uint32_t i = 0; i < count; i++) /* how long the frame is would be one line more to wait for */
        bl_prefetch((const void *)(lines + (size_t)i * LINE_BYTES));
}

static void prefetch_neighbour(const segment_cursor *cursor)
{
    uint64_t next = cursor->forward ? cursor->ordinal + 1 : cursor->ordinal - 1; /* wraps below 0 */
    if (next < cursor->unit->index.count)
        prefetch_block(cursor->unit, next, is_sequential(cursor) ? LINES_SEQUENTIAL : LINES_PREFETCHED);
}

/* The walk touches the first line of each record: let those of the next ones come together. */
static void prefetch_records(const segment_cursor *cursor, uint32_t index)
{
    const bl_cursor *base = &cursor->base;
    uint32_t first = index, end = base->count;
    if (cursor->moves > SEQUENTIAL_MOVES && is_sequential(cursor)) /* they were asked for with the block */
        return;
    if (cursor->forward)
        end = end - first > BL_CURSOR_RECORDS_AHEAD ? first + BL_CURSOR_RECORDS_AHEAD : end;
    else {
        end = first + 1;
        first = end > BL_CURSOR_RECORDS_AHEAD ? end - BL_CURSOR_RECORDS_AHEAD : 0;
    }
    if (base->stride != 0) {
        const uint8_t *record = bl_cursor_record(base, first);
        for (uint32_t i = first; i < end; i++, record += base->stride)
            bl_prefetch(record);
    } else {
        for (uint32_t i = first; i < end; i++)
            bl_prefetch(bl_cursor_record(base, i));
    }
}

static bole_status reserve_key(segment_cursor *cursor)
{
    size_t bytes = (size_t)cursor->view.longest_key + BL_CURSOR_KEY_SLACK;
    if (bl_likely(bytes <= cursor->key_capacity))
        return BOLE_OK;
    uint8_t *buffer = bl_realloc(cursor->long_key, bytes);
    if (buffer == NULL)
        return no_memory(cursor, bytes);
    cursor->long_key = buffer;
    cursor->base.key_buffer = buffer;
    cursor->key_capacity = bytes;
    return BOLE_OK;
}

static void leave_block(segment_cursor *cursor)
{
    cursor->base.valid = false;
    bl_frame_unpin(cursor->frame);
    cursor->frame = NULL;
}

/* Make block `ordinal` of the present segment the window; no entry is shown yet. False: stopped with an
 * error. */
static bool show(segment_cursor *cursor, uint64_t ordinal)
{
    leave_block(cursor);
    const uint8_t *bytes;
    bole_status status = bring(cursor, ordinal, &bytes);
    if (status == BOLE_OK) {
        bl_block_view_init(&cursor->view, bytes);
        status = reserve_key(cursor);
    }
    if (status != BOLE_OK) {
        stop(cursor, status);
        return false;
    }
    bl_block_window(&cursor->view, &cursor->base);
    cursor->ordinal = ordinal;
    prefetch_neighbour(cursor);
    return true;
}

static void stand_on(segment_cursor *cursor, uint32_t index)
{
    bl_assert(index < cursor->base.count);
    cursor->base.index = index;
    cursor->base.valid = true;
    bl_cursor_decode(&cursor->base);
}

/* Where no search has asked for records. */
static void begin_at(segment_cursor *cursor, uint32_t index)
{
    prefetch_records(cursor, index);
    stand_on(cursor, index);
}

/* Make segments[at] the present one and hold its unit. False: stopped with an error. */
static bool enter_segment(segment_cursor *cursor, uint32_t at)
{
    if (cursor->unit != NULL && cursor->at == at)
        return true;
    leave_block(cursor);
    if (cursor->unit != NULL)
        bl_unit_put(cursor->segments[cursor->at], cursor->unit);
    cursor->at = at;
    cursor->unit = bl_unit_hold_present(cursor->segments[at]);
    if (bl_unlikely(cursor->unit == NULL)) {
        bole_status status = bl_unit_get(cursor->segments[at], true, &cursor->unit, story(cursor));
        if (status != BOLE_OK) {
            stop(cursor, status);
            return false;
        }
    }
    cursor->base.heads_off = cursor->unit->index.whole;
    return true;
}

/* ---- Moves ------------------------------------------------------------------------------------------- */

static void begin_seek(segment_cursor *cursor, bool forward)
{
    cursor->base.valid = false;
    cursor->base.status = BOLE_OK;
    cursor->forward = forward;
    cursor->moves = 0;
}

static void turn(segment_cursor *cursor, bool forward)
{
    if (cursor->forward != forward)
        cursor->moves = 0;
    cursor->forward = forward;
    cursor->moves++;
}

static void next_window(bl_cursor *base)
{
    segment_cursor *cursor = own(base);
    turn(cursor, true);
    uint64_t ordinal = cursor->ordinal + 1;
    if (ordinal == cursor->unit->index.count) {
        if (cursor->at + 1 == cursor->count) {
            leave_block(cursor);
            return;
        }
        if (!enter_segment(cursor, cursor->at + 1))
            return;
        ordinal = 0;
    }
    if (show(cursor, ordinal))
        begin_at(cursor, 0);
}

static void prev_window(bl_cursor *base)
{
    segment_cursor *cursor = own(base);
    turn(cursor, false);
    uint64_t ordinal = cursor->ordinal;
    if (ordinal == 0) {
        if (cursor->at == 0) {
            leave_block(cursor);
            return;
        }
        if (!enter_segment(cursor, cursor->at - 1))
            return;
        ordinal = cursor->unit->index.count;
    }
    if (show(cursor, ordinal - 1))
        begin_at(cursor, cursor->base.count - 1);
}

static void seek_first(bl_cursor *base)
{
    segment_cursor *cursor = own(base);
    begin_seek(cursor, true);
    if (cursor->count != 0 && enter_segment(cursor, 0) && show(cursor, 0))
        begin_at(cursor, 0);
}

static void seek_last(bl_cursor *base)
{
    segment_cursor *cursor = own(base);
    begin_seek(cursor, false);
    if (cursor->count != 0 && enter_segment(cursor, cursor->count - 1) &&
        show(cursor, cursor->unit->index.count - 1))
        begin_at(cursor, cursor->base.count - 1);
}

/* Number of the first segment whose largest key is not below `key`; count when there is none. */
static uint32_t segment_for(const segment_cursor *cursor, bole_slice key)
{
    uint32_t low = 0, high = cursor->count;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        const bl_segment *segment = cursor->segments[middle];
        if (bl_compare(segment->comparator, segment->meta.largest, key) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

/* Step 0: the segment, and the place in its index. False: the seek has ended. */
static bool find_segment(segment_cursor *cursor, bole_slice key, bool before)
{
    begin_seek(cursor, !before);
    if (cursor->count == 0)
        return false;
    uint32_t at = segment_for(cursor, key);
    bool past = at == cursor->count;
    if (!enter_segment(cursor, past ? at - 1 : at))
        return false;
    if (!cursor->unit->ordered) { /* only the file knows that its order is a stranger's */
        stop(cursor, bl_fail(story(cursor), BOLE_COMPARATOR, "the comparator of %s is not known",
                             cursor->segments[cursor->at]->path));
        return false;
    }
    if (past) {
        if (before)
            seek_last(&cursor->base);
        return false;
    }
    cursor->place = bl_block_index_search_begin(&cursor->unit->index, cursor->segments[at]->comparator, key);
    return true;
}

/* Step 1: the block in which the first entry with a key not below `key` is, or would be. */
static bool find_block(segment_cursor *cursor, bole_slice key)
{
    const bl_unit *unit = cursor->unit;
    cursor->sought = bl_block_index_search_end(&unit->index, key, cursor->place);
    if (cursor->sought == unit->index.count) {
        stop(cursor, bl_corrupt(story(cursor), cursor->segments[cursor->at]->path, BL_NO_OFFSET,
                                "the index ends below the segment's largest key"));
        return false;
    }
    prefetch_block(unit, cursor->sought, LINES_PREFETCHED);
    return true;
}

/* Step 2: the block; and the records from where the walk will begin come while the first is looked at. */
static bool show_sought(segment_cursor *cursor, bole_slice key)
{
    if (!show(cursor, cursor->sought))
        return false;
    if (cursor->base.heads_off)
        return true;
    uint32_t at = bl_block_prefetch(&cursor->view, key);
    if (at != cursor->base.count)
        prefetch_records(cursor, at);
    return true;
}

/* Step 3: its entry, or the neighbour's where it has none. */
static void find_entry(segment_cursor *cursor, bole_slice key, bool before)
{
    bl_cursor *base = &cursor->base;
    uint32_t index = bl_block_lower_bound(&cursor->view, cursor->segments[cursor->at]->comparator, key);
    if (before && index > 0)
        stand_on(cursor, index - 1);
    else if (before)
        prev_window(base);
    else if (index < base->count)
        stand_on(cursor, index);
    else
        next_window(base);
}

static bool seek_step(bl_cursor *base, bole_slice key, bool before, uint32_t step)
{
    segment_cursor *cursor = own(base);
    switch (step) {
    case 0: return !find_segment(cursor, key, before);
    case 1: return !find_block(cursor, key);
    case 2: return !show_sought(cursor, key);
    default: find_entry(cursor, key, before); return true;
    }
}

static void seek_at_once(segment_cursor *cursor, bole_slice key, bool before)
{
    if (find_segment(cursor, key, before) && find_block(cursor, key) && show_sought(cursor, key))
        find_entry(cursor, key, before);
}

static void seek(bl_cursor *base, bole_slice key) { seek_at_once(own(base), key, false); }
static void seek_before(bl_cursor *base, bole_slice key) { seek_at_once(own(base), key, true); }

static uint32_t window_bound(bl_cursor *base, bole_slice key)
{
    const segment_cursor *cursor = own(base);
    return bl_block_lower_bound(&cursor->view, cursor->segments[cursor->at]->comparator, key);
}

/* ---- Opening and closing ----------------------------------------------------------------------------- */

static void close_cursor(bl_cursor *base)
{
    segment_cursor *cursor = own(base);
    leave_block(cursor);
    if (cursor->unit != NULL)
        bl_unit_put(cursor->segments[cursor->at], cursor->unit);
    if (cursor->block_capacity != 0)
        bl_memory_budget_release(budget_of(cursor), BL_MEMORY_WORK, cursor->block_capacity);
    if (cursor->ahead != NULL)
        bl_memory_budget_release(budget_of(cursor), BL_MEMORY_WORK, AHEAD_BYTES + ALIGNMENT);
    bl_free(cursor->block);
    bl_free(cursor->ahead);
    bl_free(cursor->long_key);
    bl_free(cursor->base.error);
    for (uint32_t i = 0; cursor->own_segments != NULL && i < cursor->count; i++)
        bl_segment_unref(cursor->own_segments[i]);
    bl_free(cursor->own_segments);
    if (cursor->own_memory)
        bl_free(cursor);
}

size_t bl_segment_cursor_bytes(void) { return sizeof(segment_cursor); }

bl_cursor *bl_segment_cursor_at(void *place, bl_segment *const *segments, uint32_t count,
                                const bl_segment_cursor_options *options)
{
    static const bl_cursor_ops ops = {
        .seek_first = seek_first,
        .seek_last = seek_last,
        .seek = seek,
        .seek_before = seek_before,
        .next_window = next_window,
        .prev_window = prev_window,
        .seek_step = seek_step,
        .window_bound = window_bound,
        .close = close_cursor,
    };
    segment_cursor *cursor = place;
    bl_assert(options->segments_stay);
    memset(cursor, 0, offsetof(segment_cursor, short_key));
    cursor->base.ops = &ops;
    cursor->base.kind = BL_WINDOW_BLOCK;
    cursor->base.heads_off = count != 0 && segments[0]->comparator != NULL;
    cursor->options = *options;
    cursor->segments = segments;
    cursor->count = count;
    cursor->ahead_segment = UINT32_MAX;
    cursor->base.key_buffer = cursor->short_key;
    cursor->key_capacity = sizeof cursor->short_key;
    return &cursor->base;
}

bole_status bl_segment_cursor(bl_segment *const *segments, uint32_t count,
                              const bl_segment_cursor_options *options, bl_cursor **out, bole_error *error)
{
    *out = NULL;
    segment_cursor *cursor = bl_new(segment_cursor);
    bl_segment **list = options->segments_stay ? NULL : bl_new_array(bl_segment *, count == 0 ? 1 : count);
    if (cursor == NULL || (list == NULL && !options->segments_stay)) {
        bl_free(cursor);
        bl_free(list);
        return bl_fail(error, BOLE_NO_MEMORY, "cursor over %u segments", count);
    }
    bl_segment_cursor_options staying = *options;
    staying.segments_stay = true;
    for (uint32_t i = 0; list != NULL && i < count; i++) {
        list[i] = segments[i];
        bl_segment_ref(list[i]);
    }
    *out = bl_segment_cursor_at(cursor, list != NULL ? list : segments, count, &staying);
    cursor->own_memory = true;
    cursor->own_segments = list;
    return BOLE_OK;
}
