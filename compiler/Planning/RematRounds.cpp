//===- RematRounds.cpp - Eviction in rounds, for long sequences -----------===//
//
// Part of gmc. Where RematEvict.cpp takes out one value at the peak and looks again, this takes out many at once: all gaps
// between uses are scored against the same simulation, and the best that do not lean on each other are applied together. A
// budget costs a few dozen passes over the sequence, however many values have to go.
//
//===----------------------------------------------------------------------===//
#include "compiler/Planning/RematSequence.h"

#include <algorithm>
#include <numeric>

namespace gmc::planning::detail {

namespace {

/// Lists of positions, one per key, in one array.
struct Lists {
  std::vector<int32_t> start, items;
  const int32_t *begin(int32_t key) const { return items.data() + start[key]; }
  const int32_t *end(int32_t key) const { return items.data() + start[key + 1]; }
};

/// The value of an occurrence is not held over (after, before) but computed again in front of `before`.
struct Gap {
  int32_t occurrence, after, before;
  int32_t chain, chainEnd;   ///< in Rounds::chains: nodes, in order of computation
  int32_t leans, leansEnd;   ///< in Rounds::leaned: occurrences that must be live at `before`
  int64_t gain;              ///< bytes freed
  int32_t over;              ///< positions above the budget inside
  double score;              ///< cost per byte and position, the lower the better
};

class Rounds {
public:
  Rounds(const RematProblem &problem, int64_t budget, uint64_t seed, int64_t &work)
      : problem(problem), budget(budget), work(work), timeline(problem), random{seed ? seed : 1}, jitter(seed != 0),
        inChain(problem.nodes.size(), 0) {}

  bool run(Sequence &sequence) {
    timeline.simulate(sequence);
    double overflow = timeline.overflow(budget), before = overflow;
    Sequence lowest = sequence;
    int64_t least = timeline.peak;
    for (int round = 1; timeline.peak > budget; ++round) {
      // Given up: out of work, or 16 rounds have not taken away a hundredth of what is above the budget.
      bool stuck = round % 16 == 0 && overflow > before * 0.99;
      if (round % 16 == 0)
        before = overflow;
      work -= int64_t(sequence.size()) * 8;
      collect(sequence);
      // Half as many while together they do not help; then each of the best alone.
      bool better = false;
      size_t most = gaps.size();
      for (int tries = 0; tries < 6 && most && !better; ++tries) {
        most = select(overflow, most);
        better = most && apply(sequence, overflow);
        most /= 2;
      }
      for (size_t g = 0; g < gaps.size() && g < 40 && !better && work > 0; ++g) {
        chosen = {int32_t(g)};
        better = apply(sequence, overflow);
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
  /// Uses of each occurrence, occurrences of each node, and the gaps worth closing, best first.
  void collect(const Sequence &sequence) {
    int32_t length = int32_t(sequence.size()), nodes = int32_t(problem.nodes.size());
    latest.assign(nodes, -1);
    users.clear();
    users.reserve(4 * length);
    uses.start.assign(length + 1, 0);
    occurrences.start.assign(nodes + 1, 0);
    for (int32_t p = 0; p < length; ++p) {
      for (int32_t d : problem.nodes[sequence[p]].deps) {
        users.push_back({latest[d], p});
        ++uses.start[latest[d] + 1];
      }
      latest[sequence[p]] = p;
      ++occurrences.start[sequence[p] + 1];
    }
    std::partial_sum(uses.start.begin(), uses.start.end(), uses.start.begin());
    std::partial_sum(occurrences.start.begin(), occurrences.start.end(), occurrences.start.begin());
    uses.items.resize(users.size());
    occurrences.items.resize(length);
    fill.assign(uses.start.begin(), uses.start.end());
    for (auto [occurrence, p] : users)
      uses.items[fill[occurrence]++] = p;
    fill.assign(occurrences.start.begin(), occurrences.start.end());
    for (int32_t p = 0; p < length; ++p)
      occurrences.items[fill[sequence[p]]++] = p;
    over.assign(length + 1, 0);
    for (int32_t p = 0; p < length; ++p)
      over[p + 1] = over[p] + (timeline.memory[p] > budget);

    gaps.clear();
    chains.clear();
    leaned.clear();
    for (int32_t o = 0; o < length; ++o) {
      const RematNode &node = problem.nodes[sequence[o]];
      if (!node.size || !node.recomputable || over[std::min(timeline.lastUse[o], length)] == over[o + 1])
        continue;
      int32_t after = o;
      for (const int32_t *use = uses.begin(o); use != uses.end(o); after = *use++)
        consider(sequence[o], o, after, *use);
      if (timeline.lastUse[o] == length)
        consider(sequence[o], o, after, length);
    }
    std::sort(gaps.begin(), gaps.end(), [](const Gap &a, const Gap &b) {
      return a.score != b.score ? a.score < b.score
             : a.occurrence != b.occurrence ? a.occurrence < b.occurrence : a.before < b.before;
    });
  }

  void consider(int32_t v, int32_t occurrence, int32_t after, int32_t before) {
    if (before - after < 2)
      return;
    int32_t inside = over[before] - over[after + 1];
    if (!inside)
      return;
    int64_t size = problem.nodes[v].size;
    Gap best{};
    bool found = false;
    for (bool hold : {false, true}) {
      Gap gap{occurrence, after, before, int32_t(chains.size()), 0, int32_t(leaned.size()), 0, size, inside, 0};
      int64_t held = 0;
      bool possible = addToChain(v, after, before, hold, size, held);
      bool alone = touched.size() == 1;
      work -= 4 * int64_t(touched.size());
      for (int32_t t : touched)
        inChain[t] = 0;
      touched.clear();
      gap.chainEnd = int32_t(chains.size());
      gap.leansEnd = int32_t(leaned.size());
      gap.gain = size - held;
      if (possible && gap.gain > 0) {
        double cost = 1e-12;
        for (int32_t c = gap.chain; c < gap.chainEnd; ++c)
          cost += problem.nodes[chains[c]].cost;
        gap.score = cost / (double(gap.gain) * inside);
        if (jitter)
          gap.score *= 0.5 + random.unit();
        if (!found || gap.score < best.score)
          best = gap;
        found = true;
      }
      if (alone)
        break;
    }
    if (found)
      gaps.push_back(best);
  }

  /// Extends the chain that computes v again in front of `before` by what is not live there. With `hold`, what is small is
  /// held from its last use instead; `held` sums those bytes. False if v cannot be had again.
  bool addToChain(int32_t v, int32_t after, int32_t before, bool hold, int64_t evicted, int64_t &held) {
    if (inChain[v])
      return true;
    if (!problem.nodes[v].recomputable || touched.size() > 100)
      return false;
    inChain[v] = 1;
    touched.push_back(v);
    for (int32_t d : problem.nodes[v].deps) {
      if (inChain[d])
        continue;
      const int32_t *end = std::lower_bound(occurrences.begin(d), occurrences.end(d), before);
      int32_t occurrence = end == occurrences.begin(d) ? -1 : end[-1];
      if (occurrence >= 0 && timeline.lastUse[occurrence] >= before) {
        leaned.push_back(occurrence);
        continue;
      }
      if (occurrence >= 0 && (!problem.nodes[d].recomputable || (hold && problem.nodes[d].size * 4 <= evicted))) {
        held += problem.nodes[d].size;
        inChain[d] = 1; // counted once
        touched.push_back(d);
        leaned.push_back(occurrence);
        continue;
      }
      if (!addToChain(d, after, before, hold, evicted, held))
        return false;
    }
    chains.push_back(v);
    return true;
  }

  /// Chooses gaps, best first, at most `most`, until what is above the budget has shrunk by a third. Gaps that lean on what
  /// another one takes away wait for the next round. Returns how many.
  size_t select(double overflow, size_t most) {
    chosen.clear();
    estimate = timeline.memory;
    taken.assign(estimate.size(), {});
    pins.assign(estimate.size(), {});
    double left = overflow;
    for (size_t g = 0; g < gaps.size() && chosen.size() < most && left > overflow * 0.7; ++g) {
      const Gap &gap = gaps[g];
      bool free = true;
      for (int32_t pin : pins[gap.occurrence])
        free &= pin <= gap.after || pin > gap.before;
      for (int32_t l = gap.leans; l < gap.leansEnd && free; ++l)
        for (const auto &[from, to] : taken[leaned[l]])
          free &= gap.before <= from || gap.before > to;
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
      taken[gap.occurrence].push_back({gap.after, gap.before});
      for (int32_t l = gap.leans; l < gap.leansEnd; ++l)
        pins[leaned[l]].push_back(gap.before);
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
    removeUnused(problem, trial(), next);
    double then = trial().overflow(budget);
    if (then >= overflow * (1 - 1e-12))
      return false;
    overflow = then;
    sequence = std::move(next);
    timeline.simulate(sequence);
    return true;
  }

  Timeline &trial() { return second; }

  const RematProblem &problem;
  int64_t budget;
  int64_t &work;
  Timeline timeline, second{problem};
  Random random;
  bool jitter;
  std::vector<char> inChain;
  std::vector<int32_t> touched, latest, fill, chains, leaned, chosen, over;
  std::vector<std::pair<int32_t, int32_t>> users; ///< occurrence, position
  Lists uses, occurrences;
  std::vector<Gap> gaps;
  std::vector<int64_t> estimate;
  std::vector<std::vector<std::pair<int32_t, int32_t>>> taken;
  std::vector<std::vector<int32_t>> pins;
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

bool evictInRounds(const RematProblem &problem, Sequence &sequence, int64_t budget, uint64_t seed, int64_t &work) {
  return Rounds(problem, budget, seed, work).run(sequence);
}

void holdInstead(const RematProblem &problem, Timeline &timeline, Sequence &sequence, int64_t budget, int64_t &work) {
  std::vector<int32_t> previous(problem.nodes.size());
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
        repeats.push_back({q, p, problem.nodes[v].cost /
                                     (double(problem.nodes[v].size + 1) * (p - timeline.lastUse[q]))});
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
      int64_t size = problem.nodes[v].size;
      bool takenOver = last > r.first && problem.nodes[sequence[last]].inplaceOf == v;
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
    removeUnused(problem, timeline, rest);
    if (timeline.peak > budget)
      return;
    sequence = std::move(rest);
  }
}

} // namespace gmc::planning::detail
