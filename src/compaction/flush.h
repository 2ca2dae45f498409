/* SPDX-License-Identifier: MIT */
/* flush.h -- a sealed memtable becomes segments: one new level-0 run for each table it has entries of. */
#ifndef BL_COMPACTION_FLUSH_H
#define BL_COMPACTION_FLUSH_H

#include "memory/memtable.h"
#include "segment/segment_writer.h"
#include "version/version_edit.h"

/* What flush and compaction share; made by the engine for each job. Called outside the store's mutex. */
typedef struct bl_job_context {
    bl_segment_environment *environment;
    bl_scheduler *scheduler;
    uint64_t (*new_file_number)(void *context); /* takes the store's mutex itself */
    /* Live snapshot sequences, rising, as read under the store's mutex when the job began; a version that none of
     * them and no reader at `visible` or above sees may be dropped. */
    const uint64_t *snapshots;
    uint32_t snapshot_count;
    uint64_t visible;               /* position visible when the job began: the newest version below it stays */
    bool (*should_stop)(void *context); /* closing: the job ends with BOLE_CANCELLED */
    void (*progress)(void *context, uint64_t bytes); /* about every MiB: yields, paces, counts */
    void *context;
    uint64_t segment_bytes;
    uint64_t large_bytes_min; /* large values of a table's memtable that are worth a value segment */
    uint32_t block_bytes, filter_bits_per_key;
    bl_compression_kind compression_upper, compression_last;
    int compression_level;
    bool past_cache;                /* of the system: outputs are written there */
    bool entry_checksums;           /* no frame in memory is believed; every block is compared with its entries */
} bl_job_context;

typedef struct bl_job_result {
    bl_segment_meta *metas; /* level and run set; owned; value segments among them */
    bl_segment **handles;   /* parallel; owned references */
    uint32_t count, capacity;
    /* What died in value segments that were there before: all of some, which the edit removes; of others more. */
    bl_segment_place *dead;
    uint32_t dead_count;
    bl_values_died *died;
    uint32_t died_count;
    uint64_t values_written, values_moved; /* bytes of values into value segments; of them out of condemned ones */
    uint64_t entries_in, entries_out, entries_dropped, bytes_read, bytes_written;
} bl_job_result;
void bl_job_result_deinit(bl_job_result *result); /* drops handles; files that no edit took are removed by the caller */

/* Write the tables of `memtable` as segments of a new level-0 run (number one above the highest in `version` for that
 * table; the caller holds `version` and flushes in log order, one at a time). Tables that `version` does not have
 * (dropped) are skipped. Old versions that no snapshot needs are collapsed. On failure every file made is removed. */
BOLE_CHECKED bole_status bl_flush_run(const bl_job_context *job, bl_memtable *memtable, const bl_version *version,
                                      bl_job_result *out, bole_error *error);

#endif
