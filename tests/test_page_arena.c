/* SPDX-License-Identifier: MIT */
/* test_page_arena.c -- frames do not overlap, waste little, and go back to the system. */
#include "test.h"

#include "base/alloc.h"
#include "base/prng.h"
#include "platform/page_arena.h"

#include <pthread.h>
#include <sys/mman.h>

static bl_page_arena *make_arena(void)
{
    bole_error error = BOLE_ERROR_INIT;
    bl_page_arena *arena = NULL;
    assert_ok(bl_page_arena_create(&arena, &error), &error);
    return arena;
}

/* Pages of this process that are in memory, of all in [data, data + bytes). */
static size_t resident_bytes(void *data, size_t bytes)
{
    size_t pages = bytes / 4096, resident = 0;
    unsigned char *states = bl_alloc(pages);
    if (mincore(data, bytes, states) == 0) {
        for (size_t i = 0; i < pages; i++)
            resident += states[i] & 1;
    }
    bl_free(states);
    return resident * 4096;
}

static void the_size_of_a_frame_is_told_before(void **state)
{
    (void)state;
    assert_int_equal(bl_page_arena_size(0), 4096);
    assert_int_equal(bl_page_arena_size(1), 4096);
    assert_int_equal(bl_page_arena_size(4096), 4096);
    assert_int_equal(bl_page_arena_size(4097), 8192);
    assert_int_equal(bl_page_arena_size(1 << 20), 1 << 20);
    assert_int_equal(bl_page_arena_size((1 << 20) + 1), (1 << 20) + 4096);
    size_t previous = 0;
    for (size_t pages = 1; pages <= 300; pages++) {
        size_t size = bl_page_arena_size(pages * 4096);
        assert_true(size >= pages * 4096 && size % 4096 == 0 && size >= previous);
        if (pages <= 128)
            assert_true(size <= pages * 4096 * 5 / 4);
        previous = size;
    }
}

typedef struct frame {
    uint8_t *data;
    size_t bytes;
    uint8_t mark;
} frame;

static void check_frame(const frame *one)
{
    for (size_t at = 0; at < one->bytes; at += 509)
        assert_int_equal(one->data[at], one->mark);
    assert_int_equal(one->data[one->bytes - 1], one->mark);
}

/* Thousands of frames of random sizes, each filled with a mark of its own and looked at when freed. */
static void frames_do_not_overlap(void **state)
{
    (void)state;
    enum { FRAMES = 200, STEPS = 3000 };
    static frame frames[FRAMES];
    bl_prng prng;
    bl_prng_init(&prng, test_seed(21));
    bl_page_arena *arena = make_arena();
    uint64_t used = 0;
    for (int step = 0; step < STEPS; step++) {
        frame *one = &frames[bl_prng_below(&prng, FRAMES)];
        if (one->data != NULL) {
            check_frame(one);
            bl_page_arena_free(arena, one->data, one->bytes);
            used -= bl_page_arena_size(one->bytes);
            one->data = NULL;
            continue;
        }
        one->bytes = 1 + (size_t)bl_prng_below(&prng, (uint64_t)4096 << bl_prng_below(&prng, 10));
        one->mark = (uint8_t)step;
        one->data = bl_page_arena_alloc(arena, one->bytes);
        assert_non_null(one->data);
        assert_int_equal((uintptr_t)one->data % 4096, 0);
        memset(one->data, one->mark, one->bytes);
        used += bl_page_arena_size(one->bytes);
        assert_true(bl_page_arena_committed(arena) >= used);
    }
    for (size_t i = 0; i < FRAMES; i++) {
        if (frames[i].data != NULL) {
            check_frame(&frames[i]);
            bl_page_arena_free(arena, frames[i].data, frames[i].bytes);
        }
    }
    assert_in_range(bl_page_arena_committed(arena), 0, BL_CHUNK_BYTES);
    bl_page_arena_destroy(arena);
}

/* 64 MiB of frames are in memory while they are used and are not when they are free. */
static void free_memory_goes_back_to_the_system(void **state)
{
    (void)state;
    enum { FRAMES = 16384 };
    static void *frames[FRAMES];
    bl_page_arena *arena = make_arena();
    for (int round = 0; round < 2; round++) {
        for (size_t i = 0; i < FRAMES; i++) {
            frames[i] = bl_page_arena_alloc(arena, 4096);
            assert_non_null(frames[i]);
            memset(frames[i], 1, 4096);
        }
        assert_int_equal(bl_page_arena_committed(arena), (uint64_t)FRAMES * 4096);
        size_t resident = 0;
        for (size_t i = 0; i < FRAMES; i++)
            resident += resident_bytes(frames[i], 4096);
        assert_int_equal(resident, (size_t)FRAMES * 4096);
        for (size_t i = 0; i < FRAMES; i++)
            bl_page_arena_free(arena, frames[i], 4096);
        assert_int_equal(bl_page_arena_committed(arena), BL_CHUNK_BYTES);
        resident = 0;
        for (size_t i = 0; i < FRAMES; i++)
            resident += resident_bytes(frames[i], 4096);
        assert_true(resident <= BL_CHUNK_BYTES);
    }
    bl_page_arena_destroy(arena);
    bl_page_arena_destroy(NULL);
}

/* A store of a few blocks takes a few pages, not huge ones; a large one has huge ones where the system has. */
static void a_small_arena_takes_little_memory(void **state)
{
    (void)state;
    enum { FEW = 10 };
    void *frames[FEW];
    bl_page_arena *taker = make_arena(), *arena = make_arena(); /* an idle one's memory is the taker's */
    for (size_t i = 0; i < FEW; i++) {
        frames[i] = bl_page_arena_alloc(arena, 4096);
        assert_non_null(frames[i]);
        memset(frames[i], 1, 4096);
    }
    char *chunk = frames[0];
    chunk -= (uintptr_t)chunk % BL_CHUNK_BYTES;
    assert_in_range(resident_bytes(chunk, BL_CHUNK_BYTES), FEW * 4096, 2 * FEW * 4096);
    for (size_t i = 0; i < FEW; i++)
        bl_page_arena_free(arena, frames[i], 4096);
    bl_page_arena_destroy(arena);
    bl_page_arena_destroy(taker);
}

/* Goal: an arena that stayed small leaves its addresses and its memory to the next one, whatever classes its frames
 * had; one that has ended gives nothing back before. */
static void the_next_arena_takes_over_from_a_small_one(void **state)
{
    (void)state;
    enum { CLASSES = 4, LARGE = 1 << 20 };
    void *frames[CLASSES];
    size_t touched = 0, resident = 0;
    bl_page_arena *first = make_arena(), *beside = make_arena();
    for (size_t i = 0; i < CLASSES; i++) {
        frames[i] = bl_page_arena_alloc(first, LARGE >> i);
        assert_non_null(frames[i]);
        memset(frames[i], 1, LARGE >> i);
        touched += LARGE >> i;
    }
    uint64_t committed = bl_page_arena_committed(first);
    bl_page_arena_end(first);
    for (size_t i = 0; i < CLASSES; i++)
        bl_page_arena_free(first, frames[i], LARGE >> i);
    assert_int_equal(bl_page_arena_committed(first), committed);
    bl_page_arena_destroy(first);
    for (size_t i = 0; i < CLASSES; i++)
        resident += resident_bytes(frames[i], LARGE >> i);
    assert_int_equal(resident, touched);

    bl_page_arena *next = make_arena();
    assert_int_equal(bl_page_arena_committed(next), 0);
    void *again = bl_page_arena_alloc(next, LARGE), *other = bl_page_arena_alloc(beside, LARGE);
    assert_ptr_equal(again, frames[0]); /* the chunk that was first before */
    assert_ptr_not_equal(again, other);
    memset(again, 2, LARGE);
    bl_page_arena_free(next, again, LARGE);
    bl_page_arena_free(beside, other, LARGE);
    bl_page_arena_destroy(next);
    bl_page_arena_destroy(beside);
}

/* Goal: of an arena that was large nothing stays; one that has ended gives it back at once, when it is destroyed. */
static void a_large_arena_that_has_ended_goes_at_once(void **state)
{
    (void)state;
    enum { FRAMES = 8192 }; /* 32 MiB */
    static void *frames[FRAMES];
    bl_page_arena *arena = make_arena();
    for (size_t i = 0; i < FRAMES; i++) {
        assert_non_null(frames[i] = bl_page_arena_alloc(arena, BL_PAGE_BYTES));
        memset(frames[i], 1, BL_PAGE_BYTES);
    }
    bl_page_arena_end(arena);
    for (size_t i = 0; i < FRAMES; i++)
        bl_page_arena_free(arena, frames[i], BL_PAGE_BYTES);
    assert_int_equal(bl_page_arena_committed(arena), (uint64_t)FRAMES * BL_PAGE_BYTES);
    bl_page_arena_destroy(arena);
    unsigned char there;
    for (size_t i = 0; i < FRAMES; i += 512)
        assert_int_equal(mincore(frames[i], BL_PAGE_BYTES, &there), -1); /* not even mapped */
}

static void regions_are_zeroed_aligned_and_counted(void **state)
{
    (void)state;
    int64_t live = bl_alloc_live();
    static const size_t sizes[] = {
        1, 4096, 5000, 32 << 10, (32 << 10) + 1, 2 << 20, (2 << 20) + 1, 5 << 20
    };
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        uint8_t *region = bl_region_alloc(sizes[i]);
        assert_non_null(region);
        assert_int_equal((uintptr_t)region % (sizes[i] >= 2 << 20 ? 2 << 20 : 4096), 0);
        for (size_t at = 0; at < sizes[i]; at += 777)
            assert_int_equal(region[at], 0);
        memset(region, 1, sizes[i]);
        bl_region_free(region, sizes[i]);
    }
    assert_null(bl_region_alloc(SIZE_MAX));
    bl_region_free(NULL, 5);
    assert_int_equal(bl_alloc_live(), live);
}

static void no_memory_is_told(void **state)
{
    (void)state;
    int64_t live = bl_alloc_live();
    for (uint64_t at = 0; at < 2; at++) {
        bl_page_arena *arena = NULL;
        bl_alloc_fail_at(at, 1);
        assert_status(BOLE_NO_MEMORY, bl_page_arena_create(&arena, NULL), NULL);
        assert_null(arena);
    }
    bl_alloc_fail_at(UINT64_MAX, 0);
    bl_page_arena *arena = make_arena();
    bl_alloc_fail_at(0, UINT64_MAX);
    assert_null(bl_page_arena_alloc(arena, 4096));
    assert_null(bl_page_arena_alloc(arena, 5 << 20));
    assert_null(bl_region_alloc(4096));
    bl_alloc_fail_at(UINT64_MAX, 0);
    assert_int_equal(bl_page_arena_committed(arena), 0);
    bl_page_arena_free(arena, NULL, 4096);
    bl_page_arena_destroy(arena);
    assert_int_equal(bl_alloc_live(), live);
}

static bl_page_arena *shared_arena;

static void *use_arena(void *argument)
{
    enum { FRAMES = 50 };
    frame frames[FRAMES] = { { NULL, 0, 0 } };
    bl_prng prng;
    bl_prng_init(&prng, (uintptr_t)argument);
    for (int step = 0; step < 4000; step++) {
        frame *one = &frames[bl_prng_below(&prng, FRAMES)];
        if (one->data == NULL) {
            one->bytes = (size_t)1 << (8 + bl_prng_below(&prng, 12));
            one->data = bl_page_arena_alloc(shared_arena, one->bytes);
            one->mark = (uint8_t)step;
            one->data[0] = one->data[one->bytes - 1] = one->mark;
        } else {
            if (one->data[0] != one->mark || one->data[one->bytes - 1] != one->mark)
                return (void *)1;
            bl_page_arena_free(shared_arena, one->data, one->bytes);
            one->data = NULL;
        }
    }
    for (size_t i = 0; i < FRAMES; i++)
        bl_page_arena_free(shared_arena, frames[i].data, frames[i].bytes);
    return NULL;
}

static void threads_share_an_arena(void **state)
{
    (void)state;
    enum { THREADS = 4 };
    pthread_t threads[THREADS];
    shared_arena = make_arena();
    for (uintptr_t i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, use_arena, (void *)(i + 1)), 0);
    for (int i = 0; i < THREADS; i++) {
        void *result;
        assert_int_equal(pthread_join(threads[i], &result), 0);
        assert_null(result);
    }
    assert_in_range(bl_page_arena_committed(shared_arena), 0, BL_CHUNK_BYTES);
    bl_page_arena_destroy(shared_arena);
}

/* Goal (ARENA-4): holes give their memory back, and what lies between them stays. Method: every second of
 * many frames is freed, so no chunk empties; then the holes are filled again. */
static void holes_between_frames_take_no_memory(void **state)
{
    (void)state;
    enum { FRAMES = 16384 }; /* 64 MiB */
    bl_page_arena *arena;
    assert_ok(bl_page_arena_create(&arena, NULL), NULL);
    uint64_t **frames = calloc(FRAMES, sizeof *frames);
    assert_non_null(frames);
    for (uint64_t i = 0; i < FRAMES; i++) {
        frames[i] = bl_page_arena_alloc(arena, BL_PAGE_BYTES);
        assert_non_null(frames[i]);
        frames[i][0] = frames[i][511] = i;
    }
    uint64_t full = bl_page_arena_committed(arena);
    for (int round = 0; round < 3; round++) { /* what was absent may be so again */
        for (uint64_t i = 0; i < FRAMES; i += 2)
            bl_page_arena_free(arena, frames[i], BL_PAGE_BYTES);
        uint64_t half = bl_page_arena_committed(arena);
        assert_true(half >= full / 2 && half <= full / 2 + full / 16 + (4 << 20));
        for (uint64_t i = 1; i < FRAMES; i += 2)
            assert_true(frames[i][0] == i && frames[i][511] == i);
        for (uint64_t i = 0; i < FRAMES; i += 2) {
            frames[i] = bl_page_arena_alloc(arena, BL_PAGE_BYTES);
            assert_non_null(frames[i]);
            frames[i][0] = i;
        }
        assert_int_equal(bl_page_arena_committed(arena), full);
    }
    for (uint64_t i = 0; i < FRAMES; i++) {
        assert_int_equal(frames[i][0], i);
        bl_page_arena_free(arena, frames[i], BL_PAGE_BYTES);
    }
    assert_true(bl_page_arena_committed(arena) <= BL_CHUNK_BYTES);
    free(frames);
    bl_page_arena_destroy(arena);
}

/* Goal (ARENA-4): holes that the owner allows keep their memory; beyond that it is given back. Method: as above, with
 * a quarter of all allowed, of which then half is freed. */
static void allowed_holes_stay(void **state)
{
    (void)state;
    enum { FRAMES = 16384 }; /* 64 MiB */
    bl_page_arena *arena;
    assert_ok(bl_page_arena_create(&arena, NULL), NULL);
    void **frames = calloc(FRAMES, sizeof *frames);
    assert_non_null(frames);
    for (uint64_t i = 0; i < FRAMES; i++)
        assert_non_null(frames[i] = bl_page_arena_alloc(arena, BL_PAGE_BYTES));
    uint64_t full = bl_page_arena_committed(arena);
    bl_page_arena_allow_holes(arena, full / 4);
    for (uint64_t i = 0; i < FRAMES / 2; i += 2)
        bl_page_arena_free(arena, frames[i], BL_PAGE_BYTES);
    assert_int_equal(bl_page_arena_committed(arena), full);
    for (uint64_t i = FRAMES / 2; i < FRAMES; i += 2)
        bl_page_arena_free(arena, frames[i], BL_PAGE_BYTES);
    assert_int_equal(bl_page_arena_committed(arena), full - full / 4);
    for (uint64_t i = 1; i < FRAMES; i += 2)
        bl_page_arena_free(arena, frames[i], BL_PAGE_BYTES);
    free(frames);
    bl_page_arena_destroy(arena);
}

#if !defined(BL_ADDRESS_SANITIZER) && \
    !defined(BL_THREAD_SANITIZER) /* they map while the test leaves no map */
/* Goal: a process that has as many maps as it may still frees. (Found by making munmap fail: it ended.) Method: three
 * regions side by side, which the kernel keeps as one map, and single pages that it cannot join until it refuses. */
static void a_region_is_freed_when_no_map_can_be_cut(void **state)
{
    (void)state;
    enum { MAPS_MAX = 1 << 20, REGION_BYTES = 64 << 10 };
    char **maps = calloc(MAPS_MAX, sizeof *maps);
    char *regions[64];
    size_t count = 0;
    for (size_t i = 0; i < 64; i++)
        assert_non_null(regions[i] = bl_region_alloc(REGION_BYTES));
    for (; count < MAPS_MAX; count++) {
        int protection = count % 2 == 0 ? PROT_NONE : PROT_READ;
        void *map = mmap(NULL, BL_PAGE_BYTES, protection, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (map == MAP_FAILED)
            break;
        maps[count] = map;
    }
    for (size_t i = 1; i < 64; i += 2)
        bl_region_free(regions[i], REGION_BYTES);
    while (count != 0)
        munmap(maps[--count], BL_PAGE_BYTES);
    free(maps);
    for (size_t i = 0; i < 64; i += 2)
        bl_region_free(regions[i], REGION_BYTES);
}
#endif

/* Goal (ARENA-2): wholly free chunks that the owner allows keep their memory and are taken before new ones; when it
 * allows less they give it back, all but one. */
static void allowed_free_chunks_stay(void **state)
{
    (void)state;
    enum { FRAMES = 16384, KEPT = FRAMES / 4 }; /* 64 MiB */
    bl_page_arena *arena;
    assert_ok(bl_page_arena_create(&arena, NULL), NULL);
    void **frames = calloc(FRAMES, sizeof *frames);
    assert_non_null(frames);
    for (uint64_t i = 0; i < FRAMES; i++)
        assert_non_null(frames[i] = bl_page_arena_alloc(arena, BL_PAGE_BYTES));
    bl_page_arena_allow_holes(arena, (uint64_t)KEPT * BL_PAGE_BYTES);
    for (uint64_t i = 0; i < FRAMES; i++)
        bl_page_arena_free(arena, frames[i], BL_PAGE_BYTES);
    assert_int_equal(bl_page_arena_committed(arena), (uint64_t)KEPT * BL_PAGE_BYTES);
    for (uint64_t i = 0; i < KEPT; i++)
        assert_non_null(frames[i] = bl_page_arena_alloc(arena, BL_PAGE_BYTES));
    assert_int_equal(bl_page_arena_committed(arena), (uint64_t)KEPT * BL_PAGE_BYTES);
    for (uint64_t i = 0; i < KEPT; i++)
        bl_page_arena_free(arena, frames[i], BL_PAGE_BYTES);
    bl_page_arena_allow_holes(arena, 0);
    assert_int_equal(bl_page_arena_committed(arena), BL_CHUNK_BYTES);
    free(frames);
    bl_page_arena_destroy(arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_size_of_a_frame_is_told_before),
        cmocka_unit_test(frames_do_not_overlap),
        cmocka_unit_test(free_memory_goes_back_to_the_system),
        cmocka_unit_test(a_small_arena_takes_little_memory),
        cmocka_unit_test(the_next_arena_takes_over_from_a_small_one),
        cmocka_unit_test(a_large_arena_that_has_ended_goes_at_once),
        cmocka_unit_test(regions_are_zeroed_aligned_and_counted),
        cmocka_unit_test(no_memory_is_told),
        cmocka_unit_test(threads_share_an_arena),
        cmocka_unit_test(holes_between_frames_take_no_memory),
        cmocka_unit_test(allowed_holes_stay),
#if !defined(BL_ADDRESS_SANITIZER) && !defined(BL_THREAD_SANITIZER)
        cmocka_unit_test(a_region_is_freed_when_no_map_can_be_cut),
#endif
        cmocka_unit_test(allowed_free_chunks_stay),
    };
    return cmocka_run_group_tests_name("page arena", tests, NULL, NULL);
}
