//===- Compiler.h - from an ONNX file and a budget to a plan and a trainer --------------------*- C++ -*-===//
#ifndef GMC_COMPILER_PIPELINE_COMPILER_H
#define GMC_COMPILER_PIPELINE_COMPILER_H

#include "compiler/Codegen/ModelImage.h"
#include "compiler/Import/Importer.h"
#include "compiler/Pipeline/Phases.h"
#include "compiler/Pipeline/PlanBuilder.h"
#include "passes/Autodiff/Training.h"
#include "passes/Precision/Precision.h"
#include "llvm/Support/MemoryBuffer.h"

namespace gmc {

struct CompileRequest {
  ImportOptions import; ///< its batch is set for each candidate
  TrainingOptions training;
  Precision precision = Precision::Fp32;
  std::string precisionNote; ///< what --precision=auto chose, and why
  int64_t batch = 32;
  std::optional<int64_t> microBatch, accumulation; ///< unset: auto
  planning::PlanTarget target = planning::PlanTarget::Host;
  std::string arch = "native";    ///< cuda, sim: the one whose profile the plan is made with
  std::vector<std::string> archs; ///< cuda: those that code is generated for
  int threads = 1;
  std::optional<int64_t> budgetBytes;
  std::optional<int64_t> reserveBytes; ///< instead of the computed one
  bool pinnedNumerics = false;
  std::optional<HostLibrary::Use> libraries = HostLibrary::Use::Faster; ///< host: what oneDNN is used for
  bool explain = false; ///< report what other options would bring, even where that takes planning once more
  PlanBuilderOptions::Remat remat = PlanBuilderOptions::Remat::Auto;
  int effort = 2;
  int workersMax = 2;
  int64_t shuffleBufferMax = 65536;
};

/// The outcome of planning. `plan.fits` is false when nothing fits the budget: then floor, bound, peak and levers say
/// what would.
struct CompiledPlan {
  planning::Plan plan;
  ModelImage image;                              ///< read back from the module; valid when the plan fits
  mlir::OwningOpRef<mlir::ModuleOp> module;      ///< holds the plan.arena and the plan.kernel functions
  WeightStore weights;
  std::vector<ArenaConstant> constants;
  TrainingNotes notes;
  std::map<std::string, int64_t> reserve;        ///< bytes by part
  planning::RematProblem remat;                  ///< what was solved for the plan's micro-batch
};

/// What GPUs of `archs` compute fastest without losing range where they have it: bf16 from sm_80 on, else fp16. bf16
/// for the host.
Precision preferredPrecision(llvm::ArrayRef<std::string> archs);

/// A micro-batch and how often it is executed per optimizer step.
struct BatchSplit {
  int64_t microBatch, accumulation;
};

/// The splits to consider, largest micro-batch first. Error: contradicting --batch, --micro-batch, --accumulate.
llvm::Expected<std::vector<BatchSplit>> batchSplits(const CompileRequest &request, bool batchNormTraining);

/// The phases import to plan, for every split of the batch that is considered. Null after problems were added to
/// `diagnostics`. `log` (optional) gets the times of all splits and the IR of the chosen one; of the first where
/// nothing was chosen.
std::unique_ptr<CompiledPlan> compilePlan(mlir::MLIRContext &context, const OnnxModel &model,
                                          const CompileRequest &request, Diagnostics &diagnostics,
                                          PhaseLog *log = nullptr);

/// The phase lower. Tables and kernels of `compiled` for its target: an object ("obj"), LLVM IR ("llvm") or, for cuda,
/// PTX
/// ("ptx") as text.
llvm::Expected<std::unique_ptr<llvm::MemoryBuffer>>
emitTrainerCode(CompiledPlan &compiled, const CompileRequest &request, llvm::StringRef kind, PhaseLog &log);

/// The phases lower and link. Code for `compiled` as the trainer OUTPUT and its weights OUTPUT.safetensors, each whole
/// or not at all.
llvm::Error writeTrainer(CompiledPlan &compiled, const CompileRequest &request, llvm::StringRef kitFolder,
                         llvm::StringRef output, PhaseLog &log);

} // namespace gmc

#endif
