/* SPDX-License-Identifier: MIT */
/* coverage_exit.c -- in the build that counts lines: _exit and abort save the counts before the process ends.
 *
 * Tests are linked with --wrap=_exit and --wrap=abort. Without this, what the children of a fork did would be missing:
 * the counts are saved by exit() only. */
#include <stdlib.h>

void __gcov_dump(void);
_Noreturn void __real__exit(int status);
_Noreturn void __real_abort(void);
_Noreturn void __wrap__exit(int status);
_Noreturn void __wrap_abort(void);

_Noreturn void __wrap__exit(int status)
{
    __gcov_dump();
    __real__exit(status);
}

_Noreturn void __wrap_abort(void)
{
    __gcov_dump();
    __real_abort();
}
