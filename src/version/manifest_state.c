/* SPDX-License-Identifier: MIT */
/* manifest_state.c -- what the edits of a manifest add up to.
 *
 * Segments stand in a hash table by number (open addressing, linear probing, at most half full, holes closed
 * by moving back), so an edit costs its own size, not the store's. Tables, logs and drops are short sorted
 * arrays.
 * INVARIANTS  (STATE-1) A number names one thing: no two segments or logs share one, a table's is never used
 *                       again.
 *             (STATE-2) Numbers of files are below next_file_number; of tables, dropped ones too, below
 *                       next_table_number. Both, and the positions, only rise.
 *             (STATE-3) Logs are in order: each starts at or above where the one before starts, and ends.
 *             (STATE-4) A table that is dropped has no segments left: the edit that drops it removes them by
 *                       name.
 *             (STATE-5) A value segment stays one, and always has an entry that is not dead.
 * THREADS     One at a time; version_set.c applies to a copy of its own.
 * NOT HERE    Order of keys inside runs (VER-1 to VER-3): version.c, once, on the final state. */
#include "version/manifest_state.h"

#include "base/alloc.h"
#include "base/assert.h"
#include "base/hash.h"
#include "base/status.h"
#include "core/internal_key.h"
#include "version/file_name.h"

/* Where an edit comes from, for the story of what is wrong with it. */
typedef struct edit_origin {
    const char *file;
    uint64_t offset;
    bole_error *error;
} edit_origin;

#define misfit(origin, ...) bl_corrupt((origin)->error, (origin)->file, (origin)->offset, __VA_ARGS__)

static bole_status no_memory(bole_error *error)
{
    return bl_fail(error, BOLE_NO_MEMORY, "no memory for the state of a manifest");
}

/* ---- Segments by number ---- */

static uint32_t slot_of(const bl_manifest_state *state, uint64_t number)
{
    uint64_t mixed = number * UINT64_C(0x9E3779B97F4A7C15);
    return (uint32_t)(mixed >> 32) & (state->slot_count - 1);
}

/* The slot that holds `number`, or the free one where it would go. */
static bl_state_segment *find_slot(const bl_manifest_state *state, uint64_t number)
{
    uint32_t at = slot_of(state, number);
    while (state->slots[at].number != 0 && state->slots[at].number != number)
        at = (at + 1) & (state->slot_count - 1);
    return &state->slots[at];
}

static bool grow_slots(bl_manifest_state *state)
{
    bl_manifest_state grown = { .slot_count = state->slot_count == 0 ? 16 : state->slot_count * 2 };
    if (grown.slot_count != 0) /* else there would be 2^32 of them */
        grown.slots = bl_new_array(bl_state_segment, grown.slot_count);
    if (grown.slots == NULL)
        return false;
    for (uint32_t i = 0; i < state->slot_count; i++)
        if (state->slots[i].number != 0)
            *find_slot(&grown, state->slots[i].number) = state->slots[i];
    bl_free(state->slots);
    state->slots = grown.slots;
    state->slot_count = grown.slot_count;
    return true;
}

static void free_meta(bl_state_segment *segment)
{
    if (segment->meta != NULL) {
        bl_segment_meta_deinit(segment->meta);
        bl_free(segment->meta);
        segment->meta = NULL;
    }
}

/* Take a slot's content out; those behind it that it kept from their place move up. */
static void remove_slot(bl_manifest_state *state, bl_state_segment *slot)
{
    uint32_t mask = state->slot_count - 1, hole = (uint32_t)(slot - state->slots), at = hole;
    free_meta(slot);
    for (;;) {
        at = (at + 1) & mask;
        if (state->slots[at].number == 0)
            break;
        uint32_t home = slot_of(state, state->slots[at].number);
        if (((at - home) & mask) >= ((at - hole) & mask)) {
            state->slots[hole] = state->slots[at];
            hole = at;
        }
    }
    state->slots[hole] = (bl_state_segment){ .number = 0 };
    state->segment_count--;
}

const bl_state_segment *bl_manifest_state_segment(const bl_manifest_state *state, uint64_t number)
{
    if (state->slot_count == 0 || number == 0)
        return NULL;
    const bl_state_segment *slot = find_slot(state, number);
    return slot->number == number ? slot : NULL;
}

void bl_manifest_state_drop_metas(bl_manifest_state *state)
{
    for (uint32_t i = 0; i < state->slot_count; i++)
        free_meta(&state->slots[i]);
    state->keep_metas = false;
}

/* ---- Arrays ---- */

/* Room for one more element in an array of `count`. */
static bool grow_array(void **array, uint32_t count, uint32_t *capacity, size_t element)
{
    bl_assert(*array != NULL || *capacity == 0);
    if (count < *capacity)
        return true;
    uint32_t wanted = *capacity == 0 ? 4 : *capacity * 2;
    void *grown = bl_realloc(*array, wanted * element);
    if (grown == NULL)
        return false;
    *array = grown;
    *capacity = wanted;
    return true;
}

/* Index of the first table with a number not below `number`. */
static uint32_t table_index(const bl_manifest_state *state, uint32_t number)
{
    uint32_t low = 0, high = state->table_count;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (state->tables[middle].number < number)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static bl_state_table *find_table(const bl_manifest_state *state, uint32_t number)
{
    uint32_t at = table_index(state, number);
    return at < state->table_count && state->tables[at].number == number ? &state->tables[at] : NULL;
}

const bl_state_table *bl_manifest_state_table(const bl_manifest_state *state, uint32_t number)
{
    return find_table(state, number);
}

static bl_log_description *find_log(const bl_manifest_state *state, uint64_t number)
{
    for (uint32_t i = 0; i < state->log_count; i++)
        if (state->logs[i].number == number)
            return &state->logs[i];
    return NULL;
}

const bl_log_description *bl_manifest_state_log(const bl_manifest_state *state, uint64_t number)
{
    return find_log(state, number);
}

const bl_state_drop *bl_manifest_state_drop(const bl_manifest_state *state, uint32_t number)
{
    for (uint32_t i = 0; i < state->drop_count; i++)
        if (state->drops[i].number == number)
            return &state->drops[i];
    return NULL;
}

static void free_table(bl_state_table *table)
{
    bl_free(table->name);
    bl_free(table->comparator_name);
}

void bl_manifest_state_deinit(bl_manifest_state *state)
{
    for (uint32_t i = 0; i < state->slot_count; i++)
        free_meta(&state->slots[i]);
    for (uint32_t i = 0; i < state->table_count; i++)
        free_table(&state->tables[i]);
    bl_free(state->slots);
    bl_free(state->tables);
    bl_free(state->logs);
    bl_free(state->drops);
    *state = (bl_manifest_state){ .begun = false };
}

static void *copy_array(const void *array, size_t bytes)
{
    return bytes == 0 ? NULL : bl_memory_copy(array, bytes);
}

static bool copy_tables(bl_manifest_state *to, const bl_manifest_state *from)
{
    to->tables = bl_new_array(bl_state_table, from->table_count + 1);
    if (to->tables == NULL)
        return false;
    to->table_capacity = from->table_count + 1;
    for (uint32_t i = 0; i < from->table_count; i++) {
        bl_state_table *table = &to->tables[to->table_count++];
        *table = from->tables[i];
        table->name = bl_string_copy(from->tables[i].name);
        table->comparator_name = bl_string_copy(from->tables[i].comparator_name);
        if (table->name == NULL || table->comparator_name == NULL)
            return false;
    }
    return true;
}

bole_status bl_manifest_state_copy(bl_manifest_state *to, const bl_manifest_state *from, bole_error *error)
{
    bl_assert(!from->keep_metas);
    *to = *from;
    to->log_capacity = to->log_count;
    to->drop_capacity = to->drop_count;
    to->slots = copy_array(from->slots, from->slot_count * sizeof from->slots[0]);
    to->logs = copy_array(from->logs, from->log_count * sizeof from->logs[0]);
    to->drops = copy_array(from->drops, from->drop_count * sizeof from->drops[0]);
    to->tables = NULL;
    to->table_count = to->table_capacity = 0;
    if ((to->slots != NULL || from->slot_count == 0) && (to->logs != NULL || from->log_count == 0) &&
        (to->drops != NULL || from->drop_count == 0) && copy_tables(to, from))
        return BOLE_OK;
    if (to->slots == NULL)
        to->slot_count = 0;
    bl_manifest_state_deinit(to);
    return no_memory(error);
}

/* ---- Tables ---- */

static bool is_table_name(const char *name)
{
    size_t size = strlen(name);
    return size >= 1 && size <= 255 && bl_printable_utf8(name) == size;
}

static bole_status create_table(bl_manifest_state *state, const bl_table_description *description,
                                bool snapshot, const edit_origin *origin)
{
    uint32_t number = description->number;
    if (!is_table_name(description->name))
        return misfit(origin, "table %u has a name that is not allowed", number);
    uint64_t hash = bl_hash(description->name, strlen(description->name));
    for (uint32_t i = 0; i < state->table_count; i++)
        if (state->tables[i].name_hash == hash && strcmp(state->tables[i].name, description->name) == 0)
            return misfit(origin, "tables %u and %u have one name", state->tables[i].number, number);
    bool used = snapshot ? find_table(state, number) != NULL : number < state->next_table_number;
    if (used || number == UINT32_MAX)
        return misfit(origin, "table number %u is used a second time", number);
    if (state->table_count == BL_TABLES_MAX)
        return bl_fail(origin->error, BOLE_TOO_LARGE, "a store holds at most %d tables", (int)BL_TABLES_MAX);
    if (!grow_array((void **)&state->tables, state->table_count, &state->table_capacity,
                    sizeof state->tables[0]))
        return no_memory(origin->error);
    bl_state_table table = {
        .number = number,
        .position = description->position,
        .name_hash = hash,
        .name = bl_string_copy(description->name),
        .comparator_name = bl_string_copy(description->comparator_name),
    };
    if (table.name == NULL || table.comparator_name == NULL) {
        free_table(&table);
        return no_memory(origin->error);
    }
    uint32_t at = table_index(state, number);
    memmove(&state->tables[at + 1], &state->tables[at], (state->table_count - at) * sizeof table);
    state->tables[at] = table;
    state->table_count++;
    if (number >= state->next_table_number)
        state->next_table_number = number + 1;
    return BOLE_OK;
}

static bole_status remember_drop(bl_manifest_state *state, const bl_table_description *drop,
                                 const edit_origin *origin)
{
    if (state->drop_count == BL_DROPPED_MAX)
        return bl_fail(origin->error, BOLE_TOO_LARGE,
                       "%d dropped tables still have records in logs: flush before more are dropped",
                       (int)BL_DROPPED_MAX);
    if (!grow_array((void **)&state->drops, state->drop_count, &state->drop_capacity, sizeof state->drops[0]))
        return no_memory(origin->error);
    uint32_t at = state->drop_count;
    while (at > 0 && state->drops[at - 1].position > drop->position)
        at--;
    memmove(&state->drops[at + 1], &state->drops[at], (state->drop_count - at) * sizeof state->drops[0]);
    state->drops[at] = (bl_state_drop){ drop->number, drop->position };
    state->drop_count++;
    return BOLE_OK;
}

static bole_status drop_table(bl_manifest_state *state, const bl_table_description *drop, bool snapshot,
                              const edit_origin *origin)
{
    bl_state_table *table = find_table(state, drop->number);
    if (snapshot) {
        if (table != NULL || drop->number == 0 || bl_manifest_state_drop(state, drop->number) != NULL)
            return misfit(origin, "table %u is dropped twice, or both dropped and there", drop->number);
        if (drop->number >= state->next_table_number)
            return misfit(origin, "dropped table %u is not below the next number", drop->number);
        return remember_drop(state, drop, origin);
    }
    if (table == NULL || drop->number == 0)
        return misfit(origin, "table %u cannot be dropped", drop->number);
    if (table->segments != 0)
        return misfit(origin, "table %u is dropped and keeps %llu segments", drop->number,
                      (unsigned long long)table->segments);
    free_table(table);
    uint32_t at = (uint32_t)(table - state->tables);
    memmove(table, table + 1, (state->table_count - at - 1) * sizeof *table);
    state->table_count--;
    return remember_drop(state, drop, origin);
}

static void forget_drops(bl_manifest_state *state)
{
    uint64_t least = state->log_count == 0 ? UINT64_MAX : state->logs[0].start;
    uint32_t gone = 0;
    while (gone < state->drop_count && state->drops[gone].position <= least)
        gone++;
    if (gone == 0)
        return;
    BL_MARK("dropped table forgotten");
    memmove(state->drops, state->drops + gone, (state->drop_count - gone) * sizeof state->drops[0]);
    state->drop_count -= gone;
}

/* ---- Segments ---- */

static bole_status check_place(uint64_t number, uint32_t level, uint32_t run, const edit_origin *origin)
{
    if (level > BL_LEVEL_VALUES || (level > 0 && run != 0))
        return misfit(origin, "segment %llu cannot stand in level %u, run %u", (unsigned long long)number,
                      level, run);
    return BOLE_OK;
}

static bole_status check_segment(const bl_manifest_state *state, const bl_segment_meta *meta,
                                 const edit_origin *origin)
{
    unsigned long long number = meta->number;
    if (meta->number == 0 || meta->number >= state->next_file_number)
        return misfit(origin, "segment %llu is not below the next file number", number);
    if (bl_manifest_state_segment(state, meta->number) != NULL || find_log(state, meta->number) != NULL)
        return misfit(origin, "file number %llu is used twice", number);
    if (bl_id_is_zero(meta->id) || meta->file_bytes == 0 || meta->entries == 0 ||
        meta->tombstones > meta->entries || meta->sequence_min > meta->sequence_max ||
        meta->sequence_max > BL_SEQUENCE_MAX)
        return misfit(origin, "segment %llu is described in a way that no segment is", number);
    if (bl_segment_meta_holds_values(meta) &&
        (meta->dead_entries >= meta->entries || meta->dead_bytes > meta->raw_bytes ||
         meta->blocks != meta->entries || meta->tombstones != 0))
        return misfit(origin, "value segment %llu is described in a way that none is", number);
    return check_place(meta->number, meta->level, meta->run, origin);
}

static bole_status add_segment(bl_manifest_state *state, const bl_segment_meta *meta,
                               const edit_origin *origin)
{
    bole_status status = check_segment(state, meta, origin);
    if (status != BOLE_OK)
        return status;
    bl_state_table *table = find_table(state, meta->table);
    if (table == NULL)
        return misfit(origin, "segment %llu belongs to table %u, which is not there",
                      (unsigned long long)meta->number, meta->table);
    if ((uint64_t)(state->segment_count + 1) * 2 > state->slot_count && !grow_slots(state))
        return no_memory(origin->error);
    bl_state_segment segment = { .number = meta->number,
                                 .table = meta->table,
                                 .level = meta->level,
                                 .run = meta->run,
                                 .live_entries = meta->entries - meta->dead_entries,
                                 .live_bytes = meta->raw_bytes - meta->dead_bytes };
    if (state->keep_metas) {
        segment.meta = bl_new(bl_segment_meta);
        if (segment.meta == NULL)
            return no_memory(origin->error);
        status = bl_segment_meta_copy(segment.meta, meta, origin->error);
        if (status != BOLE_OK) {
            bl_free(segment.meta);
            return status;
        }
    }
    *find_slot(state, meta->number) = segment;
    state->segment_count++;
    table->segments++;
    if (meta->sequence_max >= state->next_sequence)
        state->next_sequence = meta->sequence_max + 1;
    return BOLE_OK;
}

static bl_state_segment *find_in_table(const bl_manifest_state *state, uint64_t number, uint32_t table)
{
    if (state->slot_count == 0 || number == 0)
        return NULL;
    bl_state_segment *slot = find_slot(state, number);
    return slot->number == number && slot->table == table ? slot : NULL;
}

static bole_status remove_segment(bl_manifest_state *state, const bl_segment_place *place,
                                  const edit_origin *origin)
{
    bl_state_segment *slot = find_in_table(state, place->number, place->table);
    if (slot == NULL)
        return misfit(origin, "segment %llu of table %u is removed and is not there",
                      (unsigned long long)place->number, place->table);
    find_table(state, place->table)->segments--;
    remove_slot(state, slot);
    return BOLE_OK;
}

static bole_status move_segment(bl_manifest_state *state, const bl_segment_move *move,
                                const edit_origin *origin)
{
    bl_state_segment *slot = find_in_table(state, move->number, move->table);
    if (slot == NULL)
        return misfit(origin, "segment %llu of table %u is moved and is not there",
                      (unsigned long long)move->number, move->table);
    if (slot->level == BL_LEVEL_VALUES || move->level == BL_LEVEL_VALUES)
        return misfit(origin, "segment %llu is moved to or from the value segments",
                      (unsigned long long)move->number);
    slot->level = move->level;
    slot->run = move->run;
    if (slot->meta != NULL) {
        slot->meta->level = move->level;
        slot->meta->run = move->run;
    }
    return check_place(move->number, move->level, move->run, origin);
}

static bole_status kill_values(bl_manifest_state *state, const bl_values_died *died,
                               const edit_origin *origin)
{
    bl_state_segment *slot = find_in_table(state, died->number, died->table);
    if (slot == NULL || slot->level != BL_LEVEL_VALUES || died->more.entries >= slot->live_entries ||
        died->more.bytes > slot->live_bytes)
        return misfit(origin, "more values of segment %llu of table %u die than live",
                      (unsigned long long)died->number, died->table);
    slot->live_entries -= died->more.entries;
    slot->live_bytes -= died->more.bytes;
    if (slot->meta != NULL) {
        slot->meta->dead_entries += died->more.entries;
        slot->meta->dead_bytes += died->more.bytes;
    }
    return BOLE_OK;
}

/* ---- Logs ---- */

static void raise_sequence(bl_manifest_state *state, uint64_t position)
{
    if (position > state->next_sequence)
        state->next_sequence = position;
}

static bole_status end_log(bl_manifest_state *state, const bl_log_description *ended,
                           const edit_origin *origin)
{
    unsigned long long number = ended->number;
    bl_log_description *log = find_log(state, ended->number);
    if (log == NULL)
        return misfit(origin, "log %llu ends and is not there", number);
    if (ended->end < log->start || ended->end > BL_SEQUENCE_MAX)
        return misfit(origin, "log %llu ends before it starts", number);
    if ((log->end != UINT64_MAX && log->end != ended->end) ||
        (log->end_checksum_known && ended->end_checksum_known && log->end_checksum != ended->end_checksum))
        return misfit(origin, "log %llu ends a second time, and otherwise", number);
    log->end = ended->end;
    if (ended->end_checksum_known) {
        log->end_checksum_known = true;
        log->end_checksum = ended->end_checksum;
    }
    raise_sequence(state, log->end);
    return BOLE_OK;
}

static bole_status remove_log(bl_manifest_state *state, uint64_t number, const edit_origin *origin)
{
    bl_log_description *log = find_log(state, number);
    if (log == NULL)
        return misfit(origin, "log %llu is removed and is not there", (unsigned long long)number);
    uint32_t at = (uint32_t)(log - state->logs);
    memmove(log, log + 1, (state->log_count - at - 1) * sizeof *log);
    state->log_count--;
    return BOLE_OK;
}

static bole_status add_log(bl_manifest_state *state, const bl_log_description *log, const edit_origin *origin)
{
    unsigned long long number = log->number;
    if (log->number == 0 || log->number >= state->next_file_number)
        return misfit(origin, "log %llu is not below the next file number", number);
    if (find_log(state, log->number) != NULL || bl_manifest_state_segment(state, log->number) != NULL)
        return misfit(origin, "file number %llu is used twice", number);
    const bl_log_description *last = state->log_count == 0 ? NULL : &state->logs[state->log_count - 1];
    bool in_order = last == NULL ||
                    (log->start >= last->start && (last->end == UINT64_MAX || log->start >= last->end));
    if (!in_order || (log->end != UINT64_MAX && log->end < log->start) || log->start > BL_SEQUENCE_MAX ||
        (log->end == UINT64_MAX && log->end_checksum_known) || bl_id_is_zero(log->id))
        return misfit(origin, "log %llu is described in a way that no log behind the others is", number);
    if (state->log_count == BL_LOGS_MAX)
        return bl_fail(origin->error, BOLE_TOO_LARGE, "a store has at most %d logs at a time",
                       (int)BL_LOGS_MAX);
    if (!grow_array((void **)&state->logs, state->log_count, &state->log_capacity, sizeof state->logs[0]))
        return no_memory(origin->error);
    state->logs[state->log_count++] = *log;
    raise_sequence(state, log->start);
    if (log->end != UINT64_MAX)
        raise_sequence(state, log->end);
    return BOLE_OK;
}

/* (STATE-3) also after ends became known. */
static bole_status check_logs(const bl_manifest_state *state, const edit_origin *origin)
{
    for (uint32_t i = 0; i + 1 < state->log_count; i++)
        if (state->logs[i].end != UINT64_MAX && state->logs[i].end > state->logs[i + 1].start)
            return misfit(origin, "log %llu ends behind the start of the next",
                          (unsigned long long)state->logs[i].number);
    return BOLE_OK;
}

/* ---- Edits ---- */

static bole_status raise_number(uint64_t *number, uint64_t to, const char *what, const edit_origin *origin)
{
    if (to == 0)
        return BOLE_OK;
    if (to < *number)
        return misfit(origin, "%s falls from %llu to %llu", what, (unsigned long long)*number,
                      (unsigned long long)to);
    *number = to;
    return BOLE_OK;
}

static bole_status apply_numbers(bl_manifest_state *state, const bl_version_edit *edit,
                                 const edit_origin *origin)
{
    if (edit->next_file_number > BL_FILE_NUMBER_MAX)
        return misfit(origin, "the next file number is out of range");
    if (edit->next_table_number != 0 && edit->next_table_number < state->next_table_number)
        return misfit(origin, "the next table number falls");
    if (edit->next_table_number != 0)
        state->next_table_number = edit->next_table_number;
    bole_status status = raise_number(&state->next_file_number, edit->next_file_number,
                                      "the next file number", origin);
    if (status == BOLE_OK)
        status = raise_number(&state->flushed_through, edit->flushed_through, "what is flushed", origin);
    if (status == BOLE_OK)
        status = raise_number(&state->synced, edit->synced, "what is synced", origin);
    raise_sequence(state, state->flushed_through);
    raise_sequence(state, state->synced);
    raise_sequence(state, edit->next_sequence);
    return status;
}

static bole_status apply_tables_created(bl_manifest_state *state, const bl_version_edit *edit,
                                        const edit_origin *origin)
{
    for (uint32_t i = 0; i < edit->tables_created_count; i++) {
        bole_status status = create_table(state, &edit->tables_created[i], edit->snapshot, origin);
        if (status != BOLE_OK)
            return status;
    }
    /* Only now: in a snapshot the next number says what else was used. */
    if (edit->snapshot && edit->next_table_number < state->next_table_number)
        return misfit(origin, "a table is not below the next table number");
    if (edit->snapshot && (state->table_count == 0 || state->tables[0].number != 0))
        return misfit(origin, "a snapshot without the default table");
    return BOLE_OK;
}

static bole_status apply_segments(bl_manifest_state *state, const bl_version_edit *edit,
                                  const edit_origin *origin)
{
    bole_status status = BOLE_OK;
    for (uint32_t i = 0; i < edit->removed_count && status == BOLE_OK; i++)
        status = remove_segment(state, &edit->removed[i], origin);
    for (uint32_t i = 0; i < edit->moved_count && status == BOLE_OK; i++)
        status = move_segment(state, &edit->moved[i], origin);
    for (uint32_t i = 0; i < edit->added_count && status == BOLE_OK; i++)
        status = add_segment(state, &edit->added[i], origin);
    for (uint32_t i = 0; i < edit->died_count && status == BOLE_OK; i++)
        status = kill_values(state, &edit->died[i], origin);
    return status;
}

static bole_status apply_logs(bl_manifest_state *state, const bl_version_edit *edit,
                              const edit_origin *origin)
{
    bole_status status = BOLE_OK;
    for (uint32_t i = 0; i < edit->logs_ended_count && status == BOLE_OK; i++)
        status = end_log(state, &edit->logs_ended[i], origin);
    for (uint32_t i = 0; i < edit->logs_removed_count && status == BOLE_OK; i++)
        status = remove_log(state, edit->logs_removed[i], origin);
    for (uint32_t i = 0; i < edit->logs_added_count && status == BOLE_OK; i++)
        status = add_log(state, &edit->logs_added[i], origin);
    if (status == BOLE_OK && edit->logs_ended_count != 0)
        status = check_logs(state, origin);
    return status;
}

bole_status bl_manifest_state_apply(bl_manifest_state *state, const bl_version_edit *edit, const char *file,
                                    uint64_t offset, bole_error *error)
{
    const edit_origin from = { file, offset, error }, *origin = &from;
    if (edit->snapshot == state->begun)
        return misfit(origin, edit->snapshot ? "a second snapshot" : "an edit before the snapshot");
    state->begun = true;
    bole_status status = apply_tables_created(state, edit, origin);
    if (status == BOLE_OK)
        status = apply_numbers(state, edit, origin);
    if (status == BOLE_OK)
        status = apply_segments(state, edit, origin);
    for (uint32_t i = 0; i < edit->tables_dropped_count && status == BOLE_OK; i++)
        status = drop_table(state, &edit->tables_dropped[i], edit->snapshot, origin);
    if (status == BOLE_OK)
        status = apply_logs(state, edit, origin);
    if (status == BOLE_OK)
        forget_drops(state);
    return status;
}
