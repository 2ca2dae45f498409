/* SPDX-License-Identifier: MIT */
/* fuzz.h -- what every fuzz target shares: a check that ends the process, an input that is eaten from the front, and
 * a watch over memory.
 *
 * A target is one function over one input, with no state from one input to the next. Its first bytes say how the rest
 * is to be read; FUZZ_MEND among them asks the target to make the checksums right, so that what lies behind them is
 * reached, too. Every target checks more than that nothing crashes. */
#ifndef BOLE_FUZZ_H
#define BOLE_FUZZ_H

#include <bole/bole_vfs.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* libFuzzer, AFL++ and standalone.c call these two. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerInitialize(int *count, char ***arguments); /* only where a target has something to prepare */

/* What must hold for every input. */
#define fuzz_check(condition) \
    ((condition) ? (void)0 : fuzz_fail(#condition, NULL, __FILE__, __LINE__))
#define fuzz_check_ok(status, error) \
    ((status) == BOLE_OK ? (void)0 : fuzz_fail(#status, (error), __FILE__, __LINE__))
_Noreturn void fuzz_fail(const char *what, const bole_error *error, const char *file, int line);

/* ---- Input, from the front; behind its end everything is zero ---- */

typedef struct fuzz_input {
    const uint8_t *data;
    size_t size;
} fuzz_input;
uint8_t fuzz_u8(fuzz_input *input);
uint64_t fuzz_number(fuzz_input *input, unsigned bytes); /* little-endian */
bole_slice fuzz_bytes(fuzz_input *input, size_t count);  /* fewer where the input ends */

enum { FUZZ_MEND = 1 }; /* bit of the first byte: make checksums right */

/* ---- Memory: from begin on every allocation of library and target is counted (memory.c) ---- */

void fuzz_memory_begin(void);
uint64_t fuzz_memory_peak(void); /* most bytes alive at a time since begin, beyond what was */
int64_t fuzz_memory_left(void);  /* bytes alive now, beyond what was */
/* Nothing of the library's is left from after begin, and the peak was at most times * input_bytes + plus. */
void fuzz_memory_end(size_t input_bytes, size_t times, size_t plus);

/* ---- A disk in memory with one directory, "store" ---- */

#define FUZZ_DIRECTORY "store"
bole_vfs *fuzz_disk(uint64_t seed);
void fuzz_file_write(bole_vfs *vfs, const char *path, const void *data, size_t size);
uint8_t *fuzz_file_read(bole_vfs *vfs, const char *path, size_t *size); /* bl_free */

#endif
