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

#include <stdarg.h>
#include <stdio.h>

enum { KEY_SHOWN_BYTES = 40 };

/* What is said when memory is short is lost, and with it all that follows. */
typedef struct description {
    bole_buffer *out;
    bool good;
} description;

__attribute__((format(printf, 2, 3))) static void say(description *to, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    to->good = to->good && bl_buffer_append_format_list(to->out, format, arguments);
    va_end(arguments);
}

static void add_key(description *to, bole_slice key)
{
    char text[4 * KEY_SHOWN_BYTES + 1];
    bool cut = key.size > KEY_SHOWN_BYTES;
    bl_slice_escape(bl_slice(key.data, cut ? KEY_SHOWN_BYTES : key.size), text, sizeof text);
    say(to, "\"%s\"%s", text, cut ? "..." : "");
}

static void add_name(description *to, const char *name)
{
    char text[4 * 255 + 1];
    bl_slice_escape(bl_slice(name, strlen(name)), text, sizeof text);
    say(to, "\"%s\"", text);
}

static void add_id(description *to, bl_id id)
{
    for (int i = 0; i < BL_ID_BYTES; i++)
        say(to, "%02x", id.bytes[i]);
}

static void add_segment(description *to, const bl_segment_meta *meta)
{
    if (bl_segment_meta_holds_values(meta))
        say(to, "  + value segment %llu table %u dead %llu entries, %llu bytes, id ",
            (unsigned long long)meta->number, meta->table, (unsigned long long)meta->dead_entries,
            (unsigned long long)meta->dead_bytes);
    else
        say(to, "  + segment %llu table %u level %u run %u id ", (unsigned long long)meta->number,
            meta->table, meta->level, meta->run);
    add_id(to, meta->id);
    say(to, " keys ");
    add_key(to, meta->smallest);
    say(to, " to ");
    add_key(to, meta->largest);
    say(to,
        " sequences %llu to %llu%s entries %llu tombstones %llu blocks %llu bytes %llu"
        " raw %llu footer %016llx",
        (unsigned long long)meta->sequence_min, (unsigned long long)meta->sequence_max,
        meta->sequences_zeroed ? " zeroed" : "", (unsigned long long)meta->entries,
        (unsigned long long)meta->tombstones, (unsigned long long)meta->blocks,
        (unsigned long long)meta->file_bytes, (unsigned long long)meta->raw_bytes,
        (unsigned long long)meta->footer_checksum);
    bole_slice uses = meta->value_uses;
    bl_value_use use;
    for (bool first = true; bl_value_uses_next(&uses, &use); first = false)
        say(to, "%s%llu in %llu", first ? " values " : ", ", (unsigned long long)use.pointers,
            (unsigned long long)use.segment);
    say(to, "\n");
}

static void add_log_end(description *to, const bl_log_description *log)
{
    if (log->end != UINT64_MAX)
        say(to, " ends at %llu", (unsigned long long)log->end);
    if (log->end != UINT64_MAX && log->end_checksum_known)
        say(to, " checksum %016llx", (unsigned long long)log->end_checksum);
    say(to, "\n");
}

static void add_tables(description *to, const bl_version_edit *edit)
{
    for (uint32_t i = 0; i < edit->tables_created_count; i++) {
        const bl_table_description *table = &edit->tables_created[i];
        say(to, "  + table %u ", table->number);
        add_name(to, table->name);
        say(to, " order ");
        add_name(to, table->comparator_name);
        say(to, " from %llu\n", (unsigned long long)table->position);
    }
}

static void add_segments(description *to, const bl_version_edit *edit)
{
    for (uint32_t i = 0; i < edit->removed_count; i++)
        say(to, "  - segment %llu table %u\n", (unsigned long long)edit->removed[i].number,
            edit->removed[i].table);
    for (uint32_t i = 0; i < edit->moved_count; i++)
        say(to, "  > segment %llu table %u to level %u run %u\n", (unsigned long long)edit->moved[i].number,
            edit->moved[i].table, edit->moved[i].level, edit->moved[i].run);
    for (uint32_t i = 0; i < edit->added_count; i++)
        add_segment(to, &edit->added[i]);
    for (uint32_t i = 0; i < edit->died_count; i++)
        say(to, "  - %llu values of segment %llu table %u, %llu bytes\n",
            (unsigned long long)edit->died[i].more.entries, (unsigned long long)edit->died[i].number,
            edit->died[i].table, (unsigned long long)edit->died[i].more.bytes);
    for (uint32_t i = 0; i < edit->tables_dropped_count; i++)
        say(to, "  - table %u at %llu\n", edit->tables_dropped[i].number,
            (unsigned long long)edit->tables_dropped[i].position);
}

static void add_logs(description *to, const bl_version_edit *edit)
{
    for (uint32_t i = 0; i < edit->logs_ended_count; i++) {
        say(to, "  = log %llu", (unsigned long long)edit->logs_ended[i].number);
        add_log_end(to, &edit->logs_ended[i]);
    }
    for (uint32_t i = 0; i < edit->logs_removed_count; i++)
        say(to, "  - log %llu\n", (unsigned long long)edit->logs_removed[i]);
    for (uint32_t i = 0; i < edit->logs_added_count; i++) {
        const bl_log_description *log = &edit->logs_added[i];
        say(to, "  + log %llu id ", (unsigned long long)log->number);
        add_id(to, log->id);
        say(to, " starts at %llu", (unsigned long long)log->start);
        add_log_end(to, log);
    }
}

static void add_number(description *to, const char *what, uint64_t value)
{
    if (value != 0)
        say(to, "  = %s %llu\n", what, (unsigned long long)value);
}

bole_status bl_version_edit_describe(const bl_version_edit *edit, bole_buffer *out, bole_error *error)
{
    description to = { .out = out, .good = true };
    if (edit->snapshot)
        say(&to, "  snapshot\n");
    add_tables(&to, edit);
    add_segments(&to, edit);
    add_logs(&to, edit);
    add_number(&to, "flushed through", edit->flushed_through);
    add_number(&to, "synced", edit->synced);
    add_number(&to, "next sequence", edit->next_sequence);
    add_number(&to, "next file", edit->next_file_number);
    add_number(&to, "next table", edit->next_table_number);
    if (!to.good || !bl_buffer_append_u8(out, 0))
        return bl_fail(error, BOLE_NO_MEMORY, "no memory for the text of a version edit");
    out->size--; /* a string, whose end is not counted */
    return BOLE_OK;
}
