/* SPDX-License-Identifier: MIT */
/* write.c -- what a commit group's leader does: room, log records, memtable entries, publication.
 *
 * ORDER  reserve memtable memory and room in this log -> fill payloads -> finish record headers -> hand
 * the log to the
 *        operating system -> insert into the memtable (cannot fail) -> visible = the group's end.
 * All that can fail comes before the first header is valid. When handing over fails, the log is FAILED: nothing of the
 * group becomes visible, its statuses say BOLE_IN_DOUBT (the operating system may have kept a part), and no further
 * write is acknowledged before the whole memtable of that log is in segments (rotation.c).
 *
 * INVARIANTS  (WRITE-1) An operation's sequence is its position in the log: no counter beside the log.
 *             (WRITE-2) A batch is one record: it never straddles two logs.
 * NOT HERE    Who leads: commit_group.c. New logs: rotation.c. */
#include "engine/log_structured_store.h"

#include "base/assert.h"
#include "base/hash.h"
#include "platform/epoch.h"

static uint64_t payload_bytes_of(const bl_write_request *request)
{
    if (request->batch != NULL)
        return request->batch->payload.size;
    return 1 +
           bl_operation_size(request->kind, request->table->number, request->key.size, request->value.size);
}

static uint64_t memtable_bytes_of(const bl_write_request *request)
{
    if (request->batch != NULL)
        return request->batch->memtable_bytes;
    return bl_memtable_entry_bytes(request->key.size, request->value.size);
}

static bool table_is_dropped(const bole_table *table)
{
    return atomic_load_explicit(&table->dropped, memory_order_relaxed) != NULL;
}

/* The comparator of a table that a batch names; false when the table is gone. Commit lock held: tables do not
 * change. */
static bool batch_table(bole_db *db, uint32_t number, bl_comparator **comparator)
{
    bl_epoch_enter(); /* background jobs swap versions meanwhile; readers' list may be one behind, see table.c */
    const bl_version_table *table = bl_version_table_by_number(bl_version_set_current(db->versions), number);
    if (table != NULL)
        *comparator = table->comparator;
    bl_epoch_leave();
    return table != NULL;
}

/* The tree of a single operation, and the way to its place there: what the insert will touch is brought into the cache
 * while the log takes the record. */
static bole_status prepare_tree(bole_db *db, bl_write_request *request)
{
    if (table_is_dropped(request->table))
        return bl_fail(request->error, BOLE_NOT_FOUND, "table \"%s\" was dropped", request->table->name);
    request->tree = bl_memtable_tree_for(db->memtable, request->table->number, request->table->comparator);
    if (request->tree == NULL)
        return bl_fail(request->error, BOLE_NO_MEMORY, "memtable of table \"%s\"", request->table->name);
    request->hash = bl_hash(request->key.data, request->key.size);
    bl_memtable_approach(request->tree, request->key, &request->path);
    return BOLE_OK;
}

/* Every table of the request exists and has its tree, so that inserting cannot fail. */
static bole_status prepare_trees(bole_db *db, bl_write_request *request)
{
    if (request->batch == NULL)
        return prepare_tree(db, request);
    bole_slice payload = { request->batch->payload.data, request->batch->payload.size };
    uint64_t position = 1;
    uint32_t last = UINT32_MAX;
    bl_operation operation;
    bole_status status;
    while ((status = bl_operation_decode(payload, &position, &operation)) == BOLE_OK) {
        if (operation.table == last)
            continue;
        bl_comparator *comparator;
        if (!batch_table(db, operation.table, &comparator))
            return bl_fail(request->error, BOLE_NOT_FOUND, "table number %u was dropped", operation.table);
        if (bl_memtable_tree_for(db->memtable, operation.table, comparator) == NULL)
            return bl_fail(request->error, BOLE_NO_MEMORY, "memtable of table number %u", operation.table);
        last = operation.table;
    }
    return status == BOLE_NOT_FOUND ? BOLE_OK : bl_fail(request->error, status, "batch");
}

/* Does it do nothing but delete? Then it may be written on a full disk. */
static bool only_deletes(const bl_write_request *request)
{
    if (request->batch != NULL)
        return request->batch->deletes == request->batch->count;
    return request->kind == BL_KIND_DELETE;
}

/* A batch that puts waits for a whole reserve, or is refused (RESERVE-1). Deletes go on without, in logs of which the
 * reserve can pay the flush: a large one that is there already is left for a small one. */
__attribute__((noinline, cold)) static bole_status on_a_small_reserve(bole_db *db, bl_write_request *request,
                                                                      bool group_has_records)
{
    bool puts = !only_deletes(request);
    if (puts || atomic_load_explicit(&db->reserve_state, memory_order_relaxed) == BL_RESERVE_RESTS) {
        bole_status status = bl_reserve_make_again(db, puts, puts ? request->error : NULL);
        if (puts || status == BOLE_OK)
            return status;
    }
    if (bl_log_end(db->log) - bl_log_start(db->log) < BL_SPENT_LOG_BYTES ||
        bl_log_file_bytes(db->log) < 4 * BL_SPENT_LOG_BYTES)
        return BOLE_OK;
    if (group_has_records)
        return BOLE_BUSY;
    BL_MARK("a large log is left for a small one");
    (void)!bl_rotate(db, BL_LOG_RECORD_HEADER_BYTES + request->payload_bytes, NULL); /* else on in this one */
    return BOLE_OK;
}

/* Room for the request in log and memtable, rotating when there is none. */
static bole_status make_room(bole_db *db, bl_write_request *request, bool group_has_records)
{
    uint64_t record_bytes = BL_LOG_RECORD_HEADER_BYTES + request->payload_bytes;
    uint64_t limit = atomic_load_explicit(&db->budget.limit, memory_order_relaxed);
    uint64_t memory = memtable_bytes_of(request);
    if (record_bytes > limit / 4 || memory > limit / 4)
        return bl_fail(request->error, BOLE_TOO_LARGE,
                       "batch of %llu bytes is above a quarter of the memory that the limit leaves (%llu)",
                       (unsigned long long)record_bytes, (unsigned long long)limit);
    if (bl_unlikely(atomic_load_explicit(&db->reserve_state, memory_order_acquire) != BL_RESERVE_WHOLE)) {
        bole_status status = on_a_small_reserve(db, request, group_has_records);
        if (status != BOLE_OK)
            return status;
    }
    if (bl_log_room(db->log) < record_bytes || bl_memtable_is_full(db->memtable)) {
        if (group_has_records)
            return BOLE_BUSY; /* first publish what is there, then come again */
        bole_status status = bl_rotate(db, record_bytes, request->error);
        if (status != BOLE_OK)
            return status;
    }
    bole_status status = prepare_trees(db, request);
    if (status == BOLE_OK)
        status = bl_memtable_reserve(db->memtable, memory, request->error);
    return status;
}

static void encode(bl_write_request *request)
{
    if (request->batch != NULL) {
        memcpy(request->payload, request->batch->payload.data, request->payload_bytes);
        return;
    }
    request->payload[0] = BL_RECORD_BATCH;
    uint8_t *end = bl_operation_encode(request->payload + 1, request->kind, request->table->number,
                                       request->key, request->value);
    bl_debug_assert(end == request->payload + request->payload_bytes);
    (void)end;
}

/* With the checksum that was made at the call. Apart, so that the way without has none of its cost. */
__attribute__((noinline, cold)) static void insert_checked(const bl_memtable_item *item, uint32_t checksum,
                                                           const bl_memtable *memtable)
{
    if (bl_memtable_carries_checksums(memtable))
        bl_memtable_insert_checked(item->tree, item->key, item->hash, item->value, item->tag, checksum);
    else
        bl_memtable_insert_batch(item, 1); /* the setting has changed since */
}

static void insert_batch(bole_db *db, const bl_write_request *request)
{
    bole_slice payload = { request->batch->payload.data, request->payload_bytes };
    uint64_t base = request->position + BL_LOG_RECORD_HEADER_BYTES;
    uint64_t position = 1;
    uint32_t last = UINT32_MAX;
    bl_memtable_tree *tree = NULL;
    const uint32_t *checksum = request->checksums;
    bl_memtable_item items[BL_MEMTABLE_BATCH];
    uint32_t count = 0;
    bl_operation operation;
    while (bl_operation_decode(payload, &position, &operation) == BOLE_OK) {
        if (operation.table != last) {
            bl_comparator *comparator = NULL;
            bool known = batch_table(db, operation.table, &comparator);
            bl_assert(known);
            tree = bl_memtable_tree_for(db->memtable, operation.table, comparator);
            last = operation.table;
        }
        items[count] = (bl_memtable_item){ .tree = tree,
                                           .key = operation.key,
                                           .value = operation.value,
                                           .hash = bl_hash(operation.key.data, operation.key.size),
                                           .tag = BL_TAG(base + operation.offset, operation.kind) };
        if (bl_unlikely(checksum != NULL)) {
            insert_checked(&items[0], *checksum++, db->memtable);
        } else if (++count == BL_MEMTABLE_BATCH) {
            bl_memtable_insert_batch(items, count);
            count = 0;
        }
    }
    bl_memtable_insert_batch(items, count);
}

static void insert(bole_db *db, bl_write_request *request)
{
    if (request->batch != NULL) {
        insert_batch(db, request);
        return;
    }
    uint64_t sequence = request->position + BL_LOG_RECORD_HEADER_BYTES + 1;
    uint64_t tag = BL_TAG(sequence, request->kind);
    if (bl_unlikely(request->checksums != NULL)) {
        bl_memtable_item item = { request->tree, request->key, request->value, request->hash, tag };
        insert_checked(&item, *request->checksums, db->memtable);
    } else {
        bl_memtable_insert_near(request->tree, &request->path, request->key, request->hash, request->value,
                                tag);
    }
}

/* Publish the records of [first, stop): log, memtable, position. */
static void publish(bole_db *db, bl_write_request *first, const bl_write_request *stop)
{
    bole_error error; /* a kilobyte that only a failure writes */
    error.message[0] = '\0';
    bole_status status = bl_log_publish(db->log, &error);
    if (status != BOLE_OK) {
        BL_MARK("writes in doubt");
        db->log_failed = true;
        for (bl_write_request *request = first; request != stop; request = request->next)
            if (request->status == BOLE_OK && request->payload != NULL)
                request->status = bl_fail(request->error, BOLE_IN_DOUBT, "%s", error.message);
        return;
    }
    bl_point(db->scheduler, "log has the group");
    uint64_t bytes = 0;
    for (bl_write_request *request = first; request != stop; request = request->next) {
        if (request->status != BOLE_OK || request->payload == NULL)
            continue;
        insert(db, request);
        bytes += BL_LOG_RECORD_HEADER_BYTES + request->payload_bytes;
    }
    bl_point(db->scheduler, "memtable has the group");
    bl_assert(bl_log_end(db->log) >= atomic_load_explicit(&db->visible, memory_order_relaxed));
    atomic_store_explicit(&db->visible, bl_log_end(db->log), memory_order_release);
    atomic_store_explicit(&db->log_bytes_written,
                          atomic_load_explicit(&db->log_bytes_written, memory_order_relaxed) + bytes,
                          memory_order_relaxed);
    uint64_t rate = atomic_load_explicit(&db->delay_ns_per_kib, memory_order_relaxed);
    if (bl_unlikely(rate != 0))
        db->pacing_owed_ns += bytes * rate / 1024;
}

/* What is owed for merging is paid by the whole store, in sleeps of at least a millisecond. */
static void pay(bole_db *db)
{
    enum { PAYMENT_NS = 1000 * 1000, PAYMENT_NS_MAX = 20 * 1000 * 1000 };
    if (bl_likely(db->pacing_owed_ns < PAYMENT_NS))
        return;
    uint64_t owed = db->pacing_owed_ns > PAYMENT_NS_MAX ? PAYMENT_NS_MAX : db->pacing_owed_ns;
    BL_MARK("writer is slowed down");
    uint64_t begin = db->vfs->monotonic_ns(db->vfs);
    bl_sleep(db->scheduler, owed);
    uint64_t slept = db->vfs->monotonic_ns(db->vfs) - begin;
    slept = slept > owed ? slept : owed; /* the clock of a disk in memory does not see it */
    db->pacing_owed_ns = slept >= db->pacing_owed_ns ? 0 : db->pacing_owed_ns - slept;
    bl_count(&db->delayed_ns, slept);
}

/* Before the group: may the store take writes? */
static bole_status ready_to_write(bole_db *db, bole_error *error)
{
    if (bl_unlikely(!db->writing)) {
        bole_status status = bl_begin_writing(db, error);
        if (status != BOLE_OK)
            return status;
    }
    if (bl_unlikely(db->log_failed || db->failed)) /* the latter: it refuses */
        return bl_rotate(db, 0, error);
    return BOLE_OK;
}

void bl_write_group_locked(bole_db *db, bl_write_request *first)
{
    pay(db);
    bole_error error; /* only a failure writes it */
    error.message[0] = '\0';
    bole_status ready = ready_to_write(db, &error);
    bl_write_request *begin = first;
    bool has_records = false;
    for (bl_write_request *request = first; request != NULL;) {
        request->payload = NULL;
        request->status = ready;
        if (ready != BOLE_OK) {
            bl_fail(request->error, ready, "%s", error.message);
            request = request->next;
            continue;
        }
        request->payload_bytes = payload_bytes_of(request);
        if (request->batch != NULL &&
            request->batch->count == 0) {           /* nothing to write: only a position to sync */
            request->end = bl_position_visible(db); /* a sync mark may stand behind it */
            request = request->next;
            continue;
        }
        request->status = make_room(db, request, has_records);
        if (request->status == BOLE_BUSY) {
            BL_MARK("group in two logs");
            publish(db, begin, request);
            begin = request;
            has_records = false;
            if (db->log_failed) {
                BL_MARK("second half of a group behind a failed log");
                ready = ready_to_write(db, &error);
            }
            continue;
        }
        if (request->status == BOLE_OK) {
            request->payload = bl_log_reserve(db->log, request->payload_bytes, &request->position);
            bl_assert(request->payload != NULL);
            encode(request);
            bl_log_finish(db->log, request->payload, request->payload_bytes, request->position,
                          atomic_load_explicit(&db->synced, memory_order_relaxed));
            request->end = request->position + BL_LOG_RECORD_HEADER_BYTES + request->payload_bytes;
            has_records = true;
        }
        request = request->next;
    }
    if (has_records)
        publish(db, begin, NULL);
    atomic_store_explicit(&db->commit_groups,
                          atomic_load_explicit(&db->commit_groups, memory_order_relaxed) + 1,
                          memory_order_relaxed);
    if (db->log != NULL && bl_log_wants_touch(db->log))
        bl_background_touch(db);
}
