/* SPDX-License-Identifier: MIT */
/* event_log.h -- what happened, one JSON object a line: events.jsonl in the store's directory, and a callback.
 *
 * A line that cannot be written is counted, never an error. Rotated to events.1.jsonl. Any thread; a lock of its own;
 * never on a hot path. */
#ifndef BL_CORE_EVENT_LOG_H
#define BL_CORE_EVENT_LOG_H

#include <bole/bole_vfs.h>

typedef struct bl_event_log bl_event_log;

typedef enum bl_event_type { BL_EVENT_TYPE_U64, BL_EVENT_TYPE_TEXT } bl_event_type;
typedef struct bl_event_field {
    const char *name;
    bl_event_type type;
    uint64_t number;
    const char *text; /* need not be valid UTF-8: shown escaped */
} bl_event_field;
#define BL_EVENT_U64(name, value) { (name), BL_EVENT_TYPE_U64, (uint64_t)(value), NULL }
#define BL_EVENT_TEXT(name, value) { (name), BL_EVENT_TYPE_TEXT, 0, (value) }

/* `directory` NULL: no file, only the callback. Opens the file at the first line. */
BOLE_CHECKED bole_status bl_event_log_open(bole_vfs *vfs, const char *directory, bole_log_level level,
                                           bole_log_callback callback, void *context, bl_event_log **out,
                                           bole_error *error);
void bl_event_log_close(bl_event_log *log); /* NULL is allowed */
void bl_event_log_set_level(bl_event_log *log, bole_log_level level);
void bl_event_log_set_bytes(bl_event_log *log, uint64_t bytes_max); /* default 4 MiB */
/* {"time":"2026-11-23T21:48:19.123456Z","level":"info","event":"flush","log":7,...} */
void bl_event_log_write(bl_event_log *log, bole_log_level level, const char *event, const bl_event_field *fields,
                        unsigned count);
uint64_t bl_event_log_lost(const bl_event_log *log);

#endif
