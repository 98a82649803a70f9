#include "TrainerFixture.h"

using namespace gmc::test;

namespace {

TEST_F(TrainerTest, LearnsMnist) {
  auto result = run(training({"--val=" + MnistPair + "[9000:10000]", "--epochs=2", "--log=" + (dir / "log"),
                              "--save=" + (dir / "s.safetensors"), "--tensorboard=" + (dir / "tb"),
                              "--profile=" + (dir / "trace.json")}));
  ASSERT_EQ(result.code, 0) << result.out;
  auto lines = events(dir / "log");
  int steps = 0, evals = 0;
  double accuracy = 0;
  for (const Json &line : lines) {
    steps += line["event"] == "step";
    if (line["event"] == "eval") {
      ++evals;
      accuracy = line["accuracy"];
    }
    if (line["event"] == "memory") {
      EXPECT_LE(line["used"].get<uint64_t>(), line["promised"].get<uint64_t>());
      EXPECT_EQ(line["source"], "VmHWM");
    }
  }
  EXPECT_EQ(steps, 180);
  EXPECT_EQ(evals, 2);
  EXPECT_GT(accuracy, 0.85);
  EXPECT_EQ(lines.back()["reason"], "done");
  EXPECT_EQ(SafetensorsReader(dir / "s.safetensors").tensors().size(), 2u);
  EXPECT_GT(Json::parse(readFile(dir / "trace.json"))["traceEvents"].size(), 40u);
  EXPECT_FALSE(std::filesystem::is_empty(dir / "tb"));
  // The weights say the same in an evaluation of their own.
  auto eval = run({"--eval", "--val=" + MnistPair + "[9000:10000]", "--weights=" + (dir / "s.safetensors"),
                   "--log=" + (dir / "log2")});
  ASSERT_EQ(eval.code, 0) << eval.out;
  EXPECT_EQ(events(dir / "log2")[0]["accuracy"].get<double>(), accuracy);
}

TEST_F(TrainerTest, WorkersChangeNothing) {
  for (const char *workers : {"1", "3"}) {
    auto result = run(training({"--steps=100", std::string("--workers=") + workers, "--save=" + (dir / workers)}));
    ASSERT_EQ(result.code, 0) << result.out;
  }
  EXPECT_EQ(tensors(dir / "1"), tensors(dir / "3"));
}

TEST_F(TrainerTest, ResumeIsBitForBit) {
  ASSERT_EQ(run(training({"--steps=130", "--schedule=cosine", "--save=" + (dir / "whole")})).code, 0);
  // The first half ends inside the second epoch; the schedule still spans all steps.
  auto first = training({"--steps=130", "--schedule=cosine", "--checkpoint=" + (dir / "c"), "--save-every=1",
                         "--log=" + (dir / "log")});
  pid_t pid = spawn(first, dir / "first");
  while (std::distance(std::filesystem::directory_iterator(dir / ""), {}) && readFile(dir / "log").size() < 9000)
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  kill(pid, SIGINT);
  ASSERT_EQ(wait(pid), 130) << readFile(dir / "first");
  auto resumed = run(training({"--steps=130", "--schedule=cosine", "--checkpoint=" + (dir / "c"), "--resume",
                               "--save=" + (dir / "half"), "--log=" + (dir / "log")}));
  ASSERT_EQ(resumed.code, 0) << resumed.out;
  EXPECT_NE(resumed.out.find("resumed from"), std::string::npos);
  EXPECT_EQ(resumed.out.find("not a bit for bit"), std::string::npos) << resumed.out;
  EXPECT_EQ(tensors(dir / "whole"), tensors(dir / "half"));
  int steps = 0;
  for (const Json &line : events(dir / "log"))
    steps += line["event"] == "step";
  EXPECT_EQ(steps, 130);
  auto other = run({"--data=" + MnistPair + "[0:5000]", "--steps=131", "--checkpoint=" + (dir / "c"), "--resume"});
  EXPECT_NE(other.out.find("not a bit for bit continuation: data was"), std::string::npos) << other.out;
}

TEST_F(TrainerTest, KilledAtAnyInstantTheLastCheckpointIsWhole) {
  std::string folder = dir / "c";
  for (int round = 0; round < 12; ++round) {
    auto args = training({"--steps=1000000", "--save-every=1", "--checkpoint=" + folder, "--resume"});
    pid_t pid = spawn(args, dir / "out");
    std::this_thread::sleep_for(std::chrono::milliseconds(150 + 37 * round));
    kill(pid, SIGKILL);
    wait(pid);
    int whole = 0;
    if (std::filesystem::exists(folder))
      for (const auto &entry : std::filesystem::directory_iterator(folder))
        if (entry.path().extension() == ".safetensors") {
          EXPECT_NO_THROW(SafetensorsReader(entry.path().string()));
          ++whole;
        }
    if (round > 6)
      EXPECT_GE(whole, 1);
  }
}

TEST_F(TrainerTest, TerminateExits143) {
  pid_t pid =
      spawn(training({"--steps=1000000", "--checkpoint=" + (dir / "c"), "--log=" + (dir / "log")}), dir / "out");
  while (readFile(dir / "log").size() < 200)
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  kill(pid, SIGTERM);
  EXPECT_EQ(wait(pid), 143);
  EXPECT_EQ(std::distance(std::filesystem::directory_iterator(dir / "c"), {}), 1);
}

TEST_F(TrainerTest, NotANumberStops) {
  auto result = run(training({"--lr=1e38", "--steps=50"}));
  EXPECT_EQ(result.code, 5) << result.out;
}

TEST_F(TrainerTest, RefusesWhatWasNotCompiledIn) {
  auto clip = run(training({"--clip=1", "--ema=.9", "--workers=9", "--shuffle-buffer=100"}));
  EXPECT_EQ(clip.code, 1);
  for (const char *flag : {"compile with --clip", "compile with --ema", "--workers-max=9", "--shuffle-buffer-max=100"})
    EXPECT_NE(clip.out.find(flag), std::string::npos) << clip.out;
  EXPECT_EQ(run({"--no-such-flag"}).code, 1);
  EXPECT_EQ(run({"--steps=1"}).code, 1);
  EXPECT_EQ(run(training({"--steps=1", "--epochs=1"})).code, 1);
}

TEST_F(TrainerTest, InfoNeedsNoData) {
  auto info = run({"--info"});
  EXPECT_EQ(info.code, 0);
  EXPECT_NE(info.out.find("model: softmax.onnx"), std::string::npos);
  EXPECT_NE(info.out.find("missing here: "), std::string::npos);
}

TEST_F(TrainerTest, ForeignAndMissingWeights) {
  auto missing = run({"--data=" + MnistPair, "--steps=1"});
  EXPECT_EQ(missing.code, 1);
  EXPECT_NE(missing.out.find("--weights=FILE"), std::string::npos);
  writeSafetensors(dir / "bad", {{"fc.weight", GMC_FLOAT, {10, 784}}}, {}, [](size_t, const auto &sink) {
    std::vector<float> zeros(7840);
    sink(zeros.data(), zeros.size() * 4);
  });
  auto bad = run({"--data=" + MnistPair, "--steps=1", "--weights=" + (dir / "bad")});
  EXPECT_EQ(bad.code, 1);
  EXPECT_NE(bad.out.find("'fc.weight' is float32 [10,784]"), std::string::npos) << bad.out;
  EXPECT_NE(bad.out.find("'fc.bias' is missing"), std::string::npos) << bad.out;
}

TEST_F(TrainerTest, UnwritableOutputsAreIoErrors) {
  EXPECT_EQ(run(training({"--steps=1", "--save=/dev/full/x"})).code, 6);
  EXPECT_EQ(run(training({"--steps=1", "--log=/dev/full"})).code, 6);
  EXPECT_EQ(run(training({"--steps=1", "--checkpoint=/dev/null/c"})).code, 6);
}

TEST_F(TrainerTest, AFullDiskLeavesTheLastCheckpointWhole) {
  auto args = training({"--steps=3", "--checkpoint=" + (dir / "c"), "--save=" + (dir / "s")});
  ASSERT_EQ(run(args).code, 0);
  std::string saved = readFile(dir / "s");
  auto more = training({"--steps=6", "--checkpoint=" + (dir / "c"), "--resume", "--save=" + (dir / "s")});
  // Spooled gzip data would hit the limit first: the files are unpacked once here.
  for (const char *name : {"t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"})
    ASSERT_EQ(std::system(("gzip -dc " + mnist(name) + ".gz > " + (dir / name)).c_str()), 0);
  more[0] = "--data=" + (dir / "t10k-images-idx3-ubyte") + "," + (dir / "t10k-labels-idx1-ubyte") + "[0:9000]";
  EXPECT_EQ(wait(spawn(more, dir / "out", 20000)), 6);
  EXPECT_NE(readFile(dir / "out").find("writing "), std::string::npos) << readFile(dir / "out");
  EXPECT_EQ(readFile(dir / "s"), saved);
  EXPECT_EQ(std::distance(std::filesystem::directory_iterator(dir / "c"), {}), 1);
  EXPECT_EQ(wait(spawn(more, dir / "out")), 0);
}

TEST_F(TrainerTest, PredictPrintsALinePerSample) {
  auto result = run({"--predict=" + MnistPair + "[0:130]", "--weights=" + (dir / "w.safetensors")});
  ASSERT_EQ(result.code, 0) << result.out;
  std::istringstream in(result.out);
  int lines = 0;
  for (std::string line; std::getline(in, line); ++lines)
    EXPECT_EQ(Json::parse(line)["outputs"]["logits"].size(), 10u);
  EXPECT_EQ(lines, 130);
}

TEST_F(TrainerTest, PartialBatchesWeighOnlyWhatIsThere) {
  // 130 samples: a full batch of 100, then 30 of 50 rows and an empty micro-batch.
  auto result = run({"--data=" + MnistPair + "[0:130]", "--weights=" + (dir / "w.safetensors"), "--epochs=1", "--lr=0",
                     "--val=" + MnistPair + "[0:130]", "--log=" + (dir / "log")});
  ASSERT_EQ(result.code, 0) << result.out;
  // Zero weights: every loss is log 10, whatever stands in the padding.
  for (const Json &line : events(dir / "log"))
    if (line.contains("loss"))
      EXPECT_NEAR(line["loss"].get<double>(), 2.302585, 1e-5);
}

TEST_F(TrainerTest, TrainsOnPicturesAndSkipsDamagedOnes) {
  std::filesystem::create_directories(dir / "train/left");
  std::filesystem::create_directories(dir / "train/right");
  for (int i = 0; i < 60; ++i)
    for (bool right : {false, true}) {
      std::string name = "train/" + std::string(right ? "right/" : "left/") + std::to_string(i);
      auto pixel = [&](int x, int y, int) { return (x >= 20) == right ? 180 + (x * 7 + y * 3 + i) % 60 : i; };
      if (i % 2)
        writeJpeg(dir / (name + ".jpg"), 40, 40, pixel);
      else
        writePng(dir / (name + ".png"), 40, 40, pixel, 1);
    }
  writeFile(dir / "train/left/bad.jpg", readFile(dir / "train/left/1.jpg").substr(0, 300));
  std::vector<std::string> args = {"--data=" + (dir / "train"), "--weights=" + (dir / "w.safetensors"), "--epochs=4",
                                   "--lr=0.01", "--val=split:0.2", "--augment=jitter=.2,normalize=.5/.5",
                                   "--log=" + (dir / "log"), "--save=" + (dir / "s")};
  auto strict = run(args);
  EXPECT_EQ(strict.code, 1);
  EXPECT_NE(strict.out.find("left/bad.jpg"), std::string::npos) << strict.out;
  EXPECT_NE(strict.out.find("--max-bad-samples"), std::string::npos);
  args.push_back("--max-bad-samples=10");
  auto result = run(args);
  ASSERT_EQ(result.code, 0) << result.out;
  EXPECT_NE(result.out.find("skipped: "), std::string::npos);
  double accuracy = 0;
  for (const Json &line : events(dir / "log"))
    if (line["event"] == "eval")
      accuracy = line["accuracy"];
  EXPECT_EQ(accuracy, 1.0);
  for (const char *side : {"left", "right"}) {
    auto predicted = run({"--predict=" + (dir / ("train/" + std::string(side) + "/3.jpg")),
                          "--weights=" + (dir / "s")}); // preprocessing is in there
    ASSERT_EQ(predicted.code, 0) << predicted.out;
    EXPECT_EQ(Json::parse(predicted.out)["class"].get<int>(), side == std::string("right") ? 1 : 0);
  }
}

} // namespace
