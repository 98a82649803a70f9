// Losses, gradients and trajectories against another framework's (see the README of the shared data).
#include "gmc/Abi.h"
#include "test/reference/Reference.h"
#include <cmath>
#include <sstream>

using namespace gmc;
using namespace gmc::test;

namespace {

constexpr Tolerance singlePrecision{1e-6, 1e-4, 1e-6};
constexpr Tolerance doublePrecision{1e-10, 1e-6, 1e-8};

std::string lossFlag(const std::string &kind) {
  return kind.find("mse") != std::string::npos ? "mse" : kind.find("l1") != std::string::npos ? "l1" : "cross-entropy";
}

//===- The five reference networks ----------------------------------------------------------------------===//

struct Network {
  const char *name;
};
void PrintTo(const Network &n, std::ostream *os) { *os << n.name; }

class Reference : public ::testing::TestWithParam<Network> {
protected:
  void SetUp() override {
    model = sharedOnnx(std::string("reference/") + GetParam().name + ".onnx");
    archive = sharedOnnx(std::string("reference/") + GetParam().name + ".npz");
    if (!present(model) || !present(archive))
      GTEST_SKIP() << model << " is not there";
  }
  void gradients(bool wide) {
    Npz npz(archive);
    ReferenceModel reference(model, npz, "cross-entropy", wide);
    if (!reference.ok())
      return;
    TrainingOptions options;
    options.dropout = false;
    auto micro = reference.micro(options);
    ASSERT_TRUE(micro);
    micro->run();
    compareGradients(*micro, npz, "loss_f64", "gnorm_f64/", "ghead_f64/", "grad_f64/", {},
                     wide ? doublePrecision : singlePrecision);
  }
  std::string model, archive;
};

TEST_P(Reference, GradientsInSinglePrecision) { gradients(false); }
TEST_P(Reference, GradientsInDoublePrecision) { gradients(true); }

struct Optimizer {
  const char *trajectory;
  OptimizerKind kind;
  double lr, weightDecay;
};

TEST_P(Reference, FiveStepTrajectories) {
  Npz npz(archive);
  for (const Optimizer &optimizer : {Optimizer{"traj_sgd_f64", OptimizerKind::Sgd, .05, 0},
                                     Optimizer{"traj_sgdm_f64", OptimizerKind::Momentum, .05, 1e-4},
                                     Optimizer{"traj_adamw_f64", OptimizerKind::AdamW, 1e-3, .01}}) {
    if (!npz.has(optimizer.trajectory))
      continue;
    ReferenceModel reference(model, npz, "cross-entropy", false);
    if (!reference.ok())
      return;
    TrainingOptions options;
    options.dropout = false;
    options.optimizer = optimizer.kind;
    auto micro = reference.micro(options);
    ASSERT_TRUE(micro);
    auto update = reference.update(options);
    ASSERT_TRUE(update);
    unsigned hyper = *update->findArgument("hyper");
    update->put(hyper, GMC_HYPER_LR, optimizer.lr);
    update->put(hyper, GMC_HYPER_WEIGHT_DECAY, optimizer.weightDecay);
    update->put(hyper, GMC_HYPER_MOMENTUM, .9);
    update->put(hyper, GMC_HYPER_BETA1, .9);
    update->put(hyper, GMC_HYPER_BETA2, .999);
    update->put(hyper, GMC_HYPER_EPSILON, 1e-8);
    // Moves every result of one function to the argument of that role and name of another.
    auto move = [](FunctionRunner &from, FunctionRunner &to, const char *role) {
      for (unsigned r = 0; r < from.results().size(); ++r)
        if (from.results()[r].role == role)
          if (auto a = to.findArgument(role, from.results()[r].name))
            llvm::cantFail(to.set(*a, from.result(r)));
    };
    for (unsigned i = 0; i < micro->arguments().size(); ++i)
      if (micro->arguments()[i].role == "parameter")
        llvm::cantFail(update->set(*update->findArgument("parameter", micro->arguments()[i].name), micro->argument(i)));
    HostTensor trajectory = npz.tensor(optimizer.trajectory);
    for (int64_t step = 0; step < trajectory.elements(); ++step) {
      micro->run();
      double loss = micro->result(0).at(0) / micro->result(1).at(0);
      EXPECT_NEAR(loss, trajectory.at(step), 1e-4 * std::max(1.0, std::abs(trajectory.at(step))))
          << optimizer.trajectory << ", step " << step;
      move(*micro, *update, "gradient");
      move(*micro, *update, "valid_count");
      move(*micro, *micro, "state");
      update->run();
      move(*update, *micro, "parameter");
      move(*update, *update, "parameter");
      move(*update, *update, "state");
      move(*update, *update, "step_count");
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Networks, Reference,
                         ::testing::Values(Network{"mlp_mnist"}, Network{"lenet5"}, Network{"resnet8_cifar"},
                                           Network{"unet_tiny"}, Network{"gpt2_tiny"}),
                         [](auto &info) { return std::string(info.param.name); });

//===- Vector-Jacobian products of real files -----------------------------------------------------------===//

struct RealModel {
  const char *name, *path;
};
void PrintTo(const RealModel &m, std::ostream *os) { *os << m.name; }

class Vjp : public ::testing::TestWithParam<RealModel> {};

TEST_P(Vjp, Gradients) {
  std::string model = sharedOnnx(std::string("real/") + GetParam().path);
  std::string archive = sharedOnnx(std::string("reference/") + GetParam().name + ".npz");
  if (!present(model) || !present(archive))
    GTEST_SKIP() << model << " is not there";
  Npz npz(archive);
  ReferenceModel reference(model, npz, "", false);
  if (!reference.ok())
    return;
  TrainingOptions options;
  options.bnTrain = false;
  options.dropout = false;
  auto micro = reference.micro(options);
  ASSERT_TRUE(micro);
  micro->run();
  std::vector<std::string> skip; // running statistics are not trained
  for (auto &[name, member] : npz.withPrefix("gnorm/"))
    if (name.find("running_") != std::string::npos)
      skip.push_back(name);
  compareGradients(*micro, npz, "loss", "gnorm/", "ghead/", "", skip, {1e-5, 1e-4, 1e-5});
}

INSTANTIATE_TEST_SUITE_P(
    Models, Vjp,
    ::testing::Values(RealModel{"mnist_8", "mnist_8/model.onnx"}, RealModel{"burn_mnist", "burn_mnist/model.onnx"},
                      RealModel{"cnn_mnist_pytorch", "cnn_mnist_pytorch/model.onnx"},
                      RealModel{"gpt2_12l", "gpt2_12layer_opset11/GPT2Model.onnx"},
                      RealModel{"bert12_pytorch", "bert_squad_opset11/BertForQuestionAnswering_0.onnx"}),
    [](auto &info) { return std::string(info.param.name); });

//===- Files as PyTorch writes them today ---------------------------------------------------------------===//

class Modern : public ::testing::TestWithParam<Network> {
protected:
  void run(bool batchStatistics) {
    std::string model = sharedOnnx(std::string("modern/") + GetParam().name + ".onnx");
    std::string archive = sharedOnnx(std::string("modern/") + GetParam().name + ".npz");
    if (!present(model) || !present(archive))
      GTEST_SKIP() << model << " is not there";
    Npz npz(archive);
    std::string prefix = batchStatistics ? "train_" : "";
    if (!npz.has(prefix + "loss_f64"))
      GTEST_SKIP() << "no reference with batch statistics is stored";
    ReferenceModel reference(model, npz, lossFlag(npz.text("loss_kind")), false);
    if (!reference.ok())
      return;
    TrainingOptions options;
    options.bnTrain = batchStatistics;
    options.dropout = false;
    auto micro = reference.micro(options);
    ASSERT_TRUE(micro);
    micro->run();
    std::vector<std::string> skip;
    std::istringstream lines(npz.has("not_parameters") ? npz.text("not_parameters") : "");
    for (std::string line; std::getline(lines, line);)
      skip.push_back(line);
    compareGradients(*micro, npz, prefix + "loss_f64", prefix + "gnorm_f64/", prefix + "ghead_f64/",
                     batchStatistics ? "" : "grad_f64/", skip, singlePrecision);
    if (batchStatistics)
      compareStatistics(*micro, npz, reference.weights());
  }

  /// Running means agree; running variances move by the population variance here and by the unbiased one there.
  void compareStatistics(const FunctionRunner &micro, const Npz &npz, const WeightStore &weights) {
    for (auto &[name, member] : npz.withPrefix("train_buf1_f64/")) {
      auto result = micro.findResult("state", name);
      if (!result)
        continue; // the file has it under another name
      HostTensor ours = micro.result(*result), theirs = npz.tensor(member);
      auto before = weights.readAll(name, GMC_FLOAT);
      ASSERT_TRUE(bool(before));
      for (int64_t i = 0; i < ours.elements(); ++i) {
        double old = reinterpret_cast<const float *>(before->data())[i];
        if (name.ends_with("running_mean")) {
          EXPECT_NEAR(ours.at(i), theirs.at(i), 1e-5 * std::max(1.0, std::abs(theirs.at(i)))) << name << " " << i;
        } else if (name.ends_with("running_var")) {
          // (1 - momentum) * var * n / (n - 1) there: never less than ours, and at most twice for n >= 2.
          double moved = ours.at(i) - .9 * old, movedThere = theirs.at(i) - .9 * old;
          EXPECT_GE(movedThere, moved * (1 - 1e-4) - 1e-6) << name << " " << i;
          EXPECT_LE(movedThere, 2 * moved * (1 + 1e-4) + 1e-6) << name << " " << i;
        }
      }
    }
  }
};

TEST_P(Modern, FrozenStatistics) { run(false); }
TEST_P(Modern, BatchStatistics) { run(true); }

// All of modern/ but lstm_cls_tiny: there is no LSTM operator.
INSTANTIATE_TEST_SUITE_P(
    Files, Modern,
    ::testing::Values(Network{"audio1d_tiny"}, Network{"bert_cls_tiny"}, Network{"convnext_tiny"},
                      Network{"dcgan_tiny"}, Network{"gpt2_fresh_tiny"}, Network{"gpt2_tiny"},
                      Network{"mobilenetv3_tiny"}, Network{"mobilenetv3_tiny_bn"},
                      Network{"resnet_tiny"}, Network{"resnet_tiny_ts"}, Network{"unet_bilinear_tiny"},
                      Network{"unet_bilinear_tiny_folded"}, Network{"vit_tiny"}, Network{"whisper_encoder_tiny"}),
    [](auto &info) { return std::string(info.param.name); });

} // namespace
