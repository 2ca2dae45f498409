/* SPDX-License-Identifier: MIT */
/* demo.c -- the part of scripts/demo.sh that a shell cannot do: loads the machine's own documentation and headers,
 * is killed while it does, proves that nothing acknowledged was lost, and measures the Bloom filters. Uses nothing
 * but the public interface.
 *
 *     bole_demo crash STORE      load, kill -9 in mid-load, recover, compare, load the rest
 *     bole_demo filters STORE    probe keys that are not there
 *
 * One file is one batch: table "files" gets path -> content; when it is text, table "lines" gets path:line -> line;
 * table "progress" gets the number of files loaded so far. So the store itself says which prefix it holds. */
#include <bole/bole_inspect.h>
#include <err.h>
#include <fcntl.h>
#include <fts.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum {
    FILE_BYTES_MAX = 1 << 20,
    KEY_BYTES_MAX = 4096,
    ENTRIES_MAX = 1000000,
    KILL_ENTRIES = 300000, /* or a third of the files, whichever comes first */
    LOAD_SECONDS_MAX = 25,
    PROBES = 100000,
};

typedef struct demo {
    char **paths; /* the files, in the order in which they are loaded */
    size_t path_count, path_capacity;
    unsigned char *content;
    bole_db *db;
    bole_table *files, *lines, *progress;
    bole_batch *batch;
    bole_error error;
} demo;

/* The child's word on what was acknowledged. It outlives the child. */
typedef struct shared_counts {
    _Atomic uint64_t batches, entries, bytes;
} shared_counts;

static void must(demo *d, bole_status status, const char *what)
{
    if (status != BOLE_OK)
        errx(1, "%s: %s: %s", what, bole_status_name(status),
             d->error.status == status ? d->error.message : bole_status_text(status));
}

static double now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

/* ---- The data ------------------------------------------------------------------------------------------- */

static int by_name(const FTSENT **a, const FTSENT **b) { return strcmp((*a)->fts_name, (*b)->fts_name); }

static void find_files(demo *d)
{
    char roots[][32] = {
        "/usr/include",    "/usr/share/common-licenses", "/usr/share/doc",   "/usr/share/man",
        "/usr/share/perl", "/usr/share/perl5",           "/usr/lib/python3", "/usr/share/info",
        "/usr/share/vim",  "/usr/share/zoneinfo",        "/usr/share/misc"
    };
    for (size_t i = 0; i < sizeof(roots) / sizeof(roots[0]); i++) {
        char *list[] = { roots[i], NULL };
        FTS *walk = fts_open(list, FTS_PHYSICAL | FTS_NOCHDIR, by_name);
        if (walk == NULL)
            err(1, "fts_open");
        for (FTSENT *entry; (entry = fts_read(walk)) != NULL;) {
            if (entry->fts_info != FTS_F || entry->fts_statp->st_size > FILE_BYTES_MAX ||
                access(entry->fts_path, R_OK) != 0)
                continue;
            if (d->path_count == d->path_capacity) {
                d->path_capacity = d->path_capacity * 2 + 1024;
                d->paths = realloc(d->paths, d->path_capacity * sizeof(*d->paths));
                if (d->paths == NULL)
                    err(1, "realloc");
            }
            if ((d->paths[d->path_count++] = strdup(entry->fts_path)) == NULL)
                err(1, "strdup");
        }
        fts_close(walk);
    }
    if (d->path_count == 0)
        errx(1, "none of the folders with documentation is on this machine");
    d->content = malloc(FILE_BYTES_MAX);
    if (d->content == NULL)
        err(1, "malloc");
}

/* A file that cannot be read is an empty one. */
static size_t read_content(demo *d, const char *path)
{
    int file = open(path, O_RDONLY | O_CLOEXEC);
    size_t size = 0;
    for (ssize_t got = 1; file >= 0 && got > 0 && size < FILE_BYTES_MAX; size += (size_t)got) {
        got = read(file, d->content + size, FILE_BYTES_MAX - size);
        if (got < 0)
            break;
    }
    if (file >= 0)
        close(file);
    return size;
}

/* Calls `visit` for the file's entry and for each line's; stops at the first status that is not BOLE_OK. */
static bole_status each_entry(demo *d, const char *path,
                              bole_status (*visit)(demo *d, bole_table *table, bole_slice key,
                                                   bole_slice value),
                              uint64_t *entries, uint64_t *bytes)
{
    size_t size = read_content(d, path);
    size_t path_size = strlen(path);
    bole_status status = visit(d, d->files, BOLE_SLICE(path, path_size), BOLE_SLICE(d->content, size));
    *entries += 1;
    *bytes += path_size + size;
    if (memchr(d->content, 0, size) != NULL || path_size > KEY_BYTES_MAX - 16)
        return status;
    const unsigned char *at = d->content;
    const unsigned char *end = at + size;
    for (unsigned line = 1; at < end && status == BOLE_OK; line++) {
        const unsigned char *stop = memchr(at, '\n', (size_t)(end - at));
        if (stop == NULL)
            stop = end;
        char key[KEY_BYTES_MAX];
        int key_size = snprintf(key, sizeof(key), "%s:%07u", path, line);
        status = visit(d, d->lines, BOLE_SLICE(key, (size_t)key_size), BOLE_SLICE(at, (size_t)(stop - at)));
        *entries += 1;
        *bytes += (size_t)key_size + (size_t)(stop - at);
        at = stop + 1;
    }
    return status;
}

/* ---- The store ------------------------------------------------------------------------------------------ */

static void open_table(demo *d, const char *name, bole_table **out)
{
    bole_status status = bole_table_open(d->db, name, out, &d->error);
    if (status == BOLE_NOT_FOUND)
        status = bole_table_create(d->db, name, NULL, out, &d->error);
    must(d, status, name);
}

static void open_store(demo *d, const char *path)
{
    bole_options options = BOLE_OPTIONS_INIT;
    options.flags = BOLE_CREATE;
    options.memtable_bytes = 16u << 20; /* small, so that a short demo shows several levels */
    options.segment_bytes = 16u << 20;
    must(d, bole_open(path, &options, &d->db, &d->error), "open");
    open_table(d, "files", &d->files);
    open_table(d, "lines", &d->lines);
    open_table(d, "progress", &d->progress);
}

static void close_store(demo *d)
{
    bole_table_close(d->files);
    bole_table_close(d->lines);
    bole_table_close(d->progress);
    must(d, bole_close(d->db, &d->error), "close");
}

/* ---- Loading -------------------------------------------------------------------------------------------- */

static bole_status put_entry(demo *d, bole_table *table, bole_slice key, bole_slice value)
{
    return bole_batch_put(d->batch, table, key, value);
}

static void tell_rate(const char *word, uint64_t entries, uint64_t bytes, double seconds)
{
    printf("   %s %8" PRIu64 " entries  %6.1f MB  %8.0f entries/s\n", word, entries, (double)bytes / 1e6,
           (double)entries / (seconds > 0 ? seconds : 1));
    fflush(stdout);
}

/* Loads files from number `first` on. Counts are those of the whole load. */
static void load(demo *d, size_t first, shared_counts *counts)
{
    bole_write_options write = BOLE_WRITE_OPTIONS_INIT;
    write.error = &d->error;
    must(d, bole_batch_create(&d->batch), "batch");
    double start = now();
    double told = start;
    uint64_t entries = atomic_load(&counts->entries);
    uint64_t bytes = atomic_load(&counts->bytes);
    uint64_t entries_first = entries;
    uint64_t bytes_first = bytes;
    for (uint64_t i = first;
         i < d->path_count && entries < ENTRIES_MAX && now() - start < LOAD_SECONDS_MAX;) {
        bole_batch_clear(d->batch);
        must(d, each_entry(d, d->paths[i++], put_entry, &entries, &bytes), "batch");
        must(d, bole_batch_put(d->batch, d->progress, BOLE_STR("files"), BOLE_SLICE(&i, sizeof(i))), "batch");
        must(d, bole_write(d->db, &write, d->batch), "write");
        atomic_store(&counts->entries, entries);
        atomic_store(&counts->bytes, bytes);
        atomic_store(&counts->batches, i); /* last: acknowledged from here on */
        if (now() - told >= 0.5) {
            told = now();
            tell_rate("loading", entries - entries_first, bytes - bytes_first, told - start);
        }
    }
    tell_rate("loaded ", entries - entries_first, bytes - bytes_first, now() - start);
    bole_batch_destroy(d->batch);
}

/* Returns once enough was acknowledged and the loader is dead. */
static void load_and_kill(demo *d, const char *path, shared_counts *counts)
{
    fflush(NULL);
    pid_t child = fork();
    if (child < 0)
        err(1, "fork");
    if (child == 0) {
        open_store(d, path);
        load(d, 0, counts);
        close_store(d);
        _exit(0);
    }
    int ended;
    while (atomic_load(&counts->entries) < KILL_ENTRIES &&
           atomic_load(&counts->batches) < d->path_count / 3) {
        if (waitpid(child, &ended, WNOHANG) == child)
            errx(1, "the loader ended before it was killed");
        poll(NULL, 0, 1);
    }
    kill(child, SIGKILL);
    if (waitpid(child, &ended, 0) != child || !WIFSIGNALED(ended))
        errx(1, "the loader could not be killed in mid-load");
    printf("   kill -9 %d: gone in mid-load, with %" PRIu64 " batches acknowledged\n", (int)child,
           atomic_load(&counts->batches));
}

/* ---- Proof ---------------------------------------------------------------------------------------------- */

static bole_status compare_entry(demo *d, bole_table *table, bole_slice key, bole_slice value)
{
    bole_read_options read = BOLE_READ_OPTIONS_INIT;
    read.table = table;
    read.error = &d->error;
    bole_view view = BOLE_VIEW_INIT;
    bole_status status = bole_get_view(d->db, &read, key, &view);
    if (status != BOLE_OK)
        errx(1, "LOST: %.*s: %s", (int)key.size, (const char *)key.data, bole_status_name(status));
    if (view.value.size != value.size || memcmp(view.value.data, value.data, value.size) != 0)
        errx(1, "CHANGED: the value of %.*s", (int)key.size, (const char *)key.data);
    bole_view_release(&view);
    return BOLE_OK;
}

/* Returns the number of files that the store says it holds. */
static uint64_t recovered_files(demo *d)
{
    bole_read_options read = BOLE_READ_OPTIONS_INIT;
    read.table = d->progress;
    read.error = &d->error;
    bole_buffer value = BOLE_BUFFER_INIT;
    uint64_t files = 0;
    must(d, bole_get(d->db, &read, BOLE_STR("files"), &value), "progress");
    if (value.size == sizeof(files))
        memcpy(&files, value.data, sizeof(files));
    bole_buffer_free(&value);
    return files;
}

static uint64_t count_table(demo *d, bole_table *table)
{
    bole_read_options read = BOLE_READ_OPTIONS_INIT;
    read.table = table;
    read.error = &d->error;
    bole_iterator *iterator;
    uint64_t count = 0;
    must(d, bole_iterator_create(d->db, &read, &iterator), "iterator");
    for (bool there = bole_iterator_seek_first(iterator); there; there = bole_iterator_next(iterator))
        count++;
    must(d, bole_iterator_status(iterator), "scan");
    bole_iterator_destroy(iterator);
    return count;
}

static int run_crash(demo *d, const char *path)
{
    shared_counts *counts = mmap(NULL, sizeof(*counts), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS,
                                 -1, 0);
    if (counts == MAP_FAILED)
        err(1, "mmap");
    find_files(d);
    printf("   %zu files found: headers, manuals, documentation of this machine; one batch each\n",
           d->path_count);
    load_and_kill(d, path, counts);

    double start = now();
    open_store(d, path);
    printf("   opened again, recovered in %.0f ms\n", (now() - start) * 1e3);
    uint64_t acknowledged = atomic_load(&counts->batches);
    uint64_t files = recovered_files(d);
    if (files < acknowledged || files > acknowledged + 1)
        errx(1, "LOST: %" PRIu64 " batches acknowledged, %" PRIu64 " there", acknowledged, files);
    uint64_t entries = 0;
    uint64_t bytes = 0;
    start = now();
    for (uint64_t i = 0; i < files; i++)
        must(d, each_entry(d, d->paths[i], compare_entry, &entries, &bytes), "compare");
    uint64_t there = count_table(d, d->files) + count_table(d, d->lines);
    if (there != entries)
        errx(1, "WRONG: %" PRIu64 " entries belong to %" PRIu64 " batches, %" PRIu64 " there", entries, files,
             there);
    printf("   acknowledged before the kill: %8" PRIu64 " batches\n", acknowledged);
    printf("   there after recovery:         %8" PRIu64 " batches%s\n", files,
           files > acknowledged ? " (one was written, and the kill came before its answer)" : "");
    printf("   compared byte by byte:        %8" PRIu64
           " entries, %.1f MB in %.1f s: none lost, none changed,\n"
           "                                 and nothing there that does not belong\n",
           entries, (double)bytes / 1e6, now() - start);

    atomic_store(&counts->entries, entries);
    atomic_store(&counts->bytes, bytes);
    printf("   now the rest:\n");
    load(d, files, counts);
    printf("   in all %" PRIu64 " entries of %" PRIu64 " files, %.1f MB\n", atomic_load(&counts->entries),
           atomic_load(&counts->batches), (double)atomic_load(&counts->bytes) / 1e6);
    close_store(d);
    munmap(counts, sizeof(*counts));
    return 0;
}

/* ---- Filters -------------------------------------------------------------------------------------------- */

typedef struct filter_sum {
    double expected; /* probes times expected rate, over segments */
    uint64_t probes, bytes;
} filter_sum;

static bool add_segment(void *context, const bole_inspect_segment *segment)
{
    filter_sum *sum = context;
    sum->expected += (double)segment->filter_probes * segment->filter_expected_rate;
    sum->probes += segment->filter_probes;
    sum->bytes += segment->filter_bytes;
    return true;
}

static int run_filters(demo *d, const char *path)
{
    open_store(d, path);
    find_files(d);
    bole_statistics before = BOLE_STATISTICS_INIT;
    bole_statistics after = BOLE_STATISTICS_INIT;
    bole_read_options read = BOLE_READ_OPTIONS_INIT;
    read.table = d->lines;
    read.error = &d->error;
    must(d, bole_stats(d->db, &before, &d->error), "stats");
    uint64_t files = recovered_files(d);
    if (files == 0 || files > d->path_count)
        files = d->path_count;
    double start = now();
    for (uint64_t i = 0; i < PROBES; i++) {
        char key[KEY_BYTES_MAX]; /* beside keys that are there, so that only the filter can say no */
        int size = snprintf(key, sizeof(key), "%s:%07" PRIu64 "?", d->paths[i * 7919 % files], i % 100);
        if (size < 0 || size >= (int)sizeof(key))
            continue;
        bole_status status = bole_exists(d->db, &read, BOLE_SLICE(key, (size_t)size));
        if (status != BOLE_NOT_FOUND)
            errx(1, "%s: %s, but nobody wrote it", key, bole_status_name(status));
    }
    double taken = now() - start;
    must(d, bole_stats(d->db, &after, &d->error), "stats");
    filter_sum sum = { 0, 0, 0 };
    must(d, bole_inspect_segments(d->db, add_segment, &sum, &d->error), "segments");
    uint64_t probes = after.filter_probes - before.filter_probes;
    uint64_t negatives = after.filter_negatives - before.filter_negatives;
    uint64_t wrong = after.filter_false_positives - before.filter_false_positives;
    printf("   %d keys looked for that are not there: none found, %.1f us each\n", PROBES,
           taken / PROBES * 1e6);
    printf("   filter probes            %9" PRIu64 "   (one for each segment that may hold the key)\n",
           probes);
    printf("   useful negatives         %9" PRIu64 "   (a block that was not read)\n", negatives);
    printf("   false positives          %9" PRIu64 "\n", wrong);
    if (probes != 0)
        printf("   false-positive rate       %7.3f%%   measured; %.3f%% expected from bits and keys\n",
               100.0 * (double)wrong / (double)probes,
               sum.probes != 0 ? 100.0 * sum.expected / (double)sum.probes : 0.0);
    printf("   memory of the filters    %9.1f KB\n", (double)sum.bytes / 1e3);
    close_store(d);
    return 0;
}

int main(int argc, char **argv)
{
    demo d = { 0 };
    d.error = (bole_error)BOLE_ERROR_INIT;
    if (argc == 3 && strcmp(argv[1], "crash") == 0)
        return run_crash(&d, argv[2]);
    if (argc == 3 && strcmp(argv[1], "filters") == 0)
        return run_filters(&d, argv[2]);
    fprintf(stderr, "usage: bole_demo crash|filters STORE\n");
    return 2;
}
