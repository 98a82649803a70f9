//===- Compiler.cpp - from an ONNX file and a budget to a plan ------------------------------------------===//

#include "compiler/Pipeline/Compiler.h"
#include "compiler/Codegen/CudaTools.h"
#include "compiler/Codegen/ReadPlan.h"
#include "compiler/Pipeline/Phases.h"
#include "compiler/Pipeline/PlanSearch.h"
#include "compiler/Pipeline/WritePlan.h"
#include "compiler/Planning/PlanValidator.h"
#include "runtime/data/Loader.h"
#include "runtime/train/Metadata.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/Support/xxhash.h"
#include "onnx/onnx_pb.h"

using namespace mlir;

namespace gmc {

llvm::Expected<std::vector<BatchSplit>> batchSplits(const CompileRequest &request, bool batchNormTraining) {
  int64_t batch = request.batch;
  auto ceil = [](int64_t a, int64_t b) { return (a + b - 1) / b; };
  if (request.microBatch && request.accumulation) {
    if (*request.microBatch * *request.accumulation < batch ||
        *request.microBatch * (*request.accumulation - 1) >= batch)
      return inputError("--micro-batch=" + llvm::Twine(*request.microBatch) + " x --accumulate=" +
                        llvm::Twine(*request.accumulation) + " does not make a batch of " + llvm::Twine(batch) +
                        ": drop one of the three options");
    return std::vector<BatchSplit>{{*request.microBatch, *request.accumulation}};
  }
  if (request.microBatch) {
    if (*request.microBatch < 1 || *request.microBatch > batch)
      return inputError("--micro-batch=" + llvm::Twine(*request.microBatch) + " is not between 1 and the batch of " +
                        llvm::Twine(batch));
    return std::vector<BatchSplit>{{*request.microBatch, ceil(batch, *request.microBatch)}};
  }
  if (request.accumulation) {
    if (*request.accumulation < 1 || *request.accumulation > batch)
      return inputError("--accumulate=" + llvm::Twine(*request.accumulation) + " is not between 1 and the batch of " +
                        llvm::Twine(batch));
    int64_t micro = ceil(batch, *request.accumulation);
    return std::vector<BatchSplit>{{micro, ceil(batch, micro)}};
  }
  std::vector<BatchSplit> splits{{batch, 1}};
  if (request.pinnedNumerics)
    return splits;
  // Batch statistics of fewer than 16 rows are another model: with BatchNormalization in training mode stop there.
  int64_t least = batchNormTraining ? 16 : 1;
  for (int64_t micro = ceil(batch, 2); micro >= least && micro < splits.back().microBatch; micro = ceil(micro, 2))
    splits.push_back({micro, ceil(batch, micro)});
  return splits;
}

namespace {

/// One micro-batch, imported and differentiated.
struct Candidate {
  BatchSplit split;
  OwningOpRef<ModuleOp> module;
  WeightStore weights;
  TrainingNotes notes;
  std::unique_ptr<PlanBuilder> builder;
  std::string numerics;
  PhaseLog log;
  bool withoutLibrary = false; ///< stands beside a candidate that may call one
};

std::optional<DeviceProfile> profileFor(const CompileRequest &request) {
  return deviceProfile(request.target == planning::PlanTarget::Host ? StringRef("host") : StringRef(request.arch),
                       request.threads);
}

constexpr int64_t Piece = int64_t(2) << 20;

/// Host bytes of the process beside the arena, by part; on cuda and sim, device bytes.
ReserveParts reserveParts(const CompileRequest &request, const DeviceProfile &profile, const PlannedStep &plan,
                          int64_t libraryCalls) {
  if (request.reserveBytes)
    return {{"given", *request.reserveBytes}};
  if (request.target != planning::PlanTarget::Host) {
    // A driver gives memory out in pieces of 2 MiB. What the kernels' code and the graphs' nodes take was measured on
    // an H200 (docs/results): 4 MiB of code for 700 launches, 4 MiB of graphs for 1400.
    auto pieces = [](int64_t bytes) { return (bytes + Piece - 1) / Piece * Piece; };
    auto launches = static_cast<int64_t>(plan.train.launches.size() + plan.eval.launches.size());
    return {{"context", profile.contextBytes}, {"code", pieces(launches * 6144)}, {"graphs", pieces(launches * 4096)},
            {"rounding", Piece}};
  }
  uint64_t batchBytes = 0, tensors = plan.residents.size();
  for (const PlannedTensor &t : plan.eval.tensors) // evaluation reads what training reads, and maybe more
    if (t.role == "input" || t.role == "label")
      batchBytes += byteSize(t.type);
  uint64_t process = rt::processReserve(request.threads, tensors);
  // One ring for training and one for --val: both are there from the start.
  uint64_t ring = 2 * rt::ringBytes(batchBytes, plan.plan.microBatch, request.workersMax, false);
  // Tables and code of the generated object: steps, operands, names.
  uint64_t tables = 256 * (plan.train.launches.size() + plan.eval.launches.size()) + (1 << 20);
  uint64_t shuffle = 8 * request.shuffleBufferMax;
  std::map<std::string, int64_t> parts{{"process", process}, {"ring", ring}, {"program", tables}, {"shuffle", shuffle}};
  if (libraryCalls)
    parts["libraries"] = rt::libraryReserve(libraryCalls, request.threads);
  return parts;
}

bool usesOp(const OnnxModel &model, StringRef type) {
  for (const onnx::NodeProto &node : model.graph().node())
    if (node.op_type() == type)
      return true;
  return false;
}

std::optional<Candidate> makeCandidate(MLIRContext &context, const OnnxModel &model, const CompileRequest &request,
                                       const DeviceProfile &profile, HostLibrary *library, BatchSplit split,
                                       PhaseLog &log, Diagnostics &diagnostics) {
  auto phased = runTensorPhases(context, model, request, split, "fuse", log, diagnostics);
  if (!phased)
    return std::nullopt;
  log.start("plan");
  Candidate c;
  c.split = split;
  c.module = std::move(phased->module);
  c.weights = std::move(phased->weights);
  c.notes = std::move(phased->notes);
  bool built = collectProblems(context, diagnostics, ProblemKind::Unsupported, [&] {
    PlanBuilderOptions builderOptions;
    builderOptions.target = request.target;
    builderOptions.profile = profile;
    builderOptions.batch = request.batch;
    builderOptions.microBatch = split.microBatch;
    builderOptions.accumulation = split.accumulation;
    builderOptions.effort = request.effort;
    builderOptions.remat = request.remat;
    builderOptions.library = library;
    auto builder = PlanBuilder::create(*c.module, phased->step, builderOptions);
    if (failed(builder))
      return false;
    c.builder = std::move(*builder);
    return true;
  });
  if (!built)
    return std::nullopt;
  std::string signature = c.builder->kernelSignature() + "|" + std::to_string(split.microBatch) + "x" +
                          std::to_string(split.accumulation) + "|" + toString(request.precision).str() + "|" +
                          request.arch + "|" +
                          std::to_string(request.target == planning::PlanTarget::Host ? request.threads : 0);
  auto hash = llvm::xxh3_128bits(llvm::ArrayRef(reinterpret_cast<const uint8_t *>(signature.data()), signature.size()));
  c.numerics = llvm::utohexstr(hash.high64, true, 16) + llvm::utohexstr(hash.low64, true, 16);
  log.stop();
  c.log = std::move(log);
  return c;
}

/// What other options would bring, read off the plans that exist: each is what the command line with it prints.
std::vector<planning::PlanLever> levers(const std::vector<Candidate> &candidates, const PlanSearch &search,
                                        const PlanSearch::Point &chosen) {
  std::vector<planning::PlanLever> result;
  const Candidate &now = candidates[chosen.builder];
  for (const PlanSearch::Point &point : search.unconstrained()) {
    const Candidate &c = candidates[point.builder];
    bool smaller = c.split.microBatch < now.split.microBatch && !c.withoutLibrary;
    bool portable = c.split.microBatch == now.split.microBatch && c.withoutLibrary && !now.withoutLibrary;
    if ((smaller || portable) && point.need < chosen.need)
      result.push_back({portable ? "--libraries=none" : "--micro-batch=" + std::to_string(c.split.microBatch),
                        chosen.need - point.need, point.ms - chosen.ms});
  }
  return result;
}

/// What other options would do about a plan that does not fit: those that were left alone because they change what is
/// trained. Each is planned, and named with what it needs less than `smallest`.
std::vector<planning::PlanLever> leversBeyond(MLIRContext &context, const OnnxModel &model,
                                              const CompileRequest &request, const DeviceProfile &profile,
                                              HostLibrary *library, BatchSplit last,
                                              const PlanSearch::Point &smallest) {
  std::vector<planning::PlanLever> result;
  auto fits = [&](const std::string &name, const CompileRequest &other, BatchSplit split) -> std::optional<bool> {
    Diagnostics unheard;
    PhaseLog unseen; // its time is that of the plan phase, which asks
    auto candidate = makeCandidate(context, model, other, profile, library, split, unseen, unheard);
    if (!candidate)
      return std::nullopt;
    auto reserveOf = [&](size_t, const PlannedStep &step) {
      return reserveParts(other, profile, step, candidate->builder->libraryCalls());
    };
    PlanSearch search(reserveOf);
    search.add(*candidate->builder);
    search.prepare();
    PlanSearch::Point *within = search.fastestWithin(*request.budgetBytes);
    const PlanSearch::Point &best = within ? *within : search.smallest();
    if (best.need < smallest.need)
      result.push_back({name, smallest.need - best.need, best.ms - smallest.ms});
    return within != nullptr;
  };
  for (int64_t micro = last.microBatch; micro > 1;) {
    micro = (micro + 1) / 2;
    auto enough = fits("--micro-batch=" + std::to_string(micro), request, {micro, (request.batch + micro - 1) / micro});
    if (!enough || *enough)
      break;
  }
  if (request.training.optimizer != OptimizerKind::Sgd) {
    CompileRequest plain = request;
    plain.training.optimizer = OptimizerKind::Sgd;
    fits("--optimizer=sgd", plain, last);
  }
  return result;
}

/// What low precision would bring where fp32 was asked for: the same micro-batch planned once more, for the report
/// only. Of a plan that fits, without recomputation; else down to its floor.
std::optional<planning::PlanLever> precisionLever(MLIRContext &context, const OnnxModel &model, CompileRequest request,
                                                  const DeviceProfile &profile, HostLibrary *library, BatchSplit split,
                                                  const planning::Plan &plan, const PlanSearch::Point &shown) {
  if (request.precision != Precision::Fp32)
    return std::nullopt;
  request.precision = preferredPrecision(request.archs);
  if (plan.fits)
    request.remat = PlanBuilderOptions::Remat::Off;
  PhaseLog untimed;
  Diagnostics unreported;
  auto candidate = makeCandidate(context, model, request, profile, library, split, untimed, unreported);
  if (!candidate)
    return std::nullopt;
  auto reserveOf = [&](size_t, const PlannedStep &step) {
    return reserveParts(request, profile, step, candidate->builder->libraryCalls());
  };
  PlanSearch search(reserveOf);
  search.add(*candidate->builder);
  if (!plan.fits)
    search.prepare();
  const PlanSearch::Point &point = plan.fits ? search.unconstrained().front() : search.smallest();
  if (point.need >= shown.need)
    return std::nullopt;
  return planning::PlanLever{"--precision=" + toString(request.precision).str(), shown.need - point.need,
                             point.ms - shown.ms};
}

} // namespace

Precision preferredPrecision(llvm::ArrayRef<std::string> archs) {
  for (const std::string &arch : archs)
    if (auto sm = parseSm(arch); !sm || *sm < 80) {
      llvm::consumeError(sm.takeError());
      return Precision::Fp16;
    }
  return Precision::Bf16;
}

std::unique_ptr<CompiledPlan> compilePlan(MLIRContext &context, const OnnxModel &model, const CompileRequest &request,
                                          Diagnostics &diagnostics, PhaseLog *log) {
  PhaseLog unwanted;
  if (!log)
    log = &unwanted;
  auto profile = profileFor(request);
  if (!profile) {
    diagnostics.input("no device profile for --arch=" + request.arch +
                      ": use sm_75, sm_80, sm_86, sm_89, sm_90, sm_100 or sm_120");
    return nullptr;
  }
  bool batchNorm = request.training.bnTrain && usesOp(model, "BatchNormalization");
  auto splits = batchSplits(request, batchNorm);
  if (!splits) {
    diagnostics.input(llvm::toString(splits.takeError()));
    return nullptr;
  }
  std::unique_ptr<HostLibrary> library;
  std::string libraryNote;
  if (request.libraries && request.target == planning::PlanTarget::Host) {
    std::string problem;
    library = HostLibrary::open(request.threads, request.arch, *request.libraries, problem);
    if (!library)
      libraryNote = "oneDNN is not used: " + problem + " (package libdnnl2); all kernels are portable ones, slower";
  }
  std::vector<Candidate> candidates;
  for (BatchSplit split : *splits) {
    // A smaller micro-batch that fails where the larger one worked (a shape that fixes the batch) is no candidate.
    Diagnostics own;
    PhaseLog phases(log->keepsIr());
    auto candidate = makeCandidate(context, model, request, *profile, library.get(), split, phases,
                                   candidates.empty() ? diagnostics : own);
    if (!candidate) {
      phases.stop();
      log->merge(phases, candidates.empty());
      if (candidates.empty())
        return nullptr;
      continue;
    }
    candidates.push_back(std::move(*candidate));
    // Where a library takes a share of the memory that matters, its absence is a way to need less.
    const PlanBuilder &builder = *candidates.back().builder;
    int64_t calls = builder.libraryCalls();
    if (!request.pinnedNumerics && calls && request.libraries == HostLibrary::Use::Faster &&
        static_cast<int64_t>(rt::libraryReserve(calls, request.threads)) > builder.boundBytes() / 20) {
      PhaseLog again(log->keepsIr());
      if (auto portable = makeCandidate(context, model, request, *profile, nullptr, split, again, own)) {
        portable->withoutLibrary = true;
        candidates.push_back(std::move(*portable));
      }
    }
  }

  log->start("plan");
  auto reserveOf = [&](size_t index, const PlannedStep &step) {
    return reserveParts(request, *profile, step, candidates[index].builder->libraryCalls());
  };
  PlanSearch search(reserveOf);
  int64_t bound = INT64_MAX;
  for (Candidate &c : candidates) {
    search.add(*c.builder);
    const PlanSearch::Point &plain = search.unconstrained().back();
    bound = std::min(bound, c.builder->boundBytes() + plain.need - plain.arena);
  }
  search.prepare();
  auto result = std::make_unique<CompiledPlan>();
  // Read off before the budget is looked at, so that it is the same whatever the budget.
  for (const PlanSearch::Point &point : search.points())
    if (auto &points = result->plan.points; points.empty() || point.need < points.back().budgetBytes)
      points.push_back({point.need, point.arena, point.ms, candidates[point.builder].split.microBatch,
                        candidates[point.builder].numerics});
  PlanSearch::Point *chosen = request.budgetBytes ? search.fastestWithin(*request.budgetBytes) : &search.fastest();
  PlanSearch::Point &shown = chosen ? *chosen : search.smallest();
  Candidate &candidate = candidates[shown.builder];
  result->remat = candidate.builder->rematProblem();
  std::vector<planning::FrontierPoint> points = std::move(result->plan.points);
  result->plan = shown.step.plan;
  result->plan.points = std::move(points);
  result->plan.fits = chosen != nullptr;
  result->reserve = shown.reserve;
  result->plan.reserveBytes = shown.need - shown.arena;
  result->plan.budgetBytes = request.budgetBytes.value_or(shown.need);
  result->plan.numerics = candidate.numerics;
  result->plan.model = model.getPath();
  result->plan.unconstrainedStepMs = search.fastest().step.plan.predictedStepMs;
  result->plan.floorBytes = search.smallest().need;
  result->plan.boundBytes = bound;
  result->plan.levers = chosen ? levers(candidates, search, shown)
                               : leversBeyond(context, model, request, *profile,
                                              candidate.builder->libraryCalls() ? library.get() : nullptr,
                                              candidates.back().split, shown);
  result->notes = candidate.notes;
  for (Candidate &c : candidates)
    log->merge(c.log, &c == (chosen ? &candidate : &candidates.front()));
  if (chosen) {
    result->constants = candidate.builder->constants();
    result->module = std::move(candidate.module);
    result->weights = std::move(candidate.weights);
    for (PlannedTensor &tensor : shown.step.residents)
      tensor.initializer |= result->weights.find(tensor.name) != nullptr;
    // From here on the IR is the plan: code, tables, JSON and validator see what is read back from it.
    plan::ArenaOp arena = writePlan(*result->module, shown.step);
    if (!collectProblems(context, diagnostics, ProblemKind::Internal,
                         [&] { return succeeded(log->finish(*result->module)); }))
      return nullptr;
    log->start("plan");
    readPlan(arena, result->plan);
    result->image = readImage(arena);
    result->image.hash = model.hash();
    int64_t calls = llvm::count_if(result->image.programs[0].steps,
                                   [](const ImageStep &step) { return step.library != GMC_LIBRARY_NONE; });
    if (calls)
      libraryNote = library->name() + " computes " + std::to_string(calls) + " of " +
                    std::to_string(result->image.programs[0].steps.size()) + " steps";
    if (!libraryNote.empty())
      result->notes.notes.push_back(libraryNote);
  }
  const planning::Plan &plan = result->plan;
  if (request.explain || !plan.fits)
    if (auto lever = precisionLever(context, model, request, *profile, library.get(),
                                    {plan.microBatch, plan.accumulation}, plan, shown))
      result->plan.levers.insert(result->plan.levers.begin(), *lever);
  result->plan.precision = toString(request.precision).str();
  if (!request.precisionNote.empty())
    result->notes.notes.push_back(request.precisionNote);
  if (result->plan.fits)
    for (const auto &violation : planning::validatePlan(result->plan)) {
      diagnostics.add({ProblemKind::Internal, "the plan is wrong: " + violation.message});
      if (diagnostics.getProblems().size() > 10)
        break;
    }
  log->stop();
  return diagnostics.hasErrors() ? nullptr : std::move(result);
}

} // namespace gmc
