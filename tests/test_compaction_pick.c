/* SPDX-License-Identifier: MIT */
/* test_compaction_pick.c -- which merge is next: levels drawn as text, and levels played as a game.
 *
 * Text: tests/golden/compaction_pick_*.txt hold blocks of levels, a command, "----" and the answer; see the first of
 * them. BOLE_TEST_REWRITE=1 writes the answers of now into the files. Game: small levels of real entries, random
 * flushes and jobs; after each step every key must read as a map says, and the levels must be in order. */
#include "test.h"

#include "base/alloc.h"
#include "base/buffer.h"
#include "base/coding.h"
#include "base/prng.h"
#include "compaction/compaction_pick.h"

/* ---- A version from descriptions ---- */

enum { SEGMENTS_MAX = 2048 };

typedef struct description {
    uint32_t table, level, run;
    char smallest[16], largest[16];
    uint64_t number, bytes, entries, tombstones, sequence_min, sequence_max;
    bool busy;
    uint64_t dead;    /* of a value segment's entries */
    uint8_t uses[64]; /* of value segments */
    size_t uses_bytes;
} description;

/* Handles open nothing here, but they are counted by a cache. */
static bl_memory_budget budget;
static bl_segment_environment environment = { .directory = "nowhere",
                                              .budget = &budget,
                                              .open_files_max = 8 };

static int make_environment(void **state)
{
    (void)state;
    bl_memory_budget_init(&budget, 1 << 20, 0);
    return bl_scheduler_create(1, &environment.scheduler, NULL) != BOLE_OK ||
           bl_frame_cache_create(&budget, environment.scheduler, &environment.cache, NULL) != BOLE_OK ||
           bl_segment_environment_init(&environment, NULL) != BOLE_OK;
}

static int unmake_environment(void **state)
{
    (void)state;
    bl_segment_environment_deinit(&environment);
    bl_frame_cache_destroy(environment.cache);
    bl_scheduler_destroy(environment.scheduler);
    return 0;
}

static bl_version *version_of(const description *all, uint32_t count, uint32_t tables)
{
    static bl_version_insertion insertions[SEGMENTS_MAX];
    bl_version_birth births[4];
    for (uint32_t i = 0; i < tables; i++)
        births[i] = (bl_version_birth){ .number = i,
                                        .name = i == 0 ? "default" : "other",
                                        .comparator_name = BL_COMPARATOR_BYTES_NAME,
                                        .comparator_known = true };
    bole_error error = BOLE_ERROR_INIT;
    for (uint32_t i = 0; i < count; i++) {
        const description *d = &all[i];
        bl_segment_meta meta = {
            .number = d->number,
            .file_bytes = d->bytes,
            .table = d->table,
            .level = d->level,
            .run = d->run,
            .smallest = bl_slice(d->smallest, strlen(d->smallest)),
            .largest = bl_slice(d->largest, strlen(d->largest)),
            .sequence_min = d->sequence_min,
            .sequence_max = d->sequence_max,
            .entries = d->entries,
            .tombstones = d->tombstones,
            .blocks = d->level == BL_LEVEL_VALUES ? d->entries : 1,
            .value_uses = bl_slice(d->uses, d->uses_bytes),
        };
        if (d->level == BL_LEVEL_VALUES) {
            meta.raw_bytes = d->bytes;
            meta.dead_entries = d->dead;
            meta.dead_bytes = d->bytes / d->entries * d->dead;
        }
        insertions[i] = (bl_version_insertion){ .table = d->table, .level = d->level, .run = d->run };
        assert_ok(bl_segment_create_handle(&environment, &meta, NULL, &insertions[i].segment, &error),
                  &error);
    }
    bl_version_change change = {
        .births = births, .birth_count = tables, .insertions = insertions, .insertion_count = count
    };
    bl_version *version;
    assert_ok(bl_version_build(&change, &version, &error), &error);
    for (uint32_t i = 0; i < count; i++)
        bl_segment_unref(insertions[i].segment);
    assert_ok(bl_version_check(version, &error), &error);
    return version;
}

static const bl_run *run_of(const bl_version *version, uint32_t table, uint32_t level, uint32_t run)
{
    const bl_level *at = &bl_version_table_by_number(version, table)->levels[level];
    for (uint32_t i = 0; i < at->run_count; i++)
        if (at->runs[i].number == run)
            return &at->runs[i];
    fail_msg("a pick names run %u of level %u, which is not there", run, level);
    return NULL;
}

/* ---- Text ---- */

typedef struct text_case {
    bl_pick_policy policy;
    description all[SEGMENTS_MAX];
    uint32_t count, table, tables;
} text_case;

static uint64_t parse_bytes(const char **text)
{
    char *end;
    double value = strtod(*text, &end);
    if (*end == 'K')
        value *= 1024;
    else if (*end == 'M')
        value *= 1024 * 1024;
    else if (*end == 'G')
        value *= 1024 * 1024 * 1024;
    else
        end--;
    *text = end + 1;
    return (uint64_t)value;
}

enum { VALUES_FIRST = 1000 }; /* number of a value segment: its number in the text and this */

/* "values 1: 64M 100 60": number, bytes, values, how many of them are dead. */
static void parse_values(text_case *c, const char *text)
{
    assert_true(c->count < SEGMENTS_MAX);
    description *d = &c->all[c->count++];
    char bytes[32];
    memset(d, 0, sizeof *d);
    assert_int_equal(4, sscanf(text, "%" SCNu64 ": %31s %" SCNu64 " %" SCNu64, &d->number, bytes, &d->entries,
                               &d->dead));
    const char *number = bytes;
    d->bytes = parse_bytes(&number);
    d->number += VALUES_FIRST;
    d->table = c->table;
    d->level = BL_LEVEL_VALUES;
}

/* "a-f 4M 30% busy s900 v1*40": keys, bytes, share of tombstones, running job, highest sequence, pointers into a value
 * segment, in order of the numbers. */
static void parse_segment(text_case *c, char *text, uint32_t level, uint32_t run)
{
    assert_true(c->count < SEGMENTS_MAX);
    description *d = &c->all[c->count];
    char bytes[32];
    int used;
    memset(d, 0, sizeof *d);
    assert_int_equal(3, sscanf(text, " %15[^-]-%15s %31s%n", d->smallest, d->largest, bytes, &used));
    const char *number = bytes;
    d->bytes = parse_bytes(&number);
    d->table = c->table;
    c->tables = c->table < c->tables ? c->tables : c->table + 1;
    d->level = level;
    d->run = run;
    d->number = ++c->count;
    d->entries = d->bytes / 128 + 1;
    d->sequence_max = level == 0 ? 10000 + run * 1000 : 1000 * (BOLE_LEVELS_MAX - level);
    char *save, *word = strtok_r(text + used, " ", &save);
    for (; word != NULL; word = strtok_r(NULL, " ", &save)) {
        if (strcmp(word, "busy") == 0)
            d->busy = true;
        else if (*word == 'v') {
            char *star;
            uint8_t *at = bl_put_varint(d->uses + d->uses_bytes,
                                        VALUES_FIRST + strtoull(word + 1, &star, 10));
            d->uses_bytes = (size_t)(bl_put_varint(at, strtoull(star + 1, NULL, 10)) - d->uses);
        } else if (*word == 's')
            d->sequence_max = strtoull(word + 1, NULL, 10);
        else
            d->tombstones = d->entries * strtoull(word, NULL, 10) / 100;
    }
    d->sequence_min = d->sequence_max - d->sequence_max % 1000;
}

static void parse_policy(text_case *c, char *text)
{
    char *save;
    c->policy = (bl_pick_policy){ .oldest_snapshot = BL_SEQUENCE_MAX };
    for (char *word = strtok_r(text, " ", &save); word != NULL; word = strtok_r(NULL, " ", &save)) {
        const char *value = strchr(word, '=');
        value = value == NULL ? "1" : value + 1;
        if (strncmp(word, "runs", 4) == 0)
            c->policy.level0_runs = (uint32_t)parse_bytes(&value);
        else if (strncmp(word, "memtable", 8) == 0)
            c->policy.memtable_bytes = parse_bytes(&value);
        else if (strncmp(word, "segment", 7) == 0)
            c->policy.segment_bytes = parse_bytes(&value);
        else if (strncmp(word, "job", 3) == 0)
            c->policy.job_bytes = parse_bytes(&value);
        else if (strncmp(word, "ratio", 5) == 0)
            c->policy.last_level_ratio = (uint32_t)parse_bytes(&value);
        else if (strncmp(word, "idle", 4) == 0)
            c->policy.idle = true;
        else if (strncmp(word, "snapshot", 8) == 0)
            c->policy.oldest_snapshot = parse_bytes(&value);
        else
            fail_msg("no such policy: %s", word);
    }
}

static bool is_busy(void *context, uint64_t number)
{
    const text_case *c = context;
    return c->all[number - 1].busy;
}

static void print_bytes(bole_buffer *out, uint64_t bytes)
{
    if (bytes % (1u << 20) == 0)
        assert_true(bl_buffer_append_format(out, "%" PRIu64 "M", bytes >> 20));
    else if (bytes % 1024 == 0)
        assert_true(bl_buffer_append_format(out, "%" PRIu64 "K", bytes >> 10));
    else
        assert_true(bl_buffer_append_format(out, "%" PRIu64, bytes));
}

static void print_pick(bole_buffer *out, const bl_version *version, const bl_pick *pick)
{
    static const char *const reasons[] = { "nothing", "level0_runs", "level_size", "tombstones",
                                           "idle",    "manual",      "values",     "pointers" };
    assert_true(bl_buffer_append_format(out, "%s", reasons[pick->reason]));
    if (pick->reason != BL_PICK_NOTHING) {
        assert_true(bl_buffer_append_format(out, ": %s to L%u", pick->trivial_move ? "move" : "merge",
                                            pick->output_level));
        if (pick->table != 0)
            assert_true(bl_buffer_append_format(out, " of table %u", pick->table));
        assert_true(bl_buffer_append_format(out, ", "));
        print_bytes(out, pick->input_bytes);
        assert_true(bl_buffer_append_format(out, pick->bottom ? ", bottom" : ""));
    }
    for (uint32_t i = 0; i < pick->run_count; i++) {
        const struct bl_pick_run *part = &pick->runs[i];
        const bl_run *run = run_of(version, pick->table, part->level, part->run);
        assert_true(bl_buffer_append_format(out, "\n  L%u", part->level));
        if (part->level == 0)
            assert_true(bl_buffer_append_format(out, " r%u", part->run));
        for (uint32_t j = part->first; j < part->first + part->count; j++)
            assert_true(
                bl_buffer_append_format(out, "%s%.*s-%.*s", j == part->first ? ": " : ", ",
                                        (int)run->smallest[j].size, (const char *)run->smallest[j].data,
                                        (int)run->largest[j].size, (const char *)run->largest[j].data));
    }
    assert_true(bl_buffer_append_format(out, "\n"));
}

static void run_command(text_case *c, char *line, bole_buffer *out)
{
    bole_error error = BOLE_ERROR_INIT;
    bl_version *version = version_of(c->all, c->count, c->tables);
    if (strcmp(line, "debt") == 0) {
        print_bytes(out, bl_compaction_debt(version, &c->policy));
        assert_true(bl_buffer_append_format(out, "\n"));
    } else {
        bl_pick pick;
        char begin[16], end[16];
        if (strcmp(line, "pick") == 0) {
            assert_ok(bl_compaction_pick(version, &c->policy, is_busy, c, &pick, &error), &error);
        } else {
            assert_int_equal(2, sscanf(line, "manual %15[^-]-%15s", begin, end));
            bole_slice from = *begin == '*' ? bl_slice(NULL, 0) : bl_slice(begin, strlen(begin));
            bole_slice to = *end == '*' ? bl_slice(NULL, 0) : bl_slice(end, strlen(end));
            assert_ok(bl_compaction_pick_manual(version, &c->policy, c->table, from, to, &pick, &error),
                      &error);
        }
        print_pick(out, version, &pick);
        bl_pick_deinit(&pick);
    }
    bl_version_unref(version);
}

/* One line of input. */
static void take_line(text_case *c, char *line, bole_buffer *answer)
{
    uint32_t level, run = 0;
    int used = 0;
    if (*line == '#' || *line == '\0')
        return;
    if (strncmp(line, "policy", 6) == 0) {
        parse_policy(c, line + 6);
        c->count = c->table = 0;
        c->tables = 1;
    } else if (strncmp(line, "values ", 7) == 0) {
        parse_values(c, line + 7);
    } else if (sscanf(line, "table %u", &c->table) == 1) {
        ; /* segments that follow are in it */
    } else if (sscanf(line, "L%u r%u:%n", &level, &run, &used) == 2 && used != 0) {
        char *save, *text = strtok_r(line + used, ",", &save);
        for (; text != NULL; text = strtok_r(NULL, ",", &save))
            parse_segment(c, text, level, run);
    } else if (sscanf(line, "L%u:%n", &level, &used) == 1 && used != 0) {
        char *save, *text = strtok_r(line + used, ",", &save);
        for (; text != NULL; text = strtok_r(NULL, ",", &save))
            parse_segment(c, text, level, 0);
    } else {
        run_command(c, line, answer);
    }
}

static void check_file(const char *name)
{
    char path[600];
    snprintf(path, sizeof path, "%s/tests/golden/%s", BOLE_SOURCE_DIR, name);
    FILE *file = fopen(path, "r");
    if (file == NULL)
        fail_msg("cannot open %s", path);
    text_case *c = calloc(1, sizeof *c);
    assert_non_null(c);
    bole_buffer all = BOLE_BUFFER_INIT, answer = BOLE_BUFFER_INIT, expected = BOLE_BUFFER_INIT;
    char line[4096], copy[4096];
    bool in_answer = false;
    int number = 0, wrong = 0;
    for (;;) {
        char *got = fgets(line, sizeof line, file);
        number++;
        if (got != NULL)
            line[strcspn(line, "\n")] = '\0';
        if (in_answer && (got == NULL || *line == '\0')) {
            if (answer.size != expected.size ||
                (answer.size != 0 && memcmp(answer.data, expected.data, answer.size) != 0)) {
                print_error("%s:%d: expected\n%.*sbut it is\n%.*s", name, number, (int)expected.size,
                            (const char *)expected.data, (int)answer.size, (const char *)answer.data);
                wrong++;
            }
            assert_true(bl_buffer_append(&all, answer.data, answer.size));
            answer.size = expected.size = 0;
            in_answer = false;
        } else if (in_answer) {
            assert_true(bl_buffer_append_format(&expected, "%s\n", line));
            continue;
        }
        if (got == NULL)
            break;
        assert_true(bl_buffer_append_format(&all, "%s\n", line));
        in_answer = strcmp(line, "----") == 0;
        memcpy(copy, line, sizeof copy);
        if (!in_answer)
            take_line(c, copy, &answer);
    }
    fclose(file);
    if (wrong != 0 && getenv("BOLE_TEST_REWRITE") != NULL) {
        file = fopen(path, "w");
        assert_non_null(file);
        fwrite(all.data, 1, all.size, file);
        fclose(file);
    }
    bole_buffer_free(&all);
    bole_buffer_free(&answer);
    bole_buffer_free(&expected);
    free(c);
    assert_int_equal(0, wrong);
}

/* Goal: level 0 by runs: groups, closure, moves, small runs. */
static void level_0_goes_down_in_groups(void **state)
{
    (void)state;
    check_file("compaction_pick_level0.txt");
}

/* Goal: the middle level comes and goes with the last one's size. */
static void a_middle_level_stands_while_the_last_is_large(void **state)
{
    (void)state;
    check_file("compaction_pick_middle.txt");
}

/* Goal: tombstones, idling and manual work reach the bottom, and end. */
static void tombstones_idling_and_manual_work_go_to_the_bottom(void **state)
{
    (void)state;
    check_file("compaction_pick_bottom.txt");
}

/* Goal: no two running jobs can meet in one level. */
static void jobs_keep_out_of_each_others_way(void **state)
{
    (void)state;
    check_file("compaction_pick_busy.txt");
}

/* Goal: space that dead values waste is bounded, and what has none of them is left alone. */
static void dead_values_are_written_out_of_the_way(void **state)
{
    (void)state;
    check_file("compaction_pick_values.txt");
}

/* Goal: debt is what must be merged. */
static void debt_is_what_must_be_merged(void **state)
{
    (void)state;
    check_file("compaction_pick_debt.txt");
}

/* ---- The game ---- */

enum { GAME_KEYS = 400, GAME_SEGMENTS = 512, GAME_ENTRIES = 900, JOBS_MAX = 2 };
static const uint64_t ENTRY_BYTES = 1024;

typedef struct game_entry {
    uint32_t key;
    uint64_t sequence;
    bool tombstone;
} game_entry;

typedef struct game_segment { /* number 0: a free place */
    uint64_t number;
    uint32_t level, run, count;
    bool busy;
    game_entry entries[GAME_ENTRIES];
} game_segment;

typedef struct game_job {
    bool runs;
    uint32_t output_level, output_run;
    uint64_t inputs[GAME_SEGMENTS];
    uint32_t input_count, entry_count;
    game_entry *entries; /* merged */
} game_job;

typedef struct game {
    bl_pick_policy policy;
    game_segment segments[GAME_SEGMENTS];
    uint64_t truth[GAME_KEYS]; /* newest sequence; 0: none or deleted */
    uint64_t next_number, next_sequence, snapshot;
    game_job jobs[JOBS_MAX];
} game;

static void key_text(char *out, uint32_t key) { snprintf(out, 16, "%04u", key); }

static game_segment *game_find(game *g, uint64_t number)
{
    for (uint32_t i = 0; i < GAME_SEGMENTS; i++)
        if (g->segments[i].number == number)
            return &g->segments[i];
    fail_msg("segment %" PRIu64 " is not there", number);
    return NULL;
}

static game_segment *game_add(game *g, uint32_t level, uint32_t run)
{
    game_segment *segment = game_find(g, 0);
    segment->number = g->next_number++;
    segment->level = level;
    segment->run = run;
    segment->count = 0;
    segment->busy = false;
    return segment;
}

static bl_version *game_version(game *g) /* checked: bl_version_check looks at the order of levels */
{
    static description all[GAME_SEGMENTS];
    uint32_t count = 0;
    memset(all, 0, sizeof all);
    for (uint32_t i = 0; i < GAME_SEGMENTS; i++) {
        const game_segment *segment = &g->segments[i];
        if (segment->number == 0)
            continue;
        description *d = &all[count++];
        d->level = segment->level;
        d->run = segment->run;
        d->number = segment->number;
        d->bytes = segment->count * ENTRY_BYTES;
        d->entries = segment->count;
        d->sequence_min = UINT64_MAX;
        key_text(d->smallest, segment->entries[0].key);
        key_text(d->largest, segment->entries[segment->count - 1].key);
        for (uint32_t j = 0; j < segment->count; j++) {
            uint64_t sequence = segment->entries[j].sequence;
            d->tombstones += segment->entries[j].tombstone;
            d->sequence_min = sequence < d->sequence_min ? sequence : d->sequence_min;
            d->sequence_max = sequence > d->sequence_max ? sequence : d->sequence_max;
        }
    }
    return version_of(all, count, 1);
}

/* Age of a place: lower is newer. */
static uint64_t age_of(const game_segment *segment)
{
    return segment->level == 0 ? UINT32_MAX - segment->run : UINT64_C(1) << 32 << segment->level;
}

/* Every key reads as the map says, and no version lies above a newer one (VER-3). */
static void game_check(game *g)
{
    for (uint32_t key = 0; key < GAME_KEYS; key++) {
        uint64_t newest_age = UINT64_MAX, found = 0, seen[GAME_SEGMENTS], ages[GAME_SEGMENTS];
        uint32_t count = 0;
        for (uint32_t i = 0; i < GAME_SEGMENTS; i++) {
            const game_segment *segment = &g->segments[i];
            for (uint32_t j = 0; segment->number != 0 && j < segment->count; j++) {
                const game_entry *entry = &segment->entries[j];
                if (entry->key != key)
                    continue;
                uint64_t age = age_of(segment);
                for (uint32_t k = 0; k < count; k++) /* a segment holds a key once in this game */
                    if ((ages[k] < age) != (seen[k] > entry->sequence) || ages[k] == age)
                        fail_msg("key %u: a version lies above a newer one", key);
                ages[count] = age;
                seen[count++] = entry->sequence;
                if (age < newest_age) {
                    newest_age = age;
                    found = entry->tombstone ? 0 : entry->sequence;
                }
            }
        }
        if (found != g->truth[key])
            fail_msg("key %u reads %" PRIu64 ", not %" PRIu64, key, found, g->truth[key]);
    }
}

/* A new run of random keys, cut at random, or where the last level is, or not at all. */
static void game_flush(game *g, bl_prng *prng)
{
    uint32_t run = 1, used = 0;
    for (uint32_t i = 0; i < GAME_SEGMENTS; i++) {
        if (g->segments[i].number != 0 && g->segments[i].level == 0 && g->segments[i].run >= run)
            run = g->segments[i].run + 1;
        used += g->segments[i].number != 0;
    }
    if (used > GAME_SEGMENTS / 2)
        return;
    uint64_t way = bl_prng_below(prng, 3), one_in = 1 + bl_prng_below(prng, 20);
    uint64_t deletes = bl_prng_chance(prng, 3) ? 2 : 20;
    uint32_t from = bl_prng_chance(prng, 2) ? 0 : (uint32_t)bl_prng_below(prng, GAME_KEYS);
    uint32_t width = bl_prng_chance(prng, 2) ? GAME_KEYS : 1 + (uint32_t)bl_prng_below(prng, 50);
    game_segment *segment = NULL;
    for (uint32_t key = from; key < GAME_KEYS && key - from < width; key++) {
        if (!bl_prng_chance(prng, one_in))
            continue;
        bool cut = way == 0 && bl_prng_chance(prng, 10);
        for (uint32_t i = 0; way == 1 && i < GAME_SEGMENTS; i++)
            cut = cut || (g->segments[i].number != 0 && g->segments[i].level == BL_LEVEL_LAST &&
                          g->segments[i].entries[0].key <= key && segment != NULL &&
                          g->segments[i].entries[0].key > segment->entries[segment->count - 1].key);
        if (segment == NULL || cut)
            segment = game_add(g, 0, run);
        bool tombstone = bl_prng_chance(prng, deletes);
        segment->entries[segment->count++] = (game_entry){ key, g->next_sequence, tombstone };
        g->truth[key] = tombstone ? 0 : g->next_sequence;
        g->next_sequence++;
    }
}

static bool game_busy(void *context, uint64_t number) { return game_find(context, number)->busy; }

static int order_entries(const void *a, const void *b)
{
    const game_entry *left = a, *right = b;
    if (left->key != right->key)
        return left->key < right->key ? -1 : 1;
    return left->sequence > right->sequence ? -1 : left->sequence < right->sequence;
}

/* Begin a picked job: its inputs are merged as they are now, and put in place when it ends. */
static void game_begin(game *g, const bl_version *version, const bl_pick *pick)
{
    game_job *job = &g->jobs[g->jobs[0].runs ? 1 : 0];
    *job = (game_job){ .runs = true, .output_level = pick->output_level };
    uint64_t bytes = 0;
    job->entries = malloc(sizeof(game_entry) * GAME_KEYS * 64);
    assert_non_null(job->entries);
    uint64_t last_age = 0;
    for (uint32_t i = 0; i < pick->run_count; i++) {
        const struct bl_pick_run *part = &pick->runs[i];
        const bl_run *run = run_of(version, pick->table, part->level, part->run);
        assert_true(part->count > 0 && part->first + part->count <= run->count);
        for (uint32_t j = part->first; j < part->first + part->count; j++) {
            game_segment *segment = game_find(g, bl_segment_meta_of(run->segments[j])->number);
            assert_false(segment->busy);              /* PICK-2 */
            assert_true(age_of(segment) >= last_age); /* newest first */
            last_age = age_of(segment);
            segment->busy = true;
            bytes += segment->count * ENTRY_BYTES;
            job->inputs[job->input_count++] = segment->number;
            assert_true(job->entry_count + segment->count < GAME_KEYS * 64);
            memcpy(job->entries + job->entry_count, segment->entries, segment->count * sizeof(game_entry));
            job->entry_count += segment->count;
        }
    }
    assert_int_equal(bytes, pick->input_bytes);
    if (pick->output_level == 0)
        job->output_run = pick->runs[0].run;
    if (pick->trivial_move) {
        free(job->entries);
        job->entries = NULL;
        return;
    }
    qsort(job->entries, job->entry_count, sizeof(game_entry), order_entries);
    uint32_t kept = 0, last_key = UINT32_MAX;
    for (uint32_t i = 0; i < job->entry_count; i++) {
        game_entry entry = job->entries[i];
        bool newest = entry.key != last_key;
        last_key = entry.key;
        if (newest && !(entry.tombstone && pick->bottom && entry.sequence < g->snapshot))
            job->entries[kept++] = entry;
    }
    job->entry_count = kept;
}

static void game_end(game *g, bl_prng *prng, game_job *job)
{
    bool moved = job->entries == NULL;
    for (uint32_t i = 0; i < job->input_count; i++) {
        game_segment *segment = game_find(g, job->inputs[i]);
        segment->busy = false;
        if (moved) {
            segment->level = job->output_level;
            segment->run = 0;
        } else {
            segment->number = 0;
        }
    }
    game_segment *output = NULL;
    for (uint32_t i = 0; !moved && i < job->entry_count; i++) {
        if (output == NULL || output->count * ENTRY_BYTES >= g->policy.segment_bytes ||
            bl_prng_chance(prng, 100))
            output = game_add(g, job->output_level, job->output_run);
        output->entries[output->count++] = job->entries[i];
    }
    free(job->entries);
    job->entries = NULL;
    job->runs = false;
}

static void game_end_all(game *g, bl_prng *prng)
{
    for (uint32_t i = 0; i < JOBS_MAX; i++)
        if (g->jobs[i].runs)
            game_end(g, prng, &g->jobs[i]);
}

/* Pick and begin; false: nothing to do. */
static bool game_pick(game *g, bool manual, bole_slice begin, bole_slice end)
{
    bole_error error = BOLE_ERROR_INIT;
    bl_version *version = game_version(g);
    bl_pick pick;
    g->policy.oldest_snapshot = g->snapshot;
    if (manual)
        assert_ok(bl_compaction_pick_manual(version, &g->policy, 0, begin, end, &pick, &error), &error);
    else
        assert_ok(bl_compaction_pick(version, &g->policy, game_busy, g, &pick, &error), &error);
    bool something = pick.reason != BL_PICK_NOTHING;
    if (something)
        game_begin(g, version, &pick);
    bl_pick_deinit(&pick);
    bl_version_unref(version);
    return something;
}

static uint64_t game_debt(game *g)
{
    bl_version *version = game_version(g);
    uint64_t debt = bl_compaction_debt(version, &g->policy);
    bl_version_unref(version);
    return debt;
}

/* Do what is picked until there is nothing (PICK-3). */
static void game_drain(game *g, bl_prng *prng, bool manual, bole_slice begin, bole_slice end)
{
    int steps = 0;
    for (; game_pick(g, manual, begin, end); steps++) {
        game_end_all(g, prng);
        if (steps == 500)
            fail_msg("picks do not come to an end");
    }
    if (!manual)
        assert_int_equal(0, game_debt(g)); /* what no pick works off is none */
    game_check(g);
}

/* Goal: whatever is flushed and however jobs overlap in time, no read changes, levels stay in order, and
 * picking comes to an end, without debt then: down to one run when idle, without a tombstone after a manual compaction.
 * Method: up to two jobs run at a time, begun and ended at random; flushes cut anywhere; options change. */
static void any_game_keeps_every_read_and_ends(void **state)
{
    (void)state;
    uint64_t seed = test_seed(20);
    for (uint64_t round = 0; round < 80; round++) {
        game *g = calloc(1, sizeof *g);
        assert_non_null(g);
        bl_prng prng;
        bl_prng_init(&prng, seed + round);
        g->policy = (bl_pick_policy){
            .level0_runs = 1 + (uint32_t)bl_prng_below(&prng, 5),
            .memtable_bytes = 64 * ENTRY_BYTES,
            .segment_bytes = (32 + bl_prng_below(&prng, 100)) * ENTRY_BYTES,
            .job_bytes = (16 + bl_prng_below(&prng, 300)) * ENTRY_BYTES,
            .last_level_ratio = 1 + (uint32_t)bl_prng_below(&prng, 4),
        };
        g->next_number = g->next_sequence = 1;
        g->snapshot = BL_SEQUENCE_MAX;
        for (int step = 0; step < 120; step++) {
            uint64_t what = bl_prng_below(&prng, 10);
            g->policy.idle = bl_prng_chance(&prng, 10);
            game_job *job = &g->jobs[bl_prng_below(&prng, JOBS_MAX)];
            if (what < 4)
                game_flush(g, &prng);
            else if (what < 8 && !(g->jobs[0].runs && g->jobs[1].runs))
                game_pick(g, false, bl_slice(NULL, 0), bl_slice(NULL, 0));
            else if (job->runs)
                game_end(g, &prng, job);
            if (bl_prng_chance(&prng,
                               30)) /* of a moment before all that is to come; jobs that run know none */
                g->snapshot = g->snapshot == BL_SEQUENCE_MAX ? g->next_sequence : BL_SEQUENCE_MAX;
            if (step % 8 == 0)
                game_check(g);
            if (bl_prng_chance(&prng, 40)) { /* an operator changes his mind */
                g->policy.memtable_bytes = (1 + bl_prng_below(&prng, 64)) * ENTRY_BYTES;
                g->policy.level0_runs = 1 + (uint32_t)bl_prng_below(&prng, 5);
            }
        }
        game_end_all(g, &prng);
        game_check(g);
        g->policy.idle = false;
        bole_slice open = bl_slice(NULL, 0);
        game_drain(g, &prng, false, open, open);
        game_drain(g, &prng, true, BOLE_STR("0100"), BOLE_STR("0200"));
        if (bl_prng_chance(&prng, 2)) {
            game_flush(g, &prng);
            g->policy.idle = true;
            if (g->policy.job_bytes <
                GAME_KEYS * ENTRY_BYTES / 16) /* idling is worth it for any small table */
                g->policy.job_bytes = GAME_KEYS * ENTRY_BYTES / 16;
            game_drain(g, &prng, false, open, open);
            for (uint32_t i = 0; i < GAME_SEGMENTS; i++)
                assert_true(g->segments[i].number == 0 || g->segments[i].level == BL_LEVEL_LAST);
        }
        g->snapshot = BL_SEQUENCE_MAX;
        game_drain(g, &prng, true, open, open);
        for (uint32_t i = 0; i < GAME_SEGMENTS; i++) {
            const game_segment *segment = &g->segments[i];
            assert_true(segment->number == 0 || segment->level == BL_LEVEL_LAST);
            for (uint32_t j = 0; segment->number != 0 && j < segment->count; j++)
                assert_false(segment->entries[j].tombstone);
        }
        free(g);
    }
}

/* ---- Properties ---- */

/* Goal: debt rises with level 0's bytes without jumps, and another run never lowers it. */
static void debt_rises_without_jumps(void **state)
{
    (void)state;
    bl_prng prng;
    bl_prng_init(&prng, test_seed(5));
    const uint64_t mib = 1u << 20;
    for (int round = 0; round < 50; round++) {
        bl_pick_policy policy = { .level0_runs = 1 + (uint32_t)bl_prng_below(&prng, 8),
                                  .memtable_bytes = mib << bl_prng_below(&prng, 7) };
        description all[40] = { { .level = 3, .smallest = "a", .largest = "z", .number = 1, .entries = 1 },
                                { .level = 2, .smallest = "a", .largest = "z", .number = 2, .entries = 1 } };
        all[0].bytes = mib << bl_prng_below(&prng, 12);
        all[1].bytes = mib * bl_prng_below(&prng, 100);
        uint64_t before = 0;
        for (uint32_t count = 2; count < 40; count++) {
            all[count] = (description){
                .run = count, .smallest = "b", .largest = "c", .number = count + 1, .entries = 1
            };
            all[count].sequence_min = all[count].sequence_max = count;
            all[count].bytes = bl_prng_below(&prng, 2 * policy.memtable_bytes);
            bl_version *version = version_of(all, count + 1, 1);
            uint64_t debt = bl_compaction_debt(version, &policy);
            bl_version_unref(version);
            assert_true(count == 2 || debt >= before);
            before = debt;
            all[count].bytes += 4096; /* a little more is a little more */
            version = version_of(all, count + 1, 1);
            uint64_t more = bl_compaction_debt(version, &policy);
            bl_version_unref(version);
            assert_true(more >= debt);
            assert_true(more - debt <= 4096 * (4096 + 2 * all[0].bytes / policy.memtable_bytes));
            all[count].bytes -= 4096;
        }
    }
}

/* Goal: runs that were flushed when memtables were larger are no debt, as long as too few of them are there for a
 * merge: a writer that is slowed down for them would be so for ever. */
static void runs_that_begin_no_merge_are_no_debt(void **state)
{
    (void)state;
    enum { RUNS = 8 };
    bole_error error = BOLE_ERROR_INIT;
    bl_pick_policy policy = { .level0_runs = RUNS, .memtable_bytes = 1 << 20 };
    description all[RUNS + 1] = {
        { .level = 3, .smallest = "a", .largest = "z", .number = 1, .entries = 1, .bytes = 128 << 20 }
    };
    for (uint32_t count = 1; count <= RUNS; count++) {
        all[count] = (description){ .run = count,
                                    .smallest = "b",
                                    .largest = "c",
                                    .number = count + 1,
                                    .entries = 1,
                                    .bytes = 64 << 20,
                                    .sequence_min = count,
                                    .sequence_max = count };
        bl_version *version = version_of(all, count + 1, 1);
        bl_pick pick;
        assert_ok(bl_compaction_pick(version, &policy, NULL, NULL, &pick, &error), &error);
        assert_int_equal(pick.reason != BL_PICK_NOTHING, count == RUNS);
        assert_int_equal(bl_compaction_debt(version, &policy) > 0, count == RUNS);
        bl_pick_deinit(&pick);
        bl_version_unref(version);
    }
}

/* Goal: without memory a pick fails with that status, gives everything back, and leaves the pick empty. */
static void a_pick_without_memory_leaves_nothing(void **state)
{
    (void)state;
    description all[] = {
        { .run = 2,
          .smallest = "a",
          .largest = "f",
          .number = 1,
          .bytes = 1000,
          .entries = 10,
          .sequence_max = 9 },
        { .run = 1,
          .smallest = "c",
          .largest = "m",
          .number = 2,
          .bytes = 1000,
          .entries = 10,
          .sequence_max = 5 },
        { .level = 3,
          .smallest = "a",
          .largest = "k",
          .number = 3,
          .bytes = 1000,
          .entries = 10,
          .tombstones = 1 },
    };
    all[0].sequence_min = 7;
    bl_version *version = version_of(all, 3, 1);
    bl_pick_policy policy = { .level0_runs = 2, .oldest_snapshot = BL_SEQUENCE_MAX };
    int64_t live = bl_alloc_live();
    for (int manual = 0; manual < 2; manual++) {
        bole_status status = BOLE_NO_MEMORY;
        for (uint64_t at = 0; status != BOLE_OK; at++) {
            bole_error error = BOLE_ERROR_INIT;
            bl_pick pick;
            bl_alloc_fail_at(at, 1);
            if (manual)
                status = bl_compaction_pick_manual(version, &policy, 0, bl_slice(NULL, 0), bl_slice(NULL, 0),
                                                   &pick, &error);
            else
                status = bl_compaction_pick(version, &policy, NULL, NULL, &pick, &error);
            bl_alloc_fail_at(UINT64_MAX, 0);
            if (status == BOLE_OK) {
                assert_true(at > 5);
                assert_int_equal(3, pick.run_count);
            } else {
                assert_int_equal(BOLE_NO_MEMORY, status);
                assert_null(pick.runs);
                assert_int_equal(BL_PICK_NOTHING, pick.reason);
            }
            bl_pick_deinit(&pick);
            assert_int_equal(live, bl_alloc_live());
        }
    }
    bl_version_unref(version);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(level_0_goes_down_in_groups),
        cmocka_unit_test(a_middle_level_stands_while_the_last_is_large),
        cmocka_unit_test(tombstones_idling_and_manual_work_go_to_the_bottom),
        cmocka_unit_test(jobs_keep_out_of_each_others_way),
        cmocka_unit_test(dead_values_are_written_out_of_the_way),
        cmocka_unit_test(debt_is_what_must_be_merged),
        cmocka_unit_test(any_game_keeps_every_read_and_ends),
        cmocka_unit_test(debt_rises_without_jumps),
        cmocka_unit_test(runs_that_begin_no_merge_are_no_debt),
        cmocka_unit_test(a_pick_without_memory_leaves_nothing),
    };
    return cmocka_run_group_tests(tests, make_environment, unmake_environment);
}
