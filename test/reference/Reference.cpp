#include "test/reference/Reference.h"
#include "compiler/Import/OnnxNode.h"
#include "gmc/Abi.h"
#include "mlir/IR/Diagnostics.h"
#include <cmath>
#include <cstdlib>
#include <filesystem>

namespace gmc::test {

std::string sharedOnnx(const std::string &path) { return std::string(GMC_SHARED_DIR) + "/data/onnx/" + path; }
bool present(const std::string &path) { return std::filesystem::exists(path); }

ReferenceModel::ReferenceModel(const std::string &modelPath, const Npz &npz, const std::string &loss,
                               bool doublePrecision)
    : npz(npz), loss(loss) {
  auto loaded = OnnxModel::load(modelPath);
  if (!loaded) {
    ADD_FAILURE() << llvm::toString(loaded.takeError());
    return;
  }
  model = std::move(*loaded);
  ImportOptions options;
  options.promoteToF64 = doublePrecision;
  for (auto &[name, member] : npz.withPrefix("in_"))
    options.inputShapes[name] = npz.tensor(member).dims;
  mlir::DialectRegistry registry;
  registerImportDialects(registry);
  context = std::make_unique<mlir::MLIRContext>(registry, mlir::MLIRContext::Threading::DISABLED);
  Diagnostics diagnostics;
  imported = importModel(*context, *model, options, diagnostics);
  if (!imported.module) {
    std::string text;
    llvm::raw_string_ostream os(text);
    diagnostics.print(os, modelPath);
    ADD_FAILURE() << text;
    return;
  }
  good = true;
}

std::unique_ptr<FunctionRunner> ReferenceModel::compile(mlir::func::FuncOp function) {
  // The same references hold for the kernels of the GPU.
  const char *target = std::getenv("GMC_TEST_TARGET");
  JitOptions jit;
  jit.sim = target && llvm::StringRef(target) == "sim";
  auto runner = FunctionRunner::create(function, jit);
  if (!runner) {
    ADD_FAILURE() << llvm::toString(runner.takeError());
    return nullptr;
  }
  return std::move(*runner);
}

std::unique_ptr<FunctionRunner> ReferenceModel::micro(const TrainingOptions &given) {
  auto forward = imported.module->lookupSymbol<mlir::func::FuncOp>("forward");
  TrainingOptions options = given;
  TrainingNotes notes;
  std::string messages;
  mlir::ScopedDiagnosticHandler handler(context.get(), [&](mlir::Diagnostic &d) {
    messages += d.str() + "\n";
    return mlir::success();
  });
  llvm::FailureOr<mlir::func::FuncOp> function = llvm::failure();
  bool vjp = npz.has("R0");
  if (vjp) {
    llvm::SmallVector<unsigned> outputs;
    for (unsigned i = 0; npz.has("R" + std::to_string(i)); ++i)
      outputs.push_back(i);
    function = buildCotangentMicro(forward, outputs, options);
  } else {
    HostTensor label = npz.tensor("y");
    options.loss = loss;
    options.labelType = mlir::RankedTensorType::get(
        label.dims, elementTypeFor(context.get(), label.dataType, /*promote=*/false));
    function = buildMicro(forward, options, notes);
  }
  if (failed(function)) {
    ADD_FAILURE() << messages;
    return nullptr;
  }
  auto runner = compile(*function);
  if (!runner)
    return nullptr;
  auto set = [&](unsigned i, const HostTensor &tensor) {
    if (auto error = runner->set(i, tensor))
      ADD_FAILURE() << llvm::toString(std::move(error));
  };
  if (auto error = runner->setWeights(imported.weights))
    ADD_FAILURE() << llvm::toString(std::move(error));
  int64_t batch = 1;
  unsigned cotangent = 0;
  for (unsigned i = 0; i < runner->arguments().size(); ++i) {
    const TensorPort &port = runner->arguments()[i];
    if (port.role == "input") {
      set(i, npz.tensor("in_" + port.name));
      batch = port.dims.empty() ? batch : port.dims[0];
    } else if (port.role == "label") {
      set(i, npz.tensor("y"));
    } else if (port.role == "cotangent") {
      set(i, npz.tensor("R" + std::to_string(cotangent++)));
    } else if (port.role == "valid_samples") {
      runner->put(i, 0, batch);
    } else if (port.role == "rng") {
      runner->fill(i, {0, 0, 0, 0});
    }
  }
  return runner;
}

std::unique_ptr<FunctionRunner> ReferenceModel::update(const TrainingOptions &options) {
  auto function = buildUpdate(imported.module->lookupSymbol<mlir::func::FuncOp>("micro"), options);
  if (failed(function)) {
    ADD_FAILURE() << "no @update";
    return nullptr;
  }
  auto runner = compile(*function);
  for (unsigned i = 0; runner && i < runner->arguments().size(); ++i)
    std::fill_n(static_cast<char *>(runner->jit().argument(i)), runner->jit().argumentBytes(i), 0);
  return runner;
}

void compareGradients(const FunctionRunner &micro, const Npz &npz, const std::string &lossName,
                      const std::string &gnorm, const std::string &ghead, const std::string &grad,
                      const std::vector<std::string> &skip, Tolerance tolerance) {
  double count = micro.result(*micro.findResult("valid_count")).at(0);
  double loss = micro.result(*micro.findResult("loss_sum")).at(0) / count;
  double want = npz.number(lossName);
  EXPECT_NEAR(loss, want, tolerance.loss * std::abs(want)) << "loss";
  auto norms = npz.withPrefix(gnorm);
  EXPECT_FALSE(norms.empty());
  double worst = 0;
  int compared = 0;
  for (auto &[name, member] : norms) {
    if (llvm::is_contained(skip, name))
      continue;
    auto index = micro.findResult("gradient", name);
    if (!index) {
      ADD_FAILURE() << "no gradient of '" << name << "'";
      continue;
    }
    HostTensor ours = micro.result(*index);
    double norm = 0;
    for (int64_t i = 0; i < ours.elements(); ++i)
      norm += ours.at(i) / count * (ours.at(i) / count);
    norm = std::sqrt(norm);
    double reference = npz.number(member);
    double allowed = std::max(tolerance.relative * reference, tolerance.absolute);
    EXPECT_NEAR(norm, reference, allowed) << "norm of the gradient of '" << name << "'";
    worst = std::max(worst, std::abs(norm - reference) / std::max(reference, tolerance.absolute / tolerance.relative));
    std::string elements = !grad.empty() && npz.has(grad + name) ? grad + name : ghead + name;
    if (npz.has(elements)) {
      HostTensor theirs = npz.tensor(elements);
      double difference = 0;
      ASSERT_LE(theirs.elements(), ours.elements()) << name;
      for (int64_t i = 0; i < theirs.elements(); ++i)
        difference += std::pow(ours.at(i) / count - theirs.at(i), 2);
      EXPECT_LE(std::sqrt(difference), allowed) << "elements of the gradient of '" << name << "'";
    }
    ++compared;
  }
  std::printf("loss %.9g (reference %.9g), %d gradients, worst relative difference of norms %.2e\n", loss, want,
              compared, worst);
}

} // namespace gmc::test
