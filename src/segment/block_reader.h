/* SPDX-License-Identifier: MIT */
/* block_reader.h -- blocks from the file: read, verify, decompress, validate, install. For this folder only.
 * */
#ifndef BL_SEGMENT_BLOCK_READER_H
#define BL_SEGMENT_BLOCK_READER_H

#include "segment/segment_state.h"

/* Read block `ordinal` into `frame` (room for the index' frame_bytes): verified, decompressed, validated. The
 * unit is held. Adds the bytes read to *bytes_read if that is not NULL. */
BOLE_CHECKED bole_status bl_block_read(bl_segment *segment, const bl_unit *unit, uint64_t ordinal,
                                       uint8_t *frame, uint64_t *bytes_read, bole_error *error);
/* Read the stored bytes of blocks [first, end) at once, nothing verified yet: block i then begins at out +
 * (offset of i - offset of first). `out` has room for bl_block_span_bytes. */
BOLE_CHECKED bole_status bl_block_read_span(bl_segment *segment, const bl_unit *unit, uint64_t first,
                                            uint64_t end, uint8_t *out, uint64_t *bytes_read,
                                            bole_error *error);
static inline uint64_t bl_block_span_bytes(const bl_unit *unit, uint64_t first, uint64_t end)
{
    return unit->index.offsets[end - 1] + unit->index.stored_bytes[end - 1] - unit->index.offsets[first];
}
/* Bring block `ordinal` into its slot: read by one thread, waited for by the others. BOLE_MEMORY_PINNED: no
 * room. */
BOLE_CHECKED bole_status bl_block_install(bl_segment *segment, bl_unit *unit, uint64_t ordinal,
                                          bole_error *error);
/* The frame of a block of a held unit, pinned, or NULL when it is not in memory. Not marked as referenced
 * unless `touch`. */
bl_frame *bl_block_pin(const bl_unit *unit, uint64_t ordinal, bool touch);

#endif
