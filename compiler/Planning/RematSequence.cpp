//===- RematSequence.cpp - Exact cost and memory of an order --------------===//
#include "compiler/Planning/RematSequence.h"

#include <algorithm>

namespace gmc::planning::detail {

Timeline::Timeline(const RematProblem &problem) : kept(problem.nodes.size(), 0), latest(problem.nodes.size(), -1) {
  for (int32_t k : problem.keep)
    kept[k] = 1;
  fixedBytes = problem.fixedBytes;
  depStart.push_back(0);
  for (const RematNode &node : problem.nodes) {
    deps.insert(deps.end(), node.deps.begin(), node.deps.end());
    depStart.push_back(int32_t(deps.size()));
    facts.push_back({node.size, node.workspace, node.cost, node.inplaceOf});
    anyInplace |= node.inplaceOf >= 0;
  }
}

bool Timeline::simulate(const Sequence &sequence) {
  int32_t length = int32_t(sequence.size());
  std::fill(latest.begin(), latest.end(), -1);
  lastUse.resize(length);
  memory.assign(length + 1, 0);
  cost = 0;
  work += length;
  for (int32_t p = 0; p < length; ++p) {
    int32_t v = sequence[p];
    for (int32_t k = depStart[v]; k < depStart[v + 1]; ++k) {
      int32_t from = latest[deps[k]];
      if (from < 0)
        return false;
      lastUse[from] = p;
    }
    work += depStart[v + 1] - depStart[v];
    lastUse[p] = p;
    latest[v] = p;
    cost += facts[v].cost;
  }
  for (size_t n = 0; n < kept.size(); ++n)
    if (kept[n] && latest[n] >= 0)
      lastUse[latest[n]] = length; // to the end
  for (int32_t p = 0; p < length; ++p) {
    int64_t size = facts[sequence[p]].size;
    memory[p] += size;
    if (lastUse[p] < length)
      memory[lastUse[p] + 1] -= size;
  }
  int64_t live = fixedBytes;
  for (int32_t p = 0; p < length; ++p) {
    live += memory[p];
    memory[p] = live + facts[sequence[p]].workspace;
  }
  memory.resize(length);
  // Once more over the latest occurrences for what is taken over in place.
  if (anyInplace) {
    std::fill(latest.begin(), latest.end(), -1);
    for (int32_t p = 0; p < length; ++p) {
      const Facts &node = facts[sequence[p]];
      if (node.inplaceOf >= 0 && lastUse[latest[node.inplaceOf]] == p)
        memory[p] -= std::min(node.size, facts[node.inplaceOf].size);
      latest[sequence[p]] = p;
    }
  }
  peak = fixedBytes;
  peakPosition = 0;
  for (int32_t p = 0; p < length; ++p)
    if (memory[p] > peak) {
      peak = memory[p];
      peakPosition = p;
    }
  return true;
}

double Timeline::overflow(int64_t budget) const {
  double sum = 0;
  for (int64_t bytes : memory)
    if (bytes > budget)
      sum += double(bytes - budget);
  return sum;
}

RematSchedule Timeline::schedule(const Sequence &sequence) const {
  RematSchedule result;
  result.order = sequence;
  result.dropAfter.resize(sequence.size());
  for (size_t p = 0; p < sequence.size(); ++p)
    if (lastUse[p] < int32_t(sequence.size()))
      result.dropAfter[lastUse[p]].push_back(sequence[p]);
  result.cost = cost;
  result.peak = peak;
  return result;
}

void removeUnused(const RematProblem &problem, Timeline &timeline, Sequence &sequence) {
  int32_t length = int32_t(sequence.size());
  std::vector<int32_t> latest(problem.nodes.size(), -1), times(problem.nodes.size(), 0), uses(length, 0), used;
  for (int32_t p = 0; p < length; ++p) {
    for (int32_t d : problem.nodes[sequence[p]].deps) {
      if (latest[d] < 0)
        return;
      ++uses[latest[d]];
      used.push_back(latest[d]);
    }
    latest[sequence[p]] = p;
    ++times[sequence[p]];
  }
  for (int32_t k : problem.keep)
    if (latest[k] >= 0)
      ++uses[latest[k]];
  // From the end: what an occurrence uses lies before it. One of each node stays.
  std::vector<char> gone(length, 0);
  size_t end = used.size();
  bool any = false;
  for (int32_t p = length; p-- > 0;) {
    int32_t v = sequence[p];
    size_t start = end - problem.nodes[v].deps.size();
    if (!uses[p] && times[v] > 1) {
      --times[v];
      gone[p] = 1;
      any = true;
      for (size_t k = start; k < end; ++k)
        --uses[used[k]];
    }
    end = start;
  }
  if (any) {
    size_t kept = 0;
    for (int32_t p = 0; p < length; ++p)
      if (!gone[p])
        sequence[kept++] = sequence[p];
    sequence.resize(kept);
  }
  timeline.simulate(sequence);
}

} // namespace gmc::planning::detail
