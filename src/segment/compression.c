/* SPDX-License-Identifier: MIT */
/* compression.c -- LZ4 and ZSTD behind two calls.
 *
 * Memory of both comes from base/alloc, so that a test can fail it. Reading needs a context for ZSTD only
 * (160 KB, dear to make): a block's reader takes one from the pool and puts it back; the pool keeps
 * POOL_CONTEXTS, more readers at once make their own and free it.
 * INVARIANTS  (COMPRESSION-1) Never a byte is written behind the capacity, whatever the input.
 *             (COMPRESSION-2) A decompression that succeeded filled exactly raw_bytes.
 * THREADS     bl_decompress: any, no lock. A compressor: one. */
#define ZSTD_STATIC_LINKING_ONLY /* ZSTD_createCCtx_advanced: contexts in our own heap */
#include "segment/compression.h"

#include "base/alloc.h"
#include "base/assert.h"
#include "base/status.h"

#include <lz4.h>
#include <stdatomic.h>
#include <zstd.h>

enum { POOL_CONTEXTS = 8, LZ4_LEVEL_MAX = 64, ZSTD_LEVEL_MAX = 19 };

struct bl_compressor {
    bl_compression_kind kind;
    int level;
    void *lz4_state;
    ZSTD_CCtx *zstd;
};

static _Atomic(ZSTD_DCtx *) pool[POOL_CONTEXTS];

static void *zstd_alloc(void *opaque, size_t bytes)
{
    (void)opaque;
    return bl_alloc(bytes);
}

static void zstd_free(void *opaque, void *data)
{
    (void)opaque;
    bl_free(data);
}

static const ZSTD_customMem zstd_memory = { zstd_alloc, zstd_free, NULL };

bool bl_compression_is_known(uint8_t kind) { return kind <= BL_COMPRESSED_ZSTD; }

const char *bl_compression_name(uint8_t kind)
{
    switch (kind) {
    case BL_COMPRESSED_NONE: return "none";
    case BL_COMPRESSED_LZ4: return "lz4";
    case BL_COMPRESSED_ZSTD: return "zstd";
    default: return "?";
    }
}

bole_status bl_compressor_create(bl_compression_kind kind, int level, bl_compressor **out, bole_error *error)
{
    *out = NULL;
    int level_max = kind == BL_COMPRESSED_LZ4 ? LZ4_LEVEL_MAX : ZSTD_LEVEL_MAX;
    if (kind > BL_COMPRESSED_ZSTD)
        return bl_fail(error, BOLE_UNSUPPORTED, "compression kind %d", (int)kind);
    if (level < 0 || level > level_max)
        return bl_fail(error, BOLE_INVALID, "compression level %d of %s is not in 0 .. %d", level,
                       bl_compression_name((uint8_t)kind), level_max);
    bl_compressor *compressor = bl_new(bl_compressor);
    if (compressor == NULL)
        return bl_fail(error, BOLE_NO_MEMORY, "compressor");
    compressor->kind = kind;
    compressor->level = level == 0 ? 1 : level;
    bool made = true;
    if (kind == BL_COMPRESSED_LZ4)
        made = (compressor->lz4_state = bl_alloc((size_t)LZ4_sizeofState())) != NULL;
    else if (kind == BL_COMPRESSED_ZSTD)
        made = (compressor->zstd = ZSTD_createCCtx_advanced(zstd_memory)) != NULL;
    if (!made) {
        bl_compressor_destroy(compressor);
        return bl_fail(error, BOLE_NO_MEMORY, "state of the %s compressor",
                       bl_compression_name((uint8_t)kind));
    }
    *out = compressor;
    return BOLE_OK;
}

void bl_compressor_destroy(bl_compressor *compressor)
{
    if (compressor == NULL)
        return;
    bl_free(compressor->lz4_state);
    ZSTD_freeCCtx(compressor->zstd);
    bl_free(compressor);
}

size_t bl_compress(bl_compressor *compressor, const void *raw, size_t raw_bytes, void *out, size_t capacity)
{
    if (capacity == 0 || raw_bytes > LZ4_MAX_INPUT_SIZE)
        return 0;
    switch (compressor->kind) {
    case BL_COMPRESSED_LZ4: {
        int room = capacity > INT32_MAX ? INT32_MAX : (int)capacity;
        int got = LZ4_compress_fast_extState(compressor->lz4_state, raw, out, (int)raw_bytes, room,
                                             compressor->level);
        return got > 0 ? (size_t)got : 0;
    }
    case BL_COMPRESSED_ZSTD: {
        size_t got = ZSTD_compressCCtx(compressor->zstd, out, capacity, raw, raw_bytes, compressor->level);
        return ZSTD_isError(got) ? 0 : got; /* too long, or no memory: then the block is stored raw */
    }
    case BL_COMPRESSED_NONE: break;
    }
    return 0;
}

static ZSTD_DCtx *take_context(void)
{
    for (unsigned i = 0; i < POOL_CONTEXTS; i++) {
        if (atomic_load_explicit(&pool[i], memory_order_relaxed) == NULL)
            continue;
        ZSTD_DCtx *context = atomic_exchange_explicit(&pool[i], NULL, memory_order_acquire);
        if (context != NULL)
            return context;
    }
    return ZSTD_createDCtx_advanced(zstd_memory);
}

static void give_context(ZSTD_DCtx *context)
{
    for (unsigned i = 0; i < POOL_CONTEXTS; i++) {
        ZSTD_DCtx *none = NULL;
        if (atomic_compare_exchange_strong_explicit(&pool[i], &none, context, memory_order_release,
                                                    memory_order_relaxed))
            return;
    }
    ZSTD_freeDCtx(context);
}

void bl_compression_release(void)
{
    for (unsigned i = 0; i < POOL_CONTEXTS; i++)
        ZSTD_freeDCtx(atomic_exchange_explicit(&pool[i], NULL, memory_order_acquire));
}

bole_status bl_decompress(uint8_t kind, const void *stored, size_t stored_bytes, void *out, size_t raw_bytes,
                          const char *file, uint64_t offset, bole_error *error)
{
    size_t got = SIZE_MAX;
    switch (kind) {
    case BL_COMPRESSED_NONE:
        if (stored_bytes == raw_bytes) {
            memcpy(out, stored, raw_bytes);
            got = raw_bytes;
        }
        break;
    case BL_COMPRESSED_LZ4:
        if (stored_bytes <= INT32_MAX && raw_bytes <= INT32_MAX) {
            int length = LZ4_decompress_safe(stored, out, (int)stored_bytes, (int)raw_bytes);
            got = length < 0 ? SIZE_MAX : (size_t)length;
        }
        break;
    case BL_COMPRESSED_ZSTD: {
        ZSTD_DCtx *context = take_context();
        if (context == NULL)
            return bl_fail(error, BOLE_NO_MEMORY, "context to decompress a block of %s", file);
        got = ZSTD_decompressDCtx(context, out, raw_bytes, stored, stored_bytes);
        give_context(context);
        break;
    }
    default:
        return bl_fail(error, BOLE_UNSUPPORTED, "%s: compression kind %u at offset %llu", file, kind,
                       (unsigned long long)offset);
    }
    if (got != raw_bytes)
        return bl_corrupt(error, file, offset, "%zu bytes of %s do not decompress to %zu", stored_bytes,
                          bl_compression_name(kind), raw_bytes);
    return BOLE_OK;
}
