/* SPDX-License-Identifier: MIT */
/* assert.c -- the end of a process that found a mistake of ours, and the counters of rare branches.
 *
 * A mark is kept under the address of its name, so a hit costs no string compare; bl_mark_count adds up all
 * addresses with an equal name (the same literal may stand at several). When the environment names a file as
 * BL_MARKS, each process adds a line there at its first hit of a mark: mark, tab, program (scripts/marks.py reads it).
 * INVARIANTS  (MARK-1) A slot's name is set once, from NULL, and never changes.
 * THREADS     Any. The table is lock-free; a full table loses marks, never corrupts them. */
#include "base/assert.h"

#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

void bl_assert_failed(const char *expression, const char *file, int line)
{
    fprintf(stderr, "bole: %s:%d: assertion failed: %s\n", file, line, expression);
    fflush(stderr);
    abort();
}

#ifdef BL_CHECKS
enum { MARKS = 1024 };
static struct {
    _Atomic(const char *) name;
    _Atomic unsigned long count;
} marks[MARKS];

/* At once, not at exit: a test's process may die of a signal. Nothing is allocated: fuzz targets count that. */
static void tell_first_hit(const char *name)
{
    const char *path = getenv("BL_MARKS");
    if (path == NULL)
        return;
    int before = errno;
    char line[256];
    int length = snprintf(line, sizeof line, "%s\t%s\n", name, program_invocation_short_name);
    int file = open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0666);
    bl_assert(file >= 0 && length < (int)sizeof line && write(file, line, (size_t)length) == length);
    close(file);
    errno = before;
}

void bl_mark_hit(const char *name)
{
    size_t start = ((uintptr_t)name * 0x9E3779B97F4A7C15u) >> 54;
    /* There are far fewer marks than places. */
    for (size_t slot = start % MARKS;; slot = (slot + 1) % MARKS) {
        const char *seen = atomic_load_explicit(&marks[slot].name, memory_order_relaxed);
        if (seen == NULL && atomic_compare_exchange_strong(&marks[slot].name, &seen, name)) {
            tell_first_hit(name);
            seen = name;
        }
        if (seen == name) {
            atomic_fetch_add_explicit(&marks[slot].count, 1, memory_order_relaxed);
            return;
        }
    }
}
#endif

unsigned long bl_mark_count(const char *name)
{
    unsigned long count = 0;
#ifdef BL_CHECKS
    for (size_t slot = 0; slot < MARKS; slot++) {
        const char *seen = atomic_load_explicit(&marks[slot].name, memory_order_relaxed);
        if (seen != NULL && strcmp(seen, name) == 0)
            count += atomic_load_explicit(&marks[slot].count, memory_order_relaxed);
    }
#else
    (void)name;
#endif
    return count;
}
