/* SPDX-License-Identifier: MIT */
/* buffer.h -- the library's side of bole_buffer: bytes that grow. Each function returns false when out of
 * memory and then leaves the buffer as it was. */
#ifndef BL_BASE_BUFFER_H
#define BL_BASE_BUFFER_H

#include <bole/bole.h>
#include <stdarg.h>

bool bl_buffer_reserve(bole_buffer *buffer, size_t capacity); /* at least; doubles */
bool bl_buffer_append(bole_buffer *buffer, const void *data, size_t size);
bool bl_buffer_assign(bole_buffer *buffer, const void *data, size_t size);
bool bl_buffer_append_zero(bole_buffer *buffer, size_t size);
bool bl_buffer_append_u8(bole_buffer *buffer, uint8_t value);
bool bl_buffer_append_u32(bole_buffer *buffer, uint32_t value);
bool bl_buffer_append_u64(bole_buffer *buffer, uint64_t value);
bool bl_buffer_append_varint(bole_buffer *buffer, uint64_t value);
bool bl_buffer_append_format(bole_buffer *buffer, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
bool bl_buffer_append_format_list(bole_buffer *buffer, const char *format, va_list arguments)
    __attribute__((format(printf, 2, 0)));

#endif
