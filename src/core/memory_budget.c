/* SPDX-License-Identifier: MIT */
/* memory_budget.c -- the one ledger of memory.
 *
 * Memtables and logs are charged by force: their bytes are committed before anyone asks. The other four
 * classes share the rest, and one number, `asked`, holds their sum, so that "add if it fits" is one
 * compare-and-swap and no charge is refused because of another that failed.
 *
 * INVARIANTS  (BUDGET-1) asked is the sum of the four asking classes whenever no call is under way.
 *             (BUDGET-2) A charge that was granted fitted the share at the moment it was added.
 *             (BUDGET-3) No class is ever negative: who releases, charged before.
 * THREADS     Any, no lock. Numbers are relaxed: they order nothing but themselves.
 * NOT HERE    Who gives memory back: segment/frame_cache.c. */
#include "core/memory_budget.h"

#include "base/assert.h"

static bool asks(bl_memory_class memory_class)
{
    return memory_class != BL_MEMORY_MEMTABLE && memory_class != BL_MEMORY_LOG;
}

static int64_t used_of(const bl_memory_budget *budget, bl_memory_class memory_class)
{
    return atomic_load_explicit(&budget->used[memory_class], memory_order_relaxed);
}

static uint64_t not_negative(int64_t value) { return value < 0 ? 0 : (uint64_t)value; }

void bl_memory_budget_init(bl_memory_budget *budget, uint64_t limit, uint64_t reserved)
{
    for (int i = 0; i < BL_MEMORY_CLASSES; i++)
        atomic_init(&budget->used[i], 0);
    atomic_init(&budget->asked, 0);
    atomic_init(&budget->limit, limit);
    atomic_init(&budget->reserved, reserved);
}

void bl_memory_budget_limit(bl_memory_budget *budget, uint64_t limit, uint64_t reserved)
{
    atomic_store_explicit(&budget->limit, limit, memory_order_relaxed);
    atomic_store_explicit(&budget->reserved, reserved, memory_order_relaxed);
}

uint64_t bl_memory_budget_share(const bl_memory_budget *budget)
{
    uint64_t limit = atomic_load_explicit(&budget->limit, memory_order_relaxed);
    uint64_t reserved = atomic_load_explicit(&budget->reserved, memory_order_relaxed);
    uint64_t forced = not_negative(used_of(budget, BL_MEMORY_MEMTABLE)) +
                      not_negative(used_of(budget, BL_MEMORY_LOG));
    uint64_t kept = forced > reserved ? forced : reserved;
    return limit > kept ? limit - kept : 0;
}

uint64_t bl_memory_budget_room(const bl_memory_budget *budget)
{
    uint64_t share = bl_memory_budget_share(budget);
    uint64_t asked = not_negative(atomic_load_explicit(&budget->asked, memory_order_relaxed));
    return asked < share ? share - asked : 0;
}

bool bl_memory_budget_charge(bl_memory_budget *budget, bl_memory_class memory_class, uint64_t bytes)
{
    bl_assert(asks(memory_class) && bytes <= INT64_MAX);
    uint64_t share = bl_memory_budget_share(budget);
    int64_t asked = atomic_load_explicit(&budget->asked, memory_order_relaxed);
    do {
        uint64_t now = not_negative(asked);
        if (now > share || bytes > share - now)
            return false;
    } while (!atomic_compare_exchange_weak_explicit(&budget->asked, &asked, asked + (int64_t)bytes,
                                                    memory_order_relaxed, memory_order_relaxed));
    atomic_fetch_add_explicit(&budget->used[memory_class], (int64_t)bytes, memory_order_relaxed);
    return true;
}

void bl_memory_budget_force(bl_memory_budget *budget, bl_memory_class memory_class, uint64_t bytes)
{
    bl_assert(bytes <= INT64_MAX);
    atomic_fetch_add_explicit(&budget->used[memory_class], (int64_t)bytes, memory_order_relaxed);
    if (asks(memory_class))
        atomic_fetch_add_explicit(&budget->asked, (int64_t)bytes, memory_order_relaxed);
}

void bl_memory_budget_release(bl_memory_budget *budget, bl_memory_class memory_class, uint64_t bytes)
{
    bl_assert(bytes <= INT64_MAX);
    int64_t before = atomic_fetch_sub_explicit(&budget->used[memory_class], (int64_t)bytes,
                                               memory_order_relaxed);
    bl_assert(before >= (int64_t)bytes);
    if (asks(memory_class))
        atomic_fetch_sub_explicit(&budget->asked, (int64_t)bytes, memory_order_relaxed);
}

void bl_memory_budget_move(bl_memory_budget *budget, bl_memory_class from, bl_memory_class to, uint64_t bytes)
{
    bl_assert(asks(from) && asks(to) && bytes <= INT64_MAX);
    atomic_fetch_add_explicit(&budget->used[to], (int64_t)bytes, memory_order_relaxed);
    int64_t before = atomic_fetch_sub_explicit(&budget->used[from], (int64_t)bytes, memory_order_relaxed);
    bl_assert(before >= (int64_t)bytes);
}

uint64_t bl_memory_budget_used(const bl_memory_budget *budget, bl_memory_class memory_class)
{
    return not_negative(used_of(budget, memory_class));
}

uint64_t bl_memory_budget_total(const bl_memory_budget *budget)
{
    uint64_t total = 0;
    for (int i = 0; i < BL_MEMORY_CLASSES; i++)
        total += bl_memory_budget_used(budget, (bl_memory_class)i);
    return total;
}

uint64_t bl_memory_budget_excess(const bl_memory_budget *budget)
{
    uint64_t share = bl_memory_budget_share(budget);
    uint64_t asked = not_negative(atomic_load_explicit(&budget->asked, memory_order_relaxed));
    uint64_t over = asked > share ? asked - share : 0;
    uint64_t evictable = bl_memory_budget_used(budget, BL_MEMORY_CACHE) +
                         bl_memory_budget_used(budget, BL_MEMORY_INDEX);
    return over < evictable ? over : evictable;
}
