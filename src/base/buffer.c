/* SPDX-License-Identifier: MIT */
/* buffer.c -- bytes that grow.
 *
 * INVARIANTS  (BUFFER-1) size <= capacity, and data is NULL only where capacity is 0.
 *             (BUFFER-2) A call that returns false has changed nothing.
 * THREADS     A buffer belongs to one thread at a time. */
#include "base/buffer.h"

#include "base/alloc.h"
#include "base/assert.h"
#include "base/coding.h"

#include <stdio.h>
#include <string.h>

enum { CAPACITY_MIN = 64 };

void bole_buffer_free(bole_buffer *buffer)
{
    if (buffer == NULL)
        return;
    bl_free(buffer->data);
    *buffer = (bole_buffer)BOLE_BUFFER_INIT;
}

bool bl_buffer_reserve(bole_buffer *buffer, size_t capacity)
{
    bl_assert(buffer->size <= buffer->capacity);
    if (capacity <= buffer->capacity)
        return true;
    size_t wanted = buffer->capacity < CAPACITY_MIN ? CAPACITY_MIN : buffer->capacity;
    while (wanted < capacity)
        wanted = wanted > SIZE_MAX / 2 ? capacity : wanted * 2;
    void *data = bl_realloc(buffer->data, wanted);
    if (data == NULL)
        return false;
    buffer->data = data;
    buffer->capacity = wanted;
    return true;
}

/* Room for `size` more bytes behind the content; NULL when there is none. */
static uint8_t *room(bole_buffer *buffer, size_t size)
{
    size_t end;
    if (__builtin_add_overflow(buffer->size, size, &end) || !bl_buffer_reserve(buffer, end))
        return NULL;
    return (uint8_t *)buffer->data + buffer->size;
}

bool bl_buffer_append(bole_buffer *buffer, const void *data, size_t size)
{
    if (size == 0)
        return true;
    uint8_t *end = room(buffer, size);
    if (end == NULL)
        return false;
    memcpy(end, data, size);
    buffer->size += size;
    return true;
}

bool bl_buffer_assign(bole_buffer *buffer, const void *data, size_t size)
{
    if (!bl_buffer_reserve(buffer, size))
        return false;
    if (size != 0)
        memcpy(buffer->data, data, size);
    buffer->size = size;
    return true;
}

bool bl_buffer_append_zero(bole_buffer *buffer, size_t size)
{
    if (size == 0)
        return true;
    uint8_t *end = room(buffer, size);
    if (end == NULL)
        return false;
    memset(end, 0, size);
    buffer->size += size;
    return true;
}

bool bl_buffer_append_u8(bole_buffer *buffer, uint8_t value) { return bl_buffer_append(buffer, &value, 1); }

bool bl_buffer_append_u32(bole_buffer *buffer, uint32_t value)
{
    uint8_t bytes[4];
    bl_put_u32(bytes, value);
    return bl_buffer_append(buffer, bytes, sizeof bytes);
}

bool bl_buffer_append_u64(bole_buffer *buffer, uint64_t value)
{
    uint8_t bytes[8];
    bl_put_u64(bytes, value);
    return bl_buffer_append(buffer, bytes, sizeof bytes);
}

bool bl_buffer_append_varint(bole_buffer *buffer, uint64_t value)
{
    uint8_t bytes[BL_VARINT_BYTES_MAX];
    return bl_buffer_append(buffer, bytes, (size_t)(bl_put_varint(bytes, value) - bytes));
}

bool bl_buffer_append_format_list(bole_buffer *buffer, const char *format, va_list arguments)
{
    va_list again;
    va_copy(again, arguments);
    int length = vsnprintf(NULL, 0, format, arguments);
    uint8_t *end = length < 0 ? NULL : room(buffer, (size_t)length + 1); /* the NUL behind is no content */
    if (end != NULL) {
        vsnprintf((char *)end, (size_t)length + 1, format, again);
        buffer->size += (size_t)length;
    }
    va_end(again);
    return end != NULL;
}

bool bl_buffer_append_format(bole_buffer *buffer, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    bool good = bl_buffer_append_format_list(buffer, format, arguments);
    va_end(arguments);
    return good;
}
