/* SPDX-License-Identifier: MIT */
/* test_alloc.c -- the heap's door, and the buffers that stand on it. */
#include "test.h"

#include "base/alloc.h"
#include "base/buffer.h"
#include "base/coding.h"

#include <errno.h>
#include <wchar.h>

static void never_fail(void) { bl_alloc_fail_at(UINT64_MAX, 0); }

static void memory_is_zeroed_aligned_and_counted(void **state)
{
    (void)state;
    int64_t live = bl_alloc_live();
    uint8_t *plain = bl_alloc(1000), *aligned = bl_alloc_aligned(4096, 8192), *nothing = bl_alloc(0);
    assert_non_null(plain);
    assert_non_null(nothing);
    assert_int_equal((uintptr_t)aligned % 4096, 0);
    for (size_t i = 0; i < 1000; i++)
        assert_int_equal(plain[i], 0);
    for (size_t i = 0; i < 8192; i++)
        assert_int_equal(aligned[i], 0);
    char *text = bl_string_copy("bole");
    assert_string_equal(text, "bole");
#ifdef BL_CHECKS
    assert_int_equal(bl_alloc_live(), live + 4);
#endif
    bl_free(plain);
    bl_free(aligned);
    bl_free(nothing);
    bl_free(text);
    bl_free(NULL);
    assert_int_equal(bl_alloc_live(), live);
}

static void a_product_that_overflows_is_refused(void **state)
{
    (void)state;
    assert_null(bl_alloc_array(SIZE_MAX / 2, 3));
    void *fits = bl_alloc_array(3, 5);
    assert_non_null(fits);
    bl_free(fits);
}

/* Sizes at the ends of what there is: none, and more than any machine has. */
static void sizes_at_the_ends_are_taken_or_refused(void **state)
{
    (void)state;
    void *nothing = bl_realloc(NULL, 0), *copy = bl_memory_copy("x", 0), *small = bl_alloc_aligned(1, 1),
         *none = bl_alloc_aligned(64, 0);
    assert_non_null(nothing);
    assert_non_null(copy);
    assert_int_equal((uintptr_t)small % sizeof(void *), 0);
    assert_non_null(none);
    bl_free(nothing), bl_free(copy), bl_free(small), bl_free(none);
    bole_buffer buffer = BOLE_BUFFER_INIT;
    assert_true(bl_buffer_append_zero(&buffer, 0));
    assert_int_equal(buffer.size, 0);
    assert_false(bl_buffer_append_format(&buffer, "%lc", (wint_t)0x7fffffff)); /* no character */
    assert_int_equal(buffer.size, 0);
#if !defined(BL_ADDRESS_SANITIZER) && !defined(BL_THREAD_SANITIZER) /* they end the process */
    volatile size_t huge = SIZE_MAX / 4 * 3;
    int64_t live = bl_alloc_live();
    assert_null(bl_alloc(huge));
    assert_null(bl_alloc_aligned(64, huge));
    assert_null(bl_memory_copy(&buffer, huge));
    assert_null(bl_realloc(NULL, huge));
    assert_false(bl_buffer_reserve(&buffer, huge));
    assert_int_equal(bl_alloc_live(), live);
#endif
    bole_buffer_free(&buffer);
}

/* Allocations 1 and 2 of a plan fail, 0 and 3 do not; all are counted; a failed realloc keeps the bytes. */
static void the_planned_allocations_fail_and_no_others(void **state)
{
    (void)state;
    bl_alloc_fail_at(1, 2);
    char *kept = bl_string_copy("kept");
    assert_non_null(kept);
    assert_null(bl_realloc(kept, 100000));
    assert_null(bl_new(bole_error));
    void *later = bl_alloc_aligned(64, 64);
    assert_non_null(later);
    assert_int_equal(bl_alloc_calls(), 4);
    assert_string_equal(kept, "kept");
    bl_free(kept);
    bl_free(later);
    bl_alloc_fail_at(0, UINT64_MAX);
    assert_null(bl_alloc(1));
    assert_null(bl_memory_copy("a", 1));
    assert_null(bl_string_copy("a"));
    never_fail();
    void *again = bl_alloc(1);
    assert_non_null(again);
    bl_free(again);
}

static void a_buffer_takes_every_kind_of_append(void **state)
{
    (void)state;
    bole_buffer buffer = BOLE_BUFFER_INIT;
    assert_true(bl_buffer_append(&buffer, NULL, 0));
    assert_true(bl_buffer_append_u8(&buffer, 0xAB));
    assert_true(bl_buffer_append_u32(&buffer, 0x01020304));
    assert_true(bl_buffer_append_u64(&buffer, 0x1122334455667788));
    assert_true(bl_buffer_append_varint(&buffer, 300));
    assert_true(bl_buffer_append_zero(&buffer, 3));
    assert_true(bl_buffer_append_format(&buffer, "%06d.log", 7));
    static const uint8_t expected[] = { 0xAB, 4,    3,    2,    1,    0x88, 0x77, 0x66, 0x55, 0x44,
                                        0x33, 0x22, 0x11, 0xAC, 0x02, 0,    0,    0,    '0',  '0',
                                        '0',  '0',  '0',  '7',  '.',  'l',  'o',  'g' };
    assert_int_equal(buffer.size, sizeof expected);
    assert_memory_equal(buffer.data, expected, sizeof expected);
    assert_true(bl_buffer_assign(&buffer, "new", 3));
    assert_int_equal(buffer.size, 3);
    bole_buffer_free(&buffer);
    assert_null(buffer.data);
    assert_int_equal(buffer.capacity, 0);
    bole_buffer_free(NULL);
}

/* Out of memory and sizes beyond all memory leave a buffer as it was. */
static void a_buffer_that_cannot_grow_is_unchanged(void **state)
{
    (void)state;
    bole_buffer buffer = BOLE_BUFFER_INIT;
    assert_true(bl_buffer_append(&buffer, "abc", 3));
    bole_buffer before = buffer;
    char big[1000] = { 0 };
    bl_alloc_fail_at(0, UINT64_MAX);
    assert_false(bl_buffer_append(&buffer, big, sizeof big));
    assert_false(bl_buffer_assign(&buffer, big, sizeof big));
    assert_false(bl_buffer_append_zero(&buffer, sizeof big));
    assert_false(bl_buffer_append_format(&buffer, "%999d", 1));
    assert_false(bl_buffer_reserve(&buffer, 1000));
    never_fail();
    assert_false(bl_buffer_append_zero(&buffer, SIZE_MAX));
    assert_memory_equal(&buffer, &before, sizeof buffer);
    assert_memory_equal(buffer.data, "abc", 3);
    bole_buffer_free(&buffer);
}

/* Growth doubles: a million appends of one byte allocate about twenty times. */
static void growth_is_by_doubling(void **state)
{
    (void)state;
    bole_buffer buffer = BOLE_BUFFER_INIT;
    never_fail();
    for (size_t i = 0; i < 1000000; i++)
        assert_true(bl_buffer_append_u8(&buffer, (uint8_t)i));
    assert_in_range(bl_alloc_calls(), 1, 20);
    bole_buffer_free(&buffer);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(memory_is_zeroed_aligned_and_counted),
        cmocka_unit_test(a_product_that_overflows_is_refused),
        cmocka_unit_test(sizes_at_the_ends_are_taken_or_refused),
        cmocka_unit_test(the_planned_allocations_fail_and_no_others),
        cmocka_unit_test(a_buffer_takes_every_kind_of_append),
        cmocka_unit_test(a_buffer_that_cannot_grow_is_unchanged),
        cmocka_unit_test(growth_is_by_doubling),
    };
    return cmocka_run_group_tests_name("alloc and buffer", tests, NULL, NULL);
}
