//===- NormImport.cpp - ONNX normalizations over channels -----------------------------------------------===//

#include "compiler/Import/OpImport.h"
#include "dialects/NN/Elementwise.h"
#include "dialects/NN/ElementwiseSupport.h"
#include "dialects/NN/Norm.h"
#include "dialects/NN/Pool.h"
#include "dialects/NN/Reduce.h"
#include "dialects/NN/Tensor.h"

using namespace mlir;

namespace gmc::nn {

static bool channelOperands(ImportNode &n, size_t count) {
  for (size_t i = 0; i < count; ++i)
    if (!n.has(i))
      return (void)n.error("input " + Twine(i) + " is missing"), false;
  if (n.rank(0) < 2)
    return (void)n.error("needs an input with channels on axis 1"), false;
  return true;
}

static ImportNode::Results importBatchNormalization(ImportNode &n) {
  if (!channelOperands(n, 5))
    return failure();
  SmallVector<Value> operands;
  for (size_t i = 0; i < 5; ++i)
    operands.push_back(n.in(i));
  // Before opset 9, spatial = 0 normalized every element of a sample on its own: all of them are channels.
  bool perElement = n.opset < 9 && !n.intAttr("spatial", 1);
  SmallVector<int64_t> shape(n.shape(0));
  if (perElement) {
    int64_t count = 1;
    for (int64_t dim : ArrayRef(shape).drop_front())
      count *= dim;
    operands[0] = reshapeTo(n, operands[0], {shape[0], count});
    for (size_t i = 1; i < 5; ++i)
      operands[i] = reshapeTo(n, operands[i], {count});
    if (llvm::is_contained(operands, Value()))
      return failure();
  }
  // Since opset 14 an attribute says so; before, the outputs past the first only existed in training.
  bool training = n.opset >= 14 ? n.intAttr("training_mode", 0) : n.wants(1);
  BatchNormOp::Properties p;
  p.epsilon = n.b.getF64FloatAttr(n.floatAttr("epsilon", 1e-5f));
  p.momentum = n.b.getF64FloatAttr(n.floatAttr("momentum", 0.9f));
  p.training = n.b.getBoolAttr(training);
  SmallVector<Value> results = n.createMulti<BatchNormOp>(operands, p);
  if (results.empty())
    return failure();
  Value y = perElement ? reshapeTo(n, results[0], shape) : results[0];
  if (n.opset >= 14)
    return SmallVector<Value>{y, results[3], results[4]};
  if (n.wants(3) || n.wants(4))
    return n.error("the outputs saved_mean and saved_var are not supported");
  return SmallVector<Value>{y, results[3], results[4]};
}

static ImportNode::Results importInstanceNormalization(ImportNode &n) {
  if (!channelOperands(n, 3))
    return failure();
  GroupNormOp::Properties p;
  p.groups = n.b.getI64IntegerAttr(n.shape(0)[1]);
  p.epsilon = n.b.getF64FloatAttr(n.floatAttr("epsilon", 1e-5f));
  SmallVector<Value> results = n.createMulti<GroupNormOp>({n.in(0), n.in(1), n.in(2)}, p);
  return results.empty() ? ImportNode::Results(failure()) : one(results[0]);
}

/// Opset 18 gives scale and bias per group, 21 per channel.
static ImportNode::Results importGroupNormalization(ImportNode &n) {
  if (!channelOperands(n, 3))
    return failure();
  int64_t groups = n.intAttr("num_groups", 0), channels = n.shape(0)[1];
  if (groups < 1 || channels % groups)
    return n.error(Twine(groups) + " groups do not divide " + Twine(channels) + " channels");
  auto perChannel = [&](Value v) -> Value {
    if (n.opset >= 21 || shapeOf(v) != ArrayRef<int64_t>{groups} || groups == channels)
      return v;
    v = reshapeTo(n, v, {groups, 1});
    auto type = RankedTensorType::get({groups, channels / groups}, elementTypeOf(v));
    Value zeros = n.constant(DenseElementsAttr::get(type, n.b.getFloatAttr(type.getElementType(), 0.0)));
    Value spread = n.create<AddOp>({zeros, v});
    return reshapeTo(n, spread, {channels});
  };
  GroupNormOp::Properties p;
  p.groups = n.b.getI64IntegerAttr(groups);
  p.epsilon = n.b.getF64FloatAttr(n.floatAttr("epsilon", 1e-5f));
  SmallVector<Value> results = n.createMulti<GroupNormOp>({n.in(0), perChannel(n.in(1)), perChannel(n.in(2))}, p);
  return results.empty() ? ImportNode::Results(failure()) : one(results[0]);
}

/// x / (bias + alpha / size * sum of squares over `size` neighbouring channels)^beta. The sum is an average pool over
/// the channel axis: [N, C, rest] seen as [N, 1, C, rest], padding counted.
static ImportNode::Results importLRN(ImportNode &n) {
  if (!channelOperands(n, 1))
    return failure();
  Value x = n.in(0);
  Type type = n.elementType(0);
  SmallVector<int64_t> shape(n.shape(0));
  int64_t size = n.intAttr("size", 1), rest = 1;
  if (size < 1)
    return n.error("size " + Twine(size) + " is not positive");
  for (int64_t dim : ArrayRef(shape).drop_front(2))
    rest *= dim;
  Value squares = n.create<MulOp>({x, x});
  squares = reshapeTo(n, squares, {shape[0], 1, shape[1], rest});
  AvgPoolOp::Properties p;
  p.kernel = n.b.getDenseI64ArrayAttr({size, 1});
  p.strides = p.dilations = n.b.getDenseI64ArrayAttr({1, 1});
  p.pads = n.b.getDenseI64ArrayAttr({(size - 1) / 2, 0, size / 2, 0});
  p.ceil_mode = n.b.getBoolAttr(false);
  p.count_include_pad = n.b.getBoolAttr(true);
  if (!squares)
    return failure();
  Value mean = reshapeTo(n, n.create<AvgPoolOp>({squares}, p), shape);
  if (!mean)
    return failure();
  Value base = n.create<MulOp>({mean, n.floatScalar(type, n.floatAttr("alpha", 0.0001f))});
  base = n.create<AddOp>({base, n.floatScalar(type, n.floatAttr("bias", 1.0))});
  Value power = n.create<PowOp>({base, n.floatScalar(type, -n.floatAttr("beta", 0.75))});
  return one(n.create<MulOp>({x, power}));
}

static ImportNode::Results importLpNormalization(ImportNode &n) {
  int64_t axis = n.intAttr("axis", -1), order = n.intAttr("p", 2);
  if (axis < 0)
    axis += n.rank(0);
  if (axis < 0 || axis >= n.rank(0))
    return n.error("axis " + Twine(n.intAttr("axis", -1)) + " is outside rank " + Twine(n.rank(0)));
  if (order != 1 && order != 2)
    return n.error("p must be 1 or 2, not " + Twine(order));
  Value x = n.in(0);
  Value terms = order == 1 ? n.create<AbsOp>({x}) : n.create<MulOp>({x, x});
  ReduceSumOp::Properties p;
  p.axes = n.b.getDenseI64ArrayAttr({axis});
  p.keepdims = n.b.getBoolAttr(true);
  Value norm = n.create<ReduceSumOp>({terms}, p);
  if (norm) // a row of zeros stays zero, with gradient zero
    norm = n.create<MaxOp>({norm, n.floatScalar(n.elementType(0), 1e-30)});
  if (norm && order == 2)
    norm = n.create<SqrtOp>({norm});
  if (!norm)
    return failure();
  // Where the norm is 0 the result is 0 by the standard: x is 0 there, and is divided by 1.
  Value isZero = n.create<EqualOp>({norm, n.floatScalar(elementTypeOf(norm), 0.0)});
  norm = n.create<WhereOp>({isZero, n.floatScalar(elementTypeOf(norm), 1.0), norm});
  return one(n.create<DivOp>({x, norm}));
}

void registerNormImports(ImportRegistry &r) {
  r.add("BatchNormalization", {.import = importBatchNormalization,
                               .minOpset = 7,
                               .nonDifferentiable = {3, 4},
                               .initializedToOne = {1, 4}});
  r.add("GroupNormalization", {.import = importGroupNormalization, .minOpset = 18, .initializedToOne = {1}});
  r.add("InstanceNormalization",
        {.import = importInstanceNormalization, .minOpset = 6, .initializedToOne = {1}});
  r.add("LRN", {.import = importLRN});
  r.add("LpNormalization", {.import = importLpNormalization});
}

} // namespace gmc::nn
