//===- GpuTile.cpp - multiplying slices in shared memory, by threads or by tensor cores -----------------===//

#include "dialects/NN/GpuTile.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/Dialect/LLVMIR/NVVMDialect.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"

using namespace mlir;

namespace gmc::nn {

static Value offset(OpBuilder &b, Location loc, Value base, int64_t by) {
  return by ? kb::add(b, loc, base, kb::idx(b, loc, by)) : base;
}

namespace {

static constexpr int64_t stages = 2;

/// A slice is [k][row], as f32. A sum is a vector of 4 columns; those of a thread are apart, so that neighbouring
/// threads read neighbouring columns.
class ThreadTile : public GpuTile {
public:
  using GpuTile::GpuTile;

  GpuSlice slice(int64_t extent, bool alongDepth) const override {
    // 4 floats of padding keep rows 16-byte aligned and spread transposing stores over the banks.
    return {block.shared({stages, t.tileDepth, extent + 4}, Float32Type::get(t.element.getContext())), alongDepth};
  }

  void put(OpBuilder &b, Location loc, const GpuSlice &slice, Value stage, Value outer, Value k,
           Value value) const override {
    int64_t width = widthOf(value);
    value = asF32(b, loc, value);
    if (width == 1) {
      memref::StoreOp::create(b, loc, value, slice.buffer, ValueRange{stage, k, outer});
      return;
    }
    for (int64_t i = 0; i < width && slice.alongDepth; ++i)
      memref::StoreOp::create(b, loc, vector::ExtractOp::create(b, loc, value, i), slice.buffer,
                              ValueRange{stage, offset(b, loc, k, i), outer});
    int64_t part = std::min<int64_t>(width, 4);
    for (int64_t i = 0; i < width && !slice.alongDepth; i += part) {
      Value some = width == part ? value : Value(vector::ExtractStridedSliceOp::create(b, loc, value, i, part, 1));
      vector::StoreOp::create(b, loc, some, slice.buffer, ValueRange{stage, k, offset(b, loc, outer, i)}, false,
                              llvm::Align(4 * part));
    }
  }

  void place(OpBuilder &b, Location loc) override {
    Value across = kb::idx(b, loc, t.tileColumns / t.partColumns);
    row = b.createOrFold<arith::DivUIOp>(loc, block.thread(), across);
    row = kb::mul(b, loc, row, kb::idx(b, loc, t.partRows));
    column = b.createOrFold<arith::RemUIOp>(loc, block.thread(), across);
    column = kb::mul(b, loc, column, kb::idx(b, loc, 4));
  }

  SmallVector<Value> zeros(OpBuilder &b, Location loc) const override {
    Value zero = arith::ConstantOp::create(b, loc, b.getZeroAttr(VectorType::get({4}, b.getF32Type())));
    return SmallVector<Value>(t.partRows * t.partColumns / 4, zero);
  }

  int64_t depthStep() const override { return 1; }

  SmallVector<Value> multiply(OpBuilder &b, Location loc, const GpuSlice &sliceA, const GpuSlice &sliceB, Value stage,
                              ValueRange sums, int64_t depth) const override {
    auto four = VectorType::get({4}, b.getF32Type());
    SmallVector<Value> result(sums);
    auto load = [&](const GpuSlice &slice, int64_t k, Value first, int64_t i) -> Value {
      return vector::LoadOp::create(b, loc, four, slice.buffer,
                                    ValueRange{stage, kb::idx(b, loc, k), offset(b, loc, first, i)}, false,
                                    llvm::Align(16));
    };
    for (int64_t k = 0; k < depth; ++k) {
      SmallVector<Value> right;
      for (int64_t j = 0; j < t.partColumns; j += 4)
        right.push_back(load(sliceB, k, column, apart(j)));
      size_t at = 0;
      for (int64_t i = 0; i < t.partRows; i += 4) {
        Value left = load(sliceA, k, row, i);
        for (int64_t r = 0; r < 4; ++r) {
          Value splat = vector::BroadcastOp::create(b, loc, four, vector::ExtractOp::create(b, loc, left, r));
          for (Value x : right) {
            result[at] = vector::FMAOp::create(b, loc, splat, x, result[at]);
            ++at;
          }
        }
      }
    }
    return result;
  }

  void finish(OpBuilder &b, Location loc, ValueRange sums, int64_t width, Finish finish) const override {
    size_t at = 0;
    for (int64_t i = 0; i < t.partRows; ++i)
      for (int64_t j = 0; j < t.partColumns; j += 4, ++at)
        for (int64_t c = 0; c < 4; c += width) {
          Value some = width == 4   ? Value(sums[at])
                       : width == 1 ? Value(vector::ExtractOp::create(b, loc, sums[at], c))
                                    : Value(vector::ExtractStridedSliceOp::create(b, loc, sums[at], c, width, 1));
          finish(b, loc, offset(b, loc, row, i), offset(b, loc, column, apart(j) + c), some);
        }
  }

private:
  /// From the thread's first column to its j-th, a multiple of 4.
  int64_t apart(int64_t j) const { return j * (t.tileColumns / t.partColumns); }

  Value row, column;
};

/// A slice lies in shared memory as the operand does, [row][k] or [k][row], in its type: nothing is transposed until
/// ldmatrix hands it to the lanes. mma.sync m16n8k16 spreads its operands over the lanes of the warp: with g = lane / 4
/// and q = lane % 4, a lane holds of A rows g and g + 8, of B column g, at k = 2 q, 2 q + 1 and 8 further, and of the
/// sums rows g and g + 8 at columns 2 q, 2 q + 1.
class WarpTile : public GpuTile {
public:
  using GpuTile::GpuTile;

  // 8 elements of padding: rows stay 16-byte aligned, and eight rows that ldmatrix reads are in different banks.
  GpuSlice slice(int64_t extent, bool alongDepth) const override {
    SmallVector<int64_t> shape = alongDepth ? SmallVector<int64_t>{stages, extent, t.tileDepth + 8}
                                            : SmallVector<int64_t>{stages, t.tileDepth, extent + 8};
    return {block.shared(shape, t.element), alongDepth};
  }

  void put(OpBuilder &b, Location loc, const GpuSlice &slice, Value stage, Value outer, Value k,
           Value value) const override {
    SmallVector<Value> at{stage, slice.alongDepth ? outer : k, slice.alongDepth ? k : outer};
    if (int64_t width = widthOf(value); width == 1)
      memref::StoreOp::create(b, loc, value, slice.buffer, at);
    else
      vector::StoreOp::create(b, loc, value, slice.buffer, at, false, llvm::Align(2 * width));
  }

  void place(OpBuilder &b, Location loc) override {
    Value across = kb::idx(b, loc, t.tileColumns / t.partColumns), lane = block.lane(b, loc), warp = block.warp(b, loc);
    auto bits = [&](int64_t divisor, int64_t modulus, int64_t scale) {
      Value x = b.createOrFold<arith::DivUIOp>(loc, lane, kb::idx(b, loc, divisor));
      x = b.createOrFold<arith::RemUIOp>(loc, x, kb::idx(b, loc, modulus));
      return kb::mul(b, loc, x, kb::idx(b, loc, scale));
    };
    Value firstRow = kb::mul(b, loc, b.createOrFold<arith::DivUIOp>(loc, warp, across), kb::idx(b, loc, t.partRows));
    Value firstColumn =
        kb::mul(b, loc, b.createOrFold<arith::RemUIOp>(loc, warp, across), kb::idx(b, loc, t.partColumns));
    row = kb::add(b, loc, firstRow, bits(4, 8, 1));
    column = kb::add(b, loc, firstColumn, bits(1, 4, 2));
    // The rows of the four matrices that a lane names. The second matrix of A is 8 rows further, of B 8 k; the third
    // the other way round.
    Value eighth = bits(1, 8, 1), second = bits(8, 2, 8), third = bits(16, 2, 8);
    auto outerAndK = [&](bool alongDepth, Value first, Value alongOuter, Value alongK, Value *at) {
      at[0] = kb::add(b, loc, first, alongDepth ? kb::add(b, loc, alongOuter, eighth) : alongOuter);
      at[1] = alongDepth ? alongK : kb::add(b, loc, alongK, eighth);
    };
    for (bool alongDepth : {false, true}) {
      outerAndK(alongDepth, firstRow, second, third, matrixA[alongDepth]);
      outerAndK(alongDepth, firstColumn, third, second, matrixB[alongDepth]);
    }
  }

  SmallVector<Value> zeros(OpBuilder &b, Location loc) const override {
    return SmallVector<Value>(t.partRows / 16 * (t.partColumns / 8) * 4, kb::constant(b, loc, b.getF32Type(), 0));
  }

  int64_t depthStep() const override { return 16; }

  SmallVector<Value> multiply(OpBuilder &b, Location loc, const GpuSlice &sliceA, const GpuSlice &sliceB, Value stage,
                              ValueRange sums, int64_t depth) const override {
    SmallVector<Value> result(sums);
    for (int64_t k = 0; k < depth; k += depthStep()) {
      SmallVector<SmallVector<Value>> right;
      for (int64_t j = 0; j < t.partColumns; j += 16) {
        SmallVector<Value> two = load(b, loc, sliceB, stage, matrixB[sliceB.alongDepth], j, k);
        right.push_back({two[0], two[1]});
        right.push_back({two[2], two[3]});
      }
      size_t at = 0;
      for (int64_t i = 0; i < t.partRows; i += 16) {
        SmallVector<Value> left = load(b, loc, sliceA, stage, matrixA[sliceA.alongDepth], i, k);
        for (const SmallVector<Value> &x : right) {
          SmallVector<Value> sum = multiplyAdd(b, loc, left, x, ArrayRef(result).slice(at, 4));
          llvm::copy(sum, result.begin() + at);
          at += 4;
        }
      }
    }
    return result;
  }

  void finish(OpBuilder &b, Location loc, ValueRange sums, int64_t width, Finish finish) const override {
    // Column by column: what depends on the column alone is tested and computed once.
    int64_t across = t.partColumns / 8, together = std::min<int64_t>(width, 2);
    auto two = VectorType::get({2}, b.getF32Type());
    for (int64_t j = 0; j < t.partColumns; j += 8)
      for (int64_t first = 0; first < 2; first += together)
        for (int64_t i = 0; i < t.partRows; i += 8) {
          ValueRange pair = sums.slice((i / 16 * across + j / 8) * 4 + i % 16 / 4, 2);
          Value sum = together == 1 ? pair[first] : Value(vector::FromElementsOp::create(b, loc, two, pair));
          finish(b, loc, offset(b, loc, row, i), offset(b, loc, column, j + first), sum);
        }
  }

private:
  /// The registers of 16 rows (columns) by 16 k of a slice from row `outer` and k = `first` of the warp's part on.
  SmallVector<Value> load(OpBuilder &b, Location loc, const GpuSlice &slice, Value stage, const Value *place,
                          int64_t outer, int64_t first) const {
    Value o = offset(b, loc, place[0], outer), k = offset(b, loc, place[1], first);
    SmallVector<Value> indices{stage, slice.alongDepth ? o : k, slice.alongDepth ? k : o};
    SmallVector<Value> registers = block.loadMatrices(b, loc, slice.buffer, indices, /*transposed=*/!slice.alongDepth);
    if (t.element.isF16())
      for (Value &pair : registers)
        pair = LLVM::BitcastOp::create(b, loc, VectorType::get({2}, t.element), pair);
    return registers;
  }

  SmallVector<Value> multiplyAdd(OpBuilder &b, Location loc, ArrayRef<Value> left, ArrayRef<Value> right,
                                 ArrayRef<Value> sums) const {
    Type f32 = b.getF32Type();
    auto result = LLVM::LLVMStructType::getLiteral(b.getContext(), {f32, f32, f32, f32});
    NVVM::MMATypes type = t.element.isBF16() ? NVVM::MMATypes::bf16 : NVVM::MMATypes::f16;
    Value all = NVVM::MmaOp::create(b, loc, result, left, right, sums, {16, 8, 16}, std::nullopt, std::nullopt,
                                    std::array{type, type}, std::array{NVVM::MMALayout::row, NVVM::MMALayout::col});
    SmallVector<Value> values;
    for (int64_t i = 0; i < 4; ++i)
      values.push_back(LLVM::ExtractValueOp::create(b, loc, all, i));
    return values;
  }

  Value row, column;
  Value matrixA[2][2], matrixB[2][2]; ///< by alongDepth: row (column) and k that the lane names for ldmatrix
};

} // namespace

std::unique_ptr<GpuTile> createThreadTile(const GemmTiling &tiling, const GpuBlock &block) {
  return std::make_unique<ThreadTile>(tiling, block);
}
std::unique_ptr<GpuTile> createWarpTile(const GemmTiling &tiling, const GpuBlock &block) {
  return std::make_unique<WarpTile>(tiling, block);
}

} // namespace gmc::nn
