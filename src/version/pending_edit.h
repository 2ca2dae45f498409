/* SPDX-License-Identifier: MIT */
/* pending_edit.h -- one edit of a live store between being asked for and being in force. */
#ifndef BL_VERSION_PENDING_EDIT_H
#define BL_VERSION_PENDING_EDIT_H

#include "version/version_set_internal.h"

/* A segment that leaves its place: for good, or (move) for another. */
typedef struct bl_departure {
    bl_version_removal from;
    const bl_segment_move *move;
    bl_segment *segment; /* the old version's */
} bl_departure;

typedef struct bl_pending_edit {
    bl_version_edit edit;
    bl_manifest_state next;
    bl_version *version, *old;
    bl_segment_place *removed; /* when the edit's own list had to grow */
    bl_departure *departures;
    uint32_t departure_count;
    bl_version_insertion *insertions; /* a reference each */
    uint32_t insertion_count;
} bl_pending_edit;

/* pending->edit is set, the rest zero. With the turn, without the mutex. Whatever it returns, deinit the
 * edit. */
BOLE_CHECKED bole_status bl_pending_edit_prepare(bl_version_set *set, bl_pending_edit *pending,
                                                 bole_error *error);
void bl_pending_edit_deinit(bl_pending_edit *pending);

#endif
