/* SPDX-License-Identifier: MIT */
/* repair.c -- a new store from what can be read of a damaged one (bole_repair).
 *
 * ORDER  facts (directory, CURRENT, manifest) -> segments -> logs -> merge. Each only reads. With a target the merge is
 *        written by the engine itself into "TARGET.tmp", which is closed cleanly and verified before it is renamed: so
 *        whatever is at the target's name is a whole store.
 * THREADS one. */
#include "tools/repair.h"

#include <bole/bole_inspect.h>

#include <stdarg.h>
#include <stdio.h>

#include "base/alloc.h"
#include "base/status.h"
#include "core/config_source.h"
#include "engine/log_structured_store.h"
#include "platform/vfs_files.h"
#include "version/file_name.h"

/* ---- What the parts share -------------------------------------------------------------------------------------- */

bole_status bl_repair_tell(bl_repair *repair, bole_repair_kind kind, const bl_repair_place *place,
                           const char *format, ...)
{
    char text[1024];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    repair->report->losses += kind == BOLE_REPAIR_LOST;
    bole_repair_finding finding = { kind,         place->file, place->offset, place->table,
                                    place->after, place->upto, text };
    if (repair->visit == NULL || repair->visit(repair->context, &finding))
        return BOLE_OK;
    return bl_fail(repair->error, BOLE_CANCELLED, "repair of %s was ended", repair->path);
}

const char *bl_repair_reason(const bl_repair *repair, const char *message)
{
    const char *colon = strstr(message, ": ");
    return strncmp(message, repair->path, strlen(repair->path)) == 0 && colon != NULL ? colon + 2 : message;
}

void *bl_repair_grow(bl_repair *repair, void *items, uint32_t *count, uint32_t *capacity, size_t size)
{
    if (*count == *capacity) {
        uint32_t grown_capacity = *capacity == 0 ? 32 : 2 * *capacity;
        void *grown = *capacity > UINT32_MAX / 4 ? NULL : bl_realloc(items, grown_capacity * size);
        if (grown == NULL) {
            (void)bl_fail(repair->error, BOLE_NO_MEMORY, "a list of %u items", grown_capacity);
            return NULL;
        }
        items = grown;
        *capacity = grown_capacity;
    }
    memset((char *)items + *count * size, 0, size);
    ++*count;
    return items;
}

/* ---- Tables ---------------------------------------------------------------------------------------------------- */

bl_repair_table *bl_repair_table_of(bl_repair *repair, uint32_t number)
{
    for (uint32_t i = 0; i < repair->table_count; i++)
        if (repair->tables[i].number == number)
            return &repair->tables[i];
    return NULL;
}

bl_repair_table *bl_repair_table_make(bl_repair *repair, uint32_t number)
{
    bl_repair_table *table = bl_repair_table_of(repair, number);
    if (table != NULL)
        return table;
    void *grown = bl_repair_grow(repair, repair->tables, &repair->table_count, &repair->table_capacity,
                                 sizeof(repair->tables[0]));
    if (grown == NULL)
        return NULL;
    repair->tables = grown;
    table = &repair->tables[repair->table_count - 1];
    table->number = number;
    char name[64];
    snprintf(name, sizeof name, "salvaged-table-%u", number);
    table->name = bl_string_copy(number == 0 ? "default" : name);
    if (table->name == NULL) {
        repair->table_count--;
        (void)bl_fail(repair->error, BOLE_NO_MEMORY, "table %u", number);
        return NULL;
    }
    table->known = true;
    if (number == 0)
        table->comparator = repair->options.comparator;
    return table;
}

bool bl_repair_resolve(const bl_repair *repair, const char *name, bl_comparator **out)
{
    const bole_comparator *own = repair->options.comparator;
    const bole_comparator *const *others = repair->options.comparators;
    *out = NULL;
    if (strcmp(name, BL_COMPARATOR_BYTES_NAME) == 0)
        return true;
    if (own != NULL && strcmp(own->name, name) == 0)
        *out = own;
    for (size_t i = 0; *out == NULL && others != NULL && others[i] != NULL; i++)
        if (strcmp(others[i]->name, name) == 0)
            *out = others[i];
    return *out != NULL;
}

bool bl_repair_table_name(bl_repair *repair, bl_repair_table *table, const char *name,
                          const char *comparator_name)
{
    if (table->comparator_name != NULL)
        return true;
    char *copy = bl_string_copy(name), *comparator = bl_string_copy(comparator_name);
    if (copy == NULL || comparator == NULL) {
        bl_free(copy);
        bl_free(comparator);
        (void)bl_fail(repair->error, BOLE_NO_MEMORY, "table \"%s\"", name);
        return false;
    }
    bl_free(table->name);
    table->name = copy;
    table->comparator_name = comparator;
    table->known = bl_repair_resolve(repair, comparator_name, &table->comparator);
    return true;
}

/* ---- The new store --------------------------------------------------------------------------------------------- */

/* Settings go over as they are, unless they are damaged too. */
static bole_status take_settings(bl_repair *repair, const char *directory)
{
    char from[BL_PATH_BYTES_MAX], to[BL_PATH_BYTES_MAX];
    bole_error story = BOLE_ERROR_INIT;
    bole_vfs *vfs = repair->vfs;
    bl_config config;
    bl_config_init(&config);
    bl_store_path(from, repair->path, BL_FILE_CONFIG, 0);
    bl_store_path(to, directory, BL_FILE_CONFIG, 0);
    bole_status status = bl_config_apply_file(&config, vfs, from, &story);
    if (status == BOLE_NO_MEMORY)
        return bl_fail(repair->error, status, "%s", story.message);
    if (status != BOLE_OK)
        return bl_repair_tell(repair, BOLE_REPAIR_LOST,
                              &(bl_repair_place){ "bole.conf", BL_NO_OFFSET, NULL, { 0 }, { 0 } },
                              "the settings cannot be read, and the new store has the defaults: %s",
                              story.message);
    bool is_directory;
    if (vfs->exists(vfs, from, &is_directory, NULL) == BOLE_NOT_FOUND)
        return BOLE_OK; /* there are none */
    return bl_vfs_copy_file(vfs, from, to, repair->error);
}

/* With the settings of the damaged store's bole.conf, which stands in the directory already. */
static bole_status write_store(bl_repair *repair, const char *directory)
{
    bole_options options = repair->options;
    bole_db *db;
    bole_verify_report proof;
    options.flags = BOLE_CREATE | (options.flags & BOLE_NO_SIGBUS_HANDLER);
    for (uint32_t i = 0; i < repair->table_count; i++)
        if (repair->tables[i].number == 0)
            options.comparator = repair->tables[i].comparator;
    bole_status status = bole_open(directory, &options, &db, repair->error);
    if (status != BOLE_OK)
        return status;
    status = bl_repair_write(repair, db);
    if (status == BOLE_OK)
        status = bole_flush(db, repair->error);
    bole_status closed = bole_close(db, status == BOLE_OK ? repair->error : NULL);
    if (status == BOLE_OK)
        status = closed;
    return status == BOLE_OK ? bole_verify(directory, &options, NULL, NULL, &proof, repair->error) : status;
}

static bole_status check_target(bl_repair *repair, const char *target, char temporary[BL_PATH_BYTES_MAX])
{
    bool is_directory;
    bole_error absent = BOLE_ERROR_INIT;
    if (target == NULL || target[0] == 0)
        return bl_fail(repair->error, BOLE_INVALID, "repair needs a directory for the new store");
    if (snprintf(temporary, BL_PATH_BYTES_MAX, "%s.tmp", target) >= BL_PATH_BYTES_MAX ||
        !bl_directory_fits(temporary))
        return bl_fail(repair->error, BOLE_TOO_LARGE, "the path %.200s... is too long", target);
    bole_status status = repair->vfs->exists(repair->vfs, target, &is_directory, &absent);
    if (status == BOLE_OK)
        return bl_fail(repair->error, BOLE_EXISTS, "%s exists already: a repaired store needs a new name",
                       target);
    return status == BOLE_NOT_FOUND ? BOLE_OK : bl_fail(repair->error, status, "%s", absent.message);
}

static bole_status make_store(bl_repair *repair, const char *target, const char *temporary)
{
    bole_vfs *vfs = repair->vfs;
    char parent[BL_PATH_BYTES_MAX];
    bl_vfs_remove_all(vfs, temporary); /* left by a repair that did not end */
    bole_status status = vfs->make_directory(vfs, temporary, repair->error);
    if (status != BOLE_OK)
        return status;
    status = take_settings(repair, temporary);
    if (status == BOLE_OK)
        status = write_store(repair, temporary);
    if (status == BOLE_OK)
        status = vfs->rename(vfs, temporary, target, repair->error);
    if (status != BOLE_OK) {
        bl_vfs_remove_all(vfs, temporary);
        return status;
    }
    bl_parent_directory(parent, target);
    return vfs->sync_directory(vfs, parent, repair->error);
}

/* ---- All of it ------------------------------------------------------------------------------------------------- */

static void free_facts(bl_repair *repair)
{
    for (uint32_t i = 0; i < repair->segment_count; i++) {
        bl_segment_salvage_close(repair->segments[i].salvage);
        bl_segment_meta_deinit(&repair->segments[i].meta);
    }
    for (uint32_t i = 0; i < repair->table_count; i++) {
        bl_free(repair->tables[i].name);
        bl_free(repair->tables[i].comparator_name);
    }
    for (uint32_t i = 0; i < repair->range_count; i++) {
        bole_buffer_free(&repair->ranges[i].after);
        bole_buffer_free(&repair->ranges[i].upto);
        bl_free(repair->ranges[i].why);
    }
    bl_memtable_unref(repair->memtable);
    bl_free(repair->segments);
    bl_free(repair->slots);
    bl_free(repair->tables);
    bl_free(repair->logs);
    bl_free(repair->manifests);
    bl_free(repair->ranges);
}

static bole_status look_through(bl_repair *repair)
{
    bl_memory_budget_init(&repair->budget, UINT64_MAX / 4, 0);
    bole_status status = bl_memtable_create(&repair->budget, UINT64_C(1) << 30, &repair->memtable,
                                            repair->error);
    if (status == BOLE_OK)
        status = bl_repair_facts(repair);
    if (status == BOLE_OK && bl_repair_table_make(repair, 0) == NULL)
        status = BOLE_NO_MEMORY;
    if (status == BOLE_OK)
        status = bl_repair_segments(repair);
    return status == BOLE_OK ? bl_repair_logs(repair) : status;
}

BOLE_API bole_status bole_repair(const char *path, const char *target, const bole_options *options,
                                 uint32_t flags,
                                 bool (*visit)(void *context, const bole_repair_finding *finding),
                                 void *context, bole_repair_report *report, bole_error *error)
{
    bole_error story = BOLE_ERROR_INIT; /* of what was tried; the caller's only when it all fails */
    char temporary[BL_PATH_BYTES_MAX];
    bole_repair_report unwanted = { .losses = 0 };
    bool dry = (flags & BOLE_REPAIR_DRY_RUN) != 0;
    bl_repair repair = {
        .path = path,
        .options = BOLE_OPTIONS_INIT,
        .flags = flags,
        .visit = visit,
        .context = context,
        .report = report != NULL ? report : &unwanted,
        .error = &story,
    };
    memset(repair.report, 0, sizeof(*repair.report));
    if (path == NULL || path[0] == 0)
        return bl_fail(error, BOLE_INVALID, "the path of a store is empty");
    if (!bl_directory_fits(path))
        return bl_fail(error, BOLE_TOO_LARGE, "the path %.200s... is too long", path);
    if ((flags & ~(uint32_t)(BOLE_REPAIR_DRY_RUN | BOLE_REPAIR_CERTAIN)) != 0)
        return bl_fail(error, BOLE_INVALID, "unknown flags 0x%x of a repair", flags);
    if (options != NULL && options->size > sizeof(repair.options))
        return bl_fail(error, BOLE_INVALID, "bole_options of %u bytes; this library has %zu", options->size,
                       sizeof(repair.options));
    if (options != NULL)
        memcpy(&repair.options, options, options->size);
    repair.options.size = sizeof(repair.options);
    repair.vfs = repair.options.vfs != NULL ? repair.options.vfs : bole_vfs_posix();
    bole_status status = dry ? BOLE_OK : check_target(&repair, target, temporary);
    if (status == BOLE_OK)
        status = look_through(&repair);
    if (status == BOLE_OK)
        status = dry ? bl_repair_write(&repair, NULL) : make_store(&repair, target, temporary);
    if (status != BOLE_OK && error != NULL)
        *error = story;
    free_facts(&repair);
    return status;
}
