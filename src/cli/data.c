/* SPDX-License-Identifier: MIT */
/* data.c -- put, get, del, exists, scan, count: the commands that a day's work is made of. */
#include "cli/cli.h"

#include <stdlib.h>
#include <string.h>

static bole_read_options read_options(invocation *cli)
{
    bole_read_options options = BOLE_READ_OPTIONS_INIT;
    options.table = cli->table;
    options.error = &cli->error;
    return options;
}

static bole_write_options write_options(invocation *cli)
{
    bole_write_options options = BOLE_WRITE_OPTIONS_INIT;
    options.table = cli->table;
    options.error = &cli->error;
    return options;
}

static bole_slice slice_of(const bole_buffer *buffer) { return BOLE_SLICE(buffer->data, buffer->size); }

/* All of standard input, for the value "-". */
static bole_status read_input(invocation *cli, bole_buffer *out)
{
    size_t capacity = 1 << 16, size = 0, got;
    char *bytes = malloc(capacity);
    while (bytes != NULL && (got = fread(bytes + size, 1, capacity - size, stdin)) > 0) {
        size += got;
        if (size == capacity) {
            char *grown = realloc(bytes, capacity *= 2);
            if (grown == NULL)
                free(bytes);
            bytes = grown;
        }
    }
    if (bytes == NULL || ferror(stdin)) {
        free(bytes);
        snprintf(cli->error.message, sizeof(cli->error.message), "standard input cannot be read");
        return BOLE_IO;
    }
    *out = (bole_buffer){ bytes, size, capacity };
    return BOLE_OK;
}

static int run_put(invocation *cli)
{
    int code = cli_open(cli, BOLE_CREATE);
    if (code != EXIT_OK)
        return code;
    bole_buffer key = BOLE_BUFFER_INIT, value = BOLE_BUFFER_INIT;
    bool from_input = strcmp(cli->arguments[1], "-") == 0;
    bole_status status = cli_parse_bytes(cli, cli->arguments[0], &key);
    if (status == BOLE_OK)
        status = from_input ? read_input(cli, &value) : cli_parse_bytes(cli, cli->arguments[1], &value);
    bole_write_options options = write_options(cli);
    if (status == BOLE_OK)
        status = bole_put(cli->db, &options, slice_of(&key), slice_of(&value));
    if (status != BOLE_OK)
        code = cli_fail(cli, status);
    bole_buffer_free(&key);
    if (from_input)
        free(value.data);
    else
        bole_buffer_free(&value);
    return cli_close(cli, code);
}

static int run_get(invocation *cli)
{
    int code = cli_open(cli, BOLE_READ_ONLY);
    if (code != EXIT_OK)
        return code;
    bole_buffer key = BOLE_BUFFER_INIT, value = BOLE_BUFFER_INIT;
    bole_read_options options = read_options(cli);
    for (int i = 0; i < cli->argument_count; i++) {
        bole_status status = cli_parse_bytes(cli, cli->arguments[i], &key);
        if (status == BOLE_OK)
            status = bole_get(cli->db, &options, slice_of(&key), &value);
        if (status == BOLE_NOT_FOUND) {
            fprintf(stderr, "bole: no key %s\n", cli->arguments[i]);
            code = EXIT_NOT_FOUND;
            continue;
        }
        if (status != BOLE_OK) {
            code = cli_fail(cli, status);
            break;
        }
        if (cli->json) {
            json_t *line = json_pack("{s:o,s:o}", "key", cli_json_bytes(slice_of(&key)), "value",
                                     cli_json_bytes(slice_of(&value)));
            json_dumpf(line, stdout, JSON_COMPACT);
            json_decref(line);
        } else {
            cli_print_bytes(stdout, slice_of(&value), cli_form_of(cli));
        }
        if (!cli->raw)
            putchar('\n');
    }
    bole_buffer_free(&key);
    bole_buffer_free(&value);
    return cli_close(cli, code);
}

static int run_del(invocation *cli)
{
    int code = cli_open(cli, 0);
    if (code != EXIT_OK)
        return code;
    bole_buffer key = BOLE_BUFFER_INIT;
    bole_write_options options = write_options(cli);
    for (int i = 0; i < cli->argument_count && code == EXIT_OK; i++) {
        bole_status status = cli_parse_bytes(cli, cli->arguments[i], &key);
        if (status == BOLE_OK)
            status = bole_delete(cli->db, &options, slice_of(&key));
        if (status != BOLE_OK)
            code = cli_fail(cli, status);
    }
    bole_buffer_free(&key);
    return cli_close(cli, code);
}

static int run_exists(invocation *cli)
{
    int code = cli_open(cli, BOLE_READ_ONLY);
    if (code != EXIT_OK)
        return code;
    bole_buffer key = BOLE_BUFFER_INIT;
    bole_read_options options = read_options(cli);
    bole_status status = cli_parse_bytes(cli, cli->arguments[0], &key);
    if (status == BOLE_OK)
        status = bole_exists(cli->db, &options, slice_of(&key));
    if (status == BOLE_NOT_FOUND)
        code = EXIT_NOT_FOUND;
    else if (status != BOLE_OK)
        code = cli_fail(cli, status);
    bole_buffer_free(&key);
    return cli_close(cli, code);
}

/* ---- scan ---- */

static struct {
    char *from, *to, *prefix;
    int reverse, keys_only;
    long limit;
} scanning;

static struct poptOption scan_options[] = {
    { "from", 0, POPT_ARG_STRING, &scanning.from, 0, "first key", "KEY" },
    { "to", 0, POPT_ARG_STRING, &scanning.to, 0, "stop before this key", "KEY" },
    { "prefix", 'p', POPT_ARG_STRING, &scanning.prefix, 0, "only keys that start so", "BYTES" },
    { "reverse", 'r', POPT_ARG_NONE, &scanning.reverse, 0, "from the last key to the first", NULL },
    { "keys", 'k', POPT_ARG_NONE, &scanning.keys_only, 0, "show keys only", NULL },
    { "limit", 'n', POPT_ARG_LONG, &scanning.limit, 0, "at most this many; 0: all", "N" },
    POPT_TABLEEND,
};

static void print_entry(invocation *cli, bole_slice key, bole_slice value)
{
    if (cli->json) {
        json_t *line = json_pack("{s:o}", "key", cli_json_bytes(key));
        if (!scanning.keys_only)
            json_object_set_new(line, "value", cli_json_bytes(value));
        json_dumpf(line, stdout, JSON_COMPACT);
        json_decref(line);
    } else {
        cli_print_bytes(stdout, key, cli_form_of(cli));
        if (!scanning.keys_only) {
            putchar('\t');
            cli_print_bytes(stdout, value, cli_form_of(cli));
        }
    }
    putchar('\n');
}

typedef struct bounds {
    bole_buffer from, to, prefix;
} bounds;

static bole_status parse_bound(invocation *cli, const char *text, bole_buffer *buffer, bole_slice *bound)
{
    if (text == NULL)
        return BOLE_OK;
    bole_status status = cli_parse_bytes(cli, text, buffer);
    *bound = slice_of(buffer);
    return status;
}

/* Walk what the options ask for; `show` NULL only counts. */
static bole_status walk(invocation *cli, void (*show)(invocation *cli, bole_slice key, bole_slice value),
                        uint64_t *count)
{
    bounds b = { BOLE_BUFFER_INIT, BOLE_BUFFER_INIT, BOLE_BUFFER_INIT };
    bole_read_options options = read_options(cli);
    bole_iterator *iterator = NULL;
    bole_status status = BOLE_OK;
    if (scanning.limit < 0) {
        snprintf(cli->error.message, sizeof(cli->error.message), "--limit %ld: it cannot be below 0",
                 scanning.limit);
        status = BOLE_INVALID;
    }
    if (status == BOLE_OK)
        status = parse_bound(cli, scanning.from, &b.from, &options.lower_bound);
    if (status == BOLE_OK)
        status = parse_bound(cli, scanning.to, &b.to, &options.upper_bound);
    if (status == BOLE_OK)
        status = parse_bound(cli, scanning.prefix, &b.prefix, &options.prefix);
    if (status == BOLE_OK)
        status = bole_iterator_create(cli->db, &options, &iterator);
    if (status == BOLE_OK) {
        uint64_t most = scanning.limit > 0 ? (uint64_t)scanning.limit : UINT64_MAX;
        bool on = scanning.reverse ? bole_iterator_seek_last(iterator) : bole_iterator_seek_first(iterator);
        for (; on && *count < most && !cli_interrupted; (*count)++) {
            if (show != NULL)
                show(cli, bole_iterator_key(iterator), bole_iterator_value(iterator));
            on = scanning.reverse ? bole_iterator_prev(iterator) : bole_iterator_next(iterator);
        }
        status = cli_interrupted ? BOLE_CANCELLED : bole_iterator_status(iterator);
    }
    bole_iterator_destroy(iterator);
    bole_buffer_free(&b.from);
    bole_buffer_free(&b.to);
    bole_buffer_free(&b.prefix);
    return status;
}

static int run_scan(invocation *cli)
{
    int code = cli_open(cli, BOLE_READ_ONLY);
    if (code != EXIT_OK)
        return code;
    uint64_t count = 0;
    bole_status status = walk(cli, print_entry, &count);
    if (status != BOLE_OK)
        code = cli_fail(cli, status);
    return cli_close(cli, code);
}

static int run_count(invocation *cli)
{
    int code = cli_open(cli, BOLE_READ_ONLY);
    if (code != EXIT_OK)
        return code;
    uint64_t count = 0;
    bole_status status = walk(cli, NULL, &count);
    if (status != BOLE_OK)
        code = cli_fail(cli, status);
    else
        printf("%llu\n", (unsigned long long)count);
    return cli_close(cli, code);
}

const cli_command cli_put = {
    "put",
    "KEY VALUE",
    "set a key; VALUE - reads standard input",
    "bole put my.bole hello world\nbole put my.bole page - < page.html",
    2,
    2,
    NULL,
    run_put,
};
const cli_command cli_get = {
    "get",
    "KEY...",
    "print the value of each key",
    "bole get my.bole hello\nbole --raw get my.bole page > page.html",
    1,
    -1,
    NULL,
    run_get,
};
const cli_command cli_del = {
    "del", "KEY...", "remove keys", "bole del my.bole hello", 1, -1, NULL, run_del
};
const cli_command cli_exists = {
    "exists",
    "KEY",
    "exit code 0 when the key is there, 1 when not",
    "bole exists my.bole hello && echo yes",
    1,
    1,
    NULL,
    run_exists,
};
const cli_command cli_scan = {
    "scan",
    "",
    "print keys and values in order",
    "bole scan my.bole --prefix user: -n 10\nbole --json scan my.bole",
    0,
    0,
    scan_options,
    run_scan,
};
const cli_command cli_count = {
    "count", "", "count keys", "bole count my.bole --prefix user:", 0, 0, scan_options, run_count,
};
