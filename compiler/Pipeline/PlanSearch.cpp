//===- PlanSearch.cpp - the fastest plan for a budget, over all micro-batches ---------------------------===//

#include "compiler/Pipeline/PlanSearch.h"
#include "llvm/ADT/STLExtras.h"

namespace gmc {

static int64_t total(const ReserveParts &parts) {
  int64_t sum = 0;
  for (const auto &[_, bytes] : parts)
    sum += bytes;
  return sum;
}

void PlanSearch::pack(Point &point, bool best) {
  if (point.best || (point.need && !best))
    return;
  PlanBuilder &builder = *builders[point.builder];
  PlannedStep step = builder.assemble(*point.schedule, 0);
  if (best) { // a longer search may end higher than a short one
    PlannedStep longer = builder.assemble(*point.schedule, builder.effort());
    if (longer.plan.arenaBytes < step.plan.arenaBytes)
      step = std::move(longer);
  }
  ReserveParts reserve = reserveOf(point.builder, step);
  point.arena = step.plan.arenaBytes;
  point.need = point.arena + total(reserve);
  point.best = best;
  if (!best)
    return; // a frontier of whole plans would be large
  point.step = std::move(step);
  point.reserve = std::move(reserve);
}

void PlanSearch::add(PlanBuilder &builder) {
  size_t index = builders.size();
  builders.push_back(&builder);
  // Micro-steps that accumulate are the same program at every size; the first of them is what the others start from.
  const std::vector<planning::RematSchedule> &schedules = builder.schedules(index ? builders[index - 1] : nullptr);
  Point first{index, &schedules.front(), builder.stepMs(schedules.front()), 0};
  pack(first, false);
  int64_t reserve = first.need - first.arena;
  for (const planning::RematSchedule &schedule : schedules)
    frontier.push_back({index, &schedule, builder.stepMs(schedule), builder.liveBytes(schedule) + reserve});
  plain.push_back(std::move(first));
}

void PlanSearch::prepare() {
  // From the least memory up, a point stays if it is faster than everything below it.
  llvm::stable_sort(frontier, [](const Point &a, const Point &b) {
    return std::tie(a.live, a.ms) < std::tie(b.live, b.ms);
  });
  std::vector<Point> kept;
  for (Point &point : frontier)
    if (kept.empty() || point.ms < kept.back().ms)
      kept.push_back(std::move(point));
  std::reverse(kept.begin(), kept.end());
  frontier = std::move(kept);
  for (Point &point : frontier)
    pack(point, false);
  pack(frontier.front(), true);
  // The floor: upwards until what is live alone needs more than the best packing found.
  for (Point &point : llvm::reverse(frontier)) {
    if (low && point.live >= low->need)
      break;
    pack(point, true);
    if (!low || point.need < low->need)
      low = &point;
  }
}

PlanSearch::Point *PlanSearch::fastestWithin(int64_t budget) {
  for (Point &point : frontier) {
    if (point.live <= budget && point.need > budget)
      pack(point, true);
    if (point.need <= budget) {
      pack(point, true);
      return &point;
    }
  }
  return nullptr;
}

} // namespace gmc
