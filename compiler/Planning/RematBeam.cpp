//===- RematBeam.cpp - Beam search over computed and live sets ------------===//
//
// A state is what was computed at least once and what is live; nothing is dropped before room is needed, since a larger
// live set is never worse. The guide is the cost that must still come: every node not yet computed, and every computed
// node that is no longer live but needed by one of those, by something kept, or by the recomputation of another such.
// States are expanded in layers by how many nodes were computed, the cheapest first, at most `width` of each layer.
//
//===----------------------------------------------------------------------===//
#include "compiler/Planning/RematSequence.h"

#include <algorithm>
#include <bit>
#include <limits>
#include <queue>
#include <unordered_map>

namespace gmc::planning::detail {

namespace {

struct Set {
  uint64_t word[2] = {0, 0};
  bool has(int i) const { return word[i >> 6] >> (i & 63) & 1; }
  void add(int i) { word[i >> 6] |= uint64_t(1) << (i & 63); }
  void remove(int i) { word[i >> 6] &= ~(uint64_t(1) << (i & 63)); }
  bool empty() const { return !(word[0] | word[1]); }
  int first() const { return word[0] ? std::countr_zero(word[0]) : 64 + std::countr_zero(word[1]); }
  bool within(const Set &o) const { return !(word[0] & ~o.word[0]) && !(word[1] & ~o.word[1]); }
  friend Set operator&(Set a, const Set &b) { return {{a.word[0] & b.word[0], a.word[1] & b.word[1]}}; }
  friend Set operator|(Set a, const Set &b) { return {{a.word[0] | b.word[0], a.word[1] | b.word[1]}}; }
  friend Set operator-(Set a, const Set &b) { return {{a.word[0] & ~b.word[0], a.word[1] & ~b.word[1]}}; }
  friend bool operator==(const Set &a, const Set &b) { return a.word[0] == b.word[0] && a.word[1] == b.word[1]; }
};

template <typename Action> void forEach(Set set, Action action) {
  for (int w = 0; w < 2; ++w)
    for (uint64_t bits = set.word[w]; bits; bits &= bits - 1)
      action(w * 64 + std::countr_zero(bits));
}

struct Key {
  Set computed, live;
  friend bool operator==(const Key &, const Key &) = default;
};

struct KeyHash {
  size_t operator()(const Key &k) const {
    uint64_t h = 0x9E3779B97F4A7C15ull;
    for (uint64_t w : {k.computed.word[0], k.computed.word[1], k.live.word[0], k.live.word[1]}) {
      h = (h ^ w) * 0xFF51AFD7ED558CCDull;
      h ^= h >> 32;
    }
    return size_t(h);
  }
};

struct State {
  Set computed, live;
  double spent, total; ///< cost so far, and with what must still come
  int64_t held;        ///< live bytes
  int32_t parent;
  int16_t node;
};

class Beam {
public:
  Beam(const RematProblem &problem, int64_t budget, int width, double mustBeBelow, BeamMode mode)
      : problem(problem), n(int(problem.nodes.size())), room(budget - problem.fixedBytes), width(width),
        limit(mustBeBelow), exact(mode == BeamMode::Exact), early(mode != BeamMode::Narrow), deps(n), users(n) {
    for (int i = 0; i < n; ++i) {
      all.add(i);
      for (int32_t d : problem.nodes[i].deps) {
        deps[i].add(d);
        users[d].add(i);
      }
      if (problem.nodes[i].recomputable)
        recomputable.add(i);
      else
        pinned.push_back(i);
    }
    for (int32_t k : problem.keep)
      keep.add(k);
  }

  BeamResult run() {
    BeamResult result;
    states.push_back({{}, {}, 0, 0, 0, -1, -1});
    price(states[0]);
    std::vector<std::vector<int32_t>> layers(n + 1);
    layers[0].push_back(0);
    result.complete = true;
    for (int layer = 0; layer <= n; ++layer) {
      auto later = [&](int32_t a, int32_t b) {
        const State &x = states[a], &y = states[b];
        if (x.total != y.total)
          return x.total > y.total;
        if (x.spent != y.spent)
          return x.spent < y.spent;
        return x.held != y.held ? x.held > y.held : a > b;
      };
      // Keep the promising ones of this layer only; those reached from within the layer join the queue.
      std::priority_queue<int32_t, std::vector<int32_t>, decltype(later)> queue(later, std::move(layers[layer]));
      std::unordered_map<Key, double, KeyHash> here;
      here.swap(best);
      for (int popped = 0; !queue.empty(); ++popped) {
        if (popped >= width || states.size() > maxStates) {
          result.complete = false;
          break;
        }
        int32_t index = queue.top();
        queue.pop();
        State state = states[index];
        if (state.total >= limit)
          break;
        auto it = here.find({state.computed, state.live});
        if (it != here.end() && it->second < state.spent)
          continue;
        if (layer == n && keep.within(state.live)) {
          result.found = true;
          result.cost = limit = state.spent;
          for (int32_t s = index; states[s].parent >= 0; s = states[s].parent)
            result.sequence.push_back(states[s].node);
          std::reverse(result.sequence.begin(), result.sequence.end());
          break;
        }
        expand(index, layers, queue, here, layer);
      }
    }
    result.complete = result.complete && !cutOff;
    return result;
  }

private:
  static constexpr size_t maxStates = 12'000'000;

  /// Fills `total`; infinite if something is needed that cannot be computed again. Returns what must be recomputed.
  Set price(State &state) const {
    double sum = state.spent;
    Set needed = keep & state.computed;
    forEach(all - state.computed, [&](int u) {
      sum += problem.nodes[u].cost;
      needed = needed | deps[u];
    });
    Set lost = (needed & state.computed) - state.live, again;
    while (!lost.empty()) {
      int v = lost.first();
      lost.remove(v);
      again.add(v);
      sum += problem.nodes[v].cost;
      lost = lost | (((deps[v] & state.computed) - state.live) - again);
    }
    if (!again.within(recomputable))
      sum = std::numeric_limits<double>::infinity();
    state.total = sum;
    return again;
  }

  template <typename Queue, typename Map>
  void expand(int32_t index, std::vector<std::vector<int32_t>> &layers, Queue &queue, Map &here, int layer) {
    State state = states[index];
    Set again = price(state);
    int nextPinned = -1;
    for (int p : pinned)
      if (!state.computed.has(p)) {
        nextPinned = p;
        break;
      }
    // What the computation of some ready node still lacks; recomputing anything else can wait.
    Set missing;
    Set candidates;
    forEach(all - state.computed, [&](int u) {
      if (!deps[u].within(state.computed) || (!recomputable.has(u) && u != nextPinned))
        return;
      if (deps[u].within(state.live))
        candidates.add(u);
      else
        missing = missing | (deps[u] - state.live);
    });
    if (layer == n)
      missing = keep - state.live;
    Set closure;
    while (!missing.empty()) {
      int v = missing.first();
      missing.remove(v);
      closure.add(v);
      missing = missing | ((deps[v] - state.live) - closure);
    }
    if (!early)
      cutOff = true;
    forEach(early ? again : closure & again, [&](int v) {
      if (deps[v].within(state.live))
        candidates.add(v);
    });
    auto emit = [&](const State &next) {
      if (next.total >= limit)
        return;
      bool isNew = next.node >= 0 && !state.computed.has(next.node);
      auto &table = isNew ? best : here;
      auto [it, inserted] = table.try_emplace(Key{next.computed, next.live}, next.spent);
      if (!inserted) {
        if (it->second <= next.spent)
          return;
        it->second = next.spent;
      }
      states.push_back(next);
      int32_t id = int32_t(states.size()) - 1;
      if (isNew)
        layers[layer + 1].push_back(id);
      else
        queue.push(id);
    };
    forEach(candidates, [&](int v) {
      compute(state, index, v, -1, emit);
      int32_t over = problem.nodes[v].inplaceOf;
      if (over >= 0)
        compute(state, index, v, over, emit);
    });
  }

  /// Computes v, taking over the storage of `over` (-1: of nothing), after evicting what it takes to make room.
  template <typename Emit> void compute(const State &state, int32_t index, int v, int32_t over, Emit &emit) {
    const RematNode &node = problem.nodes[v];
    State next = state;
    next.parent = index;
    next.node = int16_t(v);
    next.spent += node.cost;
    next.computed.add(v);
    int64_t need = state.held + node.size + node.workspace - room;
    int64_t taken = over >= 0 ? problem.nodes[over].size : 0;
    if (over >= 0)
      need -= std::min(node.size, taken);
    Set evictable = state.live - deps[v];
    auto finish = [&](Set gone, int64_t freed) {
      State s = next;
      s.live = s.live - gone;
      s.held = state.held - freed + node.size;
      if (over >= 0) {
        s.live.remove(over);
        s.held -= taken;
      }
      s.live.add(v);
      price(s);
      emit(s);
    };
    if (need <= 0)
      return finish({}, 0);
    // Dead values go first: nothing that can still be computed uses them.
    State after = next;
    after.live.add(v);
    Set useful = usefulSet(after);
    Set gone;
    int64_t freed = 0;
    forEach(evictable - useful, [&](int x) {
      gone.add(x);
      freed += problem.nodes[x].size;
    });
    if (freed >= need)
      return finish(gone, freed);
    // The price of each other value alone, without what it shares with others.
    price(after);
    double base = after.total;
    struct Choice {
      int node;
      int64_t size;
      double price;
    };
    std::vector<Choice> choices;
    int64_t possible = freed;
    forEach(evictable & useful, [&](int x) {
      if (!problem.nodes[x].size)
        return;
      State without = after;
      without.live.remove(x);
      price(without);
      if (without.total >= limit)
        return;
      choices.push_back({x, problem.nodes[x].size, without.total - base});
      possible += problem.nodes[x].size;
    });
    if (possible < need)
      return;
    std::sort(choices.begin(), choices.end(), [](const Choice &a, const Choice &b) {
      double x = a.price * double(b.size), y = b.price * double(a.size); // price per byte
      return x != y ? x < y : a.size != b.size ? a.size > b.size : a.node < b.node;
    });
    if (!exact) {
      // Free of charge as far as is known: all of them, then back those that fit, the smallest first.
      std::vector<Choice> free, priced;
      for (const Choice &c : choices)
        (c.price <= 0 ? free : priced).push_back(c);
      for (const Choice &c : free) {
        gone.add(c.node);
        freed += c.size;
      }
      std::sort(free.begin(), free.end(), [](const Choice &a, const Choice &b) {
        return a.size != b.size ? a.size < b.size : a.node < b.node;
      });
      if (!free.empty())
        cutOff = true;
      auto finishWithFree = [&](Set set, int64_t bytes) {
        for (const Choice &c : free)
          if (bytes - c.size >= need) {
            set.remove(c.node);
            bytes -= c.size;
          }
        finish(set, bytes);
      };
      if (freed >= need)
        return finishWithFree(gone, freed);
      int left = maxSubsets;
      enumerate(priced, 0, gone, freed, need, left, finishWithFree);
      if (left <= 0)
        cutOff = true;
      return;
    }
    int left = maxSubsets * 64;
    enumerate(choices, 0, gone, freed, need, left, finish);
    if (left <= 0)
      cutOff = true;
  }

  static constexpr int maxSubsets = 48;

  /// Subsets of the choices from `from` on that free enough and of which no member could stay.
  template <typename Choice, typename Finish>
  void enumerate(const std::vector<Choice> &choices, size_t from, Set gone, int64_t freed, int64_t need, int &left,
                 Finish &finish) {
    int64_t rest = 0;
    for (size_t k = from; k < choices.size(); ++k)
      rest += choices[k].size;
    std::vector<int64_t> sizes;
    enumerateFrom(choices, from, gone, freed, need, rest, std::numeric_limits<int64_t>::max(), left, finish);
  }

  template <typename Choice, typename Finish>
  void enumerateFrom(const std::vector<Choice> &choices, size_t from, Set gone, int64_t freed, int64_t need,
                     int64_t rest, int64_t smallest, int &left, Finish &finish) {
    if (freed >= need) {
      if (freed - smallest >= need)
        return; // one of them could stay
      --left;
      finish(gone, freed);
      return;
    }
    for (size_t k = from; k < choices.size() && left > 0; ++k) {
      if (freed + rest < need)
        return;
      rest -= choices[k].size;
      Set with = gone;
      with.add(choices[k].node);
      enumerateFrom(choices, k + 1, with, freed + choices[k].size, need, rest, std::min(smallest, choices[k].size),
                    left, finish);
    }
  }

  /// Values that some computation to come may use.
  Set usefulSet(const State &state) const {
    Set useful = keep & state.computed;
    // Reverse topological order is not needed: propagate until nothing changes.
    Set open;
    forEach(all - state.computed, [&](int u) { open = open | deps[u]; });
    open = (open | useful) & state.computed;
    useful = open;
    while (!open.empty()) {
      int v = open.first();
      open.remove(v);
      if (!recomputable.has(v))
        continue;
      Set more = deps[v] - useful;
      useful = useful | more;
      open = open | more;
    }
    return useful;
  }

  const RematProblem &problem;
  int n;
  int64_t room;
  int width;
  double limit;
  bool exact; ///< every eviction
  bool early; ///< recomputes also what no node that is ready now needs
  bool cutOff = false;
  Set all, keep, recomputable;
  std::vector<Set> deps, users;
  std::vector<int> pinned;
  std::vector<State> states;
  std::unordered_map<Key, double, KeyHash> best; ///< of the layer being filled
};

} // namespace

BeamResult beamSearch(const RematProblem &problem, int64_t budget, int width, double mustBeBelow, BeamMode mode) {
  return Beam(problem, budget, width, mustBeBelow, mode).run();
}

} // namespace gmc::planning::detail
