/* SPDX-License-Identifier: MIT */
/* files.c -- directories of stores: how large, out of the page cache, away. */
#include "bench.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

enum { OPEN_MAX = 16 };
static uint64_t bytes_seen, pages_seen, pages_kept; /* nftw hands no context through */
static bool all_removed;

static int add_bytes(const char *path, const struct stat *status, int kind, struct FTW *walk)
{
    (void)path, (void)walk;
    if (kind == FTW_F)
        bytes_seen += (uint64_t)status->st_blocks * 512;
    return 0;
}

uint64_t bench_directory_bytes(const char *path)
{
    bytes_seen = 0;
    (void)nftw(path, add_bytes, OPEN_MAX, FTW_PHYS);
    return bytes_seen;
}

static int remove_entry(const char *path, const struct stat *status, int kind, struct FTW *walk)
{
    (void)status, (void)kind, (void)walk;
    if (remove(path) != 0) {
        fprintf(stderr, "bench: %s could not be removed: %s\n", path, strerror(errno));
        all_removed = false;
    }
    return 0;
}

bool bench_remove_directory(const char *path)
{
    all_removed = true;
    (void)nftw(path, remove_entry, OPEN_MAX, FTW_DEPTH | FTW_PHYS);
    return all_removed;
}

static int leave(const char *path, const struct stat *status, int kind, struct FTW *walk)
{
    (void)walk;
    if (kind != FTW_F || status->st_size == 0)
        return 0;
    size_t bytes = (size_t)status->st_size, page = (size_t)sysconf(_SC_PAGESIZE);
    int file = open(path, O_RDONLY);
    if (file < 0)
        return 0;
    (void)fdatasync(file);
    (void)posix_fadvise(file, 0, 0, POSIX_FADV_DONTNEED);
    size_t pages = (bytes + page - 1) / page;
    unsigned char *present = malloc(pages);
    void *map = mmap(NULL, bytes, PROT_READ, MAP_SHARED, file, 0);
    pages_seen += pages;
    if (map != MAP_FAILED && present != NULL && mincore(map, bytes, present) == 0)
        for (size_t i = 0; i < pages; i++)
            pages_kept += present[i] & 1;
    if (map != MAP_FAILED)
        munmap(map, bytes);
    free(present);
    close(file);
    return 0;
}

double bench_leave_page_cache(const char *path)
{
    pages_seen = pages_kept = 0;
    (void)nftw(path, leave, OPEN_MAX, FTW_PHYS);
    return pages_seen == 0 ? 0 : (double)pages_kept / (double)pages_seen;
}
