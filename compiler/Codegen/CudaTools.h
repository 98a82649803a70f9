//===- CudaTools.h - what of a CUDA toolkit is on this machine --------------------------------*- C++ -*-===//
#ifndef GMC_COMPILER_CODEGEN_CUDATOOLS_H
#define GMC_COMPILER_CODEGEN_CUDATOOLS_H

#include "llvm/Support/Error.h"
#include <cstdint>
#include <string>
#include <vector>

namespace gmc {

/// Paths of the two files that code generation for cuda can use; empty where they are not found.
struct CudaTools {
  std::string libdevice; ///< nvvm/libdevice/libdevice.10.bc: exact mathematical functions
  std::string ptxas;     ///< PTX to machine code

  bool any() const { return !libdevice.empty() || !ptxas.empty(); }
};

/// Looks in CUDA_HOME, CUDA_PATH and /usr/local/cuda, in this order, and for ptxas on the PATH last.
CudaTools findCudaTools();

/// sm_XX as a number (sm_75: 75, sm_120: 120); an error for architectures this release does not generate code for.
llvm::Expected<uint32_t> parseSm(llvm::StringRef arch);

/// The PTX version, as LLVM's feature, that knows architecture `sm`: LLVM aborts on one that is too low.
std::string ptxFeature(uint32_t sm);

/// Machine code for `sm` of `ptx` by ptxas; its messages are the error's text.
llvm::Expected<std::vector<char>> assemblePtx(llvm::StringRef ptx, uint32_t sm, llvm::StringRef ptxas);

} // namespace gmc

#endif
