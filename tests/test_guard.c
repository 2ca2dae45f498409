/* SPDX-License-Identifier: MIT */
/* test_guard.c -- what a store refuses of its surroundings, on real files: links in the place of its files, modes that
 * others could read, a second opener by whatever path, a child of fork; and that its asserts are alive in every build.
 *
 * Each file of a store is moved away and a link to it put in its place: nothing may be written through the link, and
 * the store must refuse, or do without where the file is only a help (events.jsonl, readers, reserve). */
#include "test.h"

#include <bole/bole_vfs.h>

#include "base/assert.h"
#include "version/file_name.h"

#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>

enum { NAMES_MAX = 32 };

typedef struct fixture {
    test_directory directory;
    char store[512];
    char names[NAMES_MAX][64];
    uint32_t count;
    bole_error error;
} fixture;

static int make_fixture(void **state)
{
    fixture *f = calloc(1, sizeof *f);
    f->directory = test_directory_make();
    f->error = (bole_error)BOLE_ERROR_INIT;
    snprintf(f->store, sizeof f->store, "%s/store", f->directory.path);
    *state = f;
    return 0;
}

static int drop_fixture(void **state)
{
    free(*state);
    return 0;
}

static char *path_of(fixture *f, const char *name, char out[1024])
{
    snprintf(out, 1024, "%s/%s", f->store, name);
    return out;
}

static bole_status open_store(fixture *f, const char *path, uint32_t flags, bole_db **db)
{
    bole_options options = BOLE_OPTIONS_INIT;
    options.flags = flags;
    options.memtable_bytes = 65536;
    return bole_open(path, &options, db, &f->error);
}

/* Segments, a log with records, settings, a reader's slot, the reserve. */
static void make_store(fixture *f)
{
    bole_db *db, *reader;
    char path[1024];
    assert_ok(open_store(f, f->store, BOLE_CREATE, &db), &f->error);
    assert_ok(bole_put(db, NULL, BOLE_STR("a"), BOLE_STR("1")), NULL);
    assert_ok(bole_flush(db, &f->error), &f->error);
    assert_ok(bole_put(db, NULL, BOLE_STR("b"), BOLE_STR("2")), NULL);
    assert_ok(open_store(f, f->store, BOLE_READ_ONLY, &reader), &f->error);
    assert_ok(bole_close(reader, &f->error), &f->error);
    bole_statistics stats = BOLE_STATISTICS_INIT;
    for (uint32_t i = 0; i < 5000 && stats.reserve_bytes == 0; i++) {
        usleep(2000);
        assert_ok(bole_stats(db, &stats, NULL), NULL);
    }
    assert_true(stats.reserve_bytes > 0);
    assert_ok(bole_close(db, &f->error), &f->error);
    int file = open(path_of(f, "bole.conf", path), O_CREAT | O_WRONLY, 0600);
    assert_true(file >= 0);
    assert_int_equal(write(file, "level0_runs = 5\n", 16), 16);
    close(file);
}

static void list_store(fixture *f)
{
    DIR *stream = opendir(f->store);
    assert_non_null(stream);
    f->count = 0;
    for (struct dirent *entry; (entry = readdir(stream)) != NULL;)
        if (entry->d_name[0] != '.') {
            assert_true(f->count < NAMES_MAX);
            snprintf(f->names[f->count++], sizeof f->names[0], "%.63s", entry->d_name);
        }
    closedir(stream);
}

/* ---- Links ------------------------------------------------------------------------------------------------ */

/* Everything a program may do with a store. */
static bole_status use_store(fixture *f, uint32_t flags)
{
    bole_db *db;
    bole_buffer value = BOLE_BUFFER_INIT;
    bole_status status = open_store(f, f->store, flags, &db);
    if (status != BOLE_OK)
        return status;
    for (uint32_t i = 0; i < 2 && status == BOLE_OK; i++) {
        status = bole_get(db, NULL, i == 0 ? BOLE_STR("a") : BOLE_STR("b"), &value);
        if (status == BOLE_OK)
            assert_memory_equal(value.data, i == 0 ? "1" : "2", 1);
    }
    if (flags == 0) {
        if (status == BOLE_OK)
            status = bole_put(db, NULL, BOLE_STR("a"), BOLE_STR("1"));
        if (status == BOLE_OK)
            status = bole_flush(db, &f->error);
    }
    bole_buffer_free(&value);
    bole_status closed = bole_close(db, &f->error);
    return status == BOLE_OK ? closed : status;
}

static void a_link_in_the_place_of_a_file_is_refused(void **state)
{
    fixture *f = *state;
    char path[1024], away[1024];
    make_store(f);
    list_store(f);
    uint32_t refused = 0, seen = 0;
    for (uint32_t i = 0; i < f->count; i++)
        for (uint32_t flags = 0; flags <= BOLE_READ_ONLY; flags += BOLE_READ_ONLY) {
            uint64_t number;
            bl_file_kind kind = bl_file_parse(f->names[i], &number);
            struct stat before, after;
            path_of(f, f->names[i], path);
            snprintf(away, sizeof away, "%s/away", f->directory.path);
            assert_int_equal(rename(path, away), 0);
            assert_int_equal(symlink(away, path), 0);
            assert_int_equal(stat(away, &before), 0);
            bole_status status = use_store(f, flags);
            assert_int_equal(stat(away, &after), 0);
            bool a_help = kind == BL_FILE_EVENTS || kind == BL_FILE_RESERVE ||
                          (kind == BL_FILE_READERS && flags == 0) || (kind == BL_FILE_LOCK && flags != 0);
            if (status == BOLE_OK && !a_help)
                fail_msg("%s may be a link", f->names[i]);
            if (status != BOLE_OK)
                assert_true(status == BOLE_INVALID || status == BOLE_CORRUPT || status == BOLE_NO_STORE);
            if (before.st_size != after.st_size || before.st_mtim.tv_sec != after.st_mtim.tv_sec ||
                before.st_mtim.tv_nsec != after.st_mtim.tv_nsec)
                fail_msg("%s was written through a link", f->names[i]);
            refused += status != BOLE_OK;
            seen++;
            (void)unlink(path);
            test_remove_all(f->store); /* what a use left may be another store: begin anew */
            (void)unlink(away);
            make_store(f);
            list_store(f);
        }
    print_message("%u of %u uses refused\n", refused, seen);
    assert_true(refused >= 10);
    assert_ok(use_store(f, 0), &f->error);
}

/* Names under which files are built: a link that lies there already is never followed. */
static void a_link_where_a_file_is_built_is_not_followed(void **state)
{
    fixture *f = *state;
    static const char *const names[] = { "CURRENT.tmp", "000008.log", "000009.seg.tmp", "000010.seg.tmp",
                                         "reserve" };
    char path[1024], target[1024];
    snprintf(target, sizeof target, "%s/target", f->directory.path);
    for (uint32_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        make_store(f);
        int file = open(target, O_CREAT | O_WRONLY | O_TRUNC, 0600);
        assert_int_equal(write(file, "untouched", 9), 9);
        close(file);
        (void)unlink(path_of(f, names[i], path));
        assert_int_equal(symlink(target, path), 0);
        for (uint32_t j = 0; j < 4; j++)
            (void)use_store(f, 0);
        char text[16] = "";
        file = open(target, O_RDONLY);
        assert_int_equal(read(file, text, sizeof text), 9);
        close(file);
        assert_string_equal(text, "untouched");
        test_remove_all(f->store);
    }
}

/* ---- Modes ------------------------------------------------------------------------------------------------ */

static void nobody_else_may_read_a_store(void **state)
{
    fixture *f = *state;
    static const mode_t masks[] = { 0, 022, 077 };
    char path[1024], copy[600];
    for (uint32_t i = 0; i < sizeof masks / sizeof masks[0]; i++) {
        mode_t before = umask(masks[i]);
        make_store(f);
        bole_db *db;
        assert_ok(open_store(f, f->store, 0, &db), &f->error);
        snprintf(copy, sizeof copy, "%s/copy", f->directory.path);
        assert_ok(bole_checkpoint(db, copy, &f->error), &f->error);
        assert_ok(bole_close(db, &f->error), &f->error);
        umask(before);
        for (uint32_t which = 0; which < 2; which++) {
            struct stat status;
            assert_int_equal(stat(f->store, &status), 0);
            assert_int_equal(status.st_mode & 0777, 0700);
            list_store(f);
            assert_true(f->count >= 3);
            for (uint32_t j = 0; j < f->count; j++) {
                assert_int_equal(stat(path_of(f, f->names[j], path), &status), 0);
                if ((status.st_mode & 0777) != 0600)
                    fail_msg("%s has mode %o under umask %o", path, status.st_mode & 0777u,
                             (unsigned)masks[i]);
            }
            test_remove_all(f->store);
            assert_int_equal(which == 0 ? rename(copy, f->store) : 0, 0);
        }
    }
}

/* ---- A second opener -------------------------------------------------------------------------------------- */

static int child_opens(fixture *f, const char *path)
{
    pid_t child = fork();
    if (child == 0) {
        bole_db *db;
        _exit((int)open_store(f, path, 0, &db));
    }
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status));
    return WEXITSTATUS(status);
}

static void a_second_opener_is_refused_by_whatever_path(void **state)
{
    fixture *f = *state;
    char paths[6][1100], cwd[1024];
    bole_db *db, *second;
    make_store(f);
    assert_ok(open_store(f, f->store, 0, &db), &f->error);
    snprintf(paths[0], sizeof paths[0], "%s", f->store);
    snprintf(paths[1], sizeof paths[1], "%s/", f->store);
    snprintf(paths[2], sizeof paths[2], "%s/../store/.", f->store);
    snprintf(paths[3], sizeof paths[3], "%s/link", f->directory.path);
    snprintf(paths[4], sizeof paths[4], "%s/link of link", f->directory.path);
    snprintf(paths[5], sizeof paths[5], "store");
    assert_int_equal(symlink(f->store, paths[3]), 0);
    assert_int_equal(symlink("link", paths[4]), 0);
    assert_non_null(getcwd(cwd, sizeof cwd));
    assert_int_equal(chdir(f->directory.path), 0);
    for (uint32_t i = 0; i < 6; i++) {
        assert_int_equal(open_store(f, paths[i], 0, &second), BOLE_LOCKED);
        assert_null(second);
        assert_int_equal(child_opens(f, paths[i]),
                         BOLE_LOCKED); /* the refusal dropped no lock, and fork none */
    }
    /* A hard link of LOCK in another directory is the same lock: nobody gets a store's files by it. */
    char other[600], lock[1024], linked[700];
    snprintf(other, sizeof other, "%s/other", f->directory.path);
    assert_int_equal(mkdir(other, 0700), 0);
    snprintf(linked, sizeof linked, "%s/LOCK", other);
    assert_int_equal(link(path_of(f, "LOCK", lock), linked), 0);
    assert_int_equal(open_store(f, other, BOLE_CREATE, &second), BOLE_LOCKED);
    assert_ok(bole_put(db, NULL, BOLE_STR("still"), BOLE_STR("mine")), NULL);
    assert_ok(bole_close(db, &f->error), &f->error);
    assert_int_equal(child_opens(f, f->store), BOLE_OK);
    assert_int_equal(chdir(cwd), 0);
}

/* ---- Asserts ---------------------------------------------------------------------------------------------- */

static void asserts_are_alive_in_every_build(void **state)
{
    (void)state;
    pid_t child = fork();
    if (child == 0) {
        struct rlimit none = { 0, 0 };
        setrlimit(RLIMIT_CORE, &none);
        int null = open("/dev/null", O_WRONLY);
        dup2(null, 2);
        signal(SIGABRT, SIG_DFL);
        bl_assert(getpid() == 0);
        _exit(0);
    }
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFSIGNALED(status));
    assert_int_equal(WTERMSIG(status), SIGABRT);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, make_fixture, drop_fixture)
    const struct CMUnitTest tests[] = {
        TEST(a_link_in_the_place_of_a_file_is_refused),
        TEST(a_link_where_a_file_is_built_is_not_followed),
        TEST(nobody_else_may_read_a_store),
        TEST(a_second_opener_is_refused_by_whatever_path),
        TEST(asserts_are_alive_in_every_build),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
