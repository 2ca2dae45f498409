/* SPDX-License-Identifier: MIT */
/* config_source.c -- bole.conf, the environment and bole_options become settings.
 *
 * libinih splits lines into names and values. It is fed through a reader of our own, which counts the lines, strips
 * indentation (inih would take an indented line for more of the value above) and refuses what inih would read as
 * something else: a line above its buffer, and a zero byte.
 * THREADS     None of its own; see config.h.
 * NOT HERE    What a value may be: config.c. */
#include "core/config_source.h"

#include "base/alloc.h"
#include "base/assert.h"
#include "base/status.h"

#include <ini.h>
#include <stdio.h>
#include <string.h>

/* ---- INI ---------------------------------------------------------------------------------------------------- */

/* A Debian libinih takes lines of 200 bytes, with end of line and terminator; settings are far shorter. */
enum { LINE_BYTES_MAX = 180 };

typedef struct ini_reading {
    bl_config *config;
    const char *path;
    const char *next, *end; /* of the text */
    int line;               /* number of the line read last */
    int seen[BL_SETTINGS];  /* line that gave it; 0: none yet */
    bole_status status;
    bole_error *error;
} ini_reading;

/* "my.bole/bole.conf:3", or without the directory where that is too long. */
static void place(const ini_reading *reading, char where[BL_CONFIG_WHERE_BYTES])
{
    int length = snprintf(where, BL_CONFIG_WHERE_BYTES, "%s:%d", reading->path, reading->line);
    const char *slash = strrchr(reading->path, '/');
    if (length >= BL_CONFIG_WHERE_BYTES && slash != NULL)
        snprintf(where, BL_CONFIG_WHERE_BYTES, "%s:%d", slash + 1, reading->line);
}

static void fail_line(ini_reading *reading, const char *what)
{
    reading->status = bl_fail(reading->error, BOLE_INVALID, "%s:%d: %s", reading->path, reading->line, what);
}

/* inih's fgets: the next line into `out`; NULL at the end and after a failure. */
static char *next_line(char *out, int capacity, void *context)
{
    ini_reading *reading = context;
    if (reading->status != BOLE_OK || reading->next == reading->end)
        return NULL;
    reading->line++;
    const char *start = reading->next;
    const char *stop = memchr(start, '\n', (size_t)(reading->end - start));
    reading->next = stop != NULL ? stop + 1 : reading->end;
    if (stop == NULL)
        stop = reading->end;
    while (start < stop && (*start == ' ' || *start == '\t'))
        start++;
    size_t length = (size_t)(stop - start);
    if (memchr(start, 0, length) != NULL) {
        fail_line(reading, "the line holds a zero byte");
        return NULL;
    }
    if (length > 0 && (*start == '#' || *start == ';'))
        length = 0; /* a comment, of any length */
    if (length > LINE_BYTES_MAX || length + 2 > (size_t)capacity) {
        fail_line(reading, "the line is too long for a setting");
        return NULL;
    }
    memcpy(out, start, length);
    memcpy(out + length, "\n", 2);
    return out;
}

/* inih's handler: 1 to go on, 0 to have the line counted as wrong. */
static int take_setting(void *context, const char *section, const char *name, const char *value)
{
    ini_reading *reading = context;
    bl_debug_assert(reading->status == BOLE_OK); /* the text ends at the first failure */
    if (section[0] != 0) {
        fail_line(reading, "settings stand in no section");
        return 0;
    }
    char text[LINE_BYTES_MAX + 1], where[BL_CONFIG_WHERE_BYTES];
    snprintf(text, sizeof text, "%s", value);
    char *comment = strstr(text, " #");
    if (comment != NULL) {
        while (comment > text && comment[-1] == ' ')
            comment--;
        *comment = 0;
    }
    place(reading, where);
    bl_setting setting = bl_config_find(name);
    if (setting != BL_SETTINGS && reading->seen[setting] != 0) {
        reading->status = bl_fail(reading->error, BOLE_INVALID, "%s:%d: %s was set before, in line %d",
                                  reading->path, reading->line, bl_setting_name(setting),
                                  reading->seen[setting]);
        return 0;
    }
    if (setting != BL_SETTINGS)
        reading->seen[setting] = reading->line;
    reading->status = bl_config_set(reading->config, name, text, BL_ORIGIN_FILE, where, reading->error);
    return reading->status == BOLE_OK;
}

bole_status bl_config_apply_ini(bl_config *config, const char *path, bole_slice text, bole_error *error)
{
    bl_config before = *config;
    ini_reading reading = {
        .config = config,
        .path = path,
        .next = text.data,
        .end = text.size == 0 ? text.data : (const char *)text.data + text.size,
        .error = error,
    };
    int wrong_line = ini_parse_stream(next_line, &reading, take_setting, &reading);
    if (reading.status == BOLE_OK && wrong_line != 0) /* below 0: an inih that allocates, and could not */
        reading.status = wrong_line < 0
                             ? bl_fail(error, BOLE_NO_MEMORY, "reading %s", path)
                             : bl_fail(error, BOLE_INVALID, "%s:%d: is not of the form 'name = value'", path,
                                       wrong_line);
    if (reading.status != BOLE_OK)
        *config = before;
    return reading.status;
}

bole_status bl_config_apply_file(bl_config *config, bole_vfs *vfs, const char *path, bole_error *error)
{
    bole_file *file = NULL;
    char *text = NULL;
    uint64_t length = 0;
    size_t got = 0;
    bole_error story = BOLE_ERROR_INIT;
    bole_status status = vfs->open(vfs, path, BOLE_VFS_READ, &file, &story);
    if (status == BOLE_NOT_FOUND)
        return BOLE_OK;
    if (status == BOLE_OK)
        status = vfs->length(file, &length, &story);
    if (status == BOLE_OK && length > BL_CONFIG_FILE_BYTES_MAX)
        status = bl_fail(&story, BOLE_INVALID, "%s is larger than %d bytes", path,
                         (int)BL_CONFIG_FILE_BYTES_MAX);
    if (status == BOLE_OK && (text = bl_alloc((size_t)length + 1)) == NULL)
        status = bl_fail(&story, BOLE_NO_MEMORY, "reading %s", path);
    if (status == BOLE_OK)
        status = vfs->read(file, 0, text, (size_t)length, &got, &story);
    if (file != NULL)
        (void)vfs->close(file, NULL);
    if (status == BOLE_OK)
        status = bl_config_apply_ini(config, path, (bole_slice){ text, got }, &story);
    bl_free(text);
    if (status != BOLE_OK && error != NULL)
        *error = story;
    return status;
}

/* ---- Environment -------------------------------------------------------------------------------------------- */

/* "BOLE_MEMORY_LIMIT=1GiB": the setting's name in small letters into `name`, or false when it is none of ours. */
static bool variable_name(const char *variable, char *name, size_t capacity, const char **value)
{
    static const char prefix[] = "BOLE_";
    if (strncmp(variable, prefix, sizeof prefix - 1) != 0)
        return false;
    const char *letter = variable + sizeof prefix - 1;
    size_t length = 0;
    for (; *letter != 0 && *letter != '='; letter++) {
        if (length + 1 == capacity)
            return false;
        name[length++] = *letter >= 'A' && *letter <= 'Z' ? (char)(*letter - 'A' + 'a') : *letter;
    }
    name[length] = 0;
    *value = letter + 1;
    return *letter == '=' && letter[1] != 0;
}

bole_status bl_config_apply_environment(bl_config *config, const char *const *environment, bole_error *error)
{
    bl_config before = *config;
    bole_status status = BOLE_OK;
    for (; environment != NULL && *environment != NULL && status == BOLE_OK; environment++) {
        char name[BL_CONFIG_WHERE_BYTES - 8], where[BL_CONFIG_WHERE_BYTES];
        const char *value;
        if (!variable_name(*environment, name, sizeof name, &value))
            continue;
        snprintf(where, sizeof where, "%.*s", (int)strcspn(*environment, "="), *environment);
        if (bl_config_find(name) != BL_SETTINGS || bl_config_nearest(name) != NULL)
            status = bl_config_set(config, name, value, BL_ORIGIN_ENVIRONMENT, where, error);
    }
    if (status != BOLE_OK)
        *config = before;
    return status;
}

/* ---- bole_options ------------------------------------------------------------------------------------------- */

typedef enum options_field_kind { FIELD_U64, FIELD_U32, FIELD_I32, FIELD_ENUM } options_field_kind;

typedef struct options_field {
    bl_setting setting;
    options_field_kind kind;
    size_t offset;
} options_field;

#define FIELD(symbol, name, kind)                                       \
    {                                                                   \
        BL_SETTING_##symbol, FIELD_##kind, offsetof(bole_options, name) \
    }
static const options_field fields[] = {
    FIELD(MEMORY_LIMIT, memory_limit, U64),
    FIELD(MEMTABLE_BYTES, memtable_bytes, U64),
    FIELD(SEGMENT_BYTES, segment_bytes, U64),
    FIELD(BLOCK_BYTES, block_bytes, U32),
    FIELD(FILTER_BITS_PER_KEY, filter_bits_per_key, U32),
    FIELD(LEVEL0_RUNS, level0_runs, U32),
    FIELD(BACKGROUND_THREADS, background_threads, U32),
    FIELD(DURABILITY, durability, ENUM),
    FIELD(COMPRESSION, compression, ENUM),
    FIELD(COMPRESSION_UPPER, compression_upper, ENUM),
    FIELD(COMPRESSION_LEVEL, compression_level, I32),
    FIELD(LOG_LEVEL, log_level, ENUM),
    FIELD(SYNC_INTERVAL_MS, sync_interval_ms, U32),
    FIELD(OPEN_FILES_MAX, open_files_max, U32),
    FIELD(SCRUB_RATE, scrub_rate, U64),
    FIELD(RESERVE_BYTES, reserve_bytes, U64),
    FIELD(ENTRY_CHECKSUMS, entry_checksums, U32),
    FIELD(LARGE_VALUE_BYTES, large_value_bytes, U64),
    FIELD(DIRECT_READS, direct_reads, U32),
    FIELD(DIRECT_WRITES, direct_writes, U32),
};
#undef FIELD
_Static_assert(sizeof(bole_durability) == 4 && sizeof(bole_compression) == 4 && sizeof(bole_log_level) == 4,
               "enums of bole_options are read as 32 bits");

static uint64_t field_value(const bole_options *options, const options_field *field)
{
    const char *at = (const char *)options + field->offset;
    uint64_t wide;
    uint32_t narrow;
    int32_t with_sign;
    switch (field->kind) {
    case FIELD_U64: memcpy(&wide, at, sizeof wide); return wide;
    case FIELD_I32: memcpy(&with_sign, at, sizeof with_sign); return (uint64_t)(int64_t)with_sign;
    case FIELD_U32:
    case FIELD_ENUM:
    default: memcpy(&narrow, at, sizeof narrow); return narrow;
    }
}

/* Where 0 means something (no filters), all ones stand for it in the field: its 0 means the default. */
static bool zero_is_a_choice(bl_setting setting)
{
    return setting == BL_SETTING_FILTER_BITS_PER_KEY || setting == BL_SETTING_SCRUB_RATE ||
           setting == BL_SETTING_RESERVE_BYTES || setting == BL_SETTING_ENTRY_CHECKSUMS ||
           setting == BL_SETTING_LARGE_VALUE_BYTES || setting == BL_SETTING_DIRECT_READS ||
           setting == BL_SETTING_DIRECT_WRITES;
}

/* The part of `options` that both sides know, the rest zero. */
static bole_status known_part(const bole_options *options, bole_options *known, bole_error *error)
{
    *known = (bole_options){ 0 };
    if (options->size < 2 * sizeof(uint32_t))
        return bl_fail(error, BOLE_INVALID, "bole_options.size is %u; use BOLE_OPTIONS_INIT", options->size);
    for (size_t i = sizeof *known; i < options->size; i++)
        if (((const char *)options)[i] != 0)
            return bl_fail(error, BOLE_UNSUPPORTED,
                           "bole_options has a field at byte %zu that this older library does not know", i);
    memcpy(known, options, options->size < sizeof *known ? options->size : sizeof *known);
    return BOLE_OK;
}

bole_status bl_config_apply_options(bl_config *config, const bole_options *options, bole_error *error)
{
    if (options == NULL)
        return BOLE_OK;
    bl_config before = *config;
    bole_options known;
    bole_status status = known_part(options, &known, error);
    for (size_t i = 0; i < sizeof fields / sizeof fields[0] && status == BOLE_OK; i++) {
        uint64_t value = field_value(&known, &fields[i]);
        if (value == 0)
            continue;
        if (value == (fields[i].kind == FIELD_U64 ? UINT64_MAX : UINT32_MAX) &&
            zero_is_a_choice(fields[i].setting))
            value = 0;
        status = bl_config_set_u64(config, fields[i].setting, value, BL_ORIGIN_OPTION, NULL, error);
    }
    if (status == BOLE_OK && (known.flags & BOLE_NO_SIGBUS_HANDLER) != 0)
        status = bl_config_set_u64(config, BL_SETTING_MAP_LOGS, 0, BL_ORIGIN_OPTION, NULL, error);
    if (status != BOLE_OK)
        *config = before;
    return status;
}
