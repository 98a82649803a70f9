//===- Compile.cpp - gmc compile ------------------------------------------------------------------------===//

#include "compiler/Codegen/CudaTools.h"
#include "compiler/Codegen/LinkTrainer.h"
#include "compiler/Planning/PlanJson.h"
#include "mlir/IR/MLIRContext.h"
#include "tools/gmc/PrintPlan.h"
#include "tools/gmc/TrainOptions.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/FormatVariadic.h"
#include "llvm/Support/Path.h"

namespace gmc {

namespace {
struct CompileOptions {
  TrainOptions train;
  std::string output, phase, dumps, emit = "exe";
  bool timing = false;
};
} // namespace

/// The file of --dump-phases-to for phase `i`. The numbers are those of the phases: one that did not run leaves a gap.
static std::string dumpPath(const std::string &folder, size_t i) {
  return llvm::formatv("{0}/{1,0+2}-{2}.mlir", folder, i + 1, phaseNames()[i]);
}

/// Makes the folder of --dump-phases-to; what an earlier compilation wrote there is not taken for this one's.
static llvm::Error prepareDumps(const std::string &folder) {
  std::error_code code = llvm::sys::fs::create_directory(folder);
  if (!code && !llvm::sys::fs::is_directory(folder))
    code = std::make_error_code(std::errc::not_a_directory);
  if (code)
    return inputError("--dump-phases-to=" + folder + ": cannot make the folder: " + code.message());
  for (size_t i = 0; i < phaseNames().size(); ++i)
    llvm::sys::fs::remove(dumpPath(folder, i));
  return llvm::Error::success();
}

/// Writes every phase that the log has IR of.
static llvm::Error writeDumps(const std::string &folder, const PhaseLog &log) {
  for (auto [i, phase] : llvm::enumerate(phaseNames()))
    for (const PhaseLog::Record &record : log.records())
      if (record.phase == phase && !record.ir.empty())
        if (auto error = writeFileAtomically(dumpPath(folder, i), [&](llvm::raw_ostream &os) {
              os << record.ir;
              return llvm::Error::success();
            }))
          return error;
  return llvm::Error::success();
}

static void printTiming(llvm::raw_ostream &os, const PhaseLog &log) {
  double total = 0;
  for (const PhaseLog::Record &record : log.records()) {
    os << llvm::formatv("{0,-10} {1,8:f3} s\n", record.phase, record.seconds);
    total += record.seconds;
  }
  os << llvm::formatv("{0,-10} {1,8:f3} s\n", "total", total);
}

/// Code or JSON of a plan that fits, as --emit says.
static llvm::Error emit(const CompileOptions &options, CompiledPlan &compiled, const CompileRequest &request,
                        const std::string &kit, const std::string &output, PhaseLog &log) {
  if (options.emit == "exe")
    return writeTrainer(compiled, request, kit, output, log);
  std::string text;
  if (options.emit == "plan") {
    text = planning::planToJson(compiled.plan, true);
  } else {
    auto code = emitTrainerCode(compiled, request, options.emit, log);
    if (!code)
      return code.takeError();
    text = (*code)->getBuffer().str();
  }
  return writeFileAtomically(output, [&](llvm::raw_ostream &os) {
    os << text;
    return llvm::Error::success();
  });
}

/// --compile-to: the IR after the phase, to -o or stdout. Needs no weights, and a budget only to choose among plans.
static int stopAt(const CompileOptions &options, const OnnxModel &model, CompileRequest &request,
                  mlir::MLIRContext &context, PhaseLog &log) {
  Diagnostics diagnostics;
  request.import.needWeights = false;
  std::unique_ptr<CompiledPlan> compiled;
  bool onTensors = options.phase != "plan" && options.phase != "lower", done;
  if (onTensors) {
    auto splits = batchSplits(request, false);
    if (!splits)
      return usageError(splits.takeError());
    done = runTensorPhases(context, model, request, splits->front(), options.phase, log, diagnostics).has_value();
  } else {
    compiled = compilePlan(context, model, request, diagnostics, &log);
    done = compiled != nullptr;
  }
  diagnostics.print(llvm::errs(), options.train.model.model);
  if (!done)
    return diagnostics.exitCode();
  if (compiled && !compiled->plan.fits) {
    printNoFit(llvm::errs(), *compiled, request);
    return ExitDoesNotFit;
  }
  if (options.phase == "lower")
    if (auto code = emitTrainerCode(*compiled, request, "obj", log); !code)
      return usageError(code.takeError());
  log.stop();
  llvm::Error error = writeFileAtomically(options.output.empty() ? "-" : options.output, [&](llvm::raw_ostream &os) {
    for (const PhaseLog::Record &record : log.records())
      if (record.phase == options.phase)
        os << record.ir;
    return llvm::Error::success();
  });
  return error ? usageError(std::move(error)) : ExitOk;
}

static int compileTrainer(const CompileOptions &options, const OnnxModel &model, const CompileRequest &request,
                          mlir::MLIRContext &context, PhaseLog &log) {
  if (!request.budgetBytes)
    return usageError("--vram is required: the budget of the trainer, such as --vram=4GB");
  std::string output = options.output.empty()
                           ? (llvm::sys::path::stem(options.train.model.model) + "-trainer").str()
                           : options.output;
  llvm::StringRef folder = llvm::sys::path::parent_path(output);
  if (!folder.empty() && !llvm::sys::fs::is_directory(folder))
    return usageError("the folder of -o " + output + " does not exist");
  if (llvm::sys::fs::is_directory(output))
    return usageError("cannot write -o " + output + ": it is a folder");
  if (!llvm::sys::fs::can_write(folder.empty() ? "." : folder))
    return usageError("cannot write into the folder of -o " + output);
  auto kit = findLinkKit(llvm::sys::fs::getMainExecutable(nullptr, reinterpret_cast<void *>(&registerCompile)));
  if (!kit)
    return usageError(kit.takeError());
  Diagnostics diagnostics;
  auto compiled = compilePlan(context, model, request, diagnostics, &log);
  diagnostics.print(llvm::errs(), options.train.model.model);
  if (!compiled)
    return diagnostics.exitCode();
  if (!compiled->plan.fits) {
    printNoFit(llvm::errs(), *compiled, request);
    return ExitDoesNotFit;
  }
  if (llvm::Error error = emit(options, *compiled, request, *kit, output, log))
    return usageError(std::move(error));
  log.stop();
  printPlan(llvm::outs(), *compiled, request);
  llvm::outs() << "wrote " << output << (options.emit == "exe" ? " and " + output + ".safetensors" : std::string())
               << "\n";
  return ExitOk;
}

static int runCompile(const CompileOptions &options) {
  if (!options.phase.empty() && !llvm::is_contained(phaseNames(), options.phase))
    return usageError("--compile-to=" + options.phase + ": this build has no such phase; it has " +
                      llvm::join(phaseNames(), ", "));
  auto model = loadModel(options.train.model.model);
  if (!model)
    return ExitUsage;
  const std::string &typed = options.train.target;
  planning::PlanTarget target = planning::PlanTarget::Cuda;
  if (!typed.empty() && !planning::fromString(typed, target))
    return usageError("--target=" + typed);
  if (typed.empty() && !findCudaTools().any()) {
    target = planning::PlanTarget::Host;
    llvm::errs()
        << "gmc: note: no CUDA toolkit is found (CUDA_HOME, CUDA_PATH, /usr/local/cuda, ptxas on PATH); compiling for the "
           "host. --target=cuda insists\n";
  }
  if (options.emit == "ptx" && target != planning::PlanTarget::Cuda)
    return usageError("--emit=ptx is for --target=cuda");
  auto request = toRequest(options.train, *model, target);
  if (!request)
    return usageError(request.takeError());
  if (!options.dumps.empty())
    if (llvm::Error error = prepareDumps(options.dumps))
      return usageError(std::move(error));
  mlir::DialectRegistry registry;
  registerImportDialects(registry);
  mlir::MLIRContext context(registry, mlir::MLIRContext::Threading::DISABLED);
  bool early = !options.phase.empty() && options.phase != "link";
  PhaseLog log(early || !options.dumps.empty());
  int code =
      early ? stopAt(options, *model, *request, context, log) : compileTrainer(options, *model, *request, context, log);
  log.stop();
  if (!options.dumps.empty()) // also of a compilation that failed: up to where it came
    if (llvm::Error error = writeDumps(options.dumps, log))
      return usageError(std::move(error));
  if (code == ExitInternal)
    return internalError("compiling " + options.train.model.model + " failed");
  if (options.timing && code == ExitOk)
    printTiming(early && (options.output.empty() || options.output == "-") ? llvm::errs() : llvm::outs(), log);
  return code;
}

void registerCompile(CLI::App &app, int &exitCode) {
  auto options = std::make_shared<CompileOptions>();
  CLI::App *command = app.add_subcommand("compile", "Compile a model into a trainer that stays within a memory budget");
  addTrainOptions(*command, options->train);
  command->add_option("-o", options->output, "the trainer; its weights go to OUT.safetensors");
  command
      ->add_option("--emit", options->emit, "exe, plan, llvm, ptx (a module for each --arch, one after another) or obj")
      ->check(CLI::IsMember({"exe", "plan", "llvm", "ptx", "obj"}));
  command
      ->add_option("--compile-to", options->phase,
                   "stop after this phase and write its IR: " + llvm::join(phaseNames(), ", "))
      ->multi_option_policy(CLI::MultiOptionPolicy::TakeLast);
  command->add_option("--dump-phases-to", options->dumps, "a folder: the IR after each phase as NN-PHASE.mlir")
      ->multi_option_policy(CLI::MultiOptionPolicy::TakeLast);
  command->add_flag("--timing", options->timing, "print the seconds of each phase");
  command->callback([options, &exitCode] { exitCode = runCompile(*options); });
}

} // namespace gmc
