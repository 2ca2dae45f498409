/* SPDX-License-Identifier: MIT */
/* fuzz_import_line.c -- one line of what `bole load` reads, without a store: JSONL and TSV.
 *
 * INPUT       u8 kind (mod 4), then
 *             0 a line of JSON; 1 a line of TSV; 2 what stands between the quotes of a JSON line's key and, behind a
 *             newline, of its value; 3 an entry: the bytes of its key and, behind a newline, of its value.
 * CHECKED     JSON is accepted exactly when Jansson finds an object with a key and a value that are strings or pairs of
 *             hex digits, and gives their bytes; TSV without a backslash is its bytes up to the first tab and behind
 *             it. What was accepted is written as JSON and as TSV, each one line of printable ASCII or UTF-8, and read
 *             again as the same bytes. What was refused leaves nothing and a reason. Memory follows from the size; not
 *             a byte stays allocated, by whatever library. */
#include "fuzz.h"

#include "cli/entry_text.h"

#include <bole/bole_inspect.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerInitialize(int *count, char ***arguments)
{
    (void)count, (void)arguments;
    json_set_alloc_funcs(malloc, free); /* ours are counted */
    return 0;
}

typedef struct entry {
    bole_buffer key, value;
} entry;

static bole_slice slice_of(const bole_buffer *buffer) { return BOLE_SLICE(buffer->data, buffer->size); }

static bool equal(bole_slice a, bole_slice b)
{
    return a.size == b.size && (a.size == 0 || memcmp(a.data, b.data, a.size) == 0);
}

static void entry_free(entry *e)
{
    bole_buffer_free(&e->key);
    bole_buffer_free(&e->value);
}

/* ---- What a line means, found in another way ---- */

static bool is_hex(char c) { return (c >= '0' && c <= '9') || ((c | 0x20) >= 'a' && (c | 0x20) <= 'f'); }

static bool is_bytes(const json_t *field)
{
    const json_t *hex = json_object_get(field, "hex");
    const char *digits = json_string_value(hex);
    size_t size = json_string_length(hex);
    if (json_is_string(field))
        return true;
    for (size_t i = 0; i < size; i++)
        if (!is_hex(digits[i]))
            return false;
    return digits != NULL && size % 2 == 0;
}

static void check_bytes(const json_t *field, const bole_buffer *bytes)
{
    if (json_is_string(field)) {
        fuzz_check(equal(slice_of(bytes), BOLE_SLICE(json_string_value(field), json_string_length(field))));
        return;
    }
    const char *digits = json_string_value(json_object_get(field, "hex"));
    fuzz_check(json_string_length(json_object_get(field, "hex")) == 2 * bytes->size);
    for (size_t i = 0; i < bytes->size; i++)
        fuzz_check(strtoul((char[3]){ digits[2 * i], digits[2 * i + 1], '\0' }, NULL, 16) ==
                   ((uint8_t *)bytes->data)[i]);
}

static void check_json(bole_slice line, bool accepted, const entry *e)
{
    json_t *object = json_loadb(line.data, line.size, JSON_ALLOW_NUL | JSON_REJECT_DUPLICATES, NULL);
    const json_t *key = json_object_get(object, "key"), *value = json_object_get(object, "value");
    fuzz_check(accepted == (is_bytes(key) && is_bytes(value)));
    if (accepted) {
        check_bytes(key, &e->key);
        check_bytes(value, &e->value);
    }
    json_decref(object);
}

static void check_tsv(bole_slice line, bool accepted, const entry *e)
{
    const char *text = line.data, *tab = line.size == 0 ? NULL : memchr(text, '\t', line.size);
    bool escapes = line.size != 0 && memchr(text, '\\', line.size) != NULL;
    fuzz_check(!accepted || tab != NULL);
    if (tab == NULL || escapes)
        return;
    size_t before = (size_t)(tab - text);
    fuzz_check(accepted);
    fuzz_check(equal(slice_of(&e->key), BOLE_SLICE(text, before)));
    fuzz_check(equal(slice_of(&e->value), BOLE_SLICE(tab + 1, line.size - before - 1)));
}

/* ---- There and back ---- */

static void check_way(const entry *e, line_format way)
{
    enum { LONGEST_ESCAPE = 6, AROUND = 64 };
    size_t capacity = LONGEST_ESCAPE * (e->key.size + e->value.size) + AROUND;
    char *text = malloc(capacity);
    FILE *out = text == NULL ? NULL : fmemopen(text, capacity, "w");
    entry again = { BOLE_BUFFER_INIT, BOLE_BUFFER_INIT };
    bole_error error = BOLE_ERROR_INIT;
    fuzz_check(out != NULL);
    fuzz_check(cli_print_line(out, slice_of(&e->key), slice_of(&e->value), way));
    long end = ftell(out);
    fuzz_check(end > 0 && fclose(out) == 0);
    size_t size = (size_t)end;
    fuzz_check(memchr(text, '\n', size) == text + size - 1); /* one line */
    for (size_t i = 0; i + 1 < size; i++)
        fuzz_check((uint8_t)text[i] >= 0x20 || (way == LINES_TSV && text[i] == '\t'));
    fuzz_check_ok(cli_read_line(text, size - 1, way, &again.key, &again.value, &error), &error);
    fuzz_check(equal(slice_of(&again.key), slice_of(&e->key)));
    fuzz_check(equal(slice_of(&again.value), slice_of(&e->value)));
    entry_free(&again);
    free(text);
}

static void check_both_ways(const entry *e)
{
    check_way(e, LINES_JSONL);
    check_way(e, LINES_TSV);
}

static void check_line(bole_slice line, line_format format)
{
    entry e = { BOLE_BUFFER_INIT, BOLE_BUFFER_INIT };
    bole_error error = BOLE_ERROR_INIT;
    bole_status status = cli_read_line(line.data, line.size, format, &e.key, &e.value, &error);
    fuzz_check(status == BOLE_OK || status == BOLE_INVALID);
    fuzz_check(status == BOLE_OK || (error.message[0] != '\0' && e.key.size == 0 && e.value.size == 0));
    if (format == LINES_TSV)
        check_tsv(line, status == BOLE_OK, &e);
    else
        check_json(line, status == BOLE_OK, &e);
    if (status == BOLE_OK)
        check_both_ways(&e);
    entry_free(&e);
}

/* Up to the first newline, and behind it. */
static bole_slice split(bole_slice bytes, bole_slice *rest)
{
    const char *text = bytes.data, *end = bytes.size == 0 ? NULL : memchr(text, '\n', bytes.size);
    *rest = BOLE_SLICE(NULL, 0);
    if (end == NULL)
        return bytes;
    size_t before = (size_t)(end - text);
    *rest = BOLE_SLICE(end + 1, bytes.size - before - 1);
    return BOLE_SLICE(text, before);
}

static void check_json_strings(bole_slice bytes)
{
    bole_slice value, key = split(bytes, &value);
    char *line = malloc(bytes.size + 64);
    fuzz_check(line != NULL);
    char *at = stpcpy(line, "{\"key\":\"");
    at = (char *)memcpy(at, key.size == 0 ? "" : key.data, key.size) + key.size;
    at = stpcpy(at, "\",\"value\":\"");
    at = (char *)memcpy(at, value.size == 0 ? "" : value.data, value.size) + value.size;
    at = stpcpy(at, "\"}");
    check_line(BOLE_SLICE(line, (size_t)(at - line)), LINES_JSONL);
    free(line);
}

static void check_entry(bole_slice bytes)
{
    entry e = { BOLE_BUFFER_INIT, BOLE_BUFFER_INIT };
    bole_slice value, key = split(bytes, &value);
    fuzz_check_ok(cli_read_bytes(key.data, key.size, FORM_RAW, &e.key, NULL), NULL);
    fuzz_check_ok(cli_read_bytes(value.data, value.size, FORM_RAW, &e.value, NULL), NULL);
    fuzz_check(equal(slice_of(&e.key), key) && equal(slice_of(&e.value), value));
    check_both_ways(&e);
    entry_free(&e);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    fuzz_input input = { data, size };
    uint8_t kind = fuzz_u8(&input) % 4;
    bole_slice bytes = { input.data, input.size };
    fuzz_memory_begin();
    switch (kind) {
    case 0: check_line(bytes, LINES_JSONL); break;
    case 1: check_line(bytes, LINES_TSV); break;
    case 2: check_json_strings(bytes); break;
    default: check_entry(bytes); break;
    }
    fuzz_check(fuzz_memory_left() == 0);
    fuzz_memory_end(size, 256, 65536);
    return 0;
}
