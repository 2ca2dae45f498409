/* SPDX-License-Identifier: MIT */
/* segment_salvage.h -- what can still be read of a segment file, whatever happened to it. See segment_salvage.c. */
#ifndef BL_SEGMENT_SEGMENT_SALVAGE_H
#define BL_SEGMENT_SEGMENT_SALVAGE_H

#include <bole/bole_vfs.h>
#include "segment/segment_footer.h"
#include "segment/value_pointer.h"

/* A place whose entries are lost: keys above `after` up to `upto`, both of which may be open (data == NULL). The keys
 * are borrowed for the call. */
typedef struct bl_segment_loss {
    uint64_t offset, bytes; /* in the file; bytes 0: not known */
    bole_slice after, upto;
    const char *why;
} bl_segment_loss;
typedef bole_status (*bl_segment_loss_visit)(void *context, const bl_segment_loss *loss, bole_error *error);

typedef struct bl_segment_salvage bl_segment_salvage;

/* Look through the whole file: every block is read and checked. `known` is what a manifest says of it, or NULL. Each
 * loss is told to `visit`, in order of the keys. BOLE_CORRUPT: nothing can be read, because nothing says what
 * the file's id is; BOLE_NOT_FOUND: there is no such file; BOLE_NO_MEMORY; else what a visit returned. */
BOLE_CHECKED bole_status bl_segment_salvage_open(bole_vfs *vfs, const char *path,
                                                 const bl_segment_meta *known, bl_segment_loss_visit visit,
                                                 void *context, bl_segment_salvage **out, bole_error *error);
void bl_segment_salvage_close(bl_segment_salvage *salvage); /* NULL is allowed */

typedef struct bl_segment_salvaged {
    bl_id id;
    const bl_segment_footer
        *footer;              /* NULL: it cannot be read, and the table is known from the manifest or not */
    uint64_t blocks, entries; /* good ones */
    uint64_t losses;
    bool holds_values; /* a value segment: footer, manifest or header say so */
    bool complete;   /* nothing is lost */
    bool open_ended; /* without an index nobody knows whether something stood behind the last good block */
    bole_slice first, last; /* keys of the good blocks; until close */
} bl_segment_salvaged;
void bl_segment_salvage_describe(const bl_segment_salvage *salvage, bl_segment_salvaged *out);

/* The good entries, in order of the file. `key` and `value` are good until the next call. BOLE_NOT_FOUND: no more. The
 * file is open from the first call to the last one, so that a store of many segments needs few descriptors. */
BOLE_CHECKED bole_status bl_segment_salvage_next(bl_segment_salvage *salvage, bole_slice *key, uint64_t *tag,
                                                 bole_slice *value, bole_error *error);

/* Of a value segment: the value of `key` that `pointer` leads to; good until the next call.
 * BOLE_NOT_FOUND: that block is lost, or is not the key's. */
BOLE_CHECKED bole_status bl_segment_salvage_value(bl_segment_salvage *salvage, const bl_value_pointer *pointer,
                                                  bole_slice key, bole_slice *value, bole_error *error);
/* Close the file until it is asked for something again. */
void bl_segment_salvage_rest(bl_segment_salvage *salvage);

#endif
