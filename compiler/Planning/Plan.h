//===- Plan.h - The memory plan of a training step ---------------*- C++ -*-===//
//
// Part of gmc. The data structure behind `gmc plan --json`: one optimizer step as a list of steps over buffers with
// addresses. It holds everything that somebody else needs to check the plan; validatePlan in PlanValidator.h does.
//
//===----------------------------------------------------------------------===//
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace gmc::planning {

/// What a buffer holds; `Gradient` is of parameters only, frozen and non-trained initializers are `Constant`.
enum class BufferKind {
  Parameter,
  Constant,
  State,
  Gradient,
  Activation,
  ActivationGradient,
  Workspace,
  Input,
  Cast,
};

/// How long the contents survive: `Step` between optimizer steps, `Loop` between micro-steps, `None` neither.
enum class Carry { None, Loop, Step };

/// The part of the optimizer step that a step belongs to.
enum class Stage { Forward, Recompute, Backward, Update };

/// Where the plan runs. Offsets are multiples of `offsetAlignment(target)`.
enum class PlanTarget { Host, Cuda, Sim };

/// One address range with one lifetime: [offset, offset + size) bytes of the arena in steps first..last, both included.
struct PlanBuffer {
  int64_t id = 0;
  std::string name;
  BufferKind kind = BufferKind::Activation;
  Carry carry = Carry::None;
  int64_t offset = 0;
  int64_t size = 0; ///< bytes, padding included
  int64_t first = 0;
  int64_t last = 0;
};

/// One kernel or library call. The same id in `reads` and `writes` is an in-place update.
struct PlanStep {
  int64_t index = 0;
  std::string op;                 ///< such as nn.conv2d
  std::vector<std::string> nodes; ///< ONNX node names
  Stage stage = Stage::Forward;
  std::vector<int64_t> reads, writes, workspace; ///< buffer ids
  std::vector<int64_t> recomputeOf;              ///< earliest steps that computed these values
  int64_t flops = 0;
  int64_t bytes = 0;
  double predictedUs = 0;
  double recomputeUs = 0; ///< the part of predictedUs spent recomputing; > 0 exactly where recomputeOf is not empty
};

/// Steps first..last are one micro-batch, executed count times; a peeled micro-step has count 1.
struct PlanLoop {
  int64_t first = 0, last = 0, count = 1;
};

/// The step with the most live bytes, and what is live there, largest first.
struct PlanPeak {
  int64_t step = 0;
  int64_t bytes = 0;
  std::vector<int64_t> buffers;
};

/// A change of options that would save `savedBytes` at `costMs` per step (negative: it is faster).
struct PlanLever {
  std::string name;
  int64_t savedBytes = 0;
  double costMs = 0;
};

/// One point of the (budget, step time) frontier.
struct FrontierPoint {
  int64_t budgetBytes = 0;
  int64_t arenaBytes = 0;
  double stepMs = 0;
  int64_t microBatch = 0;
  std::string numerics;
};

/// The whole plan. With `fits` false only floorBytes, boundBytes, peak and levers mean anything.
struct Plan {
  bool fits = true;
  std::string model;
  PlanTarget target = PlanTarget::Host;
  int64_t budgetBytes = 0;  ///< of the process, reserve included
  int64_t reserveBytes = 0; ///< context, libraries, code
  int64_t arenaBytes = 0;
  int64_t evalArenaBytes = 0; ///< highest address of the evaluation program
  int64_t batch = 1, microBatch = 1, accumulation = 1;
  std::string precision = "fp32";
  std::string numerics;
  double predictedStepMs = 0;     ///< sum of count * predictedUs over the steps, in ms
  double unconstrainedStepMs = 0; ///< the fastest point of the frontier
  int64_t floorBytes = 0;         ///< smallest budget found and validated, reserve included
  int64_t boundBytes = 0;         ///< proved lower bound of the budget, reserve included
  std::vector<PlanLoop> loops;    ///< in order of steps
  std::vector<PlanBuffer> buffers;
  std::vector<PlanStep> steps;
  PlanPeak peak;
  int64_t maxLiveBytes = 0;
  std::vector<PlanLever> levers;
  std::vector<FrontierPoint> points; ///< written with --frontier only
  int64_t samples = 0, epochs = 1;   ///< of a training whose time is asked for; 0 samples: none is
};

/// Optimizer steps and milliseconds of `epochs` epochs of `samples` samples; the last batch of an epoch may be smaller.
int64_t trainingSteps(const Plan &plan);
double trainingMs(const Plan &plan);

/// Bytes that every offset of a plan for `target` is a multiple of: 64 on the host, 256 on cuda and sim.
int64_t offsetAlignment(PlanTarget target);

/// Times that each step runs in one optimizer step: the count of its loop, 1 outside.
std::vector<int64_t> stepCounts(const Plan &plan);

/// Fills peak and maxLiveBytes from the buffers' lifetimes and sizes (not from the offsets).
void computePeak(Plan &plan);

/// Sum of count * predictedUs over all steps, in milliseconds.
double sumStepMs(const Plan &plan);

/// The words of the plan JSON for the enums, and back (false where the word is unknown).
const char *toString(BufferKind kind);
const char *toString(Carry carry);
const char *toString(Stage stage);
const char *toString(PlanTarget target);
bool fromString(const std::string &word, BufferKind &kind);
bool fromString(const std::string &word, Carry &carry);
bool fromString(const std::string &word, Stage &stage);
bool fromString(const std::string &word, PlanTarget &target);

} // namespace gmc::planning
