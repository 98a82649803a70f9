//===- KernelTraffic.h - the bytes that a launch must move ------------------------------------*- C++ -*-===//
#ifndef GMC_PASSES_LOWERING_KERNELTRAFFIC_H
#define GMC_PASSES_LOWERING_KERNELTRAFFIC_H

#include "mlir/Dialect/Func/IR/FuncOps.h"

namespace gmc {

/// Bytes of one argument that a launch must read from memory and write to it.
struct BufferTraffic {
  unsigned argument = 0;
  int64_t read = 0, written = 0;
};

/// The traffic of `function`, which `threads` threads run (or which is run for as many iterations): of each buffer what
/// is accessed, at most once, in the order of the arguments. Where a loop's length is not known, all of the buffer.
llvm::SmallVector<BufferTraffic> kernelTraffic(mlir::func::FuncOp function, int64_t threads);

} // namespace gmc

#endif
