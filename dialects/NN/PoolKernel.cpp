//===- PoolKernel.cpp - loops of pools and their gradients ----------------------------------------------===//

#include "dialects/NN/PoolKernel.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"

using namespace mlir;

namespace gmc::nn {

//===- Windows ------------------------------------------------------------------------------------------===//

/// Whether x takes the place of `best`: larger, or a NaN where best is none.
static Value beats(OpBuilder &b, Location loc, Value x, Value best, bool isUnsigned) {
  if (!isa<FloatType>(x.getType()))
    return arith::CmpIOp::create(b, loc, isUnsigned ? arith::CmpIPredicate::ugt : arith::CmpIPredicate::sgt, x, best);
  Value notLess = arith::CmpFOp::create(b, loc, arith::CmpFPredicate::UGT, x, best);
  Value number = arith::CmpFOp::create(b, loc, arith::CmpFPredicate::ORD, best, best);
  return arith::AndIOp::create(b, loc, notLess, number);
}

/// What every element beats or equals.
static Value lowest(OpBuilder &b, Location loc, Type type, bool isUnsigned) {
  if (auto f = dyn_cast<FloatType>(type))
    return arith::ConstantOp::create(b, loc,
                                     b.getFloatAttr(type, APFloat::getInf(f.getFloatSemantics(), /*Negative=*/true)));
  unsigned width = type.getIntOrFloatBitWidth();
  return arith::ConstantOp::create(
      b, loc, b.getIntegerAttr(type, isUnsigned ? APInt::getMinValue(width) : APInt::getSignedMinValue(width)));
}

bool everyTap(const Window &w, ArrayRef<int64_t> in, ArrayRef<int64_t> out) {
  for (size_t d = 0; d < w.rank(); ++d)
    if (w.dilations[d] != 1 || w.padBegin(d) >= w.kernel[d] || (out[d] - 1) * w.strides[d] - w.padBegin(d) >= in[d])
      return false;
  return true;
}

/// Whether some window reaches outside of the plane along dimension d.
static bool isCut(const Window &w, size_t d, int64_t in) {
  return w.padBegin(d) > 0 ||
         (w.outputs(d, in, /*ceilMode=*/true) - 1) * w.strides[d] - w.padBegin(d) + w.extent(d) > in;
}

/// Bounds of the taps to visit of the window at `at`.
static Bounds tapBounds(OpBuilder &b, Location loc, const Window &w, const PoolPlane &plane, ValueRange at) {
  if (plane.allTaps)
    return fullBounds(b, loc, w.kernel);
  Bounds bounds;
  for (size_t d = 0; d < w.rank(); ++d)
    bounds.push_back(windowTaps(b, loc, w, d, at[d], plane.in[d]));
  return bounds;
}

namespace {
/// A tap's element: where, and whether that is the tap's own place (null: certainly).
struct TapElement {
  SmallVector<Value> at;
  Value inside;
};
} // namespace

static TapElement tapElement(OpBuilder &b, Location loc, const Window &w, const PoolPlane &plane, ValueRange at,
                             ValueRange taps) {
  TapElement e;
  for (size_t d = 0; d < w.rank(); ++d) {
    Value i = windowInput(b, loc, w, d, at[d], taps[d]);
    if (plane.allTaps && isCut(w, d, plane.in[d])) {
      Value zero = kb::idx(b, loc, 0), inside = kb::inRange(b, loc, i, zero, kb::idx(b, loc, plane.in[d]));
      e.inside = e.inside ? b.createOrFold<arith::AndIOp>(loc, e.inside, inside) : inside;
      i = kb::min(b, loc, kb::max(b, loc, i, zero), kb::idx(b, loc, plane.in[d] - 1));
    }
    e.at.push_back(i);
  }
  return e;
}

Value readsInput(OpBuilder &b, Location loc, const Window &w, ValueRange at, ArrayRef<int64_t> in) {
  Value result;
  for (size_t d = 0; d < w.rank(); ++d) {
    if (w.padBegin(d) <= 0 && w.padEnd(d) <= 0)
      continue;
    auto [first, last] = windowTaps(b, loc, w, d, at[d], in[d]);
    Value some = arith::CmpIOp::create(b, loc, arith::CmpIPredicate::slt, first, last);
    result = result ? Value(arith::AndIOp::create(b, loc, result, some)) : some;
  }
  return result;
}

std::pair<Value, Value> windowMax(OpBuilder &b, Location loc, const Window &w, const PoolPlane &plane, Type element,
                                  ValueRange at, bool isUnsigned) {
  Value low = lowest(b, loc, bufferElement(element), isUnsigned);
  Bounds taps = tapBounds(b, loc, w, plane, at);
  // The first element of the window stands for itself, so that a window full of -inf has a position too.
  SmallVector<Value> firstTaps;
  for (auto [first, last] : taps)
    firstTaps.push_back(first);
  Value first = kb::linearize(b, loc, tapElement(b, loc, w, plane, at, firstTaps).at, plane.in);
  auto best = foldMany(b, loc, taps, {low, first}, [&](OpBuilder &b, Location l, ValueRange k, ValueRange acc) {
    SmallVector<Value> x = tapElement(b, l, w, plane, at, k).at;
    Value v = plane.load(b, l, x);
    Value wins = beats(b, l, v, acc[0], isUnsigned);
    Value position = kb::linearize(b, l, x, plane.in);
    return SmallVector<Value>{arith::SelectOp::create(b, l, wins, v, acc[0]),
                              arith::SelectOp::create(b, l, wins, position, acc[1])};
  });
  return {best[0], best[1]};
}

Value windowSum(OpBuilder &b, Location loc, const Window &w, const PoolPlane &plane, Type sumType, ValueRange at) {
  return sumBox(b, loc, tapBounds(b, loc, w, plane, at), {sumType}, [&](OpBuilder &b, Location l, ValueRange k) {
    TapElement e = tapElement(b, l, w, plane, at, k);
    Value x = convertTo(b, l, plane.load(b, l, e.at), sumType);
    if (e.inside)
      x = arith::SelectOp::create(b, l, e.inside, x, kb::constant(b, l, sumType, 0));
    return SmallVector<Value>{x};
  })[0];
}

Value windowCount(OpBuilder &b, Location loc, const Window &w, ValueRange at, ArrayRef<int64_t> in,
                         bool countPad, Type type) {
  Value count = kb::idx(b, loc, 1);
  for (size_t d = 0; d < w.rank(); ++d) {
    // Padding counts as input that begins earlier and ends later.
    SmallVector<int64_t> none(2 * w.rank(), 0);
    Window padded{w.kernel, w.strides, none, w.dilations};
    auto [first, last] = countPad ? windowTaps(b, loc, padded, d, at[d], in[d] + w.padBegin(d) + w.padEnd(d))
                                  : windowTaps(b, loc, w, d, at[d], in[d]);
    count = kb::mul(b, loc, count, kb::sub(b, loc, last, first));
  }
  Value integer = kb::fromIndex(b, loc, count, b.getI64Type());
  return arith::SIToFPOp::create(b, loc, type, integer);
}

//===- Kernels: one iteration an element, or a plane; cooperative ones are in PoolGpu.cpp -----------------===//

/// Reads operand 0 in plane (n, c).
static auto planeOf(KernelBuilder &kernel, Value n, Value c) {
  return [&kernel, n, c](OpBuilder &b, Location loc, ValueRange at) {
    SmallVector<Value> indices{n, c};
    llvm::append_range(indices, at);
    return kernel.load(b, loc, 0, indices);
  };
}

/// Emits result 0, an element a window.
static void emitPool(KernelBuilder &kernel, const Window &w, PoolValue value) {
  if (emitGpuPool(kernel, w, value))
    return;
  ArrayRef<int64_t> x = kernel.operandShape(0);
  kernel.parallel(kernel.resultShape(0), [&](OpBuilder &b, Location loc, ValueRange ivs) {
    Value number = kb::linearize(b, loc, ivs.take_front(2), x.take_front(2));
    auto load = planeOf(kernel, ivs[0], ivs[1]);
    kernel.store(b, loc, value(b, loc, {x.drop_front(2), load}, number, ivs.drop_front(2)), 0, ivs);
  });
}

void MaxPoolOp::emitKernel(KernelBuilder &kernel) {
  Window w = windowOf(*this);
  Type element = elementTypeOf(getX());
  emitPool(kernel, w, [&](OpBuilder &b, Location loc, const PoolPlane &plane, Value, ValueRange at) {
    return windowMax(b, loc, w, plane, element, at, element.isUnsignedInteger()).first;
  });
}

void MaxPoolIndicesOp::emitKernel(KernelBuilder &kernel) {
  Window w = windowOf(*this);
  Type element = elementTypeOf(getX());
  ArrayRef<int64_t> in = shapeOf(getX()).drop_front(2);
  emitPool(kernel, w, [&](OpBuilder &b, Location loc, const PoolPlane &plane, Value number, ValueRange at) {
    Value position = windowMax(b, loc, w, plane, element, at, element.isUnsignedInteger()).second;
    if (getColumnMajor()) {
      SmallVector<int64_t> sizes(llvm::reverse(in));
      SmallVector<Value> axes(llvm::reverse(kb::delinearize(b, loc, position, in)));
      position = kb::linearize(b, loc, axes, sizes);
    }
    position = kb::add(b, loc, position, kb::mul(b, loc, number, kb::idx(b, loc, numElements(in))));
    return kb::fromIndex(b, loc, position, kernel.resultElementType(0));
  });
}

/// For an element of x at `ivs` (image, channel, positions), add(at, sum) of one window after the other that reads it.
static Value sumOfWindows(OpBuilder &b, Location loc, const Window &w, ValueRange ivs, ArrayRef<int64_t> out,
                          Type sumType, function_ref<Value(OpBuilder &, Location, ValueRange, Value)> add) {
  return KernelBuilder::foldNest(b, loc, fullBounds(b, loc, w.kernel), kb::constant(b, loc, sumType, 0),
                                 [&](OpBuilder &b, Location l, ValueRange k, Value acc) {
                                   SmallVector<Value> at{ivs[0], ivs[1]};
                                   Value inside;
                                   for (size_t d = 0; d < w.rank(); ++d) {
                                     auto [o, hit] = windowOutput(b, l, w, d, ivs[d + 2], k[d], out[d]);
                                     at.push_back(o);
                                     inside = inside ? Value(arith::AndIOp::create(b, l, inside, hit)) : hit;
                                   }
                                   return kb::select(
                                       b, l, inside, [&](OpBuilder &b, Location l) { return add(b, l, at, acc); }, acc);
                                 });
}

void MaxPoolGradOp::emitKernel(KernelBuilder &kernel) {
  Window w = windowOf(*this);
  if (emitGpuMaxPoolGrad(kernel, w))
    return;
  SmallVector<int64_t> x(shapeOf(getX())), dy(shapeOf(getDy()));
  ArrayRef<int64_t> in = ArrayRef(x).drop_front(2), out = ArrayRef(dy).drop_front(2);
  Type type = kernel.resultElementType(0), sumType = computeType(type);
  bool scatter = kernel.target() == KernelTarget::Host && sumType == type;
  if (scatter) { // a plane belongs to one iteration, which goes through the windows once
    kernel.parallel({x[0] * x[1]}, [&](OpBuilder &b, Location loc, ValueRange iv) {
      Value n = kb::div(b, loc, iv[0], kb::idx(b, loc, x[1])), c = kb::rem(b, loc, iv[0], kb::idx(b, loc, x[1]));
      Value dx = kernel.resultBuffer(0), zero = kb::constant(b, loc, type, 0);
      auto load = planeOf(kernel, n, c);
      auto plane = [&](ValueRange at) {
        SmallVector<Value> indices{n, c};
        llvm::append_range(indices, at);
        return indices;
      };
      foldMany(b, loc, fullBounds(b, loc, in), {}, [&](OpBuilder &b, Location l, ValueRange at, ValueRange) {
        memref::StoreOp::create(b, l, zero, dx, plane(at));
        return SmallVector<Value>{};
      });
      foldMany(b, loc, fullBounds(b, loc, out), {}, [&](OpBuilder &b, Location l, ValueRange at, ValueRange) {
        auto addToMax = [&](OpBuilder &b, Location l) {
          Value position = windowMax(b, l, w, {in, load}, type, at, false).second;
          SmallVector<Value> target = plane(kb::delinearize(b, l, position, in));
          Value sum = kb::add(b, l, memref::LoadOp::create(b, l, dx, target), kernel.load(b, l, 1, plane(at)));
          memref::StoreOp::create(b, l, sum, dx, target);
        };
        Value reads = readsInput(b, l, w, at, in);
        reads ? kb::when(b, l, reads, addToMax) : addToMax(b, l);
        return SmallVector<Value>{};
      });
    });
    return;
  }
  kernel.parallel(x, [&](OpBuilder &b, Location loc, ValueRange ivs) {
    auto load = planeOf(kernel, ivs[0], ivs[1]);
    Value self = kb::linearize(b, loc, ivs.drop_front(2), in);
    Value sum = sumOfWindows(b, loc, w, ivs, out, sumType, [&](OpBuilder &b, Location l, ValueRange at, Value acc) {
      Value position = windowMax(b, l, w, {in, load}, type, at.drop_front(2), false).second;
      Value mine = arith::CmpIOp::create(b, l, arith::CmpIPredicate::eq, position, self);
      Value g = convertTo(b, l, kernel.load(b, l, 1, at), sumType);
      Value with = kb::add(b, l, acc, g);
      return Value(arith::SelectOp::create(b, l, mine, with, acc));
    });
    kernel.store(b, loc, convertTo(b, loc, sum, type), 0, ivs);
  });
}

void AvgPoolOp::emitKernel(KernelBuilder &kernel) {
  Window w = windowOf(*this);
  Type type = kernel.resultElementType(0), sumType = computeType(type);
  ArrayRef<int64_t> in = shapeOf(getX()).drop_front(2);
  emitPool(kernel, w, [&](OpBuilder &b, Location loc, const PoolPlane &plane, Value, ValueRange at) {
    Value sum = windowSum(b, loc, w, plane, sumType, at);
    return convertTo(b, loc, kb::div(b, loc, sum, windowCount(b, loc, w, at, in, getCountIncludePad(), sumType)), type);
  });
}

void AvgPoolGradOp::emitKernel(KernelBuilder &kernel) {
  Window w = windowOf(*this);
  if (emitGpuAvgPoolGrad(kernel, w, getCountIncludePad()))
    return;
  Type type = kernel.resultElementType(0), sumType = computeType(type);
  ArrayRef<int64_t> in = getInput(), out = shapeOf(getDy()).drop_front(2);
  kernel.parallel(kernel.resultShape(0), [&](OpBuilder &b, Location loc, ValueRange ivs) {
    Value sum = sumOfWindows(b, loc, w, ivs, out, sumType, [&](OpBuilder &b, Location l, ValueRange at, Value acc) {
      Value count = windowCount(b, l, w, at.drop_front(2), in, getCountIncludePad(), sumType);
      Value g = convertTo(b, l, kernel.load(b, l, 0, at), sumType);
      return kb::add(b, l, acc, kb::div(b, l, g, count));
    });
    kernel.store(b, loc, convertTo(b, loc, sum, type), 0, ivs);
  });
}

} // namespace gmc::nn
