/* SPDX-License-Identifier: MIT */
/* run_cursor.h -- a cursor over one sorted run (memtable tree, level-0 segment, level) that shows it in windows.
 *
 * A window is the cursor's present block or leaf as arrays. Stepping inside a window is inline; an indirect call
 * happens only from window to window. Entries come in internal order: key rising, tag falling (run_cursor_prev: the
 * reverse). All versions are shown; who wants one moment skips the others.
 *
 * The current entry (key, value, tag, head) is good until the cursor moves or closes. A cursor belongs to one
 * thread; it is not inside an epoch between calls: it pins what it shows.
 *
 * Two kinds of windows:
 *   BL_WINDOW_BLOCK    a block of a segment, decoded entry by entry (layout: segment/block.h, docs/format.md);
 *                      the cursor assembles a key in key_buffer, whose first prefix_bytes are filled already;
 *   BL_WINDOW_ENTRIES  an array of ready entries (a memtable leaf, a test's array). */
#ifndef BL_CORE_RUN_CURSOR_H
#define BL_CORE_RUN_CURSOR_H

#include "base/coding.h"
#include "base/prefetch.h"
#include "base/slice.h"
#include "core/internal_key.h"

typedef struct bl_cursor bl_cursor;

typedef struct bl_entry {
    bole_slice key;
    bole_slice value;
    uint64_t tag;
} bl_entry;

typedef struct bl_cursor_ops {
    /* Each positions the cursor and sets valid, the window and the current entry, or valid = false (status tells
     * an end from a failure). seek: first entry with key >= `key`. seek_before: last entry with key < `key`. */
    void (*seek_first)(bl_cursor *cursor);
    void (*seek_last)(bl_cursor *cursor);
    void (*seek)(bl_cursor *cursor, bole_slice key);
    void (*seek_before)(bl_cursor *cursor, bole_slice key);
    void (*next_window)(bl_cursor *cursor); /* to the first entry of the next window */
    void (*prev_window)(bl_cursor *cursor); /* to the last entry of the one before */
    /* A seek (with `before`: seek_before) in steps, counted from 0, each of which asks for what the next one looks at;
     * so those of several cursors, taken in turns, wait for memory together. True: the last step, the cursor stands as
     * after the seek. Nothing else is called between the steps. May be NULL. */
    bool (*seek_step)(bl_cursor *cursor, bole_slice key, bool before, uint32_t step);
    /* In a BL_WINDOW_BLOCK: index of the first entry with key >= `key`, count when there is none. Moves nothing; NULL
     * where no window is of that kind. */
    uint32_t (*window_bound)(bl_cursor *cursor, bole_slice key);
    void (*close)(bl_cursor *cursor);       /* frees the cursor too */
} bl_cursor_ops;

/* What decoding may write behind a key. */
enum { BL_CURSOR_TAIL_BYTES = 16, BL_CURSOR_KEY_SLACK = 8 + BL_CURSOR_TAIL_BYTES };
/* Records whose first lines are on their way while one is shown. */
enum { BL_CURSOR_RECORDS_AHEAD = 24 };

typedef enum bl_window_kind { BL_WINDOW_BLOCK, BL_WINDOW_ENTRIES } bl_window_kind;

struct bl_cursor {
    /* the current entry */
    bole_slice key;
    bole_slice value;
    uint64_t tag;
    uint64_t head; /* bl_head64(key, head_offset); 0 when heads are off */
    bool valid;
    bool seeking;         /* the merge's: it has not taken the last step yet */
    bool heads_off;       /* a user's comparator */
    bool wide_heads;      /* block: heads are u64, not u32 */
    bool wide_offsets;    /* block: offsets are u32, not u16 */
    bl_window_kind kind;
    uint32_t index, count; /* in the window */
    uint32_t head_offset;  /* set by the merge before the first seek: common prefix of its whole key range */
    /* BL_WINDOW_BLOCK */
    uint32_t prefix_bytes;
    uint32_t stride;        /* bytes of each record, whose keys are of one size and values, too; 0: `offsets` tells */
    const void *heads;
    const void *offsets;
    const uint8_t *tags;    /* count x u64, NULL: every tag is BL_TAG(0, BL_KIND_PUT) */
    const uint8_t *records;
    uint8_t *key_buffer;    /* room for the block's longest key and BL_CURSOR_KEY_SLACK more */
    /* BL_WINDOW_ENTRIES */
    const bl_entry *entries;
    /* all */
    bole_status status;
    uint64_t skipped_blocks;
    const bl_cursor_ops *ops;
    bole_error *error; /* the story of a status that is not BOLE_OK, NULL without one; the cursor's */
};

/* Where record `index` of a block begins. */
static inline const uint8_t *bl_cursor_record(const bl_cursor *cursor, uint32_t index)
{
    if (cursor->stride != 0)
        return cursor->records + (size_t)cursor->stride * index;
    return cursor->records + (cursor->wide_offsets ? bl_get_u32((const uint8_t *)cursor->offsets + 4 * (size_t)index)
                                                   : bl_get_u16((const uint8_t *)cursor->offsets + 2 * (size_t)index));
}

/* The head of a block's entry, into the key behind the prefix. Returns its bytes. */
static inline size_t bl_cursor_put_head(const bl_cursor *cursor, uint32_t index)
{
    uint8_t *out = cursor->key_buffer + cursor->prefix_bytes;
    if (cursor->wide_heads)
        bl_put_u64(out, __builtin_bswap64(bl_get_u64((const uint8_t *)cursor->heads + 8 * (size_t)index)));
    else
        bl_put_u32(out, __builtin_bswap32(bl_get_u32((const uint8_t *)cursor->heads + 4 * (size_t)index)));
    return cursor->wide_heads ? 8 : 4;
}

/* The key of a block's entry behind the prefix: its head, and the tail that begins at `in`. Returns the tail's end. */
static inline const uint8_t *bl_cursor_put_key(bl_cursor *cursor, uint32_t index, size_t rest, const uint8_t *in,
                                               size_t value_bytes)
{
    uint8_t *out = cursor->key_buffer + cursor->prefix_bytes;
    size_t width = bl_cursor_put_head(cursor, index);
    if (rest <= width)
        return in;
    size_t tail = rest - width;
    if (__builtin_expect(tail <= BL_CURSOR_TAIL_BYTES && tail + value_bytes >= BL_CURSOR_TAIL_BYTES, 1))
        memcpy(out + width, in, BL_CURSOR_TAIL_BYTES); /* no call; what is too much is of the record, too */
    else
        memcpy(out + width, in, tail);
    return in + tail;
}

/* Record of a block: varint rest (key bytes behind the block's prefix), varint value bytes, then the rest's bytes
 * that the head does not hold, then the value. The block's checksum was verified and its structure validated when
 * it was loaded, so decoding trusts it. All but the head. */
static inline void bl_cursor_decode_entry(bl_cursor *cursor)
{
    if (cursor->kind == BL_WINDOW_ENTRIES) {
        const bl_entry *entry = &cursor->entries[cursor->index];
        cursor->key = entry->key;
        cursor->value = entry->value;
        cursor->tag = entry->tag;
    } else {
        uint32_t i = cursor->index;
        const uint8_t *in = bl_cursor_record(cursor, i);
        uint64_t rest, value_bytes;
        in = bl_get_varint(in, in + BL_VARINT_BYTES_MAX, &rest);
        in = bl_get_varint(in, in + BL_VARINT_BYTES_MAX, &value_bytes);
        cursor->key = bl_slice(cursor->key_buffer, cursor->prefix_bytes + rest);
        cursor->value = bl_slice(bl_cursor_put_key(cursor, i, rest, in, value_bytes), value_bytes);
        cursor->tag = cursor->tags == NULL ? BL_TAG(0, BL_KIND_PUT) : bl_get_u64(cursor->tags + 8 * (size_t)i);
    }
}

static inline void bl_cursor_decode(bl_cursor *cursor)
{
    bl_cursor_decode_entry(cursor);
    cursor->head = cursor->heads_off ? 0 : bl_head64(cursor->key.data, cursor->key.size, cursor->head_offset);
}

/* The quickest way from entry to entry of a block whose keys are of one size and values, too, as its records lie at one
 * distance: the next key's tail lies where the value before it ends, behind two lengths. */
typedef struct bl_cursor_walk {
    const uint8_t *head, *tail; /* of the entry where it stands */
    uint8_t *out;               /* where heads go, in the key */
    uint32_t stride, tail_bytes;
    uint32_t left;              /* entries that it may still step to */
    bool wide_heads;
} bl_cursor_walk;

/* From the cursor's entry on, up to `left` entries further, which are in its window, a block. False: it is of another
 * kind. */
static inline bool bl_cursor_walk_begin(const bl_cursor *cursor, uint32_t left, bl_cursor_walk *walk)
{
    size_t rest = cursor->key.size - cursor->prefix_bytes, width = cursor->wide_heads ? 8 : 4;
    size_t tail_bytes = rest > width ? rest - width : 0;
    if (cursor->stride == 0 || cursor->tags != NULL || tail_bytes > BL_CURSOR_TAIL_BYTES ||
        tail_bytes + cursor->value.size < BL_CURSOR_TAIL_BYTES)
        return false;
    walk->head = (const uint8_t *)cursor->heads + width * cursor->index;
    walk->tail = (const uint8_t *)cursor->value.data - tail_bytes;
    walk->out = cursor->key_buffer + cursor->prefix_bytes;
    walk->stride = cursor->stride;
    walk->tail_bytes = (uint32_t)tail_bytes;
    walk->left = left;
    walk->wide_heads = cursor->wide_heads;
    return true;
}

/* There must be one left. The cursor's key is the next one then; returns where its value begins. */
static inline const void *bl_cursor_walk_step(bl_cursor_walk *walk)
{
    const uint8_t *tail = walk->tail += walk->stride;
    bl_prefetch((const void *)((uintptr_t)tail + (size_t)BL_CURSOR_RECORDS_AHEAD * walk->stride));
    walk->left--;
    if (walk->wide_heads) {
        bl_put_u64(walk->out, __builtin_bswap64(bl_get_u64(walk->head += 8)));
        memcpy(walk->out + 8, tail, BL_CURSOR_TAIL_BYTES);
    } else {
        bl_put_u32(walk->out, __builtin_bswap32(bl_get_u32(walk->head += 4)));
        memcpy(walk->out + 4, tail, BL_CURSOR_TAIL_BYTES);
    }
    return tail + walk->tail_bytes;
}

/* The cursor to where the walk stands: all of the entry but its head. Returns how far it went. */
static inline uint32_t bl_cursor_walk_end(bl_cursor *cursor, const bl_cursor_walk *walk)
{
    uint32_t before = cursor->index;
    cursor->index = (uint32_t)((size_t)(walk->head - (const uint8_t *)cursor->heads) / (walk->wide_heads ? 8 : 4));
    cursor->value.data = walk->tail + walk->tail_bytes;
    return cursor->index - before;
}

/* Is each entry of the window a put without a sequence? Then everybody sees it, nothing older lies below it, and its
 * key is no other entry's. */
static inline bool bl_cursor_is_plain(const bl_cursor *cursor)
{
    return cursor->kind == BL_WINDOW_BLOCK && cursor->tags == NULL;
}

/* In a block: is there a next entry, and has it another head behind the block's prefix? */
static inline bool bl_cursor_next_differs(const bl_cursor *cursor)
{
    size_t i = cursor->index;
    if (cursor->index + 1 >= cursor->count)
        return false;
    const uint8_t *heads = cursor->heads;
    return cursor->wide_heads ? bl_get_u64(heads + 8 * i) != bl_get_u64(heads + 8 * i + 8)
                              : bl_get_u32(heads + 4 * i) != bl_get_u32(heads + 4 * i + 4);
}

static inline void bl_cursor_next(bl_cursor *cursor)
{
    if (__builtin_expect(cursor->index + 1 < cursor->count, 1)) {
        cursor->index++;
        bl_cursor_decode(cursor);
    } else {
        cursor->ops->next_window(cursor);
    }
}

static inline void bl_cursor_prev(bl_cursor *cursor)
{
    if (__builtin_expect(cursor->index > 0, 1)) {
        cursor->index--;
        bl_cursor_decode(cursor);
    } else {
        cursor->ops->prev_window(cursor);
    }
}

static inline void bl_cursor_close(bl_cursor *cursor)
{
    if (cursor != NULL)
        cursor->ops->close(cursor);
}

#endif
