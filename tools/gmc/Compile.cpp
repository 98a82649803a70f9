//===- Compile.cpp - gmc compile ------------------------------------------------------------------------===//

#include "compiler/Codegen/CudaTools.h"
#include "compiler/Codegen/LinkTrainer.h"
#include "compiler/Planning/PlanJson.h"
#include "mlir/IR/AsmState.h"
#include "mlir/IR/MLIRContext.h"
#include "tools/gmc/PrintPlan.h"
#include "tools/gmc/TrainOptions.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/Path.h"

namespace gmc {

namespace {
struct CompileOptions {
  TrainOptions train;
  std::string output, phase, emit = "exe";
  bool timing = false;
};
} // namespace

static llvm::Error printModule(llvm::StringRef output, mlir::ModuleOp module) {
  return writeFileAtomically(output, [&](llvm::raw_ostream &os) {
    mlir::OpPrintingFlags flags;
    flags.elideLargeElementsAttrs(64);
    module->print(os, flags);
    return llvm::Error::success();
  });
}

/// --compile-to=import and train: the IR after the phase. It holds no weights.
static int stopEarly(const CompileOptions &options, const OnnxModel &model, CompileRequest &request,
                     mlir::MLIRContext &context) {
  Diagnostics diagnostics;
  request.import.needWeights = false;
  request.import.batch = request.microBatch.value_or(request.batch);
  ImportedModel imported = importModel(context, model, request.import, diagnostics);
  diagnostics.print(llvm::errs(), options.train.model.model);
  if (!imported.module)
    return diagnostics.exitCode() == ExitInternal ? internalError("import of " + options.train.model.model + " failed")
                                                  : diagnostics.exitCode();
  if (options.phase == "train") {
    auto forward = imported.module->lookupSymbol<mlir::func::FuncOp>("forward");
    TrainingNotes notes;
    auto micro = buildMicro(forward, request.training, notes);
    if (failed(micro) || failed(buildUpdate(*micro, request.training)) || failed(buildEval(forward, request.training)))
      return ExitUnsupported;
  }
  llvm::Error error = printModule(options.output.empty() ? "-" : options.output, *imported.module);
  return error ? usageError(std::move(error)) : ExitOk;
}

static int runCompile(const CompileOptions &options) {
  auto model = loadModel(options.train.model.model);
  if (!model)
    return ExitUsage;
  const std::string &typed = options.train.target;
  planning::PlanTarget target = planning::PlanTarget::Cuda;
  if (!typed.empty() && !planning::fromString(typed, target))
    return usageError("--target=" + typed);
  if (typed.empty() && !findCudaTools().any()) {
    target = planning::PlanTarget::Host;
    llvm::errs() << "gmc: note: no CUDA toolkit is found (CUDA_HOME, CUDA_PATH, /usr/local/cuda, ptxas on PATH); compiling for the "
                    "host. --target=cuda insists\n";
  }
  if (options.emit == "ptx" && target != planning::PlanTarget::Cuda)
    return usageError("--emit=ptx is for --target=cuda");
  auto request = toRequest(options.train, *model, target);
  if (!request)
    return usageError(request.takeError());
  mlir::DialectRegistry registry;
  registerImportDialects(registry);
  mlir::MLIRContext context(registry, mlir::MLIRContext::Threading::DISABLED);
  if (!options.phase.empty())
    return stopEarly(options, *model, *request, context);
  if (!request->budgetBytes)
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
  auto compiled = compilePlan(context, *model, *request, diagnostics);
  diagnostics.print(llvm::errs(), options.train.model.model);
  if (!compiled)
    return diagnostics.exitCode() == ExitInternal ? internalError("compiling " + options.train.model.model + " failed")
                                                  : diagnostics.exitCode();
  if (!compiled->plan.fits) {
    printNoFit(llvm::errs(), *compiled, *request);
    return ExitDoesNotFit;
  }
  llvm::Error error = llvm::Error::success();
  if (options.emit == "exe") {
    error = writeTrainer(*compiled, *request, *kit, output);
  } else if (options.emit == "plan") {
    error = writeFileAtomically(output, [&](llvm::raw_ostream &os) {
      os << planning::planToJson(compiled->plan, true);
      return llvm::Error::success();
    });
  } else {
    auto object = emitTrainerCode(*compiled, *request, options.emit);
    error = !object ? object.takeError() : writeFileAtomically(output, [&](llvm::raw_ostream &os) {
      os << (*object)->getBuffer();
      return llvm::Error::success();
    });
  }
  if (error)
    return usageError(std::move(error));
  printPlan(llvm::outs(), *compiled, *request);
  llvm::outs() << "wrote " << output << (options.emit == "exe" ? " and " + output + ".safetensors" : std::string()) << "\n";
  if (options.timing)
    llvm::outs() << llvm::format("planned in %.2f s\n", compiled->planSeconds);
  return ExitOk;
}

void registerCompile(CLI::App &app, int &exitCode) {
  auto options = std::make_shared<CompileOptions>();
  CLI::App *command = app.add_subcommand("compile", "Compile a model into a trainer that stays within a memory budget");
  addTrainOptions(*command, options->train);
  command->add_option("-o", options->output, "the trainer; its weights go to OUT.safetensors");
  command->add_option("--emit", options->emit, "exe, plan, llvm, ptx or obj")
      ->check(CLI::IsMember({"exe", "plan", "llvm", "ptx", "obj"}));
  command->add_option("--compile-to", options->phase, "print the IR after this phase: import, train")
      ->check(CLI::IsMember({"import", "train"}));
  command->add_flag("--timing", options->timing, "print how long the phases took");
  addUnavailableOptions(*command, {"--dump-phases-to"});
  command->callback([options, &exitCode] { exitCode = runCompile(*options); });
}

} // namespace gmc
