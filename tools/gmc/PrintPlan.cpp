//===- PrintPlan.cpp - plans as a person reads them -----------------------------------------------------===//

#include "tools/gmc/PrintPlan.h"
#include "llvm/Support/Format.h"
#include "llvm/Support/Path.h"
#include <cmath>
#include <set>

namespace gmc {

std::string bytesText(double bytes) {
  const char *units[] = {"B", "kB", "MB", "GB", "TB"};
  int unit = 0;
  double magnitude = bytes < 0 ? -bytes : bytes;
  while (magnitude >= 1000 && unit < 4) {
    magnitude /= 1000;
    ++unit;
  }
  char text[64];
  std::snprintf(text, sizeof text,
                unit == 0 || magnitude >= 100 ? "%s%.0f %s"
                : magnitude >= 10             ? "%s%.1f %s"
                                              : "%s%.2f %s",
                bytes < 0 ? "-" : "", magnitude, units[unit]);
  return text;
}

std::string timeText(double ms) {
  char text[64];
  double magnitude = ms < 0 ? -ms : ms;
  if (magnitude >= 60e3) {
    int64_t minutes = int64_t(magnitude / 60e3 + 0.5);
    std::snprintf(text, sizeof text, "%s%lldh %02lldm", ms < 0 ? "-" : "", static_cast<long long>(minutes / 60),
                  static_cast<long long>(minutes % 60));
  } else {
    std::snprintf(text, sizeof text, magnitude >= 100 ? "%.0f ms" : magnitude >= 1 ? "%.1f ms" : "%.3f ms", ms);
  }
  return text;
}

static void printHeader(llvm::raw_ostream &os, const planning::Plan &plan, const CompileRequest &request) {
  os << llvm::sys::path::filename(plan.model) << "  batch " << request.batch;
  if (plan.fits)
    os << " = " << plan.microBatch << " x " << plan.accumulation;
  os << "   " << plan.precision << "   " << planning::toString(request.target) << " " << request.arch;
  if (request.target != planning::PlanTarget::Host)
    os << ", " << deviceProfile(request.arch)->name << " profile";
  os << "\n";
}

static void printPeak(llvm::raw_ostream &os, const planning::Plan &plan) {
  if (plan.steps.empty())
    return;
  const planning::PlanStep &step = plan.steps[plan.peak.step];
  os << "peak at step " << plan.peak.step << ", " << planning::toString(step.stage) << " of "
     << (step.nodes.empty() ? step.op : step.nodes.front()) << ":\n  ";
  size_t shown = 0;
  for (int64_t id : plan.peak.buffers) {
    const planning::PlanBuffer &b = plan.buffers[id];
    if (shown == 3)
      break;
    os << (shown++ ? "   " : "") << b.name << " " << bytesText(b.size);
  }
  if (plan.peak.buffers.size() > shown)
    os << "   and " << plan.peak.buffers.size() - shown << " more";
  os << "\n";
}

static void printLevers(llvm::raw_ostream &os, const planning::Plan &plan) {
  if (plan.levers.empty())
    return;
  os << "would help:";
  for (const planning::PlanLever &lever : plan.levers)
    os << " " << lever.name << " " << bytesText(-static_cast<double>(lever.savedBytes)) << ", "
       << (lever.costMs < 0 ? "" : "+") << timeText(lever.costMs) << "  ";
  os << "\n";
}

/// The point farthest below the line from the fastest to the smallest, time on a logarithmic scale: from here on less
/// memory costs more than it did.
static size_t kneeOf(const std::vector<planning::FrontierPoint> &points) {
  const planning::FrontierPoint &fast = points.front(), &small = points.back();
  double bytes = double(fast.budgetBytes - small.budgetBytes), slowdown = std::log(small.stepMs / fast.stepMs);
  size_t knee = 0;
  double best = 0;
  for (size_t i = 0; i < points.size(); ++i) {
    double saved = double(fast.budgetBytes - points[i].budgetBytes) / bytes;
    double gain = saved - std::log(points[i].stepMs / fast.stepMs) / slowdown;
    if (gain > best) {
      best = gain;
      knee = i;
    }
  }
  return knee;
}

void printPlan(llvm::raw_ostream &os, const CompiledPlan &compiled, const CompileRequest &request) {
  const planning::Plan &plan = compiled.plan;
  printHeader(os, plan, request);
  os << (request.budgetBytes ? "FITS in " + bytesText(plan.budgetBytes) : "needs " + bytesText(plan.budgetBytes))
     << ": arena " << bytesText(plan.arenaBytes) << " + reserve " << bytesText(plan.reserveBytes)
     << "       smallest budget " << bytesText(plan.floorBytes) << " (" << plan.floorBytes << " bytes)\n";
  std::set<int64_t> recomputed;
  int64_t activations = 0;
  for (const planning::PlanStep &step : plan.steps) {
    recomputed.insert(step.recomputeOf.begin(), step.recomputeOf.end());
    activations += step.stage == planning::Stage::Forward;
  }
  double over = 100 * (plan.predictedStepMs / plan.unconstrainedStepMs - 1);
  char percent[32];
  std::snprintf(percent, sizeof percent, "%.1f", over);
  os << "step " << timeText(plan.predictedStepMs) << ", " << percent << " % above unconstrained ("
     << timeText(plan.unconstrainedStepMs);
  if (!plan.points.empty())
    os << " at " << bytesText(plan.points.front().budgetBytes);
  os << "); " << recomputed.size() << " of " << activations << " activations recomputed\n";
  // Bytes live at the peak, by kind.
  std::map<planning::BufferKind, int64_t> kinds;
  for (int64_t id : plan.peak.buffers)
    kinds[plan.buffers[id].kind] += plan.buffers[id].size;
  using K = planning::BufferKind;
  os << "  at the peak: parameters " << bytesText(kinds[K::Parameter]) << "   constants "
     << bytesText(kinds[K::Constant]) << "   gradients " << bytesText(kinds[K::Gradient]) << "   optimizer and state "
     << bytesText(kinds[K::State]) << "   activations "
     << bytesText(kinds[K::Activation] + kinds[K::ActivationGradient]) << "   workspace "
     << bytesText(kinds[K::Workspace]) << "   input " << bytesText(kinds[K::Input]);
  if (kinds[K::Cast])
    os << "   low-precision copies " << bytesText(kinds[K::Cast]);
  os << "\n";
  printPeak(os, plan);
  printLevers(os, plan);
  if (!request.budgetBytes && plan.points.size() > 1) {
    auto point = [&](const char *name, const planning::FrontierPoint &p) {
      os << name << bytesText(p.budgetBytes) << " " << timeText(p.stepMs);
    };
    point("budgets: smallest ", plan.points.back());
    point("   knee ", plan.points[kneeOf(plan.points)]);
    point("   fastest ", plan.points.front());
    os << "\n";
  }
  if (plan.samples)
    os << "training: " << plan.samples << " samples x " << plan.epochs << " epochs = " << planning::trainingSteps(plan)
       << " steps, " << timeText(planning::trainingMs(plan)) << "\n";
  for (const std::string &note : compiled.notes.notes)
    os << "note: " << note << "\n";
}

void printNoFit(llvm::raw_ostream &os, const CompiledPlan &compiled, const CompileRequest &request) {
  const planning::Plan &plan = compiled.plan;
  printHeader(os, plan, request);
  os << "DOES NOT FIT in " << bytesText(plan.budgetBytes) << ": smallest budget found " << bytesText(plan.floorBytes)
     << " (" << plan.floorBytes << " bytes), no plan can need less than " << bytesText(plan.boundBytes) << "\n";
  printPeak(os, plan);
  printLevers(os, plan);
  os << "way out: --vram=" << plan.floorBytes << " or more";
  if (plan.microBatch > 1 && (request.pinnedNumerics || request.microBatch))
    os << ", a smaller --micro-batch";
  os << ", a smaller --batch, or an optimizer with less state (--optimizer=sgd)\n";
}

void printFrontier(llvm::raw_ostream &os, const planning::Plan &plan) {
  os << "frontier: " << plan.points.size() << " points\n      budget       arena        step    slower  micro-batch\n";
  for (const planning::FrontierPoint &p : plan.points)
    os << llvm::format("%12s%12s%12s%9.1f %%%13lld\n", bytesText(p.budgetBytes).c_str(),
                       bytesText(p.arenaBytes).c_str(), timeText(p.stepMs).c_str(),
                       100 * (p.stepMs / plan.points.front().stepMs - 1), static_cast<long long>(p.microBatch));
}

} // namespace gmc
