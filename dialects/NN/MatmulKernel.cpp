//===- MatmulKernel.cpp - vectorized matrix product for the host ------------------------------------------===//
//
// Two register-tiled kernels on 64-byte vectors. When the right operand's rows are contiguous over columns, a tile of
// rows x columns accumulates outer products: one element of the left operand, broadcast, times a vector of columns.
// When the right operand is transposed, both operands are contiguous along the contraction: a tile accumulates dot
// products, summed across lanes at the end. The remaining combination transposes the right operand first. All extents
// are known, so every remainder has its own tile instead of tests inside loops; lanes past the last column are masked.
// Operands of f16 or bf16 are extended as they are loaded; a sum is rounded once, when the contraction is complete.
//
//===-----------------------------------------------------------------------------------------------------===//

#include "dialects/NN/Fold.h"
#include "dialects/NN/KernelSupport.h"
#include "dialects/NN/Lanes.h"
#include "dialects/NN/Matmul.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"

using namespace mlir;

namespace gmc::nn {

namespace {

constexpr int64_t vectorBytes = 64;
/// Bytes of the right operand that a block of tiles reads over and over: half of a usual second-level cache.
constexpr int64_t blockBytes = 256 << 10;

int64_t ceilDiv(int64_t a, int64_t b) { return (a + b - 1) / b; }

/// Largest tile height up to `limit` that divides `extent` into equally tall tiles but for the last.
int64_t balanced(int64_t extent, int64_t limit) { return ceilDiv(extent, ceilDiv(extent, limit)); }

class HostMatmul {
public:
  HostMatmul(MatmulOp op, KernelBuilder &kernel)
      : op(op), kernel(kernel), shape(op), stored(kernel.resultElementType(0)), type(computeType(stored)),
        lanes(vectorBytes / elementBytes(type)), vector(VectorType::get({lanes}, type)),
        batches(numElements(shape.batch)) {}

  void emit() {
    if (shape.transposeA && shape.transposeB) {
      transposeRight();
      emitOuter();
    } else if (shape.transposeB) {
      emitDot();
    } else {
      emitOuter();
    }
  }

private:
  using Emit = function_ref<void(OpBuilder &, Location)>;

  /// Buffers as [batch, rows, columns], and which batch entries an iteration uses.
  struct Operands {
    Value a, b, c, bias;
    Value batchA, batchB, batchC;
    Value sums, firstRow,
        firstColumn; ///< where c would round sums that go on: a buffer of its own, and where it lies in c
  };

  Operands operandsAt(OpBuilder &b, Location loc, Value batchIndex) {
    auto view = [&](Value buffer, ArrayRef<int64_t> batch, int64_t rows, int64_t columns) {
      return reshapeBuffer(b, loc, buffer, {numElements(batch), rows, columns});
    };
    Operands o;
    int64_t m = shape.m, n = shape.n, k = shape.k;
    o.a = view(kernel.operandBuffer(0), shape.batchA, shape.transposeA ? k : m, shape.transposeA ? m : k);
    bool byColumns = shape.transposeB;
    o.b = transposed ? kernel.workspace(b, 0, {numElements(shape.batchB), k, n}, stored)
                     : view(kernel.operandBuffer(1), shape.batchB, byColumns ? n : k, byColumns ? k : n);
    o.c = view(kernel.resultBuffer(0), shape.batch, m, n);
    o.bias = op.getBias() ? kernel.operandBuffer(2) : Value();
    SmallVector<Value> indices = kb::delinearize(b, loc, batchIndex, shape.batch);
    auto linear = [&](ArrayRef<int64_t> dims) -> Value {
      if (numElements(dims) == 1)
        return kb::idx(b, loc, 0);
      return dims == ArrayRef(shape.batch) ? batchIndex
                                           : kb::linearize(b, loc, kb::broadcastIndices(b, loc, indices, dims), dims);
    };
    o.batchA = linear(shape.batchA);
    o.batchB = linear(shape.batchB);
    o.batchC = batchIndex;
    return o;
  }

  Value zeroVector(OpBuilder &b, Location loc) {
    return arith::ConstantOp::create(b, loc, DenseElementsAttr::get(vector, b.getFloatAttr(type, 0.0)));
  }
  Value mask(OpBuilder &b, Location loc, int64_t active) {
    return vector::ConstantMaskOp::create(b, loc, VectorType::get({lanes}, b.getI1Type()), {active});
  }
  /// Vector at `indices` of which the first `active` lanes exist; the others are 0.
  Value loadVector(OpBuilder &b, Location loc, Value buffer, ValueRange indices, int64_t active) {
    if (active == lanes)
      return nn::loadVector(b, loc, vector, buffer, indices);
    return maskedLoadVector(b, loc, vector, buffer, indices, mask(b, loc, active));
  }
  void storeVector(OpBuilder &b, Location loc, Value value, Value buffer, ValueRange indices, int64_t active) {
    if (active == lanes)
      nn::storeVector(b, loc, value, buffer, indices);
    else
      maskedStoreVector(b, loc, value, buffer, indices, mask(b, loc, active));
  }
  Value loadScalar(OpBuilder &b, Location loc, Value buffer, ValueRange indices) {
    return convertTo(b, loc, memref::LoadOp::create(b, loc, buffer, indices), type);
  }
  Value offset(OpBuilder &b, Location loc, Value base, int64_t by) {
    return by ? kb::add(b, loc, base, kb::idx(b, loc, by)) : base;
  }

  void emitOuter();
  void outerTile(OpBuilder &b, Location loc, const Operands &o, Value row, int64_t rows, Value column, int64_t columns,
                 Value lo, Value hi, Value first);
  /// The buffer and the place in it where the sum of an element lies between blocks of the contraction.
  std::pair<Value, SmallVector<Value>> sumsAt(OpBuilder &b, Location loc, const Operands &o, Value row, Value column);
  void emitDot();
  void dotTile(OpBuilder &b, Location loc, const Operands &o, Value row, int64_t rows, Value column, int64_t columns);
  void transposeRight();

  MatmulOp op;
  KernelBuilder &kernel;
  MatmulShape shape;
  Type stored, type; ///< of the elements, and of the arithmetic
  int64_t lanes;
  VectorType vector;
  int64_t batches;
  bool transposed = false; ///< the right operand was transposed into the workspace
};

//===- Outer products -----------------------------------------------------------------------------------===//

/// Accumulates rows x columns elements over [lo, hi) of the contraction. `first` (null: always) says whether this is
/// where the sum starts; otherwise it goes on from what the result holds.
void HostMatmul::outerTile(OpBuilder &b, Location loc, const Operands &o, Value row, int64_t rows, Value column,
                           int64_t columns, Value lo, Value hi, Value first) {
  int64_t vectors = ceilDiv(columns, lanes);
  auto active = [&](int64_t v) { return std::min(lanes, columns - v * lanes); };
  SmallVector<Value> at, init;
  for (int64_t v = 0; v < vectors; ++v)
    at.push_back(offset(b, loc, column, v * lanes));
  for (int64_t r = 0; r < rows; ++r)
    for (int64_t v = 0; v < vectors; ++v) {
      Value start = zeroVector(b, loc);
      if (o.bias)
        start = loadVector(b, loc, o.bias, {at[v]}, active(v));
      else if (op.getBias()) // a splat constant
        start = vector::BroadcastOp::create(b, loc, vector, convertTo(b, loc, kernel.load(b, loc, 2, {at[v]}), type));
      if (first) {
        auto [sums, place] = sumsAt(b, loc, o, offset(b, loc, row, r), at[v]);
        Value sofar = loadVector(b, loc, sums, place, active(v));
        start = arith::SelectOp::create(b, loc, first, start, sofar);
      }
      init.push_back(start);
    }
  auto loop = scf::ForOp::create(
      b, loc, lo, hi, kb::idx(b, loc, 1), init, [&](OpBuilder &b, Location l, Value k, ValueRange acc) {
        SmallVector<Value> right, sums;
        for (int64_t v = 0; v < vectors; ++v)
          right.push_back(loadVector(b, l, o.b, {o.batchB, k, at[v]}, active(v)));
        for (int64_t r = 0; r < rows; ++r) {
          Value i = offset(b, l, row, r);
          Value x = loadScalar(b, l, o.a, shape.transposeA ? ValueRange{o.batchA, k, i} : ValueRange{o.batchA, i, k});
          Value left = vector::BroadcastOp::create(b, l, vector, x);
          for (int64_t v = 0; v < vectors; ++v)
            sums.push_back(vector::FMAOp::create(b, l, left, right[v], acc[r * vectors + v]));
        }
        scf::YieldOp::create(b, l, sums);
      });
  for (int64_t r = 0; r < rows; ++r)
    for (int64_t v = 0; v < vectors; ++v) {
      auto [sums, place] = sumsAt(b, loc, o, offset(b, loc, row, r), at[v]);
      storeVector(b, loc, loop.getResult(r * vectors + v), sums, place, active(v));
    }
}

std::pair<Value, SmallVector<Value>> HostMatmul::sumsAt(OpBuilder &b, Location loc, const Operands &o, Value row,
                                                        Value column) {
  if (!o.sums)
    return {o.c, {o.batchC, row, column}};
  return {o.sums, {kb::sub(b, loc, row, o.firstRow), kb::sub(b, loc, column, o.firstColumn)}};
}

void HostMatmul::emitOuter() {
  // Tile heights that keep all accumulators, a row of the right operand and one broadcast in 32 registers.
  static constexpr int64_t heights[] = {14, 12, 8, 6};
  int64_t vectors = std::min<int64_t>(4, ceilDiv(shape.n, lanes));
  int64_t width = vectors * lanes, height = balanced(shape.m, heights[vectors - 1]);
  int64_t panels = ceilDiv(shape.n, width), fullPanels = shape.n / width, restColumns = shape.n % width;
  int64_t tiles = shape.m / height, restRows = shape.m % height, allTiles = ceilDiv(shape.m, height);
  // The contraction is cut so that a panel of the right operand stays in cache while the tiles of a chunk pass over it.
  int64_t depth = std::clamp<int64_t>(shape.k, 1, std::max<int64_t>(blockBytes / 2 / vectorBytes / vectors, 64));
  int64_t blocks = std::max<int64_t>(1, ceilDiv(shape.k, depth)), chunk = blocks > 1 ? 16 : 4;
  while (chunk > 1 && batches * panels * ceilDiv(allTiles, chunk) < 16)
    chunk /= 2;
  int64_t chunks = ceilDiv(allTiles, chunk);

  kernel.parallel({batches * panels * chunks}, [&](OpBuilder &b, Location loc, ValueRange ivs) {
    SmallVector<Value> at = kb::delinearize(b, loc, ivs[0], {batches, panels, chunks});
    Operands o = operandsAt(b, loc, at[0]);
    Value column = kb::mul(b, loc, at[1], kb::idx(b, loc, width)), chunkIndex = at[2];
    int64_t chunkRows = std::min(chunk * height, shape.m);
    if (blocks > 1 && stored != type) {
      o.sums = localBuffer(b, loc, {chunkRows, width}, type);
      o.firstRow = kb::mul(b, loc, chunkIndex, kb::idx(b, loc, chunk * height));
      o.firstColumn = column;
    }
    auto panel = [&](OpBuilder &b, Location loc, int64_t columns) {
      auto block = [&](OpBuilder &b, Location loc, Value lo, Value hi, Value first) {
        Value begin = kb::mul(b, loc, chunkIndex, kb::idx(b, loc, chunk));
        Value end = kb::min(b, loc, kb::add(b, loc, begin, kb::idx(b, loc, chunk)), kb::idx(b, loc, tiles));
        KernelBuilder::loop(b, loc, begin, end, [&](OpBuilder &b, Location l, Value tile) {
          outerTile(b, l, o, kb::mul(b, l, tile, kb::idx(b, l, height)), height, column, columns, lo, hi, first);
        });
        if (!restRows)
          return;
        Value last = arith::CmpIOp::create(b, loc, arith::CmpIPredicate::eq, chunkIndex, kb::idx(b, loc, chunks - 1));
        kb::when(b, loc, last, [&](OpBuilder &b, Location l) {
          outerTile(b, l, o, kb::idx(b, l, tiles * height), restRows, column, columns, lo, hi, first);
        });
      };
      if (blocks == 1)
        return block(b, loc, kb::idx(b, loc, 0), kb::idx(b, loc, shape.k), Value());
      KernelBuilder::loop(b, loc, kb::idx(b, loc, 0), kb::idx(b, loc, blocks), [&](OpBuilder &b, Location l, Value i) {
        Value lo = kb::mul(b, l, i, kb::idx(b, l, depth));
        Value hi = kb::min(b, l, kb::add(b, l, lo, kb::idx(b, l, depth)), kb::idx(b, l, shape.k));
        block(b, l, lo, hi, arith::CmpIOp::create(b, l, arith::CmpIPredicate::eq, i, kb::idx(b, l, 0)));
      });
      if (!o.sums)
        return;
      Value rows = kb::min(b, loc, kb::idx(b, loc, chunkRows), kb::sub(b, loc, kb::idx(b, loc, shape.m), o.firstRow));
      KernelBuilder::loop(b, loc, kb::idx(b, loc, 0), rows, [&](OpBuilder &b, Location l, Value r) {
        for (int64_t v = 0; v * lanes < columns; ++v) {
          int64_t active = std::min(lanes, columns - v * lanes);
          Value sum = loadVector(b, l, o.sums, {r, kb::idx(b, l, v * lanes)}, active);
          storeVector(b, l, sum, o.c, {o.batchC, kb::add(b, l, o.firstRow, r), offset(b, l, column, v * lanes)},
                      active);
        }
      });
    };
    if (!restColumns)
      return panel(b, loc, width);
    if (!fullPanels)
      return panel(b, loc, restColumns);
    Value full = arith::CmpIOp::create(b, loc, arith::CmpIPredicate::slt, at[1], kb::idx(b, loc, fullPanels));
    ifElse(
        b, loc, full, [&](OpBuilder &b, Location l) { panel(b, l, width); },
        [&](OpBuilder &b, Location l) { panel(b, l, restColumns); });
  });
}

//===- Dot products -------------------------------------------------------------------------------------===//

void HostMatmul::dotTile(OpBuilder &b, Location loc, const Operands &o, Value row, int64_t rows, Value column,
                         int64_t columns) {
  int64_t rest = shape.k % lanes;
  auto step = [&](OpBuilder &b, Location l, Value k, ValueRange acc, int64_t active) {
    SmallVector<Value> right, sums;
    for (int64_t c = 0; c < columns; ++c)
      right.push_back(loadVector(b, l, o.b, {o.batchB, offset(b, l, column, c), k}, active));
    for (int64_t r = 0; r < rows; ++r) {
      Value left = loadVector(b, l, o.a, {o.batchA, offset(b, l, row, r), k}, active);
      for (int64_t c = 0; c < columns; ++c)
        sums.push_back(vector::FMAOp::create(b, l, left, right[c], acc[r * columns + c]));
    }
    return sums;
  };
  SmallVector<Value> sums(rows * columns, zeroVector(b, loc));
  if (shape.k >= lanes) {
    auto loop = scf::ForOp::create(b, loc, kb::idx(b, loc, 0), kb::idx(b, loc, shape.k - rest), kb::idx(b, loc, lanes),
                                   sums, [&](OpBuilder &b, Location l, Value k, ValueRange acc) {
                                     scf::YieldOp::create(b, l, step(b, l, k, acc, lanes));
                                   });
    sums.assign(loop.result_begin(), loop.result_end());
  }
  if (rest)
    sums = step(b, loc, kb::idx(b, loc, shape.k - rest), sums, rest);
  auto reassoc = arith::FastMathFlagsAttr::get(b.getContext(), arith::FastMathFlags::reassoc);
  for (int64_t r = 0; r < rows; ++r)
    for (int64_t c = 0; c < columns; ++c) {
      Value at = offset(b, loc, column, c);
      Value sum = vector::ReductionOp::create(b, loc, vector::CombiningKind::ADD, sums[r * columns + c],
                                              reassoc.getValue());
      if (op.getBias())
        sum = kb::add(b, loc, sum, convertTo(b, loc, kernel.load(b, loc, 2, {at}), type));
      memref::StoreOp::create(b, loc, convertTo(b, loc, sum, stored), o.c,
                              ValueRange{o.batchC, offset(b, loc, row, r), at});
    }
}

void HostMatmul::emitDot() {
  int64_t width = balanced(shape.n, 4), height = balanced(shape.m, 6);
  int64_t rowBytes = std::max<int64_t>(shape.k, 1) * elementBytes(type);
  // Columns of one iteration: their rows of the right operand stay in cache while all rows of the left pass.
  int64_t perBlock = std::clamp<int64_t>(blockBytes / rowBytes / width, 1, 16);
  int64_t fullColumns = shape.n / width, restColumns = shape.n % width, allColumns = ceilDiv(shape.n, width);
  int64_t fullRows = shape.m / height, restRows = shape.m % height, allRows = ceilDiv(shape.m, height);
  while (perBlock > 1 && batches * ceilDiv(allColumns, perBlock) * allRows < 16)
    perBlock /= 2;
  int64_t blocks = ceilDiv(allColumns, perBlock);

  kernel.parallel({batches * blocks * allRows}, [&](OpBuilder &b, Location loc, ValueRange ivs) {
    SmallVector<Value> at = kb::delinearize(b, loc, ivs[0], {batches, blocks, allRows});
    Operands o = operandsAt(b, loc, at[0]);
    Value row = kb::mul(b, loc, at[2], kb::idx(b, loc, height));
    auto rows = [&](OpBuilder &b, Location loc, int64_t count) {
      Value begin = kb::mul(b, loc, at[1], kb::idx(b, loc, perBlock));
      Value end = kb::min(b, loc, kb::add(b, loc, begin, kb::idx(b, loc, perBlock)), kb::idx(b, loc, fullColumns));
      KernelBuilder::loop(b, loc, begin, end, [&](OpBuilder &b, Location l, Value tile) {
        dotTile(b, l, o, row, count, kb::mul(b, l, tile, kb::idx(b, l, width)), width);
      });
      if (!restColumns)
        return;
      Value last = arith::CmpIOp::create(b, loc, arith::CmpIPredicate::eq, at[1], kb::idx(b, loc, blocks - 1));
      kb::when(b, loc, last, [&](OpBuilder &b, Location l) {
        dotTile(b, l, o, row, count, kb::idx(b, l, fullColumns * width), restColumns);
      });
    };
    if (!restRows)
      return rows(b, loc, height);
    if (!fullRows)
      return rows(b, loc, restRows);
    Value full = arith::CmpIOp::create(b, loc, arith::CmpIPredicate::slt, at[2], kb::idx(b, loc, fullRows));
    ifElse(
        b, loc, full, [&](OpBuilder &b, Location l) { rows(b, l, height); },
        [&](OpBuilder &b, Location l) { rows(b, l, restRows); });
  });
}

//===- Transposing the right operand ----------------------------------------------------------------------===//

/// Right operand [n, k] into the workspace as [k, n]: one iteration reads 16 columns of a stripe, so that whole cache
/// lines are used on both sides.
void HostMatmul::transposeRight() {
  int64_t count = numElements(shape.batchB), stripes = ceilDiv(shape.n, 16);
  kernel.parallel({count * stripes}, [&](OpBuilder &b, Location loc, ValueRange ivs) {
    SmallVector<Value> at = kb::delinearize(b, loc, ivs[0], {count, stripes});
    Value from = reshapeBuffer(b, loc, kernel.operandBuffer(1), {count, shape.n, shape.k});
    Value to = kernel.workspace(b, 0, {count, shape.k, shape.n}, stored);
    Value lo = kb::mul(b, loc, at[1], kb::idx(b, loc, 16));
    Value hi = kb::min(b, loc, kb::add(b, loc, lo, kb::idx(b, loc, 16)), kb::idx(b, loc, shape.n));
    KernelBuilder::loop(b, loc, kb::idx(b, loc, 0), kb::idx(b, loc, shape.k), [&](OpBuilder &b, Location l, Value k) {
      KernelBuilder::loop(b, l, lo, hi, [&](OpBuilder &b, Location l, Value n) {
        storeWorkspace(b, l, loadWorkspace(b, l, from, {at[0], n, k}), to, {at[0], k, n});
      });
    });
  });
  transposed = true;
  shape.transposeB = false;
}

} // namespace

void emitHostMatmul(MatmulOp op, KernelBuilder &kernel) {
  if (numElements(kernel.resultShape(0)) > 0)
    HostMatmul(op, kernel).emit();
}

} // namespace gmc::nn
