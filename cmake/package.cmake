# cmake --install: headers, archive, tool, and a package for find_package(rondo). oneDNN and Highway
# go beside them where ./bootstrap fetched them; the system's are left where they are.
include(CMakePackageConfigHelpers)

set(package_dir ${CMAKE_INSTALL_LIBDIR}/cmake/rondo)
set(bundle_dir ${CMAKE_INSTALL_LIBDIR}/rondo)

install(FILES rondo.h DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}/rondo)
install(DIRECTORY graph ops autodiff proto runtime
  DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}/rondo FILES_MATCHING PATTERN *.h PATTERN *.def)
install(TARGETS rondo EXPORT rondo)
install(EXPORT rondo NAMESPACE rondo:: FILE rondoTargets.cmake DESTINATION ${package_dir})
install(FILES LICENSE TYPE DOC)

# bundle(TARGET KIND): installs a library of build/deps beside ours; RONDO_BUNDLED names those.
set(RONDO_BUNDLED "")
function(bundle target kind)
  get_target_property(file ${target} LOCATION)
  string(FIND "${file}" "${PROJECT_SOURCE_DIR}/build/deps/" where)
  if(NOT where EQUAL 0)
    return()
  endif()
  file(REAL_PATH ${file} real)
  cmake_path(GET real FILENAME name)
  install(FILES ${real} DESTINATION ${bundle_dir})
  if(kind STREQUAL SHARED)  # under the name that programs ask for
    get_target_property(soname ${target} IMPORTED_SONAME_RELEASE)
    install(CODE "file(CREATE_LINK ${name}
      \"\$ENV{DESTDIR}\${CMAKE_INSTALL_PREFIX}/${bundle_dir}/${soname}\" SYMBOLIC)")
    set(name ${soname})
  endif()
  set(RONDO_BUNDLED "${RONDO_BUNDLED}rondo_bundled(${target} ${kind} ${name})\n" PARENT_SCOPE)
endfunction()
bundle(hwy::hwy STATIC)
if(RONDO_ONEDNN)
  bundle(DNNL::dnnl SHARED)
endif()

if(TARGET rondo_cli)
  file(RELATIVE_PATH to_bundle /${CMAKE_INSTALL_BINDIR} /${bundle_dir})
  set_target_properties(rondo_cli PROPERTIES INSTALL_RPATH "$ORIGIN/${to_bundle}")
  install(TARGETS rondo_cli)
endif()

configure_package_config_file(${CMAKE_CURRENT_LIST_DIR}/rondoConfig.cmake.in
  ${PROJECT_BINARY_DIR}/rondoConfig.cmake INSTALL_DESTINATION ${package_dir}
  PATH_VARS bundle_dir NO_CHECK_REQUIRED_COMPONENTS_MACRO)
write_basic_package_version_file(${PROJECT_BINARY_DIR}/rondoConfigVersion.cmake
  COMPATIBILITY SameMinorVersion)
install(FILES ${PROJECT_BINARY_DIR}/rondoConfig.cmake ${PROJECT_BINARY_DIR}/rondoConfigVersion.cmake
  DESTINATION ${package_dir})
