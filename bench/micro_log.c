/* SPDX-License-Identifier: MIT */
/* micro_log.c -- nanoseconds of the log's append path, alone: reserve, fill, finish, publish.
 *
 *     micro_log [DIRECTORY, /tmp [record bytes, 140 [MiB of log, 64]]]
 * Rounds on fresh logs; with "touched" all pages were touched before, so that no page fault is counted (in the store a
 * background job does that). The last ones are synced appends, which wait for the disk, and replay. */
#include "log/write_ahead_log.h"
#include "micro_clock.h"

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

/* Fill logs, publishing after every `group` records. */
static void fill(const char *what, const char *directory, uint64_t bytes, bl_log_way way,
                 uint64_t payload_bytes, bool touch, uint64_t group)
{
    static uint8_t source[1 << 20];
    memset(source, 0x5a, sizeof source);
    source[0] = 1;
    for (int round = 0; round < ROUNDS; round++) {
        bl_write_ahead_log *log = make(directory, bytes, way);
        bole_error error = BOLE_ERROR_INIT;
        uint64_t count = 0;
        bool more = true;
        micro_begin();
        while (more) { /* a MiB at a time, touched outside of what is measured */
            micro_pause();
            while (touch && bl_log_touch_ahead(log))
                ;
            micro_resume();
            uint64_t before = bl_log_end(log);
            while (more && bl_log_end(log) - before < 1 << 20) {
                for (uint64_t i = 0; more && i < group; i++)
                    more = append(log, source, payload_bytes);
                check(bl_log_publish(log, &error), &error);
                count += group;
            }
        }
        micro_end(what, count);
        end(log);
    }
}

static void fill_synced(const char *what, const char *directory, bl_log_way way, uint64_t payload_bytes)
{
    bole_vfs *vfs = bole_vfs_posix();
    static uint8_t source[1 << 20] = { 1 };
    for (int round = 0; round < ROUNDS; round++) {
        bl_write_ahead_log *log = make(directory, 1 << 20, way);
        bole_error error = BOLE_ERROR_INIT;
        uint64_t begin = vfs->monotonic_ns(vfs);
        for (int i = 0; i < SYNCED_APPENDS && append(log, source, payload_bytes); i++) {
            check(bl_log_publish(log, &error), &error);
            check(bl_log_sync(log, bl_log_published(log), &error), &error);
        }
        micro_note(what, (double)(vfs->monotonic_ns(vfs) - begin) / SYNCED_APPENDS);
        end(log);
    }
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
    bl_log_replayed replayed;
    for (int round = 0; round < ROUNDS; round++) {
        bl_log_expectation expectation = { .vfs = vfs,
                                           .path = bl_log_path(log),
                                           .number = bl_log_number(log),
                                           .id = bl_log_id(log),
                                           .end = UINT64_MAX };
        micro_begin();
        check(bl_log_replay(&expectation, NULL, NULL, &replayed, &error), &error);
        micro_end("replay, a record, search included", replayed.records);
    }
    end(log);
}

int main(int argc, char **argv)
{
    const char *directory = argc > 1 ? argv[1] : "/tmp";
    uint64_t record = argc > 2 ? strtoull(argv[2], NULL, 10) : 140;
    uint64_t bytes = (argc > 3 ? strtoull(argv[3], NULL, 10) : micro_less(64)) << 20;
    if (record <= BL_LOG_RECORD_HEADER_BYTES || record > 1 << 20 || bytes == 0) {
        fprintf(stderr, "micro_log: records have 25 bytes to 1 MiB, logs at least 1 MiB\n");
        return 2;
    }
    uint64_t payload = record - BL_LOG_RECORD_HEADER_BYTES;
    fill("mapped, touched, publish each", directory, bytes, BL_LOG_MAPPED, payload, true, 1);
    fill("mapped, touched, publish every 100", directory, bytes, BL_LOG_MAPPED, payload, true, 100);
    fill("mapped, page faults included, publish each", directory, bytes, BL_LOG_MAPPED, payload, false, 1);
    fill("written, publish each", directory, bytes, BL_LOG_WRITTEN, payload, false, 1);
    fill("written, publish every 100", directory, bytes, BL_LOG_WRITTEN, payload, false, 100);
    fill_synced("mapped, synced each", directory, BL_LOG_MAPPED, payload);
    fill_synced("written, synced each", directory, BL_LOG_WRITTEN, payload);
    replay(directory, bytes, payload);
    micro_print();
    return 0;
}
