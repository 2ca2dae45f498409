/* SPDX-License-Identifier: MIT */
/* visualize_model.c -- the one model behind every form of the picture (visualize.h describes its JSON).
 *
 * (VIZ-1) Every number comes from bole_inspect.h or bole_stats, or is a sum, a rank or a share of such numbers.
 * (VIZ-2) Keys are in the escaped form of bole_escape, so the model is plain ASCII whatever the keys are.
 * (VIZ-3) Ranks follow the bytes of the keys: a table with an order of its own cannot be opened by the command.
 *
 * A filter's measured rate is counted by asking it for keys that are not in its segment: PROBES_EACH times, fewer in
 * stores of so many segments that this would pass PROBES_ALL. NOT HERE: drawing. */
#include "cli/visualize.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "cli/look.h"

enum { PROBES_EACH = 20000, PROBES_LEAST = 500, PROBES_ALL = 4000000, PROBE_SEED = 20 };

typedef struct key_copy {
    char *bytes;
    size_t size;
} key_copy;

typedef struct segment_note {
    json_t *json; /* borrowed: a run of the model owns it */
    key_copy smallest, largest;
} segment_note;

typedef struct table_note {
    json_t *json; /* borrowed: the model owns it */
    segment_note *segments;
    size_t count, capacity;
} table_note;

typedef struct builder {
    invocation *cli;
    json_t *model, *tables, *list; /* list: what the walk that runs fills */
    table_note *notes;
    size_t table_count;
    bool out_of_memory;
} builder;

/* ---- making JSON: a failure is remembered, and looked at once ---- */

static void set(builder *b, json_t *object, const char *name, json_t *value)
{
    if (json_object_set_new(object, name, value) != 0)
        b->out_of_memory = true;
}

static void set_integer(builder *b, json_t *object, const char *name, uint64_t value)
{
    set(b, object, name, json_integer((json_int_t)value));
}

static json_t *append_object(builder *b, json_t *array)
{
    json_t *object = json_object();
    if (json_array_append_new(array, object) == 0)
        return object;
    b->out_of_memory = true;
    return NULL;
}

static json_t *append_list(builder *b, json_t *object, const char *name)
{
    json_t *list = json_array();
    set(b, object, name, list);
    return list;
}

static void add_to(builder *b, json_t *object, const char *name, uint64_t value)
{
    set_integer(b, object, name, (uint64_t)visualize_integer(object, name) + value);
}

static json_t *escaped(bole_slice bytes)
{
    size_t size = bole_escape(bytes, NULL, 0);
    char *text = malloc(size + 1);
    if (text == NULL)
        return NULL;
    bole_escape(bytes, text, size + 1);
    json_t *string = json_stringn(text, size);
    free(text);
    return string;
}

/* ---- reading it ---- */

const json_t *visualize_at(const json_t *object, const char *name) { return json_object_get(object, name); }

int64_t visualize_integer(const json_t *object, const char *name)
{
    return json_integer_value(json_object_get(object, name));
}

double visualize_real(const json_t *object, const char *name)
{
    const json_t *value = json_object_get(object, name);
    return json_is_number(value) ? json_number_value(value) : (double)NAN;
}

const char *visualize_string(const json_t *object, const char *name)
{
    const char *text = json_string_value(json_object_get(object, name));
    return text != NULL ? text : "";
}

/* ---- tables and segments ---- */

static bool copy_key(key_copy *copy, bole_slice key)
{
    copy->bytes = malloc(key.size + 1);
    copy->size = key.size;
    if (copy->bytes != NULL && key.size > 0)
        memcpy(copy->bytes, key.data, key.size);
    return copy->bytes != NULL;
}

static table_note *find_table(builder *b, const char *name)
{
    for (size_t i = 0; i < b->table_count; i++)
        if (strcmp(visualize_string(b->notes[i].json, "name"), name) == 0)
            return &b->notes[i];
    return NULL;
}

static bool add_table(void *context, const char *name)
{
    builder *b = context;
    if (b->cli->table_name != NULL && strcmp(b->cli->table_name, name) != 0)
        return true;
    table_note *grown = realloc(b->notes, (b->table_count + 1) * sizeof(grown[0]));
    json_t *table = append_object(b, b->tables);
    if (grown != NULL)
        b->notes = grown;
    if (grown == NULL || table == NULL) {
        b->out_of_memory = true;
        return false;
    }
    b->notes[b->table_count++] = (table_note){ .json = table };
    set(b, table, "name", json_string(name));
    const char *const sums[] = { "ranks", "segments", "bytes", "raw_bytes", "entries", "tombstones" };
    for (size_t i = 0; i < sizeof(sums) / sizeof(sums[0]); i++)
        set_integer(b, table, sums[i], 0);
    append_list(b, table, "levels");
    json_t *values = json_object();
    const char *const value_sums[] = { "segments", "bytes", "entries", "dead_entries", "dead_bytes" };
    for (size_t i = 0; values != NULL && i < sizeof(value_sums) / sizeof(value_sums[0]); i++)
        set_integer(b, values, value_sums[i], 0);
    set(b, table, "values", values);
    return true;
}

/* The last element of a list when its `name` is `value`, else a new one; segments come in order. */
static json_t *last_or_new(builder *b, json_t *list, const char *name, uint64_t value, const char *children)
{
    json_t *last = json_array_get(list, json_array_size(list) - 1);
    if (last != NULL && (uint64_t)visualize_integer(last, name) == value)
        return last;
    last = append_object(b, list);
    set_integer(b, last, name, value);
    append_list(b, last, children);
    return last;
}

static json_t *filter_json(builder *b, const bole_inspect_segment *s)
{
    json_t *filter = json_object();
    set_integer(b, filter, "bytes", s->filter_bytes);
    set(b, filter, "bits_per_key", json_real(s->filter_bits_per_key));
    set(b, filter, "expected", json_real(s->filter_expected_rate));
    set_integer(b, filter, "asked", s->filter_probes);
    set_integer(b, filter, "negatives", s->filter_negatives);
    set_integer(b, filter, "true_positives", s->filter_true_positives);
    set_integer(b, filter, "wrong", s->filter_false_positives);
    return filter;
}

static void describe(builder *b, json_t *segment, const bole_inspect_segment *s)
{
    const struct {
        const char *name;
        uint64_t value;
    } numbers[] = {
        { "number", s->number },
        { "level", s->level },
        { "run", s->run },
        { "bytes", s->file_bytes },
        { "raw_bytes", s->raw_bytes },
        { "entries", s->entries },
        { "tombstones", s->tombstones },
        { "blocks", s->blocks },
        { "cached_blocks", s->cached_blocks },
        { "index_bytes", s->index_bytes },
        { "sequence_min", s->sequence_min },
        { "sequence_max", s->sequence_max },
        { "created_us", (uint64_t)s->created_us },
    };
    for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++)
        set_integer(b, segment, numbers[i].name, numbers[i].value);
    set(b, segment, "compression", json_string(s->compression));
    set(b, segment, "smallest", escaped(s->smallest));
    set(b, segment, "largest", escaped(s->largest));
    set(b, segment, "filter", filter_json(b, s));
}

static bool add_segment(void *context, const bole_inspect_segment *s)
{
    builder *b = context;
    table_note *table = find_table(b, s->table);
    if (table == NULL)
        return true;       /* another table than --table names */
    if (s->holds_values) { /* they have no place in the key space: sums alone */
        json_t *values = json_object_get(table->json, "values");
        add_to(b, values, "segments", 1);
        add_to(b, values, "bytes", s->file_bytes);
        add_to(b, values, "entries", s->entries);
        add_to(b, values, "dead_entries", s->dead_entries);
        add_to(b, values, "dead_bytes", s->dead_bytes);
        return true;
    }
    if (table->count == table->capacity) {
        size_t capacity = table->capacity == 0 ? 64 : 2 * table->capacity;
        segment_note *grown = realloc(table->segments, capacity * sizeof(grown[0]));
        if (grown == NULL) {
            b->out_of_memory = true;
            return false;
        }
        table->segments = grown;
        table->capacity = capacity;
    }
    json_t *level = last_or_new(b, json_object_get(table->json, "levels"), "level", s->level, "runs");
    json_t *run = last_or_new(b, json_object_get(level, "runs"), "run", s->run, "segments");
    json_t *segment = append_object(b, json_object_get(run, "segments"));
    describe(b, segment, s);
    segment_note *note = &table->segments[table->count++];
    *note = (segment_note){ .json = segment };
    if (!copy_key(&note->smallest, s->smallest) || !copy_key(&note->largest, s->largest))
        b->out_of_memory = true;
    json_t *const owners[] = { table->json, level, run };
    for (size_t i = 0; i < 3; i++) {
        add_to(b, owners[i], "bytes", s->file_bytes);
        add_to(b, owners[i], "raw_bytes", s->raw_bytes);
        add_to(b, owners[i], "entries", s->entries);
        add_to(b, owners[i], "tombstones", s->tombstones);
    }
    add_to(b, table->json, "segments", 1);
    add_to(b, level, "segments", 1);
    return !b->out_of_memory;
}

static int compare_keys(const void *a, const void *b)
{
    const key_copy *x = *(const key_copy *const *)a, *y = *(const key_copy *const *)b;
    int order = memcmp(x->bytes, y->bytes, x->size < y->size ? x->size : y->size);
    return order != 0 ? order : (x->size > y->size) - (x->size < y->size);
}

static size_t rank_of(const key_copy **sorted, size_t count, const key_copy *key)
{
    const key_copy **at = bsearch(&key, sorted, count, sizeof(sorted[0]), compare_keys);
    return at == NULL ? 0 : (size_t)(at - sorted);
}

/* Give each boundary key its place among all distinct ones of the table. */
static void rank_table(builder *b, table_note *table)
{
    const key_copy **sorted = malloc((2 * table->count + 1) * sizeof(sorted[0]));
    if (sorted == NULL) {
        b->out_of_memory = true;
        return;
    }
    for (size_t i = 0; i < table->count; i++) {
        sorted[2 * i] = &table->segments[i].smallest;
        sorted[2 * i + 1] = &table->segments[i].largest;
    }
    qsort(sorted, 2 * table->count, sizeof(sorted[0]), compare_keys);
    size_t distinct = 0;
    for (size_t i = 0; i < 2 * table->count; i++)
        if (distinct == 0 || compare_keys(&sorted[distinct - 1], &sorted[i]) != 0)
            sorted[distinct++] = sorted[i];
    for (size_t i = 0; i < table->count; i++) {
        const segment_note *note = &table->segments[i];
        set_integer(b, note->json, "smallest_rank", rank_of(sorted, distinct, &note->smallest));
        set_integer(b, note->json, "largest_rank", rank_of(sorted, distinct, &note->largest));
    }
    set_integer(b, table->json, "ranks", distinct);
    free(sorted);
}

/* ---- filters ---- */

static bole_status measure_filter(builder *b, json_t *segment, uint64_t probes)
{
    json_t *filter = json_object_get(segment, "filter");
    uint64_t number = (uint64_t)visualize_integer(segment, "number"), hits = 0;
    if (visualize_real(filter, "bits_per_key") <= 0) {
        set_integer(b, filter, "probes", 0);
        set_integer(b, filter, "false_positives", 0);
        set(b, filter, "measured", json_null());
        return BOLE_OK;
    }
    bole_status status = bole_inspect_filter(b->cli->db, number, probes, PROBE_SEED + number, &hits,
                                             &b->cli->error);
    set_integer(b, filter, "probes", probes);
    set_integer(b, filter, "false_positives", hits);
    set(b, filter, "measured", json_real((double)hits / (double)probes));
    return status;
}

/* The filter of a level: sums, and the expected rate as the mean over its segments' entries. */
static void sum_filters(builder *b, json_t *level)
{
    uint64_t probes = 0, hits = 0, bytes = 0;
    double expected = 0, bits = 0, entries = 0;
    size_t r, s;
    json_t *run, *segment;
    json_array_foreach(json_object_get(level, "runs"), r, run)
    {
        json_array_foreach(json_object_get(run, "segments"), s, segment)
        {
            const json_t *filter = json_object_get(segment, "filter");
            double weight = visualize_real(segment, "entries");
            bytes += (uint64_t)visualize_integer(filter, "bytes");
            if (visualize_integer(filter, "probes") == 0)
                continue;
            probes += (uint64_t)visualize_integer(filter, "probes");
            hits += (uint64_t)visualize_integer(filter, "false_positives");
            expected += weight * visualize_real(filter, "expected");
            bits += weight * visualize_real(filter, "bits_per_key");
            entries += weight;
        }
    }
    json_t *filter = json_object();
    set(b, level, "filter", filter);
    set_integer(b, filter, "bytes", bytes);
    set_integer(b, filter, "probes", probes);
    set_integer(b, filter, "false_positives", hits);
    set(b, filter, "bits_per_key", json_real(entries > 0 ? bits / entries : 0));
    set(b, filter, "expected", json_real(entries > 0 ? expected / entries : 1));
    set(b, filter, "measured", probes > 0 ? json_real((double)hits / (double)probes) : json_null());
}

static bole_status measure_filters(builder *b)
{
    size_t total = 0;
    bole_status status = BOLE_OK;
    for (size_t t = 0; t < b->table_count; t++)
        total += b->notes[t].count;
    uint64_t probes = total * PROBES_EACH <= PROBES_ALL ? PROBES_EACH : PROBES_ALL / total;
    if (probes < PROBES_LEAST)
        probes = PROBES_LEAST;
    for (size_t t = 0; t < b->table_count && status == BOLE_OK; t++) {
        for (size_t i = 0; i < b->notes[t].count && status == BOLE_OK; i++)
            status = measure_filter(b, b->notes[t].segments[i].json, probes);
        size_t l;
        json_t *level;
        json_array_foreach(json_object_get(b->notes[t].json, "levels"), l, level) sum_filters(b, level);
    }
    return status;
}

/* ---- memtables, logs, files, store ---- */

static bool add_memtable(void *context, const bole_inspect_memtable *memtable)
{
    builder *b = context;
    json_t *object = append_object(b, b->list);
    set(b, object, "active", json_boolean(memtable->active));
    set_integer(b, object, "bytes", memtable->bytes);
    set_integer(b, object, "entries", memtable->entries);
    set_integer(b, object, "tables", memtable->tables);
    return !b->out_of_memory;
}

static bool add_log(void *context, const bole_inspect_log *log)
{
    builder *b = context;
    json_t *object = append_object(b, b->list);
    set_integer(b, object, "number", log->number);
    set_integer(b, object, "start", log->start);
    set_integer(b, object, "end", log->end);
    set_integer(b, object, "bytes", log->file_bytes);
    set(b, object, "active", json_boolean(log->active));
    return !b->out_of_memory;
}

static bool add_file(void *context, const bole_inspect_file *file)
{
    builder *b = context;
    json_t *object = append_object(b, b->list);
    set(b, object, "name", escaped((bole_slice){ file->name, strlen(file->name) }));
    set(b, object, "kind", json_string(file->kind));
    set_integer(b, object, "bytes", file->bytes);
    set(b, object, "live", json_boolean(file->live));
    return !b->out_of_memory;
}

static bole_status add_store(builder *b)
{
    bole_inspect_store state = { .id = "" };
    bole_status status = bole_inspect_store_state(b->cli->db, &state, &b->cli->error);
    json_t *store = json_object();
    set(b, b->model, "store", store);
    set(b, store, "id", json_string(state.id));
    set_integer(b, store, "format_version", state.format_version);
    set_integer(b, store, "manifest_number", state.manifest_number);
    set_integer(b, store, "manifest_bytes", state.manifest_bytes);
    set_integer(b, store, "position_visible", state.position_visible);
    set_integer(b, store, "flushed_through", state.flushed_through);
    set_integer(b, store, "synced", state.synced);
    set(b, store, "clean", json_boolean(state.was_clean));
    return status;
}

static void add_head(builder *b)
{
    struct timespec now;
    struct tm utc;
    char text[32];
    clock_gettime(CLOCK_REALTIME, &now);
    gmtime_r(&now.tv_sec, &utc);
    strftime(text, sizeof(text), "%Y-%m-%d %H:%M:%S UTC", &utc);
    const char *path = b->cli->store != NULL ? b->cli->store : "";
    set(b, b->model, "format", json_string("bole-visualize/1"));
    set(b, b->model, "bole", json_string(bole_version()));
    set(b, b->model, "path", escaped((bole_slice){ path, strlen(path) }));
    set(b, b->model, "generated", json_string(text));
    set_integer(b, b->model, "generated_us", (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000);
}

static void count_read_places(builder *b)
{
    size_t most = 0, l;
    json_t *level;
    for (size_t t = 0; t < b->table_count; t++) {
        size_t runs = 0;
        json_array_foreach(json_object_get(b->notes[t].json, "levels"), l, level)
            runs += json_array_size(json_object_get(level, "runs"));
        most = runs > most ? runs : most;
    }
    set_integer(b, b->model, "read_places", most + json_array_size(json_object_get(b->model, "memtables")));
}

static bole_status add_all(builder *b)
{
    bole_db *db = b->cli->db;
    bole_error *error = &b->cli->error;
    bole_statistics statistics = BOLE_STATISTICS_INIT;
    add_head(b);
    b->tables = append_list(b, b->model, "tables");
    bole_status status = add_store(b);
    if (status == BOLE_OK)
        status = bole_table_list(db, add_table, b, error);
    if (status == BOLE_OK)
        status = bole_inspect_segments(db, add_segment, b, error);
    for (size_t t = 0; status == BOLE_OK && !b->out_of_memory && t < b->table_count; t++)
        rank_table(b, &b->notes[t]);
    if (status == BOLE_OK && !b->out_of_memory)
        status = measure_filters(b);
    b->list = append_list(b, b->model, "memtables");
    if (status == BOLE_OK)
        status = bole_inspect_memtables(db, add_memtable, b, error);
    b->list = append_list(b, b->model, "logs");
    if (status == BOLE_OK)
        status = bole_inspect_logs(db, add_log, b, error);
    b->list = append_list(b, b->model, "files");
    if (status == BOLE_OK)
        status = bole_inspect_files(db, add_file, b, error);
    if (status == BOLE_OK)
        status = bole_stats(db, &statistics, error);
    if (status == BOLE_OK)
        set(b, b->model, "statistics", look_stats(&statistics));
    count_read_places(b);
    return status;
}

json_t *visualize_model(invocation *cli, bole_status *status)
{
    builder b = { .cli = cli, .model = json_object() };
    b.out_of_memory = b.model == NULL;
    *status = add_all(&b);
    if (*status == BOLE_OK && b.out_of_memory)
        *status = BOLE_NO_MEMORY;
    for (size_t t = 0; t < b.table_count; t++) {
        for (size_t i = 0; i < b.notes[t].count; i++) {
            free(b.notes[t].segments[i].smallest.bytes);
            free(b.notes[t].segments[i].largest.bytes);
        }
        free(b.notes[t].segments);
    }
    free(b.notes);
    if (*status == BOLE_OK)
        return b.model;
    json_decref(b.model);
    return NULL;
}
