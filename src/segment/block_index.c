/* SPDX-License-Identifier: MIT */
/* block_index.c -- finding a block: section bytes to memory, and the search.
 *
 * SEARCH      Heads of every 8th block, then of every 16th of those, and so on: each level is one node of 16
 *             heads (two cache lines), compared whole; only the group at the bottom may miss the cache. With
 *             h the key's head, each step counts the heads below h; the entries that no head is below are
 *             the candidates. For 15,000 blocks: 3 nodes (15 KiB in all) and one group.
 * EQUAL HEADS The first separator with an equal head need not be the first that is >= the key: the run of
 *             equal heads is searched by halves with whole separators.
 * INVARIANTS  INDEX-1 in block_index.h.
 *             (INDEX-2) Heads never fall (checked when the index is made), and a node's padding is
 *             UINT64_MAX. So for a head that is not above the last one every step finds a child that exists.
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

enum { SECTION_WHOLE = 1, BYTES_A_BLOCK = 8 + 8 + 4 + 4 + 2 };
#define RESTS_MAX UINT32_MAX

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
        out->rests_bytes != remain - out->prefix_bytes || out->rests_bytes > RESTS_MAX ||
        (out->whole && out->prefix_bytes != 0))
        return bl_corrupt(error, file, offset, "separators of a block index do not fit");
    out->heads = data + BL_INDEX_HEADER_BYTES;
    out->offsets = out->heads + 8 * out->count;
    out->stored = out->offsets + 8 * out->count;
    out->frames = out->stored + 4 * out->count;
    out->lengths = out->frames + 4 * out->count;
    out->prefix = out->lengths + 2 * out->count;
    out->rests = out->prefix + out->prefix_bytes;
    return BOLE_OK;
}

/* Heads of a level over `count` heads (or groups): one for each node below, padded to whole nodes. */
static uint64_t nodes_of(uint64_t count) { return (count + BL_INDEX_NODE_HEADS - 1) / BL_INDEX_NODE_HEADS; }

static size_t memory_of(const section_parts *parts)
{
    uint64_t groups = (parts->count + BL_INDEX_GROUP_BLOCKS - 1) / BL_INDEX_GROUP_BLOCKS;
    uint64_t bytes = groups * sizeof(bl_block_index_group);
    for (uint64_t heads = groups;; heads = nodes_of(heads)) {
        bytes += nodes_of(heads) * BL_INDEX_NODE_HEADS * sizeof(uint64_t);
        if (nodes_of(heads) == 1)
            break;
    }
    bytes += parts->count * (8 + 4 + 4 + 4 + 2) + 4; /* offsets, stored, frame, rest starts, lengths */
    return bytes + parts->prefix_bytes + parts->rests_bytes;
}

bole_status bl_block_index_measure(bole_slice section, const char *file, uint64_t offset,
                                   size_t *memory_bytes, bole_error *error)
{
    section_parts parts;
    *memory_bytes = 0;
    bole_status status = read_parts(section, file, offset, &parts, error);
    if (status == BOLE_OK)
        *memory_bytes = memory_of(&parts);
    return status;
}

/* Groups with their slots empty, and the levels above them. Returns the end of the levels. */
static uint8_t *fill_groups(bl_block_index *index, const section_parts *parts, uint8_t *memory)
{
    uint64_t groups = (parts->count + BL_INDEX_GROUP_BLOCKS - 1) / BL_INDEX_GROUP_BLOCKS;
    index->groups = (bl_block_index_group *)(void *)memory;
    for (uint64_t i = 0; i < groups * BL_INDEX_GROUP_BLOCKS; i++) {
        bl_block_index_group *group = &index->groups[i / BL_INDEX_GROUP_BLOCKS];
        unsigned at = (unsigned)(i % BL_INDEX_GROUP_BLOCKS);
        group->heads[at] = i < parts->count ? bl_get_u64(parts->heads + 8 * i) : UINT64_MAX;
        atomic_init(&group->slots[at], NULL);
    }
    uint64_t *level = (uint64_t *)(void *)(index->groups + groups);
    for (uint64_t i = 0; i < groups; i++)
        level[i] = index->groups[i].heads[BL_INDEX_GROUP_BLOCKS - 1];
    index->level_count = 0;
    for (uint64_t heads = groups;;) {
        uint64_t nodes = nodes_of(heads), padded = nodes * BL_INDEX_NODE_HEADS;
        for (uint64_t i = heads; i < padded; i++)
            level[i] = UINT64_MAX;
        bl_assert(index->level_count < BL_INDEX_LEVELS_MAX);
        index->levels[index->level_count++] = level;
        if (nodes == 1)
            return (uint8_t *)(level + padded);
        for (uint64_t i = 0; i < nodes; i++)
            level[padded + i] = level[i * BL_INDEX_NODE_HEADS + BL_INDEX_NODE_HEADS - 1];
        level += padded;
        heads = nodes;
    }
}

/* A separator's bytes behind prefix and head. */
static size_t rest_bytes(uint64_t length, bool whole)
{
    if (whole)
        return length;
    return length > 8 ? length - 8 : 0;
}

/* Places rise without overlap within the block area, sizes are possible, heads do not fall, lengths sum up.
 * */
static bole_status fill_cold(const section_parts *parts, uint64_t blocks_begin, uint64_t blocks_end,
                             uint64_t *offsets, uint32_t *stored, uint32_t *frames, uint32_t *rest_starts,
                             uint16_t *lengths, const char *file, uint64_t offset, bole_error *error)
{
    uint64_t end = blocks_begin, rest_end = 0;
    for (uint64_t i = 0; i < parts->count; i++) {
        offsets[i] = bl_get_u64(parts->offsets + 8 * i);
        stored[i] = bl_get_u32(parts->stored + 4 * i);
        frames[i] = bl_get_u32(parts->frames + 4 * i);
        lengths[i] = bl_get_u16(parts->lengths + 2 * i);
        rest_starts[i] = (uint32_t)rest_end;
        if (offsets[i] < end || offsets[i] > blocks_end || stored[i] > blocks_end - offsets[i] ||
            stored[i] < BL_BLOCK_HEADER_BYTES || frames[i] < stored[i] || frames[i] > BL_BLOCK_BYTES_MAX)
            return bl_corrupt(error, file, offset, "block %llu at %llu + %u does not lie in the block area",
                              (unsigned long long)i, (unsigned long long)offsets[i], stored[i]);
        if (!bl_block_ratio_fits(stored[i] - BL_BLOCK_HEADER_BYTES, frames[i] - BL_BLOCK_HEADER_BYTES))
            return bl_corrupt(error, file, offset, "block %llu would be %u bytes in memory, from %u",
                              (unsigned long long)i, frames[i], stored[i]);
        if (i > 0 && bl_get_u64(parts->heads + 8 * i) < bl_get_u64(parts->heads + 8 * (i - 1)))
            return bl_corrupt(error, file, offset, "separator %llu is out of order", (unsigned long long)i);
        end = offsets[i] + stored[i];
        rest_end += rest_bytes(lengths[i], parts->whole);
        if (lengths[i] + parts->prefix_bytes > BOLE_KEY_BYTES_MAX || rest_end > parts->rests_bytes)
            return bl_corrupt(error, file, offset, "separator %llu does not fit", (unsigned long long)i);
    }
    rest_starts[parts->count] = (uint32_t)rest_end;
    if (rest_end != parts->rests_bytes)
        return bl_corrupt(error, file, offset, "bytes behind the last separator");
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
    bl_assert((uintptr_t)memory % BL_INDEX_ALIGNMENT == 0 && memory_bytes >= memory_of(&parts));
    uint64_t *offsets = (uint64_t *)(void *)fill_groups(index, &parts, memory);
    uint32_t *stored = (uint32_t *)(offsets + parts.count), *frames = stored + parts.count;
    uint32_t *rest_starts = frames + parts.count;
    uint16_t *lengths = (uint16_t *)(rest_starts + parts.count + 1);
    uint8_t *prefix = (uint8_t *)(lengths + parts.count), *rests = prefix + parts.prefix_bytes;
    bl_assert(rests + parts.rests_bytes <= (uint8_t *)memory + memory_bytes);
    status = fill_cold(&parts, blocks_begin, blocks_end, offsets, stored, frames, rest_starts, lengths, file,
                       offset, error);
    if (status != BOLE_OK) {
        *index = (bl_block_index){ 0 };
        return status;
    }
    memcpy(prefix, parts.prefix, parts.prefix_bytes);
    memcpy(rests, parts.rests, parts.rests_bytes);
    index->count = parts.count;
    index->last_head = bl_get_u64(parts.heads + 8 * (parts.count - 1));
    index->prefix_bytes = parts.prefix_bytes;
    index->whole = parts.whole;
    index->prefix = prefix;
    index->offsets = offsets;
    index->stored_bytes = stored;
    index->frame_bytes = frames;
    index->rest_starts = rest_starts;
    index->lengths = lengths;
    index->rests = rests;
    return BOLE_OK;
}

/* ---- Search ---- */

static inline uint64_t head_at(const bl_block_index *index, uint64_t ordinal)
{
    return index->groups[ordinal / BL_INDEX_GROUP_BLOCKS].heads[ordinal % BL_INDEX_GROUP_BLOCKS];
}

static inline bole_slice rest_at(const bl_block_index *index, uint64_t ordinal)
{
    uint32_t begin = index->rest_starts[ordinal];
    return bl_slice(index->rests + begin, index->rest_starts[ordinal + 1] - begin);
}

/* All separators against `key` as far as the prefix tells: <0 all below, >0 all above, 0 not known. */
static inline int compare_prefix(const bl_block_index *index, bole_slice key)
{
    size_t common = key.size < index->prefix_bytes ? key.size : index->prefix_bytes;
    int order = bl_bytes_compare(index->prefix, key.data, common);
    if (order != 0)
        return order;
    return key.size < index->prefix_bytes;
}

/* The walk is one function for each kind of processor, so that nothing is decided at each node. */
#if defined(__x86_64__)
BL_AVX2 static uint64_t find_group_avx2(const bl_block_index *index, uint64_t head)
{
    uint64_t node = 0;
    for (uint32_t level = index->level_count; level-- > 0;)
        node = node * BL_INDEX_NODE_HEADS +
               bl_head_search_16_avx2(index->levels[level] + node * BL_INDEX_NODE_HEADS, head);
    return node;
}

BL_AVX2 static uint32_t search_group_avx2(const bl_block_index_group *group, uint64_t head)
{
    return bl_head_search_8_avx2(group->heads, head);
}
#define HAVE_AVX2 __builtin_cpu_supports("avx2")
#else
#define HAVE_AVX2 0
#define find_group_avx2(index, head) 0
#define search_group_avx2(group, head) 0
#endif

/* The group that holds the first head not below `head`, which is at most last_head. */
static inline uint64_t find_group(const bl_block_index *index, uint64_t head)
{
    if (HAVE_AVX2)
        return find_group_avx2(index, head);
    uint64_t node = 0;
    for (uint32_t level = index->level_count; level-- > 0;)
        node = node * BL_INDEX_NODE_HEADS +
               bl_head_search_16_scalar(index->levels[level] + node * BL_INDEX_NODE_HEADS, head);
    return node;
}

/* How many heads of the group are below `head`. */
static inline uint32_t search_group(const bl_block_index_group *group, uint64_t head)
{
    return HAVE_AVX2 ? search_group_avx2(group, head) : bl_head_search_8_scalar(group->heads, head);
}

/* First of [low, high) whose whole separator is >= key; all of them have the key's head. */
static uint64_t resolve(const bl_block_index *index, bole_slice key, uint64_t low, uint64_t high)
{
    size_t rest = key.size - index->prefix_bytes;
    bole_slice tail = rest > 8 ? bl_slice((const uint8_t *)key.data + index->prefix_bytes + 8, rest - 8)
                               : bl_slice(NULL, 0);
    while (low < high) {
        uint64_t middle = low + (high - low) / 2;
        int order = bl_slice_compare(rest_at(index, middle), tail);
        if (order == 0) /* where both end within the head, their sizes decide */
            order = index->lengths[middle] < rest ? -1 : index->lengths[middle] > rest;
        if (order < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

/* First ordinal whose head is not below `head`. */
static uint64_t first_head(const bl_block_index *index, uint64_t head)
{
    if (head > index->last_head)
        return index->count;
    uint64_t group = find_group(index, head);
    return group * BL_INDEX_GROUP_BLOCKS + search_group(&index->groups[group], head);
}

static uint64_t search_whole(const bl_block_index *index, bl_comparator *comparator, bole_slice key)
{
    uint64_t low = 0, high = index->count;
    while (low < high) {
        uint64_t middle = low + (high - low) / 2;
        if (bl_compare(comparator, rest_at(index, middle), key) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

/* The head of `key`, unless the order is a user's, or prefix or last head tell where it lies: *at, then. */
static inline bool has_head(const bl_block_index *index, bl_comparator *comparator, bole_slice key,
                            uint64_t *head, uint64_t *at)
{
    bl_debug_assert((comparator != NULL) == index->whole);
    if (bl_unlikely(comparator != NULL)) {
        *at = search_whole(index, comparator, key);
        return false;
    }
    int order = compare_prefix(index, key);
    *head = order == 0 ? bl_head64(key.data, key.size, index->prefix_bytes) : 0;
    if (bl_likely(order == 0 && *head <= index->last_head))
        return true;
    *at = order > 0 ? 0 : index->count;
    return false;
}

/* Finish in a group. */
static inline uint64_t finish(const bl_block_index *index, bole_slice key, uint64_t head, uint64_t group)
{
    uint64_t at = group * BL_INDEX_GROUP_BLOCKS + search_group(&index->groups[group], head);
    bl_debug_assert(at < index->count);
    if (bl_likely(head_at(index, at) != head))
        return at;
    uint64_t end = head == UINT64_MAX ? index->count : first_head(index, head + 1);
    return resolve(index, key, at, end);
}

static inline void prefetch_group(const bl_block_index *index, uint64_t group)
{
    bl_prefetch(index->groups[group].heads);
    bl_prefetch(index->groups[group].slots);
}

bl_block_index_place bl_block_index_search_begin(const bl_block_index *index, bl_comparator *comparator,
                                                 bole_slice key)
{
    bl_block_index_place place;
    place.open = has_head(index, comparator, key, &place.head, &place.at);
    if (bl_likely(place.open)) {
        place.at = find_group(index, place.head);
        prefetch_group(index, place.at);
    }
    return place;
}

uint64_t bl_block_index_search_end(const bl_block_index *index, bole_slice key, bl_block_index_place place)
{
    return bl_likely(place.open) ? finish(index, key, place.head, place.at) : place.at;
}

uint64_t bl_block_index_search(const bl_block_index *index, bl_comparator *comparator, bole_slice key)
{
    return bl_block_index_search_end(index, key, bl_block_index_search_begin(index, comparator, key));
}

bool bl_block_index_separator(const bl_block_index *index, uint64_t ordinal, bole_buffer *out)
{
    bl_assert(ordinal < index->count);
    bole_slice rest = rest_at(index, ordinal);
    out->size = 0;
    if (index->whole)
        return bl_buffer_assign(out, rest.data, rest.size);
    uint8_t head[8];
    bl_put_u64(head, __builtin_bswap64(head_at(index, ordinal)));
    size_t head_bytes = index->lengths[ordinal] < 8 ? index->lengths[ordinal] : 8;
    bool good = bl_buffer_append(out, index->prefix, index->prefix_bytes);
    good &= bl_buffer_append(out, head, head_bytes);
    good &= bl_buffer_append(out, rest.data, rest.size);
    return good;
}
