/* SPDX-License-Identifier: MIT */
/* head_paths.c -- the ways down a head tree, instantiated for AVX-512, AVX2, any machine, and a user's order.
 *
 * The instruction set is chosen once per tree; a search calls nothing through a pointer on its way down. All forms
 * give the same slot for the same node.
 *
 * THREADS  get, seek and prefetch: any, beside the writer. locate*: the writer.
 * NOT HERE What the searches are made of: head_paths.h. Changing the tree: head_tree.c. */
#include "memory/head_tree.h"

#if defined(__x86_64__) && !defined(BL_THREAD_SANITIZER)
#define PATHS_VECTORS 1
#include <immintrin.h>
#endif

enum { PREFIX_BELOW = -1, PREFIX_SAME = 0, PREFIX_ABOVE = 1, PREFIX_MOVED = 2 };
#define MOVED UINT32_MAX
#define NO_CANDIDATE UINT32_MAX
#ifdef BL_COVERAGE /* a copy in each caller would count each branch again */
#define PATHS_INLINE static inline
#else
#define PATHS_INLINE static inline __attribute__((always_inline))
#endif

/* Bytes that the searched key has in common with the keys that bound the present node's range. */
typedef struct key_bounds {
    uint32_t low, high;
} key_bounds;

static inline uint32_t bounds_matched(const key_bounds *bounds)
{
    return bounds->low < bounds->high ? bounds->low : bounds->high;
}

/* Look at the prefix itself: it is longer than what the node's tail and the bounds tell. */
static int prefix_order_slow(const bl_head_tree *tree, const bl_head_node *node, uint32_t version,
                             bole_slice key, uint32_t matched, uint32_t prefix_bytes, bool reader)
{
    bl_ref ref = atomic_load_explicit(&node->prefix_entry, memory_order_acquire);
    if (reader && !bl_node_unchanged(node, version))
        return PREFIX_MOVED;
    bole_slice whole = bl_entry_key(bl_arena_at(tree->arena, ref));
    size_t common = key.size < prefix_bytes ? key.size : prefix_bytes;
    int order = 0;
    if (common > matched)
        order = memcmp((const uint8_t *)key.data + matched, (const uint8_t *)whole.data + matched,
                       common - matched);
    if (order != 0)
        return order < 0 ? PREFIX_BELOW : PREFIX_ABOVE;
    return key.size < prefix_bytes ? PREFIX_BELOW : PREFIX_SAME;
}

/* Is `key` below, within or above the keys that have the node's prefix? */
static inline int prefix_order(const bl_head_tree *tree, const bl_head_node *node, uint32_t version,
                               bole_slice key, uint32_t matched, uint32_t prefix_bytes, bool reader)
{
    if (prefix_bytes <= matched)
        return PREFIX_SAME;
    if (bl_unlikely(key.size < prefix_bytes || prefix_bytes - matched > BL_NODE_HEAD_BYTES))
        return prefix_order_slow(tree, node, version, key, matched, prefix_bytes, reader);
    uint64_t tail;
    if (prefix_bytes >= BL_NODE_HEAD_BYTES) {
        tail = bl_head64(key.data, key.size, prefix_bytes - BL_NODE_HEAD_BYTES);
    } else {
        uint32_t missing_bits = 8 * (BL_NODE_HEAD_BYTES - prefix_bytes);
        bl_debug_assert(missing_bits < 64);
        tail = bl_head64(key.data, key.size, 0) >> missing_bits;
    }
    uint64_t expected = atomic_load_explicit(&node->prefix_tail, memory_order_relaxed);
    return tail == expected ? PREFIX_SAME : tail < expected ? PREFIX_BELOW : PREFIX_ABOVE;
}

/* Two keys that share `skip` bytes and the head behind them. Where one ends within the head, the head is not all. */
static inline int compare_behind(bole_slice a, bole_slice b, uint32_t skip)
{
    uint32_t past = skip + BL_NODE_HEAD_BYTES;
    if (bl_likely(past <= a.size && past <= b.size))
        skip = past;
    return bl_slice_compare_short(bl_slice((const uint8_t *)a.data + skip, a.size - skip),
                                  bl_slice((const uint8_t *)b.data + skip, b.size - skip));
}

/* ---- Among keys of equal heads ---- */

static inline bool may_have_ties(const bl_head_tree *tree)
{
    return atomic_load_explicit(&tree->has_ties, memory_order_relaxed);
}

/* Keys share `past` bytes, the head the last of them, with each other and with `key`. Walks the trie that their ties
 * are, without a look at a key: the slot of one that shares the most bytes with `key`; NO_CANDIDATE when some key ends
 * within the head. */
static inline uint32_t blind_candidate(const bl_head_node *node, bole_slice key, uint32_t past, uint32_t low,
                                       uint32_t high)
{
    const uint8_t *bytes = key.data;
    uint32_t candidate = low, skipped_from = UINT32_MAX; /* branches from that depth on are not the key's */
    for (uint32_t i = low + 1; i < high; i++) {
        uint32_t shared = bl_node_shared(node, i);
        if (bl_unlikely(shared < past))
            return NO_CANDIDATE;
        if (shared >= skipped_from)
            continue;
        bool beyond = shared < key.size && bytes[shared] >= bl_node_branch(node, i);
        candidate = beyond ? i : candidate;
        skipped_from = beyond ? UINT32_MAX : shared;
    }
    return candidate;
}

/* How many keys in slots [low, high) are < key? `candidate` is blind_candidate's, shares `shared` bytes with the key,
 * and is above or below it there. Says what the key would have in common with its neighbours. */
static inline uint32_t slot_beside(const bl_head_node *node, bole_slice key, bole_slice other,
                                   uint32_t candidate, uint32_t shared, uint32_t low, uint32_t high,
                                   bl_head_tie *before, bl_head_tie *behind)
{
    bool above = shared == other.size || (shared < key.size && ((const uint8_t *)key.data)[shared] >
                                                                   ((const uint8_t *)other.data)[shared]);
    uint32_t slot = candidate;
    bl_head_tie nearer = { .shared = (uint16_t)shared };
    if (above) {
        for (slot++; slot < high && bl_node_shared(node, slot) > shared;)
            slot++;
        *before = nearer;
        if (slot < high)
            *behind = (bl_head_tie){ (uint16_t)bl_node_shared(node, slot), bl_node_branch(node, slot) };
    } else {
        while (slot > low && bl_node_shared(node, slot) > shared)
            slot--;
        nearer.branch = ((const uint8_t *)other.data)[shared];
        *behind = nearer;
        if (slot > low)
            *before = (bl_head_tie){ .shared = (uint16_t)bl_node_shared(node, slot) };
    }
    return slot;
}

/* The count first: a slot that is appended meanwhile is then either not counted or wholly there. */
static inline void copy_leaf(const bl_head_node *leaf, bl_head_leaf *out)
{
    out->count = bl_node_count(leaf);
#ifdef BL_THREAD_SANITIZER
    for (uint32_t i = 0; i < BL_NODE_SLOTS; i++)
        out->refs[i] = bl_node_ref(leaf, i);
#else
    memcpy(out->refs, leaf->refs, sizeof(out->refs));
#endif
    out->next = atomic_load_explicit(&leaf->next, memory_order_acquire);
}

/* ---- How many heads are smaller? ---- */

static inline uint32_t rank_scalar(const bl_head_node *node, uint64_t head)
{
    uint32_t base = 0;
    for (uint32_t half = BL_NODE_SLOTS / 2; half != 0; half /= 2)
        base += bl_node_head(node, base + half - 1) < head ? half : 0;
    return base + (bl_node_head(node, base) < head);
}

#ifdef PATHS_VECTORS

#define TARGET_AVX2 __attribute__((target("avx2,bmi,bmi2,popcnt,lzcnt")))
#define TARGET_AVX512 __attribute__((target("avx512f,avx512vl,avx512bw,avx512dq,avx2,bmi,bmi2,popcnt,lzcnt")))

TARGET_AVX2 static inline uint32_t rank_avx2(const bl_head_node *node, uint64_t head)
{
    const __m256i *heads = (const __m256i *)(const void *)node->heads;
    const __m256i flip = _mm256_set1_epi64x(INT64_MIN); /* the compare is signed */
    const __m256i wanted = _mm256_xor_si256(_mm256_set1_epi64x((int64_t)head), flip);
    __m256i count = _mm256_setzero_si256();
    for (unsigned i = 0; i < BL_NODE_SLOTS / 4; i++) {
        __m256i smaller = _mm256_cmpgt_epi64(wanted, _mm256_xor_si256(_mm256_load_si256(heads + i), flip));
        count = _mm256_sub_epi64(count, smaller);
    }
    __m128i two = _mm_add_epi64(_mm256_castsi256_si128(count), _mm256_extracti128_si256(count, 1));
    return (uint32_t)(_mm_extract_epi64(two, 0) + _mm_extract_epi64(two, 1));
}

TARGET_AVX512 static inline uint32_t rank_avx512(const bl_head_node *node, uint64_t head)
{
    const __m512i *heads = (const __m512i *)(const void *)node->heads;
    const __m512i wanted = _mm512_set1_epi64((int64_t)head);
    uint32_t rank = 0;
    for (unsigned i = 0; i < BL_NODE_SLOTS / 8; i++)
        rank += (uint32_t)__builtin_popcount(_mm512_cmplt_epu64_mask(_mm512_load_si512(heads + i), wanted));
    return rank;
}

#define PATHS_NAME avx512
#define PATHS_TEXT "avx512"
#define PATHS_TARGET TARGET_AVX512
#define PATHS_RANK rank_avx512
#define PATHS_COMPARE 0
#include "memory/head_paths.h"

#define PATHS_NAME avx2
#define PATHS_TEXT "avx2"
#define PATHS_TARGET TARGET_AVX2
#define PATHS_RANK rank_avx2
#define PATHS_COMPARE 0
#include "memory/head_paths.h"

#endif

#define PATHS_NAME scalar
#define PATHS_TEXT "scalar"
#define PATHS_TARGET
#define PATHS_RANK rank_scalar
#define PATHS_COMPARE 0
#include "memory/head_paths.h"

#define PATHS_NAME compare
#define PATHS_TEXT "compare"
#define PATHS_TARGET
#define PATHS_RANK rank_scalar
#define PATHS_COMPARE 1
#include "memory/head_paths.h"

/* ---- The choice ---- */

const bl_head_paths *bl_head_paths_named(const char *name)
{
#ifdef PATHS_VECTORS
    if (strcmp(name, "avx512") == 0)
        return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512vl") &&
                       __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq")
                   ? &paths_avx512
                   : NULL;
    if (strcmp(name, "avx2") == 0)
        return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("bmi2") ? &paths_avx2 : NULL;
#endif
    if (strcmp(name, "scalar") == 0)
        return &paths_scalar;
    return strcmp(name, "compare") == 0 ? &paths_compare : NULL;
}

const bl_head_paths *bl_head_paths_for(bl_comparator *comparator)
{
    if (comparator != NULL)
        return &paths_compare;
    const bl_head_paths *paths = bl_head_paths_named("avx512");
    if (paths == NULL)
        paths = bl_head_paths_named("avx2");
    return paths != NULL ? paths : &paths_scalar;
}

/* ---- Whole leaves ---- */

void bl_head_leaf_copy(const bl_head_tree *tree, bl_ref ref, bl_head_leaf *out)
{
    const bl_head_node *leaf = bl_node_at(tree->arena, ref);
    uint32_t version;
    do {
        version = bl_node_begin(leaf);
        bl_node_tempt();
        copy_leaf(leaf, out);
    } while (!bl_node_unchanged(leaf, version));
}

void bl_head_leaf_copy_last(const bl_head_tree *tree, bl_head_leaf *out)
{
    for (;;) {
        bl_ref ref = atomic_load_explicit(&tree->root, memory_order_acquire);
        const bl_head_node *node = bl_node_at(tree->arena, ref);
        uint32_t version = bl_node_begin(node);
        bl_node_tempt();
        bool moved = atomic_load_explicit(&tree->root, memory_order_relaxed) != ref;
        while (!moved && node->level != 0) {
            ref = bl_node_child(node, bl_node_count(node));
            bl_node_tempt();
            moved = !bl_node_unchanged(node, version);
            if (moved)
                break;
            const bl_head_node *child = bl_node_at(tree->arena, ref);
            bl_node_tempt();
            uint32_t child_version = bl_node_begin(child);
            moved = !bl_node_unchanged(node, version);
            node = child;
            version = child_version;
        }
        if (moved)
            continue;
        bl_node_tempt();
        copy_leaf(node, out);
        if (bl_node_unchanged(node, version))
            return;
    }
}
