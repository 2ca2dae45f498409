/* SPDX-License-Identifier: MIT */
/* version_build.h -- the arrays of a run as one counted piece of memory; only version.c and version_build.c
 * look in. */
#ifndef BL_VERSION_VERSION_BUILD_H
#define BL_VERSION_VERSION_BUILD_H

#include "version/version.h"

/* Of a run, or of a table's value segments. */
typedef struct bl_run_body {
    _Atomic uint32_t references;
    uint32_t count; /* segments that are referenced */
    bl_segment **segments;
} bl_run_body;
void bl_run_body_unref(bl_run_body *body); /* NULL is allowed */

#endif
