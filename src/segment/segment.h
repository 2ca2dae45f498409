/* SPDX-License-Identifier: MIT */
/* segment.h -- an immutable sorted file: the brief's Segment, as the readers see it.
 *
 * A segment handle knows its meta from the manifest and opens nothing until first use. Its unit (block index,
 * slots, filter, descriptor) is loaded on first use, charged to the memory limit, and evicted whole when no
 * slot is filled or loading. A handle is counted; the last unref closes it and, when it was marked obsolete,
 * removes the file.
 *
 * Reads come in two forms. Inside an epoch: bl_segment_approach / find, which never wait; BL_FIND_MUST_LOAD
 * says what to load. Outside: bl_segment_load, which reads, verifies, decompresses and installs, once,
 * however many ask. */
#ifndef BL_SEGMENT_SEGMENT_H
#define BL_SEGMENT_SEGMENT_H

#include <bole/bole_vfs.h>
#include "core/lookup.h"
#include "core/run_cursor.h"
#include "segment/block_index.h"
#include "segment/frame_cache.h"
#include "segment/segment_format.h"
#include "segment/value_pointer.h"

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
    uint32_t open_flags;            /* of segments, beside those that say what is done: BOLE_VFS_DIRECT or 0 */
    struct bl_descriptor_cache *descriptors; /* segment_descriptor.c's; made by bl_segment_environment_init */
    /* The last reference to an obsolete segment went: its file may go (the engine removes it, now or when no
     * reader of another process needs it). Never called with a lock of this layer held. NULL: the file is
     * removed at once. */
    void (*file_due)(void *context, uint64_t number);
    void *context;
} bl_segment_environment;
BOLE_CHECKED bole_status bl_segment_environment_init(bl_segment_environment *environment, bole_error *error);
void bl_segment_environment_deinit(bl_segment_environment *environment);

typedef struct bl_segment bl_segment;

/* Copies `meta`. One reference is the caller's. */
BOLE_CHECKED bole_status bl_segment_create_handle(bl_segment_environment *environment,
                                                  const bl_segment_meta *meta, bl_comparator *comparator,
                                                  bl_segment **out, bole_error *error);
void bl_segment_ref(bl_segment *segment);
/* Whoever drops the last reference guarantees that no reader inside an epoch can still see the segment: a
 * version is unreferenced only after a grace period since it was replaced. So index and frames are freed at
 * once, without another wait; frames that views still pin go with the last pin. Outside an epoch. NULL is
 * allowed. */
void bl_segment_unref(bl_segment *segment);
/* The file goes when the last reference does; the caller made the newer state durable before. */
void bl_segment_mark_obsolete(bl_segment *segment);
const bl_segment_meta *bl_segment_meta_of(const bl_segment *segment);
bl_comparator *bl_segment_comparator(const bl_segment *segment);

/* A handle whose file the segment writer has just finished: index and filter are in memory already, and the
 * frames of the blocks that the writer kept are installed. */
typedef struct bl_segment_built {
    bole_slice index_section, filter_section; /* as written to the file; copied. No filter: size 0 */
    uint64_t blocks_end;
    uint8_t compression;
    bl_frame_card **cards;                    /* by ordinal; entries or all may be NULL. The caller's array */
    uint64_t card_count;                      /* <= meta->blocks */
} bl_segment_built;
/* Takes over the cards, on failure too. When the memory limit leaves no room for the index the handle is a
 * cold one. */
BOLE_CHECKED bole_status bl_segment_create_built(bl_segment_environment *environment,
                                                 const bl_segment_meta *meta, bl_comparator *comparator,
                                                 const bl_segment_built *built, bl_segment **out,
                                                 bole_error *error);
/* Read header, footer and all sections now and compare them with the meta (paranoid open, verify). With
 * `all_blocks` also every block: checksum, structure, strict order inside and across blocks, counts,
 * separators, key and sequence range, and that the filter denies no key. With an unknown comparator what
 * needs an order is left out. */
BOLE_CHECKED bole_status bl_segment_check(bl_segment *segment, bool all_blocks, bole_error *error);
/* The same in steps, with index, filter and one block of its own in memory (charged as work): begin looks at
 * all but the blocks, next at one block more; BOLE_NOT_FOUND when there is none and all was well. After
 * another failure only end is allowed. No reference is kept in between: give the segment with each call. Adds
 * the bytes read to *bytes. end allows NULL. */
typedef struct bl_segment_checker bl_segment_checker;
BOLE_CHECKED bole_status bl_segment_check_begin(bl_segment *segment, bl_segment_checker **out,
                                                uint64_t *bytes, bole_error *error);
BOLE_CHECKED bole_status bl_segment_check_next(bl_segment_checker *check, bl_segment *segment,
                                               uint64_t *bytes, bole_error *error);
void bl_segment_check_end(bl_segment_checker *check);

/* ---- Point reads ---- */
typedef enum bl_find { BL_FIND_ABSENT, BL_FIND_FOUND, BL_FIND_MUST_LOAD } bl_find;
typedef enum bl_find_filter {
    BL_FIND_NO_FILTER,
    BL_FIND_FILTER_DENIED,
    BL_FIND_FILTER_PASSED,
} bl_find_filter;

typedef struct bl_found {
    uint64_t tag;
    bole_slice value;  /* in the frame: good inside the epoch, or while `frame` is pinned */
    bl_frame *frame;   /* to pin; bl_frame_pin(found.frame) */
    uint64_t block;    /* BL_FIND_MUST_LOAD: what to load (BL_SEGMENT_UNIT or a block's ordinal) */
    uint8_t filter;    /* bl_find_filter; ABSENT though it PASSED: a false positive */
} bl_found;
#define BL_SEGMENT_UNIT UINT64_MAX

/* Inside an epoch; nothing here waits. find is the whole of it for one candidate: approach, then find_from. With
 * several candidates: ask for the filter's lines of all, and approach the one that most likely has the key, so that
 * their cache misses overlap; then find_from, newest first. */
typedef struct bl_segment_spot { /* good until the epoch is left */
    const struct bl_unit *unit;  /* NULL: must be loaded */
    bl_block_index_place place;
} bl_segment_spot;
void bl_segment_prefetch_filter(const bl_segment *segment, const bl_lookup *lookup);
/* Ask for the filter's line and the index group. */
bl_segment_spot bl_segment_approach(const bl_segment *segment, const bl_lookup *lookup);
/* Test the filter, where most absent keys end, then search the block. `spot` NULL: not approached. */
bl_find bl_segment_find_from(bl_segment *segment, const bl_lookup *lookup, const bl_segment_spot *spot,
                             bl_found *out);
bl_find bl_segment_find(bl_segment *segment, const bl_lookup *lookup, bl_found *out);
/* For many keys at once, behind an approach: unless the filter denies the key, find its block and ask for the block's
 * first lines; then, with what that found, ask for the record. Hints only: nothing is counted, and nothing marked as
 * wanted. */
const bl_frame *bl_segment_prefetch_block(const bl_segment *segment, const bl_lookup *lookup);
void bl_segment_prefetch_record(const bl_frame *frame, const bl_lookup *lookup);
/* Outside an epoch, holding a reference. Returns once the unit or block is in memory, whoever loaded it; it
 * may be evicted again before the caller looks, so after some rounds use find_uncached. BOLE_MEMORY_PINNED:
 * the memory limit leaves no room for it: use find_uncached. BOLE_CORRUPT names file and offset; then nothing
 * was installed. */
BOLE_CHECKED bole_status bl_segment_load(bl_segment *segment, uint64_t block, bole_error *error);
/* When the memory limit leaves no room: read one block privately, look the key up in it, copy the value out
 * (for a tombstone, BOLE_OK with its tag and an empty value). Goes on whatever the limit says; its buffers
 * are charged. */
BOLE_CHECKED bole_status bl_segment_find_uncached(bl_segment *segment, const bl_lookup *lookup, uint64_t *tag,
                                                  bole_buffer *value, bole_error *error); /* or NOT_FOUND */

/* ---- Values of a value segment (value_pointer.h) ---- */
/* Inside an epoch; nothing waits. BL_FIND_FOUND, with out->value and out->frame; BL_FIND_MUST_LOAD, with
 * out->block; BL_FIND_ABSENT: what stands there is not the value of `key`, see bl_segment_wrong_value. */
bl_find bl_segment_find_value(bl_segment *segment, const bl_value_pointer *pointer, bole_slice key,
                              bl_found *out);
/* The same for a block to which a pointer to the value of `key` led before, in the same version. BL_FIND_ABSENT says no
 * more than that a search must tell. */
bl_find bl_segment_find_value_at(bl_segment *segment, uint64_t block, bole_slice key, bl_found *out);
/* A value taken out of a value segment: a frame pinned, or, when it is not in memory, a private copy whose
 * memory is kept for the next one. A zeroed one holds nothing. */
typedef struct bl_held_value {
    bole_slice value;
    bl_frame *frame;
    uint8_t *block;
    size_t block_capacity; /* charged to `budget` */
    bl_memory_budget *budget;
} bl_held_value;
/* Outside an epoch, holding a reference; what was held before is let go. Nothing is admitted to the cache.
 * BOLE_CORRUPT names file and offset. */
BOLE_CHECKED bole_status bl_segment_hold_value(bl_segment *segment, const bl_value_pointer *pointer,
                                               bole_slice key, bl_held_value *held, uint64_t *bytes_read,
                                               bole_error *error);
void bl_held_value_release(bl_held_value *held); /* memory too; outside an epoch */
/* The story of a pointer whose place holds something else. */
bole_status bl_segment_wrong_value(const bl_segment *segment, const bl_value_pointer *pointer,
                                   bole_error *error);

/* ---- Scans ---- */
typedef struct bl_segment_cursor_options {
    bool fill_cache;   /* false: use frames that are present, admit none (scans, merges) */
    bool fresh;        /* use no frame that is present: all bytes were verified just now */
    bool read_ahead;   /* from the third sequential block on, 256 KiB ahead in a charged private buffer */
    bool segments_stay; /* the caller keeps the array and its segments while the cursor lives */
    uint64_t *bytes_read; /* counter to add to, of the cursor's thread; may be NULL */
} bl_segment_cursor_options;
/* A cursor over one run: `count` segments in key order that do not overlap (one for a segment alone), of one
 * environment and one comparator. Takes a reference on each until closed, unless `segments_stay`. It may be
 * made and used outside epochs only. An error or damage makes it invalid with status and error; a later
 * seek starts anew. With a comparator that is not known it walks (seek_first, seek_last, next, prev) and
 * refuses to seek (BOLE_COMPARATOR). */
BOLE_CHECKED bole_status bl_segment_cursor(bl_segment *const *segments, uint32_t count,
                                           const bl_segment_cursor_options *options, bl_cursor **out,
                                           bole_error *error);
/* The same, with `segments_stay`, in memory of the caller's, of so many bytes and aligned as bl_alloc's, which stays
 * until it is closed. */
size_t bl_segment_cursor_bytes(void);
bl_cursor *bl_segment_cursor_at(void *place, bl_segment *const *segments, uint32_t count,
                                const bl_segment_cursor_options *options);

/* ---- Looking in (inspect, split points, stats) ---- */
/* Since the handle was made. A probe is counted with its outcome: denied; passed and the key was found;
 * passed for nothing (also when all versions are newer than the reader). One that ends in MUST_LOAD is not
 * counted: it is made again. Exact while at most 16 threads read at a time (see frame_cache.h). */
typedef struct bl_segment_counters {
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
/* Visit blocks in order: ordinal, offset, stored bytes, separator (first key bound). Stops when visit says
 * false. */
typedef struct bl_block_place {
    uint64_t ordinal, offset;
    uint32_t stored_bytes;
    bole_slice separator;
} bl_block_place;
BOLE_CHECKED bole_status bl_segment_blocks(bl_segment *segment,
                                           bool (*visit)(void *context, const bl_block_place *place),
                                           void *context, bole_error *error);

#endif
