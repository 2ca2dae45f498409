/* SPDX-License-Identifier: MIT */
/* load.c -- load and dump: JSONL and TSV in and out, `-` for pipes, progress with rate and time left.
 *
 * What a line looks like: cli/entry_text.h. A bad line ends the load with its number; what was loaded before stays, in
 * whole batches. */
#include "cli/cli.h"

#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { BATCH_ENTRIES = 1000, BATCH_BYTES = 1 << 20 };

static struct {
    char *format;
    int sync;
} loading;

static struct poptOption load_options[] = {
    { "format", 'f', POPT_ARG_STRING, &loading.format, 0,
      "jsonl or tsv (else by the file's ending, jsonl for -)", "FORMAT" },
    { "sync", 0, POPT_ARG_NONE, &loading.sync, 0, "make everything durable before ending", NULL },
    POPT_TABLEEND,
};

static bool ends_with(const char *text, const char *end)
{
    size_t n = strlen(text), m = strlen(end);
    return n >= m && strcmp(text + n - m, end) == 0;
}

/* 0 after a usage error. */
static line_format format_of(const char *file)
{
    if (loading.format != NULL) {
        if (strcmp(loading.format, "jsonl") == 0)
            return LINES_JSONL;
        if (strcmp(loading.format, "tsv") == 0)
            return LINES_TSV;
        (void)cli_usage_error("unknown format \"%s\": jsonl or tsv", loading.format);
        return 0;
    }
    return ends_with(file, ".tsv") ? LINES_TSV : LINES_JSONL;
}

/* ---- progress ---- */

typedef struct progress {
    bool terminal;
    double begin, shown;
    uint64_t entries, bytes, bytes_total; /* total 0: not known */
} progress;

static double now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

static void show_progress(progress *p, bool last)
{
    double time = now(), elapsed = time - p->begin;
    double every = p->terminal ? 0.25 : 10;
    if (last ? elapsed < 1 : elapsed < 1 || time - p->shown < every)
        return;
    p->shown = time;
    fprintf(stderr, "%s%llu entries, %.1f MB, %.0f entries/s", p->terminal ? "\r\033[K" : "",
            (unsigned long long)p->entries, (double)p->bytes / 1e6, (double)p->entries / elapsed);
    if (!last && p->bytes_total > p->bytes && p->bytes > 0)
        fprintf(stderr, ", %.0f%%, %.0f s left", 100.0 * (double)p->bytes / (double)p->bytes_total,
                elapsed * (double)(p->bytes_total - p->bytes) / (double)p->bytes);
    if (last || !p->terminal)
        fputc('\n', stderr);
}

static progress begin_progress(FILE *file)
{
    struct stat status;
    progress p = { .terminal = isatty(STDERR_FILENO), .begin = now() };
    if (file != NULL && fstat(fileno(file), &status) == 0 && S_ISREG(status.st_mode))
        p.bytes_total = (uint64_t)status.st_size;
    p.shown = p.begin;
    return p;
}

/* ---- load ---- */

static bole_status load_lines(invocation *cli, FILE *file, const char *name, line_format format,
                              bole_batch *batch)
{
    progress p = begin_progress(file);
    bole_buffer key = BOLE_BUFFER_INIT, value = BOLE_BUFFER_INIT;
    bole_write_options options = BOLE_WRITE_OPTIONS_INIT;
    options.error = &cli->error;
    char *line = NULL;
    size_t capacity = 0;
    ssize_t size;
    uint64_t number = 0;
    bole_status status = BOLE_OK;
    while (status == BOLE_OK && !cli_interrupted && (size = getline(&line, &capacity, file)) >= 0) {
        if (ferror(file)) /* what is here then is half a line */
            break;
        number++;
        p.bytes += (uint64_t)size;
        if (size > 0 && line[size - 1] == '\n')
            size--;
        if (size == 0)
            continue;
        status = cli_read_line(line, (size_t)size, format, &key, &value, &cli->error);
        if (status == BOLE_OK)
            status = bole_batch_put(batch, cli->table, BOLE_SLICE(key.data, key.size),
                                    BOLE_SLICE(value.data, value.size));
        if (status != BOLE_OK) {
            char story[512];
            if (status == BOLE_TOO_LARGE)
                snprintf(story, sizeof(story), "key of %zu bytes, value of %zu; the most is %u and %u",
                         key.size, value.size, BOLE_KEY_BYTES_MAX, BOLE_VALUE_BYTES_MAX);
            else
                snprintf(story, sizeof(story), "%.500s",
                         cli->error.message[0] != 0 ? cli->error.message : bole_status_text(status));
            snprintf(cli->error.message, sizeof(cli->error.message), "%.200s line %llu: %s", name,
                     (unsigned long long)number, story);
            break;
        }
        p.entries++;
        if (bole_batch_count(batch) >= BATCH_ENTRIES || bole_batch_bytes(batch) >= BATCH_BYTES) {
            status = bole_write(cli->db, &options, batch);
            bole_batch_clear(batch);
            show_progress(&p, false);
        }
    }
    int failure = ferror(file) ? errno : 0;
    if (bole_batch_count(batch) > 0 && (status == BOLE_OK || status == BOLE_INVALID)) {
        bole_status last = bole_write(cli->db, &options, batch);
        status = status == BOLE_OK ? last : status;
    }
    if (status == BOLE_OK && failure != 0) {
        snprintf(cli->error.message, sizeof(cli->error.message), "%s: %s", name, strerror(failure));
        status = BOLE_IO;
    }
    show_progress(&p, true);
    if (status == BOLE_OK && !cli_interrupted)
        fprintf(stderr, "loaded %llu entries\n", (unsigned long long)p.entries);
    free(line);
    bole_buffer_free(&key);
    bole_buffer_free(&value);
    return status == BOLE_OK && cli_interrupted ? BOLE_CANCELLED : status;
}

static int run_load(invocation *cli)
{
    const char *name = cli->argument_count > 0 ? cli->arguments[0] : "-";
    line_format format = format_of(name);
    if (format == 0)
        return EXIT_USAGE;
    bool pipe = strcmp(name, "-") == 0;
    FILE *file = pipe ? stdin : fopen(name, "r");
    if (file == NULL) {
        snprintf(cli->error.message, sizeof(cli->error.message), "%s: %s", name, strerror(errno));
        return cli_fail(cli, BOLE_IO);
    }
    int code = cli_open(cli, BOLE_CREATE);
    bole_batch *batch = NULL;
    if (code == EXIT_OK) {
        bole_status status = bole_batch_create(&batch);
        if (status == BOLE_OK)
            status = load_lines(cli, file, pipe ? "standard input" : name, format, batch);
        if (status == BOLE_OK && loading.sync)
            status = bole_sync(cli->db, &cli->error);
        if (status != BOLE_OK)
            code = cli_fail(cli, status);
        bole_batch_destroy(batch);
        code = cli_close(cli, code);
    }
    if (!pipe)
        fclose(file);
    return code;
}

/* ---- dump ---- */

static bole_status dump_entries(invocation *cli, FILE *out, line_format format)
{
    bole_read_options options = BOLE_READ_OPTIONS_INIT;
    options.table = cli->table;
    options.error = &cli->error;
    bole_iterator *iterator;
    bole_status status = bole_iterator_create(cli->db, &options, &iterator);
    if (status != BOLE_OK)
        return status;
    progress p = begin_progress(NULL);
    p.terminal = p.terminal && !isatty(fileno(out));
    for (bool on = bole_iterator_seek_first(iterator); on && !cli_interrupted;
         on = bole_iterator_next(iterator)) {
        bole_slice key = bole_iterator_key(iterator), value = bole_iterator_value(iterator);
        if (!cli_print_line(out, key, value, format)) {
            snprintf(cli->error.message, sizeof(cli->error.message), "writing the dump: %s", strerror(errno));
            status = BOLE_IO;
            break;
        }
        p.bytes += key.size + value.size;
        if (++p.entries % 4096 == 0)
            show_progress(&p, false);
    }
    show_progress(&p, true);
    if (status == BOLE_OK)
        status = cli_interrupted ? BOLE_CANCELLED : bole_iterator_status(iterator);
    bole_iterator_destroy(iterator);
    return status;
}

static int run_dump(invocation *cli)
{
    const char *name = cli->argument_count > 0 ? cli->arguments[0] : "-";
    line_format format = format_of(name);
    if (format == 0)
        return EXIT_USAGE;
    bool pipe = strcmp(name, "-") == 0;
    int code = cli_open(cli, BOLE_READ_ONLY);
    if (code != EXIT_OK)
        return code;
    FILE *out = pipe ? stdout : fopen(name, "w");
    bole_status status = BOLE_OK;
    if (out == NULL) {
        snprintf(cli->error.message, sizeof(cli->error.message), "%s: %s", name, strerror(errno));
        status = BOLE_IO;
    } else {
        status = dump_entries(cli, out, format);
        bool failed = ferror(out) != 0; /* in the middle, with more behind it */
        if (!pipe && (fclose(out) != 0 || failed) && status == BOLE_OK) {
            snprintf(cli->error.message, sizeof(cli->error.message), "%s: %s", name, strerror(errno));
            status = BOLE_IO;
        }
    }
    if (status != BOLE_OK)
        code = cli_fail(cli, status);
    return cli_close(cli, code);
}

const cli_command cli_load = {
    "load",
    "[FILE]",
    "load entries from JSONL or TSV; - is standard input",
    "bole load my.bole data.jsonl\nprintf 'k\\tv\\n' | bole load my.bole - --format tsv",
    0,
    1,
    load_options,
    run_load,
};
const cli_command cli_dump = {
    "dump",
    "[FILE]",
    "write all entries as JSONL or TSV; - is standard output",
    "bole dump my.bole > all.jsonl\nbole dump my.bole all.tsv",
    0,
    1,
    load_options,
    run_dump,
};
