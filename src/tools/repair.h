/* SPDX-License-Identifier: MIT */
/* repair.h -- what the files of repair share: the facts about a damaged store, and what is told of them. */
#ifndef BL_TOOLS_REPAIR_H
#define BL_TOOLS_REPAIR_H

#include <bole/bole_repair.h>
#include <bole/bole_vfs.h>

#include "log/log_replay.h"
#include "memory/memtable.h"
#include "segment/segment_salvage.h"
#include "version/manifest_salvage.h"

typedef struct bl_repair_table {
    uint32_t number;
    char *name, *comparator_name;
    bl_comparator *comparator;
    bool known; /* its order: this process has the comparator */
    bool dropped;
} bl_repair_table;

/* Keys of a table that are lost, and below which sequence what is found of them elsewhere is doubtful. */
typedef struct bl_repair_range {
    uint32_t table;
    uint64_t offset, sequence_max;
    bole_buffer after, upto;
    bool after_open, upto_open;
    char *why;
} bl_repair_range;

typedef struct bl_repair_segment {
    uint64_t number;
    bool named, removed; /* by an edit */
    bool on_disk;
    bool used;
    bool missed; /* a value segment that is gone, and an entry needs it: counted */
    bl_segment_meta meta; /* as named */
    bl_segment_salvage *salvage;
    bl_segment_salvaged found;
    bool values; /* a value segment: pointers of others lead into it, and nothing else counts */
    uint32_t table;
    uint64_t sequence_max;
    uint32_t range_first, range_count; /* of its losses */
} bl_repair_segment;

typedef struct bl_repair_log {
    uint64_t number;
    bool named, removed, on_disk;
    bl_log_description description; /* as named */
    bool has_header;
    bl_log_header header;
} bl_repair_log;

/* Lists that grow: count, capacity and items stand together. */
typedef struct bl_repair {
    bole_vfs *vfs;
    const char *path;
    bole_options options;
    uint32_t flags;
    bool (*visit)(void *context, const bole_repair_finding *finding);
    void *context;
    bole_repair_report *report;
    bole_error *error;

    bl_current current;
    bool has_current;
    bl_id store_id; /* zero: not known */
    bool trusted;   /* the manifest names all files that count, and only those */
    uint64_t flushed_through, synced;
    uint32_t table_count, table_capacity;
    bl_repair_table *tables;
    uint32_t segment_count, segment_capacity;
    bl_repair_segment *segments;
    uint32_t slot_count, *slots; /* index + 1 of the segment with a number: a hash table, repair_facts.c's */
    uint32_t log_count, log_capacity;
    bl_repair_log *logs;
    uint32_t manifest_count, manifest_capacity;
    uint64_t *manifests; /* numbers, rising */
    uint32_t range_count, range_capacity;
    bl_repair_range *ranges;

    bl_memory_budget budget; /* no limit: it only counts */
    bl_memtable *memtable;   /* the logs' operations */
} bl_repair;

/* No sign of damage: memory is short, or a newer version wrote it. Repair ends with such a status. */
static inline bool bl_repair_ends_with(bole_status status)
{
    return status == BOLE_NO_MEMORY || status == BOLE_UNSUPPORTED;
}

/* ---- repair.c ---- */
/* Count a finding and tell it. BOLE_CANCELLED when the visitor has enough. */
typedef struct bl_repair_place {
    const char *file;
    uint64_t offset;
    const char *table;
    bole_slice after, upto;
} bl_repair_place;
BOLE_CHECKED bole_status bl_repair_tell(bl_repair *repair, bole_repair_kind kind,
                                        const bl_repair_place *place, const char *format, ...)
    __attribute__((format(printf, 4, 5)));
/* A message without the file and offset in front, which the finding names already. */
const char *bl_repair_reason(const bl_repair *repair, const char *message);
/* Room for one more item; zeroed. NULL: out of memory, told. */
void *bl_repair_grow(bl_repair *repair, void *items, uint32_t *count, uint32_t *capacity, size_t size);
bl_repair_table *bl_repair_table_of(bl_repair *repair, uint32_t number); /* NULL: not known */
/* The same, made with the name "salvaged-table-N" when nothing else is known. NULL: out of memory, told. */
bl_repair_table *bl_repair_table_make(bl_repair *repair, uint32_t number);
/* Name and order, unless they are known already. False: out of memory, told. */
bool bl_repair_table_name(bl_repair *repair, bl_repair_table *table, const char *name,
                          const char *comparator_name);
bool bl_repair_resolve(const bl_repair *repair, const char *comparator_name, bl_comparator **out);

/* ---- repair_facts.c: directory, CURRENT, manifest ---- */
BOLE_CHECKED bole_status bl_repair_facts(bl_repair *repair);
/* The segment with this number; NULL: there is none. */
bl_repair_segment *bl_repair_segment_of(const bl_repair *repair, uint64_t number);
/* ---- repair_segments.c: which segments count, and what can be read of them ---- */
BOLE_CHECKED bole_status bl_repair_segments(bl_repair *repair);
/* ---- repair_logs.c: the logs' operations into the memtable ---- */
BOLE_CHECKED bole_status bl_repair_logs(bl_repair *repair);
/* ---- repair_write.c: the newest versions, counted, and into `db` unless that is NULL ---- */
BOLE_CHECKED bole_status bl_repair_write(bl_repair *repair, bole_db *db);

#endif
