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
// With --device-cases=FOLDER and --archs=sm_XX,..., nothing runs: the cases and, in f32, their derivatives are written
// as one program each, for test/gpu/OpCases.cpp.
//
//===-----------------------------------------------------------------------------------------------------===//

#include "test/conformance/Case.h"
#include "test/conformance/DeviceCases.h"
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
  mlir::MLIRContext *context = nullptr; ///< shared by all cases, for `device`
  DeviceCases *device = nullptr;
};

std::unique_ptr<mlir::MLIRContext> newContext() {
  mlir::DialectRegistry registry;
  registerImportDialects(registry);
  return std::make_unique<mlir::MLIRContext>(registry, mlir::MLIRContext::Threading::DISABLED);
}

using Contents = std::vector<std::vector<char>>;

/// What each argument holds, in its own type.
llvm::Expected<Contents> contentsOf(mlir::func::FuncOp forward, const llvm::StringMap<Stored> &given,
                                    const WeightStore &weights) {
  Contents all;
  for (unsigned i = 0; i < forward.getNumArguments(); ++i) {
    llvm::StringRef name = forward.getArgAttrOfType<mlir::StringAttr>(i, "nn.name").getValue();
    if (auto it = given.find(name); it != given.end()) {
      all.push_back(it->second.data);
    } else if (const Weight *weight = weights.find(name)) {
      auto data = weights.readAll(name, weight->source.dataType);
      if (!data)
        return data.takeError();
      all.push_back(std::move(*data));
    } else {
      return llvm::createStringError("no value for argument " + name.str());
    }
  }
  return all;
}

/// Adds a case and its derivative with made-up cotangents to `device`.
llvm::Error addDeviceCase(DeviceCases &device, llvm::StringRef name, mlir::func::FuncOp forward, Contents contents) {
  if (auto error = device.add(name, forward, contents))
    return error;
  llvm::SmallVector<unsigned> inputs, outputs;
  findDifferentiable(forward, mlir::Float32Type::get(forward.getContext()), inputs, outputs);
  if (inputs.empty() || outputs.empty())
    return llvm::Error::success();
  mlir::ScopedDiagnosticHandler silent(forward.getContext(), [](mlir::Diagnostic &) { return mlir::success(); });
  auto backward = differentiate(forward, inputs, outputs);
  if (failed(backward))
    return llvm::Error::success();
  uint32_t state = 1;
  for (unsigned k : outputs) {
    auto &cotangent = contents.emplace_back();
    for (int64_t i = llvm::cast<mlir::ShapedType>(forward.getResultTypes()[k]).getNumElements(); i; --i) {
      state = state * 1664525u + 1013904223u;
      float value = static_cast<float>(state >> 8) / (1 << 23) - 1;
      cotangent.insert(cotangent.end(), reinterpret_cast<char *>(&value), reinterpret_cast<char *>(&value + 1));
    }
  }
  return device.add((name + "/gradient").str(), *backward, contents);
}

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

  std::unique_ptr<mlir::MLIRContext> own = how.context ? nullptr : newContext();
  mlir::MLIRContext &context = own ? *own : *how.context;
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
  auto contents = contentsOf(forward, given, imported.weights);
  if (!contents)
    return {"error", llvm::toString(contents.takeError())};
  if (how.device) {
    auto error = addDeviceCase(*how.device, test.name(), forward, std::move(*contents));
    return error ? Outcome{"error", llvm::toString(std::move(error))} : Outcome{"pass", ""};
  }
  auto program = JitProgram::compile(forward, how.jit);
  if (!program)
    return {"error", llvm::toString(program.takeError())};
  for (auto [i, bytes] : llvm::enumerate(*contents)) {
    if (bytes.size() != (*program)->argumentBytes(i))
      return {"fail", "argument " + std::to_string(i) + " has another size than the model's"};
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
    if (outcome.status != "pass" || how.gradients || how.device)
      return outcome;
  }
  return sets ? Outcome{"pass", ""} : Outcome{"outside", "no data"};
}

} // namespace

int main(int argc, char **argv) {
  Options how;
  std::string folder;
  std::vector<std::string> archs;
  for (llvm::StringRef word : llvm::ArrayRef(argv, argc).drop_front()) {
    how.gradients |= word == "--gradients";
    how.jit.sim |= word == "--sim";
    if (word.consume_front("--device-cases="))
      folder = word.str();
    if (word.consume_front("--archs="))
      for (llvm::StringRef arch : llvm::split(word, ','))
        archs.push_back(arch.str());
  }
  std::unique_ptr<mlir::MLIRContext> context;
  std::optional<DeviceCases> device;
  if (!folder.empty()) {
    context = newContext();
    how.context = context.get();
    how.device = &device.emplace(*context);
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
  if (!device)
    return 0;
  constexpr uint64_t reserve = 1'500'000'000; // of a context whose size nobody knows yet
  if (auto error = device->write(folder, archs, reserve)) {
    std::cerr << llvm::toString(std::move(error)) << std::endl;
    return 1;
  }
}
