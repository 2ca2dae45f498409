/* SPDX-License-Identifier: MIT */
/* entry_text.c -- keys and values as text, entries as lines, both ways, exact for any bytes.
 *
 * Bytes reach a bole_buffer through bole_unescape alone, the public way to fill one: what is written in another form is
 * first written with escapes. */
#include "cli/entry_text.h"

#include <bole/bole_inspect.h>
#include <stdlib.h>
#include <string.h>

/* ---- bytes ---- */

static const char hex_digits[] = "0123456789abcdef";

static int hex_digit(char c)
{
    const char *at = c == 0 ? NULL : strchr(hex_digits, c | (c >= 'A' ? 0x20 : 0));
    return at == NULL ? -1 : (int)(at - hex_digits);
}

static bole_status read_plain(const char *text, size_t size, bole_buffer *out, bole_error *error)
{
    if (size == 0 || memchr(text, '\\', size) == NULL)
        return bole_unescape(text, size, out, error);
    char *escaped = malloc(2 * size);
    size_t n = 0;
    if (escaped == NULL)
        return BOLE_NO_MEMORY;
    for (size_t i = 0; i < size; i++) {
        if (text[i] == '\\')
            escaped[n++] = '\\';
        escaped[n++] = text[i];
    }
    bole_status status = bole_unescape(escaped, n, out, error);
    free(escaped);
    return status;
}

static bole_status read_hex(const char *text, size_t size, bole_buffer *out, bole_error *error)
{
    bool good = size % 2 == 0;
    for (size_t i = 0; i < size && good; i++)
        good = hex_digit(text[i]) >= 0;
    if (!good) {
        snprintf(error->message, sizeof(error->message), "\"%.*s\" is not a row of hex digit pairs",
                 (int)(size < 200 ? size : 200), text);
        return BOLE_INVALID;
    }
    char *escaped = malloc(2 * size + 1);
    if (escaped == NULL)
        return BOLE_NO_MEMORY;
    for (size_t i = 0; i < size; i += 2)
        memcpy(escaped + 2 * i, (char[4]){ '\\', 'x', text[i], text[i + 1] }, 4);
    bole_status status = bole_unescape(escaped, 2 * size, out, error);
    free(escaped);
    return status;
}

bole_status cli_read_bytes(const char *text, size_t size, cli_form form, bole_buffer *out, bole_error *error)
{
    out->size = 0;
    switch (form) {
    case FORM_RAW: return read_plain(text, size, out, error);
    case FORM_HEX: return read_hex(text, size, out, error);
    default: return bole_unescape(text, size, out, error);
    }
}

void cli_print_bytes(FILE *out, bole_slice bytes, cli_form form)
{
    enum { PIECE_BYTES = 256 };
    const unsigned char *at = bytes.data;
    if (form == FORM_RAW && bytes.size > 0)
        fwrite(at, 1, bytes.size, out);
    if (form == FORM_RAW)
        return;
    for (size_t done = 0, size; done < bytes.size; done += size) {
        char shown[4 * PIECE_BYTES + 1];
        size_t length = 0;
        size = bytes.size - done < PIECE_BYTES ? bytes.size - done : PIECE_BYTES;
        if (form == FORM_ESCAPED)
            length = bole_escape(BOLE_SLICE(at + done, size), shown, sizeof(shown));
        for (size_t i = 0; i < size && form == FORM_HEX; i++) {
            shown[length++] = hex_digits[at[done + i] >> 4];
            shown[length++] = hex_digits[at[done + i] & 15];
        }
        fwrite(shown, 1, length, out);
    }
}

json_t *cli_json_bytes(bole_slice bytes)
{
    json_t *text = json_stringn(bytes.size == 0 ? "" : bytes.data, bytes.size);
    if (text != NULL)
        return text;
    char *digits = malloc(2 * bytes.size + 1);
    if (digits == NULL)
        return NULL;
    const unsigned char *at = bytes.data;
    for (size_t i = 0; i < bytes.size; i++) {
        digits[2 * i] = hex_digits[at[i] >> 4];
        digits[2 * i + 1] = hex_digits[at[i] & 15];
    }
    json_t *object = json_object();
    if (json_object_set_new(object, "hex", json_stringn(digits, 2 * bytes.size)) != 0) {
        json_decref(object);
        object = NULL;
    }
    free(digits);
    return object;
}

/* ---- entries, one a line ---- */

static bole_status read_json_bytes(const json_t *field, bole_buffer *out, bole_error *error)
{
    const json_t *hex = json_object_get(field, "hex");
    if (json_is_string(field))
        return cli_read_bytes(json_string_value(field), json_string_length(field), FORM_RAW, out, error);
    if (json_is_string(hex))
        return cli_read_bytes(json_string_value(hex), json_string_length(hex), FORM_HEX, out, error);
    snprintf(error->message, sizeof(error->message),
             "\"key\" and \"value\" are strings, or {\"hex\": \"...\"}");
    return BOLE_INVALID;
}

static bole_status read_json(const char *line, size_t size, bole_buffer *key, bole_buffer *value,
                             bole_error *error)
{
    json_error_t story;
    json_t *object = json_loadb(line, size, JSON_ALLOW_NUL | JSON_REJECT_DUPLICATES, &story);
    if (!json_is_object(object)) {
        snprintf(error->message, sizeof(error->message), "%s",
                 object == NULL ? story.text : "a line is one JSON object");
        json_decref(object);
        return BOLE_INVALID;
    }
    bole_status status = read_json_bytes(json_object_get(object, "key"), key, error);
    if (status == BOLE_OK)
        status = read_json_bytes(json_object_get(object, "value"), value, error);
    json_decref(object);
    return status;
}

static bole_status read_tsv(const char *line, size_t size, bole_buffer *key, bole_buffer *value,
                            bole_error *error)
{
    const char *tab = size == 0 ? NULL : memchr(line, '\t', size);
    if (tab == NULL) {
        snprintf(error->message, sizeof(error->message), "no TAB between key and value");
        return BOLE_INVALID;
    }
    bole_status status = cli_read_bytes(line, (size_t)(tab - line), FORM_ESCAPED, key, error);
    if (status == BOLE_OK)
        status = cli_read_bytes(tab + 1, size - (size_t)(tab + 1 - line), FORM_ESCAPED, value, error);
    return status;
}

bole_status cli_read_line(const char *line, size_t size, line_format format, bole_buffer *key,
                          bole_buffer *value, bole_error *error)
{
    key->size = value->size = 0;
    bole_status status = format == LINES_TSV ? read_tsv(line, size, key, value, error)
                                             : read_json(line, size, key, value, error);
    if (status != BOLE_OK)
        key->size = value->size = 0;
    return status;
}

bool cli_print_line(FILE *out, bole_slice key, bole_slice value, line_format format)
{
    if (format == LINES_TSV) {
        cli_print_bytes(out, key, FORM_ESCAPED);
        fputc('\t', out);
        cli_print_bytes(out, value, FORM_ESCAPED);
    } else {
        json_t *line = json_pack("{s:o,s:o}", "key", cli_json_bytes(key), "value", cli_json_bytes(value));
        bool written = line != NULL && json_dumpf(line, out, JSON_COMPACT) == 0;
        json_decref(line);
        if (!written)
            return false;
    }
    return fputc('\n', out) != EOF;
}
