/* SPDX-License-Identifier: MIT */
/* version_set_internal.h -- the version set's fields, for version_set.c, version_recover.c and
 * version_export.c. */
#ifndef BL_VERSION_VERSION_SET_INTERNAL_H
#define BL_VERSION_VERSION_SET_INTERNAL_H

#include "version/manifest.h"
#include "version/manifest_state.h"
#include "version/version_set.h"

enum { BL_STALE_MAX = 8 };

struct bl_version_set {
    /* constant after construction */
    bl_segment_environment *environment;
    bl_mutex *mutex;
    bole_vfs *vfs;
    char *directory;
    const bole_comparator *default_comparator;
    const bole_comparator *const *comparators;
    uint64_t manifest_bytes_max;
    bool read_only;
    bool was_clean;
    bool turn_ready; /* the condition is made */
    bl_id store_id;
    bl_manifest_scanned opened; /* what recovery found */

    /* written with the mutex and the turn, read with either */
    bl_manifest_state state; /* without metas; the handles have them */
    _Atomic(bl_version *) current;
    uint64_t manifest_number, manifest_position;
    bool in_doubt;   /* a crash could bring back another state than this one: see may_delete */
    bool clean_mark; /* CURRENT may carry the mark */

    /* by mutex */
    bool turn_taken;
    bl_condition turn;
    uint64_t next_file_number; /* at or above the state's */

    /* by turn */
    bl_manifest *manifest;   /* NULL: there is none that may be appended to */
    bl_id manifest_id;
    uint64_t snapshot_bytes; /* of the present manifest, with its header */
    uint64_t retry_bytes;    /* when to try again a roll-over for size that failed */
    uint64_t stale[BL_STALE_MAX]; /* manifests to remove once a newer one is in force */
    uint32_t stale_count;
};

/* Fields from parameters; out->state and the rest are zero. */
BOLE_CHECKED bole_status bl_version_set_make(const bl_version_set_parameters *parameters,
                                             bl_version_set **out, bole_error *error);
/* The order with this name, from the parameters. false: not there. */
bool bl_version_set_resolve(const bl_version_set *set, const char *name, const bole_comparator **out);

/* ---- A snapshot edit from a version and what else the state says (version_export.c) ---- */

typedef struct bl_snapshot_source {
    const bl_version *version;
    const bl_log_description *logs;
    uint32_t log_count;
    const bl_state_drop *drops;
    uint32_t drop_count;
    uint64_t next_file_number, flushed_through, synced, next_sequence;
    uint32_t next_table_number;
} bl_snapshot_source;
BOLE_CHECKED bole_status bl_snapshot_encode(const bl_snapshot_source *source, bole_buffer *out,
                                            bole_error *error);

#endif
