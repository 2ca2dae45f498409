/* SPDX-License-Identifier: MIT */
/* make_corpus.c -- writes the seeds of the fuzz targets: small, real pieces of stores, as the library lays them out.
 *
 *   fuzz_make_corpus FOLDER      FOLDER/TARGET/seed-NN
 *
 * The same bytes at every run. Seeds are committed; this program is for the day when a format changes.
 * THREADS One. */
#include "fuzz.h"

#include "base/alloc.h"
#include "base/buffer.h"
#include "base/hash.h"
#include "base/prng.h"
#include "log/log_replay.h"
#include "segment/block_builder.h"
#include "segment/compression.h"
#include "version/file_name.h"
#include "version/manifest.h"

#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

static const char *root;
static const char *folder;
static unsigned folder_count;

static void begin_target(const char *name)
{
    char path[4096];
    folder = name;
    folder_count = 0;
    snprintf(path, sizeof path, "%s/%s", root, name);
    mkdir(root, 0777);
    mkdir(path, 0777);
}

/* A seed: `head` and then `data`. */
static void add_seed(const void *head, size_t head_size, const void *data, size_t size)
{
    char path[4096];
    snprintf(path, sizeof path, "%s/%s/seed-%02u", root, folder, ++folder_count);
    FILE *file = fopen(path, "wb");
    fuzz_check(file != NULL);
    fuzz_check(head_size == 0 || fwrite(head, 1, head_size, file) == head_size);
    fuzz_check(size == 0 || fwrite(data, 1, size, file) == size);
    fuzz_check(fclose(file) == 0);
}

/* ---- Entries of a few shapes: same size, prefix, versions and tombstones, long and empty, equal heads ---- */

enum { SHAPES = 6, STORE_SHAPES = 5 };

static bole_slice shape_key(unsigned shape, unsigned i, char *out)
{
    static const char *const prefixes[SHAPES] = { "", "user/profile/",    "k",
                                                  "", "commonlongprefix", "equal/heads/" };
    static const int widths[SHAPES] = { 8, 1, 1, 1, 4, 2 };
    unsigned number = i == 0 ? 0 : 10 + i * 7;
    int size = snprintf(out, 64, "%s%0*u", prefixes[shape], widths[shape], number);
    if (i == 0 && (shape == 3 || shape == 5)) /* no prefix of all, then */
        size = 0;
    return (bole_slice){ out, (size_t)size };
}

static bole_slice shape_value(unsigned shape, unsigned i, char *out)
{
    size_t size = shape == 0 ? 10 : shape == 4 ? 40 : i % 13;
    memset(out, 'a' + (int)(i % 26), size);
    return (bole_slice){ out, size };
}

static void add_block(bl_block_builder *builder, bl_compression_kind kind)
{
    static const bl_id id = { { 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16 } };
    uint8_t head[2] = { FUZZ_MEND, 3 };
    size_t size = bl_block_builder_size(builder);
    uint8_t *frame = bl_alloc(size), *stored = bl_alloc(size);
    bl_compressor *compressor = NULL;
    fuzz_check(frame != NULL && stored != NULL);
    bl_block_builder_finish(builder, frame);
    memcpy(stored, frame, size);
    fuzz_check(bl_compressor_create(kind, 0, &compressor, NULL) == BOLE_OK);
    size_t packed = kind == BL_COMPRESSED_NONE
                        ? 0
                        : bl_compress(compressor, frame + BL_BLOCK_HEADER_BYTES, size - BL_BLOCK_HEADER_BYTES,
                                      stored + BL_BLOCK_HEADER_BYTES, size - BL_BLOCK_HEADER_BYTES - 1);
    if (packed != 0) {
        size = BL_BLOCK_HEADER_BYTES + packed;
        bl_put_u32(stored + 8, (uint32_t)packed);
        stored[16] = (uint8_t)kind;
    }
    bl_block_seal(stored, bl_checksum_seed(id), 3 * 4096);
    head[0] = kind == BL_COMPRESSED_ZSTD ? 0 : FUZZ_MEND;
    add_seed(head, sizeof head, stored, size);
    bl_compressor_destroy(compressor);
    bl_free(frame);
    bl_free(stored);
}

static void make_blocks(void)
{
    begin_target("block");
    for (unsigned shape = 0; shape < SHAPES; shape++) {
        for (unsigned kind = 0; kind <= BL_COMPRESSED_ZSTD; kind++) {
            bl_block_builder builder;
            char key[64], value[64];
            fuzz_check(bl_block_builder_init(&builder, NULL, NULL) == BOLE_OK);
            for (unsigned i = 0; i < 9; i++) {
                for (unsigned version = shape == 2 ? 3 : 1; version > 0; version--) {
                    bool put = shape != 2 || version != 2;
                    uint64_t tag = shape == 0 ? BL_TAG(0, BL_KIND_PUT)
                                              : BL_TAG(version * 100 + i, put ? BL_KIND_PUT : BL_KIND_DELETE);
                    bole_slice of = put ? shape_value(shape, i, value) : (bole_slice){ NULL, 0 };
                    bole_slice name = shape_key(shape, i, key);
                    fuzz_check(bl_block_builder_add(&builder, name, bl_hash(name.data, name.size), tag, of,
                                                    4096) == BL_BLOCK_ADDED);
                }
            }
            add_block(&builder, (bl_compression_kind)kind);
            bl_block_builder_deinit(&builder);
        }
    }
}

/* ---- A store: two tables, merged and fresh segments, a log with operations ---- */

static void put(bole_db *db, bole_table *table, unsigned shape, unsigned i)
{
    char key[64], value[64];
    bole_write_options options = BOLE_WRITE_OPTIONS_INIT;
    options.table = table;
    options.durability = i % 5 == 0 ? BOLE_DURABILITY_POWER : BOLE_DURABILITY_PROCESS;
    fuzz_check(bole_put(db, &options, shape_key(shape, i, key), shape_value(shape, i, value)) == BOLE_OK);
    if (i % 4 == 3)
        fuzz_check(bole_delete(db, &options, shape_key(shape, i - 1, key)) == BOLE_OK);
}

/* `clean`: closed, else the process died. */
static bole_vfs *make_store(bool clean)
{
    bole_vfs *disk = fuzz_disk(1), *dead = NULL;
    bole_error error = BOLE_ERROR_INIT;
    bole_options options = BOLE_OPTIONS_INIT;
    bole_db *db = NULL;
    bole_table *table = NULL;
    options.flags = BOLE_CREATE | BOLE_NO_SIGBUS_HANDLER;
    options.vfs = disk;
    options.simulation_seed = 1;
    options.memory_limit = 16 << 20;
    options.memtable_bytes = 4096;
    options.block_bytes = 1024;
    fuzz_check_ok(bole_open(FUZZ_DIRECTORY, &options, &db, &error), &error);
    fuzz_check_ok(bole_table_create(db, "people", NULL, &table, &error), &error);
    for (unsigned round = 0; round < 4; round++) {
        for (unsigned i = 0; i < 12; i++) {
            put(db, NULL, round % STORE_SHAPES, i);
            put(db, table, 1, i + round);
        }
        if (round < 3)
            fuzz_check_ok(bole_flush(db, &error), &error);
        if (round == 1)
            fuzz_check_ok(bole_compact(db, NULL, (bole_slice){ 0 }, (bole_slice){ 0 }, &error), &error);
    }
    bole_table_close(table);
    if (!clean)
        fuzz_check_ok(bole_vfs_memory_crash(disk, BOLE_CRASH_KEEP_ALL, 1, &dead), NULL);
    fuzz_check_ok(bole_close(db, &error), &error);
    if (dead == NULL)
        return disk;
    bole_vfs_destroy(disk);
    return dead;
}

/* The file of a kind with the highest number; its bytes are the caller's. */
typedef struct finding {
    bl_file_kind kind;
    uint64_t number, below;
} finding;

static bool look_at_name(void *context, const char *name)
{
    finding *found = context;
    uint64_t number = 0;
    if (bl_file_parse(name, &number) == found->kind && number > found->number && number < found->below)
        found->number = number;
    return true;
}

static uint8_t *last_file(bole_vfs *disk, bl_file_kind kind, uint64_t below, char *path, size_t *size)
{
    finding found = { .kind = kind, .below = below };
    fuzz_check_ok(disk->list(disk, FUZZ_DIRECTORY, look_at_name, &found, NULL), NULL);
    fuzz_check(found.number != 0 && bl_file_path(path, FUZZ_DIRECTORY, kind, found.number));
    return fuzz_file_read(disk, path, size);
}

static bole_status add_payload(void *context, uint64_t position, bole_slice payload, bole_error *error)
{
    (void)position, (void)error;
    unsigned *count = context;
    if ((*count)++ % 6 == 0)
        add_seed(NULL, 0, payload.data, payload.size);
    return BOLE_OK;
}

static bole_status add_batches(bole_vfs *disk, const char *path, const bl_log_header *header)
{
    unsigned count = 0;
    bl_log_replayed replayed;
    bl_log_expectation expected = {
        .vfs = disk, .path = path, .number = header->number, .start = header->start, .end = UINT64_MAX
    };
    return bl_log_replay(&expected, add_payload, &count, &replayed, NULL);
}

static void make_batches(bole_vfs *disk)
{
    begin_target("write_batch");
    char path[BL_PATH_BYTES_MAX];
    size_t size = 0;
    bl_log_header header;
    bl_free(last_file(disk, BL_FILE_LOG, UINT64_MAX, path, &size));
    fuzz_check_ok(bl_log_read_header(disk, path, &header, NULL), NULL);
    fuzz_check_ok(add_batches(disk, path, &header), NULL);
    static const uint8_t many[] = {
        1, 1, 0, 1, 'k', 2, 'v', 'w', 2, 0, 1, 'k', 1, 7, 0, 0, 2, 0x80, 1, 1, 'x'
    };
    add_seed(NULL, 0, many, sizeof many);
}

static void make_logs(bole_vfs *disk)
{
    begin_target("log");
    static const uint8_t flags[] = { FUZZ_MEND, 0, FUZZ_MEND | 64, 16, 32 };
    char path[BL_PATH_BYTES_MAX];
    for (unsigned i = 0; i < sizeof flags; i++) {
        size_t size = 0;
        uint8_t head[9] = { flags[i], 30, 0, 30, 0, 30, 0, 30, 0 };
        uint8_t *file = last_file(disk, BL_FILE_LOG, UINT64_MAX, path, &size);
        while (size > BL_LOG_FILE_HEADER_BYTES && file[size - 1] == 0)
            size--;
        size_t most = BL_LOG_FILE_HEADER_BYTES + (i == 1 ? 1500 : 400 + 40 * i);
        size = size < most ? size : most;
        memmove(file + 88, file + BL_LOG_FILE_HEADER_BYTES, size - BL_LOG_FILE_HEADER_BYTES);
        add_seed(head, sizeof head, file, 88 + size - BL_LOG_FILE_HEADER_BYTES);
        bl_free(file);
    }
}

static bole_status add_edit(void *context, const bl_manifest_edit *edit, bole_error *error)
{
    (void)context;
    bole_buffer bytes = BOLE_BUFFER_INIT;
    bole_status status = bl_version_edit_encode(edit->edit, &bytes, error);
    if (status == BOLE_OK)
        add_seed(NULL, 0, bytes.data, bytes.size);
    bole_buffer_free(&bytes);
    return status;
}

static void make_edits(bole_vfs *disk)
{
    begin_target("version_edit");
    char path[BL_PATH_BYTES_MAX];
    size_t size = 0;
    bl_manifest_scanned scanned;
    bl_free(last_file(disk, BL_FILE_MANIFEST, UINT64_MAX, path, &size));
    fuzz_check_ok(bl_manifest_scan(disk, path, NULL, add_edit, NULL, &scanned, NULL), NULL);
}

static void make_manifests(bole_vfs *disk, bool first, bool clean)
{
    if (first)
        begin_target("manifest");
    char path[BL_PATH_BYTES_MAX];
    for (unsigned i = 0; i < 2; i++) {
        size_t size = 0, current_size = 0;
        uint8_t head[1 + BL_CURRENT_BYTES] = { i == 0 ? FUZZ_MEND | (clean ? 4 : 0) : 2 };
        uint8_t *current = fuzz_file_read(disk, FUZZ_DIRECTORY "/CURRENT", &current_size);
        uint8_t *file = last_file(disk, BL_FILE_MANIFEST, UINT64_MAX, path, &size);
        fuzz_check(current_size == BL_CURRENT_BYTES);
        memcpy(head + 1, current, current_size);
        add_seed(head, sizeof head, file, size);
        bl_free(file);
        bl_free(current);
    }
}

static void make_segments(bole_vfs *disk)
{
    begin_target("segment");
    char path[BL_PATH_BYTES_MAX];
    uint64_t below = UINT64_MAX;
    for (unsigned i = 0; i < 4; i++) {
        size_t size = 0;
        uint8_t head[1 + 64] = { i == 3 ? 0 : i == 2 ? FUZZ_MEND | 2 : FUZZ_MEND };
        uint8_t *file = last_file(disk, BL_FILE_SEGMENT, below, path, &size);
        memcpy(head + 1, file, 64);
        add_seed(head, sizeof head, file + 4096, size - 4096);
        bl_free(file);
        (void)bl_file_parse(path + sizeof FUZZ_DIRECTORY, &below);
    }
}

/* Any bytes are a row of operations. */
static void make_operations(void)
{
    begin_target("operations");
    for (unsigned i = 0; i < 8; i++) {
        uint8_t bytes[900];
        bl_prng prng;
        bl_prng_init(&prng, i);
        bl_prng_fill(&prng, bytes, sizeof bytes);
        add_seed(NULL, 0, bytes, 200 + 100 * i);
    }
}

/* ---- Text ---- */

static void add_text(uint8_t flags, const char *text) { add_seed(&flags, 1, text, strlen(text)); }

static void make_texts(void)
{
    begin_target("text");
    add_text(0, "plain");
    add_text(0, "a\\\\b\\n\\t\\r\\0\\x00\\xff\\x7fz");
    add_text(0, "wrong \\q \\x1");
    add_text(1, "a\\b\n\t\r \x7f\xc3\xa4\xff");
    begin_target("config");
    add_text(
        0,
        "# four writers, little memory\nmemory_limit = 512MiB\ncompression  = zstd        ; or lz4, none\n");
    add_text(
        0,
        "memtable_bytes=4 MiB # small\r\n  segment_bytes: 8M\nblock-bytes = auto\nfilter_bits_per_key = none\n"
        "level0_runs = 4\nbackground_threads = 2\ndurability = power\nsync_interval_ms = 1s\n");
    add_text(0, "compression_upper = none\ncompression_level = -5\nmap_logs = off\nopen_files_max = 1000\n"
                "log_level = debug\nevents_bytes = 1GiB\nmemory_limit = default\n");
    add_text(0, "[section]\nmemory_limit = 1GiB\n");
    add_text(0, "memory_limt = 1GiB\n");
    add_text(0, "level0_runs = 99\n");
    add_text(
        1,
        "BOLE_MEMORY_LIMIT=64MiB\nBOLE_COMPRESSION=lz4\nBOLE_DB=store\nPATH=/bin\nBOLE_SYNC_INTERVAL_MS=\n");
    add_text(1, "BOLE_MEMORY_LIMT=64MiB\n");
}

static void make_imports(void)
{
    begin_target("import");
    add_text(
        0,
        "{\"key\": \"k1\", \"value\": \"v1\"}\n{\"key\":\"k\\u00e4\\n\",\"value\":{\"hex\":\"00ffAB\"}}\n");
    add_text(
        0,
        "{\"key\": {\"hex\": \"ff00\"}, \"value\": \"a\\\\x41\\u0000b\"}\n\n{\"value\": \"\", \"key\": \"\"}");
    add_text(0, "{\"key\": \"a\", \"value\": \"b\"}\n{\"key\": 1, \"value\": \"b\"}\n");
    add_text(0, "{\"key\": \"a\", \"key\": \"b\", \"value\": \"c\"}\n[]\n");
    add_text(1, "k1\tv1\nk\\t2\t\\x00\\xff\\\\\n\tempty key\nk3\t\n");
    add_text(1, "k1\tv\ttabs\nno tab\n");
    add_text(1, "a\tb\\q\n");
    begin_target("import_line");
    add_text(0, "{\"key\": \"k1\", \"value\": \"v1\"}");
    add_text(0, "{\"value\":{\"hex\":\"00ffAB\"},\"key\":\"k\\u00e4\\ud83d\\ude00\\n\"}");
    add_text(0, " {\"key\": {\"hex\": \"\"}, \"value\": \"a\\\\x41\\u0000b\", \"more\": [1, {}, null]}\r");
    add_text(0, "{\"key\": {\"hex\": \"00\\u0000ff\"}, \"value\": \"\"}");
    add_text(0, "{\"key\": {\"hex\": \"0\"}, \"value\": 1e3}");
    add_text(0, "{\"key\": \"a\", \"key\": \"b\", \"value\": \"c\"}");
    add_text(0, "[[[[]]]]");
    add_text(1, "k1\tv1");
    add_text(1, "k\\t2\t\\x00\\xff\\\\\\0\\r\\n");
    add_text(1, "\tv\twith\ttabs \xc3\xa4 \xff");
    add_text(1, "no tab \\q");
    add_text(1, "a\tb\\x4");
    add_text(2, "plain \xc3\xa4 \\u00e4\\ud83d\\ude00\\\"\\\\/\\/\\b\\f\n\\r\\t\\u0000\\u007f");
    add_text(2, "\\x41\n\xf0\x9f\x98\x80 \\ud800 \xff");
    add_text(3, "a\\b\tc\r\n\x7f\xc3\xa4\xff\n");
    add_text(3, "\xf4\x8f\xbf\xbf\xed\xa0\x80\xc0\x80\n\"\\\"");
}

int main(int count, char **arguments)
{
    if (count != 2) {
        fprintf(stderr, "usage: fuzz_make_corpus FOLDER\n");
        return 2;
    }
    root = arguments[1];
    bole_vfs *closed = make_store(true), *died = make_store(false);
    make_blocks();
    make_batches(died);
    make_logs(died);
    make_edits(died);
    make_manifests(closed, true, true);
    make_manifests(died, false, false);
    make_segments(closed);
    make_operations();
    make_imports();
    make_texts();
    bole_vfs_destroy(closed);
    bole_vfs_destroy(died);
    bl_compression_release();
    return 0;
}
