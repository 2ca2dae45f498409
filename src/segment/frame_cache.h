/* SPDX-License-Identifier: MIT */
/* frame_cache.h -- blocks in memory: frames, pins, eviction.
 *
 * There is no hash table: each open segment has one atomic pointer per block (a slot), to a frame or null; the cache
 * owns the frames and may set any slot back to null. Life of a frame: null -> loading (others wait, outside the
 * epoch) -> frame -> evicted: the slot is set to null, a grace period passes, then its pin count is looked at: zero
 * frees, else the last unpin frees. Bytes stay charged until then. A hit takes no lock, no count, no hash.
 * Eviction is CLOCK in batches, done by who loads or installs when the budget is short, and keeps a reserve of 1 %
 * free so that a miss never waits for a grace period. */
#ifndef BL_SEGMENT_FRAME_CACHE_H
#define BL_SEGMENT_FRAME_CACHE_H

#include "core/memory_budget.h"
#include "platform/epoch.h"
#include "platform/page_arena.h"
#include "platform/scheduler.h"

typedef struct bl_frame_cache bl_frame_cache;
typedef struct bl_frame bl_frame; /* one block in memory, decompressed and verified */

BOLE_CHECKED bole_status bl_frame_cache_create(bl_memory_budget *budget, bl_scheduler *scheduler,
                                               bl_frame_cache **out, bole_error *error);
void bl_frame_cache_destroy(bl_frame_cache *cache); /* every frame must be free */
/* Give back memory until the budget's excess is 0 or nothing evictable is left (after a limit was lowered, or by a
 * background job). */
void bl_frame_cache_trim(bl_frame_cache *cache);

/* A reader inside an epoch that found a frame keeps it beyond the epoch. */
void bl_frame_pin(bl_frame *frame);
void bl_frame_unpin(bl_frame *frame);

typedef struct bl_frame_cache_counters {
    uint64_t hits, misses, evictions, bytes_read, loads_shared;
} bl_frame_cache_counters;
void bl_frame_cache_counters_read(const bl_frame_cache *cache, bl_frame_cache_counters *out);

#endif
