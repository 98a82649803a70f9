//===- RematEvict.cpp - Eviction at the peak, and its improvement ---------===//
#include "compiler/Planning/RematSequence.h"

#include <algorithm>
#include <limits>

namespace gmc::planning::detail {

namespace {

/// One way of lowering the peak: do not hold a value from one use to the next but compute it again before the next.
struct Eviction {
  int32_t before;              ///< position that the recomputation goes in front of
  std::vector<int32_t> chain;  ///< nodes, in order of computation
  double score;                ///< cost per byte and position, the lower the better
};

constexpr double unlimited = std::numeric_limits<double>::infinity();

class Evictor {
public:
  Evictor(const RematArrays &arrays, int64_t budget, uint64_t seed)
      : arrays(arrays), budget(budget), timeline(arrays), trial(arrays), random{seed ? seed : 1}, jitter(seed != 0),
        inChain(arrays.count(), 0) {}

  bool run(Sequence &sequence, int64_t &work) {
    timeline.simulate(sequence);
    double overflow = 0;
    int64_t workThen = work;
    for (int steps = 0; timeline.peak > budget; ++steps) {
      if (arrays.large() &&
          steps % 32 == 0) { // given up where at this rate four times the work that is left would not do
        double now = timeline.overflow(budget);
        if (steps && now * double(workThen - work) > 4 * double(work) * (overflow - now))
          return false;
        overflow = now;
        workThen = work;
      }
      int64_t before = timeline.work + trial.work;
      bool stepped = step(sequence);
      if (!stepped && limit < unlimited) { // what was left out may be what helps
        limit = unlimited;
        stepped = step(sequence);
      }
      work -= timeline.work + trial.work - before + int64_t(sequence.size());
      if (!stepped || work <= 0)
        return false;
    }
    return true;
  }

private:
  /// A chain in the making.
  struct Chain {
    int32_t before;
    bool extend;
    int64_t evicted; ///< bytes
    double most;     ///< cost beyond which it is given up
    double cost;
    int64_t extended;
  };

  /// Extends the chain that recomputes v in front of `before` by what is not live there. `extended` collects the bytes
  /// that have to be held across the peak for that. False if it cannot be, or at too high a cost.
  bool addToChain(int32_t v, Chain &chain) {
    if (inChain[v])
      return true;
    if (!arrays[v].recomputable || touched.size() > 400 || (chain.cost += arrays[v].cost) > chain.most)
      return false;
    inChain[v] = 1;
    touched.push_back(v);
    for (int32_t d : arrays.depsOf(v)) {
      if (inChain[d])
        continue;
      int32_t occurrence = latest[d];
      if (occurrence >= 0 && timeline.lastUse[occurrence] >= chain.before)
        continue;
      bool liveAtPeak = occurrence >= 0 && timeline.lastUse[occurrence] >= timeline.peakPosition;
      bool hold = !arrays[d].recomputable || (chain.extend && (liveAtPeak || arrays[d].size * 4 <= chain.evicted));
      if (hold && occurrence >= 0) {
        if (!liveAtPeak)
          chain.extended += arrays[d].size;
        inChain[d] = 1; // counted once
        touched.push_back(d);
        continue;
      }
      if (!addToChain(d, chain))
        return false;
    }
    members.push_back(v);
    return true;
  }

  /// Ways not to hold v, which is live at the peak, after its use `previous` before the peak until `before`.
  void consider(int32_t v, int32_t previous, int32_t before) {
    const RematArrays::Node &node = arrays[v];
    if (!node.size || !node.recomputable)
      return;
    int64_t excess = timeline.peak - budget;
    double places = double(over[before] - over[previous + 1] + 1);
    for (bool extend : {false, true}) {
      // What scores worse than enough others, whatever it frees, is not tried.
      double worst = evictions.size() < tries ? limit : std::min(limit, evictions.front().score);
      double most = worst * double(std::min(node.size, excess)) * places * (jitter ? 2 : 1) * (1 + 1e-9);
      Chain chain{before, extend, node.size, most, 0, 0};
      members.clear();
      bool possible = addToChain(v, chain);
      for (int32_t t : touched)
        inChain[t] = 0;
      timeline.work += int64_t(touched.size()) * 4;
      bool same = touched.size() == 1;
      touched.clear();
      int64_t gain = node.size - chain.extended;
      if (possible && gain > 0) {
        double score = (chain.cost + 1e-12) / (double(std::min(gain, excess)) * places);
        if (jitter)
          score *= 0.5 + random.unit();
        evictions.push_back({before, members, score});
        std::push_heap(evictions.begin(), evictions.end(), better);
        if (evictions.size() > tries) {
          std::pop_heap(evictions.begin(), evictions.end(), better);
          evictions.pop_back();
        }
      }
      if (same)
        break;
    }
  }

  static bool better(const Eviction &a, const Eviction &b) {
    return a.score != b.score ? a.score < b.score
           : a.chain.back() != b.chain.back() ? a.chain.back() < b.chain.back() : a.chain.size() < b.chain.size();
  }

  bool step(Sequence &sequence) {
    int32_t length = int32_t(sequence.size()), peak = timeline.peakPosition;
    double overflow = timeline.overflow(budget);
    over.assign(length + 1, 0);
    for (int32_t p = 0; p < length; ++p)
      over[p + 1] = over[p] + (timeline.memory[p] > budget);
    // `latest` has the occurrences before p: those that a recomputation in front of p finds.
    latest.assign(arrays.count(), -1);
    used.resize(length);
    evictions.clear();
    for (int32_t p = 0; p < length; ++p) {
      for (int32_t d : arrays.depsOf(sequence[p])) {
        int32_t o = latest[d];
        if (p > peak && o < peak && used[o] < peak)
          consider(d, used[o], p);
        used[o] = p;
      }
      latest[sequence[p]] = p;
      used[p] = p;
    }
    for (int32_t n = 0; n < arrays.count(); ++n)
      if (int32_t o = latest[n]; arrays[n].kept && o >= 0 && o < peak && used[o] < peak)
        consider(n, used[o], length);
    std::sort_heap(evictions.begin(), evictions.end(), better);
    for (const Eviction &eviction : evictions) {
      Sequence next;
      next.reserve(sequence.size() + eviction.chain.size());
      next.insert(next.end(), sequence.begin(), sequence.begin() + eviction.before);
      next.insert(next.end(), eviction.chain.begin(), eviction.chain.end());
      next.insert(next.end(), sequence.begin() + eviction.before, sequence.end());
      trial.simulate(next);
      if (trial.overflow(budget) >= overflow * (1 - 1e-12))
        continue;
      removeUnused(trial, next);
      sequence = std::move(next);
      timeline.work += int64_t(sequence.size());
      limit = 2 * eviction.score; // the next is not much dearer
      std::swap(timeline, trial);
      return true;
    }
    return false;
  }

  static constexpr size_t tries = 60; ///< evictions that a step tries, best first

  const RematArrays &arrays;
  int64_t budget;
  Timeline timeline, trial;
  Random random;
  bool jitter;
  double limit = unlimited;        ///< evictions of higher scores are not sought
  std::vector<Eviction> evictions; ///< the best so far, a heap with the worst in front
  std::vector<char> inChain;
  std::vector<int32_t> touched, members; ///< of the chain in the making: nodes looked at, nodes in order of computation
  std::vector<int32_t> latest;           ///< per node: its latest occurrence
  std::vector<int32_t> used;             ///< per occurrence: its latest use, itself before any
  std::vector<int32_t> over;
};

/// Takes out recomputations, the dearest first, wherever the budget still holds without.
void removeRepeats(const RematArrays &arrays, Timeline &timeline, Sequence &sequence, int64_t budget, int64_t &work) {
  for (bool changed = true; changed && work > 0;) {
    changed = false;
    std::vector<int32_t> positions = repeats(arrays, sequence);
    std::sort(positions.begin(), positions.end(), [&](int32_t a, int32_t b) {
      double x = arrays[sequence[a]].cost, y = arrays[sequence[b]].cost;
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
      removeUnused(timeline, sequence);
    }
  }
}

} // namespace

std::vector<int32_t> repeats(const RematArrays &arrays, const Sequence &sequence) {
  std::vector<char> seen(arrays.count(), 0);
  std::vector<int32_t> result;
  for (size_t p = 0; p < sequence.size(); ++p) {
    if (seen[sequence[p]])
      result.push_back(int32_t(p));
    seen[sequence[p]] = 1;
  }
  return result;
}

bool evictToBudget(const RematArrays &arrays, Sequence &sequence, int64_t budget, uint64_t seed, int64_t &work) {
  return Evictor(arrays, budget, seed).run(sequence, work);
}

void improveSequence(const RematArrays &arrays, Sequence &sequence, int64_t budget, int64_t &work) {
  Timeline timeline(arrays);
  removeUnused(timeline, sequence);
  removeRepeats(arrays, timeline, sequence, budget, work);
  timeline.simulate(sequence);
  double best = timeline.cost;
  Random random{0xD1B54A32D192ED03ull};
  while (work > 0) {
    std::vector<int32_t> positions = repeats(arrays, sequence);
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
    bool fits = evictToBudget(arrays, trial, budget, random.next() | 1, work);
    if (fits) {
      removeUnused(timeline, trial);
      timeline.simulate(trial);
      if (timeline.cost <= best * 1.02)
        removeRepeats(arrays, timeline, trial, budget, work);
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
