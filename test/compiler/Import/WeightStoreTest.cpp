#include "compiler/Import/WeightStore.h"
#include "gmc/Abi.h"
#include "gtest/gtest.h"
#include <cmath>

using namespace gmc;

namespace {

std::vector<double> make(llvm::StringRef name, llvm::ArrayRef<int64_t> dims, const InitOptions &options,
                         uint64_t first, uint64_t count, WeightUse use = WeightUse::Weight) {
  std::vector<double> values(count);
  makeWeights(name, dims, use, options, first, values);
  return values;
}

InitOptions options(const char *text) { return llvm::cantFail(InitOptions::parse(text)); }

TEST(WeightInit, KaimingHasItsVariance) {
  auto values = make("w", {64, 32, 3, 3}, options("kaiming"), 0, 64 * 32 * 9);
  double mean = 0, square = 0;
  for (double x : values) {
    mean += x / values.size();
    square += x * x / values.size();
  }
  EXPECT_NEAR(mean, 0, 0.002);
  EXPECT_NEAR(square, 2.0 / (32 * 9), 0.02 * 2.0 / (32 * 9));
}

TEST(WeightInit, XavierStaysWithinItsLimit) {
  double limit = std::sqrt(6.0 / (40 + 60)), largest = 0, square = 0;
  auto values = make("w", {60, 40}, options("xavier"), 0, 2400);
  for (double x : values) {
    largest = std::max(largest, std::fabs(x));
    square += x * x / values.size();
  }
  EXPECT_LE(largest, limit);
  EXPECT_GT(largest, 0.99 * limit);
  EXPECT_NEAR(square, limit * limit / 3, 0.05 * limit * limit / 3);
}

TEST(WeightInit, DependsOnNameShapeAndSeedOnly) {
  auto all = make("w", {8, 8}, options("normal:0.5"), 0, 64);
  auto tail = make("w", {8, 8}, options("normal:0.5"), 40, 24);
  EXPECT_TRUE(std::equal(tail.begin(), tail.end(), all.begin() + 40));
  EXPECT_NE(all, make("v", {8, 8}, options("normal:0.5"), 0, 64));
  InitOptions other = options("normal:0.5");
  other.seed = 1;
  EXPECT_NE(all, make("w", {8, 8}, other, 0, 64));
}

TEST(WeightInit, LowRanksAreOnesOrZeros) {
  EXPECT_EQ(make("b", {3}, options("kaiming"), 0, 3), std::vector<double>(3, 0.0));
  EXPECT_EQ(make("s", {3}, options("kaiming"), 0, 3, WeightUse::One), std::vector<double>(3, 1.0));
}

TEST(WeightInit, MalformedOptionsAreErrors) {
  for (const char *text : {"", "kaming", "normal", "normal:", "normal:x", "normal:-1", "normal:nan"}) {
    auto parsed = InitOptions::parse(text);
    EXPECT_FALSE(static_cast<bool>(parsed)) << text;
    llvm::consumeError(parsed.takeError());
  }
}

TEST(ConvertElements, RoundsToNearestEven) {
  float from[] = {1.0f, 65504.0f, 1.0f / 3.0f, 2049.0f, 2051.0f, INFINITY};
  uint16_t half[6];
  convertElements(reinterpret_cast<char *>(from), GMC_FLOAT, reinterpret_cast<char *>(half), GMC_FLOAT16, 6);
  uint16_t expected[] = {0x3c00, 0x7bff, 0x3555, 0x6800, 0x6802, 0x7c00};
  for (int i = 0; i < 6; ++i)
    EXPECT_EQ(half[i], expected[i]) << i;
  uint16_t brain[1];
  convertElements(reinterpret_cast<char *>(from + 2), GMC_FLOAT, reinterpret_cast<char *>(brain), GMC_BFLOAT16, 1);
  EXPECT_EQ(brain[0], 0x3eab);
  double back[6];
  convertElements(reinterpret_cast<char *>(half), GMC_FLOAT16, reinterpret_cast<char *>(back), GMC_DOUBLE, 6);
  EXPECT_EQ(back[1], 65504.0);
}

TEST(ElementCount, RefusesImpossibleShapes) {
  EXPECT_EQ(elementCount({2, 3}), 6);
  EXPECT_EQ(elementCount({}), 1);
  EXPECT_EQ(elementCount({0, 5}), 0);
  EXPECT_FALSE(elementCount({-1}));
  EXPECT_FALSE(elementCount({int64_t(1) << 32, int64_t(1) << 32}));
  EXPECT_FALSE(elementCount({INT64_MAX, INT64_MAX, 2}));
}

} // namespace
