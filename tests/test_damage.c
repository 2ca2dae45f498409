/* SPDX-License-Identifier: MIT */
/* test_damage.c -- bits flip, sectors rot, files are cut, swapped and lost: each is told or harmless, never believed.
 *
 * CLOSED STORE   Every file of a store that was closed cleanly is damaged in place, one damage at a time. Then the
 *                store is opened and asked for every key and for whole scans in both directions. It may refuse, or
 *                say BOLE_CORRUPT to some reads; whatever it answers is what the model has. bole_verify must see every
 *                damage but one in bytes that nothing reads: see is_uncovered.
 * CRASHED STORE  Below what its logs say was synced, damage is told: it never passes for a torn tail.
 *
 * BOLE_TEST_SEED replays; BOLE_TEST_EFFORT (default 1) times 400 is the number of flips, and of the other damages in
 * proportion; BOLE_DAMAGE_EVERY_BIT=1 flips every bit of a store of 256 KB, which takes hours on one core:
 * BOLE_DAMAGE_SHARE=2/8 does the second eighth of it. */
#include "damage_fixture.h"

#include "log/log_replay.h"

enum {
    FLIPS = 400,
    CUTS = 250,
    COARSE = 200,
    MERGED = 40,
    BATCHES = 330,
    CRASHED_DAMAGES = 20,
    CRASHED_STORES = 10
};

typedef struct tally {
    uint64_t tried, refused, told, harmless, seen; /* seen: by bole_verify */
} tally;

static uint64_t effort(void)
{
    const char *text = getenv("BOLE_TEST_EFFORT");
    uint64_t value = text != NULL ? strtoull(text, NULL, 10) : 1;
    return value != 0 ? value : 1;
}

static void tell_tally(const char *what, const tally *t)
{
    print_message(
        "%llu %s: %llu refused at open, %llu told by reads, %llu harmless; verify saw %llu; 0 believed\n",
        (unsigned long long)t->tried, what, (unsigned long long)t->refused, (unsigned long long)t->told,
        (unsigned long long)t->harmless, (unsigned long long)t->seen);
}

/* ---- Bytes in place -------------------------------------------------------------------------------------- */

static void put_bytes(bole_vfs *disk, const damage_file *file, uint64_t offset, const void *bytes,
                      size_t size)
{
    char path[128];
    bole_file *handle;
    bole_error error = BOLE_ERROR_INIT;
    snprintf(path, sizeof path, DAMAGE_STORE "/%s", file->name);
    assert_ok(disk->open(disk, path, BOLE_VFS_WRITE, &handle, &error), &error);
    assert_ok(disk->write(handle, offset, bytes, size, &error), &error);
    assert_ok(disk->sync(handle, &error), &error);
    assert_ok(disk->close(handle, &error), &error);
}

/* The end of what a cleanly closed log holds: the rest of the file is room that was never used. */
static uint64_t log_end(bole_vfs *disk, const damage_file *file);

static bole_status stop_at_tail(void *context, const bl_log_item *item, bole_error *error)
{
    (void)error;
    if (item->kind == BL_LOG_ITEM_RECORD)
        *(uint64_t *)context = item->offset + item->bytes;
    return BOLE_OK;
}

static uint64_t log_end(bole_vfs *disk, const damage_file *file)
{
    char path[128];
    uint64_t end = BL_LOG_FILE_HEADER_BYTES;
    bl_log_scanned scanned;
    bole_error error = BOLE_ERROR_INIT;
    snprintf(path, sizeof path, DAMAGE_STORE "/%s", file->name);
    assert_ok(bl_log_scan(disk, path, stop_at_tail, &end, &scanned, &error), &error);
    return end;
}

/* Bytes that no checksum covers, because no answer comes from them. */
static bool is_uncovered(const damage_file *file, uint64_t offset, uint64_t end_of_log)
{
    switch (file->kind) {
    case BL_FILE_LOG: return offset >= end_of_log;
    case BL_FILE_LOCK:
    case BL_FILE_READERS:
    case BL_FILE_CONFIG: /* text for people: read strictly, but not sealed */
    case BL_FILE_EVENTS: return true;
    default: return false;
    }
}

/* ---- One damage ------------------------------------------------------------------------------------------ */

typedef struct subject { /* a closed store, whole */
    bole_vfs *disk;
    damage_model model;
    damage_files files;
    uint64_t end_of_log[DAMAGE_FILES_MAX];
    uint64_t seed;
} subject;

static void subject_make(subject *s, uint64_t seed, uint32_t batches)
{
    memset(s, 0, sizeof *s);
    s->seed = seed;
    s->disk = damage_store_make(seed, batches, &s->model);
    damage_files_read(s->disk, &s->files);
    for (uint32_t i = 0; i < s->files.count; i++)
        if (s->files.file[i].kind == BL_FILE_LOG)
            s->end_of_log[i] = log_end(s->disk, &s->files.file[i]);
}

static void subject_free(subject *s)
{
    damage_files_free(&s->files);
    bole_vfs_destroy(s->disk);
}

/* Neither open nor reads nor verify have changed a byte of what holds data. */
static void assert_untouched(const subject *s)
{
    damage_files now;
    damage_files_read(s->disk, &now);
    for (uint32_t i = 0; i < now.count; i++) {
        const damage_file *file = &now.file[i], *was = NULL;
        for (uint32_t j = 0; j < s->files.count; j++)
            if (strcmp(s->files.file[j].name, file->name) == 0)
                was = &s->files.file[j];
        if (file->kind == BL_FILE_EVENTS || file->kind == BL_FILE_READERS || file->kind == BL_FILE_LOCK)
            continue;
        if (was == NULL || was->size != file->size || memcmp(was->bytes, file->bytes, file->size) != 0)
            fail_msg("seed %" PRIu64 ": looking at a damaged store changed its file %s", s->seed, file->name);
    }
    damage_files_free(&now);
}

/* The verdict over `disk`, which differs from the subject's by `what`, all of it in `file` (NULL: in several).
 * Fails the test when the store believes it. */
static void judge(const subject *s, bole_vfs *disk, const damage_file *file, bool uncovered, const char *what,
                  tally *t)
{
    char why[1024];
    damage_verdict verdict;
    bole_status also = file != NULL && file->kind == BL_FILE_CONFIG ? BOLE_INVALID : BOLE_OK;
    if (!damage_judge(disk, &s->model, also, &verdict, why, sizeof why))
        fail_msg("seed %" PRIu64 ", %s: %s", s->seed, what, why);
    t->tried++;
    t->refused += verdict.refused;
    t->told += !verdict.refused && verdict.told;
    t->harmless += !verdict.refused && !verdict.told;
    if (verdict.first.status == BOLE_CORRUPT && file != NULL &&
        strstr(verdict.first.file, file->name) == NULL)
        fail_msg("seed %" PRIu64 ", %s: another file is blamed: %s", s->seed, what, verdict.first.message);
    bole_verify_report report;
    bole_error error = BOLE_ERROR_INIT;
    bole_options options = damage_options(disk);
    bole_status status = bole_verify(DAMAGE_STORE, &options, NULL, NULL, &report, &error);
    t->seen += status == BOLE_CORRUPT;
    if (also == BOLE_INVALID && status == BOLE_INVALID && verdict.refused)
        return;
    if (status != BOLE_OK && status != BOLE_CORRUPT)
        fail_msg("seed %" PRIu64 ", %s: verify gives %s: %s", s->seed, what, bole_status_name(status),
                 error.message);
    if (status == BOLE_OK && (verdict.refused || verdict.told || !uncovered))
        fail_msg("seed %" PRIu64 ", %s: verify does not see it", s->seed, what);
}

static void flip(const subject *s, uint32_t index, uint64_t offset, uint32_t bit, tally *t)
{
    const damage_file *file = &s->files.file[index];
    char what[160];
    uint8_t byte = file->bytes[offset] ^ (uint8_t)(1u << bit);
    snprintf(what, sizeof what, "bit %u of byte %" PRIu64 " of %s flipped", bit, offset, file->name);
    put_bytes(s->disk, file, offset, &byte, 1);
    judge(s, s->disk, file, is_uncovered(file, offset, s->end_of_log[index]), what, t);
    put_bytes(s->disk, file, offset, &file->bytes[offset], 1);
}

/* ---- Flips ----------------------------------------------------------------------------------------------- */

/* Half of the places are drawn evenly from all bytes, half so that each file gets as many: small files count. The
 * unused room of the log gets few. */
static void draw_place(const subject *s, bl_prng *prng, uint32_t *index, uint64_t *offset)
{
    uint64_t total = 0;
    for (uint32_t i = 0; i < s->files.count; i++)
        total += s->files.file[i].size;
    do {
        if (bl_prng_chance(prng, 2)) {
            *index = (uint32_t)bl_prng_below(prng, s->files.count);
            *offset = s->files.file[*index].size == 0 ? 0 : bl_prng_below(prng, s->files.file[*index].size);
        } else {
            *offset = bl_prng_below(prng, total);
            for (*index = 0; *offset >= s->files.file[*index].size; ++*index)
                *offset -= s->files.file[*index].size;
        }
    } while (
        s->files.file[*index].size == 0 ||
        (is_uncovered(&s->files.file[*index], *offset, s->end_of_log[*index]) && !bl_prng_chance(prng, 8)));
}

/* Goal: G7. Method: see the top of the file; the seed of each part of 400 flips makes another store. */
static void every_flipped_bit_is_told_or_harmless(void **state)
{
    (void)state;
    uint64_t seed = test_seed(7);
    tally t = { .tried = 0 };
    for (uint64_t part = 0; part < effort(); part++) {
        subject s;
        bl_prng prng;
        subject_make(&s, seed + part, BATCHES);
        bl_prng_init(&prng, seed + part);
        for (uint32_t i = 0; i < FLIPS; i++) {
            uint32_t index;
            uint64_t offset;
            draw_place(&s, &prng, &index, &offset);
            flip(&s, index, offset, (uint32_t)bl_prng_below(&prng, 8), &t);
        }
        assert_untouched(&s);
        subject_free(&s);
    }
    tell_tally("flipped bits", &t);
    assert_true(t.refused > 0 && t.told > 0 && t.harmless > 0);
}

/* Goal: G7 in full. Method: every bit of every file. */
static void every_bit_of_a_store(void **state)
{
    (void)state;
    const char *wanted = getenv("BOLE_DAMAGE_EVERY_BIT"), *share = getenv("BOLE_DAMAGE_SHARE");
    if (wanted == NULL || wanted[0] != '1')
        skip();
    unsigned part = 1, parts = 1;
    if (share != NULL && (sscanf(share, "%u/%u", &part, &parts) != 2 || part < 1 || part > parts))
        fail_msg("BOLE_DAMAGE_SHARE is \"%s\", not like \"2/8\"", share);
    subject s;
    tally t = { .tried = 0 };
    subject_make(&s, test_seed(7), 5 * BATCHES);
    uint64_t bytes = 0, done = 0;
    for (uint32_t i = 0; i < s.files.count; i++)
        for (uint64_t offset = 0; offset < s.files.file[i].size; offset++)
            if (bytes++ % parts == part - 1)
                for (uint32_t bit = 0; bit < 8; bit++, done++)
                    flip(&s, i, offset, bit, &t);
    assert_untouched(&s);
    print_message("%" PRIu64 " bytes in %u files, part %u of %u: %" PRIu64 " flips\n", bytes, s.files.count,
                  part, parts, done);
    tell_tally("flipped bits", &t);
    subject_free(&s);
}

/* ---- Files that are cut, or lost -------------------------------------------------------------------------- */

static void cut(const subject *s, uint32_t index, uint64_t length, tally *t)
{
    const damage_file *file = &s->files.file[index];
    char what[160], path[128];
    bole_file *handle;
    bole_error error = BOLE_ERROR_INIT;
    bole_vfs *disk = s->disk;
    snprintf(what, sizeof what, "%s cut to %" PRIu64 " of %zu bytes", file->name, length, file->size);
    snprintf(path, sizeof path, DAMAGE_STORE "/%s", file->name);
    assert_ok(disk->open(disk, path, BOLE_VFS_WRITE, &handle, &error), &error);
    assert_ok(disk->truncate(handle, length, &error), &error);
    assert_ok(disk->close(handle, &error), &error);
    judge(s, disk, file, is_uncovered(file, length, s->end_of_log[index]), what, t);
    put_bytes(disk, file, length, file->bytes + length, file->size - length);
}

/* Goal: a file may end anywhere. Method: the first and last 20 lengths of each file, lengths drawn from the rest. */
static void every_cut_is_told_or_harmless(void **state)
{
    (void)state;
    uint64_t seed = test_seed(8);
    tally t = { .tried = 0 };
    for (uint64_t part = 0; part < effort(); part++) {
        subject s;
        bl_prng prng;
        subject_make(&s, seed + part, BATCHES);
        bl_prng_init(&prng, seed + part);
        for (uint32_t i = 0; i < s.files.count; i++) {
            uint64_t size = s.files.file[i].size;
            for (uint64_t length = 0; length < size; length += length + 1 == 8 && size > 16 ? size - 16 : 1) {
                cut(&s, i, length, &t);
            }
        }
        for (uint32_t i = 0; i < CUTS; i++) {
            uint32_t index;
            uint64_t offset;
            draw_place(&s, &prng, &index, &offset);
            cut(&s, index, offset, &t);
        }
        assert_untouched(&s);
        subject_free(&s);
    }
    tell_tally("cut files", &t);
}

/* Goal: a missing file is told; LOCK, readers, settings and events may be missing. */
static void every_lost_file_is_told_or_harmless(void **state)
{
    (void)state;
    subject s;
    tally t = { .tried = 0 };
    subject_make(&s, test_seed(9), BATCHES);
    for (uint32_t i = 0; i < s.files.count; i++) {
        damage_files kept = { .count = 0 };
        const damage_file *lost = &s.files.file[i];
        for (uint32_t j = 0; j < s.files.count; j++)
            if (j != i)
                kept.file[kept.count++] = s.files.file[j];
        bole_vfs *disk = damage_disk_of(&kept);
        char what[64];
        snprintf(what, sizeof what, "%s lost", lost->name);
        if (lost->kind ==
            BL_FILE_CURRENT) { /* what says that there is a store; creating one anew is refused */
            bole_options options = damage_options(disk);
            bole_error error = BOLE_ERROR_INIT;
            bole_db *db;
            assert_status(BOLE_NO_STORE, bole_open(DAMAGE_STORE, &options, &db, &error), &error);
            options.flags = BOLE_CREATE;
            assert_status(BOLE_CORRUPT, bole_open(DAMAGE_STORE, &options, &db, &error), &error);
        } else {
            judge(&s, disk, lost, is_uncovered(lost, 0, UINT64_MAX), what, &t);
        }
        bole_vfs_destroy(disk);
    }
    tell_tally("lost files", &t);
    subject_free(&s);
}

/* ---- Coarser damage --------------------------------------------------------------------------------------- */

typedef enum coarse_kind {
    COARSE_ZEROS, /* a sector that was never written */
    COARSE_ONES,
    COARSE_GARBAGE,
    COARSE_MOVED,    /* bytes of another place of the file */
    COARSE_FOREIGN,  /* bytes of another file at the same place */
    COARSE_SWAPPED,  /* two files of a kind have each other's names */
    COARSE_SHIFTED,  /* a byte was inserted, all behind it moved */
    COARSE_APPENDED, /* something stands behind the end */
    COARSE_STALE,    /* the file of another life of this store */
    COARSE_KINDS,
} coarse_kind;

static const char *const coarse_names[COARSE_KINDS] = {
    "zeros",
    "ones",
    "garbage",
    "bytes of another place",
    "bytes of another file",
    "two files swapped",
    "a byte inserted",
    "bytes behind the end",
    "the file of another store",
};

/* The damaged bytes of file `index`, allocated. Returns whether anything changed, and from where. */
static bool make_coarse(const subject *s, const subject *other, uint32_t index, coarse_kind kind,
                        bl_prng *prng, damage_file *out, uint64_t *first)
{
    const damage_file *file = &s->files.file[index];
    uint32_t from = (uint32_t)bl_prng_below(prng, s->files.count);
    const damage_file *source = &s->files.file[from];
    if (kind == COARSE_STALE)
        source = index < other->files.count ? &other->files.file[index] : file;
    if ((kind == COARSE_SWAPPED || kind == COARSE_STALE) && source->kind != file->kind)
        return false;
    size_t size = kind == COARSE_SWAPPED || kind == COARSE_STALE ? source->size
                  : kind == COARSE_SHIFTED                       ? file->size + 1
                  : kind == COARSE_APPENDED                      ? file->size + 1 + bl_prng_below(prng, 5000)
                                                                 : file->size;
    *out = *file;
    out->size = size;
    out->bytes = malloc(size + 1);
    memset(out->bytes, 0, size + 1);
    memcpy(out->bytes, file->bytes, size < file->size ? size : file->size);
    uint64_t at = file->size == 0 ? 0 : bl_prng_below(prng, file->size) / 64 * 64;
    size_t run = (size_t)bl_prng_below(prng, 4096) + 1;
    if (run > file->size - at)
        run = file->size - at;
    switch (kind) {
    case COARSE_ZEROS: memset(out->bytes + at, 0, run); break;
    case COARSE_ONES: memset(out->bytes + at, 0xff, run); break;
    case COARSE_GARBAGE: bl_prng_fill(prng, out->bytes + at, run); break;
    case COARSE_MOVED:
        memmove(out->bytes + at, file->bytes + bl_prng_below(prng, file->size - run + 1), run);
        break;
    case COARSE_FOREIGN:
        if (source->size <= at)
            run = 0;
        else if (run > source->size - at)
            run = source->size - at;
        memcpy(out->bytes + at, source->bytes + at, run);
        break;
    case COARSE_SWAPPED:
    case COARSE_STALE: memcpy(out->bytes, source->bytes, size); break;
    case COARSE_SHIFTED: memmove(out->bytes + at + 1, file->bytes + at, file->size - at); break;
    case COARSE_APPENDED: bl_prng_fill(prng, out->bytes + file->size, size - file->size); break;
    default: break;
    }
    size_t least = size < file->size ? size : file->size;
    for (*first = 0; *first < least && out->bytes[*first] == file->bytes[*first]; ++*first)
        ;
    return *first < least || size != file->size;
}

/* Goal: whole sectors and files go wrong as disks and people make them. */
static void coarse_damage_is_told_or_harmless(void **state)
{
    (void)state;
    uint64_t seed = test_seed(10);
    tally t = { .tried = 0 };
    for (uint64_t part = 0; part < effort(); part++) {
        subject s, other;
        bl_prng prng;
        subject_make(&s, seed + part, BATCHES);
        subject_make(&other, seed + part + 1000000, BATCHES);
        bl_prng_init(&prng, seed + part);
        for (uint32_t i = 0; i < COARSE; i++) {
            coarse_kind kind = (coarse_kind)(i % COARSE_KINDS);
            uint32_t index = (uint32_t)bl_prng_below(&prng, s.files.count);
            uint64_t first;
            damage_file damaged = { .bytes = NULL };
            if (make_coarse(&s, &other, index, kind, &prng, &damaged, &first)) {
                damage_files files = s.files;
                files.file[index] = damaged;
                bole_vfs *disk = damage_disk_of(&files);
                char what[200];
                snprintf(what, sizeof what, "%s in %s from byte %" PRIu64, coarse_names[kind], damaged.name,
                         first);
                bool uncovered = is_uncovered(&damaged, first, s.end_of_log[index]);
                judge(&s, disk, &damaged, uncovered, what, &t);
                bole_vfs_destroy(disk);
            }
            free(damaged.bytes);
        }
        subject_free(&s);
        subject_free(&other);
    }
    tell_tally("coarse damages", &t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_flipped_bit_is_told_or_harmless),
        cmocka_unit_test(every_cut_is_told_or_harmless),
        cmocka_unit_test(every_lost_file_is_told_or_harmless),
        cmocka_unit_test(coarse_damage_is_told_or_harmless),
        cmocka_unit_test(every_bit_of_a_store),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
