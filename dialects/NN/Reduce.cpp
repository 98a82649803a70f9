#include "dialects/NN/Reduce.h"
#include "compiler/Import/OpImport.h"
#include "dialects/NN/ElementwiseSupport.h"
#include "dialects/NN/Tensor.h"

using namespace mlir;

namespace gmc::nn {

/// Shape after reducing `type` over `axes`; errors on axes out of range.
static LogicalResult inferReduce(std::optional<Location> loc, RankedTensorType type, ArrayRef<int64_t> axes,
                                 bool keepdims, SmallVectorImpl<Type> &types) {
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

/// One iteration per result element folds `step` over the reduced axes, then `finish` makes the element.
static void emitReduce(KernelBuilder &kernel, ArrayRef<int64_t> axes, bool keepdims,
                       function_ref<Value(OpBuilder &, Location)> init,
                       function_ref<Value(OpBuilder &, Location, Value x, Value acc)> step,
                       function_ref<Value(OpBuilder &, Location, Value acc)> finish = nullptr) {
  SmallVector<int64_t> shape(kernel.operandShape(0));
  kernel.parallel(kernel.resultShape(0), [&](OpBuilder &b, Location loc, ValueRange ivs) {
    SmallVector<std::pair<Value, Value>> bounds;
    for (int64_t axis : axes)
      bounds.emplace_back(kb::idx(b, loc, 0), kb::idx(b, loc, shape[axis]));
    Value acc = KernelBuilder::foldNest(
        b, loc, bounds, init(b, loc), [&](OpBuilder &b, Location l, ValueRange reduced, Value acc) {
          SmallVector<Value> indices;
          size_t outer = 0;
          for (size_t d = 0; d < shape.size(); ++d) {
            auto it = llvm::find(axes, static_cast<int64_t>(d));
            if (it == axes.end()) {
              indices.push_back(ivs[outer++]);
            } else {
              indices.push_back(reduced[it - axes.begin()]);
              outer += keepdims;
            }
          }
          return step(b, l, kernel.load(b, l, 0, indices), acc);
        });
    kernel.store(b, loc, finish ? finish(b, loc, acc) : acc, 0, ivs);
  });
}

/// The gradient of a reduction, seen at the operand's rank with the reduced axes of size 1.
static Value keepReduced(OpBuilder &b, Location loc, Value grad, RankedTensorType operand, ArrayRef<int64_t> axes) {
  SmallVector<int64_t> shape(operand.getShape());
  for (int64_t axis : axes)
    shape[axis] = 1;
  return shapeOf(grad) == ArrayRef(shape)
             ? grad
             : Value(ReshapeOp::create(b, loc, grad, b.getDenseI64ArrayAttr(shape)));
}

//===- nn.reduce_sum ------------------------------------------------------------------------------------===//

void ReduceSumOp::emitKernel(KernelBuilder &kernel) {
  Type type = signless(kernel.resultElementType(0));
  emitReduce(
      kernel, getAxes(), getKeepdims(), [&](OpBuilder &b, Location loc) { return kb::constant(b, loc, type, 0); },
      [&](OpBuilder &b, Location loc, Value x, Value acc) { return KernelBuilder::addReassoc(b, loc, acc, x); });
}

void ReduceSumOp::buildGradient(OpBuilder &b, ArrayRef<Value> grads, ArrayRef<bool> needed,
                                MutableArrayRef<Value> out) {
  if (!grads[0] || !needed[0])
    return;
  Value g = keepReduced(b, getLoc(), grads[0], tensorType(getX()), getAxes());
  // Broadcasting is an elementwise op with the operand's shape as one of its inputs: a splat that folds into kernels.
  out[0] = AddOp::create(b, getLoc(), splat(b, getLoc(), tensorType(getX()), 0.0), g);
}

//===- Import -------------------------------------------------------------------------------------------===//

/// Axes of a reduction from attribute (before `inputOpset`) or input 1; all of them when none are given.
static FailureOr<SmallVector<int64_t>> reduceAxes(ImportNode &n) {
  bool failed = false;
  auto axes = n.intsFrom("axes", 1, failed);
  if (failed)
    return failure();
  SmallVector<int64_t> result;
  if (!axes || axes->empty()) {
    if (n.intAttr("noop_with_empty_axes", 0))
      return result;
    for (int64_t d = 0; d < n.rank(0); ++d)
      result.push_back(d);
    return result;
  }
  for (int64_t axis : *axes)
    result.push_back(axis < 0 ? axis + n.rank(0) : axis);
  llvm::sort(result);
  return result;
}

static ImportNode::Results importReduceSum(ImportNode &n) {
  auto axes = reduceAxes(n);
  if (failed(axes))
    return failure();
  if (axes->empty())
    return one(n.in(0));
  ReduceSumOp::Properties p;
  p.axes = n.b.getDenseI64ArrayAttr(*axes);
  p.keepdims = n.b.getBoolAttr(n.intAttr("keepdims", 1));
  return one(n.create<ReduceSumOp>({n.in(0)}, p));
}

void registerReduceImports(ImportRegistry &r) {
  r.add("ReduceSum", {.import = importReduceSum, .nonDifferentiable = {1}});
}

} // namespace gmc::nn

#define GET_OP_CLASSES
#include "dialects/NN/Reduce.cpp.inc"
