//===- ConvTiles.cpp - host convolution as tiles of patches times weights -------------------------------===//
//
// Forward and transposed convolution are one computation: every result pixel p of a channel q is
//   y[q, p] = sum over source channels r and taps k of w(q, r, k) * x[r, c(p) + k * step].
// For the transposed form this holds among the result pixels of one residue class modulo the strides, whose taps are
// those k with (i + pad - k * dilation) divisible by the stride. A vector holds neighbouring pixels. An iteration
// packs, for some vectors of pixels, the sources of all taps of some channels into a contiguous patch, and multiplies
// it with the weights of all result channels: an implicit GEMM (Chetlur et al., cuDNN: Efficient Primitives for Deep
// Learning, 2014, section 3) whose patches never leave the cache.
//
//===-----------------------------------------------------------------------------------------------------===//

#include "dialects/NN/ConvKernel.h"
#include "dialects/NN/Fold.h"
#include "dialects/NN/Lanes.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include <numeric>

using namespace mlir;

namespace gmc::nn {

namespace {

constexpr int64_t maxVectors = 4;         ///< vectors of pixels in an iteration: what a block of weights is used for
constexpr int64_t patchRows = 128;        ///< (channel, tap) pairs packed at a time
constexpr int64_t patchBytes = 64 * 1024; ///< at most, unless the taps of one channel need more
constexpr int64_t rowsAtOnce = 6;         ///< result channels with an accumulator in a register
constexpr int64_t sumBytes = 32 * 1024;   ///< sums of an iteration between chunks, where the result cannot hold them
constexpr int64_t farOutside = -(int64_t(1) << 30);

/// The taps of one dimension at the pixels of a residue class: tap first + j * tapStep for j < count reads the source
/// position c * scale + offset + j * sourceStep, c being the pixel's position in the grid of its class.
struct Taps {
  Value count, first, offset;
  int64_t tapStep, sourceStep, scale;
};

struct ConvTiles {
  KernelBuilder &kernel;
  const ConvShape &s;
  bool forward, hasBias;
  const Window &w;
  size_t rank;
  Type type;                        ///< of the arithmetic
  int64_t groups, results, sources; ///< channels per group
  SmallVector<int64_t> resultSize, sourceSize, classes, grid, sourceStrides, resultStrides;
  int64_t resultPlane = 1, sourcePlane = 1, pixels = 1, classCount = 1, taps;
  int64_t lanes, vectorsPerImage, vectors, channelsAtOnce, chunks, blocks, resultsAtOnce;
  bool alwaysContiguous = true, unitLast, ownSums;

  // Of the iteration being emitted.
  Value x, weight, y, patch, sums, coordinates, linear, resultOffsets, weightOffsets;
  Value group, firstVector, vectorCount;
  SmallVector<Value> residue;
  SmallVector<Taps> dims;

  ConvTiles(KernelBuilder &kernel, ConvForm form, const ConvShape &s, bool hasBias)
      : kernel(kernel), s(s), forward(form == ConvForm::Forward), hasBias(hasBias), w(s.window), rank(w.rank()),
        type(computeType(kernel.resultElementType(0))), groups(s.group) {
    results = forward ? s.filtersPerGroup() : s.channelsPerGroup();
    sources = forward ? s.channelsPerGroup() : s.filtersPerGroup();
    resultSize.assign((forward ? s.out : s.in).begin(), (forward ? s.out : s.in).end());
    sourceSize.assign((forward ? s.in : s.out).begin(), (forward ? s.in : s.out).end());
    sourceStrides.assign(rank, 1);
    resultStrides.assign(rank, 1);
    for (size_t d = rank; d-- > 0;) {
      classes.insert(classes.begin(), forward ? 1 : w.strides[d]);
      grid.insert(grid.begin(), (resultSize[d] + classes[0] - 1) / classes[0]);
      sourceStrides[d] = sourcePlane;
      resultStrides[d] = resultPlane;
      sourcePlane *= sourceSize[d];
      resultPlane *= resultSize[d];
      pixels *= grid[0];
      classCount *= classes[0];
      // Neighbouring pixels are neighbours in the source too when rows are equally long, at stride 1.
      alwaysContiguous &= !(forward && w.strides[d] != 1) && (d == 0 || sourceSize[d] == grid[0]);
    }
    unitLast = !(forward && w.strides[rank - 1] != 1);
    taps = w.taps();
    lanes = Lanes::count(type);
    vectorsPerImage = (pixels + lanes - 1) / lanes;
    channelsAtOnce = std::clamp<int64_t>(patchRows / taps, 1, sources);
    chunks = (sources + channelsAtOnce - 1) / channelsAtOnce;
    vectors = std::clamp<int64_t>(patchBytes / (channelsAtOnce * taps * 64), 1, maxVectors);
    vectors = std::min(vectors, s.batch * vectorsPerImage);
    blocks = (s.batch * vectorsPerImage + vectors - 1) / vectors;
    // Sums go on from chunk to chunk in the result, or, where that would round them, in a buffer of the iteration.
    bool rounds = chunks > 1 && kernel.resultElementType(0) != type;
    resultsAtOnce = rounds ? std::clamp<int64_t>(sumBytes / (vectors * 64), rowsAtOnce, results) : results;
    ownSums = rounds;
  }

  void emit();
  void emitTaps(OpBuilder &b, Location loc);
  void emitCoordinates(OpBuilder &b, Location loc, Value v);
  void emitPack(OpBuilder &b, Location loc, Value v, Value firstChannel, Value channels);
  void emitWeightOffsets(OpBuilder &b, Location loc, Value channels);
  void emitChunks(OpBuilder &b, Location loc, Value firstResult, int64_t count);
  void emitProducts(OpBuilder &b, Location loc, Value v, Value firstResult, Value local, int64_t rows, Value chunk,
                    Value firstChannel, Value length);

  /// Image and first pixel of vector v of this iteration.
  std::pair<Value, Value> position(OpBuilder &b, Location loc, Value v) {
    auto at = kb::delinearize(b, loc, kb::add(b, loc, firstVector, v), {s.batch, vectorsPerImage});
    return {at[0], kb::mul(b, loc, at[1], kb::idx(b, loc, lanes))};
  }
  Value tapCount(OpBuilder &b, Location loc) {
    Value count = kb::idx(b, loc, 1);
    for (Taps &t : dims)
      count = kb::mul(b, loc, count, t.count);
    return count;
  }
};

} // namespace

/// The taps of the iteration's residue class, dimension by dimension.
void ConvTiles::emitTaps(OpBuilder &b, Location loc) {
  for (size_t d = 0; d < rank; ++d) {
    int64_t stride = w.strides[d], dilation = w.dilations[d], pad = w.padBegin(d), size = w.kernel[d];
    Value zero = kb::idx(b, loc, 0), all = kb::idx(b, loc, size);
    if (forward) {
      dims.push_back({all, zero, kb::idx(b, loc, -pad), 1, dilation, stride});
      continue;
    }
    if (stride == 1) {
      dims.push_back({all, zero, kb::idx(b, loc, pad), 1, -dilation, 1});
      continue;
    }
    // Solve k * dilation = r modulo stride for the first tap; the others follow at stride / gcd.
    int64_t common = std::gcd(stride, dilation), period = stride / common, inverse = 0;
    while (period > 1 && (inverse * (dilation / common)) % period != 1)
      ++inverse;
    Value shifted = kb::add(b, loc, residue[d], kb::idx(b, loc, ((pad % stride) + stride) % stride));
    Value r = kb::rem(b, loc, shifted, kb::idx(b, loc, stride));
    Value first = kb::mul(b, loc, kb::div(b, loc, r, kb::idx(b, loc, common)), kb::idx(b, loc, inverse));
    first = kb::rem(b, loc, first, kb::idx(b, loc, period));
    Value left = kb::add(b, loc, kb::sub(b, loc, all, first), kb::idx(b, loc, period - 1));
    Value count = kb::max(b, loc, kb::div(b, loc, left, kb::idx(b, loc, period)), zero);
    Value solvable =
        arith::CmpIOp::create(b, loc, arith::CmpIPredicate::eq, kb::rem(b, loc, r, kb::idx(b, loc, common)), zero);
    count = arith::SelectOp::create(b, loc, solvable, count, zero);
    Value offset = kb::add(b, loc, residue[d], kb::idx(b, loc, pad));
    offset = kb::sub(b, loc, offset, kb::mul(b, loc, first, kb::idx(b, loc, dilation)));
    offset = kb::div(b, loc, offset, kb::idx(b, loc, stride));
    dims.push_back({count, first, offset, period, -(dilation / common), 1});
  }
}

/// Source coordinates (of tap 0), their linear form and, for a strided result, where the lanes of vector v are stored.
void ConvTiles::emitCoordinates(OpBuilder &b, Location loc, Value v) {
  Lanes l(b, loc, type);
  Value zero = kb::idx(b, loc, 0);
  Value pixel = kb::add(b, loc, l.intSplat(position(b, loc, v).second), l.step());
  Value valid = l.less(pixel, l.intSplat(pixels));
  SmallVector<Value> c(rank);
  for (size_t d = rank; d-- > 0;) {
    c[d] = d ? kb::rem(b, loc, pixel, l.intSplat(grid[d])) : pixel;
    pixel = d ? kb::div(b, loc, pixel, l.intSplat(grid[d])) : pixel;
  }
  Value sourceLinear = l.intSplat(0), resultLinear = l.intSplat(0), stored = valid;
  for (size_t d = 0; d < rank; ++d) {
    Value source = kb::add(b, loc, kb::mul(b, loc, c[d], l.intSplat(dims[d].scale)), l.intSplat(dims[d].offset));
    if (d == 0)
      source = l.select(valid, source, l.intSplat(farOutside));
    l.store(source, coordinates, {v, kb::idx(b, loc, d), zero});
    sourceLinear = kb::add(b, loc, sourceLinear, kb::mul(b, loc, source, l.intSplat(sourceStrides[d])));
    Value result = kb::mul(b, loc, c[d], l.intSplat(classes[d]));
    result = kb::add(b, loc, result, l.intSplat(residue[d]));
    stored = l.both(stored, l.less(result, l.intSplat(resultSize[d])));
    resultLinear = kb::add(b, loc, resultLinear, kb::mul(b, loc, result, l.intSplat(resultStrides[d])));
  }
  l.store(sourceLinear, linear, {v, zero});
  if (classCount > 1)
    l.store(l.select(stored, resultLinear, l.intSplat(-1)), resultOffsets, {v, zero});
}

/// patch[v][channel, tap][lane] of the channels [firstChannel, firstChannel + channels) of the group.
void ConvTiles::emitPack(OpBuilder &b, Location loc, Value v, Value firstChannel, Value channels) {
  Value zero = kb::idx(b, loc, 0);
  auto [image, pixel] = position(b, loc, v);
  Value sameRow;
  if (!alwaysContiguous && unitLast) {
    Value last = kb::idx(b, loc, grid[rank - 1]);
    Value end = kb::add(b, loc, kb::rem(b, loc, pixel, last), kb::idx(b, loc, lanes));
    sameRow = arith::CmpIOp::create(b, loc, arith::CmpIPredicate::sle, end, last);
  }
  Lanes outer(b, loc, type);
  Value offsets = outer.loadInts(linear, {v, zero});
  Value firstOffset = memref::LoadOp::create(b, loc, linear, ValueRange{v, zero});
  firstOffset = kb::toIndex(b, loc, firstOffset);
  KernelBuilder::loop(b, loc, zero, channels, [&](OpBuilder &b, Location loc, Value channel) {
    Value source = kb::add(b, loc, kb::mul(b, loc, group, kb::idx(b, loc, sources)), firstChannel);
    source = kb::add(b, loc, source, channel);
    Value plane = kb::add(b, loc, kb::mul(b, loc, image, kb::idx(b, loc, groups * sources)), source);
    plane = kb::mul(b, loc, plane, kb::idx(b, loc, sourcePlane));
    std::function<void(OpBuilder &, Location, size_t, Value, Value, Value)> tapLoop = [&](OpBuilder &b, Location loc,
                                                                                          size_t d, Value mask,
                                                                                          Value at, Value row) {
      Lanes l(b, loc, type);
      if (d == rank) {
        auto gathered = [&](OpBuilder &b, Location loc) { return Lanes(b, loc, type).gather(x, at, offsets, mask); };
        auto contiguous = [&](OpBuilder &b, Location loc) {
          return Lanes(b, loc, type).maskedLoad(x, kb::add(b, loc, at, firstOffset), mask);
        };
        Value values;
        if (alwaysContiguous)
          values = contiguous(b, loc);
        else if (!sameRow)
          values = gathered(b, loc);
        else
          values = scf::IfOp::create(
                       b, loc, sameRow,
                       [&](OpBuilder &b, Location loc) { scf::YieldOp::create(b, loc, contiguous(b, loc)); },
                       [&](OpBuilder &b, Location loc) { scf::YieldOp::create(b, loc, gathered(b, loc)); })
                       .getResult(0);
        l.store(values, patch, {v, row, kb::idx(b, loc, 0)});
        return;
      }
      Value base = l.loadInts(coordinates, {v, kb::idx(b, loc, d), kb::idx(b, loc, 0)});
      KernelBuilder::loop(b, loc, kb::idx(b, loc, 0), dims[d].count, [&](OpBuilder &b, Location loc, Value j) {
        Lanes l(b, loc, type);
        Value shift = kb::mul(b, loc, j, kb::idx(b, loc, dims[d].sourceStep));
        Value inside = l.inRange(kb::add(b, loc, base, l.intSplat(shift)), 0, sourceSize[d]);
        Value next = kb::add(b, loc, at, kb::mul(b, loc, shift, kb::idx(b, loc, sourceStrides[d])));
        tapLoop(b, loc, d + 1, l.both(mask, inside), next, kb::add(b, loc, kb::mul(b, loc, row, dims[d].count), j));
      });
    };
    tapLoop(b, loc, 0, Value(), plane, channel); // the row is (channel, taps...), linearized on the way in
  });
}

/// Where the weights of each row of the patch lie behind those of the chunk's first channel (transposed form).
void ConvTiles::emitWeightOffsets(OpBuilder &b, Location loc, Value channels) {
  SmallVector<std::pair<Value, Value>> bounds{{kb::idx(b, loc, 0), channels}};
  for (Taps &t : dims)
    bounds.emplace_back(kb::idx(b, loc, 0), t.count);
  foldMany(b, loc, bounds, {}, [&](OpBuilder &b, Location loc, ValueRange at, ValueRange) {
    Value row = at[0], tap = kb::idx(b, loc, 0);
    for (size_t d = 0; d < rank; ++d) {
      row = kb::add(b, loc, kb::mul(b, loc, row, dims[d].count), at[d + 1]);
      Value k = kb::add(b, loc, dims[d].first, kb::mul(b, loc, at[d + 1], kb::idx(b, loc, dims[d].tapStep)));
      tap = kb::add(b, loc, kb::mul(b, loc, tap, kb::idx(b, loc, w.kernel[d])), k);
    }
    Value offset = kb::add(b, loc, kb::mul(b, loc, at[0], kb::idx(b, loc, results * taps)), tap);
    memref::StoreOp::create(b, loc, offset, weightOffsets, row);
    return SmallVector<Value>{};
  });
}

/// Adds patch times weights to `rows` result channels at the pixels of vector v; their own sums are those from `local`
/// on.
void ConvTiles::emitProducts(OpBuilder &b, Location loc, Value v, Value firstResult, Value local, int64_t rows,
                             Value chunk, Value firstChannel, Value length) {
  Lanes l(b, loc, type);
  Value zero = kb::idx(b, loc, 0);
  auto [image, pixel] = position(b, loc, v);
  // First weight of each row: w[group * results + q][firstChannel] forward, w[group * sources + firstChannel][q] back.
  SmallVector<Value> weights;
  for (int64_t i = 0; i < rows; ++i) {
    Value q = kb::add(b, loc, firstResult, kb::idx(b, loc, i));
    Value outer = forward ? kb::add(b, loc, kb::mul(b, loc, group, kb::idx(b, loc, results)), q)
                          : kb::add(b, loc, kb::mul(b, loc, group, kb::idx(b, loc, sources)), firstChannel);
    Value inner = forward ? firstChannel : q;
    Value at = kb::add(b, loc, kb::mul(b, loc, outer, kb::idx(b, loc, forward ? sources : results)), inner);
    weights.push_back(kb::mul(b, loc, at, kb::idx(b, loc, taps)));
  }
  SmallVector<Value> zeros(rows, l.zero());
  auto products = scf::ForOp::create(
      b, loc, zero, length, kb::idx(b, loc, 1), zeros, [&](OpBuilder &b, Location loc, Value k, ValueRange sums) {
        Lanes l(b, loc, type);
        Value pixels = l.load(patch, {v, k, kb::idx(b, loc, 0)});
        Value offset = forward ? k : Value(memref::LoadOp::create(b, loc, weightOffsets, k));
        SmallVector<Value> next;
        for (int64_t i = 0; i < rows; ++i) {
          Value one = memref::LoadOp::create(b, loc, weight, kb::add(b, loc, weights[i], offset));
          next.push_back(l.fma(l.splat(one), pixels, sums[i]));
        }
        scf::YieldOp::create(b, loc, next);
      });

  Value channel = kb::add(b, loc, kb::mul(b, loc, group, kb::idx(b, loc, results)), firstResult);
  Value image0 = kb::mul(b, loc, image, kb::idx(b, loc, groups * results));
  Value offsets, mask, at0 = zero;
  if (classCount > 1) {
    offsets = l.loadInts(resultOffsets, {v, zero});
    mask = l.less(l.intSplat(-1), offsets);
  } else {
    mask = l.less(l.step(), l.intSplat(kb::sub(b, loc, kb::idx(b, loc, pixels), pixel)));
    at0 = pixel;
  }
  Value isFirst = arith::CmpIOp::create(b, loc, arith::CmpIPredicate::eq, chunk, zero);
  for (int64_t i = 0; i < rows; ++i) {
    Value q = kb::add(b, loc, channel, kb::idx(b, loc, i));
    Value at = kb::mul(b, loc, kb::add(b, loc, image0, q), kb::idx(b, loc, resultPlane));
    at = kb::add(b, loc, at, at0);
    auto fresh = [&](OpBuilder &b, Location loc) {
      Lanes l(b, loc, type);
      return hasBias ? l.splat(kernel.load(b, loc, 2, q)) : l.zero();
    };
    Value sumAt = kb::add(b, loc, local, kb::idx(b, loc, i));
    auto earlier = [&](OpBuilder &b, Location loc) {
      Lanes l(b, loc, type);
      if (ownSums)
        return l.load(sums, {v, sumAt, kb::idx(b, loc, 0)});
      return offsets ? l.gather(y, at, offsets, mask) : l.maskedLoad(y, at, mask);
    };
    Value start = chunks == 1 ? fresh(b, loc)
                              : scf::IfOp::create(
                                    b, loc, isFirst,
                                    [&](OpBuilder &b, Location loc) { scf::YieldOp::create(b, loc, fresh(b, loc)); },
                                    [&](OpBuilder &b, Location loc) { scf::YieldOp::create(b, loc, earlier(b, loc)); })
                                    .getResult(0);
    Value sum = arith::AddFOp::create(b, loc, start, products.getResult(i));
    auto finish = [&](OpBuilder &b, Location loc) {
      Lanes l(b, loc, type);
      offsets ? l.scatter(sum, y, at, offsets, mask) : l.maskedStore(sum, y, at, mask);
    };
    if (!ownSums) {
      finish(b, loc);
      continue;
    }
    Value isLast = arith::CmpIOp::create(b, loc, arith::CmpIPredicate::eq, chunk, kb::idx(b, loc, chunks - 1));
    ifElse(b, loc, isLast, finish, [&](OpBuilder &b, Location loc) {
      Lanes(b, loc, type).store(sum, sums, {v, sumAt, kb::idx(b, loc, 0)});
    });
  }
}

/// All chunks of source channels for `count` result channels.
void ConvTiles::emitChunks(OpBuilder &b, Location loc, Value firstResult, int64_t count) {
  KernelBuilder::loop(
      b, loc, kb::idx(b, loc, 0), kb::idx(b, loc, chunks), [&](OpBuilder &b, Location loc, Value chunk) {
        Value first = kb::mul(b, loc, chunk, kb::idx(b, loc, channelsAtOnce));
        Value channels =
            kb::min(b, loc, kb::sub(b, loc, kb::idx(b, loc, sources), first), kb::idx(b, loc, channelsAtOnce));
        if (!forward)
          emitWeightOffsets(b, loc, channels);
        KernelBuilder::loop(b, loc, kb::idx(b, loc, 0), vectorCount,
                            [&](OpBuilder &b, Location loc, Value v) { emitPack(b, loc, v, first, channels); });
        Value length = kb::mul(b, loc, channels, tapCount(b, loc));
        RowBlocks rows(count, rowsAtOnce);
        auto blockLoop = [&](int64_t start, int64_t blockCount, int64_t size) {
          if (!blockCount || !size)
            return;
          KernelBuilder::loop(
              b, loc, kb::idx(b, loc, 0), kb::idx(b, loc, blockCount), [&](OpBuilder &b, Location loc, Value block) {
                Value local = kb::mul(b, loc, block, kb::idx(b, loc, size));
                local = kb::add(b, loc, local, kb::idx(b, loc, start));
                Value q = kb::add(b, loc, firstResult, local);
                KernelBuilder::loop(b, loc, kb::idx(b, loc, 0), vectorCount, [&](OpBuilder &b, Location loc, Value v) {
                  emitProducts(b, loc, v, q, local, size, chunk, first, length);
                });
              });
        };
        blockLoop(0, rows.big, rows.size);
        blockLoop(rows.big * rows.size, rows.small, rows.size - 1);
      });
}

void ConvTiles::emit() {
  kernel.parallel({classCount * groups * blocks}, [&](OpBuilder &b, Location loc, ValueRange iv) {
    dims.clear();
    Value zero = kb::idx(b, loc, 0);
    x = flatten(b, loc, kernel.operandBuffer(0));
    weight = flatten(b, loc, kernel.operandBuffer(1));
    y = flatten(b, loc, kernel.resultBuffer(0));
    Type i32 = b.getI32Type();
    int64_t patchLength = channelsAtOnce * taps;
    patch = localBuffer(b, loc, {vectors, patchLength, lanes}, type);
    if (ownSums)
      sums = localBuffer(b, loc, {vectors, resultsAtOnce, lanes}, type);
    coordinates = localBuffer(b, loc, {vectors, static_cast<int64_t>(rank), lanes}, i32);
    linear = localBuffer(b, loc, {vectors, lanes}, i32);
    if (classCount > 1)
      resultOffsets = localBuffer(b, loc, {vectors, lanes}, i32);
    if (!forward)
      weightOffsets = localBuffer(b, loc, {patchLength}, b.getIndexType());
    auto ids = kb::delinearize(b, loc, iv[0], {classCount, groups, blocks});
    residue = kb::delinearize(b, loc, ids[0], classes);
    group = ids[1];
    firstVector = kb::mul(b, loc, ids[2], kb::idx(b, loc, vectors));
    Value left = kb::sub(b, loc, kb::idx(b, loc, s.batch * vectorsPerImage), firstVector);
    vectorCount = kb::min(b, loc, left, kb::idx(b, loc, vectors));
    emitTaps(b, loc);
    KernelBuilder::loop(b, loc, zero, vectorCount,
                        [&](OpBuilder &b, Location loc, Value v) { emitCoordinates(b, loc, v); });
    RowBlocks parts(results, resultsAtOnce);
    auto partLoop = [&](int64_t start, int64_t count, int64_t size) {
      if (!count || !size)
        return;
      KernelBuilder::loop(b, loc, zero, kb::idx(b, loc, count), [&](OpBuilder &b, Location loc, Value part) {
        Value first = kb::mul(b, loc, part, kb::idx(b, loc, size));
        emitChunks(b, loc, kb::add(b, loc, first, kb::idx(b, loc, start)), size);
      });
    };
    partLoop(0, parts.big, parts.size);
    partLoop(parts.big * parts.size, parts.small, parts.size - 1);
  });
}

void emitConvTiles(KernelBuilder &kernel, ConvForm form, const ConvShape &shape, bool hasBias) {
  ConvTiles(kernel, form, shape, hasBias).emit();
}

} // namespace gmc::nn
