/* SPDX-License-Identifier: MIT */
/* map_guard.c -- a chained SIGBUS handler over a table of ranges.
 *
 * INVARIANTS  (GUARD-1) The handler takes no lock and calls only what may be called in one: mmap (a bare
 *                       system call), sigaction, raise.
 *             (GUARD-2) A slot is read under its version: odd while it changes, and looked at again after
 *                       reading, so that no fault is charged to a range that is half written.
 *             (GUARD-3) The flag is set before the store that faulted goes on.
 * THREADS     Register and unregister take a lock; the handler runs on the thread that faulted. */
#include "platform/map_guard.h"

#include "base/assert.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <sys/mman.h>
#include <unistd.h>

enum { RANGES_MAX = 256 };

static struct range {
    _Atomic uint32_t version;
    _Atomic uintptr_t first, end; /* first == 0: free */
    _Atomic(_Atomic bool *) failed;
} ranges[RANGES_MAX];

static pthread_mutex_t guard_lock = PTHREAD_MUTEX_INITIALIZER;
static bool installed;
static struct sigaction previous;
static uintptr_t page_bytes;

/* The flag of the range that holds `address`, or NULL. */
static _Atomic bool *flag_of(uintptr_t address)
{
    for (size_t i = 0; i < RANGES_MAX; i++) {
        struct range *range = &ranges[i];
        uint32_t version = atomic_load(&range->version);
        uintptr_t first = atomic_load(&range->first);
        uintptr_t end = atomic_load(&range->end);
        _Atomic bool *failed = atomic_load(&range->failed);
        if ((version & 1) == 0 && first != 0 && address >= first && address < end &&
            atomic_load(&range->version) == version)
            return failed;
    }
    return NULL;
}

/* What would have happened without us. */
static void pass_on(int number, siginfo_t *info, void *context)
{
    if ((previous.sa_flags & SA_SIGINFO) != 0) {
        previous.sa_sigaction(number, info, context);
        return;
    }
    bool was_sent = info->si_code <= 0; /* by kill and the like, not by a fault */
    if (previous.sa_handler != SIG_DFL && previous.sa_handler != SIG_IGN) {
        previous.sa_handler(number);
        return;
    }
    if (previous.sa_handler == SIG_IGN && was_sent)
        return;
    struct sigaction standard = { .sa_handler = SIG_DFL };
    sigaction(number, &standard, NULL);
    if (was_sent)
        raise(number); /* delivered when this handler returns; a fault comes again by itself */
}

static void on_bus_error(int number, siginfo_t *info, void *context)
{
    int saved_errno = errno;
    uintptr_t address = (uintptr_t)info->si_addr;
    _Atomic bool *failed = info->si_code > 0 ? flag_of(address) : NULL;
    if (failed != NULL) {
        atomic_store(failed, true);
        void *page = (void *)(address & ~(page_bytes - 1));
        if (mmap(page, page_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) ==
            page) {
            errno = saved_errno;
            return;
        }
    }
    pass_on(number, info, context);
    errno = saved_errno;
}

static bool install_locked(void)
{
    if (installed)
        return true;
    page_bytes = (uintptr_t)sysconf(_SC_PAGESIZE);
    struct sigaction ours = { .sa_sigaction = on_bus_error, .sa_flags = SA_SIGINFO | SA_ONSTACK };
    sigemptyset(&ours.sa_mask);
    /* `previous` is there before the handler can run. */
    if (sigaction(SIGBUS, NULL, &previous) != 0 || sigaction(SIGBUS, &ours, NULL) != 0)
        return false;
    installed = true;
    return true;
}

static void set_range_locked(struct range *range, uintptr_t first, uintptr_t end, _Atomic bool *failed)
{
    atomic_fetch_add(&range->version, 1);
    atomic_store(&range->first, first);
    atomic_store(&range->end, end);
    atomic_store(&range->failed, failed);
    atomic_fetch_add(&range->version, 1);
}

bool bl_map_guard_register(void *data, size_t length, _Atomic bool *failed)
{
    bl_assert(data != NULL && failed != NULL);
    bool done = false;
    pthread_mutex_lock(&guard_lock);
    if (install_locked()) {
        bl_assert(((uintptr_t)data & (page_bytes - 1)) == 0);
        for (size_t i = 0; i < RANGES_MAX && !done; i++) {
            if (atomic_load(&ranges[i].first) != 0)
                continue;
            set_range_locked(&ranges[i], (uintptr_t)data, (uintptr_t)data + length, failed);
            done = true;
        }
    }
    pthread_mutex_unlock(&guard_lock);
    return done;
}

void bl_map_guard_unregister(void *data)
{
    if (data == NULL)
        return;
    pthread_mutex_lock(&guard_lock);
    for (size_t i = 0; i < RANGES_MAX; i++) {
        if (atomic_load(&ranges[i].first) == (uintptr_t)data)
            set_range_locked(&ranges[i], 0, 0, NULL);
    }
    pthread_mutex_unlock(&guard_lock);
}
