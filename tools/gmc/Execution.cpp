//===- Execution.cpp - what run, grad and gradcheck share -----------------------------------------------===//

#include "tools/gmc/Execution.h"
#include "gmc/Abi.h"
#include "passes/Fusion/FormKernels.h"
#include <cmath>

namespace gmc {

void addFileOption(CLI::App &app, const std::string &name, std::vector<std::string> &to, const std::string &help) {
  app.add_option(name, to, help)
      ->type_name("NAME=FILE")
      ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll)
      ->expected(1)
      ->allow_extra_args(false);
}

void addExecutionOptions(CLI::App &app, ExecutionOptions &options) {
  addModelOptions(app, options.model);
  addFileOption(app, "--input", options.inputs, "a graph input from a .npy or TensorProto .pb file, repeatable");
  app.add_option("--threads", options.threads, "threads (default: this machine's cores)")->check(CLI::PositiveNumber);
  app.add_flag("--double", options.doublePrecision, "compute float32 tensors in float64");
  app.add_option("--target", options.target, "host (default), or sim: the GPU's kernels on the CPU")
      ->check(CLI::IsMember({"host", "sim"}));
}

void addModeOptions(CLI::App &app, TrainingOptions &options) {
  app.add_option_function<std::string>(
         "--bn", [&options](const std::string &mode) { options.bnTrain = mode == "train"; },
         "BatchNormalization: train (batch statistics, default) or frozen (running statistics)")
      ->check(CLI::IsMember({"train", "frozen"}));
  app.add_option_function<std::string>(
         "--dropout", [&options](const std::string &mode) { options.dropout = mode == "on"; }, "on (default) or off")
      ->check(CLI::IsMember({"on", "off"}));
}

llvm::Expected<std::map<std::string, HostTensor>> readNamedTensors(llvm::ArrayRef<std::string> pairs,
                                                                   llvm::StringRef option) {
  std::map<std::string, HostTensor> tensors;
  std::string problems;
  auto problem = [&](const llvm::Twine &text) { problems += (problems.empty() ? "" : "\n") + text.str(); };
  for (llvm::StringRef pair : pairs) {
    auto [name, file] = pair.split('=');
    if (name.empty() || file.empty()) {
      problem(option + " takes NAME=FILE, not '" + pair + "'");
      continue;
    }
    auto tensor = readTensorFile(file);
    if (!tensor)
      problem(option + "=" + name + ": " + llvm::toString(tensor.takeError()));
    else if (!tensors.emplace(name.str(), std::move(*tensor)).second)
      problem(option + "=" + name + " is given twice");
  }
  if (!problems.empty())
    return inputError(problems);
  return tensors;
}

std::string jsonNumber(double value) {
  if (!std::isfinite(value))
    return "null";
  char text[40];
  std::snprintf(text, sizeof(text), "%.17g", value);
  return text;
}

std::unique_ptr<ExecutableModel> ExecutableModel::load(const ExecutionOptions &options,
                                                       std::map<std::string, HostTensor> tensors,
                                                       ImportOptions adjust, int &exitCode) {
  std::unique_ptr<ExecutableModel> self(new ExecutableModel(options));
  exitCode = ExitUsage;
  self->model = loadModel(options.model.model);
  if (!self->model)
    return nullptr;
  auto import = toImportOptions(options.model, *self->model);
  if (!import) {
    usageError(import.takeError());
    return nullptr;
  }
  std::string known;
  for (const Port &port : self->model->inputs())
    known += (known.empty() ? "'" : ", '") + port.name + "'";
  bool unknown = false;
  for (auto &[name, tensor] : tensors) {
    if (self->model->findInput(name)) {
      import->inputShapes[name] = tensor.dims;
    } else {
      usageError("the model has no input '" + name + "'; it has " + known);
      unknown = true;
    }
  }
  if (unknown)
    return nullptr;
  import->batch = options.model.batch ? options.model.batch : adjust.batch;
  import->defaultDim = adjust.defaultDim;
  if (options.allOutputs)
    import->lossOutputs.clear();
  import->promoteToF64 = options.doublePrecision;

  mlir::DialectRegistry registry;
  registerImportDialects(registry);
  self->context = std::make_unique<mlir::MLIRContext>(registry, mlir::MLIRContext::Threading::DISABLED);
  Diagnostics diagnostics;
  self->imported = importModel(*self->context, *self->model, *import, diagnostics);
  diagnostics.print(llvm::errs(), options.model.model);
  if (!self->imported.module) {
    exitCode = diagnostics.exitCode();
    std::string missing;
    for (const Port &port : self->model->inputs())
      if (!tensors.count(port.name))
        missing += (missing.empty() ? "'" : ", '") + port.name + "'";
    if (!missing.empty() && exitCode == ExitUsage)
      usageError("no tensor is given for " + missing + "; pass --input NAME=FILE for each");
    if (exitCode == ExitInternal)
      internalError("import of " + options.model.model + " failed");
    return nullptr;
  }
  self->tensors = std::move(tensors);
  ExecutableModel *raw = self.get();
  self->handler = std::make_unique<mlir::ScopedDiagnosticHandler>(
      self->context.get(), [raw](mlir::Diagnostic &diagnostic) {
        if (diagnostic.getSeverity() == mlir::DiagnosticSeverity::Error) {
          llvm::errs() << "gmc: error: " << raw->options.model.model << ": ";
          auto names = nodeNames(diagnostic.getLocation());
          if (!names.empty() && diagnostic.str().find("has no gradient") != std::string::npos) {
            llvm::errs() << "node '" << names.front() << "': ";
            raw->passExitCode = ExitUnsupported;
          }
          llvm::errs() << diagnostic.str() << "\n";
        }
        return mlir::success();
      });
  exitCode = ExitOk;
  return self;
}

std::unique_ptr<FunctionRunner> ExecutableModel::compile(mlir::func::FuncOp function, int &exitCode) {
  JitOptions jit;
  jit.threads = options.threads;
  jit.sim = options.target == "sim";
  auto runner = FunctionRunner::create(function, jit);
  if (!runner) {
    exitCode = internalError("code generation for " + options.model.model + " failed: " +
                             llvm::toString(runner.takeError()));
    return nullptr;
  }
  if (auto error = (*runner)->setWeights(imported.weights)) {
    exitCode = usageError(std::move(error));
    return nullptr;
  }
  return std::move(*runner);
}

llvm::Error ExecutableModel::setInputs(FunctionRunner &runner) {
  std::string problems;
  auto problem = [&](const std::string &text) { problems += (problems.empty() ? "" : "\n") + text; };
  int64_t batch = 1;
  for (auto [i, port] : llvm::enumerate(runner.arguments())) {
    if (port.role == "input" && !port.dims.empty() && batch == 1)
      batch = port.dims[0];
    if (port.role != "input" && port.role != "label" && port.role != "cotangent")
      continue;
    auto it = tensors.find(port.role == "cotangent" ? "cotangent of " + port.name : port.name);
    if (it == tensors.end())
      problem("no tensor is given for " + port.role + " '" + port.name + "' " +
              HostTensor{port.dataType, port.dims, {}}.describe() +
              (port.role == "label"
                   ? ": pass --label=FILE"
                   : (port.role == "input" ? ": pass --input " : ": pass --cotangent ") + port.name + "=FILE"));
    else if (auto error = runner.set(i, it->second))
      problem(llvm::toString(std::move(error)));
  }
  if (!problems.empty())
    return inputError(problems);
  if (auto valid = runner.findArgument("valid_samples"))
    runner.put(*valid, 0, static_cast<double>(batch));
  if (auto rng = runner.findArgument("rng"))
    runner.fill(*rng, {0, 0, 0, 0});
  return llvm::Error::success();
}

} // namespace gmc
