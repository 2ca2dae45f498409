/* SPDX-License-Identifier: MIT */
/* comparator.h -- the order of a table: NULL is byte order (the fast instantiation), else the user's.
 *
 * With a user's order heads are not kept (all zero), separators are not shortened, prefix scans are refused. */
#ifndef BL_CORE_COMPARATOR_H
#define BL_CORE_COMPARATOR_H

#include "base/slice.h"

#define BL_COMPARATOR_BYTES_NAME "bole.bytes"
typedef const bole_comparator bl_comparator; /* NULL: byte order */

static inline int bl_compare(bl_comparator *comparator, bole_slice a, bole_slice b)
{
    if (__builtin_expect(comparator == NULL, 1))
        return bl_slice_compare(a, b);
    return comparator->compare(comparator->context, a, b);
}
static inline const char *bl_comparator_name(bl_comparator *comparator)
{
    return comparator == NULL ? BL_COMPARATOR_BYTES_NAME : comparator->name;
}

#endif
