// What the compiler counts for the process, the rings and the workers is what they take at most, as the kernel sees it.
#include "TrainerFixture.h"
#include "runtime/data/Loader.h"
#include "runtime/train/Metadata.h"

using namespace gmc::test;

namespace {

constexpr uint64_t Arena = 413248, Sample = 784 * 4 + 8;

/// The promise for the softmax trainer: training and validation each have a ring and workers of their own.
uint64_t counted(unsigned workers, bool pictures) {
  return Arena + processReserve(2, 14) + ringBytes(50 * Sample, 50, workers, pictures) +
         ringBytes(100 * Sample, 100, workers, pictures);
}

class MemoryTest : public TrainerTest {
protected:
  void SetUp() override {
#if defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
    GTEST_SKIP() << "a sanitizer's own memory would be measured";
#endif
#endif
    TrainerTest::SetUp();
  }

  uint64_t used(std::vector<std::string> args) {
    args.push_back("--log=" + (dir / "log"));
    auto result = run(args);
    EXPECT_EQ(result.code, 0) << result.out;
    for (const Json &line : events(dir / "log"))
      if (line["event"] == "memory")
        return line["used"];
    return 0;
  }
};

TEST_F(MemoryTest, StaysWithinWhatIsCounted) {
  for (unsigned workers : {1u, 3u}) {
    uint64_t bytes = used(training({"--epochs=1", "--val=split:.2", "--workers=" + std::to_string(workers),
                                    "--checkpoint=" + (dir / "c"), "--save=" + (dir / "s")}));
    EXPECT_LE(bytes, counted(workers, false));
    // And not by a margin that would hide anything.
    EXPECT_GE(bytes, counted(workers, false) / 2);
  }
}

TEST_F(MemoryTest, PicturesOfAnySizeStayWithinTheScratch) {
  for (const char *side : {"a", "b"}) {
    std::filesystem::create_directories(dir / ("train/" + std::string(side)));
    for (int i = 0; i < 4; ++i) {
      std::string name = dir / ("train/" + std::string(side) + "/" + std::to_string(i));
      auto pixel = [i](int x, int y, int c) { return (x * 3 + y * c + i) & 255; };
      if (i % 2)
        writeJpeg(name + ".jpg", 2400, 1200, pixel);
      else
        writePng(name + ".png", 2000, 1000, pixel);
    }
  }
  uint64_t bytes = used({"--data=" + (dir / "train"), "--weights=" + (dir / "w.safetensors"), "--steps=3",
                         "--workers=3", "--augment=rrc=28,flip,jitter=.4"});
  EXPECT_LE(bytes, counted(3, true));
  // 8 MB of decoded pixels never stand in memory: not even the scratch is used up.
  EXPECT_LE(bytes, counted(3, false) + 3 * (1 << 20));
}

TEST_F(MemoryTest, DoesNotRiseAfterTheSecondStep) {
  uint64_t two = used(training({"--steps=2"})), many = used(training({"--steps=400"}));
  EXPECT_LE(many, two + (256 << 10));
}

} // namespace
