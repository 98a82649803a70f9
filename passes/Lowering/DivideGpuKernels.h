//===- DivideGpuKernels.h - nests to functions that are GPU kernels ---------------------------*- C++ -*-===//
#ifndef GMC_PASSES_LOWERING_DIVIDEGPUKERNELS_H
#define GMC_PASSES_LOWERING_DIVIDEGPUKERNELS_H

#include "passes/Lowering/KernelTraffic.h"

namespace gmc {

/// One nest of a kernel as a function.
///   threads = 0: NAME_i(buffers..., iteration) computes one of `extent` iterations.
///   threads > 0: NAME_i(buffers...) is what one thread of one of `extent` blocks does.
struct GpuLaunch {
  std::string function;
  int64_t extent = 0, threads = 0;
  int64_t resident = 1; ///< blocks that a multiprocessor must be able to hold at once
  llvm::SmallVector<BufferTraffic> traffic; ///< the bytes that it must move
};

/// Splits `kernel` (as emitKernel left it) at its top-level nests and erases it. All dimensions of an scf.parallel are
/// linearized, the last one fastest, so that neighbouring threads touch neighbouring elements. In a gpu.launch, ids
/// become reads of special registers, and buffers of the block memref.global in address space 3. Fails, with an error
/// at the kernel, where a launch exceeds what every GPU can do.
llvm::FailureOr<llvm::SmallVector<GpuLaunch>> divideGpuKernel(mlir::func::FuncOp kernel);

} // namespace gmc

#endif
