/* SPDX-License-Identifier: MIT */
/* test_repair.c -- from a damaged store comes a new one that is whole, holds what can be read, and invents nothing.
 *
 * The judge knows the whole history of each key. What was not damaged is there exactly; where something was lost a key
 * may be missing, or hold a value that it once had, and then it is among those that repair calls doubtful, or the loss
 * was one of a log. BOLE_TEST_SEED replays; BOLE_TEST_EFFORT multiplies the random damages. */
#include "damage_fixture.h"

#include <bole/bole_repair.h>

#include "base/alloc.h"
#include "log/log_replay.h"
#include "segment/segment_footer.h"

#define MENDED "mended"
enum { BATCHES = 330, RANDOM_DAMAGES = 60 };

static uint64_t effort(void)
{
    const char *text = getenv("BOLE_TEST_EFFORT");
    uint64_t value = text != NULL ? strtoull(text, NULL, 10) : 1;
    return value != 0 ? value : 1;
}

/* ---- A store to damage ------------------------------------------------------------------------------------------ */

typedef struct subject {
    damage_model model;
    damage_files files;
} subject;

static void subject_make(subject *s, uint64_t seed)
{
    bole_vfs *disk = damage_store_make(seed, BATCHES, &s->model);
    damage_files_read(disk, &s->files);
    bole_vfs_destroy(disk);
}

static void subject_free(subject *s) { damage_files_free(&s->files); }

static damage_file *file_of(subject *s, bl_file_kind kind, uint32_t nth)
{
    for (uint32_t i = 0; i < s->files.count; i++)
        if (s->files.file[i].kind == kind && nth-- == 0)
            return &s->files.file[i];
    return NULL;
}

static uint32_t count_of(const subject *s, bl_file_kind kind)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < s->files.count; i++)
        count += s->files.file[i].kind == kind;
    return count;
}

static void lose(subject *s, damage_file *file)
{
    assert_non_null(file);
    free(file->bytes);
    *file = s->files.file[--s->files.count];
}

/* ---- The judge --------------------------------------------------------------------------------------------------- */

typedef struct outcome {
    bole_repair_report report;
    uint32_t exact, stale, missing, invented;
    bool lost_in_log;
    char said[16384]; /* the findings, one a line */
} outcome;

static bool note_finding(void *context, const bole_repair_finding *finding)
{
    outcome *out = context;
    size_t used = strlen(out->said);
    snprintf(out->said + used, sizeof out->said - used, "%d %s %s\n", (int)finding->kind, finding->file,
             finding->text);
    if (finding->kind == BOLE_REPAIR_LOST && strstr(finding->file, ".log") != NULL)
        out->lost_in_log = true;
    return true;
}

/* Was `value` ever the value of this slot? */
static bool was_ever(const damage_model *model, uint32_t table, uint32_t slot, const bole_buffer *value)
{
    for (uint64_t writer = 1; writer <= model->writers; writer++) {
        if (model->slot_of[writer] != table * DAMAGE_SLOTS + slot)
            continue;
        bole_slice once = damage_value(writer);
        if (once.size == value->size && (once.size == 0 || memcmp(once.data, value->data, once.size) == 0))
            return true;
    }
    return false;
}

static void compare_table(bole_db *db, bole_table *table, uint32_t number, const damage_model *model,
                          outcome *out)
{
    bole_buffer value = BOLE_BUFFER_INIT;
    for (uint32_t slot = 0; slot < DAMAGE_SLOTS; slot++) {
        bole_read_options options = BOLE_READ_OPTIONS_INIT;
        options.table = table;
        uint64_t writer = model->writer[number][slot];
        bole_slice wanted = damage_value(writer);
        bole_status status = bole_get(db, &options, damage_key(slot), &value);
        assert_true(status == BOLE_OK || status == BOLE_NOT_FOUND);
        if (status == BOLE_NOT_FOUND)
            writer == 0 ? out->exact++ : out->missing++;
        else if (writer != 0 && value.size == wanted.size &&
                 (wanted.size == 0 || memcmp(value.data, wanted.data, wanted.size) == 0))
            out->exact++;
        else if (was_ever(model, number, slot, &value))
            out->stale++;
        else
            out->invented++;
    }
    bole_buffer_free(&value);
}

/* Open the new store and hold it against the history. Tables that are not there are empty. */
static void compare(bole_vfs *disk, const damage_model *model, outcome *out)
{
    bole_options options = damage_options(disk);
    bole_error error = BOLE_ERROR_INIT;
    bole_db *db;
    bole_table *second = NULL;
    bole_verify_report proof;
    assert_ok(bole_verify(MENDED, &options, NULL, NULL, &proof, &error), &error);
    assert_ok(bole_open(MENDED, &options, &db, &error), &error);
    compare_table(db, NULL, 0, model, out);
    if (bole_table_open(db, "second", &second, &error) == BOLE_OK)
        compare_table(db, second, 1, model, out);
    else
        for (uint32_t slot = 0; slot < DAMAGE_SLOTS; slot++)
            model->writer[1][slot] == 0 ? out->exact++ : out->missing++;
    bole_table_close(second);
    assert_ok(bole_close(db, &error), &error);
}

static bole_status repair(const damage_files *files, const damage_model *model, uint32_t flags, outcome *out,
                          bole_error *error)
{
    bole_vfs *disk = damage_disk_of(files);
    bole_options options = damage_options(disk);
    *out = (outcome){ .exact = 0 };
    bole_status status = bole_repair(DAMAGE_STORE, MENDED, &options, flags, note_finding, out, &out->report,
                                     error);
    if (status == BOLE_OK && (flags & BOLE_REPAIR_DRY_RUN) == 0)
        compare(disk, model, out);
    /* whatever came of it, the damaged store is as it was */
    damage_files after;
    damage_files_read(disk, &after);
    assert_int_equal(after.count, files->count);
    for (uint32_t i = 0; i < after.count; i++) {
        const damage_file *was = NULL;
        for (uint32_t j = 0; j < files->count; j++)
            if (strcmp(files->file[j].name, after.file[i].name) == 0)
                was = &files->file[j];
        assert_non_null(was);
        assert_int_equal(was->size, after.file[i].size);
        assert_memory_equal(was->bytes, after.file[i].bytes, was->size);
    }
    damage_files_free(&after);
    bole_vfs_destroy(disk);
    return status;
}

static void repair_ok(subject *s, uint32_t flags, outcome *out)
{
    bole_error error = BOLE_ERROR_INIT;
    assert_ok(repair(&s->files, &s->model, flags, out, &error), &error);
    if (out->invented != 0)
        fail_msg("%u values that never were:\n%s", out->invented, out->said);
}

static void assert_exact(const outcome *out)
{
    if (out->exact != DAMAGE_TABLES * DAMAGE_SLOTS || out->report.losses != 0 ||
        out->report.entries_doubtful != 0)
        fail_msg("%u of %u keys are exact (%u stale, %u missing), %llu losses:\n%s", out->exact,
                 DAMAGE_TABLES * DAMAGE_SLOTS, out->stale, out->missing,
                 (unsigned long long)out->report.losses, out->said);
}

/* ---- Nothing is lost --------------------------------------------------------------------------------------------- */

/* Goal: what is whole comes back whole, and is called so. */
static void a_whole_store_is_copied(void **state)
{
    (void)state;
    subject s;
    outcome out;
    subject_make(&s, test_seed(31));
    repair_ok(&s, 0, &out);
    assert_exact(&out);
    assert_true(out.report.manifest_whole);
    assert_int_equal(out.report.segments, count_of(&s, BL_FILE_SEGMENT));
    assert_true(out.report.logs > 0 && out.report.log_operations > 0);
    subject_free(&s);
}

/* Goal: the segments and logs of a store know enough to rebuild it. Method: CURRENT, the manifest, or both are gone,
 * cut or overwritten; the store was closed and its obsolete files are gone. */
static void a_lost_manifest_loses_nothing(void **state)
{
    (void)state;
    for (uint32_t way = 0; way < 7; way++) {
        subject s;
        outcome out;
        subject_make(&s, test_seed(32) + way);
        damage_file *manifest = file_of(&s, BL_FILE_MANIFEST, 0), *current = file_of(&s, BL_FILE_CURRENT, 0);
        switch (way) {
        case 0: lose(&s, manifest); break;
        case 1: lose(&s, current); break;
        case 2: current->size = 40; break;
        case 3: manifest->size /= 2; break;
        case 4: manifest->bytes[30] ^= 1; break; /* its id: nothing in it verifies */
        case 5: memset(manifest->bytes, 0, manifest->size); break;
        default: lose(&s, manifest); lose(&s, file_of(&s, BL_FILE_CURRENT, 0));
        }
        repair_ok(&s, 0, &out);
        if (way == 3) /* edits that are left name files that others, which are gone, let go of */
            out.report.losses = out.report.entries_doubtful = 0;
        assert_exact(&out);
        assert_true(out.report.manifest_whole == (way == 1 || way == 2));
        subject_free(&s);
    }
}

/* Goal: a manifest damaged anywhere is no loss of data. What it names and is not there is told all the same: nobody
 * knows whether the damaged edit let go of it. */
static void every_flip_in_the_manifest_loses_nothing(void **state)
{
    (void)state;
    subject s;
    outcome out;
    bl_prng prng;
    uint64_t seed = test_seed(33), told = 0;
    subject_make(&s, seed);
    bl_prng_init(&prng, seed);
    damage_file *manifest = file_of(&s, BL_FILE_MANIFEST, 0);
    for (uint32_t i = 0; i < 25 * effort(); i++) {
        uint64_t at = bl_prng_below(&prng, manifest->size);
        uint8_t mask = (uint8_t)(1u << bl_prng_below(&prng, 8));
        manifest->bytes[at] ^= mask;
        repair_ok(&s, 0, &out);
        assert_int_equal(out.exact, DAMAGE_TABLES * DAMAGE_SLOTS);
        told += out.report.losses;
        manifest->bytes[at] ^= mask;
    }
    print_message("%" PRIu64 " files called lost that a lost edit may have let go of\n", told);
    subject_free(&s);
}

static bool holds_values(const damage_file *file) { return bl_segment_header_holds_values(file->bytes); }

/* Goal: what stands around the blocks of a segment is not needed to read them: header, index, filter, footer, tail;
 * also when the manifest is lost too, as long as one of header and tail is there. */
static void a_segment_without_its_ends_is_read(void **state)
{
    (void)state;
    for (uint32_t way = 0; way < 6; way++) {
        subject s;
        outcome out;
        subject_make(&s, test_seed(34) + way);
        for (uint32_t i = 0; i < count_of(&s, BL_FILE_SEGMENT); i++) {
            damage_file *file = file_of(&s, BL_FILE_SEGMENT, i);
            bole_vfs *disk = damage_disk_of(&s.files);
            char path[128];
            bl_segment_footer footer;
            bole_error error = BOLE_ERROR_INIT;
            snprintf(path, sizeof path, DAMAGE_STORE "/%s", file->name);
            assert_ok(bl_segment_footer_read(disk, path, &footer, &error), &error);
            switch (way) {
            case 0: memset(file->bytes, 0xff, BL_SEGMENT_HEADER_BYTES); break;
            case 1: memset(file->bytes + file->size - BL_SEGMENT_TAIL_BYTES, 0, BL_SEGMENT_TAIL_BYTES); break;
            case 2: file->bytes[footer.offset] ^= 1; break;
            case 3:
                file->bytes[bl_segment_footer_section(&footer, BL_SECTION_INDEX)->offset + 40] ^= 1;
                break;
            case 4:
                if (!holds_values(file)) /* value segments have no filter */
                    file->bytes[bl_segment_footer_section(&footer, BL_SECTION_FILTER)->offset] ^= 1;
                break;
            default:
                file->size = footer.blocks_end; /* all behind the blocks, and the header, are gone */
                memset(file->bytes, 0, BL_SEGMENT_HEADER_BYTES);
            }
            bl_segment_footer_deinit(&footer);
            bole_vfs_destroy(disk);
        }
        repair_ok(&s, 0, &out);
        assert_exact(&out);
        if (way == 0 || way == 3 || way == 4) { /* footers say what the manifest did not */
            lose(&s, file_of(&s, BL_FILE_MANIFEST, 0));
            lose(&s, file_of(&s, BL_FILE_CURRENT, 0));
            repair_ok(&s, 0, &out);
            if (way != 0)
                assert_exact(&out);
        }
        subject_free(&s);
    }
}

/* Is the segment in `file` among those that another of `files` was made from? */
static bool is_input(bole_vfs *disk, const damage_files *files, const damage_file *file)
{
    char path[128];
    bl_segment_footer mine, other;
    bool found = false;
    snprintf(path, sizeof path, DAMAGE_STORE "/%s", file->name);
    assert_ok(bl_segment_footer_read(disk, path, &mine, NULL), NULL);
    for (uint32_t i = 0; i < files->count; i++) {
        snprintf(path, sizeof path, DAMAGE_STORE "/%s", files->file[i].name);
        if (files->file[i].kind != BL_FILE_SEGMENT ||
            bl_segment_footer_read(disk, path, &other, NULL) != BOLE_OK)
            continue;
        for (uint32_t j = 0; j < other.input_count; j++)
            found = found || bl_id_equal(other.inputs[j], mine.meta.id);
        bl_segment_footer_deinit(&other);
    }
    bl_segment_footer_deinit(&mine);
    return found;
}

/* Delete half of the keys of the store, and merge all of it. The store's files after that; those that are gone, with
 * some chance, back beside them: `direct` only those that a living segment names as what it was made from. */
static uint32_t merge_and_put_back(const subject *s, subject *merged, bool direct, bl_prng *prng)
{
    bole_vfs *disk = damage_disk_of(&s->files);
    bole_error error = BOLE_ERROR_INIT;
    bole_db *db;
    bole_table *second;
    merged->model = s->model;
    damage_open(disk, 0, &db, &second);
    for (uint32_t slot = 0; slot < DAMAGE_SLOTS; slot += 2)
        for (uint32_t t = 0; t < DAMAGE_TABLES; t++) {
            bole_write_options options = BOLE_WRITE_OPTIONS_INIT;
            options.table = t == 0 ? NULL : second;
            assert_ok(bole_delete(db, &options, damage_key(slot)), &error);
            merged->model.writer[t][slot] = 0;
        }
    for (uint32_t t = 0; t < DAMAGE_TABLES; t++)
        assert_ok(bole_compact(db, t == 0 ? NULL : second, (bole_slice){ NULL, 0 }, (bole_slice){ NULL, 0 },
                               &error),
                  &error);
    bole_table_close(second);
    assert_ok(bole_close(db, &error), &error);
    damage_files_read(disk, &merged->files);
    uint32_t living = merged->files.count, back = 0;
    for (uint32_t i = 0; i < s->files.count; i++) {
        const damage_file *old = &s->files.file[i];
        bool is_there = old->kind != BL_FILE_SEGMENT;
        for (uint32_t j = 0; j < living; j++)
            is_there = is_there || strcmp(merged->files.file[j].name, old->name) == 0;
        if (is_there || !bl_prng_chance(prng, 2))
            continue;
        damage_write_file(disk, old->name, old->bytes, old->size);
        if (direct && !is_input(disk, &merged->files, old))
            continue;
        damage_file *copy = &merged->files.file[merged->files.count++];
        *copy = *old;
        copy->bytes = malloc(old->size + 1);
        memcpy(copy->bytes, old->bytes, old->size);
        back++;
    }
    bole_vfs_destroy(disk);
    return back;
}

/* Goal: files that were obsolete bring nothing back, as long as what they were merged into is there and one of them is
 * gone. (Where that was merged again nothing links them any more: then older values may come back, but nothing that
 * never was.) Method: segments of a store are put back beside what they were merged into; the manifest is lost. */
static void inputs_of_a_merge_bring_nothing_back(void **state)
{
    (void)state;
    bl_prng prng;
    uint64_t seed = test_seed(35), put_back = 0, stale = 0;
    bl_prng_init(&prng, seed);
    for (uint32_t round = 0; round < 40; round++) {
        subject s, merged;
        outcome out;
        bool direct = round % 2 == 0;
        /* values that died are merged away a second time, and then nothing is a direct input */
        damage_large_value_bytes = round % 4 == 0 ? 4096 : 24;
        subject_make(&s, seed + round);
        uint32_t back = merge_and_put_back(&s, &merged, direct, &prng);
        lose(&merged, file_of(&merged, BL_FILE_MANIFEST, 0));
        lose(&merged, file_of(&merged, BL_FILE_CURRENT, 0));
        repair_ok(&merged, 0, &out);
        if (direct) {
            assert_exact(&out);
            assert_int_equal(out.report.segments, count_of(&merged, BL_FILE_SEGMENT) - back);
            put_back += back;
        }
        stale += out.stale;
        subject_free(&s);
        subject_free(&merged);
    }
    damage_large_value_bytes = 24;
    assert_true(put_back > 3);
    print_message("%" PRIu64 " inputs put back brought nothing back; others, %" PRIu64 " older values\n",
                  put_back, stale);
}

/* ---- Something is lost ------------------------------------------------------------------------------------------- */

/* Goal: blocks that are damaged cost their keys, and nothing else; what may be stale is counted, and left out when
 * asked. */
static void damaged_blocks_cost_their_keys_only(void **state)
{
    (void)state;
    uint64_t seed = test_seed(36), lost = 0, stale = 0;
    for (uint32_t round = 0; round < 10 * effort(); round++) {
        subject s;
        outcome out, certain;
        bl_prng prng;
        bl_prng_init(&prng, seed + round);
        subject_make(&s, seed + round);
        for (uint64_t i = 1 + bl_prng_below(&prng, 4); i > 0; i--) {
            damage_file *file = file_of(&s, BL_FILE_SEGMENT,
                                        (uint32_t)bl_prng_below(&prng, count_of(&s, BL_FILE_SEGMENT)));
            file->bytes[BL_SEGMENT_HEADER_BYTES + bl_prng_below(&prng, 3000) % (file->size - 4096)] ^= 0x10;
        }
        if (round % 3 == 2) { /* and nobody says which files count */
            lose(&s, file_of(&s, BL_FILE_MANIFEST, 0));
            lose(&s, file_of(&s, BL_FILE_CURRENT, 0));
        }
        repair_ok(&s, 0, &out);
        repair_ok(&s, BOLE_REPAIR_CERTAIN, &certain);
        if (out.missing + out.stale > 0 && out.report.losses == 0)
            fail_msg("seed %" PRIu64 ": %u keys missing, %u stale, and no loss told:\n%s", seed + round,
                     out.missing, out.stale, out.said);
        if (out.stale > out.report.entries_doubtful)
            fail_msg("seed %" PRIu64 ": %u keys are stale, %llu doubtful:\n%s", seed + round, out.stale,
                     (unsigned long long)out.report.entries_doubtful, out.said);
        assert_int_equal(certain.stale, 0);
        assert_int_equal(certain.report.entries_left_out, out.report.entries_doubtful);
        assert_true(out.exact > DAMAGE_TABLES * DAMAGE_SLOTS / 2);
        lost += out.missing;
        stale += out.stale;
        subject_free(&s);
    }
    print_message("%" PRIu64 " keys lost, %" PRIu64 " of older values: all told\n", lost, stale);
    assert_true(lost > 0);
}

/* Goal: a segment that is gone is told with its keys; the other segments and the log come back. */
static void a_missing_segment_costs_its_keys_only(void **state)
{
    (void)state;
    uint64_t seed = test_seed(37);
    subject s;
    outcome out, certain;
    subject_make(&s, seed);
    uint32_t count = count_of(&s, BL_FILE_SEGMENT);
    subject_free(&s);
    for (uint32_t i = 0; i < count; i++) {
        subject_make(&s, seed);
        bool values = holds_values(file_of(&s, BL_FILE_SEGMENT, i));
        lose(&s, file_of(&s, BL_FILE_SEGMENT, i));
        repair_ok(&s, 0, &out);
        repair_ok(&s, BOLE_REPAIR_CERTAIN, &certain);
        assert_int_equal(out.report.segments_missing, 1);
        if (values) /* each value that an entry still needs is told by itself */
            assert_int_equal(out.report.losses, out.missing);
        else
            assert_int_equal(out.report.losses, 1);
        assert_true(out.stale <= out.report.entries_doubtful);
        assert_int_equal(certain.stale, 0);
        subject_free(&s);
    }
}

/* Goal: a damaged log costs the records that are damaged. */
static void a_damaged_log_costs_its_records_only(void **state)
{
    (void)state;
    uint64_t seed = test_seed(38), lost = 0;
    for (uint32_t round = 0; round < 20 * effort(); round++) {
        subject s;
        outcome out;
        bl_prng prng;
        bl_prng_init(&prng, seed + round);
        subject_make(&s, seed + round);
        damage_file *log = file_of(&s, BL_FILE_LOG, 0);
        uint64_t records = 0;
        for (uint64_t i = log->size; records == 0; i--)
            records = log->bytes[i - 1] != 0 ? i : 0;
        uint64_t at = BL_LOG_FILE_HEADER_BYTES + bl_prng_below(&prng, records - BL_LOG_FILE_HEADER_BYTES);
        if (round % 4 == 0)
            memset(log->bytes, 0, BL_LOG_FILE_HEADER_BYTES); /* the manifest knows the same */
        else if (round % 4 == 1)
            log->size = at; /* the end is gone */
        else
            log->bytes[at] ^= 4;
        repair_ok(&s, 0, &out);
        if (round % 4 == 0)
            assert_exact(&out);
        else if (out.exact != DAMAGE_TABLES * DAMAGE_SLOTS && !out.lost_in_log)
            fail_msg("seed %" PRIu64 ": %u missing, %u stale, and no loss told:\n%s", seed + round,
                     out.missing, out.stale, out.said);
        assert_int_equal(out.report.logs_damaged, 1);
        lost += out.report.losses;
        subject_free(&s);
    }
    assert_true(lost > 0);
    subject s;
    outcome out;
    subject_make(&s, seed);
    lose(&s, file_of(&s, BL_FILE_LOG, 0));
    repair_ok(&s, 0, &out);
    assert_int_equal(out.report.logs_missing, 1);
    assert_true(out.lost_in_log);
    subject_free(&s);
}

/* Goal: whatever is damaged, and however much of it, repair ends with a whole store without inventions, or says why
 * there is none. Method: up to ten damages of all files at once. */
static void any_mixture_of_damage_gives_a_whole_store_or_a_reason(void **state)
{
    (void)state;
    uint64_t seed = test_seed(39), mended = 0, exact = 0;
    for (uint32_t round = 0; round < RANDOM_DAMAGES * effort(); round++) {
        subject s;
        outcome out;
        bl_prng prng;
        bole_error error = BOLE_ERROR_INIT;
        bl_prng_init(&prng, seed + round);
        subject_make(&s, seed + round % 7);
        for (uint64_t i = 1 + bl_prng_below(&prng, 10); i > 0 && s.files.count > 1; i--) {
            damage_file *file = &s.files.file[bl_prng_below(&prng, s.files.count)];
            uint64_t at = file->size == 0 ? 0 : bl_prng_below(&prng, file->size);
            size_t run = (size_t)bl_prng_below(&prng, 700);
            run = run > file->size - at ? file->size - at : run;
            switch (bl_prng_below(&prng, 8)) {
            case 0: lose(&s, file); break;
            case 1: file->size = at; break;
            case 2: bl_prng_fill(&prng, file->bytes + at, run); break;
            case 3: memset(file->bytes + at, 0, run); break;
            case 4: memmove(file->bytes + at, file->bytes, run); break;
            default:
                if (file->size > 0)
                    file->bytes[at] ^= (uint8_t)(1u << bl_prng_below(&prng, 8));
            }
        }
        bole_status status = repair(&s.files, &s.model, 0, &out, &error);
        if (status != BOLE_OK && status != BOLE_NO_STORE)
            fail_msg("seed %" PRIu64 ": %s: %s\n%s", seed + round, bole_status_name(status), error.message,
                     out.said);
        if (out.invented != 0)
            fail_msg("seed %" PRIu64 ": %u values that never were:\n%s", seed + round, out.invented,
                     out.said);
        mended += status == BOLE_OK;
        exact += out.exact;
        subject_free(&s);
    }
    print_message("%" PRIu64 " stores mended, %" PRIu64 " of %" PRIu64 " keys exact, 0 invented\n", mended,
                  exact, mended * DAMAGE_TABLES * DAMAGE_SLOTS);
    assert_true(mended > RANDOM_DAMAGES / 2);
}

/* ---- Manners ----------------------------------------------------------------------------------------------------- */

/* Goal: a dry run says the same, and writes nothing. */
static void a_dry_run_tells_the_same_and_writes_nothing(void **state)
{
    (void)state;
    subject s;
    outcome dry, wet;
    subject_make(&s, test_seed(40));
    uint32_t at = 1;
    while (holds_values(file_of(&s, BL_FILE_SEGMENT, at)))
        at++;
    file_of(&s, BL_FILE_SEGMENT, at)->bytes[4200] ^= 1;
    file_of(&s, BL_FILE_LOG, 0)->bytes[4200] ^= 1;
    repair_ok(&s, BOLE_REPAIR_DRY_RUN, &dry);
    repair_ok(&s, 0, &wet);
    assert_memory_equal(&dry.report, &wet.report, sizeof dry.report);
    assert_string_equal(dry.said, wet.said);
    assert_true(dry.report.losses >= 2);
    subject_free(&s);
}

static bool want_no_more(void *context, const bole_repair_finding *finding)
{
    (void)context, (void)finding;
    return false;
}

/* Goal: repair refuses what it must: a target that is there, a store that is written, no store, a wrong flag; and ends
 * when its visitor wants. */
static void repair_refuses_what_it_must(void **state)
{
    (void)state;
    subject s;
    bole_repair_report report;
    bole_error error = BOLE_ERROR_INIT;
    subject_make(&s, test_seed(41));
    bole_vfs *disk = damage_disk_of(&s.files);
    bole_options options = damage_options(disk);
    assert_status(BOLE_NO_STORE, bole_repair("nothing", MENDED, &options, 0, NULL, NULL, &report, &error),
                  &error);
    assert_status(BOLE_INVALID, bole_repair(DAMAGE_STORE, NULL, &options, 0, NULL, NULL, &report, &error),
                  &error);
    assert_status(BOLE_INVALID, bole_repair(DAMAGE_STORE, MENDED, &options, 64, NULL, NULL, &report, &error),
                  &error);
    assert_status(BOLE_EXISTS,
                  bole_repair(DAMAGE_STORE, DAMAGE_STORE, &options, 0, NULL, NULL, &report, &error), &error);
    assert_status(BOLE_CANCELLED,
                  bole_repair(DAMAGE_STORE, MENDED, &options, 0, want_no_more, NULL, &report, &error),
                  &error);
    bole_db *db;
    bole_table *second;
    damage_open(disk, 0, &db, &second);
    assert_status(BOLE_LOCKED, bole_repair(DAMAGE_STORE, MENDED, &options, 0, NULL, NULL, &report, &error),
                  &error);
    bole_table_close(second);
    assert_ok(bole_close(db, &error), &error);
    assert_ok(disk->make_directory(disk, "empty", &error), &error);
    assert_status(BOLE_NO_STORE, bole_repair("empty", MENDED, &options, 0, NULL, NULL, &report, &error),
                  &error);
    bool is_directory;
    assert_int_equal(disk->exists(disk, MENDED, &is_directory, NULL), BOLE_NOT_FOUND);
    assert_int_equal(disk->exists(disk, MENDED ".tmp", &is_directory, NULL), BOLE_NOT_FOUND);
    bole_vfs_destroy(disk);
    subject_free(&s);
}

/* Goal: failing calls and failing allocations end a repair with a status, without a leak, and without a target that
 * is not whole. Method: each allocation of a dry run, and calls drawn from a whole repair, fail once. */
static void failures_end_a_repair_cleanly(void **state)
{
    (void)state;
    subject s;
    uint64_t seed = test_seed(42), failed = 0;
    bl_prng prng;
    bl_prng_init(&prng, seed);
    subject_make(&s, seed);
    file_of(&s, BL_FILE_SEGMENT, 1)->bytes[5000] ^= 1;
    file_of(&s, BL_FILE_LOG, 0)->bytes[4200] ^= 1;
    for (uint64_t at = 0, more = 1; more != 0; at += TEST_STEP * (1 + bl_prng_below(&prng, 3))) {
        bole_vfs *disk = damage_disk_of(&s.files);
        bole_options options = damage_options(disk);
        bole_repair_report report;
        bole_error error = BOLE_ERROR_INIT;
        int64_t live = bl_alloc_live();
        bl_alloc_fail_at(at, 1);
        bole_status status = bole_repair(DAMAGE_STORE, NULL, &options, BOLE_REPAIR_DRY_RUN, NULL, NULL,
                                         &report, &error);
        more = bl_alloc_calls() > at;
        bl_alloc_fail_at(UINT64_MAX, 0);
        if (status != BOLE_OK && status != BOLE_NO_MEMORY)
            fail_msg("allocation %" PRIu64 " fails: %s: %s", at, bole_status_name(status), error.message);
        assert_int_equal(bl_alloc_live(), live);
        failed += status == BOLE_NO_MEMORY;
        bole_vfs_destroy(disk);
    }
    assert_true(failed > 20 / TEST_STEP);
    outcome whole;
    bole_error none = BOLE_ERROR_INIT;
    assert_ok(repair(&s.files, &s.model, 0, &whole, &none), &none);
    for (uint64_t at = 0, more = 1; more != 0;
         at += TEST_STEP * (1 + bl_prng_below(&prng, at < 300 ? 3 : 60))) {
        bole_vfs *disk = damage_disk_of(&s.files);
        bole_options options = damage_options(disk);
        outcome out = { .exact = 0 };
        bole_error error = BOLE_ERROR_INIT;
        bl_alloc_fail_at(at, 1);
        bole_status status = bole_repair(DAMAGE_STORE, MENDED, &options, 0, note_finding, &out, &out.report,
                                         &error);
        more = bl_alloc_calls() > at;
        bl_alloc_fail_at(UINT64_MAX, 0);
        if (status == BOLE_OK) {
            compare(disk, &s.model, &out);
            assert_int_equal(out.exact, whole.exact);
        } else if (status != BOLE_NO_MEMORY) {
            fail_msg("allocation %" PRIu64 " fails: %s: %s", at, bole_status_name(status), error.message);
        }
        bole_vfs_destroy(disk);
    }
    for (uint32_t i = 0; i < 60; i += TEST_STEP) {
        bole_vfs *disk = damage_disk_of(&s.files), *fault;
        bole_fault_plan plan = { .at = bl_prng_below(&prng, 900), .count = 1, .system_errno = 5 };
        assert_ok(bole_vfs_fault_create(disk, &plan, &fault), NULL);
        bole_options options = damage_options(fault);
        outcome out = { .exact = 0 };
        bole_error error = BOLE_ERROR_INIT;
        bool is_directory;
        bole_status status = bole_repair(DAMAGE_STORE, MENDED, &options, 0, note_finding, &out, &out.report,
                                         &error);
        if (status == BOLE_OK) {
            compare(disk, &s.model, &out);
            assert_int_equal(out.invented, 0);
        } else {
            assert_true(plan.failed > 0);
            if (disk->exists(disk, MENDED, &is_directory, NULL) == BOLE_OK)
                compare(disk, &s.model, &out); /* only its name is not known to be on disk */
        }
        bole_vfs_destroy(fault);
        bole_vfs_destroy(disk);
    }
    subject_free(&s);
}

/* ---- Tables ------------------------------------------------------------------------------------------------------ */

static int compare_reversed(void *context, bole_slice a, bole_slice b)
{
    (void)context;
    size_t size = a.size < b.size ? a.size : b.size;
    int order = size == 0 ? 0 : memcmp(b.data, a.data, size);
    return order != 0 ? order : (a.size < b.size) - (a.size > b.size);
}

static const bole_comparator reversed = { "test.reversed", NULL, compare_reversed };
static const bole_comparator *const orders[] = { &reversed, NULL };

static void lose_the_manifest(bole_vfs *disk)
{
    bole_error error = BOLE_ERROR_INIT;
    assert_ok(disk->remove(disk, DAMAGE_STORE "/CURRENT", &error), &error);
    assert_ok(disk->remove(disk, DAMAGE_STORE "/manifest-000001", &error), &error);
}

/* Goal: names, orders and drops of tables come from the segments when the manifest is lost; a table whose order nobody
 * has is told and left out. */
static void tables_come_back_with_name_and_order(void **state)
{
    (void)state;
    bole_vfs *disk;
    bole_error error = BOLE_ERROR_INIT;
    bole_db *db;
    bole_table *back, *gone;
    assert_ok(bole_vfs_memory_create(test_seed(43), &disk), NULL);
    bole_options options = damage_options(disk);
    options.flags = BOLE_CREATE;
    options.comparators = orders;
    assert_ok(bole_open(DAMAGE_STORE, &options, &db, &error), &error);
    assert_ok(bole_table_create(db, "backward", &reversed, &back, &error), &error);
    assert_ok(bole_table_create(db, "gone", NULL, &gone, &error), &error);
    bole_write_options write = BOLE_WRITE_OPTIONS_INIT;
    for (uint32_t i = 0; i < 200; i++) {
        write.table = back;
        assert_ok(bole_put(db, &write, damage_key(i), BOLE_STR("in reverse")), NULL);
        write.table = gone;
        assert_ok(bole_put(db, &write, damage_key(i), BOLE_STR("no more")), NULL);
    }
    bole_table_close(gone);
    assert_ok(bole_table_drop(db, "gone", &error), &error);
    assert_ok(bole_flush(db, &error), &error);
    write.table = back;
    assert_ok(bole_put(db, &write, BOLE_STR("logged"), BOLE_STR("too")), NULL);
    bole_table_close(back);
    assert_ok(bole_close(db, &error), &error);
    lose_the_manifest(disk);

    bole_repair_report report;
    options.flags = 0;
    assert_ok(bole_repair(DAMAGE_STORE, MENDED, &options, 0, NULL, NULL, &report, &error), &error);
    assert_int_equal(report.entries, 201);
    assert_int_equal(report.losses, 0);
    options.vfs = disk;
    assert_ok(bole_open(MENDED, &options, &db, &error), &error);
    assert_status(BOLE_NOT_FOUND, bole_table_open(db, "gone", &gone, NULL), NULL);
    assert_ok(bole_table_open(db, "backward", &back, &error), &error);
    bole_read_options read = BOLE_READ_OPTIONS_INIT;
    read.table = back;
    bole_iterator *iterator;
    assert_ok(bole_iterator_create(db, &read, &iterator), NULL);
    assert_true(bole_iterator_seek_first(iterator));
    assert_memory_equal(bole_iterator_key(iterator).data, "logged", 6); /* the last in byte order */
    bole_iterator_destroy(iterator);
    bole_table_close(back);
    assert_ok(bole_close(db, &error), &error);

    options.comparators = NULL;
    assert_ok(bole_repair(DAMAGE_STORE, "other", &options, 0, NULL, NULL, &report, &error), &error);
    assert_true(report.losses > 0 && report.entries_left_out > 0);
    assert_int_equal(report.entries, 0);
    bole_vfs_destroy(disk);
}

/* Goal: the order that the options name for the default table is known by its name, too. */
static void the_default_tables_order_is_the_options(void **state)
{
    (void)state;
    bole_vfs *disk;
    bole_error error = BOLE_ERROR_INIT;
    bole_db *db;
    assert_ok(bole_vfs_memory_create(test_seed(44), &disk), NULL);
    bole_options options = damage_options(disk);
    options.flags = BOLE_CREATE;
    options.comparator = &reversed;
    assert_ok(bole_open(DAMAGE_STORE, &options, &db, &error), &error);
    for (uint32_t i = 0; i < 50; i++)
        assert_ok(bole_put(db, NULL, damage_key(i), BOLE_STR("in reverse")), NULL);
    assert_ok(bole_flush(db, &error), &error);
    assert_ok(bole_close(db, &error), &error);
    lose_the_manifest(disk);
    bole_repair_report report;
    options.flags = 0;
    assert_ok(bole_repair(DAMAGE_STORE, MENDED, &options, 0, NULL, NULL, &report, &error), &error);
    assert_int_equal(report.entries, 50);
    assert_int_equal(report.losses, 0);
    bole_vfs_destroy(disk);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_whole_store_is_copied),
        cmocka_unit_test(a_lost_manifest_loses_nothing),
        cmocka_unit_test(every_flip_in_the_manifest_loses_nothing),
        cmocka_unit_test(a_segment_without_its_ends_is_read),
        cmocka_unit_test(inputs_of_a_merge_bring_nothing_back),
        cmocka_unit_test(damaged_blocks_cost_their_keys_only),
        cmocka_unit_test(a_missing_segment_costs_its_keys_only),
        cmocka_unit_test(a_damaged_log_costs_its_records_only),
        cmocka_unit_test(any_mixture_of_damage_gives_a_whole_store_or_a_reason),
        cmocka_unit_test(a_dry_run_tells_the_same_and_writes_nothing),
        cmocka_unit_test(repair_refuses_what_it_must),
        cmocka_unit_test(failures_end_a_repair_cleanly),
        cmocka_unit_test(tables_come_back_with_name_and_order),
        cmocka_unit_test(the_default_tables_order_is_the_options),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
