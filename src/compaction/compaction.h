/* SPDX-License-Identifier: MIT */
/* compaction.h -- the merge: whole segments in, new segments of the output level out.
 *
 * INVARIANTS (COM-1) Every entry that some reader can see before can be seen after, and no other. (COM-2) Outputs are
 * in strict internal order. (COM-3) entries in = entries out + entries dropped, and entries in = the sum
 * of the inputs'
 * counts in their metas, else the job fails with BOLE_CORRUPT and changes nothing. (COM-4) A key's versions are never
 * split over two outputs. */
#ifndef BL_COMPACTION_COMPACTION_H
#define BL_COMPACTION_COMPACTION_H

#include "compaction/compaction_pick.h"
#include "compaction/flush.h"

/* `version` holds the pick's inputs and is referenced by the caller. Not for trivial moves (the caller edits places).
 * The new segments are synced and named; the caller puts them into one edit that removes the inputs. On failure every
 * file made is removed. Sequences are zeroed in the bottom where no snapshot needs them. */
BOLE_CHECKED bole_status bl_compaction_run(const bl_job_context *job, const bl_version *version, const bl_pick *pick,
                                           bl_job_result *out, bole_error *error);

#endif
