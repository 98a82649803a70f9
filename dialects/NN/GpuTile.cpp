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

/// A slice is [k][row], as f32. A sum is a vector of 4 columns.
class ThreadTile : public GpuTile {
public:
  using GpuTile::GpuTile;

  Value slice(int64_t extent) const override {
    // 4 floats of padding keep rows 16-byte aligned and spread transposing stores over the banks.
    return block.shared({t.tileDepth, extent + 4}, Float32Type::get(t.element.getContext()));
  }

  void put(OpBuilder &b, Location loc, Value slice, Value outer, Value k, Value value, bool alongDepth) const override {
    int64_t width = widthOf(value);
    value = asF32(b, loc, value);
    if (width == 1) {
      memref::StoreOp::create(b, loc, value, slice, ValueRange{k, outer});
      return;
    }
    for (int64_t i = 0; i < width && alongDepth; ++i)
      memref::StoreOp::create(b, loc, vector::ExtractOp::create(b, loc, value, i), slice,
                              ValueRange{offset(b, loc, k, i), outer});
    int64_t part = std::min<int64_t>(width, 4);
    for (int64_t i = 0; i < width && !alongDepth; i += part) {
      Value some = width == part ? value : Value(vector::ExtractStridedSliceOp::create(b, loc, value, i, part, 1));
      vector::StoreOp::create(b, loc, some, slice, ValueRange{k, offset(b, loc, outer, i)}, false, llvm::Align(4 * part));
    }
  }

  void place(OpBuilder &b, Location loc) override {
    Value across = kb::idx(b, loc, t.tileColumns / t.partColumns);
    row = b.createOrFold<arith::DivUIOp>(loc, block.thread(), across);
    row = kb::mul(b, loc, row, kb::idx(b, loc, t.partRows));
    column = b.createOrFold<arith::RemUIOp>(loc, block.thread(), across);
    column = kb::mul(b, loc, column, kb::idx(b, loc, t.partColumns));
  }

  SmallVector<Value> zeros(OpBuilder &b, Location loc) const override {
    Value zero = arith::ConstantOp::create(b, loc, b.getZeroAttr(VectorType::get({4}, b.getF32Type())));
    return SmallVector<Value>(t.partRows * t.partColumns / 4, zero);
  }

  SmallVector<Value> multiply(OpBuilder &b, Location loc, Value sliceA, Value sliceB, ValueRange sums) const override {
    auto four = VectorType::get({4}, b.getF32Type());
    SmallVector<Value> result(sums);
    auto load = [&](Value slice, int64_t k, Value first, int64_t i) -> Value {
      return vector::LoadOp::create(b, loc, four, slice, ValueRange{kb::idx(b, loc, k), offset(b, loc, first, i)}, false,
                                    llvm::Align(16));
    };
    for (int64_t k = 0; k < t.tileDepth; ++k) {
      SmallVector<Value> right;
      for (int64_t j = 0; j < t.partColumns; j += 4)
        right.push_back(load(sliceB, k, column, j));
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
          finish(b, loc, offset(b, loc, row, i), offset(b, loc, column, j + c), some);
        }
  }

private:
  Value row, column;
};

/// A slice is [row][k] in the operands' type. mma.sync m16n8k16 spreads its operands over the lanes of the warp: with g = lane / 4
/// and q = lane % 4, a lane holds of A rows g and g + 8, of B column g, at k = 2 q, 2 q + 1 and 8 further, and of the sums
/// rows g and g + 8 at columns 2 q, 2 q + 1.
class WarpTile : public GpuTile {
public:
  using GpuTile::GpuTile;

  // 8 elements of padding: rows stay 16-byte aligned, and the 32 lanes read fragments from different banks.
  Value slice(int64_t extent) const override { return block.shared({extent, t.tileDepth + 8}, t.element); }

  void put(OpBuilder &b, Location loc, Value slice, Value outer, Value k, Value value, bool alongDepth) const override {
    int64_t width = widthOf(value);
    if (width == 1) {
      memref::StoreOp::create(b, loc, value, slice, ValueRange{outer, k});
    } else if (alongDepth) {
      vector::StoreOp::create(b, loc, value, slice, ValueRange{outer, k}, false, llvm::Align(2 * width));
    } else {
      for (int64_t i = 0; i < width; ++i)
        memref::StoreOp::create(b, loc, vector::ExtractOp::create(b, loc, value, i), slice,
                                ValueRange{offset(b, loc, outer, i), k});
    }
  }

  void place(OpBuilder &b, Location loc) override {
    Value across = kb::idx(b, loc, t.tileColumns / t.partColumns), four = kb::idx(b, loc, 4), lane = block.lane(b, loc);
    Value group = b.createOrFold<arith::DivUIOp>(loc, lane, four);
    Value pair = kb::mul(b, loc, b.createOrFold<arith::RemUIOp>(loc, lane, four), kb::idx(b, loc, 2));
    Value warp = block.warp(b, loc);
    Value firstRow = kb::mul(b, loc, b.createOrFold<arith::DivUIOp>(loc, warp, across), kb::idx(b, loc, t.partRows));
    Value firstColumn = kb::mul(b, loc, b.createOrFold<arith::RemUIOp>(loc, warp, across), kb::idx(b, loc, t.partColumns));
    row = kb::add(b, loc, firstRow, group);
    columnB = kb::add(b, loc, firstColumn, group);
    column = kb::add(b, loc, firstColumn, pair);
    k = pair;
  }

  SmallVector<Value> zeros(OpBuilder &b, Location loc) const override {
    return SmallVector<Value>(t.partRows / 16 * (t.partColumns / 8) * 4, kb::constant(b, loc, b.getF32Type(), 0));
  }

  SmallVector<Value> multiply(OpBuilder &b, Location loc, Value sliceA, Value sliceB, ValueRange sums) const override {
    SmallVector<Value> result(sums);
    for (int64_t first = 0; first < t.tileDepth; first += 16) {
      SmallVector<SmallVector<Value>> right;
      for (int64_t j = 0; j < t.partColumns; j += 8)
        right.push_back({pairAt(b, loc, sliceB, columnB, j, first), pairAt(b, loc, sliceB, columnB, j, first + 8)});
      size_t at = 0;
      for (int64_t i = 0; i < t.partRows; i += 16) {
        SmallVector<Value> left{pairAt(b, loc, sliceA, row, i, first), pairAt(b, loc, sliceA, row, i + 8, first),
                                pairAt(b, loc, sliceA, row, i, first + 8), pairAt(b, loc, sliceA, row, i + 8, first + 8)};
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
    size_t at = 0;
    for (int64_t i = 0; i < t.partRows; i += 16)
      for (int64_t j = 0; j < t.partColumns; j += 8)
        for (int64_t half = 0; half < 2; ++half, at += 2) {
          Value r = offset(b, loc, row, i + 8 * half), c = offset(b, loc, column, j);
          if (width == 1) {
            finish(b, loc, r, c, sums[at]);
            finish(b, loc, r, offset(b, loc, c, 1), sums[at + 1]);
          } else {
            auto two = VectorType::get({2}, b.getF32Type());
            finish(b, loc, r, c, vector::FromElementsOp::create(b, loc, two, ValueRange{sums[at], sums[at + 1]}));
          }
        }
  }

private:
  /// Two elements along k of a slice, as the register that mma.sync takes.
  Value pairAt(OpBuilder &b, Location loc, Value slice, Value outer, int64_t i, int64_t first) const {
    Value pair = vector::LoadOp::create(b, loc, VectorType::get({2}, t.element), slice,
                                        ValueRange{offset(b, loc, outer, i), offset(b, loc, k, first)}, false, llvm::Align(4));
    return t.element.isBF16() ? Value(LLVM::BitcastOp::create(b, loc, b.getI32Type(), pair)) : pair;
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

  Value row, column, columnB, k;
};

} // namespace

std::unique_ptr<GpuTile> createThreadTile(const GemmTiling &tiling, const GpuBlock &block) {
  return std::make_unique<ThreadTile>(tiling, block);
}
std::unique_ptr<GpuTile> createWarpTile(const GemmTiling &tiling, const GpuBlock &block) {
  return std::make_unique<WarpTile>(tiling, block);
}

} // namespace gmc::nn
