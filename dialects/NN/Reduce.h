//===- Reduce.h - reductions over axes, arg-max, cumulative sum -------------------------------*- C++ -*-===//
#ifndef GMC_DIALECTS_NN_REDUCE_H
#define GMC_DIALECTS_NN_REDUCE_H

#include "dialects/NN/NN.h"
#include "dialects/NN/Scalar.h"
#include <functional>

#define GET_OP_CLASSES
#include "dialects/NN/Reduce.h.inc"

namespace gmc::nn {

/// What a reduction folds with: acc = step(acc, x) from init, then an element is finish(acc).
struct Reduction {
  using Step = std::function<Scalar(Scalar acc, Scalar x)>;
  using Finish = std::function<Scalar(Scalar acc)>;
  double init = 0;
  bool sum = true; ///< the fold adds `term(x)`, in any association
  Step step;       ///< unless a sum; also combines two accumulators
  std::function<Scalar(Scalar x)> term; ///< of sums; null: x itself
  Finish finish;                        ///< null: the accumulator itself
};

/// Emits the nests of a reduction of operand 0 over `axes` to result 0.
void emitReduction(KernelBuilder &kernel, llvm::ArrayRef<int64_t> axes, const Reduction &reduction);

/// Workspace that emitReduction uses for an operand of this type.
llvm::SmallVector<int64_t> reduceWorkspace(mlir::RankedTensorType type, llvm::ArrayRef<int64_t> axes,
                                           KernelTarget target);

/// Infers the type of a reduction of `type` over `axes`; errors on axes out of range.
llvm::LogicalResult inferReduce(std::optional<mlir::Location> loc, mlir::RankedTensorType type,
                                llvm::ArrayRef<int64_t> axes, bool keepdims, llvm::SmallVectorImpl<mlir::Type> &types);

} // namespace gmc::nn

#endif
