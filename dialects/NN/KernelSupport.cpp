#include "dialects/NN/KernelSupport.h"
#include "dialects/NN/GpuRows.h"
#include "dialects/NN/Lanes.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"
#include "llvm/Support/MathExtras.h"
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

void overPositions(KernelBuilder &kernel, ArrayRef<int64_t> shape,
                   function_ref<void(OpBuilder &, Location, ArrayRef<Value>, Value)> body) {
  if (kernel.target() == KernelTarget::Host)
    return kernel.parallel({numElements(shape)}, [&](OpBuilder &b, Location loc, ValueRange number) {
      body(b, loc, kb::delinearize(b, loc, number[0], shape), number[0]);
    });
  kernel.parallel(shape, [&](OpBuilder &b, Location loc, ValueRange ivs) {
    body(b, loc, SmallVector<Value>(ivs), kb::linearize(b, loc, ivs, shape));
  });
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
  return kernel.loadNeighbours(b, loc, i, linear, 1)[0];
}

void storeFlat(KernelBuilder &kernel, OpBuilder &b, Location loc, Value value, unsigned i, Value linear) {
  memref::StoreOp::create(b, loc, value, flatten(b, loc, kernel.resultBuffer(i)), linear);
}

void prefetchRow(KernelBuilder &kernel, OpBuilder &b, Location loc, unsigned operand, Value first, int64_t size) {
  // Of longer rows, so much that the processor takes over.
  constexpr int64_t lineBytes = 64, shortest = 1024, longest = 8192;
  Value buffer = kernel.operandBuffer(operand);
  int64_t bytes = elementBytes(kernel.operandElementType(operand));
  if (kernel.target() != KernelTarget::Host || !buffer || size * bytes < shortest)
    return;
  Value flat = flatten(b, loc, buffer);
  scf::ForOp::create(b, loc, kb::idx(b, loc, 0), kb::idx(b, loc, std::min(size, longest / bytes)),
                     kb::idx(b, loc, lineBytes / bytes), ValueRange{},
                     [&](OpBuilder &b, Location l, Value j, ValueRange) {
                       memref::PrefetchOp::create(b, l, flat, ValueRange{kb::add(b, l, first, j)}, /*isWrite=*/false,
                                                  /*localityHint=*/3, /*isDataCache=*/true);
                       scf::YieldOp::create(b, l);
                     });
}

void prefetchNextRow(KernelBuilder &kernel, OpBuilder &b, Location loc, unsigned operand, Value index, int64_t size) {
  int64_t rows = numElements(kernel.operandShape(operand)) / std::max<int64_t>(size, 1);
  Value next = kb::min(b, loc, kb::add(b, loc, index, kb::idx(b, loc, 1)), kb::idx(b, loc, rows - 1));
  prefetchRow(kernel, b, loc, operand, kb::mul(b, loc, next, kb::idx(b, loc, size)), size);
}

/// A nest of a block for each segment of `size` of the `count` numbers of workspace `i`, which it adds in f64:
/// finish(sum, number of the segment's first) in one thread.
static void emitSegmentSums(KernelBuilder &kernel, unsigned i, int64_t count, int64_t size,
                            function_ref<void(OpBuilder &, Location, Value, Value)> finish) {
  Type type = kernel.resultElementType(i);
  int64_t lanes = 16 / elementBytes(type),
          threads = std::min<int64_t>(256, llvm::alignTo(llvm::divideCeil(size, lanes), GpuBlock::warpSize));
  kernel.cooperative(
      {static_cast<int64_t>(llvm::divideCeil(count, size))}, threads,
      [&](OpBuilder &b, Location loc, ValueRange at, const GpuBlock &block) {
        Type wide = b.getF64Type();
        Value numbers = kernel.workspace(b, i, {count}, type), width = kb::idx(b, loc, lanes);
        Value begin = kb::mul(b, loc, at[0], kb::idx(b, loc, size));
        Value end = kb::min(b, loc, kb::add(b, loc, begin, kb::idx(b, loc, size)), kb::idx(b, loc, count));
        Value rest = kb::sub(b, loc, end, kb::rem(b, loc, end, width));
        auto plus = [&](OpBuilder &b, Location l, Value acc, Value x) {
          return kb::add(b, l, acc, convert(Scalar(b, l, x), wide).value());
        };
        auto loop = scf::ForOp::create(b, loc, kb::add(b, loc, begin, kb::mul(b, loc, block.thread(), width)), rest,
                                       kb::idx(b, loc, threads * lanes), kb::constant(b, loc, wide, 0),
                                       [&](OpBuilder &b, Location l, Value j, ValueRange acc) {
                                         Value sum = acc[0];
                                         for (Value x : kb::loadVectors(b, l, numbers, j, lanes))
                                           sum = plus(b, l, sum, x);
                                         scf::YieldOp::create(b, l, sum);
                                       });
        Value sum = loop.getResult(0);
        if (count % lanes) { // less than a vector at the end
          Value last = kb::add(b, loc, rest, block.thread());
          Value exists = arith::CmpIOp::create(b, loc, arith::CmpIPredicate::slt, last, end);
          sum = kb::select(
              b, loc, exists,
              [&](OpBuilder &b, Location l) { return plus(b, l, sum, loadWorkspace(b, l, numbers, last)); }, sum);
        }
        sum = block.blockReduce(b, loc, sum,
                                [](OpBuilder &b, Location l, Value x, Value y) { return kb::add(b, l, x, y); });
        Value first = arith::CmpIOp::create(b, loc, arith::CmpIPredicate::eq, block.thread(), kb::idx(b, loc, 0));
        kb::when(b, loc, first, [&](OpBuilder &b, Location l) { finish(b, l, sum, begin); });
      });
}

void storeTotal(KernelBuilder &kernel, unsigned i, int64_t count) {
  Type type = kernel.resultElementType(i);
  if (kernel.target() == KernelTarget::Gpu && count > 1) {
    // What is too much for one block, blocks first add in segments, each into the place of its segment's first number.
    // A thread each takes those.
    constexpr int64_t largest = 32768, segments = 256, shortest = 4096;
    if (count <= largest)
      return emitSegmentSums(kernel, i, count, count, [&](OpBuilder &b, Location l, Value sum, Value first) {
        kernel.store(b, l, convert(Scalar(b, l, sum), type).value(), i, first);
      });
    int64_t size = std::max<int64_t>(llvm::alignTo(llvm::divideCeil(count, segments), 16), shortest);
    emitSegmentSums(kernel, i, count, size, [&](OpBuilder &b, Location l, Value sum, Value first) {
      storeWorkspace(b, l, convert(Scalar(b, l, sum), type).value(), kernel.workspace(b, i, {count}, type), first);
    });
    return kernel.cooperative({1}, segments, [&](OpBuilder &b, Location loc, ValueRange, const GpuBlock &block) {
      Type wide = b.getF64Type();
      Value first = kb::mul(b, loc, block.thread(), kb::idx(b, loc, size));
      Value exists = arith::CmpIOp::create(b, loc, arith::CmpIPredicate::slt, first, kb::idx(b, loc, count));
      Value sum = kb::select(b, loc, exists, [&](OpBuilder &b, Location l) {
        return convert(Scalar(b, l, loadWorkspace(b, l, kernel.workspace(b, i, {count}, type), first)), wide).value();
      }, kb::constant(b, loc, wide, 0));
      sum = block.blockReduce(b, loc, sum,
                              [](OpBuilder &b, Location l, Value x, Value y) { return kb::add(b, l, x, y); });
      Value one = arith::CmpIOp::create(b, loc, arith::CmpIPredicate::eq, block.thread(), kb::idx(b, loc, 0));
      kb::when(b, loc, one, [&](OpBuilder &b, Location l) {
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

/// softmaxMax of contiguous elements from `first` on, a vector or more of them. A vector's maximum is one instruction
/// where the comparison decides, which leaves the accumulator as it is for a NaN.
static Value contiguousMax(OpBuilder &b, Location loc, Value buffer, Value first, int64_t count, Type type) {
  constexpr int64_t accumulators = 4;
  Value flat = flatten(b, loc, buffer);
  int64_t lanes = Lanes::count(type), step = accumulators * lanes, whole = count / step * step;
  auto larger = [](OpBuilder &b, Location l, Value acc, Value x) -> Value {
    return arith::SelectOp::create(b, l, arith::CmpFOp::create(b, l, arith::CmpFPredicate::OGT, x, acc), x, acc);
  };
  Value lowest = Lanes(b, loc, type).splat(kb::constant(b, loc, type, -std::numeric_limits<double>::infinity()));
  auto loop = scf::ForOp::create(
      b, loc, first, kb::add(b, loc, first, kb::idx(b, loc, whole)), kb::idx(b, loc, step),
      SmallVector<Value>(accumulators, lowest), [&](OpBuilder &b, Location l, Value at, ValueRange acc) {
        SmallVector<Value> next;
        for (int64_t k = 0; k < accumulators; ++k)
          next.push_back(
              larger(b, l, acc[k], Lanes(b, l, type).load(flat, {kb::add(b, l, at, kb::idx(b, l, k * lanes))})));
        scf::YieldOp::create(b, l, next);
      });
  SmallVector<Value> max(loop.getResults());
  // What is left, the last vector ending where the row does.
  for (int64_t at = whole; at < count; at += lanes) {
    Value begin = kb::add(b, loc, first, kb::idx(b, loc, std::min(at, count - lanes)));
    max[0] = larger(b, loc, max[0], Lanes(b, loc, type).load(flat, {begin}));
  }
  for (int64_t k = 1; k < accumulators; ++k)
    max[0] = larger(b, loc, max[0], max[k]);
  for (int64_t distance = lanes / 2; distance > 0; distance /= 2) {
    SmallVector<int64_t> other;
    for (int64_t lane = 0; lane < lanes; ++lane)
      other.push_back(lane ^ distance);
    max[0] = larger(b, loc, max[0], vector::ShuffleOp::create(b, loc, max[0], max[0], other));
  }
  return vector::ExtractOp::create(b, loc, max[0], 0);
}

Value softmaxMax(KernelBuilder &kernel, OpBuilder &b, Location loc, ArrayRef<Value> row, int64_t axis, int64_t classes,
                 Type type) {
  ArrayRef<int64_t> shape = kernel.operandShape(0);
  Value buffer = kernel.operandBuffer(0);
  if (kernel.target() == KernelTarget::Host && buffer && axis + 1 == static_cast<int64_t>(shape.size()) &&
      classes >= Lanes::count(type)) {
    Value index = kb::linearize(b, loc, row, shape.drop_back());
    return contiguousMax(b, loc, buffer, kb::mul(b, loc, index, kb::idx(b, loc, classes)), classes, type);
  }
  if (kernel.target() == KernelTarget::Gpu) // one instruction, which takes the other operand for a NaN
    return KernelBuilder::fold(b, loc, kb::idx(b, loc, 0), kb::idx(b, loc, classes),
                               kb::constant(b, loc, type, -std::numeric_limits<double>::infinity()),
                               [&](OpBuilder &b, Location l, Value c, Value acc) -> Value {
                                 return arith::MaxNumFOp::create(
                                     b, l, acc, loadAlong(kernel, b, l, 0, row, axis, c, type).value());
                               });
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

Scalar expOfNonPositive(KernelBuilder &kernel, Scalar x) {
  OpBuilder &b = x.builder();
  Location loc = x.getLoc();
  if (kernel.target() != KernelTarget::Host || !x.type().isF32())
    return exp(x);
  auto fma = [&](Scalar u, double v, Scalar w) {
    return x.with(math::FmaOp::create(b, loc, u.value(), u.constant(v).value(), w.value()));
  };
  auto horner = [&](Scalar p, Scalar r, double c) {
    return x.with(math::FmaOp::create(b, loc, p.value(), r.value(), x.constant(c).value()));
  };
  // x = n ln 2 + r. Adding 1.5 * 2^23 rounds to an integer, which is in the last bits then: with 127 added, 2^n as it
  // is stored.
  constexpr double magic = 12582912 + 127;
  Scalar shifted = fma(x, 1.44269504088896341, x.constant(magic)), n = shifted - magic;
  Scalar r = fma(n, 2.12194442e-4, fma(n, -0.693359375, x));
  Scalar p = x.constant(0x1.6a2442p-10);
  for (double c : {0x1.1239e8p-7, 0x1.5558f2p-5, 0x1.555492p-3, 0x1.fffffcp-2, 1.0, 1.0})
    p = horner(p, r, c);
  Type bits = b.getI32Type();
  Value exponent = arith::ShLIOp::create(b, loc, arith::BitcastOp::create(b, loc, bits, shifted.value()),
                                         kb::constant(b, loc, bits, 23));
  Scalar y = p * x.with(arith::BitcastOp::create(b, loc, x.type(), exponent));
  constexpr double logOfSmallest = -87.336544;
  Value normal = arith::CmpFOp::create(b, loc, arith::CmpFPredicate::UGE, x.value(), x.constant(logOfSmallest).value());
  return select(x.with(normal), y, 0.0);
}

RowStatistics softmaxStatistics(KernelBuilder &kernel, OpBuilder &b, Location loc, ArrayRef<Value> row, int64_t axis,
                                int64_t classes, Type type) {
  Value lo = kb::idx(b, loc, 0), hi = kb::idx(b, loc, classes);
  Value max = softmaxMax(kernel, b, loc, row, axis, classes, type);
  Value sum = KernelBuilder::fold(b, loc, lo, hi, kb::constant(b, loc, type, 0),
                                  [&](OpBuilder &b, Location l, Value c, Value acc) {
                                    Scalar x = loadAlong(kernel, b, l, 0, row, axis, c, type);
                                    return KernelBuilder::addReassoc(b, l, acc,
                                                                     expOfNonPositive(kernel, x - x.with(max)).value());
                                  });
  return {max, sum};
}

RowStatistics softmaxStatistics(GpuRow &row, OpBuilder &b, Location loc, Type type) {
  Value max = row.reduce(
      b, loc, kb::constant(b, loc, type, -std::numeric_limits<double>::infinity()),
      [&](OpBuilder &b, Location l, const GpuRow::Element &e) {
        return SmallVector<Value>{row.load(b, l, 0, e, type).value()};
      },
      [](OpBuilder &b, Location l, Value x, Value y) -> Value { return arith::MaxNumFOp::create(b, l, x, y); })[0];
  Value sum = row.sum(b, loc, type, [&](OpBuilder &b, Location l, const GpuRow::Element &e) {
    Scalar x = row.load(b, l, 0, e, type);
    return exp(x - x.with(max));
  });
  return {max, sum};
}

} // namespace gmc::nn
