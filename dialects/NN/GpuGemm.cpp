//===- GpuGemm.cpp - products tiled through shared memory for the GPU -----------------------------------===//

#include "dialects/NN/GpuGemm.h"
#include "dialects/NN/GpuSupport.h"
#include "dialects/NN/GpuTile.h"
#include "dialects/NN/KernelSupport.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"
#include "mlir/IR/TypeUtilities.h"

using namespace mlir;

namespace gmc::nn {

static int64_t ceilDiv(int64_t a, int64_t b) { return (a + b - 1) / b; }

/// Blocks that occupy a GPU: fewer, and smaller tiles or slices of k pay.
static constexpr int64_t enoughBlocks = 128;
/// What k is cut for: two blocks of the largest tile, which is what their registers allow, or four smaller ones on each
/// of the 132 multiprocessors of an H100, and no more: blocks of a second round would find most of them idle.
static constexpr int64_t roundOfLargest = 2 * 132, roundOfSmaller = 4 * 132;
static constexpr int64_t mostSlices = 256;
/// Slices whose sums one thread adds: their number decides what it waits for.
static constexpr int64_t summedAtOnce = 16;
static constexpr int64_t largestWorkspace = int64_t(16) << 20;

GemmTiling::GemmTiling(Type element, int64_t batches, int64_t rows, int64_t columns, int64_t depth)
    : element(element), batches(batches), rows(rows), columns(columns), depth(depth), slices(1) {
  struct Tile {
    int64_t threads, rows, columns, depth, partRows, partColumns, resident;
  };
  static constexpr std::initializer_list<Tile> byThreads = {
      {128, 64, 128, 8, 8, 8, 3}, {256, 64, 64, 16, 4, 4, 2}, {64, 32, 32, 16, 4, 4, 4}};
  static constexpr std::initializer_list<Tile> byWarps = {{256, 128, 128, 32, 64, 32, 2},
                                                          {128, 64, 128, 32, 32, 64, 3},
                                                          {128, 64, 64, 32, 32, 32, 3},
                                                          {128, 32, 32, 32, 16, 16, 4}};
  int64_t bytes = std::max<int64_t>(1, 4 * batches * rows * columns); // of partial sums
  for (const Tile &tile : element.isF32() ? byThreads : byWarps) {
    threads = tile.threads;
    tileRows = tile.rows;
    tileColumns = tile.columns;
    tileDepth = tile.depth;
    partRows = tile.partRows;
    partColumns = tile.partColumns;
    resident = tile.resident;
    bool fits = rows > tileRows / 2 && columns > tileColumns / 2;
    // A k as long as that is better cut than read for smaller tiles.
    int64_t cuts = std::clamp<int64_t>(std::min(depth / 1024, largestWorkspace / bytes), 1, mostSlices);
    if (fits && cuts * batches * rowTiles() * columnTiles() >= enoughBlocks)
      break;
  }
  int64_t blocks = std::max<int64_t>(1, batches * rowTiles() * columnTiles());
  int64_t round = tileRows == 128 ? roundOfLargest : roundOfSmaller;
  int64_t shortest = blocks < enoughBlocks ? 256 : 1024; // the fewer it helps, the longer it has to be
  slices = std::max<int64_t>(1, std::min({round / blocks, depth / shortest, mostSlices, largestWorkspace / bytes}));
  sliceDepth = std::max<int64_t>(1, ceilDiv(ceilDiv(depth, tileDepth), slices)) * tileDepth;
  slices = std::max<int64_t>(1, ceilDiv(depth, sliceDepth));
}

int64_t wideAccess(Type type, int64_t extent) {
  int64_t width = 16 / elementBytes(type);
  while (width > 1 && extent % width)
    width /= 2;
  return width;
}

int64_t widthOf(Value value) {
  auto vector = dyn_cast<VectorType>(value.getType());
  return vector ? vector.getNumElements() : 1;
}

static Type withElement(Value value, Type element) {
  auto vector = dyn_cast<VectorType>(value.getType());
  return vector ? Type(vector.clone(element)) : element;
}

Value asF32(OpBuilder &b, Location loc, Value value) {
  if (getElementTypeOrSelf(value.getType()).isF32())
    return value;
  return arith::ExtFOp::create(b, loc, withElement(value, b.getF32Type()), value);
}

Value readWide(OpBuilder &b, Location loc, Value buffer, Value at, int64_t width) {
  if (width == 1)
    return memref::LoadOp::create(b, loc, buffer, at);
  Type element = cast<MemRefType>(buffer.getType()).getElementType();
  return vector::LoadOp::create(b, loc, VectorType::get({width}, element), buffer, at, false,
                                llvm::Align(width * elementBytes(element)));
}

void writeWide(OpBuilder &b, Location loc, Value value, Value buffer, Value at) {
  Type element = cast<MemRefType>(buffer.getType()).getElementType();
  if (!element.isF32())
    value = arith::TruncFOp::create(b, loc, withElement(value, element), value);
  if (int64_t width = widthOf(value); width > 1)
    vector::StoreOp::create(b, loc, value, buffer, at, false, llvm::Align(width * elementBytes(element)));
  else
    memref::StoreOp::create(b, loc, value, buffer, at);
}

Value GpuGemm::Place::k(OpBuilder &b, Location loc) const {
  return kb::add(b, loc, slice, kb::add(b, loc, offset, kb::idx(b, loc, further)));
}

namespace {

/// What one thread brings of an operand's slice: elements (or vectors) at (outer, k) of it, one a round.
struct Fetch {
  const GpuGemm::Operand &operand;
  int64_t extent, tile; ///< rows or columns of the operand and of a slice
  int64_t depth, tileDepth;
  GpuSlice slice;
  Value batch, firstOuter;
  Value offset{};                  ///< in k, of this thread's first round
  SmallVector<int64_t> further{};  ///< of every round
  SmallVector<Value> outer{}, k{}; ///< within the slice, of every round
  Value guard{};                   ///< null: every thread has something to bring in every round

  void place(OpBuilder &b, Location loc, const GpuBlock &block);
  /// Reads this thread's part of the slice that starts at k = `first`, of which a partial one has only what depth
  /// leaves of it.
  SmallVector<Value> read(OpBuilder &b, Location loc, Value first, bool partial) const;
  /// Puts into shared memory what was read of it, and zeros behind that of a partial one, as far as it is multiplied.
  void put(OpBuilder &b, Location loc, const GpuTile &tile, Value stage, Value first, bool partial,
           ValueRange read) const;

private:
  int64_t present(bool partial) const { return partial ? depth % tileDepth : tileDepth; }
  /// The last position along a dimension of `size` at which elements may be read.
  int64_t lastPosition(int64_t size, bool along) const {
    return !along ? size - 1 : operand.ragged ? (size - 1) / operand.width * operand.width : size - operand.width;
  }
  /// Rounds that have anything to read: later ones are further in k.
  size_t rounds(bool partial) const {
    return llvm::count_if(further, [&](int64_t by) { return by < present(partial); });
  }
  GpuGemm::Place at(OpBuilder &b, Location loc, Value first, bool partial, size_t round) const;
};

/// Which part of a slice is this thread's: neighbouring threads read neighbouring memory. Sizes are powers of two.
void Fetch::place(OpBuilder &b, Location loc, const GpuBlock &block) {
  int64_t threads = block.threads(), total = tile * tileDepth / operand.width;
  int64_t widthK = operand.alongDepth ? operand.width : 1, widthOuter = operand.width / widthK;
  bool threadsAlongDepth = operand.alongDepth != operand.gathered;
  int64_t size = threadsAlongDepth ? tileDepth / widthK : tile / widthOuter;
  Value fast = b.createOrFold<arith::RemUIOp>(loc, block.thread(), kb::idx(b, loc, size));
  Value slow = b.createOrFold<arith::DivUIOp>(loc, block.thread(), kb::idx(b, loc, size));
  auto scaled = [&](Value v, int64_t by) { return kb::mul(b, loc, v, kb::idx(b, loc, by)); };
  offset = scaled(threadsAlongDepth ? fast : slow, widthK);
  Value firstOuter = scaled(threadsAlongDepth ? slow : fast, widthOuter);
  for (int64_t first = 0; first < total; first += threads) {
    int64_t fastBy = first % size, slowBy = first / size;
    further.push_back(widthK * (threadsAlongDepth ? fastBy : slowBy));
    int64_t outerBy = widthOuter * (threadsAlongDepth ? slowBy : fastBy);
    outer.push_back(kb::add(b, loc, firstOuter, kb::idx(b, loc, outerBy)));
    k.push_back(kb::add(b, loc, offset, kb::idx(b, loc, further.back())));
  }
  if (total % threads) // then there is one round, which the last threads sit out
    guard = arith::CmpIOp::create(b, loc, arith::CmpIPredicate::ult, block.thread(), kb::idx(b, loc, total));
}

/// Where a round reads. Past the last row or column anything existing will do: such sums are not stored.
GpuGemm::Place Fetch::at(OpBuilder &b, Location loc, Value first, bool partial, size_t round) const {
  GpuGemm::Place at{batch, kb::add(b, loc, firstOuter, outer[round]), first, offset, further[round]};
  auto clamped = [&](Value v, int64_t size, bool along) {
    return b.createOrFold<arith::MinUIOp>(loc, v, kb::idx(b, loc, lastPosition(size, along)));
  };
  if (extent % tile || guard)
    at.outer = clamped(at.outer, extent, !operand.alongDepth);
  if (partial || guard) {
    at.offset = clamped(k[round], present(partial), operand.alongDepth);
    at.further = 0;
  }
  return at;
}

SmallVector<Value> Fetch::read(OpBuilder &b, Location loc, Value first, bool partial) const {
  ReadAhead ahead;
  for (size_t round = 0; round < rounds(partial); ++round)
    operand.read(b, loc, at(b, loc, first, partial, round), ahead);
  return std::move(ahead.values);
}

void Fetch::put(OpBuilder &b, Location loc, const GpuTile &form, Value stage, Value first, bool partial,
                ValueRange read) const {
  ReadAhead ahead(read);
  int64_t size = present(partial), width = operand.alongDepth ? operand.width : 1, rest = size % width;
  bool zeros = size % form.depthStep() != 0;
  auto below = [&](Value k, int64_t limit) -> Value {
    return arith::CmpIOp::create(b, loc, arith::CmpIPredicate::ult, k, kb::idx(b, loc, limit));
  };
  SmallVector<Value> values;
  for (size_t round = 0; round < rounds(partial); ++round) {
    Value value = operand.read(b, loc, at(b, loc, first, partial, round), ahead);
    if (zeros && rest)
      value = zeroFrom(b, loc, rest, below(k[round], size - rest), value);
    values.push_back(zeros ? orZero(b, loc, below(k[round], size), value) : value);
  }
  for (size_t round = values.size(); zeros && round < k.size(); ++round)
    values.push_back(arith::ConstantOp::create(b, loc, b.getZeroAttr(values.front().getType())));
  auto all = [&](OpBuilder &b, Location loc) {
    for (auto [at, deep, value] : llvm::zip(outer, k, values))
      form.put(b, loc, slice, stage, at, deep, value);
  };
  guard ? kb::when(b, loc, guard, all) : all(b, loc);
}

/// One block: the sums of a tile over [begin, end) of k, handed to `finish` where they exist.
void emitTile(OpBuilder &b, Location loc, const GpuGemm &gemm, const GpuBlock &block, ValueRange at, Value begin,
              Value end, GpuTile::Finish finish) {
  const GemmTiling &t = gemm.tiling;
  std::unique_ptr<GpuTile> form = t.element.isF32() ? createThreadTile(t, block) : createWarpTile(t, block);
  Fetch left{gemm.a, t.rows, t.tileRows, t.depth, t.tileDepth, form->slice(t.tileRows, gemm.a.alongDepth), at[0],
             kb::mul(b, loc, at[1], kb::idx(b, loc, t.tileRows))};
  Fetch right{gemm.b,        t.columns,
              t.tileColumns, t.depth,
              t.tileDepth,   form->slice(t.tileColumns, gemm.b.alongDepth),
              at[0],         kb::mul(b, loc, at[2], kb::idx(b, loc, t.tileColumns))};
  left.place(b, loc, block);
  right.place(b, loc, block);
  form->place(b, loc);
  size_t brought = 0; // of what is read, by the left operand
  auto readBoth = [&](OpBuilder &b, Location loc, Value first, bool partial) {
    SmallVector<Value> values = left.read(b, loc, first, partial);
    brought = values.size();
    llvm::append_range(values, right.read(b, loc, first, partial));
    return values;
  };
  // One barrier will do: who comes to the next one has used this stage, and only then is it written again.
  auto putBoth = [&](OpBuilder &b, Location loc, Value stage, Value first, bool partial, ValueRange values) {
    left.put(b, loc, *form, stage, first, partial, values.take_front(brought));
    right.put(b, loc, *form, stage, first, partial, values.drop_front(brought));
    block.barrier(b, loc);
  };
  auto multiply = [&](OpBuilder &b, Location loc, Value stage, ValueRange sums, int64_t depth) {
    return form->multiply(b, loc, left.slice, right.slice, stage, sums, depth);
  };
  SmallVector<Value> state = form->zeros(b, loc);
  size_t sums = state.size();
  Value stage = kb::idx(b, loc, 0), wholeEnd = end;
  int64_t rest = t.depth % t.tileDepth;
  if (rest)
    wholeEnd = b.createOrFold<arith::MinUIOp>(loc, end, kb::idx(b, loc, t.depth - rest));
  if (t.depth >= t.tileDepth) {
    // Where k is cut, the last part may have no whole slice: what is read here is not used then, and has to exist all
    // the same.
    Value lastWhole = kb::idx(b, loc, t.depth - rest - t.tileDepth);
    Value first = t.slices > 1 && rest ? b.createOrFold<arith::MinUIOp>(loc, begin, lastWhole) : begin;
    llvm::append_range(state, readBoth(b, loc, first, /*partial=*/false));
    state.push_back(stage);
    Value step = kb::idx(b, loc, t.tileDepth);
    auto loop = scf::ForOp::create(
        b, loc, begin, wholeEnd, step, state, [&](OpBuilder &b, Location l, Value k, ValueRange state) {
          ValueRange fetched = state.slice(sums, state.size() - sums - 1);
          Value stage = state.back();
          putBoth(b, l, stage, k, /*partial=*/false, fetched);
          // The next slice is on its way while this one is used.
          Value next = kb::add(b, l, k, step);
          Value more = arith::CmpIOp::create(b, l, arith::CmpIPredicate::ult, next, wholeEnd);
          auto coming = scf::IfOp::create(
              b, l, more,
              [&](OpBuilder &b, Location l) { scf::YieldOp::create(b, l, readBoth(b, l, next, /*partial=*/false)); },
              [&](OpBuilder &b, Location l) { scf::YieldOp::create(b, l, fetched); });
          SmallVector<Value> after = multiply(b, l, stage, state.take_front(sums), t.tileDepth);
          llvm::append_range(after, coming.getResults());
          after.push_back(arith::SubIOp::create(b, l, kb::idx(b, l, 1), stage));
          scf::YieldOp::create(b, l, after);
        });
    state.assign(loop.result_begin(), loop.result_begin() + sums);
    stage = loop.getResults().back();
  }
  // What is left of k has a place of its own: its tests would cost all slices registers.
  if (rest) {
    Value last = arith::CmpIOp::create(b, loc, arith::CmpIPredicate::eq, end, kb::idx(b, loc, t.depth));
    auto more = scf::IfOp::create(
        b, loc, last,
        [&](OpBuilder &b, Location l) {
          Value first = kb::idx(b, l, t.depth - rest);
          putBoth(b, l, stage, first, /*partial=*/true, readBoth(b, l, first, /*partial=*/true));
          scf::YieldOp::create(b, l, multiply(b, l, stage, state, rest));
        },
        [&](OpBuilder &b, Location l) { scf::YieldOp::create(b, l, state); });
    state.assign(more.result_begin(), more.result_end());
  }
  form->finish(b, loc, state, gemm.storeWidth, [&](OpBuilder &b, Location l, Value row, Value column, Value sum) {
    row = kb::add(b, l, row, left.firstOuter);
    column = kb::add(b, l, column, right.firstOuter);
    auto guarded = [&](OpBuilder &b, Location l, Value i, int64_t extent, int64_t tile,
                       function_ref<void(OpBuilder &, Location)> body) {
      if (extent % tile == 0)
        return body(b, l);
      kb::when(b, l, arith::CmpIOp::create(b, l, arith::CmpIPredicate::ult, i, kb::idx(b, l, extent)), body);
    };
    guarded(b, l, column, t.columns, t.tileColumns, [&](OpBuilder &b, Location l) {
      guarded(b, l, row, t.rows, t.tileRows, [&](OpBuilder &b, Location l) { finish(b, l, row, column, sum); });
    });
  });
}

} // namespace

void GpuGemm::emit(KernelBuilder &kernel) const {
  const GemmTiling &t = tiling;
  if (t.batches * t.rows * t.columns == 0)
    return;
  SmallVector<int64_t> partialShape{t.slices, t.batches, t.rows, t.columns};
  auto partials = [&](OpBuilder &b, Location loc) {
    return flatten(b, loc, kernel.workspace(b, workspace, partialShape, b.getF32Type()));
  };
  kernel.cooperative(
      {t.slices, t.batches, t.rowTiles(), t.columnTiles()}, t.threads,
      [&](OpBuilder &b, Location loc, ValueRange at, const GpuBlock &block) {
        Value begin = kb::mul(b, loc, at[0], kb::idx(b, loc, t.sliceDepth)), end = kb::idx(b, loc, t.depth), sums;
        if (t.slices > 1) {
          end = b.createOrFold<arith::MinUIOp>(loc, end, kb::add(b, loc, begin, kb::idx(b, loc, t.sliceDepth)));
          sums = partials(b, loc);
        }
        auto finish = [&](OpBuilder &b, Location l, Value row, Value column, Value sum) {
          if (sums)
            writeWide(b, l, sum, sums, kb::linearize(b, l, {at[0], at[1], row, column}, partialShape));
          else
            store(b, l, at[1], row, column, sum);
        };
        emitTile(b, loc, *this, block, at.drop_front(), begin, end, finish);
      },
      t.resident);
  if (t.slices == 1)
    return;
  // Adds the sums of `count` slices, `step` apart, from slice `from` on; fewer where there are no more.
  int64_t size = t.batches * t.rows * t.columns;
  auto add = [&](OpBuilder &b, Location loc, Value from, ValueRange at, int64_t step, int64_t count) {
    Value sums = partials(b, loc), column = kb::mul(b, loc, at[2], kb::idx(b, loc, storeWidth));
    Value first = kb::linearize(b, loc, {from, at[0], at[1], column}, partialShape),
          end = kb::idx(b, loc, t.slices * size);
    Value stride = kb::idx(b, loc, step * size), next = kb::add(b, loc, first, stride);
    end = b.createOrFold<arith::MinUIOp>(loc, end, kb::add(b, loc, first, kb::idx(b, loc, step * size * count)));
    Value init = readWide(b, loc, sums, first, storeWidth);
    auto loop =
        scf::ForOp::create(b, loc, next, end, stride, init, [&](OpBuilder &b, Location l, Value i, ValueRange sum) {
          Value more = readWide(b, l, sums, i, storeWidth);
          scf::YieldOp::create(b, l, ValueRange{arith::AddFOp::create(b, l, sum[0], more)});
        });
    return std::make_pair(Value(loop.getResult(0)), first);
  };
  int64_t step = 1;
  for (; t.slices > step * summedAtOnce; step *= summedAtOnce) {
    int64_t groups = ceilDiv(t.slices, step * summedAtOnce);
    kernel.parallel({groups, t.batches, t.rows, t.columns / storeWidth},
                    [&](OpBuilder &b, Location loc, ValueRange at) {
                      Value from = kb::mul(b, loc, at[0], kb::idx(b, loc, step * summedAtOnce));
                      auto [sum, first] = add(b, loc, from, at.drop_front(), step, summedAtOnce);
                      writeWide(b, loc, sum, partials(b, loc), first);
                    });
  }
  kernel.parallel({t.batches, t.rows, t.columns / storeWidth}, [&](OpBuilder &b, Location loc, ValueRange at) {
    Value sum = add(b, loc, kb::idx(b, loc, 0), at, step, summedAtOnce).first;
    store(b, loc, at[0], at[1], kb::mul(b, loc, at[2], kb::idx(b, loc, storeWidth)), sum);
  });
}

} // namespace gmc::nn
