//===- PackSearch.cpp - Branch and bound over canonical packings ----------===//
//
// A packing is canonical when every item rests on the ground or on another item. Placing items by nondecreasing offset,
// each on top of what it overlaps, reaches every canonical packing. What is cut off: a time slot whose remaining items
// cannot fit above their earliest offsets; an offset below which another item would fit whole (it could fall); items
// that no longer fit. What remains splits at slots that no unplaced item crosses, and each part is solved for itself
// (Moffitt, ASPLOS 2023). Restarts with other static orders; items of slots that fail move forward in the order.
//
//===----------------------------------------------------------------------===//
#include "compiler/Planning/PackItems.h"

#include <algorithm>
#include <numeric>

namespace gmc::planning::detail {

namespace {

/// Static orders, by decreasing keys: W span of slots, A area, T the fullest slot crossed, U end, L early start. Each
/// of them decides some public instance at once that the others do not.
constexpr const char *orders[] = {"WAT", "AWT", "U", "TAW", "WU", "WL", "TWA"};
constexpr int orderCount = 7;

class Search {
public:
  /// The orders as they are, then each behind what the failures so far have taught.
  static constexpr int variants = 2 * orderCount;

  Search(const PackItems &problem, int64_t capacity) : items(problem.items), slots(problem.slots), capacity(capacity) {
    size_t n = items.size();
    neighbours.resize(n);
    std::vector<int32_t> byLo(n);
    std::iota(byLo.begin(), byLo.end(), 0);
    std::sort(byLo.begin(), byLo.end(), [&](int32_t a, int32_t b) { return items[a].lo < items[b].lo; });
    for (size_t a = 0; a < n; ++a)
      for (size_t b = a + 1; b < n && items[byLo[b]].lo <= items[byLo[a]].hi; ++b) {
        neighbours[byLo[a]].push_back(byLo[b]);
        neighbours[byLo[b]].push_back(byLo[a]);
      }
    load = slotLoads(problem);
    fullest.resize(n);
    for (size_t i = 0; i < n; ++i)
      fullest[i] = *std::max_element(load.begin() + items[i].lo, load.begin() + items[i].hi + 1);
    weight.assign(n, 0);
  }

  enum class Outcome { Found, Refuted, OutOfWork };

  /// One run with a static order and a limit of work. `variant` picks the order.
  Outcome run(int variant, WorkBudget &budget) {
    size_t n = items.size();
    work = &budget;
    makeOrder(variant);
    minOffset.assign(n, 0);
    offset.assign(n, -1);
    remaining = load;
    floors.assign(slots, 0);
    crossing.assign(slots + 1, 0);
    std::vector<int32_t> all(order);
    return solve(all, 0, -1);
  }

  Placement placement() const {
    Placement result{offset, 0};
    for (size_t i = 0; i < items.size(); ++i)
      result.height = std::max(result.height, offset[i] + items[i].size);
    return result;
  }

private:
  void makeOrder(int variant) {
    size_t n = items.size();
    order.resize(n);
    std::iota(order.begin(), order.end(), 0);
    auto span = [&](int32_t i) { return int64_t(items[i].hi - items[i].lo) + 1; };
    auto value = [&](char key, int32_t i) {
      switch (key) {
      case 'W':
        return double(span(i));
      case 'A':
        return double(items[i].size) * double(span(i));
      case 'T':
        return double(fullest[i]);
      case 'U':
        return double(items[i].hi);
      default:
        return -double(items[i].lo);
      }
    };
    std::sort(order.begin(), order.end(), [&](int32_t a, int32_t b) {
      if (variant >= orderCount && weight[a] != weight[b])
        return weight[a] > weight[b];
      for (const char *key = orders[variant % orderCount]; *key; ++key)
        if (double x = value(*key, a), y = value(*key, b); x != y)
          return x > y;
      return a < b;
    });
    rank.resize(n);
    for (size_t k = 0; k < n; ++k)
      rank[order[k]] = int32_t(k);
  }

  /// Items of a slot that made a branch fail are placed earlier in later runs.
  void blame(const std::vector<int32_t> &open, int32_t slot) {
    for (int32_t i : open)
      if (items[i].lo <= slot && slot <= items[i].hi)
        ++weight[i];
  }

  Outcome solve(const std::vector<int32_t> &open, int64_t lastOffset, int32_t lastRank) {
    if (open.empty())
      return Outcome::Found;
    int32_t lo = slots, hi = -1;
    for (int32_t i : open) {
      lo = std::min(lo, items[i].lo);
      hi = std::max(hi, items[i].hi);
    }
    // In each slot the open items stack up above the lowest offset that one of them can have.
    int64_t cells = hi - lo + 1 + int64_t(open.size());
    std::fill(floors.begin() + lo, floors.begin() + hi + 1, INT64_MAX);
    std::fill(crossing.begin() + lo, crossing.begin() + hi + 2, 0);
    int64_t lowestEnd = INT64_MAX;
    for (int32_t i : open) {
      int64_t least = std::max(minOffset[i], lastOffset);
      for (int32_t s = items[i].lo; s <= items[i].hi; ++s)
        floors[s] = std::min(floors[s], least);
      cells += items[i].hi - items[i].lo + 1;
      crossing[items[i].lo + 1] += 1; // boundaries lo+1..hi lie inside the item
      crossing[items[i].hi + 1] -= 1;
      lowestEnd = std::min(lowestEnd, minOffset[i] + items[i].size);
    }
    if (!work->spend(cells))
      return Outcome::OutOfWork;
    for (int32_t s = lo; s <= hi; ++s)
      if (floors[s] != INT64_MAX && floors[s] + remaining[s] > capacity) {
        blame(open, s);
        return Outcome::Refuted;
      }

    // Split where nothing crosses.
    std::vector<int32_t> cuts;
    for (int32_t s = lo + 1, across = 0; s <= hi; ++s) {
      across += crossing[s];
      if (across == 0)
        cuts.push_back(s);
    }
    if (!cuts.empty()) {
      std::vector<std::vector<int32_t>> parts(cuts.size() + 1);
      for (int32_t i : open)
        parts[std::upper_bound(cuts.begin(), cuts.end(), items[i].lo) - cuts.begin()].push_back(i);
      // The smallest part first: if it fails, it fails cheaply.
      std::sort(parts.begin(), parts.end(), [](const auto &a, const auto &b) { return a.size() < b.size(); });
      std::vector<int64_t> before(open.size());
      for (size_t k = 0; k < open.size(); ++k)
        before[k] = minOffset[open[k]];
      for (const auto &part : parts) {
        Outcome outcome = solve(part, lastOffset, lastRank);
        if (outcome == Outcome::Found)
          continue;
        for (size_t k = 0; k < open.size(); ++k) { // the parts that were solved are open again
          if (offset[open[k]] >= 0)
            unplace(open[k]);
          minOffset[open[k]] = before[k];
        }
        return outcome;
      }
      return Outcome::Found;
    }

    std::vector<int32_t> candidates;
    for (int32_t i : open) {
      int64_t at = minOffset[i];
      if (at < lastOffset || (at == lastOffset && rank[i] < lastRank) || at >= lowestEnd)
        continue;
      candidates.push_back(i);
    }
    std::sort(candidates.begin(), candidates.end(), [&](int32_t a, int32_t b) {
      return minOffset[a] != minOffset[b] ? minOffset[a] < minOffset[b] : rank[a] < rank[b];
    });
    for (int32_t i : candidates) {
      std::vector<std::pair<int32_t, int64_t>> raised;
      bool fits = place(i, raised);
      Outcome outcome = Outcome::Refuted;
      if (fits) {
        std::vector<int32_t> rest;
        rest.reserve(open.size() - 1);
        for (int32_t j : open)
          if (j != i)
            rest.push_back(j);
        outcome = solve(rest, offset[i], rank[i]);
      }
      if (outcome == Outcome::Found)
        return outcome;
      unplace(i);
      for (auto [j, before] : raised)
        minOffset[j] = before;
      if (outcome == Outcome::OutOfWork)
        return outcome;
    }
    return Outcome::Refuted;
  }

  bool place(int32_t i, std::vector<std::pair<int32_t, int64_t>> &raised) {
    offset[i] = minOffset[i];
    int64_t end = offset[i] + items[i].size;
    for (int32_t s = items[i].lo; s <= items[i].hi; ++s)
      remaining[s] -= items[i].size;
    work->spend(int64_t(neighbours[i].size()) / 2);
    bool fits = true;
    for (int32_t j : neighbours[i]) {
      if (offset[j] >= 0 || minOffset[j] >= end)
        continue;
      raised.push_back({j, minOffset[j]});
      minOffset[j] = alignUp(end, items[j].alignment);
      if (minOffset[j] + items[j].size > capacity) {
        ++weight[j];
        fits = false;
        break;
      }
    }
    return fits;
  }

  void unplace(int32_t i) {
    offset[i] = -1;
    for (int32_t s = items[i].lo; s <= items[i].hi; ++s)
      remaining[s] += items[i].size;
  }

  const std::vector<PackItem> &items;
  int32_t slots;
  int64_t capacity;
  std::vector<std::vector<int32_t>> neighbours;
  std::vector<int64_t> load, fullest, weight;
  std::vector<int32_t> order, rank;
  std::vector<int64_t> minOffset, offset, remaining, floors;
  std::vector<int32_t> crossing;
  WorkBudget *work = nullptr;
};

} // namespace

std::optional<Placement> searchPacking(const PackItems &problem, int64_t capacity, WorkBudget &work, bool &exhausted) {
  Search search(problem, capacity);
  int64_t slice = 2'000'000;
  for (int run = 0; work.left > 0; ++run) {
    WorkBudget part{std::min(slice, work.left)};
    int64_t before = part.left;
    Search::Outcome outcome = search.run(run % Search::variants, part);
    work.spend(before - part.left);
    if (outcome == Search::Outcome::Found)
      return search.placement();
    if (outcome == Search::Outcome::Refuted) {
      exhausted = true;
      return std::nullopt;
    }
    if (run % Search::variants == Search::variants - 1)
      slice *= 2;
  }
  return std::nullopt;
}

} // namespace gmc::planning::detail
