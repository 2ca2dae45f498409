/* SPDX-License-Identifier: MIT */
/* entries_fixture.h -- random entries in internal order, for tests of blocks and segments; and golden hex
 * text.
 *
 * Keys come from several families, chosen by the seed: the boundary corpus (empty, one byte, prefixes of
 * each other, 0x00, 0xff, 64 KiB), decimal numbers behind a common prefix, and random bytes. Each key has
 * one version, or a few, or many. */
#ifndef BOLE_ENTRIES_FIXTURE_H
#define BOLE_ENTRIES_FIXTURE_H

#include "test.h"

#include "base/alloc.h"
#include "base/prng.h"
#include "base/slice.h"
#include "core/comparator.h"
#include "core/internal_key.h"

typedef struct test_entry {
    uint8_t *key, *value;
    size_t key_bytes, value_bytes;
    uint64_t tag;
} test_entry;

typedef struct test_entries {
    test_entry *list;
    size_t count, capacity;
} test_entries;

static inline bole_slice test_key(const test_entry *entry) { return bl_slice(entry->key, entry->key_bytes); }
static inline bole_slice test_value(const test_entry *entry)
{
    return bl_slice(entry->value, entry->value_bytes);
}

TEST_UNUSED static void test_entries_free(test_entries *entries)
{
    for (size_t i = 0; i < entries->count; i++) {
        free(entries->list[i].key);
        free(entries->list[i].value);
    }
    free(entries->list);
    *entries = (test_entries){ NULL, 0, 0 };
}

/* Exactly sized copies, so that a read one byte too far is seen. */
TEST_UNUSED static void *test_copy(const void *data, size_t bytes)
{
    void *copy = malloc(bytes == 0 ? 1 : bytes);
    assert_non_null(copy);
    if (bytes != 0)
        memcpy(copy, data, bytes);
    return copy;
}

TEST_UNUSED static void test_entries_add(test_entries *entries, bole_slice key, uint64_t tag,
                                         bole_slice value)
{
    if (entries->count == entries->capacity) {
        entries->capacity = entries->capacity == 0 ? 64 : entries->capacity * 2;
        entries->list = realloc(entries->list, entries->capacity * sizeof *entries->list);
        assert_non_null(entries->list);
    }
    entries->list[entries->count++] = (test_entry){ test_copy(key.data, key.size),
                                                    test_copy(value.data, value.size), key.size, value.size,
                                                    tag };
}

static bl_comparator *test_sorting_by;

static int test_entry_order(const void *a, const void *b)
{
    const test_entry *left = a, *right = b;
    int order = bl_compare(test_sorting_by, test_key(left), test_key(right));
    if (order != 0)
        return order;
    return left->tag > right->tag ? -1 : left->tag < right->tag;
}

/* Internal order; of equal (key, tag) only the first stays. */
TEST_UNUSED static void test_entries_sort(test_entries *entries, bl_comparator *comparator)
{
    test_sorting_by = comparator;
    if (entries->count == 0)
        return;
    qsort(entries->list, entries->count, sizeof *entries->list, test_entry_order);
    size_t kept = 1;
    for (size_t i = 1; i < entries->count; i++) {
        test_entry *entry = &entries->list[i];
        if (test_entry_order(&entries->list[kept - 1], entry) == 0) {
            free(entry->key);
            free(entry->value);
        } else {
            entries->list[kept++] = *entry;
        }
    }
    entries->count = kept;
}

typedef struct test_key_bytes {
    uint8_t data[BOLE_KEY_BYTES_MAX];
    size_t size;
} test_key_bytes;

/* A key of the family; `spread` bounds numbers, so that some are the same and many are near each other. */
TEST_UNUSED static void test_random_key(bl_prng *prng, unsigned family, uint64_t spread, test_key_bytes *out)
{
    switch (family) {
    case 0: /* boundaries: up to 6 bytes of 0x00, 0xff, 'a', 'b', seldom very long */
        out->size = bl_prng_chance(prng, 200) ? BOLE_KEY_BYTES_MAX - bl_prng_below(prng, 3)
                                              : bl_prng_below(prng, 7);
        for (size_t i = 0; i < out->size; i++)
            out->data[i] = i > 100 ? 'x'
                                   : (uint8_t) "\x00\xff"
                                               "ab"[bl_prng_below(prng, 4)];
        break;
    case 1: /* decimal, zero-padded, as benchmarks have them */
        out->size = (size_t)snprintf((char *)out->data, 64, "%016" PRIu64, bl_prng_below(prng, spread));
        break;
    case 2: /* a long common prefix, and numbers of no fixed length */
        out->size = (size_t)snprintf((char *)out->data, 64, "user/profile/%" PRIu64,
                                     bl_prng_below(prng, spread));
        break;
    case 3: /* an outlier in front of equal heads */
        if (bl_prng_chance(prng, 50))
            out->size = (size_t)snprintf((char *)out->data, 64, "a");
        else
            out->size = (size_t)snprintf((char *)out->data, 64, "commonlongprefix%" PRIu64,
                                         bl_prng_below(prng, spread));
        break;
    case 4: /* paths: prefixes of many lengths, some beyond a line, that each directory has for itself */
        out->size = 0;
        for (uint64_t depth = bl_prng_below(prng, 7); depth > 0; depth--) {
            static const char long_name[] = "a-name-that-takes-more-than-a-whole-cache-line-of-64-bytes-by-itself/";
            static const char *const names[] = { "a",  "ab", "include/", "x86_64-linux-gnu/", "\xff\xff\xff\xff",
                                                 long_name };
            const char *name = names[bl_prng_below(prng, sizeof names / sizeof *names)];
            memcpy(out->data + out->size, name, strlen(name));
            out->size += strlen(name);
            if (bl_prng_chance(prng, 8))
                out->data[out->size++] = 0;
        }
        if (!bl_prng_chance(prng, 8))
            out->size += (size_t)snprintf((char *)out->data + out->size, 64, "#%" PRIu64,
                                          bl_prng_below(prng, spread < 30 ? spread : 30));
        break;
    default: /* random bytes, up to 24 of them */
        out->size = bl_prng_below(prng, 25);
        bl_prng_fill(prng, out->data, out->size);
        break;
    }
}
enum { TEST_FAMILIES = 6 };

typedef struct test_entries_shape {
    unsigned family;
    size_t keys;
    uint64_t spread;
    uint64_t versions_max; /* of a key */
    size_t value_bytes_max;
    bool same_values;    /* all values of value_bytes_max */
    bool zero_sequences; /* one version a key, sequence 0, puts only */
} test_entries_shape;

TEST_UNUSED static void test_entries_fill(bl_prng *prng, const test_entries_shape *shape,
                                          bl_comparator *comparator, test_entries *out)
{
    static test_key_bytes key;
    uint8_t *value = malloc(shape->value_bytes_max + 1);
    assert_non_null(value);
    for (size_t i = 0; i < shape->keys; i++) {
        test_random_key(prng, shape->family, shape->spread, &key);
        uint64_t versions = shape->zero_sequences ? 1 : 1 + bl_prng_below(prng, shape->versions_max);
        for (uint64_t j = 0; j < versions; j++) {
            size_t bytes = shape->same_values ? shape->value_bytes_max
                                              : bl_prng_below(prng, shape->value_bytes_max + 1);
            bool tombstone = !shape->zero_sequences && bl_prng_chance(prng, 5);
            bl_prng_fill(prng, value, bytes);
            uint64_t tag = shape->zero_sequences ? BL_TAG(0, BL_KIND_PUT)
                                                 : BL_TAG(1 + bl_prng_below(prng, 1 << 20),
                                                          tombstone ? BL_KIND_DELETE : BL_KIND_PUT);
            test_entries_add(out, bl_slice(key.data, key.size), tag, bl_slice(value, tombstone ? 0 : bytes));
        }
    }
    free(value);
    test_entries_sort(out, comparator);
}

/* What a reader at `sequence` finds for `key`: an index, or SIZE_MAX. The plain definition, by looking at
 * all. */
TEST_UNUSED static size_t test_entries_find(const test_entries *entries, bl_comparator *comparator,
                                            bole_slice key, uint64_t sequence)
{
    for (size_t i = 0; i < entries->count; i++) {
        const test_entry *entry = &entries->list[i];
        if (bl_compare(comparator, test_key(entry), key) == 0 && bl_tag_visible(entry->tag, sequence))
            return i;
    }
    return SIZE_MAX;
}

/* First entry with key >= `key`; count when there is none. */
TEST_UNUSED static size_t test_entries_lower_bound(const test_entries *entries, bl_comparator *comparator,
                                                   bole_slice key)
{
    size_t at = 0;
    while (at < entries->count && bl_compare(comparator, test_key(&entries->list[at]), key) < 0)
        at++;
    return at;
}

/* An order that is not the bytes': from the last byte to the first, then by size. */
static int test_backward_compare(void *context, bole_slice a, bole_slice b)
{
    (void)context;
    const uint8_t *left = a.data, *right = b.data;
    for (size_t i = 1; i <= a.size && i <= b.size; i++) {
        if (left[a.size - i] != right[b.size - i])
            return left[a.size - i] < right[b.size - i] ? -1 : 1;
    }
    return a.size < b.size ? -1 : a.size > b.size;
}
TEST_UNUSED static const bole_comparator test_backward = { "test.backward", NULL, test_backward_compare };

/* ---- Golden bytes: a text of "offset: hex" lines; runs of zero lines are left out ---- */

TEST_UNUSED static char *test_hex(const uint8_t *data, size_t bytes)
{
    char *text = malloc(bytes * 5 + 256), *out = text;
    assert_non_null(text);
    for (size_t at = 0; at < bytes; at += 16) {
        size_t width = bytes - at < 16 ? bytes - at : 16;
        bool zero = at + width < bytes;
        for (size_t i = 0; i < width && zero; i++)
            zero = data[at + i] == 0;
        if (zero)
            continue;
        out += sprintf(out, "%06zx:", at);
        for (size_t i = 0; i < width; i++)
            out += sprintf(out, "%s%02x", i % 4 == 0 ? " " : "", data[at + i]);
        *out++ = '\n';
    }
    *out = '\0';
    return text;
}

/* Compare with tests/golden/NAME. BOLE_GOLDEN_WRITE=1 writes it anew. */
TEST_UNUSED static void test_golden(const char *name, const uint8_t *data, size_t bytes)
{
    char path[512];
    snprintf(path, sizeof path, "%s/tests/golden/%s", BOLE_SOURCE_DIR, name);
    char *text = test_hex(data, bytes);
    if (getenv("BOLE_GOLDEN_WRITE") != NULL) {
        FILE *file = fopen(path, "w");
        assert_non_null(file);
        fputs(text, file);
        fclose(file);
    }
    FILE *file = fopen(path, "r");
    assert_non_null(file);
    char *wanted = calloc(1, strlen(text) + 1024);
    assert_non_null(wanted);
    size_t got = fread(wanted, 1, strlen(text) + 1000, file);
    fclose(file);
    assert_true(got <= strlen(text) + 1000);
    assert_string_equal(text, wanted);
    free(wanted);
    free(text);
}

#endif
