/* SPDX-License-Identifier: MIT */
/* process.h -- which process is this? fork makes another one, in which no handle of the parent may be used.
 *
 * A generation counts the forks above this process; a handle remembers the one it was opened in. The child's handler
 * (pthread_atfork) only stores one integer. */
#ifndef BL_PLATFORM_PROCESS_H
#define BL_PLATFORM_PROCESS_H

#include <stdatomic.h>
#include <stdint.h>

extern _Atomic uint32_t bl_process_generation_now;
/* Call once before a handle is made: installs the handler on first use. */
uint32_t bl_process_generation(void);
int64_t bl_process_id(void);
uint64_t bl_process_open_files(void); /* how many descriptors it may have; 0: not known */
/* A small number of this thread, for striping counters: threads get 0, 1, 2 ... in order of first use. */
extern _Thread_local uint32_t bl_thread_number __attribute__((tls_model("initial-exec"))); /* 1 + it; 0: not yet */
uint32_t bl_thread_number_give(void);
static inline uint32_t bl_thread_ordinal(void)
{
    uint32_t mine = bl_thread_number;
    return (__builtin_expect(mine == 0, 0) ? bl_thread_number_give() : mine) - 1;
}

#endif
