/* SPDX-License-Identifier: MIT */
/* segment.c -- an immutable sorted file as readers see it: the brief's Segment.
 *
 * A GET       unit pointer -> sampled heads (in cache) -> filter line -> group of heads and slots -> frame: header,
 *             heads, record. Filter line and group are asked for together, before they are needed, and then the block's
 *             first lines; the search stops at the first that says no. What is not there is named in
 *             BL_FIND_MUST_LOAD, and the caller leaves the epoch, loads and looks again.
 * COUNTERS    Each thread adds to a cache line of its own, without a locked instruction: a get writes no line
 *             that another thread writes. The marks "referenced" (slot) and "used" (unit) are written when
 *             they are not set.
 *
 * INVARIANTS  (SEGMENT-1) Inside an epoch nothing here waits, locks, allocates or calls the system.
 *             (SEGMENT-2) A find that meets a filter which passed searches every block that may hold a
 *                         version the reader sees: from the first block whose separator is not below the key,
 *                         as long as the block says the versions go on.
 *             (SEGMENT-3) The last unref closes the file before the file is said to be due.
 * THREADS     Any. References are counted; see bl_segment_unref for what its caller guarantees.
 * NOT HERE    Loading: segment_unit.c, block_reader.c.   Scans: segment_cursor.c.   Checks: segment_check.c. */
#include "segment/segment.h"

#include "base/alloc.h"
#include "base/assert.h"
#include "base/buffer.h"
#include "base/prefetch.h"
#include "base/status.h"
#include "segment/block_reader.h"
#include "segment/segment_state.h"

#include <stdio.h>
#include <string.h>

enum { BLOCK_LINES_PREFETCHED = 4, LINE_BYTES = 64 };

/* ---- The environment --------------------------------------------------------------------------------- */

bole_status bl_segment_environment_init(bl_segment_environment *environment, bole_error *error)
{
    return bl_descriptor_cache_create(environment->vfs, environment->scheduler, environment->open_flags,
                                      environment->open_files_max, &environment->descriptors, error);
}

void bl_segment_environment_deinit(bl_segment_environment *environment)
{
    bl_descriptor_cache_destroy(environment->descriptors);
    environment->descriptors = NULL;
}

/* ---- The handle -------------------------------------------------------------------------------------- */

static void free_handle(bl_segment *segment)
{
    bl_segment_stripe *counts = atomic_load_explicit(&segment->counts, memory_order_relaxed);
    if (counts != NULL) {
        bl_memory_budget_release(segment->environment->budget, BL_MEMORY_INDEX,
                                 BL_COUNT_STRIPES * sizeof(bl_segment_stripe));
        bl_free(counts);
    }
    bl_segment_meta_deinit(&segment->meta);
    bl_free(segment->path);
    bl_free(segment);
}

bole_status bl_segment_create_handle(bl_segment_environment *environment, const bl_segment_meta *meta,
                                     bl_comparator *comparator, bl_segment **out, bole_error *error)
{
    *out = NULL;
    bl_segment *segment = bl_new(bl_segment);
    if (segment == NULL)
        return bl_fail(error, BOLE_NO_MEMORY, "segment handle");
    segment->environment = environment;
    segment->cache = environment->cache;
    segment->comparator = comparator;
    segment->seed = bl_checksum_seed(meta->id);
    atomic_init(&segment->references, 1);
    size_t path_bytes = strlen(environment->directory) + sizeof "/18446744073709551615.seg";
    segment->path = bl_alloc(path_bytes);
    bole_status status = BOLE_OK;
    if (segment->path == NULL)
        status = bl_fail(error, BOLE_NO_MEMORY, "segment handle");
    if (status == BOLE_OK)
        status = bl_segment_meta_copy(&segment->meta, meta, error);
    if (status != BOLE_OK) {
        free_handle(segment);
        return status;
    }
    snprintf(segment->path, path_bytes, "%s%s%06llu.seg", environment->directory,
             environment->directory[0] == '\0' ? "" : "/", (unsigned long long)meta->number);
    *out = segment;
    return BOLE_OK;
}

bole_status bl_segment_create_built(bl_segment_environment *environment, const bl_segment_meta *meta,
                                    bl_comparator *comparator, const bl_segment_built *built,
                                    bl_segment **out, bole_error *error)
{
    bl_assert(built->cards == NULL || built->card_count <= meta->blocks);
    bl_unit *unit = NULL;
    bole_status status = bl_segment_create_handle(environment, meta, comparator, out, error);
    if (status == BOLE_OK)
        status = bl_unit_build(*out, built, &unit, error);
    for (uint64_t i = 0; built->cards != NULL && i < built->card_count; i++) {
        bl_frame_card *card = built->cards[i];
        if (card == NULL)
            continue;
        if (unit == NULL) {
            bl_frame_cache_give_back(environment->cache, card);
            continue;
        }
        bool held = bl_unit_hold(&unit->node);
        bl_assert(held);
        if (bl_segment_meta_holds_values(meta))
            bl_value_hint_written(environment->cache, unit, i, card->frame);
        bl_frame_install(card, bl_block_index_slot(&unit->index, i), &unit->node.holders);
    }
    if (unit != NULL)
        bl_unit_put(*out, unit);
    if (status != BOLE_OK) {
        bl_segment_unref(*out);
        *out = NULL;
    }
    return status;
}

void bl_segment_ref(bl_segment *segment)
{
    uint32_t before = atomic_fetch_add_explicit(&segment->references, 1, memory_order_relaxed);
    bl_assert(before > 0);
}

/* No reader can reach the segment any more: frames, unit and file go now. */
static void bury(bl_segment *segment)
{
    bl_segment_environment *environment = segment->environment;
    bl_unit *unit = bl_unit_hold_present(segment);
    if (unit != NULL) { /* else it has no frames */
        for (uint64_t i = 0; i < unit->index.count; i += BL_INDEX_GROUP_BLOCKS) {
            uint64_t left = unit->index.count - i;
            bl_frame_cache_drop(segment->cache, bl_block_index_slot(&unit->index, i),
                                left < BL_INDEX_GROUP_BLOCKS ? left : BL_INDEX_GROUP_BLOCKS);
        }
        bl_unit_put(segment, unit);
    }
    bl_frame_cache_drop_unit(segment->cache, &segment->unit); /* also waits for who is just evicting it */
    bl_descriptor_close(environment->descriptors, &segment->descriptor);
    if (!atomic_load_explicit(&segment->obsolete, memory_order_relaxed) || environment->read_only)
        return;
    if (environment->file_due != NULL)
        environment->file_due(environment->context, segment->meta.number);
    else /* a file that cannot be removed is an orphan, which recovery removes */
        (void)environment->vfs->remove(environment->vfs, segment->path, NULL);
}

void bl_segment_unref(bl_segment *segment)
{
    if (segment == NULL)
        return;
    uint32_t before = atomic_fetch_sub_explicit(&segment->references, 1, memory_order_acq_rel);
    bl_assert(before > 0);
    if (before != 1)
        return;
    bl_debug_assert(!bl_epoch_inside());
    bury(segment);
    free_handle(segment);
}

void bl_segment_mark_obsolete(bl_segment *segment)
{
    atomic_store_explicit(&segment->obsolete, true, memory_order_relaxed);
}

const bl_segment_meta *bl_segment_meta_of(const bl_segment *segment) { return &segment->meta; }

bl_comparator *bl_segment_comparator(const bl_segment *segment) { return segment->comparator; }

/* ---- Counters ---------------------------------------------------------------------------------------- */

static bl_segment_stripe *my_stripe(const bl_segment *segment)
{
    return &atomic_load_explicit(&segment->counts, memory_order_acquire)[bl_count_stripe()];
}

void bl_segment_counters_read(const bl_segment *segment, bl_segment_counters *out)
{
    *out = (bl_segment_counters){ 0 };
    const bl_segment_stripe *counts = atomic_load_explicit(&segment->counts, memory_order_acquire);
    for (int i = 0; counts != NULL && i < BL_COUNT_STRIPES; i++) {
        out->filter_negatives += atomic_load_explicit(&counts[i].denied, memory_order_relaxed);
        out->filter_true_positives += atomic_load_explicit(&counts[i].found, memory_order_relaxed);
        out->filter_false_positives += atomic_load_explicit(&counts[i].passed_for_nothing,
                                                            memory_order_relaxed);
    }
    out->filter_probes = out->filter_negatives + out->filter_true_positives + out->filter_false_positives;
}

/* ---- Point reads ------------------------------------------------------------------------------------- */

/* The unit, seen by a reader inside an epoch. */
static inline bl_unit *unit_inside(const bl_segment *segment)
{
    bl_unit_node *node = atomic_load_explicit(&segment->unit, memory_order_acquire);
    if (bl_unlikely(node == NULL))
        return NULL;
    if (bl_unlikely(!atomic_load_explicit(&node->used, memory_order_relaxed)))
        atomic_store_explicit(&node->used, true, memory_order_relaxed);
    return (bl_unit *)(void *)node;
}

/* The header's line, the heads', and what follows; NULL, an absent block: a hint without effect. */
static inline void prefetch_lines(const bl_frame *frame)
{
    for (size_t i = 0; i < BLOCK_LINES_PREFETCHED; i++)
        bl_prefetch((const void *)((uintptr_t)frame + i * LINE_BYTES));
}

void bl_segment_prefetch_filter(const bl_segment *segment, const bl_lookup *lookup)
{
    const bl_unit *unit = unit_inside(segment);
    if (bl_likely(unit != NULL) && unit->has_filter)
        bl_bloom_filter_prefetch(&unit->filter, lookup->hash);
}

static inline bl_segment_spot approach(const bl_segment *segment, const bl_lookup *lookup)
{
    bl_segment_spot spot = { .unit = unit_inside(segment) };
    if (bl_unlikely(spot.unit == NULL))
        return spot;
    bl_debug_assert(spot.unit->ordered);
    if (spot.unit->has_filter)
        bl_bloom_filter_prefetch(&spot.unit->filter, lookup->hash);
    spot.place = bl_block_index_search_begin(&spot.unit->index, segment->comparator, lookup->key);
    return spot;
}

bl_segment_spot bl_segment_approach(const bl_segment *segment, const bl_lookup *lookup)
{
    return approach(segment, lookup);
}

const bl_frame *bl_segment_prefetch_block(const bl_segment *segment, const bl_lookup *lookup)
{
    const bl_unit *unit = unit_inside(segment);
    if (unit == NULL || (unit->has_filter && !bl_bloom_filter_may_contain(&unit->filter, lookup->hash)))
        return NULL;
    uint64_t block = bl_block_index_search(&unit->index, segment->comparator, lookup->key);
    if (block == unit->index.count)
        return NULL;
    const bl_frame *frame = bl_slot_frame(
        atomic_load_explicit(bl_block_index_slot(&unit->index, block), memory_order_acquire));
    prefetch_lines(frame);
    return frame;
}

void bl_segment_prefetch_record(const bl_frame *frame, const bl_lookup *lookup)
{
    if (lookup->comparator != NULL)
        return;
    bl_block_view view;
    bl_block_view_init(&view, (const uint8_t *)frame);
    bl_block_prefetch_found(&view, lookup);
}

/* Tests the filter, if there is one, and counts a denial. */
static inline uint8_t ask_filter(const bl_segment *segment, const bl_unit *unit, const bl_lookup *lookup)
{
    if (bl_unlikely(!unit->has_filter))
        return BL_FIND_NO_FILTER;
    if (bl_bloom_filter_may_contain(&unit->filter, lookup->hash))
        return BL_FIND_FILTER_PASSED;
    bl_count_add(&my_stripe(segment)->denied, 1);
    return BL_FIND_FILTER_DENIED;
}

static inline bl_find finish(const bl_segment *segment, bl_find find, bl_found *out)
{
    if (out->filter == BL_FIND_FILTER_PASSED) {
        bl_segment_stripe *stripe = my_stripe(segment);
        bl_count_add(find == BL_FIND_FOUND ? &stripe->found : &stripe->passed_for_nothing, 1);
    }
    return find;
}

/* From `block` on, as long as versions of the key go on (SEGMENT-2). */
static inline bl_find find_in_blocks(const bl_segment *segment, const bl_unit *unit, const bl_lookup *lookup,
                                     uint64_t block, bl_found *out)
{
    for (; block < unit->index.count; block++) {
        out->frame = bl_slot_read(bl_block_index_slot(&unit->index, block));
        if (bl_unlikely(out->frame == NULL)) {
            out->block = block;
            return BL_FIND_MUST_LOAD;
        }
        prefetch_lines(out->frame);
        bl_frame_cache_hit(segment->cache);
        bl_block_view view;
        bl_block_view_init(&view, (const uint8_t *)out->frame);
        bl_block_answer answer = bl_block_search(&view, lookup, &out->tag, &out->value);
        if (bl_likely(answer == BL_BLOCK_FOUND))
            return finish(segment, BL_FIND_FOUND, out);
        if (answer == BL_BLOCK_ABSENT)
            break;
        BL_MARK("versions of a key go on in the next block");
    }
    out->frame = NULL;
    return finish(segment, BL_FIND_ABSENT, out);
}

/* `place` NULL: the index was not searched yet. */
static inline bl_find find_from(const bl_segment *segment, const bl_unit *unit, const bl_lookup *lookup,
                                const bl_block_index_place *place, bl_found *out)
{
    bl_debug_assert(bl_epoch_inside());
    out->frame = NULL;
    out->block = BL_SEGMENT_UNIT;
    out->filter = BL_FIND_NO_FILTER;
    if (bl_unlikely(unit == NULL))
        return BL_FIND_MUST_LOAD;
    out->filter = ask_filter(segment, unit, lookup);
    if (out->filter == BL_FIND_FILTER_DENIED)
        return BL_FIND_ABSENT;
    uint64_t block = place != NULL ? bl_block_index_search_end(&unit->index, lookup->key, *place)
                                   : bl_block_index_search(&unit->index, segment->comparator, lookup->key);
    return find_in_blocks(segment, unit, lookup, block, out);
}

bl_find bl_segment_find(bl_segment *segment, const bl_lookup *lookup, bl_found *out)
{
    bl_segment_spot spot = approach(segment, lookup);
    return find_from(segment, spot.unit, lookup, &spot.place, out);
}

bl_find bl_segment_find_from(bl_segment *segment, const bl_lookup *lookup, const bl_segment_spot *spot,
                             bl_found *out)
{
    return spot != NULL ? find_from(segment, spot->unit, lookup, &spot->place, out)
                        : find_from(segment, unit_inside(segment), lookup, NULL, out);
}

bole_status bl_segment_load(bl_segment *segment, uint64_t block, bole_error *error)
{
    bl_unit *unit;
    bole_status status = bl_unit_get(segment, false, &unit, error);
    if (status != BOLE_OK)
        return status;
    if (block != BL_SEGMENT_UNIT)
        status = bl_block_install(segment, unit, block, error);
    bl_unit_put(segment, unit);
    return status;
}

/* ---- When there is no room --------------------------------------------------------------------------- */

/* Search one block, from its frame when it has one, else from a private copy in `*block`. */
static bole_status search_privately(bl_segment *segment, const bl_unit *unit, const bl_lookup *lookup,
                                    uint64_t ordinal, bl_block_answer *answer, uint64_t *tag,
                                    bole_buffer *value, bole_error *error)
{
    size_t bytes = unit->index.frame_bytes[ordinal];
    uint8_t *private = NULL;
    bl_frame *frame = bl_block_pin(unit, ordinal, true);
    bole_status status = BOLE_OK;
    if (frame == NULL) {
        private = bl_alloc(bytes);
        if (private == NULL)
            return bl_fail(error, BOLE_NO_MEMORY, "block of %zu bytes of %s", bytes, segment->path);
        bl_memory_budget_force(segment->environment->budget, BL_MEMORY_WORK, bytes);
        uint64_t bytes_read = 0;
        status = bl_block_read(segment, unit, ordinal, private, &bytes_read, error);
        if (status == BOLE_OK)
            bl_frame_cache_count_load(segment->cache, bytes_read);
    }
    if (status == BOLE_OK) {
        bl_block_view view;
        bole_slice found;
        bl_block_view_init(&view, private != NULL ? private : (const uint8_t *)frame);
        *answer = bl_block_search(&view, lookup, tag, &found);
        if (*answer == BL_BLOCK_FOUND && !bl_buffer_assign(value, found.data, found.size))
            status = bl_fail(error, BOLE_NO_MEMORY, "value of %zu bytes", found.size);
    }
    if (private != NULL)
        bl_memory_budget_release(segment->environment->budget, BL_MEMORY_WORK, bytes);
    bl_free(private);
    bl_frame_unpin(frame);
    return status;
}

bole_status bl_segment_find_uncached(bl_segment *segment, const bl_lookup *lookup, uint64_t *tag,
                                     bole_buffer *value, bole_error *error)
{
    *tag = 0;
    value->size = 0;
    bl_unit *unit;
    bole_status status = bl_unit_get(segment, true, &unit, error);
    if (status != BOLE_OK)
        return status;
    bl_debug_assert(unit->ordered);
    bl_found found = { .filter = ask_filter(segment, unit, lookup) };
    status = BOLE_NOT_FOUND;
    if (found.filter != BL_FIND_FILTER_DENIED) {
        bl_block_answer answer = BL_BLOCK_CONTINUES;
        uint64_t block = bl_block_index_search(&unit->index, segment->comparator, lookup->key);
        status = BOLE_OK;
        for (; status == BOLE_OK && answer == BL_BLOCK_CONTINUES && block < unit->index.count; block++)
            status = search_privately(segment, unit, lookup, block, &answer, tag, value, error);
        if (status == BOLE_OK) {
            bl_find find = answer == BL_BLOCK_FOUND ? BL_FIND_FOUND : BL_FIND_ABSENT;
            if (finish(segment, find, &found) == BL_FIND_ABSENT)
                status = BOLE_NOT_FOUND;
        }
    }
    bl_unit_put(segment, unit);
    return status;
}
