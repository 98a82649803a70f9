//===- Pool.cpp - max and average pools -----------------------------------------------------------------===//

#include "dialects/NN/Pool.h"
#include "compiler/Import/OpImport.h"
#include "dialects/NN/Elementwise.h"
#include "dialects/NN/PoolKernel.h"
#include "dialects/NN/Reduce.h"

using namespace mlir;

namespace gmc::nn {

void registerPoolOps(NNDialect *dialect) {
  dialect->addGroup<
#define GET_OP_LIST
#include "dialects/NN/Pool.cpp.inc"
      >();
}

/// One operation per tap of every window.
template <typename OpT> static int64_t poolFlops(OpT op) {
  int64_t windows = tensorType(op.getResult()).getNumElements();
  for (Value operand : op->getOperands())
    windows = std::min(windows, tensorType(operand).getNumElements());
  return windows * windowOf(op).taps();
}

/// Windows without padding are vectors on the host. The gradients, and windows that padding cuts, are element by
/// element.
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

//===- Gradients ----------------------------------------------------------------------------------------===//

void MaxPoolOp::buildGradient(OpBuilder &b, ArrayRef<Value> grads, ArrayRef<bool> needed, MutableArrayRef<Value> out) {
  if (grads[0] && needed[0])
    out[0] = MaxPoolGradOp::create(b, getLoc(), getX(), grads[0], getKernelAttr(), getStridesAttr(), getPadsAttr(),
                                   getDilationsAttr(), getCeilModeAttr());
}
void MaxPoolIndicesOp::buildGradient(OpBuilder &, ArrayRef<Value>, ArrayRef<bool>, MutableArrayRef<Value>) {}
/// Which element is the largest does not change: linear in dy, but its adjoint is only asked for by second derivatives.
void MaxPoolGradOp::buildGradient(OpBuilder &, ArrayRef<Value>, ArrayRef<bool>, MutableArrayRef<Value>) {}

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
