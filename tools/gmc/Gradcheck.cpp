//===- Gradcheck.cpp - gmc gradcheck: analytic against finite-difference gradients ----------------------===//
//
// In f64, for each parameter p with gradient g: along a random unit direction v, and for single elements (those of the
// largest gradient and random ones), (L(p + h v) - L(p - h v)) / 2h against <g, v>. Central differences are off by
// O(h^2) of a third derivative plus rounding of L / h, which is allowed for. A kink (ReLU, max pooling) between the two
// points makes them disagree at one step size; a comparison fails only when it fails at every one that rounding
// permits.
//
//===-----------------------------------------------------------------------------------------------------===//

#include "compiler/Import/OnnxNode.h"
#include "gmc/Abi.h"
#include "passes/Autodiff/Autodiff.h"
#include "tools/gmc/Execution.h"
#include <cmath>
#include <random>

namespace gmc {

namespace {
struct GradcheckOptions {
  ExecutionOptions execution;
  TrainingOptions training;
  std::string label;
  uint64_t seed = 0;
  int samples = 4;
  double tolerance = 1e-5;
};

struct Comparison {
  double analytic = 0, numeric = 0;
  double error = 0; ///< relative to the larger of both and the scale of the loss
};
} // namespace

/// Random inputs where none are given: floats from N(0, 1), integers 0 or 1, labels among the classes.
static HostTensor randomTensor(const TensorPort &port, int64_t classes, std::mt19937_64 &random) {
  HostTensor wide{GMC_DOUBLE, port.dims, {}};
  bool isFloat = isFloatDataType(port.dataType);
  wide.dataType = isFloat ? GMC_DOUBLE : GMC_INT64;
  wide.data.resize(wide.elements() * 8);
  std::normal_distribution<double> normal;
  for (int64_t i = 0, e = wide.elements(); i < e; ++i) {
    if (isFloat)
      reinterpret_cast<double *>(wide.data.data())[i] = port.role == "label" ? std::abs(std::sin(normal(random)))
                                                                             : normal(random);
    else
      reinterpret_cast<int64_t *>(wide.data.data())[i] =
          random() % static_cast<uint64_t>(port.role == "label" ? std::max<int64_t>(classes, 2) : 2);
  }
  return llvm::cantFail(wide.as(port.dataType));
}

/// @micro without its gradients: what the differences are taken of.
static mlir::func::FuncOp lossOnly(mlir::func::FuncOp micro) {
  mlir::OpBuilder b(micro);
  auto copy = llvm::cast<mlir::func::FuncOp>(b.clone(*micro));
  copy.setName("loss");
  mlir::Operation *ret = copy.getBody().front().getTerminator();
  ret->setOperands(llvm::SmallVector<mlir::Value>(ret->getOperands().take_front(2)));
  copy.setFunctionType(b.getFunctionType(copy.getArgumentTypes(), ret->getOperandTypes()));
  eraseDeadOps(copy.getBody().front());
  return copy;
}

namespace {
class Checker {
public:
  Checker(FunctionRunner &loss, const GradcheckOptions &options) : loss(loss), options(options) {}

  double evaluate() {
    loss.run();
    return loss.result(0).at(0);
  }

  /// Moves argument i by +-h along v (sparse: pairs of element and weight) at falling step sizes until both sides
  /// agree.
  Comparison compare(unsigned i, llvm::ArrayRef<std::pair<int64_t, double>> v, double analytic, double scale) {
    Comparison best;
    best.error = INFINITY;
    double magnitude = 0;
    std::vector<double> saved;
    for (auto [k, weight] : v) {
      saved.push_back(loss.get(i, k));
      magnitude += weight * weight * saved.back() * saved.back();
    }
    for (double relative : {1e-5, 1e-6, 1e-4, 1e-7, 1e-8}) {
      double h = relative * std::max(1.0, std::sqrt(magnitude));
      double at[2];
      for (int side : {0, 1}) {
        for (auto [n, step] : llvm::enumerate(v))
          loss.put(i, step.first, saved[n] + (side ? -h : h) * step.second);
        at[side] = evaluate();
      }
      for (auto [n, step] : llvm::enumerate(v))
        loss.put(i, step.first, saved[n]);
      Comparison now{analytic, (at[0] - at[1]) / (2 * h), 0};
      double floor = 1e-4 * scale + 1e-8 * std::abs(at[0]);
      double size = std::max({std::abs(now.analytic), std::abs(now.numeric), floor, 1e-300});
      double rounding = 2 * std::numeric_limits<double>::epsilon() * std::max(std::abs(at[0]), std::abs(at[1])) / h;
      if (std::isfinite(best.error) && rounding > 1e-2 * std::max(size, std::abs(best.analytic - best.numeric)))
        continue; // the difference would say nothing
      now.error = std::max(0.0, std::abs(now.analytic - now.numeric) - rounding) / size;
      if (!(best.error <= now.error))
        best = now;
      if (best.error <= options.tolerance)
        break;
    }
    return best;
  }

private:
  FunctionRunner &loss;
  const GradcheckOptions &options;
};
} // namespace

static int check(FunctionRunner &micro, FunctionRunner &loss, const GradcheckOptions &options) {
  Checker checker(loss, options);
  micro.run();
  std::mt19937_64 random(options.seed + 1);
  std::normal_distribution<double> normal;
  size_t width = 9;
  for (const TensorPort &port : micro.results())
    if (port.role == "gradient")
      width = std::max(width, port.name.size());
  auto pad = [&](std::string text, size_t n) { return text + std::string(n > text.size() ? n - text.size() : 1, ' '); };
  llvm::outs() << pad("parameter", width + 2) << pad("elements", 12) << pad("norm", 14) << pad("directional", 14)
               << pad("elementwise", 14) << "\n";
  char number[32];
  auto scientific = [&](double x) {
    std::snprintf(number, sizeof(number), "%.3e", x);
    return std::string(number);
  };
  int checked = 0, failed = 0;
  for (auto [r, port] : llvm::enumerate(micro.results())) {
    if (port.role != "gradient")
      continue;
    auto argument = loss.findArgument("parameter", port.name);
    if (!argument)
      argument = loss.findArgument("input", port.name);
    HostTensor gradient = micro.result(r);
    int64_t elements = gradient.elements();
    double norm = 0;
    int64_t largest = 0;
    std::vector<std::pair<int64_t, double>> direction;
    double length = 0, along = 0;
    for (int64_t k = 0; k < elements; ++k) {
      double g = gradient.at(k), v = normal(random);
      norm += g * g;
      along += g * v;
      length += v * v;
      direction.emplace_back(k, v);
      if (std::abs(g) > std::abs(gradient.at(largest)))
        largest = k;
    }
    norm = std::sqrt(norm);
    length = std::sqrt(std::max(length, 1e-300));
    for (auto &[k, v] : direction)
      v /= length;
    Comparison directional = checker.compare(*argument, direction, along / length, norm / std::sqrt(elements + 1.0));
    Comparison worst;
    for (int s = 0; s < options.samples && s < elements; ++s) {
      int64_t k = s == 0 ? largest : static_cast<int64_t>(random() % elements);
      Comparison one = checker.compare(*argument, {{k, 1.0}}, gradient.at(k), norm / std::sqrt(elements + 1.0));
      if (!(one.error <= worst.error))
        worst = one;
    }
    bool good = directional.error <= options.tolerance && worst.error <= options.tolerance && std::isfinite(norm);
    ++checked;
    failed += !good;
    llvm::outs() << pad(port.name, width + 2) << pad(std::to_string(elements), 12) << pad(scientific(norm), 14)
                 << pad(scientific(directional.error), 14) << pad(scientific(worst.error), 14)
                 << (good ? "ok" : "FAIL");
    if (!good) {
      const Comparison &shown = directional.error > options.tolerance ? directional : worst;
      llvm::outs() << "  analytic " << jsonNumber(shown.analytic) << " numeric " << jsonNumber(shown.numeric);
    }
    llvm::outs() << "\n";
  }
  llvm::outs() << checked - failed << " of " << checked << " gradients agree with finite differences to "
               << scientific(options.tolerance) << "\n";
  return failed ? ExitCheckFailed : ExitOk;
}

static int runGradcheck(GradcheckOptions &options) {
  auto tensors = readNamedTensors(options.execution.inputs, "--input");
  if (!tensors)
    return usageError(tensors.takeError());
  std::optional<HostTensor> label;
  if (!options.label.empty()) {
    auto read = readTensorFile(options.label);
    if (!read)
      return usageError(read.takeError());
    label = std::move(*read);
  }
  options.execution.doublePrecision = true;
  ImportOptions adjust;
  if (tensors->empty())
    adjust.batch = 2;
  int exitCode = ExitOk;
  auto model = ExecutableModel::load(options.execution, std::move(*tensors), adjust, exitCode);
  if (!model)
    return exitCode;
  TrainingOptions &training = options.training;
  training.loss = options.execution.model.loss;
  if (label)
    if (mlir::Type element = elementTypeFor(model->context.get(), label->dataType, true))
      training.labelType = mlir::RankedTensorType::get(label->dims, element);
  TrainingNotes notes;
  auto function = buildMicro(model->forward(), training, notes);
  if (mlir::failed(function))
    return model->passExitCode;
  for (const std::string &note : notes.notes)
    llvm::errs() << "gmc: note: " << note << "\n";
  auto micro = model->compile(*function, exitCode);
  auto loss = micro ? model->compile(lossOnly(*function), exitCode) : nullptr;
  if (!loss)
    return exitCode;
  if (label) {
    if (notes.labelName.empty())
      return usageError("the loss reads no label, but --label is given");
    model->tensors[notes.labelName] = std::move(*label);
  }
  std::mt19937_64 random(options.seed);
  for (const TensorPort &port : micro->arguments())
    if ((port.role == "input" || port.role == "label") && !model->tensors.count(port.name))
      model->tensors[port.name] = randomTensor(port, notes.classes, random);
  for (FunctionRunner *runner : {micro.get(), loss.get()})
    if (auto error = model->setInputs(*runner))
      return usageError(std::move(error));
  return check(*micro, *loss, options);
}

void registerGradcheck(CLI::App &app, int &exitCode) {
  auto options = std::make_shared<GradcheckOptions>();
  CLI::App *command = app.add_subcommand(
      "gradcheck", "Compare gradients with finite differences in f64, on given or else on random inputs");
  addExecutionOptions(*command, options->execution);
  addModeOptions(*command, options->training);
  command->add_option("--label", options->label, "labels of the attached loss, .npy or .pb");
  command->add_flag("--input-grads", options->training.inputGradients, "gradients of float inputs as well");
  command->add_option("--tolerance", options->tolerance, "largest relative difference (default 1e-5)");
  command->add_option("--samples", options->samples, "single elements compared per parameter (default 4)");
  command->add_option("--seed", options->seed, "of inputs, directions and samples (default 0)");
  command->callback([options, &exitCode] { exitCode = runGradcheck(*options); });
}

} // namespace gmc
