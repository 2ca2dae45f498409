/* SPDX-License-Identifier: MIT */
/* entry_text.h -- keys and values as people and files write them: with escapes, as hex digits, as they stand, in JSON;
 * and an entry as a line of JSONL or TSV. No store is needed for any of it. */
#ifndef BOLE_CLI_ENTRY_TEXT_H
#define BOLE_CLI_ENTRY_TEXT_H

#include <bole/bole.h>
#include <jansson.h>
#include <stdbool.h>
#include <stdio.h>

/* ---- bytes ---- */

typedef enum cli_form { FORM_ESCAPED, FORM_RAW, FORM_HEX } cli_form;

/* Text in a form to bytes. BOLE_INVALID says what is wrong with it, and leaves `out` empty. */
BOLE_CHECKED bole_status cli_read_bytes(const char *text, size_t size, cli_form form, bole_buffer *out,
                                        bole_error *error);
/* Write bytes in the form asked for; JSON strings are made with cli_json_bytes. */
void cli_print_bytes(FILE *out, bole_slice bytes, cli_form form);
/* A JSON string when the bytes are valid UTF-8, else {"hex": "..."}; NULL without memory. */
json_t *cli_json_bytes(bole_slice bytes);

/* ---- entries, one a line ---- */

typedef enum line_format {
    LINES_JSONL = 1, /* {"key": K, "value": V}; K, V: strings, or {"hex": "00ff"} for bytes that are no UTF-8 */
    LINES_TSV,       /* key TAB value, with the escapes \\ \n \r \t \0 \xNN */
} line_format;

/* A line without its newline. BOLE_INVALID says what is wrong with it, and leaves both empty. */
BOLE_CHECKED bole_status cli_read_line(const char *line, size_t size, line_format format, bole_buffer *key,
                                       bole_buffer *value, bole_error *error);
/* The line of an entry and its newline: read again it is the same entry, whatever bytes it has. False when it could not
 * be written. */
BOLE_CHECKED bool cli_print_line(FILE *out, bole_slice key, bole_slice value, line_format format);

#endif
