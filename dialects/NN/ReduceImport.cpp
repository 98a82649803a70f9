//===- ReduceImport.cpp - ONNX Reduce*, ArgMax, ArgMin, CumSum ----------------------------------------------===//

#include "compiler/Import/OpImport.h"
#include "dialects/NN/Elementwise.h"
#include "dialects/NN/Reduce.h"

using namespace mlir;

namespace gmc::nn {

/// Axes of a reduction from the attribute (older opsets) or input 1; all of them when none are given.
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
  result.erase(llvm::unique(result), result.end());
  return result;
}

template <typename OpT> static Value reduce(ImportNode &n, Value x, ArrayRef<int64_t> axes) {
  typename OpT::Properties p;
  p.axes = n.b.getDenseI64ArrayAttr(axes);
  p.keepdims = n.b.getBoolAttr(n.intAttr("keepdims", 1));
  return n.create<OpT>({x}, p);
}

/// A reduction, and what is applied to its result.
template <typename OpT, typename ThenT = void> static ImportNode::Results importReduce(ImportNode &n) {
  auto axes = reduceAxes(n);
  if (failed(axes))
    return failure();
  constexpr bool identity = std::is_same_v<OpT, ReduceSumOp> || std::is_same_v<OpT, ReduceMeanOp> ||
                            std::is_same_v<OpT, ReduceMaxOp> || std::is_same_v<OpT, ReduceMinOp> ||
                            std::is_same_v<OpT, ReduceProdOp>;
  Value y = axes->empty() && identity ? n.in(0) : reduce<OpT>(n, n.in(0), *axes);
  if constexpr (!std::is_void_v<ThenT>)
    y = y ? n.create<ThenT>({y}) : y;
  return one(y);
}

template <typename OpT> static ImportNode::Results importArg(ImportNode &n) {
  int64_t axis = n.intAttr("axis", 0);
  typename OpT::Properties p;
  p.axis = n.b.getI64IntegerAttr(axis < 0 ? axis + n.rank(0) : axis);
  p.keepdims = n.b.getBoolAttr(n.intAttr("keepdims", 1));
  p.select_last = n.b.getBoolAttr(n.intAttr("select_last_index", 0));
  return one(n.create<OpT>({n.in(0)}, p));
}

static ImportNode::Results importCumSum(ImportNode &n) {
  auto axis = n.constInts(1);
  if (!axis || axis->size() != 1)
    return n.error("the axis is not one integer known at compile time");
  CumSumOp::Properties p;
  p.axis = n.b.getI64IntegerAttr((*axis)[0] < 0 ? (*axis)[0] + n.rank(0) : (*axis)[0]);
  p.exclusive = n.b.getBoolAttr(n.intAttr("exclusive", 0));
  p.reverse = n.b.getBoolAttr(n.intAttr("reverse", 0));
  return one(n.create<CumSumOp>({n.in(0)}, p));
}

void registerReduceImports(ImportRegistry &r) {
  r.add("ReduceSum", {.import = importReduce<ReduceSumOp>, .nonDifferentiable = {1}});
  r.add("ReduceMean", {.import = importReduce<ReduceMeanOp>, .nonDifferentiable = {1}});
  r.add("ReduceMax", {.import = importReduce<ReduceMaxOp>, .nonDifferentiable = {1}});
  r.add("ReduceMin", {.import = importReduce<ReduceMinOp>, .nonDifferentiable = {1}});
  r.add("ReduceProd", {.import = importReduce<ReduceProdOp>, .nonDifferentiable = {1}});
  r.add("ReduceSumSquare", {.import = importReduce<ReduceSumSquareOp>, .nonDifferentiable = {1}});
  r.add("ReduceL1", {.import = importReduce<ReduceL1Op>, .nonDifferentiable = {1}});
  r.add("ReduceL2", {.import = importReduce<ReduceSumSquareOp, SqrtOp>, .nonDifferentiable = {1}});
  r.add("ReduceLogSum", {.import = importReduce<ReduceSumOp, LogOp>, .nonDifferentiable = {1}});
  r.add("ReduceLogSumExp", {.import = importReduce<ReduceLogSumExpOp>, .nonDifferentiable = {1}});
  r.add("ArgMax", {.import = importArg<ArgMaxOp>, .nonDifferentiable = {0}});
  r.add("ArgMin", {.import = importArg<ArgMinOp>, .nonDifferentiable = {0}});
  r.add("CumSum", {.import = importCumSum, .nonDifferentiable = {1}});
}

} // namespace gmc::nn
