//===- Compile.cpp - gmc compile ------------------------------------------------------------------------===//

#include "mlir/IR/AsmState.h"
#include "mlir/IR/MLIRContext.h"
#include "tools/gmc/Options.h"

namespace gmc {

namespace {
struct CompileOptions {
  ModelOptions model;
  std::string output = "-", phase = "import";
};
} // namespace

static int runCompile(const CompileOptions &options) {
  auto model = loadModel(options.model.model);
  if (!model)
    return ExitUsage;
  auto import = toImportOptions(options.model, *model);
  if (!import)
    return usageError(import.takeError());
  auto batch = effectiveBatch(options.model, *model);
  if (!batch)
    return usageError(batch.takeError());
  import->batch = *batch;
  import->needWeights = false; // the IR holds no weights
  mlir::DialectRegistry registry;
  registerImportDialects(registry);
  mlir::MLIRContext context(registry, mlir::MLIRContext::Threading::DISABLED);
  Diagnostics diagnostics;
  ImportedModel imported = importModel(context, *model, *import, diagnostics);
  diagnostics.print(llvm::errs(), options.model.model);
  if (!imported.module)
    return diagnostics.exitCode() == ExitInternal ? internalError("import of " + options.model.model + " failed")
                                                  : diagnostics.exitCode();
  llvm::Error error = writeFileAtomically(options.output, [&](llvm::raw_ostream &os) {
    mlir::OpPrintingFlags flags;
    flags.elideLargeElementsAttrs(64);
    imported.module->print(os, flags);
    return llvm::Error::success();
  });
  return error ? usageError(std::move(error)) : ExitOk;
}

void registerCompile(CLI::App &app, int &exitCode) {
  auto options = std::make_shared<CompileOptions>();
  CLI::App *command = app.add_subcommand("compile", "Compile a model; this release stops at --compile-to=import");
  addModelOptions(*command, options->model);
  command->add_option("-o", options->output, "output file; - is stdout");
  command->add_option("--compile-to", options->phase, "phase to stop after: import")->required()->check(CLI::IsMember({"import"}));
  command->callback([options, &exitCode] { exitCode = runCompile(*options); });
}

} // namespace gmc
