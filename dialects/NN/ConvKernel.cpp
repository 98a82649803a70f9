//===- ConvKernel.cpp - gather form of the convolution ops, and the choice of a host form ---------------===//

#include "dialects/NN/ConvKernel.h"
#include "dialects/NN/Fold.h"
#include "mlir/Dialect/Arith/IR/Arith.h"

using namespace mlir;

namespace gmc::nn {

static int64_t product(ArrayRef<int64_t> values) {
  int64_t result = 1;
  for (int64_t value : values)
    result *= value;
  return result;
}
int64_t ConvShape::inSize() const { return product(in); }
int64_t ConvShape::outSize() const { return product(out); }

/// One iteration per result element: the sum over its group's channels and the taps.
static void emitConvGather(KernelBuilder &kernel, ConvForm form, const ConvShape &s, bool hasBias) {
  bool forward = form == ConvForm::Forward;
  const Window &w = s.window;
  size_t rank = w.rank();
  int64_t resultsPerGroup = forward ? s.filtersPerGroup() : s.channelsPerGroup();
  int64_t sourcesPerGroup = forward ? s.channelsPerGroup() : s.filtersPerGroup();
  Type type = kernel.resultElementType(0), sumType = accumulatorType(type);
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
  Type type = kernel.resultElementType(0), sumType = accumulatorType(type);
  kernel.parallel(kernel.resultShape(0), [&](OpBuilder &b, Location loc, ValueRange ivs) {
    Value g = kb::div(b, loc, ivs[0], kb::idx(b, loc, s.filtersPerGroup()));
    Value channel = kb::add(b, loc, kb::mul(b, loc, g, kb::idx(b, loc, s.channelsPerGroup())), ivs[1]);
    SmallVector<std::pair<Value, Value>> bounds{{kb::idx(b, loc, 0), kb::idx(b, loc, s.batch)}};
    for (size_t d = 0; d < rank; ++d)
      bounds.push_back(windowPositions(b, loc, w, d, ivs[d + 2], s.in[d], s.out[d]));
    Value sum = KernelBuilder::foldNest(b, loc, bounds, kb::constant(b, loc, sumType, 0),
                                        [&](OpBuilder &b, Location l, ValueRange at, Value acc) {
                                          SmallVector<Value> x{at[0], channel}, dy{at[0], ivs[0]};
                                          for (size_t d = 0; d < rank; ++d) {
                                            x.push_back(windowInput(b, l, w, d, at[d + 1], ivs[d + 2]));
                                            dy.push_back(at[d + 1]);
                                          }
                                          Value xv = convertTo(b, l, kernel.load(b, l, 0, x), sumType);
                                          Value dyv = convertTo(b, l, kernel.load(b, l, 1, dy), sumType);
                                          return KernelBuilder::addReassoc(b, l, acc, kb::mul(b, l, xv, dyv));
                                        });
    kernel.store(b, loc, convertTo(b, loc, sum, type), 0, ivs);
  });
}

void emitConvKernel(KernelBuilder &kernel, ConvForm form, const ConvShape &shape, bool hasBias) {
  emitConvGather(kernel, form, shape, hasBias);
}

void emitConvWeightGradKernel(KernelBuilder &kernel, const ConvShape &shape) {
  emitConvWeightGradGather(kernel, shape);
}

} // namespace gmc::nn
