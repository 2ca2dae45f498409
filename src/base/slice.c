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

/* Length of the UTF-8 sequence at `at`, 0 when it is none (also overlong forms, surrogates, above U+10FFFF). */
static size_t utf8_length(const unsigned char *at)
{
    if (at[0] < 0x80)
        return 1;
    size_t length = at[0] >= 0xf0 ? 4 : at[0] >= 0xe0 ? 3 : 2;
    if (at[0] < 0xc2 || at[0] > 0xf4)
        return 0;
    uint32_t point = at[0] & (0x7f >> length);
    for (size_t i = 1; i < length; i++) {
        if ((at[i] & 0xc0) != 0x80)
            return 0;
        point = point << 6 | (at[i] & 0x3f);
    }
    bool overlong = (length == 3 && point < 0x800) || (length == 4 && point < 0x10000);
    return overlong || (point >= 0xd800 && point < 0xe000) || point > 0x10ffff ? 0 : length;
}

size_t bl_printable_utf8(const char *text)
{
    const unsigned char *at = (const unsigned char *)text;
    size_t length = 1;
    for (; *at >= 0x20 && *at != 0x7f && length != 0; at += length)
        length = utf8_length(at);
    return (size_t)(at - (const unsigned char *)text);
}
