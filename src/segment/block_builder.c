/* SPDX-License-Identifier: MIT */
/* block_builder.c -- entries in order, laid out as a block when it is full.
 *
 * STAGING     Each key is copied with its value right behind it, so a record is two varints and one copy:
 *             whatever the head does not hold of the key, and the value.
 * SIZE        The layout (prefix, width of heads, arrays that may be left out) is tracked entry by entry. The
 *             records depend on all of it, so while there is room only a bound of them is kept. Where the
 *             bound would pass the limit they are measured: entries of one size by one product, others in a
 *             pass over them.
 * PREFIX      The least of what neighbours share.
 * WIDE HEADS  where they tell apart more than one neighbour in 8 that 4 bytes do not: keys that differ later still, as
 *             paths do, need no wider heads, only more lines for them.
 * HASHES      where more than one neighbour in 4 has an equal head all the same, in byte order. A byte an entry.
 * INVARIANTS  (BUILDER-1) bl_block_builder_finish writes exactly bl_block_builder_size bytes, and they pass
 *             bl_block_validate in paranoid mode.
 *             (BUILDER-2) An entry out of order is refused and changes nothing.
 *             (BUILDER-3) records_bound is not below what the records take, and is never what ends a block:
 *                         what they really take is.
 * THREADS     One. */
#include "segment/block_builder.h"

#include "base/alloc.h"
#include "base/assert.h"
#include "base/status.h"

enum {
    STAGING_FIRST = 16 * 1024,
    STAGING_MAX = 8 * 1024 * 1024, /* keys with a long common prefix take more room here than in the block */
    STAGING_SLACK = 8,             /* heads are read as 8 bytes also where the last key ends */
    ENTRIES_FIRST = 256,
};

static inline bole_slice key_of(const bl_block_builder *builder, uint32_t index)
{
    const bl_block_entry *entry = &builder->entries[index];
    return bl_slice(builder->staging + entry->key_at, entry->value_at - entry->key_at);
}

bole_status bl_block_builder_init(bl_block_builder *builder, bl_comparator *comparator, bole_error *error)
{
    *builder = (bl_block_builder){ .comparator = comparator,
                                   .entries_capacity = ENTRIES_FIRST,
                                   .staging_capacity = STAGING_FIRST };
    builder->entries = bl_new_array(bl_block_entry, ENTRIES_FIRST);
    builder->staging = bl_alloc(STAGING_FIRST);
    builder->last_key = bl_alloc_unset(BOLE_KEY_BYTES_MAX);
    if (builder->entries != NULL && builder->staging != NULL && builder->last_key != NULL)
        return BOLE_OK;
    bl_block_builder_deinit(builder);
    return bl_fail(error, BOLE_NO_MEMORY, "block builder");
}

void bl_block_builder_deinit(bl_block_builder *builder)
{
    bl_free(builder->entries);
    bl_free(builder->staging);
    bl_free(builder->last_key);
    *builder = (bl_block_builder){ 0 };
}

bole_slice bl_block_builder_last_key(const bl_block_builder *builder)
{
    bl_assert(builder->has_last);
    return builder->last;
}

/* ---- The size of the block ---- */

static inline bool is_wide(const bl_block_shape *shape)
{
    return (uint64_t)(shape->narrow_collisions - shape->wide_collisions) * 8 > shape->count;
}

static inline bool is_hashed(const bl_block_builder *builder, const bl_block_shape *shape)
{
    uint32_t collisions = is_wide(shape) ? shape->wide_collisions : shape->narrow_collisions;
    return (uint64_t)collisions * 4 > shape->count && builder->comparator == NULL;
}

/* What a record takes; `rest`: its key behind the prefix. */
static inline size_t record_bytes(size_t rest, size_t value_bytes, size_t head_bytes)
{
    size_t tail = rest > head_bytes ? rest - head_bytes : 0;
    return bl_varint_size(rest) + bl_varint_size(value_bytes) + tail + value_bytes;
}

static inline size_t value_bytes_of(const bl_block_builder *builder, const bl_block_entry *entry)
{
    return builder->borrowed != NULL ? builder->borrowed_bytes : entry->end - entry->value_at;
}

/* What the records of `shape`, which are in `entries`, really take. */
static size_t measure_records(const bl_block_builder *builder, const bl_block_shape *shape)
{
    size_t prefix_bytes = shape->prefix_bytes, head_bytes = is_wide(shape) ? 8 : 4;
    uint32_t different = shape->uniform ? 1 : shape->count;
    size_t bytes = 0;
    for (uint32_t i = 0; i < different; i++) {
        const bl_block_entry *entry = &builder->entries[i];
        bytes += record_bytes(entry->value_at - entry->key_at - prefix_bytes, value_bytes_of(builder, entry),
                              head_bytes);
    }
    return shape->uniform ? bytes * shape->count : bytes;
}

/* Where the parts of the frame begin; returns its size. */
typedef struct places {
    size_t heads, offsets, hashes, arrays_end, tags, records; /* between arrays_end and tags: padding */
    bool wide_heads, wide_offsets, hashed;
} places;

static inline size_t place(const bl_block_builder *builder, const bl_block_shape *shape, size_t records,
                           places *out)
{
    size_t count = shape->count;
    out->wide_heads = is_wide(shape);
    out->wide_offsets = !shape->uniform && records > UINT16_MAX;
    size_t width = out->wide_heads ? 8 : 4;
    out->heads = (BL_BLOCK_HEADER_BYTES + shape->prefix_bytes + width - 1) & ~(width - 1);
    size_t at = out->offsets = out->heads + width * count;
    if (!shape->uniform)
        at += (out->wide_offsets ? 4 : 2) * count;
    out->hashes = at;
    out->hashed = is_hashed(builder, shape);
    if (out->hashed)
        at += count;
    out->arrays_end = at;
    if (shape->tagged)
        at = (at + 7) & ~(size_t)7;
    out->tags = at;
    if (shape->tagged)
        at += 8 * count;
    out->records = at;
    return at + records;
}

size_t bl_block_builder_size(const bl_block_builder *builder)
{
    places unused;
    const bl_block_shape *shape = &builder->shape;
    return shape->count == 0 ? 0 : place(builder, shape, measure_records(builder, shape), &unused);
}

/* Is a frame of `shape`, whose entries are all in `entries`, above the limit? */
static inline bool is_above(const bl_block_builder *builder, const bl_block_shape *shape, size_t limit)
{
    places unused;
    return bl_unlikely(place(builder, shape, shape->records_bound, &unused) > limit) &&
           place(builder, shape, measure_records(builder, shape), &unused) > limit;
}

/* A key shares less with the others than they with each other: their records grow by what the prefix loses. */
static inline void shorten_prefix(const bl_block_builder *builder, bl_block_shape *shape,
                                  uint32_t prefix_bytes)
{
    uint32_t narrow = 0, wide = 0;
    for (uint32_t i = 0; i < shape->count; i++) {
        narrow += builder->entries[i].common >= prefix_bytes + 4;
        wide += builder->entries[i].common >= prefix_bytes + 8;
    }
    shape->narrow_collisions = narrow;
    shape->wide_collisions = wide;
    shape->records_bound += (size_t)(shape->prefix_bytes - prefix_bytes) * shape->count;
    shape->prefix_bytes = prefix_bytes;
}

/* The shape with one more entry; `common` as in bl_block_entry, `prefix` what its key shares with the one
 * before. */
static inline void grow(const bl_block_builder *builder, bl_block_shape *shape, size_t key_bytes,
                        size_t value_bytes, uint64_t tag, size_t prefix, size_t common)
{
    if (shape->count == 0) {
        *shape = (bl_block_shape){ .prefix_bytes = (uint32_t)key_bytes, .uniform = true };
    } else {
        const bl_block_entry *entry = &builder->entries[0];
        shape->uniform &= key_bytes == entry->value_at - entry->key_at &&
                          value_bytes == entry->end - entry->value_at;
        if (bl_unlikely(prefix < shape->prefix_bytes))
            shorten_prefix(builder, shape, (uint32_t)prefix);
        shape->narrow_collisions += common >= shape->prefix_bytes + 4;
        shape->wide_collisions += common >= shape->prefix_bytes + 8;
    }
    shape->count++;
    shape->tombstones += bl_tag_kind(tag) == BL_KIND_DELETE;
    shape->tagged |= tag != BL_TAG(0, BL_KIND_PUT);
    shape->longest_key = key_bytes > shape->longest_key ? (uint32_t)key_bytes : shape->longest_key;
    size_t rest = key_bytes - shape->prefix_bytes; /* its varint may grow to the whole key's */
    shape->records_bound += record_bytes(rest, value_bytes, 4) + bl_varint_size(key_bytes) -
                            bl_varint_size(rest);
}

/* ---- Gathering ---- */

/* Does `key` with `tag` come behind the entry before, whose key shares `common` bytes with it? */
static inline bool in_order(const bl_block_builder *builder, bole_slice last, bole_slice key, uint64_t tag,
                            size_t common, bool *same)
{
    *same = common == last.size && common == key.size;
    if (*same)
        return tag < builder->last_tag;
    if (bl_unlikely(builder->comparator != NULL))
        return builder->comparator->compare(builder->comparator->context, last, key) < 0;
    if (common == last.size)
        return true;
    return common < key.size && ((const uint8_t *)last.data)[common] < ((const uint8_t *)key.data)[common];
}

static bool make_room(bl_block_builder *builder, size_t bytes)
{
    size_t wanted = builder->staging_bytes + bytes + STAGING_SLACK;
    if (wanted > builder->staging_capacity) {
        size_t capacity = wanted + wanted / 2;
        uint8_t *moved = bl_realloc(builder->staging, capacity);
        if (moved == NULL)
            return false;
        builder->staging = moved;
        builder->staging_capacity = capacity;
        if (builder->shape.count != 0)
            builder->last = key_of(builder, builder->shape.count - 1);
    }
    if (builder->shape.count == builder->entries_capacity) {
        size_t capacity = (size_t)builder->entries_capacity * 2;
        bl_block_entry *moved = bl_realloc(builder->entries, capacity * sizeof *moved);
        if (moved == NULL)
            return false;
        builder->entries = moved;
        builder->entries_capacity = (uint32_t)capacity;
    }
    return true;
}

bl_block_added bl_block_builder_add(bl_block_builder *builder, bole_slice key, uint64_t hash, uint64_t tag,
                                    bole_slice value, size_t limit)
{
    bl_debug_assert(key.size <= BOLE_KEY_BYTES_MAX && value.size <= BOLE_VALUE_BYTES_MAX);
    size_t prefix = 0;
    bool same = false;
    if (bl_likely(builder->has_last)) {
        prefix = bl_slice_common_prefix(builder->last, key);
        if (bl_unlikely(!in_order(builder, builder->last, key, tag, prefix, &same)))
            return BL_BLOCK_OUT_OF_ORDER;
    }
    bool first = builder->shape.count == 0;
    bool borrow = value.size >= BL_BLOCK_BORROW_BYTES;
    size_t staged = key.size + (borrow ? 0 : value.size);
    size_t common = same || first ? 0 : prefix;
    if (!first && (borrow || builder->borrowed != NULL || builder->staging_bytes + staged > STAGING_MAX))
        return BL_BLOCK_FULL;
    if (bl_unlikely(builder->staging_bytes + staged + STAGING_SLACK > builder->staging_capacity ||
                    builder->shape.count == builder->entries_capacity) &&
        !make_room(builder, staged))
        return BL_BLOCK_OUT_OF_MEMORY;

    bl_block_entry *entry = &builder->entries[builder->shape.count];
    entry->tag = tag;
    entry->common = (uint16_t)common;
    entry->hash = bl_block_hash(hash);
    entry->key_at = (uint32_t)builder->staging_bytes;
    entry->value_at = (uint32_t)(builder->staging_bytes + key.size);
    entry->end = (uint32_t)(builder->staging_bytes + staged);
    bl_block_shape shape = builder->shape;
    grow(builder, &shape, key.size, value.size, tag, prefix, common);
    if (!first && is_above(builder, &shape, limit))
        return BL_BLOCK_FULL;

    uint8_t *at = builder->staging + builder->staging_bytes;
    if (key.size != 0)
        memcpy(at, key.data, key.size);
    if (borrow) {
        builder->borrowed = value.data;
        builder->borrowed_bytes = value.size;
    } else if (value.size != 0) {
        memcpy(at + key.size, value.data, value.size);
    }
    builder->staging_bytes += staged;
    builder->shape = shape;
    builder->last = bl_slice(at, key.size);
    builder->last_tag = tag;
    builder->has_last = true;
    return BL_BLOCK_ADDED;
}

/* ---- Laying out ---- */

static void put_header(const bl_block_shape *shape, const places *parts, size_t size, uint8_t *frame)
{
    memset(frame, 0, BL_BLOCK_HEADER_BYTES);
    unsigned flags = (parts->wide_heads ? BL_BLOCK_WIDE_HEADS : 0u) |
                     (parts->wide_offsets ? BL_BLOCK_WIDE_OFFSETS : 0u) |
                     (parts->hashed ? BL_BLOCK_HASHES : 0u) | (shape->tagged ? BL_BLOCK_TAGS : 0u) |
                     (shape->uniform ? BL_BLOCK_UNIFORM : 0u);
    bl_put_u32(frame + 8, (uint32_t)(size - BL_BLOCK_HEADER_BYTES));
    bl_put_u32(frame + 12, (uint32_t)(size - BL_BLOCK_HEADER_BYTES));
    frame[16] = BL_COMPRESSED_NONE;
    frame[17] = (uint8_t)flags;
    bl_put_u16(frame + 18, (uint16_t)shape->prefix_bytes);
    bl_put_u32(frame + 20, shape->count);
    bl_put_u32(frame + 24, shape->tombstones);
    bl_put_u16(frame + 28, (uint16_t)shape->longest_key);
}

/* The first 8 bytes of a rest in staging as a head; what lies behind the key is cut off. */
static inline uint64_t head_of(const uint8_t *rest, size_t rest_bytes)
{
    uint64_t head = __builtin_bswap64(bl_get_u64(rest));
    if (rest_bytes < 8)
        head &= rest_bytes == 0 ? 0 : UINT64_MAX << (64 - 8 * rest_bytes);
    return head;
}

static void put_entries(const bl_block_builder *builder, const places *parts, uint8_t *frame)
{
    const bl_block_shape *shape = &builder->shape;
    size_t prefix = shape->prefix_bytes, width = parts->wide_heads ? 8 : 4;
    uint8_t *out = frame + parts->records;
    for (uint32_t i = 0; i < shape->count; i++) {
        const bl_block_entry *entry = &builder->entries[i];
        size_t rest = entry->value_at - entry->key_at - prefix;
        size_t at = (size_t)(out - frame) - parts->records;
        const uint8_t *in = builder->staging + entry->key_at + prefix;
        uint64_t head = head_of(in, rest);
        if (parts->wide_heads)
            bl_put_u64(frame + parts->heads + 8 * (size_t)i, head);
        else
            bl_put_u32(frame + parts->heads + 4 * (size_t)i, (uint32_t)(head >> 32));
        if (parts->wide_offsets)
            bl_put_u32(frame + parts->offsets + 4 * (size_t)i, (uint32_t)at);
        else if (!shape->uniform)
            bl_put_u16(frame + parts->offsets + 2 * (size_t)i, (uint16_t)at);
        if (parts->hashed)
            frame[parts->hashes + i] = entry->hash;
        if (shape->tagged)
            bl_put_u64(frame + parts->tags + 8 * (size_t)i, entry->tag);
        size_t skipped = rest < width ? rest : width;
        size_t copied = entry->end - entry->key_at - prefix - skipped; /* the rest's tail and the value */
        size_t value_bytes = value_bytes_of(builder, entry);
        out = bl_put_varint(out, rest);
        out = bl_put_varint(out, value_bytes);
        if (copied != 0)
            memcpy(out, in + skipped, copied);
        out += copied;
    }
    if (builder->borrowed != NULL)
        memcpy(out, builder->borrowed, builder->borrowed_bytes);
}

void bl_block_builder_finish(bl_block_builder *builder, uint8_t *frame)
{
    bl_assert(builder->shape.count > 0);
    const bl_block_shape *shape = &builder->shape;
    places parts;
    size_t size = place(builder, shape, measure_records(builder, shape), &parts);
    put_header(shape, &parts, size, frame);
    size_t prefix_end = BL_BLOCK_HEADER_BYTES + (size_t)shape->prefix_bytes;
    if (shape->prefix_bytes != 0)
        memcpy(frame + BL_BLOCK_HEADER_BYTES, builder->staging, shape->prefix_bytes);
    memset(frame + prefix_end, 0, parts.heads - prefix_end);
    memset(frame + parts.arrays_end, 0, parts.tags - parts.arrays_end);
    put_entries(builder, &parts, frame);

    if (builder->last.size != 0)
        memcpy(builder->last_key, builder->last.data, builder->last.size);
    builder->last.data = builder->last_key;
    builder->shape = (bl_block_shape){ 0 };
    builder->staging_bytes = 0;
    builder->borrowed = NULL;
}

void bl_block_seal(uint8_t *stored, uint64_t seed, uint64_t offset)
{
    size_t size = BL_BLOCK_HEADER_BYTES + (size_t)bl_get_u32(stored + 8);
    bl_put_u64(stored, bl_checksum(seed, offset, stored + 8, size - 8));
}
