# LLVM, MLIR, Protocol Buffers and the ONNX types, as Debian packages them.
find_package(MLIR 22.1 REQUIRED CONFIG HINTS /usr/lib/llvm-22/lib/cmake/mlir)
list(APPEND CMAKE_MODULE_PATH ${MLIR_CMAKE_DIR} ${LLVM_CMAKE_DIR})
set(MLIR_LINK_MLIR_DYLIB ON)
set(LLVM_LINK_LLVM_DYLIB ON)
include(TableGen)
include(AddLLVM)
include(AddMLIR)
# AddLLVM appends its own flags; all we want of it is TableGen and the target wrappers.
find_package(Protobuf REQUIRED)
add_library(GmcMlirDeps INTERFACE)
target_include_directories(GmcMlirDeps SYSTEM INTERFACE ${LLVM_INCLUDE_DIRS} ${MLIR_INCLUDE_DIRS})
target_include_directories(GmcMlirDeps INTERFACE ${CMAKE_BINARY_DIR})
target_link_libraries(GmcMlirDeps INTERFACE MLIR LLVM)
# Generated op classes and the glue around them gain little from -O2 and cost twice the time to build with it.
target_compile_options(GmcMlirDeps INTERFACE -O1)
include_directories(SYSTEM ${LLVM_INCLUDE_DIRS} ${MLIR_INCLUDE_DIRS}) # mlir_tablegen reads the directory property
include_directories(${CMAKE_BINARY_DIR})
