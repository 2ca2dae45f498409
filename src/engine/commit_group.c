/* SPDX-License-Identifier: MIT */
/* commit_group.c -- many writers, one leader: a combining lock (flat combining: Hendler, Incze, Shavit,
 * Tzafrir, 2010).
 *
 * A writer that finds the lock free is the leader: it writes its own request and those that others have queued, and
 * publishes them together. A writer that finds it taken queues its request and waits for the leader; it never sleeps
 * for another writer of mode `process` as long as the leader runs: it spins for about 200 ns, then yields, and only
 * behind a long pause (rotation, pacing) sleeps in short steps. The sync that mode `power` asks for happens after the
 * lock is free (sync.c), so that the next group forms meanwhile.
 *
 * INVARIANTS  (GROUP-1) A request is written exactly once, by the thread that took it from the queue under the lock.
 *             (GROUP-2) Requests of one group are written in the order in which they were queued.
 *             (GROUP-3) `visible` moves once for a group, to its end, after all of its inserts.
 * NOT HERE    What writing means: write.c. Durability: sync.c. */
#include "engine/log_structured_store.h"

#include "base/assert.h"
#include "platform/relax.h"

enum { YIELDS = 256 };

static bool try_lock(bole_db *db)
{
    return atomic_load_explicit(&db->commit_lock, memory_order_relaxed) == 0 &&
           atomic_exchange_explicit(&db->commit_lock, 1, memory_order_acquire) == 0;
}

static void wait_a_little(bole_db *db, uint32_t round)
{
    if (round < BL_RELAX_SPINS && !bl_scheduler_is_simulation(db->scheduler))
        bl_relax(round);
    else if (round < BL_RELAX_SPINS + YIELDS)
        bl_yield(db->scheduler);
    else
        bl_sleep(db->scheduler, 50 * 1000);
}

void bl_commit_lock(bole_db *db)
{
    for (uint32_t round = 0; !try_lock(db); round++)
        wait_a_little(db, round);
}

bool bl_commit_try_lock(bole_db *db) { return try_lock(db); }

void bl_commit_unlock(bole_db *db) { atomic_store_explicit(&db->commit_lock, 0, memory_order_release); }

static void push(bole_db *db, bl_write_request *request)
{
    bl_write_request *head = atomic_load_explicit(&db->commit_queue, memory_order_relaxed);
    do
        request->next = head;
    while (!atomic_compare_exchange_weak_explicit(&db->commit_queue, &head, request, memory_order_release,
                                                  memory_order_relaxed));
}

/* Everything queued, oldest first. */
static bl_write_request *take_all(bole_db *db)
{
    bl_write_request *newest = atomic_exchange_explicit(&db->commit_queue, NULL, memory_order_acquire);
    bl_write_request *oldest = NULL;
    while (newest != NULL) {
        bl_write_request *next = newest->next;
        newest->next = oldest;
        oldest = newest;
        newest = next;
    }
    return oldest;
}

/* Lock held. `own` is the leader's request, already among the queued ones (then pass NULL) or not. */
static void lead(bole_db *db, bl_write_request *own)
{
    bl_write_request *queued = atomic_load_explicit(&db->commit_queue, memory_order_relaxed) == NULL
                                   ? NULL
                                   : take_all(db);
    bl_write_request *first = queued;
    if (own != NULL) {
        own->next = queued;
        first = own;
    }
    if (first != NULL)
        bl_write_group_locked(db, first);
    bl_point(db->scheduler, "group written"); /* visible, and its writers do not know */
    for (bl_write_request *request = queued; request != NULL;) {
        bl_write_request *next = request->next; /* the request is its owner's once done is set */
        atomic_store_explicit(&request->done, 1, memory_order_release);
        request = next;
    }
}

bole_status bl_commit(bole_db *db, bl_write_request *request)
{
    atomic_init(&request->done, 0);
    if (try_lock(db)) {
        lead(db, request);
        bl_commit_unlock(db);
    } else {
        push(db, request);
        bl_point(db->scheduler, "request queued");
        for (uint32_t round = 0; !atomic_load_explicit(&request->done, memory_order_acquire); round++) {
            if (try_lock(db)) {
                lead(db, NULL);
                bl_commit_unlock(db);
            } else {
                wait_a_little(db, round);
            }
        }
    }
    bole_durability durability = request->durability;
    if (request->status == BOLE_OK && durability == BOLE_DURABILITY_POWER)
        request->status = bl_sync_to(db, request->end, request->error);
    return request->status;
}
