/* SPDX-License-Identifier: MIT */
/* config_source.h -- where settings come from: bole.conf, the environment, bole_options.
 *
 * bole.conf is INI without sections, read by libinih:
 *     # four writers, little memory
 *     memory_limit = 512MiB
 *     compression  = zstd        ; or lz4, none
 * In the environment the name is in capitals behind BOLE_: BOLE_MEMORY_LIMIT=512MiB. The library never looks at the
 * environment by itself; a program that wants it to count hands it over.
 * Each function stops at the first wrong value, with BOLE_INVALID and a message that begins with its place. */
#ifndef BL_CORE_CONFIG_SOURCE_H
#define BL_CORE_CONFIG_SOURCE_H

#include "core/config.h"

#include <bole/bole_vfs.h>

enum { BL_CONFIG_FILE_BYTES_MAX = 64 * 1024 };

/* Settings from the bytes of an INI file; `path` is for messages and origins. A name that is given twice, a section,
 * and a line that is no setting are refused. */
BOLE_CHECKED bole_status bl_config_apply_ini(bl_config *config, const char *path, bole_slice text, bole_error *error);
/* The same, reading the file; one that does not exist gives nothing. */
BOLE_CHECKED bole_status bl_config_apply_file(bl_config *config, bole_vfs *vfs, const char *path, bole_error *error);

/* From NAME=value strings, NULL-terminated as environ is. Empty values count as not given. Other BOLE_ names are left
 * alone, unless they look like a setting that is misspelt. */
BOLE_CHECKED bole_status bl_config_apply_environment(bl_config *config, const char *const *environment,
                                                     bole_error *error);

/* Fields of `options` that are not zero, and the flag BOLE_NO_SIGBUS_HANDLER. Looks at the first options->size bytes
 * only, so that a program built against an older bole.h works; a newer program's fields must be zero here
 * (BOLE_UNSUPPORTED). NULL gives nothing. */
BOLE_CHECKED bole_status bl_config_apply_options(bl_config *config, const bole_options *options, bole_error *error);

#endif
