//===- ConvKernel.cpp - gather form of the convolution ops, and the choice of a host form ---------------===//

#include "dialects/NN/ConvKernel.h"
#include "dialects/NN/Fold.h"
#include "dialects/NN/Lanes.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"

using namespace mlir;

namespace gmc::nn {

int64_t ConvShape::inSize() const { return numElements(in); }
int64_t ConvShape::outSize() const { return numElements(out); }

/// One iteration per result element: the sum over its group's channels and the taps.
static void emitConvGather(KernelBuilder &kernel, ConvForm form, const ConvShape &s, bool hasBias) {
  bool forward = form == ConvForm::Forward;
  const Window &w = s.window;
  size_t rank = w.rank();
  int64_t resultsPerGroup = forward ? s.filtersPerGroup() : s.channelsPerGroup();
  int64_t sourcesPerGroup = forward ? s.channelsPerGroup() : s.filtersPerGroup();
  Type type = kernel.resultElementType(0), sumType = computeType(type);
  kernel.parallel(kernel.resultShape(0), [&](OpBuilder &b, Location loc, ValueRange ivs) {
    Value channel = ivs[1];
    Value g = kb::div(b, loc, channel, kb::idx(b, loc, resultsPerGroup));
    Value local = kb::rem(b, loc, channel, kb::idx(b, loc, resultsPerGroup));
    Value firstSource = kb::mul(b, loc, g, kb::idx(b, loc, sourcesPerGroup));
    Value init =
        hasBias ? convertTo(b, loc, kernel.load(b, loc, 2, {channel}), sumType) : kb::constant(b, loc, sumType, 0);
    SmallVector<std::pair<Value, Value>> bounds{{kb::idx(b, loc, 0), kb::idx(b, loc, sourcesPerGroup)}};
    if (forward)
      for (size_t d = 0; d < rank; ++d)
        bounds.push_back(windowTaps(b, loc, w, d, ivs[d + 2], s.in[d]));
    else
      llvm::append_range(bounds, fullBounds(b, loc, w.kernel));
    Value sum = KernelBuilder::foldNest(b, loc, bounds, init, [&](OpBuilder &b, Location l, ValueRange at, Value acc) {
      Value source = kb::add(b, l, firstSource, at[0]);
      SmallVector<Value> x{ivs[0], source}, weight;
      Value inside;
      for (size_t d = 0; d < rank; ++d) {
        if (forward) {
          x.push_back(windowInput(b, l, w, d, ivs[d + 2], at[d + 1]));
          continue;
        }
        auto [o, hit] = windowOutput(b, l, w, d, ivs[d + 2], at[d + 1], s.out[d]);
        x.push_back(o);
        inside = inside ? Value(arith::AndIOp::create(b, l, inside, hit)) : hit;
      }
      weight.push_back(forward ? channel : source);
      weight.push_back(forward ? at[0] : local);
      llvm::append_range(weight, at.drop_front());
      auto product = [&](OpBuilder &b, Location l) {
        Value xv = convertTo(b, l, kernel.load(b, l, 0, x), sumType);
        return kb::mul(b, l, xv, convertTo(b, l, kernel.load(b, l, 1, weight), sumType));
      };
      if (!inside)
        return KernelBuilder::addReassoc(b, l, acc, product(b, l));
      return kb::select(
          b, l, inside, [&](OpBuilder &b, Location l) { return KernelBuilder::addReassoc(b, l, acc, product(b, l)); },
          acc);
    });
    kernel.store(b, loc, convertTo(b, loc, sum, type), 0, ivs);
  });
}

/// One iteration per weight: the sum over the batch and the output positions whose tap reads inside the input.
static void emitConvWeightGradGather(KernelBuilder &kernel, const ConvShape &s) {
  const Window &w = s.window;
  size_t rank = w.rank();
  Type type = kernel.resultElementType(0), sumType = computeType(type);
  kernel.parallel(kernel.resultShape(0), [&](OpBuilder &b, Location loc, ValueRange ivs) {
    Value g = kb::div(b, loc, ivs[0], kb::idx(b, loc, s.filtersPerGroup()));
    Value channel = kb::add(b, loc, kb::mul(b, loc, g, kb::idx(b, loc, s.channelsPerGroup())), ivs[1]);
    SmallVector<std::pair<Value, Value>> bounds{{kb::idx(b, loc, 0), kb::idx(b, loc, s.batch)}};
    for (size_t d = 0; d < rank; ++d)
      bounds.push_back(windowPositions(b, loc, w, d, ivs[d + 2], s.in[d], s.out[d]));
    Value sum = sumBox(b, loc, bounds, {sumType}, [&](OpBuilder &b, Location l, ValueRange at) {
      SmallVector<Value> x{at[0], channel}, dy{at[0], ivs[0]};
      for (size_t d = 0; d < rank; ++d) {
        x.push_back(windowInput(b, l, w, d, at[d + 1], ivs[d + 2]));
        dy.push_back(at[d + 1]);
      }
      Value xv = convertTo(b, l, kernel.load(b, l, 0, x), sumType);
      return SmallVector<Value>{kb::mul(b, l, xv, convertTo(b, l, kernel.load(b, l, 1, dy), sumType))};
    })[0];
    kernel.store(b, loc, convertTo(b, loc, sum, type), 0, ivs);
  });
}

/// Whole rows at a time, for few results per group (depthwise): one iteration owns a row of the result's last dimension
/// and adds each tap times a row of the source.
static void emitConvRows(KernelBuilder &kernel, ConvForm form, const ConvShape &s, bool hasBias) {
  bool forward = form == ConvForm::Forward;
  const Window &w = s.window;
  size_t last = w.rank() - 1;
  int64_t resultsPerGroup = forward ? s.filtersPerGroup() : s.channelsPerGroup();
  int64_t sourcesPerGroup = forward ? s.channelsPerGroup() : s.filtersPerGroup();
  SmallVector<int64_t> rows(kernel.resultShape(0).drop_back());
  int64_t length = kernel.resultShape(0).back();
  // A row is summed up in the result, or, where that would round it, beside it.
  Type element = kernel.resultElementType(0), type = computeType(element);
  bool beside = element != type;
  kernel.parallel({numElements(rows)}, [&](OpBuilder &b, Location loc, ValueRange iv) {
    SmallVector<Value> ivs = kb::delinearize(b, loc, iv[0], rows);
    Value zero = kb::idx(b, loc, 0), y = kernel.resultBuffer(0);
    Value sums = beside ? localBuffer(b, loc, {length}, type) : y;
    auto rowAt = [&](Value i) {
      SmallVector<Value> at;
      if (!beside)
        at.append(ivs.begin(), ivs.end());
      at.push_back(i);
      return at;
    };
    Value channel = ivs[1];
    Value g = kb::div(b, loc, channel, kb::idx(b, loc, resultsPerGroup));
    Value local = kb::rem(b, loc, channel, kb::idx(b, loc, resultsPerGroup));
    Value firstSource = kb::mul(b, loc, g, kb::idx(b, loc, sourcesPerGroup));
    Value init =
        hasBias ? convertTo(b, loc, kernel.load(b, loc, 2, {channel}), type) : kb::constant(b, loc, type, 0);
    KernelBuilder::loop(b, loc, zero, kb::idx(b, loc, length), [&](OpBuilder &b, Location l, Value i) {
      memref::StoreOp::create(b, l, init, sums, rowAt(i));
    });
    Bounds bounds{{zero, kb::idx(b, loc, sourcesPerGroup)}};
    for (size_t d = 0; d < last; ++d)
      bounds.push_back(forward ? windowTaps(b, loc, w, d, ivs[d + 2], s.in[d])
                               : std::make_pair(zero, kb::idx(b, loc, w.kernel[d])));
    bounds.emplace_back(zero, kb::idx(b, loc, w.kernel[last]));
    foldMany(b, loc, bounds, {}, [&](OpBuilder &b, Location l, ValueRange at, ValueRange) {
      Value source = kb::add(b, l, firstSource, at[0]), inside;
      SmallVector<Value> x{ivs[0], source}, weight{forward ? channel : source, forward ? at[0] : local};
      llvm::append_range(weight, at.drop_front());
      for (size_t d = 0; d < last; ++d) {
        if (forward) {
          x.push_back(windowInput(b, l, w, d, ivs[d + 2], at[d + 1]));
          continue;
        }
        auto [o, hit] = windowOutput(b, l, w, d, ivs[d + 2], at[d + 1], s.out[d]);
        x.push_back(o);
        inside = inside ? Value(arith::AndIOp::create(b, l, inside, hit)) : hit;
      }
      auto addRow = [&](OpBuilder &b, Location l) {
        Value wv = convertTo(b, l, kernel.load(b, l, 1, weight), type), k = at.back();
        auto [lo, hi] = windowPositions(b, l, w, last, k, s.in[last], s.out[last]);
        KernelBuilder::loop(b, l, lo, hi, [&](OpBuilder &b, Location l, Value o) {
          Value i = windowInput(b, l, w, last, o, k);
          SmallVector<Value> from(x), to = rowAt(forward ? o : i);
          from.push_back(forward ? i : o);
          Value product = kb::mul(b, l, wv, convertTo(b, l, kernel.load(b, l, 0, from), type));
          Value sum = kb::add(b, l, memref::LoadOp::create(b, l, sums, to), product);
          memref::StoreOp::create(b, l, sum, sums, to);
        });
      };
      inside ? kb::when(b, l, inside, addRow) : addRow(b, l);
      return SmallVector<Value>{};
    });
    if (beside)
      KernelBuilder::loop(b, loc, zero, kb::idx(b, loc, length), [&](OpBuilder &b, Location l, Value i) {
        SmallVector<Value> to(ivs);
        to.push_back(i);
        memref::StoreOp::create(b, l, convertTo(b, l, memref::LoadOp::create(b, l, sums, i), element), y, to);
      });
  });
}

/// Below this many results per source and group, packing patches costs more than it saves.
static constexpr int64_t minTileResults = 4;
/// Elements of the longest row that is summed up beside the result.
static constexpr int64_t maxRowBeside = 8192;

/// Host forms compute on buffers; lanes index within an image with 32 bits.
static bool hostForm(KernelBuilder &kernel, const ConvShape &s) {
  int64_t image = std::max(s.channels * s.inSize(), s.filters * s.outSize());
  return kernel.target() == KernelTarget::Host && kernel.operandBuffer(0) && kernel.operandBuffer(1) &&
         image < (int64_t(1) << 30);
}

void emitConvKernel(KernelBuilder &kernel, ConvForm form, const ConvShape &shape, bool hasBias) {
  if (!hostForm(kernel, shape))
    return emitConvGather(kernel, form, shape, hasBias);
  int64_t results = form == ConvForm::Forward ? shape.filtersPerGroup() : shape.channelsPerGroup();
  bool longRows = kernel.resultElementType(0) != computeType(kernel.resultElementType(0)) &&
                  kernel.resultShape(0).back() > maxRowBeside;
  if (results < minTileResults && longRows)
    return emitConvGather(kernel, form, shape, hasBias);
  if (results < minTileResults)
    return emitConvRows(kernel, form, shape, hasBias);
  emitConvTiles(kernel, form, shape, hasBias);
}

void emitConvWeightGradKernel(KernelBuilder &kernel, const ConvShape &shape) {
  if (!hostForm(kernel, shape) || shape.filtersPerGroup() < minTileResults)
    return emitConvWeightGradGather(kernel, shape);
  emitConvWeightGradTiles(kernel, shape);
}

} // namespace gmc::nn
