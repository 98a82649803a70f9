//===- Info.cpp - gmc info ------------------------------------------------------------------------------===//
//
// Answers without weights and without a value for every dimension: symbols without a value are tried with a few sizes,
// and the attempt with the fewest problems is reported. Exits 0 whenever it could answer, also for an unsupported
// model.
//
//===-----------------------------------------------------------------------------------------------------===//

#include "compiler/Import/OpImport.h"
#include "dialects/NN/NN.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/IR/MLIRContext.h"
#include "nlohmann/json.hpp"
#include "onnx/onnx_pb.h"
#include "passes/Autodiff/Training.h"
#include "tools/gmc/Options.h"
#include <map>

namespace gmc {

using Json = nlohmann::ordered_json;

namespace {
struct Attempt {
  Diagnostics diagnostics;
  ImportedModel imported;
  std::vector<std::pair<std::string, std::vector<int64_t>>> outputs; ///< static shapes, when the import succeeded
  std::vector<std::vector<int64_t>> inputs;                          ///< likewise
};
} // namespace

static Attempt attempt(mlir::MLIRContext &context, const OnnxModel &model, const ImportOptions &options) {
  Attempt result;
  result.imported = importModel(context, model, options, result.diagnostics);
  if (result.imported.module) {
    auto function = result.imported.module->lookupSymbol<mlir::func::FuncOp>("forward");
    for (unsigned i = 0; i < function.getNumArguments(); ++i)
      if (argRole(function, i) == "input")
        result.inputs.push_back(llvm::cast<mlir::RankedTensorType>(function.getArgumentTypes()[i]).getShape().vec());
    for (auto [i, type] : llvm::enumerate(function.getResultTypes()))
      result.outputs.emplace_back(function.getResultAttrOfType<mlir::StringAttr>(i, "nn.name").str(),
                                  llvm::cast<mlir::RankedTensorType>(type).getShape().vec());
  }
  return result;
}

/// The unbound symbols of the inputs decide whether sizes have to be tried.
static bool hasUnboundSymbols(const OnnxModel &model, const ImportOptions &options) {
  for (const Port &port : model.inputs())
    for (auto [d, dim] : llvm::enumerate(port.dims))
      if (!dim.value && !options.dims.contains(dim.symbol) && !(d == 0 && options.batch))
        return true;
  return false;
}

static Attempt bestAttempt(mlir::MLIRContext &context, const OnnxModel &model, ImportOptions options,
                           std::optional<int64_t> &assumed) {
  if (!hasUnboundSymbols(model, options))
    return attempt(context, model, options);
  std::optional<Attempt> best;
  for (int64_t size : {8, 64, 16, 224, 1}) {
    options.defaultDim = size;
    Attempt next = attempt(context, model, options);
    if (!best || next.diagnostics.getProblems().size() < best->diagnostics.getProblems().size()) {
      best = std::move(next);
      assumed = size;
    }
    if (best->imported.module)
      break;
  }
  return std::move(*best);
}

static Json portJson(const Port &port) {
  Json shape = Json::array();
  for (const PortDim &dim : port.dims)
    shape.push_back(dim.value ? Json(*dim.value) : Json(dim.symbol));
  return {{"name", port.name},
          {"dtype", port.dataType ? Json(dataTypeName(port.dataType)) : Json(nullptr)},
          {"shape", port.hasShape ? shape : Json(nullptr)}};
}

/// The graph input that a loss inside the file compares with: null when there is none.
static const Port *labelInput(const OnnxModel &model) {
  auto producer = [&](llvm::StringRef value) -> const onnx::NodeProto * {
    for (const auto &node : model.graph().node())
      for (const std::string &output : node.output())
        if (output == value)
          return &node;
    return nullptr;
  };
  for (const auto &node : model.graph().node())
    if ((node.op_type() == "SoftmaxCrossEntropyLoss" || node.op_type() == "NegativeLogLikelihoodLoss") &&
        node.input_size() > 1) {
      std::string name = node.input(1);
      static const llvm::StringRef views[] = {"Reshape", "Flatten", "Squeeze", "Unsqueeze", "Cast", "Identity"};
      for (const onnx::NodeProto *view = producer(name);
           view && llvm::is_contained(views, llvm::StringRef(view->op_type())) && view->input_size() > 0;
           view = producer(name))
        name = view->input(0);
      return model.findInput(name);
    }
  return nullptr;
}

/// What the trainer wants as the label, by --loss and the shape of the output it is taken of.
static Json labelJson(const OnnxModel &model, const ModelOptions &options, const std::string &output,
                      const Attempt &best) {
  const Port &port = *model.findOutput(output);
  auto [kind, ignored] = llvm::StringRef(options.loss).split(':');
  std::vector<Json> dims;
  bool known = false;
  std::optional<int64_t> classAxis;
  for (const auto &[name, shape] : best.outputs)
    if (name == output) {
      known = true;
      dims.assign(shape.begin(), shape.end());
      classAxis = classAxisOf(shape, std::vector<llvm::ArrayRef<int64_t>>(best.inputs.begin(), best.inputs.end()));
    }
  // The file's symbols say more than the sizes that were tried.
  if (port.hasShape && (!known || dims.size() == port.dims.size())) {
    dims.resize(port.dims.size());
    for (size_t d = 0; d < port.dims.size(); ++d)
      if (!port.dims[d].value)
        dims[d] = port.dims[d].symbol;
      else
        dims[d] = *port.dims[d].value;
    known = true;
  }
  Json label = {{"output", output}};
  bool inside = kind == "output" || (kind == "auto" && output == "loss" && dims.empty());
  if (inside) {
    label["loss"] = "output";
    const Port *input = labelInput(model);
    label["input"] = input ? Json(input->name) : Json(nullptr);
    if (input)
      label.update(portJson(*input));
    label.erase("name");
    return label;
  }
  bool crossEntropy = kind == "cross-entropy" ||
                      (kind == "auto" && known && (dims.size() == 3 || (dims.size() == 2 && dims[1] != 1)));
  if (kind == "auto" && !crossEntropy) {
    label["loss"] = nullptr;
    label["choices"] = {"cross-entropy", "bce", "mse", "l1", "output"};
    return label;
  }
  label["loss"] = crossEntropy ? "cross-entropy" : kind.str();
  label["dtype"] = crossEntropy ? Json({"int32", "int64"}) : Json("float32");
  if (crossEntropy && dims.size() >= 2)
    dims.erase(dims.begin() + classAxis.value_or(dims.size() == 3 ? 2 : 1));
  label["shape"] = known ? Json(dims) : Json(nullptr);
  return label;
}

static const char *roleName(Role role) {
  switch (role) {
  case Role::Parameter:
    return "parameter";
  case Role::Constant:
    return "constant";
  case Role::Folded:
    return "folded";
  case Role::Unused:
    return "unused";
  }
  return "";
}

static void countOps(const onnx::GraphProto &graph, std::map<std::pair<std::string, std::string>, int64_t> &counts) {
  for (const auto &node : graph.node()) {
    ++counts[{node.domain() == "ai.onnx" ? "" : node.domain(), node.op_type()}];
    for (const auto &attribute : node.attribute())
      if (attribute.has_g())
        countOps(attribute.g(), counts);
  }
}

static Json describe(const OnnxModel &model, const ModelOptions &options, const std::string &output,
                     const Attempt &best, std::optional<int64_t> assumed) {
  Json json;
  json["version"] = 1;
  json["model"] = model.getPath();
  json["hash"] = model.hashText();
  json["producer"] = model.proto().producer_name() + " " + model.proto().producer_version();
  json["ir_version"] = model.proto().ir_version();
  for (const auto &entry : model.proto().opset_import())
    json["opset"][entry.domain().empty() ? "ai.onnx" : entry.domain()] = entry.version();
  json["inputs"] = Json::array();
  for (const Port &port : model.inputs())
    json["inputs"].push_back(portJson(port));
  json["outputs"] = Json::array();
  for (const Port &port : model.outputs())
    json["outputs"].push_back(portJson(port));
  for (const auto &[name, shape] : best.outputs)
    for (Json &port : json["outputs"])
      if (port["name"] == name)
        port["imported_shape"] = shape;
  json["assumed_dim"] = assumed ? Json(*assumed) : Json(nullptr);

  ImportRegistry registry;
  nn::registerImports(registry);
  std::map<std::pair<std::string, std::string>, int64_t> counts;
  countOps(model.graph(), counts);
  json["ops"] = Json::array();
  for (const auto &[op, count] : counts)
    json["ops"].push_back({{"op", op.second},
                           {"domain", op.first},
                           {"count", count},
                           {"supported", isControlFlow(op.second) || registry.find(op.second, op.first)}});
  json["unsupported"] = Json::array();
  json["problems"] = Json::array();
  for (const Problem &problem : best.diagnostics.getProblems()) {
    if (problem.node.empty())
      json["problems"].push_back(problem.reason);
    else
      json[problem.kind == ProblemKind::Unsupported ? "unsupported" : "problems"].push_back(
          {{"node", problem.node}, {"op", problem.op}, {"domain", problem.domain}, {"opset", problem.opset},
           {"reason", problem.reason}});
  }
  json["importable"] = !best.diagnostics.hasErrors();
  json["label"] = labelJson(model, options, output, best);
  int64_t trainable = 0;
  json["initializers"] = Json::array();
  for (const InitializerInfo &info : best.imported.initializers) {
    const TensorSource &source = *model.findInitializer(info.name);
    bool isParameter = info.role == Role::Parameter;
    trainable += isParameter ? source.elements : 0;
    json["initializers"].push_back(
        {{"name", info.name},
         {"dtype", dataTypeName(info.dataType)},
         {"shape", std::vector<int64_t>(info.dims.begin(), info.dims.end())},
         {"trainable", isParameter},
         {"role", roleName(info.role)},
         {"reason", info.reason},
         {"data", source.kind == TensorSource::Inline     ? "inline"
                  : source.kind == TensorSource::External ? "external"
                                                          : "missing: " + source.missingReason}});
  }
  json["trainable_elements"] = trainable;
  return json;
}

static std::string shapeText(const Json &shape) {
  if (shape.is_null())
    return "[?]";
  std::string text = "[";
  for (const Json &dim : shape)
    text += (text.size() > 1 ? ", " : "") + (dim.is_string() ? dim.get<std::string>() : dim.dump());
  return text + "]";
}

static std::string text(const Json &value) { return value.is_string() ? value.get<std::string>() : value.dump(); }

static void printText(const Json &json, llvm::raw_ostream &os) {
  os << text(json["model"]) << "  " << text(json["producer"]) << "  hash " << text(json["hash"]) << "\n";
  for (const char *kind : {"inputs", "outputs"}) {
    os << kind << "\n";
    for (const Json &port : json[kind])
      os << "  " << text(port["name"]) << "  " << text(port["dtype"]) << " " << shapeText(port["shape"]) << "\n";
  }
  const Json &label = json["label"];
  os << "label\n  ";
  if (label["loss"].is_null())
    os << "--loss=auto has no answer for output " << text(label["output"])
       << "; give --loss=cross-entropy, bce, mse, l1 or output\n";
  else if (label.contains("input"))
    os << "the loss is in the file (output " << text(label["output"]) << "); it compares with input "
       << text(label["input"]) << "\n";
  else
    os << text(label["loss"]) << " of " << text(label["output"]) << "; label "
       << (label["dtype"].is_array() ? "int32 or int64" : text(label["dtype"])) << " " << shapeText(label["shape"])
       << "\n";
  os << "operators\n";
  for (const Json &op : json["ops"])
    os << "  " << llvm::left_justify(op["count"].dump(), 7)
       << (text(op["domain"]).empty() ? "" : text(op["domain"]) + ".") << text(op["op"])
       << (op["supported"] ? "" : "   unsupported") << "\n";
  if (!json["unsupported"].empty()) {
    os << "unsupported\n";
    for (const Json &problem : json["unsupported"])
      os << "  " << text(problem["node"]) << " (" << text(problem["op"])
         << (text(problem["domain"]).empty() ? "" : ", domain " + text(problem["domain"])) << ", opset "
         << text(problem["opset"]) << "): " << text(problem["reason"]) << "\n";
  }
  if (!json["problems"].empty()) {
    os << (json["assumed_dim"].is_null() ? "problems\n"
                                         : "problems with every unknown dimension taken as " +
                                               json["assumed_dim"].dump() + " (give --dim NAME=VALUE)\n");
    for (const Json &problem : json["problems"])
      os << "  " << (problem.is_string() ? text(problem) : text(problem["node"]) + ": " + text(problem["reason"]))
         << "\n";
  }
  os << "initializers   " << text(json["trainable_elements"]) << " trainable elements\n";
  for (const Json &info : json["initializers"])
    os << "  " << (info["trainable"] ? "train " : "      ") << text(info["name"]) << "  " << text(info["dtype"]) << " "
       << shapeText(info["shape"]) << "  " << text(info["role"]) << ": " << text(info["reason"])
       << (llvm::StringRef(text(info["data"])).starts_with("missing") ? "  (" + text(info["data"]) + ")" : "") << "\n";
}

static int runInfo(const ModelOptions &options, bool asJson) {
  auto model = loadModel(options.model);
  if (!model)
    return ExitUsage;
  auto import = toImportOptions(options, *model);
  if (!import)
    return usageError(import.takeError());
  std::string output = import->lossOutputs.front();
  import->batch = options.batch;
  import->needWeights = false;
  mlir::DialectRegistry registry;
  registerImportDialects(registry);
  mlir::MLIRContext context(registry, mlir::MLIRContext::Threading::DISABLED);
  std::optional<int64_t> assumed;
  Attempt best = bestAttempt(context, *model, *import, assumed);
  if (best.diagnostics.exitCode() == ExitInternal)
    return internalError(best.diagnostics.getProblems().front().reason);
  Json json = describe(*model, options, output, best, assumed);
  if (asJson)
    llvm::outs() << json.dump(2, ' ', false, Json::error_handler_t::replace) << "\n";
  else
    printText(json, llvm::outs());
  return ExitOk;
}

void registerInfo(CLI::App &app, int &exitCode) {
  auto options = std::make_shared<ModelOptions>();
  auto asJson = std::make_shared<bool>(false);
  CLI::App *command = app.add_subcommand("info", "Operators, what is unsupported and why, what is trainable and why");
  addModelOptions(*command, *options);
  command->add_flag("--json", *asJson, "machine-readable answer");
  command->callback([options, asJson, &exitCode] { exitCode = runInfo(*options, *asJson); });
}

} // namespace gmc
