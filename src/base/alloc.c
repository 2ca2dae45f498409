/* SPDX-License-Identifier: MIT */
/* alloc.c -- the heap behind one door: the n-th allocation can fail, and check builds count what is alive.
 *
 * The failure plan is off until bl_alloc_fail_at is called for the first time; while it is off an allocation
 * pays one relaxed load for it.
 * INVARIANTS  (ALLOC-1) Every pointer handed out, also the aligned ones, is freed with bl_free alone.
 *             (ALLOC-2) bl_realloc that fails leaves the old bytes as they were.
 * THREADS     Any. */
#include "base/alloc.h"

#include "base/assert.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

static struct {
    _Atomic bool on;
    _Atomic uint64_t calls;
    _Atomic uint64_t at;    /* first call that fails */
    _Atomic uint64_t count; /* how many fail */
} plan;

#ifdef BL_CHECKS
static _Atomic int64_t live;
#endif

void bl_alloc_fail_at(uint64_t at, uint64_t count)
{
    atomic_store(&plan.on, false);
    atomic_store(&plan.calls, 0);
    atomic_store(&plan.at, at);
    atomic_store(&plan.count, count);
    atomic_store(&plan.on, true);
}

void bl_alloc_fail_never(void) { atomic_store(&plan.on, false); }

uint64_t bl_alloc_calls(void) { return atomic_load(&plan.calls); }

bool bl_alloc_refused(void)
{
    if (bl_likely(!atomic_load_explicit(&plan.on, memory_order_relaxed)))
        return false;
    uint64_t call = atomic_fetch_add_explicit(&plan.calls, 1, memory_order_relaxed);
    uint64_t at = atomic_load_explicit(&plan.at, memory_order_relaxed);
    return call >= at && call - at < atomic_load_explicit(&plan.count, memory_order_relaxed);
}

void bl_alloc_account(int64_t change)
{
#ifdef BL_CHECKS
    int64_t before = atomic_fetch_add_explicit(&live, change, memory_order_relaxed);
    bl_assert(before + change >= 0);
#else
    (void)change;
#endif
}

int64_t bl_alloc_live(void)
{
#ifdef BL_CHECKS
    return atomic_load_explicit(&live, memory_order_relaxed);
#else
    return 0;
#endif
}

static void *counted(void *data)
{
    if (data != NULL)
        bl_alloc_account(1);
    return data;
}

void *bl_alloc(size_t bytes)
{
    if (bl_unlikely(bl_alloc_refused()))
        return NULL;
    return counted(calloc(1, bytes == 0 ? 1 : bytes));
}

void *bl_alloc_unset(size_t bytes)
{
    if (bl_unlikely(bl_alloc_refused()))
        return NULL;
    return counted(malloc(bytes == 0 ? 1 : bytes));
}

void *bl_alloc_array(size_t count, size_t size)
{
    size_t bytes;
    if (__builtin_mul_overflow(count, size, &bytes))
        return NULL;
    return bl_alloc(bytes);
}

void *bl_realloc(void *data, size_t bytes)
{
    if (bl_unlikely(bl_alloc_refused()))
        return NULL;
    void *moved = realloc(data, bytes == 0 ? 1 : bytes);
    return data == NULL ? counted(moved) : moved;
}

void *bl_alloc_aligned(size_t alignment, size_t bytes)
{
    bl_assert(alignment != 0 && (alignment & (alignment - 1)) == 0);
    if (bl_unlikely(bl_alloc_refused()))
        return NULL;
    if (alignment < sizeof(void *))
        alignment = sizeof(void *);
    void *data = NULL;
    if (posix_memalign(&data, alignment, bytes == 0 ? 1 : bytes) != 0)
        return NULL;
    memset(data, 0, bytes);
    return counted(data);
}

void bl_free(void *data)
{
    if (data == NULL)
        return;
    bl_alloc_account(-1);
    free(data);
}

char *bl_string_copy(const char *text) { return bl_memory_copy(text, strlen(text) + 1); }

void *bl_memory_copy(const void *data, size_t bytes)
{
    void *copy = bl_alloc_unset(bytes);
    if (copy != NULL && bytes != 0)
        memcpy(copy, data, bytes);
    return copy;
}
