/* SPDX-License-Identifier: MIT */
/* block.c -- searching a block and stepping through it.
 *
 * SEARCH      The prefix is compared once; then the heads, with SIMD, give the first entry whose head is not
 *             below the key's. Most often that is the only one with an equal head, and one compare of the
 *             rest decides. A run of equal heads (versions of one key, keys that differ late) is searched by
 *             halves with the whole order (key, then visibility), never entry by entry. Where the block has
 *             hashes, the search for one key looks only at entries of the key's hash: most often at one record.
 *             These steps are inlined into the one search: calls had cost a get 60 instructions of 1,580.
 * PIECES      An entry's key is prefix + head + record rest; it is compared in these pieces where it lies.
 *             With a user's comparator it is put together first, on the stack.
 * INVARIANTS  BLOCK-1, BLOCK-2 in block.h. Nothing here checks bounds: bl_block_validate did.
 * THREADS     Any.
 * NOT HERE    From file bytes to a frame: block_load.c. */
#include "segment/block.h"

#include "base/assert.h"
#include "base/prefetch.h"
#include "segment/head_search.h"

enum {
    CANDIDATES_ASKED = 16, /* records of one head that are asked for at once */
    LINE_BYTES = 64,
    /* Of a record that is found (the machine sees by itself how a longer one goes on); of the last one. */
    BYTES_ASKED = 4 * LINE_BYTES,
    BYTES_UNTOLD = 2 * LINE_BYTES,
};

/* A record, without its head. */
typedef struct record {
    uint64_t rest_bytes; /* key bytes behind the prefix, with those in the head */
    const uint8_t *tail; /* the rest's bytes behind the head */
    size_t tail_bytes;
    bole_slice value;
} record;

static inline const uint8_t *record_at(const bl_block_view *view, uint32_t index)
{
    if (view->offsets == NULL)
        return view->records + (size_t)view->stride * index;
    if (view->wide_offsets)
        return view->records + bl_get_u32(view->offsets + 4 * (size_t)index);
    return view->records + bl_get_u16(view->offsets + 2 * (size_t)index);
}

/* The record where a search ends: its lines come at once, for who finds a value reads it. */
static inline void prefetch_record(const bl_block_view *view, uint32_t index)
{
    const uint8_t *place = record_at(view, index);
    size_t bytes = BYTES_UNTOLD;
    if (view->offsets == NULL)
        bytes = view->stride;
    else if (index + 1 < view->count)
        bytes = (size_t)(record_at(view, index + 1) - place);
    bytes = bytes < BYTES_ASKED ? bytes : BYTES_ASKED;
    for (size_t at = 0; at < bytes; at += LINE_BYTES)
        bl_prefetch(place + at);
    bl_prefetch(place + bytes - 1);
}

static inline record read_record(const bl_block_view *view, uint32_t index)
{
    record out;
    uint64_t value_bytes;
    size_t width = view->wide_heads ? 8 : 4;
    const uint8_t *in = record_at(view, index);
    in = bl_get_varint(in, in + BL_VARINT_BYTES_MAX, &out.rest_bytes);
    in = bl_get_varint(in, in + BL_VARINT_BYTES_MAX, &value_bytes);
    out.tail = in;
    out.tail_bytes = out.rest_bytes > width ? out.rest_bytes - width : 0;
    out.value = bl_slice(in + out.tail_bytes, value_bytes);
    return out;
}

static inline uint64_t head_at(const bl_block_view *view, uint32_t index)
{
    return view->wide_heads ? bl_get_u64(view->heads + 8 * (size_t)index)
                            : bl_get_u32(view->heads + 4 * (size_t)index);
}

static inline uint64_t tag_at(const bl_block_view *view, uint32_t index)
{
    return view->tags == NULL ? BL_TAG(0, BL_KIND_PUT) : bl_get_u64(view->tags + 8 * (size_t)index);
}

/* The key's head as the block's are: behind the prefix, with which the key begins. */
static inline uint64_t head_of(const bl_block_view *view, bole_slice key)
{
    uint64_t head = bl_head64(key.data, key.size, view->prefix_bytes);
    return view->wide_heads ? head : head >> 32;
}

/* Number of heads below `head`. */
static inline uint32_t count_below(const bl_block_view *view, uint64_t head)
{
    return view->wide_heads ? bl_head_search_u64(view->heads, view->count, head)
                            : bl_head_search_u32(view->heads, view->count, (uint32_t)head);
}

/* A record's key against `key` whose head is equal: <0, 0, >0. Heads are zero-padded, so where one key ends
 * within the head the other holds zeros there or ends too: their sizes decide. */
static inline int compare_rest(const record *entry, bole_slice key, size_t prefix_bytes, size_t width)
{
    size_t rest = key.size - prefix_bytes;
    size_t tail = rest > width ? rest - width : 0;
    size_t common = entry->tail_bytes < tail ? entry->tail_bytes : tail;
    int order = bl_bytes_compare(entry->tail, (const uint8_t *)key.data + prefix_bytes + width, common);
    if (order != 0)
        return order;
    return entry->rest_bytes < rest ? -1 : entry->rest_bytes > rest;
}

/* All keys of the block against `key`, as far as the prefix tells: <0 all below, >0 all above, 0 not known.
 * */
static inline int compare_prefix(const bl_block_view *view, bole_slice key)
{
    size_t common = key.size < view->prefix_bytes ? key.size : view->prefix_bytes;
    int order = bl_bytes_compare(view->prefix, key.data, common);
    if (order != 0)
        return order;
    return key.size < view->prefix_bytes; /* the key ends first: it is below */
}

/* First entry of [low, high) whose key is above `key`, or equal and seen at `sequence`; high when there is
 * none. All of them have the key's head, and where they lie apart each step would wait for memory: so of a few the
 * lines where their keys begin and end are asked for at once. */
static uint32_t first_not_before(const bl_block_view *view, bole_slice key, uint64_t sequence, uint32_t low,
                                 uint32_t high)
{
    uint32_t asked = high - low == 1 ? low : high < low + CANDIDATES_ASKED ? high : low + CANDIDATES_ASKED;
    size_t rest = key.size - view->prefix_bytes; /* theirs may be longer or shorter: only a hint */
    for (uint32_t i = low; i < asked; i++) {
        const uint8_t *place = record_at(view, i);
        bl_prefetch(place);
        bl_prefetch(place + rest);
    }
    size_t width = view->wide_heads ? 8 : 4;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        record entry = read_record(view, middle);
        int order = compare_rest(&entry, key, view->prefix_bytes, width);
        if (order > 0 || (order == 0 && bl_tag_visible(tag_at(view, middle), sequence)))
            high = middle;
        else
            low = middle + 1;
    }
    return low;
}

/* The end of the run of heads equal to `head` that begins at `begin`. */
static inline uint32_t run_end(const bl_block_view *view, uint64_t head, uint32_t begin)
{
    if (begin + 1 == view->count || head_at(view, begin + 1) != head)
        return begin + 1;
    uint64_t head_max = view->wide_heads ? UINT64_MAX : UINT32_MAX;
    return head == head_max ? view->count : count_below(view, head + 1);
}

bole_slice bl_block_key(const bl_block_view *view, uint32_t index, uint8_t *out)
{
    record entry = read_record(view, index);
    if (view->prefix_bytes != 0)
        memcpy(out, view->prefix, view->prefix_bytes);
    uint8_t *at = out + view->prefix_bytes;
    if (view->wide_heads) {
        bl_put_u64(at, __builtin_bswap64(bl_get_u64(view->heads + 8 * (size_t)index)));
        at += 8;
    } else {
        bl_put_u32(at, __builtin_bswap32(bl_get_u32(view->heads + 4 * (size_t)index)));
        at += 4;
    }
    if (entry.tail_bytes != 0)
        memcpy(at, entry.tail, entry.tail_bytes);
    return bl_slice(out, view->prefix_bytes + entry.rest_bytes);
}

bool bl_block_holds_key(const bl_block_view *view, bole_slice key)
{
    if (key.size < view->prefix_bytes || compare_prefix(view, key) != 0)
        return false;
    record entry = read_record(view, 0);
    size_t width = view->wide_heads ? 8 : 4;
    return head_of(view, key) == head_at(view, 0) &&
           compare_rest(&entry, key, view->prefix_bytes, width) == 0;
}

uint64_t bl_block_tag(const bl_block_view *view, uint32_t index) { return tag_at(view, index); }

bole_slice bl_block_value(const bl_block_view *view, uint32_t index)
{
    return read_record(view, index).value;
}

/* first_not_before over the whole block in a user's order. *equal: the entry found has the key itself. */
static uint32_t first_not_before_user(const bl_block_view *view, bl_comparator *comparator, bole_slice key,
                                      uint64_t sequence, bool *equal)
{
    uint8_t buffer[BOLE_KEY_BYTES_MAX + 8];
    uint32_t low = 0, high = view->count;
    *equal = false;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        int order = comparator->compare(comparator->context, bl_block_key(view, middle, buffer), key);
        if (order > 0 || (order == 0 && bl_tag_visible(tag_at(view, middle), sequence))) {
            high = middle;
            *equal = order == 0;
        } else {
            low = middle + 1;
        }
    }
    return low;
}

static bool last_key_is(const bl_block_view *view, bl_comparator *comparator, bole_slice key)
{
    uint8_t buffer[BOLE_KEY_BYTES_MAX + 8];
    return comparator->compare(comparator->context, bl_block_key(view, view->count - 1, buffer), key) == 0;
}

static bl_block_answer search_user(const bl_block_view *view, const bl_lookup *lookup, uint64_t *tag,
                                   bole_slice *value)
{
    bool equal;
    uint32_t at = first_not_before_user(view, lookup->comparator, lookup->key, lookup->sequence, &equal);
    if (at == view->count)
        return last_key_is(view, lookup->comparator, lookup->key) ? BL_BLOCK_CONTINUES : BL_BLOCK_ABSENT;
    if (!equal)
        return BL_BLOCK_ABSENT;
    *tag = tag_at(view, at);
    *value = read_record(view, at).value;
    return BL_BLOCK_FOUND;
}

/* The first of [from, end) whose hash is `wanted`; end when there is none. Eight at a time: a byte of `same` is 0 where
 * the hashes agree, and the lowest such sets the lowest bit that is left. */
static uint32_t next_of_hash(const uint8_t *hashes, uint8_t wanted, uint32_t from, uint32_t end)
{
    const uint64_t ones = UINT64_C(0x0101010101010101);
    for (; end - from >= 8; from += 8) {
        uint64_t same = bl_get_u64(hashes + from) ^ ones * wanted;
        uint64_t zeros = (same - ones) & ~same & ones << 7;
        if (zeros != 0)
            return from + (uint32_t)__builtin_ctzll(zeros) / 8;
    }
    while (from < end && hashes[from] != wanted)
        from++;
    return from;
}

/* The answer from the entries [at, end), which are all whose head is the key's. */
static inline __attribute__((always_inline)) bl_block_answer search_run(const bl_block_view *view,
                                                                        const bl_lookup *lookup, uint32_t at,
                                                                        uint32_t end, uint64_t *tag,
                                                                        bole_slice *value)
{
    size_t width = view->wide_heads ? 8 : 4;
    if (end - at > 1)
        at = first_not_before(view, lookup->key, lookup->sequence, at, end);
    /* Only after first_not_before: every entry with this head lies before what is sought. */
    bool ended = at == end;
    record entry = read_record(view, ended ? end - 1 : at);
    if (compare_rest(&entry, lookup->key, view->prefix_bytes, width) != 0)
        return BL_BLOCK_ABSENT;
    uint64_t found = ended ? 0 : tag_at(view, at);
    if (ended || !bl_tag_visible(found, lookup->sequence))
        return end == view->count ? BL_BLOCK_CONTINUES : BL_BLOCK_ABSENT;
    *tag = found;
    *value = entry.value;
    return BL_BLOCK_FOUND;
}

/* The same, by hashes. */
static bl_block_answer search_hashes(const bl_block_view *view, const bl_lookup *lookup, uint32_t at,
                                     uint32_t end, uint64_t *tag, bole_slice *value)
{
    uint8_t wanted = bl_block_hash(lookup->hash);
    while ((at = next_of_hash(view->hashes, wanted, at, end)) != end) {
        prefetch_record(view, at);
        record entry = read_record(view, at);
        if (compare_rest(&entry, lookup->key, view->prefix_bytes, view->wide_heads ? 8 : 4) == 0) {
            /* versions of the key stand one behind the other */
            if (bl_unlikely(!bl_tag_visible(tag_at(view, at), lookup->sequence)))
                return search_run(view, lookup, at, end, tag, value);
            *tag = tag_at(view, at);
            *value = entry.value;
            return BL_BLOCK_FOUND;
        }
        at++;
    }
    return BL_BLOCK_ABSENT;
}

/* Of a key in byte order that begins as the block's do: the first entry with its head, and the end of their run; none:
 * false. */
static inline __attribute__((always_inline)) bool find_run(const bl_block_view *view, bole_slice key,
                                                           uint32_t *begin, uint32_t *end)
{
    uint64_t head = head_of(view, key);
    *begin = count_below(view, head);
    if (*begin == view->count || head_at(view, *begin) != head)
        return false;
    if (view->hashes == NULL)
        prefetch_record(view, *begin);
    *end = run_end(view, head, *begin);
    return true;
}

bl_block_answer bl_block_search(const bl_block_view *view, const bl_lookup *lookup, uint64_t *tag,
                                bole_slice *value)
{
    uint32_t at, end;
    if (bl_unlikely(lookup->comparator != NULL))
        return search_user(view, lookup, tag, value);
    if (compare_prefix(view, lookup->key) != 0 || !find_run(view, lookup->key, &at, &end))
        return BL_BLOCK_ABSENT;
    if (view->hashes != NULL)
        return search_hashes(view, lookup, at, end, tag, value);
    return search_run(view, lookup, at, end, tag, value);
}

uint32_t bl_block_prefetch(const bl_block_view *view, bole_slice key)
{
    if (key.size < view->prefix_bytes)
        return view->count;
    uint32_t at = count_below(view, head_of(view, key));
    if (at != view->count)
        prefetch_record(view, at);
    return at;
}

void bl_block_prefetch_found(const bl_block_view *view, const bl_lookup *lookup)
{
    uint32_t at, end;
    if (view->hashes == NULL) {
        (void)bl_block_prefetch(view, lookup->key);
        return;
    }
    if (lookup->key.size < view->prefix_bytes || !find_run(view, lookup->key, &at, &end))
        return;
    at = next_of_hash(view->hashes, bl_block_hash(lookup->hash), at, end);
    if (at != end)
        prefetch_record(view, at);
}

uint32_t bl_block_lower_bound(const bl_block_view *view, bl_comparator *comparator, bole_slice key)
{
    if (bl_unlikely(comparator != NULL)) {
        bool equal;
        return first_not_before_user(view, comparator, key, UINT64_MAX, &equal);
    }
    int order = compare_prefix(view, key);
    if (order != 0)
        return order < 0 ? view->count : 0;
    uint64_t head = head_of(view, key);
    uint32_t at = count_below(view, head);
    if (at == view->count || head_at(view, at) != head)
        return at;
    return first_not_before(view, key, UINT64_MAX, at, run_end(view, head, at));
}

void bl_block_window(const bl_block_view *view, bl_cursor *cursor)
{
    cursor->kind = BL_WINDOW_BLOCK;
    cursor->index = 0;
    cursor->count = view->count;
    cursor->wide_heads = view->wide_heads;
    cursor->wide_offsets = view->wide_offsets;
    cursor->prefix_bytes = view->prefix_bytes;
    cursor->stride = view->offsets == NULL ? view->stride : 0;
    cursor->heads = view->heads;
    cursor->offsets = view->offsets;
    cursor->tags = view->tags;
    cursor->records = view->records;
    if (view->prefix_bytes != 0)
        memcpy(cursor->key_buffer, view->prefix, view->prefix_bytes);
}
