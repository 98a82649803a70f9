//===- KernelSupport.h - kernel pieces shared by the op groups --------------------------------*- C++ -*-===//
#ifndef GMC_DIALECTS_NN_KERNELSUPPORT_H
#define GMC_DIALECTS_NN_KERNELSUPPORT_H

#include "dialects/NN/NN.h"
#include "dialects/NN/Scalar.h"

namespace gmc::nn {

class GpuRow;

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

/// Reads (writes) the element of operand (result) `i` at row-major position `linear`. In a one-dimensional nest this
/// vectorizes whatever the shape.
mlir::Value loadFlat(KernelBuilder &kernel, mlir::OpBuilder &b, mlir::Location loc, unsigned i, mlir::Value linear);
void storeFlat(KernelBuilder &kernel, mlir::OpBuilder &b, mlir::Location loc, mlir::Value value, unsigned i,
               mlir::Value linear);
/// On the host: asks for the row of `size` elements that begins at element `first` of an operand, to come from memory
/// while another row is worked on. The processor's own prefetching ends where a row does. Nothing for rows that it is
/// far enough ahead of.
void prefetchRow(KernelBuilder &kernel, mlir::OpBuilder &b, mlir::Location loc, unsigned operand, mlir::Value first,
                 int64_t size);
/// The row behind row `index` of an operand that is rows of `size` elements.
void prefetchNextRow(KernelBuilder &kernel, mlir::OpBuilder &b, mlir::Location loc, unsigned operand, mlir::Value index,
                     int64_t size);
/// A buffer's elements as one dimension.
mlir::Value flatten(mlir::OpBuilder &b, mlir::Location loc, mlir::Value buffer);
/// A buffer's elements under another static shape.
mlir::Value reshapeBuffer(mlir::OpBuilder &b, mlir::Location loc, mlir::Value buffer, llvm::ArrayRef<int64_t> shape);

mlir::Value loadWorkspace(mlir::OpBuilder &b, mlir::Location loc, mlir::Value buffer, mlir::ValueRange indices);
void storeWorkspace(mlir::OpBuilder &b, mlir::Location loc, mlir::Value value, mlir::Value buffer,
                    mlir::ValueRange indices);
/// if (cond) then() else otherwise().
void ifElse(mlir::OpBuilder &b, mlir::Location loc, mlir::Value cond,
            llvm::function_ref<void(mlir::OpBuilder &, mlir::Location)> then,
            llvm::function_ref<void(mlir::OpBuilder &, mlir::Location)> otherwise);

/// A nest with an iteration for each index of `shape`; `body` gets it and its row-major number. On the host iterations
/// are numbers, which are divided evenly among the threads; on a GPU they are indices, from which WidenGpuNests sees
/// that neighbours access neighbours.
void overPositions(
    KernelBuilder &kernel, llvm::ArrayRef<int64_t> shape,
    llvm::function_ref<void(mlir::OpBuilder &, mlir::Location, llvm::ArrayRef<mlir::Value>, mlir::Value)> body);

/// `others` with `index` inserted at position `axis`.
mlir::Value insertIndex(llvm::SmallVectorImpl<mlir::Value> &indices, llvm::ArrayRef<mlir::Value> others, int64_t axis,
                        mlir::Value index);

/// Emits the nest that sums the `count` numbers of workspace `i` in f64 and stores the total as result `i`, of one
/// element.
void storeTotal(KernelBuilder &kernel, unsigned i, int64_t count);

/// Element `i` along `axis` of an operand, at the position `others` of the other axes, converted to `type`.
Scalar loadAlong(KernelBuilder &kernel, mlir::OpBuilder &b, mlir::Location loc, unsigned operand,
                 llvm::ArrayRef<mlir::Value> others, int64_t axis, mlir::Value i, mlir::Type type);

/// Largest element along `axis` of operand 0, at the position `row` of the other axes, for a softmax: where there is a
/// NaN, another element may be the largest, because the sum of exponentials is a NaN in any case.
mlir::Value softmaxMax(KernelBuilder &kernel, mlir::OpBuilder &b, mlir::Location loc, llvm::ArrayRef<mlir::Value> row,
                       int64_t axis, int64_t classes, mlir::Type type);

/// exp(x) of x <= 0 in fewer operations than math.exp where the host computes in f32: within 0.9 units in the last
/// place, 0 below the smallest normal number, NaN of NaN.
Scalar expOfNonPositive(KernelBuilder &kernel, Scalar x);

/// Largest element and sum of exp(x - largest) along `axis` of operand 0, at the position `row` of the other axes.
struct RowStatistics {
  mlir::Value max, sum;
};
RowStatistics softmaxStatistics(KernelBuilder &kernel, mlir::OpBuilder &b, mlir::Location loc,
                                llvm::ArrayRef<mlir::Value> row, int64_t axis, int64_t classes, mlir::Type type);
/// The same of operand 0's row.
RowStatistics softmaxStatistics(GpuRow &row, mlir::OpBuilder &b, mlir::Location loc, mlir::Type type);

} // namespace gmc::nn

#endif
