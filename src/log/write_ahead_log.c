/* SPDX-License-Identifier: MIT */
/* write_ahead_log.c -- a write is in the log before it is acknowledged: the life of a log, and its two
 * ways of writing.
 *
 * LIFE        CREATED -> ACTIVE -> SEALED -> FLUSHED -> RETIRED             all moves go through move_to
 *                  \________\_________\_________\_________\__-> FAILED      a write or sync failed: the end
 * IMAGE       Records are laid into an image of the whole file, in memory, at their place in the file.
 *             MAPPED   the image is the file's shared map. A stored record survives the process; publish tells the
 *                      vfs (map_stored, if it wants to know) and looks at the SIGBUS mark (platform/map_guard.h).
 *             WRITTEN  the image is plain memory, zero where no record is yet. Publish writes whole pages of it: from
 *                      the page of the first byte not yet written to the page of the last record's end. So a page is
 *                      written again as it fills, each time with the same bytes in front.
 *             A reserve is therefore an addition in both ways, and its pointer never moves.
 * INVARIANTS  (WAL-1) A position acknowledged as synced is wholly on disk, in this log and in every log below it.
 *             (WAL-2) Positions strictly increase, within a log and from each log to the next; none is used twice.
 *             (WAL-3) A bad record at a position that nothing says was synced ends replay; one below a position
 *                     known as synced is corruption. A log is appended to only by the run that created it.
 *             (WAL-4) start <= synced <= published <= end <= start + room.
 *             (WAL-5) Once FAILED, no call on the file but close is made. A second sync is never believed.
 *             (WAL-6) What a sync makes durable is what was published when it began; `synced` says no more.
 * ASSUMED     A power cut during the write of a sector harms no byte that the write did not change: pages with synced
 *             records are written again with more behind them, in both ways.
 * THREADS     Roles: see the header. Constant fields are for all. The appender owns `end`, `published`, `claimed` and
 *             `unfinished`; it stores `published` with release, after the records, and the syncer loads it with
 *             acquire, before the vfs' sync. The syncer owns `synced` (release; any thread acquires). The toucher owns
 *             `touched`. `state` moves by compare-and-swap, from any role. The SIGBUS handler sets `map_failed`.
 * NOT HERE    When to sync: commit_group.c.   When to change logs: rotation.c.   Reading: log_replay.c. */
#include "log/write_ahead_log.h"

#include <stdatomic.h>
#include <stdio.h>

#include "base/alloc.h"
#include "base/assert.h"
#include "base/status.h"
#include "core/internal_key.h"
#include "core/write_batch.h"
#include "platform/map_guard.h"
#include "platform/page_arena.h"

enum {
    TOUCH_WINDOW_BYTES =
        4 << 20, /* more is written, and refaulted, by each sync; less is outrun by the appender */
    TOUCH_CALL_BYTES = 1 << 20,
};

struct bl_write_ahead_log {
    /* constant from bl_log_create to bl_log_close */
    bole_vfs *vfs;
    bole_file *file;
    bl_scheduler *scheduler;
    bl_memory_budget *budget; /* charged with file_bytes; NULL: nothing is charged */
    char *path;
    uint8_t *image; /* of the file from offset 0, file_bytes long */
    bl_log_header header;
    uint64_t start;
    uint64_t room;
    uint64_t seed;
    uint64_t file_bytes;
    bl_log_way way;
    bool tell_stores; /* MAPPED, and the vfs has map_stored */
    bool guarded;

    /* the appender's; others only load */
    _Alignas(64) _Atomic uint64_t end;
    _Atomic uint64_t published;
    uint64_t claimed;    /* the highest claim of a record in this log */
    uint64_t unfinished; /* records reserved and not finished */

    /* anyone's */
    _Alignas(64) _Atomic bl_log_state state;
    _Atomic bool map_failed;

    _Alignas(64) _Atomic uint64_t synced; /* the syncer's */
    _Atomic bool syncing;

    _Alignas(64) _Atomic uint64_t touched; /* the toucher's: file offset up to which pages were touched */
};

/* ---- Life ---- */

/* The one place where the state changes. False when the log is FAILED, which it then stays. */
static bool move_to(bl_write_ahead_log *log, bl_log_state to)
{
    static const bool legal[BL_LOG_FAILED + 1][BL_LOG_FAILED + 1] = {
        [BL_LOG_CREATED] = { [BL_LOG_ACTIVE] = true, [BL_LOG_FAILED] = true },
        [BL_LOG_ACTIVE] = { [BL_LOG_SEALED] = true, [BL_LOG_FAILED] = true },
        [BL_LOG_SEALED] = { [BL_LOG_FLUSHED] = true, [BL_LOG_FAILED] = true },
        [BL_LOG_FLUSHED] = { [BL_LOG_RETIRED] = true, [BL_LOG_FAILED] = true },
        [BL_LOG_RETIRED] = { [BL_LOG_FAILED] = true },
    };
    bl_log_state from = atomic_load_explicit(&log->state, memory_order_acquire);
    do {
        if (from == BL_LOG_FAILED)
            return false;
        bl_assert(legal[from][to]);
    } while (!atomic_compare_exchange_weak_explicit(&log->state, &from, to, memory_order_acq_rel,
                                                    memory_order_acquire));
    return true;
}

void bl_log_activate(bl_write_ahead_log *log) { move_to(log, BL_LOG_ACTIVE); }

void bl_log_seal(bl_write_ahead_log *log)
{
    if (move_to(log, BL_LOG_SEALED))
        bl_assert(log->unfinished == 0 && bl_log_published(log) == bl_log_end(log));
}

void bl_log_flushed(bl_write_ahead_log *log) { move_to(log, BL_LOG_FLUSHED); }

void bl_log_retired(bl_write_ahead_log *log) { move_to(log, BL_LOG_RETIRED); }

/* The map, or plain memory where there is none or it cannot be guarded. */
static bole_status make_image(bl_write_ahead_log *log, bl_log_way way, bole_error *error)
{
    void *map = NULL;
    if (way == BL_LOG_MAPPED && log->vfs->map(log->file, 0, log->file_bytes, &map, NULL) == BOLE_OK) {
        log->guarded = bl_map_guard_register(map, log->file_bytes, &log->map_failed);
        if (log->guarded) {
            log->image = map;
            log->way = BL_LOG_MAPPED;
            log->tell_stores = log->vfs->map_stored != NULL;
            return BOLE_OK;
        }
        log->vfs->unmap(log->file, map, log->file_bytes, NULL);
    }
    log->way = BL_LOG_WRITTEN;
    log->image = bl_region_alloc((size_t)log->file_bytes);
    if (log->image == NULL)
        return bl_fail(error, BOLE_NO_MEMORY, "no memory for the %llu bytes of log %s",
                       (unsigned long long)log->file_bytes, log->path);
    return BOLE_OK;
}

/* Header, and for a small fresh WRITTEN file zeros behind it, then file and directory onto the disk. */
static bole_status write_header(bl_write_ahead_log *log, const bl_log_parameters *parameters,
                                bole_error *error)
{
    uint8_t header[BL_LOG_FILE_HEADER_BYTES];
    bl_log_header_encode(&log->header, header);
    const uint8_t *bytes = header;
    uint64_t size = sizeof header;
    if (log->way == BL_LOG_WRITTEN) {
        memcpy(log->image, header, sizeof header);
        bytes = log->image;
        bool fresh = parameters->recycle_path == NULL;
        if (fresh && log->room <= BL_LOG_ZEROED_BYTES_MAX)
            size = log->file_bytes; /* written once, so that a sync has no block to allocate later */
    }
    bole_status status = log->vfs->write(log->file, 0, bytes, (size_t)size, error);
    if (status == BOLE_OK)
        status = log->vfs->sync(log->file, error);
    if (status == BOLE_OK)
        status = log->vfs->sync_directory(log->vfs, parameters->directory, error);
    return status;
}

static char *make_path(const char *directory, uint64_t number)
{
    size_t capacity = strlen(directory) + 32;
    char *path = bl_alloc(capacity);
    if (path != NULL)
        snprintf(path, capacity, "%s/%06llu.log", directory, (unsigned long long)number);
    return path;
}

/* Everything that is known before there is a file. */
static bole_status prepare(bl_write_ahead_log *log, const bl_log_parameters *parameters, bole_error *error)
{
    uint64_t bytes = parameters->bytes;
    if (bytes > BL_SEQUENCE_MAX || parameters->start > BL_SEQUENCE_MAX - bytes ||
        (bytes + BL_LOG_PAGE_BYTES) > BL_SEQUENCE_MAX - parameters->start)
        return bl_fail(error, BOLE_TOO_LARGE, "a log of %llu bytes at position %llu passes the last position",
                       (unsigned long long)bytes, (unsigned long long)parameters->start);
    log->vfs = parameters->vfs;
    log->scheduler = parameters->scheduler;
    log->start = parameters->start;
    log->room = (bytes + BL_LOG_PAGE_BYTES - 1) / BL_LOG_PAGE_BYTES * BL_LOG_PAGE_BYTES;
    log->file_bytes = BL_LOG_FILE_HEADER_BYTES + log->room;
    log->path = make_path(parameters->directory, parameters->number);
    if (log->path == NULL)
        return bl_fail(error, BOLE_NO_MEMORY, "no memory for log %llu",
                       (unsigned long long)parameters->number);
    log->header = (bl_log_header){ .number = parameters->number,
                                   .start = log->start,
                                   .store_id = parameters->store_id,
                                   .version = BL_LOG_FORMAT_VERSION,
                                   .synced = parameters->synced,
                                   .room = log->room };
    bole_status status = log->vfs->random(log->vfs, log->header.id.bytes, BL_ID_BYTES, error);
    log->seed = bl_checksum_seed(log->header.id);
    log->claimed = parameters->synced;
    atomic_init(&log->end, log->start);
    atomic_init(&log->published, log->start);
    atomic_init(&log->synced, log->start);
    atomic_init(&log->state, BL_LOG_CREATED);
    return status;
}

bole_status bl_log_create(const bl_log_parameters *parameters, bl_write_ahead_log **out, bole_error *error)
{
    *out = NULL;
    bl_assert(parameters->bytes >= 1);
    bl_assert(parameters->synced <= parameters->start);
    bl_write_ahead_log *log = bl_alloc_aligned(_Alignof(bl_write_ahead_log), sizeof *log);
    if (log == NULL)
        return bl_fail(error, BOLE_NO_MEMORY, "no memory for log %llu",
                       (unsigned long long)parameters->number);
    bole_vfs *vfs = parameters->vfs;
    bl_log_way way = parameters->way;
    if ((vfs->capabilities(vfs, parameters->directory) & BOLE_VFS_CAN_MAP) == 0)
        way = BL_LOG_WRITTEN;
    bole_status status = prepare(log, parameters, error);
    if (status == BOLE_OK)
        status = bl_log_file_make(vfs, log->path, parameters->recycle_path, log->file_bytes, way, &log->file,
                                  error);
    if (status != BOLE_OK)
        goto fail;
    status = make_image(log, way, error);
    log->header.way = log->way;
    if (status == BOLE_OK)
        status = write_header(log, parameters, error);
    if (status != BOLE_OK) {
        vfs->remove(vfs, log->path, NULL); /* no manifest names it, and its number is not used again */
        goto fail;
    }
    if (parameters->budget != NULL) {
        bl_memory_budget_force(parameters->budget, BL_MEMORY_LOG, log->file_bytes);
        log->budget = parameters->budget;
    }
    *out = log;
    return BOLE_OK;
fail:
    bl_log_close(log);
    return status;
}

void bl_log_close(bl_write_ahead_log *log)
{
    if (log == NULL)
        return;
    if (log->image != NULL && log->way == BL_LOG_MAPPED) {
        if (log->guarded)
            bl_map_guard_unregister(log->image);
        log->vfs->unmap(log->file, log->image, log->file_bytes, NULL);
    } else if (log->image != NULL) {
        bl_region_free(log->image, (size_t)log->file_bytes);
    }
    if (log->file != NULL)
        log->vfs->close(log->file, NULL);
    if (log->budget != NULL)
        bl_memory_budget_release(log->budget, BL_MEMORY_LOG, log->file_bytes);
    bl_free(log->path);
    bl_free(log);
}

/* ---- What it is ---- */

uint64_t bl_log_number(const bl_write_ahead_log *log) { return log->header.number; }

bl_id bl_log_id(const bl_write_ahead_log *log) { return log->header.id; }

const char *bl_log_path(const bl_write_ahead_log *log) { return log->path; }

uint64_t bl_log_start(const bl_write_ahead_log *log) { return log->start; }

uint64_t bl_log_end(const bl_write_ahead_log *log)
{
    return atomic_load_explicit(&log->end, memory_order_relaxed);
}

uint64_t bl_log_published(const bl_write_ahead_log *log)
{
    return atomic_load_explicit(&log->published, memory_order_acquire);
}

uint64_t bl_log_synced(const bl_write_ahead_log *log)
{
    return atomic_load_explicit(&log->synced, memory_order_acquire);
}

uint64_t bl_log_room(const bl_write_ahead_log *log) { return log->room - (bl_log_end(log) - log->start); }

uint64_t bl_log_file_bytes(const bl_write_ahead_log *log) { return log->file_bytes; }

bl_log_state bl_log_state_of(const bl_write_ahead_log *log)
{
    return atomic_load_explicit(&log->state, memory_order_acquire);
}

bl_log_way bl_log_way_of(const bl_write_ahead_log *log) { return log->way; }

static uint64_t offset_of(const bl_write_ahead_log *log, uint64_t position)
{
    return BL_LOG_FILE_HEADER_BYTES + (position - log->start);
}

/* ---- Appending ---- */

uint8_t *bl_log_reserve(bl_write_ahead_log *log, uint64_t payload_bytes, uint64_t *position)
{
    bl_assert(payload_bytes >= 1);
    bl_debug_assert(bl_log_state_of(log) == BL_LOG_ACTIVE || bl_log_state_of(log) == BL_LOG_FAILED);
    uint64_t end = bl_log_end(log);
    uint64_t room = log->room - (end - log->start);
    *position = end;
    if (bl_unlikely(room < BL_LOG_RECORD_HEADER_BYTES || payload_bytes > room - BL_LOG_RECORD_HEADER_BYTES))
        return NULL;
    log->unfinished++;
    atomic_store_explicit(&log->end, end + BL_LOG_RECORD_HEADER_BYTES + payload_bytes, memory_order_relaxed);
    return log->image + offset_of(log, end) + BL_LOG_RECORD_HEADER_BYTES;
}

void bl_log_finish(bl_write_ahead_log *log, uint8_t *payload, uint64_t payload_bytes, uint64_t position,
                   uint64_t synced)
{
    bl_assert(log->unfinished > 0);
    bl_assert(payload == log->image + offset_of(log, position) + BL_LOG_RECORD_HEADER_BYTES);
    bl_debug_assert(payload[0] >= BL_RECORD_BATCH && payload[0] <= BL_RECORD_VOID);
    log->unfinished--;
    if (bl_unlikely(bl_log_state_of(log) == BL_LOG_FAILED))
        return; /* (WAL-5) as far as it can be seen: it may fail a moment later */
    bl_log_record_seal(payload - BL_LOG_RECORD_HEADER_BYTES, payload_bytes, synced, log->seed, position);
    if (synced > log->claimed)
        log->claimed = synced;
}

void bl_log_finish_void(bl_write_ahead_log *log, uint8_t *payload, uint64_t payload_bytes, uint64_t position,
                        uint64_t synced)
{
    payload[0] = BL_RECORD_VOID;
    bl_log_finish(log, payload, payload_bytes, position, synced);
}

/* The whole pages that hold [from, to) of the file. */
static bole_status write_pages(bl_write_ahead_log *log, uint64_t from, uint64_t to, bole_error *error)
{
    from -= from % BL_LOG_PAGE_BYTES;
    to = (to + BL_LOG_PAGE_BYTES - 1) / BL_LOG_PAGE_BYTES * BL_LOG_PAGE_BYTES;
    bl_assert(from >= BL_LOG_FILE_HEADER_BYTES && to <= log->file_bytes);
    return log->vfs->write(log->file, from, log->image + from, (size_t)(to - from), error);
}

static bole_status fail_map(const bl_write_ahead_log *log, bole_error *error)
{
    return bl_fail(error, BOLE_IO, "%s: a page of the log's map could not be had from the disk", log->path);
}

static bole_status fail_again(const bl_write_ahead_log *log, bole_error *error)
{
    return bl_fail(error, BOLE_IO, "%s failed before and is not written or synced again", log->path);
}

static bool map_has_failed(const bl_write_ahead_log *log)
{
    return atomic_load_explicit(&log->map_failed, memory_order_relaxed);
}

bole_status bl_log_publish(bl_write_ahead_log *log, bole_error *error)
{
    bl_assert(log->unfinished == 0);
    bl_log_state state = bl_log_state_of(log);
    if (bl_unlikely(state == BL_LOG_FAILED))
        return fail_again(log, error);
    bl_assert(state == BL_LOG_ACTIVE);
    uint64_t end = bl_log_end(log);
    uint64_t from = atomic_load_explicit(&log->published, memory_order_relaxed);
    if (from == end)
        return BOLE_OK;
    bole_status status = BOLE_OK;
    if (log->way == BL_LOG_WRITTEN)
        status = write_pages(log, offset_of(log, from), offset_of(log, end), error);
    else if (bl_unlikely(map_has_failed(log)))
        status = fail_map(log, error);
    else if (bl_unlikely(log->tell_stores))
        status = log->vfs->map_stored(log->file, log->image + offset_of(log, from), (size_t)(end - from),
                                      error);
    if (bl_unlikely(status != BOLE_OK)) {
        move_to(log, BL_LOG_FAILED);
        return status;
    }
    atomic_store_explicit(&log->published, end, memory_order_release);
    return BOLE_OK;
}

bool bl_log_append_sync_mark(bl_write_ahead_log *log, uint64_t synced)
{
    if (synced <= log->claimed || bl_log_state_of(log) != BL_LOG_ACTIVE)
        return false;
    uint64_t position = 0;
    uint8_t *payload = bl_log_reserve(log, 1, &position);
    if (payload == NULL)
        return false;
    payload[0] = BL_RECORD_SYNC_MARK;
    bl_log_finish(log, payload, 1, position, synced);
    return true;
}

/* ---- Touching ahead ---- */

/* A write fault on the page of `byte` that changes nothing, whatever the appender stores beside it at the same time.
 * An atomic read-modify-write in assembly, because a compiler may turn `or 0` into a load, which takes no write fault,
 * and because a race detector need not know of a store that changes nothing. */
static void touch_page(uint8_t *byte)
{
#if defined(__x86_64__)
    __asm__ volatile("lock; orb $0, %0" : "+m"(*byte) : : "cc");
#else
    uint8_t zero = 0; /* only 0 is replaced, by 0; a byte that is not 0 says that the page was written to */
    __atomic_compare_exchange_n(byte, &zero, 0, false, __ATOMIC_RELAXED, __ATOMIC_RELAXED);
#endif
}

/* File offset up to which pages should be touched, with `window` bytes ahead of the end. */
static uint64_t touch_limit(const bl_write_ahead_log *log, uint64_t window)
{
    uint64_t limit = offset_of(log, bl_log_end(log)) + window;
    return limit < log->file_bytes ? limit : log->file_bytes;
}

bool bl_log_wants_touch(const bl_write_ahead_log *log)
{
    return atomic_load_explicit(&log->touched, memory_order_relaxed) <
           touch_limit(log, TOUCH_WINDOW_BYTES / 2);
}

bool bl_log_touch_ahead(bl_write_ahead_log *log)
{
    if (bl_log_state_of(log) > BL_LOG_ACTIVE || map_has_failed(log))
        return false;
    uint64_t at = offset_of(log, bl_log_end(log));
    uint64_t touched = atomic_load_explicit(&log->touched, memory_order_relaxed);
    at = (touched > at ? touched : at) / BL_LOG_PAGE_BYTES * BL_LOG_PAGE_BYTES;
    uint64_t limit = touch_limit(log, TOUCH_WINDOW_BYTES);
    uint64_t stop = limit < at + TOUCH_CALL_BYTES ? limit : at + TOUCH_CALL_BYTES;
    for (; at < stop && !map_has_failed(log); at += BL_LOG_PAGE_BYTES)
        touch_page(log->image + at);
    atomic_store_explicit(&log->touched, at < log->file_bytes ? at : log->file_bytes, memory_order_relaxed);
    return at < touch_limit(log, TOUCH_WINDOW_BYTES) && !map_has_failed(log);
}

/* ---- Syncing ---- */

static void point(const bl_write_ahead_log *log, const char *name)
{
    if (log->scheduler != NULL)
        bl_point(log->scheduler, name);
}

static bole_status sync_file(bl_write_ahead_log *log, uint64_t position, bole_error *error)
{
    uint64_t published = bl_log_published(log); /* (WAL-6) before the vfs' sync begins */
    bl_assert(position <= published);
    if (bl_log_state_of(log) == BL_LOG_FAILED)
        return fail_again(log, error);
    if (map_has_failed(log))
        return fail_map(log, error);
    point(log, "log sync begins");
    bole_status status = log->vfs->sync(log->file, error);
    point(log, "log sync ended");
    if (status == BOLE_OK && map_has_failed(log))
        status = fail_map(log, error);
    if (status == BOLE_OK)
        atomic_store_explicit(&log->synced, published, memory_order_release);
    return status;
}

bole_status bl_log_sync(bl_write_ahead_log *log, uint64_t position, bole_error *error)
{
    if (bl_log_synced(log) >= position)
        return BOLE_OK;
    bl_assert(bl_log_state_of(log) != BL_LOG_CREATED);
    bool another = atomic_exchange_explicit(&log->syncing, true, memory_order_acquire);
    bl_assert(!another);
    bole_status status = sync_file(log, position, error);
    atomic_store_explicit(&log->syncing, false, memory_order_release);
    if (status != BOLE_OK)
        move_to(log, BL_LOG_FAILED);
    return status;
}

bole_status bl_log_content_checksum(bl_write_ahead_log *log, uint64_t *out, bole_error *error)
{
    *out = 0;
    bl_log_expectation expectation = { .vfs = log->vfs,
                                       .path = log->path,
                                       .number = log->header.number,
                                       .id = log->header.id,
                                       .store_id = log->header.store_id,
                                       .start = log->start,
                                       .end = bl_log_published(log) };
    bl_log_replayed replayed;
    bole_status status = bl_log_replay(&expectation, NULL, NULL, &replayed, error);
    if (status == BOLE_OK)
        *out = replayed.content_checksum;
    return status;
}
