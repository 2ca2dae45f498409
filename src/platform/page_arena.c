/* SPDX-License-Identifier: MIT */
/* page_arena.c -- huge-page chunks cut into frames of one size class each.
 *
 * ADDRESSES   One reservation of address space (no memory): the table of chunks, then 2 MiB chunks. A chunk is empty
 *             (no memory), or holds frames of one class; `free_frames` has a bit for each frame that is free.
 * SMALL       The first chunks stay in small pages until more are in use, so that a store of a few blocks takes the
 *             memory of these and not 2 MiB for each class of frames, which to clear takes longer than all else of an
 *             open. What is used at length of them the kernel then makes huge.
 * IDLE        One reservation whose arena stayed small outlives it, with the memory of its chunks (8 MiB at most), for
 *             the next arena of the process: who opens stores in turn does not map, fault and unmap each time.
 * CLASSES     The frames of a class fill a chunk but for a tail under 2 %. A frame is at most a quarter
 *             larger than what was asked (a half above 128 pages). What does not fit the largest class gets
 *             its own map.
 * INVARIANTS  (ARENA-1) A chunk is in the list of its class exactly while it has both free and used frames.
 *             (ARENA-2) Chunks that become wholly free are kept, with their memory, as long as they and the holes stay
 *                       below what the owner allows; one always, so that a frame taken and freed in turn does not
 *                       commit and give back 2 MiB each time; and all of them once the arena ends, which unmaps them
 *                       together. The others give their memory back at once. (A merge frees its inputs when its
 *                       outputs are there: the next one takes that memory, and no page is cleared.)
 *             (ARENA-3) `committed` is the memory of chunks that are not empty, the kept ones, and own maps, less
 *                       that of absent frames.
 *             (ARENA-4) `spare`, the memory of free frames, stays about a sixteenth of what is committed, or at what
 *                       the owner allows: above that a frame's memory is given back before the frame is offered
 *                       again. (After a cache of 173 MiB had shrunk to 87, 77 MiB of holes had stayed: chunks
 *                       rarely empty by luck. Giving back splits a huge page and costs a call and a fault, so
 *                       that it is not done while there is room.)
 * THREADS     Any. One short lock; the kernel is called outside it.
 * NOT HERE    How much may be taken: core/memory_budget.c. */
#include "platform/page_arena.h"

#include "base/alloc.h"
#include "base/assert.h"
#include "base/status.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum {
    PAGES_PER_CHUNK = BL_CHUNK_BYTES / BL_PAGE_BYTES,
    BITMAP_WORDS = PAGES_PER_CHUNK / 64,
    CLASS_PAGES_MAX = 256,
    NO_CHUNK = UINT32_MAX & 0x7FFFFFFF,
};
static const uint16_t class_pages[] = { 1,  2,  3,  4,  5,  6,  7,  8,  10, 12,  14,  16,  18,
                                        21, 25, 30, 36, 42, 51, 64, 73, 85, 102, 128, 170, 256 };
enum { CLASSES = sizeof class_pages / sizeof class_pages[0] };
BL_STATIC_ASSERT(CLASSES < UINT8_MAX, "a class is a byte");

/* The reservation: four times the machine's memory, in these bounds; less where the system refuses. */
static const uint64_t RESERVE_BYTES_MIN = (uint64_t)64 << 20;
static const uint64_t RESERVE_BYTES_USUAL = (uint64_t)64 << 30;

/* Chunks in small pages, while no more are in use. */
enum { SMALL_CHUNKS = 4 };

/* Holes below that are never worth a call of the kernel. */
static const uint64_t SPARE_BYTES_MIN = (uint64_t)4 << 20;

typedef struct chunk {
    uint64_t free_frames[BITMAP_WORDS];
    uint64_t absent_frames[BITMAP_WORDS]; /* of the free ones: their memory was given back */
    uint32_t previous, next;              /* in the list of its class, or of empty chunks */
    uint16_t free_count, absent_count;
    uint8_t class_index;
} chunk;

typedef struct
    reservation { /* of address space; this stands at its start, and only what is in use takes memory */
    size_t bytes, table_bytes;
    uint32_t chunk_count;
    chunk chunks[];
} reservation;

static _Atomic(reservation *) idle_reservation;

struct bl_page_arena {
    /* constant after create */
    char *base; /* of chunk 0, aligned to a chunk */
    reservation *reserved;
    chunk *chunks;
    uint32_t chunk_count;

    pthread_mutex_t lock;
    /* under the lock */
    uint32_t partial[CLASSES]; /* first chunk with free and used frames */
    uint32_t first_empty;      /* chunks that were used before */
    uint32_t unused_from;      /* chunks from here on never were */
    uint32_t first_kept;       /* wholly free chunks that still have their memory */
    uint32_t kept_count;

    _Atomic uint64_t committed, spare, holes_allowed;
    _Atomic int64_t frames; /* in use */
    _Atomic bool ending;
};

/* Class of a frame of `pages`; the table makes it one load. */
static uint8_t class_of_pages[CLASS_PAGES_MAX + 1];
static pthread_once_t classes_once = PTHREAD_ONCE_INIT;

static void make_classes(void)
{
    unsigned index = 0;
    for (unsigned pages = 0; pages <= CLASS_PAGES_MAX; pages++) {
        if (pages > class_pages[index])
            index++;
        class_of_pages[pages] = (uint8_t)index;
    }
}

static size_t round_up(size_t bytes, size_t unit) { return (bytes + unit - 1) / unit * unit; }

/* ---- Regions ------------------------------------------------------------------------------------------- */

/* To clear these in the heap is cheaper than to map them, to fault on each page and to unmap them. */
enum { HEAP_REGION_BYTES_MAX = 32 * 1024 };

static size_t region_size(size_t bytes)
{
    return bytes == 0 ? BL_PAGE_BYTES : round_up(bytes, BL_PAGE_BYTES);
}

/* Where the process has as many maps as it may, the kernel cannot cut one in two: then the address space stays taken,
 * and only the memory goes back. */
static void unmap(void *at, size_t bytes)
{
    if (munmap(at, bytes) == 0)
        return;
    bl_assert(errno == ENOMEM);
    (void)madvise(at, bytes, MADV_DONTNEED);
}

/* Address space of `bytes`, its start a multiple of `alignment`. */
static void *map_aligned(size_t bytes, size_t alignment, int protection, int flags)
{
    bl_assert(bytes <= SIZE_MAX / 2);
    char *map = mmap(NULL, bytes, protection, MAP_PRIVATE | MAP_ANONYMOUS | flags, -1, 0);
    if (map == MAP_FAILED)
        return NULL;
    if ((uintptr_t)map % alignment == 0) /* as most kernels place it */
        return map;
    unmap(map, bytes);
    map = mmap(NULL, bytes + alignment, protection, MAP_PRIVATE | MAP_ANONYMOUS | flags, -1, 0);
    if (map == MAP_FAILED)
        return NULL;
    size_t before = (alignment - (uintptr_t)map % alignment) % alignment;
    if (before != 0)
        unmap(map, before);
    unmap(map + before + bytes, alignment - before);
    return map + before;
}

void *bl_region_alloc(size_t bytes)
{
    if (bytes <= HEAP_REGION_BYTES_MAX)
        return bl_alloc_aligned(BL_PAGE_BYTES, region_size(bytes));
    if (bl_alloc_refused() || bytes > SIZE_MAX / 4)
        return NULL;
    size_t size = region_size(bytes);
    bool huge = size >= BL_CHUNK_BYTES;
    void *region = map_aligned(size, huge ? BL_CHUNK_BYTES : BL_PAGE_BYTES, PROT_READ | PROT_WRITE, 0);
    if (region == NULL)
        return NULL;
    if (huge)
        (void)madvise(region, size, MADV_HUGEPAGE);
    bl_alloc_account(1);
    return region;
}

void bl_region_free(void *region, size_t bytes)
{
    if (region == NULL)
        return;
    if (bytes <= HEAP_REGION_BYTES_MAX) {
        bl_free(region);
        return;
    }
    unmap(region, region_size(bytes));
    bl_alloc_account(-1);
}

/* ---- The arena ----------------------------------------------------------------------------------------- */

static uint64_t machine_bytes(void)
{
    static _Atomic uint64_t known; /* asking is a call of the kernel */
    uint64_t bytes = atomic_load_explicit(&known, memory_order_relaxed);
    if (bytes == 0) {
        bytes = (uint64_t)sysconf(_SC_PHYS_PAGES) * (uint64_t)sysconf(_SC_PAGESIZE);
        atomic_store_explicit(&known, bytes, memory_order_relaxed);
    }
    return bytes;
}

static reservation *map_reservation(void)
{
    uint64_t bytes = RESERVE_BYTES_USUAL;
    while (bytes < machine_bytes() * 4)
        bytes *= 2;
    for (; bytes >= RESERVE_BYTES_MIN; bytes /= 2) {
        uint32_t count = (uint32_t)(bytes / BL_CHUNK_BYTES);
        size_t table = round_up(sizeof(reservation) + count * sizeof(chunk), BL_CHUNK_BYTES);
        reservation *made = map_aligned(table + bytes, BL_CHUNK_BYTES, PROT_NONE, MAP_NORESERVE);
        if (made == NULL)
            continue;
        size_t open = table + (size_t)SMALL_CHUNKS * BL_CHUNK_BYTES;
        if (mprotect(made, open, PROT_READ | PROT_WRITE) != 0) {
            unmap(made, table + bytes);
            return NULL;
        }
        (void)madvise(made, open, MADV_NOHUGEPAGE); /* also where the system makes everything huge */
        made->bytes = table + bytes;
        made->table_bytes = table;
        made->chunk_count = count;
        return made;
    }
    return NULL;
}

static bool reserve(bl_page_arena *arena)
{
    if (bl_alloc_refused())
        return false;
    reservation *space = atomic_exchange_explicit(&idle_reservation, NULL, memory_order_acq_rel);
    if (space == NULL)
        space = map_reservation();
    if (space == NULL)
        return false;
    arena->reserved = space;
    arena->chunks = space->chunks;
    arena->chunk_count = space->chunk_count;
    arena->base = (char *)space + space->table_bytes;
    return true;
}

/* All its frames are free. */
static void let_go_of_reservation(bl_page_arena *arena)
{
    reservation *space = arena->reserved, *none = NULL;
    if (arena->unused_from <= SMALL_CHUNKS) {
        memset(space->chunks, 0, arena->unused_from * sizeof(chunk));
        if (atomic_compare_exchange_strong(&idle_reservation, &none, space))
            return;
    }
    unmap(space, space->bytes);
}

bole_status bl_page_arena_create(bl_page_arena **out, bole_error *error)
{
    *out = NULL;
    pthread_once(&classes_once, make_classes);
    bl_page_arena *arena = bl_new(bl_page_arena);
    if (arena == NULL)
        return bl_fail(error, BOLE_NO_MEMORY, "out of memory for the page arena");
    pthread_mutex_init(&arena->lock, NULL);
    for (unsigned i = 0; i < CLASSES; i++)
        arena->partial[i] = NO_CHUNK;
    arena->first_empty = NO_CHUNK;
    arena->first_kept = NO_CHUNK;
    if (!reserve(arena)) {
        bl_page_arena_destroy(arena);
        return bl_fail(error, BOLE_NO_MEMORY, "no address space for the page arena");
    }
    *out = arena;
    return BOLE_OK;
}

void bl_page_arena_end(bl_page_arena *arena)
{
    atomic_store_explicit(&arena->ending, true, memory_order_relaxed);
}

void bl_page_arena_destroy(bl_page_arena *arena)
{
    if (arena == NULL)
        return;
    bl_assert(atomic_load(&arena->frames) == 0);
    if (arena->reserved != NULL)
        let_go_of_reservation(arena);
    pthread_mutex_destroy(&arena->lock);
    bl_free(arena);
}

uint64_t bl_page_arena_committed(const bl_page_arena *arena)
{
    return atomic_load_explicit(&arena->committed, memory_order_relaxed);
}

static size_t pages_of(size_t bytes) { return bytes == 0 ? 1 : (bytes - 1) / BL_PAGE_BYTES + 1; }

size_t bl_page_arena_size(size_t bytes)
{
    pthread_once(&classes_once, make_classes);
    size_t pages = pages_of(bytes);
    if (pages > CLASS_PAGES_MAX)
        return pages * BL_PAGE_BYTES;
    return (size_t)class_pages[class_of_pages[pages]] * BL_PAGE_BYTES;
}

/* ---- Chunks -------------------------------------------------------------------------------------------- */

static char *chunk_address(const bl_page_arena *arena, uint32_t index)
{
    return arena->base + (size_t)index * BL_CHUNK_BYTES;
}

static unsigned frames_per_chunk(unsigned class_index) { return PAGES_PER_CHUNK / class_pages[class_index]; }

static void link_partial_locked(bl_page_arena *arena, uint32_t index)
{
    chunk *added = &arena->chunks[index];
    uint32_t *first = &arena->partial[added->class_index];
    added->previous = NO_CHUNK;
    added->next = *first;
    if (*first != NO_CHUNK)
        arena->chunks[*first].previous = index;
    *first = index;
}

static void unlink_partial_locked(bl_page_arena *arena, uint32_t index)
{
    chunk *gone = &arena->chunks[index];
    if (gone->previous != NO_CHUNK)
        arena->chunks[gone->previous].next = gone->next;
    else
        arena->partial[gone->class_index] = gone->next;
    if (gone->next != NO_CHUNK)
        arena->chunks[gone->next].previous = gone->previous;
}

/* A chunk's number without memory, or NO_CHUNK when the address space is used up. */
static uint32_t take_empty_locked(bl_page_arena *arena)
{
    uint32_t index = arena->first_empty;
    if (index != NO_CHUNK) {
        arena->first_empty = arena->chunks[index].next;
        return index;
    }
    return arena->unused_from < arena->chunk_count ? arena->unused_from++ : NO_CHUNK;
}

static void put_empty_locked(bl_page_arena *arena, uint32_t index)
{
    arena->chunks[index].next = arena->first_empty;
    arena->first_empty = index;
}

/* A wholly free chunk that has its memory, or NO_CHUNK. */
static uint32_t take_kept_locked(bl_page_arena *arena)
{
    uint32_t index = arena->first_kept;
    if (index != NO_CHUNK) {
        arena->first_kept = arena->chunks[index].next;
        arena->kept_count--;
    }
    return index;
}

/* (ARENA-2) Keep a chunk that has become wholly free. Returns one to give back when that was one too many, else
 * NO_CHUNK. */
static uint32_t keep_locked(bl_page_arena *arena, uint32_t index)
{
    arena->chunks[index].next = arena->first_kept;
    arena->first_kept = index;
    uint64_t free_bytes = (uint64_t)++arena->kept_count * BL_CHUNK_BYTES +
                          atomic_load_explicit(&arena->spare, memory_order_relaxed);
    bool fits = free_bytes <= atomic_load_explicit(&arena->holes_allowed, memory_order_relaxed) ||
                atomic_load_explicit(&arena->ending, memory_order_relaxed);
    return fits || arena->kept_count == 1 ? NO_CHUNK : take_kept_locked(arena);
}

/* Memory for a chunk: one huge page where the system has one. Touched here, so that no reader pays for it. The first
 * ones are open from the start, see SMALL. */
static bool commit(bl_page_arena *arena, uint32_t index)
{
    char *address = chunk_address(arena, index);
    if (index >= SMALL_CHUNKS) {
        if (mprotect(address, BL_CHUNK_BYTES, PROT_READ | PROT_WRITE) != 0)
            return false;
        (void)madvise(address, BL_CHUNK_BYTES, MADV_HUGEPAGE);
        *(volatile char *)address = 0;
    }
    if (index == SMALL_CHUNKS) /* no small store: the kernel may make the first ones huge, too */
        (void)madvise(arena->base, (size_t)SMALL_CHUNKS * BL_CHUNK_BYTES, MADV_HUGEPAGE);
    atomic_fetch_add_explicit(&arena->committed, BL_CHUNK_BYTES, memory_order_relaxed);
    return true;
}

static void give_back(bl_page_arena *arena, uint32_t index)
{
    char *address = chunk_address(arena, index);
    chunk *gone = &arena->chunks[index]; /* in no list: the caller's alone */
    size_t absent = (size_t)gone->absent_count * class_pages[gone->class_index] * BL_PAGE_BYTES;
    bl_assert(madvise(address, BL_CHUNK_BYTES, MADV_DONTNEED) == 0);
    if (index >= SMALL_CHUNKS)
        (void)mprotect(address, BL_CHUNK_BYTES, PROT_NONE); /* or it stays readable, as zeros */
    gone->absent_count = 0;
    atomic_fetch_sub_explicit(&arena->committed, BL_CHUNK_BYTES - absent, memory_order_relaxed);
    pthread_mutex_lock(&arena->lock);
    put_empty_locked(arena, index);
    pthread_mutex_unlock(&arena->lock);
}

/* (ARENA-4) Does a frame that is being freed give its memory back? The frame is still the caller's alone. */
static bool gives_back_frame(bl_page_arena *arena, void *frame, size_t frame_bytes)
{
    uint64_t committed = atomic_load_explicit(&arena->committed, memory_order_relaxed);
    uint64_t spare = atomic_load_explicit(&arena->spare, memory_order_relaxed);
    if (spare < SPARE_BYTES_MIN || spare < committed / 16 ||
        spare < atomic_load_explicit(&arena->holes_allowed, memory_order_relaxed) ||
        atomic_load_explicit(&arena->ending, memory_order_relaxed) ||
        madvise(frame, frame_bytes, MADV_DONTNEED) != 0)
        return false;
    atomic_fetch_sub_explicit(&arena->committed, frame_bytes, memory_order_relaxed);
    return true;
}

/* Cut a chunk that has memory into frames of a class, and offer them. */
static void cut_locked(bl_page_arena *arena, uint32_t index, unsigned class_index)
{
    chunk *cut = &arena->chunks[index];
    unsigned frames = frames_per_chunk(class_index);
    memset(cut->free_frames, 0, sizeof cut->free_frames);
    if (cut->absent_count != 0) { /* a kept one: what was absent comes back with its frames */
        size_t absent = (size_t)cut->absent_count * class_pages[cut->class_index] * BL_PAGE_BYTES;
        atomic_fetch_add_explicit(&arena->committed, absent, memory_order_relaxed);
    }
    memset(cut->absent_frames, 0, sizeof cut->absent_frames);
    cut->absent_count = 0;
    atomic_fetch_add_explicit(&arena->spare, (uint64_t)frames * class_pages[class_index] * BL_PAGE_BYTES,
                              memory_order_relaxed);
    for (unsigned i = 0; i < frames; i++)
        cut->free_frames[i / 64] |= (uint64_t)1 << (i % 64);
    cut->free_count = (uint16_t)frames;
    cut->class_index = (uint8_t)class_index;
    link_partial_locked(arena, index);
}

/* A chunk with a free frame of the class is at the head of its list afterwards; false when out of memory. */
static bool add_chunk_locked(bl_page_arena *arena, unsigned class_index)
{
    uint32_t index = take_kept_locked(arena);
    if (index == NO_CHUNK) {
        index = take_empty_locked(arena);
        if (index == NO_CHUNK)
            return false;
        pthread_mutex_unlock(&arena->lock);
        bool committed = commit(arena, index);
        pthread_mutex_lock(&arena->lock);
        if (!committed) {
            put_empty_locked(arena, index);
            return false;
        }
    }
    cut_locked(arena, index, class_index);
    return true;
}

/* ---- Frames -------------------------------------------------------------------------------------------- */

static void *take_frame_locked(bl_page_arena *arena, unsigned class_index)
{
    uint32_t index = arena->partial[class_index];
    chunk *from = &arena->chunks[index];
    unsigned word = 0;
    while (from->free_frames[word] == 0)
        word++;
    unsigned frame = word * 64 + (unsigned)__builtin_ctzll(from->free_frames[word]);
    uint64_t bit = from->free_frames[word] & -from->free_frames[word];
    size_t frame_bytes = (size_t)class_pages[class_index] * BL_PAGE_BYTES;
    from->free_frames[word] ^= bit;
    if ((from->absent_frames[word] & bit) != 0) {
        from->absent_frames[word] ^= bit;
        from->absent_count--;
        atomic_fetch_add_explicit(&arena->committed, frame_bytes, memory_order_relaxed);
    } else {
        atomic_fetch_sub_explicit(&arena->spare, frame_bytes, memory_order_relaxed);
    }
    if (--from->free_count == 0)
        unlink_partial_locked(arena, index);
    return chunk_address(arena, index) + (size_t)frame * class_pages[class_index] * BL_PAGE_BYTES;
}

void *bl_page_arena_alloc(bl_page_arena *arena, size_t bytes)
{
    size_t pages = pages_of(bytes);
    void *frame = NULL;
    if (pages > CLASS_PAGES_MAX) {
        frame = bl_region_alloc(bytes);
        if (frame != NULL)
            atomic_fetch_add_explicit(&arena->committed, pages * BL_PAGE_BYTES, memory_order_relaxed);
    } else if (!bl_alloc_refused()) {
        unsigned class_index = class_of_pages[pages];
        pthread_mutex_lock(&arena->lock);
        if (arena->partial[class_index] != NO_CHUNK || add_chunk_locked(arena, class_index))
            frame = take_frame_locked(arena, class_index);
        pthread_mutex_unlock(&arena->lock);
    }
    if (frame != NULL)
        atomic_fetch_add_explicit(&arena->frames, 1, memory_order_relaxed);
    return frame;
}

void bl_page_arena_allow_holes(bl_page_arena *arena, uint64_t bytes)
{
    uint64_t before = atomic_exchange_explicit(&arena->holes_allowed, bytes, memory_order_relaxed);
    while (bytes < before) { /* rarely a chunk too many */
        uint32_t unneeded = NO_CHUNK;
        pthread_mutex_lock(&arena->lock);
        if (arena->kept_count > 1 && (uint64_t)arena->kept_count * BL_CHUNK_BYTES > bytes)
            unneeded = take_kept_locked(arena);
        pthread_mutex_unlock(&arena->lock);
        if (unneeded == NO_CHUNK)
            break;
        give_back(arena, unneeded);
    }
}

void bl_page_arena_free(bl_page_arena *arena, void *frame, size_t bytes)
{
    if (frame == NULL)
        return;
    size_t pages = pages_of(bytes);
    atomic_fetch_sub_explicit(&arena->frames, 1, memory_order_relaxed);
    if (pages > CLASS_PAGES_MAX) {
        bl_region_free(frame, bytes);
        atomic_fetch_sub_explicit(&arena->committed, pages * BL_PAGE_BYTES, memory_order_relaxed);
        return;
    }
    size_t offset = (size_t)((char *)frame - arena->base);
    uint32_t index = (uint32_t)(offset / BL_CHUNK_BYTES);
    bl_assert(index < arena->chunk_count);
    chunk *owner = &arena->chunks[index];
    uint32_t unneeded = NO_CHUNK;
    size_t frame_bytes = (size_t)class_pages[class_of_pages[pages]] * BL_PAGE_BYTES;
    bool absent = gives_back_frame(arena, frame, frame_bytes);
    pthread_mutex_lock(&arena->lock);
    bl_assert(owner->class_index == class_of_pages[pages]);
    unsigned number = (unsigned)(offset % BL_CHUNK_BYTES / frame_bytes);
    uint64_t bit = (uint64_t)1 << (number % 64);
    bl_assert(offset % BL_CHUNK_BYTES % frame_bytes == 0 && (owner->free_frames[number / 64] & bit) == 0);
    owner->free_frames[number / 64] |= bit;
    if (absent) {
        owner->absent_frames[number / 64] |= bit;
        owner->absent_count++;
    } else {
        atomic_fetch_add_explicit(&arena->spare, frame_bytes, memory_order_relaxed);
    }
    if (owner->free_count++ == 0)
        link_partial_locked(arena, index);
    if (owner->free_count == frames_per_chunk(owner->class_index)) {
        unlink_partial_locked(arena, index);
        uint64_t resident = (uint64_t)(owner->free_count - owner->absent_count) * frame_bytes;
        atomic_fetch_sub_explicit(&arena->spare, resident, memory_order_relaxed);
        unneeded = keep_locked(arena, index);
    }
    pthread_mutex_unlock(&arena->lock);
    if (unneeded != NO_CHUNK)
        give_back(arena, unneeded);
}
