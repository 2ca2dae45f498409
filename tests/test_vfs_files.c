/* SPDX-License-Identifier: MIT */
/* test_vfs_files.c -- whole files and directories: what checkpoint and repair share. */
#include <bole/bole_vfs.h>

#include "test.h"

#include "base/prng.h"
#include "platform/vfs_files.h"

static void write_file(bole_vfs *vfs, const char *path, const void *data, size_t size)
{
    bole_file *file;
    assert_ok(vfs->open(vfs, path, BOLE_VFS_WRITE | BOLE_VFS_CREATE, &file, NULL), NULL);
    if (size > 0)
        assert_ok(vfs->write(file, 0, data, size, NULL), NULL);
    assert_ok(vfs->close(file, NULL), NULL);
}

static bole_vfs *disk_with_a_directory(void)
{
    bole_vfs *vfs;
    assert_ok(bole_vfs_memory_create(1, &vfs), NULL);
    assert_ok(vfs->make_directory(vfs, "here", NULL), NULL);
    return vfs;
}

/* Goal: a copy has every byte, and they are on disk. Method: sizes around the piece that is copied at once; a power cut
 * that loses all that was not synced. */
static void a_copy_is_whole_and_durable(void **state)
{
    (void)state;
    static const size_t sizes[] = { 0, 1, 4095, (1 << 20) - 1, 1 << 20, (1 << 20) + 1, (2 << 20) + 77 };
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        bole_vfs *vfs = disk_with_a_directory(), *survived;
        char *bytes = malloc(sizes[i] + 1), *got = malloc(sizes[i] + 1);
        bl_prng prng;
        bl_prng_init(&prng, i);
        bl_prng_fill(&prng, bytes, sizes[i]);
        write_file(vfs, "here/from", bytes, sizes[i]);
        assert_ok(bl_vfs_copy_file(vfs, "here/from", "here/to", NULL), NULL);
        assert_ok(vfs->sync_directory(vfs, "here", NULL), NULL);
        assert_ok(vfs->sync_directory(vfs, ".", NULL), NULL);
        assert_ok(bole_vfs_memory_crash(vfs, BOLE_CRASH_LOSE_ALL, 3, &survived), NULL);
        bole_file *file;
        size_t read = 0;
        assert_ok(survived->open(survived, "here/to", BOLE_VFS_READ, &file, NULL), NULL);
        assert_ok(survived->read(file, 0, got, sizes[i] + 1, &read, NULL), NULL);
        assert_ok(survived->close(file, NULL), NULL);
        assert_int_equal(read, sizes[i]);
        assert_memory_equal(got, bytes, sizes[i]);
        free(bytes);
        free(got);
        bole_vfs_destroy(survived);
        bole_vfs_destroy(vfs);
    }
}

static void a_copy_never_replaces_a_file(void **state)
{
    (void)state;
    bole_vfs *vfs = disk_with_a_directory();
    write_file(vfs, "here/from", "new", 3);
    write_file(vfs, "here/to", "old", 3);
    assert_status(BOLE_EXISTS, bl_vfs_copy_file(vfs, "here/from", "here/to", NULL), NULL);
    assert_status(BOLE_NOT_FOUND, bl_vfs_copy_file(vfs, "here/none", "here/other", NULL), NULL);
    bole_vfs_destroy(vfs);
}

static void a_directory_goes_with_its_files(void **state)
{
    (void)state;
    bole_vfs *vfs = disk_with_a_directory();
    bool is_directory;
    write_file(vfs, "here/a", "a", 1);
    write_file(vfs, "here/b", "b", 1);
    bl_vfs_remove_all(vfs, "here");
    assert_status(BOLE_NOT_FOUND, vfs->exists(vfs, "here", &is_directory, NULL), NULL);
    bl_vfs_remove_all(vfs, "here"); /* nothing is there: nothing happens */
    bole_vfs_destroy(vfs);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_copy_is_whole_and_durable),
        cmocka_unit_test(a_copy_never_replaces_a_file),
        cmocka_unit_test(a_directory_goes_with_its_files),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
