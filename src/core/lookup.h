/* SPDX-License-Identifier: MIT */
/* lookup.h -- one key on its way through memtables and segments. */
#ifndef BL_CORE_LOOKUP_H
#define BL_CORE_LOOKUP_H

#include "core/comparator.h"
#include "core/internal_key.h"

typedef struct bl_lookup {
    bole_slice key;
    uint64_t hash;     /* bl_hash(key), computed once */
    uint64_t sequence; /* sees sequences below */
    bl_comparator *comparator;
} bl_lookup;

#endif
