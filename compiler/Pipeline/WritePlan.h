//===- WritePlan.h - a plan as plan-dialect IR ------------------------------------------------*- C++ -*-===//
#ifndef GMC_COMPILER_PIPELINE_WRITEPLAN_H
#define GMC_COMPILER_PIPELINE_WRITEPLAN_H

#include "compiler/Pipeline/PlanBuilder.h"
#include "dialects/Plan/Plan.h"

namespace gmc {

/// Writes `step` as the plan.arena of `module` and erases every function that is not a kernel it launches. What code
/// generation, the validator and the plan's JSON see from here on is what compiler/Codegen/ReadPlan reads back from it.
plan::ArenaOp writePlan(mlir::ModuleOp module, const PlannedStep &step);

} // namespace gmc

#endif
