// What a micro-batch contributes does not depend on how the batch is divided.
#include "test/reference/Reference.h"
#include <cmath>
#include <random>

using namespace gmc;
using namespace gmc::test;

namespace {

/// @micro of unet_tiny (frozen statistics) for `batch` samples.
struct Micro {
  Micro(int64_t batch, mlir::MLIRContext &context, const OnnxModel &model) {
    ImportOptions options;
    options.batch = batch;
    Diagnostics diagnostics;
    imported = importModel(context, model, options, diagnostics);
    TrainingOptions training;
    training.loss = "cross-entropy";
    training.bnTrain = false;
    TrainingNotes notes;
    auto function = buildMicro(imported.module->lookupSymbol<mlir::func::FuncOp>("forward"), training, notes);
    runner = std::move(*FunctionRunner::create(*function));
    llvm::cantFail(runner->setWeights(imported.weights));
  }
  /// Runs on samples [first, first + batch) of which `valid` are real and adds to sums.
  void run(const HostTensor &x, const HostTensor &y, int64_t first, int64_t valid) {
    auto slice = [&](const char *role, const HostTensor &from) {
      unsigned i = *runner->findArgument(role);
      size_t sample = runner->jit().argumentBytes(i) / runner->arguments()[i].dims[0];
      size_t bytes = std::min(runner->jit().argumentBytes(i), from.data.size() - first * sample);
      std::memcpy(runner->jit().argument(i), from.data.data() + first * sample, bytes);
    };
    slice("input", x);
    slice("label", y);
    runner->put(*runner->findArgument("valid_samples"), 0, valid);
    runner->run();
    for (unsigned r = 0; r < runner->results().size(); ++r) {
      HostTensor result = runner->result(r);
      auto &sum = sums[runner->results()[r].role + " " + runner->results()[r].name];
      sum.resize(result.elements());
      for (int64_t i = 0; i < result.elements(); ++i)
        sum[i] += result.at(i);
    }
  }
  ImportedModel imported;
  std::unique_ptr<FunctionRunner> runner;
  std::map<std::string, std::vector<double>> sums;
};

class Accumulation : public ::testing::Test {
protected:
  void SetUp() override {
    std::string path = sharedOnnx("reference/unet_tiny.onnx");
    if (!present(path))
      GTEST_SKIP() << path << " is not there";
    model = std::move(*OnnxModel::load(path));
    registerImportDialects(registry);
    context = std::make_unique<mlir::MLIRContext>(registry, mlir::MLIRContext::Threading::DISABLED);
    x = {1, {8, 3, 32, 32}, std::vector<char>(8 * 3 * 32 * 32 * 4)};
    y = {7, {8, 32, 32}, std::vector<char>(8 * 32 * 32 * 8)};
    std::mt19937 random(7);
    std::normal_distribution<float> normal;
    for (int64_t i = 0; i < x.elements(); ++i)
      reinterpret_cast<float *>(x.data.data())[i] = normal(random);
    // The later a sample, the more of its labels are ignored.
    for (int64_t i = 0; i < y.elements(); ++i)
      reinterpret_cast<int64_t *>(y.data.data())[i] =
          random() % 8 < static_cast<unsigned>(i / 1024) ? -100 : static_cast<int64_t>(random() % 2);
  }
  static void compare(const Micro &a, const Micro &b) {
    double countA = a.sums.at("valid_count ")[0], countB = b.sums.at("valid_count ")[0];
    EXPECT_EQ(countA, countB);
    for (auto &[name, sum] : a.sums) {
      double difference = 0, norm = 0;
      for (size_t i = 0; i < sum.size(); ++i) {
        difference += std::pow(sum[i] / countA - b.sums.at(name)[i] / countB, 2);
        norm += std::pow(sum[i] / countA, 2);
      }
      EXPECT_LE(std::sqrt(difference), 1e-5 * std::sqrt(norm) + 1e-9) << name;
    }
  }
  mlir::DialectRegistry registry;
  std::unique_ptr<OnnxModel> model;
  std::unique_ptr<mlir::MLIRContext> context;
  HostTensor x, y;
};

TEST_F(Accumulation, OneAgainstEightWithUnevenIgnoreIndex) {
  Micro whole(8, *context, *model), single(1, *context, *model);
  whole.run(x, y, 0, 8);
  for (int64_t i = 0; i < 8; ++i)
    single.run(x, y, i, 1);
  EXPECT_LT(whole.sums.at("valid_count ")[0], 8 * 1024.0);
  compare(whole, single);
}

TEST_F(Accumulation, PaddingOfTheLastMicroBatchWeighsNothing) {
  Micro whole(8, *context, *model), three(3, *context, *model);
  whole.run(x, y, 0, 8);
  three.run(x, y, 0, 3);
  three.run(x, y, 3, 3);
  three.run(x, y, 6, 2); // its third row still holds an older sample
  compare(whole, three);
}

} // namespace
