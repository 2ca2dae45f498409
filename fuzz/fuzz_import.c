/* SPDX-License-Identifier: MIT */
/* fuzz_import.c -- what `bole load` reads: JSONL and TSV; and what `bole dump` writes of it.
 *
 * INPUT       u8 flags (1: TSV), then the text.
 * CHECKED     A line that is refused is named, with a reason. What was loaded, dumped in either format and loaded into
 *             another store, is dumped as the same text: so both formats are exact for any bytes. Nothing of the
 *             library's stays allocated. */
#include "fuzz.h"

#include <stdio.h>

/* The command tells of its progress on stderr; a million times that is too much. */
static FILE *quiet;
#undef stderr
#define stderr quiet
#include "cli/load.c"
#undef stderr

#include "platform/epoch.h"
#include "segment/compression.h"

static bole_db *open_store(bole_vfs *disk, const char *path)
{
    bole_options options = BOLE_OPTIONS_INIT;
    bole_error error = BOLE_ERROR_INIT;
    bole_db *db = NULL;
    options.flags = BOLE_CREATE | BOLE_NO_SIGBUS_HANDLER;
    options.vfs = disk;
    options.simulation_seed = 1;
    options.memory_limit = 16 << 20;
    options.memtable_bytes = 65536;
    fuzz_check_ok(bole_open(path, &options, &db, &error), &error);
    return db;
}

static bole_status load_text(invocation *cli, bole_slice text, line_format format)
{
    bole_batch *batch = NULL;
    char *copy = malloc(text.size + 1); /* fmemopen takes no const */
    fuzz_check(copy != NULL);
    memcpy(copy, text.data, text.size);
    FILE *file = fmemopen(copy, text.size, "r");
    fuzz_check(file != NULL);
    fuzz_check_ok(bole_batch_create(&batch), NULL);
    bole_status status = load_lines(cli, file, "input", format, batch);
    bole_batch_destroy(batch);
    fclose(file);
    free(copy);
    return status;
}

static char *dump_text(invocation *cli, line_format format, size_t *size)
{
    char *text = NULL;
    FILE *out = open_memstream(&text, size);
    fuzz_check(out != NULL);
    fuzz_check_ok(dump_entries(cli, out, format), &cli->error);
    fuzz_check(fclose(out) == 0);
    return text;
}

/* Through `way` into another store: the same text. */
static void check_way(bole_vfs *disk, invocation *from, line_format way, const char *path)
{
    size_t size = 0, way_size = 0, again_size = 0;
    char *text = dump_text(from, LINES_JSONL, &size), *way_text = dump_text(from, way, &way_size);
    invocation to = { .db = open_store(disk, path) };
    if (way_size != 0)
        fuzz_check_ok(load_text(&to, (bole_slice){ way_text, way_size }, way), &to.error);
    char *again = dump_text(&to, LINES_JSONL, &again_size);
    fuzz_check(size == again_size && memcmp(text, again, size) == 0);
    fuzz_check_ok(bole_close(to.db, &to.error), &to.error);
    free(text);
    free(way_text);
    free(again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    fuzz_input input = { data, size };
    line_format format = (fuzz_u8(&input) & 1) != 0 ? LINES_TSV : LINES_JSONL;
    if (input.size == 0)
        return 0;
    if (quiet == NULL)
        quiet = fopen("/dev/null", "w");
    fuzz_check(quiet != NULL);
    bl_epoch_wait();
    fuzz_memory_begin();
    bole_vfs *disk = fuzz_disk(1);
    invocation cli = { .db = open_store(disk, FUZZ_DIRECTORY "/a") };
    bole_status status = load_text(&cli, (bole_slice){ input.data, input.size }, format);
    fuzz_check(status == BOLE_OK || status == BOLE_INVALID || status == BOLE_TOO_LARGE);
    fuzz_check(status == BOLE_OK || strncmp(cli.error.message, "input line ", 11) == 0);
    fuzz_check(status == BOLE_OK || strlen(cli.error.message) > 15);
    check_way(disk, &cli, LINES_JSONL, FUZZ_DIRECTORY "/b");
    check_way(disk, &cli, LINES_TSV, FUZZ_DIRECTORY "/c");
    fuzz_check_ok(bole_close(cli.db, &cli.error), &cli.error);
    bole_vfs_destroy(disk);
    bl_compression_release();
    fuzz_memory_end(size, 64, 48 << 20); /* two stores of at most 16 MiB, and their disk */
    return 0;
}
