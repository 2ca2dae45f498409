/* SPDX-License-Identifier: MIT */
/* visualize_html.c -- the picture as one page that needs no network: web/visualize.html with the model in it.
 *
 * (HTML-1) Nothing in the model can end its script element or begin markup: every `<` is written \u003c, and the
 *          page puts text into its elements only as text. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE /* memmem */
#endif
#include "cli/visualize.h"

#include <stdlib.h>
#include <string.h>

extern const unsigned char visualize_page[]; /* made from web/visualize.html when bole is built */
extern const size_t visualize_page_size;

static const char mark[] = "@MODEL@";

bool visualize_html(const json_t *model, FILE *out)
{
    const char *page = (const char *)visualize_page;
    const char *at = memmem(page, visualize_page_size, mark, sizeof(mark) - 1);
    char *text = json_dumps(model, JSON_COMPACT | JSON_ENSURE_ASCII | JSON_REAL_PRECISION(9));
    if (at == NULL || text == NULL) {
        free(text);
        return false;
    }
    fwrite(page, 1, (size_t)(at - page), out);
    for (const char *from = text; *from != 0;) {
        size_t plain = strcspn(from, "<");
        fwrite(from, 1, plain, out);
        from += plain;
        if (*from == '<') {
            fputs("\\u003c", out);
            from++;
        }
    }
    free(text);
    at += sizeof(mark) - 1;
    fwrite(at, 1, visualize_page_size - (size_t)(at - page), out);
    return fflush(out) == 0 && !ferror(out);
}
