//===- RematValidator.cpp - Is this schedule valid? -----------------------===//
#include "compiler/Planning/RematValidator.h"

#include <algorithm>
#include <cmath>

namespace gmc::planning {

RematCheck validateRemat(const RematProblem &problem, const RematSchedule &schedule,
                         std::optional<int64_t> budgetBytes) {
  RematCheck check;
  int32_t n = int32_t(problem.nodes.size());
  auto fail = [&](RematVerdict verdict, std::string message) {
    check.verdict = verdict;
    check.message = std::move(message);
    return check;
  };
  auto name = [&](int32_t i) { return "node " + std::to_string(problem.nodes[i].id); };
  if (schedule.order.size() != schedule.dropAfter.size())
    return fail(RematVerdict::WrongLength, "order has " + std::to_string(schedule.order.size()) +
                                               " entries, drop_after " + std::to_string(schedule.dropAfter.size()));
  std::vector<char> live(n, 0), computed(n, 0);
  int64_t held = problem.fixedBytes;
  int32_t lastPinned = -1;
  check.peak = held;
  for (size_t p = 0; p < schedule.order.size(); ++p) {
    int32_t v = schedule.order[p];
    std::string where = "position " + std::to_string(p) + ": ";
    if (v < 0 || v >= n)
      return fail(RematVerdict::UnknownNode, where + "unknown node index " + std::to_string(v));
    const RematNode &node = problem.nodes[v];
    for (int32_t d : node.deps)
      if (!live[d])
        return fail(RematVerdict::MissingInput,
                    where + name(v) + " computed while its dependency " + name(d) + " is not live");
    if (!node.recomputable) {
      if (computed[v])
        return fail(RematVerdict::ComputedTwice, where + name(v) + " must be computed once");
      if (v < lastPinned)
        return fail(RematVerdict::OutOfOrder, where + name(v) + " must come before " + name(lastPinned));
      lastPinned = v;
    }
    const std::vector<int32_t> &gone = schedule.dropAfter[p];
    int64_t during = held + node.workspace;
    if (!live[v]) {
      held += node.size;
      during += node.size;
      if (node.inplaceOf >= 0 && std::find(gone.begin(), gone.end(), node.inplaceOf) != gone.end())
        during -= std::min(node.size, problem.nodes[node.inplaceOf].size);
    }
    live[v] = computed[v] = 1;
    check.cost += node.cost;
    check.peak = std::max(check.peak, during);
    for (int32_t g : gone) {
      if (g < 0 || g >= n)
        return fail(RematVerdict::UnknownNode, where + "drops unknown node index " + std::to_string(g));
      if (!live[g])
        return fail(RematVerdict::DropsDead, where + "drops " + name(g) + ", which is not live");
      live[g] = 0;
      held -= problem.nodes[g].size;
    }
  }
  for (int32_t v = 0; v < n; ++v)
    if (!computed[v])
      return fail(RematVerdict::NeverComputed, name(v) + " is never computed");
  for (int32_t k : problem.keep)
    if (!live[k])
      return fail(RematVerdict::KeptLost, name(k) + " is kept but not live at the end");
  if (std::abs(check.cost - schedule.cost) > 1e-6 * std::max(std::abs(check.cost), 1e-3))
    return fail(RematVerdict::WrongCost,
                "claims cost " + std::to_string(schedule.cost) + ", is " + std::to_string(check.cost));
  if (check.peak != schedule.peak)
    return fail(RematVerdict::WrongPeak,
                "claims peak " + std::to_string(schedule.peak) + ", is " + std::to_string(check.peak));
  if (budgetBytes && check.peak > *budgetBytes)
    return fail(RematVerdict::OverBudget,
                "peak " + std::to_string(check.peak) + " over the budget " + std::to_string(*budgetBytes));
  return check;
}

} // namespace gmc::planning
