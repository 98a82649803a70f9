//===- Phases.h - the named phases of a compilation -------------------------------------------*- C++ -*-===//
#ifndef GMC_COMPILER_PIPELINE_PHASES_H
#define GMC_COMPILER_PIPELINE_PHASES_H

#include "compiler/Import/Importer.h"
#include "compiler/Pipeline/StepFunctions.h"
#include "passes/Autodiff/Training.h"
#include <chrono>

namespace gmc {

struct CompileRequest;
struct BatchSplit;

/// The phases that this build has, in the order in which they run: the words of --compile-to.
llvm::ArrayRef<llvm::StringLiteral> phaseNames();

/// Seconds, and on request IR, of the phases of one compilation.
class PhaseLog {
public:
  struct Record {
    std::string phase;
    double seconds = 0;
    std::string ir; ///< as printPhase prints it; empty when it is not kept
  };

  explicit PhaseLog(bool keepIr = false) : keepIr(keepIr) {}
  bool keepsIr() const { return keepIr; }
  const std::vector<Record> &records() const { return list; }

  /// From here on the time is that of `phase`.
  void start(llvm::StringRef phase);
  void stop();
  /// The running phase leaves `module` behind: stops, keeps the IR, and runs the phase's verifier.
  llvm::LogicalResult finish(mlir::ModuleOp module);
  /// Adds the times of `other`, another candidate's; with `ir`, what it kept replaces what this one has.
  void merge(const PhaseLog &other, bool ir);

private:
  Record &record(llvm::StringRef phase);

  bool keepIr;
  std::vector<Record> list;
  std::string running;
  std::chrono::steady_clock::time_point since;
};

/// `module` as --compile-to and --dump-phases-to write it: ONNX nodes as locations, long constants left out.
void printPhase(llvm::raw_ostream &os, mlir::ModuleOp module);

/// Runs `body` and turns what MLIR reports meanwhile into problems of `kind`; false when it failed.
bool collectProblems(mlir::MLIRContext &context, Diagnostics &diagnostics, ProblemKind kind,
                     llvm::function_ref<bool()> body);

/// train: @forward becomes, beside itself, @micro (loss and gradients of one micro-batch), @update and @eval.
llvm::LogicalResult runTrainPhase(mlir::ModuleOp module, const TrainingOptions &options, TrainingNotes &notes);

/// fuse: @micro, @update and @eval become the functions of one optimizer step, each a list of kernel calls.
mlir::FailureOr<StepFunctions> runFusePhase(mlir::ModuleOp module, int64_t accumulation);

/// A model on its way to a plan.
struct PhasedModel {
  mlir::OwningOpRef<mlir::ModuleOp> module;
  WeightStore weights;
  TrainingNotes notes;
  StepFunctions step; ///< from the fuse phase on
};

/// The phases that work on tensors, for one split of the batch: import to `last` (fuse at most), each followed by its
/// verifier. Nullopt after problems were added to `diagnostics`.
std::optional<PhasedModel> runTensorPhases(mlir::MLIRContext &context, const OnnxModel &model,
                                           const CompileRequest &request, BatchSplit split, llvm::StringRef last,
                                           PhaseLog &log, Diagnostics &diagnostics);

} // namespace gmc

#endif
