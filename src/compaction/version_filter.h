/* SPDX-License-Identifier: MIT */
/* version_filter.h -- which versions of a key somebody can still see: what flush and merge keep.
 *
 * The positions at which readers may stand, snapshots and what was visible when the job began, cut the sequences into
 * stripes: stripe i holds the sequences from bound i - 1 up to below bound i. Of a key's versions in one stripe every
 * reader sees the newest or none, so the others go. What is not below `visible` stays: a reader may come to stand
 * anywhere there. In the bottom, where nothing older is left, a tombstone below all bounds hides nothing
 * and goes, and
 * a put there needs no sequence.
 *
 * INVARIANT  (VERSIONS-1) For every snapshot, for `visible` and every position above it, the newest version below it
 *            that is a put is kept, or if it is a tombstone, it or nothing of that key below it is kept. */
#ifndef BL_COMPACTION_VERSION_FILTER_H
#define BL_COMPACTION_VERSION_FILTER_H

#include "base/assert.h"
#include "core/internal_key.h"

typedef struct bl_version_filter {
    const uint64_t *snapshots; /* rising */
    uint32_t snapshot_count;   /* of those below visible */
    uint64_t visible;
    bool bottom; /* nothing older than what is shown to the filter is left for these keys */
    bool zero;   /* with bottom: puts that need no sequence get 0 */
    uint32_t stripe; /* of the version seen last; UINT32_MAX: none of this key yet */
} bl_version_filter;

static inline void bl_version_filter_init(bl_version_filter *filter, const uint64_t *snapshots, uint32_t count,
                                          uint64_t visible, bool bottom, bool zero)
{
    while (count > 0 && snapshots[count - 1] >= visible)
        count--;
    *filter = (bl_version_filter){ snapshots, count, visible, bottom, zero, UINT32_MAX };
}

/* Below every bound: no reader stands lower. */
static inline uint64_t bl_version_filter_lowest(const bl_version_filter *filter)
{
    return filter->snapshot_count == 0 ? filter->visible : filter->snapshots[0];
}

static inline uint32_t bl_version_filter_stripe(const bl_version_filter *filter, uint64_t sequence)
{
    uint32_t from = 0, to = filter->snapshot_count; /* the first bound above `sequence`; `visible` is the last */
    while (from < to) {
        uint32_t middle = from + (to - from) / 2;
        if (filter->snapshots[middle] <= sequence)
            from = middle + 1;
        else
            to = middle;
    }
    return from;
}

/* Versions of a key are shown newest first; `new_key`: the first of them. Keep it? Its tag may change. */
static inline bool bl_version_filter_keeps(bl_version_filter *filter, bool new_key, uint64_t *tag)
{
    uint64_t sequence = bl_tag_sequence(*tag);
    if (new_key)
        filter->stripe = UINT32_MAX;
    if (bl_unlikely(sequence >= filter->visible))
        return true;
    uint32_t stripe = bl_version_filter_stripe(filter, sequence);
    if (stripe == filter->stripe)
        return false;
    filter->stripe = stripe;
    if (stripe == 0 && filter->bottom) {
        if (bl_tag_kind(*tag) == BL_KIND_DELETE) {
            BL_MARK("bottom tombstone dropped");
            return false;
        }
        if (filter->zero)
            *tag = BL_TAG(0, bl_tag_kind(*tag));
    }
    return true;
}

#endif
