#include "dialects/Interfaces/KernelBuilder.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/GPU/IR/GPUDialect.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"

using namespace mlir;

namespace gmc {

ArrayRef<int64_t> KernelBuilder::operandShape(unsigned i) const {
  return cast<ShapedType>(op->getOperand(i).getType()).getShape();
}
ArrayRef<int64_t> KernelBuilder::resultShape(unsigned i) const {
  return cast<ShapedType>(op->getResult(i).getType()).getShape();
}
Type KernelBuilder::operandElementType(unsigned i) const {
  return cast<ShapedType>(op->getOperand(i).getType()).getElementType();
}
Type KernelBuilder::resultElementType(unsigned i) const {
  return cast<ShapedType>(op->getResult(i).getType()).getElementType();
}

bool KernelBuilder::streams(unsigned i) const {
  return targetKind == KernelTarget::Host && results[i] && byteSize(results[i].getType()) >= streamedBytes;
}

Value KernelBuilder::workspace(OpBuilder &b, unsigned i, ArrayRef<int64_t> shape, Type elementType) {
  Value zero = kb::idx(b, loc, 0);
  return memref::ViewOp::create(b, loc, MemRefType::get(shape, elementType), workspaces[i], zero, ValueRange{});
}

void KernelBuilder::parallel(ArrayRef<int64_t> extents, Body body) {
  SmallVector<Value> lower, upper, step;
  for (int64_t extent : extents) {
    lower.push_back(kb::idx(builder, loc, 0));
    upper.push_back(kb::idx(builder, loc, extent));
    step.push_back(kb::idx(builder, loc, 1));
  }
  if (extents.empty()) { // a single iteration
    lower.push_back(kb::idx(builder, loc, 0));
    upper.push_back(kb::idx(builder, loc, 1));
    step.push_back(kb::idx(builder, loc, 1));
  }
  bool scalar = extents.empty();
  scf::ParallelOp::create(builder, loc, lower, upper, step,
                          [&](OpBuilder &b, Location l, ValueRange ivs) { body(b, l, scalar ? ValueRange{} : ivs); });
}

void KernelBuilder::cooperative(ArrayRef<int64_t> blocks, int64_t threads, BlockBody body, int64_t resident) {
  int64_t count = 1;
  for (int64_t extent : blocks)
    count *= extent;
  Value one = kb::idx(builder, loc, 1);
  auto launch = gpu::LaunchOp::create(builder, loc, kb::idx(builder, loc, count), one, one,
                                      kb::idx(builder, loc, threads), one, one);
  if (resident > 1)
    launch->setAttr(GpuBlock::residentAttr, builder.getI64IntegerAttr(resident));
  OpBuilder b = OpBuilder::atBlockEnd(&launch.getBody().front());
  GpuBlock block(launch, threads);
  body(b, loc, kb::delinearize(b, loc, block.block(), blocks), block);
  gpu::TerminatorOp::create(b, loc);
}

Value KernelBuilder::load(OpBuilder &b, Location loc, unsigned i, ValueRange indices) {
  return memref::LoadOp::create(b, loc, operands[i], indices);
}

void KernelBuilder::store(OpBuilder &b, Location loc, Value value, unsigned i, ValueRange indices) {
  memref::StoreOp::create(b, loc, value, results[i], indices);
}

void KernelBuilder::loop(OpBuilder &b, Location loc, Value lo, Value hi,
                         function_ref<void(OpBuilder &, Location, Value)> body) {
  scf::ForOp::create(b, loc, lo, hi, kb::idx(b, loc, 1), ValueRange{},
                     [&](OpBuilder &b, Location l, Value iv, ValueRange) {
                       body(b, l, iv);
                       scf::YieldOp::create(b, l);
                     });
}

SmallVector<Value> KernelBuilder::loadNeighbours(OpBuilder &b, Location loc, unsigned i, Value first, int64_t count) {
  return kb::loadVectors(b, loc, operands[i], first, count);
}

void KernelBuilder::storeNeighbours(OpBuilder &b, Location loc, ArrayRef<Value> values, unsigned i, Value first) {
  kb::storeVectors(b, loc, values, results[i], first);
}

Type bufferElement(Type element) {
  auto integer = dyn_cast<IntegerType>(element);
  return integer ? IntegerType::get(element.getContext(), integer.getWidth()) : element;
}

Value KernelBuilder::fold(OpBuilder &b, Location loc, Value lo, Value hi, Value init, Fold step) {
  auto forOp = scf::ForOp::create(b, loc, lo, hi, kb::idx(b, loc, 1), ValueRange{init},
                                  [&](OpBuilder &b, Location l, Value iv, ValueRange acc) {
                                    scf::YieldOp::create(b, l, step(b, l, iv, acc[0]));
                                  });
  return forOp.getResult(0);
}

static Value foldNestFrom(OpBuilder &b, Location loc, ArrayRef<std::pair<Value, Value>> bounds,
                          SmallVectorImpl<Value> &ivs, Value init,
                          function_ref<Value(OpBuilder &, Location, ValueRange, Value)> step) {
  if (ivs.size() == bounds.size())
    return step(b, loc, ivs, init);
  auto [lo, hi] = bounds[ivs.size()];
  return KernelBuilder::fold(b, loc, lo, hi, init, [&](OpBuilder &b, Location l, Value iv, Value acc) {
    ivs.push_back(iv);
    Value result = foldNestFrom(b, l, bounds, ivs, acc, step);
    ivs.pop_back();
    return result;
  });
}

Value KernelBuilder::foldNest(OpBuilder &b, Location loc, ArrayRef<std::pair<Value, Value>> bounds, Value init,
                              function_ref<Value(OpBuilder &, Location, ValueRange, Value)> step) {
  SmallVector<Value> ivs;
  return foldNestFrom(b, loc, bounds, ivs, init, step);
}

Value KernelBuilder::addReassoc(OpBuilder &b, Location loc, Value acc, Value x) {
  if (!isa<FloatType>(acc.getType()))
    return arith::AddIOp::create(b, loc, acc, x);
  return arith::AddFOp::create(b, loc, acc, x,
                               arith::FastMathFlagsAttr::get(b.getContext(), arith::FastMathFlags::reassoc));
}

namespace kb {

Value idx(OpBuilder &b, Location loc, int64_t value) { return arith::ConstantIndexOp::create(b, loc, value); }

Value constant(OpBuilder &b, Location loc, Type type, double value) {
  if (auto floatType = dyn_cast<FloatType>(type))
    return arith::ConstantOp::create(b, loc, b.getFloatAttr(floatType, value));
  return arith::ConstantOp::create(b, loc, b.getIntegerAttr(type, static_cast<int64_t>(value)));
}

#define GMC_KB_BINARY(NAME, FLOAT, INT)                                                                                \
  Value NAME(OpBuilder &b, Location loc, Value x, Value y) {                                                           \
    return isa<FloatType>(x.getType()) ? b.createOrFold<arith::FLOAT>(loc, x, y)                                       \
                                       : b.createOrFold<arith::INT>(loc, x, y);                                        \
  }
GMC_KB_BINARY(add, AddFOp, AddIOp)
GMC_KB_BINARY(sub, SubFOp, SubIOp)
GMC_KB_BINARY(mul, MulFOp, MulIOp)
GMC_KB_BINARY(div, DivFOp, DivSIOp)
GMC_KB_BINARY(rem, RemFOp, RemSIOp)
GMC_KB_BINARY(max, MaximumFOp, MaxSIOp)
GMC_KB_BINARY(min, MinimumFOp, MinSIOp)
#undef GMC_KB_BINARY

Value toIndex(OpBuilder &b, Location loc, Value x) {
  return x.getType().isIndex() ? x : b.createOrFold<arith::IndexCastOp>(loc, b.getIndexType(), x);
}

Value fromIndex(OpBuilder &b, Location loc, Value x, Type type) {
  return type.isIndex() ? x : b.createOrFold<arith::IndexCastOp>(loc, type, x);
}

Value inRange(OpBuilder &b, Location loc, Value x, Value lo, Value hi) {
  Value above = arith::CmpIOp::create(b, loc, arith::CmpIPredicate::sge, x, lo);
  Value below = arith::CmpIOp::create(b, loc, arith::CmpIPredicate::slt, x, hi);
  return arith::AndIOp::create(b, loc, above, below);
}

Value linearize(OpBuilder &b, Location loc, ValueRange indices, ArrayRef<int64_t> shape) {
  Value linear = idx(b, loc, 0);
  for (auto [i, dim] : llvm::zip_equal(indices, shape))
    linear = add(b, loc, mul(b, loc, linear, idx(b, loc, dim)), i);
  return linear;
}

SmallVector<Value> delinearize(OpBuilder &b, Location loc, Value linear, ArrayRef<int64_t> shape) {
  SmallVector<Value> indices(shape.size());
  for (size_t d = shape.size(); d-- > 0;) {
    if (d == 0) {
      indices[d] = linear;
      break;
    }
    Value dim = idx(b, loc, shape[d]);
    indices[d] = rem(b, loc, linear, dim);
    linear = div(b, loc, linear, dim);
  }
  return indices;
}

SmallVector<Value> broadcastIndices(OpBuilder &b, Location loc, ValueRange indices, ArrayRef<int64_t> shape) {
  SmallVector<Value> result;
  size_t skip = indices.size() - shape.size();
  for (size_t d = 0; d < shape.size(); ++d)
    result.push_back(shape[d] == 1 ? idx(b, loc, 0) : indices[skip + d]);
  return result;
}

/// The buffer as one dimension, whose stride and offset its type says.
static Value oneDimension(OpBuilder &b, Location loc, Value buffer) {
  auto type = cast<MemRefType>(buffer.getType());
  if (type.getRank() == 1)
    return buffer;
  auto one = MemRefType::get({type.getNumElements()}, type.getElementType(), AffineMap(), type.getMemorySpace());
  return memref::ReinterpretCastOp::create(b, loc, one, buffer, 0, one.getShape(), ArrayRef<int64_t>{1});
}

/// Calls piece(position, number of the first element, type, alignment) for the vectors that `count` neighbours consist
/// of.
static void vectorPieces(OpBuilder &b, Location loc, Type element, Value first, int64_t count,
                         function_ref<void(Value, int64_t, VectorType, llvm::Align)> piece) {
  int64_t bytes = elementBytes(element), lanes = std::min(count, std::max<int64_t>(16 / bytes, 1));
  for (int64_t k = 0; k < count; k += lanes)
    piece(k ? add(b, loc, first, idx(b, loc, k)) : first, k, VectorType::get({lanes}, element),
          llvm::Align(std::min<int64_t>(lanes * bytes, 16)));
}

SmallVector<Value> loadVectors(OpBuilder &b, Location loc, Value buffer, Value first, int64_t count) {
  Value flat = oneDimension(b, loc, buffer);
  SmallVector<Value> values;
  vectorPieces(b, loc, cast<MemRefType>(buffer.getType()).getElementType(), first, count,
               [&](Value at, int64_t, VectorType type, llvm::Align alignment) {
                 Value loaded = vector::LoadOp::create(b, loc, type, flat, ValueRange{at}, false, alignment);
                 for (int64_t k = 0; k < type.getNumElements(); ++k)
                   values.push_back(vector::ExtractOp::create(b, loc, loaded, k));
               });
  return values;
}

void storeVectors(OpBuilder &b, Location loc, ArrayRef<Value> values, Value buffer, Value first) {
  Value flat = oneDimension(b, loc, buffer);
  vectorPieces(b, loc, cast<MemRefType>(buffer.getType()).getElementType(), first, values.size(),
               [&](Value at, int64_t from, VectorType type, llvm::Align alignment) {
                 Value all = vector::FromElementsOp::create(b, loc, type, values.slice(from, type.getNumElements()));
                 vector::StoreOp::create(b, loc, all, flat, ValueRange{at}, false, alignment);
               });
}

Value select(OpBuilder &b, Location loc, Value cond, function_ref<Value(OpBuilder &, Location)> then,
             Value otherwise) {
  auto ifOp = scf::IfOp::create(
      b, loc, cond, [&](OpBuilder &b, Location l) { scf::YieldOp::create(b, l, then(b, l)); },
      [&](OpBuilder &b, Location l) { scf::YieldOp::create(b, l, otherwise); });
  return ifOp.getResult(0);
}

void when(OpBuilder &b, Location loc, Value cond, function_ref<void(OpBuilder &, Location)> body) {
  scf::IfOp::create(b, loc, cond, [&](OpBuilder &b, Location l) {
    body(b, l);
    scf::YieldOp::create(b, l);
  });
}

} // namespace kb
} // namespace gmc
