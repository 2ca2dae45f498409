/* SPDX-License-Identifier: MIT */
/* upkeep.c -- flush, compact, checkpoint, verify, drop, destroy: what an operator does to a store. */
#include "cli/cli.h"

#include <string.h>
#include <unistd.h>

static struct {
    char *from, *to;
    int yes;
} keeping;

static struct poptOption range_options[] = {
    { "from", 0, POPT_ARG_STRING, &keeping.from, 0, "first key", "KEY" },
    { "to", 0, POPT_ARG_STRING, &keeping.to, 0, "last key", "KEY" },
    POPT_TABLEEND,
};

static struct poptOption yes_options[] = {
    { "yes", 'y', POPT_ARG_NONE, &keeping.yes, 0, "do not ask", NULL },
    POPT_TABLEEND,
};

static int finish(invocation *cli, bole_status status)
{
    return cli_close(cli, status == BOLE_OK ? EXIT_OK : cli_fail(cli, status));
}

static int run_flush(invocation *cli)
{
    int code = cli_open(cli, 0);
    return code != EXIT_OK ? code : finish(cli, bole_flush(cli->db, &cli->error));
}

static int run_compact(invocation *cli)
{
    int code = cli_open(cli, 0);
    if (code != EXIT_OK)
        return code;
    bole_buffer from = BOLE_BUFFER_INIT, to = BOLE_BUFFER_INIT;
    bole_slice begin = { NULL, 0 }, end = { NULL, 0 };
    bole_status status = BOLE_OK;
    if (keeping.from != NULL && (status = cli_parse_bytes(cli, keeping.from, &from)) == BOLE_OK)
        begin = BOLE_SLICE(from.data, from.size);
    if (status == BOLE_OK && keeping.to != NULL &&
        (status = cli_parse_bytes(cli, keeping.to, &to)) == BOLE_OK)
        end = BOLE_SLICE(to.data, to.size);
    if (status == BOLE_OK)
        status = bole_compact(cli->db, cli->table, begin, end, &cli->error);
    bole_buffer_free(&from);
    bole_buffer_free(&to);
    return finish(cli, status);
}

static int run_checkpoint(invocation *cli)
{
    int code = cli_open(cli, 0);
    return code != EXIT_OK ? code : finish(cli, bole_checkpoint(cli->db, cli->arguments[0], &cli->error));
}

static void print_problem(void *context, const bole_error *problem)
{
    (void)context;
    printf("%s\n", problem->message);
}

static int run_verify(invocation *cli)
{
    if (cli->store == NULL)
        return cli_usage_error("which store? Name it behind the command, with --db, or in BOLE_DB");
    bole_verify_report report;
    bole_status status = bole_verify(cli->store, &cli->options, print_problem, NULL, &report, &cli->error);
    if (status != BOLE_OK && status != BOLE_CORRUPT)
        return cli_fail(cli, status);
    if (cli->json)
        printf("{\"segments\":%llu,\"blocks\":%llu,\"entries\":%llu,\"logs\":%llu,\"log_records\":%llu,"
               "\"bytes\":%llu,\"problems\":%llu}\n",
               (unsigned long long)report.segments, (unsigned long long)report.blocks,
               (unsigned long long)report.entries, (unsigned long long)report.logs,
               (unsigned long long)report.log_records, (unsigned long long)report.bytes,
               (unsigned long long)report.problems);
    else
        printf(
            "%s: %llu segments with %llu blocks and %llu entries, %llu logs with %llu records, %llu bytes; "
            "%llu problems\n",
            report.problems == 0 ? "sound" : "DAMAGED", (unsigned long long)report.segments,
            (unsigned long long)report.blocks, (unsigned long long)report.entries,
            (unsigned long long)report.logs, (unsigned long long)report.log_records,
            (unsigned long long)report.bytes, (unsigned long long)report.problems);
    return report.problems == 0 ? EXIT_OK : EXIT_CORRUPT;
}

/* Destructive: ask on a terminal, insist on --yes otherwise. */
static bool agreed(const char *what)
{
    char answer[8] = "";
    if (keeping.yes)
        return true;
    if (!isatty(STDIN_FILENO)) {
        (void)cli_usage_error("%s needs --yes when nobody can be asked", what);
        return false;
    }
    fprintf(stderr, "%s? [y/N] ", what);
    return fgets(answer, sizeof(answer), stdin) != NULL && (answer[0] == 'y' || answer[0] == 'Y');
}

static int run_drop(invocation *cli)
{
    char what[400];
    snprintf(what, sizeof(what), "Drop table \"%s\" and all its data", cli->arguments[0]);
    if (!agreed(what))
        return EXIT_USAGE;
    int code = cli_open(cli, 0);
    return code != EXIT_OK ? code : finish(cli, bole_table_drop(cli->db, cli->arguments[0], &cli->error));
}

static int run_destroy(invocation *cli)
{
    char what[400];
    if (cli->store == NULL)
        return cli_usage_error("which store? Name it behind the command, with --db, or in BOLE_DB");
    snprintf(what, sizeof(what), "Remove the store %s and all its data", cli->store);
    if (!agreed(what))
        return EXIT_USAGE;
    bole_status status = bole_destroy(cli->store, &cli->options, &cli->error);
    return status == BOLE_OK ? EXIT_OK : cli_fail(cli, status);
}

const cli_command cli_flush = {
    "flush", "", "write memtables into segments", "bole flush my.bole", 0, 0, NULL, run_flush
};
const cli_command cli_compact = {
    "compact",
    "",
    "merge segments into the last level",
    "bole compact my.bole\nbole compact my.bole --from a --to m",
    0,
    0,
    range_options,
    run_compact,
};
const cli_command cli_checkpoint = {
    "checkpoint",
    "DIRECTORY",
    "make a consistent copy that shares segments",
    "bole checkpoint my.bole backup.bole",
    1,
    1,
    NULL,
    run_checkpoint,
};
const cli_command cli_verify = {
    "verify", "", "prove every checksum and every invariant", "bole verify my.bole", 0, 0, NULL, run_verify,
};
const cli_command cli_drop = { "drop", "TABLE", "drop a table", "bole drop my.bole lines --yes",
                               1,      1,       yes_options,    run_drop };
const cli_command cli_destroy = {
    "destroy", "", "remove a whole store", "bole destroy my.bole --yes", 0, 0, yes_options, run_destroy
};
