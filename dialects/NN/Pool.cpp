//===- Pool.cpp - max and average pools -----------------------------------------------------------------===//

#include "dialects/NN/Pool.h"
#include "compiler/Import/OpImport.h"
#include "dialects/NN/Elementwise.h"
#include "dialects/NN/Fold.h"
#include "dialects/NN/Reduce.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"

using namespace mlir;

namespace gmc::nn {

void registerPoolOps(NNDialect *dialect) {
  dialect->addGroup<
#define GET_OP_LIST
#include "dialects/NN/Pool.cpp.inc"
      >();
}

template <typename OpT> static Window windowOf(OpT op) {
  return {op.getKernel(), op.getStrides(), op.getPads(), op.getDilations()};
}

/// One operation per tap of every window.
template <typename OpT> static int64_t poolFlops(OpT op) {
  int64_t windows = tensorType(op.getResult()).getNumElements();
  for (Value operand : op->getOperands())
    windows = std::min(windows, tensorType(operand).getNumElements());
  return windows * windowOf(op).taps();
}

/// Windows without padding are vectors on the host. The gradients, and windows that padding cuts, are element by element.
template <typename OpT> static CostClass poolCostClass(OpT op) {
  Window w = windowOf(op);
  bool gradient = isa<MaxPoolGradOp, AvgPoolGradOp>(op);
  bool padded = llvm::any_of(w.pads, [](int64_t pad) { return pad > 0; }) || op.getCeilMode();
  return gradient || padded ? CostClass::Gather : CostClass::Reduction;
}

//===- Shapes -------------------------------------------------------------------------------------------===//

/// The output shape of a pool over x.
template <typename AdaptorT>
static FailureOr<SmallVector<int64_t>> pooledShape(std::optional<Location> loc, AdaptorT a, ArrayRef<int64_t> x) {
  if (x.size() < 3)
    return emitOptionalError(loc, "a pool needs an input of rank 3 or more, not ", x.size());
  Window window = windowOf(a);
  SmallVector<int64_t> shape(x.take_front(2));
  if (failed(checkWindow(loc, window, x.size() - 2)) ||
      failed(inferWindow(loc, window, x.drop_front(2), a.getCeilMode(), shape)))
    return failure();
  return shape;
}

LogicalResult MaxPoolOp::inferReturnTypes(MLIRContext *, std::optional<Location> loc, Adaptor a,
                                          SmallVectorImpl<Type> &types) {
  auto shape = pooledShape(loc, a, shapeOf(a.getX()));
  if (failed(shape))
    return failure();
  types.push_back(tensorType(a.getX()).clone(*shape));
  return success();
}

LogicalResult MaxPoolIndicesOp::inferReturnTypes(MLIRContext *context, std::optional<Location> loc, Adaptor a,
                                                 SmallVectorImpl<Type> &types) {
  auto shape = pooledShape(loc, a, shapeOf(a.getX()));
  if (failed(shape))
    return failure();
  types.push_back(RankedTensorType::get(*shape, IntegerType::get(context, 64)));
  return success();
}

LogicalResult AvgPoolOp::inferReturnTypes(MLIRContext *, std::optional<Location> loc, Adaptor a,
                                          SmallVectorImpl<Type> &types) {
  auto shape = pooledShape(loc, a, shapeOf(a.getX()));
  if (failed(shape))
    return failure();
  types.push_back(tensorType(a.getX()).clone(*shape));
  return success();
}

LogicalResult MaxPoolGradOp::inferReturnTypes(MLIRContext *, std::optional<Location> loc, Adaptor a,
                                              SmallVectorImpl<Type> &types) {
  auto shape = pooledShape(loc, a, shapeOf(a.getX()));
  if (failed(shape))
    return failure();
  if (shapeOf(a.getDy()) != ArrayRef<int64_t>(*shape) || elementTypeOf(a.getDy()) != elementTypeOf(a.getX()))
    return emitOptionalError(loc, "output gradient ", a.getDy().getType(), " is not of the pool's type ",
                             tensorType(a.getX()).clone(*shape));
  types.push_back(a.getX().getType());
  return success();
}

LogicalResult AvgPoolGradOp::inferReturnTypes(MLIRContext *, std::optional<Location> loc, Adaptor a,
                                              SmallVectorImpl<Type> &types) {
  RankedTensorType dy = tensorType(a.getDy());
  SmallVector<int64_t> input(dy.getShape().take_front(2));
  llvm::append_range(input, a.getInput());
  auto shape = pooledShape(loc, a, input);
  if (failed(shape))
    return failure();
  if (dy.getShape() != ArrayRef<int64_t>(*shape))
    return emitOptionalError(loc, "output gradient ", dy, " is not of the pool's shape ", dy.clone(*shape));
  types.push_back(dy.clone(input));
  return success();
}

//===- Max pool -----------------------------------------------------------------------------------------===//

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

/// Bounds of the taps of the window at spatial position `at` that lie inside an input of spatial shape `in`.
static Bounds insideTaps(OpBuilder &b, Location loc, const Window &w, ValueRange at, ArrayRef<int64_t> in) {
  Bounds bounds;
  for (size_t d = 0; d < w.rank(); ++d)
    bounds.push_back(windowTaps(b, loc, w, d, at[d], in[d]));
  return bounds;
}

/// Whether the window at `at` reads any element of the input; null where every window does.
static Value readsInput(OpBuilder &b, Location loc, const Window &w, ValueRange at, ArrayRef<int64_t> in) {
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

/// Largest element of the window at `ivs` (n, c, spatial...) and its row-major position in the spatial part of x.
static std::pair<Value, Value> windowMax(OpBuilder &b, Location loc, KernelBuilder &kernel, const Window &w,
                                         ValueRange ivs, bool isUnsigned) {
  ArrayRef<int64_t> in = kernel.operandShape(0).drop_front(2);
  Value low = lowest(b, loc, signless(kernel.operandElementType(0)), isUnsigned);
  Bounds taps = insideTaps(b, loc, w, ivs.drop_front(2), in);
  // The first element of the window stands for itself, so that a window full of -inf has a position too.
  SmallVector<Value> firstAt;
  for (size_t d = 0; d < w.rank(); ++d)
    firstAt.push_back(windowInput(b, loc, w, d, ivs[d + 2], taps[d].first));
  Value first = kb::linearize(b, loc, firstAt, in);
  auto best = foldMany(b, loc, taps, {low, first}, [&](OpBuilder &b, Location l, ValueRange k, ValueRange acc) {
    SmallVector<Value> x{ivs[0], ivs[1]};
    for (size_t d = 0; d < w.rank(); ++d)
      x.push_back(windowInput(b, l, w, d, ivs[d + 2], k[d]));
    Value v = kernel.load(b, l, 0, x);
    Value wins = beats(b, l, v, acc[0], isUnsigned);
    Value position = kb::linearize(b, l, ValueRange(x).drop_front(2), in);
    return SmallVector<Value>{arith::SelectOp::create(b, l, wins, v, acc[0]),
                              arith::SelectOp::create(b, l, wins, position, acc[1])};
  });
  return {best[0], best[1]};
}

void MaxPoolOp::emitKernel(KernelBuilder &kernel) {
  Window w = windowOf(*this);
  bool isUnsigned = elementTypeOf(getX()).isUnsignedInteger();
  kernel.parallel(kernel.resultShape(0), [&](OpBuilder &b, Location loc, ValueRange ivs) {
    kernel.store(b, loc, windowMax(b, loc, kernel, w, ivs, isUnsigned).first, 0, ivs);
  });
}

void MaxPoolIndicesOp::emitKernel(KernelBuilder &kernel) {
  Window w = windowOf(*this);
  bool isUnsigned = elementTypeOf(getX()).isUnsignedInteger();
  ArrayRef<int64_t> x = shapeOf(getX());
  int64_t plane = tensorType(getX()).getNumElements() / (x[0] * x[1]);
  kernel.parallel(kernel.resultShape(0), [&](OpBuilder &b, Location loc, ValueRange ivs) {
    Value position = windowMax(b, loc, kernel, w, ivs, isUnsigned).second;
    if (getColumnMajor()) {
      SmallVector<int64_t> sizes(llvm::reverse(x.drop_front(2)));
      SmallVector<Value> at(llvm::reverse(kb::delinearize(b, loc, position, x.drop_front(2))));
      position = kb::linearize(b, loc, at, sizes);
    }
    Value channel = kb::linearize(b, loc, ivs.take_front(2), x.take_front(2));
    position = kb::add(b, loc, position, kb::mul(b, loc, channel, kb::idx(b, loc, plane)));
    kernel.store(b, loc, kb::fromIndex(b, loc, position, kernel.resultElementType(0)), 0, ivs);
  });
}

void MaxPoolGradOp::emitKernel(KernelBuilder &kernel) {
  Window w = windowOf(*this);
  SmallVector<int64_t> x(shapeOf(getX())), dy(shapeOf(getDy()));
  ArrayRef<int64_t> in = ArrayRef(x).drop_front(2), out = ArrayRef(dy).drop_front(2);
  Type type = kernel.resultElementType(0), sumType = computeType(type);
  bool scatter = kernel.target() == KernelTarget::Host && sumType == type;
  if (scatter) { // a plane belongs to one iteration, which goes through the windows once
    kernel.parallel({x[0] * x[1]}, [&](OpBuilder &b, Location loc, ValueRange iv) {
      Value n = kb::div(b, loc, iv[0], kb::idx(b, loc, x[1])), c = kb::rem(b, loc, iv[0], kb::idx(b, loc, x[1]));
      Value dx = kernel.resultBuffer(0), zero = kb::constant(b, loc, type, 0);
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
          Value position = windowMax(b, l, kernel, w, plane(at), false).second;
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
    Value self = kb::linearize(b, loc, ivs.drop_front(2), in);
    Value sum = KernelBuilder::foldNest(b, loc, fullBounds(b, loc, w.kernel), kb::constant(b, loc, sumType, 0),
                                        [&](OpBuilder &b, Location l, ValueRange k, Value acc) {
                                          SmallVector<Value> at{ivs[0], ivs[1]};
                                          Value inside;
                                          for (size_t d = 0; d < w.rank(); ++d) {
                                            auto [o, hit] = windowOutput(b, l, w, d, ivs[d + 2], k[d], out[d]);
                                            at.push_back(o);
                                            inside = inside ? Value(arith::AndIOp::create(b, l, inside, hit)) : hit;
                                          }
                                          return kb::select(
                                              b, l, inside,
                                              [&](OpBuilder &b, Location l) {
                                                Value position = windowMax(b, l, kernel, w, at, false).second;
                                                Value mine = arith::CmpIOp::create(b, l, arith::CmpIPredicate::eq,
                                                                                   position, self);
                                                Value g = convertTo(b, l, kernel.load(b, l, 1, at), sumType);
                                                Value with = kb::add(b, l, acc, g);
                                                return Value(arith::SelectOp::create(b, l, mine, with, acc));
                                              },
                                              acc);
                                        });
    kernel.store(b, loc, convertTo(b, loc, sum, type), 0, ivs);
  });
}

void MaxPoolOp::buildGradient(OpBuilder &b, ArrayRef<Value> grads, ArrayRef<bool> needed, MutableArrayRef<Value> out) {
  if (grads[0] && needed[0])
    out[0] = MaxPoolGradOp::create(b, getLoc(), getX(), grads[0], getKernelAttr(), getStridesAttr(), getPadsAttr(),
                                   getDilationsAttr(), getCeilModeAttr());
}
void MaxPoolIndicesOp::buildGradient(OpBuilder &, ArrayRef<Value>, ArrayRef<bool>, MutableArrayRef<Value>) {}
/// Which element is the largest does not change: linear in dy, but its adjoint is only asked for by second derivatives.
void MaxPoolGradOp::buildGradient(OpBuilder &, ArrayRef<Value>, ArrayRef<bool>, MutableArrayRef<Value>) {}

//===- Average pool -------------------------------------------------------------------------------------===//

/// What the window at spatial position `at` divides by, as a float of `type`.
static Value windowCount(OpBuilder &b, Location loc, const Window &w, ValueRange at, ArrayRef<int64_t> in,
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

void AvgPoolOp::emitKernel(KernelBuilder &kernel) {
  Window w = windowOf(*this);
  Type type = kernel.resultElementType(0), sumType = computeType(type);
  ArrayRef<int64_t> in = shapeOf(getX()).drop_front(2);
  kernel.parallel(kernel.resultShape(0), [&](OpBuilder &b, Location loc, ValueRange ivs) {
    Bounds taps = insideTaps(b, loc, w, ivs.drop_front(2), in);
    Value sum = sumBox(b, loc, taps, {sumType}, [&](OpBuilder &b, Location l, ValueRange k) {
      SmallVector<Value> x{ivs[0], ivs[1]};
      for (size_t d = 0; d < w.rank(); ++d)
        x.push_back(windowInput(b, l, w, d, ivs[d + 2], k[d]));
      return SmallVector<Value>{convertTo(b, l, kernel.load(b, l, 0, x), sumType)};
    })[0];
    Value mean = kb::div(b, loc, sum, windowCount(b, loc, w, ivs.drop_front(2), in, getCountIncludePad(), sumType));
    kernel.store(b, loc, convertTo(b, loc, mean, type), 0, ivs);
  });
}

void AvgPoolGradOp::emitKernel(KernelBuilder &kernel) {
  Window w = windowOf(*this);
  Type type = kernel.resultElementType(0), sumType = computeType(type);
  ArrayRef<int64_t> in = getInput(), out = shapeOf(getDy()).drop_front(2);
  kernel.parallel(kernel.resultShape(0), [&](OpBuilder &b, Location loc, ValueRange ivs) {
    Value sum = KernelBuilder::foldNest(b, loc, fullBounds(b, loc, w.kernel), kb::constant(b, loc, sumType, 0),
                                        [&](OpBuilder &b, Location l, ValueRange k, Value acc) {
                                          SmallVector<Value> at{ivs[0], ivs[1]};
                                          Value inside;
                                          for (size_t d = 0; d < w.rank(); ++d) {
                                            auto [o, hit] = windowOutput(b, l, w, d, ivs[d + 2], k[d], out[d]);
                                            at.push_back(o);
                                            inside = inside ? Value(arith::AndIOp::create(b, l, inside, hit)) : hit;
                                          }
                                          return kb::select(
                                              b, l, inside,
                                              [&](OpBuilder &b, Location l) {
                                                Value count = windowCount(b, l, w, ValueRange(at).drop_front(2), in,
                                                                          getCountIncludePad(), sumType);
                                                Value g = convertTo(b, l, kernel.load(b, l, 0, at), sumType);
                                                return kb::add(b, l, acc, kb::div(b, l, g, count));
                                              },
                                              acc);
                                        });
    kernel.store(b, loc, convertTo(b, loc, sum, type), 0, ivs);
  });
}

void AvgPoolOp::buildGradient(OpBuilder &b, ArrayRef<Value> grads, ArrayRef<bool> needed, MutableArrayRef<Value> out) {
  if (grads[0] && needed[0])
    out[0] = AvgPoolGradOp::create(b, getLoc(), grads[0], b.getDenseI64ArrayAttr(shapeOf(getX()).drop_front(2)),
                                   getKernelAttr(), getStridesAttr(), getPadsAttr(), getDilationsAttr(),
                                   getCeilModeAttr(), getCountIncludePadAttr());
}
void AvgPoolGradOp::buildGradient(OpBuilder &b, ArrayRef<Value> grads, ArrayRef<bool> needed,
                                  MutableArrayRef<Value> out) {
  if (grads[0] && needed[0])
    out[0] = AvgPoolOp::create(b, getLoc(), grads[0], getKernelAttr(), getStridesAttr(), getPadsAttr(),
                               getDilationsAttr(), getCeilModeAttr(), getCountIncludePadAttr());
}

//===- Libraries ----------------------------------------------------------------------------------------===//

/// A pool of x into y, or its gradient, of f32 elements.
static std::optional<LibraryCall> libraryCall(CallKind kind, const Window &w, RankedTensorType x, RankedTensorType y,
                                              PoolCall::Result result) {
  if (!x.getElementType().isF32() || llvm::any_of(w.dilations, [](int64_t d) { return d != 1; }))
    return std::nullopt;
  PoolCall call;
  call.batch = x.getDimSize(0);
  call.channels = x.getDimSize(1);
  call.result = result;
  call.in.assign(x.getShape().begin() + 2, x.getShape().end());
  call.out.assign(y.getShape().begin() + 2, y.getShape().end());
  call.kernel.assign(w.kernel.begin(), w.kernel.end());
  call.strides.assign(w.strides.begin(), w.strides.end());
  bool beyond = false;
  for (size_t d = 0; d < w.rank(); ++d) {
    // Where the last window reaches past the end padding (ceil_mode), the padding reaches that far.
    int64_t reached = (call.out[d] - 1) * w.strides[d] + w.kernel[d] - call.in[d] - w.padBegin(d);
    beyond |= reached > w.padEnd(d);
    call.padBegin.push_back(w.padBegin(d));
    call.padEnd.push_back(std::max(reached, w.padEnd(d)));
  }
  if (result == PoolCall::MeanOfPadded && beyond)
    return std::nullopt; // what is past the padding does not count
  return LibraryCall::make(kind, call);
}
static PoolCall::Result meanOf(bool countPad) { return countPad ? PoolCall::MeanOfPadded : PoolCall::Mean; }

std::optional<LibraryCall> MaxPoolOp::getLibraryCall() {
  return libraryCall(CallKind::Pool, windowOf(*this), tensorType(getX()), tensorType(getResult()), PoolCall::Max);
}
std::optional<LibraryCall> MaxPoolGradOp::getLibraryCall() {
  return libraryCall(CallKind::PoolGrad, windowOf(*this), tensorType(getX()), tensorType(getDy()), PoolCall::Max);
}
std::optional<LibraryCall> AvgPoolOp::getLibraryCall() {
  return libraryCall(CallKind::Pool, windowOf(*this), tensorType(getX()), tensorType(getResult()),
                     meanOf(getCountIncludePad()));
}
std::optional<LibraryCall> AvgPoolGradOp::getLibraryCall() {
  return libraryCall(CallKind::PoolGrad, windowOf(*this), tensorType(getResult()), tensorType(getDy()),
                     meanOf(getCountIncludePad()));
}

//===- Import -------------------------------------------------------------------------------------------===//

template <typename OpT> static FailureOr<typename OpT::Properties> poolProperties(ImportNode &n) {
  if (!n.has(0) || n.rank(0) < 3)
    return n.error("needs an input of rank 3 or more");
  auto window = importWindow(n, n.shape(0).drop_front(2));
  if (failed(window))
    return failure();
  typename OpT::Properties p;
  p.kernel = n.b.getDenseI64ArrayAttr(window->kernel);
  p.strides = n.b.getDenseI64ArrayAttr(window->strides);
  p.pads = n.b.getDenseI64ArrayAttr(window->pads);
  p.dilations = n.b.getDenseI64ArrayAttr(window->dilations);
  p.ceil_mode = n.b.getBoolAttr(n.intAttr("ceil_mode", 0));
  return p;
}

static ImportNode::Results importMaxPool(ImportNode &n) {
  auto p = poolProperties<MaxPoolOp>(n);
  if (failed(p))
    return failure();
  Value y = n.create<MaxPoolOp>({n.in(0)}, *p);
  if (!y || !n.wants(1))
    return one(y);
  auto indices = poolProperties<MaxPoolIndicesOp>(n);
  indices->column_major = n.b.getBoolAttr(n.intAttr("storage_order", 0));
  Value i = n.create<MaxPoolIndicesOp>({n.in(0)}, *indices);
  if (!i)
    return failure();
  return SmallVector<Value>{y, i};
}

static ImportNode::Results importAveragePool(ImportNode &n) {
  auto p = poolProperties<AvgPoolOp>(n);
  if (failed(p))
    return failure();
  p->count_include_pad = n.b.getBoolAttr(n.intAttr("count_include_pad", 0));
  return one(n.create<AvgPoolOp>({n.in(0)}, *p));
}

static ImportNode::Results importGlobalPool(ImportNode &n) {
  if (!n.has(0) || n.rank(0) < 3)
    return n.error("needs an input of rank 3 or more");
  Value x = n.in(0);
  ArrayRef<int64_t> spatial = n.shape(0).drop_front(2);
  if (n.opType == "GlobalMaxPool") {
    MaxPoolOp::Properties p;
    p.kernel = n.b.getDenseI64ArrayAttr(spatial);
    p.strides = p.dilations = n.b.getDenseI64ArrayAttr(SmallVector<int64_t>(spatial.size(), 1));
    p.pads = n.b.getDenseI64ArrayAttr(SmallVector<int64_t>(2 * spatial.size(), 0));
    p.ceil_mode = n.b.getBoolAttr(false);
    return one(n.create<MaxPoolOp>({x}, p));
  }
  ReduceSumOp::Properties p;
  SmallVector<int64_t> axes;
  int64_t count = 1;
  for (auto [d, size] : llvm::enumerate(spatial)) {
    axes.push_back(d + 2);
    count *= size;
  }
  p.axes = n.b.getDenseI64ArrayAttr(axes);
  p.keepdims = n.b.getBoolAttr(true);
  Value sum = n.create<ReduceSumOp>({x}, p);
  return one(sum ? n.create<DivOp>({sum, n.floatScalar(n.elementType(0), count)}) : Value());
}

void registerPoolImports(ImportRegistry &r) {
  r.add("AveragePool", {.import = importAveragePool});
  r.add("GlobalAveragePool", {.import = importGlobalPool});
  r.add("GlobalMaxPool", {.import = importGlobalPool});
  r.add("MaxPool", {.import = importMaxPool});
}

} // namespace gmc::nn

#define GET_OP_CLASSES
#include "dialects/NN/Pool.cpp.inc"
