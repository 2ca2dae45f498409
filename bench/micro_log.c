/* SPDX-License-Identifier: MIT */
/* micro_log.c -- nanoseconds of the log's append path, alone: reserve, fill, finish, publish.
 *
 * Not built by default:
 *     cc -std=gnu11 -O2 -D_GNU_SOURCE -Iinclude -Isrc bench/micro_log.c libbole.a -lxxhash -lpthread -o micro_log
 *     ./micro_log DIRECTORY [record bytes, 140] [MiB of log, 64]
 * Each line is the best and the median of rounds on fresh logs; with "touched" all pages were touched before, so that
 * no page fault is counted (in the store a background job does that). The last lines are synced appends,
 * and replay. */
#include "log/write_ahead_log.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { ROUNDS = 7, SYNCED_APPENDS = 200 };

static void check(bole_status status, const bole_error *error)
{
    if (status == BOLE_OK)
        return;
    fprintf(stderr, "micro_log: %s\n", error->message);
    exit(1);
}

static bl_write_ahead_log *make(const char *directory, uint64_t bytes, bl_log_way way)
{
    static uint64_t number = 900000;
    bl_log_parameters parameters = {
        .vfs = bole_vfs_posix(), .directory = directory, .number = number++, .bytes = bytes, .way = way
    };
    bl_write_ahead_log *log = NULL;
    bole_error error = BOLE_ERROR_INIT;
    check(bl_log_create(&parameters, &log, &error), &error);
    bl_log_activate(log);
    return log;
}

static void end(bl_write_ahead_log *log)
{
    bole_vfs_posix()->remove(bole_vfs_posix(), bl_log_path(log), NULL);
    bl_log_close(log);
}

static bool append(bl_write_ahead_log *log, const uint8_t *source, uint64_t payload_bytes)
{
    uint64_t position = 0;
    uint8_t *payload = bl_log_reserve(log, payload_bytes, &position);
    if (payload == NULL)
        return false;
    memcpy(payload, source, payload_bytes);
    bl_log_finish(log, payload, payload_bytes, position, 0);
    return true;
}

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

static void report(const char *what, double *nanoseconds)
{
    qsort(nanoseconds, ROUNDS, sizeof nanoseconds[0], by_value);
    printf("%-46s %8.1f best %8.1f median ns/record\n", what, nanoseconds[0], nanoseconds[ROUNDS / 2]);
}

/* Fill logs, publishing after every `group` records. */
static void fill(const char *what, const char *directory, uint64_t bytes, bl_log_way way,
                 uint64_t payload_bytes, bool touch, uint64_t group)
{
    bole_vfs *vfs = bole_vfs_posix();
    static uint8_t source[1 << 20];
    memset(source, 0x5a, sizeof source);
    source[0] = 1;
    double nanoseconds[ROUNDS];
    for (int round = 0; round < ROUNDS; round++) {
        bl_write_ahead_log *log = make(directory, bytes, way);
        bole_error error = BOLE_ERROR_INIT;
        uint64_t count = 0, spent = 0;
        bool more = true;
        while (more) { /* a MiB at a time, touched outside of what is measured */
            while (touch && bl_log_touch_ahead(log))
                ;
            uint64_t before = bl_log_end(log), begin = vfs->monotonic_ns(vfs);
            while (more && bl_log_end(log) - before < 1 << 20) {
                for (uint64_t i = 0; more && i < group; i++)
                    more = append(log, source, payload_bytes);
                check(bl_log_publish(log, &error), &error);
                count += group;
            }
            spent += vfs->monotonic_ns(vfs) - begin;
        }
        nanoseconds[round] = (double)spent / (double)count;
        end(log);
    }
    report(what, nanoseconds);
}

static void fill_synced(const char *what, const char *directory, bl_log_way way, uint64_t payload_bytes)
{
    bole_vfs *vfs = bole_vfs_posix();
    static uint8_t source[1 << 20] = { 1 };
    double nanoseconds[ROUNDS];
    for (int round = 0; round < ROUNDS; round++) {
        bl_write_ahead_log *log = make(directory, 1 << 20, way);
        bole_error error = BOLE_ERROR_INIT;
        uint64_t begin = vfs->monotonic_ns(vfs);
        for (int i = 0; i < SYNCED_APPENDS && append(log, source, payload_bytes); i++) {
            check(bl_log_publish(log, &error), &error);
            check(bl_log_sync(log, bl_log_published(log), &error), &error);
        }
        nanoseconds[round] = (double)(vfs->monotonic_ns(vfs) - begin) / SYNCED_APPENDS;
        end(log);
    }
    report(what, nanoseconds);
}

static void replay(const char *directory, uint64_t bytes, uint64_t payload_bytes)
{
    bole_vfs *vfs = bole_vfs_posix();
    static uint8_t source[1 << 20] = { 1 };
    bl_write_ahead_log *log = make(directory, bytes, BL_LOG_MAPPED);
    bole_error error = BOLE_ERROR_INIT;
    while (bl_log_room(log) > bytes / 2 && append(log, source, payload_bytes))
        ;
    check(bl_log_publish(log, &error), &error);
    double nanoseconds[ROUNDS];
    bl_log_replayed replayed;
    for (int round = 0; round < ROUNDS; round++) {
        bl_log_expectation expectation = { .vfs = vfs,
                                           .path = bl_log_path(log),
                                           .number = bl_log_number(log),
                                           .id = bl_log_id(log),
                                           .end = UINT64_MAX };
        uint64_t begin = vfs->monotonic_ns(vfs);
        check(bl_log_replay(&expectation, NULL, NULL, &replayed, &error), &error);
        nanoseconds[round] = (double)(vfs->monotonic_ns(vfs) - begin) / (double)replayed.records;
    }
    report("replay of a log half full, search included", nanoseconds);
    printf("%-46s %8.2f GB/s of records\n", "",
           (double)replayed.bytes / (double)replayed.records / nanoseconds[0]);
    end(log);
}

int main(int argc, char **argv)
{
    if (argc < 2) {
        fprintf(stderr, "usage: micro_log DIRECTORY [record bytes] [MiB of log]\n");
        return 2;
    }
    uint64_t record = argc > 2 ? strtoull(argv[2], NULL, 10) : 140;
    uint64_t bytes = (argc > 3 ? strtoull(argv[3], NULL, 10) : 64) << 20;
    if (record <= BL_LOG_RECORD_HEADER_BYTES || record > 1 << 20 || bytes == 0) {
        fprintf(stderr, "micro_log: records have 25 bytes to 1 MiB, logs at least 1 MiB\n");
        return 2;
    }
    uint64_t payload = record - BL_LOG_RECORD_HEADER_BYTES;
    printf("records of %llu bytes, logs of %llu MiB\n", (unsigned long long)record,
           (unsigned long long)bytes >> 20);
    fill("mapped, touched, publish each", argv[1], bytes, BL_LOG_MAPPED, payload, true, 1);
    fill("mapped, touched, publish every 100", argv[1], bytes, BL_LOG_MAPPED, payload, true, 100);
    fill("mapped, page faults included, publish each", argv[1], bytes, BL_LOG_MAPPED, payload, false, 1);
    fill("written, publish each", argv[1], bytes, BL_LOG_WRITTEN, payload, false, 1);
    fill("written, publish every 100", argv[1], bytes, BL_LOG_WRITTEN, payload, false, 100);
    fill_synced("mapped, synced each", argv[1], BL_LOG_MAPPED, payload);
    fill_synced("written, synced each", argv[1], BL_LOG_WRITTEN, payload);
    replay(argv[1], bytes, payload);
    return 0;
}
