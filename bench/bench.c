/* SPDX-License-Identifier: MIT */
/* bench.c -- bole beside the engines that are installed: options, rounds, and what was measured as JSON.
 *
 * Each engine and round is a process of its own with a fresh directory; rounds are interleaved and the order of engines
 * turns from round to round, so that a noisy minute of the machine falls on all. What a child measured comes back
 * through a pipe. Rows under a memory limit run in further children, after the engine's others, in a control group of
 * their own. What is made is made in one new directory, and removed however the run ends; JSON is written beside its
 * place and takes it at the end.
 * THREADS  One. */
#include "bench.h"
#include "measure.h"

#include <errno.h>
#include <jansson.h>
#include <poll.h>
#include <popt.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static const struct {
    const char *name;
    const bench_engine *engine; /* NULL: its package was not found when this was built */
} engines[] = {
    { "bole", &bench_bole },
#ifdef BENCH_ROCKSDB
    { "rocksdb", &bench_rocksdb },
#else
    { "rocksdb", NULL },
#endif
#ifdef BENCH_LEVELDB
    { "leveldb", &bench_leveldb },
#else
    { "leveldb", NULL },
#endif
#ifdef BENCH_LMDB
    { "lmdb", &bench_lmdb },
#else
    { "lmdb", NULL },
#endif
#ifdef BENCH_WIREDTIGER
    { "wiredtiger", &bench_wiredtiger },
#else
    { "wiredtiger", NULL },
#endif
    { "null", &bench_null },
};
enum { ENGINES = sizeof engines / sizeof engines[0], ROUNDS_MAX = 15 };
enum { EXIT_USAGE = 2, LIMIT_LEAST_MIB = 32, LIMITED_SECONDS = 5 };
/* Of a limit for all, in percent: an engine's own budget. The rest is for the process and the page cache. RocksDB was
 * fastest with it (30, 60 and 85 were tried); LevelDB and LMDB read through maps and use the page cache; bole's share
 * is its own (engine_bole.c). */
enum { LIMIT_BUDGET = 60 };

static volatile sig_atomic_t interrupted;
static char *work;                    /* the directory that this run made, and removes */
static bool parent_is_ours;           /* so it made the one above, too */
static char *json_part;               /* where the JSON is written first; NULL: standard output */
static json_t *table, *left_out;      /* row -> engine -> rounds; engine -> why */
static const char *why_left[ENGINES]; /* NULL: it takes part */

static void on_signal(int number) { interrupted = number; }

/* ---- Options ---- */

static struct {
    char *engines, *rows, *keyset, *directory, *json;
    long entries, reads, rounds, value_bytes, memory_mib, row_seconds, engine_seconds;
    int lz4, full, list;
} given;

static const struct poptOption options[] = {
    { "engines", 'e', POPT_ARG_STRING, &given.engines, 0, "these alone, separated by commas", "NAMES" },
    { "rows", 'r', POPT_ARG_STRING, &given.rows, 0, "these alone, separated by commas", "NAMES" },
    { "entries", 'n', POPT_ARG_LONG, &given.entries, 0,
      "entries of the main store (1000000; with --full 4000000); YCSB has a quarter as many rows of 1000 bytes, and "
      "ten times as many of 100",
      "COUNT" },
    { "reads", 0, POPT_ARG_LONG, &given.reads, 0,
      "operations of a row that reads (1000000; with --full 2000000); YCSB does a quarter", "COUNT" },
    { "rounds", 'k', POPT_ARG_LONG, &given.rounds, 0, "rounds (1; with --full 3)", "COUNT" },
    { "value-bytes", 0, POPT_ARG_LONG, &given.value_bytes, 0, "bytes of a value (100)", "BYTES" },
    { "memory", 'm', POPT_ARG_LONG, &given.memory_mib, 0, "each engine's budget (1024; with --full 4096)",
      "MIB" },
    { "keyset", 0, POPT_ARG_STRING, &given.keyset, 0, "binary, decimal or paths (binary)", "NAME" },
    { "lz4", 0, POPT_ARG_NONE, &given.lz4, 0, "compress the last level; engines that cannot are left out",
      NULL },
    { "row-seconds", 0, POPT_ARG_LONG, &given.row_seconds, 0,
      "a row that takes longer is cut off (30; with --full 90)", "SECONDS" },
    { "engine-seconds", 0, POPT_ARG_LONG, &given.engine_seconds, 0,
      "in a round no row of an engine begins after that (120; with --full 600)", "SECONDS" },
    { "directory", 'd', POPT_ARG_STRING, &given.directory, 0, "where stores are made (build/bench)", "PATH" },
    { "json", 'j', POPT_ARG_STRING, &given.json, 0, "write what was measured there (standard output)",
      "FILE" },
    { "full", 0, POPT_ARG_NONE, &given.full, 0, "more entries, reads and memory, 3 rounds", NULL },
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
        if (strcmp(engines[i].name, name) == 0)
            return true;
    return false;
}

static long or_else(long value, long otherwise) { return value == 0 ? otherwise : value; }

static bool take_keyset(bench_plan *plan)
{
    static const char *const keysets[] = { "binary", "decimal", "paths" };
    if (given.keyset == NULL)
        given.keyset = (char *)(uintptr_t)keysets[0];
    for (unsigned i = 0; i < sizeof keysets / sizeof keysets[0]; i++) {
        plan->keyset = (bench_keyset)i;
        if (strcmp(given.keyset, keysets[i]) == 0)
            return plan->keyset != BENCH_PATHS || bench_keys_load();
    }
    fprintf(stderr, "bench: there is no key set \"%s\": binary, decimal, paths\n", given.keyset);
    return false;
}

static bool take_options(bench_plan *plan)
{
    given.entries = or_else(given.entries, given.full ? 4000000 : 1000000);
    given.reads = or_else(given.reads, given.full ? 2000000 : 1000000);
    given.rounds = or_else(given.rounds, given.full ? 3 : 1);
    given.value_bytes = or_else(given.value_bytes, 100);
    given.memory_mib = or_else(given.memory_mib, given.full ? 4096 : 1024);
    given.row_seconds = or_else(given.row_seconds, given.full ? 90 : 30);
    given.engine_seconds = or_else(given.engine_seconds, given.full ? 600 : 120);
    if (given.entries < 10000 || given.reads < 10000 || given.rounds < 1 || given.rounds > ROUNDS_MAX ||
        given.value_bytes < 16 || given.value_bytes > 65536 || given.memory_mib < 64 ||
        given.row_seconds < 1 || given.engine_seconds < 1) {
        fprintf(
            stderr,
            "bench: at least 10000 entries and reads, 1 to %d rounds, values of 16 to 65536 bytes, 64 MiB, one "
            "second\n",
            ROUNDS_MAX);
        return false;
    }
    if (!take_keyset(plan))
        return false;
    plan->entries = (uint64_t)given.entries;
    plan->reads = (uint64_t)given.reads;
    plan->value_bytes = (size_t)given.value_bytes;
    plan->rows = given.rows;
    plan->row_seconds = (double)given.row_seconds;
    plan->seconds = (double)given.engine_seconds;
    plan->limited_seconds = LIMITED_SECONDS;
    plan->settings = (bench_settings){
        .memory_bytes = (uint64_t)given.memory_mib << 20,
        .filter_bits = 10,
        .lz4 = given.lz4,
    };
    return names_are_known(given.rows, "row", bench_row_is_known) &&
           names_are_known(given.engines, "engine", engine_is_known);
}

/* Who is wanted and cannot take part is named; false when nobody is left. */
static bool choose_engines(void)
{
    bool any = false;
    for (int i = 0; i < ENGINES; i++) {
        bool wanted = given.engines == NULL || bench_is_listed(given.engines, engines[i].name);
        why_left[i] = !wanted                     ? "not asked for"
                      : engines[i].engine == NULL ? "its package was not found when the benchmark was built"
                      : given.lz4 && !engines[i].engine->lz4 ? "it cannot compress with LZ4"
                                                             : NULL;
        if (wanted && why_left[i] != NULL) {
            fprintf(stderr, "bench: %s is left out: %s\n", engines[i].name, why_left[i]);
            json_object_set_new(left_out, engines[i].name, json_string(why_left[i]));
        }
        any = any || why_left[i] == NULL;
    }
    if (!any)
        fprintf(stderr, "bench: no engine is left\n");
    return any;
}

/* ---- What was measured ---- */

static const char *const kinds[] = { "begun", "measured", "cut off", "not run", "failed" };

static json_t *round_json(const bench_result *r)
{
    double user = (double)r->user_bytes;
    json_t *object = json_pack("{s:s}", "kind", kinds[r->kind]);
    if (r->note[0] != 0)
        json_object_set_new(object, "note", json_string(r->note));
    if (r->kind != BENCH_MEASURED && r->kind != BENCH_CUT)
        return object;
    const struct {
        const char *name;
        double value;
    } figures[] = {
        { "operations", (double)r->operations },
        { "per_second", r->per_second },
        { "burst_per_second", r->burst_per_second },
        { "sustained_per_second", r->sustained_per_second },
        { "p50_us", r->p50_us },
        { "p90_us", r->p90_us },
        { "p99_us", r->p99_us },
        { "p999_us", r->p999_us },
        { "p9999_us", r->p9999_us },
        { "max_us", r->max_us },
        { "cpu_seconds", r->cpu_seconds },
        { "resident_mib", (double)r->resident_bytes / 1048576 },
        { "read_mib", (double)r->read_bytes / 1048576 },
        { "written_mib", (double)r->written_bytes / 1048576 },
        { "write_amplification", user == 0 ? 0 : (double)r->written_bytes / user },
        { "space_amplification", user == 0 ? 0 : (double)r->store_bytes / user },
        { "device_flushes", (double)r->device_flushes },
    };
    for (size_t i = 0; i < sizeof figures / sizeof figures[0]; i++)
        json_object_set_new(object, figures[i].name, json_real(figures[i].value));
    return object;
}

static void keep_result(int engine, const bench_result *result)
{
    json_t *columns = json_object_get(table, result->row);
    if (columns == NULL)
        json_object_set_new(table, result->row, columns = json_object());
    json_t *rounds = json_object_get(columns, engines[engine].name);
    if (rounds == NULL)
        json_object_set_new(columns, engines[engine].name, rounds = json_array());
    json_array_append_new(rounds, round_json(result));
    if (result->kind == BENCH_MEASURED || result->kind == BENCH_CUT)
        fprintf(stderr, "  %-11s %-20s %12.0f /s%s\n", engines[engine].name, result->row, result->per_second,
                result->kind == BENCH_CUT ? "  (cut off)" : "");
    else
        fprintf(stderr, "  %-11s %-20s %12s    %s\n", engines[engine].name, result->row, kinds[result->kind],
                result->note);
}

static json_t *order_json(void)
{
    json_t *order = json_array();
    const char *name;
    for (unsigned i = 0; (name = bench_row_name(i)) != NULL; i++)
        json_array_append_new(order, json_string(name));
    return order;
}

static json_t *whole_json(const bench_plan *plan)
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
                             (json_int_t)plan->settings.memory_bytes, "keyset", given.keyset, "lz4",
                             plan->settings.lz4);
    json_t *versions = json_object();
    for (int e = 0; e < ENGINES; e++)
        if (why_left[e] == NULL)
            json_object_set_new(versions, engines[e].name, json_string(engines[e].engine->version()));
    json_object_set_new(root, "versions", versions);
    json_object_set_new(root, "order", order_json());
    json_object_set(root, "left_out", left_out);
    json_object_set(root, "rows", table);
    return root;
}

static bool write_json(const bench_plan *plan)
{
    json_t *root = whole_json(plan);
    bool good = json_part == NULL ? json_dumpf(root, stdout, JSON_INDENT(1)) == 0 && puts("") >= 0
                                  : json_dump_file(root, json_part, JSON_INDENT(1)) == 0 &&
                                        rename(json_part, given.json) == 0;
    if (!good)
        fprintf(stderr, "bench: %s could not be written: %s\n",
                given.json == NULL ? "the result" : given.json, strerror(errno));
    json_decref(root);
    return good;
}

/* ---- One engine, one round ---- */

static void send_result(void *context, const bench_result *result)
{
    int pipe_end = *(int *)context;
    if (write(pipe_end, result, sizeof *result) != (ssize_t)sizeof *result)
        _exit(3);
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

static _Noreturn void be_child(const bench_plan *plan, const bench_limit *limit, int pipe_end, pid_t parent)
{
    bool good = setpgid(0, 0) == 0 && prctl(PR_SET_PDEATHSIG, SIGKILL) == 0 && getppid() == parent;
    struct sigaction action = { .sa_handler = SIG_DFL };
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
    signal(SIGXFSZ, SIG_IGN); /* a limit of files is to be seen as a failed write */
    if (limit != NULL)
        good = good && bench_limit_join(limit);
    else if (plan->settings.memory_bytes > UINT64_C(64) << 20) /* the least budget is for trying things out */
        touch_memory(plan->settings.memory_bytes);
    _exit(good && bench_run(plan, send_result, &pipe_end) ? 0 : 1);
}

/* Take results until the child ends, is interrupted, or a call does not return. True: it ended by itself. */
static bool follow(int engine, const bench_plan *plan, int pipe_end, bench_result *last)
{
    /* filling the store of a row, warming up, the row, what it left to be done: each may take row_seconds */
    double patience = plan->row_seconds * 4 + 120, since = bench_seconds();
    while (!interrupted) {
        struct pollfd wait = { .fd = pipe_end, .events = POLLIN };
        int ready = poll(&wait, 1, 1000);
        if (ready > 0) {
            bench_result result;
            if (read(pipe_end, &result, sizeof result) != (ssize_t)sizeof result)
                return true;
            *last = result;
            since = bench_seconds();
            if (result.kind != BENCH_BEGUN)
                keep_result(engine, &result);
        } else if (ready == 0 && bench_seconds() - since > patience) {
            snprintf(last->note, sizeof last->note, "ended after %.0f s in which it did not return",
                     patience);
            return false;
        }
    }
    return false;
}

static void say_end(int engine, int status, bench_result *last)
{
    if (last->note[0] == 0 && WIFSIGNALED(status))
        snprintf(last->note, sizeof last->note, "the process ended by signal %d (%s)", WTERMSIG(status),
                 strsignal(WTERMSIG(status)));
    else if (last->note[0] == 0)
        snprintf(last->note, sizeof last->note, "failed");
    fprintf(stderr, "bench: %s: %s: %s\n", engines[engine].name, last->row[0] == 0 ? "begin" : last->row,
            last->note);
    if (last->row[0] == 0 || last->kind == BENCH_FAILED)
        return;
    last->kind = BENCH_FAILED;
    keep_result(engine, last);
}

/* Run the plan in a child, under `limit` when there is one. */
static bool run_child(const bench_plan *plan, int engine, const bench_limit *limit)
{
    int ends[2], status = 0;
    if (pipe(ends) != 0) {
        fprintf(stderr, "bench: no pipe: %s\n", strerror(errno));
        return false;
    }
    fflush(NULL);
    pid_t parent = getpid(), child = fork();
    if (child == 0) {
        close(ends[0]);
        be_child(plan, limit, ends[1], parent);
    }
    close(ends[1]);
    bench_result last = { .kind = BENCH_BEGUN };
    bool good = child > 0 && follow(engine, plan, ends[0], &last);
    close(ends[0]);
    if (child > 0 && !good) {
        kill(-child, SIGKILL); /* with the child that a row may have */
        kill(child, SIGKILL);
    }
    while (child > 0 && waitpid(child, &status, 0) != child && errno == EINTR)
        ;
    good = good && WIFEXITED(status) && WEXITSTATUS(status) == 0;
    if (!good && !interrupted)
        say_end(engine, status, &last);
    return good;
}

static void skip_limited(int engine, const char *row, const char *why)
{
    bench_result result = { .kind = BENCH_NOT_RUN };
    snprintf(result.row, sizeof result.row, "%s", row);
    snprintf(result.note, sizeof result.note, "%s", why);
    keep_result(engine, &result);
}

/* A row whose store is four times as large as all the memory that the engine and its page cache may have. */
static bool run_limited(bench_plan plan, int engine, const char *row)
{
    bench_limit limit;
    char why[128];
    uint64_t bytes = bench_limit_bytes(&plan, row);
    plan.limited = row;
    plan.settings.limit_bytes = bytes;
    plan.settings.memory_bytes = bytes / 100 * LIMIT_BUDGET;
    if (bytes < (uint64_t)LIMIT_LEAST_MIB << 20) {
        snprintf(why, sizeof why, "a quarter of its store is %llu MiB, %d are the least: more --entries",
                 (unsigned long long)bytes >> 20, LIMIT_LEAST_MIB);
        skip_limited(engine, row, why);
        return true;
    }
    if (!bench_limit_make(bytes, &limit, why)) {
        skip_limited(engine, row, why);
        return true;
    }
    double stayed = bench_leave_page_cache(plan.path);
    if (stayed > 0.05)
        fprintf(stderr, "bench: %s: %s: %.0f %% of its store stayed in the page cache\n",
                engines[engine].name, row, stayed * 100);
    bool good = run_child(&plan, engine, &limit);
    bench_limit_remove(&limit);
    return good;
}

static bool run_one(bench_plan plan, int engine, int round)
{
    char path[1024];
    snprintf(path, sizeof path, "%s/%s-%d", work, engines[engine].name, round);
    if (mkdir(path, 0700) != 0) {
        fprintf(stderr, "bench: %s: %s\n", path, strerror(errno));
        return false;
    }
    plan.engine = engines[engine].engine;
    plan.path = path;
    bool good = run_child(&plan, engine, NULL);
    const char *row;
    for (unsigned i = 0; good && !interrupted && (row = bench_limited_row(i)) != NULL; i++)
        if (plan.rows == NULL || bench_is_listed(plan.rows, row))
            good = run_limited(plan, engine, row);
    return bench_remove_directory(path) && good;
}

/* ---- The whole ---- */

static bool make_work(void)
{
    const char *parent = given.directory != NULL ? given.directory : "build/bench";
    parent_is_ours = mkdir(parent, 0700) == 0;
    if (!parent_is_ours && errno != EEXIST) {
        fprintf(stderr, "bench: %s cannot be made: %s\n", parent, strerror(errno));
        return false;
    }
    if (asprintf(&work, "%s/run-XXXXXX", parent) < 0 || mkdtemp(work) == NULL) {
        fprintf(stderr, "bench: nothing can be made in %s: %s\n", parent, strerror(errno));
        free(work);
        work = NULL;
        return false;
    }
    return true;
}

/* Before anything is measured: can the result be written where it shall be? */
static bool make_json_part(void)
{
    if (given.json == NULL)
        return true;
    if (asprintf(&json_part, "%s.part-XXXXXX", given.json) < 0)
        json_part = NULL;
    int file = json_part == NULL ? -1 : mkstemp(json_part);
    if (file < 0) {
        fprintf(stderr, "bench: %s cannot be written: %s\n", given.json, strerror(errno));
        free(json_part);
        json_part = NULL;
        return false;
    }
    (void)fchmod(file, 0644);
    close(file);
    return true;
}

static void remove_what_was_made(void)
{
    if (work != NULL) {
        (void)bench_remove_directory(work);
        char *last = strrchr(work, '/');
        *last = 0;
        if (parent_is_ours)
            (void)rmdir(work);
    }
    if (json_part != NULL)
        (void)unlink(json_part); /* when all went well it has its name already */
    free(work);
    free(json_part);
}

static void list_all(void)
{
    printf("engines:\n");
    for (int e = 0; e < ENGINES; e++)
        printf("  %-11s %s\n", engines[e].name,
               engines[e].engine == NULL ? "(not found)" : engines[e].engine->version());
    printf("rows:\n");
    const char *name;
    for (unsigned i = 0; (name = bench_row_name(i)) != NULL; i++)
        printf("  %s\n", name);
}

int main(int argc, const char **argv)
{
    bench_plan plan = { 0 };
    poptContext context = poptGetContext("bole_bench", argc, argv, options, 0);
    int next = poptGetNextOpt(context);
    if (next < -1 || poptPeekArg(context) != NULL) {
        fprintf(stderr, "bench: %s: %s\n", next < -1 ? poptBadOption(context, 0) : poptPeekArg(context),
                next < -1 ? poptStrerror(next) : "not an option; --help lists them");
        return EXIT_USAGE;
    }
    poptFreeContext(context);
    if (given.list) {
        list_all();
        return 0;
    }
    table = json_object();
    left_out = json_object();
    if (!take_options(&plan) || !choose_engines())
        return EXIT_USAGE;
    struct sigaction action = { .sa_handler = on_signal };
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
    bool good = make_json_part() && make_work();
    for (int round = 0; work != NULL && round < (int)given.rounds && !interrupted; round++)
        for (int i = 0; i < ENGINES && !interrupted; i++) {
            int engine = (i + round) % ENGINES;
            if (why_left[engine] == NULL)
                good = run_one(plan, engine, round) && good;
        }
    if (work != NULL && !interrupted)
        good = write_json(&plan) && good;
    remove_what_was_made();
    json_decref(table);
    json_decref(left_out);
    if (interrupted)
        fprintf(stderr, "bench: interrupted by signal %d; nothing is kept\n", (int)interrupted);
    return interrupted ? 128 + interrupted : good ? 0 : 1;
}
