/* SPDX-License-Identifier: MIT */
/* value_pointer.h -- where the value of a PUT_WITH_VALUE_POINTER entry stands.
 *
 * A value segment is a segment file like any other, but each entry is a block of its own, and nobody searches it by
 * key: an entry of a level names the file, the block's ordinal and its offset. So merges copy some bytes instead of
 * the value. The block holds the key too, and a reader compares it: a pointer that went wrong is damage, never a
 * wrong value.
 *
 * POINTER     varint number of the value segment | varint ordinal of the block | varint its offset in the file |
 *             varint value bytes
 * USES        of a level's segment, for each value segment that it points into, numbers rising:
 *             varint number | varint pointers, at least 1
 * THREADS     Any; no state. */
#ifndef BL_SEGMENT_VALUE_POINTER_H
#define BL_SEGMENT_VALUE_POINTER_H

#include "base/coding.h"
#include "base/slice.h"

typedef struct bl_value_pointer {
    uint64_t segment; /* file number */
    uint64_t block;   /* ordinal */
    uint64_t offset;  /* of the block in the file */
    uint64_t bytes;   /* of the value */
} bl_value_pointer;

enum { BL_VALUE_POINTER_BYTES_MAX = 4 * BL_VARINT_BYTES_MAX };
size_t bl_value_pointer_encode(const bl_value_pointer *pointer, uint8_t out[BL_VALUE_POINTER_BYTES_MAX]);
/* False: these bytes are no pointer. */
BOLE_CHECKED bool bl_value_pointer_decode(bole_slice bytes, bl_value_pointer *out);

typedef struct bl_value_use {
    uint64_t segment, pointers;
} bl_value_use;
/* Take the first use off a list that is valid. False: it is empty. */
bool bl_value_uses_next(bole_slice *uses, bl_value_use *out);
bool bl_value_uses_are_valid(bole_slice uses);

/* Counting by value segment, numbers rising. A zeroed one is empty. */
typedef struct bl_value_tally {
    struct bl_value_count {
        uint64_t segment, entries, bytes;
    } *counts;
    uint32_t count, capacity, last; /* last: where the one before was found */
} bl_value_tally;
/* False: out of memory. */
BOLE_CHECKED bool bl_value_tally_add(bl_value_tally *tally, uint64_t segment, uint64_t entries, uint64_t bytes);
const struct bl_value_count *bl_value_tally_of(const bl_value_tally *tally, uint64_t segment); /* or NULL */
/* As uses; the memory is the caller's (bl_free). NULL: out of memory. */
BOLE_CHECKED uint8_t *bl_value_tally_encode(const bl_value_tally *tally, size_t *bytes);
void bl_value_tally_deinit(bl_value_tally *tally);

#endif
