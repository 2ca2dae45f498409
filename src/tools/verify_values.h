/* SPDX-License-Identifier: MIT */
/* verify_values.h -- do the pointers of a table and the values of its value segments belong together? */
#ifndef BL_TOOLS_VERIFY_VALUES_H
#define BL_TOOLS_VERIFY_VALUES_H

#include "version/version.h"

/* Every pointer leads to the block at its offset, which holds a value of its key and its length, and no two lead to
 * one. Each problem is told. Segments were checked one by one before: a block that does not load is no news here.
 * BOLE_NO_MEMORY is the only failure. */
BOLE_CHECKED bole_status bl_verify_values(const bl_version_table *table,
                                          void (*tell)(void *context, const bole_error *problem), void *context,
                                          bole_error *error);

#endif
