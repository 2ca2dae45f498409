/* SPDX-License-Identifier: MIT */
/* relax.h -- how a thread waits for a few instructions of another one: it spins briefly, then gives its core away,
 * because the other may be preempted in the middle. For lock-free structures whose owner is never inside for long;
 * everything longer waits with scheduler.h. In simulation the owner never is inside: no switch happens there. */
#ifndef BL_PLATFORM_RELAX_H
#define BL_PLATFORM_RELAX_H

#include <sched.h>

enum { BL_RELAX_SPINS = 64 };

/* Call with 0, 1, 2 ... while the wait lasts. */
static inline void bl_relax(unsigned turn)
{
    if (turn >= BL_RELAX_SPINS) {
        sched_yield();
        return;
    }
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("isb" ::: "memory");
#endif
}

#endif
