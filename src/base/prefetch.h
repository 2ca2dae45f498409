/* SPDX-License-Identifier: MIT */
/* prefetch.h -- asking for a cache line that will be looked at soon.
 *
 * A function that does nothing but __builtin_prefetch has no effect in gcc's eyes (it is found to be `pure`), and calls
 * of it are left out unless it was inlined before. The empty statement is an effect, of no instruction. */
#ifndef BL_BASE_PREFETCH_H
#define BL_BASE_PREFETCH_H

static inline void bl_prefetch(const void *line)
{
    __builtin_prefetch(line);
    __asm__ volatile("");
}

static inline void bl_prefetch_to_write(const void *line)
{
    __builtin_prefetch(line, 1);
    __asm__ volatile("");
}

#endif
