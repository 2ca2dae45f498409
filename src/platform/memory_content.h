/* SPDX-License-Identifier: MIT */
/* memory_content.h -- the bytes of a file on the memory vfs' disk: what programs see, and what is durable. */
#ifndef BL_PLATFORM_MEMORY_CONTENT_H
#define BL_PLATFORM_MEMORY_CONTENT_H

#include "base/prng.h"

#include <bole/bole_vfs.h>

enum { BL_MEMORY_PAGE_BYTES = 4096, BL_MEMORY_SECTOR_BYTES = 512 };

/* What is left of a disk. */
typedef struct bl_memory_space {
    uint64_t limit_pages; /* UINT64_MAX: no limit */
    uint64_t used_pages;
} bl_memory_space;

typedef struct bl_memory_page bl_memory_page;
typedef struct bl_memory_slot { /* one page of a file; NULL pages are holes and read as zeros */
    bl_memory_page *current;
    bl_memory_page *durable;
    bl_memory_page *stale; /* a state between the two that may have reached the disk, or NULL */
    uint8_t state;         /* SLOT_DIRTY, SLOT_LOST */
} bl_memory_slot;

typedef struct bl_memory_content {
    bl_memory_slot *slots;
    uint32_t *unclean; /* slots whose state is not 0; as much room as slots */
    size_t slot_count, slot_capacity, unclean_count;
    uint64_t length, durable_length;
    uint64_t pages; /* that are not holes now */
} bl_memory_content;

void bl_memory_content_deinit(bl_memory_content *content);
size_t bl_memory_content_read(const bl_memory_content *content, uint64_t offset, void *data, size_t length);
/* BOLE_NO_SPACE and BOLE_NO_MEMORY: the bytes before the failure are written. `prng` decides what might have
 * been written back on the way. */
bole_status bl_memory_content_write(bl_memory_content *content, bl_memory_space *space, bl_prng *prng,
                                    uint64_t offset, const void *data, size_t length);
bole_status bl_memory_content_truncate(bl_memory_content *content, bl_memory_space *space, uint64_t length);
bole_status bl_memory_content_allocate(bl_memory_content *content, bl_memory_space *space, uint64_t offset,
                                       uint64_t length, bool zero);
void bl_memory_content_sync(bl_memory_content *content);
/* After a sync that failed: what was dirty counts as clean, but is not on the disk (as ext4, XFS and Btrfs
 * do). */
void bl_memory_content_forget(bl_memory_content *content);
/* Fill `out`, an empty content, with what a power cut leaves; false when out of memory. */
bool bl_memory_content_crash(const bl_memory_content *from, bole_crash_mode mode, bl_prng *prng,
                             bl_memory_content *out);

#endif
