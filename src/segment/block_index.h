/* SPDX-License-Identifier: MIT */
/* block_index.h -- which block may hold a key, where it stands in the file, and the slot of its frame.
 *
 * SEPARATORS  Block i has a separator s(i): last key of i <= s(i) < first key of i + 1, the shortest such in
 *             byte order that is easily found. Where no key lies between (the last key of i is the first of
 *             i + 1: its versions span both), for the last block, and with a user's comparator, s(i) is the
 *             last key of i. So separators never fall, and two are equal only while the versions of one key
 *             go on. The first block with s(i) >= key is the only one that may hold the newest version of
 *             `key`; older versions may follow in i + 1 (bl_block_search says BL_BLOCK_CONTINUES).
 * SECTION     offset  size  field                                          (all integers little-endian)
 *                  0     8  count        blocks, at least 1
 *                  8     4  prefix       bytes that all separators begin with (0 with WHOLE)
 *                 12     4  flags        1 = WHOLE (a user's comparator): heads are 0, rests hold all
 *                 16     8  rests        bytes of all rests, below 4 GiB
 *                 24     8  zero
 *                 32     -  heads u64[count]: 8 bytes behind the prefix, big-endian in value, zero-padded
 *                        -  offsets u64[count], stored u32[count], frame u32[count]: file offset, bytes in
 *                           the file and in a frame, each with the block's header
 *                        -  lengths u16[count]: separator bytes behind the prefix (WHOLE: all)
 *                        -  prefix bytes, then the rests: separator bytes behind prefix and head (WHOLE: all)
 *             The checksum of the section stands in the footer's directory.
 * MEMORY      Groups of 8 {heads, slots}, 128 bytes each, so that finding the head brings the pointer; above
 *             them levels of sampled heads, 16 a node, that stay in the cache. A node's heads begin where its
 *             separators begin to differ (SKIPS in block_index.c), and what of them is behind the heads, their
 *             tails, lies together. Offsets and whole separators are cold.
 *
 * INVARIANTS  (INDEX-1) What bl_block_index_init accepted is safe to search, and its blocks lie in the
 *             file's block area, in order, without overlap.
 * THREADS     Immutable but for the slots, whose life is frame_cache's; any thread. */
#ifndef BL_SEGMENT_BLOCK_INDEX_H
#define BL_SEGMENT_BLOCK_INDEX_H

#include <bole/bole.h>
#include "core/comparator.h"

#include <stdatomic.h>

typedef struct bl_frame bl_frame;

enum {
    BL_INDEX_GROUP_BLOCKS = 8,
    BL_INDEX_NODE_HEADS = 16,
    BL_INDEX_LEVELS_MAX = 12,
    BL_INDEX_ALIGNMENT = 128, /* of the memory given to bl_block_index_init */
    BL_INDEX_HEADER_BYTES = 32,
};

typedef struct bl_block_index_group {
    uint64_t heads[BL_INDEX_GROUP_BLOCKS]; /* unused ones at the end: UINT64_MAX */
    _Atomic(bl_frame *) slots[BL_INDEX_GROUP_BLOCKS];
} bl_block_index_group;

/* Of a node, and of a group. */
typedef struct bl_block_index_node {
    uint32_t tails; /* place in the index's tails: u16 bytes of each separator behind `skip`; those behind the head */
    uint16_t skip;  /* bytes behind the prefix that its separators share with every key that is looked for there */
    uint16_t lines; /* of the tails to ask for before they are needed; 0: they are empty */
} bl_block_index_node;

typedef struct bl_block_index {
    uint64_t count;
    bl_block_index_group *groups;
    /* levels[0]: of each group a head of its last separator; levels[i + 1]: of each node of levels[i]; the top one is a
     * single node. Padded with UINT64_MAX to whole nodes. What belongs to each node, and to each group: below. */
    const uint64_t *levels[BL_INDEX_LEVELS_MAX];
    const bl_block_index_node *level_nodes[BL_INDEX_LEVELS_MAX], *group_nodes;
    const uint8_t *tails;
    uint32_t level_count;
    uint64_t last_head;    /* of the last separator: above that nothing is looked for */
    uint32_t prefix_bytes;
    bool whole;            /* a user's comparator: of groups only the slots are there, and no level */
    const uint8_t *prefix;
    const uint64_t *offsets;
    const uint32_t *stored_bytes, *frame_bytes;
    const uint32_t *starts;    /* count + 1: of the separators */
    const uint8_t *separators; /* their bytes behind the prefix, one behind the other */
} bl_block_index;

/* ---- Reading. The section's bytes were checked against their checksum; `file` and `offset` (of the section)
 *      go into messages. ---- */

/* Bytes of memory that bl_block_index_init wants for this section; at most twice the section's size,
 * and 512, and for each level what its separators have behind prefix and head. (A level is a 16th of the one below.) */
BOLE_CHECKED bole_status bl_block_index_measure(bole_slice section, const char *file, uint64_t offset,
                                                size_t *memory_bytes, bole_error *error);
/* Build the index in `memory` (BL_INDEX_ALIGNMENT-aligned, as measured, not zeroed; the caller's, and frees
 * it after the index' last use). Nothing points into `section` afterwards; all slots are NULL. Every block
 * must lie within [blocks_begin, blocks_end) of the file. */
BOLE_CHECKED bole_status bl_block_index_init(bl_block_index *index, void *memory, size_t memory_bytes,
                                             bole_slice section, uint64_t blocks_begin, uint64_t blocks_end,
                                             const char *file, uint64_t offset, bole_error *error);
/* Ordinal of the first block whose separator is >= key; count when there is none. `comparator` must be NULL
 * exactly when the index is not `whole`. */
uint64_t bl_block_index_search(const bl_block_index *index, bl_comparator *comparator, bole_slice key);
/* The search in two halves, so that it waits for nothing while other lines are on their way: the first walks the
 * sampled heads (in cache) and prefetches the group; the second finishes there. */
typedef struct bl_block_index_place {
    uint64_t at; /* the group where the search ends, or, without `open`, the block itself */
    bool open;
} bl_block_index_place;
bl_block_index_place bl_block_index_search_begin(const bl_block_index *index, bl_comparator *comparator,
                                                 bole_slice key);
uint64_t bl_block_index_search_end(const bl_block_index *index, bole_slice key, bl_block_index_place place);
static inline _Atomic(bl_frame *) *bl_block_index_slot(const bl_block_index *index, uint64_t ordinal)
{
    return &index->groups[ordinal / BL_INDEX_GROUP_BLOCKS].slots[ordinal % BL_INDEX_GROUP_BLOCKS];
}
/* Put separator `ordinal` together in `out`. False when out of memory. */
BOLE_CHECKED bool bl_block_index_separator(const bl_block_index *index, uint64_t ordinal, bole_buffer *out);

/* ---- Building ---- */

typedef struct bl_block_index_builder {
    bool whole;
    uint64_t count;
    bole_buffer entries;    /* offset u64, stored u32, frame u32, separator bytes u32 of each block */
    bole_buffer separators; /* one behind the other */
} bl_block_index_builder;
void bl_block_index_builder_init(bl_block_index_builder *builder, bool whole);
void bl_block_index_builder_deinit(bl_block_index_builder *builder);
/* The next block. `next_first` is the first key of the block behind it, unless this is the last. False
 * when out of memory, or when the separators would pass 4 GiB. */
BOLE_CHECKED bool bl_block_index_builder_add(bl_block_index_builder *builder, bole_slice last,
                                             bole_slice next_first, bool is_last, uint64_t offset,
                                             uint32_t stored_bytes, uint32_t frame_bytes);
/* Append the section to `out`. False when out of memory. */
BOLE_CHECKED bool bl_block_index_builder_finish(bl_block_index_builder *builder, bole_buffer *out);
/* The separator's rule by itself: bytes of the shortest easy s with last <= s < next_first, written to `out`
 * (room for last.size bytes or next_first.size bytes, whichever is more). */
size_t bl_block_separator(bole_slice last, bole_slice next_first, uint8_t *out);

#endif
