//===- EmitKernels.h - kernels from tensors to parallel loops over buffers --------------------*- C++ -*-===//
#ifndef GMC_PASSES_LOWERING_EMITKERNELS_H
#define GMC_PASSES_LOWERING_EMITKERNELS_H

#include "dialects/Interfaces/OpInterfaces.h"
#include "dialects/Plan/Plan.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"

namespace gmc {

/// Emits `kernel` (a plan.kernel function on tensors) as a function `name` on buffers: arguments are the distinct
/// buffers of operands and results, then workspaces. `aliases[r]` is the operand whose buffer result r overwrites, or
/// -1; such a result has no argument of its own. The body is a sequence of top-level scf.parallel nests.
mlir::FailureOr<mlir::func::FuncOp> emitKernel(mlir::func::FuncOp kernel, llvm::StringRef name, KernelTarget target,
                                               llvm::ArrayRef<int> aliases);

/// The op of a kernel that is not an elementwise neighbour or constant: it decides workspaces, cost class, in-place.
mlir::Operation *kernelRoot(mlir::func::FuncOp kernel);

/// Bytes of each scratch buffer the kernel wants on `target`.
llvm::SmallVector<int64_t> kernelWorkspaces(mlir::func::FuncOp kernel, KernelTarget target);

/// Operands of the kernel whose buffer result `result` may overwrite.
llvm::SmallVector<unsigned> kernelInPlaceOperands(mlir::func::FuncOp kernel, unsigned result);

using plan::bufferType;

} // namespace gmc

#endif
