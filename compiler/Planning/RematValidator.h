//===- RematValidator.h - Is this schedule valid? ----------------*- C++ -*-===//
//
// Part of gmc. Replays a schedule step by step; shares no code with the solvers.
//
//===----------------------------------------------------------------------===//
#pragma once

#include "compiler/Planning/Remat.h"

#include <optional>
#include <string>

namespace gmc::planning {

enum class RematVerdict {
  Valid,
  WrongLength,    ///< not one drop list per position
  UnknownNode,    ///< an index that is no node
  MissingInput,   ///< computed while a dependency is not live
  DropsDead,      ///< drops what is not live
  NeverComputed,  ///< a node is missing
  KeptLost,       ///< a kept node is not live at the end
  ComputedTwice,  ///< a node that must be computed once is repeated
  OutOfOrder,     ///< nodes that must be computed once, not in the order of their indexes
  WrongCost,      ///< the cost claimed is not the sum
  WrongPeak,      ///< the peak claimed is not the replay's
  OverBudget,
};

struct RematCheck {
  RematVerdict verdict = RematVerdict::Valid;
  std::string message; ///< names position and node; empty when valid
  double cost = 0;     ///< of the replay, valid or not
  int64_t peak = 0;
  explicit operator bool() const { return verdict == RematVerdict::Valid; }
};

/// Replays a schedule against its problem and, if given, a budget. Returns the first violation.
RematCheck validateRemat(const RematProblem &problem, const RematSchedule &schedule,
                         std::optional<int64_t> budgetBytes = std::nullopt);

} // namespace gmc::planning
