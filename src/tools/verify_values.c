/* SPDX-License-Identifier: MIT */
/* verify_values.c -- do the pointers of a table and the values of its value segments belong together?
 *
 * First every value segment is walked: of each block the hash of its key and the length of its value are kept, 24 bytes
 * a value. Then every entry of the levels goes by, and its pointer is held against them: no value is read a second
 * time. */
#include "tools/verify_values.h"

#include "base/alloc.h"
#include "base/hash.h"
#include "base/status.h"

#include <stdio.h>

typedef struct known_value { /* of a block, by ordinal */
    uint64_t key_hash, offset_seen, bytes;
} known_value;
static const uint64_t NOT_SEEN = UINT64_MAX;

typedef struct values_check {
    const bl_version_table *table;
    known_value **known; /* by index of the value segment; NULL: it cannot be read */
    void (*tell)(void *context, const bole_error *problem);
    void *context;
    bole_error *error;
} values_check;

static bole_status open_cursor(bl_segment *segment, bl_cursor **out, bole_error *error)
{
    bl_segment_cursor_options options = { .read_ahead = true };
    return bl_segment_cursor(&segment, 1, &options, out, error);
}

/* What ends a look at a segment early. Damage is told by the check of that segment; want of memory is not. */
static bole_status end_of(const values_check *check, const bl_cursor *cursor)
{
    if (cursor->status != BOLE_NO_MEMORY)
        return BOLE_OK;
    return bl_fail(check->error, BOLE_NO_MEMORY, "the values of table \"%s\"", check->table->name);
}

static bole_status learn(values_check *check, uint32_t at)
{
    bl_segment *segment = check->table->values.segments[at];
    uint64_t blocks = bl_segment_meta_of(segment)->blocks, count = 0;
    known_value *known = bl_new_array(known_value, blocks + 1);
    bl_cursor *cursor = NULL;
    bole_status status = known == NULL ? bl_fail(check->error, BOLE_NO_MEMORY, "%llu values",
                                                 (unsigned long long)blocks)
                                       : open_cursor(segment, &cursor, check->error);
    if (status != BOLE_OK) {
        bl_free(known);
        return status;
    }
    for (cursor->ops->seek_first(cursor); cursor->valid && count < blocks; bl_cursor_next(cursor))
        known[count++] = (known_value){ bl_hash(cursor->key.data, cursor->key.size), NOT_SEEN,
                                        cursor->value.size };
    bool all = !cursor->valid && count == blocks;
    status = end_of(check, cursor);
    bl_cursor_close(cursor);
    if (all)
        check->known[at] = known;
    else
        bl_free(known);
    return status;
}

static void tell_of(values_check *check, const bl_value_pointer *pointer, const bl_cursor *entry,
                    const char *what)
{
    bole_error problem = BOLE_ERROR_INIT;
    char name[32], key[4 * 40 + 1];
    snprintf(name, sizeof name, "%06llu.seg", (unsigned long long)pointer->segment);
    bl_slice_escape(bl_slice(entry->key.data, entry->key.size < 40 ? entry->key.size : 40), key, sizeof key);
    (void)bl_corrupt(&problem, name, pointer->offset, "key \"%s\" of table \"%s\" points here, %s", key,
                     check->table->name, what);
    check->tell(check->context, &problem);
}

static void look_at(values_check *check, const bl_cursor *entry)
{
    const bl_version_values *values = &check->table->values;
    bl_value_pointer pointer;
    if (!bl_value_pointer_decode(entry->value, &pointer))
        return; /* told by the check of the segment */
    uint32_t at = bl_version_values_find(values, pointer.segment);
    if (at == values->count || check->known[at] == NULL)
        return; /* (VER-5), or told by the check of the value segment */
    if (pointer.block >= bl_segment_meta_of(values->segments[at])->blocks) {
        tell_of(check, &pointer, entry, "where no block is");
        return;
    }
    known_value *known = &check->known[at][pointer.block];
    if (known->key_hash != bl_hash(entry->key.data, entry->key.size))
        tell_of(check, &pointer, entry, "where the value of another key stands");
    else if (known->bytes != pointer.bytes)
        tell_of(check, &pointer, entry, "where a value of another length stands");
    else if (known->offset_seen != NOT_SEEN)
        tell_of(check, &pointer, entry, "where another entry points too");
    known->offset_seen = pointer.offset;
}

static bole_status look_through(values_check *check, bl_segment *segment)
{
    if (bl_segment_meta_of(segment)->value_uses.size == 0)
        return BOLE_OK;
    bl_cursor *cursor;
    bole_status status = open_cursor(segment, &cursor, check->error);
    if (status != BOLE_OK)
        return status;
    for (cursor->ops->seek_first(cursor); cursor->valid; bl_cursor_next(cursor))
        if (bl_tag_kind(cursor->tag) == BL_KIND_PUT_WITH_VALUE_POINTER)
            look_at(check, cursor);
    status = end_of(check, cursor);
    bl_cursor_close(cursor);
    return status;
}

/* Offsets are held against the index of the value segment. */
typedef struct offsets_check {
    values_check *check;
    uint32_t at;
} offsets_check;

static bool check_offset(void *context, const bl_block_place *place)
{
    const offsets_check *on = context;
    const known_value *known = &on->check->known[on->at][place->ordinal];
    if (known->offset_seen == NOT_SEEN || known->offset_seen == place->offset)
        return true;
    bole_error problem = BOLE_ERROR_INIT;
    char name[32];
    snprintf(name, sizeof name, "%06llu.seg", (unsigned long long)on->check->table->values.numbers[on->at]);
    (void)bl_corrupt(&problem, name, place->offset, "block %llu stands here, and a pointer says at %llu",
                     (unsigned long long)place->ordinal, (unsigned long long)known->offset_seen);
    on->check->tell(on->check->context, &problem);
    return true;
}

bole_status bl_verify_values(const bl_version_table *table,
                             void (*tell)(void *context, const bole_error *problem), void *context,
                             bole_error *error)
{
    const bl_version_values *values = &table->values;
    if (values->count == 0)
        return BOLE_OK;
    values_check check = { table, bl_new_array(known_value *, values->count), tell, context, error };
    bole_status status = check.known == NULL
                             ? bl_fail(error, BOLE_NO_MEMORY, "%u value segments", values->count)
                             : BOLE_OK;
    for (uint32_t i = 0; i < values->count && status == BOLE_OK; i++)
        status = learn(&check, i);
    for (uint32_t l = 0; l < BOLE_LEVELS_MAX; l++)
        for (uint32_t r = 0; r < table->levels[l].run_count; r++)
            for (uint32_t i = 0; i < table->levels[l].runs[r].count && status == BOLE_OK; i++)
                status = look_through(&check, table->levels[l].runs[r].segments[i]);
    for (uint32_t i = 0; i < values->count && status == BOLE_OK; i++)
        if (check.known[i] != NULL)
            status = bl_segment_blocks(values->segments[i], check_offset, &(offsets_check){ &check, i },
                                       error);
    for (uint32_t i = 0; check.known != NULL && i < values->count; i++)
        bl_free(check.known[i]);
    bl_free(check.known);
    return status;
}
