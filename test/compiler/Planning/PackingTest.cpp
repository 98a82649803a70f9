//===- PackingTest.cpp ----------------------------------------------------===//
#include "compiler/Planning/PackValidator.h"
#include "compiler/Planning/Packing.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <functional>
#include <random>
#include <sstream>

using namespace gmc::planning;

namespace {

PackProblem randomProblem(uint64_t seed, int count, int horizon, int maxSize, bool aligned) {
  std::mt19937_64 random(seed);
  PackProblem problem;
  for (int i = 0; i < count; ++i) {
    int64_t lower = int64_t(random() % horizon), upper = lower + int64_t(random() % (horizon - lower + 1));
    int64_t alignment = aligned ? int64_t(1) << (random() % 3) : 1;
    problem.buffers.push_back({i * 3, lower, upper, int64_t(random() % (maxSize + 1)), alignment});
  }
  return problem;
}

/// The least height over all orders: some order with lowest-offset placement is optimal.
int64_t bruteForceHeight(const PackProblem &problem) {
  std::vector<size_t> order(problem.buffers.size());
  for (size_t i = 0; i < order.size(); ++i)
    order[i] = i;
  int64_t best = INT64_MAX;
  do {
    std::vector<int64_t> offset(order.size(), 0);
    int64_t height = 0;
    for (size_t k = 0; k < order.size(); ++k) {
      const PackBuffer &b = problem.buffers[order[k]];
      if (b.size == 0 || b.lower >= b.upper)
        continue;
      int64_t at = 0;
      for (bool moved = true; moved;) {
        moved = false;
        for (size_t j = 0; j < k; ++j) {
          const PackBuffer &o = problem.buffers[order[j]];
          if (o.size == 0 || o.lower >= b.upper || b.lower >= o.upper)
            continue;
          if (at < offset[order[j]] + o.size && offset[order[j]] < at + b.size) {
            at = offset[order[j]] + o.size;
            moved = true;
          }
        }
      }
      offset[order[k]] = at;
      height = std::max(height, at + b.size);
    }
    best = std::min(best, height);
  } while (std::next_permutation(order.begin(), order.end()));
  return best;
}

PackProblem readCsv(const std::filesystem::path &path) {
  PackProblem problem;
  std::ifstream in(path);
  std::string line;
  std::getline(in, line);
  while (std::getline(in, line)) {
    std::replace(line.begin(), line.end(), ',', ' ');
    std::istringstream fields(line);
    PackBuffer b;
    fields >> b.id >> b.lower >> b.upper >> b.size;
    problem.buffers.push_back(b);
  }
  return problem;
}

} // namespace

TEST(Packing, EmptyAndTrivial) {
  EXPECT_EQ(pack({}).height, 0);
  PackSolution one = pack({{{7, 0, 1, 100}}, {}});
  EXPECT_EQ(one.height, 100);
  EXPECT_EQ(one.offsets, std::vector<int64_t>{0});
  // Half-open lifetimes: the second starts where the first ends and takes its place.
  PackSolution two = pack({{{0, 0, 5, 64}, {1, 5, 9, 64}}, {}});
  EXPECT_EQ(two.height, 64);
  // Neither an empty lifetime nor size 0 takes room.
  EXPECT_EQ(pack({{{0, 3, 3, 64}, {1, 0, 9, 0}}, {}}).height, 0);
}

TEST(Packing, OptimalOnTinyInstances) {
  for (uint64_t seed = 1; seed <= 150; ++seed) {
    PackProblem problem = randomProblem(seed, 6, 7, 5, false);
    PackSolution solution = pack(problem);
    PackCheck check = validatePacking(problem, solution);
    ASSERT_TRUE(check) << check.message;
    ASSERT_EQ(solution.lowerBound, maxLive(problem.buffers));
    int64_t best = bruteForceHeight(problem);
    ASSERT_EQ(solution.height, best) << "seed " << seed;
    // The same with the optimum as capacity, and one less.
    problem.capacity = best;
    PackSolution within = pack(problem);
    ASSERT_TRUE(within.found) << "seed " << seed;
    ASSERT_TRUE(validatePacking(problem, within)) << "seed " << seed;
    problem.capacity = best - 1;
    PackSolution below = pack(problem);
    ASSERT_FALSE(below.found) << "seed " << seed;
    ASSERT_TRUE(below.provedInfeasible) << "seed " << seed;
  }
}

TEST(Packing, RandomAreValidAndDeterministic) {
  for (uint64_t seed = 1; seed <= 25; ++seed) {
    PackProblem problem = randomProblem(seed, 5 + int(seed * 7 % 120), 40, 1000, seed % 2 == 0);
    PackSolution solution = pack(problem, 1);
    PackCheck check = validatePacking(problem, solution);
    ASSERT_TRUE(check) << check.message;
    ASSERT_GE(solution.height, solution.lowerBound);
    ASSERT_EQ(solution.offsets, pack(problem, 1).offsets);
  }
}

TEST(Packing, TwentyThousandBuffers) {
  // The shape of a training graph: activations from forward to the mirrored backward step, and short temporaries.
  std::mt19937_64 random(5);
  PackProblem problem;
  int64_t layers = 7000, id = 0;
  for (int64_t i = 0; i < layers; ++i) {
    int64_t size = int64_t(random() % 5000 + 1) * 256;
    problem.buffers.push_back({id++, i, 2 * layers - i, size, 256});
    problem.buffers.push_back({id++, 2 * layers - i - 1, 2 * layers - i + 1, size, 256});
    problem.buffers.push_back({id++, i, i + 1, int64_t(random() % 5000) * 256, 256});
  }
  PackSolution solution = pack(problem, 1);
  PackCheck check = validatePacking(problem, solution);
  ASSERT_TRUE(check) << check.message;
  EXPECT_LE(double(solution.height), 1.01 * double(solution.lowerBound));
}

TEST(PackValidator, TellsWhatIsWrong) {
  PackProblem problem{{{10, 0, 4, 8, 8}, {11, 2, 6, 8, 8}}, 16};
  PackSolution solution = pack(problem);
  ASSERT_TRUE(validatePacking(problem, solution));
  auto verdict = [&](std::vector<int64_t> offsets, int64_t height, bool found = true) {
    return validatePacking(problem, {std::move(offsets), height, 16, found, false}).verdict;
  };
  EXPECT_EQ(verdict({0}, 8), PackVerdict::WrongCount);
  EXPECT_EQ(verdict({0, -8}, 8), PackVerdict::NegativeOffset);
  EXPECT_EQ(verdict({0, 12}, 20), PackVerdict::Misaligned);
  EXPECT_EQ(verdict({0, 0}, 8), PackVerdict::Overlap);
  EXPECT_EQ(verdict({0, 8}, 24), PackVerdict::WrongHeight);
  EXPECT_EQ(verdict({8, 16}, 24), PackVerdict::OverCapacity);
  EXPECT_EQ(verdict({8, 16}, 24, false), PackVerdict::Valid);
  EXPECT_NE(validatePacking(problem, {{0, 0}, 8, 16, true, false}).message.find("10"), std::string::npos);
}

TEST(Packing, PublicInstances) {
  std::filesystem::path folder = std::filesystem::path(GMC_SHARED_DIR) / "data/packing";
  if (!std::filesystem::exists(folder))
    GTEST_SKIP() << "no shared packing instances at " << folder;
  int seen = 0;
  for (const auto &entry : std::filesystem::directory_iterator(folder)) {
    if (entry.path().extension() != ".csv")
      continue;
    ++seen;
    PackProblem problem = readCsv(entry.path());
    PackSolution solution = pack(problem, 1);
    PackCheck check = validatePacking(problem, solution);
    ASSERT_TRUE(check) << entry.path() << ": " << check.message;
    std::string name = entry.path().filename().string();
    if (name == "iree_mobilebert.csv")
      EXPECT_EQ(solution.height, solution.lowerBound);
    if (name == "resnet50.csv" || name == "bert_base.csv")
      EXPECT_LE(double(solution.height), 1.002 * double(solution.lowerBound));
    if (name.find(".1048576.") == std::string::npos || name[0] == 'I') // I is not solved within seconds
      continue;
    problem.capacity = 1048576;
    PackSolution within = pack(problem, 1);
    EXPECT_TRUE(within.found) << name;
    EXPECT_TRUE(validatePacking(problem, within)) << name;
  }
  EXPECT_GT(seen, 0);
}
