/* SPDX-License-Identifier: MIT */
/* keys.c -- keys and values as functions of a number: whatever a benchmark reads can be checked.
 *
 * BINARY   8 bytes big-endian of number * 2, and 8 more that are mixed from it: in order of number
 * DECIMAL  "%016llu" of number * 2, as db_bench has them
 * PATHS    the real paths below /usr/include, /usr/share and /usr/lib, with "#" and a count behind */
#include "bench.h"

#include <ftw.h>
#include <stdlib.h>
#include <string.h>

static char *paths; /* one behind the other: what the runner itself waits for is one line or two */
static size_t paths_bytes, paths_room;
static struct path {
    uint32_t at, bytes;
} * places;
static uint64_t path_count;
enum { PATHS_MAX = 200000, WORD = 8, DECIMAL_DIGITS = 16, DIGITS_MAX = 20 };

static uint64_t mix(uint64_t x) /* splitmix64's finalizer */
{
    x ^= x >> 30;
    x *= UINT64_C(0xbf58476d1ce4e5b9);
    x ^= x >> 27;
    x *= UINT64_C(0x94d049bb133111eb);
    return x ^ x >> 31;
}

static int note_path(const char *path, const struct stat *status, int kind, struct FTW *walk)
{
    (void)status, (void)walk;
    size_t bytes = strlen(path);
    if (kind != FTW_F || path_count == PATHS_MAX || bytes > BENCH_KEY_BYTES_MAX - 32 ||
        bytes > paths_room - paths_bytes)
        return 0;
    memcpy(paths + paths_bytes, path, bytes);
    places[path_count++] = (struct path){ (uint32_t)paths_bytes, (uint32_t)bytes };
    paths_bytes += bytes;
    return 0;
}

bool bench_keys_load(void)
{
    if (path_count != 0)
        return true;
    paths_room = (size_t)PATHS_MAX * BENCH_KEY_BYTES_MAX;
    paths = malloc(paths_room);
    places = malloc(PATHS_MAX * sizeof *places);
    if (paths == NULL || places == NULL)
        return false;
    (void)nftw("/usr/include", note_path, 16, FTW_PHYS);
    (void)nftw("/usr/share", note_path, 16, FTW_PHYS);
    (void)nftw("/usr/lib", note_path, 16, FTW_PHYS);
    if (path_count == 0)
        fprintf(stderr, "bench: no files below /usr to take paths from\n");
    return path_count != 0;
}

/* In at least `least` digits; how many there are. printf takes longer than some engines do for an operation. */
static size_t put_decimal(char *out, uint64_t value, size_t least)
{
    char digits[DIGITS_MAX];
    size_t count = 0;
    for (; value != 0 || count < least; value /= 10)
        digits[DIGITS_MAX - ++count] = (char)('0' + value % 10);
    memcpy(out, digits + DIGITS_MAX - count, count);
    return count;
}

static size_t path_key(uint64_t number, bool absent, char *out)
{
    const struct path *path = &places[number % path_count];
    memcpy(out, paths + path->at, path->bytes);
    out[path->bytes] = '#';
    return path->bytes + 1 + put_decimal(out + path->bytes + 1, number / path_count * 2 + absent, 1);
}

/* The empty statement keeps gcc from leaving out calls of what does nothing else (src/base/prefetch.h, which a
 * benchmark beside other engines does not see). */
static inline void ask(const void *line)
{
    __builtin_prefetch(line);
    __asm__ volatile("");
}

void bench_key_ask(uint64_t number, bool near)
{
    const struct path *path = &places[number % path_count];
    if (!near) {
        ask(path);
        return;
    }
    for (uint32_t i = 0; i < path->bytes; i += 64)
        ask(paths + path->at + i);
    ask(paths + path->at + path->bytes - 1);
}

static void put_big_endian(char *out, uint64_t value)
{
    for (int i = WORD - 1; i >= 0; i--, value >>= 8)
        out[i] = (char)(value & 0xff);
}

static size_t make_key(bench_keyset keyset, uint64_t number, bool absent, char *out)
{
    uint64_t place = number * 2 + absent;
    switch (keyset) {
    case BENCH_BINARY:
        put_big_endian(out, place);
        put_big_endian(out + WORD, mix(place));
        return 2 * WORD;
    case BENCH_DECIMAL: return put_decimal(out, place, DECIMAL_DIGITS);
    default: return path_key(number, absent, out);
    }
}

size_t bench_key(bench_keyset keyset, uint64_t number, char *out)
{
    return make_key(keyset, number, false, out);
}

size_t bench_absent_key(bench_keyset keyset, uint64_t number, char *out)
{
    return make_key(keyset, number, true, out);
}

size_t bench_key_bytes(bench_keyset keyset, uint64_t count)
{
    enum { SAMPLE = 1000 };
    char key[BENCH_KEY_BYTES_MAX];
    uint64_t bytes = 0, step = count / SAMPLE + 1, seen = 0;
    if (keyset != BENCH_PATHS)
        return bench_key(keyset, 0, key);
    for (uint64_t number = 0; number < count; number += step, seen++)
        bytes += bench_key(keyset, number, key);
    return seen == 0 ? 0 : (size_t)(bytes / seen);
}

/* number, generation, then words; every second of them mixed, the others the same one. */
void bench_value(uint64_t number, uint32_t generation, char *out, size_t bytes)
{
    uint64_t seed = mix(number ^ (uint64_t)generation << 40);
    memcpy(out, &number, WORD);
    memcpy(out + WORD, &generation, sizeof generation);
    size_t at = WORD + sizeof generation;
    for (uint64_t i = 0; at < bytes; i++) {
        uint64_t word = i % 2 == 0 ? mix(seed + i) : seed;
        size_t piece = bytes - at < WORD ? bytes - at : WORD;
        memcpy(out + at, &word, piece);
        at += piece;
    }
}

bool bench_value_is_right(uint64_t number, uint32_t generation_max, bole_slice value)
{
    uint64_t said;
    uint32_t generation;
    if (value.size < WORD + sizeof generation)
        return false;
    memcpy(&said, value.data, WORD);
    memcpy(&generation, (const char *)value.data + WORD, sizeof generation);
    if (said != number || generation > generation_max)
        return false;
    /* the first mixed word, and the last bytes: a value of another number, or a torn one, has others */
    uint64_t seed = mix(number ^ (uint64_t)generation << 40), word = mix(seed), got = 0;
    size_t at = WORD + sizeof generation;
    if (value.size >= at + WORD) {
        memcpy(&got, (const char *)value.data + at, WORD);
        if (got != word)
            return false;
        uint64_t last = (value.size - at - 1) / WORD;
        size_t piece = value.size - at - last * WORD;
        word = last % 2 == 0 ? mix(seed + last) : seed;
        return memcmp((const char *)value.data + at + last * WORD, &word, piece) == 0;
    }
    return true;
}
