/* SPDX-License-Identifier: MIT */
/* inspect.c -- read-only views of an open store (bole_inspect.h).
 *
 * Everything is taken from one read state, so that segments, levels and sums of one walk belong to one moment. */
#include <bole/bole_inspect.h>

#include <stdio.h>
#include <stdlib.h>

#include "base/alloc.h"
#include "base/assert.h"
#include "base/hash.h"
#include "base/prng.h"
#include "engine/log_structured_store.h"
#include "engine/read.h"
#include "segment/compression.h"

/* ---- segments ---- */

static bole_status describe_segment(const bl_version_table *table, bl_segment *segment,
                                    bole_inspect_segment *out, bole_error *error)
{
    const bl_segment_meta *meta = bl_segment_meta_of(segment);
    bl_segment_shape shape;
    bl_segment_counters counters;
    bole_status status = bl_segment_shape_read(segment, &shape, error);
    if (status != BOLE_OK)
        return status;
    bl_segment_counters_read(segment, &counters);
    *out = (bole_inspect_segment){
        .number = meta->number,
        .table = table->name,
        .table_number = table->number,
        .level = meta->level,
        .run = meta->run,
        .smallest = meta->smallest,
        .largest = meta->largest,
        .file_bytes = meta->file_bytes,
        .raw_bytes = meta->raw_bytes,
        .entries = meta->entries,
        .tombstones = meta->tombstones,
        .blocks = meta->blocks,
        .sequence_min = meta->sequence_min,
        .sequence_max = meta->sequence_max,
        .created_us = meta->created_us,
        .compression = bl_compression_name(shape.compression),
        .filter_bytes = shape.filter_bytes,
        .index_bytes = shape.index_bytes,
        .cached_blocks = shape.cached_blocks,
        .filter_bits_per_key = (double)shape.filter_bits_per_key_tenths / 10,
        .filter_expected_rate = shape.filter_expected_rate,
        .filter_probes = counters.filter_probes,
        .filter_negatives = counters.filter_negatives,
        .filter_true_positives = counters.filter_true_positives,
        .filter_false_positives = counters.filter_false_positives,
        .holds_values = bl_segment_meta_holds_values(meta),
    };
    if (out->holds_values) {
        bl_dead_values dead = table->values.dead[bl_version_values_find(&table->values, meta->number)];
        out->dead_entries = dead.entries;
        out->dead_bytes = dead.bytes;
    }
    return BOLE_OK;
}

typedef struct segment_walk {
    bool (*visit)(void *context, const bole_inspect_segment *segment);
    void *context;
    bole_status status;
    bole_error *error;
} segment_walk;

static bool show_segment(void *context, const bl_version_table *table, bl_segment *segment)
{
    segment_walk *walk = context;
    bole_inspect_segment shown;
    walk->status = describe_segment(table, segment, &shown, walk->error);
    return walk->status == BOLE_OK && walk->visit(walk->context, &shown);
}

BOLE_API bole_status bole_inspect_segments(bole_db *db,
                                           bool (*visit)(void *context, const bole_inspect_segment *segment),
                                           void *context, bole_error *error)
{
    if (!bl_db_is_ours(db))
        return bl_forked(error);
    segment_walk walk = { visit, context, BOLE_OK, error };
    bl_read_state *state = bl_read_state_acquire(db, NULL);
    bl_version_each_segment(state->version, show_segment, &walk);
    bl_read_state_unref(state);
    return walk.status;
}

typedef struct segment_search {
    uint64_t number;
    bl_segment *found;
} segment_search;

static bool is_the_one(void *context, const bl_version_table *table, bl_segment *segment)
{
    (void)table;
    segment_search *search = context;
    if (bl_segment_meta_of(segment)->number != search->number)
        return true;
    search->found = segment;
    return false;
}

static bole_status find_segment(const bl_read_state *state, uint64_t number, bl_segment **out,
                                bole_error *error)
{
    segment_search search = { number, NULL };
    bl_version_each_segment(state->version, is_the_one, &search);
    *out = search.found;
    return search.found != NULL ? BOLE_OK
                                : bl_fail(error, BOLE_NOT_FOUND, "there is no live segment %06llu.seg",
                                          (unsigned long long)number);
}

BOLE_API bole_status bole_inspect_filter(bole_db *db, uint64_t number, uint64_t probes, uint64_t seed,
                                         uint64_t *false_positives, bole_error *error)
{
    *false_positives = 0;
    if (!bl_db_is_ours(db))
        return bl_forked(error);
    bl_read_state *state = bl_read_state_acquire(db, NULL);
    bl_segment *segment;
    bole_status status = find_segment(state, number, &segment, error);
    bl_prng prng;
    bl_prng_init(&prng, seed);
    for (uint64_t i = 0; status == BOLE_OK && i < probes; i++) {
        /* 24 random bytes: that one is a key of the segment is out of the question (2^-192). */
        uint8_t key[24];
        bl_prng_fill(&prng, key, sizeof(key));
        bool maybe = false;
        status = bl_segment_filter_may_contain(segment, bl_hash(key, sizeof(key)), &maybe, error);
        *false_positives += maybe;
    }
    bl_read_state_unref(state);
    return status;
}

typedef struct block_walk {
    bool (*visit)(void *context, const bole_inspect_block *block);
    void *context;
} block_walk;

static bool show_block(void *context, const bl_block_place *place)
{
    block_walk *walk = context;
    bole_inspect_block block = { place->ordinal, place->offset, place->stored_bytes, place->separator };
    return walk->visit(walk->context, &block);
}

BOLE_API bole_status bole_inspect_blocks(bole_db *db, uint64_t number,
                                         bool (*visit)(void *context, const bole_inspect_block *block),
                                         void *context, bole_error *error)
{
    if (!bl_db_is_ours(db))
        return bl_forked(error);
    bl_read_state *state = bl_read_state_acquire(db, NULL);
    bl_segment *segment;
    block_walk walk = { visit, context };
    bole_status status = find_segment(state, number, &segment, error);
    if (status == BOLE_OK)
        status = bl_segment_blocks(segment, show_block, &walk, error);
    bl_read_state_unref(state);
    return status;
}

/* ---- memtables and logs ---- */

BOLE_API bole_status bole_inspect_memtables(bole_db *db,
                                            bool (*visit)(void *context,
                                                          const bole_inspect_memtable *memtable),
                                            void *context, bole_error *error)
{
    if (!bl_db_is_ours(db))
        return bl_forked(error);
    bl_read_state *state = bl_read_state_acquire(db, NULL);
    for (uint32_t i = 0; i < state->memtable_count; i++) {
        bole_inspect_memtable shown = {
            .active = bl_memtable_state_of(state->memtables[i]) == BL_MEMTABLE_ACTIVE,
            .bytes = bl_memtable_bytes(state->memtables[i]),
            .entries = bl_memtable_entries(state->memtables[i]),
            .tables = bl_memtable_tree_count(state->memtables[i]),
        };
        if (!visit(context, &shown))
            break;
    }
    bl_read_state_unref(state);
    return BOLE_OK;
}

static uint64_t file_bytes(bole_db *db, const char *path)
{
    bole_file *file;
    uint64_t length = 0;
    if (db->vfs->open(db->vfs, path, BOLE_VFS_READ, &file, NULL) != BOLE_OK)
        return 0;
    if (db->vfs->length(file, &length, NULL) != BOLE_OK)
        length = 0;
    (void)db->vfs->close(file, NULL);
    return length;
}

BOLE_API bole_status bole_inspect_logs(bole_db *db, bool (*visit)(void *context, const bole_inspect_log *log),
                                       void *context, bole_error *error)
{
    if (!bl_db_is_ours(db))
        return bl_forked(error);
    bl_mutex_lock(&db->mutex);
    uint32_t count = db->sealed_count + (db->log != NULL), at = 0;
    bole_inspect_log *logs = bl_alloc_array(count + 1, sizeof(logs[0]));
    for (bl_sealed *sealed = db->sealed_oldest; logs != NULL && sealed != NULL; sealed = sealed->newer)
        logs[at++] = (bole_inspect_log){ .number = sealed->description.number,
                                         .start = sealed->description.start,
                                         .end = sealed->description.end };
    if (logs != NULL && db->log != NULL)
        logs[at++] = (bole_inspect_log){ .number = bl_log_number(db->log),
                                         .start = bl_log_start(db->log),
                                         .end = bl_position_visible(db),
                                         .active = true };
    bl_mutex_unlock(&db->mutex);
    if (logs == NULL)
        return bl_fail(error, BOLE_NO_MEMORY, "list of logs");
    for (uint32_t i = 0; i < at; i++) {
        char path[BL_PATH_BYTES_MAX];
        bl_store_path(path, db->path, BL_FILE_LOG, logs[i].number);
        logs[i].file_bytes = file_bytes(db, path);
        if (!visit(context, &logs[i]))
            break;
    }
    bl_free(logs);
    return BOLE_OK;
}

/* ---- files ---- */

static const char *kind_name(bl_file_kind kind)
{
    switch (kind) {
    case BL_FILE_LOG: return "log";
    case BL_FILE_SEGMENT: return "segment";
    case BL_FILE_MANIFEST: return "manifest";
    case BL_FILE_CURRENT: return "current";
    case BL_FILE_LOCK: return "lock";
    case BL_FILE_READERS: return "readers";
    case BL_FILE_RESERVE: return "reserve";
    case BL_FILE_CONFIG: return "config";
    case BL_FILE_EVENTS: return "events";
    case BL_FILE_TEMPORARY: return "temporary";
    default: return "other";
    }
}

typedef struct name_list {
    char **names;
    uint32_t count, capacity;
    bool out_of_memory;
} name_list;

static bool note_name(void *context, const char *name)
{
    name_list *list = context;
    if (list->count == list->capacity) {
        uint32_t capacity = list->capacity == 0 ? 64 : 2 * list->capacity;
        char **grown = bl_realloc(list->names, capacity * sizeof(grown[0]));
        if (grown == NULL) {
            list->out_of_memory = true;
            return false;
        }
        list->names = grown;
        list->capacity = capacity;
    }
    char *copy = bl_string_copy(name);
    list->out_of_memory = copy == NULL;
    if (copy != NULL)
        list->names[list->count++] = copy;
    return copy != NULL;
}

static int by_name(const void *a, const void *b) { return strcmp(*(char *const *)a, *(char *const *)b); }

static bool is_live(bole_db *db, bl_file_kind kind, uint64_t number)
{
    if (kind == BL_FILE_TEMPORARY || kind == BL_FILE_OTHER)
        return false;
    if (kind != BL_FILE_LOG && kind != BL_FILE_SEGMENT && kind != BL_FILE_MANIFEST)
        return true;
    bl_mutex_lock(&db->mutex);
    bool live = bl_version_set_names_file(db->versions, (int)kind, number);
    bl_mutex_unlock(&db->mutex);
    return live;
}

BOLE_API bole_status bole_inspect_files(bole_db *db,
                                        bool (*visit)(void *context, const bole_inspect_file *file),
                                        void *context, bole_error *error)
{
    if (!bl_db_is_ours(db))
        return bl_forked(error);
    name_list list = { 0 };
    bole_status status = db->vfs->list(db->vfs, db->path, note_name, &list, error);
    if (status == BOLE_OK && list.out_of_memory)
        status = bl_fail(error, BOLE_NO_MEMORY, "list of files");
    if (list.count > 0)
        qsort(list.names, list.count, sizeof(list.names[0]), by_name);
    for (uint32_t i = 0; status == BOLE_OK && i < list.count; i++) {
        char path[BL_PATH_BYTES_MAX];
        uint64_t number = 0;
        bl_file_kind kind = bl_file_parse(list.names[i], &number);
        if (snprintf(path, sizeof(path), "%s/%s", db->path, list.names[i]) >= (int)sizeof(path))
            continue;
        bole_inspect_file file = {
            .name = list.names[i],
            .kind = kind_name(kind),
            .bytes = file_bytes(db, path),
            .live = is_live(db, kind, number),
        };
        if (!visit(context, &file))
            break;
    }
    for (uint32_t i = 0; i < list.count; i++)
        bl_free(list.names[i]);
    bl_free(list.names);
    return status;
}

/* ---- settings and state ---- */

typedef struct setting_walk {
    bool (*visit)(void *context, const bole_inspect_setting *setting);
    void *context;
} setting_walk;

static bool show_setting(void *context, const bl_config_entry *entry)
{
    setting_walk *walk = context;
    bole_inspect_setting shown = {
        .name = entry->name,
        .value = entry->text,
        .origin = bl_origin_name(entry->origin),
        .where = entry->where,
        .fallback = entry->fallback,
        .allowed = entry->allowed,
        .meaning = entry->meaning,
    };
    return walk->visit(walk->context, &shown);
}

BOLE_API bole_status bole_inspect_settings(bole_db *db,
                                           bool (*visit)(void *context, const bole_inspect_setting *setting),
                                           void *context, bole_error *error)
{
    if (!bl_db_is_ours(db))
        return bl_forked(error);
    setting_walk walk = { visit, context };
    bl_mutex_lock(&db->mutex);
    bl_config_each(&db->config, show_setting, &walk);
    bl_mutex_unlock(&db->mutex);
    return BOLE_OK;
}

BOLE_API bole_status bole_inspect_store_state(bole_db *db, bole_inspect_store *out, bole_error *error)
{
    if (!bl_db_is_ours(db))
        return bl_forked(error);
    *out = (bole_inspect_store){ .format_version = 1 };
    bl_mutex_lock(&db->mutex);
    bl_id id = bl_version_set_store_id(db->versions);
    for (size_t i = 0; i < BL_ID_BYTES; i++)
        snprintf(out->id + 2 * i, 3, "%02x", id.bytes[i]);
    out->manifest_number = bl_version_set_manifest_number(db->versions);
    out->manifest_bytes = bl_version_set_manifest_position(db->versions);
    out->flushed_through = bl_version_set_flushed_through(db->versions);
    out->was_clean = bl_version_set_was_clean(db->versions);
    bl_mutex_unlock(&db->mutex);
    out->position_visible = bl_position_visible(db);
    out->synced = atomic_load_explicit(&db->synced, memory_order_relaxed);
    return BOLE_OK;
}

/* ---- escapes ---- */

BOLE_API size_t bole_escape(bole_slice bytes, char *out, size_t capacity)
{
    return bl_slice_escape(bytes, out, capacity);
}

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c |= 0x20;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

BOLE_API bole_status bole_unescape(const char *text, size_t size, bole_buffer *out, bole_error *error)
{
    out->size = 0;
    if (!bl_buffer_reserve(out, size + 1))
        return bl_fail(error, BOLE_NO_MEMORY, "text of %zu bytes", size);
    uint8_t *at = out->data;
    for (size_t i = 0; i < size; i++) {
        if (text[i] != '\\') {
            *at++ = (uint8_t)text[i];
            continue;
        }
        char kind = i + 1 < size ? text[i + 1] : 0;
        if (kind == 'x' && i + 3 < size && hex_digit(text[i + 2]) >= 0 && hex_digit(text[i + 3]) >= 0) {
            *at++ = (uint8_t)(hex_digit(text[i + 2]) << 4 | hex_digit(text[i + 3]));
            i += 3;
            continue;
        }
        switch (kind) {
        case '\\': *at++ = '\\'; break;
        case 'n': *at++ = '\n'; break;
        case 'r': *at++ = '\r'; break;
        case 't': *at++ = '\t'; break;
        case '0': *at++ = 0; break;
        default:
            return bl_fail(error, BOLE_INVALID, "bad escape at byte %zu: use \\\\ \\n \\r \\t \\0 or \\xNN",
                           i);
        }
        i++;
    }
    out->size = (size_t)(at - (uint8_t *)out->data);
    return BOLE_OK;
}
