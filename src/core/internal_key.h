/* SPDX-License-Identifier: MIT */
/* internal_key.h -- what orders two writes of one key: the tag, sequence << 8 | kind.
 *
 * A sequence is a position of the log (56 bits). A reader at position p sees sequences below p. Entries are ordered
 * by key, then by tag from high to low, so the newest version of a key comes first. */
#ifndef BL_CORE_INTERNAL_KEY_H
#define BL_CORE_INTERNAL_KEY_H

#include <stdbool.h>
#include <stdint.h>

/* Kinds of operations, in log records, memtables and segments. Do not renumber. Only PUT and DELETE are operations
 * that are built; segments also hold PUT_WITH_VALUE_POINTER, a put whose value stands in a value segment
 * (segment/value_pointer.h). Readers refuse the others with BOLE_UNSUPPORTED. */
typedef enum bl_kind {
    BL_KIND_PUT = 1,
    BL_KIND_DELETE = 2,
    BL_KIND_SINGLE_DELETE = 3,
    BL_KIND_RANGE_DELETE = 4,
    BL_KIND_MERGE = 5,
    BL_KIND_PUT_WITH_EXPIRY = 6,
    BL_KIND_PUT_WITH_VALUE_POINTER = 7,
    BL_KIND_TRANSACTION_PREPARE = 8,
    BL_KIND_TRANSACTION_COMMIT = 9,
    BL_KIND_TRANSACTION_ABORT = 10,
} bl_kind;
static inline bool bl_kind_is_built(uint8_t kind) { return kind == BL_KIND_PUT || kind == BL_KIND_DELETE; }
/* Of an entry of a segment. */
static inline bool bl_kind_is_stored(uint8_t kind)
{
    return bl_kind_is_built(kind) || kind == BL_KIND_PUT_WITH_VALUE_POINTER;
}

#define BL_SEQUENCE_MAX ((UINT64_C(1) << 56) - 1)
#define BL_TAG(sequence, kind) ((uint64_t)(sequence) << 8 | (uint64_t)(kind))
static inline uint64_t bl_tag_sequence(uint64_t tag) { return tag >> 8; }
static inline bl_kind bl_tag_kind(uint64_t tag) { return (bl_kind)(tag & 0xff); }
/* Is an entry with `tag` seen at position `sequence`? */
static inline bool bl_tag_visible(uint64_t tag, uint64_t sequence) { return tag >> 8 < sequence; }

#endif
