/* SPDX-License-Identifier: MIT */
/* fuzz_operations.c -- a row of operations on a whole store, on a disk in memory, beside a model.
 *
 * INPUT       u8 options, u8 seed of the background work's order, then operations: u8 what, and the bytes it takes.
 *             Keys are 48 that are hard to tell apart; a value is a length and a byte.
 * CHECKED     Every read of a key, of a row of keys, of an iterator's step in either direction, now and at a snapshot,
 *             says what the model says; also after closing, after the death of the process, and, once everything was
 *             synced, after a power cut. In the end the whole store is compared, forward and backward, and verified.
 *             Memory stays within the store's limit and some room. */
#include "fuzz.h"

#include "base/alloc.h"
#include "base/slice.h"
#include "platform/epoch.h"
#include "segment/compression.h"

#include <bole/bole_inspect.h>
#include <stdlib.h>
#include <string.h>

enum { KEYS = 48, TABLES = 2, OPERATIONS_MAX = 400, VALUE_BYTES_MAX = 4096, MEMORY_LIMIT = 16 << 20 };

typedef struct value {
    bool present;
    uint8_t fill;
    uint16_t size;
} value;

typedef struct moment {
    value of[TABLES][KEYS];
} moment;

typedef struct world {
    fuzz_input input;
    bole_vfs *disk;
    bole_options options;
    bole_db *db;
    bole_table *tables[TABLES]; /* [0] NULL: the default table; [1] NULL: there is none */
    moment now, then, shown;
    bole_snapshot *snapshot;
    bole_iterator *iterator;
    unsigned iterator_table, low, high; /* bounds: keys [low, high) */
    int at;                             /* -1: nowhere */
    bole_error error;
} world;

/* ---- Keys and values ---- */

static struct {
    uint8_t bytes[24];
    size_t size;
} keys[KEYS];

static int by_bytes(const void *a, const void *b)
{
    const uint8_t *left = a, *right = b;
    size_t left_size, right_size;
    memcpy(&left_size, left + sizeof keys[0].bytes, sizeof left_size);
    memcpy(&right_size, right + sizeof keys[0].bytes, sizeof right_size);
    return bl_slice_compare((bole_slice){ left, left_size }, (bole_slice){ right, right_size });
}

/* Prefixes of each other, equal heads, zeros and ones at the end. */
static void make_keys(void)
{
    static const char *const stems[] = {
        "", "a", "aaaa", "aaaab", "aaaaaaaa", "user/profile/", "\xff\xff\xff", "k0"
    };
    if (keys[KEYS - 1].size != 0)
        return;
    for (unsigned i = 0; i < KEYS; i++) {
        static const uint8_t ends[6][2] = { { 0, 0 },     { 0, 1 },   { 0xff, 0xff },
                                            { 'a', 'b' }, { 'c', 0 }, { 1, 0xff } };
        size_t stem = strlen(stems[i / 6]), more = i % 6 == 0 ? 0 : i % 6 == 1 ? 1 : 2;
        memcpy(keys[i].bytes, stems[i / 6], stem);
        memcpy(keys[i].bytes + stem, ends[i % 6], more);
        keys[i].size = stem + more;
    }
    qsort(keys, KEYS, sizeof keys[0], by_bytes);
    for (unsigned i = 1; i < KEYS; i++)
        fuzz_check(by_bytes(&keys[i - 1], &keys[i]) < 0);
}

static bole_slice key_of(unsigned key) { return (bole_slice){ keys[key].bytes, keys[key].size }; }

static bole_slice bytes_of(value v)
{
    static uint8_t bytes[VALUE_BYTES_MAX];
    memset(bytes, v.fill, v.size);
    return (bole_slice){ bytes, v.size };
}

static bool is_value(bole_slice got, value v)
{
    const uint8_t *bytes = got.data;
    if (got.size != v.size)
        return false;
    for (size_t i = 0; i < got.size; i++)
        if (bytes[i] != v.fill)
            return false;
    return true;
}

static unsigned take_key(world *w) { return fuzz_u8(&w->input) % KEYS; }

static value take_value(world *w)
{
    uint8_t size = fuzz_u8(&w->input), fill = fuzz_u8(&w->input);
    return (value){ true, fill, (uint16_t)(size < 200 ? size : (size - 199) * 70) };
}

/* A table that is there. */
static unsigned take_table(const world *w, uint8_t what)
{
    return (what & 0x80) != 0 && w->tables[1] != NULL ? 1 : 0;
}

#define CHECK_OK(w, call) fuzz_check_ok((call), &(w)->error)

/* ---- Life ---- */

static void open_store(world *w)
{
    CHECK_OK(w, bole_open(FUZZ_DIRECTORY "/db", &w->options, &w->db, &w->error));
    bole_status status = bole_table_open(w->db, "one", &w->tables[1], &w->error);
    fuzz_check(status == BOLE_OK || status == BOLE_NOT_FOUND);
}

static void let_go(world *w)
{
    bole_iterator_destroy(w->iterator);
    w->iterator = NULL;
    bole_snapshot_destroy(w->snapshot);
    w->snapshot = NULL;
    bole_table_close(w->tables[1]);
}

static void close_store(world *w)
{
    let_go(w);
    w->tables[1] = NULL;
    CHECK_OK(w, bole_close(w->db, &w->error));
    w->db = NULL;
}

/* The process dies, or the power goes when everything is synced. */
static void die(world *w, uint8_t mode)
{
    bole_vfs *survived = NULL;
    bole_crash_mode how = (bole_crash_mode)(mode % 4);
    bool had_table = w->tables[1] != NULL;
    if (how != BOLE_CRASH_KEEP_ALL)
        CHECK_OK(w, bole_sync(w->db, &w->error));
    fuzz_check_ok(bole_vfs_memory_crash(w->disk, how, mode, &survived), NULL);
    close_store(w);
    bole_vfs_destroy(w->disk);
    w->disk = w->options.vfs = survived;
    open_store(w);
    fuzz_check((w->tables[1] != NULL) == had_table);
}

/* ---- Writing ---- */

static void write_one(world *w, uint8_t what, bool deletes)
{
    unsigned t = take_table(w, what), key = take_key(w);
    bole_write_options options = BOLE_WRITE_OPTIONS_INIT;
    options.table = w->tables[t];
    options.error = &w->error;
    options.durability = (what & 0x40) != 0 ? BOLE_DURABILITY_POWER : BOLE_DURABILITY_DEFAULT;
    value v = deletes ? (value){ false, 0, 0 } : take_value(w);
    CHECK_OK(w, deletes ? bole_delete(w->db, &options, key_of(key))
                        : bole_put(w->db, &options, key_of(key), bytes_of(v)));
    w->now.of[t][key] = v;
}

static void write_batch(world *w, uint8_t what)
{
    bole_batch *batch = NULL;
    bole_write_options options = BOLE_WRITE_OPTIONS_INIT;
    options.error = &w->error;
    options.durability = (what & 0x40) != 0 ? BOLE_DURABILITY_POWER : BOLE_DURABILITY_PROCESS;
    fuzz_check_ok(bole_batch_create(&batch), NULL);
    for (unsigned count = fuzz_u8(&w->input) % 8; count > 0; count--) {
        uint8_t which = fuzz_u8(&w->input);
        unsigned t = take_table(w, which), key = take_key(w);
        value v = (which & 1) != 0 ? (value){ false, 0, 0 } : take_value(w);
        fuzz_check_ok(v.present ? bole_batch_put(batch, w->tables[t], key_of(key), bytes_of(v))
                                : bole_batch_delete(batch, w->tables[t], key_of(key)),
                      NULL);
        w->now.of[t][key] = v;
    }
    CHECK_OK(w, bole_write(w->db, &options, batch));
    bole_batch_destroy(batch);
}

static void change_table(world *w)
{
    if (w->tables[1] == NULL) {
        CHECK_OK(w, bole_table_create(w->db, "one", NULL, &w->tables[1], &w->error));
        return;
    }
    if (w->iterator != NULL && w->iterator_table == 1) {
        bole_iterator_destroy(w->iterator);
        w->iterator = NULL;
    }
    bole_snapshot_destroy(w->snapshot); /* of another table than the next one of that name */
    w->snapshot = NULL;
    CHECK_OK(w, bole_table_drop(w->db, "one", &w->error));
    bole_table_close(w->tables[1]);
    w->tables[1] = NULL;
    memset(w->now.of[1], 0, sizeof w->now.of[1]);
}

/* ---- Reading ---- */

static void read_one(world *w, uint8_t what)
{
    unsigned t = take_table(w, what), key = take_key(w);
    bool at_snapshot = (what & 0x40) != 0 && w->snapshot != NULL;
    value wanted = (at_snapshot ? &w->then : &w->now)->of[t][key];
    bole_read_options options = BOLE_READ_OPTIONS_INIT;
    bole_buffer got = BOLE_BUFFER_INIT;
    bole_view view = BOLE_VIEW_INIT;
    options.table = w->tables[t];
    options.snapshot = at_snapshot ? w->snapshot : NULL;
    options.error = &w->error;
    bole_status status = bole_get(w->db, &options, key_of(key), &got);
    fuzz_check(status == (wanted.present ? BOLE_OK : BOLE_NOT_FOUND));
    fuzz_check(!wanted.present || is_value((bole_slice){ got.data, got.size }, wanted));
    fuzz_check(bole_exists(w->db, &options, key_of(key)) == status);
    fuzz_check(bole_get_view(w->db, &options, key_of(key), &view) == status);
    fuzz_check(!wanted.present || is_value(view.value, wanted));
    bole_view_release(&view);
    bole_buffer_free(&got);
}

static void read_many(world *w, uint8_t what)
{
    enum { MANY = 8 };
    unsigned t = take_table(w, what), chosen[MANY];
    bole_slice wanted[MANY];
    bole_buffer got[MANY];
    bole_status statuses[MANY];
    bole_read_options options = BOLE_READ_OPTIONS_INIT;
    options.table = w->tables[t];
    options.error = &w->error;
    for (unsigned i = 0; i < MANY; i++) {
        chosen[i] = take_key(w);
        wanted[i] = key_of(chosen[i]);
        got[i] = (bole_buffer)BOLE_BUFFER_INIT;
    }
    CHECK_OK(w, bole_multi_get(w->db, &options, MANY, wanted, got, statuses));
    for (unsigned i = 0; i < MANY; i++) {
        value v = w->now.of[t][chosen[i]];
        fuzz_check(statuses[i] == (v.present ? BOLE_OK : BOLE_NOT_FOUND));
        fuzz_check(!v.present || is_value((bole_slice){ got[i].data, got[i].size }, v));
        bole_buffer_free(&got[i]);
    }
}

/* ---- The iterator ---- */

static void make_iterator(world *w, uint8_t what)
{
    unsigned first = take_key(w), second = take_key(w);
    bool at_snapshot = (what & 0x40) != 0 && w->snapshot != NULL;
    bole_read_options options = BOLE_READ_OPTIONS_INIT;
    bole_iterator_destroy(w->iterator);
    w->iterator_table = take_table(w, what);
    w->shown = at_snapshot ? w->then : w->now;
    w->low = first < second ? first : 0;
    w->high = first < second ? second : KEYS;
    w->at = -1;
    options.table = w->tables[w->iterator_table];
    options.snapshot = at_snapshot ? w->snapshot : NULL;
    options.error = &w->error;
    if (first < second) {
        options.lower_bound = key_of(first);
        options.upper_bound = key_of(second);
    }
    CHECK_OK(w, bole_iterator_create(w->db, &options, &w->iterator));
}

/* The first entry from `key` on in a direction, within the bounds; -1: none. */
static int find_shown(const world *w, int key, int by)
{
    const value *row = w->shown.of[w->iterator_table];
    if (by > 0 && key < (int)w->low)
        key = (int)w->low;
    if (by < 0 && key >= (int)w->high)
        key = (int)w->high - 1;
    for (; key >= (int)w->low && key < (int)w->high; key += by)
        if (row[key].present)
            return key;
    return -1;
}

static void check_position(const world *w, bool on)
{
    fuzz_check(on == (w->at >= 0) && bole_iterator_valid(w->iterator) == on);
    fuzz_check(bole_iterator_status(w->iterator) == BOLE_OK);
    if (!on)
        return;
    fuzz_check(bl_slice_equal(bole_iterator_key(w->iterator), key_of((unsigned)w->at)));
    fuzz_check(is_value(bole_iterator_value(w->iterator), w->shown.of[w->iterator_table][w->at]));
}

static void move_iterator(world *w, uint8_t what)
{
    if (w->iterator == NULL)
        return;
    unsigned key = what % 16 >= 2 && what % 16 < 4 ? take_key(w) : 0;
    switch (what % 16) {
    case 0:
        w->at = find_shown(w, 0, 1);
        check_position(w, bole_iterator_seek_first(w->iterator));
        return;
    case 1:
        w->at = find_shown(w, KEYS - 1, -1);
        check_position(w, bole_iterator_seek_last(w->iterator));
        return;
    case 2:
        w->at = find_shown(w, (int)key, 1);
        check_position(w, bole_iterator_seek(w->iterator, key_of(key)));
        return;
    case 3:
        w->at = find_shown(w, (int)key, -1);
        check_position(w, bole_iterator_seek_for_prev(w->iterator, key_of(key)));
        return;
    default: break;
    }
    int by = (what & 1) != 0 ? 1 : -1;
    for (unsigned steps = 1 + what / 16 % 4; steps > 0 && w->at >= 0; steps--) {
        w->at = find_shown(w, w->at + by, by);
        check_position(w, by > 0 ? bole_iterator_next(w->iterator) : bole_iterator_prev(w->iterator));
    }
}

/* ---- All of it ---- */

static void check_table(world *w, unsigned t)
{
    bole_read_options options = BOLE_READ_OPTIONS_INIT;
    bole_iterator_destroy(w->iterator);
    options.table = w->tables[t];
    w->iterator_table = t;
    w->shown = w->now;
    w->low = 0;
    w->high = KEYS;
    CHECK_OK(w, bole_iterator_create(w->db, &options, &w->iterator));
    w->at = find_shown(w, 0, 1);
    check_position(w, bole_iterator_seek_first(w->iterator));
    while (w->at >= 0) {
        w->at = find_shown(w, w->at + 1, 1);
        check_position(w, bole_iterator_next(w->iterator));
    }
    w->at = find_shown(w, KEYS - 1, -1);
    check_position(w, bole_iterator_seek_last(w->iterator));
    while (w->at >= 0) {
        w->at = find_shown(w, w->at - 1, -1);
        check_position(w, bole_iterator_prev(w->iterator));
    }
    bole_iterator_destroy(w->iterator);
    w->iterator = NULL;
}

static void one_operation(world *w)
{
    bole_slice open_end = { NULL, 0 };
    uint8_t what = fuzz_u8(&w->input);
    unsigned which = what % 32;
    if (which >= 29 && what >= 64)
        which = 0; /* what ends iterator and snapshot is rare, so that they live to see something */
    switch (which) {
    default: write_one(w, what, false); return;
    case 10:
    case 11:
    case 12: write_one(w, what, true); return;
    case 13:
    case 14: write_batch(w, what); return;
    case 15:
    case 16:
    case 17: read_one(w, what); return;
    case 18: read_many(w, what); return;
    case 19:
    case 20: make_iterator(w, what); return;
    case 21:
    case 22:
    case 23:
    case 24: move_iterator(w, fuzz_u8(&w->input)); return;
    case 25:
        bole_snapshot_destroy(w->snapshot);
        CHECK_OK(w, bole_snapshot_create(w->db, &w->snapshot, &w->error));
        w->then = w->now;
        return;
    case 26: CHECK_OK(w, bole_flush(w->db, &w->error)); return;
    case 27:
        CHECK_OK(w, bole_compact(w->db, w->tables[take_table(w, what)], open_end, open_end, &w->error));
        return;
    case 28:
        CHECK_OK(w, (what & 0x40) != 0 ? bole_sync(w->db, &w->error) : bole_wait_idle(w->db, &w->error));
        return;
    case 29: change_table(w); return;
    case 30:
        close_store(w);
        open_store(w);
        return;
    case 31: die(w, fuzz_u8(&w->input)); return;
    }
}

static void begin(world *w, uint8_t options, uint8_t seed)
{
    w->disk = fuzz_disk(1 + seed);
    w->options = BOLE_OPTIONS_INIT;
    w->options.flags = BOLE_CREATE | ((options & 1) != 0 ? BOLE_NO_SIGBUS_HANDLER : 0);
    w->options.vfs = w->disk;
    w->options.simulation_seed = 1 + (uint64_t)seed;
    w->options.memory_limit = MEMORY_LIMIT;
    w->options.memtable_bytes = (options & 2) != 0 ? 4096 : 16384;
    w->options.large_value_bytes = seed % 4 == 0 ? 4096 : 4u << seed % 5;
    w->options.segment_bytes = (options & 4) != 0 ? 4096 : 65536;
    w->options.block_bytes = (options & 8) != 0 ? 1024 : 4096;
    w->options.level0_runs = 1 + (uint32_t)(options >> 4 & 3);
    w->options.compression = (bole_compression)(1 + options / 64 % 3);
    w->options.compression_upper = (options & 32) != 0 ? BOLE_COMPRESSION_LZ4 : BOLE_COMPRESSION_NONE;
    w->options.durability = (options & 128) != 0 ? BOLE_DURABILITY_POWER : BOLE_DURABILITY_PROCESS;
    open_store(w);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    make_keys();
    bl_epoch_wait(); /* registers this thread, whose slot stays */
    fuzz_memory_begin();
    world *w = calloc(1, sizeof *w);
    fuzz_check(w != NULL);
    w->input = (fuzz_input){ data, size };
    uint8_t options = fuzz_u8(&w->input), seed = fuzz_u8(&w->input);
    begin(w, options, seed);
    for (unsigned i = 0; i < OPERATIONS_MAX && w->input.size != 0; i++)
        one_operation(w);
    check_table(w, 0);
    if (w->tables[1] != NULL)
        check_table(w, 1);
    close_store(w);
    w->options.flags = BOLE_READ_ONLY;
    bole_verify_report report;
    CHECK_OK(w, bole_verify(FUZZ_DIRECTORY "/db", &w->options, NULL, NULL, &report, &w->error));
    fuzz_check(report.problems == 0);
    bole_vfs_destroy(w->disk);
    free(w);
    bl_compression_release();
    fuzz_memory_end(size, 64, MEMORY_LIMIT + (32 << 20)); /* the disk is in memory, too */
    return 0;
}
