/* SPDX-License-Identifier: MIT */
/* log_record.c -- one record of the write-ahead log, as bytes.
 *
 * RECORD      offset  size  field                                                  (all integers little-endian)
 *                  0     8  checksum   bl_checksum(seed of the log's id, position of the record, bytes from 8 on)
 *                  8     8  length     payload bytes, at least 1: a zero header is never a record
 *                 16     8  synced     the position known to be on disk when this record was written
 *                 24     n  payload    u8 record type (core/write_batch.h), then what the type says
 *             Records stand back to back at any byte; none is padded.
 * INVARIANTS  (RECORD-1) The checksum word is stored last, after a release fence: until it stands there the bytes do
 *                        not verify, however much of the rest has arrived.
 *             (RECORD-2) A record claims no sync beyond its own position: what it says was synced lies before it.
 *             (RECORD-3) A record verifies at one position of one log only; bytes of an earlier life of the same
 *                        file, or of another log, never do.
 * THREADS     Any; no state.
 * NOT HERE    What a bad record means: log_replay.c. */
#include "log/log_record.h"

#include <stdatomic.h>

static uint64_t checksum_of(const uint8_t *record, uint64_t payload_bytes, uint64_t seed, uint64_t position)
{
    return bl_checksum(seed, position, record + BL_LOG_RECORD_LENGTH_AT,
                       BL_LOG_RECORD_HEADER_BYTES - BL_LOG_RECORD_LENGTH_AT + (size_t)payload_bytes);
}

void bl_log_record_seal(uint8_t *record, uint64_t payload_bytes, uint64_t synced, uint64_t seed,
                        uint64_t position)
{
    bl_assert(payload_bytes >= 1);
    bl_assert(synced <= position);
    bl_put_u64(record + BL_LOG_RECORD_LENGTH_AT, payload_bytes);
    bl_put_u64(record + BL_LOG_RECORD_SYNCED_AT, synced);
    uint64_t checksum = checksum_of(record, payload_bytes, seed, position);
    atomic_thread_fence(memory_order_release);
    bl_put_u64(record + BL_LOG_RECORD_CHECKSUM_AT, checksum);
}

bool bl_log_record_verify(const uint8_t *record, uint64_t payload_bytes, uint64_t seed, uint64_t position)
{
    return bl_get_u64(record + BL_LOG_RECORD_CHECKSUM_AT) ==
           checksum_of(record, payload_bytes, seed, position);
}

/* The index of the first byte that is not zero, or `size`. */
static size_t skip_zeros(const uint8_t *bytes, size_t size)
{
    size_t i = 0;
    for (; i + 64 <= size; i += 64) {
        uint64_t any = 0;
        for (size_t word = 0; word < 64; word += 8)
            any |= bl_get_u64(bytes + i + word);
        if (any != 0)
            break;
    }
    while (i < size && bytes[i] == 0)
        i++;
    return i;
}

size_t bl_log_record_search(const uint8_t *bytes, size_t size, uint64_t position, uint64_t remaining,
                            uint64_t claim_min)
{
    bl_assert(size <= remaining);
    bl_assert(claim_min <= position);
    for (size_t i = 0; i + BL_LOG_RECORD_HEADER_BYTES <= size && remaining - i >= BL_LOG_RECORD_BYTES_MIN;
         i++) {
        uint64_t length = bl_get_u64(bytes + i + BL_LOG_RECORD_LENGTH_AT);
        if (length == 0) {
            /* The next non-zero byte is the last byte of the next length that can be one. */
            size_t behind = i + BL_LOG_RECORD_LENGTH_AT + 8;
            i = behind + skip_zeros(bytes + behind, size - behind) - (BL_LOG_RECORD_LENGTH_AT + 8);
            continue;
        }
        uint64_t claim = bl_get_u64(bytes + i + BL_LOG_RECORD_SYNCED_AT);
        if (claim - claim_min <= position + i - claim_min &&
            length <= remaining - i - BL_LOG_RECORD_HEADER_BYTES)
            return i;
    }
    return size;
}
