/* SPDX-License-Identifier: MIT */
/* file_name.c -- the names of a store's files.
 *
 * NAMES       000007.log  000012.seg  manifest-000001     number in decimal, zeros in front only up to six
 *             digits
 *             CURRENT  LOCK  readers  reserve  bole.conf
 *             events.jsonl  events.1.jsonl                number without zeros in front
 *             any of these + ".tmp"                       being built; never referred to
 * INVARIANTS  (NAME-1) One file has one name: parsing a name and writing it again gives the same bytes. So a
 *                      name with a path in it, a sign, a space or a needless zero is never taken for the
 *                      store's.
 * THREADS     Any; no state. */
#include "version/file_name.h"

#include "base/assert.h"

#include <stdio.h>
#include <string.h>

enum { NAME_BYTES_MAX = 48, NUMBER_WIDTH = 6 };

/* Kinds in which a number takes part, with what stands before and behind it. */
static const struct numbered {
    bl_file_kind kind;
    const char *before, *behind;
    unsigned width;
} numbered[] = {
    { BL_FILE_LOG, "", ".log", NUMBER_WIDTH },
    { BL_FILE_SEGMENT, "", ".seg", NUMBER_WIDTH },
    { BL_FILE_MANIFEST, "manifest-", "", NUMBER_WIDTH },
    { BL_FILE_EVENTS, "events.", ".jsonl", 1 },
};

static const struct plain {
    bl_file_kind kind;
    const char *name;
} plain[] = {
    { BL_FILE_CURRENT, "CURRENT" }, { BL_FILE_LOCK, "LOCK" },        { BL_FILE_READERS, "readers" },
    { BL_FILE_RESERVE, "reserve" }, { BL_FILE_CONFIG, "bole.conf" }, { BL_FILE_EVENTS, "events.jsonl" },
};

enum {
    NUMBERED_COUNT = sizeof numbered / sizeof numbered[0],
    PLAIN_COUNT = sizeof plain / sizeof plain[0],
};

static void write_name(char name[NAME_BYTES_MAX], bl_file_kind kind, uint64_t number)
{
    bool count = kind != BL_FILE_EVENTS || number != 0;
    for (unsigned i = 0; count && i < NUMBERED_COUNT; i++) {
        const struct numbered *form = &numbered[i];
        if (form->kind != kind)
            continue;
        bl_assert(number > 0 && number <= BL_FILE_NUMBER_MAX);
        snprintf(name, NAME_BYTES_MAX, "%s%0*llu%s", form->before, (int)form->width,
                 (unsigned long long)number, form->behind);
        return;
    }
    unsigned i = 0;
    while (plain[i].kind != kind)
        bl_assert(++i < PLAIN_COUNT); /* a kind of file that has a name */
    snprintf(name, NAME_BYTES_MAX, "%s", plain[i].name);
}

static bool write_path(char *out, const char *directory, const char *name, const char *suffix)
{
    const char *separator = directory[0] == '\0' ? "" : "/";
    int length = snprintf(out, BL_PATH_BYTES_MAX, "%s%s%s%s", directory, separator, name, suffix);
    bl_assert(length >= 0);
    if (length < BL_PATH_BYTES_MAX)
        return true;
    out[0] = '\0';
    return false;
}

bool bl_file_path(char *out, const char *directory, bl_file_kind kind, uint64_t number)
{
    char name[NAME_BYTES_MAX];
    write_name(name, kind, number);
    return write_path(out, directory, name, "");
}

bool bl_file_path_temporary(char *out, const char *directory, bl_file_kind kind, uint64_t number)
{
    char name[NAME_BYTES_MAX];
    write_name(name, kind, number);
    return write_path(out, directory, name, ".tmp");
}

bool bl_directory_fits(const char *directory)
{
    return strlen(directory) < BL_PATH_BYTES_MAX - 2 * NAME_BYTES_MAX; /* a name, '/', ".tmp" */
}

void bl_store_path(char *out, const char *directory, bl_file_kind kind, uint64_t number)
{
    bool fits = bl_file_path(out, directory, kind, number);
    bl_assert(fits);
}

void bl_store_path_temporary(char *out, const char *directory, bl_file_kind kind, uint64_t number)
{
    bool fits = bl_file_path_temporary(out, directory, kind, number);
    bl_assert(fits);
}

/* The number that all of text[0..size) spells in the one allowed form. */
static bool parse_number(const char *text, size_t size, unsigned width, uint64_t *out)
{
    uint64_t number = 0;
    if (size < width || size > 20 || (text[0] == '0' && size > width))
        return false;
    for (size_t i = 0; i < size; i++) {
        if (text[i] < '0' || text[i] > '9' || __builtin_mul_overflow(number, UINT64_C(10), &number) ||
            __builtin_add_overflow(number, (uint64_t)(text[i] - '0'), &number))
            return false;
    }
    *out = number;
    return number > 0 && number <= BL_FILE_NUMBER_MAX;
}

static bl_file_kind parse_final(const char *name, size_t size, uint64_t *number)
{
    for (unsigned i = 0; i < PLAIN_COUNT; i++)
        if (strlen(plain[i].name) == size && memcmp(name, plain[i].name, size) == 0)
            return plain[i].kind;
    for (unsigned i = 0; i < NUMBERED_COUNT; i++) {
        const struct numbered *form = &numbered[i];
        size_t before = strlen(form->before), behind = strlen(form->behind);
        uint64_t found;
        if (size > before + behind && memcmp(name, form->before, before) == 0 &&
            memcmp(name + size - behind, form->behind, behind) == 0 &&
            parse_number(name + before, size - before - behind, form->width, &found)) {
            *number = found;
            return form->kind;
        }
    }
    return BL_FILE_OTHER;
}

bl_file_kind bl_file_parse(const char *name, uint64_t *number)
{
    static const char temporary[] = ".tmp";
    size_t size = strlen(name), suffix = sizeof temporary - 1;
    *number = 0;
    bl_file_kind kind = parse_final(name, size, number);
    if (kind != BL_FILE_OTHER || size <= suffix || memcmp(name + size - suffix, temporary, suffix) != 0)
        return kind;
    return parse_final(name, size - suffix, number) == BL_FILE_OTHER ? BL_FILE_OTHER : BL_FILE_TEMPORARY;
}
