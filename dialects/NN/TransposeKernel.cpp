//===- TransposeKernel.cpp - loops of a transposition ------------------------------------------------------===//
//
// Neighbouring dimensions that stay neighbours are one. Where the operand's last dimension stays last, rows are copied.
// Where it does not, a host iteration moves a block by square tiles of vectors: whole cache lines are read and whole
// cache lines are written, and between the two the elements change places in registers. A block of GPU threads moves a
// tile through shared memory, whose rows are padded so that both its rows and its columns lie in different banks.
//
//===-----------------------------------------------------------------------------------------------------===//

#include "dialects/NN/GpuStage.h"
#include "dialects/NN/KernelSupport.h"
#include "dialects/NN/Movement.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"
#include "llvm/Support/MathExtras.h"

using namespace mlir;

namespace gmc::nn {

namespace {

/// Rows and columns of a tile: lanes of a vector.
constexpr int64_t tileSize = 16;
/// Rows and columns of a block: a few lines of each row of the operand, which its prefetcher fetches together.
constexpr int64_t blockSize = 64;
/// Threads for a block's tile on a GPU, also of blockSize rows and columns.
constexpr int64_t gpuThreads = 256;

/// The permutation of the merged dimensions.
struct Merged {
  SmallVector<int64_t> shape, perm; ///< of the result; which dimension of the operand each one is

  Merged(ArrayRef<int64_t> resultShape, ArrayRef<int64_t> permutation) {
    SmallVector<int64_t> first; // of each merged dimension, the first of the operand's in it
    int64_t previous = -2;
    for (auto [size, from] : llvm::zip(resultShape, permutation)) {
      if (from == previous + 1) {
        shape.back() *= size;
      } else {
        shape.push_back(size);
        first.push_back(from);
      }
      previous = from;
    }
    SmallVector<int64_t> sorted(first);
    llvm::sort(sorted);
    for (int64_t from : first)
      perm.push_back(llvm::find(sorted, from) - sorted.begin());
  }
};

/// A tile's rows, transposed: in each of the steps, rows that lie `distance` apart swap what lies beside the diagonal.
void transposeTile(OpBuilder &b, Location loc, MutableArrayRef<Value> rows) {
  for (int64_t distance = tileSize / 2; distance > 0; distance /= 2) {
    SmallVector<int64_t> low, high;
    for (int64_t lane = 0; lane < tileSize; ++lane) {
      bool left = !(lane & distance);
      low.push_back(left ? lane : tileSize + lane - distance);
      high.push_back(left ? lane + distance : tileSize + lane);
    }
    for (int64_t row = 0; row < tileSize; ++row) {
      if (row & distance)
        continue;
      Value x = rows[row], y = rows[row + distance];
      rows[row] = vector::ShuffleOp::create(b, loc, x, y, low);
      rows[row + distance] = vector::ShuffleOp::create(b, loc, x, y, high);
    }
  }
}

class Transposer {
public:
  Transposer(KernelBuilder &kernel, ArrayRef<int64_t> permutation)
      : kernel(kernel), m(kernel.resultShape(0), permutation), rank(m.shape.size()) {
    // The operand's last dimension is `fast` of the result; the result's last is the other one of a tile.
    fast = llvm::find(m.perm, rank - 1) - m.perm.begin();
    SmallVector<int64_t> from(rank);
    for (int64_t d = 0; d < rank; ++d)
      from[m.perm[d]] = m.shape[d];
    SmallVector<int64_t> strides(rank, 1);
    for (int64_t d = rank - 1; d-- > 0;)
      strides[d] = strides[d + 1] * from[d + 1];
    sourceStrides = llvm::map_to_vector(m.perm, [&](int64_t d) { return strides[d]; });
    targetStrides.assign(rank, 1);
    for (int64_t d = rank - 1; d-- > 0;)
      targetStrides[d] = targetStrides[d + 1] * m.shape[d + 1];
  }

  void emit() {
    Type element = kernel.resultElementType(0);
    bool swaps = rank > 1 && fast != rank - 1 && m.shape[fast] >= 4 && m.shape[rank - 1] >= 4;
    if (kernel.target() == KernelTarget::Gpu && swaps && element.getIntOrFloatBitWidth() >= 8)
      return emitThroughShared(bufferElement(element));
    bool tiles = swaps && kernel.target() == KernelTarget::Host && kernel.operandBuffer(0) && kernel.resultBuffer(0) &&
                 element.getIntOrFloatBitWidth() >= 16;
    if (tiles)
      return emitTiles(VectorType::get({tileSize}, signless(element)));
    kernel.parallel(m.shape, [&](OpBuilder &b, Location loc, ValueRange ivs) {
      Value value = loadFlat(kernel, b, loc, 0, offset(b, loc, ivs, sourceStrides));
      storeFlat(kernel, b, loc, value, 0, offset(b, loc, ivs, targetStrides));
    });
  }

private:
  Value offset(OpBuilder &b, Location loc, ValueRange ivs, ArrayRef<int64_t> strides) const {
    Value sum = kb::idx(b, loc, 0);
    for (auto [iv, stride] : llvm::zip(ivs, strides))
      sum = kb::add(b, loc, sum, kb::mul(b, loc, iv, kb::idx(b, loc, stride)));
    return sum;
  }

  void emitTiles(VectorType vector) {
    SmallVector<int64_t> extents(m.shape);
    extents[fast] = llvm::divideCeil(m.shape[fast], blockSize);
    extents[rank - 1] = llvm::divideCeil(m.shape[rank - 1], blockSize);
    kernel.parallel({numElements(extents)}, [&](OpBuilder &b, Location loc, ValueRange linear) {
      SmallVector<Value> ivs = kb::delinearize(b, loc, linear[0], extents);
      Value from = flatten(b, loc, kernel.operandBuffer(0)), to = flatten(b, loc, kernel.resultBuffer(0));
      SmallVector<Value> outer(ivs);
      outer[fast] = outer[rank - 1] = kb::idx(b, loc, 0);
      Value source = offset(b, loc, outer, sourceStrides), target = offset(b, loc, outer, targetStrides);
      // Of each of the two dimensions: where the block begins, where its whole tiles end, where it ends.
      auto bounds = [&](int64_t d) {
        Value lo = kb::mul(b, loc, ivs[d], kb::idx(b, loc, blockSize));
        Value hi = kb::min(b, loc, kb::add(b, loc, lo, kb::idx(b, loc, blockSize)), kb::idx(b, loc, m.shape[d]));
        Value rest = kb::rem(b, loc, kb::sub(b, loc, hi, lo), kb::idx(b, loc, tileSize));
        return std::array<Value, 3>{lo, kb::sub(b, loc, hi, rest), hi};
      };
      std::array<Value, 3> rows = bounds(fast), columns = bounds(rank - 1);
      // Row and column of the result to places in the two buffers.
      auto sourceAt = [&](OpBuilder &b, Location l, Value row, Value column) {
        Value at = kb::add(b, l, source, row);
        return kb::add(b, l, at, kb::mul(b, l, column, kb::idx(b, l, sourceStrides[rank - 1])));
      };
      auto targetAt = [&](OpBuilder &b, Location l, Value row, Value column) {
        Value at = kb::add(b, l, target, column);
        return kb::add(b, l, at, kb::mul(b, l, row, kb::idx(b, l, targetStrides[fast])));
      };
      Value step = kb::idx(b, loc, tileSize);
      auto tiles = [&](OpBuilder &b, Location l, Value lo, Value hi,
                       function_ref<void(OpBuilder &, Location, Value)> body) {
        scf::ForOp::create(b, l, lo, hi, step, ValueRange{}, [&](OpBuilder &b, Location l, Value i, ValueRange) {
          body(b, l, i);
          scf::YieldOp::create(b, l);
        });
      };
      // Through the caches, whole rows of the block are written one after the other. Past them, what is read is better
      // in sequence.
      bool alongRows = !kernel.streams(0) || vector.getElementTypeBitWidth() < 32;
      auto [outerLo, outerHi, outerEnd] = alongRows ? rows : columns;
      auto [innerLo, innerHi, innerEnd] = alongRows ? columns : rows;
      tiles(b, loc, outerLo, outerHi, [&, innerLo = innerLo, innerHi = innerHi](OpBuilder &b, Location l, Value outer) {
        tiles(b, l, innerLo, innerHi, [&](OpBuilder &b, Location l, Value inner) {
          Value row = alongRows ? outer : inner, column = alongRows ? inner : outer;
          SmallVector<Value> lines;
          for (int64_t k = 0; k < tileSize; ++k)
            lines.push_back(vector::LoadOp::create(
                b, l, vector, from, ValueRange{sourceAt(b, l, row, kb::add(b, l, column, kb::idx(b, l, k)))}));
          transposeTile(b, l, lines);
          for (int64_t k = 0; k < tileSize; ++k)
            vector::StoreOp::create(b, l, lines[k], to,
                                    ValueRange{targetAt(b, l, kb::add(b, l, row, kb::idx(b, l, k)), column)});
        });
      });
      // What is left beside whole tiles, and below them.
      auto single = [&](std::pair<Value, Value> rowRange, std::pair<Value, Value> columnRange) {
        KernelBuilder::loop(b, loc, rowRange.first, rowRange.second, [&](OpBuilder &b, Location l, Value row) {
          KernelBuilder::loop(b, l, columnRange.first, columnRange.second, [&](OpBuilder &b, Location l, Value column) {
            storeWorkspace(b, l, loadWorkspace(b, l, from, {sourceAt(b, l, row, column)}), to,
                           {targetAt(b, l, row, column)});
          });
        });
      };
      single({rows[0], rows[1]}, {columns[1], columns[2]});
      single({rows[1], rows[2]}, {columns[0], columns[2]});
    });
  }

  void emitThroughShared(Type element) {
    SmallVector<int64_t> extents(m.shape);
    extents[fast] = llvm::divideCeil(m.shape[fast], blockSize);
    extents[rank - 1] = llvm::divideCeil(m.shape[rank - 1], blockSize);
    int64_t bytes = elementBytes(element), lanes = std::max<int64_t>(16 / bytes, 1);
    kernel.cooperative(
        {numElements(extents)}, gpuThreads, [&](OpBuilder &b, Location loc, ValueRange linear, const GpuBlock &block) {
          SmallVector<Value> outer = kb::delinearize(b, loc, linear[0], extents);
          Value row = kb::mul(b, loc, outer[fast], kb::idx(b, loc, blockSize));
          Value column = kb::mul(b, loc, outer[rank - 1], kb::idx(b, loc, blockSize));
          outer[fast] = row;
          outer[rank - 1] = column;
          Value source = offset(b, loc, outer, sourceStrides), target = offset(b, loc, outer, targetStrides);
          Value tile = block.shared({blockSize, blockSize + std::max<int64_t>(4 / bytes, 1)},
                                    element); // [column][row] of the result
          // Vectors along the dimension `along`, the lines of the tile along `across`, each `stride` elements behind
          // the one before: what lies inside of both. Lines that begin inside of a vector have vectors at whose ends
          // elements are not theirs; `inside` says which are.
          using Body = function_ref<void(OpBuilder &, Location, Value, Value, Value, ArrayRef<Value>)>;
          auto lines = [&](int64_t along, int64_t across, Value begin, int64_t stride, Body body) {
            bool aligned = m.shape[along] % lanes == 0;
            int64_t vectors = blockSize / lanes + !aligned;
            auto left = [&](OpBuilder &b, Location l, int64_t d) {
              return kb::sub(b, l, kb::idx(b, l, m.shape[d]), d == fast ? row : column);
            };
            block.strided(b, loc, blockSize * vectors, [&](OpBuilder &b, Location l, Value i) {
              SmallVector<Value> at = kb::delinearize(b, l, i, {blockSize, vectors});
              Value position = kb::add(b, l, begin, kb::mul(b, l, at[0], kb::idx(b, l, stride)));
              Value first = kb::mul(b, l, at[1], kb::idx(b, l, lanes)), end = left(b, l, along);
              if (!aligned) {
                first = kb::sub(b, l, first, b.createOrFold<arith::RemUIOp>(l, position, kb::idx(b, l, lanes)));
                end = kb::min(b, l, end, kb::idx(b, l, blockSize));
              }
              Value some = arith::CmpIOp::create(b, l, arith::CmpIPredicate::slt, first, end);
              Value exists = arith::CmpIOp::create(b, l, arith::CmpIPredicate::slt, at[0], left(b, l, across));
              kb::when(b, l, arith::AndIOp::create(b, l, exists, some), [&](OpBuilder &b, Location l) {
                SmallVector<Value> inside;
                for (int64_t k = 0; k < lanes && !aligned; ++k)
                  inside.push_back(kb::inRange(b, l, kb::add(b, l, first, kb::idx(b, l, k)), kb::idx(b, l, 0), end));
                body(b, l, at[0], first, kb::add(b, l, position, first), inside);
              });
            });
          };
          lines(fast, rank - 1, source, sourceStrides[rank - 1],
                [&](OpBuilder &b, Location l, Value c, Value r, Value at, ArrayRef<Value> inside) {
                  for (auto [k, value] : llvm::enumerate(loadChunk(kernel, b, l, 0, at, lanes, /*present=*/nullptr))) {
                    auto put = [&, k = k, value = value](OpBuilder &b, Location l) {
                      storeWorkspace(b, l, value, tile, {c, kb::add(b, l, r, kb::idx(b, l, k))});
                    };
                    inside.empty() ? put(b, l) : kb::when(b, l, inside[k], put);
                  }
                });
          block.barrier(b, loc);
          lines(rank - 1, fast, target, targetStrides[fast],
                [&](OpBuilder &b, Location l, Value r, Value c, Value at, ArrayRef<Value> inside) {
                  SmallVector<Value> values;
                  for (int64_t k = 0; k < lanes; ++k) {
                    Value from = kb::add(b, l, c, kb::idx(b, l, k));
                    if (!inside.empty())
                      from = arith::SelectOp::create(b, l, inside[k], from, kb::idx(b, l, 0));
                    values.push_back(loadWorkspace(b, l, tile, {from, r}));
                  }
                  inside.empty() ? kernel.storeNeighbours(b, l, values, 0, at)
                                 : storeChunk(kernel, b, l, 0, values, at, inside);
                });
        });
  }

  KernelBuilder &kernel;
  Merged m;
  int64_t rank, fast;
  SmallVector<int64_t> sourceStrides, targetStrides; ///< in elements, by dimension of the result
};

} // namespace

void TransposeOp::emitKernel(KernelBuilder &kernel) { Transposer(kernel, getPerm()).emit(); }

} // namespace gmc::nn
