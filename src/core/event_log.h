/* SPDX-License-Identifier: MIT */
/* event_log.h -- what happened, told twice: a line of events.jsonl in the store's directory, and the
 * caller's callback.
 *
 * One event is one JSON object on one line:
 *     {"time":"2026-03-01T12:00:00.123456Z","severity":"info","event":"flush","segment":12,"bytes":67108864}
 * (severity, because a level is one of the tree's). Times are UTC.
 * The file is for people and tools, never for the store: it is not synced, nothing is recovered from it, and a line
 * that cannot be written is counted and forgotten. When it has grown to its size it becomes events.1.jsonl, in place
 * of the one before.
 * Threads: any, at any time between open and close; a lock of its own, held while the line is written. Never on a
 * hot path: an event costs some microseconds and a write call. */
#ifndef BL_CORE_EVENT_LOG_H
#define BL_CORE_EVENT_LOG_H

#include <bole/bole.h>
#include <bole/bole_vfs.h>

#define BL_EVENTS_FILE "events.jsonl"
#define BL_EVENTS_FILE_OLD "events.1.jsonl"
#define BL_EVENTS_BYTES (UINT64_C(4) * 1024 * 1024)

typedef struct bl_event_log bl_event_log;

typedef enum bl_event_field_type {
    BL_EVENT_FIELD_U64,
    BL_EVENT_FIELD_I64,
    BL_EVENT_FIELD_DOUBLE,
    BL_EVENT_FIELD_BOOL,
    BL_EVENT_FIELD_TEXT,  /* UTF-8; what is not is shown escaped; NULL is null */
    BL_EVENT_FIELD_BYTES, /* a key: shown as bl_slice_escape does */
} bl_event_field_type;

typedef struct bl_event_field {
    const char *name;
    bl_event_field_type type;
    union {
        uint64_t u64;
        int64_t i64;
        double real;
        bool truth;
        const char *text;
        bole_slice bytes;
    } value;
} bl_event_field;

#define BL_EVENT_U64(field, v) ((bl_event_field){ (field), BL_EVENT_FIELD_U64, { .u64 = (v) } })
#define BL_EVENT_I64(field, v) ((bl_event_field){ (field), BL_EVENT_FIELD_I64, { .i64 = (v) } })
#define BL_EVENT_DOUBLE(field, v) ((bl_event_field){ (field), BL_EVENT_FIELD_DOUBLE, { .real = (v) } })
#define BL_EVENT_BOOL(field, v) ((bl_event_field){ (field), BL_EVENT_FIELD_BOOL, { .truth = (v) } })
#define BL_EVENT_TEXT(field, v) ((bl_event_field){ (field), BL_EVENT_FIELD_TEXT, { .text = (v) } })
#define BL_EVENT_BYTES(field, v) ((bl_event_field){ (field), BL_EVENT_FIELD_BYTES, { .bytes = (v) } })

/* `directory` NULL: no file (a store that is open for reading only), the callback alone. `callback` may be NULL. A file
 * that cannot be opened is no failure: its lines are lost until it can. Fails with BOLE_NO_MEMORY only. */
BOLE_CHECKED bole_status bl_event_log_open(bole_vfs *vfs, const char *directory, bole_log_level level,
                                           bole_log_callback callback, void *context, bl_event_log **out,
                                           bole_error *error);
void bl_event_log_close(bl_event_log *log); /* NULL is allowed */
void bl_event_log_set_level(bl_event_log *log, bole_log_level level);
void bl_event_log_set_bytes(bl_event_log *log, uint64_t bytes); /* size at which the file is rotated */

/* Tell of an event: bl_event_log_add(log, BOLE_LOG_INFO, "flush", (bl_event_field[]){
 * BL_EVENT_U64("segment", 12) }, 1).
 * Nothing happens where `log` is NULL or its level is below `level`. The callback runs in this thread, without the
 * lock. */
void bl_event_log_add(bl_event_log *log, bole_log_level level, const char *event, const bl_event_field *fields,
                      size_t count);

/* Would an event of that level be told? To save the work of gathering its fields. */
bool bl_event_log_wants(const bl_event_log *log, bole_log_level level);
/* Lines that could not be written since open. */
uint64_t bl_event_log_lost(const bl_event_log *log);

#endif
