//===- RematTest.cpp ------------------------------------------------------===//
#include "compiler/Planning/Remat.h"
#include "compiler/Planning/RematValidator.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <queue>
#include <random>
#include <set>

using namespace gmc::planning;

namespace {

RematNode node(double cost, int64_t size, std::vector<int32_t> deps, int64_t workspace = 0) {
  RematNode result;
  result.cost = cost;
  result.size = size;
  result.deps = std::move(deps);
  result.workspace = workspace;
  return result;
}

RematProblem numbered(std::vector<RematNode> nodes, std::vector<int32_t> keep) {
  for (size_t i = 0; i < nodes.size(); ++i)
    nodes[i].id = int64_t(i);
  return {std::move(nodes), std::move(keep), 0};
}

/// Dijkstra over every (computed, live) state with single drops: exact, for up to about 8 nodes. Negative: infeasible.
double exactCost(const RematProblem &problem, int64_t budget) {
  using State = std::pair<uint32_t, uint32_t>;
  size_t n = problem.nodes.size();
  auto bytes = [&](uint32_t live) {
    int64_t sum = problem.fixedBytes;
    for (size_t i = 0; i < n; ++i)
      sum += live >> i & 1 ? problem.nodes[i].size : 0;
    return sum;
  };
  uint32_t kept = 0;
  for (int32_t k : problem.keep)
    kept |= 1u << k;
  std::map<State, double> best{{{0, 0}, 0}};
  std::priority_queue<std::pair<double, State>, std::vector<std::pair<double, State>>, std::greater<>> queue;
  queue.push({0, {0, 0}});
  while (!queue.empty()) {
    auto [cost, state] = queue.top();
    queue.pop();
    if (best[state] < cost)
      continue;
    auto [computed, live] = state;
    if (computed == (1u << n) - 1 && (live & kept) == kept)
      return cost;
    auto reach = [&](State next, double at) {
      auto it = best.find(next);
      if (it == best.end() || at < it->second) {
        best[next] = at;
        queue.push({at, next});
      }
    };
    for (size_t i = 0; i < n; ++i) {
      const RematNode &v = problem.nodes[i];
      if (live >> i & 1) {
        reach({computed, live & ~(1u << i)}, cost);
        continue;
      }
      uint32_t deps = 0;
      for (int32_t d : v.deps)
        deps |= 1u << d;
      uint32_t pinnedBefore = 0;
      if (!v.recomputable) {
        if (computed >> i & 1)
          continue;
        for (size_t j = 0; j < i; ++j)
          pinnedBefore |= problem.nodes[j].recomputable ? 0 : 1u << j;
      }
      if ((deps & ~live) || (pinnedBefore & ~computed))
        continue;
      if (bytes(live | 1u << i) + v.workspace <= budget)
        reach({computed | 1u << i, live | 1u << i}, cost + v.cost);
      if (v.inplaceOf >= 0) {
        int64_t d = problem.nodes[v.inplaceOf].size;
        if (bytes(live) + v.size + v.workspace - std::min(v.size, d) <= budget)
          reach({computed | 1u << i, (live | 1u << i) & ~(1u << v.inplaceOf)}, cost + v.cost);
      }
    }
  }
  return -1;
}

RematProblem randomProblem(uint64_t seed, int count, bool extras) {
  std::mt19937_64 random(seed);
  std::vector<RematNode> nodes;
  for (int i = 0; i < count; ++i) {
    std::set<int32_t> deps;
    for (int k = 0; i && k < int(1 + random() % 2); ++k)
      deps.insert(int32_t(i - 1 - random() % std::min(i, 4)));
    RematNode next = node(double(1 + random() % 9), int64_t(random() % 12), {deps.begin(), deps.end()},
                          random() % 3 ? 0 : int64_t(random() % 6));
    if (extras && random() % 4 == 0)
      next.recomputable = false;
    if (extras && !next.deps.empty() && random() % 3 == 0)
      next.inplaceOf = next.deps[0];
    nodes.push_back(next);
  }
  std::vector<int32_t> keep{int32_t(count - 1)};
  if (seed % 3 == 0)
    keep.push_back(0);
  return numbered(std::move(nodes), keep);
}

/// A training graph: a chain of layers with skips, its backward, and updates that happen once.
RematProblem trainingGraph(int layers, uint64_t seed) {
  std::mt19937_64 random(seed);
  std::vector<RematNode> nodes;
  std::vector<std::vector<int32_t>> inputs(layers), gradients(layers);
  for (int i = 0; i < layers; ++i) {
    if (i)
      inputs[i].push_back(i - 1);
    if (i >= 4 && i % 4 == 0)
      inputs[i].push_back(i - 4);
    nodes.push_back(node(i % 3 ? 2 : 100, 1024 * int64_t(1 + random() % 4), inputs[i]));
  }
  for (int i = layers - 1; i >= 0; --i) {
    std::vector<int32_t> deps = inputs[i];
    deps.push_back(i);
    deps.insert(deps.end(), gradients[i].begin(), gradients[i].end());
    int32_t gradient = int32_t(nodes.size());
    nodes.push_back(node(nodes[i].cost, nodes[i].size, deps, 512));
    for (int32_t d : inputs[i])
      gradients[d].push_back(gradient);
    if (i % 3 == 0) {
      std::vector<int32_t> uses = inputs[i];
      uses.push_back(gradient);
      nodes.push_back(node(50, 0, uses));
      nodes.back().recomputable = false;
    }
  }
  return numbered(std::move(nodes), {});
}

} // namespace

TEST(Remat, ChainByHand) {
  // a -> b -> c -> d and d needs a again: keeping a takes 30 while c is computed, 20 if a is computed twice.
  RematProblem problem = numbered({node(1, 10, {}), node(5, 10, {0}), node(5, 10, {1}), node(5, 10, {0, 2})}, {3});
  RematResult wide = solveRemat(problem, 30);
  ASSERT_TRUE(wide.found);
  EXPECT_EQ(wide.cost, 16);
  EXPECT_EQ(wide.peak, 30);
  EXPECT_EQ(wide.bound, 16);
  RematResult narrow = solveRemat(problem, 29);
  EXPECT_FALSE(narrow.found); // d itself takes a, c and d
  EXPECT_TRUE(narrow.provedInfeasible);
  EXPECT_EQ(narrow.boundBytes, 30);
}

TEST(Remat, RecomputesWhereItPays) {
  RematProblem problem =
      numbered({node(1, 10, {}), node(5, 10, {0}), node(5, 10, {1}), node(5, 10, {2}), node(5, 0, {0, 3})}, {});
  for (RematNode &v : problem.nodes)
    v.workspace = v.id == 2 ? 5 : 0;
  RematResult wide = solveRemat(problem, 35), narrow = solveRemat(problem, 25);
  ASSERT_TRUE(wide.found && narrow.found);
  EXPECT_EQ(wide.cost, 21);
  EXPECT_EQ(narrow.cost, 22);
  EXPECT_TRUE(validateRemat(problem, narrow, 25));
}

TEST(Remat, AgreesWithExhaustiveSearch) {
  int feasible = 0, infeasible = 0, dearer = 0;
  for (uint64_t seed = 1; seed <= 400; ++seed) {
    RematProblem problem = randomProblem(seed, 7, seed % 2);
    ASSERT_TRUE(checkRematProblem(problem).empty());
    int64_t bound = rematBoundBytes(problem);
    for (int64_t budget : {bound - 1, bound, bound + 2, bound + 5, bound + 9}) {
      double exact = exactCost(problem, budget);
      RematResult result = solveRemat(problem, budget, 1);
      ASSERT_EQ(result.found, exact >= 0) << "seed " << seed << " budget " << budget;
      if (!result.found) {
        ++infeasible;
        continue;
      }
      ++feasible;
      ASSERT_FALSE(result.provedInfeasible);
      RematCheck check = validateRemat(problem, result, budget);
      ASSERT_TRUE(check) << check.message;
      ASSERT_LE(result.cost, exact * 1.02) << "seed " << seed << " budget " << budget;
      ASSERT_LE(result.bound, exact + 1e-9) << "seed " << seed << " budget " << budget;
      dearer += result.cost > solveRemat(problem, INT64_MAX / 4, 1).cost;
    }
  }
  EXPECT_GT(feasible, 200);
  EXPECT_GT(infeasible, 100);
  EXPECT_GT(dearer, 50);
}

TEST(Remat, FloorAndFrontier) {
  for (uint64_t seed : {3, 8, 21}) {
    RematProblem problem = randomProblem(seed, 8, seed % 2);
    RematResult floor = rematFloor(problem, 1);
    ASSERT_TRUE(floor.found);
    EXPECT_GE(exactCost(problem, floor.peak), 0);
    EXPECT_LT(exactCost(problem, floor.peak - 1), 0) << "a smaller floor exists";
  }
  RematProblem problem = trainingGraph(40, 1);
  std::vector<RematSchedule> frontier = rematFrontier(problem, 8, 1);
  ASSERT_GE(frontier.size(), 3u);
  for (size_t k = 0; k < frontier.size(); ++k) {
    ASSERT_TRUE(validateRemat(problem, frontier[k])) << validateRemat(problem, frontier[k]).message;
    if (k) {
      EXPECT_LT(frontier[k].peak, frontier[k - 1].peak);
      EXPECT_GT(frontier[k].cost, frontier[k - 1].cost);
    }
  }
}

/// A chain of `length` layers of equal cost and size, and its backward pass: x[k] = f(x[k-1]), g[k-1] = b(x[k], g[k]).
RematProblem uniformChain(int32_t length) {
  std::vector<RematNode> nodes{node(1, 16, {})};
  for (int32_t k = 1; k < length; ++k)
    nodes.push_back(node(1, 16, {k - 1}));
  nodes.push_back(node(1, 16, {length - 1}));
  for (int32_t k = length - 1; k-- > 0;)
    nodes.push_back(node(1, 16, {k, int32_t(nodes.size()) - 1}));
  return numbered(nodes, {2 * length - 1});
}

TEST(Remat, LongFrontier) {
  RematProblem problem = uniformChain(400);
  std::vector<RematSchedule> frontier = rematFrontier(problem, 20, 2);
  for (size_t k = 0; k < frontier.size(); ++k) {
    ASSERT_TRUE(validateRemat(problem, frontier[k])) << validateRemat(problem, frontier[k]).message;
    if (k) {
      EXPECT_LT(frontier[k].peak, frontier[k - 1].peak);
      EXPECT_GT(frontier[k].cost, frontier[k - 1].cost);
    }
    // Half of the memory is had by computing half of the forward pass again, and no more.
    if (frontier[k].peak >= frontier[0].peak / 2)
      EXPECT_LE(frontier[k].cost, frontier[0].cost + 200);
  }
  // Chen et al.: checkpoints every sqrt(n) layers cost one forward pass more and hold 2 sqrt(n) values.
  int64_t squareRoots = 16 * (2 * 20 + 2);
  RematResult result = solveRemat(problem, squareRoots, 1);
  ASSERT_TRUE(result.found);
  EXPECT_LE(result.cost, 800 + 400);
  for (const RematSchedule &schedule : frontier)
    if (schedule.peak <= 2 * squareRoots && schedule.peak > squareRoots)
      EXPECT_LE(schedule.cost, 800 + 400);
  EXPECT_LE(frontier.back().peak, squareRoots / 4);
}

TEST(Remat, OrdersOfAnotherSizeAreTakenOver) {
  RematProblem large = trainingGraph(200, 4), small = large;
  for (RematNode &n : small.nodes) {
    n.size /= 2;
    n.cost /= 2;
  }
  std::vector<std::vector<int32_t>> orders;
  for (const RematSchedule &schedule : rematFrontier(large, 12, 1))
    orders.push_back(schedule.order);
  std::vector<RematSchedule> fresh = rematFrontier(small, 12, 1), taken = rematFrontier(small, 12, 1, orders);
  for (const RematSchedule &schedule : taken)
    ASSERT_TRUE(validateRemat(small, schedule)) << validateRemat(small, schedule).message;
  EXPECT_LE(taken.back().peak, fresh.back().peak * 1.05);
  EXPECT_GE(taken.size() * 2, fresh.size());
}

TEST(Remat, FiveThousandNodes) {
  RematProblem problem = trainingGraph(2150, 2);
  ASSERT_GT(problem.nodes.size(), 5000u);
  RematResult all = solveRemat(problem, INT64_MAX / 4, 1);
  ASSERT_TRUE(validateRemat(problem, all)) << validateRemat(problem, all).message;
  EXPECT_EQ(all.order.size(), problem.nodes.size());
  RematResult half = solveRemat(problem, all.peak / 2, 1);
  ASSERT_TRUE(half.found);
  ASSERT_TRUE(validateRemat(problem, half, all.peak / 2)) << validateRemat(problem, half, all.peak / 2).message;
  EXPECT_LT(half.cost, all.cost * 1.05);
  EXPECT_EQ(half.order, solveRemat(problem, all.peak / 2, 1).order) << "not deterministic";
}

TEST(Remat, UpdatesStayInOrder) {
  RematProblem problem = trainingGraph(30, 5);
  RematResult result = solveRemat(problem, solveRemat(problem, INT64_MAX / 4, 1).peak * 6 / 10, 1);
  ASSERT_TRUE(result.found);
  std::vector<int32_t> once;
  for (int32_t v : result.order)
    if (!problem.nodes[v].recomputable)
      once.push_back(v);
  EXPECT_TRUE(std::is_sorted(once.begin(), once.end()));
  EXPECT_TRUE(std::adjacent_find(once.begin(), once.end()) == once.end());
}

TEST(RematProblemCheck, ListsAllOffenders) {
  RematProblem problem = numbered({node(-1, 1, {}), node(1, -1, {7}), node(1, 1, {0, 0})}, {9});
  EXPECT_EQ(checkRematProblem(problem).size(), 5u);
  RematProblem cycle = numbered({node(1, 1, {1}), node(1, 1, {0})}, {});
  ASSERT_EQ(checkRematProblem(cycle).size(), 1u);
  EXPECT_NE(checkRematProblem(cycle)[0].find("cycle"), std::string::npos);
  RematProblem huge = numbered({node(1, INT64_MAX, {}), node(1, INT64_MAX, {})}, {});
  EXPECT_FALSE(checkRematProblem(huge).empty());
}

TEST(RematValidator, TellsWhatIsWrong) {
  RematProblem problem = numbered({node(1, 10, {}), node(2, 20, {0}, 5), node(3, 0, {1})}, {1});
  problem.nodes[2].recomputable = false;
  auto verdict = [&](std::vector<int32_t> order, std::vector<std::vector<int32_t>> drop, double cost, int64_t peak,
                     std::optional<int64_t> budget = std::nullopt) {
    RematSchedule schedule;
    schedule.order = std::move(order);
    schedule.dropAfter = std::move(drop);
    schedule.cost = cost;
    schedule.peak = peak;
    return validateRemat(problem, schedule, budget).verdict;
  };
  EXPECT_EQ(verdict({0, 1, 2}, {{}, {0}, {}}, 6, 35), RematVerdict::Valid);
  EXPECT_EQ(verdict({0, 1, 2}, {{}, {0}}, 6, 35), RematVerdict::WrongLength);
  EXPECT_EQ(verdict({0, 1, 3}, {{}, {}, {}}, 6, 35), RematVerdict::UnknownNode);
  EXPECT_EQ(verdict({0, 1, 2}, {{0}, {}, {}}, 6, 35), RematVerdict::MissingInput);
  EXPECT_EQ(verdict({0, 1, 2}, {{}, {0, 0}, {}}, 6, 35), RematVerdict::DropsDead);
  EXPECT_EQ(verdict({0, 1}, {{}, {}}, 3, 35), RematVerdict::NeverComputed);
  EXPECT_EQ(verdict({0, 1, 2}, {{}, {}, {1}}, 6, 35), RematVerdict::KeptLost);
  EXPECT_EQ(verdict({0, 1, 2, 2}, {{}, {}, {}, {}}, 9, 35), RematVerdict::ComputedTwice);
  EXPECT_EQ(verdict({0, 1, 2}, {{}, {0}, {}}, 7, 35), RematVerdict::WrongCost);
  EXPECT_EQ(verdict({0, 1, 2}, {{}, {0}, {}}, 6, 30), RematVerdict::WrongPeak);
  EXPECT_EQ(verdict({0, 1, 2}, {{}, {0}, {}}, 6, 35, 34), RematVerdict::OverBudget);
  problem.nodes[1].recomputable = false;
  problem.nodes[2].deps = {0};
  EXPECT_EQ(verdict({0, 2, 1}, {{}, {}, {}}, 6, 35), RematVerdict::OutOfOrder);
}
