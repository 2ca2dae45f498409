/* SPDX-License-Identifier: MIT */
/* version_edit.c -- an edit as bytes, and back.
 *
 * EDIT        fields, one behind the other
 * FIELD       varint  tag * 2 + must   must = 1: a reader that does not know the tag must refuse the file
 *             varint  n
 *             n bytes                  a number (varint, all of the n bytes), a fixed u64 (little-endian), an
 *                                      id (16 bytes), a key, a name (with one NUL behind), or fields again
 *             Inside a field of fields the tags rise strictly; at the top they come in any order, and those
 *             of scalars at most once. A tag that is not known and need not be understood is a hint: it is
 *             skipped, and gone after the next roll-over. Each number below is fixed for good; numbers are
 *             never used for something else.
 * INVARIANTS  (EDIT-1) Decoding what was encoded gives the same edit, and encoding that gives the same bytes.
 *             (EDIT-2) No byte of a decoded edit is read outside of the given bytes, and nothing is allocated
 *                      beyond a small multiple of them.
 *             (EDIT-3) What must be understood and is not built (bounds that exclude, a sequence that
 *                      overrides the file's) is refused, never misread.
 * THREADS     Any; no state.
 * NOT HERE    Whether an edit fits the state before it: manifest_state.c. Text: version_edit_text.c. */
#include "version/version_edit.h"

#include "base/alloc.h"
#include "base/assert.h"
#include "base/buffer.h"
#include "base/coding.h"
#include "base/status.h"
#include "core/internal_key.h"

/* Do not renumber. */
enum edit_field {
    EDIT_SNAPSHOT = 1, /* empty */
    EDIT_NEXT_FILE_NUMBER = 2,
    EDIT_NEXT_TABLE_NUMBER = 3,
    EDIT_NEXT_SEQUENCE = 4,
    EDIT_FLUSHED_THROUGH = 5,
    EDIT_SYNCED = 6,
    EDIT_TABLE_CREATED = 7,    /* table fields */
    EDIT_TABLE_DROPPED = 8,    /* table fields: number, position */
    EDIT_LOG_ADDED = 9,        /* log fields */
    EDIT_LOG_ENDED = 10,       /* log fields: number, end, end checksum */
    EDIT_LOG_REMOVED = 11,     /* log fields: number */
    EDIT_SEGMENT_ADDED = 12,   /* segment fields */
    EDIT_SEGMENT_REMOVED = 13, /* segment fields: number, table */
    EDIT_SEGMENT_MOVED = 14,   /* segment fields: number, table, level, run */
    EDIT_VALUES_DIED = 15,     /* segment fields: number, table, dead: what is dead besides */
    EDIT_FIELDS
};
enum table_field { TABLE_NUMBER = 1, TABLE_POSITION, TABLE_NAME, TABLE_COMPARATOR, TABLE_FIELDS };
enum log_field { LOG_NUMBER = 1, LOG_ID, LOG_START, LOG_END, LOG_END_CHECKSUM, LOG_FIELDS };
enum segment_field {
    SEGMENT_NUMBER = 1,
    SEGMENT_TABLE = 2,
    SEGMENT_LEVEL = 3,
    SEGMENT_RUN = 4,
    SEGMENT_ID = 5,
    SEGMENT_FILE_BYTES = 6,
    SEGMENT_FOOTER_CHECKSUM = 7, /* u64 */
    SEGMENT_SMALLEST = 8,
    SEGMENT_LARGEST = 9,
    SEGMENT_SEQUENCE_MIN = 10,
    SEGMENT_SEQUENCE_MAX = 11,
    SEGMENT_SEQUENCES_ZEROED = 12, /* 0, 1 */
    SEGMENT_ENTRIES = 13,          /* tombstones included: the live ones are the difference */
    SEGMENT_TOMBSTONES = 14,
    SEGMENT_BLOCKS = 15,
    SEGMENT_RAW_BYTES = 16,  /* hint */
    SEGMENT_CREATED_US = 17, /* hint; u64, two's complement */
    /* Room that is not built: */
    SEGMENT_BOUNDS = 18, /* bit 0: smallest excluded, bit 1: largest excluded; absent: both are keys in it */
    SEGMENT_SEQUENCE_OVERRIDE = 19, /* all entries have this sequence, whatever the file says (ingest) */
    /* Built: */
    SEGMENT_VALUE_USES = 20, /* value segments that it points into: varint number, varint pointers, each */
    SEGMENT_DEAD =
        21, /* of a value segment, which alone has it: varint entries, varint bytes that are dead */
    SEGMENT_FIELDS
};

/* ---- Encoding ---- */

/* Fields go to `out`; a field of fields is built in `inner` first. `failed` sticks: out of memory. */
typedef struct field_writer {
    bole_buffer *out;
    bole_buffer inner;
    bool failed;
} field_writer;

static void put_bytes(field_writer *writer, bole_buffer *to, unsigned tag, bool must, const void *data,
                      size_t size)
{
    if (!bl_buffer_append_varint(to, (uint64_t)tag * 2 + must) || !bl_buffer_append_varint(to, size) ||
        !bl_buffer_append(to, data, size))
        writer->failed = true;
}

static void put_number(field_writer *writer, bole_buffer *to, unsigned tag, bool must, uint64_t value)
{
    uint8_t bytes[BL_VARINT_BYTES_MAX];
    put_bytes(writer, to, tag, must, bytes, (size_t)(bl_put_varint(bytes, value) - bytes));
}

static void put_fixed(field_writer *writer, bole_buffer *to, unsigned tag, bool must, uint64_t value)
{
    uint8_t bytes[8];
    bl_put_u64(bytes, value);
    put_bytes(writer, to, tag, must, bytes, sizeof bytes);
}

static void put_name(field_writer *writer, bole_buffer *to, unsigned tag, const char *name)
{
    put_bytes(writer, to, tag, true, name, strlen(name) + 1);
}

/* What was collected in `inner` becomes one field of the edit. */
static void put_inner(field_writer *writer, unsigned tag)
{
    put_bytes(writer, writer->out, tag, true, writer->inner.data, writer->inner.size);
    writer->inner.size = 0;
}

static void put_scalar(field_writer *writer, unsigned tag, uint64_t value)
{
    if (value != 0)
        put_number(writer, writer->out, tag, true, value);
}

static void put_table(field_writer *writer, unsigned tag, const bl_table_description *table)
{
    bole_buffer *inner = &writer->inner;
    put_number(writer, inner, TABLE_NUMBER, true, table->number);
    put_number(writer, inner, TABLE_POSITION, true, table->position);
    if (tag == EDIT_TABLE_CREATED) {
        put_name(writer, inner, TABLE_NAME, table->name);
        put_name(writer, inner, TABLE_COMPARATOR, table->comparator_name);
    }
    put_inner(writer, tag);
}

static void put_log(field_writer *writer, unsigned tag, const bl_log_description *log)
{
    bole_buffer *inner = &writer->inner;
    put_number(writer, inner, LOG_NUMBER, true, log->number);
    if (tag == EDIT_LOG_ADDED) {
        put_bytes(writer, inner, LOG_ID, true, log->id.bytes, BL_ID_BYTES);
        put_number(writer, inner, LOG_START, true, log->start);
    }
    if (log->end != UINT64_MAX)
        put_number(writer, inner, LOG_END, true, log->end);
    if (log->end_checksum_known)
        put_fixed(writer, inner, LOG_END_CHECKSUM, true, log->end_checksum);
    put_inner(writer, tag);
}

static void put_dead(field_writer *writer, bl_dead_values dead)
{
    uint8_t bytes[2 * BL_VARINT_BYTES_MAX];
    uint8_t *end = bl_put_varint(bl_put_varint(bytes, dead.entries), dead.bytes);
    put_bytes(writer, &writer->inner, SEGMENT_DEAD, true, bytes, (size_t)(end - bytes));
}

static void put_segment(field_writer *writer, const bl_segment_meta *meta)
{
    bole_buffer *inner = &writer->inner;
    put_number(writer, inner, SEGMENT_NUMBER, true, meta->number);
    put_number(writer, inner, SEGMENT_TABLE, true, meta->table);
    put_number(writer, inner, SEGMENT_LEVEL, true, meta->level);
    put_number(writer, inner, SEGMENT_RUN, true, meta->run);
    put_bytes(writer, inner, SEGMENT_ID, true, meta->id.bytes, BL_ID_BYTES);
    put_number(writer, inner, SEGMENT_FILE_BYTES, true, meta->file_bytes);
    put_fixed(writer, inner, SEGMENT_FOOTER_CHECKSUM, true, meta->footer_checksum);
    put_bytes(writer, inner, SEGMENT_SMALLEST, true, meta->smallest.data, meta->smallest.size);
    put_bytes(writer, inner, SEGMENT_LARGEST, true, meta->largest.data, meta->largest.size);
    put_number(writer, inner, SEGMENT_SEQUENCE_MIN, true, meta->sequence_min);
    put_number(writer, inner, SEGMENT_SEQUENCE_MAX, true, meta->sequence_max);
    put_number(writer, inner, SEGMENT_SEQUENCES_ZEROED, true, meta->sequences_zeroed);
    put_number(writer, inner, SEGMENT_ENTRIES, true, meta->entries);
    put_number(writer, inner, SEGMENT_TOMBSTONES, true, meta->tombstones);
    put_number(writer, inner, SEGMENT_BLOCKS, true, meta->blocks);
    put_number(writer, inner, SEGMENT_RAW_BYTES, false, meta->raw_bytes);
    put_fixed(writer, inner, SEGMENT_CREATED_US, false, (uint64_t)meta->created_us);
    if (meta->value_uses.size != 0)
        put_bytes(writer, inner, SEGMENT_VALUE_USES, true, meta->value_uses.data, meta->value_uses.size);
    if (bl_segment_meta_holds_values(meta))
        put_dead(writer, (bl_dead_values){ meta->dead_entries, meta->dead_bytes });
    put_inner(writer, EDIT_SEGMENT_ADDED);
}

static void put_place(field_writer *writer, const bl_segment_place *place)
{
    put_number(writer, &writer->inner, SEGMENT_NUMBER, true, place->number);
    put_number(writer, &writer->inner, SEGMENT_TABLE, true, place->table);
    put_inner(writer, EDIT_SEGMENT_REMOVED);
}

static void put_move(field_writer *writer, const bl_segment_move *move)
{
    put_number(writer, &writer->inner, SEGMENT_NUMBER, true, move->number);
    put_number(writer, &writer->inner, SEGMENT_TABLE, true, move->table);
    put_number(writer, &writer->inner, SEGMENT_LEVEL, true, move->level);
    put_number(writer, &writer->inner, SEGMENT_RUN, true, move->run);
    put_inner(writer, EDIT_SEGMENT_MOVED);
}

static void put_died(field_writer *writer, const bl_values_died *died)
{
    put_number(writer, &writer->inner, SEGMENT_NUMBER, true, died->number);
    put_number(writer, &writer->inner, SEGMENT_TABLE, true, died->table);
    put_dead(writer, died->more);
    put_inner(writer, EDIT_VALUES_DIED);
}

static void put_edit(field_writer *writer, const bl_version_edit *edit)
{
    if (edit->snapshot)
        put_bytes(writer, writer->out, EDIT_SNAPSHOT, true, NULL, 0);
    put_scalar(writer, EDIT_NEXT_FILE_NUMBER, edit->next_file_number);
    put_scalar(writer, EDIT_NEXT_TABLE_NUMBER, edit->next_table_number);
    put_scalar(writer, EDIT_NEXT_SEQUENCE, edit->next_sequence);
    put_scalar(writer, EDIT_FLUSHED_THROUGH, edit->flushed_through);
    put_scalar(writer, EDIT_SYNCED, edit->synced);
    for (uint32_t i = 0; i < edit->tables_created_count; i++)
        put_table(writer, EDIT_TABLE_CREATED, &edit->tables_created[i]);
    for (uint32_t i = 0; i < edit->tables_dropped_count; i++)
        put_table(writer, EDIT_TABLE_DROPPED, &edit->tables_dropped[i]);
    for (uint32_t i = 0; i < edit->logs_added_count; i++)
        put_log(writer, EDIT_LOG_ADDED, &edit->logs_added[i]);
    for (uint32_t i = 0; i < edit->logs_ended_count; i++)
        put_log(writer, EDIT_LOG_ENDED, &edit->logs_ended[i]);
    for (uint32_t i = 0; i < edit->logs_removed_count; i++) {
        put_number(writer, &writer->inner, LOG_NUMBER, true, edit->logs_removed[i]);
        put_inner(writer, EDIT_LOG_REMOVED);
    }
    for (uint32_t i = 0; i < edit->added_count; i++)
        put_segment(writer, &edit->added[i]);
    for (uint32_t i = 0; i < edit->removed_count; i++)
        put_place(writer, &edit->removed[i]);
    for (uint32_t i = 0; i < edit->moved_count; i++)
        put_move(writer, &edit->moved[i]);
    for (uint32_t i = 0; i < edit->died_count; i++)
        put_died(writer, &edit->died[i]);
}

bole_status bl_version_edit_encode(const bl_version_edit *edit, bole_buffer *out, bole_error *error)
{
    size_t before = out->size;
    field_writer writer = { .out = out };
    put_edit(&writer, edit);
    bole_buffer_free(&writer.inner);
    uint64_t bytes = out->size - before, bytes_max = edit->snapshot ? UINT32_MAX : BL_VERSION_EDIT_BYTES_MAX;
    if (!writer.failed && bytes <= bytes_max)
        return BOLE_OK;
    out->size = before;
    if (writer.failed)
        return bl_fail(error, BOLE_NO_MEMORY, "no memory for the bytes of a version edit");
    return bl_fail(error, BOLE_TOO_LARGE, "a version edit of %llu bytes; at most %llu fit",
                   (unsigned long long)bytes, (unsigned long long)bytes_max);
}

/* ---- Decoding ---- */

/* Where the bytes come from, for the story of what is wrong with them. */
typedef struct byte_origin {
    const char *file;
    uint64_t offset;
    bole_error *error;
} byte_origin;

typedef struct field {
    const uint8_t *data; /* NULL: absent */
    size_t size;
} field;

/* Take the next field off [*at, end). Inlined, so that a field goes from register to register: stored as two words and
 * loaded as one vector at once it costs more than all else here. */
static inline __attribute__((always_inline)) bole_status next_field(const byte_origin *origin,
                                                                    const uint8_t **at, const uint8_t *end,
                                                                    uint64_t *tag, bool *must, field *out)
{
    uint64_t key, size;
    *tag = 0;
    *must = false;
    *out = (field){ NULL, 0 };
    const uint8_t *in = bl_get_varint(*at, end, &key);
    if (in != NULL)
        in = bl_get_varint(in, end, &size);
    if (in == NULL || size > (uint64_t)(end - in))
        return bl_corrupt(origin->error, origin->file, origin->offset,
                          "a field of an edit ends behind the edit");
    *tag = key >> 1;
    *must = (key & 1) != 0;
    *out = (field){ in, (size_t)size };
    *at = in + size;
    return BOLE_OK;
}

static bole_status unknown_field(const byte_origin *origin, const char *what, uint64_t tag)
{
    bl_fail(origin->error, BOLE_UNSUPPORTED,
            "%s at offset %llu: field %llu of %s must be understood and is not known to this version of bole",
            origin->file, (unsigned long long)origin->offset, (unsigned long long)tag, what);
    return BOLE_UNSUPPORTED;
}

/* Split a field of fields: fields[tag] for every tag below `count`. */
static bole_status split(const byte_origin *origin, const char *what, field bytes, field *fields,
                         unsigned count)
{
    const uint8_t *at = bytes.data, *end = at + bytes.size;
    uint64_t last = 0;
    memset(fields, 0, count * sizeof fields[0]);
    while (at < end) {
        uint64_t tag;
        bool must;
        field one;
        bole_status status = next_field(origin, &at, end, &tag, &must, &one);
        if (status != BOLE_OK)
            return status;
        if (tag <= last)
            return bl_corrupt(origin->error, origin->file, origin->offset, "fields of %s are out of order",
                              what);
        last = tag;
        if (tag < count)
            fields[tag] = one;
        else if (must)
            return unknown_field(origin, what, tag);
    }
    return BOLE_OK;
}

static bole_status bad_field(const byte_origin *origin, const char *what)
{
    return bl_corrupt(origin->error, origin->file, origin->offset, "%s of an edit is missing or malformed",
                      what);
}

static bole_status get_number(const byte_origin *origin, const char *what, field bytes, uint64_t most,
                              uint64_t *out)
{
    *out = 0;
    if (bytes.data == NULL ||
        bl_get_varint(bytes.data, bytes.data + bytes.size, out) != bytes.data + bytes.size ||
        bytes.size == 0 || *out > most)
        return bad_field(origin, what);
    return BOLE_OK;
}

static bole_status get_u32(const byte_origin *origin, const char *what, field bytes, uint32_t *out)
{
    uint64_t value;
    bole_status status = get_number(origin, what, bytes, UINT32_MAX, &value);
    *out = (uint32_t)value;
    return status;
}

static bole_status get_fixed(const byte_origin *origin, const char *what, field bytes, uint64_t *out)
{
    *out = 0;
    if (bytes.data == NULL || bytes.size != 8)
        return bad_field(origin, what);
    *out = bl_get_u64(bytes.data);
    return BOLE_OK;
}

static bole_status get_id(const byte_origin *origin, const char *what, field bytes, bl_id *out)
{
    if (bytes.data == NULL || bytes.size != BL_ID_BYTES)
        return bad_field(origin, what);
    memcpy(out->bytes, bytes.data, BL_ID_BYTES);
    return BOLE_OK;
}

static bole_status get_name(const byte_origin *origin, const char *what, field bytes, const char **out)
{
    *out = NULL;
    if (bytes.data == NULL || bytes.size < 2 || bytes.size > 256 ||
        memchr(bytes.data, 0, bytes.size) != bytes.data + bytes.size - 1)
        return bad_field(origin, what);
    *out = (const char *)bytes.data;
    return BOLE_OK;
}

static bole_status get_key(const byte_origin *origin, const char *what, field bytes, bole_slice *out)
{
    if (bytes.data == NULL || bytes.size > BOLE_KEY_BYTES_MAX)
        return bad_field(origin, what);
    *out = bl_slice(bytes.data, bytes.size);
    return BOLE_OK;
}

static bole_status get_table(const byte_origin *origin, field bytes, bool created, bl_table_description *out)
{
    field fields[TABLE_FIELDS];
    bole_status status = split(origin, "a table", bytes, fields, TABLE_FIELDS);
    if (status == BOLE_OK)
        status = get_u32(origin, "the number of a table", fields[TABLE_NUMBER], &out->number);
    if (status == BOLE_OK)
        status = get_number(origin, "the position of a table", fields[TABLE_POSITION], BL_SEQUENCE_MAX,
                            &out->position);
    if (status == BOLE_OK && created)
        status = get_name(origin, "the name of a table", fields[TABLE_NAME], &out->name);
    if (status == BOLE_OK && created)
        status = get_name(origin, "the comparator of a table", fields[TABLE_COMPARATOR],
                          &out->comparator_name);
    return status;
}

static bole_status get_log(const byte_origin *origin, field bytes, bool added, bl_log_description *out)
{
    field fields[LOG_FIELDS];
    out->end = UINT64_MAX;
    bole_status status = split(origin, "a log", bytes, fields, LOG_FIELDS);
    if (status == BOLE_OK)
        status = get_number(origin, "the number of a log", fields[LOG_NUMBER], UINT64_MAX, &out->number);
    if (status == BOLE_OK && added)
        status = get_id(origin, "the id of a log", fields[LOG_ID], &out->id);
    if (status == BOLE_OK && added)
        status = get_number(origin, "the start of a log", fields[LOG_START], BL_SEQUENCE_MAX, &out->start);
    if (status == BOLE_OK && (!added || fields[LOG_END].data != NULL))
        status = get_number(origin, "the end of a log", fields[LOG_END], BL_SEQUENCE_MAX, &out->end);
    if (status == BOLE_OK && fields[LOG_END_CHECKSUM].data != NULL) {
        out->end_checksum_known = true;
        status = get_fixed(origin, "the checksum of a log", fields[LOG_END_CHECKSUM], &out->end_checksum);
    }
    return status;
}

static bole_status get_segment_place(const byte_origin *origin, const field *fields, uint32_t *table,
                                     uint64_t *number)
{
    bole_status status = get_number(origin, "the number of a segment", fields[SEGMENT_NUMBER], UINT64_MAX,
                                    number);
    if (status == BOLE_OK)
        status = get_u32(origin, "the table of a segment", fields[SEGMENT_TABLE], table);
    return status;
}

static bole_status get_segment_level(const byte_origin *origin, const field *fields, uint32_t *level,
                                     uint32_t *run)
{
    bole_status status = get_u32(origin, "the level of a segment", fields[SEGMENT_LEVEL], level);
    if (status == BOLE_OK)
        status = get_u32(origin, "the run of a segment", fields[SEGMENT_RUN], run);
    return status;
}

/* (EDIT-3) */
static bole_status refuse_unbuilt(const byte_origin *origin, const field *fields)
{
    uint64_t bounds = 0;
    if (fields[SEGMENT_BOUNDS].data != NULL) {
        bole_status status = get_number(origin, "the bounds of a segment", fields[SEGMENT_BOUNDS], 3,
                                        &bounds);
        if (status != BOLE_OK)
            return status;
    }
    if (bounds == 0 && fields[SEGMENT_SEQUENCE_OVERRIDE].data == NULL)
        return BOLE_OK;
    return bl_fail(origin->error, BOLE_UNSUPPORTED,
                   "%s at offset %llu: a segment with %s, which this version of bole does not support",
                   origin->file, (unsigned long long)origin->offset,
                   bounds != 0 ? "bounds that are not in it" : "a sequence of its own (ingest)");
}

static bole_status get_segment_counts(const byte_origin *origin, const field *fields, bl_segment_meta *out)
{
    struct {
        const char *what;
        unsigned tag;
        uint64_t most, *to;
    } numbers[] = {
        { "the size of a segment", SEGMENT_FILE_BYTES, INT64_MAX, &out->file_bytes },
        { "the lowest sequence of a segment", SEGMENT_SEQUENCE_MIN, BL_SEQUENCE_MAX, &out->sequence_min },
        { "the highest sequence of a segment", SEGMENT_SEQUENCE_MAX, BL_SEQUENCE_MAX, &out->sequence_max },
        { "the entries of a segment", SEGMENT_ENTRIES, INT64_MAX, &out->entries },
        { "the tombstones of a segment", SEGMENT_TOMBSTONES, INT64_MAX, &out->tombstones },
        { "the blocks of a segment", SEGMENT_BLOCKS, INT64_MAX, &out->blocks },
    };
    for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++) {
        bole_status status = get_number(origin, numbers[i].what, fields[numbers[i].tag], numbers[i].most,
                                        numbers[i].to);
        if (status != BOLE_OK)
            return status;
    }
    uint64_t zeroed;
    bole_status status = get_number(origin, "the kind of sequences of a segment",
                                    fields[SEGMENT_SEQUENCES_ZEROED], 1, &zeroed);
    out->sequences_zeroed = zeroed != 0;
    if (status == BOLE_OK && fields[SEGMENT_RAW_BYTES].data != NULL)
        status = get_number(origin, "the raw bytes of a segment", fields[SEGMENT_RAW_BYTES], UINT64_MAX,
                            &out->raw_bytes);
    if (status == BOLE_OK && fields[SEGMENT_CREATED_US].data != NULL) {
        uint64_t bits;
        status = get_fixed(origin, "the birth of a segment", fields[SEGMENT_CREATED_US], &bits);
        out->created_us = (int64_t)bits;
    }
    return status;
}

static bole_status get_dead(const byte_origin *origin, field bytes, uint64_t *entries, uint64_t *value_bytes)
{
    const uint8_t *at = bytes.data, *end = at == NULL ? NULL : at + bytes.size;
    if (at != NULL && at < end)
        at = bl_get_varint(at, end, entries);
    if (at != NULL && at < end)
        at = bl_get_varint(at, end, value_bytes);
    else
        at = NULL;
    return at != NULL && at == end ? BOLE_OK : bad_field(origin, "what is dead of a value segment");
}

/* Uses stand in segments of the levels only, dead values in value segments only. */
static bole_status get_values(const byte_origin *origin, const field *fields, bl_segment_meta *out)
{
    field uses = fields[SEGMENT_VALUE_USES];
    bool holds = bl_segment_meta_holds_values(out);
    if (uses.data != NULL)
        out->value_uses = bl_slice(uses.data, uses.size);
    if ((uses.data != NULL && (holds || uses.size == 0)) || !bl_value_uses_are_valid(out->value_uses))
        return bad_field(origin, "the value segments of a segment");
    if (holds)
        return get_dead(origin, fields[SEGMENT_DEAD], &out->dead_entries, &out->dead_bytes);
    return fields[SEGMENT_DEAD].data == NULL ? BOLE_OK
                                             : bad_field(origin, "what is dead of a segment without values");
}

static bole_status get_segment(const byte_origin *origin, field bytes, bl_segment_meta *out)
{
    field fields[SEGMENT_FIELDS];
    bole_status status = split(origin, "a segment", bytes, fields, SEGMENT_FIELDS);
    if (status == BOLE_OK)
        status = refuse_unbuilt(origin, fields);
    if (status == BOLE_OK)
        status = get_segment_place(origin, fields, &out->table, &out->number);
    if (status == BOLE_OK)
        status = get_segment_level(origin, fields, &out->level, &out->run);
    if (status == BOLE_OK)
        status = get_id(origin, "the id of a segment", fields[SEGMENT_ID], &out->id);
    if (status == BOLE_OK)
        status = get_fixed(origin, "the footer's checksum of a segment", fields[SEGMENT_FOOTER_CHECKSUM],
                           &out->footer_checksum);
    if (status == BOLE_OK)
        status = get_key(origin, "the smallest key of a segment", fields[SEGMENT_SMALLEST], &out->smallest);
    if (status == BOLE_OK)
        status = get_key(origin, "the largest key of a segment", fields[SEGMENT_LARGEST], &out->largest);
    if (status == BOLE_OK)
        status = get_segment_counts(origin, fields, out);
    if (status == BOLE_OK)
        status = get_values(origin, fields, out);
    return status;
}

/* The arrays of an edit while they are being filled. */
typedef struct edit_arrays {
    bl_table_description *created, *dropped;
    bl_log_description *logs_added, *logs_ended;
    uint64_t *logs_removed;
    bl_segment_meta *added;
    bl_segment_place *removed;
    bl_segment_move *moved;
    bl_values_died *died;
} edit_arrays;

static bole_status get_scalar(const byte_origin *origin, field bytes, uint64_t most, bool *seen,
                              uint64_t *out)
{
    if (*seen)
        return bl_corrupt(origin->error, origin->file, origin->offset, "a number stands twice in an edit");
    *seen = true;
    return get_number(origin, "a number", bytes, most, out);
}

static bole_status get_edit_scalar(const byte_origin *origin, uint64_t tag, field bytes, bool *seen,
                                   bl_version_edit *edit)
{
    uint64_t number = 0;
    bole_status status;
    switch (tag) {
    case EDIT_SNAPSHOT:
        if (bytes.size != 0 || *seen)
            return bad_field(origin, "the mark of a snapshot");
        *seen = true;
        edit->snapshot = true;
        return BOLE_OK;
    case EDIT_NEXT_FILE_NUMBER: return get_scalar(origin, bytes, UINT64_MAX, seen, &edit->next_file_number);
    case EDIT_NEXT_SEQUENCE: return get_scalar(origin, bytes, BL_SEQUENCE_MAX, seen, &edit->next_sequence);
    case EDIT_FLUSHED_THROUGH:
        return get_scalar(origin, bytes, BL_SEQUENCE_MAX, seen, &edit->flushed_through);
    case EDIT_SYNCED: return get_scalar(origin, bytes, BL_SEQUENCE_MAX, seen, &edit->synced);
    default:
        bl_assert(tag == EDIT_NEXT_TABLE_NUMBER);
        status = get_scalar(origin, bytes, UINT32_MAX, seen, &number);
        edit->next_table_number = (uint32_t)number;
        return status;
    }
}

static bole_status get_edit_part(const byte_origin *origin, uint64_t tag, field bytes, edit_arrays *to,
                                 bl_version_edit *edit)
{
    field fields[SEGMENT_FIELDS];
    bole_status status;
    switch (tag) {
    case EDIT_TABLE_CREATED:
        return get_table(origin, bytes, true, &to->created[edit->tables_created_count++]);
    case EDIT_TABLE_DROPPED:
        return get_table(origin, bytes, false, &to->dropped[edit->tables_dropped_count++]);
    case EDIT_LOG_ADDED: return get_log(origin, bytes, true, &to->logs_added[edit->logs_added_count++]);
    case EDIT_LOG_ENDED: return get_log(origin, bytes, false, &to->logs_ended[edit->logs_ended_count++]);
    case EDIT_SEGMENT_ADDED: return get_segment(origin, bytes, &to->added[edit->added_count++]);
    case EDIT_LOG_REMOVED:
        status = split(origin, "a log", bytes, fields, LOG_FIELDS);
        if (status != BOLE_OK)
            return status;
        return get_number(origin, "the number of a log", fields[LOG_NUMBER], UINT64_MAX,
                          &to->logs_removed[edit->logs_removed_count++]);
    default: break;
    }
    bl_assert(tag == EDIT_SEGMENT_REMOVED || tag == EDIT_SEGMENT_MOVED || tag == EDIT_VALUES_DIED);
    status = split(origin, "a segment", bytes, fields, SEGMENT_FIELDS);
    if (status != BOLE_OK)
        return status;
    if (tag == EDIT_SEGMENT_REMOVED) {
        bl_segment_place *place = &to->removed[edit->removed_count++];
        return get_segment_place(origin, fields, &place->table, &place->number);
    }
    if (tag == EDIT_VALUES_DIED) {
        bl_values_died *died = &to->died[edit->died_count++];
        status = get_segment_place(origin, fields, &died->table, &died->number);
        if (status != BOLE_OK)
            return status;
        return get_dead(origin, fields[SEGMENT_DEAD], &died->more.entries, &died->more.bytes);
    }
    bl_segment_move *move = &to->moved[edit->moved_count++];
    status = get_segment_place(origin, fields, &move->table, &move->number);
    if (status != BOLE_OK)
        return status;
    return get_segment_level(origin, fields, &move->level, &move->run);
}

/* What a part takes at least in a file: the fields that it must have. A part of fewer bytes is refused before memory
 * is made for it, or a file of empty parts would ask for seventy times its size. */
static const uint8_t part_bytes_min[EDIT_FIELDS] = {
    [EDIT_TABLE_CREATED] = 14,  [EDIT_TABLE_DROPPED] = 6,  [EDIT_LOG_ADDED] = 24,
    [EDIT_LOG_ENDED] = 6,       [EDIT_LOG_REMOVED] = 3,    [EDIT_SEGMENT_ADDED] = 40,
    [EDIT_SEGMENT_REMOVED] = 6, [EDIT_SEGMENT_MOVED] = 12, [EDIT_VALUES_DIED] = 10,
};

/* First pass: how many fields of each kind are there? Refuses what it does not know, and parts that are too short. */
static bole_status count_fields(const byte_origin *origin, bole_slice bytes, size_t counts[EDIT_FIELDS])
{
    const uint8_t *at = bytes.data, *end = at + bytes.size;
    while (at < end) {
        uint64_t tag;
        bool must;
        field one;
        bole_status status = next_field(origin, &at, end, &tag, &must, &one);
        if (status != BOLE_OK)
            return status;
        if (tag > 0 && tag < EDIT_FIELDS && one.size < part_bytes_min[tag])
            return bad_field(origin, "a part of an edit");
        if (tag > 0 && tag < EDIT_FIELDS)
            counts[tag]++;
        else if (must || tag == 0)
            return unknown_field(origin, "an edit", tag);
    }
    return BOLE_OK;
}

/* One piece of memory for all arrays. */
static bool make_arrays(const size_t counts[EDIT_FIELDS], edit_arrays *out, bl_decoded_edit *decoded)
{
    size_t created = counts[EDIT_TABLE_CREATED] * sizeof *out->created;
    size_t dropped = counts[EDIT_TABLE_DROPPED] * sizeof *out->dropped;
    size_t logs_added = counts[EDIT_LOG_ADDED] * sizeof *out->logs_added;
    size_t logs_ended = counts[EDIT_LOG_ENDED] * sizeof *out->logs_ended;
    size_t logs_removed = counts[EDIT_LOG_REMOVED] * sizeof *out->logs_removed;
    size_t added = counts[EDIT_SEGMENT_ADDED] * sizeof *out->added;
    size_t removed = counts[EDIT_SEGMENT_REMOVED] * sizeof *out->removed;
    size_t moved = counts[EDIT_SEGMENT_MOVED] * sizeof *out->moved;
    size_t died = counts[EDIT_VALUES_DIED] * sizeof *out->died;
    size_t total = created + dropped + logs_added + logs_ended + logs_removed + added + removed + moved +
                   died;
    uint8_t *memory = bl_alloc(total + 1);
    if (memory == NULL)
        return false;
    decoded->memory = memory;
    out->created = (void *)memory; /* every element type is 8-byte aligned, in size too */
    out->dropped = (void *)(memory += created);
    out->logs_added = (void *)(memory += dropped);
    out->logs_ended = (void *)(memory += logs_added);
    out->logs_removed = (void *)(memory += logs_ended);
    out->added = (void *)(memory += logs_removed);
    out->removed = (void *)(memory += added);
    out->moved = (void *)(memory += removed);
    out->died = (void *)(memory + moved);
    return true;
}
BL_STATIC_ASSERT(sizeof(bl_table_description) % 8 == 0 && sizeof(bl_log_description) % 8 == 0 &&
                     sizeof(bl_segment_meta) % 8 == 0 && sizeof(bl_segment_place) % 8 == 0 &&
                     sizeof(bl_segment_move) % 8 == 0 && sizeof(bl_values_died) % 8 == 0,
                 "the arrays of an edit stand in one piece of memory");

bole_status bl_version_edit_decode(bole_slice bytes, const char *file, uint64_t offset, bl_decoded_edit *out,
                                   bole_error *error)
{
    *out = (bl_decoded_edit){ .memory = NULL };
    byte_origin origin = { file, offset, error };
    size_t counts[EDIT_FIELDS] = { 0 };
    bool seen[EDIT_FIELDS] = { false };
    edit_arrays arrays;
    bole_status status = count_fields(&origin, bytes, counts);
    if (status != BOLE_OK)
        return status;
    if (!make_arrays(counts, &arrays, out))
        return bl_fail(error, BOLE_NO_MEMORY, "no memory for an edit of %s", file);
    bl_version_edit *edit = &out->edit;
    const uint8_t *at = bytes.data, *end = at + bytes.size;
    while (at < end && status == BOLE_OK) {
        uint64_t tag;
        bool must;
        field one;
        status = next_field(&origin, &at, end, &tag, &must, &one);
        if (status != BOLE_OK || tag >= EDIT_FIELDS)
            continue; /* a hint of a later version */
        status = tag <= EDIT_SYNCED ? get_edit_scalar(&origin, tag, one, &seen[tag], edit)
                                    : get_edit_part(&origin, tag, one, &arrays, edit);
    }
    if (status != BOLE_OK) {
        bl_decoded_edit_deinit(out);
        return status;
    }
    edit->tables_created = arrays.created;
    edit->tables_dropped = arrays.dropped;
    edit->logs_added = arrays.logs_added;
    edit->logs_ended = arrays.logs_ended;
    edit->logs_removed = arrays.logs_removed;
    edit->added = arrays.added;
    edit->removed = arrays.removed;
    edit->moved = arrays.moved;
    edit->died = arrays.died;
    return BOLE_OK;
}

void bl_decoded_edit_deinit(bl_decoded_edit *decoded)
{
    bl_free(decoded->memory);
    *decoded = (bl_decoded_edit){ .memory = NULL };
}
