/* SPDX-License-Identifier: MIT */
/* file_name.h -- the names of a store's files, and back.
 * Names that do not parse exactly are not the store's. */
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
/* Numbers of files start at 1. A name with a number above this is nobody's: no store ever counts that far,
 * and a stray file must not be able to push the counter over its end. */
#define BL_FILE_NUMBER_MAX (UINT64_C(1) << 62)

/* "directory/000012.seg" into out[BL_PATH_BYTES_MAX]; false, and an empty string, when too long. `number`
 * counts for logs, segments, manifests (from 1) and events (0: events.jsonl). Not for TEMPORARY and OTHER
 * (asserted). An empty directory gives the bare name. */
bool bl_file_path(char *out, const char *directory, bl_file_kind kind, uint64_t number);
/* The same with ".tmp" behind: the name under which a file is built before it is renamed. */
bool bl_file_path_temporary(char *out, const char *directory, bl_file_kind kind, uint64_t number);
/* Does every file of a store have its path in this directory? Whoever takes a directory from outside asks first. */
bool bl_directory_fits(const char *directory);
/* The paths above, in a directory that fits (asserted). */
void bl_store_path(char *out, const char *directory, bl_file_kind kind, uint64_t number);
void bl_store_path_temporary(char *out, const char *directory, bl_file_kind kind, uint64_t number);
/* What is this name (no directory in it)? *number is the number in it, else 0; for a TEMPORARY the number of
 * what it would become. */
bl_file_kind bl_file_parse(const char *name, uint64_t *number);

#endif
