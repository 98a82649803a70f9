//===- LossAttachment.cpp - a loss as (sum, count) of one micro-batch -----------------------------------===//

#include "passes/Autodiff/LossAttachment.h"
#include "dialects/NN/Elementwise.h"
#include "dialects/NN/Loss.h"
#include "dialects/NN/Reduce.h"
#include "dialects/NN/Softmax.h"
#include "dialects/NN/Tensor.h"

using namespace mlir;

namespace gmc {

static Value reshaped(OpBuilder &b, Location loc, Value v, ArrayRef<int64_t> shape) {
  return nn::shapeOf(v) == shape ? v : Value(nn::ReshapeOp::create(b, loc, v, b.getDenseI64ArrayAttr(shape)));
}

/// A one-element value as tensor<1xT>, T at least f32.
static Value asSum(OpBuilder &b, Location loc, Value v) {
  v = reshaped(b, loc, v, {1});
  Type element = nn::elementTypeOf(v);
  return element.isF32() || element.isF64() ? v : Value(nn::CastOp::create(b, loc, v, TypeAttr::get(b.getF32Type())));
}

/// The value behind reshapes and casts between floats.
static Value behindViews(Value v) {
  while (Operation *op = v.getDefiningOp()) {
    if (isa<nn::ReshapeOp>(op) || isa<nn::CastOp>(op))
      v = op->getOperand(0);
    else
      break;
  }
  return v;
}

/// valid_samples counts samples; a loss over `rows` rows, several per sample, wants rows. Null when the rows of a
/// sample are not a whole number.
static Value validRows(OpBuilder &b, Location loc, Value validSamples, int64_t rows, int64_t batch) {
  if (rows == batch)
    return validSamples;
  if (batch <= 0 || rows % batch != 0)
    return {};
  return nn::MulOp::create(b, loc, validSamples,
                           nn::splat(b, loc, nn::tensorType(validSamples), static_cast<double>(rows / batch)));
}

/// Whether values of `v` are probabilities by construction, so that binary cross-entropy takes them as they are.
static bool isProbability(Value v) {
  return isa_and_nonnull<nn::SigmoidOp, nn::HardSigmoidOp, nn::SoftmaxOp>(behindViews(v).getDefiningOp());
}

/// The operands of a loss op, seen alike for every kind of loss.
struct LossOp {
  Operation *op = nullptr;
  Value scores, labels;
  MutableOperandRange validSamples;
  int64_t classAxis, ignoreIndex;
};

static std::optional<LossOp> classLoss(Operation *op) {
  if (auto ce = dyn_cast_or_null<nn::SoftmaxCrossEntropyOp>(op))
    return LossOp{op, ce.getX(), ce.getLabels(), ce.getValidSamplesMutable(), int64_t(ce.getClassAxis()),
                  int64_t(ce.getIgnoreIndex())};
  if (auto nll = dyn_cast_or_null<nn::NllLossOp>(op))
    return LossOp{op, nll.getX(), nll.getLabels(), nll.getValidSamplesMutable(), int64_t(nll.getClassAxis()),
                  int64_t(nll.getIgnoreIndex())};
  return std::nullopt;
}

/// A loss inside the file: a mean is taken apart into the sum and count it is the quotient of.
static AttachedLoss takeApart(OpBuilder &b, Value output, Value validSamples, int64_t batch, TrainingNotes &notes) {
  Location loc = output.getLoc();
  Value v = behindViews(output);
  Value dividend, divisor;
  if (auto div = v.getDefiningOp<nn::DivOp>()) {
    dividend = behindViews(div.getLhs());
    divisor = behindViews(div.getRhs());
  }
  AttachedLoss loss;
  Operation *producer = dividend ? dividend.getDefiningOp() : v.getDefiningOp();
  auto found = classLoss(producer);
  bool mean = found && dividend && dividend == producer->getResult(0) && divisor == producer->getResult(1);
  bool sum = found && !dividend && v == producer->getResult(0);
  if (mean || sum) {
    OpBuilder::InsertionGuard guard(b);
    b.setInsertionPoint(producer);
    if (Value rows = validRows(b, loc, validSamples, nn::shapeOf(found->labels)[0], batch))
      found->validSamples.assign(rows);
    else
      notes.notes.push_back("the loss has " + std::to_string(nn::shapeOf(found->labels)[0]) + " rows for " +
                            std::to_string(batch) + " samples: a partly filled micro-batch cannot be masked");
    loss.scores = found->scores;
    loss.labels = found->labels;
    loss.classAxis = found->classAxis;
    loss.ignoreIndex = found->ignoreIndex;
    loss.labelArgument = dyn_cast<BlockArgument>(behindViews(found->labels));
  }
  if (mean) {
    loss.sum = producer->getResult(0);
    loss.count = producer->getResult(1);
    return loss;
  }
  loss.sum = asSum(b, loc, output);
  loss.count = nn::splat(b, loc, nn::tensorType(loss.sum), 1.0);
  notes.notes.push_back(
      "output '" + notes.lossOutput +
      "' is not a mean that can be taken apart into sum and count: it is averaged over micro-batches");
  return loss;
}

AttachedLoss attachLoss(OpBuilder &b, const LossChoice &choice, ArrayRef<Value> outputs, Value label,
                        Value validSamples, int64_t batch, TrainingNotes &notes) {
  Value x = outputs[choice.output];
  if (choice.kind == LossChoice::Output)
    return takeApart(b, x, validSamples, batch, notes);
  Location loc = x.getLoc();
  if (nn::shapeOf(x).empty())
    x = reshaped(b, loc, x, {1});
  int64_t rows = nn::shapeOf(x)[0];
  Value valid = validRows(b, loc, validSamples, rows, batch);
  if (!valid)
    notes.notes.push_back("output '" + notes.lossOutput + "' has " + std::to_string(rows) + " rows for " +
                          std::to_string(batch) + " samples: a partly filled micro-batch cannot be masked");
  AttachedLoss loss;
  Operation *op = nullptr;
  if (choice.kind == LossChoice::CrossEntropy) {
    SmallVector<int64_t> labelShape(nn::shapeOf(x));
    labelShape.erase(labelShape.begin() + choice.classAxis);
    label = reshaped(b, loc, label, labelShape);
    // A softmax at the end of the file makes probabilities: their cross-entropy is that of its logits.
    if (auto softmax = behindViews(x).getDefiningOp<nn::SoftmaxOp>())
      if (softmax.getResult() == x && static_cast<int64_t>(softmax.getAxis()) == choice.classAxis) {
        x = softmax.getX();
        notes.notes.push_back("output '" + notes.lossOutput + "' is a softmax: cross-entropy of its probabilities");
      }
    op = nn::SoftmaxCrossEntropyOp::create(b, loc, x, label, Value(), valid, choice.classAxis, int64_t(-100));
    loss.scores = x;
    loss.labels = label;
    loss.classAxis = choice.classAxis;
  } else {
    label = reshaped(b, loc, label, nn::shapeOf(x));
    if (nn::elementTypeOf(label) != nn::elementTypeOf(x))
      label = nn::CastOp::create(b, loc, label, TypeAttr::get(nn::elementTypeOf(x)));
    if (choice.kind == LossChoice::Mse) {
      op = nn::MseLossOp::create(b, loc, x, label, valid);
    } else if (choice.kind == LossChoice::L1) {
      op = nn::L1LossOp::create(b, loc, x, label, valid);
    } else if (auto sigmoid = x.getDefiningOp<nn::SigmoidOp>()) {
      // The same function, without the cancellation of log(1 - sigmoid).
      op = nn::BceLogitsLossOp::create(b, loc, sigmoid.getX(), label, valid);
    } else if (isProbability(x)) {
      op = nn::BceLossOp::create(b, loc, x, label, valid);
    } else {
      notes.notes.push_back("output '" + notes.lossOutput + "' is taken as logits: it does not come from a sigmoid");
      op = nn::BceLogitsLossOp::create(b, loc, x, label, valid);
    }
  }
  loss.sum = op->getResult(0);
  loss.count = op->getResult(1);
  return loss;
}

Value countCorrect(OpBuilder &b, const AttachedLoss &loss, Value validSamples, int64_t batch) {
  Location loc = loss.scores.getLoc();
  Value rows = validRows(b, loc, validSamples, nn::shapeOf(loss.labels)[0], batch);
  return nn::CountCorrectOp::create(b, loc, loss.scores, loss.labels, rows, loss.classAxis, loss.ignoreIndex);
}

} // namespace gmc
