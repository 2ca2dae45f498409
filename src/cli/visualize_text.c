/* SPDX-License-Identifier: MIT */
/* visualize_text.c -- the picture as text: every run a bar over the key space, then memtables, log, filters, costs.
 *
 * Unicode blocks when the locale is UTF-8 and the terminal is not dumb, else ASCII. Neighbouring segments
 * alternate in
 * shade, so that each stays visible; where segments are narrower than a column, the widest in it is shown. */
#include "cli/visualize.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

enum { LABEL_COLUMNS = 10, FACTS_COLUMNS = 30, WIDTH_LEAST = 64, WIDTH_MOST = 240 };

typedef struct text_page {
    FILE *out;
    int width, bar; /* columns of the page, of a bar */
    bool unicode, color;
} text_page;

/* ---- numbers ---- */

const char *visualize_bytes(char *out, double bytes)
{
    const char *const units[] = { "B", "kB", "MB", "GB", "TB", "PB" };
    size_t unit = 0;
    while (bytes >= 999.5 && unit + 1 < sizeof(units) / sizeof(units[0])) {
        bytes /= 1000;
        unit++;
    }
    snprintf(out, VISUALIZE_NUMBER, unit == 0 || bytes >= 99.95 ? "%.0f %s" : "%.1f %s", bytes, units[unit]);
    return out;
}

const char *visualize_count(char *out, int64_t count)
{
    char digits[VISUALIZE_NUMBER];
    int size = snprintf(digits, sizeof(digits), "%lld", (long long)count), at = 0;
    for (int i = 0; i < size && at + 2 < VISUALIZE_NUMBER; i++) {
        if (i > 0 && (size - i) % 3 == 0 && digits[i - 1] != '-')
            out[at++] = ',';
        out[at++] = digits[i];
    }
    out[at] = 0;
    return out;
}

const char *visualize_percent(char *out, double rate)
{
    if (isnan(rate))
        snprintf(out, VISUALIZE_NUMBER, "none");
    else
        snprintf(out, VISUALIZE_NUMBER, rate != 0 && rate < 0.0995 ? "%.3g %%" : "%.0f %%", 100 * rate);
    return out;
}

/* ---- the page ---- */

static bool locale_is_utf8(void)
{
    const char *const names[] = { "LC_ALL", "LC_CTYPE", "LANG" };
    for (size_t i = 0; i < 3; i++) {
        const char *value = getenv(names[i]);
        if (value != NULL && value[0] != 0)
            return strstr(value, "UTF-8") != NULL || strstr(value, "utf8") != NULL ||
                   strstr(value, "utf-8") != NULL;
    }
    return false;
}

static int page_width(FILE *out)
{
    struct winsize size;
    const char *columns = getenv("COLUMNS");
    int width = columns != NULL ? atoi(columns) : 0;
    if (width <= 0 && isatty(fileno(out)) && ioctl(fileno(out), TIOCGWINSZ, &size) == 0)
        width = size.ws_col;
    if (width <= 0)
        width = 100;
    return width < WIDTH_LEAST ? WIDTH_LEAST : width > WIDTH_MOST ? WIDTH_MOST : width;
}

static void style(const text_page *page, const char *code)
{
    if (page->color)
        fprintf(page->out, "\033[%sm", code);
}

static void heading(const text_page *page, const char *text)
{
    fputc('\n', page->out);
    style(page, "1");
    fputs(text, page->out);
    style(page, "0");
    fputc('\n', page->out);
}

static void label(const text_page *page, const char *text)
{
    style(page, "2");
    fprintf(page->out, "%-*.*s", LABEL_COLUMNS, LABEL_COLUMNS, text);
    style(page, "0");
}

/* ---- bars ---- */

/* Which segment of a run each column shows: its index + 1, or 0 for a gap. */
static void fill_columns(const json_t *run, int64_t ranks, int *columns, double *share, int count)
{
    const json_t *segments = visualize_at(run, "segments");
    for (int c = 0; c < count; c++) {
        columns[c] = 0;
        share[c] = 0;
    }
    for (size_t i = 0; i < json_array_size(segments); i++) {
        const json_t *segment = json_array_get(segments, i);
        double from = (double)visualize_integer(segment, "smallest_rank") * count / (double)ranks;
        double to = (double)(visualize_integer(segment, "largest_rank") + 1) * count / (double)ranks;
        for (int c = (int)from; c < count && c < to; c++) {
            double covered = (to < c + 1 ? to : c + 1) - (from > c ? from : c);
            if (covered > share[c]) {
                share[c] = covered;
                columns[c] = (int)i + 1;
            }
        }
    }
}

static void put_cell(const text_page *page, int segment, int before)
{
    const char *cell = segment == 0  ? (page->unicode ? "·" : ".")
                       : page->color ? (page->unicode ? "█" : "#")
                       : segment % 2 ? (page->unicode ? "█" : "#")
                                     : (page->unicode ? "▓" : "=");
    if (segment != before)
        style(page, segment == 0 ? "0;2" : segment % 2 ? "0;34" : "0;36");
    fputs(cell, page->out);
}

static bool draw_run(const text_page *page, const json_t *run, int64_t ranks)
{
    int *columns = malloc((size_t)page->bar * sizeof(columns[0]));
    double *share = malloc((size_t)page->bar * sizeof(share[0]));
    bool done = columns != NULL && share != NULL;
    if (done) {
        fill_columns(run, ranks, columns, share, page->bar);
        for (int c = 0; c < page->bar; c++)
            put_cell(page, columns[c], c == 0 ? -1 : columns[c - 1]);
        style(page, "0");
    }
    free(columns);
    free(share);
    return done;
}

static void draw_axis(const text_page *page, const json_t *table)
{
    const char *first = "", *last = "";
    int64_t ranks = visualize_integer(table, "ranks");
    size_t l, r, s;
    json_t *level, *run, *segment;
    json_array_foreach(visualize_at(table, "levels"), l, level)
        json_array_foreach(visualize_at(level, "runs"), r, run)
            json_array_foreach(visualize_at(run, "segments"), s, segment)
    {
        if (visualize_integer(segment, "smallest_rank") == 0)
            first = visualize_string(segment, "smallest");
        if (visualize_integer(segment, "largest_rank") == ranks - 1)
            last = visualize_string(segment, "largest");
    }
    int half = page->bar / 2 - 1, length = (int)strnlen(last, (size_t)half);
    label(page, "keys");
    style(page, "2");
    fprintf(page->out, "%-*.*s%.*s\n", page->bar - length, half, first, half, last);
    style(page, "0");
}

static bool draw_table(const text_page *page, const json_t *table)
{
    char bytes[VISUALIZE_NUMBER], entries[VISUALIZE_NUMBER], segments[VISUALIZE_NUMBER],
        deleted[VISUALIZE_NUMBER];
    char text[512];
    snprintf(text, sizeof(text), "Table %.200s", visualize_string(table, "name"));
    heading(page, text);
    label(page, "");
    fprintf(page->out, "%s segments, %s, %s entries, %s tombstones\n",
            visualize_count(segments, visualize_integer(table, "segments")),
            visualize_bytes(bytes, visualize_real(table, "bytes")),
            visualize_count(entries, visualize_integer(table, "entries")),
            visualize_count(deleted, visualize_integer(table, "tombstones")));
    if (visualize_integer(table, "ranks") == 0)
        return true;
    draw_axis(page, table);
    size_t l, r;
    json_t *level, *run;
    json_array_foreach(visualize_at(table, "levels"), l, level)
        json_array_foreach(visualize_at(level, "runs"), r, run)
    {
        size_t count = json_array_size(visualize_at(run, "segments"));
        bool many = json_array_size(visualize_at(level, "runs")) > 1 ||
                    visualize_integer(level, "level") == 0;
        snprintf(text, sizeof(text), many ? "L%lld run %lld" : "L%lld",
                 (long long)visualize_integer(level, "level"), (long long)visualize_integer(run, "run"));
        label(page, text);
        if (!draw_run(page, run, visualize_integer(table, "ranks")))
            return false;
        fprintf(page->out, " %8s  %s %s\n", visualize_bytes(bytes, visualize_real(run, "bytes")),
                visualize_count(segments, (int64_t)count), count == 1 ? "segment" : "segments");
    }
    return true;
}

/* ---- the other panels ---- */

static void draw_memory_and_log(const text_page *page, const json_t *model)
{
    char bytes[VISUALIZE_NUMBER], entries[VISUALIZE_NUMBER], size[VISUALIZE_NUMBER];
    const json_t *store = visualize_at(model, "store");
    size_t i;
    json_t *one;
    heading(page, "Memtables");
    if (json_array_size(visualize_at(model, "memtables")) == 0)
        fprintf(page->out, "%*snone\n", LABEL_COLUMNS, "");
    json_array_foreach(visualize_at(model, "memtables"), i, one)
    {
        label(page, json_is_true(visualize_at(one, "active")) ? "active" : "sealed");
        fprintf(page->out, "%8s  %s entries\n", visualize_bytes(bytes, visualize_real(one, "bytes")),
                visualize_count(entries, visualize_integer(one, "entries")));
    }
    heading(page, "Log");
    json_array_foreach(visualize_at(model, "logs"), i, one)
    {
        double held = visualize_real(one, "end") - visualize_real(one, "start");
        fprintf(page->out, "%*s%06lld.log  %s held, file %s%s\n", LABEL_COLUMNS, "",
                (long long)visualize_integer(one, "number"), visualize_bytes(bytes, held),
                visualize_bytes(size, visualize_real(one, "bytes")),
                json_is_true(visualize_at(one, "active")) ? ", written now" : "");
    }
    fprintf(page->out, "%*sposition %lld, synced to %lld, flushed through %lld\n", LABEL_COLUMNS, "",
            (long long)visualize_integer(store, "position_visible"),
            (long long)visualize_integer(store, "synced"),
            (long long)visualize_integer(store, "flushed_through"));
}

static void draw_filters(const text_page *page, const json_t *model)
{
    char bytes[VISUALIZE_NUMBER], expected[VISUALIZE_NUMBER], measured[VISUALIZE_NUMBER],
        hits[VISUALIZE_NUMBER], probes[VISUALIZE_NUMBER], text[512];
    size_t t, l;
    json_t *table, *level;
    heading(page, "Filters: false positives");
    json_array_foreach(visualize_at(model, "tables"), t, table)
        json_array_foreach(visualize_at(table, "levels"), l, level)
    {
        const json_t *filter = visualize_at(level, "filter");
        snprintf(text, sizeof(text), "L%lld", (long long)visualize_integer(level, "level"));
        label(page, text);
        if (json_array_size(visualize_at(model, "tables")) > 1)
            fprintf(page->out, "%-12.12s ", visualize_string(table, "name"));
        if (visualize_integer(filter, "probes") == 0) {
            fputs("no filter\n", page->out);
            continue;
        }
        fprintf(page->out, "expected %7s   measured %7s   %s of %s probes, %.1f bits a key, %s\n",
                visualize_percent(expected, visualize_real(filter, "expected")),
                visualize_percent(measured, visualize_real(filter, "measured")),
                visualize_count(hits, visualize_integer(filter, "false_positives")),
                visualize_count(probes, visualize_integer(filter, "probes")),
                visualize_real(filter, "bits_per_key"),
                visualize_bytes(bytes, visualize_real(filter, "bytes")));
    }
}

static void draw_costs(const text_page *page, const json_t *model)
{
    char a[VISUALIZE_NUMBER], b[VISUALIZE_NUMBER];
    const json_t *statistics = visualize_at(model, "statistics"),
                 *memory = visualize_at(statistics, "memory");
    const json_t *amplification = visualize_at(statistics, "amplification"),
                 *pacing = visualize_at(statistics, "pacing");
    heading(page, "Amplification and debt");
    fprintf(page->out, "%*sspace  %.2f   bytes in segments over bytes in the last level\n", LABEL_COLUMNS, "",
            visualize_real(amplification, "space"));
    const json_t *values = visualize_at(statistics, "values");
    if (visualize_integer(values, "segments") > 0)
        fprintf(page->out, "%*svalues %s in %lld segments, of which %s are dead\n", LABEL_COLUMNS, "",
                visualize_bytes(a, visualize_real(values, "file_bytes")),
                (long long)visualize_integer(values, "segments"),
                visualize_bytes(b, visualize_real(values, "dead_bytes")));
    fprintf(page->out, "%*sread   %lld      places a get of one key may have to ask\n", LABEL_COLUMNS, "",
            (long long)visualize_integer(model, "read_places"));
    if (visualize_integer(amplification, "user_bytes_written") > 0)
        fprintf(page->out, "%*swrite  %.2f   bytes written over bytes given, since open\n", LABEL_COLUMNS, "",
                visualize_real(amplification, "write"));
    else
        fprintf(page->out, "%*swrite  unknown: counted by the process that writes\n", LABEL_COLUMNS, "");
    fprintf(page->out, "%*sdebt   %s to compact, delay %lld ns a KiB\n", LABEL_COLUMNS, "",
            visualize_bytes(a, visualize_real(pacing, "debt_bytes")),
            (long long)visualize_integer(pacing, "delay_ns_per_kib"));
    fprintf(page->out, "%*smemory %s of %s\n", LABEL_COLUMNS, "",
            visualize_bytes(a, visualize_real(memory, "used")),
            visualize_bytes(b, visualize_real(memory, "limit")));
}

bool visualize_text(const json_t *model, FILE *out)
{
    const char *term = getenv("TERM");
    const json_t *store = visualize_at(model, "store");
    text_page page = { .out = out, .width = page_width(out), .color = cli_color(out) };
    page.unicode = locale_is_utf8() && (term == NULL || strcmp(term, "dumb") != 0);
    page.bar = page.width - LABEL_COLUMNS - FACTS_COLUMNS;
    style(&page, "1");
    fprintf(out, "%s", visualize_string(model, "path"));
    style(&page, "0");
    fprintf(out, "  store %s, format %lld, bole %s, %s\n", visualize_string(store, "id"),
            (long long)visualize_integer(store, "format_version"), visualize_string(model, "bole"),
            visualize_string(model, "generated"));
    size_t t;
    json_t *table;
    json_array_foreach(visualize_at(model, "tables"), t, table) if (!draw_table(&page, table)) return false;
    draw_memory_and_log(&page, model);
    draw_filters(&page, model);
    draw_costs(&page, model);
    return fflush(out) == 0 && !ferror(out);
}
