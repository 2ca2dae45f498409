/* SPDX-License-Identifier: MIT */
/* look.c -- stats, levels, segments, tables, config, explain: what is inside, as tables for people or JSON
 * for programs.
 *
 * Every command builds its JSON first and prints the table from it, so both always say the same. */
#include "cli/cli.h"
#include "cli/look.h"

#include <string.h>

/* ---- stats ---- */

static json_t *latency_json(const bole_latency *latency)
{
    return json_pack("{s:I,s:I,s:I,s:I,s:I}", "count", (json_int_t)latency->count, "p50_ns",
                     (json_int_t)latency->p50, "p99_ns", (json_int_t)latency->p99, "p999_ns",
                     (json_int_t)latency->p999, "max_ns", (json_int_t)latency->max);
}

typedef struct counted {
    const char *group, *name;
    uint64_t value;
} counted;

static void add_counted(json_t *root, const counted *items, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        json_t *group = json_object_get(root, items[i].group);
        if (group == NULL) {
            group = json_object();
            json_object_set_new(root, items[i].group, group);
        }
        json_object_set_new(group, items[i].name, json_integer((json_int_t)items[i].value));
    }
}

json_t *look_stats(const bole_statistics *s)
{
    json_t *root = json_object();
    const counted items[] = {
        { "calls", "puts", s->puts },
        { "calls", "deletes", s->deletes },
        { "calls", "gets", s->gets },
        { "calls", "get_hits", s->get_hits },
        { "calls", "get_memtable_hits", s->get_memtable_hits },
        { "calls", "multi_gets", s->multi_gets },
        { "calls", "seeks", s->seeks },
        { "calls", "nexts", s->nexts },
        { "calls", "skipped", s->skipped },
        { "log", "bytes_written", s->log_bytes_written },
        { "log", "syncs", s->log_syncs },
        { "log", "rotations", s->log_rotations },
        { "log", "commit_groups", s->commit_groups },
        { "log", "position_visible", s->position_visible },
        { "log", "position_synced", s->position_synced },
        { "memtables", "bytes", s->memtable_bytes },
        { "memtables", "entries", s->memtable_entries },
        { "memtables", "sealed", s->memtables_sealed },
        { "filters", "probes", s->filter_probes },
        { "filters", "negatives", s->filter_negatives },
        { "filters", "true_positives", s->filter_true_positives },
        { "filters", "false_positives", s->filter_false_positives },
        { "blocks", "hits", s->block_hits },
        { "blocks", "misses", s->block_misses },
        { "blocks", "bytes_read", s->block_bytes_read },
        { "blocks", "evictions", s->block_evictions },
        { "background", "flushes", s->flushes },
        { "background", "flush_bytes_written", s->flush_bytes_written },
        { "background", "compactions", s->compactions },
        { "background", "compaction_bytes_read", s->compaction_bytes_read },
        { "background", "compaction_bytes_written", s->compaction_bytes_written },
        { "background", "trivial_moves", s->trivial_moves },
        { "background", "entries_dropped", s->entries_dropped },
        { "background", "errors", s->background_errors },
        { "background", "events_lost", s->events_lost },
        { "scrub", "rounds", s->scrub_rounds },
        { "scrub", "bytes", s->scrub_bytes },
        { "scrub", "findings", s->scrub_findings },
        { "reserve", "bytes", s->reserve_bytes },
        { "reserve", "uses", s->reserve_uses },
        { "reserve", "spent", s->reserve_spent },
        { "reserve", "refused", s->reserve_refused },
        { "values", "segments", s->value_segments },
        { "values", "file_bytes", s->value_file_bytes },
        { "values", "entries", s->value_entries },
        { "values", "bytes", s->value_bytes },
        { "values", "dead_entries", s->value_dead_entries },
        { "values", "dead_bytes", s->value_dead_bytes },
        { "values", "moved_bytes", s->values_moved_bytes },
        { "pacing", "debt_bytes", s->debt_bytes },
        { "pacing", "delay_ns_per_kib", s->delay_ns_per_kib },
        { "pacing", "delayed_ns", s->delayed_ns },
        { "memory", "limit", s->memory_limit },
        { "memory", "used", s->memory_used },
        { "memory", "memtable", s->memory_memtable },
        { "memory", "log", s->memory_log },
        { "memory", "cache", s->memory_cache },
        { "memory", "index", s->memory_index },
        { "memory", "pinned", s->memory_pinned },
        { "memory", "work", s->memory_work },
        { "readers", "snapshots", s->snapshots },
        { "readers", "iterators", s->iterators },
        { "readers", "oldest_snapshot_sequence", s->oldest_snapshot_sequence },
    };
    add_counted(root, items, sizeof(items) / sizeof(items[0]));
    json_t *levels = json_array();
    for (uint32_t l = 0; l < s->levels; l++)
        json_array_append_new(levels, json_pack("{s:i,s:I,s:I,s:I,s:I,s:I}", "level", (int)l, "runs",
                                                (json_int_t)s->level_runs[l], "segments",
                                                (json_int_t)s->level_segments[l], "bytes",
                                                (json_int_t)s->level_bytes[l], "entries",
                                                (json_int_t)s->level_entries[l], "tombstones",
                                                (json_int_t)s->level_tombstones[l]));
    json_object_set_new(root, "levels", levels);
    json_object_set_new(root, "latency",
                        json_pack("{s:o,s:o,s:o,s:o}", "put", latency_json(&s->put_latency), "get",
                                  latency_json(&s->get_latency), "seek", latency_json(&s->seek_latency),
                                  "sync", latency_json(&s->sync_latency)));
    json_object_set_new(root, "amplification",
                        json_pack("{s:I,s:f,s:f}", "user_bytes_written", (json_int_t)s->user_bytes_written,
                                  "write", s->write_amplification, "space", s->space_amplification));
    return root;
}

static bool add_segment(void *context, const bole_inspect_segment *s)
{
    json_array_append_new(
        context,
        json_pack(
            "{s:I,s:s,s:i,s:i,s:o,s:o,s:I,s:I,s:I,s:I,s:I,s:I,s:I,s:I,s:s,s:I,s:I,s:I,s:f,s:f,s:I,s:I,s:I,s:I,"
            "s:b,s:I,s:I}",
            "number", (json_int_t)s->number, "table", s->table, "level", (int)s->level, "run", (int)s->run,
            "smallest", cli_json_bytes(s->smallest), "largest", cli_json_bytes(s->largest), "file_bytes",
            (json_int_t)s->file_bytes, "raw_bytes", (json_int_t)s->raw_bytes, "entries",
            (json_int_t)s->entries, "tombstones", (json_int_t)s->tombstones, "blocks", (json_int_t)s->blocks,
            "sequence_min", (json_int_t)s->sequence_min, "sequence_max", (json_int_t)s->sequence_max,
            "created_us", (json_int_t)s->created_us, "compression", s->compression, "filter_bytes",
            (json_int_t)s->filter_bytes, "index_bytes", (json_int_t)s->index_bytes, "cached_blocks",
            (json_int_t)s->cached_blocks, "filter_bits_per_key", s->filter_bits_per_key,
            "filter_expected_rate", s->filter_expected_rate, "filter_probes", (json_int_t)s->filter_probes,
            "filter_negatives", (json_int_t)s->filter_negatives, "filter_true_positives",
            (json_int_t)s->filter_true_positives, "filter_false_positives",
            (json_int_t)s->filter_false_positives, "holds_values", (int)s->holds_values, "dead_entries",
            (json_int_t)s->dead_entries, "dead_bytes", (json_int_t)s->dead_bytes));
    return true;
}

json_t *look_segments(invocation *cli, bole_status *status)
{
    json_t *segments = json_array();
    *status = bole_inspect_segments(cli->db, add_segment, segments, &cli->error);
    return segments;
}

static void print_json(json_t *root)
{
    json_dumpf(root, stdout, JSON_INDENT(2) | JSON_REAL_PRECISION(9));
    putchar('\n');
}

static void print_groups(const json_t *root)
{
    const char *group_name, *name;
    json_t *group, *value;
    json_object_foreach((json_t *)(uintptr_t)root, group_name, group)
    {
        if (!json_is_object(group))
            continue;
        printf("%s\n", group_name);
        json_object_foreach(group, name, value)
        {
            if (json_is_integer(value))
                printf("  %-26s %15lld\n", name, (long long)json_integer_value(value));
            else if (json_is_real(value))
                printf("  %-26s %15.3f\n", name, json_real_value(value));
            else if (json_is_object(value))
                printf("  %-26s p50 %lld ns, p99 %lld ns, p99.9 %lld ns, max %lld ns of %lld\n", name,
                       (long long)json_integer_value(json_object_get(value, "p50_ns")),
                       (long long)json_integer_value(json_object_get(value, "p99_ns")),
                       (long long)json_integer_value(json_object_get(value, "p999_ns")),
                       (long long)json_integer_value(json_object_get(value, "max_ns")),
                       (long long)json_integer_value(json_object_get(value, "count")));
        }
    }
}

static void print_levels(const json_t *root)
{
    const json_t *levels = json_object_get(root, "levels"), *values = json_object_get(root, "values");
    size_t i;
    json_t *level;
    printf("level  runs  segments            bytes          entries   tombstones\n");
    json_array_foreach(levels, i, level)
        printf("%5lld %5lld %9lld %16lld %16lld %12lld\n",
               (long long)json_integer_value(json_object_get(level, "level")),
               (long long)json_integer_value(json_object_get(level, "runs")),
               (long long)json_integer_value(json_object_get(level, "segments")),
               (long long)json_integer_value(json_object_get(level, "bytes")),
               (long long)json_integer_value(json_object_get(level, "entries")),
               (long long)json_integer_value(json_object_get(level, "tombstones")));
    if (json_integer_value(json_object_get(values, "segments")) != 0)
        printf("large values: %lld segments, %lld bytes, %lld entries, of which dead %lld with %lld bytes\n",
               (long long)json_integer_value(json_object_get(values, "segments")),
               (long long)json_integer_value(json_object_get(values, "file_bytes")),
               (long long)json_integer_value(json_object_get(values, "entries")),
               (long long)json_integer_value(json_object_get(values, "dead_entries")),
               (long long)json_integer_value(json_object_get(values, "dead_bytes")));
}

static int with_stats(invocation *cli, bool all)
{
    int code = cli_open(cli, BOLE_READ_ONLY);
    if (code != EXIT_OK)
        return code;
    bole_statistics statistics = BOLE_STATISTICS_INIT;
    bole_status status = bole_stats(cli->db, &statistics, &cli->error);
    if (status != BOLE_OK)
        return cli_close(cli, cli_fail(cli, status));
    json_t *root = look_stats(&statistics);
    json_t *segments = look_segments(cli, &status);
    if (status != BOLE_OK) {
        code = cli_fail(cli, status);
    } else if (cli->json) {
        json_object_set(root, "segments", segments);
        print_json(all ? root : json_object_get(root, "levels"));
    } else {
        if (all)
            print_groups(root);
        print_levels(root);
    }
    json_decref(segments);
    json_decref(root);
    return cli_close(cli, code);
}

static int run_stats(invocation *cli) { return with_stats(cli, true); }

static int run_levels(invocation *cli) { return with_stats(cli, false); }

/* ---- segments ---- */

static void print_key(const json_t *key)
{
    if (json_is_string(key)) {
        bole_slice bytes = { json_string_value(key), json_string_length(key) };
        if (bytes.size > 40)
            bytes.size = 40;
        cli_print_bytes(stdout, bytes, FORM_ESCAPED);
    } else {
        printf("0x%.40s", json_string_value(json_object_get(key, "hex")));
    }
}

static int run_segments(invocation *cli)
{
    int code = cli_open(cli, BOLE_READ_ONLY);
    if (code != EXIT_OK)
        return code;
    bole_status status;
    json_t *segments = look_segments(cli, &status), *s;
    size_t i;
    if (status != BOLE_OK)
        code = cli_fail(cli, status);
    else if (cli->json)
        print_json(segments);
    else
        json_array_foreach(segments, i, s)
        {
            printf("%06lld.seg  %s  ", (long long)json_integer_value(json_object_get(s, "number")),
                   json_string_value(json_object_get(s, "table")));
            if (json_is_true(json_object_get(s, "holds_values")))
                printf("values  %lld dead of ",
                       (long long)json_integer_value(json_object_get(s, "dead_entries")));
            else
                printf("L%lld r%lld  ", (long long)json_integer_value(json_object_get(s, "level")),
                       (long long)json_integer_value(json_object_get(s, "run")));
            printf("%lld entries  %lld bytes  ", (long long)json_integer_value(json_object_get(s, "entries")),
                   (long long)json_integer_value(json_object_get(s, "file_bytes")));
            print_key(json_object_get(s, "smallest"));
            fputs(" .. ", stdout);
            print_key(json_object_get(s, "largest"));
            putchar('\n');
        }
    json_decref(segments);
    return cli_close(cli, code);
}

/* ---- tables ---- */

static bool print_table(void *context, const char *name)
{
    invocation *cli = context;
    if (cli->json) {
        json_t *text = json_string(name);
        json_dumpf(text, stdout, JSON_ENCODE_ANY);
        json_decref(text);
    } else {
        fputs(name, stdout);
    }
    putchar('\n');
    return true;
}

static int run_tables(invocation *cli)
{
    int code = cli_open(cli, BOLE_READ_ONLY);
    if (code != EXIT_OK)
        return code;
    bole_status status = bole_table_list(cli->db, print_table, cli, &cli->error);
    return cli_close(cli, status == BOLE_OK ? code : cli_fail(cli, status));
}

/* ---- config ---- */

static bool print_setting(void *context, const bole_inspect_setting *s)
{
    invocation *cli = context;
    if (cli->json) {
        json_t *line = json_pack("{s:s,s:s,s:s,s:s,s:s,s:s,s:s}", "name", s->name, "value", s->value,
                                 "origin", s->origin, "where", s->where, "default", s->fallback, "allowed",
                                 s->allowed, "meaning", s->meaning);
        json_dumpf(line, stdout, JSON_COMPACT);
        json_decref(line);
        putchar('\n');
        return true;
    }
    printf("%-20s = %-10s  # %s%s%s; %s; %s\n", s->name, s->value, s->origin, s->where[0] != 0 ? " " : "",
           s->where, s->allowed, s->meaning);
    return true;
}

static int run_config(invocation *cli)
{
    int code = cli_open(cli, BOLE_READ_ONLY);
    if (code != EXIT_OK)
        return code;
    bole_status status = bole_inspect_settings(cli->db, print_setting, cli, &cli->error);
    return cli_close(cli, status == BOLE_OK ? code : cli_fail(cli, status));
}

/* ---- explain ---- */

static bool print_probe(void *context, const bole_inspect_probe *p)
{
    invocation *cli = context;
    bool memtable = strcmp(p->source, "memtable") == 0;
    if (cli->json) {
        json_t *line = json_pack("{s:s,s:I,s:i,s:i,s:s,s:I,s:I}", "source", p->source, "number",
                                 (json_int_t)p->number, "level", (int)p->level, "run", (int)p->run, "verdict",
                                 p->verdict, "sequence", (json_int_t)p->sequence, "value_bytes",
                                 (json_int_t)p->value_bytes);
        json_dumpf(line, stdout, JSON_COMPACT);
        json_decref(line);
        putchar('\n');
        return true;
    }
    if (memtable)
        printf("memtable %llu", (unsigned long long)p->number);
    else if (p->number != 0)
        printf("level %u run %u, %06llu.seg", p->level, p->run, (unsigned long long)p->number);
    else /* no segment of the run may hold the key */
        printf("level %u run %u", p->level, p->run);
    printf(": %s", p->verdict);
    if (p->sequence != 0 || p->value_bytes != 0)
        printf(" (sequence %llu, %llu bytes)", (unsigned long long)p->sequence,
               (unsigned long long)p->value_bytes);
    putchar('\n');
    return true;
}

static int run_explain(invocation *cli)
{
    int code = cli_open(cli, BOLE_READ_ONLY);
    if (code != EXIT_OK)
        return code;
    bole_buffer key = BOLE_BUFFER_INIT;
    bole_status status = cli_parse_bytes(cli, cli->arguments[0], &key);
    if (status == BOLE_OK)
        status = bole_inspect_get(cli->db, cli->table, BOLE_SLICE(key.data, key.size), print_probe, cli,
                                  &cli->error);
    bole_buffer_free(&key);
    return cli_close(cli, status == BOLE_OK ? code : cli_fail(cli, status));
}

const cli_command cli_stats = {
    "stats",
    "",
    "counters, memory, levels, amplifications",
    "bole stats my.bole\nbole --json stats my.bole",
    0,
    0,
    NULL,
    run_stats,
};
const cli_command cli_levels = { "levels", "",        "the shape of the tree", "bole levels my.bole", 0, 0,
                                 NULL,     run_levels };
const cli_command cli_segments = {
    "segments", "",           "every segment: place, size, key range, filter", "bole segments my.bole", 0, 0,
    NULL,       run_segments,
};
const cli_command cli_tables = { "tables", "",        "names of the tables", "bole tables my.bole", 0, 0,
                                 NULL,     run_tables };
const cli_command cli_config = {
    "config", "",         "every setting, its value and where it comes from", "bole config my.bole", 0, 0,
    NULL,     run_config,
};
const cli_command cli_explain = {
    "explain",
    "KEY",
    "where a get of KEY looks, and what it finds there",
    "bole explain my.bole hello",
    1,
    1,
    NULL,
    run_explain,
};
