//===- FoldConformance.cpp - the public ONNX backend tests, evaluated by the importer --------------------===//
//
//   fold-conformance FOLDER...
//
// Every case's inputs become Constant nodes, so that the import has to fold the whole graph: import rule, shape
// inference and portable kernel of each operator are checked against the stored outputs, without a code generator.
// Prints one line a case
// (`pass`, `fail`, `unsupported`, `kept` where an op was not folded) and exits 1 when one fails.
//
//===-----------------------------------------------------------------------------------------------------===//

#include "compiler/Import/Importer.h"
#include "compiler/Import/KernelInterpreter.h"
#include "compiler/Import/OnnxNode.h"
#include "gmc/Abi.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/IR/MLIRContext.h"
#include "mlir/IR/Matchers.h"
#include "onnx/onnx_pb.h"
#include <cmath>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <map>
#include <unistd.h>

using namespace gmc;
namespace fs = std::filesystem;

namespace {

struct Outcome {
  std::string status, detail;
};

template <typename Message> bool parse(const fs::path &path, Message &message) {
  std::ifstream file(path, std::ios::binary);
  return file && message.ParseFromIstream(&file);
}

double elementAt(const char *data, int32_t type, size_t i) {
  double value;
  const char *at = data + i * dataTypeBytes(type);
  if (isFloatDataType(type)) {
    convertElements(at, type, reinterpret_cast<char *>(&value), GMC_DOUBLE, 1);
    return value;
  }
  bool isUnsigned = type == GMC_UINT8 || type == GMC_UINT16 || type == GMC_UINT32 || type == GMC_UINT64 ||
                    type == GMC_BOOL;
  int64_t bits = 0;
  unsigned size = dataTypeBytes(type);
  std::memcpy(&bits, at, size);
  if (!isUnsigned && size < 8)
    bits = static_cast<int64_t>(static_cast<uint64_t>(bits) << (64 - 8 * size)) >> (64 - 8 * size);
  return static_cast<double>(bits);
}

/// Compares as the backend tests do: relative 1e-3, absolute 1e-7; NaN equals NaN.
std::string compare(mlir::DenseElementsAttr got, const onnx::TensorProto &expected) {
  auto source = TensorSource::describe(expected, ".");
  if (!source)
    return llvm::toString(source.takeError());
  auto type = llvm::cast<mlir::RankedTensorType>(got.getType());
  if (type.getShape() != llvm::ArrayRef<int64_t>(source->dims))
    return "another shape";
  if (dataTypeOf(type.getElementType()) != source->dataType)
    return "another element type, " + dataTypeName(dataTypeOf(type.getElementType()));
  std::vector<char> want(source->bytes());
  if (llvm::Error error = source->read(0, source->elements, want.data()))
    return llvm::toString(std::move(error));
  HostTensor have = HostTensor::from(got);
  double tolerance = source->dataType == GMC_FLOAT16 || source->dataType == GMC_BFLOAT16 ? 1e-2 : 1e-3;
  for (int64_t i = 0; i < source->elements; ++i) {
    double x = elementAt(have.data.data(), source->dataType, i), y = elementAt(want.data(), source->dataType, i);
    if ((std::isnan(x) && std::isnan(y)) || x == y || std::fabs(x - y) <= 1e-7 + tolerance * std::fabs(y))
      continue;
    return "element " + std::to_string(i) + " is " + std::to_string(x) + ", expected " + std::to_string(y);
  }
  return "";
}

/// Older cases store bfloat16 as uint16 of the same bits.
void fixType(onnx::TensorProto &tensor, const onnx::ValueInfoProto &info) {
  if (tensor.data_type() == GMC_UINT16 && info.type().tensor_type().elem_type() == GMC_BFLOAT16)
    tensor.set_data_type(GMC_BFLOAT16);
}

onnx::TensorProto &addConstant(google::protobuf::RepeatedPtrField<onnx::NodeProto> &nodes, const std::string &name) {
  auto &node = *nodes.Add();
  node.set_op_type("Constant");
  node.add_output(name);
  auto &attribute = *node.add_attribute();
  attribute.set_name("value");
  attribute.set_type(onnx::AttributeProto::TENSOR);
  return *attribute.mutable_t();
}

Outcome runCase(const fs::path &folder, const fs::path &scratch, mlir::MLIRContext &context) {
  onnx::ModelProto model;
  if (!parse(folder / "model.onnx", model))
    return {"unsupported", "the model cannot be parsed"};
  fs::path data = folder / "test_data_set_0";
  auto &graph = *model.mutable_graph();
  llvm::StringMap<bool> initializers;
  for (const auto &initializer : graph.initializer())
    initializers[initializer.name()] = true;
  google::protobuf::RepeatedPtrField<onnx::ValueInfoProto> kept;
  google::protobuf::RepeatedPtrField<onnx::NodeProto> nodes;
  int index = 0;
  for (const auto &input : graph.input()) {
    fs::path file = data / ("input_" + std::to_string(index) + ".pb");
    if (initializers.contains(input.name()) || !fs::exists(file)) {
      *kept.Add() = input;
      continue;
    }
    ++index;
    if (!input.type().has_tensor_type())
      return {"unsupported", "input is no tensor"};
    auto &tensor = addConstant(nodes, input.name());
    if (!parse(file, tensor))
      return {"unsupported", "an input cannot be parsed"};
    fixType(tensor, input);
  }
  for (const auto &initializer : graph.initializer())
    addConstant(nodes, initializer.name()) = initializer;
  graph.clear_initializer();
  kept.Clear();
  for (auto &node : graph.node())
    *nodes.Add() = node;
  graph.mutable_node()->Swap(&nodes);
  graph.mutable_input()->Swap(&kept);
  std::ofstream(scratch, std::ios::binary) << model.SerializeAsString();

  auto loaded = OnnxModel::load(scratch.string());
  if (!loaded)
    return {"fail", llvm::toString(loaded.takeError())};
  Diagnostics diagnostics;
  ImportedModel imported = importModel(context, **loaded, {}, diagnostics);
  if (!imported.module) {
    std::string reasons;
    for (const Problem &problem : diagnostics.getProblems())
      reasons += (reasons.empty() ? "" : "; ") + problem.op + ": " + problem.reason;
    return {diagnostics.exitCode() == ExitUnsupported ? "unsupported" : "fail", reasons};
  }
  auto function = imported.module->lookupSymbol<mlir::func::FuncOp>("forward");
  mlir::Operation *terminator = function.getBody().front().getTerminator();
  bool isKept = false;
  for (auto [i, value] : llvm::enumerate(terminator->getOperands())) {
    onnx::TensorProto expected;
    if (!parse(data / ("output_" + std::to_string(i) + ".pb"), expected))
      return {"unsupported", "an output cannot be parsed"};
    fixType(expected, graph.output(static_cast<int>(i)));
    mlir::DenseElementsAttr got;
    if (!mlir::matchPattern(value, mlir::m_Constant(&got))) {
      isKept = true;
      continue;
    }
    std::string problem = compare(got, expected);
    if (!problem.empty())
      return {"fail", "output " + std::to_string(i) + ": " + problem};
  }
  if (!isKept)
    return {"pass", ""};
  std::string ops;
  for (mlir::Operation &op : function.getBody().front().without_terminator())
    if (!op.hasTrait<mlir::OpTrait::ConstantLike>())
      ops += (ops.empty() ? "" : " ") + op.getName().getStringRef().str();
  return {"kept", ops};
}

} // namespace

int main(int argc, char **argv) {
  mlir::DialectRegistry registry;
  registerImportDialects(registry);
  mlir::MLIRContext context(registry, mlir::MLIRContext::Threading::DISABLED);
  fs::path scratch = fs::temp_directory_path() / ("fold-conformance-" + std::to_string(getpid()) + ".onnx");
  std::map<std::string, int> counts;
  for (int i = 1; i < argc; ++i) {
    std::vector<fs::path> cases;
    for (const auto &entry : fs::directory_iterator(argv[i]))
      if (fs::exists(entry.path() / "model.onnx"))
        cases.push_back(entry.path());
    std::sort(cases.begin(), cases.end());
    for (const fs::path &folder : cases) {
      std::cout << folder.filename().string() << "\t" << std::flush; // a crash is then attributed
      Outcome outcome = runCase(folder, scratch, context);
      ++counts[outcome.status];
      std::cout << outcome.status << "\t" << outcome.detail << "\n";
    }
  }
  std::error_code ignored;
  fs::remove(scratch, ignored);
  for (const auto &[status, count] : counts)
    std::cout << status << ": " << count << "\n";
  return counts["fail"] ? 1 : 0;
}
