/* SPDX-License-Identifier: MIT */
/* level_map.h -- a table's segments laid on one line of integers, so that choosing a merge compares no keys.
 *
 * Every smallest and largest key gets its rank among all of them (equal keys the same). A segment is then an interval
 * [low, high]; two segments overlap when their intervals do. Layers are the runs, newest first: level 0's runs, then
 * levels 1, 2, ... as far as they are not empty. */
#ifndef BL_COMPACTION_LEVEL_MAP_H
#define BL_COMPACTION_LEVEL_MAP_H

#include "version/version.h"

typedef struct bl_map_item {
    const bl_segment_meta *meta; /* the version's */
    uint32_t low, high;
    bool busy; /* input of a running job */
    bool deep; /* level 0: lies over a key that many runs lie over; the picker's */
} bl_map_item;

typedef struct bl_map_layer {
    uint32_t level, run, count;
    bl_map_item *items; /* in key order, disjoint */
} bl_map_layer;

typedef struct bl_map_range { /* items [first, first + count) of a layer */
    uint32_t first, count;
} bl_map_range;

typedef struct bl_level_map {
    const bl_version_table *table;
    bl_map_layer *layers; /* newest first */
    uint32_t layer_count, level0_count;
    bl_map_item *items; /* of all layers */
    uint32_t item_count;
    uint32_t end; /* ranks are below */
    uint32_t *starts, *ends; /* room for item_count + 1 each: the picker's */
    bl_map_range *zones;     /* where jobs run, see bl_level_map_zones; room for item_count */
    uint32_t zone_count;
} bl_level_map;

#define BL_NO_LAYER UINT32_MAX

BOLE_CHECKED bole_status bl_level_map_init(bl_level_map *map, const bl_version_table *table,
                                           bool (*busy)(void *context, uint64_t number), void *context,
                                           bole_error *error);
void bl_level_map_deinit(bl_level_map *map);
/* The one layer of a level above 0, or BL_NO_LAYER. */
uint32_t bl_level_map_layer(const bl_level_map *map, uint32_t level);
/* Items of `layer` that overlap [low, high]. */
bl_map_range bl_level_map_overlap(const bl_map_layer *layer, uint32_t low, uint32_t high);
/* Find where running jobs may put segments into `target` (a layer or BL_NO_LAYER): the busy items, and the holes
 * between two of them that no idle segment of `target` separates, because an output may reach across such a hole. */
void bl_level_map_zones(bl_level_map *map, uint32_t target);
bool bl_level_map_is_free(const bl_level_map *map, uint32_t low, uint32_t high);

/* ---- A job on the map ---- */
typedef struct bl_map_scope {
    uint32_t first, end; /* source layers [first, end), newest first; what is newer than `first` stays out */
    uint32_t target;     /* layer of the output level, BL_NO_LAYER when it is empty */
    uint32_t below;      /* first layer beneath the output level */
} bl_map_scope;

typedef struct bl_map_job {
    bl_map_range *ranges; /* by layer; allocated by bl_map_job_init */
    uint32_t low, high;   /* of all inputs */
    uint32_t sources;     /* items that come from above the target; 0: there is no job */
    uint64_t source_bytes, target_bytes, entries, tombstones;
} bl_map_job;

BOLE_CHECKED bole_status bl_map_job_init(bl_map_job *job, const bl_level_map *map, bole_error *error);
void bl_map_job_deinit(bl_map_job *job);
void bl_map_job_copy(bl_map_job *to, const bl_map_job *from, const bl_level_map *map);
/* Take, oldest source layer first, every item that lies inside [low, high] and overlaps no older item that stays out
 * (VER-3: what is older goes down first or along), and all of the target that these overlap. */
void bl_map_job_fill(bl_map_job *job, const bl_level_map *map, const bl_map_scope *scope, uint32_t low,
                     uint32_t high);
/* Add target items that are neighbours of the job: [first, first + count) includes those there. */
void bl_map_job_widen(bl_map_job *job, const bl_level_map *map, uint32_t layer, bl_map_range range);

#endif
