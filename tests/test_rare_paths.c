/* SPDX-License-Identifier: MIT */
/* test_rare_paths.c -- what seldom happens to a store: no room for a block, no links, no slot for a reader, an unknown
 * order, a foreign file, bounds that contradict each other. Each is seen through the public calls. */
#include "test.h"

#include <bole/bole_inspect.h>
#include <bole/bole_repair.h>
#include <bole/bole_vfs.h>
#include <bole/key_value_store.h>
#include <pthread.h>

#include "base/alloc.h"
#include "base/assert.h"
#include "base/hash.h"
#include "base/prng.h"
#include "engine/log_structured_store.h"
#include "log/log_file.h"

#ifdef BL_CHECKS
#define assert_marked(name) assert_true(bl_mark_count(name) > 0)
#else
#define assert_marked(name) ((void)0)
#endif

static bole_slice text(const char *from) { return (bole_slice){ from, strlen(from) }; }

/* ---- a disk in memory, some of whose calls can be made to fail ---- */

typedef struct world {
    bole_vfs *disk;
    bole_vfs vfs; /* the disk, but for the calls below */
    bole_options options;
    bole_db *db;
    bole_error error;
} world;

static struct {
    bole_vfs *disk;
    _Atomic bool no_links;
    const char *_Atomic unwritable; /* the end of a path that cannot be opened for writing */
    bole_status unwritable_status;
    const char *_Atomic broken; /* the end of a path: its length and its bytes cannot be read */
    bole_file *_Atomic broken_file;
    _Atomic bool has_length;       /* its length can be read after all */
    _Atomic unsigned reads;        /* so many reads of anything fail */
    _Atomic unsigned reads_before; /* and so many go well before */
    bole_db *_Atomic crowded;      /* each read drives all other blocks out of its memory */
    _Atomic bool no_lock_tests;
    _Atomic uint64_t segment_bytes_max; /* writes of a segment behind it fail; 0: none do */
    bole_file *segments[1024];          /* that are written: any thread, under the mutex */
    _Atomic bool large_once;            /* the next write of more than 100,000 bytes to a segment fails */
    _Atomic unsigned refused;
} fails;
static pthread_mutex_t segments_mutex = PTHREAD_MUTEX_INITIALIZER;

static bool ends_with(const char *path, const char *end)
{
    return end != NULL && strlen(path) >= strlen(end) && strcmp(path + strlen(path) - strlen(end), end) == 0;
}

static bole_status refuse(bole_error *error, bole_status status, const char *what)
{
    fails.refused++;
    if (error != NULL) {
        error->status = status;
        snprintf(error->message, sizeof error->message, "%s", what);
    }
    return status;
}

/* A file that is opened may stand where a closed one stood. */
static void note_segment(bole_file *file, bool is_one)
{
    pthread_mutex_lock(&segments_mutex);
    size_t free_place = 0;
    for (size_t i = 0; i < sizeof fails.segments / sizeof fails.segments[0]; i++) {
        if (fails.segments[i] == file)
            fails.segments[i] = NULL;
        if (fails.segments[i] == NULL)
            free_place = i;
    }
    if (is_one)
        fails.segments[free_place] = file;
    pthread_mutex_unlock(&segments_mutex);
}

static bool is_segment(bole_file *file)
{
    bool found = false;
    pthread_mutex_lock(&segments_mutex);
    for (size_t i = 0; i < sizeof fails.segments / sizeof fails.segments[0]; i++)
        found |= fails.segments[i] == file;
    pthread_mutex_unlock(&segments_mutex);
    return found;
}

static bole_status open_or_not(bole_vfs *vfs, const char *path, uint32_t flags, bole_file **out,
                               bole_error *error)
{
    if (ends_with(path, fails.unwritable) && (flags & BOLE_VFS_WRITE) != 0)
        return refuse(error, fails.unwritable_status, "it may not be written");
    bole_status status = fails.disk->open(vfs, path, flags, out, error);
    if (status == BOLE_OK && ends_with(path, fails.broken))
        fails.broken_file = *out;
    if (status == BOLE_OK)
        note_segment(*out, (ends_with(path, ".seg") || ends_with(path, ".seg.tmp")) &&
                               (flags & BOLE_VFS_CREATE) != 0);
    return status;
}

static bole_status link_or_not(bole_vfs *vfs, const char *from, const char *to, bole_error *error)
{
    return fails.no_links ? refuse(error, BOLE_UNSUPPORTED, "no links here")
                          : fails.disk->link(vfs, from, to, error);
}

static bole_status length_or_not(bole_file *file, uint64_t *out, bole_error *error)
{
    return file == fails.broken_file && !fails.has_length ? refuse(error, BOLE_IO, "no length")
                                                          : fails.disk->length(file, out, error);
}

static bool take_one(_Atomic unsigned *of)
{
    unsigned left = *of;
    while (left != 0 && !atomic_compare_exchange_weak(of, &left, left - 1))
        ;
    return left != 0;
}

static void drive_out(bole_db *db)
{
    const uint64_t everything = UINT64_C(1) << 40;
    bl_memory_budget_force(db->environment.budget, BL_MEMORY_WORK, everything);
    for (int i = 0; i < 8; i++) /* what was read lately is passed over some times */
        bl_frame_cache_trim(db->environment.cache);
    bl_memory_budget_release(db->environment.budget, BL_MEMORY_WORK, everything);
}

static bole_status read_or_not(bole_file *file, uint64_t offset, void *data, size_t length, size_t *got,
                               bole_error *error)
{
    bool fails_now = !take_one(&fails.reads_before) && take_one(&fails.reads);
    bole_db *crowded = fails.crowded;
    if (crowded != NULL)
        drive_out(crowded);
    return file == fails.broken_file || fails_now ? refuse(error, BOLE_IO, "no bytes")
                                                  : fails.disk->read(file, offset, data, length, got, error);
}

static bole_status lock_test_or_not(bole_file *file, uint64_t slot, bool *locked, int64_t *pid,
                                    bole_error *error)
{
    return fails.no_lock_tests ? refuse(error, BOLE_IO, "no locks are shown")
                               : fails.disk->lock_test(file, slot, locked, pid, error);
}

static bole_status write_or_not(bole_file *file, uint64_t offset, const void *data, size_t length,
                                bole_error *error)
{
    if (fails.segment_bytes_max != 0 && offset + length > fails.segment_bytes_max && is_segment(file))
        return refuse(error, BOLE_IO, "no more of this segment");
    if (fails.large_once && length > 100000 && is_segment(file)) {
        fails.large_once = false;
        return refuse(error, BOLE_IO, "not this block");
    }
    return fails.disk->write(file, offset, data, length, error);
}

static int set_up(void **state)
{
    world *w = calloc(1, sizeof *w);
    w->error = (bole_error)BOLE_ERROR_INIT;
    assert_ok(bole_vfs_memory_create(1, &w->disk), NULL);
    memset(&fails, 0, sizeof fails);
    fails.disk = w->disk;
    w->vfs = *w->disk;
    w->vfs.open = open_or_not;
    w->vfs.link = link_or_not;
    w->vfs.length = length_or_not;
    w->vfs.read = read_or_not;
    w->vfs.lock_test = lock_test_or_not;
    w->vfs.write = write_or_not;
    w->options = BOLE_OPTIONS_INIT;
    w->options.flags = BOLE_CREATE;
    w->options.vfs = &w->vfs;
    w->options.memory_limit = 16 << 20;
    w->options.memtable_bytes = 65536;
    w->options.sync_interval_ms = 10;
    assert_ok(bole_open("store", &w->options, &w->db, &w->error), &w->error);
    *state = w;
    return 0;
}

static int tear_down(void **state)
{
    world *w = *state;
    assert_ok(bole_close(w->db, &w->error), &w->error);
    bole_vfs_destroy(w->disk);
    free(w);
    return 0;
}

static void refused(world *w, bole_status wanted, bole_status status, const char *part)
{
    assert_status(wanted, status, &w->error);
    if (strstr(w->error.message, part) == NULL)
        fail_msg("the story \"%s\" does not name \"%s\"", w->error.message, part);
    w->error = (bole_error)BOLE_ERROR_INIT;
}

static void put(bole_db *db, const char *key, const char *value)
{
    assert_ok(bole_put(db, NULL, text(key), text(value)), NULL);
}

static void assert_value(bole_db *db, const bole_snapshot *snapshot, const char *key, const char *value)
{
    bole_read_options options = BOLE_READ_OPTIONS_INIT;
    bole_error error = BOLE_ERROR_INIT;
    options.snapshot = snapshot;
    options.error = &error;
    bole_buffer got = BOLE_BUFFER_INIT;
    bole_status status = bole_get(db, &options, text(key), &got);
    assert_status(value == NULL ? BOLE_NOT_FOUND : BOLE_OK, status, &error);
    if (value != NULL) {
        assert_int_equal(got.size, strlen(value));
        assert_memory_equal(got.data, value, got.size);
    }
    bole_buffer_free(&got);
}

static void compact(world *w)
{
    assert_ok(bole_compact(w->db, NULL, (bole_slice){ 0 }, (bole_slice){ 0 }, &w->error), &w->error);
}

static void open_again(world *w)
{
    assert_ok(bole_close(w->db, &w->error), &w->error);
    assert_ok(bole_open("store", &w->options, &w->db, &w->error), &w->error);
}

static bool count_segments(void *context, const char *name)
{
    *(unsigned *)context += ends_with(name, ".seg");
    return true;
}

static unsigned segments_of(world *w, const char *directory)
{
    unsigned count = 0;
    assert_ok(w->disk->list(w->disk, directory, count_segments, &count, &w->error), &w->error);
    return count;
}

/* Files that no reader needs go with the next tick. */
static void wait_for_segments(world *w, unsigned wanted)
{
    for (int i = 0; i < 60000 && segments_of(w, "store") != wanted; i++)
        usleep(1000);
    assert_int_equal(segments_of(w, "store"), wanted);
}

/* ---- checkpoints ---- */

static void a_checkpoint_copies_where_nothing_can_be_linked(void **state)
{
    world *w = *state;
    put(w->db, "a", "1");
    assert_ok(bole_flush(w->db, &w->error), &w->error);
    put(w->db, "b", "2");
    fails.no_links = true;
    assert_ok(bole_checkpoint(w->db, "copy", &w->error), &w->error);
    assert_marked("checkpoint copies a segment");
    assert_true(fails.refused > 0); /* one a segment, each of which is there */
    assert_int_equal(segments_of(w, "copy"), fails.refused);
    put(w->db, "a", "other");
    compact(w);
    bole_db *copy;
    assert_ok(bole_open("copy", &w->options, &copy, &w->error), &w->error);
    assert_value(copy, NULL, "a", "1");
    assert_value(copy, NULL, "b", "2");
    put(copy, "b", "of the copy");
    assert_value(w->db, NULL, "b", "2");
    assert_ok(bole_close(copy, &w->error), &w->error);
}

static void a_checkpoint_goes_where_nothing_is(void **state)
{
    world *w = *state;
    put(w->db, "a", "1");
    refused(w, BOLE_INVALID, bole_checkpoint(w->db, NULL, &w->error), "empty");
    refused(w, BOLE_INVALID, bole_checkpoint(w->db, "", &w->error), "empty");
    refused(w, BOLE_EXISTS, bole_checkpoint(w->db, "store", &w->error), "store");
    char path[6000];
    memset(path, 'p', sizeof path);
    path[sizeof path - 1] = '\0';
    refused(w, BOLE_TOO_LARGE, bole_checkpoint(w->db, path, &w->error), "too long");
    bole_db *db; /* nor opens a store there, with options or without */
    refused(w, BOLE_TOO_LARGE, bole_open(path, &w->options, &db, &w->error), "too long");
    refused(w, BOLE_TOO_LARGE, bole_open(path, NULL, &db, &w->error), "too long");
    refused(w, BOLE_INVALID, bole_open("", NULL, &db, &w->error), "empty");
    refused(w, BOLE_TOO_LARGE, bole_repair(path, "new", &w->options, 0, NULL, NULL, NULL, &w->error),
            "too long");
    refused(w, BOLE_TOO_LARGE, bole_repair("store", path, &w->options, 0, NULL, NULL, NULL, &w->error),
            "too long");
    /* What a checkpoint that died left is in nobody's way. */
    assert_ok(w->disk->make_directory(w->disk, "copy.tmp", NULL), NULL);
    assert_ok(bole_checkpoint(w->db, "copy", &w->error), &w->error);
    bool is_directory;
    assert_status(BOLE_NOT_FOUND, w->disk->exists(w->disk, "copy.tmp", &is_directory, NULL), NULL);
}

/* ---- memory that is full of what cannot be let go ---- */

enum { LARGE_KEYS = 1500, LARGE_BYTES = 3000 };

static void name_large(char key[16], char value[LARGE_BYTES + 1], int i)
{
    snprintf(key, 16, "key%05d", i);
    memset(value, 'a' + i % 26, LARGE_BYTES);
    snprintf(value + LARGE_BYTES - 8, 9, "%08u", (unsigned)i % 100000000u);
}

static void reads_need_no_room(world *w, uint64_t large_value_bytes)
{
    w->options.memory_limit = 4 << 20;
    w->options.large_value_bytes = large_value_bytes;
    w->options.simulation_seed =
        1; /* no merge of an idle store begins meanwhile, and takes the room of the blocks */
    open_again(w);
    bole_snapshot *snapshot = NULL;
    char key[16], value[LARGE_BYTES + 1];
    for (int round = 0; round < 2;
         round++) { /* two runs: the newer holds one key in three, and some deletes */
        for (int i = 0; i < LARGE_KEYS; i += round == 0 ? 1 : 3) {
            name_large(key, value, i);
            if (round == 1 && i % 2 == 1)
                assert_ok(bole_delete(w->db, NULL, text(key)), NULL);
            else
                assert_ok(bole_put(w->db, NULL, text(key), text(value)), NULL);
        }
        if (round == 0) {
            compact(w);
            assert_ok(bole_snapshot_create(w->db, &snapshot, &w->error), &w->error); /* keeps the deletes */
        } else {
            assert_ok(bole_flush(w->db, &w->error), &w->error);
        }
    }
    assert_ok(bole_wait_idle(w->db, &w->error), &w->error);

    static bole_view views[LARGE_KEYS];
    bole_read_options options = BOLE_READ_OPTIONS_INIT;
    options.error = &w->error;
    int held = 0, pinned = 0;
    for (int i = 1; i < LARGE_KEYS; i += 1 + (i % 3 == 2), held++) { /* not in the newer run */
        views[held] = (bole_view)BOLE_VIEW_INIT;
        name_large(key, value, i);
        bole_status status = bole_get_view(w->db, &options, text(key), &views[held]);
        if (status == BOLE_MEMORY_PINNED) {
            pinned++;
            break;
        }
        assert_ok(status, &w->error);
    }
    assert_int_equal(pinned, 1); /* a view must stay in place, so it is refused, and says why */
    assert_true(held > 100);
    for (int i = 0; i < LARGE_KEYS; i++) { /* a copy needs no place */
        name_large(key, value, i);
        bool is_deleted = i % 3 == 0 && i % 2 == 1;
        assert_value(w->db, NULL, key, is_deleted ? NULL : value);
        assert_value(w->db, snapshot, key, value);
        assert_status(is_deleted ? BOLE_NOT_FOUND : BOLE_OK, bole_exists(w->db, &options, text(key)),
                      &w->error);
        key[7] = 'x'; /* between two keys */
        assert_value(w->db, NULL, key, NULL);
    }
    assert_marked("read without the cache");
    uint64_t told = 0, unread = 0;
    for (int i = 1; i < LARGE_KEYS; i += 12) { /* what fails is told: the reads, each allocation */
        name_large(key, value, i);
        bole_buffer got = BOLE_BUFFER_INIT;
        fails.reads = UINT32_MAX;
        bole_status from_disk = bole_get(w->db, &options, text(key), &got);
        fails.reads = 0;
        if (from_disk != BOLE_OK) { /* it is not in memory */
            refused(w, BOLE_IO, from_disk, "no bytes");
            unread++;
        }
        for (uint64_t at = 0, more = 1; more != 0; at++) {
            bl_alloc_fail_at(at, 1);
            bole_status status = bole_get(w->db, &options, text(key), &got);
            more = bl_alloc_calls() > at;
            bl_alloc_fail_at(UINT64_MAX, 0);
            if (status != BOLE_OK) {
                refused(w, BOLE_NO_MEMORY, status, "");
                told++;
            } else {
                assert_int_equal(got.size, LARGE_BYTES);
                assert_memory_equal(got.data, value, LARGE_BYTES);
            }
            bole_buffer_free(&got);
        }
    }
    assert_true(told > 0 && unread > 0);
    bole_snapshot_destroy(snapshot);
    for (int i = 0, at = 1; i < held; i++, at += 1 + (at % 3 == 2)) {
        name_large(key, value, at);
        assert_int_equal(views[i].value.size, LARGE_BYTES);
        assert_memory_equal(views[i].value.data, value, LARGE_BYTES); /* what is held stayed as it was */
        bole_view_release(&views[i]);
    }
    name_large(key, value, LARGE_KEYS - 1);
    bole_view view = BOLE_VIEW_INIT;
    assert_ok(bole_get_view(w->db, &options, text(key), &view), &w->error); /* with room again */
    assert_memory_equal(view.value.data, value, LARGE_BYTES);
    bole_view_release(&view);
}

static void reads_need_no_room_in_the_cache(void **state) { reads_need_no_room(*state, UINT64_MAX); }
static void values_kept_apart_need_no_room_in_the_cache(void **state) { reads_need_no_room(*state, 1000); }

/* Goal: a read whose blocks drive each other out ends: a copy is made without the cache, a view is refused; each of its
 * reads that fails is told. Method: a value that is kept apart, so that the block of its key and its own are needed,
 * and a snapshot, for which no hint leads past the first. */
static void blocks_that_drive_each_other_out(void **state)
{
    world *w = *state;
    static char value[20000];
    memset(value, 'v', sizeof value);
    bole_slice key = text("key"), wanted = { value, sizeof value };
    w->options.simulation_seed = 1; /* nothing else asks for memory meanwhile */
    open_again(w);
    assert_ok(bole_put(w->db, NULL, key, wanted), NULL);
    compact(w);
    assert_ok(bole_wait_idle(w->db, &w->error), &w->error);
    bole_snapshot *snapshot;
    bole_view view = BOLE_VIEW_INIT;
    bole_buffer got = BOLE_BUFFER_INIT;
    assert_ok(bole_snapshot_create(w->db, &snapshot, &w->error), &w->error);
    bole_read_options options = BOLE_READ_OPTIONS_INIT;
    options.snapshot = snapshot;
    options.error = &w->error;
    assert_int_equal(segments_of(w, "store"), 2);
    drive_out(w->db);
    fails.crowded = w->db;
    refused(w, BOLE_MEMORY_PINNED, bole_get_view(w->db, &options, key, &view), "the blocks of one read");
    unsigned told = 0;
    for (bool failed = true; failed; told += failed) {
        fails.reads_before = told;
        fails.reads = 1;
        bole_status status = bole_get(w->db, &options, key, &got);
        failed = fails.reads == 0;
        fails.reads = fails.reads_before = 0;
        if (failed)
            refused(w, BOLE_IO, status, "no bytes");
        else
            assert_ok(status, &w->error);
    }
    fails.crowded = NULL;
    assert_true(told > 64); /* so often a read tries before it goes without */
    assert_marked("read without the cache");
    assert_true(bl_slice_equal((bole_slice){ got.data, got.size }, wanted));
    assert_ok(bole_get_view(w->db, &options, key, &view), &w->error);
    assert_true(bl_slice_equal(view.value, wanted));
    bole_view_release(&view);
    bole_buffer_free(&got);
    bole_snapshot_destroy(snapshot);
}

/* Goal: a large value that was flushed, or read, has a hint to where it stands; small ones look for none and leave
 * none. */
static void a_large_value_has_a_hint(void **state)
{
    world *w = *state;
    const bl_value_hints *hints = bl_frame_cache_hints(w->db->environment.cache);
    bole_slice key = BOLE_STR("large"), small = BOLE_STR("small");
    uint64_t hash = bl_hash(key.data, key.size), address = (UINT64_C(1) << 48) - 1;
    uint64_t small_hash = bl_hash(small.data, small.size);
    char *large = calloc(1, 20000);
    bole_view view;
    put(w->db, "small", "value");
    assert_ok(bole_put(w->db, NULL, key, bl_slice(large, 20000)), NULL);
    assert_ok(bole_get_view(w->db, NULL, key, &view), NULL);
    bole_view_release(&view);
    assert_null(bl_value_hint_line_of(hints, hash)); /* a memtable has it */
    assert_ok(bole_flush(w->db, &w->error), &w->error);
    const bl_value_hint *hint = bl_value_hint_of(bl_value_hint_line_of(hints, hash), hash);
    assert_non_null(hint);
    assert_int_equal(hint->record & address, 0);
    uint64_t written = hint->value;
    assert_ok(bole_get_view(w->db, NULL, small, &view), NULL);
    bole_view_release(&view);
    assert_null(bl_value_hint_of(bl_value_hint_line_of(hints, small_hash), small_hash));
    assert_int_equal(hint->vouch, 0); /* flush leaves no place: the list of segments changes behind it */
    assert_ok(bole_get_view(w->db, NULL, key, &view), NULL);
    uint64_t last = (uint64_t)((uintptr_t)view.value.data + view.value.size - 1 - (uintptr_t)view.pin[2]) /
                    64;
    assert_int_equal(hint->value, last << 48 | (uintptr_t)view.pin[2]);
    assert_int_equal(hint->value, written);
    assert_true((hint->record & address) != 0);
    assert_true(hint->vouch != 0);
    bole_view_release(&view);
    free(large);
}

enum { HINTED = 20000 };

static void check_hinted(world *w, bole_table *table, const bole_snapshot *snapshot, char wanted)
{
    bole_read_options options = BOLE_READ_OPTIONS_INIT;
    options.table = table;
    options.snapshot = snapshot;
    bole_buffer value = BOLE_BUFFER_INIT;
    for (int again = 0; again < 3; again++) { /* by search, then as the hint says */
        bole_status status = bole_get(w->db, &options, BOLE_STR("key"), &value);
        assert_status(wanted == 0 ? BOLE_NOT_FOUND : BOLE_OK, status, NULL);
        assert_int_equal(value.size, wanted == 0 ? 0 : HINTED);
        for (size_t i = 0; i < value.size; i++)
            assert_int_equal(((const char *)value.data)[i], wanted);
    }
    bole_buffer_free(&value);
}

static void put_hinted(world *w, bole_table *table, char byte)
{
    char value[HINTED];
    bole_write_options options = BOLE_WRITE_OPTIONS_INIT;
    options.table = table;
    memset(value, byte, sizeof value);
    assert_ok(bole_put(w->db, &options, BOLE_STR("key"), bl_slice(value, HINTED)), NULL);
}

/* Goal: a hint leads to the newest value of its table only, and spares the search: through overwriting, flush, merge,
 * deletion, and beside a snapshot of before. */
static void a_hint_never_leads_to_an_old_value(void **state)
{
    world *w = *state;
    bole_table *other;
    bole_snapshot *before;
    bole_statistics searched = BOLE_STATISTICS_INIT, hinted = BOLE_STATISTICS_INIT;
    assert_ok(bole_table_create(w->db, "other", NULL, &other, &w->error), &w->error);
    put_hinted(w, NULL, 'a');
    put_hinted(w, other, 'z');
    assert_ok(bole_flush(w->db, &w->error), &w->error);
    check_hinted(w, NULL, NULL, 'a');
    assert_ok(bole_stats(w->db, &searched, NULL), NULL);
    check_hinted(w, NULL, NULL, 'a');
    assert_ok(bole_stats(w->db, &hinted, NULL), NULL);
    assert_int_equal(hinted.filter_probes, searched.filter_probes);
    assert_marked("value looked for by its hint");
    bole_buffer value = BOLE_BUFFER_INIT;
    for (int i = 0; i < 6000; i++) /* few search all the same */
        assert_ok(bole_get(w->db, NULL, BOLE_STR("key"), &value), NULL);
    bole_buffer_free(&value);
    assert_ok(bole_stats(w->db, &searched, NULL), NULL);
    assert_in_range(searched.filter_probes - hinted.filter_probes, 5, 600);
    check_hinted(w, other, NULL, 'z');
    check_hinted(w, NULL, NULL, 'a');
    assert_ok(bole_snapshot_create(w->db, &before, &w->error), &w->error);
    put_hinted(w, NULL, 'b');
    check_hinted(w, NULL, NULL, 'b'); /* in the memtable */
    check_hinted(w, NULL, before, 'a');
    check_hinted(w, NULL, NULL, 'b');
    for (int way = 0; way < 2; way++) {
        assert_ok(way == 0 ? bole_flush(w->db, &w->error)
                           : bole_compact(w->db, NULL, bl_slice(NULL, 0), bl_slice(NULL, 0), &w->error),
                  &w->error);
        check_hinted(w, NULL, NULL, 'b');
        check_hinted(w, NULL, before, 'a');
        check_hinted(w, NULL, NULL, 'b');
        check_hinted(w, other, NULL, 'z');
    }
    bole_snapshot_destroy(before);
    assert_ok(bole_delete(w->db, NULL, BOLE_STR("key")), NULL);
    check_hinted(w, NULL, NULL, 0);
    assert_ok(bole_flush(w->db, &w->error), &w->error);
    check_hinted(w, NULL, NULL, 0);
    put_hinted(w, NULL, 'c');
    assert_ok(bole_flush(w->db, &w->error), &w->error);
    check_hinted(w, NULL, NULL, 'c');
    check_hinted(w, other, NULL, 'z');
    bole_table_close(other);
}

/* Goal: what a hint leads to may have left the memory: then it is looked for, and comes again. */
static void a_hinted_value_may_be_gone_from_memory(void **state)
{
    enum { MANY = 600 };
    world *w = *state;
    w->options.memory_limit = 4 << 20;
    open_again(w);
    char key[16], *large = malloc(HINTED);
    bole_buffer value = BOLE_BUFFER_INIT;
    for (int i = 0; i < MANY; i++) {
        snprintf(key, sizeof key, "%04d", i);
        memset(large, 'a' + i % 26, HINTED);
        assert_ok(bole_put(w->db, NULL, text(key), bl_slice(large, HINTED)), NULL);
    }
    assert_ok(bole_flush(w->db, &w->error), &w->error);
    assert_ok(bole_wait_idle(w->db, &w->error), &w->error);
    for (int i = 0; i < 3 * MANY; i++) { /* each of the first ones twice, then those behind them: they go */
        int number = i / 2 % MANY;
        snprintf(key, sizeof key, "%04d", number);
        assert_ok(bole_get(w->db, NULL, text(key), &value), NULL);
        assert_int_equal(value.size, HINTED);
        assert_int_equal(((const char *)value.data)[HINTED - 1], 'a' + number % 26);
    }
    bole_buffer_free(&value);
    free(large);
}

/* ---- opening ---- */

static void flip_a_byte_of_a_segment(world *w)
{
    const char *path = NULL;
    static char found[300];
    for (int number = 1; number < 100 && path == NULL; number++) {
        bool is_directory;
        snprintf(found, sizeof found, "store/%06d.seg", number);
        if (w->disk->exists(w->disk, found, &is_directory, NULL) == BOLE_OK)
            path = found;
    }
    assert_non_null(path);
    bole_file *file;
    uint8_t byte;
    size_t got;
    assert_ok(w->disk->open(w->disk, path, BOLE_VFS_READ | BOLE_VFS_WRITE, &file, &w->error), &w->error);
    assert_ok(w->disk->read(file, 100, &byte, 1, &got, &w->error), &w->error);
    byte ^= 0x10;
    assert_ok(w->disk->write(file, 100, &byte, 1, &w->error), &w->error);
    assert_ok(w->disk->close(file, &w->error), &w->error);
}

static void a_paranoid_open_looks_at_every_block(void **state)
{
    world *w = *state;
    put(w->db, "key",
        "a value that is long enough to have a byte at 100, whatever stands before it in the block of "
        "the segment, and then some more of it");
    compact(w);
    w->options.flags |= BOLE_PARANOID;
    open_again(w);
    assert_ok(bole_close(w->db, &w->error), &w->error);
    flip_a_byte_of_a_segment(w);
    bole_db *db;
    refused(w, BOLE_CORRUPT, bole_open("store", &w->options, &db, &w->error), ".seg");
    assert_null(db);
    w->options.flags &= ~(uint32_t)BOLE_PARANOID; /* another open believes until it reads */
    assert_ok(bole_open("store", &w->options, &w->db, &w->error), &w->error);
    bole_read_options options = BOLE_READ_OPTIONS_INIT;
    options.error = &w->error;
    bole_buffer got = BOLE_BUFFER_INIT;
    refused(w, BOLE_CORRUPT, bole_get(w->db, &options, BOLE_STR("key"), &got), ".seg");
    bole_buffer_free(&got);
}

static int backward(void *context, bole_slice a, bole_slice b)
{
    (void)context;
    size_t least = a.size < b.size ? a.size : b.size;
    int order = memcmp(b.data, a.data, least);
    return order != 0 ? order : (b.size > a.size) - (b.size < a.size);
}

static const bole_comparator reversed = { .name = "test.reversed", .compare = backward };

static void an_order_that_nobody_knows_is_no_order(void **state)
{
    world *w = *state;
    bole_table *table;
    const bole_comparator *known[] = { &reversed, NULL };
    w->options.comparators = known;
    open_again(w);
    assert_ok(bole_table_create(w->db, "backward", &reversed, &table, &w->error), &w->error);
    bole_read_options options = BOLE_READ_OPTIONS_INIT;
    options.table = table;
    options.error = &w->error;
    options.prefix = BOLE_STR("a");
    bole_iterator *iterator = NULL;
    refused(w, BOLE_INVALID, bole_iterator_create(w->db, &options, &iterator), "byte order");
    assert_null(iterator);
    bole_table_close(table);
    put(w->db, "key", "value");
    assert_ok(bole_close(w->db, &w->error), &w->error);

    w->options.comparators = NULL;
    refused(w, BOLE_COMPARATOR, bole_open("store", &w->options, &w->db, &w->error), "test.reversed");
    bole_options reader = w->options;
    reader.flags = BOLE_READ_ONLY;
    bole_db *db; /* who only reads has the other tables */
    assert_ok(bole_open("store", &reader, &db, &w->error), &w->error);
    assert_value(db, NULL, "key", "value");
    refused(w, BOLE_COMPARATOR, bole_table_open(db, "backward", &table, &w->error), "test.reversed");
    assert_null(table);
    assert_ok(bole_close(db, &w->error), &w->error);

    reader.comparator = NULL;
    w->options.comparator = &reversed;
    assert_ok(bole_open("other", &w->options, &db, &w->error), &w->error);
    assert_ok(bole_close(db, &w->error), &w->error);
    refused(w, BOLE_COMPARATOR, bole_open("other", &reader, &db, &w->error), "test.reversed");
    w->options.comparator = NULL;
    w->options.comparators = known;
    assert_ok(bole_open("store", &w->options, &w->db, &w->error), &w->error);
}

static void what_is_not_ours_stays(void **state)
{
    world *w = *state;
    bole_db *db;
    bole_file *file;
    bool is_directory;
    refused(w, BOLE_LOCKED, bole_destroy("store", &w->options, &w->error), "store");
    assert_ok(bole_open("other", &w->options, &db, &w->error), &w->error);
    for (int i = 0; i < 70; i++) { /* more files than a list begins with */
        put(db, "key", "value");
        assert_ok(bole_flush(db, &w->error), &w->error);
    }
    bole_snapshot *snapshot;
    assert_ok(bole_snapshot_create(db, &snapshot, &w->error), &w->error);
    bole_snapshot_destroy(snapshot);
    assert_ok(bole_close(db, &w->error), &w->error);
    assert_ok(w->disk->open(w->disk, "other/letter", BOLE_VFS_WRITE | BOLE_VFS_CREATE, &file, &w->error),
              &w->error);
    assert_ok(w->disk->close(file, &w->error), &w->error);
    assert_ok(bole_destroy("other", &w->options, &w->error), &w->error);
    assert_ok(w->disk->exists(w->disk, "other/letter", &is_directory, &w->error), &w->error);
    assert_status(BOLE_NOT_FOUND, w->disk->exists(w->disk, "other/CURRENT", &is_directory, NULL), NULL);
    assert_int_equal(segments_of(w, "other"), 0);
    refused(w, BOLE_NO_STORE, bole_destroy("other", &w->options, &w->error), "other");
    assert_ok(bole_open("third", &w->options, &db, &w->error), &w->error);
    assert_ok(bole_close(db, &w->error), &w->error);
    assert_ok(bole_destroy("third", &w->options, &w->error), &w->error);
    assert_status(BOLE_NOT_FOUND, w->disk->exists(w->disk, "third", &is_directory, NULL), NULL);
}

/* ---- more runs than a read has places for ---- */

/* Merges fail and flushes go on, so level 0 grows; the newest value is found all the same, and so is that of the oldest
 * run. */
static void reads_look_into_any_number_of_runs(void **state)
{
    enum { RUNS = 110, BYTES = 8000 };
    world *w = *state;
    char key[16], value[BYTES + 1];
    bl_prng prng;
    bl_prng_init(&prng, 1);
    w->options.compression = w->options.compression_upper = BOLE_COMPRESSION_NONE;
    w->options.large_value_bytes = UINT64_MAX; /* the values are what makes a merge's output large */
    open_again(w);
    fails.segment_bytes_max = 16000; /* one value, with what is around it; two never fit */
    for (int run = 0; run < RUNS; run++) {
        for (int i = 0; i < BYTES; i++)
            value[i] = (char)('!' + bl_prng_below(&prng, 90));
        value[BYTES] = 0;
        snprintf(value, 16, "%03d", run);
        value[3] = ' ';
        snprintf(key, sizeof key, "key%03d", run);
        put(w->db, key, value);
        put(w->db, "a", key);
        put(w->db, "z", key); /* so that each run spans all keys */
        if (run % 2 == 1)
            assert_ok(bole_delete(w->db, NULL, BOLE_STR("gone")), NULL);
        else
            put(w->db, "gone", "for a while");
        assert_ok(bole_flush(w->db, &w->error), &w->error);
    }
    bole_statistics statistics = BOLE_STATISTICS_INIT;
    assert_ok(bole_stats(w->db, &statistics, &w->error), &w->error);
    assert_true(statistics.level_runs[0] > 96);
    for (int run = 0; run < RUNS; run++) {
        bole_buffer got = BOLE_BUFFER_INIT;
        snprintf(key, sizeof key, "key%03d", run);
        assert_ok(bole_get(w->db, NULL, text(key), &got), NULL);
        assert_memory_equal(got.data, key + 3, 3);
        bole_buffer_free(&got);
    }
    assert_value(w->db, NULL, "a", "key109");
    assert_value(w->db, NULL, "gone", NULL);
    assert_value(w->db, NULL, "between", NULL);
    assert_marked("more runs than candidates");
    fails.segment_bytes_max = 0; /* the merge is tried again by itself */
    for (int i = 0; i < 60000 && statistics.level_runs[0] > 96; i++) {
        usleep(1000);
        assert_ok(bole_stats(w->db, &statistics, &w->error), &w->error);
    }
    assert_true(statistics.level_runs[0] <= 96);
    assert_value(w->db, NULL, "a", "key109");
    assert_value(w->db, NULL, "gone", NULL);
}

/* ---- a flush beside a drop ---- */

/* A flush that is due when a table is dropped waits for the drop, whose segments would have no table. */
static void a_flush_gives_way_to_a_drop(void **state)
{
    enum { ORDERS = 100, BYTES = 3000 };
    (void)state;
    char value[BYTES], key[16];
    memset(value, 'v', sizeof value);
    for (uint64_t seed = 1; seed <= ORDERS; seed++) {
        bole_options options = BOLE_OPTIONS_INIT;
        bole_error error = BOLE_ERROR_INIT;
        bole_db *db;
        bole_table *table;
        bole_statistics statistics = BOLE_STATISTICS_INIT;
        assert_ok(bole_vfs_memory_create(seed, &options.vfs), NULL);
        options.flags = BOLE_CREATE;
        options.simulation_seed = seed; /* another order of the background's work */
        options.memory_limit = 16 << 20;
        options.memtable_bytes = 65536;
        assert_ok(bole_open("store", &options, &db, &error), &error);
        assert_ok(bole_table_create(db, "doomed", NULL, &table, &error), &error);
        bole_write_options into = BOLE_WRITE_OPTIONS_INIT;
        into.table = table;
        for (int i = 0; statistics.log_rotations == 0; i++) {
            snprintf(key, sizeof key, "key%06d", i);
            assert_ok(bole_put(db, &into, text(key), (bole_slice){ value, sizeof value }), NULL);
            assert_ok(bole_stats(db, &statistics, &error), &error);
        }
        assert_ok(bole_put(db, NULL, BOLE_STR("a"), BOLE_STR("1")), NULL);
        bole_table_close(table);
        assert_ok(bole_table_drop(db, "doomed", &error), &error);
        assert_ok(bole_flush(db, &error), &error);
        assert_value(db, NULL, "a", "1");
        assert_ok(bole_close(db, &error), &error);
        bole_vfs_destroy(options.vfs);
    }
    assert_marked("flush gives way to a drop");
}

/* ---- flushes that fail ---- */

/* A block that is larger than what is gathered for a write is written by itself; when that fails, so does the flush,
 * though every write after it would go well. */
static void a_large_block_that_was_not_written_fails_the_flush(void **state)
{
    world *w = *state;
    static char large[1300001]; /* the writer gathers 1 MiB */
    bl_prng prng;
    bl_prng_init(&prng, 3);
    for (size_t i = 0; i + 1 < sizeof large; i++)
        large[i] = (char)('!' + bl_prng_below(&prng, 90));
    fails.large_once = true;
    put(w->db, "a", "1");
    put(w->db, "large", large);
    put(w->db, "z", "2");
    for (int i = 0; i < 60000 && bole_flush(w->db, NULL) != BOLE_OK; i++) /* it is tried again by itself */
        usleep(1000);
    assert_false(fails.large_once);
    bole_statistics statistics = BOLE_STATISTICS_INIT;
    assert_ok(bole_stats(w->db, &statistics, &w->error), &w->error);
    assert_true(statistics.background_errors > 0);
    for (int round = 0; round < 2; round++) {
        assert_value(w->db, NULL, "a", "1");
        assert_value(w->db, NULL, "large", large);
        assert_value(w->db, NULL, "z", "2");
        open_again(w);
    }
}

/* What failed is tried again later and later, not at once and without end. */
static void a_failed_flush_waits_before_the_next(void **state)
{
    world *w = *state;
    put(w->db, "a", "1");
    fails.segment_bytes_max = 1;
    refused(w, BOLE_IO, bole_flush(w->db, &w->error), "segment");
    unsigned before = fails.refused;
    usleep(300 * 1000);
    assert_true(fails.refused - before < 40); /* without a wait: thousands */
    fails.segment_bytes_max = 0;
    for (int i = 0; i < 60000 && bole_flush(w->db, NULL) != BOLE_OK; i++)
        usleep(1000);
    open_again(w);
    assert_value(w->db, NULL, "a", "1");
}

/* ---- iterators: bounds ---- */

static const char letters[] = { 'a', 'b', (char)0xff };

static size_t random_word(bl_prng *prng, char out[4], size_t least)
{
    size_t size = least + bl_prng_below(prng, 4 - least);
    for (size_t i = 0; i < size; i++)
        out[i] = letters[bl_prng_below(prng, 3)];
    return size;
}

static int compare(bole_slice a, bole_slice b)
{
    size_t least = a.size < b.size ? a.size : b.size;
    int order = least == 0 ? 0 : memcmp(a.data, b.data, least);
    return order != 0 ? order : (a.size > b.size) - (a.size < b.size);
}

/* All words of up to three letters, the last of which is the highest byte: a prefix of 0xff has no end. Any bounds and
 * prefix together show what fits all of them, in both directions. */
static void bounds_and_prefix_are_obeyed_together(void **state)
{
    world *w = *state;
    struct {
        char bytes[4];
        size_t size;
    } words[64];
    size_t count = 0;
    for (size_t size = 1; size <= 3; size++)
        for (size_t number = 0, all = size == 1 ? 3 : size == 2 ? 9 : 27; number < all; number++, count++) {
            words[count].size = size;
            for (size_t i = 0, rest = number; i < size; i++, rest /= 3)
                words[count].bytes[i] = letters[rest % 3];
            bole_slice word = { words[count].bytes, size };
            assert_ok(bole_put(w->db, NULL, word, word), NULL);
            if (count == 20)
                assert_ok(bole_flush(w->db, &w->error), &w->error);
        }
    bl_prng prng;
    bl_prng_init(&prng, test_seed(1));
    for (int round = 0; round < 2000; round++) {
        char lower[4], upper[4], prefix[4];
        bole_read_options options = BOLE_READ_OPTIONS_INIT;
        options.error = &w->error;
        if (bl_prng_below(&prng, 2) == 0)
            options.lower_bound = (bole_slice){ lower, random_word(&prng, lower, 0) };
        if (bl_prng_below(&prng, 2) == 0)
            options.upper_bound = (bole_slice){ upper, random_word(&prng, upper, 0) };
        if (bl_prng_below(&prng, 2) == 0)
            options.prefix = (bole_slice){ prefix, random_word(&prng, prefix, 0) };
        size_t expected = 0;
        for (size_t i = 0; i < count; i++) {
            bole_slice word = { words[i].bytes, words[i].size };
            expected += (options.lower_bound.data == NULL || compare(word, options.lower_bound) >= 0) &&
                        (options.upper_bound.data == NULL || compare(word, options.upper_bound) < 0) &&
                        (options.prefix.data == NULL ||
                         (word.size >= options.prefix.size &&
                          memcmp(word.data, prefix, options.prefix.size) == 0));
        }
        bole_iterator *iterator;
        assert_ok(bole_iterator_create(w->db, &options, &iterator), &w->error);
        assert_false(bole_iterator_next(iterator)); /* it stands nowhere */
        assert_false(bole_iterator_prev(iterator));
        for (int way = 0; way < 2; way++) {
            size_t shown = 0;
            char last[4];
            bole_slice before = { last, 0 };
            for (bool there = way == 0 ? bole_iterator_seek_first(iterator)
                                       : bole_iterator_seek_last(iterator);
                 there; there = way == 0 ? bole_iterator_next(iterator) : bole_iterator_prev(iterator)) {
                bole_slice key = bole_iterator_key(iterator);
                assert_true(shown == 0 || (way == 0 ? compare(before, key) < 0 : compare(before, key) > 0));
                assert_int_equal(compare(key, bole_iterator_value(iterator)), 0);
                assert_true(options.prefix.data == NULL ||
                            memcmp(key.data, prefix, options.prefix.size) == 0);
                memcpy(last, key.data, key.size);
                before.size = key.size;
                shown++;
            }
            assert_ok(bole_iterator_status(iterator), &w->error);
            assert_int_equal(shown, expected);
            assert_false(bole_iterator_next(iterator));
            assert_false(bole_iterator_prev(iterator));
        }
        bole_iterator_destroy(iterator);
    }
}

static void an_iterator_counts_what_it_steps_over(void **state)
{
    world *w = *state;
    put(w->db, "a", "old"), put(w->db, "a", "new"), put(w->db, "b", "1"), put(w->db, "c", "1");
    assert_ok(bole_delete(w->db, NULL, BOLE_STR("b")), NULL);
    bole_iterator *iterator;
    assert_ok(bole_iterator_create(w->db, NULL, &iterator), NULL);
    assert_int_equal(bole_iterator_skipped(iterator), 0);
    assert_true(bole_iterator_seek_first(iterator));
    assert_true(bole_iterator_next(iterator));
    assert_memory_equal(bole_iterator_key(iterator).data, "c", 1);
    assert_true(bole_iterator_skipped(iterator) >= 1);
    bole_iterator_destroy(iterator);
}

/* ---- reading beside a writer ---- */

static void each_reader_keeps_its_moment(void **state)
{
    world *w = *state;
    bole_options options = w->options;
    options.flags = BOLE_READ_ONLY;
    put(w->db, "a", "1");
    compact(w);
    bole_db *first, *second;
    assert_ok(bole_open("store", &options, &first, &w->error), &w->error);
    put(w->db, "a", "2");
    compact(w); /* the segment of 1 is kept for `first` */
    assert_ok(bole_open("store", &options, &second, &w->error), &w->error);
    put(w->db, "a", "3");
    compact(w);
    assert_true(segments_of(w, "store") >= 3);
    assert_value(first, NULL, "a", "1");
    assert_value(second, NULL, "a", "2");
    bole_snapshot *snapshot;
    assert_ok(bole_snapshot_create(second, &snapshot, &w->error), &w->error);
    assert_true(bole_snapshot_sequence(snapshot) > 0);
    bole_read_options read = BOLE_READ_OPTIONS_INIT;
    read.snapshot = snapshot;
    bole_iterator *iterator;
    assert_ok(bole_refresh(second, &w->error), &w->error);
    assert_ok(bole_iterator_create(second, &read, &iterator), &w->error);
    assert_value(second, NULL, "a", "3");
    assert_value(second, snapshot, "a", "2");
    assert_true(bole_iterator_seek_first(iterator));
    assert_memory_equal(bole_iterator_value(iterator).data, "2", 1);
    bole_iterator_destroy(iterator);
    bole_snapshot_destroy(snapshot);
    assert_ok(bole_close(first, &w->error), &w->error);
    assert_ok(bole_close(second, &w->error), &w->error);
    put(w->db, "a", "4");
    compact(w); /* nobody needs the old ones */
    wait_for_segments(w, 1);
    assert_marked("file is kept for a reader of another process");
}

/* A reader's disk: in the middle of one read of a block its handle is refreshed, and the writer merges all anew. */
static struct {
    bole_status (*read)(bole_file *file, uint64_t offset, void *data, size_t length, size_t *got,
                        bole_error *error);
    world *w;
    bole_db *reader; /* NULL: nothing happens */
    unsigned segments;
} meanwhile;

static bole_status read_later(bole_file *file, uint64_t offset, void *data, size_t length, size_t *got,
                              bole_error *error)
{
    bole_db *reader = meanwhile.reader;
    meanwhile.reader = NULL;
    if (reader != NULL) {
        assert_ok(bole_refresh(reader, &meanwhile.w->error), &meanwhile.w->error);
        put(meanwhile.w->db, "a", "3");
        compact(meanwhile.w);
        meanwhile.segments = 5; /* some ticks must not take any away */
        for (int i = 0; i < 500 && meanwhile.segments == 5; i++, usleep(1000))
            meanwhile.segments = segments_of(meanwhile.w, "store");
    }
    return meanwhile.read(file, offset, data, length, got, error);
}

/* Goal: a read that is under way when its handle is refreshed keeps the files that it may still need. */
static void a_read_under_way_keeps_its_files(void **state)
{
    world *w = *state;
    bole_vfs disk = *w->options.vfs;
    bole_options options = w->options;
    options.flags = BOLE_READ_ONLY;
    options.vfs = &disk;
    meanwhile.read = disk.read;
    meanwhile.w = w;
    disk.read = read_later;
    put(w->db, "a", "1");
    compact(w);
    bole_db *reader;
    assert_ok(bole_open("store", &options, &reader, &w->error), &w->error);
    put(w->db, "a", "2");
    compact(w);
    assert_int_equal(segments_of(w, "store"), 3); /* the reader's, that of the flush, and the merged one */
    meanwhile.reader = reader;
    assert_value(reader, NULL, "a", "2"); /* the block of 1 has come, and the search begins again */
    assert_null(meanwhile.reader);
    assert_int_equal(meanwhile.segments, 5); /* nothing has gone */
    assert_ok(bole_refresh(reader, &w->error), &w->error);
    put(w->db, "a", "4");
    compact(w);
    wait_for_segments(w, 3); /* that of 3, for the reader, and two of 4 */
    assert_value(reader, NULL, "a", "3");
    assert_ok(bole_close(reader, &w->error), &w->error);
}

static bool see_no_probe(void *context, const bole_inspect_probe *probe)
{
    ++*(unsigned *)context;
    return probe != NULL;
}

/* A reader's handle of a table that the writer has dropped, and that a refresh let go of: the table is empty. */
static void a_reader_refreshes_past_a_drop(void **state)
{
    world *w = *state;
    bole_options options = w->options;
    options.flags = BOLE_READ_ONLY;
    bole_table *mine, *theirs;
    bole_db *reader;
    bole_buffer got = BOLE_BUFFER_INIT;
    assert_ok(bole_table_create(w->db, "t", NULL, &mine, &w->error), &w->error);
    bole_write_options into = BOLE_WRITE_OPTIONS_INIT;
    into.table = mine;
    assert_ok(bole_put(w->db, &into, BOLE_STR("a"), BOLE_STR("1")), NULL);
    assert_ok(bole_flush(w->db, &w->error), &w->error);
    assert_ok(bole_put(w->db, &into, BOLE_STR("b"), BOLE_STR("2")), NULL);
    assert_ok(bole_sync(w->db, &w->error), &w->error);
    assert_ok(bole_open("store", &options, &reader, &w->error), &w->error);
    assert_ok(bole_table_open(reader, "t", &theirs, &w->error), &w->error);
    bole_read_options from = BOLE_READ_OPTIONS_INIT;
    from.table = theirs;
    from.error = &w->error;
    bole_snapshot *before;
    assert_ok(bole_snapshot_create(reader, &before, &w->error), &w->error);
    bole_table_close(mine);
    assert_ok(bole_table_drop(w->db, "t", &w->error), &w->error);
    compact(w);
    for (int round = 0; round < 3; round++) { /* as it was, gone, in the snapshot */
        bole_status wanted = round == 1 ? BOLE_NOT_FOUND : BOLE_OK, statuses[2];
        unsigned probes = 0, entries = 0;
        bole_slice keys[] = { BOLE_STR("a"), BOLE_STR("b") };
        bole_buffer values[2] = { BOLE_BUFFER_INIT, BOLE_BUFFER_INIT };
        bole_view view = BOLE_VIEW_INIT;
        bole_iterator *iterator;
        if (round == 1)
            assert_ok(bole_refresh(reader, &w->error), &w->error);
        from.snapshot = round == 2 ? before : NULL;
        for (int i = 0; i < 2; i++) {
            assert_status(wanted, bole_get(reader, &from, keys[i], &got), &w->error);
            assert_status(wanted, bole_exists(reader, &from, keys[i]), &w->error);
            assert_status(wanted, bole_get_view(reader, &from, keys[i], &view), &w->error);
            bole_view_release(&view);
        }
        assert_ok(bole_multi_get(reader, &from, 2, keys, values, statuses), &w->error);
        assert_status(wanted, statuses[0], NULL);
        assert_status(wanted, statuses[1], NULL);
        bole_buffer_free(&values[0]), bole_buffer_free(&values[1]);
        assert_ok(bole_iterator_create(reader, &from, &iterator), &w->error);
        for (bool on = bole_iterator_seek_first(iterator); on; on = bole_iterator_next(iterator))
            entries++;
        assert_false(bole_iterator_seek_last(iterator) != (entries != 0));
        assert_ok(bole_iterator_status(iterator), &w->error);
        bole_iterator_destroy(iterator);
        assert_int_equal(entries, round == 1 ? 0 : 2);
        if (round != 2)
            assert_ok(bole_inspect_get(reader, theirs, keys[0], see_no_probe, &probes, &w->error), &w->error);
        assert_int_equal(probes != 0, round == 0);
    }
    bole_snapshot_destroy(before);
    bole_buffer_free(&got);
    bole_table_close(theirs);
    assert_ok(bole_close(reader, &w->error), &w->error);
}

#if !defined(BL_THREAD_SANITIZER) /* it leaves no room for the address space that 256 open stores reserve */
static void readers_have_two_hundred_and_fifty_six_slots(void **state)
{
    world *w = *state;
    bole_options options = w->options;
    options.flags = BOLE_READ_ONLY;
    options.memory_limit = 4 << 20;
    options.background_threads = 1;
    static bole_db *readers[256];
    put(w->db, "a", "1");
    for (int i = 0; i < 256; i++)
        assert_ok(bole_open("store", &options, &readers[i], &w->error), &w->error);
    bole_db *more;
    refused(w, BOLE_BUSY, bole_open("store", &options, &more, &w->error), "256");
    assert_null(more);
    assert_ok(bole_close(readers[77], &w->error), &w->error); /* its slot is free for another */
    assert_ok(bole_open("store", &options, &readers[77], &w->error), &w->error);
    for (int i = 0; i < 256; i++)
        assert_ok(bole_close(readers[i], &w->error), &w->error);
}
#endif

static void a_reader_without_a_slot_reads_what_nobody_writes(void **state)
{
    world *w = *state;
    bole_options options = w->options;
    options.flags = BOLE_READ_ONLY;
    put(w->db, "a", "1");
    bole_db *reader;
    fails.unwritable = "/readers";
    fails.unwritable_status = BOLE_PERMISSION;
    refused(w, BOLE_PERMISSION, bole_open("store", &options, &reader, &w->error), "readers");
    assert_null(reader);
    assert_ok(bole_close(w->db, &w->error), &w->error);
    assert_ok(bole_open("store", &options, &reader, &w->error), &w->error); /* now nobody does */
    assert_value(reader, NULL, "a", "1");
    assert_ok(bole_close(reader, &w->error), &w->error);
    fails.unwritable_status =
        BOLE_NO_MEMORY; /* that passes, and a writer may come: no reading without a slot */
    assert_status(BOLE_NO_MEMORY, bole_open("store", &options, &reader, &w->error), NULL);
    fails.unwritable = NULL;
    w->error = (bole_error)BOLE_ERROR_INIT;
    assert_ok(bole_open("store", &w->options, &w->db, &w->error), &w->error);
}

/* The writer cannot see who reads: it keeps every file, until it can. */
static void a_writer_that_cannot_see_its_readers_removes_nothing(void **state)
{
    world *w = *state;
    bole_options options = w->options;
    options.flags = BOLE_READ_ONLY;
    bole_db *reader;
    put(w->db, "a", "1");
    compact(w);
    assert_ok(bole_open("store", &options, &reader, &w->error), &w->error);
    assert_ok(bole_close(reader, &w->error),
              &w->error); /* the file of slots is there, and empty of readers */
    fails.broken = "/readers";
    open_again(w);
    for (int i = 0; i < 3; i++) {
        put(w->db, "a", "2");
        compact(w);
    }
    assert_true(fails.refused > 0);
    assert_true(segments_of(w, "store") >= 4);
    fails.broken = NULL;
    fails.broken_file = NULL;
    put(w->db, "a", "3");
    compact(w);
    wait_for_segments(w, 1);
    assert_value(w->db, NULL, "a", "3");

    /* The same when the file cannot be opened at all. */
    fails.unwritable = "/readers";
    fails.unwritable_status = BOLE_PERMISSION;
    open_again(w);
    put(w->db, "a", "4");
    compact(w);
    assert_true(segments_of(w, "store") >= 2);
    fails.unwritable = NULL;
    put(w->db, "a", "5");
    compact(w);
    wait_for_segments(w, 1);

    /* And when a reader is there whose slot cannot be read. */
    assert_ok(bole_open("store", &options, &reader, &w->error), &w->error);
    fails.has_length = true;
    fails.broken = "/readers";
    open_again(w);
    put(w->db, "a", "6");
    compact(w);
    put(w->db, "a", "7");
    compact(w);
    assert_true(segments_of(w, "store") >= 3);
    assert_ok(bole_close(reader, &w->error), &w->error);
    fails.broken = NULL;
    fails.broken_file = NULL;
    put(w->db, "a", "8");
    compact(w);
    wait_for_segments(w, 1);
}

/* A second writer is refused, also where nobody says who the first is. A path may end in slashes. */
static void a_second_writer_is_told_of_the_first(void **state)
{
    world *w = *state;
    bole_db *db;
    bole_options options = w->options;
    refused(w, BOLE_LOCKED, bole_open("store//", &options, &db, &w->error), "is writing to the store");
    fails.no_lock_tests = true;
    refused(w, BOLE_LOCKED, bole_open("store", &options, &db, &w->error), "another handle is writing");
    fails.no_lock_tests = false;
    assert_ok(bole_open("deeper///", &options, &db, &w->error), &w->error);
    put(db, "a", "1");
    assert_ok(bole_close(db, &w->error), &w->error);
    assert_ok(bole_open("deeper", &options, &db, &w->error), &w->error);
    assert_value(db, NULL, "a", "1");
    assert_ok(bole_close(db, &w->error), &w->error);
}

/* A reader without a slot: where nobody ever wrote it reads; where LOCK is no file it is refused. */
static void a_reader_without_slot_and_lock(void **state)
{
    world *w = *state;
    bole_db *db;
    bole_options options = w->options;
    assert_ok(bole_open("other", &options, &db, &w->error), &w->error);
    put(db, "a", "1");
    assert_ok(bole_close(db, &w->error), &w->error);
    options.flags = BOLE_READ_ONLY;
    fails.unwritable = "/readers";
    fails.unwritable_status = BOLE_PERMISSION;
    assert_ok(w->disk->remove(w->disk, "other/LOCK", &w->error), &w->error);
    assert_ok(bole_open("other", &options, &db, &w->error), &w->error);
    assert_value(db, NULL, "a", "1");
    assert_ok(bole_close(db, &w->error), &w->error);
    assert_ok(w->disk->make_directory(w->disk, "other/LOCK", &w->error), &w->error);
    assert_status(BOLE_INVALID, bole_open("other", &options, &db, &w->error), NULL);
    assert_null(db);
    fails.unwritable = NULL;
    w->error = (bole_error)BOLE_ERROR_INIT;
}

/* Calls that need memory, and have none; a look for a key in a table of another store. */
static void small_calls_without_memory_say_so(void **state)
{
    world *w = *state;
    bole_buffer out = BOLE_BUFFER_INIT;
    bl_alloc_fail_at(0, 1);
    assert_status(BOLE_NO_MEMORY, bole_unescape("abc", 3, &out, &w->error), NULL);
    bl_alloc_fail_at(UINT64_MAX, 0);
    assert_ok(bole_unescape("abc", 3, &out, &w->error), &w->error);
    assert_int_equal(out.size, 3);
    bole_buffer_free(&out);
    bole_key_value_store *store;
    bole_options options = w->options;
    options.simulation_seed = 1;
    bole_db *behind;
    assert_ok(bole_open("behind", &options, &behind, &w->error), &w->error);
    assert_ok(bole_key_value_store_create(behind, true, &store), NULL);
    uint64_t failed = 0;
    for (uint64_t at = 0, more = 1; more != 0; at++) {
        bole_key_value_cursor *cursor = NULL;
        bl_alloc_fail_at(at, 1);
        bole_status status = store->methods->cursor_open(store, &cursor, &w->error);
        more = bl_alloc_calls() > at;
        bl_alloc_fail_at(UINT64_MAX, 0);
        failed += status != BOLE_OK;
        assert_true(status == BOLE_OK || (status == BOLE_NO_MEMORY && cursor == NULL));
        if (status == BOLE_OK)
            store->methods->cursor_close(cursor);
    }
    assert_true(failed >= 1);
    assert_ok(store->methods->close(store, &w->error), &w->error);
    bole_db *other;
    bole_table *theirs;
    assert_ok(bole_open("other", &options, &other, &w->error), &w->error);
    assert_ok(bole_table_create(other, "t", NULL, &theirs, &w->error), &w->error);
    refused(w, BOLE_INVALID, bole_inspect_get(w->db, theirs, text("a"), NULL, NULL, &w->error), "store");
    bole_table_close(theirs);
    assert_ok(bole_close(other, &w->error), &w->error);
}

static void count_problem(void *context, const bole_error *problem)
{
    if (strstr(problem->message, "damaged places between whole records") != NULL)
        ++*(uint32_t *)context;
}

/* A damaged record that nothing says was synced is a torn tail to an open: what stands behind it is dropped. Who
 * verifies is told of the place all the same. */
static void verify_tells_of_damage_that_an_open_passes(void **state)
{
    (void)state;
    bole_vfs *first, *killed;
    bole_error error = BOLE_ERROR_INIT;
    bole_options options = BOLE_OPTIONS_INIT;
    bole_db *db;
    static uint8_t bytes[65536];
    assert_ok(bole_vfs_memory_create(1, &first), NULL);
    options.vfs = first;
    options.flags = BOLE_CREATE;
    options.simulation_seed = 1;
    options.durability = BOLE_DURABILITY_PROCESS;
    assert_ok(bole_open("store", &options, &db, &error), &error);
    put(db, "a", "before");
    put(db, "b", "the damaged one");
    put(db, "c", "behind");
    assert_ok(bole_vfs_memory_crash(first, BOLE_CRASH_KEEP_ALL, 1, &killed), NULL);
    assert_ok(bole_close(db, &error), &error);
    char path[64];
    bool found = false;
    for (int number = 1; number < 10 && !found; number++) {
        bole_file *file;
        size_t got = 0;
        snprintf(path, sizeof path, "store/%06d.log", number);
        if (killed->open(killed, path, BOLE_VFS_WRITE, &file, NULL) != BOLE_OK)
            continue;
        assert_ok(killed->read(file, 0, bytes, sizeof bytes, &got, &error), &error);
        uint8_t *at = memmem(bytes, got, "the damaged one", 15);
        found = at != NULL;
        if (found)
            assert_ok(killed->write(file, (uint64_t)(at - bytes), "T", 1, &error), &error);
        assert_ok(killed->close(file, &error), &error);
    }
    assert_true(found);
    options.vfs = killed;
    options.flags = 0;
    uint32_t told = 0;
    bole_verify_report report;
    assert_status(BOLE_CORRUPT, bole_verify("store", &options, count_problem, &told, &report, &error),
                  &error);
    assert_int_equal(told, 1);
    assert_ok(bole_open("store", &options, &db, &error), &error);
    assert_value(db, NULL, "a", "before");
    assert_status(BOLE_NOT_FOUND, bole_exists(db, NULL, text("c")), NULL);
    assert_ok(bole_close(db, &error), &error);
    bole_vfs_destroy(first);
    bole_vfs_destroy(killed);
}

/* Flushes and merges whose files a reader still needs, and a file that nothing names: with an allocation failing, each
 * first ones each, later ones ever more rarely, all of it is there, or gone, afterwards. */
static void removals_without_memory_lose_nothing(void **state)
{
    (void)state;
    for (uint64_t at = 0, more = 1; more != 0; at += TEST_STEP) {
        bole_vfs *disk;
        bole_file *file;
        bole_error error = BOLE_ERROR_INIT;
        bole_options options = BOLE_OPTIONS_INIT;
        bole_db *db, *reader;
        assert_ok(bole_vfs_memory_create(1, &disk), NULL);
        options.vfs = disk;
        options.flags = BOLE_CREATE;
        options.simulation_seed = 1;
        options.level0_runs = 2;
        options.memory_limit = 16 << 20; /* opened some thousand times */
        options.memtable_bytes = 65536;
        assert_ok(bole_open("store", &options, &db, &error), &error);
        put(db, "a", "1");
        assert_ok(bole_flush(db, &error), &error);
        options.flags = BOLE_READ_ONLY;
        assert_ok(bole_open("store", &options, &reader, &error), &error);
        bl_alloc_fail_at(at, 1);
        for (char key = 'b'; key < 'f'; key++) {
            (void)!bole_put(db, NULL, bl_slice(&key, 1), text("1"));
            (void)!bole_flush(db, NULL);
        }
        (void)!bole_compact(db, NULL, (bole_slice){ NULL, 0 }, (bole_slice){ NULL, 0 }, NULL);
        more = bl_alloc_calls() > at;
        bl_alloc_fail_at(UINT64_MAX, 0);
        assert_value(reader, NULL, "a", "1");
        assert_ok(bole_close(reader, &error), &error);
        (void)!bole_close(db, NULL);
        options.flags = 0;
        assert_ok(disk->open(disk, "store/000900.seg", BOLE_VFS_WRITE | BOLE_VFS_CREATE, &file, &error),
                  &error);
        assert_ok(disk->close(file, &error), &error);
        assert_ok(bole_open("store", &options, &db, &error), &error);
        assert_value(db, NULL, "a", "1");
        bl_alloc_fail_at(at, 1);
        (void)!bole_put(db, NULL, text("z"), text("1")); /* the first write looks for what nothing names */
        bl_alloc_fail_at(UINT64_MAX, 0);
        (void)!bole_close(db, NULL);
        assert_ok(bole_open("store", &options, &db, &error), &error);
        assert_ok(bole_put(db, NULL, text("z"), text("2")), NULL);
        assert_value(db, NULL, "a", "1");
        assert_ok(bole_close(db, &error), &error);
        bool is_directory;
        assert_status(BOLE_NOT_FOUND, disk->exists(disk, "store/000900.seg", &is_directory, NULL), NULL);
        bole_vfs_destroy(disk);
    }
}

/* A merge and a move, beside a snapshot, with each of their allocations failing: the call says so or succeeds, the same
 * call made later succeeds, and nothing is lost. */
static void merges_and_moves_without_memory_are_made_later(void **state)
{
    (void)state;
    enum { KEYS = 60, VALUE = 2000 };
    static char value[VALUE + 1];
    char key[16];
    memset(value, 'v', VALUE);
    for (int moves = 0; moves < 2; moves++)
        for (uint64_t at = 0, more = 1; more != 0; at += TEST_STEP) {
            bole_error error = BOLE_ERROR_INIT;
            bole_options options = BOLE_OPTIONS_INIT;
            bole_statistics statistics = BOLE_STATISTICS_INIT;
            bole_snapshot *snapshot;
            bole_db *db;
            const bole_slice all = { NULL, 0 };
            assert_ok(bole_vfs_memory_create(1, &options.vfs), NULL);
            options.flags = BOLE_CREATE;
            options.simulation_seed = 1;
            options.memory_limit = 16 << 20;
            options.segment_bytes = 1 << 20;
            options.compression_upper = BOLE_COMPRESSION_NONE;
            assert_ok(bole_open("store", &options, &db, &error), &error);
            for (int run = 0; run < 2; run++) {
                for (int i = 0; i < KEYS; i++) {
                    snprintf(key, sizeof key, "%c%05d", moves ? 'a' + run : 'a', i);
                    put(db, key, run == 0 ? "old" : value);
                    put(db, key, value);
                }
                assert_ok(bole_flush(db, &error), &error);
            }
            assert_ok(bole_snapshot_create(db, &snapshot, &error), &error);
            bl_alloc_fail_at(at, 1);
            bole_status status = bole_compact(db, NULL, all, all, &error);
            more = bl_alloc_calls() > at;
            bl_alloc_fail_at(UINT64_MAX, 0);
            if (status != BOLE_OK) {
                assert_true(more != 0);
                assert_status(BOLE_NO_MEMORY, status, &error);
                assert_true(error.message[0] != '\0');
            }
            for (int i = 0; i < 20000 && bole_compact(db, NULL, all, all, &error) != BOLE_OK; i++)
                bole_vfs_memory_advance(options.vfs, 10 * 1000000);
            assert_ok(bole_stats(db, &statistics, &error), &error);
            assert_int_equal(statistics.trivial_moves != 0, moves);
            bole_snapshot_destroy(snapshot);
            for (int round = 0; round < 2; round++) {
                for (int i = 0; i < (1 + moves) * KEYS; i++) {
                    snprintf(key, sizeof key, "%c%05d", 'a' + i / KEYS, i % KEYS);
                    assert_value(db, NULL, key, value);
                }
                if (round == 1) { /* not before: what failed may have been to tell readers of it */
                    assert_ok(bole_stats(db, &statistics, &error), &error);
                    assert_int_equal(statistics.level_runs[0], 0);
                    assert_int_equal(statistics.level_runs[BOLE_LEVELS_MAX - 1], 1);
                }
                assert_ok(bole_close(db, &error), &error);
                if (round == 0)
                    assert_ok(bole_open("store", &options, &db, &error), &error);
            }
            bole_vfs_destroy(options.vfs);
        }
}

/* The wait between flushes that fail does not grow without end. */
static void the_wait_after_failed_flushes_has_an_end(void **state)
{
    world *w = *state;
    bole_db *db;
    bole_options options = w->options;
    options.simulation_seed = 3;
    assert_ok(bole_open("other", &options, &db, &w->error), &w->error);
    put(db, "a", "1");
    fails.segment_bytes_max = 1;
    uint64_t before = 0;
    for (int i = 0; i < 12; i++) {
        refused(w, BOLE_IO, bole_flush(db, &w->error), "segment");
        assert_true(db->background_retry_ns >= before);
        before = db->background_retry_ns;
        bl_sleep(db->scheduler, before);
    }
    assert_int_equal(before, UINT64_C(5) * 1000 * 1000 * 1000);
    fails.segment_bytes_max = 0;
    bl_sleep(db->scheduler, before);
    assert_ok(bole_flush(db, &w->error), &w->error);
    assert_int_equal(db->background_retry_ns, 0);
    assert_ok(bole_close(db, &w->error), &w->error);
}

/* A rotation that got half-way for want of memory: the store refuses to make and to drop tables as it refuses writes,
 * and is whole when it is opened again. */
static void a_store_that_stopped_half_way_changes_no_tables(void **state)
{
    (void)state;
    unsigned stopped = 0;
    for (uint64_t at = 0, more = 1; more != 0; at++) {
        bole_error error = BOLE_ERROR_INIT;
        bole_options options = BOLE_OPTIONS_INIT;
        bole_db *db;
        bole_table *table = NULL;
        assert_ok(bole_vfs_memory_create(1, &options.vfs), NULL);
        options.flags = BOLE_CREATE;
        options.simulation_seed = 1;
        options.memory_limit = 16 << 20;
        assert_ok(bole_open("store", &options, &db, &error), &error);
        assert_ok(bole_table_create(db, "there", NULL, &table, &error), &error);
        bole_table_close(table);
        put(db, "a", "1");
        assert_ok(bole_sync(db, &error), &error);
        bl_alloc_fail_at(at, 1);
        (void)!bole_flush(db, NULL);
        more = bl_alloc_calls() > at;
        bl_alloc_fail_at(UINT64_MAX, 0);
        if (db->failed) {
            stopped++;
            assert_status(BOLE_FAILED, bole_table_create(db, "new", NULL, &table, &error), &error);
            assert_null(table);
            assert_status(BOLE_FAILED, bole_table_drop(db, "there", &error), &error);
        }
        (void)!bole_close(db, NULL);
        assert_ok(bole_open("store", &options, &db, &error), &error);
        assert_value(db, NULL, "a", "1");
        assert_status(BOLE_NOT_FOUND, bole_table_open(db, "new", &table, &error), &error);
        assert_ok(bole_table_drop(db, "there", &error), &error);
        assert_ok(bole_close(db, &error), &error);
        bole_vfs_destroy(options.vfs);
    }
    assert_true(stopped > 0);
}

/* Each call that a close makes fails once: it says so, or it did no harm; what was written is there, and so it is when
 * the power is cut then, where the close has called it safe. */
static void a_close_whose_calls_fail_loses_nothing(void **state)
{
    (void)state;
    unsigned told = 0;
    for (int synced = 0; synced < 2; synced++)
        for (uint64_t at = 0, failed = 1; failed != 0; at++) {
            bole_fault_plan plan = { .at = UINT64_MAX, .count = 1, .system_errno = 5 };
            bole_error error = BOLE_ERROR_INIT;
            bole_options options = BOLE_OPTIONS_INIT;
            bole_vfs *disk, *failing, *cut;
            bole_db *db;
            assert_ok(bole_vfs_memory_create(1, &disk), NULL);
            assert_ok(bole_vfs_fault_create(disk, &plan, &failing), NULL);
            options.flags = BOLE_CREATE;
            options.vfs = failing;
            options.simulation_seed = 1;
            options.memory_limit = 16 << 20;
            assert_ok(bole_open("store", &options, &db, &error), &error);
            put(db, "a", "1");
            if (synced)
                assert_ok(bole_sync(db, &error), &error);
            plan.at = plan.calls + at;
            bole_status status = bole_close(db, &error);
            plan.at = UINT64_MAX;
            failed = plan.failed;
            told += status != BOLE_OK;
            assert_true(status == BOLE_OK || (failed != 0 && error.message[0] != '\0'));
            assert_ok(bole_vfs_memory_crash(disk, BOLE_CRASH_LOSE_ALL, 1, &cut), NULL);
            for (int power = 0; power < 2; power++) {
                options.vfs = power ? cut : disk;
                assert_ok(bole_open("store", &options, &db, &error), &error);
                if (!power || synced || status == BOLE_OK)
                    assert_value(db, NULL, "a", "1");
                put(db, "b", "2");
                assert_ok(bole_close(db, &error), &error);
            }
            bole_vfs_destroy(cut);
            bole_vfs_destroy(failing);
            bole_vfs_destroy(disk);
        }
    assert_true(told > 8);
}

/* ---- logs ---- */

/* A group whose first part is written to a log that then fails: its writers are in doubt, and those that come behind
 * go into a new log, once the old one's memtable is in segments. */
static void the_second_half_of_a_group_goes_on_behind_a_failed_log(void **state)
{
    world *w = *state;
    bole_fault_plan plan = { .at = UINT64_MAX, .system_errno = 5 };
    bole_vfs *failing;
    bole_db *db;
    assert_ok(bole_vfs_fault_create(w->disk, &plan, &failing), NULL);
    bole_options options = w->options;
    options.vfs = failing;
    options.simulation_seed = 1; /* no call to the disk but those of this thread */
    options.durability = BOLE_DURABILITY_POWER;
    assert_ok(bole_open("other", &options, &db, &w->error), &w->error);
    static char large[20001];
    memset(large, 'x', sizeof large - 1);
    put(db, "key", "1");
    while (bl_log_room(db->log) > sizeof large + 1000)
        put(db, "key", "1");
    put(db, "before", "2");
    bole_error errors[2] = { BOLE_ERROR_INIT, BOLE_ERROR_INIT };
    bl_write_request second = { .kind = BL_KIND_PUT,
                                .table = &db->default_table,
                                .key = BOLE_STR("second"),
                                .value = text(large),
                                .error = &errors[1] };
    bl_write_request first = { .kind = BL_KIND_PUT,
                               .table = &db->default_table,
                               .key = BOLE_STR("first"),
                               .value = BOLE_STR("1"),
                               .error = &errors[0],
                               .next = &second };
    while (bl_log_room(db->log) > sizeof large)
        put(db, "key", "1");
    bl_commit_lock(db);
    plan.at = plan.calls;
    plan.count = 1;
    bl_write_group_locked(db, &first);
    bl_commit_unlock(db);
    assert_int_equal(plan.failed, 1);
    assert_status(BOLE_IN_DOUBT, first.status, &errors[0]);
    assert_status(BOLE_OK, second.status, &errors[1]);
    assert_marked("second half of a group behind a failed log");
    for (int round = 0; round < 2; round++) {
        assert_value(db, NULL, "before", "2");
        assert_value(db, NULL, "second", large);
        assert_value(db, NULL, "first", NULL); /* its log is gone: what was in doubt is decided */
        if (round == 0) {
            assert_ok(bole_close(db, &w->error), &w->error);
            assert_ok(bole_open("other", &options, &db, &w->error), &w->error);
        }
    }
    assert_ok(bole_close(db, &w->error), &w->error);
    bole_vfs_destroy(failing);
}

/* A write that fails while a sync gathers others, and one that comes behind it: what the failed log held is in segments
 * then, and a newer log has gone on. */
typedef struct late_failure {
    bole_db *db;
    bole_fault_plan *plan;
    bool gone_on; /* all of it happened before the sync began to write */
    bl_job_node node;
} late_failure;

static void fail_a_log_beside_a_sync(void *context)
{
    late_failure *late = context;
    bole_db *db = late->db;
    uint64_t syncs = atomic_load(&db->log_syncs);
    while (!db->sync_running)
        bl_yield(db->scheduler);
    late->plan->at = late->plan->calls;
    late->plan->count = 1;
    assert_status(BOLE_IN_DOUBT, bole_put(db, NULL, BOLE_STR("doubtful"), BOLE_STR("2")), NULL);
    put(db, "after", "3");
    late->gone_on = db->sync_running && atomic_load(&db->log_syncs) == syncs;
}

/* The sync must not go on to the newer log's end: the failed one is never synced again (SYNC-3). It says that it is in
 * doubt, as a log below its target has failed, and the store goes on. */
static void a_sync_that_gathers_others_stops_at_a_failed_log(void **state)
{
    enum { ORDERS = 100 };
    (void)state;
    unsigned gone_on = 0;
    for (uint64_t seed = 1; seed <= ORDERS; seed++) {
        bole_options options = BOLE_OPTIONS_INIT;
        bole_error error = BOLE_ERROR_INIT;
        bole_fault_plan plan = { .at = UINT64_MAX, .system_errno = 5 };
        bole_vfs *disk;
        late_failure late = { .plan = &plan, .node = { .run = fail_a_log_beside_a_sync, .context = &late } };
        assert_ok(bole_vfs_memory_create(seed, &disk), NULL);
        assert_ok(bole_vfs_fault_create(disk, &plan, &options.vfs), NULL);
        options.flags = BOLE_CREATE;
        options.simulation_seed = seed;
        assert_ok(bole_options_set(&options, "map_logs", "no", &error),
                  &error); /* a write is a call to the disk */
        options.memory_limit = 16 << 20;
        assert_ok(bole_open("store", &options, &late.db, &error), &error);
        put(late.db, "before", "1");
        assert_ok(bole_sync(late.db, &error), &error);
        put(late.db, "before", "2");
        late.db->sync_group_last = 1000; /* so many were met last time: it waits for as many */
        bl_scheduler_submit(late.db->scheduler, BL_PRIORITY_HIGH, &late.node);
        bole_status status = bole_sync(late.db, &error);
        while (late.plan->failed == 0)
            bl_yield(late.db->scheduler);
        if (late.gone_on) {
            gone_on++;
            assert_status(BOLE_IN_DOUBT, status, &error);
        }
        assert_ok(bole_flush(late.db, &error), &error);
        assert_ok(bole_sync(late.db, &error), &error);
        for (int round = 0; round < 2; round++) {
            assert_value(late.db, NULL, "before", "2");
            assert_value(late.db, NULL, "doubtful", NULL); /* its log is gone: what was in doubt is decided */
            assert_value(late.db, NULL, "after", "3");
            assert_ok(bole_close(late.db, &error), &error);
            if (round == 0)
                assert_ok(bole_open("store", &options, &late.db, &error), &error);
        }
        bole_vfs_destroy(options.vfs);
        bole_vfs_destroy(disk);
    }
    assert_true(gone_on > 0);
}

/* The disk as it is when the process dies now, and options to open the store on it. */
static bole_vfs *after_a_death(world *w, bole_options *options)
{
    bole_vfs *survived;
    assert_ok(bole_vfs_memory_crash(w->disk, BOLE_CRASH_KEEP_ALL, 1, &survived), NULL);
    *options = w->options;
    options->vfs = survived;
    return survived;
}

static uint64_t last_written_byte(world *w, bole_vfs *disk, char path[300])
{
    uint64_t length = 0, at = 0;
    bool is_directory;
    for (int number = 1; number < 100; number++) { /* the oldest log */
        snprintf(path, 300, "store/%06d.log", number);
        if (disk->exists(disk, path, &is_directory, NULL) == BOLE_OK)
            break;
    }
    bole_file *file;
    assert_ok(disk->open(disk, path, BOLE_VFS_READ, &file, &w->error), &w->error);
    assert_ok(disk->length(file, &length, &w->error), &w->error);
    uint8_t *bytes = malloc(length);
    size_t got;
    assert_ok(disk->read(file, 0, bytes, length, &got, &w->error), &w->error);
    for (uint64_t i = 0; i < got; i++)
        at = bytes[i] != 0 ? i : at;
    free(bytes);
    assert_ok(disk->close(file, NULL), NULL);
    return at;
}

/* The second log has no record any more, and a header that says that all before it was on disk. */
static void claim_in_the_header_alone(world *w, bole_vfs *disk)
{
    char path[300];
    bool is_directory;
    int seen = 0;
    for (int number = 1; number < 100 && seen < 2; number++) {
        snprintf(path, sizeof path, "store/%06d.log", number);
        seen += disk->exists(disk, path, &is_directory, NULL) == BOLE_OK;
    }
    assert_int_equal(seen, 2);
    bl_log_header header;
    uint8_t bytes[BL_LOG_FILE_HEADER_BYTES];
    bole_file *file;
    assert_ok(disk->open(disk, path, BOLE_VFS_WRITE, &file, &w->error), &w->error);
    assert_ok(bl_log_file_read_header(file, path, &header, &w->error), &w->error);
    assert_true(header.synced < header.start);
    header.synced = header.start;
    bl_log_header_encode(&header, bytes);
    assert_ok(disk->write(file, 0, bytes, sizeof bytes, &w->error), &w->error);
    uint8_t *zeros = calloc(1, header.room);
    assert_ok(disk->write(file, sizeof bytes, zeros, header.room, &w->error), &w->error);
    free(zeros);
    assert_ok(disk->close(file, NULL), NULL);
}

/* What says that the end of a log was synced may stand in a record of the next log alone: the damaged end is corruption
 * then, no torn tail, and the records behind it are not dropped in silence. */
static void a_later_log_proves_that_a_torn_one_was_whole(void **state)
{
    world *w = *state;
    w->options.sync_interval_ms = 60000;
    w->options.simulation_seed = 1;
    assert_ok(bole_close(w->db, &w->error), &w->error);
    assert_ok(bole_open("store", &w->options, &w->db, &w->error), &w->error);
    put(w->db, "a", "1");
    fails.segment_bytes_max = 1; /* no flush ends: the logs stay */
    char key[16], value[1001];
    memset(value, 'v', sizeof value - 1);
    value[sizeof value - 1] = '\0';
    bole_statistics statistics = BOLE_STATISTICS_INIT;
    uint64_t rotations = 0;
    for (int i = 0; i < 200; i++) {
        snprintf(key, sizeof key, "key%03d", i);
        put(w->db, key, value);
        assert_ok(bole_stats(w->db, &statistics, &w->error), &w->error);
        if (i == 0)
            rotations = statistics.log_rotations;
        else if (statistics.log_rotations > rotations)
            break;
    }
    assert_true(statistics.log_rotations > rotations);
    assert_ok(bole_sync(w->db, &w->error), &w->error);
    put(w->db, "b", "2"); /* its record says what is synced */
    assert_ok(bole_sync(w->db, &w->error), &w->error);
    for (int round = 0; round < 3; round++) {
        bole_options options;
        bole_vfs *survived = after_a_death(w, &options);
        bole_db *db;
        char path[300];
        if (round == 2) { /* so may it in the next log's header, and there alone */
            claim_in_the_header_alone(w, survived);
        }
        if (round >= 1) {
            uint64_t at = last_written_byte(w, survived, path);
            bole_file *file;
            uint8_t byte;
            size_t got;
            assert_ok(survived->open(survived, path, BOLE_VFS_WRITE, &file, &w->error), &w->error);
            assert_ok(survived->read(file, at, &byte, 1, &got, &w->error), &w->error);
            byte ^= 1;
            assert_ok(survived->write(file, at, &byte, 1, &w->error), &w->error);
            assert_ok(survived->close(file, NULL), NULL);
            refused(w, BOLE_CORRUPT, bole_open("store", &options, &db, &w->error), ".log");
            assert_null(db);
        } else { /* without the damage all of it is there */
            assert_ok(bole_open("store", &options, &db, &w->error), &w->error);
            assert_value(db, NULL, "key000", value);
            assert_value(db, NULL, "b", "2");
            assert_ok(bole_close(db, &w->error), &w->error);
        }
        bole_vfs_destroy(survived);
    }
    assert_marked("torn tail proves to have been synced");
    fails.segment_bytes_max = 0;
}

/* A log that no edit names and that holds records: the manifest has lost its end. A writer says so, and a reader. */
static void a_log_with_records_is_named(void **state)
{
    world *w = *state;
    put(w->db, "a", "1");
    put(w->db, "b", "2");
    assert_ok(bole_sync(w->db, &w->error), &w->error);
    for (int reads = 0; reads < 2; reads++) {
        bole_options options;
        bole_vfs *survived = after_a_death(w, &options);
        bole_db *db;
        char path[300];
        options.flags = reads ? BOLE_READ_ONLY : 0;
        (void)last_written_byte(w, survived, path);
        assert_ok(bole_open("store", &options, &db, &w->error), &w->error);
        assert_value(db, NULL, "b", "2");
        assert_ok(bole_close(db, &w->error), &w->error);
        bole_vfs_destroy(survived);
        assert_ok(bole_vfs_memory_crash(w->disk, BOLE_CRASH_KEEP_ALL, 1, &survived), NULL);
        options.vfs = survived;
        assert_ok(survived->link(survived, path, "store/000090.log", &w->error), &w->error);
        refused(w, BOLE_CORRUPT, bole_open("store", &options, &db, &w->error), "log 90 holds records");
        assert_null(db);
        bole_vfs_destroy(survived);
    }
}

/* Beside a reader that has read the manifest and not yet looked at the directory, the writer goes on to a new log. */
static struct {
    world *w;
    bool done;
} writer_meanwhile;

static bole_status list_behind_a_rotation(bole_vfs *vfs, const char *path,
                                          bool (*visit)(void *context, const char *name), void *context,
                                          bole_error *error)
{
    if (!writer_meanwhile.done) {
        writer_meanwhile.done = true;
        static char value[1001];
        memset(value, 'v', sizeof value - 1);
        bole_statistics statistics = BOLE_STATISTICS_INIT;
        bole_db *db = writer_meanwhile.w->db;
        assert_ok(bole_stats(db, &statistics, NULL), NULL);
        uint64_t rotations = statistics.log_rotations;
        while (statistics.log_rotations == rotations) {
            put(db, "new", value);
            assert_ok(bole_stats(db, &statistics, NULL), NULL);
        }
    }
    return fails.disk->list(vfs, path, visit, context, error);
}

/* It is no corruption: the manifest has grown since. What was there when it was read is there. */
static void a_log_that_comes_while_a_reader_opens_is_no_damage(void **state)
{
    world *w = *state;
    bole_db *reader;
    put(w->db, "a", "1");
    fails.segment_bytes_max = 1; /* no flush ends: the logs stay */
    bole_vfs vfs = w->vfs;
    vfs.list = list_behind_a_rotation;
    writer_meanwhile.w = w;
    writer_meanwhile.done = false;
    bole_options options = w->options;
    options.vfs = &vfs;
    options.flags = BOLE_READ_ONLY;
    assert_ok(bole_open("store", &options, &reader, &w->error), &w->error);
    assert_true(writer_meanwhile.done);
    assert_value(reader, NULL, "a", "1");
    assert_ok(bole_close(reader, &w->error), &w->error);
    fails.segment_bytes_max = 0;
    for (int i = 0; i < 60000 && bole_flush(w->db, NULL) != BOLE_OK; i++)
        usleep(1000);
}

/* Records whose checksums are right and that this version does not know: they are refused, and the log is named. */
static void a_log_with_records_that_no_store_writes_is_refused(void **state)
{
    world *w = *state;
    static const struct {
        uint8_t payload[8];
        size_t size;
        bole_status wanted;
        const char *part;
    } records[] = {
        { { BL_RECORD_BATCH, BL_KIND_PUT, 77, 1, 'k', 1, 'v' }, 7, BOLE_CORRUPT, "table 77" },
        { { BL_RECORD_BATCH, BL_KIND_MERGE, 0, 1, 'k', 1, 'v' }, 7, BOLE_UNSUPPORTED, "newer version" },
        { { BL_RECORD_BATCH, 200 }, 2, BOLE_CORRUPT, "no operation of a batch" },
        { { BL_RECORD_BATCH, BL_KIND_PUT, 0, 9, 'k' }, 5, BOLE_CORRUPT, "no operation of a batch" },
        { { BL_RECORD_BATCH, BL_KIND_PUT, 0, 1, 'k', 1, 'v' }, 7, BOLE_OK, "" },
    };
    for (size_t i = 0; i < sizeof records / sizeof records[0]; i++) {
        char name[16];
        bole_db *db, *other;
        bole_vfs *survived;
        snprintf(name, sizeof name, "other%zu", i);
        assert_ok(bole_open(name, &w->options, &db, &w->error), &w->error);
        put(db, "a", "1");
        bl_commit_lock(db);
        uint64_t position;
        uint8_t *payload = bl_log_reserve(db->log, records[i].size, &position);
        assert_non_null(payload);
        memcpy(payload, records[i].payload, records[i].size);
        bl_log_finish(db->log, payload, records[i].size, position, 0);
        assert_ok(bl_log_publish(db->log, &w->error), &w->error);
        bl_commit_unlock(db);
        assert_ok(bole_vfs_memory_crash(w->disk, BOLE_CRASH_KEEP_ALL, 1, &survived), NULL);
        bole_options options = w->options;
        options.vfs = survived;
        bole_status status = bole_open(name, &options, &other, &w->error);
        if (records[i].wanted == BOLE_OK) {
            assert_ok(status, &w->error);
            assert_value(other, NULL, "a", "1");
            assert_value(other, NULL, "k", "v");
            assert_ok(bole_close(other, &w->error), &w->error);
        } else {
            assert_non_null(strstr(w->error.message, ".log"));
            refused(w, records[i].wanted, status, records[i].part);
        }
        assert_ok(bole_close(db, &w->error), &w->error);
        bole_vfs_destroy(survived);
    }
}

/* ---- names and sizes ---- */

/* Well-formed byte sequences, as the Unicode standard lists them (table 3-7). */
static bool is_well_formed(const unsigned char *at, size_t size)
{
    static const struct {
        unsigned char first, last;
        size_t size;
        unsigned char second_first, second_last;
    } rows[] = {
        { 0xc2, 0xdf, 2, 0x80, 0xbf }, { 0xe0, 0xe0, 3, 0xa0, 0xbf }, { 0xe1, 0xec, 3, 0x80, 0xbf },
        { 0xed, 0xed, 3, 0x80, 0x9f }, { 0xee, 0xef, 3, 0x80, 0xbf }, { 0xf0, 0xf0, 4, 0x90, 0xbf },
        { 0xf1, 0xf3, 4, 0x80, 0xbf }, { 0xf4, 0xf4, 4, 0x80, 0x8f },
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        if (at[0] >= rows[i].first && at[0] <= rows[i].last) {
            bool good = size == rows[i].size && at[1] >= rows[i].second_first && at[1] <= rows[i].second_last;
            for (size_t j = 2; good && j < size; j++)
                good = (at[j] & 0xc0) == 0x80;
            return good;
        }
    return size == 1 && at[0] >= 0x20 && at[0] < 0x7f;
}

static void a_table_name_is_utf8(void **state)
{
    world *w = *state;
    static const unsigned char seconds[] = { 0, 0x41, 0x7f, 0x80, 0x8f, 0x90, 0x9f, 0xa0, 0xbf, 0xc0 };
    for (unsigned first = 1; first < 256; first++)
        for (size_t second = 0; second < sizeof seconds; second++)
            for (size_t size = 2; size <= 4 && (size == 2 || seconds[second] != 0); size++) {
                unsigned char name[5] = { (unsigned char)first, seconds[second], 0x80, 0xbf };
                name[size] = 0;
                if (seconds[second] == 0x41)
                    continue; /* two characters: the rows say nothing of them */
                bool good = is_well_formed(name, strlen((const char *)name));
                bole_table *table;
                bole_status status = bole_table_open(w->db, (const char *)name, &table, &w->error);
                if (status != (good ? BOLE_NOT_FOUND : BOLE_INVALID))
                    fail_msg("%02x %02x.. of %zu: %s", name[0], name[1], strlen((const char *)name),
                             bole_status_name(status));
                assert_null(table);
            }
    bole_table *table;
    refused(w, BOLE_INVALID, bole_table_open(w->db, NULL, &table, &w->error), "1 to 255");
    w->error = (bole_error)BOLE_ERROR_INIT;
}

static void statistics_have_a_size(void **state)
{
    world *w = *state;
    bole_statistics statistics = { .size = 3 };
    refused(w, BOLE_INVALID, bole_stats(w->db, &statistics, &w->error), "bole_statistics");
    statistics.size = sizeof statistics + 8;
    refused(w, BOLE_INVALID, bole_stats(w->db, &statistics, &w->error), "bole_statistics");
    put(w->db, "a", "1");
    bole_snapshot *snapshot, *later;
    assert_ok(bole_snapshot_create(w->db, &snapshot, &w->error), &w->error);
    put(w->db, "b", "1");
    assert_ok(bole_snapshot_create(w->db, &later, &w->error), &w->error);
    statistics = BOLE_STATISTICS_INIT;
    assert_ok(bole_stats(w->db, &statistics, &w->error), &w->error);
    assert_int_equal(statistics.snapshots, 2);
    assert_int_equal(statistics.oldest_snapshot_sequence, bole_snapshot_sequence(snapshot));
    assert_true(bole_snapshot_sequence(snapshot) < bole_snapshot_sequence(later));
    bole_snapshot_destroy(snapshot);
    assert_ok(bole_stats(w->db, &statistics, &w->error), &w->error);
    assert_int_equal(statistics.oldest_snapshot_sequence, bole_snapshot_sequence(later));
    bole_snapshot_destroy(later);
    assert_ok(bole_stats(w->db, &statistics, &w->error), &w->error);
    assert_int_equal(statistics.oldest_snapshot_sequence, 0);
    assert_int_equal(statistics.snapshots, 0);
}

static void a_batch_belongs_to_the_store_of_its_tables(void **state)
{
    world *w = *state;
    bole_db *other;
    bole_table *mine, *theirs;
    bole_batch *batch;
    assert_ok(bole_open("other", &w->options, &other, &w->error), &w->error);
    assert_ok(bole_table_create(w->db, "t", NULL, &mine, &w->error), &w->error);
    assert_ok(bole_table_create(other, "t", NULL, &theirs, &w->error), &w->error);
    assert_ok(bole_batch_create(&batch), NULL);
    assert_ok(bole_batch_put(batch, mine, BOLE_STR("a"), BOLE_STR("1")), NULL);
    assert_status(BOLE_INVALID, bole_batch_put(batch, theirs, BOLE_STR("b"), BOLE_STR("2")), NULL);
    assert_status(BOLE_INVALID, bole_batch_delete(batch, theirs, BOLE_STR("b")), NULL);
    assert_int_equal(bole_batch_count(batch), 1);
    bole_write_options options = BOLE_WRITE_OPTIONS_INIT;
    options.error = &w->error;
    refused(w, BOLE_INVALID, bole_write(other, &options, batch), "another store");
    options.durability = (bole_durability)9;
    refused(w, BOLE_INVALID, bole_write(w->db, &options, batch), "durability 9");
    options.durability = BOLE_DURABILITY_POWER;
    assert_ok(bole_write(w->db, &options, batch), &w->error);
    bole_batch_clear(batch); /* then it belongs to none */
    assert_ok(bole_batch_put(batch, theirs, BOLE_STR("b"), BOLE_STR("2")), NULL);
    options.table = mine;
    refused(w, BOLE_INVALID, bole_put(other, &options, BOLE_STR("c"), BOLE_STR("3")), "store");
    bole_batch_destroy(batch);
    bole_table_close(mine);
    bole_table_close(theirs);
    assert_ok(bole_close(other, &w->error), &w->error);
}

static void a_multi_get_tells_of_the_one_that_failed(void **state)
{
    world *w = *state;
    put(w->db, "key",
        "a value that is long enough to have a byte at 100, whatever stands before it in the block of "
        "the segment, and then some more of it");
    compact(w);
    put(w->db, "new", "1");
    assert_ok(bole_close(w->db, &w->error), &w->error);
    flip_a_byte_of_a_segment(w);
    assert_ok(bole_open("store", &w->options, &w->db, &w->error), &w->error);
    bole_slice keys[] = { BOLE_STR("new"), BOLE_STR("key"), BOLE_STR("absent"), BOLE_STR("new") };
    bole_buffer values[4] = { BOLE_BUFFER_INIT, BOLE_BUFFER_INIT, BOLE_BUFFER_INIT, BOLE_BUFFER_INIT };
    bole_status statuses[4];
    bole_read_options options = BOLE_READ_OPTIONS_INIT;
    options.error = &w->error;
    refused(w, BOLE_CORRUPT, bole_multi_get(w->db, &options, 4, keys, values, statuses), ".seg");
    assert_int_equal(statuses[0], BOLE_OK);
    assert_int_equal(statuses[1], BOLE_CORRUPT);
    assert_int_equal(statuses[2], BOLE_NOT_FOUND);
    assert_int_equal(statuses[3], BOLE_OK);
    for (int i = 0; i < 4; i++)
        bole_buffer_free(&values[i]);
}

static bole_status make_sure(bole_db **db, const bole_options *options, unsigned how, bole_error *error)
{
    static const bole_slice open_end = { NULL, 0 };
    bole_status status = BOLE_OK;
    switch (how) {
    case 0: return bole_sync(*db, error);
    case 1: return bole_flush(*db, error);
    case 2: return bole_compact(*db, NULL, open_end, open_end, error);
    case 3: return bole_checkpoint(*db, "copy", error);
    default:
        status = bole_close(*db, error);
        *db = NULL;
        return status == BOLE_OK ? bole_open("store", options, db, error) : status;
    }
}

/* Goal: what a killed process left in the system's memory alone is durable as soon as the next one has synced, flushed,
 * merged, copied or closed the store, though it wrote nothing itself. Method: then all that is not synced is lost. */
static void what_a_killed_process_left_is_made_durable(void **state)
{
    (void)state;
    for (unsigned how = 0; how < 5; how++) {
        bole_vfs *first, *killed, *cut;
        bole_error error = BOLE_ERROR_INIT;
        bole_options options = BOLE_OPTIONS_INIT;
        bole_buffer value = BOLE_BUFFER_INIT;
        bole_db *db;
        assert_ok(bole_vfs_memory_create(1 + how, &first), NULL);
        options.vfs = first;
        options.flags = BOLE_CREATE;
        options.simulation_seed = 1;
        options.durability = BOLE_DURABILITY_PROCESS;
        assert_ok(bole_open("store", &options, &db, &error), &error);
        assert_ok(bole_put(db, NULL, text("key"), text("value")), NULL);
        assert_ok(bole_vfs_memory_crash(first, BOLE_CRASH_KEEP_ALL, 1, &killed), NULL);
        assert_ok(bole_close(db, &error), &error);
        options.vfs = killed;
        options.flags = 0;
        assert_ok(bole_open("store", &options, &db, &error), &error);
        assert_ok(make_sure(&db, &options, how, &error), &error);
        assert_ok(bole_vfs_memory_crash(killed, BOLE_CRASH_LOSE_ALL, 1, &cut), NULL);
        assert_ok(bole_close(db, &error), &error);
        options.vfs = cut;
        assert_ok(bole_open("store", &options, &db, &error), &error);
        if (bole_get(db, NULL, text("key"), &value) != BOLE_OK)
            fail_msg("made sure in way %u, and lost", how);
        assert_ok(bole_close(db, &error), &error);
        bole_buffer_free(&value);
        bole_vfs_destroy(first);
        bole_vfs_destroy(killed);
        bole_vfs_destroy(cut);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_a_killed_process_left_is_made_durable),
        cmocka_unit_test_setup_teardown(a_checkpoint_copies_where_nothing_can_be_linked, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_checkpoint_goes_where_nothing_is, set_up, tear_down),
        cmocka_unit_test_setup_teardown(reads_need_no_room_in_the_cache, set_up, tear_down),
        cmocka_unit_test_setup_teardown(values_kept_apart_need_no_room_in_the_cache, set_up, tear_down),
        cmocka_unit_test_setup_teardown(blocks_that_drive_each_other_out, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_large_value_has_a_hint, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_hint_never_leads_to_an_old_value, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_hinted_value_may_be_gone_from_memory, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_paranoid_open_looks_at_every_block, set_up, tear_down),
        cmocka_unit_test_setup_teardown(an_order_that_nobody_knows_is_no_order, set_up, tear_down),
        cmocka_unit_test_setup_teardown(what_is_not_ours_stays, set_up, tear_down),
        cmocka_unit_test_setup_teardown(reads_look_into_any_number_of_runs, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_large_block_that_was_not_written_fails_the_flush, set_up,
                                        tear_down),
        cmocka_unit_test(a_flush_gives_way_to_a_drop),
        cmocka_unit_test_setup_teardown(a_failed_flush_waits_before_the_next, set_up, tear_down),
        cmocka_unit_test_setup_teardown(bounds_and_prefix_are_obeyed_together, set_up, tear_down),
        cmocka_unit_test_setup_teardown(an_iterator_counts_what_it_steps_over, set_up, tear_down),
        cmocka_unit_test_setup_teardown(each_reader_keeps_its_moment, set_up, tear_down),
#if !defined(BL_THREAD_SANITIZER)
        cmocka_unit_test_setup_teardown(readers_have_two_hundred_and_fifty_six_slots, set_up, tear_down),
#endif
        cmocka_unit_test_setup_teardown(a_read_under_way_keeps_its_files, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_reader_refreshes_past_a_drop, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_reader_without_a_slot_reads_what_nobody_writes, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_writer_that_cannot_see_its_readers_removes_nothing, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(a_second_writer_is_told_of_the_first, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_reader_without_slot_and_lock, set_up, tear_down),
        cmocka_unit_test_setup_teardown(small_calls_without_memory_say_so, set_up, tear_down),
        cmocka_unit_test(verify_tells_of_damage_that_an_open_passes),
        cmocka_unit_test(removals_without_memory_lose_nothing),
        cmocka_unit_test(merges_and_moves_without_memory_are_made_later),
        cmocka_unit_test(a_close_whose_calls_fail_loses_nothing),
        cmocka_unit_test(a_store_that_stopped_half_way_changes_no_tables),
        cmocka_unit_test_setup_teardown(the_wait_after_failed_flushes_has_an_end, set_up, tear_down),
        cmocka_unit_test_setup_teardown(the_second_half_of_a_group_goes_on_behind_a_failed_log, set_up,
                                        tear_down),
        cmocka_unit_test(a_sync_that_gathers_others_stops_at_a_failed_log),
        cmocka_unit_test_setup_teardown(a_later_log_proves_that_a_torn_one_was_whole, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_log_with_records_is_named, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_log_that_comes_while_a_reader_opens_is_no_damage, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(a_log_with_records_that_no_store_writes_is_refused, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(a_table_name_is_utf8, set_up, tear_down),
        cmocka_unit_test_setup_teardown(statistics_have_a_size, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_batch_belongs_to_the_store_of_its_tables, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_multi_get_tells_of_the_one_that_failed, set_up, tear_down),
    };
    return cmocka_run_group_tests_name("rare_paths", tests, NULL, NULL);
}
