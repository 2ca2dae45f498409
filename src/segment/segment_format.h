/* SPDX-License-Identifier: MIT */
/* segment_format.h -- what is fixed about the bytes of a segment, and what the manifest says about one. */
#ifndef BL_SEGMENT_SEGMENT_FORMAT_H
#define BL_SEGMENT_SEGMENT_FORMAT_H

#include "base/checksum.h"
#include "base/slice.h"

/* Kinds as they stand in files. Do not renumber. */
typedef enum bl_compression_kind {
    BL_COMPRESSED_NONE = 0,
    BL_COMPRESSED_LZ4 = 1,
    BL_COMPRESSED_ZSTD = 2,
} bl_compression_kind;
typedef enum bl_filter_kind { BL_FILTER_NONE = 0, BL_FILTER_CACHE_LINE_BLOOM = 1 } bl_filter_kind;
typedef enum bl_section_kind {
    BL_SECTION_INDEX = 1,
    BL_SECTION_FILTER = 2,
} bl_section_kind;

/* The level of a value segment: it holds large values for entries of the levels, and is not searched by key. */
enum { BL_LEVEL_VALUES = BOLE_LEVELS_MAX };

/* What the manifest keeps of a segment: enough to open a store without touching segments. Owns its keys and
 * the list of value segments. */
typedef struct bl_segment_meta {
    uint64_t number; /* file number: 000012.seg */
    bl_id id;
    uint64_t file_bytes;
    uint64_t footer_checksum;
    uint32_t table;
    uint32_t level, run; /* level 0: run = order of age, higher is newer. Other levels: run 0 */
    bole_slice smallest, largest; /* keys, inclusive; memory of this struct (bl_segment_meta_deinit) */
    uint64_t sequence_min, sequence_max; /* as the entries came, also when they are stored as zero */
    bool sequences_zeroed;
    uint64_t entries, tombstones, blocks;
    uint64_t raw_bytes; /* keys + values */
    int64_t created_us; /* real time; 0 unknown */
    bole_slice value_uses; /* value segments that entries point into, see value_pointer.h; empty: none */
    uint64_t dead_entries, dead_bytes; /* value segment: how much of it nothing points to any more, as of the
                                          edit that this meta comes from; a version has its own figures */
} bl_segment_meta;
static inline bool bl_segment_meta_holds_values(const bl_segment_meta *meta)
{
    return meta->level == BL_LEVEL_VALUES;
}
BOLE_CHECKED bole_status bl_segment_meta_copy(bl_segment_meta *to, const bl_segment_meta *from,
                                              bole_error *error);
void bl_segment_meta_deinit(bl_segment_meta *meta);

#endif
