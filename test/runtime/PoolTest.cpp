#include "gmc/Error.h"
#include "runtime/host/HostDevice.h"
#include "runtime/host/Libraries.h"
#include "runtime/host/ThreadPool.h"

#include <algorithm>
#include <atomic>
#include <gtest/gtest.h>
#include <vector>

using namespace gmc;
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

/// The bytes of one f32 matrix product of 8 x 8 matrices by oneDNN, and by a kernel that stands in for it.
struct ProductModel {
  explicit ProductModel(ThreadPool &pool) {
    std::string problem;
    library = OneDnn::load(pool, 0, problem);
    if (!library)
      return;
    MatmulCall product;
    product.m = product.n = product.k = 8;
    planned.call = LibraryCall::make(product);
    auto call = library->prepare(planned.call, CallForm::Direct);
    if (!call)
      return;
    planned.scratchBytes = static_cast<int64_t>(call->scratchBytes);
    planned.version = library->version();
    planned.isa = library->isa();
    planned.implementation = call->implementationHash();
    planned.positions = {0, 1, 2, 3};
    ready = true;
  }

  /// Two ones times two ones; what the result's first element is.
  float run(ThreadPool &pool, std::string &notes, const char *object = OneDnn::SharedObject) {
    std::vector<int64_t> args = planned.encode();
    GmcLaunch launch{[](char *const *operands, int64_t, int64_t) { *reinterpret_cast<float *>(operands[2]) = -1; },
                     "stand_in", 1, 1, 0};
    uint64_t offsets[] = {0, 256, 512, 768};
    GmcStep step{"nn.matmul", "fc", &launch, offsets, 1, 4, GMC_STAGE_FORWARD, GMC_LIBRARY_ONEDNN, args.data(),
                 static_cast<uint32_t>(args.size()), 0};
    GmcProgram program{"train", &step, nullptr, nullptr, 1, 0, 0, 1};
    GmcModel model{};
    model.programs = &program;
    model.numPrograms = 1;
    Libraries libraries(model, pool, object);
    notes = libraries.notes();
    std::vector<float> arena(192 + 16384);
    std::fill_n(arena.begin(), 2, 1.0f); // row 0 of a; column 0 of b
    arena[64] = arena[72] = 1;
    char *operands[4];
    for (int i = 0; i < 4; ++i)
      operands[i] = reinterpret_cast<char *>(arena.data()) + offsets[i];
    if (!libraries.run(step, operands))
      launch.fn(operands, 0, 1);
    return arena[128];
  }

  std::unique_ptr<OneDnn> library;
  PlannedCall planned;
  bool ready = false;
};

class LibrariesTest : public testing::Test {
protected:
  void SetUp() override {
    if (!model.ready)
      GTEST_SKIP() << "oneDNN has no such product here (package libdnnl2)";
  }
  ThreadPool pool{2};
  ProductModel model{pool};
  std::string notes;
};

TEST_F(LibrariesTest, ExecutesTheCall) {
  EXPECT_EQ(model.run(pool, notes), 2);
  EXPECT_EQ(notes, "");
}

TEST_F(LibrariesTest, MissingLibraryLeavesTheKernel) {
  EXPECT_EQ(model.run(pool, notes, "libgmc-no-such-library.so.9"), -1);
  EXPECT_NE(notes.find("oneDNN " + OneDnn::versionText(model.planned.version) + " is not to be had"), std::string::npos)
      << notes;
  EXPECT_NE(notes.find("libgmc-no-such-library.so.9"), std::string::npos) << notes;
}

TEST_F(LibrariesTest, OtherVersionAndKernelAreSaid) {
  model.planned.version += 1000;
  model.planned.implementation += 1;
  EXPECT_EQ(model.run(pool, notes), 2);
  EXPECT_NE(notes.find("was planned for"), std::string::npos) << notes;
  EXPECT_NE(notes.find("another kernel"), std::string::npos) << notes;
}

TEST_F(LibrariesTest, GrownWorkspaceIsAnErrorBeforeTraining) {
  model.planned.scratchBytes -= 64;
  try {
    model.run(pool, notes);
    FAIL();
  } catch (const Error &error) {
    EXPECT_EQ(error.code(), ExitMemory);
    EXPECT_NE(std::string(error.what()).find("'fc'"), std::string::npos) << error.what();
  }
}

TEST_F(LibrariesTest, DescriptionsThatDoNotHoldAreInternalErrors) {
  model.planned.positions = {0, 1, 9, 3};
  EXPECT_THROW(model.run(pool, notes), Error);
  model.planned.positions = {0, 1};
  EXPECT_THROW(model.run(pool, notes), Error);
  std::vector<int64_t> args = model.planned.encode();
  EXPECT_THROW(PlannedCall::decode(args.data(), static_cast<uint32_t>(args.size()) - 1), Error);
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
  try {
    device.allocate(model);
    FAIL();
  } catch (const Error &error) {
    EXPECT_EQ(error.code(), ExitInternal);
    EXPECT_NE(std::string(error.what()).find("conv1"), std::string::npos);
  }
  step.library = GMC_LIBRARY_NONE;
  device.allocate(model);
  EXPECT_THROW(device.allocate(model), Error);
  char byte = 1;
  EXPECT_THROW(device.write(64, &byte, 1), Error);
  device.write(63, &byte, 1);
  device.read(63, &byte, 1);
  EXPECT_EQ(byte, 1);
}

} // namespace
