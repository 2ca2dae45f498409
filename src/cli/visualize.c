/* SPDX-License-Identifier: MIT */
/* visualize.c -- bole visualize: the real state of a store as a picture, in the form its output's name asks for. */
#include "cli/visualize.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

typedef bool (*draw_function)(const json_t *model, FILE *out);

static char *output;

static struct poptOption visualize_options[] = {
    { "output", 'o', POPT_ARG_STRING, &output, 0, "a page (.html) or an image (.svg, .png); else text",
      "FILE" },
    POPT_TABLEEND,
};

/* By the ending of the output's name; NULL for one that is not known. */
static draw_function form_of(const char *name)
{
    static const struct {
        const char *ending;
        draw_function draw;
    } forms[] = { { ".html", visualize_html },
                  { ".svg", visualize_svg },
                  { ".png", visualize_png },
                  { ".txt", visualize_text } };
    const char *ending = strrchr(name, '.');
    for (size_t i = 0; ending != NULL && i < sizeof(forms) / sizeof(forms[0]); i++)
        if (strcmp(ending, forms[i].ending) == 0)
            return forms[i].draw;
    return NULL;
}

static int fail_output(invocation *cli, int error)
{
    snprintf(cli->error.message, sizeof(cli->error.message), "%.600s cannot be written: %s", output,
             error != 0 ? strerror(error) : "drawing ran out of memory");
    return cli_fail(cli, BOLE_IO);
}

static int draw_file(invocation *cli, const json_t *model, draw_function draw)
{
    errno = 0;
    FILE *out = fopen(output, "wb");
    if (out == NULL)
        return fail_output(cli, errno);
    bool good = draw(model, out);
    int error = good ? 0 : errno;
    if (fclose(out) != 0 && good) {
        good = false;
        error = errno;
    }
    if (good)
        return EXIT_OK;
    remove(output); /* half a picture is none */
    return fail_output(cli, error);
}

static int draw_terminal(invocation *cli, const json_t *model)
{
    if (cli->json) {
        json_dumpf(model, stdout, JSON_INDENT(1) | JSON_REAL_PRECISION(9));
        putchar('\n');
        return EXIT_OK;
    }
    return visualize_text(model, stdout) ? EXIT_OK : cli_fail(cli, BOLE_IO);
}

static int run_visualize(invocation *cli)
{
    draw_function draw = output == NULL ? visualize_text : form_of(output);
    if (draw == NULL)
        return cli_usage_error("\"%s\" names no form: it must end in .html, .svg, .png or .txt", output);
    int code = cli_open(cli, BOLE_READ_ONLY);
    if (code != EXIT_OK)
        return code;
    bole_status status;
    json_t *model = visualize_model(cli, &status);
    if (model == NULL)
        return cli_close(cli, cli_fail(cli, status));
    code = output == NULL ? draw_terminal(cli, model) : draw_file(cli, model, draw);
    json_decref(model);
    return cli_close(cli, code);
}

const cli_command cli_visualize = {
    "visualize",
    "",
    "a picture of the store: levels, segments, memtables, log, filters, costs",
    "bole visualize my.bole\nbole visualize my.bole -o my.html\nbole visualize my.bole --table users -o users.svg\n"
    "bole --json visualize my.bole",
    0,
    0,
    visualize_options,
    run_visualize,
};
