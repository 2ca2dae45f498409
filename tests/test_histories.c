/* SPDX-License-Identifier: MIT */
/* test_histories.c -- every short history, cut at every call to the disk, in every way.
 *
 * All sequences of one, two (or three) operations of {put, del, batch, flush, compact, reopen}, in four variants
 * (logs mapped or written, writes durable or not). At each call that changes the disk it is cut in each mode (random
 * twice), and the store that is opened on what survived must hold the content after some number of writes: at least
 * those that were durable (or acknowledged, when only the process died), at most those that were tried.
 * BOLE_TEST_EFFORT 1 (default): length 2, the variants in turn; 2: length 2, all variants; 3: length 3; 4: length 4. */
#include "cut_fixture.h"

enum { PUT, DEL, BATCH, FLUSH, COMPACT, REOPEN, KINDS };
enum { KEYS = 3, LENGTH_MAX = 4, VARIANTS = 4 };

static const char *const kind_names[KINDS] = { "put", "del", "batch", "flush", "compact", "reopen" };
static const bole_slice keys[KEYS] = { { "a", 1 }, { "b", 1 }, { "c", 1 } };

typedef struct story {
    uint32_t length, variant;
    uint8_t kinds[LENGTH_MAX];
    uint32_t contents[LENGTH_MAX + 1][KEYS]; /* after n writes: number of the write, 0: not there */
    uint64_t states;
    cutter cutter;
} story;

static _Noreturn void fail_story(const story *s, const cut *one, const char *what)
{
    for (uint32_t i = 0; i < s->length; i++)
        print_error("%s ", kind_names[s->kinds[i]]);
    print_error("(variant %u, call %llu, mode %d, seed %llu; durable %u, tried %u): %s\n", s->variant,
                (unsigned long long)(one != NULL ? one->call : s->cutter.calls),
                one != NULL ? (int)one->mode : -1, (unsigned long long)(one != NULL ? one->seed : 0),
                one != NULL ? one->at.durable : 0, one != NULL ? one->at.tried : 0, what);
    _fail(__FILE__, __LINE__);
    abort();
}

static bole_options options_for(const story *s, bole_vfs *vfs)
{
    bole_options options = BOLE_OPTIONS_INIT;
    options.flags = BOLE_CREATE | (s->variant % 2 != 0 ? BOLE_NO_SIGBUS_HANDLER : 0);
    options.vfs = vfs;
    options.simulation_seed = 1 + s->variant;
    options.memory_limit = 16 << 20;
    options.memtable_bytes = 8192;
    options.large_value_bytes = s->variant % 2 == 0 ? 1 : 4096;
    options.segment_bytes = 8192;
    options.block_bytes = 1024;
    options.level0_runs = 1;
    options.durability = s->variant / 2 != 0 ? BOLE_DURABILITY_POWER : BOLE_DURABILITY_PROCESS;
    return options;
}

static void read_content(const story *s, bole_db *db, const cut *one, uint32_t content[KEYS])
{
    bole_buffer value = BOLE_BUFFER_INIT;
    uint32_t shown = 0, there = 0;
    for (uint32_t k = 0; k < KEYS; k++) {
        content[k] = 0;
        bole_status status = bole_get(db, NULL, keys[k], &value);
        if (status != BOLE_OK && status != BOLE_NOT_FOUND)
            fail_story(s, one, bole_status_name(status));
        if (status == BOLE_OK && value.size != sizeof content[k])
            fail_story(s, one, "a value has another size");
        if (status == BOLE_OK) {
            memcpy(&content[k], value.data, sizeof content[k]);
            there++;
        }
    }
    bole_buffer_free(&value);
    bole_iterator *iterator;
    assert_ok(bole_iterator_create(db, NULL, &iterator), NULL);
    for (bool on = bole_iterator_seek_first(iterator); on; on = bole_iterator_next(iterator))
        shown++;
    if (bole_iterator_status(iterator) != BOLE_OK || shown != there)
        fail_story(s, one, "a scan shows other entries than gets do");
    bole_iterator_destroy(iterator);
}

static void judge(story *s, const cut *one)
{
    bole_options options = options_for(s, one->disk);
    bole_error error = BOLE_ERROR_INIT;
    uint32_t content[KEYS];
    bole_db *db;
    if (bole_open("store", &options, &db, &error) != BOLE_OK)
        fail_story(s, one, error.message);
    read_content(s, db, one, content);
    bool found = false;
    for (uint32_t n = cut_least(one); n <= one->at.tried && !found; n++)
        found = memcmp(content, s->contents[n], sizeof content) == 0;
    if (!found)
        fail_story(s, one, "what came back is not a prefix that holds what it must");
    if (bole_close(db, &error) != BOLE_OK)
        fail_story(s, one, error.message);
    s->states++;
}

static void judge_all(story *s)
{
    for (size_t i = 0; i < s->cutter.count; i++)
        judge(s, &s->cutter.cuts[i]);
    cutter_drop_cuts(&s->cutter);
}

static bole_status write_one(story *s, bole_db *db, uint8_t kind, bole_error *error)
{
    promises *now = &s->cutter.now;
    uint32_t n = now->tried + 1;
    bole_slice value = { &n, sizeof n };
    bole_write_options options = BOLE_WRITE_OPTIONS_INIT;
    options.error = error;
    memcpy(s->contents[n], s->contents[n - 1], sizeof s->contents[n]);
    s->contents[n][0] = kind == DEL ? 0 : n;
    if (kind == BATCH) {
        s->contents[n][1] = n;
        s->contents[n][2] = 0;
    }
    now->tried = n;
    if (kind == PUT)
        return bole_put(db, &options, keys[0], value);
    if (kind == DEL)
        return bole_delete(db, &options, keys[0]);
    bole_batch *batch;
    assert_ok(bole_batch_create(&batch), NULL);
    assert_ok(bole_batch_put(batch, NULL, keys[2], value), NULL);
    assert_ok(bole_batch_put(batch, NULL, keys[0], value), NULL);
    assert_ok(bole_batch_put(batch, NULL, keys[1], value), NULL);
    assert_ok(bole_batch_delete(batch, NULL, keys[2]), NULL);
    bole_status status = bole_write(db, &options, batch);
    bole_batch_destroy(batch);
    return status;
}

static void run_one(story *s, bole_db **db, uint8_t kind)
{
    static const bole_slice open_end = { NULL, 0 };
    bole_error error = BOLE_ERROR_INIT;
    bole_status status = BOLE_OK;
    promises *now = &s->cutter.now;
    if (kind <= BATCH) {
        status = write_one(s, *db, kind, &error);
        now->acknowledged = now->tried;
        if (s->variant / 2 != 0)
            now->durable = now->tried;
    } else if (kind == FLUSH) {
        status = bole_flush(*db, &error);
    } else if (kind == COMPACT) {
        status = bole_compact(*db, NULL, open_end, open_end, &error);
    } else {
        status = bole_close(*db, &error);
        *db = NULL;
        if (status == BOLE_OK) {
            now->durable = now->tried;
            bole_options options = options_for(s, s->cutter.traced);
            status = bole_open("store", &options, db, &error);
        }
    }
    if (status != BOLE_OK)
        fail_story(s, NULL, error.message);
    if (kind > BATCH)
        now->durable = now->tried;
}

static uint64_t run_story(story *s, uint64_t seed)
{
    bole_vfs *disk;
    bole_error error = BOLE_ERROR_INIT;
    bole_db *db;
    uint32_t content[KEYS];
    assert_ok(bole_vfs_memory_create(seed, &disk), NULL);
    cutter_init(&s->cutter, disk, disk, seed, 1);
    bole_options options = options_for(s, s->cutter.traced);
    assert_ok(bole_open("store", &options, &db, &error), &error);
    judge_all(s);
    for (uint32_t i = 0; i < s->length; i++) {
        run_one(s, &db, s->kinds[i]);
        cutter_call(&s->cutter, "");
        read_content(s, db, NULL, content);
        if (memcmp(content, s->contents[s->cutter.now.tried], sizeof content) != 0)
            fail_story(s, NULL, "the live store shows something else");
        judge_all(s);
    }
    assert_ok(bole_close(db, &error), &error);
    s->cutter.now.durable = s->cutter.now.tried;
    cutter_call(&s->cutter, "");
    judge_all(s);
    cutter_end(&s->cutter);
    bole_vfs_destroy(disk);
    return s->states;
}

/* Goal: the small world completely, where a random history would have to be lucky. */
static void every_short_history_survives_every_cut(void **state)
{
    (void)state;
    const char *text = getenv("BOLE_TEST_EFFORT");
    uint64_t effort = text != NULL ? strtoull(text, NULL, 10) : 1;
    uint32_t longest = effort >= 4 ? 4 : effort >= 3 ? 3 : 2;
    uint64_t seed = test_seed(1), histories = 0, states = 0;
    for (uint32_t length = 1, total = KINDS; length <= longest; length++, total *= KINDS)
        for (uint32_t number = 0; number < total; number++)
            for (uint32_t variant = 0; variant < (effort >= 2 ? VARIANTS : 1); variant++) {
                story s = { .length = length, .variant = effort >= 2 ? variant : (number + number / 6) % 4 };
                for (uint32_t i = 0, rest = number; i < length; i++, rest /= KINDS)
                    s.kinds[i] = (uint8_t)(rest % KINDS);
                states += run_story(&s, seed);
                histories++;
            }
    print_message("%llu histories of up to %u operations, %llu cut states: 0 lost, 0 invented, 0 refused\n",
                  (unsigned long long)histories, longest, (unsigned long long)states);
    assert_true(states > histories * 50);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_short_history_survives_every_cut),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
