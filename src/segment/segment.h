/* SPDX-License-Identifier: MIT */
/* segment.h -- an immutable sorted file: the brief's Segment, as the readers see it.
 *
 * A segment handle knows its meta from the manifest and opens nothing until first use. Its unit (block index, slots,
 * filter, descriptor) is loaded on first use, charged to the memory limit, and evicted whole when no slot is filled
 * or loading. A handle is counted; the last unref closes it and, when it was marked obsolete, removes the file.
 *
 * Reads come in two forms. Inside an epoch: bl_segment_prefetch / find, which never wait; BL_FIND_MUST_LOAD says what
 * to load. Outside: bl_segment_load, which reads, verifies, decompresses and installs, once, however many ask. */
#ifndef BL_SEGMENT_SEGMENT_H
#define BL_SEGMENT_SEGMENT_H

#include <bole/bole_vfs.h>
#include "core/lookup.h"
#include "core/run_cursor.h"
#include "segment/frame_cache.h"
#include "segment/segment_format.h"

/* What all segments of a store share; lives as long as the store. */
typedef struct bl_segment_environment {
    bole_vfs *vfs;
    const char *directory;
    bl_scheduler *scheduler;
    bl_memory_budget *budget;
    bl_frame_cache *cache;
    bl_id store_id;
    bool read_only;                 /* never remove files */
    uint32_t open_files_max;        /* descriptors; least recently used ones are closed */
    struct bl_descriptor_cache *descriptors; /* segment_descriptor.c's; made by bl_segment_environment_init */
    /* called after an obsolete file was removed or could not be (the engine logs and retries) */
    void (*removed)(void *context, uint64_t number, bole_status status, const bole_error *error);
    void *context;
} bl_segment_environment;
BOLE_CHECKED bole_status bl_segment_environment_init(bl_segment_environment *environment, bole_error *error);
void bl_segment_environment_deinit(bl_segment_environment *environment);

typedef struct bl_segment bl_segment;

/* Copies `meta`. One reference is the caller's. */
BOLE_CHECKED bole_status bl_segment_create_handle(bl_segment_environment *environment, const bl_segment_meta *meta,
                                                  bl_comparator *comparator, bl_segment **out, bole_error *error);
void bl_segment_ref(bl_segment *segment);
void bl_segment_unref(bl_segment *segment);
/* The file goes when the last reference does; the caller made the newer state durable before. */
void bl_segment_mark_obsolete(bl_segment *segment);
const bl_segment_meta *bl_segment_meta_of(const bl_segment *segment);
bl_comparator *bl_segment_comparator(const bl_segment *segment);
/* Read header, footer and all sections now and compare them with the meta (paranoid open, verify). */
BOLE_CHECKED bole_status bl_segment_check(bl_segment *segment, bool all_blocks, bole_error *error);

/* ---- Point reads ---- */
typedef enum bl_find { BL_FIND_ABSENT, BL_FIND_FOUND, BL_FIND_MUST_LOAD } bl_find;

typedef struct bl_found {
    uint64_t tag;
    bole_slice value;  /* in the frame: good inside the epoch, or while `frame` is pinned */
    bl_frame *frame;   /* to pin; bl_frame_pin(found.frame) */
    uint64_t block;    /* BL_FIND_MUST_LOAD: what to load (BL_SEGMENT_UNIT or a block's ordinal) */
    bool filter_passed; /* the filter said maybe: ABSENT is then a false positive */
    uint8_t filter;     /* bl_find_filter */
} bl_found;
#define BL_SEGMENT_UNIT UINT64_MAX

/* Inside an epoch. prefetch: bring the filter's line, and (second stage) the index group and the block's header lines
 * into the cache; all candidates first, then find each. */
void bl_segment_prefetch(const bl_segment *segment, const bl_lookup *lookup);
bl_find bl_segment_find(bl_segment *segment, const bl_lookup *lookup, bl_found *out);
/* Outside an epoch, holding a reference. */
BOLE_CHECKED bole_status bl_segment_load(bl_segment *segment, uint64_t block, bole_error *error);
/* When the memory limit leaves no room: read one block privately, look the key up in it, copy the value out. */
BOLE_CHECKED bole_status bl_segment_find_uncached(bl_segment *segment, const bl_lookup *lookup, uint64_t *tag,
                                                  bole_buffer *value, bole_error *error); /* or NOT_FOUND */

/* ---- Scans ---- */
typedef struct bl_segment_cursor_options {
    bool fill_cache;   /* false: use frames that are present, admit none (scans, merges) */
    bool read_ahead;   /* from the third sequential block on, 256 KiB ahead in a charged private buffer */
    uint64_t *bytes_read; /* counter to add to, may be NULL */
} bl_segment_cursor_options;
/* A cursor over one run: `count` segments in key order that do not overlap (one for a segment alone). Takes a
 * reference on each until closed. */
BOLE_CHECKED bole_status bl_segment_cursor(bl_segment *const *segments, uint32_t count,
                                           const bl_segment_cursor_options *options, bl_cursor **out,
                                           bole_error *error);

/* ---- Looking in (inspect, split points, stats) ---- */
typedef struct bl_segment_counters { /* since the handle was made; sampled exactly, relaxed */
    uint64_t filter_probes, filter_negatives, filter_true_positives, filter_false_positives;
} bl_segment_counters;
void bl_segment_counters_read(const bl_segment *segment, bl_segment_counters *out);
typedef struct bl_segment_shape {
    uint64_t filter_bytes, filter_bits_per_key_tenths, index_bytes, cached_blocks;
    double filter_expected_rate; /* false positives expected from bits, probes and keys */
    uint8_t compression, filter_kind;
} bl_segment_shape;
BOLE_CHECKED bole_status bl_segment_shape_read(bl_segment *segment, bl_segment_shape *out, bole_error *error);
/* Does the filter say maybe? For measuring the real rate of false positives. */
BOLE_CHECKED bole_status bl_segment_filter_may_contain(bl_segment *segment, uint64_t hash, bool *maybe,
                                                       bole_error *error);
/* Visit blocks in order: ordinal, offset, stored bytes, separator (first key bound). Stops when visit says false. */
typedef struct bl_block_place {
    uint64_t ordinal, offset;
    uint32_t stored_bytes;
    bole_slice separator;
} bl_block_place;
BOLE_CHECKED bole_status bl_segment_blocks(bl_segment *segment, bool (*visit)(void *context, const bl_block_place *place),
                                           void *context, bole_error *error);

#endif
