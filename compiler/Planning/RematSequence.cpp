//===- RematSequence.cpp - Exact cost and memory of an order --------------===//
#include "compiler/Planning/RematSequence.h"

#include <algorithm>

namespace gmc::planning::detail {

Timeline::Timeline(const RematProblem &problem)
    : problem(problem), kept(problem.nodes.size(), 0), latest(problem.nodes.size(), -1) {
  for (int32_t k : problem.keep)
    kept[k] = 1;
}

bool Timeline::simulate(const Sequence &sequence) {
  int32_t length = int32_t(sequence.size());
  std::fill(latest.begin(), latest.end(), -1);
  lastUse.resize(length);
  memory.assign(length + 1, 0);
  cost = 0;
  work += length;
  for (int32_t p = 0; p < length; ++p) {
    const RematNode &node = problem.nodes[sequence[p]];
    for (int32_t d : node.deps) {
      if (latest[d] < 0)
        return false;
      lastUse[latest[d]] = p;
    }
    work += int64_t(node.deps.size());
    lastUse[p] = p;
    latest[sequence[p]] = p;
    cost += node.cost;
  }
  for (size_t n = 0; n < kept.size(); ++n)
    if (kept[n] && latest[n] >= 0)
      lastUse[latest[n]] = length; // to the end
  for (int32_t p = 0; p < length; ++p) {
    int64_t size = problem.nodes[sequence[p]].size;
    memory[p] += size;
    if (lastUse[p] < length)
      memory[lastUse[p] + 1] -= size;
  }
  // Once more over the latest occurrences for what is taken over in place.
  bool anyInplace = false;
  int64_t live = problem.fixedBytes;
  peak = live;
  peakPosition = 0;
  for (int32_t p = 0; p < length; ++p) {
    const RematNode &node = problem.nodes[sequence[p]];
    live += memory[p];
    memory[p] = live + node.workspace;
    anyInplace |= node.inplaceOf >= 0;
  }
  memory.resize(length);
  if (anyInplace) {
    std::fill(latest.begin(), latest.end(), -1);
    for (int32_t p = 0; p < length; ++p) {
      const RematNode &node = problem.nodes[sequence[p]];
      if (node.inplaceOf >= 0 && lastUse[latest[node.inplaceOf]] == p)
        memory[p] -= std::min(node.size, problem.nodes[node.inplaceOf].size);
      latest[sequence[p]] = p;
    }
  }
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
  std::vector<char> seen(problem.nodes.size());
  for (bool changed = true; changed;) {
    changed = false;
    if (!timeline.simulate(sequence))
      return;
    // An occurrence that nothing uses is needed only if it is the sole one of its node; of several, the later ones go.
    std::fill(seen.begin(), seen.end(), 0);
    Sequence rest;
    rest.reserve(sequence.size());
    for (size_t p = 0; p < sequence.size(); ++p) {
      bool repeated = seen[sequence[p]];
      seen[sequence[p]] = 1;
      if (repeated && timeline.lastUse[p] == int32_t(p)) {
        changed = true;
        continue;
      }
      rest.push_back(sequence[p]);
    }
    // A first occurrence that nothing uses before the next one goes as well.
    std::vector<int32_t> next(problem.nodes.size(), -1);
    if (!changed) {
      std::vector<char> drop(sequence.size(), 0);
      for (int32_t p = int32_t(sequence.size()) - 1; p >= 0; --p) {
        if (timeline.lastUse[p] == p && next[sequence[p]] >= 0)
          drop[p] = changed = true;
        next[sequence[p]] = p;
      }
      if (changed) {
        rest.clear();
        for (size_t p = 0; p < sequence.size(); ++p)
          if (!drop[p])
            rest.push_back(sequence[p]);
      }
    }
    sequence = std::move(rest);
  }
  timeline.simulate(sequence);
}

} // namespace gmc::planning::detail
