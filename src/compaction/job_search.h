/* SPDX-License-Identifier: MIT */
/* job_search.h -- of all merges that the level map allows, the one that rewrites the least for what it
 * brings down. */
#ifndef BL_COMPACTION_JOB_SEARCH_H
#define BL_COMPACTION_JOB_SEARCH_H

#include "compaction/compaction_pick.h"
#include "compaction/level_map.h"

typedef struct bl_picker {
    const bl_pick_policy *policy; /* no field of bytes or counts is 0 */
    bl_level_map map;
    bl_map_job best, trial;
    double best_cost;
    bool any; /* the first job that is found will do: whether there is one is all that is asked */
    bool (*accepts)(const struct bl_picker *p, const bl_map_job *job); /* NULL: every job */
    int64_t wanted_low, wanted_high; /* ranks of the range asked for; at first everything */
} bl_picker;

/* Deinit also after a failed init. */
BOLE_CHECKED bole_status bl_picker_init(bl_picker *p, const bl_version_table *table, const bl_pick_policy *policy,
                                        bool (*busy)(void *context, uint64_t number), void *context,
                                        bole_error *error);
void bl_picker_deinit(bl_picker *p);

/* Want only what overlaps [begin, end]; data == NULL leaves that side open. */
void bl_picker_want_range(bl_picker *p, bole_slice begin, bole_slice end);
bool bl_picker_wants(const bl_picker *p, const bl_map_item *item);
bool bl_picker_takes_wanted(const bl_picker *p, const bl_map_job *job); /* something above the last level */

/* Source layers from `first` down to the output level. */
bl_map_scope bl_picker_scope(const bl_level_map *map, uint32_t first, uint32_t output_level);
/* The best job of the scope (p->any: the first) that is accepted and clear of running ones, into p->best;
 * p->best.sources == 0: none. */
void bl_picker_find_best(bl_picker *p, const bl_map_scope *scope);
/* Small neighbours in the target are taken along, so that crumbs do not stay for ever. */
void bl_picker_take_small_neighbours(bl_picker *p, bl_map_job *job, uint32_t target);
/* Hand the job over: everything of `out` but the reason. `below`: first layer beneath the output. */
BOLE_CHECKED bole_status bl_picker_emit(const bl_picker *p, const bl_map_job *job, uint32_t output_level,
                                        uint32_t below, bl_pick *out, bole_error *error);

#endif
