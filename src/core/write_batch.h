/* SPDX-License-Identifier: MIT */
/* write_batch.h -- operations as they stand in the log: one batch is one record's payload.
 *
 * PAYLOAD     u8 record type (BL_RECORD_BATCH) | operations
 * OPERATION   u8 kind | varint table number | varint key bytes | key | [kind put: varint value bytes | value]
 * An operation's sequence is the log position of its kind byte: the record's position + the log record's header
 * bytes + its offset in the payload. */
#ifndef BL_CORE_WRITE_BATCH_H
#define BL_CORE_WRITE_BATCH_H

#include "base/buffer.h"
#include "core/internal_key.h"

/* First byte of every log record's payload. Do not renumber. */
typedef enum bl_record_type {
    BL_RECORD_BATCH = 1,
    BL_RECORD_SYNC_MARK = 2, /* nothing but the header's `synced` position */
    BL_RECORD_VOID = 3,      /* reserved space whose write failed; skipped */
} bl_record_type;

typedef struct bl_operation {
    uint8_t kind;
    uint32_t table;
    bole_slice key;
    bole_slice value;
    uint64_t offset; /* of the kind byte in the payload */
} bl_operation;

/* Bytes of one operation, and its encoding at `out` (returns the end). */
size_t bl_operation_size(uint8_t kind, uint32_t table, size_t key_bytes, size_t value_bytes);
uint8_t *bl_operation_encode(uint8_t *out, uint8_t kind, uint32_t table, bole_slice key, bole_slice value);

/* Walk a payload. Start with *position = 1 (behind the record type). Returns BOLE_OK with the next operation,
 * BOLE_NOT_FOUND at the end, BOLE_CORRUPT for bytes that are no operation, BOLE_UNSUPPORTED for a kind that is not
 * built. Slices point into the payload. */
bole_status bl_operation_decode(bole_slice payload, uint64_t *position, bl_operation *out);

struct bole_batch {
    bole_buffer payload; /* starts with BL_RECORD_BATCH */
    uint64_t count;
    uint64_t memtable_bytes; /* upper bound of what inserting takes, see bl_memtable_entry_bytes */
    uint64_t deletes, key_bytes, value_bytes;
    const bole_db *db; /* of the tables named, NULL: none named yet */
};

#endif
