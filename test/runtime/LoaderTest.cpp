#include "gmc/Error.h"
#include "runtime/data/Loader.h"
#include "runtime/data/Order.h"
#include "runtime/host/HostDevice.h"

#include <algorithm>
#include <cstring>
#include <gtest/gtest.h>
#include <numeric>
#include <thread>

using namespace gmc::rt;

namespace {

/// Sample i is the number i; every `bad`-th is damaged, sample `fatal` ends the run.
class Numbers : public Source {
public:
  Numbers(int64_t count, int64_t bad = 0, int64_t fatal = -1, std::vector<int64_t> bounds = {})
      : count(count), bad(bad), fatal(fatal), bounds(std::move(bounds)) {}
  int64_t size() const override { return count; }
  void load(int64_t index, char *const *tensors, LoadContext &context) const override {
    if (index % 3 == 0)
      std::this_thread::yield();
    if (bad && index % bad == 1)
      throw SampleError("damaged");
    if (index == fatal)
      throw ioError("the disk is gone");
    std::memcpy(tensors[0], &index, 8);
    int64_t copies[3] = {index, index, context.epoch};
    std::memcpy(tensors[1], copies, 24);
  }
  std::string name(int64_t index) const override { return "#" + std::to_string(index); }
  std::string fingerprint() const override { return "numbers"; }
  std::vector<int64_t> groups() const override { return bounds.empty() ? Source::groups() : bounds; }

private:
  int64_t count, bad, fatal;
  std::vector<int64_t> bounds;
};

const std::vector<Slot> Slots = {{"x", GMC_INT64, {}, false}, {"y", GMC_INT64, {3}, true}};

/// Everything a loader delivers in `batches` micro-batches, as text.
std::string transcript(const Source &source, LoaderOptions options, int batches, int64_t epoch = 0, int64_t step = 0) {
  HostDevice device(1, ThreadPool::Kind::Own);
  Loader loader(source, Slots, device, options);
  loader.start(epoch, step);
  std::string text;
  for (int b = 0; b < batches; ++b) {
    const MicroBatch *batch = loader.acquire();
    if (!batch)
      return text + "end";
    text += std::to_string(batch->valid) + ":";
    for (int64_t row = 0; row < options.microBatch; ++row) {
      int64_t x, y[3];
      std::memcpy(&x, batch->tensors[0] + row * 8, 8);
      std::memcpy(y, batch->tensors[1] + row * 24, 24);
      EXPECT_EQ(x, y[0]);
      EXPECT_EQ(x, y[1]);
      text += " " + std::to_string(x) + "@" + std::to_string(y[2]);
    }
    for (const auto &bad : batch->bad)
      text += " " + bad;
    text += "\n";
    loader.release();
  }
  return text;
}

TEST(Loader, DeliversTheSameForAnyNumberOfWorkers) {
  Numbers source(103, /*bad=*/17);
  for (int64_t microBatch : {1, 4, 32})
    for (bool training : {true, false}) {
      LoaderOptions options{1, microBatch, 2, 42, training, 0};
      std::string one = transcript(source, options, 300);
      for (unsigned workers : {2u, 3u, 8u}) {
        options.workers = workers;
        EXPECT_EQ(transcript(source, options, 300), one);
      }
    }
}

TEST(Loader, StartsAnywhereInTheSameOrder) {
  Numbers source(50);
  LoaderOptions options{2, 4, 3, 7, true, 0};
  std::string whole = transcript(source, options, 60);
  // Five steps an epoch, fifteen micro-batches.
  for (int64_t start : {1, 4, 5, 9}) {
    std::string rest = transcript(source, options, static_cast<int>(60 - start * 3), start / 5, start % 5);
    ASSERT_LE(rest.size(), whole.size());
    EXPECT_EQ(whole.substr(whole.size() - rest.size()), rest) << start;
  }
}

TEST(Loader, EveryEpochHoldsEverySampleOnceInAnotherOrder) {
  Numbers source(100);
  HostDevice device(1, ThreadPool::Kind::Own);
  Loader loader(source, Slots, device, {2, 8, 2, 1, true, 0});
  EXPECT_EQ(loader.stepsPerEpoch(), 7);
  loader.start(0, 0);
  std::vector<std::vector<int64_t>> epochs;
  for (int epoch = 0; epoch < 3; ++epoch) {
    std::vector<int64_t> seen;
    for (int micro = 0; micro < 14; ++micro) {
      const MicroBatch *batch = loader.acquire();
      seen.insert(seen.end(), batch->samples.begin(), batch->samples.end());
      EXPECT_EQ(batch->valid, micro < 12 ? 8 : micro == 12 ? 4 : 0);
      loader.release();
    }
    epochs.push_back(seen);
    std::sort(seen.begin(), seen.end());
    std::vector<int64_t> all(100);
    std::iota(all.begin(), all.end(), 0);
    EXPECT_EQ(seen, all);
  }
  EXPECT_NE(epochs[0], epochs[1]);
  EXPECT_NE(epochs[1], epochs[2]);
}

TEST(Loader, AFatalErrorSurfacesWhereItHappened) {
  Numbers source(100, 0, /*fatal=*/40);
  HostDevice device(1, ThreadPool::Kind::Own);
  Loader loader(source, Slots, device, {3, 8, 1, 1, false, 0});
  loader.start(0, 0);
  for (int i = 0; i < 5; ++i) {
    ASSERT_TRUE(loader.acquire());
    loader.release();
  }
  EXPECT_THROW(loader.acquire(), Error);
}

TEST(Loader, RestartsWhileWorkersAreBusy) {
  Numbers source(1000);
  HostDevice device(1, ThreadPool::Kind::Own);
  Loader loader(source, Slots, device, {4, 8, 1, 1, false, 0});
  for (int round = 0; round < 50; ++round) {
    loader.start(0, 0);
    for (int i = 0; i < round % 5; ++i) {
      const MicroBatch *batch = loader.acquire();
      EXPECT_EQ(batch->samples[0], i * 8);
      loader.release();
    }
  }
}

TEST(Order, PermutationsAreComplete) {
  for (uint64_t n : {1u, 2u, 3u, 16u, 17u, 1000u, 4097u}) {
    Permutation permutation(n, 99);
    std::vector<bool> seen(n);
    for (uint64_t i = 0; i < n; ++i) {
      uint64_t value = permutation(i);
      ASSERT_LT(value, n);
      EXPECT_FALSE(seen[value]);
      seen[value] = true;
    }
  }
}

TEST(Order, ShuffleBufferStaysWithinItsWindow) {
  std::vector<int64_t> shards = {0, 100, 250, 300};
  for (int64_t size : {1, 10, 1000}) {
    Order order(shards, true, size, 3, 0);
    std::vector<int64_t> seen;
    while (!order.done())
      seen.push_back(order.next());
    auto sorted = seen;
    std::sort(sorted.begin(), sorted.end());
    std::vector<int64_t> all(300);
    std::iota(all.begin(), all.end(), 0);
    EXPECT_EQ(sorted, all);
    EXPECT_NE(seen, all);
  }
  // The first samples come from one shard.
  Order order(shards, true, 10, 3, 0);
  auto shardOf = [&](int64_t i) { return i < 100 ? 0 : i < 250 ? 1 : 2; };
  int shard = shardOf(order.next());
  for (int i = 1; i < 40; ++i)
    EXPECT_EQ(shardOf(order.next()), shard);
}

TEST(Ring, CountsItsSlots) {
  EXPECT_EQ(ringSlots(32, 2), 3u);
  EXPECT_EQ(ringSlots(1, 4), 6u);
  EXPECT_EQ(ringBytes(1000, 32, 2, false), 3 * 1024 + 2 * WorkerBytes);
}

} // namespace
