/* SPDX-License-Identifier: MIT */
/* bole_vfs.h -- the operating system as the store sees it: files, directory, map, clock, randomness.
 *
 * A bole_vfs is a sized table of calls. The library brings four: posix (the default), memory (keeps synced and
 * unsynced bytes and names apart, and can cut the power), fault (the n-th call fails) and trace (text of every
 * call); the last two wrap another. Bring your own to put a store on other storage.
 *
 * RULES for an implementation
 *   - Calls on different files, and reads on one file, may come from several threads at once.
 *   - A path is absolute or relative as the store was opened; '/' separates.
 *   - Every failing call fills `error` (status BOLE_IO unless a better one fits: NO_SPACE, PERMISSION, NOT_FOUND,
 *     EXISTS, NO_MEMORY) with the file's name and errno, and changes nothing else it was given.
 *   - What was written is durable only after sync; a name made, renamed or removed only after sync_directory.
 *   - Symbolic links in the place of a store's file are refused (BOLE_INVALID). */
#ifndef BOLE_VFS_H
#define BOLE_VFS_H

#include <bole/bole.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef enum bole_vfs_open_flag {
    BOLE_VFS_READ = 1u << 0,
    BOLE_VFS_WRITE = 1u << 1,     /* and read */
    BOLE_VFS_CREATE = 1u << 2,    /* make it (mode 0600) when it is not there */
    BOLE_VFS_EXCLUSIVE = 1u << 3, /* with CREATE: BOLE_EXISTS when it is there */
    BOLE_VFS_TRUNCATE = 1u << 4,
    BOLE_VFS_DIRECT = 1u << 5,    /* a wish: what is read, and what was synced, stays out of the system's cache. A file
                                     that is written is one thread's, and a write that failed may be told by the next
                                     call. Best written in whole MiB, from its begin on; may take 4 MiB meanwhile */
} bole_vfs_open_flag;

typedef enum bole_vfs_capability {
    BOLE_VFS_CAN_MAP = 1u << 0,  /* map gives memory that survives the process, on this path's file system */
    BOLE_VFS_CAN_LINK = 1u << 1,
} bole_vfs_capability;

typedef struct bole_file bole_file; /* first member of an implementation's own struct */
struct bole_file {
    bole_vfs *vfs;
};

struct bole_vfs {
    uint32_t size;    /* sizeof(bole_vfs) */
    const char *name; /* "posix", "memory", "fault", "trace", ... */
    void *context;

    /* files */
    bole_status (*open)(bole_vfs *vfs, const char *path, uint32_t flags, bole_file **out, bole_error *error);
    bole_status (*close)(bole_file *file, bole_error *error); /* frees `file` whatever it returns */
    /* Reads until `length` bytes or the end of the file; *got says how many. */
    bole_status (*read)(bole_file *file, uint64_t offset, void *data, size_t length, size_t *got,
                        bole_error *error);
    /* Writes all of it or fails; after a failure any part may have been written. */
    bole_status (*write)(bole_file *file, uint64_t offset, const void *data, size_t length, bole_error *error);
    bole_status (*sync)(bole_file *file, bole_error *error); /* data, and the size needed to read it */
    bole_status (*truncate)(bole_file *file, uint64_t length, bole_error *error);
    /* Reserve space in [offset, offset + length) and make the file that long; the bytes read as zero, also where
     * others stood before when `zero` is set. */
    bole_status (*allocate)(bole_file *file, uint64_t offset, uint64_t length, bool zero, bole_error *error);
    bole_status (*length)(bole_file *file, uint64_t *out, bole_error *error);
    /* Shared writable map. Not inherited by fork. */
    bole_status (*map)(bole_file *file, uint64_t offset, uint64_t length, void **out, bole_error *error);
    bole_status (*unmap)(bole_file *file, void *data, uint64_t length, bole_error *error);
    /* Tell of stores to a map, before they count; NULL where plain memory needs no telling (posix). */
    bole_status (*map_stored)(bole_file *file, void *data, size_t length, bole_error *error);
    /* Hints; may do nothing. */
    void (*will_need)(bole_file *file, uint64_t offset, uint64_t length);

    /* names */
    bole_status (*remove)(bole_vfs *vfs, const char *path, bole_error *error);
    bole_status (*rename)(bole_vfs *vfs, const char *from, const char *to, bole_error *error);
    /* BOLE_UNSUPPORTED where it cannot be (another file system, too many links): copy then. */
    bole_status (*link)(bole_vfs *vfs, const char *from, const char *to, bole_error *error);
    /* Or BOLE_NOT_FOUND. A link to a directory is one; `is_directory` is not NULL. */
    bole_status (*exists)(bole_vfs *vfs, const char *path, bool *is_directory, bole_error *error);
    bole_status (*list)(bole_vfs *vfs, const char *directory,
                        bool (*visit)(void *context, const char *name), void *context, bole_error *error);
    bole_status (*make_directory)(bole_vfs *vfs, const char *path, bole_error *error); /* mode 0700 */
    bole_status (*remove_directory)(bole_vfs *vfs, const char *path, bole_error *error);
    bole_status (*sync_directory)(bole_vfs *vfs, const char *path, bole_error *error);
    bole_status (*free_bytes)(bole_vfs *vfs, const char *path, uint64_t *out, bole_error *error);
    uint32_t (*capabilities)(bole_vfs *vfs, const char *directory);

    /* Byte locks between processes, and between handles of one process: [offset, offset + 1). A handle may lock
     * again, to change between exclusive and shared. Closing a handle drops its locks and nobody else's. The child
     * of fork holds none. lock_test: does another handle or process hold any lock there? */
    bole_status (*lock)(bole_file *file, uint64_t offset, bool exclusive, bole_error *error); /* BOLE_LOCKED */
    bole_status (*unlock)(bole_file *file, uint64_t offset, bole_error *error);
    bole_status (*lock_test)(bole_file *file, uint64_t offset, bool *locked, int64_t *holder_pid,
                             bole_error *error);

    /* the world */
    uint64_t (*monotonic_ns)(bole_vfs *vfs);
    int64_t (*realtime_us)(bole_vfs *vfs); /* since 1970; may jump */
    bole_status (*random)(bole_vfs *vfs, void *data, size_t length, bole_error *error);
    uint64_t (*memory_bytes)(bole_vfs *vfs); /* of the machine or the cgroup, the smaller */
};

/** The operating system. Static; never freed. */
BOLE_API bole_vfs *bole_vfs_posix(void);

/** A disk in memory, deterministic from `seed`. Freed with bole_vfs_destroy, once no file is open.
 *  Stores to a map must be told of (map_stored): those that are not never reach the file. Its monotonic clock moves
 *  100 ns at each look; it has 1 GiB of memory. The root directory is there; any thread. */
BOLE_CHECKED BOLE_API bole_status bole_vfs_memory_create(uint64_t seed, bole_vfs **out);
/** Cut the power: a new disk that could have survived this one, which is unchanged. `mode` chooses how unsynced data
 *  and names fare. A byte that unsynced writes left as it was is never damaged; a name shows the old or a new file.
 *  `memory`, here and below, may also be a wrapper over a disk in memory. */
typedef enum bole_crash_mode {
    BOLE_CRASH_RANDOM = 0,      /* each unsynced 512-byte sector and name lands, vanishes, or holds garbage */
    BOLE_CRASH_LOSE_ALL = 1,    /* nothing unsynced survives */
    BOLE_CRASH_KEEP_ALL = 2,    /* as after the death of the process only: what was unsynced still is */
    BOLE_CRASH_NAMES_ONLY = 3,  /* names survive, unsynced data does not */
} bole_crash_mode;
BOLE_CHECKED BOLE_API bole_status bole_vfs_memory_crash(bole_vfs *memory, bole_crash_mode mode, uint64_t seed,
                                                        bole_vfs **out);
/** Limit the disk to `bytes` (UINT64_MAX: none). */
BOLE_API void bole_vfs_memory_capacity(bole_vfs *memory, uint64_t bytes);
/** Move the clocks; negative only moves realtime. */
BOLE_API void bole_vfs_memory_advance(bole_vfs *memory, int64_t microseconds);

/** Calls that fail. Every call that may fail is counted, from 0; see `calls`. A failing close, unmap or unlock is
 *  carried out all the same. After a failing sync over a disk in memory, what was dirty is not on the
 *  disk, and a later
 *  sync that succeeds does not bring it there: as in the kernel, only writing it again does. */
typedef struct bole_fault_plan {
    uint64_t at;             /* index of the first call that fails; UINT64_MAX: none */
    uint64_t count;          /* how many calls in a row fail; UINT64_MAX: for good */
    int system_errno;        /* EIO, ENOSPC, EMFILE, ... */
    bool half;               /* a failing write or store to a map stores half of its bytes first */
    uint64_t calls;          /* out: calls seen so far */
    uint64_t failed;         /* out: calls that were made to fail */
} bole_fault_plan;
BOLE_CHECKED BOLE_API bole_status bole_vfs_fault_create(bole_vfs *below, bole_fault_plan *plan, bole_vfs **out);

/** One line of text for every call that changes something: "write 000007.log 4096+133", "sync 000007.log". */
BOLE_CHECKED BOLE_API bole_status bole_vfs_trace_create(bole_vfs *below,
                                                        void (*line)(void *context, const char *text),
                                                        void *context, bole_vfs **out);
/** Destroy a vfs made by one of the calls above (not what it wraps). */
BOLE_API void bole_vfs_destroy(bole_vfs *vfs);

#ifdef __cplusplus
}
#endif
#endif
