/* SPDX-License-Identifier: MIT */
/* alloc.h -- all heap memory of the library, so that a test can fail the n-th allocation. Memory is
 * zeroed but where the name says that it is not. */
#ifndef BL_BASE_ALLOC_H
#define BL_BASE_ALLOC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

void *bl_alloc(size_t bytes);                    /* zeroed; NULL when out of memory */
void *bl_alloc_unset(size_t bytes);              /* not zeroed: what is large and filled before it is read */
void *bl_alloc_array(size_t count, size_t size); /* checks the product */
void *bl_realloc(void *data, size_t bytes);      /* new bytes are not zeroed; on NULL `data` stays */
void *bl_alloc_aligned(size_t alignment, size_t bytes); /* zeroed; freed with bl_free */
void bl_free(void *data);
char *bl_string_copy(const char *text);
void *bl_memory_copy(const void *data, size_t bytes);
#define bl_new(type) ((type *)bl_alloc(sizeof(type)))
#define bl_new_array(type, count) ((type *)bl_alloc_array((count), sizeof(type)))

/* Tests: let allocation number `at` (from now, from 0) and the `count - 1` after it fail; UINT64_MAX:
 * never. */
void bl_alloc_fail_at(uint64_t at, uint64_t count);
void bl_alloc_fail_never(void); /* the plan is over, and nothing is counted any more */
uint64_t bl_alloc_calls(void);  /* since the last bl_alloc_fail_at */
int64_t bl_alloc_live(void);    /* allocations not yet freed (counted in check builds, else 0) */

/* For memory that comes from elsewhere (maps, regions): count one allocation, and say whether the plan of
 * bl_alloc_fail_at wants it to fail; tell bl_alloc_live of what came and went. */
bool bl_alloc_refused(void);
void bl_alloc_account(int64_t change);

#endif
