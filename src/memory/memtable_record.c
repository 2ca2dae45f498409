/* SPDX-License-Identifier: MIT */
/* memtable_record.c -- writing the records of a memtable; their bytes are in the header.
 *
 * INVARIANTS  (RECORD-1) Tags fall along a chain, strictly.
 *             (RECORD-2) A version's jump is its older one or stands behind that in the chain.
 * THREADS     The writer. A record is complete before its reference is stored with release. */
#include "memory/memtable_record.h"

static void copy(uint8_t *to, bole_slice bytes)
{
    if (bytes.size != 0)
        memcpy(to, bytes.data, bytes.size);
}

bl_ref bl_record_put_entry(bl_arena *arena, bole_slice key, bole_slice value, uint64_t tag)
{
    bl_assert(key.size <= BOLE_KEY_BYTES_MAX && value.size <= BOLE_VALUE_BYTES_MAX);
    bl_ref ref = bl_arena_record(arena, bl_record_entry_bytes(key.size, value.size) + arena->trailer_bytes);
    uint8_t *entry = bl_arena_at(arena, ref);
    bool is_long = value.size >= BL_RECORD_CODE_VERSION;
    bl_put_u16(entry, is_long ? BL_RECORD_CODE_LONG : (uint16_t)value.size);
    bl_put_u16(entry + 2, (uint16_t)key.size);
    bl_put_u64(entry + BL_RECORD_TAG_AT, tag);
    entry += BL_RECORD_ENTRY_BYTES;
    if (is_long) {
        bl_put_u32(entry, (uint32_t)value.size);
        entry += 4;
    }
    copy(entry, key);
    copy(entry + key.size, value);
    if (bl_unlikely(arena->trailer_bytes != 0))
        bl_put_u32(entry + key.size + value.size, arena->trailer);
    return ref;
}

/* Where the version behind `newest` jumps to. */
static bl_ref next_jump(const bl_arena *arena, bl_ref newest)
{
    const uint8_t *record = bl_arena_at(arena, newest);
    if (!bl_record_is_version(record))
        return newest;
    bl_ref jump = bl_record_jump(record);
    const uint8_t *back = bl_arena_at(arena, jump);
    if (!bl_record_is_version(back)) /* the entry counts as jumping to itself: a length of 0 */
        return newest;
    const uint8_t *far = bl_arena_at(arena, bl_record_jump(back));
    if (bl_record_depth(record) - bl_record_depth(back) == bl_record_depth(back) - bl_record_depth(far))
        return bl_record_jump(back);
    return newest;
}

bl_ref bl_record_put_version(bl_arena *arena, bl_ref newest, bole_slice value, uint64_t tag)
{
    bl_assert(value.size <= BOLE_VALUE_BYTES_MAX);
    const uint8_t *before = bl_arena_at(arena, newest);
    bl_assert(tag > bl_record_tag(before));
    bl_ref ref = bl_arena_record(arena,
                                 BL_RECORD_VERSION_BYTES + (uint64_t)value.size + arena->trailer_bytes);
    uint8_t *version = bl_arena_at(arena, ref);
    bl_put_u16(version, BL_RECORD_CODE_VERSION);
    bl_put_u16(version + 2, 0);
    bl_put_u64(version + BL_RECORD_TAG_AT, tag);
    bl_put_u32(version + 12, bl_record_is_version(before) ? bl_record_entry(before) : newest);
    bl_put_u32(version + 16, newest);
    bl_put_u32(version + 20, next_jump(arena, newest));
    bl_put_u32(version + 24, bl_record_depth(before) + 1);
    bl_put_u32(version + 28, (uint32_t)value.size);
    copy(version + BL_RECORD_VERSION_BYTES, value);
    if (bl_unlikely(arena->trailer_bytes != 0))
        bl_put_u32(version + BL_RECORD_VERSION_BYTES + value.size, arena->trailer);
    return ref;
}
