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
  last(app.add_option("--threads", o.threads, "host: threads the plan is for; default: this machine's cores"))
      ->check(CLI::PositiveNumber);
  last(app.add_option("--micro-batch", o.microBatch, "rows per micro-step: auto or N"));
  last(app.add_option("--accumulate", o.accumulate, "micro-steps per optimizer step: auto or N"));
  last(app.add_option("--precision", o.precision,
                      "auto, fp32, bf16 or fp16: what matrix products and convolutions compute in"))
      ->check(CLI::IsMember({"auto", "fp32", "bf16", "fp16"}));
  last(app.add_option("--numerics", o.numerics, "free or pinned"))->check(CLI::IsMember({"free", "pinned"}));
  last(app.add_option("--optimizer", o.optimizer, "adamw, adam, sgd, momentum, nesterov, lion"))
      ->check(CLI::IsMember({"adamw", "adam", "sgd", "momentum", "nesterov", "lion"}));
  app.add_flag("--clip", o.clip, "hold memory for clipping by the global gradient norm");
  app.add_flag("--ema", o.ema, "keep a moving average of the parameters");
  last(app.add_option("--bn", o.bn, "train or frozen"))->check(CLI::IsMember({"train", "frozen"}));
  last(app.add_option("--dropout", o.dropout, "on or off"))->check(CLI::IsMember({"on", "off"}));
  last(app.add_option("--remat", o.remat, "auto, off or all"))->check(CLI::IsMember({"auto", "off", "all"}));
  last(app.add_option(
           "--libraries", o.libraries,
           "host: auto (oneDNN where it is predicted to be faster), all (wherever it has the computation) or none"))
      ->check(CLI::IsMember({"auto", "all", "none"}));
  last(app.add_option("--device", o.device, "device profile"));
  last(app.add_option("--reserve", o.reserve, "bytes beside the arena, instead of the computed ones"));
  last(app.add_option("--workers-max", o.workersMax, "decoding threads the reserve holds memory for"))
      ->check(CLI::Range(1, 64));
  last(app.add_option("--shuffle-buffer-max", o.shuffleBufferMax, "shuffle buffer the reserve holds memory for"))
      ->check(CLI::NonNegativeNumber);
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

/// --precision; auto is fp32 on the host (no `archs`), else bf16 where every architecture computes in it, else fp16.
static Precision choosePrecision(const std::string &word, llvm::ArrayRef<std::string> archs, std::string &note) {
  if (auto precision = parsePrecision(word))
    return *precision;
  if (archs.empty())
    return Precision::Fp32;
  uint32_t lowest = UINT32_MAX;
  for (const std::string &arch : archs)
    lowest = std::min(lowest, llvm::cantFail(parseSm(arch)));
  Precision precision = preferredPrecision(archs);
  note = "--precision=auto is " + toString(precision).str() + " for " +
         (archs.size() > 1 ? "the lowest --arch, " : "") + "sm_" + std::to_string(lowest) +
         "; --precision=fp32 turns it off";
  return precision;
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
  r.precision = choosePrecision(o.precision, r.archs, r.precisionNote);
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
  if (o.libraries == "none")
    r.libraries.reset();
  else
    r.libraries = o.libraries == "all" ? HostLibrary::Use::Always : HostLibrary::Use::Faster;
  r.remat = o.remat == "off"   ? PlanBuilderOptions::Remat::Off
            : o.remat == "all" ? PlanBuilderOptions::Remat::All
                               : PlanBuilderOptions::Remat::Auto;
  r.effort = o.effort;
  r.workersMax = o.workersMax;
  r.shuffleBufferMax = o.shuffleBufferMax;
  return r;
}

} // namespace gmc
