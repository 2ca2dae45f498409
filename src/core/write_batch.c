/* SPDX-License-Identifier: MIT */
/* write_batch.c -- operations as bytes: how they stand in a log record.
 *
 * PAYLOAD     u8 record type (BL_RECORD_BATCH) | operations, back to back
 * OPERATION   u8 kind | varint table number | varint key bytes | key | [kind put: varint value bytes | value]
 *             Varints are the shortest form (base/coding.h), so that one operation has one encoding.
 * INVARIANTS  (BATCH-1) What encode writes, decode reads: the same fields, to the last byte.
 *             (BATCH-2) Decoding trusts no byte: each length is bounded by what remains and by the limits of keys and
 *                       values, and slices never leave the payload.
 *             (BATCH-3) A kind that is in the format but not built is BOLE_UNSUPPORTED, any other BOLE_CORRUPT.
 * THREADS     Any; no state.
 * NOT HERE    bole_batch_*, the public batch: engine/batch.c. */
#include "core/write_batch.h"

#include "base/assert.h"
#include "base/coding.h"

#include <string.h>

size_t bl_operation_size(uint8_t kind, uint32_t table, size_t key_bytes, size_t value_bytes)
{
    bl_assert(bl_kind_is_built(kind));
    bl_assert(kind == BL_KIND_PUT || value_bytes == 0);
    size_t size = 1 + bl_varint_size(table) + bl_varint_size(key_bytes) + key_bytes;
    return kind == BL_KIND_PUT ? size + bl_varint_size(value_bytes) + value_bytes : size;
}

static uint8_t *put_bytes(uint8_t *out, bole_slice bytes)
{
    out = bl_put_varint(out, bytes.size);
    if (bytes.size > 0)
        memcpy(out, bytes.data, bytes.size);
    return out + bytes.size;
}

uint8_t *bl_operation_encode(uint8_t *out, uint8_t kind, uint32_t table, bole_slice key, bole_slice value)
{
    bl_assert(bl_kind_is_built(kind));
    bl_assert(kind == BL_KIND_PUT || value.size == 0);
    bl_debug_assert(key.size <= BOLE_KEY_BYTES_MAX && value.size <= BOLE_VALUE_BYTES_MAX);
    *out++ = kind;
    out = bl_put_varint(out, table);
    out = put_bytes(out, key);
    return kind == BL_KIND_PUT ? put_bytes(out, value) : out;
}

/* A length of at most `size_max`, and as many bytes. NULL when they are not there. */
static const uint8_t *get_bytes(const uint8_t *in, const uint8_t *end, uint64_t size_max, bole_slice *out)
{
    uint64_t size = 0;
    in = bl_get_varint(in, end, &size);
    if (in == NULL || size > size_max || size > (uint64_t)(end - in))
        return NULL;
    *out = (bole_slice){ in, (size_t)size };
    return in + size;
}

bole_status bl_operation_decode(bole_slice payload, uint64_t *position, bl_operation *out)
{
    *out = (bl_operation){ 0 };
    bl_assert(*position >= 1);
    if (*position > payload.size)
        return BOLE_CORRUPT;
    const uint8_t *begin = payload.data;
    const uint8_t *end = begin + payload.size;
    const uint8_t *in = begin + *position;
    if (begin[0] != BL_RECORD_BATCH)
        return BOLE_CORRUPT;
    if (in == end)
        return BOLE_NOT_FOUND;
    bl_operation operation = { .kind = *in++, .offset = *position };
    if (!bl_kind_is_built(operation.kind)) {
        bool known = operation.kind >= BL_KIND_PUT && operation.kind <= BL_KIND_TRANSACTION_ABORT;
        return known ? BOLE_UNSUPPORTED : BOLE_CORRUPT;
    }
    uint64_t table = 0;
    in = bl_get_varint(in, end, &table);
    if (in == NULL || table > UINT32_MAX)
        return BOLE_CORRUPT;
    operation.table = (uint32_t)table;
    in = get_bytes(in, end, BOLE_KEY_BYTES_MAX, &operation.key);
    if (in != NULL && operation.kind == BL_KIND_PUT)
        in = get_bytes(in, end, BOLE_VALUE_BYTES_MAX, &operation.value);
    if (in == NULL)
        return BOLE_CORRUPT;
    *position = (uint64_t)(in - begin);
    *out = operation;
    return BOLE_OK;
}
