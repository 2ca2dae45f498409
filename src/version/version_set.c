/* SPDX-License-Identifier: MIT */
/* version_set.c -- how an edit becomes durable, and the present version another one.
 *
 * AN EDIT     state copied, edit applied to the copy; version built, and checked     (no lock: only the turn)
 *             manifest made ready: rolled over when in doubt or too long; clean mark withdrawn
 *             record written, synced
 *             state, version and position swapped                                    (mutex)
 *             handles of removed segments marked obsolete; grace period; old version let go of
 * ROLL OVER   snapshot into a new manifest: data, sync, sync of the directory; CURRENT.tmp, sync, rename,
 *             sync of the directory; only then is the new manifest in force, and the old one removed.
 * DOUBT       After a failed append nobody knows whether the edit is in the manifest; after a failed rename
 *             of CURRENT, or sync of it, which manifest is in force. Each of these states is whole, and all
 *             but the failed edit are the same. The set goes on with the state before the edit, and ends the
 *             doubt by a roll-over before it writes anything else. An open that was not clean begins in doubt
 *             too: what a dead process wrote was read from the page cache and may never have been synced.
 * INVARIANTS  (SET-1) What is in memory is what recovery finds, at every moment of a crash, or, while an edit
 *                     is under way or in doubt, that edit more.
 *             (SET-2) A manifest is appended to only while nothing about it or CURRENT is in doubt.
 *             (SET-3) A manifest that CURRENT may name is removed only when CURRENT durably names a newer
 *                     one.
 *             (SET-4) A handle is marked obsolete only when the edit that removes it is on disk.
 * THREADS     version_set.h. Who has the turn reads what it likes and writes with the mutex.
 * NOT HERE    Opening: version_recover.c.   Snapshots and checkpoints: version_export.c. */
#include "version/pending_edit.h"

#include "base/alloc.h"
#include "base/assert.h"
#include "base/status.h"
#include "platform/epoch.h"
#include "version/file_name.h"

/* ---- Turns ---- */

static void take_turn(bl_version_set *set)
{
    bl_mutex_assert_held(set->mutex);
    bl_assert(!set->read_only);
    while (set->turn_taken) {
        BL_MARK("edit waits for another edit");
        bl_condition_wait(&set->turn, set->mutex);
    }
    set->turn_taken = true;
}

static void give_turn(bl_version_set *set)
{
    bl_assert(set->turn_taken);
    set->turn_taken = false;
    bl_condition_wake_all(&set->turn);
}

/* ---- The manifest: with the turn, without the mutex ---- */

static void remove_manifest(bl_version_set *set, uint64_t number)
{
    char path[BL_PATH_BYTES_MAX];
    bl_store_path(path, set->directory, BL_FILE_MANIFEST, number);
    (void)set->vfs->remove(set->vfs, path, NULL); /* else it is an orphan for the next open */
}

static void close_manifest(bl_version_set *set)
{
    bl_manifest_close(set->manifest);
    set->manifest = NULL;
}

static void set_doubt(bl_version_set *set)
{
    close_manifest(set);
    bl_mutex_lock(set->mutex);
    set->in_doubt = true;
    bl_mutex_unlock(set->mutex);
}

static void note_stale(bl_version_set *set, uint64_t number)
{
    bl_mutex_lock(set->mutex);
    if (set->stale_count < BL_STALE_MAX) /* else an orphan */
        set->stale[set->stale_count++] = number;
    bl_mutex_unlock(set->mutex);
}

/* `fresh` is in force. */
static void switch_manifest(bl_version_set *set, bl_manifest *fresh)
{
    uint64_t stale[BL_STALE_MAX + 1];
    uint32_t count = 0;
    close_manifest(set);
    set->manifest = fresh;
    set->manifest_id = bl_manifest_id(fresh);
    set->snapshot_bytes = bl_manifest_bytes(fresh);
    set->retry_bytes = 0;
    bl_mutex_lock(set->mutex);
    stale[count++] = set->manifest_number;
    while (set->stale_count > 0)
        stale[count++] = set->stale[--set->stale_count];
    set->manifest_number = bl_manifest_number(fresh);
    set->manifest_position = bl_manifest_bytes(fresh);
    set->in_doubt = false;
    set->clean_mark = false;
    bl_mutex_unlock(set->mutex);
    while (count > 0)
        remove_manifest(set, stale[--count]);
}

static bl_current current_of(const bl_version_set *set, const bl_manifest *manifest)
{
    return (bl_current){
        .store_id = set->store_id,
        .manifest_id = manifest == NULL ? set->manifest_id : bl_manifest_id(manifest),
        .manifest_number = manifest == NULL ? set->manifest_number : bl_manifest_number(manifest),
    };
}

static bole_status encode_state(bl_version_set *set, uint64_t next_file_number, bole_buffer *out,
                                bole_error *error)
{
    const bl_manifest_state *state = &set->state;
    bl_snapshot_source source = {
        .version = bl_version_set_current(set),
        .logs = state->logs,
        .log_count = state->log_count,
        .drops = state->drops,
        .drop_count = state->drop_count,
        .next_file_number = next_file_number,
        .flushed_through = state->flushed_through,
        .synced = state->synced,
        .next_sequence = state->next_sequence,
        .next_table_number = state->next_table_number,
    };
    return bl_snapshot_encode(&source, out, error);
}

/* A failure before CURRENT's rename changes nothing; one after it leaves the set in doubt. */
static bole_status roll_over(bl_version_set *set, bole_error *error)
{
    bl_mutex_lock(set->mutex);
    uint64_t number = bl_version_set_new_file_number(set), next_file_number = set->next_file_number;
    bl_mutex_unlock(set->mutex);
    bole_buffer snapshot = BOLE_BUFFER_INIT;
    bl_manifest *fresh = NULL;
    bool renamed = false;
    bole_status status = encode_state(set, next_file_number, &snapshot, error);
    if (status == BOLE_OK)
        status = bl_manifest_create(set->vfs, set->directory, number, set->store_id,
                                    bl_slice(snapshot.data, snapshot.size), &fresh, error);
    bole_buffer_free(&snapshot);
    if (status != BOLE_OK)
        return status;
    bl_current current = current_of(set, fresh);
    status = bl_current_write(set->vfs, set->directory, &current, &renamed, error);
    if (status == BOLE_OK) {
        switch_manifest(set, fresh);
        return BOLE_OK;
    }
    bl_manifest_close(fresh);
    if (renamed) {
        BL_MARK("roll-over in doubt");
        note_stale(set, number);
        set_doubt(set);
    } else {
        remove_manifest(set, number);
    }
    return status;
}

/* CURRENT without the mark of a clean close. While this fails nothing is appended. */
static bole_status withdraw_mark(bl_version_set *set, bole_error *error)
{
    bl_current current = current_of(set, NULL);
    bool renamed;
    bole_status status = bl_current_write(set->vfs, set->directory, &current, &renamed, error);
    if (status != BOLE_OK)
        return status;
    bl_mutex_lock(set->mutex);
    set->clean_mark = false;
    bl_mutex_unlock(set->mutex);
    return BOLE_OK;
}

static bool is_too_long(const bl_version_set *set)
{
    uint64_t bytes = set->manifest_position;
    return bytes > set->manifest_bytes_max && bytes / 2 > set->snapshot_bytes && bytes >= set->retry_bytes;
}

/* (SET-2) */
static bole_status make_ready(bl_version_set *set, bole_error *error)
{
    bole_status status = BOLE_OK;
    bool must = set->in_doubt;
    if (must || is_too_long(set))
        status = roll_over(set, error);
    if (status != BOLE_OK && !must && !set->in_doubt) {
        BL_MARK("roll-over for size put off");
        set->retry_bytes = set->manifest_position + set->manifest_position / 4;
        bl_error_clear(error); /* the old manifest is as good as before */
        status = BOLE_OK;
    }
    if (status == BOLE_OK && set->clean_mark)
        status = withdraw_mark(set, error);
    if (status == BOLE_OK && set->manifest == NULL)
        status = bl_manifest_open(set->vfs, set->directory, &set->opened, &set->manifest, error);
    return status;
}

/* ---- Edits ---- */

static bole_status write_edit(bl_version_set *set, bl_pending_edit *pending, bole_error *error)
{
    /* A roll-over took a number meanwhile, and numbers only rise. */
    bl_mutex_lock(set->mutex);
    pending->edit.next_file_number = set->next_file_number;
    bl_mutex_unlock(set->mutex);
    pending->next.next_file_number = pending->edit.next_file_number;
    bole_buffer bytes = BOLE_BUFFER_INIT;
    bole_status status = bl_version_edit_encode(&pending->edit, &bytes, error);
    if (status == BOLE_OK) {
        status = bl_manifest_append(set->manifest, bl_slice(bytes.data, bytes.size), error);
        if (status != BOLE_OK) {
            BL_MARK("edit in doubt");
            set_doubt(set);
        }
    }
    bole_buffer_free(&bytes);
    return status;
}

/* Mutex held. (SET-1) */
static void install(bl_version_set *set, bl_pending_edit *pending)
{
    bl_manifest_state before = set->state;
    set->state = pending->next;
    pending->next = before;
    set->manifest_position = bl_manifest_bytes(set->manifest);
    atomic_store_explicit(&set->current, pending->version, memory_order_release);
    pending->version = NULL; /* its reference is the set's now; the old version's is ours */
}

/* With turn and mutex; both again on return. On success *old is the version before, with a reference, to be
 * let go of by release_old. */
static bole_status apply_in_turn(bl_version_set *set, const bl_version_edit *edit, bl_version **old,
                                 bole_error *error)
{
    bole_error story = BOLE_ERROR_INIT; /* a roll-over may fail and the edit succeed */
    bl_pending_edit pending = { .edit = *edit };
    pending.edit.next_file_number = set->next_file_number;
    *old = NULL;
    bl_mutex_unlock(set->mutex);
    bole_status status = bl_pending_edit_prepare(set, &pending, &story);
    if (status == BOLE_OK)
        status = make_ready(set, &story);
    if (status == BOLE_OK)
        status = write_edit(set, &pending, &story);
    bl_mutex_lock(set->mutex);
    if (status == BOLE_OK) {
        install(set, &pending);
        *old = pending.old;
    }
    bl_mutex_unlock(set->mutex);
    for (uint32_t i = 0; i < pending.departure_count && status == BOLE_OK; i++)
        if (pending.departures[i].move == NULL)
            bl_segment_mark_obsolete(pending.departures[i].segment); /* (SET-4) */
    bl_pending_edit_deinit(&pending);
    if (status != BOLE_OK && error != NULL)
        *error = story;
    bl_mutex_lock(set->mutex);
    return status;
}

/* Mutex held, not the turn. Readers inside an epoch may still look at the old version. */
static void release_old(bl_version_set *set, bl_version *old)
{
    if (old == NULL)
        return;
    bl_mutex_unlock(set->mutex);
    bl_epoch_wait();
    bl_version_unref(old);
    bl_mutex_lock(set->mutex);
}

bole_status bl_version_set_apply(bl_version_set *set, const bl_version_edit *edit, bole_error *error)
{
    bl_assert(!bl_epoch_inside());
    bl_version *old;
    take_turn(set);
    bole_status status = apply_in_turn(set, edit, &old, error);
    give_turn(set);
    release_old(set, old);
    return status;
}

/* ---- The mark of a clean close, and doubt ---- */

/* With the turn, without the mutex. */
static bole_status set_mark(bl_version_set *set, bole_error *error)
{
    bole_status status = set->in_doubt ? roll_over(set, error) : BOLE_OK;
    if (status != BOLE_OK)
        return status;
    bl_current current = current_of(set, NULL);
    current.clean_bytes = set->manifest == NULL ? set->opened.bytes : bl_manifest_bytes(set->manifest);
    current.clean_chain = set->manifest == NULL ? set->opened.chain : bl_manifest_chain(set->manifest);
    bool renamed;
    status = bl_current_write(set->vfs, set->directory, &current, &renamed, error);
    if (renamed) { /* it may be there: before the next edit it has to go */
        bl_mutex_lock(set->mutex);
        set->clean_mark = true;
        bl_mutex_unlock(set->mutex);
    }
    return status;
}

bole_status bl_version_set_close_cleanly(bl_version_set *set, const bl_version_edit *edit, bole_error *error)
{
    bl_assert(!bl_epoch_inside());
    bl_version *old = NULL;
    take_turn(set);
    bole_status status = edit == NULL ? BOLE_OK : apply_in_turn(set, edit, &old, error);
    bool there = set->clean_mark && edit == NULL && set->was_clean && set->manifest == NULL;
    if (status == BOLE_OK && !there) {
        bl_mutex_unlock(set->mutex);
        status = set_mark(set, error);
        bl_mutex_lock(set->mutex);
    }
    give_turn(set);
    release_old(set, old);
    return status;
}

bole_status bl_version_set_withdraw_clean_mark(bl_version_set *set, bole_error *error)
{
    take_turn(set);
    bole_status status = BOLE_OK;
    if (set->clean_mark) {
        bl_mutex_unlock(set->mutex);
        status = withdraw_mark(set, error);
        bl_mutex_lock(set->mutex);
    }
    give_turn(set);
    return status;
}

bole_status bl_version_set_settle(bl_version_set *set, bole_error *error)
{
    take_turn(set);
    bole_status status = BOLE_OK;
    if (set->in_doubt) {
        bl_mutex_unlock(set->mutex);
        status = roll_over(set, error);
        bl_mutex_lock(set->mutex);
    }
    give_turn(set);
    return status;
}

bool bl_version_set_was_clean(const bl_version_set *set) { return set->was_clean; }

bool bl_version_set_may_delete(const bl_version_set *set)
{
    bl_mutex_assert_held(set->mutex);
    return !set->in_doubt && !set->read_only;
}

/* ---- Looking ---- */

bl_version *bl_version_set_current(const bl_version_set *set)
{
    return atomic_load_explicit(&set->current, memory_order_acquire);
}

bl_id bl_version_set_store_id(const bl_version_set *set) { return set->store_id; }

uint64_t bl_version_set_new_file_number(bl_version_set *set)
{
    bl_mutex_assert_held(set->mutex);
    return set->next_file_number++;
}

void bl_version_set_pass_file_number(bl_version_set *set, uint64_t number)
{
    bl_mutex_assert_held(set->mutex);
    if (number >=
        BL_FILE_NUMBER_MAX / 2) /* nobody's: no store counts that far, and the counter must not end */
        return;
    if (number >= set->next_file_number)
        set->next_file_number = number + 1;
}

uint64_t bl_version_set_flushed_through(const bl_version_set *set) { return set->state.flushed_through; }
uint64_t bl_version_set_synced(const bl_version_set *set) { return set->state.synced; }
uint64_t bl_version_set_next_sequence(const bl_version_set *set) { return set->state.next_sequence; }
uint64_t bl_version_set_manifest_number(const bl_version_set *set) { return set->manifest_number; }
uint64_t bl_version_set_manifest_position(const bl_version_set *set) { return set->manifest_position; }
uint32_t bl_version_set_log_count(const bl_version_set *set) { return set->state.log_count; }
uint32_t bl_version_set_next_table_number(const bl_version_set *set) { return set->state.next_table_number; }

const bl_log_description *bl_version_set_log_at(const bl_version_set *set, uint32_t index)
{
    bl_assert(index < set->state.log_count);
    return &set->state.logs[index];
}

bool bl_version_set_table_was_dropped(const bl_version_set *set, uint32_t number, uint64_t *position)
{
    const bl_state_drop *drop = bl_manifest_state_drop(&set->state, number);
    *position = drop == NULL ? 0 : drop->position;
    return drop != NULL;
}

bool bl_version_set_names_file(const bl_version_set *set, int file_kind, uint64_t number)
{
    switch ((bl_file_kind)file_kind) {
    case BL_FILE_LOG: return bl_manifest_state_log(&set->state, number) != NULL;
    case BL_FILE_SEGMENT: return bl_manifest_state_segment(&set->state, number) != NULL;
    case BL_FILE_MANIFEST:
        for (uint32_t i = 0; i < set->stale_count; i++)
            if (set->stale[i] == number)
                return true; /* CURRENT may name it */
        return number == set->manifest_number;
    case BL_FILE_TEMPORARY: return false;
    case BL_FILE_CURRENT:
    case BL_FILE_LOCK:
    case BL_FILE_READERS:
    case BL_FILE_RESERVE:
    case BL_FILE_CONFIG:
    case BL_FILE_EVENTS:
    case BL_FILE_OTHER: break;
    }
    return true;
}

void bl_version_set_destroy(bl_version_set *set)
{
    if (set == NULL)
        return;
    bl_assert(!set->turn_taken);
    close_manifest(set);
    bl_version_unref(atomic_load_explicit(&set->current, memory_order_relaxed));
    bl_manifest_state_deinit(&set->state);
    if (set->turn_ready)
        bl_condition_deinit(&set->turn);
    bl_free(set->directory);
    bl_free(set);
}
