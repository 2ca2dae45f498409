/* SPDX-License-Identifier: MIT */
/* version_set.h -- the manifest's state in memory: the present version, logs, numbers; and how edits are made durable.
 *
 * THREADS Every function but the readers' (bl_version_set_current inside an epoch) is called with the store's mutex
 * held, except that bl_version_set_apply lets go of it around the manifest's I/O (a second edit waits its turn). */
#ifndef BL_VERSION_VERSION_SET_H
#define BL_VERSION_VERSION_SET_H

#include "version/version.h"
#include "version/version_edit.h"

typedef struct bl_version_set bl_version_set;

typedef struct bl_version_set_parameters {
    bl_segment_environment *environment; /* its store_id is filled in by create and recover */
    bl_scheduler *scheduler;
    bl_mutex *mutex;            /* the store's */
    const char *directory;
    bole_vfs *vfs;
    const bole_comparator *default_comparator;         /* may be NULL */
    const bole_comparator *const *comparators;         /* NULL-terminated or NULL */
    uint64_t manifest_bytes_max; /* rolls over above; 0: 4 MiB */
    bool read_only;
    bool allow_unknown_comparators; /* tools */
} bl_version_set_parameters;

/* Make a new store's first manifest and CURRENT, durably: table 0 is "default". */
BOLE_CHECKED bole_status bl_version_set_create(const bl_version_set_parameters *parameters, bl_version_set **out,
                                               bole_error *error);
/* Read CURRENT and the manifest. Writes nothing. A torn last edit is dropped (and the first apply rolls over); damage
 * elsewhere is BOLE_CORRUPT. BOLE_NO_STORE when there is no CURRENT. */
BOLE_CHECKED bole_status bl_version_set_recover(const bl_version_set_parameters *parameters, bl_version_set **out,
                                                bole_error *error);
void bl_version_set_destroy(bl_version_set *set);

/* Check the edit, write it, sync it, install the new version. On failure the state is as before; the next apply rolls
 * over to a new manifest number with a full snapshot (the failed manifest is never appended to). */
BOLE_CHECKED bole_status bl_version_set_apply(bl_version_set *set, const bl_version_edit *edit, bole_error *error);
/* Clean close: log end and checksum in the manifest, then manifest length and checksum into CURRENT. `edit` as above.
 * The first apply after an open withdraws that mark, durably, before anything else. */
BOLE_CHECKED bole_status bl_version_set_close_cleanly(bl_version_set *set, const bl_version_edit *edit,
                                                      bole_error *error);
bool bl_version_set_was_clean(const bl_version_set *set);
BOLE_CHECKED bole_status bl_version_set_withdraw_clean_mark(bl_version_set *set, bole_error *error);

/* Readers: inside an epoch, no reference needed. Others: bl_version_ref with the mutex held. */
bl_version *bl_version_set_current(const bl_version_set *set);
/* Called (mutex held) right after a new version was published; the engine waits a grace period and unrefs the old. */
bl_id bl_version_set_store_id(const bl_version_set *set);
uint64_t bl_version_set_new_file_number(bl_version_set *set); /* never used before, also not by stray files */
void bl_version_set_pass_file_number(bl_version_set *set, uint64_t number); /* found in the directory */
uint64_t bl_version_set_flushed_through(const bl_version_set *set);
uint64_t bl_version_set_synced(const bl_version_set *set);
uint64_t bl_version_set_next_sequence(const bl_version_set *set); /* above all it knows */
uint64_t bl_version_set_manifest_number(const bl_version_set *set);
uint64_t bl_version_set_manifest_position(const bl_version_set *set); /* bytes; with the number: what a reader saw */
uint32_t bl_version_set_log_count(const bl_version_set *set);
const bl_log_description *bl_version_set_log_at(const bl_version_set *set, uint32_t index); /* oldest first */
uint32_t bl_version_set_next_table_number(const bl_version_set *set);
bool bl_version_set_table_was_dropped(const bl_version_set *set, uint32_t number, uint64_t *position);
/* Is this file named by the present state (else it is an orphan)? */
bool bl_version_set_names_file(const bl_version_set *set, int file_kind, uint64_t number);

#endif
