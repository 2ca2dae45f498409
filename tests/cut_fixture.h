/* SPDX-License-Identifier: MIT */
/* cut_fixture.h -- the power is cut at calls to the disk, without ending the history that makes them.
 *
 * The store runs over a trace vfs over a disk in memory. At each call that changes the disk (or at one in so many) a
 * disk that could have survived is made and put aside, with what was durable, acknowledged and tried at that moment.
 * Between two operations of the history the caller opens a store on each of them and judges what came back: not at
 * once, for the call may come from a background coroutine. Header-only; shared by test_histories and
 * test_power_cuts. */
#ifndef BOLE_CUT_FIXTURE_H
#define BOLE_CUT_FIXTURE_H

#include "test.h"

#include <bole/bole_vfs.h>

#include "base/alloc.h"
#include "base/assert.h"
#include "base/prng.h"

enum { CUT_TABLES = 2 };

typedef struct promised_table { /* which lives of a table, counted from 1, may be found */
    bool gone;                  /* it may be absent */
    uint8_t first, last;        /* none: first above last */
    uint32_t named_by;          /* when this batch is there, so is its table, in the last life; 0: none says so */
} promised_table;

/* Numbers of batches: 1 to this one. */
typedef struct promises {
    uint32_t durable;      /* acknowledged as durable: survive every cut */
    uint32_t acknowledged; /* survive the death of the process */
    uint32_t tried;        /* no more than these may come back */
    uint32_t in_flight;    /* the one that is being written; 0: none */
    promised_table tables[CUT_TABLES];
} promises;

typedef struct cut {
    bole_vfs *disk;
    promises at;
    bole_crash_mode mode;
    uint64_t call, seed;
} cut;

typedef struct failing_allocations { /* a plan of bl_alloc_fail_at that only the store feels */
    uint64_t at, count;              /* count 0: none */
} failing_allocations;

typedef struct cutter {
    bole_vfs *disk, *traced; /* the store is opened on `traced` */
    promises now;            /* kept by the caller */
    uint64_t one_in;         /* a cut at one call in so many; 1: at each, in every mode */
    uint64_t calls;
    bl_prng prng;
    cut *cuts;
    size_t count, capacity;
    failing_allocations allocations;
} cutter;

/* What is not the store's allocates between these two. */
TEST_UNUSED static void cutter_pause(cutter *c)
{
    failing_allocations *plan = &c->allocations;
    uint64_t used = bl_alloc_calls();
    if (plan->count == 0)
        return;
    bl_alloc_fail_never();
    uint64_t failed = used <= plan->at ? 0 : used - plan->at;
    plan->at = used < plan->at ? plan->at - used : 0;
    if (plan->count != UINT64_MAX)
        plan->count -= failed < plan->count ? failed : plan->count;
}

TEST_UNUSED static void cutter_resume(const cutter *c)
{
    if (c->allocations.count != 0)
        bl_alloc_fail_at(c->allocations.at, c->allocations.count);
}

static void cutter_cut(cutter *c, bole_crash_mode mode)
{
    if (c->count == c->capacity) {
        c->capacity = c->capacity * 2 + 16;
        c->cuts = realloc(c->cuts, c->capacity * sizeof *c->cuts);
        assert_non_null(c->cuts);
    }
    cut *made = &c->cuts[c->count++];
    *made = (cut){ .at = c->now, .mode = mode, .call = c->calls, .seed = bl_prng_next(&c->prng) };
    assert_ok(bole_vfs_memory_crash(c->disk, mode, made->seed, &made->disk), NULL);
    bole_vfs_memory_capacity(made->disk, UINT64_MAX);
}

static void cutter_call(void *context, const char *text)
{
    cutter *c = context;
    (void)text;
    c->calls++;
    if (c->one_in != 1 && bl_prng_below(&c->prng, c->one_in) != 0)
        return;
    cutter_pause(c);
    for (uint32_t mode = 0; c->one_in == 1 && mode < 4; mode++)
        cutter_cut(c, (bole_crash_mode)mode);
    cutter_cut(c, c->one_in == 1 ? BOLE_CRASH_RANDOM : (bole_crash_mode)bl_prng_below(&c->prng, 4));
    cutter_resume(c);
}

/* `disk` stays the caller's; `below`, what the store's calls reach first, is it or a wrapper over it. */
TEST_UNUSED static void cutter_init(cutter *c, bole_vfs *disk, bole_vfs *below, uint64_t seed, uint64_t one_in)
{
    *c = (cutter){ .disk = disk, .one_in = one_in };
    bl_prng_init(&c->prng, seed);
    assert_ok(bole_vfs_trace_create(below, cutter_call, c, &c->traced), NULL);
}

/* The fewest batches that must come back after this cut. */
TEST_UNUSED static uint32_t cut_least(const cut *one)
{
    return one->mode == BOLE_CRASH_KEEP_ALL ? one->at.acknowledged : one->at.durable;
}

TEST_UNUSED static void cutter_drop_cuts(cutter *c)
{
    while (c->count != 0)
        bole_vfs_destroy(c->cuts[--c->count].disk);
}

TEST_UNUSED static void cutter_end(cutter *c)
{
    cutter_drop_cuts(c);
    free(c->cuts);
    bole_vfs_destroy(c->traced);
}

#endif
