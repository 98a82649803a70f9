//===- Packing.cpp - Offsets for buffers with known lifetimes -------------===//
#include "compiler/Planning/Packing.h"

#include "compiler/Planning/PackItems.h"

#include <algorithm>
#include <functional>
#include <numeric>

namespace gmc::planning {

using namespace detail;

int64_t maxLive(const std::vector<PackBuffer> &buffers) {
  std::vector<std::pair<int64_t, int64_t>> changes; // ends sort before starts of the same time: negative first
  for (const PackBuffer &b : buffers)
    if (b.size > 0 && b.lower < b.upper) {
      changes.push_back({b.lower, b.size});
      changes.push_back({b.upper, -b.size});
    }
  std::sort(changes.begin(), changes.end());
  int64_t live = 0, top = 0;
  for (auto [time, change] : changes)
    top = std::max(top, live += change);
  return top;
}

namespace {

/// xorshift64*: the searches must give the same result everywhere.
class Random {
public:
  explicit Random(uint64_t seed) : state(seed) {}
  uint64_t next() {
    state ^= state >> 12;
    state ^= state << 25;
    state ^= state >> 27;
    return state * 0x2545F4914F6CDD1Dull;
  }
  uint64_t below(uint64_t n) { return next() % n; }

private:
  uint64_t state;
};

using Key = std::function<int64_t(const PackItem &, int32_t)>;

std::vector<int32_t> orderBy(const PackItems &problem, std::initializer_list<Key> keys) {
  std::vector<int32_t> order(problem.items.size());
  std::iota(order.begin(), order.end(), 0);
  std::vector<std::vector<int64_t>> values;
  for (const Key &key : keys) {
    values.emplace_back(order.size());
    for (int32_t i : order)
      values.back()[i] = key(problem.items[i], i);
  }
  std::sort(order.begin(), order.end(), [&](int32_t a, int32_t b) {
    for (const auto &value : values)
      if (value[a] != value[b])
        return value[a] > value[b];
    return a < b;
  });
  return order;
}

/// Packs one set of items that cannot be split in time.
class ComponentPacker {
public:
  /// `target`: a height that is good enough.
  ComponentPacker(const PackItems &problem, int64_t target, int effort)
      : problem(problem), target(target), effort(effort) {}

  /// `exhausted` is set when the search proved that no packing reaches `target`.
  Placement run(bool hasCapacity, bool &exhausted) {
    greedy();
    if (!effort)
      return best;
    if (done() || problem.items.size() > searchLimit) {
      improve();
      return best;
    }
    if (hasCapacity) {
      search(target, 500'000'000, exhausted);
      if (!done() && !exhausted)
        improve();
      if (!done() && !exhausted)
        search(target, 700'000'000, exhausted);
      return best;
    }
    // Step down until the search fails; small problems end with a proof of optimality.
    bool optimal = false;
    for (bool improving : {false, true}) {
      if (improving && !done() && !optimal)
        improve();
      while (!done() && !optimal && search(std::max(target, best.height - 1), 20'000'000, optimal))
        continue;
    }
    return best;
  }

private:
  static constexpr size_t searchLimit = 3000; ///< items; the search keeps the neighbours of each

  bool done() const { return have && best.height <= target; }

  bool search(int64_t capacity, int64_t workPerEffort, bool &refuted) {
    WorkBudget work{workPerEffort * effort};
    auto found = searchPacking(problem, capacity, work, refuted);
    if (found)
      best = std::move(*found);
    return found.has_value();
  }

  void consider(std::optional<Placement> placement, const std::vector<int32_t> &order) {
    if (!placement || (have && placement->height >= best.height))
      return;
    best = std::move(*placement);
    bestOrder = order;
    have = true;
  }

  void greedy() {
    Key size = [](const PackItem &i, int32_t) { return i.size; };
    Key span = [](const PackItem &i, int32_t) { return int64_t(i.hi - i.lo) + 1; };
    Key area = [](const PackItem &i, int32_t) { return i.size / 64 * (int64_t(i.hi - i.lo) + 1); };
    Key early = [](const PackItem &i, int32_t) { return -int64_t(i.lo); };
    Key late = [](const PackItem &i, int32_t) { return int64_t(i.hi); };
    std::vector<int64_t> load = slotLoads(problem), contention(problem.items.size(), 0);
    // The fullest slot that an item is live in, by a sparse table over the slots.
    std::vector<std::vector<int64_t>> table{load};
    for (int32_t width = 1; 2 * width <= problem.slots; width *= 2) {
      const auto &half = table.back();
      std::vector<int64_t> full(half.size() - width);
      for (size_t s = 0; s < full.size(); ++s)
        full[s] = std::max(half[s], half[s + width]);
      table.push_back(std::move(full));
    }
    for (size_t i = 0; i < problem.items.size(); ++i) {
      const PackItem &item = problem.items[i];
      int level = 0;
      while ((2 << level) <= item.hi - item.lo + 1)
        ++level;
      contention[i] = std::max(table[level][item.lo], table[level][item.hi - (1 << level) + 1]);
    }
    Key crowded = [&](const PackItem &, int32_t i) { return contention[i]; };
    WorkBudget unlimited{INT64_MAX};
    int64_t none = INT64_MAX;
    const std::initializer_list<Key> orders[] = {
        {span, size}, {area, size},  {size, span},          {crowded, span, area}, {crowded, area, span},
        {span, area}, {early, size}, {late, span}, {crowded, size, span},
    };
    bool quick = !effort || problem.items.size() > searchLimit;
    for (const auto &keys : orders) {
      std::vector<int32_t> order = orderBy(problem, keys);
      for (bool tightest : {false, true}) {
        if (tightest && quick)
          continue;
        consider(placeInOrder(problem, order, tightest, have ? best.height : none, unlimited), order);
        if (done())
          return;
      }
    }
    for (bool largest : {false, true}) {
      WorkBudget work{400'000'000};
      auto placement = placeBySkyline(problem, largest, have ? best.height : none, work);
      if (!placement)
        continue;
      // A placement is also an order: by offset, each item falls at least as low again.
      std::vector<int32_t> order(problem.items.size());
      std::iota(order.begin(), order.end(), 0);
      std::sort(order.begin(), order.end(), [&](int32_t a, int32_t b) {
        return std::pair(placement->offsets[a], a) < std::pair(placement->offsets[b], b);
      });
      consider(std::move(placement), order);
      if (done())
        return;
    }
  }

  /// Local search over the order: items that stick out at the top move to the front, at random among those.
  void improve() {
    WorkBudget work{60'000'000 * int64_t(effort)};
    Random random(0x9E3779B97F4A7C15ull);
    std::vector<int32_t> current = bestOrder;
    Placement placement = best;
    size_t n = current.size();
    while (work.left > 0 && best.height > target && n > 2) {
      std::vector<int32_t> trial = current;
      std::vector<size_t> high;
      for (size_t k = 0; k < n; ++k) {
        int32_t i = trial[k];
        if (placement.offsets[i] + problem.items[i].size >= placement.height)
          high.push_back(k);
      }
      work.spend(int64_t(n));
      size_t from = high[random.below(high.size())];
      switch (random.below(4)) {
      case 0: { // the item at the top goes anywhere before
        size_t to = from ? random.below(from) : 0;
        std::rotate(trial.begin() + to, trial.begin() + from, trial.begin() + from + 1);
        break;
      }
      case 1: { // swap with any
        std::swap(trial[from], trial[random.below(n)]);
        break;
      }
      case 2: { // two items swap
        std::swap(trial[random.below(n)], trial[random.below(n)]);
        break;
      }
      default: { // another item moves behind everything
        size_t other = random.below(n), to = random.below(n);
        if (other > to)
          std::swap(other, to);
        std::rotate(trial.begin() + other, trial.begin() + other + 1, trial.begin() + to + 1);
      }
      }
      auto next = placeInOrder(problem, trial, false, placement.height + 1, work);
      if (!next)
        continue;
      current = std::move(trial);
      placement = std::move(*next);
      consider(placement, current);
    }
  }

  const PackItems &problem;
  int64_t target;
  int effort;
  Placement best;
  std::vector<int32_t> bestOrder;
  bool have = false;
};

} // namespace

PackSolution pack(const PackProblem &problem, int effort) {
  effort = std::clamp(effort, 0, 5);
  const std::vector<PackBuffer> &buffers = problem.buffers;
  PackSolution solution;
  solution.offsets.assign(buffers.size(), 0);
  solution.lowerBound = maxLive(buffers);

  // Buffers that live as long as the whole problem lie at the bottom, largest alignment first: nothing is lost by it.
  std::vector<size_t> live, rest;
  int64_t first = INT64_MAX, last = INT64_MIN;
  for (size_t i = 0; i < buffers.size(); ++i)
    if (buffers[i].size > 0 && buffers[i].lower < buffers[i].upper) {
      live.push_back(i);
      first = std::min(first, buffers[i].lower);
      last = std::max(last, buffers[i].upper);
    }
  std::vector<size_t> whole;
  for (size_t i : live)
    (buffers[i].lower == first && buffers[i].upper == last ? whole : rest).push_back(i);
  std::sort(whole.begin(), whole.end(), [&](size_t a, size_t b) {
    return std::pair(-buffers[a].alignment, a) < std::pair(-buffers[b].alignment, b);
  });
  int64_t ground = 0;
  for (size_t i : whole) {
    solution.offsets[i] = alignUp(ground, buffers[i].alignment);
    ground = solution.offsets[i] + buffers[i].size;
  }
  solution.height = ground;

  // Sets of buffers that share no moment with any other buffer are problems of their own.
  std::sort(rest.begin(), rest.end(), [&](size_t a, size_t b) {
    return std::pair(buffers[a].lower, a) < std::pair(buffers[b].lower, b);
  });
  int64_t base = ground;
  for (size_t i : rest)
    base = alignUp(base, buffers[i].alignment);
  bool exhausted = false;
  int64_t target =
      std::max(base, problem.capacity ? *problem.capacity : solution.lowerBound + problem.slack + base - ground);
  for (size_t begin = 0; begin < rest.size();) {
    size_t end = begin;
    int64_t reach = INT64_MIN;
    while (end < rest.size() && (end == begin || buffers[rest[end]].lower < reach))
      reach = std::max(reach, buffers[rest[end++]].upper);
    PackItems items;
    int64_t time = INT64_MIN;
    std::vector<int64_t> starts;
    for (size_t k = begin; k < end; ++k)
      if (buffers[rest[k]].lower != time)
        starts.push_back(time = buffers[rest[k]].lower);
    items.slots = int32_t(starts.size());
    for (size_t k = begin; k < end; ++k) {
      const PackBuffer &b = buffers[rest[k]];
      auto slot = [&](int64_t t) {
        return int32_t(std::lower_bound(starts.begin(), starts.end(), t) - starts.begin());
      };
      items.items.push_back({slot(b.lower), slot(b.upper) - 1, b.size, std::max<int64_t>(b.alignment, 1)});
    }
    // Without a capacity no component needs to be lower than the highest one already is.
    int64_t goal = problem.capacity ? *problem.capacity : std::max(target, solution.height);
    bool within = problem.capacity && goal >= solution.lowerBound;
    Placement placement = ComponentPacker(items, goal - base, effort).run(within, exhausted);
    for (size_t k = begin; k < end; ++k) {
      solution.offsets[rest[k]] = base + placement.offsets[k - begin];
      solution.height = std::max(solution.height, solution.offsets[rest[k]] + buffers[rest[k]].size);
    }
    begin = end;
  }
  solution.found = !problem.capacity || solution.height <= *problem.capacity;
  bool aligned = std::any_of(buffers.begin(), buffers.end(), [](const PackBuffer &b) { return b.alignment > 1; });
  solution.provedInfeasible =
      problem.capacity && !solution.found && (solution.lowerBound > *problem.capacity || (exhausted && !aligned));
  return solution;
}

} // namespace gmc::planning
