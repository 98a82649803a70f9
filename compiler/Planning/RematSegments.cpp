//===- RematSegments.cpp - Checkpoints at even distances ------------------===//
//
// Part of gmc. A start for small budgets: the order up to the peak is cut into segments of equal bytes; what a segment
// hands to later ones is held, everything else of it is computed again, all at once, when the way back first needs it
// (Chen et al., "Training Deep Nets with Sublinear Memory Cost", 2016). Eviction then goes on from there, and what the
// budget has room for is held after all.
//
//===----------------------------------------------------------------------===//
#include "compiler/Planning/RematSequence.h"

#include <algorithm>

namespace gmc::planning::detail {

Sequence segmented(const RematProblem &problem, Timeline &timeline, const Sequence &order, int segments) {
  int32_t length = int32_t(order.size());
  timeline.simulate(order);
  int32_t turn = timeline.peakPosition;
  std::vector<int32_t> rank(problem.nodes.size()), back(length, length), ahead(length);
  for (int32_t p = 0; p < length; ++p) {
    rank[order[p]] = p;
    ahead[p] = p;
  }
  // back: the first use behind the turn; ahead: the last one before it.
  for (int32_t p = 0; p < length; ++p)
    for (int32_t d : problem.nodes[order[p]].deps) {
      int32_t from = rank[d];
      if (p > turn)
        back[from] = std::min(back[from], p);
      else
        ahead[from] = std::max(ahead[from], p);
    }
  // Bytes that a cut behind a position would hold, and bytes that wait for the way back.
  std::vector<int64_t> held(turn + 2, 0);
  int64_t waiting = 0;
  auto waits = [&](int32_t p) {
    const RematNode &node = problem.nodes[order[p]];
    return p <= turn && back[p] < length && node.size && node.recomputable;
  };
  for (int32_t p = 0; p <= turn; ++p) {
    held[p] += problem.nodes[order[p]].size;
    held[ahead[p]] -= problem.nodes[order[p]].size;
    waiting += waits(p) ? problem.nodes[order[p]].size : 0;
  }
  for (int32_t p = 1; p <= turn; ++p)
    held[p] += held[p - 1];
  std::vector<int32_t> ends;
  int64_t since = 0;
  double share = double(waiting) / segments;
  for (int32_t p = 0, best = -1; p <= turn; ++p) {
    since += waits(p) ? problem.nodes[order[p]].size : 0;
    if (double(since) >= 0.75 * share && (best < 0 || held[p] < held[best]))
      best = p;
    if (double(since) >= 1.25 * share || p == turn) {
      ends.push_back(best < 0 ? p : best);
      p = ends.back();
      best = -1;
      since = 0;
    }
  }
  // What goes in front of each position.
  std::vector<std::pair<int32_t, std::vector<int32_t>>> again;
  int32_t begin = 0;
  for (int32_t end : ends) {
    int32_t before = length;
    std::vector<char> wanted(end - begin + 1, 0);
    for (int32_t p = begin; p <= end; ++p)
      if (waits(p) && ahead[p] <= end) {
        before = std::min(before, back[p]);
        wanted[p - begin] = 1;
      }
    // With everything that they are computed from and that is not held.
    for (int32_t p = end; p >= begin; --p)
      if (wanted[p - begin])
        for (int32_t d : problem.nodes[order[p]].deps)
          if (int32_t from = rank[d]; from >= begin && ahead[from] <= end && problem.nodes[d].recomputable)
            wanted[from - begin] = 1;
    std::vector<int32_t> chain;
    for (int32_t p = begin; p <= end; ++p)
      if (wanted[p - begin])
        chain.push_back(order[p]);
    if (before < length)
      again.push_back({before, std::move(chain)});
    begin = end + 1;
  }
  std::stable_sort(again.begin(), again.end(), [](const auto &a, const auto &b) { return a.first < b.first; });
  Sequence result;
  int32_t done = 0;
  for (const auto &[before, chain] : again) {
    result.insert(result.end(), order.begin() + done, order.begin() + before);
    result.insert(result.end(), chain.begin(), chain.end());
    done = before;
  }
  result.insert(result.end(), order.begin() + done, order.end());
  removeUnused(timeline, result);
  return result;
}

} // namespace gmc::planning::detail
