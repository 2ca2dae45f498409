/* SPDX-License-Identifier: MIT */
/* version_set.h -- the manifest's state in memory: the present version, logs, numbers; and how edits become
 * durable.
 *
 * THREADS Every function but the readers' (bl_version_set_current inside an epoch) is called with the store's
 * mutex held. Those that do I/O (apply, close_cleanly, withdraw_clean_mark, settle) let go of it meanwhile
 * and hold it again when they return; they take turns, and who comes second waits. create, recover, destroy,
 * look_again and the writing of an export are called without the mutex. */
#ifndef BL_VERSION_VERSION_SET_H
#define BL_VERSION_VERSION_SET_H

#include "version/version.h"
#include "version/version_edit.h"

typedef struct bl_version_set bl_version_set;

typedef struct bl_version_set_parameters {
    bl_segment_environment *environment; /* its store_id is filled in by create and recover */
    bl_scheduler *scheduler;
    bl_mutex *mutex;            /* the store's */
    const char *directory;      /* copied */
    bole_vfs *vfs;
    const bole_comparator *default_comparator;         /* may be NULL */
    const bole_comparator *const *comparators;         /* NULL-terminated or NULL; lives as long as the set */
    uint64_t manifest_bytes_max; /* rolls over above; 0: 4 MiB */
    bool read_only;
    bool allow_unknown_comparators; /* tools; only together with read_only */
} bl_version_set_parameters;

/* Make a new store's first manifest and CURRENT, durably: table 0 is "default". What an earlier create left
 * half done is no obstacle. BOLE_EXISTS: there is a CURRENT. BOLE_CORRUPT: there are logs or segments but no
 * CURRENT, so this was a store and is damaged; nothing is touched. The directory's own name is the caller's
 * to sync. */
BOLE_CHECKED bole_status bl_version_set_create(const bl_version_set_parameters *parameters,
                                               bl_version_set **out, bole_error *error);
/* Read CURRENT and the manifest. Writes nothing. A torn last edit is dropped (and the first apply rolls
 * over); damage elsewhere is BOLE_CORRUPT. BOLE_NO_STORE when there is no CURRENT. BOLE_COMPARATOR: a table's
 * comparator is not among the parameters', or default_comparator is another than the default table's. With
 * read_only a writing process may be at work: what looks wrong is read again when CURRENT or the manifest
 * moved meanwhile. */
BOLE_CHECKED bole_status bl_version_set_recover(const bl_version_set_parameters *parameters,
                                                bl_version_set **out, bole_error *error);
void bl_version_set_destroy(bl_version_set *set); /* NULL is allowed. Files stay */

/* Check the edit, write it, sync it, install the new version, mark the handles of removed segments obsolete.
 * The first apply after an open withdraws the clean mark, or, when the store was not closed cleanly, rolls
 * over: what a process that died left in a manifest is read, but whether it is on disk is not known.
 * On failure the state is as before; the next apply rolls over to a new manifest number with a full snapshot
 * (the failed manifest is never appended to). An edit that does not fit the state is our own mistake:
 * asserted. One whose segments would overlap in a run is refused with BOLE_CORRUPT, nothing written.
 * The version before is let go of only after a grace period (bl_epoch_wait, without the mutex), inside this
 * call: so readers inside an epoch need no reference. Never call it inside an epoch. */
BOLE_CHECKED bole_status bl_version_set_apply(bl_version_set *set, const bl_version_edit *edit,
                                              bole_error *error);
/* Clean close: log end and checksum in the manifest, then manifest length and checksum into CURRENT. `edit`
 * as above; NULL: nothing to add; then nothing at all is written when the store was opened clean and not
 * written since. */
BOLE_CHECKED bole_status bl_version_set_close_cleanly(bl_version_set *set, const bl_version_edit *edit,
                                                      bole_error *error);
bool bl_version_set_was_clean(const bl_version_set *set); /* when it was opened */
/* After an open, before the first log record: nothing that the mark promises may be broken before it is gone,
 * durably. A no-op without a mark. */
BOLE_CHECKED bole_status bl_version_set_withdraw_clean_mark(bl_version_set *set, bole_error *error);

/* May files be deleted (or recycled) now that the present state does not name: orphans, and outputs of a job
 * whose edit failed? False while a crash could bring back a state that names them: after an edit or a change
 * of CURRENT failed, and after an open that was not clean; until the next apply, or settle, succeeded. Files
 * that an edit removed which did succeed may go at any time: no such state names them. */
bool bl_version_set_may_delete(const bl_version_set *set);
/* End such a doubt without an edit: roll over. A no-op when there is none. */
BOLE_CHECKED bole_status bl_version_set_settle(bl_version_set *set, bole_error *error);

/* Readers: inside an epoch, no reference needed. Others: bl_version_ref with the mutex held. */
bl_version *bl_version_set_current(const bl_version_set *set);
bl_id bl_version_set_store_id(const bl_version_set *set);
uint64_t bl_version_set_new_file_number(bl_version_set *set); /* never used before, also not by stray files */
void bl_version_set_pass_file_number(bl_version_set *set, uint64_t number); /* found in the directory */
uint64_t bl_version_set_flushed_through(const bl_version_set *set);
uint64_t bl_version_set_synced(const bl_version_set *set);
uint64_t bl_version_set_next_sequence(const bl_version_set *set); /* above all it knows */
uint64_t bl_version_set_manifest_number(const bl_version_set *set);
/* Bytes; with the number: what a reader saw. */
uint64_t bl_version_set_manifest_position(const bl_version_set *set);
uint32_t bl_version_set_log_count(const bl_version_set *set);
/* Oldest first. Good until the mutex is let go of, which apply does. */
const bl_log_description *bl_version_set_log_at(const bl_version_set *set, uint32_t index);
uint32_t bl_version_set_next_table_number(const bl_version_set *set);
bool bl_version_set_table_was_dropped(const bl_version_set *set, uint32_t number, uint64_t *position);
/* Is this file named by the present state (else it is an orphan)? Files that no state names and that are not
 * orphans (CURRENT, LOCK, bole.conf, ..., names that are not the store's) count as named; temporary ones do
 * not. */
bool bl_version_set_names_file(const bl_version_set *set, int file_kind, uint64_t number);
/* Has the directory moved on since this set was recovered (read-only openers)? Only reads. A reader looks at
 * logs, then looks again: when nothing changed, manifest and logs belong together. */
BOLE_CHECKED bole_status bl_version_set_look_again(const bl_version_set *set, bool *changed,
                                                   bole_error *error);

/* ---- A state for another directory: checkpoints (version_export.c) ----
 * begin (mutex held) pins the present state. Then, at leisure and without the mutex: link the segments of
 * bl_version_export_version under their numbers, copy the log, sync both, and write: manifest and CURRENT
 * come last. */
typedef struct bl_version_export bl_version_export;
BOLE_CHECKED bole_status bl_version_export_begin(bl_version_set *set, bl_version_export **out,
                                                 bole_error *error);
const bl_version *bl_version_export_version(const bl_version_export *pinned); /* good until destroy */
void bl_version_export_destroy(bl_version_export *pinned); /* the mutex not held */

typedef struct bl_version_export_target {
    bole_vfs *vfs;
    const char *directory;
    bl_id store_id; /* a new one, random */
    const bl_log_description *logs; /* as they stand in the target, with new ids; mostly 0 or 1 */
    uint32_t log_count;
    uint64_t flushed_through; /* 0: as pinned */
    uint64_t synced;          /* 0: as pinned */
    uint64_t next_sequence;   /* 0: as pinned */
} bl_version_export_target;
/* Write the manifest and CURRENT, everything synced, the directory too; not its parent. When every log has an
 * end and a checksum the target counts as cleanly closed. The target directory holds no CURRENT yet
 * (BOLE_EXISTS). */
BOLE_CHECKED bole_status bl_version_export_write(const bl_version_export *pinned,
                                                 const bl_version_export_target *target, bole_error *error);

#endif
