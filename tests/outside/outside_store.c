/* SPDX-License-Identifier: MIT */
/* outside_store.c -- a process that uses a store and keeps a record of it outside: what the checks from outside run.
 *
 *   outside_store write STORE RECORD SEED STEPS [die]   open, look, go on for so many steps, look, close (or die)
 *   outside_store check STORE RECORD                    open, look: all that was acknowledged, nothing that was
 *                                                       refused; write durably, close
 *
 * RECORD is a file that holds a history (history_fixture.h), so that it outlives the process. SEED chooses the steps
 * and, the first time, the batches; an even one has its background work on the same thread, so that calls to the system
 * come in one order. SEED / 2 odd: logs are written, not mapped.
 *
 * Exit code: 0 all went well; 1 some calls said that they failed, as they may when the system does; 2 something is
 * wrong, and stderr says what. */
#include "history_fixture.h"

#include <fcntl.h>
#include <sys/mman.h>

static history *record_open(const char *path)
{
    int descriptor = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (descriptor < 0 || ftruncate(descriptor, sizeof(history)) != 0)
        return NULL;
    history *h = mmap(NULL, sizeof *h, PROT_READ | PROT_WRITE, MAP_SHARED, descriptor, 0);
    close(descriptor);
    return h == MAP_FAILED ? NULL : h;
}

static int wrong(const char *when, const char *why)
{
    fprintf(stderr, "%s: %s\n", when, why);
    return 2;
}

static bole_options options_for(uint64_t seed)
{
    bole_options options = BOLE_OPTIONS_INIT;
    options.flags = BOLE_CREATE;
    options.memory_limit = 16 << 20;
    options.memtable_bytes = 16384;
    options.segment_bytes = 8192;
    options.block_bytes = 1024;
    options.level0_runs = 2;
    options.sync_interval_ms = 20;
    if (seed % 2 == 0)
        options.simulation_seed = 1 + seed;
    if (seed / 2 % 2 == 1)
        options.flags |= BOLE_NO_SIGBUS_HANDLER;
    return options;
}

static bole_status step(const char *path, bole_db *db, history *h, bl_prng *prng, bole_error *error)
{
    static const bole_slice open_end = { NULL, 0 };
    char copy[300];
    bool durable = true;
    bole_status status;
    switch (bl_prng_below(prng, 16)) {
    case 0: status = bole_flush(db, error); break;
    case 1: status = bole_compact(db, NULL, open_end, open_end, error); break;
    case 2: status = bole_sync(db, error); break;
    case 3:
        snprintf(copy, sizeof copy, "%s-copy", path);
        status = bole_checkpoint(db, copy, error);
        if (status == BOLE_OK)
            status = bole_destroy(copy, NULL, error);
        if (status == BOLE_EXISTS ||
            status == BOLE_NO_STORE) /* an earlier one that could not be removed whole */
            status = BOLE_IO;
        break;
    default:
        durable = bl_prng_chance(prng, 4);
        status = history_write(h, db, durable ? BOLE_DURABILITY_POWER : BOLE_DURABILITY_PROCESS, error);
    }
    if (status == BOLE_OK && durable)
        history_all_durable(h);
    return status;
}

/* A look at the store; reads may fail cleanly, wrong answers may not be. */
static int look(history *h, bole_db *db, const char *when)
{
    bole_status status = history_check(h, db, true);
    if (h->why[0] != '\0')
        return wrong(when, h->why);
    if (status != BOLE_OK && !history_is_clean(status))
        return wrong(when, bole_status_name(status));
    return status != BOLE_OK;
}

static int write_store(const char *path, history *h, uint64_t seed, uint32_t steps, bool die)
{
    bole_error error = BOLE_ERROR_INIT;
    bole_options options = options_for(seed);
    bole_db *db;
    bl_prng prng;
    bl_prng_init(&prng, seed);
    if (h->tried == 0)
        h->seed = seed;
    bole_status status = bole_open(path, &options, &db, &error);
    if (status != BOLE_OK)
        return history_is_clean(status) || status == BOLE_LOCKED ? 1 : wrong("open", error.message);
    int code = look(h, db, "the first look");
    for (uint32_t i = 0; i < steps && code != 2; i++) {
        status = step(path, db, h, &prng, &error);
        if (status != BOLE_OK && !history_is_clean(status))
            return wrong(bole_status_name(status), error.message);
        if (status != BOLE_OK)
            code = 1;
    }
    int last = code != 2 ? look(h, db, "the last look") : 2;
    if (last == 2)
        return 2;
    if (die)
        _exit(code);
    status = bole_close(db, &error);
    if (status != BOLE_OK && !history_is_clean(status))
        return wrong("close", error.message);
    if (status == BOLE_OK)
        history_all_durable(h);
    return status != BOLE_OK || last != 0 ? 1 : code;
}

static int check_store(const char *path, history *h)
{
    bole_error error = BOLE_ERROR_INIT;
    bole_options options = options_for(h->seed);
    bole_db *db;
    if (bole_open(path, &options, &db, &error) != BOLE_OK)
        return wrong("open", error.message);
    bole_status status = history_check(h, db, true);
    if (h->why[0] != '\0' || status != BOLE_OK)
        return wrong("look", h->why[0] != '\0' ? h->why : bole_status_name(status));
    history_settle(h);
    if (history_write(h, db, BOLE_DURABILITY_POWER, &error) != BOLE_OK || bole_flush(db, &error) != BOLE_OK)
        return wrong("going on", error.message);
    (void)history_check(h, db, true);
    if (h->why[0] != '\0')
        return wrong("look behind a write", h->why);
    return bole_close(db, &error) == BOLE_OK ? 0 : wrong("close", error.message);
}

int main(int count, char **words)
{
    bool writes = count >= 6 && strcmp(words[1], "write") == 0;
    if (!writes && !(count == 4 && strcmp(words[1], "check") == 0)) {
        fprintf(stderr, "usage: outside_store write STORE RECORD SEED STEPS [die] | check STORE RECORD\n");
        return 2;
    }
    history *h = record_open(words[3]);
    if (h == NULL)
        return wrong("record", words[3]);
    if (!writes)
        return check_store(words[2], h);
    return write_store(words[2], h, strtoull(words[4], NULL, 10), (uint32_t)strtoul(words[5], NULL, 10),
                       count > 6 && strcmp(words[6], "die") == 0);
}
