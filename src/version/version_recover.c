/* SPDX-License-Identifier: MIT */
/* version_recover.c -- a version set comes into being: of a new store, or from CURRENT and the manifest.
 *
 * Recovery applies every edit to plain data, whose cost is the edits' own, and makes handles and the version
 * once, at the end, from what is left: a store of any number of edits opens with one pass over the manifest.
 * INVARIANTS  (RECOVER-1) Recovery writes nothing, and opens no segment and no log.
 *             (RECOVER-2) Nothing in a manifest is trusted: what does not fit is BOLE_CORRUPT with file and
 *                         offset.
 *             (RECOVER-3) create touches a directory only where nothing can be lost: no CURRENT, no log, no
 *                         segment. */
#include "version/version_set_internal.h"

#include "base/alloc.h"
#include "base/assert.h"
#include "base/status.h"
#include "version/file_name.h"

#include <stdio.h>

#define MANIFEST_BYTES_MAX_DEFAULT (UINT64_C(4) << 20)
enum { READ_ATTEMPTS_MAX = 16 };

/* ---- Comparators ---- */

static bool is_named(const bole_comparator *comparator, const char *name)
{
    return comparator != NULL && strcmp(comparator->name, name) == 0;
}

bool bl_version_set_resolve(const bl_version_set *set, const char *name, const bole_comparator **out)
{
    *out = NULL;
    if (strcmp(name, BL_COMPARATOR_BYTES_NAME) == 0)
        return true;
    if (is_named(set->default_comparator, name)) {
        *out = set->default_comparator;
        return true;
    }
    for (size_t i = 0; set->comparators != NULL && set->comparators[i] != NULL; i++) {
        if (is_named(set->comparators[i], name)) {
            *out = set->comparators[i];
            return true;
        }
    }
    return false;
}

static bole_status check_comparator(const bole_comparator *comparator, bole_error *error)
{
    if (comparator->name == NULL || comparator->compare == NULL || comparator->name[0] == '\0' ||
        strlen(comparator->name) > 255)
        return bl_fail(error, BOLE_INVALID, "a comparator has a function and a name of 1 to 255 bytes");
    if (strcmp(comparator->name, BL_COMPARATOR_BYTES_NAME) == 0)
        return bl_fail(error, BOLE_INVALID,
                       "the name \"%s\" is the byte order's: no other comparator may have it",
                       comparator->name);
    return BOLE_OK;
}

static bole_status check_parameters(const bl_version_set_parameters *parameters, bole_error *error)
{
    if (parameters->allow_unknown_comparators && !parameters->read_only)
        return bl_fail(error, BOLE_INVALID, "a table of unknown order can only be looked at, not written");
    bole_status status = BOLE_OK;
    if (parameters->default_comparator != NULL)
        status = check_comparator(parameters->default_comparator, error);
    for (size_t i = 0;
         status == BOLE_OK && parameters->comparators != NULL && parameters->comparators[i] != NULL; i++)
        status = check_comparator(parameters->comparators[i], error);
    return status;
}

/* ---- A set ---- */

bole_status bl_version_set_make(const bl_version_set_parameters *parameters, bl_version_set **out,
                                bole_error *error)
{
    *out = NULL;
    bole_status status = check_parameters(parameters, error);
    if (status != BOLE_OK)
        return status;
    bl_version_set *set = bl_new(bl_version_set);
    char *directory = bl_string_copy(parameters->directory);
    if (set == NULL || directory == NULL) {
        bl_free(set);
        bl_free(directory);
        return bl_fail(error, BOLE_NO_MEMORY, "no memory for a version set");
    }
    set->environment = parameters->environment;
    set->mutex = parameters->mutex;
    set->vfs = parameters->vfs;
    set->directory = directory;
    set->default_comparator = parameters->default_comparator;
    set->comparators = parameters->comparators;
    set->read_only = parameters->read_only;
    set->manifest_bytes_max = parameters->manifest_bytes_max != 0 ? parameters->manifest_bytes_max
                                                                  : MANIFEST_BYTES_MAX_DEFAULT;
    bl_condition_init(&set->turn, parameters->scheduler);
    set->turn_ready = true;
    *out = set;
    return BOLE_OK;
}

/* ---- Create ---- */

/* What stands in the directory. */
typedef struct found_files {
    uint64_t highest;
    bool current;
    char of_a_store[64]; /* a log or a segment */
    uint64_t manifests[BL_STALE_MAX];
    uint32_t manifest_count;
} found_files;

static bool note_file(void *context, const char *name)
{
    found_files *found = context;
    uint64_t number;
    bl_file_kind kind = bl_file_parse(name, &number);
    if (kind == BL_FILE_CURRENT)
        found->current = true;
    if (kind == BL_FILE_LOG || kind == BL_FILE_SEGMENT)
        snprintf(found->of_a_store, sizeof found->of_a_store, "%s", name);
    if (kind == BL_FILE_MANIFEST && found->manifest_count < BL_STALE_MAX)
        found->manifests[found->manifest_count++] = number;
    if (kind != BL_FILE_EVENTS && number > found->highest && number < BL_FILE_NUMBER_MAX / 2)
        found->highest = number;
    return true;
}

static bole_status look_around(const bl_version_set *set, found_files *found, bole_error *error)
{
    bole_status status = set->vfs->list(set->vfs, set->directory, note_file, found, error);
    if (status != BOLE_OK)
        return status;
    if (found->current)
        return bl_fail(error, BOLE_EXISTS, "there is a store in %s already", set->directory);
    if (found->of_a_store[0] != '\0')
        return bl_corrupt(
            error, found->of_a_store, BL_NO_OFFSET,
            "it is in %s, but CURRENT is not: this was a store, and only repair can bring it back",
            set->directory);
    return BOLE_OK;
}

/* State and version of a store with nothing in it but the default table. */
static bole_status make_empty(bl_version_set *set, uint64_t next_file_number, bole_error *error)
{
    bl_table_description table = {
        .number = 0,
        .name = "default",
        .comparator_name = bl_comparator_name(set->default_comparator),
    };
    bl_version_edit edit = {
        .snapshot = true,
        .tables_created = &table,
        .tables_created_count = 1,
        .next_file_number = next_file_number,
        .next_table_number = 1,
    };
    bl_version_birth birth = { 0, table.name, table.comparator_name, set->default_comparator, true, 0 };
    bl_version_change change = { .births = &birth, .birth_count = 1 };
    bl_version *version;
    bole_status status = bl_manifest_state_apply(&set->state, &edit, "a new store", BL_NO_OFFSET, error);
    if (status == BOLE_OK)
        status = bl_version_build(&change, &version, error);
    if (status == BOLE_OK)
        atomic_init(&set->current, version);
    set->next_file_number = next_file_number;
    return status;
}

static bole_status write_first(bl_version_set *set, uint64_t number, bole_error *error)
{
    bl_snapshot_source source = {
        .version = bl_version_set_current(set),
        .next_file_number = set->next_file_number,
        .next_table_number = set->state.next_table_number,
    };
    bole_buffer snapshot = BOLE_BUFFER_INIT;
    bole_status status = bl_snapshot_encode(&source, &snapshot, error);
    if (status == BOLE_OK)
        status = bl_manifest_create(set->vfs, set->directory, number, set->store_id,
                                    bl_slice(snapshot.data, snapshot.size), &set->manifest, error);
    bole_buffer_free(&snapshot);
    if (status != BOLE_OK)
        return status;
    bl_current current = {
        .store_id = set->store_id,
        .manifest_id = bl_manifest_id(set->manifest),
        .manifest_number = number,
    };
    bool renamed;
    status = bl_current_write(set->vfs, set->directory, &current, &renamed, error);
    set->manifest_number = number;
    set->manifest_id = current.manifest_id;
    set->manifest_position = set->snapshot_bytes = bl_manifest_bytes(set->manifest);
    return status;
}

bole_status bl_version_set_create(const bl_version_set_parameters *parameters, bl_version_set **out,
                                  bole_error *error)
{
    *out = NULL;
    bl_assert(!parameters->read_only);
    bl_version_set *set;
    found_files found = { .highest = 0 };
    bole_status status = bl_version_set_make(parameters, &set, error);
    if (status == BOLE_OK)
        status = look_around(set, &found, error);
    if (status == BOLE_OK)
        status = set->vfs->random(set->vfs, set->store_id.bytes, BL_ID_BYTES, error);
    if (status == BOLE_OK)
        status = make_empty(set, found.highest + 2, error);
    if (status == BOLE_OK)
        status = write_first(set, found.highest + 1, error);
    if (status != BOLE_OK) {
        bl_version_set_destroy(set);
        return status;
    }
    for (uint32_t i = 0; i < found.manifest_count; i++) { /* of a create that did not come to its end */
        char path[BL_PATH_BYTES_MAX];
        bl_store_path(path, set->directory, BL_FILE_MANIFEST, found.manifests[i]);
        (void)set->vfs->remove(set->vfs, path, NULL);
    }
    set->environment->store_id = set->store_id;
    *out = set;
    return BOLE_OK;
}

/* ---- Recover ---- */

typedef struct manifest_reader {
    bl_manifest_state *state;
    const char *path;
} manifest_reader;

static bole_status apply_edit(void *context, const bl_manifest_edit *edit, bole_error *error)
{
    manifest_reader *reader = context;
    return bl_manifest_state_apply(reader->state, edit->edit, reader->path, edit->offset, error);
}

static bole_status read_manifest(bl_version_set *set, const bl_current *current, bole_error *error)
{
    char path[BL_PATH_BYTES_MAX];
    bl_store_path(path, set->directory, BL_FILE_MANIFEST, current->manifest_number);
    manifest_reader reader = { &set->state, path };
    set->state = (bl_manifest_state){ .keep_metas = true };
    bole_status status = bl_manifest_scan(set->vfs, path, current, apply_edit, &reader, &set->opened, error);
    if (status == BOLE_NOT_FOUND)
        status = bl_corrupt(error, path, BL_NO_OFFSET, "CURRENT names this manifest, and it is not there");
    if (status == BOLE_OK && (current->manifest_number >= set->state.next_file_number ||
                              bl_version_set_names_file(set, BL_FILE_SEGMENT, current->manifest_number) ||
                              bl_version_set_names_file(set, BL_FILE_LOG, current->manifest_number)))
        status = bl_corrupt(error, path, BL_MANIFEST_HEADER_BYTES,
                            "it gives its own number away a second time");
    if (status != BOLE_OK)
        bl_manifest_state_deinit(&set->state);
    return status;
}

/* Did CURRENT or the manifest change between two looks? */
static bool has_moved(const bl_current *a, const bl_manifest_scanned *seen_a, const bl_current *b,
                      const bl_manifest_scanned *seen_b)
{
    return a->manifest_number != b->manifest_number || !bl_id_equal(a->manifest_id, b->manifest_id) ||
           a->clean_bytes != b->clean_bytes || seen_a->bytes != seen_b->bytes ||
           seen_a->file_bytes != seen_b->file_bytes;
}

/* CURRENT and its manifest. Beside a writing process either may move between the two looks, or in the middle of
 * one; damage looks the same twice. */
static bole_status read_files(bl_version_set *set, bl_current *current, bole_error *error)
{
    bole_status status = BOLE_OK;
    bl_current current_before = { .manifest_number = 0 };
    bl_manifest_scanned opened_before = { .number = 0 };
    for (int attempt = 0; attempt < READ_ATTEMPTS_MAX; attempt++) {
        set->opened = (bl_manifest_scanned){ .number = 0 };
        status = bl_current_read(set->vfs, set->directory, current, error);
        if (status == BOLE_OK)
            status = read_manifest(set, current, error);
        if (status != BOLE_CORRUPT || !set->read_only)
            break;
        if (attempt > 0 && !has_moved(&current_before, &opened_before, current, &set->opened))
            break;
        BL_MARK("manifest read again");
        current_before = *current;
        opened_before = set->opened;
    }
    return status;
}

/* The order of each table, and whether it is known. */
static bole_status resolve_tables(const bl_version_set *set, bool allow_unknown, bl_version_birth *births,
                                  bole_error *error)
{
    for (uint32_t i = 0; i < set->state.table_count; i++) {
        const bl_state_table *table = &set->state.tables[i];
        births[i] = (bl_version_birth){
            .number = table->number,
            .name = table->name,
            .comparator_name = table->comparator_name,
            .created = table->position,
        };
        const bole_comparator *wanted = table->number == 0 ? set->default_comparator : NULL;
        bool differs = wanted != NULL && !is_named(wanted, table->comparator_name);
        births[i].comparator_known = bl_version_set_resolve(set, table->comparator_name,
                                                            &births[i].comparator);
        if (allow_unknown || (births[i].comparator_known && !differs))
            continue;
        return bl_fail(error, BOLE_COMPARATOR,
                       differs ? "table \"%s\" was written in order of \"%s\" and is opened with \"%s\""
                               : "table \"%s\" was written in order of \"%s\", which the options do not give",
                       table->name, table->comparator_name, differs ? wanted->name : "");
    }
    return BOLE_OK;
}

static const bl_version_birth *birth_of(const bl_version_birth *births, uint32_t count, uint32_t table)
{
    uint32_t low = 0, high = count;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (births[middle].number < table)
            low = middle + 1;
        else
            high = middle;
    }
    bl_assert(low < count && births[low].number == table);
    return &births[low];
}

static bole_status build_recovered(bl_version_set *set, bool allow_unknown, bl_version **out,
                                   bole_error *error)
{
    bl_manifest_state *state = &set->state;
    bl_version_birth *births = bl_new_array(bl_version_birth, (size_t)state->table_count + 1);
    bl_version_insertion *insertions = bl_new_array(bl_version_insertion, (size_t)state->segment_count + 1);
    bl_version_change change = { .births = births,
                                 .birth_count = state->table_count,
                                 .insertions = insertions };
    bole_status status = BOLE_OK;
    *out = NULL;
    if (births == NULL || insertions == NULL)
        status = bl_fail(error, BOLE_NO_MEMORY, "no memory for %u segments", state->segment_count);
    if (status == BOLE_OK)
        status = resolve_tables(set, allow_unknown, births, error);
    for (uint32_t i = 0; i < state->slot_count && status == BOLE_OK; i++) {
        const bl_state_segment *slot = &state->slots[i];
        if (slot->number == 0)
            continue;
        bl_segment *segment;
        status = bl_segment_create_handle(set->environment, slot->meta,
                                          birth_of(births, change.birth_count, slot->table)->comparator,
                                          &segment, error);
        if (status == BOLE_OK)
            insertions[change.insertion_count++] = (bl_version_insertion){ slot->table, slot->level,
                                                                           slot->run, segment };
    }
    if (status == BOLE_OK)
        status = bl_version_build(&change, out, error);
    for (uint32_t i = 0; i < change.insertion_count; i++)
        bl_segment_unref(insertions[i].segment);
    bl_free(births);
    bl_free(insertions);
    return status;
}

bole_status bl_version_set_recover(const bl_version_set_parameters *parameters, bl_version_set **out,
                                   bole_error *error)
{
    *out = NULL;
    bl_version_set *set;
    bl_current current = { .manifest_number = 0 };
    bl_version *version = NULL;
    bole_status status = bl_version_set_make(parameters, &set, error);
    if (status == BOLE_OK)
        status = read_files(set, &current, error);
    if (status != BOLE_OK)
        goto fail;
    set->store_id = current.store_id;
    set->environment->store_id = current.store_id;
    status = build_recovered(set, parameters->allow_unknown_comparators, &version, error);
    if (status != BOLE_OK)
        goto fail;
    atomic_init(&set->current, version);
    status = bl_version_check(version, error);
    if (status != BOLE_OK) {
        status = bl_fail_prefix(error, status, "manifest-%06llu",
                                (unsigned long long)current.manifest_number);
        goto fail;
    }
    bl_manifest_state_drop_metas(&set->state);
    set->manifest_number = current.manifest_number;
    set->manifest_id = current.manifest_id;
    set->manifest_position = set->opened.bytes;
    set->snapshot_bytes = set->opened.snapshot_bytes;
    set->next_file_number = set->state.next_file_number;
    set->was_clean = set->clean_mark = current.clean_bytes != 0;
    set->in_doubt = !set->was_clean;
    *out = set;
    return BOLE_OK;
fail:
    bl_version_set_destroy(set);
    return status;
}

bole_status bl_version_set_look_again(const bl_version_set *set, bool *changed, bole_error *error)
{
    *changed = true;
    bl_current current;
    char path[BL_PATH_BYTES_MAX];
    bole_status status = bl_current_read(set->vfs, set->directory, &current, error);
    if (status != BOLE_OK)
        return status;
    if (!bl_id_equal(current.store_id, set->store_id))
        return bl_corrupt(error, "CURRENT", 24, "another store stands in %s now", set->directory);
    if (current.manifest_number != set->manifest_number ||
        !bl_id_equal(current.manifest_id, set->manifest_id))
        return BOLE_OK;
    bl_store_path(path, set->directory, BL_FILE_MANIFEST, current.manifest_number);
    bole_file *file;
    status = set->vfs->open(set->vfs, path, BOLE_VFS_READ, &file, error);
    if (status == BOLE_NOT_FOUND)
        return BOLE_OK; /* replaced this moment */
    if (status != BOLE_OK)
        return status;
    uint64_t bytes = 0;
    status = set->vfs->length(file, &bytes, error);
    bole_status closed = set->vfs->close(file, status == BOLE_OK ? error : NULL);
    if (status == BOLE_OK)
        status = closed;
    *changed = bytes != set->opened.file_bytes;
    return status;
}
