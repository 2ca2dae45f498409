/* SPDX-License-Identifier: MIT */
/* micro_checksum.c -- what checksums and hashes cost: of records, blocks and keys. Each waits for the one before. */
#include "base/checksum.h"
#include "base/hash.h"
#include "micro_clock.h"

enum { ROUNDS = 3, BYTES_MAX = 65536, FAR_BYTES = 256 << 20 };

static uint8_t near_bytes[BYTES_MAX];

static void check_near(size_t size, uint64_t count)
{
    char name[64];
    snprintf(name, sizeof name, "checksum, %zu bytes", size);
    for (int round = 0; round < ROUNDS; round++) {
        uint64_t sum = 0;
        micro_begin();
        for (uint64_t i = 0; i < count; i++)
            sum = bl_checksum(sum, i, near_bytes, size);
        micro_end(name, count);
        if (sum == 0)
            exit(1);
    }
}

/* As replay and a scan from the disk meet them: every block for the first time. */
static void check_far(const uint8_t *bytes, size_t size)
{
    uint64_t count = micro_less(FAR_BYTES / size), sum = 0;
    char name[64];
    snprintf(name, sizeof name, "checksum, %zu bytes, not in the caches", size);
    for (int round = 0; round < ROUNDS; round++) {
        micro_begin();
        for (uint64_t i = 0; i < count; i++)
            sum += bl_checksum(1, i, bytes + i * size, size);
        micro_end(name, count);
    }
    if (sum == 0)
        exit(1);
}

static void hash_many(size_t size, uint64_t count)
{
    char name[64];
    snprintf(name, sizeof name, "hash of a key, %zu bytes", size);
    for (int round = 0; round < ROUNDS; round++) {
        uint64_t sum = 0;
        micro_begin();
        for (uint64_t i = 0; i < count; i++) {
            memcpy(near_bytes, &sum, sizeof sum);
            sum = bl_hash(near_bytes, size);
        }
        micro_end(name, count);
        if (sum == 0)
            exit(1);
    }
}

int main(void)
{
    static const size_t sizes[] = { 16, 140, 1024, 4096, BYTES_MAX };
    uint8_t *far_bytes = malloc(FAR_BYTES);
    if (far_bytes == NULL)
        return 1;
    memset(near_bytes, 7, sizeof near_bytes);
    memset(far_bytes, 7, FAR_BYTES);
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++)
        check_near(sizes[i], micro_less((UINT64_C(256) << 20) / (sizes[i] + 64)));
    check_far(far_bytes, 4096);
    hash_many(16, micro_less(5000000));
    hash_many(64, micro_less(5000000));
    free(far_bytes);
    micro_print();
    return 0;
}
