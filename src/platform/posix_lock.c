/* SPDX-License-Identifier: MIT */
/* posix_lock.c -- fcntl locks, and the registry that makes them fit for a library.
 *
 * An fcntl lock is the process': two handles of one process do not exclude each other, and closing *any*
 * descriptor of the inode drops all its locks. So the registry, by device and inode, knows which handle holds
 * which byte; it is asked before the kernel; and a descriptor of an inode that has locks is parked at close,
 * and closed when the last of these locks goes. (Locks of the open file description would need neither, but
 * are inherited by fork, and name no holder.) fork: the child holds none of its parent's locks, so its
 * registry starts empty.
 *
 * INVARIANTS  (LOCK-1) The kernel holds a lock on a byte exactly while a handle of this process does.
 *             (LOCK-2) No descriptor of an inode with locks in the registry is closed.
 *             (LOCK-3) An exclusive lock has one holder; shared ones may have several.
 * THREADS     Any. One lock for the registry, also held while a descriptor is closed: a lock taken meanwhile
 *             on the same inode would be dropped.
 * NOT HERE    Which bytes are locked, and why: engine/open.c and the reader slots. */
#include "platform/posix_lock.h"

#include "base/alloc.h"
#include "base/assert.h"
#include "base/status.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <unistd.h>

typedef struct held_lock {
    const bl_posix_file *holder;
    dev_t device;
    ino_t inode;
    uint64_t offset;
    bool exclusive;
    struct held_lock *next;
} held_lock;

static pthread_mutex_t registry_lock = PTHREAD_MUTEX_INITIALIZER;
static held_lock *held_locks;
static bl_posix_file *parked_files;
static pthread_once_t fork_once = PTHREAD_ONCE_INIT;

/* ---- fork ---------------------------------------------------------------------------------------------- */

static void before_fork(void) { pthread_mutex_lock(&registry_lock); }

static void after_fork(void) { pthread_mutex_unlock(&registry_lock); }

/* Frees nothing: the heap may be in the middle of another thread's call. The parent's few nodes stay
 * unused. */
static void in_child(void)
{
    held_locks = NULL;
    while (parked_files != NULL) {
        close(parked_files->descriptor);
        parked_files = parked_files->next_parked;
    }
    pthread_mutex_unlock(&registry_lock);
}

static void handle_fork(void) { pthread_atfork(before_fork, after_fork, in_child); }

static void enter_registry(void)
{
    pthread_once(&fork_once, handle_fork);
    pthread_mutex_lock(&registry_lock);
}

/* ---- The registry -------------------------------------------------------------------------------------- */

static bl_posix_file *posix_file(bole_file *file) { return (bl_posix_file *)file; }

static bool is_on(const held_lock *held, const bl_posix_file *file, uint64_t offset)
{
    return held->inode == file->inode && held->device == file->device && held->offset == offset;
}

/* The lock of `file` itself, or NULL. */
static held_lock *own_lock(const bl_posix_file *file, uint64_t offset)
{
    for (held_lock *held = held_locks; held != NULL; held = held->next) {
        if (held->holder == file && is_on(held, file, offset))
            return held;
    }
    return NULL;
}

/* A lock of another handle that stands against (exclusive: any) lock of `file`, or NULL. */
static held_lock *other_lock(const bl_posix_file *file, uint64_t offset, bool exclusive)
{
    for (held_lock *held = held_locks; held != NULL; held = held->next) {
        if (held->holder != file && is_on(held, file, offset) && (exclusive || held->exclusive))
            return held;
    }
    return NULL;
}

static bool inode_has_locks(const bl_posix_file *file)
{
    for (held_lock *held = held_locks; held != NULL; held = held->next) {
        if (held->inode == file->inode && held->device == file->device)
            return true;
    }
    return false;
}

static void forget_lock(held_lock *gone)
{
    held_lock **link = &held_locks;
    while (*link != gone)
        link = &(*link)->next;
    *link = gone->next;
    bl_free(gone);
}

static int close_now(bl_posix_file *file)
{
    int failure = close(file->descriptor) == 0 || errno == EINTR
                      ? 0
                      : errno; /* on Linux it is closed either way */
    bl_free(file);
    return failure;
}

static void close_parked(void)
{
    for (bl_posix_file **link = &parked_files; *link != NULL;) {
        bl_posix_file *file = *link;
        if (inode_has_locks(file)) {
            link = &file->next_parked;
            continue;
        }
        *link = file->next_parked;
        close_now(file); /* its owner was told when it closed */
    }
}

/* ---- The kernel ---------------------------------------------------------------------------------------- */

/* 0 or errno. */
static int set_kernel_lock(const bl_posix_file *file, uint64_t offset, short type)
{
    struct flock lock = { .l_type = type, .l_whence = SEEK_SET, .l_start = (off_t)offset, .l_len = 1 };
    while (fcntl(file->descriptor, F_SETLK, &lock) != 0) {
        if (errno != EINTR)
            return errno;
    }
    return 0;
}

/* Who holds a lock that stands against an exclusive one, in another process? 0: nobody. */
static int kernel_holder(const bl_posix_file *file, uint64_t offset, pid_t *holder)
{
    struct flock lock = { .l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = (off_t)offset, .l_len = 1 };
    *holder = 0;
    while (fcntl(file->descriptor, F_GETLK, &lock) != 0) {
        if (errno != EINTR)
            return errno;
    }
    if (lock.l_type != F_UNLCK)
        *holder = lock.l_pid;
    return 0;
}

static bole_status refused(const bl_posix_file *file, uint64_t offset, bole_error *error)
{
    pid_t holder;
    if (kernel_holder(file, offset, &holder) != 0 || holder <= 0) /* gone again, or on another machine */
        return bl_fail(error, BOLE_LOCKED, "%s is locked by another process", file->path);
    return bl_fail(error, BOLE_LOCKED, "%s is locked by process %ld", file->path, (long)holder);
}

bole_status bl_posix_lock(bole_file *base, uint64_t offset, bool exclusive, bole_error *error)
{
    bl_posix_file *file = posix_file(base);
    if (offset > INT64_MAX - 1)
        return bl_fail(error, BOLE_INVALID, "lock of %s at %llu: out of range", file->path,
                       (unsigned long long)offset);
    held_lock *fresh = bl_new(held_lock);
    if (fresh == NULL)
        return bl_fail(error, BOLE_NO_MEMORY, "out of memory for a lock of %s", file->path);
    bole_status status = BOLE_OK;
    enter_registry();
    if (other_lock(file, offset, exclusive) != NULL) {
        status = bl_fail(error, BOLE_LOCKED, "%s is locked by this process (%ld)", file->path,
                         (long)getpid());
        goto out;
    }
    int failure = set_kernel_lock(file, offset, exclusive ? F_WRLCK : F_RDLCK);
    if (failure == EACCES || failure == EAGAIN) {
        status = refused(file, offset, error);
        goto out;
    }
    if (failure != 0) {
        status = bl_fail_system(error, failure, "lock", file->path);
        goto out;
    }
    held_lock *held = own_lock(file, offset);
    if (held == NULL) {
        held = fresh;
        fresh = NULL;
        *held = (held_lock){ file, file->device, file->inode, offset, exclusive, held_locks };
        held_locks = held;
    }
    held->exclusive = exclusive;
out:
    pthread_mutex_unlock(&registry_lock);
    bl_free(fresh);
    return status;
}

/* Give up one lock; the kernel's goes with the last handle's. Returns 0 or errno. */
static int drop_lock(held_lock *held, const bl_posix_file *file)
{
    uint64_t offset = held->offset;
    if (other_lock(file, offset, true) == NULL) {
        int failure = set_kernel_lock(file, offset, F_UNLCK);
        if (failure != 0)
            return failure;
    }
    forget_lock(held);
    return 0;
}

bole_status bl_posix_unlock(bole_file *base, uint64_t offset, bole_error *error)
{
    bl_posix_file *file = posix_file(base);
    enter_registry();
    held_lock *held = own_lock(file, offset);
    int failure = held == NULL ? 0 : drop_lock(held, file);
    close_parked();
    pthread_mutex_unlock(&registry_lock);
    return failure == 0 ? BOLE_OK : bl_fail_system(error, failure, "unlock", file->path);
}

bole_status bl_posix_lock_test(bole_file *base, uint64_t offset, bool *locked, int64_t *holder_pid,
                               bole_error *error)
{
    bl_posix_file *file = posix_file(base);
    *locked = false;
    *holder_pid = 0;
    pid_t holder = 0;
    int failure = 0;
    enter_registry();
    if (other_lock(file, offset, true) != NULL)
        holder = getpid();
    else
        failure = kernel_holder(file, offset, &holder);
    pthread_mutex_unlock(&registry_lock);
    if (failure != 0)
        return bl_fail_system(error, failure, "test the lock of", file->path);
    *locked = holder != 0;
    *holder_pid = holder;
    return BOLE_OK;
}

int bl_posix_lock_close(bl_posix_file *file)
{
    int failure = 0;
    enter_registry();
    for (held_lock *held = held_locks, *next; held != NULL; held = next) {
        next = held->next;
        if (held->holder != file)
            continue;
        if (drop_lock(held, file) != 0)
            forget_lock(held); /* closing drops it */
    }
    if (inode_has_locks(file)) {
        file->next_parked = parked_files;
        parked_files = file;
    } else {
        close_parked();
        failure = close_now(file);
    }
    pthread_mutex_unlock(&registry_lock);
    return failure;
}
