//===- LossImport.cpp - SoftmaxCrossEntropyLoss and NegativeLogLikelihoodLoss ----------------------------===//

#include "compiler/Import/OpImport.h"
#include "dialects/NN/Elementwise.h"
#include "dialects/NN/ElementwiseSupport.h"
#include "dialects/NN/Loss.h"
#include "dialects/NN/KernelSupport.h"
#include "dialects/NN/Reduce.h"
#include "dialects/NN/Softmax.h"
#include "dialects/NN/Tensor.h"
#include <limits>

using namespace mlir;

namespace gmc::nn {

/// Without the attribute no label is ignored: a number that no label is.
static int64_t ignoreIndex(ImportNode &n) {
  return n.intAttr("ignore_index", std::numeric_limits<int32_t>::min());
}

/// Sum and count of a loss op over inputs (x, labels[, weights]); empty on failure.
template <typename OpT> static SmallVector<Value> sumAndCount(ImportNode &n) {
  SmallVector<Value> operands{n.in(0), n.in(1)};
  if (n.has(2))
    operands.push_back(n.in(2));
  typename OpT::Properties p;
  p.class_axis = n.b.getI64IntegerAttr(1);
  p.ignore_index = n.b.getI64IntegerAttr(ignoreIndex(n));
  p.operandSegmentSizes = {1, 1, n.has(2) ? 1 : 0, 0};
  return n.createMulti<OpT>(operands, p);
}

static Value toScalar(ImportNode &n, Value value) {
  // f16 and bf16 losses are summed in f32; the graph wants its own type.
  value = reshapeTo(n, value, {});
  Type wanted = n.elementType(0);
  if (!value || elementTypeOf(value) == wanted)
    return value;
  CastOp::Properties p;
  p.to = TypeAttr::get(wanted);
  return n.create<CastOp>({value}, p);
}

template <typename OpT> static ImportNode::Results importClassLoss(ImportNode &n) {
  std::string reduction = n.stringAttr("reduction", "mean");
  Value logProb, loss;
  if (n.rank(0) < 2)
    return n.error("scores of rank " + Twine(n.rank(0)) + " have no class axis");
  bool fromLogits = std::is_same_v<OpT, SoftmaxCrossEntropyOp>;
  if (fromLogits && (n.wants(1) || reduction == "none")) {
    LogSoftmaxOp::Properties p;
    p.axis = n.b.getI64IntegerAttr(1);
    logProb = n.create<LogSoftmaxOp>({n.in(0)}, p);
    if (!logProb)
      return failure();
  }
  if (reduction == "none") {
    SmallVector<Value> operands{fromLogits ? logProb : n.in(0), n.in(1)};
    if (n.has(2))
      operands.push_back(n.in(2));
    NllRowsOp::Properties p;
    p.class_axis = n.b.getI64IntegerAttr(1);
    p.ignore_index = n.b.getI64IntegerAttr(ignoreIndex(n));
    loss = n.create<NllRowsOp>(operands, p);
  } else if (reduction == "sum" || reduction == "mean") {
    SmallVector<Value> sums = sumAndCount<OpT>(n);
    if (sums.empty())
      return failure();
    // Sum and count stay apart in the graph, for the training phase to take them.
    loss = reduction == "mean" ? n.create<DivOp>({sums[0], sums[1]}) : sums[0];
    loss = loss ? toScalar(n, loss) : loss;
  } else {
    return n.error("reduction '" + Twine(reduction) + "' is none of none, sum, mean");
  }
  if (!loss)
    return failure();
  SmallVector<Value> results{loss};
  if (n.numOutputs() > 1)
    results.push_back(logProb);
  return results;
}

void registerLossImports(ImportRegistry &r) {
  r.add("SoftmaxCrossEntropyLoss",
        {.import = importClassLoss<SoftmaxCrossEntropyOp>, .minOpset = 12, .nonDifferentiable = {1, 2}});
  r.add("NegativeLogLikelihoodLoss",
        {.import = importClassLoss<NllLossOp>, .minOpset = 12, .nonDifferentiable = {1, 2}});
}

} // namespace gmc::nn
