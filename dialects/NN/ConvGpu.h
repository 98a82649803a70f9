//===- ConvGpu.h - what the GPU's convolutions share -------------------------------------------*- C++ -*-===//
#ifndef GMC_DIALECTS_NN_CONVGPU_H
#define GMC_DIALECTS_NN_CONVGPU_H

#include "dialects/NN/ConvKernel.h"
#include "dialects/NN/GpuGemm.h"
#include "mlir/Dialect/Arith/IR/Arith.h"

namespace gmc::nn {

/// 32-bit integer arithmetic: a GPU has no other for integers.
struct Ints {
  mlir::OpBuilder &b;
  mlir::Location loc;

  mlir::Value constant(int64_t value) const { return mlir::arith::ConstantOp::create(b, loc, b.getI32IntegerAttr(value)); }
  mlir::Value from(mlir::Value index) const { return b.createOrFold<mlir::arith::IndexCastOp>(loc, b.getI32Type(), index); }
  mlir::Value toIndex(mlir::Value x) const { return b.createOrFold<mlir::arith::IndexCastOp>(loc, b.getIndexType(), x); }
  mlir::Value add(mlir::Value x, mlir::Value y) const { return b.createOrFold<mlir::arith::AddIOp>(loc, x, y); }
  /// x * scale + offset.
  mlir::Value affine(mlir::Value x, int64_t scale, mlir::Value offset) const {
    return add(b.createOrFold<mlir::arith::MulIOp>(loc, x, constant(scale)), offset);
  }
  mlir::Value affine(mlir::Value x, int64_t scale, int64_t offset) const { return affine(x, scale, constant(offset)); }
  mlir::Value below(mlir::Value x, mlir::Value limit) const {
    return mlir::arith::CmpIOp::create(b, loc, mlir::arith::CmpIPredicate::ult, x, limit);
  }
  /// Position of the x, which is not negative, in `shape`, row-major.
  llvm::SmallVector<mlir::Value> delinearize(mlir::Value x, llvm::ArrayRef<int64_t> shape) const;
  mlir::Value linearize(llvm::ArrayRef<mlir::Value> at, llvm::ArrayRef<int64_t> shape) const;
};

llvm::SmallVector<int64_t> prepend(std::initializer_list<int64_t> first, llvm::ArrayRef<int64_t> rest);

/// Whether the forms for the GPU take a convolution: their indices are 32-bit.
bool gpuConvTiles(const ConvShape &shape);
/// Below this many rows a tile would be mostly empty.
constexpr int64_t fewRows = 4;

/// Both, or the one that is not null.
mlir::Value both(mlir::OpBuilder &b, mlir::Location loc, mlir::Value x, mlir::Value y);
/// `value` where `inside` (null: everywhere), zero elsewhere.
mlir::Value orZero(mlir::OpBuilder &b, mlir::Location loc, mlir::Value inside, mlir::Value value);
/// `value` where `inside` (null: everywhere), elsewhere its first `from` elements and zeros.
mlir::Value zeroFrom(mlir::OpBuilder &b, mlir::Location loc, int64_t from, mlir::Value inside, mlir::Value value);
/// Scalars or vectors, a power of two of them, as one vector, or what they are if there is one of one.
mlir::Value concatenate(mlir::OpBuilder &b, mlir::Location loc, llvm::ArrayRef<mlir::Value> parts);

} // namespace gmc::nn

#endif
