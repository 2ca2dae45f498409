/* SPDX-License-Identifier: MIT */
/* version.h -- one immutable list of tables and their segments; the present one is swapped by one pointer.
 *
 * INVARIANTS (checked by bl_version_check after every edit)
 *   (VER-1) Level 0 holds runs, newest first; a run's segments are in key order and do not overlap.
 *   (VER-2) Every other level holds at most one run.
 *   (VER-3) Per key, versions fall in sequence from level-0 newest run to oldest, then level by level.
 *   (VER-4) A segment is in one place. Its numbers are below the next file number. */
#ifndef BL_VERSION_VERSION_H
#define BL_VERSION_VERSION_H

#include "core/comparator.h"
#include "segment/segment.h"

typedef struct bl_run {
    uint32_t number;        /* level 0: higher is newer */
    uint32_t count;
    bl_segment **segments;  /* in key order; references are the version's */
    /* arrays beside them, for search without touching the segments: heads of the largest keys at prefix_bytes */
    uint32_t prefix_bytes;
    uint64_t *largest_heads;
    bole_slice *smallest, *largest; /* point into the segments' metas */
    uint64_t bytes, entries, tombstones;
} bl_run;

typedef struct bl_level {
    uint32_t run_count;
    bl_run *runs; /* newest first */
    uint64_t bytes, entries, tombstones;
} bl_level;

typedef struct bl_version_table {
    uint32_t number;
    char *name;
    bl_comparator *comparator;  /* NULL also when unknown: see comparator_known */
    char *comparator_name;
    bool comparator_known;      /* false: the table can be dumped and verified, not searched */
    bl_level levels[BOLE_LEVELS_MAX];
} bl_version_table;

typedef struct bl_version {
    _Atomic uint32_t references;
    uint32_t table_count;
    bl_version_table *tables; /* by number, rising */
} bl_version;

void bl_version_ref(bl_version *version);
void bl_version_unref(bl_version *version); /* frees it with the last; segments are unreferenced then */
const bl_version_table *bl_version_table_by_number(const bl_version *version, uint32_t number); /* NULL: none */
const bl_version_table *bl_version_table_by_name(const bl_version *version, const char *name);

/* The segment of a run that may hold `key`, or NULL. */
static inline bl_segment *bl_run_find(const bl_run *run, bl_comparator *comparator, bole_slice key);
uint32_t bl_run_lower_bound(const bl_run *run, bl_comparator *comparator, bole_slice key); /* first with largest >= key */

static inline bl_segment *bl_run_find(const bl_run *run, bl_comparator *comparator, bole_slice key)
{
    uint32_t at = bl_run_lower_bound(run, comparator, key);
    if (at == run->count || bl_compare(comparator, key, run->smallest[at]) < 0)
        return NULL;
    return run->segments[at];
}

BOLE_CHECKED bole_status bl_version_check(const bl_version *version, bole_error *error);

#endif
