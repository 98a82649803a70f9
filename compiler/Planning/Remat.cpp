//===- Remat.cpp - Rematerialization and order under a memory budget ------===//
#include "compiler/Planning/Remat.h"

#include "compiler/Planning/RematLong.h"
#include "compiler/Planning/RematSequence.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

namespace gmc::planning {

using namespace detail;

std::vector<std::string> checkRematProblem(const RematProblem &problem) {
  std::vector<std::string> bad;
  int32_t n = int32_t(problem.nodes.size());
  auto name = [&](int32_t i) { return "node " + std::to_string(problem.nodes[i].id); };
  constexpr int64_t limit = int64_t(1) << 60;
  int64_t total = problem.fixedBytes;
  if (problem.fixedBytes < 0 || problem.fixedBytes > limit)
    bad.push_back("fixed_bytes is negative or larger than 2^60");
  std::vector<int32_t> open(n, 0);
  std::vector<std::vector<int32_t>> users(n);
  int32_t pinned = -1;
  for (int32_t i = 0; i < n; ++i) {
    const RematNode &node = problem.nodes[i];
    if (!(node.cost >= 0) || std::isinf(node.cost))
      bad.push_back(name(i) + ": cost is not a number >= 0");
    if (node.size < 0 || node.workspace < 0)
      bad.push_back(name(i) + ": negative size or workspace");
    else if (node.size > limit || node.workspace > limit || (total += node.size + node.workspace) > limit) {
      bad.push_back(name(i) + ": sizes sum to more than 2^60 bytes");
      total = 0;
    }
    bool inplaceKnown = node.inplaceOf < 0;
    std::vector<int32_t> deps = node.deps;
    std::sort(deps.begin(), deps.end());
    for (size_t k = 0; k < deps.size(); ++k) {
      if (deps[k] < 0 || deps[k] >= n) {
        bad.push_back(name(i) + ": depends on an unknown node");
        continue;
      }
      if (k && deps[k] == deps[k - 1])
        bad.push_back(name(i) + ": lists a dependency twice");
      inplaceKnown |= deps[k] == node.inplaceOf;
      users[deps[k]].push_back(i);
      ++open[i];
    }
    if (!inplaceKnown)
      bad.push_back(name(i) + ": takes over the storage of a node that it does not depend on");
    if (!node.recomputable) {
      if (pinned >= 0) {
        users[pinned].push_back(i);
        ++open[i];
      }
      pinned = i;
    }
  }
  for (int32_t k : problem.keep)
    if (k < 0 || k >= n)
      bad.push_back("keep names an unknown node");
  if (!bad.empty())
    return bad;
  std::vector<int32_t> ready;
  for (int32_t i = 0; i < n; ++i)
    if (!open[i])
      ready.push_back(i);
  int32_t done = 0;
  for (; !ready.empty(); ++done) {
    int32_t v = ready.back();
    ready.pop_back();
    for (int32_t u : users[v])
      if (--open[u] == 0)
        ready.push_back(u);
  }
  if (done < n) {
    std::string which;
    int listed = 0;
    for (int32_t i = 0; i < n && listed < 8; ++i)
      if (open[i] > 0) {
        which += (listed ? ", " : "") + std::to_string(problem.nodes[i].id);
        ++listed;
      }
    bad.push_back("the dependencies form a cycle through or before nodes " + which);
  }
  return bad;
}

int64_t rematBoundBytes(const RematProblem &problem) {
  int64_t bound = 0, kept = 0;
  std::vector<char> seen(problem.nodes.size(), 0);
  for (int32_t k : problem.keep)
    if (!seen[k]) {
      seen[k] = 1;
      kept += problem.nodes[k].size;
    }
  bound = kept;
  for (const RematNode &node : problem.nodes) {
    int64_t bytes = node.size + node.workspace;
    for (int32_t d : node.deps)
      bytes += problem.nodes[d].size;
    if (node.inplaceOf >= 0)
      bytes -= std::min(node.size, problem.nodes[node.inplaceOf].size);
    bound = std::max(bound, bytes);
  }
  return problem.fixedBytes + bound;
}

namespace {

constexpr size_t beamLimit = 128;

double totalCost(const RematProblem &problem) {
  double sum = 0;
  for (const RematNode &node : problem.nodes)
    sum += node.cost;
  return sum;
}

/// Solves from several starting sequences; keeps the cheapest that fits.
class Solver {
public:
  /// `beamShare`: of the beam's width; less where many budgets are solved. `quick`: only the narrowest beam, and a
  /// tenth of the work of everything else: a frontier solves dozens of budgets.
  Solver(const RematProblem &problem, int effort, double beamShare = 1, bool quick = false)
      : problem(problem), effort(std::clamp(effort, 1, 5)), beamShare(beamShare), quick(quick), arrays(problem),
        timeline(arrays), unconstrained(leastPeakOrder(problem, this->effort)), base(totalCost(problem)),
        boundBytes(rematBoundBytes(problem)) {
    timeline.simulate(unconstrained);
    unconstrainedPeak = timeline.peak;
  }

  /// `hint`: a sequence to evict further. `anyWillDo`: the first schedule that fits is returned.
  RematResult solve(int64_t budget, const Sequence *hint = nullptr, bool anyWillDo = false) {
    RematResult result;
    result.bound = base;
    result.boundBytes = boundBytes;
    Sequence best;
    bool found = false;
    double cost = std::numeric_limits<double>::infinity();
    auto consider = [&](Sequence sequence) {
      removeUnused(timeline, sequence);
      if (timeline.peak > budget || timeline.cost >= cost)
        return;
      cost = timeline.cost;
      best = std::move(sequence);
      found = true;
    };
    if (budget < boundBytes) {
      result.provedInfeasible = true;
      return result;
    }
    consider(unconstrained);
    if (!found) {
      bool proved = false;
      for (const Sequence *start : {hint, static_cast<const Sequence *>(&unconstrained)}) {
        if (!start || (found && problem.nodes.size() > beamLimit))
          continue;
        for (bool gradual : {false, true}) {
          Sequence sequence = *start;
          int64_t work = (anyWillDo ? 40'000'000 : 200'000'000) * int64_t(effort) / (quick ? 10 : 1);
          if (!lower(sequence, budget, gradual, work))
            continue;
          consider(sequence);
          break;
        }
      }
      if (problem.nodes.size() <= beamLimit && !(anyWillDo && found)) {
        auto search = [&](int width, BeamMode mode) {
          if (proved || (anyWillDo && found))
            return;
          BeamResult beam = beamSearch(problem, budget, width, found ? cost : infinity, mode);
          if (beam.found)
            consider(beam.sequence);
          if (beam.complete) {
            proved = true;
            if (found)
              result.bound = std::max(result.bound, cost);
            else
              result.provedInfeasible = true;
          }
        };
        // The work of a layer grows with about the square of the nodes.
        double scale = beamShare * std::min(1.0, std::pow(48.0 / double(problem.nodes.size()), 2));
        auto scaled = [&](int width) { return std::max(50, int(width * effort * scale)); };
        search(quick ? 40 : 200, BeamMode::Narrow);
        if (!quick) {
          search(scaled(1000), BeamMode::Exact);
          search(scaled(1500), BeamMode::Early);
          search(scaled(5000), BeamMode::Narrow);
        }
      }
      if (found && !proved && !anyWillDo) {
        int64_t work = 25'000'000 * int64_t(effort) / (quick ? 10 : 1);
        improveSequence(arrays, best, budget, work);
        timeline.simulate(best);
      }
    }
    if (!found)
      return result;
    timeline.simulate(best);
    static_cast<RematSchedule &>(result) = timeline.schedule(best);
    result.found = true;
    return result;
  }

  /// Evicts to the budget at once, or through a series of falling budgets.
  bool lower(Sequence &sequence, int64_t budget, bool gradual, int64_t &work) {
    timeline.simulate(sequence);
    for (int64_t next = timeline.peak; gradual && (next -= next / 12) > budget;)
      if (!evictToBudget(arrays, sequence, next, 0, work))
        return false;
    return evictToBudget(arrays, sequence, budget, 0, work);
  }

  static constexpr double infinity = std::numeric_limits<double>::infinity();
  const RematProblem &problem;
  int effort;
  double beamShare;
  bool quick;
  RematArrays arrays;
  Timeline timeline;
  Sequence unconstrained;
  double base;
  int64_t boundBytes, unconstrainedPeak = 0;
};

} // namespace

RematResult solveRemat(const RematProblem &problem, int64_t budgetBytes, int effort) {
  if (problem.nodes.size() > beamLimit)
    return LongSolver(problem, effort).solve(budgetBytes);
  return Solver(problem, effort).solve(budgetBytes);
}

namespace {

/// Evicts as far down as it goes, then halves the span between what is proved or failed and what was found.
RematResult findFloor(Solver &solver) {
  RematResult best = solver.solve(solver.unconstrainedPeak);
  bool large = solver.quick || solver.problem.nodes.size() > beamLimit;
  int64_t low = solver.boundBytes - 1; // low fails, best.peak is found
  while (large) {
    RematResult next = solver.solve(best.peak - best.peak / 16 - 1, &best.order, true);
    if (!next.found) {
      low = std::max(low, best.peak - best.peak / 16 - 1);
      break;
    }
    best = std::move(next);
  }
  while (best.peak - low > std::max<int64_t>(1, large ? best.peak / 100 : 1)) {
    int64_t middle = low + (best.peak - low) / 2;
    RematResult next = solver.solve(middle, &best.order, true);
    if (next.found)
      best = std::move(next);
    else
      low = middle;
  }
  int64_t high = best.peak;
  RematResult cheapest = solver.solve(high, &best.order);
  if (cheapest.found && cheapest.cost <= best.cost)
    best = std::move(cheapest);
  best.bound = solver.base;
  best.boundBytes = solver.boundBytes;
  return best;
}

} // namespace

RematResult rematFloor(const RematProblem &problem, int effort) {
  if (problem.nodes.size() > beamLimit)
    return LongSolver(problem, effort).floor();
  Solver solver(problem, effort);
  return findFloor(solver);
}

namespace {

std::vector<RematSchedule> shortFrontier(const RematProblem &problem, int points, int effort) {
  Solver solver(problem, effort, 0.15, /*quick=*/effort <= 2);
  std::vector<RematSchedule> all{solver.solve(solver.unconstrainedPeak)};
  RematSchedule floor = findFloor(solver);
  int64_t top = all[0].peak, span = top - floor.peak;
  for (int k = 1; k + 1 < points && span > 0; ++k) {
    RematResult next = solver.solve(top - span / (points - 1) * k, &all.back().order);
    if (next.found)
      all.push_back(std::move(next));
  }
  all.push_back(std::move(floor));
  return all;
}

} // namespace

int64_t peakOf(const RematProblem &problem, const std::vector<int32_t> &order) {
  RematArrays arrays(problem);
  Timeline timeline(arrays);
  timeline.simulate(order);
  return timeline.peak;
}

std::vector<RematSchedule> rematFrontier(const RematProblem &problem, int points, int effort,
                                         const std::vector<std::vector<int32_t>> &orders) {
  points = std::max(points, 2);
  std::vector<RematSchedule> all = problem.nodes.size() <= beamLimit
                                       ? shortFrontier(problem, points, effort)
                                       : LongSolver(problem, effort).frontier(points, orders);
  // From the lowest peak up: a schedule stays if it is cheaper than everything with a lower peak.
  std::sort(all.begin(), all.end(), [](const RematSchedule &a, const RematSchedule &b) {
    return a.peak != b.peak ? a.peak < b.peak : a.cost < b.cost;
  });
  std::vector<RematSchedule> frontier;
  for (RematSchedule &schedule : all)
    if (frontier.empty() || schedule.cost < frontier.back().cost)
      frontier.push_back(std::move(schedule));
  std::reverse(frontier.begin(), frontier.end());
  return frontier;
}

} // namespace gmc::planning
