/* SPDX-License-Identifier: MIT */
/* segment_state.h -- what a segment handle and its unit are made of: for the files of this folder only.
 *
 * LIFE    handle: made from the manifest's meta, cold -> its unit is loaded by the first read -> evicted
 *         whole when nobody holds it -> loaded again ... -> the last unref frees all. A unit is held by each
 *         slot that has a frame, each load under way, and each cursor. */
#ifndef BL_SEGMENT_SEGMENT_STATE_H
#define BL_SEGMENT_SEGMENT_STATE_H

#include "segment/block.h"
#include "segment/block_index.h"
#include "segment/bloom_filter.h"
#include "segment/frame_cache.h"
#include "segment/segment.h"
#include "segment/segment_descriptor.h"
#include "segment/segment_footer.h"

/* Block index with its slots, filter, and what the footer said: one piece of memory, this struct first. */
typedef struct bl_unit {
    bl_unit_node node;
    bl_block_index index;
    bl_bloom_filter filter;
    bool has_filter;
    bool ordered;      /* keys can be searched: the comparator is known */
    uint8_t compression;
    uint64_t index_bytes, filter_bytes; /* in memory */
} bl_unit;

typedef struct bl_segment_stripe { /* counters of one thread, see bl_count_stripe */
    _Alignas(64) _Atomic uint64_t denied;
    _Atomic uint64_t found, passed_for_nothing;
} bl_segment_stripe;

struct bl_segment {
    /* read by every find */
    _Atomic(bl_unit_node *) unit;
    bl_frame_cache *cache;
    _Atomic(bl_segment_stripe *) counts; /* BL_COUNT_STRIPES of them; there before the first unit is */
    bl_comparator *comparator;
    /* constant */
    bl_segment_environment *environment;
    uint64_t seed; /* of the file's checksums */
    char *path;
    bl_segment_meta meta;
    /* self-synchronized */
    _Atomic uint32_t references;
    _Atomic bool obsolete;
    /* by the load queue of this segment */
    bool unit_loading;
    /* the descriptor cache's */
    bl_descriptor descriptor;
};

/* ---- segment_unit.c ---- */

static inline const bl_unit *bl_unit_of(const bl_unit_node *node)
{
    return (const bl_unit *)(const void *)node;
}

/* The unit, held: the one that is there, or else loaded and published, once, however many ask. When the
 * memory limit leaves no room: BOLE_MEMORY_PINNED; with `force` a private one that nobody else sees. *out is
 * NULL on failure. */
BOLE_CHECKED bole_status bl_unit_get(bl_segment *segment, bool force, bl_unit **out, bole_error *error);
/* A private one in any case, read from the file now; charged by force. */
BOLE_CHECKED bole_status bl_unit_load_private(bl_segment *segment, bl_unit **out, bole_error *error);
/* The unit that is in memory, held, or NULL. */
bl_unit *bl_unit_hold_present(bl_segment *segment);
/* Let go; a private one is freed. */
void bl_unit_put(bl_segment *segment, bl_unit *unit);
/* Publish index and filter that the writer has in memory; nothing when the limit leaves no room. Slots are
 * empty; the unit is returned held, or NULL. */
BOLE_CHECKED bole_status bl_unit_build(bl_segment *segment, const bl_segment_built *built, bl_unit **out,
                                       bole_error *error);
/* Compare what the file says of its order with the handle's comparator: BOLE_COMPARATOR when it is another
 * one. */
BOLE_CHECKED bole_status bl_segment_check_comparator(const bl_segment *segment,
                                                     const bl_segment_footer *footer, bool whole,
                                                     bool *ordered, bole_error *error);

/* ---- segment_value.c ---- */

/* Leave a hint to a value that was written: block `ordinal`, which will stand in its slot. */
void bl_value_hint_written(const bl_frame_cache *cache, const bl_unit *unit, uint64_t ordinal, const bl_frame *frame);

#endif
