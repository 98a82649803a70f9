//===- Movement.h - ops that move elements without computing ----------------------------------*- C++ -*-===//
#ifndef GMC_DIALECTS_NN_MOVEMENT_H
#define GMC_DIALECTS_NN_MOVEMENT_H

#include "dialects/NN/NN.h"

#define GET_OP_CLASSES
#include "dialects/NN/Movement.h.inc"

namespace gmc::nn {

/// nn.transpose; the value itself for the identity, nn.reshape when only dimensions of size 1 move.
mlir::Value transpose(mlir::OpBuilder &b, mlir::Location loc, mlir::Value x, llvm::ArrayRef<int64_t> perm);

/// `size` elements of `axis` from `start` on, whole in the other dimensions.
mlir::Value sliceAxis(mlir::OpBuilder &b, mlir::Location loc, mlir::Value x, int64_t axis, int64_t start, int64_t size,
                      int64_t step = 1);

/// nn.concat along `axis`; the value itself when there is one.
mlir::Value concat(mlir::OpBuilder &b, mlir::Location loc, mlir::ValueRange inputs, int64_t axis);

/// nn.broadcast_to; the value itself when it has the shape.
mlir::Value broadcastTo(mlir::OpBuilder &b, mlir::Location loc, mlir::Value x, llvm::ArrayRef<int64_t> shape);

/// Constants up to this many elements are moved at compile time.
constexpr int64_t maxFoldedElements = 1 << 16;

/// The constant of `type` whose element i (row-major) is element source(i) of `from`; null when it is too large to be
/// made at compile time.
mlir::DenseElementsAttr gatherConstant(mlir::DenseElementsAttr from, mlir::ShapedType type,
                                       llvm::function_ref<int64_t(int64_t)> source);

/// Row-major index of `indices` in `shape`, and back.
int64_t flatten(llvm::ArrayRef<int64_t> indices, llvm::ArrayRef<int64_t> shape);
llvm::SmallVector<int64_t> unflatten(int64_t linear, llvm::ArrayRef<int64_t> shape);

} // namespace gmc::nn

#endif
