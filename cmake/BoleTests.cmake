# SPDX-License-Identifier: MIT
# Tests: one program a file, linked with the static library (every symbol), run by ctest with a time limit.

set(BOLE_TEST_SECONDS 120 CACHE STRING "a test that takes longer has failed")
if(BOLE_SANITIZE OR BOLE_COVERAGE)
    set(test_seconds 900)
else()
    set(test_seconds ${BOLE_TEST_SECONDS})
endif()

# bole_add_test(NAME FILE [LABEL]) registers one program.
function(bole_add_test name file)
    add_executable(${name} "${file}" ${BOLE_TEST_SUPPORT})
    target_include_directories(${name} PRIVATE "${PROJECT_SOURCE_DIR}/src" "${PROJECT_SOURCE_DIR}/tests")
    target_compile_definitions(${name} PRIVATE BOLE_SOURCE_DIR="${PROJECT_SOURCE_DIR}"
        BOLE_BINARY_DIR="${PROJECT_BINARY_DIR}")
    target_link_libraries(${name} PRIVATE bole_compiler bole_static PkgConfig::CMOCKA PkgConfig::JANSSON
        Threads::Threads)
    if(BOLE_COVERAGE) # what a child of a fork did counts, too: from the fork on, and when it leaves without exit()
        target_compile_options(${name} PRIVATE -fno-builtin-fork) # gcc's own fork clears the counts behind the handlers
        target_sources(${name} PRIVATE "${PROJECT_SOURCE_DIR}/cmake/coverage_exit.c")
        target_link_options(${name} PRIVATE -Wl,--wrap=_exit -Wl,--wrap=abort)
    endif()
    add_test(NAME ${name} COMMAND ${name})
    set(environment "ASAN_OPTIONS=detect_stack_use_after_return=1:strict_string_checks=1"
        "UBSAN_OPTIONS=print_stacktrace=1" "TSAN_OPTIONS=halt_on_error=1:second_deadlock_stack=1")
    set_tests_properties(${name} PROPERTIES TIMEOUT ${test_seconds} ENVIRONMENT "${environment}")
    if(ARGC GREATER 2)
        set_tests_properties(${name} PROPERTIES LABELS "${ARGV2}")
    endif()
endfunction()

# bole_add_test_folder(FOLDER [LABEL]) registers every test_*.c in it; other .c files there help all of them.
function(bole_add_test_folder folder)
    file(GLOB tests CONFIGURE_DEPENDS "${PROJECT_SOURCE_DIR}/${folder}/test_*.c")
    file(GLOB all CONFIGURE_DEPENDS "${PROJECT_SOURCE_DIR}/${folder}/*.c")
    list(REMOVE_ITEM all ${tests})
    set(BOLE_TEST_SUPPORT ${all})
    foreach(file IN LISTS tests)
        get_filename_component(name "${file}" NAME_WE)
        bole_add_test(${name} "${file}" ${ARGN})
    endforeach()
endfunction()
