//===- RematLong.cpp - Budgets, floor and frontier of long problems -------===//
//
// Part of gmc. Problems beyond what the beam search can hold: sequences are evicted in rounds (RematRounds.cpp) from
// one budget to the next lower one, and each result is a start for the next.
//
//===----------------------------------------------------------------------===//
#include "compiler/Planning/RematLong.h"

#include <algorithm>
#include <limits>

namespace gmc::planning::detail {

LongSolver::LongSolver(const RematProblem &problem, int effort)
    : problem(problem), effort(std::clamp(effort, 1, 5)), arrays(problem), timeline(arrays),
      unconstrained(leastPeakOrder(problem, this->effort)), boundBytes(rematBoundBytes(problem)) {
  timeline.simulate(unconstrained);
  unconstrainedPeak = timeline.peak;
  unconstrainedCost = timeline.cost;
}

std::vector<const Sequence *> LongSolver::checkpointed(int64_t budget) {
  if (checkpoints.empty())
    for (int segments = 2; segments <= 256 && segments * 8 <= int(problem.nodes.size());
         segments += (segments + 1) / 2) {
      Sequence sequence = segmented(problem, timeline, unconstrained, segments);
      checkpoints.push_back({timeline.peak, std::move(sequence)});
    }
  // The fewest segments that fit, and the next ones below: those evict less.
  std::vector<const Sequence *> starts;
  for (size_t k = 0; k < checkpoints.size(); ++k)
    if (checkpoints[k].first <= budget || k + 1 == checkpoints.size()) {
      starts.push_back(&checkpoints[k].second);
      if (k)
        starts.push_back(&checkpoints[k - 1].second);
      break;
    }
  return starts;
}

bool LongSolver::fit(int64_t budget, const std::vector<const Sequence *> &starts, Sequence &best) {
  double cost = std::numeric_limits<double>::infinity();
  for (const Sequence *start : starts) {
    Sequence sequence = *start;
    int64_t work = 3000 * effort * int64_t(problem.nodes.size());
    bool fits = evictInRounds(arrays, sequence, budget, 0, work);
    timeline.simulate(sequence);
    if (!fits) {
      if (timeline.peak < lowestPeak) {
        lowestPeak = timeline.peak;
        lowest = std::move(sequence);
      }
      continue;
    }
    holdInstead(timeline, sequence, budget, work);
    timeline.simulate(sequence);
    if (timeline.peak > budget || timeline.cost >= cost)
      continue;
    cost = timeline.cost;
    best = std::move(sequence);
  }
  return cost < std::numeric_limits<double>::infinity();
}

void LongSolver::improve(Sequence &sequence, int64_t budget, int64_t work) {
  Random random{0xD1B54A32D192ED03ull};
  timeline.simulate(sequence);
  double best = timeline.cost;
  while (work > 0) {
    std::vector<int32_t> positions = repeats(arrays, sequence);
    if (positions.empty())
      return;
    // Take out a few recomputations that lie together, or a few at random, and evict anew.
    size_t count = 1 + random.below(std::min<size_t>(positions.size(), 16)), start = random.below(positions.size());
    bool together = random.below(4) != 0;
    std::vector<char> gone(sequence.size(), 0);
    for (size_t k = 0; k < count; ++k)
      gone[positions[together ? (start + k) % positions.size() : random.below(positions.size())]] = 1;
    Sequence trial;
    for (size_t k = 0; k < sequence.size(); ++k)
      if (!gone[k])
        trial.push_back(sequence[k]);
    work -= 8 * int64_t(sequence.size());
    if (!evictInRounds(arrays, trial, budget, random.next() | 1, work))
      continue;
    timeline.simulate(trial);
    if (timeline.cost <= best * 1.02)
      holdInstead(timeline, trial, budget, work);
    timeline.simulate(trial);
    if (timeline.peak <= budget && timeline.cost <= best) {
      best = timeline.cost;
      sequence = std::move(trial);
    }
  }
}

RematResult LongSolver::result(const Sequence *sequence) {
  RematResult result;
  result.bound = unconstrainedCost;
  result.boundBytes = boundBytes;
  if (!sequence)
    return result;
  timeline.simulate(*sequence);
  static_cast<RematSchedule &>(result) = timeline.schedule(*sequence);
  result.found = true;
  return result;
}

RematResult LongSolver::floor() {
  std::vector<RematSchedule> all = frontier(4);
  RematResult floor = result(nullptr);
  static_cast<RematSchedule &>(floor) = *std::min_element(
      all.begin(), all.end(), [](const RematSchedule &a, const RematSchedule &b) { return a.peak < b.peak; });
  floor.found = true;
  return floor;
}

RematResult LongSolver::solve(int64_t budget) {
  if (budget < boundBytes) {
    RematResult none = result(nullptr);
    none.provedInfeasible = true;
    return none;
  }
  Sequence best;
  if (budget >= unconstrainedPeak)
    return result(&unconstrained);
  // Straight down, and by way of half the distance.
  Sequence half;
  std::vector<const Sequence *> starts{&unconstrained};
  if (fit(budget + (unconstrainedPeak - budget) / 2, starts, half))
    starts.push_back(&half);
  for (const Sequence *start : checkpointed(budget))
    starts.push_back(start);
  if (!fit(budget, starts, best))
    return result(nullptr);
  int64_t work = int64_t(25) * 1000 * 1000 * effort;
  improve(best, budget, work);
  return result(&best);
}

std::vector<RematSchedule> LongSolver::frontier(int points, const std::vector<Sequence> &orders) {
  std::vector<Sequence> found{unconstrained};
  int64_t peak = unconstrainedPeak; // the lowest among `found`
  auto keep = [&](Sequence sequence) {
    timeline.simulate(sequence);
    peak = std::min(peak, timeline.peak);
    found.push_back(std::move(sequence));
  };
  auto descend = [&](int64_t budget) {
    Sequence next;
    std::vector<const Sequence *> starts{&found.back()};
    if (!arrays.large() || found.size() % 4 == 0) // from the top it costs a pass for every gap again
      starts.push_back(&unconstrained);
    for (const Sequence *start : checkpointed(budget))
      starts.push_back(start);
    if (!fit(budget, starts, next))
      return false;
    improve(next, budget, 2'000'000 * int64_t(effort));
    keep(std::move(next));
    return true;
  };
  for (Sequence order : orders) {
    if (!timeline.simulate(order))
      continue;
    int64_t work = 3000 * effort * int64_t(problem.nodes.size());
    holdInstead(timeline, order, timeline.peak, work);
    keep(std::move(order));
  }
  int64_t span = unconstrainedPeak - boundBytes;
  for (int k = 1; k < points; ++k) {
    int64_t budget = unconstrainedPeak - span * k / (points - 1);
    if (budget < peak && !descend(budget))
      break;
  }
  // What failed has left the lowest peak it met. Look below that, then put points between.
  if (peak <= lowestPeak) {
    lowestPeak = peak;
    lowest = found.back();
  }
  for (int tries = 0; tries < 4; ++tries) {
    int64_t before = lowestPeak, budget = lowestPeak - (lowestPeak - boundBytes + 3) / 4;
    Sequence start = lowest, next;
    if (budget == lowestPeak)
      break;
    if (fit(budget, {&start, &unconstrained}, next)) {
      timeline.simulate(next);
      lowestPeak = timeline.peak;
      lowest = std::move(next);
    } else if (before - lowestPeak < before / 500) {
      break;
    }
  }
  // One value at a time goes a little further, where that is affordable.
  int64_t work = 150'000'000 * int64_t(effort);
  for (int64_t step = 64; step <= 1024 && work > 0 && lowestPeak > boundBytes;) {
    Sequence next = lowest;
    int64_t budget = std::max(boundBytes, lowestPeak - std::max<int64_t>(1, (lowestPeak - problem.fixedBytes) / step));
    if (!evictToBudget(arrays, next, budget, 0, work)) {
      step *= arrays.large() ? 16 : 4;
      continue;
    }
    timeline.simulate(next);
    lowestPeak = timeline.peak;
    lowest = std::move(next);
  }
  while (peak - lowestPeak > lowestPeak / 50 && descend(lowestPeak + (peak - lowestPeak) / 2))
    continue;
  if (lowestPeak < peak) {
    Sequence cheapest;
    found.push_back(fit(lowestPeak, {&lowest, &found.back()}, cheapest) ? cheapest : lowest);
  }
  refine(found, int(!arrays.large() ? points / 2 : points / 5));
  std::vector<RematSchedule> all;
  for (const Sequence &sequence : found)
    all.push_back(result(&sequence));
  return all;
}

void LongSolver::refine(std::vector<Sequence> &found, int extra) {
  struct Known {
    int64_t peak;
    double cost;
    size_t index;
  };
  std::vector<Known> known;
  auto note = [&](size_t index) {
    timeline.simulate(found[index]);
    known.push_back({timeline.peak - problem.fixedBytes, timeline.cost, index});
    std::sort(known.begin(), known.end(), [](const Known &a, const Known &b) {
      return a.peak != b.peak ? a.peak < b.peak : a.cost < b.cost;
    });
  };
  for (size_t k = 0; k < found.size(); ++k)
    note(k);
  std::vector<int64_t> tried;
  for (; extra > 0; --extra) {
    // The widest step in cost between two points that are a tenth apart in memory.
    int64_t budget = 0;
    double widest = unconstrainedCost / 100;
    size_t below = 0;
    for (size_t k = 1; k < known.size(); ++k) {
      int64_t middle = known[k - 1].peak + (known[k].peak - known[k - 1].peak) / 2;
      // Beyond three times the time a finer step is worth nothing.
      double step = std::min(known[k - 1].cost, 3 * unconstrainedCost) - known[k].cost;
      if (step > widest && known[k].peak > known[k - 1].peak / 10 * 11 &&
          std::find(tried.begin(), tried.end(), middle) == tried.end()) {
        widest = step;
        budget = middle;
        below = k;
      }
    }
    if (!budget)
      return;
    tried.push_back(budget);
    std::vector<const Sequence *> starts = checkpointed(budget + problem.fixedBytes);
    Sequence next, above = found[known[below].index], under = found[known[below - 1].index];
    starts.insert(starts.end(), {&above, &under});
    if (!fit(budget + problem.fixedBytes, starts, next))
      continue;
    improve(next, budget + problem.fixedBytes, 2'000'000 * int64_t(effort));
    found.push_back(std::move(next));
    note(found.size() - 1);
  }
}

} // namespace gmc::planning::detail
