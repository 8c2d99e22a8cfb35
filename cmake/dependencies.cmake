# What Rondo is built on. ./bootstrap puts what the system has not, or only too old, under
# build/deps of the source folder, where every build folder finds it.
list(PREPEND CMAKE_PREFIX_PATH
  ${PROJECT_SOURCE_DIR}/build/deps/onednn
  ${PROJECT_SOURCE_DIR}/build/deps/hwy
  ${PROJECT_SOURCE_DIR}/build/deps/catch2/usr)
set(CMAKE_FIND_PACKAGE_TARGETS_GLOBAL ON)  # for those who add_subdirectory() this
set(THREADS_PREFER_PTHREAD_FLAG ON)

find_package(Threads REQUIRED)
find_package(hwy 1.2 CONFIG REQUIRED)
find_package(Eigen3 3.4 CONFIG REQUIRED)
find_package(Protobuf 3.21 REQUIRED)
find_package(nlohmann_json 3.11 CONFIG REQUIRED)

set(RONDO_DNNL "")
if(RONDO_ONEDNN)
  find_package(dnnl 3 CONFIG REQUIRED)
  set(RONDO_DNNL DNNL::dnnl)
endif()

find_path(RANDOM123_INCLUDE_DIR Random123/philox.h REQUIRED)
add_library(rondo_random123 INTERFACE)
target_include_directories(rondo_random123 SYSTEM INTERFACE ${RANDOM123_INCLUDE_DIR})

if(RONDO_TOOLS)
  find_package(CLI11 2 CONFIG REQUIRED)
  find_package(fmt 9 CONFIG REQUIRED)
endif()
if(RONDO_TESTS)
  find_package(Catch2 3 CONFIG REQUIRED)
  find_package(Python3 REQUIRED COMPONENTS Interpreter)
endif()
