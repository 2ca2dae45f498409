/* SPDX-License-Identifier: MIT */
/* damage_fixture.h -- a store on a disk in memory that holds a bit of everything, what it must answer, its files as
 * bytes to damage, and the judge: a damaged store may refuse or say BOLE_CORRUPT, but what it answers is true.
 *
 * Two tables of SLOTS keys; a slot is absent, or holds the value that its writer (a number) had. */
#ifndef BOLE_DAMAGE_FIXTURE_H
#define BOLE_DAMAGE_FIXTURE_H

#include "test.h"

#include <bole/bole_inspect.h>
#include <bole/bole_vfs.h>

#include "base/prng.h"
#include "version/file_name.h"

enum {
    DAMAGE_TABLES = 2,
    DAMAGE_SLOTS = 300,
    DAMAGE_VALUE_BYTES_MAX = 700,
    DAMAGE_FILES_MAX = 64,
    DAMAGE_WRITERS_MAX = 1 << 14,
};
#define DAMAGE_STORE "store"

typedef struct damage_model {
    uint64_t writer[DAMAGE_TABLES][DAMAGE_SLOTS]; /* 0: absent */
    uint64_t writers;                             /* numbers given so far */
    uint16_t slot_of[DAMAGE_WRITERS_MAX];         /* what each writer wrote: table * DAMAGE_SLOTS + slot */
} damage_model;

typedef struct damage_file {
    char name[32];
    bl_file_kind kind;
    uint64_t number;
    uint8_t *bytes;
    size_t size;
} damage_file;

/* The directory as bytes, in order of name. */
typedef struct damage_files {
    damage_file file[DAMAGE_FILES_MAX];
    uint32_t count;
} damage_files;

/* ---- Keys and values ------------------------------------------------------------------------------------ */

/* Both are made once and remembered: a judge asks for each of them several times a look, and looks a million times. */
TEST_UNUSED static bole_slice damage_key(uint32_t slot)
{
    static char keys[DAMAGE_SLOTS][32];
    static uint8_t sizes[DAMAGE_SLOTS];
    assert_true(slot < DAMAGE_SLOTS);
    char *key = keys[slot];
    if (sizes[slot] == 0) /* some keys are prefixes of others, and some share a long one */
        sizes[slot] = (uint8_t)(slot % 3 == 0 ? snprintf(key, sizeof keys[0], "k%03u", slot)
                                              : snprintf(key, sizeof keys[0], "k%03u/shared/prefix/%03u",
                                                         slot / 8 * 8, slot));
    return BOLE_SLICE(key, sizes[slot]);
}

TEST_UNUSED static bole_slice damage_value(uint64_t writer)
{
    static bole_slice values[DAMAGE_WRITERS_MAX];
    assert_true(writer < DAMAGE_WRITERS_MAX);
    if (values[writer].data != NULL)
        return values[writer];
    bl_prng prng;
    bl_prng_init(&prng, writer);
    size_t size = bl_prng_chance(&prng, 8) ? bl_prng_below(&prng, DAMAGE_VALUE_BYTES_MAX) : writer % 60;
    uint8_t *out = malloc(size + 1);
    assert_non_null(out);
    for (size_t i = 0; i < size; i++) /* compresses, a little */
        out[i] = (uint8_t)("damage repair "[i % 14] + (i % 5 == 0 ? bl_prng_below(&prng, 64) : 0));
    return values[writer] = BOLE_SLICE(out, size);
}

/* ---- Store ---------------------------------------------------------------------------------------------- */

/* Small: most values of a store stand in value segments. */
TEST_UNUSED static uint64_t damage_large_value_bytes = 24;

TEST_UNUSED static bole_options damage_options(bole_vfs *vfs)
{
    bole_options options = BOLE_OPTIONS_INIT;
    options.vfs = vfs;
    options.simulation_seed = 1; /* background work runs inside calls: every run is the same */
    options.memory_limit = 16 << 20;
    options.memtable_bytes = 32 << 10;
    options.large_value_bytes = damage_large_value_bytes;
    options.segment_bytes = 16 << 10;
    options.block_bytes = 1024;
    options.level0_runs = 4;
    options.compression = BOLE_COMPRESSION_LZ4;
    options.compression_upper = BOLE_COMPRESSION_ZSTD;
    options.log_level = BOLE_LOG_ERROR;
    options.reserve_bytes = 64 << 10; /* the least: nobody reads it, and damage there is damage in vain */
    return options;
}

/* One batch of 1 to 6 operations over both tables. */
TEST_UNUSED static void damage_write(bole_db *db, bole_table *second, damage_model *model, bl_prng *prng,
                                     bole_durability durability)
{
    bole_batch *batch;
    assert_ok(bole_batch_create(&batch), NULL);
    for (uint64_t i = 1 + bl_prng_below(prng, 6); i > 0; i--) {
        uint32_t table = (uint32_t)bl_prng_below(prng, DAMAGE_TABLES);
        uint32_t slot = (uint32_t)bl_prng_below(prng, DAMAGE_SLOTS);
        bole_table *handle = table == 0 ? NULL : second;
        uint64_t writer = ++model->writers;
        assert_true(writer < DAMAGE_WRITERS_MAX);
        model->slot_of[writer] = (uint16_t)(table * DAMAGE_SLOTS + slot);
        if (bl_prng_chance(prng, 5)) {
            assert_ok(bole_batch_delete(batch, handle, damage_key(slot)), NULL);
            writer = 0;
        } else {
            assert_ok(bole_batch_put(batch, handle, damage_key(slot), damage_value(writer)), NULL);
        }
        model->writer[table][slot] = writer;
    }
    bole_write_options options = BOLE_WRITE_OPTIONS_INIT;
    bole_error error = BOLE_ERROR_INIT;
    options.durability = durability;
    options.error = &error;
    assert_ok(bole_write(db, &options, batch), &error);
    bole_batch_destroy(batch);
}

/* Settings of its own, so that bole.conf is a file to damage too. */
TEST_UNUSED static void damage_write_file(bole_vfs *vfs, const char *name, const void *bytes, size_t size)
{
    char path[128];
    bole_file *file;
    bole_error error = BOLE_ERROR_INIT;
    snprintf(path, sizeof path, DAMAGE_STORE "/%s", name);
    assert_ok(vfs->open(vfs, path, BOLE_VFS_WRITE | BOLE_VFS_CREATE | BOLE_VFS_TRUNCATE, &file, &error),
              &error);
    assert_ok(vfs->write(file, 0, bytes, size, &error), &error);
    assert_ok(vfs->sync(file, &error), &error);
    assert_ok(vfs->close(file, &error), &error);
}

TEST_UNUSED static void damage_open(bole_vfs *disk, uint32_t flags, bole_db **db, bole_table **second)
{
    bole_options options = damage_options(disk);
    bole_error error = BOLE_ERROR_INIT;
    options.flags = flags;
    assert_ok(bole_open(DAMAGE_STORE, &options, db, &error), &error);
    bole_status status = bole_table_open(*db, "second", second, &error);
    if (status == BOLE_NOT_FOUND)
        status = bole_table_create(*db, "second", NULL, second, &error);
    assert_ok(status, &error);
}

/* `batches` of random history with a merge in the middle, closed cleanly: several levels, tombstones, values that
 * were overwritten, and a log with records in it. */
TEST_UNUSED static bole_vfs *damage_store_make(uint64_t seed, uint32_t batches, damage_model *model)
{
    static const char conf[] = "level0_runs = 5\nfilter_bits_per_key = 12\n";
    bole_vfs *disk;
    bole_db *db;
    bole_table *second;
    bole_error error = BOLE_ERROR_INIT;
    bl_prng prng;
    bl_prng_init(&prng, seed);
    *model = (damage_model){ .writers = 0 };
    assert_ok(bole_vfs_memory_create(seed, &disk), NULL);
    damage_open(disk, BOLE_CREATE, &db, &second);
    damage_write_file(disk, "bole.conf", conf, sizeof conf - 1);
    for (uint32_t i = 0; i < batches; i++) {
        damage_write(db, second, model, &prng, BOLE_DURABILITY_PROCESS);
        if (i == batches / 2)
            assert_ok(bole_compact(db, NULL, (bole_slice){ NULL, 0 }, (bole_slice){ NULL, 0 }, &error),
                      &error);
        if (i + 20 == batches)
            assert_ok(bole_flush(db, &error), &error);
    }
    bole_table_close(second);
    assert_ok(bole_close(db, &error), &error);
    return disk;
}

/* ---- Files ---------------------------------------------------------------------------------------------- */

static bool damage_note_file(void *context, const char *name)
{
    damage_files *files = context;
    assert_true(files->count < DAMAGE_FILES_MAX);
    damage_file *file = &files->file[files->count++];
    *file = (damage_file){ .size = 0 };
    snprintf(file->name, sizeof file->name, "%s", name);
    file->kind = bl_file_parse(name, &file->number);
    return true;
}

static int damage_by_name(const void *a, const void *b)
{
    return strcmp(((const damage_file *)a)->name, ((const damage_file *)b)->name);
}

TEST_UNUSED static void damage_files_read(bole_vfs *disk, damage_files *out)
{
    *out = (damage_files){ .count = 0 };
    bole_error error = BOLE_ERROR_INIT;
    assert_ok(disk->list(disk, DAMAGE_STORE, damage_note_file, out, &error), &error);
    qsort(out->file, out->count, sizeof out->file[0], damage_by_name);
    for (uint32_t i = 0; i < out->count; i++) {
        damage_file *file = &out->file[i];
        char path[128];
        bole_file *handle;
        uint64_t length = 0;
        snprintf(path, sizeof path, DAMAGE_STORE "/%s", file->name);
        assert_ok(disk->open(disk, path, BOLE_VFS_READ, &handle, &error), &error);
        assert_ok(disk->length(handle, &length, &error), &error);
        file->bytes = malloc(length + 1);
        assert_ok(disk->read(handle, 0, file->bytes, length, &file->size, &error), &error);
        assert_int_equal(file->size, length);
        assert_ok(disk->close(handle, &error), &error);
    }
}

TEST_UNUSED static void damage_files_free(damage_files *files)
{
    for (uint32_t i = 0; i < files->count; i++)
        free(files->file[i].bytes);
    files->count = 0;
}

/* A new disk with exactly these files. */
TEST_UNUSED static bole_vfs *damage_disk_of(const damage_files *files)
{
    bole_vfs *disk;
    bole_error error = BOLE_ERROR_INIT;
    assert_ok(bole_vfs_memory_create(1, &disk), NULL);
    assert_ok(disk->make_directory(disk, DAMAGE_STORE, &error), &error);
    for (uint32_t i = 0; i < files->count; i++)
        damage_write_file(disk, files->file[i].name, files->file[i].bytes, files->file[i].size);
    return disk;
}

/* ---- The judge ------------------------------------------------------------------------------------------ */

/* What came of one look at a store. */
typedef struct damage_verdict {
    bool refused;      /* it did not open */
    bool told;         /* it did, and some reads said BOLE_CORRUPT */
    uint64_t answered; /* reads that were answered */
    bole_error first;  /* the first refusal */
} damage_verdict;

static void damage_refusal(damage_verdict *verdict, const bole_error *error)
{
    if (verdict->first.status == BOLE_OK)
        verdict->first = *error;
}

/* A get answers truly or says that it cannot. */
static bool damage_judge_gets(bole_db *db, bole_table *table, const uint64_t *writers,
                              damage_verdict *verdict, char *why, size_t capacity)
{
    bole_buffer value = BOLE_BUFFER_INIT;
    bool good = true;
    for (uint32_t slot = 0; slot < DAMAGE_SLOTS && good; slot++) {
        bole_error error = BOLE_ERROR_INIT;
        bole_read_options options = BOLE_READ_OPTIONS_INIT;
        options.table = table;
        options.error = &error;
        bole_slice key = damage_key(slot), wanted = damage_value(writers[slot]);
        bole_status status = bole_get(db, &options, key, &value);
        if (status == BOLE_CORRUPT) {
            verdict->told = true;
            damage_refusal(verdict, &error);
            continue;
        }
        verdict->answered++;
        good = status == (writers[slot] == 0 ? BOLE_NOT_FOUND : BOLE_OK) &&
               (status != BOLE_OK ||
                (value.size == wanted.size && memcmp(value.data, wanted.data, wanted.size) == 0));
        if (!good)
            snprintf(why, capacity, "get of %s gives %s%s", (const char *)key.data, bole_status_name(status),
                     status == BOLE_OK ? " and another value" : "");
    }
    bole_buffer_free(&value);
    return good;
}

static int damage_by_key(const void *a, const void *b)
{
    return strcmp(damage_key(*(const uint32_t *)a).data, damage_key(*(const uint32_t *)b).data);
}

/* The slots in order of their keys. */
static const uint32_t *damage_order(void)
{
    static uint32_t order[DAMAGE_SLOTS];
    if (order[0] == order[1]) {
        for (uint32_t slot = 0; slot < DAMAGE_SLOTS; slot++)
            order[slot] = slot;
        qsort(order, DAMAGE_SLOTS, sizeof order[0], damage_by_key);
    }
    return order;
}

/* Is the iterator at the entry of `slot`? */
static bool damage_is_at(const bole_iterator *iterator, uint32_t slot, uint64_t writer)
{
    bole_slice key = bole_iterator_key(iterator), value = bole_iterator_value(iterator);
    bole_slice wanted_key = damage_key(slot), wanted = damage_value(writer);
    return key.size == wanted_key.size && memcmp(key.data, wanted_key.data, key.size) == 0 &&
           value.size == wanted.size && memcmp(value.data, wanted.data, value.size) == 0;
}

/* A scan shows the right entries in order, up to its end or to a BOLE_CORRUPT. */
static bool damage_judge_scan(bole_db *db, bole_table *table, const uint64_t *writers, bool backward,
                              damage_verdict *verdict, char *why, size_t capacity)
{
    const uint32_t *order = damage_order();
    bole_error error = BOLE_ERROR_INIT;
    bole_read_options options = BOLE_READ_OPTIONS_INIT;
    options.table = table;
    options.error = &error;
    bole_iterator *iterator;
    bole_status status = bole_iterator_create(db, &options, &iterator);
    if (status != BOLE_OK) {
        snprintf(why, capacity, "no iterator: %s", error.message);
        return false;
    }
    bool there = backward ? bole_iterator_seek_last(iterator) : bole_iterator_seek_first(iterator);
    bool good = true;
    uint32_t missing = 0;
    for (uint32_t i = 0; i < DAMAGE_SLOTS && good; i++) {
        uint32_t slot = order[backward ? DAMAGE_SLOTS - 1 - i : i];
        if (writers[slot] == 0)
            continue;
        if (!there) {
            missing++;
            continue;
        }
        good = damage_is_at(iterator, slot, writers[slot]);
        verdict->answered++;
        there = backward ? bole_iterator_prev(iterator) : bole_iterator_next(iterator);
        if (!good)
            snprintf(why, capacity, "a scan shows another entry than that of slot %u", slot);
    }
    status = bole_iterator_status(iterator);
    bole_iterator_destroy(iterator);
    if (good && status == BOLE_CORRUPT) {
        verdict->told = true;
        damage_refusal(verdict, &error);
    } else if (good && (status != BOLE_OK || there || missing > 0)) {
        snprintf(why, capacity, "a scan %s, with %u entries missing: %s %s",
                 there ? "shows too much" : "ends", missing, bole_status_name(status), error.message);
        good = false;
    }
    return good;
}

/* Open the store and ask it everything. False, with the reason in `why`, when it lies or fails in another way than
 * it should. The open may be refused with BOLE_CORRUPT, or with `also` (BOLE_OK: nothing else). */
TEST_UNUSED static bool damage_judge(bole_vfs *disk, const damage_model *model, bole_status also,
                                     damage_verdict *verdict, char *why, size_t capacity)
{
    *verdict = (damage_verdict){ .first = BOLE_ERROR_INIT };
    bole_options options = damage_options(disk);
    bole_error error = BOLE_ERROR_INIT;
    bole_db *db;
    bole_table *second = NULL;
    bole_status status = bole_open(DAMAGE_STORE, &options, &db, &error);
    if (status != BOLE_OK) {
        verdict->refused = true;
        verdict->first = error;
        if (status == BOLE_CORRUPT || (also != BOLE_OK && status == also))
            return true;
        snprintf(why, capacity, "open gives %s: %s", bole_status_name(status), error.message);
        return false;
    }
    status = bole_table_open(db, "second", &second, &error);
    bool good = status == BOLE_OK;
    if (!good)
        snprintf(why, capacity, "a table is lost: %s", error.message);
    for (uint32_t t = 0; t < DAMAGE_TABLES && good; t++) {
        bole_table *table = t == 0 ? NULL : second;
        good = damage_judge_gets(db, table, model->writer[t], verdict, why, capacity) &&
               damage_judge_scan(db, table, model->writer[t], false, verdict, why, capacity) &&
               damage_judge_scan(db, table, model->writer[t], true, verdict, why, capacity);
    }
    bole_table_close(second);
    status = bole_close(db, &error);
    if (good && status != BOLE_OK && status != BOLE_CORRUPT) {
        snprintf(why, capacity, "close gives %s: %s", bole_status_name(status), error.message);
        good = false;
    }
    return good;
}

#endif
