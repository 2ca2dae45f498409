/* SPDX-License-Identifier: MIT */
/* verify.c -- prove every checksum and every invariant of a store (bole_verify).
 *
 * Opening for reading already proves the manifest, the versions' invariants and the logs that recovery
 * needs; verify goes
 * on behind the first problem where it can: every segment with every block, order, counts and filter, and every log
 * record by record; and that each pointer leads to the value of its key (verify_values.c). A directory that cannot be
 * opened at all is one problem, with its message. */
#include <bole/bole_inspect.h>

#include <stdio.h>

#include "base/alloc.h"
#include "engine/log_structured_store.h"
#include "log/log_replay.h"
#include "tools/verify_values.h"

typedef struct verification {
    void (*problem)(void *context, const bole_error *problem);
    void *context;
    bole_verify_report *report;
    bole_error ended; /* by a want of memory, which is no problem of the store; BOLE_OK: it was not */
} verification;

static void tell(verification *v, const bole_error *error)
{
    v->report->problems++;
    if (v->problem != NULL)
        v->problem(v->context, error);
}

/* What came of a check. False: go on no further. */
static bool judge(verification *v, bole_status status, const bole_error *error)
{
    if (status == BOLE_NO_MEMORY)
        v->ended = *error;
    else if (status != BOLE_OK)
        tell(v, error);
    return status != BOLE_NO_MEMORY;
}

static void tell_of_value(void *context, const bole_error *error) { tell(context, error); }

static bool verify_segment(void *context, const bl_version_table *table, bl_segment *segment)
{
    verification *v = context;
    const bl_segment_meta *meta = bl_segment_meta_of(segment);
    bole_error error = BOLE_ERROR_INIT;
    (void)table;
    v->report->segments++;
    v->report->blocks += meta->blocks;
    v->report->entries += bl_segment_meta_holds_values(meta) ? 0 : meta->entries;
    v->report->bytes += meta->file_bytes;
    return judge(v, bl_segment_check(segment, true, &error), &error);
}

static bole_status verify_segments(verification *v, bole_db *db, bole_error *error)
{
    bl_read_state *state = bl_read_state_acquire(db, NULL);
    bl_version_each_segment(state->version, verify_segment, v);
    bole_status status = v->ended.status;
    for (uint32_t t = 0; t < state->version->table_count && status == BOLE_OK; t++)
        status = bl_verify_values(&state->version->tables[t], tell_of_value, v, error);
    bl_read_state_unref(state);
    return status;
}

static bole_status count_item(void *context, const bl_log_item *item, bole_error *error)
{
    verification *v = context;
    (void)error;
    v->report->bytes += item->bytes;
    v->report->log_records += item->kind == BL_LOG_ITEM_RECORD;
    return BOLE_OK;
}

/* Recovery has judged the logs when the store was opened; here their records are counted, and damage between whole
 * records is told even where recovery may pass it. */
static bool verify_log(void *context, const bole_inspect_log *log)
{
    verification *v = ((void **)context)[0];
    bole_db *db = ((void **)context)[1];
    char path[BL_PATH_BYTES_MAX];
    bole_error error = BOLE_ERROR_INIT;
    bl_log_scanned scanned = { 0 };
    v->report->logs++;
    bl_store_path(path, db->path, BL_FILE_LOG, log->number);
    bole_status status = bl_log_scan(db->vfs, path, count_item, v, &scanned, &error);
    if (status == BOLE_OK && scanned.damages > 0)
        status = bl_corrupt(&error, path, BL_NO_OFFSET, "%llu damaged places between whole records",
                            (unsigned long long)scanned.damages);
    return judge(v, status, &error);
}

BOLE_API bole_status bole_verify(const char *path, const bole_options *options,
                                 void (*problem)(void *context, const bole_error *problem), void *context,
                                 bole_verify_report *report, bole_error *error)
{
    *report = (bole_verify_report){ 0 };
    verification v = { problem, context, report, BOLE_ERROR_INIT };
    bole_options given = BOLE_OPTIONS_INIT;
    if (options != NULL && options->size <= sizeof(given)) {
        memcpy(&given, options, options->size);
        given.size = sizeof(given);
    }
    given.flags = BOLE_READ_ONLY;
    bole_db *db;
    bole_error story = BOLE_ERROR_INIT;
    bole_status status = bole_open(path, &given, &db, &story);
    if (status == BOLE_CORRUPT) {
        tell(&v, &story);
        if (error != NULL)
            *error = story;
        return status;
    }
    if (status != BOLE_OK) {
        if (error != NULL)
            *error = story;
        return status;
    }
    status = verify_segments(&v, db, error);
    void *log_context[2] = { &v, db };
    if (status == BOLE_OK)
        status = bole_inspect_logs(db, verify_log, log_context, error);
    if (v.ended.status != BOLE_OK)
        status = bl_fail(error, v.ended.status, "%s", v.ended.message);
    bole_status closed = bole_close(db, status == BOLE_OK ? error : NULL);
    if (status == BOLE_OK)
        status = closed;
    if (status == BOLE_OK && report->problems > 0)
        status = bl_fail(error, BOLE_CORRUPT, "%s has %llu problems", path,
                         (unsigned long long)report->problems);
    return status;
}
