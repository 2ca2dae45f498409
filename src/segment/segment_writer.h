/* SPDX-License-Identifier: MIT */
/* segment_writer.h -- builds one segment from entries in internal order, under a temporary name.
 *
 * Life: building (000012.seg.tmp) -> synced -> named (renamed, directory synced; all by
 * bl_segment_writer_finish) -> in the manifest. Order and counts are checked: an entry out of order is
 * BOLE_CORRUPT (of the input). After a failure of add every later call fails too: finish or abandon the
 * writer. */
#ifndef BL_SEGMENT_SEGMENT_WRITER_H
#define BL_SEGMENT_SEGMENT_WRITER_H

#include "segment/segment.h"
#include "segment/value_pointer.h"

typedef struct bl_segment_writer_parameters {
    bl_segment_environment *environment;
    uint64_t number;
    uint32_t table;
    const char *table_name;
    bl_comparator *comparator;
    uint32_t level, run;            /* BL_LEVEL_VALUES: a value segment, each entry a block of its own */
    uint32_t block_bytes;           /* 0: 4 KiB, 16 KiB when entries turn out above 256 bytes */
    uint32_t filter_bits_per_key;   /* 0: no filter */
    uint64_t entries_estimate;      /* for sizing; may be wrong */
    bl_compression_kind compression;
    int compression_level;
    bool zero_sequences;            /* last level and no snapshot needs them: tags are stored as (0, put) */
    bool check_entries; /* compare what stands in each block with what was added, before it is sealed */
    bool past_cache; /* of the system: the file is written with BOLE_VFS_DIRECT */
    bool install_frames; /* keep built blocks as cache frames for the handle, where there is room to spare */
    const bl_id *inputs; /* ids of the segments it was made from (repair needs them); copied; may be NULL */
    uint32_t input_count;
} bl_segment_writer_parameters;

typedef struct bl_segment_writer bl_segment_writer;

BOLE_CHECKED bole_status bl_segment_writer_create(const bl_segment_writer_parameters *parameters,
                                                  bl_segment_writer **out, bole_error *error);
/* Keys rise; of one key tags fall. Bytes are copied. Cost: 0.1 us for 16/100 bytes, and the writing. */
BOLE_CHECKED bole_status bl_segment_writer_add(bl_segment_writer *writer, bole_slice key, uint64_t tag,
                                               bole_slice value, bole_error *error);
uint64_t bl_segment_writer_bytes(const bl_segment_writer *writer);   /* written so far, for cutting outputs */
uint64_t bl_segment_writer_entries(const bl_segment_writer *writer);
/* Of a value segment: where the entry that was added last stands. */
void bl_segment_writer_point(const bl_segment_writer *writer, bl_value_pointer *out);
/* Write sections and footer, sync, rename, sync the directory. *meta is the caller's
 * (bl_segment_meta_deinit); *segment, when not NULL, is a handle with its unit (and, when asked, frames)
 * already in memory. The writer is gone after, also on failure (then its file is removed). */
BOLE_CHECKED bole_status bl_segment_writer_finish(bl_segment_writer *writer, bl_segment_meta *meta,
                                                  bl_segment **segment, bole_error *error);
void bl_segment_writer_abandon(bl_segment_writer *writer);

#endif
