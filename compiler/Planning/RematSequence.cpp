//===- RematSequence.cpp - Exact cost and memory of an order --------------===//
#include "compiler/Planning/RematSequence.h"

#include <algorithm>

namespace gmc::planning::detail {

RematArrays::RematArrays(const RematProblem &problem) : fixedBytes(problem.fixedBytes) {
  nodes.reserve(problem.nodes.size());
  depStart.push_back(0);
  for (const RematNode &node : problem.nodes) {
    deps.insert(deps.end(), node.deps.begin(), node.deps.end());
    depStart.push_back(int32_t(deps.size()));
    nodes.push_back({node.size, node.workspace, node.cost, node.inplaceOf, node.recomputable, false});
    anyInplace |= node.inplaceOf >= 0;
  }
  for (int32_t k : problem.keep)
    nodes[k].kept = true;
}

bool Timeline::simulate(const Sequence &sequence) {
  const std::vector<RematArrays::Node> &nodes = arrays->nodes;
  int32_t length = int32_t(sequence.size());
  std::fill(latest.begin(), latest.end(), -1);
  lastUse.resize(length);
  memory.assign(length + 1, 0);
  cost = 0;
  work += length;
  for (int32_t p = 0; p < length; ++p) {
    int32_t v = sequence[p];
    std::span<const int32_t> deps = arrays->depsOf(v);
    for (int32_t d : deps) {
      int32_t from = latest[d];
      if (from < 0)
        return false;
      lastUse[from] = p;
    }
    work += int64_t(deps.size());
    lastUse[p] = p;
    latest[v] = p;
    cost += nodes[v].cost;
  }
  for (size_t n = 0; n < nodes.size(); ++n)
    if (nodes[n].kept && latest[n] >= 0)
      lastUse[latest[n]] = length; // to the end
  for (int32_t p = 0; p < length; ++p) {
    int64_t size = nodes[sequence[p]].size;
    memory[p] += size;
    if (lastUse[p] < length)
      memory[lastUse[p] + 1] -= size;
  }
  int64_t live = arrays->fixedBytes;
  for (int32_t p = 0; p < length; ++p) {
    live += memory[p];
    memory[p] = live + nodes[sequence[p]].workspace;
  }
  memory.resize(length);
  // Once more over the latest occurrences for what is taken over in place.
  if (arrays->anyInplace) {
    std::fill(latest.begin(), latest.end(), -1);
    for (int32_t p = 0; p < length; ++p) {
      const RematArrays::Node &node = nodes[sequence[p]];
      if (node.inplaceOf >= 0 && lastUse[latest[node.inplaceOf]] == p)
        memory[p] -= std::min(node.size, nodes[node.inplaceOf].size);
      latest[sequence[p]] = p;
    }
  }
  peak = arrays->fixedBytes;
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

void removeUnused(Timeline &timeline, Sequence &sequence) {
  const RematArrays &arrays = *timeline.arrays;
  int32_t length = int32_t(sequence.size());
  if (!timeline.simulate(sequence))
    return;
  std::vector<int32_t> times(arrays.count(), 0);
  for (int32_t v : sequence)
    ++times[v];
  bool any = false;
  for (int32_t p = 0; p < length; ++p)
    any |= timeline.lastUse[p] == p && times[sequence[p]] > 1;
  if (!any)
    return;
  std::vector<int32_t> latest(arrays.count(), -1), uses(length, 0), used;
  used.reserve(3 * length);
  for (int32_t p = 0; p < length; ++p) {
    for (int32_t d : arrays.depsOf(sequence[p])) {
      ++uses[latest[d]];
      used.push_back(latest[d]);
    }
    latest[sequence[p]] = p;
  }
  for (int32_t n = 0; n < arrays.count(); ++n)
    if (arrays[n].kept && latest[n] >= 0)
      ++uses[latest[n]];
  // From the end: what an occurrence uses lies before it. One of each node stays.
  std::vector<char> gone(length, 0);
  size_t end = used.size();
  for (int32_t p = length; p-- > 0;) {
    int32_t v = sequence[p];
    size_t start = end - arrays.depsOf(v).size();
    if (!uses[p] && times[v] > 1) {
      --times[v];
      gone[p] = 1;
      for (size_t k = start; k < end; ++k)
        --uses[used[k]];
    }
    end = start;
  }
  size_t kept = 0;
  for (int32_t p = 0; p < length; ++p)
    if (!gone[p])
      sequence[kept++] = sequence[p];
  sequence.resize(kept);
  timeline.simulate(sequence);
}

} // namespace gmc::planning::detail
