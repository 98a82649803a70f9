//===- ConvWeightTiles.cpp - host weight gradient as tiles of output gradients times patches ------------===//
//
// A lane of a vector is one column (channel, tap) of the weight. An iteration owns some columns of some filters of one
// group. It walks through the images a few pixels at a time, packs what the columns' taps read at these pixels, and
// multiplies the filters' output gradients with it. Every walk's sum starts from zero before it is added to the total.
//
//===-----------------------------------------------------------------------------------------------------===//

#include "dialects/NN/ConvKernel.h"
#include "dialects/NN/Fold.h"
#include "dialects/NN/Lanes.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/SCF/IR/SCF.h"

using namespace mlir;

namespace gmc::nn {

namespace {

constexpr int64_t rowsAtOnce = 6;    ///< filters with an accumulator in a register
constexpr int64_t pixelsAtOnce = 64; ///< pixels packed at a time
constexpr int64_t maxFilters = 192;  ///< filters of one iteration
constexpr int64_t wantedParts = 16;  ///< iterations that there should be, for the threads
constexpr int64_t farOutside = -(int64_t(1) << 30);

struct WeightTiles {
  KernelBuilder &kernel;
  const ConvShape &s;
  const Window &w;
  size_t rank;
  Type type;
  int64_t channels, filters, columns, columnVectors, pixels, plane, lanes, atOnce, blocksPerPart, parts;
  RowBlocks blocks;
  SmallVector<int64_t> planeStrides;

  Value x, dy, dw, patch, totals, group, firstColumn;

  WeightTiles(KernelBuilder &kernel, const ConvShape &s)
      : kernel(kernel), s(s), w(s.window), rank(w.rank()), type(computeType(kernel.resultElementType(0))),
        channels(s.channelsPerGroup()), filters(s.filtersPerGroup()), columns(channels * w.taps()), pixels(s.outSize()),
        plane(s.inSize()), lanes(Lanes::count(type)), blocks(filters, rowsAtOnce), planeStrides(rank, 1) {
    for (size_t d = rank; d-- > 1;)
      planeStrides[d - 1] = planeStrides[d] * s.in[d];
    columnVectors = (columns + lanes - 1) / lanes;
    atOnce = std::min(pixels, pixelsAtOnce);
    int64_t count = blocks.big + blocks.small, vectors = s.group * columnVectors;
    parts = std::max((filters + maxFilters - 1) / maxFilters, (wantedParts + vectors - 1) / vectors);
    parts = std::min(parts, count);
    blocksPerPart = (count + parts - 1) / parts;
    parts = (count + blocksPerPart - 1) / blocksPerPart;
  }

  void emit();
  void emitPack(OpBuilder &b, Location loc, Value image, Value firstPixel, Value count, Value offsets,
                ArrayRef<Value> shifts);
  void emitBlock(OpBuilder &b, Location loc, Value local, Value filter, int64_t rows, Value image, Value firstPixel,
                 Value count);
  /// Runs body(local row, first filter, rows) over the blocks [first, last) of the group.
  void forBlocks(OpBuilder &b, Location loc, Value first, Value last,
                 function_ref<void(OpBuilder &, Location, Value, Value, int64_t)> body);
};

} // namespace

void WeightTiles::emitPack(OpBuilder &b, Location loc, Value image, Value firstPixel, Value count, Value offsets,
                           ArrayRef<Value> shifts) {
  Value source = kb::mul(b, loc, image, kb::idx(b, loc, s.group));
  source = kb::mul(b, loc, kb::add(b, loc, source, group), kb::idx(b, loc, channels * plane));
  KernelBuilder::loop(b, loc, kb::idx(b, loc, 0), count, [&](OpBuilder &b, Location loc, Value p) {
    Lanes l(b, loc, type);
    auto o = kb::delinearize(b, loc, kb::add(b, loc, firstPixel, p), s.out);
    Value mask, at = source;
    for (size_t d = 0; d < rank; ++d) {
      Value start = kb::mul(b, loc, o[d], kb::idx(b, loc, w.strides[d]));
      mask = l.both(mask, l.inRange(kb::add(b, loc, shifts[d], l.intSplat(start)), 0, s.in[d]));
      at = kb::add(b, loc, at, kb::mul(b, loc, start, kb::idx(b, loc, planeStrides[d])));
    }
    l.store(l.gather(x, at, offsets, mask), patch, {p, kb::idx(b, loc, 0)});
  });
}

void WeightTiles::emitBlock(OpBuilder &b, Location loc, Value local, Value filter, int64_t rows, Value image,
                            Value firstPixel, Value count) {
  SmallVector<Value> gradients;
  for (int64_t i = 0; i < rows; ++i) {
    Value channel = kb::mul(b, loc, kb::add(b, loc, kb::mul(b, loc, image, kb::idx(b, loc, s.group)), group),
                            kb::idx(b, loc, filters));
    channel = kb::add(b, loc, kb::add(b, loc, channel, filter), kb::idx(b, loc, i));
    Value at = kb::mul(b, loc, channel, kb::idx(b, loc, pixels));
    gradients.push_back(kb::add(b, loc, at, firstPixel));
  }
  SmallVector<Value> zeros(rows, Lanes(b, loc, type).zero());
  auto sums = scf::ForOp::create(b, loc, kb::idx(b, loc, 0), count, kb::idx(b, loc, 1), zeros,
                                 [&](OpBuilder &b, Location loc, Value p, ValueRange acc) {
                                   Lanes l(b, loc, type);
                                   Value values = l.load(patch, {p, kb::idx(b, loc, 0)});
                                   SmallVector<Value> next;
                                   for (int64_t i = 0; i < rows; ++i) {
                                     Value at = kb::add(b, loc, gradients[i], p);
                                     Value one = memref::LoadOp::create(b, loc, dy, at);
                                     next.push_back(l.fma(l.splat(one), values, acc[i]));
                                   }
                                   scf::YieldOp::create(b, loc, next);
                                 });
  Lanes l(b, loc, type);
  for (int64_t i = 0; i < rows; ++i) {
    Value row = kb::add(b, loc, local, kb::idx(b, loc, i)), zero = kb::idx(b, loc, 0);
    Value total = arith::AddFOp::create(b, loc, l.load(totals, {row, zero}), sums.getResult(i));
    l.store(total, totals, {row, zero});
  }
}

void WeightTiles::forBlocks(OpBuilder &b, Location loc, Value first, Value last,
                            function_ref<void(OpBuilder &, Location, Value, Value, int64_t)> body) {
  auto filterOf = [&](OpBuilder &b, Location loc, Value block) { // blocks of `size` come first
    Value small = kb::max(b, loc, kb::sub(b, loc, block, kb::idx(b, loc, blocks.big)), kb::idx(b, loc, 0));
    return kb::sub(b, loc, kb::mul(b, loc, block, kb::idx(b, loc, blocks.size)), small);
  };
  Value firstFilter = filterOf(b, loc, first);
  auto range = [&](int64_t lo, int64_t hi, int64_t rows) {
    if (lo == hi || !rows)
      return;
    KernelBuilder::loop(b, loc, kb::max(b, loc, first, kb::idx(b, loc, lo)), kb::min(b, loc, last, kb::idx(b, loc, hi)),
                        [&](OpBuilder &b, Location loc, Value block) {
                          Value filter = filterOf(b, loc, block);
                          body(b, loc, kb::sub(b, loc, filter, firstFilter), filter, rows);
                        });
  };
  range(0, blocks.big, blocks.size);
  range(blocks.big, blocks.big + blocks.small, blocks.size - 1);
}

void WeightTiles::emit() {
  kernel.parallel({s.group * parts * columnVectors}, [&](OpBuilder &b, Location loc, ValueRange iv) {
    Lanes l(b, loc, type);
    x = flatten(b, loc, kernel.operandBuffer(0));
    dy = flatten(b, loc, kernel.operandBuffer(1));
    dw = flatten(b, loc, kernel.resultBuffer(0));
    patch = localBuffer(b, loc, {atOnce, lanes}, type);
    totals = localBuffer(b, loc, {blocksPerPart * blocks.size, lanes}, type);
    auto ids = kb::delinearize(b, loc, iv[0], {s.group, parts, columnVectors});
    group = ids[0];
    firstColumn = kb::mul(b, loc, ids[2], kb::idx(b, loc, lanes));
    Value firstBlock = kb::mul(b, loc, ids[1], kb::idx(b, loc, blocksPerPart));
    Value lastBlock = kb::min(b, loc, kb::add(b, loc, firstBlock, kb::idx(b, loc, blocksPerPart)),
                              kb::idx(b, loc, blocks.big + blocks.small));

    // Of each column: the shift of its tap in every dimension, and the element it reads at output position 0.
    Value column = kb::add(b, loc, l.intSplat(firstColumn), l.step());
    Value valid = l.less(column, l.intSplat(columns)), rest = column;
    SmallVector<Value> shifts(rank);
    Value offsets = l.intSplat(0);
    for (size_t d = rank; d-- > 0;) {
      Value k = kb::rem(b, loc, rest, l.intSplat(w.kernel[d]));
      rest = kb::div(b, loc, rest, l.intSplat(w.kernel[d]));
      shifts[d] = kb::sub(b, loc, kb::mul(b, loc, k, l.intSplat(w.dilations[d])), l.intSplat(w.padBegin(d)));
      offsets = kb::add(b, loc, offsets, kb::mul(b, loc, shifts[d], l.intSplat(planeStrides[d])));
    }
    offsets = kb::add(b, loc, offsets, kb::mul(b, loc, rest, l.intSplat(plane)));
    shifts[0] = l.select(valid, shifts[0], l.intSplat(farOutside));

    forBlocks(b, loc, firstBlock, lastBlock, [&](OpBuilder &b, Location loc, Value local, Value, int64_t rows) {
      Lanes l(b, loc, type);
      for (int64_t i = 0; i < rows; ++i)
        l.store(l.zero(), totals, {kb::add(b, loc, local, kb::idx(b, loc, i)), kb::idx(b, loc, 0)});
    });
    int64_t walks = (pixels + atOnce - 1) / atOnce;
    foldMany(
        b, loc, fullBounds(b, loc, {s.batch, walks}), {}, [&](OpBuilder &b, Location loc, ValueRange at, ValueRange) {
          Value firstPixel = kb::mul(b, loc, at[1], kb::idx(b, loc, atOnce));
          Value count = kb::min(b, loc, kb::sub(b, loc, kb::idx(b, loc, pixels), firstPixel), kb::idx(b, loc, atOnce));
          emitPack(b, loc, at[0], firstPixel, count, offsets, shifts);
          forBlocks(b, loc, firstBlock, lastBlock,
                    [&](OpBuilder &b, Location loc, Value local, Value filter, int64_t rows) {
                      emitBlock(b, loc, local, filter, rows, at[0], firstPixel, count);
                    });
          return SmallVector<Value>{};
        });
    forBlocks(b, loc, firstBlock, lastBlock, [&](OpBuilder &b, Location loc, Value local, Value filter, int64_t rows) {
      Lanes l(b, loc, type);
      Value mask = l.less(l.step(), l.intSplat(kb::sub(b, loc, kb::idx(b, loc, columns), firstColumn)));
      for (int64_t i = 0; i < rows; ++i) {
        Value row = kb::add(b, loc, kb::mul(b, loc, group, kb::idx(b, loc, filters)), filter);
        row = kb::add(b, loc, row, kb::idx(b, loc, i));
        Value to = kb::add(b, loc, kb::mul(b, loc, row, kb::idx(b, loc, columns)), firstColumn);
        Value total = l.load(totals, {kb::add(b, loc, local, kb::idx(b, loc, i)), kb::idx(b, loc, 0)});
        l.maskedStore(total, dw, to, mask);
      }
    });
  });
}

void emitConvWeightGradTiles(KernelBuilder &kernel, const ConvShape &shape) { WeightTiles(kernel, shape).emit(); }

} // namespace gmc::nn
