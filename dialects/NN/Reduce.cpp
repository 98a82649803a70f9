//===- Reduce.cpp - reductions: types, kernels, gradients ---------------------------------------------------===//

#include "dialects/NN/Reduce.h"
#include "dialects/NN/Elementwise.h"
#include "dialects/NN/KernelSupport.h"
#include "dialects/NN/Tensor.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include <limits>

using namespace mlir;

namespace gmc::nn {

LogicalResult inferReduce(std::optional<Location> loc, RankedTensorType type, ArrayRef<int64_t> axes, bool keepdims,
                          SmallVectorImpl<Type> &types) {
  SmallVector<int64_t> shape;
  for (int64_t axis : axes)
    if (axis < 0 || axis >= type.getRank())
      return emitOptionalError(loc, "axis ", axis, " is outside rank ", type.getRank());
  for (auto [d, dim] : llvm::enumerate(type.getShape())) {
    if (!llvm::is_contained(axes, static_cast<int64_t>(d)))
      shape.push_back(dim);
    else if (keepdims)
      shape.push_back(1);
  }
  types.push_back(RankedTensorType::get(shape, type.getElementType()));
  return success();
}

void registerReduceOps(NNDialect *dialect) {
  dialect->addGroup<
#define GET_OP_LIST
#include "dialects/NN/Reduce.cpp.inc"
      >();
}

/// The gradient (or result) of a reduction, seen at the operand's rank with the reduced axes of size 1.
static Value keepReduced(OpBuilder &b, Location loc, Value value, RankedTensorType operand, ArrayRef<int64_t> axes) {
  SmallVector<int64_t> shape(operand.getShape());
  for (int64_t axis : axes)
    shape[axis] = 1;
  return shapeOf(value) == ArrayRef(shape)
             ? value
             : Value(ReshapeOp::create(b, loc, value, b.getDenseI64ArrayAttr(shape)));
}

static int64_t reducedElements(RankedTensorType type, ArrayRef<int64_t> axes) {
  int64_t count = 1;
  for (int64_t axis : axes)
    count *= type.getDimSize(axis);
  return count;
}

static Value ofShape(OpBuilder &b, Location loc, Value value, RankedTensorType type) {
  return shapeOf(value) == type.getShape()
             ? value
             : Value(AddOp::create(b, loc, splat(b, loc, type, 0.0), value));
}

//===- Sums -----------------------------------------------------------------------------------------------===//

void ReduceSumOp::emitKernel(KernelBuilder &kernel) { emitReduction(kernel, getAxes(), {}); }

void ReduceSumOp::buildGradient(OpBuilder &b, ArrayRef<Value> grads, ArrayRef<bool> needed,
                                MutableArrayRef<Value> out) {
  if (grads[0] && needed[0])
    out[0] =
        ofShape(b, getLoc(), keepReduced(b, getLoc(), grads[0], tensorType(getX()), getAxes()), tensorType(getX()));
}

void ReduceMeanOp::emitKernel(KernelBuilder &kernel) {
  double count = reducedElements(tensorType(getX()), getAxes());
  emitReduction(kernel, getAxes(), {.finish = [=](Scalar sum) { return sum / count; }});
}

void ReduceMeanOp::buildGradient(OpBuilder &b, ArrayRef<Value> grads, ArrayRef<bool> needed,
                                 MutableArrayRef<Value> out) {
  if (!grads[0] || !needed[0])
    return;
  double count = reducedElements(tensorType(getX()), getAxes());
  Value g = keepReduced(b, getLoc(), grads[0], tensorType(getX()), getAxes());
  g = fused(b, getLoc(), {g}, [&](ArrayRef<Scalar> v) { return v[0] / count; });
  out[0] = ofShape(b, getLoc(), g, tensorType(getX()));
}

void ReduceSumSquareOp::emitKernel(KernelBuilder &kernel) {
  emitReduction(kernel, getAxes(), {.term = [](Scalar x) { return x * x; }});
}

void ReduceSumSquareOp::buildGradient(OpBuilder &b, ArrayRef<Value> grads, ArrayRef<bool> needed,
                                      MutableArrayRef<Value> out) {
  if (!grads[0] || !needed[0])
    return;
  Value g = keepReduced(b, getLoc(), grads[0], tensorType(getX()), getAxes());
  out[0] = fused(b, getLoc(), {getX(), g}, [](ArrayRef<Scalar> v) { return 2.0 * v[0] * v[1]; });
}

void ReduceL1Op::emitKernel(KernelBuilder &kernel) {
  emitReduction(kernel, getAxes(), {.term = [](Scalar x) { return abs(x); }});
}

void ReduceL1Op::buildGradient(OpBuilder &b, ArrayRef<Value> grads, ArrayRef<bool> needed, MutableArrayRef<Value> out) {
  if (!grads[0] || !needed[0])
    return;
  Value g = keepReduced(b, getLoc(), grads[0], tensorType(getX()), getAxes());
  out[0] = fused(b, getLoc(), {getX(), g}, [](ArrayRef<Scalar> v) {
    return select(v[0] > 0.0, v[1], select(v[0] < 0.0, -v[1], 0.0));
  });
}

//===- Extremes, products -----------------------------------------------------------------------------------===//

static bool ordersUnsigned(Value x) {
  return elementTypeOf(x).isUnsignedInteger() || elementTypeOf(x).isInteger(1);
}

void ReduceMaxOp::emitKernel(KernelBuilder &kernel) {
  bool isUnsigned = ordersUnsigned(getX());
  emitReduction(kernel, getAxes(),
                {.init = -std::numeric_limits<double>::infinity(), .sum = false, .step = [=](Scalar acc, Scalar x) {
                   if (isUnsigned)
                     return x.with(arith::MaxUIOp::create(x.builder(), x.getLoc(), acc.value(), x.value()));
                   return maximum(acc, x);
                 }});
}

void ReduceMinOp::emitKernel(KernelBuilder &kernel) {
  bool isUnsigned = ordersUnsigned(getX());
  emitReduction(kernel, getAxes(),
                {.init = std::numeric_limits<double>::infinity(), .sum = false, .step = [=](Scalar acc, Scalar x) {
                   if (isUnsigned)
                     return x.with(arith::MinUIOp::create(x.builder(), x.getLoc(), acc.value(), x.value()));
                   return minimum(acc, x);
                 }});
}

/// To each element that equals the extreme goes an equal share.
static Value extremeGradient(OpBuilder &b, Location loc, Value x, Value y, Value g, ArrayRef<int64_t> axes) {
  y = keepReduced(b, loc, y, tensorType(x), axes);
  g = keepReduced(b, loc, g, tensorType(x), axes);
  auto hit = [](ArrayRef<Scalar> v) { return select(v[0] == v[1], v[0].constant(1), 0.0); };
  Value ties =
      ReduceSumOp::create(b, loc, fused(b, loc, {x, y}, hit), b.getDenseI64ArrayAttr(axes), b.getBoolAttr(true));
  return fused(b, loc, {x, y, g, ties},
               [](ArrayRef<Scalar> v) { return select(v[0] == v[1], v[2] / v[3], 0.0); });
}

void ReduceMaxOp::buildGradient(OpBuilder &b, ArrayRef<Value> grads, ArrayRef<bool> needed,
                                MutableArrayRef<Value> out) {
  if (grads[0] && needed[0])
    out[0] = extremeGradient(b, getLoc(), getX(), getResult(), grads[0], getAxes());
}
void ReduceMinOp::buildGradient(OpBuilder &b, ArrayRef<Value> grads, ArrayRef<bool> needed,
                                MutableArrayRef<Value> out) {
  if (grads[0] && needed[0])
    out[0] = extremeGradient(b, getLoc(), getX(), getResult(), grads[0], getAxes());
}

void ReduceProdOp::emitKernel(KernelBuilder &kernel) {
  emitReduction(kernel, getAxes(), {.init = 1, .sum = false, .step = [](Scalar acc, Scalar x) { return acc * x; }});
}

void ReduceProdOp::buildGradient(OpBuilder &b, ArrayRef<Value> grads, ArrayRef<bool> needed,
                                 MutableArrayRef<Value> out) {
  if (grads[0] && needed[0])
    out[0] = ReduceProdGradOp::create(b, getLoc(), getX(),
                                      keepReduced(b, getLoc(), grads[0], tensorType(getX()), getAxes()), getAxesAttr());
}

void ReduceProdGradOp::emitKernel(KernelBuilder &kernel) {
  SmallVector<int64_t> shape(kernel.operandShape(0));
  Type element = kernel.resultElementType(0), type = computeType(element);
  SmallVector<int64_t> axes(getAxes());
  kernel.parallel(shape, [&](OpBuilder &b, Location loc, ValueRange ivs) {
    SmallVector<std::pair<Value, Value>> box;
    for (int64_t axis : axes)
      box.emplace_back(kb::idx(b, loc, 0), kb::idx(b, loc, shape[axis]));
    Value product = KernelBuilder::foldNest(
        b, loc, box, kb::constant(b, loc, type, 1), [&](OpBuilder &b, Location l, ValueRange reduced, Value acc) {
          SmallVector<Value> at(ivs);
          Value self = arith::ConstantOp::create(b, l, b.getBoolAttr(true));
          for (auto [axis, i] : llvm::zip(axes, reduced)) {
            at[axis] = i;
            Value same = arith::CmpIOp::create(b, l, arith::CmpIPredicate::eq, i, ivs[axis]);
            self = arith::AndIOp::create(b, l, self, same);
          }
          Scalar x = convert(Scalar(b, l, kernel.load(b, l, 0, at)), type);
          return (Scalar(b, l, acc) * select(Scalar(b, l, self), 1.0, x)).value();
        });
    SmallVector<Value> reducedAt(ivs);
    for (int64_t axis : axes)
      reducedAt[axis] = kb::idx(b, loc, 0);
    Scalar g = convert(Scalar(b, loc, kernel.load(b, loc, 1, reducedAt)), type);
    kernel.store(b, loc, convert(g * Scalar(b, loc, product), element).value(), 0, ivs);
  });
}

//===- nn.reduce_log_sum_exp --------------------------------------------------------------------------------===//

/// One iteration per element: the largest term first, then the sum relative to it.
void ReduceLogSumExpOp::emitKernel(KernelBuilder &kernel) {
  SmallVector<int64_t> shape(kernel.operandShape(0)), outer, axes(getAxes());
  for (size_t d = 0; d < shape.size(); ++d)
    if (!llvm::is_contained(axes, static_cast<int64_t>(d)))
      outer.push_back(shape[d]);
  Type element = kernel.resultElementType(0), type = computeType(element);
  kernel.parallel({numElements(outer)}, [&](OpBuilder &b, Location loc, ValueRange ivs) {
    SmallVector<Value> outerAt = kb::delinearize(b, loc, ivs[0], outer);
    SmallVector<std::pair<Value, Value>> box;
    for (int64_t axis : axes)
      box.emplace_back(kb::idx(b, loc, 0), kb::idx(b, loc, shape[axis]));
    auto load = [&](OpBuilder &b, Location l, ValueRange reduced) {
      SmallVector<Value> at;
      size_t next = 0;
      for (size_t d = 0; d < shape.size(); ++d) {
        auto it = llvm::find(axes, static_cast<int64_t>(d));
        at.push_back(it == axes.end() ? outerAt[next++] : reduced[it - axes.begin()]);
      }
      return convert(Scalar(b, l, kernel.load(b, l, 0, at)), type);
    };
    Value lowest = kb::constant(b, loc, type, -std::numeric_limits<double>::infinity());
    Value max = KernelBuilder::foldNest(b, loc, box, lowest, [&](OpBuilder &b, Location l, ValueRange i, Value acc) {
      return kb::max(b, l, acc, load(b, l, i).value());
    });
    // A row of nothing but -inf has no finite reference.
    Scalar reference(b, loc, max);
    reference = select(abs(reference) == std::numeric_limits<double>::infinity(), 0.0, reference);
    Value sum = KernelBuilder::foldNest(b, loc, box, kb::constant(b, loc, type, 0),
                                        [&](OpBuilder &b, Location l, ValueRange i, Value acc) {
                                          Scalar x = load(b, l, i);
                                          return KernelBuilder::addReassoc(
                                              b, l, acc, exp(x - x.with(reference.value())).value());
                                        });
    storeFlat(kernel, b, loc, convert(log(Scalar(b, loc, sum)) + reference, element).value(), 0, ivs[0]);
  });
}

void ReduceLogSumExpOp::buildGradient(OpBuilder &b, ArrayRef<Value> grads, ArrayRef<bool> needed,
                                      MutableArrayRef<Value> out) {
  if (!grads[0] || !needed[0])
    return;
  Value y = keepReduced(b, getLoc(), getResult(), tensorType(getX()), getAxes());
  Value g = keepReduced(b, getLoc(), grads[0], tensorType(getX()), getAxes());
  out[0] = fused(b, getLoc(), {getX(), y, g}, [](ArrayRef<Scalar> v) { return v[2] * exp(v[0] - v[1]); });
}

//===- Along one axis ---------------------------------------------------------------------------------------===//

static void emitArg(KernelBuilder &kernel, int64_t axis, bool selectLast, bool largest, bool isUnsigned) {
  SmallVector<int64_t> outer(kernel.operandShape(0));
  int64_t size = outer[axis];
  outer.erase(outer.begin() + axis);
  Type type = computeType(kernel.operandElementType(0));
  kernel.parallel({numElements(outer)}, [&](OpBuilder &b, Location loc, ValueRange ivs) {
    SmallVector<Value> at = kb::delinearize(b, loc, ivs[0], outer);
    Value zero = kb::idx(b, loc, 0);
    auto loop = scf::ForOp::create(
        b, loc, kb::idx(b, loc, 1), kb::idx(b, loc, size), kb::idx(b, loc, 1),
        ValueRange{zero, loadAlong(kernel, b, loc, 0, at, axis, zero, type).value()},
        [&](OpBuilder &b, Location l, Value i, ValueRange acc) {
          Scalar x = loadAlong(kernel, b, l, 0, at, axis, i, type), best(b, l, acc[1]);
          auto beats = [&](Scalar p, Scalar q) {
            return isUnsigned ? p.with(arith::CmpIOp::create(b, l, arith::CmpIPredicate::ugt, p.value(), q.value()))
                              : p > q;
          };
          Scalar better = largest ? beats(x, best) : beats(best, x);
          if (selectLast)
            better = better | (x == best);
          scf::YieldOp::create(b, l, ValueRange{select(better, Scalar(b, l, i), Scalar(b, l, acc[0])).value(),
                                                select(better, x, best).value()});
        });
    storeFlat(kernel, b, loc, kb::fromIndex(b, loc, loop.getResult(0), b.getI64Type()), 0, ivs[0]);
  });
}

void ArgMaxOp::emitKernel(KernelBuilder &kernel) {
  emitArg(kernel, getAxis(), getSelectLast(), true, ordersUnsigned(getX()));
}
void ArgMinOp::emitKernel(KernelBuilder &kernel) {
  emitArg(kernel, getAxis(), getSelectLast(), false, ordersUnsigned(getX()));
}

void CumSumOp::emitKernel(KernelBuilder &kernel) {
  int64_t axis = getAxis();
  SmallVector<int64_t> outer(kernel.operandShape(0));
  int64_t size = outer[axis];
  outer.erase(outer.begin() + axis);
  Type element = kernel.resultElementType(0), type = computeType(element);
  kernel.parallel({numElements(outer)}, [&](OpBuilder &b, Location loc, ValueRange ivs) {
    SmallVector<Value> at = kb::delinearize(b, loc, ivs[0], outer);
    KernelBuilder::fold(b, loc, kb::idx(b, loc, 0), kb::idx(b, loc, size), kb::constant(b, loc, type, 0),
                        [&](OpBuilder &b, Location l, Value i, Value acc) {
                          Value position = getReverse() ? kb::sub(b, l, kb::idx(b, l, size - 1), i) : i;
                          SmallVector<Value> indices;
                          insertIndex(indices, at, axis, position);
                          Scalar x = loadAlong(kernel, b, l, 0, at, axis, position, type), before(b, l, acc);
                          Scalar after = before + x;
                          kernel.store(b, l, convert(getExclusive() ? before : after, signless(element)).value(), 0,
                                       indices);
                          return after.value();
                        });
  });
}

void CumSumOp::buildGradient(OpBuilder &b, ArrayRef<Value> grads, ArrayRef<bool> needed, MutableArrayRef<Value> out) {
  if (grads[0] && needed[0])
    out[0] = CumSumOp::create(b, getLoc(), grads[0], getAxisAttr(), getExclusiveAttr(), b.getBoolAttr(!getReverse()));
}

} // namespace gmc::nn

#define GET_OP_CLASSES
#include "dialects/NN/Reduce.cpp.inc"
