/* SPDX-License-Identifier: MIT */
/* bole_repair.h -- a new store from what can be read of a damaged one.
 *
 * The damaged store is only read. Whatever is left of CURRENT, manifest, segments and logs is looked through; then the
 * newest readable version of every key goes into a new store in another directory, which is verified before it gets
 * its name. A dry run does all but the writing, and tells the same.
 *
 * WHAT COMES BACK
 *   - Everything that can be read. Where a whole manifest says which files count, exactly those are used.
 *   - Without it the segments and logs that are there say by themselves to which table they belong, which are older,
 *     and which were merged into others. A file that a merge or a drop had made obsolete, and that was not
 *     removed yet, may then be taken for live: keys deleted since may come back. Names of tables that no segment
 *     mentions are lost; their data comes back as "salvaged-table-N", that of a segment whose end is lost too as
 *     "salvaged-segment-N".
 *   - Where a block or a file is lost, an older version of its keys may be found elsewhere, or a key that it had
 *     deleted. Such keys are counted (entries_doubtful); BOLE_REPAIR_CERTAIN leaves them out. */
#ifndef BOLE_REPAIR_H
#define BOLE_REPAIR_H

#include <bole/bole.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef enum bole_repair_flag {
    BOLE_REPAIR_DRY_RUN = 1u << 0, /* write nothing; `target` is not looked at and may be NULL */
    BOLE_REPAIR_CERTAIN = 1u << 1, /* leave out keys whose newest version may be among what is lost */
} bole_repair_flag;

typedef enum bole_repair_kind {
    BOLE_REPAIR_KEPT, /* a file, or the readable part of it */
    BOLE_REPAIR_LOST, /* a file, or a place of it */
    BOLE_REPAIR_NOTE, /* what is not used, and why; what was guessed */
} bole_repair_kind;

/** One thing that was found. Texts and keys are good during the call. */
typedef struct bole_repair_finding {
    bole_repair_kind kind;
    const char *file;       /* "000012.seg"; "" where no file is concerned */
    uint64_t offset;        /* UINT64_MAX: the whole file */
    const char *table;      /* NULL: none, or not known */
    bole_slice after, upto; /* LOST: the keys above `after` up to `upto`; data == NULL: open */
    const char *text;       /* a whole sentence: what, why, and what it means */
} bole_repair_finding;

typedef struct bole_repair_report {
    bool manifest_whole; /* a manifest said which files count */
    uint64_t tables;
    uint64_t segments, segments_damaged, segments_missing, blocks,
        blocks_lost; /* lost: places where blocks are */
    uint64_t logs, logs_damaged, logs_missing, log_operations;
    uint64_t losses;  /* findings of kind LOST */
    uint64_t entries; /* keys of the new store */
    uint64_t
        entries_doubtful; /* of these, or left out with BOLE_REPAIR_CERTAIN: may be older than what is lost */
    uint64_t entries_left_out; /* of tables whose order this process does not have, and doubtful ones */
} bole_repair_report;

/** Repair the store at `path` into a new store at `target`, which must not exist and is whole when it does.
 *  `options` (may be NULL) as for bole_open: comparators and vfs count for both stores, the rest for the new one; the
 *  settings in bole.conf are taken over. `visit` (may be NULL) is called for every finding; returning false ends with
 *  BOLE_CANCELLED. BOLE_OK when there is a new store, whatever was lost: see report->losses. BOLE_NO_STORE: nothing of
 *  a store is in the directory. BOLE_LOCKED: a process writes to it. BOLE_EXISTS: something is at `target`.
 *  Threads: any; nothing else may use `target`. Cost: reads all of the store, and writes what is live of it; memory as
 *  options->memory_limit, and besides the logs' operations and one block a segment of those that overlap. */
BOLE_CHECKED BOLE_API bole_status bole_repair(const char *path, const char *target,
                                              const bole_options *options, uint32_t flags,
                                              bool (*visit)(void *context,
                                                            const bole_repair_finding *finding),
                                              void *context, bole_repair_report *report, bole_error *error);

#ifdef __cplusplus
}
#endif
#endif
