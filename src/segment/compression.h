/* SPDX-License-Identifier: MIT */
/* compression.h -- blocks made smaller: none, LZ4, ZSTD; every length is bounded before a byte is written.
 *
 * THREADS     A compressor belongs to one thread (one writer). bl_decompress: any thread; ZSTD's contexts
 *             come from a small lock-free pool. */
#ifndef BL_SEGMENT_COMPRESSION_H
#define BL_SEGMENT_COMPRESSION_H

#include "segment/segment_format.h"

typedef struct bl_compressor bl_compressor;

bool bl_compression_is_known(uint8_t kind);
const char *bl_compression_name(uint8_t kind); /* "none", "lz4", "zstd", "?"; static */
/* BL_COMPRESSED_NONE gives a compressor that never compresses. `level` 0: the default, 1. */
BOLE_CHECKED bole_status bl_compressor_create(bl_compression_kind kind, int level, bl_compressor **out,
                                              bole_error *error);
void bl_compressor_destroy(bl_compressor *compressor);
/* Compress into `out`; 0 when the result would be longer than `capacity` (not worth it), else its length. */
size_t bl_compress(bl_compressor *compressor, const void *raw, size_t raw_bytes, void *out, size_t capacity);
/* Decompress to exactly `raw_bytes`; anything else is BOLE_CORRUPT with `file` and `offset`. */
BOLE_CHECKED bole_status bl_decompress(uint8_t kind, const void *stored, size_t stored_bytes, void *out,
                                       size_t raw_bytes, const char *file, uint64_t offset,
                                       bole_error *error);
/* Free the pooled contexts (last close, leak checks). No decompression may be under way. */
void bl_compression_release(void);

#endif
