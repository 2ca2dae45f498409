/* SPDX-License-Identifier: MIT */
/* repair_write.c -- all that was salvaged, merged: per key the newest version, into the new store.
 *
 * The sources of a table are its segments' good blocks and the logs' memtable. They may overlap in any way, also one
 * that no living store knows, so the merge is a plain heap that asks for nothing but order within a source. Sequences
 * decide; where a merge into the last level set them to zero, the segment whose entries came later wins.
 * A segment is opened when the merge gets to its first key, so that only those that overlap are open at once; of the
 * value segments one at a time. An entry whose value is lost is told of, and no older version takes its place. */
#include "tools/repair.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/alloc.h"
#include "base/assert.h"
#include "base/status.h"

enum { BATCH_BYTES_MAX = 1 << 20, BATCH_OPERATIONS_MAX = 1000 };

typedef struct source {
    bl_segment_salvage *salvage; /* or */
    bl_cursor *cursor;
    bool started; /* else `key` is the first one, and nothing was read yet */
    uint64_t age; /* among equal tags: higher is newer */
    bole_slice key, value;
    uint64_t tag;
} source;

typedef struct merge { /* of one table */
    bl_repair *repair;
    const bl_repair_table *table;
    source *sources; /* a heap from 0: the least in front */
    uint32_t count;
    bl_repair_range **ranges; /* of the table, by where they begin */
    uint32_t range_count, range_next;
    bl_repair_range **active; /* that began below the present key and did not end yet */
    uint32_t active_count;
    bole_buffer last, before; /* the present key, and the one before it */
    bool any, any_before;
    bl_segment_salvage *values; /* of the value segment that is open */
    /* where it goes */
    bole_db *db;
    bole_table *target;
    bole_batch *batch;
    uint64_t batch_bytes, batch_operations;
} merge;

/* ---- Heap ------------------------------------------------------------------------------------------------------ */

/* A source that was not started comes before entries of the same key: it is looked into first. */
static bool is_before(const merge *on, const source *a, const source *b)
{
    int order = bl_compare(on->table->comparator, a->key, b->key);
    if (order != 0)
        return order < 0;
    if (!a->started || !b->started)
        return !a->started && b->started;
    return a->tag != b->tag ? a->tag > b->tag : a->age > b->age;
}

static void sift(merge *on, uint32_t at)
{
    for (;;) {
        uint32_t least = at;
        for (uint32_t child = 2 * at + 1; child <= 2 * at + 2 && child < on->count; child++)
            if (is_before(on, &on->sources[child], &on->sources[least]))
                least = child;
        if (least == at)
            return;
        source moved = on->sources[at];
        on->sources[at] = on->sources[least];
        on->sources[least] = moved;
        at = least;
    }
}

/* ---- Sources --------------------------------------------------------------------------------------------------- */

/* To the next entry of the source in front. BOLE_NOT_FOUND: it has none, and left the heap. */
static bole_status step(merge *on)
{
    source *front = &on->sources[0];
    bole_status status = BOLE_NOT_FOUND;
    if (front->salvage != NULL) {
        status = bl_segment_salvage_next(front->salvage, &front->key, &front->tag, &front->value,
                                         on->repair->error);
    } else {
        if (front->started)
            bl_cursor_next(front->cursor);
        if (front->cursor->valid) {
            front->key = front->cursor->key;
            front->value = front->cursor->value;
            front->tag = front->cursor->tag;
            status = BOLE_OK;
        }
        bl_assert(front->cursor->status == BOLE_OK); /* a memtable's: nothing it does can fail */
    }
    front->started = true;
    if (status == BOLE_NOT_FOUND) {
        bl_cursor_close(front->cursor);
        on->sources[0] = on->sources[--on->count];
        status = BOLE_OK;
    }
    sift(on, 0);
    return status;
}

static bole_status add_sources(merge *on)
{
    bl_repair *repair = on->repair;
    on->sources = bl_new_array(source, (size_t)repair->segment_count + 1);
    if (on->sources == NULL)
        return bl_fail(repair->error, BOLE_NO_MEMORY, "merge of table %s", on->table->name);
    for (uint32_t i = 0; i < repair->segment_count; i++) {
        const bl_repair_segment *segment = &repair->segments[i];
        if (segment->used && segment->salvage != NULL && !segment->values &&
            segment->table == on->table->number && segment->found.blocks > 0)
            on->sources[on->count++] = (source){ .salvage = segment->salvage,
                                                 .age = segment->sequence_max,
                                                 .key = segment->found.first };
    }
    const bl_memtable_tree *tree = bl_memtable_find_tree(repair->memtable, on->table->number);
    if (tree != NULL) {
        bl_cursor *cursor;
        bole_status status = bl_memtable_cursor(repair->memtable, tree, BL_VERSIONS_ALL, BL_SEQUENCE_MAX,
                                                &cursor);
        if (status != BOLE_OK)
            return bl_fail(repair->error, status, "cursor over the logs' operations");
        cursor->ops->seek_first(cursor);
        bl_assert(cursor->valid); /* a tree was made for the operation that went into it next */
        on->sources[on->count++] = (source){ .cursor = cursor, .age = UINT64_MAX, .key = cursor->key };
    }
    for (uint32_t i = on->count / 2; i > 0; i--)
        sift(on, i - 1);
    return BOLE_OK;
}

/* ---- What is doubtful ------------------------------------------------------------------------------------------ */

static int by_after(const void *a, const void *b, void *context)
{
    const bl_repair_range *one = *(bl_repair_range *const *)a, *other = *(bl_repair_range *const *)b;
    const merge *on = context;
    if (one->after_open || other->after_open)
        return (int)other->after_open - (int)one->after_open;
    return bl_compare(on->table->comparator, bl_slice(one->after.data, one->after.size),
                      bl_slice(other->after.data, other->after.size));
}

static bole_status add_ranges(merge *on)
{
    bl_repair *repair = on->repair;
    on->ranges = bl_new_array(bl_repair_range *, (size_t)repair->range_count + 1);
    on->active = bl_new_array(bl_repair_range *, (size_t)repair->range_count + 1);
    if (on->ranges == NULL || on->active == NULL)
        return bl_fail(repair->error, BOLE_NO_MEMORY, "merge of table %s", on->table->name);
    for (uint32_t i = 0; i < repair->segment_count; i++) {
        const bl_repair_segment *segment = &repair->segments[i];
        bool homeless = !segment->named && segment->found.footer == NULL; /* it may have been of any table */
        bool of_this = segment->table == on->table->number || homeless;
        for (uint32_t j = 0; segment->used && of_this && j < segment->range_count; j++)
            on->ranges[on->range_count++] = &repair->ranges[segment->range_first + j];
    }
    if (on->range_count > 1)
        qsort_r(on->ranges, on->range_count, sizeof(on->ranges[0]), by_after, on);
    return BOLE_OK;
}

/* May a newer version of the entry, or its deletion, be among what is lost? Keys come in order. */
static bool is_doubtful(merge *on, const source *entry)
{
    bl_comparator *comparator = on->table->comparator;
    for (; on->range_next < on->range_count; on->range_next++) {
        bl_repair_range *range = on->ranges[on->range_next];
        if (!range->after_open &&
            bl_compare(comparator, entry->key, bl_slice(range->after.data, range->after.size)) <= 0)
            break; /* of the key before, the newest version of that segment was found */
        on->active[on->active_count++] = range;
    }
    bool doubtful = false;
    for (uint32_t i = 0; i < on->active_count;) {
        const bl_repair_range *range = on->active[i];
        if (!range->upto_open &&
            bl_compare(comparator, entry->key, bl_slice(range->upto.data, range->upto.size)) > 0) {
            on->active[i] = on->active[--on->active_count];
            continue;
        }
        doubtful = doubtful || range->sequence_max > bl_tag_sequence(entry->tag);
        i++;
    }
    return doubtful;
}

/* ---- Where it goes --------------------------------------------------------------------------------------------- */

static bole_status write_batch(merge *on)
{
    if (on->batch_operations == 0)
        return BOLE_OK;
    bole_write_options options = BOLE_WRITE_OPTIONS_INIT;
    options.durability = BOLE_DURABILITY_PROCESS;
    options.error = on->repair->error;
    bole_status status = bole_write(on->db, &options, on->batch);
    bole_batch_clear(on->batch);
    on->batch_bytes = on->batch_operations = 0;
    return status;
}

static bole_status put(merge *on, const source *entry)
{
    bole_repair_report *report = on->repair->report;
    if (is_doubtful(on, entry)) {
        report->entries_doubtful++;
        if ((on->repair->flags & BOLE_REPAIR_CERTAIN) != 0) {
            report->entries_left_out++;
            return BOLE_OK;
        }
    }
    report->entries++;
    if (on->db == NULL)
        return BOLE_OK;
    bole_status status = bole_batch_put(on->batch, on->target, entry->key, entry->value);
    if (status != BOLE_OK)
        return bl_fail(on->repair->error, status, "an entry of table %s", on->table->name);
    on->batch_bytes += entry->key.size + entry->value.size;
    on->batch_operations++;
    bool full = on->batch_bytes >= BATCH_BYTES_MAX || on->batch_operations >= BATCH_OPERATIONS_MAX;
    return full ? write_batch(on) : BOLE_OK;
}

static bole_status tell_lost_value(merge *on, const source *entry, const bl_value_pointer *pointer)
{
    static const uint8_t empty[1] = { 0 };
    char name[64];
    snprintf(name, sizeof name, "%06llu.seg", (unsigned long long)pointer->segment);
    bl_repair_place place = {
        .file = name,
        .offset = pointer->offset,
        .table = on->table->name,
        .after = !on->any_before ? (bole_slice){ NULL, 0 }
                                 : bl_slice(on->before.size == 0 ? empty : on->before.data, on->before.size),
        .upto = entry->key,
    };
    return bl_repair_tell(on->repair, BOLE_REPAIR_LOST, &place,
                          "the value of the last of them, %llu bytes, is lost",
                          (unsigned long long)pointer->bytes);
}

/* Fetch the value of an entry that has only a pointer to it. *lost: told. */
static bole_status fetch_value(merge *on, source *entry, bool *lost)
{
    bl_value_pointer pointer;
    bole_status status = BOLE_NOT_FOUND;
    bl_repair_segment *segment = NULL;
    if (bl_value_pointer_decode(entry->value, &pointer))
        segment = bl_repair_segment_of(on->repair, pointer.segment);
    if (segment != NULL && segment->salvage != NULL && segment->values) {
        if (on->values != NULL && on->values != segment->salvage)
            bl_segment_salvage_rest(on->values);
        on->values = segment->salvage;
        status = bl_segment_salvage_value(segment->salvage, &pointer, entry->key, &entry->value,
                                          on->repair->error);
    }
    *lost = status == BOLE_NOT_FOUND;
    if (*lost && segment != NULL && !segment->on_disk && !segment->missed) {
        segment->missed = true;
        on->repair->report->segments_missing++;
    }
    return *lost ? tell_lost_value(on, entry, &pointer) : status;
}

static bole_status keep(merge *on, source *entry)
{
    bool lost = false;
    bole_status status = BOLE_OK;
    if (bl_tag_kind(entry->tag) == BL_KIND_DELETE)
        return BOLE_OK;
    if (bl_tag_kind(entry->tag) == BL_KIND_PUT_WITH_VALUE_POINTER)
        status = fetch_value(on, entry, &lost);
    return status == BOLE_OK && !lost ? put(on, entry) : status;
}

static bole_status merge_all(merge *on)
{
    bole_status status = BOLE_OK;
    while (status == BOLE_OK && on->count > 0) {
        source *front = &on->sources[0];
        if (!front->started) {
            status = step(on);
            continue;
        }
        bole_slice last = bl_slice(on->last.data, on->last.size);
        if (!on->any || bl_compare(on->table->comparator, front->key, last) != 0) {
            bole_buffer before = on->before;
            on->before = on->last;
            on->last = before;
            on->any_before = on->any;
            on->any = true;
            on->last.size = 0;
            if (front->key.size > 0 && !bl_buffer_assign(&on->last, front->key.data, front->key.size))
                status = bl_fail(on->repair->error, BOLE_NO_MEMORY, "a key of table %s", on->table->name);
            if (status == BOLE_OK)
                status = keep(on, front);
        }
        if (status == BOLE_OK)
            status = step(on);
    }
    return status;
}

/* ---- A table --------------------------------------------------------------------------------------------------- */

static bole_status open_target(merge *on)
{
    if (on->db == NULL)
        return BOLE_OK;
    bole_error *error = on->repair->error;
    bole_status status = bole_batch_create(&on->batch);
    if (status != BOLE_OK)
        return bl_fail(error, status, "a batch");
    if (strcmp(on->table->name, "default") == 0)
        return BOLE_OK;
    return bole_table_create(on->db, on->table->name, on->table->comparator, &on->target, error);
}

static bole_status leave_out(bl_repair *repair, const bl_repair_table *table)
{
    uint64_t entries = 0;
    for (uint32_t i = 0; i < repair->segment_count; i++)
        if (repair->segments[i].used && !repair->segments[i].values &&
            repair->segments[i].table == table->number)
            entries += repair->segments[i].found.entries;
    repair->report->entries_left_out += entries;
    return bl_repair_tell(repair, BOLE_REPAIR_LOST,
                          &(bl_repair_place){ "", BL_NO_OFFSET, table->name, { 0 }, { 0 } },
                          "its keys are in order of \"%s\", which this process does not have: left out",
                          table->comparator_name);
}

static bole_status write_table(bl_repair *repair, const bl_repair_table *table, bole_db *db)
{
    if (!table->known)
        return leave_out(repair, table);
    merge on = { .repair = repair, .table = table, .db = db };
    bole_status status = add_sources(&on);
    if (status == BOLE_OK)
        status = add_ranges(&on);
    if (status == BOLE_OK)
        status = open_target(&on);
    if (status == BOLE_OK)
        status = merge_all(&on);
    if (status == BOLE_OK && db != NULL)
        status = write_batch(&on);
    for (uint32_t i = 0; i < on.count; i++)
        bl_cursor_close(on.sources[i].cursor);
    bole_batch_destroy(on.batch);
    bole_table_close(on.target);
    if (on.values != NULL)
        bl_segment_salvage_rest(on.values);
    bole_buffer_free(&on.last);
    bole_buffer_free(&on.before);
    bl_free(on.sources);
    bl_free(on.ranges);
    bl_free(on.active);
    repair->report->tables++;
    return status;
}

/* Two tables may have had one name, one after the other: the newer keeps it. */
static bole_status rename_twins(bl_repair *repair)
{
    bole_status status = BOLE_OK;
    for (uint32_t i = 0; i < repair->table_count && status == BOLE_OK; i++) {
        bl_repair_table *older = &repair->tables[i];
        bool has_twin = false;
        for (uint32_t j = 0; j < repair->table_count && !older->dropped; j++)
            has_twin = has_twin || (!repair->tables[j].dropped && repair->tables[j].number > older->number &&
                                    strcmp(repair->tables[j].name, older->name) == 0);
        if (!has_twin)
            continue;
        char name[64];
        snprintf(name, sizeof name, "salvaged-table-%u", older->number);
        status = bl_repair_tell(
            repair, BOLE_REPAIR_NOTE, &(bl_repair_place){ "", BL_NO_OFFSET, older->name, { 0 }, { 0 } },
            "another table of this name is newer: what is left of this one goes into \"%s\"", name);
        bl_free(older->name);
        older->name = bl_string_copy(name);
        if (older->name == NULL)
            return bl_fail(repair->error, BOLE_NO_MEMORY, "table \"%s\"", name);
    }
    return status;
}

bole_status bl_repair_write(bl_repair *repair, bole_db *db)
{
    bole_status status = rename_twins(repair);
    for (uint32_t i = 0; i < repair->table_count && status == BOLE_OK; i++)
        if (!repair->tables[i].dropped)
            status = write_table(repair, &repair->tables[i], db);
    return status;
}
