/* SPDX-License-Identifier: MIT */
/* read_state.c -- the immutable list of memtables and segments that readers see, swapped by one pointer.
 *
 * A get reads it inside an epoch and takes no count; iterators, checkpoints and block loads take a count. publish
 * swaps the pointer, waits until every reader that may have seen the old one has left its epoch, and only then drops
 * the store's own count: so the count of a state that a reader inside an epoch sees is never 0 (STORE-1). */
#include "engine/log_structured_store.h"

#include "base/alloc.h"
#include "base/assert.h"
#include "platform/epoch.h"

void bl_read_state_ref(bl_read_state *state)
{
    uint32_t before = atomic_fetch_add_explicit(&state->references, 1, memory_order_relaxed);
    bl_assert(before > 0);
}

void bl_read_state_unref(bl_read_state *state)
{
    if (state == NULL || atomic_fetch_sub_explicit(&state->references, 1, memory_order_acq_rel) != 1)
        return;
    for (uint32_t i = 0; i < state->memtable_count; i++)
        bl_memtable_unref(state->memtables[i]);
    bl_version_unref(state->version);
    bole_db *db = state->db;
    bl_free(state);
    atomic_fetch_sub_explicit(&db->read_states, 1, memory_order_release);
}

/* The store's own count keeps the state alive while we are inside the epoch. */
bl_read_state *bl_read_state_acquire(bole_db *db, uint64_t *visible)
{
    bl_epoch_enter();
    bl_point_inside(db->scheduler, "reader enters");
    bl_read_state *state = atomic_load_explicit(&db->read_state, memory_order_acquire);
    bl_point_inside(db->scheduler, "reader has a state");
    bl_read_state_ref(state);
    if (visible != NULL)
        *visible = bl_position_visible(db); /* after the state: STORE-4 */
    bl_epoch_leave();
    return state;
}

/* Its segments are in the present version, though the flush that made them has not yet taken it out of the list. */
static bool is_flushed(const bole_db *db, const bl_sealed *sealed)
{
    return sealed->description.end <= bl_version_set_flushed_through(db->versions);
}

bole_status bl_read_state_publish_locked(bole_db *db, bole_error *error)
{
    bl_mutex_assert_held(&db->mutex);
    uint32_t count = db->memtable != NULL;
    for (const bl_sealed *sealed = db->sealed_oldest; sealed != NULL; sealed = sealed->newer)
        count += !is_flushed(db, sealed);
    bl_read_state *state = bl_alloc(sizeof(*state) + count * sizeof(state->memtables[0]));
    if (state == NULL)
        return bl_fail(error, BOLE_NO_MEMORY, "list of memtables");
    atomic_init(&state->references, 1);
    state->db = db;
    atomic_fetch_add_explicit(&db->read_states, 1, memory_order_relaxed);
    state->version = bl_version_set_current(db->versions);
    bl_version_ref(state->version);
    state->memtable_count = count;
    if (db->memtable != NULL)
        state->memtables[0] = db->memtable;
    uint32_t at = count;
    for (const bl_sealed *sealed = db->sealed_oldest; sealed != NULL; sealed = sealed->newer)
        if (!is_flushed(db, sealed))
            state->memtables[--at] = sealed->memtable;
    bl_assert(at == (db->memtable != NULL));
    for (uint32_t i = 0; i < count; i++)
        bl_memtable_ref(state->memtables[i]);
    bl_read_state *old = atomic_exchange_explicit(&db->read_state, state, memory_order_acq_rel);
    if (old != NULL) {
        bl_mutex_unlock(&db->mutex);
        bl_point(db->scheduler, "state published");
        bl_epoch_wait();
        bl_read_state_unref(old);
        bl_mutex_lock(&db->mutex);
    }
    return BOLE_OK;
}
