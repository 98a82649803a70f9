//===- GpuSupport.cpp - what kernels for the GPU are written with ---------------------------------------===//

#include "dialects/NN/GpuSupport.h"
#include "dialects/Interfaces/KernelBuilder.h"
#include "dialects/NN/Fold.h"
#include "dialects/NN/GpuGemm.h"
#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"

using namespace mlir;

namespace gmc::nn {

SmallVector<Value> Ints::delinearize(Value x, ArrayRef<int64_t> shape) const {
  SmallVector<Value> at(shape.size());
  for (size_t d = shape.size(); d-- > 0;) {
    at[d] = d ? b.createOrFold<arith::RemUIOp>(loc, x, constant(shape[d])) : x;
    if (d)
      x = b.createOrFold<arith::DivUIOp>(loc, x, constant(shape[d]));
  }
  return at;
}

Value Ints::linearize(ArrayRef<Value> at, ArrayRef<int64_t> shape) const {
  Value linear = constant(0);
  for (auto [i, size] : llvm::zip_equal(at, shape))
    linear = affine(linear, size, i);
  return linear;
}

Value both(OpBuilder &b, Location loc, Value x, Value y) {
  return x && y ? Value(arith::AndIOp::create(b, loc, x, y)) : x ? x : y;
}

Value orZero(OpBuilder &b, Location loc, Value inside, Value value) {
  if (!inside)
    return value;
  Value zero = arith::ConstantOp::create(b, loc, b.getZeroAttr(value.getType()));
  return arith::SelectOp::create(b, loc, inside, value, zero);
}

Value concatenate(OpBuilder &b, Location loc, ArrayRef<Value> parts) {
  if (parts.size() == 1)
    return parts[0];
  if (!isa<VectorType>(parts[0].getType()))
    return vector::FromElementsOp::create(b, loc, VectorType::get({int64_t(parts.size())}, parts[0].getType()), parts);
  // Pairs of vectors, a power of two of them: taken apart into elements, they would be read one by one.
  Value left = concatenate(b, loc, parts.take_front(parts.size() / 2));
  Value right = concatenate(b, loc, parts.drop_front(parts.size() / 2));
  return vector::ShuffleOp::create(b, loc, left, right,
                                   llvm::to_vector(llvm::seq<int64_t>(0, widthOf(left) + widthOf(right))));
}

Value zeroFrom(OpBuilder &b, Location loc, int64_t from, Value inside, Value value) {
  int64_t width = widthOf(value);
  if (!inside || from == 0)
    return orZero(b, loc, inside, value);
  SmallVector<int64_t> mask;
  for (int64_t i = 0; i < width; ++i)
    mask.push_back(i < from ? i : width + i);
  Value zero = arith::ConstantOp::create(b, loc, b.getZeroAttr(value.getType()));
  Value cut = vector::ShuffleOp::create(b, loc, value, zero, mask);
  return arith::SelectOp::create(b, loc, inside, value, cut);
}

bool UnalignedPairs::reads(Type element, int64_t width, int64_t total) {
  return elementBytes(element) == 2 && width % 2 == 0 && total % 2 == 0 &&
         total < std::numeric_limits<int32_t>::max() - 2 * width;
}

SmallVector<Value> UnalignedPairs::read(OpBuilder &b, Location loc, Value buffer, Value place, ReadAhead &ahead,
                                        int64_t further) const {
  Ints ints{b, loc};
  auto type = VectorType::get({2}, cast<MemRefType>(buffer.getType()).getElementType());
  Value odd = b.createOrFold<arith::AndIOp>(loc, place, ints.constant(1)),
        first = arith::AndIOp::create(b, loc, place, ints.constant(-2));
  Value bits = arith::MulIOp::create(b, loc, odd, ints.constant(16));
  int64_t lowest = -before - before % 2, highest = std::max<int64_t>(0, total + after - width) / 2 * 2;
  int64_t highestFull = std::max<int64_t>(0, highest - width); // another `width` follows in the line
  bool mayRest = full && total >= width + 2; // the start of the buffer will do for what is of no use
  Value useful = mayRest ? Value(arith::SelectOp::create(b, loc, full, first, ints.constant(0))) : first;
  SmallVector<Value> pairs;
  for (int64_t i = 0; i <= width; i += 2) {
    bool past = mayRest && i > rest;
    Value at = kb::add(b, loc, ints.toIndex(past ? useful : first), kb::idx(b, loc, further + i));
    if (lowest + i < 0 || (past ? highestFull : highest) + i > total - 2) {
      at = ints.add(past ? useful : first, ints.constant(further + i));
      if (lowest + i < 0)
        at = arith::MaxSIOp::create(b, loc, at, ints.constant(0));
      if (highest + i > total - 2)
        at = arith::MinSIOp::create(b, loc, at, ints.constant(total - 2));
      at = ints.toIndex(at);
    }
    pairs.push_back(ahead([&]() -> Value {
      Value pair = vector::LoadOp::create(b, loc, type, buffer, at, false, llvm::Align(4));
      pair = vector::BitCastOp::create(b, loc, VectorType::get({1}, b.getI32Type()), pair);
      return vector::ExtractOp::create(b, loc, pair, 0);
    }));
  }
  for (int64_t i = 0; i < width / 2; ++i)
    pairs[i] = LLVM::FshrOp::create(b, loc, pairs[i + 1], pairs[i], bits);
  pairs.pop_back();
  return pairs;
}

Value elementsOf(OpBuilder &b, Location loc, ArrayRef<Value> pairs, Type element) {
  int64_t count = pairs.size();
  Value all = vector::FromElementsOp::create(b, loc, VectorType::get({count}, b.getI32Type()), pairs);
  return vector::BitCastOp::create(b, loc, VectorType::get({2 * count}, element), all);
}

} // namespace gmc::nn
