//===- Execution.h - what run, grad and gradcheck share ---------------------------------------*- C++ -*-===//
#ifndef GMC_TOOLS_GMC_EXECUTION_H
#define GMC_TOOLS_GMC_EXECUTION_H

#include "compiler/Import/TensorFile.h"
#include "compiler/Pipeline/FunctionRunner.h"
#include "mlir/IR/Diagnostics.h"
#include "mlir/IR/MLIRContext.h"
#include "passes/Autodiff/Training.h"
#include "tools/gmc/Options.h"
#include <map>

namespace gmc {

struct ExecutionOptions {
  ModelOptions model;
  std::vector<std::string> inputs; ///< NAME=FILE
  int threads = 0;                 ///< 0: this machine's cores
  bool doublePrecision = false;
  std::string target = "host";
  bool allOutputs = false; ///< what influences any output is trainable, not only what influences the loss
};

/// Adds MODEL and its options, --input, --threads and --double.
void addExecutionOptions(CLI::App &app, ExecutionOptions &options);
/// Adds --bn and --dropout.
void addModeOptions(CLI::App &app, TrainingOptions &options);
/// A repeatable option of NAME=FILE.
void addFileOption(CLI::App &app, const std::string &name, std::vector<std::string> &to, const std::string &help);

/// Reads NAME=FILE pairs. Error: malformed, unreadable, a name twice; all of them.
llvm::Expected<std::map<std::string, HostTensor>> readNamedTensors(llvm::ArrayRef<std::string> pairs,
                                                                   llvm::StringRef option);

/// A model imported for given inputs, and the diagnostics of passes over it as lines on stderr.
class ExecutableModel {
public:
  /// Loads and imports; `tensors` bind every symbolic dimension. On failure prints why and sets exitCode.
  static std::unique_ptr<ExecutableModel> load(const ExecutionOptions &options,
                                               std::map<std::string, HostTensor> tensors, ImportOptions adjust,
                                               int &exitCode);

  mlir::func::FuncOp forward() { return imported.module->lookupSymbol<mlir::func::FuncOp>("forward"); }
  /// Compiles a function of the module and sets its weights; null after printing what is wrong and setting exitCode.
  std::unique_ptr<FunctionRunner> compile(mlir::func::FuncOp function, int &exitCode);
  /// Sets arguments of roles input and label from the given tensors, and valid_samples and rng to all and zero. Lists
  /// all that are missing.
  llvm::Error setInputs(FunctionRunner &runner);

  const ExecutionOptions &options;
  std::unique_ptr<OnnxModel> model; ///< the weights of `imported` refer to it
  std::unique_ptr<mlir::MLIRContext> context;
  ImportedModel imported;
  std::map<std::string, HostTensor> tensors;
  int passExitCode = ExitUsage; ///< what a pass that failed amounts to: ExitUnsupported when an op has no gradient

private:
  ExecutableModel(const ExecutionOptions &options) : options(options) {}
  std::unique_ptr<mlir::ScopedDiagnosticHandler> handler;
};

/// Number in full precision, as JSON.
std::string jsonNumber(double value);

} // namespace gmc

#endif
