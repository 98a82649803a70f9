//===- Grad.cpp - gmc grad: one forward and backward ----------------------------------------------------===//

#include "compiler/Import/OnnxNode.h"
#include "gmc/Abi.h"
#include "passes/Precision/Precision.h"
#include "runtime/train/Safetensors.h"
#include "tools/gmc/Execution.h"

namespace gmc {

namespace {
struct GradOptions {
  ExecutionOptions execution;
  TrainingOptions training;
  std::string label, output, precision = "fp32";
  std::vector<std::string> cotangents;
};
} // namespace

/// Index of the output that `name` means: a name, or else a number.
static std::optional<unsigned> outputIndex(mlir::func::FuncOp forward, llvm::StringRef name) {
  for (unsigned i = 0; i < forward.getNumResults(); ++i)
    if (resultName(forward, i) == name)
      return i;
  unsigned index;
  if (!name.getAsInteger(10, index) && index < forward.getNumResults())
    return index;
  return std::nullopt;
}

/// @micro for --cotangent; puts the tensors among the model's under the names that setInputs looks for.
static llvm::FailureOr<mlir::func::FuncOp> withCotangents(ExecutableModel &model, const TrainingOptions &training,
                                                          std::map<std::string, HostTensor> cotangents) {
  mlir::func::FuncOp forward = model.forward();
  llvm::SmallVector<unsigned> outputs;
  bool good = true;
  for (auto &[name, tensor] : cotangents) {
    auto index = outputIndex(forward, name);
    if (!index || llvm::is_contained(outputs, *index)) {
      usageError(index ? "--cotangent names output '" + name + "' twice"
                       : "--cotangent: the model has no output '" + name + "'");
      good = false;
      continue;
    }
    outputs.push_back(*index);
    model.tensors["cotangent of " + resultName(forward, *index).str()] = std::move(tensor);
  }
  if (!good)
    return llvm::failure();
  return buildCotangentMicro(forward, outputs, training);
}

static llvm::Error writeGradients(const std::string &path, const FunctionRunner &runner, double count) {
  std::vector<rt::SafetensorsEntry> entries;
  std::vector<unsigned> results;
  for (auto [i, port] : llvm::enumerate(runner.results()))
    if (port.role == "gradient") {
      rt::SafetensorsEntry entry;
      entry.name = port.name;
      entry.dtype = port.dataType;
      entry.shape.assign(port.dims.begin(), port.dims.end());
      entries.push_back(std::move(entry));
      results.push_back(i);
    }
  try {
    rt::writeSafetensors(path, entries, {}, [&](size_t k, const auto &sink) {
      HostTensor gradient = runner.result(results[k]);
      auto divide = [&](auto *values) {
        for (int64_t i = 0, e = gradient.elements(); i < e; ++i)
          values[i] /= count;
      };
      if (gradient.dataType == GMC_DOUBLE) {
        divide(reinterpret_cast<double *>(gradient.data.data()));
      } else if (gradient.dataType == GMC_FLOAT) {
        divide(reinterpret_cast<float *>(gradient.data.data()));
      } else {
        HostTensor wide = llvm::cantFail(gradient.as(GMC_DOUBLE));
        for (int64_t i = 0, e = wide.elements(); i < e; ++i)
          reinterpret_cast<double *>(wide.data.data())[i] /= count;
        gradient = llvm::cantFail(wide.as(gradient.dataType));
      }
      sink(gradient.data.data(), gradient.data.size());
    });
  } catch (const std::exception &error) {
    return inputError(error.what());
  }
  return llvm::Error::success();
}

static int runGrad(GradOptions &options) {
  auto tensors = readNamedTensors(options.execution.inputs, "--input");
  if (!tensors)
    return usageError(tensors.takeError());
  auto cotangents = readNamedTensors(options.cotangents, "--cotangent");
  if (!cotangents)
    return usageError(cotangents.takeError());
  if (!options.label.empty() && !cotangents->empty())
    return usageError("--label and --cotangent exclude each other");
  std::optional<HostTensor> label;
  if (!options.label.empty()) {
    auto read = readTensorFile(options.label);
    if (!read)
      return usageError(read.takeError());
    label = std::move(*read);
  }
  int exitCode = ExitOk;
  if (!cotangents->empty())
    options.execution.allOutputs = true;
  auto model = ExecutableModel::load(options.execution, std::move(*tensors), {}, exitCode);
  if (!model)
    return exitCode;
  TrainingOptions &training = options.training;
  training.loss = options.execution.model.loss;
  llvm::FailureOr<mlir::func::FuncOp> micro = llvm::failure();
  TrainingNotes notes;
  if (!cotangents->empty()) {
    micro = withCotangents(*model, training, std::move(*cotangents));
  } else {
    if (label) {
      mlir::Type element = elementTypeFor(model->context.get(), label->dataType, options.execution.doublePrecision);
      if (!element)
        return usageError("labels of type " + dataTypeName(label->dataType) + " are not supported");
      training.labelType = mlir::RankedTensorType::get(label->dims, element);
    }
    micro = buildMicro(model->forward(), training, notes);
  }
  if (failed(micro) || failed(applyPrecision(*micro, *parsePrecision(options.precision))))
    return model->passExitCode;
  for (const std::string &note : notes.notes)
    llvm::errs() << "gmc: note: " << note << "\n";
  if (label) {
    if (notes.labelName.empty())
      return usageError("the loss reads no label, but --label is given");
    model->tensors[notes.labelName] = std::move(*label);
  }
  auto runner = model->compile(*micro, exitCode);
  if (!runner)
    return exitCode;
  if (auto error = model->setInputs(*runner))
    return usageError(std::move(error));
  runner->run();
  double sum = runner->result(*runner->findResult("loss_sum")).at(0);
  double count = runner->result(*runner->findResult("valid_count")).at(0);
  if (auto error = writeGradients(options.output, *runner, count))
    return usageError(std::move(error));
  llvm::outs() << "{\"loss\":" << jsonNumber(sum / count) << ",\"loss_sum\":" << jsonNumber(sum)
               << ",\"count\":" << jsonNumber(count) << "}\n";
  return ExitOk;
}

void registerGrad(CLI::App &app, int &exitCode) {
  auto options = std::make_shared<GradOptions>();
  CLI::App *command = app.add_subcommand("grad", "One forward and backward pass; writes the gradients");
  addExecutionOptions(*command, options->execution);
  addModeOptions(*command, options->training);
  command
      ->add_option("--precision", options->precision,
                   "fp32 (default), or by the policy of bf16 or fp16, without a loss scale")
      ->check(CLI::IsMember({"fp32", "bf16", "fp16"}))
      ->multi_option_policy(CLI::MultiOptionPolicy::TakeLast);
  command->add_option("--label", options->label, "labels of the attached loss, .npy or .pb");
  addFileOption(*command, "--cotangent", options->cotangents, "loss = sum of <output, FILE>, by output name or index");
  command->add_flag("--input-grads", options->training.inputGradients, "gradients of float inputs as well");
  command->add_option("-o", options->output, "safetensors file for the gradients")->required();
  command->callback([options, &exitCode] { exitCode = runGrad(*options); });
}

} // namespace gmc
