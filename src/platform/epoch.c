/* SPDX-License-Identifier: MIT */
/* epoch.c -- grace periods: when has every reader left that could still see what was unlinked?
 *
 * bl_epoch_now counts tickets. A reader's slot holds the count it saw when it entered, 0 outside. A writer
 * unlinks, then takes a ticket t (the count before it adds one). A reader that entered with a count above t
 * acquired it from that addition, so it sees the unlinking; only slots with 1 .. t matter.
 *
 * A scan makes every reader's slot visible (a membarrier: each running thread of the process executes a full
 * fence, so a reader's plain store to its slot needs none), then takes the lowest count in any slot; all
 * tickets below it have passed. One scan serves every ticket taken before it, so waiters share their grace
 * periods. Without the call, readers fence for themselves (bl_epoch_needs_fence), and the scan fences on its
 * side. Under ThreadSanitizer, which does not see fences, both sides use read-modify-writes of the slot,
 * which are ordered.
 *
 * The scheme is that of liburcu's "memb" flavour (Desnoyers, McKenney, Stern, Dagenais and Walpole,
 * "User-Level Implementations of Read-Copy Update", 2012) with counts as in Fraser's epochs ("Practical
 * lock-freedom", 2004).
 *
 * INVARIANTS  (EPOCH-1) A ticket has passed only when each slot is 0 or holds a count above it, seen after a
 *                       barrier that came after the ticket.
 *             (EPOCH-2) bl_epoch_needs_fence is false only while this process is registered for membarrier.
 *             (EPOCH-3) Slots are never freed; a slot belongs to one living thread at a time.
 * THREADS     Any. One lock for scans and for the list of slots; readers take it once in their lives.
 * NOT HERE    What is freed, and when: its owners. */
#include "platform/epoch.h"

#include "base/assert.h"

#include <errno.h>
#include <linux/membarrier.h>
#include <pthread.h>
#include <sched.h>
#include <stddef.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

enum { BLOCK_SLOTS = 127, SPINS_MAX = 100, YIELDS_MAX = 200, NAP_NS = 20 * 1000 };

/* Slots come in blocks: the first is static, the others are mapped and stay. */
typedef struct slot_block {
    bl_epoch_slot slots[BLOCK_SLOTS];
    struct slot_block *next;
} slot_block;

_Atomic uint64_t bl_epoch_now = 1;
_Atomic bool bl_epoch_needs_fence = true;
_Thread_local bl_epoch_slot *bl_epoch_mine;
_Thread_local bool (*bl_epoch_let_run)(void);

static slot_block first_block;
static pthread_mutex_t epoch_lock = PTHREAD_MUTEX_INITIALIZER; /* the list, in_use, and scans */
static _Atomic uint64_t tickets_passed;                        /* all tickets up to it */
static pthread_once_t start_once = PTHREAD_ONCE_INIT;
static pthread_key_t thread_end;

/* ---- Start, end of a thread, fork ---------------------------------------------------------------------- */

void bl_epoch_slot_give_back(bl_epoch_slot *slot)
{
    bl_assert(slot->depth == 0);
    pthread_mutex_lock(&epoch_lock);
    slot->in_use = false;
    pthread_mutex_unlock(&epoch_lock);
}

static void give_back(void *value)
{
    bl_epoch_slot_give_back(value);
    bl_epoch_mine = NULL;
}

static void before_fork(void) { pthread_mutex_lock(&epoch_lock); }

static void after_fork(void) { pthread_mutex_unlock(&epoch_lock); }

/* Only the forking thread lives on in the child: the others' slots would be waited for, for ever. */
static void in_child(void)
{
    for (slot_block *block = &first_block; block != NULL; block = block->next) {
        for (size_t i = 0; i < BLOCK_SLOTS; i++) {
            bl_epoch_slot *slot = &block->slots[i];
            if (slot == bl_epoch_mine)
                continue;
            atomic_store_explicit(&slot->epoch, 0, memory_order_relaxed);
            slot->depth = 0;
            slot->in_use = false;
        }
    }
    pthread_mutex_unlock(&epoch_lock);
}

static long membarrier(int command) { return syscall(__NR_membarrier, command, 0, 0); }

static void start(void)
{
    bl_assert(pthread_key_create(&thread_end, give_back) == 0);
    pthread_atfork(before_fork, after_fork, in_child);
#if !defined(BL_THREAD_SANITIZER)
    if (membarrier(MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED) == 0)
        atomic_store(&bl_epoch_needs_fence, false);
#endif
}

static bl_epoch_slot *take_slot_locked(void)
{
    slot_block *last = NULL;
    for (slot_block *block = &first_block; block != NULL; last = block, block = block->next) {
        for (size_t i = 0; i < BLOCK_SLOTS; i++) {
            if (!block->slots[i].in_use)
                return &block->slots[i];
        }
    }
    void *map = mmap(NULL, sizeof(slot_block), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (map == MAP_FAILED)
        return NULL;
    last->next = map;
    return &last->next->slots[0];
}

bl_epoch_slot *bl_epoch_slot_take(void)
{
    pthread_once(&start_once, start);
    bl_epoch_slot *slot;
    for (;;) {
        pthread_mutex_lock(&epoch_lock);
        slot = take_slot_locked();
        if (slot != NULL)
            break;
        pthread_mutex_unlock(&epoch_lock);
        sched_yield();
    }
    bl_assert(slot->depth == 0 && atomic_load(&slot->epoch) == 0);
    slot->in_use = true;
    pthread_mutex_unlock(&epoch_lock);
    return slot;
}

bl_epoch_slot *bl_epoch_register(void)
{
    bl_epoch_slot *slot = bl_epoch_slot_take();
    bl_epoch_mine = slot;
    pthread_setspecific(thread_end, slot); /* without it (no memory) the slot is lost with its thread */
    return slot;
}

/* ---- Tickets ------------------------------------------------------------------------------------------- */

bool bl_epoch_inside(void) { return bl_epoch_mine != NULL && bl_epoch_mine->depth != 0; }

uint64_t bl_epoch_ticket(void) { return atomic_fetch_add_explicit(&bl_epoch_now, 1, memory_order_seq_cst); }

/* From here on, a reader that is inside has its slot in view, or sees what was unlinked before. */
static void fence_all_threads(void)
{
#if !defined(BL_THREAD_SANITIZER)
    atomic_thread_fence(memory_order_seq_cst);
#endif
    if (atomic_load_explicit(&bl_epoch_needs_fence, memory_order_relaxed))
        return;
    if (membarrier(MEMBARRIER_CMD_PRIVATE_EXPEDITED) == 0)
        return;
    bl_assert(errno == EPERM); /* not registered: a child whose kernel does not inherit it */
    bl_assert(membarrier(MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED) == 0);
    bl_assert(membarrier(MEMBARRIER_CMD_PRIVATE_EXPEDITED) == 0);
}

static uint64_t slot_epoch(bl_epoch_slot *slot)
{
#if defined(BL_THREAD_SANITIZER)
    return atomic_fetch_add_explicit(&slot->epoch, 0, memory_order_seq_cst);
#else
    return atomic_load_explicit(&slot->epoch, memory_order_acquire);
#endif
}

static void scan_locked(void)
{
    uint64_t lowest = atomic_load_explicit(&bl_epoch_now, memory_order_seq_cst);
    fence_all_threads();
    for (slot_block *block = &first_block; block != NULL; block = block->next) {
        for (size_t i = 0; i < BLOCK_SLOTS; i++) {
            uint64_t epoch = slot_epoch(&block->slots[i]);
            if (epoch != 0 && epoch < lowest)
                lowest = epoch;
        }
    }
    if (lowest - 1 > atomic_load_explicit(&tickets_passed, memory_order_relaxed))
        atomic_store_explicit(&tickets_passed, lowest - 1, memory_order_release);
}

bool bl_epoch_passed(uint64_t ticket)
{
    if (atomic_load_explicit(&tickets_passed, memory_order_acquire) >= ticket)
        return true;
    pthread_once(&start_once, start);
    pthread_mutex_lock(&epoch_lock);
    if (atomic_load_explicit(&tickets_passed, memory_order_relaxed) < ticket)
        scan_locked();
    pthread_mutex_unlock(&epoch_lock);
    return atomic_load_explicit(&tickets_passed, memory_order_acquire) >= ticket;
}

void bl_epoch_wait(void)
{
    bl_assert(!bl_epoch_inside());
    uint64_t ticket = bl_epoch_ticket();
    for (unsigned round = 0; !bl_epoch_passed(ticket); round++) {
        if (bl_epoch_let_run != NULL && bl_epoch_let_run())
            continue;
        if (round < SPINS_MAX)
            continue; /* a scan is pause enough: readers stay inside for about a microsecond */
        if (round < YIELDS_MAX) {
            sched_yield();
        } else {
            struct timespec nap = { 0, NAP_NS };
            nanosleep(&nap, NULL);
        }
    }
}
