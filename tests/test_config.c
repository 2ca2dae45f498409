/* SPDX-License-Identifier: MIT */
/* test_config.c -- settings: which source wins, what each may be, and what the messages say. */
#include "test.h"

#include "base/alloc.h"
#include "core/config_source.h"

static const bl_config_machine machine = { .memory_bytes = 16 * BL_GIB, .open_files = 1000 };

static void resolve(bl_config *config)
{
    bole_error error = BOLE_ERROR_INIT;
    assert_ok(bl_config_resolve(config, &machine, &error), &error);
}

static void set(bl_config *config, const char *name, const char *text, bl_origin origin)
{
    bole_error error = BOLE_ERROR_INIT;
    assert_ok(bl_config_set(config, name, text, origin, NULL, &error), &error);
}

/* The message of a setting that must be refused, in static memory; the config must not change. */
static const char *refused(const char *name, const char *text)
{
    static bole_error error;
    static bl_config config, before;
    bl_config_init(&config);
    before = config;
    error = (bole_error)BOLE_ERROR_INIT;
    assert_status(BOLE_INVALID, bl_config_set(&config, name, text, BL_ORIGIN_FLAG, NULL, &error), &error);
    assert_memory_equal(&config, &before, sizeof config);
    return error.message;
}

static bole_status apply_text(bl_config *config, const char *text, bole_error *error)
{
    return bl_config_apply_ini(config, "store/bole.conf", (bole_slice){ text, strlen(text) }, error);
}

static const char *refused_ini(const char *text)
{
    static bole_error error;
    static bl_config config, before;
    bl_config_init(&config);
    before = config;
    error = (bole_error)BOLE_ERROR_INIT;
    assert_status(BOLE_INVALID, apply_text(&config, text, &error), &error);
    assert_memory_equal(&config, &before, sizeof config);
    return error.message;
}

#define assert_contains(text, part) test_contains((text), (part), __FILE__, __LINE__)
static void test_contains(const char *text, const char *part, const char *file, int line)
{
    if (strstr(text, part) != NULL)
        return;
    print_error("'%s' does not hold '%s'\n", text, part);
    _fail(file, line);
}

/* ---- Defaults and derived values ---- */

static void defaults_are_those_of_the_manual(void **state)
{
    (void)state;
    bl_config config;
    bl_config_init(&config);
    resolve(&config);
    assert_int_equal(bl_config_u64(&config, BL_SETTING_MEMORY_LIMIT), 4 * BL_GIB);
    assert_int_equal(bl_config_u64(&config, BL_SETTING_MEMTABLE_BYTES), 64 * BL_MIB);
    assert_int_equal(bl_config_u64(&config, BL_SETTING_SEGMENT_BYTES), 64 * BL_MIB);
    assert_int_equal(bl_config_u64(&config, BL_SETTING_BLOCK_BYTES), 0);
    assert_int_equal(bl_config_u64(&config, BL_SETTING_FILTER_BITS_PER_KEY), 10);
    assert_int_equal(bl_config_u64(&config, BL_SETTING_LEVEL0_RUNS), 8);
    assert_int_equal(bl_config_u64(&config, BL_SETTING_BACKGROUND_THREADS), 2);
    assert_int_equal(bl_config_u64(&config, BL_SETTING_DURABILITY), BOLE_DURABILITY_PROCESS);
    assert_int_equal(bl_config_u64(&config, BL_SETTING_SYNC_INTERVAL_MS), 1000);
    assert_int_equal(bl_config_u64(&config, BL_SETTING_COMPRESSION), BOLE_COMPRESSION_LZ4);
    assert_int_equal(bl_config_u64(&config, BL_SETTING_COMPRESSION_UPPER), BOLE_COMPRESSION_NONE);
    assert_int_equal(bl_config_u64(&config, BL_SETTING_COMPRESSION_LEVEL), 1);
    assert_int_equal(bl_config_u64(&config, BL_SETTING_MAP_LOGS), 1);
    assert_int_equal(bl_config_u64(&config, BL_SETTING_OPEN_FILES_MAX), 750);
    assert_int_equal(bl_config_u64(&config, BL_SETTING_LOG_LEVEL), BOLE_LOG_INFO);
    assert_int_equal(bl_config_u64(&config, BL_SETTING_EVENTS_BYTES), 4 * BL_MIB);
    assert_int_equal(bl_config_u64(&config, BL_SETTING_SCRUB_RATE), 0);
    assert_int_equal(bl_config_u64(&config, BL_SETTING_RESERVE_BYTES), 64 * BL_MIB);
    assert_int_equal(bl_config_u64(&config, BL_SETTING_ENTRY_CHECKSUMS), 0);
    assert_int_equal(bl_config_u64(&config, BL_SETTING_DIRECT_READS), 0);
}

/* Where the store has more than half of the memory, the system's cache has less than the store's: it is passed by. */
static void direct_reads_follow_from_the_memory_limit(void **state)
{
    (void)state;
    static const struct {
        const char *limit, *given;
        uint64_t memory, direct;
    } cases[] = {
        { "8GiB", NULL, 16 * BL_GIB, 0 },   { "9GiB", NULL, 16 * BL_GIB, 1 },
        { "9GiB", "off", 16 * BL_GIB, 0 },  { "1GiB", "on", 16 * BL_GIB, 1 },
        { "1GiB", NULL, 1200 * BL_MIB, 1 }, { "1GiB", NULL, 0, 0 },
    };
    for (unsigned i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        bole_error error = BOLE_ERROR_INIT;
        bl_config config;
        bl_config_init(&config);
        set(&config, "memory_limit", cases[i].limit, BL_ORIGIN_FILE);
        if (cases[i].given != NULL)
            set(&config, "direct_reads", cases[i].given, BL_ORIGIN_FILE);
        assert_ok(bl_config_resolve(&config, &(bl_config_machine){ cases[i].memory, 0 }, &error), &error);
        assert_int_equal(bl_config_u64(&config, BL_SETTING_DIRECT_READS), cases[i].direct);
        bl_config_entry entry;
        bl_config_describe(&config, BL_SETTING_DIRECT_READS, &entry);
        assert_int_equal(entry.origin, cases[i].given != NULL ? BL_ORIGIN_FILE : BL_ORIGIN_DERIVED);
        assert_string_equal(entry.text, cases[i].direct != 0 ? "on" : "off");
    }
}

/* A small machine must open a store too: the limit has a floor, and memtables shrink with it. */
static void small_memory_shrinks_memtables(void **state)
{
    (void)state;
    bole_error error = BOLE_ERROR_INIT;
    bl_config config;
    bl_config_init(&config);
    assert_ok(bl_config_resolve(&config, &(bl_config_machine){ 8 * BL_MIB, 0 }, &error), &error);
    assert_int_equal(bl_config_u64(&config, BL_SETTING_MEMORY_LIMIT), 4 * BL_MIB);
    assert_int_equal(bl_config_u64(&config, BL_SETTING_MEMTABLE_BYTES), 256 * BL_KIB);
    assert_int_equal(bl_config_u64(&config, BL_SETTING_OPEN_FILES_MAX), 768);
}

static void capped_memtable_keeps_what_was_asked_for(void **state)
{
    (void)state;
    bl_config config;
    bl_config_entry entry;
    bl_config_init(&config);
    set(&config, "memory_limit", "64MiB", BL_ORIGIN_FLAG);
    set(&config, "memtable_bytes", "32MiB", BL_ORIGIN_FILE);
    resolve(&config);
    bl_config_describe(&config, BL_SETTING_MEMTABLE_BYTES, &entry);
    assert_int_equal(entry.value, 4 * BL_MIB);
    assert_true(entry.capped);
    assert_int_equal(entry.origin, BL_ORIGIN_FILE);

    set(&config, "memory_limit", "1GiB", BL_ORIGIN_FLAG);
    resolve(&config);
    bl_config_describe(&config, BL_SETTING_MEMTABLE_BYTES, &entry);
    assert_int_equal(entry.value, 32 * BL_MIB);
    assert_false(entry.capped);
}

static void unknown_machine_needs_a_memory_limit(void **state)
{
    (void)state;
    bole_error error = BOLE_ERROR_INIT;
    bl_config config;
    bl_config_init(&config);
    assert_status(BOLE_INVALID, bl_config_resolve(&config, &(bl_config_machine){ 0, 0 }, &error), &error);
    assert_contains(error.message, "memory_limit must be set");
    set(&config, "memory_limit", "1GiB", BL_ORIGIN_FLAG);
    assert_ok(bl_config_resolve(&config, &(bl_config_machine){ 0, 0 }, &error), &error);
}

/* ---- Precedence ---- */

/* Each pair of origins, applied in both orders: the later origin wins. */
static void later_origin_wins_in_any_order(void **state)
{
    (void)state;
    for (unsigned low = BL_ORIGIN_FILE; low <= BL_ORIGIN_LIVE; low++)
        for (unsigned high = low + 1; high <= BL_ORIGIN_LIVE; high++)
            for (unsigned order = 0; order < 2; order++) {
                bl_config config;
                bl_config_init(&config);
                bl_origin first = (bl_origin)(order == 0 ? low : high),
                          second = (bl_origin)(order == 0 ? high : low);
                set(&config, "level0_runs", first == (bl_origin)high ? "20" : "10", first);
                set(&config, "level0_runs", second == (bl_origin)high ? "20" : "10", second);
                resolve(&config);
                bl_config_entry entry;
                bl_config_describe(&config, BL_SETTING_LEVEL0_RUNS, &entry);
                assert_int_equal(entry.value, 20);
                assert_int_equal(entry.origin, high);
            }
}

static void same_origin_given_again_replaces(void **state)
{
    (void)state;
    bl_config config;
    bl_config_init(&config);
    set(&config, "level0_runs", "10", BL_ORIGIN_FLAG);
    set(&config, "level0_runs", "11", BL_ORIGIN_FLAG);
    resolve(&config);
    assert_int_equal(bl_config_u64(&config, BL_SETTING_LEVEL0_RUNS), 11);
}

static void default_takes_back_what_a_file_said(void **state)
{
    (void)state;
    bl_config config;
    bl_config_init(&config);
    set(&config, "level0_runs", "10", BL_ORIGIN_FILE);
    set(&config, "memory_limit", "1GiB", BL_ORIGIN_FILE);
    set(&config, "level0_runs", "default", BL_ORIGIN_FLAG);
    set(&config, "memory_limit", "default", BL_ORIGIN_FLAG);
    resolve(&config);
    assert_int_equal(bl_config_u64(&config, BL_SETTING_LEVEL0_RUNS), 8);
    assert_int_equal(bl_config_u64(&config, BL_SETTING_MEMORY_LIMIT), 4 * BL_GIB);
}

/* File, environment, options and flag each set some; every value must show its own place. */
static void each_value_tells_where_it_came_from(void **state)
{
    (void)state;
    bole_error error = BOLE_ERROR_INIT;
    bl_config config;
    bl_config_init(&config);
    const char *environment[] = { "PATH=/bin", "BOLE_LEVEL0_RUNS=5", "BOLE_MEMTABLE_BYTES=1MiB", NULL };
    bole_options options = BOLE_OPTIONS_INIT;
    options.memtable_bytes = 2 * BL_MIB;
    assert_ok(apply_text(&config, "\nsegment_bytes = 8MiB\nlevel0_runs = 4\n", &error), &error);
    assert_ok(bl_config_apply_environment(&config, environment, &error), &error);
    assert_ok(bl_config_apply_options(&config, &options, &error), &error);
    assert_ok(bl_config_set(&config, "log-level", "debug", BL_ORIGIN_FLAG, "--log-level", &error), &error);
    resolve(&config);

    static const struct {
        bl_setting setting;
        bl_origin origin;
        const char *where, *text;
    } expected[] = {
        { BL_SETTING_SEGMENT_BYTES, BL_ORIGIN_FILE, "store/bole.conf:2", "8MiB" },
        { BL_SETTING_LEVEL0_RUNS, BL_ORIGIN_ENVIRONMENT, "BOLE_LEVEL0_RUNS", "5" },
        { BL_SETTING_MEMTABLE_BYTES, BL_ORIGIN_OPTION, "", "2MiB" },
        { BL_SETTING_LOG_LEVEL, BL_ORIGIN_FLAG, "--log-level", "debug" },
        { BL_SETTING_MEMORY_LIMIT, BL_ORIGIN_DERIVED, "", "4GiB" },
        { BL_SETTING_COMPRESSION, BL_ORIGIN_DEFAULT, "", "lz4" },
    };
    for (size_t i = 0; i < sizeof expected / sizeof expected[0]; i++) {
        bl_config_entry entry;
        bl_config_describe(&config, expected[i].setting, &entry);
        assert_string_equal(bl_origin_name(entry.origin), bl_origin_name(expected[i].origin));
        assert_string_equal(entry.where, expected[i].where);
        assert_string_equal(entry.text, expected[i].text);
    }
}

/* ---- Values ---- */

static void sizes_take_suffixes(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        uint64_t bytes;
    } sizes[] = {
        { "65536", 65536 },
        { "65536B", 65536 },
        { "64KiB", 65536 },
        { "64 kib", 65536 },
        { "64k", 65536 },
        { "1MiB", BL_MIB },
        { "1M", BL_MIB },
        { "3GiB", 3 * BL_GIB },
        { "2g", 2 * BL_GIB },
        { "16GiB", 16 * BL_GIB },
        { "0000004096", 4 * BL_KIB },
    };
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        bl_config config;
        bl_config_init(&config);
        set(&config, "segment_bytes", sizes[i].text, BL_ORIGIN_FLAG);
        resolve(&config);
        assert_int_equal(bl_config_u64(&config, BL_SETTING_SEGMENT_BYTES), sizes[i].bytes);
    }
}

static void times_words_and_signs_are_read(void **state)
{
    (void)state;
    bl_config config;
    bl_config_init(&config);
    set(&config, "sync_interval_ms", "2s", BL_ORIGIN_FLAG);
    set(&config, "compression_level", "-5", BL_ORIGIN_FLAG);
    set(&config, "durability", "Power", BL_ORIGIN_FLAG);
    set(&config, "map_logs", "no", BL_ORIGIN_FLAG);
    set(&config, "filter_bits_per_key", "none", BL_ORIGIN_FLAG);
    set(&config, "block_bytes", "auto", BL_ORIGIN_FLAG);
    resolve(&config);
    assert_int_equal(bl_config_u64(&config, BL_SETTING_SYNC_INTERVAL_MS), 2000);
    assert_int_equal((int)bl_config_u64(&config, BL_SETTING_COMPRESSION_LEVEL), -5);
    assert_int_equal(bl_config_u64(&config, BL_SETTING_DURABILITY), BOLE_DURABILITY_POWER);
    assert_int_equal(bl_config_u64(&config, BL_SETTING_MAP_LOGS), 0);
    assert_int_equal(bl_config_u64(&config, BL_SETTING_FILTER_BITS_PER_KEY), 0);
    assert_int_equal(bl_config_u64(&config, BL_SETTING_BLOCK_BYTES), 0);
}

/* For every setting: text that is no value at all, and numbers just outside its range, name setting, value, range. */
static void every_bad_value_names_setting_value_and_range(void **state)
{
    (void)state;
    static const char *const nonsense[] = {
        "",       " ",     "banana", "1e3",  "0x10", "1.5GiB", "64KB",
        "64KiBs", "--5",   "+5",     "5 5",  "-",    "KiB",    "12s3",
        "1 0",    "maybe", "-1M",    "\xff", "5%",   "1,000",  "99999999999999999999999"
    };
    bl_config config;
    bl_config_init(&config);
    for (unsigned i = 0; i < BL_SETTINGS; i++) {
        bl_config_entry entry;
        bl_config_describe(&config, (bl_setting)i, &entry);
        for (size_t j = 0; j < sizeof nonsense / sizeof nonsense[0]; j++) {
            const char *message = refused(entry.name, nonsense[j]);
            assert_contains(message, entry.name);
            assert_contains(message, nonsense[j]);
            assert_contains(message, entry.allowed);
        }
    }
}

static void values_outside_their_range_are_refused(void **state)
{
    (void)state;
    assert_string_equal(refused("memtable_bytes", "4095"),
                        "memtable_bytes cannot be '4095'; allowed: 4KiB to 8GiB");
    assert_string_equal(refused("block_bytes", "2MiB"),
                        "block_bytes cannot be '2MiB'; allowed: auto, or 1KiB to 1MiB");
    assert_string_equal(refused("compression", "snappy"),
                        "compression cannot be 'snappy'; allowed: none, lz4 or zstd");
    assert_string_equal(refused("map_logs", "2"), "map_logs cannot be '2'; allowed: off or on");
    assert_string_equal(refused("sync_interval_ms", "0"),
                        "sync_interval_ms cannot be '0'; allowed: 1ms to 3600000ms");
    assert_contains(refused("large_value_bytes", "2GiB"), "never, or 1");
    assert_contains(refused("level0_runs", "0"), "1 to 32");
    assert_contains(refused("level0_runs", "33"), "1 to 32");
    assert_contains(refused("filter_bits_per_key", "33"), "none, or 1 to 32");
    assert_contains(refused("compression_level", "-8"), "-7 to 22");
    assert_contains(refused("compression_level", "18446744073709551615"), "-7 to 22"); /* not -1 */
    assert_contains(refused("memory_limit", "17179869184TiB"), "memory_limit");
    assert_contains(refused("durability", "1"), "process or power");
}

/* Both ends of each range must be taken, and what is shown must read back as the same value (CONFIG-3). */
static void every_shown_value_reads_back(void **state)
{
    (void)state;
    bole_error error = BOLE_ERROR_INIT;
    for (unsigned i = 0; i < BL_SETTINGS; i++) {
        bl_config config;
        bl_config_entry entry, again;
        bl_config_init(&config);
        set(&config, "memory_limit", "1TiB", BL_ORIGIN_FILE);
        bl_config_describe(&config, (bl_setting)i, &entry);
        char allowed[96];
        snprintf(allowed, sizeof allowed, "%s", entry.allowed);
        const char *ends[2] = { allowed, allowed };
        char *between = strstr(allowed, " to ");
        if (between != NULL) {
            *between = 0;
            ends[1] = between + 4;
            if (strstr(allowed, ", or ") != NULL)
                ends[0] = strstr(allowed, ", or ") + 5;
        } else {
            *strstr(allowed, strstr(allowed, ", ") != NULL ? ", " : " or ") = 0;
            ends[1] = strstr(entry.allowed, " or ") + 4;
        }
        for (unsigned j = 0; j < 2; j++) {
            set(&config, entry.name, ends[j], BL_ORIGIN_FLAG);
            resolve(&config);
            bl_config_describe(&config, (bl_setting)i, &again);
            assert_string_equal(again.text, ends[j]);
            char text[BL_CONFIG_TEXT_BYTES];
            assert_ok(bl_config_get_text(&config, entry.name, text, &error), &error);
            assert_string_equal(text, ends[j]);
        }
    }
}

static void unknown_names_suggest_the_nearest(void **state)
{
    (void)state;
    assert_string_equal(refused("memory_limt", "1"),
                        "there is no setting 'memory_limt'; did you mean 'memory_limit'?");
    assert_string_equal(refused("compresion", "1"),
                        "there is no setting 'compresion'; did you mean 'compression'?");
    assert_string_equal(refused("banana", "1"), "there is no setting 'banana'");
    assert_string_equal(refused("", "1"), "there is no setting ''");
    char text[BL_CONFIG_TEXT_BYTES];
    bole_error error = BOLE_ERROR_INIT;
    bl_config config;
    bl_config_init(&config);
    assert_status(BOLE_INVALID, bl_config_get_text(&config, "log_lvel", text, &error), &error);
    assert_contains(error.message, "'log_level'");
}

static bool count_entry(void *context, const bl_config_entry *entry)
{
    unsigned *count = context;
    assert_int_equal(entry->setting, *count);
    assert_true(strlen(entry->meaning) > 10);
    assert_true(strlen(entry->allowed) < sizeof entry->allowed - 1);
    return ++*count < 5;
}

static void visiting_stops_when_told(void **state)
{
    (void)state;
    unsigned count = 0;
    bl_config config;
    bl_config_init(&config);
    bl_config_each(&config, count_entry, &count);
    assert_int_equal(count, 5);
}

/* ---- bole.conf ---- */

static void conf_takes_comments_blanks_and_indentation(void **state)
{
    (void)state;
    bole_error error = BOLE_ERROR_INIT;
    bl_config config;
    bl_config_init(&config);
    char long_comment[700];
    snprintf(long_comment, sizeof long_comment, "# %0600d\n", 0);
    char text[1400];
    snprintf(text, sizeof text,
             "# first\r\n; second\n\n  memory_limit=512MiB ; inline\r\n%s\tmemtable_bytes : 8 MiB # too\n"
             "   level0_runs   =   4   \ncompression = zstd",
             long_comment);
    assert_ok(apply_text(&config, text, &error), &error);
    resolve(&config);
    assert_int_equal(bl_config_u64(&config, BL_SETTING_MEMORY_LIMIT), 512 * BL_MIB);
    assert_int_equal(bl_config_u64(&config, BL_SETTING_MEMTABLE_BYTES), 8 * BL_MIB);
    assert_int_equal(bl_config_u64(&config, BL_SETTING_LEVEL0_RUNS), 4);
    assert_int_equal(bl_config_u64(&config, BL_SETTING_COMPRESSION), BOLE_COMPRESSION_ZSTD);
}

static void empty_conf_gives_nothing(void **state)
{
    (void)state;
    bl_config config, before;
    bl_config_init(&config);
    before = config;
    assert_ok(bl_config_apply_ini(&config, "bole.conf", (bole_slice){ NULL, 0 }, NULL), NULL);
    assert_ok(apply_text(&config, "\n\n# nothing\n", NULL), NULL);
    assert_memory_equal(&config, &before, sizeof config);
}

static void wrong_conf_names_file_and_line(void **state)
{
    (void)state;
    assert_string_equal(refused_ini("level0_runs = 8\nmemory_limit = lots\n"),
                        "store/bole.conf:2: memory_limit cannot be 'lots'; allowed: 4MiB to 1024TiB");
    assert_string_equal(
        refused_ini("\n\nmemory_limits = 1GiB\n"),
        "store/bole.conf:3: there is no setting 'memory_limits'; did you mean 'memory_limit'?");
    assert_string_equal(refused_ini("level0_runs = 8\n# x\nlevel0-runs = 9\n"),
                        "store/bole.conf:3: level0_runs was set before, in line 1");
    assert_string_equal(refused_ini("level0_runs = 8\nwhat is this\n"),
                        "store/bole.conf:2: is not of the form 'name = value'");
    assert_string_equal(refused_ini("[cache]\nlevel0_runs = 8\n"),
                        "store/bole.conf:2: settings stand in no section");
    assert_contains(refused_ini("level0_runs =\n"), "bole.conf:1: level0_runs cannot be ''");
    char text[400];
    snprintf(text, sizeof text, "level0_runs = 8\nlevel0_runs = %0300d\n", 8);
    assert_string_equal(refused_ini(text), "store/bole.conf:2: the line is too long for a setting");
}

/* A path that does not fit is shown by its last part. */
static void long_path_is_shown_without_its_directory(void **state)
{
    (void)state;
    static const char text[] = "level0_runs = 4\n";
    char path[200];
    snprintf(path, sizeof path, "%0100d/bole.conf", 0);
    bl_config config;
    bl_config_init(&config);
    assert_ok(bl_config_apply_ini(&config, path, (bole_slice){ text, sizeof text - 1 }, NULL), NULL);
    assert_string_equal(config.where[BL_SETTING_LEVEL0_RUNS], "bole.conf:1");
}

static void zero_byte_in_conf_is_refused(void **state)
{
    (void)state;
    static const char text[] = "level0_runs = 4\nlog_level = debug\0\n";
    bole_error error = BOLE_ERROR_INIT;
    bl_config config;
    bl_config_init(&config);
    assert_status(BOLE_INVALID,
                  bl_config_apply_ini(&config, "c", (bole_slice){ text, sizeof text - 1 }, &error), &error);
    assert_string_equal(error.message, "c:2: the line holds a zero byte");
}

/* A wrong line must not leave half of the file behind (CONFIG-2); see also refused_ini. */
static void conf_is_read_through_the_vfs(void **state)
{
    (void)state;
    bole_error error = BOLE_ERROR_INIT;
    bole_vfs *vfs;
    bole_file *file;
    bl_config config;
    bl_config_init(&config);
    assert_ok(bole_vfs_memory_create(1, &vfs), NULL);
    assert_ok(vfs->make_directory(vfs, "s", &error), &error);
    assert_ok(bl_config_apply_file(&config, vfs, "s/bole.conf", &error), &error);
    assert_int_equal(error.status, BOLE_OK); /* a file that is not there leaves no story */

    static const char text[] = "log_level = debug\n";
    assert_ok(vfs->open(vfs, "s/bole.conf", BOLE_VFS_WRITE | BOLE_VFS_CREATE, &file, &error), &error);
    assert_ok(vfs->write(file, 0, text, sizeof text - 1, &error), &error);
    assert_ok(bl_config_apply_file(&config, vfs, "s/bole.conf", &error), &error);
    resolve(&config);
    assert_int_equal(bl_config_u64(&config, BL_SETTING_LOG_LEVEL), BOLE_LOG_DEBUG);

    bl_alloc_fail_at(0, UINT64_MAX);
    bole_status status = bl_config_apply_file(&config, vfs, "s/bole.conf", &error);
    bl_alloc_fail_at(UINT64_MAX, 0);
    assert_status(BOLE_NO_MEMORY, status, &error);

    assert_ok(vfs->truncate(file, BL_CONFIG_FILE_BYTES_MAX + 1, &error), &error);
    assert_status(BOLE_INVALID, bl_config_apply_file(&config, vfs, "s/bole.conf", &error), &error);
    assert_contains(error.message, "larger than 65536 bytes");
    assert_ok(vfs->close(file, &error), &error);
    bole_vfs_destroy(vfs);
}

/* ---- Environment ---- */

static void environment_takes_settings_and_leaves_the_rest(void **state)
{
    (void)state;
    bole_error error = BOLE_ERROR_INIT;
    bl_config config;
    bl_config_init(&config);
    const char *environment[] = { "HOME=/",
                                  "BOLE_DB=/data",
                                  "BOLE_MEMORY_LIMIT=2GiB",
                                  "BOLE_COMPRESSION=",
                                  "BOLE_TEST_SEED=1",
                                  "BOLE_COLOR",
                                  "bole_log_level=debug",
                                  "XBOLE_LOG_LEVEL=debug",
                                  NULL };
    assert_ok(bl_config_apply_environment(&config, environment, &error), &error);
    assert_ok(bl_config_apply_environment(&config, NULL, &error), &error);
    resolve(&config);
    assert_int_equal(bl_config_u64(&config, BL_SETTING_MEMORY_LIMIT), 2 * BL_GIB);
    assert_int_equal(config.origins[BL_SETTING_COMPRESSION], BL_ORIGIN_DEFAULT);
    assert_int_equal(config.origins[BL_SETTING_LOG_LEVEL], BL_ORIGIN_DEFAULT);
}

static void misspelt_or_bad_variable_is_refused(void **state)
{
    (void)state;
    bole_error error = BOLE_ERROR_INIT;
    bl_config config, before;
    bl_config_init(&config);
    before = config;
    const char *misspelt[] = { "BOLE_LOG_LEVEL=debug", "BOLE_MEMORY_LIMITS=1GiB", NULL };
    assert_status(BOLE_INVALID, bl_config_apply_environment(&config, misspelt, &error), &error);
    assert_string_equal(
        error.message,
        "BOLE_MEMORY_LIMITS: there is no setting 'memory_limits'; did you mean 'memory_limit'?");
    const char *bad[] = { "BOLE_LOG_LEVEL=debug", "BOLE_LEVEL0_RUNS=-1", NULL };
    assert_status(BOLE_INVALID, bl_config_apply_environment(&config, bad, &error), &error);
    assert_string_equal(error.message, "BOLE_LEVEL0_RUNS: level0_runs cannot be '-1'; allowed: 1 to 32");
    assert_memory_equal(&config, &before, sizeof config);
}

/* ---- bole_options ---- */

/* Each field that is a setting, set to something else than its default, must arrive. */
static void every_field_of_options_arrives(void **state)
{
    (void)state;
    bole_error error = BOLE_ERROR_INIT;
    bl_config config;
    bl_config_init(&config);
    bole_options options = BOLE_OPTIONS_INIT;
    options.flags = BOLE_NO_SIGBUS_HANDLER;
    options.memory_limit = 1 * BL_GIB;
    options.memtable_bytes = 3 * BL_MIB;
    options.segment_bytes = 5 * BL_MIB;
    options.block_bytes = 8192;
    options.filter_bits_per_key = UINT32_MAX;
    options.level0_runs = 3;
    options.background_threads = 7;
    options.durability = BOLE_DURABILITY_POWER;
    options.compression = BOLE_COMPRESSION_NONE;
    options.compression_upper = BOLE_COMPRESSION_ZSTD;
    options.compression_level = -3;
    options.log_level = BOLE_LOG_ERROR;
    options.sync_interval_ms = 77;
    options.open_files_max = 99;
    assert_ok(bl_config_apply_options(&config, &options, &error), &error);
    resolve(&config);
    static const struct {
        bl_setting setting;
        const char *text;
    } expected[] = {
        { BL_SETTING_MEMORY_LIMIT, "1GiB" },        { BL_SETTING_MEMTABLE_BYTES, "3MiB" },
        { BL_SETTING_SEGMENT_BYTES, "5MiB" },       { BL_SETTING_BLOCK_BYTES, "8KiB" },
        { BL_SETTING_FILTER_BITS_PER_KEY, "none" }, { BL_SETTING_LEVEL0_RUNS, "3" },
        { BL_SETTING_BACKGROUND_THREADS, "7" },     { BL_SETTING_DURABILITY, "power" },
        { BL_SETTING_COMPRESSION, "none" },         { BL_SETTING_COMPRESSION_UPPER, "zstd" },
        { BL_SETTING_COMPRESSION_LEVEL, "-3" },     { BL_SETTING_MAP_LOGS, "off" },
        { BL_SETTING_LOG_LEVEL, "error" },          { BL_SETTING_SYNC_INTERVAL_MS, "77ms" },
        { BL_SETTING_OPEN_FILES_MAX, "99" },
    };
    for (size_t i = 0; i < sizeof expected / sizeof expected[0]; i++) {
        bl_config_entry entry;
        bl_config_describe(&config, expected[i].setting, &entry);
        assert_string_equal(entry.text, expected[i].text);
        assert_int_equal(entry.origin, BL_ORIGIN_OPTION);
    }
}

static void zero_fields_leave_the_file_alone(void **state)
{
    (void)state;
    bl_config config;
    bl_config_init(&config);
    assert_ok(apply_text(&config, "level0_runs = 4\ncompression_level = 9\nmap_logs = off\n", NULL), NULL);
    assert_ok(bl_config_apply_options(&config, &BOLE_OPTIONS_INIT, NULL), NULL);
    assert_ok(bl_config_apply_options(&config, NULL, NULL), NULL);
    resolve(&config);
    assert_int_equal(bl_config_u64(&config, BL_SETTING_LEVEL0_RUNS), 4);
    assert_int_equal(bl_config_u64(&config, BL_SETTING_COMPRESSION_LEVEL), 9);
    assert_int_equal(bl_config_u64(&config, BL_SETTING_MAP_LOGS), 0);
}

/* An older program's struct ends earlier: what lies behind its size must not be looked at. */
static void only_the_declared_size_of_options_is_read(void **state)
{
    (void)state;
    bole_error error = BOLE_ERROR_INIT;
    bl_config config;
    bl_config_init(&config);
    bole_options options;
    memset(&options, 0xee, sizeof options);
    options.size = (uint32_t)offsetof(bole_options, memtable_bytes);
    options.flags = 0;
    options.memory_limit = 1 * BL_GIB;
    assert_ok(bl_config_apply_options(&config, &options, &error), &error);
    resolve(&config);
    assert_int_equal(bl_config_u64(&config, BL_SETTING_MEMORY_LIMIT), 1 * BL_GIB);
    assert_int_equal(bl_config_u64(&config, BL_SETTING_MEMTABLE_BYTES), 64 * BL_MIB);

    struct {
        bole_options options;
        char more[16];
    } newer = { BOLE_OPTIONS_INIT, { 0 } };
    newer.options.size = sizeof newer;
    assert_ok(bl_config_apply_options(&config, &newer.options, &error), &error);
    newer.more[3] = 1;
    assert_status(BOLE_UNSUPPORTED, bl_config_apply_options(&config, &newer.options, &error), &error);
    options.size = 0;
    assert_status(BOLE_INVALID, bl_config_apply_options(&config, &options, &error), &error);
}

static void bad_option_is_refused_and_changes_nothing(void **state)
{
    (void)state;
    bole_error error = BOLE_ERROR_INIT;
    bl_config config, before;
    bl_config_init(&config);
    before = config;
    bole_options options = BOLE_OPTIONS_INIT;
    options.memory_limit = 1 * BL_GIB;
    options.block_bytes = 100;
    assert_status(BOLE_INVALID, bl_config_apply_options(&config, &options, &error), &error);
    assert_string_equal(error.message, "block_bytes cannot be '100'; allowed: auto, or 1KiB to 1MiB");
    options.block_bytes = 0;
    options.durability = (bole_durability)9;
    assert_status(BOLE_INVALID, bl_config_apply_options(&config, &options, &error), &error);
    assert_string_equal(error.message, "durability cannot be '9'; allowed: process or power");
    assert_memory_equal(&config, &before, sizeof config);
}

/* ---- Changing an open store ---- */

static void live_change_counts_at_once_or_is_refused(void **state)
{
    (void)state;
    bole_error error = BOLE_ERROR_INIT;
    bl_config config;
    bl_config_init(&config);
    set(&config, "level0_runs", "4", BL_ORIGIN_FLAG);
    resolve(&config);
    assert_ok(bl_config_change(&config, "level0_runs", "6", &machine, &error), &error);
    assert_int_equal(bl_config_u64(&config, BL_SETTING_LEVEL0_RUNS), 6);
    assert_ok(bl_config_change(&config, "memory_limit", "64MiB", &machine, &error), &error);
    assert_int_equal(bl_config_u64(&config, BL_SETTING_MEMTABLE_BYTES), 4 * BL_MIB);

    bole_error story = BOLE_ERROR_INIT;
    assert_ok(bl_config_set(&config, "memory_limit", "1GiB", BL_ORIGIN_LIVE, "here", &story), &story);
    bl_config before = config;
    assert_status(BOLE_INVALID, bl_config_change(&config, "background_threads", "4", &machine, &error),
                  &error);
    assert_contains(error.message, "background_threads counts when the store is opened");
    assert_status(BOLE_INVALID, bl_config_change(&config, "level0_runs", "x", &machine, &error), &error);
    assert_status(BOLE_INVALID, bl_config_change(&config, "level_runs", "4", &machine, &error), &error);
    assert_contains(error.message, "'level0_runs'");
    bl_config_machine unknown = { 0, 0 };
    assert_status(BOLE_INVALID, bl_config_change(&config, "memory_limit", "default", &unknown, &error),
                  &error);
    assert_memory_equal(&config, &before, sizeof config);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(defaults_are_those_of_the_manual),
        cmocka_unit_test(small_memory_shrinks_memtables),
        cmocka_unit_test(direct_reads_follow_from_the_memory_limit),
        cmocka_unit_test(capped_memtable_keeps_what_was_asked_for),
        cmocka_unit_test(unknown_machine_needs_a_memory_limit),
        cmocka_unit_test(later_origin_wins_in_any_order),
        cmocka_unit_test(same_origin_given_again_replaces),
        cmocka_unit_test(default_takes_back_what_a_file_said),
        cmocka_unit_test(each_value_tells_where_it_came_from),
        cmocka_unit_test(sizes_take_suffixes),
        cmocka_unit_test(times_words_and_signs_are_read),
        cmocka_unit_test(every_bad_value_names_setting_value_and_range),
        cmocka_unit_test(values_outside_their_range_are_refused),
        cmocka_unit_test(every_shown_value_reads_back),
        cmocka_unit_test(unknown_names_suggest_the_nearest),
        cmocka_unit_test(visiting_stops_when_told),
        cmocka_unit_test(conf_takes_comments_blanks_and_indentation),
        cmocka_unit_test(empty_conf_gives_nothing),
        cmocka_unit_test(wrong_conf_names_file_and_line),
        cmocka_unit_test(long_path_is_shown_without_its_directory),
        cmocka_unit_test(zero_byte_in_conf_is_refused),
        cmocka_unit_test(conf_is_read_through_the_vfs),
        cmocka_unit_test(environment_takes_settings_and_leaves_the_rest),
        cmocka_unit_test(misspelt_or_bad_variable_is_refused),
        cmocka_unit_test(every_field_of_options_arrives),
        cmocka_unit_test(zero_fields_leave_the_file_alone),
        cmocka_unit_test(only_the_declared_size_of_options_is_read),
        cmocka_unit_test(bad_option_is_refused_and_changes_nothing),
        cmocka_unit_test(live_change_counts_at_once_or_is_refused),
    };
    return cmocka_run_group_tests_name("config", tests, NULL, NULL);
}
