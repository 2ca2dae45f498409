/* SPDX-License-Identifier: MIT */
/* fuzz_manifest.c -- CURRENT and the manifest: how a store is recovered from what is in its directory.
 *
 * INPUT       u8 flags (manifest_flag), 88 bytes of CURRENT, then the manifest.
 * CHECKED     Recovery, a scan and salvage agree: what recovery takes, the scan takes; applying the scanned edits gives
 *             the recovered numbers, tables and segments; what is salvaged of a whole manifest is all of it. A
 *             checkpoint of the recovered state recovers to the same tables and segments. Nothing is written by
 *             reading. Memory follows from the input. */
#include "fuzz.h"

#include "base/alloc.h"
#include "base/coding.h"
#include "base/status.h"
#include "platform/epoch.h"
#include "version/file_name.h"
#include "version/manifest_format.h"
#include "version/manifest_salvage.h"
#include "version/manifest_state.h"
#include "version/version_set.h"

#include <string.h>

enum manifest_flag { CURRENT_AS_GIVEN = 2, CLEAN = 4, ALL_COMPARATORS = 8 };
enum { MANIFEST_BYTES_MAX = 1 << 16 };

static struct {
    bl_scheduler *scheduler;
    bl_memory_budget budget;
    bl_frame_cache *cache;
    bl_segment_environment environment;
    bl_mutex mutex;
} store;

/* What does not depend on the input is made once. */
static void begin_once(void)
{
    bole_error error = BOLE_ERROR_INIT;
    if (store.scheduler != NULL)
        return;
    fuzz_check_ok(bl_scheduler_create(1, &store.scheduler, &error), &error);
    bl_memory_budget_init(&store.budget, UINT64_C(64) << 20, 0);
    fuzz_check_ok(bl_frame_cache_create(&store.budget, store.scheduler, &store.cache, &error), &error);
    bl_mutex_init(&store.mutex, store.scheduler);
    store.environment = (bl_segment_environment){
        .vfs = bole_vfs_posix(), /* replaced for each input */
        .directory = FUZZ_DIRECTORY,
        .scheduler = store.scheduler,
        .budget = &store.budget,
        .cache = store.cache,
        .open_files_max = 16,
    };
    fuzz_check_ok(bl_segment_environment_init(&store.environment, &error), &error);
}

static int backward(void *context, bole_slice a, bole_slice b)
{
    (void)context;
    return -bl_slice_compare(a, b);
}
static const bole_comparator backward_order = { "test.backward", NULL, backward };

static bole_status recover(bole_vfs *vfs, const char *directory, bool all_comparators, bl_version_set **out)
{
    static const bole_comparator *const orders[] = { &backward_order, NULL };
    bole_error error = BOLE_ERROR_INIT;
    bl_version_set_parameters parameters = {
        .environment = &store.environment,
        .scheduler = store.scheduler,
        .mutex = &store.mutex,
        .directory = directory,
        .vfs = vfs,
        .comparators = orders,
        .read_only = true,
        .allow_unknown_comparators = all_comparators,
    };
    store.environment.vfs = vfs;
    bole_status status = bl_version_set_recover(&parameters, out, &error);
    fuzz_check(status == BOLE_OK || error.message[0] != '\0');
    fuzz_check(status == BOLE_OK || status == BOLE_CORRUPT || status == BOLE_UNSUPPORTED ||
               status == BOLE_COMPARATOR || status == BOLE_TOO_LARGE);
    fuzz_check((status == BOLE_OK) == (*out != NULL));
    return status;
}

/* ---- The files ---- */

/* Header, then every record that could be one, in its place and order. Returns the chain at the end. */
static uint64_t mend_manifest(uint8_t *bytes, size_t size)
{
    bl_id id;
    memcpy(bytes, BL_MANIFEST_MAGIC, 8);
    bl_put_u32(bytes + 12, BL_MANIFEST_HEADER_BYTES);
    memcpy(id.bytes, bytes + 24, BL_ID_BYTES);
    uint64_t seed = bl_checksum_seed(id), chain = bl_checksum(seed, 0, bytes, 64);
    bl_put_u64(bytes + 64, chain);
    size_t at = BL_MANIFEST_HEADER_BYTES;
    for (uint32_t ordinal = 0; size - at > BL_MANIFEST_RECORD_HEADER_BYTES; ordinal++) {
        uint32_t length = bl_get_u32(bytes + at + 8) & 0xffff;
        if (length == 0 || length > size - at - BL_MANIFEST_RECORD_HEADER_BYTES)
            break;
        bl_put_u32(bytes + at + 8, length);
        bl_put_u32(bytes + at + 12, ordinal);
        uint64_t checksum = bl_checksum(seed, at, bytes + at + 8,
                                        BL_MANIFEST_RECORD_HEADER_BYTES - 8 + length);
        bl_put_u64(bytes + at, checksum);
        chain = bl_manifest_chain_next(seed, at, chain, checksum);
        at += BL_MANIFEST_RECORD_HEADER_BYTES + length;
    }
    return chain;
}

static void write_current(bole_vfs *vfs, uint8_t flags, bole_slice given, const uint8_t *manifest,
                          size_t size, uint64_t chain)
{
    uint8_t bytes[BL_CURRENT_BYTES] = { 0 };
    memcpy(bytes, given.data, given.size);
    if ((flags & CURRENT_AS_GIVEN) == 0) {
        memcpy(bytes, "boleCURR", 8);
        bl_put_u32(bytes + 8, BL_CURRENT_FORMAT);
        bl_put_u32(bytes + 12, BL_CURRENT_BYTES);
        bl_put_u64(bytes + 16, 0);
        memcpy(bytes + 24, manifest + 40, BL_ID_BYTES);
        memcpy(bytes + 40, manifest + 24, BL_ID_BYTES);
        bl_put_u64(bytes + 56, 1);
        bl_put_u64(bytes + 64, (flags & CLEAN) != 0 ? size : 0);
        bl_put_u64(bytes + 72, (flags & CLEAN) != 0 ? chain : 0);
    }
    if ((flags & FUZZ_MEND) != 0) {
        bl_id store_id;
        memcpy(store_id.bytes, bytes + 24, BL_ID_BYTES);
        bl_put_u64(bytes + 80, bl_checksum(bl_checksum_seed(store_id), 0, bytes, 80));
    }
    fuzz_file_write(vfs, FUZZ_DIRECTORY "/CURRENT", bytes, sizeof bytes);
}

/* ---- What the edits add up to ---- */

typedef struct adding {
    bl_manifest_state state;
    uint64_t edits;
} adding;

static bole_status add_edit(void *context, const bl_manifest_edit *edit, bole_error *error)
{
    adding *sum = context;
    fuzz_check(edit->ordinal == sum->edits);
    sum->edits++;
    return bl_manifest_state_apply(&sum->state, edit->edit, "manifest", edit->offset, error);
}

static bole_status count_edit(void *context, const bl_manifest_edit *edit, bole_error *error)
{
    (void)edit, (void)error;
    ++*(uint64_t *)context;
    return BOLE_OK;
}

static uint64_t version_segments(const bl_version *version)
{
    uint64_t count = 0;
    for (uint32_t t = 0; t < version->table_count; t++)
        for (unsigned l = 0; l < BOLE_LEVELS_MAX; l++)
            for (uint32_t r = 0; r < version->tables[t].levels[l].run_count; r++)
                count += version->tables[t].levels[l].runs[r].count;
    return count;
}

static void check_sum(const bl_version_set *set, const bl_manifest_state *state)
{
    const bl_version *version = bl_version_set_current(set);
    fuzz_check(version->table_count == state->table_count);
    fuzz_check(version_segments(version) == state->segment_count);
    fuzz_check(bl_version_set_log_count(set) == state->log_count);
    fuzz_check(bl_version_set_flushed_through(set) == state->flushed_through);
    fuzz_check(bl_version_set_synced(set) == state->synced);
    fuzz_check(bl_version_set_next_sequence(set) == state->next_sequence);
    for (uint32_t i = 0; i < state->slot_count; i++) {
        const bl_state_segment *slot = &state->slots[i];
        uint32_t level = 0, run = 0;
        if (slot->number == 0)
            continue;
        fuzz_check(bl_version_find_segment(version, slot->table, slot->number, &level, &run) != NULL);
        fuzz_check(level == slot->level && run == slot->run);
    }
    fuzz_check(bl_version_check(version, NULL) == BOLE_OK);
}

static bool same_runs(const bl_level *a, const bl_level *b)
{
    bool same = a->run_count == b->run_count && a->entries == b->entries && a->bytes == b->bytes;
    for (uint32_t r = 0; same && r < a->run_count; r++) {
        const bl_run *x = &a->runs[r], *y = &b->runs[r];
        same = x->number == y->number && x->count == y->count;
        for (uint32_t s = 0; same && s < x->count; s++) {
            const bl_segment_meta *p = bl_segment_meta_of(x->segments[s]),
                                  *q = bl_segment_meta_of(y->segments[s]);
            same = p->number == q->number && bl_id_equal(p->id, q->id) &&
                   bl_slice_equal(p->smallest, q->smallest) && bl_slice_equal(p->largest, q->largest) &&
                   p->sequence_max == q->sequence_max && p->footer_checksum == q->footer_checksum &&
                   p->sequences_zeroed == q->sequences_zeroed;
        }
    }
    return same;
}

static void check_same_version(const bl_version *a, const bl_version *b)
{
    fuzz_check(a->table_count == b->table_count);
    for (uint32_t t = 0; t < a->table_count; t++) {
        const bl_version_table *x = &a->tables[t], *y = &b->tables[t];
        fuzz_check(x->number == y->number && x->created == y->created && strcmp(x->name, y->name) == 0);
        fuzz_check(strcmp(x->comparator_name, y->comparator_name) == 0);
        for (unsigned l = 0; l < BOLE_LEVELS_MAX; l++)
            fuzz_check(same_runs(&x->levels[l], &y->levels[l]));
    }
}

/* Written for another directory and recovered there it is the same. */
static void check_export(bole_vfs *vfs, bl_version_set *set, bool all_comparators)
{
    bole_error error = BOLE_ERROR_INIT;
    bl_version_export *pinned = NULL;
    bl_version_set *copy = NULL;
    bl_mutex_lock(&store.mutex);
    bole_status status = bl_version_export_begin(set, &pinned, &error);
    bl_mutex_unlock(&store.mutex);
    fuzz_check_ok(status, &error);
    fuzz_check_ok(vfs->make_directory(vfs, "copy", &error), &error);
    bl_version_export_target target = { .vfs = vfs, .directory = "copy", .store_id = { { 9, 9, 9 } } };
    fuzz_check_ok(bl_version_export_write(pinned, &target, &error), &error);
    fuzz_check(recover(vfs, "copy", all_comparators, &copy) == BOLE_OK);
    check_same_version(bl_version_export_version(pinned), bl_version_set_current(copy));
    bl_version_set_destroy(copy);
    bl_version_export_destroy(pinned);
}

static void check_files(bole_vfs *vfs, const uint8_t *manifest, size_t size, uint8_t flags)
{
    bole_error error = BOLE_ERROR_INIT;
    bl_current current;
    bl_version_set *set = NULL;
    bl_manifest_scanned scanned = { .number = 0 };
    bl_manifest_salvaged salvaged;
    adding sum = { .edits = 0 };
    uint64_t salvaged_edits = 0;
    char path[BL_PATH_BYTES_MAX];
    bool all_comparators = (flags & ALL_COMPARATORS) != 0;
    bole_status read = bl_current_read(vfs, FUZZ_DIRECTORY, &current, &error);
    fuzz_check(read == BOLE_OK || read == BOLE_CORRUPT || read == BOLE_UNSUPPORTED);
    uint64_t number = read == BOLE_OK ? current.manifest_number : 1;
    fuzz_check(bl_file_path(path, FUZZ_DIRECTORY, BL_FILE_MANIFEST, number));
    fuzz_file_write(vfs, path, manifest, size);
    bole_status scan = bl_manifest_scan(vfs, path, read == BOLE_OK ? &current : NULL, add_edit, &sum,
                                        &scanned, &error);
    bole_status salvage = bl_manifest_salvage(vfs, path, read == BOLE_OK ? &current : NULL, count_edit,
                                              &salvaged_edits, &salvaged, &error);
    bole_status status = recover(vfs, FUZZ_DIRECTORY, all_comparators, &set);
    if (status == BOLE_OK) {
        fuzz_check(read == BOLE_OK && scan == BOLE_OK);
        check_sum(set, &sum.state);
        check_export(vfs, set, all_comparators);
        bl_version_set_destroy(set);
    }
    if (scan == BOLE_OK && scanned.edits != 0) {
        fuzz_check(salvage == BOLE_OK && salvaged_edits >= scanned.edits && salvaged.edits == salvaged_edits);
        fuzz_check(scanned.torn || (salvaged_edits == scanned.edits && salvaged.whole));
        fuzz_check(scanned.torn || salvaged.first_damage == UINT64_MAX);
    }
    bl_manifest_state_deinit(&sum.state);
    size_t size_now = 0;
    uint8_t *now = fuzz_file_read(vfs, path, &size_now);
    fuzz_check(size_now == size && memcmp(now, manifest, size) == 0);
    bl_free(now);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    fuzz_input input = { data, size };
    uint8_t flags = fuzz_u8(&input);
    bole_slice given = fuzz_bytes(&input, BL_CURRENT_BYTES);
    bole_slice rest = fuzz_bytes(&input, MANIFEST_BYTES_MAX);
    if (rest.size < BL_MANIFEST_HEADER_BYTES)
        return 0;
    begin_once();
    fuzz_memory_begin();
    uint8_t *manifest = bl_memory_copy(rest.data, rest.size);
    fuzz_check(manifest != NULL);
    uint64_t chain = (flags & FUZZ_MEND) != 0 ? mend_manifest(manifest, rest.size) : 0;
    bole_vfs *vfs = fuzz_disk(1);
    write_current(vfs, flags, given, manifest, rest.size, chain);
    check_files(vfs, manifest, rest.size, flags);
    bole_vfs_destroy(vfs);
    bl_free(manifest);
    bl_epoch_wait();
    fuzz_memory_end(size, 512, 2 << 20); /* a segment of the manifest is 60 bytes there and a handle here */
    return 0;
}
