//===- RematSequence.h - Exact cost and memory of an order -------*- C++ -*-===//
//
// Part of gmc. Internal to the rematerialization solvers. A sequence of computations determines the best schedule for
// it: every use takes the latest computation, and a value is dropped after its last use before it is computed again.
//
//===----------------------------------------------------------------------===//
#pragma once

#include "compiler/Planning/Remat.h"

#include <cstdint>
#include <span>
#include <vector>

namespace gmc::planning::detail {

using Sequence = std::vector<int32_t>;

/// xorshift64*, as everywhere in the planner: the same numbers on every machine.
struct Random {
  uint64_t state;
  uint64_t next() {
    state ^= state >> 12;
    state ^= state << 25;
    state ^= state >> 27;
    return state * 0x2545F4914F6CDD1Dull;
  }
  uint64_t below(uint64_t n) { return next() % n; }
  double unit() { return double(next() >> 11) * 0x1.0p-53; }
};

/// What the solvers read of a problem again and again, side by side in memory.
struct RematArrays {
  struct Node {
    int64_t size, workspace;
    double cost;
    int32_t inplaceOf;
    bool recomputable, kept;
  };

  explicit RematArrays(const RematProblem &problem);
  std::span<const int32_t> depsOf(int32_t node) const {
    return {deps.data() + depStart[node], deps.data() + depStart[node + 1]};
  }
  const Node &operator[](int32_t node) const { return nodes[node]; }
  int32_t count() const { return int32_t(nodes.size()); }
  /// So many nodes that a pass over all of them for one small gain is too much.
  bool large() const { return nodes.size() >= 2000; }

  std::vector<Node> nodes;
  int64_t fixedBytes = 0;
  bool anyInplace = false;

private:
  std::vector<int32_t> deps, depStart; ///< of node n: deps[depStart[n] .. depStart[n + 1])
};

/// The simulation of one sequence. Position = index into the sequence; each position is one occurrence of its node.
class Timeline {
public:
  explicit Timeline(const RematArrays &arrays) : arrays(&arrays), latest(arrays.count(), -1) {}

  /// Simulates; false if a dependency is used before it was computed. Afterwards the members below are valid.
  bool simulate(const Sequence &sequence);

  /// The schedule of the sequence simulated last.
  RematSchedule schedule(const Sequence &sequence) const;

  /// Sum over the positions of the bytes above the budget.
  double overflow(int64_t budget) const;

  const RematArrays *arrays;
  std::vector<int32_t> lastUse; ///< per position: the position of the last use of this occurrence (itself: none)
  std::vector<int64_t> memory;  ///< per position: bytes while it runs
  double cost = 0;
  int64_t peak = 0;
  int32_t peakPosition = 0;
  int64_t work = 0; ///< elementary operations since construction

private:
  std::vector<int32_t> latest; ///< per node: its latest position
};

/// Drops every repeated occurrence that nothing uses, and simulates what is left.
void removeUnused(Timeline &timeline, Sequence &sequence);

/// Orders without recomputation: the best by peak among the given order (where topological), greedy list schedules, and
/// what a local search makes of them. Respects the pinned order of non-recomputable nodes.
Sequence leastPeakOrder(const RematProblem &problem, int effort);

/// How much of the branching a beam search follows: `Narrow` recomputes only for a node that is ready and evicts what
/// is free first; `Early` also recomputes ahead; `Exact` also tries every eviction.
enum class BeamMode { Narrow, Early, Exact };

/// Beam search over states of (computed, live) for at most 128 nodes. `complete` is set if nothing was cut off: then
/// the result is optimal and an empty one a proof of infeasibility. Solutions not cheaper than `mustBeBelow` are not
/// sought.
struct BeamResult {
  bool found = false;
  bool complete = false;
  Sequence sequence;
  double cost = 0;
};
BeamResult beamSearch(const RematProblem &problem, int64_t budget, int width, double mustBeBelow, BeamMode mode);

/// Lowers the peak of a sequence by evicting values across it until the budget is met or nothing helps.
bool evictToBudget(const RematArrays &arrays, Sequence &sequence, int64_t budget, uint64_t seed, int64_t &work);

/// The same for long sequences: many evictions a round, until the budget is met or nothing helps: then
/// `sequence` is the one of the lowest peak met on the way. A seed other than 0 varies
/// what goes first. `work` counts down.
bool evictInRounds(const RematArrays &arrays, Sequence &sequence, int64_t budget, uint64_t seed, int64_t &work);

/// Holds values instead of computing them again wherever the budget has room for it, the dearest per byte first.
void holdInstead(Timeline &timeline, Sequence &sequence, int64_t budget, int64_t &work);

/// `order`, which computes nothing twice, with checkpoints that cut what comes before its peak into about `segments`
/// parts of equal bytes; everything else is computed again.
Sequence segmented(const RematProblem &problem, Timeline &timeline, const Sequence &order, int segments);

/// Positions of recomputations: occurrences that are not the first of their node.
std::vector<int32_t> repeats(const RematArrays &arrays, const Sequence &sequence);

/// Cheaper within the budget: removes recomputations, and takes out some at random to evict anew. `work` counts down.
void improveSequence(const RematArrays &arrays, Sequence &sequence, int64_t budget, int64_t &work);

} // namespace gmc::planning::detail
