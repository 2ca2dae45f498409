/* SPDX-License-Identifier: MIT */
/* value_pointer.c -- pointers to values, and counts of them by value segment. */
#include "segment/value_pointer.h"

#include "base/alloc.h"
#include "base/assert.h"

size_t bl_value_pointer_encode(const bl_value_pointer *pointer, uint8_t out[BL_VALUE_POINTER_BYTES_MAX])
{
    uint8_t *at = bl_put_varint(out, pointer->segment);
    at = bl_put_varint(at, pointer->block);
    at = bl_put_varint(at, pointer->offset);
    return (size_t)(bl_put_varint(at, pointer->bytes) - out);
}

/* bl_get_varint, in place for the sizes that fields of pointers have: each read of a value decodes four of them. */
static inline const uint8_t *next_field(const uint8_t *in, const uint8_t *end, uint64_t *out)
{
    enum { BITS_MAX = 4 * 7 };
    uint64_t value = 0;
    const uint8_t *at = in;
#pragma GCC unroll 4
    for (unsigned shift = 0; shift < BITS_MAX && at < end; shift += 7, at++) {
        value |= (uint64_t)(*at & 0x7F) << shift;
        if (*at < 0x80) {
            *out = value;
            return bl_likely(*at != 0 || shift == 0) ? at + 1 : NULL; /* NULL: not the shortest form */
        }
    }
    return bl_get_varint_slow(in, end, out);
}

bool bl_value_pointer_decode(bole_slice bytes, bl_value_pointer *out)
{
    const uint8_t *at = bytes.data, *end = at + bytes.size;
    *out = (bl_value_pointer){ 0 };
    return bytes.size != 0 && (at = next_field(at, end, &out->segment)) != NULL &&
           (at = next_field(at, end, &out->block)) != NULL &&
           (at = next_field(at, end, &out->offset)) != NULL && next_field(at, end, &out->bytes) == end &&
           out->segment != 0;
}

/* ---- Uses ---- */

bool bl_value_uses_next(bole_slice *uses, bl_value_use *out)
{
    if (uses->size == 0)
        return false;
    const uint8_t *at = uses->data, *end = at + uses->size;
    at = bl_get_varint(at, end, &out->segment);
    at = bl_get_varint(at, end, &out->pointers);
    *uses = bl_slice(at, (size_t)(end - at));
    return true;
}

bool bl_value_uses_are_valid(bole_slice uses)
{
    if (uses.size == 0)
        return true;
    const uint8_t *at = uses.data, *end = at + uses.size;
    uint64_t before = 0, number = 0, pointers = 0;
    while (at < end) {
        at = bl_get_varint(at, end, &number);
        if (at == NULL || at == end || number <= before)
            return false;
        at = bl_get_varint(at, end, &pointers);
        if (at == NULL || pointers == 0 || pointers > INT64_MAX)
            return false;
        before = number;
    }
    return true;
}

/* ---- Tallies ---- */

static uint32_t lower_bound(const bl_value_tally *tally, uint64_t segment)
{
    uint32_t low = 0, high = tally->count;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (tally->counts[middle].segment < segment)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

bool bl_value_tally_add(bl_value_tally *tally, uint64_t segment, uint64_t entries, uint64_t bytes)
{
    uint32_t at = tally->last;
    if (at >= tally->count || tally->counts[at].segment != segment)
        at = lower_bound(tally, segment);
    if (at == tally->count || tally->counts[at].segment != segment) {
        if (tally->count == tally->capacity) {
            uint32_t capacity = tally->capacity == 0 ? 8 : 2 * tally->capacity;
            struct bl_value_count *grown = bl_realloc(tally->counts, capacity * sizeof *grown);
            if (grown == NULL)
                return false;
            tally->counts = grown;
            tally->capacity = capacity;
        }
        memmove(&tally->counts[at + 1], &tally->counts[at], (tally->count - at) * sizeof tally->counts[0]);
        tally->counts[at] = (struct bl_value_count){ .segment = segment };
        tally->count++;
    }
    tally->last = at;
    tally->counts[at].entries += entries;
    tally->counts[at].bytes += bytes;
    return true;
}

const struct bl_value_count *bl_value_tally_of(const bl_value_tally *tally, uint64_t segment)
{
    uint32_t at = lower_bound(tally, segment);
    return at < tally->count && tally->counts[at].segment == segment ? &tally->counts[at] : NULL;
}

uint8_t *bl_value_tally_encode(const bl_value_tally *tally, size_t *bytes)
{
    uint8_t *memory = bl_alloc((size_t)tally->count * 2 * BL_VARINT_BYTES_MAX + 1), *at = memory;
    for (uint32_t i = 0; memory != NULL && i < tally->count; i++) {
        at = bl_put_varint(at, tally->counts[i].segment);
        at = bl_put_varint(at, tally->counts[i].entries);
    }
    *bytes = (size_t)(at - memory);
    return memory;
}

void bl_value_tally_deinit(bl_value_tally *tally)
{
    bl_free(tally->counts);
    *tally = (bl_value_tally){ .counts = NULL };
}
