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
    # bole.pc finds its prefix from where it lies, so the tree may be moved.
    file(RELATIVE_PATH PREFIX_FROM_PC "/${CMAKE_INSTALL_LIBDIR}/pkgconfig" "/")
    string(REGEX REPLACE "/$" "" PREFIX_FROM_PC "${PREFIX_FROM_PC}")
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

# `make package`: a .deb and a .tar.gz.
set(CPACK_GENERATOR DEB TGZ)
set(CPACK_PACKAGE_CONTACT "bole maintainers")
set(CPACK_PACKAGE_NAME bole)
set(CPACK_PACKAGE_VERSION "${PROJECT_VERSION}")
set(CPACK_PACKAGING_INSTALL_PREFIX /usr)
set(CPACK_RESOURCE_FILE_LICENSE "${PROJECT_SOURCE_DIR}/LICENSE")
set(CPACK_DEBIAN_PACKAGE_SHLIBDEPS ON)
set(CPACK_DEBIAN_PACKAGE_SECTION database)
set(CPACK_DEBIAN_FILE_NAME DEB-DEFAULT)
include(CPack)
