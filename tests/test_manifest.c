/* SPDX-License-Identifier: MIT */
/* test_manifest.c -- the manifest and CURRENT as bytes: what is damage, what is torn, what is hostile; and
 * the order of the calls that write them. */
#include "version_fixture.h"

#include "base/coding.h"
#include <errno.h>

/* ---- Files in memory ---- */

static bole_buffer read_whole(bole_vfs *vfs, const char *path)
{
    bole_file *file;
    bole_error error = BOLE_ERROR_INIT;
    uint64_t length;
    size_t got;
    bole_buffer bytes = BOLE_BUFFER_INIT;
    assert_ok(vfs->open(vfs, path, BOLE_VFS_READ, &file, &error), &error);
    assert_ok(vfs->length(file, &length, &error), &error);
    assert_true(bl_buffer_append_zero(&bytes, length));
    assert_ok(vfs->read(file, 0, bytes.data, length, &got, &error), &error);
    assert_int_equal(got, length);
    assert_ok(vfs->close(file, &error), &error);
    return bytes;
}

static void write_whole(bole_vfs *vfs, const char *path, const void *data, size_t size)
{
    bole_file *file;
    bole_error error = BOLE_ERROR_INIT;
    assert_ok(vfs->open(vfs, path, BOLE_VFS_WRITE | BOLE_VFS_CREATE | BOLE_VFS_TRUNCATE, &file, &error),
              &error);
    if (size != 0)
        assert_ok(vfs->write(file, 0, data, size, &error), &error);
    assert_ok(vfs->close(file, &error), &error);
}

/* A store with a few edits; closed cleanly or not. Its text is returned (free). */
static char *make_store(bole_vfs *disk, bool clean, uint64_t seed)
{
    static random_edit random;
    static version_model model;
    bole_error error = BOLE_ERROR_INIT;
    bl_prng prng;
    bl_version_set *set;
    bl_version_set_parameters parameters = set_parameters(disk);
    bl_prng_init(&prng, seed);
    model_begin(&model);
    assert_ok(bl_version_set_create(&parameters, &set, &error), &error);
    for (int i = 0; i < 6; i++) {
        random_edit_make(&model, &prng, set, &random);
        assert_ok(set_apply(set, &random.edit, &error), &error);
    }
    if (clean)
        assert_ok(set_close_cleanly(set, NULL, &error), &error);
    char *text = set_text(set);
    bl_version_set_destroy(set);
    return text;
}

/* The state that the disk holds, or NULL and the error. */
static char *open_store(bole_vfs *disk, bole_status *status, bole_error *error)
{
    bl_version_set *set;
    bl_version_set_parameters parameters = set_parameters(disk);
    parameters.read_only = true;
    *error = (bole_error)BOLE_ERROR_INIT;
    *status = bl_version_set_recover(&parameters, &set, error);
    char *text = *status == BOLE_OK ? set_text(set) : NULL;
    bl_version_set_destroy(set);
    return text;
}

#define CURRENT_PATH STORE_DIRECTORY "/CURRENT"
#define MANIFEST_PATH STORE_DIRECTORY "/manifest-000001"

/* Goal: after a clean close no bit of manifest or CURRENT can change, nor a byte go or come, without an error
 * that names the file. Method: each in turn. */
static void every_changed_bit_of_a_cleanly_closed_store_is_detected(void **state)
{
    (void)state;
    bole_vfs *disk = disk_make(1);
    char *text = make_store(disk, true, test_seed(21));
    unsigned flips = 0;
    for (int which = 0; which < 2; which++) {
        const char *path = which == 0 ? CURRENT_PATH : MANIFEST_PATH;
        bole_buffer bytes = read_whole(disk, path);
        uint8_t *data = bytes.data;
        for (size_t bit = 0; bit < bytes.size * 8 + bytes.size + 2; bit++) {
            size_t size = bytes.size;
            if (bit < bytes.size * 8)
                data[bit / 8] ^= (uint8_t)(1u << bit % 8);
            else
                size = bit - bytes.size * 8; /* cut to 0, 1, ... bytes; and one byte more */
            if (size == bytes.size && bit >= bytes.size * 8)
                continue;
            if (size > bytes.size) {
                assert_true(bl_buffer_append_u8(&bytes, 7));
                write_whole(disk, path, bytes.data, bytes.size);
                bytes.size--;
            } else {
                write_whole(disk, path, bytes.data, size);
            }
            bole_status status;
            bole_error error;
            char *found = open_store(disk, &status, &error);
            if (found != NULL)
                fail_msg("%s: change %zu was not noticed", path, bit);
            assert_true(status == BOLE_CORRUPT || status == BOLE_UNSUPPORTED);
            assert_true(strstr(error.message, "CURRENT") != NULL ||
                        strstr(error.message, "manifest") != NULL || strstr(error.file, "CURRENT") != NULL ||
                        strstr(error.file, "manifest") != NULL);
            if (bit < bytes.size * 8)
                data[bit / 8] ^= (uint8_t)(1u << bit % 8);
            flips++;
        }
        write_whole(disk, path, bytes.data, bytes.size);
        bole_buffer_free(&bytes);
    }
    bole_status status;
    bole_error error;
    char *found = open_store(disk, &status, &error);
    assert_string_equal(found, text);
    print_message("[   COUNT  ] %u changes, 0 unnoticed\n", flips);
    free(found);
    free(text);
    bole_vfs_destroy(disk);
}

typedef struct edit_places {
    uint64_t offsets[64], ends[64];
    uint32_t count;
} edit_places;

static bole_status note_place(void *context, const bl_manifest_edit *edit, bole_error *error)
{
    (void)error;
    edit_places *places = context;
    assert_int_equal(edit->ordinal, places->count);
    places->offsets[places->count] = edit->offset;
    places->ends[places->count++] = edit->offset + edit->bytes;
    return BOLE_OK;
}

/* Goal: without a clean mark a bad last edit is torn, and dropped; a bad one before a good one is damage, and
 * reported with its offset. Method: every byte of every record changed in turn; what is found is the state
 * before the last edit, or an error. */
static void a_bad_last_edit_is_torn_and_any_other_is_damage(void **state)
{
    (void)state;
    bole_vfs *disk = disk_make(2);
    char *text = make_store(disk, false, test_seed(22));
    bole_buffer bytes = read_whole(disk, MANIFEST_PATH);
    uint8_t *data = bytes.data;
    edit_places places = { .count = 0 };
    bl_manifest_scanned scanned;
    bole_error error = BOLE_ERROR_INIT;
    bole_status status;
    assert_ok(bl_manifest_scan(disk, MANIFEST_PATH, NULL, note_place, &places, &scanned, &error), &error);
    assert_int_equal(places.count, 7);
    assert_int_equal(scanned.edits, 7);
    assert_int_equal(scanned.bytes, bytes.size);
    assert_int_equal(places.ends[6], bytes.size);
    assert_false(scanned.torn);
    uint32_t last = places.count - 1;
    write_whole(disk, MANIFEST_PATH, data, places.offsets[last]);
    char *before = open_store(disk, &status, &error);
    assert_non_null(before);
    for (uint32_t record = 0; record < places.count; record++) {
        for (uint64_t at = places.offsets[record]; at < places.ends[record]; at++) {
            data[at] ^= (uint8_t)(1 + at % 255);
            write_whole(disk, MANIFEST_PATH, data, bytes.size);
            char *found = open_store(disk, &status, &error);
            if (record == last) {
                assert_ok(status, &error);
                assert_string_equal(found, before);
            } else {
                assert_int_equal(status, BOLE_CORRUPT);
                assert_int_equal(error.offset, places.offsets[record]);
                assert_non_null(strstr(error.file, "manifest-000001"));
            }
            free(found);
            data[at] ^= (uint8_t)(1 + at % 255);
        }
    }
    for (uint64_t size = places.offsets[last]; size < bytes.size;
         size++) { /* cut, and zeros behind the cut */
        for (int zeros = 0; zeros < 2; zeros++) {
            bole_buffer cut = BOLE_BUFFER_INIT;
            assert_true(bl_buffer_append(&cut, data, size));
            if (zeros)
                assert_true(bl_buffer_append_zero(&cut, bytes.size - size));
            bool same = zeros && memcmp(cut.data, data, bytes.size) == 0;
            write_whole(disk, MANIFEST_PATH, cut.data, cut.size);
            char *found = open_store(disk, &status, &error);
            assert_ok(status, &error);
            assert_string_equal(found, same ? text : before);
            free(found);
            bole_buffer_free(&cut);
        }
    }
    bole_buffer_free(&bytes);
    free(before);
    free(text);
    bole_vfs_destroy(disk);
}

/* Goal: what stands in the place of CURRENT has a status and a message of its own. */
static void everything_that_is_not_a_good_current_has_its_own_story(void **state)
{
    (void)state;
    bole_vfs *disk = disk_make(3);
    char *text = make_store(disk, false, 23), *found;
    bole_status status;
    bole_error error;
    bole_buffer good = read_whole(disk, CURRENT_PATH);
    assert_int_equal(good.size, BL_CURRENT_BYTES);
    assert_ok(disk->remove(disk, CURRENT_PATH, &error), &error);
    found = open_store(disk, &status, &error);
    assert_int_equal(status, BOLE_NO_STORE);
    assert_non_null(strstr(error.message, "no file CURRENT"));
    write_whole(disk, CURRENT_PATH, "", 0);
    found = open_store(disk, &status, &error);
    assert_int_equal(status, BOLE_CORRUPT);
    assert_non_null(strstr(error.message, "empty"));
    write_whole(disk, CURRENT_PATH, "manifest-000001\nmanifest-000001\n", 32); /* another engine's way */
    found = open_store(disk, &status, &error);
    assert_int_equal(status, BOLE_CORRUPT);
    assert_non_null(strstr(error.message, "not a CURRENT"));
    uint8_t bytes[BL_CURRENT_BYTES + 100];
    memset(bytes, 0, sizeof bytes);
    write_whole(disk, CURRENT_PATH, bytes, BL_CURRENT_BYTES);
    found = open_store(disk, &status, &error);
    assert_int_equal(status, BOLE_CORRUPT);
    for (int which = 0; which < 4; which++) { /* whole, with a right checksum, and not ours to read */
        size_t size = which == 1 ? BL_CURRENT_BYTES + 40 : BL_CURRENT_BYTES;
        memcpy(bytes, good.data, BL_CURRENT_BYTES);
        if (which <= 1)
            bl_put_u32(bytes + 8, 2); /* format, perhaps with a longer file */
        bl_put_u32(bytes + 12, (uint32_t)size);
        if (which == 2)
            bl_put_u64(bytes + 16, 4); /* features */
        if (which == 3)
            bl_put_u64(bytes + 56, 9); /* a manifest that is not there */
        bl_id store_id;
        memcpy(store_id.bytes, bytes + 24, BL_ID_BYTES);
        bl_put_u64(bytes + size - 8, bl_checksum(bl_checksum_seed(store_id), 0, bytes, size - 8));
        write_whole(disk, CURRENT_PATH, bytes, size);
        found = open_store(disk, &status, &error);
        assert_int_equal(status, which == 3 ? BOLE_CORRUPT : BOLE_UNSUPPORTED);
        static const char *const stories[] = { "format 2", "format 2", "features", "manifest-000009" };
        assert_non_null(strstr(error.message, stories[which]));
    }
    assert_null(found);
    bole_buffer_free(&good);
    free(text);
    bole_vfs_destroy(disk);
}

/* Goal: a symbolic link in the place of CURRENT or of the manifest is refused, on a real disk. */
static void a_symbolic_link_is_refused(void **state)
{
    (void)state;
    test_directory directory = test_directory_make();
    bole_vfs *vfs = bole_vfs_posix();
    bole_error error = BOLE_ERROR_INIT;
    bl_version_set *set;
    static const char *const names[] = { "CURRENT", "manifest-000001" };
    world_begin();
    bl_version_set_parameters parameters = set_parameters(vfs);
    parameters.directory = directory.path;
    assert_ok(bl_version_set_create(&parameters, &set, &error), &error);
    bl_version_set_destroy(set);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(rename(test_path(&directory, names[i]), test_path(&directory, "aside")), 0);
        assert_int_equal(symlink("aside", test_path(&directory, names[i])), 0);
        assert_status(BOLE_INVALID, bl_version_set_recover(&parameters, &set, &error), &error);
        assert_null(set);
        assert_int_equal(rename(test_path(&directory, "aside"), test_path(&directory, names[i])), 0);
    }
    assert_ok(bl_version_set_recover(&parameters, &set, &error), &error);
    bl_version_set_destroy(set);
}

/* ---- Hostile manifests: the checksums are right, the content is not ---- */

typedef struct forged_manifest {
    bole_buffer bytes;
    bl_id id, store_id;
    uint32_t ordinal;
} forged_manifest;

static void forge_begin(forged_manifest *forged, uint32_t format, uint64_t features)
{
    *forged = (forged_manifest){ .ordinal = 0 };
    memset(forged->id.bytes, 5, BL_ID_BYTES);
    memset(forged->store_id.bytes, 6, BL_ID_BYTES);
    uint8_t header[BL_MANIFEST_HEADER_BYTES];
    memcpy(header, "boleMANI", 8);
    bl_put_u32(header + 8, format);
    bl_put_u32(header + 12, BL_MANIFEST_HEADER_BYTES);
    bl_put_u64(header + 16, features);
    memcpy(header + 24, forged->id.bytes, BL_ID_BYTES);
    memcpy(header + 40, forged->store_id.bytes, BL_ID_BYTES);
    bl_put_u64(header + 56, 1);
    bl_put_u64(header + 64, bl_checksum(bl_checksum_seed(forged->id), 0, header, 64));
    assert_true(bl_buffer_append(&forged->bytes, header, sizeof header));
}

static void forge_record(forged_manifest *forged, const void *payload, size_t size)
{
    uint64_t offset = forged->bytes.size;
    assert_true(bl_buffer_append_u64(&forged->bytes, 0));
    assert_true(bl_buffer_append_u32(&forged->bytes, (uint32_t)size));
    assert_true(bl_buffer_append_u32(&forged->bytes, forged->ordinal++));
    assert_true(bl_buffer_append(&forged->bytes, payload, size));
    uint8_t *at = (uint8_t *)forged->bytes.data + offset;
    bl_put_u64(at, bl_checksum(bl_checksum_seed(forged->id), offset, at + 8, 8 + size));
}

static void forge_edit(forged_manifest *forged, const bl_version_edit *edit)
{
    bole_buffer bytes = BOLE_BUFFER_INIT;
    assert_ok(bl_version_edit_encode(edit, &bytes, NULL), NULL);
    forge_record(forged, bytes.data, bytes.size);
    bole_buffer_free(&bytes);
}

/* Put it on a disk with a CURRENT that names it, and open. */
static bole_status open_forged(forged_manifest *forged, bole_error *error)
{
    bole_vfs *disk = disk_make(4);
    bl_current current = { .store_id = forged->store_id, .manifest_id = forged->id, .manifest_number = 1 };
    bool renamed;
    bole_status status;
    write_whole(disk, MANIFEST_PATH, forged->bytes.data, forged->bytes.size);
    assert_ok(bl_current_write(disk, STORE_DIRECTORY, &current, &renamed, error), error);
    char *text = open_store(disk, &status, error);
    free(text);
    bole_vfs_destroy(disk);
    bole_buffer_free(&forged->bytes);
    return status;
}

static bl_table_description default_table = { 0, "default", BL_COMPARATOR_BYTES_NAME, 0, NULL };
static const bl_version_edit empty_snapshot = { .snapshot = true,
                                                .tables_created = &default_table,
                                                .tables_created_count = 1,
                                                .next_file_number = 1000,
                                                .next_table_number = 1 };

/* Goal: a manifest with right checksums and wrong content is refused with a status, whatever it says. */
static void a_hostile_manifest_is_corrupt_or_unsupported(void **state)
{
    (void)state;
    bole_error error = BOLE_ERROR_INIT;
    forged_manifest forged;
    forge_begin(&forged, 2, 0);
    assert_status(BOLE_UNSUPPORTED, open_forged(&forged, &error), &error);
    forge_begin(&forged, 1, 1);
    assert_status(BOLE_UNSUPPORTED, open_forged(&forged, &error), &error);
    forge_begin(&forged, 1, 0); /* no snapshot */
    assert_status(BOLE_CORRUPT, open_forged(&forged, &error), &error);
    forge_begin(&forged, 1, 0);
    forge_edit(&forged, &empty_snapshot);
    assert_status(BOLE_OK, open_forged(&forged, &error), &error);
    forge_begin(&forged, 1, 0);
    forge_edit(&forged, &empty_snapshot);
    forged.ordinal = 7; /* an edit is missing */
    forge_edit(&forged, &(bl_version_edit){ .synced = 5 });
    assert_status(BOLE_CORRUPT, open_forged(&forged, &error), &error);
    const struct {
        const char *bytes;
        size_t size;
        bole_status status;
    } payloads[] = {
        { "\x19\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\x01", 11,
          BOLE_CORRUPT },                                /* a field as long as the world */
        { "\x19\x05\x03\x01\x0A", 5, BOLE_CORRUPT },     /* ends inside */
        { "\x19\x00", 2, BOLE_CORRUPT },                 /* a segment of nothing */
        { "\x01\x00", 2, BOLE_UNSUPPORTED },             /* tag 0 */
        { "\x80", 1, BOLE_CORRUPT },                     /* half a varint */
        { "\x05\x02\x80\x00", 4, BOLE_CORRUPT },         /* a number in a long form */
        { "\x05\x01\x01\x05\x01\x01", 6, BOLE_CORRUPT }, /* a number twice */
        { "\x13\x03\x01\x01\x02\x13\x03\x01\x01", 9, BOLE_CORRUPT },
    };
    for (size_t i = 0; i < sizeof payloads / sizeof payloads[0]; i++) {
        forge_begin(&forged, 1, 0);
        forge_edit(&forged, &empty_snapshot);
        forge_record(&forged, payloads[i].bytes, payloads[i].size);
        bole_status status = open_forged(&forged, &error);
        if (status != payloads[i].status)
            fail_msg("payload %zu gives %s: %s", i, bole_status_name(status), error.message);
    }
    bl_segment_meta overlap[] = { make_meta(5, 0, 3, 0, BOLE_STR("a"), BOLE_STR("m"), 1, 2),
                                  make_meta(6, 0, 3, 0, BOLE_STR("k"), BOLE_STR("z"), 1, 2) };
    forge_begin(&forged, 1, 0);
    forge_edit(&forged, &empty_snapshot);
    forge_edit(&forged, &(bl_version_edit){ .added = overlap, .added_count = 2 });
    assert_status(BOLE_CORRUPT, open_forged(&forged, &error), &error);
    assert_non_null(strstr(error.message, "manifest-000001"));
    assert_non_null(strstr(error.message, "VER-1"));
    bl_segment_meta own = make_meta(1, 0, 3, 0, BOLE_STR("a"), BOLE_STR("m"), 1,
                                    2); /* the manifest's number */
    forge_begin(&forged, 1, 0);
    forge_edit(&forged, &empty_snapshot);
    forge_edit(&forged, &(bl_version_edit){ .added = &own, .added_count = 1 });
    assert_status(BOLE_CORRUPT, open_forged(&forged, &error), &error);
    bl_table_description path = { 1, "../../etc/passwd", BL_COMPARATOR_BYTES_NAME, 0,
                                  NULL }; /* only a name */
    forge_begin(&forged, 1, 0);
    forge_edit(&forged, &empty_snapshot);
    forge_edit(&forged, &(bl_version_edit){ .tables_created = &path, .tables_created_count = 1 });
    assert_status(BOLE_OK, open_forged(&forged, &error), &error);
}

/* Goal: (SCAN-2), no input is slow. Method: a damaged record with megabytes behind it in which every place
 * looks like the start of a record; counted by hashing bounded, so by time: it ends at once, and is called
 * damage. */
static void a_tail_made_to_be_searched_for_long_is_given_up(void **state)
{
    (void)state;
    bole_error error = BOLE_ERROR_INIT;
    forged_manifest forged;
    forge_begin(&forged, 1, 0);
    forge_edit(&forged, &empty_snapshot);
    for (uint32_t i = 0; i < (1u << 20) / 4; i++)
        assert_true(bl_buffer_append_u32(&forged.bytes, 0x00010001));
    assert_status(BOLE_CORRUPT, open_forged(&forged, &error), &error);
    assert_non_null(strstr(error.message, "no torn edit"));
}

/* Goal: random content behind right checksums never crashes, leaks or is believed without sense. Method: a
 * real store's edits with random bytes changed, the checksum made right again. Under the sanitizers. */
static void mutated_edits_with_right_checksums_do_no_harm(void **state)
{
    (void)state;
    bole_vfs *disk = disk_make(5);
    char *text = make_store(disk, false, 24);
    bole_buffer bytes = read_whole(disk, MANIFEST_PATH);
    edit_places places = { .count = 0 };
    bl_manifest_scanned scanned;
    bole_error error = BOLE_ERROR_INIT;
    bl_prng prng;
    unsigned opened = 0, refused = 0;
    assert_ok(bl_manifest_scan(disk, MANIFEST_PATH, NULL, note_place, &places, &scanned, &error), &error);
    bl_prng_init(&prng, test_seed(25));
    for (int round = 0; round < 1500; round++) {
        bole_buffer copy = BOLE_BUFFER_INIT;
        bole_status status;
        assert_true(bl_buffer_append(&copy, bytes.data, bytes.size));
        uint32_t record = (uint32_t)bl_prng_below(&prng, places.count);
        uint8_t *at = (uint8_t *)copy.data + places.offsets[record];
        uint64_t size = places.ends[record] - places.offsets[record];
        for (uint64_t n = 1 + bl_prng_below(&prng, 3); n > 0; n--)
            at[16 + bl_prng_below(&prng, size - 16)] = (uint8_t)bl_prng_below(&prng, bl_prng_chance(&prng, 2)
                                                                                         ? 8
                                                                                         : 256);
        bl_put_u64(at, bl_checksum(bl_checksum_seed(scanned.id), places.offsets[record], at + 8, size - 8));
        write_whole(disk, MANIFEST_PATH, copy.data, copy.size);
        char *found = open_store(disk, &status, &error);
        assert_true(status == BOLE_OK || status == BOLE_CORRUPT || status == BOLE_UNSUPPORTED ||
                    status == BOLE_COMPARATOR || status == BOLE_TOO_LARGE);
        opened += found != NULL;
        refused += found == NULL;
        free(found);
        bole_buffer_free(&copy);
    }
    assert_true(opened > 20 && refused > 20);
    bole_buffer_free(&bytes);
    free(text);
    bole_vfs_destroy(disk);
}

/* Goal: CURRENT vouches for more than bytes that check out. Method: after a clean close an edit is exchanged
 * for another one of the same length, its checksum right; in a new store the only edit, the snapshot, is
 * damaged, with no mark. */
static void what_current_vouches_for_is_neither_exchanged_nor_torn(void **state)
{
    (void)state;
    for (int clean = 0; clean < 2; clean++) {
        bole_vfs *disk = disk_make(12);
        bole_error error = BOLE_ERROR_INIT;
        bole_status status;
        bl_version_set *set;
        bl_version_set_parameters parameters = set_parameters(disk);
        assert_ok(bl_version_set_create(&parameters, &set, &error), &error);
        if (clean) {
            assert_ok(set_apply(set, &(bl_version_edit){ .synced = 100 }, &error), &error);
            assert_ok(set_close_cleanly(set, NULL, &error), &error);
        }
        bl_version_set_destroy(set);
        bole_buffer bytes = read_whole(disk, MANIFEST_PATH);
        edit_places places = { .count = 0 };
        bl_manifest_scanned scanned;
        assert_ok(bl_manifest_scan(disk, MANIFEST_PATH, NULL, note_place, &places, &scanned, &error), &error);
        uint8_t *at = (uint8_t *)bytes.data + places.offsets[clean],
                *synced = (uint8_t *)bytes.data + bytes.size - 1;
        uint64_t size = places.ends[clean] - places.offsets[clean];
        *synced ^= 1; /* clean: another position */
        if (clean)
            bl_put_u64(at,
                       bl_checksum(bl_checksum_seed(scanned.id), places.offsets[clean], at + 8, size - 8));
        write_whole(disk, MANIFEST_PATH, bytes.data, bytes.size);
        char *found = open_store(disk, &status, &error);
        assert_null(found);
        assert_int_equal(status, BOLE_CORRUPT);
        assert_non_null(strstr(error.message, clean ? "not those of the clean close" : "snapshot"));
        bole_buffer_free(&bytes);
        bole_vfs_destroy(disk);
    }
}

/* Goal: a manifest of another store, or of another life of this one, is never taken for the one that CURRENT
 * names (class 22). Method: two stores exchange manifests; a store gets back an older manifest under the
 * newer name. */
static void another_manifest_in_its_place_is_refused(void **state)
{
    (void)state;
    bole_vfs *disks[2] = { disk_make(13), disk_make(14) };
    bole_error error = BOLE_ERROR_INIT;
    bole_status status;
    bole_buffer bytes[2];
    for (int i = 0; i < 2; i++) {
        free(make_store(disks[i], i == 1, 26));
        bytes[i] = read_whole(disks[i], MANIFEST_PATH);
    }
    for (int i = 0; i < 2; i++) {
        write_whole(disks[i], MANIFEST_PATH, bytes[1 - i].data, bytes[1 - i].size);
        assert_null(open_store(disks[i], &status, &error));
        assert_int_equal(status, BOLE_CORRUPT);
        assert_non_null(strstr(error.message, "another manifest"));
        write_whole(disks[i], MANIFEST_PATH, bytes[i].data, bytes[i].size);
    }
    bl_version_set *set; /* the first was not closed cleanly: the next edit rolls over */
    bl_version_set_parameters parameters = set_parameters(disks[0]);
    assert_ok(bl_version_set_recover(&parameters, &set, &error), &error);
    assert_ok(set_apply(set, &(bl_version_edit){ .synced = BL_SEQUENCE_MAX - 1 }, &error), &error);
    char path[BL_PATH_BYTES_MAX];
    assert_true(bl_file_path(path, STORE_DIRECTORY, BL_FILE_MANIFEST, bl_version_set_manifest_number(set)));
    bl_version_set_destroy(set);
    write_whole(disks[0], path, bytes[0].data, bytes[0].size);
    assert_null(open_store(disks[0], &status, &error));
    assert_int_equal(status, BOLE_CORRUPT);
    for (int i = 0; i < 2; i++) {
        bole_buffer_free(&bytes[i]);
        bole_vfs_destroy(disks[i]);
    }
}

/* ---- The order of calls ---- */

typedef struct told_lines {
    bole_buffer text;
} told_lines;

static void tell_line(void *context, const char *line)
{
    told_lines *told = context;
    assert_true(bl_buffer_append_format(&told->text, "%s\n", line));
}

static void tell_title(told_lines *told, const char *title)
{
    assert_true(bl_buffer_append_format(&told->text, "# %s\n", title));
}

static char *golden_text(const char *path) /* free */
{
    FILE *file = fopen(path, "r");
    if (file == NULL)
        return strdup("(no such file)");
    static char text[65536];
    size_t size = fread(text, 1, sizeof text - 1, file);
    text[size] = '\0';
    fclose(file);
    return strdup(text);
}

static void be_golden(told_lines *told, const char *name)
{
    char path[512];
    snprintf(path, sizeof path, "%s/tests/golden/%s", BOLE_SOURCE_DIR, name);
    assert_true(bl_buffer_append_u8(&told->text, 0));
    if (getenv("BOLE_GOLDEN_WRITE") != NULL) {
        FILE *file = fopen(path, "w");
        assert_non_null(file);
        fputs(told->text.data, file);
        fclose(file);
    }
    char *wanted = golden_text(path);
    assert_string_equal(told->text.data, wanted);
    free(wanted);
    bole_buffer_free(&told->text);
}

/* Goal: every call that changes the disk, and their order, is as written in golden/manifest_io.txt: data,
 * sync, name, sync of the directory, then the reference. BOLE_GOLDEN_WRITE=1 writes the file anew, to be read
 * before it is committed. */
static void the_order_of_calls_is_golden(void **state)
{
    (void)state;
    bole_vfs *disk = disk_make(6), *traced = NULL, *faulty = NULL;
    told_lines told = { .text = BOLE_BUFFER_INIT };
    bole_fault_plan plan = { .at = UINT64_MAX, .system_errno = EIO };
    bole_error error = BOLE_ERROR_INIT;
    bl_version_set *set;
    assert_ok(bole_vfs_fault_create(disk, &plan, &faulty), NULL);
    assert_ok(bole_vfs_trace_create(faulty, tell_line, &told, &traced), NULL);
    bl_version_set_parameters parameters = set_parameters(traced);
    parameters.manifest_bytes_max = 200;
    tell_title(&told, "create");
    assert_ok(bl_version_set_create(&parameters, &set, &error), &error);
    tell_title(&told, "apply: one write, one sync");
    bl_log_description log = make_log(set_new_number(set), 0);
    bl_version_edit edit = { .logs_added = &log, .logs_added_count = 1 };
    assert_ok(set_apply(set, &edit, &error), &error);
    bl_segment_meta meta = make_meta(set_new_number(set), 0, 0, 1, BOLE_STR("a"), BOLE_STR("b"), 1, 99);
    edit = (bl_version_edit){ .added = &meta, .added_count = 1, .flushed_through = 100 };
    assert_ok(set_apply(set, &edit, &error), &error);
    tell_title(&told, "apply that finds the manifest too long: roll over first");
    bl_segment_move move = { 0, meta.number, 3, 0 };
    edit = (bl_version_edit){ .moved = &move, .moved_count = 1 };
    assert_ok(set_apply(set, &edit, &error), &error);
    tell_title(&told, "apply whose sync fails");
    edit = (bl_version_edit){ .synced = 120 };
    plan.at = plan.calls + 1;
    plan.count = 1;
    assert_status(BOLE_IO, set_apply(set, &edit, &error), &error);
    tell_title(&told, "apply after a failure: roll over first");
    assert_ok(set_apply(set, &edit, &error), &error);
    tell_title(&told, "roll-over whose directory sync fails, then settle");
    plan.at = plan.calls + 1;
    assert_status(BOLE_IO, set_apply(set, &(bl_version_edit){ .synced = 130 }, &error), &error);
    plan.at = plan.calls + 10; /* random, open, write, sync, sync; open, write, sync, close, rename, sync */
    bl_mutex_lock(&world.mutex);
    assert_status(BOLE_IO, bl_version_set_settle(set, &error), &error);
    assert_ok(bl_version_set_settle(set, &error), &error);
    bl_mutex_unlock(&world.mutex);
    plan.at = UINT64_MAX;
    tell_title(&told, "clean close: the logs' ends, then the mark");
    bl_log_description end = {
        .number = log.number, .end = 150, .end_checksum_known = true, .end_checksum = 7
    };
    edit = (bl_version_edit){ .logs_ended = &end, .logs_ended_count = 1 };
    assert_ok(set_close_cleanly(set, &edit, &error), &error);
    bl_version_set_destroy(set);
    tell_title(&told, "recover and close a store that nobody wrote to: nothing");
    assert_ok(bl_version_set_recover(&parameters, &set, &error), &error);
    assert_true(bl_version_set_was_clean(set));
    assert_ok(set_close_cleanly(set, NULL, &error), &error);
    bl_version_set_destroy(set);
    tell_title(&told, "recover after a clean close, apply: withdraw the mark first");
    assert_ok(bl_version_set_recover(&parameters, &set, &error), &error);
    assert_ok(set_apply(set, &(bl_version_edit){ .synced = 150 }, &error), &error);
    bl_version_set_destroy(set);
    tell_title(&told, "recover after a crash, apply: roll over first");
    assert_ok(bl_version_set_recover(&parameters, &set, &error), &error);
    assert_false(bl_version_set_was_clean(set));
    assert_ok(set_apply(set, &(bl_version_edit){ .synced = 160 }, &error), &error);
    tell_title(&told, "export");
    bl_version_export *pinned;
    bl_mutex_lock(&world.mutex);
    assert_ok(bl_version_export_begin(set, &pinned, &error), &error);
    bl_mutex_unlock(&world.mutex);
    assert_ok(traced->make_directory(traced, "copy", &error), &error);
    bl_version_export_target target = { .vfs = traced, .directory = "copy", .store_id = { { 9 } } };
    assert_ok(bl_version_export_write(pinned, &target, &error), &error);
    bl_version_export_destroy(pinned);
    bl_version_set_destroy(set);
    be_golden(&told, "manifest_io.txt");
    bole_vfs_destroy(traced);
    bole_vfs_destroy(faulty);
    bole_vfs_destroy(disk);
}

static bole_status describe_edit(void *context, const bl_manifest_edit *edit, bole_error *error)
{
    told_lines *told = context;
    assert_true(bl_buffer_append_format(&told->text, "edit %" PRIu64 " at %" PRIu64 ", %" PRIu64 " bytes\n",
                                        edit->ordinal, edit->offset, edit->bytes));
    return bl_version_edit_describe(edit->edit, &told->text, error);
}

static bole_status fixed_random(bole_vfs *vfs, void *data, size_t length, bole_error *error)
{
    (void)vfs, (void)error;
    for (size_t i = 0; i < length; i++)
        ((uint8_t *)data)[i] = (uint8_t)(0xA0 + i);
    return BOLE_OK;
}

/* Goal: the bytes of format 1 never change, and docs and tools can show each of them. Method: a manifest in
 * golden/manifest_format_1.txt, as text and as hexadecimal bytes, is made again with an id that is not
 * random. */
static void the_bytes_of_the_format_are_golden(void **state)
{
    (void)state;
    bole_vfs *disk = disk_make(7);
    told_lines told = { .text = BOLE_BUFFER_INIT };
    bole_error error = BOLE_ERROR_INIT;
    bl_manifest *manifest;
    bl_manifest_scanned scanned;
    bl_table_description users = { 1, "users", "test.backwards", 120, NULL };
    bl_segment_meta meta = make_meta(3, 0, 0, 1, BOLE_STR("a"), BOLE_STR("b\xFF"), 7, 99);
    bl_log_description log = make_log(2, 0);
    bl_log_description end = { .number = 2, .end = 150, .end_checksum_known = true, .end_checksum = 7 };
    bl_version_edit edits[] = {
        empty_snapshot,
        { .logs_added = &log, .logs_added_count = 1, .next_file_number = 1000 },
        { .added = &meta, .added_count = 1, .flushed_through = 100, .synced = 100 },
        { .tables_created = &users, .tables_created_count = 1 },
        { .logs_ended = &end, .logs_ended_count = 1 },
    };
    bole_buffer bytes = BOLE_BUFFER_INIT;
    assert_ok(bl_version_edit_encode(&edits[0], &bytes, &error), &error);
    bole_vfs fixed = *disk;
    fixed.random = fixed_random;
    assert_ok(bl_manifest_create(&fixed, STORE_DIRECTORY, 1, (bl_id){ { 1, 2, 3 } },
                                 bl_slice(bytes.data, bytes.size), &manifest, &error),
              &error);
    for (size_t i = 1; i < sizeof edits / sizeof edits[0]; i++) {
        bytes.size = 0;
        assert_ok(bl_version_edit_encode(&edits[i], &bytes, &error), &error);
        assert_ok(bl_manifest_append(manifest, bl_slice(bytes.data, bytes.size), &error), &error);
    }
    bl_current current = { .store_id = { { 1, 2, 3 } },
                           .manifest_id = bl_manifest_id(manifest),
                           .manifest_number = 1,
                           .clean_bytes = bl_manifest_bytes(manifest),
                           .clean_chain = bl_manifest_chain(manifest) };
    bool renamed;
    assert_ok(bl_current_write(disk, STORE_DIRECTORY, &current, &renamed, &error), &error);
    bl_manifest_close(manifest);
    assert_ok(bl_manifest_scan(disk, MANIFEST_PATH, &current, describe_edit, &told, &scanned, &error),
              &error);
    for (int which = 0; which < 2; which++) {
        bole_buffer_free(&bytes);
        bytes = read_whole(disk, which == 0 ? MANIFEST_PATH : CURRENT_PATH);
        tell_title(&told, which == 0 ? "manifest-000001" : "CURRENT");
        for (size_t i = 0; i < bytes.size; i++)
            assert_true(bl_buffer_append_format(&told.text, "%02x%s", ((uint8_t *)bytes.data)[i],
                                                i % 16 == 15 || i + 1 == bytes.size ? "\n" : " "));
    }
    bole_buffer_free(&bytes);
    be_golden(&told, "manifest_format_1.txt");
    bole_vfs_destroy(disk);
}

static int end_world(void **state)
{
    (void)state;
    if (world.scheduler != NULL)
        world_end();
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_changed_bit_of_a_cleanly_closed_store_is_detected),
        cmocka_unit_test(a_bad_last_edit_is_torn_and_any_other_is_damage),
        cmocka_unit_test(everything_that_is_not_a_good_current_has_its_own_story),
        cmocka_unit_test(a_symbolic_link_is_refused),
        cmocka_unit_test(a_hostile_manifest_is_corrupt_or_unsupported),
        cmocka_unit_test(a_tail_made_to_be_searched_for_long_is_given_up),
        cmocka_unit_test(mutated_edits_with_right_checksums_do_no_harm),
        cmocka_unit_test(what_current_vouches_for_is_neither_exchanged_nor_torn),
        cmocka_unit_test(another_manifest_in_its_place_is_refused),
        cmocka_unit_test(the_order_of_calls_is_golden),
        cmocka_unit_test(the_bytes_of_the_format_are_golden),
    };
    return cmocka_run_group_tests(tests, NULL, end_world);
}
