/* SPDX-License-Identifier: MIT */
/* block.h -- sorted entries in one self-checking piece of a segment: what a frame holds.
 *
 * FRAME       offset  size  field                                          (all integers little-endian)
 *                  0     8  checksum     bl_checksum(seed of the segment's id, file offset of the block)
 *                                        over the stored bytes from offset 8 on
 *                  8     4  stored       bytes behind the header in the file
 *                 12     4  raw          bytes behind the header in a frame; = stored when not compressed
 *                 16     1  compression  bl_compression_kind
 *                 17     1  flags        bl_block_flag; an unknown one is refused
 *                 18     2  prefix       bytes that all keys of the block begin with
 *                 20     4  count        entries, at least 1
 *                 24     4  tombstones   entries of kind DELETE
 *                 28     2  longest      bytes of the longest key
 *                 30     2  zero
 *                 32     -  prefix bytes | heads | offsets | hashes | tags | records (compressed together, or not)
 *   heads    count x u32 (WIDE_HEADS: u64), aligned to their size: the key's bytes behind the prefix,
 *            big-endian in value, zero-padded where the key ends.
 *   offsets  count x u16 (WIDE_OFFSETS: u32): of each record, from the records' start. Left out (UNIFORM)
 *            when all keys are of one size and all values, too: record i then starts at i * (record bytes / count).
 *   hashes   count x u8: the highest byte of bl_hash(key). Only with HASHES: where many neighbours have equal heads,
 *            so that the search for one key looks at one record, and not at some of each run.
 *   tags     count x u64, aligned to 8. Left out (without TAGS) when every tag is BL_TAG(0, BL_KIND_PUT).
 *   records  without gaps: varint rest (key bytes behind the prefix), varint value bytes, the rest's bytes
 *            that the head does not hold, the value. bl_cursor_decode (core/run_cursor.h) reads them.
 * In memory an installed frame has other things in its first 12 bytes: see frame_cache.h.
 * Padding is zero. Entries stand in internal order (key rising, tag falling). With a user's comparator
 * prefix and heads are bytes of the keys all the same, only never used to search.
 *
 * INVARIANTS  (BLOCK-1) What bl_block_validate accepted can be decoded and searched without any further
 *             check.
 *             (BLOCK-2) Equal heads never mean equal keys; a search resolves them by the rest.
 * THREADS     A frame is immutable; any thread. Nothing here allocates, except where said. */
#ifndef BL_SEGMENT_BLOCK_H
#define BL_SEGMENT_BLOCK_H

#include "base/coding.h"
#include "core/lookup.h"
#include "core/run_cursor.h"
#include "segment/segment_format.h"

enum { BL_BLOCK_HEADER_BYTES = 32 };
/* Bound of a block's bytes, stored or in a frame, header included: the largest value, a key, and room. */
#define BL_BLOCK_BYTES_MAX (BOLE_VALUE_BYTES_MAX + (1u << 20))
/* A compressed block is at most this long raw, or at most RATIO_MAX times what is stored: a small file cannot ask
 * for a large frame. Header and index are both held to it. */
enum { BL_COMPRESSED_RAW_FREE = 1 << 20, BL_COMPRESSED_RATIO_MAX = 256 };
/* Bytes without the header. */
static inline bool bl_block_ratio_fits(uint32_t stored_bytes, uint32_t raw_bytes)
{
    return raw_bytes <= BL_COMPRESSED_RAW_FREE || raw_bytes / BL_COMPRESSED_RATIO_MAX <= stored_bytes;
}

/* Do not renumber. */
typedef enum bl_block_flag {
    BL_BLOCK_WIDE_HEADS = 1u << 0,
    BL_BLOCK_WIDE_OFFSETS = 1u << 1,
    BL_BLOCK_TAGS = 1u << 2,
    BL_BLOCK_UNIFORM = 1u << 3,
    BL_BLOCK_HASHES = 1u << 4,
} bl_block_flag;
#define BL_BLOCK_FLAGS_KNOWN 0x1Fu
static inline uint8_t bl_block_hash(uint64_t hash) { return (uint8_t)(hash >> 56); }

typedef struct bl_block_header {
    uint64_t checksum;
    uint32_t stored_bytes, raw_bytes; /* both without the header */
    uint8_t compression, flags;
    uint16_t prefix_bytes;
    uint32_t count, tombstones;
    uint16_t longest_key;
} bl_block_header;

/* ---- From file bytes to a frame. `file` and `offset` (of the block in the file) go into messages, and
 *      `offset` into the checksum. ---- */

/* Read the header's fields; checks that sizes are ones that can be and that kind and flags are known (else
 * BOLE_UNSUPPORTED), nothing more. `bytes` holds at least BL_BLOCK_HEADER_BYTES. On bytes fresh from a file
 * call bl_block_verify, which looks at the checksum first. */
BOLE_CHECKED bole_status bl_block_header_read(const uint8_t *bytes, const char *file, uint64_t offset,
                                              bl_block_header *out, bole_error *error);
/* `bytes` is the block as stored, `size` what the index says of it (header + stored). Checks size and
 * checksum, then the header. */
BOLE_CHECKED bole_status bl_block_verify(const uint8_t *bytes, size_t size, uint64_t seed, const char *file,
                                         uint64_t offset, bl_block_header *out, bole_error *error);
/* Check the whole structure of a frame of `size` bytes (header + raw) once, so that decoding may trust it:
 * counts, array bounds, each record ends where the next begins, no key above 65,535 bytes, head bytes behind
 * a key's end zero, tombstones and longest key as the header says, kinds that are built (else
 * BOLE_UNSUPPORTED). With `paranoid` also that hashes are those of the keys, keys rise, and tags fall, by `comparator`
 * (NULL: byte order).
 * Cost: 2-4 ns an entry. */
BOLE_CHECKED bole_status bl_block_validate(const uint8_t *frame, size_t size, bool paranoid,
                                           bl_comparator *comparator, const char *file, uint64_t offset,
                                           bole_error *error);
/* All of it: verify `stored`, decompress or copy into `frame` (`frame_size` is what the index says: header +
 * raw), validate. Where the index says stored == frame size the block is not compressed: read the file right
 * into the frame and pass the same pointer twice. */
BOLE_CHECKED bole_status bl_block_load(const uint8_t *stored, size_t stored_size, uint8_t *frame,
                                       size_t frame_size, uint64_t seed, const char *file, uint64_t offset,
                                       bole_error *error);

/* ---- Searching a validated frame ---- */

typedef struct bl_block_view {
    const uint8_t *prefix;
    const uint8_t *heads;
    const uint8_t *offsets; /* NULL: uniform */
    const uint8_t *hashes;  /* NULL: there are none */
    const uint8_t *tags;    /* NULL: all BL_TAG(0, BL_KIND_PUT) */
    const uint8_t *records;
    uint32_t count, stride; /* stride: bytes of each record when uniform */
    uint32_t prefix_bytes, longest_key;
    bool wide_heads, wide_offsets;
} bl_block_view;

/* A few instructions, and only the header's cache line is touched (unless uniform: nothing more either). */
static inline void bl_block_view_init(bl_block_view *view, const uint8_t *frame)
{
    uint8_t flags = frame[17];
    uint32_t count = bl_get_u32(frame + 20);
    uint32_t prefix_bytes = bl_get_u16(frame + 18);
    size_t end = BL_BLOCK_HEADER_BYTES + (size_t)bl_get_u32(frame + 12);
    size_t at = BL_BLOCK_HEADER_BYTES + (size_t)prefix_bytes;
    view->prefix = frame + BL_BLOCK_HEADER_BYTES;
    view->count = count;
    view->prefix_bytes = prefix_bytes;
    view->longest_key = bl_get_u16(frame + 28);
    view->wide_heads = (flags & BL_BLOCK_WIDE_HEADS) != 0;
    view->wide_offsets = (flags & BL_BLOCK_WIDE_OFFSETS) != 0;
    size_t width = view->wide_heads ? 8 : 4;
    at = (at + width - 1) & ~(width - 1);
    view->heads = frame + at;
    at += width * count;
    view->offsets = NULL;
    if ((flags & BL_BLOCK_UNIFORM) == 0) {
        view->offsets = frame + at;
        at += (view->wide_offsets ? (size_t)4 : (size_t)2) * count;
    }
    view->hashes = NULL;
    if ((flags & BL_BLOCK_HASHES) != 0) {
        view->hashes = frame + at;
        at += count;
    }
    view->tags = NULL;
    if ((flags & BL_BLOCK_TAGS) != 0) {
        at = (at + 7) & ~(size_t)7;
        view->tags = frame + at;
        at += (size_t)8 * count;
    }
    view->records = frame + at;
    view->stride = 0;
    if ((flags & BL_BLOCK_UNIFORM) != 0)
        view->stride = (uint32_t)((end - at) / count);
}

typedef enum bl_block_answer {
    BL_BLOCK_ABSENT,
    BL_BLOCK_FOUND,
    BL_BLOCK_CONTINUES, /* the block ends in versions of the key, all too new: look in the next block */
} bl_block_answer;
/* The newest version of lookup->key that lookup->sequence sees, if this block is the first that may hold
 * one. The value points into the frame. */
bl_block_answer bl_block_search(const bl_block_view *view, const bl_lookup *lookup, uint64_t *tag,
                                bole_slice *value);
/* Ask for the record that a search for `key`, in byte order, will look at, and say which one: count, when there is
 * none. */
uint32_t bl_block_prefetch(const bl_block_view *view, bole_slice key);
/* The same for a search of the one key, by its hash where the block has hashes. */
void bl_block_prefetch_found(const bl_block_view *view, const bl_lookup *lookup);
/* Index of the first entry with key >= `key` (its newest version in this block); count when there is none. */
uint32_t bl_block_lower_bound(const bl_block_view *view, bl_comparator *comparator, bole_slice key);
/* Assemble the key of entry `index` in `out`, which has room for view->longest_key + 8 bytes. */
bole_slice bl_block_key(const bl_block_view *view, uint32_t index, uint8_t *out);
/* Is `key` the key of the first entry? Allocates and copies nothing. */
bool bl_block_holds_key(const bl_block_view *view, bole_slice key);
/* Tag and value of entry `index`; the value points into the frame. */
uint64_t bl_block_tag(const bl_block_view *view, uint32_t index);
bole_slice bl_block_value(const bl_block_view *view, uint32_t index);

/* ---- A cursor's window ---- */

/* Make `cursor` show the block: kind, index 0, count, prefix, heads, stride or offsets, tags, records; copies the
 * prefix into cursor->key_buffer, which has room for view->longest_key + BL_CURSOR_KEY_SLACK bytes. Sets no entry: set
 * index and decode. */
void bl_block_window(const bl_block_view *view, bl_cursor *cursor);

#endif
