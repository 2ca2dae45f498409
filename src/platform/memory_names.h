/* SPDX-License-Identifier: MIT */
/* memory_names.h -- directories of the memory vfs' disk: names now, names that are durable, and the changes
 * between. */
#ifndef BL_PLATFORM_MEMORY_NAMES_H
#define BL_PLATFORM_MEMORY_NAMES_H

#include "platform/memory_content.h"

typedef struct bl_memory_node bl_memory_node;
typedef struct bl_memory_entry {
    char *name;
    bl_memory_node *node;
} bl_memory_entry;
typedef struct bl_memory_entries { /* sorted by name */
    bl_memory_entry *list;
    size_t count, capacity;
} bl_memory_entries;

/* A file or a directory: what POSIX calls an inode. */
struct bl_memory_node {
    bool is_directory;
    uint32_t references; /* entries, changes, handles and maps */
    uint32_t links;      /* entries that are there now */
    uint32_t handles;
    bl_memory_content content;          /* of a file */
    bl_memory_entries current, durable; /* of a directory */
    bl_memory_node *copy;               /* while the disk is copied */
};

/* A name that was changed and whose directory was not synced since. */
typedef struct bl_memory_change {
    bl_memory_node *directory;
    char *name;
    bl_memory_node *after; /* NULL: the name is gone */
    uint64_t operation;    /* the two changes of a rename share one */
    bool landed;           /* while the disk is copied */
    struct bl_memory_change *next;
} bl_memory_change;

typedef struct bl_memory_names {
    bl_memory_node *root;
    bl_memory_change *changes, **changes_end; /* in order */
    uint64_t operations;
} bl_memory_names;

bool bl_memory_names_init(bl_memory_names *names);
void bl_memory_names_deinit(bl_memory_names *names);
bl_memory_node *bl_memory_node_make(bool is_directory);
bl_memory_node *bl_memory_node_hold(bl_memory_node *node);
void bl_memory_node_let_go(bl_memory_node *node);

/* Walk `path`. *out is the node, or NULL where the last name is not there; *directory is the one that holds
 * the last name, *last that name (NULL and "" for the root). Returns 0, ENOENT or ENOTDIR for the way, EINVAL
 * for "..". */
enum { BL_MEMORY_NAME_SIZE = 256 };
int bl_memory_names_find(const bl_memory_names *names, const char *path, bl_memory_node **directory,
                         char last[BL_MEMORY_NAME_SIZE], bl_memory_node **out);
/* Change one name (node NULL: remove it) or two at once; false, and nothing changed, when out of memory. */
bool bl_memory_names_set(bl_memory_names *names, bl_memory_node *directory, const char *name,
                         bl_memory_node *node);
bool bl_memory_names_move(bl_memory_names *names, bl_memory_node *from, const char *from_name,
                          bl_memory_node *to, const char *to_name, bl_memory_node *node);
/* Make the directory's names durable; false when out of memory (some may be by then). */
bool bl_memory_names_sync(bl_memory_names *names, bl_memory_node *directory);
/* Fill `out`, initialized and empty, with what a power cut leaves of names and files. */
bool bl_memory_names_crash(bl_memory_names *from, bole_crash_mode mode, bl_prng *prng, bl_memory_names *out);

#endif
