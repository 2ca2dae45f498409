/* SPDX-License-Identifier: MIT */
/* batch.c -- the public batch, and put and delete as batches of one that need no memory.
 *
 * A batch is kept as the payload of its log record (core/write_batch.h), so that committing it is one copy. A single
 * put or delete is encoded straight into the log by its leader. */
#include "engine/log_structured_store.h"

#include "base/alloc.h"
#include "base/assert.h"
#include "core/entry_checksum.h"

BOLE_API bole_status bole_batch_create(bole_batch **out)
{
    *out = NULL;
    bole_batch *batch = bl_new(bole_batch);
    if (batch == NULL)
        return BOLE_NO_MEMORY;
    if (!bl_buffer_append_u8(&batch->payload, BL_RECORD_BATCH)) {
        bl_free(batch);
        return BOLE_NO_MEMORY;
    }
    *out = batch;
    return BOLE_OK;
}

BOLE_API void bole_batch_destroy(bole_batch *batch)
{
    if (batch == NULL)
        return;
    bole_buffer_free(&batch->payload);
    bl_free(batch);
}

BOLE_API void bole_batch_clear(bole_batch *batch)
{
    bole_buffer payload = batch->payload;
    *batch = (bole_batch){ .payload = payload };
    batch->payload.size = 1;
}

BOLE_API uint64_t bole_batch_count(const bole_batch *batch) { return batch->count; }

BOLE_API uint64_t bole_batch_bytes(const bole_batch *batch)
{
    return BL_LOG_RECORD_HEADER_BYTES + batch->payload.size;
}

static bole_status add(bole_batch *batch, bole_table *table, bl_kind kind, bole_slice key, bole_slice value)
{
    if (key.size > BOLE_KEY_BYTES_MAX || value.size > BOLE_VALUE_BYTES_MAX)
        return BOLE_TOO_LARGE;
    if (table != NULL && batch->db != NULL && table->db != batch->db)
        return BOLE_INVALID; /* a batch belongs to one store */
    uint32_t number = table == NULL ? 0 : table->number;
    size_t size = bl_operation_size((uint8_t)kind, number, key.size, value.size);
    if (!bl_buffer_reserve(&batch->payload, batch->payload.size + size))
        return BOLE_NO_MEMORY;
    uint8_t *at = (uint8_t *)batch->payload.data + batch->payload.size;
    uint8_t *end = bl_operation_encode(at, (uint8_t)kind, number, key, value);
    bl_assert(end == at + size);
    batch->payload.size += size;
    batch->count++;
    batch->memtable_bytes += bl_memtable_entry_bytes(key.size, value.size);
    batch->key_bytes += key.size;
    batch->value_bytes += value.size;
    if (kind == BL_KIND_DELETE)
        batch->deletes++;
    if (table != NULL)
        batch->db = table->db;
    return BOLE_OK;
}

BOLE_API bole_status bole_batch_put(bole_batch *batch, bole_table *table, bole_slice key, bole_slice value)
{
    return add(batch, table, BL_KIND_PUT, key, value);
}

BOLE_API bole_status bole_batch_delete(bole_batch *batch, bole_table *table, bole_slice key)
{
    return add(batch, table, BL_KIND_DELETE, key, bl_slice(NULL, 0));
}

/* ---- committing ---- */

static bole_status begin(bole_db *db, const bole_write_options *options, bl_write_request *request)
{
    request->error = options == NULL ? NULL : options->error;
    request->checksums = NULL;
    if (bl_unlikely(!bl_db_is_ours(db)))
        return bl_forked(request->error);
    if (bl_unlikely(db->read_only))
        return bl_read_only_refused(request->error);
    request->durability = options == NULL ? BOLE_DURABILITY_DEFAULT : options->durability;
    if (request->durability == BOLE_DURABILITY_DEFAULT)
        request->durability = db->durability;
    if (bl_unlikely(request->durability != BOLE_DURABILITY_PROCESS &&
                    request->durability != BOLE_DURABILITY_POWER))
        return bl_fail(request->error, BOLE_INVALID, "durability %d", (int)request->durability);
    request->table = &db->default_table;
    if (options != NULL && options->table != NULL)
        return bl_resolve_table(db, options->table, &request->table, request->error);
    return BOLE_OK;
}

static bole_status commit_timed(bole_db *db, bl_write_request *request, uint64_t puts, uint64_t deletes,
                                uint64_t user_bytes)
{
    bl_counters *counters = bl_my_counters(db);
    uint64_t before = bl_tally(db, counters, &counters->puts, puts);
    bool timed = ((before + puts) >> 6) != (before >> 6);
    uint64_t start = bl_unlikely(timed) ? db->vfs->monotonic_ns(db->vfs) : 0;
    bole_status status = bl_commit(db, request);
    if (deletes != 0)
        (void)bl_tally(db, counters, &counters->deletes, deletes);
    if (bl_likely(status == BOLE_OK))
        (void)bl_tally(db, counters, &counters->user_bytes, user_bytes);
    if (bl_unlikely(timed))
        bl_histogram_add(&db->put_latency, db->vfs->monotonic_ns(db->vfs) - start);
    return status;
}

static bole_status write_one(bole_db *db, const bole_write_options *options, bl_kind kind, bole_slice key,
                             bole_slice value)
{
    bl_write_request request;
    request.batch = NULL;
    bole_status status = begin(db, options, &request);
    if (bl_unlikely(status != BOLE_OK))
        return status;
    if (bl_unlikely(key.size > BOLE_KEY_BYTES_MAX))
        return bl_fail(request.error, BOLE_TOO_LARGE, "key of %zu bytes; the most is %u", key.size,
                       BOLE_KEY_BYTES_MAX);
    if (bl_unlikely(value.size > BOLE_VALUE_BYTES_MAX))
        return bl_fail(request.error, BOLE_TOO_LARGE, "value of %zu bytes; the most is %u", value.size,
                       BOLE_VALUE_BYTES_MAX);
    request.kind = (uint8_t)kind;
    request.key = key;
    request.value = value;
    uint32_t checksum;
    if (bl_unlikely(bl_config_u64(&db->config, BL_SETTING_ENTRY_CHECKSUMS) != 0)) {
        checksum = bl_entry_checksum(request.table->number, request.kind, key, value);
        request.checksums = &checksum;
    }
    return commit_timed(db, &request, kind == BL_KIND_PUT, kind == BL_KIND_DELETE, key.size + value.size);
}

BOLE_API bole_status bole_put(bole_db *db, const bole_write_options *options, bole_slice key,
                              bole_slice value)
{
    return write_one(db, options, BL_KIND_PUT, key, value);
}

BOLE_API bole_status bole_delete(bole_db *db, const bole_write_options *options, bole_slice key)
{
    return write_one(db, options, BL_KIND_DELETE, key, bl_slice(NULL, 0));
}

/* Of all operations of a batch, in their order. */
static bole_status make_checksums(const bole_batch *batch, uint32_t **out, bole_error *error)
{
    *out = bl_alloc_array(batch->count, sizeof(**out));
    if (*out == NULL)
        return bl_fail(error, BOLE_NO_MEMORY, "checksums of a batch");
    bole_slice payload = { batch->payload.data, batch->payload.size };
    uint64_t position = 1, count = 0;
    bl_operation operation;
    while (bl_operation_decode(payload, &position, &operation) == BOLE_OK) {
        bl_assert(count < batch->count);
        (*out)[count++] = bl_entry_checksum(operation.table, operation.kind, operation.key, operation.value);
    }
    return BOLE_OK;
}

BOLE_API bole_status bole_write(bole_db *db, const bole_write_options *options, const bole_batch *batch)
{
    bl_write_request request;
    bole_status status = begin(db, options, &request);
    if (status != BOLE_OK)
        return status;
    if (batch->db != NULL && batch->db != db)
        return bl_fail(request.error, BOLE_INVALID, "the batch names tables of another store");
    request.batch = batch;
    uint32_t *checksums = NULL;
    if (bl_unlikely(bl_config_u64(&db->config, BL_SETTING_ENTRY_CHECKSUMS) != 0) && batch->count > 0) {
        status = make_checksums(batch, &checksums, request.error);
        if (status != BOLE_OK)
            return status;
        request.checksums = checksums;
    }
    status = commit_timed(db, &request, batch->count - batch->deletes, batch->deletes,
                          batch->key_bytes + batch->value_bytes);
    bl_free(checksums);
    return status;
}

BOLE_API bole_status bole_sync(bole_db *db, bole_error *error)
{
    bole_batch empty = { .count = 0 };
    bole_write_options options = BOLE_WRITE_OPTIONS_INIT;
    options.durability = BOLE_DURABILITY_POWER;
    options.error = error;
    if (bl_db_is_ours(db) && db->read_only)
        return BOLE_OK; /* nothing of ours to make durable */
    return bole_write(db, &options, &empty);
}
