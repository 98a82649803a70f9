//===- DivideHostKernels.h - nests to functions over a range of iterations --------------------*- C++ -*-===//
#ifndef GMC_PASSES_LOWERING_DIVIDEHOSTKERNELS_H
#define GMC_PASSES_LOWERING_DIVIDEHOSTKERNELS_H

#include "mlir/Dialect/Func/IR/FuncOps.h"

namespace gmc {

/// One nest of a kernel as a function NAME_i(buffers..., begin, end) that computes iterations [begin, end) of `extent`.
struct HostLaunch {
  std::string function;
  int64_t extent = 0;
  int64_t grain = 1; ///< iterations below which a second thread is not worth its wake-up
};

/// Splits `kernel` (as emitKernel left it) at its top-level scf.parallel nests and erases it. All dimensions of a nest
/// but the last are linearized into the range; the last becomes an inner loop. A one-dimensional nest is divided
/// itself.
llvm::SmallVector<HostLaunch> divideHostKernel(mlir::func::FuncOp kernel);

} // namespace gmc

#endif
