/* SPDX-License-Identifier: MIT */
/* test_vfs_posix.c -- what only the operating system has: links, pipes, other processes, fork, SIGBUS. */
#include "test.h"

#include "platform/map_guard.h"
#include "platform/posix_machine.h"

#include <bole/bole_vfs.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>

static bole_vfs *posix;
static test_directory directory;

static int set_up(void **state)
{
    (void)state;
    posix = bole_vfs_posix();
    directory = test_directory_make();
    return 0;
}

static bole_file *open_file(const char *name)
{
    bole_error error = BOLE_ERROR_INIT;
    bole_file *file = NULL;
    assert_ok(posix->open(posix, test_path(&directory, name), BOLE_VFS_WRITE | BOLE_VFS_CREATE, &file,
                          &error),
              &error);
    return file;
}

/* Run `check` in a child and want true of it. A child must leave by _exit: the directories are the
 * parent's. */
static void in_child(bool (*check)(void))
{
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0)
        _exit(check() ? 0 : 1);
    int status = 0;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
}

static void files_are_private_and_closed_by_exec(void **state)
{
    (void)state;
    bole_file *file = open_file("private");
    struct stat status;
    assert_int_equal(stat(test_path(&directory, "private"), &status), 0);
    assert_int_equal(status.st_mode & 0777 & ~0600u, 0);
    assert_ok(posix->make_directory(posix, test_path(&directory, "d"), NULL), NULL);
    assert_int_equal(stat(test_path(&directory, "d"), &status), 0);
    assert_int_equal(status.st_mode & 0777 & ~0700u, 0);
    unsigned open_descriptors = 0;
    for (int descriptor = 3; descriptor < 64; descriptor++) {
        char path[64], target[600];
        snprintf(path, sizeof path, "/proc/self/fd/%d", descriptor);
        ssize_t length = readlink(path, target, sizeof target - 1);
        if (length <= 0)
            continue;
        target[length] = '\0';
        if (strcmp(target, test_path(&directory, "private")) != 0)
            continue;
        open_descriptors++;
        assert_true((fcntl(descriptor, F_GETFD) & FD_CLOEXEC) != 0);
    }
    assert_int_equal(open_descriptors, 1);
    assert_ok(posix->close(file, NULL), NULL);
}

/* A link in the place of a store's file would lead a write elsewhere; a pipe would hang its opener. */
static void links_and_pipes_are_refused(void **state)
{
    (void)state;
    bole_error error = BOLE_ERROR_INIT;
    bole_file *file = NULL;
    bool is_directory = true;
    assert_int_equal(symlink("/etc/passwd", test_path(&directory, "link")), 0);
    assert_int_equal(mkfifo(test_path(&directory, "pipe"), 0600), 0);
    assert_status(BOLE_INVALID,
                  posix->open(posix, test_path(&directory, "link"), BOLE_VFS_READ, &file, &error), &error);
    assert_non_null(strstr(error.message, "symbolic link"));
    assert_status(BOLE_INVALID, posix->exists(posix, test_path(&directory, "link"), &is_directory, &error),
                  &error);
    assert_status(BOLE_INVALID,
                  posix->open(posix, test_path(&directory, "pipe"), BOLE_VFS_READ, &file, &error), &error);
    assert_status(BOLE_INVALID,
                  posix->open(posix, test_path(&directory, "pipe"), BOLE_VFS_WRITE, &file, &error), &error);
    assert_null(file);
    /* A store itself may be reached through a link. */
    assert_int_equal(symlink(directory.path, test_path(&directory, "to_directory")), 0);
    assert_ok(posix->exists(posix, test_path(&directory, "to_directory"), &is_directory, &error), &error);
    assert_true(is_directory);
}

/* ---- Locks between processes --------------------------------------------------------------------------- */

static pid_t expected_holder;

static bool child_is_locked_out(void)
{
    bole_error error = BOLE_ERROR_INIT;
    bole_file *file = open_file("LOCK");
    bool locked = false;
    int64_t holder = 0;
    return posix->lock(file, 0, true, &error) == BOLE_LOCKED && strstr(error.message, "process") != NULL &&
           posix->lock_test(file, 0, &locked, &holder, &error) == BOLE_OK && locked &&
           holder == expected_holder && posix->close(file, &error) == BOLE_OK;
}

static bool child_gets_the_lock(void)
{
    bole_file *file = open_file("LOCK");
    return posix->lock(file, 0, true, NULL) == BOLE_OK;
}

/* The kernel forgets a process' locks when it closes any descriptor of the file; the registry must not let
 * it. */
static void closing_another_handle_keeps_the_lock(void **state)
{
    (void)state;
    expected_holder = getpid();
    bole_file *holder = open_file("LOCK");
    assert_ok(posix->lock(holder, 0, true, NULL), NULL);
    in_child(child_is_locked_out);
    bole_file *other = open_file("LOCK");
    assert_status(BOLE_LOCKED, posix->lock(other, 0, true, NULL), NULL);
    assert_ok(posix->close(other, NULL), NULL);
    in_child(child_is_locked_out);
    bole_file *last = open_file("LOCK");
    assert_ok(posix->close(holder, NULL), NULL); /* its own lock goes with it */
    in_child(child_gets_the_lock);
    assert_ok(posix->lock(last, 0, true, NULL), NULL);
    in_child(child_is_locked_out);
    assert_ok(posix->unlock(last, 0, NULL), NULL);
    in_child(child_gets_the_lock);
    assert_ok(posix->close(last, NULL), NULL);
}

/* The process keeps its shared lock until the last of its handles has given it up. */
static void a_shared_lock_stays_until_its_last_holder_goes(void **state)
{
    (void)state;
    expected_holder = getpid();
    bole_file *one = open_file("LOCK"), *two = open_file("LOCK");
    assert_ok(posix->lock(one, 0, false, NULL), NULL);
    assert_ok(posix->lock(two, 0, false, NULL), NULL);
    assert_ok(posix->unlock(one, 0, NULL), NULL);
    in_child(child_is_locked_out);
    assert_ok(posix->close(two, NULL), NULL);
    in_child(child_gets_the_lock);
    assert_ok(posix->close(one, NULL), NULL);
}

/* Descriptors that were parked for a lock are closed with it. */
static void parked_descriptors_do_not_pile_up(void **state)
{
    (void)state;
    int before = dup(0);
    close(before);
    bole_file *holder = open_file("LOCK");
    assert_ok(posix->lock(holder, 0, true, NULL), NULL);
    for (int i = 0; i < 20; i++)
        assert_ok(posix->close(open_file("LOCK"), NULL), NULL);
    assert_ok(posix->unlock(holder, 0, NULL), NULL);
    int behind_holder = dup(0);
    close(behind_holder);
    assert_int_equal(behind_holder, before + 1);
    assert_ok(posix->close(holder, NULL), NULL);
    int after = dup(0);
    close(after);
    assert_int_equal(after, before);
}

static bole_file *shared_handle;

/* In a child of fork the parent's handle holds nothing, and closing it takes nothing from the parent. */
static bool child_closes_the_parents_handle(void)
{
    return posix->close(shared_handle, NULL) == BOLE_OK && child_is_locked_out();
}

static void a_child_cannot_drop_its_parents_lock(void **state)
{
    (void)state;
    expected_holder = getpid();
    shared_handle = open_file("LOCK");
    assert_ok(posix->lock(shared_handle, 0, true, NULL), NULL);
    in_child(child_closes_the_parents_handle);
    in_child(child_is_locked_out);
    assert_ok(posix->close(shared_handle, NULL), NULL);
    in_child(child_gets_the_lock);
}

/* ---- Maps and SIGBUS ----------------------------------------------------------------------------------- */

static void *inherited;

static bool child_has_no_map(void)
{
    unsigned char resident;
    return mincore(inherited, 4096, &resident) != 0;
}

static void a_map_is_not_inherited(void **state)
{
    (void)state;
    bole_file *file = open_file("map");
    assert_ok(posix->allocate(file, 0, 4096, true, NULL), NULL);
    assert_ok(posix->map(file, 0, 4096, &inherited, NULL), NULL);
    in_child(child_has_no_map);
    assert_ok(posix->unmap(file, inherited, 4096, NULL), NULL);
    assert_ok(posix->close(file, NULL), NULL);
}

/* Space is reserved and reads as zero, on the file system of the tests and on tmpfs, which has no
 * zero-range. */
static void allocated_space_is_real(void **state)
{
    (void)state;
    const char *places[] = { directory.path, "/dev/shm" };
    for (size_t i = 0; i < 2; i++) {
        char path[600];
        snprintf(path, sizeof path, "%s/bole-test-space-%d", places[i], (int)getpid());
        if (access(places[i], W_OK) != 0)
            continue;
        bole_error error = BOLE_ERROR_INIT;
        bole_file *file = NULL;
        assert_ok(posix->open(posix, path, BOLE_VFS_WRITE | BOLE_VFS_CREATE, &file, &error), &error);
        assert_int_equal(unlink(path), 0);
        assert_ok(posix->write(file, 0, "junk", 4, &error), &error);
        assert_ok(posix->write(file, 5000, "stay", 4, &error), &error);
        assert_ok(posix->allocate(file, 0, 1 << 20, false, &error), &error);
        assert_ok(posix->allocate(file, 0, 4096, true, &error), &error);
        uint64_t length = 0;
        assert_ok(posix->length(file, &length, &error), &error);
        assert_int_equal(length, 1 << 20);
        char bytes[5004];
        size_t got = 0;
        assert_ok(posix->read(file, 0, bytes, sizeof bytes, &got, &error), &error);
        assert_memory_equal(bytes, "\0\0\0\0", 4);
        assert_memory_equal(bytes + 5000, "stay", 4);
        char descriptor[64];
        struct stat status = { 0 };
        for (int number = 3; number < 64 && status.st_size != 1 << 20; number++) {
            snprintf(descriptor, sizeof descriptor, "/proc/self/fd/%d", number);
            (void)!stat(descriptor, &status);
        }
        assert_true(status.st_blocks * 512 >= 1 << 20);
        assert_ok(posix->close(file, &error), &error);
    }
}

static void capabilities_follow_the_file_system(void **state)
{
    (void)state;
    assert_int_equal(posix->capabilities(posix, "/no/such/place"), 0);
    assert_int_equal(posix->capabilities(posix, "/proc") & BOLE_VFS_CAN_MAP, 0);
}

/* A write that the system cuts short and then refuses is a failure with errno, file and offset. */
static void a_short_write_is_carried_on_or_told(void **state)
{
    (void)state;
    static char data[10000];
    bole_error error = BOLE_ERROR_INIT;
    bole_file *file = open_file("limited");
    struct rlimit before, limit;
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
    limit = (struct rlimit){ 6000, before.rlim_max };
    signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
    bole_status status = posix->write(file, 10, data, sizeof data, &error);
    bole_status truncated = posix->truncate(file, 7000, NULL),
                allocated = posix->allocate(file, 0, 7000, true, NULL);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
    signal(SIGXFSZ, SIG_DFL);
    assert_status(BOLE_IO, status, &error);
    assert_int_equal(error.system_errno, EFBIG);
    assert_int_equal(error.offset, 10);
    assert_true(truncated != BOLE_OK && allocated != BOLE_OK);
    uint64_t length = 0;
    assert_ok(posix->length(file, &length, NULL), NULL);
    assert_int_equal(length, 6000);
    assert_ok(posix->write(file, 10, data, sizeof data, &error), &error);
    assert_ok(posix->close(file, NULL), NULL);
}

static void write_text(const char *path, const char *text)
{
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    assert_true(fputs(text, file) >= 0);
    assert_int_equal(fclose(file), 0);
}

/* A tree like /sys/fs/cgroup: the lowest limit on the way up counts, "max" and unreadable paths do not. */
static void memory_limits_of_groups_are_found(void **state)
{
    (void)state;
    const char *folders[] = { "a", "a/b", "memory", "memory/c" };
    for (size_t i = 0; i < 4; i++)
        assert_int_equal(mkdir(test_path(&directory, folders[i]), 0700), 0);
    write_text(test_path(&directory, "a/memory.max"), "2000000\n");
    write_text(test_path(&directory, "a/b/memory.max"), "max\n");
    write_text(test_path(&directory, "memory/memory.limit_in_bytes"), "9223372036854771712\n");
    write_text(test_path(&directory, "memory/c/memory.limit_in_bytes"), "3000000\n");
    static const struct {
        const char *groups;
        uint64_t limit;
    } cases[] = {
        { "0::/a/b\n", 2000000 },
        { "0::/a/b/\n", 2000000 },
        { "0::/\n", UINT64_MAX },
        { "0::/not/in/this/container\n", UINT64_MAX },
        { "12:cpu,cpuacct:/c\n5:memory:/c\n1:name=systemd:/c\n", 3000000 },
        { "5:cpu,memory:/gone\n", UINT64_C(9223372036854771712) },
        { "5:memory:/c\n0::/a\n", 2000000 },
        { "nonsense\n::\n\n", UINT64_MAX },
        { "", UINT64_MAX },
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char groups[200];
        snprintf(groups, sizeof groups, "%s", cases[i].groups);
        assert_true(bl_posix_group_limit(directory.path, groups) == cases[i].limit);
    }
    uint64_t bytes = posix->memory_bytes(posix);
    assert_true(bytes >= 64 << 20 &&
                bytes <= (uint64_t)sysconf(_SC_PHYS_PAGES) * (uint64_t)sysconf(_SC_PAGESIZE));
}

static void *map_and_cut(bole_file *file, uint64_t length, uint64_t left)
{
    void *map = NULL;
    assert_ok(posix->allocate(file, 0, length, true, NULL), NULL);
    assert_ok(posix->map(file, 0, length, &map, NULL), NULL);
    assert_ok(posix->truncate(file, left, NULL), NULL);
    return map;
}

/* A store behind the end of a file that was cut raises SIGBUS; in a guarded range it sets the flag and goes
 * on. */
static void a_guarded_store_fails_softly(void **state)
{
    (void)state;
    static _Atomic bool failed, other_failed;
    bole_file *file = open_file("cut"), *other = open_file("whole");
    volatile char *map = map_and_cut(file, 4 * 4096, 4096), *whole = map_and_cut(other, 4096, 4096);
    assert_true(bl_map_guard_register((void *)(uintptr_t)whole, 4096, &other_failed));
    assert_true(bl_map_guard_register((void *)(uintptr_t)map, 4 * 4096, &failed));
    map[0] = 1;
    whole[0] = 1;
    assert_false(atomic_load(&failed));
    map[2 * 4096 + 5] = 7;
    assert_true(atomic_load(&failed));
    assert_int_equal(map[2 * 4096 + 5], 7); /* an anonymous page now */
    map[3 * 4096] = 8;
    assert_false(atomic_load(&other_failed));
    bl_map_guard_unregister((void *)(uintptr_t)map);
    bl_map_guard_unregister((void *)(uintptr_t)whole);
    bl_map_guard_unregister(NULL);
    assert_ok(posix->unmap(file, (void *)(uintptr_t)map, 4 * 4096, NULL), NULL);
    assert_ok(posix->unmap(other, (void *)(uintptr_t)whole, 4096, NULL), NULL);
    assert_ok(posix->close(file, NULL), NULL);
    assert_ok(posix->close(other, NULL), NULL);
}

static volatile sig_atomic_t handler_calls;

static void leave_with_three(int number)
{
    (void)number;
    _exit(3);
}

static void count_call(int number, siginfo_t *info, void *context)
{
    (void)number, (void)info, (void)context;
    handler_calls++;
}

/* In a child whose SIGBUS handler is `action` before the guard comes: fault outside every guarded range. */
static int fault_in_child(const struct sigaction *action, bool by_kill)
{
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        static _Atomic bool failed;
        sigaction(SIGBUS, action, NULL);
        void *page = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (!bl_map_guard_register(page, 4096, &failed))
            _exit(99);
        if (by_kill) {
            raise(SIGBUS);
            _exit(handler_calls == 1 ? 4 : 98);
        }
        volatile char *map = map_and_cut(open_file("unguarded"), 2 * 4096, 4096);
        map[4096] = 1;
        _exit(97);
    }
    int status = 0;
    assert_int_equal(waitpid(child, &status, 0), child);
    return status;
}

/* The guard is installed per process, so each child (forked before its first use here) sees its own chain. */
static void other_faults_go_where_they_went_before(void **state)
{
    (void)state;
    struct sigaction standard = { .sa_handler = SIG_DFL };
    struct sigaction plain = { .sa_handler = leave_with_three };
    struct sigaction with_info = { .sa_sigaction = count_call, .sa_flags = SA_SIGINFO };
    struct sigaction ignore = { .sa_handler = SIG_IGN };
    int status = fault_in_child(&plain, false);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 3);
    status = fault_in_child(&with_info, true);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 4);
    status = fault_in_child(&standard, false);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGBUS);
    status = fault_in_child(&standard, true);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGBUS);
    status = fault_in_child(&ignore, true);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 98); /* ignored as before: no handler ran */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(files_are_private_and_closed_by_exec, set_up),
        cmocka_unit_test_setup(links_and_pipes_are_refused, set_up),
        cmocka_unit_test_setup(closing_another_handle_keeps_the_lock, set_up),
        cmocka_unit_test_setup(a_shared_lock_stays_until_its_last_holder_goes, set_up),
        cmocka_unit_test_setup(parked_descriptors_do_not_pile_up, set_up),
        cmocka_unit_test_setup(a_child_cannot_drop_its_parents_lock, set_up),
        cmocka_unit_test_setup(a_map_is_not_inherited, set_up),
        cmocka_unit_test_setup(allocated_space_is_real, set_up),
        cmocka_unit_test_setup(capabilities_follow_the_file_system, set_up),
        cmocka_unit_test_setup(a_short_write_is_carried_on_or_told, set_up),
        cmocka_unit_test_setup(memory_limits_of_groups_are_found, set_up),
        cmocka_unit_test_setup(other_faults_go_where_they_went_before, set_up),
        cmocka_unit_test_setup(a_guarded_store_fails_softly, set_up),
    };
    return cmocka_run_group_tests_name("vfs posix", tests, NULL, NULL);
}
