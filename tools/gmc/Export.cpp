//===- Export.cpp - gmc export --------------------------------------------------------------------------===//
//
// Puts trained weights back into the ONNX file they came from. A graph exported in training mode becomes one for
// inference: BatchNormalization reads its running statistics, Dropout passes through.
//
//===-----------------------------------------------------------------------------------------------------===//

#include "gmc/Error.h"
#include "llvm/ADT/StringSet.h"
#include "llvm/Support/Path.h"
#include "onnx/onnx_pb.h"
#include "runtime/train/Safetensors.h"
#include "tools/gmc/Options.h"

namespace gmc {

/// A protobuf message cannot be larger than 2 GB; beyond this much data, weights go beside it.
static constexpr uint64_t maxInlineBytes = 1900ull << 20;

namespace {
struct ExportOptions {
  std::string model, weights, output;
};

class Exporter {
public:
  Exporter(const OnnxModel &model, const rt::SafetensorsReader &weights, std::string output)
      : model(model), weights(weights), output(std::move(output)), result(model.proto()) {}

  /// Empty when the weights fit the model; else everything that does not.
  std::string check() {
    std::string problems;
    auto add = [&](const std::string &text) { problems += "\n  " + text; };
    auto hash = weights.metadata().find("gmc.model");
    if (hash != weights.metadata().end() && hash->second != model.hashText())
      add("the weights were trained from another model (hash " + hash->second + ", this model has " +
          model.hashText() + ")");
    size_t replaced = 0;
    for (const TensorSource &source : model.initializers()) {
      const rt::SafetensorsEntry *entry = weights.find(source.name);
      if (!entry) {
        if (source.kind == TensorSource::Missing)
          add("'" + source.name + "' is in neither file: " + source.missingReason);
        continue;
      }
      ++replaced;
      if (static_cast<int32_t>(entry->dtype) != source.dataType)
        add("'" + source.name + "' is " + dataTypeName(entry->dtype) + ", the model wants " +
            dataTypeName(source.dataType));
      if (llvm::ArrayRef<int64_t>(entry->shape) != llvm::ArrayRef<int64_t>(source.dims))
        add("'" + source.name + "' has another shape than in the model");
    }
    if (!replaced)
      add("no tensor has the name of an initializer of the model");
    return problems;
  }

  llvm::Error write() {
    uint64_t total = 0;
    for (const TensorSource &source : model.initializers())
      total += source.bytes();
    useForInference();
    for (const auto &[key, value] : weights.metadata()) {
      if (!llvm::StringRef(key).starts_with("gmc."))
        continue;
      auto *property = result.add_metadata_props();
      property->set_key(key);
      property->set_value(value);
    }
    if (total > maxInlineBytes)
      return writeExternal();
    for (auto &tensor : *result.mutable_graph()->mutable_initializer()) {
      const TensorSource &source = *model.findInitializer(tensor.name());
      std::string data(source.bytes(), '\0');
      if (llvm::Error error = read(source, data.data()))
        return error;
      clearData(tensor);
      tensor.set_raw_data(std::move(data));
    }
    return writeModel();
  }

private:
  static void clearData(onnx::TensorProto &tensor) {
    tensor.clear_raw_data();
    tensor.clear_float_data();
    tensor.clear_double_data();
    tensor.clear_int32_data();
    tensor.clear_int64_data();
    tensor.clear_uint64_data();
    tensor.clear_external_data();
    tensor.clear_data_location();
  }

  llvm::Error read(const TensorSource &source, char *to) {
    if (const rt::SafetensorsEntry *entry = weights.find(source.name)) {
      weights.read(*entry, 0, to, entry->bytes);
      return llvm::Error::success();
    }
    return source.read(0, source.elements, to);
  }

  llvm::Error writeModel() {
    return writeFileAtomically(output, [&](llvm::raw_ostream &os) -> llvm::Error {
      std::string bytes;
      if (!result.SerializeToString(&bytes))
        return inputError("the model is larger than 2 GB without its weights");
      os << bytes;
      return llvm::Error::success();
    });
  }

  /// Weights in OUT.data beside OUT, each at a multiple of 64 bytes.
  llvm::Error writeExternal() {
    std::string dataPath = output + ".data", location = llvm::sys::path::filename(dataPath).str();
    llvm::Error error = writeFileAtomically(dataPath, [&](llvm::raw_ostream &os) -> llvm::Error {
      uint64_t offset = 0;
      for (auto &tensor : *result.mutable_graph()->mutable_initializer()) {
        const TensorSource &source = *model.findInitializer(tensor.name());
        uint64_t padding = (64 - offset % 64) % 64;
        os.write_zeros(static_cast<unsigned>(padding));
        offset += padding;
        std::vector<char> data(source.bytes());
        if (llvm::Error failed = read(source, data.data()))
          return failed;
        os.write(data.data(), data.size());
        clearData(tensor);
        tensor.set_data_location(onnx::TensorProto_DataLocation_EXTERNAL);
        auto set = [&](const char *key, const std::string &value) {
          auto *entry = tensor.add_external_data();
          entry->set_key(key);
          entry->set_value(value);
        };
        set("location", location);
        set("offset", std::to_string(offset));
        set("length", std::to_string(data.size()));
        offset += data.size();
      }
      return llvm::Error::success();
    });
    return error ? std::move(error) : writeModel();
  }

  void useForInference() {
    llvm::StringSet<> read;
    auto &graph = *result.mutable_graph();
    for (const auto &node : graph.node())
      for (const auto &input : node.input())
        read.insert(input);
    for (const auto &info : graph.output())
      read.insert(info.name());
    for (auto &node : *graph.mutable_node()) {
      bool extraRead = false;
      for (int i = 1; i < node.output_size(); ++i)
        extraRead |= read.contains(node.output(i));
      if (extraRead)
        continue;
      if (node.op_type() == "BatchNormalization") {
        for (auto &attribute : *node.mutable_attribute())
          if (attribute.name() == "training_mode" && attribute.i()) {
            attribute.set_i(0);
            while (node.output_size() > 1)
              node.mutable_output()->RemoveLast();
          }
      } else if (node.op_type() == "Dropout" && node.input_size() > 2) {
        node.mutable_input()->RemoveLast();
      }
    }
  }

  const OnnxModel &model;
  const rt::SafetensorsReader &weights;
  std::string output;
  onnx::ModelProto result;
};
} // namespace

static int runExport(const ExportOptions &options) {
  auto model = loadModel(options.model);
  if (!model)
    return ExitUsage;
  try {
    rt::SafetensorsReader weights(options.weights);
    Exporter exporter(*model, weights, options.output);
    std::string problems = exporter.check();
    if (!problems.empty())
      return usageError("'" + options.weights + "' does not fit '" + options.model + "':" + problems);
    if (llvm::Error error = exporter.write())
      return usageError(std::move(error));
  } catch (const rt::Error &error) {
    return usageError(error.what());
  }
  return ExitOk;
}

void registerExport(CLI::App &app, int &exitCode) {
  auto options = std::make_shared<ExportOptions>();
  CLI::App *command = app.add_subcommand("export", "Write trained weights into a copy of the ONNX file");
  command->add_option("MODEL", options->model, "ONNX file")->required();
  command->add_option("WEIGHTS", options->weights, "safetensors file with weights under their initializer names")
      ->required();
  command->add_option("-o", options->output, "ONNX file to write")->required();
  command->callback([options, &exitCode] { exitCode = runExport(*options); });
}

} // namespace gmc
