/* SPDX-License-Identifier: MIT */
/* limit.c -- one memory limit for a process and the pages that it brings into the page cache: a control group.
 *
 * Version 1 and 2 are looked for in /proc/self/mountinfo. The group is made below that of this process, so that limits
 * that stand above keep counting; in version 2, where a group with processes has no limited children, below the nearest
 * group above that may have some. */
#include "bench.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { REMOVE_TRIES = 50 };

/* Where the groups that limit memory are mounted, and where this process is in them. */
typedef struct hierarchy {
    bool unified; /* version 2 */
    char mount[200], own[200];
} hierarchy;

static bool find_mount(hierarchy *out, bool unified)
{
    FILE *file = fopen("/proc/self/mountinfo", "r");
    char line[1024];
    bool found = false;
    while (file != NULL && !found && fgets(line, sizeof line, file) != NULL) {
        char *behind = strstr(line, " - "), type[32], options[512];
        found = behind != NULL && sscanf(behind, " - %31s %*s %511s", type, options) == 2 &&
                sscanf(line, "%*s %*s %*s %*s %199s", out->mount) == 1 &&
                (unified ? strcmp(type, "cgroup2") == 0
                         : strcmp(type, "cgroup") == 0 && strstr(options, "memory") != NULL);
    }
    if (file != NULL)
        fclose(file);
    return found;
}

static bool find_own(hierarchy *out, bool unified)
{
    FILE *file = fopen("/proc/self/cgroup", "r");
    char line[512];
    bool found = false;
    while (file != NULL && !found && fgets(line, sizeof line, file) != NULL) {
        char *controllers = strchr(line, ':'),
             *path = controllers == NULL ? NULL : strchr(controllers + 1, ':');
        if (path == NULL)
            continue;
        *path++ = 0;
        found = unified ? strcmp(controllers, ":") == 0 : strstr(controllers, "memory") != NULL;
        path[strcspn(path, "\n")] = 0;
        snprintf(out->own, sizeof out->own, "%s", strcmp(path, "/") == 0 ? "" : path);
    }
    if (file != NULL)
        fclose(file);
    return found;
}

static bool put_number(const char *group, const char *name, unsigned long long number)
{
    char path[640];
    snprintf(path, sizeof path, "%s/%s", group, name);
    FILE *file = fopen(path, "r+");
    if (file == NULL)
        return false;
    bool good = fprintf(file, "%llu\n", number) > 0;
    return fclose(file) == 0 && good;
}

bool bench_limit_make(uint64_t bytes, bench_limit *out, char why[128])
{
    hierarchy at = { .unified = false };
    struct stat status;
    out->group[0] = 0;
    if (!find_mount(&at, false) || !find_own(&at, false)) {
        at.unified = true;
        if (!find_mount(&at, true) || !find_own(&at, true)) {
            snprintf(why, 128, "this machine has no control groups for memory");
            return false;
        }
    }
    for (;;) {
        snprintf(out->group, sizeof out->group, "%s%s/bole-bench-%d", at.mount, at.own, (int)getpid());
        if (mkdir(out->group, 0755) == 0) {
            if (put_number(out->group, at.unified ? "memory.max" : "memory.limit_in_bytes", bytes)) {
                /* no swap beside it; a kernel without swap has no such file */
                (void)put_number(out->group, at.unified ? "memory.swap.max" : "memory.memsw.limit_in_bytes",
                                 at.unified ? 0 : bytes);
                return true;
            }
            snprintf(why, 128, "a control group's memory cannot be limited here: %s", strerror(errno));
            (void)rmdir(out->group);
        } else if (errno != ENOENT || stat(at.mount, &status) != 0) {
            snprintf(why, 128, "a control group cannot be made: %s", strerror(errno));
        }
        char *last = strrchr(at.own, '/');
        if (last == NULL)
            break;
        *last = 0;
    }
    out->group[0] = 0;
    return false;
}

bool bench_limit_join(const bench_limit *limit)
{
    return put_number(limit->group, "cgroup.procs", (unsigned long long)getpid());
}

void bench_limit_remove(bench_limit *limit)
{
    /* the kernel may still be about the last one's end */
    for (int i = 0; limit->group[0] != 0 && rmdir(limit->group) != 0; i++) {
        if (i == REMOVE_TRIES) {
            fprintf(stderr, "bench: %s could not be removed: %s\n", limit->group, strerror(errno));
            break;
        }
        usleep(20 * 1000);
    }
    limit->group[0] = 0;
}
