/* SPDX-License-Identifier: MIT */
/* fuzz.c -- what every fuzz target shares, see fuzz.h.
 *
 * THREADS One. */
#include "fuzz.h"

#include "base/alloc.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

_Noreturn void fuzz_fail(const char *what, const bole_error *error, const char *file, int line)
{
    fprintf(stderr, "%s:%d: does not hold: %s%s%s\n", file, line, what, error != NULL ? ": " : "",
            error != NULL ? error->message : "");
    fflush(stderr);
    abort();
}

uint8_t fuzz_u8(fuzz_input *input) { return (uint8_t)fuzz_number(input, 1); }

uint64_t fuzz_number(fuzz_input *input, unsigned bytes)
{
    uint64_t number = 0;
    bole_slice from = fuzz_bytes(input, bytes);
    for (size_t i = from.size; i-- > 0;)
        number = number << 8 | ((const uint8_t *)from.data)[i];
    return number;
}

bole_slice fuzz_bytes(fuzz_input *input, size_t count)
{
    size_t size = count < input->size ? count : input->size;
    bole_slice bytes = { input->data, size };
    if (size != 0) {
        input->data += size;
        input->size -= size;
    }
    return bytes;
}

bole_vfs *fuzz_disk(uint64_t seed)
{
    bole_vfs *disk = NULL;
    bole_error error = BOLE_ERROR_INIT;
    fuzz_check_ok(bole_vfs_memory_create(seed, &disk), NULL);
    fuzz_check_ok(disk->make_directory(disk, FUZZ_DIRECTORY, &error), &error);
    fuzz_check_ok(disk->sync_directory(disk, ".", &error), &error);
    return disk;
}

void fuzz_file_write(bole_vfs *vfs, const char *path, const void *data, size_t size)
{
    bole_file *file = NULL;
    bole_error error = BOLE_ERROR_INIT;
    uint32_t flags = BOLE_VFS_WRITE | BOLE_VFS_CREATE | BOLE_VFS_TRUNCATE;
    fuzz_check_ok(vfs->open(vfs, path, flags, &file, &error), &error);
    if (size != 0)
        fuzz_check_ok(vfs->write(file, 0, data, size, &error), &error);
    fuzz_check_ok(vfs->close(file, &error), &error);
}

uint8_t *fuzz_file_read(bole_vfs *vfs, const char *path, size_t *size)
{
    bole_file *file = NULL;
    bole_error error = BOLE_ERROR_INIT;
    uint64_t length = 0;
    fuzz_check_ok(vfs->open(vfs, path, BOLE_VFS_READ, &file, &error), &error);
    fuzz_check_ok(vfs->length(file, &length, &error), &error);
    uint8_t *data = bl_alloc((size_t)length);
    fuzz_check(data != NULL);
    fuzz_check_ok(vfs->read(file, 0, data, (size_t)length, size, &error), &error);
    fuzz_check(*size == length);
    fuzz_check_ok(vfs->close(file, &error), &error);
    return data;
}
