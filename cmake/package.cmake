# cmake --install: headers, libraries, tool, and packages for find_package(rondo) and pkg-config,
# which work wherever the folder is moved. oneDNN and Highway go beside them where ./bootstrap
# fetched them; the system's are left where they are.
#
# Components: development (what each needs), static, shared, tool.
include(CMakePackageConfigHelpers)

set(CMAKE_INSTALL_DEFAULT_COMPONENT_NAME development)
set(package_dir ${CMAKE_INSTALL_LIBDIR}/cmake/rondo)
set(bundle_dir ${CMAKE_INSTALL_LIBDIR}/rondo)

install(FILES rondo.h DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}/rondo)
install(DIRECTORY graph ops autodiff proto runtime
  DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}/rondo FILES_MATCHING PATTERN *.h PATTERN *.def)
install(FILES LICENSE TYPE DOC)

# bundle(TARGET KIND COMPONENT): installs a library of build/deps beside ours; RONDO_BUNDLED names
# those for CMake, RONDO_PC_LIBS all for pkg-config.
set(RONDO_BUNDLED "")
set(RONDO_PC_LIBS "")
function(bundle target kind component)
  get_target_property(file ${target} LOCATION)
  file(REAL_PATH ${file} real)
  cmake_path(GET real FILENAME name)
  string(FIND "${file}" "${PROJECT_SOURCE_DIR}/build/deps/" where)
  if(NOT where EQUAL 0)
    string(REGEX REPLACE "^lib([^.]+)\\..*" "-l\\1" library ${name})
    set(RONDO_PC_LIBS "${RONDO_PC_LIBS} ${library}" PARENT_SCOPE)
    return()
  endif()
  install(FILES ${real} DESTINATION ${bundle_dir} COMPONENT ${component})
  set(rpath "")
  if(kind STREQUAL SHARED)  # under the name that programs ask for
    get_target_property(soname ${target} IMPORTED_SONAME_RELEASE)
    install(CODE "file(CREATE_LINK ${name}
      \"\$ENV{DESTDIR}\${CMAKE_INSTALL_PREFIX}/${bundle_dir}/${soname}\" SYMBOLIC)"
      COMPONENT ${component})
    set(name ${soname})
    set(rpath " -Wl,-rpath,\${libdir}/rondo")
  endif()
  set(RONDO_BUNDLED "${RONDO_BUNDLED}rondo_bundled(${target} ${kind} ${name})\n" PARENT_SCOPE)
  set(RONDO_PC_LIBS "${RONDO_PC_LIBS} \${libdir}/rondo/${name}${rpath}" PARENT_SCOPE)
endfunction()
bundle(hwy::hwy STATIC static)
if(RONDO_ONEDNN)
  bundle(DNNL::dnnl SHARED development)
endif()

# A kind of library, with its targets for CMake and its rondo.pc: of both, the shared one's stays.
function(install_library target kind)
  install(TARGETS ${target} EXPORT ${target} COMPONENT ${kind})
  install(EXPORT ${target} NAMESPACE rondo:: FILE rondo-${kind}.cmake
    DESTINATION ${package_dir} COMPONENT ${kind})
  configure_file(${PROJECT_SOURCE_DIR}/cmake/rondo.pc.in ${PROJECT_BINARY_DIR}/rondo-${kind}.pc @ONLY)
  install(FILES ${PROJECT_BINARY_DIR}/rondo-${kind}.pc RENAME rondo.pc
    DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig COMPONENT ${kind})
endfunction()
cmake_path(RELATIVE_PATH CMAKE_INSTALL_FULL_INCLUDEDIR
  BASE_DIRECTORY ${CMAKE_INSTALL_FULL_LIBDIR}/pkgconfig OUTPUT_VARIABLE include_from_pc)
# Whoever links the archive links what it needs.
set(private "")
set(needs "")
install_library(rondo static)
if(RONDO_SHARED)
  set(private .private)
  set(needs "\nLibs.private:")
  set_target_properties(rondo_shared PROPERTIES INSTALL_RPATH "$ORIGIN/rondo")
  install_library(rondo_shared shared)
endif()

if(TARGET rondo_cli)
  file(RELATIVE_PATH to_bundle /${CMAKE_INSTALL_BINDIR} /${bundle_dir})
  set_target_properties(rondo_cli PROPERTIES INSTALL_RPATH "$ORIGIN/${to_bundle}")
  install(TARGETS rondo_cli COMPONENT tool)
endif()

configure_package_config_file(${CMAKE_CURRENT_LIST_DIR}/rondoConfig.cmake.in
  ${PROJECT_BINARY_DIR}/rondoConfig.cmake INSTALL_DESTINATION ${package_dir}
  PATH_VARS bundle_dir NO_CHECK_REQUIRED_COMPONENTS_MACRO)
write_basic_package_version_file(${PROJECT_BINARY_DIR}/rondoConfigVersion.cmake
  COMPATIBILITY SameMinorVersion)
install(FILES ${PROJECT_BINARY_DIR}/rondoConfig.cmake ${PROJECT_BINARY_DIR}/rondoConfigVersion.cmake
  DESTINATION ${package_dir})
