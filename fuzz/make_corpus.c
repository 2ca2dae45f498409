/* SPDX-License-Identifier: MIT */
/* make_corpus.c -- writes the seeds of the fuzz targets: small, real pieces of stores, as the library lays them out.
 *
 *   fuzz_make_corpus FOLDER      FOLDER/TARGET/seed-NN
 *
 * The same bytes at every run. Seeds are committed; this program is for the day when a format changes.
 * THREADS One. */
#include "fuzz.h"

#include "base/alloc.h"
#include "base/prng.h"
#include "segment/block_builder.h"
#include "segment/compression.h"

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

/* ---- Entries of a few shapes: same size, prefix, versions and tombstones, long and empty ---- */

enum { SHAPES = 5 };

static bole_slice shape_key(unsigned shape, unsigned i, char *out)
{
    static const char *const prefixes[SHAPES] = { "", "user/profile/", "k", "", "commonlongprefix" };
    static const int widths[SHAPES] = { 8, 1, 1, 1, 4 };
    unsigned number = i == 0 ? 0 : 10 + i * 7;
    int size = snprintf(out, 64, "%s%0*u", prefixes[shape], widths[shape], number);
    return (bole_slice){ out, shape == 3 && i == 0 ? 0 : (size_t)size };
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
                    fuzz_check(bl_block_builder_add(&builder, shape_key(shape, i, key), tag, of, 4096) ==
                               BL_BLOCK_ADDED);
                }
            }
            add_block(&builder, (bl_compression_kind)kind);
            bl_block_builder_deinit(&builder);
        }
    }
}

int main(int count, char **arguments)
{
    if (count != 2) {
        fprintf(stderr, "usage: fuzz_make_corpus FOLDER\n");
        return 2;
    }
    root = arguments[1];
    make_blocks();
    bl_compression_release();
    return 0;
}
