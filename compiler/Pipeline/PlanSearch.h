//===- PlanSearch.h - the fastest plan for a budget, over all micro-batches -------------------*- C++ -*-===//
#ifndef GMC_COMPILER_PIPELINE_PLANSEARCH_H
#define GMC_COMPILER_PIPELINE_PLANSEARCH_H

#include "compiler/Pipeline/PlanBuilder.h"
#include "llvm/ADT/STLFunctionalExtras.h"
#include <map>

namespace gmc {

/// Bytes of the process beside the arena, by part.
using ReserveParts = std::map<std::string, int64_t>;

/// The frontier of several builders, one for each micro-batch. Schedules are compared by what is live at their peak;
/// only those that nothing dominates are packed, and only where an answer hangs on it with all of the effort.
class PlanSearch {
public:
  struct Point {
    size_t builder;                            ///< index in the order of add()
    const planning::RematSchedule *schedule;
    double ms;
    int64_t live; ///< lower than any need of it: bytes live at the peak and the least reserve
    int64_t need = 0, arena = 0;               ///< arena with and without the reserve, once packed
    bool best = false;                         ///< packed with all of the effort: then it has the plan
    PlannedStep step;
    ReserveParts reserve;
  };

  /// `reserveOf` gives the reserve of a plan of builder `index`.
  explicit PlanSearch(llvm::function_ref<ReserveParts(size_t index, const PlannedStep &)> reserveOf)
      : reserveOf(reserveOf) {}

  /// Adds a micro-batch, largest first.
  void add(PlanBuilder &builder);
  /// After the last add(): drops what is dominated and packs the rest.
  void prepare();

  /// The plan without recomputation of each builder, packed by greedy orders.
  const std::vector<Point> &unconstrained() const { return plain; }
  /// From the fastest to the smallest; the two ends are packed with all of the effort.
  const std::vector<Point> &points() const { return frontier; }
  Point &fastest() { return frontier.front(); }
  Point &smallest() { return *low; }
  /// The fastest that fits; null if none. Whatever the budget, the same points are tried in the same order.
  Point *fastestWithin(int64_t budget);

private:
  void pack(Point &point, bool best);

  llvm::function_ref<ReserveParts(size_t, const PlannedStep &)> reserveOf;
  std::vector<PlanBuilder *> builders;
  std::vector<Point> plain, frontier;
  Point *low = nullptr;
};

} // namespace gmc

#endif
