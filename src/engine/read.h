/* SPDX-License-Identifier: MIT */
/* read.h -- the point read, for the calls that are built on it. */
#ifndef BL_ENGINE_READ_H
#define BL_ENGINE_READ_H

#include <bole/key_value_store.h>

#include "core/lookup.h"
#include "engine/log_structured_store.h"

/* Checks what all reads share; *sequence is BL_SEQUENCE_MAX for "now"; *pinned is the state that a snapshot of a
 * read-only handle holds, else NULL. */
BOLE_CHECKED bole_status bl_read_begin(bole_db *db, const bole_read_options *options, bole_table **table,
                                       uint64_t *sequence, bl_read_state **pinned, bole_error **error);
/* Count the state from which a read of many keys is to be made: `pinned` if that is not NULL, a dropped table's last,
 * or the present one. *visible: the position then. */
bl_read_state *bl_read_hold_state(bole_db *db, const bole_table *table, bl_read_state *pinned, uint64_t *visible);
/* One key: into `value` (copied) or `view` (pinned) or neither. */
bole_status bl_read_one(bole_db *db, const bole_table *table, bl_read_state *pinned, const bl_lookup *lookup,
                        bole_buffer *value, bole_view *view, bool *from_memtable, bole_error *error);

/* An iterator begins with a cursor of the key-value-store interface, whose key, value and status are the iterator's. */
static inline bole_key_value_cursor *bl_iterator_as_cursor(bole_iterator *iterator)
{
    return (bole_key_value_cursor *)(void *)iterator;
}
static inline bole_iterator *bl_cursor_as_iterator(bole_key_value_cursor *cursor)
{
    return (bole_iterator *)(void *)cursor;
}

#endif
