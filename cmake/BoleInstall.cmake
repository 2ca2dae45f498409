# SPDX-License-Identifier: MIT
# What `make install` puts where: headers, both libraries, the command, bole.pc, the CMake package, man pages,
# licence. DESTDIR and CMAKE_INSTALL_PREFIX are honoured.
include(CMakePackageConfigHelpers)

install(FILES LICENSE DESTINATION "${CMAKE_INSTALL_DOCDIR}")

if(library_sources)
    install(DIRECTORY include/bole DESTINATION "${CMAKE_INSTALL_INCLUDEDIR}" FILES_MATCHING PATTERN "*.h")
    set(package_dir "${CMAKE_INSTALL_LIBDIR}/cmake/bole")
    install(TARGETS bole_shared EXPORT boleSharedTargets LIBRARY DESTINATION "${CMAKE_INSTALL_LIBDIR}")
    install(TARGETS bole_static EXPORT boleStaticTargets ARCHIVE DESTINATION "${CMAKE_INSTALL_LIBDIR}")
    install(EXPORT boleSharedTargets NAMESPACE bole:: DESTINATION "${package_dir}")
    install(EXPORT boleStaticTargets NAMESPACE bole:: DESTINATION "${package_dir}")

    configure_package_config_file(cmake/boleConfig.cmake.in "${PROJECT_BINARY_DIR}/boleConfig.cmake"
        INSTALL_DESTINATION "${package_dir}")
    write_basic_package_version_file("${PROJECT_BINARY_DIR}/boleConfigVersion.cmake" COMPATIBILITY SameMinorVersion)
    configure_file(cmake/bole.pc.in "${PROJECT_BINARY_DIR}/bole.pc" @ONLY)
    install(FILES "${PROJECT_BINARY_DIR}/boleConfig.cmake" "${PROJECT_BINARY_DIR}/boleConfigVersion.cmake"
        DESTINATION "${package_dir}")
    install(FILES "${PROJECT_BINARY_DIR}/bole.pc" DESTINATION "${CMAKE_INSTALL_LIBDIR}/pkgconfig")
endif()

# Manual pages: man/bole.1.scd becomes share/man/man1/bole.1. Without scdoc they are left out.
find_program(SCDOC scdoc)
file(GLOB manual_sources CONFIGURE_DEPENDS man/*.scd)
if(SCDOC AND manual_sources)
    set(manual_pages "")
    foreach(source IN LISTS manual_sources)
        get_filename_component(page "${source}" NAME_WLE)
        string(REGEX MATCH "[0-9]$" section "${page}")
        set(output "${PROJECT_BINARY_DIR}/man/${page}")
        add_custom_command(OUTPUT "${output}" DEPENDS "${source}"
            COMMAND ${CMAKE_COMMAND} -E make_directory "${PROJECT_BINARY_DIR}/man"
            COMMAND sh -c "'${SCDOC}' < '${source}' > '${output}'" VERBATIM)
        list(APPEND manual_pages "${output}")
        install(FILES "${output}" DESTINATION "${CMAKE_INSTALL_MANDIR}/man${section}")
    endforeach()
    add_custom_target(manual ALL DEPENDS ${manual_pages})
endif()
