# SPDX-License-Identifier: MIT
# The target bole_compiler carries how every C file of the project is compiled: dialect, warnings, checks,
# sanitizers. Whoever links it gets them; nothing of it is installed.

if(NOT CMAKE_BUILD_TYPE AND NOT CMAKE_CONFIGURATION_TYPES)
    set(CMAKE_BUILD_TYPE Release CACHE STRING "Release or Debug" FORCE)
endif()
set(CMAKE_C_STANDARD 11)
set(CMAKE_C_STANDARD_REQUIRED ON)
set(CMAKE_C_EXTENSIONS ON)
set(CMAKE_C_FLAGS_RELEASE "-O2 -g -DNDEBUG")
set(CMAKE_C_FLAGS_DEBUG "-O1 -g -fno-omit-frame-pointer")
set(CMAKE_EXPORT_COMPILE_COMMANDS ON)

add_library(bole_compiler INTERFACE)
target_compile_definitions(bole_compiler INTERFACE _GNU_SOURCE)
target_compile_options(bole_compiler INTERFACE
    -Wall -Wextra -Wpedantic -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wold-style-definition
    -Wpointer-arith -Wcast-qual -Wvla -Wundef -Wformat=2
    -fno-strict-aliasing)
if(BOLE_WERROR)
    target_compile_options(bole_compiler INTERFACE -Werror)
endif()
if(BOLE_CHECKS)
    target_compile_definitions(bole_compiler INTERFACE BL_CHECKS)
endif()

if(BOLE_SANITIZE)
    string(REPLACE ";" "," sanitizers "${BOLE_SANITIZE}")
    target_compile_options(bole_compiler INTERFACE -fsanitize=${sanitizers} -fno-sanitize-recover=all)
    target_link_options(bole_compiler INTERFACE -fsanitize=${sanitizers})
endif()
if(BOLE_FUZZ)
    if(NOT CMAKE_C_COMPILER_ID MATCHES "Clang")
        message(FATAL_ERROR "BOLE_FUZZ takes clang: the preset `fuzz` has it")
    endif()
    # clang calls null + 0 (an empty slice) an overflow, which gcc and the C standard to come do not; overflows of
    # pointers are looked for in the preset `asan`.
    target_compile_options(bole_compiler INTERFACE -fsanitize=fuzzer-no-link -fno-sanitize=pointer-overflow)
endif()
if(BOLE_COVERAGE)
    # Nothing is optimized, so that each branch of the source is there, and there once.
    target_compile_options(bole_compiler INTERFACE -O0 --coverage -fprofile-update=atomic)
    target_compile_definitions(bole_compiler INTERFACE BL_COVERAGE)
    target_link_options(bole_compiler INTERFACE --coverage)
endif()
if(BOLE_LTO)
    include(CheckIPOSupported)
    check_ipo_supported()
    set(CMAKE_INTERPROCEDURAL_OPTIMIZATION ON)
    # The static library must also serve those who link without LTO.
    if(CMAKE_C_COMPILER_ID STREQUAL "GNU")
        target_compile_options(bole_compiler INTERFACE -ffat-lto-objects)
    endif()
endif()
