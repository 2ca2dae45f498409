/* SPDX-License-Identifier: MIT */
/* story_model.h -- what a store of several tables may hold after a history in which anything may fail.
 *
 * Batch n puts n under the key "#" of the first table, so one read says which batch was the last; what is before it is
 * told by fates. An acknowledged batch below the last is there (no hole), a refused one is not, and of one in doubt its
 * own mark tells, a key "!nnn" that batches write once faults are about. Tables come and go: each life of a table is
 * counted, and a promise says which lives may be found. Header-only; of test_power_cuts. */
#ifndef BOLE_STORY_MODEL_H
#define BOLE_STORY_MODEL_H

#include "cut_fixture.h"

enum { SLOTS = 3, KEYS = 24, TABLE_KEYS = 8, OPERATIONS_MAX = 6, BATCHES_MAX = 160, VALUE_BYTES_MAX = 40000 };
BL_STATIC_ASSERT(SLOTS - 1 == CUT_TABLES, "a promise for each table but the first");

static const char *const slot_names[SLOTS] = { "default", "second", "third" };
static inline uint32_t slot_keys(uint32_t slot) { return slot == 0 ? KEYS : TABLE_KEYS; }

typedef enum fate { REFUSED, DOUBT, ACKNOWLEDGED } fate;

typedef struct model_entry {
    bool there;
    uint8_t life; /* of the table that it was written to */
    uint8_t fill;
    uint16_t size;
} model_entry;

typedef struct model_content {
    model_entry keys[SLOTS][KEYS];
} model_content;

typedef struct model_operation {
    uint8_t slot, key;
    model_entry entry;
} model_operation;

typedef struct model_batch {
    uint8_t count, fate;
    model_operation operations[OPERATIONS_MAX];
} model_batch;

typedef struct model {
    model_batch batches[BATCHES_MAX + 1];
    model_content after[BATCHES_MAX + 1]; /* of the acknowledged batches up to there */
    uint32_t tried;
    uint32_t first_doubt; /* UINT32_MAX: none */
    uint32_t marks_from;  /* batches from here on write a mark; UINT32_MAX: none does */
    char why[1200];       /* what is wrong, when something is */
} model;

/* What a look at a store found. */
typedef struct finding {
    bool complete; /* else a read failed, as it may beside a fault */
    uint32_t last; /* number of the last batch */
    bool present[BATCHES_MAX + 1];
    const model_content *content;
    model_content own; /* `content`, where it is none of the model's */
} finding;

__attribute__((format(printf, 2, 3))) static bool wrong(model *m, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    if (m->why[0] == '\0')
        vsnprintf(m->why, sizeof m->why, format, arguments);
    va_end(arguments);
    return false;
}

/* A letter and three digits, without printf: a judge asks for each of them of every disk. */
static bole_slice numbered(char letter, uint32_t number, char out[8])
{
    assert_true(number < 1000);
    char text[8] = { letter, (char)('0' + number / 100), (char)('0' + number / 10 % 10), (char)('0' + number % 10) };
    memcpy(out, text, sizeof text);
    return (bole_slice){ out, 4 };
}

static bole_slice key_of(uint32_t key, char out[8])
{
    return numbered('k', key, out);
}

static bole_slice mark_of(uint32_t n, char out[8])
{
    return numbered('!', n, out);
}

/* What a caller may be told about a call that met a fault. */
static bool is_clean(bole_status status)
{
    return status == BOLE_IO || status == BOLE_NO_SPACE || status == BOLE_NO_MEMORY || status == BOLE_IN_DOUBT ||
           status == BOLE_FAILED || status == BOLE_PERMISSION || status == BOLE_MEMORY_PINNED;
}

/* ---- Content -------------------------------------------------------------------------------------------- */

static void model_apply(model_content *content, const model_batch *batch)
{
    for (uint32_t i = 0; i < batch->count; i++)
        content->keys[batch->operations[i].slot][batch->operations[i].key] = batch->operations[i].entry;
}

/* Fates from `from` on have changed. */
static void model_renew(model *m, uint32_t from)
{
    m->first_doubt = UINT32_MAX;
    for (uint32_t n = 1; n <= m->tried; n++) {
        if (m->batches[n].fate == DOUBT && m->first_doubt == UINT32_MAX)
            m->first_doubt = n;
        if (n < from)
            continue;
        m->after[n] = m->after[n - 1];
        if (m->batches[n].fate == ACKNOWLEDGED)
            model_apply(&m->after[n], &m->batches[n]);
    }
}

static const model_content *model_build(const model *m, finding *f)
{
    uint32_t same = 0;
    while (same < f->last && f->present[same + 1] == (m->batches[same + 1].fate == ACKNOWLEDGED))
        same++;
    if (same == f->last)
        return &m->after[same];
    f->own = m->after[same];
    for (uint32_t n = same + 1; n <= f->last; n++)
        if (f->present[n])
            model_apply(&f->own, &m->batches[n]);
    return &f->own;
}

/* ---- The judge ------------------------------------------------------------------------------------------ */

static bool value_is(const model_entry *e, bole_slice value)
{
    const uint8_t *bytes = value.data;
    return value.size == e->size &&
           (value.size == 0 || (bytes[0] == e->fill && memcmp(bytes, bytes + 1, value.size - 1) == 0));
}

static bool entry_there(const model_content *content, uint32_t slot, uint32_t key, uint8_t life)
{
    const model_entry *e = &content->keys[slot][key];
    return e->there && e->life == life;
}

/* Every key of one life of a table. `may_fail`: reads may meet a fault; what they do give must be right. */
static bool check_gets(model *m, bole_db *db, const bole_read_options *options, const model_content *content,
                       uint32_t slot, uint8_t life, bool may_fail)
{
    bole_buffer value = BOLE_BUFFER_INIT;
    bool good = true;
    for (uint32_t k = 0; k < slot_keys(slot) && good; k++) {
        char text[8];
        bool there = entry_there(content, slot, k, life);
        bole_status status = bole_get(db, options, key_of(k, text), &value);
        if (may_fail && is_clean(status))
            continue;
        if (status != (there ? BOLE_OK : BOLE_NOT_FOUND) ||
            (there && !value_is(&content->keys[slot][k], BOLE_SLICE(value.data, value.size))))
            good = wrong(m, "key %s of table %s is not what the model has (%s)", text, slot_names[slot],
                         bole_status_name(status));
    }
    bole_buffer_free(&value);
    return good;
}

/* A scan of one life of a table, the first table's marks and number included. `f` NULL: these are not looked at. */
static bool check_scan(model *m, bole_iterator *iterator, const model_content *content, const finding *f,
                       uint32_t slot, uint8_t life, bool may_fail)
{
    char text[8] = "!";
    uint32_t k = 0, marks = 0;
    bool on = bole_iterator_seek_first(iterator), good = true;
    for (; slot == 0 && on && bole_iterator_key(iterator).size != 0; on = bole_iterator_next(iterator)) {
        const char *shown = bole_iterator_key(iterator).data;
        if (shown[0] != '!' && shown[0] != '#')
            break;
        marks += shown[0] == '!';
    }
    for (uint32_t n = m->marks_from; f != NULL && slot == 0 && n <= f->last; n++)
        marks -= f->present[n];
    good = slot != 0 || f == NULL || marks == 0 || (may_fail && !on);
    for (; k < slot_keys(slot) && good; k++) {
        if (!entry_there(content, slot, k, life))
            continue;
        if (!on && may_fail && is_clean(bole_iterator_status(iterator)))
            return true;
        bole_slice key = key_of(k, text), shown = on ? bole_iterator_key(iterator) : BOLE_SLICE("", 0);
        good = on && shown.size == key.size && memcmp(shown.data, key.data, key.size) == 0 &&
               value_is(&content->keys[slot][k], bole_iterator_value(iterator));
        on = bole_iterator_next(iterator);
    }
    if (may_fail && is_clean(bole_iterator_status(iterator)))
        return true;
    if (!good || on || bole_iterator_status(iterator) != BOLE_OK)
        return wrong(m, "a scan of table %s differs from the model at or before %s (%s)", slot_names[slot], text,
                     bole_status_name(bole_iterator_status(iterator)));
    return true;
}

static bool scan_once(model *m, bole_db *db, const finding *f, uint32_t slot, uint8_t life, bole_table *table,
                      bool may_fail)
{
    bole_read_options options = BOLE_READ_OPTIONS_INIT;
    bole_iterator *iterator;
    options.table = table;
    bole_status status = bole_iterator_create(db, &options, &iterator);
    if (status != BOLE_OK)
        return (may_fail && is_clean(status)) || wrong(m, "no iterator: %s", bole_status_name(status));
    bool good = check_scan(m, iterator, f->content, f, slot, life, may_fail);
    bole_iterator_destroy(iterator);
    return good;
}

/* Which batches are there? The one in flight may be, whatever became of it. */
static bool find_batches(model *m, bole_db *db, const promises *at, uint32_t least, bool may_fail, finding *f)
{
    bole_buffer value = BOLE_BUFFER_INIT;
    uint32_t n = 0;
    f->complete = false;
    bole_status status = bole_get(db, NULL, BOLE_STR("#"), &value);
    if (status == BOLE_OK && value.size == sizeof n)
        memcpy(&n, value.data, sizeof n);
    bool good = status == BOLE_OK || status == BOLE_NOT_FOUND;
    if (!good && !(may_fail && is_clean(status)))
        wrong(m, "the number of the last batch cannot be read: %s", bole_status_name(status));
    else if (good && (n < least || n > at->tried))
        good = wrong(m, "batch %u came back, but %u to %u must", n, least, at->tried);
    else if (good && n != 0 && n != at->in_flight && m->batches[n].fate == REFUSED)
        good = wrong(m, "batch %u was refused and is there", n);
    f->last = n;
    if (good && n < m->first_doubt && (n == 0 || m->batches[n].fate == ACKNOWLEDGED)) {
        for (uint32_t i = 1; i <= n; i++)
            f->present[i] = m->batches[i].fate == ACKNOWLEDGED;
        f->content = &m->after[n];
        f->complete = true;
        good = false; /* all is known */
    }
    for (uint32_t i = 1; i <= n && good; i++) {
        f->present[i] = i == n || m->batches[i].fate == ACKNOWLEDGED;
        if (i == n || m->batches[i].fate != DOUBT)
            continue;
        char text[8];
        status = bole_get(db, NULL, mark_of(i, text), &value);
        f->present[i] = status == BOLE_OK;
        good = status == BOLE_OK || status == BOLE_NOT_FOUND;
        if (!good && !(may_fail && is_clean(status)))
            wrong(m, "the mark of batch %u cannot be read: %s", i, bole_status_name(status));
    }
    if (good) {
        f->content = model_build(m, f);
        f->complete = true;
    }
    bole_buffer_free(&value);
    return m->why[0] == '\0';
}

/* Is a life of the table there that may be, and does it hold what it should? */
static bool check_table(model *m, bole_db *db, const promises *at, const finding *f, uint32_t slot, bool scans,
                        bool may_fail)
{
    const promised_table *promise = &at->tables[slot - 1];
    bool named = promise->named_by != 0 && f->last >= promise->named_by;
    bole_table *table;
    bole_error error = BOLE_ERROR_INIT;
    bole_status status = bole_table_open(db, slot_names[slot], &table, &error);
    if (status == BOLE_NOT_FOUND)
        return (promise->gone && !named) || wrong(m, "table %s is gone", slot_names[slot]);
    if (status != BOLE_OK)
        return (may_fail && is_clean(status)) ||
               wrong(m, "table %s does not open: %s", slot_names[slot], error.message);
    bole_read_options options = BOLE_READ_OPTIONS_INIT;
    options.table = table;
    bool good = false;
    uint32_t first = named ? promise->last : promise->first;
    for (uint32_t life = first; life <= promise->last && !good; life++) {
        if (life != first)
            m->why[0] = '\0';
        good = check_gets(m, db, &options, f->content, slot, (uint8_t)life, may_fail) &&
               (!scans || scan_once(m, db, f, slot, (uint8_t)life, table, may_fail));
    }
    if (promise->first > promise->last)
        wrong(m, "table %s is there and was dropped, or never made", slot_names[slot]);
    bole_table_close(table);
    return good;
}

/* Ask the store everything. At least batch `least` is there; what `at` promises, too. */
static bool check_store(model *m, bole_db *db, const promises *at, uint32_t least, bool scans, bool may_fail,
                        finding *f)
{
    if (!find_batches(m, db, at, least, may_fail, f))
        return false;
    if (!f->complete)
        return true;
    bool good = check_gets(m, db, NULL, f->content, 0, 0, may_fail) &&
                (!scans || scan_once(m, db, f, 0, 0, NULL, may_fail));
    for (uint32_t slot = 1; slot < SLOTS && good; slot++)
        good = check_table(m, db, at, f, slot, scans, may_fail);
    if (!good) {
        char text[600];
        snprintf(text, sizeof text, "%.590s", m->why);
        m->why[0] = '\0';
        wrong(m, "after batch %u: %s", f->last, text);
    }
    return good;
}

/* The store was opened again: what is there stays, what is not is gone for good. */
static void model_settle(model *m, const finding *f)
{
    uint32_t from = m->first_doubt;
    if (from == UINT32_MAX || !f->complete)
        return;
    for (uint32_t n = from; n <= m->tried; n++)
        if (m->batches[n].fate == DOUBT)
            m->batches[n].fate = n <= f->last && f->present[n] ? ACKNOWLEDGED : REFUSED;
    model_renew(m, from);
}

#endif
