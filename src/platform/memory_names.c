/* SPDX-License-Identifier: MIT */
/* memory_names.c -- a tree of directories with two states of every name.
 *
 * A directory has its names as programs see them and as they are on the disk. Each change is also put on a
 * list, until the directory is synced; syncing one directory says nothing of another.
 *
 * A POWER CUT (BOLE_CRASH_RANDOM) follows one of three file systems, chosen by the seed: a journal (a prefix
 * of all changes, in order), no order at all (each change lands or not, alone), or nearly all (one in eight
 * is missing). A name then shows its last change that landed.
 * INVARIANTS  (NAMES-1) current is durable with all listed changes of the directory applied in order.
 *             (NAMES-2) Every name shows the old or a new file after a cut, never half of either: a rename
 *                       lets its target show nothing only if it showed nothing before. Source and target may
 *                       fare differently for a file; a directory moves whole or not at all.
 *             (NAMES-3) A node lives while an entry, a change, a handle or a map refers to it.
 * THREADS     The caller's lock. */
#include "platform/memory_names.h"

#include "base/alloc.h"
#include "base/assert.h"

#include <errno.h>
#include <string.h>

/* ---- Nodes --------------------------------------------------------------------------------------------- */

bl_memory_node *bl_memory_node_make(bool is_directory)
{
    bl_memory_node *node = bl_new(bl_memory_node);
    if (node == NULL)
        return NULL;
    node->is_directory = is_directory;
    node->references = 1;
    return node;
}

bl_memory_node *bl_memory_node_hold(bl_memory_node *node)
{
    if (node != NULL)
        node->references++;
    return node;
}

static void free_entries(bl_memory_entries *entries)
{
    for (size_t i = 0; i < entries->count; i++) {
        bl_free(entries->list[i].name);
        bl_memory_node_let_go(entries->list[i].node);
    }
    bl_free(entries->list);
    *entries = (bl_memory_entries){ 0 };
}

void bl_memory_node_let_go(bl_memory_node *node)
{
    if (node == NULL || --node->references != 0)
        return;
    free_entries(&node->current);
    free_entries(&node->durable);
    bl_memory_content_deinit(&node->content);
    bl_free(node);
}

/* ---- Entries ------------------------------------------------------------------------------------------- */

/* Where `name` is or would be. */
static size_t entry_place(const bl_memory_entries *entries, const char *name, bool *found)
{
    size_t low = 0, high = entries->count;
    *found = false;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        int order = strcmp(entries->list[middle].name, name);
        if (order == 0) {
            *found = true;
            return middle;
        }
        if (order < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static bl_memory_node *entry_find(const bl_memory_entries *entries, const char *name)
{
    bool found;
    size_t place = entry_place(entries, name, &found);
    return found ? entries->list[place].node : NULL;
}

static bool entries_reserve(bl_memory_entries *entries, size_t more)
{
    if (entries->count + more <= entries->capacity)
        return true;
    size_t capacity = entries->capacity * 2 + more + 4;
    bl_memory_entry *list = bl_realloc(entries->list, capacity * sizeof *list);
    if (list == NULL)
        return false;
    entries->list = list;
    entries->capacity = capacity;
    return true;
}

/* Let `name` show `node` (held here), or nothing. Takes over `owned_name`. There is room. */
static void entry_put(bl_memory_entries *entries, char *owned_name, bl_memory_node *node)
{
    bool found;
    size_t place = entry_place(entries, owned_name, &found);
    bl_memory_entry *at = entries->list + place;
    size_t behind = entries->count - place;
    bl_memory_node_hold(node);
    if (found) {
        bl_memory_node_let_go(at->node);
        at->node = node;
        if (node == NULL) {
            bl_free(at->name);
            memmove(at, at + 1, (behind - 1) * sizeof *at);
            entries->count--;
        }
        bl_free(owned_name);
        return;
    }
    if (node == NULL) {
        bl_free(owned_name);
        return;
    }
    bl_assert(entries->count < entries->capacity);
    if (behind != 0)
        memmove(at + 1, at, behind * sizeof *at);
    *at = (bl_memory_entry){ owned_name, node };
    entries->count++;
}

/* ---- Changes ------------------------------------------------------------------------------------------- */

/* A change and the name for its entry, made before anything is altered. */
typedef struct prepared {
    bl_memory_change *change;
    char *entry_name;
} prepared;

static void discard(prepared *one)
{
    if (one->change != NULL)
        bl_free(one->change->name);
    bl_free(one->change);
    bl_free(one->entry_name);
}

static bool prepare(prepared *one, bl_memory_node *directory, const char *name)
{
    one->change = bl_new(bl_memory_change);
    one->entry_name = bl_string_copy(name);
    if (one->change != NULL)
        one->change->name = bl_string_copy(name);
    if (one->change == NULL || one->entry_name == NULL || one->change->name == NULL ||
        !entries_reserve(&directory->current, 1)) {
        discard(one);
        return false;
    }
    return true;
}

/* Cannot fail. */
static void apply(bl_memory_names *names, prepared *one, bl_memory_node *directory, bl_memory_node *node)
{
    bl_memory_node *before = entry_find(&directory->current, one->entry_name);
    if (before != NULL)
        before->links--;
    if (node != NULL)
        node->links++;
    bl_memory_change *change = one->change;
    change->directory = bl_memory_node_hold(directory);
    change->after = bl_memory_node_hold(node);
    change->operation = names->operations;
    *names->changes_end = change;
    names->changes_end = &change->next;
    entry_put(&directory->current, one->entry_name, node);
}

static void free_change(bl_memory_change *change)
{
    bl_memory_node_let_go(change->directory);
    bl_memory_node_let_go(change->after);
    bl_free(change->name);
    bl_free(change);
}

bool bl_memory_names_set(bl_memory_names *names, bl_memory_node *directory, const char *name,
                         bl_memory_node *node)
{
    prepared one;
    if (!prepare(&one, directory, name))
        return false;
    names->operations++;
    apply(names, &one, directory, node);
    return true;
}

bool bl_memory_names_move(bl_memory_names *names, bl_memory_node *from, const char *from_name,
                          bl_memory_node *to, const char *to_name, bl_memory_node *node)
{
    prepared target, source;
    if (!prepare(&target, to, to_name))
        return false;
    if (!prepare(&source, from, from_name)) {
        discard(&target);
        return false;
    }
    names->operations++;
    apply(names, &target, to, node);
    apply(names, &source, from, NULL);
    return true;
}

bool bl_memory_names_sync(bl_memory_names *names, bl_memory_node *directory)
{
    for (bl_memory_change **link = &names->changes; *link != NULL;) {
        bl_memory_change *change = *link;
        if (change->directory != directory) {
            link = &change->next;
            continue;
        }
        if (!entries_reserve(&directory->durable, 1))
            return false;
        entry_put(&directory->durable, change->name, change->after);
        change->name = NULL;
        *link = change->next;
        if (names->changes_end == &change->next)
            names->changes_end = link;
        free_change(change);
    }
    return true;
}

/* ---- The tree ------------------------------------------------------------------------------------------ */

bool bl_memory_names_init(bl_memory_names *names)
{
    *names = (bl_memory_names){ .root = bl_memory_node_make(true) };
    names->changes_end = &names->changes;
    return names->root != NULL;
}

void bl_memory_names_deinit(bl_memory_names *names)
{
    while (names->changes != NULL) {
        bl_memory_change *change = names->changes;
        names->changes = change->next;
        free_change(change);
    }
    bl_memory_node_let_go(names->root);
    names->root = NULL;
}

int bl_memory_names_find(const bl_memory_names *names, const char *path, bl_memory_node **directory,
                         char last[BL_MEMORY_NAME_SIZE], bl_memory_node **out)
{
    *directory = NULL;
    *out = names->root;
    last[0] = '\0';
    for (;;) {
        path += strspn(path, "/");
        size_t length = strcspn(path, "/");
        if (length == 0)
            return 0;
        if (length == 1 && path[0] == '.') {
            path += length;
            continue;
        }
        if (length >= BL_MEMORY_NAME_SIZE)
            return ENAMETOOLONG;
        if (length == 2 && memcmp(path, "..", 2) == 0)
            return EINVAL;
        if (*out == NULL)
            return ENOENT;
        if (!(*out)->is_directory)
            return ENOTDIR;
        memcpy(last, path, length);
        last[length] = '\0';
        *directory = *out;
        *out = entry_find(&(*directory)->current, last);
        path += length;
    }
}

/* ---- A power cut --------------------------------------------------------------------------------------- */

/* Decide which of the listed changes are on the disk. */
static void choose_landed(bl_memory_names *from, bole_crash_mode mode, bl_prng *prng)
{
    enum { JOURNAL, NO_ORDER, NEARLY_ALL, KINDS };
    uint64_t kind = bl_prng_below(prng, KINDS);
    uint64_t first = from->changes != NULL ? from->changes->operation : 0;
    uint64_t end = first + bl_prng_below(prng, from->operations - first + 2);
    const bl_memory_change *previous = NULL;
    for (bl_memory_change *change = from->changes; change != NULL; previous = change, change = change->next) {
        if (mode == BOLE_CRASH_LOSE_ALL)
            change->landed = false;
        else if (mode != BOLE_CRASH_RANDOM)
            change->landed = true;
        else if (kind == JOURNAL)
            change->landed = change->operation < end;
        else if (previous != NULL && previous->operation == change->operation &&
                 previous->after->is_directory)
            change->landed = previous->landed; /* a directory moves whole */
        else
            change->landed = kind == NO_ORDER ? bl_prng_chance(prng, 2) : !bl_prng_chance(prng, 8);
    }
}

static bl_memory_node *copy_node(bl_memory_node *node, bole_crash_mode mode, bl_prng *prng);

static bool put_copy(bl_memory_entries *entries, const char *name, bl_memory_node *copy)
{
    char *owned = bl_string_copy(name);
    if (owned == NULL || !entries_reserve(entries, 1)) {
        bl_free(owned);
        return false;
    }
    entry_put(entries, owned, copy);
    return true;
}

static bool copy_entries(const bl_memory_entries *from, bl_memory_entries *to, bole_crash_mode mode,
                         bl_prng *prng)
{
    for (size_t i = 0; i < from->count; i++) {
        bl_memory_node *copy = copy_node(from->list[i].node, mode, prng);
        if (copy == NULL || !put_copy(to, from->list[i].name, copy))
            return false;
    }
    return true;
}

/* The copy of a node, made once and kept in node->copy; NULL when out of memory. Directories are only as deep
 * as the tests make them. */
static bl_memory_node *copy_node(bl_memory_node *node, bole_crash_mode mode, bl_prng *prng)
{
    if (node->copy != NULL)
        return node->copy;
    bl_memory_node *copy = bl_memory_node_make(node->is_directory);
    node->copy = copy;
    if (copy == NULL)
        return NULL;
    bool done = node->is_directory ? copy_entries(&node->durable, &copy->durable, mode, prng)
                                   : bl_memory_content_crash(&node->content, mode, prng, &copy->content);
    return done ? copy : NULL;
}

/* Copy every directory that a landed change speaks of, then apply the change to the copy's durable names. */
static bool copy_changes(bl_memory_names *from, bole_crash_mode mode, bl_prng *prng)
{
    for (bl_memory_change *change = from->changes; change != NULL; change = change->next) {
        if (!change->landed)
            continue;
        bl_memory_node *directory = copy_node(change->directory, mode, prng);
        bl_memory_node *after = change->after == NULL ? NULL : copy_node(change->after, mode, prng);
        if (directory == NULL || (change->after != NULL && after == NULL) ||
            !put_copy(&directory->durable, change->name, after))
            return false;
    }
    return true;
}

/* What is durable in the copy is also what programs see. */
static bool show_durable(bl_memory_node *directory)
{
    if (directory->current.count != 0)
        return true; /* seen by another name */
    for (size_t i = 0; i < directory->durable.count; i++) {
        bl_memory_node *node = directory->durable.list[i].node;
        node->links++;
        if (!put_copy(&directory->current, directory->durable.list[i].name, node))
            return false;
        if (node->is_directory && !show_durable(node))
            return false;
    }
    return true;
}

/* After the death of the process alone the unsynced changes are as unsynced as before. */
static bool replay_changes(const bl_memory_names *from, bl_memory_names *out)
{
    for (const bl_memory_change *change = from->changes; change != NULL; change = change->next) {
        prepared one;
        if (!prepare(&one, change->directory->copy, change->name))
            return false;
        out->operations = change->operation;
        apply(out, &one, change->directory->copy, change->after == NULL ? NULL : change->after->copy);
    }
    out->operations = from->operations;
    return true;
}

/* Forget node->copy in all that was visited. What no copied directory shows is freed here. */
static void drop_copies(bl_memory_node *node)
{
    bl_memory_node *copy = node->copy;
    if (copy == NULL)
        return;
    node->copy = NULL;
    for (size_t i = 0; i < node->durable.count; i++)
        drop_copies(node->durable.list[i].node);
    bl_memory_node_let_go(copy);
}

bool bl_memory_names_crash(bl_memory_names *from, bole_crash_mode mode, bl_prng *prng, bl_memory_names *out)
{
    choose_landed(from, mode, prng);
    bool keep_changes = mode == BOLE_CRASH_KEEP_ALL;
    bl_memory_node *root = copy_node(from->root, mode, prng);
    bool done = root != NULL;
    if (done && keep_changes) {
        for (bl_memory_change *change = from->changes; change != NULL && done; change = change->next) {
            done = copy_node(change->directory, mode, prng) != NULL &&
                   (change->after == NULL || copy_node(change->after, mode, prng) != NULL);
        }
    } else if (done) {
        done = copy_changes(from, mode, prng);
    }
    done = done && show_durable(root);
    for (bl_memory_change *change = from->changes; change != NULL && keep_changes && done;
         change = change->next) { /* new directories, which the root does not show durably */
        done = show_durable(change->directory->copy);
        if (done && change->after != NULL && change->after->is_directory)
            done = show_durable(change->after->copy);
    }
    if (done && keep_changes)
        done = replay_changes(from, out);
    if (done) {
        bl_memory_node_let_go(out->root);
        out->root = bl_memory_node_hold(root);
    }
    drop_copies(from->root);
    for (bl_memory_change *change = from->changes; change != NULL; change = change->next) {
        drop_copies(change->directory);
        if (change->after != NULL)
            drop_copies(change->after);
    }
    return done;
}
