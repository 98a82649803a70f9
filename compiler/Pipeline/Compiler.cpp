//===- Compiler.cpp - from an ONNX file and a budget to a plan ------------------------------------------===//

#include "compiler/Pipeline/Compiler.h"
#include "compiler/Codegen/ReadPlan.h"
#include "compiler/Pipeline/WritePlan.h"
#include "compiler/Planning/PlanValidator.h"
#include "runtime/data/Loader.h"
#include "runtime/train/Metadata.h"
#include "mlir/IR/Verifier.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/Support/xxhash.h"
#include "onnx/onnx_pb.h"
#include <chrono>

using namespace mlir;

namespace gmc {

llvm::Expected<std::vector<BatchSplit>> batchSplits(const CompileRequest &request, bool batchNormTraining) {
  int64_t batch = request.batch;
  auto ceil = [](int64_t a, int64_t b) { return (a + b - 1) / b; };
  if (request.microBatch && request.accumulation) {
    if (*request.microBatch * *request.accumulation < batch || *request.microBatch * (*request.accumulation - 1) >= batch)
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

/// One micro-batch, imported, differentiated and planned.
struct Candidate {
  BatchSplit split;
  OwningOpRef<ModuleOp> module;
  WeightStore weights;
  TrainingNotes notes;
  std::unique_ptr<PlanBuilder> builder;
  std::vector<PlannedStep> plans;
  std::string numerics;
  std::map<std::string, int64_t> reserve;
  int64_t reserveBytes = 0;
};

std::optional<DeviceProfile> profileFor(const CompileRequest &request) {
  return deviceProfile(request.target == planning::PlanTarget::Host ? StringRef("host") : StringRef(request.arch));
}

/// Host bytes of the process beside the arena, by part; on cuda and sim, device bytes.
std::map<std::string, int64_t> reserveParts(const CompileRequest &request, const DeviceProfile &profile,
                                            const PlannedStep &plan) {
  if (request.target != planning::PlanTarget::Host)
    return {{"context", profile.contextBytes}};
  uint64_t batchBytes = 0, tensors = plan.residents.size();
  for (const PlannedTensor &t : plan.eval.tensors) // evaluation reads what training reads, and maybe more
    if (t.role == "input" || t.role == "label")
      batchBytes += byteSize(t.type);
  uint64_t process = rt::processReserve(request.threads, tensors);
  uint64_t ring = rt::ringBytes(batchBytes, plan.plan.microBatch, request.workersMax, false);
  // Tables and code of the generated object: steps, operands, names.
  uint64_t tables = 256 * (plan.train.launches.size() + plan.eval.launches.size()) + (1 << 20);
  uint64_t shuffle = 8 * request.shuffleBufferMax;
  return {{"process", process}, {"ring", ring}, {"program", tables}, {"shuffle", shuffle}};
}

bool usesOp(const OnnxModel &model, StringRef type) {
  for (const onnx::NodeProto &node : model.graph().node())
    if (node.op_type() == type)
      return true;
  return false;
}

/// Collects what MLIR reports while `body` runs.
template <typename Body>
bool collecting(MLIRContext &context, Diagnostics &diagnostics, Body body, ProblemKind kind = ProblemKind::Unsupported) {
  std::vector<Problem> problems;
  ScopedDiagnosticHandler handler(&context, [&](Diagnostic &d) {
    if (d.getSeverity() == DiagnosticSeverity::Error) {
      Problem problem{kind, d.str()};
      if (kind == ProblemKind::Internal)
        for (Diagnostic &note : d.getNotes())
          if (std::string text = note.str(); !StringRef(text).starts_with("see current operation"))
            problem.reason += "; " + text;
      if (auto name = dyn_cast<NameLoc>(d.getLocation()))
        problem.node = name.getName().str();
      problems.push_back(std::move(problem));
    }
    return success();
  });
  bool ok = body();
  if (ok)
    return true;
  if (problems.empty())
    problems.push_back({ProblemKind::Internal, "a phase failed without saying why"});
  for (Problem &problem : problems)
    diagnostics.add(std::move(problem));
  return false;
}

std::optional<Candidate> makeCandidate(MLIRContext &context, const OnnxModel &model, const CompileRequest &request,
                                       const DeviceProfile &profile, BatchSplit split, Diagnostics &diagnostics) {
  Candidate c;
  c.split = split;
  ImportOptions options = request.import;
  options.batch = split.microBatch;
  ImportedModel imported = importModel(context, model, options, diagnostics);
  if (!imported.module)
    return std::nullopt;
  bool trains = llvm::any_of(imported.initializers, [](const InitializerInfo &i) { return i.role == Role::Parameter; });
  if (!trains && !(options.train.empty() && options.freeze.empty())) {
    diagnostics.input("--train and --freeze leave nothing to train: `gmc info` lists the initializers that can be");
    return std::nullopt;
  }
  c.module = std::move(imported.module);
  c.weights = std::move(imported.weights);
  bool built = collecting(context, diagnostics, [&] {
    auto forward = c.module->lookupSymbol<func::FuncOp>("forward");
    auto micro = buildMicro(forward, request.training, c.notes);
    if (failed(micro) || failed(buildUpdate(*micro, request.training)) ||
        failed(buildEval(forward, request.training)) || failed(verify(*c.module)))
      return false;
    PlanBuilderOptions builderOptions;
    builderOptions.target = request.target;
    builderOptions.profile = profile;
    builderOptions.batch = request.batch;
    builderOptions.microBatch = split.microBatch;
    builderOptions.accumulation = split.accumulation;
    builderOptions.effort = request.effort;
    builderOptions.remat = request.remat;
    auto builder = PlanBuilder::create(*c.module, builderOptions);
    if (failed(builder))
      return false;
    c.builder = std::move(*builder);
    return true;
  });
  if (!built)
    return std::nullopt;
  c.plans = c.builder->candidates();
  std::string signature = c.builder->kernelSignature() + "|" + std::to_string(split.microBatch) + "x" +
                          std::to_string(split.accumulation) + "|fp32|" + request.arch + "|" +
                          std::to_string(request.target == planning::PlanTarget::Host ? request.threads : 0);
  auto hash = llvm::xxh3_128bits(llvm::ArrayRef(reinterpret_cast<const uint8_t *>(signature.data()), signature.size()));
  c.numerics = llvm::utohexstr(hash.high64, true, 16) + llvm::utohexstr(hash.low64, true, 16);
  c.reserve = reserveParts(request, profile, c.plans.front());
  for (auto &[_, bytes] : c.reserve)
    c.reserveBytes += bytes;
  if (request.reserveBytes) {
    c.reserve = {{"given", *request.reserveBytes}};
    c.reserveBytes = *request.reserveBytes;
  }
  return c;
}

/// What other options would bring, read off the plans that exist.
std::vector<planning::PlanLever> levers(const std::vector<Candidate> &candidates, int64_t arena, int64_t reserve,
                                        double stepMs, int64_t microBatch) {
  std::vector<planning::PlanLever> result;
  for (const Candidate &c : candidates) {
    if (c.split.microBatch >= microBatch)
      continue;
    const planning::Plan &plan = c.plans.front().plan;
    int64_t saved = arena + reserve - plan.arenaBytes - c.reserveBytes;
    if (saved > 0)
      result.push_back({"--micro-batch=" + std::to_string(c.split.microBatch), saved, plan.predictedStepMs - stepMs});
  }
  return result;
}

} // namespace

std::unique_ptr<CompiledPlan> compilePlan(MLIRContext &context, const OnnxModel &model, const CompileRequest &request,
                                          Diagnostics &diagnostics) {
  auto start = std::chrono::steady_clock::now();
  auto profile = profileFor(request);
  if (!profile) {
    diagnostics.input("no device profile for --arch=" + request.arch + ": use sm_75, sm_80, sm_86, sm_89, sm_90, sm_100 or sm_120");
    return nullptr;
  }
  bool batchNorm = request.training.bnTrain && usesOp(model, "BatchNormalization");
  auto splits = batchSplits(request, batchNorm);
  if (!splits) {
    diagnostics.input(llvm::toString(splits.takeError()));
    return nullptr;
  }
  std::vector<Candidate> candidates;
  for (BatchSplit split : *splits) {
    // A smaller micro-batch that fails where the larger one worked (a shape that fixes the batch) is no candidate.
    Diagnostics own;
    auto candidate = makeCandidate(context, model, request, *profile, split, candidates.empty() ? diagnostics : own);
    if (!candidate) {
      if (candidates.empty())
        return nullptr;
      continue;
    }
    candidates.push_back(std::move(*candidate));
  }

  auto result = std::make_unique<CompiledPlan>();
  int64_t floor = INT64_MAX, bound = INT64_MAX;
  double fastest = std::numeric_limits<double>::infinity();
  Candidate *best = nullptr;
  PlannedStep *bestPlan = nullptr;
  PlannedStep *smallest = nullptr;
  std::vector<planning::FrontierPoint> points;
  for (Candidate &c : candidates) {
    bound = std::min(bound, c.builder->boundBytes() + c.reserveBytes);
    for (PlannedStep &p : c.plans) {
      int64_t need = p.plan.arenaBytes + c.reserveBytes;
      if (need < floor) {
        floor = need;
        smallest = &p;
      }
      fastest = std::min(fastest, p.plan.predictedStepMs);
      points.push_back({need, p.plan.arenaBytes, p.plan.predictedStepMs, c.split.microBatch, c.numerics});
      bool fits = !request.budgetBytes || need <= *request.budgetBytes;
      if (!fits)
        continue;
      auto better = [&](const planning::Plan &a, const planning::Plan &b) {
        return a.predictedStepMs < b.predictedStepMs ||
               (a.predictedStepMs == b.predictedStepMs && a.arenaBytes < b.arenaBytes);
      };
      if (!bestPlan || better(p.plan, bestPlan->plan)) {
        best = &c;
        bestPlan = &p;
      }
    }
  }
  // The frontier: a point with more memory and no less time than another is none.
  llvm::sort(points, [](auto &a, auto &b) {
    return std::tie(a.budgetBytes, a.stepMs) < std::tie(b.budgetBytes, b.stepMs);
  });
  std::vector<planning::FrontierPoint> frontier;
  for (auto &point : points)
    if (frontier.empty() || point.stepMs < frontier.back().stepMs)
      frontier.push_back(point);
  std::reverse(frontier.begin(), frontier.end());

  if (!best) {
    result->plan = smallest->plan;
    result->plan.fits = false;
    result->plan.budgetBytes = *request.budgetBytes;
    for (Candidate &c : candidates)
      for (PlannedStep &p : c.plans)
        if (&p == smallest)
          result->plan.reserveBytes = c.reserveBytes;
  } else {
    result->module = std::move(best->module);
    result->weights = std::move(best->weights);
    for (PlannedTensor &tensor : bestPlan->residents)
      tensor.initializer |= result->weights.find(tensor.name) != nullptr;
    // From here on the IR is the plan: code, tables, JSON and validator see what is read back from it.
    plan::ArenaOp arena;
    if (!collecting(context, diagnostics, [&] {
          arena = writePlan(*result->module, *bestPlan);
          return succeeded(verify(*result->module));
        }, ProblemKind::Internal))
      return nullptr;
    result->plan = bestPlan->plan;
    readPlan(arena, result->plan);
    result->image = readImage(arena);
    result->image.hash = model.hash();
    result->notes = best->notes;
    result->constants = best->builder->constants();
    result->reserve = best->reserve;
    result->plan.reserveBytes = best->reserveBytes;
    result->plan.numerics = best->numerics;
    result->plan.budgetBytes =
        request.budgetBytes ? *request.budgetBytes : result->plan.arenaBytes + best->reserveBytes;
    result->plan.levers = levers(candidates, result->plan.arenaBytes, best->reserveBytes, result->plan.predictedStepMs,
                                 best->split.microBatch);
  }
  result->plan.model = model.getPath();
  result->plan.unconstrainedStepMs = fastest;
  result->plan.floorBytes = floor;
  result->plan.boundBytes = bound;
  result->plan.points = frontier;
  if (result->plan.fits)
    for (const auto &violation : planning::validatePlan(result->plan)) {
      diagnostics.add({ProblemKind::Internal, "the plan is wrong: " + violation.message});
      if (diagnostics.getProblems().size() > 10)
        break;
    }
  result->planSeconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  return diagnostics.hasErrors() ? nullptr : std::move(result);
}

} // namespace gmc
