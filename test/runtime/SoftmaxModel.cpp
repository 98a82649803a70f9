// A model as the compiler would emit it, written by hand: softmax regression on 784 inputs and 10 classes, SGD with
// momentum and weight decay, micro-batch 50 x 2, evaluation batch 100. Each kernel is a plain loop.
//
// With GMC_TEST_CUDA the same model for the target cuda: its device code is PTX in name only, the kernels that a
// simulated driver runs (cuda/SimulatedDriver.h) are those of this file built for the host.
#include "gmc/Abi.h"
#include "gmc/DeviceImage.h"

#include <cmath>
#include <cstring>

namespace {

constexpr int64_t In = 784, Classes = 10, Micro = 50, Eval = 100, Accumulation = 2;

/// Offsets into the arena, each a multiple of 64.
enum : uint64_t {
  OffW = 0,                            // float[784,10]
  OffB = OffW + 4 * In * Classes,      // float[10]
  OffVW = OffB + 64,                   // momentum of W
  OffVB = OffVW + 4 * In * Classes,
  OffGW = OffVB + 64,                  // gradient of W
  OffGB = OffGW + 4 * In * Classes,
  OffHyper = OffGB + 64,
  OffRng = OffHyper + 64,
  OffValid = OffRng + 64,
  OffLoss = OffValid + 64,
  OffCount = OffLoss + 64,
  OffCorrect = OffCount + 64,
  OffStep = OffCorrect + 64,
  OffX = OffStep + 64,                 // float[batch,784], the evaluation batch being the larger
  OffY = OffX + 4 * Eval * In,         // int64[batch]
  OffP = OffY + 896,                   // float[batch,10]: logits, then probabilities, then their gradient
  ArenaBytes = OffP + 4 * Eval * Classes + 64 - 4 * Eval * Classes % 64
};

template <typename T> T *at(char *const *operands, int i) { return reinterpret_cast<T *>(operands[i]); }

// operands: gW, gB
void zeroKernel(char *const *o, int64_t begin, int64_t end) {
  for (int64_t i = begin; i < end; ++i)
    (i < In * Classes ? at<float>(o, 0)[i] : at<float>(o, 1)[i - In * Classes]) = 0;
}

// operands: x, W, b, p; one row per unit
void forwardKernel(char *const *o, int64_t begin, int64_t end) {
  for (int64_t row = begin; row < end; ++row) {
    float *p = at<float>(o, 3) + row * Classes;
    std::memcpy(p, at<float>(o, 2), 4 * Classes);
    for (int64_t i = 0; i < In; ++i)
      for (int64_t c = 0; c < Classes; ++c)
        p[c] += at<float>(o, 0)[row * In + i] * at<float>(o, 1)[i * Classes + c];
  }
}

// operands: p, y, valid, loss, count, correct (or null in training); turns logits into probabilities minus one-hot
template <int64_t Rows, bool Counting> void lossKernel(char *const *o, int64_t begin, int64_t end) {
  if (begin >= end)
    return;
  for (int64_t row = 0; row < Rows; ++row) {
    float *p = at<float>(o, 0) + row * Classes;
    int64_t label = at<int64_t>(o, 1)[row];
    bool counts = row < at<int64_t>(o, 2)[0] && label != -100;
    float max = p[0];
    int64_t best = 0;
    for (int64_t c = 1; c < Classes; ++c)
      if (p[c] > max) {
        max = p[c];
        best = c;
      }
    float sum = 0;
    for (int64_t c = 0; c < Classes; ++c)
      sum += std::exp(p[c] - max);
    if (counts) {
      at<float>(o, 3)[0] += std::log(sum) + max - p[label];
      at<float>(o, 4)[0] += 1;
      if (Counting)
        at<float>(o, 5)[0] += best == label;
    }
    for (int64_t c = 0; c < Classes && !Counting; ++c)
      p[c] = counts ? std::exp(p[c] - max) / sum - (c == label ? 1.0f : 0.0f) : 0.0f;
  }
}

// operands: x, dp, gW, gB; unit i < 784 is a row of W, unit 784 the bias
void backwardKernel(char *const *o, int64_t begin, int64_t end) {
  for (int64_t i = begin; i < end; ++i) {
    float *g = i < In ? at<float>(o, 2) + i * Classes : at<float>(o, 3);
    for (int64_t row = 0; row < Micro; ++row) {
      float x = i < In ? at<float>(o, 0)[row * In + i] : 1.0f;
      for (int64_t c = 0; c < Classes; ++c)
        g[c] += x * at<float>(o, 1)[row * Classes + c];
    }
  }
}

// operands: W, b, vW, vB, gW, gB, hyper, count
void updateKernel(char *const *o, int64_t begin, int64_t end) {
  const float *hyper = at<float>(o, 6);
  float count = at<float>(o, 7)[0];
  for (int64_t i = begin; i < end && count > 0; ++i) {
    bool bias = i >= In * Classes;
    int64_t j = bias ? i - In * Classes : i;
    float &w = at<float>(o, bias)[j], &v = at<float>(o, 2 + bias)[j];
    float g = at<float>(o, 4 + bias)[j] / count + hyper[GMC_HYPER_WEIGHT_DECAY] * w;
    v = hyper[GMC_HYPER_MOMENTUM] * v + g;
    w -= hyper[GMC_HYPER_LR] * v;
  }
}

void countKernel(char *const *o, int64_t begin, int64_t end) {
  if (begin < end)
    ++at<int64_t>(o, 0)[0];
}

const GmcLaunch Zero = {zeroKernel, "zero", In * Classes + Classes, 1024, 0};
const GmcLaunch ForwardTrain = {forwardKernel, "forward", Micro, 4, 0};
const GmcLaunch ForwardEval = {forwardKernel, "forward", Eval, 4, 0};
const GmcLaunch LossTrain = {lossKernel<Micro, false>, "loss", 1, 1, 0};
const GmcLaunch LossEval = {lossKernel<Eval, true>, "loss_eval", 1, 1, 0};
const GmcLaunch Backward = {backwardKernel, "backward", In + 1, 16, 0};
const GmcLaunch Update[] = {{updateKernel, "update", In * Classes + Classes, 1024, 0}, {countKernel, "count", 1, 1, 0}};

const uint64_t ZeroOps[] = {OffGW, OffGB};
const uint64_t ForwardOps[] = {OffX, OffW, OffB, OffP};
const uint64_t LossOps[] = {OffP, OffY, OffValid, OffLoss, OffCount, OffCorrect};
const uint64_t BackwardOps[] = {OffX, OffP, OffGW, OffGB};
const uint64_t UpdateOps[] = {OffW, OffB, OffVW, OffVB, OffGW, OffGB, OffHyper, OffCount};
const uint64_t CountOps[] = {OffStep};

const GmcStep TrainSteps[] = {
    {"plan.zero", "", &Zero, ZeroOps, 1, 2, GMC_STAGE_UPDATE, 0, nullptr, 0, 1},
    {"nn.linear", "/fc/Gemm", &ForwardTrain, ForwardOps, 1, 4, GMC_STAGE_FORWARD, 0, nullptr, 0, 30},
    {"nn.cross_entropy", "/fc/Gemm", &LossTrain, LossOps, 1, 6, GMC_STAGE_FORWARD, 0, nullptr, 0, 5},
    {"nn.linear_grad", "/fc/Gemm", &Backward, BackwardOps, 1, 4, GMC_STAGE_BACKWARD, 0, nullptr, 0, 30},
    {"nn.momentum", "", &Update[0], UpdateOps, 1, 8, GMC_STAGE_UPDATE, 0, nullptr, 0, 3},
    {"nn.count", "", &Update[1], CountOps, 1, 1, GMC_STAGE_UPDATE, 0, nullptr, 0, 0}};
const GmcStep EvalSteps[] = {
    {"nn.linear", "/fc/Gemm", &ForwardEval, ForwardOps, 1, 4, GMC_STAGE_FORWARD, 0, nullptr, 0, 60},
    {"nn.cross_entropy", "/fc/Gemm", &LossEval, LossOps, 1, 6, GMC_STAGE_FORWARD, 0, nullptr, 0, 10}};
const GmcLoop TrainLoops[] = {{1, 3, Accumulation}};

const int64_t DimsW[] = {In, Classes}, DimsB[] = {Classes}, DimsHyper[] = {GMC_HYPER_COUNT}, DimsOne[] = {1};
const int64_t DimsRng[] = {GMC_RNG_COUNT}, DimsX[] = {Micro, 1, 28, 28}, DimsY[] = {Micro};
const int64_t DimsEvalX[] = {Eval, 1, 28, 28}, DimsEvalY[] = {Eval}, DimsEvalP[] = {Eval, Classes};

const GmcTensor Tensors[] = {
    {"fc.weight", DimsW, OffW, 4 * In * Classes, 2, GMC_FLOAT, GMC_ROLE_PARAMETER, GMC_TENSOR_INITIALIZER},
    {"fc.bias", DimsB, OffB, 4 * Classes, 1, GMC_FLOAT, GMC_ROLE_PARAMETER, GMC_TENSOR_INITIALIZER},
    {"momentum/fc.weight", DimsW, OffVW, 4 * In * Classes, 2, GMC_FLOAT, GMC_ROLE_STATE, 0},
    {"momentum/fc.bias", DimsB, OffVB, 4 * Classes, 1, GMC_FLOAT, GMC_ROLE_STATE, 0},
    {"hyper", DimsHyper, OffHyper, 64, 1, GMC_FLOAT, GMC_ROLE_HYPER, 0},
    {"rng", DimsRng, OffRng, 32, 1, GMC_INT64, GMC_ROLE_RNG, 0},
    {"valid", DimsOne, OffValid, 8, 1, GMC_INT64, GMC_ROLE_VALID_SAMPLES, 0},
    {"loss_sum", DimsOne, OffLoss, 4, 1, GMC_FLOAT, GMC_ROLE_LOSS_SUM, 0},
    {"valid_count", DimsOne, OffCount, 4, 1, GMC_FLOAT, GMC_ROLE_VALID_COUNT, 0},
    {"step", DimsOne, OffStep, 8, 1, GMC_INT64, GMC_ROLE_STEP_COUNT, 0}};
const GmcTensor TrainTensors[] = {{"x", DimsX, OffX, 4 * Micro * In, 4, GMC_FLOAT, GMC_ROLE_INPUT, 0},
                                  {"label", DimsY, OffY, 8 * Micro, 1, GMC_INT64, GMC_ROLE_LABEL, 0}};
const GmcTensor EvalTensors[] = {
    {"x", DimsEvalX, OffX, 4 * Eval * In, 4, GMC_FLOAT, GMC_ROLE_INPUT, 0},
    {"label", DimsEvalY, OffY, 8 * Eval, 1, GMC_INT64, GMC_ROLE_LABEL, 0},
    {"logits", DimsEvalP, OffP, 4 * Eval * Classes, 2, GMC_FLOAT, GMC_ROLE_OUTPUT, 0},
    {"correct", DimsOne, OffCorrect, 4, 1, GMC_FLOAT, GMC_ROLE_CORRECT_COUNT, 0}};

const GmcProgram Programs[] = {{"train", TrainSteps, TrainLoops, TrainTensors, 6, 1, 2, Micro},
                               {"eval", EvalSteps, nullptr, EvalTensors, 2, 0, 4, Eval}};

#if defined(GMC_TEST_CUDA)
#define GMC_TEST_TARGET GMC_TARGET_CUDA
#define GMC_TEST_BUDGET 400000000u
#define GMC_TEST_NAMES R"("target":"cuda","archs":["sm_75","sm_90"])"
#else
#define GMC_TEST_TARGET GMC_TARGET_HOST
#define GMC_TEST_NAMES R"("target":"host","archs":["x86-64"])"
#endif

const char Metadata[] = R"({"model":"softmax.onnx",)" GMC_TEST_NAMES R"(,"precision":"fp32",
 "numerics":"5057","batch":100,"micro_batch":50,"accumulation":2,"eval_batch":100,
 "loss":{"kind":"cross-entropy","output":"logits","class_axis":1,"from_file":false},
 "optimizer":"momentum","clip":false,"ema":false,"workers_max":3,"shuffle_buffer_max":64,
 "reserve":{"process":24000000},"predicted_step_ms":0.2,"hyper":{"weight_decay":0}})";

#define GMC_P1 ".param .u64"
#define GMC_P2 GMC_P1 "," GMC_P1
#define GMC_P4 GMC_P2 "," GMC_P2
constexpr char Ptx[] = ".visible .entry zero(" GMC_P2 "){ret;} .visible .entry forward(" GMC_P4 "){ret;}"
                       ".visible .entry loss(" GMC_P4 "," GMC_P2 "){ret;} .visible .entry loss_eval(" GMC_P4 "," GMC_P2
                       "){ret;} .visible .entry backward(" GMC_P4 "){ret;} .visible .entry update(" GMC_P4 "," GMC_P4
                       "){ret;} .visible .entry count(" GMC_P1 "){ret;}";

/// A cubin that no simulated device accepts, so that the PTX is what is loaded.
struct alignas(64) {
  GmcImageHeader header = {GMC_IMAGE_MAGIC, GMC_IMAGE_VERSION, 2, 0};
  GmcImageEntry entries[2] = {{90, GMC_IMAGE_CUBIN, 64, 64}, {75, GMC_IMAGE_PTX, 128, sizeof Ptx}};
  alignas(64) char cubin[64] = "\x7f" "ELF";
  alignas(64) char ptx[sizeof Ptx];
} Image;
const bool ImageFilled = (std::memcpy(Image.ptx, Ptx, sizeof Ptx), true);

} // namespace

// A sanitizer multiplies the process's memory, which the promise knows nothing of.
#if defined(__has_feature) && !defined(GMC_TEST_BUDGET)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define GMC_TEST_BUDGET 4000000000u
#endif
#endif
#ifndef GMC_TEST_BUDGET
#define GMC_TEST_BUDGET 24000000u
#endif

extern "C" const GmcModel gmc_model = {GMC_ABI_MAGIC, GMC_ABI_VERSION, GMC_TEST_TARGET, /*threads=*/2,
                                       ArenaBytes, 64, GMC_TEST_BUDGET, GMC_TEST_BUDGET - ArenaBytes,
                                       {0x0123456789abcdefu, 0xfedcba9876543210u}, Metadata, Tensors, Programs,
                                       &Image, sizeof Image, 10, 2};
