# cmake --install: libraries, headers, the program, a CMake package and .pc files.
include(CMakePackageConfigHelpers)
set(package_dir ${CMAKE_INSTALL_LIBDIR}/cmake/deltacnn)
set(libraries deltacnn)
if(DELTACNN_VIDEO)
  list(APPEND libraries deltacnn_video deltacnn_post deltacnn_vision)
  install(TARGETS deltacnn_program RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR})
endif()
install(TARGETS ${libraries} EXPORT deltacnnTargets
  ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR} LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR})
install(DIRECTORY include/deltacnn DESTINATION ${CMAKE_INSTALL_INCLUDEDIR})
install(EXPORT deltacnnTargets NAMESPACE deltacnn:: DESTINATION ${package_dir})
configure_package_config_file(cmake/deltacnnConfig.cmake.in ${PROJECT_BINARY_DIR}/deltacnnConfig.cmake
  INSTALL_DESTINATION ${package_dir})
write_basic_package_version_file(${PROJECT_BINARY_DIR}/deltacnnConfigVersion.cmake COMPATIBILITY SameMinorVersion)
# A .pc file finds its prefix from where it lies, so that the installation may be moved.
file(RELATIVE_PATH pc_to_prefix /${CMAKE_INSTALL_LIBDIR}/pkgconfig /)
set(packages deltacnn)
if(DELTACNN_VIDEO)
  list(APPEND packages deltacnn_vision)
endif()
foreach(package IN LISTS packages)
  configure_file(cmake/${package}.pc.in ${PROJECT_BINARY_DIR}/${package}.pc @ONLY)
  install(FILES ${PROJECT_BINARY_DIR}/${package}.pc DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig)
endforeach()
install(FILES ${PROJECT_BINARY_DIR}/deltacnnConfig.cmake ${PROJECT_BINARY_DIR}/deltacnnConfigVersion.cmake
  DESTINATION ${package_dir})
