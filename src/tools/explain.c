/* SPDX-License-Identifier: MIT */
/* explain.c -- what a get does, place by place (bole_inspect_get).
 *
 * It asks the same memtables, filters, indexes and blocks as read.c, in the same order, but goes on behind the place
 * that answers, so that older versions and useless probes are seen too. */
#include <bole/bole_inspect.h>

#include "base/hash.h"
#include "engine/read.h"
#include "platform/epoch.h"

static const char *verdict_of(uint64_t tag)
{
    return bl_tag_kind(tag) == BL_KIND_DELETE ? "deleted" : "found";
}

static bole_status probe_segment(bl_segment *segment, const bl_lookup *lookup, bole_inspect_probe *out,
                                 bole_error *error)
{
    bool maybe = true;
    bole_status status = bl_segment_filter_may_contain(segment, lookup->hash, &maybe, error);
    if (status != BOLE_OK)
        return status;
    if (!maybe) {
        out->verdict = "filter says no";
        return BOLE_OK;
    }
    uint64_t tag = 0;
    bole_buffer value = BOLE_BUFFER_INIT;
    status = bl_segment_find_uncached(segment, lookup, &tag, &value, error);
    if (status == BOLE_OK) {
        out->verdict = verdict_of(tag);
        out->sequence = bl_tag_sequence(tag);
        out->value_bytes = value.size;
    } else if (status == BOLE_NOT_FOUND) {
        out->verdict = "absent";
        status = BOLE_OK;
    }
    bole_buffer_free(&value);
    return status;
}

static bool probe_memtables(const bl_read_state *state, const bl_lookup *lookup, uint32_t table,
                            bool (*visit)(void *context, const bole_inspect_probe *probe), void *context)
{
    for (uint32_t i = 0; i < state->memtable_count; i++) {
        bole_inspect_probe probe = { .source = "memtable", .number = i, .verdict = "absent" };
        const bl_memtable_tree *tree = bl_memtable_find_tree(state->memtables[i], table);
        uint64_t tag;
        bole_slice value;
        if (tree != NULL &&
            bl_memtable_get(tree, lookup->key, lookup->hash, lookup->sequence, &tag, &value)) {
            probe.verdict = verdict_of(tag);
            probe.sequence = bl_tag_sequence(tag);
            probe.value_bytes = value.size;
        }
        if (!visit(context, &probe))
            return false;
    }
    return true;
}

BOLE_API bole_status bole_inspect_get(bole_db *db, bole_table *table, bole_slice key,
                                      bool (*visit)(void *context, const bole_inspect_probe *probe),
                                      void *context, bole_error *error)
{
    if (!bl_db_is_ours(db))
        return bl_forked(error);
    bole_table *here = &db->default_table;
    bole_status status = table == NULL ? BOLE_OK : bl_resolve_table(db, table, &here, error);
    if (status != BOLE_OK)
        return status;
    bl_lookup lookup = { .key = key, .hash = bl_hash(key.data, key.size), .comparator = here->comparator };
    bl_read_state *state = bl_read_state_acquire(db, &lookup.sequence);
    const bl_version_table *levels = bl_version_table_by_number(state->version, here->number);
    bool go_on = probe_memtables(state, &lookup, here->number, visit, context);
    for (uint32_t l = 0; go_on && levels != NULL && l < BOLE_LEVELS_MAX; l++)
        for (uint32_t r = 0; go_on && r < levels->levels[l].run_count; r++) {
            const bl_run *run = &levels->levels[l].runs[r];
            bl_segment *segment = bl_run_find(run, here->comparator, key);
            bole_inspect_probe probe = { .source = "segment", .level = l, .run = run->number };
            probe.verdict = "key range says no";
            if (segment != NULL) {
                probe.number = bl_segment_meta_of(segment)->number;
                status = probe_segment(segment, &lookup, &probe, error);
            }
            go_on = status == BOLE_OK && visit(context, &probe);
        }
    bl_read_state_unref(state);
    return status;
}
