/* SPDX-License-Identifier: MIT */
/* slice.c -- common prefixes, and bytes for human eyes. */
#include "base/slice.h"

#include "base/coding.h"

/* The display form of one byte, at most 4 characters. */
static size_t escape_byte(uint8_t byte, char form[4])
{
    static const char digits[] = "0123456789abcdef";
    form[0] = '\\';
    switch (byte) {
    case '\\': form[1] = '\\'; return 2;
    case '\n': form[1] = 'n'; return 2;
    case '\t': form[1] = 't'; return 2;
    default: break;
    }
    if (byte >= 0x20 && byte < 0x7F) {
        form[0] = (char)byte;
        return 1;
    }
    form[1] = 'x';
    form[2] = digits[byte >> 4];
    form[3] = digits[byte & 15];
    return 4;
}

size_t bl_slice_escape(bole_slice bytes, char *out, size_t capacity)
{
    const uint8_t *data = bytes.data;
    size_t length = 0, written = 0;
    for (size_t i = 0; i < bytes.size; i++) {
        char form[4];
        size_t size = escape_byte(data[i], form);
        if (length == written && written + size < capacity) { /* whole forms only, and room for the NUL */
            memcpy(out + written, form, size);
            written += size;
        }
        length += size;
    }
    if (capacity != 0)
        out[written] = '\0';
    return length;
}
