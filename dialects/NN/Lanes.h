//===- Lanes.h - vectors of lanes in host kernels ---------------------------------------------*- C++ -*-===//
//
// Host kernels that do not leave vectorization to LLVM work on vectors of 64 bytes of floats, with 32-bit integers and
// masks of as many lanes beside them. LLVM splits them where the machine's are smaller. Buffers may hold f16 or bf16:
// vectors of them are f32 in registers, extended when loaded and rounded when stored.
//
//===-----------------------------------------------------------------------------------------------------===//
#ifndef GMC_DIALECTS_NN_LANES_H
#define GMC_DIALECTS_NN_LANES_H

#include "dialects/Interfaces/KernelBuilder.h"
#include "mlir/IR/BuiltinTypes.h"

namespace gmc::nn {

struct Lanes {
  /// Lanes of a vector of `element` (f32 or f64: what kernels compute in).
  static int64_t count(mlir::Type element) { return 64 / elementBytes(element); }

  Lanes(mlir::OpBuilder &b, mlir::Location loc, mlir::Type element);

  mlir::OpBuilder &b;
  mlir::Location loc;
  mlir::VectorType floats, ints, mask;

  mlir::Value zero() const;                      ///< floats
  mlir::Value splat(mlir::Value scalar) const;   ///< floats of a scalar, which is extended
  mlir::Value intSplat(mlir::Value index) const; ///< ints of an index value
  mlir::Value intSplat(int64_t value) const;
  mlir::Value step() const; ///< ints 0, 1, 2...
  /// lo <= x < hi per lane.
  mlir::Value inRange(mlir::Value x, int64_t lo, int64_t hi) const;
  mlir::Value less(mlir::Value x, mlir::Value y) const;
  mlir::Value both(mlir::Value x, mlir::Value y) const; ///< and; a null x is true
  mlir::Value select(mlir::Value mask, mlir::Value yes, mlir::Value no) const;

  /// Vectors of a row-major buffer; the last index is that of the first lane.
  mlir::Value load(mlir::Value buffer, mlir::ValueRange at) const;
  mlir::Value loadInts(mlir::Value buffer, mlir::ValueRange at) const;
  void store(mlir::Value value, mlir::Value buffer, mlir::ValueRange at) const;
  /// Of a flat buffer: lanes without mask are zero, and not written.
  mlir::Value maskedLoad(mlir::Value buffer, mlir::Value at, mlir::Value mask) const;
  void maskedStore(mlir::Value value, mlir::Value buffer, mlir::Value at, mlir::Value mask) const;
  mlir::Value gather(mlir::Value buffer, mlir::Value at, mlir::Value offsets, mlir::Value mask) const;
  void scatter(mlir::Value value, mlir::Value buffer, mlir::Value at, mlir::Value offsets, mlir::Value mask) const;
  mlir::Value fma(mlir::Value x, mlir::Value y, mlir::Value z) const;
};

/// A vector of `buffer`'s elements as floats of `type`, and back.
mlir::Value loadVector(mlir::OpBuilder &b, mlir::Location loc, mlir::VectorType type, mlir::Value buffer,
                       mlir::ValueRange at);
void storeVector(mlir::OpBuilder &b, mlir::Location loc, mlir::Value value, mlir::Value buffer, mlir::ValueRange at);
/// Likewise of the lanes in `mask`; the others are zero, and not written.
mlir::Value maskedLoadVector(mlir::OpBuilder &b, mlir::Location loc, mlir::VectorType type, mlir::Value buffer,
                             mlir::ValueRange at, mlir::Value mask);
void maskedStoreVector(mlir::OpBuilder &b, mlir::Location loc, mlir::Value value, mlir::Value buffer,
                       mlir::ValueRange at, mlir::Value mask);

/// A local array of an iteration.
mlir::Value localBuffer(mlir::OpBuilder &b, mlir::Location loc, llvm::ArrayRef<int64_t> shape, mlir::Type element);

/// `total` rows in blocks of nearly equal size, at most `largest`: first `big` blocks of `size`, then `small` blocks of
/// `size - 1`.
struct RowBlocks {
  int64_t size, big, small;
  RowBlocks(int64_t total, int64_t largest);
};

} // namespace gmc::nn

#endif
