//===- GpuSupport.h - what kernels for the GPU are written with --------------------------------*- C++ -*-===//
#ifndef GMC_DIALECTS_NN_GPUSUPPORT_H
#define GMC_DIALECTS_NN_GPUSUPPORT_H

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/IR/Builders.h"
#include "mlir/IR/ValueRange.h"

namespace gmc::nn {

/// 32-bit integer arithmetic: a GPU has no other for integers.
struct Ints {
  mlir::OpBuilder &b;
  mlir::Location loc;

  mlir::Value constant(int64_t value) const {
    return mlir::arith::ConstantOp::create(b, loc, b.getI32IntegerAttr(value));
  }
  mlir::Value from(mlir::Value index) const {
    return b.createOrFold<mlir::arith::IndexCastOp>(loc, b.getI32Type(), index);
  }
  mlir::Value toIndex(mlir::Value x) const {
    return b.createOrFold<mlir::arith::IndexCastOp>(loc, b.getIndexType(), x);
  }
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

/// Both, or the one that is not null.
mlir::Value both(mlir::OpBuilder &b, mlir::Location loc, mlir::Value x, mlir::Value y);
/// `value` where `inside` (null: everywhere), zero elsewhere.
mlir::Value orZero(mlir::OpBuilder &b, mlir::Location loc, mlir::Value inside, mlir::Value value);
/// `value` where `inside` (null: everywhere), elsewhere its first `from` elements and zeros.
mlir::Value zeroFrom(mlir::OpBuilder &b, mlir::Location loc, int64_t from, mlir::Value inside, mlir::Value value);
/// Scalars or vectors, a power of two of them, as one vector, or what they are if there is one of one.
mlir::Value concatenate(mlir::OpBuilder &b, mlir::Location loc, llvm::ArrayRef<mlir::Value> parts);

/// Reads whose values are waited for later than they are asked for. What makes a value of some reads does each through
/// this, and is called twice: first it reads, where what else it computes is for nothing and goes, then, given what was
/// read, it makes the value.
class ReadAhead {
public:
  ReadAhead() = default;
  explicit ReadAhead(mlir::ValueRange brought) : values(brought), given(true) {}

  mlir::Value operator()(llvm::function_ref<mlir::Value()> read) {
    if (!given)
      return values.emplace_back(read());
    return values[next++];
  }
  llvm::SmallVector<mlir::Value> values; ///< in the order of the reads

private:
  bool given = false;
  size_t next = 0;
};

/// Neighbours of 2 bytes at any place of a buffer, as 32-bit pairs: put together from pairs that are aligned, which
/// takes fewer reads than the elements do. Places are 32-bit integers.
struct UnalignedPairs {
  int64_t width, total;  ///< elements at once and of the buffer, both even
  int64_t before, after; ///< how far outside the buffer they may lie, where anything is read
  mlir::Value full{};    ///< null, or whether they are not a line's last, of which the first `rest` are of use
  int64_t rest = 0;

  static bool reads(mlir::Type element, int64_t width, int64_t total);
  /// The elements from `place` + `further` on, which is an even number, as width / 2 pairs.
  llvm::SmallVector<mlir::Value> read(mlir::OpBuilder &b, mlir::Location loc, mlir::Value buffer, mlir::Value place,
                                      ReadAhead &ahead, int64_t further = 0) const;
};

/// 32-bit pairs as a vector of `element`.
mlir::Value elementsOf(mlir::OpBuilder &b, mlir::Location loc, llvm::ArrayRef<mlir::Value> pairs, mlir::Type element);

} // namespace gmc::nn

#endif
