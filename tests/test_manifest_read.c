/* SPDX-License-Identifier: MIT */
/* test_manifest_read.c -- reading CURRENT and manifests that are forged behind right checksums, that take many reads,
 * that end while they are read; and each call to the disk and each allocation failing. */
#include "test.h"

#include <bole/bole_vfs.h>

#include "base/alloc.h"
#include "base/checksum.h"
#include "base/coding.h"
#include "base/prng.h"
#include "version/file_name.h"
#include "version/manifest.h"
#include "version/manifest_salvage.h"
#include "version_fixture.h"

#define STORE "store"
#define PATH STORE "/manifest-000001"

static bole_vfs *disk;
static bole_error error;
static const bl_id store_id = { { 6, 6, 6 } }, no_id = { { 0 } };

static int set_up(void **state)
{
    (void)state;
    error = (bole_error)BOLE_ERROR_INIT;
    assert_ok(bole_vfs_memory_create(1, &disk), NULL);
    assert_ok(disk->make_directory(disk, STORE, &error), &error);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    bole_vfs_destroy(disk);
    return 0;
}

static void write_file(const char *path, const void *bytes, size_t size)
{
    bole_file *file;
    assert_ok(disk->open(disk, path, BOLE_VFS_WRITE | BOLE_VFS_CREATE | BOLE_VFS_TRUNCATE, &file, &error),
              &error);
    assert_ok(disk->write(file, 0, bytes, size, &error), &error);
    assert_ok(disk->close(file, &error), &error);
}

static void told(bole_status wanted, const char *part, bole_status status)
{
    assert_status(wanted, status, &error);
    if (strstr(error.message, part) == NULL)
        fail_msg("the story \"%s\" does not name \"%s\"", error.message, part);
    error = (bole_error)BOLE_ERROR_INIT;
}

/* ---- CURRENT ---- */

static void a_current_that_contradicts_itself_is_refused(void **state)
{
    (void)state;
    bl_current good = { .store_id = store_id, .manifest_id = { { 5 } }, .manifest_number = 7 }, read;
    bool renamed;
    assert_ok(bl_current_write(disk, STORE, &good, &renamed, &error), &error);
    assert_ok(bl_current_read(disk, STORE, &read, &error), &error);
    assert_memory_equal(&read, &good, sizeof good);
    uint8_t base[5000] = { 0 };
    size_t got;
    bole_file *file;
    assert_ok(disk->open(disk, STORE "/CURRENT", BOLE_VFS_READ, &file, &error), &error);
    assert_ok(disk->read(file, 0, base, sizeof base, &got, &error), &error);
    assert_ok(disk->close(file, &error), &error);
    assert_int_equal(got, BL_CURRENT_BYTES);
    for (int which = 0;; which++) {
        uint8_t bytes[sizeof base];
        size_t size = BL_CURRENT_BYTES;
        const char *part;
        memcpy(bytes, base, sizeof base);
        switch (which) {
        case 0: size = 87, part = "not its length"; break;
        case 1: bl_put_u32(bytes + 12, 96), part = "not its length"; break;
        case 2: bl_put_u32(bytes + 12, 96), size = 96, part = "not its length"; break;
        case 3: bl_put_u32(bytes + 12, 4200), size = 4200, part = "not its length"; break;
        case 4: memset(bytes + 24, 0, 16), part = "an id is zero"; break;
        case 5: memset(bytes + 40, 0, 16), part = "an id is zero"; break;
        case 6: bl_put_u64(bytes + 56, 0), part = "no file has"; break;
        case 7: bl_put_u64(bytes + 56, BL_FILE_NUMBER_MAX), part = "no file has"; break;
        case 8: bl_put_u64(bytes + 64, BL_MANIFEST_HEADER_BYTES), part = "contradicts itself"; break;
        case 9: bl_put_u64(bytes + 72, 1), part = "contradicts itself"; break;
        default: return;
        }
        bl_id id;
        memcpy(id.bytes, bytes + 24, BL_ID_BYTES);
        bl_put_u64(bytes + size - 8, bl_checksum(bl_checksum_seed(id), 0, bytes, size - 8));
        write_file(STORE "/CURRENT", bytes, size);
        told(BOLE_CORRUPT, part, bl_current_read(disk, STORE, &read, &error));
        assert_int_equal(read.manifest_number, 0);
    }
}

static void what_fails_with_current_is_told(void **state)
{
    (void)state;
    bl_current good = { .store_id = store_id, .manifest_id = { { 5 } }, .manifest_number = 7 }, read;
    uint64_t failed = 0;
    bool renamed;
    for (int writes = 1; writes >= 0; writes--)
        for (uint64_t at = 0, more = 1; more != 0; at++) {
            bole_fault_plan plan = { .at = at, .count = 1, .system_errno = 5 };
            bole_vfs *failing;
            assert_ok(bole_vfs_fault_create(disk, &plan, &failing), NULL);
            bole_status status = writes ? bl_current_write(failing, STORE, &good, &renamed, &error)
                                        : bl_current_read(failing, STORE, &read, &error);
            more = plan.failed;
            assert_status(more != 0 ? BOLE_IO : BOLE_OK, status, &error);
            bool is_directory;
            if (writes && status != BOLE_OK && !renamed)
                assert_status(BOLE_NOT_FOUND, disk->exists(disk, STORE "/CURRENT.tmp", &is_directory, NULL),
                              NULL);
            failed += more;
            bole_vfs_destroy(failing);
        }
    assert_int_equal(failed, 6 + 3);
}

/* ---- headers ---- */

typedef struct header {
    bl_id id, of_store;
    uint64_t number;
    uint32_t length;
} header;

static void write_header(const header *from)
{
    uint8_t bytes[5000] = { 0 };
    memcpy(bytes, "boleMANI", 8);
    bl_put_u32(bytes + 8, BL_MANIFEST_FORMAT);
    bl_put_u32(bytes + 12, from->length);
    memcpy(bytes + 24, from->id.bytes, BL_ID_BYTES);
    memcpy(bytes + 40, from->of_store.bytes, BL_ID_BYTES);
    bl_put_u64(bytes + 56, from->number);
    size_t covered = from->length - 8;
    bl_put_u64(bytes + covered, bl_checksum(bl_checksum_seed(from->id), 0, bytes, covered));
    write_file(PATH, bytes, from->length);
}

static void a_header_that_cannot_be_is_refused(void **state)
{
    (void)state;
    const header good = { { { 9 } }, store_id, 1, BL_MANIFEST_HEADER_BYTES };
    const bl_current names = { .store_id = store_id, .manifest_id = { { 9 } }, .manifest_number = 1 };
    bl_manifest_scanned scanned;
    write_header(&good);
    assert_ok(bl_manifest_scan(disk, PATH, NULL, NULL, NULL, &scanned, &error), &error);
    assert_int_equal(scanned.edits, 0);
    told(BOLE_CORRUPT, "the snapshot", bl_manifest_scan(disk, PATH, &names, NULL, NULL, &scanned, &error));
    for (int which = 0;; which++) {
        header bad = good;
        bl_current other = names;
        const char *part = "what no header says";
        switch (which) {
        case 0: bad.number = 0; break;
        case 1: bad.number = BL_FILE_NUMBER_MAX; break;
        case 2: bad.id = no_id; break;
        case 3: bad.of_store = no_id; break;
        case 4: bad.length = 80; break;
        case 5: bad.length = 4104, part = "out of range"; break;
        case 6: other.manifest_number = 2, part = "another manifest"; break;
        case 7: other.manifest_id.bytes[0]++, part = "another manifest"; break;
        case 8: other.store_id.bytes[0]++, part = "another manifest"; break;
        default: return;
        }
        write_header(&bad);
        told(BOLE_CORRUPT, part, bl_manifest_scan(disk, PATH, &other, NULL, NULL, &scanned, &error));
    }
}

/* ---- a manifest of many reads ---- */

enum { SEGMENTS = 3000, EDITS = 150 };
static bl_segment_meta metas[SEGMENTS];
static uint64_t edit_ends[EDITS + 1];

static void write_large(void)
{
    static bl_table_description table = { .name = "default", .comparator_name = "bole.bytes" };
    static char key[3000];
    bole_buffer bytes = BOLE_BUFFER_INIT;
    bl_manifest *manifest = NULL;
    memset(key, 'k', sizeof key);
    for (uint32_t i = 0; i < SEGMENTS; i++)
        metas[i] = make_meta(10 + i, 0, 3, 0, bl_slice(key, i < 10 ? 3000 : 50), BOLE_STR("z"), 1, 2);
    bl_version_edit edit = { .snapshot = true,
                             .tables_created = &table,
                             .tables_created_count = 1,
                             .next_file_number = 100000,
                             .next_table_number = 1 };
    for (uint32_t i = 0; i <= EDITS; i++) {
        bytes.size = 0;
        assert_ok(bl_version_edit_encode(&edit, &bytes, &error), &error);
        bole_slice content = bl_slice(bytes.data, bytes.size);
        if (i == 0)
            assert_ok(bl_manifest_create(disk, STORE, 1, store_id, content, &manifest, &error), &error);
        else
            assert_ok(bl_manifest_append(manifest, content, &error), &error);
        edit_ends[i] = bl_manifest_bytes(manifest);
        edit = (bl_version_edit){ .added = metas + i * (SEGMENTS / EDITS), .added_count = SEGMENTS / EDITS };
    }
    bl_manifest_close(manifest);
    bole_buffer_free(&bytes);
}

static bole_status count_edit(void *context, const bl_manifest_edit *edit, bole_error *ignored)
{
    (void)ignored;
    assert_int_equal(edit->ordinal, *(uint64_t *)context);
    ++*(uint64_t *)context;
    return BOLE_OK;
}

static void each_read_and_allocation_may_fail(void **state)
{
    (void)state;
    write_large();
    bl_manifest_scanned scanned;
    bl_manifest_salvaged salvaged;
    uint64_t failed[2] = { 0 };
    for (int salvages = 0; salvages < 2; salvages++)
        for (int way = 0; way < 2; way++)
            for (uint64_t at = 0, more = 1; more != 0; at += way == 0 ? 1 : 1 + at / 20) {
                bole_fault_plan plan = { .at = way == 0 ? at : UINT64_MAX, .count = 1, .system_errno = 5 };
                bole_vfs *failing;
                uint64_t edits = 0;
                int64_t live = bl_alloc_live();
                assert_ok(bole_vfs_fault_create(disk, &plan, &failing), NULL);
                bl_alloc_fail_at(way == 1 ? at : UINT64_MAX, 1);
                bole_status status = salvages ? bl_manifest_salvage(failing, PATH, NULL, count_edit, &edits,
                                                                    &salvaged, &error)
                                              : bl_manifest_scan(failing, PATH, NULL, count_edit, &edits,
                                                                 &scanned, &error);
                more = way == 0 ? plan.failed : bl_alloc_calls() > at;
                bl_alloc_fail_at(UINT64_MAX, 0);
                bole_vfs_destroy(failing);
                assert_int_equal(bl_alloc_live(), live);
                failed[way] += more;
                if (more == 0 || status == BOLE_OK) { /* a salvage takes a failing close as it comes */
                    assert_ok(status, &error);
                    assert_int_equal(edits, EDITS + 1);
                } else {
                    assert_status(way == 0 ? BOLE_IO : BOLE_NO_MEMORY, status, &error);
                }
            }
    assert_true(failed[0] > 7 && failed[1] > 10);
}

/* A manifest whose second edit ends where the first read does, and a third behind it. */
static void write_to_the_window(void)
{
    enum { WINDOW = 256 * 1024 };
    static char key[BOLE_KEY_BYTES_MAX];
    bole_buffer bytes = BOLE_BUFFER_INIT;
    bl_manifest *manifest = NULL;
    memset(key, 'k', sizeof key);
    bl_version_edit edit = { .snapshot = true, .next_file_number = 100000, .next_table_number = 1 };
    assert_ok(bl_version_edit_encode(&edit, &bytes, &error), &error);
    assert_ok(bl_manifest_create(disk, STORE, 1, store_id, bl_slice(bytes.data, bytes.size), &manifest,
                                 &error),
              &error);
    uint64_t before = bl_manifest_bytes(manifest) - BL_MANIFEST_HEADER_BYTES - bytes.size;
    bl_segment_meta added[5];
    edit = (bl_version_edit){ .added = added, .added_count = 5 };
    for (uint32_t i = 0; i < 5; i++)
        added[i] = make_meta(10 + i, 0, 3, 0, bl_slice(key, 50000), BOLE_STR("z"), 1, 2);
    for (int round = 0; round < 2; round++) { /* what is missing comes into the last key */
        bytes.size = 0;
        assert_ok(bl_version_edit_encode(&edit, &bytes, &error), &error);
        if (round == 0)
            added[4].smallest.size += WINDOW - bl_manifest_bytes(manifest) - before - bytes.size;
    }
    assert_ok(bl_manifest_append(manifest, bl_slice(bytes.data, bytes.size), &error), &error);
    assert_int_equal(bl_manifest_bytes(manifest), WINDOW);
    bytes.size = 0;
    edit = (bl_version_edit){ .synced = 7 };
    assert_ok(bl_version_edit_encode(&edit, &bytes, &error), &error);
    assert_ok(bl_manifest_append(manifest, bl_slice(bytes.data, bytes.size), &error), &error);
    bl_manifest_close(manifest);
    bole_buffer_free(&bytes);
}

/* The read that begins with an edit may fail, too. */
static void a_read_that_begins_with_an_edit_may_fail(void **state)
{
    (void)state;
    write_to_the_window();
    uint64_t shown[4] = { 0 }; /* failures, by the edits that were seen before */
    for (uint64_t at = 0, more = 1; more != 0; at++) {
        bole_fault_plan plan = { .at = at, .count = 1, .system_errno = 5 };
        bole_vfs *failing;
        bl_manifest_scanned scanned;
        uint64_t edits = 0;
        assert_ok(bole_vfs_fault_create(disk, &plan, &failing), NULL);
        bole_status status = bl_manifest_scan(failing, PATH, NULL, count_edit, &edits, &scanned, &error);
        more = plan.failed;
        bole_vfs_destroy(failing);
        if (more == 0)
            assert_int_equal(edits, 3);
        assert_status(more != 0 ? BOLE_IO : BOLE_OK, status, &error);
        shown[edits]++;
    }
    assert_true(shown[2] > 0);
}

/* Goal (MSALVAGE-2): bytes behind the edits that are made to look like edits do not take for ever. */
static void a_salvage_of_what_looks_like_edits_ends(void **state)
{
    (void)state;
    enum { REST = 200000 };
    write_to_the_window();
    uint8_t *words = malloc(REST);
    bole_file *file;
    uint64_t length;
    assert_non_null(words);
    for (size_t i = 0; i < REST; i += 4)
        bl_put_u32(words + i, 0x8000); /* a length, and an ordinal */
    assert_ok(disk->open(disk, PATH, BOLE_VFS_WRITE, &file, &error), &error);
    assert_ok(disk->length(file, &length, &error), &error);
    assert_ok(disk->write(file, length, words, REST, &error), &error);
    assert_ok(disk->close(file, &error), &error);
    free(words);
    bl_manifest_salvaged salvaged;
    uint64_t edits = 0;
    assert_ok(bl_manifest_salvage(disk, PATH, NULL, count_edit, &edits, &salvaged, &error), &error);
    assert_int_equal(edits, 3);
    assert_int_equal(salvaged.edits, 3);
    assert_int_equal(salvaged.first_damage, length);
}

/* ---- a file that gets shorter while it is read ---- */

static uint64_t readable; /* bytes of the file that a read still finds */
static bole_vfs shrinking;

static bole_status read_less(bole_file *file, uint64_t offset, void *data, size_t length, size_t *got,
                             bole_error *out)
{
    uint64_t left = offset < readable ? readable - offset : 0;
    return disk->read(file, offset, data, length < left ? length : (size_t)left, got, out);
}

static void a_manifest_that_shrinks_is_told(void **state)
{
    (void)state;
    write_large();
    shrinking = *disk;
    shrinking.read = read_less;
    bl_prng prng;
    bl_prng_init(&prng, test_seed(1));
    for (int i = 0; i < 100; i++) {
        bl_manifest_scanned scanned;
        uint64_t edits = 0;
        readable = i == 0 ? 10 : i == 1 ? edit_ends[EDITS] - 1 : bl_prng_below(&prng, edit_ends[EDITS]);
        bole_status status = bl_manifest_scan(&shrinking, PATH, NULL, count_edit, &edits, &scanned, &error);
        told(BOLE_CORRUPT, "while it is being read", status);
        assert_true(edits == 0 || edit_ends[edits - 1] <= readable);
    }
}

/* ---- torn ends and damage, larger than a read ---- */

static void damage_in_a_large_manifest_is_judged(void **state)
{
    (void)state;
    write_large();
    bole_file *file;
    bl_manifest_scanned scanned;
    uint64_t edits = 0;
    assert_ok(disk->open(disk, PATH, BOLE_VFS_WRITE, &file, &error), &error);
    assert_ok(disk->write(file, edit_ends[3] + 20, "damage", 6, &error), &error);
    assert_ok(disk->close(file, &error), &error);
    told(BOLE_CORRUPT, "was written behind it",
         bl_manifest_scan(disk, PATH, NULL, count_edit, &edits, &scanned, &error));
    assert_int_equal(edits, 4);
    for (uint64_t at = 0, more = 1; more != 0; at++) { /* what fails on the way is no judgement */
        bole_fault_plan plan = { .at = at, .count = 1, .system_errno = 5 };
        bole_vfs *failing;
        edits = 0;
        assert_ok(bole_vfs_fault_create(disk, &plan, &failing), NULL);
        bole_status status = bl_manifest_scan(failing, PATH, NULL, count_edit, &edits, &scanned, &error);
        more = plan.failed;
        assert_true(status == BOLE_IO || status == BOLE_CORRUPT);
        bole_vfs_destroy(failing);
    }
    /* More than one edit can be, behind a damaged one: nothing was torn there. */
    assert_ok(disk->open(disk, PATH, BOLE_VFS_WRITE, &file, &error), &error);
    assert_ok(disk->truncate(file, edit_ends[3] + (UINT64_C(65) << 20), &error), &error);
    assert_ok(disk->close(file, &error), &error);
    edits = 0;
    told(BOLE_CORRUPT, "than one edit can be",
         bl_manifest_scan(disk, PATH, NULL, count_edit, &edits, &scanned, &error));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_current_that_contradicts_itself_is_refused, set_up, tear_down),
        cmocka_unit_test_setup_teardown(what_fails_with_current_is_told, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_header_that_cannot_be_is_refused, set_up, tear_down),
        cmocka_unit_test_setup_teardown(each_read_and_allocation_may_fail, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_read_that_begins_with_an_edit_may_fail, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_salvage_of_what_looks_like_edits_ends, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_manifest_that_shrinks_is_told, set_up, tear_down),
        cmocka_unit_test_setup_teardown(damage_in_a_large_manifest_is_judged, set_up, tear_down),
    };
    return cmocka_run_group_tests_name("manifest_read", tests, NULL, NULL);
}
