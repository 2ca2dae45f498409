/* SPDX-License-Identifier: MIT */
/* segment_salvage.c -- a segment is read past its damage, block by block.
 *
 * WITH INDEX  Footer and index are whole: they say where each block is and between which separators its keys lie.
 *             A block that does not load is a loss of that range.
 * WITHOUT     The blocks say themselves how long they are, and their checksums where they are: from the end of each
 *             good block the next one is looked for at every byte. Between two good blocks with bytes in between that
 *             are not zero something is lost; behind the last one nobody knows.
 *             The file's id, which all checksums start from, comes from the manifest, the header or the tail.
 * INVARIANTS  (SALVAGE-1) Only what verifies with the file's id at its place, and is a valid block, is shown.
 *             (SALVAGE-2) Memory: one block, 16 bytes for each block, and the index; lengths are bounded by the file.
 *             (SALVAGE-3) The search hashes at most SEARCH_FACTOR times the bytes it looks through, and gives up there.
 *             (SALVAGE-4) A read that fails is a loss like any other: a disk that goes bad fails reads.
 * THREADS     One at a time.
 * NOT HERE    Which segments count, and what their entries mean: tools/repair.c. */
#include "segment/segment_salvage.h"

#include "base/alloc.h"
#include "base/assert.h"
#include "base/status.h"
#include "segment/block.h"
#include "segment/block_index.h"

#include <string.h>

enum { PROBE_BYTES = 64 * 1024, SEARCH_FACTOR = 64 };

typedef struct place { /* of a good block */
    uint64_t offset;
    uint32_t stored_bytes, frame_bytes; /* both with the header */
} place;

struct bl_segment_salvage {
    bole_vfs *vfs;
    char *path;
    bole_file *file;
    uint64_t length;
    uint64_t seed;
    bl_segment_footer footer;
    bool has_footer;
    bl_segment_salvaged found;
    place *places;
    uint64_t place_capacity;
    bole_buffer first, last;
    uint8_t *stored, *frame; /* of one block */
    size_t stored_capacity, frame_capacity;
    /* where next stands */
    uint64_t block;
    uint32_t entry;
    bl_block_view view;
    bole_buffer key;
};

/* What a survey tells of. */
typedef struct survey {
    bl_segment_salvage *salvage;
    bl_segment_loss_visit visit;
    void *context;
    bole_error *error;
} survey;

/* ---- Bytes --------------------------------------------------------------------------------------------------- */

static bole_status read_at(bl_segment_salvage *salvage, uint64_t offset, void *out, size_t size,
                           bole_error *error)
{
    size_t got = 0;
    bole_status status = BOLE_OK;
    if (offset <= salvage->length && size <= salvage->length - offset)
        status = salvage->vfs->read(salvage->file, offset, out, size, &got, error);
    if (status == BOLE_OK && got != size)
        status = bl_corrupt(error, salvage->path, offset + got, "the file ends before");
    return status;
}

static bole_status grow(uint8_t **memory, size_t *capacity, size_t wanted, bole_error *error)
{
    if (wanted <= *capacity)
        return BOLE_OK;
    uint8_t *grown = bl_realloc(*memory, wanted);
    if (grown == NULL)
        return bl_fail(error, BOLE_NO_MEMORY, "a block of %zu bytes", wanted);
    *memory = grown;
    *capacity = wanted;
    return BOLE_OK;
}

/* Load one block into salvage->frame. What it says of its frame counts once its checksum is right. */
static bole_status load(bl_segment_salvage *salvage, const place *at, bole_error *error)
{
    bl_block_header header;
    bl_assert(at->offset <= salvage->length && at->stored_bytes <= salvage->length - at->offset);
    bole_status status = grow(&salvage->stored, &salvage->stored_capacity, at->stored_bytes, error);
    if (status == BOLE_OK)
        status = read_at(salvage, at->offset, salvage->stored, at->stored_bytes, error);
    if (status == BOLE_OK)
        status = bl_block_verify(salvage->stored, at->stored_bytes, salvage->seed, salvage->path, at->offset,
                                 &header, error);
    if (status == BOLE_OK)
        status = grow(&salvage->frame, &salvage->frame_capacity, at->frame_bytes, error);
    if (status == BOLE_OK)
        status = bl_block_load(salvage->stored, at->stored_bytes, salvage->frame, at->frame_bytes,
                               salvage->seed, salvage->path, at->offset, error);
    return status;
}

static bole_status show_key(bl_segment_salvage *salvage, uint32_t index, bole_buffer *out, bole_error *error)
{
    if (!bl_buffer_reserve(out, (size_t)salvage->view.longest_key + 8))
        return bl_fail(error, BOLE_NO_MEMORY, "a key of %s", salvage->path);
    out->size = bl_block_key(&salvage->view, index, out->data).size;
    return BOLE_OK;
}

/* The block in salvage->frame is good: count it, keep its place and the keys at both ends. */
static bole_status keep(bl_segment_salvage *salvage, const place *at, bole_error *error)
{
    bl_segment_salvaged *found = &salvage->found;
    if (found->blocks == salvage->place_capacity) {
        uint64_t capacity = salvage->place_capacity == 0 ? 64 : 2 * salvage->place_capacity;
        place *grown = bl_realloc(salvage->places, capacity * sizeof(grown[0]));
        if (grown == NULL)
            return bl_fail(error, BOLE_NO_MEMORY, "places of the blocks of %s", salvage->path);
        salvage->places = grown;
        salvage->place_capacity = capacity;
    }
    bl_block_view_init(&salvage->view, salvage->frame);
    bole_status status = found->blocks == 0 ? show_key(salvage, 0, &salvage->first, error) : BOLE_OK;
    if (status == BOLE_OK)
        status = show_key(salvage, salvage->view.count - 1, &salvage->last, error);
    if (status != BOLE_OK)
        return status;
    salvage->places[found->blocks++] = *at;
    found->entries += salvage->view.count;
    return BOLE_OK;
}

static bole_status lose(const survey *on, uint64_t offset, uint64_t bytes, bole_slice after, bole_slice upto,
                        const char *why)
{
    bl_segment_loss loss = { offset, bytes, after, upto, why };
    on->salvage->found.losses++;
    return on->visit(on->context, &loss, on->error);
}

static bole_slice slice_of(const bole_buffer *buffer)
{
    static const uint8_t empty[1] = { 0 }; /* an empty key is a key, not an open end */
    return bl_slice(buffer->data == NULL ? empty : buffer->data, buffer->size);
}

/* ---- With the index -------------------------------------------------------------------------------------------- */

static bole_status survey_block(const survey *on, const bl_block_index *index, uint64_t i, bole_buffer *after,
                                bole_buffer *upto)
{
    bl_segment_salvage *salvage = on->salvage;
    place at = { index->offsets[i], index->stored_bytes[i], index->frame_bytes[i] };
    bole_error story = BOLE_ERROR_INIT;
    bole_status status = load(salvage, &at, &story);
    if (status == BOLE_OK)
        return keep(salvage, &at, on->error);
    if (status == BOLE_NO_MEMORY)
        return bl_fail(on->error, status, "%s", story.message);
    after->size = upto->size = 0;
    if ((i > 0 && !bl_block_index_separator(index, i - 1, after)) ||
        !bl_block_index_separator(index, i, upto))
        return bl_fail(on->error, BOLE_NO_MEMORY, "separators of %s", salvage->path);
    return lose(on, at.offset, at.stored_bytes, i > 0 ? slice_of(after) : bl_slice(NULL, 0), slice_of(upto),
                story.message);
}

/* BOLE_CORRUPT: the index cannot be used. */
static bole_status survey_index(const survey *on)
{
    bl_segment_salvage *salvage = on->salvage;
    const bl_segment_section *section = bl_segment_footer_section(&salvage->footer, BL_SECTION_INDEX);
    if (section == NULL || section->length > salvage->length ||
        salvage->footer.blocks_end > salvage->length) /* it grew since its length was asked for */
        return BOLE_CORRUPT;
    bole_buffer bytes = BOLE_BUFFER_INIT, after = BOLE_BUFFER_INIT, upto = BOLE_BUFFER_INIT;
    void *memory = NULL;
    size_t memory_bytes = 0;
    bl_block_index index;
    bole_error story = BOLE_ERROR_INIT;
    bole_status status = BOLE_NO_MEMORY;
    if (bl_buffer_reserve(&bytes, section->length)) {
        bytes.size = section->length;
        status = bl_segment_section_read(salvage->file, salvage->path, salvage->found.id, section, bytes.data,
                                         &story);
    }
    bole_slice read = bl_slice(bytes.data, bytes.size);
    if (status == BOLE_OK)
        status = bl_block_index_measure(read, salvage->path, section->offset, &memory_bytes, &story);
    if (status == BOLE_OK && (memory = bl_alloc_aligned(BL_INDEX_ALIGNMENT, memory_bytes)) == NULL)
        status = BOLE_NO_MEMORY;
    if (status == BOLE_OK)
        status = bl_block_index_init(&index, memory, memory_bytes, read, BL_SEGMENT_HEADER_BYTES,
                                     salvage->footer.blocks_end, salvage->path, section->offset, &story);
    if (status == BOLE_OK) {
        for (uint64_t i = 0; i < index.count && status == BOLE_OK; i++)
            status = survey_block(on, &index, i, &after, &upto);
    } else if (status != BOLE_NO_MEMORY) {
        status = BOLE_CORRUPT;
    } else {
        status = bl_fail(on->error, BOLE_NO_MEMORY, "index of %s", salvage->path);
    }
    bl_free(memory);
    bole_buffer_free(&bytes);
    bole_buffer_free(&after);
    bole_buffer_free(&upto);
    return status;
}

/* ---- Without it ------------------------------------------------------------------------------------------------ */

/* A window of the file that probes share. */
typedef struct window {
    uint8_t bytes[PROBE_BYTES];
    uint64_t start;
    size_t size;
} window;

/* BL_BLOCK_HEADER_BYTES at `offset`, or NULL when they cannot be read. */
static const uint8_t *probe(bl_segment_salvage *salvage, window *w, uint64_t offset)
{
    if (offset < w->start || offset + BL_BLOCK_HEADER_BYTES > w->start + w->size) {
        uint64_t rest = salvage->length - offset;
        size_t size = rest < PROBE_BYTES ? (size_t)rest : PROBE_BYTES;
        w->start = offset;
        w->size = 0;
        if (read_at(salvage, offset, w->bytes, size, NULL) != BOLE_OK)
            return NULL;
        w->size = size;
    }
    return w->bytes + (offset - w->start);
}

/* The next good block at or behind *offset, loaded. BOLE_NOT_FOUND: there is none, or looking further costs too
 * much. */
static bole_status find_block(bl_segment_salvage *salvage, window *w, uint64_t *offset, uint64_t *allowance,
                              place *out, bool *zero, bole_error *error)
{
    bole_error story = BOLE_ERROR_INIT;
    *zero = true; /* all bytes passed over so far */
    for (; *offset + BL_BLOCK_HEADER_BYTES < salvage->length; ++*offset) {
        const uint8_t *bytes = probe(salvage, w, *offset);
        bl_block_header header;
        if (bytes == NULL) { /* a place that cannot be read: try behind it */
            *zero = false;
            *offset += 511;
            continue;
        }
        if (bl_block_header_read(bytes, salvage->path, *offset, &header, NULL) == BOLE_OK &&
            header.stored_bytes <= salvage->length - *offset - BL_BLOCK_HEADER_BYTES) {
            *out = (place){ *offset, BL_BLOCK_HEADER_BYTES + header.stored_bytes,
                            BL_BLOCK_HEADER_BYTES + header.raw_bytes };
            if (out->stored_bytes > *allowance)
                return BOLE_NOT_FOUND;
            *allowance -= out->stored_bytes;
            bole_status status = load(salvage, out, &story);
            if (status == BOLE_OK)
                return BOLE_OK;
            if (status == BOLE_NO_MEMORY) /* no sign that it is none */
                return bl_fail(error, status, "%s", story.message);
        }
        *zero = *zero && bytes[0] == 0;
    }
    return BOLE_NOT_FOUND;
}

static bole_status survey_blocks(const survey *on)
{
    bl_segment_salvage *salvage = on->salvage;
    window *w = bl_new(window);
    bole_buffer after = BOLE_BUFFER_INIT;
    if (w == NULL)
        return bl_fail(on->error, BOLE_NO_MEMORY, "window on %s", salvage->path);
    uint64_t offset = BL_SEGMENT_HEADER_BYTES, allowance = SEARCH_FACTOR * salvage->length + (1u << 20);
    bole_status status = BOLE_OK;
    place at;
    bool zero;
    for (;;) {
        uint64_t from = offset;
        bool has_last = salvage->found.blocks > 0;
        status = offset >= salvage->length
                     ? BOLE_NOT_FOUND
                     : find_block(salvage, w, &offset, &allowance, &at, &zero, on->error);
        if (status != BOLE_OK)
            break;
        after.size = 0;
        if (has_last && !bl_buffer_append(&after, salvage->last.data, salvage->last.size))
            status = bl_fail(on->error, BOLE_NO_MEMORY, "a key of %s", salvage->path);
        if (status == BOLE_OK)
            status = keep(salvage, &at, on->error);
        if (status == BOLE_OK && !zero) { /* `view` shows the block behind the gap */
            status = show_key(salvage, 0, &salvage->key, on->error);
            if (status == BOLE_OK)
                status = lose(on, from, offset - from, has_last ? slice_of(&after) : bl_slice(NULL, 0),
                              slice_of(&salvage->key), "what stands here is no block, and the index is lost");
        }
        if (status != BOLE_OK)
            break;
        offset = at.offset + at.stored_bytes;
    }
    salvage->found.open_ended = true;
    bole_buffer_free(&after);
    bl_free(w);
    return status == BOLE_NOT_FOUND ? BOLE_OK : status;
}

/* ---- Opening --------------------------------------------------------------------------------------------------- */

/* The file's id, by the header or the tail, as far as they are what they were. */
static bool find_id(bl_segment_salvage *salvage, bl_id *out, bool *holds_values)
{
    uint8_t header[BL_SEGMENT_HEADER_BYTES], tail[BL_SEGMENT_TAIL_BYTES];
    uint64_t at = salvage->length - BL_SEGMENT_TAIL_BYTES;
    if (read_at(salvage, 0, header, sizeof header, NULL) == BOLE_OK) {
        memcpy(out->bytes, header + 24, BL_ID_BYTES);
        if (bl_checksum(bl_checksum_seed(*out), 0, header, 4088) == bl_get_u64(header + 4088)) {
            *holds_values = bl_segment_header_holds_values(header);
            return true;
        }
    }
    if (salvage->length >= sizeof tail && read_at(salvage, at, tail, sizeof tail, NULL) == BOLE_OK) {
        memcpy(out->bytes, tail + 24, BL_ID_BYTES);
        return bl_checksum(bl_checksum_seed(*out), at, tail, 48) == bl_get_u64(tail + 48);
    }
    return false;
}

static bole_status look_through(bl_segment_salvage *salvage, const bl_segment_meta *known,
                                bl_segment_loss_visit visit, void *context, bole_error *error)
{
    survey on = { salvage, visit, context, error };
    bl_segment_salvaged *found = &salvage->found;
    bole_status status = bl_segment_footer_read_file(salvage->file, salvage->path, &salvage->footer, NULL);
    salvage->has_footer = status == BOLE_OK &&
                          (known == NULL || bl_id_equal(known->id, salvage->footer.meta.id));
    if (status == BOLE_OK && !salvage->has_footer)
        bl_segment_footer_deinit(&salvage->footer);
    if (status == BOLE_NO_MEMORY)
        return bl_fail(error, status, "footer of %s", salvage->path);
    if (known != NULL)
        found->id = known->id;
    else if (salvage->has_footer)
        found->id = salvage->footer.meta.id;
    else if (!find_id(salvage, &found->id, &found->holds_values))
        return bl_corrupt(error, salvage->path, 0,
                          "header and end are damaged: nothing says which file this was");
    if (known != NULL || salvage->has_footer)
        found->holds_values = bl_segment_meta_holds_values(known != NULL ? known : &salvage->footer.meta);
    salvage->seed = bl_checksum_seed(found->id);
    status = salvage->has_footer ? survey_index(&on) : BOLE_CORRUPT;
    if (status == BOLE_CORRUPT)
        status = survey_blocks(&on);
    const bl_segment_meta *meta = salvage->has_footer ? &salvage->footer.meta : known;
    uint64_t blocks = meta == NULL ? 0 : meta->blocks, entries = meta == NULL ? 0 : meta->entries;
    if (found->open_ended && found->blocks == blocks && found->entries == entries)
        found->open_ended = false;
    found->complete = found->losses == 0 && !found->open_ended && found->blocks == blocks &&
                      found->entries == entries;
    if (status == BOLE_OK && found->open_ended &&
        blocks != 0) /* some are missing: behind the last good one */
        status = lose(&on, found->blocks == 0 ? 0 : salvage->places[found->blocks - 1].offset, 0,
                      found->blocks == 0 ? bl_slice(NULL, 0) : slice_of(&salvage->last), meta->largest,
                      "blocks behind the last good one are lost");
    return status;
}

bole_status bl_segment_salvage_open(bole_vfs *vfs, const char *path, const bl_segment_meta *known,
                                    bl_segment_loss_visit visit, void *context, bl_segment_salvage **out,
                                    bole_error *error)
{
    *out = NULL;
    bl_segment_salvage *salvage = bl_new(bl_segment_salvage);
    if (salvage == NULL || (salvage->path = bl_string_copy(path)) == NULL) {
        bl_free(salvage);
        return bl_fail(error, BOLE_NO_MEMORY, "salvage of %s", path);
    }
    salvage->vfs = vfs;
    bole_status status = vfs->open(vfs, path, BOLE_VFS_READ, &salvage->file, error);
    if (status != BOLE_OK) {
        salvage->file = NULL;
        goto fail;
    }
    status = vfs->length(salvage->file, &salvage->length, error);
    if (status == BOLE_OK)
        status = look_through(salvage, known, visit, context, error);
    if (status != BOLE_OK)
        goto fail;
    (void)vfs->close(salvage->file, NULL);
    salvage->file = NULL;
    *out = salvage;
    return BOLE_OK;
fail:
    bl_segment_salvage_close(salvage);
    return status;
}

void bl_segment_salvage_close(bl_segment_salvage *salvage)
{
    if (salvage == NULL)
        return;
    if (salvage->file != NULL)
        (void)salvage->vfs->close(salvage->file, NULL);
    if (salvage->has_footer)
        bl_segment_footer_deinit(&salvage->footer);
    bole_buffer_free(&salvage->first);
    bole_buffer_free(&salvage->last);
    bole_buffer_free(&salvage->key);
    bl_free(salvage->places);
    bl_free(salvage->stored);
    bl_free(salvage->frame);
    bl_free(salvage->path);
    bl_free(salvage);
}

void bl_segment_salvage_describe(const bl_segment_salvage *salvage, bl_segment_salvaged *out)
{
    *out = salvage->found;
    out->footer = salvage->has_footer ? &salvage->footer : NULL;
    out->first = slice_of(&salvage->first);
    out->last = slice_of(&salvage->last);
}

/* ---- Values --------------------------------------------------------------------------------------------------- */

void bl_segment_salvage_rest(bl_segment_salvage *salvage)
{
    if (salvage->file != NULL)
        (void)salvage->vfs->close(salvage->file, NULL);
    salvage->file = NULL;
}

bole_status bl_segment_salvage_value(bl_segment_salvage *salvage, const bl_value_pointer *pointer,
                                     bole_slice key, bole_slice *value, bole_error *error)
{
    uint64_t low = 0, high = salvage->found.blocks;
    while (low < high) {
        uint64_t middle = low + (high - low) / 2;
        if (salvage->places[middle].offset < pointer->offset)
            low = middle + 1;
        else
            high = middle;
    }
    if (low == salvage->found.blocks || salvage->places[low].offset != pointer->offset)
        return BOLE_NOT_FOUND;
    bole_status status = BOLE_OK;
    if (salvage->file == NULL)
        status = salvage->vfs->open(salvage->vfs, salvage->path, BOLE_VFS_READ, &salvage->file, error);
    if (status == BOLE_OK)
        status = load(salvage, &salvage->places[low], error);
    if (status != BOLE_OK)
        return status == BOLE_NO_MEMORY ? status : BOLE_NOT_FOUND;
    bl_block_view view;
    bl_block_view_init(&view, salvage->frame);
    if (view.count != 1 || bl_tag_kind(bl_block_tag(&view, 0)) != BL_KIND_PUT ||
        !bl_block_holds_key(&view, key))
        return BOLE_NOT_FOUND;
    *value = bl_block_value(&view, 0);
    return value->size == pointer->bytes ? BOLE_OK : BOLE_NOT_FOUND;
}

/* ---- Reading --------------------------------------------------------------------------------------------------- */

static bole_status next_block(bl_segment_salvage *salvage, bole_error *error)
{
    if (salvage->block == salvage->found.blocks) {
        bl_segment_salvage_rest(salvage);
        return BOLE_NOT_FOUND;
    }
    bole_status status = BOLE_OK;
    if (salvage->file == NULL)
        status = salvage->vfs->open(salvage->vfs, salvage->path, BOLE_VFS_READ, &salvage->file, error);
    if (status == BOLE_OK)
        status = load(salvage, &salvage->places[salvage->block], error);
    if (status == BOLE_NOT_FOUND)
        status = bl_corrupt(error, salvage->path, BL_NO_OFFSET, "the segment went away");
    if (status != BOLE_OK)
        return status;
    bl_block_view_init(&salvage->view, salvage->frame);
    salvage->block++;
    salvage->entry = 0;
    return BOLE_OK;
}

bole_status bl_segment_salvage_next(bl_segment_salvage *salvage, bole_slice *key, uint64_t *tag,
                                    bole_slice *value, bole_error *error)
{
    if (salvage->block == 0 || salvage->entry == salvage->view.count) {
        bole_status status = next_block(salvage, error);
        if (status != BOLE_OK)
            return status;
    }
    bole_status status = show_key(salvage, salvage->entry, &salvage->key, error);
    if (status != BOLE_OK)
        return status;
    *key = slice_of(&salvage->key);
    *tag = bl_block_tag(&salvage->view, salvage->entry);
    *value = bl_block_value(&salvage->view, salvage->entry);
    salvage->entry++;
    return BOLE_OK;
}
