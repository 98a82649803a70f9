#include "dialects/NN/Lanes.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"

using namespace mlir;

namespace gmc::nn {

Lanes::Lanes(OpBuilder &b, Location loc, Type element) : b(b), loc(loc) {
  int64_t lanes = count(element);
  floats = VectorType::get({lanes}, element);
  ints = VectorType::get({lanes}, b.getI32Type());
  mask = VectorType::get({lanes}, b.getI1Type());
}

Value Lanes::zero() const { return arith::ConstantOp::create(b, loc, b.getZeroAttr(floats)); }
Value Lanes::splat(Value scalar) const { return vector::BroadcastOp::create(b, loc, floats, scalar); }
Value Lanes::intSplat(Value index) const {
  Value narrow = arith::IndexCastOp::create(b, loc, b.getI32Type(), index);
  return vector::BroadcastOp::create(b, loc, ints, narrow);
}
Value Lanes::intSplat(int64_t value) const {
  return arith::ConstantOp::create(b, loc,
                                   DenseElementsAttr::get(ints, b.getI32IntegerAttr(static_cast<int32_t>(value))));
}
Value Lanes::step() const {
  SmallVector<int32_t> values;
  for (int64_t i = 0; i < ints.getNumElements(); ++i)
    values.push_back(i);
  return arith::ConstantOp::create(b, loc, DenseElementsAttr::get(ints, ArrayRef<int32_t>(values)));
}
Value Lanes::inRange(Value x, int64_t lo, int64_t hi) const {
  return kb::inRange(b, loc, x, intSplat(lo), intSplat(hi));
}
Value Lanes::less(Value x, Value y) const { return arith::CmpIOp::create(b, loc, arith::CmpIPredicate::slt, x, y); }
Value Lanes::both(Value x, Value y) const { return x ? Value(arith::AndIOp::create(b, loc, x, y)) : y; }
Value Lanes::select(Value mask, Value yes, Value no) const { return arith::SelectOp::create(b, loc, mask, yes, no); }

Value Lanes::load(Value buffer, ValueRange at) const { return vector::LoadOp::create(b, loc, floats, buffer, at); }
Value Lanes::loadInts(Value buffer, ValueRange at) const { return vector::LoadOp::create(b, loc, ints, buffer, at); }
void Lanes::store(Value value, Value buffer, ValueRange at) const {
  vector::StoreOp::create(b, loc, value, buffer, at);
}
Value Lanes::maskedLoad(Value buffer, Value at, Value mask) const {
  return vector::MaskedLoadOp::create(b, loc, floats, buffer, ValueRange{at}, mask, zero());
}
void Lanes::maskedStore(Value value, Value buffer, Value at, Value mask) const {
  vector::MaskedStoreOp::create(b, loc, buffer, ValueRange{at}, mask, value);
}
Value Lanes::gather(Value buffer, Value at, Value offsets, Value mask) const {
  return vector::GatherOp::create(b, loc, floats, buffer, ValueRange{at}, offsets, mask, zero());
}
void Lanes::scatter(Value value, Value buffer, Value at, Value offsets, Value mask) const {
  vector::ScatterOp::create(b, loc, Type(), buffer, ValueRange{at}, offsets, mask, value);
}
Value Lanes::fma(Value x, Value y, Value z) const { return vector::FMAOp::create(b, loc, x, y, z); }

Value localBuffer(OpBuilder &b, Location loc, ArrayRef<int64_t> shape, Type element) {
  return memref::AllocaOp::create(b, loc, MemRefType::get(shape, element), b.getI64IntegerAttr(64));
}

RowBlocks::RowBlocks(int64_t total, int64_t largest) {
  int64_t blocks = (total + largest - 1) / largest;
  size = (total + blocks - 1) / blocks;
  small = blocks * size - total;
  big = blocks - small;
}

} // namespace gmc::nn
