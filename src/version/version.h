/* SPDX-License-Identifier: MIT */
/* version.h -- one immutable list of tables and their segments; the present one is swapped by one pointer.
 *
 * Runs that an edit does not touch are shared between versions, with their arrays.
 * INVARIANTS (checked by bl_version_check after every edit)
 *   (VER-1) Level 0 holds runs, newest first; a run's segments are in key order and do not overlap.
 *   (VER-2) Every other level holds at most one run.
 *   (VER-3) Per key, versions fall in sequence from level-0 newest run to oldest, then level by level.
 *   (VER-4) A segment is in one place. Its numbers are below the next file number.
 *   (VER-5) Into each value segment of a table lead as many pointers of the table's segments as it has entries that
 *           are not dead, at least one; every value segment that is pointed into is there. */
#ifndef BL_VERSION_VERSION_H
#define BL_VERSION_VERSION_H

#include "base/assert.h"
#include "base/slice.h"
#include "core/comparator.h"
#include "segment/segment.h"

typedef struct bl_run {
    uint32_t number;        /* level 0: higher is newer */
    uint32_t count;
    bl_segment **segments;  /* in key order; references are the run's */
    /* arrays beside them, for search without touching the segments: heads of the bounds at prefix_bytes (what all keys
     * of the run begin with; 0, and heads of 0, with a user's order) */
    uint32_t prefix_bytes;
    uint64_t *smallest_heads, *largest_heads;
    bole_slice *smallest, *largest; /* point into the segments' metas */
    uint64_t bytes, entries, tombstones;
    bool plain; /* every entry is a put of sequence 0: no key stands in the run twice, and everybody sees all */
    struct bl_run_body *body; /* the arrays; counted, shared between versions */
} bl_run;

typedef struct bl_level {
    uint32_t run_count;
    bl_run *runs; /* newest first */
    uint64_t bytes, entries, tombstones;
} bl_level;

/* The value segments of a table (segment/value_pointer.h). */
typedef struct bl_dead_values { /* that nothing points to any more: keys and values count */
    uint64_t entries, bytes;
} bl_dead_values;
typedef struct bl_version_values {
    uint32_t count;
    uint64_t *numbers;      /* rising: pointers are looked up here */
    bl_segment **segments;  /* parallel; references are the list's */
    bl_dead_values *dead;   /* parallel */
    uint64_t file_bytes, entries, raw_bytes, dead_entries, dead_bytes; /* sums */
    struct bl_run_body *body; /* the arrays; counted, shared between versions */
} bl_version_values;

typedef struct bl_version_table {
    uint32_t number;
    char *name;
    bl_comparator *comparator;  /* NULL also when unknown: see comparator_known */
    char *comparator_name;
    bool comparator_known;      /* false: the table can be dumped and verified, not searched */
    uint64_t created;           /* log position */
    bl_level levels[BOLE_LEVELS_MAX];
    bl_version_values values;
} bl_version_table;

typedef struct bl_version {
    _Atomic uint32_t references;
    uint64_t id;           /* no other version of this process has it, before or after */
    uint64_t sequence_max; /* of the entries of all levels */
    uint32_t table_count;
    bl_version_table *tables; /* by number, rising */
} bl_version;

void bl_version_ref(bl_version *version);
void bl_version_unref(bl_version *version); /* frees it with the last; segments are unreferenced then */
/* NULL: none. */
const bl_version_table *bl_version_table_search(const bl_version *version, uint32_t number);
static inline const bl_version_table *bl_version_table_by_number(const bl_version *version, uint32_t number)
{
    if (version->table_count != 0 && version->tables[0].number == number) /* most often the default one */
        return &version->tables[0];
    return bl_version_table_search(version, number);
}
const bl_version_table *bl_version_table_by_name(const bl_version *version, const char *name);
/* Index of the value segment with this number; count when there is none. */
static inline uint32_t bl_version_values_find(const bl_version_values *values, uint64_t number);
/* Calls `visit` with every segment of a version, value segments last in each table, until it returns false. */
void bl_version_each_segment(const bl_version *version,
                             bool (*visit)(void *context, const bl_version_table *table, bl_segment *segment),
                             void *context);
/* Where is this segment of `table`? NULL: nowhere. A segment's place is where the version has it: a trivial
 * move does not change the level and run in the handle's meta. Cost: looks at every segment of the table. */
bl_segment *bl_version_find_segment(const bl_version *version, uint32_t table, uint64_t number,
                                    uint32_t *level, uint32_t *run);

/* The run of this number, which the level has. */
static inline const bl_run *bl_level_run(const bl_level *level, uint32_t number)
{
    uint32_t i = 0;
    while (level->runs[i].number != number)
        bl_assert(++i < level->run_count);
    return &level->runs[i];
}

/* First with largest >= key; count when there is none. Branchless binary search over the heads; equal heads
 * are resolved by the keys. */
uint32_t bl_run_lower_bound(const bl_run *run, bl_comparator *comparator, bole_slice key);
/* How many of heads[0..count) are below `head`? */
static inline uint32_t bl_run_heads_below(const uint64_t *heads, uint32_t count, uint64_t head)
{
    const uint64_t *base = heads;
    while (count > 1) {
        uint32_t half = count / 2;
        base = base[half - 1] < head ? base + half : base; /* a conditional move */
        count -= half;
    }
    return (uint32_t)(base - heads) + (count == 1 && *base < head);
}
/* bl_run_find where heads do not tell: by whole keys. */
bl_segment *bl_run_find_by_keys(const bl_run *run, bl_comparator *comparator, bole_slice key);

/* The segment of a run that may hold `key`, or NULL. */
static inline bl_segment *bl_run_find(const bl_run *run, bl_comparator *comparator, bole_slice key)
{
    uint32_t prefix = run->prefix_bytes;
    if (comparator != NULL)
        return bl_run_find_by_keys(run, comparator, key);
    if (prefix != 0 && (key.size < prefix || bl_bytes_compare(key.data, run->largest[0].data, prefix) != 0))
        return NULL;
    uint64_t head = bl_head64(key.data, key.size, prefix);
    uint32_t at = bl_run_heads_below(run->largest_heads, run->count, head);
    if (at == run->count)
        return NULL;
    if (run->largest_heads[at] == head || run->smallest_heads[at] == head)
        return bl_run_find_by_keys(run, NULL, key);
    return run->smallest_heads[at] < head ? run->segments[at] : NULL;
}

static inline uint32_t bl_version_values_find(const bl_version_values *values, uint64_t number)
{
    uint32_t low = 0, count = values->count;
    while (count > 1) {
        uint32_t half = count / 2;
        low = values->numbers[low + half - 1] < number ? low + half : low; /* a conditional move */
        count -= half;
    }
    return count == 1 && values->numbers[low] == number ? low : values->count;
}

/* Is more than one in `share` of its bytes dead? Then its values are worth writing anew. 0: never. */
static inline bool bl_version_values_condemned(const bl_version_values *values, uint32_t at, uint32_t share)
{
    return share != 0 && values->dead[at].bytes > bl_segment_meta_of(values->segments[at])->raw_bytes / share;
}

/* (VER-1) to (VER-5), (VER-4) without the next file number. Order of keys is looked at where the
 * comparator is known; (VER-3) as far as metas tell: level-0 runs that overlap must not overlap in sequences,
 * and where two levels share a bounding key the upper one must not be older as a whole. BOLE_CORRUPT names
 * the segment. */
BOLE_CHECKED bole_status bl_version_check(const bl_version *version, bole_error *error);

/* ---- Making the next one (version_build.c) ---- */

typedef struct bl_version_insertion {
    uint32_t table, level, run; /* level BL_LEVEL_VALUES, run 0: a value segment */
    bl_segment *segment; /* the version takes a reference of its own */
} bl_version_insertion;

typedef struct bl_version_removal {
    uint32_t table, level, run;
    uint64_t number;
} bl_version_removal;

typedef struct bl_values_died { /* more of a value segment is dead */
    uint32_t table;
    uint64_t number;
    bl_dead_values more;
} bl_values_died;

typedef struct bl_version_birth { /* of a table */
    uint32_t number;
    const char *name, *comparator_name;
    bl_comparator *comparator;
    bool comparator_known;
    uint64_t created;
} bl_version_birth;

typedef struct bl_version_change {
    const bl_version *base; /* NULL: nothing before */
    const bl_version_birth *births;
    uint32_t birth_count;
    const uint32_t *dropped; /* numbers of tables; all in them goes too */
    uint32_t dropped_count;
    bl_version_insertion *insertions; /* sorted in place */
    uint32_t insertion_count;
    bl_version_removal *removals; /* sorted in place; each must be where it says (asserted) */
    uint32_t removal_count;
    const bl_values_died *died; /* of value segments that stay or come */
    uint32_t died_count;
} bl_version_change;
/* One reference is the caller's. BOLE_NO_MEMORY is the only failure: call bl_version_check on the result. */
BOLE_CHECKED bole_status bl_version_build(const bl_version_change *change, bl_version **out,
                                          bole_error *error);

#endif
