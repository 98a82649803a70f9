//===- RematLong.h - Budgets, floor and frontier of long problems -*- C++ -*-===//
#pragma once

#include "compiler/Planning/RematSequence.h"

#include <limits>

namespace gmc::planning::detail {

/// Solver for problems of more nodes than the beam search takes. Work grows little more than linearly with the nodes.
class LongSolver {
public:
  LongSolver(const RematProblem &problem, int effort);

  RematResult solve(int64_t budget);
  RematResult floor();
  /// Schedules from the one without recomputation to the lowest peak found. `orders`, where there are any, are
  /// cheapened within the peaks they have instead of sought.
  std::vector<RematSchedule> frontier(int points, const std::vector<Sequence> &orders = {});

private:
  /// The cheapest sequence within the budget that evicting from one of `starts` leads to.
  bool fit(int64_t budget, const std::vector<const Sequence *> &starts, Sequence &best);
  /// Starts with checkpoints at even distances, about right for the budget.
  std::vector<const Sequence *> checkpointed(int64_t budget);
  /// Cheaper within the budget, by taking out some recomputations and evicting anew.
  void improve(Sequence &sequence, int64_t budget, int64_t work);
  /// Adds up to `extra` sequences where the cost rises most from one peak to the next.
  void refine(std::vector<Sequence> &found, int extra);
  RematResult result(const Sequence *sequence);

  const RematProblem &problem;
  int effort;
  RematArrays arrays;
  Timeline timeline;
  Sequence unconstrained;
  std::vector<std::pair<int64_t, Sequence>> checkpoints; ///< peak and order, by rising number of segments
  Sequence lowest; ///< of the lowest peak among the attempts that failed
  int64_t lowestPeak = std::numeric_limits<int64_t>::max();
  int64_t boundBytes, unconstrainedPeak = 0;
  double unconstrainedCost = 0;
};

} // namespace gmc::planning::detail
