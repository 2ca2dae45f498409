/* SPDX-License-Identifier: MIT */
/* version_fixture.h -- a version set on a disk in memory, segments that have a meta but no file, and a model
 * of the state that shares no code with the library: for the tests of the version layer. Header-only. */
#ifndef BOLE_TEST_VERSION_FIXTURE_H
#define BOLE_TEST_VERSION_FIXTURE_H

#include "test.h"

#include "base/alloc.h"
#include "base/buffer.h"
#include "base/prng.h"
#include "base/status.h"
#include "core/internal_key.h"
#include "version/file_name.h"
#include "version/manifest.h"
#include "version/version_set.h"

#define STORE_DIRECTORY "store"

/* ---- What all sets of a test program share
 * ---------------------------------------------------------------- */

typedef struct version_world {
    bl_scheduler *scheduler;
    bl_memory_budget budget;
    bl_frame_cache *cache;
    bl_segment_environment environment;
    bl_mutex mutex;
} version_world;

TEST_UNUSED static version_world world;

TEST_UNUSED static void world_begin(void)
{
    if (world.scheduler != NULL)
        return;
    bole_error error = BOLE_ERROR_INIT;
    assert_ok(bl_scheduler_create(1, &world.scheduler, &error), &error);
    bl_memory_budget_init(&world.budget, UINT64_C(64) << 20, 0);
    assert_ok(bl_frame_cache_create(&world.budget, world.scheduler, &world.cache, &error), &error);
    bl_mutex_init(&world.mutex, world.scheduler);
    world.environment = (bl_segment_environment){
        .vfs = bole_vfs_posix(), /* replaced by each set */
        .directory = STORE_DIRECTORY,
        .scheduler = world.scheduler,
        .budget = &world.budget,
        .cache = world.cache,
        .open_files_max = 16,
    };
    assert_ok(bl_segment_environment_init(&world.environment, &error), &error);
}

TEST_UNUSED static void world_end(void)
{
    bl_segment_environment_deinit(&world.environment);
    bl_mutex_deinit(&world.mutex);
    bl_frame_cache_destroy(world.cache);
    bl_scheduler_destroy(world.scheduler);
    memset(&world, 0, sizeof world);
}

TEST_UNUSED static bole_vfs *disk_make(uint64_t seed)
{
    bole_vfs *disk = NULL;
    bole_error error = BOLE_ERROR_INIT;
    assert_ok(bole_vfs_memory_create(seed, &disk), NULL);
    assert_ok(disk->make_directory(disk, STORE_DIRECTORY, &error), &error);
    assert_ok(disk->sync_directory(disk, ".", &error), &error);
    return disk;
}

TEST_UNUSED static bl_version_set_parameters set_parameters(bole_vfs *vfs)
{
    world_begin();
    world.environment.vfs = vfs;
    return (bl_version_set_parameters){
        .environment = &world.environment,
        .scheduler = world.scheduler,
        .mutex = &world.mutex,
        .directory = STORE_DIRECTORY,
        .vfs = vfs,
    };
}

TEST_UNUSED static bole_status set_apply(bl_version_set *set, const bl_version_edit *edit, bole_error *error)
{
    bl_mutex_lock(&world.mutex);
    bole_status status = bl_version_set_apply(set, edit, error);
    bl_mutex_unlock(&world.mutex);
    return status;
}

TEST_UNUSED static bole_status set_close_cleanly(bl_version_set *set, const bl_version_edit *edit,
                                                 bole_error *error)
{
    bl_mutex_lock(&world.mutex);
    bole_status status = bl_version_set_close_cleanly(set, edit, error);
    bl_mutex_unlock(&world.mutex);
    return status;
}

TEST_UNUSED static uint64_t set_new_number(bl_version_set *set)
{
    bl_mutex_lock(&world.mutex);
    uint64_t number = bl_version_set_new_file_number(set);
    bl_mutex_unlock(&world.mutex);
    return number;
}

TEST_UNUSED static bool set_may_delete(bl_version_set *set)
{
    bl_mutex_lock(&world.mutex);
    bool may = bl_version_set_may_delete(set);
    bl_mutex_unlock(&world.mutex);
    return may;
}

/* ---- Segments without a file
 * ------------------------------------------------------------------------------ */

TEST_UNUSED static bl_segment_meta make_meta(uint64_t number, uint32_t table, uint32_t level, uint32_t run,
                                             bole_slice smallest, bole_slice largest, uint64_t sequence_min,
                                             uint64_t sequence_max)
{
    bl_segment_meta meta = {
        .number = number,
        .file_bytes = 4096 + number,
        .footer_checksum = number * UINT64_C(0x9E3779B97F4A7C15),
        .table = table,
        .level = level,
        .run = run,
        .smallest = smallest,
        .largest = largest,
        .sequence_min = sequence_min,
        .sequence_max = sequence_max,
        .entries = 100 + number,
        .tombstones = number % 50,
        .blocks = 1 + number % 7,
        .raw_bytes = 3000 + number,
        .created_us = (int64_t)number - 5,
    };
    for (int i = 0; i < BL_ID_BYTES; i++)
        meta.id.bytes[i] = (uint8_t)(number * 31 + (uint64_t)i + 1);
    return meta;
}

TEST_UNUSED static bl_log_description make_log(uint64_t number, uint64_t start)
{
    bl_log_description log = { .number = number, .start = start, .end = UINT64_MAX };
    for (int i = 0; i < BL_ID_BYTES; i++)
        log.id.bytes[i] = (uint8_t)(number * 7 + (uint64_t)i + 1);
    return log;
}

/* ---- The model
 * ---------------------------------------------------------------------------------------------- */

enum {
    MODEL_SEGMENTS_MAX = 160,
    MODEL_TABLES_MAX = 8,
    MODEL_LOGS_MAX = 64,
    MODEL_DROPS_MAX = 64,
    MODEL_KEY_MAX = 12
};

typedef struct model_segment {
    uint64_t number, sequence_min, sequence_max;
    uint32_t table, level, run;
    uint8_t smallest[MODEL_KEY_MAX], largest[MODEL_KEY_MAX];
    uint8_t smallest_size, largest_size;
} model_segment;

typedef struct version_model {
    model_segment segments[MODEL_SEGMENTS_MAX];
    uint32_t segment_count;
    struct {
        uint32_t number;
        uint64_t position;
        char name[16];
    } tables[MODEL_TABLES_MAX];
    uint32_t table_count, next_table_number;
    bl_log_description logs[MODEL_LOGS_MAX];
    uint32_t log_count;
    struct {
        uint32_t number;
        uint64_t position;
    } drops[MODEL_DROPS_MAX];
    uint32_t drop_count;
    uint64_t flushed_through, synced, next_sequence;
} version_model;

TEST_UNUSED static void model_begin(version_model *model)
{
    memset(model, 0, sizeof *model);
    model->table_count = 1;
    snprintf(model->tables[0].name, sizeof model->tables[0].name, "default");
    model->next_table_number = 1;
}

TEST_UNUSED static bl_segment_meta model_meta(const model_segment *segment)
{
    return make_meta(segment->number, segment->table, segment->level, segment->run,
                     bl_slice(segment->smallest, segment->smallest_size),
                     bl_slice(segment->largest, segment->largest_size), segment->sequence_min,
                     segment->sequence_max);
}

static int model_compare_text(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

/* Lines in order of their bytes, so that model and set need not agree on any order. */
typedef struct text_lines {
    char *lines[2 * MODEL_SEGMENTS_MAX];
    size_t count;
} text_lines;

__attribute__((format(printf, 2, 3))) TEST_UNUSED static void add_line(text_lines *lines, const char *format,
                                                                       ...)
{
    char text[400];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    assert_true(lines->count < 2 * MODEL_SEGMENTS_MAX);
    lines->lines[lines->count++] = strdup(text);
}

TEST_UNUSED static char *join_lines(text_lines *lines) /* free */
{
    size_t size = 1, at = 0;
    qsort(lines->lines, lines->count, sizeof lines->lines[0], model_compare_text);
    for (size_t i = 0; i < lines->count; i++)
        size += strlen(lines->lines[i]) + 1;
    char *text = malloc(size);
    for (size_t i = 0; i < lines->count; i++) {
        at += (size_t)snprintf(text + at, size - at, "%s\n", lines->lines[i]);
        free(lines->lines[i]);
    }
    text[at] = '\0';
    return text;
}

TEST_UNUSED static void add_segment_line(text_lines *lines, const bl_segment_meta *meta, uint32_t level,
                                         uint32_t run)
{
    char smallest[64], largest[64];
    bl_slice_escape(meta->smallest, smallest, sizeof smallest);
    bl_slice_escape(meta->largest, largest, sizeof largest);
    add_line(lines,
             "segment %" PRIu64 " t%u l%u r%u [%s,%s] %" PRIu64 "..%" PRIu64 " id %02x%02x e%" PRIu64
             " d%" PRIu64 " b%" PRIu64 " f%" PRIu64 " c%" PRIx64 " w%" PRIu64 " u%" PRId64,
             meta->number, meta->table, level, run, smallest, largest, meta->sequence_min, meta->sequence_max,
             meta->id.bytes[0], meta->id.bytes[15], meta->entries, meta->tombstones, meta->blocks,
             meta->file_bytes, meta->footer_checksum, meta->raw_bytes, meta->created_us);
}

TEST_UNUSED static void add_log_line(text_lines *lines, const bl_log_description *log, uint32_t index)
{
    add_line(lines, "log %u: %" PRIu64 " id %02x start %" PRIu64 " end %" PRIx64 " checksum %d %" PRIx64,
             index, log->number, log->id.bytes[3], log->start, log->end, log->end_checksum_known,
             log->end_checksum_known ? log->end_checksum : 0);
}

TEST_UNUSED static char *model_text(const version_model *model) /* free */
{
    text_lines lines = { .count = 0 };
    for (uint32_t i = 0; i < model->segment_count; i++) {
        bl_segment_meta meta = model_meta(&model->segments[i]);
        add_segment_line(&lines, &meta, meta.level, meta.run);
    }
    for (uint32_t i = 0; i < model->table_count; i++)
        add_line(&lines, "table %u %s %" PRIu64, model->tables[i].number, model->tables[i].name,
                 model->tables[i].position);
    for (uint32_t i = 0; i < model->log_count; i++)
        add_log_line(&lines, &model->logs[i], i);
    for (uint32_t i = 0; i < model->drop_count; i++)
        add_line(&lines, "dropped %u %" PRIu64, model->drops[i].number, model->drops[i].position);
    add_line(&lines, "numbers %" PRIu64 " %" PRIu64 " %" PRIu64 " %u", model->flushed_through, model->synced,
             model->next_sequence, model->next_table_number);
    return join_lines(&lines);
}

TEST_UNUSED static char *set_text(const bl_version_set *set) /* free */
{
    text_lines lines = { .count = 0 };
    const bl_version *version = bl_version_set_current(set);
    for (uint32_t t = 0; t < version->table_count; t++) {
        const bl_version_table *table = &version->tables[t];
        add_line(&lines, "table %u %s %" PRIu64, table->number, table->name, table->created);
        for (uint32_t l = 0; l < BOLE_LEVELS_MAX; l++)
            for (uint32_t r = 0; r < table->levels[l].run_count; r++)
                for (uint32_t i = 0; i < table->levels[l].runs[r].count; i++)
                    add_segment_line(&lines, bl_segment_meta_of(table->levels[l].runs[r].segments[i]), l,
                                     table->levels[l].runs[r].number);
    }
    for (uint32_t i = 0; i < bl_version_set_log_count(set); i++)
        add_log_line(&lines, bl_version_set_log_at(set, i), i);
    for (uint32_t number = 0; number < bl_version_set_next_table_number(set); number++) {
        uint64_t position;
        if (bl_version_set_table_was_dropped(set, number, &position))
            add_line(&lines, "dropped %u %" PRIu64, number, position);
    }
    add_line(&lines, "numbers %" PRIu64 " %" PRIu64 " %" PRIu64 " %u", bl_version_set_flushed_through(set),
             bl_version_set_synced(set), bl_version_set_next_sequence(set),
             bl_version_set_next_table_number(set));
    return join_lines(&lines);
}

/* ---- Random edits that fit the model
 * ------------------------------------------------------------------------ */

enum { EDIT_PARTS_MAX = 64 };

/* An edit with room for its parts. */
typedef struct random_edit {
    bl_version_edit edit;
    bl_segment_meta added[EDIT_PARTS_MAX];
    bl_segment_place removed[MODEL_SEGMENTS_MAX];
    bl_segment_move moved[EDIT_PARTS_MAX];
    bl_log_description logs_added[2], logs_ended[2];
    uint64_t logs_removed[MODEL_LOGS_MAX];
    bl_table_description created[2], dropped[2];
    char text[40]; /* what it is, for failures */
} random_edit;

/* A key out of a small space with all that is odd about keys: empty, prefixes of others, 0x00, 0xFF. */
static uint8_t random_key(bl_prng *prng, uint8_t key[MODEL_KEY_MAX])
{
    static const uint8_t letters[] = { 0x00, 'a', 'a', 'b', 'z', 0xFF };
    uint8_t size = (uint8_t)bl_prng_below(prng, MODEL_KEY_MAX + 1);
    for (uint8_t i = 0; i < size; i++)
        key[i] = letters[bl_prng_below(prng, sizeof letters)];
    return size;
}

typedef struct sized_key {
    uint8_t bytes[MODEL_KEY_MAX];
    uint8_t size;
} sized_key;

static int compare_sized(const void *a, const void *b)
{
    const sized_key *left = a, *right = b;
    return bl_slice_compare(bl_slice(left->bytes, left->size), bl_slice(right->bytes, right->size));
}

/* `count` rising ranges that do not touch; fewer when keys fall together. They become segments of the
 * model. */
static void random_segments(version_model *model, random_edit *out, bl_prng *prng, bl_version_set *set,
                            uint32_t table, uint32_t level, uint32_t run, uint32_t count, uint64_t least,
                            uint64_t most)
{
    sized_key keys[2 * EDIT_PARTS_MAX];
    for (uint32_t i = 0; i < 2 * count; i++)
        keys[i].size = random_key(prng, keys[i].bytes);
    qsort(keys, 2 * (size_t)count, sizeof keys[0], compare_sized);
    uint32_t distinct = 0;
    for (uint32_t i = 0; i < 2 * count; i++)
        if (distinct == 0 || compare_sized(&keys[distinct - 1], &keys[i]) != 0)
            keys[distinct++] = keys[i];
    for (uint32_t at = 0; at < distinct && model->segment_count < MODEL_SEGMENTS_MAX;) {
        uint32_t end = at + 1 < distinct && !bl_prng_chance(prng, 4) ? at + 1 : at; /* some hold one key */
        model_segment *segment = &model->segments[model->segment_count++];
        *segment = (model_segment){ .number = set_new_number(set),
                                    .table = table,
                                    .level = level,
                                    .run = run,
                                    .sequence_min = least,
                                    .sequence_max = most };
        memcpy(segment->smallest, keys[at].bytes, MODEL_KEY_MAX);
        segment->smallest_size = keys[at].size;
        memcpy(segment->largest, keys[end].bytes, MODEL_KEY_MAX);
        segment->largest_size = keys[end].size;
        out->added[out->edit.added_count++] = model_meta(segment);
        at = end + 1;
    }
    if (most >= model->next_sequence)
        model->next_sequence = most + 1;
}

static void model_forget_drops(version_model *model)
{
    uint32_t kept = 0;
    for (uint32_t i = 0; i < model->drop_count; i++) {
        bool needed = false;
        for (uint32_t l = 0; l < model->log_count; l++)
            needed = needed || model->logs[l].start < model->drops[i].position;
        if (needed)
            model->drops[kept++] = model->drops[i];
    }
    model->drop_count = kept;
}

static void random_flush(version_model *model, random_edit *out, bl_prng *prng, bl_version_set *set)
{
    snprintf(out->text, sizeof out->text, "flush");
    uint64_t least = model->next_sequence, most = least + 1 + bl_prng_below(prng, 100);
    for (uint32_t t = 0; t < model->table_count; t++) {
        if (t != 0 && bl_prng_chance(prng, 2))
            continue;
        uint32_t run = 0;
        for (uint32_t i = 0; i < model->segment_count; i++)
            if (model->segments[i].table == model->tables[t].number && model->segments[i].level == 0 &&
                model->segments[i].run >= run)
                run = model->segments[i].run + 1;
        random_segments(model, out, prng, set, model->tables[t].number, 0, run,
                        1 + (uint32_t)bl_prng_below(prng, 3), least, most);
    }
    if (model->log_count > 1) {
        out->logs_removed[out->edit.logs_removed_count++] = model->logs[0].number;
        model->log_count--;
        memmove(&model->logs[0], &model->logs[1], model->log_count * sizeof model->logs[0]);
    }
    out->edit.flushed_through = model->flushed_through = most;
}

static void random_rotate(version_model *model, random_edit *out, bl_prng *prng, bl_version_set *set)
{
    snprintf(out->text, sizeof out->text, "rotate");
    uint64_t start = model->next_sequence + bl_prng_below(prng, 50);
    if (model->log_count == MODEL_LOGS_MAX)
        return;
    if (model->log_count > 0 && bl_prng_chance(prng, 2)) {
        bl_log_description *last = &model->logs[model->log_count - 1];
        if (last->end == UINT64_MAX)
            last->end = start;
        if (bl_prng_chance(prng, 2)) {
            last->end_checksum_known = true;
            last->end_checksum = last->number * 77;
        }
        out->logs_ended[out->edit.logs_ended_count++] = *last;
    }
    model->logs[model->log_count] = make_log(set_new_number(set), start);
    out->logs_added[out->edit.logs_added_count++] = model->logs[model->log_count++];
    out->edit.synced = model->synced = start;
    model->next_sequence = start;
}

/* All segments of a table become a few of the last level. */
static void random_merge(version_model *model, random_edit *out, bl_prng *prng, bl_version_set *set)
{
    snprintf(out->text, sizeof out->text, "merge");
    uint32_t table = model->tables[bl_prng_below(prng, model->table_count)].number, kept = 0;
    uint64_t least = UINT64_MAX, most = 0;
    for (uint32_t i = 0; i < model->segment_count; i++) {
        const model_segment *segment = &model->segments[i];
        if (segment->table != table) {
            model->segments[kept++] = *segment;
            continue;
        }
        least = segment->sequence_min < least ? segment->sequence_min : least;
        most = segment->sequence_max > most ? segment->sequence_max : most;
        out->removed[out->edit.removed_count++] = (bl_segment_place){ table, segment->number };
    }
    model->segment_count = kept;
    if (out->edit.removed_count != 0)
        random_segments(model, out, prng, set, table, BOLE_LEVELS_MAX - 1, 0,
                        1 + (uint32_t)bl_prng_below(prng, 6), least, most);
}

/* The oldest run of level 0 goes to an empty level below. */
static void random_move(version_model *model, random_edit *out, bl_prng *prng)
{
    snprintf(out->text, sizeof out->text, "move");
    uint32_t table = model->tables[bl_prng_below(prng, model->table_count)].number, run = UINT32_MAX;
    for (uint32_t i = 0; i < model->segment_count; i++) {
        if (model->segments[i].table != table)
            continue;
        if (model->segments[i].level == 1)
            return;
        if (model->segments[i].level == 0 && model->segments[i].run < run)
            run = model->segments[i].run;
    }
    for (uint32_t i = 0; i < model->segment_count; i++) {
        model_segment *segment = &model->segments[i];
        if (segment->table == table && segment->level == 0 && segment->run == run) {
            segment->level = 1;
            segment->run = 0;
            out->moved[out->edit.moved_count++] = (bl_segment_move){ table, segment->number, 1, 0 };
        }
    }
}

static void random_table(version_model *model, random_edit *out, bl_prng *prng)
{
    uint64_t position = model->next_sequence;
    if (model->table_count < MODEL_TABLES_MAX && bl_prng_chance(prng, 2)) {
        snprintf(out->text, sizeof out->text, "create table");
        uint32_t at = model->table_count++, number = model->next_table_number++;
        model->tables[at].number = number;
        model->tables[at].position = position;
        snprintf(model->tables[at].name, sizeof model->tables[at].name, "t\xC3\xA9%u", number);
        out->created[out->edit.tables_created_count++] = (bl_table_description){
            .number = number,
            .name = model->tables[at].name,
            .comparator_name = BL_COMPARATOR_BYTES_NAME,
            .position = position,
        };
    } else if (model->table_count > 1 && model->drop_count < MODEL_DROPS_MAX) {
        snprintf(out->text, sizeof out->text, "drop table");
        uint32_t at = 1 + (uint32_t)bl_prng_below(prng, model->table_count - 1), kept = 0;
        uint32_t number = model->tables[at].number;
        memmove(&model->tables[at], &model->tables[at + 1],
                (model->table_count - at - 1) * sizeof model->tables[0]);
        model->table_count--;
        for (uint32_t i = 0; i < model->segment_count; i++)
            if (model->segments[i].table != number)
                model->segments[kept++] = model->segments[i];
        model->segment_count = kept;
        model->drops[model->drop_count].number = number;
        model->drops[model->drop_count++].position = position;
        out->dropped[out->edit.tables_dropped_count++] = (bl_table_description){ .number = number,
                                                                                 .position = position };
    }
}

/* A random edit that fits: the model becomes what the state will be. File numbers are taken from the set. */
TEST_UNUSED static void random_edit_make(version_model *model, bl_prng *prng, bl_version_set *set,
                                         random_edit *out)
{
    out->edit = (bl_version_edit){
        .added = out->added,
        .removed = out->removed,
        .moved = out->moved,
        .logs_added = out->logs_added,
        .logs_ended = out->logs_ended,
        .logs_removed = out->logs_removed,
        .tables_created = out->created,
        .tables_dropped = out->dropped,
    };
    snprintf(out->text, sizeof out->text, "nothing");
    switch (model->segment_count > MODEL_SEGMENTS_MAX / 2 ? 5 : bl_prng_below(prng, 10)) {
    case 0:
    case 1:
    case 2: random_flush(model, out, prng, set); break;
    case 3:
    case 4: random_rotate(model, out, prng, set); break;
    case 5:
    case 6: random_merge(model, out, prng, set); break;
    case 7: random_move(model, out, prng); break;
    default: random_table(model, out, prng); break;
    }
    for (uint32_t i = 0; i < out->edit.added_count;
         i++) /* the model's memory may move; keys stay where it has them */
        for (uint32_t s = 0; s < model->segment_count; s++)
            if (model->segments[s].number == out->added[i].number)
                out->added[i] = model_meta(&model->segments[s]);
    model_forget_drops(model);
}

#endif
