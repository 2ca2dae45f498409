/* SPDX-License-Identifier: MIT */
/* outside_full.c -- real small file systems, filled to the brim: clean statuses, true reads, and on it goes.
 *
 * A tmpfs, and an ext4 in a file behind a loop device, of a few MiB. For each level a file takes all room but some
 * KiB, and a process writes a store there (history_fixture.h), with real threads, flushes, merges, copies, until twenty
 * calls were refused. Every status must be clean, every read true. One level in three then dies there (SIGKILL), and
 * the store is opened on the full disk and read. The others go on: the file that took the room is removed, and the same
 * handle must take a durable write within ten seconds, flush, merge and close. In the end the store is opened again and
 * must hold all that was acknowledged.
 *
 * BOLE_TEST_SEED chooses the first level; BOLE_TEST_EFFORT (default 1) times 10 is the number of levels on each of the
 * two. Mounting takes root: what cannot be mounted is named and left out; when it is both, the exit code is 77. */
#include "history_fixture.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/statvfs.h>
#include <sys/wait.h>
#include <time.h>

enum { LEVELS = 10, DISK_MIB = 8, OPERATIONS = 400, REFUSED = 20, TRIES = 200, BEFORE = 20 };

typedef struct shared { /* of child and parent */
    history history;
    uint64_t tries; /* until a write went well with room again */
    uint64_t deletes_tried, deletes_done;
    uint32_t refused;
    bool failed;
    char why[1200];
} shared;

typedef struct tally {
    uint64_t levels, full, went_on, at_once, died, refused, deletes_tried, deletes_done;
} tally;

typedef struct level {
    char store[300], ballast[300];
    uint64_t seed;
    bool dies;
    shared *shared;
} level;

static uint64_t effort(void)
{
    const char *text = getenv("BOLE_TEST_EFFORT");
    uint64_t value = text != NULL ? strtoull(text, NULL, 10) : 1;
    return value != 0 ? value : 1;
}

static bole_options options_for(uint64_t seed)
{
    bole_options options = BOLE_OPTIONS_INIT;
    options.flags = BOLE_CREATE;
    options.memory_limit = 16 << 20;
    options.memtable_bytes = 16384u << seed % 3;
    options.segment_bytes = 16384;
    options.block_bytes = 1024;
    options.level0_runs = 2;
    options.sync_interval_ms = 10;
    if (seed % 2 == 1)
        options.flags |= BOLE_NO_SIGBUS_HANDLER; /* written logs instead of mapped ones */
    return options;
}

/* ---- The child ------------------------------------------------------------------------------------------------ */

static void fails(const level *l, const char *when, const char *why)
{
    snprintf(l->shared->why, sizeof l->shared->why, "%s: %.1000s", when, why);
    l->shared->failed = true;
    _exit(1);
}

static void look(const level *l, bole_db *db, const char *when)
{
    history *h = &l->shared->history;
    bole_status status = history_check(h, db, true);
    if (h->why[0] != '\0' || status != BOLE_OK)
        fails(l, when, h->why[0] != '\0' ? h->why : bole_status_name(status));
}

static bole_status operate(const level *l, bole_db *db, bl_prng *prng, bole_error *error)
{
    static const bole_slice open_end = { NULL, 0 };
    static uint32_t copies;
    history *h = &l->shared->history;
    char copy[320];
    bool durable = true;
    bole_status status;
    switch (bl_prng_below(prng, 30)) {
    case 0: status = bole_flush(db, error); break;
    case 1: status = bole_compact(db, NULL, open_end, open_end, error); break;
    case 2: status = bole_sync(db, error); break;
    case 3:
        snprintf(copy, sizeof copy, "%s-copy-%u", l->store, ++copies);
        status = bole_checkpoint(db, copy, error);
        break;
    default:
        durable = bl_prng_chance(prng, 4);
        status = history_write(h, db, durable ? BOLE_DURABILITY_POWER : BOLE_DURABILITY_PROCESS, error);
    }
    if (status == BOLE_OK && durable)
        history_all_durable(h);
    return status;
}

/* As a caller would who was told that there is no room: again, and again. */
static void go_on(const level *l, bole_db *db)
{
    static const bole_slice open_end = { NULL, 0 };
    bole_error error = BOLE_ERROR_INIT;
    bole_status status = BOLE_NO_SPACE;
    for (l->shared->tries = 0; l->shared->tries < TRIES && status != BOLE_OK; l->shared->tries++) {
        if (l->shared->tries != 0)
            nanosleep(&(struct timespec){ .tv_nsec = 50000000 }, NULL);
        status = history_write(&l->shared->history, db, BOLE_DURABILITY_POWER, &error);
        if (status != BOLE_OK && !history_is_clean(status))
            fails(l, "a write with room again", error.message);
    }
    if (status != BOLE_OK)
        fails(l, "with room again no write goes well", error.message);
    history_all_durable(&l->shared->history);
    status = BOLE_NO_SPACE;
    for (uint32_t i = 0; i < TRIES && status != BOLE_OK;
         i++) { /* what failed in the background is told once more */
        status = bole_flush(db, &error);
        if (status == BOLE_OK)
            status = bole_compact(db, NULL, open_end, open_end, &error);
        if (status != BOLE_OK)
            nanosleep(&(struct timespec){ .tv_nsec = 50000000 }, NULL);
    }
    if (status != BOLE_OK)
        fails(l, "with room again flush and merge do not go well", error.message);
}

static void child_run(const level *l)
{
    bole_error error = BOLE_ERROR_INIT;
    bole_options options = options_for(l->seed);
    bole_write_options write = BOLE_WRITE_OPTIONS_INIT;
    bole_db *db;
    bl_prng prng;
    bl_prng_init(&prng, l->seed);
    write.error = &error;
    if (bole_open(l->store, &options, &db, &error) != BOLE_OK)
        fails(l, "open", error.message);
    for (uint32_t i = 0; i < OPERATIONS && l->shared->refused < REFUSED; i++) {
        bole_status status = operate(l, db, &prng, &error);
        if (status != BOLE_OK && !history_is_clean(status))
            fails(l, bole_status_name(status), error.message);
        l->shared->refused += status != BOLE_OK;
        if (status != BOLE_OK && l->shared->refused % 5 == 1)
            look(l, db, "full");
    }
    if (l->shared->refused >= REFUSED) {
        for (l->shared->deletes_tried = 0; l->shared->deletes_tried < 5; l->shared->deletes_tried++) {
            bole_status status = bole_delete(db, &write, BOLE_STR("z: never there"));
            l->shared->deletes_done += status == BOLE_OK;
            if (status != BOLE_OK && !history_is_clean(status))
                fails(l, "a delete", error.message);
        }
        look(l, db, "full");
        if (l->dies)
            kill(getpid(), SIGKILL);
        if (unlink(l->ballast) != 0)
            fails(l, "making room", strerror(errno));
        go_on(l, db);
        look(l, db, "with room again");
    }
    bole_status status = bole_close(db, &error);
    /* without room still: then the log holds what could not be flushed */
    if (status != BOLE_OK && (l->shared->refused >= REFUSED || !history_is_clean(status)))
        fails(l, "close", error.message);
    if (status == BOLE_OK)
        history_all_durable(&l->shared->history);
    _exit(0);
}

/* ---- A level -------------------------------------------------------------------------------------------------- */

/* Leaves so many bytes of the disk; false when there are not that many. */
static bool take_room(const char *directory, const char *ballast, uint64_t left)
{
    struct statvfs room;
    int file = open(ballast, O_CREAT | O_WRONLY | O_TRUNC | O_CLOEXEC, 0600);
    bool good = file >= 0 && statvfs(directory, &room) == 0;
    uint64_t bytes = good ? (uint64_t)room.f_bavail * room.f_frsize : 0;
    good = good && bytes > left && posix_fallocate(file, 0, (off_t)(bytes - left)) == 0;
    if (file >= 0)
        close(file);
    return good;
}

static void check_after(const level *l, uint32_t flags, const char *when)
{
    bole_error error = BOLE_ERROR_INIT;
    bole_options options = options_for(l->seed);
    history *h = &l->shared->history;
    bole_db *db;
    options.flags = flags;
    if (bole_open(l->store, &options, &db, &error) != BOLE_OK)
        fail_msg("level %" PRIu64 ", %s: open: %s", l->seed, when, error.message);
    bole_status status = history_check(h, db, true);
    if (h->why[0] != '\0' || status != BOLE_OK)
        fail_msg("level %" PRIu64 ", %s: %s", l->seed, when,
                 h->why[0] != '\0' ? h->why : bole_status_name(status));
    if (flags != BOLE_READ_ONLY) {
        history_settle(h);
        assert_ok(history_write(h, db, BOLE_DURABILITY_POWER, &error), &error);
    }
    assert_ok(bole_close(db, &error), &error);
}

static void one_level(const char *directory, uint64_t seed, shared *page, tally *t)
{
    int ended;
    level l = { .seed = seed, .dies = seed % 3 == 0, .shared = page };
    snprintf(l.store, sizeof l.store, "%s/store", directory);
    snprintf(l.ballast, sizeof l.ballast, "%s/ballast", directory);
    memset(page, 0, sizeof *page);
    page->history.seed = seed;
    if (!take_room(directory, l.ballast, 30000 + seed * 7919 % 150000))
        fail_msg("no room can be taken on %s: %s", directory, strerror(errno));
    fflush(NULL);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0)
        child_run(&l);
    assert_int_equal(waitpid(child, &ended, 0), child);
    if (page->failed)
        fail_msg("level %" PRIu64 ": %s", seed, page->why);
    bool killed = WIFSIGNALED(ended) && WTERMSIG(ended) == SIGKILL && l.dies;
    if (!killed && !(WIFEXITED(ended) && WEXITSTATUS(ended) == 0))
        fail_msg("level %" PRIu64 ": the process ended by %d", seed, ended);
    bool full = page->refused >= REFUSED;
    if (killed)
        check_after(&l, BOLE_READ_ONLY, "dead on a full disk");
    unlink(l.ballast);
    check_after(&l, 0, "with room again");
    t->levels++;
    t->full += full;
    t->died += killed;
    t->went_on += full && !killed;
    t->at_once += full && !killed && page->tries == 1;
    t->refused += page->refused;
    t->deletes_tried += page->deletes_tried;
    t->deletes_done += page->deletes_done;
}

static void empty(const char *directory)
{
    char command[400];
    snprintf(command, sizeof command, "rm -rf '%s'/store*", directory);
    assert_int_equal(system(command), 0);
}

/* ---- Disks ---------------------------------------------------------------------------------------------------- */

static bool mount_tmpfs(const char *directory)
{
    char size[32];
    snprintf(size, sizeof size, "size=%dm", DISK_MIB);
    return mount("bole", directory, "tmpfs", 0, size) == 0;
}

static bool mount_ext4(const char *directory)
{
    char command[1200];
    snprintf(
        command, sizeof command,
        "PATH=$PATH:/sbin:/usr/sbin; truncate -s %dM '%s.image' && mkfs.ext4 -q -F -m 0 '%s.image' >/dev/null 2>&1 && "
        "mount -o loop '%s.image' '%s' 2>/dev/null",
        DISK_MIB, directory, directory, directory, directory);
    return system(command) == 0;
}

static uint64_t disks_mounted;
static const char *mounted; /* now */

static void unmount(void)
{
    char image[300];
    if (mounted == NULL)
        return;
    umount2(mounted, MNT_DETACH); /* also behind a test that failed */
    snprintf(image, sizeof image, "%s.image", mounted);
    unlink(image);
    mounted = NULL;
}

static void fill(const char *name, bool (*mount_it)(const char *directory), uint64_t first)
{
    static test_directory directory;
    tally t = { 0 };
    shared *page = mmap(NULL, sizeof *page, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    assert_true(page != MAP_FAILED);
    unmount(); /* what a test that failed has left */
    directory = test_directory_make();
    mounted = directory.path;
    atexit(unmount);
    if (!mount_it(directory.path)) {
        print_message("outside_full: LEFT OUT: a small %s cannot be mounted here\n", name);
        unmount();
        skip();
    }
    disks_mounted++;
    uint64_t levels = LEVELS * effort();
    for (uint64_t i = 0; i < levels; i++) {
        one_level(directory.path, first + i, page, &t);
        empty(directory.path);
    }
    unmount();
    munmap(page, sizeof *page);
    print_message("outside_full: seed %" PRIu64 ": %s, %" PRIu64 " levels, %" PRIu64
                  " met the end of the disk, %" PRIu64 " calls refused: 0 wrong, 0 lost; %" PRIu64
                  " died there and were read, %" PRIu64 " went on with room again, %" PRIu64
                  " at the first call; %" PRIu64 " of %" PRIu64 " deletes succeeded\n",
                  first, name, t.levels, t.full, t.refused, t.died, t.went_on, t.at_once, t.deletes_done,
                  t.deletes_tried);
    assert_true(t.full * 2 >= t.levels);
}

static void a_full_tmpfs_is_told_and_the_store_goes_on(void **state)
{
    (void)state;
    fill("tmpfs", mount_tmpfs, test_seed(1));
}

static void a_full_ext4_is_told_and_the_store_goes_on(void **state)
{
    (void)state;
    fill("ext4", mount_ext4, test_seed(1));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_full_tmpfs_is_told_and_the_store_goes_on),
        cmocka_unit_test(a_full_ext4_is_told_and_the_store_goes_on),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    return failed == 0 && disks_mounted == 0 ? 77 : failed;
}
