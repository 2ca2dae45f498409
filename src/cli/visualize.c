/* SPDX-License-Identifier: MIT */
/* visualize.c -- bole visualize: the real state of a store as a picture, in the form its output asks for. */
#include "cli/visualize.h"

static int run_visualize(invocation *cli)
{
    int code = cli_open(cli, BOLE_READ_ONLY);
    if (code != EXIT_OK)
        return code;
    bole_status status;
    json_t *model = visualize_model(cli, &status);
    if (model == NULL)
        return cli_close(cli, cli_fail(cli, status));
    if (cli->json) {
        json_dumpf(model, stdout, JSON_INDENT(1) | JSON_REAL_PRECISION(9));
        putchar('\n');
    } else if (!visualize_text(model, stdout)) {
        code = cli_fail(cli, BOLE_IO);
    }
    json_decref(model);
    return cli_close(cli, code);
}

const cli_command cli_visualize = {
    "visualize",
    "",
    "a picture of the store: levels, segments, memtables, log, filters, costs",
    "bole visualize my.bole\nbole --json visualize my.bole",
    0,
    0,
    NULL,
    run_visualize,
};
