/* SPDX-License-Identifier: MIT */
/* dump.c -- every file that bole writes, as text (bole_inspect_dump, bole_inspect_manifest).
 *
 * The kind of a file follows from its name. Nothing is judged and nothing written: what can be decoded is shown, what
 * cannot is named with its offset. */
#include <bole/bole_inspect.h>

#include <stdarg.h>
#include <stdio.h>

#include "base/alloc.h"
#include "engine/log_structured_store.h"
#include "log/log_replay.h"
#include "segment/segment_footer.h"
#include "version/manifest.h"

typedef struct printer {
    bool (*line)(void *context, const char *text);
    void *context;
    bool stopped;
} printer;

enum { LINE_BYTES = 2048, KEY_SHOWN_BYTES = 200 };

static void print(printer *out, const char *format, ...) __attribute__((format(printf, 2, 3)));
static void print(printer *out, const char *format, ...)
{
    char text[LINE_BYTES];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof(text), format, arguments);
    va_end(arguments);
    if (!out->stopped)
        out->stopped = !out->line(out->context, text);
}

static void escape(bole_slice bytes, char out[4 * KEY_SHOWN_BYTES + 8])
{
    bool cut = bytes.size > KEY_SHOWN_BYTES;
    if (cut)
        bytes.size = KEY_SHOWN_BYTES;
    size_t size = bl_slice_escape(bytes, out, 4 * KEY_SHOWN_BYTES + 1);
    if (cut)
        snprintf(out + size, 4, "...");
}

static void hex(bl_id id, char out[33])
{
    for (size_t i = 0; i < BL_ID_BYTES; i++)
        snprintf(out + 2 * i, 3, "%02x", id.bytes[i]);
}

/* ---- logs ---- */

static void print_operations(printer *out, const bl_log_item *item)
{
    uint64_t at = 1;
    bl_operation operation;
    bole_status status;
    while ((status = bl_operation_decode(item->payload, &at, &operation)) == BOLE_OK) {
        char key[4 * KEY_SHOWN_BYTES + 8];
        escape(operation.key, key);
        print(out, "    sequence %llu table %u %s %s (%zu bytes of value)",
              (unsigned long long)(item->position + BL_LOG_RECORD_HEADER_BYTES + operation.offset),
              operation.table, operation.kind == BL_KIND_PUT ? "put" : "delete", key, operation.value.size);
    }
    if (status != BOLE_NOT_FOUND)
        print(out, "    the rest is no operation: %s", bole_status_text(status));
}

static bole_status print_item(void *context, const bl_log_item *item, bole_error *error)
{
    printer *out = context;
    (void)error;
    switch (item->kind) {
    case BL_LOG_ITEM_RECORD:
        print(out, "%llu record position %llu bytes %llu synced %llu type %u",
              (unsigned long long)item->offset, (unsigned long long)item->position,
              (unsigned long long)item->bytes, (unsigned long long)item->synced, item->type);
        if (item->type == BL_RECORD_BATCH)
            print_operations(out, item);
        break;
    case BL_LOG_ITEM_DAMAGE:
        print(out, "%llu DAMAGE %llu bytes", (unsigned long long)item->offset,
              (unsigned long long)item->bytes);
        break;
    default:
        print(out, "%llu tail %llu bytes%s", (unsigned long long)item->offset,
              (unsigned long long)item->bytes, item->zero ? " (zeros)" : "");
    }
    return out->stopped ? BOLE_CANCELLED : BOLE_OK;
}

static bole_status dump_log(bole_vfs *vfs, const char *file, printer *out, bole_error *error)
{
    bl_log_header header;
    bole_status status = bl_log_read_header(vfs, file, &header, error);
    if (status != BOLE_OK)
        return status;
    char id[33], store[33];
    hex(header.id, id);
    hex(header.store_id, store);
    print(out, "log %llu format %u id %s store %s start %llu", (unsigned long long)header.number,
          header.version, id, store, (unsigned long long)header.start);
    bl_log_scanned scanned;
    status = bl_log_scan(vfs, file, print_item, out, &scanned, error);
    return status == BOLE_CANCELLED ? BOLE_OK : status;
}

/* ---- segments ---- */

static bole_status dump_segment(bole_vfs *vfs, const char *file, printer *out, bole_error *error)
{
    bl_segment_footer footer;
    bole_status status = bl_segment_footer_read(vfs, file, &footer, error);
    if (status != BOLE_OK)
        return status;
    char text[33], key[4 * KEY_SHOWN_BYTES + 8];
    hex(footer.meta.id, text);
    print(out, "segment %llu id %s", (unsigned long long)footer.meta.number, text);
    hex(footer.store_id, text);
    print(out, "  born in store %s, table %u \"%s\" in order of %s, level %u run %u", text, footer.meta.table,
          footer.table_name, footer.comparator_name, footer.meta.level, footer.meta.run);
    print(out, "  %llu entries, %llu tombstones, %llu blocks, %llu bytes, %llu of keys and values",
          (unsigned long long)footer.meta.entries, (unsigned long long)footer.meta.tombstones,
          (unsigned long long)footer.meta.blocks, (unsigned long long)footer.meta.file_bytes,
          (unsigned long long)footer.meta.raw_bytes);
    print(out, "  sequences %llu to %llu%s", (unsigned long long)footer.meta.sequence_min,
          (unsigned long long)footer.meta.sequence_max, footer.meta.sequences_zeroed ? ", zeroed" : "");
    escape(footer.meta.smallest, key);
    print(out, "  smallest %s", key);
    escape(footer.meta.largest, key);
    print(out, "  largest %s", key);
    for (uint32_t i = 0; i < footer.input_count; i++) {
        hex(footer.inputs[i], text);
        print(out, "  made from %s", text);
    }
    for (uint32_t i = 0; i < footer.section_count; i++)
        print(out, "%llu section kind %u, %llu bytes, checksum %016llx",
              (unsigned long long)footer.sections[i].offset, footer.sections[i].kind,
              (unsigned long long)footer.sections[i].length, (unsigned long long)footer.sections[i].checksum);
    bl_segment_footer_deinit(&footer);
    return BOLE_OK;
}

/* ---- manifests ---- */

typedef struct edit_walk {
    bool (*visit)(void *context, uint64_t offset, const char *text);
    void *context;
    bole_buffer text;
    bool stopped;
} edit_walk;

static bole_status show_edit(void *context, const bl_manifest_edit *edit, bole_error *error)
{
    edit_walk *walk = context;
    walk->text.size = 0;
    bole_status status = bl_version_edit_describe(edit->edit, &walk->text, error);
    if (status == BOLE_OK && !walk->visit(walk->context, edit->offset, walk->text.data))
        status = BOLE_CANCELLED;
    return status;
}

static bole_status walk_manifest(bole_vfs *vfs, const char *file,
                                 bool (*visit)(void *context, uint64_t offset, const char *text),
                                 void *context, bl_manifest_scanned *scanned, bole_error *error)
{
    edit_walk walk = { .visit = visit, .context = context };
    bole_status status = bl_manifest_scan(vfs, file, NULL, show_edit, &walk, scanned, error);
    bole_buffer_free(&walk.text);
    return status == BOLE_CANCELLED ? BOLE_OK : status;
}

static bool print_edit(void *context, uint64_t offset, const char *text)
{
    printer *out = context;
    print(out, "%llu edit", (unsigned long long)offset);
    while (*text != 0 && !out->stopped) {
        const char *end = strchr(text, '\n');
        int length = end == NULL ? (int)strlen(text) : (int)(end - text);
        print(out, "%.*s", length, text);
        text += length + (end != NULL);
    }
    return !out->stopped;
}

static bole_status dump_manifest(bole_vfs *vfs, const char *file, printer *out, bole_error *error)
{
    bl_manifest_scanned scanned;
    bole_status status = walk_manifest(vfs, file, print_edit, out, &scanned, error);
    if (status == BOLE_OK && !out->stopped)
        print(out, "%llu end%s", (unsigned long long)scanned.bytes,
              scanned.torn ? ", something torn behind it" : "");
    return status;
}

BOLE_API bole_status bole_inspect_manifest(bole_db *db,
                                           bool (*visit)(void *context, uint64_t offset, const char *text),
                                           void *context, bole_error *error)
{
    if (!bl_db_is_ours(db))
        return bl_forked(error);
    char path[BL_PATH_BYTES_MAX];
    bl_mutex_lock(&db->mutex);
    uint64_t number = bl_version_set_manifest_number(db->versions);
    bl_mutex_unlock(&db->mutex);
    bl_store_path(path, db->path, BL_FILE_MANIFEST, number);
    bl_manifest_scanned scanned;
    return walk_manifest(db->vfs, path, visit, context, &scanned, error);
}

/* ---- any file ---- */

static bole_status dump_current(bole_vfs *vfs, const char *file, printer *out, bole_error *error)
{
    char directory[BL_PATH_BYTES_MAX], store[33], manifest[33];
    snprintf(directory, sizeof(directory), "%s", file);
    char *slash = strrchr(directory, '/');
    if (slash == NULL)
        snprintf(directory, sizeof(directory), ".");
    else
        *slash = 0;
    bl_current current;
    bole_status status = bl_current_read(vfs, directory, &current, error);
    if (status != BOLE_OK)
        return status;
    hex(current.store_id, store);
    hex(current.manifest_id, manifest);
    print(out, "store %s manifest %llu id %s", store, (unsigned long long)current.manifest_number, manifest);
    if (current.clean_bytes != 0)
        print(out, "closed cleanly: %llu bytes of manifest, chain %016llx",
              (unsigned long long)current.clean_bytes, (unsigned long long)current.clean_chain);
    return BOLE_OK;
}

BOLE_API bole_status bole_inspect_dump(bole_vfs *vfs, const char *file,
                                       bool (*line)(void *context, const char *text), void *context,
                                       bole_error *error)
{
    if (vfs == NULL)
        vfs = bole_vfs_posix();
    const char *slash = strrchr(file, '/');
    uint64_t number;
    printer out = { line, context, false };
    switch (bl_file_parse(slash == NULL ? file : slash + 1, &number)) {
    case BL_FILE_LOG: return dump_log(vfs, file, &out, error);
    case BL_FILE_SEGMENT: return dump_segment(vfs, file, &out, error);
    case BL_FILE_MANIFEST: return dump_manifest(vfs, file, &out, error);
    case BL_FILE_CURRENT: return dump_current(vfs, file, &out, error);
    default:
        return bl_fail(error, BOLE_INVALID, "%s is no log, segment, manifest or CURRENT by its name", file);
    }
}
