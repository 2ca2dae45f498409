/* SPDX-License-Identifier: MIT */
/* repair.c -- bole repair: a new store from what can be read of a damaged one. */
#include "cli/cli.h"

#include <bole/bole_repair.h>

static struct {
    char *output;
    int dry_run, certain;
} repairing;

static struct poptOption repair_options[] = {
    { "output", 'o', POPT_ARG_STRING, &repairing.output, 0,
      "directory of the new store, which must not exist", "DIRECTORY" },
    { "dry-run", 'n', POPT_ARG_NONE, &repairing.dry_run, 0, "only say what would be kept and lost", NULL },
    { "certain", 0, POPT_ARG_NONE, &repairing.certain, 0,
      "leave out keys whose newest version may be among what is lost", NULL },
    POPT_TABLEEND,
};

static const char *const kind_names[] = { "keep", "LOST", "note" };

static bool print_json(const bole_repair_finding *finding)
{
    json_t *line = json_pack("{s:s, s:s, s:s}", "kind", kind_names[finding->kind], "file", finding->file,
                             "text", finding->text);
    if (line == NULL)
        return false;
    if (finding->offset != UINT64_MAX)
        json_object_set_new(line, "offset", json_integer((json_int_t)finding->offset));
    if (finding->table != NULL)
        json_object_set_new(line, "table", json_string(finding->table));
    if (finding->after.data != NULL)
        json_object_set_new(line, "after", cli_json_bytes(finding->after));
    if (finding->upto.data != NULL)
        json_object_set_new(line, "upto", cli_json_bytes(finding->upto));
    json_dumpf(line, stdout, JSON_COMPACT);
    putchar('\n');
    json_decref(line);
    return true;
}

static bool print_finding(void *context, const bole_repair_finding *finding)
{
    const invocation *cli = context;
    if (cli_interrupted)
        return false;
    if (cli->json)
        return print_json(finding);
    printf("%s  %s", kind_names[finding->kind], finding->file);
    if (finding->offset != UINT64_MAX)
        printf(" at offset %llu", (unsigned long long)finding->offset);
    if (finding->table != NULL)
        printf("%stable \"%s\"", finding->file[0] != 0 ? ", " : "", finding->table);
    if (finding->kind == BOLE_REPAIR_LOST && finding->table != NULL && finding->file[0] != 0) {
        printf(", keys");
        if (finding->after.data != NULL) {
            printf(" above \"");
            cli_print_bytes(stdout, finding->after, cli_form_of(cli));
            putchar('"');
        }
        if (finding->upto.data != NULL) {
            printf(" up to \"");
            cli_print_bytes(stdout, finding->upto, cli_form_of(cli));
            putchar('"');
        }
    }
    printf("%s%s\n", finding->file[0] != 0 || finding->table != NULL ? ": " : "", finding->text);
    return true;
}

static void print_report(const invocation *cli, const bole_repair_report *report)
{
    typedef unsigned long long number;
    if (cli->json) {
        printf(
            "{\"manifest_whole\":%s,\"tables\":%llu,\"segments\":%llu,\"segments_damaged\":%llu,"
            "\"segments_missing\":%llu,\"blocks\":%llu,\"blocks_lost\":%llu,\"logs\":%llu,\"logs_damaged\":%llu,"
            "\"logs_missing\":%llu,\"log_operations\":%llu,\"losses\":%llu,\"entries\":%llu,"
            "\"entries_doubtful\":%llu,\"entries_left_out\":%llu}\n",
            report->manifest_whole ? "true" : "false", (number)report->tables, (number)report->segments,
            (number)report->segments_damaged, (number)report->segments_missing, (number)report->blocks,
            (number)report->blocks_lost, (number)report->logs, (number)report->logs_damaged,
            (number)report->logs_missing, (number)report->log_operations, (number)report->losses,
            (number)report->entries, (number)report->entries_doubtful, (number)report->entries_left_out);
        return;
    }
    printf("%s: %llu keys in %llu tables from %llu segments and %llu logs; %llu losses",
           repairing.dry_run ? "would keep" : "kept", (number)report->entries, (number)report->tables,
           (number)report->segments, (number)report->logs, (number)report->losses);
    if (report->entries_doubtful > 0)
        printf("; %llu keys may be older than what was lost%s", (number)report->entries_doubtful,
               repairing.certain ? " and were left out" : "");
    if (report->entries_left_out > 0 && !repairing.certain)
        printf("; %llu entries left out", (number)report->entries_left_out);
    putchar('\n');
}

static int run_repair(invocation *cli)
{
    if (cli->store == NULL)
        return cli_usage_error("which store? Name it behind the command, with --db, or in BOLE_DB");
    if (repairing.output == NULL && !repairing.dry_run)
        return cli_usage_error(
            "repair never writes into the store: say -o DIRECTORY for the new one, or --dry-run");
    uint32_t flags = (repairing.dry_run ? BOLE_REPAIR_DRY_RUN : 0u) |
                     (repairing.certain ? BOLE_REPAIR_CERTAIN : 0u);
    bole_repair_report report;
    bole_status status = bole_repair(cli->store, repairing.output, &cli->options, flags, print_finding, cli,
                                     &report, &cli->error);
    if (status != BOLE_OK)
        return cli_fail(cli, status);
    print_report(cli, &report);
    return report.losses == 0 ? EXIT_OK : EXIT_CORRUPT;
}

const cli_command cli_repair = {
    "repair",
    "",
    "make a new store from what can be read of a damaged one",
    "bole repair my.bole --dry-run\nbole repair my.bole -o mended.bole",
    0,
    0,
    repair_options,
    run_repair,
};
