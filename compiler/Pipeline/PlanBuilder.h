//===- PlanBuilder.h - from the functions of a step to a plan with addresses ------------------*- C++ -*-===//
#ifndef GMC_COMPILER_PIPELINE_PLANBUILDER_H
#define GMC_COMPILER_PIPELINE_PLANBUILDER_H

#include "compiler/Codegen/ModelImage.h"
#include "compiler/Pipeline/Segment.h"
#include "compiler/Pipeline/StepFunctions.h"
#include "compiler/Planning/Plan.h"

namespace gmc {

struct PlanBuilderOptions {
  planning::PlanTarget target = planning::PlanTarget::Host;
  DeviceProfile profile;
  int64_t batch = 1, microBatch = 1, accumulation = 1;
  int effort = 2;
  enum class Remat { Auto, Off, All } remat = Remat::Auto;
};

/// A constant that was folded while importing and lives in the arena: `name` as in the weights file.
struct ArenaConstant {
  std::string name;
  mlir::DenseElementsAttr value;
};

/// One candidate: a complete plan, and what code generation needs beside it.
struct PlannedStep {
  planning::Plan plan;
  ModelImage image; ///< steps, loops and tensors; hash, metadata and budget are the caller's
};

/// Plans one (model, micro-batch) pair at every trade between memory and recomputation.
class PlanBuilder {
public:
  /// `module` holds @micro, @update and @eval; they are rewritten to kernel calls, the kernels stay in the module.
  static mlir::FailureOr<std::unique_ptr<PlanBuilder>> create(mlir::ModuleOp module, const PlanBuilderOptions &options);

  /// Schedules from no recomputation to the smallest arena found, each with offsets. Plans have arenaBytes, steps, buffers,
  /// loops, peak and predictedStepMs set; budget, reserve, floor, bound and numerics are the caller's.
  std::vector<PlannedStep> candidates();

  /// Proved lower bound of any plan's arena.
  int64_t boundBytes() const;
  const std::vector<ArenaConstant> &constants() const { return arenaConstants; }
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
  PlannedStep assemble(const planning::RematSchedule &bodySchedule);
  /// Appends the steps and buffers of a schedule. Returns the buffer of each of the function's results.
  std::vector<int64_t> addSteps(PlannedStep &out, const Segment &segment, const SegmentSchedule &schedule,
                const std::vector<int> &residentOf, llvm::StringRef part);
  void addEval(PlannedStep &out);

  mlir::ModuleOp module;
  PlanBuilderOptions options;
  StepFunctions functions;
  std::optional<Segment> begin, body, update, eval;
  std::vector<int> beginResidents, bodyResidents, updateResidents, evalResidents; ///< per storage, -1: none
  std::vector<Resident> residents;
  std::vector<ArenaConstant> arenaConstants;
  llvm::StringMap<int> residentIndex;
};

} // namespace gmc

#endif
