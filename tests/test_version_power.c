/* SPDX-License-Identifier: MIT */
/* test_version_power.c -- the version set under power cuts and failing calls.
 *
 * A story is a run of random edits with reopens, clean and not, told from a seed on a disk in memory; the
 * model knows what was acknowledged, what is in doubt and what is in flight. The call with a given index
 * fails (once, or with all that follow); then the power goes, in every mode, and what recovery finds must be
 * one of those states. Files that the set allowed to be deleted must not be named by it. */
#include "version_fixture.h"

#include "base/assert.h"
#include <errno.h>

enum { STORY_EDITS = 14, NUMBERS_MAX = 4096, DOUBTS_MAX = 8 };

typedef struct known_state {
    version_model model;
    char *text;
} known_state;

typedef struct story_state {
    /* the plan */
    uint64_t seed;
    bool keep_going;    /* after a failure: go on, as a store does */
    bool careless;      /* planted: delete without asking may_delete */
    bool lie_directory; /* planted: sync_directory does nothing */
    bool lie_current;   /* planted: sync of CURRENT.tmp does nothing */
    bool lie_manifest;  /* planted: sync of a manifest does nothing */
    /* the disk */
    bole_vfs *memory, *fault;
    bole_vfs lying;
    bole_fault_plan plan;
    /* what is known */
    bl_prng prng;
    bl_version_set *set;
    bool created; /* create returned BOLE_OK */
    known_state acked;
    known_state doubts[DOUBTS_MAX]; /* failed edits, since the last that did not */
    uint32_t doubt_count;
    bool made[NUMBERS_MAX], deleted[NUMBERS_MAX];
    uint32_t edits, failures, wrong;
} story_state;

/* ---- A vfs that lies ---- */

static story_state *telling; /* whose files lie */

static bole_status no_directory_sync(bole_vfs *vfs, const char *path, bole_error *error)
{
    (void)vfs, (void)path, (void)error;
    return BOLE_OK;
}

static bole_file *current_file, *manifest_file;

static bole_status note_open(bole_vfs *vfs, const char *path, uint32_t flags, bole_file **out,
                             bole_error *error)
{
    (void)vfs;
    bole_status status = telling->memory->open(telling->memory, path, flags, out, error);
    if (status == BOLE_OK)
        (*out)->vfs = &telling->lying;
    if (status == BOLE_OK && strstr(path, "CURRENT.tmp") != NULL)
        current_file = *out;
    else if (status == BOLE_OK && strstr(path, "manifest-") != NULL && (flags & BOLE_VFS_WRITE) != 0)
        manifest_file = *out;
    return status;
}

static bole_status some_syncs(bole_file *file, bole_error *error)
{
    if ((telling->lie_current && file == current_file) || (telling->lie_manifest && file == manifest_file))
        return BOLE_OK;
    return telling->memory->sync(file, error);
}

/* ---- Telling a story ---- */

static void know(known_state *state, const version_model *model)
{
    free(state->text);
    state->model = *model;
    state->text = model_text(model);
}

static void clear_doubts(story_state *story)
{
    while (story->doubt_count > 0) {
        known_state *doubt = &story->doubts[--story->doubt_count];
        free(doubt->text);
        doubt->text = NULL;
    }
}

static void file_due(void *context, uint64_t number)
{
    story_state *story = context;
    assert_true(number < NUMBERS_MAX);
    story->deleted[number] = true;
}

static void delete_orphans(story_state *story)
{
    if (!story->careless && !set_may_delete(story->set))
        return;
    for (uint64_t number = 1; number < NUMBERS_MAX; number++)
        if (story->made[number] && !bl_version_set_names_file(story->set, BL_FILE_SEGMENT, number) &&
            !bl_version_set_names_file(story->set, BL_FILE_LOG, number))
            story->deleted[number] = true;
}

static void note_numbers(story_state *story, const bl_version_edit *edit)
{
    for (uint32_t i = 0; i < edit->added_count; i++)
        story->made[edit->added[i].number] = true;
    for (uint32_t i = 0; i < edit->logs_added_count; i++)
        story->made[edit->logs_added[i].number] = true;
}

static bole_status apply_random(story_state *story, bool close)
{
    static random_edit random;
    static version_model model;
    bole_error error = BOLE_ERROR_INIT;
    model = story->acked.model;
    random_edit_make(&model, &story->prng, story->set, &random);
    note_numbers(story, &random.edit);
    assert_true(story->doubt_count < DOUBTS_MAX);
    known_state *doubt = &story->doubts[story->doubt_count++];
    know(doubt, &model); /* from here on it may be on disk */
    bole_status status = close ? set_close_cleanly(story->set, &random.edit, &error)
                               : set_apply(story->set, &random.edit, &error);
    story->edits++;
    char *text = set_text(story->set);
    if (status == BOLE_OK)
        know(&story->acked, &model);
    if (close && status != BOLE_OK && strcmp(text, doubt->text) == 0)
        know(&story->acked, &model); /* the edit is in force, only the mark is not */
    assert_string_equal(text, story->acked.text);
    free(text);
    if (status == BOLE_OK)
        clear_doubts(story);
    else
        story->failures++;
    delete_orphans(story);
    return status;
}

static bool is_planted(const story_state *story)
{
    return story->careless || story->lie_directory || story->lie_current || story->lie_manifest;
}

static bool pass_number(void *context, const char *name)
{
    uint64_t number;
    (void)bl_file_parse(name, &number);
    bl_mutex_lock(&world.mutex);
    bl_version_set_pass_file_number(context, number);
    bl_mutex_unlock(&world.mutex);
    return true;
}

static bole_status recover(story_state *story, bole_vfs *disk, bole_error *error)
{
    bl_version_set_parameters parameters = set_parameters(disk);
    parameters.manifest_bytes_max = 900;
    bole_status status = bl_version_set_recover(&parameters, &story->set, error);
    if (status != BOLE_OK)
        return status;
    /* What an open does: pass the numbers of all files, also of those that only the story knows. */
    assert_ok(story->memory->list(disk == story->fault ? story->memory : disk, STORE_DIRECTORY, pass_number,
                                  story->set, error),
              error);
    for (uint64_t number = 1; number < NUMBERS_MAX; number++) {
        char name[32];
        snprintf(name, sizeof name, "%06" PRIu64 ".seg", number);
        if (story->made[number])
            pass_number(story->set, name);
    }
    return BOLE_OK;
}

/* Is the state that was recovered one that may be there? The model goes on from it. */
static void judge(story_state *story)
{
    char *text = set_text(story->set);
    const known_state *match = strcmp(text, story->acked.text) == 0 ? &story->acked : NULL;
    for (uint32_t i = 0; i < story->doubt_count && match == NULL; i++)
        if (strcmp(text, story->doubts[i].text) == 0)
            match = &story->doubts[i];
    if (match == NULL) {
        story->wrong++;
        if (!is_planted(story))
            print_error("recovered:\n%s\nacknowledged:\n%s\n", text, story->acked.text);
    }
    for (uint64_t number = 1; number < NUMBERS_MAX; number++) {
        if (!story->deleted[number] || (!bl_version_set_names_file(story->set, BL_FILE_SEGMENT, number) &&
                                        !bl_version_set_names_file(story->set, BL_FILE_LOG, number)))
            continue;
        story->wrong++;
        if (!is_planted(story))
            print_error("file %" PRIu64 " was deleted and is named\n", number);
    }
    if (match != NULL &&
        match != &story->acked) { /* read, and perhaps only from the page cache: both stay possible */
        static version_model model, before;
        model = match->model;
        before = story->acked.model;
        know(&story->acked, &model);
        assert_true(story->doubt_count < DOUBTS_MAX);
        know(&story->doubts[story->doubt_count++], &before);
    }
    free(text);
}

/* Recovered state is one of those that the crash could leave; and the store goes on from there, twice. */
static void judge_disk(story_state *before, bole_vfs *disk)
{
    static story_state after; /* big */
    after = *before;
    after.set = NULL;
    after.acked.text = NULL;
    know(&after.acked, &before->acked.model);
    for (uint32_t i = 0; i < after.doubt_count; i++)
        after.doubts[i].text = strdup(before->doubts[i].text);
    world.environment.context = &after;
    bole_error error = BOLE_ERROR_INIT;
    bole_status status = recover(&after, disk, &error);
    if (status == BOLE_NO_STORE && !before->created) {
        bl_version_set_parameters parameters = set_parameters(disk);
        assert_ok(bl_version_set_create(&parameters, &after.set, &error), &error);
    } else if (status != BOLE_OK) {
        after.wrong++;
        if (!is_planted(before))
            print_error("recovery says %s: %s\n", bole_status_name(status), error.message);
    } else {
        judge(&after);
    }
    if (status == BOLE_OK && after.wrong == 0) {
        after.careless = false;
        delete_orphans(&after);
        assert_int_equal(apply_random(&after, false), BOLE_OK);
        bl_version_set_destroy(after.set);
        after.set = NULL;
        assert_ok(recover(&after, disk, &error), &error);
        judge(&after);
    }
    before->wrong = after.wrong;
    bl_version_set_destroy(after.set);
    free(after.acked.text);
    clear_doubts(&after);
    world.environment.context = before;
}

/* A failing call makes an open fail, never calls the store corrupt. */
static bool reopen(story_state *story)
{
    bole_error error = BOLE_ERROR_INIT;
    bl_version_set_destroy(story->set);
    story->set = NULL;
    for (;;) {
        uint64_t failed = story->plan.failed;
        bole_status status = recover(story, story->fault, &error);
        if (status == BOLE_OK)
            break;
        if (story->plan.failed == failed || status == BOLE_CORRUPT || status == BOLE_NO_STORE) {
            print_error("reopening says %s: %s\n", bole_status_name(status), error.message);
            story->wrong++;
        }
        if (!story->keep_going || story->wrong != 0)
            return false;
    }
    judge(story);
    return story->wrong == 0;
}

static void begin_story(story_state *story, uint64_t seed, uint64_t at, uint64_t count, bool half)
{
    story->seed = seed;
    bl_prng_init(&story->prng, seed);
    story->memory = disk_make(seed);
    story->lying = *story->memory;
    telling = story;
    current_file = manifest_file = NULL;
    if (story->lie_directory)
        story->lying.sync_directory = no_directory_sync;
    if (story->lie_current || story->lie_manifest) {
        story->lying.open = note_open;
        story->lying.sync = some_syncs;
    }
    story->plan = (bole_fault_plan){
        .at = at, .count = count, .system_errno = seed % 2 ? EIO : ENOSPC, .half = half
    };
    bool lies = story->lie_directory || story->lie_current || story->lie_manifest;
    assert_ok(bole_vfs_fault_create(lies ? &story->lying : story->memory, &story->plan, &story->fault), NULL);
    world.environment.file_due = file_due;
    world.environment.context = story;
    static version_model empty;
    model_begin(&empty);
    know(&story->acked, &empty);
}

static void end_story(story_state *story)
{
    bl_version_set_destroy(story->set);
    story->set = NULL;
    clear_doubts(story);
    free(story->acked.text);
    bole_vfs_destroy(story->fault);
    bole_vfs_destroy(story->memory);
    world.environment.file_due = NULL;
}

/* Ends early when a call fails and the story does not keep going. */
static void tell(story_state *story)
{
    bole_error error = BOLE_ERROR_INIT;
    bl_version_set_parameters parameters = set_parameters(story->fault);
    parameters.manifest_bytes_max = 900;
    bole_status status = bl_version_set_create(&parameters, &story->set, &error);
    if (status != BOLE_OK && story->keep_going) {
        status = bl_version_set_create(&parameters, &story->set, &error);
        if (status == BOLE_EXISTS) /* CURRENT was renamed, its directory not synced */
            status = bl_version_set_recover(&parameters, &story->set, &error);
    }
    if (status != BOLE_OK)
        return;
    story->created = true;
    for (int i = 0; i < STORY_EDITS; i++) {
        if (apply_random(story, false) != BOLE_OK && !story->keep_going)
            return;
        if (!bl_prng_chance(&story->prng, 5))
            continue;
        bool close = bl_prng_chance(&story->prng, 2);
        if (close && apply_random(story, true) != BOLE_OK && !story->keep_going)
            return;
        if (!reopen(story))
            return;
    }
}

/* How many states were looked at, and how many were wrong. */
typedef struct sweep_result {
    uint64_t states, wrong, calls;
} sweep_result;

static void cut_power(story_state *story, uint64_t seeds, sweep_result *result)
{
    static const bole_crash_mode modes[] = { BOLE_CRASH_LOSE_ALL, BOLE_CRASH_KEEP_ALL, BOLE_CRASH_NAMES_ONLY,
                                             BOLE_CRASH_RANDOM };
    for (size_t mode = 0; mode < sizeof modes / sizeof modes[0]; mode++) {
        uint64_t times = modes[mode] == BOLE_CRASH_RANDOM ? seeds : 1;
        for (uint64_t i = 0; i < times; i++) {
            bole_vfs *disk = NULL;
            assert_ok(bole_vfs_memory_crash(story->memory, modes[mode], story->seed * 1000 + i, &disk), NULL);
            uint32_t wrong = story->wrong;
            judge_disk(story, disk);
            result->states++;
            result->wrong += story->wrong != wrong;
            if (story->wrong != wrong && !is_planted(story))
                print_error("seed %" PRIu64 " call %" PRIu64 " mode %d crash %" PRIu64 "\n", story->seed,
                            story->plan.at, modes[mode], i);
            story->wrong = wrong;
            bole_vfs_destroy(disk);
        }
    }
}

/* Every call of the story of `seed` fails in turn: for good, or once; then the power goes. */
static void sweep(const story_state *like, uint64_t seed, bool once, uint64_t crash_seeds, uint64_t step,
                  sweep_result *result)
{
    for (uint64_t at = 0;; at += step) {
        static story_state story;
        story = *like;
        story.keep_going = once;
        begin_story(&story, seed, at, once ? 1 : UINT64_MAX, at % 2 == 0);
        tell(&story);
        if (story.wrong != 0) {
            result->states++;
            result->wrong++;
        } else {
            cut_power(&story, crash_seeds, result);
        }
        result->calls++;
        bool reached = story.plan.failed != 0;
        end_story(&story);
        if (!reached)
            return;
    }
}

/* Goal: (SET-1). Method: the power goes at every single call of several stories, in all modes. */
static void after_a_power_cut_the_state_is_the_last_or_the_one_in_flight(void **state)
{
    (void)state;
    uint64_t seed = test_seed(1);
    static const story_state plain;
    sweep_result result = { 0, 0, 0 };
    for (uint64_t i = 0; i < 3; i++)
        sweep(&plain, seed + i, false, 3, 1, &result);
    print_message("[   COUNT  ] %" PRIu64 " calls, %" PRIu64 " states, %" PRIu64 " wrong\n", result.calls,
                  result.states, result.wrong);
    assert_int_equal(result.wrong, 0);
    assert_true(result.states > 1000);
#ifdef BL_CHECKS
    assert_true(bl_mark_count("torn edit dropped") > 0);
#endif
}

/* Goal: one failing call costs one edit at most, the store goes on, and a power cut after that finds what was
 * acknowledged. Method: every call of several stories fails once; the story goes on to its end; then the
 * cut. */
static void after_one_failing_call_the_store_goes_on(void **state)
{
    (void)state;
    uint64_t seed = test_seed(101);
    static const story_state plain;
    sweep_result result = { 0, 0, 0 };
    for (uint64_t i = 0; i < 3; i++)
        sweep(&plain, seed + i, true, 1, 1, &result);
    print_message("[   COUNT  ] %" PRIu64 " calls, %" PRIu64 " states, %" PRIu64 " wrong\n", result.calls,
                  result.states, result.wrong);
    assert_int_equal(result.wrong, 0);
#ifdef BL_CHECKS
    assert_true(bl_mark_count("edit in doubt") > 0);
    assert_true(bl_mark_count("roll-over in doubt") > 0);
    assert_true(bl_mark_count("roll-over for size put off") > 0);
#endif
}

/* Goal: these tests can fail. Method: plant one defect at a time below the set or beside it. */
static void planted_defects_are_caught(void **state)
{
    (void)state;
    static story_state careless = { .careless = true }, directory = { .lie_directory = true },
                       current = { .lie_current = true }, manifest = { .lie_manifest = true };
    struct {
        const char *what;
        story_state *like;
        bool once;
    } defects[] = {
        { "files deleted while in doubt", &careless, true },
        { "no sync of the directory", &directory, false },
        { "no sync of CURRENT.tmp", &current, false },
        { "no sync of the manifest", &manifest, false },
    };
    for (size_t i = 0; i < sizeof defects / sizeof defects[0]; i++) {
        sweep_result result = { 0, 0, 0 };
        for (uint64_t seed = 1; seed < 6 && result.wrong == 0; seed++)
            sweep(defects[i].like, seed, defects[i].once, 2, 2, &result);
        print_message("[   COUNT  ] %s: %" PRIu64 " wrong of %" PRIu64 " states\n", defects[i].what,
                      result.wrong, result.states);
        assert_true(result.wrong > 0);
    }
}

static int end_world(void **state)
{
    (void)state;
    world_end();
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(after_a_power_cut_the_state_is_the_last_or_the_one_in_flight),
        cmocka_unit_test(after_one_failing_call_the_store_goes_on),
        cmocka_unit_test(planted_defects_are_caught),
    };
    return cmocka_run_group_tests(tests, NULL, end_world);
}
