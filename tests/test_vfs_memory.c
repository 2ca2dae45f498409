/* SPDX-License-Identifier: MIT */
/* test_vfs_memory.c -- what a power cut may leave on the disk in memory, and what it may not; faults;
 * traces. */
#include "test.h"

#include "base/alloc.h"
#include "base/buffer.h"
#include "base/prng.h"
#include "platform/vfs_wrap.h"

#include <bole/bole_vfs.h>
#include <errno.h>
#include <pthread.h>

enum { CUTS = 300 };

static bole_vfs *make_disk(void)
{
    bole_vfs *disk = NULL;
    assert_ok(bole_vfs_memory_create(42, &disk), NULL);
    return disk;
}

static bole_file *open_file(bole_vfs *vfs, const char *path)
{
    bole_error error = BOLE_ERROR_INIT;
    bole_file *file = NULL;
    assert_ok(vfs->open(vfs, path, BOLE_VFS_WRITE | BOLE_VFS_CREATE, &file, &error), &error);
    return file;
}

static void write_at(bole_file *file, uint64_t offset, const void *data, size_t length)
{
    bole_error error = BOLE_ERROR_INIT;
    assert_ok(file->vfs->write(file, offset, data, length, &error), &error);
}

static void sync_file(bole_file *file)
{
    bole_error error = BOLE_ERROR_INIT;
    assert_ok(file->vfs->sync(file, &error), &error);
}

static void close_file(bole_file *file) { assert_ok(file->vfs->close(file, NULL), NULL); }

static bole_vfs *cut(bole_vfs *disk, bole_crash_mode mode, uint64_t seed)
{
    bole_vfs *after = NULL;
    assert_ok(bole_vfs_memory_crash(disk, mode, seed, &after), NULL);
    return after;
}

static bool is_there(bole_vfs *vfs, const char *path)
{
    bool is_directory;
    bole_status status = vfs->exists(vfs, path, &is_directory, NULL);
    assert_true(status == BOLE_OK || status == BOLE_NOT_FOUND);
    return status == BOLE_OK;
}

/* The whole file in `buffer`; SIZE_MAX when it is not there. */
static size_t slurp(bole_vfs *vfs, const char *path, uint8_t *buffer, size_t capacity)
{
    bole_file *file = NULL;
    if (vfs->open(vfs, path, BOLE_VFS_READ, &file, NULL) != BOLE_OK)
        return SIZE_MAX;
    size_t got = 0;
    uint64_t length = 0;
    assert_ok(file->vfs->read(file, 0, buffer, capacity, &got, NULL), NULL);
    assert_ok(file->vfs->length(file, &length, NULL), NULL);
    assert_int_equal(got, length < capacity ? length : capacity);
    close_file(file);
    return (size_t)length;
}

/* ---- Data ---------------------------------------------------------------------------------------------- */

/* In every mode and for every seed: what was synced is there, byte for byte, also where unsynced bytes were
 * added to the same sectors. */
static void synced_bytes_survive_every_cut(void **state)
{
    (void)state;
    bl_prng prng;
    bl_prng_init(&prng, test_seed(11));
    uint8_t model[20000], bytes[40000];
    for (uint64_t seed = 0; seed < CUTS; seed++) {
        bole_vfs *disk = make_disk();
        bole_file *file = open_file(disk, "f");
        size_t synced = (size_t)bl_prng_below(&prng, sizeof model);
        bl_prng_fill(&prng, model, sizeof model);
        write_at(file, 0, model, synced);
        sync_file(file);
        assert_ok(disk->sync_directory(disk, "/", NULL), NULL);
        write_at(file, synced, model + synced, sizeof model - synced);
        for (bole_crash_mode mode = BOLE_CRASH_RANDOM; mode <= BOLE_CRASH_NAMES_ONLY; mode++) {
            bole_vfs *after = cut(disk, mode, seed);
            size_t length = slurp(after, "f", bytes, sizeof bytes);
            assert_in_range(length, synced, sizeof model);
            assert_memory_equal(bytes, model, synced);
            if (mode == BOLE_CRASH_LOSE_ALL || mode == BOLE_CRASH_NAMES_ONLY)
                assert_int_equal(length, synced);
            if (mode == BOLE_CRASH_KEEP_ALL) {
                assert_int_equal(length, sizeof model);
                assert_memory_equal(bytes, model, sizeof model);
            }
            bole_vfs_destroy(after);
        }
        close_file(file);
        bole_vfs_destroy(disk);
    }
}

/* Over many seeds one overwritten sector comes out old, new, zero, torn, stale and as garbage; a byte that
 * was not changed never changes; the next sector is decided alone. */
static void an_unsynced_sector_fares_in_every_way(void **state)
{
    (void)state;
    uint8_t old[1024], new[1024], stale[512], bytes[1024];
    memset(old, 'o', sizeof old);
    memset(new, 'n', sizeof new);
    memset(stale, 's', sizeof stale);
    bole_vfs *disk = make_disk();
    bole_file *file = open_file(disk, "f");
    write_at(file, 0, old, 1024);
    sync_file(file);
    assert_ok(disk->sync_directory(disk, "/", NULL), NULL);
    for (int i = 0; i < 60; i++) /* the disk remembers a state between now and then */
        write_at(file, 0, stale, 512);
    write_at(file, 0, new, 100);
    write_at(file, 100, old, 1); /* as it was */
    write_at(file, 101, new, 1024 - 101);
    bool was_old = false, was_new = false, was_zero = false, was_torn = false, was_stale = false,
         was_garbage = false;
    bool differently = false;
    for (uint64_t seed = 0; seed < CUTS; seed++) {
        bole_vfs *after = cut(disk, BOLE_CRASH_RANDOM, seed);
        assert_int_equal(slurp(after, "f", bytes, sizeof bytes), 1024);
        assert_int_equal(bytes[100], 'o');
        bytes[100] = bytes[99];
        uint8_t first = bytes[0], last = bytes[511];
        bool even = true;
        for (size_t i = 0; i < 512; i++)
            even = even && bytes[i] == first;
        was_old = was_old || (even && first == 'o');
        was_new = was_new || (even && first == 'n');
        was_zero = was_zero || (even && first == 0);
        was_stale = was_stale || (even && first == 's');
        was_torn = was_torn || (!even && first == 'n' && last == 'o');
        was_garbage = was_garbage || (!even && first != 'n');
        differently = differently || bytes[512] != first;
        bole_vfs_destroy(after);
    }
    assert_true(was_old && was_new && was_zero && was_torn && was_stale && was_garbage && differently);
    close_file(file);
    bole_vfs_destroy(disk);
}

/* Same seeds, same calls: the same bytes; another seed: others. */
static void a_cut_is_decided_by_its_seed(void **state)
{
    (void)state;
    uint8_t noise[30000], first[30000], second[30000];
    bl_prng prng;
    bl_prng_init(&prng, 1);
    bl_prng_fill(&prng, noise, sizeof noise);
    bool differed = false;
    for (uint64_t seed = 0; seed < 20; seed++) {
        uint8_t ids[2][16];
        for (int i = 0; i < 2; i++) {
            bole_vfs *disk = make_disk();
            bole_file *file = open_file(disk, "f");
            assert_ok(disk->sync_directory(disk, "/", NULL), NULL);
            write_at(file, 0, noise, sizeof noise);
            memset(i == 0 ? first : second, 0, sizeof first);
            bole_vfs *after = cut(disk, BOLE_CRASH_RANDOM, seed);
            (void)slurp(after, "f", i == 0 ? first : second, sizeof first);
            assert_ok(after->random(after, ids[i], 16, NULL), NULL);
            bole_vfs *other = cut(disk, BOLE_CRASH_RANDOM, seed + 1000);
            uint8_t bytes[sizeof noise] = { 0 };
            (void)slurp(other, "f", bytes, sizeof bytes);
            differed = differed || memcmp(bytes, first, sizeof first) != 0;
            bole_vfs_destroy(other);
            bole_vfs_destroy(after);
            close_file(file);
            bole_vfs_destroy(disk);
        }
        assert_memory_equal(first, second, sizeof first);
        assert_memory_equal(ids[0], ids[1], 16);
    }
    assert_true(differed);
}

/* Ids drawn in the life after a cut differ from all drawn before, also when the cut has the disk's own
 * seed. */
static void a_new_life_draws_new_numbers(void **state)
{
    (void)state;
    bole_vfs *disk = make_disk();
    uint64_t before[64], later[64];
    assert_ok(disk->random(disk, before, sizeof before, NULL), NULL);
    bole_vfs *after = cut(disk, BOLE_CRASH_LOSE_ALL, 42);
    assert_ok(after->random(after, later, sizeof later, NULL), NULL);
    for (size_t i = 0; i < 64; i++) {
        for (size_t j = 0; j < 64; j++)
            assert_true(before[i] != later[j]);
    }
    bole_vfs_destroy(after);
    bole_vfs_destroy(disk);
}

/* The death of the process keeps all, but nothing becomes durable by it. */
static void what_the_process_left_unsynced_can_still_be_lost(void **state)
{
    (void)state;
    uint8_t bytes[16];
    bole_vfs *disk = make_disk();
    bole_file *file = open_file(disk, "f");
    sync_file(file);
    assert_ok(disk->sync_directory(disk, "/", NULL), NULL);
    write_at(file, 0, "data", 4);
    close_file(open_file(disk, "unsynced name"));
    bole_vfs *restarted = cut(disk, BOLE_CRASH_KEEP_ALL, 1);
    assert_int_equal(slurp(restarted, "f", bytes, sizeof bytes), 4);
    assert_true(is_there(restarted, "unsynced name"));
    bole_vfs *after = cut(restarted, BOLE_CRASH_LOSE_ALL, 1);
    assert_int_equal(slurp(after, "f", bytes, sizeof bytes), 0);
    assert_false(is_there(after, "unsynced name"));
    bole_vfs_destroy(after);
    bole_vfs_destroy(restarted);
    close_file(file);
    bole_vfs_destroy(disk);
}

/* The name of a directory is not synced, what is in it is: the death of the process keeps both. */
static void a_name_synced_in_an_unsynced_directory_outlives_the_process(void **state)
{
    (void)state;
    bole_vfs *disk = make_disk();
    assert_ok(disk->make_directory(disk, "/new", NULL), NULL);
    assert_ok(disk->make_directory(disk, "/new/below", NULL), NULL);
    assert_ok(disk->sync_directory(disk, "/new", NULL), NULL);
    close_file(open_file(disk, "/new/below/f"));
    bole_vfs *restarted = cut(disk, BOLE_CRASH_KEEP_ALL, 1);
    assert_true(is_there(restarted, "/new/below/f"));
    bole_vfs *after = cut(restarted, BOLE_CRASH_LOSE_ALL, 1);
    assert_false(is_there(after, "/new"));
    bole_vfs_destroy(after);
    bole_vfs_destroy(restarted);
    bole_vfs_destroy(disk);
}

/* Stores to a map are unsynced bytes once told of; never told, they are nowhere. */
static void stores_to_a_map_are_durable_after_a_sync(void **state)
{
    (void)state;
    uint8_t bytes[8192];
    bole_vfs *disk = make_disk();
    bole_file *file = open_file(disk, "log");
    assert_ok(disk->allocate(file, 0, 8192, true, NULL), NULL);
    sync_file(file);
    assert_ok(disk->sync_directory(disk, "/", NULL), NULL);
    void *map = NULL;
    assert_ok(disk->map(file, 0, 8192, &map, NULL), NULL);
    memcpy(map, "synced", 6);
    assert_ok(disk->map_stored(file, map, 6, NULL), NULL);
    sync_file(file);
    memcpy((char *)map + 4096, "told", 4);
    assert_ok(disk->map_stored(file, (char *)map + 4096, 4, NULL), NULL);
    memcpy((char *)map + 600, "untold", 6);
    bole_vfs *lost = cut(disk, BOLE_CRASH_LOSE_ALL, 1), *kept = cut(disk, BOLE_CRASH_KEEP_ALL, 1);
    assert_int_equal(slurp(lost, "log", bytes, sizeof bytes), 8192);
    assert_memory_equal(bytes, "synced\0", 7);
    assert_memory_equal(bytes + 4096, "\0\0\0\0", 4);
    assert_int_equal(slurp(kept, "log", bytes, sizeof bytes), 8192);
    assert_memory_equal(bytes + 4096, "told", 4);
    assert_memory_equal(bytes + 600, "\0\0\0\0\0\0", 6);
    bole_vfs_destroy(lost);
    bole_vfs_destroy(kept);
    bole_error error = BOLE_ERROR_INIT;
    assert_ok(disk->truncate(file, 4096, &error), &error);
    assert_status(BOLE_IO, disk->map_stored(file, (char *)map + 4096, 4, &error),
                  &error); /* a SIGBUS elsewhere */
    assert_ok(disk->unmap(file, map, 8192, &error), &error);
    close_file(file);
    bole_vfs_destroy(disk);
}

/* ---- Names --------------------------------------------------------------------------------------------- */

static void a_name_is_durable_after_its_directory_is_synced(void **state)
{
    (void)state;
    bole_vfs *disk = make_disk();
    assert_ok(disk->make_directory(disk, "s", NULL), NULL);
    assert_ok(disk->sync_directory(disk, "/", NULL), NULL);
    close_file(open_file(disk, "s/synced"));
    assert_ok(disk->sync_directory(disk, "s", NULL), NULL);
    close_file(open_file(disk, "s/not"));
    assert_ok(disk->remove(disk, "s/synced", NULL), NULL);
    close_file(open_file(disk, "top"));
    unsigned kept = 0, gone = 0, created = 0;
    for (uint64_t seed = 0; seed < CUTS; seed++) {
        bole_vfs *after = cut(disk, BOLE_CRASH_RANDOM, seed);
        assert_true(is_there(after, "s"));
        kept += is_there(after, "s/synced");
        gone += !is_there(after, "s/synced");
        created += is_there(after, "s/not");
        bole_vfs_destroy(after);
    }
    assert_true(kept > CUTS / 10 && gone > CUTS / 10 && created > CUTS / 10 && created < CUTS * 9 / 10);
    bole_vfs *lost = cut(disk, BOLE_CRASH_LOSE_ALL, 0), *names = cut(disk, BOLE_CRASH_NAMES_ONLY, 0);
    assert_true(is_there(lost, "s/synced") && !is_there(lost, "s/not") && !is_there(lost, "top"));
    assert_true(!is_there(names, "s/synced") && is_there(names, "s/not") && is_there(names, "top"));
    bole_vfs_destroy(lost);
    bole_vfs_destroy(names);
    bole_vfs_destroy(disk);
}

/* The protocol of CURRENT: whatever happens, the name shows the whole old or the whole new file. */
static void a_rename_shows_the_old_or_the_new_file(void **state)
{
    (void)state;
    bole_vfs *disk = make_disk();
    bole_file *file = open_file(disk, "CURRENT");
    write_at(file, 0, "old", 3);
    sync_file(file);
    close_file(file);
    assert_ok(disk->sync_directory(disk, "/", NULL), NULL);
    file = open_file(disk, "CURRENT.tmp");
    write_at(file, 0, "newer", 5);
    sync_file(file);
    close_file(file);
    assert_ok(disk->rename(disk, "CURRENT.tmp", "CURRENT", NULL), NULL);
    unsigned old = 0, new = 0;
    for (uint64_t seed = 0; seed < CUTS; seed++) {
        uint8_t bytes[8];
        bole_vfs *after = cut(disk, BOLE_CRASH_RANDOM, seed);
        size_t length = slurp(after, "CURRENT", bytes, sizeof bytes);
        bool is_old = length == 3 && memcmp(bytes, "old", 3) == 0;
        assert_true(is_old || (length == 5 && memcmp(bytes, "newer", 5) == 0));
        old += is_old;
        new += !is_old;
        bole_vfs_destroy(after);
    }
    assert_true(old > 0 && new > 0);
    assert_ok(disk->sync_directory(disk, "/", NULL), NULL);
    uint8_t bytes[8];
    bole_vfs *after = cut(disk, BOLE_CRASH_LOSE_ALL, 0);
    assert_int_equal(slurp(after, "CURRENT", bytes, sizeof bytes), 5);
    assert_false(is_there(after, "CURRENT.tmp"));
    bole_vfs_destroy(after);
    bole_vfs_destroy(disk);
}

/* A renamed directory is found under its old name, its new name or (its parent never synced) not at all, but
 * never under both; and what was synced in it is in it. */
static void a_directory_moves_whole(void **state)
{
    (void)state;
    bole_vfs *disk = make_disk();
    assert_ok(disk->make_directory(disk, "building", NULL), NULL);
    close_file(open_file(disk, "building/x"));
    assert_ok(disk->sync_directory(disk, "building", NULL), NULL);
    assert_ok(disk->sync_directory(disk, "/", NULL), NULL);
    assert_ok(disk->rename(disk, "building", "copy", NULL), NULL);
    bool was_old = false, was_new = false;
    for (uint64_t seed = 0; seed < CUTS; seed++) {
        bole_vfs *after = cut(disk, BOLE_CRASH_RANDOM, seed);
        bool old = is_there(after, "building/x"), new = is_there(after, "copy/x");
        assert_true(old != new);
        was_old = was_old || old;
        was_new = was_new || new;
        bole_vfs_destroy(after);
    }
    assert_true(was_old && was_new);
    bole_vfs_destroy(disk);
}

/* Two names of one file are one file after a cut too. */
static void a_hard_link_stays_one_file(void **state)
{
    (void)state;
    bole_vfs *disk = make_disk();
    bole_file *file = open_file(disk, "a");
    write_at(file, 0, "abc", 3);
    sync_file(file);
    close_file(file);
    assert_ok(disk->link(disk, "a", "b", NULL), NULL);
    assert_ok(disk->sync_directory(disk, "/", NULL), NULL);
    bole_vfs *after = cut(disk, BOLE_CRASH_RANDOM, 3);
    file = open_file(after, "a");
    write_at(file, 0, "X", 1);
    close_file(file);
    uint8_t bytes[4];
    assert_int_equal(slurp(after, "b", bytes, sizeof bytes), 3);
    assert_memory_equal(bytes, "Xbc", 3);
    assert_int_equal(slurp(disk, "b", bytes, sizeof bytes), 3); /* the disks are independent */
    assert_memory_equal(bytes, "abc", 3);
    bole_vfs_destroy(after);
    bole_vfs_destroy(disk);
}

/* ---- Space, clocks ------------------------------------------------------------------------------------- */

static void a_full_disk_says_so_and_frees_what_is_removed(void **state)
{
    (void)state;
    bole_error error = BOLE_ERROR_INIT;
    uint8_t page[4096] = { 1 };
    uint64_t left = 0;
    bole_vfs *disk = make_disk();
    bole_vfs_memory_capacity(disk, 10 * 4096);
    bole_file *file = open_file(disk, "f");
    for (uint64_t i = 0; i < 6; i++)
        write_at(file, i * 4096, page, 4096);
    assert_ok(disk->free_bytes(disk, "/", &left, &error), &error);
    assert_int_equal(left, 4 * 4096);
    assert_status(BOLE_NO_SPACE, disk->allocate(file, 0, 11 * 4096, true, &error), &error);
    assert_ok(disk->allocate(file, 0, 10 * 4096, false, &error), &error);
    write_at(file, 9 * 4096, page, 4096); /* allocated before */
    assert_status(BOLE_NO_SPACE, disk->write(file, 10 * 4096, page, 1, &error), &error);
    bole_file *other = NULL;
    assert_status(BOLE_NO_SPACE, disk->open(disk, "g", BOLE_VFS_WRITE | BOLE_VFS_CREATE, &other, &error),
                  &error);
    assert_ok(disk->remove(disk, "f", &error), &error);
    assert_ok(disk->free_bytes(disk, "/", &left, &error), &error);
    assert_int_equal(left, 0); /* still open */
    close_file(file);
    assert_ok(disk->free_bytes(disk, "/", &left, &error), &error);
    assert_int_equal(left, 10 * 4096);
    file = open_file(disk, "g");
    write_at(file, 0, page, 4096);
    close_file(file);
    assert_ok(disk->free_bytes(disk, "/", &left, &error), &error);
    assert_int_equal(left, 9 * 4096); /* closed, but it has a name */
    assert_ok(disk->rename(disk, "g", "h", &error), &error);
    close_file(open_file(disk, "g"));
    assert_ok(disk->rename(disk, "g", "h", &error), &error);
    assert_ok(disk->free_bytes(disk, "/", &left, &error), &error);
    assert_int_equal(left, 10 * 4096); /* replaced */
    bole_vfs *after = cut(disk, BOLE_CRASH_LOSE_ALL, 1);
    assert_ok(after->free_bytes(after, "/", &left, &error), &error);
    assert_int_equal(left, 10 * 4096); /* the file never had a durable name */
    bole_vfs_destroy(after);
    bole_vfs_destroy(disk);
}

static void the_clocks_move_as_told(void **state)
{
    (void)state;
    bole_vfs *disk = make_disk();
    uint64_t monotonic = disk->monotonic_ns(disk);
    int64_t realtime = disk->realtime_us(disk);
    assert_true(disk->monotonic_ns(disk) > monotonic);
    bole_vfs_memory_advance(disk, 5000000);
    assert_true(disk->monotonic_ns(disk) >= monotonic + UINT64_C(5000000000));
    assert_true(disk->realtime_us(disk) == realtime + 5000000);
    monotonic = disk->monotonic_ns(disk);
    bole_vfs_memory_advance(disk, -INT64_C(3000000000000));
    assert_true(disk->realtime_us(disk) < realtime);
    assert_true(disk->monotonic_ns(disk) - monotonic < 1000);
    bole_vfs_destroy(disk);
}

/* A cut of which an allocation fails is BOLE_NO_MEMORY, leaks nothing and can be tried again. */
static void a_cut_without_memory_is_a_status(void **state)
{
    (void)state;
    uint8_t data[9000] = { 1 };
    bole_vfs *disk = make_disk();
    assert_ok(disk->make_directory(disk, "d", NULL), NULL);
    assert_ok(disk->sync_directory(disk, "/", NULL), NULL);
    bole_file *file = open_file(disk, "d/f");
    write_at(file, 0, data, sizeof data);
    close_file(file);
    assert_ok(disk->rename(disk, "d/f", "d/g", NULL), NULL);
    int64_t live = bl_alloc_live();
    for (bole_crash_mode mode = BOLE_CRASH_RANDOM; mode <= BOLE_CRASH_NAMES_ONLY; mode++) {
        bool succeeded = false;
        for (uint64_t at = 0; !succeeded; at++) {
            bole_vfs *after = NULL;
            bl_alloc_fail_at(at, 1);
            bole_status status = bole_vfs_memory_crash(disk, mode, 5, &after);
            bl_alloc_fail_at(UINT64_MAX, 0);
            assert_true((status == BOLE_OK) == (after != NULL));
            assert_true(status == BOLE_OK || status == BOLE_NO_MEMORY);
            succeeded = status == BOLE_OK;
            bole_vfs_destroy(after);
            assert_int_equal(bl_alloc_live(), live);
        }
    }
    bole_vfs_destroy(disk);
}

/* ---- Threads ----------------------------------------------------------------------------------------------- */

typedef struct file_worker {
    bole_vfs *vfs;
    int number;
    bool failed;
} file_worker;

/* Each thread its own file; names, clock and numbers are everybody's. */
static void *work_on_file(void *argument)
{
    file_worker *self = argument;
    bole_vfs *vfs = self->vfs;
    char path[32], moved[32], bytes[100] = { 0 };
    snprintf(path, sizeof path, "t%d", self->number);
    snprintf(moved, sizeof moved, "m%d", self->number);
    bole_file *file = NULL;
    bool ok = vfs->open(vfs, path, BOLE_VFS_WRITE | BOLE_VFS_CREATE, &file, NULL) == BOLE_OK;
    for (uint64_t i = 0; i < 200 && ok; i++) {
        size_t got = 0;
        ok = vfs->write(file, i * 10, "0123456789", 10, NULL) == BOLE_OK &&
             vfs->sync(file, NULL) == BOLE_OK &&
             vfs->read(file, i * 10, bytes, sizeof bytes, &got, NULL) == BOLE_OK && got == 10 &&
             vfs->random(vfs, bytes, 8, NULL) == BOLE_OK && vfs->monotonic_ns(vfs) != 0 &&
             vfs->rename(vfs, i % 2 == 0 ? path : moved, i % 2 == 0 ? moved : path, NULL) == BOLE_OK &&
             vfs->sync_directory(vfs, "/", NULL) == BOLE_OK;
    }
    self->failed = !ok || vfs->close(file, NULL) != BOLE_OK;
    return NULL;
}

static void threads_may_share_a_disk(void **state)
{
    (void)state;
    enum { THREADS = 4 };
    pthread_t threads[THREADS];
    file_worker workers[THREADS];
    bole_vfs *disk = make_disk(), *fault = NULL;
    bole_fault_plan plan = { .at = UINT64_MAX };
    assert_ok(bole_vfs_fault_create(disk, &plan, &fault), NULL);
    for (int i = 0; i < THREADS; i++) {
        workers[i] = (file_worker){ fault, i, true };
        assert_int_equal(pthread_create(&threads[i], NULL, work_on_file, &workers[i]), 0);
    }
    bole_vfs *after = cut(fault, BOLE_CRASH_RANDOM, 1); /* at whatever moment this is */
    for (int i = 0; i < THREADS; i++) {
        assert_int_equal(pthread_join(threads[i], NULL), 0);
        assert_false(workers[i].failed);
    }
    assert_int_equal(plan.calls, THREADS * (2 + 200 * 6));
    bole_vfs_destroy(after);
    bole_vfs_destroy(fault);
    bole_vfs_destroy(disk);
}

/* ---- Faults and traces --------------------------------------------------------------------------------- */

static void the_nth_call_fails_as_planned(void **state)
{
    (void)state;
    bole_error error = BOLE_ERROR_INIT;
    bole_vfs *disk = make_disk(), *fault = NULL;
    bole_fault_plan plan = { .at = UINT64_MAX, .system_errno = ENOSPC, .half = true };
    assert_ok(bole_vfs_fault_create(disk, &plan, &fault), NULL);
    bole_file *file = open_file(fault, "f"); /* call 0 */
    plan.at = 1;
    plan.count = 2;
    assert_status(BOLE_NO_SPACE, fault->write(file, 0, "12345678", 8, &error), &error);
    assert_int_equal(error.system_errno, ENOSPC);
    assert_string_equal(error.file, "f");
    uint64_t length = 0;
    assert_status(BOLE_NO_SPACE, fault->length(file, &length, &error), &error);
    assert_ok(fault->length(file, &length, &error), &error);
    assert_int_equal(length, 4); /* half of the write arrived */
    assert_int_equal(plan.calls, 4);
    assert_int_equal(plan.failed, 2);
    plan.at = 4;
    plan.count = UINT64_MAX;
    assert_status(BOLE_NO_SPACE, fault->rename(fault, "f", "g", &error), &error);
    assert_status(BOLE_NO_SPACE, fault->close(file, &error), &error); /* closed all the same */
    plan.at = UINT64_MAX;
    assert_true(is_there(fault, "f") && !is_there(fault, "g"));
    bole_vfs_destroy(fault);
    bole_vfs_destroy(disk);
}

static bool count_name(void *context, const char *name)
{
    (void)name;
    ++*(unsigned *)context;
    return true;
}

/* Call number `which` of the interface, but for close. */
static bole_status call_one(bole_vfs *vfs, bole_file *file, void *map, int which, bole_error *error)
{
    uint8_t bytes[8] = { 0 };
    size_t got;
    uint64_t number;
    int64_t pid;
    bool is_so;
    unsigned names = 0;
    void *second;
    bole_file *other;
    switch (which) {
    case 0: return vfs->open(vfs, "other", BOLE_VFS_WRITE | BOLE_VFS_CREATE, &other, error);
    case 1: return vfs->read(file, 0, bytes, sizeof bytes, &got, error);
    case 2: return vfs->write(file, 0, bytes, sizeof bytes, error);
    case 3: return vfs->sync(file, error);
    case 4: return vfs->truncate(file, 1, error);
    case 5: return vfs->allocate(file, 0, 8192, true, error);
    case 6: return vfs->length(file, &number, error);
    case 7: return vfs->map(file, 0, 4096, &second, error);
    case 8: return vfs->rename(vfs, "f", "g", error);
    case 9: return vfs->link(vfs, "f", "g", error);
    case 10: return vfs->exists(vfs, "f", &is_so, error);
    case 11: return vfs->list(vfs, "/", count_name, &names, error);
    case 12: return vfs->make_directory(vfs, "d", error);
    case 13: return vfs->sync_directory(vfs, "/", error);
    case 14: return vfs->free_bytes(vfs, "/", &number, error);
    case 15: return vfs->lock(file, 0, true, error);
    case 16: return vfs->lock_test(file, 0, &is_so, &pid, error);
    case 17: return vfs->random(vfs, bytes, sizeof bytes, error);
    case 18: return vfs->unlock(file, 0, error);
    case 19: return vfs->remove_directory(vfs, "/", error);
    case 20: return vfs->map_stored(file, map, 8, error);
    case 21: return vfs->unmap(file, map, 4096, error);
    default: return vfs->remove(vfs, "f", error);
    }
}

/* Each call of the interface can be made to fail, and says so. */
static void each_call_fails_when_it_is_its_turn(void **state)
{
    (void)state;
    enum { CALLS = 23 };
    bole_vfs *disk = make_disk(), *fault = NULL;
    bole_fault_plan plan = { .at = UINT64_MAX, .system_errno = EIO, .count = 1 };
    assert_ok(bole_vfs_fault_create(disk, &plan, &fault), NULL);
    bole_file *file = open_file(fault, "f");
    void *map;
    assert_ok(fault->allocate(file, 0, 8192, true, NULL), NULL);
    assert_ok(fault->map(file, 4096, 4096, &map, NULL), NULL);
    for (int which = 0; which < CALLS; which++) {
        bole_error error = BOLE_ERROR_INIT;
        plan.at = plan.calls;
        assert_status(BOLE_IO, call_one(fault, file, map, which, &error), &error);
        assert_int_equal(error.system_errno, EIO);
        assert_int_equal(plan.failed, which + 1);
    }
    plan.at = UINT64_MAX;
    close_file(file);
    bole_vfs_destroy(fault);
    bole_vfs_destroy(disk);
}

/* After a failing sync, another that succeeds has saved nothing but what was written since. */
static void a_sync_that_succeeds_after_one_that_failed_proves_nothing(void **state)
{
    (void)state;
    uint8_t bytes[8200], page[4096];
    memset(page, 'p', sizeof page);
    bole_vfs *disk = make_disk(), *fault = NULL;
    bole_fault_plan plan = { .at = UINT64_MAX, .system_errno = EIO, .count = 1 };
    assert_ok(bole_vfs_fault_create(disk, &plan, &fault), NULL);
    bole_file *file = open_file(fault, "f");
    write_at(file, 0, page, 4096);
    write_at(file, 4096, page, 4096);
    assert_ok(fault->sync_directory(fault, "/", NULL), NULL);
    plan.at = plan.calls;
    assert_status(BOLE_IO, fault->sync(file, NULL), NULL);
    write_at(file, 4096, page, 4096); /* again */
    sync_file(file);
    assert_int_equal(slurp(fault, "f", bytes, sizeof bytes), 8192);
    assert_int_equal(bytes[0], 'p'); /* the page cache shows it */
    bole_vfs *after = cut(fault, BOLE_CRASH_LOSE_ALL, 1);
    assert_int_equal(slurp(after, "f", bytes, sizeof bytes), 8192);
    assert_int_equal(bytes[0], 0);
    assert_int_equal(bytes[4096], 'p');
    bole_vfs_destroy(after);
    close_file(file);
    bole_vfs_destroy(fault);
    bole_vfs_destroy(disk);
}

static void add_line(void *context, const char *text)
{
    bole_buffer *lines = context;
    assert_true(bl_buffer_append_format(lines, "%s\n", text));
}

static void a_trace_tells_every_change_in_order(void **state)
{
    (void)state;
    bole_buffer lines = BOLE_BUFFER_INIT;
    bole_vfs *disk = make_disk(), *trace = NULL;
    assert_ok(bole_vfs_trace_create(disk, add_line, &lines, &trace), NULL);
    assert_ok(trace->make_directory(trace, "/my.bole", NULL), NULL);
    bole_file *file = NULL;
    assert_ok(trace->open(trace, "/my.bole/000007.log", BOLE_VFS_WRITE | BOLE_VFS_CREATE | BOLE_VFS_EXCLUSIVE,
                          &file, NULL),
              NULL);
    assert_ok(trace->allocate(file, 0, 8192, true, NULL), NULL);
    write_at(file, 4096, "record", 6);
    void *map = NULL;
    assert_ok(trace->map(file, 4096, 4096, &map, NULL), NULL);
    memset((char *)map + 100, 1, 50);
    assert_ok(trace->map_stored(file, (char *)map + 100, 50, NULL), NULL);
    assert_ok(trace->unmap(file, map, 4096, NULL), NULL);
    sync_file(file);
    assert_ok(trace->lock(file, 0, true, NULL), NULL);
    assert_ok(trace->unlock(file, 0, NULL), NULL);
    assert_ok(trace->truncate(file, 4102, NULL), NULL);
    close_file(file);
    assert_ok(trace->rename(trace, "/my.bole/000007.log", "/my.bole/000009.log", NULL), NULL);
    assert_ok(trace->link(trace, "/my.bole/000009.log", "/l", NULL), NULL);
    assert_ok(trace->sync_directory(trace, "/my.bole", NULL), NULL);
    assert_ok(trace->remove(trace, "/my.bole/000009.log", NULL), NULL);
    assert_status(BOLE_NOT_FOUND, trace->remove(trace, "/my.bole/x", NULL), NULL);
    assert_ok(trace->remove_directory(trace, "/my.bole", NULL), NULL);
    assert_true(bl_buffer_append_u8(&lines, 0));
    assert_string_equal(lines.data, "make_directory my.bole\n"
                                    "create 000007.log exclusive\n"
                                    "allocate 000007.log 0+8192 zero\n"
                                    "write 000007.log 4096+6\n"
                                    "map 000007.log 4096+4096\n"
                                    "stored 000007.log 4196+50\n"
                                    "unmap 000007.log 4096+4096\n"
                                    "sync 000007.log\n"
                                    "lock 000007.log 0 exclusive\n"
                                    "unlock 000007.log 0\n"
                                    "truncate 000007.log 4102\n"
                                    "rename 000007.log 000009.log\n"
                                    "link 000009.log l\n"
                                    "sync_directory my.bole\n"
                                    "remove 000009.log\n"
                                    "remove x -> BOLE_NOT_FOUND\n"
                                    "remove_directory my.bole\n");
    bole_buffer_free(&lines);
    bole_vfs_destroy(trace);
    bole_vfs_destroy(disk);
}

/* Of two maps of a file each is told at its own place, whichever goes first. */
static void a_trace_knows_maps_apart(void **state)
{
    (void)state;
    bole_buffer lines = BOLE_BUFFER_INIT;
    bole_vfs *disk = make_disk(), *trace = NULL;
    bole_file *file = NULL;
    void *maps[2];
    assert_ok(bole_vfs_trace_create(disk, add_line, &lines, &trace), NULL);
    assert_ok(trace->open(trace, "f", BOLE_VFS_WRITE | BOLE_VFS_CREATE, &file, NULL), NULL);
    assert_ok(trace->allocate(file, 0, 8192, true, NULL), NULL);
    for (int i = 0; i < 2; i++)
        assert_ok(trace->map(file, 4096 * (uint64_t)i, 4096, &maps[i], NULL), NULL);
    lines.size = 0;
    assert_ok(trace->unmap(file, maps[0], 4096, NULL), NULL);
    assert_ok(trace->map_stored(file, (char *)maps[1] + 100, 50, NULL), NULL);
    assert_ok(trace->unmap(file, maps[1], 4096, NULL), NULL);
    assert_true(bl_buffer_append_u8(&lines, 0));
    assert_string_equal(lines.data, "unmap f 0+4096\nstored f 4196+50\nunmap f 4096+4096\n");
    close_file(file);
    bole_buffer_free(&lines);
    bole_vfs_destroy(trace);
    bole_vfs_destroy(disk);
}

/* ---- What cannot be ----------------------------------------------------------------------------------- */

static void refused(int system_errno, bole_status status, bole_error *error)
{
    assert_int_not_equal(status, BOLE_OK);
    assert_int_equal(error->system_errno, system_errno);
    *error = (bole_error)BOLE_ERROR_INIT;
}

static void names_that_cannot_be_are_refused(void **state)
{
    (void)state;
    bole_error error = BOLE_ERROR_INIT;
    bole_vfs *disk = make_disk();
    char long_name[300];
    bole_file *file;
    memset(long_name, 'n', sizeof long_name - 1);
    long_name[sizeof long_name - 1] = 0;
    refused(ENAMETOOLONG, disk->open(disk, long_name, BOLE_VFS_WRITE | BOLE_VFS_CREATE, &file, &error),
            &error);
    refused(EINVAL, disk->make_directory(disk, "../up", &error), &error);
    assert_ok(disk->make_directory(disk, "xx", &error), &error); /* two letters, and no dots */
    close_file(open_file(disk, "xx/file"));
    close_file(open_file(disk, "plain"));
    assert_ok(disk->make_directory(disk, "empty", &error), &error);
    assert_ok(disk->make_directory(disk, "full", &error), &error);
    assert_ok(disk->make_directory(disk, "full/inner", &error), &error);
    refused(EBUSY, disk->rename(disk, ".", "elsewhere", &error), &error);
    refused(EBUSY, disk->rename(disk, "xx", "./", &error), &error);
    refused(EBUSY, disk->remove_directory(disk, "/", &error), &error);
    refused(ENOTDIR, disk->remove_directory(disk, "plain", &error), &error);
    refused(ENOTEMPTY, disk->remove_directory(disk, "full", &error), &error);
    refused(EISDIR, disk->remove(disk, "empty", &error), &error);
    refused(EISDIR, disk->rename(disk, "plain", "empty", &error), &error);
    refused(ENOTDIR, disk->rename(disk, "xx", "plain", &error), &error);
    refused(ENOTDIR, disk->rename(disk, "plain", "plain/inside", &error), &error);
    refused(ENOTEMPTY, disk->rename(disk, "xx", "full", &error), &error);
    refused(EINVAL, disk->rename(disk, "xx", "xx/inside", &error), &error);
    refused(EISDIR, disk->link(disk, "xx", "other", &error), &error);
    refused(ENOENT, disk->link(disk, "plain", "nowhere/other", &error), &error);
    refused(EEXIST, disk->make_directory(disk, "plain", &error), &error);
    unsigned names = 0;
    refused(ENOENT, disk->list(disk, "nowhere", count_name, &names, &error), &error);
    assert_int_equal(names, 0);
    assert_ok(disk->rename(disk, "plain", "./plain", &error), &error); /* the same file */
    assert_ok(disk->rename(disk, "xx", "xxy", &error), &error);        /* a name that begins alike */
    assert_ok(disk->rename(disk, "xxy", "empty", &error), &error);     /* in the place of an empty one */
    assert_true(is_there(disk, "empty/file"));
    assert_false(is_there(disk, "xxy"));
    bole_vfs_destroy(disk);
    assert_string_equal(bl_path_last("a/b"), "b");
    assert_string_equal(bl_path_last("b"), "b");
    assert_string_equal(bl_path_last("a/"), "a/");
}

static void maps_that_cannot_be_are_refused(void **state)
{
    (void)state;
    bole_error error = BOLE_ERROR_INIT;
    bole_vfs *disk = make_disk();
    bole_file *file = open_file(disk, "file"), *other = open_file(disk, "other");
    uint8_t *map, *second, *of_other, bytes[4] = "1234";
    assert_ok(disk->truncate(file, 8192, &error), &error);
    assert_ok(disk->truncate(other, 8192, &error), &error);
    refused(EINVAL, disk->map(file, 0, 0, (void **)&map, &error), &error);
    refused(EINVAL, disk->map(file, 100, 4096, (void **)&map, &error), &error);
    assert_null(map);
    assert_ok(disk->map(file, 0, 8192, (void **)&map, &error), &error);
    assert_ok(disk->map(file, 4096, 4096, (void **)&second, &error), &error);
    assert_ok(disk->map(other, 0, 8192, (void **)&of_other, &error), &error);
    refused(EFAULT, disk->map_stored(file, map - 1, 4, &error), &error);
    refused(EFAULT, disk->map_stored(file, map + 8190, 4, &error), &error);
    refused(EFAULT, disk->map_stored(file, map, 10000, &error), &error);
    refused(EFAULT, disk->map_stored(file, of_other, 4, &error), &error);
    memcpy(map + 5000, bytes, 4); /* a store is seen by the other map once it is told, and by the file */
    assert_int_equal(second[904], 0);
    assert_ok(disk->map_stored(file, map + 5000, 4, &error), &error);
    assert_memory_equal(second + 904, bytes, 4);
    assert_int_equal(of_other[5000], 0);
    write_at(file, 10, bytes, 4); /* before the second map begins */
    assert_memory_equal(map + 10, bytes, 4);
    refused(EINVAL, disk->unmap(file, map, 4096, &error), &error);
    refused(EINVAL, disk->unmap(file, bytes, 4, &error), &error);
    assert_ok(disk->unmap(file, NULL, 4, &error), &error);
    assert_ok(disk->unmap(file, map, 8192, &error), &error);
    assert_ok(disk->truncate(file, 4096, &error), &error);
    refused(EIO, disk->map_stored(file, second, 4, &error), &error); /* behind the end */
    close_file(file);
    close_file(other);
    bole_vfs_destroy(disk); /* with maps that nobody let go of */
}

static void a_lock_goes_where_it_was_taken(void **state)
{
    (void)state;
    bole_error error = BOLE_ERROR_INIT;
    bole_vfs *disk = make_disk();
    bole_file *file = open_file(disk, "file"), *other = open_file(disk, "file");
    bool locked;
    int64_t holder;
    for (uint64_t offset = 0; offset < 3; offset++)
        assert_ok(disk->lock(file, offset, true, &error), &error);
    assert_ok(disk->unlock(other, 1, &error), &error); /* which holds none */
    assert_ok(disk->unlock(file, 7, &error), &error);
    assert_ok(disk->unlock(file, 1, &error), &error);
    for (uint64_t offset = 0; offset < 3; offset++) {
        assert_ok(disk->lock_test(other, offset, &locked, &holder, &error), &error);
        assert_int_equal(locked, offset != 1);
    }
    close_file(file);
    close_file(other);
    bole_vfs_destroy(disk);
}

/* What takes more memory than there is, at each allocation: the file stays as it was, or is as it should be. */
static void a_file_without_memory_stays_whole(void **state)
{
    (void)state;
    bole_error error = BOLE_ERROR_INIT;
    static uint8_t bytes[12288], read[12288], wanted[12288];
    memset(bytes, 'b', sizeof bytes);
    bole_vfs *disk = make_disk();
    bole_file *file = open_file(disk, "huge");
    assert_status(BOLE_NO_MEMORY, disk->truncate(file, UINT64_C(1) << 60, &error), &error);
    assert_status(BOLE_NO_MEMORY, disk->allocate(file, 0, UINT64_C(1) << 60, false, &error), &error);
    close_file(file);
    uint64_t failed = 0;
    for (int what = 0; what < 4; what++)
        for (uint64_t at = 0, more = 1; more != 0; at++) {
            char name[32];
            snprintf(name, sizeof name, "file %d %d", what, (int)at);
            file = open_file(disk, name);
            write_at(file, 0, bytes, sizeof bytes);
            sync_file(file); /* the pages are the disk's now: to change one is to copy it */
            memcpy(wanted, bytes, sizeof wanted);
            size_t size = sizeof wanted, got;
            bl_alloc_fail_at(at, 1);
            bole_status status;
            switch (what) {
            case 0: status = disk->truncate(file, 5000, &error); break;
            case 1: status = disk->allocate(file, 100, 8000, true, &error); break;
            case 2: status = disk->write(file, 4000, "changed", 7, &error); break;
            default: status = disk->allocate(file, 0, 500000, false, &error);
            }
            more = bl_alloc_calls() > at;
            bl_alloc_fail_at(UINT64_MAX, 0);
            if (status == BOLE_OK && what == 0)
                size = 5000;
            if (status == BOLE_OK && what == 1)
                memset(wanted + 100, 0, 8000);
            if (status == BOLE_OK && what == 2)
                memcpy(wanted + 4000, "changed", 7);
            assert_status(more != 0 ? BOLE_NO_MEMORY : BOLE_OK, status, &error);
            failed += more;
            assert_ok(disk->read(file, 0, read, sizeof read, &got, &error), &error);
            if (status == BOLE_OK || what == 0 || what == 3) {
                assert_int_equal(got, size);
                assert_memory_equal(read, wanted, size);
            } else {
                assert_int_equal(got, sizeof wanted); /* a part of it may have been done */
            }
            close_file(file);
        }
    assert_true(failed > 3);
    bole_vfs_destroy(disk);
}

/* A cut in every mode without memory, of directories that are new and files that were cut in the middle of a page. */
static void a_cut_of_anything_without_memory_is_a_status(void **state)
{
    (void)state;
    bole_error error = BOLE_ERROR_INIT;
    static const bole_crash_mode modes[] = { BOLE_CRASH_RANDOM, BOLE_CRASH_LOSE_ALL, BOLE_CRASH_KEEP_ALL,
                                             BOLE_CRASH_NAMES_ONLY };
    static uint8_t bytes[20000];
    bole_vfs *disk = make_disk(), *posix = bole_vfs_posix(), *after;
    assert_status(BOLE_INVALID, bole_vfs_memory_crash(posix, BOLE_CRASH_RANDOM, 1, &after), NULL);
    assert_null(after);
    memset(bytes, 'b', sizeof bytes);
    assert_ok(disk->make_directory(disk, "old", &error), &error);
    assert_ok(disk->sync_directory(disk, ".", &error), &error);
    for (int i = 0; i < 4; i++) {
        char name[64];
        snprintf(name, sizeof name, "new%d", i);
        assert_ok(disk->make_directory(disk, name, &error), &error);
        snprintf(name, sizeof name, "new%d/file", i);
        bole_file *file = open_file(disk, name);
        write_at(file, 0, bytes, sizeof bytes);
        if (i % 2 == 0)
            sync_file(file);
        assert_ok(disk->truncate(file, 9000, &error), &error);
        write_at(file, 8000, "unsynced", 8);
        close_file(file);
        snprintf(name, sizeof name, "new%d", i);
        if (i < 2)
            assert_ok(disk->sync_directory(disk, name, &error), &error);
        if (i == 1)
            assert_ok(disk->rename(disk, name, "old/moved", &error), &error);
    }
    uint64_t failed = 0;
    for (size_t round = 0; round < 35; round++) { /* a random one has as many outcomes as seeds */
        size_t mode = round < 32 ? 0 : round - 31;
        for (uint64_t at = 0, more = 1; more != 0; at++) {
            int64_t live = bl_alloc_live();
            bl_alloc_fail_at(at, 1);
            bole_status status = bole_vfs_memory_crash(disk, modes[mode], round, &after);
            more = bl_alloc_calls() > at;
            bl_alloc_fail_at(UINT64_MAX, 0);
            assert_status(more != 0 ? BOLE_NO_MEMORY : BOLE_OK, status, NULL);
            assert_true((status == BOLE_OK) == (after != NULL));
            if (status == BOLE_OK && modes[mode] == BOLE_CRASH_KEEP_ALL) {
                assert_int_equal(slurp(after, "new0/file", bytes, sizeof bytes), 9000);
                assert_int_equal(slurp(after, "old/moved/file", bytes, sizeof bytes), 9000);
                assert_memory_equal(bytes + 8000, "unsynced", 8);
            }
            if (status == BOLE_OK && is_there(after, "new0/file")) { /* a file that grows, grows by zeros */
                size_t length = slurp(after, "new0/file", bytes, sizeof bytes);
                bole_file *file = open_file(after, "new0/file");
                assert_ok(after->truncate(file, sizeof bytes, &error), &error);
                close_file(file);
                assert_int_equal(slurp(after, "new0/file", bytes, sizeof bytes), sizeof bytes);
                for (size_t i = length; i < sizeof bytes; i++)
                    assert_int_equal(bytes[i], 0);
            }
            if (status == BOLE_OK)
                bole_vfs_destroy(after);
            failed += more;
            assert_int_equal(bl_alloc_live(), live);
        }
    }
    assert_true(failed > 40);
    bole_vfs_destroy(disk);
}

/* ---- Wrappers ----------------------------------------------------------------------------------------- */

static void ignore_line(void *context, const char *text) { (void)context, (void)text; }

static void wrappers_pass_on_what_they_do_not_change(void **state)
{
    (void)state;
    bole_error error = BOLE_ERROR_INIT;
    bole_fault_plan plan = { .at = UINT64_MAX, .count = 1, .system_errno = EIO };
    bole_vfs *disk = make_disk(), *wrapper;
    assert_status(BOLE_INVALID, bole_vfs_fault_create(NULL, &plan, &wrapper), NULL);
    assert_status(BOLE_INVALID, bole_vfs_fault_create(disk, NULL, &wrapper), NULL);
    assert_status(BOLE_INVALID, bole_vfs_trace_create(NULL, ignore_line, NULL, &wrapper), NULL);
    assert_status(BOLE_INVALID, bole_vfs_trace_create(disk, NULL, NULL, &wrapper), NULL);
    bl_alloc_fail_at(0, 2);
    assert_status(BOLE_NO_MEMORY, bole_vfs_fault_create(disk, &plan, &wrapper), NULL);
    assert_status(BOLE_NO_MEMORY, bole_vfs_trace_create(disk, ignore_line, NULL, &wrapper), NULL);
    bl_alloc_fail_at(UINT64_MAX, 0);
    assert_null(wrapper);

    assert_ok(bole_vfs_fault_create(disk, &plan, &wrapper), NULL);
    assert_ok(wrapper->close(NULL, &error), &error);
    bole_file *file = open_file(wrapper, "file");
    write_at(file, 0, "0123456789", 10);
    plan.half = true; /* of one byte nothing is the half */
    plan.at = plan.calls;
    refused(EIO, wrapper->write(file, 0, "x", 1, &error), &error);
    plan.at = plan.calls;
    refused(EIO, wrapper->truncate(file, 3, &error), &error);
    plan.at = plan.calls;
    refused(EIO, wrapper->link(wrapper, "file", "other", &error), &error);
    assert_false(is_there(disk, "other"));
    void *map;
    assert_ok(wrapper->truncate(file, 4096, &error), &error);
    assert_ok(wrapper->map(file, 0, 4096, &map, &error), &error);
    memcpy(map, "abcd", 4);
    plan.at = plan.calls;
    refused(EIO, wrapper->map_stored(file, map, 1, &error), &error);
    uint8_t seen[10];
    size_t got;
    assert_ok(wrapper->read(file, 0, seen, 10, &got, &error), &error);
    assert_memory_equal(seen, "0123456789", 10);
    plan.at = plan.calls;
    refused(EIO, wrapper->map_stored(file, map, 4, &error), &error);
    assert_ok(wrapper->read(file, 0, seen, 10, &got, &error), &error);
    assert_memory_equal(seen, "ab23456789", 10); /* the half of it */
    assert_ok(wrapper->unmap(file, map, 4096, &error), &error);
    close_file(file);
    bole_vfs_destroy(wrapper);

    /* Over a vfs that need not be told of stores. */
    test_directory directory = test_directory_make();
    bole_vfs *posix = bole_vfs_posix();
    assert_null(posix->map_stored);
    for (int traced = 0; traced < 2; traced++) {
        void *second;
        assert_ok(traced ? bole_vfs_trace_create(posix, ignore_line, NULL, &wrapper)
                         : bole_vfs_fault_create(posix, &plan, &wrapper),
                  NULL);
        file = open_file(wrapper, test_path(&directory, "file"));
        assert_ok(wrapper->truncate(file, 4096, &error), &error);
        assert_ok(wrapper->map(file, 0, 4096, &map, &error), &error);
        assert_ok(wrapper->map(file, 0, 4096, &second, &error), &error);
        assert_ok(wrapper->map_stored(file, map, 4, &error), &error);
        if (!traced) {
            plan.at = plan.calls;
            refused(EIO, wrapper->map_stored(file, map, 4, &error), &error);
        }
        assert_ok(wrapper->unmap(file, map, 4096, &error), &error); /* the older one */
        assert_ok(wrapper->unmap(file, second, 4096, &error), &error);
        close_file(file);
        bole_vfs_destroy(wrapper);
    }
    bole_vfs_destroy(disk);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(synced_bytes_survive_every_cut),
        cmocka_unit_test(an_unsynced_sector_fares_in_every_way),
        cmocka_unit_test(a_cut_is_decided_by_its_seed),
        cmocka_unit_test(a_new_life_draws_new_numbers),
        cmocka_unit_test(what_the_process_left_unsynced_can_still_be_lost),
        cmocka_unit_test(a_name_synced_in_an_unsynced_directory_outlives_the_process),
        cmocka_unit_test(stores_to_a_map_are_durable_after_a_sync),
        cmocka_unit_test(a_name_is_durable_after_its_directory_is_synced),
        cmocka_unit_test(a_rename_shows_the_old_or_the_new_file),
        cmocka_unit_test(a_directory_moves_whole),
        cmocka_unit_test(a_hard_link_stays_one_file),
        cmocka_unit_test(a_full_disk_says_so_and_frees_what_is_removed),
        cmocka_unit_test(the_clocks_move_as_told),
        cmocka_unit_test(a_cut_without_memory_is_a_status),
        cmocka_unit_test(threads_may_share_a_disk),
        cmocka_unit_test(the_nth_call_fails_as_planned),
        cmocka_unit_test(each_call_fails_when_it_is_its_turn),
        cmocka_unit_test(a_sync_that_succeeds_after_one_that_failed_proves_nothing),
        cmocka_unit_test(a_trace_tells_every_change_in_order),
        cmocka_unit_test(a_trace_knows_maps_apart),
        cmocka_unit_test(names_that_cannot_be_are_refused),
        cmocka_unit_test(maps_that_cannot_be_are_refused),
        cmocka_unit_test(a_lock_goes_where_it_was_taken),
        cmocka_unit_test(a_file_without_memory_stays_whole),
        cmocka_unit_test(a_cut_of_anything_without_memory_is_a_status),
        cmocka_unit_test(wrappers_pass_on_what_they_do_not_change),
    };
    return cmocka_run_group_tests_name("vfs memory, fault, trace", tests, NULL, NULL);
}
