/* SPDX-License-Identifier: MIT */
/* log_record.h -- the bytes of one record of the write-ahead log, see log_record.c. */
#ifndef BL_LOG_LOG_RECORD_H
#define BL_LOG_LOG_RECORD_H

#include "base/assert.h"
#include "base/checksum.h"
#include "base/coding.h"

enum { BL_LOG_RECORD_HEADER_BYTES = 24, BL_LOG_RECORD_BYTES_MIN = BL_LOG_RECORD_HEADER_BYTES + 1 };

/* Where the fields stand in a record. Do not change: files depend on them. */
enum {
    BL_LOG_RECORD_CHECKSUM_AT = 0,
    BL_LOG_RECORD_LENGTH_AT = 8,
    BL_LOG_RECORD_SYNCED_AT = 16,
};
BL_STATIC_ASSERT(BL_LOG_RECORD_SYNCED_AT + 8 == BL_LOG_RECORD_HEADER_BYTES, "a record's header ends with synced");

/* Make the bytes at `record` a record: length, synced, and last the checksum. The payload of `payload_bytes` stands
 * behind the header already. `seed` is bl_checksum_seed of the log's id. */
void bl_log_record_seal(uint8_t *record, uint64_t payload_bytes, uint64_t synced, uint64_t seed, uint64_t position);

/* Is this a record of the log with `seed`, at `position`? All its header and payload bytes are there to be read. */
bool bl_log_record_verify(const uint8_t *record, uint64_t payload_bytes, uint64_t seed, uint64_t position);

/* Of `size` bytes that begin at `position`, the index of the first that could begin a record whose header is among
 * them: its length is at least 1 and at most what `remaining` (bytes from the first one to the end of the
 * log) leaves,
 * and it claims a sync of at least `claim_min` and at most its own position. `size` when there is none. Only such
 * candidates are worth a checksum; the longest run of bytes looked at is `size`. */
size_t bl_log_record_search(const uint8_t *bytes, size_t size, uint64_t position, uint64_t remaining,
                            uint64_t claim_min);

#endif
