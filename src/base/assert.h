/* SPDX-License-Identifier: MIT */
/* assert.h -- our own mistakes stop the process; input, disk and memory shortage are statuses, never asserts.
 *
 * bl_assert is cheap and alive in every build; bl_debug_assert is costly and alive where BL_CHECKS is defined
 * (debug, sanitizer and simulation builds). */
#ifndef BL_BASE_ASSERT_H
#define BL_BASE_ASSERT_H

#include <stddef.h>

#define BL_STATIC_ASSERT(condition, text) _Static_assert(condition, text)
#define bl_likely(x) __builtin_expect(!!(x), 1)
#define bl_unlikely(x) __builtin_expect(!!(x), 0)

_Noreturn void bl_assert_failed(const char *expression, const char *file, int line);

#define bl_assert(expression) \
    (bl_likely(expression) ? (void)0 : bl_assert_failed(#expression, __FILE__, __LINE__))
#ifdef BL_CHECKS
#define bl_debug_assert(expression) bl_assert(expression)
#else
#define bl_debug_assert(expression) ((void)sizeof(expression))
#endif

/* BL_MARK("bottom tombstone dropped") counts a rare branch in check builds; a test expects it with
 * bl_mark_count("bottom tombstone dropped") > 0, and the gate's step `coverage` expects each to be hit by some test.
 * Free in release builds. */
#ifdef BL_CHECKS
void bl_mark_hit(const char *name);
#define BL_MARK(name) bl_mark_hit(name)
#else
#define BL_MARK(name) ((void)0)
#endif
unsigned long bl_mark_count(const char *name); /* 0 in builds without BL_CHECKS */

#endif
