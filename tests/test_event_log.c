/* SPDX-License-Identifier: MIT */
/* test_event_log.c -- events.jsonl: every line whole and valid JSON, rotation, levels, and failures that
 * only count. */
#include "test.h"

#include "base/alloc.h"
#include "core/event_log.h"

#include <errno.h>
#include <jansson.h>
#include <pthread.h>

static bole_vfs *memory_with_directory(void)
{
    bole_vfs *vfs;
    assert_ok(bole_vfs_memory_create(1, &vfs), NULL);
    assert_ok(vfs->make_directory(vfs, "s", NULL), NULL);
    return vfs;
}

static bl_event_log *open_log(bole_vfs *vfs, bole_log_level level)
{
    bl_event_log *log;
    bole_error error = BOLE_ERROR_INIT;
    assert_ok(bl_event_log_open(vfs, "s", level, NULL, NULL, &log, &error), &error);
    return log;
}

/* The file's content as text in memory of the caller. */
static char *content(bole_vfs *vfs, const char *path)
{
    bole_file *file;
    uint64_t length;
    size_t got;
    bole_error error = BOLE_ERROR_INIT;
    assert_ok(vfs->open(vfs, path, BOLE_VFS_READ, &file, &error), &error);
    assert_ok(vfs->length(file, &length, &error), &error);
    char *text = calloc(1, (size_t)length + 1);
    assert_non_null(text);
    assert_ok(vfs->read(file, 0, text, (size_t)length, &got, &error), &error);
    assert_ok(vfs->close(file, &error), &error);
    return text;
}

/* Every line must be a JSON object on its own; returns how many, and the last one in *last (may be NULL). */
static unsigned count_lines(const char *text, json_t **last)
{
    unsigned lines = 0;
    json_t *object = NULL;
    while (*text != 0) {
        const char *end = strchr(text, '\n');
        assert_non_null(end);
        json_decref(object);
        object = json_loadb(text, (size_t)(end - text), 0, NULL);
        assert_true(json_is_object(object));
        text = end + 1;
        lines++;
    }
    if (last != NULL)
        *last = object;
    else
        json_decref(object);
    return lines;
}

/* Lines that are no JSON object of their own. */
static unsigned count_torn(const char *text)
{
    unsigned torn = 0;
    while (*text != 0) {
        size_t length = strcspn(text, "\n");
        json_t *object = json_loadb(text, length, 0, NULL);
        torn += object == NULL;
        json_decref(object);
        text += length + (text[length] == '\n');
    }
    return torn;
}

static const char *text_of(json_t *object, const char *name)
{
    return json_string_value(json_object_get(object, name));
}

static void event_is_one_line_of_json(void **state)
{
    (void)state;
    bole_vfs *vfs = memory_with_directory();
    bl_event_log *log = open_log(vfs, BOLE_LOG_INFO);
    const bl_event_field fields[] = {
        BL_EVENT_U64("segment", 12),
        BL_EVENT_U64("most", UINT64_MAX),
        BL_EVENT_I64("level", -1),
        BL_EVENT_DOUBLE("ratio", 1.5),
        BL_EVENT_DOUBLE("infinite", 1e308 * 10),
        BL_EVENT_BOOL("clean", true),
        BL_EVENT_TEXT("message", "line\nbreak \"quoted\" \xc3\xa9"),
        BL_EVENT_TEXT("no_text", NULL),
        BL_EVENT_TEXT("not_utf8", "a\xff"),
        BL_EVENT_BYTES("key", BOLE_STR("k\0\x01z")),
    };
    bl_event_log_add(log, BOLE_LOG_INFO, "flush", fields, sizeof fields / sizeof fields[0]);
    bl_event_log_close(log);

    char *text = content(vfs, "s/events.jsonl");
    assert_int_equal(strncmp(text, "{\"time\":\"2023-11-14T22:13:20.", 29), 0);
    json_t *object;
    assert_int_equal(count_lines(text, &object), 1);
    assert_string_equal(text_of(object, "severity"), "info");
    assert_string_equal(text_of(object, "event"), "flush");
    assert_int_equal(json_integer_value(json_object_get(object, "segment")), 12);
    assert_string_equal(text_of(object, "most"), "18446744073709551615");
    assert_int_equal(json_integer_value(json_object_get(object, "level")), -1);
    assert_true(json_real_value(json_object_get(object, "ratio")) == 1.5);
    assert_true(json_is_null(json_object_get(object, "infinite")));
    assert_true(json_is_true(json_object_get(object, "clean")));
    assert_string_equal(text_of(object, "message"), "line\nbreak \"quoted\" \xc3\xa9");
    assert_true(json_is_null(json_object_get(object, "no_text")));
    assert_string_equal(text_of(object, "not_utf8"), "a\\xff");
    assert_string_equal(text_of(object, "key"), "k\\x00\\x01z");
    json_decref(object);
    free(text);
    bole_vfs_destroy(vfs);
}

/* A key of 64 KiB must not make a line of 256 KiB. */
static void long_keys_are_cut(void **state)
{
    (void)state;
    bole_vfs *vfs = memory_with_directory();
    bl_event_log *log = open_log(vfs, BOLE_LOG_INFO);
    static char key[65535];
    bl_event_log_add(log, BOLE_LOG_INFO, "e",
                     (bl_event_field[]){ BL_EVENT_BYTES("key", BOLE_SLICE(key, sizeof key)) }, 1);
    bl_event_log_close(log);
    char *text = content(vfs, "s/events.jsonl");
    assert_true(strlen(text) < 1500);
    assert_non_null(strstr(text, "\\\\x00...\""));
    free(text);
    bole_vfs_destroy(vfs);
}

static void less_important_events_are_not_told(void **state)
{
    (void)state;
    bole_vfs *vfs = memory_with_directory();
    bl_event_log *log = open_log(vfs, BOLE_LOG_WARN);
    assert_false(bl_event_log_wants(log, BOLE_LOG_INFO));
    bl_event_log_add(log, BOLE_LOG_INFO, "quiet", NULL, 0);
    bl_event_log_add(log, BOLE_LOG_WARN, "told", NULL, 0);
    bl_event_log_set_level(log, BOLE_LOG_DEBUG);
    bl_event_log_add(log, BOLE_LOG_DEBUG, "told_too", NULL, 0);
    bl_event_log_close(log);
    char *text = content(vfs, "s/events.jsonl");
    assert_int_equal(count_lines(text, NULL), 2);
    assert_null(strstr(text, "quiet"));
    free(text);
    bole_vfs_destroy(vfs);
}

typedef struct heard {
    unsigned count;
    bole_log_level level;
    char json[200];
} heard;

static void hear(void *context, bole_log_level level, const char *json, size_t size)
{
    heard *all = context;
    all->count++;
    all->level = level;
    snprintf(all->json, sizeof all->json, "%.*s", (int)size, json);
}

static void callback_gets_the_line_of_the_file(void **state)
{
    (void)state;
    bole_vfs *vfs = memory_with_directory();
    heard all = { 0 };
    bl_event_log *log;
    assert_ok(bl_event_log_open(vfs, "s", BOLE_LOG_INFO, hear, &all, &log, NULL), NULL);
    bl_event_log_add(log, BOLE_LOG_ERROR, "sync_failed", (bl_event_field[]){ BL_EVENT_U64("log", 7) }, 1);
    bl_event_log_close(log);
    char *text = content(vfs, "s/events.jsonl");
    assert_int_equal(all.count, 1);
    assert_int_equal(all.level, BOLE_LOG_ERROR);
    text[strlen(text) - 1] = 0; /* the newline */
    assert_string_equal(all.json, text);
    free(text);
    bole_vfs_destroy(vfs);
}

/* A reader of a store writes nothing into it. */
static void without_a_directory_only_the_callback_hears(void **state)
{
    (void)state;
    bole_vfs *vfs = memory_with_directory();
    heard all = { 0 };
    bl_event_log *log;
    assert_ok(bl_event_log_open(vfs, NULL, BOLE_LOG_INFO, hear, &all, &log, NULL), NULL);
    bl_event_log_add(log, BOLE_LOG_INFO, "open", NULL, 0);
    assert_int_equal(all.count, 1);
    assert_int_equal(bl_event_log_lost(log), 0);
    bl_event_log_close(log);
    bl_event_log_add(NULL, BOLE_LOG_INFO, "open", NULL, 0);
    assert_int_equal(bl_event_log_lost(NULL), 0);
    bl_event_log_close(NULL);
    assert_status(BOLE_NOT_FOUND, vfs->exists(vfs, "s/events.jsonl", &(bool){ false }, NULL), NULL);
    bole_vfs_destroy(vfs);
}

/* The next run goes on behind what is there; a line that a crash tore stays alone on its line (EVENT-2). */
static void next_run_goes_on_behind_a_torn_line(void **state)
{
    (void)state;
    bole_vfs *vfs = memory_with_directory();
    bole_file *file;
    bl_event_log *log = open_log(vfs, BOLE_LOG_INFO);
    bl_event_log_add(log, BOLE_LOG_INFO, "first", NULL, 0);
    bl_event_log_close(log);
    log = open_log(vfs, BOLE_LOG_INFO);
    bl_event_log_add(log, BOLE_LOG_INFO, "second", NULL, 0);
    bl_event_log_close(log);
    char *text = content(vfs, "s/events.jsonl");
    assert_int_equal(count_lines(text, NULL), 2);
    assert_ok(vfs->open(vfs, "s/events.jsonl", BOLE_VFS_WRITE, &file, NULL), NULL);
    assert_ok(vfs->write(file, strlen(text), "{\"time", 6, NULL), NULL);
    assert_ok(vfs->close(file, NULL), NULL);
    free(text);

    log = open_log(vfs, BOLE_LOG_INFO);
    bl_event_log_add(log, BOLE_LOG_INFO, "third", NULL, 0);
    bl_event_log_add(log, BOLE_LOG_INFO, "fourth", NULL, 0);
    bl_event_log_close(log);
    text = content(vfs, "s/events.jsonl");
    char *torn = strstr(text, "{\"time\n");
    assert_non_null(torn);
    assert_int_equal(count_lines(torn + 7, NULL), 2);
    free(text);
    bole_vfs_destroy(vfs);
}

/* 1,000 lines at 4 KiB: both files stay below their size, hold whole lines, and the newest are there in order. */
static void files_are_rotated_at_their_size(void **state)
{
    (void)state;
    bole_vfs *vfs = memory_with_directory();
    bl_event_log *log = open_log(vfs, BOLE_LOG_INFO);
    bl_event_log_set_bytes(log, 4096);
    for (uint64_t i = 0; i < 1000; i++)
        bl_event_log_add(log, BOLE_LOG_INFO, "tick", (bl_event_field[]){ BL_EVENT_U64("n", i) }, 1);
    assert_int_equal(bl_event_log_lost(log), 0);
    bl_event_log_close(log);
    char *now = content(vfs, "s/events.jsonl"), *before = content(vfs, "s/events.1.jsonl");
    assert_true(strlen(now) <= 4096 && strlen(before) <= 4096 && strlen(before) > 3900);
    json_t *last_now, *last_before;
    unsigned lines = count_lines(now, &last_now);
    count_lines(before, &last_before);
    assert_int_equal(json_integer_value(json_object_get(last_now, "n")), 999);
    assert_int_equal(json_integer_value(json_object_get(last_before, "n")), 999 - lines);
    json_decref(last_now);
    json_decref(last_before);
    free(now);
    free(before);
    bole_vfs_destroy(vfs);
}

/* Every call below fails once, at each position in turn, whole and half: no line is torn or lost uncounted. */
static void every_failing_call_only_loses_its_line(void **state)
{
    (void)state;
    enum { EVENTS = 12 };
    char even[400]; /* every other line is much longer than the one behind it, which would show its rest */
    memset(even, 'x', sizeof even - 1);
    even[sizeof even - 1] = 0;
    uint64_t calls = UINT64_MAX;
    unsigned lost_in_all = 0;
    for (uint64_t at = 0; at < calls; at++)
        for (int half = 0; half < 2; half++) {
            bole_vfs *below = memory_with_directory(), *vfs;
            bole_fault_plan plan = { .at = at, .count = 1, .system_errno = EIO, .half = half != 0 };
            assert_ok(bole_vfs_fault_create(below, &plan, &vfs), NULL);
            bl_event_log *log = open_log(vfs, BOLE_LOG_INFO);
            bl_event_log_set_bytes(log, 1500);
            for (uint64_t i = 0; i < EVENTS; i++)
                bl_event_log_add(log, BOLE_LOG_INFO, "tick",
                                 (bl_event_field[]){ BL_EVENT_TEXT("text", i % 2 == 0 ? even : "") }, 1);
            uint64_t lost = bl_event_log_lost(log);
            bl_event_log_close(log);
            if (plan.failed == 0) {
                assert_int_equal(lost, 0);
                calls = at;
            }
            assert_true(lost <= 1);
            lost_in_all += (unsigned)lost;
            char *text = content(below, "s/events.jsonl");
            assert_true(count_torn(text) <= lost);
            free(text);
            bole_vfs_destroy(vfs);
            bole_vfs_destroy(below);
        }
    assert_true(calls > EVENTS && lost_in_all > EVENTS);
}

/* Nothing can be written at all: everything is counted, the callback still hears. */
static void lost_lines_are_counted(void **state)
{
    (void)state;
    bole_vfs *below = memory_with_directory(), *vfs;
    bole_fault_plan plan = { .at = 0, .count = UINT64_MAX, .system_errno = ENOSPC };
    assert_ok(bole_vfs_fault_create(below, &plan, &vfs), NULL);
    heard all = { 0 };
    bl_event_log *log;
    assert_ok(bl_event_log_open(vfs, "s", BOLE_LOG_INFO, hear, &all, &log, NULL), NULL);
    for (int i = 0; i < 5; i++)
        bl_event_log_add(log, BOLE_LOG_INFO, "tick", NULL, 0);
    assert_int_equal(bl_event_log_lost(log), 5);
    assert_int_equal(all.count, 5);
    plan.at = UINT64_MAX;
    bl_event_log_add(log, BOLE_LOG_INFO, "tick", NULL, 0);
    assert_int_equal(bl_event_log_lost(log), 5);
    bl_event_log_close(log);
    bole_vfs_destroy(vfs);
    bole_vfs_destroy(below);
}

/* Our own allocations fail one after the other: open says so, an event is lost, nothing leaks. */
static void failing_allocations_lose_lines_not_memory(void **state)
{
    (void)state;
    for (uint64_t at = 0; at < 8; at++) {
        bole_vfs *vfs = memory_with_directory();
        bl_event_log *log;
        int64_t live = bl_alloc_live();
        bl_alloc_fail_at(at, UINT64_MAX);
        bole_status status = bl_event_log_open(vfs, "s", BOLE_LOG_INFO, NULL, NULL, &log, NULL);
        if (status == BOLE_OK) {
            bl_event_log_add(log, BOLE_LOG_INFO, "tick", NULL, 0);
            bl_alloc_fail_at(UINT64_MAX, 0);
            assert_true(bl_event_log_lost(log) <= 1);
            bl_event_log_close(log);
        } else {
            bl_alloc_fail_at(UINT64_MAX, 0);
            assert_int_equal(status, BOLE_NO_MEMORY);
            assert_null(log);
            assert_int_equal(bl_alloc_live(), live);
        }
        bole_vfs_destroy(vfs);
    }
}

enum { THREADS = 4, EVENTS_A_THREAD = 200 };

static void *tell(void *context)
{
    for (uint64_t i = 0; i < EVENTS_A_THREAD; i++)
        bl_event_log_add(context, BOLE_LOG_INFO, "tick", (bl_event_field[]){ BL_EVENT_U64("n", i) }, 1);
    return NULL;
}

static void lines_of_many_threads_stay_whole(void **state)
{
    (void)state;
    bole_vfs *vfs = memory_with_directory();
    bl_event_log *log = open_log(vfs, BOLE_LOG_INFO);
    pthread_t threads[THREADS];
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, tell, log), 0);
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(pthread_join(threads[i], NULL), 0);
    assert_int_equal(bl_event_log_lost(log), 0);
    bl_event_log_close(log);
    char *text = content(vfs, "s/events.jsonl");
    assert_int_equal(count_lines(text, NULL), THREADS * EVENTS_A_THREAD);
    free(text);
    bole_vfs_destroy(vfs);
}

/* The calendar, at its edges: moved clocks of the memory vfs against dates computed by hand. */
static void times_are_right_at_the_edges_of_the_calendar(void **state)
{
    (void)state;
    static const struct {
        int64_t us;
        const char *time;
    } moments[] = {
        { 0, "1970-01-01T00:00:00.000000Z" },
        { -1, "1969-12-31T23:59:59.999999Z" },
        { INT64_C(951782400000000), "2000-02-29T00:00:00.000000Z" },
        { INT64_C(1709251199999999), "2024-02-29T23:59:59.999999Z" },
        { INT64_C(1735689600000000), "2025-01-01T00:00:00.000000Z" },
        { INT64_C(4107542400000000), "2100-03-01T00:00:00.000000Z" },
        { INT64_C(-62135596800000000), "0001-01-01T00:00:00.000000Z" },
    };
    for (size_t i = 0; i < sizeof moments / sizeof moments[0]; i++) {
        bole_vfs *vfs = memory_with_directory();
        heard all = { 0 };
        bl_event_log *log;
        assert_ok(bl_event_log_open(vfs, NULL, BOLE_LOG_INFO, hear, &all, &log, NULL), NULL);
        int64_t now = vfs->realtime_us(vfs);
        bole_vfs_memory_advance(vfs, moments[i].us - now);
        bl_event_log_add(log, BOLE_LOG_INFO, "tick", NULL, 0);
        json_t *object;
        strcat(all.json, "\n");
        assert_int_equal(count_lines(all.json, &object), 1);
        assert_string_equal(text_of(object, "time"), moments[i].time);
        json_decref(object);
        bl_event_log_close(log);
        bole_vfs_destroy(vfs);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(event_is_one_line_of_json),
        cmocka_unit_test(long_keys_are_cut),
        cmocka_unit_test(less_important_events_are_not_told),
        cmocka_unit_test(callback_gets_the_line_of_the_file),
        cmocka_unit_test(without_a_directory_only_the_callback_hears),
        cmocka_unit_test(next_run_goes_on_behind_a_torn_line),
        cmocka_unit_test(files_are_rotated_at_their_size),
        cmocka_unit_test(every_failing_call_only_loses_its_line),
        cmocka_unit_test(lost_lines_are_counted),
        cmocka_unit_test(failing_allocations_lose_lines_not_memory),
        cmocka_unit_test(lines_of_many_threads_stay_whole),
        cmocka_unit_test(times_are_right_at_the_edges_of_the_calendar),
    };
    return cmocka_run_group_tests_name("event_log", tests, NULL, NULL);
}
