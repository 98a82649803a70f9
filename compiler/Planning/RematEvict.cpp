//===- RematEvict.cpp - Eviction at the peak, and its improvement ---------===//
#include "compiler/Planning/RematSequence.h"

#include <algorithm>
#include <numeric>

namespace gmc::planning::detail {

namespace {

/// One way of lowering the peak: do not hold a value from one use to the next but compute it again before the next.
struct Eviction {
  int32_t before;              ///< position that the recomputation goes in front of
  std::vector<int32_t> chain;  ///< nodes, in order of computation
  double score;                ///< cost per byte and position, the lower the better
};

class Evictor {
public:
  Evictor(const RematProblem &problem, int64_t budget, uint64_t seed)
      : problem(problem), budget(budget), timeline(problem), trial(problem), random{seed ? seed : 1}, jitter(seed != 0),
        inChain(problem.nodes.size(), 0) {}

  bool run(Sequence &sequence, int64_t &work) {
    timeline.simulate(sequence);
    while (timeline.peak > budget) {
      int64_t before = timeline.work + trial.work;
      bool stepped = step(sequence);
      work -= timeline.work + trial.work - before + int64_t(sequence.size());
      if (!stepped || work <= 0)
        return false;
    }
    return true;
  }

private:
  /// Positions of the uses of each occurrence, ascending.
  void collectUses(const Sequence &sequence) {
    size_t length = sequence.size();
    std::vector<int32_t> latest(problem.nodes.size(), -1);
    occurrences.assign(problem.nodes.size(), {});
    uses.resize(length);
    for (size_t p = 0; p < length; ++p) {
      uses[p].clear();
      for (int32_t d : problem.nodes[sequence[p]].deps)
        uses[latest[d]].push_back(int32_t(p));
      latest[sequence[p]] = int32_t(p);
      occurrences[sequence[p]].push_back(int32_t(p));
    }
    over.assign(length + 1, 0);
    for (size_t p = 0; p < length; ++p)
      over[p + 1] = over[p] + (timeline.memory[p] > budget);
  }

  /// The occurrence of a node that is the latest before a position; -1 if none.
  int32_t occurrenceBefore(int32_t node, int32_t position) const {
    const auto &all = occurrences[node];
    auto it = std::lower_bound(all.begin(), all.end(), position);
    return it == all.begin() ? -1 : *std::prev(it);
  }

  /// Extends the chain that recomputes v in front of `before` by what is not live there. `extended` collects the bytes that
  /// have to be held across `peak` for that. False if it cannot be.
  bool addToChain(int32_t v, int32_t before, int32_t peak, bool extend, int64_t evicted, std::vector<int32_t> &chain,
                  int64_t &extended) {
    if (inChain[v])
      return true;
    if (!problem.nodes[v].recomputable || touched.size() > 400)
      return false;
    inChain[v] = 1;
    touched.push_back(v);
    for (int32_t d : problem.nodes[v].deps) {
      if (inChain[d])
        continue;
      int32_t occurrence = occurrenceBefore(d, before);
      if (occurrence >= 0 && timeline.lastUse[occurrence] >= before)
        continue;
      bool liveAtPeak = occurrence >= 0 && timeline.lastUse[occurrence] >= peak;
      bool hold = !problem.nodes[d].recomputable ||
                  (extend && (liveAtPeak || problem.nodes[d].size * 4 <= evicted));
      if (hold && occurrence >= 0) {
        if (!liveAtPeak)
          extended += problem.nodes[d].size;
        inChain[d] = 1; // counted once
        touched.push_back(d);
        continue;
      }
      if (!addToChain(d, before, peak, extend, evicted, chain, extended))
        return false;
    }
    chain.push_back(v);
    return true;
  }

  bool step(Sequence &sequence) {
    collectUses(sequence);
    int32_t length = int32_t(sequence.size()), peak = timeline.peakPosition;
    int64_t excess = timeline.peak - budget;
    double overflow = timeline.overflow(budget);
    std::vector<Eviction> evictions;
    for (int32_t o = 0; o < peak; ++o) {
      int32_t v = sequence[o];
      if (timeline.lastUse[o] <= peak || !problem.nodes[v].size || !problem.nodes[v].recomputable)
        continue;
      auto next = std::lower_bound(uses[o].begin(), uses[o].end(), peak);
      if (next != uses[o].end() && *next == peak)
        continue;
      int32_t previous = next == uses[o].begin() ? o : *std::prev(next);
      int32_t before = next == uses[o].end() ? length : *next;
      for (bool extend : {false, true}) {
        std::vector<int32_t> chain;
        int64_t extended = 0;
        bool possible = addToChain(v, before, peak, extend, problem.nodes[v].size, chain, extended);
        for (int32_t t : touched)
          inChain[t] = 0;
        timeline.work += int64_t(touched.size()) * 4;
        bool same = touched.size() == 1;
        touched.clear();
        int64_t gain = problem.nodes[v].size - extended;
        if (possible && gain > 0) {
          double cost = 0;
          for (int32_t c : chain)
            cost += problem.nodes[c].cost;
          double worth = double(std::min(gain, excess)) * double(over[before] - over[previous + 1] + 1);
          double score = (cost + 1e-12) / worth;
          if (jitter)
            score *= 0.5 + random.unit();
          evictions.push_back({before, std::move(chain), score});
        }
        if (same)
          break;
      }
    }
    std::sort(evictions.begin(), evictions.end(), [](const Eviction &a, const Eviction &b) {
      return a.score != b.score ? a.score < b.score : a.chain.back() < b.chain.back();
    });
    int tries = 0;
    for (const Eviction &eviction : evictions) {
      if (++tries > 60)
        break;
      Sequence next;
      next.reserve(sequence.size() + eviction.chain.size());
      next.insert(next.end(), sequence.begin(), sequence.begin() + eviction.before);
      next.insert(next.end(), eviction.chain.begin(), eviction.chain.end());
      next.insert(next.end(), sequence.begin() + eviction.before, sequence.end());
      trial.simulate(next);
      if (trial.overflow(budget) >= overflow * (1 - 1e-12))
        continue;
      removeUnused(problem, trial, next);
      sequence = std::move(next);
      timeline.simulate(sequence);
      return true;
    }
    return false;
  }

  const RematProblem &problem;
  int64_t budget;
  Timeline timeline, trial;
  Random random;
  bool jitter;
  std::vector<int32_t> touched;
  std::vector<char> inChain;
  std::vector<std::vector<int32_t>> uses, occurrences;
  std::vector<int32_t> over;
};

/// Takes out recomputations, the dearest first, wherever the budget still holds without.
void removeRepeats(const RematProblem &problem, Timeline &timeline, Sequence &sequence, int64_t budget, int64_t &work) {
  for (bool changed = true; changed && work > 0;) {
    changed = false;
    std::vector<int32_t> positions = repeats(problem, sequence);
    std::sort(positions.begin(), positions.end(), [&](int32_t a, int32_t b) {
      double x = problem.nodes[sequence[a]].cost, y = problem.nodes[sequence[b]].cost;
      return x != y ? x > y : a < b;
    });
    std::vector<char> gone(sequence.size(), 0);
    for (int32_t p : positions) {
      int64_t before = timeline.work;
      gone[p] = 1;
      Sequence trial;
      trial.reserve(sequence.size());
      for (size_t k = 0; k < sequence.size(); ++k)
        if (!gone[k])
          trial.push_back(sequence[k]);
      bool fits = timeline.simulate(trial) && timeline.peak <= budget;
      gone[p] = fits;
      changed |= fits;
      work -= timeline.work - before;
      if (work <= 0)
        break;
    }
    if (changed) {
      Sequence rest;
      for (size_t k = 0; k < sequence.size(); ++k)
        if (!gone[k])
          rest.push_back(sequence[k]);
      sequence = std::move(rest);
      removeUnused(problem, timeline, sequence);
    }
  }
}

} // namespace

std::vector<int32_t> repeats(const RematProblem &problem, const Sequence &sequence) {
  std::vector<char> seen(problem.nodes.size(), 0);
  std::vector<int32_t> result;
  for (size_t p = 0; p < sequence.size(); ++p) {
    if (seen[sequence[p]])
      result.push_back(int32_t(p));
    seen[sequence[p]] = 1;
  }
  return result;
}

bool evictToBudget(const RematProblem &problem, Sequence &sequence, int64_t budget, uint64_t seed, int64_t &work) {
  return Evictor(problem, budget, seed).run(sequence, work);
}

void improveSequence(const RematProblem &problem, Sequence &sequence, int64_t budget, int64_t &work) {
  Timeline timeline(problem);
  removeUnused(problem, timeline, sequence);
  removeRepeats(problem, timeline, sequence, budget, work);
  timeline.simulate(sequence);
  double best = timeline.cost;
  Random random{0xD1B54A32D192ED03ull};
  while (work > 0) {
    std::vector<int32_t> positions = repeats(problem, sequence);
    if (positions.empty())
      return;
    // Take out a few recomputations that lie together, or a few at random, and evict anew.
    size_t count = 1 + random.below(std::min<size_t>(positions.size(), 12));
    std::vector<char> gone(sequence.size(), 0);
    size_t start = random.below(positions.size());
    bool together = random.below(2);
    for (size_t k = 0; k < count; ++k)
      gone[positions[together ? (start + k) % positions.size() : random.below(positions.size())]] = 1;
    Sequence trial;
    for (size_t k = 0; k < sequence.size(); ++k)
      if (!gone[k])
        trial.push_back(sequence[k]);
    work -= int64_t(sequence.size());
    int64_t before = timeline.work;
    bool fits = evictToBudget(problem, trial, budget, random.next() | 1, work);
    if (fits) {
      removeUnused(problem, timeline, trial);
      timeline.simulate(trial);
      if (timeline.cost <= best * 1.02)
        removeRepeats(problem, timeline, trial, budget, work);
      timeline.simulate(trial);
      if (timeline.peak <= budget && timeline.cost <= best) {
        best = timeline.cost;
        sequence = std::move(trial);
      }
    }
    work -= timeline.work - before;
  }
}

} // namespace gmc::planning::detail
