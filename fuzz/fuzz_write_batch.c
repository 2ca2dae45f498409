/* SPDX-License-Identifier: MIT */
/* fuzz_write_batch.c -- the payload of a log record: operations, as bytes.
 *
 * INPUT       The payload, with its type byte.
 * CHECKED     What decodes encodes to the same bytes (one operation has one encoding); slices stay in the payload and
 *             within the public limits; a public batch of the same operations on the default table is the same bytes.
 *             Decoding allocates nothing. */
#include "fuzz.h"

#include "base/alloc.h"
#include "core/write_batch.h"

#include <string.h>

static void check_operation(bole_slice payload, const bl_operation *operation, uint64_t end)
{
    const uint8_t *begin = payload.data;
    fuzz_check(end <= payload.size && operation->offset < end);
    fuzz_check(operation->key.size <= BOLE_KEY_BYTES_MAX && operation->value.size <= BOLE_VALUE_BYTES_MAX);
    uint64_t size = end - operation->offset;
    fuzz_check(bl_operation_size(operation->kind, operation->table, operation->key.size,
                                 operation->value.size) == size);
    uint8_t *again = bl_alloc(size);
    fuzz_check(again != NULL);
    uint8_t *again_end = bl_operation_encode(again, operation->kind, operation->table, operation->key,
                                             operation->value);
    fuzz_check(again_end == again + size);
    fuzz_check(memcmp(again, begin + operation->offset, size) == 0);
    bl_free(again);
}

static void add_to_batch(bole_batch *batch, const bl_operation *operation)
{
    bole_status status = operation->kind == BL_KIND_PUT
                             ? bole_batch_put(batch, NULL, operation->key, operation->value)
                             : bole_batch_delete(batch, NULL, operation->key);
    fuzz_check_ok(status, NULL);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    bole_slice payload = { data, size };
    uint64_t position = 1, operations = 0;
    bl_operation operation;
    bool only_default = true;
    bole_batch *batch = NULL;
    bole_status status = BOLE_OK;
    if (size == 0)
        return 0;
    fuzz_memory_begin();
    while ((status = bl_operation_decode(payload, &position, &operation)) == BOLE_OK)
        operations++;
    fuzz_check(fuzz_memory_peak() == 0);
    fuzz_check(status == BOLE_NOT_FOUND || status == BOLE_CORRUPT || status == BOLE_UNSUPPORTED);
    fuzz_check(status != BOLE_NOT_FOUND || position == size);
    fuzz_check_ok(bole_batch_create(&batch), NULL);
    uint64_t end = position, count = 0;
    for (position = 1; position < end;) {
        fuzz_check(bl_operation_decode(payload, &position, &operation) == BOLE_OK);
        check_operation(payload, &operation, position);
        only_default = only_default && operation.table == 0;
        if (only_default)
            add_to_batch(batch, &operation);
        count++;
    }
    fuzz_check(count == operations && position == end);
    if (only_default && status == BOLE_NOT_FOUND) {
        fuzz_check(bole_batch_count(batch) == count);
        if (count != 0)
            fuzz_check(batch->payload.size == size && memcmp(batch->payload.data, data, size) == 0);
    }
    bole_batch_destroy(batch);
    fuzz_memory_end(size, 8, 1 << 16);
    return 0;
}
