//===- PlanValidator.h - Is this plan valid? ---------------------*- C++ -*-===//
//
// Part of gmc. Checks a plan from its data alone: lifetimes, addresses, loops, data flow and totals. Shares no code
// with whatever made the plan.
//
//===----------------------------------------------------------------------===//
#pragma once

#include "compiler/Planning/Plan.h"

#include <string>
#include <vector>

namespace gmc::planning {

enum class PlanReason {
  OverBudget,          ///< arena + reserve > budget
  EvalOverArena,       ///< the evaluation program needs more than the arena
  DuplicateBuffer,     ///< an id twice
  LoopCounts,          ///< counts do not sum to the accumulation
  LoopPlace,           ///< loops overlap, are out of order, out of range or have a count < 1
  BufferPlace,         ///< outside the arena, unaligned or of negative size
  BufferLifetime,      ///< not within the steps
  CarryKind,           ///< parameter, constant or state that is not carried between steps
  CarryLifetime,       ///< carried, but not live where it must be
  StepIndex,           ///< index is not the position
  UnknownBuffer,       ///< a step names a buffer that is not there
  UseOutsideLifetime,  ///< a step touches a buffer that is not live
  ReadBeforeWrite,     ///< nothing wrote it
  ReadsUpdated,        ///< a parameter is read after its update outside the update stage
  RecomputeOf,         ///< names no earlier step, or a recompute step names none
  RecomputeCost,       ///< recompute_us > 0 without recompute_of or the reverse, or more than predicted_us
  NoNode,              ///< no ONNX node where one is due
  NeverUsed,           ///< a buffer that no step touches
  CrossesLoop,         ///< not carried, but alive across the edge of a loop that repeats
  InputLate,           ///< an input that is not live from its loop's first step
  GradientLost,        ///< a gradient that does not survive between micro-steps
  Overlap,             ///< two live buffers share addresses
  MaxLive,             ///< max_live_bytes is not the most bytes live
  Peak,                ///< peak is not at that step, of those bytes or of those buffers
  OverArena,           ///< max_live_bytes > arena
  Batch,               ///< micro_batch * accumulation < batch, or not positive
  StepTime,            ///< predicted_step_ms is not the sum
  NegativeCost,        ///< flops, bytes or microseconds below zero or not finite
  Bounds,              ///< bound > floor, floor > budget, or unconstrained slower than predicted
  Frontier,            ///< points out of order: a larger budget with a slower step
};

struct PlanViolation {
  PlanReason reason;
  std::string message; ///< names the buffer, step or loop
};

/// All violations; empty: the plan is what it says and fits. A plan with `fits` false is checked for bound <= floor
/// only. O((buffers + uses) log).
std::vector<PlanViolation> validatePlan(const Plan &plan);

} // namespace gmc::planning
