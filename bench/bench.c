/* SPDX-License-Identifier: MIT */
/* bench.c -- bole beside the engines that are installed: options, rounds, medians, the table.
 *
 * Each engine and round is a process of its own with a fresh directory; rounds are interleaved and the order of engines
 * turns from round to round, so that a noisy minute of the machine falls on all. What a child measured comes back
 * through a pipe. The table shows medians, their spread in JSON, and ratios of bole to the best peer and to RocksDB.
 * THREADS  One. */
#include "bench.h"

#include <errno.h>
#include <jansson.h>
#include <popt.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static const bench_engine *const engines[] = {
    &bench_bole,
#ifdef BENCH_ROCKSDB
    &bench_rocksdb,
#endif
#ifdef BENCH_LEVELDB
    &bench_leveldb,
#endif
#ifdef BENCH_LMDB
    &bench_lmdb,
#endif
#ifdef BENCH_WIREDTIGER
    &bench_wiredtiger,
#endif
    &bench_null,
};
enum { ENGINES = sizeof engines / sizeof engines[0], ROWS_MAX = 64, ROUNDS_MAX = 15 };

/* What each row shall reach: ratio to the best peer, ratio to RocksDB (0: none). */
static const struct target {
    const char *row;
    double best, rocksdb;
} targets[] = {
    { "fillseq", 2, 5 },         { "fillbatch", 2, 0 },        { "fillrandom2", 2, 0 },
    { "fillsync1", 1, 0 },       { "fillsync8", 1.5, 0 },      { "fillrandom", 3, 6 },
    { "overwrite", 3, 6 },       { "compact", 0, 4 },          { "readrandom_loaded", 1.5, 4 },
    { "readrandom", 1.5, 4 },    { "readhot", 1.5, 4 },        { "readmissing", 2, 0 },
    { "readseq", 1.5, 5 },       { "readreverse", 1.5, 5 },    { "seekrandom10", 1.3, 4 },
    { "seekrandom100", 1.3, 4 }, { "readwhilewriting", 2, 0 }, { "ycsb_a", 1.5, 0 },
    { "ycsb_b", 1.5, 0 },        { "ycsb_c", 1.5, 0 },         { "ycsb_d", 1.5, 0 },
    { "ycsb_e", 1.5, 0 },        { "ycsb_f", 1.5, 0 },         { "fill4k", 1.2, 0 },
    { "read4k", 1.2, 0 },        { "fill64k", 1.2, 0 },        { "read64k", 1.2, 0 },
};

typedef struct cell { /* of one row and engine, over the rounds */
    uint32_t count;
    bench_result results[ROUNDS_MAX];
} cell;

static char row_names[ROWS_MAX][32];
static uint32_t row_count;
static cell cells[ROWS_MAX][ENGINES];
static volatile sig_atomic_t interrupted;
static char *work; /* the directory that this run made, and removes */

static void on_signal(int number) { interrupted = number; }

/* ---- Options ---- */

static struct {
    char *engines, *rows, *keyset, *directory, *json;
    long entries, reads, rounds, value_bytes, memory_mib;
    int lz4, full, list;
} given;

static const struct poptOption options[] = {
    { "engines", 'e', POPT_ARG_STRING, &given.engines, 0, "these alone, separated by commas", "NAMES" },
    { "rows", 'r', POPT_ARG_STRING, &given.rows, 0, "these alone, separated by commas", "NAMES" },
    { "entries", 'n', POPT_ARG_LONG, &given.entries, 0, "entries of the main store (1000000)", "COUNT" },
    { "reads", 0, POPT_ARG_LONG, &given.reads, 0, "operations of a row that reads (1000000)", "COUNT" },
    { "rounds", 'k', POPT_ARG_LONG, &given.rounds, 0, "rounds; the median counts (1; with --full 3)",
      "COUNT" },
    { "value-bytes", 0, POPT_ARG_LONG, &given.value_bytes, 0, "bytes of a value (100)", "BYTES" },
    { "memory", 'm', POPT_ARG_LONG, &given.memory_mib, 0, "each engine's budget (1024)", "MIB" },
    { "keyset", 0, POPT_ARG_STRING, &given.keyset, 0, "binary, decimal or paths (binary)", "NAME" },
    { "lz4", 0, POPT_ARG_NONE, &given.lz4, 0, "compress the last level; engines that cannot are left out",
      NULL },
    { "directory", 'd', POPT_ARG_STRING, &given.directory, 0, "where stores are made (build/bench)", "PATH" },
    { "json", 'j', POPT_ARG_STRING, &given.json, 0, "write everything measured there", "FILE" },
    { "full", 0, POPT_ARG_NONE, &given.full, 0, "10000000 entries, 3 rounds", NULL },
    { "list", 'l', POPT_ARG_NONE, &given.list, 0, "name engines and rows", NULL },
    POPT_AUTOHELP POPT_TABLEEND,
};

static bool names_are_known(const char *list, const char *what, bool (*known)(const char *))
{
    char *copy = list == NULL ? NULL : strdup(list), *rest = NULL;
    bool good = true;
    for (char *name = copy == NULL ? NULL : strtok_r(copy, ",", &rest); name != NULL && good;
         name = strtok_r(NULL, ",", &rest)) {
        good = known(name);
        if (!good)
            fprintf(stderr, "bench: there is no %s \"%s\"; --list names them\n", what, name);
    }
    free(copy);
    return good;
}

static bool engine_is_known(const char *name)
{
    for (int i = 0; i < ENGINES; i++)
        if (strcmp(engines[i]->name, name) == 0)
            return true;
    return false;
}

static bool take_options(bench_plan *plan)
{
    if (given.entries == 0)
        given.entries = given.full ? 10000000 : 1000000;
    if (given.reads == 0)
        given.reads = given.full ? 4000000 : 1000000;
    if (given.rounds == 0)
        given.rounds = given.full ? 3 : 1;
    if (given.value_bytes == 0)
        given.value_bytes = 100;
    if (given.memory_mib == 0)
        given.memory_mib = given.full ? 4096 : 1024;
    if (given.entries < 10000 || given.reads < 10000 || given.rounds < 1 || given.rounds > ROUNDS_MAX ||
        given.value_bytes < 16 || given.value_bytes > 65536 || given.memory_mib < 64) {
        fprintf(
            stderr,
            "bench: at least 10000 entries and reads, 1 to %d rounds, values of 16 to 65536 bytes, 64 MiB\n",
            ROUNDS_MAX);
        return false;
    }
    static const char *const keysets[] = { "binary", "decimal", "paths" };
    plan->keyset = BENCH_BINARY;
    for (unsigned i = 0; given.keyset != NULL; i++) {
        if (i == 3) {
            fprintf(stderr, "bench: there is no key set \"%s\": binary, decimal, paths\n", given.keyset);
            return false;
        }
        plan->keyset = (bench_keyset)i;
        if (strcmp(given.keyset, keysets[i]) == 0)
            break;
    }
    plan->entries = (uint64_t)given.entries;
    plan->reads = (uint64_t)given.reads;
    plan->value_bytes = (size_t)given.value_bytes;
    plan->rows = given.rows;
    plan->settings = (bench_settings){
        .memory_bytes = (uint64_t)given.memory_mib << 20,
        .data_bytes = plan->entries * (plan->value_bytes + 64),
        .filter_bits = 10,
        .lz4 = given.lz4,
    };
    return names_are_known(given.rows, "row", bench_row_is_known) &&
           names_are_known(given.engines, "engine", engine_is_known) &&
           (plan->keyset != BENCH_PATHS || bench_keys_load());
}

static bool takes_part(const bench_engine *engine)
{
    if (given.engines != NULL)
        return bench_is_listed(given.engines, engine->name);
    return !given.lz4 || engine->compresses;
}

/* ---- One engine, one round ---- */

static void send_result(void *context, const bench_result *result)
{
    int pipe_end = *(int *)context;
    if (write(pipe_end, result, sizeof *result) != (ssize_t)sizeof *result)
        _exit(3);
}

static void keep_result(int engine, const bench_result *result)
{
    uint32_t row = 0;
    while (row < row_count && strcmp(row_names[row], result->row) != 0)
        row++;
    if (row == ROWS_MAX)
        return;
    if (row == row_count)
        snprintf(row_names[row_count++], sizeof row_names[0], "%s", result->row);
    cell *to = &cells[row][engine];
    if (to->count < ROUNDS_MAX)
        to->results[to->count++] = *result;
    fprintf(stderr, "  %-11s %-20s %12.0f /s\n", engines[engine]->name, result->row,
            result->operations_per_second);
}

static void remove_work(const char *path)
{
    char command[1200];
    snprintf(command, sizeof command, "rm -rf '%s'", path);
    if (system(command) != 0)
        fprintf(stderr, "bench: %s could not be removed\n", path);
}

/* A virtual machine may have given free memory back to its host; the first touch of such a page then costs the host's
 * page fault (measured: 0.5 GB/s against 24 GB/s). Which engine meets it would be chance, so that each begins with as
 * much memory that is really there. */
static void touch_memory(uint64_t budget)
{
    uint64_t bytes = budget * 6 < UINT64_C(12) << 30 ? budget * 6 : UINT64_C(12) << 30;
    uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE), free_bytes = (uint64_t)sysconf(_SC_AVPHYS_PAGES) * page;
    bytes = bytes < free_bytes / 2 ? bytes : free_bytes / 2;
    char *memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED)
        return;
    madvise(memory, bytes, MADV_HUGEPAGE);
    for (uint64_t at = 0; at < bytes; at += page)
        ((volatile char *)memory)[at] = 1;
    munmap(memory, bytes);
}

static bool run_one(const bench_plan *plan, int engine, int round)
{
    char path[1024];
    int ends[2];
    snprintf(path, sizeof path, "%s/%s-%d", work, engines[engine]->name, round);
    if (mkdir(path, 0700) != 0 || pipe(ends) != 0) {
        fprintf(stderr, "bench: %s: %s\n", path, strerror(errno));
        return false;
    }
    fflush(NULL);
    pid_t child = fork();
    if (child == 0) {
        bench_plan own = *plan;
        own.engine = engines[engine];
        own.path = path;
        close(ends[0]);
        touch_memory(plan->settings.memory_bytes);
        _exit(bench_run(&own, send_result, &ends[1]) ? 0 : 1);
    }
    close(ends[1]);
    bench_result result;
    for (ssize_t got; child > 0 && !interrupted;) {
        got = read(ends[0], &result, sizeof result);
        if (got == (ssize_t)sizeof result)
            keep_result(engine, &result);
        else if (got == 0 || errno != EINTR)
            break;
    }
    close(ends[0]);
    int status = 0;
    if (child > 0 && interrupted)
        kill(child, SIGKILL);
    bool good = child > 0 && waitpid(child, &status, 0) == child && WIFEXITED(status) &&
                WEXITSTATUS(status) == 0;
    if (!good && !interrupted)
        fprintf(stderr, "bench: %s ended early in round %d\n", engines[engine]->name, round + 1);
    remove_work(path);
    return good;
}

/* ---- Medians ---- */

static int compare_doubles(const void *a, const void *b)
{
    double left = *(const double *)a, right = *(const double *)b;
    return left < right ? -1 : left > right;
}

typedef double figure_of(const bench_result *);
static double rate(const bench_result *r)
{
    return r->sustained_per_second > 0 ? r->sustained_per_second : r->operations_per_second;
}
static double burst(const bench_result *r) { return r->operations_per_second; }
static double p50(const bench_result *r) { return r->p50_us; }
static double p99(const bench_result *r) { return r->p99_us; }
static double p999(const bench_result *r) { return r->p999_us; }
static double most(const bench_result *r) { return r->max_us; }
static double cpu(const bench_result *r) { return r->cpu_seconds; }
static double resident(const bench_result *r) { return (double)r->resident_bytes / 1048576; }
static double write_amplification(const bench_result *r)
{
    return r->user_bytes == 0 ? 0 : (double)r->written_bytes / (double)r->user_bytes;
}
static double space_amplification(const bench_result *r)
{
    return r->user_bytes == 0 ? 0 : (double)r->store_bytes / (double)r->user_bytes;
}
static double device(const bench_result *r) { return (double)r->device_flushes; }

static double median(const cell *of, figure_of *figure)
{
    double values[ROUNDS_MAX];
    if (of->count == 0)
        return 0;
    for (uint32_t i = 0; i < of->count; i++)
        values[i] = figure(&of->results[i]);
    qsort(values, of->count, sizeof values[0], compare_doubles);
    return of->count % 2 == 1 ? values[of->count / 2]
                              : (values[of->count / 2 - 1] + values[of->count / 2]) / 2;
}

/* ---- Output ---- */

static const struct target *target_of(const char *row)
{
    for (size_t i = 0; i < sizeof targets / sizeof targets[0]; i++)
        if (strcmp(targets[i].row, row) == 0)
            return &targets[i];
    return NULL;
}

static void print_ratio(const char *row, double own, double best, double rocksdb)
{
    const struct target *target = target_of(row);
    char text[32] = "-";
    if (best > 0 && own > 0)
        snprintf(text, sizeof text, "%.2fx", own / best);
    printf(" %9s", text);
    snprintf(text, sizeof text, "-");
    if (rocksdb > 0 && own > 0)
        snprintf(text, sizeof text, "%.2fx", own / rocksdb);
    printf(" %9s", text);
    if (target == NULL || own == 0 || best == 0) {
        printf("\n");
        return;
    }
    bool reached = (target->best == 0 || own >= target->best * best) &&
                   (target->rocksdb == 0 || rocksdb == 0 || own >= target->rocksdb * rocksdb);
    if (target->best > 0)
        printf("   %.1fx best", target->best);
    if (target->rocksdb > 0)
        printf("%s%.0fx rocksdb", target->best > 0 ? ", " : "   ", target->rocksdb);
    printf(": %s\n", reached ? "reached" : "not reached");
}

/* In brackets: entries and scans a second. LMDB's compact does nothing, so it is no peer there. */
static void print_rates(void)
{
    printf("\noperations a second (sustained where the engine works behind the calls)\n%-20s", "row");
    for (int e = 0; e < ENGINES; e++)
        if (takes_part(engines[e]))
            printf(" %11s", engines[e]->name);
    printf(" %9s %9s   target\n", "/ best", "/ rocksdb");
    for (uint32_t row = 0; row < row_count; row++) {
        double own = median(&cells[row][0], rate), best = 0, rocksdb = 0;
        printf("%-20s", row_names[row]);
        for (int e = 0; e < ENGINES; e++) {
            if (!takes_part(engines[e]))
                continue;
            double value = median(&cells[row][e], rate);
            bool peer = engines[e] != &bench_null && e != 0 &&
                        !(strcmp(engines[e]->name, "lmdb") == 0 && strcmp(row_names[row], "compact") == 0);
            printf(" %11.0f", value);
            if (peer && value > best)
                best = value;
            if (strcmp(engines[e]->name, "rocksdb") == 0)
                rocksdb = value;
        }
        print_ratio(row_names[row], own, best, rocksdb);
    }
}

static void print_figures(const char *title, int digits, figure_of *figure)
{
    printf("\n%s\n%-20s", title, "row");
    for (int e = 0; e < ENGINES; e++)
        if (takes_part(engines[e]))
            printf(" %11s", engines[e]->name);
    printf("\n");
    for (uint32_t row = 0; row < row_count; row++) {
        double sum = 0;
        for (int e = 0; e < ENGINES; e++)
            sum += median(&cells[row][e], figure);
        if (sum == 0)
            continue;
        printf("%-20s", row_names[row]);
        for (int e = 0; e < ENGINES; e++)
            if (takes_part(engines[e]))
                printf(" %11.*f", digits, median(&cells[row][e], figure));
        printf("\n");
    }
}

static const struct figure {
    const char *name;
    figure_of *of;
} figures[] = {
    { "sustained_per_second", rate },
    { "burst_per_second", burst },
    { "p50_us", p50 },
    { "p99_us", p99 },
    { "p999_us", p999 },
    { "max_us", most },
    { "cpu_seconds", cpu },
    { "resident_mib", resident },
    { "write_amplification", write_amplification },
    { "space_amplification", space_amplification },
    { "device_flushes", device },
};

static json_t *cell_json(const cell *of)
{
    json_t *object = json_object();
    for (size_t f = 0; f < sizeof figures / sizeof figures[0]; f++) {
        json_t *rounds = json_array();
        for (uint32_t i = 0; i < of->count; i++)
            json_array_append_new(rounds, json_real(figures[f].of(&of->results[i])));
        json_object_set_new(object, figures[f].name,
                            json_pack("{s:f, s:o}", "median", median(of, figures[f].of), "rounds", rounds));
    }
    return object;
}

static bool write_json(const bench_plan *plan)
{
    char date[32];
    time_t now = time(NULL);
    struct utsname machine;
    uname(&machine);
    strftime(date, sizeof date, "%Y-%m-%d", gmtime(&now));
    json_t *root = json_pack("{s:s, s:s, s:i, s:I, s:I, s:I, s:I, s:s, s:b}", "date", date, "kernel",
                             machine.release, "processors", (int)sysconf(_SC_NPROCESSORS_ONLN), "entries",
                             (json_int_t)plan->entries, "reads", (json_int_t)plan->reads, "value_bytes",
                             (json_int_t)plan->value_bytes, "memory_bytes",
                             (json_int_t)plan->settings.memory_bytes, "keyset",
                             given.keyset == NULL ? "binary" : given.keyset, "lz4", plan->settings.lz4);
    json_t *versions = json_object(), *table = json_object(), *wanted = json_object();
    for (int e = 0; e < ENGINES; e++)
        if (takes_part(engines[e]))
            json_object_set_new(versions, engines[e]->name, json_string(engines[e]->version()));
    for (uint32_t row = 0; row < row_count; row++) {
        json_t *columns = json_object();
        for (int e = 0; e < ENGINES; e++)
            if (cells[row][e].count != 0)
                json_object_set_new(columns, engines[e]->name, cell_json(&cells[row][e]));
        json_object_set_new(table, row_names[row], columns);
        const struct target *target = target_of(row_names[row]);
        if (target != NULL)
            json_object_set_new(wanted, row_names[row],
                                json_pack("{s:f, s:f}", "best", target->best, "rocksdb", target->rocksdb));
    }
    json_object_set_new(root, "versions", versions);
    json_object_set_new(root, "rows", table);
    json_object_set_new(root, "targets", wanted);
    bool good = json_dump_file(root, given.json, JSON_INDENT(1)) == 0;
    if (!good)
        fprintf(stderr, "bench: %s could not be written\n", given.json);
    json_decref(root);
    return good;
}

static void print_tables(void)
{
    print_rates();
    print_figures("p99.9, microseconds", 1, p999);
    print_figures("longest, microseconds", 0, most);
    print_figures("bytes to the device / bytes given", 2, write_amplification);
    print_figures("bytes on disk / bytes given", 2, space_amplification);
    print_figures("processor seconds", 2, cpu);
    print_figures("resident MiB", 0, resident);
    print_figures("device flushes", 0, device);
}

static bool make_work(void)
{
    const char *parent = given.directory != NULL ? given.directory : "build/bench";
    if (mkdir(parent, 0700) != 0 && errno != EEXIST) {
        fprintf(stderr, "bench: %s: %s\n", parent, strerror(errno));
        return false;
    }
    if (asprintf(&work, "%s/run-XXXXXX", parent) < 0 || mkdtemp(work) == NULL) {
        fprintf(stderr, "bench: nothing can be made in %s: %s\n", parent, strerror(errno));
        return false;
    }
    return true;
}

int main(int argc, const char **argv)
{
    bench_plan plan = { 0 };
    poptContext context = poptGetContext("bole_bench", argc, argv, options, 0);
    int next = poptGetNextOpt(context);
    if (next < -1 || poptPeekArg(context) != NULL) {
        fprintf(stderr, "bench: %s: %s\n", next < -1 ? poptBadOption(context, 0) : poptPeekArg(context),
                next < -1 ? poptStrerror(next) : "not an option; --help lists them");
        return 2;
    }
    poptFreeContext(context);
    if (given.list) {
        printf("engines:\n");
        for (int e = 0; e < ENGINES; e++)
            printf("  %-11s %s\n", engines[e]->name, engines[e]->version());
        printf("rows:\n");
        bench_list_rows(stdout);
        return 0;
    }
    if (!take_options(&plan))
        return 2;
    if (!make_work())
        return 1;
    struct sigaction action = { .sa_handler = on_signal };
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
    bool good = true;
    for (int round = 0; round < (int)given.rounds && !interrupted; round++)
        for (int i = 0; i < ENGINES && !interrupted; i++) {
            int engine = (i + round) % ENGINES;
            if (takes_part(engines[engine]))
                good = run_one(&plan, engine, round) && good;
        }
    remove_work(work);
    free(work);
    if (interrupted)
        return 130;
    print_tables();
    if (given.json != NULL)
        good = write_json(&plan) && good;
    return good ? 0 : 1;
}
