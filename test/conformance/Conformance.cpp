//===- Conformance.cpp - runs ONNX backend test cases, many in one process ------------------------------===//
//
// Reads one case a line from stdin: the path of a folder with model.onnx and test_data_set_*/{input,output}_N.pb.
// Answers each with one line on stdout: status, tab, operator, tab, opset, tab, reason; the status is
//   pass          every output of every data set has the stored type and shape, and values within rtol and atol
//   fail          it ran and something differs
//   unsupported   the importer says that it cannot import the model, and why
//   outside       not a question to gmc: another domain than ai.onnx, an opset before 7, or values that are no tensors
//   error         an error inside gmc
// run.py drives it and knows what is expected. With --gradients, it is the derivatives that pass or fail
// (Gradients.cpp). With --sim, the kernels are the GPU's, run on the CPU.
//
//===-----------------------------------------------------------------------------------------------------===//

#include "test/conformance/Case.h"
#include "mlir/IR/MLIRContext.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/MemoryBuffer.h"
#include <cmath>
#include <iostream>

using namespace gmc;

namespace {

// The tolerances of the ONNX backend test runner.
constexpr double rtol = 1e-3, atol = 1e-7;

/// Nullopt where the file holds no tensor of a type that gmc knows (a sequence, an optional, strings).
std::optional<Stored> readTensor(llvm::StringRef path) {
  auto file = llvm::MemoryBuffer::getFile(path);
  Stored tensor{std::make_unique<onnx::TensorProto>(), {}, {}};
  if (!file || !tensor.proto->ParseFromArray((*file)->getBufferStart(), (*file)->getBufferSize()) ||
      tensor.proto->data_type() == 0)
    return std::nullopt;
  auto source = TensorSource::describe(*tensor.proto, "");
  if (!source) {
    llvm::consumeError(source.takeError());
    return std::nullopt;
  }
  tensor.source = *source;
  tensor.data.resize(source->bytes());
  if (!dataTypeBytes(source->dataType) || llvm::errorToBool(source->read(0, source->elements, tensor.data.data())))
    return std::nullopt;
  return tensor;
}

std::string dimsText(llvm::ArrayRef<int64_t> dims) {
  return "[" + llvm::join(llvm::map_range(dims, [](int64_t d) { return std::to_string(d); }), ",") + "]";
}

/// What is wrong with `got` of `type`; empty when it is right.
std::string compare(mlir::RankedTensorType type, const std::vector<char> &got, const Stored &want) {
  if (type.getShape() != llvm::ArrayRef<int64_t>(want.source.dims))
    return "shape " + dimsText(type.getShape()) + " instead of " + dimsText(want.source.dims);
  if (got.size() != want.data.size())
    return "another element type than " + dataTypeName(want.source.dataType);
  size_t count = type.getNumElements();
  if (!isFloatDataType(want.source.dataType)) {
    for (size_t i = 0, bytes = dataTypeBytes(want.source.dataType); i < count; ++i)
      if (memcmp(&got[i * bytes], &want.data[i * bytes], bytes))
        return "element " + std::to_string(i) + " of " + std::to_string(count) + " differs";
    return "";
  }
  std::vector<double> x(count), y(count);
  auto widen = [&](const std::vector<char> &from, std::vector<double> &to) {
    convertElements(from.data(), want.source.dataType, reinterpret_cast<char *>(to.data()), onnx::TensorProto::DOUBLE,
                    count);
  };
  widen(got, x);
  widen(want.data, y);
  size_t wrong = 0, first = 0;
  for (size_t i = 0; i < count; ++i) {
    bool equal = x[i] == y[i] || (std::isnan(x[i]) && std::isnan(y[i])) ||
                 std::abs(x[i] - y[i]) <= atol + rtol * std::abs(y[i]);
    if (!equal && wrong++ == 0)
      first = i;
  }
  if (!wrong)
    return "";
  std::string text;
  llvm::raw_string_ostream(text) << wrong << " of " << count << " elements differ, element " << first << " is "
                                 << x[first] << " instead of " << y[first];
  return text;
}

struct Options {
  bool gradients = false;
  JitOptions jit;
};

/// `folder/input_0.pb`, ... up to the first that is missing.
std::vector<std::string> numbered(llvm::StringRef folder, llvm::StringRef stem) {
  std::vector<std::string> files;
  for (int i = 0;; ++i) {
    std::string path = (folder + "/" + stem + "_" + llvm::Twine(i) + ".pb").str();
    if (!llvm::sys::fs::exists(path))
      return files;
    files.push_back(path);
  }
}

Outcome runDataSet(const Case &test, llvm::StringRef folder, const Options &how) {
  std::vector<std::string> inputFiles = numbered(folder, "input"), outputFiles = numbered(folder, "output");
  ImportOptions options;
  options.promoteToF64 = how.gradients;
  llvm::StringMap<Stored> given;
  // input_N.pb belongs to graph input N, counted over those that are no initializers.
  for (auto [port, path] : llvm::zip(test.model->inputs(), inputFiles)) {
    auto tensor = readTensor(path);
    if (!tensor)
      return {"outside", "input " + port.name + " is no tensor of numbers"};
    options.inputShapes[port.name] = tensor->source.dims;
    given[port.name] = std::move(*tensor);
  }
  std::vector<Stored> expected;
  for (const std::string &path : outputFiles) {
    auto tensor = readTensor(path);
    if (!tensor)
      return {"outside", "an output is no tensor of numbers"};
    expected.push_back(std::move(*tensor));
  }

  mlir::DialectRegistry registry;
  registerImportDialects(registry);
  mlir::MLIRContext context(registry, mlir::MLIRContext::Threading::DISABLED);
  Diagnostics diagnostics;
  ImportedModel imported = importModel(context, *test.model, options, diagnostics);
  if (!imported.module && diagnostics.exitCode() == ExitUnsupported) {
    // Many cases give shapes, axes, pads... as inputs, which gmc must know at compile time: import them as constants.
    // The data itself stays an argument.
    for (auto &[name, tensor] : given)
      if (!isFloatDataType(tensor.source.dataType) || tensor.source.dims.empty() ||
          (tensor.source.dims.size() == 1 && tensor.source.elements <= 16))
        options.inputValues[name] = tensor.source;
    diagnostics = Diagnostics();
    imported = importModel(context, *test.model, options, diagnostics);
  }
  if (!imported.module) {
    std::string reasons;
    for (const Problem &problem : diagnostics.getProblems())
      reasons += (reasons.empty() ? "" : "; ") + (problem.op.empty() ? "" : problem.op + ": ") + problem.reason;
    return {diagnostics.exitCode() == ExitInternal ? "error" : "unsupported", reasons};
  }
  auto forward = *imported.module->getOps<mlir::func::FuncOp>().begin();
  if (how.gradients)
    return checkGradients(forward, given, imported.weights, how.jit);
  auto program = JitProgram::compile(forward, how.jit);
  if (!program)
    return {"error", llvm::toString(program.takeError())};
  for (unsigned i = 0; i < forward.getNumArguments(); ++i) {
    llvm::StringRef name = forward.getArgAttrOfType<mlir::StringAttr>(i, "nn.name").getValue();
    std::vector<char> bytes;
    if (auto it = given.find(name); it != given.end()) {
      bytes = it->second.data;
    } else if (const Weight *weight = imported.weights.find(name)) {
      auto data = imported.weights.readAll(name, weight->source.dataType);
      if (!data)
        return {"error", llvm::toString(data.takeError())};
      bytes = std::move(*data);
    } else {
      return {"error", "no value for argument " + name.str()};
    }
    if (bytes.size() != (*program)->argumentBytes(i))
      return {"fail", "input " + name.str() + " has another size than the model's"};
    (*program)->setArgument(i, bytes.data(), bytes.size());
  }
  (*program)->run();
  if (forward.getNumResults() < expected.size())
    return {"fail", "fewer outputs than stored"};
  for (size_t i = 0; i < expected.size(); ++i) {
    std::vector<char> got((*program)->resultBytes(i));
    (*program)->getResult(i, got.data());
    std::string wrong = compare(llvm::cast<mlir::RankedTensorType>(forward.getResultTypes()[i]), got, expected[i]);
    if (!wrong.empty())
      return {"fail", "output " + std::to_string(i) + ": " + wrong};
  }
  return {"pass", ""};
}

Outcome runCase(Case &test, const Options &how) {
  auto model = OnnxModel::load(test.folder + "/model.onnx");
  if (!model)
    return {"unsupported", llvm::toString(model.takeError())};
  test.model = std::move(*model);
  test.opset = test.model->opset("");
  const onnx::GraphProto &graph = test.model->graph();
  test.op = graph.node_size() == 1 ? graph.node(0).op_type() : "(graph)";
  for (const onnx::NodeProto &node : graph.node())
    if (!node.domain().empty() && node.domain() != "ai.onnx")
      return {"outside", "domain " + node.domain()};
  if (test.opset < 7)
    return {"outside", "opset " + std::to_string(test.opset)};
  int sets = 0;
  for (;; ++sets) {
    std::string folder = test.folder + "/test_data_set_" + std::to_string(sets);
    if (!llvm::sys::fs::exists(folder))
      break;
    Outcome outcome = runDataSet(test, folder, how);
    if (outcome.status != "pass" || how.gradients)
      return outcome;
  }
  return sets ? Outcome{"pass", ""} : Outcome{"outside", "no data"};
}

} // namespace

int main(int argc, char **argv) {
  Options how;
  for (llvm::StringRef word : llvm::ArrayRef(argv, argc).drop_front()) {
    how.gradients |= word == "--gradients";
    how.jit.sim |= word == "--sim";
  }
  std::string line;
  while (std::getline(std::cin, line)) {
    Case test;
    test.folder = line;
    Outcome outcome = runCase(test, how);
    for (char &c : outcome.reason)
      if (c == '\n' || c == '\t')
        c = ' ';
    std::cout << outcome.status << '\t' << test.op << '\t' << test.opset << '\t' << outcome.reason << std::endl;
  }
}
