// The threads of a block as fibers: what barriers and warp operations give, and what is reported instead of a hang. The
// kernels are what the compiler emits for the sim target, written by hand.
#include "gmc/Error.h"
#include "gmc/Sim.h"

#include <gtest/gtest.h>
#include <vector>

using namespace gmc::rt;

namespace {

/// Runs `fn` on `blocks` blocks and returns one 64-bit number a thread, -1 where nothing was written.
std::vector<int64_t> run(void (*fn)(GmcSimThread *), uint32_t threads, uint32_t shared = 0, int64_t blocks = 1) {
  std::vector<int64_t> out(threads * blocks, -1);
  char *operands[] = {reinterpret_cast<char *>(out.data())};
  GmcSimKernel kernel{fn, "k", threads, shared};
  gmc_sim_run(&kernel, operands, 0, blocks);
  return out;
}

int64_t &result(GmcSimThread *self, uint32_t threads = 32) {
  return reinterpret_cast<int64_t *>(self->operands[0])[self->block * threads + self->thread];
}

TEST(SimFibers, BarrierMakesWritesVisibleBothWays) {
  auto out = run([](GmcSimThread *self) {
    auto *shared = reinterpret_cast<uint32_t *>(self->shared);
    int64_t sum = 0;
    for (uint32_t round = 0; round < 5; ++round) {
      shared[self->thread] = self->thread + 100 * round + self->block;
      gmc_sim_barrier(self);
      sum += shared[(self->thread + 1) % 96];
      gmc_sim_barrier(self);
    }
    result(self, 96) = sum;
  }, 96, 4 * 96, 2);
  for (int64_t b = 0; b < 2; ++b)
    for (int64_t t = 0; t < 96; ++t)
      EXPECT_EQ(out[b * 96 + t], 5 * ((t + 1) % 96) + 1000 + 5 * b) << b << " " << t;
}

TEST(SimFibers, MissingBarrierShows) {
  auto out = run([](GmcSimThread *self) {
    auto *shared = reinterpret_cast<uint32_t *>(self->shared);
    shared[self->thread] = self->thread;
    result(self) = shared[(self->thread + 1) % 32];
  }, 32, 4 * 32);
  EXPECT_EQ(out[0], 0xffffffff); // what memory is filled with: thread 1 has not been there yet
}

TEST(SimFibers, SharedMemoryStartsUndefinedInEveryBlock) {
  auto out = run([](GmcSimThread *self) {
    result(self) = reinterpret_cast<uint32_t *>(self->shared)[self->thread];
    reinterpret_cast<uint32_t *>(self->shared)[self->thread] = 7;
  }, 32, 4 * 32, 2);
  for (int64_t value : out)
    EXPECT_EQ(value, 0xffffffff);
}

struct ShuffleCase {
  uint32_t kind, lane, clamp;
  uint32_t (*source)(uint32_t lane); ///< from the definition of shfl.sync
  bool (*inside)(uint32_t lane);
};

// The cases that `shuffleKernel` goes through: whole warps, segments of 8, and clamps.
const ShuffleCase cases[] = {
    {GMC_SIM_SHUFFLE_XOR, 5, 31, [](uint32_t i) { return i ^ 5; }, [](uint32_t) { return true; }},
    {GMC_SIM_SHUFFLE_XOR, 16, 15, [](uint32_t i) { return i < 16 ? i : i ^ 16; }, [](uint32_t i) { return i >= 16; }},
    {GMC_SIM_SHUFFLE_UP, 3, 0, [](uint32_t i) { return i < 3 ? i : i - 3; }, [](uint32_t i) { return i >= 3; }},
    {GMC_SIM_SHUFFLE_UP, 3, 24 << 8, [](uint32_t i) { return i % 8 < 3 ? i : i - 3; },
     [](uint32_t i) { return i % 8 >= 3; }},
    {GMC_SIM_SHUFFLE_DOWN, 4, 31, [](uint32_t i) { return i > 27 ? i : i + 4; }, [](uint32_t i) { return i <= 27; }},
    {GMC_SIM_SHUFFLE_DOWN, 1, 24 << 8 | 31, [](uint32_t i) { return i % 8 == 7 ? i : i + 1; },
     [](uint32_t i) { return i % 8 != 7; }},
    {GMC_SIM_SHUFFLE_DOWN, 1, 9, [](uint32_t i) { return i >= 9 ? i : i + 1; }, [](uint32_t i) { return i < 9; }},
    {GMC_SIM_SHUFFLE_IDX, 17, 31, [](uint32_t) { return 17u; }, [](uint32_t) { return true; }},
    {GMC_SIM_SHUFFLE_IDX, 2, 24 << 8 | 31, [](uint32_t i) { return i / 8 * 8 + 2; }, [](uint32_t) { return true; }},
    {GMC_SIM_SHUFFLE_IDX, 20, 15, [](uint32_t i) { return i; }, [](uint32_t) { return false; }},
};
int shuffleCase;

TEST(SimFibers, ShufflesAsPtxDefinesThem) {
  for (shuffleCase = 0; shuffleCase < static_cast<int>(std::size(cases)); ++shuffleCase) {
    auto out = run([](GmcSimThread *self) {
      const ShuffleCase &c = cases[shuffleCase];
      result(self, 64) = static_cast<int64_t>(gmc_sim_shuffle(self, ~0u, c.kind, 1000 + self->thread, c.lane, c.clamp));
    }, 64);
    for (uint32_t t = 0; t < 64; ++t) {
      uint32_t lane = t % 32, source = cases[shuffleCase].source(lane) + t / 32 * 32;
      EXPECT_EQ(out[t] & 0xffffffff, 1000 + source) << "case " << shuffleCase << ", thread " << t;
      EXPECT_EQ(out[t] >> 32, cases[shuffleCase].inside(lane)) << "case " << shuffleCase << ", thread " << t;
    }
  }
}

TEST(SimFibers, WaitsForTheMaskOnlyNotForTheWarp) {
  // Even and odd lanes shuffle among themselves, the odd ones twice; lanes 28 to 31 have ended.
  auto out = run([](GmcSimThread *self) {
    uint32_t t = self->thread, value = t;
    if (t >= 28)
      return;
    uint32_t mask = 0x05555555u << (t % 2);
    for (uint32_t i = 0; i < 1 + t % 2; ++i)
      value = static_cast<uint32_t>(gmc_sim_shuffle(self, mask, GMC_SIM_SHUFFLE_IDX, value, (t + 2) % 28, 31));
    result(self) = value;
  }, 32);
  for (int64_t t = 0; t < 32; ++t)
    EXPECT_EQ(out[t], t >= 28 ? -1 : (t + (t % 2 ? 4 : 2)) % 28) << t;
}

TEST(SimFibers, Ballot) {
  auto out = run([](GmcSimThread *self) {
    result(self) = self->thread < 8 ? gmc_sim_ballot(self, 0xff, self->thread % 3 == 0) : 0;
    gmc_sim_sync_warp(self, ~0u);
  }, 32);
  EXPECT_EQ(out[3], 0x49);
  EXPECT_EQ(out[8], 0);
}

TEST(SimFibers, DivergentExitAfterTheLastBarrier) {
  auto out = run([](GmcSimThread *self) {
    gmc_sim_barrier(self);
    if (self->thread % 2)
      return;
    result(self, 1024) = self->thread;
  }, 1024);
  for (int64_t t = 0; t < 1024; ++t)
    EXPECT_EQ(out[t], t % 2 ? -1 : t);
}

//===- What is reported ---------------------------------------------------------------------------------===//

TEST(SimFibersDeath, BarrierThatAThreadNeverReaches) {
  auto kernel = [](GmcSimThread *self) {
    if (self->thread != 5)
      gmc_sim_barrier(self);
  };
  EXPECT_EXIT(run(kernel, 64), testing::ExitedWithCode(ExitInternal),
              "kernel k, block 0: 63 of 64 threads wait at a barrier, thread 0 among them; thread 5 has ended");
}

TEST(SimFibersDeath, ShuffleWhoseMaskNamesAnEndedLane) {
  auto kernel = [](GmcSimThread *self) {
    if (self->thread < 20)
      gmc_sim_shuffle(self, ~0u, GMC_SIM_SHUFFLE_XOR, 0, 1, 31);
  };
  EXPECT_EXIT(run(kernel, 32), testing::ExitedWithCode(ExitInternal),
              "thread 0 waits in a shuffle with mask 0xffffffff for thread 20, which has ended");
}

TEST(SimFibersDeath, ShuffleAgainstBarrier) {
  auto kernel = [](GmcSimThread *self) {
    if (self->thread == 0)
      gmc_sim_barrier(self);
    else
      gmc_sim_shuffle(self, ~0u, GMC_SIM_SHUFFLE_XOR, 0, 1, 31);
  };
  EXPECT_EXIT(run(kernel, 32), testing::ExitedWithCode(ExitInternal), "for thread 0, which waits at a barrier");
}

TEST(SimFibersDeath, ShuffleOutsideItsOwnMask) {
  auto kernel = [](GmcSimThread *self) { gmc_sim_shuffle(self, 0xffff, GMC_SIM_SHUFFLE_XOR, 0, 1, 31); };
  EXPECT_EXIT(run(kernel, 32), testing::ExitedWithCode(ExitInternal),
              "thread 16 .*mask 0x0000ffff, which does not name it");
}

TEST(SimFibersDeath, ShuffleFromALaneOutsideTheMask) {
  auto kernel = [](GmcSimThread *self) {
    if (self->thread < 16)
      gmc_sim_shuffle(self, 0xffff, GMC_SIM_SHUFFLE_DOWN, 0, 1, 31);
  };
  EXPECT_EXIT(run(kernel, 32), testing::ExitedWithCode(ExitInternal), "thread 15 reads lane 16");
}

} // namespace
