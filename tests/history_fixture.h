/* SPDX-License-Identifier: MIT */
/* history_fixture.h -- a history of the whole store in which any call may fail, and what must be true of it then.
 *
 * Batch n puts n under a key of its own, so a look at the store says which batches are in it; their fates say which
 * may be. A batch that was refused is never in it. One in doubt may be or not. One that was acknowledged is: in the
 * live store always; after a power cut if it was durable, or if a younger one came back (no hole). The content of all
 * keys is then that of these batches, in order. Header-only; shared by test_faults and test_full_disk. */
#ifndef BOLE_HISTORY_FIXTURE_H
#define BOLE_HISTORY_FIXTURE_H

#include "test.h"

#include <bole/bole_vfs.h>

#include "base/prng.h"

enum {
    HISTORY_KEYS = 24,
    HISTORY_OPERATIONS_MAX = 6, /* of a batch, besides its own key */
    HISTORY_BATCHES_MAX = 512,
    HISTORY_VALUE_BYTES_MAX = 4000,
};

typedef enum history_fate {
    HISTORY_REFUSED = 0, /* or dropped by recovery: gone for good */
    HISTORY_DOUBT,
    HISTORY_ACKNOWLEDGED,
    HISTORY_DURABLE,
} history_fate;

typedef struct history_batch {
    uint8_t count;
    uint8_t fate;
    bool there; /* at the last look */
    struct {
        uint8_t key;
        bool deletes;
        uint8_t fill;
        uint16_t size;
    } operations[HISTORY_OPERATIONS_MAX];
} history_batch;

typedef struct history {
    uint64_t seed;
    uint32_t tried; /* batches 1 .. tried */
    history_batch batches[HISTORY_BATCHES_MAX + 1];
    char why[400]; /* what is wrong, when something is */
} history;

/* Refused, an error that says so, or in doubt: what a caller may be told about a call that met a fault. */
TEST_UNUSED static bool history_is_clean(bole_status status)
{
    return status == BOLE_IO || status == BOLE_NO_SPACE || status == BOLE_NO_MEMORY || status == BOLE_IN_DOUBT ||
           status == BOLE_FAILED || status == BOLE_PERMISSION || status == BOLE_MEMORY_PINNED;
}

static bole_slice history_key(uint32_t key, char out[16])
{
    /* in order; the first five are prefixes of the next */
    int size = key < 5 ? snprintf(out, 16, "%.*s", (int)key, "k000") : snprintf(out, 16, "k%03u/shared", key);
    return BOLE_SLICE(out, (size_t)size);
}

static bole_slice history_mark(uint32_t n, char out[16])
{
    return BOLE_SLICE(out, (size_t)snprintf(out, 16, "m%05u", n));
}

static void history_make_batch(history *h, uint32_t n)
{
    bl_prng prng;
    bl_prng_init(&prng, h->seed * 4099 + n);
    history_batch *batch = &h->batches[n];
    *batch = (history_batch){ .count = (uint8_t)(1 + bl_prng_below(&prng, HISTORY_OPERATIONS_MAX)) };
    for (uint32_t i = 0; i < batch->count; i++) {
        batch->operations[i].key = (uint8_t)bl_prng_below(&prng, HISTORY_KEYS);
        batch->operations[i].deletes = bl_prng_chance(&prng, 4);
        batch->operations[i].fill = (uint8_t)bl_prng_next(&prng);
        uint64_t size_max = bl_prng_chance(&prng, 20) ? HISTORY_VALUE_BYTES_MAX : 200;
        batch->operations[i].size = (uint16_t)bl_prng_below(&prng, size_max);
    }
}

/* Fill the batch that the store is given. */
static bole_status history_fill(const history *h, uint32_t n, bole_batch *batch)
{
    uint8_t filled[HISTORY_VALUE_BYTES_MAX];
    const history_batch *made = &h->batches[n];
    char text[16];
    bole_status status = bole_batch_put(batch, NULL, history_mark(n, text), BOLE_SLICE(&n, sizeof n));
    for (uint32_t i = 0; i < made->count && status == BOLE_OK; i++) {
        bole_slice key = history_key(made->operations[i].key, text);
        memset(filled, made->operations[i].fill, made->operations[i].size);
        status = made->operations[i].deletes
                     ? bole_batch_delete(batch, NULL, key)
                     : bole_batch_put(batch, NULL, key, BOLE_SLICE(filled, made->operations[i].size));
    }
    return status;
}

/* Write the next batch and note its fate. */
TEST_UNUSED static bole_status history_write(history *h, bole_db *db, bole_durability durability, bole_error *error)
{
    assert_true(h->tried < HISTORY_BATCHES_MAX);
    uint32_t n = ++h->tried;
    bole_batch *batch;
    history_make_batch(h, n);
    bole_status status = bole_batch_create(&batch);
    if (status != BOLE_OK)
        return status;
    status = history_fill(h, n, batch);
    if (status == BOLE_OK) {
        bole_write_options options = BOLE_WRITE_OPTIONS_INIT;
        options.durability = durability;
        options.error = error;
        h->batches[n].fate = HISTORY_DOUBT; /* for who looks at it meanwhile, or after the process died here */
        status = bole_write(db, &options, batch);
        if (status == BOLE_OK)
            h->batches[n].fate = HISTORY_ACKNOWLEDGED;
        else if (status != BOLE_IN_DOUBT)
            h->batches[n].fate = HISTORY_REFUSED;
    }
    bole_batch_destroy(batch);
    return status;
}

/* All that was acknowledged up to now is on disk: a sync, flush, merge, close, or write of mode power said so. */
TEST_UNUSED static void history_all_durable(history *h)
{
    for (uint32_t n = 1; n <= h->tried; n++)
        if (h->batches[n].fate == HISTORY_ACKNOWLEDGED)
            h->batches[n].fate = HISTORY_DURABLE;
}

/* ---- The judge ------------------------------------------------------------------------------------------ */

typedef struct history_entry {
    const history_batch *batch; /* of the newest operation on the key; NULL: none */
    uint32_t operation;
} history_entry;

static void history_model(const history *h, history_entry out[HISTORY_KEYS])
{
    memset(out, 0, HISTORY_KEYS * sizeof out[0]);
    for (uint32_t n = 1; n <= h->tried; n++)
        for (uint32_t i = 0; h->batches[n].there && i < h->batches[n].count; i++)
            out[h->batches[n].operations[i].key] = (history_entry){ &h->batches[n], i };
    for (uint32_t k = 0; k < HISTORY_KEYS; k++)
        if (out[k].batch != NULL && out[k].batch->operations[out[k].operation].deletes)
            out[k].batch = NULL;
}

static bool history_value_is(const history_entry *entry, bole_slice value)
{
    const uint8_t *bytes = value.data;
    bool good = value.size == entry->batch->operations[entry->operation].size;
    for (size_t i = 0; i < value.size && good; i++)
        good = bytes[i] == entry->batch->operations[entry->operation].fill;
    return good;
}

/* Which batches are there? */
static bole_status history_look(history *h, bole_db *db, bole_buffer *value)
{
    for (uint32_t n = 1; n <= h->tried; n++) {
        char text[16];
        bole_status status = bole_get(db, NULL, history_mark(n, text), value);
        if (status != BOLE_OK && status != BOLE_NOT_FOUND)
            return status;
        h->batches[n].there = status == BOLE_OK;
        if (status == BOLE_OK && (value->size != sizeof n || memcmp(value->data, &n, sizeof n) != 0)) {
            snprintf(h->why, sizeof h->why, "the key of batch %u has another value", n);
            return BOLE_OK;
        }
    }
    return BOLE_OK;
}

/* May exactly these batches be there? */
static void history_judge_fates(history *h, bool live)
{
    uint32_t last = 0;
    for (uint32_t n = 1; n <= h->tried; n++)
        if (h->batches[n].there)
            last = n;
    for (uint32_t n = 1; n <= h->tried && h->why[0] == '\0'; n++) {
        const history_batch *batch = &h->batches[n];
        if (batch->fate == HISTORY_REFUSED && batch->there)
            snprintf(h->why, sizeof h->why, "batch %u was refused and is there", n);
        if (batch->there)
            continue;
        if (batch->fate == HISTORY_DURABLE || (live && batch->fate == HISTORY_ACKNOWLEDGED))
            snprintf(h->why, sizeof h->why, "batch %u was %s and is lost", n,
                     batch->fate == HISTORY_DURABLE ? "durable" : "acknowledged");
        else if (batch->fate == HISTORY_ACKNOWLEDGED && n < last)
            snprintf(h->why, sizeof h->why, "a hole: batch %u is missing, batch %u is there", n, last);
    }
}

static bole_status history_judge_gets(history *h, bole_db *db, const history_entry *model, bole_buffer *value)
{
    for (uint32_t k = 0; k < HISTORY_KEYS; k++) {
        char text[16];
        bole_status status = bole_get(db, NULL, history_key(k, text), value);
        if (status != BOLE_OK && status != BOLE_NOT_FOUND)
            return status;
        bool there = model[k].batch != NULL;
        if (there != (status == BOLE_OK) ||
            (there && !history_value_is(&model[k], BOLE_SLICE(value->data, value->size)))) {
            snprintf(h->why, sizeof h->why, "get of key %u gives %s%s", k, bole_status_name(status),
                     status == BOLE_OK ? " and a wrong value" : "");
            return BOLE_OK;
        }
    }
    return BOLE_OK;
}

/* A scan in either direction: keys, then marks. */
static bole_status history_judge_scan(history *h, bole_db *db, const history_entry *model, bool backward)
{
    bole_iterator *iterator;
    bole_status status = bole_iterator_create(db, NULL, &iterator);
    if (status != BOLE_OK)
        return status;
    uint32_t total = HISTORY_KEYS + h->tried;
    bool on = backward ? bole_iterator_seek_last(iterator) : bole_iterator_seek_first(iterator);
    bool good = true;
    for (uint32_t i = 0; i < total && good && on; i++) {
        uint32_t at = backward ? total - 1 - i : i, n = at - HISTORY_KEYS + 1;
        char text[16];
        bool mark = at >= HISTORY_KEYS;
        if (mark ? !h->batches[n].there : model[at].batch == NULL)
            continue;
        bole_slice key = mark ? history_mark(n, text) : history_key(at, text), shown = bole_iterator_key(iterator);
        good = shown.size == key.size && memcmp(shown.data, key.data, key.size) == 0;
        if (good && !mark)
            good = history_value_is(&model[at], bole_iterator_value(iterator));
        if (!good)
            snprintf(h->why, sizeof h->why, "a scan %s shows another entry than %.*s", backward ? "back" : "forth",
                     (int)key.size, text);
        on = backward ? bole_iterator_prev(iterator) : bole_iterator_next(iterator);
        if (!on && i + 1 < total && bole_iterator_status(iterator) == BOLE_OK)
            for (uint32_t j = i + 1; j < total && good; j++) {
                at = backward ? total - 1 - j : j;
                good = at >= HISTORY_KEYS ? !h->batches[at - HISTORY_KEYS + 1].there : model[at].batch == NULL;
                if (!good)
                    snprintf(h->why, sizeof h->why, "a scan %s ends too early", backward ? "back" : "forth");
            }
    }
    status = bole_iterator_status(iterator);
    if (good && on) {
        snprintf(h->why, sizeof h->why, "a scan %s shows too much", backward ? "back" : "forth");
        good = false;
    }
    bole_iterator_destroy(iterator);
    return good ? status : BOLE_OK;
}

/* Ask the store everything. BOLE_OK: it answered, and `why` says what is wrong with that, "" if nothing is. Else a read
 * failed with this status; what was answered before was right, or `why` says so. `live`: no crash lies between. */
TEST_UNUSED static bole_status history_check(history *h, bole_db *db, bool live)
{
    bole_buffer value = BOLE_BUFFER_INIT;
    history_entry model[HISTORY_KEYS];
    h->why[0] = '\0';
    bole_status status = history_look(h, db, &value);
    if (status == BOLE_OK && h->why[0] == '\0')
        history_judge_fates(h, live);
    if (status == BOLE_OK && h->why[0] == '\0') {
        history_model(h, model);
        status = history_judge_gets(h, db, model, &value);
    }
    for (int backward = 0; backward < 2 && status == BOLE_OK && h->why[0] == '\0'; backward++)
        status = history_judge_scan(h, db, model, backward != 0);
    bole_buffer_free(&value);
    return status;
}

/* The fault is over and writes are taken again: what failed is tried again some seconds later, and then flush and merge
 * go well too. Some seeds of the scheduler hardly ever switch, so it is given many points. */
TEST_UNUSED static bool history_heals(history *h, bole_vfs *disk, bole_db *db, bole_error *error)
{
    static const bole_slice open_end = { NULL, 0 };
    for (uint32_t i = 0; i < 20000; i++) {
        bole_vfs_memory_advance(disk, 10000000);
        bole_status status = bole_wait_idle(db, error);
        if (status != BOLE_OK)
            continue;
        status = history_write(h, db, BOLE_DURABILITY_PROCESS, error);
        if (status == BOLE_OK)
            status = bole_flush(db, error);
        if (status == BOLE_OK)
            status = bole_compact(db, NULL, open_end, open_end, error);
        if (status == BOLE_OK)
            history_all_durable(h);
        return status == BOLE_OK;
    }
    return false;
}

/* After a crash and a good look: what came back stays, what did not is gone for good. */
TEST_UNUSED static void history_settle(history *h)
{
    for (uint32_t n = 1; n <= h->tried; n++)
        h->batches[n].fate = !h->batches[n].there ? HISTORY_REFUSED
                             : h->batches[n].fate == HISTORY_DURABLE ? HISTORY_DURABLE
                                                                     : HISTORY_ACKNOWLEDGED;
}

#endif
