/* SPDX-License-Identifier: MIT */
/* outside_power.c -- the power is cut under a real kernel: what was durable is there, and no batch is half there.
 *
 * A story is a store on a disk in memory that this program serves to the kernel as a file system (fuse_disk.h). A
 * child, the real library with real threads, opens the store there and writes batches of both modes, flushes, merges,
 * syncs, makes checkpoints, reopens; it notes in shared memory what was acknowledged and what is durable
 * (history_fixture.h). At some calls of the kernel to the disk a disk that could have survived a cut there is made, by
 * the rules of the simulator, and the store on it is opened and judged at once, while the kernel waits. So a life of
 * the child goes on until it ends in one of three ways, and the next child recovers through the kernel what is left:
 *   the power is cut: the survivor is what the next child gets;
 *   SIGKILL: the kernel writes back what it holds, and all that was acknowledged must be there;
 *   a clean close: all of it must be there, also when all that was not synced is lost.
 * One story in two has its logs mapped. The library maps on known file systems alone, and FUSE is none of them; the
 * child therefore opens with a vfs of its own, which is the system's but says that it can map: so it is told by
 * whoever brings storage of his own. One in two lets the kernel keep written bytes back. In one in three, one sync in
 * 40 fails, and what it should have brought to the disk is lost: the child is told, and goes on as a caller would.
 *
 * The second test plants defects: a disk that only says that syncs of one kind of file are done. Cuts must find each.
 *
 * BOLE_TEST_SEED chooses the first story; BOLE_TEST_EFFORT (default 1) times 300 is the number of cuts; 0: one story.
 * Threads and the kernel's own time are not replayed by a seed: a failure may take some runs to come again. */
#include "history_fixture.h"

#include <poll.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>

#include "fuse_disk.h"

enum {
    CUTS = 300,
    LIVES = 4,
    BATCHES_A_LIFE = HISTORY_BATCHES_MAX / LIVES,
    CHANGES_MAX = 500,
    SYNCS_A_FAILURE = 40,
    FAILED_MAX = 60
};

typedef enum ending { POWER_CUT, KILLED, CLOSED, ENDINGS } ending;

typedef struct shared { /* of child and parent */
    history history;
    _Atomic bool failed;
    _Atomic bool mapped; /* a log was seen among the child's maps */
    char why[1200];
} shared;

typedef struct tally {
    uint64_t stories, lives, cuts, mapped, failed_syncs, endings[ENDINGS];
} tally;

typedef struct story {
    uint64_t seed;
    fuse_disk fuse;
    shared *shared;
    bl_prng prng; /* of the parent */
    bole_options options;
    bole_vfs posix; /* of the child: says that it can map */
    bool syncs_fail;
    ending ending;
    uint32_t life;
    uint64_t changes, changes_left, one_in;
    bole_vfs *survivor; /* of the cut that ended a life */
    bool survivor_is_synced;
    history settled; /* what is known of it */
    tally *tally;
    char why[1600]; /* what is wrong, when something is */
} story;

static void wrong(story *s, const char *when, const char *what)
{
    if (s->why[0] == '\0')
        snprintf(s->why, sizeof s->why, "story %" PRIu64 ", life %u, change %" PRIu64 ", %s: %.1000s",
                 s->seed, s->life, s->changes, when, what);
}

static uint32_t map_and_link(bole_vfs *vfs, const char *directory)
{
    (void)vfs, (void)directory;
    return BOLE_VFS_CAN_MAP | BOLE_VFS_CAN_LINK;
}

static void choose_options(story *s)
{
    static const bole_compression compressions[] = { BOLE_COMPRESSION_NONE, BOLE_COMPRESSION_LZ4,
                                                     BOLE_COMPRESSION_ZSTD };
    bole_options options = BOLE_OPTIONS_INIT;
    options.flags = BOLE_CREATE;
    options.memory_limit = 32 << 20;
    options.memtable_bytes = 8192u << bl_prng_below(&s->prng, 3);
    options.segment_bytes = 8192;
    options.block_bytes = 1024;
    options.level0_runs = 1 + (uint32_t)bl_prng_below(&s->prng, 4);
    options.compression = compressions[bl_prng_below(&s->prng, 3)];
    options.sync_interval_ms = 1 + (uint32_t)bl_prng_below(&s->prng, 50);
    s->posix = *bole_vfs_posix();
    if (s->seed % 2 == 0) {
        s->posix.capabilities = map_and_link;
        options.vfs = &s->posix;
    }
    s->fuse.write_back = s->seed / 2 % 2 == 0;
    s->options = options;
}

/* ---- The child ------------------------------------------------------------------------------------------------ */

static bole_status reopen(const char *path, const bole_options *options, bole_db **db, history *h,
                          bole_error *error)
{
    bole_status status = bole_close(*db, error);
    *db = NULL;
    if (status != BOLE_OK)
        return status;
    history_all_durable(h);
    return bole_open(path, options, db, error);
}

/* A copy is a store of its own; the one before it goes. */
static bole_status copy(const char *path, bole_db *db, uint32_t i, bole_error *error)
{
    char from[300], to[300];
    snprintf(from, sizeof from, "%s-%u", path, i - 1);
    snprintf(to, sizeof to, "%s-%u", path, i);
    bole_status status = bole_checkpoint(db, to, error);
    if (status == BOLE_OK && i > 1)
        status = bole_destroy(from, NULL, error);
    return status == BOLE_NO_STORE ? BOLE_OK : status;
}

static bole_status child_step(story *s, bl_prng *prng, const char *path, bole_db **db, bole_error *error)
{
    static const bole_slice open_end = { NULL, 0 };
    static uint32_t copies;
    history *h = &s->shared->history;
    bole_status status;
    bool durable = true;
    switch (bl_prng_below(prng, 40)) {
    case 0: status = bole_flush(*db, error); break;
    case 1: status = bole_compact(*db, NULL, open_end, open_end, error); break;
    case 2: status = bole_sync(*db, error); break;
    case 3: return reopen(path, &s->options, db, h, error);
    case 4: status = copy(path, *db, ++copies + 1000 * s->life, error); break;
    default:
        durable = bl_prng_chance(prng, 3);
        status = history_write(h, *db, durable ? BOLE_DURABILITY_POWER : BOLE_DURABILITY_PROCESS, error);
    }
    if (status == BOLE_OK && durable)
        history_all_durable(h);
    return status;
}

static bool has_mapped_log(void)
{
    char line[600];
    bool found = false;
    FILE *maps = fopen("/proc/self/maps", "r");
    while (maps != NULL && !found && fgets(line, sizeof line, maps) != NULL)
        found = strstr(line, "rw-s") != NULL && strstr(line, ".log\n") != NULL;
    if (maps != NULL)
        fclose(maps);
    return found;
}

/* Is a call that ends so no reason to stop? */
static bool may_be(const story *s, bole_status status)
{
    return status == BOLE_OK || (s->syncs_fail && history_is_clean(status));
}

/* Opens, looks whether all is there that must, goes on. */
static void child_live(story *s, const char *directory)
{
    char path[280];
    bole_error error = BOLE_ERROR_INIT;
    history *h = &s->shared->history;
    bole_db *db = NULL;
    bl_prng prng;
    close(fuse_disk_descriptor(&s->fuse));
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    bl_prng_init(&prng, s->seed * 31 + s->life);
    snprintf(path, sizeof path, "%s/store", directory);
    bole_status status = BOLE_OK;
    uint32_t last = h->tried + BATCHES_A_LIFE;
    for (uint32_t failed = 0; h->why[0] == '\0' && h->tried < last && failed < FAILED_MAX;) {
        bool opens = db == NULL;
        if (opens)
            status = bole_open(path, &s->options, &db, &error);
        else
            status = child_step(s, &prng, path, &db, &error);
        if (opens && status == BOLE_OK)
            status = history_check(h, db, true);
        if (status == BOLE_FAILED && db != NULL)
            status = reopen(path, &s->options, &db, h, &error);
        if (!may_be(s, status))
            break;
        failed += status != BOLE_OK;
        if (h->tried % 8 == 0 && has_mapped_log())
            atomic_store(&s->shared->mapped, true);
    }
    if (may_be(s, status) && h->why[0] == '\0') {
        status = bole_close(db, &error);
        if (status == BOLE_OK && db != NULL)
            history_all_durable(h);
    }
    if (may_be(s, status) && h->why[0] == '\0')
        _exit(0);
    snprintf(s->shared->why, sizeof s->shared->why, "the process says: %s %s: %s", h->why,
             bole_status_name(status), error.message);
    atomic_store(&s->shared->failed, true);
    _exit(1);
}

/* ---- The judge ------------------------------------------------------------------------------------------------ */

/* Open the store on a copy of `disk` and hold it against what is known. */
static void judge(story *s, history *known, bole_vfs *disk, bool live, const char *when)
{
    bole_error error = BOLE_ERROR_INIT;
    bole_options options = s->options;
    bole_db *db;
    options.vfs = NULL;
    assert_ok(bole_vfs_memory_crash(disk, BOLE_CRASH_KEEP_ALL, 1, &options.vfs), NULL);
    options.simulation_seed = 1 + bl_prng_below(&s->prng, 1000);
    if (bole_open("store", &options, &db, &error) != BOLE_OK) {
        wrong(s, when, error.message);
    } else {
        bole_status status = history_check(known, db, live);
        if (known->why[0] != '\0' || status != BOLE_OK)
            wrong(s, when, known->why[0] != '\0' ? known->why : bole_status_text(status));
        if (bole_close(db, &error) != BOLE_OK)
            wrong(s, when, error.message);
    }
    bole_vfs_destroy(options.vfs);
}

/* A cut at this moment. What is durable is noted before the disk is looked at, what was tried behind it. */
static bole_vfs *cut(story *s, bole_crash_mode mode, history *known)
{
    static history before;
    bole_vfs *survivor;
    memcpy(&before, &s->shared->history, sizeof before);
    assert_ok(bole_vfs_memory_crash(s->fuse.disk, mode, bl_prng_next(&s->prng), &survivor), NULL);
    memcpy(known, &s->shared->history, sizeof *known);
    for (uint32_t n = 1; n <= known->tried; n++)
        known->batches[n].fate = n <= before.tried ? before.batches[n].fate : HISTORY_DOUBT;
    /* the youngest may have been about to be written: refused only once the call has returned */
    if (before.tried > 0 && before.batches[before.tried].fate == HISTORY_REFUSED)
        known->batches[before.tried].fate = HISTORY_DOUBT;
    s->tally->cuts++;
    return survivor;
}

static const char *const mode_names[] = { "power cut, at random", "power cut, all lost",
                                          "power cut, all kept", "power cut, names kept" };

/* The kernel is about to change the disk. */
static bool change(void *context, const char *call)
{
    (void)call;
    story *s = context;
    s->changes++;
    bole_crash_mode mode = (bole_crash_mode)bl_prng_below(&s->prng, 4);
    bool last = s->ending == POWER_CUT && s->changes_left-- == 0;
    if (!last && !bl_prng_chance(&s->prng, s->one_in))
        return true;
    bole_vfs *survivor = cut(s, mode, &s->settled);
    judge(s, &s->settled, survivor, false, mode_names[mode]);
    s->survivor_is_synced = mode != BOLE_CRASH_KEEP_ALL; /* else what was not on disk still is not */
    if (last)
        s->survivor = survivor;
    else
        bole_vfs_destroy(survivor);
    return !last && s->why[0] == '\0';
}

static bool sync_fails(void *context)
{
    story *s = context;
    bool fails = s->syncs_fail && bl_prng_chance(&s->prng, SYNCS_A_FAILURE);
    s->tally->failed_syncs += fails;
    return fails;
}

/* ---- A story -------------------------------------------------------------------------------------------------- */

/* Serve until the child is gone, or the power is. */
static void serve(story *s, pid_t child)
{
    int ended = 0;
    bool killed = false, served = true;
    uint64_t kill_at = 1 + bl_prng_below(&s->prng, CHANGES_MAX);
    while (served && waitpid(child, &ended, WNOHANG) == 0) {
        served = fuse_disk_serve(&s->fuse, 5);
        if (s->ending == KILLED && !killed && s->changes >= kill_at)
            killed = kill(child, SIGKILL) == 0;
    }
    if (!served) { /* the power is gone: nothing answers the child any more */
        kill(child, SIGKILL);
        fuse_disk_abandon(&s->fuse);
        waitpid(child, &ended, 0);
        return;
    }
    if (!killed)
        s->ending = CLOSED; /* before its time */
    if (!fuse_disk_unmount(&s->fuse))
        wrong(s, "at the end", "the disk cannot be unmounted");
}

/* What the next life starts from. */
static void settle(story *s, bole_vfs **survivors, uint32_t *count)
{
    history *known = &s->shared->history;
    if (s->survivor != NULL) {
        memcpy(known, &s->settled, sizeof *known);
        history_settle(known);
        if (s->survivor_is_synced)
            history_all_durable(known); /* the disk has come up with it */
        s->fuse.disk = survivors[(*count)++] = s->survivor;
        s->survivor = NULL;
        return;
    }
    judge(s, known, s->fuse.disk, true, s->ending == KILLED ? "killed" : "closed");
    history_settle(known);
    if (s->ending == CLOSED) {
        bole_vfs *bare;
        assert_ok(bole_vfs_memory_crash(s->fuse.disk, BOLE_CRASH_LOSE_ALL, 1, &bare), NULL);
        judge(s, known, bare, false, "closed, then a power cut");
        bole_vfs_destroy(bare);
    }
}

static bool run_story(uint64_t seed, const char *lie, const char *directory, shared *page, tally *t,
                      char *why, size_t size)
{
    static story kept;
    story *s = &kept;
    bole_vfs *disks[LIVES + 1];
    uint32_t count = 0;
    memset(s, 0, sizeof *s);
    memset(page, 0, sizeof *page);
    s->seed = page->history.seed = seed;
    s->shared = page;
    s->tally = t;
    bl_prng_init(&s->prng, seed);
    choose_options(s);
    assert_ok(bole_vfs_memory_create(seed, &disks[count++]), NULL);
    s->fuse.disk = disks[0];
    s->fuse.lie = lie;
    s->fuse.change = change;
    s->fuse.sync_fails = sync_fails;
    s->syncs_fail = seed % 3 == 0 && lie == NULL;
    s->fuse.context = s;
    s->one_in = 10;
    for (s->life = 0; s->life < LIVES && s->why[0] == '\0'; s->life++) {
        s->ending = (ending)bl_prng_below(&s->prng, ENDINGS);
        s->changes = 0;
        atomic_store(&page->failed, false); /* the child before may have seen the power go */
        s->changes_left = bl_prng_below(&s->prng, CHANGES_MAX);
        if (!fuse_disk_mount(&s->fuse, directory))
            fail_msg("the disk cannot be mounted on %s", directory);
        fflush(NULL);
        pid_t child = fork();
        assert_true(child >= 0);
        if (child == 0)
            child_live(s, directory);
        serve(s, child);
        if (atomic_load(&page->failed) && s->survivor == NULL)
            wrong(s, "in the child", page->why);
        if (s->why[0] == '\0')
            settle(s, disks, &count);
        t->lives++;
        t->endings[s->ending]++;
    }
    t->mapped += atomic_load(&page->mapped);
    if (s->survivor != NULL)
        bole_vfs_destroy(s->survivor);
    while (count != 0)
        bole_vfs_destroy(disks[--count]);
    t->stories++;
    snprintf(why, size, "%s", s->why);
    return s->why[0] == '\0';
}

static shared *shared_make(void)
{
    shared *page = mmap(NULL, sizeof *page, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    assert_true(page != MAP_FAILED);
    return page;
}

/* ---- Tests ---------------------------------------------------------------------------------------------------- */

/* Goal: the kernel's world is the simulator's. */
static void what_was_durable_survives_cuts_under_the_kernel(void **state)
{
    (void)state;
    const char *text = getenv("BOLE_TEST_EFFORT");
    uint64_t effort = text != NULL ? strtoull(text, NULL, 10) : 1, seed = test_seed(1);
    test_directory directory = test_directory_make();
    shared *page = shared_make();
    tally t = { 0 };
    char why[1600];
    do {
        if (!run_story(seed + t.stories, NULL, directory.path, page, &t, why, sizeof why))
            fail_msg("%s\nagain: BOLE_TEST_SEED=%" PRIu64 " BOLE_TEST_EFFORT=0 outside_power", why,
                     seed + t.stories - 1);
    } while (t.cuts < effort * CUTS);
    print_message("outside_power: seed %" PRIu64 ": %" PRIu64 " power cuts under the kernel, %" PRIu64
                  " stories (%" PRIu64 " with mapped logs), %" PRIu64 " lives, of which %" PRIu64
                  " ended by a cut, %" PRIu64 " by SIGKILL, %" PRIu64 " closed, %" PRIu64
                  " syncs failed: 0 lost, 0 torn, 0 holes, 0 refused\n",
                  seed, t.cuts, t.stories, t.mapped, t.lives, t.endings[POWER_CUT], t.endings[KILLED],
                  t.endings[CLOSED], t.failed_syncs);
    assert_true(t.mapped > 0 || t.stories < 2);
    munmap(page, sizeof *page);
}

/* Goal: this program can fail. Method: a disk on which no sync of one kind of file is done; a story in 40 must tell. */
static void a_disk_that_lies_is_found_out(void **state)
{
    (void)state;
    static const char *const lies[] = { ".log", ".seg", "manifest", "CURRENT", "/store|" };
    test_directory directory = test_directory_make();
    shared *page = shared_make();
    for (size_t i = 0; i < sizeof lies / sizeof lies[0]; i++) {
        tally t = { 0 };
        char why[1600] = "";
        while (t.stories < 40 &&
               run_story(1000 + t.stories, lies[i], directory.path, page, &t, why, sizeof why))
            ;
        if (why[0] == '\0')
            fail_msg("syncs of '%s' were not done, and %" PRIu64 " cuts did not show it", lies[i], t.cuts);
        print_message("syncs of '%s' not done: seen by cut %" PRIu64 ": %s\n", lies[i], t.cuts, why);
    }
    munmap(page, sizeof *page);
}

int main(void)
{
    const char *missing = fuse_disk_missing();
    if (missing != NULL) {
        print_message("outside_power: LEFT OUT: %s\n", missing);
        return 77;
    }
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_was_durable_survives_cuts_under_the_kernel),
        cmocka_unit_test(a_disk_that_lies_is_found_out),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
