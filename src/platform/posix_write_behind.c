/* SPDX-License-Identifier: MIT */
/* posix_write_behind.c -- a few pieces: one is filled while the device takes the others. POSIX's asynchronous I/O.
 *
 * Through the system's cache each written page is allocated there, copied, and written out by the kernel later. Where
 * the store holds the same bytes as frames, that is a second copy that nobody asked for, and half of the processor time
 * of a merge (docs/decisions/0019).
 *
 * INVARIANT  (BEHIND-1) A write that failed is never forgotten: each later call says it again.
 * THREADS    One at a time.
 * NOT HERE   When it is used, what is read meanwhile, the tail of the file: vfs_posix.c. */
#include "platform/posix_write_behind.h"

#include "base/alloc.h"
#include "platform/page_arena.h"

#include <aio.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

enum { PIECES = 4 }; /* on their way; two would have the device wait for a busy processor */

struct bl_write_behind {
    int descriptor, failure; /* errno of the first write that failed */
    unsigned next;           /* piece to be filled */
    struct piece {
        struct aiocb request;
        uint8_t *memory; /* the first one's is the allocation */
        bool on_its_way;
    } pieces[PIECES];
};

bl_write_behind *bl_write_behind_create(int descriptor)
{
    bl_write_behind *behind = bl_new(bl_write_behind);
    if (behind == NULL)
        return NULL;
    uint8_t *memory = bl_region_alloc((size_t)PIECES * BL_WRITE_BEHIND_BYTES);
    if (memory == NULL) {
        bl_free(behind);
        return NULL;
    }
    for (unsigned i = 0; i < PIECES; i++)
        behind->pieces[i].memory = memory + (size_t)i * BL_WRITE_BEHIND_BYTES;
    behind->descriptor = descriptor;
    return behind;
}

int bl_write_all(int descriptor, uint64_t offset, const void *data, size_t length)
{
    size_t done = 0;
    while (done < length) {
        size_t part = length - done < BL_IO_BYTES_MAX ? length - done : BL_IO_BYTES_MAX;
        ssize_t result = pwrite(descriptor, (const char *)data + done, part, (off_t)(offset + done));
        if (result > 0)
            done += (size_t)result;
        else if (result == 0)
            return EIO; /* no progress and no reason given */
        else if (errno != EINTR)
            return errno;
    }
    return 0;
}

/* Where the file system has pages of another size, or no direct writes after all, on through its cache. */
static int write_through_cache(const bl_write_behind *behind, const struct piece *piece)
{
    int flags = fcntl(behind->descriptor, F_GETFL);
    if (flags < 0 || fcntl(behind->descriptor, F_SETFL, flags & ~O_DIRECT) != 0)
        return errno;
    return bl_write_all(behind->descriptor, (uint64_t)piece->request.aio_offset, piece->memory,
                        BL_WRITE_BEHIND_BYTES);
}

/* Wait for a piece; what became of it goes into behind->failure. */
static void await(bl_write_behind *behind, struct piece *piece)
{
    if (!piece->on_its_way)
        return;
    const struct aiocb *const list[] = { &piece->request };
    int failure;
    while ((failure = aio_error(&piece->request)) == EINPROGRESS)
        (void)aio_suspend(list, 1, NULL);
    piece->on_its_way = false;
    ssize_t result = aio_return(&piece->request);
    if (failure == EINVAL || (failure == 0 && result < BL_WRITE_BEHIND_BYTES)) /* or a part of it */
        failure = write_through_cache(behind, piece);
    if (behind->failure == 0)
        behind->failure = failure;
}

int bl_write_behind_add(bl_write_behind *behind, uint64_t offset, const void *data)
{
    struct piece *piece = &behind->pieces[behind->next];
    await(behind, piece);
    if (behind->failure != 0)
        return behind->failure;
    behind->next = (behind->next + 1) % PIECES;
    memcpy(piece->memory, data, BL_WRITE_BEHIND_BYTES);
    piece->request = (struct aiocb){ .aio_fildes = behind->descriptor,
                                     .aio_buf = piece->memory,
                                     .aio_nbytes = BL_WRITE_BEHIND_BYTES,
                                     .aio_offset = (off_t)offset,
                                     .aio_sigevent.sigev_notify = SIGEV_NONE };
    piece->on_its_way = aio_write(&piece->request) == 0;
    if (!piece->on_its_way) /* no memory or thread for it */
        behind->failure = write_through_cache(behind, piece);
    return behind->failure;
}

int bl_write_behind_finish(bl_write_behind *behind)
{
    if (behind == NULL)
        return 0;
    for (unsigned i = 0; i < PIECES; i++)
        await(behind, &behind->pieces[(behind->next + i) % PIECES]);
    int failure = behind->failure;
    bl_region_free(behind->pieces[0].memory, (size_t)PIECES * BL_WRITE_BEHIND_BYTES);
    bl_free(behind);
    return failure;
}
