//===- Roles.cpp - which initializers are trainable, and why --------------------------------------------===//
//
// Trainable is a float initializer on a differentiable path to the loss, except operands without a gradient by the
// standard and single-element operands of elementwise ops.
//
//===-----------------------------------------------------------------------------------------------------===//

#include "compiler/Import/GraphImporter.h"
#include "onnx/onnx_pb.h"
#include "llvm/Support/Regex.h"

using namespace mlir;

namespace gmc {

/// Single-element float initializers that only elementwise ops read (also through Identity, Cast, Reshape) are
/// constants of a formula: they are imported as nn.constant and fold.
void GraphImporter::findFoldable(ArrayRef<std::string> wanted) {
  llvm::StringMap<std::vector<std::pair<const onnx::NodeProto *, int>>> readers;
  std::function<void(const onnx::GraphProto &)> collect = [&](const onnx::GraphProto &graph) {
    for (const auto &node : graph.node()) {
      for (int i = 0; i < node.input_size(); ++i)
        readers[node.input(i)].emplace_back(&node, i);
      for (const onnx::GraphProto *inner : subgraphs(node))
        collect(*inner);
    }
  };
  collect(model.graph());
  llvm::StringSet<> outputs;
  for (const std::string &name : wanted)
    outputs.insert(name);
  std::function<bool(StringRef, int)> onlyElementwise = [&](StringRef name, int depth) {
    if (outputs.contains(name) || depth > 32)
      return false;
    auto it = readers.find(name);
    if (it == readers.end())
      return true;
    return llvm::all_of(it->second, [&](const auto &reader) {
      const ImportRule *rule = registry.find(reader.first->op_type(), reader.first->domain());
      if (!rule)
        return false;
      if (rule->sameValue && reader.second == 0 && reader.first->output_size())
        return onlyElementwise(reader.first->output(0), depth + 1);
      return rule->elementwise;
    });
  };
  for (auto [i, source] : llvm::enumerate(model.initializers()))
    if (isFloatDataType(source.dataType))
      foldable[i] = source.elements == 0 || (source.elements == 1 && onlyElementwise(source.name, 0));
}

/// Whether a gradient can flow through a value.
bool GraphImporter::isFloatValue(int index) const { return values[index].isFloat; }

void GraphImporter::assignRoles(ArrayRef<std::string> lossOutputs, bool complete) {
  // Walk back from the loss through positions that have a gradient.
  std::vector<bool> reached(values.size());
  std::vector<int> work;
  auto reach = [&](int index) {
    if (index >= 0 && !reached[index] && isFloatValue(index)) {
      reached[index] = true;
      work.push_back(index);
    }
  };
  for (const std::string &name : lossOutputs)
    if (auto it = top.names.find(name); it != top.names.end())
      reach(it->second);
  while (!work.empty()) {
    int producer = values[work.back()].producer;
    work.pop_back();
    if (producer < 0)
      continue;
    const Edge &edge = edges[producer];
    for (auto [i, input] : llvm::enumerate(edge.inputs)) {
      if (edge.rule && llvm::is_contained(edge.rule->nonDifferentiable, static_cast<unsigned>(i)))
        continue;
      bool single = input >= 0 && values[input].initializer >= 0 &&
                    model.initializers()[values[input].initializer].elements == 1;
      if (!(single && edge.rule && edge.rule->elementwise))
        reach(input);
    }
  }
  std::string error;
  llvm::Regex train(options.train), freeze(options.freeze);
  if (!options.train.empty() && !train.isValid(error))
    diagnostics.input("--train=" + Twine(options.train) + " is no regular expression: " + error);
  if (!options.freeze.empty() && !freeze.isValid(error))
    diagnostics.input("--freeze=" + Twine(options.freeze) + " is no regular expression: " + error);

  llvm::DenseMap<int, unsigned> argumentOf;
  for (BlockArgument argument : function.getArguments())
    if (auto it = argumentInitializer.find(argument); it != argumentInitializer.end())
      argumentOf[it->second] = argument.getArgNumber();
  for (auto [i, source] : llvm::enumerate(model.initializers())) {
    InitializerInfo info;
    info.name = source.name;
    info.dataType = source.dataType;
    info.dims = source.dims;
    int value = initializerValues[i];
    bool isReached = value >= 0 && reached[value];
    if (value < 0) {
      info.reason = "the outputs do not depend on it";
    } else if (!isFloatDataType(source.dataType)) {
      info.role = Role::Folded;
      info.reason = dataTypeName(source.dataType) + " elements have no gradient";
    } else if (foldable[i]) {
      info.role = Role::Folded;
      info.reason = source.elements ? "a single element read by elementwise operators only" : "it has no elements";
    } else if (isReached && !options.train.empty() && !train.match(source.name)) {
      info.role = Role::Constant;
      info.reason = "--train does not match it";
    } else if (isReached && !options.freeze.empty() && freeze.match(source.name)) {
      info.role = Role::Constant;
      info.reason = "--freeze matches it";
    } else if (isReached) {
      info.role = Role::Parameter;
      info.reason = "on a differentiable path to the loss";
    } else {
      info.role = readAtCompileTime[i] ? Role::Folded : Role::Constant;
      info.reason = readAtCompileTime[i] ? "read at compile time" : whyNotReached(value);
    }
    if (auto it = argumentOf.find(static_cast<int>(i)); it != argumentOf.end()) {
      function.setArgAttr(it->second, "nn.role",
                          builder.getStringAttr(info.role == Role::Parameter ? "parameter" : "constant"));
      if (info.role == Role::Folded)
        info.role = Role::Constant;
    } else if (complete && (info.role == Role::Parameter || info.role == Role::Constant)) {
      info.role = Role::Unused;
      info.reason = "nothing that is computed depends on it";
    }
    result.initializers.push_back(std::move(info));
  }
}

/// Why no gradient reaches an initializer: the operator positions that read it.
std::string GraphImporter::whyNotReached(int value) const {
  std::string reason;
  for (const Edge &edge : edges)
    for (auto [i, input] : llvm::enumerate(edge.inputs)) {
      if (input != value || !edge.rule || !reason.empty())
        continue;
      if (llvm::is_contained(edge.rule->nonDifferentiable, static_cast<unsigned>(i)))
        reason = "input " + std::to_string(i) + " of " + edge.op + " '" + edge.name +
                 "' has no gradient by the standard";
      else if (edge.rule->elementwise && model.initializers()[values[value].initializer].elements == 1)
        reason = "a single-element operand of " + edge.op + " '" + edge.name + "'";
    }
  return reason.empty() ? "no differentiable path to the loss" : reason;
}

/// The weights behind the arguments; with needWeights, those that neither the file nor --init supplies are an error.
void GraphImporter::collectWeights() {
  result.weights.init = options.init;
  std::vector<WeightUse> uses(model.initializers().size(), WeightUse::Weight);
  for (const Edge &edge : edges)
    for (auto [i, input] : llvm::enumerate(edge.inputs))
      if (input >= 0 && values[input].initializer >= 0 && edge.rule &&
          llvm::is_contained(edge.rule->initializedToOne, static_cast<unsigned>(i)))
        uses[values[input].initializer] = WeightUse::One;
  std::string missing;
  int count = 0;
  for (auto [i, source] : llvm::enumerate(model.initializers())) {
    const InitializerInfo &info = result.initializers[i];
    if (info.role != Role::Parameter && info.role != Role::Constant)
      continue;
    Weight weight;
    weight.source = source;
    weight.use = uses[i];
    bool absent = source.kind == TensorSource::Missing;
    weight.made = options.init.kind != InitKind::Keep &&
                  (absent || (info.role == Role::Parameter && source.dims.size() >= 2));
    if (absent && !weight.made && options.needWeights) {
      missing += "\n  '" + source.name + "': " + source.missingReason;
      ++count;
    }
    result.weights.add(std::move(weight));
  }
  if (count)
    diagnostics.input(Twine(count) + " weights are missing; give the files, or make weights with --init=kaiming, " +
                      "xavier or normal:STD:" + missing);
}

} // namespace gmc
