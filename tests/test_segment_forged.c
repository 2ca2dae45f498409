/* SPDX-License-Identifier: MIT */
/* test_segment_forged.c -- segments that no writer of ours would write, with every checksum right: what checksums
 * cannot see is told by whoever reads, checks or salvages them, with the file's name. */
#include "segment_fixture.h"

#include <errno.h>
#include <pthread.h>

#include "segment/block.h"
#include "segment/block_builder.h"
#include "segment/segment_footer.h"
#include "segment/segment_salvage.h"
#include "segment/segment_state.h"

enum { BLOCKS_MAX = 4, ENTRIES_MAX = 4, NUMBER = 7 };
#define PATH "store/000007.seg"

/* What is forged. Blocks are written as they are, whatever the order between them. */
typedef struct forgery {
    bool values;         /* a value segment */
    bool whole;          /* the index is one of a user's comparator, though the footer says bytes */
    uint64_t hidden;     /* entries that the footer does not count */
    bool more_blocks;    /* the footer counts one block more than the index has */
    bool empty_section;  /* one that a reader may pass over */
    bool longer;         /* each block is 8 bytes longer than it says, under one checksum */
    uint64_t gap;        /* between blocks */
    const char *largest; /* NULL: the last key */
    struct {
        const char *separator; /* NULL: its last key */
        struct {
            const char *key;
            uint64_t tag;
            bole_slice value;
        } entries[ENTRIES_MAX];
    } blocks[BLOCKS_MAX];
} forgery;

static bole_slice text(const char *from) { return bl_slice(from, strlen(from)); }

static void write_at(bole_file *file, uint64_t at, const void *data, size_t size)
{
    assert_ok(file->vfs->write(file, at, data, size, NULL), NULL);
}

/* Write the blocks, behind the header; their index; and what the entries come to. */
static uint64_t write_blocks(bole_file *file, const forgery *what, bl_segment_meta *meta,
                             bl_block_index_builder *index)
{
    uint64_t at = BL_SEGMENT_HEADER_BYTES;
    for (int b = 0; b < BLOCKS_MAX && what->blocks[b].entries[0].key != NULL; b++) {
        bl_block_builder builder;
        bole_slice last = { NULL, 0 };
        assert_ok(bl_block_builder_init(&builder, NULL, NULL), NULL);
        for (int e = 0; e < ENTRIES_MAX && what->blocks[b].entries[e].key != NULL; e++) {
            last = text(what->blocks[b].entries[e].key);
            uint64_t tag = what->blocks[b].entries[e].tag;
            bole_slice value = what->blocks[b].entries[e].value;
            assert_int_equal(bl_block_builder_add(&builder, last, bl_hash(last.data, last.size), tag, value,
                                                  4096),
                             BL_BLOCK_ADDED);
            meta->entries++;
            meta->tombstones += bl_tag_kind(tag) == BL_KIND_DELETE;
            meta->raw_bytes += last.size + value.size;
        }
        uint32_t size = (uint32_t)bl_block_builder_size(&builder);
        uint8_t *frame = calloc(1, size + 8);
        bl_block_builder_finish(&builder, frame);
        size += what->longer ? 8 : 0;
        bl_put_u64(frame, bl_checksum(bl_checksum_seed(meta->id), at, frame + 8, size - 8));
        write_at(file, at, frame, size);
        if (what->blocks[b].separator != NULL)
            last = text(what->blocks[b].separator);
        assert_true(bl_block_index_builder_add(index, last, last, true, at, size, size));
        meta->blocks++;
        at += size + what->gap;
        free(frame);
        bl_block_builder_deinit(&builder);
    }
    return at - what->gap;
}

/* The file, and a handle as a manifest that believes it would make it. */
static bl_segment *forge(test_store *store, const forgery *what)
{
    bole_error error = BOLE_ERROR_INIT;
    bl_segment_footer footer = { .table_name = bl_string_copy("default"),
                                 .comparator_name = bl_string_copy(BL_COMPARATOR_BYTES_NAME) };
    bl_segment_meta *meta = &footer.meta;
    *meta = (bl_segment_meta){ .number = NUMBER,
                               .id = { { 1, 2, 3 } },
                               .level = what->values ? BL_LEVEL_VALUES : 0,
                               .sequence_min = 1,
                               .sequence_max = 1000 };
    uint8_t header[BL_SEGMENT_HEADER_BYTES];
    bole_file *file;
    bole_buffer section = BOLE_BUFFER_INIT, tail = BOLE_BUFFER_INIT;
    bl_block_index_builder index;
    assert_ok(store->disk->open(store->disk, PATH, BOLE_VFS_WRITE | BOLE_VFS_CREATE | BOLE_VFS_TRUNCATE,
                                &file, &error),
              &error);
    bl_segment_header_encode(meta, &footer.store_id, header);
    write_at(file, 0, header, sizeof header);
    bl_block_index_builder_init(&index, what->whole);
    footer.blocks_end = write_blocks(file, what, meta, &index);
    assert_true(bl_block_index_builder_finish(&index, &section));
    uint64_t at = (footer.blocks_end + 63) / 64 * 64;
    write_at(file, at, section.data, section.size);
    footer.sections[footer.section_count++] = (bl_segment_section){
        .kind = BL_SECTION_INDEX,
        .flags = BL_SEGMENT_MUST_UNDERSTAND,
        .offset = at,
        .length = section.size,
        .checksum = bl_checksum(bl_checksum_seed(meta->id), at, section.data, section.size),
    };
    at = (at + section.size + 63) / 64 * 64;
    if (what->empty_section)
        footer.sections[footer.section_count++] = (bl_segment_section){ .kind = 99, .offset = at };
    const char *last = what->largest;
    for (int b = 0; b < BLOCKS_MAX && what->largest == NULL; b++)
        for (int e = 0; e < ENTRIES_MAX && what->blocks[b].entries[e].key != NULL; e++)
            last = what->blocks[b].entries[e].key;
    meta->blocks += what->more_blocks;
    meta->entries -= what->hidden;
    meta->smallest = text(what->blocks[0].entries[0].key);
    meta->largest = text(last);
    assert_true(bl_segment_footer_encode(&footer, at, &tail));
    write_at(file, at, tail.data, tail.size);
    assert_ok(store->disk->close(file, NULL), NULL);
    bl_segment *segment;
    assert_ok(bl_segment_create_handle(&store->environment, meta, NULL, &segment, &error), &error);
    bl_block_index_builder_deinit(&index);
    bole_buffer_free(&section);
    bole_buffer_free(&tail);
    meta->smallest = meta->largest = bl_slice(NULL, 0); /* literals */
    bl_segment_footer_deinit(&footer);
    return segment;
}

static const uint64_t PUT = BL_TAG(9, BL_KIND_PUT);
#define POINTER BL_TAG(9, BL_KIND_PUT_WITH_VALUE_POINTER)

static void assert_told(bole_status status, const bole_error *error, const char *part)
{
    assert_status(BOLE_CORRUPT, status, error);
    assert_string_equal(error->file, PATH);
    if (strstr(error->message, part) == NULL)
        fail_msg("\"%s\" is not in \"%s\"", part, error->message);
}

/* ---- The check ---- */

/* Goal: each statement about entries, order, kinds and pointers is held against the entries. */
static void the_check_asks_for_what_no_checksum_says(void **state)
{
    (void)state;
    bl_value_pointer pointer = { .segment = 5, .block = 0, .offset = 4096, .bytes = 77 };
    uint8_t bytes[BL_VALUE_POINTER_BYTES_MAX];
    bole_slice to_five = bl_slice(bytes, bl_value_pointer_encode(&pointer, bytes));
    const struct {
        const char *told; /* NULL: all is well */
        forgery what;
    } cases[] = {
        { NULL,
          { .gap = 100,
            .empty_section = true,
            .blocks = { { .entries = { { "a", PUT, BOLE_STR("1") } } },
                        { .entries = { { "b", PUT, { 0 } } } } } } },
        { NULL, { .values = true, .blocks = { { .entries = { { "a", PUT, BOLE_STR("1") } } } } } },
        { "something else than values",
          { .values = true, .blocks = { { .entries = { { "a", BL_TAG(9, BL_KIND_DELETE), { 0 } } } } } } },
        { "something else than values",
          { .values = true, .blocks = { { .entries = { { "a", POINTER, to_five } } } } } },
        { "more than one value",
          { .values = true,
            .hidden = 1,
            .blocks = { { .entries = { { "a", PUT, BOLE_STR("1") }, { "b", PUT, BOLE_STR("2") } } } } } },
        { "pointer to its value is none", { .blocks = { { .entries = { { "a", POINTER, { 0 } } } } } } },
        { "not those of the manifest", { .blocks = { { .entries = { { "a", POINTER, to_five } } } } } },
        { "not above the one before it",
          { .blocks = { { .entries = { { "a", PUT, { 0 } } } }, { .entries = { { "a", PUT, { 0 } } } } } } },
        { "not above the separator",
          { .blocks = { { .entries = { { "b", PUT, { 0 } } } },
                        { .separator = "c", .entries = { { "a", PUT, { 0 } } } } },
            .largest = "c" } },
        { "does not fit the comparator",
          { .whole = true, .blocks = { { .entries = { { "a", PUT, { 0 } } } } } } },
        { "the manifest says 2",
          { .more_blocks = true,
            .blocks = { { .entries = { { "a", PUT, { 0 } }, { "b", PUT, { 0 } } } } } } },
        { "stored bytes, the index",
          { .longer = true, .blocks = { { .entries = { { "a", PUT, { 0 } } } } } } },
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        test_store store;
        bole_error error = BOLE_ERROR_INIT;
        test_store_begin(&store, TEST_MEMORY_AMPLE);
        bl_segment *segment = forge(&store, &cases[i].what);
        bole_status status = bl_segment_check(segment, true, &error);
        if (cases[i].told == NULL)
            assert_ok(status, &error);
        else
            assert_told(status, &error, cases[i].told);
        bl_segment_unref(segment);
        test_store_end(&store);
    }
}

static const forgery two_blocks = { .gap = 100,
                                    .blocks = {
                                        { .entries = { { "a", BL_TAG(9, BL_KIND_PUT), { "1", 1 } },
                                                       { "b", BL_TAG(9, BL_KIND_PUT), { "2", 1 } } } },
                                        { .entries = { { "d", BL_TAG(9, BL_KIND_PUT), { "4", 1 } } } } } };

/* Goal: a check in steps whose file must be opened again, and cannot, tells; at a block and at a gap. */
static void a_check_whose_file_cannot_be_opened_tells(void **state)
{
    (void)state;
    for (int blocks = 0; blocks < 2; blocks++) {
        test_store store;
        bole_error error = BOLE_ERROR_INIT;
        uint64_t read = 0;
        bl_segment_checker *check;
        test_store_begin(&store, TEST_MEMORY_AMPLE);
        bl_segment *segment = forge(&store, &two_blocks);
        assert_ok(bl_segment_check_begin(segment, &check, &read, &error), &error);
        for (int i = 0; i < blocks; i++)
            assert_ok(bl_segment_check_next(check, segment, &read, &error), &error);
        bl_descriptor_close(store.environment.descriptors, &segment->descriptor);
        store.plan.at = store.plan.calls;
        store.plan.count = 1;
        store.plan.system_errno = EMFILE;
        assert_int_not_equal(bl_segment_check_next(check, segment, &read, &error), BOLE_OK);
        assert_int_equal(store.plan.failed, 1);
        bl_segment_check_end(check);
        bl_segment_unref(segment);
        test_store_end(&store);
    }
}

/* ---- Reads ---- */

/* Goal: a key that the manifest gives to the segment, and the index to no block, is damage to a seek, nothing to a get,
 * and nothing to ask for. */
static void a_key_above_the_last_separator_is_damage(void **state)
{
    (void)state;
    test_store store;
    test_store_begin(&store, TEST_MEMORY_AMPLE);
    forgery what = two_blocks;
    what.largest = "z";
    bl_segment *segment = forge(&store, &what);
    bl_cursor *cursor;
    bole_error error = BOLE_ERROR_INIT;
    bl_segment_cursor_options options = { .fill_cache = false };
    assert_ok(bl_segment_cursor(&segment, 1, &options, &cursor, &error), &error);
    cursor->ops->seek(cursor, BOLE_STR("e"));
    assert_false(cursor->valid);
    assert_told(cursor->status, cursor->error, "ends below the segment's largest key");
    cursor->ops->seek(cursor, BOLE_STR("c")); /* a later one starts anew */
    assert_true(cursor->valid && bl_slice_equal(cursor->key, BOLE_STR("d")));
    bl_cursor_close(cursor);
    assert_ok(bl_segment_load(segment, BL_SEGMENT_UNIT, &error), &error);
    bl_lookup lookup = test_lookup(segment, BOLE_STR("e"), BL_SEQUENCE_MAX);
    bl_epoch_enter();
    assert_null(bl_segment_prefetch_block(segment, &lookup));
    bl_epoch_leave();
    bl_segment_unref(segment);
    test_store_end(&store);
}

/* Goal (VALUE-1): what stands where a pointer leads is a value only if it is alone in its block, and a put. */
static void a_pointer_into_a_block_of_two_finds_no_value(void **state)
{
    (void)state;
    static const forgery of_two = { .values = true,
                                    .hidden = 1,
                                    .blocks = {
                                        { .entries = { { "a", BL_TAG(9, BL_KIND_PUT), { "1", 1 } },
                                                       { "b", BL_TAG(9, BL_KIND_PUT), { "2", 1 } } } } } };
    static const forgery deleted = {
        .values = true, .blocks = { { .entries = { { "a", BL_TAG(9, BL_KIND_DELETE), { 0 } } } } }
    };
    for (int i = 0; i < 2; i++) {
        test_store store;
        bole_error error = BOLE_ERROR_INIT;
        test_store_begin(&store, TEST_MEMORY_AMPLE);
        bl_segment *segment = forge(&store, i == 0 ? &of_two : &deleted);
        bl_value_pointer pointer = {
            .segment = NUMBER, .block = 0, .offset = BL_SEGMENT_HEADER_BYTES, .bytes = 1
        };
        bl_held_value held = { .frame = NULL };
        assert_told(bl_segment_hold_value(segment, &pointer, BOLE_STR("a"), &held, NULL, &error), &error,
                    "what stands here is not its value");
        bl_held_value_release(&held);
        bl_segment_salvage *salvage;
        bole_slice value;
        assert_ok(bl_segment_salvage_open(store.disk, PATH, NULL, NULL, NULL, &salvage, &error), &error);
        assert_status(BOLE_NOT_FOUND,
                      bl_segment_salvage_value(salvage, &pointer, BOLE_STR("a"), &value, &error), &error);
        pointer.offset++;
        assert_status(BOLE_NOT_FOUND,
                      bl_segment_salvage_value(salvage, &pointer, BOLE_STR("a"), &value, &error), &error);
        bl_segment_salvage_close(salvage);
        bl_segment_unref(segment);
        test_store_end(&store);
    }
}

/* Goal: the clock's mark that a unit was used comes back with a look for a value; and who finds a unit on its way out
 * does not hold it. */
static void a_unit_that_goes_is_not_held(void **state)
{
    (void)state;
    static const forgery one = {
        .values = true, .blocks = { { .entries = { { "a", BL_TAG(9, BL_KIND_PUT), { "1", 1 } } } } }
    };
    test_store store;
    bole_error error = BOLE_ERROR_INIT;
    bl_unit *unit;
    bl_found found;
    test_store_begin(&store, TEST_MEMORY_AMPLE);
    bl_segment *segment = forge(&store, &one);
    assert_ok(bl_unit_get(segment, true, &unit, &error), &error);
    bl_unit_put(segment, unit);
    bl_value_pointer pointer = {
        .segment = NUMBER, .block = 0, .offset = BL_SEGMENT_HEADER_BYTES, .bytes = 1
    };
    atomic_store(&unit->node.used, false);
    bl_epoch_enter();
    assert_int_equal(bl_segment_find_value(segment, &pointer, BOLE_STR("a"), &found), BL_FIND_MUST_LOAD);
    bl_epoch_leave();
    assert_true(atomic_load(&unit->node.used));
    atomic_store(&unit->node.holders, INT64_MIN / 2); /* as the clock does */
    assert_null(bl_unit_hold_present(segment));
    atomic_store(&unit->node.holders, 0);
    bl_unit *again = bl_unit_hold_present(segment);
    assert_ptr_equal(again, unit);
    bl_unit_put(segment, again);
    bl_segment_unref(segment);
    test_store_end(&store);
}

/* ---- A handle of what was built ---- */

/* Goal: sections that changed in memory since they were written make no handle. */
static void what_was_built_is_looked_at(void **state)
{
    (void)state;
    test_store store;
    test_store_begin(&store, TEST_MEMORY_AMPLE);
    bl_segment *sound = forge(&store, &two_blocks), *segment;
    bl_segment_footer footer;
    bole_error error = BOLE_ERROR_INIT;
    assert_ok(bl_segment_footer_read(store.disk, PATH, &footer, &error), &error);
    const bl_segment_section *section = bl_segment_footer_section(&footer, BL_SECTION_INDEX);
    uint8_t *index = malloc(section->length);
    bole_file *file;
    assert_ok(store.disk->open(store.disk, PATH, BOLE_VFS_READ, &file, &error), &error);
    assert_ok(bl_segment_section_read(file, PATH, footer.meta.id, section, index, &error), &error);
    assert_ok(store.disk->close(file, NULL), NULL);
    bl_segment_built built = { .index_section = bl_slice(index, section->length),
                               .blocks_end = footer.blocks_end };
    assert_ok(bl_segment_create_built(&store.environment, bl_segment_meta_of(sound), NULL, &built, &segment,
                                      &error),
              &error);
    bl_segment_unref(segment);
    built.blocks_end--;
    assert_told(bl_segment_create_built(&store.environment, bl_segment_meta_of(sound), NULL, &built, &segment,
                                        &error),
                &error, "block");
    assert_null(segment);
    built.blocks_end++;
    index[0] ^= 8;
    assert_told(bl_segment_create_built(&store.environment, bl_segment_meta_of(sound), NULL, &built, &segment,
                                        &error),
                &error, "index");
    assert_null(segment);
    free(index);
    bl_segment_footer_deinit(&footer);
    bl_segment_unref(sound);
    test_store_end(&store);
}

/* ---- Salvage ---- */

typedef struct losses {
    uint32_t count;
    char why[1024];
} losses;

static bole_status note_loss(void *context, const bl_segment_loss *loss, bole_error *error)
{
    (void)error;
    losses *out = context;
    out->count++;
    snprintf(out->why + strlen(out->why), sizeof out->why - strlen(out->why), "%s\n", loss->why);
    return BOLE_OK;
}

static void flip(test_store *store, uint64_t at)
{
    bole_file *file;
    uint8_t byte;
    size_t got;
    assert_ok(store->disk->open(store->disk, PATH, BOLE_VFS_WRITE, &file, NULL), NULL);
    assert_ok(store->disk->read(file, at, &byte, 1, &got, NULL), NULL);
    byte ^= 1;
    write_at(file, at, &byte, 1);
    assert_ok(store->disk->close(file, NULL), NULL);
}

/* All entries of a salvage, and close it. */
static bole_status count_entries(bl_segment_salvage *salvage, uint32_t *count, bole_error *error)
{
    bole_slice key, value;
    uint64_t tag;
    bole_status status = BOLE_OK;
    *count = 0;
    while (status == BOLE_OK) {
        status = bl_segment_salvage_next(salvage, &key, &tag, &value, error);
        *count += status == BOLE_OK;
    }
    bl_segment_salvage_close(salvage);
    return status == BOLE_NOT_FOUND ? BOLE_OK : status;
}

/* Goal (SALVAGE-4): of a file whose index is lost or not, each read may fail: a loss that is told, or what another
 * read brings; never an entry that is not there. Each allocation, too: BOLE_NO_MEMORY. */
static void a_salvage_goes_on_past_reads_that_fail(void **state)
{
    (void)state;
    for (int lost_index = 0; lost_index < 3; lost_index++) {
        test_store store;
        bole_error error = BOLE_ERROR_INIT;
        test_store_begin(&store, TEST_MEMORY_AMPLE);
        bl_segment *segment = forge(&store, &two_blocks);
        bl_segment_footer footer;
        assert_ok(bl_segment_footer_read(store.disk, PATH, &footer, &error), &error);
        if (lost_index > 0)
            flip(&store, bl_segment_footer_section(&footer, BL_SECTION_INDEX)->offset);
        if (lost_index == 2) /* what is between the blocks is not zero */
            flip(&store, footer.blocks_end - 80);
        uint64_t short_of_memory = 0, told = 0;
        for (int way = 0; way < 2; way++)
            for (uint64_t at = 0, more = 1; more != 0; at++) {
                bl_segment_salvage *salvage = NULL;
                bl_segment_salvaged found = { 0 };
                losses lost = { 0 };
                store.plan.at = way == 0 ? store.plan.calls + at : UINT64_MAX;
                store.plan.count = 1;
                store.plan.failed = 0;
                store.plan.system_errno = EIO;
                bl_alloc_fail_at(way == 1 ? at : UINT64_MAX, 1);
                bole_status status = bl_segment_salvage_open(store.fault, PATH, bl_segment_meta_of(segment),
                                                             note_loss, &lost, &salvage, &error);
                more = way == 0 ? store.plan.failed : bl_alloc_calls() > at;
                bl_alloc_fail_at(UINT64_MAX, 0);
                store.plan.at = UINT64_MAX;
                if (status != BOLE_OK) {
                    assert_true(more != 0);
                    assert_null(salvage);
                    assert_true(status == BOLE_NO_MEMORY || (way == 0 && status == BOLE_IO));
                    short_of_memory += status == BOLE_NO_MEMORY;
                    continue;
                }
                uint32_t count;
                bl_segment_salvage_describe(salvage, &found);
                bool all = found.entries == 3;
                assert_true(way == 0 || all); /* memory that is short is no damage */
                assert_true(all || lost.count > 0);
                told += lost.count;
                assert_int_equal(found.losses, lost.count);
                assert_ok(count_entries(salvage, &count, &error), &error);
                assert_int_equal(count, found.entries);
            }
        assert_true(short_of_memory > 4 && told > 0);
        bl_segment_footer_deinit(&footer);
        bl_segment_unref(segment);
        test_store_end(&store);
    }
}

/* Goal: a file that is another than the one the manifest means gives nothing; one that goes away between two looks is
 * damage, not the end of its entries. */
static void a_salvage_takes_no_other_file_and_no_missing_one(void **state)
{
    (void)state;
    test_store store;
    bole_error error = BOLE_ERROR_INIT;
    losses lost = { 0 };
    bl_segment_salvage *salvage;
    bl_segment_salvaged found;
    uint32_t count;
    test_store_begin(&store, TEST_MEMORY_AMPLE);
    bl_segment *segment = forge(&store, &two_blocks);
    bl_segment_meta other = *bl_segment_meta_of(segment);
    other.id.bytes[5] = 77;
    assert_ok(bl_segment_salvage_open(store.disk, PATH, &other, note_loss, &lost, &salvage, &error), &error);
    bl_segment_salvage_describe(salvage, &found);
    assert_null(found.footer);
    assert_int_equal(found.entries, 0);
    assert_int_equal(lost.count, 1);
    assert_non_null(strstr(lost.why, "blocks behind the last good one are lost"));
    assert_ok(count_entries(salvage, &count, &error), &error);
    assert_int_equal(count, 0);
    assert_ok(bl_segment_salvage_open(store.disk, PATH, NULL, note_loss, &lost, &salvage, &error), &error);
    bl_segment_salvage_describe(salvage, &found);
    assert_true(found.complete);
    assert_ok(store.disk->remove(store.disk, PATH, &error), &error);
    assert_told(count_entries(salvage, &count, &error), &error, "went away");
    assert_int_equal(count, 0);
    bl_segment_unref(segment);
    test_store_end(&store);
}

/* ---- Files that become shorter ---- */

static bole_vfs shrinking;
static bole_vfs *whole;
static uint64_t readable;

static bole_status read_less(bole_file *file, uint64_t offset, void *data, size_t length, size_t *got,
                             bole_error *error)
{
    uint64_t left = offset < readable ? readable - offset : 0;
    return whole->read(file, offset, data, length < left ? length : (size_t)left, got, error);
}

/* Goal: a file that ends before the length that it was said to have is damage to its reader, and lost blocks to a
 * salvage. */
static void a_file_that_shrinks_is_told(void **state)
{
    (void)state;
    test_store store;
    bole_error error = BOLE_ERROR_INIT;
    test_store_begin(&store, TEST_MEMORY_AMPLE);
    bl_segment *segment = forge(&store, &two_blocks);
    uint64_t bytes = bl_segment_meta_of(segment)->file_bytes;
    whole = store.disk;
    shrinking = *whole;
    shrinking.read = read_less;
    for (readable = 0; readable < bytes; readable += readable < 4000 ? 500 : 7) {
        bole_file *file;
        bl_segment_footer footer;
        bl_segment_salvage *salvage;
        bl_segment_salvaged found;
        losses lost = { 0 };
        uint32_t count;
        assert_ok(whole->open(whole, PATH, BOLE_VFS_READ, &file, &error), &error);
        file->vfs = &shrinking;
        assert_told(bl_segment_footer_read_file(file, PATH, &footer, &error), &error, "the file ends after");
        file->vfs = whole;
        assert_ok(whole->close(file, NULL), NULL);
        assert_ok(bl_segment_salvage_open(&shrinking, PATH, bl_segment_meta_of(segment), note_loss, &lost,
                                          &salvage, &error),
                  &error);
        bl_segment_salvage_describe(salvage, &found);
        assert_true(found.entries == 3 || lost.count > 0);
        assert_ok(count_entries(salvage, &count, &error), &error);
        assert_int_equal(count, found.entries);
    }
    bl_segment_unref(segment);
    test_store_end(&store);
}

/* ---- A load that waits for another ---- */

typedef struct opener {
    bl_job_node node;
    bl_segment *segment;
    bole_status status;
    bool done;
} opener;

static test_store *yielding;
static bole_status open_slowly(bole_vfs *vfs, const char *path, uint32_t flags, bole_file **out,
                               bole_error *error)
{
    for (int i = 0; i < 20; i++)
        bl_yield(yielding->scheduler);
    return whole->open(vfs, path, flags, out, error);
}

static void use_file(void *context)
{
    opener *self = context;
    bole_error error = BOLE_ERROR_INIT;
    bole_file *file;
    bl_descriptor_cache *cache = yielding->environment.descriptors;
    self->status = bl_descriptor_use(cache, &self->segment->descriptor, PATH, &file, &error);
    if (self->status == BOLE_OK)
        bl_descriptor_done(cache, &self->segment->descriptor);
    self->done = true;
}

/* Goal: who wants a file that another is just opening waits for it, and has the same one. */
static void one_opens_and_the_others_wait(void **state)
{
    (void)state;
    test_store store;
    test_store_begin_on(&store, TEST_MEMORY_AMPLE, NULL, 5);
    whole = store.disk;
    shrinking = *whole;
    shrinking.open = open_slowly;
    yielding = &store;
    bl_segment_environment_deinit(&store.environment);
    store.environment.vfs = &shrinking;
    assert_ok(bl_segment_environment_init(&store.environment, NULL), NULL);
    bl_segment *segment = forge(&store, &two_blocks);
    opener openers[3] = { { .done = false } };
    for (int i = 0; i < 3; i++) {
        openers[i].segment = segment;
        openers[i].node = (bl_job_node){ .run = use_file, .context = &openers[i] };
        bl_scheduler_submit(store.scheduler, BL_PRIORITY_HIGH, &openers[i].node);
    }
    for (int i = 0; i < 3; i++) {
        while (!openers[i].done)
            bl_yield(store.scheduler);
        assert_ok(openers[i].status, NULL);
    }
    assert_int_equal(segment->descriptor.users, 0);
    bl_segment_unref(segment);
    test_store_end(&store);
}

enum { LOADERS = 4 };
static pthread_barrier_t all_there;

static void *load_for_oneself(void *segment)
{
    bole_error error = BOLE_ERROR_INIT;
    bl_unit *unit;
    pthread_barrier_wait(&all_there);
    assert_ok(bl_unit_load_private(segment, &unit, &error), &error);
    bl_unit_put(segment, unit);
    return NULL;
}

/* Goal (UNIT-3): of loads at once, each of which may make the segment's counters, one gives them; they are charged
 * once. */
static void loads_at_once_make_one_set_of_counters(void **state)
{
    (void)state;
    test_store store;
    test_store_begin(&store, TEST_MEMORY_AMPLE);
    for (int round = 0; round < 100; round++) {
        pthread_t loaders[LOADERS];
        bl_segment *segment = forge(&store, &two_blocks);
        uint64_t charged = bl_memory_budget_used(&store.budget, BL_MEMORY_INDEX);
        assert_int_equal(pthread_barrier_init(&all_there, NULL, LOADERS), 0);
        for (int i = 0; i < LOADERS; i++)
            assert_int_equal(pthread_create(&loaders[i], NULL, load_for_oneself, segment), 0);
        for (int i = 0; i < LOADERS; i++)
            assert_int_equal(pthread_join(loaders[i], NULL), 0);
        pthread_barrier_destroy(&all_there);
        assert_int_equal(bl_memory_budget_used(&store.budget, BL_MEMORY_INDEX) - charged,
                         BL_COUNT_STRIPES * sizeof(bl_segment_stripe));
        bl_segment_unref(segment);
    }
    test_store_end(&store);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_check_asks_for_what_no_checksum_says),
        cmocka_unit_test(a_check_whose_file_cannot_be_opened_tells),
        cmocka_unit_test(a_key_above_the_last_separator_is_damage),
        cmocka_unit_test(a_pointer_into_a_block_of_two_finds_no_value),
        cmocka_unit_test(a_unit_that_goes_is_not_held),
        cmocka_unit_test(what_was_built_is_looked_at),
        cmocka_unit_test(a_salvage_goes_on_past_reads_that_fail),
        cmocka_unit_test(a_salvage_takes_no_other_file_and_no_missing_one),
        cmocka_unit_test(a_file_that_shrinks_is_told),
        cmocka_unit_test(one_opens_and_the_others_wait),
        cmocka_unit_test(loads_at_once_make_one_set_of_counters),
    };
    return cmocka_run_group_tests_name("segment_forged", tests, NULL, NULL);
}
