//===- PackGreedy.cpp - Greedy placements ---------------------------------===//
#include "compiler/Planning/PackItems.h"

#include <algorithm>
#include <limits>
#include <set>

namespace gmc::planning::detail {

std::vector<int64_t> slotLoads(const PackItems &problem) {
  std::vector<int64_t> load(problem.slots + 1, 0);
  for (const PackItem &item : problem.items) {
    load[item.lo] += item.size;
    load[item.hi + 1] -= item.size;
  }
  for (int32_t s = 1; s < problem.slots; ++s)
    load[s] += load[s - 1];
  load.resize(problem.slots);
  return load;
}

namespace {
/// A placed range; kept by ascending offset so that one scan sees the gaps from the bottom up.
struct Placed {
  int64_t offset, end;
  int32_t lo, hi;
};
} // namespace

std::optional<Placement> placeInOrder(const PackItems &problem, const std::vector<int32_t> &order, bool tightestGap,
                                      int64_t mustBeBelow, WorkBudget &work) {
  Placement result;
  result.offsets.assign(problem.items.size(), 0);
  std::vector<Placed> placed;
  placed.reserve(order.size());
  for (int32_t index : order) {
    const PackItem &item = problem.items[index];
    int64_t ground = 0, best = -1, bestGap = std::numeric_limits<int64_t>::max();
    size_t seen = 0;
    for (const Placed &other : placed) {
      ++seen;
      if (other.hi < item.lo || item.hi < other.lo)
        continue;
      if (other.offset > ground) {
        int64_t at = alignUp(ground, item.alignment), gap = other.offset - at;
        if (gap >= item.size && gap < bestGap) {
          best = at;
          bestGap = gap;
          if (!tightestGap || gap == item.size)
            break;
        }
      }
      ground = std::max(ground, other.end);
    }
    if (best < 0)
      best = alignUp(ground, item.alignment);
    if (!work.spend(int64_t(seen) + 8))
      return std::nullopt;
    result.offsets[index] = best;
    result.height = std::max(result.height, best + item.size);
    if (result.height >= mustBeBelow)
      return std::nullopt;
    auto where = std::upper_bound(placed.begin(), placed.end(), best,
                                  [](int64_t offset, const Placed &p) { return offset < p.offset; });
    placed.insert(where, Placed{best, best + item.size, item.lo, item.hi});
  }
  return result;
}

std::optional<Placement> placeBySkyline(const PackItems &problem, bool largestFirst, int64_t mustBeBelow,
                                        WorkBudget &work) {
  Placement result;
  size_t n = problem.items.size();
  result.offsets.assign(n, 0);
  // Items that start in each slot, so that those inside a valley are found by walking its slots.
  std::vector<std::vector<int32_t>> startsAt(problem.slots);
  for (size_t i = 0; i < n; ++i)
    startsAt[problem.items[i].lo].push_back(int32_t(i));

  // Valleys: segments of the skyline by left slot, and the set of them by height.
  struct Segment {
    int32_t right;
    int64_t height;
  };
  std::vector<Segment> segment(problem.slots, {-1, 0});
  std::vector<int32_t> leftOf(problem.slots, -1); // left end of the segment that ends in this slot
  std::set<std::pair<int64_t, int32_t>> byHeight;
  auto add = [&](int32_t left, int32_t right, int64_t height) {
    segment[left] = {right, height};
    leftOf[right] = left;
    byHeight.insert({height, left});
  };
  auto remove = [&](int32_t left) { byHeight.erase({segment[left].height, left}); };
  /// Adds a segment, merging it with neighbours of the same height.
  auto addMerged = [&](int32_t left, int32_t right, int64_t height) {
    if (left > 0) {
      int32_t l = leftOf[left - 1];
      if (l >= 0 && byHeight.count({height, l}) && segment[l].right == left - 1) {
        remove(l);
        left = l;
      }
    }
    if (right + 1 < problem.slots && byHeight.count({height, right + 1})) {
      int32_t r = right + 1;
      right = segment[r].right;
      remove(r);
    }
    add(left, right, height);
  };
  if (problem.slots)
    add(0, problem.slots - 1, 0);
  size_t remaining = n;
  while (remaining) {
    auto [height, left] = *byHeight.begin();
    int32_t right = segment[left].right;
    int32_t best = -1;
    int64_t steps = 0;
    auto better = [&](const PackItem &a, const PackItem &b) {
      int64_t spanA = a.hi - a.lo, spanB = b.hi - b.lo;
      if (largestFirst)
        return a.size != b.size ? a.size > b.size : spanA > spanB;
      return spanA != spanB ? spanA > spanB : a.size > b.size;
    };
    for (int32_t s = left; s <= right; ++s) {
      ++steps;
      for (int32_t i : startsAt[s]) {
        ++steps;
        if (problem.items[i].hi <= right && (best < 0 || better(problem.items[i], problem.items[best])))
          best = i;
      }
    }
    if (!work.spend(steps))
      return std::nullopt;
    remove(left);
    if (best < 0) { // nothing fits into the valley: lift it to its lower side
      int64_t up = std::numeric_limits<int64_t>::max();
      if (left > 0)
        up = std::min(up, segment[leftOf[left - 1]].height);
      if (right + 1 < problem.slots)
        up = std::min(up, segment[right + 1].height);
      addMerged(left, right, up);
      continue;
    }
    const PackItem &item = problem.items[best];
    int64_t offset = alignUp(height, item.alignment);
    result.offsets[best] = offset;
    result.height = std::max(result.height, offset + item.size);
    if (result.height >= mustBeBelow)
      return std::nullopt;
    auto &starts = startsAt[item.lo];
    starts.erase(std::find(starts.begin(), starts.end(), best));
    --remaining;
    if (item.lo > left)
      add(left, item.lo - 1, height);
    if (item.hi < right)
      add(item.hi + 1, right, height);
    addMerged(item.lo, item.hi, offset + item.size);
  }
  return result;
}

} // namespace gmc::planning::detail
