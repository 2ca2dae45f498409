/* SPDX-License-Identifier: MIT */
/* block_builder.h -- gathers entries in order and lays them out as a block (block.h), block after block.
 *
 * Keys and values are copied once into a staging buffer; the prefix, the width of heads and the arrays are
 * chosen when the block ends. The size that the block would have is always known exactly, so a block is cut
 * just before it would outgrow its limit. A value of BL_BLOCK_BORROW_BYTES or more is not copied: it is a
 * block of its own, and is read when that block is laid out.
 *
 * THREADS     One. */
#ifndef BL_SEGMENT_BLOCK_BUILDER_H
#define BL_SEGMENT_BLOCK_BUILDER_H

#include "segment/block.h"

enum {
    BL_BLOCK_BORROW_BYTES = 64 * 1024,
    BL_BLOCK_LIMIT_MAX = 1024 * 1024, /* of a block's limit */
};

/* What a block's layout follows from, for the entries so far. */
typedef struct bl_block_shape {
    uint32_t count, tombstones;
    uint32_t prefix_bytes, longest_key;
    uint32_t narrow_collisions, wide_collisions; /* neighbours of different keys with equal 4-byte, 8-byte heads */
    bool uniform;            /* all keys of one size, all values of one size */
    bool tagged;             /* a tag is not BL_TAG(0, BL_KIND_PUT) */
    size_t records_bound;    /* the records do not take more */
} bl_block_shape;

typedef struct bl_block_entry {
    uint64_t tag;
    uint32_t key_at, value_at, end; /* in staging: the value follows its key */
    uint16_t common;                /* bytes the key shares with the one before; 0 when it is the same key */
    uint8_t hash;
} bl_block_entry;

typedef struct bl_block_builder {
    bl_comparator *comparator; /* NULL: byte order */
    bl_block_shape shape;
    bl_block_entry *entries;
    uint32_t entries_capacity;
    uint8_t *staging;
    size_t staging_bytes, staging_capacity;
    const uint8_t *borrowed; /* value of the only entry, when it is not in staging */
    size_t borrowed_bytes;
    /* the entry before, also across blocks */
    bool has_last;
    uint64_t last_tag;
    bole_slice last;  /* its key: in staging, or while no block is gathered in last_key */
    uint8_t *last_key;
} bl_block_builder;

typedef enum bl_block_added {
    BL_BLOCK_ADDED,
    BL_BLOCK_FULL,          /* would outgrow the limit: finish the block, then add again */
    BL_BLOCK_OUT_OF_ORDER,  /* not behind the entry before: key must rise, of one key the tag must fall */
    BL_BLOCK_OUT_OF_MEMORY,
} bl_block_added;

BOLE_CHECKED bole_status bl_block_builder_init(bl_block_builder *builder, bl_comparator *comparator,
                                               bole_error *error);
void bl_block_builder_deinit(bl_block_builder *builder); /* a zeroed one too */
/* `hash`: bl_hash(key). `limit`: bytes of the frame, header included, at most BL_BLOCK_LIMIT_MAX. An empty
 * builder takes any one entry. Key and value are within the public limits. A borrowed value lives until the
 * block is finished. */
BOLE_CHECKED bl_block_added bl_block_builder_add(bl_block_builder *builder, bole_slice key, uint64_t hash,
                                                 uint64_t tag, bole_slice value, size_t limit);
static inline uint32_t bl_block_builder_count(const bl_block_builder *builder)
{
    return builder->shape.count;
}
/* Bytes of the frame (header + raw) if it were finished now; 0 when empty. */
size_t bl_block_builder_size(const bl_block_builder *builder);
/* The key that was added last; good until the next add, also right after a finish. */
bole_slice bl_block_builder_last_key(const bl_block_builder *builder);
/* Write the frame, not compressed and without its checksum (bl_block_seal), into `frame` of
 * bl_block_builder_size bytes; the builder is empty afterwards. */
void bl_block_builder_finish(bl_block_builder *builder, uint8_t *frame);
/* Set the checksum of a block that is going to stand at `offset`: `stored` is header + stored bytes. */
void bl_block_seal(uint8_t *stored, uint64_t seed, uint64_t offset);

#endif
