/* SPDX-License-Identifier: MIT */
/* memtable_record.h -- the bytes of an entry and of its later versions, and the way along a chain of versions.
 *
 * ENTRY    offset  size  field                    a key with its first, oldest version
 *               0     2  value code   the value's bytes when below 0xfffe; 0xffff: a u32 of them follows the header
 *               2     2  key bytes
 *               4     8  tag
 *              12     4  value bytes  only with value code 0xffff
 *                     k  key
 *                     v  value
 * VERSION       0     2  0xfffe
 *               2     2  zero
 *               4     8  tag
 *              12     4  entry        the record that holds the key
 *              16     4  older        the version before this one; at last the entry
 *              20     4  jump         an older one further back, see below
 *              24     4  depth        versions before this one; the entry has 0
 *              28     4  value bytes
 *              32     v  value
 *
 * TRAILER  behind both, where the memtable carries checksums: u32 entry checksum ^ fold of the tag's sequence
 *
 * Records start at multiples of 4 and never change once a reference to them is stored with release.
 *
 * JUMPS    Each version holds one jump besides `older`, chosen so that any older version is found in O(log n) steps
 *          (E. W. Myers, "An applicative random-access stack", 1983): if the last two jumps had the same length,
 *          jump over both, else jump to the version before. */
#ifndef BL_MEMORY_MEMTABLE_RECORD_H
#define BL_MEMORY_MEMTABLE_RECORD_H

#include "base/coding.h"
#include "base/slice.h"
#include "core/internal_key.h"
#include "memory/memtable_arena.h"

enum {
    BL_RECORD_ENTRY_BYTES = 12,
    BL_RECORD_VERSION_BYTES = 32,
    BL_RECORD_CODE_VERSION = 0xfffe,
    BL_RECORD_CODE_LONG = 0xffff,
    BL_RECORD_TAG_AT = 4,
};

static inline bool bl_record_is_version(const uint8_t *record)
{
    return bl_get_u16(record) == BL_RECORD_CODE_VERSION;
}
static inline uint64_t bl_record_tag(const uint8_t *record) { return bl_get_u64(record + BL_RECORD_TAG_AT); }
static inline bl_ref bl_record_entry(const uint8_t *version) { return bl_get_u32(version + 12); }
static inline bl_ref bl_record_older(const uint8_t *version) { return bl_get_u32(version + 16); }
static inline bl_ref bl_record_jump(const uint8_t *version) { return bl_get_u32(version + 20); }

static inline uint32_t bl_record_depth(const uint8_t *record)
{
    return bl_record_is_version(record) ? bl_get_u32(record + 24) : 0;
}

/* The key of an entry. */
static inline bole_slice bl_entry_key(const uint8_t *entry)
{
    size_t header = BL_RECORD_ENTRY_BYTES + (bl_get_u16(entry) == BL_RECORD_CODE_LONG ? 4 : 0);
    return bl_slice(entry + header, bl_get_u16(entry + 2));
}

/* The key of any record. */
static inline bole_slice bl_record_key(const bl_arena *arena, const uint8_t *record)
{
    if (bl_unlikely(bl_record_is_version(record)))
        record = bl_arena_at(arena, bl_record_entry(record));
    return bl_entry_key(record);
}

static inline bole_slice bl_record_value(const uint8_t *record)
{
    uint32_t code = bl_get_u16(record);
    if (bl_likely(code < BL_RECORD_CODE_VERSION))
        return bl_slice(record + BL_RECORD_ENTRY_BYTES + bl_get_u16(record + 2), code);
    if (code == BL_RECORD_CODE_VERSION)
        return bl_slice(record + BL_RECORD_VERSION_BYTES, bl_get_u32(record + 28));
    return bl_slice(record + BL_RECORD_ENTRY_BYTES + 4 + bl_get_u16(record + 2),
                    bl_get_u32(record + BL_RECORD_ENTRY_BYTES));
}

static inline uint64_t bl_record_entry_bytes(size_t key_bytes, size_t value_bytes)
{
    return BL_RECORD_ENTRY_BYTES + (value_bytes >= BL_RECORD_CODE_VERSION ? 4 : 0) + (uint64_t)key_bytes + value_bytes;
}

/* The newest version that a reader at `sequence` sees, from `record` on; NULL when it sees none. */
static inline const uint8_t *bl_record_visible(const bl_arena *arena, const uint8_t *record, uint64_t sequence)
{
    while (bl_unlikely(!bl_tag_visible(bl_record_tag(record), sequence))) {
        if (!bl_record_is_version(record))
            return NULL;
        const uint8_t *jump = bl_arena_at(arena, bl_record_jump(record));
        bool far = !bl_tag_visible(bl_record_tag(jump), sequence);
        record = far ? jump : bl_arena_at(arena, bl_record_older(record));
    }
    return record;
}

/* The version with `depth` versions before it, at or behind `record`. */
static inline const uint8_t *bl_record_at_depth(const bl_arena *arena, const uint8_t *record, uint32_t depth)
{
    while (bl_record_depth(record) > depth) {
        const uint8_t *jump = bl_arena_at(arena, bl_record_jump(record));
        record = bl_record_depth(jump) >= depth ? jump : bl_arena_at(arena, bl_record_older(record));
    }
    return record;
}

/* Writing: room was reserved. `newest` is the version so far. */
bl_ref bl_record_put_entry(bl_arena *arena, bole_slice key, bole_slice value, uint64_t tag);
bl_ref bl_record_put_version(bl_arena *arena, bl_ref newest, bole_slice value, uint64_t tag);

#endif
