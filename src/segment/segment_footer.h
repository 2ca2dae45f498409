/* SPDX-License-Identifier: MIT */
/* segment_footer.h -- the ends of a segment file: its header, its directory, what it says of itself.
 *
 * FILE        header page | blocks | sections | footer | tail             (all integers little-endian)
 * HEADER      offset  size  field
 *                  0     8  magic        "boleseg\n"
 *                  8     4  version      1
 *                 12     4  header bytes 4096: where blocks begin
 *                 16     8  features     that a reader must understand; bit 0: a value segment
 *                 24    16  id           random, of this file
 *                 40    16  store        id of the store it was born in
 *                 56     8  number       file number it was born with
 *                 64  4024  zero
 *               4088     8  checksum     bl_checksum(seed of id, 0) over bytes 0 .. 4087
 * FOOTER           0     4  sections
 *                  4     4  fields
 *                  8  32*n  sections: u16 kind, u16 flags (1: must be understood), u32 zero, u64 offset, u64
 *                           length, u64 checksum = bl_checksum(seed, offset) over the section's bytes
 *                  -     -  fields: u16 tag, u16 flags (1: must be understood), u32 length, bytes
 * TAIL             0     8  footer offset       the file's last 64 bytes
 *                  8     8  footer length
 *                 16     8  footer checksum     bl_checksum(seed, footer offset) over the footer's bytes
 *                 24    16  id
 *                 40     4  version      1
 *                 44     4  zero
 *                 48     8  tail checksum       bl_checksum(seed, file offset of the tail) over 0 .. 47
 *                 56     8  magic        "boleend\n"
 *
 * INVARIANTS  (FOOTER-1) The reader trusts nothing: each length is bounded by the bytes of the file that
 *             remain.
 *             (FOOTER-2) Sections and blocks do not overlap: header, blocks, sections, footer, tail,
 *             in this order. */
#ifndef BL_SEGMENT_SEGMENT_FOOTER_H
#define BL_SEGMENT_SEGMENT_FOOTER_H

#include <bole/bole_vfs.h>
#include "base/buffer.h"
#include "segment/segment_format.h"

enum {
    BL_SEGMENT_HEADER_BYTES = 4096,
    BL_SEGMENT_TAIL_BYTES = 64,
    BL_SEGMENT_FORMAT_VERSION = 1,
    BL_SEGMENT_SECTIONS_MAX = 64,
    BL_SEGMENT_MUST_UNDERSTAND = 1,
};

typedef struct bl_segment_section {
    uint16_t kind, flags;
    uint64_t offset, length, checksum;
} bl_segment_section;

/* What a segment file says of itself. Owns its memory. */
typedef struct bl_segment_footer {
    bl_segment_meta meta; /* level and run as at birth; number from the header */
    bl_id store_id;
    char *table_name, *comparator_name;
    bl_id *inputs; /* segments it was made from */
    uint32_t input_count;
    uint8_t compression;
    uint32_t block_bytes;
    uint32_t filter_bits_per_key_tenths; /* 0: no filter */
    uint64_t blocks_end;                 /* blocks lie in [BL_SEGMENT_HEADER_BYTES, blocks_end) */
    bl_segment_section sections[BL_SEGMENT_SECTIONS_MAX]; /* in order of offset */
    uint32_t section_count;
    uint64_t offset; /* of the footer in the file */
} bl_segment_footer;

/* Read and check header, tail and footer. Damage is BOLE_CORRUPT, a newer format BOLE_UNSUPPORTED. */
BOLE_CHECKED bole_status bl_segment_footer_read(bole_vfs *vfs, const char *path, bl_segment_footer *out,
                                                bole_error *error);
/* The same from an open file; `path` for messages. */
BOLE_CHECKED bole_status bl_segment_footer_read_file(bole_file *file, const char *path,
                                                     bl_segment_footer *out, bole_error *error);
void bl_segment_footer_deinit(bl_segment_footer *footer);
/* NULL when there is none of this kind. */
const bl_segment_section *bl_segment_footer_section(const bl_segment_footer *footer, bl_section_kind kind);
/* Is this the file that the manifest means? Compares id, size, checksum, table, counts and key range. */
BOLE_CHECKED bole_status bl_segment_footer_check_meta(const bl_segment_footer *footer,
                                                      const bl_segment_meta *meta, const char *path,
                                                      bole_error *error);
/* Read a section to `memory` of section->length bytes and check its checksum. */
BOLE_CHECKED bole_status bl_segment_section_read(bole_file *file, const char *path, bl_id id,
                                                 const bl_segment_section *section, void *memory,
                                                 bole_error *error);

/* ---- Writing: the bytes, nothing else ---- */

void bl_segment_header_encode(const bl_segment_meta *meta, const bl_id *store_id,
                              uint8_t out[BL_SEGMENT_HEADER_BYTES]);
bool bl_segment_header_holds_values(const uint8_t header[BL_SEGMENT_HEADER_BYTES]);
/* Append footer and tail, to stand at `offset` of the file. Sets meta.file_bytes and meta.footer_checksum.
 * False when out of memory. */
BOLE_CHECKED bool bl_segment_footer_encode(bl_segment_footer *footer, uint64_t offset, bole_buffer *out);

#endif
