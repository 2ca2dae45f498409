/* SPDX-License-Identifier: MIT */
/* event_log.c -- events become lines of JSON in events.jsonl, and reach the callback.
 *
 * INVARIANTS  (EVENT-1) Nothing that goes wrong here reaches the caller: a line is written whole or counted as lost.
 *             (EVENT-2) Each line that is written starts behind a newline or at the file's beginning, also after a
 *                       failed write or a crash: a torn line spoils no other.
 *             (EVENT-3) The file never grows beyond its size, but for one line larger than that alone.
 * THREADS     `lock` guards the file and its place; level, bytes and lost are atomic. The lock knows no scheduler: no
 *             call below it can switch to another thread of a simulation.
 * NOT HERE    Which events there are: who calls; docs/usage.md lists them. */
#include "core/event_log.h"

#include "base/alloc.h"
#include "base/assert.h"
#include "base/buffer.h"
#include "base/slice.h"
#include "base/status.h"
#include "platform/scheduler.h"

#include <inttypes.h>
#include <jansson.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

enum { BYTES_SHOWN_MAX = 256 };

struct bl_event_log {
    /* constant after open */
    bole_vfs *vfs;
    bole_log_callback callback;
    void *context;
    char *path, *old_path; /* NULL: no file */

    /* self-synchronized */
    _Atomic int level;
    _Atomic uint64_t bytes, lost;

    /* under the lock */
    bl_mutex lock;
    bole_file *file; /* NULL: not open, or given up after a failure; opened again for the next line */
    uint64_t offset; /* end of the file */
    bool after_torn; /* the file does not end in a newline */
};

/* ---- A line -------------------------------------------------------------------------------------------------- */

static const char *severity_name(bole_log_level level)
{
    static const char *const names[] = { "error", "warn", "info", "debug" };
    bl_assert(level >= BOLE_LOG_ERROR && level <= BOLE_LOG_DEBUG);
    return names[level - 1];
}

/* Days since 1970 to year, month, day of the Gregorian calendar (Hinnant, "chrono-compatible low-level date
 * algorithms": years begin in March, eras of 400 years have 146,097 days). */
static void civil_date(int64_t days, int64_t *year, int *month, int *day)
{
    days += 719468;
    int64_t era = (days >= 0 ? days : days - 146096) / 146097;
    int64_t of_era = days - era * 146097;
    int64_t year_of_era = (of_era - of_era / 1460 + of_era / 36524 - of_era / 146096) / 365;
    int64_t of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    int64_t march_month = (5 * of_year + 2) / 153;
    *day = (int)(of_year - (153 * march_month + 2) / 5 + 1);
    *month = (int)(march_month < 10 ? march_month + 3 : march_month - 9);
    *year = year_of_era + era * 400 + (*month <= 2);
}

static void write_time(int64_t microseconds, char *out, size_t capacity)
{
    const int64_t day_us = INT64_C(86400) * 1000000;
    int64_t days = microseconds / day_us - (microseconds % day_us < 0);
    int64_t rest = microseconds - days * day_us;
    int64_t year;
    int month, day;
    civil_date(days, &year, &month, &day);
    snprintf(out, capacity, "%04" PRId64 "-%02d-%02dT%02d:%02d:%02d.%06dZ", year, month, day,
             (int)(rest / 3600000000), (int)(rest / 60000000 % 60), (int)(rest / 1000000 % 60),
             (int)(rest % 1000000));
}

/* Bytes as text: printable ASCII as it is, the rest escaped, cut where it gets long. */
static json_t *json_bytes(const void *data, size_t size)
{
    char shown[4 * BYTES_SHOWN_MAX + 4];
    size_t part = size < BYTES_SHOWN_MAX ? size : BYTES_SHOWN_MAX;
    bl_slice_escape(bl_slice(data, part), shown, sizeof shown - 3);
    if (part < size)
        strcat(shown, "...");
    return json_string(shown);
}

static json_t *json_field(const bl_event_field *field)
{
    switch (field->type) {
    case BL_EVENT_FIELD_U64:
        if (field->value.u64 > INT64_MAX) { /* JSON's numbers are signed here */
            char digits[24];
            snprintf(digits, sizeof digits, "%" PRIu64, field->value.u64);
            return json_string(digits);
        }
        return json_integer((json_int_t)field->value.u64);
    case BL_EVENT_FIELD_I64: return json_integer((json_int_t)field->value.i64);
    case BL_EVENT_FIELD_DOUBLE: {
        json_t *real = json_real(field->value.real);
        return real != NULL ? real : json_null(); /* not a number, or infinite */
    }
    case BL_EVENT_FIELD_BOOL: return json_boolean(field->value.truth);
    case BL_EVENT_FIELD_TEXT: {
        if (field->value.text == NULL)
            return json_null();
        json_t *text = json_string(field->value.text);
        return text != NULL ? text : json_bytes(field->value.text, strlen(field->value.text)); /* not UTF-8 */
    }
    case BL_EVENT_FIELD_BYTES: break;
    }
    return json_bytes(field->value.bytes.data, field->value.bytes.size);
}

static int append_json(const char *text, size_t size, void *context)
{
    return bl_buffer_append(context, text, size) ? 0 : -1;
}

/* The event as one line, newline included; false when out of memory. */
static bool make_line(bole_buffer *line, int64_t time_us, bole_log_level level, const char *event,
                      const bl_event_field *fields, size_t count)
{
    char time[64];
    write_time(time_us, time, sizeof time);
    json_t *object = json_object();
    /* No object, no member: it fails. */
    bool good = json_object_set_new(object, "time", json_string(time)) == 0;
    good &= json_object_set_new(object, "severity", json_string(severity_name(level))) == 0;
    good &= json_object_set_new(object, "event", json_string(event)) == 0;
    for (size_t i = 0; i < count; i++)
        good &= json_object_set_new(object, fields[i].name, json_field(&fields[i])) == 0;
    good &= json_dump_callback(object, append_json, line, JSON_COMPACT) == 0;
    good &= bl_buffer_append(line, "\n", 1);
    json_decref(object);
    return good;
}

/* ---- The file ------------------------------------------------------------------------------------------------ */

static void close_file_locked(bl_event_log *log)
{
    if (log->file != NULL)
        (void)log->vfs->close(log->file, NULL);
    log->file = NULL;
}

static bole_status open_file_locked(bl_event_log *log)
{
    bole_vfs *vfs = log->vfs;
    bole_status status = vfs->open(vfs, log->path, BOLE_VFS_WRITE | BOLE_VFS_CREATE, &log->file, NULL);
    if (status != BOLE_OK) {
        log->file = NULL;
        return status;
    }
    char last = '\n';
    size_t got = 0;
    status = vfs->length(log->file, &log->offset, NULL);
    if (status == BOLE_OK && log->offset > 0)
        status = vfs->read(log->file, log->offset - 1, &last, 1, &got, NULL);
    log->after_torn = last != '\n';
    if (status != BOLE_OK)
        close_file_locked(log);
    return status;
}

static bole_status rotate_locked(bl_event_log *log)
{
    close_file_locked(log);
    bole_status status = log->vfs->rename(log->vfs, log->path, log->old_path, NULL);
    return status == BOLE_OK ? open_file_locked(log) : status;
}

/* Write the line that stands in `line` behind a newline of its own. */
static bole_status write_line_locked(bl_event_log *log, const bole_buffer *line)
{
    const char *data = line->data;
    size_t size = line->size;
    bole_status status = log->file != NULL ? BOLE_OK : open_file_locked(log);
    if (status == BOLE_OK && log->offset > 0 &&
        log->offset + size > atomic_load_explicit(&log->bytes, memory_order_relaxed))
        status = rotate_locked(log);
    if (status != BOLE_OK)
        return status;
    if (!log->after_torn) {
        data++;
        size--;
    }
    status = log->vfs->write(log->file, log->offset, data, size, NULL);
    if (status == BOLE_OK) {
        log->offset += size;
        log->after_torn = false;
    } else {
        close_file_locked(log); /* how much of it was written is seen at the next open */
    }
    return status;
}

/* ---- Calls --------------------------------------------------------------------------------------------------- */

static char *path_in(const char *directory, const char *name)
{
    size_t bytes = strlen(directory) + strlen(name) + 2;
    char *path = bl_alloc(bytes);
    if (path != NULL)
        snprintf(path, bytes, "%s/%s", directory, name);
    return path;
}

bole_status bl_event_log_open(bole_vfs *vfs, const char *directory, bole_log_level level,
                              bole_log_callback callback, void *context, bl_event_log **out,
                              bole_error *error)
{
    *out = NULL;
    bl_event_log *log = bl_new(bl_event_log);
    if (log == NULL)
        return bl_fail(error, BOLE_NO_MEMORY, "event log");
    log->vfs = vfs;
    log->callback = callback;
    log->context = context;
    atomic_init(&log->level, (int)level);
    atomic_init(&log->bytes, BL_EVENTS_BYTES);
    atomic_init(&log->lost, 0);
    bl_mutex_init(&log->lock, NULL);
    if (directory != NULL) {
        log->path = path_in(directory, BL_EVENTS_FILE);
        log->old_path = path_in(directory, BL_EVENTS_FILE_OLD);
        if (log->path == NULL || log->old_path == NULL) {
            bl_event_log_close(log);
            return bl_fail(error, BOLE_NO_MEMORY, "event log in %s", directory);
        }
    }
    *out = log;
    return BOLE_OK;
}

void bl_event_log_close(bl_event_log *log)
{
    if (log == NULL)
        return;
    close_file_locked(log);
    bl_mutex_deinit(&log->lock);
    bl_free(log->path);
    bl_free(log->old_path);
    bl_free(log);
}

void bl_event_log_set_level(bl_event_log *log, bole_log_level level)
{
    atomic_store_explicit(&log->level, (int)level, memory_order_relaxed);
}

void bl_event_log_set_bytes(bl_event_log *log, uint64_t bytes)
{
    atomic_store_explicit(&log->bytes, bytes, memory_order_relaxed);
}

bool bl_event_log_wants(const bl_event_log *log, bole_log_level level)
{
    return log != NULL && (int)level <= atomic_load_explicit(&log->level, memory_order_relaxed);
}

uint64_t bl_event_log_lost(const bl_event_log *log)
{
    return log == NULL ? 0 : atomic_load_explicit(&log->lost, memory_order_relaxed);
}

void bl_event_log_add(bl_event_log *log, bole_log_level level, const char *event,
                      const bl_event_field *fields, size_t count)
{
    if (!bl_event_log_wants(log, level) || (log->path == NULL && log->callback == NULL))
        return;
    bole_buffer line = BOLE_BUFFER_INIT;
    bool good = bl_buffer_append(&line, "\n", 1) &&
                make_line(&line, log->vfs->realtime_us(log->vfs), level, event, fields, count);
    bool written = good;
    if (good && log->path != NULL) {
        bl_mutex_lock(&log->lock);
        written = write_line_locked(log, &line) == BOLE_OK;
        bl_mutex_unlock(&log->lock);
    }
    if (!written)
        atomic_fetch_add_explicit(&log->lost, 1, memory_order_relaxed);
    if (good && log->callback != NULL)
        log->callback(log->context, level, (const char *)line.data + 1, line.size - 2);
    bole_buffer_free(&line);
}
