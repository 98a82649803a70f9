#include "dialects/NN/KernelSupport.h"
#include "dialects/NN/GpuRows.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include <limits>

using namespace mlir;

namespace gmc::nn {

Value loadWorkspace(OpBuilder &b, Location loc, Value buffer, ValueRange indices) {
  return memref::LoadOp::create(b, loc, buffer, indices);
}
void storeWorkspace(OpBuilder &b, Location loc, Value value, Value buffer, ValueRange indices) {
  memref::StoreOp::create(b, loc, value, buffer, indices);
}
void ifElse(OpBuilder &b, Location loc, Value cond, function_ref<void(OpBuilder &, Location)> then,
            function_ref<void(OpBuilder &, Location)> otherwise) {
  auto body = [](function_ref<void(OpBuilder &, Location)> emit) {
    return [emit](OpBuilder &b, Location l) {
      emit(b, l);
      scf::YieldOp::create(b, l);
    };
  };
  scf::IfOp::create(b, loc, cond, body(then), body(otherwise));
}

Value insertIndex(SmallVectorImpl<Value> &indices, ArrayRef<Value> others, int64_t axis, Value index) {
  indices.assign(others.begin(), others.end());
  indices.insert(indices.begin() + axis, index);
  return index;
}

Scalar loadAlong(KernelBuilder &kernel, OpBuilder &b, Location loc, unsigned operand, ArrayRef<Value> others,
                 int64_t axis, Value i, Type type) {
  SmallVector<Value> indices;
  insertIndex(indices, others, axis, i);
  return convert(Scalar(b, loc, kernel.load(b, loc, operand, indices)), type);
}

Value reshapeBuffer(OpBuilder &b, Location loc, Value buffer, ArrayRef<int64_t> shape) {
  auto type = cast<MemRefType>(buffer.getType());
  if (type.getShape() == shape)
    return buffer;
  SmallVector<int64_t> strides(shape.size(), 1);
  for (size_t d = shape.size(); d-- > 1;)
    strides[d - 1] = strides[d] * shape[d];
  return memref::ReinterpretCastOp::create(b, loc, MemRefType::get(shape, type.getElementType()), buffer, 0, shape,
                                           strides);
}

Value flatten(OpBuilder &b, Location loc, Value buffer) {
  return reshapeBuffer(b, loc, buffer, {numElements(cast<MemRefType>(buffer.getType()).getShape())});
}

Value loadFlat(KernelBuilder &kernel, OpBuilder &b, Location loc, unsigned i, Value linear) {
  if (Value buffer = kernel.operandBuffer(i))
    return memref::LoadOp::create(b, loc, flatten(b, loc, buffer), linear);
  return kernel.load(b, loc, i, kb::delinearize(b, loc, linear, kernel.operandShape(i)));
}

void storeFlat(KernelBuilder &kernel, OpBuilder &b, Location loc, Value value, unsigned i, Value linear) {
  memref::StoreOp::create(b, loc, value, flatten(b, loc, kernel.resultBuffer(i)), linear);
}

void storeTotal(KernelBuilder &kernel, unsigned i, int64_t count) {
  Type type = kernel.resultElementType(i);
  if (kernel.target() == KernelTarget::Gpu && count > 1) {
    constexpr int64_t threads = 256;
    int64_t used = std::min<int64_t>(threads, (count + 31) / 32 * 32);
    return kernel.cooperative({1}, used, [&](OpBuilder &b, Location loc, ValueRange, const GpuBlock &block) {
      Value parts = kernel.workspace(b, i, {count}, type);
      Type wide = b.getF64Type();
      auto loop = scf::ForOp::create(b, loc, block.thread(), kb::idx(b, loc, count), kb::idx(b, loc, used),
                                     kb::constant(b, loc, wide, 0), [&](OpBuilder &b, Location l, Value at, ValueRange acc) {
                                       Scalar part = convert(Scalar(b, l, loadWorkspace(b, l, parts, {at})), wide);
                                       scf::YieldOp::create(b, l, kb::add(b, l, acc[0], part.value()));
                                     });
      Value sum = block.blockReduce(b, loc, loop.getResult(0), [](OpBuilder &b, Location l, Value x, Value y) { return kb::add(b, l, x, y); });
      Value first = arith::CmpIOp::create(b, loc, arith::CmpIPredicate::eq, block.thread(), kb::idx(b, loc, 0));
      kb::when(b, loc, first, [&](OpBuilder &b, Location l) {
        kernel.store(b, l, convert(Scalar(b, l, sum), type).value(), i, {kb::idx(b, l, 0)});
      });
    });
  }
  kernel.parallel({1}, [&](OpBuilder &b, Location loc, ValueRange ivs) {
    Value parts = kernel.workspace(b, i, {count}, type);
    Type wide = b.getF64Type();
    Value sum = KernelBuilder::fold(b, loc, kb::idx(b, loc, 0), kb::idx(b, loc, count), kb::constant(b, loc, wide, 0),
                                    [&](OpBuilder &b, Location l, Value iv, Value acc) {
                                      Value part = loadWorkspace(b, l, parts, {iv});
                                      return kb::add(b, l, acc, convert(Scalar(b, l, part), wide).value());
                                    });
    kernel.store(b, loc, convert(Scalar(b, loc, sum), type).value(), i, ivs);
  });
}

/// The bits of a float as an integer that orders as the floats do, and back.
static Value orderedBits(OpBuilder &b, Location loc, Value bits) {
  Type type = bits.getType();
  unsigned width = type.getIntOrFloatBitWidth();
  auto constant = [&](const APInt &value) -> Value {
    return arith::ConstantOp::create(b, loc, b.getIntegerAttr(type, value));
  };
  Value negative = arith::ShRSIOp::create(b, loc, bits, constant(APInt(width, width - 1)));
  Value flip = arith::AndIOp::create(b, loc, negative, constant(APInt::getSignedMaxValue(width)));
  return arith::XOrIOp::create(b, loc, bits, flip);
}

Value softmaxMax(KernelBuilder &kernel, OpBuilder &b, Location loc, ArrayRef<Value> row, int64_t axis, int64_t classes,
                 Type type) {
  // As integers: a maximum of floats that heeds NaNs is several instructions, one after the other in each iteration.
  Type bits = b.getIntegerType(type.getIntOrFloatBitWidth());
  auto key = [&](OpBuilder &b, Location l, Value x) {
    return orderedBits(b, l, arith::BitcastOp::create(b, l, bits, x));
  };
  Value lowest = key(b, loc, kb::constant(b, loc, type, -std::numeric_limits<double>::infinity()));
  Value max = KernelBuilder::fold(b, loc, kb::idx(b, loc, 0), kb::idx(b, loc, classes), lowest,
                                  [&](OpBuilder &b, Location l, Value c, Value acc) -> Value {
                                    Value x = loadAlong(kernel, b, l, 0, row, axis, c, type).value();
                                    return arith::MaxSIOp::create(b, l, acc, key(b, l, x));
                                  });
  return arith::BitcastOp::create(b, loc, type, orderedBits(b, loc, max));
}

RowStatistics softmaxStatistics(KernelBuilder &kernel, OpBuilder &b, Location loc, ArrayRef<Value> row, int64_t axis,
                                int64_t classes, Type type) {
  Value lo = kb::idx(b, loc, 0), hi = kb::idx(b, loc, classes);
  Value max = softmaxMax(kernel, b, loc, row, axis, classes, type);
  Value sum = KernelBuilder::fold(b, loc, lo, hi, kb::constant(b, loc, type, 0),
                                  [&](OpBuilder &b, Location l, Value c, Value acc) {
                                    Scalar x = loadAlong(kernel, b, l, 0, row, axis, c, type);
                                    return KernelBuilder::addReassoc(b, l, acc, exp(x - x.with(max)).value());
                                  });
  return {max, sum};
}

RowStatistics softmaxStatistics(GpuRow &row, OpBuilder &b, Location loc, Type type) {
  Value max = row.reduce(
      b, loc, kb::constant(b, loc, type, -std::numeric_limits<double>::infinity()),
      [&](OpBuilder &b, Location l, const GpuRow::Element &e) { return SmallVector<Value>{row.load(b, l, 0, e, type).value()}; },
      [](OpBuilder &b, Location l, Value x, Value y) -> Value { return arith::MaxNumFOp::create(b, l, x, y); })[0];
  Value sum = row.sum(b, loc, type, [&](OpBuilder &b, Location l, const GpuRow::Element &e) {
    Scalar x = row.load(b, l, 0, e, type);
    return exp(x - x.with(max));
  });
  return {max, sum};
}

} // namespace gmc::nn
