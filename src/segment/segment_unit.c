/* SPDX-License-Identifier: MIT */
/* segment_unit.c -- the part of a segment that must be in memory to search it: block index, slots, filter.
 *
 * MEMORY      One piece of the page arena: bl_unit | index memory (aligned to BL_INDEX_ALIGNMENT) | filter
 *             section (aligned to a cache line). The index section is read into a buffer of its own, charged
 *             as work, and goes again once the index was made of it.
 *
 * INVARIANTS  (UNIT-1) A unit is published only after footer, sections and their agreement with the
 *                      manifest's meta were checked.
 *             (UNIT-2) One thread loads; the others wait outside their epochs, and share what it found.
 *             (UNIT-3) A segment's counters exist before a reader can see its unit.
 * THREADS     Any, outside an epoch.
 * NOT HERE    When a unit is evicted: frame_cache.c.   Blocks: block_reader.c. */
#include "segment/segment_state.h"

#include "base/alloc.h"
#include "base/assert.h"
#include "base/status.h"

#include <string.h>

static size_t aligned(size_t at, size_t to) { return (at + to - 1) & ~(to - 1); }

static bole_status make_counters(bl_segment *segment, bole_error *error)
{
    if (atomic_load_explicit(&segment->counts, memory_order_acquire) != NULL)
        return BOLE_OK;
    size_t bytes = BL_COUNT_STRIPES * sizeof(bl_segment_stripe);
    bl_segment_stripe *stripes = bl_alloc_aligned(_Alignof(bl_segment_stripe), bytes);
    if (stripes == NULL)
        return bl_fail(error, BOLE_NO_MEMORY, "counters of %s", segment->path);
    bl_segment_stripe *none = NULL;
    if (atomic_compare_exchange_strong(&segment->counts, &none, stripes)) {
        bl_memory_budget_force(segment->environment->budget, BL_MEMORY_INDEX, bytes);
        stripes = NULL;
    }
    bl_free(stripes); /* of two loads at once, a private and a published one, the first gives them */
    return BOLE_OK;
}

bole_status bl_segment_check_comparator(const bl_segment *segment, const bl_segment_footer *footer,
                                        bool whole, bool *ordered, bole_error *error)
{
    bool by_bytes = strcmp(footer->comparator_name, BL_COMPARATOR_BYTES_NAME) == 0;
    if (whole == by_bytes)
        return bl_corrupt(error, segment->path, BL_NO_OFFSET, "the index does not fit the comparator %s",
                          footer->comparator_name);
    if (segment->comparator != NULL && strcmp(footer->comparator_name, segment->comparator->name) != 0)
        return bl_fail(error, BOLE_COMPARATOR, "%s was written with the comparator %s, not %s", segment->path,
                       footer->comparator_name, segment->comparator->name);
    *ordered = (segment->comparator != NULL) == whole;
    return BOLE_OK;
}

/* ---- One piece of memory ----------------------------------------------------------------------------- */

typedef struct unit_layout {
    size_t index_at, index_bytes, filter_at, filter_bytes, bytes;
} unit_layout;

static bole_status lay_out(bl_segment *segment, bole_slice index_section, uint64_t index_offset,
                           uint64_t filter_bytes, unit_layout *out, bole_error *error)
{
    bole_status status = bl_block_index_measure(index_section, segment->path, index_offset, &out->index_bytes,
                                                error);
    if (status != BOLE_OK)
        return status;
    out->index_at = aligned(sizeof(bl_unit), BL_INDEX_ALIGNMENT);
    out->filter_at = aligned(out->index_at + out->index_bytes, BL_BLOOM_LINE_BYTES);
    out->filter_bytes = filter_bytes;
    out->bytes = out->filter_at + filter_bytes;
    return BOLE_OK;
}

/* Make the index in the unit's memory and compare it with what the manifest says. */
static bole_status make_index(bl_segment *segment, bl_unit *unit, const unit_layout *layout,
                              bole_slice section, uint64_t blocks_end, uint64_t offset, bole_error *error)
{
    bole_status status = bl_block_index_init(&unit->index, (uint8_t *)unit + layout->index_at,
                                             layout->index_bytes, section, BL_SEGMENT_HEADER_BYTES,
                                             blocks_end, segment->path, offset, error);
    if (status != BOLE_OK)
        return status;
    if (unit->index.count != segment->meta.blocks)
        return bl_corrupt(error, segment->path, offset, "the index has %llu blocks, the manifest says %llu",
                          (unsigned long long)unit->index.count, (unsigned long long)segment->meta.blocks);
    unit->index_bytes = layout->index_bytes;
    atomic_init(&unit->node.holders, 1);
    atomic_init(&unit->node.used, true);
    return BOLE_OK;
}

/* The filter's section stands in the unit's memory already. */
static bole_status make_filter(bl_segment *segment, bl_unit *unit, const unit_layout *layout, uint64_t offset,
                               bole_error *error)
{
    if (layout->filter_bytes == 0)
        return BOLE_OK;
    bole_slice section = bl_slice((const uint8_t *)unit + layout->filter_at, layout->filter_bytes);
    bole_status status = bl_bloom_filter_init(&unit->filter, section, segment->path, offset, error);
    unit->has_filter = status == BOLE_OK;
    unit->filter_bytes = layout->filter_bytes;
    return status;
}

/* ---- From the file ----------------------------------------------------------------------------------- */

static bole_status fill_from_file(bl_segment *segment, bole_file *file, const bl_segment_footer *footer,
                                  bool private, bole_slice index_section, bl_unit **out, bole_error *error)
{
    const bl_segment_section *index = bl_segment_footer_section(footer, BL_SECTION_INDEX);
    const bl_segment_section *filter = bl_segment_footer_section(footer, BL_SECTION_FILTER);
    unit_layout layout;
    bole_status status = lay_out(segment, index_section, index->offset, filter == NULL ? 0 : filter->length,
                                 &layout, error);
    if (status != BOLE_OK)
        return status;
    bl_unit_node *node;
    status = bl_frame_cache_take_unit(segment->cache, layout.bytes, private, &node, error);
    if (status != BOLE_OK)
        return status;
    bl_unit *unit = (bl_unit *)(void *)node;
    unit->compression = footer->compression;
    status = make_index(segment, unit, &layout, index_section, footer->blocks_end, index->offset, error);
    if (status == BOLE_OK)
        status = bl_segment_check_comparator(segment, footer, unit->index.whole, &unit->ordered, error);
    if (status == BOLE_OK && filter != NULL)
        status = bl_segment_section_read(file, segment->path, segment->meta.id, filter,
                                         (uint8_t *)unit + layout.filter_at, error);
    if (status == BOLE_OK && filter != NULL)
        status = make_filter(segment, unit, &layout, filter->offset, error);
    if (status != BOLE_OK) {
        bl_frame_cache_give_back_unit(segment->cache, node);
        return status;
    }
    *out = unit;
    return BOLE_OK;
}

/* The index section in a buffer that lives as long as this function. */
static bole_status read_index_then_fill(bl_segment *segment, bole_file *file, const bl_segment_footer *footer,
                                        bool private, bl_unit **out, bole_error *error)
{
    const bl_segment_section *index = bl_segment_footer_section(footer, BL_SECTION_INDEX);
    if (index == NULL)
        return bl_corrupt(error, segment->path, BL_NO_OFFSET, "the segment has no index");
    uint8_t *section = bl_alloc(index->length);
    if (section == NULL)
        return bl_fail(error, BOLE_NO_MEMORY, "index of %s", segment->path);
    bl_memory_budget_force(segment->environment->budget, BL_MEMORY_WORK, index->length);
    bole_status status = bl_segment_section_read(file, segment->path, segment->meta.id, index, section,
                                                 error);
    if (status == BOLE_OK)
        status = fill_from_file(segment, file, footer, private, bl_slice(section, index->length), out, error);
    bl_memory_budget_release(segment->environment->budget, BL_MEMORY_WORK, index->length);
    bl_free(section);
    return status;
}

static bole_status load(bl_segment *segment, bool private, bl_unit **out, bole_error *error)
{
    *out = NULL;
    bole_status status = make_counters(segment, error);
    if (status != BOLE_OK)
        return status;
    bl_descriptor_cache *descriptors = segment->environment->descriptors;
    bole_file *file;
    status = bl_descriptor_use(descriptors, &segment->descriptor, segment->path, &file, error);
    if (status != BOLE_OK)
        return status;
    bl_segment_footer footer;
    status = bl_segment_footer_read_file(file, segment->path, &footer, error);
    if (status == BOLE_OK) {
        status = bl_segment_footer_check_meta(&footer, &segment->meta, segment->path, error);
        if (status == BOLE_OK)
            status = read_index_then_fill(segment, file, &footer, private, out, error);
        bl_segment_footer_deinit(&footer);
    }
    bl_descriptor_done(descriptors, &segment->descriptor);
    return status;
}

static void publish(bl_segment *segment, bl_unit *unit)
{
    if (bl_segment_meta_holds_values(&segment->meta))
        bl_frame_cache_make_hints(segment->cache);
    bl_frame_cache_publish_unit(segment->cache, &unit->node, &segment->unit);
}

/* ---- Held -------------------------------------------------------------------------------------------- */

bl_unit *bl_unit_hold_present(bl_segment *segment)
{
    bl_epoch_enter();
    bl_unit_node *node = atomic_load_explicit(&segment->unit, memory_order_acquire);
    if (node != NULL && !bl_unit_hold(node))
        node = NULL; /* on its way out */
    bl_epoch_leave();
    return (bl_unit *)(void *)node;
}

/* Wait until nobody loads; true when this thread is the one to load now, else *out may hold what another
 * loaded. */
static bool begin_load(bl_segment *segment, bl_unit **out)
{
    bl_load_queue *queue = bl_frame_cache_queue(segment->cache, segment);
    bool shared = false;
    bl_mutex_lock(&queue->mutex);
    while (segment->unit_loading) {
        if (!shared) {
            BL_MARK("an index's load is shared");
            bl_frame_cache_count_shared(segment->cache);
        }
        shared = true;
        bl_condition_wait(&queue->done, &queue->mutex);
    }
    *out = bl_unit_hold_present(segment);
    if (*out == NULL)
        segment->unit_loading = true;
    bl_mutex_unlock(&queue->mutex);
    return *out == NULL;
}

static void end_load(bl_segment *segment)
{
    bl_load_queue *queue = bl_frame_cache_queue(segment->cache, segment);
    bl_mutex_lock(&queue->mutex);
    segment->unit_loading = false;
    bl_condition_wake_all(&queue->done);
    bl_mutex_unlock(&queue->mutex);
}

bole_status bl_unit_get(bl_segment *segment, bool force, bl_unit **out, bole_error *error)
{
    bl_debug_assert(!bl_epoch_inside());
    *out = bl_unit_hold_present(segment);
    if (*out != NULL || !begin_load(segment, out))
        return BOLE_OK;
    bl_point(segment->environment->scheduler, "load index");
    bole_status status = load(segment, false, out, error);
    if (status == BOLE_OK)
        publish(segment, *out);
    end_load(segment);
    if (status == BOLE_MEMORY_PINNED && force)
        return bl_unit_load_private(segment, out, error);
    return status;
}

bole_status bl_unit_load_private(bl_segment *segment, bl_unit **out, bole_error *error)
{
    BL_MARK("a unit of one's own");
    return load(segment, true, out, error);
}

void bl_unit_put(bl_segment *segment, bl_unit *unit)
{
    if (unit->node.place == NULL)
        bl_frame_cache_give_back_unit(segment->cache, &unit->node);
    else
        bl_unit_let_go(&unit->node);
}

bole_status bl_unit_build(bl_segment *segment, const bl_segment_built *built, bl_unit **out,
                          bole_error *error)
{
    *out = NULL;
    bole_status status = make_counters(segment, error);
    if (status != BOLE_OK)
        return status;
    unit_layout layout;
    status = lay_out(segment, built->index_section, BL_NO_OFFSET, built->filter_section.size, &layout, error);
    if (status != BOLE_OK)
        return status;
    bl_unit_node *node;
    status = bl_frame_cache_take_unit(segment->cache, layout.bytes, false, &node, error);
    if (status == BOLE_MEMORY_PINNED)
        return BOLE_OK; /* a cold handle will do */
    if (status != BOLE_OK)
        return status;
    bl_unit *unit = (bl_unit *)(void *)node;
    unit->compression = built->compression;
    if (layout.filter_bytes != 0)
        memcpy((uint8_t *)unit + layout.filter_at, built->filter_section.data, layout.filter_bytes);
    status = make_index(segment, unit, &layout, built->index_section, built->blocks_end, BL_NO_OFFSET, error);
    if (status == BOLE_OK)
        status = make_filter(segment, unit, &layout, BL_NO_OFFSET, error);
    if (status != BOLE_OK) {
        bl_frame_cache_give_back_unit(segment->cache, node);
        return status;
    }
    unit->ordered = true;
    bl_assert(unit->index.whole == (segment->comparator != NULL));
    publish(segment, unit);
    *out = unit;
    return BOLE_OK;
}
