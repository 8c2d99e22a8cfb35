# rondo_layer(FOLDER [INTERNAL] [LIBRARIES ...] [DEFINES ...]): compiles all of a folder, its .proto
# files too, and adds it to RONDO_LAYER_OBJECTS. All it is given is private to the layer. The shared
# library exports what is in namespace rondo (exports.map), but nothing of an INTERNAL layer.
# Who may include whom is not CMake's to say: tests/check_layers.py does.

# One spelling of an include everywhere: <rondo/graph/graph.h>, through links to the folders.
set(RONDO_INCLUDE_DIR ${PROJECT_BINARY_DIR}/include)
file(MAKE_DIRECTORY ${RONDO_INCLUDE_DIR}/rondo)
file(CREATE_LINK ${PROJECT_SOURCE_DIR}/rondo.h ${RONDO_INCLUDE_DIR}/rondo/rondo.h SYMBOLIC)

function(rondo_layer folder)
  cmake_parse_arguments(PARSE_ARGV 1 arg "INTERNAL" "" "LIBRARIES;DEFINES")
  set(target rondo_${folder})
  file(CREATE_LINK ${PROJECT_SOURCE_DIR}/${folder} ${RONDO_INCLUDE_DIR}/rondo/${folder} SYMBOLIC)
  file(GLOB_RECURSE sources CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/${folder}/*.cc)
  if(NOT sources)
    return()
  endif()

  # The test of add_subdirectory() says where another build has compiled a layer, to save the time.
  if(RONDO_OBJECTS_${folder})
    file(GLOB_RECURSE objects ${RONDO_OBJECTS_${folder}}/*.cc.o)
    set(RONDO_LAYER_OBJECTS ${RONDO_LAYER_OBJECTS} ${objects} PARENT_SCOPE)
    return()
  endif()

  add_library(${target} OBJECT ${sources})
  rondo_compile(${target})
  if(NOT arg_INTERNAL)
    set_target_properties(${target} PROPERTIES CXX_VISIBILITY_PRESET default)
    # Exported functions are still inlined and called directly: nobody puts others in their place.
    target_compile_options(${target} PRIVATE -fno-semantic-interposition)
  endif()
  target_include_directories(${target} PRIVATE ${RONDO_INCLUDE_DIR})
  target_link_libraries(${target} PRIVATE ${arg_LIBRARIES})
  target_compile_definitions(${target} PRIVATE ${arg_DEFINES})

  file(GLOB schemas CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/${folder}/*.proto)
  foreach(schema IN LISTS schemas)
    rondo_generate_proto(${target} ${schema})
  endforeach()

  # Other flags need precompiled headers of their own.
  if(TARGET rondo_graph AND NOT folder STREQUAL graph AND NOT arg_INTERNAL)
    target_precompile_headers(${target} REUSE_FROM rondo_graph)
  else()
    target_precompile_headers(${target} PRIVATE
      <algorithm> <cmath> <cstdint> <functional> <map> <memory> <optional> <span> <string>
      <string_view> <unordered_map> <utility> <variant> <vector>)
  endif()
  set(RONDO_LAYER_OBJECTS ${RONDO_LAYER_OBJECTS} $<TARGET_OBJECTS:${target}> PARENT_SCOPE)
endfunction()

# x.proto becomes x.pb.h and x.pb.cc, included as "x.pb.h" and seen by this target alone.
function(rondo_generate_proto target schema)
  cmake_path(GET schema STEM name)
  cmake_path(GET schema PARENT_PATH folder)
  set(out ${PROJECT_BINARY_DIR}/generated/${target})
  file(MAKE_DIRECTORY ${out})
  add_custom_command(
    OUTPUT ${out}/${name}.pb.cc ${out}/${name}.pb.h
    COMMAND protobuf::protoc --cpp_out=${out} -I ${folder} ${schema}
    DEPENDS ${schema} protobuf::protoc
    VERBATIM)
  target_sources(${target} PRIVATE ${out}/${name}.pb.cc)
  set_source_files_properties(${out}/${name}.pb.cc PROPERTIES
    SKIP_PRECOMPILE_HEADERS ON COMPILE_OPTIONS "-w;-fvisibility=hidden")
  target_include_directories(${target} SYSTEM PRIVATE ${out})
endfunction()
