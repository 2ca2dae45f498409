/* SPDX-License-Identifier: MIT */
/* fuzz_block.c -- a block of a segment: any bytes.
 *
 * INPUT       u8 flags (FUZZ_MEND), u8 place (offset in 4 KiB), then the block as it stands in a file.
 * CHECKED     A block that loads reads the same by index and by cursor, forward and backward. When its entries are in
 *             order, each is found by a search, and a block built of them reads the same. Memory follows from the
 *             input and the header's bounded ratio of compression. */
#include "fuzz.h"

#include "base/alloc.h"
#include "base/hash.h"
#include "segment/block.h"
#include "segment/block_builder.h"
#include "segment/compression.h"

#include <string.h>

static const bl_id file_id = { { 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16 } };
static const char *const file_name = "000012.seg";

static void check_same(const bl_cursor *cursor, const bl_block_view *view, uint8_t *key_buffer)
{
    uint32_t i = cursor->index;
    fuzz_check(bl_slice_equal(bl_block_key(view, i, key_buffer), cursor->key));
    fuzz_check(bl_slice_equal(bl_block_value(view, i), cursor->value));
    fuzz_check(bl_block_tag(view, i) == cursor->tag);
    fuzz_check(cursor->key.size <= view->longest_key);
    fuzz_check(cursor->head == bl_head64(cursor->key.data, cursor->key.size, 0));
}

static void check_cursor(const bl_block_view *view, uint8_t *key_buffer)
{
    bl_cursor cursor = { .key_buffer = bl_alloc(view->longest_key + BL_CURSOR_KEY_SLACK) };
    fuzz_check(cursor.key_buffer != NULL);
    bl_block_window(view, &cursor);
    fuzz_check(cursor.count == view->count);
    bl_cursor_decode(&cursor);
    check_same(&cursor, view, key_buffer);
    while (cursor.index + 1 < view->count) {
        bl_cursor_next(&cursor);
        check_same(&cursor, view, key_buffer);
    }
    while (cursor.index > 0) {
        bl_cursor_prev(&cursor);
        check_same(&cursor, view, key_buffer);
    }
    bl_free(cursor.key_buffer);
}

static void check_search(const bl_block_view *view, uint8_t *key_buffer)
{
    uint32_t first = 0; /* newest version of the present key */
    uint8_t *first_buffer = bl_alloc(view->longest_key + 8);
    fuzz_check(first_buffer != NULL);
    for (uint32_t i = 0; i < view->count; i++) {
        bole_slice key = bl_block_key(view, i, key_buffer);
        if (i == 0 || !bl_slice_equal(key, bl_block_key(view, first, first_buffer)))
            first = i;
        fuzz_check(bl_block_lower_bound(view, NULL, key) == first);
        uint64_t sequence = bl_tag_sequence(bl_block_tag(view, i)) + 1, tag = 0;
        bole_slice value;
        bl_lookup lookup = { .key = key, .hash = bl_hash(key.data, key.size), .sequence = sequence };
        fuzz_check(bl_block_search(view, &lookup, &tag, &value) == BL_BLOCK_FOUND);
        /* Two kinds at one sequence: the higher kind comes first. */
        fuzz_check(bl_tag_sequence(tag) == sequence - 1 && tag >= bl_block_tag(view, i));
        fuzz_check(tag != bl_block_tag(view, i) || bl_slice_equal(value, bl_block_value(view, i)));
    }
    bl_free(first_buffer);
}

/* What was read goes into a new block, which must read the same. */
static void check_rebuilt(const bl_block_view *view, uint8_t *key_buffer)
{
    bl_block_builder builder;
    bole_error error = BOLE_ERROR_INIT;
    fuzz_check_ok(bl_block_builder_init(&builder, NULL, &error), &error);
    uint8_t *other_buffer = bl_alloc(view->longest_key + 8), *frame = NULL;
    fuzz_check(other_buffer != NULL);
    bl_block_added added = BL_BLOCK_ADDED;
    for (uint32_t i = 0; i < view->count && added == BL_BLOCK_ADDED; i++) {
        bole_slice key = bl_block_key(view, i, key_buffer);
        added = bl_block_builder_add(&builder, key, bl_hash(key.data, key.size), bl_block_tag(view, i),
                                     bl_block_value(view, i), BL_BLOCK_LIMIT_MAX);
    }
    fuzz_check(added == BL_BLOCK_ADDED || added == BL_BLOCK_FULL);
    if (added == BL_BLOCK_ADDED) {
        size_t size = bl_block_builder_size(&builder);
        bl_block_view again;
        frame = bl_alloc(size);
        fuzz_check(frame != NULL);
        bl_block_builder_finish(&builder, frame);
        fuzz_check_ok(bl_block_validate(frame, size, true, NULL, file_name, 0, &error), &error);
        bl_block_view_init(&again, frame);
        fuzz_check(again.count == view->count && again.longest_key == view->longest_key);
        for (uint32_t i = 0; i < view->count; i++) {
            fuzz_check(
                bl_slice_equal(bl_block_key(view, i, key_buffer), bl_block_key(&again, i, other_buffer)));
            fuzz_check(bl_slice_equal(bl_block_value(view, i), bl_block_value(&again, i)));
            fuzz_check(bl_block_tag(view, i) == bl_block_tag(&again, i));
        }
    }
    bl_free(frame);
    bl_free(other_buffer);
    bl_block_builder_deinit(&builder);
}

static void check_frame(const uint8_t *frame, size_t size)
{
    bole_error error = BOLE_ERROR_INIT;
    bl_block_view view;
    bl_block_view_init(&view, frame);
    uint8_t *key_buffer = bl_alloc(view.longest_key + 8);
    fuzz_check(key_buffer != NULL);
    check_cursor(&view, key_buffer);
    bole_status status = bl_block_validate(frame, size, true, NULL, file_name, 0, &error);
    fuzz_check(status == BOLE_OK || status == BOLE_CORRUPT);
    if (status == BOLE_OK) {
        check_search(&view, key_buffer);
        check_rebuilt(&view, key_buffer);
    }
    bl_free(key_buffer);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    fuzz_input input = { data, size };
    uint8_t flags = fuzz_u8(&input);
    uint64_t offset = (uint64_t)fuzz_u8(&input) * 4096;
    size_t stored_size = input.size;
    bole_error error = BOLE_ERROR_INIT;
    bl_block_header header;
    fuzz_memory_begin();
    uint8_t *stored = bl_memory_copy(input.data, stored_size), *frame = NULL;
    uint64_t seed = bl_checksum_seed(file_id);
    fuzz_check(stored != NULL);
    if (stored_size >= BL_BLOCK_HEADER_BYTES && (flags & FUZZ_MEND) != 0) {
        bl_put_u32(stored + 8, (uint32_t)(stored_size - BL_BLOCK_HEADER_BYTES));
        bl_block_seal(stored, seed, offset);
    }
    bole_status status = bl_block_verify(stored, stored_size, seed, file_name, offset, &header, &error);
    size_t frame_size = status == BOLE_OK ? (size_t)header.raw_bytes + BL_BLOCK_HEADER_BYTES : 0;
    if (status == BOLE_OK) {
        frame = bl_alloc(frame_size);
        fuzz_check(frame != NULL);
        status = bl_block_load(stored, stored_size, frame, frame_size, seed, file_name, offset, &error);
    }
    fuzz_check(status == BOLE_OK || status == BOLE_CORRUPT || status == BOLE_UNSUPPORTED);
    fuzz_check(status == BOLE_OK || error.message[0] != '\0');
    fuzz_check(frame_size <= (1 << 20) + BL_BLOCK_HEADER_BYTES || frame_size / 256 <= stored_size);
    if (status == BOLE_OK)
        check_frame(frame, frame_size);
    bl_free(frame);
    bl_free(stored);
    bl_compression_release();
    /* The frame itself, its entries in the builder (24 bytes each at two bytes of input), and a built block. */
    fuzz_memory_end(size + frame_size, 64, 1 << 20);
    return 0;
}
