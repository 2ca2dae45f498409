/* SPDX-License-Identifier: MIT */
/* file_name.h -- the names of a store's files, and back. Names that do not parse exactly are not the store's. */
#ifndef BL_VERSION_FILE_NAME_H
#define BL_VERSION_FILE_NAME_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef enum bl_file_kind {
    BL_FILE_LOG,      /* 000007.log */
    BL_FILE_SEGMENT,  /* 000012.seg */
    BL_FILE_MANIFEST, /* manifest-000001 */
    BL_FILE_CURRENT,
    BL_FILE_LOCK,
    BL_FILE_READERS,
    BL_FILE_RESERVE,
    BL_FILE_CONFIG,   /* bole.conf */
    BL_FILE_EVENTS,   /* events.jsonl, events.1.jsonl */
    BL_FILE_TEMPORARY, /* anything of the above + .tmp */
    BL_FILE_OTHER,
} bl_file_kind;

enum { BL_PATH_BYTES_MAX = 4096 };
/* "directory/000012.seg" into out[BL_PATH_BYTES_MAX]; false when too long. */
bool bl_file_path(char *out, const char *directory, bl_file_kind kind, uint64_t number);
bl_file_kind bl_file_parse(const char *name, uint64_t *number);

#endif
