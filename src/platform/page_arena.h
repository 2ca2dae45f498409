/* SPDX-License-Identifier: MIT */
/* page_arena.h -- big memory in huge pages, cut into frames of multiples of 4 KiB.
 *
 * Address space is reserved once; 2 MiB chunks are committed (madvise MADV_HUGEPAGE, touched; the first few in small
 * pages) as they are needed, and given back when wholly free (some are kept). Frames up to 1 MiB come from chunks by
 * size class (1 to 8, 10, 12, 14 ... pages, so that a block wastes little); larger ones are their own maps. Any
 * thread; a short lock inside; never on the path of a cached read. */
#ifndef BL_PLATFORM_PAGE_ARENA_H
#define BL_PLATFORM_PAGE_ARENA_H

#include <bole/bole.h>

enum { BL_PAGE_BYTES = 4096, BL_CHUNK_BYTES = 2 * 1024 * 1024 };
typedef struct bl_page_arena bl_page_arena;
BOLE_CHECKED bole_status bl_page_arena_create(bl_page_arena **out, bole_error *error);
/* What is freed from now on keeps its memory until destroy, which gives all of it back at once. */
void bl_page_arena_end(bl_page_arena *arena);
void bl_page_arena_destroy(bl_page_arena *arena); /* all frames must be free */
/* Bytes that allocating `bytes` really takes; what memory_budget is charged. */
size_t bl_page_arena_size(size_t bytes);
/* Aligned to 4 KiB, not zeroed; NULL when out of memory. */
void *bl_page_arena_alloc(bl_page_arena *arena, size_t bytes);
void bl_page_arena_free(bl_page_arena *arena, void *frame, size_t bytes);
/* Free frames between used ones and wholly free chunks may keep `bytes` of memory together; the frames a sixteenth of
 * what is committed if that is more. 0 at first. Any thread, any time. */
void bl_page_arena_allow_holes(bl_page_arena *arena, uint64_t bytes);
uint64_t bl_page_arena_committed(const bl_page_arena *arena);
/* A stand-alone region in huge pages where possible, zeroed lazily (memtable arenas, filters, indexes). */
void *bl_region_alloc(size_t bytes);
void bl_region_free(void *region, size_t bytes);

#endif
