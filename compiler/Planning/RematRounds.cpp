//===- RematRounds.cpp - Eviction in rounds, for long sequences -----------===//
//
// Part of gmc. Where RematEvict.cpp takes out one value at the peak and looks again, this takes out many at once: all
// gaps between uses are scored against the same simulation, and the best that do not lean on each other are applied
// together. A budget costs a few dozen passes over the sequence, however many values have to go.
//
//===----------------------------------------------------------------------===//
#include "compiler/Planning/RematSequence.h"

#include <algorithm>
#include <limits>
#include <tuple>
#include <unordered_set>

namespace gmc::planning::detail {

namespace {

/// The value of an occurrence is not held over (after, before) but computed again in front of `before`.
struct Gap {
  int32_t occurrence, after, before;
  int32_t chain, chainEnd;   ///< in Rounds::chains: nodes, in order of computation
  int32_t leans, leansEnd;   ///< in Rounds::leaned: occurrences that must be live at `before`
  int64_t gain;              ///< bytes freed
  int32_t over;              ///< positions above the budget inside
  double score;              ///< cost per byte and position, the lower the better
  uint64_t key;              ///< node of the value, and node in front of which it is computed again
};

constexpr double unlimited = std::numeric_limits<double>::infinity();

class Rounds {
public:
  Rounds(const RematArrays &arrays, int64_t budget, uint64_t seed, int64_t &work)
      : arrays(arrays), budget(budget), work(work), timeline(arrays), trial(arrays), random{seed ? seed : 1},
        jitter(seed != 0), inChain(arrays.count(), 0) {}

  bool run(Sequence &sequence) {
    timeline.simulate(sequence);
    double overflow = timeline.overflow(budget), before = overflow;
    if (timeline.peak > budget && arrays.large())
      limit = firstLimit(sequence, overflow);
    Sequence lowest = sequence;
    int64_t least = timeline.peak;
    for (int round = 1; timeline.peak > budget; ++round) {
      // Given up: out of work, or 16 rounds have not taken away a hundredth of what is above the budget.
      bool stuck = round % 16 == 0 && overflow > before * 0.99;
      if (round % 16 == 0)
        before = overflow;
      work -= int64_t(sequence.size()) * 8;
      bool better = advance(sequence, overflow);
      if (!better && arrays.large() && (!useless.empty() || limit < unlimited)) { // what was left out may be what helps
        useless.clear();
        limit = unlimited;
        better = advance(sequence, overflow);
      }
      if (timeline.peak < least) {
        least = timeline.peak;
        lowest = sequence;
      }
      if (!better || stuck || work <= 0) {
        sequence = std::move(lowest);
        return false;
      }
    }
    return true;
  }

private:
  /// One round: gaps with scores up to the limit, as many of the best as shrink what is above the budget by a third.
  bool advance(Sequence &sequence, double &overflow) {
    collect(sequence);
    size_t most = select(overflow, gaps.size());
    if (limit < unlimited && left > overflow * enough) { // too few below the limit
      limit = unlimited;
      collect(sequence);
      most = select(overflow, gaps.size());
    }
    // The next round's are not much dearer than the dearest of this one.
    if (most && arrays.large())
      limit = 8 * gaps[chosen.back()].score;
    // Half as many while together they do not help; then each of the best alone.
    for (int tries = 0; tries < 6 && most; ++tries) {
      if (apply(sequence, overflow))
        return true;
      if (most /= 2; most && tries < 5)
        most = select(overflow, most);
    }
    int alone = 0;
    for (size_t g = 0; g < gaps.size() && alone < 40 && work > 0; ++g) {
      if (!useless.insert(gaps[g].key).second && arrays.large())
        continue;
      chosen = {int32_t(g)};
      if (apply(sequence, overflow))
        return true;
      ++alone;
    }
    return false;
  }

  /// A limit that leaves enough gaps to choose from, going by the cost of their values alone.
  double firstLimit(const Sequence &sequence, double overflow) {
    std::vector<std::pair<double, double>>
        values; // score of a chain of one node, bytes times positions above the budget
    passGaps(sequence, [&](int32_t v, int32_t after, int32_t before) {
      double worth = double(arrays[v].size) * (over[before] - over[after + 1]);
      if (worth > 0 && arrays[v].recomputable)
        values.push_back({arrays[v].cost / worth, worth});
    });
    std::sort(values.begin(), values.end());
    double sum = 0;
    for (auto [score, worth] : values)
      if ((sum += worth) > 2 * overflow)
        return 8 * score;
    return unlimited;
  }

  /// The gaps worth closing, best first: those between two uses of an occurrence, or its last use and the end.
  void collect(const Sequence &sequence) {
    gaps.clear();
    chains.clear();
    leaned.clear();
    passGaps(sequence, [&](int32_t v, int32_t after, int32_t before) {
      uint64_t key =
          uint64_t(v) << 32 | uint32_t(before < int32_t(sequence.size()) ? sequence[before] : arrays.count());
      consider(v, after, before, key);
    });
    rank();
  }

  /// Calls `visit(node, after, before)` for the gaps of the latest occurrence of each node, by rising `before`.
  /// `latest` has the occurrences that a recomputation in front of `before` finds.
  template <typename Visitor> void passGaps(const Sequence &sequence, Visitor visit) {
    int32_t length = int32_t(sequence.size());
    over.assign(length + 1, 0);
    for (int32_t p = 0; p < length; ++p)
      over[p + 1] = over[p] + (timeline.memory[p] > budget);
    latest.assign(arrays.count(), -1);
    touched.resize(length);
    for (int32_t p = 0; p < length; ++p) {
      for (int32_t d : arrays.depsOf(sequence[p])) {
        if (int32_t after = touched[latest[d]]; after + 1 < p)
          visit(d, after, p);
        touched[latest[d]] = p;
      }
      latest[sequence[p]] = p;
      touched[p] = p;
    }
    for (int32_t n = 0; n < arrays.count(); ++n)
      if (arrays[n].kept && latest[n] >= 0 && touched[latest[n]] + 1 < length)
        visit(n, touched[latest[n]], length);
  }

  void consider(int32_t v, int32_t after, int32_t before, uint64_t key) {
    const RematArrays::Node &node = arrays[v];
    int32_t inside = over[before] - over[after + 1];
    if (!inside || !node.size || !node.recomputable)
      return;
    // A chain beyond this cost scores above the limit, whatever it frees.
    double most = limit * double(node.size) * inside * (jitter ? 2 : 1);
    for (bool hold : {false, true}) {
      Gap gap{latest[v], after, before, int32_t(chains.size()), 0, int32_t(leaned.size()), 0, node.size,
              inside,    0,     key};
      Chain chain{before, hold, node.size, most, 1e-12, 0};
      bool possible = addToChain(v, chain);
      bool alone = members.size() == 1;
      work -= 4 * int64_t(members.size());
      for (int32_t m : members)
        inChain[m] = 0;
      members.clear();
      gap.chainEnd = int32_t(chains.size());
      gap.leansEnd = int32_t(leaned.size());
      gap.gain = node.size - chain.held;
      if (possible && gap.gain > 0) {
        gap.score = chain.cost / (double(gap.gain) * inside);
        gaps.push_back(gap);
      }
      if (alone)
        break;
    }
  }

  /// Varies the scores where that is wanted, keeps the better one of the two ways of closing a gap, and sorts.
  void rank() {
    std::sort(gaps.begin(), gaps.end(), [](const Gap &a, const Gap &b) {
      return std::tie(a.occurrence, a.before, a.chain) < std::tie(b.occurrence, b.before, b.chain);
    });
    size_t kept = 0;
    for (size_t g = 0; g < gaps.size(); ++g) {
      Gap gap = gaps[g];
      if (jitter)
        gap.score *= 0.5 + random.unit();
      if (gap.score > limit)
        continue;
      if (kept && gaps[kept - 1].occurrence == gap.occurrence && gaps[kept - 1].before == gap.before) {
        if (gap.score < gaps[kept - 1].score)
          gaps[kept - 1] = gap;
        continue;
      }
      gaps[kept++] = gap;
    }
    gaps.resize(kept);
    std::sort(gaps.begin(), gaps.end(), [](const Gap &a, const Gap &b) {
      return a.score != b.score ? a.score < b.score
             : a.occurrence != b.occurrence ? a.occurrence < b.occurrence : a.before < b.before;
    });
  }

  /// A chain in the making.
  struct Chain {
    int32_t before;
    bool hold;
    int64_t evicted; ///< bytes
    double most;     ///< cost beyond which it is given up
    double cost;
    int64_t held;
  };

  /// Extends the chain that computes v again in front of `before` by what is not live there. With `hold`, what is small
  /// is held from its last use instead; `held` sums those bytes. False if v cannot be had again, or at too high a cost.
  bool addToChain(int32_t v, Chain &chain) {
    if (inChain[v])
      return true;
    if (!arrays[v].recomputable || members.size() > 100 || (chain.cost += arrays[v].cost) > chain.most)
      return false;
    inChain[v] = 1;
    members.push_back(v);
    for (int32_t d : arrays.depsOf(v)) {
      if (inChain[d])
        continue;
      int32_t occurrence = latest[d];
      if (occurrence >= 0 && timeline.lastUse[occurrence] >= chain.before) {
        leaned.push_back(occurrence);
        continue;
      }
      if (occurrence >= 0 && (!arrays[d].recomputable || (chain.hold && arrays[d].size * 4 <= chain.evicted))) {
        chain.held += arrays[d].size;
        inChain[d] = 1; // counted once
        members.push_back(d);
        leaned.push_back(occurrence);
        continue;
      }
      if (!addToChain(d, chain))
        return false;
    }
    chains.push_back(v);
    return true;
  }

  /// Chooses gaps, best first, at most `most`, until enough of what is above the budget is gone. Gaps that lean on what
  /// another one takes away wait for the next round. Returns how many.
  size_t select(double overflow, size_t most) {
    chosen.clear();
    estimate = timeline.memory;
    taken.clear();
    firstTaken.assign(estimate.size(), -1);
    pins.clear();
    firstPin.assign(estimate.size(), -1);
    left = overflow;
    for (size_t g = 0; g < gaps.size() && chosen.size() < most && left > overflow * enough; ++g) {
      const Gap &gap = gaps[g];
      bool free = true;
      for (int32_t k = firstPin[gap.occurrence]; k >= 0; k = pins[k].next)
        free &= pins[k].before <= gap.after || pins[k].before > gap.before;
      for (int32_t l = gap.leans; l < gap.leansEnd && free; ++l)
        for (int32_t k = firstTaken[leaned[l]]; k >= 0; k = taken[k].next)
          free &= gap.before <= taken[k].after || gap.before > taken[k].before;
      if (!free)
        continue;
      int32_t still = 0;
      for (int32_t p = gap.after + 1; p < gap.before; ++p)
        still += estimate[p] > budget;
      work -= (gap.before - gap.after) / 4;
      if (still * 2 < gap.over || !still)
        continue;
      for (int32_t p = gap.after + 1; p < gap.before; ++p) {
        if (estimate[p] > budget)
          left -= double(std::min(gap.gain, estimate[p] - budget));
        estimate[p] -= gap.gain;
      }
      taken.push_back({gap.after, gap.before, firstTaken[gap.occurrence]});
      firstTaken[gap.occurrence] = int32_t(taken.size()) - 1;
      for (int32_t l = gap.leans; l < gap.leansEnd; ++l) {
        pins.push_back({gap.before, firstPin[leaned[l]]});
        firstPin[leaned[l]] = int32_t(pins.size()) - 1;
      }
      chosen.push_back(int32_t(g));
    }
    return chosen.size();
  }

  /// Puts the recomputations of the chosen gaps into the sequence. False, and nothing changed, unless less is above the
  /// budget than before.
  bool apply(Sequence &sequence, double &overflow) {
    std::sort(chosen.begin(), chosen.end(), [&](int32_t a, int32_t b) {
      return gaps[a].before != gaps[b].before ? gaps[a].before < gaps[b].before : a < b;
    });
    Sequence next;
    next.reserve(sequence.size() + chains.size());
    int32_t done = 0;
    for (size_t c = 0; c < chosen.size();) {
      int32_t before = gaps[chosen[c]].before;
      next.insert(next.end(), sequence.begin() + done, sequence.begin() + before);
      done = before;
      size_t first = next.size();
      for (; c < chosen.size() && gaps[chosen[c]].before == before; ++c)
        for (int32_t k = gaps[chosen[c]].chain; k < gaps[chosen[c]].chainEnd; ++k)
          if (std::find(next.begin() + first, next.end(), chains[k]) == next.end())
            next.push_back(chains[k]);
    }
    next.insert(next.end(), sequence.begin() + done, sequence.end());
    work -= 4 * int64_t(next.size());
    removeUnused(trial, next);
    double then = trial.overflow(budget);
    if (then >= overflow * (1 - 1e-12))
      return false;
    overflow = then;
    sequence = std::move(next);
    std::swap(timeline, trial);
    return true;
  }

  static constexpr double enough = 0.7; ///< of what is above the budget may stay there after a round

  struct Taken { ///< of one occurrence, as a list
    int32_t after, before, next;
  };
  struct Pin {
    int32_t before, next;
  };

  const RematArrays &arrays;
  int64_t budget;
  int64_t &work;
  Timeline timeline, trial;
  Random random;
  bool jitter;
  double limit = unlimited; ///< gaps of higher scores are not collected
  double left = 0;          ///< above the budget after what select() chose, by its estimate
  std::unordered_set<uint64_t> useless; ///< keys of gaps that alone did not help
  std::vector<char> inChain;
  std::vector<int32_t> members; ///< of the chain in the making
  std::vector<int32_t> latest;  ///< per node: its latest occurrence
  std::vector<int32_t> touched; ///< per occurrence: its latest use, itself before any
  std::vector<int32_t> chains, leaned, chosen, over;
  std::vector<Gap> gaps;
  std::vector<int64_t> estimate;
  std::vector<Taken> taken;
  std::vector<Pin> pins;
  std::vector<int32_t> firstTaken, firstPin; ///< per occurrence: in `taken`, in `pins`
};

/// Maximum over ranges of an array to which amounts are added, by blocks.
class Profile {
public:
  explicit Profile(std::vector<int64_t> values) : values(std::move(values)), tops(this->values.size() / block + 1, 0) {
    for (size_t k = 0; k < tops.size(); ++k)
      refresh(k);
  }
  int64_t most(size_t from, size_t to) const {
    int64_t top = 0;
    for (size_t p = from; p < to;) {
      if (p % block == 0 && p + block <= to) {
        top = std::max(top, tops[p / block]);
        p += block;
      } else {
        top = std::max(top, values[p++]);
      }
    }
    return top;
  }
  void add(size_t from, size_t to, int64_t amount) {
    for (size_t p = from; p < to; ++p)
      values[p] += amount;
    for (size_t k = from / block; from < to && k <= (to - 1) / block; ++k)
      refresh(k);
  }

private:
  static constexpr size_t block = 64;
  void refresh(size_t k) {
    tops[k] = 0;
    for (size_t p = k * block; p < std::min(values.size(), (k + 1) * block); ++p)
      tops[k] = std::max(tops[k], values[p]);
  }
  std::vector<int64_t> values, tops;
};

} // namespace

bool evictInRounds(const RematArrays &arrays, Sequence &sequence, int64_t budget, uint64_t seed, int64_t &work) {
  return Rounds(arrays, budget, seed, work).run(sequence);
}

void holdInstead(Timeline &timeline, Sequence &sequence, int64_t budget, int64_t &work) {
  const RematArrays &arrays = *timeline.arrays;
  std::vector<int32_t> previous(arrays.count());
  for (int pass = 0; pass < 8 && work > 0; ++pass) {
    if (!timeline.simulate(sequence) || timeline.peak > budget)
      return;
    struct Repeat {
      int32_t first, again; ///< occurrences
      double worth;
    };
    std::vector<Repeat> repeats;
    std::fill(previous.begin(), previous.end(), -1);
    for (int32_t p = 0; p < int32_t(sequence.size()); ++p) {
      int32_t v = sequence[p], q = previous[v];
      previous[v] = p;
      if (q >= 0)
        repeats.push_back({q, p, arrays[v].cost /
                                     (double(arrays[v].size + 1) * (p - timeline.lastUse[q]))});
    }
    std::sort(repeats.begin(), repeats.end(), [](const Repeat &a, const Repeat &b) {
      return a.worth != b.worth ? a.worth > b.worth : a.again < b.again;
    });
    Profile profile(timeline.memory);
    std::vector<char> gone(sequence.size(), 0);
    bool changed = false;
    for (const Repeat &r : repeats) {
      // The earlier occurrence may itself be gone: then its own predecessor reaches further still; next pass.
      if (gone[r.first])
        continue;
      int32_t v = sequence[r.first], last = timeline.lastUse[r.first];
      int64_t size = arrays[v].size;
      bool takenOver = last > r.first && arrays[sequence[last]].inplaceOf == v;
      size_t from = takenOver ? last : last + 1;
      work -= (r.again - last) / 32 + 4;
      if (profile.most(from, r.again) + size > budget)
        continue;
      profile.add(from, r.again, size);
      gone[r.again] = 1;
      changed = true;
    }
    if (!changed)
      return;
    Sequence rest;
    rest.reserve(sequence.size());
    for (size_t p = 0; p < sequence.size(); ++p)
      if (!gone[p])
        rest.push_back(sequence[p]);
    work -= 8 * int64_t(sequence.size());
    removeUnused(timeline, rest);
    if (timeline.peak > budget)
      return;
    sequence = std::move(rest);
  }
}

} // namespace gmc::planning::detail
