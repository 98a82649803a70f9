//===- PlanBuilder.h - from the functions of a step to a plan with addresses ------------------*- C++ -*-===//
#ifndef GMC_COMPILER_PIPELINE_PLANBUILDER_H
#define GMC_COMPILER_PIPELINE_PLANBUILDER_H

#include "compiler/Pipeline/Segment.h"
#include "compiler/Pipeline/StepFunctions.h"
#include "compiler/Planning/Plan.h"
#include <map>

namespace gmc {

struct PlanBuilderOptions {
  planning::PlanTarget target = planning::PlanTarget::Host;
  DeviceProfile profile;
  int64_t batch = 1, microBatch = 1, accumulation = 1;
  int effort = 2;
  enum class Remat { Auto, Off, All } remat = Remat::Auto;
  HostLibrary *library = nullptr; ///< null: portable kernels only
};

/// A constant that was folded while importing and lives in the arena: `name` as in the weights file.
struct ArenaConstant {
  std::string name;
  mlir::DenseElementsAttr value;
};

/// A kernel call of a plan: the buffers (by id) that its operands, results and workspaces lie in.
struct PlannedLaunch {
  mlir::func::FuncOp kernel;
  std::vector<int64_t> ins, outs, workspaces;
  llvm::SmallVector<int64_t> workspaceBytes; ///< without padding
  uint32_t library = 0;                      ///< GmcStep.library, and its arguments
  std::vector<int64_t> libraryArgs;
};

/// A tensor that the trainer reads or writes.
struct PlannedTensor {
  std::string name, role; ///< nn.role
  mlir::Type type;
  int64_t buffer = 0;
  bool initializer = false; ///< the name is that of an ONNX initializer
};

/// What a program has beside the steps of its plan.
struct PlannedProgram {
  std::vector<PlannedLaunch> launches; ///< one for each step
  std::vector<PlannedTensor> tensors;
};

/// One candidate: a complete plan, and what writePlan needs beside it. Buffers 0..residents-1 of both plans are the
/// same.
struct PlannedStep {
  planning::Plan plan, evalPlan; ///< of evalPlan: buffers and steps
  PlannedProgram train, eval;
  std::vector<PlannedTensor> residents; ///< in arena order, those of carry step
};

/// Plans one (model, micro-batch) pair at every trade between memory and recomputation.
class PlanBuilder {
public:
  /// `functions` are lists of kernel calls, as the fuse phase leaves them in `module`.
  static mlir::FailureOr<std::unique_ptr<PlanBuilder>> create(mlir::ModuleOp module, const StepFunctions &functions,
                                                              const PlanBuilderOptions &options);

  /// Schedules from no recomputation to the least memory found. `like`: the builder of another micro-batch whose
  /// schedules are taken over where the kernels depend on each other in the same way.
  const std::vector<planning::RematSchedule> &schedules(const PlanBuilder *like = nullptr);
  /// What is live at the peak of a schedule, residents included, before anything is packed.
  int64_t liveBytes(const planning::RematSchedule &schedule) const { return residentBytes() + schedule.peak; }
  /// Milliseconds of an optimizer step with a schedule.
  double stepMs(const planning::RematSchedule &schedule) const;

  /// The plan of a schedule: steps, buffers with offsets, loops, peak and predictedStepMs are set; budget, reserve,
  /// floor, bound and numerics are the caller's. `packEffort` 0 packs by greedy orders and little more.
  PlannedStep assemble(const planning::RematSchedule &bodySchedule, int packEffort);
  int effort() const { return options.effort; }

  /// Proved lower bound of any plan's arena.
  int64_t boundBytes() const;
  /// What candidates() solves, for one micro-batch, the residents as fixed bytes.
  planning::RematProblem rematProblem() const;
  const std::vector<ArenaConstant> &constants() const { return arenaConstants; }
  /// Different library calls; equal ones share their code.
  int64_t libraryCalls() const;
  /// Text that changes whenever the kernels do: the part of `numerics` that this module decides.
  std::string kernelSignature() const;

private:
  struct Resident { ///< lives through every program
    std::string name, role;
    planning::BufferKind kind;
    planning::Carry carry;
    mlir::Type type;
    int64_t bytes;
  };

  explicit PlanBuilder(mlir::ModuleOp module, const PlanBuilderOptions &options) : module(module), options(options) {}
  mlir::LogicalResult addSegment(const StepFunction &function, std::optional<Segment> &segment,
                                 std::vector<int> &residentOf);
  int residentFor(llvm::StringRef role, llvm::StringRef name, mlir::Type type);
  int64_t aligned(int64_t bytes) const;
  int64_t residentBytes() const;
  /// Appends the steps and buffers of a schedule. Returns the buffer of each of the function's results.
  std::vector<int64_t> addSteps(planning::Plan &plan, PlannedProgram &program, const Segment &segment,
                                const SegmentSchedule &schedule, const std::vector<int> &residentOf,
                                llvm::StringRef part);
  /// The evaluation program, which is the same under every schedule of the body.
  struct EvalProgram {
    planning::Plan plan;
    PlannedProgram program;
    std::vector<int64_t> outputs;
    int64_t arenaBytes = 0;
  };
  const EvalProgram &evalProgram(const planning::Plan &plan, int packEffort);
  void addEval(PlannedStep &out, int packEffort);
  void addTensors(PlannedStep &out, const std::vector<int64_t> &evalOutputs);

  mlir::ModuleOp module;
  PlanBuilderOptions options;
  StepFunctions functions;
  std::optional<Segment> begin, body, update, eval;
  std::vector<int> beginResidents, bodyResidents, updateResidents, evalResidents; ///< per storage, -1: none
  std::vector<Resident> residents;
  std::vector<ArenaConstant> arenaConstants;
  std::vector<planning::RematSchedule> found; ///< what schedules() returns
  std::map<int, EvalProgram> evals;           ///< by packing effort
  llvm::StringMap<int> residentIndex;
};

} // namespace gmc

#endif
