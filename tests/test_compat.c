/* SPDX-License-Identifier: MIT */
/* test_compat.c -- stores that earlier versions wrote are read by this one, and foreign formats are refused.
 *
 * tests/compat/1/NAME holds one store for each way to write one in format 1. They were made once, by
 *     build/release/test_compat --make tests/compat/1 [NAME]
 * and are never made again: a later format gets a folder of its own, and this test reads both. Zeros at the end of a
 * log are not kept; the file LENGTHS says how long the logs are. */
#include "test.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/wait.h>

enum { ENTRIES = 300, EXTRA = 40 };

static const struct recipe {
    const char *name;
    bole_compression compression;
    bool crashes;
    bool values; /* in value segments, of which parts are dead */
} recipes[] = {
    { "plain", BOLE_COMPRESSION_NONE, false, false }, { "lz4", BOLE_COMPRESSION_LZ4, false, false },
    { "zstd", BOLE_COMPRESSION_ZSTD, false, false },  { "crashed", BOLE_COMPRESSION_NONE, true, false },
    { "values", BOLE_COMPRESSION_LZ4, false, true },
};
enum { RECIPES = sizeof recipes / sizeof recipes[0] };

static bole_slice key_of(int number, char out[16])
{
    return BOLE_SLICE(out, (size_t)snprintf(out, 16, "key-%05d", number % 100000));
}

static bole_slice value_of(int number, char out[64])
{
    return BOLE_SLICE(out, (size_t)snprintf(out, 64, "value %d of a store of format 1", number));
}

/* ---- Making them ------------------------------------------------------------------------------------------ */

static void put_range(bole_db *db, bole_table *table, int first, int end)
{
    bole_write_options options = BOLE_WRITE_OPTIONS_INIT;
    options.table = table;
    for (int i = first; i < end; i++) {
        char key[16], value[64];
        assert_ok(bole_put(db, &options, key_of(i, key), value_of(i, value)), NULL);
    }
}

static void make_one(const struct recipe *recipe, const char *path)
{
    bole_options options = BOLE_OPTIONS_INIT;
    options.flags = BOLE_CREATE | BOLE_MUST_NOT_EXIST;
    options.compression = recipe->compression;
    options.compression_upper = recipe->compression;
    if (recipe->values) {
        options.large_value_bytes = 30;
        options.memtable_bytes = 64 << 10;
    }
    bole_error error = BOLE_ERROR_INIT;
    bole_db *db;
    bole_table *second;
    assert_ok(bole_open(path, &options, &db, &error), &error);
    assert_ok(bole_table_create(db, "second", NULL, &second, &error), &error);
    put_range(db, NULL, 0, ENTRIES);
    put_range(db, second, ENTRIES, 2 * ENTRIES);
    assert_ok(bole_compact(db, NULL, (bole_slice){ NULL, 0 }, (bole_slice){ NULL, 0 }, &error), &error);
    char key[16];
    for (int i = 0; i < ENTRIES; i += 3) /* tombstones in a segment of level 0 */
        assert_ok(bole_delete(db, NULL, key_of(i, key)), NULL);
    assert_ok(bole_flush(db, &error), &error);
    if (recipe->values) { /* some values die, and stay where they are */
        bole_slice open = { NULL, 0 };
        put_range(db, second, ENTRIES, ENTRIES + 20);
        assert_ok(bole_flush(db, &error), &error);
        assert_ok(bole_compact(db, second, open, open, &error), &error);
    }
    put_range(db, NULL, 2 * ENTRIES, 2 * ENTRIES + EXTRA); /* and some in the log */
    if (recipe->crashes)
        _exit(0);
    bole_table_close(second);
    assert_ok(bole_close(db, &error), &error);
}

static void trim_log(const char *path, const char *name, FILE *lengths)
{
    struct stat status;
    assert_int_equal(stat(path, &status), 0);
    fprintf(lengths, "%s %lld\n", name, (long long)status.st_size);
    unsigned char *bytes = malloc((size_t)status.st_size);
    FILE *file = fopen(path, "rb");
    assert_non_null(file);
    assert_int_equal(fread(bytes, 1, (size_t)status.st_size, file), status.st_size);
    fclose(file);
    off_t size = status.st_size;
    while (size > 0 && bytes[size - 1] == 0)
        size--;
    free(bytes);
    assert_int_equal(truncate(path, size), 0);
}

static int make_all(const char *folder, const char *only)
{
    for (int i = 0; i < RECIPES; i++) {
        if (only != NULL && strcmp(only, recipes[i].name) != 0)
            continue;
        char path[600], name[1200];
        snprintf(path, sizeof path, "%s/%s", folder, recipes[i].name);
        pid_t child = fork();
        if (child == 0) {
            make_one(&recipes[i], path);
            _exit(0);
        }
        int status;
        if (waitpid(child, &status, 0) != child || status != 0)
            return 1;
        snprintf(name, sizeof name, "%s/LENGTHS", path);
        FILE *lengths = fopen(name, "w");
        DIR *directory = opendir(path);
        for (struct dirent *entry; (entry = readdir(directory)) != NULL;) {
            snprintf(name, sizeof name, "%s/%s", path, entry->d_name);
            if (strstr(entry->d_name, ".log") != NULL)
                trim_log(name, entry->d_name, lengths);
            else if (strcmp(entry->d_name, "events.jsonl") == 0 || strcmp(entry->d_name, "LOCK") == 0 ||
                     strcmp(entry->d_name, "reserve") == 0)
                (void)remove(name);
        }
        closedir(directory);
        fclose(lengths);
    }
    return 0;
}

/* ---- Reading them ----------------------------------------------------------------------------------------- */

static void copy_file(const char *from, const char *to)
{
    char piece[4096];
    FILE *in = fopen(from, "rb"), *out = fopen(to, "wb");
    assert_non_null(in);
    assert_non_null(out);
    for (size_t got; (got = fread(piece, 1, sizeof piece, in)) > 0;)
        assert_int_equal(fwrite(piece, 1, got, out), got);
    fclose(in);
    assert_int_equal(fclose(out), 0);
}

static void copy_store(const char *name, const char *to)
{
    char from[600], source[1200], target[1200], file[256];
    snprintf(from, sizeof from, "%s/tests/compat/1/%s", BOLE_SOURCE_DIR, name);
    assert_int_equal(mkdir(to, 0700), 0);
    DIR *directory = opendir(from);
    assert_non_null(directory);
    for (struct dirent *entry; (entry = readdir(directory)) != NULL;) {
        if (entry->d_name[0] == '.' || strcmp(entry->d_name, "LENGTHS") == 0)
            continue;
        snprintf(source, sizeof source, "%s/%s", from, entry->d_name);
        snprintf(target, sizeof target, "%s/%s", to, entry->d_name);
        copy_file(source, target);
    }
    closedir(directory);
    snprintf(source, sizeof source, "%s/LENGTHS", from);
    FILE *lengths = fopen(source, "r");
    assert_non_null(lengths);
    for (long long bytes; fscanf(lengths, "%255s %lld", file, &bytes) == 2;) {
        snprintf(target, sizeof target, "%s/%s", to, file);
        assert_int_equal(truncate(target, bytes), 0);
    }
    fclose(lengths);
}

static void check_table(bole_db *db, bole_table *table, int first, int end, bool thinned)
{
    bole_read_options options = BOLE_READ_OPTIONS_INIT;
    options.table = table;
    bole_buffer found = BOLE_BUFFER_INIT;
    for (int i = first; i < end; i++) {
        char key[16], value[64];
        bole_status status = bole_get(db, &options, key_of(i, key), &found);
        if (thinned && i < ENTRIES && i % 3 == 0) {
            assert_status(BOLE_NOT_FOUND, status, NULL);
            continue;
        }
        assert_ok(status, NULL);
        bole_slice expected = value_of(i, value);
        assert_int_equal(found.size, expected.size);
        assert_memory_equal(found.data, expected.data, expected.size);
    }
    bole_buffer_free(&found);
}

static void check_store(const char *path, uint32_t flags)
{
    bole_options options = BOLE_OPTIONS_INIT;
    options.flags = flags;
    bole_error error = BOLE_ERROR_INIT;
    bole_db *db;
    bole_table *second;
    assert_ok(bole_open(path, &options, &db, &error), &error);
    assert_ok(bole_table_open(db, "second", &second, &error), &error);
    check_table(db, NULL, 0, ENTRIES, true);
    check_table(db, NULL, 2 * ENTRIES, 2 * ENTRIES + EXTRA, false);
    check_table(db, second, ENTRIES, 2 * ENTRIES, false);
    if ((flags & BOLE_READ_ONLY) == 0) {
        put_range(db, second, 0, ENTRIES); /* and it goes on */
        check_table(db, second, 0, 2 * ENTRIES, false);
    }
    bole_table_close(second);
    assert_ok(bole_close(db, &error), &error);
}

/* Goal: every store of format 1 opens, shows what was written, takes writes, and opens again. */
static void stores_of_format_1_are_read_and_go_on(void **state)
{
    (void)state;
    test_directory directory = test_directory_make();
    for (int i = 0; i < RECIPES; i++) {
        const char *path = test_path(&directory, recipes[i].name);
        copy_store(recipes[i].name, path);
        check_store(path, BOLE_READ_ONLY);
        check_store(path, 0);
        check_store(path, BOLE_READ_ONLY);
    }
}

static void refused(const char *file_part, const char *name, long at, int xor_with, bole_status expected)
{
    test_directory directory = test_directory_make();
    const char *path = test_path(&directory, "store");
    copy_store(name, path);
    DIR *listing = opendir(path);
    char file[1200] = "";
    for (struct dirent *entry; (entry = readdir(listing)) != NULL;)
        if (strstr(entry->d_name, file_part) != NULL)
            snprintf(file, sizeof file, "%s/%s", path, entry->d_name);
    closedir(listing);
    assert_true(file[0] != 0);
    int descriptor = open(file, O_RDWR);
    unsigned char byte;
    assert_int_equal(pread(descriptor, &byte, 1, at), 1);
    byte ^= (unsigned char)xor_with;
    assert_int_equal(pwrite(descriptor, &byte, 1, at), 1);
    close(descriptor);

    bole_options options = BOLE_OPTIONS_INIT;
    bole_error error = BOLE_ERROR_INIT;
    bole_db *db = NULL;
    bole_status status = bole_open(path, &options, &db, &error);
    if (status == BOLE_OK) { /* a segment is looked at when it is read */
        bole_buffer found = BOLE_BUFFER_INIT;
        bole_read_options reading = BOLE_READ_OPTIONS_INIT;
        reading.error = &error;
        char key[16];
        status = bole_get(db, &reading, key_of(1, key), &found);
        bole_buffer_free(&found);
        assert_ok(bole_close(db, NULL), NULL);
    }
    assert_status(expected, status, &error);
    assert_non_null(strstr(error.message, file_part));
}

/* Goal: the magic of each file is looked at, and damage is named. */
static void another_magic_is_refused_and_named(void **state)
{
    (void)state;
    refused("manifest", "plain", 0, 0xff, BOLE_CORRUPT);
    refused("CURRENT", "plain", 0, 0xff, BOLE_CORRUPT);
    refused(".log", "crashed", 0, 0xff, BOLE_CORRUPT);
}

int main(int argc, char **argv)
{
    if ((argc == 3 || argc == 4) && strcmp(argv[1], "--make") == 0)
        return make_all(argv[2], argv[3]);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(stores_of_format_1_are_read_and_go_on),
        cmocka_unit_test(another_magic_is_refused_and_named),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
