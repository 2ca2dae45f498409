# SPDX-License-Identifier: MIT
# bole_embed_file(TARGET FILE SYMBOL): the bytes of FILE become `const unsigned char SYMBOL[]` and `const size_t
# SYMBOL_size` of TARGET, made anew whenever FILE changes. Run as a script (cmake -P) this file writes the C source.
if(CMAKE_SCRIPT_MODE_FILE)
    file(READ "${INPUT}" digits HEX)
    string(REGEX REPLACE "(................................)" "\\1\n" digits "${digits}")
    string(REGEX REPLACE "([0-9a-f][0-9a-f])" "0x\\1," bytes "${digits}")
    get_filename_component(name "${INPUT}" NAME)
    file(WRITE "${OUTPUT}" "/* Made from ${name}. */\n#include <stddef.h>\n\nextern const unsigned char ${SYMBOL}[];\n"
        "extern const size_t ${SYMBOL}_size;\nconst unsigned char ${SYMBOL}[] = {\n${bytes}\n};\n"
        "const size_t ${SYMBOL}_size = sizeof(${SYMBOL});\n")
    return()
endif()

set(BOLE_EMBED_SCRIPT "${CMAKE_CURRENT_LIST_FILE}")
function(bole_embed_file target file symbol)
    set(output "${CMAKE_CURRENT_BINARY_DIR}/${symbol}.c")
    add_custom_command(OUTPUT "${output}"
        COMMAND "${CMAKE_COMMAND}" "-DINPUT=${file}" "-DOUTPUT=${output}" "-DSYMBOL=${symbol}" -P "${BOLE_EMBED_SCRIPT}"
        DEPENDS "${file}" "${BOLE_EMBED_SCRIPT}" VERBATIM)
    target_sources(${target} PRIVATE "${output}")
endfunction()
