/* SPDX-License-Identifier: MIT */
/* manifest_salvage.h -- every edit that can still be read of a damaged manifest. See manifest_salvage.c. */
#ifndef BL_VERSION_MANIFEST_SALVAGE_H
#define BL_VERSION_MANIFEST_SALVAGE_H

#include "version/manifest.h"

typedef struct bl_manifest_salvaged {
    bl_id id, store_id; /* store_id zero: not known */
    uint64_t number;    /* 0: not known */
    uint64_t edits;
    bool whole;            /* from the snapshot on, no edit is missing between those that were shown */
    uint64_t first_damage; /* offset; UINT64_MAX: none, not even behind the last edit */
} bl_manifest_salvaged;

/* Visit every edit that verifies, in order of the file, also behind damage. `current` (may be NULL) gives ids where
 * the header is lost. BOLE_CORRUPT: nothing says what the file's id is. BOLE_NOT_FOUND: no such file. */
BOLE_CHECKED bole_status bl_manifest_salvage(bole_vfs *vfs, const char *path, const bl_current *current,
                                             bl_manifest_visit visit, void *context,
                                             bl_manifest_salvaged *out, bole_error *error);

#endif
