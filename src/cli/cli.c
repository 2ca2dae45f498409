/* SPDX-License-Identifier: MIT */
/* cli.c -- the table of commands, the store of an invocation, exit codes, and the one form in which bytes
 * are shown. */
#include "cli/cli.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

const cli_command *const cli_commands[] = {
    &cli_put,    &cli_get,     &cli_del,     &cli_exists,  &cli_scan,       &cli_count,
    &cli_load,   &cli_dump,    &cli_stats,   &cli_levels,  &cli_segments,   &cli_tables,
    &cli_config, &cli_explain, &cli_flush,   &cli_compact, &cli_checkpoint, &cli_verify,
    &cli_repair, &cli_drop,    &cli_destroy, &cli_shell,   &cli_visualize,  NULL,
};

volatile int cli_interrupted;

const cli_command *cli_find_command(const char *name)
{
    for (size_t i = 0; cli_commands[i] != NULL; i++)
        if (strcmp(cli_commands[i]->name, name) == 0)
            return cli_commands[i];
    return NULL;
}

/* Levenshtein distance, at most 32 letters of each. */
static unsigned distance(const char *a, const char *b)
{
    enum { LETTERS = 32 };
    unsigned row[LETTERS + 1];
    size_t n = strnlen(b, LETTERS);
    for (size_t j = 0; j <= n; j++)
        row[j] = (unsigned)j;
    for (size_t i = 0; i < LETTERS && a[i] != 0; i++) {
        unsigned diagonal = row[0];
        row[0] = (unsigned)i + 1;
        for (size_t j = 1; j <= n; j++) {
            unsigned best = diagonal + (a[i] != b[j - 1]);
            if (row[j] + 1 < best)
                best = row[j] + 1;
            if (row[j - 1] + 1 < best)
                best = row[j - 1] + 1;
            diagonal = row[j];
            row[j] = best;
        }
    }
    return row[n];
}

const char *cli_nearest(const char *word, const char *const *words)
{
    const char *best = NULL;
    unsigned best_distance = 3;
    for (size_t i = 0; words[i] != NULL; i++) {
        unsigned d = distance(word, words[i]);
        if (d < best_distance) {
            best = words[i];
            best_distance = d;
        }
    }
    return best;
}

int cli_exit_code(bole_status status)
{
    switch (status) {
    case BOLE_OK: return EXIT_OK;
    case BOLE_NOT_FOUND: return EXIT_NOT_FOUND;
    case BOLE_INVALID:
    case BOLE_TOO_LARGE:
    case BOLE_WRITE_REFUSED: return EXIT_USAGE;
    case BOLE_NO_STORE:
    case BOLE_LOCKED:
    case BOLE_UNSUPPORTED:
    case BOLE_COMPARATOR: return EXIT_NO_STORE;
    case BOLE_CORRUPT: return EXIT_CORRUPT;
    case BOLE_EXISTS:
    case BOLE_BUSY: return EXIT_CONFLICT;
    case BOLE_CANCELLED: return EXIT_INTERRUPTED;
    default: return EXIT_IO;
    }
}

int cli_fail(const invocation *cli, bole_status status)
{
    fprintf(stderr, "bole: %s\n", cli->error.message[0] != 0 ? cli->error.message : bole_status_text(status));
    return cli_exit_code(status);
}

int cli_usage_error(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    fputs("bole: ", stderr);
    vfprintf(stderr, format, arguments);
    fputc('\n', stderr);
    va_end(arguments);
    return EXIT_USAGE;
}

int cli_open(invocation *cli, uint32_t flags)
{
    if (cli->db != NULL) /* the shell holds it open */
        return EXIT_OK;
    if (cli->store == NULL)
        return cli_usage_error("which store? Name it behind the command, with --db, or in BOLE_DB");
    cli->options.flags |= flags;
    bole_status status = bole_open(cli->store, &cli->options, &cli->db, &cli->error);
    if (status == BOLE_OK && cli->table_name != NULL) {
        status = bole_table_open(cli->db, cli->table_name, &cli->table, &cli->error);
        if (status == BOLE_NOT_FOUND && (flags & BOLE_CREATE) != 0)
            status = bole_table_create(cli->db, cli->table_name, NULL, &cli->table, &cli->error);
    }
    if (status == BOLE_OK)
        return EXIT_OK;
    int code = cli_fail(cli, status);
    (void)bole_close(cli->db, NULL);
    cli->db = NULL;
    return code == EXIT_NOT_FOUND ? EXIT_NO_STORE : code;
}

int cli_close(invocation *cli, int code)
{
    if (cli->held)
        return code;
    bole_table_close(cli->table);
    cli->table = NULL;
    bole_status status = bole_close(cli->db, &cli->error);
    cli->db = NULL;
    if (status != BOLE_OK && code == EXIT_OK)
        code = cli_fail(cli, status);
    return code;
}

cli_form cli_form_of(const invocation *cli)
{
    return cli->raw ? FORM_RAW : cli->hex ? FORM_HEX : FORM_ESCAPED;
}

bole_status cli_parse_bytes(invocation *cli, const char *text, bole_buffer *out)
{
    return cli_read_bytes(text, strlen(text), cli_form_of(cli), out, &cli->error);
}

bool cli_color(FILE *out)
{
    const char *no = getenv("NO_COLOR"), *force = getenv("FORCE_COLOR"), *term = getenv("TERM");
    if (no != NULL && no[0] != 0)
        return false;
    if (force != NULL && force[0] != 0)
        return true;
    return isatty(fileno(out)) && (term == NULL || strcmp(term, "dumb") != 0);
}

int cli_run(invocation *cli, const cli_command *command)
{
    if (cli->argument_count < command->arguments_min ||
        (command->arguments_max >= 0 && cli->argument_count > command->arguments_max))
        return cli_usage_error("%s takes: STORE %s (see bole help %s)", command->name, command->synopsis,
                               command->name);
    int code = command->run(cli);
    bool failed = fflush(stdout) != 0 || ferror(stdout); /* now, or in the middle, with more behind it */
    if (failed && code == EXIT_OK) {
        fprintf(stderr, "bole: writing to standard output failed\n");
        code = EXIT_IO;
    }
    return code;
}

static void free_texts(char **texts)
{
    for (char **text = texts; text != NULL && *text != NULL; text++)
        free(*text);
    free(texts);
}

void cli_forget_options(struct poptOption *options)
{
    for (struct poptOption *o = options; o != NULL && o->longName != NULL; o++) {
        switch (o->argInfo & POPT_ARG_MASK) {
        case POPT_ARG_STRING:
            free(*(char **)o->arg);
            *(char **)o->arg = NULL;
            break;
        case POPT_ARG_ARGV:
            free_texts(*(char ***)o->arg);
            *(char ***)o->arg = NULL;
            break;
        case POPT_ARG_LONG: *(long *)o->arg = 0; break;
        default: *(int *)o->arg = 0; break;
        }
    }
}
