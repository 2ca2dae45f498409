/* SPDX-License-Identifier: MIT */
/* test_segment_footer.c -- the ends of a segment file by themselves: each figure that cannot be, behind checksums that
 * are right; each figure that the manifest says otherwise; each allocation and each call to the disk failing. */
#include "test.h"

#include <bole/bole_vfs.h>

#include "base/alloc.h"
#include "base/checksum.h"
#include "base/coding.h"
#include "segment/segment_footer.h"

#define PATH "file.seg"
enum { FOOTER_AT = 8192, INDEX_AT = 5000, INDEX_BYTES = 100, BLOCKS_END = 4900 };

static bole_vfs *disk;
static bole_error error;
static bl_id inputs[2] = { { { 1 } }, { { 2 } } };
static char table_name[] = "trees", comparator_name[] = "bole.bytes";

static int set_up(void **state)
{
    (void)state;
    error = (bole_error)BOLE_ERROR_INIT;
    assert_ok(bole_vfs_memory_create(1, &disk), NULL);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    bole_vfs_destroy(disk);
    return 0;
}

static bl_segment_footer a_footer(void)
{
    bl_segment_footer footer = { .meta = { .id = { { 3, 4, 5 } },
                                           .number = 7,
                                           .table = 11,
                                           .level = 1,
                                           .run = 2,
                                           .entries = 10,
                                           .tombstones = 3,
                                           .blocks = 4,
                                           .raw_bytes = 500,
                                           .smallest = BOLE_STR("aa"),
                                           .largest = BOLE_STR("zz"),
                                           .sequence_min = 100,
                                           .sequence_max = 200,
                                           .created_us = 12345,
                                           .value_uses = BOLE_SLICE("\x05\x02\x09\x01", 4) },
                                 .store_id = { { 6 } },
                                 .table_name = table_name,
                                 .comparator_name = comparator_name,
                                 .inputs = inputs,
                                 .input_count = 2,
                                 .compression = 1,
                                 .block_bytes = 4096,
                                 .filter_bits_per_key_tenths = 100,
                                 .blocks_end = BLOCKS_END,
                                 .section_count = 2 };
    footer.sections[0] = (bl_segment_section){ .kind = BL_SECTION_INDEX,
                                               .flags = BL_SEGMENT_MUST_UNDERSTAND,
                                               .offset = INDEX_AT,
                                               .length = INDEX_BYTES };
    footer.sections[1] = (bl_segment_section){ .kind = BL_SECTION_FILTER,
                                               .offset = INDEX_AT + INDEX_BYTES,
                                               .length = FOOTER_AT - INDEX_AT - INDEX_BYTES };
    return footer;
}

static void write_file(const bl_segment_footer *footer, const void *behind, size_t size)
{
    uint8_t header[BL_SEGMENT_HEADER_BYTES];
    bole_file *file;
    bl_segment_header_encode(&footer->meta, &footer->store_id, header);
    assert_ok(disk->open(disk, PATH, BOLE_VFS_WRITE | BOLE_VFS_CREATE | BOLE_VFS_TRUNCATE, &file, &error),
              &error);
    assert_ok(disk->write(file, 0, header, sizeof header, &error), &error);
    assert_ok(disk->write(file, FOOTER_AT, behind, size, &error), &error);
    assert_ok(disk->close(file, &error), &error);
}

/* As the writer does it. */
static void write_footer(bl_segment_footer *footer)
{
    bole_buffer bytes = BOLE_BUFFER_INIT;
    assert_true(bl_segment_footer_encode(footer, FOOTER_AT, &bytes));
    write_file(footer, bytes.data, bytes.size);
    bole_buffer_free(&bytes);
}

static void read_refused(bole_status wanted, const char *part)
{
    bl_segment_footer read;
    bole_status status = bl_segment_footer_read(disk, PATH, &read, &error);
    if (status == BOLE_OK)
        fail_msg("the footer that should be refused with \"%s\" is not", part);
    assert_status(wanted, status, &error);
    if (strstr(error.message, part) == NULL)
        fail_msg("the story \"%s\" does not name \"%s\"", error.message, part);
    assert_null(read.table_name);
    error = (bole_error)BOLE_ERROR_INIT;
}

static void what_was_written_is_read(void **state)
{
    (void)state;
    bl_segment_footer footer = a_footer(), read;
    write_footer(&footer);
    assert_ok(bl_segment_footer_read(disk, PATH, &read, &error), &error);
    assert_ok(bl_segment_footer_check_meta(&read, &footer.meta, PATH, &error), &error);
    assert_string_equal(read.table_name, table_name);
    assert_string_equal(read.comparator_name, comparator_name);
    assert_int_equal(read.input_count, 2);
    assert_memory_equal(read.inputs, inputs, sizeof inputs);
    assert_int_equal(read.section_count, 2);
    assert_memory_equal(read.sections, footer.sections, 2 * sizeof read.sections[0]);
    assert_int_equal(read.meta.level, 1);
    assert_int_equal(read.meta.run, 2);
    assert_int_equal(read.meta.number, 7);
    assert_true(read.meta.created_us == 12345);
    assert_int_equal(read.compression, 1);
    assert_int_equal(read.block_bytes, 4096);
    assert_int_equal(read.filter_bits_per_key_tenths, 100);
    assert_int_equal(read.blocks_end, BLOCKS_END);
    assert_true(bl_segment_footer_section(&read, BL_SECTION_FILTER) == &read.sections[1]);
    bl_segment_footer_deinit(&read);
    footer = a_footer(); /* without sections, inputs, uses */
    footer.section_count = 0;
    footer.input_count = 0;
    footer.meta.value_uses = (bole_slice){ 0 };
    footer.blocks_end = FOOTER_AT;
    write_footer(&footer);
    assert_ok(bl_segment_footer_read(disk, PATH, &read, &error), &error);
    assert_int_equal(read.section_count, 0);
    assert_int_equal(read.input_count, 0);
    assert_null(bl_segment_footer_section(&read, BL_SECTION_INDEX));
    bl_segment_footer_deinit(&read);
}

static void figures_that_cannot_be_are_refused(void **state)
{
    (void)state;
    static uint8_t long_key[BOLE_KEY_BYTES_MAX + 1];
    for (int which = 0;; which++) {
        bl_segment_footer footer = a_footer();
        const char *part = "do not fit together";
        bole_status wanted = BOLE_CORRUPT;
        switch (which) {
        case 0: footer.meta.entries = 0; break;
        case 1: footer.meta.blocks = 0; break;
        case 2: footer.meta.blocks = footer.meta.entries + 1; break;
        case 3: footer.meta.tombstones = footer.meta.entries + 1; break;
        case 4: footer.meta.sequence_min = footer.meta.sequence_max + 1; break;
        case 5: footer.meta.smallest = (bole_slice){ long_key, sizeof long_key }; break;
        case 6: footer.meta.largest = (bole_slice){ long_key, sizeof long_key }; break;
        case 7: footer.blocks_end = BL_SEGMENT_HEADER_BYTES - 1; break;
        case 8: footer.blocks_end = INDEX_AT + 1; break;
        case 9: footer.section_count = 0, footer.blocks_end = FOOTER_AT + 1; break;
        case 10: footer.meta.value_uses = BOLE_SLICE("\x05", 1); break;
        case 11: footer.meta.value_uses = BOLE_SLICE("\x05\x00", 2); break;         /* no pointer */
        case 12: footer.meta.value_uses = BOLE_SLICE("\x05\x01\x05\x01", 4); break; /* twice */
        case 13:
            footer.meta.value_uses = BOLE_SLICE("\x05\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", 11);
            break;
        case 14: footer.meta.value_uses = BOLE_SLICE("\xff\xff", 2); break;
        case 15: footer.meta.level = BL_LEVEL_VALUES; break; /* more entries than blocks */
        case 16: footer.sections[0].offset = BL_SEGMENT_HEADER_BYTES - 1, part = "section"; break;
        case 17: footer.sections[1].offset = INDEX_AT, part = "section"; break;
        case 18: footer.sections[1].offset = FOOTER_AT + 1, part = "section"; break;
        case 19: footer.sections[1].length++, part = "section"; break;
        case 20: footer.sections[1].kind = BL_SECTION_INDEX, part = "two sections"; break;
        case 21: footer.sections[1].flags = 2, wanted = BOLE_UNSUPPORTED, part = "flags 0x2"; break;
        case 22:
            footer.sections[1].kind = 999, footer.sections[1].flags = BL_SEGMENT_MUST_UNDERSTAND;
            wanted = BOLE_UNSUPPORTED, part = "section of kind 999";
            break;
        default: return;
        }
        write_footer(&footer);
        read_refused(wanted, part);
    }
}

/* A section of a kind that is to come, and need not be understood, is passed over, even twice. */
static void sections_to_come_are_passed_over(void **state)
{
    (void)state;
    bl_segment_footer footer = a_footer(), read;
    footer.section_count = 4;
    footer.sections[1].length = 10;
    footer.sections[2] = footer.sections[3] = footer.sections[1];
    footer.sections[2].offset += 10, footer.sections[3].offset += 20;
    footer.sections[2].kind = footer.sections[3].kind = 999;
    write_footer(&footer);
    assert_ok(bl_segment_footer_read(disk, PATH, &read, &error), &error);
    assert_int_equal(read.section_count, 4);
    assert_int_equal(bl_segment_footer_section(&read, BL_SECTION_INDEX)->offset, INDEX_AT);
    bl_segment_footer_deinit(&read);
}

/* ---- fields by hand ---- */

typedef struct field {
    uint16_t tag, flags;
    const void *bytes;
    uint32_t size;
} field;

enum { FIELDS_MAX = 40 };

/* The fields of a footer as they stand in its bytes. */
static uint32_t split(const uint8_t *data, size_t size, field out[FIELDS_MAX])
{
    uint32_t count = 0;
    for (size_t at = 8 + 2 * 32; at < size; count++) {
        assert_true(count < FIELDS_MAX);
        out[count] = (field){ bl_get_u16(data + at), bl_get_u16(data + at + 2), data + at + 8,
                              bl_get_u32(data + at + 4) };
        at += 8 + out[count].size;
    }
    return count;
}

/* A file whose footer has these fields, says `says` of their number, and is `more` bytes longer. The tail's version,
 * offset and length may be others, too. */
typedef struct lie {
    uint32_t says, more, version;
    uint64_t offset, length;
    uint32_t sections;
} lie;

static void write_fields(const bl_segment_footer *footer, const uint8_t *sections, const field *fields,
                         uint32_t count, const lie *what)
{
    static uint8_t bytes[65536];
    uint8_t *end = bytes;
    bl_put_u32(end, what->sections), bl_put_u32(end + 4, what->says);
    memcpy(end + 8, sections, 64);
    end += 72;
    for (uint32_t i = 0; i < count; i++) {
        bl_put_u16(end, fields[i].tag), bl_put_u16(end + 2, fields[i].flags);
        bl_put_u32(end + 4, fields[i].size);
        memcpy(end + 8, fields[i].bytes, fields[i].size);
        end += 8 + fields[i].size;
    }
    memset(end, 0, what->more);
    end += what->more;
    size_t length = (size_t)(end - bytes);
    uint64_t seed = bl_checksum_seed(footer->meta.id);
    memset(end, 0, BL_SEGMENT_TAIL_BYTES);
    bl_put_u64(end, what->offset != 0 ? what->offset : FOOTER_AT);
    bl_put_u64(end + 8, what->length != 0 ? what->length : length);
    bl_put_u64(end + 16, bl_checksum(seed, FOOTER_AT, bytes, length));
    memcpy(end + 24, footer->meta.id.bytes, BL_ID_BYTES);
    bl_put_u32(end + 40, what->version);
    bl_put_u64(end + 48, bl_checksum(seed, FOOTER_AT + length, end, 48));
    memcpy(end + 56, "boleend\n", 8);
    write_file(footer, bytes, length + BL_SEGMENT_TAIL_BYTES);
}

static void fields_that_cannot_be_are_refused(void **state)
{
    (void)state;
    bl_segment_footer footer = a_footer(), read;
    bole_buffer bytes = BOLE_BUFFER_INIT;
    field fields[FIELDS_MAX] = { { 0 } };
    assert_true(bl_segment_footer_encode(&footer, FOOTER_AT, &bytes));
    const uint8_t *data = bytes.data, *sections = data + 8;
    uint32_t count = split(data, bytes.size - BL_SEGMENT_TAIL_BYTES, fields);
    assert_int_equal(count, bl_get_u32(data + 4));
    const lie honest = { .says = count, .version = BL_SEGMENT_FORMAT_VERSION, .sections = 2 };
    write_fields(&footer, sections, fields, count, &honest);
    assert_ok(bl_segment_footer_read(disk, PATH, &read, &error), &error);
    bl_segment_footer_deinit(&read);

    uint32_t required = 0, of_any_length = 0;
    for (uint32_t i = 0; i < count; i++) {
        field kept = fields[i], changed[FIELDS_MAX];
        lie less = honest;
        less.says--; /* without it */
        memcpy(changed, fields, sizeof changed);
        memmove(&changed[i], &changed[i + 1], (count - i - 1) * sizeof changed[0]);
        write_fields(&footer, sections, changed, count - 1, &less);
        if (bl_segment_footer_read(disk, PATH, &read, &error) == BOLE_OK) {
            bl_segment_footer_deinit(&read);
        } else {
            read_refused(BOLE_CORRUPT, "lacks field");
            required++;
        }
        lie twice = honest;
        twice.says++;
        memcpy(changed, fields, sizeof changed);
        changed[count] = kept;
        write_fields(&footer, sections, changed, count + 1, &twice);
        read_refused(BOLE_CORRUPT, "field");
        memcpy(changed, fields, sizeof changed); /* shorter by a byte */
        changed[i].size--;
        write_fields(&footer, sections, changed, count, &honest);
        if (bl_segment_footer_read(disk, PATH, &read, &error) == BOLE_OK) {
            bl_segment_footer_deinit(&read);
            of_any_length++;
        } else {
            error = (bole_error)BOLE_ERROR_INIT;
        }
        changed[i] = kept;
        changed[i].flags = 2;
        write_fields(&footer, sections, changed, count, &honest);
        read_refused(BOLE_UNSUPPORTED, "flags 0x2");
    }
    assert_int_equal(required, 12);
    assert_int_equal(of_any_length, 4); /* names and keys */
    lie twice = honest;
    twice.says++;
    fields[count] = (field){ 500, 0, "to come", 7 }; /* known to none, and needed by none */
    write_fields(&footer, sections, fields, count + 1, &twice);
    assert_ok(bl_segment_footer_read(disk, PATH, &read, &error), &error);
    bl_segment_footer_deinit(&read);
    fields[count].tag = 0;
    write_fields(&footer, sections, fields, count + 1, &twice);
    assert_ok(bl_segment_footer_read(disk, PATH, &read, &error), &error);
    bl_segment_footer_deinit(&read);
    fields[count].flags = BL_SEGMENT_MUST_UNDERSTAND;
    write_fields(&footer, sections, fields, count + 1, &twice);
    read_refused(BOLE_UNSUPPORTED, "field 0");

    const struct {
        lie what;
        bole_status wanted;
        const char *part;
    } lies[] = {
        { { count, 1, 1, 0, 0, 2 }, BOLE_CORRUPT, "bytes behind" },
        { { count - 1, 0, 1, 0, 0, 2 }, BOLE_CORRUPT, "bytes behind" },
        { { count + 1, 0, 1, 0, 0, 2 }, BOLE_CORRUPT, "does not fit" },
        { { count + 1, 7, 1, 0, 0, 2 }, BOLE_CORRUPT, "does not fit" },
        { { count, 0, 2, 0, 0, 2 }, BOLE_UNSUPPORTED, "segment format 2" },
        { { count, 0, 1, 4095, 0, 2 }, BOLE_CORRUPT, "a footer at 4095" },
        { { count, 0, 1, UINT64_C(1) << 40, 0, 2 }, BOLE_CORRUPT, "a footer at" },
        { { count, 0, 1, 0, 100, 2 }, BOLE_CORRUPT, "a footer at" },
        { { count, 0, 1, 0, 0, 65 }, BOLE_CORRUPT, "65 sections" },
        { { count, 0, 1, 0, 0, 50 }, BOLE_CORRUPT, "50 sections" },
    };
    for (size_t i = 0; i < sizeof lies / sizeof lies[0]; i++) {
        write_fields(&footer, sections, fields, count, &lies[i].what);
        read_refused(lies[i].wanted, lies[i].part);
    }
    bole_buffer_free(&bytes);
}

/* ---- held against the manifest ---- */

static void each_figure_is_held_against_the_manifest(void **state)
{
    (void)state;
    bl_segment_footer footer = a_footer(), read;
    write_footer(&footer);
    assert_ok(bl_segment_footer_read(disk, PATH, &read, &error), &error);
    for (int which = 0;; which++) {
        bl_segment_meta said = footer.meta;
        const char *part;
        switch (which) {
        case 0: said.id.bytes[0] ^= 1, part = "id"; break;
        case 1: said.file_bytes++, part = "size"; break;
        case 2: said.footer_checksum++, part = "footer checksum"; break;
        case 3: said.table++, part = "table"; break;
        case 4: said.entries++, part = "counts"; break;
        case 5: said.tombstones++, part = "counts"; break;
        case 6: said.blocks++, part = "counts"; break;
        case 7: said.raw_bytes++, part = "counts"; break;
        case 8: said.smallest = BOLE_STR("ab"), part = "key range"; break;
        case 9: said.largest = BOLE_STR("zy"), part = "key range"; break;
        case 10: said.sequence_min++, part = "sequence range"; break;
        case 11: said.sequence_max++, part = "sequence range"; break;
        case 12: said.sequences_zeroed = true, part = "sequence range"; break;
        case 13: said.level = BL_LEVEL_VALUES, part = "values"; break;
        case 14: said.value_uses = BOLE_SLICE("\x05\x02", 2), part = "values"; break;
        default: bl_segment_footer_deinit(&read); return;
        }
        assert_status(BOLE_CORRUPT, bl_segment_footer_check_meta(&read, &said, PATH, &error), &error);
        char wanted[40];
        snprintf(wanted, sizeof wanted, "%s: not what", part);
        if (strstr(error.message, wanted) == NULL)
            fail_msg("\"%s\" does not name \"%s\"", error.message, part);
    }
}

/* ---- what fails ---- */

static void what_fails_is_told_and_leaves_nothing(void **state)
{
    (void)state;
    bl_segment_footer footer = a_footer(), read;
    bole_buffer whole = BOLE_BUFFER_INIT;
    uint64_t refused = 0, failed = 0;
    write_footer(&footer);
    assert_true(bl_segment_footer_encode(&footer, FOOTER_AT, &whole));
    for (uint64_t at = 0, more = 1; more != 0; at++) {
        bole_buffer bytes = BOLE_BUFFER_INIT;
        int64_t live = bl_alloc_live();
        bl_alloc_fail_at(at, 1);
        bool good = bl_segment_footer_encode(&footer, FOOTER_AT, &bytes);
        more = bl_alloc_calls() > at;
        bl_alloc_fail_at(UINT64_MAX, 0);
        assert_true(good != (more != 0));
        if (good) {
            assert_int_equal(bytes.size, whole.size);
            assert_memory_equal(bytes.data, whole.data, whole.size);
        }
        refused += !good;
        bole_buffer_free(&bytes);
        assert_int_equal(bl_alloc_live(), live);
    }
    bole_buffer_free(&whole);
    for (uint64_t at = 0, more = 1; more != 0; at++) {
        int64_t live = bl_alloc_live();
        bl_alloc_fail_at(at, 1);
        bole_status status = bl_segment_footer_read(disk, PATH, &read, &error);
        more = bl_alloc_calls() > at;
        bl_alloc_fail_at(UINT64_MAX, 0);
        assert_status(more != 0 ? BOLE_NO_MEMORY : BOLE_OK, status, &error);
        bl_segment_footer_deinit(&read);
        refused += more;
        assert_int_equal(bl_alloc_live(), live);
    }
    assert_true(refused > 8);
    for (uint64_t at = 0, more = 1; more != 0; at++) {
        bole_fault_plan plan = { .at = at, .count = 1, .system_errno = 5 };
        bole_vfs *failing;
        int64_t live = bl_alloc_live();
        assert_ok(bole_vfs_fault_create(disk, &plan, &failing), NULL);
        bole_status status = bl_segment_footer_read(failing, PATH, &read, &error);
        more = plan.failed;
        assert_status(more != 0 ? BOLE_IO : BOLE_OK, status, &error); /* a close that fails, too */
        bl_segment_footer_deinit(&read);
        failed += more;
        bole_vfs_destroy(failing);
        assert_int_equal(bl_alloc_live(), live);
    }
    assert_int_equal(failed, 6); /* open, length, three reads, close */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(what_was_written_is_read, set_up, tear_down),
        cmocka_unit_test_setup_teardown(figures_that_cannot_be_are_refused, set_up, tear_down),
        cmocka_unit_test_setup_teardown(sections_to_come_are_passed_over, set_up, tear_down),
        cmocka_unit_test_setup_teardown(fields_that_cannot_be_are_refused, set_up, tear_down),
        cmocka_unit_test_setup_teardown(each_figure_is_held_against_the_manifest, set_up, tear_down),
        cmocka_unit_test_setup_teardown(what_fails_is_told_and_leaves_nothing, set_up, tear_down),
    };
    return cmocka_run_group_tests_name("segment_footer", tests, NULL, NULL);
}
