/* SPDX-License-Identifier: MIT */
/* process.c -- see process.h. */
#include "platform/process.h"

#include <pthread.h>
#include <sys/resource.h>
#include <unistd.h>

_Atomic uint32_t bl_process_generation_now = 1;
static pthread_once_t install_once = PTHREAD_ONCE_INIT;

static void in_child(void) { atomic_fetch_add_explicit(&bl_process_generation_now, 1, memory_order_relaxed); }

static void install(void) { pthread_atfork(NULL, NULL, in_child); }

uint32_t bl_process_generation(void)
{
    pthread_once(&install_once, install);
    return atomic_load_explicit(&bl_process_generation_now, memory_order_relaxed);
}

int64_t bl_process_id(void) { return getpid(); }

uint64_t bl_process_open_files(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur == RLIM_INFINITY)
        return 0;
    return limit.rlim_cur;
}

_Thread_local uint32_t bl_thread_number;

uint32_t bl_thread_number_give(void)
{
    static _Atomic uint32_t next = 1;
    bl_thread_number = atomic_fetch_add_explicit(&next, 1, memory_order_relaxed);
    return bl_thread_number;
}
