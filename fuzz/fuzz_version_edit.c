/* SPDX-License-Identifier: MIT */
/* fuzz_version_edit.c -- one edit of the manifest, as bytes.
 *
 * INPUT       The bytes of an edit.
 * CHECKED     Decoding allocates at most seven times the bytes. What decodes is described, encodes, decodes to what is
 *             described the same, and encodes to the same bytes again. What a state takes as its first edit, it has
 *             afterwards. */
#include "fuzz.h"

#include "base/buffer.h"
#include "version/manifest_state.h"

#include <string.h>

static const char *const file_name = "manifest-000001";

/* No bytes at all are an edit that says nothing. */
static bole_status decode(const void *data, size_t size, bl_decoded_edit *out, bole_error *error)
{
    return bl_version_edit_decode((bole_slice){ size == 0 ? "" : data, size }, file_name, 72, out, error);
}

static void describe(const bl_version_edit *edit, bole_buffer *out)
{
    bole_error error = BOLE_ERROR_INIT;
    fuzz_check_ok(bl_version_edit_describe(edit, out, &error), &error);
}

static bool same_bytes(const bole_buffer *a, const bole_buffer *b)
{
    return a->size == b->size && (a->size == 0 || memcmp(a->data, b->data, a->size) == 0);
}

/* Every part of the edit is in the state that took it. */
static void check_state(const bl_version_edit *edit)
{
    bl_manifest_state state = { .keep_metas = true };
    bole_error error = BOLE_ERROR_INIT;
    bole_status status = bl_manifest_state_apply(&state, edit, file_name, 72, &error);
    fuzz_check(status == BOLE_OK || status == BOLE_CORRUPT || status == BOLE_TOO_LARGE);
    fuzz_check(status == BOLE_OK || error.message[0] != '\0');
    if (status == BOLE_OK) {
        fuzz_check(edit->snapshot && state.begun);
        fuzz_check(state.segment_count == edit->added_count &&
                   state.table_count == edit->tables_created_count);
        for (uint32_t i = 0; i < edit->added_count; i++) {
            const bl_segment_meta *meta = &edit->added[i];
            const bl_state_segment *segment = bl_manifest_state_segment(&state, meta->number);
            fuzz_check(segment != NULL && segment->table == meta->table && segment->level == meta->level);
            fuzz_check(segment->level < BOLE_LEVELS_MAX &&
                       bl_manifest_state_table(&state, meta->table) != NULL);
            fuzz_check(meta->number < state.next_file_number);
            fuzz_check(meta->sequence_max < state.next_sequence);
        }
        for (uint32_t i = 0; i < edit->logs_added_count; i++)
            fuzz_check(bl_manifest_state_log(&state, edit->logs_added[i].number) != NULL);
    }
    bl_manifest_state_deinit(&state);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    bl_decoded_edit first, second;
    bole_error error = BOLE_ERROR_INIT;
    bole_buffer bytes = BOLE_BUFFER_INIT, again = BOLE_BUFFER_INIT, text = BOLE_BUFFER_INIT;
    bole_buffer text_again = BOLE_BUFFER_INIT;
    fuzz_memory_begin();
    bole_status status = decode(data, size, &first, &error);
    fuzz_check(status == BOLE_OK || status == BOLE_CORRUPT || status == BOLE_UNSUPPORTED);
    fuzz_check(fuzz_memory_peak() <= 7 * size + 64);
    if (status != BOLE_OK) {
        fuzz_check(error.message[0] != '\0');
        fuzz_memory_end(size, 6, 64);
        return 0;
    }
    describe(&first.edit, &text);
    fuzz_check_ok(bl_version_edit_encode(&first.edit, &bytes, &error), &error);
    fuzz_check_ok(decode(bytes.data, bytes.size, &second, &error), &error);
    describe(&second.edit, &text_again);
    fuzz_check(same_bytes(&text, &text_again));
    fuzz_check_ok(bl_version_edit_encode(&second.edit, &again, &error), &error);
    fuzz_check(same_bytes(&bytes, &again));
    check_state(&first.edit);
    bl_decoded_edit_deinit(&second);
    bl_decoded_edit_deinit(&first);
    bole_buffer_free(&bytes);
    bole_buffer_free(&again);
    bole_buffer_free(&text);
    bole_buffer_free(&text_again);
    fuzz_memory_end(size, 512, 1 << 16); /* the text of a part of a few bytes is a line */
    return 0;
}
