/* SPDX-License-Identifier: MIT */
/* manifest.h -- the manifest, a checksummed log of version edits, and CURRENT, which names it. */
#ifndef BL_VERSION_MANIFEST_H
#define BL_VERSION_MANIFEST_H

#include <bole/bole_vfs.h>
#include "version/version_edit.h"

enum {
    BL_MANIFEST_FORMAT = 1,
    BL_MANIFEST_HEADER_BYTES = 72,
    BL_MANIFEST_RECORD_HEADER_BYTES = 16,
    BL_CURRENT_FORMAT = 1,
    BL_CURRENT_BYTES = 88,
};

/* ---- CURRENT (current.c) ---- */

typedef struct bl_current {
    bl_id store_id;
    bl_id manifest_id;
    uint64_t manifest_number;
    /* After a clean close: the manifest is exactly this long and its chain of checksums ends like this. 0:
     * not clean. */
    uint64_t clean_bytes;
    uint64_t clean_chain;
} bl_current;

/* BOLE_NO_STORE: there is none. BOLE_INVALID: a symbolic link stands there (the vfs says so). BOLE_CORRUPT:
 * empty, cut, or damaged. BOLE_UNSUPPORTED: whole, but of another format or with features that must be
 * understood. */
BOLE_CHECKED bole_status bl_current_read(bole_vfs *vfs, const char *directory, bl_current *out,
                                         bole_error *error);
/* Write CURRENT.tmp, sync, rename, sync the directory. *renamed tells after a failure whether the rename was
 * tried: then nobody knows which of the two a crash would leave. */
BOLE_CHECKED bole_status bl_current_write(bole_vfs *vfs, const char *directory, const bl_current *current,
                                          bool *renamed, bole_error *error);

/* ---- Writing a manifest (manifest.c) ---- */

typedef struct bl_manifest bl_manifest; /* open for appending */

/* A new file with `snapshot` (the bytes of an edit) as its first record: written, synced, its name synced.
 * After a failure what was made of it is removed again; nothing names it yet. */
BOLE_CHECKED bole_status bl_manifest_create(bole_vfs *vfs, const char *directory, uint64_t number,
                                            bl_id store_id, bole_slice snapshot, bl_manifest **out,
                                            bole_error *error);
/* Go on behind the last edit of one that was closed cleanly: the scan found it whole. */
struct bl_manifest_scanned;
BOLE_CHECKED bole_status bl_manifest_open(bole_vfs *vfs, const char *directory,
                                          const struct bl_manifest_scanned *scanned, bl_manifest **out,
                                          bole_error *error);
/* Write one record and sync. After a failure the manifest takes no more (asserted): roll over. */
BOLE_CHECKED bole_status bl_manifest_append(bl_manifest *manifest, bole_slice edit, bole_error *error);
void bl_manifest_close(bl_manifest *manifest); /* NULL is allowed. What was appended is synced already */
uint64_t bl_manifest_number(const bl_manifest *manifest);
bl_id bl_manifest_id(const bl_manifest *manifest);
uint64_t bl_manifest_bytes(const bl_manifest *manifest);
uint64_t bl_manifest_chain(const bl_manifest *manifest);

/* ---- Reading a manifest (manifest_scan.c) ---- */

typedef struct bl_manifest_scanned {
    uint64_t number; /* as the header says */
    bl_id id, store_id;
    uint64_t edits;          /* good ones */
    uint64_t bytes;          /* end of the last good edit */
    uint64_t file_bytes;     /* length of the file */
    uint64_t snapshot_bytes; /* end of the first edit */
    uint64_t chain;
    bool torn; /* something that is no edit stands behind `bytes` */
} bl_manifest_scanned;

typedef struct bl_manifest_edit {
    uint64_t ordinal; /* 0: the snapshot */
    uint64_t offset;  /* of its record in the file */
    uint64_t bytes;   /* of its record */
    const bl_version_edit *edit;
} bl_manifest_edit;
/* A failing visit ends the scan with its status. The edit is good during the call. */
typedef bole_status (*bl_manifest_visit)(void *context, const bl_manifest_edit *edit, bole_error *error);

/* Visit every edit, in order; the file is only read. With `current` (may be NULL) the file must be the one
 * that CURRENT names, with a snapshot that is whole, and after a clean close exactly as long as that says.
 * BOLE_CORRUPT, with file and offset: a bad record that something says was synced (a good one behind it, or
 * CURRENT). A bad end that nothing vouches for is no error: torn. BOLE_NOT_FOUND: no such file.
 * BOLE_UNSUPPORTED: another format. */
BOLE_CHECKED bole_status bl_manifest_scan(bole_vfs *vfs, const char *path, const bl_current *current,
                                          bl_manifest_visit visit, void *context, bl_manifest_scanned *out,
                                          bole_error *error);

#endif
