//===- GpuCodegen.h - kernels for cuda, and the same kernels on the CPU (sim) -----------------*- C++ -*-===//
#ifndef GMC_COMPILER_CODEGEN_GPUCODEGEN_H
#define GMC_COMPILER_CODEGEN_GPUCODEGEN_H

#include "compiler/Codegen/CudaTools.h"
#include "compiler/Codegen/LoweredHook.h"
#include "compiler/Codegen/ModelImage.h"
#include "mlir/IR/BuiltinOps.h"
#include "llvm/Support/MemoryBuffer.h"

namespace gmc {

struct GpuCodegenOptions {
  std::vector<std::string> archs; ///< sm_XX, ...; cuda only
  CudaTools tools;                ///< cuda only
  enum class Emit { Object, Llvm, Ptx } emit = Emit::Object;
  LoweredHook onLowered; ///< sees the kernels in the llvm dialect, and may refuse them
  bool sanitize = false; ///< sim: instrument for AddressSanitizer, gaps between shared buffers included
};

/// Lowers the kernels that `image` uses for image.target, cuda or sim, and emits them with `gmc_model`. In a parallel
/// nest one thread computes one iteration, and launches are blocks of up to 256 threads; a cooperative nest brings its
/// own blocks.
///
/// cuda: the object holds tables only; GmcModel.image holds PTX of the lowest of `archs` and, with ptxas, a cubin for
/// each (runtime/include/gmc/DeviceImage.h). Mathematical functions come from libdevice: an error when it is needed and
/// not there, or when any other function is left undefined.
///
/// sim: the same LLVM IR compiled for CPUs like this machine's (SimKernels.h). GmcLaunch.fn computes blocks [begin,
/// end).
///
/// Emit::Llvm and Emit::Ptx return the kernels as text instead of an object: the LLVM IR of the lowest architecture;
/// PTX modules, one for each of `archs` from the lowest on, each beginning with its `.version`.
llvm::Expected<std::unique_ptr<llvm::MemoryBuffer>> emitGpuObject(mlir::ModuleOp module, const ModelImage &image,
                                                                  const GpuCodegenOptions &options);

} // namespace gmc

#endif
