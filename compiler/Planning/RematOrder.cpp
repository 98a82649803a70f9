//===- RematOrder.cpp - Orders of least peak without recomputation --------===//
#include "compiler/Planning/RematSequence.h"

#include <algorithm>
#include <functional>
#include <limits>
#include <queue>

namespace gmc::planning::detail {

namespace {

/// The dependency graph with the pinned order of non-recomputable nodes as further edges.
struct Graph {
  std::vector<std::vector<int32_t>> before, after;
  explicit Graph(const RematProblem &problem) : before(problem.nodes.size()), after(problem.nodes.size()) {
    int32_t pinned = -1;
    for (int32_t n = 0; n < int32_t(problem.nodes.size()); ++n) {
      before[n] = problem.nodes[n].deps;
      if (!problem.nodes[n].recomputable) {
        if (pinned >= 0)
          before[n].push_back(pinned);
        pinned = n;
      }
      for (int32_t d : before[n])
        after[d].push_back(n);
    }
  }
};

Sequence byIndex(const Graph &graph) {
  std::vector<size_t> open(graph.before.size());
  std::priority_queue<int32_t, std::vector<int32_t>, std::greater<>> ready;
  for (size_t n = 0; n < open.size(); ++n)
    if (!(open[n] = graph.before[n].size()))
      ready.push(int32_t(n));
  Sequence order;
  while (!ready.empty()) {
    int32_t n = ready.top();
    ready.pop();
    order.push_back(n);
    for (int32_t a : graph.after[n])
      if (--open[a] == 0)
        ready.push(a);
  }
  return order;
}

/// Always the ready node that leaves the least memory behind; among equals the one with the least peak, then the one
/// that uses the newest value, then the first.
Sequence leastGrowth(const RematProblem &problem, const Graph &graph, int64_t &work) {
  size_t n = problem.nodes.size();
  std::vector<size_t> open(n), usersLeft(n, 0);
  std::vector<int64_t> made(n, -1);
  std::vector<int32_t> ready;
  for (const RematNode &node : problem.nodes)
    for (int32_t d : node.deps)
      ++usersLeft[d];
  for (int32_t k : problem.keep)
    usersLeft[k] += n + 1;
  for (size_t i = 0; i < n; ++i)
    if (!(open[i] = graph.before[i].size()))
      ready.push_back(int32_t(i));
  Sequence order;
  while (!ready.empty()) {
    using Rank = std::tuple<int64_t, int64_t, int64_t, int32_t>;
    size_t choice = 0;
    Rank least{std::numeric_limits<int64_t>::max(), 0, 0, 0};
    for (size_t r = 0; r < ready.size(); ++r) {
      const RematNode &node = problem.nodes[ready[r]];
      int64_t growth = usersLeft[ready[r]] ? node.size : 0, newest = -1;
      for (int32_t d : node.deps) {
        if (usersLeft[d] == 1)
          growth -= problem.nodes[d].size;
        newest = std::max(newest, made[d]);
      }
      work -= 4 + int64_t(node.deps.size());
      Rank rank{growth, node.size + node.workspace, -newest, ready[r]};
      if (rank < least) {
        least = rank;
        choice = r;
      }
    }
    int32_t pick = ready[choice];
    ready[choice] = ready.back();
    ready.pop_back();
    made[pick] = int64_t(order.size());
    order.push_back(pick);
    for (int32_t d : problem.nodes[pick].deps)
      --usersLeft[d];
    for (int32_t a : graph.after[pick])
      if (--open[a] == 0)
        ready.push_back(a);
  }
  return order;
}

/// The given order with every node delayed until just before its first user, unless that keeps more alive.
Sequence delayed(const RematProblem &problem, const Graph &graph, const Sequence &order) {
  // A node that adds memory (its inputs live on anyway) goes right before its first user: schedule backwards.
  size_t n = order.size();
  std::vector<int32_t> rank(n), firstUser(n, int32_t(n));
  for (size_t p = 0; p < n; ++p)
    rank[order[p]] = int32_t(p);
  std::vector<std::vector<int32_t>> beforeUser(n + 1);
  std::vector<int32_t> position(n);
  std::vector<char> lastUserOf(n, 0), used(n, 0);
  for (size_t p = n; p-- > 0;) {
    int32_t v = order[p];
    bool frees = false;
    for (int32_t d : problem.nodes[v].deps) {
      frees |= !used[d];
      used[d] = 1;
    }
    int32_t first = int32_t(n);
    for (int32_t a : graph.after[v])
      first = std::min(first, rank[a]);
    lastUserOf[v] = frees;
    firstUser[v] = first;
  }
  // Movers hang on their first user; emitting a node emits first what hangs on it, in the old order.
  std::vector<char> moves(n, 0);
  for (size_t p = 0; p < n; ++p) {
    int32_t v = order[p];
    if (!lastUserOf[v] && problem.nodes[v].recomputable && firstUser[v] < int32_t(n)) {
      beforeUser[firstUser[v]].push_back(v);
      moves[v] = 1;
    }
  }
  Sequence result;
  result.reserve(n);
  std::vector<std::pair<int32_t, size_t>> stack;
  for (size_t p = 0; p < n; ++p) {
    if (moves[order[p]])
      continue;
    stack.push_back({order[p], 0});
    while (!stack.empty()) {
      auto &[v, next] = stack.back();
      if (next < beforeUser[rank[v]].size()) {
        int32_t child = beforeUser[rank[v]][next++];
        stack.push_back({child, 0});
        continue;
      }
      result.push_back(v);
      stack.pop_back();
    }
  }
  return result;
}

bool respects(const Graph &graph, const Sequence &order) {
  if (order.size() != graph.before.size())
    return false;
  std::vector<int32_t> rank(order.size());
  for (size_t p = 0; p < order.size(); ++p)
    rank[order[p]] = int32_t(p);
  for (size_t n = 0; n < order.size(); ++n)
    for (int32_t b : graph.before[n])
      if (rank[b] >= rank[n])
        return false;
  return true;
}

/// Moves single nodes away from the peak: producers of values that cross it behind it, last users before it.
void movePeak(const RematProblem &problem, const Graph &graph, Timeline &timeline, Sequence &order, int64_t work) {
  size_t n = order.size();
  std::vector<int32_t> rank(n);
  timeline.simulate(order);
  int64_t stop = timeline.work + work;
  while (timeline.work < stop) {
    timeline.simulate(order);
    int64_t peak = timeline.peak;
    int32_t at = timeline.peakPosition;
    double sum = timeline.overflow(peak - peak / 16);
    for (size_t p = 0; p < n; ++p)
      rank[order[p]] = int32_t(p);
    std::vector<std::pair<int32_t, int32_t>> moves; // from, to
    for (int32_t p = 0; p < at; ++p) {
      if (timeline.lastUse[p] <= at || !problem.nodes[order[p]].size)
        continue;
      int32_t v = order[p], first = int32_t(n), last = -1;
      for (int32_t a : graph.after[v])
        first = std::min(first, rank[a]);
      if (first > at + 1 && first < int32_t(n))
        moves.push_back({p, first - 1});
      else if (first == at + 1)
        moves.push_back({p, at});
      // Its last user could run before the peak.
      last = timeline.lastUse[p] < int32_t(n) ? timeline.lastUse[p] : -1;
      if (last > at) {
        int32_t earliest = 0;
        for (int32_t b : graph.before[order[last]])
          earliest = std::max(earliest, rank[b] + 1);
        if (earliest <= at)
          moves.push_back({last, at});
      }
    }
    bool better = false;
    for (auto [from, to] : moves) {
      if (timeline.work >= stop)
        break;
      Sequence trial = order;
      if (from < to)
        std::rotate(trial.begin() + from, trial.begin() + from + 1, trial.begin() + to + 1);
      else
        std::rotate(trial.begin() + to, trial.begin() + from, trial.begin() + from + 1);
      if (!respects(graph, trial))
        continue;
      timeline.simulate(trial);
      if (timeline.peak < peak ||
          (timeline.peak == peak && timeline.overflow(peak - peak / 16) < sum * (1 - 1e-9))) {
        order = std::move(trial);
        better = true;
        break;
      }
    }
    if (!better)
      return;
  }
}

} // namespace

Sequence leastPeakOrder(const RematProblem &problem, int effort) {
  Graph graph(problem);
  RematArrays arrays(problem);
  Timeline timeline(arrays);
  int64_t work = int64_t(200'000'000) * effort;
  Sequence given = byIndex(graph);
  Sequence greedy = leastGrowth(problem, graph, work);
  Sequence candidates[] = {given, delayed(problem, graph, given), greedy, delayed(problem, graph, greedy)};
  Sequence best;
  int64_t bestPeak = 0;
  for (Sequence &candidate : candidates) {
    if (!respects(graph, candidate))
      continue;
    movePeak(problem, graph, timeline, candidate, int64_t(4'000'000) * effort);
    timeline.simulate(candidate);
    if (best.empty() || timeline.peak < bestPeak) {
      bestPeak = timeline.peak;
      best = std::move(candidate);
    }
  }
  return best;
}

} // namespace gmc::planning::detail
