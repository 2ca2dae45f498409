/* SPDX-License-Identifier: MIT */
/* entry_checksum.h -- the checksum that an entry carries from the call that puts it to the block of a segment, where
 * the setting entry_checksums asks for it. It lives in memory only: no file depends on it. */
#ifndef BL_CORE_ENTRY_CHECKSUM_H
#define BL_CORE_ENTRY_CHECKSUM_H

#include "base/checksum.h"
#include "base/hash.h"
#include "base/slice.h"

static inline uint32_t bl_entry_checksum(uint32_t table, uint8_t kind, bole_slice key, bole_slice value)
{
    uint64_t place = (uint64_t)table << 8 | kind;
    uint64_t sum = bl_checksum(bl_hash(key.data, key.size), place, value.data, value.size);
    return (uint32_t)(sum ^ sum >> 32);
}

#endif
