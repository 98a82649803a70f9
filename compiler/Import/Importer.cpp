//===- Importer.cpp - inputs, outputs and clean-up of an import -----------------------------------------===//

#include "compiler/Import/Importer.h"
#include "compiler/Import/GraphImporter.h"
#include "compiler/Import/OnnxNode.h"
#include "mlir/IR/TypeUtilities.h"
#include "mlir/IR/Verifier.h"
#include "mlir/Interfaces/SideEffectInterfaces.h"

using namespace mlir;

namespace gmc {

/// Newest opset whose operators were read for the import rules.
static constexpr int64_t newestOpset = 23;

llvm::Expected<std::string> lossOutput(const OnnxModel &model, StringRef spec) {
  auto [kind, name] = spec.split(':');
  if (!name.empty()) {
    if (model.findOutput(name))
      return name.str();
    std::string known;
    for (const Port &port : model.outputs())
      known += (known.empty() ? "'" : ", '") + port.name + "'";
    return inputError("--loss=" + spec + ": the model has no output '" + name + "'; it has " + known);
  }
  if (spec == "auto" || spec == "output")
    for (const Port &port : model.outputs())
      if (port.name == "loss" && (!port.hasShape || port.dims.empty()))
        return port.name;
  return model.outputs().front().name;
}

ImportedModel importModel(MLIRContext &context, const OnnxModel &model, const ImportOptions &options,
                          Diagnostics &diagnostics) {
  return GraphImporter(context, model, options, diagnostics).run();
}

/// Arguments for the graph inputs that were found to be used. Their values exist already, without an MLIR value.
void GraphImporter::addInputs() {
  auto shapes = bindShapes(model, usedInputs, options, diagnostics);
  unsigned position = 0;
  for (const Port &port : model.inputs()) {
    if (!usedInputs.contains(port.name)) {
      result.unusedInputs.push_back(port.name);
      continue;
    }
    Named &named = values[top.names.lookup(port.name)];
    Type element = elementTypeFor(&context, port.dataType, options.promoteToF64);
    if (!element)
      diagnostics.unsupported("input '" + port.name + "' has " +
                              (port.dataType ? "elements of type " + dataTypeName(port.dataType)
                                             : std::string("a type other than tensor")));
    auto shape = shapes.find(port.name);
    named.failed = !element || shape == shapes.end();
    if (named.failed)
      continue;
    if (auto known = options.inputValues.find(port.name); known != options.inputValues.end()) {
      named.value = constantOf(known->second, NameLoc::get(builder.getStringAttr(port.name)));
      named.failed = !named.value;
      continue;
    }
    auto attributes = builder.getDictionaryAttr(
        {builder.getNamedAttr("nn.name", builder.getStringAttr(port.name)),
         builder.getNamedAttr("nn.role", builder.getStringAttr("input"))});
    (void)function.insertArgument(position, RankedTensorType::get(shape->second, element), attributes,
                                  NameLoc::get(builder.getStringAttr(port.name)));
    named.value = function.getArgument(position++);
  }
}

void GraphImporter::returnOutputs(ArrayRef<std::string> wanted) {
  SmallVector<Value> returned;
  SmallVector<Type> types;
  for (const std::string &name : wanted) {
    int index = lookup(top, name);
    if (index < 0 || values[index].failed)
      return;
    if (values[index].sequence)
      return diagnostics.unsupported("output '" + name + "' is a sequence");
    returned.push_back(values[index].value);
    types.push_back(returned.back().getType());
  }
  func::ReturnOp::create(builder, function.getLoc(), returned);
  function.setFunctionType(builder.getFunctionType(function.getArgumentTypes(), types));
  for (auto [i, name] : llvm::enumerate(wanted)) {
    function.setResultAttr(i, "nn.name", builder.getStringAttr(name));
    function.setResultAttr(i, "nn.role", builder.getStringAttr("output"));
  }
}

/// Erases ops and initializer arguments without a use; puts the remaining initializers into the file's order.
void GraphImporter::dropUnused() {
  Block &body = function.getBody().front();
  for (Operation &op : llvm::make_early_inc_range(llvm::reverse(body)))
    if (op.use_empty() && isMemoryEffectFree(&op) && !op.hasTrait<OpTrait::IsTerminator>())
      op.erase();
  SmallVector<std::pair<int, Value>> used;
  for (const auto &[argument, initializer] : argumentInitializer)
    if (!argument.use_empty())
      used.emplace_back(initializer, argument);
  llvm::sort(used, [](const auto &x, const auto &y) { return x.first < y.first; });
  llvm::DenseMap<Value, int> kept;
  unsigned firstOld = function.getNumArguments() - argumentInitializer.size(), firstNew = function.getNumArguments();
  for (auto &[initializer, argument] : used) {
    StringRef name = model.initializers()[initializer].name;
    Value fresh = addArgument(name, argument.getType(), "constant");
    argument.replaceAllUsesWith(fresh);
    for (Named &named : values)
      if (named.value == argument)
        named.value = fresh;
    kept[fresh] = initializer;
  }
  for (unsigned i = firstNew; i-- > firstOld;)
    (void)function.eraseArgument(i);
  argumentInitializer.clear();
  for (BlockArgument argument : function.getArguments())
    if (auto it = kept.find(argument); it != kept.end())
      argumentInitializer[argument] = it->second;
}

ImportedModel GraphImporter::run() {
  auto loc = NameLoc::get(builder.getStringAttr(model.getPath()));
  OwningOpRef<ModuleOp> module = ModuleOp::create(loc);
  builder.setInsertionPointToEnd(module->getBody());
  function = func::FuncOp::create(builder, loc, "forward", builder.getFunctionType({}, {}));
  builder.setInsertionPointToEnd(function.addEntryBlock());

  std::vector<std::string> wanted = options.outputs;
  for (const Port &port : model.outputs())
    if (options.outputs.empty())
      wanted.push_back(port.name);
  if (int64_t opset = model.opset(""); opset > newestOpset)
    diagnostics.warn("the model uses opset " + Twine(opset) + "; its operators are read as those of opset " +
                     Twine(newestOpset));
  for (const std::string &name : model.sparseInitializers()) {
    diagnostics.unsupported("initializer '" + name + "' is sparse");
    Named named;
    named.failed = true;
    define(top, name, named);
  }
  findFoldable(wanted);
  auto order = orderNodes(top, wanted);
  addInputs();
  for (const onnx::NodeProto *node : order)
    importNode(top, *node);
  if (!diagnostics.hasErrors())
    returnOutputs(wanted);
  bool complete = !function.getBody().front().empty() &&
                  function.getBody().front().back().hasTrait<OpTrait::IsTerminator>();
  for (Named &named : values) // one that could not be imported is taken for a float
    if (named.value)
      named.isFloat = isa<FloatType>(getElementTypeOrSelf(named.value.getType()));
  if (complete)
    dropUnused();
  assignRoles(options.lossOutputs.empty() ? ArrayRef(wanted) : ArrayRef(options.lossOutputs), complete);
  collectWeights();
  if (!complete && !diagnostics.hasErrors())
    diagnostics.add({ProblemKind::Internal, "the import ended without a result and without a reason"});
  if (diagnostics.hasErrors())
    return std::move(result);
  std::string reasons;
  ScopedDiagnosticHandler handler(&context, [&](Diagnostic &diagnostic) {
    reasons += (reasons.empty() ? "" : "; ") + diagnostic.str();
    return success();
  });
  if (failed(verify(*module)))
    diagnostics.add({ProblemKind::Internal, "the imported module does not verify: " + reasons});
  else
    result.module = std::move(module);
  return std::move(result);
}

} // namespace gmc
