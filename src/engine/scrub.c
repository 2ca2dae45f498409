/* SPDX-License-Identifier: MIT */
/* scrub.c -- reading all live segments again and again, slowly, so that damage is told before a read meets it.
 *
 * A round visits the segments that live when it begins, by rising number, each wholly checked (segment_check.c), past
 * the cache. The job reads some blocks, then waits until the rate (setting scrub_rate) has room for what it read. What
 * it finds is an event, a count, and the answer of bole_scrub_report; the store goes on. The first damage of a segment
 * is told, in every round anew. Where it was is kept as long as the store is open, also while the rate is off.
 *
 * INVARIANTS  (SCRUB-1) No segment is held between two blocks, so none that is obsolete stays for longer.
 *             (SCRUB-2) Nothing waits for this job but a close, for one block at most.
 * THREADS     One job at a time, at low priority; `checker` and the place are its own, the rest is the mutex'.
 * NOT HERE    What is checked: segment/segment_check.c. When: bl_background_schedule_locked. */
#include "engine/log_structured_store.h"

#include "base/alloc.h"
#include "base/assert.h"

enum { PAUSE_NS = 1000 * 1000 * 1000, BURSTS_A_SECOND = 64, BURST_BYTES_MAX = 1 << 20 };

struct bl_scrub {
    /* by the mutex */
    bl_job_node timer_node, node;
    bool waiting, running; /* for the rate's next turn; submitted, or at work */
    bool found_in_this_round;
    uint64_t turn_ns; /* when the rate has room again */
    uint64_t rounds, bytes, findings;
    bole_error finding; /* the newest, of this round or of the last; status BOLE_OK: none */
    /* the job's */
    uint64_t number, last;       /* of the segment where it is, and of the round's last; 0: a round begins */
    bl_segment_checker *checker; /* of segment `number`; NULL: between two segments */
};

bole_status bl_scrub_create(bole_db *db, bole_error *error)
{
    db->scrub = bl_new(struct bl_scrub);
    return db->scrub != NULL ? BOLE_OK : bl_fail(error, BOLE_NO_MEMORY, "state of scrubbing");
}

void bl_scrub_destroy(bole_db *db)
{
    if (db->scrub == NULL)
        return;
    bl_segment_check_end(db->scrub->checker);
    bl_free(db->scrub);
}

/* ---- where to go on ---- */

typedef struct choice {
    uint64_t from, last, highest;
    bl_segment *chosen;
} choice;

static bool choose(void *context, const bl_version_table *table, bl_segment *segment)
{
    (void)table;
    choice *c = context;
    uint64_t number = bl_segment_meta_of(segment)->number;
    if (number > c->highest)
        c->highest = number;
    if (number >= c->from && number <= c->last &&
        (c->chosen == NULL || number < bl_segment_meta_of(c->chosen)->number))
        c->chosen = segment;
    return true;
}

/* The segment to go on with, referenced, or NULL: the round is over. */
static bl_segment *next_segment(bole_db *db)
{
    struct bl_scrub *scrub = db->scrub;
    bl_read_state *state = bl_read_state_acquire(db, NULL);
    choice c = { 0 };
    if (scrub->last == 0) {
        bl_version_each_segment(state->version, choose, &c);
        scrub->last = c.highest;
    }
    c = (choice){ .from = scrub->checker != NULL ? scrub->number : scrub->number + 1, .last = scrub->last };
    bl_version_each_segment(state->version, choose, &c);
    if (c.chosen != NULL)
        bl_segment_ref(c.chosen);
    bl_read_state_unref(state);
    if (scrub->checker != NULL &&
        (c.chosen == NULL || bl_segment_meta_of(c.chosen)->number != scrub->number)) {
        bl_segment_check_end(scrub->checker); /* it was merged meanwhile */
        scrub->checker = NULL;
    }
    return c.chosen;
}

/* ---- one step ---- */

static void tell_finding(bole_db *db, uint64_t number, const bole_error *error)
{
    bl_mutex_lock(&db->mutex);
    db->scrub->findings++;
    db->scrub->found_in_this_round = true;
    db->scrub->finding = *error;
    bl_mutex_unlock(&db->mutex);
    bl_event_log_add(db->events, BOLE_LOG_ERROR, "scrub_found",
                     (bl_event_field[]){ BL_EVENT_U64("segment", number),
                                         BL_EVENT_TEXT("status", bole_status_name(error->status)),
                                         BL_EVENT_TEXT("message", error->message) },
                     3);
}

/* Begin with the segment, or read its next block; false for want of memory. */
static bool check_some(bole_db *db, bl_segment *segment, uint64_t *bytes)
{
    struct bl_scrub *scrub = db->scrub;
    bole_error error = BOLE_ERROR_INIT;
    bole_status status;
    scrub->number = bl_segment_meta_of(segment)->number;
    if (scrub->checker == NULL)
        status = bl_segment_check_begin(segment, &scrub->checker, bytes, &error);
    else
        status = bl_segment_check_next(scrub->checker, segment, bytes, &error);
    if (status == BOLE_OK)
        return true;
    bl_segment_check_end(scrub->checker);
    scrub->checker = NULL;
    if (status == BOLE_NO_MEMORY) {
        scrub->number--; /* says nothing of the segment: once more, later */
        return false;
    }
    if (status != BOLE_NOT_FOUND || error.status != BOLE_OK)
        tell_finding(db, scrub->number, &error);
    return true;
}

static void end_round(bole_db *db)
{
    struct bl_scrub *scrub = db->scrub;
    bl_mutex_lock(&db->mutex);
    if (scrub->last != 0)
        scrub->rounds++;
    if (!scrub->found_in_this_round)
        scrub->finding = (bole_error)BOLE_ERROR_INIT;
    scrub->found_in_this_round = false;
    bl_event_log_add(db->events, BOLE_LOG_DEBUG, "scrub_round",
                     (bl_event_field[]){ BL_EVENT_U64("last_segment", scrub->last),
                                         BL_EVENT_U64("findings", scrub->findings) },
                     2);
    bl_mutex_unlock(&db->mutex);
    scrub->number = scrub->last = 0;
}

/* How long until the next step: turns follow each other as the rate says, and one that came late makes up for at most a
 * second. */
static uint64_t turn_after_locked(bole_db *db, uint64_t bytes, bool pause)
{
    struct bl_scrub *scrub = db->scrub;
    uint64_t now = db->vfs->monotonic_ns(db->vfs);
    uint64_t rate = bl_config_u64(&db->config, BL_SETTING_SCRUB_RATE); /* it may have changed */
    if (scrub->turn_ns + PAUSE_NS < now)
        scrub->turn_ns = now - PAUSE_NS;
    if (rate != 0)
        scrub->turn_ns += (uint64_t)((double)bytes * 1e9 / (double)rate);
    uint64_t wait = scrub->turn_ns > now ? scrub->turn_ns - now : 1;
    return pause && wait < PAUSE_NS ? PAUSE_NS : wait;
}

static void scrub_job(void *context)
{
    bole_db *db = context;
    uint64_t bytes = 0, burst = 1;
    bool pause = false;
    while (bytes < burst && !pause) {
        bl_mutex_lock(&db->mutex);
        uint64_t rate = bl_config_u64(&db->config, BL_SETTING_SCRUB_RATE);
        bool stop = db->closing || rate == 0;
        bl_mutex_unlock(&db->mutex);
        if (stop)
            break;
        burst = rate / BURSTS_A_SECOND < BURST_BYTES_MAX ? rate / BURSTS_A_SECOND : BURST_BYTES_MAX;
        bl_point(db->scheduler, "scrub block");
        bl_segment *segment = next_segment(db);
        if (segment != NULL) {
            pause = !check_some(db, segment, &bytes);
            bl_segment_unref(segment);
        } else {
            end_round(db);
            pause = true;
        }
    }
    bl_mutex_lock(&db->mutex);
    db->scrub->bytes += bytes;
    db->scrub->running = false;
    bl_scrub_schedule_locked(db, turn_after_locked(db, bytes, pause));
    bl_condition_wake_all(&db->changed);
    bl_mutex_unlock(&db->mutex);
}

/* ---- when ---- */

/* Timers fire at high priority: all this one does is to queue behind the merges. */
static void timer_job(void *context)
{
    bole_db *db = context;
    bl_mutex_lock(&db->mutex);
    db->scrub->waiting = false;
    if (!db->closing) {
        db->scrub->running = true;
        db->scrub->node = (bl_job_node){ .run = scrub_job, .context = db };
        bl_scheduler_submit(db->scheduler, BL_PRIORITY_LOW, &db->scrub->node);
    }
    bl_condition_wake_all(&db->changed);
    bl_mutex_unlock(&db->mutex);
}

void bl_scrub_schedule_locked(bole_db *db, uint64_t delay_ns)
{
    struct bl_scrub *scrub = db->scrub;
    if (scrub->waiting || scrub->running || db->closing || db->read_only ||
        bl_config_u64(&db->config, BL_SETTING_SCRUB_RATE) == 0)
        return;
    scrub->waiting = true;
    scrub->timer_node = (bl_job_node){ .run = timer_job, .context = db };
    bl_scheduler_submit_after(db->scheduler, delay_ns, &scrub->timer_node);
}

static void cancel_locked(bole_db *db)
{
    struct bl_scrub *scrub = db->scrub;
    if (scrub->waiting && bl_scheduler_cancel(db->scheduler, &scrub->timer_node))
        scrub->waiting = false;
    if (scrub->running && bl_scheduler_cancel(db->scheduler, &scrub->node)) {
        BL_MARK("queued step of a scrub is taken back");
        scrub->running = false;
    }
}

void bl_scrub_rate_changed_locked(bole_db *db)
{
    cancel_locked(db);
    db->scrub->turn_ns = db->vfs->monotonic_ns(db->vfs);
    bl_scrub_schedule_locked(db, 1);
}

void bl_scrub_stop_locked(bole_db *db)
{
    cancel_locked(db);
    while (db->scrub->waiting || db->scrub->running)
        bl_condition_wait(&db->changed, &db->mutex);
}

/* ---- what it found ---- */

void bl_scrub_stats_locked(bole_db *db, bole_statistics *out)
{
    out->scrub_rounds = db->scrub->rounds;
    out->scrub_bytes = db->scrub->bytes;
    out->scrub_findings = db->scrub->findings;
}

BOLE_API bole_status bole_scrub_report(bole_db *db, bole_error *error)
{
    if (!bl_db_is_ours(db))
        return bl_forked(error);
    bl_mutex_lock(&db->mutex);
    bole_error finding = db->scrub->finding;
    bl_mutex_unlock(&db->mutex);
    if (finding.status != BOLE_OK && error != NULL)
        *error = finding;
    return finding.status;
}
