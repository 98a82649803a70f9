//===- BuildMicro.cpp - forward, loss and backward of one micro-batch -----------------------------------===//

#include "dialects/NN/Elementwise.h"
#include "dialects/NN/Indexing.h"
#include "dialects/NN/Reduce.h"
#include "dialects/NN/Tensor.h"
#include "passes/Autodiff/Autodiff.h"
#include "passes/Autodiff/LossAttachment.h"
#include "passes/Autodiff/TrainingFunction.h"
#include "passes/Fusion/FormKernels.h"
#include "passes/Passes.h"

using namespace mlir;

namespace gmc {
#define GEN_PASS_DEF_BUILDMICROPASS
#include "passes/Passes.h.inc"

/// <x, y> over all elements, as tensor<1xT>.
static Value innerProduct(OpBuilder &b, Value x, Value y) {
  Location loc = x.getLoc();
  Value product = nn::MulOp::create(b, loc, x, y);
  SmallVector<int64_t> axes = llvm::to_vector(llvm::seq<int64_t>(0, nn::shapeOf(x).size()));
  Value sum = axes.empty()
                  ? product
                  : Value(nn::ReduceSumOp::create(b, loc, product, b.getDenseI64ArrayAttr(axes), b.getBoolAttr(false)));
  return nn::ReshapeOp::create(b, loc, sum, b.getDenseI64ArrayAttr({1}));
}

static bool isFloatTensor(Value v) { return isa<FloatType>(nn::elementTypeOf(v)); }

namespace {
/// The function with its arguments in the promised order and the cloned body.
struct Body {
  SmallVector<Value> arguments, outputs; ///< stand for those of @forward
  Value label, validSamples, rng;
  SmallVector<Value> cotangents;
  SmallVector<unsigned> states; ///< arguments of @forward that are running statistics of this mode
};
} // namespace

static Body openBody(TrainingFunction &f, func::FuncOp forward, const TrainingOptions &options,
                     RankedTensorType labelType, ArrayRef<unsigned> cotangents) {
  Body body;
  body.arguments.resize(forward.getNumArguments());
  if (options.bnTrain && !options.keepNormalization)
    body.states = runningStatistics(forward);
  auto addAll = [&](StringRef role) {
    for (unsigned i = 0; i < forward.getNumArguments(); ++i) {
      bool isState = llvm::is_contained(body.states, i);
      if (!body.arguments[i] && (role == "state" ? isState : !isState && argRole(forward, i) == role))
        body.arguments[i] = f.addArgument(forward.getArgumentTypes()[i], role, argName(forward, i));
    }
  };
  addAll("input");
  if (labelType)
    body.label = f.addArgument(labelType, "label", "label");
  for (unsigned output : cotangents)
    body.cotangents.push_back(
        f.addArgument(forward.getResultTypes()[output], "cotangent", resultName(forward, output)));
  if (cotangents.empty())
    body.validSamples = f.addArgument(RankedTensorType::get({1}, f.b.getI64Type()), "valid_samples", "");
  body.rng = f.addArgument(RankedTensorType::get({4}, f.b.getI64Type()), "rng", "");
  addAll("parameter");
  addAll("constant");
  addAll("state");
  body.outputs = f.inlineForward(body.arguments);
  return body;
}

/// Samples of the micro-batch: the first dimension of the inputs.
static int64_t batchOf(func::FuncOp forward) {
  for (unsigned i = 0; i < forward.getNumArguments(); ++i) {
    auto type = cast<RankedTensorType>(forward.getArgumentTypes()[i]);
    if (argRole(forward, i) == "input" && type.getRank() > 0)
      return type.getDimSize(0);
  }
  return 1;
}

/// Differentiates and adds gradients and states to the results.
static LogicalResult closeBody(TrainingFunction &f, func::FuncOp forward, const TrainingOptions &options, Body &body,
                               ArrayRef<GradientSeed> seeds, const DenseMap<Value, Value> &newStates) {
  SmallVector<unsigned> wanted;
  for (StringRef role : {"parameter", "input"})
    for (unsigned i = 0; i < forward.getNumArguments(); ++i)
      if (argRole(forward, i) == role && !llvm::is_contained(body.states, i) && isFloatTensor(body.arguments[i]) &&
          (role == "parameter" || options.inputGradients))
        wanted.push_back(i);
  SmallVector<Value> values;
  for (unsigned i : wanted)
    values.push_back(body.arguments[i]);
  auto gradients = buildGradients(f.b, seeds, values);
  if (failed(gradients))
    return failure();
  for (auto [i, value, gradient] : llvm::zip(wanted, values, *gradients)) {
    if (!gradient) { // the parameter does not influence the loss
      gradient = nn::splat(f.b, value.getLoc(), nn::tensorType(value), 0.0);
      gradient.getDefiningOp()->setAttr(kBackwardAttr, f.b.getUnitAttr());
    }
    f.addResult(gradient, "gradient", argName(forward, i));
  }
  for (unsigned i : body.states)
    f.addResult(newStates.lookup(body.arguments[i]), "state", argName(forward, i));
  return success();
}

/// Of how many entries a value chooses one wherever it is read as an index: the fewest, 0 where it is none.
static int64_t entriesChosenBy(Value index) {
  int64_t fewest = 0;
  for (OpOperand &use : index.getUses()) {
    int64_t entries = nn::indexedEntries(use).value_or(0);
    Operation *user = use.getOwner();
    if (isa<nn::ReshapeOp, nn::CastOp>(user) && nn::elementTypeOf(user->getResult(0)).isInteger())
      entries = entriesChosenBy(user->getResult(0));
    if (entries)
      fewest = fewest ? std::min(fewest, entries) : entries;
  }
  return fewest;
}

static void applyModes(const TrainingOptions &options, TrainingFunction &f, Body &body,
                       DenseMap<Value, Value> &newStates) {
  if (!options.keepNormalization)
    setModes(f.func.getBody().front(), options.bnTrain, options.dropout, body.rng, body.outputs, &newStates);
}

FailureOr<func::FuncOp> buildMicro(func::FuncOp forward, const TrainingOptions &options, TrainingNotes &notes) {
  auto choice = chooseLoss(forward, options);
  if (failed(choice))
    return failure();
  notes.lossKind = lossKindName(choice->kind).str();
  notes.lossOutput = resultName(forward, choice->output).str();
  TrainingFunction f(forward, "micro");
  Body body = openBody(f, forward, options, choice->label, {});
  DenseMap<Value, Value> newStates;
  applyModes(options, f, body, newStates);
  AttachedLoss loss =
      attachLoss(f.b, *choice, body.outputs, body.label, body.validSamples, batchOf(forward), notes);
  if (loss.labelArgument)
    f.setRole(loss.labelArgument, "label");
  Value label = body.label ? body.label : loss.labelArgument;
  if (label) {
    notes.labelName = f.nameOf(label).str();
    notes.labelType = nn::tensorType(label);
  }
  notes.classification = loss.labels != nullptr;
  if (notes.classification) {
    notes.classes = nn::shapeOf(loss.scores)[loss.classAxis];
    notes.ignoreIndex = loss.ignoreIndex;
  }
  for (unsigned i = 0; i < forward.getNumArguments(); ++i)
    if (Value argument = forward.getArgument(i); argRole(forward, i) == "input")
      if (int64_t entries = entriesChosenBy(argument))
        notes.entries[argName(forward, i).str()] = entries;
  f.addResult(loss.sum, "loss_sum", "");
  f.addResult(loss.count, "valid_count", "");
  Value one = nn::splat(f.b, loss.sum.getLoc(), nn::tensorType(loss.sum), 1.0);
  one.getDefiningOp()->setAttr(kBackwardAttr, f.b.getUnitAttr());
  one.getDefiningOp()->setAttr(kSeedAttr, f.b.getUnitAttr());
  if (failed(closeBody(f, forward, options, body, GradientSeed{loss.sum, one}, newStates))) {
    f.abandon();
    return failure();
  }
  return f.finish();
}

FailureOr<func::FuncOp> buildCotangentMicro(func::FuncOp forward, ArrayRef<unsigned> outputs,
                                            const TrainingOptions &options) {
  TrainingFunction f(forward, "micro");
  Body body = openBody(f, forward, options, nullptr, outputs);
  DenseMap<Value, Value> newStates;
  applyModes(options, f, body, newStates);
  SmallVector<GradientSeed> seeds;
  Value total;
  for (auto [output, cotangent] : llvm::zip(outputs, body.cotangents)) {
    Value value = body.outputs[output];
    Value product = innerProduct(f.b, value, cotangent);
    total = total ? Value(nn::AddOp::create(f.b, value.getLoc(), total, product)) : product;
    seeds.push_back({value, cotangent});
  }
  f.addResult(total, "loss_sum", "");
  f.addResult(nn::splat(f.b, total.getLoc(), nn::tensorType(total), 1.0), "valid_count", "");
  if (failed(closeBody(f, forward, options, body, seeds, newStates))) {
    f.abandon();
    return failure();
  }
  return f.finish();
}

FailureOr<func::FuncOp> buildEval(func::FuncOp forward, const TrainingOptions &options) {
  auto choice = chooseLoss(forward, options);
  if (failed(choice))
    return failure();
  TrainingNotes notes;
  notes.lossOutput = resultName(forward, choice->output).str();
  TrainingFunction f(forward, "eval");
  Body body = openBody(f, forward, options, choice->label, {});
  if (!options.keepNormalization)
    setModes(f.func.getBody().front(), /*bnTrain=*/false, /*dropout=*/false, body.rng, body.outputs, nullptr);
  int64_t batch = batchOf(forward);
  AttachedLoss loss = attachLoss(f.b, *choice, body.outputs, body.label, body.validSamples, batch, notes);
  if (loss.labelArgument)
    f.setRole(loss.labelArgument, "label");
  for (auto [i, output] : llvm::enumerate(body.outputs))
    f.addResult(output, "output", resultName(forward, i));
  f.addResult(loss.sum, "loss_sum", "");
  f.addResult(loss.count, "valid_count", "");
  if (loss.labels)
    f.addResult(countCorrect(f.b, loss, body.validSamples, batch), "correct_count", "");
  return f.finish();
}

namespace {
struct BuildMicroPass : impl::BuildMicroPassBase<BuildMicroPass> {
  using Base::Base;

  void runOnOperation() override {
    auto forward = getOperation().lookupSymbol<func::FuncOp>("forward");
    if (!forward) {
      getOperation().emitError() << "has no function @forward to train";
      return signalPassFailure();
    }
    TrainingOptions options;
    options.loss = loss;
    options.bnTrain = bnTrain;
    options.dropout = dropout;
    options.inputGradients = inputGradients;
    TrainingNotes notes;
    if (failed(buildMicro(forward, options, notes)))
      return signalPassFailure();
    for (const std::string &note : notes.notes)
      forward.emitRemark() << note;
  }
};
} // namespace
} // namespace gmc
