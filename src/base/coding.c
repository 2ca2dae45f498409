/* SPDX-License-Identifier: MIT */
/* coding.c -- the varints that are longer than one byte.
 *
 * A varint is 7 bits a byte, low bits first, the high bit set on all bytes but the last. One value has one
 * form: a last byte of zero behind another byte is refused, so equal contents are equal bytes. */
#include "base/coding.h"

const uint8_t *bl_get_varint_slow(const uint8_t *in, const uint8_t *end, uint64_t *out)
{
    *out = 0;
    uint64_t value = 0;
    for (unsigned shift = 0; in < end && shift <= 63; shift += 7) {
        uint8_t byte = *in++;
        if (shift == 63 && byte > 1)
            return NULL; /* over 64 bits */
        value |= (uint64_t)(byte & 0x7F) << shift;
        if (byte < 0x80) {
            if (byte == 0 && shift != 0)
                return NULL; /* not the shortest form */
            *out = value;
            return in;
        }
    }
    return NULL;
}
