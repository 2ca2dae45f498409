/* SPDX-License-Identifier: MIT */
/* test_write_batch.c -- operations as they stand in a log record. */
#include "test.h"

#include "base/coding.h"
#include "base/prng.h"
#include "base/slice.h"
#include "core/write_batch.h"

enum { OPERATIONS = 200 };

/* A copy that ends where its allocation ends, so that a sanitizer sees a read behind it. */
static uint8_t *exact(const void *bytes, size_t size)
{
    uint8_t *copy = malloc(size == 0 ? 1 : size);
    assert_non_null(copy);
    if (size > 0)
        memcpy(copy, bytes, size);
    return copy;
}

/* Goal (BATCH-1). Method: random operations with lengths about the borders of varints, encoded into one payload,
 * decoded, compared; the size foretold is the size used, and offsets are those of the kind bytes. */
static void what_is_encoded_is_decoded(void **state)
{
    (void)state;
    static const size_t sizes[] = { 0, 1, 2, 16, 100, 127, 128, 129, 16383, 16384, 65535 };
    static const uint32_t tables[] = { 0, 1, 127, 128, 70000, UINT32_MAX };
    static uint8_t payload[1 << 25], source[70000];
    uint64_t seed = test_seed(1);
    bl_prng prng;
    bl_prng_init(&prng, seed);
    bl_prng_fill(&prng, source, sizeof source);
    bl_operation wanted[OPERATIONS];
    uint8_t *out = payload;
    *out++ = BL_RECORD_BATCH;
    for (size_t i = 0; i < OPERATIONS; i++) {
        bl_operation *operation = &wanted[i];
        operation->kind = bl_prng_chance(&prng, 4) ? BL_KIND_DELETE : BL_KIND_PUT;
        operation->table = tables[bl_prng_below(&prng, 6)];
        operation->key = bl_slice(source + bl_prng_below(&prng, 1000), sizes[bl_prng_below(&prng, 11)]);
        size_t value = operation->kind == BL_KIND_PUT ? sizes[bl_prng_below(&prng, 11)] : 0;
        operation->value = bl_slice(source + bl_prng_below(&prng, 1000), value);
        operation->offset = (uint64_t)(out - payload);
        uint8_t *end = bl_operation_encode(out, operation->kind, operation->table, operation->key,
                                           operation->value);
        size_t size = bl_operation_size(operation->kind, operation->table, operation->key.size, value);
        assert_int_equal(end - out, size);
        out = end;
    }
    bole_slice whole = { payload, (size_t)(out - payload) };
    uint64_t position = 1;
    bl_operation operation;
    for (size_t i = 0; i < OPERATIONS; i++) {
        assert_int_equal(bl_operation_decode(whole, &position, &operation), BOLE_OK);
        assert_int_equal(operation.kind, wanted[i].kind);
        assert_int_equal(operation.table, wanted[i].table);
        assert_int_equal(operation.offset, wanted[i].offset);
        assert_true(bl_slice_equal(operation.key, wanted[i].key));
        assert_true(bl_slice_equal(operation.value, wanted[i].value));
    }
    assert_int_equal(bl_operation_decode(whole, &position, &operation), BOLE_NOT_FOUND);
    assert_int_equal(position, whole.size);
}

/* Goal: the bytes of the format never change. Method: a put and a delete against bytes written down here. */
static void the_bytes_of_an_operation_are_fixed(void **state)
{
    (void)state;
    static const uint8_t wanted[] = { 1, /* batch */
                                      1, 0,    3,    'k', 'e', 'y',
                                      5, 'v',  'a',  'l', 'u', 'e', /* put, table 0 */
                                      2, 0xac, 0x02, 1,   'x' };    /* delete, table 300 */
    uint8_t payload[sizeof wanted + 8];
    uint8_t *out = payload;
    *out++ = BL_RECORD_BATCH;
    out = bl_operation_encode(out, BL_KIND_PUT, 0, BOLE_STR("key"), BOLE_STR("value"));
    out = bl_operation_encode(out, BL_KIND_DELETE, 300, BOLE_STR("x"), BOLE_STR(""));
    assert_int_equal(out - payload, sizeof wanted);
    assert_memory_equal(payload, wanted, sizeof wanted);
}

/* Goal (BATCH-2): a payload that was cut is corrupt, or ends between two operations. Method: every length of it. */
static void a_payload_that_was_cut_is_corrupt(void **state)
{
    (void)state;
    uint8_t payload[600];
    uint8_t *out = payload;
    size_t ends[4] = { 1 };
    uint8_t value[300] = { 7 };
    *out++ = BL_RECORD_BATCH;
    out = bl_operation_encode(out, BL_KIND_PUT, 5, BOLE_STR("first"), bl_slice(value, sizeof value));
    ends[1] = (size_t)(out - payload);
    out = bl_operation_encode(out, BL_KIND_DELETE, 500, BOLE_STR("second"), BOLE_STR(""));
    ends[2] = (size_t)(out - payload);
    out = bl_operation_encode(out, BL_KIND_PUT, 0, BOLE_STR(""), BOLE_STR(""));
    ends[3] = (size_t)(out - payload);
    for (size_t size = 0; size <= ends[3]; size++) {
        uint8_t *copy = exact(payload, size);
        uint64_t position = 1;
        bl_operation operation;
        bole_status status = BOLE_OK;
        while (status == BOLE_OK) {
            uint64_t before = position;
            status = bl_operation_decode(bl_slice(copy, size), &position, &operation);
            if (status != BOLE_OK)
                assert_int_equal(position, before);
        }
        bool between = size == ends[0] || size == ends[1] || size == ends[2] || size == ends[3];
        assert_int_equal(status, between ? BOLE_NOT_FOUND : BOLE_CORRUPT);
        free(copy);
    }
}

/* Goal (BATCH-3). Method: every first byte of an operation, and every record type but the batch's. */
static void kinds_that_are_not_built_are_refused(void **state)
{
    (void)state;
    for (unsigned kind = 0; kind < 256; kind++) {
        uint8_t payload[] = { BL_RECORD_BATCH, (uint8_t)kind, 0, 1, 'k', 1, 'v' };
        uint64_t position = 1;
        bl_operation operation;
        bole_status wanted = kind == 0 || kind > BL_KIND_TRANSACTION_ABORT   ? BOLE_CORRUPT
                             : kind == BL_KIND_PUT || kind == BL_KIND_DELETE ? BOLE_OK
                                                                             : BOLE_UNSUPPORTED;
        assert_int_equal(bl_operation_decode(bl_slice(payload, sizeof payload), &position, &operation),
                         wanted);
    }
    for (unsigned type = 0; type < 256; type++) {
        uint8_t payload[] = { (uint8_t)type, BL_KIND_PUT, 0, 1, 'k', 1, 'v' };
        uint64_t position = 1;
        bl_operation operation;
        bole_status wanted = type == BL_RECORD_BATCH ? BOLE_OK : BOLE_CORRUPT;
        assert_int_equal(bl_operation_decode(bl_slice(payload, sizeof payload), &position, &operation),
                         wanted);
    }
}

/* Goal: limits hold when reading, too. Method: lengths and numbers one above what is allowed, with enough bytes
 * behind them that only the limit can refuse them. */
static void lengths_and_numbers_above_the_limits_are_corrupt(void **state)
{
    (void)state;
    static uint8_t payload[70000];
    bl_operation operation;
    uint64_t position = 1;
    payload[0] = BL_RECORD_BATCH;
    payload[1] = BL_KIND_DELETE;
    uint8_t *out = bl_put_varint(payload + 2, (uint64_t)UINT32_MAX + 1);
    bl_put_varint(out, 1);
    assert_int_equal(bl_operation_decode(bl_slice(payload, sizeof payload), &position, &operation),
                     BOLE_CORRUPT);
    out = bl_put_varint(payload + 2, 0);
    bl_put_varint(out, BOLE_KEY_BYTES_MAX);
    assert_int_equal(bl_operation_decode(bl_slice(payload, sizeof payload), &position, &operation), BOLE_OK);
    position = 1;
    bl_put_varint(out, BOLE_KEY_BYTES_MAX + 1);
    assert_int_equal(bl_operation_decode(bl_slice(payload, sizeof payload), &position, &operation),
                     BOLE_CORRUPT);
    bl_put_varint(out, UINT64_MAX);
    assert_int_equal(bl_operation_decode(bl_slice(payload, sizeof payload), &position, &operation),
                     BOLE_CORRUPT);
    position = sizeof payload + 1;
    assert_int_equal(bl_operation_decode(bl_slice(payload, sizeof payload), &position, &operation),
                     BOLE_CORRUPT);
}

/* Goal: no bytes whatsoever make decoding read outside or loop. Method: random and mutated payloads in allocations of
 * their exact size; every slice lies within, every step goes forward. */
static void random_bytes_do_no_harm(void **state)
{
    (void)state;
    bl_prng prng;
    bl_prng_init(&prng, test_seed(2));
    for (int round = 0; round < 20000; round++) {
        uint8_t payload[64];
        uint8_t *out = payload;
        *out++ = BL_RECORD_BATCH;
        for (int i = 0; i < 3; i++)
            out = bl_operation_encode(out, BL_KIND_PUT, 1, bl_slice("abcdefgh", bl_prng_below(&prng, 9)),
                                      bl_slice("12345678", bl_prng_below(&prng, 9)));
        size_t size = (size_t)(out - payload);
        for (uint64_t flips = bl_prng_below(&prng, 4); flips > 0; flips--)
            payload[bl_prng_below(&prng, size)] ^= (uint8_t)bl_prng_next(&prng);
        if (bl_prng_chance(&prng, 4))
            bl_prng_fill(&prng, payload + 1, size - 1);
        uint8_t *copy = exact(payload, size);
        uint64_t position = 1;
        bl_operation operation;
        uint64_t before = 0;
        while (bl_operation_decode(bl_slice(copy, size), &position, &operation) == BOLE_OK) {
            assert_true(position > before && position <= size);
            before = position;
            const uint8_t *key = operation.key.data;
            assert_true(key >= copy && key + operation.key.size <= copy + size);
        }
        free(copy);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_encoded_is_decoded),
        cmocka_unit_test(the_bytes_of_an_operation_are_fixed),
        cmocka_unit_test(a_payload_that_was_cut_is_corrupt),
        cmocka_unit_test(kinds_that_are_not_built_are_refused),
        cmocka_unit_test(lengths_and_numbers_above_the_limits_are_corrupt),
        cmocka_unit_test(random_bytes_do_no_harm),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
