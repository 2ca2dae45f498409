/* SPDX-License-Identifier: MIT */
/* block_index.c -- finding a block: section bytes to memory, and the search.
 *
 * SEARCH      Heads of every 8th block, then of every 16th of those, and so on: each level is one node of 16
 *             heads (two cache lines), compared whole; only the group at the bottom may miss the cache. With
 *             h the key's head, each step counts the heads below h; the entries that no head is below are
 *             the candidates. For 15,000 blocks: 3 nodes (of heads that take 17 KiB in all) and one group.
 * SKIPS       A node's heads are not the first 8 bytes of its separators: a key that is led to it lies above the
 *             last separator before it and not above its own last one, so key and separators begin with what those
 *             two share, and heads begin behind that. Keys that share long prefixes (paths) are so told apart by
 *             heads; in a segment of 10,000 such blocks half of all heads behind the common prefix were equal.
 * EQUAL HEADS The first separator with an equal head need not be the first that is >= the key: the equal ones of
 *             the node are gone through by their tails, which lie together.
 * INVARIANTS  INDEX-1 in block_index.h.
 *             (INDEX-2) Separators never fall in byte order (checked when the index is made), and a node's padding
 *             is UINT64_MAX. So for a key that is not above the last one every step finds a child that exists.
 * THREADS     Any. */
#include "segment/block_index.h"

#include "base/assert.h"
#include "base/buffer.h"
#include "base/coding.h"
#include "base/prefetch.h"
#include "base/slice.h"
#include "base/status.h"
#include "segment/block.h"
#include "segment/head_search.h"
#include "segment/head_search_avx2.h"

enum { SECTION_WHOLE = 1, BYTES_A_BLOCK = 8 + 8 + 4 + 4 + 2, HEAD_BYTES = 8 };
enum { TAILS_UNIT = 8, LINE_BYTES = 64, LINES_ASKED = 4 /* of tails, at once */ };
#define SEPARATORS_MAX UINT32_MAX

BL_STATIC_ASSERT(sizeof(bl_block_index_group) == 128, "a group is two cache lines");

/* ---- From section to memory ---- */

/* The header's fields and the places of the arrays; in memory as in the section each array follows the
 * other. */
typedef struct section_parts {
    uint64_t count, rests_bytes;
    uint32_t prefix_bytes;
    bool whole;
    const uint8_t *heads, *offsets, *stored, *frames, *lengths, *prefix, *rests;
} section_parts;

/* Of the separator of block `ordinal` behind prefix and head. */
static uint64_t rest_bytes(const section_parts *parts, uint64_t ordinal)
{
    uint64_t length = bl_get_u16(parts->lengths + 2 * ordinal), in_head = parts->whole ? 0 : HEAD_BYTES;
    return length > in_head ? length - in_head : 0;
}

static bole_status read_parts(bole_slice section, const char *file, uint64_t offset, section_parts *out,
                              bole_error *error)
{
    const uint8_t *data = section.data;
    if (section.size < BL_INDEX_HEADER_BYTES)
        return bl_corrupt(error, file, offset, "a block index of %zu bytes", section.size);
    uint32_t flags = bl_get_u32(data + 12);
    out->count = bl_get_u64(data);
    out->prefix_bytes = bl_get_u32(data + 8);
    out->rests_bytes = bl_get_u64(data + 16);
    out->whole = (flags & SECTION_WHOLE) != 0;
    if ((flags & ~(uint32_t)SECTION_WHOLE) != 0 || bl_get_u64(data + 24) != 0)
        return bl_fail(error, BOLE_UNSUPPORTED, "%s: block index flags 0x%x", file, flags);
    uint64_t remain = section.size - BL_INDEX_HEADER_BYTES;
    if (out->count == 0 || out->count > remain / BYTES_A_BLOCK)
        return bl_corrupt(error, file, offset, "a block index of %llu blocks in %zu bytes",
                          (unsigned long long)out->count, section.size);
    remain -= out->count * BYTES_A_BLOCK;
    if (out->prefix_bytes > BOLE_KEY_BYTES_MAX || out->prefix_bytes > remain ||
        out->rests_bytes != remain - out->prefix_bytes || out->rests_bytes > SEPARATORS_MAX ||
        (out->whole && out->prefix_bytes != 0))
        return bl_corrupt(error, file, offset, "separators of a block index do not fit");
    out->heads = data + BL_INDEX_HEADER_BYTES;
    out->offsets = out->heads + 8 * out->count;
    out->stored = out->offsets + 8 * out->count;
    out->frames = out->stored + 4 * out->count;
    out->lengths = out->frames + 4 * out->count;
    out->prefix = out->lengths + 2 * out->count;
    out->rests = out->prefix + out->prefix_bytes;
    uint64_t rests = 0, separators = 0;
    for (uint64_t i = 0; i < out->count; i++) {
        uint64_t length = bl_get_u16(out->lengths + 2 * i);
        rests += rest_bytes(out, i);
        separators += length;
        if (length + out->prefix_bytes > BOLE_KEY_BYTES_MAX)
            return bl_corrupt(error, file, offset, "separator %llu does not fit", (unsigned long long)i);
    }
    if (rests != out->rests_bytes || separators > SEPARATORS_MAX)
        return bl_corrupt(error, file, offset, "separators of a block index do not fit");
    return BOLE_OK;
}

/* Heads of a level over `count` heads (or groups): one for each node below, padded to whole nodes. */
static uint64_t groups_of(uint64_t blocks)
{
    return (blocks + BL_INDEX_GROUP_BLOCKS - 1) / BL_INDEX_GROUP_BLOCKS;
}
static uint64_t nodes_of(uint64_t count) { return (count + BL_INDEX_NODE_HEADS - 1) / BL_INDEX_NODE_HEADS; }

/* Of `at`, which stands for `blocks` blocks in its level: the last one of all `count`, whose separator it shows. */
static inline uint64_t last_block(uint64_t count, uint64_t at, uint64_t blocks)
{
    uint64_t end = (at + 1) * blocks;
    return (end < count ? end : count) - 1;
}

typedef struct index_shape {
    uint64_t groups, nodes, heads; /* heads of all levels; their nodes, and one for each group */
    uint64_t tails;                /* bytes, at most */
    size_t memory;                 /* all of it */
} index_shape;

static uint64_t node_tails(uint32_t width, uint64_t rests)
{
    return (2 * width + rests + TAILS_UNIT - 1) / TAILS_UNIT * TAILS_UNIT;
}

static index_shape shape_of(const section_parts *parts)
{
    uint64_t heads = groups_of(parts->count), blocks = BL_INDEX_GROUP_BLOCKS;
    index_shape shape = { .groups = heads, .nodes = heads };
    shape.tails = heads * node_tails(BL_INDEX_GROUP_BLOCKS, TAILS_UNIT) + parts->rests_bytes;
    for (uint64_t nodes = 0; nodes != 1; heads = nodes, blocks *= BL_INDEX_NODE_HEADS) {
        nodes = nodes_of(heads);
        shape.nodes += nodes;
        shape.heads += nodes * BL_INDEX_NODE_HEADS;
        shape.tails += nodes * node_tails(BL_INDEX_NODE_HEADS, TAILS_UNIT);
        for (uint64_t i = 0; i < heads; i++)
            shape.tails += rest_bytes(parts, last_block(parts->count, i, blocks));
    }
    if (parts->whole) /* searched without them */
        shape.nodes = shape.heads = shape.tails = 0;
    shape.tails = (shape.tails + TAILS_UNIT - 1) / TAILS_UNIT *
                  TAILS_UNIT; /* what stands behind them is aligned */
    uint64_t bytes = shape.groups * sizeof(bl_block_index_group) + shape.heads * sizeof(uint64_t) +
                     shape.nodes * sizeof(bl_block_index_node) + shape.tails;
    bytes += parts->count * (8 + 4 + 4 + 4) + 4;             /* offsets, stored, frames, starts */
    bytes += parts->count * (parts->whole ? 0 : HEAD_BYTES); /* of the separators, at most */
    shape.memory = bytes + parts->prefix_bytes + parts->rests_bytes;
    return shape;
}

bole_status bl_block_index_measure(bole_slice section, const char *file, uint64_t offset,
                                   size_t *memory_bytes, bole_error *error)
{
    section_parts parts;
    *memory_bytes = 0;
    bole_status status = read_parts(section, file, offset, &parts, error);
    if (status == BOLE_OK)
        *memory_bytes = shape_of(&parts).memory;
    return status;
}

/* Separator bytes behind the prefix (with a user's comparator: all). */
static inline bole_slice separator_at(const bl_block_index *index, uint64_t ordinal)
{
    uint32_t begin = index->starts[ordinal];
    return bl_slice(index->separators + begin, index->starts[ordinal + 1] - begin);
}

/* A node: what its separators share with the one before them and so with all between, heads behind that, and behind the
 * heads the tails. Place i of it, which is place begin + i of its level, shows the last of `blocks` blocks. Returns the
 * end of the tails. */
static uint8_t *fill_node(const bl_block_index *index, bl_block_index_node *node, uint64_t *heads,
                          uint32_t width, uint64_t begin, uint64_t blocks, uint8_t *tails)
{
    uint64_t first = begin * blocks, last = last_block(index->count, begin + width - 1, blocks);
    *node = (bl_block_index_node){ 0 };
    if (first != 0)
        node->skip = (uint16_t)bl_slice_common_prefix(separator_at(index, first - 1),
                                                      separator_at(index, last));
    node->tails = (uint32_t)((size_t)(tails - index->tails) / TAILS_UNIT);
    memset(tails, 0, 2 * (size_t)width);
    uint8_t *out = tails + 2 * (size_t)width;
    for (uint32_t i = 0; i < width; i++) {
        heads[i] = UINT64_MAX;
        if (begin * blocks + i * blocks >= index->count)
            continue;
        bole_slice separator = separator_at(index, last_block(index->count, begin + i, blocks));
        size_t length = separator.size - node->skip, tail = length > HEAD_BYTES ? length - HEAD_BYTES : 0;
        heads[i] = bl_head64(separator.data, separator.size, node->skip);
        bl_put_u16(tails + 2 * (size_t)i, (uint16_t)length);
        if (tail != 0)
            memcpy(out, (const uint8_t *)separator.data + separator.size - tail, tail);
        out += tail;
    }
    size_t bytes = (size_t)(out - tails), lines = (bytes + LINE_BYTES - 1) / LINE_BYTES;
    if (bytes > 2 * (size_t)width)
        node->lines = (uint16_t)(lines < LINES_ASKED ? lines : LINES_ASKED);
    return tails + node_tails(width, bytes - 2 * width);
}

/* Groups with their slots empty, and the levels above them, from separators that are there. */
static void fill_nodes(bl_block_index *index, const index_shape *shape, uint64_t *heads,
                       bl_block_index_node *nodes, uint8_t *tails)
{
    index->tails = tails;
    index->group_nodes = nodes;
    for (uint64_t i = 0; i < shape->groups; i++, nodes++) {
        for (uint32_t j = 0; j < BL_INDEX_GROUP_BLOCKS; j++)
            atomic_init(&index->groups[i].slots[j], NULL);
        if (!index->whole)
            tails = fill_node(index, nodes, index->groups[i].heads, BL_INDEX_GROUP_BLOCKS,
                              i * BL_INDEX_GROUP_BLOCKS, 1, tails);
    }
    uint64_t blocks = BL_INDEX_GROUP_BLOCKS, below = shape->groups, count = 0;
    for (index->level_count = 0; count != 1 && !index->whole; below = count, blocks *= BL_INDEX_NODE_HEADS) {
        bl_assert(index->level_count < BL_INDEX_LEVELS_MAX);
        index->levels[index->level_count] = heads;
        index->level_nodes[index->level_count++] = nodes;
        count = nodes_of(below);
        for (uint64_t i = 0; i < count; i++, nodes++, heads += BL_INDEX_NODE_HEADS)
            tails = fill_node(index, nodes, heads, BL_INDEX_NODE_HEADS, i * BL_INDEX_NODE_HEADS, blocks,
                              tails);
    }
    bl_assert(tails <= index->tails + shape->tails);
}

/* Where the arrays of blocks go. */
typedef struct block_arrays {
    uint64_t *offsets;
    uint32_t *stored, *frames, *starts;
    uint8_t *separators;
} block_arrays;

/* Places rise without overlap within the block area, sizes are possible, separators do not fall. */
static bole_status fill_blocks(const section_parts *parts, uint64_t blocks_begin, uint64_t blocks_end,
                               const block_arrays *to, const char *file, uint64_t offset, bole_error *error)
{
    uint64_t end = blocks_begin;
    const uint8_t *rest = parts->rests;
    uint8_t *out = to->separators;
    bole_slice last = bl_slice(out, 0);
    for (uint64_t i = 0; i < parts->count; i++) {
        uint64_t place = bl_get_u64(parts->offsets + 8 * i);
        uint32_t stored = bl_get_u32(parts->stored + 4 * i), frame = bl_get_u32(parts->frames + 4 * i);
        size_t length = bl_get_u16(parts->lengths + 2 * i), in_head = 0;
        if (place < end || place > blocks_end || stored > blocks_end - place ||
            stored < BL_BLOCK_HEADER_BYTES || frame < stored || frame > BL_BLOCK_BYTES_MAX)
            return bl_corrupt(error, file, offset, "block %llu at %llu + %u does not lie in the block area",
                              (unsigned long long)i, (unsigned long long)place, stored);
        if (!bl_block_ratio_fits(stored - BL_BLOCK_HEADER_BYTES, frame - BL_BLOCK_HEADER_BYTES))
            return bl_corrupt(error, file, offset, "block %llu would be %u bytes in memory, from %u",
                              (unsigned long long)i, frame, stored);
        if (!parts->whole) {
            uint8_t head[HEAD_BYTES];
            bl_put_u64(head, __builtin_bswap64(bl_get_u64(parts->heads + 8 * i)));
            in_head = length < HEAD_BYTES ? length : HEAD_BYTES;
            memcpy(out, head, in_head);
        }
        if (length > in_head)
            memcpy(out + in_head, rest, length - in_head);
        bole_slice separator = bl_slice(out, length);
        if (!parts->whole && bl_slice_compare(last, separator) > 0)
            return bl_corrupt(error, file, offset, "separator %llu is out of order", (unsigned long long)i);
        to->offsets[i] = place;
        to->stored[i] = stored;
        to->frames[i] = frame;
        to->starts[i] = (uint32_t)(out - to->separators);
        end = place + stored;
        rest += length - in_head;
        out += length;
        last = separator;
    }
    to->starts[parts->count] = (uint32_t)(out - to->separators);
    return BOLE_OK;
}

bole_status bl_block_index_init(bl_block_index *index, void *memory, size_t memory_bytes, bole_slice section,
                                uint64_t blocks_begin, uint64_t blocks_end, const char *file, uint64_t offset,
                                bole_error *error)
{
    section_parts parts;
    *index = (bl_block_index){ 0 };
    bole_status status = read_parts(section, file, offset, &parts, error);
    if (status != BOLE_OK)
        return status;
    index->groups = memory;
    index_shape shape = shape_of(&parts);
    bl_assert((uintptr_t)memory % BL_INDEX_ALIGNMENT == 0 && memory_bytes >= shape.memory);
    uint64_t *levels = (uint64_t *)(void *)(index->groups + shape.groups);
    bl_block_index_node *nodes = (bl_block_index_node *)(void *)(levels + shape.heads);
    uint8_t *tails = (uint8_t *)(nodes + shape.nodes);
    block_arrays to = { .offsets = (uint64_t *)(void *)(tails + shape.tails) };
    to.stored = (uint32_t *)(to.offsets + parts.count);
    to.frames = to.stored + parts.count;
    to.starts = to.frames + parts.count;
    uint8_t *prefix = (uint8_t *)(to.starts + parts.count + 1);
    to.separators = prefix + parts.prefix_bytes;
    status = fill_blocks(&parts, blocks_begin, blocks_end, &to, file, offset, error);
    if (status != BOLE_OK) {
        *index = (bl_block_index){ 0 };
        return status;
    }
    bl_assert(to.separators + to.starts[parts.count] <= (uint8_t *)memory + memory_bytes);
    memcpy(prefix, parts.prefix, parts.prefix_bytes);
    index->count = parts.count;
    index->prefix_bytes = parts.prefix_bytes;
    index->whole = parts.whole;
    index->prefix = prefix;
    index->offsets = to.offsets;
    index->stored_bytes = to.stored;
    index->frame_bytes = to.frames;
    index->starts = to.starts;
    index->separators = to.separators;
    bole_slice last = separator_at(index, index->count - 1);
    index->last_head = parts.whole ? 0 : bl_head64(last.data, last.size, 0);
    fill_nodes(index, &shape, levels, nodes, tails);
    return BOLE_OK;
}

/* ---- Search ---- */

/* All separators against `key` as far as the prefix tells: <0 all below, >0 all above, 0 not known. */
static inline int compare_prefix(const bl_block_index *index, bole_slice key)
{
    size_t common = key.size < index->prefix_bytes ? key.size : index->prefix_bytes;
    int order = bl_bytes_compare(index->prefix, key.data, common);
    if (order != 0)
        return order;
    return key.size < index->prefix_bytes;
}

static inline uint64_t head_of(const bl_block_index *index, bole_slice key, uint16_t skip)
{
    return bl_head64(key.data, key.size, (size_t)index->prefix_bytes + skip);
}

/* `key` against a whole separator: <0, 0, >0. */
static int compare_whole(const bl_block_index *index, bole_slice key, uint64_t ordinal)
{
    bole_slice rest = bl_slice((const uint8_t *)key.data + index->prefix_bytes,
                               key.size - index->prefix_bytes);
    return bl_slice_compare(rest, separator_at(index, ordinal));
}

/* Of the heads of a node, `at` is the first that is not below the key's, and equal: of which place on is the separator
 * not below the key? It is one of the node's. */
static uint32_t among_equals(const bl_block_index *index, const bl_block_index_node *node,
                             const uint64_t *heads, uint32_t width, uint32_t at, bole_slice key)
{
    const uint8_t *lengths = index->tails + (size_t)node->tails * TAILS_UNIT,
                  *tail = lengths + 2 * (size_t)width;
    size_t from = (size_t)index->prefix_bytes + node->skip, rest = key.size - from;
    bole_slice key_tail = { NULL, 0 };
    if (rest > HEAD_BYTES)
        key_tail = bl_slice((const uint8_t *)key.data + from + HEAD_BYTES, rest - HEAD_BYTES);
    uint64_t head = heads[at];
    for (uint32_t i = 0; i < width && heads[i] <= head; i++) {
        size_t length = bl_get_u16(lengths + 2 * (size_t)i);
        size_t bytes = length > HEAD_BYTES ? length - HEAD_BYTES : 0;
        if (i >= at) {
            int order = bl_slice_compare_short(bl_slice(tail, bytes), key_tail);
            if (order == 0)
                order = length < rest ? -1 : 1; /* where both end within the head, their sizes decide */
            if (order > 0)
                return i;
            at = i + 1;
        }
        tail += bytes;
    }
    return at;
}

static inline const uint64_t *heads_of(const bl_block_index *index, uint32_t level, uint64_t node)
{
    return index->levels[level] + node * BL_INDEX_NODE_HEADS;
}

/* Of a node's heads `at` are below the key's: of how many is the separator? */
static inline uint32_t settle(const bl_block_index *index, const bl_block_index_node *node,
                              const uint64_t *heads, uint32_t width, uint64_t head, uint32_t at,
                              bole_slice key)
{
    bl_debug_assert(at < width);
    return bl_likely(heads[at] != head) ? at : among_equals(index, node, heads, width, at, key);
}

/* From a node to the node or group below it where a search goes on. */
static inline uint64_t step_down(const bl_block_index *index, uint32_t level, uint64_t node, uint64_t head,
                                 uint32_t at, bole_slice key)
{
    return node * BL_INDEX_NODE_HEADS + settle(index, &index->level_nodes[level][node],
                                               heads_of(index, level, node), BL_INDEX_NODE_HEADS, head, at,
                                               key);
}

/* The walk is one function for each kind of processor, so that nothing is decided at each node. */
#if defined(__x86_64__)
BL_AVX2 static uint64_t find_group_avx2(const bl_block_index *index, bole_slice key)
{
    uint64_t node = 0;
    for (uint32_t level = index->level_count; level-- > 0;) {
        uint64_t head = head_of(index, key, index->level_nodes[level][node].skip);
        uint32_t below = bl_head_search_16_avx2(heads_of(index, level, node), head);
        node = step_down(index, level, node, head, below, key);
    }
    return node;
}

BL_AVX2 static uint32_t search_group_avx2(const bl_block_index_group *group, uint64_t head)
{
    return bl_head_search_8_avx2(group->heads, head);
}
#define HAVE_AVX2 __builtin_cpu_supports("avx2")
#else
#define HAVE_AVX2 0
#define find_group_avx2(index, key) 0
#define search_group_avx2(group, head) 0
#endif

/* The group that holds the first separator not below `key`, which is not above the last one. */
static inline uint64_t find_group(const bl_block_index *index, bole_slice key)
{
    if (HAVE_AVX2)
        return find_group_avx2(index, key);
    uint64_t node = 0;
    for (uint32_t level = index->level_count; level-- > 0;) {
        uint64_t head = head_of(index, key, index->level_nodes[level][node].skip);
        uint32_t below = bl_head_search_16_scalar(heads_of(index, level, node), head);
        node = step_down(index, level, node, head, below, key);
    }
    return node;
}

/* How many heads of the group are below `head`. */
static inline uint32_t search_group(const bl_block_index_group *group, uint64_t head)
{
    return HAVE_AVX2 ? search_group_avx2(group, head) : bl_head_search_8_scalar(group->heads, head);
}

static uint64_t search_whole(const bl_block_index *index, bl_comparator *comparator, bole_slice key)
{
    uint64_t low = 0, high = index->count;
    while (low < high) {
        uint64_t middle = low + (high - low) / 2;
        if (bl_compare(comparator, separator_at(index, middle), key) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

/* Is `key` to be looked for in the nodes? Not if the order is a user's, or it lies outside of all separators: *at,
 * then. */
static inline bool lies_within(const bl_block_index *index, bl_comparator *comparator, bole_slice key,
                               uint64_t *at)
{
    bl_debug_assert((comparator != NULL) == index->whole);
    if (bl_unlikely(comparator != NULL)) {
        *at = search_whole(index, comparator, key);
        return false;
    }
    int order = compare_prefix(index, key);
    if (bl_likely(order == 0)) {
        uint64_t head = head_of(index, key, 0);
        order = head < index->last_head ? 0 : -1;
        if (bl_unlikely(head == index->last_head && compare_whole(index, key, index->count - 1) <= 0))
            order = 0;
    }
    *at = order > 0 ? 0 : index->count;
    return order == 0;
}

/* Finish in a group. */
static inline uint64_t finish(const bl_block_index *index, bole_slice key, uint64_t group)
{
    const bl_block_index_group *here = &index->groups[group];
    const bl_block_index_node *node = &index->group_nodes[group];
    uint64_t head = head_of(index, key, node->skip);
    uint32_t at = settle(index, node, here->heads, BL_INDEX_GROUP_BLOCKS, head, search_group(here, head),
                         key);
    bl_debug_assert(group * BL_INDEX_GROUP_BLOCKS + at < index->count);
    return group * BL_INDEX_GROUP_BLOCKS + at;
}

static inline void prefetch_group(const bl_block_index *index, uint64_t group)
{
    bl_prefetch(index->groups[group].heads);
    bl_prefetch(index->groups[group].slots);
    const bl_block_index_node *node = &index->group_nodes[group];
    for (uint32_t i = 0; i < node->lines; i++)
        bl_prefetch(index->tails + (size_t)node->tails * TAILS_UNIT + i * (size_t)LINE_BYTES);
}

bl_block_index_place bl_block_index_search_begin(const bl_block_index *index, bl_comparator *comparator,
                                                 bole_slice key)
{
    bl_block_index_place place;
    place.open = lies_within(index, comparator, key, &place.at);
    if (bl_likely(place.open)) {
        place.at = find_group(index, key);
        prefetch_group(index, place.at);
    }
    return place;
}

uint64_t bl_block_index_search_end(const bl_block_index *index, bole_slice key, bl_block_index_place place)
{
    return bl_likely(place.open) ? finish(index, key, place.at) : place.at;
}

uint64_t bl_block_index_search(const bl_block_index *index, bl_comparator *comparator, bole_slice key)
{
    return bl_block_index_search_end(index, key, bl_block_index_search_begin(index, comparator, key));
}

bool bl_block_index_separator(const bl_block_index *index, uint64_t ordinal, bole_buffer *out)
{
    bl_assert(ordinal < index->count);
    bole_slice separator = separator_at(index, ordinal);
    out->size = 0;
    return bl_buffer_append(out, index->prefix, index->prefix_bytes) &&
           bl_buffer_append(out, separator.data, separator.size);
}
