/* SPDX-License-Identifier: MIT */
/* value_read.c -- from a pointer that a read has found to the value in its value segment. */
#include "engine/value_read.h"

#include "base/buffer.h"

bole_status bl_value_locate(const bl_version_table *table, bole_slice key, bole_slice bytes,
                            bl_value_pointer *pointer, uint32_t *at, bole_error *error)
{
    const bl_version_values *values = &table->values;
    if (bl_value_pointer_decode(bytes, pointer)) {
        *at = bl_version_values_find(values, pointer->segment);
        if (*at < values->count)
            return BOLE_OK;
    }
    char text[4 * 40 + 1];
    bl_slice_escape(bl_slice(key.data, key.size < 40 ? key.size : 40), text, sizeof text);
    return bl_corrupt(error, "", BL_NO_OFFSET, "key \"%s\" of table \"%s\" points to no value segment of it",
                      text, table->name);
}

bole_status bl_value_hold(const bl_version_table *table, bole_slice key, bole_slice bytes,
                          bl_held_value *held, bole_error *error)
{
    bl_value_pointer pointer;
    uint32_t at;
    bole_status status = bl_value_locate(table, key, bytes, &pointer, &at, error);
    return status == BOLE_OK
               ? bl_segment_hold_value(table->values.segments[at], &pointer, key, held, NULL, error)
               : status;
}

bole_status bl_value_replace(const bl_version_table *table, bole_slice key, bole_buffer *value,
                             bole_error *error)
{
    bl_held_value held = { .frame = NULL };
    bole_status status = bl_value_hold(table, key, bl_slice(value->data, value->size), &held, error);
    if (status == BOLE_OK && !bl_buffer_assign(value, held.value.data, held.value.size))
        status = bl_fail(error, BOLE_NO_MEMORY, "value of %zu bytes", held.value.size);
    bl_held_value_release(&held);
    return status;
}
