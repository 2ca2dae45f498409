/* SPDX-License-Identifier: MIT */
/* pacing.h -- debt makes writers slower, smoothly: one continuous function from debt to delay, no stop
 * threshold in the
 * normal range. Pure; the store-wide account that pays the delay in sleeps of at least 1 ms is engine/write.c's. */
#ifndef BL_COMPACTION_PACING_H
#define BL_COMPACTION_PACING_H

#include <stdint.h>

typedef struct bl_pacing_input {
    uint64_t debt_bytes;          /* bl_compaction_debt */
    uint64_t debt_free_bytes;     /* below: no delay */
    uint64_t debt_high_bytes;     /* here the writer is brought down to the merge rate */
    uint64_t sealed_memtables;    /* waiting to be flushed; two are free */
    uint64_t memory_used, memory_limit; /* within the limit: no delay; limit 0: none */
    uint64_t merge_bytes_per_second; /* measured, smoothed; 0: not known yet */
} bl_pacing_input;
typedef enum bl_pacing_cause { BL_PACING_NONE, BL_PACING_DEBT, BL_PACING_FLUSH, BL_PACING_MEMORY } bl_pacing_cause;

/* Nanoseconds that a writer owes per KiB written; *cause (may be NULL) is what asks for the most. 0 exactly when
 * nothing presses; rises with each pressure and never falls; at most 1 s per KiB. */
uint64_t bl_pacing_delay_ns_per_kib(const bl_pacing_input *input, bl_pacing_cause *cause);

#endif
