/* SPDX-License-Identifier: MIT */
/* memory.c -- how much memory an input makes the library ask for.
 *
 * The linker gives us every call of malloc and its kin (--wrap): each is counted with the size that the heap says it
 * has. What a shared library allocates for itself (zstd's contexts) is not seen; its size does not follow from input.
 *
 * INVARIANTS (FUZZ-MEMORY-1) Between begin and end the bytes alive are counted exactly, by whatever thread.
 * THREADS    Any; begin and end from one. */
#include "fuzz.h"

#include "base/alloc.h"

#include <inttypes.h>
#include <malloc.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

void *__real_malloc(size_t bytes);
void *__real_calloc(size_t count, size_t bytes);
void *__real_realloc(void *data, size_t bytes);
int __real_posix_memalign(void **out, size_t alignment, size_t bytes);
void __real_free(void *data);
void *__wrap_malloc(size_t bytes);
void *__wrap_calloc(size_t count, size_t bytes);
void *__wrap_realloc(void *data, size_t bytes);
int __wrap_posix_memalign(void **out, size_t alignment, size_t bytes);
void __wrap_free(void *data);

static _Atomic int64_t live, peak;
static int64_t live_at_begin, allocations_at_begin;

static void count(int64_t change)
{
    int64_t now = atomic_fetch_add_explicit(&live, change, memory_order_relaxed) + change;
    int64_t most = atomic_load_explicit(&peak, memory_order_relaxed);
    while (now > most && !atomic_compare_exchange_weak(&peak, &most, now)) {
    }
}

static void *came(void *data)
{
    if (data != NULL)
        count((int64_t)malloc_usable_size(data));
    return data;
}

void *__wrap_malloc(size_t bytes) { return came(__real_malloc(bytes)); }
void *__wrap_calloc(size_t count_of, size_t bytes) { return came(__real_calloc(count_of, bytes)); }

void *__wrap_realloc(void *data, size_t bytes)
{
    int64_t before = data == NULL ? 0 : (int64_t)malloc_usable_size(data);
    void *moved = __real_realloc(data, bytes);
    if (moved != NULL)
        count((int64_t)malloc_usable_size(moved) - before);
    return moved;
}

int __wrap_posix_memalign(void **out, size_t alignment, size_t bytes)
{
    int failed = __real_posix_memalign(out, alignment, bytes);
    if (failed == 0)
        came(*out);
    return failed;
}

void __wrap_free(void *data)
{
    if (data != NULL)
        count(-(int64_t)malloc_usable_size(data));
    __real_free(data);
}

void fuzz_memory_begin(void)
{
    live_at_begin = atomic_load(&live);
    atomic_store(&peak, live_at_begin);
    allocations_at_begin = bl_alloc_live();
}

uint64_t fuzz_memory_peak(void) { return (uint64_t)(atomic_load(&peak) - live_at_begin); }

int64_t fuzz_memory_left(void) { return atomic_load(&live) - live_at_begin; }

void fuzz_memory_end(size_t input_bytes, size_t times, size_t plus)
{
    uint64_t used = fuzz_memory_peak();
    if (used > (uint64_t)times * input_bytes + plus) {
        fprintf(stderr, "an input of %zu bytes asked for %" PRIu64 "; the bound is %zu * input + %zu\n",
                input_bytes, used, times, plus);
        abort();
    }
    fuzz_check(bl_alloc_live() == allocations_at_begin);
}
