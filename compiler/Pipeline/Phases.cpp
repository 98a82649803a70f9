//===- Phases.cpp - the named phases of a compilation ---------------------------------------------------===//

#include "compiler/Pipeline/Phases.h"
#include "compiler/Pipeline/Compiler.h"
#include "mlir/IR/Verifier.h"
#include "mlir/Pass/PassManager.h"
#include "passes/Autodiff/LossAttachment.h"
#include "passes/Fusion/FormKernels.h"
#include "passes/Passes.h"
#include "passes/Precision/Precision.h"

using namespace mlir;

namespace gmc {

llvm::ArrayRef<llvm::StringLiteral> phaseNames() {
  static constexpr llvm::StringLiteral names[] = {"import", "train", "precision", "fuse", "plan", "lower", "link"};
  return names;
}

/// What a phase promises to those behind it.
static std::unique_ptr<Pass> verifierOf(StringRef phase) {
  if (phase == "import")
    return createVerifyImportPass();
  if (phase == "train" || phase == "precision") // casts between them change nothing of what the functions promise
    return createVerifyTrainPass();
  if (phase == "fuse")
    return createVerifyFusePass();
  if (phase == "plan")
    return createVerifyPlanPass();
  if (phase == "lower")
    return createVerifyLowerPass();
  return nullptr;
}

//===- PhaseLog -----------------------------------------------------------------------------------------===//

PhaseLog::Record &PhaseLog::record(StringRef phase) {
  for (Record &r : list)
    if (r.phase == phase)
      return r;
  list.push_back({phase.str()});
  return list.back();
}

void PhaseLog::start(StringRef phase) {
  stop();
  running = phase.str();
  since = std::chrono::steady_clock::now();
}

void PhaseLog::stop() {
  if (!running.empty())
    record(running).seconds += std::chrono::duration<double>(std::chrono::steady_clock::now() - since).count();
  running.clear();
}

LogicalResult PhaseLog::finish(ModuleOp module) {
  std::string phase = running;
  stop();
  if (keepIr) {
    std::string &ir = record(phase).ir;
    ir.clear();
    llvm::raw_string_ostream stream(ir);
    printPhase(stream, module);
  }
  std::unique_ptr<Pass> verifier = verifierOf(phase);
  if (!verifier)
    return verify(module);
  PassManager pm(module.getContext()); // verifies the ops themselves, too
  pm.addPass(std::move(verifier));
  return pm.run(module);
}

void PhaseLog::merge(const PhaseLog &other, bool ir) {
  for (const Record &from : other.list) {
    Record &to = record(from.phase);
    to.seconds += from.seconds;
    if (ir)
      to.ir = from.ir;
  }
}

void printPhase(llvm::raw_ostream &os, ModuleOp module) {
  OpPrintingFlags flags;
  flags.elideLargeElementsAttrs(16);
  flags.enableDebugInfo(true, /*prettyForm=*/false).useLocalScope();
  module->print(os, flags);
  os << "\n";
}

bool collectProblems(MLIRContext &context, Diagnostics &diagnostics, ProblemKind kind,
                     llvm::function_ref<bool()> body) {
  std::vector<Problem> problems;
  ScopedDiagnosticHandler handler(&context, [&](Diagnostic &d) {
    if (d.getSeverity() == DiagnosticSeverity::Error) {
      Problem problem{kind, d.str()};
      if (kind == ProblemKind::Internal)
        for (Diagnostic &note : d.getNotes())
          if (std::string text = note.str(); !StringRef(text).starts_with("see current operation"))
            problem.reason += "; " + text;
      if (auto name = dyn_cast<NameLoc>(d.getLocation());
          name && kind != ProblemKind::Input) // what was asked for is no node's
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

//===- The phases ---------------------------------------------------------------------------------------===//

LogicalResult runTrainPhase(ModuleOp module, const TrainingOptions &options, TrainingNotes &notes) {
  auto forward = module.lookupSymbol<func::FuncOp>("forward");
  // The loss first: what is differentiated is @forward with a loss on top.
  auto micro = buildMicro(forward, options, notes);
  // The optimizer reads which gradients @micro returns.
  if (failed(micro) || failed(buildUpdate(*micro, options)))
    return failure();
  // From @forward, not from @micro: evaluation has other normalizations and no gradients.
  return buildEval(forward, options);
}

FailureOr<StepFunctions> runFusePhase(ModuleOp module, int64_t accumulation) {
  // Which functions a step has depends on whether gradients are accumulated; fusion must see the update behind its
  // gradient.
  auto step = buildStepFunctions(module, accumulation);
  if (failed(step))
    return failure();
  // They were copied into the step.
  for (StringRef name : {"forward", "micro", "update"})
    if (auto function = module.lookupSymbol<func::FuncOp>(name))
      function.erase();
  for (func::FuncOp function : {step->begin.function, step->body.function, step->update.function, step->eval.function})
    if (function && failed(formKernels(function, {})))
      return failure();
  return step;
}

std::optional<PhasedModel> runTensorPhases(MLIRContext &context, const OnnxModel &model, const CompileRequest &request,
                                           BatchSplit split, StringRef last, PhaseLog &log, Diagnostics &diagnostics) {
  PhasedModel m;
  // A verifier that finds something has found a defect of gmc, not of the model.
  auto finish = [&] {
    return collectProblems(context, diagnostics, ProblemKind::Internal,
                           [&] { return succeeded(log.finish(*m.module)); });
  };

  log.start("import");
  ImportOptions import = request.import;
  import.batch = split.microBatch;
  ImportedModel imported = importModel(context, model, import, diagnostics);
  if (!imported.module)
    return std::nullopt;
  m.module = std::move(imported.module);
  m.weights = std::move(imported.weights);
  if (!finish())
    return std::nullopt;
  if (last == "import")
    return m;

  log.start("train");
  bool trains = llvm::any_of(imported.initializers, [](const InitializerInfo &i) { return i.role == Role::Parameter; });
  if (!trains && !(import.train.empty() && import.freeze.empty())) {
    diagnostics.input("--train and --freeze leave nothing to train: `gmc info` lists the initializers that can be");
    return std::nullopt;
  }
  // Which loss was asked for first: what it does not fit is no operator without support.
  auto forward = m.module->lookupSymbol<func::FuncOp>("forward");
  if (!collectProblems(context, diagnostics, ProblemKind::Input,
                       [&] { return succeeded(chooseLoss(forward, request.training)); }) ||
      !collectProblems(context, diagnostics, ProblemKind::Unsupported,
                       [&] { return succeeded(runTrainPhase(*m.module, request.training, m.notes)); }) ||
      !finish())
    return std::nullopt;
  if (last == "train")
    return m;

  // Behind autodiff, so that the backward ops are cast as well; before fusion, which absorbs casts.
  log.start("precision");
  if (!collectProblems(context, diagnostics, ProblemKind::Unsupported,
                       [&] { return succeeded(applyPrecision(*m.module, request.precision, split.accumulation)); }) ||
      !finish())
    return std::nullopt;
  if (last == "precision")
    return m;

  log.start("fuse");
  if (!collectProblems(context, diagnostics, ProblemKind::Unsupported,
                       [&] {
                         auto step = runFusePhase(*m.module, split.accumulation);
                         if (succeeded(step))
                           m.step = std::move(*step);
                         return succeeded(step);
                       }) ||
      !finish())
    return std::nullopt;
  return m;
}

} // namespace gmc
