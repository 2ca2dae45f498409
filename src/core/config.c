/* SPDX-License-Identifier: MIT */
/* config.c -- values of settings: read from text, kept with their origin, derived, checked, told.
 *
 * INVARIANTS  (CONFIG-1) A setting's value is always that of the latest origin that gave one; origins are ordered.
 *             (CONFIG-2) A call that fails changes nothing.
 *             (CONFIG-3) What bl_config_describe writes as text, bl_config_set reads back as the same value.
 * THREADS     See config.h.
 * NOT HERE    Files, environment and bole_options: config_source.c.   What a setting does: who reads it. */
#include "core/config.h"

#include "base/status.h"

#include <ctype.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Memtables may take this part of the memory limit each: one active, those sealed and their logs then leave room
 * for the cache. */
enum { MEMTABLE_SHARE = 16 };
enum { MEMORY_SHARE = 4, OPEN_FILES_UNKNOWN = 1024 };

/* ---- The table ------------------------------------------------------------------------------------------- */

typedef struct setting_word {
    const char *text;
    uint64_t value;
} setting_word;

static const setting_word words_none[] = { { NULL, 0 } };
static const setting_word words_automatic[] = { { "auto", 0 }, { NULL, 0 } };
static const setting_word words_nothing[] = { { "none", 0 }, { NULL, 0 } };
static const setting_word words_off[] = { { "off", 0 }, { "0", 0 }, { NULL, 0 } };
static const setting_word words_never[] = { { "never", 0 }, { NULL, 0 } };
static const setting_word words_toggle[] = { { "off", 0 },  { "on", 1 }, { "false", 0 },
                                             { "true", 1 }, { "no", 0 }, { "yes", 1 },
                                             { "0", 0 },    { "1", 1 },  { NULL, 0 } };
static const setting_word words_durability[] = { { "process", BOLE_DURABILITY_PROCESS },
                                                 { "power", BOLE_DURABILITY_POWER },
                                                 { NULL, 0 } };
static const setting_word words_compression[] = { { "none", BOLE_COMPRESSION_NONE },
                                                  { "lz4", BOLE_COMPRESSION_LZ4 },
                                                  { "zstd", BOLE_COMPRESSION_ZSTD },
                                                  { NULL, 0 } };
static const setting_word words_log_level[] = { { "error", BOLE_LOG_ERROR },
                                                { "warn", BOLE_LOG_WARN },
                                                { "info", BOLE_LOG_INFO },
                                                { "debug", BOLE_LOG_DEBUG },
                                                { NULL, 0 } };

typedef struct setting_row {
    const char *name;
    bl_setting_type type;
    uint64_t fallback;
    int64_t min, max;
    const setting_word *words;
    bl_setting_applies applies;
    const char *meaning;
} setting_row;

static const setting_row table[BL_SETTINGS] = {
/* clang-format off */
#define ROW(symbol, name, type, fallback, min, max, words, applies, meaning) \
    [BL_SETTING_##symbol] = { #name, BL_TYPE_##type, fallback, (int64_t)(min), (int64_t)(max), words_##words, \
                              BL_APPLIES_##applies, meaning },
    /* clang-format on */
    BL_SETTING_MAP(ROW)
#undef ROW
};

static const char *const origin_names[] = { "default", "derived", "file", "environment",
                                            "option",  "flag",    "live" };

const char *bl_setting_name(bl_setting setting) { return table[setting].name; }
const char *bl_origin_name(bl_origin origin) { return origin_names[origin]; }

static bool by_words_only(const setting_row *row)
{
    return row->type == BL_TYPE_CHOICE || row->type == BL_TYPE_SWITCH;
}

bl_setting bl_config_find(const char *name)
{
    for (unsigned i = 0; i < BL_SETTINGS; i++) {
        const char *a = table[i].name, *b = name;
        while (*a != 0 && (*a == *b || (*a == '_' && *b == '-')))
            a++, b++;
        if (*a == 0 && *b == 0)
            return (bl_setting)i;
    }
    return BL_SETTINGS;
}

/* ---- The nearest name ------------------------------------------------------------------------------------- */

enum { NAME_BYTES_MAX = 40 };

/* How many letters must be changed, put in or left out to make one of the other (Levenshtein). */
static unsigned distance(const char *a, const char *b)
{
    size_t width = strlen(b);
    unsigned above[NAME_BYTES_MAX + 1];
    if (width > NAME_BYTES_MAX || strlen(a) > NAME_BYTES_MAX)
        return NAME_BYTES_MAX;
    for (size_t j = 0; j <= width; j++)
        above[j] = (unsigned)j;
    for (size_t i = 1; a[i - 1] != 0; i++) {
        unsigned diagonal = above[0];
        above[0] = (unsigned)i;
        for (size_t j = 1; j <= width; j++) {
            unsigned change = diagonal + (a[i - 1] != b[j - 1]);
            unsigned one_out = (above[j] < above[j - 1] ? above[j] : above[j - 1]) + 1;
            diagonal = above[j];
            above[j] = change < one_out ? change : one_out;
        }
    }
    return above[width];
}

const char *bl_config_nearest(const char *name)
{
    const char *nearest = NULL;
    size_t best = 2 + strlen(name) / 4;
    for (unsigned i = 0; i < BL_SETTINGS; i++) {
        size_t d = distance(name, table[i].name);
        if (d < best) {
            best = d;
            nearest = table[i].name;
        }
    }
    return nearest;
}

/* ---- Text to value and back ------------------------------------------------------------------------------- */

static bool same_text(const char *a, const char *b)
{
    for (; tolower((unsigned char)*a) == tolower((unsigned char)*b); a++, b++)
        if (*a == 0)
            return true;
    return false;
}

static bool word_value(const setting_row *row, const char *text, uint64_t *out)
{
    for (const setting_word *word = row->words; word->text != NULL; word++)
        if (same_text(word->text, text)) {
            *out = word->value;
            return true;
        }
    return false;
}

static const char *value_word(const setting_row *row, uint64_t value)
{
    for (const setting_word *word = row->words; word->text != NULL; word++)
        if (word->value == value)
            return word->text;
    return NULL;
}

/* What one `unit` of the type is worth; 0 when it has no such unit. */
static uint64_t unit_factor(bl_setting_type type, const char *unit)
{
    static const char letters[] = "kmgt";
    if (*unit == 0)
        return 1;
    if (type == BL_TYPE_MILLISECONDS)
        return same_text(unit, "ms") ? 1 : same_text(unit, "s") ? 1000 : 0;
    if (type != BL_TYPE_BYTES)
        return 0;
    if (same_text(unit, "B"))
        return 1;
    const char *letter = strchr(letters, tolower((unsigned char)unit[0]));
    if (letter == NULL || (unit[1] != 0 && !same_text(unit + 1, "iB")))
        return 0;
    return UINT64_C(1) << (10 * (unsigned)(letter - letters + 1));
}

/* Digits and a unit; false when it is something else or more than 63 bits. */
static bool number_value(const setting_row *row, const char *text, uint64_t *out)
{
    bool negative = row->type == BL_TYPE_INTEGER && *text == '-';
    text += negative;
    uint64_t number = 0;
    const char *digits = text;
    for (; *text >= '0' && *text <= '9'; text++)
        if (__builtin_mul_overflow(number, 10, &number) ||
            __builtin_add_overflow(number, (uint64_t)(*text - '0'), &number))
            return false;
    if (text == digits)
        return false;
    while (*text == ' ')
        text++;
    uint64_t factor = unit_factor(row->type, text);
    if (factor == 0 || __builtin_mul_overflow(number, factor, &number) || number > INT64_MAX)
        return false;
    *out = negative ? 0 - number : number;
    return true;
}

static bool in_range(const setting_row *row, uint64_t value)
{
    if (value_word(row, value) != NULL)
        return true;
    return !by_words_only(row) && (int64_t)value >= row->min && (int64_t)value <= row->max;
}

static void write_number(const setting_row *row, uint64_t value, char *out, size_t capacity)
{
    static const char *const units[] = { "", "KiB", "MiB", "GiB", "TiB" };
    unsigned unit = 0;
    if (row->type == BL_TYPE_BYTES)
        for (; unit < 4 && value != 0 && value % 1024 == 0; unit++)
            value /= 1024;
    snprintf(out, capacity, "%" PRId64 "%s", (int64_t)value,
             row->type == BL_TYPE_MILLISECONDS ? "ms" : units[unit]);
}

static void write_value(const setting_row *row, uint64_t value, char *out, size_t capacity)
{
    const char *word = value_word(row, value);
    if (word != NULL)
        snprintf(out, capacity, "%s", word);
    else
        write_number(row, value, out, capacity);
}

/* "4KiB to 8GiB", "auto, or 1KiB to 1MiB", "none, lz4 or zstd". */
static void write_allowed(const setting_row *row, char *out, size_t capacity)
{
    size_t length = 0;
    if (!by_words_only(row)) {
        char min[BL_CONFIG_TEXT_BYTES], max[BL_CONFIG_TEXT_BYTES];
        write_number(row, (uint64_t)row->min, min, sizeof min);
        write_number(row, (uint64_t)row->max, max, sizeof max);
        bool worded = row->words->text != NULL;
        snprintf(out, capacity, "%s%s%s to %s", worded ? row->words->text : "", worded ? ", or " : "", min,
                 max);
        return;
    }
    out[0] = 0;
    unsigned count = 0;
    while (row->words[count].text != NULL && (row->type != BL_TYPE_SWITCH || count < 2))
        count++;
    for (unsigned i = 0; i < count && length < capacity; i++)
        length += (size_t)snprintf(out + length, capacity - length, "%s%s",
                                   i == 0           ? ""
                                   : i + 1 == count ? " or "
                                                    : ", ",
                                   row->words[i].text);
}

/* ---- Setting ---------------------------------------------------------------------------------------------- */

void bl_config_init(bl_config *config)
{
    memset(config, 0, sizeof *config);
    for (unsigned i = 0; i < BL_SETTINGS; i++) {
        config->asked[i] = BL_DERIVED;
        atomic_init(&config->values[i], table[i].fallback == BL_DERIVED ? 0 : table[i].fallback);
    }
}

static void keep(bl_config *config, bl_setting setting, uint64_t value, bl_origin origin, const char *where)
{
    if (origin < config->origins[setting])
        return;
    config->asked[setting] = value;
    config->origins[setting] = (uint8_t)origin;
    snprintf(config->where[setting], BL_CONFIG_WHERE_BYTES, "%s", where != NULL ? where : "");
}

static bole_status refuse(const setting_row *row, const char *text, const char *where, bole_error *error)
{
    char allowed[96];
    write_allowed(row, allowed, sizeof allowed);
    return bl_fail(error, BOLE_INVALID, "%s%s%s cannot be '%.60s'; allowed: %s", where != NULL ? where : "",
                   where != NULL ? ": " : "", row->name, text, allowed);
}

bole_status bl_config_set_u64(bl_config *config, bl_setting setting, uint64_t value, bl_origin origin,
                              const char *where, bole_error *error)
{
    const setting_row *row = &table[setting];
    if (!in_range(row, value)) {
        char text[BL_CONFIG_TEXT_BYTES];
        write_number(row, value, text, sizeof text);
        return refuse(row, text, where, error);
    }
    keep(config, setting, value, origin, where);
    return BOLE_OK;
}

static bole_status unknown_name(const char *name, const char *where, bole_error *error)
{
    const char *nearest = bl_config_nearest(name);
    return bl_fail(error, BOLE_INVALID, "%s%sthere is no setting '%.60s'%s%s%s", where != NULL ? where : "",
                   where != NULL ? ": " : "", name, nearest != NULL ? "; did you mean '" : "",
                   nearest != NULL ? nearest : "", nearest != NULL ? "'?" : "");
}

bole_status bl_config_set(bl_config *config, const char *name, const char *text, bl_origin origin,
                          const char *where, bole_error *error)
{
    bl_setting setting = bl_config_find(name);
    if (setting == BL_SETTINGS)
        return unknown_name(name, where, error);
    const setting_row *row = &table[setting];
    uint64_t value;
    if (same_text(text, "default"))
        value = BL_DERIVED;
    else if (!word_value(row, text, &value) &&
             (by_words_only(row) || !number_value(row, text, &value) || !in_range(row, value)))
        return refuse(row, text, where, error);
    keep(config, setting, value, origin, where);
    return BOLE_OK;
}

/* ---- Resolving -------------------------------------------------------------------------------------------- */

static uint64_t clamp(const setting_row *row, uint64_t value)
{
    if (value < (uint64_t)row->min)
        return (uint64_t)row->min;
    return value > (uint64_t)row->max ? (uint64_t)row->max : value;
}

/* The most that may be in force, whatever was asked for. */
static uint64_t cap_of(const bl_config *config, bl_setting setting)
{
    if (setting == BL_SETTING_MEMTABLE_BYTES)
        return clamp(&table[setting], bl_config_u64(config, BL_SETTING_MEMORY_LIMIT) / MEMTABLE_SHARE);
    return UINT64_MAX;
}

static uint64_t derive(bl_setting setting, uint64_t limit, const bl_config_machine *machine)
{
    const setting_row *row = &table[setting];
    switch (setting) {
    case BL_SETTING_MEMORY_LIMIT: return clamp(row, machine->memory_bytes / MEMORY_SHARE);
    case BL_SETTING_OPEN_FILES_MAX: {
        uint64_t files = machine->open_files != 0 ? machine->open_files : OPEN_FILES_UNKNOWN;
        return clamp(row, files - files / 4);
    }
    /* then the store's own cache holds more than the system's could */
    case BL_SETTING_DIRECT_READS: return limit > machine->memory_bytes / 2 && machine->memory_bytes != 0;
    default: return row->fallback;
    }
}

bole_status bl_config_resolve(bl_config *config, const bl_config_machine *machine, bole_error *error)
{
    if (config->asked[BL_SETTING_MEMORY_LIMIT] == BL_DERIVED && machine->memory_bytes == 0)
        return bl_fail(error, BOLE_INVALID, "memory_limit must be set: the machine's memory is not known");
    for (unsigned i = 0; i < BL_SETTINGS; i++) { /* memory_limit is first: caps follow from it */
        uint64_t value = config->asked[i];
        if (value == BL_DERIVED) {
            value = derive((bl_setting)i, bl_config_u64(config, BL_SETTING_MEMORY_LIMIT), machine);
            if (config->origins[i] <= BL_ORIGIN_DERIVED)
                config->origins[i] = table[i].fallback == BL_DERIVED ? BL_ORIGIN_DERIVED : BL_ORIGIN_DEFAULT;
        }
        uint64_t cap = cap_of(config, (bl_setting)i);
        if (value > cap)
            value = cap;
        atomic_store_explicit(&config->values[i], value, memory_order_relaxed);
    }
    return BOLE_OK;
}

bole_status bl_config_change(bl_config *config, const char *name, const char *text,
                             const bl_config_machine *machine, bole_error *error)
{
    bl_setting setting = bl_config_find(name);
    if (setting == BL_SETTINGS)
        return unknown_name(name, NULL, error);
    if (table[setting].applies == BL_APPLIES_OPEN)
        return bl_fail(error, BOLE_INVALID,
                       "%s counts when the store is opened and cannot change while it is open",
                       table[setting].name);
    uint64_t asked = config->asked[setting];
    bl_origin origin = (bl_origin)config->origins[setting];
    char where[BL_CONFIG_WHERE_BYTES];
    memcpy(where, config->where[setting], sizeof where);
    bole_status status = bl_config_set(config, name, text, BL_ORIGIN_LIVE, NULL, error);
    if (status != BOLE_OK)
        return status;
    status = bl_config_resolve(config, machine, error);
    if (status != BOLE_OK) {
        config->asked[setting] = asked;
        config->origins[setting] = (uint8_t)origin;
        memcpy(config->where[setting], where, sizeof where);
    }
    return status;
}

/* ---- Telling ---------------------------------------------------------------------------------------------- */

void bl_config_describe(const bl_config *config, bl_setting setting, bl_config_entry *out)
{
    const setting_row *row = &table[setting];
    uint64_t asked = config->asked[setting] != BL_DERIVED ? config->asked[setting] : row->fallback;
    *out = (bl_config_entry){ .setting = setting,
                              .name = row->name,
                              .meaning = row->meaning,
                              .type = row->type,
                              .applies = row->applies,
                              .origin = (bl_origin)config->origins[setting],
                              .where = config->where[setting],
                              .value = bl_config_u64(config, setting) };
    out->capped = asked != BL_DERIVED && out->value != asked;
    write_value(row, out->value, out->text, sizeof out->text);
    if (row->fallback != BL_DERIVED)
        write_value(row, row->fallback, out->fallback, sizeof out->fallback);
    write_allowed(row, out->allowed, sizeof out->allowed);
}

void bl_config_each(const bl_config *config, bool (*visit)(void *context, const bl_config_entry *entry),
                    void *context)
{
    for (unsigned i = 0; i < BL_SETTINGS; i++) {
        bl_config_entry entry;
        bl_config_describe(config, (bl_setting)i, &entry);
        if (!visit(context, &entry))
            return;
    }
}

bole_status bl_config_get_text(const bl_config *config, const char *name, char text[BL_CONFIG_TEXT_BYTES],
                               bole_error *error)
{
    text[0] = 0;
    bl_setting setting = bl_config_find(name);
    if (setting == BL_SETTINGS)
        return unknown_name(name, NULL, error);
    write_value(&table[setting], bl_config_u64(config, setting), text, BL_CONFIG_TEXT_BYTES);
    return BOLE_OK;
}
