/* SPDX-License-Identifier: MIT */
/* epoch.h -- when may memory that a lock-free reader might still see be freed?
 *
 * A reader stores the present epoch in its thread's own cache line, reads, and stores 0. Who unlinks
 * something first makes it unreachable, then waits for the grace period (every thread that was inside has
 * left), then frees or reuses it. Readers execute no fence: bl_epoch_wait issues
 * membarrier(PRIVATE_EXPEDITED) (the liburcu-memb scheme), with a seq_cst fallback where the call is missing
 * and under ThreadSanitizer, which must see the order. One domain for the process. Inside an epoch: no wait,
 * no lock, no I/O, no user callback. Nesting is allowed. A thread's slot is given back when the thread ends.
 * In simulation each coroutine has a slot of its own, and a waiter that finds one inside lets it run. */
#ifndef BL_PLATFORM_EPOCH_H
#define BL_PLATFORM_EPOCH_H

#include "base/sanitizer.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

typedef struct bl_epoch_slot {
    _Alignas(64) _Atomic uint64_t epoch; /* 0: outside */
    uint32_t depth;                      /* of nesting; the owner's */
    bool in_use;                         /* under the lock of epoch.c */
} bl_epoch_slot;

extern _Atomic uint64_t bl_epoch_now;
extern _Atomic bool bl_epoch_needs_fence; /* no membarrier here */
extern _Thread_local bl_epoch_slot *bl_epoch_mine __attribute__((tls_model("initial-exec")));
/* Never NULL; out of memory it waits for a thread to give a slot back. */
bl_epoch_slot *bl_epoch_register(void);

static inline void bl_epoch_enter(void)
{
    bl_epoch_slot *slot = bl_epoch_mine;
    if (__builtin_expect(slot == (void *)0, 0))
        slot = bl_epoch_register();
    if (slot->depth++ == 0) {
        /* Acquire: who reads an epoch made after an unlinking also sees the unlinking. */
        uint64_t now = atomic_load_explicit(&bl_epoch_now, memory_order_acquire);
#if defined(BL_THREAD_SANITIZER)
        atomic_exchange_explicit(&slot->epoch, now, memory_order_seq_cst);
#else
        atomic_store_explicit(&slot->epoch, now, memory_order_relaxed);
        if (__builtin_expect(atomic_load_explicit(&bl_epoch_needs_fence, memory_order_relaxed), 0))
            atomic_thread_fence(memory_order_seq_cst);
        else
            atomic_signal_fence(memory_order_seq_cst);
#endif
    }
}

static inline void bl_epoch_leave(void)
{
    bl_epoch_slot *slot = bl_epoch_mine;
    if (--slot->depth == 0)
        atomic_store_explicit(&slot->epoch, 0, memory_order_release);
}

bool bl_epoch_inside(void); /* for asserts */
/* For a simulation, whose coroutines share a thread: a slot that is nobody's until it stands in bl_epoch_mine, and goes
 * back outside of any epoch; and what a wait does while a reader is inside: false when only other threads can run. */
bl_epoch_slot *bl_epoch_slot_take(void);
void bl_epoch_slot_give_back(bl_epoch_slot *slot);
extern _Thread_local bool (*bl_epoch_let_run)(void);
/* Wait until every thread that is inside now has left. Never call inside an epoch. Any thread; concurrent
 * waiters share one grace period. */
void bl_epoch_wait(void);
/* Non-blocking form: take a ticket after unlinking; the memory may go once bl_epoch_passed(ticket) is
 * true. */
uint64_t bl_epoch_ticket(void);
bool bl_epoch_passed(uint64_t ticket);

#endif
