#include "dialects/NN/Lanes.h"
#include "dialects/NN/Fold.h"
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
Value Lanes::splat(Value scalar) const {
  return vector::BroadcastOp::create(b, loc, floats, convertTo(b, loc, scalar, floats.getElementType()));
}
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

/// The vector of as many elements as `type` has, of the type that `buffer` holds.
static VectorType storedType(VectorType type, Value buffer) {
  return type.clone(cast<MemRefType>(buffer.getType()).getElementType());
}
static Value asFloats(OpBuilder &b, Location loc, Value stored, VectorType type) {
  return stored.getType() == type ? stored : Value(arith::ExtFOp::create(b, loc, type, stored));
}
static Value asStored(OpBuilder &b, Location loc, Value value, Value buffer) {
  VectorType stored = storedType(cast<VectorType>(value.getType()), buffer);
  return value.getType() == stored ? value : Value(arith::TruncFOp::create(b, loc, stored, value));
}

Value loadVector(OpBuilder &b, Location loc, VectorType type, Value buffer, ValueRange at) {
  return asFloats(b, loc, vector::LoadOp::create(b, loc, storedType(type, buffer), buffer, at), type);
}
void storeVector(OpBuilder &b, Location loc, Value value, Value buffer, ValueRange at) {
  vector::StoreOp::create(b, loc, asStored(b, loc, value, buffer), buffer, at);
}
Value maskedLoadVector(OpBuilder &b, Location loc, VectorType type, Value buffer, ValueRange at, Value mask) {
  VectorType stored = storedType(type, buffer);
  Value zero = arith::ConstantOp::create(b, loc, b.getZeroAttr(stored));
  return asFloats(b, loc, vector::MaskedLoadOp::create(b, loc, stored, buffer, at, mask, zero), type);
}
void maskedStoreVector(OpBuilder &b, Location loc, Value value, Value buffer, ValueRange at, Value mask) {
  vector::MaskedStoreOp::create(b, loc, buffer, at, mask, asStored(b, loc, value, buffer));
}

Value Lanes::load(Value buffer, ValueRange at) const { return loadVector(b, loc, floats, buffer, at); }
Value Lanes::loadInts(Value buffer, ValueRange at) const { return vector::LoadOp::create(b, loc, ints, buffer, at); }
void Lanes::store(Value value, Value buffer, ValueRange at) const { storeVector(b, loc, value, buffer, at); }
Value Lanes::maskedLoad(Value buffer, Value at, Value mask) const {
  return maskedLoadVector(b, loc, floats, buffer, at, mask);
}
void Lanes::maskedStore(Value value, Value buffer, Value at, Value mask) const {
  maskedStoreVector(b, loc, value, buffer, at, mask);
}
Value Lanes::gather(Value buffer, Value at, Value offsets, Value mask) const {
  VectorType stored = storedType(floats, buffer);
  Value none = arith::ConstantOp::create(b, loc, b.getZeroAttr(stored));
  return asFloats(b, loc, vector::GatherOp::create(b, loc, stored, buffer, ValueRange{at}, offsets, mask, none),
                  floats);
}
void Lanes::scatter(Value value, Value buffer, Value at, Value offsets, Value mask) const {
  vector::ScatterOp::create(b, loc, Type(), buffer, ValueRange{at}, offsets, mask, asStored(b, loc, value, buffer));
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
