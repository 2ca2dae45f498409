/* SPDX-License-Identifier: MIT */
/* key_value_store.h -- the small interface that every key-value store can serve: put, get, remove, write, cursor.
 *
 * bole serves it through bole_key_value_store; the benchmark's rivals and the model of the tests implement it
 * too. Program against it where the engine below shall be exchangeable. Everything else of bole (tables,
 * snapshots, checkpoints, statistics) stands in bole.h.
 *
 * OWNERSHIP  A slice that is handed in is borrowed for the call. A value that get shows is good inside `visit`
 *            only; a cursor's key and value until its next move or close.
 * THREADS    As the engine below allows: bole's take any number of threads, a cursor one.
 * ERRORS     bole's status codes; BOLE_NOT_FOUND is an answer. `error` may be NULL.
 * COST       One indirect call above what the engine itself takes. */
#ifndef BOLE_KEY_VALUE_STORE_H
#define BOLE_KEY_VALUE_STORE_H

#include <bole/bole.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct bole_key_value_store bole_key_value_store;
typedef struct bole_key_value_cursor bole_key_value_cursor;

/* One operation of an atomic write. */
typedef struct bole_key_value_operation {
    bool removes; /* then `value` does not count */
    bole_slice key, value;
} bole_key_value_operation;

/* What an engine implements. All functions must be there, but for get_many. */
typedef struct bole_key_value_methods {
    const char *name; /* of the engine */
    /* `durable`: on disk before it returns; else it survives the death of the process, as far as the engine can. */
    bole_status (*put)(bole_key_value_store *store, bole_slice key, bole_slice value, bool durable,
                       bole_error *error);
    bole_status (*remove)(bole_key_value_store *store, bole_slice key, bool durable, bole_error *error);
    /* All of the operations or none. */
    bole_status (*write)(bole_key_value_store *store, const bole_key_value_operation *operations, size_t count,
                         bool durable, bole_error *error);
    /* Show the value to `visit` (not called when there is none), by the engine's cheapest way, without a copy where it
     * can. `visit` may not call the store. */
    bole_status (*get)(bole_key_value_store *store, bole_slice key,
                       void (*visit)(void *context, bole_slice value), void *context, bole_error *error);
    /* Reads of `count` keys, at one moment where the engine can (bole can). `visit` is called once for each key that is
     * there, in any order, with its index; a key that was not visited when BOLE_OK is returned is not there. What get
     * says of `visit` and the value counts here, too. NULL: the engine has no such call, ask `get` key by key. */
    bole_status (*get_many)(bole_key_value_store *store, const bole_slice *keys, size_t count,
                            void (*visit)(void *context, size_t index, bole_slice value), void *context,
                            bole_error *error);
    /* A cursor stands on nothing at first; it shows the store of the moment it was opened. */
    bole_status (*cursor_open)(bole_key_value_store *store, bole_key_value_cursor **out, bole_error *error);
    /* True when the cursor stands on an entry afterwards: key and value are set. False: the end, or a failure that
     * `status` names. */
    bool (*cursor_seek)(bole_key_value_cursor *cursor, bole_slice key); /* the first key at or above `key` */
    bool (*cursor_first)(bole_key_value_cursor *cursor);
    bool (*cursor_last)(bole_key_value_cursor *cursor);
    bool (*cursor_next)(bole_key_value_cursor *cursor); /* only while it stands on an entry */
    bool (*cursor_previous)(bole_key_value_cursor *cursor);
    void (*cursor_close)(bole_key_value_cursor *cursor); /* NULL is allowed */
    /* Until background work has settled: nothing is left to flush or merge by itself. */
    bole_status (*settle)(bole_key_value_store *store, bole_error *error);
    /* Merge everything into the engine's most compact form. */
    bole_status (*compact)(bole_key_value_store *store, bole_error *error);
    /* Cursors are closed before. Frees `store`, whatever it returns. */
    bole_status (*close)(bole_key_value_store *store, bole_error *error);
} bole_key_value_methods;

/* First member of every engine's own struct. */
struct bole_key_value_store {
    const bole_key_value_methods *methods;
};

struct bole_key_value_cursor {
    bole_key_value_store *store;
    bole_slice key, value; /* while it stands on an entry */
    bole_status status;    /* of a move that failed, else BOLE_OK */
};

/* The default table of `db` behind the interface. `owns_db`: close closes it, too. BOLE_NO_MEMORY. */
BOLE_API bole_status bole_key_value_store_create(bole_db *db, bool owns_db, bole_key_value_store **out);

#ifdef __cplusplus
}
#endif
#endif
