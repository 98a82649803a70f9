//===- FormKernels.h - from nn ops to calls of kernels ----------------------------------------*- C++ -*-===//
#ifndef GMC_PASSES_FUSION_FORMKERNELS_H
#define GMC_PASSES_FUSION_FORMKERNELS_H

#include "dialects/Plan/Plan.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"

namespace gmc {

using plan::kKernelAttr;
/// Attributes on a func.call of a kernel: ONNX node names, the main op's name, and the stage.
inline constexpr llvm::StringLiteral kNodesAttr = "plan.nodes";
inline constexpr llvm::StringLiteral kOpAttr = "plan.op";
inline constexpr llvm::StringLiteral kStageAttr = "plan.stage";
/// Set by differentiation on every op it emits, and by the step builder on ops of the optimizer update.
inline constexpr llvm::StringLiteral kBackwardAttr = "nn.backward";
inline constexpr llvm::StringLiteral kUpdateAttr = "nn.update";

struct FormKernelsOptions {
  bool fuse = true; ///< merge elementwise neighbours; off: one op, one kernel
};

/// Rewrites `function` (pure nn ops) into calls of kernel functions, which are added to the module, one for each
/// distinct computation. What remains beside the calls are views (nn.reshape) and non-splat nn.constants. Elementwise
/// clusters are collapsed to as few dimensions as their broadcasts allow.
llvm::LogicalResult formKernels(mlir::func::FuncOp function, const FormKernelsOptions &options);

/// The ONNX node names in a location, in order, without repetition.
llvm::SmallVector<std::string> nodeNames(mlir::Location loc);

} // namespace gmc

#endif
