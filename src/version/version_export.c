/* SPDX-License-Identifier: MIT */
/* version_export.c -- a whole state as one edit, and as the manifest of another directory.
 *
 * A segment's place in the snapshot is where the version has it, not what its handle says from its birth.
 * INVARIANTS  (EXPORT-1) In the target the manifest is on disk before CURRENT names it, and CURRENT comes
 *                        last of all: a directory without it is no store.
 *             (EXPORT-2) What is pinned is one state of the store: version, drops and numbers of one moment.
 *                        */
#include "version/version_set_internal.h"

#include "base/alloc.h"
#include "base/assert.h"
#include "base/status.h"
#include "version/file_name.h"

struct bl_version_export {
    bl_version *version;
    bl_state_drop *drops;
    uint32_t drop_count;
    uint64_t next_file_number, flushed_through, synced, next_sequence;
    uint32_t next_table_number;
};

/* ---- Snapshots ---- */

static uint32_t count_segments(const bl_version *version)
{
    uint32_t count = 0;
    for (uint32_t t = 0; t < version->table_count; t++)
        count += version->tables[t].values.count;
    for (uint32_t t = 0; t < version->table_count; t++)
        for (uint32_t l = 0; l < BOLE_LEVELS_MAX; l++)
            for (uint32_t r = 0; r < version->tables[t].levels[l].run_count; r++)
                count += version->tables[t].levels[l].runs[r].count;
    return count;
}

/* Metas as they stand now; their keys are borrowed from the handles. */
static void list_segments(const bl_version *version, bl_segment_meta *out)
{
    for (uint32_t t = 0; t < version->table_count; t++) {
        const bl_version_values *values = &version->tables[t].values;
        for (uint32_t i = 0; i < values->count; i++, out++) {
            *out = *bl_segment_meta_of(values->segments[i]);
            out->dead_entries = values->dead[i].entries;
            out->dead_bytes = values->dead[i].bytes;
        }
        for (uint32_t l = 0; l < BOLE_LEVELS_MAX; l++) {
            const bl_level *level = &version->tables[t].levels[l];
            for (uint32_t r = 0; r < level->run_count; r++) {
                for (uint32_t i = 0; i < level->runs[r].count; i++) {
                    *out = *bl_segment_meta_of(level->runs[r].segments[i]);
                    out->level = l;
                    out->run = level->runs[r].number;
                    out++;
                }
            }
        }
    }
}

bole_status bl_snapshot_encode(const bl_snapshot_source *source, bole_buffer *out, bole_error *error)
{
    const bl_version *version = source->version;
    uint32_t segments = count_segments(version);
    bl_segment_meta *metas = bl_new_array(bl_segment_meta, (size_t)segments + 1);
    bl_table_description *tables = bl_new_array(bl_table_description, (size_t)version->table_count + 1);
    bl_table_description *drops = bl_new_array(bl_table_description, (size_t)source->drop_count + 1);
    bole_status status;
    if (metas == NULL || tables == NULL || drops == NULL) {
        status = bl_fail(error, BOLE_NO_MEMORY, "no memory for a snapshot of the manifest");
        goto out;
    }
    list_segments(version, metas);
    for (uint32_t i = 0; i < version->table_count; i++)
        tables[i] = (bl_table_description){
            .number = version->tables[i].number,
            .name = version->tables[i].name,
            .comparator_name = version->tables[i].comparator_name,
            .position = version->tables[i].created,
        };
    for (uint32_t i = 0; i < source->drop_count; i++)
        drops[i] = (bl_table_description){ .number = source->drops[i].number,
                                           .position = source->drops[i].position };
    bl_version_edit edit = {
        .snapshot = true,
        .added = metas,
        .added_count = segments,
        .tables_created = tables,
        .tables_created_count = version->table_count,
        .tables_dropped = drops,
        .tables_dropped_count = source->drop_count,
        .logs_added = source->logs,
        .logs_added_count = source->log_count,
        .flushed_through = source->flushed_through,
        .synced = source->synced,
        .next_sequence = source->next_sequence,
        .next_file_number = source->next_file_number,
        .next_table_number = source->next_table_number,
    };
    status = bl_version_edit_encode(&edit, out, error);
out:
    bl_free(metas);
    bl_free(tables);
    bl_free(drops);
    return status;
}

/* ---- Exports ---- */

bole_status bl_version_export_begin(bl_version_set *set, bl_version_export **out, bole_error *error)
{
    *out = NULL;
    bl_mutex_assert_held(set->mutex);
    bl_version_export *pinned = bl_new(bl_version_export);
    bl_state_drop *drops = bl_new_array(bl_state_drop, (size_t)set->state.drop_count + 1);
    if (pinned == NULL || drops == NULL) {
        bl_free(pinned);
        bl_free(drops);
        return bl_fail(error, BOLE_NO_MEMORY, "no memory to pin the state of the store");
    }
    for (uint32_t i = 0; i < set->state.drop_count; i++)
        drops[i] = set->state.drops[i];
    *pinned = (bl_version_export){
        .version = bl_version_set_current(set),
        .drops = drops,
        .drop_count = set->state.drop_count,
        .next_file_number = set->next_file_number,
        .flushed_through = set->state.flushed_through,
        .synced = set->state.synced,
        .next_sequence = set->state.next_sequence,
        .next_table_number = set->state.next_table_number,
    };
    bl_version_ref(pinned->version);
    *out = pinned;
    return BOLE_OK;
}

const bl_version *bl_version_export_version(const bl_version_export *pinned) { return pinned->version; }

void bl_version_export_destroy(bl_version_export *pinned)
{
    bl_version_unref(pinned->version);
    bl_free(pinned->drops);
    bl_free(pinned);
}

static bole_status refuse_a_store(const bl_version_export_target *target, bole_error *error)
{
    char path[BL_PATH_BYTES_MAX];
    bool is_directory;
    bl_store_path(path, target->directory, BL_FILE_CURRENT, 0);
    bole_status status = target->vfs->exists(target->vfs, path, &is_directory, error);
    if (status == BOLE_NOT_FOUND)
        return BOLE_OK;
    return status != BOLE_OK ? status : bl_fail(error, BOLE_EXISTS, "%s is there already", path);
}

bole_status bl_version_export_write(const bl_version_export *pinned, const bl_version_export_target *target,
                                    bole_error *error)
{
    bole_status status = refuse_a_store(target, error);
    if (status != BOLE_OK)
        return status;
    bl_assert(!bl_id_is_zero(target->store_id));
    uint64_t number = pinned->next_file_number;
    bool clean = true;
    for (uint32_t i = 0; i < target->log_count; i++) {
        clean = clean && target->logs[i].end_checksum_known;
        number = target->logs[i].number >= number ? target->logs[i].number + 1 : number;
    }
    bl_snapshot_source source = {
        .version = pinned->version,
        .logs = target->logs,
        .log_count = target->log_count,
        .drops = pinned->drops,
        .drop_count = pinned->drop_count,
        .next_file_number = number + 1,
        .next_table_number = pinned->next_table_number,
        .flushed_through = target->flushed_through != 0 ? target->flushed_through : pinned->flushed_through,
        .synced = target->synced != 0 ? target->synced : pinned->synced,
        .next_sequence = target->next_sequence != 0 ? target->next_sequence : pinned->next_sequence,
    };
    bole_buffer snapshot = BOLE_BUFFER_INIT;
    bl_manifest *manifest = NULL;
    status = bl_snapshot_encode(&source, &snapshot, error);
    if (status == BOLE_OK)
        status = bl_manifest_create(target->vfs, target->directory, number, target->store_id,
                                    bl_slice(snapshot.data, snapshot.size), &manifest, error);
    if (status == BOLE_OK) {
        bl_current current = {
            .store_id = target->store_id,
            .manifest_id = bl_manifest_id(manifest),
            .manifest_number = number,
            .clean_bytes = clean ? bl_manifest_bytes(manifest) : 0,
            .clean_chain = clean ? bl_manifest_chain(manifest) : 0,
        };
        bool renamed;
        status = bl_current_write(target->vfs, target->directory, &current, &renamed, error);
    }
    bl_manifest_close(manifest);
    bole_buffer_free(&snapshot);
    return status;
}
