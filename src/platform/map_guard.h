/* SPDX-License-Identifier: MIT */
/* map_guard.h -- a store to a mapped log must not kill the process.
 *
 * Where the disk cannot give a page of a shared map (an I/O error, a full file system below a sparse file, a
 * file that somebody cut), the kernel sends SIGBUS. For a registered range the handler puts an anonymous page
 * in the place, sets the range's flag, and lets the store go on; who commits looks at the flag before it
 * publishes. Any other SIGBUS goes to the handler that was there before, or kills the process as it would
 * have done. */
#ifndef BL_PLATFORM_MAP_GUARD_H
#define BL_PLATFORM_MAP_GUARD_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>

/* Guard [data, data + length), both multiples of the page size. The handler is installed by the first call,
 * for good. `failed` must live until unregister. False when no handler could be installed or 256 ranges are
 * guarded: do not map then. Any thread. */
bool bl_map_guard_register(void *data, size_t length, _Atomic bool *failed);
/* No thread may be storing into the range any more. Does nothing for a range that is not registered. */
void bl_map_guard_unregister(void *data);

#endif
