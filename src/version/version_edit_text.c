/* SPDX-License-Identifier: MIT */
/* version_edit_text.c -- an edit for human eyes: one line for every part, in the order in which the parts
 * count.
 *
 * FORMAT      "  + table 1 \"users\" order bole.bytes from 120"      + new   - gone   > moved   = now known
 *             Keys and names in the display form of slice.h, long keys cut in the middle of nothing: after 40
 *             bytes.
 * THREADS     Any; no state. */
#include "version/version_edit.h"

#include "base/buffer.h"
#include "base/status.h"

#include <stdio.h>

enum { KEY_SHOWN_BYTES = 40 };

static bool add_key(bole_buffer *out, bole_slice key)
{
    char text[4 * KEY_SHOWN_BYTES + 1];
    bool cut = key.size > KEY_SHOWN_BYTES;
    bl_slice_escape(bl_slice(key.data, cut ? KEY_SHOWN_BYTES : key.size), text, sizeof text);
    return bl_buffer_append_format(out, "\"%s\"%s", text, cut ? "..." : "");
}

static bool add_name(bole_buffer *out, const char *name)
{
    char text[4 * 255 + 1];
    bl_slice_escape(bl_slice(name, strlen(name)), text, sizeof text);
    return bl_buffer_append_format(out, "\"%s\"", text);
}

static bool add_id(bole_buffer *out, bl_id id)
{
    for (int i = 0; i < BL_ID_BYTES; i++)
        if (!bl_buffer_append_format(out, "%02x", id.bytes[i]))
            return false;
    return true;
}

static bool add_place(bole_buffer *out, const bl_segment_meta *meta)
{
    if (bl_segment_meta_holds_values(meta))
        return bl_buffer_append_format(out,
                                       "  + value segment %llu table %u dead %llu entries, %llu bytes, id ",
                                       (unsigned long long)meta->number, meta->table,
                                       (unsigned long long)meta->dead_entries,
                                       (unsigned long long)meta->dead_bytes);
    return bl_buffer_append_format(out, "  + segment %llu table %u level %u run %u id ",
                                   (unsigned long long)meta->number, meta->table, meta->level, meta->run);
}

static bool add_uses(bole_buffer *out, bole_slice uses)
{
    bl_value_use use;
    bool good = true;
    for (bool first = true; good && bl_value_uses_next(&uses, &use); first = false)
        good = bl_buffer_append_format(out, "%s%llu in %llu", first ? " values " : ", ",
                                       (unsigned long long)use.pointers, (unsigned long long)use.segment);
    return good && bl_buffer_append_format(out, "\n");
}

static bool add_segment(bole_buffer *out, const bl_segment_meta *meta)
{
    return add_place(out, meta) && add_id(out, meta->id) && bl_buffer_append_format(out, " keys ") &&
           add_key(out, meta->smallest) && bl_buffer_append_format(out, " to ") &&
           add_key(out, meta->largest) &&
           bl_buffer_append_format(
               out,
               " sequences %llu to %llu%s entries %llu tombstones %llu blocks %llu bytes %llu"
               " raw %llu footer %016llx",
               (unsigned long long)meta->sequence_min, (unsigned long long)meta->sequence_max,
               meta->sequences_zeroed ? " zeroed" : "", (unsigned long long)meta->entries,
               (unsigned long long)meta->tombstones, (unsigned long long)meta->blocks,
               (unsigned long long)meta->file_bytes, (unsigned long long)meta->raw_bytes,
               (unsigned long long)meta->footer_checksum) &&
           add_uses(out, meta->value_uses);
}

static bool add_log_end(bole_buffer *out, const bl_log_description *log)
{
    if (log->end == UINT64_MAX)
        return bl_buffer_append_format(out, "\n");
    if (!bl_buffer_append_format(out, " ends at %llu", (unsigned long long)log->end))
        return false;
    if (log->end_checksum_known &&
        !bl_buffer_append_format(out, " checksum %016llx", (unsigned long long)log->end_checksum))
        return false;
    return bl_buffer_append_format(out, "\n");
}

static bool add_tables(const bl_version_edit *edit, bole_buffer *out)
{
    bool good = true;
    for (uint32_t i = 0; i < edit->tables_created_count && good; i++) {
        const bl_table_description *table = &edit->tables_created[i];
        good = bl_buffer_append_format(out, "  + table %u ", table->number) && add_name(out, table->name) &&
               bl_buffer_append_format(out, " order ") && add_name(out, table->comparator_name) &&
               bl_buffer_append_format(out, " from %llu\n", (unsigned long long)table->position);
    }
    return good;
}

static bool add_segments(const bl_version_edit *edit, bole_buffer *out)
{
    bool good = true;
    for (uint32_t i = 0; i < edit->removed_count && good; i++)
        good = bl_buffer_append_format(out, "  - segment %llu table %u\n",
                                       (unsigned long long)edit->removed[i].number, edit->removed[i].table);
    for (uint32_t i = 0; i < edit->moved_count && good; i++)
        good = bl_buffer_append_format(out, "  > segment %llu table %u to level %u run %u\n",
                                       (unsigned long long)edit->moved[i].number, edit->moved[i].table,
                                       edit->moved[i].level, edit->moved[i].run);
    for (uint32_t i = 0; i < edit->added_count && good; i++)
        good = add_segment(out, &edit->added[i]);
    for (uint32_t i = 0; i < edit->died_count && good; i++)
        good = bl_buffer_append_format(out, "  - %llu values of segment %llu table %u, %llu bytes\n",
                                       (unsigned long long)edit->died[i].more.entries,
                                       (unsigned long long)edit->died[i].number, edit->died[i].table,
                                       (unsigned long long)edit->died[i].more.bytes);
    for (uint32_t i = 0; i < edit->tables_dropped_count && good; i++)
        good = bl_buffer_append_format(out, "  - table %u at %llu\n", edit->tables_dropped[i].number,
                                       (unsigned long long)edit->tables_dropped[i].position);
    return good;
}

static bool add_logs(const bl_version_edit *edit, bole_buffer *out)
{
    bool good = true;
    for (uint32_t i = 0; i < edit->logs_ended_count && good; i++)
        good = bl_buffer_append_format(out, "  = log %llu", (unsigned long long)edit->logs_ended[i].number) &&
               add_log_end(out, &edit->logs_ended[i]);
    for (uint32_t i = 0; i < edit->logs_removed_count && good; i++)
        good = bl_buffer_append_format(out, "  - log %llu\n", (unsigned long long)edit->logs_removed[i]);
    for (uint32_t i = 0; i < edit->logs_added_count && good; i++) {
        const bl_log_description *log = &edit->logs_added[i];
        good = bl_buffer_append_format(out, "  + log %llu id ", (unsigned long long)log->number) &&
               add_id(out, log->id) &&
               bl_buffer_append_format(out, " starts at %llu", (unsigned long long)log->start) &&
               add_log_end(out, log);
    }
    return good;
}

static bool add_number(bole_buffer *out, const char *what, uint64_t value)
{
    return value == 0 || bl_buffer_append_format(out, "  = %s %llu\n", what, (unsigned long long)value);
}

bole_status bl_version_edit_describe(const bl_version_edit *edit, bole_buffer *out, bole_error *error)
{
    if ((!edit->snapshot || bl_buffer_append_format(out, "  snapshot\n")) && add_tables(edit, out) &&
        add_segments(edit, out) && add_logs(edit, out) &&
        add_number(out, "flushed through", edit->flushed_through) &&
        add_number(out, "synced", edit->synced) && add_number(out, "next sequence", edit->next_sequence) &&
        add_number(out, "next file", edit->next_file_number) &&
        add_number(out, "next table", edit->next_table_number))
        return BOLE_OK;
    return bl_fail(error, BOLE_NO_MEMORY, "no memory for the text of a version edit");
}
