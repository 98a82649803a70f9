//===- LossChoice.cpp - what --loss means for a model ---------------------------------------------------===//

#include "dialects/NN/NN.h"
#include "passes/Autodiff/LossAttachment.h"

using namespace mlir;

namespace gmc {

StringRef lossKindName(LossChoice::Kind kind) {
  switch (kind) {
  case LossChoice::CrossEntropy:
    return "cross-entropy";
  case LossChoice::Bce:
    return "bce";
  case LossChoice::Mse:
    return "mse";
  case LossChoice::L1:
    return "l1";
  case LossChoice::Output:
    return "output";
  }
  return "";
}

static RankedTensorType outputType(func::FuncOp forward, unsigned i) {
  return cast<RankedTensorType>(forward.getResultTypes()[i]);
}

static bool isFloat(RankedTensorType type) { return isa<FloatType>(type.getElementType()); }

/// Every output with its type, for error messages.
static std::string outputList(func::FuncOp forward) {
  std::string text;
  llvm::raw_string_ostream os(text);
  for (unsigned i = 0; i < forward.getNumResults(); ++i)
    os << (i ? ", " : "") << "'" << resultName(forward, i) << "' " << outputType(forward, i);
  return text;
}

static InFlightDiagnostic choiceError(func::FuncOp forward, const TrainingOptions &options) {
  return forward.emitError() << "--loss=" << options.loss << ": ";
}

static SmallVector<int64_t> withoutAxis(ArrayRef<int64_t> shape, int64_t axis) {
  SmallVector<int64_t> rest(shape);
  rest.erase(rest.begin() + axis);
  return rest;
}

static SmallVector<int64_t> squeezed(ArrayRef<int64_t> shape) {
  return llvm::to_vector(llvm::make_filter_range(shape, [](int64_t d) { return d != 1; }));
}

int64_t classAxisOf(ArrayRef<int64_t> scores, ArrayRef<ArrayRef<int64_t>> inputs) {
  if (scores.size() != 3)
    return 1;
  // [batch, classes, length] is what a network over [batch, channels, length] makes of it: the length is the input's,
  // and no input has a dimension of the other size.
  bool keepsLength = false, classesAreNew = true;
  for (ArrayRef<int64_t> input : inputs) {
    keepsLength |= input.size() == 3 && input[2] == scores[2];
    classesAreNew &= !llvm::is_contained(input.drop_front(input.empty() ? 0 : 1), scores[1]);
  }
  return keepsLength && classesAreNew && scores[1] > 1 ? 1 : 2;
}

/// Label type and class axis of a cross-entropy over `scores`.
static LogicalResult chooseClasses(func::FuncOp forward, const TrainingOptions &options, RankedTensorType scores,
                                   LossChoice &choice) {
  int64_t rank = scores.getRank();
  if (rank < 2)
    return choiceError(forward, options) << "cross-entropy takes scores [batch, classes, ...], output '"
                                         << resultName(forward, choice.output) << "' is " << scores;
  choice.classAxis = rank == 3 ? 2 : 1; // what a given label decides otherwise only where it has to
  int64_t other = rank == 3 ? 1 : rank - 1;
  Type index = IntegerType::get(forward.getContext(), 64);
  if (options.labelType) {
    ArrayRef<int64_t> given = options.labelType.getShape();
    Type element = options.labelType.getElementType();
    if (!element.isSignlessInteger(32) && !element.isSignlessInteger(64))
      return choiceError(forward, options) << "labels of cross-entropy are int32 or int64 class numbers, given are "
                                           << options.labelType;
    index = element;
    auto fits = [&](int64_t axis) { return squeezed(given) == squeezed(withoutAxis(scores.getShape(), axis)); };
    if (!fits(choice.classAxis)) {
      if (!fits(other))
        return choiceError(forward, options)
               << "labels " << options.labelType << " do not fit output '" << resultName(forward, choice.output) << "' "
               << scores << ": with classes on axis " << choice.classAxis << " their shape is "
               << RankedTensorType::get(withoutAxis(scores.getShape(), choice.classAxis), index);
      choice.classAxis = other;
    }
    choice.label = options.labelType;
    return success();
  }
  SmallVector<ArrayRef<int64_t>> inputs;
  for (unsigned i = 0; i < forward.getNumArguments(); ++i)
    if (argRole(forward, i) == "input")
      inputs.push_back(cast<RankedTensorType>(forward.getArgumentTypes()[i]).getShape());
  choice.classAxis = classAxisOf(scores.getShape(), inputs);
  choice.label = RankedTensorType::get(withoutAxis(scores.getShape(), choice.classAxis), index);
  return success();
}

FailureOr<LossChoice> chooseLoss(func::FuncOp forward, const TrainingOptions &options) {
  auto [kind, name] = StringRef(options.loss).split(':');
  LossChoice choice{LossChoice::CrossEntropy, 0, nullptr};
  if (forward.getNumResults() == 0)
    return choiceError(forward, options) << "the model has no output", failure();
  if (!name.empty()) {
    while (choice.output < forward.getNumResults() && resultName(forward, choice.output) != name)
      ++choice.output;
    if (choice.output == forward.getNumResults())
      return choiceError(forward, options) << "there is no output '" << name << "'; the outputs are "
                                           << outputList(forward), failure();
  }

  if (name.empty() && (kind == "auto" || kind == "output"))
    for (unsigned i = 0; i < forward.getNumResults(); ++i)
      if (resultName(forward, i) == "loss" && outputType(forward, i).getNumElements() == 1 &&
          isFloat(outputType(forward, i)))
        return LossChoice{LossChoice::Output, i, nullptr};
  if (kind == "auto") {
    RankedTensorType type = outputType(forward, choice.output);
    bool classes = isFloat(type) && ((type.getRank() == 2 && type.getDimSize(1) > 1) || type.getRank() == 3);
    if (!classes)
      return choiceError(forward, options)
                 << "no loss follows from the outputs " << outputList(forward)
                 << "; choose --loss=cross-entropy, bce, mse or l1, each with :OUTPUT for another output than the first, "
                    "or --loss=output:NAME when NAME is the loss",
             failure();
    kind = "cross-entropy";
  }

  RankedTensorType type = outputType(forward, choice.output);
  if (!isFloat(type))
    return choiceError(forward, options) << "output '" << resultName(forward, choice.output) << "' " << type
                                         << " is not floating-point", failure();
  if (kind == "output") {
    choice.kind = LossChoice::Output;
    if (type.getNumElements() != 1)
      return choiceError(forward, options) << "a loss is one number, output '" << resultName(forward, choice.output)
                                           << "' is " << type, failure();
    return choice;
  }
  if (kind == "cross-entropy") {
    if (failed(chooseClasses(forward, options, type, choice)))
      return failure();
    return choice;
  }
  if (kind != "bce" && kind != "mse" && kind != "l1")
    return choiceError(forward, options) << "'" << kind << "' is none of auto, cross-entropy, bce, mse, l1, output",
           failure();
  choice.kind = kind == "bce" ? LossChoice::Bce : kind == "mse" ? LossChoice::Mse : LossChoice::L1;
  choice.label = type;
  if (options.labelType) {
    if (!isFloat(options.labelType) || squeezed(options.labelType.getShape()) != squeezed(type.getShape()))
      return choiceError(forward, options) << "labels of " << kind << " are floats of the output's shape, given are "
                                           << options.labelType << " for output '" << resultName(forward, choice.output)
                                           << "' " << type, failure();
    choice.label = options.labelType;
  }
  return choice;
}

} // namespace gmc
