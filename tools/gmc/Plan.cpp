//===- Plan.cpp - gmc plan ------------------------------------------------------------------------------===//

#include "compiler/Planning/AtomicFile.h"
#include "compiler/Planning/PlanJson.h"
#include "compiler/Planning/RematJson.h"
#include "mlir/IR/MLIRContext.h"
#include "tools/gmc/PrintPlan.h"
#include "tools/gmc/TrainOptions.h"

namespace gmc {

namespace {
struct PlanCommand {
  TrainOptions train;
  std::string json, dumpRemat;
  bool frontier = false;
  int64_t samples = 0, epochs = 0;
};
} // namespace

/// What the planner solved for the plan's micro-batch, for gmc remat. Storage taken over in place is left out: in the
/// file's terms a value and the one it replaces are live together.
static bool dumpRemat(const std::string &path, planning::RematProblem problem) {
  for (planning::RematNode &node : problem.nodes)
    node.inplaceOf = -1;
  std::string error;
  if (planning::writeFileAtomically(path, planning::rematToJson(problem), error))
    return true;
  llvm::errs() << "gmc: error: --dump-remat: " << error << "\n";
  return false;
}

static int runPlan(const PlanCommand &command) {
  if (command.epochs && !command.samples)
    return usageError("--epochs needs --samples=N, the samples of an epoch");
  auto model = loadModel(command.train.model.model);
  if (!model)
    return ExitUsage;
  planning::PlanTarget target = planning::PlanTarget::Cuda;
  if (!command.train.target.empty() && !planning::fromString(command.train.target, target))
    return usageError("--target=" + command.train.target);
  auto request = toRequest(command.train, *model, target);
  if (!request)
    return usageError(request.takeError());
  request->import.needWeights = false;
  request->explain = true;
  mlir::DialectRegistry registry;
  registerImportDialects(registry);
  mlir::MLIRContext context(registry, mlir::MLIRContext::Threading::DISABLED);
  Diagnostics diagnostics;
  auto compiled = compilePlan(context, *model, *request, diagnostics);
  diagnostics.print(llvm::errs(), command.train.model.model);
  if (!compiled)
    return diagnostics.exitCode() == ExitInternal ? internalError("planning " + command.train.model.model + " failed")
                                                  : diagnostics.exitCode();
  compiled->plan.samples = command.samples;
  compiled->plan.epochs = command.epochs ? command.epochs : 1;
  if (!command.json.empty())
    if (auto error = writeFileAtomically(command.json, [&](llvm::raw_ostream &os) {
          os << planning::planToJson(compiled->plan, command.frontier);
          return llvm::Error::success();
        }))
      return usageError(std::move(error));
  if (!command.dumpRemat.empty() && !dumpRemat(command.dumpRemat, compiled->remat))
    return ExitUsage;
  if (compiled->plan.fits)
    printPlan(command.json == "-" ? llvm::errs() : llvm::outs(), *compiled, *request);
  else
    printNoFit(llvm::errs(), *compiled, *request);
  if (command.frontier && compiled->plan.fits)
    printFrontier(command.json == "-" ? llvm::errs() : llvm::outs(), compiled->plan);
  return compiled->plan.fits ? ExitOk : ExitDoesNotFit;
}

void registerPlan(CLI::App &app, int &exitCode) {
  auto command = std::make_shared<PlanCommand>();
  CLI::App *sub = app.add_subcommand("plan", "Does it fit, at which cost, what is at the peak, what would help");
  addTrainOptions(*sub, command->train);
  sub->add_option("--json", command->json, "write the plan here; - is stdout");
  sub->add_flag("--frontier", command->frontier, "every trade between memory and time");
  sub->add_option("--dump-remat", command->dumpRemat, "write the rematerialization problem here, for gmc remat");
  sub->add_option("--samples", command->samples, "samples of an epoch: predicts how long training takes")
      ->check(CLI::PositiveNumber);
  sub->add_option("--epochs", command->epochs, "epochs of that training; default 1")->check(CLI::PositiveNumber);
  addUnavailableOptions(*sub, {"--html"});
  sub->callback([command, &exitCode] { exitCode = runPlan(*command); });
}

} // namespace gmc
