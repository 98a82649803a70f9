//===- DivideGpuKernels.h - nests to functions of one iteration -------------------------------*- C++ -*-===//
#ifndef GMC_PASSES_LOWERING_DIVIDEGPUKERNELS_H
#define GMC_PASSES_LOWERING_DIVIDEGPUKERNELS_H

#include "mlir/Dialect/Func/IR/FuncOps.h"

namespace gmc {

/// One nest of a kernel as a function NAME_i(buffers..., iteration) that computes one of `extent` iterations.
struct GpuLaunch {
  std::string function;
  int64_t extent = 0;
};

/// Splits `kernel` (as emitKernel left it) at its top-level scf.parallel nests and erases it. All dimensions are linearized, the
/// last one fastest, so that neighbouring threads touch neighbouring elements.
llvm::SmallVector<GpuLaunch> divideGpuKernel(mlir::func::FuncOp kernel);

} // namespace gmc

#endif
