//===- GraphImporter.cpp - ONNX graph to nn -------------------------------------------------------------===//

#include "compiler/Import/GraphImporter.h"
#include "compiler/Import/KernelInterpreter.h"
#include "compiler/Import/OnnxNode.h"
#include "dialects/NN/Tensor.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"
#include "mlir/IR/Matchers.h"
#include "onnx/onnx_pb.h"

using namespace mlir;

namespace gmc {

/// A rule may read an initializer of at most so many elements at compile time (scales, pads, ratios).
static constexpr int64_t maxCompileTimeElements = 4096;

void registerImportDialects(DialectRegistry &registry) {
  registry.insert<nn::NNDialect, func::FuncDialect, arith::ArithDialect, math::MathDialect, scf::SCFDialect,
                  memref::MemRefDialect, vector::VectorDialect>();
}

GraphImporter::GraphImporter(MLIRContext &context, const OnnxModel &model, const ImportOptions &options,
                             Diagnostics &diagnostics)
    : context(context), model(model), options(options), diagnostics(diagnostics), builder(&context),
      top{&model.graph(), nullptr, {}}, initializerValues(model.initializers().size(), -1),
      foldable(model.initializers().size()), readAtCompileTime(model.initializers().size()) {
  context.loadAllAvailableDialects();
  nn::registerImports(registry);
}

void GraphImporter::addNodeProblem(const onnx::NodeProto &node, ProblemKind kind, const Twine &reason) {
  diagnostics.add({kind, reason.str(), nodeName(node), node.op_type(), node.domain(), model.opset(node.domain())});
}

//===- Names --------------------------------------------------------------------------------------------===//

int GraphImporter::define(Scope &scope, StringRef name, Named named) {
  int index = static_cast<int>(values.size());
  values.push_back(named);
  if (!name.empty())
    scope.names[name] = index;
  return index;
}

/// Index of the value that `name` means in `scope`; -1 when nothing of that name exists.
int GraphImporter::lookup(Scope &scope, StringRef name) {
  auto it = scope.names.find(name);
  if (it != scope.names.end())
    return it->second;
  if (scope.parent)
    return lookup(*scope.parent, name);
  const TensorSource *source = model.findInitializer(name);
  if (!source)
    return -1;
  int index = static_cast<int>(source - model.initializers().data());
  Named named;
  named.initializer = index;
  named.value = initializerValue(index, foldable[index]);
  named.failed = !named.value;
  return initializerValues[index] = define(top, name, named);
}

Value GraphImporter::constantOf(const TensorSource &source, Location loc) {
  if (!elementTypeFor(&context, source.dataType, options.promoteToF64)) {
    diagnostics.unsupported("initializer '" + source.name + "' has elements of type " + dataTypeName(source.dataType));
    return {};
  }
  auto dense = readDense(source, &context, options.promoteToF64);
  if (!dense) {
    diagnostics.input(llvm::toString(dense.takeError()));
    return {};
  }
  return nn::ConstantOp::create(builder, loc, *dense);
}

Value GraphImporter::addArgument(StringRef name, Type type, StringRef role) {
  Location loc = NameLoc::get(builder.getStringAttr(name));
  unsigned index = function.getNumArguments();
  auto attributes = builder.getDictionaryAttr({builder.getNamedAttr("nn.name", builder.getStringAttr(name)),
                                               builder.getNamedAttr("nn.role", builder.getStringAttr(role))});
  (void)function.insertArgument(index, type, attributes, loc);
  return function.getArgument(index);
}

/// The value of a top-level initializer: an nn.constant when `folded` or not float, else an argument.
Value GraphImporter::initializerValue(int index, bool folded) {
  const TensorSource &source = model.initializers()[index];
  Location loc = NameLoc::get(builder.getStringAttr(source.name));
  Type type = elementTypeFor(&context, source.dataType, options.promoteToF64);
  if (!type || !isa<FloatType>(type) || (folded && source.kind != TensorSource::Missing)) {
    OpBuilder::InsertionGuard guard(builder);
    builder.setInsertionPointToStart(&function.getBody().front());
    return constantOf(source, loc);
  }
  Value argument = addArgument(source.name, RankedTensorType::get(source.dims, type), "constant");
  argumentInitializer[argument] = index;
  return argument;
}

/// What a rule may read of an initializer at compile time.
DenseElementsAttr GraphImporter::readArgument(Value value) {
  auto it = argumentInitializer.find(value);
  if (it == argumentInitializer.end())
    return {};
  const TensorSource &source = model.initializers()[it->second];
  if (source.elements > maxCompileTimeElements || source.kind == TensorSource::Missing)
    return {};
  auto dense = readDense(source, &context, options.promoteToF64);
  if (!dense) {
    llvm::consumeError(dense.takeError());
    return {};
  }
  readAtCompileTime[it->second] = true;
  return *dense;
}

//===- Order --------------------------------------------------------------------------------------------===//

std::vector<const onnx::GraphProto *> subgraphs(const onnx::NodeProto &node) {
  std::vector<const onnx::GraphProto *> result;
  for (const auto &attribute : node.attribute()) {
    if (attribute.has_g())
      result.push_back(&attribute.g());
    for (const auto &graph : attribute.graphs())
      result.push_back(&graph);
  }
  return result;
}

std::vector<std::string> capturedNames(const onnx::GraphProto &graph) {
  llvm::StringSet<> defined, seen;
  std::vector<std::string> captured;
  for (const auto &input : graph.input())
    defined.insert(input.name());
  for (const auto &initializer : graph.initializer())
    defined.insert(initializer.name());
  for (const auto &node : graph.node())
    for (const auto &output : node.output())
      defined.insert(output);
  auto use = [&](const std::string &name) {
    if (!name.empty() && !defined.contains(name) && seen.insert(name).second)
      captured.push_back(name);
  };
  for (const auto &node : graph.node()) {
    for (const auto &input : node.input())
      use(input);
    for (const onnx::GraphProto *inner : subgraphs(node))
      for (const std::string &name : capturedNames(*inner))
        use(name);
  }
  for (const auto &output : graph.output())
    use(output.name());
  return captured;
}

/// The nodes that `wanted` depends on, in the file's order as far as it is topological. Reports values with two
/// producers, names that nothing produces, and cycles; nodes behind a cycle are left out.
std::vector<const onnx::NodeProto *> GraphImporter::orderNodes(Scope &scope, ArrayRef<std::string> wanted) {
  const auto &nodes = scope.graph->node();
  llvm::StringMap<int> producer;
  for (int i = 0; i < nodes.size(); ++i)
    for (const std::string &output : nodes[i].output())
      if (!output.empty() && !producer.try_emplace(output, i).second)
        addNodeProblem(nodes[i], ProblemKind::Input, "value '" + output + "' has two producers");
  auto dependencies = [&](const onnx::NodeProto &node) {
    std::vector<std::string> names(node.input().begin(), node.input().end());
    for (const onnx::GraphProto *graph : subgraphs(node))
      for (std::string &name : capturedNames(*graph))
        names.push_back(std::move(name));
    return names;
  };
  std::vector<bool> needed(nodes.size());
  std::vector<int> work;
  auto need = [&](const std::string &name, const onnx::NodeProto *reader) {
    auto it = producer.find(name);
    if (it != producer.end()) {
      if (!needed[it->second]) {
        needed[it->second] = true;
        work.push_back(it->second);
      }
    } else if (!scope.parent && !scope.names.contains(name) && model.findInput(name)) {
      usedInputs.insert(name);
      define(scope, name, Named());
    } else if (!name.empty() && !scope.names.contains(name) && lookup(scope, name) < 0) {
      Named named;
      named.failed = true;
      define(scope, name, named);
      if (reader)
        addNodeProblem(*reader, ProblemKind::Input, "nothing produces its input '" + name + "'");
      else
        diagnostics.input("nothing produces the output '" + name + "'");
    }
  };
  for (const std::string &name : wanted)
    need(name, nullptr);
  while (!work.empty()) {
    int i = work.back();
    work.pop_back();
    for (const std::string &name : dependencies(nodes[i]))
      need(name, &nodes[i]);
  }
  // Kahn's algorithm; among the ready nodes the first of the file goes first.
  std::vector<int> waiting(nodes.size());
  std::vector<std::vector<int>> readers(nodes.size());
  std::set<int> ready;
  for (int i = 0; i < nodes.size(); ++i) {
    if (!needed[i])
      continue;
    std::set<int> sources;
    for (const std::string &name : dependencies(nodes[i]))
      if (auto it = producer.find(name); it != producer.end())
        sources.insert(it->second);
    waiting[i] = static_cast<int>(sources.size());
    for (int source : sources)
      readers[source].push_back(i);
    if (sources.empty())
      ready.insert(i);
  }
  std::vector<const onnx::NodeProto *> order;
  while (!ready.empty()) {
    int i = *ready.begin();
    ready.erase(ready.begin());
    needed[i] = false;
    order.push_back(&nodes[i]);
    for (int reader : readers[i])
      if (--waiting[reader] == 0)
        ready.insert(reader);
  }
  std::string stuck;
  for (int i = 0, shown = 0; i < nodes.size(); ++i)
    if (needed[i]) {
      if (shown++ < 10)
        stuck += (stuck.empty() ? "'" : ", '") + nodeName(nodes[i]) + "'";
      else if (shown == 11)
        stuck += ", ...";
    }
  if (!stuck.empty())
    diagnostics.input("these nodes form a cycle, or depend on one: " + stuck);
  return order;
}

//===- Nodes --------------------------------------------------------------------------------------------===//

static std::string reasonWithoutRule(const onnx::NodeProto &node, int64_t opset, const ImportRule *rule) {
  if (opset == 0)
    return "the model imports no opset of its domain";
  if (rule)
    return "needs opset " + std::to_string(rule->minOpset) + " or newer";
  return "there is no such operator in gmc";
}

static bool hasInputs(ArrayRef<Value> inputs, unsigned count) {
  return inputs.size() >= count && llvm::all_of(inputs.take_front(count), [](Value v) { return static_cast<bool>(v); });
}

void GraphImporter::importNode(Scope &scope, const onnx::NodeProto &node) {
  if (isControlFlow(node.op_type()) && (node.domain().empty() || node.domain() == "ai.onnx"))
    return importControlFlow(scope, node);
  Edge edge;
  edge.op = node.op_type();
  edge.name = nodeName(node);
  int64_t opset = model.opset(node.domain());
  edge.rule = opset ? registry.find(node.op_type(), node.domain()) : nullptr;
  bool ready = true, readsSequence = false;
  SmallVector<Value> inputs;
  for (const std::string &input : node.input()) {
    int index = input.empty() ? -1 : lookup(scope, input);
    edge.inputs.push_back(index);
    inputs.push_back(index < 0 ? Value() : values[index].value);
    ready &= input.empty() || (index >= 0 && !values[index].failed);
    readsSequence |= index >= 0 && values[index].sequence;
  }
  SmallVector<Value> results;
  bool ok = false;
  if (readsSequence) {
    addNodeProblem(node, ProblemKind::Unsupported, "it reads a sequence");
  } else if (!edge.rule || opset < edge.rule->minOpset) {
    addNodeProblem(node, ProblemKind::Unsupported, reasonWithoutRule(node, opset, edge.rule));
  } else if (ready && !hasInputs(inputs, edge.rule->minInputs)) {
    addNodeProblem(node, ProblemKind::Input, "it needs at least " + Twine(edge.rule->minInputs) + " inputs");
  } else if (ready) {
    std::string reasons;
    ScopedDiagnosticHandler handler(&context, [&](Diagnostic &diagnostic) {
      if (diagnostic.getSeverity() == DiagnosticSeverity::Error)
        reasons += (reasons.empty() ? "" : "; ") + diagnostic.str();
      return success();
    });
    auto readInitializer = [&](Value value) { return readArgument(value); };
    OnnxNode importing(builder, NameLoc::get(builder.getStringAttr(edge.name)), node, edge.name, opset, inputs,
                       options.promoteToF64, model.getFolder(), readInitializer);
    auto imported = edge.rule->import(importing);
    ok = succeeded(imported) && reasons.empty();
    if (ok)
      results = std::move(*imported);
    else
      addNodeProblem(node, importing.isUnsupported() ? ProblemKind::Unsupported : ProblemKind::Input,
                     reasons.empty() ? "it cannot be imported" : reasons);
  }
  int producer = static_cast<int>(edges.size());
  for (auto [i, output] : llvm::enumerate(node.output())) {
    Named named;
    named.producer = producer;
    named.value = ok && i < results.size() ? results[i] : Value();
    named.failed = !named.value;
    edge.outputs.push_back(define(scope, output, named));
    if (ok && named.failed && !output.empty())
      unproduced[edge.outputs.back()] = &node;
  }
  // A result that the rule does not compute is a problem only where somebody reads it.
  for (int input : edge.inputs)
    if (auto it = unproduced.find(input); it != unproduced.end()) {
      addNodeProblem(*it->second, ProblemKind::Unsupported,
                     "its output read by node '" + edge.name + "' is not computed by gmc");
      unproduced.erase(it);
    }
  edges.push_back(std::move(edge));
}

void GraphImporter::importGraph(Scope &scope, ArrayRef<std::string> wanted) {
  for (const onnx::NodeProto *node : orderNodes(scope, wanted))
    importNode(scope, *node);
  for (const std::string &name : wanted)
    if (int index = lookup(scope, name); index < 0) { // behind a cycle
      Named named;
      named.failed = true;
      define(scope, name, named);
    }
}

} // namespace gmc
