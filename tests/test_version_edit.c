/* SPDX-License-Identifier: MIT */
/* test_version_edit.c -- edits as bytes, and back; the state that they add up to. */
#include "version_fixture.h"

#include "base/coding.h"
#include "version/manifest_state.h"

#include <limits.h>

/* An edit with every part. */
typedef struct full_edit {
    bl_segment_meta added[4];
    bl_segment_place removed[2];
    bl_segment_move moved[1];
    bl_values_died died[2];
    bl_log_description logs_added[2], logs_ended[2];
    uint64_t logs_removed[2];
    bl_table_description created[2], dropped[1];
    bl_version_edit edit;
} full_edit;

static char long_name[256];
static uint8_t long_key[BOLE_KEY_BYTES_MAX];

static void fill_edit(full_edit *full)
{
    memset(long_name, 'n', 255);
    memset(long_key, 0xFF, sizeof long_key);
    full->added[0] = make_meta(12, 0, 0, 3, BOLE_STR(""), BOLE_STR("a\0b"), 7, 99);
    full->added[1] = make_meta(13, 5, 3, 0, BOLE_STR("\xFF"), bl_slice(long_key, sizeof long_key), 0, 0);
    full->added[1].sequences_zeroed = true;
    full->added[1].created_us = INT64_MIN;
    full->added[2] = make_meta(UINT64_C(1) << 61, UINT32_MAX - 1, 0, UINT32_MAX, BOLE_STR("k"), BOLE_STR("k"),
                               1, BL_SEQUENCE_MAX);
    full->added[2].value_uses = bl_slice("\x03\x01\x80\x01\x07", 5);
    full->added[3] = make_meta(128, UINT32_MAX - 1, BL_LEVEL_VALUES, 0, BOLE_STR("k"), BOLE_STR("k"), 1, 9);
    full->added[3].dead_entries = 1;
    full->added[3].dead_bytes = UINT64_MAX;
    full->died[0] = (bl_values_died){ UINT32_MAX - 1, 3, { 1, 0 } };
    full->died[1] = (bl_values_died){ 0, UINT64_MAX, { UINT64_MAX, UINT64_MAX } };
    full->removed[0] = (bl_segment_place){ 0, 3 };
    full->removed[1] = (bl_segment_place){ 5, 4 };
    full->moved[0] = (bl_segment_move){ 0, 5, 2, 0 };
    full->logs_added[0] = make_log(14, 100);
    full->logs_added[1] = make_log(15, 200);
    full->logs_added[1].end = 200;
    full->logs_added[1].end_checksum_known = true;
    full->logs_added[1].end_checksum = UINT64_MAX;
    full->logs_ended[0] = (bl_log_description){ .number = 8, .end = 0 };
    full->logs_ended[1] = (bl_log_description){
        .number = 9, .end = BL_SEQUENCE_MAX, .end_checksum_known = true, .end_checksum = 0
    };
    full->logs_removed[0] = 6;
    full->logs_removed[1] = 7;
    full->created[0] = (bl_table_description){ 5, "users", BL_COMPARATOR_BYTES_NAME, 0, NULL };
    full->created[1] = (bl_table_description){ 6, long_name, "r", BL_SEQUENCE_MAX, NULL };
    full->dropped[0] = (bl_table_description){ .number = 4, .position = 77 };
    full->edit = (bl_version_edit){
        .added = full->added,
        .added_count = 4,
        .died = full->died,
        .died_count = 2,
        .removed = full->removed,
        .removed_count = 2,
        .moved = full->moved,
        .moved_count = 1,
        .logs_added = full->logs_added,
        .logs_added_count = 2,
        .logs_ended = full->logs_ended,
        .logs_ended_count = 2,
        .logs_removed = full->logs_removed,
        .logs_removed_count = 2,
        .flushed_through = 1,
        .synced = BL_SEQUENCE_MAX,
        .tables_created = full->created,
        .tables_created_count = 2,
        .tables_dropped = full->dropped,
        .tables_dropped_count = 1,
        .next_sequence = 300,
        .next_file_number = UINT64_C(1) << 62,
        .next_table_number = 7,
        .snapshot = true,
    };
}

static char *describe(const bl_version_edit *edit) /* free */
{
    bole_buffer text = BOLE_BUFFER_INIT;
    bole_error error = BOLE_ERROR_INIT;
    assert_ok(bl_version_edit_describe(edit, &text, &error), &error);
    assert_true(bl_buffer_append_u8(&text, 0));
    char *copy = strdup(text.data);
    bole_buffer_free(&text);
    return copy;
}

/* Goal: (EDIT-1). Method: every field, at its edges, encoded, decoded and encoded again: same bytes, same
 * text. */
static void an_edit_comes_back_from_its_bytes(void **state)
{
    (void)state;
    static full_edit full;
    bole_error error = BOLE_ERROR_INIT;
    bole_buffer bytes = BOLE_BUFFER_INIT, again = BOLE_BUFFER_INIT;
    bl_decoded_edit decoded;
    fill_edit(&full);
    assert_ok(bl_version_edit_encode(&full.edit, &bytes, &error), &error);
    assert_ok(bl_version_edit_decode(bl_slice(bytes.data, bytes.size), "m", 72, &decoded, &error), &error);
    assert_ok(bl_version_edit_encode(&decoded.edit, &again, &error), &error);
    assert_int_equal(bytes.size, again.size);
    assert_memory_equal(bytes.data, again.data, bytes.size);
    char *before = describe(&full.edit), *after = describe(&decoded.edit);
    assert_string_equal(before, after);
    assert_true(decoded.edit.added[1].sequences_zeroed);
    assert_true(decoded.edit.added[1].created_us == INT64_MIN);
    assert_true(decoded.edit.added[2].run == UINT32_MAX && decoded.edit.added[2].value_uses.size == 5);
    assert_true(decoded.edit.added[3].dead_entries == 1 && decoded.edit.added[3].dead_bytes == UINT64_MAX);
    assert_true(decoded.edit.died[1].more.bytes == UINT64_MAX && decoded.edit.died[0].number == 3);
    assert_true(decoded.edit.logs_added[0].end == UINT64_MAX &&
                !decoded.edit.logs_added[0].end_checksum_known);
    assert_true(bl_id_equal(decoded.edit.logs_added[1].id, full.logs_added[1].id));
    free(before);
    free(after);
    bl_decoded_edit_deinit(&decoded);
    bole_buffer_free(&bytes);
    bole_buffer_free(&again);
}

/* Goal: (EDIT-2). Method: every cut, and every byte changed in every bit, of an edit; under the address
 * sanitizer, with the bytes in a block of exactly their size. What is accepted must encode again. */
static void damaged_bytes_are_refused_or_mean_an_edit(void **state)
{
    (void)state;
    static full_edit full;
    bole_error error = BOLE_ERROR_INIT;
    bole_buffer bytes = BOLE_BUFFER_INIT;
    fill_edit(&full);
    full.added[1].largest = BOLE_STR("\xFF\xFF"); /* short: the loop is quadratic */
    full.created[1].name = "z";
    assert_ok(bl_version_edit_encode(&full.edit, &bytes, &error), &error);
    unsigned refused = 0, accepted = 0;
    for (size_t i = 0; i < bytes.size * 9; i++) {
        size_t size = i < bytes.size ? i : bytes.size;
        uint8_t *copy = malloc(size + (size == 0));
        memcpy(copy, bytes.data, size);
        if (i >= bytes.size)
            copy[(i - bytes.size) / 8] ^= (uint8_t)(1u << (i - bytes.size) % 8);
        bl_decoded_edit decoded;
        bole_status status = bl_version_edit_decode(bl_slice(copy, size), "m", 72, &decoded, &error);
        if (status == BOLE_OK) {
            bole_buffer again = BOLE_BUFFER_INIT;
            assert_ok(bl_version_edit_encode(&decoded.edit, &again, NULL), NULL);
            char *text = describe(&decoded.edit);
            free(text);
            bole_buffer_free(&again);
            accepted++;
        } else {
            assert_true(status == BOLE_CORRUPT || status == BOLE_UNSUPPORTED);
            assert_true(error.message[0] != '\0');
            refused++;
        }
        bl_decoded_edit_deinit(&decoded);
        free(copy);
    }
    assert_true(refused > bytes.size && accepted > 100);
    bole_buffer_free(&bytes);
}

static void put_field(bole_buffer *out, unsigned tag, bool must, const void *data, size_t size)
{
    assert_true(bl_buffer_append_varint(out, (uint64_t)tag * 2 + must));
    assert_true(bl_buffer_append_varint(out, size));
    assert_true(bl_buffer_append(out, data, size));
}

/* Goal: room for later. Method: an edit, and a segment in it, with fields that nobody knows: a hint is
 * skipped, what must be understood refuses the file with a message that names it. */
static void an_unknown_field_is_skipped_or_refused_as_it_says(void **state)
{
    (void)state;
    for (int nested = 0; nested < 2; nested++) {
        for (int must = 0; must < 2; must++) {
            bole_buffer bytes = BOLE_BUFFER_INIT, inner = BOLE_BUFFER_INIT;
            bole_error error = BOLE_ERROR_INIT;
            put_field(&inner, 1, true, "\x07", 1);
            if (nested)
                put_field(&inner, 900, must, "later", 5);
            put_field(&bytes, 5, true, "\x09", 1);
            if (!nested)
                put_field(&bytes, 77, must, "later", 5);
            put_field(&bytes, 11, true, inner.data, inner.size); /* log 7 removed */
            bl_decoded_edit decoded;
            bole_status status = bl_version_edit_decode(bl_slice(bytes.data, bytes.size), "manifest-000009",
                                                        72, &decoded, &error);
            assert_status(must ? BOLE_UNSUPPORTED : BOLE_OK, status, &error);
            if (must) {
                assert_non_null(strstr(error.message, nested ? "field 900" : "field 77"));
                assert_non_null(strstr(error.message, "manifest-000009"));
            } else {
                assert_int_equal(decoded.edit.flushed_through, 9);
                assert_int_equal(decoded.edit.logs_removed[0], 7);
            }
            bl_decoded_edit_deinit(&decoded);
            bole_buffer_free(&bytes);
            bole_buffer_free(&inner);
        }
    }
}

/* Goal: (EDIT-3). Method: a segment's fields are taken apart, and those of ingest, of excluded bounds, and of values in
 * a way that none has them, put behind them. */
static void what_is_not_built_is_refused_never_misread(void **state)
{
    (void)state;
    const struct {
        unsigned tag;
        uint8_t value;
        bole_status status;
    } cases[] = {
        { 18, 0, BOLE_OK },      { 18, 1, BOLE_UNSUPPORTED }, { 18, 2, BOLE_UNSUPPORTED },
        { 18, 4, BOLE_CORRUPT }, { 19, 0, BOLE_UNSUPPORTED }, { 20, 1, BOLE_CORRUPT },
        { 21, 0, BOLE_CORRUPT }, { 22, 0, BOLE_UNSUPPORTED },
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        bl_segment_meta meta = make_meta(12, 0, 0, 0, BOLE_STR("a"), BOLE_STR("b"), 1, 2);
        bl_version_edit edit = { .added = &meta, .added_count = 1 };
        bole_buffer bytes = BOLE_BUFFER_INIT, changed = BOLE_BUFFER_INIT, inner = BOLE_BUFFER_INIT;
        bole_error error = BOLE_ERROR_INIT;
        assert_ok(bl_version_edit_encode(&edit, &bytes, &error), &error);
        const uint8_t *at = bytes.data, *end = at + bytes.size;
        uint64_t tag, size;
        at = bl_get_varint(at, end, &tag);
        at = bl_get_varint(at, end, &size);
        assert_ptr_equal(at + size, end);
        assert_true(bl_buffer_append(&inner, at, size));
        put_field(&inner, cases[i].tag, true, &cases[i].value, 1);
        put_field(&changed, 12, true, inner.data, inner.size);
        bl_decoded_edit decoded;
        assert_status(cases[i].status,
                      bl_version_edit_decode(bl_slice(changed.data, changed.size), "m", 72, &decoded, &error),
                      &error);
        bl_decoded_edit_deinit(&decoded);
        bole_buffer_free(&bytes);
        bole_buffer_free(&inner);
        bole_buffer_free(&changed);
    }
}

/* Goal: a number of a segment that is larger than any can be is refused, by its name. */
static void numbers_beyond_their_most_are_corrupt(void **state)
{
    (void)state;
    static const char *const names[] = { "size",    "lowest sequence", "highest sequence",
                                         "entries", "tombstones",      "blocks" };
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        bl_segment_meta meta = make_meta(12, 0, 0, 0, BOLE_STR("a"), BOLE_STR("b"), 1, 2);
        uint64_t *const numbers[] = { &meta.file_bytes, &meta.sequence_min, &meta.sequence_max,
                                      &meta.entries,    &meta.tombstones,   &meta.blocks };
        bl_version_edit edit = { .added = &meta, .added_count = 1 };
        bole_buffer bytes = BOLE_BUFFER_INIT;
        bole_error error = BOLE_ERROR_INIT;
        bl_decoded_edit decoded;
        *numbers[i] = UINT64_MAX;
        assert_ok(bl_version_edit_encode(&edit, &bytes, &error), &error);
        assert_status(BOLE_CORRUPT,
                      bl_version_edit_decode(bl_slice(bytes.data, bytes.size), "m", 72, &decoded, &error),
                      &error);
        assert_non_null(strstr(error.message, names[i]));
        bl_decoded_edit_deinit(&decoded);
        bole_buffer_free(&bytes);
    }
}

/* Goal: text for people stays as it is; tools and golden files show it. */
static void the_text_of_an_edit_has_one_line_a_part(void **state)
{
    (void)state;
    static full_edit full;
    fill_edit(&full);
    full.added[1].largest = bl_slice(long_key, 50);
    full.added[2] = make_meta(14, 5, 1, 0, BOLE_STR("k"), BOLE_STR("k"), 1, 2);
    full.added[2].value_uses = bl_slice("\x03\x01\x80\x01\x07", 5);
    full.created[1].name = "gr\xC3\xB6\xC3\x9F\x65";
    char *text = describe(&full.edit);
    static const char wanted[] =
        "  snapshot\n"
        "  + table 5 \"users\" order \"bole.bytes\" from 0\n"
        "  + table 6 \"gr\\xc3\\xb6\\xc3\\x9fe\" order \"r\" from 72057594037927935\n"
        "  - segment 3 table 0\n"
        "  - segment 4 table 5\n"
        "  > segment 5 table 0 to level 2 run 0\n"
        "  + segment 12 table 0 level 0 run 3 id 75767778797a7b7c7d7e7f8081828384 keys \"\" to \"a\\x00b\""
        " sequences 7 to 99 entries 112 tombstones 12 blocks 6 bytes 4108 raw 3012 footer 6a99b4b1f77dd0fc\n"
        "  + segment 13 table 5 level 3 run 0 id 9495969798999a9b9c9d9e9fa0a1a2a3 keys \"\\xff\" to "
        "\"\\xff\\xff\\xff\\xff\\xff\\xff\\xff\\xff\\xff\\xff\\xff\\xff\\xff\\xff\\xff\\xff\\xff\\xff\\xff\\xff"
        "\\xff\\xff\\xff\\xff\\xff\\xff\\xff\\xff\\xff\\xff\\xff\\xff\\xff\\xff\\xff\\xff\\xff\\xff\\xff\\xff\"..."
        " sequences 0 to 0 zeroed entries 113 tombstones 13 blocks 7 bytes 4109 raw 3013 footer 08d12e6b76c84d11\n"
        "  + segment 14 table 5 level 1 run 0 id b3b4b5b6b7b8b9babbbcbdbebfc0c1c2 keys \"k\" to \"k\""
        " sequences 1 to 2 entries 114 tombstones 14 blocks 1 bytes 4110 raw 3014 footer"
        " a708a824f612c926 values 1 in 3, 7 in 128\n"
        "  + value segment 128 table 4294967294 dead 1 entries, 18446744073709551615 bytes, id"
        " 8182838485868788898a8b8c8d8e8f90 keys \"k\" to \"k\" sequences 1 to 9 entries 228 tombstones"
        " 28 blocks 3 bytes 4224 raw 3128 footer 1bbcdcbfa53e0a80\n"
        "  - 1 values of segment 3 table 4294967294, 0 bytes\n"
        "  - 18446744073709551615 values of segment 18446744073709551615 table 0, 18446744073709551615"
        " bytes\n"
        "  - table 4 at 77\n"
        "  = log 8 ends at 0\n"
        "  = log 9 ends at 72057594037927935 checksum 0000000000000000\n"
        "  - log 6\n"
        "  - log 7\n"
        "  + log 14 id 636465666768696a6b6c6d6e6f707172 starts at 100\n"
        "  + log 15 id 6a6b6c6d6e6f70717273747576777879 starts at 200 ends at 200 checksum ffffffffffffffff\n"
        "  = flushed through 1\n"
        "  = synced 72057594037927935\n"
        "  = next sequence 300\n"
        "  = next file 4611686018427387904\n"
        "  = next table 7\n";
    assert_string_equal(text, wanted);
    free(text);
}

/* Goal: no edit is too large to be told from a torn end; and none makes the buffer longer when it is
 * refused. */
static void an_edit_beyond_the_limit_is_refused(void **state)
{
    (void)state;
    uint32_t count = 1100;
    bl_segment_meta *metas = calloc(count, sizeof *metas);
    for (uint32_t i = 0; i < count; i++)
        metas[i] = make_meta(i + 1, 0, 0, 0, bl_slice(long_key, sizeof long_key),
                             bl_slice(long_key, sizeof long_key), 1, 2);
    bl_version_edit edit = { .added = metas, .added_count = count };
    bole_buffer bytes = BOLE_BUFFER_INIT;
    bole_error error = BOLE_ERROR_INIT;
    assert_true(bl_buffer_append(&bytes, "before", 6));
    assert_status(BOLE_TOO_LARGE, bl_version_edit_encode(&edit, &bytes, &error), &error);
    assert_int_equal(bytes.size, 6);
    edit.added_count = 500; /* 64 MiB is 512 such segments */
    assert_ok(bl_version_edit_encode(&edit, &bytes, &error), &error);
    bole_buffer_free(&bytes);
    free(metas);
}

/* ---- States ---- */

static bole_status apply_to_fresh(bl_manifest_state *out, const bl_version_edit *first,
                                  const bl_version_edit *second, bole_error *error)
{
    *out = (bl_manifest_state){ .keep_metas = true };
    bole_status status = bl_manifest_state_apply(out, first, "manifest-000001", 72, error);
    if (status == BOLE_OK && second != NULL)
        status = bl_manifest_state_apply(out, second, "manifest-000001", 200, error);
    return status;
}

/* Goal: an edit that does not fit the state before it is corruption that names file and offset. Method: one
 * snapshot, and edits that are each wrong in one way; the same edit without the mistake is accepted. */
static void an_edit_that_does_not_fit_is_corrupt(void **state)
{
    (void)state;
    static bl_segment_meta there[2], good, wrong[12];
    static bl_log_description logs[2], log, bad_logs[6];
    there[0] = make_meta(10, 0, 0, 1, BOLE_STR("a"), BOLE_STR("b"), 1, 5);
    there[1] = make_meta(11, 1, 3, 0, BOLE_STR("a"), BOLE_STR("b"), 1, 5);
    logs[0] = make_log(12, 100);
    logs[0].end = 150;
    logs[1] = make_log(13, 150);
    bl_table_description tables[] = { { 0, "default", BL_COMPARATOR_BYTES_NAME, 0, NULL },
                                      { 1, "users", BL_COMPARATOR_BYTES_NAME, 0, NULL } };
    bl_table_description again = { 1, "other", "x", 0, NULL }, twin = { 2, "users", "x", 0, NULL },
                         unnamed = { 2, "a\nb", "x", 0, NULL }, broken = { 2, "\xC3(", "x", 0, NULL },
                         overlong = { 2, "\xE0\x80\x80", "x", 0, NULL },
                         surrogate = { 2, "\xED\xA0\x80", "x", 0, NULL }, drop_default = { .number = 0 },
                         drop_none = { .number = 7 }, drop_full = { .number = 1 };
    bl_version_edit snapshot = {
        .snapshot = true,
        .tables_created = tables,
        .tables_created_count = 2,
        .next_table_number = 2,
        .next_file_number = 20,
        .added = there,
        .added_count = 2,
        .logs_added = logs,
        .logs_added_count = 2,
        .flushed_through = 90,
        .synced = 95,
    };
    good = make_meta(15, 0, 0, 2, BOLE_STR("c"), BOLE_STR("d"), 6, 7);
    for (size_t i = 0; i < 12; i++)
        wrong[i] = good;
    wrong[0].number = 0;
    wrong[1].number = 20;
    wrong[2].number = 10;
    wrong[3].number = 12;
    wrong[4].table = 9;
    wrong[5].level = BOLE_LEVELS_MAX;
    wrong[6].level = 1;
    wrong[7].entries = 0;
    wrong[8].tombstones = good.entries + 1;
    wrong[9].sequence_min = 8;
    wrong[10].id = (bl_id){ { 0 } };
    wrong[11].file_bytes = 0;
    log = make_log(16, 160);
    for (size_t i = 0; i < 6; i++)
        bad_logs[i] = log;
    bad_logs[0].number = 13;
    bad_logs[1].number = 11;
    bad_logs[2].start = 149;
    bad_logs[3].end = 159;
    bad_logs[4].id = (bl_id){ { 0 } };
    bad_logs[5].number = 21;
    bl_log_description ends[] = { { .number = 99, .end = 200 },
                                  { .number = 13, .end = 149 },
                                  { .number = 12, .end = 151 } };
    bl_segment_place places[] = { { 0, 99 }, { 0, 11 }, { 0, 10 }, { 0, 10 } };
    bl_segment_move moves[] = { { 0, 99, 1, 0 }, { 0, 10, 1, 1 }, { 0, 10, 9, 0 }, { 1, 10, 1, 0 } };
    uint64_t no_log = 99;
    struct {
        bl_version_edit edit;
    } cases[64];
    size_t count = 0;
    for (size_t i = 0; i < 12; i++)
        cases[count++].edit = (bl_version_edit){ .added = &wrong[i], .added_count = 1 };
    for (size_t i = 0; i < 6; i++)
        cases[count++].edit = (bl_version_edit){ .logs_added = &bad_logs[i], .logs_added_count = 1 };
    for (size_t i = 0; i < 3; i++)
        cases[count++].edit = (bl_version_edit){ .logs_ended = &ends[i], .logs_ended_count = 1 };
    cases[count++].edit = (bl_version_edit){ .removed = &places[0], .removed_count = 1 };
    cases[count++].edit = (bl_version_edit){ .removed = &places[1], .removed_count = 1 };
    cases[count++].edit = (bl_version_edit){ .removed = &places[2], .removed_count = 2 };
    for (size_t i = 0; i < 4; i++)
        cases[count++].edit = (bl_version_edit){ .moved = &moves[i], .moved_count = 1 };
    cases[count++].edit = (bl_version_edit){ .logs_removed = &no_log, .logs_removed_count = 1 };
    const bl_table_description *created[] = { &again, &twin, &unnamed, &broken, &overlong, &surrogate };
    for (size_t i = 0; i < 6; i++)
        cases[count++].edit = (bl_version_edit){ .tables_created = created[i], .tables_created_count = 1 };
    const bl_table_description *dropped[] = { &drop_default, &drop_none, &drop_full };
    for (size_t i = 0; i < 3; i++)
        cases[count++].edit = (bl_version_edit){ .tables_dropped = dropped[i], .tables_dropped_count = 1 };
    cases[count++].edit = (bl_version_edit){ .flushed_through = 89 };
    cases[count++].edit = (bl_version_edit){ .synced = 94 };
    cases[count++].edit = (bl_version_edit){ .next_file_number = 19 };
    cases[count++].edit = (bl_version_edit){ .next_table_number = 1 };
    cases[count++].edit = (bl_version_edit){ .next_file_number = BL_FILE_NUMBER_MAX + 1 };
    cases[count++].edit = snapshot;
    bl_manifest_state reached;
    bole_error error = BOLE_ERROR_INIT;
    for (size_t i = 0; i < count; i++) {
        bole_status status = apply_to_fresh(&reached, &snapshot, &cases[i].edit, &error);
        if (status != BOLE_CORRUPT)
            fail_msg("wrong edit %zu gives %s", i, bole_status_name(status));
        assert_string_equal(error.file, "manifest-000001");
        assert_int_equal(error.offset, 200);
        bl_manifest_state_deinit(&reached);
    }
    bl_version_edit right = { .added = &good, .added_count = 1, .logs_added = &log, .logs_added_count = 1 };
    assert_ok(apply_to_fresh(&reached, &snapshot, &right, &error), &error);
    assert_int_equal(reached.segment_count, 3);
    assert_int_equal(reached.next_sequence, 160);
    bl_manifest_state_deinit(&reached);
    bl_version_edit early = { .synced = 1 };
    assert_status(BOLE_CORRUPT, apply_to_fresh(&reached, &early, NULL, &error), &error);
    bl_manifest_state_deinit(&reached);
    bl_table_description twice[] = { { .number = 2, .position = 5 }, { .number = 2, .position = 6 } },
                         above = { .number = 4, .position = 5 };
    const struct {
        const bl_table_description *drops;
        uint32_t count;
    } remembered[] = { { twice, 2 }, { &above, 1 }, { &drop_full, 1 }, { &drop_default, 1 } };
    snapshot.next_table_number = 3;
    for (size_t i = 0; i < 4; i++) { /* drops that a snapshot cannot remember */
        snapshot.tables_dropped = remembered[i].drops;
        snapshot.tables_dropped_count = remembered[i].count;
        assert_status(BOLE_CORRUPT, apply_to_fresh(&reached, &snapshot, NULL, &error), &error);
        bl_manifest_state_deinit(&reached);
    }
    snapshot.tables_dropped_count = 0;
    logs[0].end = UINT64_MAX; /* open, and then found to end behind the start of the next */
    bl_log_description late = { .number = 12, .end = 151 };
    bl_version_edit ending = { .logs_ended = &late, .logs_ended_count = 1 };
    assert_status(BOLE_CORRUPT, apply_to_fresh(&reached, &snapshot, &ending, &error), &error);
    bl_manifest_state_deinit(&reached);
    late.end = 150;
    assert_ok(apply_to_fresh(&reached, &snapshot, &ending, &error), &error);
    assert_int_equal(bl_manifest_state_table(&reached, 1)->segments, 1);
    assert_null(bl_manifest_state_table(&reached, 2));
    bl_manifest_state_deinit(&reached);
    snapshot.tables_created = &tables[1];
    snapshot.tables_created_count = 1;
    assert_status(BOLE_CORRUPT, apply_to_fresh(&reached, &snapshot, NULL, &error),
                  &error); /* no default table */
    bl_manifest_state_deinit(&reached);
}

/* Goal: the hash table of segments finds what is there and nothing else. Method: random numbers, close
 * together and far apart, come and go, beside a plain list. */
static void segments_are_found_by_number(void **state)
{
    (void)state;
    bl_prng prng;
    bl_prng_init(&prng, test_seed(5));
    bl_manifest_state reached;
    bole_error error = BOLE_ERROR_INIT;
    bl_table_description table = { 0, "default", BL_COMPARATOR_BYTES_NAME, 0, NULL };
    bl_version_edit snapshot = { .snapshot = true,
                                 .tables_created = &table,
                                 .tables_created_count = 1,
                                 .next_table_number = 1,
                                 .next_file_number = UINT64_C(1) << 40 };
    assert_ok(apply_to_fresh(&reached, &snapshot, NULL, &error), &error);
    enum { LIST = 700 };
    static uint64_t list[LIST];
    uint32_t count = 0;
    for (int i = 0; i < 20000; i++) {
        if (count < LIST && (count == 0 || bl_prng_below(&prng, 100) < 52)) {
            uint64_t number = bl_prng_chance(&prng, 2) ? 1 + bl_prng_below(&prng, 2000)
                                                       : 1 + bl_prng_below(&prng, (UINT64_C(1) << 40) - 1);
            if (bl_manifest_state_segment(&reached, number) != NULL)
                continue;
            bl_segment_meta meta = make_meta(number, 0, 0, 0, BOLE_STR("a"), BOLE_STR("b"), 1, 2);
            bl_version_edit edit = { .added = &meta, .added_count = 1 };
            assert_ok(bl_manifest_state_apply(&reached, &edit, "m", 0, &error), &error);
            list[count++] = number;
        } else {
            uint32_t at = (uint32_t)bl_prng_below(&prng, count);
            bl_segment_place place = { 0, list[at] };
            bl_version_edit edit = { .removed = &place, .removed_count = 1 };
            assert_ok(bl_manifest_state_apply(&reached, &edit, "m", 0, &error), &error);
            assert_null(bl_manifest_state_segment(&reached, list[at]));
            list[at] = list[--count];
        }
        assert_int_equal(reached.segment_count, count);
        if (i % 64 == 0)
            for (uint32_t k = 0; k < count; k++)
                assert_int_equal(bl_manifest_state_segment(&reached, list[k])->meta->number, list[k]);
    }
    bl_manifest_state_deinit(&reached);
}

/* Goal: a dropped table is remembered exactly as long as a log begins below its position. */
static void a_drop_is_forgotten_when_no_log_below_is_left(void **state)
{
    (void)state;
    bl_manifest_state reached;
    bole_error error = BOLE_ERROR_INIT;
    bl_table_description tables[] = { { 0, "default", BL_COMPARATOR_BYTES_NAME, 0, NULL },
                                      { 1, "a", BL_COMPARATOR_BYTES_NAME, 0, NULL },
                                      { 2, "b", BL_COMPARATOR_BYTES_NAME, 0, NULL } };
    bl_log_description logs[] = { make_log(5, 100), make_log(6, 200), make_log(7, 300) };
    bl_version_edit snapshot = { .snapshot = true,
                                 .tables_created = tables,
                                 .tables_created_count = 3,
                                 .next_table_number = 3,
                                 .next_file_number = 20,
                                 .logs_added = logs,
                                 .logs_added_count = 3 };
    bl_table_description drops[] = { { .number = 1, .position = 250 }, { .number = 2, .position = 200 } };
    bl_version_edit drop = { .tables_dropped = drops, .tables_dropped_count = 2 };
    assert_ok(apply_to_fresh(&reached, &snapshot, &drop, &error), &error);
    assert_int_equal(bl_manifest_state_drop(&reached, 1)->position, 250);
    assert_int_equal(bl_manifest_state_drop(&reached, 2)->position, 200);
    for (uint64_t number = 5; number <= 7; number++) {
        bl_version_edit flushed = { .logs_removed = &number, .logs_removed_count = 1 };
        assert_ok(bl_manifest_state_apply(&reached, &flushed, "m", 0, &error), &error);
        assert_int_equal(bl_manifest_state_drop(&reached, 2) != NULL,
                         false); /* log 6 begins at its position */
        assert_int_equal(bl_manifest_state_drop(&reached, 1) != NULL, number < 6);
    }
    assert_int_equal(reached.next_table_number, 3);
    bl_table_description reused = { 2, "c", BL_COMPARATOR_BYTES_NAME, 0, NULL };
    bl_version_edit create = { .tables_created = &reused, .tables_created_count = 1 };
    assert_status(BOLE_CORRUPT, bl_manifest_state_apply(&reached, &create, "m", 0, &error), &error);
    bl_manifest_state_deinit(&reached);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_edit_comes_back_from_its_bytes),
        cmocka_unit_test(damaged_bytes_are_refused_or_mean_an_edit),
        cmocka_unit_test(an_unknown_field_is_skipped_or_refused_as_it_says),
        cmocka_unit_test(what_is_not_built_is_refused_never_misread),
        cmocka_unit_test(numbers_beyond_their_most_are_corrupt),
        cmocka_unit_test(the_text_of_an_edit_has_one_line_a_part),
        cmocka_unit_test(an_edit_beyond_the_limit_is_refused),
        cmocka_unit_test(an_edit_that_does_not_fit_is_corrupt),
        cmocka_unit_test(segments_are_found_by_number),
        cmocka_unit_test(a_drop_is_forgotten_when_no_log_below_is_left),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
