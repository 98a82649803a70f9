//===- PlanTest.cpp -------------------------------------------------------===//
#include "compiler/Planning/Plan.h"
#include "compiler/Planning/PlanJson.h"
#include "compiler/Planning/PlanValidator.h"

#include <gtest/gtest.h>

#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <functional>

using namespace gmc::planning;

namespace {

PlanStep step(int64_t index, const char *op, Stage stage, std::vector<int64_t> reads, std::vector<int64_t> writes) {
  PlanStep s;
  s.index = index;
  s.op = op;
  if (stage != Stage::Update)
    s.nodes = {"/fc/Gemm"};
  s.stage = stage;
  s.reads = std::move(reads);
  s.writes = std::move(writes);
  s.flops = 1000;
  s.bytes = 64;
  s.predictedUs = 2.5;
  return s;
}

/// Two micro-steps of forward, recomputation and backward with an accumulated gradient, then the update.
Plan smallPlan() {
  Plan plan;
  plan.model = "small.onnx";
  plan.batch = 6;
  plan.microBatch = 4;
  plan.accumulation = 2;
  plan.numerics = "abc";
  plan.arenaBytes = 1024;
  plan.evalArenaBytes = 512;
  plan.reserveBytes = 100;
  plan.budgetBytes = 1124;
  plan.floorBytes = 1000;
  plan.boundBytes = 900;
  plan.loops = {{1, 5, 2}};
  plan.buffers = {
      {0, "w", BufferKind::Parameter, Carry::Step, 0, 128, 0, 6},
      {1, "w.m", BufferKind::State, Carry::Step, 128, 128, 0, 6},
      {2, "w.grad", BufferKind::Gradient, Carry::Loop, 256, 128, 0, 6},
      {3, "x", BufferKind::Input, Carry::None, 384, 64, 1, 5},
      {4, "y", BufferKind::Activation, Carry::None, 448, 64, 1, 2},
      {5, "loss", BufferKind::Activation, Carry::None, 512, 8, 2, 2},
      {6, "y", BufferKind::Activation, Carry::None, 448, 64, 3, 5},
      {7, "grad of y", BufferKind::ActivationGradient, Carry::None, 576, 64, 4, 5},
      {8, "scratch", BufferKind::Workspace, Carry::None, 640, 256, 5, 5},
  };
  plan.steps = {
      step(0, "plan.zero", Stage::Update, {}, {2}),
      step(1, "nn.gemm", Stage::Forward, {0, 3}, {4}),
      step(2, "nn.mse", Stage::Forward, {4}, {5}),
      step(3, "nn.gemm", Stage::Recompute, {0, 3}, {6}),
      step(4, "nn.mse_grad", Stage::Backward, {6}, {7}),
      step(5, "nn.gemm_grad", Stage::Backward, {3, 6, 7, 2}, {2}),
      step(6, "nn.adamw", Stage::Update, {0, 1, 2}, {0, 1}),
  };
  plan.steps[3].recomputeOf = {1};
  plan.steps[3].recomputeUs = 2.5;
  plan.steps[5].workspace = {8};
  plan.predictedStepMs = sumStepMs(plan);
  plan.unconstrainedStepMs = plan.predictedStepMs * 0.9;
  plan.levers = {{"--precision=bf16", 256, -1.25}};
  computePeak(plan);
  return plan;
}

bool has(const Plan &plan, PlanReason reason) {
  for (const PlanViolation &violation : validatePlan(plan))
    if (violation.reason == reason)
      return true;
  return false;
}

std::string listed(const std::vector<PlanViolation> &violations) {
  std::string text;
  for (const PlanViolation &violation : violations)
    text += violation.message + "\n";
  return text;
}

} // namespace

TEST(Plan, PeakAndTime) {
  Plan plan = smallPlan();
  EXPECT_EQ(plan.peak.step, 5);
  EXPECT_EQ(plan.maxLiveBytes, 128 * 3 + 64 * 3 + 256);
  EXPECT_EQ(plan.peak.buffers.front(), 8);
  EXPECT_DOUBLE_EQ(plan.predictedStepMs, (2 + 5 * 2) * 2.5 / 1000);
  EXPECT_EQ(offsetAlignment(PlanTarget::Host), 64);
  EXPECT_EQ(offsetAlignment(PlanTarget::Cuda), 256);
}

TEST(PlanValidator, AcceptsAValidPlan) { EXPECT_EQ(listed(validatePlan(smallPlan())), ""); }

TEST(PlanValidator, FindsEachViolation) {
  struct Case {
    PlanReason reason;
    std::function<void(Plan &)> spoil;
  };
  const Case cases[] = {
      {PlanReason::OverBudget, [](Plan &p) { p.budgetBytes -= 1; }},
      {PlanReason::EvalOverArena, [](Plan &p) { p.evalArenaBytes = 2000; }},
      {PlanReason::DuplicateBuffer, [](Plan &p) { p.buffers[8].id = 7; }},
      {PlanReason::LoopCounts, [](Plan &p) { p.loops[0].count = 3; }},
      {PlanReason::LoopPlace, [](Plan &p) { p.loops[0].last = 9; }},
      {PlanReason::LoopPlace, [](Plan &p) { p.loops = {{1, 3, 1}, {3, 5, 1}}; }},
      {PlanReason::BufferPlace, [](Plan &p) { p.buffers[8].offset = 896; }},
      {PlanReason::BufferPlace, [](Plan &p) { p.buffers[8].offset = 650; }},
      {PlanReason::BufferPlace, [](Plan &p) { p.target = PlanTarget::Cuda; }},
      {PlanReason::BufferLifetime, [](Plan &p) { p.buffers[8].last = 7; }},
      {PlanReason::CarryKind, [](Plan &p) { p.buffers[1].carry = Carry::Loop; }},
      {PlanReason::CarryLifetime, [](Plan &p) { p.buffers[1].first = 1; }},
      {PlanReason::CarryLifetime, [](Plan &p) { p.buffers[2].first = 2; }},
      {PlanReason::StepIndex, [](Plan &p) { p.steps[4].index = 3; }},
      {PlanReason::UnknownBuffer, [](Plan &p) { p.steps[4].reads.push_back(77); }},
      {PlanReason::UseOutsideLifetime, [](Plan &p) { p.steps[3].reads.push_back(4); }},
      {PlanReason::ReadBeforeWrite, [](Plan &p) { p.steps[0].writes.clear(); }},
      {PlanReason::ReadsUpdated,
       [](Plan &p) {
         p.steps[3].writes.push_back(0);
         p.steps[3].stage = Stage::Update;
         p.steps[4].reads.push_back(0);
       }},
      {PlanReason::RecomputeOf, [](Plan &p) { p.steps[3].recomputeOf = {3}; }},
      {PlanReason::RecomputeOf, [](Plan &p) { p.steps[3].recomputeOf.clear(); }},
      {PlanReason::RecomputeCost, [](Plan &p) { p.steps[3].recomputeUs = 0; }},
      {PlanReason::RecomputeCost, [](Plan &p) { p.steps[4].recomputeUs = 1; }},
      {PlanReason::NoNode, [](Plan &p) { p.steps[4].nodes.clear(); }},
      {PlanReason::NeverUsed, [](Plan &p) { p.steps[5].workspace.clear(); }},
      {PlanReason::CrossesLoop, [](Plan &p) { p.buffers[8].last = 6; }},
      {PlanReason::InputLate, [](Plan &p) { p.loops[0].first = 0; }},
      {PlanReason::GradientLost, [](Plan &p) { p.buffers[2].carry = Carry::None; }},
      {PlanReason::Overlap, [](Plan &p) { p.buffers[8].offset = 512; }},
      {PlanReason::MaxLive, [](Plan &p) { p.maxLiveBytes -= 1; }},
      {PlanReason::Peak, [](Plan &p) { p.peak.step = 2; }},
      {PlanReason::Peak, [](Plan &p) { p.peak.buffers.pop_back(); }},
      {PlanReason::OverArena, [](Plan &p) { p.maxLiveBytes = 2048; }},
      {PlanReason::Batch, [](Plan &p) { p.batch = 9; }},
      {PlanReason::StepTime, [](Plan &p) { p.predictedStepMs *= 1.01; }},
      {PlanReason::NegativeCost, [](Plan &p) { p.steps[2].flops = -1; }},
      {PlanReason::Bounds, [](Plan &p) { p.floorBytes = 2000; }},
      {PlanReason::Bounds, [](Plan &p) { p.unconstrainedStepMs = 1; }},
      {PlanReason::Frontier, [](Plan &p) { p.points = {{100, 50, 1, 4, "a"}, {200, 150, 2, 4, "a"}}; }},
  };
  for (size_t k = 0; k < std::size(cases); ++k) {
    Plan plan = smallPlan();
    cases[k].spoil(plan);
    EXPECT_TRUE(has(plan, cases[k].reason)) << "case " << k << ": " << listed(validatePlan(plan));
  }
}

TEST(PlanJson, RoundTrip) {
  Plan plan = smallPlan();
  plan.predictedStepMs = 0.1 + 0.2; // 17 digits
  plan.arenaBytes = 9007199254740993;
  plan.points = {{1124, 1024, 0.03, 4, "abc"}};
  std::string text = planToJson(plan, true);
  EXPECT_NE(text.find("0.30000000000000004"), std::string::npos);
  EXPECT_NE(text.find("9007199254740993"), std::string::npos);
  Plan back;
  EXPECT_TRUE(planFromJson(text, back).empty());
  EXPECT_EQ(planToJson(back, true), text);
  plan.fits = false;
  std::string unfit = planToJson(plan);
  EXPECT_EQ(unfit.find("\"buffers\":[{"), std::string::npos);
  EXPECT_TRUE(planFromJson(unfit, back).empty());
  EXPECT_FALSE(back.fits);
}

TEST(PlanJson, SaysWhatIsWrong) {
  Plan plan;
  EXPECT_EQ(planFromJson("{\"version\":1", plan).size(), 1u);
  EXPECT_EQ(planFromJson("[]", plan).size(), 1u);
  std::string text = planToJson(smallPlan());
  auto replaced = [&](const std::string &from, const std::string &to) {
    std::string copy = text;
    copy.replace(copy.find(from), from.size(), to);
    return planFromJson(copy, plan);
  };
  ASSERT_EQ(replaced("\"kind\":\"parameter\"", "\"kind\":\"weight\"").size(), 1u);
  EXPECT_NE(replaced("\"kind\":\"parameter\"", "\"kind\":\"weight\"")[0].find("buffers[0].kind"), std::string::npos);
  EXPECT_EQ(replaced("\"batch\":6", "\"batch\":\"6\"").size(), 1u);
  EXPECT_EQ(replaced("\"size\":128", "\"size\":18446744073709551615").size(), 1u);
  EXPECT_EQ(replaced("\"size\":128,", "").size(), 1u);
}

TEST(PlanJson, RefereeAgrees) {
  std::filesystem::path referee = std::filesystem::path(GMC_SHARED_DIR) / "referee/plan.py";
  if (!std::filesystem::exists(referee))
    GTEST_SKIP() << "no referee at " << referee;
  auto judge = [&](const Plan &plan) {
    std::filesystem::path file = std::filesystem::temp_directory_path() / "gmc-plan-test.json";
    std::ofstream(file) << planToJson(plan);
    int status = std::system(("python3 " + referee.string() + " " + file.string() + " > /dev/null").c_str());
    std::filesystem::remove(file);
    return status == 0;
  };
  EXPECT_TRUE(judge(smallPlan()));
  Plan spoiled = smallPlan();
  spoiled.buffers[8].offset = 512;
  EXPECT_FALSE(judge(spoiled));
}
