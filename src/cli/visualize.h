/* SPDX-License-Identifier: MIT */
/* visualize.h -- the picture of a store: one model, several forms.
 *
 * The model is JSON ("bole-visualize/1"), built once from bole_inspect.h and bole_stats. Every form is
 * drawn from it and
 * from nothing else, so that all forms show the same moment and the same numbers:
 *
 *   format, bole, path, generated, generated_us
 *   store       id, format_version, manifest_number, manifest_bytes, position_visible, flushed_through, synced, clean
 *   tables[]    name, ranks, segments, bytes, entries, tombstones,
 *               levels[] level, bytes, raw_bytes, entries, tombstones, filter, runs[] run, segments[]
 *     segment   number, level, run, smallest, largest (escaped), smallest_rank, largest_rank (place among
 *     all distinct
 *               boundary keys of the table, 0 to ranks-1), bytes, raw_bytes, entries, tombstones, blocks,
 *               sequence_min,
 *               sequence_max, created_us, compression, cached_blocks, filter
 *     filter    bytes, bits_per_key, expected, measured (null without a filter), probes, false_positives,
 *               and since open:
 *               asked, negatives, true_positives, wrong
 *   memtables[] active, bytes, entries, tables           newest first
 *   logs[]      number, start, end, bytes, active        oldest first
 *   files[]     name, kind, bytes, live
 *   read_places memtables and runs that a get of one key may have to ask, at worst (of the table with the most)
 *   statistics  as `bole stats --json` prints them */
#ifndef BOLE_CLI_VISUALIZE_H
#define BOLE_CLI_VISUALIZE_H

#include "cli/cli.h"

/* The model of the open store, of one table when --table names one. The caller owns it; NULL on failure. */
json_t *visualize_model(invocation *cli, bole_status *status);

/* ---- forms; each returns false when it ran out of memory or the stream failed ---- */
bool visualize_text(const json_t *model, FILE *out);
bool visualize_html(const json_t *model, FILE *out);
bool visualize_svg(const json_t *model, FILE *out); /* its <metadata> lists the segments as they were drawn */
bool visualize_png(const json_t *model, FILE *out);

/* ---- reading the model ---- */
int64_t visualize_integer(const json_t *object, const char *name);
double visualize_real(const json_t *object, const char *name); /* also of an integer; NAN when null or missing */
const char *visualize_string(const json_t *object, const char *name);
const json_t *visualize_at(const json_t *object, const char *name);

/* ---- the way numbers are written: 12.3 MB; 1,234,567; 0.82 %. Buffers of VISUALIZE_NUMBER bytes, returned. ---- */
enum { VISUALIZE_NUMBER = 32 };
const char *visualize_bytes(char *out, double bytes);
const char *visualize_count(char *out, int64_t count);
const char *visualize_percent(char *out, double rate);

#endif
