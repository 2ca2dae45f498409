/* SPDX-License-Identifier: MIT */
/* log_fixture.h -- a log and a model of what was put into it, for the tests of the write-ahead log. Header-only. */
#ifndef BOLE_TEST_LOG_FIXTURE_H
#define BOLE_TEST_LOG_FIXTURE_H

#include "test.h"

#include "base/alloc.h"
#include "base/coding.h"
#include "base/prng.h"
#include "base/status.h"
#include "core/write_batch.h"
#include "log/write_ahead_log.h"

#define LOG_DIRECTORY "store"

typedef struct log_record_model {
    uint64_t position, end, claim;
    uint8_t type;
    size_t size;
    uint8_t *payload; /* malloc */
} log_record_model;

typedef struct log_model {
    bl_write_ahead_log *log;
    bl_prng prng; /* of payloads */
    log_record_model *records;
    size_t count, capacity;
    /* what is known of the log, good after it is closed */
    bole_vfs *vfs;
    char path[600];
    uint64_t number, start;
    bl_id id;
} log_model;

static const bl_id log_store_id = { { 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16 } };

TEST_UNUSED static bole_vfs *log_disk(uint64_t seed)
{
    bole_vfs *vfs = NULL;
    assert_ok(bole_vfs_memory_create(seed, &vfs), NULL);
    bole_error error = BOLE_ERROR_INIT;
    assert_ok(vfs->make_directory(vfs, LOG_DIRECTORY, &error), &error);
    assert_ok(vfs->sync_directory(vfs, ".", &error), &error);
    return vfs;
}

TEST_UNUSED static bl_log_parameters log_parameters(bole_vfs *vfs, uint64_t number, uint64_t start, uint64_t bytes,
                                                    bl_log_way way)
{
    return (bl_log_parameters){ .vfs = vfs,
                                .directory = LOG_DIRECTORY,
                                .number = number,
                                .store_id = log_store_id,
                                .start = start,
                                .bytes = bytes,
                                .way = way };
}

/* Make a log, ACTIVE, that the model is empty for. */
TEST_UNUSED static void log_make(log_model *model, const bl_log_parameters *parameters)
{
    bole_error error = BOLE_ERROR_INIT;
    *model = (log_model){ .vfs = parameters->vfs, .number = parameters->number, .start = parameters->start };
    bl_prng_init(&model->prng, parameters->number * 31 + parameters->start + 7);
    assert_ok(bl_log_create(parameters, &model->log, &error), &error);
    assert_int_equal(bl_log_state_of(model->log), BL_LOG_CREATED);
    bl_log_activate(model->log);
    model->id = bl_log_id(model->log);
    snprintf(model->path, sizeof model->path, "%s", bl_log_path(model->log));
}

TEST_UNUSED static void log_close(log_model *model)
{
    bl_log_close(model->log);
    model->log = NULL;
}

TEST_UNUSED static void log_free(log_model *model)
{
    log_close(model);
    for (size_t i = 0; i < model->count; i++)
        free(model->records[i].payload);
    free(model->records);
    *model = (log_model){ 0 };
}

static log_record_model *log_model_add(log_model *model, uint8_t type, size_t size, uint64_t position, uint64_t claim)
{
    if (model->count == model->capacity) {
        model->capacity = model->capacity == 0 ? 64 : 2 * model->capacity;
        model->records = realloc(model->records, model->capacity * sizeof model->records[0]);
        assert_non_null(model->records);
    }
    log_record_model *record = &model->records[model->count++];
    *record = (log_record_model){ .position = position,
                                  .end = position + BL_LOG_RECORD_HEADER_BYTES + size,
                                  .claim = claim,
                                  .type = type,
                                  .size = size,
                                  .payload = malloc(size) };
    assert_non_null(record->payload);
    bl_prng_fill(&model->prng, record->payload, size);
    record->payload[0] = type;
    return record;
}

/* Reserve, fill and finish one batch record. False when it does not fit. */
TEST_UNUSED static bool log_append(log_model *model, size_t size, uint64_t claim)
{
    uint64_t position = 0;
    uint8_t *payload = bl_log_reserve(model->log, size, &position);
    if (payload == NULL)
        return false;
    log_record_model *record = log_model_add(model, BL_RECORD_BATCH, size, position, claim);
    memcpy(payload, record->payload, size);
    bl_log_finish(model->log, payload, size, position, claim);
    return true;
}

TEST_UNUSED static bool log_mark(log_model *model, uint64_t synced)
{
    uint64_t position = bl_log_end(model->log);
    if (!bl_log_append_sync_mark(model->log, synced))
        return false;
    log_model_add(model, BL_RECORD_SYNC_MARK, 1, position, synced);
    return true;
}

TEST_UNUSED static void log_publish(log_model *model)
{
    bole_error error = BOLE_ERROR_INIT;
    assert_ok(bl_log_publish(model->log, &error), &error);
}

TEST_UNUSED static void log_sync(log_model *model)
{
    bole_error error = BOLE_ERROR_INIT;
    assert_ok(bl_log_sync(model->log, bl_log_published(model->log), &error), &error);
}

TEST_UNUSED static bl_log_expectation log_expect(const log_model *model)
{
    return (bl_log_expectation){ .vfs = model->vfs,
                                 .path = model->path,
                                 .number = model->number,
                                 .id = model->id,
                                 .store_id = log_store_id,
                                 .start = model->start,
                                 .end = UINT64_MAX };
}

/* ---- Replay against the model: each visit must be the next batch record ---- */

typedef struct log_checker {
    const log_model *model;
    uint64_t from;
    size_t next;    /* record of the model */
    size_t visited; /* batches */
} log_checker;

TEST_UNUSED static bole_status log_check_visit(void *context, uint64_t position, bole_slice payload,
                                               bole_error *error)
{
    (void)error;
    log_checker *checker = context;
    const log_model *model = checker->model;
    while (checker->next < model->count && (model->records[checker->next].type != BL_RECORD_BATCH ||
                                            model->records[checker->next].end <= checker->from))
        checker->next++;
    assert_true(checker->next < model->count);
    const log_record_model *record = &model->records[checker->next++];
    assert_int_equal(position, record->position);
    assert_int_equal(payload.size, record->size);
    assert_memory_equal(payload.data, record->payload, record->size);
    checker->visited++;
    return BOLE_OK;
}

/* Replay and compare; out->records tells how many records of the model (from the first) were accepted. */
TEST_UNUSED static bole_status log_replay(const log_model *model, const bl_log_expectation *expectation,
                                          bl_log_replayed *out, bole_error *error)
{
    log_checker checker = { .model = model, .from = expectation->from };
    bole_status status = bl_log_replay(expectation, log_check_visit, &checker, out, error);
    assert_true(out->records <= model->count);
    if (status == BOLE_OK && out->records > 0) {
        assert_int_equal(out->end, model->records[out->records - 1].end);
        size_t batches = 0;
        for (size_t i = 0; i < out->records; i++)
            batches += model->records[i].type == BL_RECORD_BATCH && model->records[i].end > expectation->from;
        assert_int_equal(checker.visited, batches);
    }
    return status;
}

/* ---- Bytes of a file, read and written behind the log's back ---- */

TEST_UNUSED static uint64_t log_file_length(bole_vfs *vfs, const char *path)
{
    bole_file *file = NULL;
    uint64_t length = 0;
    assert_ok(vfs->open(vfs, path, BOLE_VFS_READ, &file, NULL), NULL);
    assert_ok(vfs->length(file, &length, NULL), NULL);
    assert_ok(vfs->close(file, NULL), NULL);
    return length;
}

TEST_UNUSED static uint8_t *log_file_bytes(bole_vfs *vfs, const char *path, uint64_t *length) /* free */
{
    *length = log_file_length(vfs, path);
    bole_file *file = NULL;
    size_t got = 0;
    uint8_t *bytes = malloc(*length);
    assert_non_null(bytes);
    assert_ok(vfs->open(vfs, path, BOLE_VFS_READ, &file, NULL), NULL);
    assert_ok(vfs->read(file, 0, bytes, *length, &got, NULL), NULL);
    assert_int_equal(got, *length);
    assert_ok(vfs->close(file, NULL), NULL);
    return bytes;
}

TEST_UNUSED static void log_file_write(bole_vfs *vfs, const char *path, uint64_t offset, const void *bytes,
                                       size_t size)
{
    bole_file *file = NULL;
    assert_ok(vfs->open(vfs, path, BOLE_VFS_WRITE, &file, NULL), NULL);
    assert_ok(vfs->write(file, offset, bytes, size, NULL), NULL);
    assert_ok(vfs->close(file, NULL), NULL);
}

TEST_UNUSED static void log_file_truncate(bole_vfs *vfs, const char *path, uint64_t length)
{
    bole_file *file = NULL;
    assert_ok(vfs->open(vfs, path, BOLE_VFS_WRITE, &file, NULL), NULL);
    assert_ok(vfs->truncate(file, length, NULL), NULL);
    assert_ok(vfs->close(file, NULL), NULL);
}

#define LOG_OFFSET(model, position) (BL_LOG_FILE_HEADER_BYTES + ((position) - (model)->start))

static const bl_log_way log_ways[2] = { BL_LOG_MAPPED, BL_LOG_WRITTEN };

#endif
