/* SPDX-License-Identifier: MIT */
/* shell.c -- bole shell STORE: the commands with one open store, history, and completion of commands, table names and
 * keys.
 *
 * A line is a command without the store: "get hello", "scan -n 5". Words are split as a Unix shell does (quotes and
 * backslashes), then read with the same escapes as on the command line. Lines that start with '.' are the
 * shell's own. */
#include "cli/cli.h"

#include <histedit.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static invocation *shell;
static bool timing;

static char *prompt(EditLine *line)
{
    static char text[] = "bole> ";
    (void)line;
    return text;
}

/* ---- completion ---- */

typedef struct completion {
    const char *start;
    size_t size;
    char common[256];
    unsigned count;
    bool list;
} completion;

static void offer(completion *c, const char *word)
{
    if (strncmp(word, c->start, c->size) != 0)
        return;
    if (c->list)
        printf("  %s", word);
    if (c->count++ == 0) {
        snprintf(c->common, sizeof(c->common), "%s", word);
        return;
    }
    size_t i = 0;
    while (c->common[i] != 0 && c->common[i] == word[i])
        i++;
    c->common[i] = 0;
}

static bool offer_table(void *context, const char *name)
{
    offer(context, name);
    return true;
}

/* Keys that start with the word: at most 32, found by one bounded seek. */
static void offer_keys(completion *c)
{
    bole_buffer prefix = BOLE_BUFFER_INIT;
    bole_read_options options = BOLE_READ_OPTIONS_INIT;
    bole_iterator *iterator = NULL;
    options.table = shell->table;
    if (bole_unescape(c->start, c->size, &prefix, NULL) == BOLE_OK) {
        options.prefix = BOLE_SLICE(prefix.data, prefix.size);
        if (bole_iterator_create(shell->db, &options, &iterator) == BOLE_OK) {
            bool on = bole_iterator_seek_first(iterator);
            for (int i = 0; on && i < 32; i++, on = bole_iterator_next(iterator)) {
                char word[256];
                if (bole_escape(bole_iterator_key(iterator), word, sizeof(word)) < sizeof(word))
                    offer(c, word);
            }
        }
        bole_iterator_destroy(iterator);
    }
    bole_buffer_free(&prefix);
}

static void offer_all(completion *c, const char *line, size_t before)
{
    size_t skip = strspn(line, " ");
    if (skip >= before) {
        for (size_t i = 0; cli_commands[i] != NULL; i++)
            offer(c, cli_commands[i]->name);
        offer(c, ".timing");
        offer(c, ".table");
        offer(c, ".quit");
        offer(c, ".help");
    } else if (strncmp(line + skip, ".table", 6) == 0 || strncmp(line + skip, "drop", 4) == 0) {
        if (bole_table_list(shell->db, offer_table, c, NULL) != BOLE_OK)
            return;
    } else {
        offer_keys(c);
    }
}

static unsigned char complete(EditLine *editor, int key)
{
    (void)key;
    const LineInfo *info = el_line(editor);
    const char *start = info->cursor;
    while (start > info->buffer && start[-1] != ' ')
        start--;
    completion c = { .start = start, .size = (size_t)(info->cursor - start) };
    offer_all(&c, info->buffer, (size_t)(start - info->buffer));
    if (c.count == 0)
        return CC_ERROR;
    size_t common = strlen(c.common);
    if (common > c.size) {
        if (el_insertstr(editor, c.common + c.size) != 0)
            return CC_ERROR;
        if (c.count == 1)
            (void)el_insertstr(editor, " ");
        return CC_REFRESH;
    }
    if (c.count > 1) {
        putchar('\n');
        c.list = true;
        c.count = 0;
        offer_all(&c, info->buffer, (size_t)(start - info->buffer));
        putchar('\n');
        return CC_REDISPLAY;
    }
    return CC_NORM;
}

/* ---- lines ---- */

static int set_table(const char *name)
{
    bole_table *table = NULL;
    if (name != NULL) {
        bole_status status = bole_table_open(shell->db, name, &table, &shell->error);
        if (status == BOLE_NOT_FOUND)
            status = bole_table_create(shell->db, name, NULL, &table, &shell->error);
        if (status != BOLE_OK)
            return cli_fail(shell, status);
    }
    bole_table_close(shell->table);
    shell->table = table;
    return EXIT_OK;
}

/* A command of the shell's own; true when the shell shall end. */
static bool run_dot(int count, const char **words)
{
    if (strcmp(words[0], ".quit") == 0 || strcmp(words[0], ".exit") == 0)
        return true;
    if (strcmp(words[0], ".timing") == 0)
        printf("timing is %s\n", (timing = !timing) ? "on" : "off");
    else if (strcmp(words[0], ".json") == 0)
        printf("JSON is %s\n", (shell->json = !shell->json) ? "on" : "off");
    else if (strcmp(words[0], ".table") == 0)
        (void)set_table(count > 1 ? words[1] : NULL);
    else
        printf(".table [NAME]  go to a table (made when missing); without a name to \"default\"\n"
               ".timing        show how long commands take\n.json          print JSON\n.quit          end\n"
               "Commands are those of bole help, without the store.\n");
    return false;
}

static void run_command(int count, const char **words)
{
    const cli_command *command = cli_find_command(words[0]);
    if (command == NULL || command == &cli_shell || command == &cli_verify || command == &cli_repair ||
        command == &cli_destroy) {
        (void)cli_usage_error("there is no command \"%s\" in the shell; .help and bole help list them",
                              words[0]);
        return;
    }
    poptContext context = NULL;
    const char **arguments = words + 1;
    if (command->options != NULL) {
        context = poptGetContext("bole", count, words, command->options, 0);
        int next = poptGetNextOpt(context);
        if (next < -1) {
            (void)cli_usage_error("%s: %s", poptBadOption(context, 0), poptStrerror(next));
            poptFreeContext(context);
            cli_forget_options(command->options);
            return;
        }
        arguments = poptGetArgs(context);
    }
    shell->arguments = arguments;
    shell->argument_count = 0;
    while (arguments != NULL && arguments[shell->argument_count] != NULL)
        shell->argument_count++;
    shell->error = (bole_error)BOLE_ERROR_INIT;
    struct timespec begin, end;
    clock_gettime(CLOCK_MONOTONIC, &begin);
    (void)cli_run(shell, command);
    clock_gettime(CLOCK_MONOTONIC, &end);
    if (timing)
        fprintf(stderr, "%.3f ms\n",
                (double)(end.tv_sec - begin.tv_sec) * 1e3 + (double)(end.tv_nsec - begin.tv_nsec) / 1e6);
    if (context != NULL)
        poptFreeContext(context);
    cli_forget_options(command->options); /* the next line begins anew */
    cli_interrupted = 0;
}

/* True when the shell shall end. */
static bool run_line(const char *line)
{
    int count = 0;
    const char **words = NULL;
    if (line[strspn(line, " \t\n")] == 0 || line[0] == '#')
        return false;
    if (poptParseArgvString(line, &count, &words) != 0 || count == 0) {
        (void)cli_usage_error("this line does not split into words: is a quote open?");
        return false;
    }
    bool end = false;
    if (words[0][0] == '.')
        end = run_dot(count, words);
    else if (strcmp(words[0], "quit") == 0 || strcmp(words[0], "exit") == 0)
        end = true;
    else
        run_command(count, words);
    free(words);
    return end;
}

static void history_path(char *out, size_t capacity)
{
    const char *state = getenv("XDG_STATE_HOME"), *home = getenv("HOME");
    if (state != NULL && state[0] != 0)
        snprintf(out, capacity, "%s/bole_history", state);
    else
        snprintf(out, capacity, "%s/.bole_history", home != NULL ? home : ".");
}

static void edit_lines(void)
{
    char path[512];
    HistEvent event;
    EditLine *editor = el_init("bole", stdin, stdout, stderr);
    History *lines = history_init();
    history_path(path, sizeof(path));
    history(lines, &event, H_SETSIZE, 1000);
    history(lines, &event, H_SETUNIQUE, 1);
    history(lines, &event, H_LOAD, path);
    el_set(editor, EL_PROMPT, prompt);
    el_set(editor, EL_EDITOR, "emacs");
    el_set(editor, EL_SIGNAL, 1);
    el_set(editor, EL_HIST, history, lines);
    el_set(editor, EL_ADDFN, "bole-complete", "complete commands, tables and keys", complete);
    el_set(editor, EL_BIND, "^I", "bole-complete", NULL);
    int size;
    const char *line;
    while ((line = el_gets(editor, &size)) != NULL && size > 0) {
        if (line[strspn(line, " \t\n")] != 0)
            history(lines, &event, H_ENTER, line);
        if (run_line(line))
            break;
    }
    history(lines, &event, H_SAVE, path);
    history_end(lines);
    el_end(editor);
}

static int run_shell(invocation *cli)
{
    int code = cli_open(cli, BOLE_CREATE);
    if (code != EXIT_OK)
        return code;
    bole_db *db = cli->db;
    cli->held = true;
    shell = cli;
    if (isatty(STDIN_FILENO)) {
        printf("bole %s, store %s. .help tells more, .quit ends.\n", bole_version(), cli->store);
        edit_lines();
    } else {
        char *line = NULL;
        size_t capacity = 0;
        bool end = false;
        while (!end && getline(&line, &capacity, stdin) >= 0 &&
               !ferror(stdin)) /* behind an error: half a line */
            end = run_line(line);
        free(line);
        if (ferror(stdin)) {
            snprintf(cli->error.message, sizeof(cli->error.message), "standard input cannot be read");
            code = cli_fail(cli, BOLE_IO);
        }
    }
    cli->held = false;
    cli->db = db;
    return cli_close(cli, code);
}

const cli_command cli_shell = {
    "shell",
    "",
    "an interactive shell with history and completion",
    "bole shell my.bole\necho 'put a 1' | bole shell my.bole",
    0,
    0,
    NULL,
    run_shell,
};
