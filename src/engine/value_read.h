/* SPDX-License-Identifier: MIT */
/* value_read.h -- from a pointer that a read has found to the value in its value segment. */
#ifndef BL_ENGINE_VALUE_READ_H
#define BL_ENGINE_VALUE_READ_H

#include "engine/log_structured_store.h"

/* Where a pointer of `table` leads: *at, of its value segments. BOLE_CORRUPT: nowhere. */
BOLE_CHECKED bole_status bl_value_locate(const bl_version_table *table, bole_slice key, bole_slice bytes,
                                         bl_value_pointer *pointer, uint32_t *at, bole_error *error);
/* Outside an epoch, while the version is referenced: the value, held; what was held before is let go. */
BOLE_CHECKED bole_status bl_value_hold(const bl_version_table *table, bole_slice key, bole_slice bytes,
                                       bl_held_value *held, bole_error *error);
/* The same, copied out: `value` holds the pointer's bytes and then the value's. */
BOLE_CHECKED bole_status bl_value_replace(const bl_version_table *table, bole_slice key, bole_buffer *value,
                                          bole_error *error);

#endif
