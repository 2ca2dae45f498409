/* SPDX-License-Identifier: MIT */
/* main.c -- bole(1): options, help, dispatch.
 *
 * Settings: flags (--set NAME=VALUE) win over the environment (BOLE_MEMORY_LIMIT=...), which wins over the store's
 * bole.conf. The library itself never reads the environment. */
#include "cli/cli.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>

extern char **environ;

static invocation now; /* popt writes into it */
static int wants_help, wants_version;

static struct poptOption global_options[] = {
    { "db", 'd', POPT_ARG_STRING, &now.store, 0, "the store (else BOLE_DB, else the first argument)",
      "DIRECTORY" },
    { "table", 't', POPT_ARG_STRING, &now.table_name, 0, "the table (else \"default\")", "NAME" },
    { "json", 'j', POPT_ARG_NONE, &now.json, 0, "print JSON", NULL },
    { "hex", 'x', POPT_ARG_NONE, &now.hex, 0, "keys and values are hex digits", NULL },
    { "raw", 0, POPT_ARG_NONE, &now.raw, 0, "keys and values are plain bytes, no escapes", NULL },
    { "set", 's', POPT_ARG_ARGV, &now.settings, 0, "a setting of bole.conf for this run", "NAME=VALUE" },
    { "help", 'h', POPT_ARG_NONE, &wants_help, 0, "show help", NULL },
    { "version", 'V', POPT_ARG_NONE, &wants_version, 0, "show versions", NULL },
    POPT_TABLEEND,
};

static void interrupt(int signal_number)
{
    (void)signal_number;
    cli_interrupted = 1;
}

static void print_options(FILE *out, const struct poptOption *options)
{
    for (const struct poptOption *o = options; o->longName != NULL; o++) {
        char left[64];
        snprintf(left, sizeof(left), "%c%c%s--%s%s%s", o->shortName != 0 ? '-' : ' ',
                 o->shortName != 0 ? o->shortName : ' ', o->shortName != 0 ? ", " : "  ", o->longName,
                 o->argDescrip != NULL ? " " : "", o->argDescrip != NULL ? o->argDescrip : "");
        fprintf(out, "  %-26s %s\n", left, o->descrip);
    }
}

static void print_examples(FILE *out, const char *lines)
{
    while (*lines != 0) {
        size_t length = strcspn(lines, "\n");
        fprintf(out, "  %.*s\n", (int)length, lines);
        lines += length + (lines[length] == '\n');
    }
}

static void print_help(FILE *out, const cli_command *command)
{
    if (command != NULL) {
        fprintf(out, "bole %s STORE%s%s [OPTION...]\n%s\n\n", command->name,
                command->synopsis[0] != 0 ? " " : "", command->synopsis, command->summary);
        print_examples(out, command->examples);
        if (command->options != NULL) {
            fprintf(out, "\nOptions of %s:\n", command->name);
            print_options(out, command->options);
        }
        fprintf(out, "\nOptions of every command:\n");
        print_options(out, global_options);
        return;
    }
    fprintf(out, "bole: a log-structured key-value store\n\n"
                 "  bole put my.bole hello world          write\n"
                 "  bole get my.bole hello                read\n"
                 "  bole scan my.bole --prefix he         walk in order\n"
                 "  bole load my.bole data.jsonl          load a file\n"
                 "  bole visualize my.bole -o store.html  see what is inside\n\nCommands:\n");
    for (size_t i = 0; cli_commands[i] != NULL; i++)
        fprintf(out, "  %-11s %s\n", cli_commands[i]->name, cli_commands[i]->summary);
    fprintf(out, "\nOptions:\n");
    print_options(out, global_options);
    fprintf(out, "\nbole help COMMAND tells more. The manual: man bole.\n");
}

static int unknown_command(const char *name)
{
    const char *names[64];
    size_t count = 0;
    for (; cli_commands[count] != NULL; count++)
        names[count] = cli_commands[count]->name;
    names[count] = NULL;
    const char *nearest = cli_nearest(name, names);
    if (nearest != NULL)
        return cli_usage_error("there is no command \"%s\"; did you mean \"%s\"?", name, nearest);
    return cli_usage_error("there is no command \"%s\"; bole help lists them", name);
}

static int unknown_option(const char *given, const cli_command *command, const char *why)
{
    const char *names[64];
    size_t count = 0;
    for (const struct poptOption *o = global_options; o->longName != NULL; o++)
        names[count++] = o->longName;
    for (const struct poptOption *o = command == NULL ? NULL : command->options;
         o != NULL && o->longName != NULL; o++)
        names[count++] = o->longName;
    names[count] = NULL;
    const char *nearest = strncmp(given, "--", 2) == 0 ? cli_nearest(given + 2, names) : NULL;
    if (nearest != NULL)
        return cli_usage_error("%s: %s; did you mean \"--%s\"?", given, why, nearest);
    return cli_usage_error("%s: %s", given, why);
}

/* BOLE_NAME=value for every setting; others that start with BOLE_ are not ours to judge (BOLE_DB is). */
static bole_status apply_environment(invocation *cli)
{
    for (char **entry = environ; *entry != NULL; entry++) {
        const char *equals = strchr(*entry, '=');
        char name[64];
        if (strncmp(*entry, "BOLE_", 5) != 0 || equals == NULL || (size_t)(equals - *entry) >= sizeof(name))
            continue;
        size_t length = (size_t)(equals - *entry) - 5;
        for (size_t i = 0; i < length; i++)
            name[i] = (char)((*entry)[5 + i] | 0x20);
        for (size_t i = 0; i < length; i++)
            if ((*entry)[5 + i] == '_')
                name[i] = '_';
        name[length] = 0;
        if (strcmp(name, "db") == 0 || strncmp(name, "test_", 5) == 0)
            continue;
        bole_status status = bole_options_set(&cli->options, name, equals + 1, &cli->error);
        if (status != BOLE_OK)
            return status;
    }
    return BOLE_OK;
}

static int apply_settings(invocation *cli)
{
    bole_status status = apply_environment(cli);
    for (char **setting = cli->settings; status == BOLE_OK && setting != NULL && *setting != NULL;
         setting++) {
        char *equals = strchr(*setting, '=');
        if (equals == NULL)
            return cli_usage_error("--set takes NAME=VALUE, not \"%s\"", *setting);
        *equals = 0;
        status = bole_options_set(&cli->options, *setting, equals + 1, &cli->error);
        *equals = '=';
    }
    return status == BOLE_OK ? EXIT_OK : cli_fail(cli, status);
}

/* The command is the first argument that is no option of everybody's. */
static const char *find_command_word(int argc, const char **argv)
{
    for (int i = 1; i < argc; i++) {
        if (argv[i][0] != '-')
            return argv[i];
        for (const struct poptOption *o = global_options; o->longName != NULL; o++) {
            bool takes = (o->argInfo & POPT_ARG_MASK) != POPT_ARG_NONE;
            bool is_long = argv[i][1] == '-' && strcmp(argv[i] + 2, o->longName) == 0;
            bool is_short = argv[i][1] == o->shortName && o->shortName != 0 && argv[i][2] == 0;
            if (takes && (is_long || is_short))
                i++;
        }
    }
    return NULL;
}

static int dispatch(const cli_command *command, const char **words)
{
    int count = 0;
    while (words != NULL && words[count] != NULL)
        count++;
    int at = 1; /* behind the command's own word */
    const char *named = now.store != NULL ? now.store : getenv("BOLE_DB");
    if (named == NULL || named[0] == 0)
        named = at < count ? words[at++] : NULL;
    char *given = now.store; /* popt's, for cli_forget_options */
    now.store = (char *)(uintptr_t)named;
    now.arguments = words + at;
    now.argument_count = count - at;
    int code = apply_settings(&now);
    if (code == EXIT_OK)
        code = cli_run(&now, command);
    now.store = given;
    return code;
}

int main(int argc, const char **argv)
{
    now.options = BOLE_OPTIONS_INIT;
    now.options.log_level = BOLE_LOG_INFO;
    struct sigaction action = { .sa_handler = interrupt, .sa_flags = SA_RESETHAND };
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
    signal(SIGPIPE, SIG_DFL);

    const char *word = find_command_word(argc, argv);
    bool help = word != NULL && strcmp(word, "help") == 0;
    const cli_command *command = word == NULL || help ? NULL : cli_find_command(word);
    struct poptOption none[] = { POPT_TABLEEND };
    struct poptOption all[] = {
        { NULL, 0, POPT_ARG_INCLUDE_TABLE, global_options, 0, NULL, NULL },
        { NULL, 0, POPT_ARG_INCLUDE_TABLE,
          command != NULL && command->options != NULL ? command->options : none, 0, NULL, NULL },
        POPT_TABLEEND,
    };
    poptContext context = poptGetContext("bole", argc, argv, all, 0);
    int next = poptGetNextOpt(context), code;
    const char **words = poptGetArgs(context);
    if (wants_version) {
        printf("bole %s (library %s), format 1\n", BOLE_VERSION_STRING, bole_version());
        code = EXIT_OK;
    } else if (word != NULL && !help && command == NULL) {
        code = unknown_command(word);
    } else if (next < -1) {
        code = unknown_option(poptBadOption(context, POPT_BADOPTION_NOALIAS), command, poptStrerror(next));
    } else if (help && words != NULL && words[0] != NULL && words[1] != NULL) {
        const cli_command *about = cli_find_command(words[1]);
        code = about == NULL ? unknown_command(words[1]) : EXIT_OK;
        if (about != NULL)
            print_help(stdout, about);
    } else if (wants_help || help) {
        print_help(stdout, command);
        code = EXIT_OK;
    } else if (command == NULL) {
        print_help(stderr, NULL);
        code = EXIT_USAGE;
    } else {
        code = dispatch(command, words);
    }
    poptFreeContext(context);
    cli_forget_options(global_options);
    if (command != NULL)
        cli_forget_options(command->options);
    return cli_interrupted ? EXIT_INTERRUPTED : code;
}
