#include "gmc/Error.h"
#include "runtime/host/HostDevice.h"
#include "runtime/host/Libraries.h"
#include "runtime/host/ThreadPool.h"

#include <atomic>
#include <gtest/gtest.h>
#include <vector>

using namespace gmc::rt;

namespace {

// libgomp is not built for ThreadSanitizer, which would see races in it that are none.
#if defined(__has_feature) && __has_feature(thread_sanitizer)
constexpr ThreadPool::Kind Kinds[] = {ThreadPool::Kind::Own};
#else
constexpr ThreadPool::Kind Kinds[] = {ThreadPool::Kind::Own, ThreadPool::Kind::Auto};
#endif

struct Visits {
  std::vector<std::atomic<int>> counts;
  std::atomic<int64_t> smallest{1 << 30};
};

TEST(ThreadPool, CoversTheSpaceOnce) {
  for (auto kind : Kinds)
    for (unsigned threads : {1u, 2u, 5u}) {
      ThreadPool pool(threads, kind);
      for (int64_t extent : {0, 1, 7, 1000, 4097}) {
        Visits visits{std::vector<std::atomic<int>>(static_cast<size_t>(extent))};
        for (int round = 0; round < 20; ++round)
          pool.parallelFor(
              extent, 16,
              [](void *context, int64_t begin, int64_t end) {
                auto *v = static_cast<Visits *>(context);
                if (end != static_cast<int64_t>(v->counts.size()) && end - begin < v->smallest)
                  v->smallest = end - begin;
                for (int64_t i = begin; i < end; ++i)
                  ++v->counts[static_cast<size_t>(i)];
              },
              &visits);
        for (auto &count : visits.counts)
          ASSERT_EQ(count, 20);
        EXPECT_GE(visits.smallest, 16);
      }
    }
}

TEST(HostDevice, UnknownLibraryIsAnInternalError) {
  GmcStep step{};
  step.op = "nn.conv2d";
  step.node = "conv1";
  step.library = 4711;
  GmcProgram program{};
  program.steps = &step;
  program.numSteps = 1;
  GmcModel model{};
  model.arenaBytes = 64;
  model.programs = &program;
  model.numPrograms = 1;
  HostDevice device(1, ThreadPool::Kind::Own);
  device.allocate(model);
  try {
    device.runSteps(program, 0, 0);
    FAIL();
  } catch (const Error &error) {
    EXPECT_EQ(error.code(), ExitInternal);
    EXPECT_NE(std::string(error.what()).find("conv1"), std::string::npos);
  }
  EXPECT_THROW(device.allocate(model), Error);
  char byte = 1;
  EXPECT_THROW(device.write(64, &byte, 1), Error);
  device.write(63, &byte, 1);
  device.read(63, &byte, 1);
  EXPECT_EQ(byte, 1);
}

} // namespace
