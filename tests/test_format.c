/* SPDX-License-Identifier: MIT */
/* test_format.c -- the worked examples of docs/format.md are what the code reads and writes. */
#include "test.h"

#include "base/slice.h"
#include "core/write_batch.h"
#include "log/log_record.h"
#include "segment/value_pointer.h"

enum { EXAMPLE_POSITION = 8192, EXAMPLE_SYNCED = 4096 };

/* The bytes of the first block of docs/format.md that begins with `fence`. */
static size_t read_example(const char *fence, uint8_t *out, size_t capacity)
{
    FILE *file = fopen(BOLE_SOURCE_DIR "/docs/format.md", "r");
    assert_non_null(file);
    char line[512];
    bool inside = false;
    size_t size = 0;
    while (fgets(line, sizeof(line), file) != NULL) {
        if (strncmp(line, "```", 3) == 0) {
            if (inside)
                break;
            line[strcspn(line, "\n")] = 0;
            inside = strcmp(line, fence) == 0;
            continue;
        }
        unsigned byte;
        int used;
        for (const char *at = line; inside && sscanf(at, "%2x%n", &byte, &used) == 1; at += used) {
            assert_true(size < capacity);
            out[size++] = (uint8_t)byte;
        }
    }
    fclose(file);
    return size;
}

/* Goal: the document's record verifies at its place, nowhere else, and says what the text says. */
static void the_worked_example_is_a_record(void **state)
{
    (void)state;
    uint8_t bytes[256];
    size_t size = read_example("```hex", bytes, sizeof(bytes));
    assert_true(size > BL_LOG_RECORD_HEADER_BYTES);
    uint64_t payload_bytes = bl_get_u64(bytes + BL_LOG_RECORD_LENGTH_AT);
    assert_int_equal(payload_bytes, size - BL_LOG_RECORD_HEADER_BYTES);
    assert_int_equal(bl_get_u64(bytes + BL_LOG_RECORD_SYNCED_AT), EXAMPLE_SYNCED);
    bl_id id;
    for (uint8_t i = 0; i < BL_ID_BYTES; i++)
        id.bytes[i] = i;
    uint64_t seed = bl_checksum_seed(id);
    assert_true(bl_log_record_verify(bytes, payload_bytes, seed, EXAMPLE_POSITION));
    assert_false(bl_log_record_verify(bytes, payload_bytes, seed, EXAMPLE_POSITION + 1));
    bl_operation operation;
    uint64_t at = 1;
    bole_slice payload = { bytes + BL_LOG_RECORD_HEADER_BYTES, (size_t)payload_bytes };
    assert_int_equal(bytes[BL_LOG_RECORD_HEADER_BYTES], BL_RECORD_BATCH);
    assert_int_equal(bl_operation_decode(payload, &at, &operation), BOLE_OK);
    assert_int_equal(operation.kind, BL_KIND_PUT);
    assert_int_equal(operation.table, 0);
    assert_true(bl_slice_equal(operation.key, BOLE_STR("hello")));
    assert_true(bl_slice_equal(operation.value, BOLE_STR("world")));
    assert_int_equal(bl_operation_decode(payload, &at, &operation), BOLE_NOT_FOUND);
}

/* Goal: the document's pointer says what the text says, and is what is written for it. */
static void the_worked_example_is_a_pointer(void **state)
{
    (void)state;
    uint8_t bytes[64], written[BL_VALUE_POINTER_BYTES_MAX];
    size_t size = read_example("```pointer", bytes, sizeof(bytes));
    bl_value_pointer pointer;
    assert_true(bl_value_pointer_decode((bole_slice){ bytes, size }, &pointer));
    assert_true(pointer.segment == 12 && pointer.block == 3 && pointer.offset == 20480 &&
                pointer.bytes == 4096);
    assert_int_equal(bl_value_pointer_encode(&pointer, written), size);
    assert_memory_equal(written, bytes, size);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(the_worked_example_is_a_record),
                                        cmocka_unit_test(the_worked_example_is_a_pointer) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
