// runtime/cuda without a GPU: a trainer for cuda on the simulated driver (SimulatedDriver.h), which runs copies and
// kernels on threads of their own with random delays. What it computes is what the host's trainer computes, bit for
// bit.
#include "gmc/Error.h"
#include "runtime/cuda/DeviceImage.h"
#include "test/runtime/TrainerFixture.h"

using namespace gmc::test;

namespace {

class CudaTest : public TrainerTest {
protected:
  void SetUp() override {
    TrainerTest::SetUp();
    set("LD_LIBRARY_PATH", GMC_DRIVER);
    set("SIMCUDA_KERNELS", GMC_KERNELS);
  }
  void TearDown() override {
    for (const std::string &name : names)
      unsetenv(name.c_str());
  }
  void set(const std::string &name, const std::string &value) {
    setenv(name.c_str(), value.c_str(), 1);
    names.push_back(name);
  }
  static void expectIn(const std::string &text, const std::vector<std::string> &parts) {
    for (const std::string &part : parts)
      EXPECT_NE(text.find(part), std::string::npos) << part << "\n" << text;
  }
  Json memoryOf(const std::string &log) {
    for (const Json &line : events(log))
      if (line["event"] == "memory")
        return line;
    ADD_FAILURE() << "no memory in " << log;
    return {};
  }
  std::vector<std::string> names;
};

constexpr uint64_t MiB = 1 << 20;
const std::string Gib = std::to_string(1024 * MiB);

TEST_F(CudaTest, TrainsAsTheHostDoes) {
  auto flags = [&](const std::string &tag) {
    return training({"--steps=120", "--workers=3", "--val=" + MnistPair + "[9000:9500]",
                     "--log=" + (dir / tag + ".log"), "--save=" + (dir / tag)});
  };
  auto result = run(flags("cuda"));
  ASSERT_EQ(result.code, 0) << result.out;
  trainer = GMC_HOST_TRAINER;
  result = run(flags("host"));
  ASSERT_EQ(result.code, 0) << result.out;
  EXPECT_EQ(tensors(dir / "cuda"), tensors(dir / "host"));
  auto values = [&](const std::string &log) {
    std::vector<double> found;
    for (const Json &line : events(log))
      if (line.contains("loss"))
        found.push_back(line["loss"]);
    return found;
  };
  EXPECT_EQ(values(dir / "cuda.log"), values(dir / "host.log"));
}

TEST_F(CudaTest, MemoryIsThisProcess) {
  set("SIMCUDA_OTHERS", Gib);
  set("SIMCUDA_LOCAL", "backward");
  auto result = run(training({"--steps=2", "--log=" + (dir / "log")}));
  ASSERT_EQ(result.code, 0) << result.out;
  Json memory = memoryOf(dir / "log");
  EXPECT_EQ(memory["source"], "NVML");
  EXPECT_EQ(memory["promised"], 400000000);
  // Context, code, local memory, the arena's pages and four graphs: nothing came after the start.
  EXPECT_EQ(memory["used"], (300 + 3 + 16 + 2 + 4 * 2) * MiB);
  EXPECT_EQ(memory["parts"], (Json{{"context", 300 * MiB}, {"code", 3 * MiB}, {"arena", 2 * MiB}, {"local", 16 * MiB},
                                   {"graphs", 8 * MiB}}));
}

TEST_F(CudaTest, HiddenProcessesMeanTheGrowthOfTheDevice) {
  set("SIMCUDA_OTHERS", Gib);
  set("SIMCUDA_NVML", "hidden");
  ASSERT_EQ(run(training({"--steps=2", "--log=" + (dir / "log")})).code, 0);
  Json memory = memoryOf(dir / "log");
  EXPECT_EQ(memory["source"], "device-delta");
  EXPECT_EQ(memory["used"], (300 + 3 + 2 + 4 * 2) * MiB);
}

TEST_F(CudaTest, WithoutNvmlTheWholeDeviceCounts) {
  set("LD_LIBRARY_PATH", GMC_DRIVER "/without-nvml");
  ASSERT_EQ(run(training({"--steps=2", "--log=" + (dir / "log")})).code, 0);
  EXPECT_EQ(memoryOf(dir / "log")["source"], "device-total");
  set("SIMCUDA_OTHERS", Gib);
  auto result = run(training({"--steps=2"}));
  EXPECT_EQ(result.code, 3);
  expectIn(result.out, {"NVIDIA_DRIVER_CAPABILITIES"});
}

TEST_F(CudaTest, AShortReserveStopsBeforeTraining) {
  set("SIMCUDA_CONTEXT", std::to_string(500 * MiB));
  set("SIMCUDA_OTHERS", Gib);
  auto result = run(training({"--steps=2", "--log=" + (dir / "log")}));
  EXPECT_EQ(result.code, 3);
  expectIn(result.out, {"the reserve is short", "NVML", "--reserve=5", "process 1 holds 1024 MiB"});
  EXPECT_TRUE(events(dir / "log").empty());
}

TEST_F(CudaTest, AFullDeviceSaysWhoHoldsIt) {
  set("SIMCUDA_OTHERS", std::to_string(7697 * MiB));
  auto result = run(training({"--steps=2"}));
  EXPECT_EQ(result.code, 3);
  expectIn(result.out, {"cuMemAlloc_v2", "CUDA_ERROR_OUT_OF_MEMORY", "process 1 holds 7697 MiB", "smaller --vram"});
}

TEST_F(CudaTest, AFaultIsNamed) {
  set("SIMCUDA_FAULT", "backward");
  auto result = run(training({"--steps=2"}));
  EXPECT_EQ(result.code, 4);
  expectIn(result.out, {"CUDA_ERROR_ILLEGAL_ADDRESS", " of 'train' or those before", "--profile"});
  result = run(training({"--steps=2", "--profile=" + (dir / "trace.json")}));
  EXPECT_EQ(result.code, 4);
  expectIn(result.out, {"step 3 of 'train', nn.linear_grad of '/fc/Gemm'"});
}

TEST_F(CudaTest, ProfilesWithTheDevicesClock) {
  ASSERT_EQ(run(training({"--steps=7", "--save=" + (dir / "traced"), "--profile=" + (dir / "trace.json")})).code, 0);
  ASSERT_EQ(run(training({"--steps=7", "--save=" + (dir / "plain")})).code, 0);
  EXPECT_EQ(tensors(dir / "traced"), tensors(dir / "plain"));
  unsigned kernels = 0;
  Json trace = Json::parse(readFile(dir / "trace.json"));
  for (const Json &event : trace["traceEvents"])
    kernels += event["name"] == "nn.linear" && event["dur"] > 0;
  EXPECT_EQ(kernels, 5u * 2);
}

TEST_F(CudaTest, InterruptedAndResumed) {
  ASSERT_EQ(run(training({"--steps=60", "--save=" + (dir / "whole")})).code, 0);
  pid_t pid = spawn(training({"--steps=60", "--checkpoint=" + (dir / "c"), "--log=" + (dir / "log")}), dir / "first");
  while (readFile(dir / "log").size() < 1500)
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  kill(pid, SIGINT);
  ASSERT_EQ(wait(pid), 130) << readFile(dir / "first");
  auto resumed = run(training({"--steps=60", "--checkpoint=" + (dir / "c"), "--resume", "--save=" + (dir / "half")}));
  ASSERT_EQ(resumed.code, 0) << resumed.out;
  EXPECT_EQ(tensors(dir / "whole"), tensors(dir / "half"));
}

TEST_F(CudaTest, CodeThatTheDeviceOrTheDriverCannotRun) {
  set("SIMCUDA_SM", "61");
  auto result = run(training({"--steps=2"}));
  EXPECT_EQ(result.code, 1);
  expectIn(result.out, {"device 0 (Simulated GPU, sm_61)", "holds sm_90, PTX for sm_75", "sm_75 and later"});
  set("SIMCUDA_SM", "103");
  set("SIMCUDA_PTX", "refuse");
  result = run(training({"--steps=2"}));
  EXPECT_EQ(result.code, 1);
  expectIn(result.out, {"for CUDA 13.0", "loading PTX for sm_75", "UNSUPPORTED_PTX_VERSION", "unsupported .version"});
}

TEST_F(CudaTest, DevicesAndInfo) {
  set("CUDA_VISIBLE_DEVICES", "GPU-1");
  auto result = run(training({"--steps=2", "--device=3"}));
  EXPECT_EQ(result.code, 1);
  expectIn(result.out, {"--device=3: the driver shows 1 device (CUDA_VISIBLE_DEVICES is 'GPU-1')"});
  result = run({"--info"});
  EXPECT_EQ(result.code, 0);
  expectIn(result.out, {"device: device 0 (Simulated GPU, sm_90), driver for CUDA 13.0\nmissing here: nothing"});
}

TEST_F(CudaTest, TheToolkitsStubIsNoDriver) {
  if (!std::filesystem::exists(GMC_STUBS "/libcuda.so"))
    GTEST_SKIP() << "no CUDA toolkit is here";
  std::filesystem::create_symlink(GMC_STUBS "/libcuda.so", dir / "libcuda.so.1");
  set("LD_LIBRARY_PATH", dir / "");
  auto result = run(training({"--steps=2"}));
  EXPECT_EQ(result.code, 1) << result.out;
  expectIn(result.out, {"cuInit: "});
  expectIn(result.out, {"--target=host"});
}

TEST(DeviceImage, ChoosesTheBestCode) {
  struct {
    GmcImageHeader header = {GMC_IMAGE_MAGIC, GMC_IMAGE_VERSION, 4, 0};
    GmcImageEntry entries[4] = {{80, GMC_IMAGE_CUBIN, 0, 0}, {86, GMC_IMAGE_CUBIN, 0, 0}, {90, GMC_IMAGE_CUBIN, 0, 0},
                                {75, GMC_IMAGE_PTX, 112, 1}};
    char end[8] = {};
  } image;
  GmcModel model{};
  model.image = &image;
  model.imageBytes = sizeof image;
  auto names = [&](int major, int minor) {
    std::string text;
    for (const GmcImageEntry *entry : gmc::rt::runnableEntries(model, major, minor))
      text += gmc::rt::entryName(*entry) + ";";
    return text;
  };
  EXPECT_EQ(names(7, 0), "");
  EXPECT_EQ(names(7, 5), "PTX for sm_75;");
  EXPECT_EQ(names(8, 0), "sm_80;PTX for sm_75;");
  EXPECT_EQ(names(8, 9), "sm_86;sm_80;PTX for sm_75;");
  EXPECT_EQ(names(9, 0), "sm_90;PTX for sm_75;");
  EXPECT_EQ(names(12, 0), "PTX for sm_75;");
  image.header.count = 1 << 30;
  EXPECT_THROW(names(9, 0), gmc::rt::Error);
}

} // namespace
