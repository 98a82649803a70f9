//===- NormAccess.h - what the kernels of batch and group normalization share -----------------*- C++ -*-===//
#ifndef GMC_DIALECTS_NN_NORMACCESS_H
#define GMC_DIALECTS_NN_NORMACCESS_H

#include "dialects/NN/Fold.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"

namespace gmc::nn {

/// Loads and stores of one kernel in the type that statistics are computed in.
struct Access {
  KernelBuilder &kernel;
  mlir::Type type; ///< of all arithmetic

  Scalar load(mlir::OpBuilder &b, mlir::Location loc, unsigned i, mlir::ValueRange at) const {
    return convert(Scalar(b, loc, kernel.load(b, loc, i, at)), type);
  }
  void store(Scalar v, unsigned i, mlir::ValueRange at) const {
    kernel.store(v.builder(), v.getLoc(), convert(v, kernel.resultElementType(i)).value(), i, at);
  }
  /// A result that an earlier nest of this kernel wrote.
  Scalar loadResult(mlir::OpBuilder &b, mlir::Location loc, unsigned i, mlir::ValueRange at) const {
    return convert(Scalar(b, loc, mlir::memref::LoadOp::create(b, loc, kernel.resultBuffer(i), at)), type);
  }
};
/// Bounds of everything but the channel: batch and spatial axes of `shape`.
inline Bounds channelBounds(mlir::OpBuilder &b, mlir::Location loc, llvm::ArrayRef<int64_t> shape) {
  llvm::SmallVector<int64_t> sizes{shape[0]};
  llvm::append_range(sizes, shape.drop_front(2));
  return fullBounds(b, loc, sizes);
}
/// Indices of x from those of channelBounds and the channel.
inline llvm::SmallVector<mlir::Value> channelIndices(mlir::ValueRange at, mlir::Value channel) {
  llvm::SmallVector<mlir::Value> indices{at[0], channel};
  llvm::append_range(indices, at.drop_front());
  return indices;
}

inline Scalar invStd(Scalar variance, double epsilon) { return 1.0 / sqrt(variance + epsilon); }

} // namespace gmc::nn

#endif
