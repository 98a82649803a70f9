//===- Plan.cpp - Facts derived from a plan -------------------------------===//
#include "compiler/Planning/Plan.h"

#include <algorithm>
#include <iterator>

namespace gmc::planning {

int64_t offsetAlignment(PlanTarget target) { return target == PlanTarget::Host ? 64 : 256; }

std::vector<int64_t> stepCounts(const Plan &plan) {
  std::vector<int64_t> counts(plan.steps.size(), 1);
  for (const PlanLoop &loop : plan.loops)
    for (int64_t i = std::max<int64_t>(loop.first, 0); i <= loop.last && i < int64_t(counts.size()); ++i)
      counts[i] = loop.count;
  return counts;
}

double sumStepMs(const Plan &plan) {
  std::vector<int64_t> counts = stepCounts(plan);
  double us = 0;
  for (size_t i = 0; i < plan.steps.size(); ++i)
    us += double(counts[i]) * plan.steps[i].predictedUs;
  return us / 1000;
}

int64_t trainingSteps(const Plan &plan) { return plan.epochs * ((plan.samples + plan.batch - 1) / plan.batch); }

double trainingMs(const Plan &plan) { return double(trainingSteps(plan)) * plan.predictedStepMs; }

void computePeak(Plan &plan) {
  size_t n = plan.steps.size();
  std::vector<int64_t> change(n + 1, 0);
  for (const PlanBuffer &buffer : plan.buffers) {
    if (buffer.first < 0 || buffer.last < buffer.first || buffer.last >= int64_t(n))
      continue;
    change[buffer.first] += buffer.size;
    change[buffer.last + 1] -= buffer.size;
  }
  plan.peak = {};
  int64_t live = 0;
  for (size_t i = 0; i < n; ++i) {
    live += change[i];
    if (live > plan.peak.bytes) {
      plan.peak.bytes = live;
      plan.peak.step = int64_t(i);
    }
  }
  plan.maxLiveBytes = plan.peak.bytes;
  std::vector<const PlanBuffer *> at;
  for (const PlanBuffer &buffer : plan.buffers)
    if (buffer.size > 0 && buffer.first <= plan.peak.step && plan.peak.step <= buffer.last)
      at.push_back(&buffer);
  std::sort(at.begin(), at.end(), [](const PlanBuffer *a, const PlanBuffer *b) {
    return a->size != b->size ? a->size > b->size : a->id < b->id;
  });
  for (const PlanBuffer *buffer : at)
    plan.peak.buffers.push_back(buffer->id);
}

namespace {
constexpr const char *kindWords[] = {"parameter",           "constant",  "state", "gradient", "activation",
                                     "activation_gradient", "workspace", "input", "cast"};
constexpr const char *carryWords[] = {"none", "loop", "step"};
constexpr const char *stageWords[] = {"forward", "recompute", "backward", "update"};
constexpr const char *targetWords[] = {"host", "cuda", "sim"};

template <typename Enum, size_t n>
bool lookUp(const std::string &word, const char *const (&words)[n], Enum &out) {
  auto it = std::find(std::begin(words), std::end(words), word);
  if (it == std::end(words))
    return false;
  out = Enum(it - std::begin(words));
  return true;
}
} // namespace

const char *toString(BufferKind kind) { return kindWords[int(kind)]; }
const char *toString(Carry carry) { return carryWords[int(carry)]; }
const char *toString(Stage stage) { return stageWords[int(stage)]; }
const char *toString(PlanTarget target) { return targetWords[int(target)]; }
bool fromString(const std::string &word, BufferKind &kind) { return lookUp(word, kindWords, kind); }
bool fromString(const std::string &word, Carry &carry) { return lookUp(word, carryWords, carry); }
bool fromString(const std::string &word, Stage &stage) { return lookUp(word, stageWords, stage); }
bool fromString(const std::string &word, PlanTarget &target) { return lookUp(word, targetWords, target); }

} // namespace gmc::planning
