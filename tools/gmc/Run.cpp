//===- Run.cpp - gmc run: forward on the portable path --------------------------------------------------===//

#include "llvm/Support/FileSystem.h"
#include "tools/gmc/Execution.h"
#include <cmath>

namespace gmc {

namespace {
struct RunOptions {
  ExecutionOptions execution;
  std::vector<std::string> expected;
  double rtol = 1e-3, atol = 1e-7; // of the public ONNX backend tests
  std::string folder;
};
} // namespace

/// Compares as |x - want| <= atol + rtol * |want|; equal infinities and NaN against NaN agree. Prints what differs.
static bool agrees(const std::string &name, const HostTensor &got, const HostTensor &want, const RunOptions &options) {
  if (got.dims != want.dims) {
    llvm::errs() << "gmc: output '" << name << "' is " << got.describe() << ", expected is " << want.describe() << "\n";
    return false;
  }
  int64_t wrong = 0, first = -1;
  double worst = 0;
  for (int64_t i = 0, e = got.elements(); i < e; ++i) {
    double x = got.at(i), y = want.at(i);
    if (x == y || (std::isnan(x) && std::isnan(y)))
      continue;
    double difference = std::abs(x - y);
    worst = std::max(worst, difference);
    if (difference <= options.atol + options.rtol * std::abs(y))
      continue;
    ++wrong;
    if (first < 0)
      first = i;
  }
  if (wrong)
    llvm::errs() << "gmc: output '" << name << "': " << wrong << " of " << got.elements() << " elements differ, first "
                 << first << ": " << jsonNumber(got.at(first)) << ", expected " << jsonNumber(want.at(first))
                 << "; largest difference " << jsonNumber(worst) << "\n";
  return wrong == 0;
}

static int runForward(const RunOptions &options) {
  auto tensors = readNamedTensors(options.execution.inputs, "--input");
  if (!tensors)
    return usageError(tensors.takeError());
  auto expected = readNamedTensors(options.expected, "--expect");
  if (!expected)
    return usageError(expected.takeError());
  int exitCode = ExitOk;
  auto model = ExecutableModel::load(options.execution, std::move(*tensors), {}, exitCode);
  if (!model)
    return exitCode;
  std::string unknown;
  auto forward = model->forward();
  for (auto &[name, tensor] : *expected) {
    bool found = false;
    for (unsigned i = 0; i < forward.getNumResults(); ++i)
      found |= resultName(forward, i) == name;
    if (!found)
      unknown += (unknown.empty() ? "" : "\n") + ("the model has no output '" + name + "' to expect");
  }
  if (!unknown.empty())
    return usageError(unknown);
  auto runner = model->compile(forward, exitCode);
  if (!runner)
    return exitCode;
  if (auto error = model->setInputs(*runner))
    return usageError(std::move(error));
  runner->run();

  if (!options.folder.empty())
    if (auto code = llvm::sys::fs::create_directories(options.folder))
      return usageError("cannot create '" + options.folder + "': " + code.message());
  bool good = true;
  for (auto [i, port] : llvm::enumerate(runner->results())) {
    HostTensor output = runner->result(i);
    double sum = 0, largest = 0;
    for (int64_t k = 0, e = output.elements(); k < e; ++k) {
      sum += output.at(k);
      largest = std::max(largest, std::abs(output.at(k)));
    }
    llvm::outs() << port.name << " " << output.describe() << " mean "
                 << jsonNumber(sum / std::max<int64_t>(1, output.elements())) << " largest " << jsonNumber(largest)
                 << "\n";
    if (auto it = expected->find(port.name); it != expected->end())
      good &= agrees(port.name, output, it->second, options);
    if (options.folder.empty())
      continue;
    std::string file = port.name;
    std::replace(file.begin(), file.end(), '/', '_');
    auto error = writeFileAtomically(options.folder + "/" + file + ".npy", [&](llvm::raw_ostream &os) {
      writeNpy(os, output);
      return llvm::Error::success();
    });
    if (error)
      return usageError(std::move(error));
  }
  return good ? ExitOk : ExitCheckFailed;
}

void registerRun(CLI::App &app, int &exitCode) {
  auto options = std::make_shared<RunOptions>();
  CLI::App *command = app.add_subcommand("run", "Run a model forward on the portable path");
  addExecutionOptions(*command, options->execution);
  addFileOption(*command, "--expect", options->expected, "what an output must be, else exit 5; repeatable");
  command->add_option("--rtol", options->rtol, "relative tolerance of --expect (default 1e-3)");
  command->add_option("--atol", options->atol, "absolute tolerance of --expect (default 1e-7)");
  command->add_option("-o", options->folder, "folder for the outputs, one NAME.npy each ('/' in a name becomes '_')");
  command->callback([options, &exitCode] { exitCode = runForward(*options); });
}

} // namespace gmc
