//===- ControlFlow.cpp - If, Loop and Scan whose course is known at compile time ------------------------===//
//
// A branch taken is imported in the node's place, an iteration as often as it runs. What a body reads and makes are
// values of the graph like any other, so gradients, constants and the roles of weights need nothing of their own.
//
//===-----------------------------------------------------------------------------------------------------===//

#include "compiler/Import/GraphImporter.h"
#include "compiler/Import/OnnxNode.h"
#include "dialects/NN/Tensor.h"
#include "mlir/IR/Matchers.h"
#include "onnx/onnx_pb.h"

using namespace mlir;

namespace gmc {

/// Beyond this a loop is not written out.
static constexpr int64_t maxIterations = 4096;

bool isControlFlow(StringRef op) {
  static constexpr StringLiteral ops[] = {"If",           "Loop",          "Scan",           "SequenceEmpty",
                                          "SequenceAt",   "SequenceErase", "SequenceInsert", "SequenceLength",
                                          "ConcatFromSequence", "SequenceConstruct", "SplitToSequence"};
  return llvm::is_contained(ops, op);
}

static const onnx::AttributeProto *attribute(const onnx::NodeProto &node, StringRef name) {
  for (const auto &candidate : node.attribute())
    if (candidate.name() == name)
      return &candidate;
  return nullptr;
}

static const onnx::GraphProto *graphAttribute(const onnx::NodeProto &node, StringRef name) {
  const auto *found = attribute(node, name);
  return found && found->has_g() ? &found->g() : nullptr;
}

DenseElementsAttr GraphImporter::knownValue(int index) const {
  DenseElementsAttr value;
  if (index < 0 || !values[index].value || !matchPattern(values[index].value, m_Constant(&value)))
    return {};
  return value;
}

static std::optional<bool> asBool(DenseElementsAttr value) {
  if (!value || value.getNumElements() != 1 || !value.getElementType().isInteger(1))
    return std::nullopt;
  return *value.value_begin<bool>();
}

/// Outputs of control flow are other names of values that exist, or failed when the import is empty.
void GraphImporter::importControlFlow(Scope &scope, const onnx::NodeProto &node) {
  Indices inputs, outputs;
  bool ready = true;
  for (const std::string &input : node.input()) {
    inputs.push_back(input.empty() ? -1 : lookup(scope, input));
    ready &= input.empty() || (inputs.back() >= 0 && !values[inputs.back()].failed);
  }
  if (ready)
    outputs = node.op_type() == "If"     ? importIf(scope, node, inputs)
              : node.op_type() == "Loop" ? importLoop(scope, node, inputs)
              : node.op_type() == "Scan" ? importScan(scope, node, inputs)
                                         : importSequence(scope, node, inputs);
  for (auto [i, output] : llvm::enumerate(node.output())) {
    if (i < outputs.size() && outputs[i] >= 0) {
      if (!output.empty())
        scope.names[output] = outputs[i];
      continue;
    }
    Named named;
    named.failed = true;
    define(scope, output, named);
  }
}

/// Imports the graph of `inner`; the indices of its outputs.
GraphImporter::Indices GraphImporter::importBody(Scope &inner, const onnx::NodeProto &node) {
  for (const auto &proto : inner.graph->initializer()) {
    Named named;
    auto source = TensorSource::describe(proto, model.getFolder());
    if (source)
      named.value = constantOf(*source, NameLoc::get(builder.getStringAttr(proto.name())));
    else
      addNodeProblem(node, ProblemKind::Input, llvm::toString(source.takeError()));
    named.failed = !named.value;
    define(inner, proto.name(), named);
  }
  std::vector<std::string> wanted;
  for (const auto &output : inner.graph->output())
    wanted.push_back(output.name());
  importGraph(inner, wanted);
  Indices outputs;
  for (const std::string &name : wanted)
    outputs.push_back(lookup(inner, name));
  return outputs;
}

GraphImporter::Indices GraphImporter::importIf(Scope &scope, const onnx::NodeProto &node, const Indices &inputs) {
  const onnx::GraphProto *branches[2] = {graphAttribute(node, "else_branch"), graphAttribute(node, "then_branch")};
  if (inputs.empty() || inputs[0] < 0 || !branches[0] || !branches[1]) {
    addNodeProblem(node, ProblemKind::Input, "an If needs a condition and two branches");
    return {};
  }
  auto condition = asBool(knownValue(inputs[0]));
  if (!condition) {
    addNodeProblem(node, ProblemKind::Unsupported, "its condition is not known at compile time");
    return {};
  }
  Scope inner{branches[*condition], &scope, {}};
  if (inner.graph->output_size() != node.output_size()) {
    addNodeProblem(node, ProblemKind::Input, "its branch has another number of outputs");
    return {};
  }
  return importBody(inner, node);
}

GraphImporter::Indices GraphImporter::importLoop(Scope &scope, const onnx::NodeProto &node, const Indices &inputs) {
  const onnx::GraphProto *body = graphAttribute(node, "body");
  int carried = static_cast<int>(inputs.size()) - 2;
  int scans = node.output_size() - carried;
  if (!body || carried < 0 || scans < 0 || body->input_size() != carried + 2 ||
      body->output_size() != 1 + carried + scans) {
    addNodeProblem(node, ProblemKind::Input, "its inputs and outputs are not those of its body");
    return {};
  }
  std::optional<int64_t> trips;
  if (inputs[0] >= 0) {
    auto known = knownValue(inputs[0]);
    if (!known || known.getNumElements() != 1 || !known.getElementType().isInteger(64)) {
      addNodeProblem(node, ProblemKind::Unsupported, "its number of iterations is not known at compile time");
      return {};
    }
    trips = *known.value_begin<int64_t>();
  }
  std::optional<bool> running = inputs[1] < 0 ? true : asBool(knownValue(inputs[1]));
  Indices current(inputs.begin() + 2, inputs.end());
  std::vector<Indices> scanned(scans);
  int64_t i = 0;
  for (; running && *running && (!trips || i < *trips) && i < maxIterations; ++i) {
    Scope inner{body, &scope, {}};
    inner.names[body->input(0).name()] = integers(scope, i, /*scalar=*/true);
    Named condition;
    condition.value = nn::ConstantOp::create(
        builder, builder.getUnknownLoc(),
        DenseElementsAttr::get(RankedTensorType::get({}, builder.getI1Type()), llvm::ArrayRef<bool>{true}));
    define(inner, body->input(1).name(), condition);
    for (int k = 0; k < carried; ++k)
      inner.names[body->input(2 + k).name()] = current[k];
    Indices made = importBody(inner, node);
    if (llvm::any_of(made, [&](int index) { return index < 0 || values[index].failed; }))
      return {};
    if (inputs[1] >= 0)
      running = asBool(knownValue(made[0]));
    std::copy_n(made.begin() + 1, carried, current.begin());
    for (int k = 0; k < scans; ++k)
      scanned[k].push_back(made[1 + carried + k]);
  }
  if (!running || (*running && i == maxIterations && trips.value_or(i + 1) > i)) {
    addNodeProblem(node, ProblemKind::Unsupported,
                   !running ? Twine("whether it goes on is not known at compile time")
                            : "it has more than " + Twine(maxIterations) + " iterations");
    return {};
  }
  for (const Indices &elements : scanned)
    current.push_back(stack(scope, node, elements, 0));
  return current;
}

/// What Scan's list attributes say of operand k.
static int64_t listed(const onnx::NodeProto &node, StringRef name, int k) {
  const auto *list = attribute(node, name);
  return list && k < list->ints_size() ? list->ints(k) : 0;
}

GraphImporter::Indices GraphImporter::importScan(Scope &scope, const onnx::NodeProto &node, const Indices &inputs) {
  const onnx::GraphProto *body = graphAttribute(node, "body");
  const auto *count = attribute(node, "num_scan_inputs");
  int scanned = count ? static_cast<int>(count->i()) : 0;
  int states = static_cast<int>(inputs.size()) - scanned, made = node.output_size() - states;
  if (model.opset("") < 9) {
    addNodeProblem(node, ProblemKind::Unsupported, "needs opset 9 or newer");
    return {};
  }
  if (!body || scanned <= 0 || states < 0 || made < 0 || body->input_size() != states + scanned ||
      body->output_size() != states + made || llvm::is_contained(inputs, -1)) {
    addNodeProblem(node, ProblemKind::Input, "its inputs and outputs are not those of its body");
    return {};
  }
  int64_t length = -1;
  for (int k = 0; k < scanned; ++k) {
    const Named &x = values[inputs[states + k]];
    auto shape = x.value ? nn::shapeOf(x.value) : ArrayRef<int64_t>();
    int64_t axis = listed(node, "scan_input_axes", k);
    axis += axis < 0 ? static_cast<int64_t>(shape.size()) : 0;
    if (axis < 0 || axis >= static_cast<int64_t>(shape.size()) || (length >= 0 && shape[axis] != length)) {
      addNodeProblem(node, ProblemKind::Input, "its scanned inputs have no common length");
      return {};
    }
    length = shape[axis];
  }
  if (length > maxIterations) {
    addNodeProblem(node, ProblemKind::Unsupported, "it has more than " + Twine(maxIterations) + " iterations");
    return {};
  }
  Indices current(inputs.begin(), inputs.begin() + states);
  std::vector<Indices> results(made);
  for (int64_t i = 0; i < length; ++i) {
    Scope inner{body, &scope, {}};
    for (int k = 0; k < states; ++k)
      inner.names[body->input(k).name()] = current[k];
    for (int k = 0; k < scanned; ++k) {
      bool backward = listed(node, "scan_input_directions", k) != 0;
      inner.names[body->input(states + k).name()] =
          elementAt(scope, node, inputs[states + k], listed(node, "scan_input_axes", k), backward ? length - 1 - i : i);
    }
    Indices out = importBody(inner, node);
    if (llvm::any_of(out, [&](int index) { return index < 0 || values[index].failed; }))
      return {};
    std::copy_n(out.begin(), states, current.begin());
    for (int k = 0; k < made; ++k)
      results[k].push_back(out[states + k]);
  }
  for (auto [k, elements] : llvm::enumerate(results)) {
    if (listed(node, "scan_output_directions", static_cast<int>(k)))
      std::reverse(elements.begin(), elements.end());
    current.push_back(stack(scope, node, elements, listed(node, "scan_output_axes", static_cast<int>(k))));
  }
  return current;
}

} // namespace gmc
