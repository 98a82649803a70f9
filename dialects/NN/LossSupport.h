//===- LossSupport.h - kernel pieces shared by losses, softmax and row reductions -------------*- C++ -*-===//
#ifndef GMC_DIALECTS_NN_LOSSSUPPORT_H
#define GMC_DIALECTS_NN_LOSSSUPPORT_H

#include "dialects/NN/NN.h"
#include "dialects/NN/Scalar.h"

namespace gmc::nn {

/// The type that statistics and sums of `element` are computed in: f32 for the narrow floats, else the type itself.
inline mlir::Type computeType(mlir::Type element) {
  return element.isF16() || element.isBF16() ? mlir::Float32Type::get(element.getContext()) : signless(element);
}
inline int64_t numElements(llvm::ArrayRef<int64_t> shape) {
  int64_t count = 1;
  for (int64_t dim : shape)
    count *= dim;
  return count;
}

mlir::Value loadWorkspace(mlir::OpBuilder &b, mlir::Location loc, mlir::Value buffer, mlir::ValueRange indices);
void storeWorkspace(mlir::OpBuilder &b, mlir::Location loc, mlir::Value value, mlir::Value buffer,
                    mlir::ValueRange indices);
/// if (cond) then() else otherwise().
void ifElse(mlir::OpBuilder &b, mlir::Location loc, mlir::Value cond,
            llvm::function_ref<void(mlir::OpBuilder &, mlir::Location)> then,
            llvm::function_ref<void(mlir::OpBuilder &, mlir::Location)> otherwise);

/// `others` with `index` inserted at position `axis`.
mlir::Value insertIndex(llvm::SmallVectorImpl<mlir::Value> &indices, llvm::ArrayRef<mlir::Value> others, int64_t axis,
                        mlir::Value index);

/// Where a classification loss finds its operands (-1: absent), and what its labels mean.
struct LabelOperands {
  int labels = -1, weights = -1, validSamples = -1;
  int64_t ignoreIndex = -100, classes = 0;
};

/// One label during a kernel: its indices in the labels, and what it selects.
struct LabelRow {
  LabelRow(KernelBuilder &kernel, mlir::OpBuilder &b, mlir::Location loc, mlir::Value row,
           const LabelOperands &operands);
  /// Weight of the row as `type`: its class weight (1 without), 0 when it is not valid.
  mlir::Value weight(KernelBuilder &kernel, mlir::OpBuilder &b, mlir::Location loc, const LabelOperands &operands,
                     mlir::Type type) const;

  llvm::SmallVector<mlir::Value> indices;
  mlir::Value valid;  ///< i1: counts at all
  mlir::Value inside; ///< i1: is one of the classes
  mlir::Value index;  ///< the class; 0 when it is outside, so that reading with it is safe
};

/// Largest element and sum of exp(x - largest) along `axis` of operand 0, at the position `row` of the other axes.
struct RowStatistics {
  mlir::Value max, sum;
};
RowStatistics softmaxStatistics(KernelBuilder &kernel, mlir::OpBuilder &b, mlir::Location loc,
                                llvm::ArrayRef<mlir::Value> row, int64_t axis, int64_t classes, mlir::Type type);

} // namespace gmc::nn

#endif
