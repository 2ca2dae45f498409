/* SPDX-License-Identifier: MIT */
/* cli.h -- what the commands of `bole` share: the invocation, the store it names, output, exit codes.
 *
 * bole [OPTION...] COMMAND [STORE] [ARGUMENT...]
 * Data goes to stdout, everything else to stderr. A command opens the store itself, with the rights it needs. */
#ifndef BOLE_CLI_H
#define BOLE_CLI_H

#include "cli/entry_text.h"

#include <bole/bole_inspect.h>
#include <popt.h>
#include <stdio.h>

/* Exit codes, documented in bole(1). Do not renumber. */
enum {
    EXIT_OK = 0,
    EXIT_NOT_FOUND = 1,
    EXIT_USAGE = 2,
    EXIT_NO_STORE = 3, /* missing or locked */
    EXIT_CORRUPT = 4,
    EXIT_IO = 5, /* or no space, no permission, no memory */
    EXIT_CONFLICT = 6,
    EXIT_INTERRUPTED = 130,
};

typedef struct invocation {
    /* from the options before or behind the command */
    char *store;       /* --db, BOLE_DB, or the first argument */
    char *table_name;  /* --table */
    int json;
    int hex, raw;      /* how keys and values are shown; see cli_form_of */
    char *durability;
    int create;        /* --create: make the store when it is missing */
    char **settings;   /* --set NAME=VALUE, NULL-terminated */
    bole_options options;
    /* the command's arguments, behind the store */
    const char **arguments;
    int argument_count;
    /* open store */
    bole_db *db;
    bool held;         /* by the shell: cli_close leaves it open */
    bole_table *table; /* NULL: default */
    bole_error error;
} invocation;

typedef struct cli_command {
    const char *name;
    const char *synopsis; /* arguments behind the store: "KEY VALUE" */
    const char *summary;
    const char *examples; /* lines, each starting with "bole" */
    int arguments_min, arguments_max; /* -1: any number */
    struct poptOption *options;       /* of the command alone, or NULL */
    int (*run)(invocation *cli);
} cli_command;
extern const cli_command *const cli_commands[]; /* NULL-terminated, in the order of the help */
const cli_command *cli_find_command(const char *name); /* NULL: none */
/* The nearest of NULL-terminated words, or NULL when none is near. */
const char *cli_nearest(const char *word, const char *const *words);

/* ---- commands, by file ---- */
extern const cli_command cli_put, cli_get, cli_del, cli_exists, cli_scan, cli_count;     /* data.c */
extern const cli_command cli_load, cli_dump;                                             /* load.c */
extern const cli_command cli_stats, cli_levels, cli_segments, cli_tables, cli_config, cli_explain; /* look.c */
extern const cli_command cli_flush, cli_compact, cli_checkpoint, cli_verify, cli_drop, cli_destroy; /* upkeep.c */
extern const cli_command cli_repair;                                                     /* repair.c */
extern const cli_command cli_shell;                                                      /* shell.c */
extern const cli_command cli_visualize;                                                  /* visualize.c */

/* ---- shared ---- */
int cli_exit_code(bole_status status);
/* Print "bole: message" to stderr and return the exit code of `status`. */
int cli_fail(const invocation *cli, bole_status status);
int cli_usage_error(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* Open the store the invocation names; on failure prints and returns an exit code, else 0. */
int cli_open(invocation *cli, uint32_t flags);
/* Close; a failure changes `code` when it was 0. */
int cli_close(invocation *cli, int code);
cli_form cli_form_of(const invocation *cli);
/* A key or value as a user writes it: with escapes, or hex digits with --hex, or as it stands with --raw. */
bole_status cli_parse_bytes(invocation *cli, const char *text, bole_buffer *out);
bool cli_color(FILE *out);
extern volatile int cli_interrupted; /* set by Ctrl-C */
/* Free the texts that popt gave to these options, and set them all as they were before a line was read. */
void cli_forget_options(struct poptOption *options);
/* Dispatch one command line that is split already; used by main and by the shell. */
int cli_run(invocation *cli, const cli_command *command);

#endif
