/* SPDX-License-Identifier: MIT */
/* visualize_cairo.c -- the picture as SVG and PNG, from one drawing code.
 *
 * A drawing pass without a target measures the height, the next one draws. Each segment's rectangle is noted as it is
 * drawn; cairo's SVG can carry no data of ours, so the notes go into a <metadata> element, as JSON, behind
 * cairo's own
 * opening tag: {"format", "segments": [{number, table, level, run, smallest, largest, bytes, entries, x, y, width,
 * height}]}. */
#include "cli/visualize.h"

#include <cairo-svg.h>
#include <cairo.h>
#include <stdlib.h>
#include <string.h>

enum { WIDTH = 1400, MARGIN = 40, LEFT = 150, RIGHT = 1280, COLUMN = 690 };

typedef struct color {
    double red, green, blue;
} color;

static const color paper = { 1, 1, 1 }, ink = { 0.09, 0.125, 0.165 }, soft = { 0.365, 0.42, 0.47 },
                   lane = { 0.933, 0.945, 0.957 }, accent = { 0.122, 0.435, 0.706 },
                   warm = { 0.76, 0.34, 0.05 }, ramp_low = { 0.827, 0.89, 0.945 },
                   ramp_high = { 0.031, 0.188, 0.42 };

typedef struct picture {
    cairo_t *cairo;
    double y;
    json_t *marks; /* segments as drawn */
} picture;

/* ---- strokes ---- */

static void use(picture *p, color c) { cairo_set_source_rgb(p->cairo, c.red, c.green, c.blue); }

static void box(picture *p, double x, double y, double width, double height, color c)
{
    use(p, c);
    cairo_rectangle(p->cairo, x, y, width, height);
    cairo_fill(p->cairo);
}

/* Text with its baseline at y; align 0: starts at x, 1: ends there. */
static void text(picture *p, double x, double y, double size, bool bold, color c, int align,
                 const char *words)
{
    cairo_text_extents_t extents;
    cairo_select_font_face(p->cairo, "sans-serif", CAIRO_FONT_SLANT_NORMAL,
                           bold ? CAIRO_FONT_WEIGHT_BOLD : CAIRO_FONT_WEIGHT_NORMAL);
    cairo_set_font_size(p->cairo, size);
    use(p, c);
    cairo_text_extents(p->cairo, words, &extents);
    cairo_move_to(p->cairo, align == 1 ? x - extents.x_advance : x, y);
    cairo_show_text(p->cairo, words);
}

static color ramp(double t)
{
    return (color){ ramp_low.red + t * (ramp_high.red - ramp_low.red),
                    ramp_low.green + t * (ramp_high.green - ramp_low.green),
                    ramp_low.blue + t * (ramp_high.blue - ramp_low.blue) };
}

/* ---- key map ---- */

static void note_mark(picture *p, const json_t *table, const json_t *segment, const double at[4])
{
    json_t *mark = json_pack("{s:s,s:s,s:s,s:f,s:f,s:f,s:f}", "table", visualize_string(table, "name"),
                             "smallest", visualize_string(segment, "smallest"), "largest",
                             visualize_string(segment, "largest"), "x", at[0], "y", at[1], "width", at[2],
                             "height", at[3]);
    const char *const names[] = { "number", "level", "run", "bytes", "entries" };
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
        json_object_set_new(mark, names[i], json_integer(visualize_integer(segment, names[i])));
    json_array_append_new(p->marks, mark);
}

static void draw_segment(picture *p, const json_t *table, const json_t *segment, double height, double most)
{
    double ranks = visualize_real(table, "ranks"), span = RIGHT - LEFT;
    double from = LEFT + span * visualize_real(segment, "smallest_rank") / ranks;
    double to = LEFT + span * (visualize_real(segment, "largest_rank") + 1) / ranks;
    double width = to - from > 3 ? to - from - 1 : to - from;
    double at[4] = { from, p->y, width < 0.6 ? 0.6 : width, height };
    box(p, at[0], at[1], at[2], at[3], ramp(visualize_real(segment, "bytes") / most));
    note_mark(p, table, segment, at);
}

static double largest_segment(const json_t *table)
{
    double most = 1;
    size_t l, r, s;
    json_t *level, *run, *segment;
    json_array_foreach(visualize_at(table, "levels"), l, level)
        json_array_foreach(visualize_at(level, "runs"), r, run)
            json_array_foreach(visualize_at(run, "segments"), s,
                               segment) if (visualize_real(segment, "bytes") > most)
                most = visualize_real(segment, "bytes");
    return most;
}

static void lane_with_size(picture *p, const char *group, double height, double bytes)
{
    char number[VISUALIZE_NUMBER];
    text(p, MARGIN, p->y + height / 2 + 4, 12, true, ink, 0, group);
    box(p, LEFT, p->y, RIGHT - LEFT, height, lane);
    text(p, WIDTH - MARGIN, p->y + height / 2 + 4, 12, false, soft, 1, visualize_bytes(number, bytes));
}

static void draw_memtables(picture *p, const json_t *model, double height)
{
    size_t i;
    json_t *memtable;
    json_array_foreach(visualize_at(model, "memtables"), i, memtable)
    {
        char words[96], number[VISUALIZE_NUMBER];
        const double dashes[] = { 4, 3 };
        lane_with_size(p, i == 0 ? "Memtables" : "", height, visualize_real(memtable, "bytes"));
        use(p, accent);
        cairo_set_line_width(p->cairo, 1);
        cairo_set_dash(p->cairo, dashes, 2, 0);
        cairo_rectangle(p->cairo, LEFT + 0.5, p->y + 0.5, RIGHT - LEFT - 1, height - 1);
        cairo_stroke(p->cairo);
        cairo_set_dash(p->cairo, NULL, 0, 0);
        snprintf(words, sizeof(words), "%s, %s entries",
                 json_is_true(visualize_at(memtable, "active")) ? "active" : "sealed",
                 visualize_count(number, visualize_integer(memtable, "entries")));
        text(p, LEFT + 10, p->y + height / 2 + 4, 11, false, soft, 0, words);
        p->y += height + 4;
    }
    p->y += 8;
}

static void draw_key(picture *p, double x, int align, const char *key)
{
    char words[48];
    snprintf(words, sizeof(words), strlen(key) > 44 ? "%.41s..." : "%s", key);
    text(p, x, p->y, 11, false, soft, align, words);
}

static void draw_bounds(picture *p, const json_t *table)
{
    size_t l, r, s;
    json_t *level, *run, *segment;
    bool first = true, last = true;
    json_array_foreach(visualize_at(table, "levels"), l, level)
        json_array_foreach(visualize_at(level, "runs"), r, run)
            json_array_foreach(visualize_at(run, "segments"), s, segment)
    {
        if (first && visualize_integer(segment, "smallest_rank") == 0) {
            draw_key(p, LEFT, 0, visualize_string(segment, "smallest"));
            first = false;
        }
        if (last && visualize_integer(segment, "largest_rank") == visualize_integer(table, "ranks") - 1) {
            draw_key(p, RIGHT, 1, visualize_string(segment, "largest"));
            last = false;
        }
    }
    p->y += 8;
}

static void draw_table(picture *p, const json_t *model, const json_t *table)
{
    char words[512], segments[VISUALIZE_NUMBER], bytes[VISUALIZE_NUMBER], entries[VISUALIZE_NUMBER];
    size_t lanes = 0, l, r, s;
    json_t *level, *run, *segment;
    json_array_foreach(visualize_at(table, "levels"), l, level)
        lanes += json_array_size(visualize_at(level, "runs"));
    double height = lanes > 20 ? 14 : lanes > 10 ? 20 : 30, most = largest_segment(table);
    snprintf(words, sizeof(words), "Table %.60s: %s segments, %s, %s entries",
             visualize_string(table, "name"), visualize_count(segments, visualize_integer(table, "segments")),
             visualize_bytes(bytes, visualize_real(table, "bytes")),
             visualize_count(entries, visualize_integer(table, "entries")));
    text(p, MARGIN, p->y, 15, true, ink, 0, words);
    p->y += 26;
    draw_bounds(p, table);
    draw_memtables(p, model, height < 20 ? 20 : height);
    json_array_foreach(visualize_at(table, "levels"), l, level)
    {
        json_array_foreach(visualize_at(level, "runs"), r, run)
        {
            snprintf(words, sizeof(words), "Level %lld", (long long)visualize_integer(level, "level"));
            lane_with_size(p, r == 0 ? words : "", height, visualize_real(run, "bytes"));
            json_array_foreach(visualize_at(run, "segments"), s, segment)
                draw_segment(p, table, segment, height, most);
            p->y += height + (height < 20 ? 2 : 4);
        }
        p->y += 8;
    }
    p->y += 34;
}

/* ---- panels ---- */

static void bar(picture *p, double x, const char *name, double share, const char *value, double mark)
{
    const double left = x + 90, width = 380;
    text(p, x, p->y + 9, 12, false, soft, 0, name);
    box(p, left, p->y, width, 10, lane);
    box(p, left, p->y, width * (share > 1 ? 1 : share), 10, accent);
    if (mark >= 0)
        box(p, left + width * mark - 1.5, p->y - 4, 3, 18, warm);
    text(p, x + 600, p->y + 9, 12, false, ink, 1, value);
    p->y += 26;
}

static void draw_filters(picture *p, const json_t *table)
{
    char words[160], name[32], measured[VISUALIZE_NUMBER], expected[VISUALIZE_NUMBER];
    double most = 0;
    size_t l;
    json_t *level;
    snprintf(words, sizeof(words), "Filters of %.60s: false positives, measured (bar), expected (mark)",
             visualize_string(table, "name"));
    text(p, MARGIN, p->y, 13, true, ink, 0, words);
    p->y += 20;
    json_array_foreach(visualize_at(table, "levels"), l, level)
    {
        const json_t *filter = visualize_at(level, "filter");
        if (visualize_integer(filter, "probes") == 0)
            continue;
        if (visualize_real(filter, "expected") * 1.15 > most)
            most = visualize_real(filter, "expected") * 1.15;
        if (visualize_real(filter, "measured") * 1.15 > most)
            most = visualize_real(filter, "measured") * 1.15;
    }
    json_array_foreach(visualize_at(table, "levels"), l, level)
    {
        const json_t *filter = visualize_at(level, "filter");
        bool has = visualize_integer(filter, "probes") > 0 && most > 0;
        snprintf(name, sizeof(name), "Level %lld", (long long)visualize_integer(level, "level"));
        snprintf(words, sizeof(words), "%s (%s)",
                 visualize_percent(measured, visualize_real(filter, "measured")),
                 visualize_percent(expected, visualize_real(filter, "expected")));
        bar(p, MARGIN, name, has ? visualize_real(filter, "measured") / most : 0, has ? words : "no filter",
            has ? visualize_real(filter, "expected") / most : -1);
    }
    p->y += 14;
}

static void draw_space(picture *p, const json_t *table, double x)
{
    char name[128], number[VISUALIZE_NUMBER];
    const json_t *values = visualize_at(table, "values");
    double apart = visualize_real(values, "bytes"), all = visualize_real(table, "bytes") + apart;
    size_t l;
    json_t *level;
    snprintf(name, sizeof(name), "Space of %.60s by level", visualize_string(table, "name"));
    text(p, x, p->y, 13, true, ink, 0, name);
    p->y += 20;
    json_array_foreach(visualize_at(table, "levels"), l, level)
    {
        double bytes = visualize_real(level, "bytes");
        snprintf(name, sizeof(name), "Level %lld", (long long)visualize_integer(level, "level"));
        bar(p, x, name, all > 0 ? bytes / all : 0, visualize_bytes(number, bytes), -1);
    }
    if (apart > 0)
        bar(p, x, "Values", apart / all, visualize_bytes(number, apart), -1);
    p->y += 14;
}

static void fact(picture *p, double x, const char *name, const char *value)
{
    text(p, x, p->y, 12, false, soft, 0, name);
    text(p, x + 600, p->y, 12, false, ink, 1, value);
    p->y += 22;
}

static void draw_costs(picture *p, const json_t *model, double x)
{
    char words[128], a[VISUALIZE_NUMBER], b[VISUALIZE_NUMBER];
    const json_t *statistics = visualize_at(model, "statistics"),
                 *memory = visualize_at(statistics, "memory");
    const json_t *amplification = visualize_at(statistics, "amplification"),
                 *pacing = visualize_at(statistics, "pacing");
    text(p, x, p->y, 13, true, ink, 0, "Amplification, debt, memory");
    p->y += 24;
    snprintf(words, sizeof(words), "%.2f", visualize_real(amplification, "space"));
    fact(p, x, "space: bytes in segments over bytes in the last level", words);
    snprintf(words, sizeof(words), "%lld", (long long)visualize_integer(model, "read_places"));
    fact(p, x, "read: places a get of one key may have to ask", words);
    snprintf(words, sizeof(words), "%.2f", visualize_real(amplification, "write"));
    fact(p, x, "write: bytes written over bytes given, since open",
         visualize_integer(amplification, "user_bytes_written") > 0 ? words : "counted by the writer");
    fact(p, x, "compaction debt", visualize_bytes(a, visualize_real(pacing, "debt_bytes")));
    snprintf(words, sizeof(words), "%lld ns a KiB", (long long)visualize_integer(pacing, "delay_ns_per_kib"));
    fact(p, x, "delay of writes", words);
    snprintf(words, sizeof(words), "%s of %s", visualize_bytes(a, visualize_real(memory, "used")),
             visualize_bytes(b, visualize_real(memory, "limit")));
    fact(p, x, "memory used", words);
}

static void draw_log(picture *p, const json_t *model, double x)
{
    char name[48], words[96], a[VISUALIZE_NUMBER], b[VISUALIZE_NUMBER];
    size_t i;
    json_t *log;
    text(p, x, p->y, 13, true, ink, 0, "Log");
    p->y += 24;
    json_array_foreach(visualize_at(model, "logs"), i, log)
    {
        double held = visualize_real(log, "end") - visualize_real(log, "start");
        snprintf(name, sizeof(name), "%06lld.log%s", (long long)visualize_integer(log, "number"),
                 json_is_true(visualize_at(log, "active")) ? ", written now" : "");
        snprintf(words, sizeof(words), "%s held, file %s", visualize_bytes(a, held),
                 visualize_bytes(b, visualize_real(log, "bytes")));
        fact(p, x, name, words);
    }
}

static void draw_all(picture *p, const json_t *model)
{
    char words[256];
    const json_t *store = visualize_at(model, "store");
    size_t t;
    json_t *table;
    p->y = MARGIN + 20;
    snprintf(words, sizeof(words), "%.120s", visualize_string(model, "path"));
    text(p, MARGIN, p->y, 24, true, ink, 0, words);
    snprintf(words, sizeof(words), "store %s, format %lld, bole %s, %s", visualize_string(store, "id"),
             (long long)visualize_integer(store, "format_version"), visualize_string(model, "bole"),
             visualize_string(model, "generated"));
    p->y += 24;
    text(p, MARGIN, p->y, 12, false, soft, 0, words);
    p->y += 44;
    json_array_foreach(visualize_at(model, "tables"), t, table) draw_table(p, model, table);
    double top = p->y;
    json_array_foreach(visualize_at(model, "tables"), t, table) draw_filters(p, table);
    draw_log(p, model, MARGIN);
    double left_end = p->y;
    p->y = top;
    json_array_foreach(visualize_at(model, "tables"), t, table) draw_space(p, table, COLUMN + MARGIN);
    draw_costs(p, model, COLUMN + MARGIN);
    p->y = (p->y > left_end ? p->y : left_end) + MARGIN;
}

/* ---- surfaces ---- */

static double measure(const json_t *model)
{
    cairo_surface_t *surface = cairo_recording_surface_create(CAIRO_CONTENT_COLOR, NULL);
    picture p = { cairo_create(surface), 0, json_array() };
    draw_all(&p, model);
    cairo_destroy(p.cairo);
    cairo_surface_destroy(surface);
    json_decref(p.marks);
    return p.y;
}

/* Draw on the surface and finish it; *marks is the caller's. */
static bool paint(cairo_surface_t *surface, const json_t *model, json_t **marks)
{
    picture p = { cairo_create(surface), 0, json_array() };
    use(&p, paper);
    cairo_paint(p.cairo);
    draw_all(&p, model);
    bool good = cairo_status(p.cairo) == CAIRO_STATUS_SUCCESS && p.marks != NULL;
    cairo_destroy(p.cairo);
    *marks = p.marks;
    return good;
}

typedef struct memory {
    char *bytes;
    size_t size, capacity;
} memory;

static cairo_status_t write_to_memory(void *context, const unsigned char *bytes, unsigned size)
{
    memory *m = context;
    if (m->capacity - m->size < (size_t)size + 1) {
        size_t capacity = 2 * m->capacity + size + 4096;
        char *grown = realloc(m->bytes, capacity);
        if (grown == NULL)
            return CAIRO_STATUS_NO_MEMORY;
        m->bytes = grown;
        m->capacity = capacity;
    }
    memcpy(m->bytes + m->size, bytes, size);
    m->size += size;
    m->bytes[m->size] = 0;
    return CAIRO_STATUS_SUCCESS;
}

static cairo_status_t write_to_file(void *context, const unsigned char *bytes, unsigned size)
{
    return fwrite(bytes, 1, size, context) == size ? CAIRO_STATUS_SUCCESS : CAIRO_STATUS_WRITE_ERROR;
}

static void write_metadata(const json_t *model, json_t *marks, FILE *out)
{
    json_t *root = json_pack("{s:s,s:O,s:O}", "format", "bole-visualize/1", "store",
                             visualize_at(model, "store"), "segments", marks);
    char *words = json_dumps(root, JSON_COMPACT | JSON_ENSURE_ASCII | JSON_REAL_PRECISION(9));
    fputs("\n<metadata id=\"bole-segments\">", out);
    for (const char *at = words; at != NULL && *at != 0; at++) {
        const char *entity = *at == '<' ? "&lt;" : *at == '>' ? "&gt;" : *at == '&' ? "&amp;" : NULL;
        if (entity != NULL)
            fputs(entity, out);
        else
            fputc(*at, out);
    }
    fputs("</metadata>", out);
    free(words);
    json_decref(root);
}

bool visualize_svg(const json_t *model, FILE *out)
{
    memory svg = { NULL, 0, 0 };
    json_t *marks = NULL;
    cairo_surface_t *surface = cairo_svg_surface_create_for_stream(write_to_memory, &svg, WIDTH,
                                                                   measure(model));
    bool good = paint(surface, model, &marks);
    cairo_surface_finish(surface);
    good = good && cairo_surface_status(surface) == CAIRO_STATUS_SUCCESS && svg.bytes != NULL;
    cairo_surface_destroy(surface);
    char *tag = good ? strstr(svg.bytes, "<svg ") : NULL;
    char *end = tag != NULL ? strchr(tag, '>') : NULL;
    if (end != NULL) {
        fwrite(svg.bytes, 1, (size_t)(end + 1 - svg.bytes), out);
        write_metadata(model, marks, out);
        fwrite(end + 1, 1, svg.size - (size_t)(end + 1 - svg.bytes), out);
    }
    json_decref(marks);
    free(svg.bytes);
    return end != NULL && fflush(out) == 0 && !ferror(out);
}

bool visualize_png(const json_t *model, FILE *out)
{
    json_t *marks = NULL;
    int height = (int)measure(model) + 1;
    cairo_surface_t *surface = cairo_image_surface_create(CAIRO_FORMAT_RGB24, WIDTH, height);
    bool good = paint(surface, model, &marks) &&
                cairo_surface_write_to_png_stream(surface, write_to_file, out) == CAIRO_STATUS_SUCCESS;
    cairo_surface_destroy(surface);
    json_decref(marks);
    return good && fflush(out) == 0 && !ferror(out);
}
