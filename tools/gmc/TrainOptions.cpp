#include "tools/gmc/TrainOptions.h"
#include "compiler/Codegen/CudaTools.h"
#include "compiler/Codegen/HostCodegen.h"
#include "llvm/Support/Path.h"
#include <thread>

namespace gmc {

void addTrainOptions(CLI::App &app, TrainOptions &o) {
  addModelOptions(app, o.model);
  auto last = [](CLI::Option *option) { option->multi_option_policy(CLI::MultiOptionPolicy::TakeLast); return option; };
  last(app.add_option("--vram", o.vram, "memory budget of the process: 4GB, 4GiB, bytes"));
  last(app.add_option("--target", o.target, "cuda, host or sim"))->check(CLI::IsMember({"cuda", "host", "sim"}));
  last(app.add_option("--arch", o.arch, "sm_86,sm_90,... or native, x86-64-v3, x86-64-v4"));
  last(app.add_option("--threads", o.threads, "host: threads the plan is for; default: this machine's cores"))->check(CLI::PositiveNumber);
  last(app.add_option("--micro-batch", o.microBatch, "rows per micro-step: auto or N"));
  last(app.add_option("--accumulate", o.accumulate, "micro-steps per optimizer step: auto or N"));
  last(app.add_option("--precision", o.precision, "auto or fp32"))->check(CLI::IsMember({"auto", "fp32", "bf16", "fp16"}));
  last(app.add_option("--numerics", o.numerics, "free or pinned"))->check(CLI::IsMember({"free", "pinned"}));
  last(app.add_option("--optimizer", o.optimizer, "adamw, adam, sgd, momentum, nesterov, lion"))
      ->check(CLI::IsMember({"adamw", "adam", "sgd", "momentum", "nesterov", "lion"}));
  app.add_flag("--clip", o.clip, "hold memory for clipping by the global gradient norm");
  app.add_flag("--ema", o.ema, "keep a moving average of the parameters");
  last(app.add_option("--bn", o.bn, "train or frozen"))->check(CLI::IsMember({"train", "frozen"}));
  last(app.add_option("--dropout", o.dropout, "on or off"))->check(CLI::IsMember({"on", "off"}));
  last(app.add_option("--remat", o.remat, "auto, off or all"))->check(CLI::IsMember({"auto", "off", "all"}));
  last(app.add_option("--device", o.device, "device profile"));
  last(app.add_option("--reserve", o.reserve, "bytes beside the arena, instead of the computed ones"));
  last(app.add_option("--workers-max", o.workersMax, "decoding threads the reserve holds memory for"))->check(CLI::Range(1, 64));
  last(app.add_option("--shuffle-buffer-max", o.shuffleBufferMax, "shuffle buffer the reserve holds memory for"))->check(CLI::NonNegativeNumber);
  last(app.add_option("--effort", o.effort, "planning effort 1..5"))->check(CLI::Range(1, 5));
}

static llvm::Expected<std::optional<int64_t>> autoOr(const std::string &text, const char *name) {
  if (text == "auto")
    return std::optional<int64_t>();
  int64_t value = 0;
  if (llvm::StringRef(text).getAsInteger(10, value) || value < 1)
    return inputError(std::string("--") + name + "=" + text + ": auto or a positive number is expected");
  return std::optional<int64_t>(value);
}

llvm::Expected<CompileRequest> toRequest(const TrainOptions &o, const OnnxModel &model, planning::PlanTarget target) {
  CompileRequest r;
  auto import = toImportOptions(o.model, model);
  if (!import)
    return import.takeError();
  r.import = std::move(*import);
  auto batch = effectiveBatch(o.model, model);
  if (!batch)
    return batch.takeError();
  r.batch = *batch;
  auto micro = autoOr(o.microBatch, "micro-batch");
  if (!micro)
    return micro.takeError();
  auto accumulate = autoOr(o.accumulate, "accumulate");
  if (!accumulate)
    return accumulate.takeError();
  r.microBatch = *micro;
  r.accumulation = *accumulate;
  if (model.fixedBatch() && !r.microBatch && !r.accumulation)
    r.microBatch = *model.fixedBatch(); // the file fixes the shapes
  if (o.precision == "bf16" || o.precision == "fp16")
    return inputError("--precision=" + o.precision + " is not in this release: use fp32");
  if (!o.device.empty())
    return inputError("--device: measured profiles are not in this release; --arch picks a built-in one");
  r.target = target;
  bool host = target == planning::PlanTarget::Host;
  r.arch = !o.arch.empty() ? o.arch : host ? "native" : "sm_86";
  if (host) {
    if (auto arch = resolveHostArch(r.arch); !arch)
      return arch.takeError();
  } else {
    llvm::SmallVector<llvm::StringRef> names;
    llvm::StringRef(r.arch).split(names, ',');
    for (llvm::StringRef name : names) {
      if (auto sm = parseSm(name); !sm)
        return inputError(llvm::toString(sm.takeError()));
      r.archs.push_back(name.str());
    }
    r.arch = r.archs.front(); // the plan is made for the first one named
  }
  r.threads = o.threads ? o.threads : std::max(1u, std::thread::hardware_concurrency());
  if (!o.vram.empty()) {
    auto size = parseSize(o.vram);
    if (!size)
      return inputError("--vram: " + llvm::toString(size.takeError()));
    r.budgetBytes = *size;
  }
  if (!o.reserve.empty()) {
    auto size = parseSize(o.reserve);
    if (!size)
      return inputError("--reserve: " + llvm::toString(size.takeError()));
    r.reserveBytes = *size;
  }
  auto optimizer = parseOptimizer(o.optimizer);
  if (!optimizer)
    return optimizer.takeError();
  r.training.optimizer = *optimizer;
  r.training.loss = o.model.loss;
  r.training.bnTrain = o.bn == "train";
  r.training.dropout = o.dropout == "on";
  r.training.clip = o.clip;
  r.training.ema = o.ema;
  r.pinnedNumerics = o.numerics == "pinned";
  r.remat = o.remat == "off"   ? PlanBuilderOptions::Remat::Off
            : o.remat == "all" ? PlanBuilderOptions::Remat::All
                               : PlanBuilderOptions::Remat::Auto;
  r.effort = o.effort;
  r.workersMax = o.workersMax;
  r.shuffleBufferMax = o.shuffleBufferMax;
  return r;
}

//===- Printing -----------------------------------------------------------------------------------------===//

static std::string bytesText(double bytes) {
  const char *units[] = {"B", "kB", "MB", "GB", "TB"};
  int unit = 0;
  double magnitude = bytes < 0 ? -bytes : bytes;
  while (magnitude >= 1000 && unit < 4) {
    magnitude /= 1000;
    ++unit;
  }
  char text[64];
  std::snprintf(text, sizeof text, unit == 0 || magnitude >= 100 ? "%s%.0f %s" : magnitude >= 10 ? "%s%.1f %s" : "%s%.2f %s",
                bytes < 0 ? "-" : "", magnitude, units[unit]);
  return text;
}

static std::string milliseconds(double ms) {
  char text[64];
  std::snprintf(text, sizeof text, ms >= 100 ? "%.0f ms" : ms >= 1 ? "%.1f ms" : "%.3f ms", ms);
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
       << (lever.costMs < 0 ? "" : "+") << milliseconds(lever.costMs) << "  ";
  os << "\n";
}

void printPlan(llvm::raw_ostream &os, const CompiledPlan &compiled, const CompileRequest &request) {
  const planning::Plan &plan = compiled.plan;
  printHeader(os, plan, request);
  os << (request.budgetBytes ? "FITS in " + bytesText(plan.budgetBytes) : "needs " + bytesText(plan.budgetBytes)) << ": arena "
     << bytesText(plan.arenaBytes) << " + reserve " << bytesText(plan.reserveBytes) << "       smallest budget "
     << bytesText(plan.floorBytes) << " (" << plan.floorBytes << " bytes)\n";
  int64_t recomputed = 0, activations = 0;
  for (const planning::PlanStep &step : plan.steps) {
    recomputed += step.stage == planning::Stage::Recompute;
    activations += step.stage == planning::Stage::Forward;
  }
  double over = 100 * (plan.predictedStepMs / plan.unconstrainedStepMs - 1);
  char percent[32];
  std::snprintf(percent, sizeof percent, "%.1f", over);
  os << "step " << milliseconds(plan.predictedStepMs) << ", " << percent << " % above unconstrained ("
     << milliseconds(plan.unconstrainedStepMs);
  if (!plan.points.empty())
    os << " at " << bytesText(plan.points.front().budgetBytes);
  os << "); " << recomputed << " recomputations of " << activations << " forward kernels\n";
  // Bytes live at the peak, by kind.
  std::map<planning::BufferKind, int64_t> kinds;
  for (int64_t id : plan.peak.buffers)
    kinds[plan.buffers[id].kind] += plan.buffers[id].size;
  using K = planning::BufferKind;
  os << "  at the peak: parameters " << bytesText(kinds[K::Parameter]) << "   constants " << bytesText(kinds[K::Constant])
     << "   gradients " << bytesText(kinds[K::Gradient]) << "   optimizer and state " << bytesText(kinds[K::State])
     << "   activations " << bytesText(kinds[K::Activation] + kinds[K::ActivationGradient]) << "   workspace "
     << bytesText(kinds[K::Workspace]) << "   input " << bytesText(kinds[K::Input]) << "\n";
  printPeak(os, plan);
  printLevers(os, plan);
  if (!request.budgetBytes && plan.points.size() > 1) {
    os << "budgets:";
    size_t step = std::max<size_t>(1, plan.points.size() / 6);
    for (size_t i = 0; i < plan.points.size(); i += step)
      os << "  " << bytesText(plan.points[i].budgetBytes) << " " << milliseconds(plan.points[i].stepMs);
    os << "\n";
  }
  for (const std::string &note : compiled.notes.notes)
    os << "note: " << note << "\n";
}

void printNoFit(llvm::raw_ostream &os, const CompiledPlan &compiled, const CompileRequest &request) {
  const planning::Plan &plan = compiled.plan;
  printHeader(os, plan, request);
  os << "DOES NOT FIT in " << bytesText(plan.budgetBytes) << ": smallest budget found " << bytesText(plan.floorBytes) << " ("
     << plan.floorBytes << " bytes), no plan can need less than " << bytesText(plan.boundBytes) << "\n";
  printPeak(os, plan);
  printLevers(os, plan);
  os << "way out: --vram=" << plan.floorBytes << " or more";
  if (plan.microBatch > 1 && (request.pinnedNumerics || request.microBatch))
    os << ", a smaller --micro-batch";
  os << ", a smaller --batch, or an optimizer with less state (--optimizer=sgd)\n";
}

} // namespace gmc
