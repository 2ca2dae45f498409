/* SPDX-License-Identifier: MIT */
/* log_reader.h -- the records of a log file, one after the other, and those beyond damage, see log_reader.c. */
#ifndef BL_LOG_LOG_READER_H
#define BL_LOG_LOG_READER_H

#include "log/log_file.h"
#include "log/log_record.h"

enum { BL_LOG_WINDOW_BYTES = 1 << 20 };

typedef struct bl_log_record { /* one that verified */
    uint64_t offset;           /* in the file */
    uint64_t position;
    uint64_t length; /* payload bytes */
    uint64_t synced;
    uint64_t checksum;
    const uint8_t *payload; /* until the next call on the reader */
} bl_log_record;
static inline uint64_t bl_log_record_end(const bl_log_record *record)
{
    return record->offset + BL_LOG_RECORD_HEADER_BYTES + record->length;
}

typedef struct bl_log_reader {
    bole_file *file; /* borrowed, as is path */
    const char *path;
    uint64_t start;   /* position of the first record */
    uint64_t seed;
    uint64_t limit;   /* file offset behind the last byte that is read */
    uint8_t *window;  /* the file's bytes [base, base + size) */
    uint64_t base;
    size_t size, capacity;
} bl_log_reader;

void bl_log_reader_init(bl_log_reader *reader, bole_file *file, const char *path, const bl_log_header *header,
                        uint64_t limit);
void bl_log_reader_deinit(bl_log_reader *reader);

static inline uint64_t bl_log_reader_position(const bl_log_reader *reader, uint64_t offset)
{
    return reader->start + (offset - BL_LOG_FILE_HEADER_BYTES);
}

/* The bytes [offset, offset + bytes), which lie below the limit, until the next call on the reader. */
BOLE_CHECKED bole_status bl_log_reader_view(bl_log_reader *reader, uint64_t offset, uint64_t bytes,
                                            const uint8_t **out, bole_error *error);
/* The record at `offset`, or *found = false when the bytes there are none. A read error is an error, never
 * the end. */
BOLE_CHECKED bole_status bl_log_reader_record(bl_log_reader *reader, uint64_t offset, bl_log_record *out, bool *found,
                                              bole_error *error);
/* The record at `offset` as the file is now, not as it was when the window was read. The log of a writer that is alive
 * grows between two reads: what proves that a place was written to may be newer than what was read of that place. */
BOLE_CHECKED bole_status bl_log_reader_record_anew(bl_log_reader *reader, uint64_t offset, bl_log_record *out,
                                                   bool *found, bole_error *error);
typedef enum bl_log_search {
    BL_LOG_SEARCH_NONE,  /* to the limit, there is no such record */
    BL_LOG_SEARCH_FOUND,
    BL_LOG_SEARCH_LIMIT, /* bytes made to look like records used up the allowance: not known */
} bl_log_search;
/* The first record that begins at or behind `offset`, at any byte, and claims a sync of at least `claim_min`. */
BOLE_CHECKED bole_status bl_log_reader_search(bl_log_reader *reader, uint64_t offset, uint64_t claim_min,
                                              bl_log_record *out, bl_log_search *result, bole_error *error);
/* Are the bytes [offset, limit) all zero? */
BOLE_CHECKED bole_status bl_log_reader_zero(bl_log_reader *reader, uint64_t offset, bool *zero, bole_error *error);

#endif
