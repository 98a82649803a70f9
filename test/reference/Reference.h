// A model, its stored reference values, and the functions to compare with them.
#ifndef GMC_TEST_REFERENCE_REFERENCE_H
#define GMC_TEST_REFERENCE_REFERENCE_H

#include "compiler/Import/Importer.h"
#include "compiler/Pipeline/FunctionRunner.h"
#include "mlir/IR/MLIRContext.h"
#include "passes/Autodiff/Training.h"
#include "test/reference/Npz.h"
#include <gtest/gtest.h>

namespace gmc::test {

/// Imports a model for the inputs `in_*` of an archive, builds training functions and runs them. Failures are reported
/// to GoogleTest; then ok() is false.
class ReferenceModel {
public:
  ReferenceModel(const std::string &modelPath, const Npz &npz, const std::string &loss, bool doublePrecision);

  bool ok() const { return good; }
  /// @micro with the label `y`, or with the cotangents R0, R1... where the archive has those; inputs and weights are
  /// set.
  std::unique_ptr<FunctionRunner> micro(const TrainingOptions &options);
  /// @update; parameters, gradients and states are zero.
  std::unique_ptr<FunctionRunner> update(const TrainingOptions &options);
  const WeightStore &weights() const { return imported.weights; }

private:
  std::unique_ptr<FunctionRunner> compile(mlir::func::FuncOp function);
  const Npz &npz;
  std::string loss;
  std::unique_ptr<OnnxModel> model;
  std::unique_ptr<mlir::MLIRContext> context;
  ImportedModel imported;
  bool good = false;
};

struct Tolerance {
  double loss;             ///< relative
  double relative, absolute; ///< of a gradient, in norm
};

/// Compares loss and every gradient of a finished @micro with `loss`, `gnorm` + NAME, `ghead` + NAME and, where stored,
/// `grad` + NAME (prefixes with their slash; empty: not compared). Names in `skip` have no gradient by the standard.
void compareGradients(const FunctionRunner &micro, const Npz &npz, const std::string &loss, const std::string &gnorm,
                      const std::string &ghead, const std::string &grad, const std::vector<std::string> &skip,
                      Tolerance tolerance);

/// Path below ../shared/data/onnx.
std::string sharedOnnx(const std::string &path);
/// Whether that file is there; tests of absent material are skipped.
bool present(const std::string &path);

} // namespace gmc::test

#endif
