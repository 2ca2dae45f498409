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
 * proportion; BOLE_DAMAGE_EVERY_BIT=1 flips every bit of a store of 256 KB and its reserve, 2.6 million: that takes the
 * better part of an hour on one core: BOLE_DAMAGE_SHARE=2/8 does the second eighth of it. `test_damage 'every_bit*'`
 * runs that test only. */
#include "damage_fixture.h"

#include "log/log_replay.h"

enum {
    FLIPS = 400 / TEST_STEP,
    CUTS = 250 / TEST_STEP,
    COARSE = 200 / TEST_STEP,
    MERGED = 40 / TEST_STEP,
    BATCHES = 330,
    CRASHED_DAMAGES = 20,
    CRASHED_STORES = 10,
    EVERY_BIT_BYTES = 256 * 1024,
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
    if (bl_log_scan(disk, path, stop_at_tail, &end, &scanned, &error) != BOLE_OK)
        return file->size; /* its header is no header: only a crash leaves such a file */
    return end;
}

/* Bytes that no checksum covers, because no answer comes from them. */
static bool is_uncovered(const damage_file *file, uint64_t offset, uint64_t end_of_log)
{
    switch (file->kind) {
    case BL_FILE_LOG: return offset >= end_of_log;
    case BL_FILE_LOCK:
    case BL_FILE_READERS:
    case BL_FILE_RESERVE:
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

/* The verdict over `disk`, which differs from the subject's by `what`, all of it in `file`.
 * Fails the test when the store believes it. */
static void judge(const subject *s, bole_vfs *disk, const damage_file *file, bool uncovered, const char *what,
                  tally *t)
{
    char why[1024];
    damage_verdict verdict;
    bole_status also = file->kind == BL_FILE_CONFIG ? BOLE_INVALID : BOLE_OK;
    if (!damage_judge(disk, &s->model, also, &verdict, why, sizeof why))
        fail_msg("seed %" PRIu64 ", %s: %s", s->seed, what, why);
    t->tried++;
    t->refused += verdict.refused;
    t->told += !verdict.refused && verdict.told;
    t->harmless += !verdict.refused && !verdict.told;
    /* what a whole CURRENT of another store says shows in the manifest */
    if (verdict.first.status == BOLE_CORRUPT && strstr(verdict.first.file, file->name) == NULL &&
        file->kind != BL_FILE_CURRENT)
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

/* The first store of the histories of `seed`, each longer than the one before, that has EVERY_BIT_BYTES without its
 * reserve. It has files of all kinds. Returns its bytes. */
static uint64_t subject_make_large(subject *s, uint64_t seed)
{
    for (uint32_t batches = BATCHES;; batches += 5) {
        uint64_t bytes = 0, reserve = 0;
        unsigned kinds = 0;
        subject_make(s, seed, batches);
        for (uint32_t i = 0; i < s->files.count; i++) {
            bytes += s->files.file[i].size;
            kinds |= 1u << s->files.file[i].kind;
            reserve += s->files.file[i].kind == BL_FILE_RESERVE ? s->files.file[i].size : 0;
        }
        if (bytes - reserve >= EVERY_BIT_BYTES) {
            for (uint32_t i = 0; i < s->files.count; i++)
                print_message("%s%s %zu", i == 0 ? "" : ", ", s->files.file[i].name, s->files.file[i].size);
            print_message("\n%" PRIu64 " bytes and a reserve in %u files after %u batches\n", bytes - reserve,
                          s->files.count, batches);
            assert_int_equal(kinds, 1u << BL_FILE_LOG | 1u << BL_FILE_SEGMENT | 1u << BL_FILE_MANIFEST |
                                        1u << BL_FILE_CURRENT | 1u << BL_FILE_LOCK | 1u << BL_FILE_RESERVE |
                                        1u << BL_FILE_CONFIG);
            return bytes;
        }
        subject_free(s);
    }
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
    uint64_t bytes = subject_make_large(&s, test_seed(7)), place = 0;
    for (uint32_t i = 0; i < s.files.count; i++)
        for (uint64_t offset = 0; offset < s.files.file[i].size; offset++)
            if (place++ % parts == part - 1)
                for (uint32_t bit = 0; bit < 8; bit++)
                    flip(&s, i, offset, bit, &t);
    assert_untouched(&s);
    assert_int_equal(t.tried, (bytes / parts + (part - 1 < bytes % parts)) * 8);
    print_message("part %u of %u:\n", part, parts);
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

/* ---- Damage under a store that goes on ---------------------------------------------------------------------- */

/* Writes, flushes, merges of everything, a clean close: each succeeds or tells. Returns whether all did. */
static bool live_on(bole_vfs *disk, damage_model *model, bl_prng *prng, const char *what)
{
    bole_options options = damage_options(disk);
    bole_error error = BOLE_ERROR_INIT;
    bole_db *db;
    bole_table *second = NULL;
    options.flags = BOLE_NO_SIGBUS_HANDLER;
    bole_status status = bole_open(DAMAGE_STORE, &options, &db, &error);
    bool whole = status == BOLE_OK;
    if (whole) {
        assert_ok(bole_table_open(db, "second", &second, &error), &error);
        for (uint32_t i = 0; i < 3; i++)
            damage_write(db, second, model, prng, BOLE_DURABILITY_POWER);
        status = bole_flush(db, &error);
        whole = status == BOLE_OK;
        for (uint32_t t = 0; t < DAMAGE_TABLES; t++) {
            bole_status merged = bole_compact(db, t == 0 ? NULL : second, (bole_slice){ NULL, 0 },
                                              (bole_slice){ NULL, 0 }, &error);
            whole = whole && merged == BOLE_OK;
            status = status == BOLE_OK ? merged : status;
        }
        bole_table_close(second);
        bole_status closed = bole_close(db, &error);
        whole = whole && closed == BOLE_OK;
        status = status == BOLE_OK ? closed : status;
    }
    if (status != BOLE_OK && status != BOLE_CORRUPT)
        fail_msg("%s: the store that goes on says %s: %s", what, bole_status_name(status), error.message);
    return whole;
}

/* Goal: nothing damaged is copied into a new file with a good checksum, and nothing is dropped. Method: damage one
 * bit, write, flush and merge everything, open again: still only the truth, or BOLE_CORRUPT. */
static void a_merge_never_makes_damage_look_whole(void **state)
{
    (void)state;
    uint64_t seed = test_seed(11), whole = 0;
    tally t = { .tried = 0 };
    for (uint64_t part = 0; part < effort(); part++) {
        subject s;
        bl_prng prng;
        subject_make(&s, seed + part, BATCHES);
        bl_prng_init(&prng, seed + part);
        for (uint32_t i = 0; i < MERGED; i++) {
            uint32_t index;
            uint64_t offset;
            draw_place(&s, &prng, &index, &offset);
            damage_file *file = &s.files.file[index];
            if (file->kind == BL_FILE_CONFIG) /* text: may be refused as such */
                continue;
            uint8_t mask = (uint8_t)(1u << bl_prng_below(&prng, 8));
            char what[160], why[1024];
            file->bytes[offset] ^= mask;
            bole_vfs *disk = damage_disk_of(&s.files);
            file->bytes[offset] ^= mask;
            damage_model model = s.model;
            damage_verdict verdict;
            snprintf(what, sizeof what, "seed %" PRIu64 ", byte %" PRIu64 " of %s", seed + part, offset,
                     file->name);
            whole += live_on(disk, &model, &prng, what);
            if (!damage_judge(disk, &model, BOLE_OK, &verdict, why, sizeof why))
                fail_msg("%s, after a merge: %s", what, why);
            t.tried++;
            t.refused += verdict.refused;
            t.told += !verdict.refused && verdict.told;
            t.harmless += !verdict.refused && !verdict.told;
            bole_vfs_destroy(disk);
        }
        subject_free(&s);
    }
    tell_tally("flipped bits under a store that goes on", &t);
    print_message("in %" PRIu64 " of them it never met the damage\n", whole);
}

/* ---- Crashed stores ----------------------------------------------------------------------------------------- */

enum { CRASH_BATCHES = 60, RECORDS_MAX = 4096 };

/* Batch n of a crashed store puts n under "n" and under "n<number>"; so what came back is a number. */
static bole_status write_number(bole_db *db, uint64_t number, bole_durability durability, bole_error *error)
{
    char key[32], bytes[200];
    bole_batch *batch;
    bl_prng prng;
    bl_prng_init(&prng, number);
    bl_prng_fill(&prng, bytes, sizeof bytes);
    assert_ok(bole_batch_create(&batch), NULL);
    snprintf(key, sizeof key, "n%" PRIu64, number);
    assert_ok(bole_batch_put(batch, NULL, BOLE_STR("n"), BOLE_SLICE(&number, sizeof number)), NULL);
    assert_ok(bole_batch_put(batch, NULL, BOLE_SLICE(key, strlen(key)), BOLE_SLICE(bytes, number % 200)),
              NULL);
    bole_write_options options = BOLE_WRITE_OPTIONS_INIT;
    options.durability = durability;
    options.error = error;
    bole_status status = bole_write(db, &options, batch);
    bole_batch_destroy(batch);
    return status;
}

/* How many batches came back; fails the test when they are no prefix. UINT64_MAX: refused. */
static uint64_t read_numbers(bole_vfs *disk, const char *what)
{
    bole_options options = damage_options(disk);
    bole_error error = BOLE_ERROR_INIT;
    bole_db *db;
    bole_status status = bole_open(DAMAGE_STORE, &options, &db, &error);
    if (status == BOLE_CORRUPT)
        return UINT64_MAX;
    if (status != BOLE_OK)
        fail_msg("%s: open gives %s: %s", what, bole_status_name(status), error.message);
    bole_buffer value = BOLE_BUFFER_INIT;
    uint64_t number = 0;
    status = bole_get(db, NULL, BOLE_STR("n"), &value);
    bool told = status == BOLE_CORRUPT;
    assert_true(status == BOLE_OK || status == BOLE_NOT_FOUND || told);
    if (status == BOLE_OK)
        memcpy(&number, value.data, sizeof number);
    for (uint64_t n = 1; n <= number + 20 && !told; n++) {
        char key[32], bytes[200];
        bl_prng prng;
        bl_prng_init(&prng, n);
        bl_prng_fill(&prng, bytes, sizeof bytes);
        snprintf(key, sizeof key, "n%" PRIu64, n);
        status = bole_get(db, NULL, BOLE_SLICE(key, strlen(key)), &value);
        told = status == BOLE_CORRUPT;
        if (!told &&
            (status != (n <= number ? BOLE_OK : BOLE_NOT_FOUND) ||
             (status == BOLE_OK && (value.size != n % 200 || memcmp(value.data, bytes, value.size) != 0))))
            fail_msg("%s: %" PRIu64 " batches came back, and number %" PRIu64 " of them is wrong (%s)", what,
                     number, n, bole_status_name(status));
    }
    bole_buffer_free(&value);
    assert_ok(bole_close(db, &error), &error);
    return told ? UINT64_MAX : number;
}

/* A store after a crash: `durable` batches were acknowledged as being on disk. */
typedef struct crashed {
    damage_files files;
    uint64_t tried, durable;
} crashed;

static void crashed_make(crashed *c, bl_prng *prng)
{
    bole_vfs *disk, *survived;
    bole_db *db;
    bole_error error = BOLE_ERROR_INIT;
    assert_ok(bole_vfs_memory_create(bl_prng_next(prng), &disk), NULL);
    bole_options options = damage_options(disk);
    options.memtable_bytes = 4096u << bl_prng_below(prng, 5);
    options.flags = BOLE_CREATE | (bl_prng_chance(prng, 2) ? BOLE_NO_SIGBUS_HANDLER : 0);
    assert_ok(bole_open(DAMAGE_STORE, &options, &db, &error), &error);
    *c = (crashed){ .tried = 0 };
    uint64_t batches = 2 + bl_prng_below(prng, CRASH_BATCHES);
    for (uint64_t n = 1; n <= batches; n++) {
        bool power = bl_prng_chance(prng, 3);
        assert_ok(write_number(db, n, power ? BOLE_DURABILITY_POWER : BOLE_DURABILITY_PROCESS, &error),
                  &error);
        c->tried = n;
        if (power)
            c->durable = n;
    }
    bole_crash_mode mode = bl_prng_chance(prng, 2) ? BOLE_CRASH_KEEP_ALL : BOLE_CRASH_RANDOM;
    assert_ok(bole_vfs_memory_crash(disk, mode, bl_prng_next(prng), &survived), NULL);
    damage_files_read(survived, &c->files);
    bole_vfs_destroy(survived);
    (void)bole_close(db, NULL);
    bole_vfs_destroy(disk);
}

/* What all the logs' records claim as synced, but for those that bytes [from, to) of the log `damaged` touch. */
typedef struct claims {
    uint64_t from, to; /* file offsets; 0, 0: nothing is damaged */
    uint64_t synced;
    uint64_t position_first; /* of the first record that is touched; UINT64_MAX: none is */
    uint64_t records;
} claims;

static bole_status note_claim(void *context, const bl_log_item *item, bole_error *error)
{
    claims *c = context;
    (void)error;
    if (item->kind != BL_LOG_ITEM_RECORD)
        return BOLE_OK;
    c->records++;
    if (item->offset < c->to && c->from < item->offset + item->bytes) {
        if (item->position < c->position_first)
            c->position_first = item->position;
    } else if (item->synced > c->synced) {
        c->synced = item->synced;
    }
    return BOLE_OK;
}

/* Goal: G8. Method: in stores that were not closed, damage one place of a log below what any other record, or the
 * header of a log, says was on disk. Then the store refuses, or the log was not needed any more and all is there. */
static void damage_below_what_was_synced_never_passes_for_a_torn_tail(void **state)
{
    (void)state;
    uint64_t seed = test_seed(12), tried = 0, refused = 0, not_needed = 0, above = 0;
    for (uint64_t store = 0; store < CRASHED_STORES * effort(); store++) {
        bl_prng prng;
        crashed c;
        bl_prng_init(&prng, seed + store);
        crashed_make(&c, &prng);
        bole_vfs *read = damage_disk_of(&c.files), *whole = damage_disk_of(&c.files);
        char what[200];
        snprintf(what, sizeof what, "seed %" PRIu64 ", undamaged", seed + store);
        uint64_t back = read_numbers(read, what);
        bole_vfs_destroy(read);
        if (back < c.durable || back > c.tried)
            fail_msg("%s: %" PRIu64 " of %" PRIu64 " durable batches came back", what, back, c.durable);
        for (uint32_t i = 0, misses = 0; i < CRASHED_DAMAGES && misses < 1000; misses++) {
            damage_file *log = &c.files.file[bl_prng_below(&prng, c.files.count)];
            if (log->kind != BL_FILE_LOG)
                continue;
            uint64_t from = bl_prng_below(&prng, bl_prng_chance(&prng, 8) ? log->size : log_end(whole, log));
            uint64_t length = bl_prng_chance(&prng, 2) ? 1 : 1 + bl_prng_below(&prng, 600);
            uint64_t to = from + length < log->size ? from + length : log->size;
            claims claim = { from, to, 0, UINT64_MAX, 0 };
            for (uint32_t j = 0; j < c.files.count; j++) {
                char path[128];
                bl_log_scanned scanned;
                if (c.files.file[j].kind != BL_FILE_LOG)
                    continue;
                claims other = { 0, 0, 0, UINT64_MAX, 0 };
                claims *mine = &c.files.file[j] == log ? &claim : &other;
                snprintf(path, sizeof path, DAMAGE_STORE "/%s", c.files.file[j].name);
                if (bl_log_scan(whole, path, note_claim, mine, &scanned, NULL) != BOLE_OK)
                    continue; /* made, and never named: the power went before its header was there */
                if (scanned.header.synced > claim.synced && mine == &other)
                    claim.synced = scanned.header.synced;
                if (mine == &other && other.synced > claim.synced)
                    claim.synced = other.synced;
            }
            if (claim.position_first >= claim.synced) {
                above++; /* nothing but what it says itself says that it was on disk */
                continue;
            }
            uint8_t *bytes = malloc(log->size), *kept = log->bytes;
            memcpy(bytes, kept, log->size);
            if (to - from == 1)
                bytes[from] ^= (uint8_t)(1u << bl_prng_below(&prng, 8));
            else
                memset(bytes + from, bl_prng_chance(&prng, 2) ? 0 : (int)bl_prng_below(&prng, 256),
                       to - from);
            bool changed = memcmp(bytes + from, kept + from, to - from) != 0;
            log->bytes = bytes;
            bole_vfs *disk = damage_disk_of(&c.files);
            log->bytes = kept;
            free(bytes);
            snprintf(what, sizeof what, "seed %" PRIu64 ", bytes %" PRIu64 " to %" PRIu64 " of %s",
                     seed + store, from, to, log->name);
            uint64_t came = changed ? read_numbers(disk, what) : back;
            if (changed) {
                i++, tried++;
                refused += came == UINT64_MAX;
                not_needed += came == back;
            }
            if (came != UINT64_MAX && came != back)
                fail_msg("%s: %" PRIu64 " batches, where %" PRIu64 " were and %" PRIu64 " were durable", what,
                         came, back, c.durable);
            bole_vfs_destroy(disk);
        }
        bole_vfs_destroy(whole);
        damage_files_free(&c.files);
    }
    print_message("%" PRIu64 " damages below what was synced: %" PRIu64 " refused, %" PRIu64
                  " in logs that were not needed any more; 0 taken for a torn tail (%" PRIu64
                  " places were not below)\n",
                  tried, refused, not_needed, above);
    assert_true(refused > tried / 3);
}

/* Goal: the manifest of a store that crashed is not believed when it lost its last edit, as long as anything shows
 * that it had been durable: the log that it named has records. Method: each byte of the manifest, or a cut there. */
static void an_edit_that_was_in_force_never_passes_for_a_torn_one(void **state)
{
    (void)state;
    uint64_t seed = test_seed(13), tried = 0, refused = 0, harmless = 0;
    for (uint64_t store = 0; store < CRASHED_STORES * effort(); store++) {
        bl_prng prng;
        crashed c;
        bl_prng_init(&prng, seed + store);
        crashed_make(&c, &prng);
        for (uint32_t i = 0; i < 4 * CRASHED_DAMAGES; i++) {
            damage_file *manifest = NULL;
            for (uint32_t j = 0; j < c.files.count; j++)
                if (c.files.file[j].kind == BL_FILE_MANIFEST)
                    manifest = &c.files.file[j]; /* the newest */
            assert_non_null(manifest);
            uint64_t back = manifest->size < 60 ? manifest->size : 60;
            uint64_t at = bl_prng_chance(&prng, 2) ? manifest->size - 1 - bl_prng_below(&prng, back)
                                                   : bl_prng_below(&prng, manifest->size);
            uint8_t mask = (uint8_t)(1u << bl_prng_below(&prng, 8));
            size_t size = manifest->size;
            char what[200];
            bool cuts = bl_prng_chance(&prng, 3);
            snprintf(what, sizeof what, "seed %" PRIu64 ", %s %s byte %" PRIu64 " of %zu", seed + store,
                     manifest->name, cuts ? "cut at" : "flipped in", at, size);
            manifest->bytes[at] ^= mask;
            if (cuts)
                manifest->size = at;
            bole_vfs *disk = damage_disk_of(&c.files);
            manifest->bytes[at] ^= mask;
            manifest->size = size;
            uint64_t came = read_numbers(disk, what);
            tried++;
            refused += came == UINT64_MAX;
            harmless += came != UINT64_MAX;
            if (came != UINT64_MAX && (came < c.durable || came > c.tried))
                fail_msg("%s: %" PRIu64 " batches came back, %" PRIu64 " were durable", what, came,
                         c.durable);
            bole_vfs_destroy(disk);
        }
        damage_files_free(&c.files);
    }
    print_message("%" PRIu64 " damages of the manifest of a crashed store: %" PRIu64 " refused, %" PRIu64
                  " harmless, 0 believed\n",
                  tried, refused, harmless);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_flipped_bit_is_told_or_harmless),
        cmocka_unit_test(every_cut_is_told_or_harmless),
        cmocka_unit_test(every_lost_file_is_told_or_harmless),
        cmocka_unit_test(coarse_damage_is_told_or_harmless),
        cmocka_unit_test(a_merge_never_makes_damage_look_whole),
        cmocka_unit_test(damage_below_what_was_synced_never_passes_for_a_torn_tail),
        cmocka_unit_test(an_edit_that_was_in_force_never_passes_for_a_torn_one),
        cmocka_unit_test(every_bit_of_a_store),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
