/* SPDX-License-Identifier: MIT */
/* test_vfs.c -- one contract, told to every vfs: posix, memory, and the wrappers over memory and over
 * posix. */
#include "test.h"

#include "base/alloc.h"
#include "base/buffer.h"
#include "base/prng.h"

#include <bole/bole_vfs.h>

typedef struct fixture {
    bole_vfs *vfs;
    bole_vfs *made[3]; /* to destroy, top first */
    bole_fault_plan plan;
    test_directory directory;
    char root[300];
} fixture;

static void ignore_line(void *context, const char *text)
{
    (void)context;
    assert_true(strlen(text) > 4);
}

enum { ON_POSIX = 1, WITH_FAULT = 2, WITH_TRACE = 4 };

static int set_up(void **state, int kind)
{
    fixture *f = bl_new(fixture);
    f->plan.at = UINT64_MAX;
    bole_vfs *below = bole_vfs_posix();
    if ((kind & ON_POSIX) != 0) {
        f->directory = test_directory_make();
        snprintf(f->root, sizeof f->root, "%s", f->directory.path);
    } else {
        assert_ok(bole_vfs_memory_create(1, &below), NULL);
        f->made[2] = below;
        snprintf(f->root, sizeof f->root, "/some");
        assert_ok(below->make_directory(below, "/some", NULL), NULL);
    }
    if ((kind & WITH_FAULT) != 0) {
        assert_ok(bole_vfs_fault_create(below, &f->plan, &f->made[1]), NULL);
        below = f->made[1];
    }
    if ((kind & WITH_TRACE) != 0) {
        assert_ok(bole_vfs_trace_create(below, ignore_line, NULL, &f->made[0]), NULL);
        below = f->made[0];
    }
    f->vfs = below;
    *state = f;
    return 0;
}

static int set_up_posix(void **state) { return set_up(state, ON_POSIX); }

static int set_up_memory(void **state) { return set_up(state, 0); }

static int set_up_wrapped_memory(void **state) { return set_up(state, WITH_FAULT | WITH_TRACE); }

static int set_up_wrapped_posix(void **state) { return set_up(state, ON_POSIX | WITH_FAULT | WITH_TRACE); }

static int tear_down(void **state)
{
    fixture *f = *state;
    for (int i = 0; i < 3; i++)
        bole_vfs_destroy(f->made[i]);
    bl_free(f);
    return 0;
}

/* ---- Helpers that must succeed ------------------------------------------------------------------------- */

static const char *path_of(const fixture *f, const char *name)
{
    static char paths[4][600];
    static unsigned turn;
    char *path = paths[turn++ % 4];
    snprintf(path, sizeof paths[0], "%s/%s", f->root, name);
    return path;
}

static bole_file *open_file(const fixture *f, const char *name, uint32_t flags)
{
    bole_error error = BOLE_ERROR_INIT;
    bole_file *file = NULL;
    assert_ok(f->vfs->open(f->vfs, path_of(f, name), flags, &file, &error), &error);
    assert_non_null(file);
    return file;
}

static bole_file *create_file(const fixture *f, const char *name)
{
    return open_file(f, name, BOLE_VFS_WRITE | BOLE_VFS_CREATE);
}

static void write_at(bole_file *file, uint64_t offset, const void *data, size_t length)
{
    bole_error error = BOLE_ERROR_INIT;
    assert_ok(file->vfs->write(file, offset, data, length, &error), &error);
}

static size_t read_at(bole_file *file, uint64_t offset, void *data, size_t length)
{
    bole_error error = BOLE_ERROR_INIT;
    size_t got = 12345;
    assert_ok(file->vfs->read(file, offset, data, length, &got, &error), &error);
    return got;
}

static uint64_t length_of(bole_file *file)
{
    bole_error error = BOLE_ERROR_INIT;
    uint64_t length = 12345;
    assert_ok(file->vfs->length(file, &length, &error), &error);
    return length;
}

static void close_file(bole_file *file)
{
    bole_error error = BOLE_ERROR_INIT;
    assert_ok(file->vfs->close(file, &error), &error);
}

static void expect_zeros(bole_file *file, uint64_t offset, size_t length)
{
    uint8_t *bytes = bl_alloc(length);
    memset(bytes, 1, length);
    assert_int_equal(read_at(file, offset, bytes, length), length);
    for (size_t i = 0; i < length; i++)
        assert_int_equal(bytes[i], 0);
    bl_free(bytes);
}

/* ---- The contract -------------------------------------------------------------------------------------- */

static void what_is_written_is_read(void **state)
{
    fixture *f = *state;
    bole_file *file = create_file(f, "a");
    assert_int_equal(length_of(file), 0);
    write_at(file, 0, "hello", 5);
    write_at(file, 5000, "far", 3);
    write_at(file, 3, "LO!", 3);
    write_at(file, 100, "", 0);
    assert_int_equal(length_of(file), 5003);
    char bytes[16] = "";
    assert_int_equal(read_at(file, 0, bytes, 6), 6);
    assert_memory_equal(bytes, "helLO!", 6);
    assert_int_equal(read_at(file, 5001, bytes, 16), 2);
    assert_memory_equal(bytes, "ar", 2);
    assert_int_equal(read_at(file, 5003, bytes, 16), 0);
    assert_int_equal(read_at(file, 999999, bytes, 16), 0);
    expect_zeros(file, 6, 4994);
    bole_error error = BOLE_ERROR_INIT;
    assert_ok(f->vfs->close(file, &error), &error);
    file = open_file(f, "a", BOLE_VFS_READ);
    assert_int_equal(length_of(file), 5003);
    file->vfs->will_need(file, 0, 100);
    assert_true(file->vfs->write(file, 0, "x", 1, &error) != BOLE_OK); /* it was opened to be read */
    assert_true(error.system_errno != 0);
    close_file(file);
}

static void open_says_what_is_there_and_what_is_not(void **state)
{
    fixture *f = *state;
    bole_error error = BOLE_ERROR_INIT;
    bole_file *file = (bole_file *)f;
    assert_status(BOLE_NOT_FOUND, f->vfs->open(f->vfs, path_of(f, "a"), BOLE_VFS_READ, &file, &error),
                  &error);
    assert_null(file);
    assert_non_null(strstr(error.file, "a"));
    file = open_file(f, "a", BOLE_VFS_WRITE | BOLE_VFS_CREATE | BOLE_VFS_EXCLUSIVE);
    write_at(file, 0, "abc", 3);
    close_file(file);
    assert_status(BOLE_EXISTS,
                  f->vfs->open(f->vfs, path_of(f, "a"), BOLE_VFS_WRITE | BOLE_VFS_CREATE | BOLE_VFS_EXCLUSIVE,
                               &file, &error),
                  &error);
    file = create_file(f, "a");
    assert_int_equal(length_of(file), 3);
    close_file(file);
    file = open_file(f, "a", BOLE_VFS_WRITE | BOLE_VFS_TRUNCATE);
    assert_int_equal(length_of(file), 0);
    close_file(file);
    assert_status(BOLE_INVALID, f->vfs->open(f->vfs, f->root, BOLE_VFS_READ, &file, &error), &error);
    assert_status(BOLE_INVALID, f->vfs->open(f->vfs, f->root, BOLE_VFS_WRITE, &file, &error), &error);
    assert_status(BOLE_INVALID,
                  f->vfs->open(f->vfs, path_of(f, "a"), BOLE_VFS_READ | BOLE_VFS_CREATE, &file, &error),
                  &error);
    assert_null(file);
    assert_status(BOLE_NOT_FOUND,
                  f->vfs->open(f->vfs, path_of(f, "no/a"), BOLE_VFS_WRITE | BOLE_VFS_CREATE, &file, &error),
                  &error);
    assert_ok(f->vfs->close(NULL, &error), &error);
}

/* Random writes, truncations and allocations against plain memory. */
static void a_file_is_its_model(void **state)
{
    fixture *f = *state;
    enum { SIZE = 40000 };
    uint8_t *model = bl_alloc(SIZE), *bytes = bl_alloc(SIZE), *noise = bl_alloc(SIZE);
    uint64_t length = 0;
    bl_prng prng;
    bl_prng_init(&prng, test_seed(7));
    bl_prng_fill(&prng, noise, SIZE);
    bole_file *file = create_file(f, "model");
    bole_error error = BOLE_ERROR_INIT;
    for (int step = 0; step < 400; step++) {
        uint64_t offset = bl_prng_below(&prng, SIZE), part = bl_prng_below(&prng, SIZE - offset) / 3;
        if (bl_prng_chance(&prng, 2)) {
            offset = offset / 4096 * 4096;
            part = part / 4096 * 4096;
        }
        switch (bl_prng_below(&prng, 8)) {
        case 0:
            assert_ok(file->vfs->truncate(file, offset, &error), &error);
            if (offset < length)
                memset(model + offset, 0, length - offset);
            length = offset;
            break;
        case 1:
        case 2: {
            bool zero = bl_prng_chance(&prng, 2);
            assert_ok(file->vfs->allocate(file, offset, part, zero, &error), &error);
            if (zero)
                memset(model + offset, 0, part);
            if (part != 0 && offset + part > length)
                length = offset + part;
            break;
        }
        case 3: assert_ok(file->vfs->sync(file, &error), &error); break;
        default:
            write_at(file, offset, noise + offset / 2, part);
            memcpy(model + offset, noise + offset / 2, part);
            if (part != 0 && offset + part > length)
                length = offset + part;
            break;
        }
        assert_int_equal(length_of(file), length);
        assert_int_equal(read_at(file, 0, bytes, SIZE), length);
        assert_memory_equal(bytes, model, length);
    }
    close_file(file);
    bl_free(model);
    bl_free(bytes);
    bl_free(noise);
}

static void what_no_system_can_do_is_refused(void **state)
{
    fixture *f = *state;
    bole_error error = BOLE_ERROR_INIT;
    bole_file *file = create_file(f, "a");
    void *map = f;
    uint64_t far = UINT64_C(1) << 63;
    assert_true(file->vfs->write(file, far, "x", 1, &error) != BOLE_OK);
    assert_true(file->vfs->write(file, far - 1, "xy", 2, &error) != BOLE_OK);
    assert_true(file->vfs->truncate(file, far, &error) != BOLE_OK);
    assert_true(file->vfs->allocate(file, far - 5, 10, true, &error) != BOLE_OK);
    assert_true(file->vfs->map(file, 0, 0, &map, &error) != BOLE_OK);
    assert_null(map);
    assert_true(file->vfs->map(file, 100, 4096, &map, &error) != BOLE_OK); /* not a page's start */
    assert_int_equal(length_of(file), 0);
    close_file(file);
    bool is_directory;
    assert_true(f->vfs->exists(f->vfs, path_of(f, "a/b"), &is_directory, &error) != BOLE_OK);
    assert_true(f->vfs->remove(f->vfs, f->root, &error) != BOLE_OK);
    assert_true(f->vfs->remove_directory(f->vfs, path_of(f, "a"), &error) != BOLE_OK);
    assert_true(f->vfs->list(f->vfs, path_of(f, "a"), NULL, NULL, &error) != BOLE_OK);
    assert_true(f->vfs->sync_directory(f->vfs, path_of(f, "a"), &error) != BOLE_OK);
    assert_true(f->vfs->link(f->vfs, path_of(f, "none"), path_of(f, "b"), &error) != BOLE_OK);
    assert_ok(f->vfs->make_directory(f->vfs, path_of(f, "d"), &error), &error);
    assert_true(f->vfs->rename(f->vfs, path_of(f, "a"), path_of(f, "d"), &error) != BOLE_OK);
    assert_true(f->vfs->rename(f->vfs, path_of(f, "d"), path_of(f, "a"), &error) != BOLE_OK);
    assert_true(f->vfs->rename(f->vfs, path_of(f, "d"), path_of(f, "d/e"), &error) != BOLE_OK);
    assert_true(f->vfs->link(f->vfs, path_of(f, "d"), path_of(f, "e"), &error) != BOLE_OK);
    uint64_t free_bytes;
    assert_true(f->vfs->free_bytes(f->vfs, path_of(f, "none"), &free_bytes, &error) != BOLE_OK);
    assert_true(error.system_errno != 0 && error.file[0] != '\0' && error.message[0] != '\0');
}

static void names_are_made_moved_linked_and_removed(void **state)
{
    fixture *f = *state;
    bole_vfs *vfs = f->vfs;
    bole_error error = BOLE_ERROR_INIT;
    bool is_directory = true;
    bole_file *file = create_file(f, "a");
    write_at(file, 0, "A", 1);
    assert_ok(vfs->exists(vfs, path_of(f, "a"), &is_directory, &error), &error);
    assert_false(is_directory);
    assert_ok(vfs->rename(vfs, path_of(f, "a"), path_of(f, "b"), &error), &error);
    assert_status(BOLE_NOT_FOUND, vfs->exists(vfs, path_of(f, "a"), &is_directory, &error), &error);
    assert_ok(vfs->link(vfs, path_of(f, "b"), path_of(f, "c"), &error), &error);
    assert_status(BOLE_EXISTS, vfs->link(vfs, path_of(f, "b"), path_of(f, "c"), &error), &error);
    write_at(file, 1, "B", 1); /* the handle follows the file, not the name */
    close_file(file);
    file = open_file(f, "c", BOLE_VFS_READ);
    char bytes[3];
    assert_int_equal(read_at(file, 0, bytes, 3), 2);
    assert_memory_equal(bytes, "AB", 2);
    assert_ok(vfs->remove(vfs, path_of(f, "c"), &error), &error);
    assert_int_equal(read_at(file, 0, bytes, 3), 2); /* open files outlive their names */
    close_file(file);
    assert_status(BOLE_NOT_FOUND, vfs->remove(vfs, path_of(f, "c"), &error), &error);
    assert_status(BOLE_NOT_FOUND, vfs->rename(vfs, path_of(f, "c"), path_of(f, "d"), &error), &error);
    file = create_file(f, "d");
    close_file(file);
    assert_ok(vfs->rename(vfs, path_of(f, "d"), path_of(f, "b"), &error), &error);
    file = open_file(f, "b", BOLE_VFS_READ);
    assert_int_equal(length_of(file), 0); /* replaced */
    close_file(file);
}

typedef struct listing {
    char names[256];
    size_t visits, visits_max;
} listing;

static bool add_name(void *context, const char *name)
{
    listing *list = context;
    strcat(list->names, name);
    strcat(list->names, " ");
    return ++list->visits < list->visits_max;
}

static void directories_are_made_listed_synced_and_removed(void **state)
{
    fixture *f = *state;
    bole_vfs *vfs = f->vfs;
    bole_error error = BOLE_ERROR_INIT;
    bool is_directory = false;
    assert_ok(vfs->make_directory(vfs, path_of(f, "sub"), &error), &error);
    assert_status(BOLE_EXISTS, vfs->make_directory(vfs, path_of(f, "sub"), &error), &error);
    assert_ok(vfs->exists(vfs, path_of(f, "sub"), &is_directory, &error), &error);
    assert_true(is_directory);
    close_file(create_file(f, "sub/x"));
    assert_ok(vfs->sync_directory(vfs, path_of(f, "sub"), &error), &error);
    listing list = { "", 0, 10 };
    assert_ok(vfs->list(vfs, path_of(f, "sub"), add_name, &list, &error), &error);
    assert_string_equal(list.names, "x ");
    close_file(create_file(f, "sub/y"));
    list = (listing){ "", 0, 1 };
    assert_ok(vfs->list(vfs, path_of(f, "sub"), add_name, &list, &error), &error);
    assert_int_equal(list.visits, 1); /* it said stop */
    assert_true(vfs->remove_directory(vfs, path_of(f, "sub"), &error) != BOLE_OK);
    assert_ok(vfs->remove(vfs, path_of(f, "sub/x"), &error), &error);
    assert_ok(vfs->rename(vfs, path_of(f, "sub"), path_of(f, "moved"), &error), &error);
    assert_ok(vfs->remove(vfs, path_of(f, "moved/y"), &error), &error);
    assert_ok(vfs->remove_directory(vfs, path_of(f, "moved"), &error), &error);
    assert_status(BOLE_NOT_FOUND, vfs->list(vfs, path_of(f, "moved"), add_name, &list, &error), &error);
    assert_status(BOLE_NOT_FOUND, vfs->sync_directory(vfs, path_of(f, "moved"), &error), &error);
}

/* Stores to a map show in reads and in the file after unmapping; writes show in the map. */
static void a_map_is_the_file(void **state)
{
    fixture *f = *state;
    bole_error error = BOLE_ERROR_INIT;
    bole_file *file = create_file(f, "map");
    assert_ok(file->vfs->allocate(file, 0, 3 * 4096, true, &error), &error);
    void *map = NULL;
    assert_ok(file->vfs->map(file, 4096, 8192, &map, &error), &error);
    char *bytes = map;
    memcpy(bytes + 10, "stored", 6);
    if (file->vfs->map_stored != NULL)
        assert_ok(file->vfs->map_stored(file, bytes + 10, 6, &error), &error);
    char back[6];
    assert_int_equal(read_at(file, 4106, back, 6), 6);
    assert_memory_equal(back, "stored", 6);
    write_at(file, 4096 + 4090, "written", 7); /* over a page's end */
    assert_memory_equal(bytes + 4090, "written", 7);
    assert_ok(file->vfs->sync(file, &error), &error);
    assert_ok(file->vfs->unmap(file, map, 8192, &error), &error);
    assert_int_equal(read_at(file, 4106, back, 6), 6);
    assert_memory_equal(back, "stored", 6);
    close_file(file);
}

static void locks_exclude_other_handles(void **state)
{
    fixture *f = *state;
    bole_error error = BOLE_ERROR_INIT;
    bole_file *one = create_file(f, "LOCK"), *two = create_file(f, "LOCK");
    bool locked = true;
    int64_t holder = -1;
    assert_ok(two->vfs->lock_test(two, 7, &locked, &holder, &error), &error);
    assert_false(locked);
    assert_ok(one->vfs->lock(one, 7, true, &error), &error);
    assert_ok(one->vfs->lock(one, 7, true, &error), &error); /* its own, again */
    assert_status(BOLE_LOCKED, two->vfs->lock(two, 7, true, &error), &error);
    assert_status(BOLE_LOCKED, two->vfs->lock(two, 7, false, &error), &error);
    assert_non_null(strstr(error.message, "LOCK"));
    assert_ok(two->vfs->lock(two, 8, true, &error), &error); /* another byte */
    assert_ok(two->vfs->lock_test(two, 7, &locked, &holder, &error), &error);
    assert_true(locked && holder > 0);
    assert_ok(one->vfs->lock(one, 7, false, &error), &error); /* now shared */
    assert_ok(two->vfs->lock(two, 7, false, &error), &error);
    assert_status(BOLE_LOCKED, one->vfs->lock(one, 7, true, &error), &error);
    assert_ok(one->vfs->unlock(one, 7, &error), &error);
    assert_ok(one->vfs->unlock(one, 7, &error), &error);
    assert_ok(two->vfs->lock(two, 7, true, &error), &error);
    close_file(two); /* drops its locks */
    assert_ok(one->vfs->lock_test(one, 7, &locked, &holder, &error), &error);
    assert_false(locked);
    assert_ok(one->vfs->lock(one, 8, true, &error), &error);
    close_file(one);
}

static void the_world_answers(void **state)
{
    fixture *f = *state;
    bole_vfs *vfs = f->vfs;
    bole_error error = BOLE_ERROR_INIT;
    uint64_t before = vfs->monotonic_ns(vfs);
    assert_true(vfs->monotonic_ns(vfs) >= before);
    assert_true(vfs->realtime_us(vfs) > INT64_C(1600000000000000));
    uint8_t one[16] = { 0 }, two[16] = { 0 };
    assert_ok(vfs->random(vfs, one, 16, &error), &error);
    assert_ok(vfs->random(vfs, two, 16, &error), &error);
    assert_memory_not_equal(one, two, 16);
    assert_true(vfs->memory_bytes(vfs) >= 1 << 20);
    uint64_t free_bytes = 0;
    assert_ok(vfs->free_bytes(vfs, f->root, &free_bytes, &error), &error);
    assert_true(free_bytes > 0);
    assert_true((vfs->capabilities(vfs, f->root) & BOLE_VFS_CAN_LINK) != 0);
}

/* Every allocation on the way of each call may fail: a status, no leak, no half-made file. */
static void no_memory_is_a_status(void **state)
{
    fixture *f = *state;
    for (uint64_t at = 0; at < 40; at++) {
        char name[32], moved[32];
        snprintf(name, sizeof name, "n%d", (int)at);
        snprintf(moved, sizeof moved, "m%d", (int)at);
        int64_t live = bl_alloc_live();
        bole_file *file = NULL;
        void *map = NULL;
        bole_vfs *vfs = f->vfs;
        bl_alloc_fail_at(at, 1);
        bole_status status = vfs->open(vfs, path_of(f, name), BOLE_VFS_WRITE | BOLE_VFS_CREATE, &file, NULL);
        if (status == BOLE_OK)
            status = vfs->allocate(file, 0, 8192, false, NULL);
        if (status == BOLE_OK)
            status = file->vfs->write(file, 100, "some bytes", 10, NULL);
        if (status == BOLE_OK)
            status = file->vfs->map(file, 0, 8192, &map, NULL);
        if (status == BOLE_OK)
            status = vfs->lock(file, 0, true, NULL);
        if (status == BOLE_OK)
            status = vfs->rename(vfs, path_of(f, name), path_of(f, moved), NULL);
        if (status == BOLE_OK)
            status = vfs->sync_directory(vfs, f->root, NULL);
        bl_alloc_fail_at(UINT64_MAX, 0);
        assert_true(status == BOLE_OK || status == BOLE_NO_MEMORY);
        if (map != NULL)
            assert_ok(file->vfs->unmap(file, map, 8192, NULL), NULL);
        if (file != NULL)
            close_file(file);
        if (vfs->remove(vfs, path_of(f, name), NULL) != BOLE_OK)
            (void)!vfs->remove(vfs, path_of(f, moved), NULL);
        assert_ok(vfs->sync_directory(vfs, f->root, NULL), NULL);
        if (at > 0) /* a directory's table may grow once */
            assert_in_range(bl_alloc_live(), live, live + 2);
    }
}

#define CONTRACT(kind)                                                                                      \
    cmocka_unit_test_setup_teardown(what_is_written_is_read, set_up_##kind, tear_down),                     \
        cmocka_unit_test_setup_teardown(open_says_what_is_there_and_what_is_not, set_up_##kind, tear_down), \
        cmocka_unit_test_setup_teardown(what_no_system_can_do_is_refused, set_up_##kind, tear_down),        \
        cmocka_unit_test_setup_teardown(a_file_is_its_model, set_up_##kind, tear_down),                     \
        cmocka_unit_test_setup_teardown(names_are_made_moved_linked_and_removed, set_up_##kind, tear_down), \
        cmocka_unit_test_setup_teardown(directories_are_made_listed_synced_and_removed, set_up_##kind,      \
                                        tear_down),                                                         \
        cmocka_unit_test_setup_teardown(a_map_is_the_file, set_up_##kind, tear_down),                       \
        cmocka_unit_test_setup_teardown(locks_exclude_other_handles, set_up_##kind, tear_down),             \
        cmocka_unit_test_setup_teardown(the_world_answers, set_up_##kind, tear_down),                       \
        cmocka_unit_test_setup_teardown(no_memory_is_a_status, set_up_##kind, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CONTRACT(posix),
        CONTRACT(memory),
        CONTRACT(wrapped_memory),
        CONTRACT(wrapped_posix),
    };
    return cmocka_run_group_tests_name("vfs", tests, NULL, NULL);
}
